/* weights.c - a model's file or folder (source.h) onto a backend.
 *
 * Tensors, with D, H, G, C, F, V, L as ops.h names them (GGUF writes shapes fastest first, so a
 * matrix [n_out, n_in] appears as [n_in, n_out]):
 *
 *   token_embd.weight                       [V, D]
 *   blk.<i>.attn_norm.weight                [D]
 *   blk.<i>.attn_q.weight  (.bias)          [H C, D]
 *   blk.<i>.attn_k.weight, attn_v.weight    [G C, D]   (biases likewise: qwen2)
 *   blk.<i>.attn_q_norm.weight, attn_k_norm.weight   [C]   qwen3
 *   blk.<i>.attn_output.weight  (.bias)     [D, H C]
 *   blk.<i>.ffn_norm.weight                 [D]
 *   blk.<i>.ffn_gate.weight, ffn_up.weight  [F, D]
 *   blk.<i>.ffn_down.weight                 [D, F]
 *   output_norm.weight                      [D]
 *   output.weight                           [V, D]; absent: token_embd.weight serves
 *   rope_freqs.weight                       [rope_dims / 2] divisors of the frequencies; optional
 *   rope_factors_short.weight, rope_factors_long.weight   the same for contexts up to the original one
 *                                           and beyond; both or none
 *
 * In GGUF files of llama the rows of q and k lie in an order in which the rotary pairs are
 * neighbours (2i, 2i + 1); in those of qwen and in Hugging Face's files a pair is half a head
 * apart (i, i + C/2). Nothing is reordered: the cache is told which (rm_rope.interleaved). Each
 * tensor must be there with its shape, and a tensor that is none of these refuses the file,
 * since ignoring it could change what the model computes.
 *
 * Compute types. What the caller asks for, else what the weights are: bf16 for bf16, q8 for
 * quantised types (bf16 on a device that widens them), f32 otherwise. Under q8 a product whose matrices are not all quantised is
 * computed in f32.
 *
 * The file is read twice from front to back: by the hash, then by the backend. Told so, the kernel
 * reads ahead further: a 1 GB file not in the page cache took 0.9 to 2.0 s to hash and load so,
 * 2.5 to 3.1 s without advice, and 1 to 28 s with MADV_WILLNEED (a busy machine of 2 cores); in
 * the page cache 0.5 to 0.7 s with any. Pages that have been read are given back as it goes on, so
 * that packing a copy does not hold the file twice. */
#define _GNU_SOURCE /* madvise */
#include "engine/model/weights.h"

#include "engine/dtype.h"
#include "engine/model/quote.h"
#include "engine/model/source.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct rm_weights_private {
    rm_source *source;
    char *name, *chat_template, *roles[RM_N_ROLES];
    rm_text types;
    char rope_scaling[80];
    float *rope_factors;
    bool *used;           /* [n_tensors] */
};

/* What a load works with. */
typedef struct loader {
    const rm_ops *ops;
    rm_backend *backend;
    const rm_source *source;
    rm_weights *w;
    rm_hyper hyper;
    rm_error *err;
} loader;

/* ---- tensors by name ----------------------------------------------------------------------- */

/* The tensor `name` as [n_out, n_in], or as a vector of n_in, of a type this engine reads. An
 * absent one is an error if `required`, else *tensor is NULL. */
static rm_status find_tensor(loader *l, const char *name, bool vector, size_t n_out, size_t n_in,
                             bool required, const rm_gguf_tensor **tensor)
{
    const rm_gguf_tensor *t = rm_source_find(l->source, name);
    *tensor = NULL;
    if (!t && !required)
        return RM_OK;
    char label[128];
    rm_source_label(l->source, name, label);
    if (!t)
        return rm_fail(l->err, RM_E_FORMAT, "%s: tensor %s is missing", l->source->file, label);
    char shape[96];
    rm_source_shape(l->source, t, shape);
    if (t->n_values / t->dims[0] != n_out || t->dims[0] != n_in ||
        (vector ? t->n_dims != 1 : t->n_dims != 2)) {
        if (vector)
            return rm_fail(l->err, RM_E_FORMAT, "%s: tensor %s is %s, expected [%zu]",
                           l->source->file, label, shape, n_in);
        size_t first = l->source->folder ? n_out : n_in, second = l->source->folder ? n_in : n_out;
        return rm_fail(l->err, RM_E_FORMAT, "%s: tensor %s is %s, expected [%zu, %zu]",
                       l->source->file, label, shape, first, second);
    }
    if (!t->readable)
        return rm_fail(l->err, RM_E_UNSUPPORTED, "%s: tensor %s is %s, supported are f32, f16, "
                       "bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k and q6_k", l->source->file,
                       label, shape);
    l->w->priv->used[t - l->source->tensors] = true;
    *tensor = t;
    return RM_OK;
}

static rm_status find_matrix(loader *l, const char *name, size_t n_out, size_t n_in, rm_matrix *m)
{
    const rm_gguf_tensor *t;
    rm_status st = find_tensor(l, name, false, n_out, n_in, true, &t);
    if (!st)
        *m = (rm_matrix){ t->type, t->data, n_out, n_in };
    return st;
}

static const char *layer_name(char buffer[64], int layer, const char *suffix)
{
    snprintf(buffer, 64, "blk.%d.%s", layer, suffix);
    return buffer;
}

/* A vector widened to f32, malloc'd; *values NULL if it is absent and not required. */
static rm_status read_vector(loader *l, const char *name, size_t n, bool required, float **values)
{
    const rm_gguf_tensor *t;
    *values = NULL;
    rm_status st = find_tensor(l, name, true, 1, n, required, &t);
    if (st || !t)
        return st;
    *values = malloc(n * sizeof **values);
    if (!*values)
        return rm_fail(l->err, RM_E_MEMORY, "%s: no memory for tensor %s", l->source->file,
                       name);
    rm_dtype_widen(t->type, t->data, n, *values);
    return RM_OK;
}

/* ---- loading ------------------------------------------------------------------------------- */

static rm_compute compute_for(const loader *l, const rm_matrix *m, int n)
{
    if (l->w->compute != RM_COMPUTE_Q8)
        return l->w->compute;
    for (int i = 0; i < n; i++)
        if (m[i].type < RM_Q8_0)
            return RM_COMPUTE_F32;
    return RM_COMPUTE_Q8;
}

static rm_status load_vector(loader *l, const char *name, size_t n, rm_weight **weight)
{
    float *values;
    rm_status st = read_vector(l, name, n, true, &values);
    if (!st)
        st = l->ops->vector_new(l->backend, values, n, weight, l->err);
    free(values);
    return st;
}

/* Matrices (with the biases that exist) stacked into one weight. */
static rm_status load_stack(loader *l, int layer, const char *const *names, const size_t *n_out,
                            size_t n_in, int n, bool needs_bias, rm_weight **weight)
{
    rm_matrix m[3] = { 0 };
    float *bias[3] = { 0 };
    char name[64];
    bool biased = false;
    rm_status st = RM_OK;
    assert(n <= 3);
    for (int i = 0; i < n && !st; i++) {
        char suffix[40];
        snprintf(suffix, sizeof suffix, "%s.weight", names[i]);
        st = find_matrix(l, layer_name(name, layer, suffix), n_out[i], n_in, &m[i]);
        snprintf(suffix, sizeof suffix, "%s.bias", names[i]);
        if (!st)
            st = read_vector(l, layer_name(name, layer, suffix), n_out[i], needs_bias, &bias[i]);
        biased |= bias[i] != NULL;
    }
    if (!st)
        st = l->ops->weight_new(l->backend, m, biased ? (const float *const *)bias : NULL, n,
                                compute_for(l, m, n), weight, l->err);
    for (int i = 0; i < n; i++)
        free(bias[i]);
    return st;
}

static rm_status load_gated(loader *l, int layer, rm_weight **weight)
{
    size_t f = (size_t)l->hyper.n_ff, d = (size_t)l->hyper.n_embd;
    rm_matrix m[2];
    char name[64];
    rm_status st = find_matrix(l, layer_name(name, layer, "ffn_gate.weight"), f, d, &m[0]);
    if (!st)
        st = find_matrix(l, layer_name(name, layer, "ffn_up.weight"), f, d, &m[1]);
    if (!st)
        st = l->ops->weight_new_gated(l->backend, &m[0], &m[1], compute_for(l, m, 2), weight,
                                      l->err);
    return st;
}

static rm_status load_layer(loader *l, int i)
{
    static const char *const qkv[] = { "attn_q", "attn_k", "attn_v" };
    static const char *const out[] = { "attn_output" }, *const down[] = { "ffn_down" };
    const rm_hyper *h = &l->hyper;
    size_t d = (size_t)h->n_embd, f = (size_t)h->n_ff;
    size_t q = (size_t)h->n_heads * (size_t)h->head_dim,
        kv = (size_t)h->n_kv_heads * (size_t)h->head_dim;
    rm_layer *layer = &l->w->layers[i];
    size_t c = (size_t)h->head_dim;
    char name[64];
    rm_status st = RM_OK;
    if (h->qk_norm &&
        ((st = load_vector(l, layer_name(name, i, "attn_q_norm.weight"), c, &layer->q_norm)) ||
         (st = load_vector(l, layer_name(name, i, "attn_k_norm.weight"), c, &layer->k_norm))))
        return st;
    if ((st = load_vector(l, layer_name(name, i, "attn_norm.weight"), d, &layer->attn_norm)) ||
        (st = load_stack(l, i, qkv, (size_t[]){ q, kv, kv }, d, 3, h->qkv_bias, &layer->qkv)) ||
        (st = load_stack(l, i, out, &d, q, 1, h->out_bias, &layer->attn_out)) ||
        (st = load_vector(l, layer_name(name, i, "ffn_norm.weight"), d, &layer->ffn_norm)) ||
        (st = load_gated(l, i, &layer->gate_up)))
        return st;
    return load_stack(l, i, down, &d, f, 1, false, &layer->down);
}

/* The embedding, the output matrix and what stands between the last layer and it. */
static rm_status load_ends(loader *l)
{
    rm_weights *w = l->w;
    size_t v = (size_t)w->info.n_vocab, d = (size_t)l->hyper.n_embd;
    rm_matrix embedding, output;
    rm_status st = find_matrix(l, "token_embd.weight", v, d, &embedding);
    if (st)
        return st;
    w->info.tied = l->source->tied;
    output = embedding;
    if (!w->info.tied && (st = find_matrix(l, "output.weight", v, d, &output)))
        return st;
    if ((st = l->ops->table_new(l->backend, &embedding, &w->embedding, l->err)) ||
        (st = load_vector(l, "output_norm.weight", d, &w->out_norm)))
        return st;
    return l->ops->weight_new(l->backend, &output, NULL, 1, compute_for(l, &output, 1), &w->output,
                              l->err);
}

/* Divisors of frequencies from a tensor; *factors NULL: it is absent. */
static rm_status read_divisors(loader *l, const char *name, bool required, float **factors)
{
    size_t n = (size_t)l->hyper.rope_dims / 2;
    rm_status st = read_vector(l, name, n, required, factors);
    for (size_t i = 0; !st && *factors && i < n; i++)
        if (!((*factors)[i] > 0) || isinf((*factors)[i]))
            st = rm_fail(l->err, RM_E_FORMAT, "%s: %s holds %g at %zu, expected finite numbers above "
                         "0", l->source->file, name, (double)(*factors)[i], i);
    return st;
}

/* Divisors that the file holds, one set or two of which the context chooses. */
static rm_status stored_divisors(loader *l, float **factors)
{
    static const char both[2][28] = { "rope_factors_short.weight", "rope_factors_long.weight" };
    const rm_hyper *h = &l->hyper;
    bool two = h->rope_scaling.kind == RM_ROPE_LONG || rm_source_find(l->source, both[0]) ||
               rm_source_find(l->source, both[1]);
    if (!two)
        return read_divisors(l, "rope_freqs.weight", false, factors);
    int which = h->n_ctx > h->rope_scaling.original_context;
    float *other = NULL;
    rm_status st = read_divisors(l, both[!which], true, &other);
    free(other);
    return st ? st : read_divisors(l, both[which], true, factors);
}

/* Divisors that the file holds, or that its parameters mean; not both. */
static rm_status load_rope(loader *l)
{
    const rm_hyper *h = &l->hyper;
    const rm_rope_scaling *scaling = &h->rope_scaling;
    size_t n = (size_t)h->rope_dims / 2;
    float *factors = NULL;
    double magnitude = 1, theta = h->rope_theta;
    rm_status st = stored_divisors(l, &factors);
    bool computed = scaling->kind == RM_ROPE_LLAMA3 || scaling->kind == RM_ROPE_YARN;
    l->w->priv->rope_factors = factors;
    if (st)
        return st;
    if (factors && computed)
        return rm_fail(l->err, RM_E_UNSUPPORTED, "%s: stored rotary divisors and parameters for others; "
                       "one of the two was expected", l->source->file);
    if (computed) {
        l->w->priv->rope_factors = factors = malloc(n * sizeof *factors);
        if (!factors)
            return rm_fail(l->err, RM_E_MEMORY, "%s: no memory", l->source->file);
    }
    if ((st = rm_rope_divisors(scaling, h->rope_dims, theta, l->source->file, factors, &magnitude,
                               l->err)))
        return st;
    if (scaling->kind == RM_ROPE_DYNAMIC)
        theta = rm_rope_dynamic_theta(scaling, h->rope_dims, theta, h->n_ctx);
    double scale = scaling->kind == RM_ROPE_LINEAR ? 1 / scaling->factor : 1;
    l->w->rope = (rm_rope){ .n_dims = h->rope_dims, .interleaved = h->rope_interleaved,
                            .theta = theta, .scale = scale, .factors = factors,
                            .magnitude = magnitude };
    return RM_OK;
}

static rm_status refuse_unused(const loader *l)
{
    for (size_t i = 0; i < l->source->n_tensors; i++)
        if (!l->w->priv->used[i]) {
            const rm_gguf_tensor *t = &l->source->tensors[i];
            char name[128], label[128];
            snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.bytes);
            bool known = strcmp(rm_source_label(l->source, name, label), name) != 0;
            return rm_fail(l->err, RM_E_UNSUPPORTED, "%s: tensor %s is not part of a %s model "
                           "of %d layers as this engine computes it", l->source->file,
                           known ? label : rm_quoted(&(rm_quote){ 0 }, name, strlen(name)),
                           l->hyper.arch, l->hyper.n_layers);
        }
    return RM_OK;
}

/* ---- what the caller asked for ------------------------------------------------------------- */

/* The type that most values of matrices have. */
static rm_dtype main_type(const rm_source *source)
{
    uint64_t count[RM_DTYPE_COUNT] = { 0 };
    rm_dtype most = RM_F32;
    for (size_t i = 0; i < source->n_tensors; i++) {
        const rm_gguf_tensor *t = &source->tensors[i];
        if (t->readable && t->n_dims > 1)
            count[t->type] += t->n_values;
    }
    for (int i = 0; i < RM_DTYPE_COUNT; i++)
        if (count[i] > count[most])
            most = (rm_dtype)i;
    return most;
}

static rm_status choose_compute(loader *l, const char *name)
{
    rm_dtype type = main_type(l->source);
    rm_weights *w = l->w;
    w->info.weight_type = rm_dtype_name(type);
    if (!name)
        name = type == RM_BF16 ? "bf16" : type < RM_Q8_0 ? "f32" : l->ops->widens_blocks ? "bf16" : "q8";
    if (strcmp(name, "f32") == 0) {
        w->compute = RM_COMPUTE_F32;
        w->info.compute = "f32";
    } else if (strcmp(name, "bf16") == 0) {
        w->compute = RM_COMPUTE_BF16;
        w->info.compute = "bf16";
    } else if (strcmp(name, "q8") == 0) {
        if (type < RM_Q8_0)
            return rm_fail(l->err, RM_E_ARGUMENT, "%s: compute type q8 needs quantised weights, "
                           "this file's are %s", l->source->file, w->info.weight_type);
        if (l->ops->widens_blocks)
            return rm_fail(l->err, RM_E_ARGUMENT, "%s: compute type q8 on backend \"%s\", which "
                           "computes in f32 or bf16", l->source->file, l->ops->name);
        w->compute = RM_COMPUTE_Q8;
        w->info.compute = "q8";
    } else {
        return rm_fail(l->err, RM_E_ARGUMENT, "compute type \"%.40s\", expected f32, bf16 or q8",
                       name);
    }
    return RM_OK;
}

static rm_status choose_kv(loader *l, const char *name)
{
    rm_weights *w = l->w;
    if (!name)
        name = w->compute == RM_COMPUTE_BF16 ? "bf16" : "f32";
    bool bf16 = strcmp(name, "bf16") == 0;
    if (!bf16 && strcmp(name, "f32") != 0)
        return rm_fail(l->err, RM_E_ARGUMENT, "key/value type \"%.40s\", expected f32 or bf16",
                       name);
    w->kv_type = bf16 ? RM_BF16 : RM_F32;
    w->info.kv = bf16 ? "bf16" : "f32";
    return RM_OK;
}

static rm_status choose_context(loader *l, int wanted)
{
    rm_hyper *h = &l->hyper;
    if (wanted < 0 || wanted > h->n_ctx_most)
        return rm_fail(l->err, RM_E_ARGUMENT, "%s: a context of %d positions, expected 1 to %d",
                       l->source->file, wanted, h->n_ctx_most);
    if (wanted)
        h->n_ctx = wanted;
    return RM_OK;
}

/* ---- describing ---------------------------------------------------------------------------- */

static bool fit_to_print(rm_gguf_string s, size_t most)
{
    bool fit = s.n >= 1 && s.n <= most;
    for (size_t i = 0, n; fit && i < s.n; i += n)
        fit = (n = rm_printable(s.bytes + i, s.n - i)) > 0;
    return fit;
}

/* The name in the file if it is fit to be printed, else the last part of the path; and the chat
 * template as text, which files write without a NUL. */
static rm_status copy_texts(loader *l)
{
    const rm_source *source = l->source;
    const char *file = source->file, *slash = strrchr(file, '/');
    struct rm_weights_private *priv = l->w->priv;
    priv->name = fit_to_print(source->name, 256) ? strndup(source->name.bytes, source->name.n)
                                                 : strdup(slash && slash[1] ? slash + 1 : file);
    rm_gguf_string template = source->chat_template;
    bool text = template.n && !memchr(template.bytes, 0, template.n) &&
                rm_utf8_valid_prefix(template.bytes, template.n) == template.n;
    if (template.n && !text)
        return rm_fail(l->err, RM_E_FORMAT,
                       "%s: its chat template holds a zero byte or is not valid "
                       "UTF-8", file);
    if (text)
        priv->chat_template = strndup(template.bytes, template.n);
    if (!priv->name || (text && !priv->chat_template))
        return rm_fail(l->err, RM_E_MEMORY, "%s: no memory for its name", file);
    const char **info[RM_N_ROLES] = { &l->w->info.sep_token, &l->w->info.pad_token,
                                      &l->w->info.unk_token };
    for (int i = 0; i < RM_N_ROLES; i++) {
        rm_gguf_string role = source->roles[i];
        if (!role.n || memchr(role.bytes, 0, role.n))
            continue;
        *info[i] = priv->roles[i] = strndup(role.bytes, role.n);
        if (!priv->roles[i])
            return rm_fail(l->err, RM_E_MEMORY, "%s: no memory for its name", file);
    }
    l->w->info.name = priv->name;
    l->w->info.chat_template = priv->chat_template;
    l->w->info.sampling = source->defaults.bytes; /* NUL-terminated; lives with the source */
    return RM_OK;
}

/* Advice only: where the kernel does not take it, nothing but time is lost. (What was read and not
 * mapped must not be dropped: those parts are small, and are left alone.) */
static void advise(const loader *l, int advice)
{
    for (size_t i = 0; i < l->source->n_parts; i++)
        if ((uintptr_t)l->source->parts[i].bytes % 4096 == 0 && l->source->parts[i].mapped)
            (void)madvise((void *)(uintptr_t)l->source->parts[i].bytes, l->source->parts[i].n,
                          advice);
}

/* The file's pages need not stay with the process: they are clean, and what is looked up in place
 * later comes back from the page cache. */
static void release_pages(const loader *l)
{
    advise(l, MADV_DONTNEED);
}

/* The identity: XXH3-128 of all bytes of the file, or of all files that were read, in their order;
 * with compute and KV type, all that the numbers depend on besides backend and variant. */
static void hash_file(loader *l)
{
    enum { WINDOW = 64 << 20 };
    XXH3_state_t state;
    advise(l, MADV_SEQUENTIAL);
    XXH3_128bits_reset(&state);
    for (size_t i = 0; i < l->source->n_parts; i++) {
        const char *bytes = l->source->parts[i].bytes;
        size_t n = l->source->parts[i].n;
        for (size_t at = 0; at < n; at += WINDOW) {
            XXH3_128bits_update(&state, bytes + at, n - at < WINDOW ? n - at : WINDOW);
            release_pages(l);
        }
        l->w->info.file_bytes += n;
    }
    XXH128_hash_t h = XXH3_128bits_digest(&state);
    snprintf(l->w->info.hash, sizeof l->w->info.hash, "%016" PRIx64 "%016" PRIx64,
             (uint64_t)h.high64, (uint64_t)h.low64);
    l->w->info.id = rm_mix(rm_mix(h.high64, h.low64),
                           (uint64_t)l->w->compute << 8 | (uint64_t)l->w->kv_type);
    if (l->hyper.n_ctx != l->source->hyper.n_ctx) /* rotary scaling may depend on it */
        l->w->info.id = rm_mix(l->w->info.id, (uint64_t)l->hyper.n_ctx);
}

static size_t held_bytes(const loader *l)
{
    const rm_weights *w = l->w;
    const rm_ops *ops = l->ops;
    size_t sum = ops->weight_bytes(w->out_norm) + ops->weight_bytes(w->output);
    if (!w->info.tied)
        sum += rm_source_find(l->source, "token_embd.weight")->n_bytes;
    for (int i = 0; i < w->info.n_layers; i++) {
        const rm_layer *y = &w->layers[i];
        sum += ops->weight_bytes(y->attn_norm) + ops->weight_bytes(y->qkv) +
               ops->weight_bytes(y->attn_out) + ops->weight_bytes(y->ffn_norm) +
               ops->weight_bytes(y->gate_up) + ops->weight_bytes(y->down);
    }
    return sum;
}

/* "q4_k 81%, q6_k 16%, f32 3%": the types by their share of the bytes, largest first. */
static void describe_types(loader *l)
{
    double bytes[RM_DTYPE_COUNT] = { 0 }, total = 0;
    for (size_t i = 0; i < l->source->n_tensors; i++) {
        const rm_gguf_tensor *t = &l->source->tensors[i];
        if (t->readable)
            bytes[t->type] += (double)t->n_bytes;
        total += t->readable ? (double)t->n_bytes : 0;
    }
    for (int n = 0; n < RM_DTYPE_COUNT; n++) {
        int most = 0;
        for (int i = 1; i < RM_DTYPE_COUNT; i++)
            if (bytes[i] > bytes[most])
                most = i;
        if (bytes[most] <= 0)
            break;
        rm_text_printf(&l->w->priv->types, "%s%s %.*f%%", n ? ", " : "",
                       rm_dtype_name((rm_dtype)most), bytes[most] < total / 100 ? 1 : 0,
                       100 * bytes[most] / total);
        bytes[most] = 0;
    }
    l->w->info.weight_types = l->w->priv->types.data;
}

/* How rotary embeddings are stretched, or NULL. Divisors that are stored say no more than that. */
static const char *describe_rope(loader *l)
{
    static const char *const names[] = {
        [RM_ROPE_LINEAR] = "linear", [RM_ROPE_DYNAMIC] = "dynamic", [RM_ROPE_LLAMA3] = "llama3",
        [RM_ROPE_YARN] = "yarn", [RM_ROPE_LONG] = "longrope",
    };
    const rm_rope_scaling *s = &l->hyper.rope_scaling;
    char *text = l->w->priv->rope_scaling;
    size_t room = sizeof l->w->priv->rope_scaling;
    if (s->kind == RM_ROPE_PLAIN)
        return rm_source_find(l->source, "rope_freqs.weight") ? "divisors that the file holds" : NULL;
    int n = snprintf(text, room, "%s", names[s->kind]);
    if (s->factor > 0)
        n += snprintf(text + n, room - (size_t)n, " by %g", s->factor);
    if (s->kind != RM_ROPE_LINEAR)
        snprintf(text + n, room - (size_t)n, " from %g positions", s->original_context);
    return text;
}

/* Shapes and costs. Counted as engine.h says: a multiply-add is 2; per layer and row
 * D (H + 2G) C + H C D + 3 D F of them, the output D V, and each cached position a row looks at
 * H C for its score and H C for its value. */
static void describe(loader *l)
{
    const rm_hyper *h = &l->hyper;
    rm_model_info *info = &l->w->info;
    rm_tokenizer_info t = rm_tokenizer_describe(l->w->tokenizer);
    describe_types(l);
    info->file = l->source->file;
    info->arch = h->arch;
    info->tokenizer = t.kind;
    info->n_layers = h->n_layers;
    info->n_embd = h->n_embd;
    info->n_heads = h->n_heads;
    info->n_kv_heads = h->n_kv_heads;
    info->head_dim = h->head_dim;
    info->n_ff = h->n_ff;
    info->n_ctx = h->n_ctx;
    info->n_vocab = t.n_vocab;
    info->window = h->window;
    info->rope_theta = h->rope_theta;
    info->norm_eps = h->norm_eps;
    info->rope_scaling = describe_rope(l);
    info->bos = t.bos;
    info->eos = t.eos;
    info->add_bos = t.add_bos;
    double layers = h->n_layers, d = h->n_embd, f = h->n_ff, c = h->head_dim;
    double q = h->n_heads * c, kv = h->n_kv_heads * c;
    info->flops_per_token = 2 * layers * (d * (q + 2 * kv) + q * d + 3 * d * f);
    info->flops_output = 2 * d * info->n_vocab;
    info->flops_per_position = 4 * layers * q;
    info->kv_position_bytes = (size_t)h->n_layers * 2 * (size_t)h->n_kv_heads *
                              (size_t)h->head_dim * (l->w->kv_type == RM_BF16 ? 2 : 4);
    for (size_t i = 0; i < l->source->n_tensors; i++)
        info->n_params += l->source->tensors[i].n_values;
}

/* What the common chat formats end a turn with. Files often name one token as the end of a text
 * (<|endoftext|>, which a chat model never writes) and say of the end of a turn nothing: a special
 * token of such a name ends the text, too. */
static bool ends_turn(const char *text, size_t n)
{
    static const char *const names[] = { "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>",
                                         "<end_of_turn>", "<|end_of_turn|>", "<|endoftext|>" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == n && memcmp(names[i], text, n) == 0)
            return true;
    return false;
}

static rm_status copy_stop_tokens(loader *l)
{
    rm_weights *w = l->w;
    int n = l->source->n_stop_tokens;
    w->stop_tokens = malloc(2 * RM_MAX_STOP_TOKENS * sizeof *w->stop_tokens);
    if (!w->stop_tokens)
        return rm_fail(l->err, RM_E_MEMORY, "%s: no memory", l->source->file);
    memcpy(w->stop_tokens, l->source->stop_tokens, (size_t)n * sizeof *w->stop_tokens);
    for (int32_t id = 0; id < w->info.n_vocab && n < 2 * RM_MAX_STOP_TOKENS; id++) {
        size_t length;
        bool special, known = false;
        const char *text = rm_tokenizer_bytes(w->tokenizer, id, &length, &special);
        if (!special || !ends_turn(text, length))
            continue;
        for (int i = 0; i < n; i++)
            known |= w->stop_tokens[i] == id;
        if (!known)
            w->stop_tokens[n++] = id;
    }
    w->n_stop_tokens = n;
    return RM_OK;
}

/* The two tokens by which a reward model judges: both or none. */
static rm_status read_value_tokens(loader *l)
{
    rm_model_info *info = &l->w->info;
    const int32_t *id = l->source->value_tokens;
    for (int i = 0; i < 2; i++)
        if (id[i] >= info->n_vocab)
            return rm_fail(l->err, RM_E_FORMAT,
                           "%s: a token it judges by is %d, of a vocabulary of "
                           "%d", l->source->file, id[i], info->n_vocab);
    info->value_good = id[0];
    info->value_bad = id[1];
    return RM_OK;
}

/* ---- opening ------------------------------------------------------------------------------- */

static rm_status check_vocabulary(const loader *l)
{
    int n = l->w->info.n_vocab;
    const rm_gguf_tensor *t = rm_source_find(l->source, "token_embd.weight");
    if (l->hyper.n_vocab && l->hyper.n_vocab != n)
        return rm_fail(l->err, RM_E_FORMAT, "%s: its vocab_size is %" PRId64 ", but the tokenizer "
                       "has %d tokens", l->source->file, l->hyper.n_vocab, n);
    if (t && t->n_dims == 2 && t->dims[1] != (uint64_t)n)
        return rm_fail(l->err, RM_E_FORMAT, "%s: %s has %" PRIu64 " rows, but the "
                       "%s %d tokens", l->source->file,
                       rm_source_label(l->source, "token_embd.weight", (char[128]){ 0 }), t->dims[1],
                       l->hyper.n_vocab ? "vocab_size is" : "tokenizer has", n);
    return RM_OK;
}

static rm_status load(loader *l, const char *file, const rm_model_options *options)
{
    static const rm_model_options defaults = { 0 };
    rm_weights *w = l->w;
    rm_status st = rm_source_open(file, &w->priv->source, l->err);
    if (st)
        return st;
    l->source = w->priv->source;
    l->hyper = l->source->hyper;
    if (!options)
        options = &defaults;
    w->priv->used = calloc(l->source->n_tensors + 1, sizeof *w->priv->used);
    if (!w->priv->used)
        return rm_fail(l->err, RM_E_MEMORY, "%s: no memory", file);
    if ((st = rm_source_tokenizer(l->source, &w->tokenizer, l->err)) ||
        (st = choose_compute(l, options->compute)) || (st = choose_kv(l, options->kv)) ||
        (st = choose_context(l, options->n_ctx)) || (st = copy_texts(l)))
        return st;
    describe(l);
    if ((st = check_vocabulary(l)) || (st = copy_stop_tokens(l)) ||
        (st = read_value_tokens(l)))
        return st;
    hash_file(l);
    w->layers = calloc((size_t)l->hyper.n_layers, sizeof *w->layers);
    if (!w->layers)
        return rm_fail(l->err, RM_E_MEMORY, "%s: no memory for %d layers", file, l->hyper.n_layers);
    if ((st = load_ends(l)) || (st = load_rope(l)))
        return st;
    for (int i = 0; i < l->hyper.n_layers; i++) {
        if ((st = load_layer(l, i)))
            return st;
        release_pages(l);
    }
    if ((st = refuse_unused(l)))
        return st;
    w->info.memory_bytes = held_bytes(l);
    advise(l, MADV_NORMAL); /* what a backend reads in place it reads in any order */
    return RM_OK;
}

rm_status rm_weights_open(const rm_ops *ops, rm_backend *backend, const char *file,
                          const rm_model_options *options, rm_weights **out, rm_error *err)
{
    rm_weights *w = calloc(1, sizeof *w);
    if (w)
        w->priv = calloc(1, sizeof *w->priv);
    if (!w || !w->priv) {
        free(w);
        return rm_fail(err, RM_E_MEMORY, "%s: no memory to load it", file);
    }
    loader l = { .ops = ops, .backend = backend, .w = w, .err = err };
    rm_status st = load(&l, file, options);
    if (st)
        rm_weights_close(ops, backend, w);
    else
        *out = w;
    return st;
}

void rm_weights_close(const rm_ops *ops, rm_backend *backend, rm_weights *w)
{
    if (!w)
        return;
    for (int i = 0; w->layers && i < w->info.n_layers; i++) {
        rm_layer *y = &w->layers[i];
        rm_weight *all[] = { y->attn_norm, y->qkv, y->attn_out, y->ffn_norm, y->gate_up, y->down,
                             y->q_norm, y->k_norm };
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++)
            if (all[k])
                ops->weight_free(backend, all[k]);
    }
    rm_weight *ends[] = { w->output, w->out_norm, w->embedding };
    for (size_t k = 0; k < sizeof ends / sizeof ends[0]; k++)
        if (ends[k])
            ops->weight_free(backend, ends[k]);
    rm_tokenizer_free(w->tokenizer);
    rm_source_close(w->priv->source);
    free(w->priv->name);
    free(w->priv->chat_template);
    for (int i = 0; i < RM_N_ROLES; i++)
        free(w->priv->roles[i]);
    rm_text_free(&w->priv->types);
    free(w->priv->rope_factors);
    free(w->priv->used);
    free(w->priv);
    free(w->layers);
    free(w->stop_tokens);
    free(w);
}
