/* pick.c - what is wanted of a row of logits (pick.h).
 *
 *   raw        lp_v = l_v - lse,  lse = max + log sum_v exp(l_v - max)
 *   mixture    lp_v = log sum_m w_m exp(lp_m,v) / sum_m w_m
 *   product    lp_v = s_v - lse(s),  s_v = sum_m w_m lp_m,v
 *
 * A draw works on integer weights w_v = round(2^40 exp((l_v - max) / temperature)), of which every
 * sum is exact; what rounds to 0 cannot be drawn. The filters, in the order of Hugging Face's
 * generate(), each on what the one before left (W the sum of what is left):
 *
 *   repetition_penalty  l < 0 ? l r : l / r for every token of the history, once (Keskar et al.
 *                       2019, arXiv:1909.05858); for combined distributions on log p
 *   top_k      drops what weighs less than the k-th largest; ties with it stay
 *   top_p      keeps the smallest set, by descending weight, ties by id, that reaches top_p W
 *              (Holtzman et al. 2020, arXiv:1904.09751). Hugging Face drops ties in an order it
 *              leaves to its sort
 *   min_p      drops w < min_p max w (Nguyen et al. 2024, arXiv:2407.01082)
 *   typical_p  with p = w / W, H = -sum p log p: keeps the tokens of smallest |-log p - H| until
 *              their mass reaches typical_p W, and ties with the last (Meister et al. 2022,
 *              arXiv:2202.00666)
 *
 * Then r = floor(u W / 2^64), and the first v in id order whose running sum exceeds r is drawn. */
#include "engine/pick.h"

#include "engine/pick_math.h"

#include <assert.h>
#include <math.h> /* INFINITY */
#include <string.h>

typedef struct scratch {
    uint64_t *w;    /* [V] sampling weights */
    uint64_t *heap; /* [V] */
    double *lp;     /* [V] */
    double *key;    /* [V] */
    int32_t *id;    /* [V] */
    float *row;     /* [V] logits after the penalty */
} scratch;

static size_t rounded(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

size_t rm_pick_scratch_bytes(int n_vocab)
{
    size_t V = (size_t)n_vocab;
    return 4 * rounded(8 * V) + 2 * rounded(4 * V);
}

static scratch scratch_of(void *memory, int n_vocab)
{
    size_t V = (size_t)n_vocab, wide = rounded(8 * V);
    char *p = memory;
    return (scratch){ .w = (void *)p,
                      .heap = (void *)(p + wide),
                      .lp = (void *)(p + 2 * wide),
                      .key = (void *)(p + 3 * wide),
                      .id = (void *)(p + 4 * wide),
                      .row = (void *)(p + 4 * wide + rounded(4 * V)) };
}

/* ---- log-probabilities --------------------------------------------------------------------- */

/* A log-sum-exp that is a number; NaN and +infinity mark the pick. */
static double checked(const rm_pick *pick, double lse)
{
    if (!(lse < (double)INFINITY) && pick->out_no_numbers)
        *pick->out_no_numbers = true;
    return lse;
}

static double row_lse(const rm_pick *pick, const float *row, const rm_row_kernels *kernels)
{
    double max, sum;
    kernels->max_sum(row, pick->n_vocab, &max, &sum);
    return checked(pick, max + rm_log(sum));
}

static double double_max(const double *x, int n)
{
    double max = x[0];
    for (int v = 1; v < n; v++)
        if (x[v] > max)
            max = x[v];
    return max;
}

/* The double counterpart of rm_row_kernels.max_sum, in the same order. */
static double double_lse(const double *x, int n)
{
    double max = double_max(x, n), lane[8] = { 0 };
    for (int v = 0; v < n; v++)
        lane[v % 8] += rm_exp(x[v] - max);
    return max + rm_log(rm_fold_lanes(lane));
}

/* lp[V] of several rows as one distribution. */
static void combine(const rm_pick *pick, const float *const *rows, const rm_row_kernels *kernels,
                    double *lp)
{
    int V = pick->n_vocab;
    double total = 0.0;
    memset(lp, 0, (size_t)V * sizeof *lp);
    for (int m = 0; m < pick->n_members; m++)
        total += pick->member[m].weight;
    for (int m = 0; m < pick->n_members; m++) {
        double lse = row_lse(pick, rows[m], kernels);
        double weight = pick->member[m].weight;
        if (pick->combine == RM_COMBINE_PRODUCT)
            for (int v = 0; v < V; v++)
                lp[v] += rm_product_term(weight, (double)rows[m][v], lse);
        else
            for (int v = 0; v < V; v++)
                lp[v] += rm_mixture_term(weight, total, (double)rows[m][v], lse);
    }
    if (pick->combine == RM_COMBINE_PRODUCT) {
        double lse = checked(pick, double_lse(lp, V));
        for (int v = 0; v < V; v++)
            lp[v] -= lse;
    } else {
        for (int v = 0; v < V; v++)
            lp[v] = rm_log(lp[v]);
    }
}

static bool has_penalty(const rm_pick *pick)
{
    return pick->sampling && pick->sampling->repetition_penalty != 1.0 && pick->n_history;
}

/* Every entry is computed from the unpenalised one, so tokens seen twice count once. */
static void penalise_doubles(const rm_pick *pick, const double *raw, double *out)
{
    memcpy(out, raw, (size_t)pick->n_vocab * sizeof *out);
    for (int i = 0; i < pick->n_history; i++)
        out[pick->history[i]] =
            rm_penalised(raw[pick->history[i]], pick->sampling->repetition_penalty);
}

static void penalise_row(const rm_pick *pick, const float *raw, float *out)
{
    memcpy(out, raw, (size_t)pick->n_vocab * sizeof *out);
    for (int i = 0; i < pick->n_history; i++)
        out[pick->history[i]] =
            (float)rm_penalised((double)raw[pick->history[i]], pick->sampling->repetition_penalty);
}

/* ---- filters on integer weights ------------------------------------------------------------ */

/* Sinks heap[i] in a heap of n with the smallest at the top. */
static void sink_smallest(uint64_t *heap, int n, int i)
{
    uint64_t x = heap[i];
    for (int child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= x)
            break;
        heap[i] = heap[child];
    }
    heap[i] = x;
}

/* Drops everything below `least`; returns what is left. */
static uint64_t drop_below(uint64_t *w, int n, uint64_t least)
{
    uint64_t total = 0;
    for (int v = 0; v < n; v++) {
        w[v] = w[v] < least ? 0 : w[v];
        total += w[v];
    }
    return total;
}

static uint64_t filter_top_k(const scratch *s, int n, int k)
{
    uint64_t *heap = s->heap;
    for (int v = 0; v < k; v++)
        heap[v] = s->w[v];
    for (int i = k / 2 - 1; i >= 0; i--)
        sink_smallest(heap, k, i);
    for (int v = k; v < n; v++)
        if (s->w[v] > heap[0]) {
            heap[0] = s->w[v];
            sink_smallest(heap, k, 0);
        }
    return drop_below(s->w, n, heap[0]);
}

/* Is token a before b: the smaller key first, then the smaller id. */
static bool key_before(const double *key, int32_t a, int32_t b)
{
    return key[a] < key[b] || (key[a] == key[b] && a < b);
}

static void sink_first(int32_t *id, const double *key, int n, int i)
{
    int32_t x = id[i];
    for (int child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && key_before(key, id[child + 1], id[child]))
            child++;
        if (!key_before(key, id[child], x))
            break;
        id[i] = id[child];
    }
    id[i] = x;
}

/* Takes tokens from id[0..n) in the order of (key, id) until their weights reach `need`; returns
 * the last one taken. */
static int32_t reach(int32_t *id, const double *key, const uint64_t *w, int n, uint64_t need)
{
    for (int i = n / 2 - 1; i >= 0; i--)
        sink_first(id, key, n, i);
    for (uint64_t have = 0;;) {
        int32_t first = id[0];
        have += w[first];
        if (have >= need || n == 1)
            return first;
        id[0] = id[--n];
        sink_first(id, key, n, 0);
    }
}

static int magnitude(uint64_t w)
{
    return 63 - __builtin_clzll(w);
}

/* Only the weights of one power of two around the cut have to be ordered. */
static uint64_t filter_top_p(const scratch *s, int n, double top_p, uint64_t total)
{
    uint64_t sum[64] = { 0 }, need = rm_share_of(top_p, total), above = 0;
    for (int v = 0; v < n; v++)
        if (s->w[v])
            sum[magnitude(s->w[v])] += s->w[v];
    int cut = 63;
    while (cut > 0 && above + sum[cut] < need)
        above += sum[cut--];
    int n_ids = 0;
    for (int v = 0; v < n; v++)
        if (s->w[v] && magnitude(s->w[v]) == cut) {
            s->key[v] = -(double)s->w[v]; /* exact: at most 2^40 */
            s->id[n_ids++] = v;
        }
    int32_t last = reach(s->id, s->key, s->w, n_ids, need - above);
    uint64_t least = s->w[last], left = 0;
    for (int v = 0; v < n; v++) {
        if (s->w[v] < least || (s->w[v] == least && v > last))
            s->w[v] = 0;
        left += s->w[v];
    }
    return left;
}

static uint64_t filter_min_p(const scratch *s, int n, double min_p)
{
    uint64_t max = 0;
    for (int v = 0; v < n; v++)
        max = s->w[v] > max ? s->w[v] : max;
    return drop_below(s->w, n, rm_share_of(min_p, max));
}

static uint64_t filter_typical(const scratch *s, int n, double typical_p, uint64_t total)
{
    double log_total = rm_log((double)total), entropy = 0.0;
    int n_ids = 0;
    for (int v = 0; v < n; v++) {
        if (!s->w[v])
            continue;
        s->key[v] = rm_surprise(log_total, s->w[v]);
        entropy += rm_entropy_term(s->w[v], total, s->key[v]);
        s->id[n_ids++] = v;
    }
    for (int i = 0; i < n_ids; i++) {
        double distance = s->key[s->id[i]] - entropy;
        s->key[s->id[i]] = distance < 0.0 ? -distance : distance;
    }
    int32_t last = reach(s->id, s->key, s->w, n_ids, rm_share_of(typical_p, total));
    double most = s->key[last];
    uint64_t left = 0;
    for (int v = 0; v < n; v++) {
        if (s->w[v] && s->key[v] > most)
            s->w[v] = 0;
        left += s->w[v];
    }
    return left;
}

static uint64_t filter(const rm_sampling *sampling, const scratch *s, int n, uint64_t total)
{
    if (sampling->top_k > 0 && sampling->top_k < n)
        total = filter_top_k(s, n, sampling->top_k);
    if (sampling->top_p < 1.0)
        total = filter_top_p(s, n, sampling->top_p, total);
    if (sampling->min_p > 0.0)
        total = filter_min_p(s, n, sampling->min_p);
    if (sampling->typical_p < 1.0)
        total = filter_typical(s, n, sampling->typical_p, total);
    return total;
}

/* ---- drawing ------------------------------------------------------------------------------- */

static int32_t argmax_row(const float *row, int n)
{
    int32_t best = 0;
    for (int v = 1; v < n; v++)
        if (row[v] > row[best])
            best = v;
    return best;
}

static int32_t argmax_doubles(const double *x, int n)
{
    int32_t best = 0;
    for (int v = 1; v < n; v++)
        if (x[v] > x[best])
            best = v;
    return best;
}

/* Weights of log-probabilities; the double counterpart of rm_row_kernels.weights. */
static uint64_t double_weights(const double *x, int n, double temperature, uint64_t *w)
{
    double max = double_max(x, n);
    uint64_t total = 0;
    for (int v = 0; v < n; v++) {
        w[v] = rm_weight_of(x[v], max, temperature);
        total += w[v];
    }
    return total;
}

/* Draws from w; -1 if nothing has weight (a row that is no distribution, see rm_pick). */
static int32_t draw(const rm_pick *pick, const scratch *s, uint64_t total, double *lp_sampling)
{
    const uint64_t *w = s->w;
    int n = pick->n_vocab;
    if (!total)
        return -1;
    total = filter(pick->sampling, s, n, total);
    uint64_t r = rm_scale(rm_random(pick->seed, pick->stream, pick->index, 0), total);
    uint64_t sum = 0;
    for (int v = 0; v < n; v++) {
        sum += w[v];
        if (sum > r) {
            *lp_sampling = rm_log_share(w[v], total);
            return v;
        }
    }
    return -1;
}

static void serve_span(const rm_pick *pick, const float *row, const double *combined,
                       const rm_row_kernels *kernels, const scratch *s)
{
    const rm_sampling *sampling = pick->sampling;
    int n = pick->n_vocab;
    int32_t token = -1;
    double lp_sampling = 0.0;
    double lse = combined ? 0.0 : row_lse(pick, row, kernels);
    if (combined) {
        const double *x = combined;
        if (has_penalty(pick)) {
            penalise_doubles(pick, combined, s->key);
            x = s->key;
        }
        if (sampling->do_sample)
            token = draw(pick, s, double_weights(x, n, sampling->temperature, s->w), &lp_sampling);
        if (token < 0)
            token = argmax_doubles(x, n);
        *pick->out_lp = combined[token];
    } else {
        const float *x = row;
        if (has_penalty(pick)) {
            penalise_row(pick, row, s->row);
            x = s->row;
        }
        if (sampling->do_sample) {
            double max = (double)x[argmax_row(x, n)];
            token = draw(pick, s, kernels->weights(x, n, max, sampling->temperature, s->w),
                         &lp_sampling);
        }
        if (token < 0)
            token = argmax_row(x, n);
        *pick->out_lp = (double)row[token] - lse;
    }
    *pick->out_tokens = token;
    *pick->out_lp_sampling = lp_sampling;
}

/* ---- top k --------------------------------------------------------------------------------- */

/* Is (lp_a, a) a worse answer than (lp_b, b)? */
static bool worse(double lp_a, int32_t a, double lp_b, int32_t b)
{
    return lp_a < lp_b || (lp_a == lp_b && a > b);
}

/* Sinks entry i in a heap of n with the worst at the top. */
static void sink_worst(double *lp, int32_t *id, int n, int i)
{
    double x = lp[i];
    int32_t v = id[i];
    for (int child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && worse(lp[child + 1], id[child + 1], lp[child], id[child]))
            child++;
        if (!worse(lp[child], id[child], x, v))
            break;
        lp[i] = lp[child];
        id[i] = id[child];
    }
    lp[i] = x;
    id[i] = v;
}

static void serve_top(const rm_pick *pick, const double *all)
{
    int k = pick->k < pick->n_vocab ? pick->k : pick->n_vocab;
    double *lp = pick->out_lp;
    int32_t *id = pick->out_tokens;
    for (int v = 0; v < k; v++) {
        lp[v] = all[v];
        id[v] = v;
    }
    for (int i = k / 2 - 1; i >= 0; i--)
        sink_worst(lp, id, k, i);
    for (int v = k; v < pick->n_vocab; v++)
        if (worse(lp[0], id[0], all[v], v)) {
            lp[0] = all[v];
            id[0] = v;
            sink_worst(lp, id, k, 0);
        }
    for (int n = k - 1; n > 0; n--) { /* the worst goes last */
        double x = lp[0];
        int32_t v = id[0];
        lp[0] = lp[n];
        id[0] = id[n];
        lp[n] = x;
        id[n] = v;
        sink_worst(lp, id, n, 0);
    }
}

/* ---- serving ------------------------------------------------------------------------------- */

void rm_pick_serve(const rm_pick *pick, const float *const *rows, const rm_row_kernels *kernels,
                   void *memory)
{
    int n = pick->n_vocab;
    scratch s = scratch_of(memory, n);
    const double *combined = NULL;
    if (pick->n_members > 1) {
        combine(pick, rows, kernels, s.lp);
        combined = s.lp;
    }
    if (pick->want == RM_WANT_SPAN) {
        serve_span(pick, rows[0], combined, kernels, &s);
        return;
    }
    double lse = combined ? 0.0 : row_lse(pick, rows[0], kernels);
    if (pick->want == RM_WANT_LOGPROBS || pick->want == RM_WANT_SCORE) {
        for (int i = 0; i < pick->n_tokens; i++) {
            int32_t v = pick->tokens[i];
            pick->out_lp[i] = combined ? combined[v] : (double)rows[0][v] - lse;
        }
        return;
    }
    assert(pick->want == RM_WANT_TOP || pick->want == RM_WANT_ALL);
    if (!combined)
        for (int v = 0; v < n; v++)
            s.lp[v] = (double)rows[0][v] - lse;
    const double *lp = s.lp;
    if (has_penalty(pick)) {
        penalise_doubles(pick, s.lp, s.key);
        lp = s.key;
    }
    if (pick->want == RM_WANT_TOP)
        serve_top(pick, lp);
    else
        memcpy(pick->out_lp, lp, (size_t)n * sizeof *lp);
}
