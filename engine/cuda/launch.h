/* launch.h - what the kernels offer to the host side of the CUDA backend, and nothing else.
 *
 * One function launches one operation on a stream and returns at once: 0, or the number that the
 * runtime gave for a launch it refused. None allocates, waits or reads device memory on the host,
 * so every one can be captured into a CUDA graph. What a replay changes (tokens, positions, page
 * tables, the work list of attention, picks) is read from device memory; what a launch fixes (the
 * number of rows, padded to a bucket; widths; pointers) stands in its argument struct, which is
 * copied at the launch.
 *
 * The header is C11 and C++17. The same kernels compile as plain C for tests/cuda/emulate.h,
 * where device memory is host memory and a stream is ignored.
 *
 * Layouts
 *   activations   f32, row-major [rows][stride], stride >= width, both in elements. Product inputs
 *                 of 16 bits ("rounded" copies) have a stride that is a multiple of 8 and are
 *                 zero in columns width .. stride - 1: kernels that write them see to it. All
 *                 base pointers are 16-byte aligned.
 *   weights       row-major [n][stride], stride a multiple of 8 elements (of 4 for f32), zero
 *                 beyond k. Gated weights interleave 8 rows of gate with 8 rows of up: row
 *                 16 i + j is gate row 8 i + j, row 16 i + 8 + j is up row 8 i + j; F is padded
 *                 with zero rows to a multiple of 8, and n = 2 F padded.
 *   KV pages      page p lies at base + p page_bytes: [layer][kv head][keys, values]
 *                 [position in page][dim], elements f32 or bf16, dim = head size rounded up to 8
 *                 (rm_kv_dim), zero there. Pages must be zeroed when they are made.
 *   rows          a batch row has a token, a position and a page table. A row whose position is
 *                 negative is padding: nothing is stored for it and its attention is 0.
 *
 * The same bits.  No result depends on `rows`, on padding, on which rows stand beside a row, on
 * how the work list of attention cuts the work, or on the launch that computes it.
 * KERNELS.md says what holds for each kernel and why. Compile with --fmad=false. */
#ifndef RM_ENGINE_CUDA_LAUNCH_H
#define RM_ENGINE_CUDA_LAUNCH_H

#include "base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CUstream_st *rm_stream; /* a cudaStream_t */

/* May kernels be placed on the device while the one before them runs (device.h)? For a comparison: no
 * result depends on it. At first RM_LAUNCH_OVERLAP, which is 1 unless the build says otherwise. */
extern int rm_launch_overlap;

/* Element types; the values are those of rm_dtype. */
enum { RM_CUDA_F32 = 0, RM_CUDA_F16 = 1, RM_CUDA_BF16 = 2 };

/* A copy of an f32 result rounded to the type that the next product takes; `to` NULL: none. */
typedef struct rm_rounded {
    uint16_t *to;  /* [rows][stride] */
    int stride;    /* a multiple of 8 */
    int type;      /* RM_CUDA_BF16 or RM_CUDA_F16 */
} rm_rounded;

/* ---- rows of activations --------------------------------------------------------------------- */

/* y[r] = table[token[r]]; a negative token gives zeros. */
typedef struct rm_embed_args {
    float *y;
    const void *table;   /* [V][width] */
    const int32_t *token;/* [rows] */
    int type, rows, width, y_stride;
} rm_embed_args;
int rm_launch_embed(const rm_embed_args *, rm_stream);

/* y = x / sqrt(mean(x^2) + eps) * w in the order of ops.h: the bits of the CPU. y may be x or
 * NULL. */
typedef struct rm_norm_args {
    float *y;
    rm_rounded rounded;
    const float *x, *w;
    float eps;
    int rows, width, x_stride, y_stride;
} rm_norm_args;
int rm_launch_rms_norm(const rm_norm_args *, rm_stream);

/* The same for heads first .. first + n - 1 of every row of y [rows][stride], in place. */
typedef struct rm_head_norm_args {
    float *y;
    const float *w;      /* [head_dim] */
    float eps;
    int rows, stride, first, n, head_dim;
} rm_head_norm_args;
int rm_launch_head_norm(const rm_head_norm_args *, rm_stream);

/* Only the rounded copy. */
typedef struct rm_round_args {
    rm_rounded rounded;
    const float *x;
    int rows, width, x_stride;
} rm_round_args;
int rm_launch_round(const rm_round_args *, rm_stream);

/* y[to[i]] = x[from[i]], i < n; a pair with a negative member is padding. */
typedef struct rm_copy_rows_args {
    float *y;
    const float *x;
    const int32_t *to, *from;
    int n, width, y_stride, x_stride;
} rm_copy_rows_args;
int rm_launch_copy_rows(const rm_copy_rows_args *, rm_stream);

/* ---- products -------------------------------------------------------------------------------- */

enum { RM_PRODUCT_STORE, RM_PRODUCT_ADD, RM_PRODUCT_GATE };

/* y[r][j] = sum_k x[r][k] w[j][k] + bias[j]     STORE
 * y[r][j] += the same                            ADD
 * y[r][i] = silu(gate_i) up_i, w interleaved     GATE: y has n / 2 columns
 *
 * K is split into `split` pieces of whole tiles of 64, which follow from n and k alone
 * (rm_product_split); each piece accumulates in ascending order; the pieces are added in
 * ascending order from `partial`. y may be NULL where only `rounded` is wanted (not for ADD); a
 * product writes a rounded copy only of a multiple of 8 columns. */
typedef struct rm_product_args {
    float *y;
    rm_rounded rounded;
    const void *x;       /* [rows][x_stride]: w_type for rm_launch_product, f32 for _f32 */
    const void *w;       /* [n][w_stride] */
    const float *bias;   /* [n] (interleaved as w if gated) or NULL */
    float *partial;      /* rm_product_partial_floats(rows, n, k) */
    int w_type;          /* product: BF16, F16. product_f32: F32, F16, BF16 (widened exactly) */
    int mode, rows, n, k, x_stride, w_stride, y_stride;
} rm_product_args;

/* Pieces of K: enough that 64-wide tiles fill a large device, and none shorter than 8 tiles. */
RM_BOTH int rm_product_split(int n, int k)
{
    int tiles = (n + 63) / 64, k_tiles = (k + 63) / 64;
    int want = (264 + tiles - 1) / tiles, most = k_tiles / 8;
    int split = want < most ? want : most;
    return split < 1 ? 1 : split;
}

/* Tiles of 64 along K in each piece; the last may have fewer. */
RM_BOTH int rm_product_piece(int n, int k)
{
    int k_tiles = (k + 63) / 64, split = rm_product_split(n, k);
    return (k_tiles + split - 1) / split;
}

/* Floats of `partial`: 0 when nothing is split. */
RM_BOTH size_t rm_product_partial_floats(int rows, int n, int k)
{
    int split = rm_product_split(n, k);
    return split == 1 ? 0 : (size_t)split * (size_t)rows * (size_t)n;
}

int rm_launch_product(const rm_product_args *, rm_stream);     /* tensor cores, mma.sync */
int rm_launch_product_f32(const rm_product_args *, rm_stream); /* FMA; one piece: the CPU's bits */

/* The end of a product by itself, for sums that somebody else computed (cuBLASLt): adds
 * partial[0 .. split), [split][rows][n] with rows apart by n, in ascending order, then bias and
 * mode as above. Reads y, rounded, bias, partial, mode, rows, n, y_stride. */
int rm_launch_product_finish(const rm_product_args *, int split, rm_stream);

/* ---- keys and values ------------------------------------------------------------------------- */

RM_BOTH int rm_kv_dim(int head_dim)
{
    return (head_dim + 7) / 8 * 8;
}

typedef struct rm_kv_view {
    uint8_t *base;
    size_t page_bytes;       /* rm_kv_page_bytes */
    int type;                /* RM_CUDA_F32, RM_CUDA_BF16 */
    int n_kv_heads, head_dim, page_positions; /* 16, 32 or 64 positions */
    int window;              /* 0: all */
    const int32_t *page_table; /* [tables][table_stride] page ids from position 0 on */
    int table_stride;
} rm_kv_view;

RM_BOTH size_t rm_kv_page_bytes(int n_layers, int n_kv_heads, int head_dim,
                                      int page_positions, int type)
{
    return (size_t)n_layers * (size_t)n_kv_heads * 2 * (size_t)page_positions *
           (size_t)rm_kv_dim(head_dim) * (type == RM_CUDA_F32 ? 4 : 2);
}

/* The rows of a batch, in device memory. */
typedef struct rm_row_view {
    const int32_t *position; /* [rows], negative: padding */
    const int32_t *table;    /* [rows] which page table */
    int rows;
} rm_row_view;

/* cos_sin[p][i] = (cos, sin)(p scale frequency[i]) magnitude for from <= p < to, i < half; the
 * bits of the CPU's table. */
typedef struct rm_rope_table_args {
    float *cos_sin;          /* [positions][half][2] */
    const double *frequency; /* [half], in device memory */
    double scale, magnitude;
    int from, to, half;
} rm_rope_table_args;
int rm_launch_rope_table(const rm_rope_table_args *, rm_stream);

/* qkv [rows][qkv_stride] holds n_heads queries, then keys, then values. Rotates queries and keys
 * in place and stores keys and values in the rows' pages. */
typedef struct rm_rope_store_args {
    float *qkv;
    rm_row_view row;
    rm_kv_view kv;
    const float *cos_sin;    /* NULL: no rotation */
    int rope_dims, interleaved, n_heads, layer, qkv_stride;
} rm_rope_store_args;
int rm_launch_rope_store(const rm_rope_store_args *, rm_stream);

/* Copies whole pages, all layers: pair[2 i + 1] to pair[2 i]; negative members are padding. No
 * page may be both read and written. */
typedef struct rm_kv_copy_args {
    uint8_t *base;
    size_t page_bytes;
    const int32_t *pair;     /* [n][2] (to, from) */
    int n;
} rm_kv_copy_args;
int rm_launch_kv_copy(const rm_kv_copy_args *, rm_stream);

/* ---- attention ------------------------------------------------------------------------------- *
 * The cache is cut into chunks of 64 positions. For one query and one chunk (max, sum, out[C])
 * follow from these two alone; a query's chunks are folded in ascending order. Who computes what
 * is the work list's business and changes no bit, so the host cuts the work as it likes:
 *
 *   partial items  compute chunks for the rows of a group and leave (max, sum, out) in scratch.
 *                  Every chunk that several rows see in the same pages should be one: it is read
 *                  once for all of them and all query heads of a group. And the long past of a few
 *                  rows should be many: they run side by side.
 *   finish items   one for each row (or several rows of one sequence in a prefill): fold what
 *                  partial items left for chunks 0 .. first_chunk - 1, then compute the chunks
 *                  from first_chunk to the row's own position one after another, fold them, and
 *                  write the result. A finish item needs no count of chunks: it follows from the
 *                  positions, so that a graph may be replayed while rows advance.
 *
 * An item takes at most rm_attend_rows(ratio) rows, ratio = query heads for each kv head. With
 * more rows on a chunk, make more items (the chunk then comes from the L2 cache). A launch runs one
 * block for each item and kv head. Items with n_rows == 0 are padding.
 *
 * A row's partial results lie in slots first_slot[row] + chunk, chunk < its finish item's
 * first_chunk; a slot is [H][2 + C] floats: max, sum, out. The host sees that slots suffice and
 * that every one a finish item folds was written by the partial launch before. Under a window the
 * chunks that a row cannot see at all need no partial item: folding skips them. */
typedef struct rm_attend_item {
    int32_t first_row, n_rows; /* row_list[first_row .. first_row + n_rows) */
    int32_t chunk, n_chunks;   /* partial: chunk .. chunk + n_chunks - 1. finish: first_chunk, unused */
    int32_t table;             /* the page table that covers these chunks for all rows of the item */
} rm_attend_item;

typedef struct rm_attend_args {
    float *y;                  /* [rows][y_stride]: H heads of C */
    rm_rounded rounded;        /* the same for the next product */
    const float *qkv;          /* queries rotated by rope_store */
    rm_row_view row;
    rm_kv_view kv;
    const rm_attend_item *item;/* [n_items] in device memory */
    const int32_t *row_list;   /* rows of items */
    const int32_t *first_slot; /* [rows] */
    float *scratch;            /* slots */
    int n_items, n_heads, layer, qkv_stride, y_stride;
} rm_attend_args;

enum {
    RM_ATTEND_QUERIES = 32, /* queries (rows x heads of a group) that a block serves together */
    RM_ATTEND_DIM = 256     /* the largest head size */
};

/* Most rows of an item; never 0: a larger ratio is served in several rounds. */
RM_BOTH int rm_attend_rows(int ratio)
{
    return ratio >= RM_ATTEND_QUERIES ? 1 : RM_ATTEND_QUERIES / ratio;
}

RM_BOTH size_t rm_attend_slot_floats(int n_heads, int head_dim)
{
    return (size_t)n_heads * (size_t)(head_dim + 2);
}

int rm_launch_attend_partial(const rm_attend_args *, rm_stream); /* y, rounded unused */
int rm_launch_attend_finish(const rm_attend_args *, rm_stream);  /* rows in no item: untouched */

/* ---- picks ----------------------------------------------------------------------------------- *
 * The counterpart of rm_pick (engine/pick.h): equal logits give equal results, bit for bit. */
enum { RM_CUDA_MEMBERS = 8 };

/* The values of rm_want and rm_combine. */
enum {
    RM_CUDA_SPAN = 1, RM_CUDA_TOP = 2, RM_CUDA_LOGPROBS = 3, RM_CUDA_SCORE = 4, RM_CUDA_ALL = 5,
    RM_CUDA_PRODUCT = 1
};

typedef struct rm_pick_result { /* of SPAN; no_numbers of every want */
    double lp, lp_sampling;
    int32_t token, no_numbers;
} rm_pick_result;

typedef struct rm_pick_item { /* in device memory */
    const float *row[RM_CUDA_MEMBERS];  /* logits, [n_vocab] each */
    double weight[RM_CUDA_MEMBERS];
    int32_t want;                       /* rm_want; negative: padding */
    int32_t n_members, combine, n_vocab;
    int32_t do_sample, top_k;           /* rm_sampling; the off values where there is none */
    double temperature, top_p, min_p, typical_p, repetition_penalty;
    uint64_t seed, stream;              /* of the draw */
    uint32_t index;
    int32_t n_history;
    const int32_t *history;
    int32_t k, n_tokens;                /* TOP, LOGPROBS and SCORE */
    const int32_t *tokens;
    int32_t *out_tokens;                /* TOP: [k] */
    double *out_lp;                     /* TOP: [k], LOGPROBS, SCORE: [n_tokens], ALL: [n_vocab] */
    rm_pick_result *result;
} rm_pick_item;

typedef struct rm_pick_args {
    const rm_pick_item *item;           /* [n_items] */
    uint8_t *scratch;                   /* n_slots rm_pick_slot_bytes(largest n_vocab) */
    int n_items, n_slots, n_vocab;      /* n_slots blocks run; each serves every n_slots-th item */
    int part;                           /* entries of a row that one of several blocks looks at, where
                                           every item has a slot; negative: one block a pick; 0: what
                                           suits the vocabulary. It changes no bit */
} rm_pick_args;

size_t rm_pick_slot_bytes(int n_vocab);
int rm_launch_picks(const rm_pick_args *, rm_stream);

/* ---- spans on the device --------------------------------------------------------------------- *
 * Between two steps of decoding: takes what was picked and prepares the rows' next token. One entry
 * for each member of a path that draws; entries of one pick have the same `pick`, and one of them
 * `leads` (moves the pick on, and the history if it has one). Pages for all positions a span may
 * reach stand in the row's table before it begins. A span ends with a stop token, when `left` is
 * used up, where there are no numbers, or when the host has set `gone`: its rows become padding, its
 * pick too. */
typedef struct rm_span_entry {
    rm_pick_item *pick;
    int32_t *token, *position; /* of its row in its model's batch */
    const int32_t *gone;       /* not 0: nobody wants more of this path */
    const int32_t *stop;       /* [n_stop] */
    int32_t *history;          /* tokens of the path; the drawn one goes to history[n_history]; NULL */
    int32_t n_stop, leads;
    int32_t left;              /* tokens it may still draw, the one just drawn included; 0: ended */
    int32_t pad;
} rm_span_entry;

typedef struct rm_span_args {
    rm_span_entry *entry;      /* [n] */
    int n;
} rm_span_args;
int rm_launch_span_step(const rm_span_args *, rm_stream);

#ifdef __cplusplus
}
#endif

#endif
