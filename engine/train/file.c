/* file.c - from a GGUF file to numbers and back.
 *
 * A model made here gets the metadata that llama.cpp asks of a llama with a byte-level vocabulary
 * (tokenizer "gpt2", no merges: every character is a token, the space is written as the
 * byte-level U+0120). A model that began as a file keeps all of that file's metadata except its
 * name and the type of its weights. */
#include "engine/train/trainer.h"

#include "engine/dtype.h"
#include "engine/model/gguf_write.h"
#include "engine/model/hyper.h"

#include <stdlib.h>
#include <string.h>

/* ---- reading --------------------------------------------------------------------------------- */

static rm_status read_shape(const rm_gguf *g, rm_shape *s, rm_error *err)
{
    rm_hyper h;
    rm_status st = rm_hyper_read(g, &h, err);
    if (st)
        return st;
    const rm_gguf_tensor *t = rm_gguf_find_tensor(g, "token_embd.weight");
    if (!t || t->n_dims != 2 || t->dims[1] > INT32_MAX)
        return rm_fail(err, RM_E_FORMAT, "%s: tensor token_embd.weight is missing or no matrix",
                       rm_gguf_file(g));
    if (strcmp(h.arch, "llama") != 0 || h.window)
        return rm_fail(err, RM_E_UNSUPPORTED, "%s: training knows the llama architecture without a "
                       "sliding window, this model is a %s", rm_gguf_file(g), h.arch);
    if (h.rope_dims != h.head_dim || h.rope_scaling.kind != RM_ROPE_PLAIN ||
        rm_gguf_find_tensor(g, "rope_freqs.weight"))
        return rm_fail(err, RM_E_UNSUPPORTED, "%s: training knows rotary embedding of whole heads "
                       "without scaling only", rm_gguf_file(g));
    *s = (rm_shape){ h.n_layers, h.n_embd, h.n_heads, h.n_kv_heads, h.head_dim, h.n_ff,
                     (int)t->dims[1], h.n_ctx, !rm_gguf_find_tensor(g, "output.weight"),
                     h.rope_theta, h.norm_eps };
    return RM_OK;
}

static rm_status read_values(rm_trainer *t, const rm_gguf *g, rm_error *err)
{
    rm_parameter p;
    int n = 0;
    for (; rm_shape_parameter(&t->shape, n, &p); n++) {
        const rm_gguf_tensor *tensor = rm_gguf_find_tensor(g, p.name);
        char shape[96];
        if (!tensor)
            return rm_fail(err, RM_E_FORMAT, "%s: tensor %s is missing", rm_gguf_file(g), p.name);
        rm_gguf_shape(tensor, shape);
        if (tensor->dims[0] != p.n_in || tensor->dims[1] != (p.n_out ? p.n_out : 1) ||
            tensor->n_dims != (p.n_out ? 2 : 1) || !tensor->readable ||
            !(tensor->type == RM_F32 || tensor->type == RM_F16 || tensor->type == RM_BF16 ||
              tensor->type == RM_Q8_0))
            return rm_fail(err, RM_E_FORMAT, "%s: tensor %s is %s, expected f32, f16, bf16 or q8_0 "
                           "[%zu, %zu]", rm_gguf_file(g), p.name, shape, p.n_in, p.n_out);
        rm_dtype_widen(tensor->type, tensor->data, (size_t)tensor->n_values, t->values + p.offset);
    }
    if (rm_gguf_n_tensors(g) != (uint64_t)n)
        return rm_fail(err, RM_E_UNSUPPORTED, "%s: it has %llu tensors, a llama without biases of "
                       "%d layers has %d", rm_gguf_file(g),
                       (unsigned long long)rm_gguf_n_tensors(g), t->shape.n_layers, n);
    return RM_OK;
}

rm_status rm_trainer_open(rm_engine *engine, const char *file, rm_trainer **out, rm_error *err)
{
    rm_gguf *g;
    rm_shape shape;
    rm_trainer *t = NULL;
    rm_status st = rm_gguf_open(file, &g, err);
    if (st)
        return st;
    st = read_shape(g, &shape, err);
    if (!st && (st = trainer_alloc(engine, &shape, &t, err)))
        rm_fail_within(err, st, "%s", file);
    if (!st)
        st = read_values(t, g, err);
    if (st) {
        rm_trainer_free(t);
        rm_gguf_close(g);
        return st;
    }
    t->source = g;
    *out = t;
    return RM_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_vocabulary(rm_gguf_writer *w, const rm_vocabulary *v, int n_vocab, int32_t *types)
{
    int n_characters = (int)strlen(v->characters);
    rm_gguf_put_string(w, "tokenizer.ggml.model", "gpt2");
    rm_gguf_put_string(w, "tokenizer.ggml.pre", "gpt-2");
    rm_gguf_put_strings(w, "tokenizer.ggml.tokens", (uint64_t)n_vocab);
    for (int i = 0; i < n_vocab; i++) {
        rm_text name = { 0 };
        int c = i - v->n_special;
        if (c < 0)
            rm_text_puts(&name, v->special[i]);
        else if (c >= n_characters)
            rm_text_printf(&name, "<unused%d>", i);
        else
            rm_text_printf(&name, "%.*s", v->characters[c] == ' ' ? 2 : 1,
                           v->characters[c] == ' ' ? "\xC4\xA0" : v->characters + c);
        /* control, which other programs leave out of texts; user-defined, as the marks of a thought,
         * which they show; unused; normal */
        types[i] = i < 2 ? 3 : c < 0 ? 4 : c >= n_characters ? 5 : 1;
        rm_gguf_put_element(w, name.data ? name.data : "", name.length);
        rm_text_free(&name);
    }
    rm_gguf_put_array(w, "tokenizer.ggml.token_type", RM_GGUF_I32, types, (uint64_t)n_vocab);
    rm_gguf_put_strings(w, "tokenizer.ggml.merges", 0);
    rm_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 0);
    rm_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 1);
    rm_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true);
}

static void put_shape(rm_gguf_writer *w, const rm_shape *s)
{
    rm_gguf_put_string(w, "general.license", "gpl-3.0-or-later");
    rm_gguf_put_u32(w, "llama.block_count", (uint32_t)s->n_layers);
    rm_gguf_put_u32(w, "llama.embedding_length", (uint32_t)s->n_embd);
    rm_gguf_put_u32(w, "llama.feed_forward_length", (uint32_t)s->n_ff);
    rm_gguf_put_u32(w, "llama.context_length", (uint32_t)s->n_ctx);
    rm_gguf_put_u32(w, "llama.vocab_size", (uint32_t)s->n_vocab);
    rm_gguf_put_u32(w, "llama.attention.head_count", (uint32_t)s->n_heads);
    rm_gguf_put_u32(w, "llama.attention.head_count_kv", (uint32_t)s->n_kv_heads);
    rm_gguf_put_u32(w, "llama.attention.key_length", (uint32_t)s->head_dim);
    rm_gguf_put_u32(w, "llama.attention.value_length", (uint32_t)s->head_dim);
    rm_gguf_put_f32(w, "llama.attention.layer_norm_rms_epsilon", (float)s->norm_eps);
    rm_gguf_put_u32(w, "llama.rope.dimension_count", (uint32_t)s->head_dim);
    rm_gguf_put_f32(w, "llama.rope.freq_base", (float)s->rope_theta);
}

static bool key_is(const rm_gguf_entry *e, const char *key)
{
    return e->key.n == strlen(key) && memcmp(e->key.bytes, key, e->key.n) == 0;
}

static rm_status put_metadata(const rm_trainer *t, rm_gguf_writer *w, const char *name,
                              rm_dtype type, rm_error *err)
{
    static const uint32_t file_type[RM_DTYPE_COUNT] = { 0, 1, 32, 7 }; /* llama.cpp's numbers */
    rm_gguf_put_string(w, "general.architecture", "llama");
    rm_gguf_put_string(w, "general.name", name);
    rm_gguf_put_u32(w, "general.file_type", file_type[type]);
    bool judges = t->good != t->bad;
    if (judges) {
        rm_gguf_put_u32(w, "ramify.value.good_token_id", (uint32_t)t->good);
        rm_gguf_put_u32(w, "ramify.value.bad_token_id", (uint32_t)t->bad);
    }
    if (t->source) {
        for (uint64_t i = 0; i < rm_gguf_n_entries(t->source); i++) {
            const rm_gguf_entry *e = rm_gguf_entry_at(t->source, i);
            if (!key_is(e, "general.architecture") && !key_is(e, "general.name") &&
                !key_is(e, "general.file_type") && !key_is(e, "general.alignment") &&
                !(judges && (key_is(e, "ramify.value.good_token_id") ||
                             key_is(e, "ramify.value.bad_token_id"))))
                rm_gguf_put_entry(w, e);
        }
        return RM_OK;
    }
    int32_t *types = calloc((size_t)t->shape.n_vocab, sizeof *types);
    if (!types)
        return rm_fail(err, RM_E_MEMORY, "no memory for a vocabulary");
    put_shape(w, &t->shape);
    put_vocabulary(w, &t->vocabulary, t->shape.n_vocab, types);
    free(types);
    return RM_OK;
}

static rm_status put_tensors(const rm_trainer *t, rm_gguf_writer *w, rm_dtype type, rm_error *err)
{
    rm_parameter p;
    size_t most = 0;
    for (int i = 0; rm_shape_parameter(&t->shape, i, &p); i++) {
        rm_gguf_put_tensor(w, p.name, p.n_out ? type : RM_F32, p.n_out, p.n_in);
        size_t n = (p.n_out ? p.n_out : 1) * p.n_in;
        most = n > most ? n : most;
    }
    void *bytes = malloc(most * sizeof(float));
    if (!bytes)
        return rm_fail(err, RM_E_MEMORY, "no memory to write a model");
    rm_gguf_writer_begin(w);
    for (int i = 0; rm_shape_parameter(&t->shape, i, &p); i++) {
        size_t n = (p.n_out ? p.n_out : 1) * p.n_in;
        rm_dtype as = p.n_out ? type : RM_F32;
        rm_dtype_narrow(as, t->values + p.offset, n, bytes);
        rm_gguf_write(w, bytes, rm_dtype_bytes(as, n));
    }
    free(bytes);
    return RM_OK;
}

static rm_status find_type(const rm_trainer *t, const char *name, rm_dtype *type, rm_error *err)
{
    for (int i = 0; i < RM_DTYPE_COUNT; i++)
        if (strcmp(name, rm_dtype_name((rm_dtype)i)) == 0) {
            *type = (rm_dtype)i;
            rm_parameter p;
            for (int k = 0; *type == RM_Q8_0 && rm_shape_parameter(&t->shape, k, &p); k++)
                if (p.n_out && p.n_in % RM_Q8_BLOCK)
                    return rm_fail(err, RM_E_ARGUMENT, "%s has rows of %zu values; q8_0 stores "
                                   "multiples of 32", p.name, p.n_in);
            return RM_OK;
        }
    return rm_fail(err, RM_E_ARGUMENT, "weight type \"%.40s\", expected f32, f16, bf16 or q8_0",
                   name);
}

rm_status rm_trainer_write(const rm_trainer *t, const char *file, const char *name,
                           const char *type_name, rm_error *err)
{
    rm_dtype type;
    rm_gguf_writer *w;
    rm_status st = find_type(t, type_name, &type, err);
    if (st || (st = rm_gguf_writer_open(file, &w, err)))
        return st;
    if ((st = put_metadata(t, w, name, type, err)) || (st = put_tensors(t, w, type, err))) {
        rm_gguf_writer_close(w, false, NULL);
        return st;
    }
    return rm_gguf_writer_close(w, true, err);
}
