/* test_replay.c - one model decides, another pays: what is drawn stays the same, the body goes through
 * the very same rows, and the account is the body's. */
#include "engine/core.h"

#include "tests/engine/workload.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char thimble[] = RM_MODELS_DIR "/thimble.gguf", small[] = RM_MODELS_DIR "/thimble-s.gguf";

typedef struct replayed {
    rm_engine *engine;
    rm_model *model;
} replayed;

static replayed open_on(const char *file, const char *on, rm_engine_options options)
{
    replayed r;
    rm_error error = { "" };
    rm_model_options as = { .replay_on = on };
    cr_assert_eq(rm_engine_open(&options, &r.engine, &error), RM_OK, "%s", error.text);
    cr_assert_eq(rm_model_open(r.engine, file, &as, &r.model, &error), RM_OK, "%s", error.text);
    return r;
}

static void close_replayed(replayed *r)
{
    rm_model_close(r->model);
    rm_engine_close(r->engine);
}

/* Greedy from a prompt of 3, then two forks of 5 tokens each. */
static rm_cost draw(replayed *r, int32_t tokens[15])
{
    static const rm_sampling greedy = { false, 1, 0, 1, 0, 1, 1 }, plain = RM_SAMPLING_DEFAULT;
    static const int32_t no_token = -1, prompt[] = { 5, 9, 12 };
    static const rm_stop never = { .tokens = &no_token };
    rm_run *run;
    rm_path *root, *fork[2];
    rm_error error = { "" };
    rm_run_options options = { .seed = 3 };
    cr_assert_eq(rm_run_open(r->engine, &options, &run, &error), RM_OK, "%s", error.text);
    cr_assert_eq(rm_path_new(run, r->model, prompt, 3, &root, &error), RM_OK, "%s", error.text);
    rm_request first = { .want = RM_WANT_SPAN, .path = root, .sampling = &greedy, .stop = &never,
                         .max_new_tokens = 5 };
    cr_assert_eq(rm_eval(run, &first, 1, &error), RM_OK, "%s", error.text);
    memcpy(tokens, first.result.tokens, 5 * sizeof *tokens);
    rm_request both[2];
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(rm_path_fork(root, i, &fork[i], &error), RM_OK, "%s", error.text);
        both[i] = (rm_request){ .want = RM_WANT_SPAN, .path = fork[i], .sampling = &plain,
                                .stop = &never, .max_new_tokens = 5 };
    }
    cr_assert_eq(rm_eval(run, both, 2, &error), RM_OK, "%s", error.text);
    for (int i = 0; i < 2; i++)
        memcpy(tokens + 5 + 5 * i, both[i].result.tokens, 5 * sizeof *tokens);
    rm_cost cost = rm_run_cost(run);
    rm_run_close(run);
    return cost;
}

/* 3 + 4 rows before the forks, whose pending token each evaluates for itself: 3 + 4 + 2 * 5 rows; 15
 * distributions; a row at position p looks at p + 1 positions: 1 + ... + 7, twice 8 + ... + 12. */
Test(replay, tokens_are_the_first_model_s_and_the_account_the_body_s)
{
    int32_t alone[15], on_small[15];
    replayed r = open_on(thimble, NULL, (rm_engine_options){ .n_threads = 2 });
    rm_cost own = draw(&r, alone);
    cr_expect_null(rm_model_replayed_on(r.model));
    close_replayed(&r);
    r = open_on(thimble, small, (rm_engine_options){ .n_threads = 2 });
    rm_cost cost = draw(&r, on_small);
    const rm_model_info *body = rm_model_replayed_on(r.model);
    cr_expect_arr_eq(alone, on_small, sizeof alone);
    double flops = 17 * body->flops_per_token + 15 * body->flops_output +
                   (28 + 2 * 50) * body->flops_per_position;
    cr_expect_float_eq(cost.flops, flops, 1e-9 * flops);
    cr_expect(cost.flops < own.flops);
    cr_expect_eq(cost.evaluated_tokens, own.evaluated_tokens);
    cr_expect_eq(cost.kv_peak_positions, own.kv_peak_positions);
    cr_expect(isfinite(cost.wall_ms) && cost.wall_ms > 0);
    close_replayed(&r);
}

static bool same_logits(const rm_model *model)
{
    const rm_ops *ops = model->engine->ops;
    rm_backend *backend = model->engine->backend;
    int V = model->weights->info.n_vocab, n = model->outputs.n;
    bool same = n == model->body->outputs.n;
    for (int row = 0; row < n && same; row++) {
        double lp[2][64];
        rm_pick picks[2];
        for (int i = 0; i < 2; i++) {
            picks[i] = (rm_pick){ .want = RM_WANT_ALL, .n_members = 1, .n_vocab = V,
                                  .out_lp = lp[i] };
            picks[i].member[0].logits = i ? model->body->logits : model->logits;
            picks[i].member[0].row = row;
            picks[i].member[0].weight = 1;
        }
        ops->pick(backend, picks, 2);
        same = !ops->flush(backend, NULL) && !memcmp(lp[0], lp[1], (size_t)V * sizeof(double));
    }
    return same;
}

/* Replayed on itself, a model's body must have its very logits, after forks within a page (which copy
 * it), batches that split the prompt, and recomputation in a pool that is too small. */
Test(replay, the_body_goes_through_the_same_rows)
{
    static const struct {
        int rows, concurrency;
        size_t kv_bytes;
    } table[] = { { 512, 1, 0 }, { 16, 1, 0 }, { 16, 64, 6 << 20 } };
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        rm_engine_options options = { .n_threads = 2, .max_batch_rows = table[t].rows,
                                      .kv_bytes = table[t].kv_bytes };
        replayed r = open_on(small, small, options);
        rm_run_options run = { .seed = 11 };
        rm_error error = { "" };
        workload_list list = workload_list_new(12, r.model, r.model, run, 34, 12, 2);
        cr_assert_eq(rm_engine_run(r.engine, table[t].concurrency, workload_next, workload_done,
                                   &list, NULL, &error), RM_OK, "%s", error.text);
        for (int i = 0; i < 12; i++)
            cr_expect_eq(list.loads[i].job.status, RM_OK, "%s", list.loads[i].job.error.text);
        cr_expect(r.model->outputs.n > 0);
        uint64_t suspensions = rm_engine_kv(r.engine).suspensions;
        cr_expect_eq(suspensions > 0, table[t].kv_bytes > 0, "condition %zu: %llu suspensions", t,
                     (unsigned long long)suspensions);
        cr_expect(same_logits(r.model), "condition %zu", t);
        cr_expect_eq(rm_engine_kv(r.engine).bytes_in_use, 0);
        free(list.loads);
        close_replayed(&r);
    }
}

Test(replay, a_body_with_a_shorter_context_is_refused)
{
    rm_engine *engine;
    rm_model *model;
    rm_error error = { "" };
    rm_random_model shape = { .n_layers = 1, .n_embd = 32, .n_heads = 1, .n_kv_heads = 1, .n_ff = 32,
                              .n_vocab = 512, .n_ctx = 64, .weight_type = "f32",
                              .seed = 1 };
    char file[] = "/tmp/ramify-replay-XXXXXX";
    int fd = mkstemp(file);
    cr_assert(fd >= 0);
    cr_assert_eq(rm_model_write_random(&shape, file, &error), RM_OK, "%s", error.text);
    rm_model_options as = { .replay_on = file };
    cr_assert_eq(rm_engine_open(NULL, &engine, &error), RM_OK, "%s", error.text);
    cr_expect_eq(rm_model_open(engine, small, &as, &model, &error), RM_E_ARGUMENT);
    cr_expect_not_null(strstr(error.text, "context of 64"), "%s", error.text);
    rm_engine_close(engine);
    remove(file);
}
