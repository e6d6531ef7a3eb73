/* dataset.c - the records of a data file, and where such files come from.
 *
 * Data sets are not part of the project. An experiment names the file that it was written for, the
 * address to get it from (`source`) and the XXH3 of its bytes (`xxh3`): a missing file is answered
 * with the way to get it, a different one is refused before anything runs on it. */
#include "experiments/tasks/kinds.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RECORDS = 10000000 };

/* ---- origin --------------------------------------------------------------------------- */

rm_status rm_origin_absent(const rm_origin *origin, const char *file, rm_status status,
                           rm_error *err)
{
    if (status != RM_E_IO || !origin->source)
        return status;
    return rm_fail(err, status, "%s is not there (or cannot be read): get it from %s and put it "
                   "there%s%s", file, origin->source,
                   origin->xxh3 ? "; its XXH3 (xxhsum -H3) must be " : "",
                   origin->xxh3 ? origin->xxh3 : "");
}

rm_status rm_origin_check(const rm_origin *origin, const char *file, uint64_t hash, rm_error *err)
{
    char *end;
    if (!origin->xxh3)
        return RM_OK;
    uint64_t want = strtoull(origin->xxh3, &end, 16);
    if (strlen(origin->xxh3) != 16 || *end || strspn(origin->xxh3, "0123456789abcdefABCDEF") != 16)
        return rm_fail(err, RM_E_ARGUMENT, "\"xxh3\" of %s: expected 16 hexadecimal digits, found "
                       "\"%.40s\"", file, origin->xxh3);
    if (hash == want)
        return RM_OK;
    return rm_fail(err, RM_E_FORMAT, "%s is not the file that this experiment was written for: its "
                   "XXH3 is %016" PRIx64 ", expected %s%s%s%s", file, hash, origin->xxh3,
                   origin->source ? " (" : "", origin->source ? origin->source : "",
                   origin->source ? ")" : "");
}

/* ---- reading -------------------------------------------------------------------------- */

static rm_status out_of_memory(const char *file, rm_error *err)
{
    return rm_fail(err, RM_E_MEMORY, "%s: out of memory for its records", file);
}

/* Room for one more document; the capacity is the next power of two. */
static rm_status grow(rm_dataset *r, const char *file, rm_error *err)
{
    int n = r->n_documents;
    if (n >= MAX_RECORDS)
        return rm_fail(err, RM_E_FORMAT, "%s: more than 10 million records", file);
    if (n & (n - 1))
        return RM_OK;
    rm_json **larger = realloc(r->documents, (n ? 2 * (size_t)n : 1) * sizeof *larger);
    if (!larger)
        return out_of_memory(file, err);
    r->documents = larger;
    return RM_OK;
}

static bool starts_with_bracket(const char *text, size_t n)
{
    size_t i = n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3) ? 3 : 0;
    while (i < n && text[i] && strchr(" \t\r\n", text[i]))
        i++;
    return i < n && text[i] == '[';
}

/* One document whose list holds the records. */
static rm_status read_list(const char *text, size_t size, const char *file, const char *member,
                           rm_dataset *r, rm_error *err)
{
    rm_status st = grow(r, file, err);
    if (!st)
        st = rm_json_parse(text, size, file, 1, 0, &r->documents[0], err);
    if (st)
        return st;
    r->n_documents = 1;
    const cJSON *root = rm_json_root(r->documents[0]);
    const cJSON *list = member ? cJSON_GetObjectItemCaseSensitive(root, member) : root;
    if (!cJSON_IsArray(list))
        return rm_json_fail(err, RM_E_FORMAT, r->documents[0], list ? list : root,
                            "expected an object with the list \"%s\"", member ? member : "");
    r->n = cJSON_GetArraySize(list);
    if (r->n && !(r->items = malloc((size_t)r->n * sizeof *r->items)))
        return out_of_memory(file, err);
    const cJSON *element = list->child; /* by index would be quadratic */
    for (int i = 0; i < r->n; i++, element = element->next)
        r->items[i] = element;
    return RM_OK;
}

static rm_status read_lines(const char *text, size_t size, const char *file, rm_dataset *r,
                            rm_error *err)
{
    size_t cursor = 0, line = 0;
    rm_json *json;
    for (;;) {
        rm_status st = rm_jsonl_next(text, size, file, &cursor, &line, &json, err);
        if (st)
            return st;
        if (!json)
            break;
        if ((st = grow(r, file, err))) {
            rm_json_free(json);
            return st;
        }
        r->documents[r->n_documents++] = json;
    }
    r->n = r->n_documents;
    if (r->n && !(r->items = malloc((size_t)r->n * sizeof *r->items)))
        return out_of_memory(file, err);
    for (int i = 0; i < r->n; i++)
        r->items[i] = rm_json_root(r->documents[i]);
    return RM_OK;
}

rm_status rm_dataset_read(const char *file, const char *member, const rm_origin *origin,
                          rm_dataset *out, rm_error *err)
{
    char *text;
    size_t size;
    rm_dataset r = { 0 };
    rm_status st = rm_file_read(file, (size_t)1 << 30, &text, &size, err);
    if (st)
        return rm_origin_absent(origin, file, st, err);
    r.hash = rm_hash_bytes(text, size);
    st = rm_origin_check(origin, file, r.hash, err);
    if (!st)
        st = member || starts_with_bracket(text, size)
                 ? read_list(text, size, file, member, &r, err)
                 : read_lines(text, size, file, &r, err);
    free(text);
    if (!st && r.n == 0)
        st = rm_fail(err, RM_E_FORMAT, "%s: holds no records; expected one JSON object a line",
                     file);
    if (st) {
        rm_dataset_free(&r);
        return st;
    }
    *out = r;
    return RM_OK;
}

const rm_json *rm_dataset_document(const rm_dataset *r, size_t i)
{
    return r->n_documents == r->n ? r->documents[i] : r->documents[0];
}

void rm_dataset_free(rm_dataset *r)
{
    for (int i = 0; i < r->n_documents; i++)
        rm_json_free(r->documents[i]);
    free(r->documents);
    free(r->items);
    *r = (rm_dataset){ 0 };
}
