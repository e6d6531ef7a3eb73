/* runner_chat.c - prompts that depend on the model: checked before a run begins, recorded with the
 * plan, rendered again for each job (outside its coroutine, whose stack is small). */
#include "experiments/config_private.h"
#include "experiments/runner_private.h"

#include <string.h>

rm_status runner_prompt(const runner *r, const rm_plan_cell *cell, const rm_item *item,
                        rm_text *prompt, rm_text *plain, rm_error *err)
{
    rm_task *task = r->config->tasks[cell->task];
    if (!rm_task_is_chat(task))
        return RM_OK;
    rm_status status = rm_task_prompt(task, item, r->models[cell->models[0]], prompt, plain, err);
    for (int i = 1; i < cell->n_models && !status; i++) {
        rm_text other = { 0 }, other_plain = { 0 };
        status = rm_task_prompt(task, item, r->models[cell->models[i]], &other, &other_plain, err);
        if (!status && strcmp(other.data, prompt->data) != 0)
            status = rm_fail(err, RM_E_ARGUMENT, "the chat templates of %s and %s make different "
                             "prompts; name one for the task with \"chat_template\"",
                             r->config->models[cell->models[0]].name,
                             r->config->models[cell->models[i]].name);
        rm_text_free(&other);
        rm_text_free(&other_plain);
    }
    return status ? rm_fail_within(err, status, "cell %s", cell->label) : RM_OK;
}

rm_status runner_check_chats(const runner *r, rm_error *err)
{
    rm_status status = RM_OK;
    for (int i = 0; i < r->config->n_cells && !status; i++) {
        const rm_plan_cell *cell = &r->config->cells[i];
        const rm_item *item;
        rm_text prompt = { 0 }, plain = { 0 };
        status = rm_task_item(r->config->tasks[cell->task], 0, &item, err);
        if (!status)
            status = runner_prompt(r, cell, item, &prompt, &plain, err);
        rm_text_free(&prompt);
        rm_text_free(&plain);
    }
    return status;
}

static rm_status record_cell(runner *r, const rm_plan_cell *cell, const char *model, rm_error *err)
{
    rm_status status = RM_OK;
    for (int i = 0; i < r->plan.n_problems[cell->task] && !status; i++) {
        const rm_item *item;
        rm_text prompt = { 0 }, plain = { 0 };
        status = rm_task_item(r->config->tasks[cell->task], (size_t)i, &item, err);
        if (!status)
            status = runner_prompt(r, cell, item, &prompt, &plain, err);
        if (!status)
            status = rm_store_put_prompt(r->store, r->plan.rows[cell->task][i], model, prompt.data,
                                         err);
        rm_text_free(&prompt);
        rm_text_free(&plain);
    }
    return status;
}

/* Has an earlier cell the same task and models? */
static bool recorded_before(const rm_config *config, int index)
{
    const rm_plan_cell *cell = &config->cells[index];
    for (int i = 0; i < index; i++) {
        const rm_plan_cell *other = &config->cells[i];
        if (other->task == cell->task && other->n_models == cell->n_models &&
            !memcmp(other->models, cell->models, (size_t)cell->n_models * sizeof *cell->models))
            return true;
    }
    return false;
}

rm_status runner_record_prompts(runner *r, rm_error *err)
{
    rm_status status = RM_OK;
    for (int i = 0; i < r->config->n_cells && !status; i++) {
        const rm_plan_cell *cell = &r->config->cells[i];
        if (!rm_task_is_chat(r->config->tasks[cell->task]) || recorded_before(r->config, i))
            continue;
        rm_text model = { 0 };
        rm_config_models_text(r->config, cell, &model);
        status = model.failed ? rm_fail(err, RM_E_MEMORY, "no memory for the plan")
                              : record_cell(r, cell, model.data, err);
        rm_text_free(&model);
    }
    return status;
}
