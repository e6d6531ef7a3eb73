/* quota.c - quotas of key/value cache (quota.h). */
#include "experiments/quota.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_MODELS = 64 }; /* that one run can use */

/* Tokens of a prompt, 0 if the vocabulary cannot spell it. */
static int prompt_length(const rm_model *model, const rm_problem *problem)
{
    int32_t *tokens = NULL;
    int n = 0;
    if (rm_problem_tokenize(problem, model, &tokens, &n, NULL))
        n = 0;
    free(tokens);
    return n;
}

/* The same for a task's problem as the model's chat template renders it; 0 for a model behind a
 * server, which holds nothing here. */
static int item_length(rm_task *task, const rm_item *item, const rm_model *model)
{
    rm_problem problem = item->seen;
    rm_text prompt = { 0 }, plain = { 0 };
    int n = 0;
    if (!model || rm_model_describe(model)->served)
        return 0;
    if (!rm_task_is_chat(task)) {
        n = prompt_length(model, &problem);
    } else if (!rm_task_prompt(task, item, model, &prompt, &plain, NULL)) {
        problem.prompt = prompt.data;
        problem.prompt_plain = plain.data;
        n = prompt_length(model, &problem);
    }
    rm_text_free(&prompt);
    rm_text_free(&plain);
    return n;
}

static size_t as_size(uint64_t bytes)
{
    return bytes < SIZE_MAX ? (size_t)bytes : SIZE_MAX;
}

static double mebibytes(size_t bytes)
{
    return (double)bytes / 1048576.0;
}

static size_t whole_mebibytes(size_t bytes)
{
    return bytes / 1048576 + (bytes % 1048576 != 0);
}

/* The most that a cell can hold; prompts of n_prompt[m] tokens under the configuration's model
 * m. */
static size_t cell_bytes(const rm_plan_cell *cell, rm_model *const *models, const int *n_prompt)
{
    rm_model *used[MAX_MODELS];
    int length[MAX_MODELS], n = 0;
    for (int m = 0; m < cell->n_models && n < MAX_MODELS; m++) {
        if (!models[cell->models[m]]) /* behind a server, not opened */
            continue;
        used[n] = models[cell->models[m]];
        length[n++] = n_prompt[cell->models[m]];
    }
    return as_size(rm_params_kv_bytes(cell->params, used, n, length));
}

size_t rm_quota_of(const rm_config *config, const rm_plan_cell *cell, rm_model *const *models,
                   const rm_problem *problem)
{
    if (config->kv_quota_bytes)
        return config->kv_quota_bytes;
    rm_model *used[MAX_MODELS];
    int length[MAX_MODELS], n = cell->n_models < MAX_MODELS ? cell->n_models : MAX_MODELS;
    for (int m = 0; m < n; m++) {
        used[m] = models[cell->models[m]];
        length[m] = prompt_length(used[m], problem);
    }
    return as_size(rm_params_kv_bytes(cell->params, used, n, length));
}

static int n_problems(const rm_config *config, int task, int asked)
{
    size_t there = rm_task_count(config->tasks[task]);
    int n = asked ? asked : config->problems;
    return there < (size_t)n ? (int)there : n;
}

/* The largest quota there is, and whose. */
typedef struct largest {
    size_t bytes;
    const char *cell, *problem;
} largest;

static rm_status look_at_task(const rm_config *config, rm_model *const *models, int task,
                              int problems, int *n_prompt, largest *most, rm_error *err)
{
    int n = n_problems(config, task, problems);
    for (int p = 0; p < n; p++) {
        const rm_item *item;
        rm_status status = rm_task_item(config->tasks[task], (size_t)p, &item, err);
        if (status)
            return status;
        for (int m = 0; m < config->n_models; m++)
            n_prompt[m] = -1;
        for (int c = 0; c < config->n_cells; c++) {
            const rm_plan_cell *cell = &config->cells[c];
            if (cell->task != task)
                continue;
            for (int m = 0; m < cell->n_models; m++)
                if (n_prompt[cell->models[m]] < 0)
                    n_prompt[cell->models[m]] =
                        item_length(config->tasks[task], item, models[cell->models[m]]);
            size_t bytes = cell_bytes(cell, models, n_prompt);
            if (bytes > most->bytes)
                *most = (largest){ bytes, cell->label, item->seen.id };
        }
    }
    return RM_OK;
}

rm_status rm_quota_check(const rm_config *config, rm_model *const *models, int problems,
                         size_t kv_limit, rm_error *err)
{
    if (config->kv_quota_bytes > kv_limit)
        return rm_fail(err, RM_E_LIMIT, "limits.kv_quota_mib gives a problem %.6g MiB of keys and "
                       "values, but the engine has %.6g MiB in all: raise engine.kv_mib, or state "
                       "a smaller quota", mebibytes(config->kv_quota_bytes), mebibytes(kv_limit));
    if (config->kv_quota_bytes)
        return RM_OK;
    int *n_prompt = calloc((size_t)config->n_models + 1, sizeof *n_prompt);
    if (!n_prompt)
        return rm_fail(err, RM_E_MEMORY, "no memory for the lengths of prompts");
    largest most = { 0 };
    rm_status status = RM_OK;
    for (int t = 0; t < config->n_tasks && !status; t++)
        status = look_at_task(config, models, t, problems, n_prompt, &most, err);
    if (!status && most.bytes > kv_limit)
        status = rm_fail(err, RM_E_LIMIT, "cell %s may hold up to %zu MiB of keys and values on "
                         "one problem (%.60s), but the engine has %.6g MiB in all: raise "
                         "engine.kv_mib, or state a smaller quota with limits.kv_quota_mib "
                         "(samples "
                         "are then drawn group by group, and a search ends where it is reached)",
                         most.cell, whole_mebibytes(most.bytes), most.problem,
                         mebibytes(kv_limit));
    free(n_prompt);
    return status;
}

rm_status rm_quota_single(const rm_params *params, rm_model *const *models, int n_models,
                          const rm_problem *problem, size_t stated, size_t kv_limit, size_t *bytes,
                          rm_error *err)
{
    int length[MAX_MODELS];
    for (int m = 0; m < n_models && m < MAX_MODELS; m++)
        length[m] = prompt_length(models[m], problem);
    *bytes = stated ? stated
                    : as_size(rm_params_kv_bytes(params, models,
                                                 n_models < MAX_MODELS ? n_models : MAX_MODELS,
                                                 length));
    if (*bytes <= kv_limit)
        return RM_OK;
    return rm_fail(err, RM_E_LIMIT, "%s may hold up to %zu MiB of keys and values, but the engine "
                   "has %.6g MiB in all: raise --kv-mib, or state a smaller quota with "
                   "--kv-quota-mib (samples are then drawn group by group, and a search ends "
                   "where it is reached)", rm_params_strategy(params)->name,
                   whole_mebibytes(*bytes), mebibytes(kv_limit));
}
