/* test_bits.c - the promise of equal bits on a real model: a job's results do not depend on
 * threads, batch limit, page size, concurrency, cached prefixes, or a pool that is too small; and
 * a story that is known byte for byte. */
#include "engine/engine.h"

#include "tests/engine/workload.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOADS = 9 };

/* Runs the workload, or with `brief` its first steps (the portable variant computes every fused
 * multiply-add in software); digests of all problems in order. Returns the suspensions. */
static uint64_t digests(rm_engine_options options, const char *const file[2], const char *compute,
                        int concurrency, bool with_prefix, bool brief, uint64_t out[LOADS])
{
    rm_engine *engine;
    rm_model *model, *other;
    rm_prefix *prefix = NULL;
    rm_error error = { "" };
    rm_model_options as = { .compute = compute };
    cr_assert_eq(rm_engine_open(&options, &engine, &error), RM_OK, "%s", error.text);
    cr_assert_eq(rm_model_open(engine, file[0], &as, &model, &error), RM_OK, "%s", error.text);
    cr_assert_eq(rm_model_open(engine, file[1], &as, &other, &error), RM_OK, "%s", error.text);
    rm_run_options run = { .seed = 11 };
    if (with_prefix) {
        int32_t tokens[20];
        for (int i = 0; i < 20; i++)
            tokens[i] = 4 + i % 3;
        cr_assert_eq(rm_prefix_open(engine, model, tokens, 20, &prefix, &error), RM_OK, "%s",
                     error.text);
        run.prefix = prefix;
    }
    int n = brief ? 1 : LOADS;
    workload_list list =
        workload_list_new(n, model, other, run, brief ? 6 : 34, brief ? 6 : 12, brief ? 1 : 2);
    cr_assert_eq(
        rm_engine_run(engine, concurrency, workload_next, workload_done, &list, NULL, &error),
        RM_OK);
    for (int i = 0; i < n; i++) {
        cr_assert_eq(list.loads[i].job.status, RM_OK, "%s", list.loads[i].job.error.text);
        out[i] = list.loads[i].digest;
    }
    uint64_t suspensions = rm_engine_kv(engine).suspensions;
    rm_prefix_close(prefix);
    free(list.loads);
    rm_model_close(model);
    rm_model_close(other);
    rm_engine_close(engine);
    return suspensions;
}

static const char *const embedded[2] = { RM_MODELS_DIR "/thimble.gguf",
                                         RM_MODELS_DIR "/thimble-s.gguf" };

static void check_table(const char *compute)
{
    static const struct {
        int threads, rows, page, concurrency;
        size_t kv_bytes;
        bool prefix;
    } table[] = {
        { 1, 512, 16, 7, 0, false },       { 2, 512, 16, 64, 0, false },
        { 2, 16, 64, 1, 0, false },        { 1, 33, 32, 64, 0, false },
        { 2, 512, 16, 7, 0, true },        { 2, 512, 16, 64, 5 << 20, true },
        { 1, 24, 16, 64, 5 << 20, false },
    };
    uint64_t expected[LOADS], got[LOADS];
    digests((rm_engine_options){ .n_threads = 1 }, embedded, compute, 1, false, false, expected);
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        rm_engine_options options = { .n_threads = table[t].threads,
                                      .max_batch_rows = table[t].rows,
                                      .page_positions = table[t].page,
                                      .kv_bytes = table[t].kv_bytes };
        uint64_t suspensions =
            digests(options, embedded, compute, table[t].concurrency, table[t].prefix, false, got);
        cr_expect_eq(suspensions > 0, table[t].kv_bytes > 0, "condition %zu: %llu suspensions", t,
                     (unsigned long long)suspensions);
        for (int i = 0; i < LOADS; i++)
            cr_expect_eq(got[i], expected[i], "%s, condition %zu, problem %d", compute, t, i);
    }
}

Test(bits, equal_in_f32)
{
    check_table("f32");
}

Test(bits, equal_in_bf16)
{
    rm_engine *engine;
    rm_model *model;
    rm_error error = { "" };
    rm_model_options as = { .compute = "bf16" };
    cr_assert_eq(rm_engine_open(NULL, &engine, &error), RM_OK, "%s", error.text);
    rm_status status = rm_model_open(engine, RM_MODELS_DIR "/thimble.gguf", &as, &model, &error);
    if (!status)
        rm_model_close(model);
    rm_engine_close(engine);
    if (status == RM_E_UNSUPPORTED)
        cr_skip_test("no bf16 on this machine: %s", error.text);
    check_table("bf16");
}

/* The f32 digests of the whole workload, by every vector variant, and of its first steps, by the
 * portable one too. Committed, so that every compiler and machine is held to them; of models with
 * random weights, so that they hold whatever models are embedded. */
static const uint64_t whole_digest = UINT64_C(0xbb909a43f2a76179),
                      brief_digest = UINT64_C(0xb79780f8af0399c9);

Test(bits, equal_in_all_variants)
{
    static const char *const isas[] = { "portable", "avx2", "avx512", "avx512-bf16" };
    static const rm_random_model shapes[2] = {
        { .n_layers = 6, .n_embd = 192, .n_heads = 6, .n_ff = 512, .n_vocab = 32, .n_ctx = 512,
          .tied = true, .weight_type = "f16", .seed = 1 },
        { .n_layers = 4, .n_embd = 128, .n_heads = 4, .n_ff = 320, .n_vocab = 32, .n_ctx = 512,
          .tied = true, .weight_type = "f16", .seed = 2 },
    };
    char file[2][64];
    for (int i = 0; i < 2; i++) {
        rm_error error = { "" };
        snprintf(file[i], sizeof file[i], "/tmp/ramify-test-XXXXXX");
        int handle = mkstemp(file[i]);
        cr_assert(handle >= 0);
        close(handle);
        cr_assert_eq(rm_model_write_random(&shapes[i], file[i], &error), RM_OK, "%s", error.text);
    }
    const char *const files[2] = { file[0], file[1] };
    int n = 0;
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        rm_engine *engine;
        rm_engine_options options = { .isa = isas[i], .n_threads = 2 };
        if (rm_engine_open(&options, &engine, NULL))
            continue;
        rm_engine_close(engine);
        uint64_t got[LOADS], hash = 0;
        digests(options, files, "f32", 1, false, true, got);
        cr_expect_eq(got[0], brief_digest, "%s: 0x%016llx", isas[i], (unsigned long long)got[0]);
        n++;
        if (i == 0)
            continue;
        digests(options, files, "f32", 7, false, false, got);
        for (int load = 0; load < LOADS; load++)
            hash = rm_mix(hash, got[load]);
        cr_expect_eq(hash, whole_digest, "%s: 0x%016llx", isas[i], (unsigned long long)hash);
    }
    unlink(file[0]);
    unlink(file[1]);
    cr_expect(n >= 1);
}

/* 200 tokens, greedy from BOS: the expected text of llama2.c's own test (see SOURCE.md there),
 * whose log-probability an independent float64 forward pass puts at -94.6835. */
Test(bits, story)
{
    const char *folder = RM_TEST_DATA "/stories260k";
    if (access(folder, R_OK))
        cr_skip_test("%s is not here", folder);
    rm_engine *engine;
    rm_model *model;
    rm_run *run;
    rm_path *path;
    rm_error error = { "" };
    char *expected;
    size_t n_expected;
    cr_assert_eq(rm_file_read(RM_TEST_DATA "/stories260k/expected_greedy_200.txt", 1 << 16,
                              &expected, &n_expected, &error),
                 RM_OK, "%s", error.text);
    cr_assert_eq(rm_engine_open(NULL, &engine, &error), RM_OK, "%s", error.text);
    cr_assert_eq(
        rm_model_open(engine, RM_TEST_DATA "/stories260k/stories260K.gguf", NULL, &model, &error),
        RM_OK, "%s", error.text);
    cr_assert_eq(rm_run_open(engine, NULL, &run, &error), RM_OK);
    int32_t bos = rm_model_describe(model)->bos, none = -1;
    cr_assert_eq(rm_path_new(run, model, &bos, 1, &path, &error), RM_OK, "%s", error.text);
    rm_sampling greedy = RM_SAMPLING_DEFAULT;
    greedy.do_sample = false;
    rm_stop stop = { .tokens = &none };
    rm_request request = { .want = RM_WANT_SPAN,
                           .path = path,
                           .sampling = &greedy,
                           .stop = &stop,
                           .max_new_tokens = 200 };
    cr_assert_eq(rm_eval(run, &request, 1, &error), RM_OK, "%s", error.text);
    rm_text text = { 0 };
    rm_detokenize(model, request.result.tokens, request.result.n, false, &text);
    cr_expect_eq(text.length, n_expected);
    cr_expect(text.length == n_expected && !memcmp(text.data, expected, n_expected), "%s",
              text.data);
    double lp = 0.0;
    for (int i = 0; i < request.result.n; i++)
        lp += request.result.lp[i];
    cr_expect(lp > -94.6845 && lp < -94.6825, "%.6f", lp);
    rm_text_free(&text);
    free(expected);
    rm_run_close(run);
    rm_model_close(model);
    rm_engine_close(engine);
}
