/* params.c - parameter values: from text, to text, checked against the strategy's table.
 *
 * Text is parsed whole: "8 " and "8x" are not integers, "nan" and "0x1p3" are not numbers.
 * Invariant: every field of a params struct holds a value that its table allows, from
 * rm_params_new on; so strategies never check a range again. */
#include "strategies/params.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rm_params {
    const rm_strategy *strategy;
    void *values;     /* [strategy->params_size] */
};

/* ---- access by table ----------------------------------------------------------------------- */

static void *field(const rm_params *params, const rm_param *p)
{
    return (char *)params->values + p->offset;
}

static const rm_param *param_find(const rm_params *params, const char *name)
{
    for (const rm_param *p = params->strategy->params; p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

static void field_set_initial(rm_params *params, const rm_param *p)
{
    void *at = field(params, p);
    switch (p->kind) {
    case RM_PARAM_INT:
    case RM_PARAM_CHOICE: *(int *)at = (int)p->initial; break;
    case RM_PARAM_REAL: *(double *)at = p->initial; break;
    case RM_PARAM_BOOL: *(bool *)at = p->initial != 0; break;
    case RM_PARAM_REALS: *(rm_reals *)at = (rm_reals){ 0 }; break;
    }
}

rm_status rm_params_new(const rm_strategy *strategy, rm_params **out, rm_error *err)
{
    rm_params *params = calloc(1, sizeof *params);
    void *values = calloc(1, strategy->params_size ? strategy->params_size : 1);
    if (!params || !values) {
        free(params);
        free(values);
        return rm_fail(err, RM_E_MEMORY, "no memory for the parameters of strategy '%s'",
                       strategy->name);
    }
    params->strategy = strategy;
    params->values = values;
    for (const rm_param *p = strategy->params; p->name; p++)
        field_set_initial(params, p);
    *out = params;
    return RM_OK;
}

void rm_params_free(rm_params *params)
{
    if (!params)
        return;
    free(params->values);
    free(params);
}

const rm_strategy *rm_params_strategy(const rm_params *params)
{
    return params->strategy;
}

const void *rm_params_values(const rm_params *params)
{
    return params->values;
}

/* ---- numbers as text ------------------------------------------------------------------------ */

/* The shortest of %.1g ... %.17g that reads back as the same double: 100, not 1e+02. */
static void put_real(double value, rm_text *text)
{
    char digits[40], best[40] = "";
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value && (!*best || strlen(digits) < strlen(best)))
            memcpy(best, digits, sizeof best);
    }
    rm_text_puts(text, best);
}

/* What a value of this parameter looks like, for error sentences. */
static void put_expected(const rm_param *p, rm_text *text)
{
    switch (p->kind) {
    case RM_PARAM_INT:
        rm_text_printf(text, "an integer from %.0f to %.0f", p->min, p->max);
        break;
    case RM_PARAM_REAL:
    case RM_PARAM_REALS:
        rm_text_puts(text, p->kind == RM_PARAM_REALS ? "up to 8 numbers, each " : "a number ");
        rm_text_puts(text, p->open_min ? "above " : "from ");
        put_real(p->min, text);
        rm_text_puts(text, p->open_min ? " up to " : " to ");
        put_real(p->max, text);
        if (p->kind == RM_PARAM_REALS)
            rm_text_puts(text, ", separated by commas");
        break;
    case RM_PARAM_BOOL: rm_text_puts(text, "true or false"); break;
    case RM_PARAM_CHOICE:
        for (int i = 0; p->choices[i]; i++)
            rm_text_printf(text, "%s%s", i == 0 ? "" : p->choices[i + 1] ? ", " : " or ",
                           p->choices[i]);
        break;
    }
}

static rm_status refuse(const rm_params *params, const rm_param *p, const char *given,
                        rm_error *err)
{
    rm_text expected = { 0 };
    put_expected(p, &expected);
    rm_fail(err, RM_E_ARGUMENT, "strategy '%s': %s = \"%.60s\" is not possible, expected %s",
            params->strategy->name, p->name, given,
            expected.data ? expected.data : "another value");
    rm_text_free(&expected);
    return RM_E_ARGUMENT;
}

static bool in_range(const rm_param *p, double value)
{
    return (p->open_min ? value > p->min : value >= p->min) && value <= p->max;
}

/* A decimal number that is all of text[0..n). */
static bool parse_real(const char *text, size_t n, double *value)
{
    char copy[64];
    if (n == 0 || n >= sizeof copy)
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    if (strspn(copy, "0123456789+-.eE") != n)
        return false; /* no blanks, no hexadecimal, no inf, no nan */
    char *end;
    double v = strtod(copy, &end);
    if (end != copy + n || !(v <= 1.7976931348623157e308 && v >= -1.7976931348623157e308))
        return false;
    *value = v + 0.0; /* -0 becomes 0 */
    return true;
}

static bool parse_int(const rm_param *p, const char *text, int *value)
{
    size_t n = strlen(text), sign = text[0] == '-' || text[0] == '+';
    if (n == sign || strspn(text + sign, "0123456789") != n - sign)
        return false;
    errno = 0;
    long long v = strtoll(text, NULL, 10);
    if (errno || !in_range(p, (double)v))
        return false;
    *value = (int)v;
    return true;
}

/* "0.5,0.5", with or without the brackets and blanks of a JSON array; "" is the empty list. */
static bool parse_reals(const rm_param *p, const char *text, rm_reals *out)
{
    rm_reals list = { 0 };
    size_t n = strlen(text);
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    while (n > 0) {
        const char *comma = memchr(text, ',', n);
        size_t length = comma ? (size_t)(comma - text) : n, from = 0, to = length;
        while (from < to && text[from] == ' ')
            from++;
        while (to > from && text[to - 1] == ' ')
            to--;
        double value;
        if (list.n == RM_MAX_REALS || !parse_real(text + from, to - from, &value) ||
            !in_range(p, value))
            return false;
        list.value[list.n++] = value;
        if (!comma)
            break;
        text += length + 1;
        n -= length + 1;
        if (n == 0)
            return false; /* a comma with nothing behind it */
    }
    *out = list;
    return true;
}

/* ---- set, get ------------------------------------------------------------------------------ */

static rm_status unknown_name(const rm_params *params, const char *name, rm_error *err)
{
    const char *nearest = NULL;
    int best = 0;
    for (const rm_param *p = params->strategy->params; p->name; p++) {
        int distance = rm_word_distance(name, p->name);
        if (!nearest || distance < best) {
            nearest = p->name;
            best = distance;
        }
    }
    if (!nearest)
        return rm_fail(err, RM_E_ARGUMENT, "strategy '%s' has no parameters, not '%.60s'",
                       params->strategy->name, name);
    return rm_fail(err, RM_E_ARGUMENT,
                   "strategy '%s' has no parameter '%.60s'; the nearest is '%s'",
                   params->strategy->name, name, nearest);
}

rm_status rm_params_set(rm_params *params, const char *name, const char *text, rm_error *err)
{
    const rm_param *p = param_find(params, name);
    if (!p)
        return unknown_name(params, name, err);
    void *at = field(params, p);
    bool good = false;
    switch (p->kind) {
    case RM_PARAM_INT: good = parse_int(p, text, at); break;
    case RM_PARAM_REAL: {
        double value;
        good = parse_real(text, strlen(text), &value) && in_range(p, value);
        if (good)
            *(double *)at = value;
        break;
    }
    case RM_PARAM_BOOL:
        good = strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
        if (good)
            *(bool *)at = text[0] == 't';
        break;
    case RM_PARAM_CHOICE:
        for (int i = 0; p->choices[i] && !good; i++)
            if (strcmp(p->choices[i], text) == 0) {
                *(int *)at = i;
                good = true;
            }
        break;
    case RM_PARAM_REALS: good = parse_reals(p, text, at); break;
    }
    return good ? RM_OK : refuse(params, p, text, err);
}

static void put_value(const rm_params *params, const rm_param *p, rm_text *text)
{
    const void *at = field(params, p);
    switch (p->kind) {
    case RM_PARAM_INT: rm_text_printf(text, "%d", *(const int *)at); break;
    case RM_PARAM_REAL: put_real(*(const double *)at, text); break;
    case RM_PARAM_BOOL: rm_text_puts(text, *(const bool *)at ? "true" : "false"); break;
    case RM_PARAM_CHOICE: rm_text_puts(text, p->choices[*(const int *)at]); break;
    case RM_PARAM_REALS: {
        const rm_reals *list = at;
        for (int i = 0; i < list->n; i++) {
            rm_text_puts(text, i ? "," : "");
            put_real(list->value[i], text);
        }
        break;
    }
    }
}

bool rm_params_get(const rm_params *params, const char *name, rm_text *text)
{
    const rm_param *p = param_find(params, name);
    if (!p)
        return false;
    put_value(params, p, text);
    return true;
}

void rm_params_json(const rm_params *params, rm_text *text)
{
    rm_text_puts(text, "{");
    for (const rm_param *p = params->strategy->params; p->name; p++) {
        rm_text_printf(text, "%s\"%s\":", p == params->strategy->params ? "" : ",", p->name);
        const char *open = "", *close = "";
        if (p->kind == RM_PARAM_REALS) {
            open = "[";
            close = "]";
        } else if (p->kind == RM_PARAM_CHOICE) {
            const char *word = p->choices[*(const int *)field(params, p)];
            if (strcmp(word, "true") != 0 && strcmp(word, "false") != 0)
                open = close = "\"";
        }
        rm_text_puts(text, open);
        put_value(params, p, text);
        rm_text_puts(text, close);
    }
    rm_text_puts(text, "}");
}

rm_status rm_params_check(const rm_params *params, int n_models, rm_error *err)
{
    const rm_strategy *s = params->strategy;
    if (n_models < s->min_models || n_models > s->max_models) {
        if (s->min_models == s->max_models)
            return rm_fail(err, RM_E_ARGUMENT, "strategy '%s' takes %d model%s, not %d", s->name,
                           s->min_models, s->min_models == 1 ? "" : "s", n_models);
        return rm_fail(err, RM_E_ARGUMENT, "strategy '%s' takes %d to %d models, not %d", s->name,
                       s->min_models, s->max_models, n_models);
    }
    if (!s->check)
        return RM_OK;
    rm_status status = s->check(params->values, n_models, err);
    return status ? rm_fail_within(err, status, "strategy '%s'", s->name) : RM_OK;
}
