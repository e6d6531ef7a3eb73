/* chat.c - tasks whose prompts go through the models' chat templates.
 *
 * The user's message is what the task renders without a chat (examples and question); the system's
 * is `system`. Examples that are turns stand as messages and replies before it. Each model's
 * template is found and parsed once. The clock stands still at `date`, or is not there at all: a
 * prompt must not depend on the day it is made. */
#include "experiments/tasks/kinds.h"

#include <stdlib.h>
#include <string.h>

/* Named by its content, which outlives the handle. */
typedef struct model_chat {
    uint64_t model;
    rm_chat *chat;
} model_chat;

struct rm_task_chats {
    char *wanted, *folder;   /* NULL: the model's own */
    rm_text variables;       /* a JSON object, or empty */
    int now[6];
    bool has_date;
    model_chat *models;      /* [n] */
    int n;
};

/* A built-in template enters the task's hash by its name, a file by its content. */
static rm_status hash_template(rm_task *task, const char *wanted, rm_error *err)
{
    char *source = NULL;
    size_t n = 0;
    if (rm_chat_is_name(wanted)) {
        task->hash = rm_mix(task->hash, rm_hash_bytes(wanted, strlen(wanted)));
        return RM_OK;
    }
    char *path = rm_join_path(task->folder, wanted);
    rm_status st = path ? rm_file_read(path, RM_JINJA_MAX_SOURCE, &source, &n, err)
                        : rm_fail(err, RM_E_MEMORY, "no memory for the name of a chat template");
    if (!st)
        task->hash = rm_mix(task->hash, rm_hash_bytes(source, n));
    free(source);
    free(path);
    return st;
}

static rm_status read_keys(rm_task *task, rm_task_chats *c, const rm_json *json,
                           const cJSON *object, const char *path, rm_error *err)
{
    const rm_format *f = &task->format;
    rm_error inner = { "" };
    rm_status st = RM_OK;
    if (f->date && !rm_chat_parse_date(f->date, c->now))
        return rm_json_fail(err, RM_E_ARGUMENT, json,
                            cJSON_GetObjectItemCaseSensitive(object, "date"),
                            "%s.date: expected a day as 2026-01-31", path);
    c->has_date = f->date != NULL;
    if (f->template_variables && !cJSON_IsObject(f->template_variables))
        return rm_json_fail(err, RM_E_ARGUMENT, json, f->template_variables,
                            "%s.template_variables: expected an object", path);
    if (f->template_variables)
        st = rm_chat_add_variables(&c->variables, f->template_variables, &inner);
    if (st)
        return rm_json_fail(err, st, json, f->template_variables, "%s.template_variables: %s", path,
                            inner.text);
    if (f->chat_template && (st = hash_template(task, f->chat_template, &inner)))
        return rm_json_fail(err, st, json, cJSON_GetObjectItemCaseSensitive(object,
                                                                            "chat_template"),
                            "%s.chat_template: %s (or the name of a built-in one: chatml, llama-3, "
                            "deepseek-r1, mistral, llama-2)", path, inner.text);
    c->wanted = f->chat_template ? strdup(f->chat_template) : NULL;
    c->folder = strdup(task->folder);
    return (f->chat_template && !c->wanted) || !c->folder
               ? rm_fail(err, RM_E_MEMORY, "out of memory for a task") : RM_OK;
}

rm_status rm_task_chats_new(rm_task *task, const rm_json *json, const cJSON *object,
                            const char *path, rm_error *err)
{
    rm_format *f = &task->format;
    bool keys = f->chat_template || f->template_variables || f->date;
    if (keys && f->chat == RM_CHAT_NONE && !cJSON_GetObjectItemCaseSensitive(object, "chat"))
        f->chat = RM_CHAT_MODEL; /* these keys say it */
    if (keys && f->chat != RM_CHAT_MODEL)
        return rm_json_fail(err, RM_E_ARGUMENT, json,
                            cJSON_GetObjectItemCaseSensitive(object, "chat"),
                            "%s.chat: chat_template, template_variables and date go with \"model\"",
                            path);
    if (f->chat != RM_CHAT_MODEL)
        return RM_OK;
    if (!(task->chats = calloc(1, sizeof *task->chats)))
        return rm_fail(err, RM_E_MEMORY, "out of memory for a task");
    return read_keys(task, task->chats, json, object, path, err);
}

void rm_task_chats_free(rm_task_chats *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->n; i++)
        rm_chat_free(c->models[i].chat);
    free(c->models);
    free(c->wanted);
    free(c->folder);
    rm_text_free(&c->variables);
    free(c);
}

bool rm_task_is_chat(const rm_task *task)
{
    return task->chats != NULL;
}

static rm_chat *find(const rm_task_chats *c, const rm_model *model)
{
    uint64_t id = rm_model_describe(model)->id;
    for (int i = 0; i < c->n; i++)
        if (c->models[i].model == id)
            return c->models[i].chat;
    return NULL;
}

const char *rm_task_chat_origin(const rm_task *task, const rm_model *model)
{
    rm_chat *chat = task->chats ? find(task->chats, model) : NULL;
    return chat ? rm_chat_origin(chat) : NULL;
}

static rm_status chat_of(rm_task_chats *c, const rm_model *model, rm_chat **chat, rm_error *err)
{
    if ((*chat = find(c, model)))
        return RM_OK;
    model_chat *models = realloc(c->models, ((size_t)c->n + 1) * sizeof *models);
    if (!models)
        return rm_fail(err, RM_E_MEMORY, "no memory for a chat template");
    c->models = models;
    rm_status st = rm_chat_open(model, c->wanted, c->folder, chat, err);
    if (!st)
        c->models[c->n++] = (model_chat){ rm_model_describe(model)->id, *chat };
    return st;
}

rm_status rm_task_prompt(rm_task *task, const rm_item *item, const rm_model *model, rm_text *text,
                         rm_text *plain, rm_error *err)
{
    rm_task_chats *c = task->chats;
    rm_chat *chat;
    if (!c) {
        rm_text_puts(text, item->seen.prompt);
        return text->failed ? rm_fail(err, RM_E_MEMORY, "no memory for a prompt") : RM_OK;
    }
    rm_status st = chat_of(c, model, &chat, err);
    rm_chat_request request = { .system = task->format.system, .user = item->seen.prompt,
                                .turns = task->examples.shown,
                                .n_turns = task->examples.turns ? task->examples.n : 0,
                                .reply_prefix = task->format.reply_prefix,
                                .variables = c->variables.data, .now = c->has_date ? c->now : NULL };
    rm_chat_prompt prompt = { 0 };
    if (!st)
        st = rm_chat_render(chat, &request, &prompt, err);
    if (!st) {
        rm_text_add(text, prompt.text.data, prompt.text.length);
        rm_text_add(plain, prompt.plain.data, prompt.plain.length);
        if (text->failed || plain->failed)
            st = rm_fail(err, RM_E_MEMORY, "no memory for a prompt");
    } else {
        rm_fail_within(err, st, "task %s", task->format.name);
    }
    rm_chat_prompt_free(&prompt);
    return st;
}
