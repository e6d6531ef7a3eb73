/* keys.c - JSON objects into structs, by tables of keys. */
#include "experiments/keys.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KNOWN = 64 };

bool rm_strings_add(rm_strings *list, const char *bytes, size_t n)
{
    char **items = realloc(list->items, ((size_t)list->n + 1) * sizeof *items);
    if (!items)
        return false;
    list->items = items;
    if (!(items[list->n] = malloc(n + 1)))
        return false;
    memcpy(items[list->n], bytes, n);
    items[list->n++][n] = '\0';
    return true;
}

void rm_strings_free(rm_strings *list)
{
    for (int i = 0; i < list->n; i++)
        free(list->items[i]);
    free(list->items);
    *list = (rm_strings){ 0 };
}

const char *rm_nearest_word(const char *word, const char *const *candidates, int n)
{
    const char *best = NULL;
    size_t length = strlen(word);
    /* A third of the letters may be wrong; a longer word is no slip, and not worth measuring. */
    int limit = (int)(length < 60 ? length : 60) / 3 + 1;
    for (int i = 0; i < n && length < 60; i++) {
        int distance = rm_word_distance(word, candidates[i]);
        if (distance <= limit) {
            limit = distance - 1;
            best = candidates[i];
        }
    }
    return best;
}

char *rm_join_path(const char *folder, const char *file)
{
    bool plain = file[0] == '/' || !folder || !folder[0] || !strcmp(folder, ".");
    size_t size = strlen(file) + (plain ? 0 : strlen(folder) + 1) + 1;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s%s%s", plain ? "" : folder, plain ? "" : "/", file);
    return path;
}

/* ---- one value --------------------------------------------------------------------------- */

typedef struct reader {
    const rm_json *json;
    const char *path;
    rm_error *err;
} reader;

static const char *kind_of(const cJSON *item)
{
    return cJSON_IsObject(item) ? "an object" : cJSON_IsArray(item) ? "a list"
         : cJSON_IsString(item) ? "a string" : cJSON_IsNumber(item) ? "a number"
         : cJSON_IsBool(item) ? "true or false" : "null";
}

static rm_status expected(const reader *r, const cJSON *item, const rm_key *key, const char *what)
{
    return rm_json_fail(r->err, RM_E_ARGUMENT, r->json, item, "%s%s%s: expected %s, found %s",
                        r->path, *r->path ? "." : "", key->name, what, kind_of(item));
}

static rm_status out_of_memory(rm_error *err)
{
    return rm_fail(err, RM_E_MEMORY, "out of memory while reading a configuration");
}

static rm_status check_range(const reader *r, const cJSON *item, const rm_key *key, double value)
{
    if (key->min == 0 && key->max == 0)
        return RM_OK;
    if (value >= key->min && value <= key->max)
        return RM_OK;
    char bounds[96];
    if (isinf(key->max))
        snprintf(bounds, sizeof bounds, "at least %.15g", key->min);
    else
        snprintf(bounds, sizeof bounds, "%.15g to %.15g", key->min, key->max);
    return rm_json_fail(r->err, RM_E_ARGUMENT, r->json, item, "%s%s%s: expected %s, found %.15g",
                        r->path, *r->path ? "." : "", key->name, bounds, value);
}

static rm_status read_int(const reader *r, const cJSON *item, const rm_key *key, int *value)
{
    if (!cJSON_IsNumber(item))
        return expected(r, item, key, "an integer");
    double v = item->valuedouble;
    if (v != floor(v) || v < -2147483647.0 || v > 2147483647.0)
        return rm_json_fail(r->err, RM_E_ARGUMENT, r->json, item,
                            "%s%s%s: expected an integer of at most 31 bits, found %g", r->path,
                            *r->path ? "." : "", key->name, v);
    rm_status st = check_range(r, item, key, v);
    if (!st)
        *value = (int)v;
    return st;
}

static rm_status read_string(const reader *r, const cJSON *item, const rm_key *key, char **value)
{
    if (!cJSON_IsString(item))
        return expected(r, item, key, "a string");
    char *copy = strdup(item->valuestring);
    if (!copy)
        return out_of_memory(r->err);
    free(*value);
    *value = copy;
    return RM_OK;
}

static rm_status read_strings(const reader *r, const cJSON *item, const rm_key *key,
                              rm_strings *value)
{
    if (!cJSON_IsString(item) && !cJSON_IsArray(item))
        return expected(r, item, key, "a list of strings");
    rm_strings list = { 0 };
    const cJSON *e = cJSON_IsArray(item) ? item->child : item;
    for (; e; e = cJSON_IsArray(item) ? e->next : NULL) {
        rm_status st = RM_OK;
        if (!cJSON_IsString(e))
            st = expected(r, e, key, "a list of strings");
        else if (!rm_strings_add(&list, e->valuestring, strlen(e->valuestring)))
            st = out_of_memory(r->err);
        if (st) {
            rm_strings_free(&list);
            return st;
        }
    }
    rm_strings_free(value);
    *value = list;
    return RM_OK;
}

static rm_status read_choice(const reader *r, const cJSON *item, const rm_key *key, int *value)
{
    if (!cJSON_IsString(item))
        return expected(r, item, key, "a string");
    rm_text list = { 0 };
    int n = 0;
    for (; key->choices[n]; n++) {
        if (!strcmp(key->choices[n], item->valuestring)) {
            *value = n;
            rm_text_free(&list);
            return RM_OK;
        }
        rm_text_printf(&list, "%s\"%s\"", n ? ", " : "", key->choices[n]);
    }
    rm_status st = rm_json_fail(r->err, RM_E_ARGUMENT, r->json, item,
                                "%s%s%s: \"%.60s\" is not one of %s", r->path,
                                *r->path ? "." : "", key->name, item->valuestring,
                                list.data ? list.data : "");
    rm_text_free(&list);
    return st;
}

static rm_status read_range(const reader *r, const cJSON *item, const rm_key *key, rm_range *value)
{
    rm_range range;
    rm_status st;
    if (!cJSON_IsArray(item)) {
        if (!cJSON_IsNumber(item))
            return expected(r, item, key, "an integer or [low, high]");
        if (!(st = read_int(r, item, key, &range.low)))
            *value = (rm_range){ range.low, range.low };
        return st;
    }
    if (cJSON_GetArraySize(item) != 2)
        return expected(r, item, key, "an integer or a list of two, [low, high]");
    if ((st = read_int(r, item->child, key, &range.low))
        || (st = read_int(r, item->child->next, key, &range.high)))
        return st;
    if (range.low > range.high)
        return rm_json_fail(r->err, RM_E_ARGUMENT, r->json, item,
                            "%s%s%s: [low, high] is the wrong way round", r->path,
                            *r->path ? "." : "", key->name);
    *value = range;
    return RM_OK;
}

static rm_status read_value(const reader *r, const cJSON *item, const rm_key *key, void *base)
{
    void *field = (char *)base + key->offset;
    switch (key->kind) {
    case RM_KEY_STRING:
        return read_string(r, item, key, field);
    case RM_KEY_STRINGS:
        return read_strings(r, item, key, field);
    case RM_KEY_INT:
        return read_int(r, item, key, field);
    case RM_KEY_SEED:
        if (!rm_json_get_uint(r->json, item, field))
            return expected(r, item, key, "an integer from 0 to 18446744073709551615");
        return RM_OK;
    case RM_KEY_REAL: {
        if (!cJSON_IsNumber(item))
            return expected(r, item, key, "a number");
        rm_status st = check_range(r, item, key, item->valuedouble);
        if (!st)
            *(double *)field = item->valuedouble;
        return st;
    }
    case RM_KEY_BOOL:
        if (!cJSON_IsBool(item))
            return expected(r, item, key, "true or false");
        *(bool *)field = cJSON_IsTrue(item);
        return RM_OK;
    case RM_KEY_CHOICE:
        return read_choice(r, item, key, field);
    case RM_KEY_RANGE:
        return read_range(r, item, key, field);
    case RM_KEY_ANY:
        *(const cJSON **)field = item;
        return RM_OK;
    }
    return RM_OK;
}

/* ---- objects ----------------------------------------------------------------------------- */

static const rm_key *find_key(const rm_key *keys, const char *name)
{
    for (; keys && keys->name; keys++)
        if (!strcmp(keys->name, name))
            return keys;
    return NULL;
}

static rm_status unknown_key(const reader *r, const cJSON *item, const rm_key *keys,
                             const rm_key *more)
{
    const char *known[MAX_KNOWN];
    int n = 0;
    for (; keys && keys->name && n < MAX_KNOWN; keys++)
        known[n++] = keys->name;
    for (; more && more->name && n < MAX_KNOWN; more++)
        known[n++] = more->name;
    const char *near = rm_nearest_word(item->string, known, n);
    if (near)
        return rm_json_fail(r->err, RM_E_ARGUMENT, r->json, item,
                            "%s%sunknown key \"%.60s\"; did you mean \"%s\"?", r->path,
                            *r->path ? ": " : "", item->string, near);
    rm_text list = { 0 };
    for (int i = 0; i < n; i++)
        rm_text_printf(&list, "%s%s", i ? ", " : "", known[i]);
    rm_status st = rm_json_fail(r->err, RM_E_ARGUMENT, r->json, item,
                                "%s%sunknown key \"%.60s\"; known are %s", r->path,
                                *r->path ? ": " : "", item->string, list.data ? list.data : "");
    rm_text_free(&list);
    return st;
}

rm_status rm_keys_read(const rm_json *json, const cJSON *object, const char *path,
                       const rm_key *keys, void *base, const rm_key *more, void *more_base,
                       rm_error *err)
{
    reader r = { json, path, err };
    if (!cJSON_IsObject(object))
        return rm_json_fail(err, RM_E_ARGUMENT, json, object, "%s%sexpected an object, found %s",
                            path, *path ? ": " : "", kind_of(object));
    const cJSON *item;
    cJSON_ArrayForEach(item, object) {
        const rm_key *key = find_key(keys, item->string);
        void *into = base;
        if (!key) {
            key = find_key(more, item->string);
            into = more_base;
        }
        rm_status st = key ? read_value(&r, item, key, into) : unknown_key(&r, item, keys, more);
        if (st)
            return st;
    }
    return RM_OK;
}

void rm_keys_free(const rm_key *keys, void *base)
{
    for (; keys->name; keys++) {
        void *field = (char *)base + keys->offset;
        if (keys->kind == RM_KEY_STRING) {
            free(*(char **)field);
            *(char **)field = NULL;
        } else if (keys->kind == RM_KEY_STRINGS) {
            rm_strings_free(field);
        }
    }
}
