/* jinja_json.c - JSON in (the variables) and out (the filter tojson).
 *
 * tojson is json.dumps with the defaults that apply_chat_template gives it: ensure_ascii false,
 * ", " and ": " between items, one item a line with `indent`. Nothing is escaped for HTML. */
#include "experiments/chat/jinja_private.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- in --------------------------------------------------------------------------------- */

/* cJSON keeps numbers as doubles: those that are whole and exact are Python's int. */
static jinja_value number(double x)
{
    return x >= -0x1p53 && x <= 0x1p53 && !(x < floor(x) || x > floor(x)) ? jinja_int((int64_t)x)
                                                                          : jinja_float(x);
}

static jinja_value object(jinja_machine *m, const cJSON *item, bool data, int depth)
{
    size_t n = 0, i = 0;
    for (const cJSON *c = item->child; c; c = c->next)
        n++;
    jinja_value map = jinja_new_map(m, n);
    for (const cJSON *c = item->child; c && !m->status; c = c->next, i++) {
        bool role = !strcmp(c->string, "role"); /* names a part of the format, says nothing */
        map.map->keys[i] = jinja_text(m, c->string, strlen(c->string), data);
        map.map->values[i] = jinja_from_json(m, c, data && !role, depth + 1);
        map.map->n = i + 1;
    }
    return map;
}

static jinja_value array(jinja_machine *m, const cJSON *item, bool data, int depth)
{
    size_t n = 0, i = 0;
    for (const cJSON *c = item->child; c; c = c->next)
        n++;
    jinja_value *items = jinja_alloc(m, (n + 1) * sizeof *items);
    for (const cJSON *c = item->child; c && !m->status; c = c->next)
        items[i++] = jinja_from_json(m, c, data, depth + 1);
    return jinja_sequence(m, JINJA_LIST, items, n);
}

jinja_value jinja_from_json(jinja_machine *m, const cJSON *item, bool data, int depth)
{
    if (depth > RM_JSON_MAX_DEPTH)
        jinja_fail(m, RM_E_LIMIT, "the variables are nested too deep");
    if (!jinja_step(m, 1))
        return JINJA_NOTHING;
    if (cJSON_IsString(item)) {
        size_t n = strlen(item->valuestring);
        if (rm_utf8_valid_prefix(item->valuestring, n) != n) {
            jinja_fail(m, RM_E_ARGUMENT, "a text for the template is not valid UTF-8");
            return JINJA_NOTHING;
        }
        return jinja_text(m, item->valuestring, n, data);
    }
    if (cJSON_IsNumber(item))
        return number(item->valuedouble);
    if (cJSON_IsBool(item))
        return jinja_bool(cJSON_IsTrue(item));
    if (cJSON_IsObject(item))
        return object(m, item, data, depth);
    if (cJSON_IsArray(item))
        return array(m, item, data, depth);
    return JINJA_NULL;
}

/* ---- out -------------------------------------------------------------------------------- */

typedef struct style {
    bool ascii, sort;
    const jinja_string *indent; /* NULL: all on one line */
    const jinja_string *comma, *colon;
} style;

static void add_json(jinja_machine *, jinja_buffer *, jinja_value, const style *, int depth);

static void add_escaped(jinja_machine *m, jinja_buffer *b, const jinja_string *s, bool ascii)
{
    static const char short_names[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    jinja_add(m, b, "\"", 1, false);
    for (size_t at = 0; at < s->n && !m->status;) {
        size_t n = jinja_char_bytes(s->bytes + at, s->bytes + s->n);
        uint32_t c = jinja_char(s->bytes + at, n);
        char escaped[16] = { 0 };
        for (size_t i = 0; i < sizeof short_names - 1; i += 2)
            if (c == (unsigned char)short_names[i])
                snprintf(escaped, sizeof escaped, "\\%c", short_names[i + 1]);
        if (!*escaped && c >= 0x10000 && ascii)
            snprintf(escaped, sizeof escaped, "\\u%04x\\u%04x", 0xd7c0 + (c >> 10),
                     0xdc00 + (c & 0x3ff));
        else if (!*escaped && (c < 0x20 || (ascii && c > 0x7e)))
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
        if (*escaped)
            jinja_add(m, b, escaped, strlen(escaped), s->mark ? s->mark[at] : s->data);
        else
            jinja_add_part(m, b, s, at, at + n);
        at += n;
    }
    jinja_add(m, b, "\"", 1, false);
}

static void new_line(jinja_machine *m, jinja_buffer *b, const style *st, int depth)
{
    if (!st->indent)
        return;
    jinja_add(m, b, "\n", 1, false);
    for (int i = 0; i < depth && !m->status; i++)
        jinja_add_string(m, b, st->indent);
}

static void add_list(jinja_machine *m, jinja_buffer *b, const jinja_list *list, const style *st,
                     int depth)
{
    jinja_add(m, b, "[", 1, false);
    for (size_t i = 0; i < list->n && !m->status; i++) {
        if (i)
            jinja_add_string(m, b, st->comma);
        new_line(m, b, st, depth + 1);
        add_json(m, b, list->items[i], st, depth + 1);
    }
    if (list->n)
        new_line(m, b, st, depth);
    jinja_add(m, b, "]", 1, false);
}

static void add_key(jinja_machine *m, jinja_buffer *b, jinja_value key, const style *st)
{
    if (key.type == JINJA_STRING) {
        add_escaped(m, b, key.string, st->ascii);
        return;
    }
    jinja_add(m, b, "\"", 1, false);
    add_json(m, b, key, st, 0);
    jinja_add(m, b, "\"", 1, false);
}

/* The next key in order behind `last`; with keys distinct, each is found once. */
static size_t next_key(jinja_machine *m, const jinja_map *map, const jinja_value *last)
{
    size_t best = map->n;
    jinja_step(m, map->n);
    for (size_t i = 0; i < map->n && !m->status; i++)
        if ((!last || jinja_compare(m, map->keys[i], *last) > 0)
            && (best == map->n || jinja_compare(m, map->keys[i], map->keys[best]) < 0))
            best = i;
    return best;
}

static void add_map(jinja_machine *m, jinja_buffer *b, const jinja_map *map, const style *st,
                    int depth)
{
    const jinja_value *last = NULL;
    jinja_add(m, b, "{", 1, false);
    for (size_t i = 0; i < map->n && !m->status; i++) {
        size_t at = st->sort ? next_key(m, map, last) : i;
        if (at >= map->n)
            break;
        last = &map->keys[at];
        if (i)
            jinja_add_string(m, b, st->comma);
        new_line(m, b, st, depth + 1);
        add_key(m, b, map->keys[at], st);
        jinja_add_string(m, b, st->colon);
        add_json(m, b, map->values[at], st, depth + 1);
    }
    if (map->n)
        new_line(m, b, st, depth);
    jinja_add(m, b, "}", 1, false);
}

static void add_json(jinja_machine *m, jinja_buffer *b, jinja_value v, const style *st, int depth)
{
    char text[40];
    if (++m->depth > RM_JINJA_MAX_DEPTH)
        jinja_fail(m, RM_E_LIMIT, "values are nested too deep");
    jinja_step(m, 1);
    switch (v.type) {
    case JINJA_NONE:
        jinja_add(m, b, "null", 4, false);
        break;
    case JINJA_BOOL:
        jinja_add(m, b, v.truth ? "true" : "false", v.truth ? 4 : 5, false);
        break;
    case JINJA_FLOAT:
        jinja_number_text(v.real, true, text);
        jinja_add(m, b, text, strlen(text), false);
        break;
    case JINJA_INT:
        jinja_add_value(m, b, v);
        break;
    case JINJA_STRING:
        add_escaped(m, b, v.string, st->ascii);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
        if (!m->status)
            add_list(m, b, v.list, st, depth);
        break;
    case JINJA_MAP:
        if (!m->status)
            add_map(m, b, v.map, st, depth);
        break;
    default:
        jinja_fail(m, RM_E_ARGUMENT, "%s cannot be written as JSON", jinja_type_name(v));
    }
    m->depth--;
}

jinja_value jinja_to_json(jinja_machine *m, jinja_value v, const jinja_call *call)
{
    enum { ASCII, INDENT, SEPARATORS, SORT };
    jinja_value values[] = { jinja_bool(false), JINJA_NULL, JINJA_NULL, jinja_bool(false) };
    jinja_string blanks = { 0 }, comma = { .bytes = ", ", .n = 2 },
        colon = { .bytes = ": ", .n = 2 };
    if (!jinja_bind(m, call, "ensure_ascii indent separators sort_keys", values))
        return JINJA_NOTHING;
    style st = { .ascii = jinja_is_true(values[ASCII]), .sort = jinja_is_true(values[SORT]),
                 .comma = &comma, .colon = &colon };
    jinja_value indent = values[INDENT], separators = values[SEPARATORS];
    if (indent.type == JINJA_STRING) {
        st.indent = indent.string;
    } else if (indent.type == JINJA_INT) {
        int64_t n = indent.integer < 0 ? 0 : indent.integer > 1000 ? 1000 : indent.integer;
        char *spaces = jinja_alloc(m, (size_t)n + 1);
        if (!spaces)
            return JINJA_NOTHING;
        memset(spaces, ' ', (size_t)n);
        blanks = (jinja_string){ .bytes = spaces, .n = (size_t)n };
        st.indent = &blanks;
    } else if (indent.type != JINJA_NONE) {
        jinja_fail(m, RM_E_ARGUMENT, "tojson: indent is a number or a string");
    }
    if (st.indent)
        comma.n = 1;
    if (separators.type == JINJA_TUPLE || separators.type == JINJA_LIST) {
        if (separators.list->n != 2 || separators.list->items[0].type != JINJA_STRING
            || separators.list->items[1].type != JINJA_STRING) {
            jinja_fail(m, RM_E_ARGUMENT, "tojson: separators are two strings");
            return JINJA_NOTHING;
        }
        st.comma = separators.list->items[0].string;
        st.colon = separators.list->items[1].string;
    }
    jinja_buffer buffer = { 0 };
    add_json(m, &buffer, v, &st, 0);
    return jinja_buffer_value(m, &buffer);
}
