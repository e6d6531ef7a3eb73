/* hyper.c - metadata to hyperparameters, for architecture "llama".
 *
 *   llama.block_count, .embedding_length, .feed_forward_length, .context_length,
 *   .attention.head_count                          required
 *   .attention.head_count_kv                       head_count
 *   .attention.key_length, .value_length           embedding_length / head_count; must be equal
 *   .attention.layer_norm_rms_epsilon              required
 *   .rope.dimension_count                          key_length
 *   .rope.freq_base                                10000
 *   .rope.scaling.type                             "none" or "linear", with .rope.scaling.factor
 *   .rope.scale_linear                             the same factor in older files
 *
 * A key that would change what the model computes, and that this engine does not know how to
 * honour, refuses the file: a wrong number would be worse than none. */
#include "engine/model/hyper.h"

#include "engine/model/quote.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ARCH "llama"
#define MISSING INT64_MIN

static rm_status check_arch(const rm_gguf *g, rm_error *err)
{
    rm_gguf_string arch = { 0 };
    rm_status st = rm_gguf_text(g, "general.architecture", &arch, err);
    if (st)
        return st;
    if (!arch.bytes)
        return rm_fail(err, RM_E_FORMAT, "%s: general.architecture is missing", rm_gguf_file(g));
    if (arch.n != strlen(ARCH) || memcmp(arch.bytes, ARCH, arch.n))
        return rm_fail(err, RM_E_UNSUPPORTED, "%s: general.architecture is \"%s\", supported is "
                       ARCH, rm_gguf_file(g), rm_quoted(&(rm_quote){ 0 }, arch.bytes, arch.n));
    return RM_OK;
}

/* A count under llama.<name>; absent: `otherwise`, or an error if that is MISSING. */
static rm_status read_count(const rm_gguf *g, const char *name, int64_t low, int64_t high,
                            int64_t otherwise, int *value, rm_error *err)
{
    char key[96];
    int64_t v = otherwise;
    snprintf(key, sizeof key, ARCH ".%s", name);
    rm_status st = rm_gguf_integer(g, key, low, high, &v, err);
    if (st)
        return st;
    if (v == MISSING)
        return rm_fail(err, RM_E_FORMAT, "%s: %s is missing", rm_gguf_file(g), key);
    *value = (int)v;
    return RM_OK;
}

/* Keys whose presence with another value than the neutral one changes the computation. */
static rm_status refuse_unknown_maths(const rm_gguf *g, rm_error *err)
{
    static const char *const counts[] = {
        ARCH ".expert_count", ARCH ".expert_used_count", ARCH ".attention.sliding_window",
        ARCH ".leading_dense_block_count",
    };
    static const char *const factors[] = {
        ARCH ".attention.scale", ARCH ".logit_scale", ARCH ".residual_scale",
        ARCH ".embedding_scale", ARCH ".attn_logit_softcapping", ARCH ".final_logit_softcapping",
        ARCH ".attention.max_alibi_bias", ARCH ".attention.clamp_kqv", ARCH ".rope.scaling.attn_factor",
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        int64_t v = 0;
        rm_status st = rm_gguf_integer(g, counts[i], INT64_MIN, INT64_MAX, &v, err);
        if (st)
            return st;
        if (v)
            return rm_fail(err, RM_E_UNSUPPORTED, "%s: %s is %" PRId64 ": this engine has neither "
                           "experts nor sliding windows", rm_gguf_file(g), counts[i], v);
    }
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        double v = 0;
        rm_status st = rm_gguf_real(g, factors[i], -1e300, 1e300, &v, err);
        if (st)
            return st;
        if (v != 0 && !(v == 1 && strstr(factors[i], "scale")) &&
            !(v == 1 && strstr(factors[i], "attn_factor")))
            return rm_fail(err, RM_E_UNSUPPORTED, "%s: %s is %g: this engine cannot apply it",
                           rm_gguf_file(g), factors[i], v);
    }
    bool causal = true;
    rm_status st = rm_gguf_flag(g, ARCH ".attention.causal", &causal, err);
    if (!st && !causal)
        st = rm_fail(err, RM_E_UNSUPPORTED, "%s: " ARCH ".attention.causal is false, this engine "
                     "generates left to right only", rm_gguf_file(g));
    return st;
}

static rm_status read_rope_scaling(const rm_gguf *g, rm_hyper *h, rm_error *err)
{
    rm_gguf_string type = { "none", 4 };
    double factor = 1;
    rm_status st;
    if ((st = rm_gguf_text(g, ARCH ".rope.scaling.type", &type, err)) ||
        (st = rm_gguf_real(g, ARCH ".rope.scale_linear", 0, 1e6, &factor, err)) ||
        (st = rm_gguf_real(g, ARCH ".rope.scaling.factor", 0, 1e6, &factor, err)))
        return st;
    bool none = type.n == 4 && memcmp(type.bytes, "none", 4) == 0;
    bool linear = type.n == 6 && memcmp(type.bytes, "linear", 6) == 0;
    if (!none && !linear)
        return rm_fail(err, RM_E_UNSUPPORTED, "%s: " ARCH ".rope.scaling.type is \"%s\", "
                       "supported are none, linear, and stored factors (rope_freqs.weight)",
                       rm_gguf_file(g), rm_quoted(&(rm_quote){ 0 }, type.bytes, type.n));
    /* a factor without a type is linear (as the older key is); 0 means none */
    bool named_none = none && rm_gguf_find(g, ARCH ".rope.scaling.type");
    h->rope_scale = named_none || factor == 0 ? 1 : 1 / factor;
    return RM_OK;
}

static rm_status read_rope(const rm_gguf *g, rm_hyper *h, rm_error *err)
{
    if (h->head_dim < 2)
        return rm_fail(err, RM_E_UNSUPPORTED, "%s: heads of %d dimension; rotary embedding turns "
                       "pairs and needs 2", rm_gguf_file(g), h->head_dim);
    rm_status st = read_count(g, "rope.dimension_count", 2, h->head_dim, h->head_dim, &h->rope_dims,
                              err);
    if (st)
        return st;
    if (h->rope_dims % 2)
        return rm_fail(err, RM_E_FORMAT, "%s: " ARCH ".rope.dimension_count is %d, expected an "
                       "even number", rm_gguf_file(g), h->rope_dims);
    h->rope_theta = 10000;
    st = rm_gguf_real(g, ARCH ".rope.freq_base", 1, 1e15, &h->rope_theta, err);
    return st ? st : read_rope_scaling(g, h, err);
}

static rm_status read_heads(const rm_gguf *g, rm_hyper *h, rm_error *err)
{
    int value_dim = 0;
    rm_status st;
    if ((st = read_count(g, "attention.head_count", 1, 65536, MISSING, &h->n_heads, err)) ||
        (st = read_count(g, "attention.head_count_kv", 1, 65536, h->n_heads, &h->n_kv_heads, err)))
        return st;
    if (h->n_heads % h->n_kv_heads)
        return rm_fail(err, RM_E_FORMAT, "%s: %d query heads cannot share %d key/value heads "
                       "evenly", rm_gguf_file(g), h->n_heads, h->n_kv_heads);
    if (h->n_embd % h->n_heads && !rm_gguf_find(g, ARCH ".attention.key_length"))
        return rm_fail(err, RM_E_FORMAT, "%s: " ARCH ".embedding_length %d is no multiple of the "
                       "%d heads, and there is no " ARCH ".attention.key_length", rm_gguf_file(g),
                       h->n_embd, h->n_heads);
    int even_share = h->n_embd / h->n_heads;
    if ((st = read_count(g, "attention.key_length", 1, 65536, even_share, &h->head_dim, err)) ||
        (st = read_count(g, "attention.value_length", 1, 65536, h->head_dim, &value_dim, err)))
        return st;
    if (value_dim != h->head_dim)
        return rm_fail(err, RM_E_UNSUPPORTED, "%s: heads with keys of %d and values of %d; this "
                       "engine needs them equal", rm_gguf_file(g), h->head_dim, value_dim);
    return RM_OK;
}

rm_status rm_hyper_read(const rm_gguf *g, rm_hyper *h, rm_error *err)
{
    rm_status st;
    *h = (rm_hyper){ 0 };
    if ((st = check_arch(g, err)) ||
        (st = read_count(g, "block_count", 1, 65536, MISSING, &h->n_layers, err)) ||
        (st = read_count(g, "embedding_length", 1, 1 << 20, MISSING, &h->n_embd, err)) ||
        (st = read_count(g, "feed_forward_length", 1, 1 << 24, MISSING, &h->n_ff, err)) ||
        (st = read_count(g, "context_length", 1, 1 << 24, MISSING, &h->n_ctx, err)) ||
        (st = read_heads(g, h, err)) || (st = read_rope(g, h, err)) ||
        (st = rm_gguf_integer(g, ARCH ".vocab_size", 1, INT32_MAX, &h->n_vocab, err)) ||
        (st = refuse_unknown_maths(g, err)))
        return st;
    st = rm_gguf_real(g, ARCH ".attention.layer_norm_rms_epsilon", 1e-30, 1, &h->norm_eps, err);
    if (!st && h->norm_eps == 0)
        st = rm_fail(err, RM_E_FORMAT, "%s: " ARCH ".attention.layer_norm_rms_epsilon is missing",
                     rm_gguf_file(g));
    return st;
}
