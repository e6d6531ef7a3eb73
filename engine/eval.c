/* eval.c - rm_eval: checking requests, their rounds, their results.
 *
 * An rm_eval is checked as a whole before anything changes. Then its requests advance in rounds:
 * in each, every unfinished one evaluates its pending tokens and gets what it wants of one place
 * (of every token to score); a span that goes on appends the token drawn, which is the next
 * round's pending one. The last token of a span is never evaluated unless someone asks on.
 *
 * The quota is checked here and once, for the most the requests could hold at their end; it
 * counts positions of the run's own tree, so the answer depends on nothing else. */
#include "engine/account.h"
#include "engine/ahead.h"
#include "engine/journal.h"
#include "engine/num.h"
#include "engine/run.h"
#include "engine/scheduler.h"
#include "engine/served.h"

#include <assert.h>
#include <string.h>

/* ---- checks -------------------------------------------------------------------------------- */

rm_status rm_sampling_check(const rm_sampling *s, rm_error *err)
{
    const char *what = NULL, *range = NULL;
    double value = 0.0;
    if (!(s->temperature > 0.0 && s->temperature < 1e30))
        what = "temperature", value = s->temperature, range = "greater than 0 and below 1e30";
    else if (s->top_k < 0)
        what = "top_k", value = s->top_k, range = "0 (off) or more";
    else if (!(s->top_p > 0.0 && s->top_p <= 1.0))
        what = "top_p", value = s->top_p, range = "greater than 0 and at most 1";
    else if (!(s->min_p >= 0.0 && s->min_p <= 1.0))
        what = "min_p", value = s->min_p, range = "from 0 to 1";
    else if (!(s->typical_p > 0.0 && s->typical_p <= 1.0))
        what = "typical_p", value = s->typical_p, range = "greater than 0 and at most 1";
    else if (!(s->repetition_penalty > 0.0 && s->repetition_penalty < 1e30))
        what = "repetition_penalty", value = s->repetition_penalty,
        range = "greater than 0 and below 1e30";
    if (what)
        return rm_fail(err, RM_E_ARGUMENT, "%s is %g; it must be %s", what, value, range);
    return RM_OK;
}

static rm_status check_strings(const char *const *strings, int n, const char *kind, rm_error *err)
{
    if (n < 0)
        return rm_fail(err, RM_E_ARGUMENT, "%d %s strings", n, kind);
    for (int i = 0; i < n; i++)
        if (!strings || !strings[i] || !strings[i][0])
            return rm_fail(err, RM_E_ARGUMENT, "%s string %d is empty", kind, i);
    return RM_OK;
}

static rm_status check_given_tokens(const rm_request *request, int n_vocab, int i, rm_error *err)
{
    if (request->n_tokens < 1 || !request->tokens)
        return rm_fail(err, RM_E_ARGUMENT, "request %d gives no tokens", i);
    for (int t = 0; t < request->n_tokens; t++)
        if (request->tokens[t] < 0 || request->tokens[t] >= n_vocab)
            return rm_fail(err, RM_E_ARGUMENT,
                           "token %d of request %d is %d, but the vocabulary is 0 to %d", t, i,
                           (int)request->tokens[t], n_vocab - 1);
    return RM_OK;
}

/* The parts of a request that its want uses. */
static rm_status check_want(const rm_request *request, int n_vocab, int i, rm_error *err)
{
    rm_status status = RM_OK;
    const rm_stop *stop = request->stop;
    if (request->sampling && (status = rm_sampling_check(request->sampling, err)) != RM_OK)
        return rm_fail_within(err, status, "request %d", i);
    switch (request->want) {
    case RM_WANT_NOTHING:
    case RM_WANT_ALL:
        return RM_OK;
    case RM_WANT_SPAN:
        if (!request->sampling)
            return rm_fail(err, RM_E_ARGUMENT, "request %d wants a span without sampling", i);
        if (request->max_new_tokens < 1)
            return rm_fail(err, RM_E_ARGUMENT,
                           "request %d: max_new_tokens is %d; it must be at least 1", i,
                           request->max_new_tokens);
        if (stop && (stop->n_tokens < 0 || (stop->n_tokens && !stop->tokens)))
            return rm_fail(err, RM_E_ARGUMENT, "request %d has %d stop tokens and no list of them",
                           i, stop->n_tokens);
        if (stop)
            status = check_strings(stop->strings, stop->n_strings, "stop", err);
        if (stop && !status)
            status = check_strings(stop->steps, stop->n_steps, "step", err);
        return status ? rm_fail_within(err, status, "request %d", i) : RM_OK;
    case RM_WANT_TOP:
        if (request->k < 1)
            return rm_fail(err, RM_E_ARGUMENT, "request %d: k is %d; it must be at least 1", i,
                           request->k);
        return RM_OK;
    case RM_WANT_LOGPROBS:
    case RM_WANT_SCORE:
        return check_given_tokens(request, n_vocab, i, err);
    }
    return rm_fail(err, RM_E_ARGUMENT, "request %d wants %d, which nobody serves", i,
                   (int)request->want);
}

/* Fills in the task's members. */
static rm_status check_members(rm_run *run, const rm_request *request, rm_task *task, int i,
                               rm_error *err)
{
    task->n_members = request->path ? 1 : request->n_members;
    if (task->n_members < 1 || task->n_members > RM_MAX_MEMBERS ||
        (!request->path && !request->members))
        return rm_fail(err, RM_E_ARGUMENT, "request %d names %d paths; 1 to %d can be combined", i,
                       task->n_members, RM_MAX_MEMBERS);
    for (int m = 0; m < task->n_members; m++) {
        rm_path *path = request->path ? request->path : request->members[m].path;
        double weight = request->path ? 1.0 : request->members[m].weight;
        if (!path || path->run != run)
            return rm_fail(err, RM_E_ARGUMENT, "request %d: path %d is %s", i, m,
                           path ? "of another run" : "missing");
        if (path->version != path->model->version)
            return rm_fail(err, RM_E_ARGUMENT,
                           "request %d: path %d began with version %llu of %s, whose weights are "
                           "now version %llu", i, m, (unsigned long long)path->version,
                           path->model->weights->info.name,
                           (unsigned long long)path->model->version);
        if (path->eval == run->eval)
            return rm_fail(err, RM_E_ARGUMENT,
                           "request %d: path %d is in these requests already; fork it", i, m);
        if (!(weight > 0.0 && weight < 1e30))
            return rm_fail(err, RM_E_ARGUMENT,
                           "request %d: the weight of path %d is %g; it must be greater than 0", i,
                           m, weight);
        path->eval = run->eval;
        task->member[m] = path;
        task->weight[m] = weight;
        if (path->model->weights->info.n_vocab != task->member[0]->model->weights->info.n_vocab)
            return rm_fail(err, RM_E_ARGUMENT,
                           "request %d combines %s and %s, which have different vocabularies", i,
                           task->member[0]->model->weights->info.name,
                           path->model->weights->info.name);
    }
    return RM_OK;
}

/* A service continues texts, and perhaps says what most likely comes next. */
static rm_status check_served(const rm_request *request, const rm_task *task, int i, rm_error *err)
{
    const rm_model *served = NULL;
    for (int m = 0; m < task->n_members; m++)
        if (task->member[m]->model->served)
            served = task->member[m]->model;
    if (!served || (task->n_members == 1 && (request->want == RM_WANT_SPAN ||
                                             request->want == RM_WANT_NOTHING)))
        return RM_OK;
    if (task->n_members == 1 && request->want == RM_WANT_TOP)
        return rm_served_check_top(served, request, i, err);
    return rm_fail(err, RM_E_ARGUMENT, "request %d wants %s of %s, a service, which continues texts "
                   "and tells nothing else", i,
                   task->n_members > 1 ? "a distribution of several models" : "probabilities",
                   served->weights->info.name);
}

static bool is_served(const rm_task *task)
{
    return task->member[0]->model->served != NULL;
}

/* Tokens that may be appended before a model's context is full. */
static int context_room(const rm_task *task)
{
    int room = INT32_MAX;
    for (int m = 0; m < task->n_members; m++) {
        const rm_path *path = task->member[m];
        if (path->model->weights->info.n_ctx - path->length < room)
            room = path->model->weights->info.n_ctx - path->length;
    }
    return room;
}

/* Checks one request and says how many tokens it may append (capacity). */
static rm_status check_request(rm_run *run, rm_request *request, rm_task *task, int i,
                               rm_error *err)
{
    task->request = request;
    rm_status status = check_members(run, request, task, i, err);
    if (status)
        return status;
    int n_vocab = task->member[0]->model->weights->info.n_vocab;
    status = check_want(request, n_vocab, i, err);
    if (!status)
        status = check_served(request, task, i, err);
    if (status)
        return status;

    int room = context_room(task);
    uint64_t budget = run->options.max_generated_tokens;
    bool more = request->want == RM_WANT_SPAN || request->want == RM_WANT_TOP ||
                request->want == RM_WANT_ALL;
    if (budget && run->generated >= budget && more)
        return rm_fail(err, RM_E_BUDGET, "all %llu tokens this problem may generate are spent",
                       (unsigned long long)budget);
    switch (request->want) {
    case RM_WANT_SPAN:
        task->capacity = request->max_new_tokens < room ? request->max_new_tokens : room;
        if (budget && (uint64_t)task->capacity > budget - run->generated)
            task->capacity = (int)(budget - run->generated);
        task->capacity += is_served(task); /* its end token may come on top */
        break;
    case RM_WANT_SCORE:
        if (request->n_tokens > room)
            return rm_fail(err, RM_E_LIMIT,
                           "request %d scores %d tokens, but the context has room for %d", i,
                           request->n_tokens, room);
        task->capacity = request->n_tokens;
        break;
    case RM_WANT_TOP:
        task->capacity = request->k < n_vocab ? request->k : n_vocab;
        break;
    case RM_WANT_ALL:
        task->capacity = n_vocab;
        break;
    case RM_WANT_LOGPROBS:
        task->capacity = request->n_tokens;
        break;
    case RM_WANT_NOTHING:
        break;
    }
    return RM_OK;
}

/* Most positions a task adds to what is held at once: all but the last token that it appends, of
 * those drawn one a round no more than a window of them. */
static uint64_t most_positions(const rm_task *task, const rm_path *path)
{
    rm_want want = task->request->want;
    int window = path->model->weights->info.window;
    bool appends = (want == RM_WANT_SPAN || want == RM_WANT_SCORE) && task->capacity;
    int drawn = appends ? task->capacity - 1 : 0;
    if (window && want == RM_WANT_SPAN && drawn > window)
        drawn = window;
    return (uint64_t)(rm_path_pending(path) + drawn);
}

/* A quota is the problem's own, and its strategy may work within it. What the engine has is not:
 * an outcome that came of it would depend on the machine, so that running into it is a failure
 * which no strategy handles. */
static rm_status check_quota(const rm_run *run, rm_error *err)
{
    size_t quota = run->options.kv_quota_bytes, limit = run->engine->budget.limit_bytes;
    uint64_t held = rm_run_held_bytes(run), wanted = 0;
    for (int i = 0; i < run->n_tasks; i++)
        for (int m = 0; m < run->tasks[i].n_members; m++) {
            const rm_path *path = run->tasks[i].member[m];
            wanted +=
                most_positions(&run->tasks[i], path) * path->model->weights->info.kv_held_bytes;
        }
    if (quota && held + wanted > quota)
        return rm_fail(err, RM_E_LIMIT,
                       "the requests may need %llu bytes of key/value cache beside the %llu held; "
                       "of the quota of %zu bytes %llu are left",
                       (unsigned long long)wanted, (unsigned long long)held, quota,
                       (unsigned long long)(quota > held ? quota - held : 0));
    if (held + wanted > limit)
        return rm_fail(err, RM_E_MEMORY,
                       "the requests of one problem may need %llu bytes of key/value cache beside "
                       "the %llu held, more than the %zu of the whole engine: give it more, or the "
                       "problem a quota to work within",
                       (unsigned long long)wanted, (unsigned long long)held, limit);
    return RM_OK;
}

static rm_status check_time(const rm_run *run, rm_error *err)
{
    double limit = run->options.max_wall_ms;
    double spent = limit > 0.0 ? 1e3 * (rm_engine_now(run->engine) - run->started_s) : 0.0;
    if (limit > 0.0 && spent > limit)
        return rm_fail(err, RM_E_BUDGET, "%.0f ms have passed of the %.0f this problem may take",
                       spent, limit);
    return RM_OK;
}

/* ---- stop strings -------------------------------------------------------------------------- */

static bool matcher_init(rm_run *run, rm_matcher *matcher, const char *text, bool step)
{
    size_t length = strlen(text);
    if (length > INT32_MAX / 2)
        return false;
    *matcher = (rm_matcher){ .text = text, .length = (int)length, .step = step };
    matcher->border = rm_arena_alloc(&run->scratch, length * sizeof *matcher->border);
    if (!matcher->border)
        return false;
    for (int i = 1, border = 0; i < matcher->length; i++) {
        while (border && text[i] != text[border])
            border = matcher->border[border - 1];
        border += text[i] == text[border];
        matcher->border[i] = border;
    }
    return true;
}

/* Takes the next byte; true if the string ends with it. */
static bool matcher_feed(rm_matcher *matcher, char byte)
{
    while (matcher->seen && matcher->text[matcher->seen] != byte)
        matcher->seen = matcher->border[matcher->seen - 1];
    matcher->seen += matcher->text[matcher->seen] == byte;
    if (matcher->seen < matcher->length)
        return false;
    matcher->seen = matcher->border[matcher->length - 1];
    return true;
}

/* Feeds one token's bytes to the span's matchers. The first match wins; of several that end at
 * the same byte a stop string before a step, then the longest. */
static bool feed_token(rm_task *task, int32_t token, int64_t bytes_before)
{
    size_t n;
    bool special;
    const char *bytes = rm_token_bytes(task->member[0]->model, token, &n, &special);
    for (size_t b = 0; b < n && !special; b++) {
        const rm_matcher *best = NULL;
        for (int i = 0; i < task->n_matchers; i++) {
            rm_matcher *matcher = &task->matchers[i];
            if (matcher_feed(matcher, bytes[b]) &&
                (!best || (best->step && !matcher->step) ||
                 (best->step == matcher->step && matcher->length > best->length)))
                best = matcher;
        }
        if (best) {
            task->reason = best->step ? RM_STOP_STEP : RM_STOP_STRING;
            task->n_stop_bytes = bytes_before + (int64_t)b + 1 - best->length;
            return true;
        }
    }
    return false;
}

/* Prepares the matchers and shows them the end of what was generated before, where a match may
 * begin. */
static rm_status set_up_matchers(rm_run *run, rm_task *task, rm_error *err)
{
    const rm_stop *stop = task->request->stop;
    int n = stop ? stop->n_strings + stop->n_steps : 0;
    if (!n)
        return RM_OK;
    task->matchers = rm_arena_alloc(&run->scratch, (size_t)n * sizeof *task->matchers);
    int longest = 0;
    for (int i = 0; task->matchers && i < n; i++) {
        bool step = i >= stop->n_strings;
        if (!matcher_init(run, &task->matchers[i],
                          step ? stop->steps[i - stop->n_strings] : stop->strings[i], step))
            task->matchers = NULL;
        else if (task->matchers[i].length > longest)
            longest = task->matchers[i].length;
    }
    if (!task->matchers)
        return rm_fail(err, RM_E_MEMORY, "no memory for %d stop strings", n);
    task->n_matchers = n;

    const rm_path *path = task->member[0];
    int from = path->length;
    for (int64_t bytes = 0; from > path->n_prompt && bytes < longest - 1; from--) {
        size_t length;
        bool special;
        rm_token_bytes(path->model, path->tokens[from - 1], &length, &special);
        bytes += special ? 0 : (int64_t)length;
    }
    for (; from < path->length; from++) {
        size_t length;
        bool special;
        const char *bytes = rm_token_bytes(path->model, path->tokens[from], &length, &special);
        for (size_t b = 0; b < length && !special; b++)
            for (int i = 0; i < n; i++)
                matcher_feed(&task->matchers[i], bytes[b]);
    }
    return RM_OK;
}

/* ---- setting up ---------------------------------------------------------------------------- */

static uint64_t mix_double(uint64_t hash, double value)
{
    return rm_mix(hash, rm_bits(value == 0.0 ? 0.0 : value)); /* -0 is 0 */
}

/* Names the draws of a span (design: problem, models, sampling parameters, path, purpose). */
static uint64_t span_stream(const rm_run *run, const rm_task *task)
{
    const rm_sampling *s = task->request->sampling;
    uint64_t hash = rm_mix(rm_mix(run->options.problem, run->options.stream), RM_PURPOSE_TOKEN);
    for (int m = 0; m < task->n_members; m++) {
        hash = rm_mix(hash, task->member[m]->model->weights->info.id);
        if (task->n_members > 1)
            hash = mix_double(hash, task->weight[m]);
    }
    if (task->n_members > 1)
        hash = rm_mix(hash, (uint64_t)task->request->combine);
    hash = mix_double(hash, s->temperature);
    hash = rm_mix(hash, (uint64_t)s->top_k);
    hash = mix_double(hash, s->top_p);
    hash = mix_double(hash, s->min_p);
    hash = mix_double(hash, s->typical_p);
    hash = mix_double(hash, s->repetition_penalty);
    return rm_mix(hash, task->member[0]->identity);
}

/* Memory for a task's results. Spans draw into scratch, since most end early; the others write
 * where the results will be read, which for brief ones is scratch too. */
static bool set_up_arrays(rm_run *run, rm_task *task)
{
    rm_want want = task->request->want;
    bool scratch = want == RM_WANT_SPAN || task->request->brief;
    rm_arena *arena = scratch ? &run->scratch : &run->life;
    size_t n = (size_t)task->capacity;
    if (want == RM_WANT_SPAN || want == RM_WANT_TOP)
        if (!(task->tokens = rm_arena_alloc(arena, n * sizeof *task->tokens)))
            return false;
    if (want == RM_WANT_SPAN)
        if (!(task->lp_sampling = rm_arena_alloc(arena, n * sizeof *task->lp_sampling)))
            return false;
    return want == RM_WANT_NOTHING || (task->lp = rm_arena_alloc(arena, n * sizeof *task->lp));
}

/* Everything that can fail for want of memory. Changes nothing that can be seen. */
static rm_status set_up_task(rm_run *run, rm_task *task, rm_error *err)
{
    const rm_request *request = task->request;
    if (!set_up_arrays(run, task))
        return rm_fail(err, RM_E_MEMORY, "no memory for the results of a request");
    bool appends = request->want == RM_WANT_SPAN || request->want == RM_WANT_SCORE;
    for (int m = 0; m < task->n_members; m++) {
        rm_path *path = task->member[m];
        rm_status status =
            rm_path_reserve(path, path->length + (appends ? task->capacity : 0), err);
        if (status)
            return status;
    }
    if (request->want != RM_WANT_SPAN)
        return RM_OK;
    const rm_weights *weights = task->member[0]->model->weights;
    bool own = request->stop && request->stop->tokens;
    task->stop_tokens = own ? request->stop->tokens : weights->stop_tokens;
    task->n_stop_tokens = own ? request->stop->n_tokens : weights->n_stop_tokens;
    task->stream = span_stream(run, task);
    return set_up_matchers(run, task, err);
}

/* Notes where each member stands and takes it into the round's counts. Only memory can run out
 * here, and leaves no more than an empty node. */
static rm_status start_task(rm_run *run, rm_task *task, rm_error *err)
{
    const rm_request *request = task->request;
    bool appends = request->want == RM_WANT_SPAN || request->want == RM_WANT_SCORE;
    if (is_served(task)) {
        run->served = true;
        return RM_OK;
    }
    for (int m = 0; m < task->n_members; m++) {
        rm_path *path = task->member[m];
        if (!path->evaluated) {
            rm_status status = rm_account_prompt(run, path, err);
            if (status)
                return status;
        }
        if (request->want != RM_WANT_NOTHING || rm_path_pending(path))
            rm_path_claim(path);
        if (rm_path_pending(path) || appends) {
            rm_status status = rm_path_own_node(path, err);
            if (status)
                return status;
        }
    }
    return RM_OK;
}

static void note_before(rm_task *task)
{
    for (int m = 0; m < task->n_members; m++) {
        rm_path *path = task->member[m];
        task->before[m].length = path->length;
        task->before[m].evaluated = path->evaluated;
        task->before[m].text_bytes = path->text_bytes;
        task->before[m].tip = path->tip;
        if (path->tip)
            path->tip->references++;
        if (task->request->want == RM_WANT_SCORE) {
            /* The tip still stands for the place of the first token; rm_path_push would drop it. */
            rm_tip *tip = path->tip;
            if (tip)
                tip->references++;
            for (int i = 0; i < task->capacity; i++)
                rm_path_push(path, task->request->tokens[i]);
            path->tip = tip;
        }
    }
}

static void finish_task(rm_run *run, rm_task *task, rm_stop_reason reason);
static void finish_eval(rm_run *run);

/* What services do: spans are handed over, and there is nothing to evaluate. */
static rm_status start_served(rm_run *run, rm_error *err)
{
    for (int i = 0; i < run->n_tasks; i++) {
        rm_task *task = &run->tasks[i];
        if (!is_served(task))
            continue;
        if (task->request->want == RM_WANT_NOTHING) {
            finish_task(run, task, RM_STOP_NONE);
            continue;
        }
        rm_error error = { { 0 } };
        rm_status status = rm_served_submit(run, task, &error);
        if (status) {
            rm_eval_abandon(run, status, &error);
            return rm_fail(err, status, "%s", error.text);
        }
    }
    if (!run->n_unfinished)
        finish_eval(run);
    return RM_OK;
}

static rm_status set_up(rm_run *run, rm_request *requests, int n, rm_error *err)
{
    rm_arena_reset(&run->scratch);
    run->eval++;
    run->n_tasks = 0;
    run->tasks = rm_arena_alloc(&run->scratch, (size_t)n * sizeof *run->tasks);
    if (!run->tasks)
        return rm_fail(err, RM_E_MEMORY, "no memory for %d requests", n);
    rm_status status = check_time(run, err);
    for (int i = 0; i < n && !status; i++, run->n_tasks++)
        status = check_request(run, &requests[i], &run->tasks[i], i, err);
    if (!status)
        status = check_quota(run, err);
    for (int i = 0; i < n && !status; i++)
        status = set_up_task(run, &run->tasks[i], err);
    for (int i = 0; i < n && !status; i++)
        status = start_task(run, &run->tasks[i], err);
    if (status)
        return status;
    for (int i = 0; i < n; i++)
        note_before(&run->tasks[i]);
    run->n_unfinished = n;
    run->n_round = 0;
    run->round_open = run->round_paged = run->doomed = run->waiting = false;
    run->status = RM_OK;
    run->active = true;
    return start_served(run, err);
}

/* ---- rounds -------------------------------------------------------------------------------- */

static void finish_task(rm_run *run, rm_task *task, rm_stop_reason reason)
{
    task->finished = true;
    task->reason = reason;
    run->n_unfinished--;
    rm_ahead_leave(run->engine, task);
}

/* Ends a task that gets nothing in the round that begins. */
static void finish_before_round(rm_run *run, rm_task *task, rm_stop_reason reason)
{
    finish_task(run, task, reason);
    for (int m = 0; m < task->n_members; m++)
        rm_path_deactivate(task->member[m]);
}

static bool any_pending(const rm_task *task)
{
    for (int m = 0; m < task->n_members; m++)
        if (rm_path_pending(task->member[m]))
            return true;
    return false;
}

/* Counts what the round will evaluate and which distributions it takes; a tip that several tasks
 * draw from is one. */
static void count_round(rm_run *run, const rm_task *task)
{
    bool distribution = task->request->want != RM_WANT_NOTHING;
    for (int m = 0; m < task->n_members; m++) {
        rm_path *path = task->member[m];
        rm_usage *usage = &run->usage[path->usage];
        path->round_from = path->evaluated;
        if (rm_task_rows(task, path) > 0) {
            usage->body = true;
            rm_path_activate(path);
        }
        if (!distribution)
            continue;
        usage->output = true;
        usage->outputs += (uint64_t)task->n_places;
        if (path->tip && path->tip->round == run->round)
            usage->outputs--;
        else if (path->tip)
            path->tip->round = run->round;
    }
}

void rm_eval_begin_round(rm_run *run)
{
    uint64_t budget = run->options.max_generated_tokens;
    uint64_t left = budget > run->generated ? budget - run->generated : 0;
    run->round_open = true;
    run->round_paged = false;
    run->round++;
    run->n_round = 0;
    for (int i = 0; i < run->n_tasks; i++) {
        rm_task *task = &run->tasks[i];
        task->round_done = true;
        if (task->finished || task->ticket)
            continue;
        rm_want want = task->request->want;
        if (want == RM_WANT_SPAN && !context_room(task)) {
            finish_before_round(run, task, RM_STOP_CONTEXT);
            continue;
        }
        if (want == RM_WANT_SPAN && budget && !left) {
            finish_before_round(run, task, RM_STOP_BUDGET);
            continue;
        }
        if (want == RM_WANT_NOTHING && !any_pending(task)) {
            finish_before_round(run, task, RM_STOP_NONE);
            continue;
        }
        left -= want == RM_WANT_SPAN && left;
        task->n_places = want == RM_WANT_SCORE ? task->capacity : 1;
        task->places_done = 0;
        task->round_done = false;
        run->n_round++;
        count_round(run, task);
    }
}

static bool is_stop_token(const rm_task *task, int32_t token)
{
    for (int i = 0; i < task->n_stop_tokens; i++)
        if (task->stop_tokens[i] == token)
            return true;
    return false;
}

/* A span has drawn a token: appends it, and looks whether it ends here. */
static void span_drawn(rm_run *run, rm_task *task)
{
    int32_t token = task->tokens[task->n_results++];
    int64_t bytes_before = task->member[0]->text_bytes;
    for (int m = 0; m < task->n_members; m++)
        rm_path_push(task->member[m], token);
    run->generated++;
    if (run->first_token_s == 0.0)
        run->first_token_s = rm_engine_now(run->engine);
    if (is_stop_token(task, token))
        finish_task(run, task, RM_STOP_TOKEN);
    else if (feed_token(task, token, bytes_before))
        finish_task(run, task, task->reason);
    else if (task->n_results == task->request->max_new_tokens)
        finish_task(run, task, RM_STOP_LENGTH);
}

void rm_eval_task_served(rm_run *run, rm_task *task)
{
    task->round_done = true;
    run->n_round--;
    if (task->request->want == RM_WANT_SPAN) {
        span_drawn(run, task);
        return;
    }
    finish_task(run, task, RM_STOP_NONE);
    task->n_results = task->capacity;
    if (task->request->want == RM_WANT_SCORE)
        for (int m = 0; m < task->n_members; m++) {
            rm_tip_drop(run, task->member[m]->model, task->member[m]->tip);
            task->member[m]->tip = NULL;
        }
}

static void let_go(rm_run *run, rm_task *task)
{
    for (int m = 0; m < task->n_members; m++) {
        rm_path_deactivate(task->member[m]);
        rm_tip_drop(run, task->member[m]->model, task->before[m].tip);
        task->before[m].tip = NULL;
    }
}

/* Moves a span's results from scratch to where they live as long as the run. */
static bool keep_span(rm_run *run, rm_task *task)
{
    size_t n = (size_t)task->n_results;
    int32_t *tokens = rm_arena_alloc(&run->life, n * sizeof *tokens);
    double *lp = rm_arena_alloc(&run->life, n * sizeof *lp);
    double *lp_sampling = rm_arena_alloc(&run->life, n * sizeof *lp_sampling);
    if (!tokens || !lp || !lp_sampling)
        return false;
    memcpy(tokens, task->tokens, n * sizeof *tokens);
    memcpy(lp, task->lp, n * sizeof *lp);
    memcpy(lp_sampling, task->lp_sampling, n * sizeof *lp_sampling);
    task->tokens = tokens;
    task->lp = lp;
    task->lp_sampling = lp_sampling;
    return true;
}

static void finish_eval(rm_run *run)
{
    rm_journal_end_eval(run, false);
    for (int i = 0; i < run->n_tasks; i++)
        if (run->tasks[i].request->want == RM_WANT_SPAN && !keep_span(run, &run->tasks[i])) {
            rm_error error;
            rm_fail(&error, RM_E_MEMORY, "no memory for the results of a span");
            rm_eval_abandon(run, RM_E_MEMORY, &error);
            return;
        }
    for (int i = 0; i < run->n_tasks; i++) {
        rm_task *task = &run->tasks[i];
        rm_request *request = task->request;
        request->result.n = task->n_results;
        request->result.tokens = task->tokens;
        request->result.lp = task->lp;
        request->result.lp_sampling = task->lp_sampling;
        request->result.reason = task->reason;
        request->result.n_stop_bytes = (int)task->n_stop_bytes;
        let_go(run, task);
    }
    run->active = false;
}

/* Paths of finished tasks are counted until here: their last rows belong to this round. */
void rm_eval_end_round(rm_run *run)
{
    rm_account_round(run);
    run->round_open = false;
    for (int i = 0; i < run->n_tasks; i++)
        for (int m = 0; m < run->tasks[i].n_members; m++) {
            rm_path *path = run->tasks[i].member[m];
            if (run->tasks[i].finished)
                rm_path_deactivate(path);
            rm_path_release_behind(path, path->evaluated);
        }
    if (!run->n_unfinished)
        finish_eval(run);
}

/* ---- services -------------------------------------------------------------------------------- */

void rm_eval_task_drawn(rm_run *run, rm_task *task, rm_status status,
                        const rm_service_result *result,
                        const rm_error *error)
{
    rm_error own = { { 0 } };
    if (status)
        own = *error;
    else
        status = rm_served_take(run, task, result, &own);
    if (status) {
        rm_eval_abandon(run, status, &own);
        return;
    }
    finish_task(run, task, task->reason);
    if (!run->n_unfinished && !run->round_open)
        finish_eval(run);
}

void rm_eval_abandon(rm_run *run, rm_status status, const rm_error *error)
{
    rm_served_cancel(run);
    rm_journal_end_eval(run, true);
    for (int i = 0; i < run->n_tasks; i++) {
        rm_task *task = &run->tasks[i];
        rm_ahead_leave(run->engine, task);
        for (int m = 0; m < task->n_members; m++) {
            rm_path_deactivate(task->member[m]);
            rm_path_retract(task->member[m], task->before[m].length, task->before[m].evaluated,
                            task->before[m].text_bytes, task->before[m].tip);
        }
        let_go(run, task);
    }
    for (int i = 0; i < run->n_usages; i++)
        run->usage[i].body = run->usage[i].output = false;
    /* A tip lost to a suspension, and pages that lay behind a window, are rebuilt as everything else
     * of a suspended run is. */
    for (const rm_path *path = run->first_path; path && !run->suspended; path = path->next)
        if ((path->tip && path->tip->slot < 0) || !rm_path_can_see(path, path->evaluated))
            rm_run_suspend(run);
    run->status = status;
    run->error = *error;
    run->active = run->round_open = run->doomed = false;
}

rm_status rm_eval(rm_run *run, rm_request *requests, int n, rm_error *err)
{
    assert(!run->active && "rm_eval is not reentrant");
    if (run->cancelled)
        return rm_fail(err, RM_E_CANCELLED, "stopped before the problem was finished");
    if (n < 0 || (n && !requests))
        return rm_fail(err, RM_E_ARGUMENT, "cannot serve %d requests", n);
    if (!n)
        return RM_OK;
    rm_status status = set_up(run, requests, n, err);
    if (!status && run->active && (run->options.keep_journal || run->journal.n_left))
        status = rm_journal_begin_eval(run, err);
    if (status || !run->active) /* nothing is left to wait for */
        return status ? status : run->status;
    if (run->coroutine) {
        assert(rm_coroutine_is_running(run->coroutine));
        rm_coroutine_pause(run->coroutine);
    } else {
        assert(!run->engine->in_job && "a job evaluates its own run only");
        while (run->active)
            rm_schedule_pass(run->engine);
    }
    if (run->status && err)
        *err = run->error;
    return run->status;
}
