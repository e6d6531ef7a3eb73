/* runner_flight.c - the jobs in flight: how far they are, and what they have drawn kept for a later session.
 *
 * Every keep_s seconds each unfinished job of the throughput phase that has run for that long hands
 * over what it has drawn since (engine.h, rm_run_journal), and it is committed; so is everything when
 * the run is stopped by a signal. A later session finds it by the job's name, which is a hash
 * of its cells, problem and seed, and gives it to the engine; the job then ends with the records of
 * one that was never interrupted. What is kept goes with the commit of the finished job. In the
 * latency phase nothing is kept: what is measured there is one uninterrupted problem. */
#include "experiments/runner_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double default_keep_s = 10, watch_s = 0.05;

static double keep_every(const runner *r)
{
    return r->options->keep_s > 0 ? r->options->keep_s : r->options->keep_s < 0 ? 0 : default_keep_s;
}

void runner_flight_prepare(trial_job *t)
{
    runner *r = t->owner;
    const rm_plan_unit *unit = &r->plan.units[t->plan.unit];
    const rm_plan_cell *cell = &r->config->cells[unit->cells[t->only >= 0 ? t->only : 0]];
    bool here = true;
    for (int m = 0; m < cell->n_models; m++)
        here = here && !rm_model_describe(r->models[cell->models[m]])->served;
    if (!here || !(keep_every(r) > 0) || r->plan.timing != RM_TIMING_THROUGHPUT || t->plan.warm_up)
        return;
    uint64_t hash = rm_mix(rm_mix((uint64_t)t->only, t->plan.seed), t->job.options.problem);
    for (int i = 0; i < unit->n_cells; i++)
        hash = rm_mix(hash, r->config->cells[unit->cells[i]].hash);
    snprintf(t->key, sizeof t->key, "%016" PRIx64, rm_mix(hash, (uint64_t)t->plan.repeat));
    t->job.options.keep_journal = true;
    if (!r->any_journal)
        return;
    rm_error err = { "" };
    rm_status status = rm_store_get_journal(r->store, t->key, &t->journal, &err);
    if (status)
        runner_break(r, status, &err);
    t->stored = t->journal.length > 0;
    t->job.options.journal = t->journal.data;
    t->job.options.n_journal = t->journal.length;
}

void runner_flight_begin(trial_job *t, rm_run *run)
{
    runner *r = t->owner;
    t->run = run;
    t->kept_s = rm_now_s();
    t->prev = NULL;
    t->next = r->flying;
    if (r->flying)
        r->flying->prev = t;
    r->flying = t;
    r->n_flying++;
    rm_text_free(&t->journal); /* the run has a copy */
}

void runner_flight_end(trial_job *t)
{
    runner *r = t->owner;
    if (!t->run)
        return;
    r->taken_up += rm_run_in_flight(t->run).replayed;
    if (t->prev)
        t->prev->next = t->next;
    else
        r->flying = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->run = NULL;
    r->n_flying--;
}

/* Nothing is needed any more of what the job had drawn; goes with the next commit. */
void runner_flight_forget(trial_job *t)
{
    rm_error err = { "" };
    rm_status status = t->stored ? rm_store_drop_journal(t->owner->store, t->key, &err) : RM_OK;
    if (status)
        runner_break(t->owner, status, &err);
    t->stored = false;
}

static rm_status keep_job(trial_job *t, rm_error *err)
{
    rm_text chunk = { 0 };
    rm_status status = rm_run_journal(t->run, !t->n_chunks, &chunk, err);
    if (!status)
        status = rm_store_put_journal(t->owner->store, t->key, t->n_chunks, chunk.data, chunk.length, err);
    t->n_chunks += !status;
    t->stored = t->stored || !status;
    t->kept_s = rm_now_s();
    rm_text_free(&chunk);
    return status;
}

static void keep_all(runner *r)
{
    double now = rm_now_s(), every = *r->cancel ? 0 : keep_every(r);
    rm_status status = RM_OK;
    rm_error err = { "" };
    bool any = false;
    for (trial_job *t = r->flying; t && !status; t = t->next)
        if (t->job.options.keep_journal && now - t->kept_s >= every) {
            status = keep_job(t, &err);
            any = true;
        }
    if (status)
        runner_break(r, status, &err);
    else if (any)
        runner_commit(r);
}

static void show(runner *r)
{
    uint64_t *tokens = malloc(((size_t)r->n_flying + 1) * sizeof *tokens);
    uint64_t taken_up = r->taken_up;
    int n = 0, paths = 0;
    for (trial_job *t = r->flying; t && tokens; t = t->next) {
        rm_run_flight flight = rm_run_in_flight(t->run);
        tokens[n++] = flight.tokens;
        taken_up += flight.replayed;
        paths += flight.paths;
    }
    if (tokens)
        rm_progress_flight(&r->progress, tokens, n, taken_up, paths,
                           r->plan.n_jobs - r->next_job + r->n_retries);
    free(tokens);
}

/* Between two passes of the engine. */
static void watch(void *arg)
{
    runner *r = arg;
    if (r->broken)
        return;
    keep_all(r);
    show(r);
}

void runner_flight_watch(runner *r)
{
    r->any_journal = rm_store_any_journal(r->store);
    rm_engine_watch(r->engine, watch_s, watch, r);
}
