/* trial.c - one job: strategy, grading, records.
 *
 * The records are handed over from within the coroutine, because all that an outcome consists of
 * lives in the run's memory, which ends with it: the store copies them. Nothing is committed here.
 *
 * A pool of samples serves several cells: the samples are drawn once, each cell chooses among the
 * first n of its own and is charged what these alone would have cost (rm_cost_of_samples). That
 * holds only if the pool came whole and was drawn in one go; the account of the drawing itself is
 * compared with the formula, and where they differ (a quota split the drawing, the context
 * cut it) every cell of the unit is run by itself instead. */
#include "experiments/runner_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const rm_plan_cell *cell_of(const runner *r, int cell)
{
    return &r->config->cells[cell];
}

static double machine_load(void)
{
    double load;
    return getloadavg(&load, 1) == 1 ? load : NAN;
}

static rm_outcome_row row_of(const runner *r, const rm_plan_job *job, int cell)
{
    return (rm_outcome_row){ .cell = cell,
                             .problem = r->plan.rows[cell_of(r, cell)->task][job->problem],
                             .seed = job->seed,
                             .timing = r->plan.timing,
                             .repeat = job->repeat,
                             .pooled = 1,
                             .machine_load = machine_load() };
}

static void record(trial_job *t, const rm_outcome_row *row)
{
    runner *r = t->owner;
    rm_error err = { "" };
    rm_status status = r->broken ? r->broken : rm_store_queue_outcome(r->store, row, &err);
    if (status) {
        runner_break(r, status, &err);
        return;
    }
    rm_plan_finish(&r->plan, row->cell, t->plan.problem, row->seed, row->repeat);
    t->recorded++;
}

void trial_record_failure(trial_job *t, int cell)
{
    rm_outcome_row row = row_of(t->owner, &t->plan, cell);
    row.error = t->job.error.text;
    row.cost = t->job.cost;
    record(t, &row);
    t->failed++;
}

/* A service's tokens are pieces of text, numbered as they came: the numbers are not recorded, nor
 * how many there are where the service does not tell. */
static void forget_pieces(const rm_trial *trial, const rm_cost *cost, rm_candidate *c, int n)
{
    for (int i = 0; i < n; i++)
        if (rm_model_describe(trial->models[c[i].model])->served) {
            c[i].tokens = NULL;
            if (cost->generated_tokens == RM_NOT_COUNTED)
                c[i].n_tokens = -1;
        }
}

/* Grades and records one finished outcome. */
static rm_status finish(trial_job *t, const rm_trial *trial, int cell, rm_outcome *outcome,
                        const rm_cost *cost, int pooled, rm_error *err)
{
    const rm_problem *problem = trial->problem;
    if (t->plan.warm_up)
        return RM_OK;
    forget_pieces(trial, cost, outcome->candidates, outcome->n_candidates);
    bool *correct = rm_run_alloc(trial->run, (size_t)outcome->n_candidates + 1);
    if (!correct)
        return rm_fail(err, RM_E_MEMORY, "no memory to grade %d candidates",
                       outcome->n_candidates);
    for (int i = 0; i < outcome->n_candidates; i++) {
        const char *answer = outcome->candidates[i].answer;
        correct[i] = answer && problem->oracle(problem, answer) >= 0.5;
    }
    rm_outcome_row row = row_of(t->owner, &t->plan, cell);
    row.outcome = outcome;
    row.correct = correct;
    row.cost = *cost;
    row.pooled = pooled;
    record(t, &row);
    return RM_OK;
}

/* ---- one cell by itself --------------------------------------------------------------------- */

static rm_status run_single(trial_job *t, rm_run *run, const rm_trial *trial, int cell,
                            rm_error *err)
{
    rm_outcome outcome = { .chosen = -1 };
    rm_status status = rm_strategy_run(trial, cell_of(t->owner, cell)->params, &outcome, err);
    if (status)
        return status;
    rm_cost cost = rm_run_cost(run);
    if (cost.generated_tokens != RM_NOT_COUNTED)
        t->tokens += cost.generated_tokens;
    return finish(t, trial, cell, &outcome, &cost, 1, err);
}

/* ---- several cells from one pool --------------------------------------------------------- */

static int samples_of(const runner *r, int cell)
{
    const rm_params *params = cell_of(r, cell)->params;
    rm_sampling sampling;
    int n = 0, max_new_tokens = 0;
    rm_params_strategy(params)->pool(rm_params_values(params), &sampling, &n, &max_new_tokens);
    return n;
}

/* The account of the first n samples. */
static rm_status cost_of_first(const rm_trial *trial, const rm_outcome *pool, int n, rm_cost *cost,
                               rm_error *err)
{
    int *generated = rm_run_alloc(trial->run, (size_t)n * sizeof *generated);
    int32_t *tokens = NULL;
    int n_prompt = 0;
    if (!generated)
        return rm_fail(err, RM_E_MEMORY, "no memory to account for %d samples", n);
    rm_status status = rm_problem_tokenize(trial->problem, trial->models[0], &tokens, &n_prompt,
                                           err);
    free(tokens);
    if (status)
        return status;
    for (int i = 0; i < n; i++)
        generated[i] = pool->candidates[i].n_tokens;
    *cost = rm_cost_of_samples(trial->models[0], n_prompt, generated, n);
    return RM_OK;
}

/* A service tells the tokens of the prompt with its answer; what else the formula says of the pool,
 * it does not tell. */
static bool is_served(const rm_trial *trial)
{
    return rm_model_describe(trial->models[0])->served;
}

static bool same_account(const rm_cost *a, const rm_cost *b)
{
    return a->prompt_tokens == b->prompt_tokens && a->generated_tokens == b->generated_tokens &&
           a->evaluated_tokens == b->evaluated_tokens && a->shared_tokens == b->shared_tokens &&
           a->rounds == b->rounds && a->kv_peak_positions == b->kv_peak_positions;
}

/* Lets one cell choose among the first n samples. */
static rm_status choose(trial_job *t, const rm_trial *trial, int cell, const rm_outcome *pool,
                        int pooled, rm_error *err)
{
    const rm_params *params = cell_of(t->owner, cell)->params;
    int n = samples_of(t->owner, cell);
    rm_outcome outcome = { .n_candidates = n, .chosen = -1 };
    outcome.candidates = rm_run_alloc(trial->run, (size_t)n * sizeof *outcome.candidates);
    if (!outcome.candidates)
        return rm_fail(err, RM_E_MEMORY, "no memory for %d candidates", n);
    memcpy(outcome.candidates, pool->candidates, (size_t)n * sizeof *outcome.candidates);
    rm_cost cost;
    rm_status status = cost_of_first(trial, pool, n, &cost, err);
    if (!status && is_served(trial)) {
        rm_cost told = rm_run_cost(trial->run);
        cost.prompt_tokens = told.prompt_tokens;
        if (told.generated_tokens == RM_NOT_COUNTED)
            cost.generated_tokens = RM_NOT_COUNTED;
    }
    if (!status)
        status = rm_params_strategy(params)->choose(trial, rm_params_values(params), &outcome, err);
    if (status)
        return status;
    return finish(t, trial, cell, &outcome, &cost, pooled, err);
}

static rm_status run_pool(trial_job *t, rm_run *run, const rm_trial *trial, rm_error *err)
{
    runner *r = t->owner;
    const rm_plan_unit *unit = &r->plan.units[t->plan.unit];
    int most = 0, missing = 0;
    for (int i = 0; i < unit->n_cells; i++) {
        if (rm_plan_finished(&r->plan, unit->cells[i], t->plan.problem, t->plan.seed, 0))
            continue;
        int n = samples_of(r, unit->cells[i]);
        most = n > most ? n : most;
        missing++;
    }
    rm_outcome pool = { .chosen = -1 };
    rm_status status =
        rm_pool_draw(trial, &unit->sampling, most, unit->max_new_tokens, &pool, err);
    if (status == RM_E_LIMIT || (!status && (pool.cut_short || pool.n_candidates < most))) {
        t->retry = true;
        return RM_OK;
    }
    if (status)
        return status;
    rm_cost drawn = rm_run_cost(run), whole;
    if (drawn.generated_tokens != RM_NOT_COUNTED)
        t->tokens += drawn.generated_tokens; /* once, whatever the cells are charged */
    status = cost_of_first(trial, &pool, most, &whole, err);
    if (!status && !is_served(trial) && !same_account(&drawn, &whole)) {
        t->retry = true;
        return RM_OK;
    }
    for (int i = 0; i < unit->n_cells && !status; i++)
        if (!rm_plan_finished(&r->plan, unit->cells[i], t->plan.problem, t->plan.seed, 0))
            status = choose(t, trial, unit->cells[i], &pool, missing, err);
    return status;
}

/* ---- the coroutine ----------------------------------------------------------------------- */

static rm_status run_trial(trial_job *t, rm_run *run, rm_error *err)
{
    runner *r = t->owner;
    const rm_plan_unit *unit = &r->plan.units[t->plan.unit];
    const rm_plan_cell *first = cell_of(r, unit->cells[t->only >= 0 ? t->only : 0]);
    rm_status status = RM_OK;
    rm_model **models = rm_run_alloc(run, (size_t)first->n_models * sizeof *models);
    if (!status && !models)
        status = rm_fail(err, RM_E_MEMORY, "no memory for a trial");
    if (status)
        return status;
    for (int i = 0; i < first->n_models; i++)
        models[i] = r->models[first->models[i]];
    rm_trial trial = { .run = run, .problem = &t->problem, .models = models,
                       .n_models = first->n_models };
    if (unit->pooled && t->only < 0)
        return run_pool(t, run, &trial, err);
    return run_single(t, run, &trial, unit->cells[t->only >= 0 ? t->only : 0], err);
}

rm_status trial_work(rm_run *run, void *arg, rm_error *err)
{
    trial_job *t = arg;
    runner_flight_begin(t, run);
    rm_status status = run_trial(t, run, err);
    runner_flight_end(t);
    return status;
}
