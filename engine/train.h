/* train.h - training: the weights of a model as numbers that change. The second public header of
 * this folder; only what trains includes it.
 *
 *   rm_shape     what a llama is made of; its parameters have one order, that of a GGUF file
 *   rm_trainer   weights, their gradient and the optimizer's moments, f32, on a CPU engine
 *
 * The forward pass of training runs the very operations of inference (ops.h) on packed documents:
 * positions begin at 0 in each, attention stays within it, nothing is padded. In f32 a token's
 * log-probability in training is therefore the same bits as when the token was drawn.
 *
 * The same bits.  Gradients depend on weights and documents, their order included; never on
 * threads, the instruction set, or how many rows are computed at once. Every sum over rows is one
 * chain in their order, every norm a sum of fixed blocks.
 *
 * Ownership.  A trainer belongs to an engine, which outlives it. */
#ifndef RM_ENGINE_TRAIN_H
#define RM_ENGINE_TRAIN_H

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- shapes -------------------------------------------------------------------------------- */

typedef struct rm_shape {
    int n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, n_ctx;
    bool tied;             /* the output matrix is the embedding */
    double rope_theta, norm_eps;
} rm_shape;

/* RM_E_ARGUMENT naming the first number that no trainable model can have. */
RM_API rm_status rm_shape_check(const rm_shape *, rm_error *);

/* One parameter as GGUF names it, [n_out, n_in] row-major, and where it begins among all. */
typedef struct rm_parameter {
    char name[64];
    size_t offset, n_out, n_in; /* n_out 0: a vector of n_in */
} rm_parameter;

RM_API size_t rm_shape_parameters(const rm_shape *); /* how many numbers */
/* The i-th parameter; false past the last one. Order: token_embd, output_norm, output (unless
 * tied); of each layer attn_norm, attn_q, attn_k, attn_v, attn_output, ffn_norm, ffn_gate, ffn_up,
 * ffn_down. */
RM_API bool rm_shape_parameter(const rm_shape *, int i, rm_parameter *);

/* A vocabulary of single printable ASCII characters behind named special tokens. */
typedef struct rm_vocabulary {
    const char *const *special;  /* [n_special]: <bos>, <eos>, then others */
    int n_special;
    const char *characters;      /* one token each; the rest of n_vocab is unused */
} rm_vocabulary;

/* ---- trainers ------------------------------------------------------------------------------ */

typedef struct rm_trainer rm_trainer;

/* New weights: matrices normal with standard deviation 0.02 (those that write into the residual
 * stream divided by sqrt(2 L), as GPT-2 has it), norms 1, drawn from `seed`. */
RM_API rm_status rm_trainer_new(rm_engine *, const rm_shape *, const rm_vocabulary *, uint64_t seed,
                                rm_trainer **, rm_error *);
/* The weights and the vocabulary of a GGUF file, widened to f32. */
RM_API rm_status rm_trainer_open(rm_engine *, const char *file, rm_trainer **, rm_error *);
RM_API void rm_trainer_free(rm_trainer *);

RM_API const rm_shape *rm_trainer_shape(const rm_trainer *);
RM_API size_t rm_trainer_memory(const rm_trainer *); /* bytes of weights, gradient and moments */
RM_API float *rm_trainer_values(rm_trainer *);       /* [rm_shape_parameters] */
RM_API const float *rm_trainer_gradient(const rm_trainer *);
RM_API uint64_t rm_trainer_step_count(const rm_trainer *);

/* A document: tokens, and for each what its prediction weighs (the first is never predicted). */
typedef struct rm_document {
    const int32_t *tokens; /* [n] */
    const float *weight;   /* [n]; 0: not part of the loss */
    int n;                 /* from 2 to the context length + 1 */
    const int32_t *target; /* [n] what is to be predicted in a token's place, or NULL: the tokens */
} rm_document;

/* What is minimised. Without `slope`: scale * sum of weight * (-lp). With it: any function of the
 * log-probabilities whose derivative by that of token i of document d `slope` returns; it is
 * asked only for tokens whose weight is not 0, in order. With `judge` the distribution is that of
 * the two tokens of rm_trainer_judge alone, which all targets must be among: lp = log v or
 * log (1 - v), and the other tokens' logits are left as they are. */
typedef struct rm_objective {
    double scale;
    bool judge;
    double (*slope)(void *arg, int document, int token, double lp);
    void *arg;
} rm_objective;

/* Sums over the tokens whose weight is not 0; the lowest digits depend on nothing but the order. */
typedef struct rm_train_sums {
    double loss;           /* sum of weight * (-lp) */
    double weight;         /* sum of weights */
    double entropy;        /* of the distributions the tokens were predicted from, nats */
    uint64_t tokens;       /* how many */
    uint64_t rows;         /* evaluated, the prompts' included */
} rm_train_sums;

/* Sets the gradient to zero. */
RM_API void rm_trainer_clear(rm_trainer *);

/* Adds the gradient of the objective over the documents. `lp`, if not NULL, gets each document's
 * log-probabilities ([n], 0 for the first token); `objective` NULL computes these only. */
RM_API rm_status rm_trainer_pass(rm_trainer *, const rm_document *, int n, const rm_objective *,
                                 double *const *lp, rm_train_sums *, rm_error *);

/* AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) with clipping by the global norm. */
typedef struct rm_adamw {
    double rate, beta1, beta2, eps;
    double decay;          /* of matrices; norms are not decayed */
    double clip;           /* largest norm of the gradient; 0: none */
} rm_adamw;

/* One step. *norm gets the gradient's norm before clipping. A norm that is not a number leaves
 * everything as it was and is RM_E_LIMIT. */
RM_API rm_status rm_trainer_step(rm_trainer *, const rm_adamw *, double *norm, rm_error *);

/* Makes the model one that judges: after a text, p(good) / (p(good) + p(bad)) of these two tokens
 * is the probability that it ends right. The file gets the keys ramify.value.good_token_id and
 * .bad_token_id (rm_model_info has them as value_good and value_bad). */
RM_API rm_status rm_trainer_judge(rm_trainer *, int32_t good, int32_t bad, rm_error *);

/* ---- files --------------------------------------------------------------------------------- */

/* The whole state (weights, moments, number of steps) as bytes, and back. Restoring checks that
 * they are of the same shape and undamaged. */
RM_API rm_status rm_trainer_save(const rm_trainer *, rm_text *, rm_error *);
RM_API rm_status rm_trainer_restore(rm_trainer *, const void *bytes, size_t n, rm_error *);

/* Writes a GGUF file. Vectors stay f32; `type` is that of the matrices. */
RM_API rm_status rm_trainer_write(const rm_trainer *, const char *file, const char *name,
                                  const char *type, rm_error *);

/* ---- models -------------------------------------------------------------------------------- */

/* Gives a loaded model new weights: `values` as rm_shape_parameters orders them (copied). The
 * model's version grows by one, its hash and id follow from the new content, and paths that began
 * before are at their end: rm_eval refuses them. RM_E_ARGUMENT while a request on the model is in
 * progress, for a model of another shape, one that a service computes, and for compute type q8. */
RM_API rm_status rm_model_update(rm_model *, const rm_shape *, const float *values, rm_error *);
RM_API uint64_t rm_model_version(const rm_model *); /* 1 as loaded */

#ifdef __cplusplus
}
#endif
#endif
