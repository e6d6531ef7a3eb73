/* progress.c - rate and time left are those of the outcomes finished so far: simple, and honest
 * to within the differences between cells. */
#define _GNU_SOURCE
#include "experiments/progress.h"

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

static void draw(rm_progress *p, bool last)
{
    double elapsed = rm_now_s() - p->started_s;
    char figures[176], left[32] = "";
    double rate = elapsed > 0 ? (double)p->done / elapsed : 0;
    double tokens = elapsed > 0 ? (double)p->tokens / elapsed : 0;
    if (last)
        time_left(left, sizeof left, elapsed);
    else if (p->done)
        time_left(left, sizeof left, (double)(p->total - p->done) / rate);
    size_t done = p->before + p->done, total = p->before + p->total;
    snprintf(figures, sizeof figures, "%zu/%zu  %.*f/s  %.0f tok/s  %s%s%s%s", done, total,
             rate < 10 ? 2 : rate < 100 ? 1 : 0, rate, tokens, p->note, p->note[0] ? "  " : "",
             last ? "in " : left[0] ? "left " : "", left);
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
    *p = (rm_progress){ .out = out, .total = total, .started_s = rm_now_s() };
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

void rm_progress_end(rm_progress *p)
{
    if (p->out)
        draw(p, true);
}
