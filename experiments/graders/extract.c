/* extract.c - finds the answer in a generated text, and hands it to the graders.
 *
 *     text -> cut at the first stop string -> without the thought -> rules in order -> canonical
 *
 * The traps, and what becomes of them:
 *   a second question invented by the model   the text is cut where it begins (`cuts`), and
 *                                             named rules take the first match, not the last
 *   an unfinished thought                     no answer: numbers in it are working, not answers
 *   an answer cut off by a length limit       no answer unless something follows the match
 *   several numbers in the answer's sentence  numeric.c: after the last "=", else the first */
#define _GNU_SOURCE
#include "experiments/graders/grader.h"

#include <stdlib.h>
#include <string.h>

const char *const rm_grader_names[] = { "numeric", "exact", "choice", "pattern", "expression",
                                        "math", NULL };

bool rm_grader_canonical(const rm_grader *g, const char *bytes, size_t n, rm_text *out)
{
    switch ((rm_grader_kind)g->kind) {
    case RM_GRADE_NUMERIC:
        return rm_numeric_canonical(bytes, n, out);
    case RM_GRADE_CHOICE:
        return rm_choice_canonical(bytes, n, g->choices ? g->choices : "ABCDEFGHIJ", out);
    case RM_GRADE_EXPRESSION:
        return rm_expression_canonical(bytes, n, out);
    case RM_GRADE_MATH:
        return rm_math_canonical(bytes, n, out);
    case RM_GRADE_EXACT:
    case RM_GRADE_PATTERN:
        return rm_exact_canonical(bytes, n, g->fold_case, g->latex, out);
    }
    return false;
}

bool rm_grader_correct(const rm_grader *g, const char *answer, const char *reference)
{
    if (g->kind == RM_GRADE_NUMERIC)
        return rm_numeric_correct(answer, reference, g->tolerance, g->relative_tolerance);
    if (g->kind != RM_GRADE_PATTERN)
        return !strcmp(answer, reference);
    rm_pattern *pattern = NULL;
    size_t start, length, end;
    if (rm_pattern_new(reference, true, &pattern, NULL))
        return false; /* references were compiled once when the task was opened */
    bool ok = rm_pattern_find(pattern, answer, strlen(answer), false, &start, &length, &end);
    rm_pattern_free(pattern);
    return ok;
}

/* ---- rules ---------------------------------------------------------------------------- */

/* Regular expressions behind names. The answer's sentence ends at a line break or at a period
 * that ends the sentence: one that no digit follows. */
static const struct named_rule {
    const char *name;
    rm_rule_kind kind;
    const char *pattern;
    bool last;
} named_rules[] = {
    { "####", RM_RULE_PATTERN, "####[ \\t]*([^\\r\\n]*)", false },
    { "answer is", RM_RULE_PATTERN,
      "(?i)answer(?:\\s+is|\\s*:|\\s+is\\s*:|\\s+equals)[ \\t*]*((?:[^\\r\\n.]|\\.(?=\\d))+)",
      false },
    { "answer:", RM_RULE_PATTERN, "(?i)answer[ \\t*]*:[ \\t*]*([^\\r\\n]+)", false },
    { "option", RM_RULE_PATTERN,
      "(?m)(?i:answer(?:\\s+is|\\s*:|\\s+is\\s*:)|option|choice)\\s*\\**\\s*"
      "([(\\[][A-Za-z][)\\]]|[A-Z](?![A-Za-z'])|[a-z](?=[.,:;)*]|\\s*$))", false },
    { "boxed", RM_RULE_BOXED, NULL, true },
    { "number", RM_RULE_NUMBER, NULL, false },
    { "last number", RM_RULE_LAST_NUMBER, NULL, true },
    { "last line", RM_RULE_LAST_LINE, NULL, true },
    { "all", RM_RULE_ALL, NULL, false },
};

static rm_status add_rule(rm_extractor *x, rm_rule rule, rm_error *err)
{
    rm_rule *rules = realloc(x->rules, ((size_t)x->n_rules + 1) * sizeof *rules);
    if (!rules) {
        rm_pattern_free(rule.pattern);
        return rm_fail(err, RM_E_MEMORY, "out of memory for extraction rules");
    }
    x->rules = rules;
    x->rules[x->n_rules++] = rule;
    return RM_OK;
}

rm_status rm_extractor_add_pattern(rm_extractor *x, const char *expression, bool last,
                                   rm_error *err)
{
    rm_rule rule = { .kind = RM_RULE_PATTERN, .last = last };
    rm_status st = rm_pattern_new(expression, false, &rule.pattern, err);
    return st ? st : add_rule(x, rule, err);
}

rm_status rm_extractor_add_named(rm_extractor *x, const char *name, rm_error *err)
{
    const char *names[sizeof named_rules / sizeof *named_rules];
    int n = (int)(sizeof named_rules / sizeof *named_rules);
    for (int i = 0; i < n; i++) {
        const struct named_rule *r = &named_rules[i];
        names[i] = r->name;
        if (strcmp(r->name, name))
            continue;
        return r->pattern ? rm_extractor_add_pattern(x, r->pattern, r->last, err)
                          : add_rule(x, (rm_rule){ .kind = r->kind, .last = r->last }, err);
    }
    const char *near = rm_nearest_word(name, names, n);
    if (near)
        return rm_fail(err, RM_E_ARGUMENT, "unknown extraction rule \"%.60s\"; did you mean "
                       "\"%s\"?", name, near);
    return rm_fail(err, RM_E_ARGUMENT, "unknown extraction rule \"%.60s\"; there are \"####\", "
                   "\"answer is\", \"answer:\", \"option\", \"boxed\", \"number\", "
                   "\"last number\", \"last line\", \"all\" and {\"pattern\": ...}", name);
}

void rm_extractor_free(rm_extractor *x)
{
    for (int i = 0; i < x->n_rules; i++)
        rm_pattern_free(x->rules[i].pattern);
    free(x->rules);
    rm_strings_free(&x->cuts);
    *x = (rm_extractor){ 0 };
}

/* ---- finding -------------------------------------------------------------------------- */

/* The last \boxed{...} whose braces close; also \fbox. */
static bool find_boxed(const char *s, size_t n, size_t *start, size_t *length, size_t *end)
{
    bool found = false;
    for (size_t i = 0; i + 6 < n; i++) {
        size_t word = !memcmp(s + i, "\\boxed{", 7) ? 7 : !memcmp(s + i, "\\fbox{", 6) ? 6 : 0;
        if (!word)
            continue;
        int depth = 1;
        size_t k = i + word;
        for (; k < n && depth > 0; k++) {
            if (s[k] == '\\' && k + 1 < n)
                k++;
            else
                depth += s[k] == '{' ? 1 : s[k] == '}' ? -1 : 0;
        }
        if (depth)
            break; /* never closed, and nothing behind it can be either */
        found = true;
        *start = i + word;
        *length = k - 1 - *start;
        *end = k;
        i = k - 1;
    }
    return found;
}

static bool find_last_number(const char *s, size_t n, size_t *start, size_t *length, size_t *end)
{
    bool found = false;
    size_t at = 0, from;
    rm_fraction f;
    while (rm_number_find(s, n, &at, &from, &f)) {
        found = true;
        *start = from;
        *length = at - from;
        *end = at;
    }
    return found;
}

static bool find_last_line(const char *s, size_t n, size_t *start, size_t *length, size_t *end)
{
    while (n && strchr(" \t\r\n", s[n - 1]))
        n--;
    *end = n;
    size_t begin = n;
    while (begin && s[begin - 1] != '\n')
        begin--;
    *start = begin;
    *length = n - begin;
    return n > 0;
}

/* The whole text, which must be one number and nothing else. */
static bool find_only_number(const char *s, size_t n, size_t *start, size_t *length, size_t *end)
{
    while (n && strchr(" \t\r\n", s[n - 1]))
        n--;
    size_t skip = 0, at = 0;
    while (skip < n && strchr(" \t\r\n", s[skip]))
        skip++;
    rm_fraction f;
    *start = skip;
    *length = *end = n;
    size_t from;
    if (!rm_number_find(s + skip, n - skip, &at, &from, &f) || from != 0 || at != n - skip)
        return false;
    *length = n - skip;
    return true;
}

static bool find(const rm_rule *rule, const char *s, size_t n, size_t *start, size_t *length,
                 size_t *end)
{
    switch (rule->kind) {
    case RM_RULE_PATTERN:
        return rm_pattern_find(rule->pattern, s, n, rule->last, start, length, end);
    case RM_RULE_BOXED:
        return find_boxed(s, n, start, length, end);
    case RM_RULE_NUMBER:
        return find_only_number(s, n, start, length, end);
    case RM_RULE_LAST_NUMBER:
        return find_last_number(s, n, start, length, end);
    case RM_RULE_LAST_LINE:
        return find_last_line(s, n, start, length, end);
    case RM_RULE_ALL:
        *start = 0;
        *length = *end = n;
        return true;
    }
    return false;
}

/* Moves [s, s+n) behind the thought; false if a thought was begun and not ended. */
static bool strip_thought(const rm_extractor *x, const char **s, size_t *n)
{
    if (!x->close || !*x->close)
        return true;
    const char *behind = NULL, *end = *s + *n;
    size_t length = strlen(x->close);
    for (const char *p = *s; (p = memmem(p, (size_t)(end - p), x->close, length)); p += length)
        behind = p + length;
    if (!behind && x->in_thought)
        return false;
    const char *from = behind ? behind : *s;
    if (x->open && *x->open && memmem(from, (size_t)(end - from), x->open, strlen(x->open)))
        return false;
    *n = (size_t)(end - from);
    *s = from;
    return true;
}

bool rm_extract(const rm_extractor *x, const rm_grader *grader, const char *text, bool truncated,
                rm_text *out)
{
    size_t n = strlen(text);
    for (int i = 0; i < x->cuts.n; i++) {
        const char *at = x->cuts.items[i][0] ? memmem(text, n, x->cuts.items[i],
                                                      strlen(x->cuts.items[i])) : NULL;
        if (at) {
            n = (size_t)(at - text);
            truncated = false; /* the limit fell behind the end of the answer */
        }
    }
    if (!strip_thought(x, &text, &n))
        return false;
    for (int i = 0; i < x->n_rules; i++) {
        size_t start, length, end;
        if (!find(&x->rules[i], text, n, &start, &length, &end))
            continue;
        if (truncated && end >= n)
            continue;
        size_t before = out->length;
        if (rm_grader_canonical(grader, text + start, length, out))
            return true;
        if (out->length > before) {
            out->length = before;
            out->data[before] = '\0';
        }
    }
    return false;
}
