/* test_window.c - the cache under a sliding window: pages that no later row looks at are given back,
 * and nothing shows of it but the memory.
 *
 * goldens/mistral is a random model with a window of 13 positions and a context of 256; pages have
 * 16 positions here and attention reads chunks of 64. */
#include "engine/engine.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MODEL RM_SOURCE_DIR "/tests/engine/goldens/mistral"

enum { PAGE = 16, CHUNK = 64, WINDOW = 13, CONTEXT = 256 };

/* What a path may hold between rounds: the pages of the chunk in which its window begins, the ones
 * behind that, and a page that has just been begun. */
enum { MOST_PAGES = (CHUNK + WINDOW) / PAGE + 2 };

static const rm_sampling sampling = RM_SAMPLING_DEFAULT;
static const int32_t none = -1;
static const rm_stop stop = { .tokens = &none };

typedef struct bench {
    rm_engine *engine;
    rm_model *model;
} bench;

static bench open_bench(size_t kv_bytes)
{
    bench b;
    rm_error err = { "" };
    rm_engine_options options = { .n_threads = 2, .max_batch_rows = 32, .page_positions = PAGE,
                                  .kv_bytes = kv_bytes };
    cr_assert_eq(rm_engine_open(&options, &b.engine, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_model_open(b.engine, MODEL, &(rm_model_options){ .compute = "f32" }, &b.model, &err),
                 RM_OK, "%s", err.text);
    return b;
}

static void close_bench(bench *b)
{
    cr_expect_eq(rm_engine_kv(b->engine).pages_in_use, 0);
    rm_model_close(b->model);
    rm_engine_close(b->engine);
}

static rm_path *new_path(bench *b, rm_run *run, int n)
{
    int32_t prompt[CONTEXT];
    rm_path *path;
    rm_error err = { "" };
    for (int i = 0; i < n; i++)
        prompt[i] = (31 * i + i * i * i) % 283;
    cr_assert_eq(rm_path_new(run, b->model, prompt, n, &path, &err), RM_OK, "%s", err.text);
    return path;
}

static rm_request span(rm_path *path, int n)
{
    return (rm_request){ .want = RM_WANT_SPAN, .path = path, .sampling = &sampling, .stop = &stop,
                         .max_new_tokens = n };
}

static void eval(rm_run *run, rm_request *r, int n)
{
    rm_error err = { "" };
    cr_assert_eq(rm_eval(run, r, n, &err), RM_OK, "%s", err.text);
}

/* A text drawn token by token, its first pages long gone, has the log-probabilities that one pass
 * over all of it gives. */
Test(window, memory_is_bounded_and_numbers_stay)
{
    enum { PROMPT = 20, NEW = 220 };
    bench b = open_bench(0);
    rm_run *run, *again;
    rm_error err = { "" };
    cr_assert_eq(rm_run_open(b.engine, NULL, &run, &err), RM_OK);
    rm_path *path = new_path(&b, run, PROMPT);
    size_t most = 0;
    double lp[NEW];
    for (int i = 0; i < NEW; i += 20) {
        rm_request r = span(path, 20);
        eval(run, &r, 1);
        memcpy(lp + i, r.result.lp, 20 * sizeof *lp);
        size_t pages = rm_engine_kv(b.engine).pages_in_use;
        most = pages > most ? pages : most;
    }
    cr_expect(most <= MOST_PAGES, "%zu pages", most);
    cr_expect(rm_engine_kv(b.engine).pages_peak <= MOST_PAGES + 1);

    cr_assert_eq(rm_run_open(b.engine, NULL, &again, &err), RM_OK);
    rm_request score = { .want = RM_WANT_SCORE, .path = new_path(&b, again, PROMPT),
                         .tokens = rm_path_tokens(path) + PROMPT, .n_tokens = NEW };
    eval(again, &score, 1);
    for (int i = 0; i < NEW; i++)
        cr_expect(score.result.lp[i] == lp[i], "token %d: %.17g and %.17g", i, score.result.lp[i], lp[i]);
    rm_run_close(again);
    rm_run_close(run);
    close_bench(&b);
}

/* Runs that suspend each other, with forks that lie a window and more apart: the same tokens as with
 * memory for all. */
Test(window, suspended_runs_come_back_to_the_same_bits)
{
    enum { RUNS = 4, STEPS = 4, FORKS = 3, NEW = 17 };
    static int32_t drawn[2][RUNS][STEPS][FORKS][NEW];
    for (int tight = 0; tight < 2; tight++) {
        /* a page: 2 layers, 2 heads, keys and values of 10 floats padded to 16; some pages for two */
        bench b = open_bench(tight ? 26 * PAGE * 2 * 2 * 2 * 16 * sizeof(float) : 0);
        rm_run *run[RUNS];
        rm_path *path[RUNS][FORKS];
        rm_error err = { "" };
        for (int i = 0; i < RUNS; i++) {
            cr_assert_eq(rm_run_open(b.engine, &(rm_run_options){ .seed = (uint64_t)i }, &run[i], &err),
                         RM_OK);
            path[i][0] = new_path(&b, run[i], 40 + i);
            rm_request r = span(path[i][0], 70);
            eval(run[i], &r, 1);
            for (uint32_t k = 1; k < FORKS; k++) {
                cr_assert_eq(rm_path_fork(path[i][0], k, &path[i][k], &err), RM_OK);
                r = span(path[i][0], 20);
                eval(run[i], &r, 1);
            }
        }
        for (int step = 0; step < STEPS; step++)
            for (int i = 0; i < RUNS; i++) {
                rm_request r[FORKS];
                for (int k = 0; k < FORKS; k++)
                    r[k] = span(path[i][k], NEW);
                eval(run[i], r, FORKS);
                for (int k = 0; k < FORKS; k++)
                    memcpy(drawn[tight][i][step][k], r[k].result.tokens, NEW * sizeof(int32_t));
            }
        cr_expect_eq(rm_engine_kv(b.engine).suspensions > 0, tight);
        for (int i = 0; i < RUNS; i++)
            rm_run_close(run[i]);
        close_bench(&b);
    }
    cr_expect(!memcmp(drawn[0], drawn[1], sizeof drawn[0]));
}

/* The account counts what the windows cover, and says the same of samples from a shared pool. A quota
 * that the whole text would break is enough for its window. */
Test(window, the_account_counts_windows)
{
    static const int lengths[][3] = { { 5, 40, 90 }, { 1, 1, 1 }, { 30, 30, 30 }, { 100, 2, 1 } };
    for (size_t c = 0; c < sizeof lengths / sizeof *lengths; c++)
        for (int prompt = 6; prompt <= 30; prompt += 12) {
            bench b = open_bench(0);
            rm_run *run;
            rm_error err = { "" };
            rm_request r[3], look = { .want = RM_WANT_NOTHING };
            cr_assert_eq(rm_run_open(b.engine, NULL, &run, &err), RM_OK);
            look.path = new_path(&b, run, prompt);
            eval(run, &look, 1);
            for (uint32_t k = 0; k < 3; k++) {
                rm_path *path;
                cr_assert_eq(rm_path_fork(look.path, k, &path, &err), RM_OK);
                r[k] = span(path, lengths[c][k]);
            }
            rm_path_drop(look.path);
            eval(run, r, 3);
            rm_cost ran = rm_run_cost(run), said = rm_cost_of_samples(b.model, prompt, lengths[c], 3);
            cr_expect_eq(ran.kv_peak_positions, said.kv_peak_positions, "case %zu, %d: peak %lu and %lu", c,
                         prompt, ran.kv_peak_positions, said.kv_peak_positions);
            cr_expect(ran.kv_bytes == said.kv_bytes, "case %zu, %d: %g and %g bytes", c, prompt,
                      ran.kv_bytes, said.kv_bytes);
            cr_expect(ran.flops == said.flops && ran.rounds == said.rounds);
            rm_run_close(run);
            close_bench(&b);
        }
}

/* By hand: a prompt of 20, then 10 tokens. Peak: the prompt. Read: the prompt in the first round, 13
 * positions in each of the 9 others. */
Test(window, a_count_by_hand)
{
    bench b = open_bench(0);
    rm_run *run;
    rm_error err = { "" };
    size_t position = rm_model_describe(b.model)->kv_position_bytes,
           held = rm_model_describe(b.model)->kv_held_bytes;
    cr_assert_eq(rm_run_open(b.engine, &(rm_run_options){ .kv_quota_bytes = 34 * held }, &run, &err), RM_OK);
    rm_request r = span(new_path(&b, run, 20), 10);
    eval(run, &r, 1);
    cr_expect_eq(rm_run_cost(run).kv_peak_positions, 20);
    cr_expect_eq(rm_run_cost(run).kv_bytes, (double)((20 + 9 * WINDOW) * position));
    r = span(r.path, 200); /* 12 held, one pending, at most 13 more at a time */
    eval(run, &r, 1);
    cr_expect_eq(rm_run_cost(run).kv_peak_positions, 20);
    rm_run_close(run);
    close_bench(&b);
}
