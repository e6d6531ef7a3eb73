/* test_models.c - whole models on the device in software: kernels, work lists, picks, graphs and all.
 *
 * In f32 everything has the CPU's order of operations, so whole workloads (every kind of request,
 * forks, mixtures of two models) give the CPU's very bits. In bf16 the tensor cores add in an order
 * of their own: greedy tokens are the CPU's, log-probabilities within a bound, and the bits do not
 * depend on batches, pages, pools, or who computes the products. */
#include "tests/cuda/engine.h"

#include <math.h>

static const char *const thimble_s = RM_MODELS_DIR "/thimble-s.gguf";

enum { N = 2, PROMPT = 68, DRAWN = 5 };

static void expect_equal(const uint64_t *a, const uint64_t *b, int n, const char *what)
{
    for (int i = 0; i < n; i++)
        cr_expect_eq(a[i], b[i], "%s: problem %d", what, i);
}

Test(cuda_models, f32_has_the_bits_of_the_cpu)
{
    uint64_t cpu[N], cuda[N];
    char file[64], other[64];
    condition c = { 512, 16, 2, 0 };
    random_model(file, "f32", 40, 56, 1);
    random_model(other, "f16", 32, 24, 2);
    digests_on(&rm_cpu_ops, file, other, "f32", c, false, N, PROMPT, DRAWN, cpu);
    digests_on(&rm_cuda_ops, file, other, "f32", c, false, N, PROMPT, DRAWN, cuda);
    unlink(file);
    unlink(other);
    expect_equal(cuda, cpu, N, "random models");
    cr_expect_eq(runtime.used, 0, "%zu bytes of device memory are left over", runtime.used);
}

Test(cuda_models, an_embedded_model_in_f32)
{
    uint64_t cpu[1], cuda[1];
    condition c = { 512, 16, 1, 0 };
    digests_on(&rm_cpu_ops, thimble_s, thimble_s, "f32", c, false, 1, 12, 5, cpu);
    digests_on(&rm_cuda_ops, thimble_s, thimble_s, "f32", c, false, 1, 12, 5, cuda);
    expect_equal(cuda, cpu, 1, "thimble-s");
}

static const condition conditions[] = {
    { 16, 64, 1, 0 }, { 33, 16, 2, 600 << 10 },
};

static void check_conditions(const char *type, const char *compute, int has_library)
{
    uint64_t expected[N], got[N];
    char file[64];
    runtime.has_library = has_library;
    random_model(file, type, 64, 64, 3);
    digests_on(&rm_cuda_ops, file, file, compute, (condition){ has_library ? 16 : 512, 16, 3, 0 }, false, N, PROMPT,
               DRAWN, expected);
    runtime.has_library = 0;
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
        char what[64];
        snprintf(what, sizeof what, "%s, condition %zu", compute, i);
        digests_on(&rm_cuda_ops, file, file, compute, conditions[i], false, N, PROMPT, DRAWN, got);
        expect_equal(got, expected, N, what);
    }
    unlink(file);
    cr_expect_eq(runtime.used, 0);
}

Test(cuda_models, bits_do_not_depend_on_batches_in_f32)
{
    check_conditions("f32", "f32", 0);
}

Test(cuda_models, bits_do_not_depend_on_batches_in_bf16)
{
    check_conditions("bf16", "bf16", 0);
}

Test(cuda_models, quantised_weights_are_computed_in_bf16)
{
    check_conditions("q8_0", NULL, 0);
}

Test(cuda_models, the_library_changes_no_bit)
{
    check_conditions("bf16", "bf16", 1);
    cr_expect_gt(runtime.library_products, 0, "no algorithm was admitted");
}

/* ---- bf16 against the CPU ------------------------------------------------------------------------ */

typedef struct greedy {
    int n;
    int32_t tokens[64];
    double lp[64];
} greedy;

static greedy greedy_on(const rm_ops *ops, const char *file, const char *compute, int n)
{
    static const char prompt[] = "(17+5)*(9-4)-36=<think>";
    greedy g = { 0 };
    rm_error err = { "" };
    rm_engine *engine = engine_on(ops, (rm_engine_options){ 0 });
    rm_model *model = model_on(engine, file, compute);
    rm_run *run;
    rm_path *path;
    rm_sampling sampling = RM_SAMPLING_DEFAULT;
    sampling.do_sample = false;
    int32_t *tokens;
    int n_tokens;
    must(rm_tokenize(model, prompt, strlen(prompt), true, &tokens, &n_tokens, &err), &err);
    must(rm_run_open(engine, &(rm_run_options){ .seed = 1 }, &run, &err), &err);
    must(rm_path_new(run, model, tokens, n_tokens, &path, &err), &err);
    rm_request request = { .want = RM_WANT_SPAN, .path = path, .sampling = &sampling,
                           .max_new_tokens = n };
    must(rm_eval(run, &request, 1, &err), &err);
    g.n = request.result.n;
    for (int i = 0; i < g.n; i++) {
        g.tokens[i] = request.result.tokens[i];
        g.lp[i] = request.result.lp[i];
    }
    free(tokens);
    rm_run_close(run);
    rm_model_close(model);
    rm_engine_close(engine);
    return g;
}

/* Rounding to bf16 is 2^-9 relative; a log-probability of these models moves by a few of it from one
 * order of addition to the other, through every layer. */
enum { GREEDY = 6 };
static const double bf16_bound = 0.05;

Test(cuda_models, greedy_tokens_are_those_of_the_cpu)
{
    static const char *const computes[] = { "f32", "bf16" };
    for (int i = 0; i < 2; i++) {
        greedy cpu = greedy_on(&rm_cpu_ops, thimble_s, computes[i], GREEDY),
               cuda = greedy_on(&rm_cuda_ops, thimble_s, computes[i], GREEDY);
        cr_assert_eq(cuda.n, cpu.n);
        for (int t = 0; t < cpu.n; t++) {
            cr_expect_eq(cuda.tokens[t], cpu.tokens[t], "%s, token %d", computes[i], t);
            cr_expect(fabs(cuda.lp[t] - cpu.lp[t]) <= (i ? bf16_bound : 0.0), "%s, token %d: %g",
                      computes[i], t, cuda.lp[t] - cpu.lp[t]);
        }
    }
}
