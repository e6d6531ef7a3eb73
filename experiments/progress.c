/* progress.c - how far a run is, and how long it may still take.
 *
 * Jobs that are finished early are short ones, so that their mean length is too small an estimate while
 * long ones are in flight. Time left is estimated from tokens, with those in flight as what they
 * are, lengths known only from below (Kaplan & Meier 1958, JASA 53:457):
 *
 *     S(x)   = prod over lengths x_i <= x of finished jobs of  1 - d_i / r_i
 *              d_i jobs ended with x_i tokens, r_i have or had at least as many
 *     left   = waiting * E[L] + sum over jobs in flight, at a tokens,  E[L - a | L > a]
 *
 * What is left of S beyond the longest job counts as ended there (Efron 1967), so the estimate is
 * too small as long as the longest ones are still running. Lengths
 * are binned, four bins to a factor of two. It is divided by the mean rate of this session. Without
 * tokens (a service that tells none) the outcomes finished so far are what there is to go by. */
#define _GNU_SOURCE
#include "experiments/progress.h"

#include <math.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const double terminal_every_s = 0.1, line_every_s = 30;

static void time_left(char *text, size_t size, double seconds)
{
    long s = (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, size, "%ld h %02ld min", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(text, size, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(text, size, "%ld s", s);
}

/* ---- estimates ------------------------------------------------------------------------------------ */

static int bin_of(uint64_t tokens)
{
    int bin = (int)(4 * log2(1 + (double)tokens));
    return bin < RM_PROGRESS_BINS ? bin : RM_PROGRESS_BINS - 1;
}

void rm_progress_job(rm_progress *p, uint64_t tokens)
{
    int bin = bin_of(tokens);
    p->lengths.sum[bin] += (double)tokens;
    p->lengths.n[bin]++;
}

/* E[L - a | L > a] under P over bins; E[L] for a = 0. */
static double expected_rest(const rm_progress *p, const double *P, double tail, double longest, double a)
{
    double mass = 0, rest = 0;
    for (int b = 0; b < RM_PROGRESS_BINS; b++) {
        double mean = p->lengths.n[b] ? p->lengths.sum[b] / (double)p->lengths.n[b] : 0;
        if (P[b] > 0 && mean > a) {
            mass += P[b];
            rest += P[b] * (mean - a);
        }
    }
    if (longest > a) {
        mass += tail;
        rest += tail * (longest - a);
    }
    return mass > 0 ? rest / mass : 0;
}

static double tokens_left(const rm_progress *p, const uint64_t *tokens, int n, size_t waiting)
{
    double P[RM_PROGRESS_BINS] = { 0 }, S = 1, longest = 0, left = 0;
    size_t censored[RM_PROGRESS_BINS] = { 0 }, at_risk = 0, finished = 0;
    for (int i = 0; i < n; i++) {
        censored[bin_of(tokens[i])]++;
        longest = (double)tokens[i] > longest ? (double)tokens[i] : longest;
    }
    for (int b = 0; b < RM_PROGRESS_BINS; b++) {
        at_risk += p->lengths.n[b] + censored[b];
        finished += p->lengths.n[b];
    }
    if (!finished)
        return NAN;
    for (int b = 0; b < RM_PROGRESS_BINS; b++) {
        size_t d = p->lengths.n[b];
        if (d) {
            P[b] = S * (double)d / (double)at_risk;
            S -= P[b];
            double mean = p->lengths.sum[b] / (double)d;
            longest = mean > longest ? mean : longest;
        }
        at_risk -= d + censored[b];
    }
    for (int i = 0; i < n; i++)
        left += expected_rest(p, P, S, longest, (double)tokens[i]);
    return left + (double)waiting * expected_rest(p, P, S, longest, 0);
}

/* ---- drawing -------------------------------------------------------------------------------------- */

/* "1234", "56.7k", "1.23M" */
static void short_count(char *text, size_t size, double n)
{
    if (n < 1e4)
        snprintf(text, size, "%.0f", n);
    else if (n < 1e6)
        snprintf(text, size, "%.*fk", n < 1e5 ? 1 : 0, n / 1e3);
    else
        snprintf(text, size, "%.2fM", n / 1e6);
}

static void draw(rm_progress *p, bool last)
{
    double elapsed = rm_now_s() - p->started_s;
    char figures[224], left[32] = "", flight[64] = "";
    double rate = elapsed > 0 ? (double)p->done / elapsed : 0;
    double made = (double)(p->tokens + p->flight_tokens) - (double)p->taken_up;
    double tokens = elapsed > 0 && made > 0 ? made / elapsed : 0;
    if (last)
        time_left(left, sizeof left, elapsed);
    else if (p->flight_problems && tokens > 0 && isfinite(p->left_tokens))
        time_left(left, sizeof left, p->left_tokens / tokens);
    else if (p->done)
        time_left(left, sizeof left, (double)(p->total - p->done) / rate);
    size_t done = p->before + p->done, total = p->before + p->total;
    if (!last && p->flight_problems) {
        char count[16];
        short_count(count, sizeof count, (double)p->flight_tokens);
        snprintf(flight, sizeof flight, "in flight %d (%d path%s, %s tokens)  ", p->flight_problems,
                 p->flight_paths, p->flight_paths == 1 ? "" : "s", count);
    }
    snprintf(figures, sizeof figures, "%zu/%zu  %.*f/s  %.0f tok/s  %s%s%s%s%s", done, total,
             rate < 10 ? 2 : rate < 100 ? 1 : 0, rate, tokens, flight, p->note, p->note[0] ? "  " : "",
             last ? "in " : left[0] ? "left about " : "", left);
    if (!p->terminal) {
        fprintf(p->out, "%s: %s\n", p->what, figures);
        return;
    }
    struct winsize window = { 0 };
    int columns = ioctl(fileno(p->out), TIOCGWINSZ, &window) == 0 && window.ws_col ? window.ws_col
                                                                                    : 80;
    int rest = columns - (int)strlen(p->what) - 2; /* a line that wraps could not be drawn again */
    if (rest > 0 && (size_t)rest < sizeof figures)
        figures[rest] = '\0';
    int room = rest - (int)strlen(figures) - 4;
    if (room > 40)
        room = 40;
    fprintf(p->out, "\r%s ", p->what);
    if (room >= 8) {
        int filled = total ? (int)((double)room * (double)done / (double)total) : room;
        fputc('[', p->out);
        for (int i = 0; i < room; i++)
            fputc(i < filled ? '#' : '.', p->out);
        fputs("] ", p->out);
    }
    fprintf(p->out, "%s\033[K%s", figures, last ? "\n" : "");
    fflush(p->out);
}

void rm_progress_begin(rm_progress *p, FILE *out, const char *what, size_t total)
{
    *p = (rm_progress){ .out = out, .total = total, .started_s = rm_now_s(), .left_tokens = NAN };
    p->terminal = out && isatty(fileno(out));
    p->shown_s = p->started_s;
    snprintf(p->what, sizeof p->what, "%s", what);
    if (p->terminal)
        draw(p, false);
}

void rm_progress_add(rm_progress *p, size_t done, uint64_t tokens)
{
    p->done += done;
    p->tokens += tokens;
    double now = rm_now_s();
    if (!p->out || now - p->shown_s < (p->terminal ? terminal_every_s : line_every_s))
        return;
    p->shown_s = now;
    draw(p, false);
}

void rm_progress_flight(rm_progress *p, const uint64_t *tokens, int n, uint64_t taken_up, int paths,
                        size_t waiting)
{
    double now = rm_now_s();
    if (!p->out || now - p->shown_s < (p->terminal ? terminal_every_s : line_every_s))
        return;
    p->flight_problems = n;
    p->flight_paths = paths;
    p->taken_up = taken_up;
    p->flight_tokens = 0;
    for (int i = 0; i < n; i++)
        p->flight_tokens += tokens[i];
    p->left_tokens = tokens_left(p, tokens, n, waiting);
    p->shown_s = now;
    draw(p, false);
}

void rm_progress_end(rm_progress *p)
{
    p->flight_problems = 0;
    p->flight_tokens = 0;
    if (p->out)
        draw(p, true);
}
