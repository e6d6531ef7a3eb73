/* weights.h - a model file, loaded onto a backend: hyperparameters, tokenizer, weights.
 *
 * The file stays mapped for as long as the weights live; a backend may read it in place. The
 * key/value cache and everything that changes belongs to the engine, not here. */
#ifndef RM_ENGINE_MODEL_WEIGHTS_H
#define RM_ENGINE_MODEL_WEIGHTS_H

#include "engine/engine.h"
#include "engine/model/tokenizer.h"
#include "engine/ops.h"

typedef struct rm_layer {
    rm_weight *attn_norm; /* [D] */
    rm_weight *q_norm, *k_norm; /* [C] of each head; NULL: none */
    rm_weight *qkv;       /* [(H + 2G) C, D] q over k over v */
    rm_weight *attn_out;  /* [D, H C] */
    rm_weight *ffn_norm;  /* [D] */
    rm_weight *gate_up;   /* gated pair, each [F, D] */
    rm_weight *down;      /* [D, F] */
} rm_layer;

typedef struct rm_weights {
    rm_model_info info;
    rm_compute compute;
    rm_dtype kv_type;
    rm_rope rope;
    rm_layer *layers;     /* [L] */
    rm_weight *embedding; /* table [V, D] */
    rm_weight *out_norm;  /* [D] */
    rm_weight *output;    /* [V, D] */
    rm_tokenizer *tokenizer;
    int32_t *stop_tokens; /* [n_stop_tokens] */
    int n_stop_tokens;
    struct rm_weights_private *priv; /* the mapping, names, what frees the rest */
} rm_weights;

/* Opens, checks and loads a GGUF file or a Hugging Face folder. `weights` is filled on success and
 * released by rm_weights_close. */
rm_status rm_weights_open(const rm_ops *, rm_backend *, const char *file, const rm_model_options *,
                          rm_weights **, rm_error *);
void rm_weights_close(const rm_ops *, rm_backend *, rm_weights *);

#endif
