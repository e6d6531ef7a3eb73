/* json.c - a strict recursive-descent JSON parser that builds cJSON trees, and a writer.
 *
 *     value  = object | array | string | number | "true" | "false" | "null"      (RFC 8259)
 *
 * Invariant of the parser: every function is entered with `at` on the first byte of its
 * construct and leaves it one past the last; a failure has written the sentence and the
 * partial tree hangs from the root, so one cJSON_Delete at the top undoes everything. Recursion is
 * bounded by RM_JSON_MAX_DEPTH. Work is O(n log n): the log comes from sorting an object's keys to
 * find duplicates, which a hostile file could otherwise make quadratic. */
#define _GNU_SOURCE
#include "base/json.h"

#include <assert.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the document --------------------------------------------------------------------- */

/* Where an item stands: offsets into the text. Sorted by address once the tree is complete. */
typedef struct place {
    const cJSON *item;
    size_t value, key; /* key == value for what has no key */
} place;

struct rm_json {
    char *name;
    char *text; /* NULL without positions */
    size_t n, first_line;
    cJSON *root;
    place *places;
    size_t n_places, capacity;
};

typedef struct parser {
    rm_json *json;
    const char *name, *text;
    size_t n, at, first_line;
    unsigned flags;
    int depth;
    locale_t c_locale; /* numbers have a '.', whatever the user's locale says */
    rm_text scratch;   /* the string being decoded */
    rm_error *err;
} parser;

/* Line and column of a byte, counting from first_line and 1. */
static void locate(const char *text, size_t offset, size_t first_line, size_t *line,
                   size_t *column)
{
    size_t start = 0;
    *line = first_line;
    for (const char *p = text; (p = memchr(p, '\n', offset - (size_t)(p - text))); p++) {
        ++*line;
        start = (size_t)(p - text) + 1;
    }
    *column = offset - start + 1;
}

static rm_status refuse(parser *p, size_t offset, const char *sentence)
{
    size_t line, column;
    locate(p->text, offset, p->first_line, &line, &column);
    return rm_fail(p->err, RM_E_FORMAT, "%s:%zu:%zu: %s", p->name, line, column, sentence);
}

static rm_status out_of_memory(parser *p)
{
    return rm_fail(p->err, RM_E_MEMORY, "%s: out of memory while reading JSON", p->name);
}

static rm_status remember(parser *p, const cJSON *item, size_t value, size_t key)
{
    rm_json *json = p->json;
    if (p->flags & RM_JSON_NO_POSITIONS)
        return RM_OK;
    if (json->n_places == json->capacity) {
        size_t capacity = json->capacity ? 2 * json->capacity : 64;
        place *places = realloc(json->places, capacity * sizeof *places);
        if (!places)
            return out_of_memory(p);
        json->places = places;
        json->capacity = capacity;
    }
    json->places[json->n_places++] = (place){ item, value, key };
    return RM_OK;
}

/* ---- tokens --------------------------------------------------------------------------- */

static bool at_byte(const parser *p, char c)
{
    return p->at < p->n && p->text[p->at] == c;
}

/* Skips white space and, where allowed, comments. Comments are skipped where they stand instead
 * of being cut out first, so that positions need no correction. */
static rm_status skip_space(parser *p)
{
    for (;;) {
        while (p->at < p->n && strchr(" \t\n\r", p->text[p->at]) && p->text[p->at])
            p->at++;
        if (!(p->flags & RM_JSON_COMMENTS) || !at_byte(p, '/') || p->at + 1 >= p->n)
            return RM_OK;
        if (p->text[p->at + 1] == '/') {
            const char *end = memchr(p->text + p->at, '\n', p->n - p->at);
            p->at = end ? (size_t)(end - p->text) : p->n;
        } else if (p->text[p->at + 1] == '*') {
            const char *end = memmem(p->text + p->at + 2, p->n - p->at - 2, "*/", 2);
            if (!end)
                return refuse(p, p->at, "this comment is never closed with */");
            p->at = (size_t)(end - p->text) + 2;
        } else {
            return RM_OK;
        }
    }
}

static size_t skip_digits(parser *p)
{
    size_t start = p->at;
    while (p->at < p->n && p->text[p->at] >= '0' && p->text[p->at] <= '9')
        p->at++;
    return p->at - start;
}

static rm_status parse_number(parser *p, cJSON **item)
{
    size_t start = p->at;
    if (at_byte(p, '-'))
        p->at++;
    size_t whole = p->at;
    if (!skip_digits(p))
        return refuse(p, start, "expected a digit after the minus sign");
    if (p->text[whole] == '0' && p->at - whole > 1)
        return refuse(p, start, "a number must not begin with a superfluous 0");
    if (at_byte(p, '.')) {
        p->at++;
        if (!skip_digits(p))
            return refuse(p, p->at, "expected a digit after the decimal point");
    }
    if (at_byte(p, 'e') || at_byte(p, 'E')) {
        p->at++;
        if (at_byte(p, '+') || at_byte(p, '-'))
            p->at++;
        if (!skip_digits(p))
            return refuse(p, p->at, "expected a digit in the exponent");
    }
    p->scratch.length = 0; /* strtod wants a NUL, and the text need not have one */
    rm_text_add(&p->scratch, p->text + start, p->at - start);
    if (p->scratch.failed)
        return out_of_memory(p);
    double value = strtod_l(p->scratch.data, NULL, p->c_locale);
    if (!isfinite(value))
        return refuse(p, start, "this number is too large for a double");
    *item = cJSON_CreateNumber(value);
    return *item ? RM_OK : out_of_memory(p);
}

/* Four hexadecimal digits at `at`; -1 if they are not there. */
static int hex4(const parser *p, size_t at)
{
    if (p->n < 4 || at > p->n - 4)
        return -1;
    int value = 0;
    for (size_t i = at; i < at + 4; i++) {
        char c = p->text[i];
        int digit = c >= '0' && c <= '9' ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static void add_code_point(rm_text *text, unsigned c)
{
    char b[4];
    size_t n = 0;
    if (c < 0x80) {
        b[n++] = (char)c;
    } else {
        if (c < 0x800) {
            b[n++] = (char)(0xC0 | c >> 6);
        } else {
            if (c < 0x10000) {
                b[n++] = (char)(0xE0 | c >> 12);
            } else {
                b[n++] = (char)(0xF0 | c >> 18);
                b[n++] = (char)(0x80 | (c >> 12 & 0x3F));
            }
            b[n++] = (char)(0x80 | (c >> 6 & 0x3F));
        }
        b[n++] = (char)(0x80 | (c & 0x3F));
    }
    rm_text_add(text, b, n);
}

/* `at` is on the u of a \u escape; two of them make one character beyond U+FFFF. */
static rm_status parse_unicode_escape(parser *p)
{
    size_t start = p->at - 1;
    int high = hex4(p, p->at + 1);
    if (high < 0)
        return refuse(p, start, "expected four hexadecimal digits after \\u");
    if (high == 0)
        return refuse(p, start, "\\u0000 is not allowed in a string");
    p->at += 5;
    unsigned code = (unsigned)high;
    if (high >= 0xD800 && high <= 0xDFFF) {
        int low = at_byte(p, '\\') && p->at + 1 < p->n && p->text[p->at + 1] == 'u'
                      ? hex4(p, p->at + 2) : -1;
        if (high > 0xDBFF || low < 0xDC00 || low > 0xDFFF)
            return refuse(p, start, "this surrogate is not one of a pair");
        code = 0x10000u + (((unsigned)high - 0xD800u) << 10) + ((unsigned)low - 0xDC00u);
        p->at += 6;
    }
    add_code_point(&p->scratch, code);
    return RM_OK;
}

/* Decodes a string into p->scratch; `at` is on the opening quote. The text is valid UTF-8 as a
 * whole (checked before), so bytes above 0x7F are copied as they are. */
static rm_status parse_string(parser *p)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    size_t start = p->at++;
    p->scratch.length = 0;
    rm_text_puts(&p->scratch, "");
    for (;;) {
        size_t run = p->at;
        while (p->at < p->n && p->text[p->at] != '"' && p->text[p->at] != '\\'
               && (unsigned char)p->text[p->at] >= 0x20)
            p->at++;
        rm_text_add(&p->scratch, p->text + run, p->at - run);
        if (p->at >= p->n)
            return refuse(p, start, "this string is never closed");
        char c = p->text[p->at];
        if (c == '"')
            break;
        if (c != '\\')
            return refuse(p, p->at, c == '\n' || c == '\r'
                              ? "a line ends inside a string (write \\n)"
                              : "a control character inside a string must be escaped");
        if (++p->at >= p->n)
            return refuse(p, start, "this string is never closed");
        c = p->text[p->at];
        const char *known = c ? strchr(from, c) : NULL;
        if (known) {
            rm_text_add(&p->scratch, &to[known - from], 1);
            p->at++;
        } else if (c == 'u') {
            rm_status st = parse_unicode_escape(p);
            if (st)
                return st;
        } else {
            return refuse(p, p->at - 1, "unknown escape in a string");
        }
    }
    p->at++;
    return p->scratch.failed ? out_of_memory(p) : RM_OK;
}

/* ---- values --------------------------------------------------------------------------- */

static rm_status parse_value(parser *p, cJSON *parent, const char *key, size_t key_at);

static int compare_keys(const void *a, const void *b)
{
    const cJSON *const *x = a, *const *y = b;
    return strcmp((*x)->string, (*y)->string);
}

static rm_status refuse_duplicates(parser *p, const cJSON *object, size_t end)
{
    size_t n = 0;
    for (const cJSON *c = object->child; c; c = c->next)
        n++;
    if (n < 2)
        return RM_OK;
    const cJSON **keys = malloc(n * sizeof *keys);
    if (!keys)
        return out_of_memory(p);
    n = 0;
    for (const cJSON *c = object->child; c; c = c->next)
        keys[n++] = c;
    qsort(keys, n, sizeof *keys, compare_keys);
    rm_status st = RM_OK;
    for (size_t i = 1; i < n && !st; i++)
        if (!strcmp(keys[i]->string, keys[i - 1]->string)) {
            char sentence[160];
            snprintf(sentence, sizeof sentence, "key \"%.80s\" stands twice in this object",
                     keys[i]->string);
            st = refuse(p, end, sentence);
        }
    free(keys);
    return st;
}

/* Members of an object or elements of an array; `at` is past the opening bracket. */
static rm_status parse_members(parser *p, cJSON *container, char closing)
{
    bool object = closing == '}';
    size_t start = p->at - 1;
    rm_status st = skip_space(p);
    if (st)
        return st;
    if (at_byte(p, closing)) {
        p->at++;
        return RM_OK;
    }
    for (;;) {
        char *key = NULL;
        size_t key_at = p->at;
        if (object) {
            if (!at_byte(p, '"'))
                return refuse(p, p->at, "expected a key in double quotes");
            if ((st = parse_string(p)) || (st = skip_space(p)))
                return st;
            if (!at_byte(p, ':'))
                return refuse(p, p->at, "expected ':' after the key");
            p->at++;
            if (!(key = strdup(p->scratch.data)))
                return out_of_memory(p);
            st = skip_space(p);
        }
        if (!st)
            st = parse_value(p, container, key, object ? key_at : p->at);
        free(key);
        if (st || (st = skip_space(p)))
            return st;
        if (at_byte(p, closing)) {
            p->at++;
            return object ? refuse_duplicates(p, container, start) : RM_OK;
        }
        if (!at_byte(p, ','))
            return refuse(p, p->at, object ? "expected ',' or '}' here"
                                           : "expected ',' or ']' here");
        p->at++;
        if ((st = skip_space(p)))
            return st;
    }
}

static bool take_word(parser *p, const char *word)
{
    size_t n = strlen(word);
    if (p->n - p->at < n || memcmp(p->text + p->at, word, n))
        return false;
    p->at += n;
    return true;
}

/* A value, hung into its parent (or the root) before its members are read. */
static rm_status parse_value(parser *p, cJSON *parent, const char *key, size_t key_at)
{
    if (p->at >= p->n)
        return refuse(p, p->n, "expected a value, found the end of the text");
    size_t start = p->at;
    char c = p->text[p->at];
    cJSON *item = NULL;
    rm_status st = RM_OK;
    if (c == '{' || c == '[') {
        if (p->depth >= RM_JSON_MAX_DEPTH)
            return refuse(p, start, "nested too deeply (at most 256 levels)");
        p->at++;
        item = c == '{' ? cJSON_CreateObject() : cJSON_CreateArray();
    } else if (c == '"') {
        if ((st = parse_string(p)))
            return st;
        item = cJSON_CreateString(p->scratch.data);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        if ((st = parse_number(p, &item)))
            return st;
    } else if (take_word(p, "true")) {
        item = cJSON_CreateTrue();
    } else if (take_word(p, "false")) {
        item = cJSON_CreateFalse();
    } else if (take_word(p, "null")) {
        item = cJSON_CreateNull();
    } else {
        return refuse(p, start, "expected a value: an object, array, string, number, true, false "
                                "or null");
    }
    if (!item)
        return out_of_memory(p);
    bool hung = true;
    if (!parent)
        p->json->root = item;
    else
        hung = key ? cJSON_AddItemToObject(parent, key, item) : cJSON_AddItemToArray(parent, item);
    if (!hung) {
        cJSON_Delete(item);
        return out_of_memory(p);
    }
    if ((st = remember(p, item, start, key_at)))
        return st;
    if (c != '{' && c != '[')
        return RM_OK;
    p->depth++;
    st = parse_members(p, item, c == '{' ? '}' : ']');
    p->depth--;
    return st;
}

static int compare_places(const void *a, const void *b)
{
    const place *x = a, *y = b;
    uintptr_t i = (uintptr_t)x->item, j = (uintptr_t)y->item;
    return i < j ? -1 : i > j;
}

static rm_status parse_document(parser *p)
{
    size_t valid = rm_utf8_valid_prefix(p->text, p->n);
    if (valid < p->n)
        return refuse(p, valid, "this byte is not valid UTF-8");
    if (p->n >= 3 && !memcmp(p->text, "\xEF\xBB\xBF", 3))
        p->at = 3;
    rm_status st;
    if ((st = skip_space(p)) || (st = parse_value(p, NULL, NULL, p->at)) || (st = skip_space(p)))
        return st;
    if (p->at < p->n)
        return refuse(p, p->at, "expected the end of the text after the value");
    return RM_OK;
}

rm_status rm_json_parse(const char *text, size_t n, const char *name, size_t first_line,
                        unsigned flags, rm_json **out, rm_error *err)
{
    parser p = { .name = name, .text = n ? text : "", .n = n, .first_line = first_line,
                 .flags = flags, .err = err };
    rm_status st = RM_OK;
    rm_json *json = p.json = calloc(1, sizeof *json);
    p.c_locale = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    if (!json || !p.c_locale || !(json->name = strdup(name))) {
        st = out_of_memory(&p);
        goto done;
    }
    json->first_line = first_line;
    if (!(flags & RM_JSON_NO_POSITIONS)) {
        if (!(json->text = malloc(n + 1))) {
            st = out_of_memory(&p);
            goto done;
        }
        memcpy(json->text, p.text, n);
        json->text[n] = '\0';
        json->n = n;
    }
    st = parse_document(&p);
    if (!st && json->n_places)
        qsort(json->places, json->n_places, sizeof *json->places, compare_places);
done:
    rm_text_free(&p.scratch);
    if (p.c_locale)
        freelocale(p.c_locale);
    if (st) {
        rm_json_free(json);
        return st;
    }
    *out = json;
    return RM_OK;
}

void rm_json_free(rm_json *json)
{
    if (!json)
        return;
    cJSON_Delete(json->root);
    free(json->places);
    free(json->text);
    free(json->name);
    free(json);
}

const cJSON *rm_json_root(const rm_json *json)
{
    return json->root;
}

static const place *place_of(const rm_json *json, const cJSON *item)
{
    place key = { .item = item };
    return json->n_places ? bsearch(&key, json->places, json->n_places, sizeof key, compare_places)
                          : NULL;
}

void rm_json_where(const rm_json *json, const cJSON *item, bool of_key, size_t *line,
                   size_t *column)
{
    const place *at = place_of(json, item);
    *line = *column = 0;
    if (at)
        locate(json->text, of_key ? at->key : at->value, json->first_line, line, column);
}

rm_status rm_json_fail(rm_error *err, rm_status status, const rm_json *json, const cJSON *item,
                       const char *format, ...)
{
    if (!err)
        return status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    size_t line, column;
    rm_json_where(json, item, false, &line, &column);
    if (line)
        return rm_fail_within(err, status, "%s:%zu:%zu", json->name, line, column);
    if (json->first_line > 1) /* one line of many, kept without positions */
        return rm_fail_within(err, status, "%s:%zu", json->name, json->first_line);
    return rm_fail_within(err, status, "%s", json->name);
}

bool rm_json_get_uint(const rm_json *json, const cJSON *item, uint64_t *value)
{
    const place *at = cJSON_IsNumber(item) ? place_of(json, item) : NULL;
    if (!at)
        return false;
    const char *p = json->text + at->value; /* NUL-terminated, and the grammar was checked */
    uint64_t v = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(v, UINT64_C(10), &v)
            || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            return false;
    if (p == json->text + at->value || *p == '.' || *p == 'e' || *p == 'E')
        return false;
    *value = v;
    return true;
}

rm_status rm_jsonl_next(const char *text, size_t n, const char *name, size_t *cursor, size_t *line,
                        rm_json **json, rm_error *err)
{
    const size_t max_line = (size_t)64 << 20;
    *json = NULL;
    if (*cursor == 0 && n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3))
        *cursor = 3;
    while (*cursor < n) {
        const char *start = text + *cursor;
        const char *newline = memchr(start, '\n', n - *cursor);
        size_t length = newline ? (size_t)(newline - start) : n - *cursor;
        *cursor += length + (newline != NULL);
        ++*line;
        if (length > max_line)
            return rm_fail(err, RM_E_FORMAT, "%s:%zu: this line has %zu bytes; at most 64 MiB",
                           name, *line, length);
        size_t blank = 0;
        while (blank < length && (start[blank] == ' ' || start[blank] == '\t'
                                  || start[blank] == '\r'))
            blank++;
        if (blank < length)
            return rm_json_parse(start, length, name, *line, 0, json, err);
    }
    return RM_OK;
}
