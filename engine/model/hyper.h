/* hyper.h - the hyperparameters of a model, read from its file and checked. */
#ifndef RM_ENGINE_MODEL_HYPER_H
#define RM_ENGINE_MODEL_HYPER_H

#include "engine/model/gguf.h"
#include "engine/model/rope.h"

typedef struct rm_hyper {
    const char *arch;              /* "llama", "mistral", "qwen2", "qwen3"; not to be freed */
    int n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_ctx;
    int window;                    /* positions a query sees, its own included; 0: all */
    bool qkv_bias;                 /* queries, keys and values have biases (qwen2); else they may */
    bool out_bias;                 /* what attention gives has one; else it may */
    bool qk_norm;                  /* queries and keys are normalised head by head (qwen3) */
    int rope_dims;
    bool rope_interleaved;         /* rotary pairs are neighbours; else half a head apart */
    double rope_theta;
    rm_rope_scaling rope_scaling;
    int n_ctx_most;                /* up to which the rotary scaling can be stretched; >= n_ctx */
    double norm_eps;
    int64_t n_vocab;               /* as the file states it; 0 if it does not */
} rm_hyper;

/* From GGUF metadata. Refuses what this engine does not compute, by the name of the key that asks
 * for it. */
rm_status rm_hyper_read(const rm_gguf *, rm_hyper *, rm_error *);

/* What both kinds of files must agree on whatever they say: `file` begins the sentence. */
rm_status rm_hyper_check(const rm_hyper *, const char *file, rm_error *);

#endif
