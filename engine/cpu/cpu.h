/* cpu.h - what the files of the CPU backend share.
 *
 *   cpu.c         the table rm_cpu_ops: tensors, enqueueing
 *   executor.c    worker threads that run an enqueued program
 *   pace.c        what they do beside other programs' threads
 *   memory.c      memory for weights and pages
 *   weight.c      weights: which layout, packed on all threads
 *   panel.c       matrices laid into panels of f32, f16 and bf16
 *   kv.c          pages, rotary tables, the plan of attention
 *   packed.c      quantised weights packed for int8 dot products; blocks.inc has their kernels
 *   expand.c      products with quantised weights that stay as they are in the file
 *   heads.c       normalised heads, the beginning of a sliding window
 *   tiles.c       the tiles an operation is cut into: what a worker runs
 *   kernels.inc   the arithmetic, written once over the vector type of a variant;
 *                 portable.c, avx2.c, avx512.c and avx512bf16.c compile it
 *
 * Layout.  The rows of a tensor are padded to multiples of 16 floats, so that kernels store
 * whole vectors; what lies in the padding is unspecified. Weights are packed into groups of 64
 * outputs (4 vectors of 16; the last group has as many vectors as it needs): the lanes of a
 * vector are outputs, K runs outermost, so every output is one chain of fused multiply-adds in
 * ascending k and no sum is ever folded across lanes. */
#ifndef RM_ENGINE_CPU_H
#define RM_ENGINE_CPU_H

#include <assert.h>
#include <stdatomic.h>

#include "engine/dtype.h"
#include "engine/ops.h"
#include "engine/pick.h"

enum {
    LANES = 16,        /* floats of one vector of the contract */
    GROUP_VECTORS = 4, /* vectors of one weight group */
    GROUP = LANES * GROUP_VECTORS,
    ROW_BLOCK = 48,             /* most rows one product tile computes */
    QUERY_TILE = 32,            /* queries (rows x heads) of one attention tile */
    CHUNK_PAGES = RM_CHUNK / 16 /* most pages of one chunk */
};

/* ---- weights ------------------------------------------------------------------------------- */

/* How a packed matrix lies in memory, and what its inputs are. NV = vectors of the group. */
typedef enum panel_kind {
    PANEL_F32,       /* [K][NV 16] f32, inputs f32 */
    PANEL_F16,       /* [K][NV 16] f16, inputs f32 */
    PANEL_BF16_WIDE, /* [K/2][NV 16][2] bf16, inputs f32 */
    PANEL_BF16,      /* [K/2][NV 16][2] bf16, inputs bf16 */
    PANEL_Q8         /* blocks of any type as packed.c lays them, inputs q8 */
} panel_kind;

/* Inputs of products are f32 rows, or one of these copies of them. */
typedef enum input_kind { INPUT_F32, INPUT_BF16, INPUT_Q8, INPUT_KINDS } input_kind;

/* 32 activations: x = scale q, |q| <= 127. The sums of each half of the q serve weights that are
 * stored with something added (one operand of the dot-product instruction is unsigned). */
typedef struct q8_block {
    float scale;
    int16_t sum[2];
    int8_t q[32];
} q8_block;

static_assert(sizeof(q8_block) == 40, "a block of activations is 40 bytes without padding");

typedef enum weight_class { WEIGHT_VECTOR, WEIGHT_TABLE, WEIGHT_PANELS } weight_class;

struct rm_weight {
    weight_class class;
    panel_kind kind;
    input_kind input;
    bool gated;  /* the first half of a group's vectors are gates, the second ups */
    size_t n, k; /* outputs (of swiglu: F), inputs */
    size_t n_groups;
    int last_vectors;   /* vectors of the last group */
    size_t group_bytes; /* of a full group */
    size_t bytes;       /* of all groups */
    void *data;         /* groups, or the values of a vector */
    float *bias;        /* [n_groups 64] in the order of the lanes, or NULL */
    rm_matrix table;
    rm_dtype packed;   /* of a part: the type of its blocks (packed.c) */
    rm_weight *parts;  /* [n_parts] blocks packed for int8 dot products, or NULL */
    int n_parts;
    rm_matrix *source; /* [n_sources] what panels are made of when they are needed; NULL: packed */
    int n_sources;
};

static inline int group_vectors(const rm_weight *w, size_t group)
{
    return group + 1 == w->n_groups ? w->last_vectors : GROUP_VECTORS;
}

/* ---- tensors ------------------------------------------------------------------------------- */

struct rm_tensor {
    float *data;
    size_t rows, width, stride; /* stride: floats from row to row */
    void *input[INPUT_KINDS];   /* copies as inputs of products, made at first need */
    int current[INPUT_KINDS];   /* leading rows in which the copy says what data says */
    uint64_t program; /* the program that last wrote the tensor, and its operation there */
    size_t writer;
};

/* Bytes from row to row of an input copy. */
size_t cpu_input_stride(input_kind, size_t width);

/* ---- keys and values ----------------------------------------------------------------------- */

/* A page holds `page_positions` positions of all layers:
 *   f32   [layer][G] { keys [C][P]; values [P][Cp] }
 *   bf16  [layer][G] { keys [C/2][P][2]; values [P/2][Cp][2] }
 * with P = page_positions and Cp = C padded to 16. Keys are transposed so that the lanes of a
 * score are positions. bf16 lies in pairs (of dimensions, of positions), the operands of the bf16
 * dot product; what is odd is rounded up and its last half stays zero. */
struct rm_kv {
    rm_kv_shape shape;
    int padded_dim; /* Cp */
    size_t element_bytes;
    size_t key_bytes, head_bytes; /* in a page: keys of a head; keys and values of a head */
    size_t layer_bytes, page_bytes;
    uint8_t **page; /* [n_pages] */
    size_t n_pages, page_capacity;
    void **slab; /* what kv_reserve allocated, to be freed */
    size_t n_slabs, slab_capacity;

    int rope_dims, max_positions, rope_ready; /* positions whose angles are computed */
    bool interleaved;
    double rope_scale, rope_magnitude;
    double *frequency;    /* [rope_dims / 2] */
    float *cosine, *sine; /* [max_positions][rope_dims]; sine signed for its partner */
};

/* One batch as the operations see it; see kv.c. */
typedef struct batch_plan {
    rm_batch batch;
    rm_kv *kv;
    int capacity;       /* rows the arrays below are sized for */
    int *order;         /* [R] rows, those that share pages side by side */
    int *common;        /* [R] leading chunks order[i] shares with order[i - 1] */
    int *sequence;      /* [n_seqs] scratch of the sort, twice */
    int *first, *count; /* [n_seqs] first row and number of rows */
    int n_chunks;       /* of the longest row */
} batch_plan;

rm_status cpu_kv_new(rm_backend *, const rm_kv_shape *, const rm_rope *, int max_positions,
                     rm_kv **, rm_error *);
void cpu_kv_free(rm_backend *, rm_kv *);
size_t cpu_kv_page_bytes(const rm_kv *);
rm_status cpu_kv_reserve(rm_backend *, rm_kv *, size_t n_pages, rm_error *);
bool cpu_plan_grow(batch_plan *, int rows);
void cpu_plan_make(batch_plan *, rm_kv *, const rm_batch *);
void cpu_plan_free(batch_plan *);

static inline int row_chunks(const batch_plan *p, int row)
{
    return p->batch.position[row] / RM_CHUNK + 1;
}

/* The first position a row sees. */
static inline int row_begin(const batch_plan *p, int row)
{
    int window = p->kv->shape.window, position = p->batch.position[row];
    return window && position >= window ? position - window + 1 : 0;
}

/* ---- arithmetic, one table per instruction-set variant -------------------------------------- */

typedef enum epilogue { STORE, ADD, GATE } epilogue;

typedef struct product_args {
    const rm_weight *w;
    const void *x;   /* rows of w->input */
    size_t x_stride; /* bytes */
    float *y;
    size_t y_stride; /* floats */
    epilogue epilogue;
} product_args;

/* One chunk of one kv head for Q queries that all see the same pages. */
typedef struct attend_args {
    int n_queries, head_dim, padded_dim, page_positions;
    rm_dtype type;
    const void *q;                 /* [Q] rows of floats, or of bf16, already divided by sqrt(C) */
    size_t q_stride;               /* bytes */
    const int *valid;              /* [Q] positions of the chunk the query sees, 1 .. 64 */
    const void *keys[CHUNK_PAGES]; /* see rm_kv */
    const void *values[CHUNK_PAGES];
    bool first;                    /* max, sum, out are written; else merged into */
    float *max, *sum;              /* [Q] */
    float *out;                    /* [Q][Cp] */
    float *scores;                 /* scratch [Q][64] */
    const void *next[CHUNK_PAGES]; /* what will be read next: prefetched; may be NULL */
    int next_bytes;                /* of each */
} attend_args;

typedef struct cpu_isa {
    const char *name;
    bool (*available)(void);
    void (*product)(const product_args *, size_t group, int row0, int row1, float *scratch);
    void (*blocks)(const product_args *, size_t group, int row0, int row1, float *scratch);
    void (*norm)(float *y, const float *x, const float *w, float eps, size_t n);
    void (*convert)(input_kind, const float *x, size_t n, void *to); /* n: rounded up to blocks,
                                                                        padding is made 0 */
    void (*embed)(const rm_matrix *, size_t row, float *y);
    void (*scale)(float *y, const float *x, float by, size_t n);
    void (*rope)(float *head, const float *cosine, const float *sine, int n_dims, bool interleaved);
    void (*store_kv)(rm_dtype, const float *k, const float *v, int dim, int positions, int at,
                     void *keys, void *values); /* to position `at` of a head's page */
    void (*attend)(const attend_args *);
    void (*merge)(float *max, float *sum, float *out, float max2, float sum2, const float *out2,
                  size_t n);
    void (*finish)(float *y, const float *out, float sum, size_t n); /* y = out / sum */
    const rm_row_kernels *rows;
} cpu_isa;

extern const cpu_isa cpu_portable;
#if defined(__x86_64__)
extern const cpu_isa cpu_avx2, cpu_avx512, cpu_avx512_bf16;
#endif

/* ---- programs and workers ------------------------------------------------------------------- */

typedef struct worker {
    rm_backend *backend;
    int index;
    void *scratch; /* backend->scratch_bytes, 64-byte aligned */
} worker;

typedef struct op op;
typedef void tile_fn(const op *, worker *, size_t tile);

/* One operation of a program: tiles 0 .. n_tiles-1 in any order, after all operations before. */
struct op {
    tile_fn *tile;
    size_t n_tiles;
    rm_tensor *y;
    const rm_tensor *x;
    const rm_weight *w;
    rm_kv *kv;
    const batch_plan *plan;
    const int32_t *index, *to; /* tokens, or rows of copy_rows */
    const rm_pick *picks;
    input_kind emit; /* y's copy that the tiles also write */
    epilogue epilogue;
    float eps;
    int rows, layer, n_heads, n;
    int rows_per_tile, n_row_tiles;
    bool split; /* attention: a tile is one chunk, partial results go to memory */
    float *partial;
    const void *args; /* of an operation from outside this folder; lives until flush returns */
};

/* pace.c: what a thread of ours does beside other programs' threads. */
typedef struct pace {
    _Alignas(64) atomic_int cpu; /* where it was seen last, from 1; 0: asleep or not yet seen */
    int steps;                   /* operations since it looked at the clock */
    double since;                /* when it last offered its processor */
} pace;

/* Between two operations, holding no tile: gives the processor away now and then, and leaves one
 * that another of our n threads is on. */
void cpu_pace_step(pace *all, int n, int self);
void cpu_pace_rest(pace *); /* the thread goes to sleep */
/* Whether no other of ours was seen on the processor where `self` was. */
bool cpu_pace_apart(const pace *all, int n, int self);

typedef struct executor executor;
typedef struct arena_block arena_block;

struct rm_backend {
    const cpu_isa *isa;
    rm_backend_options options;
    char device[128];
    executor *executor;
    arena_block *arena; /* see memory.c */
    worker *workers;    /* [n_threads] */
    size_t scratch_bytes;
    op *ops; /* the program being enqueued */
    size_t n_ops, op_capacity;
    uint64_t program;   /* its number, from 1 */
    batch_plan **plans; /* those of this program, then unused ones */
    size_t n_plans, plan_capacity;
    float *partial; /* attention's partial results */
    size_t partial_floats;
    rm_status status; /* of enqueueing: reported by flush */
    rm_error error;
};

/* An operation of tiles 0 .. n_tiles-1 behind those enqueued; NULL once enqueueing has failed. Its
 * tiles find `args` in the operation. Training adds its own so. */
op *cpu_enqueue(rm_backend *, tile_fn *, size_t n_tiles, const void *args);
/* Runs tiles 0 .. n_tiles-1 now, on all threads. They find `args` in the operation, and no scratch. */
void cpu_run_tiles(rm_backend *, tile_fn *, size_t n_tiles, const void *args);
/* Every worker's scratch has at least this many bytes when the program runs. */
void cpu_need_scratch(rm_backend *, size_t bytes);

rm_status cpu_executor_new(rm_backend *, rm_error *); /* sets backend->executor */
void cpu_executor_free(executor *);
bool cpu_executor_reserve(executor *, size_t n_ops);
void cpu_executor_run(executor *, const op *, size_t n_ops);

rm_status cpu_weight_new(rm_backend *, const rm_matrix *, const float *const *bias, int n,
                         rm_compute, rm_weight **, rm_error *);
rm_status cpu_weight_new_gated(rm_backend *, const rm_matrix *gate, const rm_matrix *up, rm_compute,
                               rm_weight **, rm_error *);
rm_status cpu_table_new(rm_backend *, const rm_matrix *, rm_weight **, rm_error *);
rm_status cpu_vector_new(rm_backend *, const float *values, size_t n, rm_weight **, rm_error *);
void cpu_weight_free(rm_backend *, rm_weight *);
size_t cpu_weight_bytes(const rm_weight *);

tile_fn tile_embed, tile_norm, tile_convert, tile_product, tile_rope_store, tile_attention,
    tile_merge, tile_copy_rows, tile_copy_page, tile_pick, tile_head_norm;

/* Bytes of scratch the tiles of an operation need. */
size_t cpu_attention_scratch_bytes(int n_queries, const rm_kv *);

/* ---- packed blocks (packed.c, blocks.inc) ----------------------------------------------------- */

/* Values of a super-block; bytes a lane takes of its header, of 32 values, of k values. */
static inline size_t cpu_block_values(rm_dtype type)
{
    return type == RM_Q4_K || type == RM_Q5_K || type == RM_Q6_K ? 256 : 32;
}

static inline size_t cpu_packed_header(rm_dtype type)
{
    switch (type) {
    case RM_Q4_1:
    case RM_Q5_1: return 4;
    case RM_Q4_K:
    case RM_Q5_K: return 4 + 16;
    case RM_Q6_K: return 2 + 16;
    default: return 2;
    }
}

static inline size_t cpu_packed_block(rm_dtype type)
{
    switch (type) {
    case RM_Q8_0: return 32;
    case RM_Q5_0:
    case RM_Q5_1:
    case RM_Q5_K: return 16 + 4;
    case RM_Q6_K: return 16 + 8;
    default: return 16;
    }
}

static inline size_t cpu_packed_lane(rm_dtype type, size_t k)
{
    size_t values = cpu_block_values(type);
    return k / values * (cpu_packed_header(type) + values / 32 * cpu_packed_block(type));
}

/* A piece of a group's blocks as bytes, where a tile has many rows. */
enum { PIECE_BLOCKS = 8 }; /* one super-block of 256, 16 KiB of bytes: half a first-level cache */

typedef struct unpacked_blocks {
    float scale[PIECE_BLOCKS][2][GROUP], min[PIECE_BLOCKS][GROUP]; /* of both halves (q6_k), or one */
    uint8_t q[PIECE_BLOCKS][8 * GROUP * 4]; /* [k / 4][lane][k % 4] */
} unpacked_blocks;

/* It lies in the worker's scratch behind the sums of the tile. */
static inline unpacked_blocks *cpu_unpacked(float *sums)
{
    return (unpacked_blocks *)(void *)(sums + ROW_BLOCK * GROUP);
}

static inline size_t cpu_packed_scratch_bytes(void)
{
    return (size_t)ROW_BLOCK * GROUP * sizeof(float) + sizeof(unpacked_blocks);
}

/* Whether n stacked matrices, or a gated pair, can be packed as blocks. */
bool cpu_can_pack(const rm_matrix *, int n, bool gated);
rm_status cpu_pack_parts(rm_backend *, rm_weight *, const rm_matrix *, int n, rm_error *);
void cpu_packed_product(const cpu_isa *, const product_args *, size_t group, int row0, int row1,
                        float *sums);
void cpu_packed_free(rm_backend *, rm_weight *);

/* panel.c: fills a group's panel from n stacked matrices (gated: the pair), by pieces of `piece`
 * columns: an even number of whole blocks. `rows` is scratch of cpu_panel_rows_bytes(piece). */
enum { CPU_PANEL_PIECE = 256, CPU_PANEL_PAD = 16 }; /* most columns; between two rows of scratch */
void cpu_fill_panel(const rm_weight *, const rm_matrix *, int n, size_t group, size_t piece,
                    uint32_t *rows, char *panel);
/* The matrix, and its row, that a lane of a group computes; NULL beyond the last. */
const rm_matrix *cpu_row_of_lane(const rm_weight *, const rm_matrix *, int n, size_t group,
                                 size_t lane, size_t *row);

static inline size_t cpu_panel_rows_bytes(size_t piece)
{
    return GROUP * (piece + CPU_PANEL_PAD) * sizeof(uint32_t);
}

/* expand.c: weights of types that are widened tile by tile. */
bool cpu_is_expanded(const rm_matrix *, int n);
rm_status cpu_expand_new(rm_weight *, const rm_matrix *, int n, rm_error *);
size_t cpu_expand_scratch_bytes(const rm_weight *);
void cpu_expand_product(const cpu_isa *, const product_args *, size_t group, int row0, int row1,
                        void *scratch);

/* heads.c: positions [from, to) of a chunk moved to the front of one page of RM_CHUNK positions,
 * in cpu_window_bytes of scratch (0 where there is no window). */
size_t cpu_window_bytes(const rm_kv *);
void cpu_window_gather(const rm_kv *, const void *const keys[CHUNK_PAGES], int from, int to,
                       void *scratch, attend_args *);

/* 64-byte aligned and zeroed; NULL when out of memory. The first is given back by free(); the
 * second is for what may stay unused for the most part, the third for what is large and read
 * whole. */
void *cpu_aligned_zeroed(size_t bytes);
void *cpu_lazy_zeroed(size_t bytes);
void cpu_lazy_free(void *);
void *cpu_arena_alloc(rm_backend *, size_t bytes);
void cpu_arena_free(rm_backend *, void *);

static inline size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

#endif
