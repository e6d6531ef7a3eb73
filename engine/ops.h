/* ops.h - the table of operations: all that the engine asks of a device.
 *
 * A backend is a const rm_ops. engine/backend.c picks one; nothing else knows which is in use.
 * The forward pass (forward.c) is written once over this table: it only enqueues operations on
 * opaque tensors and reads nothing between them; rm_ops.flush runs what was enqueued and waits,
 * and only then are the results of `pick` operations readable on the host.
 *
 * The same bits.  Every operation computes an output row from its own input row (and, for
 * attention, its own cached positions) by one fixed order of floating-point operations. The
 * order never depends on the number of rows, on which other rows are in the batch, on threads,
 * on page size or on how rows were split into batches. In f32 it is also the same in every
 * instruction-set variant of a backend: portable code defines it, the others reproduce it.
 *
 *   products    y[n] accumulates over k = 0..K-1 in one order for any number of rows
 *   attention   the cache is cut into chunks of RM_CHUNK positions from position 0; for each
 *               chunk (max, sum, output) follow from the query and the chunk alone; chunks merge
 *               in ascending order, in prefill and in decode alike; over a bf16 cache the
 *               query and the exponentials are rounded to bf16 as well; under a sliding window the
 *               chunk in which a query's first position lies is computed over those of its
 *               positions that the query sees, counted from the first of them
 *   softmax     one fixed order; our own exp; no libm on the way to a record
 *
 * Dimension letters, used throughout the engine:
 *   R rows of a batch   D model width   H query heads   G key/value heads   C head size
 *   F feed-forward width   V vocabulary   L layers   T positions
 *
 * Errors.  Opening, loading and allocating can fail and say why. Enqueueing cannot fail: it
 * checks by assert, and a device error surfaces at flush. Nothing allocates between flushes
 * once the buffers have reached the batch limit. */
#ifndef RM_ENGINE_OPS_H
#define RM_ENGINE_OPS_H

#include "base/base.h"

#define RM_CHUNK 64 /* positions per attention chunk; part of the bit contract */

typedef struct rm_backend rm_backend; /* an open device with its workers */
typedef struct rm_tensor rm_tensor;   /* activations, [rows, width] f32 on the device */
typedef struct rm_weight rm_weight;   /* one or several stacked matrices, device layout */
typedef struct rm_kv rm_kv;           /* a pool of KV pages of one model */

/* How values are stored in a file or in memory. */
typedef enum rm_dtype {
    RM_F32, RM_F16, RM_BF16, RM_Q8_0,
    RM_Q4_0, RM_Q4_1, RM_Q5_0, RM_Q5_1, RM_Q4_K, RM_Q5_K, RM_Q6_K, /* read only: blocks.h */
    RM_DTYPE_COUNT
} rm_dtype;

/* What the inputs of matrix products are rounded to; accumulation is f32 (exact int32 within a
 * block for Q8). Part of the bit contract, recorded in every manifest. */
typedef enum rm_compute { RM_COMPUTE_F32, RM_COMPUTE_BF16, RM_COMPUTE_Q8 } rm_compute;

/* A matrix as it lies in a mapped file: row-major [n_out, n_in], rows contiguous, quantised
 * types in blocks along n_in (Q8_0: 32 of them, an f16 scale and 32 int8; blocks.h). The backend
 * may read it in place for as long as the weight lives, or pack a copy. */
typedef struct rm_matrix {
    rm_dtype type;
    const void *data;
    size_t n_out, n_in;
} rm_matrix;

typedef struct rm_backend_options {
    const char *isa;  /* NULL: the best this processor has; else a name from `isa_names` */
    int n_threads;    /* >= 1 */
    int max_rows;     /* most rows in one batch; buffers are sized by it */
    int device;       /* which of several, from 0 */
    bool fast;        /* products may depend on the number of rows, where that is faster */
} rm_backend_options;

/* What a device with memory and libraries of its own says of itself; `libraries` and
 * `multiprocessors` belong to the bit contract there. */
typedef struct rm_identity {
    size_t memory_bytes;    /* of its own */
    int multiprocessors;
    char libraries[96];     /* versions that its results may depend on */
} rm_identity;

/* Rotary embedding (Su et al. 2021, arXiv:2104.09864) of the first n_dims of each head. */
typedef struct rm_rope {
    int n_dims;
    bool interleaved;    /* pairs (2i, 2i+1), as llama's GGUF has them; else (i, i + n_dims/2) */
    double theta;        /* frequency base; angle of pair i at position p: p * theta^(-2i/n_dims) */
    double scale;        /* positions are multiplied by it (linear scaling); 1 for none */
    const float *factors;/* [n_dims/2] divisors of the frequencies, or NULL (llama3, yarn) */
    double magnitude;    /* cosines and sines are multiplied by it (yarn); 0: 1 */
} rm_rope;

typedef struct rm_kv_shape {
    int n_layers, n_kv_heads, head_dim;
    int page_positions;  /* 16, 32 or 64: divides RM_CHUNK */
    rm_dtype type;       /* RM_F32, RM_BF16 */
    int window;          /* a query sees its own and the window - 1 positions before; 0: all */
} rm_kv_shape;

/* One forward pass over R rows. A row is one token of one sequence; the rows of a sequence are
 * in ascending order of position and contiguous, and every earlier position of the sequence is
 * either cached or an earlier row of this batch. All arrays are the caller's and live until
 * flush returns. */
typedef struct rm_batch {
    int n_rows, n_seqs;
    const int32_t *token;          /* [R] token ids */
    const int32_t *position;       /* [R] positions from 0 */
    const int32_t *seq;            /* [R] which sequence */
    const int32_t *const *pages;   /* [n_seqs] page ids covering positions 0 .. last row, ... */
    const int32_t *ahead;          /* ... and [n_seqs] so many positions behind it; NULL: none */
} rm_batch;

/* Which rows of which logits make one distribution, and what is wanted of it. See engine.h for
 * the meaning of the fields that repeat those of a request. */
typedef struct rm_pick rm_pick; /* engine/pick.h */

/* A path that goes on drawing by itself, and what it drew. */
typedef struct rm_ahead_path rm_ahead_path; /* engine/pick.h */
typedef struct rm_drawn {
    double lp, lp_sampling;
    int32_t token, no_numbers;     /* the latter: the logits were no distribution */
} rm_drawn;

typedef struct rm_ops {
    const char *name;                 /* "cpu", "cuda" */
    const char *const *isa_names;     /* NULL-terminated, best first; those this machine can run
                                         are told by isa_available */
    bool (*isa_available)(const char *isa);
    bool widens_blocks;               /* no RM_COMPUTE_Q8: quantised weights are computed in bf16 */

    rm_status (*open)(const rm_backend_options *, rm_backend **, rm_error *);
    void (*close)(rm_backend *);
    const char *(*isa)(const rm_backend *);     /* the variant in use, e.g. "avx512-bf16" */
    void (*describe)(const rm_backend *, rm_text *); /* device name and properties, one line */
    /* Optional, NULL where a backend has nothing to say. Joules the device has used since some
     * moment; NaN if it does not tell. */
    void (*identify)(const rm_backend *, rm_identity *);
    double (*energy)(rm_backend *);

    /* Stacks n matrices of equal n_in one above the other (q over k over v; gate over up) into
     * one weight. `bias` is NULL or [n] pointers to f32 vectors (each NULL or [n_out]). `compute`
     * RM_COMPUTE_Q8 needs quantised matrices (stacks that a backend cannot pack for it are computed
     * in F32); F32 takes any type exactly widened (blocks dequantised);
     * BF16 takes any, rounding to nearest even those that are wider. */
    rm_status (*weight_new)(rm_backend *, const rm_matrix *, const float *const *bias, int n,
                            rm_compute, rm_weight **, rm_error *);
    /* A weight for `swiglu`: gate and up rows interleaved as the backend likes. */
    rm_status (*weight_new_gated)(rm_backend *, const rm_matrix *gate, const rm_matrix *up,
                                  rm_compute, rm_weight **, rm_error *);
    /* A table whose rows `embed` looks up; may share memory with the file or with a weight. */
    rm_status (*table_new)(rm_backend *, const rm_matrix *, rm_weight **, rm_error *);
    rm_status (*vector_new)(rm_backend *, const float *values, size_t n, rm_weight **, rm_error *);
    void (*weight_free)(rm_backend *, rm_weight *);
    size_t (*weight_bytes)(const rm_weight *);  /* bytes one pass over it reads */

    /* Zero at first. An operation's tensors have exactly the widths it names: n_in for x and n_out
     * (for swiglu F) for y of a product, D for a norm; rows may be fewer than the tensor has. */
    rm_status (*tensor_new)(rm_backend *, size_t rows, size_t width, rm_tensor **, rm_error *);
    void (*tensor_free)(rm_backend *, rm_tensor *);

    rm_status (*kv_new)(rm_backend *, const rm_kv_shape *, const rm_rope *, int max_positions,
                        rm_kv **, rm_error *);
    void (*kv_free)(rm_backend *, rm_kv *);
    size_t (*kv_page_bytes)(const rm_kv *);     /* of one page, all layers, keys and values */
    /* Makes pages 0 .. n_pages-1 exist (growing only); existing pages keep their content. */
    rm_status (*kv_reserve)(rm_backend *, rm_kv *, size_t n_pages, rm_error *);

    /* ---- enqueued operations ---- */
    void (*kv_copy_page)(rm_backend *, rm_kv *, int32_t to, int32_t from); /* all layers */
    /* Announces the batch the following operations belong to: positions and pages are read here,
     * and the plan of attention (which chunks serve which rows together) is made once. */
    void (*batch)(rm_backend *, rm_kv *, const rm_batch *);
    void (*embed)(rm_backend *, rm_tensor *y, const rm_weight *table, const int32_t *token,
                  int rows);
    /* y = x / sqrt(mean(x^2) + eps) * w. The sum of squares is f32 in 16 interleaved lanes
     * (lane j takes elements j, j+16, ...), lanes folded 8, 4, 2, 1. y may be x. */
    void (*rms_norm)(rm_backend *, rm_tensor *y, const rm_tensor *x, const rm_weight *w, float eps,
                     int rows);
    void (*matmul)(rm_backend *, rm_tensor *y, const rm_tensor *x, const rm_weight *w, int rows);
    /* y += */
    void (*matmul_add)(rm_backend *, rm_tensor *y, const rm_tensor *x, const rm_weight *w,
                       int rows);
    /* y = silu(gate x) * up x */
    void (*swiglu)(rm_backend *, rm_tensor *y, const rm_tensor *x, const rm_weight *gate_up,
                   int rows);
    /* rms_norm of each of n heads of w's length by itself, in place: heads first .. first + n - 1
     * of every row of y (qwen3 normalises queries and keys so before rotating them). */
    void (*head_norm)(rm_backend *, rm_tensor *y, const rm_weight *w, float eps, int first, int n,
                      int rows);
    /* qkv is [R, (H + 2G) C]: rotates q and k in place, stores k and v of each row in its page. */
    void (*rope_store)(rm_backend *, rm_tensor *qkv, rm_kv *, int layer, int n_heads);
    /* y[R, H C] = softmax(q k^T / sqrt(C)) v over positions 0 .. the row's own, or the last
     * `window` of them. */
    void (*attention)(rm_backend *, rm_tensor *y, const rm_tensor *qkv, rm_kv *, int layer,
                      int n_heads);
    /* y[to[i]] = x[from[i]] for i < n (index arrays live until flush). */
    void (*copy_rows)(rm_backend *, rm_tensor *y, const int32_t *to, const rm_tensor *x,
                      const int32_t *from, int n);
    /* Serves n picks from logits (pick.h says which tensors and rows); results are on the host
     * after flush. */
    void (*pick)(rm_backend *, const rm_pick *picks, int n);

    /* Runs everything enqueued since the last flush and waits for it. */
    rm_status (*flush)(rm_backend *, rm_error *);

    /* ---- spans without the host between (ahead.h) ----
     * Optional, all three or none. `ahead`, before anything of a program is enqueued but copies of
     * pages, announces that each of its rows ends in a pick of a span, of which there are n, and that
     * the device is to go on by itself: in each further step every path's row takes the token that
     * was drawn as its next, until it draws a stop token or its last or meets logits that are no
     * numbers. The flush begins steps 1 to `begin`, and does not wait for them. A program announced
     * ends the one that was announced before it; others may run between its steps. False: there is
     * no memory for that, and the program is one like any other. */
    bool (*ahead)(rm_backend *, const rm_ahead_path *, int n, int begin);
    /* Begins the steps up to `begin` >= `step` that were not begun, and waits for `step`: [n], of paths
     * that had not ended or left before it. */
    rm_status (*ahead_take)(rm_backend *, int step, int begin, const rm_drawn **, rm_error *);
    /* A path takes part in no step begun from here on: none of its pages is written. */
    void (*ahead_leave)(rm_backend *, int path);
} rm_ops;

extern const rm_ops rm_cpu_ops;

/* A backend in a shared object of its own, under the symbol "rm_plugin": loaded only if `build`
 * is the loader's own RM_BUILD_ID, since the table and the structures have no stable form. */
typedef struct rm_plugin {
    char build[72];
    const rm_ops *ops;
} rm_plugin;

#endif
