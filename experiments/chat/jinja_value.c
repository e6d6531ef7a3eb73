/* jinja_value.c - memory, strings with provenance, and what Python does with values: truth,
 * equality, order, membership, iteration, printing. */
#define _GNU_SOURCE
#include "experiments/chat/jinja_private.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <math.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ----------------------------------------------------------------------------- */

enum { BLOCK_BYTES = 64 << 10, ALIGNMENT = 16 };

struct jinja_block {
    jinja_block *next;
    size_t used, size;
    _Alignas(ALIGNMENT) char bytes[];
};

void *jinja_arena_alloc(jinja_arena *arena, size_t bytes)
{
    if (bytes > arena->left)
        return NULL;
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    jinja_block *block = arena->blocks;
    if (!block || block->size - block->used < bytes) {
        size_t size = bytes > BLOCK_BYTES / 4 ? bytes : BLOCK_BYTES;
        if (!(block = calloc(1, sizeof *block + size)))
            return NULL;
        block->size = size;
        if (arena->blocks && size != BLOCK_BYTES) { /* a large piece: go on with the block in use */
            block->next = arena->blocks->next;
            arena->blocks->next = block;
        } else {
            block->next = arena->blocks;
            arena->blocks = block;
        }
    }
    void *piece = block->bytes + block->used;
    block->used += bytes;
    arena->left -= bytes < arena->left ? bytes : arena->left;
    return piece;
}

void jinja_arena_free(jinja_arena *arena)
{
    while (arena->blocks) {
        jinja_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}

/* ---- making values ---------------------------------------------------------------------- */

jinja_value jinja_bool(bool truth)
{
    return (jinja_value){ .type = JINJA_BOOL, .truth = truth };
}

jinja_value jinja_int(int64_t integer)
{
    return (jinja_value){ .type = JINJA_INT, .integer = integer };
}

jinja_value jinja_float(double real)
{
    return (jinja_value){ .type = JINJA_FLOAT, .real = real };
}

jinja_value jinja_missing(const char *what)
{
    return (jinja_value){ .type = JINJA_UNDEFINED, .missing = what };
}

static jinja_value string_value(jinja_machine *m, jinja_string string)
{
    jinja_string *s = jinja_alloc(m, sizeof *s);
    if (!s)
        return JINJA_NOTHING;
    *s = string;
    return (jinja_value){ .type = JINJA_STRING, .string = s };
}

jinja_value jinja_text(jinja_machine *m, const char *bytes, size_t n, bool data)
{
    char *copy = jinja_alloc(m, n + 1);
    if (!copy)
        return JINJA_NOTHING;
    memcpy(copy, bytes, n);
    return string_value(m, (jinja_string){ .bytes = copy, .n = n, .data = data });
}

jinja_value jinja_part(jinja_machine *m, const jinja_string *s, size_t from, size_t to)
{
    return string_value(m, (jinja_string){ .bytes = s->bytes + from, .n = to - from,
                                           .mark = s->mark ? s->mark + from : NULL,
                                           .data = s->data, .markup = s->markup });
}

jinja_value jinja_sequence(jinja_machine *m, jinja_type type, const jinja_value *items, size_t n)
{
    jinja_list *list = jinja_alloc(m, sizeof *list);
    if (!list)
        return JINJA_NOTHING;
    *list = (jinja_list){ .n = n, .items = items };
    return (jinja_value){ .type = type, .list = list };
}

jinja_value jinja_new_map(jinja_machine *m, size_t capacity)
{
    jinja_map *map = jinja_alloc(m, sizeof *map);
    capacity = capacity ? capacity : 4;
    jinja_value *slots = map && capacity < SIZE_MAX / sizeof *slots / 2
                             ? jinja_alloc(m, 2 * capacity * sizeof *slots) : NULL;
    if (!slots)
        return JINJA_NOTHING;
    *map = (jinja_map){ .capacity = capacity, .keys = slots, .values = slots + capacity };
    return (jinja_value){ .type = JINJA_MAP, .map = map };
}

const jinja_value *jinja_map_find(jinja_machine *m, const jinja_map *map, jinja_value key)
{
    for (size_t i = 0; i < map->n; i++) {
        const jinja_value *k = &map->keys[i];
        if (k->type == JINJA_STRING && key.type == JINJA_STRING) {
            if (k->string->n == key.string->n && jinja_step(m, k->string->n / 64)
                && !memcmp(k->string->bytes, key.string->bytes, key.string->n))
                return &map->values[i];
        } else if (jinja_equal(m, *k, key)) {
            return &map->values[i];
        }
    }
    jinja_step(m, map->n);
    return NULL;
}

const jinja_value *jinja_map_name(jinja_machine *m, const jinja_map *map, const char *name)
{
    jinja_string string = { .bytes = name, .n = strlen(name) };
    return jinja_map_find(m, map, (jinja_value){ .type = JINJA_STRING, .string = &string });
}

void jinja_map_put(jinja_machine *m, jinja_map *map, jinja_value key, jinja_value value)
{
    const jinja_value *there = jinja_map_find(m, map, key);
    if (there) {
        map->values[there - map->values] = value;
        return;
    }
    if (map->n == map->capacity) {
        size_t capacity = 2 * map->capacity;
        jinja_value *slots = jinja_alloc(m, 2 * capacity * sizeof *slots);
        if (!slots)
            return;
        memcpy(slots, map->keys, map->n * sizeof *slots);
        memcpy(slots + capacity, map->values, map->n * sizeof *slots);
        map->keys = slots;
        map->values = slots + capacity;
        map->capacity = capacity;
    }
    map->keys[map->n] = key;
    map->values[map->n++] = value;
}

/* ---- growing text ----------------------------------------------------------------------- */

static bool make_room(jinja_machine *m, jinja_buffer *b, size_t n)
{
    if (!jinja_step(m, n / 64))
        return false;
    if (n <= b->capacity - b->n)
        return true;
    size_t capacity = b->capacity ? b->capacity : 64;
    while (capacity - b->n < n)
        capacity *= 2;
    char *bytes = jinja_alloc(m, 2 * capacity);
    if (!bytes)
        return false;
    uint8_t *mark = (uint8_t *)bytes + capacity;
    if (b->n) {
        memcpy(bytes, b->bytes, b->n);
        memcpy(mark, b->mark, b->n);
    }
    b->bytes = bytes;
    b->mark = mark;
    b->capacity = capacity;
    return true;
}

void jinja_add(jinja_machine *m, jinja_buffer *b, const char *bytes, size_t n, bool data)
{
    if (!n || n > RM_JINJA_MAX_MEMORY || !make_room(m, b, n)) {
        if (n > RM_JINJA_MAX_MEMORY)
            jinja_fail(m, RM_E_LIMIT, "a string grows too long");
        return;
    }
    memcpy(b->bytes + b->n, bytes, n);
    memset(b->mark + b->n, data, n);
    b->n += n;
    b->n_data += data ? n : 0;
}

void jinja_add_part(jinja_machine *m, jinja_buffer *b, const jinja_string *s, size_t from,
                    size_t to)
{
    size_t at = b->n;
    jinja_add(m, b, s->bytes + from, to - from, s->mark ? true : s->data);
    if (!s->mark || b->n == at)
        return;
    memcpy(b->mark + at, s->mark + from, to - from);
    for (size_t i = from; i < to; i++)
        b->n_data -= !s->mark[i];
}

void jinja_add_string(jinja_machine *m, jinja_buffer *b, const jinja_string *s)
{
    jinja_add_part(m, b, s, 0, s->n);
}

jinja_value jinja_buffer_value(jinja_machine *m, const jinja_buffer *b)
{
    bool uniform = b->n_data == 0 || b->n_data == b->n;
    return string_value(m, (jinja_string){ .bytes = b->n ? b->bytes : "", .n = b->n,
                                           .mark = uniform ? NULL : b->mark,
                                           .data = b->n_data > 0 });
}

/* ---- code points ------------------------------------------------------------------------ */

/* Values come from valid UTF-8 and are cut between characters only. */
size_t jinja_char_bytes(const char *at, const char *end)
{
    unsigned char c = (unsigned char)*at;
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    return n <= (size_t)(end - at) ? n : (size_t)(end - at);
}

uint32_t jinja_char(const char *at, size_t n)
{
    uint32_t c = (unsigned char)at[0];
    if (c < 0x80 || n < 2)
        return c;
    c &= n == 2 ? 0x1f : n == 3 ? 0x0f : 0x07;
    for (size_t i = 1; i < n; i++)
        c = c << 6 | ((unsigned char)at[i] & 0x3f);
    return c;
}

/* str.isspace: the bidirectional classes WS, B, S and the category Zs. */
bool jinja_is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0
           || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029
           || c == 0x202f || c == 0x205f || c == 0x3000;
}

size_t jinja_length(jinja_machine *m, const jinja_string *s)
{
    size_t n = 0;
    jinja_step(m, s->n / 64);
    for (size_t i = 0; i < s->n; i++)
        n += ((unsigned char)s->bytes[i] & 0xc0) != 0x80;
    return n;
}

/* ---- truth, equality, order ------------------------------------------------------------- */

bool jinja_is_number(jinja_value v)
{
    return v.type == JINJA_BOOL || v.type == JINJA_INT || v.type == JINJA_FLOAT;
}

int64_t jinja_integer(jinja_value v)
{
    return v.type == JINJA_INT ? v.integer : v.type == JINJA_BOOL && v.truth;
}

double jinja_real(jinja_value v)
{
    return v.type == JINJA_FLOAT ? v.real : (double)jinja_integer(v);
}

bool jinja_is_true(jinja_value v)
{
    switch (v.type) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return v.truth;
    case JINJA_INT:
        return v.integer != 0;
    case JINJA_FLOAT:
        return v.real != 0;
    case JINJA_STRING:
        return v.string->n > 0;
    case JINJA_LIST:
    case JINJA_TUPLE:
        return v.list->n > 0;
    case JINJA_MAP:
        return v.map->n > 0;
    default:
        return true;
    }
}

static bool equal_lists(jinja_machine *m, const jinja_list *a, const jinja_list *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!jinja_equal(m, a->items[i], b->items[i]))
            return false;
    return true;
}

static bool equal_maps(jinja_machine *m, const jinja_map *a, const jinja_map *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n && !m->status; i++) {
        const jinja_value *other = jinja_map_find(m, b, a->keys[i]);
        if (!other || !jinja_equal(m, a->values[i], *other))
            return false;
    }
    return true;
}

static bool enter(jinja_machine *m)
{
    if (++m->depth > RM_JINJA_MAX_DEPTH)
        jinja_fail(m, RM_E_LIMIT, "values or calls are nested too deep");
    return jinja_step(m, 1);
}

bool jinja_equal(jinja_machine *m, jinja_value a, jinja_value b)
{
    bool equal = false;
    if (jinja_is_number(a) && jinja_is_number(b))
        return a.type == JINJA_FLOAT || b.type == JINJA_FLOAT ? !(jinja_real(a) < jinja_real(b))
                   && !(jinja_real(a) > jinja_real(b)) && !isnan(jinja_real(a) + jinja_real(b))
               : jinja_integer(a) == jinja_integer(b);
    if (a.type != b.type)
        return false;
    if (enter(m)) {
        switch (a.type) {
        case JINJA_UNDEFINED:
        case JINJA_NONE:
            equal = true;
            break;
        case JINJA_STRING:
            equal = a.string->n == b.string->n && jinja_step(m, a.string->n / 64)
                    && !memcmp(a.string->bytes, b.string->bytes, a.string->n);
            break;
        case JINJA_LIST:
        case JINJA_TUPLE:
            equal = equal_lists(m, a.list, b.list);
            break;
        case JINJA_MAP:
            equal = equal_maps(m, a.map, b.map);
            break;
        default:
            equal = a.map == b.map; /* the same object */
        }
    }
    m->depth--;
    return equal;
}

static int sign(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

int jinja_compare(jinja_machine *m, jinja_value a, jinja_value b)
{
    int order = 0;
    if (jinja_is_number(a) && jinja_is_number(b)) {
        if (a.type != JINJA_FLOAT && b.type != JINJA_FLOAT)
            return sign(jinja_integer(a), jinja_integer(b));
        double x = jinja_real(a), y = jinja_real(b);
        return (x > y) - (x < y);
    }
    bool lists = a.type == b.type && (a.type == JINJA_LIST || a.type == JINJA_TUPLE);
    if (a.type == JINJA_STRING && b.type == JINJA_STRING) { /* UTF-8 keeps the order of code
                                                               points */
        size_t n = a.string->n < b.string->n ? a.string->n : b.string->n;
        jinja_step(m, n / 64);
        order = memcmp(a.string->bytes, b.string->bytes, n);
        return order ? (order > 0) - (order < 0) : sign((int64_t)a.string->n, (int64_t)b.string->n);
    }
    if (!lists)
        jinja_fail(m, RM_E_ARGUMENT, "%s and %s have no order", jinja_type_name(a),
                   jinja_type_name(b));
    if (enter(m) && lists) {
        size_t n = a.list->n < b.list->n ? a.list->n : b.list->n;
        for (size_t i = 0; i < n && !order && !m->status; i++)
            if (!jinja_equal(m, a.list->items[i], b.list->items[i]))
                order = jinja_compare(m, a.list->items[i], b.list->items[i]);
        order = order ? order : sign((int64_t)a.list->n, (int64_t)b.list->n);
    }
    m->depth--;
    return order;
}

bool jinja_contains(jinja_machine *m, jinja_value container, jinja_value item)
{
    if (container.type == JINJA_STRING) {
        if (item.type != JINJA_STRING) {
            jinja_fail(m, RM_E_ARGUMENT, "only a string can be in a string, not %s",
                       jinja_type_name(item));
            return false;
        }
        jinja_step(m, container.string->n / 64);
        return memmem(container.string->bytes, container.string->n, item.string->bytes,
                      item.string->n) != NULL;
    }
    if (container.type == JINJA_MAP)
        return jinja_map_find(m, container.map, item) != NULL;
    const jinja_value *items;
    size_t n;
    if (!jinja_items(m, container, &items, &n))
        return false;
    for (size_t i = 0; i < n && !m->status; i++)
        if (jinja_equal(m, items[i], item))
            return true;
    return false;
}

bool jinja_items(jinja_machine *m, jinja_value v, const jinja_value **items, size_t *n)
{
    *items = NULL;
    *n = 0;
    switch (v.type) {
    case JINJA_UNDEFINED:
        return !m->status;
    case JINJA_LIST:
    case JINJA_TUPLE:
        *items = v.list->items;
        *n = v.list->n;
        return !m->status;
    case JINJA_ITERATOR:
        *items = v.list->items;
        *n = v.list->spent ? 0 : v.list->n;
        v.list->spent = true;
        return !m->status;
    case JINJA_MAP:
        *items = v.map->keys;
        *n = v.map->n;
        return !m->status;
    case JINJA_STRING: {
        size_t length = jinja_length(m, v.string), at = 0;
        jinja_value *chars = jinja_alloc(m, (length + 1) * sizeof *chars);
        for (size_t i = 0; chars && i < length && jinja_step(m, 1); i++) {
            size_t bytes = jinja_char_bytes(v.string->bytes + at, v.string->bytes + v.string->n);
            chars[i] = jinja_part(m, v.string, at, at + bytes);
            at += bytes;
        }
        *items = chars;
        *n = m->status ? 0 : length;
        return !m->status;
    }
    default:
        jinja_fail(m, RM_E_ARGUMENT, "%s cannot be looped over", jinja_type_name(v));
        return false;
    }
}

const char *jinja_type_name(jinja_value v)
{
    static const char *const names[] = {
        [JINJA_UNDEFINED] = "an undefined value", [JINJA_NONE] = "none", [JINJA_BOOL] = "a boolean",
        [JINJA_INT] = "an integer", [JINJA_FLOAT] = "a float", [JINJA_STRING] = "a string",
        [JINJA_LIST] = "a list", [JINJA_TUPLE] = "a tuple", [JINJA_ITERATOR] = "an iterator",
        [JINJA_MAP] = "a mapping",
        [JINJA_NAMESPACE] = "a namespace", [JINJA_LOOP] = "loop", [JINJA_MACRO] = "a macro",
        [JINJA_METHOD] = "a method", [JINJA_GLOBAL] = "a function",
    };
    return names[v.type];
}

/* ---- printing --------------------------------------------------------------------------- */

/* repr(float): the fewest digits that give the number back; an exponent below 1e-4 and from
 * 1e16. */
void jinja_number_text(double x, bool json, char text[40])
{
    if (isnan(x) || isinf(x)) {
        const char *special = isnan(x) ? (json ? "NaN" : "nan") : x > 0
            ? (json ? "Infinity" : "inf")
                                                                  : (json ? "-Infinity" : "-inf");
        snprintf(text, 40, "%s", special);
        return;
    }
    char digits[40];
    int precision = 0;
    for (;; precision++) {
        snprintf(digits, sizeof digits, "%.*e", precision, x);
        double back = strtod(digits, NULL);
        if (precision == 16 || !(back < x || back > x))
            break;
    }
    int exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent < -4 || exponent >= 16) {
        *strchr(digits, 'e') = '\0';
        snprintf(text, 40, "%.30se%s%02d", digits, exponent < 0 ? "-" : "+", abs(exponent) % 1000);
        return;
    }
    int decimals = precision - exponent;
    snprintf(text, 40, "%.*f", decimals > 0 ? decimals : 1, x);
}

/* repr(str): single quotes unless only double ones avoid an escape; what str.isprintable refuses is
 * escaped. */
static void add_quoted(jinja_machine *m, jinja_buffer *b, const jinja_string *s)
{
    bool single = memchr(s->bytes, '\'', s->n) && !memchr(s->bytes, '"', s->n);
    const char quote = single ? '"' : '\'';
    int code;
    PCRE2_SIZE offset;
    jinja_step(m, 64); /* the expression is compiled each time */
    pcre2_code *hidden = pcre2_compile((PCRE2_SPTR) "^[\\p{C}\\p{Z}]", PCRE2_ZERO_TERMINATED,
                                       PCRE2_UTF | PCRE2_UCP, &code, &offset, NULL);
    pcre2_match_data *match = hidden ? pcre2_match_data_create(1, NULL) : NULL;
    if (!match)
        jinja_fail(m, RM_E_MEMORY, "no memory to print a string");
    jinja_add(m, b, &quote, 1, s->data && s->n);
    for (size_t at = 0; at < s->n && !m->status;) {
        size_t n = jinja_char_bytes(s->bytes + at, s->bytes + s->n);
        uint32_t c = jinja_char(s->bytes + at, n);
        char escaped[12] = { 0 };
        if (c == '\n' || c == '\r' || c == '\t')
            snprintf(escaped, sizeof escaped, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (c == '\\' || c == (unsigned char)quote)
            snprintf(escaped, sizeof escaped, "\\%c", (char)c);
        else if (c != ' ' && (c < 0x20 || c == 0x7f)) /* (most text needs no look at the tables) */
            snprintf(escaped, sizeof escaped, "\\x%02x", c);
        else if (c > 0x7f && pcre2_match(hidden, (PCRE2_SPTR)s->bytes + at, n, 0, 0, match,
                                         NULL) > 0)
            snprintf(escaped, sizeof escaped, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x"
                                                                                  : "\\U%08x", c);
        if (*escaped)
            jinja_add(m, b, escaped, strlen(escaped), s->mark ? s->mark[at] : s->data);
        else
            jinja_add_part(m, b, s, at, at + n);
        at += n;
    }
    jinja_add(m, b, &quote, 1, s->data && s->n);
    pcre2_match_data_free(match);
    pcre2_code_free(hidden);
}

static void add_repr(jinja_machine *, jinja_buffer *, jinja_value);

static void add_list(jinja_machine *m, jinja_buffer *b, jinja_value v)
{
    bool tuple = v.type == JINJA_TUPLE;
    jinja_add(m, b, tuple ? "(" : "[", 1, false);
    for (size_t i = 0; i < v.list->n && !m->status; i++) {
        jinja_add(m, b, ", ", i ? 2 : 0, false);
        add_repr(m, b, v.list->items[i]);
    }
    jinja_add(m, b, tuple && v.list->n == 1 ? ",)" : tuple ? ")" : "]",
              tuple && v.list->n == 1 ? 2 : 1, false);
}

static void add_map(jinja_machine *m, jinja_buffer *b, const jinja_map *map)
{
    jinja_add(m, b, "{", 1, false);
    for (size_t i = 0; i < map->n && !m->status; i++) {
        jinja_add(m, b, ", ", i ? 2 : 0, false);
        add_repr(m, b, map->keys[i]);
        jinja_add(m, b, ": ", 2, false);
        add_repr(m, b, map->values[i]);
    }
    jinja_add(m, b, "}", 1, false);
}

static void add_repr(jinja_machine *m, jinja_buffer *b, jinja_value v)
{
    if (v.type == JINJA_STRING)
        add_quoted(m, b, v.string);
    else if (v.type == JINJA_UNDEFINED)
        jinja_add(m, b, "Undefined", 9, false);
    else
        jinja_add_value(m, b, v);
}

void jinja_add_value(jinja_machine *m, jinja_buffer *b, jinja_value v)
{
    char number[40];
    if (enter(m)) {
        switch (v.type) {
        case JINJA_UNDEFINED:
            break;
        case JINJA_NONE:
            jinja_add(m, b, "None", 4, false);
            break;
        case JINJA_BOOL:
            jinja_add(m, b, v.truth ? "True" : "False", v.truth ? 4 : 5, false);
            break;
        case JINJA_INT:
            snprintf(number, sizeof number, "%lld", (long long)v.integer);
            jinja_add(m, b, number, strlen(number), false);
            break;
        case JINJA_FLOAT:
            jinja_number_text(v.real, false, number);
            jinja_add(m, b, number, strlen(number), false);
            break;
        case JINJA_STRING:
            jinja_add_string(m, b, v.string);
            break;
        case JINJA_LIST:
        case JINJA_TUPLE:
            add_list(m, b, v);
            break;
        case JINJA_MAP:
            add_map(m, b, v.map);
            break;
        default:
            jinja_fail(m, RM_E_UNSUPPORTED, "%s cannot be printed", jinja_type_name(v));
        }
    }
    m->depth--;
}

const jinja_string *jinja_as_string(jinja_machine *m, jinja_value v)
{
    static const jinja_string empty = { .bytes = "" };
    if (v.type != JINJA_STRING) {
        jinja_buffer b = { 0 };
        jinja_add_value(m, &b, v);
        v = jinja_buffer_value(m, &b);
    }
    return v.type == JINJA_STRING && !m->status ? v.string : &empty;
}
