/* rope.h - rotary embeddings stretched beyond the context that a model was first trained on.
 *
 * A file names a kind and its parameters; what a backend needs is one divisor for each pair of
 * dimensions and a factor for all cosines and sines (ops.h, rm_rope). */
#ifndef RM_ENGINE_MODEL_ROPE_H
#define RM_ENGINE_MODEL_ROPE_H

#include "base/base.h"

typedef enum rm_rope_kind { RM_ROPE_PLAIN, RM_ROPE_LINEAR, RM_ROPE_LLAMA3,
                            RM_ROPE_YARN } rm_rope_kind;

typedef struct rm_rope_scaling {
    rm_rope_kind kind;
    double factor;                 /* s: how many times longer the context became */
    double original_context;       /* llama3, yarn */
    double low_freq, high_freq;    /* llama3: turns within the original context */
    double beta_fast, beta_slow;   /* yarn: the same, fast > slow */
    double magnitude;              /* yarn: of cosines and sines; 0: 0.1 ln s + 1 */
    bool exact_range;              /* yarn: the ends of the ramp are not rounded to whole pairs */
} rm_rope_scaling;

/* Fills divisors [n_dims / 2] (llama3, yarn) and *magnitude (1 but for yarn). `name` is what a
 * sentence about impossible parameters begins with. */
rm_status rm_rope_divisors(const rm_rope_scaling *, int n_dims, double theta, const char *name,
                           float *divisors, double *magnitude, rm_error *);

#endif
