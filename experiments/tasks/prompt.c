/* prompt.c - from a question to the text the model reads.
 *
 *     chat( system, example 1 SEP example 2 SEP ... prompt )
 *
 * or, with examples "as" turns, system, prompt of example 1, reply to it, ..., prompt as the messages
 * of a chat template.
 *
 * `prompt` and the examples' template are texts with {fields}. What comes before the question is
 * the same for every problem of a task, so that the engine evaluates it once. */
#include "experiments/tasks/kinds.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- templates ------------------------------------------------------------------------ */

bool rm_record_field(const cJSON *record, const char *name, rm_text *out)
{
    const cJSON *item = cJSON_IsObject(record) ? cJSON_GetObjectItemCaseSensitive(record, name)
                                               : NULL;
    if (cJSON_IsString(item))
        rm_text_puts(out, item->valuestring);
    else if (cJSON_IsNumber(item))
        rm_json_number(out, item->valuedouble);
    else if (cJSON_IsBool(item))
        rm_text_puts(out, cJSON_IsTrue(item) ? "true" : "false");
    else
        return false;
    return true;
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool add_field(const char *name, const rm_draft *draft, rm_text *out)
{
    const struct { const char *name; const rm_text *value; } own[] = {
        { "question", &draft->question }, { "answer", &draft->reference },
        { "numbers", &draft->numbers }, { "target", &draft->target },
    };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(name, own[i].name) && own[i].value->length) {
            rm_text_add(out, own[i].value->data, own[i].value->length);
            return true;
        }
    return rm_record_field(draft->record, name, out);
}

rm_status rm_template_expand(const char *template, const rm_draft *draft, rm_text *out,
                             rm_error *err)
{
    for (const char *p = template; *p;) {
        if ((p[0] == '{' || p[0] == '}') && p[1] == p[0]) {
            rm_text_add(out, p, 1);
            p += 2;
            continue;
        }
        size_t n = 0;
        while (*p == '{' && is_name(p[1 + n]))
            n++;
        if (n == 0 || p[1 + n] != '}' || n > 63) {
            rm_text_add(out, p++, 1); /* a brace that opens no field stands for itself */
            continue;
        }
        char name[64];
        memcpy(name, p + 1, n);
        name[n] = '\0';
        if (!add_field(name, draft, out))
            return rm_fail(err, RM_E_ARGUMENT, "the problem has no field \"%s\" for the template "
                           "\"%.80s\" (write {{ for a brace)", name, template);
        p += n + 2;
    }
    return out->failed ? rm_fail(err, RM_E_MEMORY, "out of memory for a prompt") : RM_OK;
}

/* ---- the whole prompt ----------------------------------------------------------------- */

/* The markup of a chat around one user message. BOS is the tokenizer's business, except for what
 * the formats write themselves. */
static const struct chat_markup {
    const char *system_open, *system_close, *user_open, *user_close;
} chats[] = {
    [RM_CHAT_NONE] = { "", "\n\n", "", "" },
    [RM_CHAT_CHATML] = { "<|im_start|>system\n", "<|im_end|>\n", "<|im_start|>user\n",
                         "<|im_end|>\n<|im_start|>assistant\n" },
    [RM_CHAT_LLAMA3] = { "<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>",
                         "<|start_header_id|>user<|end_header_id|>\n\n",
                         "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n" },
    /* Mistral has no system role: the text goes in front of the user's. */
    [RM_CHAT_MISTRAL] = { "[INST] ", "\n\n", "[INST] ", " [/INST]" },
    [RM_CHAT_MODEL] = { "", "", "", "" }, /* what the user says; the rest is the template's */
};

rm_status rm_prompt_render(const rm_task *task, const rm_draft *draft, rm_text *out,
                           rm_error *err)
{
    const rm_format *f = &task->format;
    const struct chat_markup *chat = &chats[f->chat];
    bool system = f->system && *f->system && f->chat != RM_CHAT_MODEL;
    if (system) {
        rm_text_puts(out, chat->system_open);
        rm_text_puts(out, f->system);
        rm_text_puts(out, chat->system_close);
    }
    if (!system || f->chat != RM_CHAT_MISTRAL)
        rm_text_puts(out, chat->user_open);
    const rm_examples *x = &task->examples;
    for (int i = 0; i < x->n && !x->turns; i++) {
        rm_status st = rm_template_expand(x->template, &x->items[i], out, err);
        if (st)
            return rm_fail_within(err, st, "few_shot example %d", i + 1);
        rm_text_puts(out, x->separator);
    }
    rm_status st = rm_template_expand(f->prompt, draft, out, err);
    if (st)
        return st;
    rm_text_puts(out, chat->user_close);
    if (f->reply_prefix && f->chat != RM_CHAT_MODEL)
        rm_text_puts(out, f->reply_prefix);
    return out->failed ? rm_fail(err, RM_E_MEMORY, "out of memory for a prompt") : RM_OK;
}

/* ---- few-shot examples ---------------------------------------------------------------- */

typedef struct few_shot {
    const cJSON *examples;
    char *file, *member, *question, *answer, *template, *separator;
    rm_origin origin;
    int n;
    const cJSON *seed_item;
    int as;
} few_shot;

#define FIELD(name) offsetof(few_shot, name)
static const char *const shapes[] = { "text", "turns", NULL };
static const rm_key keys[] = {
    { "examples", RM_KEY_ANY, FIELD(examples), 0, 0, NULL,
      "list of objects with question and answer, and whatever else the template names" },
    { "file", RM_KEY_STRING, FIELD(file), 0, 0, NULL, "JSONL file to take examples from" },
    { "source", RM_KEY_STRING, FIELD(origin.source), 0, 0, NULL, "where to get that file" },
    { "xxh3", RM_KEY_STRING, FIELD(origin.xxh3), 0, 0, NULL, "XXH3-64 of its bytes" },
    { "records", RM_KEY_STRING, FIELD(member), 0, 0, NULL,
      "member that holds the list, where the file is one object" },
    { "question", RM_KEY_STRING, FIELD(question), 0, 0, NULL,
      "field or template of the question (\"question\")" },
    { "answer", RM_KEY_STRING, FIELD(answer), 0, 0, NULL,
      "field or template of the answer as shown (\"answer\")" },
    { "as", RM_KEY_CHOICE, FIELD(as), 0, 0, shapes,
      "text: in front of the question; turns: each a message and its reply, with chat \"model\"" },
    { "template", RM_KEY_STRING, FIELD(template), 0, 0, NULL,
      "how an example is shown (the prompt, a space, {answer}); of turns the reply ({answer})" },
    { "separator", RM_KEY_STRING, FIELD(separator), 0, 0, NULL, "after each example (\"\\n\\n\")" },
    { "n", RM_KEY_INT, FIELD(n), 1, 1000, NULL, "how many examples (all given; 4 of a file)" },
    { "seed", RM_KEY_ANY, FIELD(seed_item), 0, 0, NULL,
      "draw the examples with this seed instead of taking the first" },
    { 0 },
};

void rm_examples_free(rm_examples *x)
{
    for (int i = 0; i < x->n; i++)
        rm_draft_free(&x->items[i]);
    for (int i = 0; x->shown && i < x->n; i++) {
        free((char *)(uintptr_t)x->shown[i].user);
        free((char *)(uintptr_t)x->shown[i].reply);
    }
    free(x->shown);
    free(x->items);
    rm_dataset_free(&x->records);
    free(x->template);
    free(x->separator);
    *x = (rm_examples){ 0 };
}

/* `field` names a member, or is a template if it has a brace. */
static rm_status fill(const char *field, const rm_draft *draft, rm_text *out, rm_error *err)
{
    if (strchr(field, '{'))
        return rm_template_expand(field, draft, out, err);
    if (!rm_record_field(draft->record, field, out))
        return rm_fail(err, RM_E_FORMAT, "the example has no text or number \"%s\"", field);
    return RM_OK;
}

static rm_status add_example(rm_task *task, const few_shot *f, const cJSON *record, rm_error *err)
{
    rm_draft draft = { .record = record }, view = { .record = record };
    rm_status st = fill(f->question ? f->question : "question", &view, &draft.question, err);
    if (!st)
        st = fill(f->answer ? f->answer : "answer", &view, &draft.reference, err);
    rm_draft *items = st ? NULL : realloc(task->examples.items,
                                          ((size_t)task->examples.n + 1) * sizeof *items);
    if (!st && !items)
        st = rm_fail(err, RM_E_MEMORY, "out of memory for few-shot examples");
    if (st) {
        rm_draft_free(&draft);
        return st;
    }
    task->examples.items = items;
    items[task->examples.n++] = draft;
    return RM_OK;
}

/* Chooses n of `total` records: the first, or a draw without replacement. */
static rm_status add_from_file(rm_task *task, const few_shot *f, const uint64_t *seed,
                               rm_error *err)
{
    int n = f->n ? f->n : 4, total = task->examples.records.n;
    if (n > total)
        return rm_fail(err, RM_E_ARGUMENT, "%d examples are wanted, but the file has %d", n, total);
    int *order = malloc((size_t)total * sizeof *order);
    if (!order)
        return rm_fail(err, RM_E_MEMORY, "out of memory for few-shot examples");
    rm_status st = RM_OK;
    for (int i = 0; i < total; i++)
        order[i] = i;
    for (int i = 0; i < n && !st; i++) {
        if (seed) {
            uint64_t bits = rm_random(*seed, rm_hash_bytes("few_shot", 8), (uint32_t)i, 0);
            int k = i + (int)rm_scale(bits, (uint64_t)(total - i)), t = order[i];
            order[i] = order[k];
            order[k] = t;
        }
        st = add_example(task, f, task->examples.records.items[order[i]], err);
    }
    free(order);
    return st;
}

static rm_status read_examples(rm_task *task, const few_shot *f, const uint64_t *seed,
                               rm_error *err)
{
    if (!f->file) {
        int n = 0;
        const cJSON *e;
        cJSON_ArrayForEach(e, f->examples) {
            rm_status st = f->n && n >= f->n ? RM_OK : add_example(task, f, e, err);
            if (st)
                return rm_fail_within(err, st, "example %d", n + 1);
            n++;
        }
        if (f->n > n)
            return rm_fail(err, RM_E_ARGUMENT, "%d examples are wanted, but %d are given", f->n, n);
        return RM_OK;
    }
    char *file = rm_join_path(task->folder, f->file);
    if (!file)
        return rm_fail(err, RM_E_MEMORY, "out of memory for few-shot examples");
    rm_status st = rm_dataset_read(file, f->member, &f->origin, &task->examples.records, err);
    free(file);
    if (st)
        return st;
    task->hash = rm_mix(task->hash, task->examples.records.hash);
    return add_from_file(task, f, seed, err);
}

rm_status rm_examples_read(rm_task *task, const rm_json *json, const cJSON *object,
                           const char *path, rm_error *err)
{
    few_shot f = { 0 };
    char where[160];
    uint64_t seed = 0;
    snprintf(where, sizeof where, "%s.few_shot", path);
    rm_status st = rm_keys_read(json, object, where, keys, &f, NULL, NULL, err);
    if (!st && !f.file == !f.examples)
        st = rm_json_fail(err, RM_E_ARGUMENT, json, object,
                          "%s: expected either \"examples\" or \"file\"", where);
    if (!st && f.examples && !cJSON_IsArray(f.examples))
        st = rm_json_fail(err, RM_E_ARGUMENT, json, f.examples,
                          "%s.examples: expected a list of objects", where);
    if (!st && f.seed_item && !rm_json_get_uint(json, f.seed_item, &seed))
        st = rm_json_fail(err, RM_E_ARGUMENT, json, f.seed_item,
                          "%s.seed: expected an integer from 0 to 18446744073709551615", where);
    if (!st) {
        rm_error inner = { { 0 } };
        st = read_examples(task, &f, f.seed_item ? &seed : NULL, &inner);
        if (st)
            rm_json_fail(err, st, json, object, "%s: %s", where, inner.text);
    }
    if (!st) {
        rm_text template = { 0 };
        task->examples.turns = f.as == 1;
        if (f.as == 1)
            rm_text_puts(&template, "{answer}");
        else
            rm_text_printf(&template, "%s {answer}", task->format.prompt);
        task->examples.template = f.template ? strdup(f.template) : template.data;
        task->examples.separator = strdup(f.separator ? f.separator : "\n\n");
        if (f.template)
            rm_text_free(&template);
        if (!task->examples.template || !task->examples.separator)
            st = rm_fail(err, RM_E_MEMORY, "out of memory for few-shot examples");
    }
    rm_keys_free(keys, &f);
    return st;
}

rm_status rm_examples_show(rm_task *task, rm_error *err)
{
    rm_examples *x = &task->examples;
    rm_status st = RM_OK;
    if (!x->turns)
        return RM_OK;
    if (!(x->shown = calloc((size_t)x->n + 1, sizeof *x->shown)))
        return rm_fail(err, RM_E_MEMORY, "out of memory for few-shot examples");
    for (int i = 0; i < x->n && !st; i++) {
        rm_text user = { 0 }, reply = { 0 };
        st = rm_template_expand(task->format.prompt, &x->items[i], &user, err);
        if (!st)
            st = rm_template_expand(x->template, &x->items[i], &reply, err);
        if (!st && (!user.data || !reply.data))
            st = rm_fail(err, RM_E_ARGUMENT, "its prompt or its reply is empty");
        x->shown[i] = (rm_chat_turn){ user.data, reply.data };
        if (st)
            rm_fail_within(err, st, "few_shot example %d", i + 1);
    }
    return st;
}
