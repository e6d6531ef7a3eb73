/* jinja_filters.c - x | filter and x is test: the ones Jinja2 has that chat templates use.
 *
 * An unknown name fails when it is reached and not before, as in Jinja2 inside of an `if`: some
 * templates name filters of other programs in branches that are never taken. */
#include "experiments/chat/jinja_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct filter_args {
    jinja_machine *m;
    const jinja_call *call;
    jinja_value v;                /* what the filter is applied to */
} filter_args;

typedef jinja_value filter_function(filter_args);

static const jinja_string *text_of(filter_args a)
{
    return jinja_as_string(a.m, a.v);
}

static bool is_undefined(jinja_value v)
{
    return v.type == JINJA_UNDEFINED;
}

/* ---- strings ---------------------------------------------------------------------------- */

static jinja_value f_trim(filter_args a)
{
    jinja_value values[] = { JINJA_NULL };
    if (!jinja_bind(a.m, a.call, "chars", values))
        return JINJA_NOTHING;
    return jinja_strip(a.m, text_of(a),
                       values[0].type == JINJA_STRING ? values[0].string : NULL, 3);
}

static jinja_value change_case(filter_args a, jinja_case which)
{
    if (!jinja_bind(a.m, a.call, "", NULL))
        return JINJA_NOTHING;
    return jinja_change_case(a.m, text_of(a), which);
}

static jinja_value f_upper(filter_args a)
{
    return change_case(a, JINJA_UPPER);
}

static jinja_value f_lower(filter_args a)
{
    return change_case(a, JINJA_LOWER);
}

static jinja_value f_title(filter_args a)
{
    return change_case(a, JINJA_TITLE_WORDS);
}

static jinja_value f_capitalize(filter_args a)
{
    return change_case(a, JINJA_CAPITALIZE);
}

static jinja_value f_replace(filter_args a)
{
    jinja_value values[] = { JINJA_NOTHING, JINJA_NOTHING, JINJA_NULL };
    if (!jinja_bind(a.m, a.call, "old new count", values))
        return JINJA_NOTHING;
    return jinja_replace(a.m, text_of(a), jinja_as_string(a.m, values[0]),
                         jinja_as_string(a.m, values[1]),
                         values[2].type == JINJA_INT ? values[2].integer : -1);
}

static jinja_value f_string(filter_args a)
{
    if (a.v.type == JINJA_STRING)
        return a.v;
    jinja_buffer b = { 0 };
    jinja_add_value(a.m, &b, a.v);
    return jinja_buffer_value(a.m, &b);
}

static jinja_value f_safe(filter_args a)
{
    const jinja_string *s = text_of(a);
    jinja_value v = jinja_part(a.m, s, 0, s->n);
    if (!a.m->status)
        ((jinja_string *)v.string)->markup = true; /* made just now */
    return v;
}

static jinja_value f_escape(filter_args a)
{
    const jinja_string *s = text_of(a);
    return s->markup ? a.v : jinja_escape(a.m, s);
}

static jinja_value f_indent(filter_args a)
{
    jinja_value values[] = { jinja_int(4), jinja_bool(false), jinja_bool(false) };
    jinja_buffer blanks = { 0 }, b = { 0 };
    const jinja_value *lines;
    size_t n;
    if (!jinja_bind(a.m, a.call, "width first blank", values))
        return JINJA_NOTHING;
    if (values[0].type == JINJA_STRING)
        jinja_add_string(a.m, &blanks, values[0].string);
    for (int64_t i = 0; values[0].type == JINJA_INT && i < values[0].integer && !a.m->status; i++)
        jinja_add(a.m, &blanks, " ", 1, false);
    jinja_value indent = jinja_buffer_value(a.m, &blanks);
    jinja_add_string(a.m, &b, text_of(a));
    jinja_add(a.m, &b, "\n", 1, false); /* so that an empty last line counts */
    jinja_value whole = jinja_buffer_value(a.m, &b), list = JINJA_NOTHING;
    if (!a.m->status)
        list = jinja_split_lines(a.m, whole.string);
    b = (jinja_buffer){ 0 };
    if (!jinja_items(a.m, list, &lines, &n))
        return JINJA_NOTHING;
    for (size_t i = 0; i < n && !a.m->status; i++) {
        if (i)
            jinja_add(a.m, &b, "\n", 1, false);
        if (i ? jinja_is_true(values[2]) || lines[i].string->n : jinja_is_true(values[1]))
            jinja_add_string(a.m, &b, indent.string);
        jinja_add_string(a.m, &b, lines[i].string);
    }
    return jinja_buffer_value(a.m, &b);
}

/* ---- numbers ---------------------------------------------------------------------------- */

static bool parse_real(filter_args a, double *x)
{
    if (jinja_is_number(a.v)) {
        *x = jinja_real(a.v);
        return true;
    }
    if (a.v.type != JINJA_STRING)
        return false;
    jinja_value part = jinja_strip(a.m, a.v.string, NULL, 3);
    jinja_value copy = a.m->status ? JINJA_NOTHING
                                   : jinja_text(a.m, part.string->bytes, part.string->n, false);
    char *end;
    if (a.m->status || !copy.string->n || strpbrk(copy.string->bytes, "xXpP(")
        || strlen(copy.string->bytes) != copy.string->n)
        return false;
    *x = strtod(copy.string->bytes, &end);
    return !*end;
}

static jinja_value f_int(filter_args a)
{
    jinja_value values[] = { jinja_int(0), jinja_int(10) };
    double x;
    if (!jinja_bind(a.m, a.call, "default base", values))
        return JINJA_NOTHING;
    if (values[1].type != JINJA_INT || values[1].integer != 10)
        jinja_fail(a.m, RM_E_UNSUPPORTED, "int: only base 10 is supported");
    if (a.v.type == JINJA_INT)
        return a.v;
    if (!parse_real(a, &x) || !isfinite(x))
        return values[0];
    if (fabs(x) >= 0x1p53) {
        jinja_fail(a.m, RM_E_UNSUPPORTED, "int: numbers beyond 2^53 are not supported");
        return JINJA_NOTHING;
    }
    return jinja_int((int64_t)x);
}

static jinja_value f_float(filter_args a)
{
    jinja_value values[] = { jinja_float(0) };
    double x;
    if (!jinja_bind(a.m, a.call, "default", values))
        return JINJA_NOTHING;
    return parse_real(a, &x) ? jinja_float(x) : values[0];
}

static jinja_value f_abs(filter_args a)
{
    if (a.v.type == JINJA_INT && a.v.integer > INT64_MIN)
        return jinja_int(a.v.integer < 0 ? -a.v.integer : a.v.integer);
    if (a.v.type == JINJA_FLOAT)
        return jinja_float(fabs(a.v.real));
    jinja_fail(a.m, RM_E_ARGUMENT, "abs needs a number, not %s", jinja_type_name(a.v));
    return JINJA_NOTHING;
}

/* Halves go to the even neighbour, as Python rounds; with digits, by way of the decimal text. */
static jinja_value f_round(filter_args a)
{
    jinja_value values[] = { jinja_int(0), JINJA_NULL };
    if (!jinja_bind(a.m, a.call, "precision method", values))
        return JINJA_NOTHING;
    if (!jinja_is_number(a.v) || values[0].type != JINJA_INT || values[0].integer < 0
        || values[0].integer > 15) {
        jinja_fail(a.m, RM_E_ARGUMENT, "round needs a number, and digits from 0 to 15");
        return JINJA_NOTHING;
    }
    int digits = (int)values[0].integer;
    double x = jinja_real(a.v), scale = pow(10, digits);
    const char *method = values[1].type == JINJA_STRING ? jinja_as_string(a.m, values[1])->bytes
                                                        : "common";
    if (!strncmp(method, "ceil", 4))
        return jinja_float(ceil(x * scale) / scale);
    if (!strncmp(method, "floor", 5))
        return jinja_float(floor(x * scale) / scale);
    if (a.v.type != JINJA_FLOAT)
        return a.v; /* round(int, n) is the int */
    char text[400];
    snprintf(text, sizeof text, "%.*f", digits, x);
    return jinja_float(strtod(text, NULL));
}

/* ---- sequences -------------------------------------------------------------------------- */

static jinja_value f_length(filter_args a)
{
    switch (a.v.type) {
    case JINJA_UNDEFINED:
        return jinja_int(0);
    case JINJA_STRING:
        return jinja_int((int64_t)jinja_length(a.m, a.v.string));
    case JINJA_LIST:
    case JINJA_TUPLE:
        return jinja_int((int64_t)a.v.list->n);
    case JINJA_MAP:
        return jinja_int((int64_t)a.v.map->n);
    default:
        jinja_fail(a.m, RM_E_ARGUMENT, "%s has no length", jinja_type_name(a.v));
        return JINJA_NOTHING;
    }
}

/* x.a.0.b by a path "a.0.b", or an item by a number. */
static jinja_value by_path(jinja_machine *m, jinja_value v, jinja_value path)
{
    if (path.type == JINJA_INT)
        return jinja_item(m, v, path);
    const jinja_string *s = jinja_as_string(m, path);
    for (size_t at = 0; at <= s->n && !m->status;) {
        const char *dot = memchr(s->bytes + at, '.', s->n - at);
        size_t end = dot ? (size_t)(dot - s->bytes) : s->n;
        jinja_value key = jinja_part(m, s, at, end);
        char *rest;
        long number = end > at && s->bytes[at] >= '0' && s->bytes[at] <= '9'
                          ? strtol(s->bytes + at, &rest, 10) : -1;
        v = jinja_item(m, v, number >= 0 ? jinja_int(number) : key);
        at = end + 1;
    }
    return v;
}

static jinja_value f_join(filter_args a)
{
    jinja_value values[] = { JINJA_NOTHING, JINJA_NULL };
    const jinja_value *items;
    size_t n;
    jinja_buffer b = { 0 };
    if (!jinja_bind(a.m, a.call, "d attribute", values) || !jinja_items(a.m, a.v, &items, &n))
        return JINJA_NOTHING;
    const jinja_string *with = jinja_as_string(a.m, values[0]);
    for (size_t i = 0; i < n && !a.m->status; i++) {
        if (i)
            jinja_add_string(a.m, &b, with);
        jinja_add_value(a.m, &b, values[1].type == JINJA_NONE ? items[i]
                                                              : by_path(a.m, items[i], values[1]));
    }
    return jinja_buffer_value(a.m, &b);
}

static jinja_value end_of(filter_args a, bool last)
{
    const jinja_value *items;
    size_t n;
    if (!jinja_items(a.m, a.v, &items, &n))
        return JINJA_NOTHING;
    return n ? items[last ? n - 1 : 0] : jinja_missing("an item of an empty sequence");
}

static jinja_value f_first(filter_args a)
{
    return end_of(a, false);
}

static jinja_value f_last(filter_args a)
{
    if (a.v.type == JINJA_ITERATOR)
        jinja_fail(a.m, RM_E_ARGUMENT, "an iterator has no last item; make it a list");
    return end_of(a, true);
}

static jinja_value f_list(filter_args a)
{
    const jinja_value *items;
    size_t n;
    return jinja_items(a.m, a.v, &items, &n) ? jinja_sequence(a.m, JINJA_LIST, items, n)
                                             : JINJA_NOTHING;
}

static jinja_value f_reverse(filter_args a)
{
    const jinja_value *items;
    size_t n;
    jinja_buffer b = { 0 };
    if (!jinja_items(a.m, a.v, &items, &n))
        return JINJA_NOTHING;
    jinja_value *turned = jinja_alloc(a.m, (n + 1) * sizeof *turned);
    for (size_t i = 0; turned && i < n && !a.m->status; i++) {
        turned[i] = items[n - 1 - i];
        if (a.v.type == JINJA_STRING)
            jinja_add_string(a.m, &b, turned[i].string);
    }
    return a.v.type == JINJA_STRING ? jinja_buffer_value(a.m, &b)
                                    : jinja_sequence(a.m, JINJA_ITERATOR, turned, n);
}

static jinja_value f_default(filter_args a)
{
    jinja_value values[] = { jinja_text(a.m, "", 0, false), jinja_bool(false) };
    if (!jinja_bind(a.m, a.call, "default_value boolean", values))
        return JINJA_NOTHING;
    bool missing = is_undefined(a.v) || (jinja_is_true(values[1]) && !jinja_is_true(a.v));
    return missing ? values[0] : a.v;
}

static jinja_value f_items(filter_args a)
{
    if (is_undefined(a.v))
        return jinja_sequence(a.m, JINJA_LIST, NULL, 0);
    if (a.v.type != JINJA_MAP) {
        jinja_fail(a.m, RM_E_ARGUMENT, "items needs a mapping, not %s", jinja_type_name(a.v));
        return JINJA_NOTHING;
    }
    jinja_method method = { .self = a.v, .name = "items" };
    return jinja_call_method(a.m, &method, a.call);
}

/* ---- order ------------------------------------------------------------------------------ */

/* What an item is sorted by: an attribute perhaps, without regard to case perhaps. */
static jinja_value sort_key(jinja_machine *m, jinja_value item, jinja_value attribute, bool folded)
{
    if (attribute.type != JINJA_NONE)
        item = by_path(m, item, attribute);
    return folded && item.type == JINJA_STRING ? jinja_change_case(m, item.string, JINJA_LOWER)
                                               : item;
}

/* Stable merge sort of items by their keys. */
static void sort_by(jinja_machine *m, jinja_value *keys, jinja_value *items, size_t n, bool reverse)
{
    jinja_value *k = jinja_alloc(m, (n + 1) * sizeof *k), *v = jinja_alloc(m, (n + 1) * sizeof *v);
    for (size_t width = 1; k && v && width < n && !m->status; width *= 2) {
        for (size_t from = 0; from < n && !m->status; from += 2 * width) {
            size_t middle = from + width < n ? from + width : n;
            size_t to = middle + width < n ? middle + width : n;
            for (size_t i = from, j = middle, at = from; at < to && jinja_step(m, 1); at++) {
                bool right = i >= middle;
                if (!right && j < to) {
                    int order = jinja_compare(m, keys[j], keys[i]);
                    right = reverse ? order > 0 : order < 0;
                }
                size_t source = right ? j++ : i++;
                k[at] = keys[source];
                v[at] = items[source];
            }
        }
        memcpy(keys, k, n * sizeof *k);
        memcpy(items, v, n * sizeof *v);
    }
}

static jinja_value sorted(filter_args a, jinja_value list, jinja_value attribute, bool folded,
                          bool reverse)
{
    const jinja_value *items;
    size_t n;
    if (!jinja_items(a.m, list, &items, &n))
        return JINJA_NOTHING;
    jinja_value *keys = jinja_alloc(a.m, (n + 1) * sizeof *keys);
    jinja_value *copy = jinja_alloc(a.m, (n + 1) * sizeof *copy);
    for (size_t i = 0; keys && copy && i < n && !a.m->status; i++) {
        copy[i] = items[i];
        keys[i] = sort_key(a.m, items[i], attribute, folded);
    }
    if (!a.m->status)
        sort_by(a.m, keys, copy, n, reverse);
    return jinja_sequence(a.m, JINJA_LIST, copy, n);
}

static jinja_value f_sort(filter_args a)
{
    jinja_value values[] = { jinja_bool(false), jinja_bool(false), JINJA_NULL };
    if (!jinja_bind(a.m, a.call, "reverse case_sensitive attribute", values))
        return JINJA_NOTHING;
    return sorted(a, a.v, values[2], !jinja_is_true(values[1]), jinja_is_true(values[0]));
}

static jinja_value f_dictsort(filter_args a)
{
    jinja_value values[] = { jinja_bool(false), JINJA_NULL, jinja_bool(false) };
    if (!jinja_bind(a.m, a.call, "case_sensitive by reverse", values))
        return JINJA_NOTHING;
    bool by_value = values[1].type == JINJA_STRING && values[1].string->n
                    && values[1].string->bytes[0] == 'v';
    jinja_call none = { .name = "dictsort" };
    filter_args pairs = { .m = a.m, .call = &none, .v = a.v };
    return sorted(a, f_items(pairs), jinja_int(by_value), !jinja_is_true(values[0]),
                  jinja_is_true(values[2]));
}

static jinja_value extreme(filter_args a, int sign)
{
    jinja_value values[] = { jinja_bool(false), JINJA_NULL };
    const jinja_value *items;
    size_t n, best = 0;
    if (!jinja_bind(a.m, a.call, "case_sensitive attribute", values)
        || !jinja_items(a.m, a.v, &items, &n))
        return JINJA_NOTHING;
    bool folded = !jinja_is_true(values[0]);
    for (size_t i = 1; i < n && !a.m->status; i++)
        if (jinja_compare(a.m, sort_key(a.m, items[i], values[1], folded),
                          sort_key(a.m, items[best], values[1], folded)) == sign)
            best = i;
    return n ? items[best] : jinja_missing("an item of an empty sequence");
}

static jinja_value f_min(filter_args a)
{
    return extreme(a, -1);
}

static jinja_value f_max(filter_args a)
{
    return extreme(a, 1);
}

static jinja_value f_sum(filter_args a)
{
    jinja_value values[] = { JINJA_NULL, jinja_int(0) };
    const jinja_value *items;
    size_t n;
    if (!jinja_bind(a.m, a.call, "attribute start", values) || !jinja_items(a.m, a.v, &items, &n))
        return JINJA_NOTHING;
    jinja_value sum = values[1];
    for (size_t i = 0; i < n && !a.m->status; i++) {
        jinja_value v = values[0].type == JINJA_NONE ? items[i] : by_path(a.m, items[i], values[0]);
        int64_t integer;
        if (!jinja_is_number(v) || !jinja_is_number(sum))
            jinja_fail(a.m, RM_E_UNSUPPORTED, "sum adds numbers only");
        else if (v.type == JINJA_FLOAT || sum.type == JINJA_FLOAT)
            sum = jinja_float(jinja_real(sum) + jinja_real(v));
        else if (__builtin_add_overflow(jinja_integer(sum), jinja_integer(v), &integer))
            jinja_fail(a.m, RM_E_UNSUPPORTED, "an integer leaves 64 bits");
        else
            sum = jinja_int(integer);
    }
    return sum;
}

static jinja_value f_unique(filter_args a)
{
    jinja_value values[] = { jinja_bool(false), JINJA_NULL };
    const jinja_value *items;
    size_t n, kept = 0;
    if (!jinja_bind(a.m, a.call, "case_sensitive attribute", values)
        || !jinja_items(a.m, a.v, &items, &n))
        return JINJA_NOTHING;
    jinja_value *keys = jinja_alloc(a.m, (n + 1) * sizeof *keys);
    jinja_value *out = jinja_alloc(a.m, (n + 1) * sizeof *out);
    for (size_t i = 0; keys && out && i < n && !a.m->status; i++) {
        keys[kept] = sort_key(a.m, items[i], values[1], !jinja_is_true(values[0]));
        size_t k = 0;
        while (k < kept && jinja_step(a.m, 1) && !jinja_equal(a.m, keys[k], keys[kept]))
            k++;
        if (k == kept)
            out[kept++] = items[i];
    }
    return jinja_sequence(a.m, JINJA_ITERATOR, out, kept);
}

/* ---- filters that take filters and tests ------------------------------------------------ */

/* The call without its first `skip` positional arguments. */
static jinja_call rest_of(const jinja_call *call, int skip, const char *name)
{
    jinja_call rest = *call;
    rest.name = name;
    rest.n = call->n - skip;
    memmove(rest.positional, call->positional + skip, (size_t)rest.n * sizeof *rest.positional);
    return rest;
}

static const char *name_argument(filter_args a, int at)
{
    if (at < a.call->n && a.call->positional[at].type == JINJA_STRING) {
        const jinja_string *s = a.call->positional[at].string;
        jinja_value copy = jinja_text(a.m, s->bytes, s->n, false);
        return a.m->status ? "" : copy.string->bytes;
    }
    jinja_fail(a.m, RM_E_ARGUMENT, "%s needs the name of a filter, test or attribute",
               a.call->name);
    return "";
}

static jinja_value f_map(filter_args a)
{
    const jinja_value *items;
    size_t n;
    jinja_value attribute = JINJA_NULL, otherwise = JINJA_NULL;
    bool by_attribute = !a.call->n;
    for (int i = 0; by_attribute && i < a.call->n_named; i++)
        *(!strcmp(a.call->names[i], "attribute") ? &attribute : &otherwise) = a.call->named[i];
    const char *name = by_attribute ? "" : name_argument(a, 0);
    if (by_attribute && attribute.type == JINJA_NONE)
        jinja_fail(a.m, RM_E_ARGUMENT, "map needs a filter or attribute=");
    if (!jinja_is_true(a.v)) /* so that none has no items here */
        a.v = JINJA_NOTHING;
    if (!jinja_items(a.m, a.v, &items, &n))
        return JINJA_NOTHING;
    jinja_call rest = rest_of(a.call, a.call->n > 0, name);
    jinja_value *out = jinja_alloc(a.m, (n + 1) * sizeof *out);
    for (size_t i = 0; out && i < n && jinja_step(a.m, 1); i++) {
        out[i] = by_attribute ? by_path(a.m, items[i], attribute)
                              : jinja_apply_filter(a.m, name, items[i], &rest);
        if (by_attribute && is_undefined(out[i]) && otherwise.type != JINJA_NONE)
            out[i] = otherwise;
    }
    return jinja_sequence(a.m, JINJA_ITERATOR, out, n);
}

static jinja_value choose(filter_args a, bool by_attribute, bool keep)
{
    const jinja_value *items;
    size_t n, kept = 0;
    int skip = by_attribute + (a.call->n > by_attribute);
    if (by_attribute)
        name_argument(a, 0);
    const char *test = a.call->n > by_attribute ? name_argument(a, by_attribute) : NULL;
    if (!jinja_is_true(a.v)) /* so that none has no items here */
        a.v = JINJA_NOTHING;
    if (!jinja_items(a.m, a.v, &items, &n))
        return JINJA_NOTHING;
    jinja_call rest = rest_of(a.call, skip, test ? test : "");
    jinja_value *out = jinja_alloc(a.m, (n + 1) * sizeof *out);
    for (size_t i = 0; out && i < n && jinja_step(a.m, 1); i++) {
        jinja_value v = by_attribute ? by_path(a.m, items[i], a.call->positional[0]) : items[i];
        bool passes = test ? jinja_apply_test(a.m, test, v, &rest) : jinja_is_true(v);
        if (passes == keep)
            out[kept++] = items[i];
    }
    return jinja_sequence(a.m, JINJA_ITERATOR, out, kept);
}

static jinja_value f_select(filter_args a)
{
    return choose(a, false, true);
}

static jinja_value f_reject(filter_args a)
{
    return choose(a, false, false);
}

static jinja_value f_selectattr(filter_args a)
{
    return choose(a, true, true);
}

static jinja_value f_rejectattr(filter_args a)
{
    return choose(a, true, false);
}

static jinja_value f_tojson(filter_args a)
{
    return jinja_to_json(a.m, a.v, a.call);
}

jinja_value jinja_apply_filter(jinja_machine *m, const char *name, jinja_value v,
                               const jinja_call *call)
{
    static const struct { const char *name; filter_function *apply; } filters[] = {
        { "abs", f_abs }, { "capitalize", f_capitalize }, { "count", f_length },
        { "d", f_default }, { "default", f_default }, { "dictsort", f_dictsort }, { "e", f_escape },
        { "escape", f_escape }, { "first", f_first }, { "float", f_float }, { "indent", f_indent },
        { "int", f_int }, { "items", f_items }, { "join", f_join }, { "last", f_last },
        { "length", f_length }, { "list", f_list }, { "lower", f_lower }, { "map", f_map },
        { "max", f_max }, { "min", f_min }, { "reject", f_reject }, { "rejectattr", f_rejectattr },
        { "replace", f_replace }, { "reverse", f_reverse }, { "round", f_round },
        { "safe", f_safe }, { "select", f_select }, { "selectattr", f_selectattr },
        { "sort", f_sort }, { "string", f_string }, { "sum", f_sum }, { "title", f_title },
        { "tojson", f_tojson }, { "trim", f_trim }, { "unique", f_unique }, { "upper", f_upper },
    };
    if (m->status)
        return JINJA_NOTHING;
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (!strcmp(filters[i].name, name)) {
            jinja_value result = filters[i].apply((filter_args){ .m = m, .call = call, .v = v });
            return m->status ? JINJA_NOTHING : result;
        }
    jinja_fail(m, RM_E_UNSUPPORTED, "there is no filter \"%.60s\" here", name);
    return JINJA_NOTHING;
}

/* ---- tests ------------------------------------------------------------------------------ */

/* Tests of the value alone; *known says whether there is one of this name. */
static bool plain_test(jinja_machine *m, const char *name, jinja_value v, bool *known)
{
    bool text = v.type == JINJA_STRING, list = v.type == JINJA_LIST || v.type == JINJA_TUPLE;
    *known = true;
    if (!strcmp(name, "defined"))
        return !is_undefined(v);
    if (!strcmp(name, "undefined"))
        return is_undefined(v);
    if (!strcmp(name, "none"))
        return v.type == JINJA_NONE;
    if (!strcmp(name, "string"))
        return text;
    if (!strcmp(name, "mapping"))
        return v.type == JINJA_MAP;
    if (!strcmp(name, "iterable")) /* Undefined has __iter__ */
        return text || list || v.type == JINJA_MAP || is_undefined(v) || v.type == JINJA_LOOP
               || v.type == JINJA_ITERATOR;
    if (!strcmp(name, "sequence")) /* has a length and items, mappings included */
        return text || list || v.type == JINJA_MAP || is_undefined(v);
    if (!strcmp(name, "number"))
        return jinja_is_number(v);
    if (!strcmp(name, "integer"))
        return v.type == JINJA_INT;
    if (!strcmp(name, "float"))
        return v.type == JINJA_FLOAT;
    if (!strcmp(name, "boolean"))
        return v.type == JINJA_BOOL;
    if (!strcmp(name, "true"))
        return v.type == JINJA_BOOL && v.truth;
    if (!strcmp(name, "false"))
        return v.type == JINJA_BOOL && !v.truth;
    if (!strcmp(name, "callable"))
        return v.type == JINJA_MACRO || v.type == JINJA_METHOD || v.type == JINJA_GLOBAL
               || v.type == JINJA_UNDEFINED;
    if (!strcmp(name, "odd") || !strcmp(name, "even")) {
        if (v.type != JINJA_INT)
            jinja_fail(m, RM_E_ARGUMENT, "%s needs an integer, not %s", name, jinja_type_name(v));
        return v.type == JINJA_INT && (v.integer % 2 != 0) == (name[0] == 'o');
    }
    if (!strcmp(name, "upper") || !strcmp(name, "lower")) {
        const jinja_string *s = jinja_as_string(m, v);
        jinja_method method = { .self = { .type = JINJA_STRING, .string = s },
                                .name = name[0] == 'u' ? "isupper" : "islower" };
        jinja_call call = { .name = name };
        return jinja_is_true(jinja_call_method(m, &method, &call));
    }
    *known = false;
    return false;
}

static bool order_test(jinja_machine *m, const char *name, jinja_value v, jinja_value other)
{
    if (!strcmp(name, "lt") || !strcmp(name, "lessthan") || !strcmp(name, "<"))
        return jinja_compare(m, v, other) < 0;
    if (!strcmp(name, "le") || !strcmp(name, "<="))
        return jinja_compare(m, v, other) <= 0;
    if (!strcmp(name, "gt") || !strcmp(name, "greaterthan") || !strcmp(name, ">"))
        return jinja_compare(m, v, other) > 0;
    if (!strcmp(name, "ge") || !strcmp(name, ">="))
        return jinja_compare(m, v, other) >= 0;
    jinja_fail(m, RM_E_UNSUPPORTED, "there is no test \"%.60s\" here", name);
    return false;
}

bool jinja_apply_test(jinja_machine *m, const char *name, jinja_value v, const jinja_call *call)
{
    jinja_value other = JINJA_NOTHING;
    bool known, result = plain_test(m, name, v, &known);
    if (known || m->status)
        return result && !m->status;
    if (call->n != 1 || call->n_named)
        jinja_fail(m, RM_E_UNSUPPORTED, "there is no test \"%.60s\" with %d arguments here", name,
                   call->n + call->n_named);
    else
        other = call->positional[0];
    if (m->status)
        return false;
    if (!strcmp(name, "eq") || !strcmp(name, "equalto") || !strcmp(name, "=="))
        return jinja_equal(m, v, other);
    if (!strcmp(name, "ne") || !strcmp(name, "!="))
        return !jinja_equal(m, v, other);
    if (!strcmp(name, "in"))
        return jinja_contains(m, other, v);
    if (!strcmp(name, "sameas"))
        return v.type == other.type && jinja_equal(m, v, other);
    if (!strcmp(name, "divisibleby")) {
        if (v.type != JINJA_INT || other.type != JINJA_INT || !other.integer)
            jinja_fail(m, RM_E_ARGUMENT, "divisibleby needs two integers, the second not 0");
        return !m->status && (other.integer == -1 || v.integer % other.integer == 0);
    }
    return order_test(m, name, v, other);
}
