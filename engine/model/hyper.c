/* hyper.c - GGUF metadata to hyperparameters, for the architectures llama, qwen2 and qwen3.
 * (Files of Mistral's models say llama, too.) With ARCH the architecture's name:
 *
 *   ARCH.block_count, .embedding_length, .feed_forward_length, .context_length,
 *   .attention.head_count                          required
 *   .attention.head_count_kv                       head_count
 *   .attention.key_length, .value_length           embedding_length / head_count; must be equal
 *   .attention.layer_norm_rms_epsilon              required
 *   .attention.sliding_window                      0: none
 *   .rope.dimension_count                          key_length
 *   .rope.freq_base                                10000
 *   .rope.scaling.type                             "none", "linear", "yarn" or "longrope"
 *   .rope.scaling.factor                           linear, yarn
 *   .rope.scale_linear                             the same factor in older files
 *   .rope.scaling.original_context_length          yarn, longrope
 *   .rope.scaling.attn_factor                      of cosines and sines; with yarn it multiplies the
 *                                                  0.1 ln s + 1 of rope.c
 *   .rope.scaling.yarn_beta_fast, _beta_slow       32, 1
 *
 * llama3's scaling comes as a tensor of finished divisors, rope_freqs.weight, longrope's as two of
 * them (weights.c).
 *
 * A key that would change what the model computes, and that this engine does not know how to
 * honour, refuses the file: a wrong number would be worse than none. */
#include "engine/model/hyper.h"

#include "engine/model/quote.h"
#include "engine/num.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MISSING INT64_MIN

/* Architectures that GGUF files name, and how the rotary pairs of their q and k rows lie. */
static const struct architecture {
    const char *name;
    bool interleaved, qkv_bias, qk_norm;
} architectures[] = {
    { "llama", true, false, false },
    { "qwen2", false, true, false },
    { "qwen3", false, false, true },
};

typedef struct reader {
    const rm_gguf *g;
    rm_hyper *h;
    rm_error *err;
    char key[96];
} reader;

static const char *key_of(reader *r, const char *name)
{
    snprintf(r->key, sizeof r->key, "%s.%s", r->h->arch, name);
    return r->key;
}

static rm_status read_arch(reader *r)
{
    rm_gguf_string arch = { 0 };
    rm_status st = rm_gguf_text(r->g, "general.architecture", &arch, r->err);
    if (st)
        return st;
    if (!arch.bytes)
        return rm_fail(r->err, RM_E_FORMAT, "%s: general.architecture is missing",
                       rm_gguf_file(r->g));
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        const struct architecture *a = &architectures[i];
        if (arch.n != strlen(a->name) || memcmp(arch.bytes, a->name, arch.n))
            continue;
        r->h->arch = a->name;
        r->h->rope_interleaved = a->interleaved;
        r->h->qkv_bias = a->qkv_bias;
        r->h->qk_norm = a->qk_norm;
        return RM_OK;
    }
    return rm_fail(r->err, RM_E_UNSUPPORTED, "%s: general.architecture is \"%s\", supported are "
                   "llama, qwen2 and qwen3", rm_gguf_file(r->g),
                   rm_quoted(&(rm_quote){ 0 }, arch.bytes, arch.n));
}

/* A count under ARCH.<name>; absent: `otherwise`, or an error if that is MISSING. */
static rm_status read_count(reader *r, const char *name, int64_t low, int64_t high,
                            int64_t otherwise, int *value)
{
    int64_t v = otherwise;
    rm_status st = rm_gguf_integer(r->g, key_of(r, name), low, high, &v, r->err);
    if (st)
        return st;
    if (v == MISSING)
        return rm_fail(r->err, RM_E_FORMAT, "%s: %s is missing", rm_gguf_file(r->g), r->key);
    *value = (int)v;
    return RM_OK;
}

static rm_status read_factor(reader *r, const char *name, double high, double *value)
{
    return rm_gguf_real(r->g, key_of(r, name), 0, high, value, r->err);
}

/* Keys whose presence with another value than the neutral one changes the computation. */
static rm_status refuse_unknown_maths(reader *r)
{
    static const struct { const char *key, *lacks; } counts[] = {
        { "expert_count", "experts" }, { "expert_used_count", "experts" },
        { "leading_dense_block_count", "experts" }, { "nextn_predict_layers", "extra heads" },
        { "attention.sliding_window_pattern", "windows that differ from layer to layer" },
        { "attention.temperature_length", "scaled attention temperatures" },
    };
    static const char *const factors[] = {
        "attention.scale", "logit_scale", "residual_scale", "embedding_scale",
        "attn_logit_softcapping", "final_logit_softcapping", "attention.max_alibi_bias",
        "attention.clamp_kqv", "attention.temperature_scale", "rope.scaling.yarn_log_multiplier",
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const rm_gguf_entry *e = rm_gguf_find(r->g, key_of(r, counts[i].key));
        int64_t v = 1;
        rm_status st = e && e->array ? RM_OK
                       : rm_gguf_integer(r->g, r->key, INT64_MIN, INT64_MAX, &v, r->err);
        if (st)
            return st;
        if (e && v)
            return rm_fail(r->err, RM_E_UNSUPPORTED, "%s: %s is set: this engine has no %s",
                           rm_gguf_file(r->g), r->key, counts[i].lacks);
    }
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        double v = 0;
        rm_status st = rm_gguf_real(r->g, key_of(r, factors[i]), -1e300, 1e300, &v, r->err);
        if (st)
            return st;
        if (v != 0 && !(v == 1 && strstr(factors[i], "scale")))
            return rm_fail(r->err, RM_E_UNSUPPORTED, "%s: %s is %g: this engine cannot apply it",
                           rm_gguf_file(r->g), r->key, v);
    }
    bool causal = true;
    rm_status st = rm_gguf_flag(r->g, key_of(r, "attention.causal"), &causal, r->err);
    if (!st && !causal)
        st = rm_fail(r->err, RM_E_UNSUPPORTED, "%s: %s is false, this engine generates left to "
                     "right only", rm_gguf_file(r->g), r->key);
    return st;
}

static rm_status read_yarn(reader *r, rm_rope_scaling *s)
{
    double attention = s->magnitude > 0 ? s->magnitude : 1, ext = 1;
    int original = 0;
    rm_status st;
    s->kind = RM_ROPE_YARN;
    s->beta_fast = 32;
    s->beta_slow = 1;
    if ((st = read_count(r, "rope.scaling.original_context_length", 1, 1 << 24, MISSING,
                         &original)) ||
        (st = read_factor(r, "rope.scaling.yarn_beta_fast", 1e6, &s->beta_fast)) ||
        (st = read_factor(r, "rope.scaling.yarn_beta_slow", 1e6, &s->beta_slow)) ||
        (st = read_factor(r, "rope.scaling.yarn_attn_factor", 1e6, &attention)) ||
        (st = read_factor(r, "rope.scaling.yarn_ext_factor", 1e6, &ext)))
        return st;
    if (ext != 1)
        return rm_fail(r->err, RM_E_UNSUPPORTED, "%s: %s is %g: this engine applies yarn whole "
                       "(1) or not at all", rm_gguf_file(r->g), r->key, ext);
    s->original_context = original;
    if (s->factor <= 0)
        return rm_fail(r->err, RM_E_FORMAT, "%s: %s is missing, which yarn needs",
                       rm_gguf_file(r->g), key_of(r, "rope.scaling.factor"));
    s->magnitude = attention * rm_rope_yarn_magnitude(s->factor, 1, 0);
    return RM_OK;
}

/* Factors may be there without the type, as in files of Phi's kind: weights.c sees them. */
static rm_status read_original(reader *r, rm_rope_scaling *s)
{
    int original = r->h->n_ctx;
    rm_status st = read_count(r, "rope.scaling.original_context_length", 1, 1 << 24, original,
                              &original);
    s->original_context = original;
    return st;
}

static rm_status read_rope_scaling(reader *r)
{
    rm_gguf_string type = { "none", 4 };
    rm_rope_scaling *s = &r->h->rope_scaling;
    rm_status st;
    if ((st = rm_gguf_text(r->g, key_of(r, "rope.scaling.type"), &type, r->err)) ||
        (st = read_factor(r, "rope.scale_linear", 1e6, &s->factor)) ||
        (st = read_factor(r, "rope.scaling.factor", 1e6, &s->factor)) ||
        (st = read_factor(r, "rope.scaling.attn_factor", 1e6, &s->magnitude)) ||
        (st = read_original(r, s)))
        return st;
    bool none = type.n == 4 && memcmp(type.bytes, "none", 4) == 0;
    bool linear = type.n == 6 && memcmp(type.bytes, "linear", 6) == 0;
    if (type.n == 4 && memcmp(type.bytes, "yarn", 4) == 0)
        return read_yarn(r, s);
    if (type.n == 8 && memcmp(type.bytes, "longrope", 8) == 0) {
        s->kind = RM_ROPE_LONG;
        if (s->factor != 0 && s->factor != 1)
            return rm_fail(r->err, RM_E_UNSUPPORTED, "%s: %s is %g beside longrope, whose factors are "
                           "tensors", rm_gguf_file(r->g), key_of(r, "rope.scaling.factor"), s->factor);
        return RM_OK;
    }
    if (!none && !linear)
        return rm_fail(r->err, RM_E_UNSUPPORTED, "%s: %s is \"%s\", supported are none, linear, "
                       "yarn, longrope, and stored factors (rope_freqs.weight)", rm_gguf_file(r->g),
                       key_of(r, "rope.scaling.type"),
                       rm_quoted(&(rm_quote){ 0 }, type.bytes, type.n));
    /* a factor without a type is linear (as the older key is); 0 means none */
    bool named_none = none && rm_gguf_find(r->g, key_of(r, "rope.scaling.type"));
    if (!named_none && s->factor > 0)
        s->kind = RM_ROPE_LINEAR;
    return RM_OK;
}

static rm_status read_rope(reader *r)
{
    rm_hyper *h = r->h;
    if (h->head_dim < 2)
        return rm_fail(r->err, RM_E_UNSUPPORTED,
                       "%s: heads of %d dimension; rotary embedding turns "
                       "pairs and needs 2", rm_gguf_file(r->g), h->head_dim);
    rm_status st = read_count(r, "rope.dimension_count", 2, h->head_dim, h->head_dim,
                              &h->rope_dims);
    if (st)
        return st;
    if (h->rope_dims % 2)
        return rm_fail(r->err, RM_E_FORMAT, "%s: %s is %d, expected an even number",
                       rm_gguf_file(r->g), r->key, h->rope_dims);
    h->rope_theta = 10000;
    st = rm_gguf_real(r->g, key_of(r, "rope.freq_base"), 1, 1e15, &h->rope_theta, r->err);
    return st ? st : read_rope_scaling(r);
}

static rm_status read_heads(reader *r)
{
    rm_hyper *h = r->h;
    int value_dim = 0;
    rm_status st;
    if ((st = read_count(r, "attention.head_count", 1, 65536, MISSING, &h->n_heads)) ||
        (st = read_count(r, "attention.head_count_kv", 1, 65536, h->n_heads, &h->n_kv_heads)))
        return st;
    if (h->n_embd % h->n_heads && !rm_gguf_find(r->g, key_of(r, "attention.key_length")))
        return rm_fail(r->err, RM_E_FORMAT, "%s: %s.embedding_length %d is no multiple of the "
                       "%d heads, and there is no %s.attention.key_length", rm_gguf_file(r->g),
                       h->arch, h->n_embd, h->n_heads, h->arch);
    int even_share = h->n_embd / h->n_heads;
    if ((st = read_count(r, "attention.key_length", 1, 65536, even_share, &h->head_dim)) ||
        (st = read_count(r, "attention.value_length", 1, 65536, h->head_dim, &value_dim)))
        return st;
    if (value_dim != h->head_dim)
        return rm_fail(r->err, RM_E_UNSUPPORTED, "%s: heads with keys of %d and values of %d; this "
                       "engine needs them equal", rm_gguf_file(r->g), h->head_dim, value_dim);
    return RM_OK;
}

rm_status rm_hyper_check(const rm_hyper *h, const char *file, rm_error *err)
{
    if (h->n_kv_heads < 1 || h->n_heads % h->n_kv_heads)
        return rm_fail(err, RM_E_FORMAT, "%s: %d query heads cannot share %d key/value heads "
                       "evenly", file, h->n_heads, h->n_kv_heads);
    return RM_OK;
}

rm_status rm_hyper_read(const rm_gguf *g, rm_hyper *h, rm_error *err)
{
    reader r = { .g = g, .h = h, .err = err };
    rm_status st;
    *h = (rm_hyper){ 0 };
    if ((st = read_arch(&r)) ||
        (st = read_count(&r, "block_count", 1, 65536, MISSING, &h->n_layers)) ||
        (st = read_count(&r, "embedding_length", 1, 1 << 20, MISSING, &h->n_embd)) ||
        (st = read_count(&r, "feed_forward_length", 1, 1 << 24, MISSING, &h->n_ff)) ||
        (st = read_count(&r, "context_length", 1, 1 << 24, MISSING, &h->n_ctx)) ||
        (st = read_count(&r, "attention.sliding_window", 0, 1 << 24, 0, &h->window)) ||
        (st = read_heads(&r)) || (st = rm_hyper_check(h, rm_gguf_file(g), err)) ||
        (st = read_rope(&r)) ||
        (st = rm_gguf_integer(g, key_of(&r, "vocab_size"), 1, INT32_MAX, &h->n_vocab, err)) ||
        (st = refuse_unknown_maths(&r)))
        return st;
    h->n_ctx_most = h->n_ctx;
    st = rm_gguf_real(g, key_of(&r, "attention.layer_norm_rms_epsilon"), 1e-30, 1, &h->norm_eps,
                      err);
    if (!st && h->norm_eps == 0)
        st = rm_fail(err, RM_E_FORMAT, "%s: %s is missing", rm_gguf_file(g), r.key);
    return st;
}
