/* ahead.c - spans whose next tokens the device draws before anybody asks for them (ahead.h). */
#include "engine/ahead.h"

#include "engine/forward.h"

#include <assert.h>
#include <stdlib.h>

/* A step begun too many is work for nobody, one too few lets the device wait for the host; two
 * leave the host a whole step's time to follow. A group of 32 is planned and sent once for 32
 * tokens, and is lent two or three pages of 16 a path. */
enum { MOST_STEPS = 32, LEAD = 2 };

rm_status rm_ahead_new(rm_engine *engine, int max_picks, rm_error *err)
{
    const rm_ops *ops = engine->ops;
    if (!ops->ahead || !ops->ahead_take || !ops->ahead_leave)
        return RM_OK;
    rm_ahead *a = calloc(1, sizeof *a);
    if (!a)
        return rm_fail(err, RM_E_MEMORY, "no memory for an engine");
    engine->ahead = a;
    a->most = MOST_STEPS;
    a->lead = LEAD;
    a->path = calloc((size_t)max_picks, sizeof *a->path);
    a->place = calloc((size_t)max_picks, sizeof *a->place);
    a->wanted = calloc((size_t)max_picks, sizeof *a->wanted);
    if (!a->path || !a->place || !a->wanted)
        return rm_fail(err, RM_E_MEMORY, "no memory for spans of %d paths", max_picks);
    return RM_OK;
}

void rm_ahead_free(rm_engine *engine)
{
    rm_ahead *a = engine->ahead;
    if (!a)
        return;
    assert(!a->n_live);
    free(a->path);
    free(a->place);
    free(a->wanted);
    free(a);
    engine->ahead = NULL;
}

/* ---- leaving ------------------------------------------------------------------------------- */

static void return_lent(const rm_task *task)
{
    for (int m = 0; m < task->n_members; m++)
        rm_path_return_lent(task->member[m]);
}

void rm_ahead_leave(rm_engine *engine, rm_task *task)
{
    rm_ahead *a = engine->ahead;
    if (!task->ahead)
        return;
    int at = task->ahead - 1;
    assert(a->place[at].task == task);
    return_lent(task);
    engine->ops->ahead_leave(engine->backend, at);
    a->place[at].task = NULL;
    a->n_live--;
    task->ahead = 0;
}

/* The device may still have to compute what this pass asked of a task. Its pages for that are its own
 * already; it goes no further. */
void rm_ahead_close(rm_engine *engine)
{
    rm_ahead *a = engine->ahead;
    if (!a || !a->n_live || a->closing)
        return;
    a->closing = true;
    for (int i = 0; i < a->n; i++) {
        rm_task *task = a->place[i].task;
        if (task && a->place[i].wanted)
            return_lent(task);
        else if (task)
            rm_ahead_leave(engine, task);
    }
}

static void all_leave(rm_engine *engine)
{
    rm_ahead *a = engine->ahead;
    for (int i = 0; i < a->n; i++)
        if (a->place[i].task)
            rm_ahead_leave(engine, a->place[i].task);
}

/* ---- taking -------------------------------------------------------------------------------- */

void rm_ahead_begin_pass(rm_engine *engine)
{
    if (engine->ahead)
        engine->ahead->n_wanted = engine->ahead->newest = 0;
}

bool rm_ahead_add(rm_engine *engine, rm_run *run, rm_task *task)
{
    rm_ahead *a = engine->ahead;
    rm_pass *pass = engine->pass;
    if (!task->ahead)
        return false;
    int at = task->ahead - 1, step = task->ahead_step + 1;
    if (step > a->place[at].last || step > a->steps || a->closing) {
        rm_ahead_leave(engine, task);
        return false;
    }
    if (pass->n_served == pass->max_served)
        return true; /* the next pass has room */
    for (int m = 0; m < task->n_members; m++) {
        assert(rm_path_pending(task->member[m]) == 1);
        rm_path_advance(task->member[m], 1);
    }
    run->energy_rows += (uint64_t)task->n_members;
    engine->energy_rows += (uint64_t)task->n_members;
    engine->times.rows += (uint64_t)task->n_members;
    a->wanted[a->n_wanted].run = run;
    a->wanted[a->n_wanted].task = task;
    a->wanted[a->n_wanted].place = at;
    a->wanted[a->n_wanted++].step = step;
    a->place[at].wanted = true;
    a->newest = step > a->newest ? step : a->newest;
    task->ahead_step = step;
    task->places_done = 1;
    pass->served[pass->n_served].run = run;
    pass->served[pass->n_served++].task = task;
    return true;
}

static void deliver(rm_run *run, const rm_task *task, const rm_drawn *drawn)
{
    int at = task->n_results;
    task->tokens[at] = drawn->token;
    task->lp[at] = drawn->lp;
    task->lp_sampling[at] = drawn->lp_sampling;
    if (drawn->no_numbers)
        rm_run_doom(run, task->member[0]->model, (uint32_t)task->member[0]->length);
}

/* Has the pass work for the device beside what is ahead? */
static bool has_rows(const rm_engine *engine)
{
    for (const rm_model *model = engine->models; model; model = model->next)
        if (model->rows.n || model->outputs.n)
            return true;
    return false;
}

rm_status rm_ahead_take(rm_engine *engine, rm_error *err)
{
    rm_ahead *a = engine->ahead;
    const rm_drawn *drawn = NULL;
    if (!a || (!a->n_wanted && !a->n_live))
        return RM_OK;
    if (has_rows(engine) && a->n_wanted)
        a->steps = a->newest > a->begun ? a->newest : a->begun;
    int begin = a->newest + a->lead < a->steps ? a->newest + a->lead : a->steps;
    begin = a->closing || begin < a->newest ? a->newest : begin;
    rm_status status = RM_OK;
    for (int i = 0, step = 0; i < a->n_wanted && !status; i++) {
        if (i == 0) { /* all that is to begin begins before the first is waited for */
            status = engine->ops->ahead_take(engine->backend, a->newest, begin, &drawn, err);
            a->begun = begin > a->begun ? begin : a->begun;
            step = a->newest;
        }
        if (!status && a->wanted[i].step != step) {
            step = a->wanted[i].step;
            status = engine->ops->ahead_take(engine->backend, step, step, &drawn, err);
        }
        if (!status)
            deliver(a->wanted[i].run, a->wanted[i].task, &drawn[a->wanted[i].place]);
    }
    for (int i = 0; i < a->n_wanted; i++)
        a->place[a->wanted[i].place].wanted = false;
    a->taken += (uint64_t)a->n_wanted;
    if (a->closing)
        all_leave(engine);
    a->closing = false;
    return status;
}

/* ---- going on ------------------------------------------------------------------------------ */

/* Is each row of each model the one of a path whose span draws, with nothing kept for later? */
static bool only_draws(const rm_engine *engine)
{
    const rm_pass *pass = engine->pass;
    if (!pass->n_picks || pass->n_picks != pass->n_served)
        return false;
    for (int i = 0; i < pass->n_picks; i++)
        if (pass->picks[i].want != RM_WANT_SPAN)
            return false;
    for (const rm_model *model = engine->models; model; model = model->next) {
        const rm_outputs *out = &model->outputs;
        if (model->body || out->n_tips || out->n_kept || out->n_states || out->n != out->n_rows ||
            out->n != model->rows.n || model->rows.n_seqs != model->rows.n)
            return false;
    }
    return true;
}

/* Somebody who waits for pages is not to wait for those that are lent. */
static bool memory_is_short(const rm_engine *engine)
{
    for (const rm_run *run = engine->first_run; run; run = run->next)
        if (run->active && (run->suspended || run->waiting))
            return true;
    return false;
}

static int tokens_left(const rm_task *task, int steps)
{
    int left = task->capacity - task->n_results;
    return left < steps + 1 ? left : steps + 1;
}

/* Lends every path the pages of its steps; 0: there is not that much room. */
static int lend(rm_engine *engine, int steps, rm_status *status, rm_error *err)
{
    const rm_pass *pass = engine->pass;
    size_t bytes = 0;
    for (rm_model *model = engine->models; model; model = model->next)
        model->planned = 0;
    for (int i = 0; i < pass->n_served; i++)
        for (int m = 0; m < pass->served[i].task->n_members; m++) {
            const rm_path *path = pass->served[i].task->member[m];
            int more = tokens_left(pass->served[i].task, steps) - 1;
            int pages = rm_path_pages_to_lend(path, path->evaluated + more);
            path->model->planned += pages;
            bytes += (size_t)pages * path->model->pool.page_bytes;
        }
    if (bytes > rm_budget_room(&engine->budget) / 2)
        return 0;
    for (rm_model *model = engine->models; model; model = model->next)
        if (model->pool.n_free < (size_t)model->planned) {
            *status = engine->ops->flush(engine->backend, err); /* copies of pages that may move */
            if (*status || rm_pool_reserve(&model->pool, (size_t)model->planned, NULL))
                return 0;
        }
    for (int i = 0; i < pass->n_served; i++)
        for (int m = 0; m < pass->served[i].task->n_members; m++) {
            rm_path *path = pass->served[i].task->member[m];
            int more = tokens_left(pass->served[i].task, steps) - 1;
            rm_path_lend_pages(path, path->evaluated + more);
        }
    return steps;
}

static void place(rm_engine *engine, int i)
{
    rm_ahead *a = engine->ahead;
    const rm_pick *pick = &engine->pass->picks[i];
    rm_task *task = engine->pass->served[i].task;
    rm_ahead_path *path = &a->path[i];
    int n = tokens_left(task, a->steps);
    *path = (rm_ahead_path){ .n_members = task->n_members, .n_tokens = n,
                             .stop = task->stop_tokens, .n_stop = task->n_stop_tokens };
    for (int m = 0; m < task->n_members; m++) {
        rm_model *model = task->member[m]->model;
        int row = model->outputs.row_from[pick->member[m].row];
        path->member[m].kv = model->pool.kv;
        path->member[m].row = row;
        model->rows.ahead[model->rows.seq[row]] = n - 1;
    }
    a->place[i].task = task;
    a->place[i].last = n - 1;
    a->place[i].wanted = false;
    task->ahead = i + 1;
    task->ahead_step = 0;
}

rm_status rm_ahead_plan(rm_engine *engine, rm_error *err)
{
    rm_ahead *a = engine->ahead;
    const rm_pass *pass = engine->pass;
    if (!a || a->n_live || a->n_wanted || !only_draws(engine) || memory_is_short(engine))
        return RM_OK;
    rm_status status = RM_OK;
    int longest = 0, steps;
    for (int i = 0; i < pass->n_served; i++) {
        int left = tokens_left(pass->served[i].task, a->most) - 1;
        longest = left > longest ? left : longest;
    }
    for (steps = longest; steps && !status; steps /= 2)
        if (lend(engine, steps, &status, err))
            break;
    if (!steps || status)
        return status;
    a->steps = steps;
    a->n = a->n_live = pass->n_served;
    a->groups++;
    a->closing = false;
    for (int i = 0; i < pass->n_served; i++)
        place(engine, i);
    a->begun = a->lead < steps ? a->lead : steps;
    if (!engine->ops->ahead(engine->backend, a->path, a->n, a->begun))
        all_leave(engine);
    return RM_OK;
}
