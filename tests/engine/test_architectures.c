/* test_architectures.c - every architecture against transformers.
 *
 * goldens/<model> are folders that transformers saved, with random weights, and the log-
 * probabilities that it computes from them in float64 (goldens/make_architectures.py). Here each
 * is opened as it is, and once more as a GGUF file that this test writes: under GGUF's names, with
 * llama's rows of q and k in the order in which GGUF has them. */
#include "engine/dtype.h"
#include "engine/engine.h"
#include "engine/model/gguf_write.h"
#include "engine/model/source.h"

#include "gguf_bytes.h"

#include <criterion/criterion.h>
#include <math.h>

#define GOLDENS RM_SOURCE_DIR "/tests/engine/goldens/"

static const char *const models[] = { "llama", "llama3", "llama_linear", "llama_longrope", "mistral",
                                      "mistral_yarn", "qwen2", "qwen2_yarn", "qwen3",
                                      "llama_dynamic" /* which GGUF has no words for */ };
enum { N_MODELS = sizeof models / sizeof *models, MAX_PROMPT = 200 };

/* Weights are exact in both; what remains is f32 against float64 over two layers: some hundred
 * roundings of 2^-24 of values up to 10, measured 3e-6 at most. */
#define BOUND 2e-5

/* transformers lets these two depend on the length of the text, here the context decides. Both were
 * trained on 64 positions: what a prompt of n has there, a context has here that is as long (dynamic),
 * or on the same side of 64 (longrope). */
static int context_for(const char *model, int n)
{
    if (strcmp(model, "llama_dynamic") == 0)
        return n > 64 ? n : 0;
    return strcmp(model, "llama_longrope") == 0 && n <= 64 ? 64 : 0;
}

static double worst_of(const char *folder, const char *path, const char *isa)
{
    char golden[256], *text, *at;
    size_t n;
    rm_error err = { "" };
    rm_engine *engine;
    rm_model *model;
    double worst = 0;
    rm_engine_options options = { .n_threads = 2, .isa = isa, .max_batch_rows = 64 };
    snprintf(golden, sizeof golden, GOLDENS "%s/logprobs.txt", folder);
    cr_assert_eq(rm_file_read(golden, 1 << 20, &text, &n, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_engine_open(&options, &engine, &err), RM_OK, "%s", err.text);
    int prompts = 0;
    for (at = text; *at; prompts++) {
        int32_t tokens[MAX_PROMPT];
        int n_tokens = 0;
        char *end;
        cr_assert(strncmp(at, "prompt", 6) == 0);
        for (at += 6; *at == ' '; at = end)
            tokens[n_tokens++] = (int32_t)strtol(at, &end, 10);
        long first = strtol(at, &end, 10), step = strtol(end, &end, 10),
            count = strtol(end, &end, 10);
        rm_run *run;
        rm_request want = { .want = RM_WANT_ALL };
        rm_model_options f32 = { .compute = "f32", .n_ctx = context_for(folder, n_tokens) };
        cr_assert_eq(rm_model_open(engine, path, &f32, &model, &err), RM_OK, "%s", err.text);
        cr_assert_eq(rm_run_open(engine, &(rm_run_options){ 0 }, &run, &err), RM_OK);
        cr_assert_eq(rm_path_new(run, model, tokens, n_tokens, &want.path, &err), RM_OK);
        cr_assert_eq(rm_eval(run, &want, 1, &err), RM_OK, "%s", err.text);
        for (long i = 0; i < count; i++) {
            double golden_lp = strtod(end, &end), lp = want.result.lp[first + i * step];
            worst = fmax(worst, fabs(lp - golden_lp));
        }
        at = end + (*end == '\n');
        rm_run_close(run);
        rm_model_close(model);
    }
    cr_expect_eq(prompts, 4);
    free(text);
    rm_engine_close(engine);
    return worst;
}

Test(architectures, folders_agree_with_transformers)
{
    for (int i = 0; i < N_MODELS; i++) {
        char path[256];
        snprintf(path, sizeof path, GOLDENS "%s", models[i]);
        double worst = worst_of(models[i], path, NULL),
            portable = worst_of(models[i], path, "portable");
        cr_expect(worst < BOUND, "%s: off by %g", models[i], worst);
        cr_expect(worst == portable, "%s: other bits in portable code", models[i]);
    }
}

/* ---- the same as GGUF -------------------------------------------------------------------- */

static void put_hyper(rm_gguf_writer *w, const rm_hyper *h, const char *arch)
{
    char key[96];
#define KEY(name) (snprintf(key, sizeof key, "%s." name, arch), key)
    rm_gguf_put_string(w, "general.architecture", arch);
    rm_gguf_put_u32(w, KEY("block_count"), (uint32_t)h->n_layers);
    rm_gguf_put_u32(w, KEY("embedding_length"), (uint32_t)h->n_embd);
    rm_gguf_put_u32(w, KEY("feed_forward_length"), (uint32_t)h->n_ff);
    rm_gguf_put_u32(w, KEY("context_length"), (uint32_t)h->n_ctx);
    rm_gguf_put_u32(w, KEY("attention.head_count"), (uint32_t)h->n_heads);
    rm_gguf_put_u32(w, KEY("attention.head_count_kv"), (uint32_t)h->n_kv_heads);
    rm_gguf_put_u32(w, KEY("attention.key_length"), (uint32_t)h->head_dim);
    rm_gguf_put_u32(w, KEY("attention.value_length"), (uint32_t)h->head_dim);
    rm_gguf_put_f32(w, KEY("attention.layer_norm_rms_epsilon"), (float)h->norm_eps);
    rm_gguf_put_f32(w, KEY("rope.freq_base"), (float)h->rope_theta);
    if (h->window)
        rm_gguf_put_u32(w, KEY("attention.sliding_window"), (uint32_t)h->window);
    const rm_rope_scaling *s = &h->rope_scaling;
    bool yarn = s->kind == RM_ROPE_YARN, longrope = s->kind == RM_ROPE_LONG;
    if (s->kind == RM_ROPE_LINEAR || yarn || longrope)
        rm_gguf_put_string(w, KEY("rope.scaling.type"), yarn ? "yarn" : longrope ? "longrope" : "linear");
    if (s->kind == RM_ROPE_LINEAR || yarn)
        rm_gguf_put_f32(w, KEY("rope.scaling.factor"), (float)s->factor);
    if (s->magnitude > 0) /* GGUF's multiplies yarn's own */
        rm_gguf_put_f32(w, KEY("rope.scaling.attn_factor"),
                        (float)(s->magnitude / (yarn ? 0.1 * log(s->factor) + 1 : 1)));
    if (yarn || longrope)
        rm_gguf_put_u32(w, KEY("rope.scaling.original_context_length"), (uint32_t)s->original_context);
    rm_gguf_put_string(w, "tokenizer.ggml.model", "gpt2");
    rm_gguf_put_string(w, "tokenizer.ggml.pre", "gpt-2");
    rm_gguf_put_strings(w, "tokenizer.ggml.tokens", (uint64_t)h->n_vocab);
    for (int64_t i = 0; i < h->n_vocab; i++) {
        int n = snprintf(key, sizeof key, "t%d", (int)i);
        rm_gguf_put_element(w, key, (size_t)n);
    }
}

/* Rows of q or k: in GGUF's llama the pair (i, i + C/2) of a head is (2i, 2i + 1). */
static size_t source_row(size_t row, size_t C, bool interleaved)
{
    size_t head = row / C, i = row % C;
    return interleaved ? head * C + i / 2 + i % 2 * (C / 2) : row;
}

static void write_tensor(rm_gguf_writer *w, const rm_gguf_tensor *t, const rm_hyper *h, bool llama)
{
    char name[80];
    snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.bytes);
    bool rotary = strstr(name, "attn_q.") || strstr(name, "attn_k.");
    size_t columns = t->n_dims == 2 ? (size_t)t->dims[0] : 1, rows = (size_t)t->n_values / columns;
    float *values = malloc(t->n_values * sizeof *values);
    rm_dtype_widen(t->type, t->data, t->n_values, values);
    for (size_t r = 0; r < rows; r++) {
        size_t from = rotary ? source_row(r, (size_t)h->head_dim, llama) : r;
        rm_gguf_write(w, values + from * columns, columns * sizeof *values);
    }
    free(values);
}

static void write_gguf(const char *folder, const char *path)
{
    char from[256];
    rm_source *s;
    rm_gguf_writer *w;
    rm_error err = { "" };
    snprintf(from, sizeof from, GOLDENS "%s", folder);
    cr_assert_eq(rm_source_open(from, &s, &err), RM_OK, "%s", err.text);
    const rm_hyper *h = &s->hyper;
    bool llama = strncmp(h->arch, "qwen", 4) != 0;
    cr_assert_eq(rm_gguf_writer_open(path, &w, &err), RM_OK, "%s", err.text);
    put_hyper(w, h, llama ? "llama" : h->arch);
    float factors[64];
    double magnitude;
    bool stored = h->rope_scaling.kind == RM_ROPE_LLAMA3;
    size_t n_factors = (size_t)h->rope_dims / 2;
    cr_assert_eq(rm_rope_divisors(&h->rope_scaling, h->rope_dims, h->rope_theta, "", factors,
                                  &magnitude, &err), RM_OK);
    for (size_t i = 0; i < s->n_tensors; i++) {
        const rm_gguf_tensor *t = &s->tensors[i];
        char name[80];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.bytes);
        rm_gguf_put_tensor(w, name, RM_F32, t->n_dims == 2 ? (size_t)t->dims[1] : 0,
                           (size_t)t->dims[0]);
    }
    if (stored)
        rm_gguf_put_tensor(w, "rope_freqs.weight", RM_F32, 0, n_factors);
    rm_gguf_writer_begin(w);
    for (size_t i = 0; i < s->n_tensors; i++)
        write_tensor(w, &s->tensors[i], h, llama);
    if (stored)
        rm_gguf_write(w, factors, n_factors * sizeof *factors);
    cr_assert_eq(rm_gguf_writer_close(w, true, &err), RM_OK, "%s", err.text);
    rm_source_close(s);
}

Test(architectures, gguf_files_agree_with_transformers)
{
    for (int i = 0; i < N_MODELS - 1; i++) {
        char path[64];
        temporary_path(path);
        write_gguf(models[i], path);
        double worst = worst_of(models[i], path, NULL);
        cr_expect(worst < BOUND, "%s: off by %g", models[i], worst);
        unlink(path);
    }
}

/* ---- rope -------------------------------------------------------------------------------- */

/* Llama 3.1's own parameters (factor 8, 1 and 4 turns in 8192, base 500000, heads of 128). Divisors
 * by hand: pair 0 makes 1303 turns and keeps its frequency; pair 63 makes 0.0032 and is divided by
 * 8; pair 32 makes 8192 / (2 pi sqrt(500000)) = 1.8438, so m = 0.2813 and the divisor is
 * 1 / (0.7187 / 8 + 0.2813) = 2.6944. */
Test(rope, llama3_divisors)
{
    rm_rope_scaling s = { .kind = RM_ROPE_LLAMA3, .factor = 8, .original_context = 8192,
                          .low_freq = 1, .high_freq = 4 };
    float d[64];
    double magnitude;
    cr_assert_eq(rm_rope_divisors(&s, 128, 500000, "x", d, &magnitude, NULL), RM_OK);
    cr_expect_float_eq(d[0], 1, 0);
    cr_expect_float_eq(d[63], 8, 1e-6);
    cr_expect_float_eq(d[32], 2.6944, 2e-3);
    cr_expect_eq(magnitude, 1);
}

/* yarn by 4: attention is multiplied by 0.1 ln 4 + 1 = 1.138629 (on each side). */
Test(rope, yarn_magnitude)
{
    rm_rope_scaling s = { .kind = RM_ROPE_YARN, .factor = 4, .original_context = 32768,
                          .beta_fast = 32, .beta_slow = 1 };
    float d[64];
    double magnitude;
    cr_assert_eq(rm_rope_divisors(&s, 128, 1e6, "x", d, &magnitude, NULL), RM_OK);
    cr_expect_float_eq(magnitude, 1.1386294361, 1e-9);
    cr_expect_float_eq(d[0], 1, 0);
    cr_expect_float_eq(d[63], 4, 1e-6);
}

Test(rope, impossible_parameters_are_refused)
{
    static const rm_rope_scaling bad[] = {
        { .kind = RM_ROPE_LLAMA3, .factor = 0, .original_context = 10, .low_freq = 1,
          .high_freq = 4 },
        { .kind = RM_ROPE_LLAMA3, .factor = 8, .original_context = 10, .low_freq = 4,
          .high_freq = 4 },
        { .kind = RM_ROPE_LLAMA3, .factor = 8, .original_context = 0, .low_freq = 1,
          .high_freq = 4 },
        { .kind = RM_ROPE_YARN, .factor = 4, .original_context = 10, .beta_fast = 1,
          .beta_slow = 32 },
        { .kind = RM_ROPE_YARN, .factor = 4, .original_context = 10, .beta_fast = 32,
          .beta_slow = 1,
          .magnitude = -1 },
    };
    float d[64];
    double magnitude;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rm_error err = { "" };
        cr_expect_eq(rm_rope_divisors(&bad[i], 16, 10000, "file", d, &magnitude, &err),
                     RM_E_FORMAT);
        cr_expect(strncmp(err.text, "file: ", 6) == 0, "%s", err.text);
    }
}
