/* pick.h - from logits to what was wanted: draws, top k, log-probabilities, mixtures.
 *
 * Written once and free of library mathematics, so that every backend gives the same tokens and
 * the same log-probabilities for the same logits. Everything after the logits is double.
 *
 *   raw      lp_v = l_v - (max + log sum exp(l - max))
 *   weights  w_v = round(2^40 exp((l_v - max) / temperature)), 64-bit: sums are exact in any order
 *   draw     r = floor(u W / 2^64), u one Philox draw; the first v in token-id order whose
 *            running sum of weights exceeds r
 *
 * Where a vector kernel exists for a pass over the vocabulary it comes through rm_row_kernels
 * and gives the bits of the portable one. */
#ifndef RM_ENGINE_PICK_H
#define RM_ENGINE_PICK_H

#include "engine/engine.h"
#include "engine/ops.h"

enum { RM_MAX_MEMBERS = 8 };

struct rm_pick {
    rm_want want;                     /* SPAN draws one token here; TOP, LOGPROBS, SCORE (as
                                         LOGPROBS), ALL */
    int n_members;
    struct {
        const rm_tensor *logits;
        int row;
        double weight;
    } member[RM_MAX_MEMBERS];
    rm_combine combine;
    int n_vocab;

    const rm_sampling *sampling;      /* NULL: none */
    uint64_t seed, stream;            /* of the draw: rm_random(seed, stream, index, 0) */
    uint32_t index;
    const int32_t *history;           /* tokens the repetition penalty applies to */
    int n_history;

    int k;                            /* TOP */
    const int32_t *tokens;            /* LOGPROBS */
    int n_tokens;

    int32_t *out_tokens;              /* host memory: [1], [k] */
    double *out_lp;                   /* [1], [k], [n_tokens] or [V] */
    double *out_lp_sampling;          /* [1] */
    bool *out_no_numbers;             /* set where a row has no distribution: a logit is NaN or
                                         infinite, or every one -infinite. What else is written then
                                         means nothing. NULL: nobody asks */
};

/* What becomes of the path of a program's i-th pick once that has drawn (rm_ops.ahead). */
struct rm_ahead_path {
    struct {
        const rm_kv *kv;              /* of the member's model ... */
        int row;                      /* ... and its row in the batch that names it */
    } member[RM_MAX_MEMBERS];
    int n_members;
    int n_tokens;                     /* it draws at most, the pick's own included */
    const int32_t *stop;              /* [n_stop] tokens that end it; live until flush */
    int n_stop;
};

/* Passes over one row of logits, n entries. */
typedef struct rm_row_kernels {
    /* max as double, and sum of exp(l - max) in double: 8 interleaved lanes (lane j takes entries
     * j, j+8, ...), folded 4, 2, 1. */
    void (*max_sum)(const float *row, int n, double *max, double *sum);
    /* w[v] = round(2^40 exp((row[v] - max) / temperature)); returns the exact total. */
    uint64_t (*weights)(const float *row, int n, double max, double temperature, uint64_t *w);
} rm_row_kernels;

extern const rm_row_kernels rm_row_kernels_portable;

/* Bytes of scratch rm_pick_serve needs for a vocabulary of n_vocab entries. */
size_t rm_pick_scratch_bytes(int n_vocab);

/* Serves one pick; rows[m] is the logits row of member m. `scratch` is 64-byte aligned. */
void rm_pick_serve(const rm_pick *, const float *const *rows, const rm_row_kernels *,
                   void *scratch);

#endif
