/* plan.c - cells x problems x seeds into jobs.
 *
 * Throughput. Units are ordered by model and task, so that the problems in flight mostly use one
 * model and batches grow large; within a unit by seed and problem. Cells that only choose among
 * independent samples of one model (best-of-N, votes) with equal sampling parameters form one
 * unit: the largest n is drawn once and each cell gets the first n of its own. Random draws depend
 * on problem, model, sampling and child number alone, so these are the very samples that each cell
 * would have drawn.
 *
 * Limits forbid sharing: a budget, or a quota, that the whole pool exceeds and a cell alone does
 * not would change that cell's outcome.
 *
 * Latency. One outcome at a time; repeats are the outermost loop, so that a slow spell of the
 * machine does not fall on one cell; within each problem the cells come in a random order that
 * the seed, the problem and the repeat decide. */
#include "experiments/plan.h"

#include <stdlib.h>
#include <string.h>

static rm_status no_memory(rm_error *err)
{
    return rm_fail(err, RM_E_MEMORY, "no memory for the plan of the run");
}

/* ---- which outcomes are recorded ------------------------------------------------------------ */

static int seed_index(const rm_config *config, uint64_t seed)
{
    for (int i = 0; i < config->n_seeds; i++)
        if (config->seeds[i] == seed)
            return i;
    return -1;
}

/* Number of an outcome among cells x (most) problems x seeds x repeats; SIZE_MAX if not planned. */
static size_t plan_slot(const rm_plan *plan, int cell, int problem, uint64_t seed, int repeat)
{
    const rm_config *config = plan->config;
    int s = seed_index(config, seed);
    if (cell < 0 || cell >= config->n_cells || s < 0 || repeat < 0 || repeat >= plan->n_repeats)
        return SIZE_MAX;
    int n = plan->n_problems[config->cells[cell].task];
    if (problem < 0 || problem >= n)
        return SIZE_MAX;
    size_t most = plan->n_slots / ((size_t)config->n_cells * (size_t)config->n_seeds *
                                   (size_t)plan->n_repeats);
    return (((size_t)cell * most + (size_t)problem) * (size_t)config->n_seeds + (size_t)s) *
               (size_t)plan->n_repeats + (size_t)repeat;
}

bool rm_plan_finished(const rm_plan *plan, int cell, int problem, uint64_t seed, int repeat)
{
    size_t slot = plan_slot(plan, cell, problem, seed, repeat);
    return slot != SIZE_MAX && plan->finished[slot / 8] >> (slot % 8) & 1;
}

void rm_plan_finish(rm_plan *plan, int cell, int problem, uint64_t seed, int repeat)
{
    size_t slot = plan_slot(plan, cell, problem, seed, repeat);
    if (slot != SIZE_MAX)
        plan->finished[slot / 8] |= (uint8_t)(1u << (slot % 8));
}

typedef struct row_place {
    int64_t row;
    int problem;
} row_place;

typedef struct marking {
    rm_plan *plan;
    row_place *places;  /* of all tasks, sorted by row */
    size_t n;
} marking;

static int by_row(const void *left, const void *right)
{
    const row_place *a = left, *b = right;
    return (a->row > b->row) - (a->row < b->row);
}

static void mark(void *arg, int cell, int64_t problem, uint64_t seed, rm_timing timing, int repeat)
{
    marking *m = arg;
    row_place wanted = { problem, 0 };
    const row_place *found = bsearch(&wanted, m->places, m->n, sizeof wanted, by_row);
    if (timing != m->plan->timing || !found)
        return;
    if (plan_slot(m->plan, cell, found->problem, seed, repeat) == SIZE_MAX)
        return;
    rm_plan_finish(m->plan, cell, found->problem, seed, repeat);
    m->plan->n_found++;
}

static rm_status mark_finished(rm_plan *plan, rm_store *store, rm_error *err)
{
    const rm_config *config = plan->config;
    size_t n = 0, most = 0;
    for (int t = 0; t < config->n_tasks; t++) {
        n += (size_t)plan->n_problems[t];
        if ((size_t)plan->n_problems[t] > most)
            most = (size_t)plan->n_problems[t];
    }
    plan->n_slots = (size_t)config->n_cells * most * (size_t)config->n_seeds *
                    (size_t)plan->n_repeats;
    plan->finished = calloc(plan->n_slots / 8 + 1, 1);
    row_place *places = malloc((n + 1) * sizeof *places);
    if (!plan->finished || !places) {
        free(places);
        return no_memory(err);
    }
    n = 0;
    for (int t = 0; t < config->n_tasks; t++)
        for (int i = 0; i < plan->n_problems[t]; i++)
            places[n++] = (row_place){ plan->rows[t][i], i };
    qsort(places, n, sizeof *places, by_row);
    marking m = { plan, places, n };
    rm_status status = rm_store_finished(store, mark, &m, err);
    free(places);
    return status;
}

/* ---- cells and problems into the records ------------------------------------------------- */

rm_status rm_plan_cell_record(const rm_config *config, const rm_plan_cell *cell, rm_text *model,
                              rm_text *params, rm_cell *record, rm_error *err)
{
    const rm_strategy *strategy = rm_params_strategy(cell->params);
    const void *values = rm_params_values(cell->params);
    for (int i = 0; i < cell->n_models; i++) {
        rm_text_puts(model, i ? " + " : "");
        rm_text_puts(model, config->models[cell->models[i]].name);
    }
    rm_params_json(cell->params, params);
    if (model->failed || params->failed)
        return no_memory(err);
    *record = (rm_cell){
        .model = model->data, .task = (char *)(uintptr_t)rm_task_name(config->tasks[cell->task]),
        .strategy = (char *)(uintptr_t)strategy->name, .params = params->data,
        .label = cell->label, .family = cell->family, .size = cell->size,
        .size_name = (char *)(uintptr_t)cell->size_name,
        .exchangeable = strategy->exchangeable && strategy->exchangeable(values),
        .verifier = strategy->uses_verifier && strategy->uses_verifier(values),
        .oracle = strategy->uses_oracle && strategy->uses_oracle(values) };
    return RM_OK;
}

static rm_status record_cells(const rm_config *config, rm_store *store, rm_error *err)
{
    rm_status status = RM_OK;
    for (int i = 0; i < config->n_cells && !status; i++) {
        rm_text model = { 0 }, params = { 0 };
        rm_cell record;
        status = rm_plan_cell_record(config, &config->cells[i], &model, &params, &record, err);
        if (!status)
            status = rm_store_put_cell(store, i, &record, err);
        rm_text_free(&model);
        rm_text_free(&params);
    }
    return status;
}

static rm_status record_problems(rm_plan *plan, int task, rm_store *store, rm_error *err)
{
    rm_task *source = plan->config->tasks[task];
    int n = plan->n_problems[task];
    plan->rows[task] = calloc((size_t)n + 1, sizeof *plan->rows[task]);
    if (!plan->rows[task])
        return no_memory(err);
    rm_status status = RM_OK;
    for (int i = 0; i < n && !status; i++) {
        const rm_item *item;
        status = rm_task_item(source, (size_t)i, &item, err);
        if (status)
            break;
        rm_problem_row row = { .task = rm_task_name(source), .id = item->seen.id, .index = i,
                               .question = item->question, .reference = item->reference,
                               .prompt = item->seen.prompt, .cluster = item->cluster,
                               .level = item->level, .hash = item->hash,
                               .prompt_hash = item->prompt_hash };
        status = rm_store_put_problem(store, &row, &plan->rows[task][i], err);
    }
    return status;
}

/* ---- units ------------------------------------------------------------------------------- */

static bool same_sampling(const rm_sampling *a, const rm_sampling *b)
{
    return a->do_sample == b->do_sample && a->temperature == b->temperature &&
           a->top_k == b->top_k && a->top_p == b->top_p && a->min_p == b->min_p &&
           a->typical_p == b->typical_p && a->repetition_penalty == b->repetition_penalty;
}

/* The unit that cell may join, or NULL. */
static rm_plan_unit *find_pool(rm_plan *plan, const rm_plan_cell *cell, const rm_sampling *sampling,
                          int max_new_tokens)
{
    const rm_config *config = plan->config;
    for (int u = 0; u < plan->n_units; u++) {
        rm_plan_unit *unit = &plan->units[u];
        const rm_plan_cell *first = &config->cells[unit->cells[0]];
        if (unit->max_new_tokens > 0 && unit->max_new_tokens == max_new_tokens &&
            first->task == cell->task && first->models[0] == cell->models[0] &&
            same_sampling(&unit->sampling, sampling))
            return unit;
    }
    return NULL;
}

static bool may_share(const rm_plan *plan, const rm_plan_cell *cell)
{
    const rm_config *config = plan->config;
    const rm_strategy *strategy = rm_params_strategy(cell->params);
    return plan->share && plan->timing == RM_TIMING_THROUGHPUT && strategy->pool
        && strategy->choose &&
           cell->n_models == 1 && !cell->independent && config->max_wall_ms <= 0 &&
           config->max_generated_tokens == 0 && config->kv_quota_bytes == 0;
}

/* Models first, then task, then place in the file. */

static int unit_order(const rm_plan *plan, const rm_plan_unit *a, const rm_plan_unit *b)
{
    const rm_plan_cell *x = &plan->config->cells[a->cells[0]];
    const rm_plan_cell *y = &plan->config->cells[b->cells[0]];
    for (int i = 0; i < x->n_models && i < y->n_models; i++)
        if (x->models[i] != y->models[i])
            return x->models[i] - y->models[i];
    if (x->n_models != y->n_models)
        return x->n_models - y->n_models;
    return x->task != y->task ? x->task - y->task : a->cells[0] - b->cells[0];
}

/* Insertion sort: stable, and there are few cells. */
static void sort_units(rm_plan *plan)
{
    for (int i = 1; i < plan->n_units; i++)
        for (int j = i; j > 0 && unit_order(plan, &plan->units[j - 1], &plan->units[j]) > 0; j--) {
            rm_plan_unit swapped = plan->units[j];
            plan->units[j] = plan->units[j - 1];
            plan->units[j - 1] = swapped;
        }
}

static rm_status make_units(rm_plan *plan, rm_error *err)
{
    const rm_config *config = plan->config;
    plan->units = calloc((size_t)config->n_cells + 1, sizeof *plan->units);
    if (!plan->units)
        return no_memory(err);
    for (int c = 0; c < config->n_cells; c++) {
        const rm_plan_cell *cell = &config->cells[c];
        rm_sampling sampling = RM_SAMPLING_DEFAULT;
        int n_samples = 0, max_new_tokens = 0;
        rm_plan_unit *unit = NULL;
        if (may_share(plan, cell)) {
            rm_params_strategy(cell->params)
                ->pool(rm_params_values(cell->params), &sampling, &n_samples, &max_new_tokens);
            unit = find_pool(plan, cell, &sampling, max_new_tokens);
        }
        if (!unit) {
            unit = &plan->units[plan->n_units];
            unit->cells = calloc((size_t)config->n_cells, sizeof *unit->cells);
            if (!unit->cells)
                return no_memory(err);
            plan->n_units++;
            unit->sampling = sampling;
            unit->max_new_tokens = max_new_tokens;
        }
        unit->cells[unit->n_cells++] = c;
        unit->pooled = unit->n_cells > 1;
    }
    sort_units(plan);
    return RM_OK;
}

/* ---- jobs -------------------------------------------------------------------------------- */

static rm_status add_job(rm_plan *plan, rm_plan_job job, rm_error *err)
{
    if (plan->n_jobs == plan->job_capacity) {
        size_t capacity = plan->job_capacity ? 2 * plan->job_capacity : 256;
        rm_plan_job *jobs = realloc(plan->jobs, capacity * sizeof *jobs);
        if (!jobs)
            return no_memory(err);
        plan->jobs = jobs;
        plan->job_capacity = capacity;
    }
    plan->jobs[plan->n_jobs++] = job;
    return RM_OK;
}

static int missing_cells(const rm_plan *plan, const rm_plan_unit *unit, int problem, uint64_t seed,
                         int repeat)
{
    int missing = 0;
    for (int i = 0; i < unit->n_cells; i++)
        missing += !rm_plan_finished(plan, unit->cells[i], problem, seed, repeat);
    return missing;
}

static rm_status throughput_jobs(rm_plan *plan, rm_error *err)
{
    const rm_config *config = plan->config;
    rm_status status = RM_OK;
    for (int u = 0; u < plan->n_units; u++) {
        int n = plan->n_problems[config->cells[plan->units[u].cells[0]].task];
        for (int s = 0; s < config->n_seeds; s++)
            for (int p = 0; p < n && !status; p++) {
                int missing = missing_cells(plan, &plan->units[u], p, config->seeds[s], 0);
                plan->n_outcomes += (size_t)missing;
                if (missing)
                    status = add_job(plan, (rm_plan_job){ .unit = u, .problem = p,
                                                          .seed = config->seeds[s] }, err);
            }
    }
    return status;
}

/* order[0..n) = 0..n-1 shuffled (Fisher & Yates). */
static void shuffle(int *order, int n, uint64_t seed, int problem, int repeat)
{
    uint64_t stream = rm_mix(rm_mix(rm_hash_bytes("latency order", 13), (uint64_t)problem),
                             (uint64_t)repeat);
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = (int)rm_scale(rm_random(seed, stream, (uint32_t)i, 0), (uint64_t)i + 1);
        int kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

/* The first seed only: repeats measure one and the same outcome. */
static rm_status latency_round(rm_plan *plan, int problem, int repeat, const int *order,
                               rm_error *err)
{
    const rm_config *config = plan->config;
    uint64_t seed = config->seeds[0];
    rm_status status = RM_OK;
    for (int i = 0; i < plan->n_units && !status; i++) {
        int u = order[i], cell = plan->units[u].cells[0];
        if (problem >= plan->n_problems[config->cells[cell].task] ||
            rm_plan_finished(plan, cell, problem, seed, repeat))
            continue;
        plan->n_outcomes++;
        status = add_job(plan, (rm_plan_job){ .unit = u, .problem = problem, .repeat = repeat,
                                              .seed = seed }, err);
    }
    return status;
}

static rm_status latency_jobs(rm_plan *plan, rm_error *err)
{
    const rm_config *config = plan->config;
    int most = 0;
    for (int t = 0; t < config->n_tasks; t++)
        most = plan->n_problems[t] > most ? plan->n_problems[t] : most;
    int *order = malloc(((size_t)plan->n_units + 1) * sizeof *order);
    if (!order)
        return no_memory(err);
    rm_status status = RM_OK;
    for (int i = 0; i < config->latency_warmup && plan->n_units && most && !status; i++)
        status = add_job(plan, (rm_plan_job){ .unit = i % plan->n_units,
                                              .seed = config->seeds[0], .warm_up = true }, err);
    for (int r = 0; r < plan->n_repeats; r++)
        for (int p = 0; p < most && !status; p++) {
            shuffle(order, plan->n_units, config->seeds[0], p, r);
            status = latency_round(plan, p, r, order, err);
        }
    if (!plan->n_outcomes)
        plan->n_jobs = 0; /* no warm-up for nothing */
    free(order);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------- */

/* How many problems of a task a phase takes; `wanted` 0: as the configuration says. */
static int problems_of(const rm_config *config, rm_timing timing, int wanted, int task)
{
    bool latency = timing == RM_TIMING_LATENCY;
    int standard = latency && config->latency_problems ? config->latency_problems
                                                        : config->problems;
    int n = wanted && (!latency || wanted < standard) ? wanted : standard;
    size_t available = rm_task_count(config->tasks[task]);
    return available < (size_t)n ? (int)available : n;
}

static int repeats_of(const rm_config *config, rm_timing timing)
{
    if (timing != RM_TIMING_LATENCY)
        return 1;
    return config->latency_repeats > 3 ? config->latency_repeats : 3;
}

/* Latency takes the first seed only. */
size_t rm_plan_total(const rm_config *config, rm_timing timing, int problems)
{
    size_t each = timing == RM_TIMING_LATENCY ? (size_t)repeats_of(config, timing)
                                              : (size_t)config->n_seeds;
    size_t total = 0;
    for (int c = 0; c < config->n_cells; c++)
        total += each * (size_t)problems_of(config, timing, problems, config->cells[c].task);
    return total;
}

static rm_status count_problems(rm_plan *plan, int wanted, rm_error *err)
{
    const rm_config *config = plan->config;
    plan->n_problems = calloc((size_t)config->n_tasks + 1, sizeof *plan->n_problems);
    plan->rows = calloc((size_t)config->n_tasks + 1, sizeof *plan->rows);
    if (!plan->n_problems || !plan->rows)
        return no_memory(err);
    for (int t = 0; t < config->n_tasks; t++)
        plan->n_problems[t] = problems_of(config, plan->timing, wanted, t);
    return RM_OK;
}

rm_status rm_plan_make(const rm_config *config, rm_timing timing, int problems, bool share,
                       rm_store *store, rm_plan *out, rm_error *err)
{
    rm_plan plan = { .config = config, .timing = timing,
                     .n_repeats = repeats_of(config, timing), .share = share };
    rm_status status = count_problems(&plan, problems, err);
    if (!status)
        status = record_cells(config, store, err);
    for (int t = 0; t < config->n_tasks && !status; t++)
        status = record_problems(&plan, t, store, err);
    if (!status)
        status = mark_finished(&plan, store, err);
    if (!status)
        status = make_units(&plan, err);
    if (!status)
        status = timing == RM_TIMING_LATENCY ? latency_jobs(&plan, err)
                                             : throughput_jobs(&plan, err);
    if (status)
        rm_plan_free(&plan);
    else
        *out = plan;
    return status;
}

void rm_plan_free(rm_plan *plan)
{
    for (int t = 0; plan->rows && t < plan->config->n_tasks; t++)
        free(plan->rows[t]);
    for (int u = 0; u < plan->n_units; u++)
        free(plan->units[u].cells);
    free(plan->rows);
    free(plan->n_problems);
    free(plan->units);
    free(plan->jobs);
    free(plan->finished);
    *plan = (rm_plan){ 0 };
}
