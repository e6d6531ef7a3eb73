/* trainer.h - a trainer as the files of this folder see it.
 *
 *   shape.c       shapes and the order of parameters
 *   trainer.c     making one, its tensors, its weights as the backend wants them
 *   pass.c        forward and backward over packed documents
 *   optimizer.c   AdamW and clipping
 *   state.c       the whole state as bytes
 *   file.c        from and to GGUF
 *   kernels.[h inc], portable.c, avx2.c, avx512.c   the arithmetic */
#ifndef RM_ENGINE_TRAIN_TRAINER_H
#define RM_ENGINE_TRAIN_TRAINER_H

#include "engine/core.h"
#include "engine/model/gguf.h"
#include "engine/train.h"
#include "engine/train/kernels.h"

/* Rows computed at once, unless one document is longer: large enough that a product's tiles feed
 * all threads, small enough that the activations stay in the last cache (SPEED.md). */
enum { PASS_ROWS = 1024, TRAIN_PAGE = 64 };

/* What a layer's backward pass needs of its forward pass. */
typedef struct layer_memory {
    rm_tensor *x;        /* [R, D] residual stream before attention */
    rm_tensor *norm;     /* [R, D] */
    rm_tensor *qkv;      /* [R, (H + 2G) C], rotated */
    rm_tensor *attended; /* [R, H C] */
    rm_tensor *middle;   /* [R, D] residual stream before the feed-forward part */
    rm_tensor *norm2;    /* [R, D] */
    rm_tensor *gate_up;  /* [R, 2 F] */
    rm_tensor *hidden;   /* [R, F] */
} layer_memory;

/* Where a layer's parameters begin. */
typedef struct layer_offsets {
    size_t attn_norm, qkv, attn_out, ffn_norm, gate_up, down;
} layer_offsets;

/* A piece of the parameters that the optimizer handles at once. */
typedef struct chunk {
    size_t offset, n;
    bool decays;
} chunk;

typedef struct train_op train_op; /* pass.c */

struct rm_trainer {
    rm_engine *engine;
    const rm_ops *ops;
    rm_backend *backend;
    const train_kernels *kernels;
    rm_shape shape;
    rm_gguf *source;            /* the file it was opened from, or NULL */
    rm_vocabulary vocabulary;   /* else; strings owned below */
    char **special;
    char *characters;

    int32_t good, bad;          /* of a model that judges; 0 and 0: none */
    bool judging;               /* the pass in progress looks at these two only */
    size_t n_values;
    float *values, *gradient, *moment1, *moment2; /* [n_values] */
    size_t embedding, out_norm, output;           /* offsets */
    layer_offsets *at;                            /* [L] */
    uint64_t step;

    bool packed;                /* the weights below say what `values` says */
    rm_layer *layers;           /* [L]; gate_up stacked, not gated */
    rm_weight *table, *last_norm, *logits_weight;
    rm_rope rope;
    rm_kv *kv;

    int rows, max_document;     /* rows the tensors have; what kv was made for */
    layer_memory *memory;       /* [L] */
    rm_tensor *x, *norm, *logits;                       /* after the last layer */
    rm_tensor *dx, *d_norm, *d_qkv, *d_attended, *d_gate_up, *d_hidden, *d_logits;
    int32_t *token, *position, *seq, *target, *ascending; /* [rows] */
    int32_t *page;              /* [pages] 0, 1, 2, ... */
    const int32_t **pages;      /* [rows] one a document */
    int *first, *length;        /* [rows] of each document: first row, number of rows */
    float *slope, *r;           /* [rows] */
    double *lse, *entropy;      /* [rows] */
    rm_batch batch;
    train_op *ops_args;         /* [n_ops_args] of the operations enqueued */
    int n_ops, ops_capacity;

    chunk *chunks;              /* [n_chunks] */
    double *chunk_squares;
    size_t n_chunks;
};

size_t trainer_offsets(const rm_shape *, size_t *embedding, size_t *out_norm, size_t *output,
                       layer_offsets *);
/* Memory for values and gradient, the optimizer's chunks; tensors come with the first pass. */
rm_status trainer_alloc(rm_engine *, const rm_shape *, rm_trainer **, rm_error *);
rm_status trainer_need_rows(rm_trainer *, int rows, rm_error *);
/* Packs `values` for the backend if they have changed. */
rm_status trainer_pack(rm_trainer *, rm_error *);

/* Packs values into the weights of a model: gate over up gated as inference wants it, or not. */
rm_status pack_values(const rm_ops *, rm_backend *, const rm_shape *, const float *values,
                      rm_compute, bool gated, rm_layer *layers, rm_weight **table,
                      rm_weight **out_norm, rm_weight **output, rm_error *);
void free_packed(const rm_ops *, rm_backend *, int n_layers, rm_layer *layers, rm_weight *table,
                 rm_weight *out_norm, rm_weight *output);

#endif
