/* test_scheduler.c - many problems on one pool of pages: equal results whatever the pool, the
 * batch limit, the page size or the concurrency; admission, suspension, cancellation, failures. */
#include "engine/ahead.h"
#include "engine/scheduler.h"

#include "tests/engine/fake_ahead.h"
#include "tests/engine/workload.h"

#include <criterion/criterion.h>

#define MODEL RM_MODELS_DIR "/thimble-s.gguf"

/* The double, or the one that goes on with spans by itself. */
static const rm_ops *on = &fake_ops;

typedef struct test_bench {
    rm_engine *engine;
    rm_model *model, *other;
} test_bench;

static test_bench bench_open(rm_engine_options options)
{
    test_bench bench;
    rm_error error = { "" };
    options.n_threads = 1;
    cr_assert_eq(rm_engine_open_on(on, &options, &bench.engine, &error), RM_OK, "%s",
                 error.text);
    cr_assert_eq(rm_model_open(bench.engine, MODEL, NULL, &bench.model, &error), RM_OK, "%s",
                 error.text);
    cr_assert_eq(rm_model_open(bench.engine, MODEL, NULL, &bench.other, &error), RM_OK, "%s",
                 error.text);
    return bench;
}

static void bench_close(test_bench *bench)
{
    cr_expect_eq(bench->engine->budget.used_bytes, 0, "pages or tips are left over");
    cr_expect_eq(bench->engine->budget.pages_used, 0);
    cr_expect_eq(bench->engine->budget.lent_bytes, 0);
    cr_expect_eq(fake.cells_missing, 0, "attention read positions nobody stored");
    rm_model_close(bench->model);
    rm_model_close(bench->other);
    rm_engine_close(bench->engine);
}

enum { LOADS = 24 };

/* Digests of the workload under the plainest conditions: one problem at a time, ample memory. */
static void reference(uint64_t digest[LOADS])
{
    test_bench bench = bench_open((rm_engine_options){ 0 });
    workload_list list = workload_list_new(LOADS, bench.model, bench.other,
                                           (rm_run_options){ .seed = 3 }, 24, 20, 4);
    rm_error error;
    cr_assert_eq(rm_engine_run(bench.engine, 1, workload_next, workload_done, &list, NULL, &error),
                 RM_OK);
    for (int i = 0; i < LOADS; i++) {
        cr_assert_eq(list.loads[i].job.status, RM_OK, "%s", list.loads[i].job.error.text);
        digest[i] = list.loads[i].digest;
        for (int j = 0; j < i; j++)
            cr_assert_neq(digest[i], digest[j]);
    }
    free(list.loads);
    bench_close(&bench);
}

/* `most` steps of a span that goes on by itself, where that is what is tested; `lead` of them early. */
static void check_conditions(const uint64_t expected[LOADS], int most, int lead)
{
    /* A position of the model is 4 KiB; a problem at its widest holds some 250 positions. */
    static const struct {
        int concurrency, page, rows;
        size_t kv_bytes;
        bool prefix, suspends;
    } table[] = {
        { 7, 16, 512, 0, false, false },         { 24, 16, 512, 0, false, false },
        { 24, 64, 16, 0, false, false },         { 24, 32, 37, 0, false, false },
        { 7, 16, 512, 4 << 20, false, true },    { 24, 16, 512, 2 << 20, false, true },
        { 24, 16, 64, 1900 << 10, false, true }, { 24, 64, 64, 8 << 20, false, true },
        { 24, 16, 512, 0, true, false },         { 24, 32, 16, 2 << 20, true, true },
        { 1, 16, 512, 2 << 20, false, false },
    };
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        test_bench bench = bench_open((rm_engine_options){ .page_positions = table[t].page,
                                                           .max_batch_rows = table[t].rows,
                                                           .kv_bytes = table[t].kv_bytes });
        if (bench.engine->ahead) {
            bench.engine->ahead->most = most;
            bench.engine->ahead->lead = lead;
        }
        rm_run_options options = { .seed = 3 };
        rm_prefix *prefix = NULL;
        rm_error error = { "" };
        int32_t tokens[20];
        for (int i = 0; i < 20; i++)
            tokens[i] = 4 + i % 3;
        if (table[t].prefix) {
            cr_assert_eq(rm_prefix_open(bench.engine, bench.model, tokens, 20, &prefix, &error),
                         RM_OK, "%s", error.text);
            options.prefix = prefix;
        }
        workload_list list = workload_list_new(LOADS, bench.model, bench.other, options, 24, 20, 4);
        cr_assert_eq(rm_engine_run(bench.engine, table[t].concurrency, workload_next, workload_done,
                                   &list, NULL, &error),
                     RM_OK);
        cr_expect_eq(list.finished, LOADS);
        for (int i = 0; i < LOADS; i++) {
            cr_expect_eq(list.loads[i].job.status, RM_OK, "%s", list.loads[i].job.error.text);
            cr_expect_eq(list.loads[i].digest, expected[i], "condition %zu, problem %d", t, i);
        }
        rm_kv_stats kv = rm_engine_kv(bench.engine);
        cr_expect_eq(kv.suspensions > 0, table[t].suspends, "condition %zu: %llu suspensions", t,
                     (unsigned long long)kv.suspensions);
        cr_expect_leq(fake.most_rows, table[t].rows);
        rm_prefix_close(prefix);
        free(list.loads);
        bench_close(&bench);
    }
}

Test(scheduler, same_records_under_all_conditions)
{
    uint64_t expected[LOADS];
    reference(expected);
    check_conditions(expected, 0, 0);
}

Test(scheduler, same_records_where_spans_go_on_by_themselves)
{
    static const struct {
        int most, lead;
    } lengths[] = { { 1, 1 }, { 5, 2 }, { 32, 1 }, { 32, 9 } };
    uint64_t expected[LOADS];
    reference(expected);
    rm_ops ahead = fake_ahead_ops();
    on = &ahead;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        check_conditions(expected, lengths[i].most, lengths[i].lead);
    cr_expect_gt(fake_on.groups, 100);
    cr_expect_gt(fake_on.steps, 1000);
    cr_expect_gt(fake_on.left_early, 100, "nobody left early");
}

/* Several hundred problems in flight at once. */
Test(scheduler, hundreds_in_flight)
{
    enum { MANY = 400 };
    test_bench bench = bench_open((rm_engine_options){ .max_batch_rows = 256 });
    rm_error error;
    uint64_t digest[MANY];
    for (int concurrency = 1; concurrency <= MANY; concurrency += MANY - 1) {
        workload_list list = workload_list_new(MANY, bench.model, bench.other,
                                               (rm_run_options){ .seed = 9 }, 8, 6, 2);
        cr_assert_eq(rm_engine_run(bench.engine, concurrency, workload_next, workload_done, &list,
                                   NULL, &error),
                     RM_OK);
        cr_expect_eq(list.finished, MANY);
        for (int i = 0; i < MANY; i++) {
            if (concurrency == 1)
                digest[i] = list.loads[i].digest;
            cr_expect_eq(list.loads[i].digest, digest[i]);
            cr_expect(concurrency == 1 || list.loads[i].job.cost.load > 1.0);
        }
        free(list.loads);
    }
    rm_engine_times times = rm_engine_profile(bench.engine);
    cr_expect(times.forward_s > 0 && times.schedule_s > 0 && times.strategy_s > 0);
    cr_expect(times.rows > times.rounds && times.rounds > 0);
    bench_close(&bench);
}

/* ---- quotas -------------------------------------------------------------------------------- */

/* Asks for more than its quota, and notes what happened. */
typedef struct quota_job {
    workload load;
    rm_status first, second;
    char sentence[512];
    int length;
    uint64_t evaluated;
} quota_job;

static rm_status quota_work(rm_run *run, void *arg, rm_error *err)
{
    static const rm_sampling sampling = RM_SAMPLING_DEFAULT;
    static const int32_t none = -1;
    static const rm_stop stop = { .tokens = &none };
    quota_job *job = arg;
    int32_t prompt[40];
    rm_path *path, *fork;
    rm_error error;
    for (int i = 0; i < 40; i++)
        prompt[i] = 4 + i % 20;
    rm_status status = rm_path_new(run, job->load.model, prompt, 40, &path, err);
    if (!status)
        status = rm_path_fork(path, 0, &fork, err);
    if (status)
        return status;
    /* 2 * (40 + 11 - 1) = 100 positions fit a quota of 100; one token more does not. */
    rm_request requests[2] = {
        { .want = RM_WANT_SPAN,
          .path = path,
          .sampling = &sampling,
          .stop = &stop,
          .max_new_tokens = 12 },
        { .want = RM_WANT_SPAN,
          .path = fork,
          .sampling = &sampling,
          .stop = &stop,
          .max_new_tokens = 11 },
    };
    job->first = rm_eval(run, requests, 2, &error);
    memcpy(job->sentence, error.text, sizeof job->sentence);
    job->length = rm_path_length(path);
    job->evaluated = rm_run_cost(run).evaluated_tokens;
    requests[0].max_new_tokens = 11;
    job->second = rm_eval(run, requests, 2, &error);
    job->load.digest = digest_request(digest_request(1, &requests[0]), &requests[1]);
    return RM_OK;
}

/* The same requests without a quota: what a strategy would handle is the quota's alone. 101
 * positions are wanted. */
Test(scheduler, a_cache_too_small_for_one_problem_is_no_quota)
{
    static const struct {
        size_t quota, limit; /* positions */
        rm_status status;
        const char *sentence;
    } table[] = {
        { 0, 101, RM_OK, "" },
        { 0, 100, RM_E_MEMORY, "more than the 409600 of the whole engine" },
        { 100, 100, RM_E_LIMIT, "of the quota of 409600" },
    };
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        test_bench bench = bench_open((rm_engine_options){ .kv_bytes = table[t].limit * 4096 });
        quota_job job = { .load.model = bench.model };
        workload load = { .job = { .options = { .kv_quota_bytes = table[t].quota * 4096,
                                                .seed = 5 },
                                   .work = quota_work, .arg = &job } };
        workload_list list = { &load, 1, 0, 0 };
        rm_error error;
        cr_assert_eq(
            rm_engine_run(bench.engine, 1, workload_next, workload_done, &list, NULL, &error),
            RM_OK);
        cr_expect_eq(job.first, table[t].status, "row %zu: %d", t, (int)job.first);
        if (table[t].status) {
            cr_expect(strstr(job.sentence, table[t].sentence), "row %zu: %s", t, job.sentence);
            cr_expect_eq(job.length, 40, "a refused request changed the path");
        }
        bench_close(&bench);
    }
}

Test(scheduler, quota_is_the_run_s_own)
{
    uint64_t digest = 0;
    for (int page = 16; page <= 64; page *= 2)
        for (int n = 1; n <= 9; n += 8) {
            test_bench bench =
                bench_open((rm_engine_options){ .page_positions = page, .kv_bytes = 300 * 4096 });
            quota_job jobs[9] = { 0 };
            workload *loads = calloc((size_t)n, sizeof *loads);
            workload_list list = { loads, n, 0, 0 };
            rm_error error;
            for (int i = 0; i < n; i++) {
                jobs[i].load.model = bench.model;
                loads[i].job = (rm_job){ .options = { .kv_quota_bytes = 100 * 4096, .seed = 5 },
                                         .work = quota_work,
                                         .arg = &jobs[i] };
            }
            cr_assert_eq(
                rm_engine_run(bench.engine, 9, workload_next, workload_done, &list, NULL, &error),
                RM_OK);
            for (int i = 0; i < n; i++) {
                cr_expect_eq(jobs[i].first, RM_E_LIMIT);
                cr_expect_eq(jobs[i].length, 40, "a refused request changed the path");
                cr_expect_eq(jobs[i].evaluated, 0);
                cr_expect_str_eq(jobs[i].sentence,
                                 "the requests may need 413696 bytes of key/value cache beside the "
                                 "0 held; of the quota of 409600 bytes 409600 are left");
                cr_expect_eq(jobs[i].second, RM_OK);
                if (!digest)
                    digest = jobs[i].load.digest;
                cr_expect_eq(jobs[i].load.digest, digest);
            }
            free(loads);
            bench_close(&bench);
        }
}

/* Neither a lowered quota nor a result that depends on what the engine has: 101 positions are
 * wanted. */
Test(scheduler, the_engine_s_limit_is_no_quota)
{
    static const struct {
        size_t quota, limit; /* positions */
        rm_status opened, first;
        const char *sentence;
    } table[] = {
        { 0, 101, RM_OK, RM_OK, "" },
        { 0, 100, RM_OK, RM_E_MEMORY, "more than the 409600 of the whole engine" },
        { 100, 100, RM_OK, RM_E_LIMIT, "of the quota of 409600" },
        { 101, 100, RM_E_LIMIT, RM_OK,
          "a quota of 0.394531 MiB of keys and values exceeds the 0.390625 MiB of the whole "
          "engine" },
    };
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        test_bench bench = bench_open((rm_engine_options){ .kv_bytes = table[t].limit * 4096 });
        quota_job job = { .load.model = bench.model };
        workload load = { .job = { .options = { .kv_quota_bytes = table[t].quota * 4096,
                                                .seed = 5 },
                                   .work = quota_work, .arg = &job } };
        workload_list list = { &load, 1, 0, 0 };
        rm_error error;
        rm_run *run = NULL;
        cr_expect_eq(rm_run_open(bench.engine, &load.job.options, &run, &error), table[t].opened);
        rm_run_close(run);
        cr_assert_eq(
            rm_engine_run(bench.engine, 1, workload_next, workload_done, &list, NULL, &error),
            RM_OK);
        cr_expect_eq(load.job.status, table[t].opened, "row %zu", t);
        cr_expect_eq(job.first, table[t].first, "row %zu: %d", t, (int)job.first);
        const char *sentence = table[t].opened ? load.job.error.text : job.sentence;
        if (table[t].sentence[0])
            cr_expect(strstr(sentence, table[t].sentence), "row %zu: %s", t, sentence);
        bench_close(&bench);
    }
}

/* ---- failures, budgets, cancellation ------------------------------------------------------- */

typedef struct odd_job {
    rm_job job;
    rm_model *model;
    int kind; /* 0: fails by itself after one step; 1: bad request; 2: ordinary */
    rm_status seen;
    int generated;
    volatile bool *cancel;
} odd_job;

static rm_status odd_work(rm_run *run, void *arg, rm_error *err)
{
    static const rm_sampling sampling = RM_SAMPLING_DEFAULT;
    static const int32_t none = -1;
    static const rm_stop stop = { .tokens = &none };
    odd_job *odd = arg;
    const int32_t prompt[] = { 4, 5, 6 };
    rm_path *path;
    rm_status status = rm_path_new(run, odd->model, prompt, 3, &path, err);
    rm_request request = { .want = RM_WANT_SPAN,
                           .path = path,
                           .sampling = &sampling,
                           .stop = &stop,
                           .max_new_tokens = 5 };
    for (int i = 0; i < 4 && !status; i++) {
        if (i == 2 && odd->kind == 0)
            return rm_fail(err, RM_E_FORMAT, "this one does not like its text");
        if (i == 2 && odd->kind == 1)
            request.max_new_tokens = 0;
        if (i == 2 && odd->cancel)
            *odd->cancel = true;
        int before = rm_path_length(path);
        status = odd->seen = rm_eval(run, &request, 1, err);
        odd->generated += status ? 0 : request.result.n;
        if (status && rm_path_length(path) != before)
            odd->seen = RM_E_FORMAT; /* a failed request must leave the path alone */
    }
    return status;
}

typedef struct odd_list {
    odd_job *jobs;
    int n, given, finished;
} odd_list;

static rm_job *odd_next(void *arg)
{
    odd_list *list = arg;
    return list->given < list->n ? &list->jobs[list->given++].job : NULL;
}

static void odd_done(void *arg, rm_job *job)
{
    (void)job;
    ((odd_list *)arg)->finished++;
}

static odd_list odd_jobs(test_bench *bench, odd_job *jobs, int n)
{
    for (int i = 0; i < n; i++)
        jobs[i] = (odd_job){ .job = { .work = odd_work, .arg = &jobs[i], .options = { .seed = 1 } },
                             .model = bench->model,
                             .kind = 2 };
    return (odd_list){ jobs, n, 0, 0 };
}

Test(scheduler, a_failing_job_hurts_no_other)
{
    test_bench bench = bench_open((rm_engine_options){ 0 });
    odd_job jobs[6];
    odd_list list = odd_jobs(&bench, jobs, 6);
    rm_error error;
    jobs[1].kind = 0;
    jobs[3].kind = 1;
    cr_assert_eq(rm_engine_run(bench.engine, 6, odd_next, odd_done, &list, NULL, &error), RM_OK);
    cr_expect_eq(list.finished, 6);
    static const rm_status expected[] = { RM_OK, RM_E_FORMAT, RM_OK, RM_E_ARGUMENT, RM_OK, RM_OK };
    for (int i = 0; i < 6; i++) {
        cr_expect_eq(jobs[i].job.status, expected[i], "job %d: %s", i, jobs[i].job.error.text);
        cr_expect_eq(jobs[i].generated, expected[i] ? 10 : 20);
        cr_expect_eq(jobs[i].job.cost.generated_tokens, (uint64_t)jobs[i].generated);
    }
    bench_close(&bench);
}

Test(scheduler, cancellation_unwinds_every_job)
{
    test_bench bench = bench_open((rm_engine_options){ 0 });
    odd_job jobs[8];
    odd_list list = odd_jobs(&bench, jobs, 8);
    rm_error error;
    volatile bool cancel = false;
    jobs[2].cancel = &cancel;
    cr_assert_eq(rm_engine_run(bench.engine, 4, odd_next, odd_done, &list, &cancel, &error),
                 RM_E_CANCELLED);
    cr_expect_eq(list.given, 4, "no job is begun after the cancellation");
    cr_expect_eq(list.finished, 4);
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(jobs[i].job.status, RM_E_CANCELLED);
        cr_expect_eq(jobs[i].seen, RM_E_CANCELLED);
    }
    bench_close(&bench);
}

/* The second job was asked for and waited for room; it is handed back, not forgotten. */
Test(scheduler, cancellation_hands_back_the_waiting_job)
{
    test_bench bench = bench_open((rm_engine_options){ .kv_bytes = 100 * 4096 });
    odd_job jobs[8];
    odd_list list = odd_jobs(&bench, jobs, 8);
    rm_error error;
    volatile bool cancel = false;
    jobs[0].cancel = &cancel;
    for (int i = 0; i < 8; i++)
        jobs[i].job.options.kv_quota_bytes = 60 * 4096;
    cr_assert_eq(rm_engine_run(bench.engine, 4, odd_next, odd_done, &list, &cancel, &error),
                 RM_E_CANCELLED);
    cr_expect_eq(list.given, 2, "a second quota of 60 does not fit beside the first");
    cr_expect_eq(list.finished, 2);
    cr_expect_eq(jobs[1].job.status, RM_E_CANCELLED);
    cr_expect_eq(jobs[1].generated, 0);
    bench_close(&bench);
}

/* A quota that is a worst case keeps nobody waiting. */
Test(scheduler, an_overcommitted_job_is_admitted_while_there_is_room)
{
    for (int overcommit = 0; overcommit < 2; overcommit++) {
        test_bench bench = bench_open((rm_engine_options){ .kv_bytes = 100 * 4096 });
        odd_job jobs[4];
        odd_list list = odd_jobs(&bench, jobs, 4);
        rm_error error;
        double load = 0;
        for (int i = 0; i < 4; i++) {
            jobs[i].kind = 2;
            jobs[i].job.options.kv_quota_bytes = 60 * 4096;
            jobs[i].job.options.kv_overcommit = overcommit;
        }
        cr_assert_eq(rm_engine_run(bench.engine, 4, odd_next, odd_done, &list, NULL, &error),
                     RM_OK);
        for (int i = 0; i < 4; i++) {
            cr_expect_eq(jobs[i].job.status, RM_OK, "%s", jobs[i].job.error.text);
            load += jobs[i].job.cost.load;
        }
        cr_expect(overcommit ? load > 0.0 : load == 0.0, "others beside: %g", load);
        bench_close(&bench);
    }
}

Test(scheduler, a_device_failure_reaches_every_job)
{
    test_bench bench = bench_open((rm_engine_options){ 0 });
    odd_job jobs[3];
    odd_list list = odd_jobs(&bench, jobs, 3);
    rm_error error;
    fake.fail_flush = 9;
    cr_assert_eq(rm_engine_run(bench.engine, 3, odd_next, odd_done, &list, NULL, &error), RM_OK);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(jobs[i].job.status, RM_E_IO);
        cr_expect_eq(jobs[i].seen, RM_E_IO);
        cr_expect_str_eq(jobs[i].job.error.text, "the double fails as it was told to");
        cr_expect_eq(jobs[i].generated, 5);
    }
    bench_close(&bench);
}

Test(scheduler, token_budget_cuts_spans_and_then_refuses)
{
    test_bench bench = bench_open((rm_engine_options){ .max_batch_rows = 16 });
    static const rm_sampling sampling = RM_SAMPLING_DEFAULT;
    static const int32_t none = -1;
    static const rm_stop stop = { .tokens = &none };
    rm_run_options options = { .max_generated_tokens = 8 };
    rm_run *run;
    rm_error error;
    cr_assert_eq(rm_run_open(bench.engine, &options, &run, &error), RM_OK);
    const int32_t prompt[] = { 4, 5, 6 };
    rm_path *root, *fork[3];
    rm_request requests[3];
    cr_assert_eq(rm_path_new(run, bench.model, prompt, 3, &root, &error), RM_OK);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(rm_path_fork(root, i, &fork[i], &error), RM_OK);
        requests[i] = (rm_request){ .want = RM_WANT_SPAN,
                                    .path = fork[i],
                                    .sampling = &sampling,
                                    .stop = &stop,
                                    .max_new_tokens = i == 1 ? 2 : 50 };
    }
    cr_assert_eq(rm_eval(run, requests, 3, &error), RM_OK, "%s", error.text);
    /* Rounds of 3, 3 and 2 tokens: the third round has two spans left, the fourth none. */
    static const int n[] = { 3, 2, 3 };
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(requests[i].result.n, n[i]);
        cr_expect_eq(requests[i].result.reason, i == 1 ? RM_STOP_LENGTH : RM_STOP_BUDGET);
    }
    cr_expect_eq(rm_eval(run, requests, 1, &error), RM_E_BUDGET);
    cr_expect_str_eq(error.text, "all 8 tokens this problem may generate are spent");
    rm_request score = { .want = RM_WANT_SCORE, .path = root, .tokens = prompt, .n_tokens = 2 };
    cr_expect_eq(rm_eval(run, &score, 1, &error), RM_OK, "reading is not generating");
    rm_run_close(run);
    bench_close(&bench);
}

Test(scheduler, wall_clock_budget)
{
    test_bench bench = bench_open((rm_engine_options){ 0 });
    odd_job jobs[1];
    odd_list list = odd_jobs(&bench, jobs, 1);
    rm_error error;
    jobs[0].job.options.max_wall_ms = 1e-6;
    cr_assert_eq(rm_engine_run(bench.engine, 1, odd_next, odd_done, &list, NULL, &error), RM_OK);
    cr_expect_eq(jobs[0].job.status, RM_E_BUDGET);
    bench_close(&bench);
}

/* Runs outside the scheduler: the one at work takes the pages of the idle ones, and they come
 * back to the same bits. */
Test(scheduler, idle_runs_lend_their_pages)
{
    enum { RUNS = 5, STEPS = 6 };
    static const rm_sampling sampling = RM_SAMPLING_DEFAULT;
    static const int32_t none = -1;
    static const rm_stop stop = { .tokens = &none };
    int32_t drawn[2][RUNS][STEPS][2][9];
    for (int tight = 0; tight < 2; tight++) {
        test_bench bench = bench_open((rm_engine_options){ .kv_bytes = tight ? 170 * 4096 : 0 });
        rm_run *run[RUNS];
        rm_path *path[RUNS][2];
        rm_error error = { "" };
        for (int i = 0; i < RUNS; i++) {
            const int32_t prompt[] = { 4, 5, 6, (int32_t)(7 + i) };
            rm_request look = { .want = RM_WANT_NOTHING };
            cr_assert_eq(rm_run_open(bench.engine, NULL, &run[i], &error), RM_OK);
            cr_assert_eq(rm_path_new(run[i], bench.model, prompt, 4, &look.path, &error), RM_OK);
            cr_assert_eq(rm_eval(run[i], &look, 1, &error), RM_OK, "%s", error.text);
            for (uint32_t k = 0; k < 2; k++)
                cr_assert_eq(rm_path_fork(look.path, k, &path[i][k], &error), RM_OK);
        }
        for (int step = 0; step < STEPS; step++)
            for (int i = 0; i < RUNS; i++) {
                rm_request r[2];
                for (int k = 0; k < 2; k++)
                    r[k] = (rm_request){ .want = RM_WANT_SPAN,
                                         .path = path[i][k],
                                         .sampling = &sampling,
                                         .stop = &stop,
                                         .max_new_tokens = 9 };
                cr_assert_eq(rm_eval(run[i], r, 2, &error), RM_OK, "%s", error.text);
                for (int k = 0; k < 2; k++)
                    memcpy(drawn[tight][i][step][k], r[k].result.tokens, 9 * sizeof(int32_t));
            }
        rm_kv_stats kv = rm_engine_kv(bench.engine);
        cr_expect_eq(kv.suspensions > 0, tight);
        /* Beyond the limit: the rounding of one run's three paths to pages, and their tips. */
        cr_expect(!tight || kv.bytes_peak <= (170 + 3 * 2 * 16) * 4096, "%zu bytes", kv.bytes_peak);
        for (int i = 0; i < RUNS; i++)
            rm_run_close(run[i]);
        bench_close(&bench);
    }
    cr_expect(!memcmp(drawn[0], drawn[1], sizeof drawn[0]));
}
