/* test_weights.c - model files onto a backend that only takes notes, and random models. What the
 * numbers mean is tested with a real backend elsewhere; here it is which files are accepted, what
 * is said about them, and that nothing is lost on the way out. */
#define _GNU_SOURCE /* memmem */
#include "engine/dtype.h"
#include "engine/model/gguf.h"
#include "engine/model/gguf_write.h"
#include "engine/model/weights.h"

#include "gguf_bytes.h"

#include <criterion/criterion.h>
#include <math.h>
#include <sys/stat.h>

/* ---- a backend that takes notes ---------------------------------------------------------- */

struct rm_backend {
    int live;          /* weights not freed yet */
    int fails_at;      /* the n-th weight made fails; 0: none */
    int made;
    int computed[3];   /* products by rm_compute */
    int biased;        /* weights that came with a bias */
    bool any_norms;    /* norms need not be ones, as those of this file's models are */
};

struct rm_weight {
    size_t bytes;
};

static rm_status make(rm_backend *b, size_t bytes, rm_weight **out, rm_error *err)
{
    if (++b->made == b->fails_at)
        return rm_fail(err, RM_E_MEMORY, "note: no memory");
    *out = malloc(sizeof **out);
    (*out)->bytes = bytes;
    b->live++;
    return RM_OK;
}

static volatile unsigned sink;

/* Reads every byte, so that a sanitizer sees a matrix that leaves its file. */
static size_t read_all(const rm_matrix *m)
{
    size_t n = rm_dtype_bytes(m->type, m->n_out * m->n_in);
    for (size_t i = 0; i < n; i++)
        sink += ((const unsigned char *)m->data)[i];
    return n;
}

static rm_status weight_new(rm_backend *b, const rm_matrix *m, const float *const *bias, int n,
                            rm_compute compute, rm_weight **out, rm_error *err)
{
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += read_all(&m[i]);
    b->computed[compute]++;
    b->biased += bias != NULL;
    return make(b, bytes, out, err);
}

static rm_status weight_new_gated(rm_backend *b, const rm_matrix *gate, const rm_matrix *up,
                                  rm_compute compute, rm_weight **out, rm_error *err)
{
    b->computed[compute]++;
    return make(b, read_all(gate) + read_all(up), out, err);
}

static rm_status table_new(rm_backend *b, const rm_matrix *m, rm_weight **out, rm_error *err)
{
    return make(b, read_all(m), out, err);
}

static rm_status vector_new(rm_backend *b, const float *values, size_t n, rm_weight **out,
                            rm_error *err)
{
    cr_expect(b->any_norms || (values[0] == 1 && values[n - 1] == 1));
    return make(b, n * sizeof(float), out, err);
}

static void weight_free(rm_backend *b, rm_weight *w)
{
    b->live--;
    free(w);
}

static size_t weight_bytes(const rm_weight *w) { return w->bytes; }

static const rm_ops notes = {
    .name = "notes", .weight_new = weight_new, .weight_new_gated = weight_new_gated,
    .table_new = table_new, .vector_new = vector_new, .weight_free = weight_free,
    .weight_bytes = weight_bytes,
};

/* ---- models with one thing changed ------------------------------------------------------- */

#define D 32
#define F 64
#define V 8

typedef enum change {
    NOTHING, OTHER_ARCH, NO_ARCH, NO_LAYERS, ZERO_HEADS, UNEVEN_HEADS, MANY_KV_HEADS, NO_EPS,
    HUGE_CONTEXT, ODD_ROPE, WIDE_ROPE, YARN, LONGROPE, EXPERTS, SOME_WINDOWS, SOFTCAP, QWEN2, QWEN3,
    VALUE_LENGTH, VOCAB_SIZE,
    MISSING_TENSOR, EXTRA_TENSOR, WRONG_SHAPE, VECTOR_FOR_MATRIX, EMBEDDING_ROWS, NO_TOKENS,
    OTHER_TOKENIZER, EOT_OUT_OF_RANGE, TWICE_THE_LAYERS, BAD_ROPE_FACTOR,
    /* accepted: */
    LINEAR_ROPE, ROPE_FACTORS, BIASES, UNTIED, EOT, KV_SHARED, TYPED_COUNTS, UNPRINTABLE_NAME,
    MIXED_Q8, WINDOW
} change;

static const char *arch_of(change c)
{
    return c == QWEN2 ? "qwen2" : c == QWEN3 ? "qwen3" : "llama";
}

static void put_metadata(rm_gguf_writer *w, change c)
{
    char key[80];
#define KEY(name) (snprintf(key, sizeof key, "%s." name, arch_of(c)), key)
    if (c != NO_ARCH)
        rm_gguf_put_string(w, "general.architecture", c == OTHER_ARCH ? "mamba" : arch_of(c));
    rm_gguf_put_string(w, "general.name", c == UNPRINTABLE_NAME ? "a\033[2J" : "tiny");
    if (c != NO_LAYERS)
        rm_gguf_put_u32(w, KEY("block_count"), c == TWICE_THE_LAYERS ? 2 : 1);
    if (c == TYPED_COUNTS) /* other integer types are as good */
        rm_gguf_put_array(w, "unrelated", RM_GGUF_U64, (uint64_t[]){ 1 }, 1);
    rm_gguf_put_u32(w, KEY("embedding_length"), D);
    rm_gguf_put_u32(w, KEY("feed_forward_length"), F);
    rm_gguf_put_u32(w, KEY("context_length"), c == HUGE_CONTEXT ? UINT32_MAX : 100);
    rm_gguf_put_u32(w, KEY("attention.head_count"),
                    c == ZERO_HEADS ? 0 : c == UNEVEN_HEADS ? 5 : 4);
    rm_gguf_put_u32(w, KEY("attention.head_count_kv"),
                    c == UNEVEN_HEADS ? 5 : c == MANY_KV_HEADS ? 3 : c == KV_SHARED ? 2 : 4);
    if (c != NO_EPS)
        rm_gguf_put_f32(w, KEY("attention.layer_norm_rms_epsilon"), 1e-6f);
    if (c == ODD_ROPE || c == WIDE_ROPE)
        rm_gguf_put_u32(w, KEY("rope.dimension_count"), c == ODD_ROPE ? 5 : 10);
    if (c == YARN || c == LINEAR_ROPE || c == LONGROPE) {
        rm_gguf_put_string(w, KEY("rope.scaling.type"),
                           c == YARN ? "yarn" : c == LONGROPE ? "longrope" : "linear");
        rm_gguf_put_f32(w, KEY("rope.scaling.factor"), 4);
    }
    if (c == EXPERTS)
        rm_gguf_put_u32(w, KEY("expert_count"), 8);
    if (c == SOME_WINDOWS)
        rm_gguf_put_u32(w, KEY("attention.sliding_window_pattern"), 6);
    if (c == SOFTCAP)
        rm_gguf_put_f32(w, KEY("attn_logit_softcapping"), 50);
    if (c == WINDOW)
        rm_gguf_put_u32(w, KEY("attention.sliding_window"), 4096);
    if (c == VALUE_LENGTH)
        rm_gguf_put_u32(w, KEY("attention.value_length"), 16);
    if (c == VOCAB_SIZE)
        rm_gguf_put_u32(w, KEY("vocab_size"), V + 1);
    rm_gguf_put_f32(w, KEY("rope.freq_base"), 5000);
}

static void put_tokens(rm_gguf_writer *w, change c)
{
    rm_gguf_put_string(w, "tokenizer.ggml.model", c == OTHER_TOKENIZER ? "bert" : "gpt2");
    if (c != NO_TOKENS) {
        rm_gguf_put_strings(w, "tokenizer.ggml.tokens", V);
        for (int i = 0; i < V; i++)
            rm_gguf_put_element(w, &"abcdefgh"[i], 1);
    }
    rm_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 7);
    rm_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", UINT32_MAX); /* none */
    if (c == EOT || c == EOT_OUT_OF_RANGE)
        rm_gguf_put_u32(w, "tokenizer.ggml.eot_token_id", c == EOT ? 6 : V);
}

/* Which of how many parts of a split model is being written; 0 parts: all in one. */
typedef struct part {
    int no, count;
} part;

/* Describes the tensors of a part, or writes ones into all of them. */
static void put_part(rm_gguf_writer *w, change c, rm_dtype type, bool describe, part p)
{
    size_t kv = c == KV_SHARED ? D / 2 : D;
    struct { const char *name; size_t n_out, n_in; bool present; rm_dtype type; } list[] = {
        { "token_embd.weight", c == EMBEDDING_ROWS ? V + 1 : V, D, true,
          c == MIXED_Q8 ? RM_F16 : type },
        { "blk.0.attn_norm.weight", 0, D, true, RM_F32 },
        { "blk.0.attn_q.weight", D, D, true, type },
        { "blk.0.attn_k.weight", kv, D, true, type },
        { "blk.0.attn_v.weight", kv, D, c != MISSING_TENSOR, type },
        { "blk.0.attn_output.weight", D, D, true, type },
        { "blk.0.ffn_norm.weight", 0, D, true, RM_F32 },
        { "blk.0.ffn_gate.weight", F, c == WRONG_SHAPE ? 2 * D : D, true, type },
        { "blk.0.ffn_up.weight", F, D, true, type },
        { "blk.0.ffn_down.weight", c == VECTOR_FOR_MATRIX ? 0 : D, F, true, type },
        { "output_norm.weight", 0, D, true, RM_F32 },
        { "output.weight", V, D, c == UNTIED, type },
        { "rope_freqs.weight", 0, 4, c == ROPE_FACTORS || c == BAD_ROPE_FACTOR, RM_F32 },
        { "blk.0.attn_q.bias", 0, D, c == BIASES, RM_F32 },
        { "blk.0.attn_v.bias", 0, D, c == BIASES, RM_F32 },
        { "blk.0.attn_sinks", 0, 4, c == EXTRA_TENSOR, RM_F32 },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        float values[2 * D * F];
        unsigned char packed[2 * D * F * 4];
        size_t n = list[i].n_in * (list[i].n_out ? list[i].n_out : 1);
        if (!list[i].present || (p.count && (int)i % p.count != p.no))
            continue;
        if (describe) {
            rm_gguf_put_tensor(w, list[i].name, list[i].type, list[i].n_out, list[i].n_in);
            continue;
        }
        for (size_t k = 0; k < n; k++)
            values[k] = c == BAD_ROPE_FACTOR && list[i].n_in == 4 && k == 2 ? -1.0f : 1.0f;
        rm_dtype_narrow(list[i].type, values, n, packed);
        rm_gguf_write(w, packed, rm_dtype_bytes(list[i].type, n));
    }
}

static void put_tensors(rm_gguf_writer *w, change c, rm_dtype type, bool describe)
{
    put_part(w, c, type, describe, (part){ 0, 0 });
}

static void write_model(const char *path, change c, rm_dtype type)
{
    rm_gguf_writer *w;
    rm_error err;
    cr_assert_eq(rm_gguf_writer_open(path, &w, &err), RM_OK, "%s", err.text);
    put_metadata(w, c);
    put_tokens(w, c);
    put_tensors(w, c, type, true);
    rm_gguf_writer_begin(w);
    put_tensors(w, c, type, false);
    cr_assert_eq(rm_gguf_writer_close(w, true, &err), RM_OK, "%s", err.text);
}

static const struct refused {
    change change;
    rm_status status;
    const char *says;
} refused[] = {
    { OTHER_ARCH, RM_E_UNSUPPORTED,
      "general.architecture is \"mamba\", supported are llama, qwen2" },
    { NO_ARCH, RM_E_FORMAT, "general.architecture is missing" },
    { NO_LAYERS, RM_E_FORMAT, "llama.block_count is missing" },
    { ZERO_HEADS, RM_E_FORMAT, "llama.attention.head_count is 0, expected 1 to" },
    { UNEVEN_HEADS, RM_E_FORMAT, "embedding_length 32 is no multiple of the 5 heads" },
    { MANY_KV_HEADS, RM_E_FORMAT, "4 query heads cannot share 3 key/value heads" },
    { NO_EPS, RM_E_FORMAT, "layer_norm_rms_epsilon is missing" },
    { HUGE_CONTEXT, RM_E_FORMAT, "llama.context_length is 4294967295" },
    { ODD_ROPE, RM_E_FORMAT, "rope.dimension_count is 5, expected an even number" },
    { WIDE_ROPE, RM_E_FORMAT, "rope.dimension_count is 10, expected 2 to 8" },
    { YARN, RM_E_FORMAT, "rope.scaling.original_context_length is missing" },
    { LONGROPE, RM_E_UNSUPPORTED, "llama.rope.scaling.factor is 4 beside longrope" },
    { EXPERTS, RM_E_UNSUPPORTED, "llama.expert_count is set: this engine has no experts" },
    { SOME_WINDOWS, RM_E_UNSUPPORTED, "llama.attention.sliding_window_pattern is set" },
    { SOFTCAP, RM_E_UNSUPPORTED, "llama.attn_logit_softcapping is 50" },
    { QWEN2, RM_E_FORMAT, "tensor blk.0.attn_q.bias is missing" },
    { QWEN3, RM_E_FORMAT, "tensor blk.0.attn_q_norm.weight is missing" },
    { VALUE_LENGTH, RM_E_UNSUPPORTED, "keys of 8 and values of 16" },
    { VOCAB_SIZE, RM_E_FORMAT, "vocab_size is 9, but the tokenizer has 8" },
    { MISSING_TENSOR, RM_E_FORMAT, "tensor blk.0.attn_v.weight is missing" },
    { EXTRA_TENSOR, RM_E_UNSUPPORTED, "tensor blk.0.attn_sinks is not part" },
    { WRONG_SHAPE, RM_E_FORMAT, "tensor blk.0.ffn_gate.weight is f16 [64, 64], expected [32, 64]" },
    { VECTOR_FOR_MATRIX, RM_E_FORMAT,
      "tensor blk.0.ffn_down.weight is f16 [64], expected [64, 32]" },
    { EMBEDDING_ROWS, RM_E_FORMAT, "token_embd.weight has 9 rows, but the tokenizer has 8" },
    { NO_TOKENS, RM_E_FORMAT, "tokenizer.ggml.tokens is missing" },
    { OTHER_TOKENIZER, RM_E_UNSUPPORTED, "tokenizer.ggml.model is \"bert\"" },
    { EOT_OUT_OF_RANGE, RM_E_FORMAT, "tokenizer.ggml.eot_token_id is 8" },
    { TWICE_THE_LAYERS, RM_E_FORMAT, "tensor blk.1.attn_norm.weight is missing" },
    { BAD_ROPE_FACTOR, RM_E_FORMAT, "rope_freqs.weight holds -1 at 2" },
};

Test(weights, files_that_do_not_fit_are_refused_by_name)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char path[64];
        rm_backend b = { 0 };
        rm_weights *w;
        rm_error err = { { 0 } };
        write_model(temporary_path(path), refused[i].change, RM_F16);
        cr_expect_eq(rm_weights_open(&notes, &b, path, NULL, &w, &err), refused[i].status,
                     "case %zu: %s", i, err.text);
        cr_expect(strstr(err.text, refused[i].says) && strstr(err.text, path), "case %zu: %s", i,
                  err.text);
        cr_expect_eq(b.live, 0, "case %zu leaks weights", i);
        unlink(path);
    }
}

static rm_weights *open_changed(rm_backend *b, change c, rm_dtype type, const rm_model_options *o)
{
    char path[64];
    rm_weights *w = NULL;
    rm_error err = { { 0 } };
    write_model(temporary_path(path), c, type);
    cr_assert_eq(rm_weights_open(&notes, b, path, o, &w, &err), RM_OK, "%s", err.text);
    unlink(path); /* the mapping stays */
    return w;
}

/* Numbers of the tiny model by hand: one layer, D 32, F 64, 4 heads of 8, V 8, tied. */
Test(weights, description)
{
    rm_backend b = { 0 };
    rm_weights *w = open_changed(&b, NOTHING, RM_F16, NULL);
    const rm_model_info *i = &w->info;
    cr_expect_str_eq(i->name, "tiny");
    cr_expect_str_eq(i->arch, "llama");
    cr_expect_str_eq(i->weight_type, "f16");
    cr_expect_str_eq(i->compute, "f32");
    cr_expect_str_eq(i->kv, "f32");
    cr_expect_str_eq(i->tokenizer, "bpe");
    cr_expect(i->n_layers == 1 && i->n_embd == 32 && i->n_heads == 4 && i->n_kv_heads == 4 &&
              i->head_dim == 8 && i->n_ff == 64 && i->n_vocab == 8 && i->n_ctx == 100);
    cr_expect(i->rope_theta == 5000 && fabs(i->norm_eps - 1e-6) < 1e-12 && i->tied);
    uint64_t matrices = 8 * 32 + 4 * 32 * 32 + 3 * 32 * 64;
    cr_expect_eq(i->n_params, matrices + 3 * 32);
    cr_expect_eq(i->memory_bytes, matrices * 2 + 3 * 32 * 4); /* the embedding once: tied */
    cr_expect_eq(i->flops_per_token, 2.0 * (4 * 32 * 32 + 3 * 32 * 64));
    cr_expect_eq(i->flops_output, 2.0 * 8 * 32);
    cr_expect_eq(i->flops_per_position, 4.0 * 32);
    cr_expect_eq(i->kv_position_bytes, 2 * 32 * 4);
    cr_expect(i->bos == -1 && i->eos == 7 && !i->add_bos);
    cr_expect(w->n_stop_tokens == 1 && w->stop_tokens[0] == 7);
    cr_expect_eq(strlen(i->hash), 32);
    cr_expect(w->rope.n_dims == 8 && w->rope.interleaved && w->rope.scale == 1 && !w->rope.factors);
    cr_expect_eq(b.live, 3 + 6);
    rm_weights_close(&notes, &b, w);
    cr_expect_eq(b.live, 0);
}

Test(weights, variants_that_are_accepted)
{
    rm_backend b = { 0 };
    rm_weights *w = open_changed(&b, LINEAR_ROPE, RM_F32, NULL);
    cr_expect_eq(w->rope.scale, 0.25);
    cr_expect_eq(w->info.window, 0);
    rm_weights_close(&notes, &b, w);
    w = open_changed(&b, WINDOW, RM_F32, NULL);
    cr_expect_eq(w->info.window, 4096);
    rm_weights_close(&notes, &b, w);
    w = open_changed(&b, ROPE_FACTORS, RM_BF16, NULL);
    cr_expect(w->rope.factors && w->rope.factors[3] == 1);
    cr_expect_str_eq(w->info.compute, "bf16");
    cr_expect_str_eq(w->info.kv, "bf16");
    rm_weights_close(&notes, &b, w);
    cr_expect_eq(b.biased, 0);
    w = open_changed(&b, BIASES, RM_F16, NULL);
    cr_expect_eq(b.biased, 1); /* q, k and v are one weight */
    rm_weights_close(&notes, &b, w);
    w = open_changed(&b, UNTIED, RM_F16, NULL);
    cr_expect(!w->info.tied);
    rm_weights_close(&notes, &b, w);
    w = open_changed(&b, EOT, RM_F16, NULL);
    cr_expect(w->n_stop_tokens == 2 && w->stop_tokens[1] == 6);
    rm_weights_close(&notes, &b, w);
    w = open_changed(&b, KV_SHARED, RM_F16, NULL);
    cr_expect(w->info.n_kv_heads == 2 && w->info.kv_position_bytes == 2 * 16 * 4);
    rm_weights_close(&notes, &b, w);
    w = open_changed(&b, TYPED_COUNTS, RM_F16, NULL);
    rm_weights_close(&notes, &b, w);
    w = open_changed(&b, UNPRINTABLE_NAME, RM_F16, NULL);
    cr_expect(strncmp(w->info.name, "rm-test-", 8) == 0, "%s", w->info.name);
    rm_weights_close(&notes, &b, w);
    cr_expect_eq(b.live, 0);
}

Test(weights, compute_types)
{
    rm_backend b = { 0 };
    rm_weights *w = open_changed(&b, NOTHING, RM_Q8_0, NULL);
    cr_expect_str_eq(w->info.compute, "q8");
    cr_expect_eq(b.computed[RM_COMPUTE_Q8], 5); /* qkv, out, gate_up, down, output */
    rm_weights_close(&notes, &b, w);
    b = (rm_backend){ 0 };
    w = open_changed(&b, MIXED_Q8, RM_Q8_0, NULL); /* the tied embedding is f16: its product f32 */
    cr_expect(b.computed[RM_COMPUTE_Q8] == 4 && b.computed[RM_COMPUTE_F32] == 1);
    uint64_t id = w->info.id;
    rm_weights_close(&notes, &b, w);
    b = (rm_backend){ 0 };
    w = open_changed(&b, MIXED_Q8, RM_Q8_0, &(rm_model_options){ .compute = "f32", .kv = "bf16" });
    cr_expect_eq(b.computed[RM_COMPUTE_F32], 5);
    cr_expect_eq(w->kv_type, RM_BF16);
    cr_expect_neq(w->info.id, id); /* same content, other numbers */
    rm_weights_close(&notes, &b, w);

    char path[64];
    rm_error err = { { 0 } };
    write_model(temporary_path(path), NOTHING, RM_F16);
    cr_expect_eq(rm_weights_open(&notes, &b, path, &(rm_model_options){ .compute = "q8" }, &w,
                                 &err),
                 RM_E_ARGUMENT);
    cr_expect(strstr(err.text, "q8 needs quantised weights, this file's are f16"), "%s", err.text);
    cr_expect_eq(rm_weights_open(&notes, &b, path, &(rm_model_options){ .compute = "int4" }, &w,
                                 &err),
                 RM_E_ARGUMENT);
    cr_expect_eq(rm_weights_open(&notes, &b, path, &(rm_model_options){ .kv = "q8" }, &w, &err),
                 RM_E_ARGUMENT);
    unlink(path);
}

/* Whatever weight fails, everything made before is given back. */
Test(weights, a_failing_backend_leaks_nothing)
{
    char path[64];
    write_model(temporary_path(path), BIASES, RM_F16);
    for (int k = 1; k <= 9; k++) {
        rm_backend b = { .fails_at = k };
        rm_weights *w;
        rm_error err = { { 0 } };
        cr_expect_eq(rm_weights_open(&notes, &b, path, NULL, &w, &err), RM_E_MEMORY, "weight %d",
                     k);
        cr_expect_eq(b.live, 0, "weight %d", k);
    }
    unlink(path);
}

/* Another type in place of a readable one: the type word of a tensor overwritten in the file. */
Test(weights, other_quantisations_are_refused_by_name)
{
    char path[64], *bytes;
    size_t n;
    rm_backend b = { 0 };
    rm_weights *w;
    rm_error err = { { 0 } };
    write_model(temporary_path(path), NOTHING, RM_F16);
    cr_assert_eq(rm_file_read(path, 1 << 20, &bytes, &n, &err), RM_OK);
    static const char name[] = "blk.0.ffn_up.weight";
    char *at = memmem(bytes, n, name, sizeof name - 1);
    cr_assert_not_null(at);
    at[sizeof name - 1 + 4 + 16] = 20; /* smaller than f16, so still inside the file */
    cr_assert_eq(rm_file_write(path, bytes, n, &err), RM_OK);
    cr_expect_eq(rm_weights_open(&notes, &b, path, NULL, &w, &err), RM_E_UNSUPPORTED);
    cr_expect(strstr(err.text, "tensor blk.0.ffn_up.weight is iq4_nl [32, 64], supported are f32"),
              "%s", err.text);
    free(bytes);
    unlink(path);
}

/* ---- embedded and random models ---------------------------------------------------------- */

/* Counts by hand from the shape that the model's description states: 6 layers, width 192, 6
 * heads of 32, feed-forward 512, 32 tokens, tied. */
Test(weights, embedded_model)
{
    rm_backend b = { .any_norms = true };
    rm_weights *w;
    rm_error err = { { 0 } };
    if (access(RM_MODELS_DIR "/thimble.gguf", R_OK))
        cr_skip("no " RM_MODELS_DIR "/thimble.gguf");
    cr_assert_eq(rm_weights_open(&notes, &b, RM_MODELS_DIR "/thimble.gguf", NULL, &w, &err), RM_OK,
                 "%s", err.text);
    cr_expect(w->info.n_layers == 6 && w->info.n_embd == 192 && w->info.n_heads == 6 &&
              w->info.head_dim == 32 && w->info.n_ff == 512 && w->info.n_vocab == 32 &&
              w->info.tied && w->info.bos == 0 && w->info.eos == 1 && w->info.add_bos);
    cr_expect_eq(w->info.n_params,
                 32 * 192 + 6 * (4 * 192 * 192 + 3 * 192 * 512 + 2 * 192) + 192);
    rm_weights_close(&notes, &b, w);
    cr_expect_eq(b.live, 0);
}

static void expect_random(const char *type, const char *most, int width, bool tied, int n_vocab)
{
    char path[64];
    rm_backend b = { 0 };
    rm_weights *w;
    rm_error err = { { 0 } };
    rm_random_model m = { .n_layers = 2, .n_embd = width, .n_heads = width / 16, .n_kv_heads = 2,
                          .n_ff = 3 * width / 2, .n_vocab = n_vocab, .n_ctx = 128, .tied = tied, .weight_type = type,
                          .seed = 5 };
    temporary_path(path);
    cr_assert_eq(rm_model_write_random(&m, path, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_weights_open(&notes, &b, path, NULL, &w, &err), RM_OK, "%s", err.text);
    cr_expect_str_eq(w->info.weight_type, most);
    cr_expect(w->info.n_vocab == n_vocab && w->info.tied == tied && w->info.n_kv_heads == 2 &&
              w->info.head_dim == 16 && w->info.bos == 0 && w->info.eos == 1 && w->info.add_bos);
    rm_weights_close(&notes, &b, w);
    unlink(path);
}

Test(random_model, loads_in_every_type)
{
    expect_random("f32", "f32", 64, true, 512);
    expect_random("f16", "f16", 64, false, 300);
    expect_random("bf16", "bf16", 64, true, 70000); /* three-byte pieces */
    expect_random("q8_0", "q8_0", 64, false, 97);   /* not even all bytes */
    expect_random("q4_0", "q4_0", 64, false, 300);
    expect_random("q6_k", "q6_k", 512, true, 300);
    expect_random("q4_k_m", "q4_k", 512, false, 300);
    expect_random("q4_k_m", "q5_0", 64, false, 300); /* rows that are no multiple of 256 */
}

/* Mean 0 and standard deviation 1/sqrt(n_in), each within five standard errors; the same seed
 * gives the same bits, another seed others. */
Test(random_model, weights_are_as_stated)
{
    char path[64];
    rm_error err = { { 0 } };
    char *first = NULL, *again = NULL, *other = NULL;
    size_t n, n_again, n_other;
    rm_random_model m = { .n_layers = 1, .n_embd = 256, .n_heads = 8, .n_ff = 512, .n_vocab = 300,
                          .n_ctx = 64, .weight_type = "f32", .seed = 11 };
    temporary_path(path);
    cr_assert_eq(rm_model_write_random(&m, path, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_file_read(path, 1 << 24, &first, &n, &err), RM_OK);
    rm_gguf *g;
    cr_assert_eq(rm_gguf_open(path, &g, &err), RM_OK);
    const rm_gguf_tensor *t = rm_gguf_find_tensor(g, "blk.0.ffn_down.weight");
    double sum = 0, squares = 0, count = (double)t->n_values;
    for (uint64_t i = 0; i < t->n_values; i++) {
        float x;
        memcpy(&x, (const char *)t->data + 4 * i, 4);
        sum += (double)x;
        squares += (double)x * (double)x;
    }
    double sigma = 1 / sqrt(512.0), mean = sum / count, variance = squares / count;
    cr_expect(fabs(mean) < 5 * sigma / sqrt(count), "mean %g", mean);
    /* the variance of x^2 of a uniform x is 4/5 of its mean's square */
    cr_expect(fabs(variance - sigma * sigma) < 5 * sigma * sigma * sqrt(0.8 / count), "%g",
              variance);
    rm_gguf_close(g);
    cr_assert_eq(rm_model_write_random(&m, path, &err), RM_OK);
    cr_assert_eq(rm_file_read(path, 1 << 24, &again, &n_again, &err), RM_OK);
    cr_expect(n == n_again && memcmp(first, again, n) == 0);
    m.seed = 12;
    cr_assert_eq(rm_model_write_random(&m, path, &err), RM_OK);
    cr_assert_eq(rm_file_read(path, 1 << 24, &other, &n_other, &err), RM_OK);
    cr_expect(n == n_other && memcmp(first, other, n) != 0);
    free(first);
    free(again);
    free(other);
    unlink(path);
}

/* Any text can be tokenized once all 256 bytes are there, and comes back. */
Test(random_model, vocabulary_covers_all_bytes)
{
    char path[64], text[256];
    rm_error err = { { 0 } };
    rm_tokenizer *t;
    rm_random_model m = { .n_layers = 1, .n_embd = 8, .n_heads = 2, .n_ff = 8, .n_vocab = 900,
                          .n_ctx = 8, .weight_type = "f16" };
    temporary_path(path);
    cr_assert_eq(rm_model_write_random(&m, path, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_tokenizer_open(path, &t, &err), RM_OK, "%s", err.text);
    for (int i = 0; i < 256; i++)
        text[i] = (char)i;
    int32_t *tokens;
    int n;
    rm_text back = { 0 };
    cr_assert_eq(rm_tokenizer_encode(t, text, 256, false, &tokens, &n, &err), RM_OK, "%s",
                 err.text);
    rm_tokenizer_decode(t, tokens, n, false, &back);
    cr_expect(back.length == 256 && memcmp(back.data, text, 256) == 0);
    free(tokens);
    rm_text_free(&back);
    rm_tokenizer_free(t);
    unlink(path);
}

Test(random_model, impossible_shapes_are_refused)
{
    const rm_random_model good = { .n_layers = 1, .n_embd = 64, .n_heads = 4, .n_ff = 64,
                                   .n_vocab = 300, .n_ctx = 8, .weight_type = "f16" };
    rm_error err;
    rm_random_model m;
#define REFUSED(change, fragment)                                                               \
    do {                                                                                        \
        m = good;                                                                               \
        change;                                                                                 \
        cr_expect_eq(rm_model_write_random(&m, "/nonexistent/x", &err), RM_E_ARGUMENT);         \
        cr_expect(strstr(err.text, fragment), "%s", err.text);                                  \
    } while (0)
    REFUSED(m.n_layers = 0, "n_layers is 0");
    REFUSED(m.n_heads = 5, "no multiple of n_heads 5");
    REFUSED(m.n_kv_heads = 3, "a multiple of n_kv_heads 3");
    REFUSED(m.weight_type = "q3_k", "weight type \"q3_k\"");
    REFUSED(m.weight_type = "q4_k", "multiples of 256");
    REFUSED((m.weight_type = "q4_k_m", m.n_ff = 65), "multiples of 32");
    REFUSED(m.weight_type = NULL, "weight type \"\"");
    REFUSED((m.weight_type = "q8_0", m.n_ff = 65), "multiples of 32");
    REFUSED(m.n_vocab = 1, "n_vocab is 1");
    m = good;
    cr_expect_eq(rm_model_write_random(&m, "/nonexistent/x", &err), RM_E_IO);
}

/* ---- split files ------------------------------------------------------------------------- */

typedef enum spoiled { INTACT, SECOND_FIRST, WRONG_COUNT, MISSING_PART, FOREIGN_PART } spoiled;

/* Parts named <base>-0000k-of-00002.gguf; returns the name of the first in `path`. */
static void write_parts(const char *base, spoiled what, char path[96])
{
    for (int i = 1; i >= 0; i--) {
        rm_gguf_writer *w;
        rm_error err = { { 0 } };
        snprintf(path, 96, "%s-%05d-of-00002.gguf", base, i + 1);
        if (what == MISSING_PART && i == 1)
            continue;
        cr_assert_eq(rm_gguf_writer_open(path, &w, &err), RM_OK, "%s", err.text);
        if (i == 0) {
            put_metadata(w, NOTHING);
            put_tokens(w, NOTHING);
            rm_gguf_put_u32(w, "split.tensors.count", what == WRONG_COUNT ? 12 : 11);
        }
        rm_gguf_put_u32(w, "split.no", (uint32_t)(what == SECOND_FIRST ? !i : what == FOREIGN_PART
                                                  && i ? 4 : i));
        rm_gguf_put_u32(w, "split.count", 2);
        part p = { i, 2 };
        put_part(w, NOTHING, RM_F16, true, p);
        rm_gguf_writer_begin(w);
        put_part(w, NOTHING, RM_F16, false, p);
        cr_assert_eq(rm_gguf_writer_close(w, true, &err), RM_OK, "%s", err.text);
    }
}

Test(weights, split_files)
{
    static const struct { spoiled what; rm_status status; const char *says; } table[] = {
        { INTACT, RM_OK, "" },
        { SECOND_FIRST, RM_E_ARGUMENT, "part 2 of 2 of a split model; the first part is the one" },
        { WRONG_COUNT, RM_E_FORMAT, "split.tensors.count is 12, but its 2 parts have 11" },
        { MISSING_PART, RM_E_IO, "-00002-of-00002.gguf: cannot open" },
        { FOREIGN_PART, RM_E_FORMAT, "says it is part 5 of 2, expected 2 of 2" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char base[64], path[96], other[96];
        rm_backend b = { 0 };
        rm_weights *w;
        rm_error err = { { 0 } };
        temporary_path(base);
        write_parts(base, table[i].what, path);
        cr_expect_eq(rm_weights_open(&notes, &b, path, NULL, &w, &err), table[i].status,
                     "case %zu: %s",
                     i, err.text);
        cr_expect(strstr(err.text, table[i].says), "case %zu: %s", i, err.text);
        if (!table[i].status) {
            cr_expect(w->info.n_layers == 1 && w->info.n_params ==
                      2 * 8 * 32 / 2 + 4 * 32 * 32 + 3 * 32 * 64 + 3 * 32);
            rm_weights_close(&notes, &b, w);
            snprintf(other, sizeof other, "%s-renamed.gguf", base);
            cr_assert_eq(rename(path, other), 0);
            cr_expect_eq(rm_weights_open(&notes, &b, other, NULL, &w, &err), RM_E_FORMAT);
            cr_expect(strstr(err.text, "should end in -00001-of-00002.gguf"), "%s", err.text);
            unlink(other);
        }
        cr_expect_eq(b.live, 0);
        unlink(base);
        unlink(path);
        snprintf(path, sizeof path, "%s-00002-of-00002.gguf", base);
        unlink(path);
    }
}
