/* jinja_methods.c - attributes and items, methods of strings, mappings and lists, functions.
 *
 * x.name is Python's attribute where there is one, else x["name"]; x["name"] the other way round.
 * That is why `schema.items` is a method even if the mapping has a key "items". What would change
 * a value (append, pop, update) is refused as Hugging Face's immutable sandbox refuses it. */
#define _GNU_SOURCE
#include "experiments/chat/jinja_private.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <wctype.h>

/* ---- arguments -------------------------------------------------------------------------- */

bool jinja_bind(jinja_machine *m, const jinja_call *call, const char *names, jinja_value *values)
{
    int position = 0;
    const char *at = names;
    unsigned used = 0;
    for (; *at; position++) {
        size_t n = strcspn(at, " ");
        if (position < call->n)
            values[position] = call->positional[position];
        for (int i = 0; i < call->n_named; i++)
            if (strlen(call->names[i]) == n && !memcmp(call->names[i], at, n)) {
                if (position < call->n)
                    jinja_fail(m, RM_E_ARGUMENT, "%.40s gets \"%.*s\" twice", call->name, (int)n,
                               at);
                values[position] = call->named[i];
                used++;
            }
        at += n;
        at += *at == ' ';
    }
    if (call->n > position || used < (unsigned)call->n_named)
        jinja_fail(m, RM_E_ARGUMENT, "%.40s has arguments it does not take (it takes: %s)",
                   call->name,
                   *names ? names : "none");
    return !m->status;
}

static const jinja_string *string_argument(jinja_machine *m, const jinja_call *call, jinja_value v)
{
    static const jinja_string empty = { .bytes = "" };
    if (v.type == JINJA_STRING)
        return v.string;
    jinja_fail(m, RM_E_ARGUMENT, "%.40s needs a string, not %s", call->name, jinja_type_name(v));
    return &empty;
}

/* ---- strings ---------------------------------------------------------------------------- */

static bool in_set(jinja_machine *m, const jinja_string *chars, const char *at, size_t n)
{
    if (!chars)
        return jinja_is_space(jinja_char(at, n));
    jinja_step(m, 1 + chars->n / 64);
    return memmem(chars->bytes, chars->n, at, n) != NULL; /* UTF-8 matches at characters only */
}

jinja_value jinja_strip(jinja_machine *m, const jinja_string *s, const jinja_string *chars,
                        int which)
{
    size_t from = 0, to = s->n;
    while (which & 1 && from < to && !m->status) {
        size_t n = jinja_char_bytes(s->bytes + from, s->bytes + to);
        if (!in_set(m, chars, s->bytes + from, n))
            break;
        from += n;
    }
    while (which & 2 && to > from && !m->status) {
        size_t at = to - 1;
        while (at > from && ((unsigned char)s->bytes[at] & 0xc0) == 0x80)
            at--;
        if (!in_set(m, chars, s->bytes + at, to - at))
            break;
        to = at;
    }
    return jinja_part(m, s, from, to);
}

static const char *find(const jinja_string *s, size_t from, const jinja_string *what)
{
    return memmem(s->bytes + from, s->n - from, what->bytes, what->n);
}

jinja_value jinja_replace(jinja_machine *m, const jinja_string *s, const jinja_string *old,
                          const jinja_string *with, int64_t count)
{
    jinja_buffer b = { 0 };
    size_t at = 0;
    jinja_step(m, s->n / 64);
    for (int64_t done = 0; count < 0 || done < count; done++) {
        if (m->status || at > s->n || (!old->n && at == s->n && done))
            break;
        const char *found = find(s, at, old);
        if (!found)
            break;
        jinja_step(m, 1);
        size_t start = (size_t)(found - s->bytes);
        jinja_add_part(m, &b, s, at, start);
        jinja_add_string(m, &b, with);
        at = start + old->n;
        if (!old->n && at < s->n) { /* before every character, and at the end */
            size_t n = jinja_char_bytes(s->bytes + at, s->bytes + s->n);
            jinja_add_part(m, &b, s, at, at + n);
            at += n;
            if (at == s->n && (count < 0 || done + 1 < count)) {
                jinja_add_string(m, &b, with);
                break;
            }
        }
    }
    jinja_add_part(m, &b, s, at, s->n);
    return jinja_buffer_value(m, &b);
}

jinja_value jinja_escape(jinja_machine *m, const jinja_string *s)
{
    static const struct { char c; const char *text; } table[] = {
        { '&', "&amp;" }, { '<', "&lt;" }, { '>', "&gt;" }, { '\'', "&#39;" }, { '"', "&#34;" },
    };
    jinja_buffer b = { 0 };
    for (size_t i = 0; i < s->n && !m->status; i++) {
        const char *text = NULL;
        for (size_t k = 0; k < sizeof table / sizeof *table; k++)
            text = table[k].c == s->bytes[i] ? table[k].text : text;
        if (text)
            jinja_add(m, &b, text, strlen(text), s->mark ? s->mark[i] : s->data);
        else
            jinja_add_part(m, &b, s, i, i + 1);
    }
    return jinja_buffer_value(m, &b);
}

/* One code point in another case, one to one (Python's few characters that become several, such as
 * sharp s, stay as they are). */
static uint32_t change_char(locale_t locale, uint32_t c, bool upper)
{
    if (c < 0x80)
        return upper ? (c >= 'a' && c <= 'z' ? c - 32 : c) : (c >= 'A' && c <= 'Z' ? c + 32 : c);
    if (!locale)
        return c;
    return (uint32_t)(upper ? towupper_l((wint_t)c, locale) : towlower_l((wint_t)c, locale));
}

static bool is_letter(locale_t locale, uint32_t c)
{
    return c < 0x80 ? (c | 32) >= 'a' && (c | 32) <= 'z'
                    : locale && iswalpha_l((wint_t)c, locale);
}

/* Upper and lower; the first character upper and the rest lower; str.title, where every run of
 * letters is a word; Jinja2's title, where a word begins behind a blank or one of -({[<. */
jinja_value jinja_change_case(jinja_machine *m, const jinja_string *s, jinja_case which)
{
    locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    jinja_buffer b = { 0 };
    bool begins = true;
    for (size_t at = 0; at < s->n && !m->status;) {
        size_t n = jinja_char_bytes(s->bytes + at, s->bytes + s->n);
        uint32_t c = jinja_char(s->bytes + at, n);
        bool upper = which == JINJA_UPPER || (which != JINJA_LOWER && begins);
        uint32_t changed = change_char(locale, c, upper);
        char bytes[4];
        size_t length = 1;
        if (changed < 0x80) {
            bytes[0] = (char)changed;
        } else {
            length = changed < 0x800 ? 2 : changed < 0x10000 ? 3 : 4;
            for (size_t i = length - 1; i > 0; i--, changed >>= 6)
                bytes[i] = (char)(0x80 | (changed & 0x3f));
            bytes[0] = (char)((length == 2 ? 0xc0 : length == 3 ? 0xe0 : 0xf0) | changed);
        }
        jinja_add(m, &b, bytes, length, s->mark ? s->mark[at] : s->data);
        if (which == JINJA_TITLE)
            begins = !is_letter(locale, c);
        else
            begins = which == JINJA_TITLE_WORDS
                     && (jinja_is_space(c) || (c < 0x80 && strchr("-({[<", (int)c)));
        at += n;
    }
    if (locale)
        freelocale(locale);
    return jinja_buffer_value(m, &b);
}

/* A list that grows. */
typedef struct growing {
    jinja_value *items;
    size_t n, capacity;
} growing;

static void append(jinja_machine *m, growing *g, jinja_value v)
{
    if (g->n == g->capacity) {
        size_t capacity = g->capacity ? 2 * g->capacity : 8;
        jinja_value *items = jinja_alloc(m, capacity * sizeof *items);
        if (!items)
            return;
        if (g->n)
            memcpy(items, g->items, g->n * sizeof *items);
        g->items = items;
        g->capacity = capacity;
    }
    if (jinja_step(m, 1))
        g->items[g->n++] = v;
}

static jinja_value finished(jinja_machine *m, const growing *g)
{
    return jinja_sequence(m, JINJA_LIST, g->items, g->n);
}

/* By whitespace: words, none of them empty. What is left after `most` cuts keeps its blanks
 * inside. */
static jinja_value split_words(jinja_machine *m, const jinja_string *s, int64_t most)
{
    growing words = { 0 };
    for (size_t at = 0; !m->status;) {
        size_t n;
        for (; at < s->n; at += n) {
            n = jinja_char_bytes(s->bytes + at, s->bytes + s->n);
            if (!jinja_is_space(jinja_char(s->bytes + at, n)))
                break;
        }
        if (at >= s->n)
            break;
        size_t from = at;
        if (most >= 0 && (int64_t)words.n >= most) {
            jinja_value rest = jinja_part(m, s, from, s->n);
            append(m, &words, m->status ? rest : jinja_strip(m, rest.string, NULL, 2));
            break;
        }
        for (; at < s->n; at += n) {
            n = jinja_char_bytes(s->bytes + at, s->bytes + s->n);
            if (jinja_is_space(jinja_char(s->bytes + at, n)))
                break;
        }
        append(m, &words, jinja_part(m, s, from, at));
    }
    return finished(m, &words);
}

static jinja_value split(jinja_machine *m, const jinja_string *s, const jinja_call *call,
                         bool right)
{
    jinja_value values[] = { JINJA_NULL, jinja_int(-1) };
    if (!jinja_bind(m, call, "sep maxsplit", values))
        return JINJA_NOTHING;
    int64_t most = values[1].type == JINJA_INT ? values[1].integer : -1;
    jinja_step(m, s->n / 64);
    if (values[0].type == JINJA_NONE) {
        if (right && most >= 0)
            jinja_fail(m, RM_E_UNSUPPORTED, "rsplit by blanks with a limit is not supported");
        return split_words(m, s, most);
    }
    const jinja_string *by = string_argument(m, call, values[0]);
    if (!by->n)
        jinja_fail(m, RM_E_ARGUMENT, "split: the separator is empty");
    growing parts = { 0 };
    size_t from = 0, skipped = 0;
    if (right && most >= 0 && !m->status) { /* leave the first cuts out */
        int64_t cuts = 0;
        for (const char *f = s->bytes; (f = memmem(f, s->n - (size_t)(f - s->bytes), by->bytes,
                                                   by->n));
             f += by->n)
            cuts++;
        skipped = cuts > most ? (size_t)(cuts - most) : 0;
    }
    for (size_t at = 0; !m->status;) {
        const char *found = most >= 0 && !right && (int64_t)parts.n >= most ? NULL
            : find(s, at, by);
        size_t end = found ? (size_t)(found - s->bytes) : s->n;
        at = end + by->n;
        if (found && skipped) {
            skipped--;
            continue;
        }
        append(m, &parts, jinja_part(m, s, from, end));
        if (!found)
            break;
        from = at;
    }
    return finished(m, &parts);
}

jinja_value jinja_split_lines(jinja_machine *m, const jinja_string *s)
{
    growing lines = { 0 };
    size_t from = 0;
    for (size_t at = 0; at < s->n && !m->status;) {
        size_t n = jinja_char_bytes(s->bytes + at, s->bytes + s->n);
        uint32_t c = jinja_char(s->bytes + at, n);
        bool ends = (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028
                    || c == 0x2029;
        if (ends) {
            append(m, &lines, jinja_part(m, s, from, at));
            if (c == '\r' && at + 1 < s->n && s->bytes[at + 1] == '\n')
                n = 2;
            from = at + n;
        }
        at += n;
    }
    if (from < s->n)
        append(m, &lines, jinja_part(m, s, from, s->n));
    return finished(m, &lines);
}

static bool affix(const jinja_string *s, const jinja_string *with, bool end)
{
    return s->n >= with->n
           && !memcmp(s->bytes + (end ? s->n - with->n : 0), with->bytes, with->n);
}

/* startswith, endswith: a string, or a tuple of which one must fit. */
static jinja_value has_affix(jinja_machine *m, const jinja_string *s, const jinja_call *call,
                             bool end)
{
    jinja_value values[] = { JINJA_NOTHING };
    bool fits = false;
    if (!jinja_bind(m, call, "prefix", values))
        return JINJA_NOTHING;
    if (values[0].type != JINJA_TUPLE)
        return jinja_bool(affix(s, string_argument(m, call, values[0]), end));
    for (size_t i = 0; i < values[0].list->n && !fits; i++)
        fits = affix(s, string_argument(m, call, values[0].list->items[i]), end);
    return jinja_bool(fits);
}

/* find, rfind, index, count: places in code points. */
static jinja_value search(jinja_machine *m, const jinja_string *s, const jinja_call *call, char how)
{
    jinja_value values[] = { JINJA_NOTHING };
    if (!jinja_bind(m, call, "sub", values))
        return JINJA_NOTHING;
    const jinja_string *what = string_argument(m, call, values[0]);
    const char *at = NULL;
    int64_t n = 0;
    jinja_step(m, s->n / 64);
    for (const char *from = s->bytes; from <= s->bytes + s->n && !m->status; n++) {
        const char *found = find(s, (size_t)(from - s->bytes), what);
        if (!found)
            break;
        at = found;
        if (how == 'f' || how == 'i')
            break;
        jinja_step(m, 1);
        size_t step = how == 'c' ? what->n : 0;
        if (!step)
            step = found < s->bytes + s->n ? jinja_char_bytes(found, s->bytes + s->n) : 1;
        from = found + step;
    }
    if (how == 'c')
        return jinja_int(n);
    if (!at && how == 'i')
        jinja_fail(m, RM_E_ARGUMENT, "index: the text is not there");
    jinja_string before = { .bytes = s->bytes, .n = at ? (size_t)(at - s->bytes) : 0 };
    return jinja_int(at ? (int64_t)jinja_length(m, &before) : -1);
}

/* "{} and {0} and {name}".format(...): fields without conversions or format specifications. */
static jinja_value format(jinja_machine *m, const jinja_string *s, const jinja_call *call)
{
    jinja_buffer b = { 0 };
    int next = 0;
    for (size_t at = 0; at < s->n && !m->status;) {
        char c = s->bytes[at];
        if ((c == '{' || c == '}') && at + 1 < s->n && s->bytes[at + 1] == c) {
            jinja_add_part(m, &b, s, at, at + 1);
            at += 2;
        } else if (c != '{' && c != '}') {
            jinja_add_part(m, &b, s, at, at + 1);
            at++;
        } else {
            const char *end = c == '{' ? memchr(s->bytes + at, '}', s->n - at) : NULL;
            size_t n = end ? (size_t)(end - s->bytes) - at - 1 : 0;
            const char *field = s->bytes + at + 1;
            const jinja_value *value = NULL;
            if (end && !n && next < call->n)
                value = &call->positional[next++];
            else if (end && n == 1 && *field >= '0' && *field <= '9' && *field - '0' < call->n)
                value = &call->positional[*field - '0'];
            for (int i = 0; end && n && i < call->n_named; i++)
                if (strlen(call->names[i]) == n && !memcmp(call->names[i], field, n))
                    value = &call->named[i];
            if (value)
                jinja_add_value(m, &b, *value);
            else
                jinja_fail(m, RM_E_UNSUPPORTED, "format: a field that names no argument");
            at += n + 2;
        }
    }
    return jinja_buffer_value(m, &b);
}

static jinja_value join(jinja_machine *m, const jinja_string *with, const jinja_call *call)
{
    jinja_value values[] = { JINJA_NOTHING };
    const jinja_value *items;
    size_t n;
    jinja_buffer b = { 0 };
    if (!jinja_bind(m, call, "iterable", values) || !jinja_items(m, values[0], &items, &n))
        return JINJA_NOTHING;
    for (size_t i = 0; i < n && !m->status; i++) {
        if (i)
            jinja_add_string(m, &b, with);
        jinja_add_string(m, &b, string_argument(m, call, items[i]));
    }
    return jinja_buffer_value(m, &b);
}

/* isdigit, isalpha, isspace, ... over ASCII letters and digits; other characters are refused. */
static jinja_value is_kind(jinja_machine *m, const jinja_string *s, const char *name)
{
    bool all = s->n > 0, cased = false;
    for (size_t i = 0; i < s->n && all; i++) {
        unsigned char c = (unsigned char)s->bytes[i];
        bool digit = c >= '0' && c <= '9', upper = c >= 'A' && c <= 'Z',
            lower = c >= 'a' && c <= 'z';
        if (c >= 0x80) {
            jinja_fail(m, RM_E_UNSUPPORTED, "%s is supported for ASCII only", name);
            return JINJA_NOTHING;
        }
        cased = cased || upper || lower;
        all = !strcmp(name, "isalpha") ? upper || lower
              : !strcmp(name, "isalnum") ? upper || lower || digit
              : !strcmp(name, "isspace") ? jinja_is_space(c)
              : !strcmp(name, "isupper") ? !lower
              : !strcmp(name, "islower") ? !upper : digit;
    }
    return jinja_bool(all && (cased || (strcmp(name, "isupper") && strcmp(name, "islower"))));
}

static jinja_value call_string(jinja_machine *m, const jinja_string *s, const char *name,
                               const jinja_call *call)
{
    jinja_value values[] = { JINJA_NULL, JINJA_NULL, jinja_int(-1) };
    bool right = name[0] == 'r';
    if (!strcmp(name, "strip") || !strcmp(name, "lstrip") || !strcmp(name, "rstrip")) {
        if (!jinja_bind(m, call, "chars", values))
            return JINJA_NOTHING;
        const jinja_string *chars = values[0].type == JINJA_NONE ? NULL
                                                                 : string_argument(m, call,
                                                                                   values[0]);
        return jinja_strip(m, s, chars, name[0] == 's' ? 3 : right ? 2 : 1);
    }
    if (!strcmp(name, "split") || !strcmp(name, "rsplit"))
        return split(m, s, call, right);
    if (!strcmp(name, "startswith") || !strcmp(name, "endswith"))
        return has_affix(m, s, call, name[0] == 'e');
    if (!strcmp(name, "replace")) {
        if (!jinja_bind(m, call, "old new count", values))
            return JINJA_NOTHING;
        return jinja_replace(m, s, string_argument(m, call, values[0]),
                             string_argument(m, call, values[1]),
                             values[2].type == JINJA_INT ? values[2].integer : -1);
    }
    if (!strcmp(name, "removeprefix") || !strcmp(name, "removesuffix")) {
        if (!jinja_bind(m, call, "prefix", values))
            return JINJA_NOTHING;
        const jinja_string *part = string_argument(m, call, values[0]);
        bool end = !strcmp(name, "removesuffix"), there = affix(s, part, end);
        return jinja_part(m, s, there && !end ? part->n : 0, there && end ? s->n - part->n : s->n);
    }
    if (!strcmp(name, "find") || !strcmp(name, "rfind") || !strcmp(name, "index")
        || !strcmp(name, "count"))
        return search(m, s, call, name[0]);
    if (!strcmp(name, "format"))
        return format(m, s, call);
    if (!strcmp(name, "join"))
        return join(m, s, call);
    if (!jinja_bind(m, call, "", values))
        return JINJA_NOTHING;
    if (!strcmp(name, "splitlines"))
        return jinja_split_lines(m, s);
    if (name[0] == 'i')
        return is_kind(m, s, name);
    return jinja_change_case(m, s, !strcmp(name, "upper") ? JINJA_UPPER
                                   : !strcmp(name, "lower") ? JINJA_LOWER
                                   : !strcmp(name, "title") ? JINJA_TITLE : JINJA_CAPITALIZE);
}

/* ---- mappings, lists, loops ------------------------------------------------------------- */

static jinja_value call_map(jinja_machine *m, const jinja_map *map, const char *name,
                            const jinja_call *call)
{
    jinja_value values[] = { JINJA_NOTHING, JINJA_NULL };
    if (!strcmp(name, "get")) {
        if (!jinja_bind(m, call, "key default", values))
            return JINJA_NOTHING;
        const jinja_value *found = jinja_map_find(m, map, values[0]);
        return found ? *found : values[1];
    }
    if (!jinja_bind(m, call, "", values))
        return JINJA_NOTHING;
    if (strcmp(name, "items"))
        return jinja_sequence(m, JINJA_LIST, name[0] == 'k' ? map->keys : map->values, map->n);
    jinja_value *items = jinja_alloc(m, (map->n + 1) * sizeof *items);
    jinja_value *pairs = jinja_alloc(m, (2 * map->n + 1) * sizeof *pairs);
    for (size_t i = 0; items && pairs && i < map->n && jinja_step(m, 1); i++) {
        pairs[2 * i] = map->keys[i];
        pairs[2 * i + 1] = map->values[i];
        items[i] = jinja_sequence(m, JINJA_TUPLE, pairs + 2 * i, 2);
    }
    return jinja_sequence(m, JINJA_LIST, items, map->n);
}

static jinja_value call_list(jinja_machine *m, const jinja_list *list, const char *name,
                             const jinja_call *call)
{
    jinja_value values[] = { JINJA_NOTHING };
    int64_t count = 0;
    if (!jinja_bind(m, call, "value", values))
        return JINJA_NOTHING;
    for (size_t i = 0; i < list->n && !m->status; i++)
        if (jinja_equal(m, list->items[i], values[0])) {
            if (name[0] == 'i')
                return jinja_int((int64_t)i);
            count++;
        }
    if (name[0] == 'i')
        jinja_fail(m, RM_E_ARGUMENT, "index: the value is not in the list");
    return jinja_int(count);
}

static jinja_value call_loop(jinja_machine *m, const jinja_loop *loop, const char *name,
                             const jinja_call *call)
{
    if (!strcmp(name, "cycle") && call->n && !call->n_named)
        return call->positional[loop->index % (size_t)call->n];
    jinja_fail(m, RM_E_UNSUPPORTED, "loop.%s is not supported so", name);
    return JINJA_NOTHING;
}

jinja_value jinja_call_method(jinja_machine *m, const jinja_method *method, const jinja_call *call)
{
    jinja_value self = method->self;
    switch (self.type) {
    case JINJA_STRING:
        return call_string(m, self.string, method->name, call);
    case JINJA_MAP:
        return call_map(m, self.map, method->name, call);
    case JINJA_LOOP:
        return call_loop(m, self.loop, method->name, call);
    default:
        return call_list(m, self.list, method->name, call);
    }
}

/* ---- attributes ------------------------------------------------------------------------- */

static bool is_word_of(const char *name, const char *words)
{
    size_t n = strlen(name);
    for (const char *at = words; n && (at = strstr(at, name)); at += n)
        if ((at == words || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return true;
    return false;
}

static jinja_value loop_attribute(jinja_machine *m, const jinja_loop *l, const char *name)
{
    int64_t index = (int64_t)l->index, n = (int64_t)l->n;
    if (!strcmp(name, "index"))
        return jinja_int(index + 1);
    if (!strcmp(name, "index0"))
        return jinja_int(index);
    if (!strcmp(name, "revindex"))
        return jinja_int(n - index);
    if (!strcmp(name, "revindex0"))
        return jinja_int(n - index - 1);
    if (!strcmp(name, "first"))
        return jinja_bool(index == 0);
    if (!strcmp(name, "last"))
        return jinja_bool(index == n - 1);
    if (!strcmp(name, "length"))
        return jinja_int(n);
    if (!strcmp(name, "depth"))
        return jinja_int(1); /* only recursive loops have more */
    if (!strcmp(name, "depth0"))
        return jinja_int(0);
    if (!strcmp(name, "previtem"))
        return index ? l->items[index - 1] : jinja_missing("loop.previtem");
    if (!strcmp(name, "nextitem"))
        return index + 1 < n ? l->items[index + 1] : jinja_missing("loop.nextitem");
    (void)m;
    return jinja_missing(name);
}

/* A method of the value, if Python has one of this name. */
static bool find_method(jinja_machine *m, jinja_value of, const char *name, jinja_value *method)
{
    const char *known = "", *changing = "", *others = "";
    switch (of.type) {
    case JINJA_STRING:
        known = "strip lstrip rstrip split rsplit startswith endswith replace removeprefix "
                "removesuffix find rfind index count format join splitlines isdigit isdecimal "
                "isnumeric isalpha isalnum isspace isupper islower upper lower title capitalize";
        others = "casefold center encode expandtabs format_map isascii isidentifier isprintable "
                 "istitle ljust maketrans partition rindex rjust rpartition swapcase translate "
                 "zfill";
        break;
    case JINJA_MAP:
        known = "get items keys values";
        changing = "clear pop popitem setdefault update";
        others = "copy fromkeys";
        break;
    case JINJA_LIST:
        changing = "append clear extend insert pop remove reverse sort";
        others = "copy";
        known = "index count";
        break;
    case JINJA_TUPLE:
        known = "index count";
        break;
    case JINJA_LOOP:
        known = "cycle changed";
        break;
    default:
        break;
    }
    if (is_word_of(name, changing))
        jinja_fail(m, RM_E_ARGUMENT, "\"%s\" would change %s, which templates may not", name,
                   jinja_type_name(of));
    else if (is_word_of(name, others))
        jinja_fail(m, RM_E_UNSUPPORTED, "\"%s\" of %s is not supported", name, jinja_type_name(of));
    else if (!is_word_of(name, known))
        return false;
    jinja_method *made = jinja_alloc(m, sizeof *made + strlen(name) + 1);
    if (!made)
        return true;
    char *copy = (char *)(made + 1);
    memcpy(copy, name, strlen(name) + 1);
    *made = (jinja_method){ .self = of, .name = copy };
    *method = (jinja_value){ .type = JINJA_METHOD, .method = made };
    return true;
}

static jinja_value undefined_member(jinja_machine *m, jinja_value of, const char *name)
{
    jinja_fail(m, RM_E_ARGUMENT, "%.80s is undefined, so it has no \"%.80s\"",
               of.missing ? of.missing : "the value", name);
    return JINJA_NOTHING;
}

static jinja_value missing_copy(jinja_machine *m, const char *name)
{
    jinja_value copy = jinja_text(m, name, strlen(name), false);
    return jinja_missing(m->status ? NULL : copy.string->bytes);
}

jinja_value jinja_attribute(jinja_machine *m, jinja_value of, const char *name)
{
    jinja_value method = JINJA_NOTHING;
    const jinja_value *found = NULL;
    if (of.type == JINJA_UNDEFINED)
        return m->status ? JINJA_NOTHING : undefined_member(m, of, name);
    if (find_method(m, of, name, &method))
        return method;
    if (of.type == JINJA_LOOP)
        return loop_attribute(m, of.loop, name);
    if (of.type == JINJA_MAP || of.type == JINJA_NAMESPACE)
        found = jinja_map_name(m, of.map, name);
    return found ? *found : missing_copy(m, name);
}

jinja_value jinja_item(jinja_machine *m, jinja_value of, jinja_value key)
{
    jinja_value method = JINJA_NOTHING;
    if (m->status)
        return JINJA_NOTHING;
    if (of.type == JINJA_UNDEFINED)
        return undefined_member(m, of, key.type == JINJA_STRING && !memchr(key.string->bytes, 0,
                                key.string->n) ? jinja_as_string(m, key)->bytes : "item");
    const jinja_value *found = of.type == JINJA_MAP ? jinja_map_find(m, of.map, key) : NULL;
    if (found)
        return *found;
    bool sequence = of.type == JINJA_LIST || of.type == JINJA_TUPLE;
    if ((sequence || of.type == JINJA_STRING)
        && (key.type == JINJA_INT || key.type == JINJA_BOOL)) {
        const jinja_value *items;
        size_t n;
        int64_t at = jinja_integer(key);
        if (!jinja_items(m, of, &items, &n))
            return JINJA_NOTHING;
        at += at < 0 ? (int64_t)n : 0;
        return at >= 0 && at < (int64_t)n ? items[at] : jinja_missing("an item beyond the end");
    }
    if (key.type == JINJA_STRING) {
        const jinja_string *s = key.string;
        jinja_value name = jinja_text(m, s->bytes, s->n, false); /* NUL-terminated */
        if (m->status || strlen(name.string->bytes) != s->n)
            return JINJA_NOTHING;
        if (of.type == JINJA_LOOP || of.type == JINJA_NAMESPACE
            || find_method(m, of, name.string->bytes, &method))
            return method.type == JINJA_METHOD ? method
                                               : jinja_attribute(m, of, name.string->bytes);
        return jinja_missing(name.string->bytes);
    }
    return jinja_missing("an item");
}

/* ---- functions -------------------------------------------------------------------------- */

static jinja_value range(jinja_machine *m, const jinja_call *call)
{
    enum { MOST = 100000 }; /* as the sandbox */
    int64_t at[3] = { 0, 0, 1 };
    if (call->n < 1 || call->n > 3 || call->n_named)
        jinja_fail(m, RM_E_ARGUMENT, "range takes one to three integers");
    for (int i = 0; i < call->n && !m->status; i++) {
        if (call->positional[i].type != JINJA_INT)
            jinja_fail(m, RM_E_ARGUMENT, "range takes integers, not %s",
                       jinja_type_name(call->positional[i]));
        at[call->n == 1 ? 1 : i] = call->positional[i].integer;
    }
    int64_t span = 0;
    if (!at[2] || at[2] == INT64_MIN || __builtin_sub_overflow(at[1], at[0], &span)
        || span == INT64_MIN)
        jinja_fail(m, RM_E_ARGUMENT, "range: a step of 0, or a number out of range");
    if (m->status)
        return JINJA_NOTHING;
    int64_t step = at[2] < 0 ? -at[2] : at[2];
    span = at[2] < 0 ? -span : span;
    int64_t n = span <= 0 ? 0 : (span - 1) / step + 1;
    if (n > MOST)
        jinja_fail(m, RM_E_LIMIT, "range: more than %d numbers", MOST);
    jinja_value *items = jinja_alloc(m, ((size_t)(n > MOST ? 0 : n) + 1) * sizeof *items);
    for (int64_t i = 0; items && i < n && !m->status; i++)
        items[i] = jinja_int(at[0] + i * at[2]);
    return jinja_sequence(m, JINJA_LIST, items, (size_t)n);
}

/* namespace(a=1, {...}) and dict(a=1). */
static jinja_value make_map(jinja_machine *m, const jinja_call *call, jinja_type type)
{
    jinja_value map = jinja_new_map(m, 8);
    if (call->n > 1 || (call->n && call->positional[0].type != JINJA_MAP))
        jinja_fail(m, RM_E_ARGUMENT, "%s takes names, or one mapping", call->name);
    for (size_t i = 0; !m->status && call->n && i < call->positional[0].map->n; i++)
        jinja_map_put(m, map.map, call->positional[0].map->keys[i],
                      call->positional[0].map->values[i]);
    for (int i = 0; i < call->n_named && !m->status; i++) {
        jinja_value key = jinja_text(m, call->names[i], strlen(call->names[i]), false);
        if (!m->status)
            jinja_map_put(m, map.map, key, call->named[i]);
    }
    map.type = m->status ? JINJA_UNDEFINED : type;
    return map;
}

static jinja_value strftime_now(jinja_machine *m, const jinja_call *call)
{
    jinja_value values[] = { JINJA_NOTHING };
    char text[256];
    const int *now = m->input->now;
    if (!jinja_bind(m, call, "format", values))
        return JINJA_NOTHING;
    const jinja_string *given = string_argument(m, call, values[0]);
    for (size_t i = 0; i + 1 < given->n; i++)
        if (given->bytes[i] == '%' && !strchr("aAbBdHIjmMpSyY%-", given->bytes[++i]))
            jinja_fail(m, RM_E_UNSUPPORTED, "strftime_now: %%%c is not supported", given->bytes[i]);
    jinja_value copy = jinja_text(m, given->bytes, given->n, false);
    struct tm time = { .tm_year = now[0] - 1900, .tm_mon = now[1] - 1, .tm_mday = now[2],
                       .tm_hour = now[3], .tm_min = now[4], .tm_sec = now[5], .tm_isdst = 0 };
    timegm(&time); /* sets the day of the week and of the year */
    locale_t locale = newlocale(LC_TIME_MASK, "C", (locale_t)0);
    size_t n = locale && !m->status && given->n
                   ? strftime_l(text, sizeof text, copy.string->bytes, &time, locale) : 0;
    if (locale)
        freelocale(locale);
    return jinja_text(m, text, n, false);
}

jinja_value jinja_call_global(jinja_machine *m, const char *name, const jinja_call *call)
{
    if (!strcmp(name, "range"))
        return range(m, call);
    if (!strcmp(name, "namespace"))
        return make_map(m, call, JINJA_NAMESPACE);
    if (!strcmp(name, "dict"))
        return make_map(m, call, JINJA_MAP);
    if (!strcmp(name, "strftime_now"))
        return strftime_now(m, call);
    jinja_value values[] = { JINJA_NOTHING };
    if (jinja_bind(m, call, "message", values)) {
        const jinja_string *message = jinja_as_string(m, values[0]);
        jinja_fail(m, RM_E_ARGUMENT, "the template refuses: %.*s",
                   (int)(message->n < 300 ? message->n : 300), message->bytes);
    }
    return JINJA_NOTHING;
}
