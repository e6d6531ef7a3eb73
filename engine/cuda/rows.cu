/* rows.cu - what is done to single rows of activations, and to single cells of the cache.
 *
 *   embed        y = table[token]
 *   rms_norm     y = x / sqrt(mean(x^2) + eps) * w
 *   head_norm    the same for heads of a row, each by itself
 *   round        f32 to what the next product takes
 *   rope         (a, b) -> (a cos - b sin, b cos + a sin), Su et al. 2021, arXiv:2104.09864
 *   copies       of rows, of pages
 *
 * All of it has the bits of the CPU backend: a sum of squares is 16 running sums, lane j over
 * elements j, j + 16, ..., folded 8, 4, 2, 1 (ops.h); a chain of D / 16 fused multiply-adds in
 * shared memory is shorter than the launch around it, so nothing is gained by another order. A
 * block serves one row; no row looks at another. */
#include "engine/cuda/pages.h"

int rm_launch_overlap = RM_LAUNCH_OVERLAP;

enum { ROW_THREADS = 256, NORM_TILE = 4096, SUM_LANES = 16 };

/* y[i] and its rounded copy. */
DEVICE void put(float *y, const rm_rounded *rounded, size_t row, int y_stride, int i, float value)
{
    if (y)
        y[row * (size_t)y_stride + (size_t)i] = value;
    if (rounded->to)
        rounded->to[row * (size_t)rounded->stride + (size_t)i] = rm_round_to(rounded->type, value);
}

/* Zeros behind a row's rounded copy: products read whole vectors. */
DEVICE void put_end(const rm_rounded *rounded, size_t row, int width)
{
    if (rounded->to)
        for (int i = width + THREAD; i < rounded->stride; i += THREADS)
            rounded->to[row * (size_t)rounded->stride + (size_t)i] = 0;
}

DEVICE float widened(int type, const void *from, size_t i)
{
    if (type == RM_CUDA_F32)
        return ((const float *)from)[i];
    uint16_t h = ((const uint16_t *)from)[i];
    return type == RM_CUDA_F16 ? rm_from_f16(h) : rm_from_bf16(h);
}

/* ---- rows ------------------------------------------------------------------------------------ */

KERNEL(embed, rm_embed_args, ROW_THREADS)
{
    AFTER_PREVIOUS();
    int row = BLOCK_X;
    int32_t token = a.token[row];
    float *y = a.y + (size_t)row * (size_t)a.y_stride;
    for (int i = THREAD; i < a.width; i += THREADS)
        y[i] = token < 0 ? 0.0f
                         : widened(a.type, a.table, (size_t)token * (size_t)a.width + (size_t)i);
}

int rm_launch_embed(const rm_embed_args *p, rm_stream stream)
{
    if (p->rows < 1)
        return 0;
    return LAUNCH(embed, p->rows, 1, 1, ROW_THREADS, 0, stream, *p);
}

typedef struct norm_shared {
    float tile[NORM_TILE];
    float scale;
} norm_shared;

/* 1 / sqrt(mean(x^2) + eps), for all threads of the block. */
DEVICE float norm_scale(norm_shared *s, const float *x, int width, float eps)
{
    float squares = 0.0f;
    int lane = LANE % SUM_LANES;
    for (int from = 0; from < width; from += NORM_TILE) {
        int n = width - from < NORM_TILE ? width - from : NORM_TILE;
        SYNC(); /* the last tile, or the last head's scale, has been read */
        for (int i = THREAD; i < n; i += THREADS)
            s->tile[i] = x[from + i];
        SYNC();
        if (WARP == 0) /* both halves of the warp add the same */
            for (int i = lane; i < n; i += SUM_LANES)
                squares = RM_FMAF(s->tile[i], s->tile[i], squares);
    }
    if (WARP == 0) {
        UNROLL for (int half = SUM_LANES / 2; half; half /= 2)
            squares += SHUFFLE_XOR_F(squares, half);
        if (LANE == 0)
            s->scale = 1.0f / square_root(squares / (float)width + eps);
    }
    SYNC();
    return s->scale;
}

KERNEL(rms_norm, rm_norm_args, ROW_THREADS)
{
    AFTER_PREVIOUS();
    SHARED(norm_shared, s);
    size_t row = (size_t)BLOCK_X;
    const float *x = a.x + row * (size_t)a.x_stride;
    float scale = norm_scale(s, x, a.width, a.eps);
    for (int i = THREAD; i < a.width; i += THREADS)
        put(a.y, &a.rounded, row, a.y_stride, i, x[i] * scale * a.w[i]);
    put_end(&a.rounded, row, a.width);
}

int rm_launch_rms_norm(const rm_norm_args *p, rm_stream stream)
{
    if (p->rows < 1)
        return 0;
    return LAUNCH(rms_norm, p->rows, 1, 1, ROW_THREADS, sizeof(norm_shared), stream, *p);
}

KERNEL(head_norm, rm_head_norm_args, ROW_THREADS)
{
    AFTER_PREVIOUS();
    SHARED(norm_shared, s);
    float *head = a.y + (size_t)BLOCK_X * (size_t)a.stride +
                  (size_t)(a.first + BLOCK_Y) * (size_t)a.head_dim;
    float scale = norm_scale(s, head, a.head_dim, a.eps);
    for (int i = THREAD; i < a.head_dim; i += THREADS)
        head[i] = head[i] * scale * a.w[i];
}

int rm_launch_head_norm(const rm_head_norm_args *p, rm_stream stream)
{
    if (p->rows < 1 || p->n < 1)
        return 0;
    int threads = p->head_dim >= ROW_THREADS ? ROW_THREADS : (p->head_dim + 31) / 32 * 32;
    return LAUNCH(head_norm, p->rows, p->n, 1, threads, sizeof(norm_shared), stream, *p);
}

KERNEL(round_rows, rm_round_args, ROW_THREADS)
{
    AFTER_PREVIOUS();
    size_t row = (size_t)BLOCK_X;
    const float *x = a.x + row * (size_t)a.x_stride;
    for (int i = THREAD; i < a.width; i += THREADS)
        put(NULL, &a.rounded, row, 0, i, x[i]);
    put_end(&a.rounded, row, a.width);
}

int rm_launch_round(const rm_round_args *p, rm_stream stream)
{
    if (p->rows < 1)
        return 0;
    return LAUNCH(round_rows, p->rows, 1, 1, ROW_THREADS, 0, stream, *p);
}

KERNEL(copy_rows, rm_copy_rows_args, ROW_THREADS)
{
    AFTER_PREVIOUS();
    int32_t to = a.to[BLOCK_X], from = a.from[BLOCK_X];
    if (to < 0 || from < 0)
        return;
    float *y = a.y + (size_t)to * (size_t)a.y_stride;
    const float *x = a.x + (size_t)from * (size_t)a.x_stride;
    for (int i = THREAD; i < a.width; i += THREADS)
        y[i] = x[i];
}

int rm_launch_copy_rows(const rm_copy_rows_args *p, rm_stream stream)
{
    if (p->n < 1)
        return 0;
    return LAUNCH(copy_rows, p->n, 1, 1, ROW_THREADS, 0, stream, *p);
}

/* ---- rotation and the cache -------------------------------------------------------------------- */

KERNEL(rope_table, rm_rope_table_args, ROW_THREADS)
{
    AFTER_PREVIOUS();
    size_t i = (size_t)BLOCK_X * (size_t)THREADS + (size_t)THREAD, half = (size_t)a.half;
    if (i >= (size_t)(a.to - a.from) * half)
        return;
    size_t position = (size_t)a.from + i / half;
    double sine, cosine;
    rm_sincos((double)(int)position * a.scale * a.frequency[i % half], &sine, &cosine);
    float *to = a.cos_sin + (position * half + i % half) * 2;
    to[0] = (float)(cosine * a.magnitude);
    to[1] = (float)(sine * a.magnitude);
}

int rm_launch_rope_table(const rm_rope_table_args *p, rm_stream stream)
{
    if (p->to <= p->from || p->half < 1)
        return 0;
    size_t n = (size_t)(p->to - p->from) * (size_t)p->half;
    return LAUNCH(rope_table, (int)((n + ROW_THREADS - 1) / ROW_THREADS), 1, 1, ROW_THREADS, 0,
                  stream, *p);
}

DEVICE void store_cell(const rm_kv_view *kv, uint8_t *cell, int c, float value)
{
    if (kv->type == RM_CUDA_F32)
        ((float *)cell)[c] = value;
    else
        ((uint16_t *)cell)[c] = rm_to_bf16(value);
}

/* One block a row. A thread rotates a pair and, if it is a key's, stores it; then the dimensions
 * that are not rotated and the values follow. */
KERNEL(rope_store, rm_rope_store_args, ROW_THREADS)
{
    AFTER_PREVIOUS();
    int row = BLOCK_X, C = a.kv.head_dim, P = a.kv.page_positions, G = a.kv.n_kv_heads;
    int32_t position = a.row.position[row];
    if (position < 0)
        return;
    int32_t page = a.kv.page_table[(size_t)a.row.table[row] * (size_t)a.kv.table_stride +
                                   (size_t)(position / P)];
    int at = position % P, half = a.cos_sin ? a.rope_dims / 2 : 0, rotated = 2 * half;
    float *qkv = a.qkv + (size_t)row * (size_t)a.qkv_stride;

    for (int i = THREAD; i < (a.n_heads + G) * half; i += THREADS) {
        int head = i / half, j = i % half, key = head - a.n_heads;
        int p = a.interleaved ? 2 * j : j, q = a.interleaved ? p + 1 : j + half;
        const float *angle = a.cos_sin + ((size_t)position * (size_t)half + (size_t)j) * 2;
        float *x = qkv + (size_t)head * (size_t)C, u = x[p], v = x[q];
        x[p] = RM_FMAF(v, -angle[1], u * angle[0]);
        x[q] = RM_FMAF(u, angle[1], v * angle[0]);
        if (key >= 0) {
            uint8_t *cell = page_row(&a.kv, page, a.layer, key, 0, at);
            store_cell(&a.kv, cell, p, x[p]);
            store_cell(&a.kv, cell, q, x[q]);
        }
    }
    int rest = C - rotated;
    const float *keys = qkv + (size_t)a.n_heads * (size_t)C, *values = keys + (size_t)G * (size_t)C;
    for (int i = THREAD; i < G * rest; i += THREADS) {
        int c = rotated + i % rest;
        store_cell(&a.kv, page_row(&a.kv, page, a.layer, i / rest, 0, at), c,
                   keys[(size_t)(i / rest) * (size_t)C + (size_t)c]);
    }
    for (int i = THREAD; i < G * C; i += THREADS)
        store_cell(&a.kv, page_row(&a.kv, page, a.layer, i / C, 1, at), i % C, values[i]);
}

int rm_launch_rope_store(const rm_rope_store_args *p, rm_stream stream)
{
    if (p->row.rows < 1)
        return 0;
    if (p->rope_dims % 2 || p->rope_dims > p->kv.head_dim)
        return RM_BAD_SHAPE;
    return LAUNCH(rope_store, p->row.rows, 1, 1, ROW_THREADS, 0, stream, *p);
}

enum { COPY_BLOCKS = 32 };

typedef struct copy_word {
    uint64_t low, high;
} copy_word;

KERNEL(kv_copy, rm_kv_copy_args, ROW_THREADS)
{
    AFTER_PREVIOUS();
    int32_t to = a.pair[2 * BLOCK_Y], from = a.pair[2 * BLOCK_Y + 1];
    if (to < 0 || from < 0)
        return;
    copy_word *y = (copy_word *)(void *)(a.base + (size_t)to * a.page_bytes);
    const copy_word *x = (const copy_word *)(const void *)(a.base + (size_t)from * a.page_bytes);
    size_t n = a.page_bytes / sizeof *x, step = (size_t)GRID_X * (size_t)THREADS;
    for (size_t i = (size_t)BLOCK_X * (size_t)THREADS + (size_t)THREAD; i < n; i += step)
        y[i] = x[i];
}

int rm_launch_kv_copy(const rm_kv_copy_args *p, rm_stream stream)
{
    if (p->n < 1)
        return 0;
    if (p->page_bytes % sizeof(copy_word) || p->n > 65535)
        return RM_BAD_SHAPE;
    size_t words = p->page_bytes / sizeof(copy_word);
    int blocks = words < COPY_BLOCKS * ROW_THREADS ? (int)((words + ROW_THREADS - 1) / ROW_THREADS)
                                                   : COPY_BLOCKS;
    return LAUNCH(kv_copy, blocks, p->n, 1, ROW_THREADS, 0, stream, *p);
}
