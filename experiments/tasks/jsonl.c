/* jsonl.c - problems from a file of records: one JSON object a line, one array of objects, or an
 * object with such an array ("records").
 *
 *     { "kind": "jsonl", "path": "test.jsonl", "question": "question", "answer": "answer",
 *       "reference": "#### (.*)", "grader": "numeric" }
 *
 * `question` and `answer` name members, or are templates ("{Body}. {Question}"). `reference` is a
 * regular expression whose group 1 is the reference answer inside the answer text (the last match:
 * a solution ends in its result); without it all of the text is the reference.
 *
 * `options` names a list of answers to choose from. They are shown below the question, "(A) ..."
 * and so on, one a line; a reference that is a whole number counts them from 0. */
#include "experiments/tasks/kinds.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- the task ------------------------------------------------------------------------- */

enum { MAX_OPTIONS = 26 };

typedef struct options {
    char *path, *member, *question, *options, *answer, *reference, *id, *level, *cluster;
    rm_origin origin;
    rm_dataset records;
    rm_pattern *pattern;
} options;

#define FIELD(name) offsetof(options, name)
static const rm_key keys[] = {
    { "path", RM_KEY_STRING, FIELD(path), 0, 0, NULL,
      "the file, relative to the configuration's folder (required)" },
    { "source", RM_KEY_STRING, FIELD(origin.source), 0, 0, NULL,
      "where to get the file, for those who do not have it" },
    { "xxh3", RM_KEY_STRING, FIELD(origin.xxh3), 0, 0, NULL,
      "XXH3-64 of the file's bytes, 16 hexadecimal digits: another file is refused" },
    { "records", RM_KEY_STRING, FIELD(member), 0, 0, NULL,
      "member that holds the list of problems, where the file is one object" },
    { "question", RM_KEY_STRING, FIELD(question), 0, 0, NULL,
      "field of the question, or a template of fields (\"question\")" },
    { "options", RM_KEY_STRING, FIELD(options), 0, 0, NULL,
      "field with the list of answers to choose from, shown as (A), (B), ... below the question" },
    { "answer", RM_KEY_STRING, FIELD(answer), 0, 0, NULL,
      "field of the reference solution, or a template (\"answer\")" },
    { "reference", RM_KEY_STRING, FIELD(reference), 0, 0, NULL,
      "pattern whose group 1 is the reference answer in that field (all of it)" },
    { "id", RM_KEY_STRING, FIELD(id), 0, 0, NULL, "field that names a problem (its number)" },
    { "level", RM_KEY_STRING, FIELD(level), 0, 0, NULL, "field of the difficulty" },
    { "cluster", RM_KEY_STRING, FIELD(cluster), 0, 0, NULL,
      "field that problems of one source share" },
    { 0 },
};

static rm_status defaults(rm_format *format, void *data, rm_error *err)
{
    (void)data;
    format->grader.kind = RM_GRADE_NUMERIC;
    format->prompt = strdup("Question: {question}\nAnswer:");
    if (!format->prompt || !rm_strings_add(&format->stop, "\nQuestion:", 10))
        return rm_fail(err, RM_E_MEMORY, "out of memory for a task");
    return RM_OK;
}

static rm_status open_task(rm_task *task, void *data, const rm_json *json, const cJSON *object,
                           const char *path, rm_error *err)
{
    options *o = data;
    if (!o->path)
        return rm_json_fail(err, RM_E_ARGUMENT, json, object,
                            "%s: a jsonl task needs \"path\", the file with its problems", path);
    rm_status st;
    rm_error inner = { { 0 } };
    if (o->reference && (st = rm_pattern_new(o->reference, false, &o->pattern, &inner)))
        return rm_json_fail(err, st, json,
                            cJSON_GetObjectItemCaseSensitive(object, "reference"),
                            "%s.reference: %s", path, inner.text);
    char *file = rm_join_path(task->folder, o->path);
    if (!file)
        return rm_fail(err, RM_E_MEMORY, "out of memory for a task");
    st = rm_dataset_read(file, o->member, &o->origin, &o->records, err);
    free(file);
    if (st)
        return st;
    task->hash = rm_mix(task->hash, o->records.hash);
    for (int i = 0; i < o->records.n; i++)
        if (!cJSON_IsObject(o->records.items[i]))
            return rm_json_fail(err, RM_E_FORMAT, rm_dataset_document(&o->records, (size_t)i),
                                o->records.items[i], "a problem must be an object");
    return RM_OK;
}

/* A field or a template of fields into `out`; the message names the line of the record. */
static rm_status fill(const options *o, size_t index, const char *field, rm_draft *draft,
                      rm_text *out, rm_error *err)
{
    const rm_json *json = rm_dataset_document(&o->records, index);
    if (strchr(field, '{')) {
        rm_error inner = { { 0 } };
        rm_draft fields = { .record = draft->record };
        rm_status st = rm_template_expand(field, &fields, out, &inner);
        return st ? rm_json_fail(err, st, json, draft->record, "%s", inner.text) : RM_OK;
    }
    if (!rm_record_field(draft->record, field, out))
        return rm_json_fail(err, RM_E_FORMAT, json, draft->record,
                            "expected a text or a number \"%s\" in this problem", field);
    return RM_OK;
}

/* Shows the options below the question, and turns an answer that counts them into a letter. */
static rm_status add_options(const options *o, size_t index, rm_draft *draft, rm_text *answer,
                             rm_error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(draft->record, o->options), *option;
    const rm_json *json = rm_dataset_document(&o->records, index);
    int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0, i = 0;
    if (n < 2 || n > MAX_OPTIONS)
        return rm_json_fail(err, RM_E_FORMAT, json, list ? list : draft->record,
                            "expected a list \"%s\" of 2 to %d options in this problem", o->options,
                            MAX_OPTIONS);
    cJSON_ArrayForEach(option, list) {
        if (!cJSON_IsString(option))
            return rm_json_fail(err, RM_E_FORMAT, json, option, "expected an option to be a text");
        rm_text_printf(&draft->question, "\n(%c) %s", 'A' + i++, option->valuestring);
    }
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(draft->record,
                                                           o->answer ? o->answer : "answer");
    if (cJSON_IsNumber(number)) {
        double k = number->valuedouble;
        if (!(k >= 0 && k < n) || k != (int)k)
            return rm_json_fail(err, RM_E_FORMAT, json, number, "expected an answer from 0 to %d",
                                n - 1);
        rm_text_free(answer);
        rm_text_printf(answer, "%c", 'A' + (int)k);
    }
    return RM_OK;
}

static rm_status make(const rm_task *task, const void *data, size_t index, uint32_t attempt,
                      rm_draft *draft, rm_error *err)
{
    (void)task;
    (void)attempt;
    const options *o = data;
    draft->record = o->records.items[index];
    rm_text answer = { 0 };
    rm_status st = fill(o, index, o->question ? o->question : "question", draft, &draft->question,
                        err);
    if (!st)
        st = fill(o, index, o->answer ? o->answer : "answer", draft, &answer, err);
    if (!st && o->options)
        st = add_options(o, index, draft, &answer, err);
    if (!st && o->id)
        st = fill(o, index, o->id, draft, &draft->id, err);
    if (st)
        goto done;
    if (!o->id)
        rm_text_printf(&draft->id, "%zu", index + 1);
    if (o->level)
        rm_record_field(draft->record, o->level, &draft->level);
    if (o->cluster)
        rm_record_field(draft->record, o->cluster, &draft->cluster);
    const char *text = answer.data ? answer.data : "";
    size_t start = 0, length = answer.length, end;
    if (o->pattern
        && !rm_pattern_find(o->pattern, text, answer.length, true, &start, &length, &end))
        st = rm_json_fail(err, RM_E_FORMAT, rm_dataset_document(&o->records, index), draft->record,
                          "the answer of this problem does not match \"%s\"", o->reference);
    else
        rm_text_add(&draft->reference, text + start, length);
    const char *q = draft->question.data ? draft->question.data : "";
    rm_exact_canonical(q, strlen(q), false, false, &draft->canonical);
done:
    rm_text_free(&answer);
    return st;
}

static size_t count(const void *data)
{
    return (size_t)((const options *)data)->records.n;
}

static void close_task(void *data)
{
    options *o = data;
    rm_dataset_free(&o->records);
    rm_pattern_free(o->pattern);
}

const rm_kind rm_kind_jsonl = {
    .name = "jsonl", .summary = "problems from a JSONL (or JSON) file: GSM8K, SVAMP, MATH and kin",
    .keys = keys, .size = sizeof(options), .canonical_prefix = "question",
    .defaults = defaults, .open = open_task, .make = make, .count = count, .close = close_task,
};
