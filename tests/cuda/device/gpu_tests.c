/* gpu_tests.c - the CUDA backend on a device, against the CPU and against itself.
 *
 *   gpu_tests MODELS [STORIES]     MODELS: folder of the embedded models; STORIES: folder with
 *                                  stories260K.gguf and the text that it continues to
 *
 * A program of its own, since a machine with a device may have no test framework. One line a test;
 * exit status 0 if all passed, 1 if one failed, 77 with one sentence where there is no device. */
#include "base/base.h"
#include "engine/engine.h"
#include "strategies/strategy.h"
#include "tests/engine/workload.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { LOADS = 6, PROMPT = 140, DRAWN = 12, GREEDY = 48, MODEL_NAME = 512 };

/* Rounding to bf16 is 2^-9 relative; the device adds in another order than the CPU, in every layer. */
static const double bf16_bound = 0.05;

static int n_failed, n_passed;
static bool this_failed;

static void fail(const char *format, ...) RM_PRINTF(1, 2);
static void fail(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    printf("    ");
    vprintf(format, list);
    printf("\n");
    va_end(list);
    this_failed = true;
}

static void begin(const char *name)
{
    printf("%-66s ", name);
    fflush(stdout);
    this_failed = false;
}

static void end(void)
{
    printf("%s\n", this_failed ? "FAILED" : "passed");
    n_failed += this_failed;
    n_passed += !this_failed;
}

/* ---- engines and work ------------------------------------------------------------------------- */

typedef struct setting {
    const char *backend, *compute;
    int rows, page, concurrency;
    size_t kv_bytes;
} setting;

static bool open_model(const setting *s, const char *file, rm_engine **engine, rm_model **model)
{
    rm_error err = { "" };
    rm_engine_options options = { .backend = s->backend, .max_batch_rows = s->rows,
                                  .page_positions = s->page,
                                  .kv_bytes = s->kv_bytes ? s->kv_bytes : (size_t)512 << 20 };
    rm_model_options as = { .compute = s->compute };
    *engine = NULL;
    *model = NULL;
    if (rm_engine_open(&options, engine, &err) || rm_model_open(*engine, file, &as, model, &err)) {
        fail("%s: %s", s->backend, err.text);
        rm_engine_close(*engine);
        return false;
    }
    return true;
}

/* The workload without its account: weights are counted as a backend holds them. */
static rm_status work(rm_run *run, void *arg, rm_error *err)
{
    workload *load = arg;
    int32_t *prompt = rm_run_alloc(run, sizeof *prompt * (size_t)load->n_prompt);
    rm_path *path;
    load->digest = load->job.options.problem;
    for (int i = 0; i < load->n_prompt; i++)
        prompt[i] = i < load->n_prompt / 2 ? 4 + i % 3
                                           : (int32_t)(rm_mix(load->digest, (uint64_t)i) % 28 + 4);
    rm_status status = rm_path_new(run, load->model, prompt, load->n_prompt, &path, err);
    for (int i = 0; i < load->rounds && !status; i++)
        status = workload_round(run, load, &path, err);
    return status;
}

static bool digests(const setting *s, const char *file, uint64_t out[LOADS])
{
    rm_error err = { "" };
    rm_engine *engine;
    rm_model *model;
    if (!open_model(s, file, &engine, &model))
        return false;
    workload_list list = workload_list_new(LOADS, model, model, (rm_run_options){ .seed = 11 },
                                           PROMPT, DRAWN, 2);
    for (int i = 0; i < LOADS; i++)
        list.loads[i].job.work = work;
    rm_status status = rm_engine_run(engine, s->concurrency, workload_next, workload_done, &list,
                                     NULL, &err);
    for (int i = 0; i < LOADS && !status; i++) {
        status = list.loads[i].job.status;
        err = list.loads[i].job.error;
        out[i] = list.loads[i].digest;
    }
    if (status)
        fail("%s: %s", s->backend, err.text);
    free(list.loads);
    rm_model_close(model);
    rm_engine_close(engine);
    return !status;
}

static void compare(const setting *a, const setting *b, const char *file)
{
    uint64_t x[LOADS], y[LOADS];
    if (!digests(a, file, x) || !digests(b, file, y))
        return;
    for (int i = 0; i < LOADS; i++)
        if (x[i] != y[i])
            fail("problem %d: %016llx and %016llx (%d and %d rows)", i, (unsigned long long)x[i],
                 (unsigned long long)y[i], a->rows, b->rows);
}

/* ---- models of awkward shapes -------------------------------------------------------------------- */

typedef struct shape {
    int head_dim, heads, kv_heads, embd, ff;
} shape;

static const shape shapes[] = {
    { 32, 4, 4, 96, 136 }, { 64, 6, 2, 200, 264 }, { 80, 4, 1, 320, 1040 }, { 128, 7, 1, 1056, 1408 },
};

static void with_shapes(const char *type, void (*test)(const char *file))
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const shape *s = &shapes[i];
        rm_error err = { "" };
        char name[80], file[] = "/tmp/ramify-gpu-XXXXXX";
        rm_random_model random = { .n_layers = 2, .n_embd = s->embd, .n_heads = s->heads,
                                   .n_kv_heads = s->kv_heads, .head_dim = s->head_dim,
                                   .n_ff = s->ff, .n_vocab = 777, .n_ctx = 1024,
                                   .weight_type = type, .seed = 1 + i };
        int handle = mkstemp(file);
        snprintf(name, sizeof name, "  %s, %d heads of %d, width %d", type, s->heads, s->head_dim,
                 s->embd);
        begin(name);
        if (handle < 0 || rm_model_write_random(&random, file, &err))
            fail("%s", err.text);
        else
            test(file);
        end();
        if (handle >= 0)
            close(handle);
        unlink(file);
    }
}

static const setting cpu = { "cpu", "f32", 512, 16, 3, 0 }, whole = { "cuda", NULL, 512, 16, 6, 0 };
static const setting cut[] = {
    { "cuda", NULL, 16, 64, 1, 0 }, { "cuda", NULL, 33, 32, 6, 0 }, { "cuda", NULL, 512, 16, 1, 0 },
    { "cuda", NULL, 129, 16, 6, (size_t)24 << 20 },
};

static void same_bits_as_cpu(const char *file)
{
    setting cuda = whole;
    cuda.compute = "f32";
    compare(&cpu, &cuda, file);
}

static void same_bits_in_any_batch(const char *file)
{
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++)
        compare(&whole, &cut[i], file);
}

/* ---- greedy tokens of real models ------------------------------------------------------------------ */

static int greedy(const setting *s, const char *file, int32_t *tokens, double *lp)
{
    static const char prompt[] = "(17+5)*(9-4)-36=<think>";
    rm_error err = { "" };
    rm_engine *engine;
    rm_model *model;
    rm_run *run = NULL;
    rm_path *path;
    rm_sampling sampling = RM_SAMPLING_DEFAULT;
    int32_t *read = NULL;
    int n = 0, n_read;
    sampling.do_sample = false;
    if (!open_model(s, file, &engine, &model))
        return 0;
    rm_request request = { .want = RM_WANT_SPAN, .sampling = &sampling, .max_new_tokens = GREEDY };
    rm_status status = rm_tokenize(model, prompt, strlen(prompt), true, &read, &n_read, &err);
    if (!status)
        status = rm_run_open(engine, &(rm_run_options){ .seed = 1 }, &run, &err);
    if (!status)
        status = rm_path_new(run, model, read, n_read, &path, &err);
    if (!status) {
        request.path = path;
        status = rm_eval(run, &request, 1, &err);
    }
    if (status)
        fail("%s: %s", s->backend, err.text);
    else
        n = request.result.n;
    for (int i = 0; i < n; i++) {
        tokens[i] = request.result.tokens[i];
        lp[i] = request.result.lp[i];
    }
    free(read);
    rm_run_close(run);
    rm_model_close(model);
    rm_engine_close(engine);
    return n;
}

static void greedy_as_cpu(const char *file)
{
    static const char *const computes[] = { "f32", "bf16" };
    for (int c = 0; c < 2; c++) {
        setting a = cpu, b = whole;
        int32_t x[GREEDY], y[GREEDY];
        double p[GREEDY], q[GREEDY];
        a.compute = b.compute = computes[c];
        int n = greedy(&a, file, x, p), m = greedy(&b, file, y, q);
        if (n != m)
            fail("%s: %d tokens on the CPU, %d on the device", computes[c], n, m);
        for (int i = 0; i < n && i < m; i++)
            if (x[i] != y[i] || !(fabs(p[i] - q[i]) <= (c ? bf16_bound : 0.0))) {
                fail("%s, token %d: %d (%.9g) on the CPU, %d (%.9g) on the device", computes[c], i,
                     (int)x[i], p[i], (int)y[i], q[i]);
                break;
            }
    }
}

/* ---- stories260K ------------------------------------------------------------------------------------- */

/* 200 tokens, greedy from BOS, are the text that llama2.c's own test expects, and their
 * log-probability is what an independent forward pass in double gives (-94.6835; tests/engine/test_bits.c).
 * With bf16 only the beginning is held to it: the two best logits come within 0.004 of each other. */
enum { STORY = 200, SURE_CHARACTERS = 40 };
static const double story_lp = -94.6835;

static void tell(const setting *s, rm_model *model, rm_run *run, const char *expected, size_t n)
{
    rm_error err = { "" };
    rm_path *path;
    int32_t bos = rm_model_describe(model)->bos, none = -1;
    rm_sampling sampling = RM_SAMPLING_DEFAULT;
    sampling.do_sample = false;
    rm_stop stop = { .tokens = &none };
    rm_request request = { .want = RM_WANT_SPAN, .sampling = &sampling, .stop = &stop,
                           .max_new_tokens = STORY };
    rm_status status = rm_path_new(run, model, &bos, 1, &path, &err);
    request.path = path;
    if (!status)
        status = rm_eval(run, &request, 1, &err);
    if (status) {
        fail("%s: %s", s->compute, err.text);
        return;
    }
    rm_text text = { 0 };
    double lp = 0.0;
    bool exact = strcmp(s->compute, "f32") == 0;
    size_t sure = exact ? n : SURE_CHARACTERS;
    rm_detokenize(model, request.result.tokens, request.result.n, false, &text);
    for (int i = 0; i < request.result.n; i++)
        lp += request.result.lp[i];
    if ((exact && text.length != n) || text.length < sure || n < sure ||
        memcmp(text.data, expected, sure) != 0)
        fail("%s: another story: %.60s...", s->compute, text.data ? text.data : "");
    if (exact && !(fabs(lp - story_lp) < 0.001))
        fail("%s: a log-probability of %.6f; %.4f was expected", s->compute, lp, story_lp);
    rm_text_free(&text);
}

static void story(const char *folder)
{
    static const char *const computes[] = { "f32", "bf16" };
    char file[MODEL_NAME], text[MODEL_NAME], *expected;
    size_t n;
    rm_error err = { "" };
    snprintf(file, sizeof file, "%s/stories260K.gguf", folder);
    snprintf(text, sizeof text, "%s/expected_greedy_200.txt", folder);
    if (rm_file_read(text, 1 << 16, &expected, &n, &err)) {
        fail("%s", err.text);
        return;
    }
    for (int i = 0; i < 2; i++) {
        setting s = whole;
        rm_engine *engine;
        rm_model *model;
        rm_run *run;
        s.compute = computes[i];
        if (!open_model(&s, file, &engine, &model))
            continue;
        if (rm_run_open(engine, NULL, &run, &err)) {
            fail("%s", err.text);
        } else {
            tell(&s, model, run, expected, n);
            rm_run_close(run);
        }
        rm_model_close(model);
        rm_engine_close(engine);
    }
    free(expected);
}

/* ---- every strategy --------------------------------------------------------------------------------- */

static const char *answer(const rm_problem *problem, rm_run *run, const char *text)
{
    (void)problem;
    const char *last = strstr(text, "</think>");
    char *copy = last ? rm_run_alloc(run, strlen(last) + 1) : NULL;
    return copy ? strcpy(copy, last + 8) : NULL;
}

static double oracle(const rm_problem *problem, const char *text)
{
    (void)problem;
    return strcmp(text, "74") == 0;
}

/* A hash of all candidates of one strategy; 0 on failure. */
static uint64_t strategy_on(const setting *s, const char *file, const rm_strategy *strategy)
{
    static const char *const step[] = { ";" };
    rm_problem problem = { .id = "p", .prompt = "(17+5)*(9-4)-36=<think>", .step_ends = step,
                           .n_step_ends = 1, .answer = answer, .verify = oracle, .oracle = oracle };
    rm_error err = { "" };
    rm_engine *engine;
    rm_model *model;
    rm_params *params = NULL;
    rm_run *run = NULL;
    rm_outcome out;
    uint64_t hash = 1;
    if (!open_model(s, file, &engine, &model))
        return 0;
    rm_model *models[] = { model, model };
    rm_status status = rm_params_new(strategy, &params, &err);
    if (!status)
        (void)rm_params_set(params, "max_new_tokens", "40", &(rm_error){ "" });
    if (!status)
        status = rm_run_open(engine, &(rm_run_options){ .seed = 5, .problem = 9 }, &run, &err);
    rm_trial trial = { .run = run, .problem = &problem, .models = models,
                       .n_models = strncmp(strategy->name, "ensemble", 8) == 0 ? 2 : 1 };
    if (!status)
        status = rm_strategy_run(&trial, params, &out, &err);
    if (status)
        fail("%s on %s: %s", strategy->name, s->backend, err.text);
    for (int i = 0; i < out.n_candidates && !status; i++) {
        hash = rm_mix(hash, rm_hash_bytes(out.candidates[i].text, strlen(out.candidates[i].text)));
        hash = rm_mix(hash, rm_bits(out.candidates[i].lp));
    }
    rm_params_free(params);
    rm_run_close(run);
    rm_model_close(model);
    rm_engine_close(engine);
    return status ? 0 : hash;
}

static void every_strategy(const char *file)
{
    setting cuda = whole;
    cuda.compute = "f32";
    for (const rm_strategy *const *s = rm_strategies(); *s; s++) {
        uint64_t a = strategy_on(&cpu, file, *s), b = strategy_on(&cuda, file, *s);
        if (a && b && a != b)
            fail("%s: other candidates than on the CPU", (*s)->name);
    }
}

int main(int argc, char **argv)
{
    static const char *const names[] = { "thimble", "thimble-s", "thimble-grpo" };
    rm_error err = { "" };
    rm_engine *engine;
    if (argc < 2) {
        fprintf(stderr, "gpu_tests MODELS [STORIES]\n");
        return 2;
    }
    if (rm_engine_open(&(rm_engine_options){ .backend = "cuda" }, &engine, &err)) {
        printf("[SKIP] gpu_tests: %s\n", err.text);
        return 77;
    }
    printf("%s\n", rm_engine_describe(engine).device);
    rm_engine_close(engine);

    puts("f32: the bits of the CPU");
    with_shapes("f32", same_bits_as_cpu);
    with_shapes("f16", same_bits_as_cpu);
    puts("the same bits in any batch, page, pool");
    with_shapes("f32", same_bits_in_any_batch);
    with_shapes("bf16", same_bits_in_any_batch);
    with_shapes("q8_0", same_bits_in_any_batch);
    for (int i = 0; i < 3; i++) {
        char file[MODEL_NAME], title[80];
        snprintf(file, sizeof file, "%s/%s.gguf", argv[1], names[i]);
        snprintf(title, sizeof title, "%s: greedy tokens of the CPU", names[i]);
        begin(title);
        greedy_as_cpu(file);
        end();
    }
    if (argc > 2 && access(argv[2], R_OK) == 0) {
        begin("stories260K: the story that is known");
        story(argv[2]);
        end();
    } else {
        puts("stories260K: skipped, its folder is not here");
    }
    char file[MODEL_NAME];
    snprintf(file, sizeof file, "%s/thimble.gguf", argv[1]);
    begin("every strategy, f32: the candidates of the CPU");
    every_strategy(file);
    end();
    printf("%d passed, %d failed\n", n_passed, n_failed);
    return n_failed ? 1 : 0;
}
