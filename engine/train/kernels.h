/* kernels.h - the arithmetic of training, one table per instruction-set variant. Private to this
 * folder and its tests.
 *
 * Every sum is one chain per result, in an order that follows from the shapes alone: no bit
 * depends on threads, on tiles, or on the instruction set. Widths (D, F, C) are multiples of 16,
 * which rm_shape_check sees to. Letters as in ops.h. */
#ifndef RM_ENGINE_TRAIN_KERNELS_H
#define RM_ENGINE_TRAIN_KERNELS_H

#include "engine/cpu/cpu.h"

/* c[m][n] = sum_k a[m a_row + k a_step] b[k][n], k ascending; with `more` the sum continues from
 * what c holds. n_columns is a multiple of 16. */
typedef struct multiply_args {
    size_t n_rows, n_columns, n_terms;
    const float *a;
    size_t a_row, a_step;
    const float *b;
    size_t b_row;
    float *c;
    size_t c_row;
    bool more;
} multiply_args;

/* The gradient of attention for one document under one key/value head. Rows are `stride` floats
 * apart; q, k, v are what attention read (rotated), d_* what is to be written. */
typedef struct attention_back_args {
    int n_positions, head_dim, n_queries; /* n_queries: query heads of this kv head */
    const float *q, *k, *v;               /* q: the first of its query heads */
    size_t stride;
    const float *out, *d_out;             /* of the first query head */
    size_t out_stride;
    float *d_q, *d_k, *d_v;
    size_t d_stride;
    float *scratch;                       /* attention_back_floats() */
} attention_back_args;

enum { QUERY_BLOCK = 24 }; /* queries whose probabilities are held at once */

static inline size_t attention_back_floats(int n_positions, int head_dim)
{
    size_t T = round_up((size_t)n_positions, LANES), C = (size_t)head_dim;
    return 2 * C * T + 2 * QUERY_BLOCK * T;
}

struct adamw_step;

typedef struct train_kernels {
    const char *name;
    void (*multiply)(const multiply_args *);
    /* hidden[F] = silu(gate) up, with the bits of rm_ops.swiglu; gate_up is [2 F]. */
    void (*swiglu)(float *hidden, const float *gate_up, size_t n);
    void (*swiglu_back)(float *d_gate_up, const float *gate_up, const float *d_hidden, size_t n);
    /* dx += the gradient through y = x r w, r = 1 / sqrt(mean(x^2) + eps); returns r. */
    float (*norm_back)(float *dx, const float *dy, const float *x, const float *w, float eps,
                       size_t n);
    /* dw[n] += sum over rows of dy x r. */
    void (*norm_weight_back)(float *dw, const float *dy, const float *x, size_t stride,
                             const float *r, size_t rows, size_t n);
    void (*attention_back)(const attention_back_args *);
    /* d[V] = slope ([v = target] - p_v), p = softmax(logits), lse their log-sum-exp; what pads d
     * to a multiple of 16 becomes 0. Returns the entropy of p in nats. */
    double (*softmax_back)(float *d, const float *logits, int n, double lse, int target,
                           float slope);
    /* One step of AdamW on n values (optimizer.c has the formula). */
    void (*adamw)(float *w, float *m, float *v, const float *g, size_t n,
                  const struct adamw_step *);
    /* sum of squares in double: 16 lanes, folded 8, 4, 2, 1. */
    double (*squares)(const float *x, size_t n);
} train_kernels;

typedef struct adamw_step {
    float scale;          /* of the gradient: clipping */
    float beta1, beta2;
    float correct1, correct2; /* 1 / (1 - beta^t) */
    float rate, eps, decay;   /* decay already multiplied by the rate */
} adamw_step;

extern const train_kernels train_portable;
#if defined(__x86_64__)
extern const train_kernels train_avx2, train_avx512;
#endif

/* The kernels that go with a backend's instruction-set variant. */
const train_kernels *train_kernels_for(const char *isa);

#endif
