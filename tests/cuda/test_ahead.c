/* test_ahead.c - spans on the device in software, with and without the host between two tokens.
 *
 * The same problems go through the same engine with spans of several lengths and with none. Everything
 * that may be seen has to be equal: tokens, log-probabilities, why a span ended, what was counted,
 * what failed and how, journals, suspensions, pages. The device in software carries everything out as
 * late as it may (runtime.c), so what the host takes too early is not there. */
#include "engine/ahead.h"
#include "tests/cuda/engine.h"

enum { N = 3 };

/* A condition, and what of it is to happen. */
typedef struct scene {
    const char *name;
    int rows, page, concurrency, window;
    size_t kv_bytes, quota;
    uint64_t budget;
    int cancel_at;     /* the pass after which all is cancelled; 0: none */
    bool journal, fails, suspends;
} scene;

static const scene scenes[] = {
    { "one problem at a time", .rows = 64, .page = 16, .concurrency = 1 },
    { "problems side by side", .rows = 64, .page = 16, .concurrency = 2 },
    { "batches too small for all", .rows = 16, .page = 32, .concurrency = N },
    { "a pool too small", .rows = 64, .page = 16, .concurrency = N, .kv_bytes = 20 << 10,
      .suspends = true },
    { "quotas too small", .rows = 64, .page = 16, .concurrency = 2, .quota = 70 * 128, .fails = true },
    { "a budget of tokens", .rows = 64, .page = 16, .concurrency = 2, .budget = 40, .fails = true },
    { "a sliding window", .rows = 64, .page = 16, .concurrency = 2, .window = 20 },
    { "journals, cancelled", .rows = 64, .page = 16, .concurrency = N, .journal = true,
      .cancel_at = 12, .fails = true },
};

/* Spans of this many steps, of which so many begin before they are asked for. */
static const struct {
    int most, lead;
} lengths[] = { { 3, 1 }, { 32, 2 } };

typedef struct job {
    rm_job job;
    rm_model *model, *other;
    rm_text *journal;
    int n_prompt;
    uint64_t digest;
} job;

typedef struct crew {
    const scene *scene;
    rm_engine *engine;
    job jobs[N];
    int given, passes;
    volatile bool cancel;
} crew;

/* Paths of one prompt that end at different steps, for different reasons; then what a strategy does
 * with them: forks of one that ended early, and two models together. */
static rm_status draw_paths(rm_run *run, job *j, rm_path *root, rm_error *err)
{
    enum { PATHS = 7 };
    static const char *const strings[] = { "e", "qu" };
    static const char *const steps[] = { "t" };
    static const rm_stop by_string = { .strings = strings, .n_strings = 2 },
                         by_step = { .strings = strings + 1, .n_strings = 1, .steps = steps,
                                     .n_steps = 1 };
    static const int32_t some[] = { 9, 30, 31, 77, 78, 79, 80, 120, 121, 200, 201, 202, 203 };
    static const rm_stop by_token = { .tokens = some, .n_tokens = sizeof some / sizeof *some };
    static const rm_stop *const stops[PATHS] = { NULL, &by_string, &by_step, NULL, &by_token, NULL,
                                                 &by_token };
    static const rm_sampling samplings[] = {
        { true, 1.0, 0, 1.0, 0.0, 1.0, 1.0 }, { true, 0.8, 0, 0.9, 0.0, 1.0, 1.3 },
        { false, 1.0, 0, 1.0, 0.0, 1.0, 1.0 }, { true, 1.5, 20, 1.0, 0.05, 1.0, 1.0 },
    };
    rm_request requests[PATHS] = { 0 };
    rm_path *child[PATHS + 2];
    rm_request look = { .want = RM_WANT_NOTHING, .path = root };
    rm_status status = rm_eval(run, &look, 1, err);
    for (uint32_t i = 0; i < PATHS && !status; i++)
        status = rm_path_fork(root, i, &child[i], err);
    if (status)
        return status;
    for (int i = 0; i < PATHS; i++)
        requests[i] = (rm_request){ .want = RM_WANT_SPAN, .path = child[i], .stop = stops[i],
                                    .sampling = &samplings[i % 4], .max_new_tokens = 15 - 2 * i };
    status = rm_eval(run, requests, PATHS, err);
    j->digest = rm_mix(j->digest, (uint64_t)status);
    for (int i = 0; i < PATHS && !status; i++)
        j->digest = digest_request(j->digest, &requests[i]);
    if (status)
        return status;
    for (int i = 1; i < PATHS; i++) /* their pages are somebody else's from here on */
        rm_path_drop(child[i]);
    rm_path *second;
    status = rm_path_fork(child[0], 8, &child[PATHS], err);
    if (!status)
        status = rm_path_new(run, j->other, rm_path_tokens(root), rm_path_length(root), &second, err);
    if (status)
        return status;
    rm_member members[] = { { child[PATHS], 0.5 }, { second, 0.5 } };
    rm_request more[] = {
        { .want = RM_WANT_SPAN, .path = child[0], .sampling = &samplings[1], .max_new_tokens = 9 },
        { .want = RM_WANT_SPAN, .members = members, .n_members = 2, .combine = RM_COMBINE_MIXTURE,
          .sampling = &samplings[0], .max_new_tokens = 7 },
    };
    status = rm_eval(run, more, 2, err);
    j->digest = rm_mix(j->digest, (uint64_t)status);
    for (int i = 0; i < 2 && !status; i++)
        j->digest = digest_request(j->digest, &more[i]);
    return status;
}

static rm_status work(rm_run *run, void *arg, rm_error *err)
{
    job *j = arg;
    int32_t prompt[96];
    int n = j->n_prompt;
    rm_path *path;
    for (int i = 0; i < n; i++)
        prompt[i] = (int32_t)(rm_mix(j->job.options.problem, (uint64_t)i) % 200 + 4);
    rm_status status = rm_path_new(run, j->model, prompt, n, &path, err);
    if (!status)
        status = draw_paths(run, j, path, err);
    rm_error journal = { "" };
    if (j->journal && rm_run_journal(run, true, j->journal, &journal) == RM_OK)
        j->digest = rm_mix(j->digest, j->journal->length > 0);
    rm_cost cost = rm_run_cost(run);
    j->digest = digest_cost(j->digest, &cost);
    return status;
}

static rm_job *next_job(void *arg)
{
    crew *c = arg;
    return c->given < N ? &c->jobs[c->given++].job : NULL;
}

static void job_done(void *arg, rm_job *finished)
{
    (void)arg;
    job *j = finished->arg;
    j->digest = rm_mix(j->digest, (uint64_t)finished->status);
    j->digest = rm_mix(j->digest, rm_hash_bytes(finished->error.text, strlen(finished->error.text)));
}

static void watch(void *arg)
{
    crew *c = arg;
    if (c->scene->cancel_at && ++c->passes == c->scene->cancel_at)
        c->cancel = true;
}

/* The file's model as if it had been trained with a sliding window. */
static rm_model *windowed(rm_engine *engine, const char *file, int window)
{
    rm_error err = { "" };
    rm_weights *weights;
    rm_model *model;
    rm_model_options options = { .compute = "f32" };
    must(rm_weights_open(engine->ops, engine->backend, file, &options, &weights, &err), &err);
    weights->info.window = window;
    must(rm_model_adopt(engine, weights, &model, &err), &err);
    return model;
}

/* What there is to see of a scene: each problem's digest, then the engine's own counts. */
enum { SEEN = N + 4 };

static uint64_t see(const scene *s, const char *file, const char *other, int most, int lead,
                    uint64_t seen[SEEN])
{
    rm_error err = { "" };
    crew c = { .scene = s };
    c.engine = engine_on(&rm_cuda_ops, (rm_engine_options){ .max_batch_rows = s->rows,
                                                            .page_positions = s->page,
                                                            .kv_bytes = s->kv_bytes });
    c.engine->ahead->most = most;
    c.engine->ahead->lead = lead;
    rm_model *model = windowed(c.engine, file, s->window),
             *second = windowed(c.engine, other, s->window);
    for (int i = 0; i < N; i++) {
        job *j = &c.jobs[i];
        *j = (job){ .model = model, .other = second, .digest = (uint64_t)i,
                    .n_prompt = 11 + 4 * i + (s->window ? RM_CHUNK : 0) };
        j->job = (rm_job){ .work = work, .arg = j,
                           .options = { .seed = 4, .problem = rm_mix(3, (uint64_t)i),
                                        .kv_quota_bytes = s->quota, .kv_overcommit = true,
                                        .max_generated_tokens = s->budget,
                                        .keep_journal = s->journal } };
        if (s->journal)
            j->journal = calloc(1, sizeof *j->journal);
    }
    rm_engine_watch(c.engine, 0.0, watch, &c);
    rm_status status = rm_engine_run(c.engine, s->concurrency, next_job, job_done, &c, &c.cancel,
                                     &err);
    cr_expect_eq(status, s->cancel_at ? RM_E_CANCELLED : RM_OK, "%s: %s", s->name, err.text);
    int failed = 0;
    for (int i = 0; i < N; i++) {
        seen[i] = c.jobs[i].digest;
        failed += c.jobs[i].job.status != RM_OK;
        if (c.jobs[i].journal) {
            rm_text_free(c.jobs[i].journal);
            free(c.jobs[i].journal);
        }
    }
    cr_expect_eq(failed > 0, s->fails, "%s: %d failed", s->name, failed);
    cr_expect_eq(c.engine->suspensions > 0, s->suspends, "%s: %d suspensions", s->name,
                 (int)c.engine->suspensions);
    cr_expect_eq(c.engine->budget.lent_bytes, 0, "%s: pages are lent still", s->name);
    seen[N] = c.engine->suspensions;
    seen[N + 1] = c.engine->recomputed_positions;
    seen[N + 2] = c.engine->budget.peak_bytes;
    seen[N + 3] = c.engine->times.rounds;
    uint64_t taken = c.engine->ahead->taken;
    rm_model_close(model);
    rm_model_close(second);
    rm_engine_close(c.engine);
    cr_expect_eq(runtime.used, 0, "%s: device memory is left over", s->name);
    return taken;
}

static void tiny_model(char file[64], uint64_t seed)
{
    rm_error err = { "" };
    rm_random_model shape = { .n_layers = 1, .n_embd = 32, .n_heads = 2, .n_kv_heads = 1,
                              .head_dim = 16, .n_ff = 32, .n_vocab = 264, .n_ctx = 128,
                              .weight_type = "f32", .seed = seed };
    snprintf(file, 64, "/tmp/ramify-ahead-XXXXXX");
    int handle = mkstemp(file);
    cr_assert(handle >= 0);
    close(handle);
    must(rm_model_write_random(&shape, file, &err), &err);
}

static void play(int i)
{
    const scene *s = &scenes[i];
    char file[64], other[64];
    uint64_t expected[SEEN], got[SEEN];
    tiny_model(file, 1);
    tiny_model(other, 2);
    cr_expect_eq(see(s, file, other, 0, 1, expected), 0);
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        uint64_t taken = see(s, file, other, lengths[l].most, lengths[l].lead, got);
        cr_expect_gt(taken, 0, "%s: nothing was drawn ahead", s->name);
        for (int k = 0; k < SEEN; k++)
            cr_expect_eq(got[k], expected[k], "%s, %d steps, %d ahead: %s %d differs", s->name,
                         lengths[l].most, lengths[l].lead, k < N ? "problem" : "count", k);
    }
    unlink(file);
    unlink(other);
}

#define SCENE(i, name) Test(cuda_ahead, name) { play(i); }
SCENE(0, one_problem_at_a_time)
SCENE(1, problems_side_by_side)
SCENE(2, batches_too_small_for_all)
SCENE(3, a_pool_too_small)
SCENE(4, quotas_too_small)
SCENE(5, a_budget_of_tokens)
SCENE(6, a_sliding_window)
SCENE(7, journals_and_a_cancellation)
