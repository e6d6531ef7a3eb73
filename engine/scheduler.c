/* scheduler.c - passes, KV pages, and the coroutines of rm_engine_run (scheduler.h). */
#include "engine/scheduler.h"

#include "engine/account.h"
#include "engine/ahead.h"
#include "engine/forward.h"
#include "engine/served.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- suspension and restoration ------------------------------------------------------------ */

void rm_run_suspend(rm_run *run)
{
    rm_engine *engine = run->engine;
    size_t before = engine->budget.used_bytes;
    assert(!run->suspended);
    for (int i = 0; run->active && i < run->n_tasks; i++)
        rm_ahead_leave(engine, &run->tasks[i]);
    for (rm_path *path = run->first_path; path; path = path->next) {
        rm_path_release_pages(path);
        if (path->tip)
            rm_tip_empty(path->tip, path->model);
        for (rm_node *node = path->node; node; node = node->parent)
            node->prefix_positions = 0;
    }
    for (int i = 0; run->active && i < run->n_tasks; i++)
        for (int m = 0; m < run->tasks[i].n_members; m++)
            if (run->tasks[i].before[m].tip)
                rm_tip_empty(run->tasks[i].before[m].tip, run->tasks[i].member[m]->model);
    run->prefix_positions = 0;
    run->restore_bytes = before - engine->budget.used_bytes;
    run->suspended = true;
    run->round_paged = false;
    engine->suspensions++;
}

/* Positions of the prefix's pages that a path may use: its tokens must agree, and the prompt's
 * last token is left to be evaluated, since its state is wanted. */
static int prefix_positions(const rm_run *run, const rm_path *path)
{
    const rm_prefix *prefix = run->options.prefix;
    const rm_path *cached = prefix ? prefix->path : NULL;
    if (cached && cached->version != cached->model->version)
        cached = NULL; /* of weights that are no more: as if there were none */
    if (!cached || cached->model != path->model || prefix->run->suspended)
        return 0;
    int most = path->n_prompt - 1 < cached->evaluated ? path->n_prompt - 1 : cached->evaluated;
    int n = 0;
    while (n < most && path->tokens[n] == cached->tokens[n])
        n++;
    return n;
}

static void share_prefix(rm_run *run, rm_path *path, int n)
{
    rm_node *top = path->node;
    while (top->parent)
        top = top->parent;
    rm_path_share_pages(path, run->options.prefix->path, n);
    int more = n < top->length ? n - top->prefix_positions : top->length - top->prefix_positions;
    top->prefix_positions += more;
    run->prefix_positions += (uint64_t)more;
}

/* Room in the store for the pages of n more positions of a path. Growing it moves memory that
 * copies already enqueued refer to, so those are done first. */
static rm_status reserve_pages(rm_model *model, size_t pages, rm_error *err)
{
    if (model->pool.n_free >= pages)
        return RM_OK;
    rm_status status = model->engine->ops->flush(model->engine->backend, err);
    return status ? status : rm_pool_reserve(&model->pool, pages, err);
}

/* Rebuilds one path: shares what an earlier path has rebuilt of its nodes, or a prefix, and
 * evaluates the rest again. */
static rm_status restore_path(rm_run *run, rm_path *path, uint64_t stamp, rm_error *err)
{
    rm_model *model = path->model;
    bool tip = path->tip && path->tip->slot < 0;
    int end = path->evaluated, most = end - tip, from = 0;
    const rm_node *node = path->node;
    while (node && node->restored != stamp)
        node = node->parent;
    if (node)
        from = rm_node_end(node) < most ? rm_node_end(node) : most;
    if (node && rm_path_can_see(node->rebuilt, from)) {
        rm_path_share_pages(path, node->rebuilt, from);
    } else {
        from = path->node ? prefix_positions(run, path) : 0;
        from = from < most ? from : most;
        if (from > 0)
            share_prefix(run, path, from);
    }
    /* under a sliding window piece by piece, so that no more is held than the window and a piece */
    int n = end - from, piece = model->weights->info.window ? run->engine->pass->max_rows : n;
    rm_status status = tip ? rm_tip_fill(path->tip, model, err) : RM_OK;
    for (int rows; n > 0 && !status; n -= rows, from += rows) {
        rows = n < piece ? n : piece;
        status = reserve_pages(model, (size_t)rm_path_pages_needed(path, from, rows), err);
        if (status)
            break;
        rm_path_take_pages(path, from, rows);
        status = rm_path_evaluate_again(path, from, rows, tip && rows == n ? path->tip->slot : -1, err);
        run->engine->recomputed_positions += (uint64_t)rows;
        rm_path_release_behind(path, from + rows);
    }
    for (rm_node *done = path->node; done && done->restored != stamp; done = done->parent) {
        done->restored = stamp;
        done->rebuilt = path;
    }
    return status;
}

rm_status rm_run_restore(rm_run *run, rm_error *err)
{
    rm_status status = RM_OK;
    uint64_t stamp = ++run->engine->restorations;
    assert(run->suspended);
    for (rm_path *path = run->first_path; path && !status; path = path->next)
        status = restore_path(run, path, stamp, err);
    run->suspended = false;
    if (status) /* half rebuilt: everything goes back */
        rm_run_suspend(run);
    return status;
}

/* ---- room for pages ------------------------------------------------------------------------ */

static bool is_first_active(const rm_run *run)
{
    for (const rm_run *older = run->prev; older; older = older->prev)
        if (older->active)
            return false;
    return true;
}

static bool holds_pages(const rm_run *run)
{
    for (const rm_path *path = run->first_path; path; path = path->next)
        if (path->n_pages)
            return true;
    return false;
}

/* May `run` have `bytes` more? Takes them from others as scheduler.h says. */
static bool make_room(rm_run *run, size_t bytes)
{
    rm_engine *engine = run->engine;
    bool later = true;
    if (rm_budget_room(&engine->budget) < bytes + engine->budget.lent_bytes)
        rm_ahead_close(engine);
    for (rm_run *other = engine->last_run; other; other = other->prev) {
        if (rm_budget_room(&engine->budget) >= bytes)
            return true;
        later = later && other != run;
        if (other != run && !other->suspended && !other->internal && (later || !other->active) &&
            holds_pages(other))
            rm_run_suspend(other);
    }
    if (rm_budget_room(&engine->budget) >= bytes)
        return true;
    if (!is_first_active(run))
        return false;
    for (rm_run *other = engine->last_run; other; other = other->prev)
        if (other->internal && other != run && !other->suspended &&
            rm_budget_room(&engine->budget) < bytes)
            rm_run_suspend(other);
    return true;
}

/* Gives the round's paths the pages for all their rows; false if they have to wait. */
static bool page_round(rm_run *run, rm_status *status, rm_error *err)
{
    size_t bytes = 0;
    for (int i = 0; i < run->n_tasks; i++) {
        rm_task *task = &run->tasks[i];
        for (int m = 0; m < task->n_members && !task->round_done; m++) {
            rm_path *path = task->member[m];
            int n = path->evaluated || path->n_pages ? 0 : prefix_positions(run, path);
            if (n) {
                rm_path_advance(path, n);
                share_prefix(run, path, n);
            }
            bytes += path->model->pool.page_bytes *
                     (size_t)rm_path_pages_needed(path, path->evaluated, rm_task_rows(task, path));
            bytes += path->tip || !rm_task_leaves_tip(task) ? 0 : path->model->tip_bytes;
        }
    }
    if (bytes && !make_room(run, bytes))
        return false;
    for (int i = 0; i < run->n_tasks && !*status; i++) {
        rm_task *task = &run->tasks[i];
        for (int m = 0; m < task->n_members && !task->round_done && !*status; m++) {
            rm_path *path = task->member[m];
            int rows = rm_task_rows(task, path);
            int pages = rm_path_pages_needed(path, path->evaluated, rows) - path->n_lent;
            *status = pages > 0 ? reserve_pages(path->model, (size_t)pages, err) : RM_OK;
            if (!*status)
                rm_path_take_pages(path, path->evaluated, rows);
        }
    }
    run->round_paged = true;
    return true;
}

/* Is the run about to evaluate a prompt from its first token? */
static bool begins_prompt(const rm_run *run)
{
    for (int i = 0; i < run->n_tasks; i++)
        for (int m = 0; m < run->tasks[i].n_members; m++)
            if (!run->tasks[i].member[m]->evaluated)
                return true;
    return false;
}

/* Prefixes that gave their pages away come back for a run that would begin with them, where there
 * is room for them and as much again. Without them the run computes the same by itself, so a
 * failure here is none. */
static void restore_prefixes(rm_engine *engine)
{
    for (rm_run *run = engine->first_run; run; run = run->next) {
        rm_run *prefix = run->options.prefix ? run->options.prefix->run : NULL;
        if (prefix && prefix->suspended && run->active && !run->suspended && begins_prompt(run) &&
            rm_budget_room(&engine->budget) >= 2 * prefix->restore_bytes)
            (void)rm_run_restore(prefix, NULL);
    }
}

/* Brings suspended runs back, the first admitted first: the first active one at once, others when
 * there is room for twice what they held and a quarter of the pool besides. (In a pool far too
 * small, 4% of all rows were evaluated a second time; with an eighth to spare, 9%.) */
static void restore_runs(rm_engine *engine)
{
    bool first = true;
    for (rm_run *run = engine->first_run; run; run = run->next) {
        if (!run->active)
            continue;
        size_t want = 2 * run->restore_bytes + engine->budget.limit_bytes / 4;
        if (run->suspended && first)
            make_room(run, run->restore_bytes);
        if (run->suspended && (first || rm_budget_room(&engine->budget) >= want)) {
            rm_error error;
            rm_status status = rm_run_restore(run, &error);
            if (status)
                rm_eval_abandon(run, status, &error);
        }
        first = first && !run->active;
        if (run->suspended)
            return; /* nobody overtakes it */
    }
}

/* ---- a pass -------------------------------------------------------------------------------- */

/* Puts a run's tasks into the pass, beginning its round if none is open. */
static void plan_run(rm_run *run)
{
    rm_error error;
    rm_status status = RM_OK;
    if (!run->round_open)
        rm_eval_begin_round(run);
    if (!run->round_paged && !page_round(run, &status, &error)) {
        run->waiting = true;
        return;
    }
    run->waiting = false;
    for (int i = 0; i < run->n_tasks && !status; i++) {
        rm_task *task = &run->tasks[i];
        if (!task->round_done && task->places_done < task->n_places)
            status = rm_pass_add(run->engine, run, task, &error);
    }
    if (status) {
        run->doomed = true;
        run->status = status;
        run->error = error;
    }
}

/* After a pass: tasks that are served, rounds that are complete, runs that failed. */
static void settle(rm_engine *engine, rm_status status, const rm_error *error)
{
    enum { AHEAD = 4 };
    rm_pass *pass = engine->pass;
    for (int i = 0; i < pass->n_served && !status; i++) {
        /* The pass has pushed all of this out of the caches. */
        if (i + 2 * AHEAD < pass->n_served) {
            __builtin_prefetch(pass->served[i + 2 * AHEAD].task);
            __builtin_prefetch(&pass->served[i + 2 * AHEAD].task->round_done, 1);
            __builtin_prefetch(&pass->served[i + 2 * AHEAD].run->n_round, 1);
        }
        if (i + AHEAD < pass->n_served) {
            __builtin_prefetch(pass->served[i + AHEAD].task->request);
            __builtin_prefetch(pass->served[i + AHEAD].task->member[0], 1);
        }
        if (!pass->served[i].run->doomed)
            rm_eval_task_served(pass->served[i].run, pass->served[i].task);
    }
    for (rm_run *run = engine->first_run; run; run = run->next) {
        if (!run->active)
            continue;
        if (status)
            rm_eval_abandon(run, status, error);
        else if (run->doomed) {
            rm_error own = run->error;
            rm_eval_abandon(run, run->status, &own);
        } else if (run->round_open && !run->n_round) {
            if (engine->n_live) {
                run->load_sum += (double)(engine->n_live - 1);
                run->load_rounds++;
            }
            rm_eval_end_round(run);
        }
    }
}

/* Runs over their time fail where they stand, also while they wait for pages or are suspended:
 * between two passes none of their rows is under way. */
static void abandon_late(rm_engine *engine)
{
    double now = rm_engine_now(engine);
    for (rm_run *run = engine->first_run; run; run = run->next) {
        double limit = run->options.max_wall_ms, spent = 1e3 * (now - run->started_s);
        if (!run->active || !(limit > 0.0) || spent <= limit)
            continue;
        rm_error error;
        rm_fail(&error, RM_E_BUDGET, "%.0f ms have passed of the %.0f this problem may take",
                spent, limit);
        rm_eval_abandon(run, RM_E_BUDGET, &error);
    }
}

/* Takes in what services have drawn. Waits for them only if no run has anything else to do, and not
 * for long: a cancellation is looked for between passes. */
static void poll_services(rm_engine *engine)
{
    enum { WAIT_MS = 100 };
    bool idle = true;
    abandon_late(engine);
    for (rm_run *run = engine->first_run; run; run = run->next)
        idle = idle && !rm_run_has_rounds(run);
    rm_served_poll(engine, idle ? WAIT_MS : 0);
}

void rm_schedule_pass(rm_engine *engine)
{
    if (engine->n_in_flight)
        poll_services(engine);
    double start = rm_now_s();
    rm_error error;
    rm_status status = RM_OK;
    rm_energy_begin(engine);
    abandon_late(engine);
    restore_runs(engine);
    restore_prefixes(engine);
    double restored = rm_now_s();
    rm_pass_begin(engine);
    for (rm_run *run = engine->first_run; run && !rm_pass_full(engine); run = run->next)
        if (run->active && !run->suspended && rm_run_has_rounds(run))
            plan_run(run);
    double planned = rm_now_s();
    if (!rm_pass_empty(engine))
        status = rm_pass_run(engine, &error);
    double done = rm_now_s();
    rm_energy_divide(engine, false);
    settle(engine, status, &error);
    engine->times.forward_s += (restored - start) + (done - planned);
    engine->times.schedule_s += (planned - restored) + (rm_now_s() - done);
}

/* ---- jobs ---------------------------------------------------------------------------------- */

typedef struct slot {
    rm_run *run;
    rm_job *job;
    rm_coroutine *coroutine;
} slot;

typedef struct job_crew {
    rm_engine *engine;
    int concurrency, n_live;
    slot *slots; /* [concurrency], the first n_live in use, oldest first */
    rm_job *(*next)(void *);
    void (*done)(void *, rm_job *);
    void *arg;
    rm_job *waiting; /* asked for, not yet admitted */
    bool exhausted;
} job_crew;

static void work_in_coroutine(void *arg)
{
    rm_run *run = arg;
    rm_job *job = run->job;
    job->status = job->work(run, job->arg, &job->error);
}

/* A quota is room a run may count on, so quotas of admitted runs are kept free; runs without one,
 * or with one that is a worst case, are admitted while there is room, and suspended should they
 * need more than there is. */
static size_t reservation(const rm_run_options *options)
{
    return options->kv_overcommit ? 0 : options->kv_quota_bytes;
}

static bool may_admit(const job_crew *crew, const rm_job *job)
{
    size_t reserved = reservation(&job->options);
    if (!crew->n_live)
        return true;
    for (const rm_run *run = crew->engine->first_run; run; run = run->next) {
        if (!run->coroutine)
            continue;
        if (run->suspended || run->waiting)
            return false;
        size_t quota = reservation(&run->options), held = (size_t)rm_run_held_bytes(run);
        reserved += quota > held ? quota - held : 0;
    }
    return reserved < rm_budget_room(&crew->engine->budget);
}

/* Creates run and coroutine; a job that cannot start is done at once, with the reason. */
static void admit(job_crew *crew, rm_job *job)
{
    rm_engine *engine = crew->engine;
    slot *at = &crew->slots[crew->n_live];
    *at = (slot){ .job = job };
    job->error.text[0] = '\0';
    job->status = rm_run_new(engine, &job->options, &at->run, &job->error);
    if (!job->status) {
        at->coroutine = rm_coroutine_new(engine->stacks, work_in_coroutine, at->run, &job->error);
        if (!at->coroutine) {
            job->status = RM_E_MEMORY;
            rm_run_free(at->run);
        }
    }
    if (job->status) {
        job->cost = (rm_cost){ 0 };
        crew->done(crew->arg, job);
        return;
    }
    at->run->job = job;
    at->run->coroutine = at->coroutine;
    crew->n_live++;
    engine->n_live++;
}

/* The job's code has returned: its account is closed and its tree released. */
static void dismiss(job_crew *crew, slot *at)
{
    rm_job *job = at->job;
    rm_run *run = at->run;
    run->ended_s = rm_engine_now(run->engine);
    job->cost = rm_run_cost(run);
    run->coroutine = NULL;
    rm_coroutine_recycle(crew->engine->stacks, at->coroutine);
    rm_run_free(run);
    at->run = NULL;
    crew->engine->n_live--;
    crew->done(crew->arg, job);
}

/* Resumes every coroutine that is not waiting for the engine; finished ones leave. */
static void resume_ready(job_crew *crew)
{
    rm_engine *engine = crew->engine;
    int kept = 0;
    for (int i = 0; i < crew->n_live; i++) {
        slot *at = &crew->slots[i];
        bool alive = true;
        if (!at->run->active) {
            double start = rm_now_s();
            engine->in_job = true;
            alive = rm_coroutine_resume(at->coroutine);
            engine->in_job = false;
            engine->times.strategy_s += rm_now_s() - start;
        }
        if (!alive)
            dismiss(crew, at);
        else
            crew->slots[kept++] = *at;
    }
    crew->n_live = kept;
}

static void cancel_all(job_crew *crew)
{
    rm_error error;
    rm_fail(&error, RM_E_CANCELLED, "stopped before the problem was finished");
    for (int i = 0; i < crew->n_live; i++) {
        crew->slots[i].run->cancelled = true;
        if (crew->slots[i].run->active)
            rm_eval_abandon(crew->slots[i].run, RM_E_CANCELLED, &error);
    }
    crew->exhausted = true;
    rm_job *job = crew->waiting;
    crew->waiting = NULL;
    if (job) {
        job->status = RM_E_CANCELLED;
        job->error = error;
        job->cost = (rm_cost){ 0 };
        crew->done(crew->arg, job);
    }
}

static void admit_some(job_crew *crew)
{
    while (crew->n_live < crew->concurrency) {
        if (!crew->waiting && !crew->exhausted && !(crew->waiting = crew->next(crew->arg)))
            crew->exhausted = true;
        if (!crew->waiting || !may_admit(crew, crew->waiting))
            return;
        rm_job *job = crew->waiting;
        crew->waiting = NULL;
        admit(crew, job);
    }
}

void rm_engine_watch(rm_engine *engine, double every_s, void (*watch)(void *arg), void *arg)
{
    engine->watch = watch;
    engine->watch_arg = arg;
    engine->watch_s = every_s;
    engine->watched_s = rm_now_s();
}

static void call_watch(rm_engine *engine)
{
    double now = engine->watch ? rm_now_s() : 0;
    if (!engine->watch || now - engine->watched_s < engine->watch_s)
        return;
    engine->watch(engine->watch_arg);
    engine->watched_s = rm_now_s();
}

rm_status rm_engine_run(rm_engine *engine, int concurrency, rm_job *(*next)(void *),
                        void (*done)(void *, rm_job *), void *arg, const volatile bool *cancel,
                        rm_error *err)
{
    assert(!engine->in_job && "a job cannot run jobs");
    if (concurrency < 1)
        return rm_fail(err, RM_E_ARGUMENT, "concurrency is %d; it must be at least 1", concurrency);
    job_crew crew = {
        .engine = engine, .concurrency = concurrency, .next = next, .done = done, .arg = arg
    };
    crew.slots = calloc((size_t)concurrency, sizeof *crew.slots);
    if (!crew.slots)
        return rm_fail(err, RM_E_MEMORY, "no memory for %d problems in flight", concurrency);
    bool cancelled = false;
    for (;;) {
        if (cancel && *cancel && !cancelled) {
            cancelled = true;
            if (engine->watch) /* what is in flight can be looked at once more */
                engine->watch(engine->watch_arg);
            cancel_all(&crew);
        }
        if (!cancelled)
            admit_some(&crew);
        resume_ready(&crew);
        call_watch(engine);
        if (crew.n_live)
            rm_schedule_pass(engine);
        else if (crew.exhausted && !crew.waiting)
            break;
    }
    free(crew.slots);
    if (cancelled)
        return rm_fail(err, RM_E_CANCELLED, "stopped before all problems were done");
    return RM_OK;
}

/* ---- prefixes ------------------------------------------------------------------------------ */

rm_status rm_prefix_open(rm_engine *engine, rm_model *model, const int32_t *tokens, int n,
                         rm_prefix **out, rm_error *err)
{
    rm_prefix *prefix = calloc(1, sizeof *prefix);
    if (!prefix)
        return rm_fail(err, RM_E_MEMORY, "no memory for a prefix");
    rm_status status = rm_run_new(engine, NULL, &prefix->run, err);
    if (!status)
        status = rm_path_new(prefix->run, model, tokens, n, &prefix->path, err);
    if (!status) {
        rm_request request = { .want = RM_WANT_NOTHING, .path = prefix->path };
        prefix->run->internal = true;
        status = rm_eval(prefix->run, &request, 1, err);
    }
    if (status) {
        rm_run_free(prefix->run);
        free(prefix);
        return status;
    }
    *out = prefix;
    return RM_OK;
}

void rm_prefix_close(rm_prefix *prefix)
{
    if (!prefix)
        return;
    assert(!prefix->open_runs && "close the runs that name a prefix first");
    rm_run_free(prefix->run);
    free(prefix);
}
