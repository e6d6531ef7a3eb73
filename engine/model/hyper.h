/* hyper.h - the hyperparameters of a llama-architecture GGUF file, read and checked. */
#ifndef RM_ENGINE_MODEL_HYPER_H
#define RM_ENGINE_MODEL_HYPER_H

#include "engine/model/gguf.h"

typedef struct rm_hyper {
    int n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_ctx;
    int rope_dims;
    double rope_theta, rope_scale; /* positions are multiplied by rope_scale */
    double norm_eps;
    int64_t n_vocab;               /* as the file states it; 0 if it does not */
} rm_hyper;

/* Refuses what this engine does not compute, by the name of the key that asks for it. */
rm_status rm_hyper_read(const rm_gguf *, rm_hyper *, rm_error *);

#endif
