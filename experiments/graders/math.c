/* math.c - mathematical answers: are two the same?
 *
 * The canonical form of an answer is made in this order; what a step does not understand goes on,
 * and what none understands is compared as text (spacing aside). Equal answers in the sense of
 * these rules have equal forms, so that equality is transitive and votes can compare strings; what
 * cannot be proved equal stays different.
 *
 *   expression      the normal form of math_algebra.c: 3/4 = 0.75 = \frac34,
 *                   (a+5)(b+2) = ab+2a+5b+10
 *   list, set       "1,-2", "x=1 or x=-2", "\{-2,1\}": one set, order and repetition aside;
 *                   "a \pm b"
 *                   is two elements. Unknowns of different names keep them: "x=1, y=2"
 *   tuple           (a,b), \langle a,b \rangle: ordered, as are open intervals; [a,b), matrices
 *   union           of intervals, in any order; "x<-1 or x>3" is one
 *   inequality      of one unknown: the interval
 *   assignment      "x=5", "f(x)=2x", "\text{Area}=12": what is right of the sign; "x \in S": S
 *   equation        both sides on one, primitive, leading coefficient positive
 *   units           behind a number: dropped, as are degree, percent and currency signs, since the
 *                   question says what is counted. "5 million" keeps its word
 *   words           in lower case, without "the"; "\text{(C)}" is C
 *
 * What is normalised as text follows Hendrycks et al. 2021 (arXiv:2103.03874: fractions, units,
 * spaces) and Lewkowycz et al. 2022 (arXiv:2206.14858, appendix D: units, words, expressions); both
 * then compare strings or ask a computer algebra system, where this file has a normal form. */
#include "experiments/graders/math.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ELEMENTS = 64 };

typedef struct reader {
    math_arena arena;
    const math_token *t;
    int depth;
} reader;

/* Tokens [from, to) in canonical form into `out`; false if not understood (`out` may have
 * grown). */
static bool answer(reader *x, int from, int to, rm_text *out);

/* ---- ranges of tokens ----------------------------------------------------------------- */

static int bracket_step(const math_token *t)
{
    if (t->kind == MATH_BEGIN || t->kind == MATH_END)
        return t->kind == MATH_BEGIN ? 1 : -1;
    if (t->kind != MATH_SIGN || !t->sign)
        return 0;
    return strchr("([{s", t->sign) ? 1 : strchr(")]}t", t->sign) ? -1 : 0;
}

/* The first token of one of `signs` outside of brackets, or `to`. */
static int find_outside(const math_token *t, int from, int to, const char *signs)
{
    int depth = 0;
    for (int i = from; i < to; i++) {
        depth += bracket_step(&t[i]);
        if (depth == 0 && t[i].kind == MATH_SIGN && t[i].sign && strchr(signs, t[i].sign))
            return i;
    }
    return to;
}

/* Is [from, to) one pair of brackets with what is in it? */
static bool is_enclosed(const math_token *t, int from, int to)
{
    int depth = 0;
    for (int i = from; i < to; i++) {
        depth += bracket_step(&t[i]);
        if (depth <= 0)
            return i == to - 1 && i > from && depth == 0;
    }
    return false;
}

static bool is_blank_sign(const math_token *t)
{
    return t->kind == MATH_SIGN && t->sign && strchr(".,;:", t->sign);
}

static void trim(const math_token *t, int *from, int *to)
{
    while (*to > *from && is_blank_sign(&t[*to - 1]))
        --*to;
    while (*to - *from > 1 && math_is_sign(&t[*from], '{') && is_enclosed(t, *from, *to)) {
        ++*from;
        --*to;
    }
}

/* ---- units ---------------------------------------------------------------------------- */

/* Words that change a number or a statement: not units. */
static bool is_no_unit(const math_token *t)
{
    static const char *const words[] = {
        "mod", "million", "billion", "trillion", "thousand", "hundred", "dozen", "if", "when",
            "for",
        "not", "no", "than", "to", "times", "pi", "half", "halves", "thirds", "quarters", "more",
        "less", "is", "base", "choose",
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t k = 0;
        while (k < t->length && words[i][k] && (t->text[k] | 0x20) == words[i][k])
            k++;
        if (k == t->length && !words[i][k])
            return true;
    }
    return false;
}

static bool is_numeric(const math_token *t, int from, int to)
{
    for (int i = from; i < to; i++)
        if (t[i].kind == MATH_LETTER || t[i].kind == MATH_WORD || t[i].kind == MATH_BEGIN)
            return false;
    return to > from;
}

/* Where the number before a unit ends: "864 \mbox{ inches}^2", "60 km/h", "30^\circ"; `to` if there
 * is none. */
static int without_units(const math_token *t, int from, int to)
{
    int end = to;
    for (;;) {
        int k = end;
        if (k - 1 > from && math_is_sign(&t[k - 1], SIGN_DEGREE)) {
            k -= math_is_sign(&t[k - 2], '^') ? 2 : 1; /* 30^\circ, 30 degrees */
        } else if (k - 4 > from && math_is_sign(&t[k - 1], '}')
                   && math_is_sign(&t[k - 2], SIGN_DEGREE) && math_is_sign(&t[k - 3], '{')
                   && math_is_sign(&t[k - 4], '^')) {
            k -= 4;
        } else {
            if (k - 2 > from && t[k - 1].kind == MATH_NUMBER && math_is_sign(&t[k - 2], '^'))
                k -= 2;
            else if (k - 4 > from && math_is_sign(&t[k - 1], '}') && t[k - 2].kind == MATH_NUMBER
                     && math_is_sign(&t[k - 3], '{') && math_is_sign(&t[k - 4], '^'))
                k -= 4;
            const math_token *u = k > from ? &t[k - 1] : NULL;
            bool per = u && u->kind == MATH_LETTER && k - 3 > from && math_is_sign(&t[k - 2], '/')
                       && t[k - 3].kind == MATH_WORD; /* km/h */
            bool unit = u && (u->kind == MATH_WORD || per
                              || (u->kind == MATH_LETTER && u->in_text));
            if (!unit || is_no_unit(u))
                return is_numeric(t, from, end) ? end : to;
            k--;
            if (k > from && math_is_sign(&t[k - 1], '/'))
                k--;
        }
        if (k <= from)
            return to;
        end = k;
    }
}

/* ---- simple answers ------------------------------------------------------------------- */

static bool words(const math_token *t, int from, int to, rm_text *out)
{
    if (to - from > 1 && (math_is_named(&t[from], MATH_WORD, "the")
                          || math_is_named(&t[from], MATH_WORD, "The")
                          || math_is_named(&t[from], MATH_WORD, "an")))
        from++;
    bool any = false;
    for (int i = from; i < to; i++) {
        if (t[i].kind != MATH_WORD && t[i].kind != MATH_LETTER)
            return false;
        any = any || t[i].kind == MATH_WORD;
    }
    if (any)
        math_spell(t, from, to, out);
    return any;
}

static bool infinity(const math_token *t, int from, int to, rm_text *out)
{
    bool minus = to - from == 2 && math_is_sign(&t[from], '-');
    bool plus = to - from == 2 && math_is_sign(&t[from], '+');
    if (to - from != 1 + (minus || plus) || !math_is_sign(&t[to - 1], SIGN_INFINITY))
        return false;
    rm_text_puts(out, minus ? "-\\infty" : "\\infty");
    return true;
}

static bool expression(reader *x, int from, int to, rm_text *out)
{
    math_sum sum;
    if (!math_parse(&x->arena, x->t, from, to, x->depth, &sum))
        return false;
    math_print(&sum, out);
    return true;
}

static bool matrix(reader *x, int from, int to, rm_text *out)
{
    static const char *const kinds[] = { "pmatrix", "bmatrix", "matrix", "Bmatrix", "array",
                                         "smallmatrix" };
    const math_token *t = x->t;
    /* \left( \begin{array} ... \end{array} \right) */
    if (to - from > 4 && t[from + 1].kind == MATH_BEGIN && is_enclosed(t, from, to)
        && math_is_sign(&t[from], '(')) {
        from++;
        to--;
    }
    bool ok = to - from > 2 && t[from].kind == MATH_BEGIN && is_enclosed(t, from, to),
        known = false;
    for (size_t i = 0; ok && i < sizeof kinds / sizeof *kinds; i++)
        known = known || math_is_named(&t[from], MATH_BEGIN, kinds[i]);
    if (!known)
        return false;
    rm_text_puts(out, "\\begin{pmatrix}");
    for (int at = from + 1; ok && at < to - 1;) {
        int end = find_outside(t, at, to - 1, "&r");
        ok = answer(x, at, end, out);
        if (end < to - 2) /* a last \\ ends a row that is none */
            rm_text_puts(out, t[end].sign == '&' ? "&" : "\\\\");
        at = end + 1;
    }
    rm_text_puts(out, "\\end{pmatrix}");
    return ok;
}

/* ---- relations ------------------------------------------------------------------------ */

/* Does [from, to) name an unknown: x, x_1, \theta, f(x), AB, "the area"? */
static bool is_name(const math_token *t, int from, int to)
{
    int n = to - from, n_letters = 0;
    bool upper = true;
    if (n < 1)
        return false;
    for (int i = from; i < to; i++) {
        bool letter = t[i].kind == MATH_LETTER
                      || (t[i].kind == MATH_COMMAND && t[i].length > 1
                          && !math_is_named(&t[i], MATH_COMMAND, "frac")
                          && !math_is_named(&t[i], MATH_COMMAND, "sqrt")
                          && !math_is_named(&t[i], MATH_COMMAND, "surd")
                          && !math_is_named(&t[i], MATH_COMMAND, "pi"));
        n_letters += letter;
        upper = upper && t[i].kind == MATH_LETTER && t[i].text[0] >= 'A' && t[i].text[0] <= 'Z';
        if (!letter && t[i].kind != MATH_WORD && !math_is_sign(&t[i], '_')
            && !(i > from && (math_is_sign(&t[i], '(') || math_is_sign(&t[i], ')')
                              || math_is_sign(&t[i], '{') || math_is_sign(&t[i], '}')))
            && !(t[i].kind == MATH_NUMBER && i > from
                 && (math_is_sign(&t[i - 1], '_') || math_is_sign(&t[i - 1], '{'))))
            return false;
    }
    if (t[from].kind == MATH_WORD || t[from].in_text || n == 1)
        return true;
    if (math_is_sign(&t[from + 1], '_'))
        return n_letters <= 2;
    if (math_is_sign(&t[from + 1], '(')) /* f(x) */
        return n == 4 && t[from].kind == MATH_LETTER;
    return upper || math_is_named(&t[from], MATH_COMMAND, "angle")
           || math_is_named(&t[from], MATH_COMMAND, "overline")
           || math_is_named(&t[from], MATH_COMMAND, "triangle");
}

static bool mentions(const math_token *t, int from, int to, const math_token *symbol)
{
    for (int i = from; i < to; i++)
        if (t[i].kind == symbol->kind && t[i].length == symbol->length
            && !memcmp(t[i].text, symbol->text, symbol->length))
            return true;
    return false;
}

/* Splits "name = value" (or "value = name"); false if it is none. */
static bool split_assignment(const math_token *t, int from, int to, int *name_from, int *name_to,
                             int *value_from, int *value_to)
{
    int equals = find_outside(t, from, to, "=");
    if (equals == to || equals == from || equals + 1 == to
        || find_outside(t, equals + 1, to, "=<>lg") < to
        || find_outside(t, from, equals, "<>lg") < equals)
        return false;
    bool left = is_name(t, from, equals) && !mentions(t, equals + 1, to, &t[from]);
    if (!left && !(is_name(t, equals + 1, to) && !mentions(t, from, equals, &t[equals + 1])))
        return false;
    *name_from = left ? from : equals + 1;
    *name_to = left ? equals : to;
    *value_from = left ? equals + 1 : from;
    *value_to = left ? to : equals;
    return true;
}

/* left = right, no assignment: left - right, primitive, = 0. A chain of equal numbers is that
 * number. */
static bool equation(reader *x, int from, int to, rm_text *out)
{
    int equals = find_outside(x->t, from, to, "="), next = find_outside(x->t, equals + 1, to, "=");
    math_sum a, b, difference;
    if (next < to && is_name(x->t, from, equals)) { /* x = 10/4 = 2.5 */
        from = equals + 1;
        equals = next;
    }
    if (find_outside(x->t, from, to, "<>lg") < to
        || !math_parse(&x->arena, x->t, from, equals, x->depth, &a))
        return false;
    while (equals < to) {
        int end = find_outside(x->t, equals + 1, to, "=");
        if (!math_parse(&x->arena, x->t, equals + 1, end, x->depth, &b)
            || !math_subtract(&x->arena, &a, &b, &difference))
            return false;
        if (difference.n) {
            bool only = end == to && find_outside(x->t, from, to, "=") == equals;
            bool constant = difference.n == 1 && difference.terms[0].n_factors == 0;
            if (!only || constant || !math_make_primitive(&x->arena, &difference))
                return false;
            math_print(&difference, out);
            rm_text_puts(out, "=0");
            return true;
        }
        equals = end;
    }
    math_print(&b, out);
    return true;
}

/* x < b, a <= x, a < x <= b as intervals. */
static bool inequality(reader *x, int from, int to, rm_text *out)
{
    const math_token *t = x->t;
    int first = find_outside(t, from, to, "<>lg"), second = find_outside(t, first + 1, to, "<>lg");
    if (first == to || first == from || first + 1 == to || find_outside(t, from, to, "=") < to)
        return false;
    char signs[2] = { t[first].sign, second < to ? t[second].sign : 0 };
    bool less[2] = { signs[0] == '<' || signs[0] == SIGN_LE,
                     signs[1] == '<' || signs[1] == SIGN_LE };
    bool closed[2] = { signs[0] == SIGN_LE || signs[0] == SIGN_GE,
                       signs[1] == SIGN_LE || signs[1] == SIGN_GE };
    int low_from = 0, low_to = 0, high_from = 0, high_to = 0;
    bool low_closed = false, high_closed = false;
    if (second < to) { /* a < x < b, or the other way round */
        if (!is_name(t, first + 1, second) || less[0] != less[1] || second + 1 == to
            || find_outside(t, second + 1, to, "<>lg") < to)
            return false;
        low_from = less[0] ? from : second + 1;
        low_to = less[0] ? first : to;
        high_from = less[0] ? second + 1 : from;
        high_to = less[0] ? to : first;
        low_closed = closed[less[0] ? 0 : 1];
        high_closed = closed[less[0] ? 1 : 0];
    } else {
        bool named_left = is_name(t, from, first);
        if (!named_left && !is_name(t, first + 1, to))
            return false;
        bool below = named_left == less[0]; /* the unknown lies below the other side */
        int a = named_left ? first + 1 : from, b = named_left ? to : first;
        if (below) {
            high_from = a, high_to = b, high_closed = closed[0];
        } else {
            low_from = a, low_to = b, low_closed = closed[0];
        }
    }
    rm_text_puts(out, low_closed ? "[" : "(");
    if (low_from == low_to)
        rm_text_puts(out, "-\\infty");
    else if (!answer(x, low_from, low_to, out))
        return false;
    rm_text_puts(out, ",");
    if (high_from == high_to)
        rm_text_puts(out, "\\infty");
    else if (!answer(x, high_from, high_to, out))
        return false;
    rm_text_puts(out, high_closed ? "]" : ")");
    return true;
}

/* ---- several -------------------------------------------------------------------------- */

typedef struct elements {
    char *items[MAX_ELEMENTS]; /* in the arena */
    int n;
} elements;

static int ascending(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Takes over what `text` holds. */
static bool add_element(reader *x, elements *e, rm_text *text)
{
    char *copy = text->data && !text->failed && e->n < MAX_ELEMENTS
                     ? math_alloc(&x->arena, text->length + 1) : NULL;
    if (copy) {
        memcpy(copy, text->data, text->length + 1);
        e->items[e->n++] = copy;
    }
    rm_text_free(text);
    return copy != NULL;
}

static void print_sorted(elements *e, const char *separator, rm_text *out)
{
    qsort(e->items, (size_t)e->n, sizeof *e->items, ascending);
    for (int i = 0; i < e->n; i++) {
        if (i && !strcmp(e->items[i], e->items[i - 1]))
            continue;
        if (i)
            rm_text_puts(out, separator);
        rm_text_puts(out, e->items[i]);
    }
}

/* a \pm b with one such sign: both values. */
static bool both_signs(reader *x, int from, int to, int at, elements *e)
{
    math_token *copy = math_alloc(&x->arena, (size_t)(to - from) * sizeof *copy);
    if (!copy)
        return false;
    for (int k = 0; k < 2; k++) {
        memcpy(copy, x->t + from, (size_t)(to - from) * sizeof *copy);
        copy[at - from].sign = k ? '-' : '+';
        reader y = *x;
        y.t = copy;
        rm_text text = { 0 };
        bool ok = answer(&y, 0, to - from, &text);
        x->arena = y.arena; /* the same memory, further used */
        if (!ok) {
            rm_text_free(&text);
            return false;
        }
        if (!add_element(x, e, &text))
            return false;
    }
    return true;
}

static int find_both_signs(const math_token *t, int from, int to)
{
    int found = to;
    for (int i = from; i < to; i++)
        if (math_is_sign(&t[i], SIGN_PLUS_MINUS) || math_is_sign(&t[i], SIGN_MINUS_PLUS)) {
            if (found < to)
                return to; /* two: which go together is not said */
            found = i;
        }
    return found;
}

/* Do assignments of the list [from, to) speak of different unknowns? */
static bool several_names(reader *x, int from, int to)
{
    int known_from = -1, known_to = -1;
    for (int at = from; at < to;) {
        int end = find_outside(x->t, at, to, ",;oa"), a, b, c, d;
        if (split_assignment(x->t, at, end, &a, &b, &c, &d)) {
            bool same = known_from >= 0 && b - a == known_to - known_from;
            for (int i = 0; same && i < b - a; i++)
                same = x->t[a + i].kind == x->t[known_from + i].kind
                       && mentions(x->t, a + i, a + i + 1, &x->t[known_from + i]);
            if (known_from >= 0 && !same)
                return true;
            known_from = a;
            known_to = b;
        }
        at = end + 1;
    }
    return false;
}

/* Elements between separators, appended to `e`. With `named`, unknowns keep their names. */
static bool read_elements(reader *x, int from, int to, bool named, elements *e)
{
    for (int at = from; at < to;) {
        int end = find_outside(x->t, at, to, ",;oa"), a, b, c, d;
        if (end == at) { /* ", and" */
            at++;
            continue;
        }
        int sign = find_both_signs(x->t, at, end);
        rm_text text = { 0 };
        if (sign < end) {
            if (named || !both_signs(x, at, end, sign, e))
                return false;
        } else {
            bool ok = true;
            if (named && split_assignment(x->t, at, end, &a, &b, &c, &d)) {
                math_spell(x->t, a, b, &text);
                rm_text_puts(&text, "=");
                ok = answer(x, c, d, &text);
            } else {
                ok = answer(x, at, end, &text);
            }
            if (!ok || !add_element(x, e, &text)) {
                rm_text_free(&text);
                return false;
            }
        }
        at = end + 1;
    }
    return true;
}

static bool is_interval(const char *text)
{
    size_t n = strlen(text);
    return n > 4 && strchr("([", text[0]) && strchr(")]", text[n - 1]) && strchr(text, ',');
}

/* A list without brackets, or the inside of \{ \}. */
static bool set(reader *x, int from, int to, bool braces, rm_text *out)
{
    elements e = { .n = 0 };
    bool inequalities = find_outside(x->t, from, to, "<>lg") < to;
    if (!read_elements(x, from, to, several_names(x, from, to), &e) || (e.n == 0 && !braces))
        return false;
    if (!braces && e.n == 1) {
        rm_text_puts(out, e.items[0]);
        return true;
    }
    if (inequalities) { /* "x < 1 or x > 3"; joined by "and" it would be a section */
        bool ok = !braces && find_outside(x->t, from, to, "a") == to;
        for (int i = 0; i < e.n; i++)
            ok = ok && is_interval(e.items[i]);
        print_sorted(&e, "\\cup ", out);
        return ok;
    }
    rm_text_puts(out, "\\{");
    print_sorted(&e, ",", out);
    rm_text_puts(out, "\\}");
    return true;
}

/* (a,b), [a,b): in order. */
static bool tuple(reader *x, int from, int to, rm_text *out)
{
    char open = x->t[from].sign, close = x->t[to - 1].sign;
    elements e = { .n = 0 };
    int first = from + 1, last = to - 1;
    if (!read_elements(x, first, last, several_names(x, first, last), &e) || e.n < 2)
        return false;
    rm_text_add(out, &open, 1);
    for (int i = 0; i < e.n; i++) {
        if (i)
            rm_text_puts(out, ",");
        rm_text_puts(out, e.items[i]);
    }
    rm_text_add(out, &close, 1);
    return true;
}

static bool set_union(reader *x, int from, int to, rm_text *out)
{
    elements e = { .n = 0 };
    for (int at = from; at < to;) {
        int end = find_outside(x->t, at, to, "u");
        rm_text text = { 0 };
        if (!answer(x, at, end, &text) || !add_element(x, &e, &text)) {
            rm_text_free(&text);
            return false;
        }
        at = end + 1;
    }
    print_sorted(&e, "\\cup ", out);
    return e.n > 0;
}

/* ---- the whole ------------------------------------------------------------------------ */

static bool bracketed(reader *x, int from, int to, rm_text *out)
{
    const math_token *t = x->t;
    if (!is_enclosed(t, from, to))
        return false;
    if (math_is_sign(&t[from], SIGN_SET_OPEN) && math_is_sign(&t[to - 1], SIGN_SET_CLOSE))
        return set(x, from + 1, to - 1, true, out);
    bool comma = find_outside(t, from + 1, to - 1, ",;") < to - 1;
    return comma && t[from].kind == MATH_SIGN && strchr("([", t[from].sign)
           && t[to - 1].kind == MATH_SIGN && strchr(")]", t[to - 1].sign)
           && tuple(x, from, to, out);
}

static bool one_answer(reader *x, int from, int to, rm_text *out)
{
    const math_token *t = x->t;
    int a, b, c, d;
    trim(t, &from, &to);
    if (from >= to)
        return false;
    if (find_outside(t, from, to, "u") < to)
        return set_union(x, from, to, out);
    if (find_outside(t, from, to, ",;oa") < to)
        return set(x, from, to, false, out);
    int in = find_outside(t, from, to, "i");
    if (in < to)
        return is_name(t, from, in) && answer(x, in + 1, to, out);
    if (split_assignment(t, from, to, &a, &b, &c, &d))
        return answer(x, c, d, out);
    if (find_outside(t, from, to, "=") < to)
        return equation(x, from, to, out);
    if (find_outside(t, from, to, "<>lg") < to)
        return inequality(x, from, to, out);
    if (t[from].kind == MATH_BEGIN || (to - from > 1 && t[from + 1].kind == MATH_BEGIN))
        return matrix(x, from, to, out);
    if (math_is_named(&t[from], MATH_COMMAND, "emptyset") && to - from == 1) {
        rm_text_puts(out, "\\{\\}");
        return true;
    }
    if (bracketed(x, from, to, out) || infinity(t, from, to, out) || words(t, from, to, out))
        return true;
    if (find_both_signs(t, from, to) < to)
        return set(x, from, to, false, out);
    return expression(x, from, without_units(t, from, to), out);
}

static bool answer(reader *x, int from, int to, rm_text *out)
{
    if (x->depth >= MATH_MAX_DEPTH)
        return false;
    size_t before = out->length;
    x->depth++;
    bool ok = one_answer(x, from, to, out) && !out->failed && !x->arena.failed;
    x->depth--;
    if (!ok && out->length > before) {
        out->length = before;
        out->data[before] = '\0';
    }
    return ok;
}

bool rm_math_canonical(const char *bytes, size_t n, rm_text *out)
{
    reader x = { .arena = { .base = n <= MATH_MAX_BYTES ? malloc(MATH_ARENA_BYTES) : NULL } };
    math_tokens tokens;
    size_t before = out->length;
    bool known = math_tokenize(bytes, n, &x.arena, &tokens);
    int from = 0, to = known ? tokens.n : 0;
    if (known) {
        x.t = tokens.t;
        trim(x.t, &from, &to);
        if (!answer(&x, from, to, out))
            math_spell(x.t, from, to, out);
    } else {
        rm_exact_canonical(bytes, n, false, true, out);
    }
    free(x.arena.base);
    return out->length > before;
}
