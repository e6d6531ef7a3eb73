/* config_describe.c - the plan of an experiment, as `ramify check` prints it.
 *
 * Estimates.  An outcome generates paths x models x the task's typical length; paths are the
 *             samples of a pool where the strategy draws one, else the value of its size
 *             parameter if that counts paths, else 1. FLOPs are tokens x those of one row with its
 *             distribution, at a context of half the typical length behind the prompt; prompts are
 *             left out. No sharing of samples between cells is assumed. */
#include "experiments/config_private.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct estimate {
    int problems;
    double paths, outcomes, tokens, flops; /* flops NaN without models */
} estimate;

/* The configured number, or what the task has. */
static int n_problems(const rm_config *config, int task, int asked)
{
    size_t there = rm_task_count(config->tasks[task]);
    int n = asked ? asked : config->problems;
    return there < (size_t)n ? (int)there : n;
}

static estimate estimate_cell(const rm_config *config, const rm_plan_cell *cell,
                              const rm_model_info *const *models, int problems)
{
    const rm_strategy *s = rm_params_strategy(cell->params);
    estimate e = { .problems = n_problems(config, cell->task, problems), .paths = 1 };
    rm_task *task = config->tasks[cell->task];
    if (s->pool) {
        rm_sampling sampling = RM_SAMPLING_DEFAULT;
        int n = 0, limit = 0;
        s->pool(rm_params_values(cell->params), &sampling, &n, &limit);
        e.paths = n;
    } else if (!s->size_is_length && !isnan(cell->size) && cell->size > 0) {
        e.paths = cell->size;
    }
    e.outcomes = (double)e.problems * config->n_seeds;
    double each = rm_task_typical_tokens(task) * e.paths;
    e.tokens = each * cell->n_models * e.outcomes;
    for (int i = 0; i < cell->n_models; i++) {
        const rm_model_info *m = models ? models[cell->models[i]] : NULL;
        double row = m ? m->flops_per_token + m->flops_output
                             + m->flops_per_position * (rm_task_typical_tokens(task) / 2.0)
                       : (double)NAN;
        e.flops += row * each * e.outcomes;
    }
    return e;
}

/* 1234567 as "1.2 M". */
static void add_amount(rm_text *out, double v)
{
    if (isnan(v)) { /* a server does not tell */
        rm_text_puts(out, "-");
        return;
    }
    static const char *const units[] = { "", " k", " M", " G", " T", " P", " E" };
    size_t u = 0;
    while (v >= 999.5 && u + 1 < sizeof units / sizeof *units) {
        v /= 1000;
        u++;
    }
    rm_text_printf(out, v < 99.95 && u ? "%.1f%s" : "%.0f%s", v, units[u]);
}

/* A prompt behind a margin, so that its lines stay apart from ours. */
static void add_indented(rm_text *out, const char *text)
{
    rm_text_puts(out, "      | ");
    for (; *text; text++) {
        rm_text_add(out, text, 1);
        if (*text == '\n')
            rm_text_puts(out, "      | ");
    }
    rm_text_puts(out, "\n");
}

static size_t label_width(const rm_config *config)
{
    size_t width = 5;
    for (int i = 0; i < config->n_cells; i++) {
        size_t n = strlen(config->cells[i].label);
        width = n > width ? n : width;
    }
    return width < 60 ? width : 60;
}

static void add_cells(const rm_config *config, const rm_model_info *const *models,
                          int problems, rm_text *out)
{
    int width = (int)label_width(config), task_width = 4;
    for (int i = 0; i < config->n_tasks; i++) {
        int n = (int)strlen(rm_task_name(config->tasks[i]));
        task_width = n > task_width ? n : task_width;
    }
    rm_text_printf(out, "\n%-*s  %-*s  %6s  %9s  %7s%s\n", width, "cell", task_width, "task",
                   "paths", "outcomes", "tokens", models ? "    FLOPs" : "");
    for (int i = 0; i < config->n_cells; i++) {
        const rm_plan_cell *cell = &config->cells[i];
        estimate e = estimate_cell(config, cell, models, problems);
        rm_text amount = { 0 }, flops = { 0 };
        add_amount(&amount, e.tokens);
        if (models)
            add_amount(&flops, e.flops);
        rm_text_printf(out, "%-*s  %-*s  %6.0f  %9.0f  %7s", width, cell->label,
                       task_width, rm_task_name(config->tasks[cell->task]), e.paths, e.outcomes,
                       amount.data ? amount.data : "");
        rm_text_printf(out, models ? "  %7s\n" : "%s\n", flops.data ? flops.data : "");
        rm_text_free(&amount);
        rm_text_free(&flops);
    }
}

void rm_config_totals(const rm_config *config, const rm_model_info *const *models, int problems,
                      rm_text *out)
{
    estimate total = { 0 };
    for (int i = 0; i < config->n_cells; i++) {
        estimate e = estimate_cell(config, &config->cells[i], models, problems);
        total.outcomes += e.outcomes;
        total.tokens += e.tokens;
        total.flops += e.flops;
    }
    rm_text_printf(out, "%s%d cell%s, %.0f outcome%s, about ", config->full ? "full size: " : "",
                   config->n_cells, config->n_cells == 1 ? "" : "s", total.outcomes,
                   total.outcomes == 1 ? "" : "s");
    add_amount(out, total.tokens);
    rm_text_puts(out, " generated tokens");
    if (models && !isnan(total.flops)) {
        rm_text_puts(out, ", ");
        add_amount(out, total.flops);
        rm_text_puts(out, "FLOP");
    }
    if (config->latency_problems)
        rm_text_printf(out, "; latency of %d problem%s, %d repeats each",
                       config->latency_problems, config->latency_problems == 1 ? "" : "s",
                       config->latency_repeats);
    rm_text_puts(out, "\n");
}

/* Combinations that run but throw away what they could have. */
static void add_warnings(const rm_config *config, rm_text *out)
{
    for (int i = 0; i < config->n_cells; i++) {
        rm_text score = { 0 }, answer = { 0 };
        const rm_plan_cell *cell = &config->cells[i];
        if (strcmp(rm_params_strategy(cell->params)->name, "mcts") == 0 &&
            rm_params_get(cell->params, "score", &score) &&
            rm_params_get(cell->params, "answer", &answer) &&
            strcmp(score.data, "verifier") == 0 && strcmp(answer.data, "visits") == 0)
            rm_text_printf(out, "\nwarning: %s follows visits to its answer, which may leave one "
                           "that the verifier has accepted; \"answer\": \"value\" takes it\n",
                           cell->label);
        rm_text_free(&score);
        rm_text_free(&answer);
    }
}

/* What cells are compared with if nothing is stated (analysis.h): a greedy cell, if there is
 * one. */
static const char *usual_baseline(const rm_config *config)
{
    for (int i = 0; i < config->n_cells; i++)
        if (strcmp(rm_params_strategy(config->cells[i].params)->name, "greedy") == 0)
            return "its model's greedy cell";
    return "the task's first cell";
}

/* What the experiment states before the run. */
static void add_analysis(const rm_config *config, rm_text *out)
{
    rm_text_printf(out, "\nanalysis\n  %s", config->primary_metric);
    if (config->direction)
        rm_text_printf(out, ", claimed to be %s", rm_direction_names[config->direction]);
    if (isfinite(config->margin))
        rm_text_printf(out, ", margin %g", config->margin);
    rm_text_printf(out, "; every cell against %s\n",
                   config->baseline ? config->baseline : usual_baseline(config));
    for (int i = 0; i < config->n_pairs; i++)
        rm_text_printf(out, "  %s vs %s\n", config->pairs[i].a, config->pairs[i].b);
    if (config->hypothesis)
        rm_text_printf(out, "  hypothesis: %s\n", config->hypothesis);
    for (size_t i = 0; i < config->claims.n; i++) {
        const rm_claim *c = &config->claims.claim[i];
        rm_text_printf(out, "  claim: %s (%s, %s, margin %g)\n", c->text, rm_measure_names[c->measure],
                       rm_direction_names[c->direction], c->margin);
    }
    if (config->figure)
        rm_text_printf(out, "  figure: %s\n", config->figure);
}

/* The first prompt of a task as its models read it, to `out` or to `w`. */
static rm_status add_chats(const rm_config *config, int task, const rm_item *item,
                           rm_model *const *opened, rm_text *out, rm_json_writer *w, rm_error *err)
{
    rm_status st = RM_OK;
    for (int m = 0; m < config->n_models && !st; m++) {
        bool used = false;
        rm_text prompt = { 0 }, plain = { 0 };
        char hash[17];
        for (int c = 0; c < config->n_cells; c++)
            for (int k = 0; k < config->cells[c].n_models; k++)
                used = used || (config->cells[c].task == task && config->cells[c].models[k] == m);
        if (!used || !opened[m]) /* a server is asked nothing before a run */
            continue;
        st = rm_task_prompt(config->tasks[task], item, opened[m], &prompt, &plain, err);
        const char *origin = rm_task_chat_origin(config->tasks[task], opened[m]);
        snprintf(hash, sizeof hash, "%016" PRIx64, rm_hash_bytes(prompt.data, prompt.length));
        if (st)
            rm_fail_within(err, st, "model %s", config->models[m].name);
        else if (w) {
            rm_json_object(w, NULL);
            rm_json_string(w, "model", config->models[m].name);
            rm_json_string(w, "chat_template", origin);
            rm_json_string(w, "prompt", prompt.data);
            rm_json_string(w, "prompt_hash", hash);
            rm_json_end(w);
        } else {
            rm_text_printf(out, "    as %s reads it, hash %s (chat template: %s):\n",
                           config->models[m].name, hash, origin);
            add_indented(out, prompt.data);
        }
        rm_text_free(&prompt);
        rm_text_free(&plain);
    }
    return st;
}

static rm_status describe_text(const rm_config *config, const rm_model_info *const *models,
                               rm_model *const *opened,
                               int problems, rm_text *out, rm_error *err)
{
    rm_text_printf(out, "experiment %s\n", config->name);
    if (*config->description)
        rm_text_printf(out, "  %s\n", config->description);
    rm_text_puts(out, "\nmodels\n");
    for (int i = 0; i < config->n_models; i++) {
        const rm_config_model *m = &config->models[i];
        rm_text_printf(out, "  %s (%s%s%s)\n", m->name, m->file, m->options.compute ? ", " : "",
                       m->options.compute ? m->options.compute
                       : m->remote ? ", a server: records depend on it" : "");
        if (models && models[i] && models[i]->sampling)
            rm_text_printf(out, "      its makers sample with %s (not applied: ask for it)\n",
                           models[i]->sampling);
    }
    if (config->replay_on)
        rm_text_printf(out, "  replayed on %s: costs and times are that model's\n", config->replay_on);
    rm_text_puts(out, "\ntasks\n");
    for (int i = 0; i < config->n_tasks; i++) {
        rm_task *task = config->tasks[i];
        const rm_item *item;
        rm_status st = rm_task_item(task, 0, &item, err);
        if (st)
            return st;
        int n = n_problems(config, i, problems);
        rm_text_printf(out, "  %s (%s, %s grader%s), %d problem%s; the first prompt, hash "
                       "%016" PRIx64 ":\n", rm_task_name(task), rm_task_kind(task),
                       rm_task_grader(task),
                       rm_task_has_verifier(task) ? ", exact verifier" : "", n,
                       n == 1 ? "" : "s", item->prompt_hash);
        add_indented(out, item->seen.prompt);
        if (opened && rm_task_is_chat(task) && (st = add_chats(config, i, item, opened, out, NULL,
                                                               err)))
            return st;
        rm_text_printf(out, "      reference %s\n", item->reference);
    }
    add_cells(config, models, problems, out);
    rm_text_puts(out, "\n");
    rm_config_totals(config, models, problems, out);
    add_analysis(config, out);
    add_warnings(config, out);
    return RM_OK;
}

static rm_status describe_tasks(const rm_config *config, rm_model *const *opened, int problems,
                                rm_json_writer *w, rm_error *err)
{
    rm_json_array(w, "tasks");
    for (int i = 0; i < config->n_tasks; i++) {
        rm_task *task = config->tasks[i];
        const rm_item *item;
        rm_status st = rm_task_item(task, 0, &item, err);
        if (st)
            return st;
        char hash[17];
        snprintf(hash, sizeof hash, "%016" PRIx64, item->prompt_hash);
        rm_json_object(w, NULL);
        rm_json_string(w, "name", rm_task_name(task));
        rm_json_string(w, "kind", rm_task_kind(task));
        rm_json_string(w, "grader", rm_task_grader(task));
        rm_json_bool(w, "verifier", rm_task_has_verifier(task));
        rm_json_int(w, "problems", n_problems(config, i, problems));
        rm_json_string(w, "prompt", item->seen.prompt);
        rm_json_string(w, "prompt_hash", hash);
        rm_json_string(w, "reference", item->reference);
        if (opened && rm_task_is_chat(task)) {
            rm_json_array(w, "chats");
            st = add_chats(config, i, item, opened, NULL, w, err);
            rm_json_end(w);
            if (st)
                return st;
        }
        rm_json_end(w);
    }
    rm_json_end(w);
    return RM_OK;
}

static void describe_analysis(const rm_config *config, rm_json_writer *w)
{
    rm_json_object(w, "analysis");
    rm_json_string(w, "primary_metric", config->primary_metric);
    rm_json_real(w, "margin", config->margin);
    rm_json_string(w, "direction", rm_direction_names[config->direction]);
    rm_json_string(w, "baseline", config->baseline);
    rm_json_array(w, "comparisons");
    for (int i = 0; i < config->n_pairs; i++) {
        rm_json_array(w, NULL);
        rm_json_string(w, NULL, config->pairs[i].a);
        rm_json_string(w, NULL, config->pairs[i].b);
        rm_json_end(w);
    }
    rm_json_end(w);
    rm_json_end(w);
}

static rm_status describe_json(const rm_config *config, const rm_model_info *const *models,
                               rm_model *const *opened,
                               int problems, rm_text *out, rm_error *err)
{
    rm_json_writer w = { .out = out, .pretty = true };
    estimate total = { 0 };
    rm_json_object(&w, NULL);
    rm_json_string(&w, "name", config->name);
    rm_json_string(&w, "description", config->description);
    rm_json_array(&w, "models");
    for (int i = 0; i < config->n_models; i++) {
        rm_json_object(&w, NULL);
        rm_json_string(&w, "name", config->models[i].name);
        rm_json_string(&w, "file", config->models[i].file);
        rm_json_string(&w, "compute", config->models[i].options.compute);
        rm_json_string(&w, "kv", config->models[i].options.kv);
        if (config->models[i].options.n_ctx)
            rm_json_int(&w, "context", config->models[i].options.n_ctx);
        if (models && models[i])
            rm_json_string(&w, "makers_sampling", models[i]->sampling);
        rm_json_end(&w);
    }
    rm_json_end(&w);
    rm_json_string(&w, "replay_on", config->replay_on);
    rm_status st = describe_tasks(config, opened, problems, &w, err);
    if (st)
        return st;
    rm_json_array(&w, "seeds");
    for (int i = 0; i < config->n_seeds; i++)
        rm_json_uint(&w, NULL, config->seeds[i]);
    rm_json_end(&w);
    rm_json_array(&w, "cells");
    for (int i = 0; i < config->n_cells; i++) {
        const rm_plan_cell *cell = &config->cells[i];
        estimate e = estimate_cell(config, cell, models, problems);
        rm_text text = { 0 };
        rm_config_models_text(config, cell, &text);
        rm_json_object(&w, NULL);
        rm_json_string(&w, "label", cell->label);
        rm_json_string(&w, "family", cell->family);
        rm_json_real(&w, "size", cell->size);
        rm_json_string(&w, "model", text.data);
        rm_json_string(&w, "task", rm_task_name(config->tasks[cell->task]));
        rm_json_string(&w, "strategy", rm_params_strategy(cell->params)->name);
        rm_text_free(&text);
        rm_params_json(cell->params, &text);
        rm_json_raw(&w, "params", text.data ? text.data : "{}");
        rm_text_free(&text);
        rm_json_real(&w, "paths", e.paths);
        rm_json_real(&w, "outcomes", e.outcomes);
        rm_json_real(&w, "estimated_tokens", e.tokens);
        rm_json_real(&w, "estimated_flops", e.flops);
        rm_json_end(&w);
        total.outcomes += e.outcomes;
        total.tokens += e.tokens;
        total.flops += e.flops;
    }
    rm_json_end(&w);
    rm_json_real(&w, "outcomes", total.outcomes);
    rm_json_real(&w, "estimated_tokens", total.tokens);
    rm_json_real(&w, "estimated_flops", total.flops);
    rm_json_int(&w, "latency_problems", config->latency_problems);
    rm_json_int(&w, "latency_repeats", config->latency_repeats);
    describe_analysis(config, &w);
    rm_json_end(&w);
    rm_text_puts(out, "\n");
    return RM_OK;
}

static rm_status describe(const rm_config *config, const rm_model_info *const *models,
                          rm_model *const *opened, int problems, bool json, rm_text *out,
                          rm_error *err)
{
    rm_status st = json ? describe_json(config, models, opened, problems, out, err)
                        : describe_text(config, models, opened, problems, out, err);
    if (!st && out->failed)
        st = rm_fail(err, RM_E_MEMORY, "out of memory for the plan");
    return st;
}

rm_status rm_config_describe(const rm_config *config, const rm_model_info *const *models,
                             int problems, bool json, rm_text *out, rm_error *err)
{
    return describe(config, models, NULL, problems, json, out, err);
}

rm_status rm_config_describe_open(const rm_config *config, rm_model *const *models, int problems,
                                  bool json, rm_text *out, rm_error *err)
{
    const rm_model_info **infos = calloc((size_t)config->n_models + 1, sizeof *infos);
    if (!infos)
        return rm_fail(err, RM_E_MEMORY, "out of memory for the plan");
    for (int i = 0; models && i < config->n_models; i++)
        /* behind a server: not opened */
        infos[i] = models[i] ? rm_model_describe(models[i]) : NULL;
    rm_status st = describe(config, models ? infos : NULL, models, problems, json, out, err);
    free(infos);
    return st;
}
