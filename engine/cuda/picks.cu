/* picks.cu - from logits to what was wanted of them: the passes of engine/pick.c for a block.
 *
 * Equal logits give the CPU's tokens and log-probabilities, bit for bit. Most of a pick has an
 * order-free answer: a maximum, an exact sum of integer weights, the set that a filter keeps. What
 * has an order keeps it, and its arithmetic is the CPU's (pick_math.h):
 *
 *   log-sum-exp   eight running sums over entries j, j + 8, ...: eight threads add them while the
 *                 other warps compute the exponentials of the next 1,024 entries
 *   entropy       (typical_p) one running sum in token-id order, by the same pipeline
 *
 * Filters need "the smallest set, by some key, whose mass reaches a bound" (top_k: number; top_p,
 * typical_p: weight). `reach` finds the last key of that set by radix selection: histograms of mass
 * over 11 bits of the key at a time, integers throughout, so that atomic additions may come in any
 * order. Ties at the last key are ranked in token-id order, as the CPU's heaps do by comparing ids.
 * Ranks and the drawn token come from prefix sums over threads, each with a contiguous range.
 *
 * A block serves a pick after another with scratch of its own (rm_pick_slot_bytes). That leaves most of
 * a device idle where the vocabulary is long and the picks are few, so there several blocks share
 * what has no order, and only the rest is one block's:
 *
 *   maxima    a block for each part of a row: the largest logit, and the best one after the penalty
 *   weights   a block for each part: exp(l - max) of every entry, its sampling weight, their sum
 *   picks     two blocks for each pick: one adds the exponentials in their order, the other meanwhile
 *             filters and draws, which needs no log-sum-exp
 *   join      the drawn token's log-probability, from both
 *
 * Parts are joined by maxima, ties to the smaller id, and by sums of integers: by nothing that has an
 * order. What is left of the time of one pick are eight chains of V / 8 dependent additions.
 * Picks of several models are one block's throughout. */
#include "engine/cuda/device.h"
#include "engine/pick_math.h"

enum {
    PICK_THREADS = 512,
    PICK_WARPS = PICK_THREADS / 32,
    PICK_TILE = 1024,
    DIGIT_BITS = 11,
    DIGITS = 1 << DIGIT_BITS,
    WEIGHT_BITS = 41, /* a weight is at most 2^40 */
    LONG_VOCABULARY = 32768, /* from here on several blocks share a row, */
    PART = 4096,             /* each with so many entries, */
    MOST_PARTS = 64,         /* or with more */
    NO_TOKEN = 0x7fffffff
};

typedef struct pick_shared {
    union {
        double tile[2][PICK_TILE];
        uint64_t mass[DIGITS];
    } u;
    uint64_t part[PICK_WARPS];
    double best[PICK_WARPS];
    int best_id[PICK_WARPS];
    double result;    /* of one thread, for all */
    uint64_t key, before;
    int token;
    double lp_sampling;
} pick_shared;

/* What is known of a part of a row. */
typedef struct pick_part {
    double max;      /* of the logits */
    double best;     /* of those after the penalty, ... */
    uint64_t total;  /* ... the sum of their weights, ... */
    int best_id;     /* ... and whose the best is */
    int pad;
} pick_part;

/* What a block works with: a slot of scratch, cut up. */
typedef struct pick_room {
    uint64_t *w;  /* [V] sampling weights; of TOP: keys to sort */
    double *lp;   /* [V] log-probabilities of a combined distribution, or of TOP; where blocks share a
                     row, first the exponentials */
    double *key;  /* [V] */
    float *row;   /* [V] logits after the penalty; of TOP: ids to sort */
    pick_part *part; /* [MOST_PARTS] */
} pick_room;

static size_t whole_lines(size_t bytes)
{
    return (bytes + 127) / 128 * 128;
}

size_t rm_pick_slot_bytes(int n_vocab)
{
    return 3 * whole_lines(8 * (size_t)n_vocab) + whole_lines(4 * (size_t)n_vocab) +
           whole_lines(MOST_PARTS * sizeof(pick_part));
}

/* Of a pick in slot `i`; slots are as large as the largest vocabulary wants. */
DEVICE pick_room room_of(const rm_pick_args *a, int i, int n_vocab)
{
    size_t most = (8 * (size_t)a->n_vocab + 127) / 128 * 128,
           half = (4 * (size_t)a->n_vocab + 127) / 128 * 128,
           parts = (MOST_PARTS * sizeof(pick_part) + 127) / 128 * 128;
    uint8_t *slot = a->scratch + (size_t)i * (3 * most + half + parts);
    size_t wide = (8 * (size_t)n_vocab + 127) / 128 * 128;
    pick_room r;
    r.w = (uint64_t *)(void *)slot;
    r.lp = (double *)(void *)(slot + wide);
    r.key = (double *)(void *)(slot + 2 * wide);
    r.row = (float *)(void *)(slot + 3 * wide);
    r.part = (pick_part *)(void *)(slot + 3 * most + half);
    return r;
}

/* ---- over the threads of a block ----------------------------------------------------------------- */

DEVICE uint64_t block_sum(pick_shared *s, uint64_t x)
{
    UNROLL for (int half = 16; half; half /= 2)
        x += SHUFFLE_XOR_U64(x, half);
    SYNC();
    if (LANE == 0)
        s->part[WARP] = x;
    SYNC();
    uint64_t sum = 0;
    for (int i = 0; i < PICK_WARPS; i++)
        sum += s->part[i];
    return sum;
}

DEVICE uint64_t block_max(pick_shared *s, uint64_t x)
{
    UNROLL for (int half = 16; half; half /= 2)
    {
        uint64_t other = SHUFFLE_XOR_U64(x, half);
        x = other > x ? other : x;
    }
    SYNC();
    if (LANE == 0)
        s->part[WARP] = x;
    SYNC();
    for (int i = 0; i < PICK_WARPS; i++)
        x = s->part[i] > x ? s->part[i] : x;
    return x;
}

/* Sum over the threads before this one. */
DEVICE uint64_t block_before(pick_shared *s, uint64_t x)
{
    uint64_t sum = x;
    UNROLL for (int step = 1; step < 32; step *= 2)
    {
        uint64_t other = SHUFFLE_U64(sum, LANE >= step ? LANE - step : LANE);
        if (LANE >= step)
            sum += other;
    }
    SYNC();
    if (LANE == 31)
        s->part[WARP] = sum;
    SYNC();
    sum -= x;
    for (int i = 0; i < WARP; i++)
        sum += s->part[i];
    return sum;
}

/* The larger value, ties to the smaller id; of all threads. */
DEVICE void better(double *value, int *id, double other, int other_id)
{
    if (other > *value || (other == *value && other_id < *id)) {
        *value = other;
        *id = other_id;
    }
}

DEVICE int block_best(pick_shared *s, double value, int id, double *max)
{
    UNROLL for (int half = 16; half; half /= 2)
    {
        double other = SHUFFLE_XOR_D(value, half);
        int other_id = (int)SHUFFLE_XOR_U((uint32_t)id, half);
        better(&value, &id, other, other_id);
    }
    SYNC();
    if (LANE == 0) {
        s->best[WARP] = value;
        s->best_id[WARP] = id;
    }
    SYNC();
    for (int i = 0; i < PICK_WARPS; i++)
        better(&value, &id, s->best[i], s->best_id[i]);
    *max = value;
    return id == NO_TOKEN ? 0 : id; /* a row of NaN has no best */
}

/* ---- passes over a row: of logits, or of log-probabilities where `x` is given ------------------- */

DEVICE double entry(const float *row, const double *x, int v)
{
    return x ? x[v] : (double)row[v];
}

DEVICE_CALL int argmax(pick_shared *s, const float *row, const double *x, int from, int to,
                       double *max)
{
    double value = -RM_INF;
    int id = NO_TOKEN;
    for (int v = from + THREAD; v < to; v += PICK_THREADS)
        better(&value, &id, entry(row, x, v), v);
    return block_best(s, value, id, max);
}

/* Running sums by `lanes` threads, lane j over entries j, j + lanes, ...; all lanes are then folded
 * (8) or there is one. A term is terms[v] if they are given, else exp(x_v - max), or what a weight
 * adds to the entropy. */
DEVICE_CALL double ordered_sum(pick_shared *s, const double *terms, const float *row,
                               const double *x, double max, const uint64_t *w, uint64_t total,
                               int n, int lanes)
{
    double sum = 0.0;
    int tiles = rm_ceil_div(n, PICK_TILE);
    for (int i = 0; i <= tiles; i++) {
        SYNC();
        if (WARP == 0) {
            if (i && THREAD < lanes) { /* what was computed in the round before */
                int left = n - (i - 1) * PICK_TILE, count = left < PICK_TILE ? left : PICK_TILE;
                const double *tile = s->u.tile[(i - 1) % 2];
                UNROLL_8 for (int v = THREAD; v < count; v += lanes)
                    sum += tile[v];
            }
        } else if (i < tiles) {
            for (int j = THREAD - 32; j < PICK_TILE; j += PICK_THREADS - 32) {
                int v = i * PICK_TILE + j;
                if (v >= n)
                    break;
                s->u.tile[i % 2][j] = terms  ? terms[v]
                                      : !w   ? rm_exp(entry(row, x, v) - max)
                                      : w[v] ? rm_entropy_term(w[v], total, x[v])
                                             : 0.0;
            }
        }
    }
    SYNC();
    if (THREAD < lanes)
        s->u.tile[0][THREAD] = sum;
    SYNC();
    if (THREAD == 0)
        s->result = lanes == 1 ? sum : rm_fold_lanes(s->u.tile[0]);
    SYNC();
    return s->result;
}

/* max + log sum exp; *bad where it is no number. */
DEVICE_CALL double log_sum_exp(pick_shared *s, const float *row, const double *x, int n, int *bad)
{
    double max;
    argmax(s, row, x, 0, n, &max);
    double sum = ordered_sum(s, NULL, row, x, max, NULL, 0, n, RM_SUM_LANES);
    double lse = max + rm_log(sum);
    if (!(lse < RM_INF))
        *bad = 1;
    return lse;
}

/* ---- a row in parts ------------------------------------------------------------------------------- */

DEVICE int part_length(int part, int n)
{
    int least = rm_ceil_div(n, MOST_PARTS);
    return part > least ? part : least;
}

/* Several models' rows have to be combined first, in one block. */
DEVICE int in_parts(const rm_pick_args *a, const rm_pick_item *p)
{
    return a->part > 0 && p->want >= 0 && p->n_members == 1;
}

/* What the parts say of the row. */
DEVICE pick_part whole(const rm_pick_args *a, const pick_room *r, int n)
{
    pick_part all;
    all.max = all.best = -RM_INF;
    all.total = 0;
    all.best_id = NO_TOKEN;
    all.pad = 0;
    for (int i = 0; i < rm_ceil_div(n, part_length(a->part, n)); i++) {
        all.max = r->part[i].max > all.max ? r->part[i].max : all.max;
        all.total += r->part[i].total;
        better(&all.best, &all.best_id, r->part[i].best, r->part[i].best_id);
    }
    return all;
}

/* ---- selection ------------------------------------------------------------------------------------ */

/* Keys ascend from what is taken first. */
enum { BY_NUMBER, BY_WEIGHT, BY_DISTANCE, BY_LP };

/* Key of token v, and its mass. */
DEVICE uint64_t key_of(int mode, const pick_room *r, const double *x, int v, uint64_t *mass)
{
    *mass = 1;
    if (mode == BY_LP) { /* descending, as integers in the order of doubles */
        uint64_t u = rm_bits(x[v] + 0.0);
        return u >> 63 ? u : ~u & ~(UINT64_C(1) << 63);
    }
    if (mode == BY_DISTANCE) { /* ascending; not negative */
        *mass = r->w[v];
        return rm_bits(x[v]);
    }
    if (mode == BY_WEIGHT)
        *mass = r->w[v];
    return (UINT64_C(1) << (WEIGHT_BITS - 1)) - r->w[v];
}

/* The smallest key such that tokens up to it have a mass of at least `need`, which is at most what
 * all have; *before, the mass of smaller keys. */
DEVICE_CALL uint64_t reach(pick_shared *s, int mode, const pick_room *r, const double *x, int n,
                      uint64_t need, uint64_t *before)
{
    int bits = mode == BY_NUMBER || mode == BY_WEIGHT ? WEIGHT_BITS : 64;
    uint64_t prefix = 0, have = 0;
    for (int shift = rm_ceil_div(bits, DIGIT_BITS) * DIGIT_BITS - DIGIT_BITS; shift >= 0;
         shift -= DIGIT_BITS) {
        SYNC();
        for (int i = THREAD; i < DIGITS; i += PICK_THREADS)
            s->u.mass[i] = 0;
        SYNC();
        int above = shift + DIGIT_BITS; /* 66 in the first round of a key of 64 bits */
        for (int v = THREAD; v < n; v += PICK_THREADS) {
            uint64_t mass, key = key_of(mode, r, x, v, &mass);
            if (mass && (above >= 64 || key >> above == prefix))
                ADD_U64(&s->u.mass[key >> shift & (DIGITS - 1)], mass);
        }
        SYNC();
        if (WARP == 0) { /* a lane sums 64 digits, then one lane looks among its own */
            uint64_t mine = 0, sum;
            for (int i = 0; i < DIGITS / 32; i++)
                mine += s->u.mass[LANE * (DIGITS / 32) + i];
            sum = mine;
            UNROLL for (int step = 1; step < 32; step *= 2)
            {
                uint64_t other = SHUFFLE_U64(sum, LANE >= step ? LANE - step : LANE);
                if (LANE >= step)
                    sum += other;
            }
            uint32_t reached = BALLOT(have + sum >= need);
            int first = 0;
            while (first < 31 && !(reached >> first & 1u))
                first++;
            if (LANE == first) {
                int digit = LANE * (DIGITS / 32), last = digit + DIGITS / 32 - 1;
                uint64_t so_far = have + sum - mine;
                while (digit < last && so_far + s->u.mass[digit] < need)
                    so_far += s->u.mass[digit++];
                s->key = prefix << DIGIT_BITS | (uint64_t)digit;
                s->before = so_far;
            }
        }
        SYNC();
        prefix = s->key;
        have = s->before;
    }
    SYNC();
    *before = have;
    return prefix;
}

/* The contiguous range of a thread. */
DEVICE void range_of(int n, int *from, int *to)
{
    int each = rm_ceil_div(n, PICK_THREADS);
    *from = THREAD * each < n ? THREAD * each : n;
    *to = *from + each < n ? *from + each : n;
}

/* ---- filters on weights; each returns what is left ------------------------------------------------ */

DEVICE uint64_t drop_below(pick_shared *s, const pick_room *r, int n, uint64_t least)
{
    uint64_t left = 0;
    for (int v = THREAD; v < n; v += PICK_THREADS) {
        if (r->w[v] < least)
            r->w[v] = 0;
        left += r->w[v];
    }
    return block_sum(s, left);
}

DEVICE uint64_t filter_top_k(pick_shared *s, const pick_room *r, int n, int k)
{
    uint64_t before, key = reach(s, BY_NUMBER, r, NULL, n, (uint64_t)k, &before);
    return drop_below(s, r, n, (UINT64_C(1) << (WEIGHT_BITS - 1)) - key);
}

DEVICE uint64_t filter_top_p(pick_shared *s, const pick_room *r, int n, double top_p,
                             uint64_t total)
{
    uint64_t need = rm_share_of(top_p, total), before, ties = 0;
    uint64_t key = reach(s, BY_WEIGHT, r, NULL, n, need, &before);
    uint64_t least = (UINT64_C(1) << (WEIGHT_BITS - 1)) - key;
    uint64_t kept = (need - before + least - 1) / least; /* of the ties, by id */
    int from, to;
    range_of(n, &from, &to);
    for (int v = from; v < to; v++)
        ties += r->w[v] == least;
    uint64_t rank = block_before(s, ties), left = 0;
    for (int v = from; v < to; v++) {
        if (r->w[v] < least || (r->w[v] == least && rank++ >= kept))
            r->w[v] = 0;
        left += r->w[v];
    }
    return block_sum(s, left);
}

DEVICE uint64_t filter_min_p(pick_shared *s, const pick_room *r, int n, double min_p)
{
    uint64_t max = 0;
    for (int v = THREAD; v < n; v += PICK_THREADS)
        max = r->w[v] > max ? r->w[v] : max;
    return drop_below(s, r, n, rm_share_of(min_p, block_max(s, max)));
}

DEVICE uint64_t filter_typical(pick_shared *s, const pick_room *r, int n, double typical_p,
                               uint64_t total)
{
    double log_total = rm_log((double)total);
    for (int v = THREAD; v < n; v += PICK_THREADS)
        r->key[v] = r->w[v] ? rm_surprise(log_total, r->w[v]) : 0.0;
    double entropy = ordered_sum(s, NULL, NULL, r->key, 0.0, r->w, total, n, 1);
    for (int v = THREAD; v < n; v += PICK_THREADS) {
        double distance = r->key[v] - entropy;
        r->key[v] = distance < 0.0 ? -distance : distance;
    }
    SYNC();
    uint64_t before, left = 0;
    uint64_t most = reach(s, BY_DISTANCE, r, r->key, n, rm_share_of(typical_p, total), &before);
    for (int v = THREAD; v < n; v += PICK_THREADS) {
        if (r->w[v] && r->key[v] > rm_from_bits(most))
            r->w[v] = 0;
        left += r->w[v];
    }
    return block_sum(s, left);
}

/* ---- drawing ---------------------------------------------------------------------------------------- */

DEVICE uint64_t make_weights(pick_shared *s, const pick_room *r, const float *row, const double *x,
                             int begin, int end, double max, double temperature)
{
    uint64_t total = 0;
    for (int v = begin + THREAD; v < end; v += PICK_THREADS) {
        r->w[v] = rm_weight_of(entry(row, x, v), max, temperature);
        total += r->w[v];
    }
    return block_sum(s, total);
}

/* Leaves the token and its log-probability in s. */
DEVICE void draw(pick_shared *s, const rm_pick_item *p, const pick_room *r, int n, uint64_t total)
{
    if (p->top_k > 0 && p->top_k < n)
        total = filter_top_k(s, r, n, p->top_k);
    if (p->top_p < 1.0)
        total = filter_top_p(s, r, n, p->top_p, total);
    if (p->min_p > 0.0)
        total = filter_min_p(s, r, n, p->min_p);
    if (p->typical_p < 1.0)
        total = filter_typical(s, r, n, p->typical_p, total);
    SYNC(); /* ranges cross what other threads wrote */
    uint64_t at = rm_scale(rm_random(p->seed, p->stream, p->index, 0), total), mine = 0;
    int from, to;
    range_of(n, &from, &to);
    for (int v = from; v < to; v++)
        mine += r->w[v];
    uint64_t sum = block_before(s, mine);
    if (at >= sum && at < sum + mine)
        for (int v = from; v < to; v++) {
            sum += r->w[v];
            if (sum > at) {
                s->token = v;
                s->lp_sampling = rm_log_share(r->w[v], total);
                break;
            }
        }
    SYNC();
}

/* ---- distributions ----------------------------------------------------------------------------------- */

DEVICE int has_penalty(const rm_pick_item *p)
{
    return p->repetition_penalty != 1.0 && p->n_history > 0;
}

/* Every entry follows from the raw one, so tokens seen twice count once. */
DEVICE const float *penalised_row(const rm_pick_item *p, const pick_room *r, int from, int to)
{
    const float *raw = p->row[0];
    SYNC();
    for (int v = from + THREAD; v < to; v += PICK_THREADS)
        r->row[v] = raw[v];
    SYNC();
    for (int i = THREAD; i < p->n_history; i += PICK_THREADS) {
        int v = p->history[i];
        if (v >= from && v < to)
            r->row[v] = (float)rm_penalised((double)raw[v], p->repetition_penalty);
    }
    SYNC();
    return r->row;
}

DEVICE const double *penalised_lp(const rm_pick_item *p, const pick_room *r, int n)
{
    SYNC();
    for (int v = THREAD; v < n; v += PICK_THREADS)
        r->key[v] = r->lp[v];
    SYNC();
    for (int i = THREAD; i < p->n_history; i += PICK_THREADS) {
        int v = p->history[i];
        r->key[v] = rm_penalised(r->lp[v], p->repetition_penalty);
    }
    SYNC();
    return r->key;
}

/* r->lp of several rows as one distribution. A thread touches its own entries only. */
DEVICE_CALL void combine(pick_shared *s, const rm_pick_item *p, const pick_room *r, int n, int *bad)
{
    double total = 0.0;
    for (int m = 0; m < p->n_members; m++)
        total += p->weight[m];
    for (int v = THREAD; v < n; v += PICK_THREADS)
        r->lp[v] = 0.0;
    for (int m = 0; m < p->n_members; m++) {
        const float *row = p->row[m];
        double lse = log_sum_exp(s, row, NULL, n, bad), weight = p->weight[m];
        for (int v = THREAD; v < n; v += PICK_THREADS)
            r->lp[v] += p->combine == RM_CUDA_PRODUCT
                            ? rm_product_term(weight, (double)row[v], lse)
                            : rm_mixture_term(weight, total, (double)row[v], lse);
    }
    SYNC();
    double lse = 0.0;
    if (p->combine == RM_CUDA_PRODUCT)
        lse = log_sum_exp(s, NULL, r->lp, n, bad);
    for (int v = THREAD; v < n; v += PICK_THREADS)
        r->lp[v] = p->combine == RM_CUDA_PRODUCT ? r->lp[v] - lse : rm_log(r->lp[v]);
    SYNC();
}

/* ---- wants --------------------------------------------------------------------------------------------- */

/* Draws, or takes the best; token and log-probability of the draw stay in s. `all`: what the parts
 * say, and the weights are there. */
DEVICE_CALL void choose(pick_shared *s, const rm_pick_item *p, const pick_room *r, int combined,
                        const pick_part *all)
{
    int n = p->n_vocab, best;
    const float *row = combined ? NULL : p->row[0];
    const double *x = combined ? r->lp : NULL;
    double max = 0.0;
    uint64_t total = 0;
    if (has_penalty(p) && !all) {
        if (combined)
            x = penalised_lp(p, r, n);
        else
            row = penalised_row(p, r, 0, n);
    }
    if (all)
        best = all->best_id == NO_TOKEN ? 0 : all->best_id;
    else
        best = argmax(s, row, x, 0, n, &max);
    if (THREAD == 0) {
        s->token = best;
        s->lp_sampling = 0.0;
    }
    SYNC();
    if (p->do_sample) {
        total = all ? all->total : make_weights(s, r, row, x, 0, n, max, p->temperature);
        if (total)
            draw(s, p, r, n, total);
    }
}

/* Is selected token a before b? */
DEVICE int sorted_before(uint64_t key_a, int a, uint64_t key_b, int b)
{
    return key_a < key_b || (key_a == key_b && a < b);
}

/* Bitonic sort of keys and ids, any n: in the form where every comparison puts the smaller first,
 * what lies behind the end counts as infinite and never moves (Batcher 1968). */
DEVICE_CALL void sort_pairs(uint64_t *key, int *id, int n)
{
    for (int size = 2; size / 2 < n; size *= 2)
        for (int step = size / 2; step; step /= 2) {
            SYNC();
            int mirror = step == size / 2 ? size - 1 : step; /* the first step turns halves over */
            for (int i = THREAD; i < n; i += PICK_THREADS) {
                int j = i ^ mirror;
                if (j > i && j < n && sorted_before(key[j], id[j], key[i], id[i])) {
                    uint64_t swap_key = key[i];
                    int swap_id = id[i];
                    key[i] = key[j];
                    id[i] = id[j];
                    key[j] = swap_key;
                    id[j] = swap_id;
                }
            }
        }
    SYNC();
}

DEVICE_CALL void serve_top(pick_shared *s, const rm_pick_item *p, const pick_room *r, const double *lp)
{
    int n = p->n_vocab, k = p->k < n ? p->k : n, from, to;
    int *id = (int *)(void *)r->row;
    if (k < 1)
        return;
    uint64_t before, mass, last = reach(s, BY_LP, r, lp, n, (uint64_t)k, &before);
    uint64_t kept = (uint64_t)k - before, ties = 0, smaller = 0;
    range_of(n, &from, &to);
    for (int v = from; v < to; v++) {
        uint64_t key = key_of(BY_LP, r, lp, v, &mass);
        smaller += key < last;
        ties += key == last;
    }
    uint64_t rank = block_before(s, ties), at = block_before(s, smaller);
    for (int v = from; v < to; v++) { /* smaller keys, then ties, each in the order of ids */
        uint64_t key = key_of(BY_LP, r, lp, v, &mass);
        uint64_t place = key < last ? at++ : before + rank;
        if (key == last && rank++ >= kept)
            continue;
        if (key <= last) {
            r->w[place] = key;
            id[place] = v;
        }
    }
    sort_pairs(r->w, id, k);
    for (int i = THREAD; i < k; i += PICK_THREADS) {
        p->out_tokens[i] = id[i];
        p->out_lp[i] = lp[id[i]];
    }
}

DEVICE void serve_others(pick_shared *s, const rm_pick_item *p, const pick_room *r, int combined,
                         double lse)
{
    int n = p->n_vocab;
    if (p->want == RM_CUDA_LOGPROBS || p->want == RM_CUDA_SCORE) {
        for (int i = THREAD; i < p->n_tokens; i += PICK_THREADS)
            p->out_lp[i] =
                combined ? r->lp[p->tokens[i]] : (double)p->row[0][p->tokens[i]] - lse;
        return;
    }
    if (!combined)
        for (int v = THREAD; v < n; v += PICK_THREADS)
            r->lp[v] = (double)p->row[0][v] - lse;
    SYNC();
    const double *lp = has_penalty(p) ? penalised_lp(p, r, n) : r->lp;
    if (p->want == RM_CUDA_TOP)
        serve_top(s, p, r, lp);
    else
        for (int v = THREAD; v < n; v += PICK_THREADS)
            p->out_lp[v] = lp[v];
}

DEVICE void serve(pick_shared *s, const rm_pick_item *p, const pick_room *r)
{
    int n = p->n_vocab, combined = p->n_members > 1, bad = 0;
    double lse = 0.0;
    if (combined)
        combine(s, p, r, n, &bad);
    else
        lse = log_sum_exp(s, p->row[0], NULL, n, &bad);
    if (THREAD == 0)
        p->result->no_numbers = bad;
    if (p->want == RM_CUDA_SPAN) {
        choose(s, p, r, combined, NULL);
        if (THREAD == 0) {
            p->result->token = s->token;
            p->result->lp = combined ? r->lp[s->token] : (double)p->row[0][s->token] - lse;
            p->result->lp_sampling = s->lp_sampling;
        }
    } else {
        serve_others(s, p, r, combined, lse);
    }
    SYNC(); /* the room is free for the next pick */
}

/* The same from parts. Of a span the blocks y = 0 and 1 each do a half: the one leaves the
 * log-sum-exp where the log-probability is to be. */
DEVICE void serve_from_parts(pick_shared *s, const rm_pick_args *a, const rm_pick_item *p,
                             const pick_room *r)
{
    int n = p->n_vocab;
    pick_part all = whole(a, r, n);
    if (BLOCK_Y) {
        if (p->want != RM_CUDA_SPAN)
            return;
        choose(s, p, r, 0, &all);
        if (THREAD == 0) {
            p->result->token = s->token;
            p->result->lp_sampling = s->lp_sampling;
        }
        return;
    }
    double lse = all.max + rm_log(ordered_sum(s, r->lp, NULL, NULL, 0.0, NULL, 0, n, RM_SUM_LANES));
    if (THREAD == 0)
        p->result->no_numbers = !(lse < RM_INF);
    if (p->want != RM_CUDA_SPAN)
        serve_others(s, p, r, 0, lse);
    else if (THREAD == 0)
        p->result->lp = lse;
}

/* ---- kernels --------------------------------------------------------------------------------------------- */

KERNEL(pick_maxima, rm_pick_args, PICK_THREADS)
{
    AFTER_PREVIOUS();
    SHARED(pick_shared, s);
    const rm_pick_item *p = &a.item[BLOCK_Y];
    int n = p->n_vocab, length = part_length(a.part, n), from = BLOCK_X * length;
    if (!in_parts(&a, p) || from >= n)
        return;
    int to = from + length < n ? from + length : n;
    pick_room room = room_of(&a, BLOCK_Y, n);
    pick_part part;
    part.total = 0;
    part.pad = 0;
    part.best_id = argmax(s, p->row[0], NULL, from, to, &part.max);
    part.best = part.max;
    if (p->want == RM_CUDA_SPAN && has_penalty(p))
        part.best_id =
            argmax(s, penalised_row(p, &room, from, to), NULL, from, to, &part.best);
    if (THREAD == 0)
        room.part[BLOCK_X] = part;
}

KERNEL(pick_weights, rm_pick_args, PICK_THREADS)
{
    AFTER_PREVIOUS();
    SHARED(pick_shared, s);
    const rm_pick_item *p = &a.item[BLOCK_Y];
    int n = p->n_vocab, length = part_length(a.part, n), from = BLOCK_X * length;
    if (!in_parts(&a, p) || from >= n)
        return;
    int to = from + length < n ? from + length : n;
    pick_room room = room_of(&a, BLOCK_Y, n);
    pick_part all = whole(&a, &room, n);
    const float *row = p->row[0];
    for (int v = from + THREAD; v < to; v += PICK_THREADS)
        room.lp[v] = rm_exp((double)row[v] - all.max);
    if (p->want != RM_CUDA_SPAN || !p->do_sample)
        return;
    uint64_t total = make_weights(s, &room, has_penalty(p) ? room.row : row, NULL, from, to,
                                  all.best, p->temperature);
    if (THREAD == 0)
        room.part[BLOCK_X].total = total; /* which nobody reads before the next launch */
}

KERNEL(picks, rm_pick_args, PICK_THREADS)
{
    AFTER_PREVIOUS();
    SHARED(pick_shared, s);
    for (int i = BLOCK_X; i < a.n_items; i += GRID_X) {
        const rm_pick_item *p = &a.item[i];
        pick_room room = room_of(&a, BLOCK_X, p->n_vocab);
        if (in_parts(&a, p))
            serve_from_parts(s, &a, p, &room);
        else if (p->want >= 0 && BLOCK_Y == 0)
            serve(s, p, &room);
    }
}

enum { JOIN_THREADS = 128 };

KERNEL(pick_join, rm_pick_args, JOIN_THREADS)
{
    AFTER_PREVIOUS();
    int i = BLOCK_X * JOIN_THREADS + THREAD;
    if (i >= a.n_items)
        return;
    const rm_pick_item *p = &a.item[i];
    if (in_parts(&a, p) && p->want == RM_CUDA_SPAN)
        p->result->lp = (double)p->row[0][p->result->token] - p->result->lp;
}

static int launch_parts(const rm_pick_args *p, rm_stream stream)
{
    int length = rm_ceil_div(p->n_vocab, MOST_PARTS);
    int parts = rm_ceil_div(p->n_vocab, p->part > length ? p->part : length);
    int status = LAUNCH(pick_maxima, parts, p->n_items, 1, PICK_THREADS, sizeof(pick_shared), stream,
                        *p);
    if (!status)
        status = LAUNCH(pick_weights, parts, p->n_items, 1, PICK_THREADS, sizeof(pick_shared),
                        stream, *p);
    if (!status)
        status = LAUNCH(picks, p->n_items, 2, 1, PICK_THREADS, sizeof(pick_shared), stream, *p);
    if (!status)
        status = LAUNCH(pick_join, rm_ceil_div(p->n_items, JOIN_THREADS), 1, 1, JOIN_THREADS, 0,
                        stream, *p);
    return status;
}

int rm_launch_picks(const rm_pick_args *p, rm_stream stream)
{
    rm_pick_args args = *p;
    if (p->n_items < 1)
        return 0;
    if (p->n_slots < 1 || p->n_vocab < 1)
        return RM_BAD_SHAPE;
    if (!args.part)
        args.part = p->n_vocab < LONG_VOCABULARY ? -1 : PART;
    if (args.part > 0 && p->n_items <= p->n_slots && p->n_items < 65536)
        return launch_parts(&args, stream);
    args.part = -1;
    int blocks = p->n_items < p->n_slots ? p->n_items : p->n_slots;
    return LAUNCH(picks, blocks, 1, 1, PICK_THREADS, sizeof(pick_shared), stream, args);
}
