/* jsonl.c - problems from a file of records: one JSON object a line, or one array of objects.
 *
 *     { "kind": "jsonl", "path": "test.jsonl", "question": "question", "answer": "answer",
 *       "reference": "#### (.*)", "grader": "numeric" }
 *
 * `question` and `answer` name members, or are templates ("{Body}. {Question}"). `reference` is a
 * regular expression whose group 1 is the reference answer inside the answer text (the last match:
 * a solution ends in its result); without it all of the text is the reference. */
#include "experiments/tasks/kinds.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RECORDS = 10000000 };

/* ---- reading -------------------------------------------------------------------------- */

static rm_status grow(rm_json ***list, int n)
{
    if (n & (n - 1)) /* capacity is the next power of two */
        return RM_OK;
    rm_json **larger = realloc(*list, (n ? 2 * (size_t)n : 1) * sizeof **list);
    if (!larger)
        return RM_E_MEMORY;
    *list = larger;
    return RM_OK;
}

static bool starts_with_bracket(const char *text, size_t n)
{
    size_t i = n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3) ? 3 : 0;
    while (i < n && text[i] && strchr(" \t\r\n", text[i]))
        i++;
    return i < n && text[i] == '[';
}

rm_status rm_records_read(const char *file, rm_json ***records, int *n, bool *array,
                          uint64_t *hash, rm_error *err)
{
    char *text;
    size_t size, cursor = 0, line = 0;
    rm_status st = rm_file_read(file, (size_t)1 << 30, &text, &size, err);
    if (st)
        return st;
    rm_json **list = NULL;
    int count = 0;
    *hash = rm_hash_bytes(text, size);
    *array = starts_with_bracket(text, size);
    if (*array) {
        if ((st = grow(&list, 0)))
            rm_fail(err, st, "%s: out of memory for its records", file);
        else if (!(st = rm_json_parse(text, size, file, 1, 0, &list[0], err)))
            count = cJSON_GetArraySize(rm_json_root(list[0]));
    }
    while (!*array && !st) {
        rm_json *json;
        if ((st = rm_jsonl_next(text, size, file, &cursor, &line, &json, err)) || !json)
            break;
        if (count >= MAX_RECORDS || (st = grow(&list, count))) {
            rm_json_free(json);
            st = rm_fail(err, st ? st : RM_E_FORMAT, "%s: %s", file,
                         st ? "out of memory for its records" : "more than 10 million records");
            break;
        }
        list[count++] = json;
    }
    free(text);
    if (!st && count == 0)
        st = rm_fail(err, RM_E_FORMAT, "%s: holds no records; expected one JSON object a line",
                     file);
    if (st) {
        for (int i = 0; i < (*array ? list && count : count); i++)
            rm_json_free(list[i]);
        free(list);
        return st;
    }
    *records = list;
    *n = count;
    return RM_OK;
}

const cJSON *rm_records_at(rm_json *const *records, bool array, int index)
{
    return array ? cJSON_GetArrayItem(rm_json_root(records[0]), index)
                 : rm_json_root(records[index]);
}

/* ---- the task ------------------------------------------------------------------------- */

typedef struct options {
    char *path, *question, *answer, *reference, *id, *level, *cluster;
    rm_json **records;
    const cJSON **items; /* [n]; an array's elements by index, which cJSON finds in linear time */
    int n;
    bool array;
    rm_pattern *pattern;
} options;

#define FIELD(name) offsetof(options, name)
static const rm_key keys[] = {
    { "path", RM_KEY_STRING, FIELD(path), 0, 0, NULL,
      "the file, relative to the configuration's folder (required)" },
    { "question", RM_KEY_STRING, FIELD(question), 0, 0, NULL,
      "field of the question, or a template of fields (\"question\")" },
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

static const rm_json *document(const options *o, size_t index)
{
    return o->array ? o->records[0] : o->records[index];
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
    uint64_t hash = 0;
    st = rm_records_read(file, &o->records, &o->n, &o->array, &hash, err);
    free(file);
    if (st)
        return st;
    task->hash = rm_mix(task->hash, hash);
    if (!(o->items = malloc((size_t)o->n * sizeof *o->items)))
        return rm_fail(err, RM_E_MEMORY, "out of memory for a task");
    const cJSON *element = o->array ? rm_json_root(o->records[0])->child : NULL;
    for (int i = 0; i < o->n; i++) {
        o->items[i] = o->array ? element : rm_json_root(o->records[i]);
        if (!cJSON_IsObject(o->items[i]))
            return rm_json_fail(err, RM_E_FORMAT, document(o, (size_t)i), o->items[i],
                                "a problem must be an object");
        element = element ? element->next : NULL;
    }
    return RM_OK;
}

/* A field or a template of fields into `out`; the message names the line of the record. */
static rm_status fill(const options *o, size_t index, const char *field, rm_draft *draft,
                      rm_text *out, rm_error *err)
{
    const rm_json *json = document(o, index);
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

static rm_status make(const rm_task *task, const void *data, size_t index, uint32_t attempt,
                      rm_draft *draft, rm_error *err)
{
    (void)task;
    (void)attempt;
    const options *o = data;
    draft->record = o->items[index];
    rm_text answer = { 0 };
    rm_status st = fill(o, index, o->question ? o->question : "question", draft, &draft->question,
                        err);
    if (!st)
        st = fill(o, index, o->answer ? o->answer : "answer", draft, &answer, err);
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
        st = rm_json_fail(err, RM_E_FORMAT, document(o, index), draft->record,
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
    return (size_t)((const options *)data)->n;
}

static void close_task(void *data)
{
    options *o = data;
    for (int i = 0; i < (o->array ? o->records != NULL : o->n); i++)
        rm_json_free(o->records[i]);
    free(o->records);
    free(o->items);
    rm_pattern_free(o->pattern);
}

const rm_kind rm_kind_jsonl = {
    .name = "jsonl", .summary = "problems from a JSONL (or JSON) file: GSM8K, SVAMP, MATH and kin",
    .keys = keys, .size = sizeof(options), .canonical_prefix = "question",
    .defaults = defaults, .open = open_task, .make = make, .count = count, .close = close_task,
};
