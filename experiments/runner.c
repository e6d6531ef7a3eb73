/* runner.c - phases, scheduling, commits, interruptions.
 *
 * Outcomes are committed at least every half second. An outcome counts as done, for the progress
 * bar and the summary, when it is committed. */
#define _GNU_SOURCE
#include "base/json.h"
#include "experiments/claims.h"
#include "experiments/manifest.h"
#include "experiments/model_files.h"
#include "experiments/quota.h"
#include "experiments/runner_private.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_CONCURRENCY = 64, COMMIT_OUTCOMES = 512 };
static const double commit_every_s = 0.5;

void runner_break(runner *r, rm_status status, const rm_error *err)
{
    if (!r->broken) {
        r->broken = status;
        r->broken_error = *err;
    }
    *r->cancel = true;
}

/* ---- run directories --------------------------------------------------------------------- */

/* What the experiment states about its analysis before it begins; the statement stays as it was
 * when the run began, whatever the file says later. */
static rm_status keep_analysis(const rm_config *config, rm_store *store, rm_error *err)
{
    rm_status status = rm_store_set_meta(store, "primary_metric", config->primary_metric, err);
    if (!status && config->baseline)
        status = rm_store_set_meta(store, "baseline", config->baseline, err);
    if (!status && isfinite(config->margin)) {
        char margin[32];
        snprintf(margin, sizeof margin, "%.17g", config->margin);
        status = rm_store_set_meta(store, "margin", margin, err);
    }
    if (!status && config->direction)
        status = rm_store_set_meta(store, "direction", rm_direction_names[config->direction], err);
    if (!status && config->full)
        status = rm_store_set_meta(store, "full", "1", err);
    if (!status && config->hypothesis)
        status = rm_store_set_meta(store, "hypothesis", config->hypothesis, err);
    if (!status && config->figure)
        status = rm_store_set_meta(store, "figure", config->figure, err);
    if (!status && config->claims.n) {
        rm_text claims = { 0 };
        rm_claims_json(&config->claims, &claims);
        status = claims.failed ? rm_fail(err, RM_E_MEMORY, "no memory for the stated claims")
                               : rm_store_set_meta(store, "claims", claims.data, err);
        rm_text_free(&claims);
    }
    if (status || !config->n_pairs)
        return status;
    rm_text pairs = { 0 };
    rm_json_writer w = { .out = &pairs };
    rm_json_array(&w, NULL);
    for (int i = 0; i < config->n_pairs; i++) {
        rm_json_array(&w, NULL);
        rm_json_string(&w, NULL, config->pairs[i].a);
        rm_json_string(&w, NULL, config->pairs[i].b);
        rm_json_end(&w);
    }
    rm_json_end(&w);
    status = pairs.failed ? rm_fail(err, RM_E_MEMORY, "no memory for the stated comparisons")
                          : rm_store_set_meta(store, "comparisons", pairs.data, err);
    rm_text_free(&pairs);
    return status;
}

rm_status rm_run_create(const rm_config *config, const char *dir, rm_store **store, rm_error *err)
{
    char identity[17], *place = realpath(config->file, NULL);
    snprintf(identity, sizeof identity, "%016" PRIx64, config->hash);
    rm_status status =
        rm_store_create(dir, identity, config->text, strlen(config->text), store, err);
    rm_text recorded = { 0 };
    if (!status && !rm_store_get_meta(*store, "config_file", &recorded)) {
        status = rm_store_set_meta(*store, "config_file", place ? place : config->file, err);
        if (!status)
            status = rm_store_set_meta(*store, "name", config->name ? config->name : "", err);
        if (!status)
            status = keep_analysis(config, *store, err);
        if (!status)
            status = rm_store_commit(*store, err);
        if (status) {
            rm_store_close(*store);
            *store = NULL;
        }
    }
    rm_text_free(&recorded);
    free(place);
    return status;
}

rm_status rm_run_config(rm_store *store, rm_config **config, rm_error *err)
{
    enum { MAX_CONFIG = 64 << 20 };
    rm_text file = { 0 }, full = { 0 };
    char *text = NULL, *path = rm_store_path(store, "config.json");
    size_t n = 0;
    rm_status status = RM_OK;
    if (!path)
        status = rm_fail(err, RM_E_MEMORY, "no memory for the name of a file");
    else if (!rm_store_get_meta(store, "config_file", &file))
        status = rm_fail(err, RM_E_ARGUMENT, "%s was not made by `ramify run` (imported samples "
                         "have no configuration to go on with)", rm_store_dir(store));
    if (!status)
        status = rm_file_read(path, MAX_CONFIG, &text, &n, err);
    if (!status)
        status = rm_store_get_meta(store, "full", &full)
                     ? rm_config_parse_full(file.data, text, n, config, err)
                     : rm_config_parse(file.data, text, n, config, err);
    rm_text_free(&full);
    free(text);
    free(path);
    rm_text_free(&file);
    return status;
}

int rm_run_concurrency(const rm_config *config, const rm_runner_options *options)
{
    return options->concurrency  ? options->concurrency
           : config->concurrency ? config->concurrency
                                 : DEFAULT_CONCURRENCY;
}

rm_status rm_run_settings(rm_store *store, rm_runner_options *options, rm_error *err)
{
    rm_text text = { 0 };
    int problems = 0, mode = RM_MODE_ALL;
    if (rm_store_get_meta(store, "settings", &text) &&
        sscanf(text.data, "%d %d", &problems, &mode) != 2) {
        rm_text_free(&text);
        return rm_fail(err, RM_E_FORMAT, "%s/records.sqlite has damaged settings",
                       rm_store_dir(store));
    }
    if (!options->problems)
        options->problems = problems;
    if (options->mode == RM_MODE_ALL)
        options->mode = (rm_mode)mode;
    rm_text_free(&text);
    return RM_OK;
}

static rm_status keep_settings(rm_store *store, const rm_runner_options *options, rm_error *err)
{
    char text[32];
    snprintf(text, sizeof text, "%d %d", options->problems, (int)options->mode);
    return rm_store_set_meta(store, "settings", text, err);
}

/* Which phases the mode has, in their order. */
static bool has_phase(const runner *r, rm_timing timing)
{
    rm_mode mode = r->options->mode;
    if (timing == RM_TIMING_THROUGHPUT)
        return mode != RM_MODE_LATENCY;
    return mode == RM_MODE_LATENCY || (mode == RM_MODE_ALL && r->config->latency_problems > 0);
}

/* The size of each phase stands in the records before the first outcome, so that records of a run
 * that was stopped can be told from whole ones (records.c). */
static rm_status keep_totals(const runner *r, rm_error *err)
{
    rm_status status = RM_OK;
    for (int t = 0; t < 2 && !status; t++) {
        rm_timing timing = t ? RM_TIMING_LATENCY : RM_TIMING_THROUGHPUT;
        char key[32], value[24];
        if (!has_phase(r, timing))
            continue;
        snprintf(key, sizeof key, "planned %s", rm_timing_name(timing));
        snprintf(value, sizeof value, "%zu",
                 rm_plan_total(r->config, timing, r->options->problems));
        status = rm_store_set_meta(r->store, key, value, err);
    }
    return status;
}

/* ---- engine and models ------------------------------------------------------------------- */

/* A run must go on with the models it began with; where the arithmetic depends on the instruction
 * set (all compute types but f32), with the same variant; and on a device with the same one. */
static rm_status check_recorded(runner *r, const char *key, const char *value, const char *what,
                                rm_error *err)
{
    rm_text recorded = { 0 };
    rm_status status = RM_OK;
    if (!rm_store_get_meta(r->store, key, &recorded))
        status = rm_store_set_meta(r->store, key, value, err);
    else if (strcmp(recorded.data, value) != 0)
        status = rm_fail(err, RM_E_ARGUMENT, "%s was begun with %s %s, this is %s: its records "
                         "would not be comparable", rm_store_dir(r->store), what, recorded.data,
                         value);
    rm_text_free(&recorded);
    return status;
}

static rm_status open_model(runner *r, int index, rm_error *err)
{
    const rm_config_model *wanted = &r->config->models[index];
    if (!wanted->remote)
        return rm_config_model_load(r->config, index, r->engine, &r->models[index], err);
    rm_status status = rm_config_model_open(wanted, r->engine, &r->models[index], err);
    if (status)
        return rm_fail_within(err, status, "%s:%zu: model %s", r->config->file, wanted->line,
                              wanted->name);
    return RM_OK;
}

/* What reports call the model whose costs these are. */
static rm_status keep_replay(runner *r, const rm_model_info *body, rm_error *err)
{
    const char *slash = strrchr(body->file, '/');
    rm_text name = { 0 };
    rm_text_printf(&name, "%s (%.3g M parameters, %s)", slash ? slash + 1 : body->file,
                   (double)body->n_params / 1e6, body->weight_type);
    rm_status status = name.failed
                           ? rm_fail(err, RM_E_MEMORY, "no memory for the name of a model")
                           : rm_store_set_meta(r->store, "replayed_on", name.data, err);
    rm_text_free(&name);
    return status;
}

static rm_status check_model(runner *r, int index, rm_error *err)
{
    const rm_model_info *info = rm_model_describe(r->models[index]);
    char key[96], value[96];
    snprintf(key, sizeof key, "model %.64s", r->config->models[index].name);
    snprintf(value, sizeof value, "%s %s/%s", info->hash, info->compute, info->kv);
    rm_status status = check_recorded(r, key, value, key, err);
    rm_engine_info engine = rm_engine_describe(r->engine);
    bool on_cpu = strcmp(engine.backend, "cpu") == 0;
    if (status || info->served)
        return status;
    if (on_cpu && strcmp(info->compute, "f32") != 0)
        status = check_recorded(r, "isa", engine.isa, "the instruction-set variant", err);
    if (!status)
        status = check_recorded(r, "device", on_cpu ? "cpu" : engine.device, "the device", err);
    const rm_model_info *body = rm_model_replayed_on(r->models[index]);
    if (!status && body) {
        snprintf(key, sizeof key, "replay of %.64s", r->config->models[index].name);
        status = check_recorded(r, key, body->hash, key, err);
        if (!status)
            status = keep_replay(r, body, err);
    }
    return status;
}

static rm_status open_engine(runner *r, rm_error *err)
{
    const rm_config *config = r->config;
    const rm_runner_options *o = r->options;
    rm_engine_options engine = { .isa = o->isa ? o->isa : config->isa,
                                 .backend = o->backend ? o->backend : config->backend,
                                 .device = o->device ? o->device : config->device,
                                 .fast = o->fast || config->fast,
                                 .n_threads = o->threads ? o->threads : config->threads,
                                 .kv_bytes = o->kv_bytes ? o->kv_bytes : config->kv_bytes,
                                 .max_batch_rows = o->max_batch_rows ? o->max_batch_rows
                                                                     : config->max_batch_rows };
    rm_status status = rm_engine_open(&engine, &r->engine, err);
    if (!status && o->progress && rm_engine_describe(r->engine).why[0])
        fprintf(o->progress, "backend: %s\n", rm_engine_describe(r->engine).why);
    r->models = calloc((size_t)config->n_models + 1, sizeof *r->models);
    r->prefixes = calloc((size_t)config->n_models * (size_t)config->n_tasks + 1,
                         sizeof *r->prefixes);
    if (!status && (!r->models || !r->prefixes))
        status = rm_fail(err, RM_E_MEMORY, "no memory for the models of the run");
    for (int i = 0; i < config->n_models && !status; i++)
        status = open_model(r, i, err);
    if (!status)
        status = rm_models_fit(config, r->models, err);
    if (!status)
        status = rm_quota_check(config, r->models, o->problems,
                                rm_engine_describe(r->engine).kv_limit_bytes, err);
    return status ? status : runner_check_chats(r, err);
}

/* ---- prefixes ---------------------------------------------------------------------------- */

enum { PREFIX_MIN = 32, PREFIX_PROBLEMS = 8 };

static rm_status prompt_tokens(const runner *r, const rm_plan_cell *cell, const rm_item *item,
                               const rm_model *model, int32_t **tokens, int *n)
{
    rm_problem problem = item->seen;
    rm_text prompt = { 0 }, plain = { 0 };
    rm_status status = RM_OK;
    if (rm_task_is_chat(r->config->tasks[cell->task])
        && !(status = runner_prompt(r, cell, item, &prompt, &plain, NULL))) {
        problem.prompt = prompt.data;
        problem.prompt_plain = plain.data;
    }
    if (!status)
        status = rm_problem_tokenize(&problem, model, tokens, n, NULL);
    rm_text_free(&prompt);
    rm_text_free(&plain);
    return status;
}

/* Tokens that the first prompts of a task begin with, all of them; *n 0 if they are few. */
static rm_status common_prefix(const runner *r, const rm_plan_cell *cell, int32_t **tokens, int *n,
                               rm_error *err)
{
    int task = cell->task;
    const rm_model *model = r->models[cell->models[0]];
    int problems = r->plan.n_problems[task];
    *n = 0;
    rm_status status = RM_OK;
    for (int i = 0; i < problems && i < PREFIX_PROBLEMS && !status; i++) {
        const rm_item *item;
        int32_t *other = NULL;
        int n_other = 0;
        status = rm_task_item(r->config->tasks[task], (size_t)i, &item, err);
        /* A prompt that this vocabulary cannot spell is the trial's failure, not the run's. */
        if (status || prompt_tokens(r, cell, item, model, &other, &n_other))
            break;
        if (!*tokens) {
            *tokens = other;
            *n = n_other - 1; /* the last token must be the trial's own */
            continue;
        }
        int same = 0;
        while (same < *n && same < n_other - 1 && (*tokens)[same] == other[same])
            same++;
        *n = same;
        free(other);
    }
    return status;
}

/* What the manifest tells of a prefix: its prefill is in no outcome's time, though in every
 * outcome's account. */
static rm_status keep_prefix(runner *r, const char *model, const char *task, int n, rm_error *err)
{
    rm_text key = { 0 }, value = { 0 };
    rm_json_writer w = { .out = &value };
    rm_text_printf(&key, "prefix %s/%s", model, task);
    rm_json_object(&w, NULL);
    rm_json_string(&w, "model", model);
    rm_json_string(&w, "task", task);
    rm_json_int(&w, "tokens", n);
    rm_json_end(&w);
    rm_status status = key.failed || value.failed
                           ? rm_fail(err, RM_E_MEMORY, "no memory for a shared prefix")
                           : rm_store_set_meta(r->store, key.data, value.data, err);
    rm_text_free(&key);
    rm_text_free(&value);
    return status;
}

static rm_status open_prefix(runner *r, const rm_plan_cell *cell, rm_prefix **slot,
                             rm_error *err)
{
    int32_t *tokens = NULL;
    int n = 0;
    const char *task = rm_task_name(r->config->tasks[cell->task]);
    rm_status status = common_prefix(r, cell, &tokens, &n, err);
    if (!status && n >= PREFIX_MIN) {
        rm_error why;
        if (rm_prefix_open(r->engine, r->models[cell->models[0]], tokens, n, slot, &why)) {
            rm_store_log(r->store, "no shared prefix for task %s: %s", task, why.text);
        } else {
            rm_store_log(r->store, "task %s: the %d tokens that its prompts begin with are "
                         "computed once", task, n);
            status = keep_prefix(r, r->config->models[cell->models[0]].name, task, n, err);
        }
    }
    free(tokens);
    return status;
}

/* Opens the prefixes of the plan's cells, of their first models; a pool of KV pages too small for
 * one only means that there is none. */
static rm_status open_prefixes(runner *r, rm_error *err)
{
    rm_status status = RM_OK;
    for (int c = 0; c < r->config->n_cells && !status; c++) {
        const rm_plan_cell *cell = &r->config->cells[c];
        rm_prefix **slot =
            &r->prefixes[cell->models[0] * r->config->n_tasks + cell->task];
        if (!*slot && r->plan.n_problems[cell->task] >= 2)
            status = open_prefix(r, cell, slot, err);
    }
    return status;
}

static void close_engine(runner *r)
{
    for (int i = 0; r->prefixes && i < r->config->n_models * r->config->n_tasks; i++)
        rm_prefix_close(r->prefixes[i]);
    for (int i = 0; r->models && i < r->config->n_models; i++)
        rm_model_close(r->models[i]);
    rm_engine_close(r->engine);
    free(r->prefixes);
    free(r->models);
}

/* ---- jobs -------------------------------------------------------------------------------- */

static void free_job(trial_job *t)
{
    rm_text_free(&t->prompt);
    rm_text_free(&t->plain);
    rm_text_free(&t->journal);
    free(t);
}

/* A pool is drawn whole, so its quota is that of the cell with the most samples. */
static size_t quota_of(const runner *r, const rm_plan_unit *unit, int only,
                       const rm_problem *problem)
{
    size_t most = 0;
    for (int i = 0; i < unit->n_cells; i++) {
        size_t bytes = only >= 0 && i != only
                           ? 0
                           : rm_quota_of(r->config, &r->config->cells[unit->cells[i]], r->models,
                                         problem);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static trial_job *new_job(runner *r, const rm_plan_job *plan, int only)
{
    const rm_plan_unit *unit = &r->plan.units[plan->unit];
    const rm_plan_cell *cell = &r->config->cells[unit->cells[only >= 0 ? only : 0]];
    const rm_item *item;
    rm_error err = { "" };
    rm_status status = rm_task_item(r->config->tasks[cell->task], (size_t)plan->problem, &item,
                                    &err);
    trial_job *t = status ? NULL : calloc(1, sizeof *t);
    if (!t) {
        if (!status)
            status = rm_fail(&err, RM_E_MEMORY, "no memory for a job");
        runner_break(r, status, &err);
        return NULL;
    }
    t->owner = r;
    t->plan = *plan;
    t->only = only;
    t->job.work = trial_work;
    t->job.arg = t;
    t->problem = item->seen;
    if (rm_task_is_chat(r->config->tasks[cell->task])) {
        if ((status = runner_prompt(r, cell, item, &t->prompt, &t->plain, &err))) {
            free_job(t);
            runner_break(r, status, &err);
            return NULL;
        }
        t->problem.prompt = t->prompt.data;
        t->problem.prompt_plain = t->plain.data;
    }
    t->job.options = (rm_run_options){
        .seed = plan->seed, .problem = item->hash, .stream = cell->independent ? cell->hash : 0,
        .kv_quota_bytes = quota_of(r, unit, only, &t->problem),
        .kv_overcommit = !r->config->kv_quota_bytes, .max_wall_ms = r->config->max_wall_ms,
        .max_generated_tokens = r->config->max_generated_tokens,
        .prefix = r->prefixes[cell->models[0] * r->config->n_tasks + cell->task] };
    runner_flight_prepare(t);
    return t;
}

static rm_job *next_job(void *arg)
{
    runner *r = arg;
    trial_job *t = NULL;
    if (*r->cancel)
        return NULL;
    if (r->n_retries)
        t = r->retries[--r->n_retries];
    else if (r->next_job < r->plan.n_jobs)
        t = new_job(r, &r->plan.jobs[r->next_job++], -1);
    return t ? &t->job : NULL;
}

void runner_commit(runner *r)
{
    rm_error err = { "" };
    rm_status status = rm_store_commit(r->store, &err);
    if (status) {
        runner_break(r, status, &err);
        return;
    }
    r->committed_s = rm_now_s();
    r->summary.recorded += r->uncommitted;
    rm_progress_add(&r->progress, r->uncommitted, r->uncommitted_tokens);
    r->uncommitted = 0;
    r->uncommitted_tokens = 0;
}

/* Queues the cells of a pooled job one by one. */
static void queue_singles(runner *r, const trial_job *t)
{
    const rm_plan_unit *unit = &r->plan.units[t->plan.unit];
    for (int i = 0; i < unit->n_cells; i++) {
        if (rm_plan_finished(&r->plan, unit->cells[i], t->plan.problem, t->plan.seed, 0))
            continue;
        if (r->n_retries == r->retry_capacity) {
            size_t capacity = r->retry_capacity ? 2 * r->retry_capacity : 64;
            trial_job **grown = realloc(r->retries, capacity * sizeof *grown);
            if (!grown) {
                rm_error err = { "no memory for a job" };
                runner_break(r, RM_E_MEMORY, &err);
                return;
            }
            r->retries = grown;
            r->retry_capacity = capacity;
        }
        trial_job *single = new_job(r, &t->plan, i);
        if (!single)
            return;
        r->retries[r->n_retries++] = single;
    }
}

/* Out of memory or a failing disk ends the run; so does a cell that can never work: models whose
 * vocabularies do not fit together. Everything else belongs to the outcome. */
static bool is_fatal(const runner *r, const trial_job *t)
{
    const rm_plan_unit *unit = &r->plan.units[t->plan.unit];
    int n_models = r->config->cells[unit->cells[0]].n_models;
    rm_status status = t->job.status;
    return status == RM_E_MEMORY || status == RM_E_IO ||
           ((status == RM_E_ARGUMENT || status == RM_E_UNSUPPORTED) && n_models > 1);
}

static void job_failed(runner *r, trial_job *t)
{
    const rm_plan_unit *unit = &r->plan.units[t->plan.unit];
    int first = t->only >= 0 ? t->only : 0;
    if (is_fatal(r, t)) {
        rm_error err = t->job.error;
        rm_fail_within(&err, t->job.status, "%s", r->config->cells[unit->cells[first]].label);
        runner_break(r, t->job.status, &err);
        return;
    }
    if (t->plan.warm_up)
        return;
    if (unit->pooled && t->only < 0) {
        queue_singles(r, t);
        return;
    }
    trial_record_failure(t, unit->cells[first]);
    if (!r->summary.first_failure.text[0])
        rm_fail(&r->summary.first_failure, RM_OK, "%s, problem %d: %s",
                r->config->cells[unit->cells[first]].label, t->plan.problem, t->job.error.text);
}

static void job_done(void *arg, rm_job *job)
{
    runner *r = arg;
    trial_job *t = (trial_job *)job;
    if (job->status && job->status != RM_E_CANCELLED)
        job_failed(r, t);
    else if (t->retry)
        queue_singles(r, t);
    r->uncommitted += (size_t)t->recorded;
    r->uncommitted_tokens += t->tokens;
    r->summary.failed += (size_t)t->failed;
    if (job->status != RM_E_CANCELLED && !r->broken) {
        runner_flight_forget(t);
        rm_progress_job(&r->progress, t->tokens);
    }
    free_job(t);
    if (!r->broken &&
        (r->uncommitted >= COMMIT_OUTCOMES || rm_now_s() - r->committed_s > commit_every_s))
        runner_commit(r);
}

/* ---- phases ------------------------------------------------------------------------------ */

static rm_status run_phase(runner *r, rm_timing timing, rm_error *err)
{
    const rm_runner_options *o = r->options;
    bool latency = timing == RM_TIMING_LATENCY;
    int concurrency = latency ? 1 : rm_run_concurrency(r->config, o);
    rm_status status = rm_plan_make(r->config, timing, o->problems, !o->no_sharing, r->store,
                                    &r->plan, err);
    if (!status)
        status = runner_record_prompts(r, err);
    if (!status)
        status = rm_store_commit(r->store, err);
    if (!status)
        status = open_prefixes(r, err);
    if (status)
        return status;
    r->next_job = 0;
    r->committed_s = rm_now_s();
    r->summary.planned += r->plan.n_outcomes;
    r->summary.found += r->plan.n_found;
    if (r->plan.n_outcomes) {
        rm_progress_begin(&r->progress, o->progress, rm_timing_name(timing), r->plan.n_outcomes);
        runner_flight_watch(r);
        do
            status = rm_engine_run(r->engine, concurrency, next_job, job_done, r,
                                   r->cancel, err);
        while (!status && !*r->cancel && r->n_retries);
        rm_engine_watch(r->engine, 0, NULL, NULL);
        if (!r->broken && !status && r->any_journal) /* of jobs that are no longer needed */
            status = rm_store_drop_journal(r->store, NULL, err);
        if (!r->broken)
            runner_commit(r);
        rm_progress_end(&r->progress);
    }
    while (r->n_retries)
        free_job(r->retries[--r->n_retries]);
    rm_plan_free(&r->plan);
    if (r->broken) {
        if (err)
            *err = r->broken_error;
        return r->broken;
    }
    if (*r->cancel)
        return rm_fail(err, RM_E_CANCELLED, "stopped; finished outcomes are kept");
    return status;
}

static rm_status run_phases(runner *r, rm_error *err)
{
    rm_status status = RM_OK;
    if (has_phase(r, RM_TIMING_THROUGHPUT))
        status = run_phase(r, RM_TIMING_THROUGHPUT, err);
    if (!status && has_phase(r, RM_TIMING_LATENCY))
        status = run_phase(r, RM_TIMING_LATENCY, err);
    return status;
}

rm_status rm_runner_open(const rm_config *config, const rm_runner_options *options,
                         rm_runner **out, rm_error *err)
{
    runner *r = calloc(1, sizeof *r);
    if (!r)
        return rm_fail(err, RM_E_MEMORY, "no memory for a run");
    r->config = config;
    r->options = options;
    r->cancel = options->cancel ? options->cancel : &r->own_cancel;
    rm_status status = open_engine(r, err);
    if (status)
        rm_runner_close(r);
    else
        *out = r;
    return status;
}

/* What passed between us and the servers: what was computed for answers that broke off is in no
 * outcome's account, but somebody may have to pay for it. */
static void log_traffic(const runner *r)
{
    for (int i = 0; i < r->config->n_models; i++) {
        rm_service_traffic t;
        if (!rm_model_traffic(r->models[i], &t))
            continue;
        rm_store_log(r->store, "model %s: %" PRIu64 " requests, %" PRIu64 " failed attempts; the server "
                     "counts %" PRIu64 " prompt tokens (%" PRIu64 " of them cached) and %" PRIu64
                     " generated ones, not counting %" PRIu64 " answers without a count; %" PRIu64
                     " tokens came of answers that broke off", r->config->models[i].name, t.requests,
                     t.failed_attempts, t.prompt_tokens, t.cached_tokens, t.generated_tokens, t.untold,
                     t.discarded_tokens);
    }
}

rm_status rm_runner_execute(rm_runner *r, rm_store *store, rm_runner_summary *summary,
                            rm_error *err)
{
    const rm_runner_options *options = r->options;
    int64_t session = 0;
    double started = rm_now_s();
    rm_status status = RM_OK;
    r->store = store;
    for (int i = 0; i < r->config->n_models && !status; i++)
        status = check_model(r, i, err);
    if (!status)
        status = keep_settings(store, options, err);
    if (!status)
        status = keep_totals(r, err);
    if (!status)
        status = rm_store_commit(store, err);
    if (!status)
        status = rm_manifest_begin(store, r->config, options, r->engine, r->models, &session, err);
    if (!status) {
        rm_store_log(store, "began: %s", options->command ? options->command : "");
        status = run_phases(r, err);
        r->summary.seconds = rm_now_s() - started;
        const char *ending = !status                    ? "complete"
                             : status == RM_E_CANCELLED ? "interrupted"
                             : err                      ? err->text
                                                        : "failed";
        log_traffic(r);
        rm_store_log(store, "%s: %zu of %zu outcomes recorded, %zu failed, in %.1f s", ending,
                     r->summary.recorded, r->summary.planned, r->summary.failed,
                     r->summary.seconds);
        rm_error ignored; /* on a full disk this too may fail; the first sentence counts */
        rm_manifest_end(store, session, ending, status ? &ignored : err);
    }
    *summary = r->summary;
    return status;
}

void rm_runner_close(rm_runner *r)
{
    if (!r)
        return;
    close_engine(r);
    free(r->retries);
    free(r);
}

rm_status rm_runner_run(const rm_config *config, rm_store *store, const rm_runner_options *options,
                        rm_runner_summary *summary, rm_error *err)
{
    rm_runner *r = NULL;
    rm_status status = rm_runner_open(config, options, &r, err);
    if (!status)
        status = rm_runner_execute(r, store, summary, err);
    rm_runner_close(r);
    return status;
}
