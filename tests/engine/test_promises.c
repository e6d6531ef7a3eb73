/* test_promises.c - what engine.h promises beside the point: under failure, in a pool that is
 * short, for models of odd shapes, of names and values from outside. */
#include "engine/engine.h"
#include "engine/model/quote.h"

#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static rm_error err;

#define OK(call) cr_assert_eq((call), RM_OK, "%s", err.text)

static rm_engine *engine_of(size_t kv_bytes, const char *isa, int threads, int rows)
{
    rm_engine *engine;
    rm_engine_options options = { .n_threads = threads, .isa = isa, .kv_bytes = kv_bytes,
                                  .max_batch_rows = rows };
    OK(rm_engine_open(&options, &engine, &err));
    return engine;
}

static rm_model *small_model(rm_engine *engine)
{
    rm_model *model;
    OK(rm_model_open(engine, RM_MODELS_DIR "/thimble-s.gguf", NULL, &model, &err));
    return model;
}

static rm_model *random_model(rm_engine *engine, rm_random_model shape)
{
    rm_model *model;
    char file[] = "/tmp/ramify-test-XXXXXX";
    int handle = mkstemp(file);
    cr_assert(handle >= 0);
    close(handle);
    shape.weight_type = "f32";
    OK(rm_model_write_random(&shape, file, &err));
    OK(rm_model_open(engine, file, NULL, &model, &err));
    unlink(file);
    return model;
}

static rm_path *path_of(rm_run *run, rm_model *model, int n, int step)
{
    static int32_t tokens[512];
    rm_path *path;
    for (int i = 0; i < n; i++)
        tokens[i] = 4 + i * step % 9;
    OK(rm_path_new(run, model, tokens, n, &path, &err));
    return path;
}

static void look(rm_run *run, rm_path *path)
{
    rm_request request = { .want = RM_WANT_TOP, .path = path, .k = 1 };
    OK(rm_eval(run, &request, 1, &err));
}

/* ---- all or nothing ------------------------------------------------------------------------ */

Test(promises, members_get_tokens_all_or_none)
{
    rm_engine *engine = engine_of(0, NULL, 1, 0);
    rm_model *wide = random_model(engine, (rm_random_model){ 1, 8, 2, 8, 300, 64, .seed = 1 });
    rm_model *narrow = random_model(engine, (rm_random_model){ 1, 8, 2, 8, 300, 4, .seed = 1 });
    rm_run *run;
    OK(rm_run_open(engine, NULL, &run, &err));
    rm_member members[] = { { path_of(run, wide, 3, 1), 1 }, { path_of(run, narrow, 3, 1), 1 } };
    static const int32_t two[] = { 5, 6 };
    cr_expect_eq(rm_members_append(members, 2, two, 2, &err), RM_E_LIMIT);
    cr_expect(rm_path_length(members[0].path) == 3 && rm_path_length(members[1].path) == 3);
    cr_expect_eq(rm_run_cost(run).generated_tokens, 0);
    OK(rm_members_append(members, 2, two, 1, &err));
    cr_expect(rm_path_length(members[0].path) == 4 && rm_path_length(members[1].path) == 4);
    cr_expect_eq(rm_run_cost(run).generated_tokens, 1);
    rm_run_close(run);
    rm_model_close(wide);
    rm_model_close(narrow);
    rm_engine_close(engine);
}

/* ---- accounts ------------------------------------------------------------------------------ */

Test(promises, any_number_of_prompts_is_counted_once_each)
{
    enum { PROMPTS = 150 };
    rm_engine *engine = engine_of(0, NULL, 1, 0);
    rm_model *model = small_model(engine);
    rm_run *run;
    OK(rm_run_open(engine, NULL, &run, &err));
    for (int i = 0; i < 2 * PROMPTS; i++) {
        int p = i % PROMPTS;
        int32_t tokens[4] = { 5, 6, 4 + p / 20, 4 + p % 20 };
        rm_path *path;
        OK(rm_path_new(run, model, tokens, 4, &path, &err));
        look(run, path);
        rm_path_drop(path);
    }
    cr_expect_eq(rm_run_cost(run).prompt_tokens, 4 * PROMPTS);
    rm_run_close(run);
    rm_model_close(model);
    rm_engine_close(engine);
}

/* ---- prefixes ------------------------------------------------------------------------------ */

/* The second run needs the whole pool; the third brings the prefix back, the fourth has it. */
Test(promises, a_prefix_comes_back)
{
    rm_engine *engine = engine_of(150 * 4096, NULL, 1, 0);
    rm_model *model = small_model(engine);
    rm_prefix *prefix;
    int32_t tokens[64];
    static const uint64_t rows[] = { 16, 140, 80, 16 };
    for (int i = 0; i < 64; i++)
        tokens[i] = 4 + i % 9;
    OK(rm_prefix_open(engine, model, tokens, 64, &prefix, &err));
    for (int i = 0; i < 4; i++) {
        rm_run *run;
        OK(rm_run_open(engine, &(rm_run_options){ .prefix = prefix }, &run, &err));
        uint64_t before = rm_engine_profile(engine).rows;
        rm_path *path = i == 1 ? path_of(run, model, 140, 2) : path_of(run, model, 80, 1);
        look(run, path);
        uint64_t now = rm_engine_profile(engine).rows - before;
        cr_expect(i == 1 ? now >= 135 && now <= 140 : now == rows[i], "run %d: %llu rows", i,
                  (unsigned long long)now);
        cr_expect_eq(rm_run_cost(run).evaluated_tokens, i == 1 ? 140 : 80);
        rm_run_close(run);
    }
    cr_expect_eq(rm_engine_kv(engine).suspensions, 1);
    rm_prefix_close(prefix);
    rm_model_close(model);
    rm_engine_close(engine);
}

#ifndef NDEBUG
/* A prompt that the prefix holds whole still has its last token evaluated, since its state is
 * wanted; the same bits come out as without a prefix. */
Test(promises, prompts_within_a_prefix)
{
    static const int lengths[] = { 1, 2, 15, 16, 17, 20, 21 };
    rm_engine *engine = engine_of(0, NULL, 1, 0);
    rm_model *model = small_model(engine);
    rm_prefix *prefix;
    int32_t tokens[20];
    for (int i = 0; i < 20; i++)
        tokens[i] = 4 + i % 9;
    OK(rm_prefix_open(engine, model, tokens, 20, &prefix, &err));
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        double lp[2];
        for (int with = 0; with < 2; with++) {
            rm_run *run;
            OK(rm_run_open(engine, &(rm_run_options){ .prefix = with ? prefix : NULL }, &run,
                           &err));
            uint64_t before = rm_engine_profile(engine).rows;
            rm_request request = { .want = RM_WANT_TOP, .k = 1,
                                   .path = path_of(run, model, lengths[i], 1) };
            OK(rm_eval(run, &request, 1, &err));
            lp[with] = request.result.lp[0];
            if (with)
                cr_expect_eq(rm_engine_profile(engine).rows - before, 1,
                             "prompt of %d", lengths[i]);
            cr_expect_eq(rm_run_cost(run).evaluated_tokens, (uint64_t)lengths[i]);
            rm_run_close(run);
        }
        cr_expect(lp[0] == lp[1], "prompt of %d: %.17g and %.17g", lengths[i], lp[0], lp[1]);
    }
    rm_prefix_close(prefix);
    rm_model_close(model);
    rm_engine_close(engine);
}

Test(promises, a_prefix_outlives_its_runs, .signal = SIGABRT)
{
    rm_engine *engine = engine_of(0, NULL, 1, 0);
    rm_model *model = small_model(engine);
    rm_prefix *prefix;
    rm_run *run;
    OK(rm_prefix_open(engine, model, (int32_t[]){ 4, 5 }, 2, &prefix, &err));
    OK(rm_run_open(engine, &(rm_run_options){ .prefix = prefix }, &run, &err));
    rm_prefix_close(prefix);
}
#endif

/* ---- wall clock ---------------------------------------------------------------------------- */

static rm_model *job_model;

/* Job 0 takes 100 passes of 16 rows over a prompt of 400 in four paths; job 1 has a millisecond. */
static rm_status late_work(rm_run *run, void *arg, rm_error *error)
{
    int which = *(int *)arg, n = which ? 1 : 4;
    rm_path *path[4];
    rm_request request[4];
    for (int i = 0; i < n; i++) {
        path[i] = path_of(run, job_model, which ? 20 : 400, i + 1);
        request[i] = (rm_request){ .want = RM_WANT_TOP, .path = path[i], .k = 1 };
    }
    return rm_eval(run, request, n, error);
}

typedef struct late_jobs {
    rm_job job[2];
    int given, done[2], n_done;
} late_jobs;

static rm_job *late_next(void *arg)
{
    late_jobs *jobs = arg;
    return jobs->given < 2 ? &jobs->job[jobs->given++] : NULL;
}

static void late_done(void *arg, rm_job *job)
{
    late_jobs *jobs = arg;
    jobs->done[jobs->n_done++] = *(int *)job->arg;
}

/* A problem that waits behind another one ends when its own time is over, and so first. */
Test(promises, the_clock_runs_while_a_problem_waits)
{
    static int which[2] = { 0, 1 };
    rm_engine *engine = engine_of(0, NULL, 1, 16);
    job_model = small_model(engine);
    late_jobs jobs = { 0 };
    for (int i = 0; i < 2; i++)
        jobs.job[i] = (rm_job){ .work = late_work, .arg = &which[i],
                                .options.max_wall_ms = i ? 0.001 : 0 };
    OK(rm_engine_run(engine, 2, late_next, late_done, &jobs, NULL, &err));
    cr_expect_eq(jobs.job[0].status, RM_OK);
    cr_expect_eq(jobs.job[1].status, RM_E_BUDGET);
    cr_expect_eq(jobs.done[0], 1, "the late problem was reported after the other");
    rm_model_close(job_model);
    rm_engine_close(engine);
}

/* ---- shapes -------------------------------------------------------------------------------- */

static const rm_random_model odd[] = {
    { 2, 33, 3, 17, 301, 200, .n_kv_heads = 1, .head_dim = 6, .seed = 5 },
    { 1, 7, 5, 1, 259, 200, .n_kv_heads = 5, .head_dim = 2, .tied = true, .seed = 6 },
    { 2, 40, 4, 65, 300, 200, .n_kv_heads = 2, .head_dim = 34, .seed = 7 },
};

/* f32: every variant, any threads and batches give the portable variant's bits. */
Test(promises, odd_shapes_have_the_same_bits_everywhere)
{
    static const char *const isas[] = { "portable", "avx2", "avx512" };
    static const rm_sampling sampling = RM_SAMPLING_DEFAULT;
    for (size_t s = 0; s < sizeof odd / sizeof *odd; s++) {
        uint64_t wanted = 0;
        for (int v = 0; v < 6; v++) {
            rm_engine *engine;
            rm_engine_options options = { .n_threads = 1 + v % 2, .isa = isas[v / 2],
                                          .max_batch_rows = v % 2 ? 16 : 512 };
            if (rm_engine_open(&options, &engine, &err))
                continue; /* a processor without that variant */
            rm_model *model = random_model(engine, odd[s]);
            rm_run *run;
            OK(rm_run_open(engine, &(rm_run_options){ .seed = 3 }, &run, &err));
            rm_path *path = path_of(run, model, 70, 5), *fork;
            look(run, path);
            OK(rm_path_fork(path, 1, &fork, &err));
            rm_request requests[] = {
                { .want = RM_WANT_ALL, .path = path },
                { .want = RM_WANT_SPAN, .path = fork, .sampling = &sampling, .max_new_tokens = 9 },
            };
            OK(rm_eval(run, requests, 2, &err));
            uint64_t digest = rm_hash_bytes(requests[0].result.lp,
                                            (size_t)requests[0].result.n * sizeof(double));
            digest = rm_mix(digest, rm_hash_bytes(requests[1].result.lp,
                                                  (size_t)requests[1].result.n * sizeof(double)));
            wanted = wanted ? wanted : digest;
            cr_expect_eq(digest, wanted, "shape %zu, %s", s, isas[v / 2]);
            rm_run_close(run);
            rm_model_close(model);
            rm_engine_close(engine);
        }
    }
}

/* What a run may hold is counted as the backend holds it: only rounding to pages and the states of
 * paths come on top. */
Test(promises, the_limit_counts_what_the_backend_holds)
{
    for (size_t s = 0; s < sizeof odd / sizeof *odd; s++) {
        size_t limit = (size_t)1 << 20;
        rm_engine *engine = engine_of(limit, NULL, 1, 0);
        rm_model *model = random_model(engine, odd[s]);
        const rm_model_info *info = rm_model_describe(model);
        rm_run *run;
        size_t paths = 0;
        OK(rm_run_open(engine, NULL, &run, &err));
        for (rm_status status = RM_OK; !status; paths++) {
            rm_request request = { .want = RM_WANT_TOP, .path = path_of(run, model, 190, 1),
                                   .k = 1 };
            status = rm_eval(run, &request, 1, &err);
            cr_expect(status == RM_OK || status == RM_E_MEMORY, "%s", err.text);
        }
        size_t used = rm_engine_kv(engine).bytes_in_use;
        cr_expect(used <= limit + paths * (15 * info->kv_held_bytes + 4 * (size_t)info->n_embd),
                  "shape %zu: %zu bytes", s, used);
        cr_expect(used > limit / 2 && info->kv_held_bytes >= info->kv_position_bytes);
        rm_run_close(run);
        rm_model_close(model);
        rm_engine_close(engine);
    }
}

/* ---- values and names from outside --------------------------------------------------------- */

Test(promises, impossible_requests_say_why)
{
    static const char *const one[] = { "a" };
    static const struct {
        rm_stop stop;
        double temperature;
        const char *sentence;
    } table[] = {
        { { .strings = one, .n_strings = -1 }, 1, "-1 stop strings" },
        { { .strings = one, .n_strings = 1, .n_steps = -5 }, 1, "-5 step strings" },
        { { .n_tokens = 0 }, (double)INFINITY, "it must be greater than 0 and below 1e30" },
    };
    rm_engine *engine = engine_of(0, NULL, 1, 0);
    rm_model *model = small_model(engine);
    rm_run *run;
    OK(rm_run_open(engine, NULL, &run, &err));
    rm_path *path = path_of(run, model, 4, 1);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        rm_sampling sampling = RM_SAMPLING_DEFAULT;
        sampling.temperature = table[i].temperature;
        rm_request request = { .want = RM_WANT_SPAN, .path = path, .sampling = &sampling,
                               .stop = &table[i].stop, .max_new_tokens = 3 };
        cr_expect_eq(rm_eval(run, &request, 1, &err), RM_E_ARGUMENT, "row %zu", i);
        cr_expect(strstr(err.text, table[i].sentence), "row %zu: %s", i, err.text);
    }
    rm_run_close(run);
    rm_model_close(model);
    rm_engine_close(engine);
}

Test(promises, text_from_a_file_cannot_steer_a_terminal)
{
    static const struct {
        const char *text, *quoted;
    } table[] = {
        { "plain \xc3\xa9", "plain \xc3\xa9" },
        { "a\xc2\x9b" "31m", "a\\xC2\\x9B31m" },               /* U+009B */
        { "\xe2\x80\xae" "fdp", "\\xE2\\x80\\xAE" "fdp" },      /* U+202E */
        { "\xe2\x81\xa6" "x", "\\xE2\\x81\\xA6" "x" },          /* U+2066 */
        { "\xe2\x80\x8f" "x", "\\xE2\\x80\\x8F" "x" },          /* U+200F */
        { "\xe2\x80\xa8" "x", "\\xE2\\x80\\xA8" "x" },          /* U+2028 */
        { "\xd8\x9c" "x", "\\xD8\\x9C" "x" },                   /* U+061C */
        { "\xe2\x80\x94\xe2\x96\x81", "\xe2\x80\x94\xe2\x96\x81" }, /* a dash, U+2581 */
        { "\x1b[0m\xff", "\\x1B[0m\\xFF" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        cr_expect_str_eq(rm_quoted(&(rm_quote){ 0 }, table[i].text, strlen(table[i].text)),
                         table[i].quoted);
}
