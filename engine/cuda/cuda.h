/* cuda.h - what the host files of the CUDA backend share. (launch.h is what the kernels offer.)
 *
 *   cuda.c      the table rm_cuda_ops: opening, tensors, enqueueing
 *   program.c   what was enqueued: one upload, the launches or their graph, one copy back
 *   memory.c    device memory, the areas that travel, the span of the key/value pool
 *   weight.c    matrices onto the device
 *   kv.c        the pool of pages, the batch: positions, page tables
 *   plan.c      the work list of attention, from page lists alone
 *   picks.c     picks to the device, results back
 *   ahead.c     programs that the device goes on with by itself
 *   library.c   products by cuBLASLt, and which of its algorithms may be used
 *   energy.c    joules, from NVML
 *   plugin.c    the symbol by which the engine finds the table
 *   *.cu        the kernels (KERNELS.md)
 *
 * A program is an array of launches. Each launch is one argument struct with every pointer in it:
 * device memory never moves while a program uses it, and what changes from step to step (tokens,
 * positions, page tables, work lists, picks) is read from an area whose layout follows from padded
 * counts. So the programs of two decode steps are equal byte for byte, and that is how a graph is
 * found again (program.c).
 *
 * Numbers of rows are padded to buckets (cuda_bucket). Rows beyond what a caller named hold
 * something finite that nobody reads. */
#ifndef RM_ENGINE_CUDA_CUDA_H
#define RM_ENGINE_CUDA_CUDA_H

#include <assert.h>
#include <cuda_runtime_api.h>

#include "engine/cuda/launch.h"
#include "engine/ops.h"
#include "engine/pick.h"

/* ---- failures ------------------------------------------------------------------------------- */

/* "<what> failed: <the runtime's word for `code`> (cuda/file.c:line)"; out of memory is
 * RM_E_MEMORY, everything else RM_E_IO. */
rm_status cuda_fail(rm_error *, int code, const char *file, int line, const char *format, ...)
    RM_PRINTF(5, 6);
#define CUDA_FAIL(err, code, ...) cuda_fail((err), (int)(code), __FILE__, __LINE__, __VA_ARGS__)

/* ---- memory ------------------------------------------------------------------------------------ */

/* Device memory, zeroed; NULL and a sentence with the numbers when there is not enough. */
rm_status cuda_alloc(rm_backend *, size_t bytes, const char *what, void **out, rm_error *);
void cuda_free(void *);

/* Pinned memory of the host and its mirror on the device, taken from in order and emptied by every
 * flush. It grows by blocks, so that what was taken never moves. */
enum { AREA_BLOCKS = 24 };
typedef struct cuda_area {
    struct {
        uint8_t *host, *device;
        size_t size, used;
    } block[AREA_BLOCKS];
    int n_blocks;
} cuda_area;

typedef struct cuda_piece {
    void *host, *device;
} cuda_piece;

/* `bytes` of the area, 16-byte aligned; {NULL, NULL} and b->status where there is no memory. */
cuda_piece cuda_take(rm_backend *, cuda_area *, size_t bytes);
void cuda_area_empty(cuda_area *);
void cuda_area_free(cuda_area *);

/* Addresses that are reserved at once and given memory as it is needed. */
typedef struct cuda_span {
    uint8_t *base;
    size_t reserved, mapped, granularity;
    struct cuda_mapping {
        unsigned long long handle;
        size_t at, bytes;
    } *mapping; /* [n_mappings] */
    int n_mappings;
} cuda_span;

rm_status cuda_span_reserve(rm_backend *, size_t bytes, cuda_span *, rm_error *);
/* Memory for [0, bytes) at least; what is new is zero. */
rm_status cuda_span_grow(rm_backend *, cuda_span *, size_t bytes, rm_error *);
void cuda_span_free(rm_backend *, cuda_span *);

/* ---- weights ----------------------------------------------------------------------------------- */

typedef enum weight_class { WEIGHT_VECTOR, WEIGHT_TABLE, WEIGHT_MATRIX } weight_class;

typedef struct cuda_choice cuda_choice; /* library.c: which algorithms serve a matrix */

struct rm_weight {
    weight_class class;
    bool gated;
    int type;        /* RM_CUDA_*, of the values in memory */
    bool rounded;    /* inputs are rounded to `type` (bf16): tensor cores */
    int n, k;        /* outputs as launches count them (2 F padded if gated), inputs */
    int width;       /* outputs as the caller counts them (of swiglu: F) */
    int stride;      /* elements from row to row */
    void *data;
    float *bias;     /* [n] or NULL */
    size_t bytes;    /* one pass over it reads */
    cuda_choice *choice; /* NULL: the own kernel for every number of rows */
};

rm_status cuda_weight_new(rm_backend *, const rm_matrix *, const float *const *bias, int n,
                          rm_compute, rm_weight **, rm_error *);
rm_status cuda_weight_new_gated(rm_backend *, const rm_matrix *gate, const rm_matrix *up,
                                rm_compute, rm_weight **, rm_error *);
rm_status cuda_table_new(rm_backend *, const rm_matrix *, rm_weight **, rm_error *);
rm_status cuda_vector_new(rm_backend *, const float *values, size_t n, rm_weight **, rm_error *);
void cuda_weight_free(rm_backend *, rm_weight *);
size_t cuda_weight_bytes(const rm_weight *);

/* ---- tensors ------------------------------------------------------------------------------------ */

struct rm_tensor {
    float *data;
    size_t rows, allocated; /* as asked for; padded to a bucket */
    int width, stride;
    uint16_t *rounded;      /* [allocated][rounded_stride], made at first need */
    int rounded_stride;
    int rounded_rows;       /* leading rows in which the copy says what data says */
    uint64_t program;       /* that last wrote it, and its operation there */
    size_t writer;
};

/* ---- keys, values, batches ---------------------------------------------------------------------- */

struct rm_kv {
    rm_kv_shape shape;
    int max_positions;
    size_t page_bytes, n_pages;
    cuda_span pages;
    int rope_dims;
    bool interleaved;
    float *cos_sin;     /* [max_positions][rope_dims / 2][2] on the device; NULL: no rotation */
    int32_t *copied;    /* [n_pages] number of the copy launch that last touched the page */
    int32_t copy;       /* the number of the open one */
};

/* The work list of attention and what it refers to (plan.c). Arrays belong to the caller. */
typedef struct cuda_plan {
    int n_partial, n_finish, n_slots, n_listed;
    rm_attend_item *partial, *finish; /* [<= cuda_plan_items()] each */
    int32_t *row_list;                /* [R] */
    int32_t *first_slot;              /* [R] */
} cuda_plan;

typedef struct cuda_plan_options {
    int page_positions, window;
    int item_rows;   /* most rows of an item */
    int n_heads_kv;  /* blocks of an item */
    int want_blocks; /* that fill the device */
    int max_slots;   /* of scratch */
    int max_items;   /* of each list */
} cuda_plan_options;

/* Most items of either list for R rows. */
int cuda_plan_items(int rows);
/* `memory` is scratch of cuda_plan_scratch(R) ints. Any plan is right; this one is meant to be
 * quick. */
size_t cuda_plan_scratch(int rows);
void cuda_plan_make(const rm_batch *, const cuda_plan_options *, int32_t *memory, cuda_plan *);

/* A batch on its way: views of the upload area. */
typedef struct cuda_batch {
    rm_kv *kv;
    const int32_t *token_host; /* the caller's, to recognise it again */
    int rows, padded;          /* R, its bucket */
    int32_t *token;            /* device */
    rm_row_view row;
    const int32_t *page_table;
    int table_stride;
    const rm_batch *source;    /* for the plan, until the first attention */
    rm_attend_item *partial, *finish;
    int32_t *row_list, *first_slot;
    int n_partial, n_finish;   /* padded */
    bool planned;
} cuda_batch;

rm_status cuda_kv_new(rm_backend *, const rm_kv_shape *, const rm_rope *, int max_positions,
                      rm_kv **, rm_error *);
void cuda_kv_free(rm_backend *, rm_kv *);
size_t cuda_kv_page_bytes(const rm_kv *);
rm_status cuda_kv_reserve(rm_backend *, rm_kv *, size_t n_pages, rm_error *);
void cuda_kv_copy(rm_backend *, rm_kv *, int32_t to, int32_t from);
void cuda_batch_make(rm_backend *, rm_kv *, const rm_batch *);
rm_kv_view cuda_kv_view(const cuda_batch *);
/* Sees to it that the batch has its work list; n_heads is known only now. */
void cuda_batch_plan(rm_backend *, cuda_batch *, int n_heads);

/* ---- programs ------------------------------------------------------------------------------------ */

typedef enum op_kind {
    OP_EMBED, OP_NORM, OP_HEAD_NORM, OP_ROUND, OP_COPY_ROWS, OP_PRODUCT, OP_PRODUCT_F32,
    OP_LIBRARY, OP_KV_COPY, OP_ROPE_STORE, OP_PARTIAL, OP_FINISH, OP_PICKS, OP_SPAN
} op_kind;

/* From the tokens drawn to the next rows; before, who has left. */
typedef struct cuda_span_op {
    rm_span_args args;
    int32_t *gone;            /* [n] on the device */
    const int32_t *gone_host;
    size_t n;
} cuda_span_op;

/* One launch. Scratch (partial sums, slots, picks) is the backend's and filled in at the launch. */
typedef struct cuda_op {
    op_kind kind;
    bool f32_read;  /* somebody reads what it leaves in f32 */
    const void *algorithm; /* OP_LIBRARY */
    const rm_weight *weight;
    union {
        rm_embed_args embed;
        rm_norm_args norm;
        rm_head_norm_args head_norm;
        rm_round_args round;
        rm_copy_rows_args copy_rows;
        rm_product_args product;
        rm_kv_copy_args kv_copy;
        rm_rope_store_args rope_store;
        rm_attend_args attend;
        rm_pick_args picks;
        cuda_span_op span;
    };
} cuda_op;

/* What runs: operations, and whether the areas travel around them. */
typedef struct cuda_program {
    const cuda_op *ops;
    size_t n_ops;
    bool travels;
} cuda_program;

typedef struct cuda_graph cuda_graph;   /* program.c */
typedef struct cuda_library cuda_library;
typedef struct cuda_energy cuda_energy;

/* A pick whose results are under way (picks.c). */
typedef struct cuda_picked {
    const rm_pick *pick;
    const rm_pick_result *result; /* host */
    const double *lp;
    const int32_t *tokens;
} cuda_picked;

/* A program that goes on (ahead.c). It has areas of its own, which other programs leave alone. */
enum { AHEAD_STEPS = 64 };
typedef struct cuda_ahead {
    cuda_area upload, result;
    bool open;                /* the program being enqueued is to go on: its areas are these */
    const rm_ahead_path *path;/* the caller's, until the flush */
    int n, begin;             /* paths; steps that the flush begins */
    rm_pick_item *item;       /* [n] of the program, on the device */
    const rm_pick_item *item_host;
    const rm_pick_result *drawn_on_device; /* [n] */
    cuda_op *ops;             /* one further step */
    size_t n_ops, op_capacity;
    int begun;                /* steps that are under way or done */
    int32_t *gone;            /* [n] pinned: paths that left */
    rm_pick_result *drawn;    /* [AHEAD_STEPS + 1][n] pinned */
    size_t drawn_capacity;
    cudaEvent_t done[AHEAD_STEPS + 1]; /* [0] of the program itself; made at first need */
    bool has_events;
} cuda_ahead;

struct rm_backend {
    rm_backend_options options;
    rm_identity identity;
    char name[96], isa[32];
    char bus[32];           /* PCI address, for NVML */
    cudaStream_t stream;
    cuda_area upload, result; /* of programs that do not go on */
    cuda_ahead ahead;
    cuda_op *ops;           /* the program being enqueued */
    size_t n_ops, op_capacity;
    uint64_t program;       /* its number, from 1 */
    cuda_batch *batches;
    int n_batches, batch_capacity;
    int32_t *plan_memory;
    size_t plan_ints;
    int32_t *copy_pairs;    /* of the last copy launch, in the upload area; copy_used of them */
    int copy_used;
    cuda_picked *picked;
    int n_picked, picked_capacity;
    struct cuda_scratch {
        void *data;
        size_t bytes;
    } partial, slots, pick_slots, workspace;
    int max_slots;          /* of attention's scratch, for the shape it has */
    uint16_t *staging[2];   /* pinned, for loading weights */
    cudaEvent_t staged[2];
    cuda_graph *graphs;
    uint64_t runs;          /* programs put on the stream */
    uint64_t n_replays;     /* of them as a graph */
    cuda_library *library;  /* NULL: no cuBLASLt */
    cuda_energy *energy;    /* NULL: not told */
    rm_status status;       /* of enqueueing: reported by flush */
    rm_error error;
};

enum { STAGING_BYTES = 32 << 20 };

/* The least bucket that holds n: 1, 2, 3, 4, 6, 8, 12, 16, 24, ... */
int cuda_bucket(int n);

/* Room for one launch behind those enqueued, zeroed; NULL once enqueueing has failed. */
cuda_op *cuda_enqueue(rm_backend *, op_kind);
/* At least `bytes` of scratch when the program runs. */
void cuda_need(rm_backend *, struct cuda_scratch *, size_t bytes, const char *what);
int cuda_launch(rm_backend *, const cuda_op *);
void cuda_op_describe(const cuda_op *, char *text, size_t size);
rm_status cuda_flush(rm_backend *, rm_error *);
void cuda_graphs_free(rm_backend *);

/* Puts a program on the stream, as a graph if it is known. */
rm_status cuda_run(rm_backend *, const cuda_program *, rm_error *);

/* The areas of the program being enqueued. */
static inline cuda_area *cuda_upload(rm_backend *b)
{
    return b->ahead.open ? &b->ahead.upload : &b->upload;
}

static inline cuda_area *cuda_result(rm_backend *b)
{
    return b->ahead.open ? &b->ahead.result : &b->result;
}

bool cuda_ahead_open(rm_backend *, const rm_ahead_path *, int n, int begin);
/* All that was enqueued is known: what goes to the device with it, and what a further step is. */
void cuda_ahead_prepare(rm_backend *);
/* The program is on the stream: begins the first steps behind it and waits for itself. */
rm_status cuda_ahead_begin(rm_backend *, rm_error *);
rm_status cuda_ahead_take(rm_backend *, int step, int begin, const rm_drawn **, rm_error *);
void cuda_ahead_leave(rm_backend *, int path);
void cuda_ahead_free(rm_backend *);

void cuda_picks(rm_backend *, const rm_pick *, int n);
void cuda_picks_deliver(rm_backend *);

/* ---- library and energy ------------------------------------------------------------------------- */

/* Opens cuBLASLt if it can be found; without it every product is the own kernel's. */
void cuda_library_open(rm_backend *);
void cuda_library_close(rm_backend *);
/* Finds the algorithms that may serve matrices of this shape; the choice is the library's. */
rm_status cuda_library_probe(rm_backend *, rm_weight *, rm_error *);
/* For this many rows, or NULL: the own kernel. */
const void *cuda_library_algorithm(const rm_weight *, int rows);
int cuda_library_product(rm_backend *, const void *algorithm, const rm_weight *,
                         const rm_product_args *);

void cuda_energy_open(rm_backend *);
void cuda_energy_close(rm_backend *);
double cuda_energy_joules(rm_backend *);

extern const rm_ops rm_cuda_ops;

#endif
