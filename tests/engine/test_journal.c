/* test_journal.c - problems that are interrupted in the middle of their spans and taken up from what was
 * kept: the same results and the same account, whenever it happened, on any pool of pages. */
#include "engine/scheduler.h"

#include "tests/engine/fake.h"
#include "tests/engine/workload.h"

#include <criterion/criterion.h>
#include <unistd.h>

#define MODEL RM_MODELS_DIR "/thimble-s.gguf"

/* Samples of one prompt, some that share a tip, one of two models together, then more from one of
 * them; at last something that is not recorded, and a span after it. */
static rm_status journal_work(rm_run *run, void *arg, rm_error *err)
{
    workload *load = arg;
    static const char *const strings[] = { "=1" }, *const steps[] = { ";" };
    static const rm_stop stop = { .strings = strings, .n_strings = 1, .steps = steps, .n_steps = 1 };
    static const rm_sampling samplings[] = { { true, 1.0, 0, 1.0, 0.0, 1.0, 1.0 },
                                             { false, 1.0, 0, 1.0, 0.0, 1.0, 1.0 },
                                             { true, 1.3, 0, 0.8, 0.0, 1.0, 1.2 } };
    enum { N = 6 };
    rm_request r[N] = { { 0 } };
    rm_path *root, *other;
    int32_t prompt[40];
    load->digest = load->job.options.problem;
    for (int i = 0; i < load->n_prompt; i++)
        prompt[i] = (int32_t)(rm_mix(load->digest, (uint64_t)i) % 28 + 4);
    rm_status status = rm_path_new(run, load->model, prompt, load->n_prompt, &root, err);
    if (!status)
        status = rm_path_new(run, load->other, prompt, load->n_prompt, &other, err);
    for (int turn = 0; turn < load->rounds && !status; turn++) {
        rm_request look = { .want = RM_WANT_NOTHING, .path = root };
        rm_member members[2] = { { NULL, 0.25 }, { NULL, 0.75 } };
        status = rm_eval(run, &look, 1, err);
        for (uint32_t i = 0; i < N && !status; i++) {
            r[i] = (rm_request){ .want = RM_WANT_SPAN, .sampling = &samplings[i % 3],
                                 .stop = i % 2 ? &stop : NULL, .max_new_tokens = load->max_new - (int)i };
            status = rm_path_fork(root, i, i < N - 1 ? &r[i].path : &members[0].path, err);
        }
        if (!status)
            status = rm_path_fork(other, (uint32_t)turn, &members[1].path, err);
        r[N - 1].members = members;
        r[N - 1].n_members = 2;
        if (!status)
            status = rm_eval(run, r, N, err);
        if (status)
            return status;
        for (int i = 0; i < N; i++)
            load->digest = digest_request(load->digest, &r[i]);
        rm_path_drop(root);
        root = r[load->digest % (N - 1)].path;
        for (int i = 0; i < N - 1; i++)
            if (r[i].path != root)
                rm_path_drop(r[i].path);
        rm_path_drop(members[0].path);
        rm_path_drop(members[1].path);
        if (turn == load->rounds - 2) {
            rm_request top = { .want = RM_WANT_TOP, .path = root, .k = 5 };
            status = rm_eval(run, &top, 1, err);
            load->digest = digest_request(load->digest, &top);
        }
    }
    rm_cost cost = rm_run_cost(run);
    load->digest = digest_cost(load->digest, &cost);
    return status;
}

/* Keeps the journal of the only run in flight, all of it after each look, and ends after `looks`. */
typedef struct keeper {
    rm_engine *engine;
    rm_text kept;
    int looks, most;
    bool cancel;
    rm_run_flight flight;    /* at the last look */
} keeper;

static void look(void *arg)
{
    keeper *k = arg;
    rm_run *run = k->engine->first_run;
    rm_error err;
    if (!run || k->cancel)
        return;
    cr_assert_eq(rm_run_journal(run, !k->kept.length, &k->kept, &err), RM_OK, "%s", err.text);
    k->flight = rm_run_in_flight(run);
    k->cancel = ++k->looks == k->most;
}

/* Runs the job until `most` looks (0: to its end); the digest, or 0 if it was ended. */
static uint64_t run_once(rm_engine_options options, const rm_text *journal, int most, rm_text *kept,
                         keeper *k)
{
    rm_error error = { "" };
    rm_model *model, *other;
    *k = (keeper){ .most = most };
    options.n_threads = 1;
    cr_assert_eq(rm_engine_open_on(&fake_ops, &options, &k->engine, &error), RM_OK);
    cr_assert_eq(rm_model_open(k->engine, MODEL, NULL, &model, &error), RM_OK);
    cr_assert_eq(rm_model_open(k->engine, MODEL, NULL, &other, &error), RM_OK);
    rm_run_options run_options = { .seed = 3, .keep_journal = true,
                                   .journal = journal ? journal->data : NULL,
                                   .n_journal = journal ? journal->length : 0 };
    workload_list list = workload_list_new(1, model, other, run_options, 21, 24, 4);
    workload *load = list.loads;
    load->job.work = journal_work;
    rm_engine_watch(k->engine, 0, look, k);
    rm_status status = rm_engine_run(k->engine, 1, workload_next, workload_done, &list, &k->cancel,
                                     &error);
    cr_assert_eq(status, k->cancel ? RM_E_CANCELLED : RM_OK, "%s", error.text);
    cr_assert_eq(load->job.status, k->cancel ? RM_E_CANCELLED : RM_OK, "%s", load->job.error.text);
    uint64_t digest = k->cancel ? 0 : load->digest;
    free(list.loads);
    cr_expect_eq(k->engine->budget.used_bytes, 0, "pages or tips are left over");
    cr_expect_eq(fake.cells_missing, 0, "attention read positions nobody stored");
    rm_model_close(model);
    rm_model_close(other);
    rm_engine_close(k->engine);
    rm_text_free(kept);
    *kept = k->kept;
    return digest;
}

Test(journal, taken_up_anywhere)
{
    static const rm_engine_options engines[] = { { 0 }, { .max_batch_rows = 16 }, { .page_positions = 64 } };
    rm_text kept = { 0 }, again = { 0 };
    keeper k;
    uint64_t expected = run_once(engines[0], NULL, 0, &kept, &k);
    int looks = k.looks;
    cr_assert_gt(looks, 60);
    uint64_t longest = 0;
    for (int at = 1; at < looks; at += 3) {
        cr_assert_eq(run_once(engines[at % 3], NULL, at, &kept, &k), 0);
        rm_run_flight before = k.flight;
        /* once more interrupted, right after it was taken up, and then to the end */
        run_once(engines[(at + 1) % 3], &kept, 3, &again, &k);
        cr_expect_leq(k.flight.replayed, before.tokens);
        longest = k.flight.replayed > longest ? k.flight.replayed : longest;
        rm_text *from = k.cancel ? &again : &kept;
        cr_expect_eq(run_once(engines[at % 2], from, 0, &kept, &k), expected, "look %d", at);
    }
    cr_expect_gt(longest, 100, "little was taken up: %llu tokens", (unsigned long long)longest);
    rm_text_free(&kept);
    rm_text_free(&again);
}

/* Evaluating again takes many rows at once: far fewer passes than drawing did. */
Test(journal, what_it_saves)
{
    rm_text kept = { 0 };
    keeper k;
    run_once((rm_engine_options){ 0 }, NULL, 50, &kept, &k);
    cr_expect_neq(run_once((rm_engine_options){ 0 }, &kept, 2, &kept, &k), 1);
    cr_expect_gt(k.flight.replayed, 100, "%llu", (unsigned long long)k.flight.replayed);
    rm_text_free(&kept);
}

/* A journal that was cut off anywhere, damaged anywhere, or is another problem's changes no result. */
Test(journal, damage)
{
    rm_text kept = { 0 }, copy = { 0 }, out = { 0 };
    keeper k;
    uint64_t expected = run_once((rm_engine_options){ 0 }, NULL, 0, &out, &k);
    run_once((rm_engine_options){ 0 }, NULL, 40, &kept, &k);
    for (size_t i = 0; i < 24; i++) {
        size_t n = kept.length, at = (size_t)(rm_mix(5, i) % n);
        rm_text_free(&copy);
        rm_text_add(&copy, kept.data, i % 2 ? n : at);
        if (i % 2)
            copy.data[at] = (char)(copy.data[at] ^ (1 << i % 8));
        cr_expect_eq(run_once((rm_engine_options){ 0 }, &copy, 0, &out, &k), expected, "case %zu", i);
    }
    rm_text_free(&kept);
    rm_text_free(&copy);
    rm_text_free(&out);
}
