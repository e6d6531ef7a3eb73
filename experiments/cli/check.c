/* check.c - ramify check: validates an experiment file and shows its plan. */
#include "experiments/cli/cli.h"
#include "experiments/quota.h"

#include <stdlib.h>
#include <string.h>

/* Opens the models for their shapes and vocabularies. */
static rm_status open_models(const cli_args *args, const rm_config *config, rm_engine **engine,
                             rm_model **models, rm_error *err)
{
    rm_engine_options options = { .isa = config->isa, .kv_bytes = config->kv_bytes,
                                  .backend = config->backend, .device = config->device,
                                  .fast = config->fast };
    rm_status status = cli_engine_options(args, &options, err);
    if (!status)
        status = cli_engine_open(&options, engine, err);
    for (int i = 0; i < config->n_models && !status; i++) {
        if (!config->models[i].remote) /* nobody is asked before the run */
            status = rm_config_model_load(config, i, *engine, &models[i], err);
    }
    return status;
}

/* A template that a model cannot read (a brace left open, a letter outside its vocabulary) would
 * fail every outcome: each cell's models must be able to read the first prompt of its task. */
static rm_status prompts_fit(const rm_config *config, rm_model *const *models, rm_error *err)
{
    rm_status status = RM_OK;
    for (int c = 0; c < config->n_cells && !status; c++) {
        const rm_plan_cell *cell = &config->cells[c];
        rm_task *task = config->tasks[cell->task];
        const rm_item *item;
        status = rm_task_item(task, 0, &item, err);
        for (int m = 0; m < cell->n_models && !status; m++) {
            const rm_model *model = models[cell->models[m]];
            rm_problem problem = item->seen;
            rm_text prompt = { 0 }, plain = { 0 };
            int32_t *tokens = NULL;
            int n = 0;
            if (!model) /* behind a server, which reads what it is sent */
                continue;
            if (rm_task_is_chat(task)) {
                status = rm_task_prompt(task, item, model, &prompt, &plain, err);
                problem.prompt = prompt.data;
                problem.prompt_plain = plain.data;
            }
            if (!status)
                status = rm_problem_tokenize(&problem, model, &tokens, &n, err);
            free(tokens);
            rm_text_free(&prompt);
            rm_text_free(&plain);
            if (status)
                rm_fail_within(err, status,
                               "cell %s: model %s cannot read the first prompt of task "
                               "%s", cell->label, config->models[cell->models[m]].name,
                               rm_task_name(task));
        }
    }
    return status;
}

/* What the full size would cost, where the file has one; it is read and checked for that. */
static rm_status add_full(const rm_config *config, const char *file, rm_model *const *models,
                          rm_text *out, rm_error *err)
{
    rm_config *full = NULL;
    rm_status status = rm_config_open_full(file, &full, err);
    const rm_model_info **infos = calloc((size_t)config->n_models + 1, sizeof *infos);
    if (!status && !infos)
        status = rm_fail(err, RM_E_MEMORY, "no memory for %d models", config->n_models);
    for (int i = 0; infos && i < config->n_models; i++)
        infos[i] = models[i] ? rm_model_describe(models[i]) : NULL;
    if (!status) {
        rm_text_puts(out, "\n");
        bool known = true;
        for (int i = 0; i < config->n_models; i++)
            known = known && infos[i];
        rm_config_totals(full, known ? infos : NULL, 0, out);
    }
    free(infos);
    rm_config_free(full);
    return status;
}

static rm_status check(const cli_args *args, rm_error *err)
{
    rm_config *config = NULL;
    rm_engine *engine = NULL;
    rm_model **models = NULL;
    rm_text out = { 0 };
    int problems = 0, n_models = 0;
    rm_status status = cli_int(args, "problems", 1, 1 << 30, &problems, err);
    if (!status)
        status = cli_flag(args, "full") ? rm_config_open_full(args->positional[0], &config, err)
                                        : rm_config_open(args->positional[0], &config, err);
    if (!status) {
        n_models = config->n_models;
        models = calloc((size_t)n_models + 1, sizeof *models);
        if (!models)
            status = rm_fail(err, RM_E_MEMORY, "no memory for %d models", n_models);
    }
    if (!status)
        status = open_models(args, config, &engine, models, err);
    if (!status)
        status = rm_quota_check(config, models, problems,
                                rm_engine_describe(engine).kv_limit_bytes, err);
    if (!status)
        status = rm_models_fit(config, models, err);
    if (!status)
        status = rm_config_describe_open(config, models, problems, cli_flag(args, "json"), &out,
                                         err);
    if (!status && config->has_full && !config->full && !cli_flag(args, "json"))
        status = add_full(config, args->positional[0], models, &out, err);
    if (!status)
        status = prompts_fit(config, models, err);
    if (!status)
        status = cli_put(&out, err);
    rm_text_free(&out);
    for (int i = 0; models && i < n_models; i++)
        rm_model_close(models[i]);
    free(models);
    rm_engine_close(engine);
    rm_config_free(config);
    return status;
}

static const cli_option options[] = {
    CLI_BACKEND_OPTIONS,
    { "problems", 0, "N", "as for run: the first N problems of each task" },
    { "full", 0, NULL, "the plan of the full size" },
    { "json", 0, NULL, "for machines" },
    { NULL, 0, NULL, NULL },
};

const cli_command cli_check = {
    .name = "check",
    .summary = "validate an experiment file, print its plan and one prompt",
    .positional = "CONFIG",
    .min_positional = 1,
    .max_positional = 1,
    .example = "ramify check experiments/tradeoff.json",
    .options = options,
    .run = check,
};
