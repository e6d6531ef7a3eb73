/* rope.h - rotary embeddings stretched beyond the context that a model was first trained on.
 *
 * A file names a kind and its parameters; what a backend needs is one divisor for each pair of
 * dimensions and a factor for all cosines and sines (ops.h, rm_rope). */
#ifndef RM_ENGINE_MODEL_ROPE_H
#define RM_ENGINE_MODEL_ROPE_H

#include "base/base.h"

typedef enum rm_rope_kind {
    RM_ROPE_PLAIN, RM_ROPE_LINEAR, RM_ROPE_DYNAMIC, RM_ROPE_LLAMA3, RM_ROPE_YARN, RM_ROPE_LONG
} rm_rope_kind;

typedef struct rm_rope_scaling {
    rm_rope_kind kind;
    double factor;                 /* s: how many times longer the context became */
    double original_context;       /* dynamic, llama3, yarn, long */
    double low_freq, high_freq;    /* llama3: turns within the original context */
    double beta_fast, beta_slow;   /* yarn: the same, fast > slow */
    double magnitude;              /* of cosines and sines; 0: yarn's 0.1 ln s + 1, else 1 */
    bool exact_range;              /* yarn: the ends of the ramp are not rounded to whole pairs */
} rm_rope_scaling;

/* Fills divisors [n_dims / 2] (llama3, yarn; those of `long` are in the file) and *magnitude. `name`
 * is what a sentence about impossible parameters begins with. */
rm_status rm_rope_divisors(const rm_rope_scaling *, int n_dims, double theta, const char *name,
                           float *divisors, double *magnitude, rm_error *);

/* The base that `dynamic` computes with in a context of n positions. */
double rm_rope_dynamic_theta(const rm_rope_scaling *, int n_dims, double theta, int n);

/* The magnitude of `long` where the file does not state one. */
double rm_rope_long_magnitude(double factor, double original_context);

/* yarn's where the file has the two weights that DeepSeek's have (mscale, mscale_all_dim). */
double rm_rope_yarn_magnitude(double factor, double m, double m_all);

#endif
