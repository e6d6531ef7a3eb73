/* attention.cu - attention over pages of keys and values.
 *
 *     y = softmax(q k^T / sqrt(C)) v     over the positions that a row sees
 *
 * in chunks of RM_CHUNK positions from position 0, each with its own maximum (online softmax:
 * Milakov & Gimelshein 2018, arXiv:1805.02867; chunks as parallel work: Dao et al. 2023,
 * "Flash-Decoding"):
 *
 *     m = max s_t,  p_t = exp(s_t - m),  l = sum p_t,  o = sum p_t v_t         of one chunk
 *     M' = max(M, m),  a = exp(M - M'),  b = exp(m - M'),  L' = l b + L a,  O' = o b + O a
 *
 * Chunks fold in ascending order into (M, L, O), and y = O / L. A block has one kv head and up to 32
 * queries, rows times the heads that share it; it reads a chunk's keys and values once for all of
 * them. Whether the chunk's (m, l, o) goes straight into the fold (finish items) or waits in
 * scratch for the fold (partial items) is the same arithmetic: a float that was stored and loaded
 * is the same float. So the work list never shows in a result, a prefix that siblings share can be
 * read once for all, and prefill and decode agree.
 *
 * The same bits for a query among any others: every output of mma.sync depends on one row of A and
 * one column of B, a query is one column, and each number below is computed from one query's.
 *
 * A bf16 cache is read by tensor cores (attention_mma.inc): queries are divided by sqrt(C) and
 * rounded to bf16, weights p are rounded to bf16 and l adds the rounded ones. An f32 cache is read
 * by fused multiply-adds in the CPU's order (attention_wide.inc). Positions that a row does not see
 * have weight 0.
 *
 * Bytes for a decode step of R rows: shared chunks once for every 32 queries, from DRAM once and
 * then from L2; tails once; scratch (C + 2) 4 bytes written and read for each row, head and
 * partial chunk. With 64 rows, 7 heads a group, C = 128 and 8 shared chunks that is 7.5 MB a
 * layer, beside 1 MB of shared and up to 33 MB of own keys and values. */
#include "engine/cuda/pages.h"

#include <string.h>

enum {
    RM_CHUNK = 64,
    ATTEND_THREADS = 128,
    ATTEND_WARPS = ATTEND_THREADS / 32,
    QUERY_TILES = RM_ATTEND_QUERIES / 8,
    SCORE_STRIDE = RM_CHUNK + 4, /* the four columns of a fragment lie in different banks */
    WEIGHT_STRIDE = RM_CHUNK + 8,
    FOLDED_AT_ONCE = 32
};

#define INFINITE __builtin_inff()
#define GLUE(a, b)       GLUE_NAMES(a, b)
#define GLUE_NAMES(a, b) a##_##b

/* The queries of a block and what was folded of them so far. */
typedef struct attend_queries {
    int row[RM_ATTEND_QUERIES]; /* -1: none */
    int head[RM_ATTEND_QUERIES], position[RM_ATTEND_QUERIES], slot[RM_ATTEND_QUERIES];
    float max[RM_ATTEND_QUERIES], sum[RM_ATTEND_QUERIES];
    float chunk_max[RM_ATTEND_QUERIES], chunk_sum[RM_ATTEND_QUERIES];
    float keep[RM_ATTEND_QUERIES], take[RM_ATTEND_QUERIES];
    int begin, end; /* positions that any of them sees */
} attend_queries;

/* First position a query sees. */
DEVICE int first_seen(int position, int window)
{
    return window && position >= window ? position - window + 1 : 0;
}

/* Positions [from, to) of a chunk that a query sees, counted within the chunk. */
DEVICE void visible(const attend_queries *q, int query, int chunk, int window, int *from, int *to)
{
    int low = first_seen(q->position[query], window) - chunk * RM_CHUNK;
    int high = q->position[query] + 1 - chunk * RM_CHUNK;
    *from = low < 0 ? 0 : low > RM_CHUNK ? RM_CHUNK : low;
    *to = q->row[query] < 0 || high < 0 ? 0 : high > RM_CHUNK ? RM_CHUNK : high;
}

/* Lists queries done .. done + 31 of an item: rows, and the heads of the block's group for each.
 * Returns the tiles of 8 they fill. All threads take part. */
DEVICE int list_queries(const rm_attend_args *a, attend_queries *q, const rm_attend_item *item,
                        int done)
{
    int ratio = a->n_heads / a->kv.n_kv_heads, n = item->n_rows * ratio - done;
    if (n > RM_ATTEND_QUERIES)
        n = RM_ATTEND_QUERIES;
    if (WARP == 0) {
        int i = LANE, row = -1, position = -1;
        if (i < n) {
            row = a->row_list[item->first_row + (done + i) / ratio];
            position = a->row.position[row];
            q->slot[i] = a->first_slot ? a->first_slot[row] : 0;
        }
        q->row[i] = row;
        q->head[i] = BLOCK_Y * ratio + (done + i) % ratio;
        q->position[i] = position;
        q->max[i] = -INFINITE;
        q->sum[i] = 0.0f;
        uint32_t end = (uint32_t)(position + 1);
        uint32_t begin = position < 0 ? 0x7fffffffu
                                      : (uint32_t)first_seen(position, a->kv.window);
        UNROLL for (int half = 16; half; half /= 2) {
            uint32_t other = SHUFFLE_XOR_U(end, half), before = SHUFFLE_XOR_U(begin, half);
            end = other > end ? other : end;
            begin = before < begin ? before : begin;
        }
        if (LANE == 0) {
            q->end = (int)end;
            q->begin = end ? (int)begin : 0;
        }
    }
    SYNC();
    return rm_ceil_div(n, 8);
}

/* 16 bytes of the keys (side 0) or values of a position; zeros from `end` and from the head's
 * size on. */
DEVICE void copy_vector(const rm_attend_args *a, void *to, const int32_t *pages, int position,
                        int end, int side, int vector)
{
    int P = a->kv.page_positions, each = a->kv.type == RM_CUDA_F32 ? 4 : 8;
    int shift = P == 64 ? 6 : P == 32 ? 5 : 4; /* no division for every vector */
    int real = position < end && vector * each < rm_kv_dim(a->kv.head_dim);
    const uint8_t *from = a->kv.base;
    if (real)
        from = page_row(&a->kv, pages[position >> shift], a->layer, BLOCK_Y, side,
                        position & (P - 1)) +
               16 * vector;
    COPY_ASYNC16(to, from, real);
}

/* q_c / sqrt(C), 0 outside. */
DEVICE float scaled_query(const rm_attend_args *a, const attend_queries *q, int query, int c)
{
    int C = a->kv.head_dim;
    if (c >= C || q->row[query] < 0)
        return 0.0f;
    return a->qkv[(size_t)q->row[query] * (size_t)a->qkv_stride +
                  (size_t)q->head[query] * (size_t)C + (size_t)c] *
           (1.0f / square_root((float)C));
}

DEVICE uint32_t two_halves(const uint16_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* (M, L) and a chunk's (m, l): the new (M, L), and the factors for the outputs. */
DEVICE void fold_pair(float *max, float *sum, float m, float l, float *keep, float *take)
{
    float both = *max > m ? *max : m;
    *keep = *sum == 0.0f ? 0.0f : rm_expf(*max - both); /* nothing was folded yet */
    *take = rm_expf(m - both);
    *sum = RM_FMAF(l, *take, *sum * *keep);
    *max = both;
}

DEVICE void fold_query(attend_queries *q, int query, int seen, float max, float sum)
{
    q->chunk_max[query] = max;
    q->chunk_sum[query] = sum;
    q->keep[query] = 1.0f;
    q->take[query] = 0.0f;
    if (seen)
        fold_pair(&q->max[query], &q->sum[query], max, sum, &q->keep[query], &q->take[query]);
}

/* O a + o b. A chunk without weight is not read: nobody may have written it. */
DEVICE float folded(float out, const float *o, float keep, float take)
{
    float kept = out * keep;
    return take == 0.0f ? kept : RM_FMAF(*o, take, kept);
}

/* Float i of a query's partial result of a chunk: max, sum, out. */
DEVICE float *slot_of(const rm_attend_args *a, const attend_queries *q, int query, int chunk, int i)
{
    size_t slot = (size_t)(q->slot[query] + chunk) * (size_t)a->n_heads + (size_t)q->head[query];
    return a->scratch + slot * (size_t)(a->kv.head_dim + 2) + (size_t)i;
}

/* Folds (max, sum) of chunks from .. from + count - 1 that partial items left, and leaves the
 * factors of their outputs: factor[query SCORE_STRIDE + b] keeps, FOLDED_AT_ONCE further takes. */
DEVICE void fold_factors(const rm_attend_args *a, attend_queries *q, float *factor, int from,
                         int count, int n_queries)
{
    for (int i = THREAD; i < n_queries * count; i += ATTEND_THREADS) {
        int query = i / count, b = i % count, low, high;
        visible(q, query, from + b, a->kv.window, &low, &high);
        float *at = factor + query * SCORE_STRIDE + b;
        at[0] = high > low ? *slot_of(a, q, query, from + b, 0) : -INFINITE;
        at[FOLDED_AT_ONCE] = high > low ? *slot_of(a, q, query, from + b, 1) : 0.0f;
    }
    SYNC();
    if (THREAD < n_queries)
        for (int b = 0; b < count; b++) {
            float *at = factor + THREAD * SCORE_STRIDE + b, m = at[0], l = at[FOLDED_AT_ONCE];
            at[0] = 1.0f;
            at[FOLDED_AT_ONCE] = 0.0f;
            if (l != 0.0f)
                fold_pair(&q->max[THREAD], &q->sum[THREAD], m, l, &at[0], &at[FOLDED_AT_ONCE]);
        }
    SYNC();
}

DEVICE void put_attended(const rm_attend_args *a, const attend_queries *q, int query, int c,
                         float out)
{
    size_t row = (size_t)q->row[query];
    size_t column = (size_t)q->head[query] * (size_t)a->kv.head_dim + (size_t)c;
    float value = q->sum[query] == 0.0f ? 0.0f : out * (1.0f / q->sum[query]);
    if (a->y)
        a->y[row * (size_t)a->y_stride + column] = value;
    if (a->rounded.to)
        a->rounded.to[row * (size_t)a->rounded.stride + column] =
            rm_round_to(a->rounded.type, value);
}

/* Zeros behind the rounded rows of an item. */
DEVICE void pad_attended(const rm_attend_args *a, const rm_attend_item *item)
{
    int width = a->n_heads * a->kv.head_dim;
    if (!a->rounded.to || a->rounded.stride == width)
        return;
    for (int r = 0; r < item->n_rows; r++) {
        size_t row = (size_t)a->row_list[item->first_row + r];
        for (int i = width + THREAD; i < a->rounded.stride; i += ATTEND_THREADS)
            a->rounded.to[row * (size_t)a->rounded.stride + (size_t)i] = 0;
    }
}

/* ---- the kernels of each width --------------------------------------------------------------- */

#define ATTEND_DIM 32
#define ATTEND_BUFFERS 2
#define NAME(x) GLUE(attend_mma_32, x)
#include "engine/cuda/attention_mma.inc"
#include "engine/cuda/attention_kernels.inc"

#define ATTEND_DIM 64
#define ATTEND_BUFFERS 2
#define NAME(x) GLUE(attend_mma_64, x)
#include "engine/cuda/attention_mma.inc"
#include "engine/cuda/attention_kernels.inc"

#define ATTEND_DIM 96
#define ATTEND_BUFFERS 2
#define NAME(x) GLUE(attend_mma_96, x)
#include "engine/cuda/attention_mma.inc"
#include "engine/cuda/attention_kernels.inc"

#define ATTEND_DIM 128
#define ATTEND_BUFFERS 2
#define NAME(x) GLUE(attend_mma_128, x)
#include "engine/cuda/attention_mma.inc"
#include "engine/cuda/attention_kernels.inc"

#define ATTEND_DIM 256
#define ATTEND_BUFFERS 2
#define NAME(x) GLUE(attend_mma_256, x)
#include "engine/cuda/attention_mma.inc"
#include "engine/cuda/attention_kernels.inc"

#define ATTEND_DIM 32
#define ATTEND_BUFFERS 2
#define NAME(x) GLUE(attend_wide_32, x)
#include "engine/cuda/attention_wide.inc"
#include "engine/cuda/attention_kernels.inc"

#define ATTEND_DIM 64
#define ATTEND_BUFFERS 2
#define NAME(x) GLUE(attend_wide_64, x)
#include "engine/cuda/attention_wide.inc"
#include "engine/cuda/attention_kernels.inc"

#define ATTEND_DIM 128
#define ATTEND_BUFFERS 1
#define NAME(x) GLUE(attend_wide_128, x)
#include "engine/cuda/attention_wide.inc"
#include "engine/cuda/attention_kernels.inc"

#define ATTEND_DIM 256
#define ATTEND_BUFFERS 1
#define NAME(x) GLUE(attend_wide_256, x)
#include "engine/cuda/attention_wide.inc"
#include "engine/cuda/attention_kernels.inc"

static int attend(const rm_attend_args *p, int finish, rm_stream stream)
{
    int C = p->kv.head_dim, f32 = p->kv.type == RM_CUDA_F32;
    if (p->n_items < 1)
        return 0;
    if (C < 1 || C > RM_ATTEND_DIM || p->kv.n_kv_heads < 1 || p->n_heads % p->kv.n_kv_heads ||
        (p->kv.page_positions != 16 && p->kv.page_positions != 32 && p->kv.page_positions != 64) || (!f32 && p->kv.type != RM_CUDA_BF16))
        return RM_BAD_SHAPE;
    if (f32)
        return C <= 32    ? attend_wide_32_launch(p, finish, stream)
               : C <= 64  ? attend_wide_64_launch(p, finish, stream)
               : C <= 128 ? attend_wide_128_launch(p, finish, stream)
                          : attend_wide_256_launch(p, finish, stream);
    return C <= 32    ? attend_mma_32_launch(p, finish, stream)
           : C <= 64  ? attend_mma_64_launch(p, finish, stream)
           : C <= 96  ? attend_mma_96_launch(p, finish, stream)
           : C <= 128 ? attend_mma_128_launch(p, finish, stream)
                      : attend_mma_256_launch(p, finish, stream);
}

int rm_launch_attend_partial(const rm_attend_args *p, rm_stream stream)
{
    return attend(p, 0, stream);
}

int rm_launch_attend_finish(const rm_attend_args *p, rm_stream stream)
{
    return attend(p, 1, stream);
}
