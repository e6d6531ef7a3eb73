/* math_parse.c - from tokens to the normal form of an expression.
 *
 *     sum     = product { ("+" | "-") product }
 *     product = [sign] factor { ["*" | "/"] [sign] factor }      juxtaposition multiplies
 *     factor  = primary { "^" exponent | "!" }
 *     primary = number | symbol | \frac.. | \sqrt.. | \binom.. | function | "(" sum ")" | "|" sum
 *     "|"
 *
 * "1\frac{4}{5}" and "1 4/5" are mixed numbers; "52_8" is a numeral of another base and an atom;
 * "\frac43" takes one digit each; a division by letters set side by side ("a/bc") is ambiguous and
 * refused. The argument of a function without brackets ends at the next sign or function. Recursion
 * is bounded by MATH_MAX_DEPTH. */
#include "experiments/graders/math.h"

#include <string.h>

/* ---- reading -------------------------------------------------------------------------- */

typedef struct reader {
    math_arena *arena;
    const math_token *t;
    int at, to, depth;
    size_t skip; /* digits of t[at] that \frac took */
} reader;

static bool read_sum(reader *x, math_sum *out);

static const math_token *peek(const reader *x)
{
    static const math_token end = { .kind = MATH_SIGN };
    return x->at < x->to ? &x->t[x->at] : &end;
}

static bool take_sign(reader *x, char sign)
{
    bool ok = math_is_sign(peek(x), sign);
    x->at += ok;
    return ok;
}

static bool read_bracketed(reader *x, char close, math_sum *out)
{
    return read_sum(x, out) && take_sign(x, close);
}

static bool read_token_number(reader *x, math_sum *out)
{
    rm_fraction f;
    if (!math_number(peek(x), x->skip, &f))
        return false;
    x->at++;
    x->skip = 0;
    return math_sum_of(x->arena, f, 1, NULL, out);
}

static bool read_primary(reader *x, math_sum *out);

/* {sum}, or one token: a single digit of a number. */
static bool read_argument(reader *x, math_sum *out)
{
    if (take_sign(x, '{'))
        return read_bracketed(x, '}', out);
    const math_token *t = peek(x);
    if (t->kind != MATH_NUMBER)
        return (t->kind == MATH_LETTER || t->kind == MATH_COMMAND) && read_primary(x, out);
    char digit = t->text[x->skip];
    if (digit < '0' || digit > '9')
        return false;
    if (++x->skip == t->length) {
        x->at++;
        x->skip = 0;
    }
    return math_whole(x->arena, digit - '0', out);
}

static bool read_fraction(reader *x, math_sum *out)
{
    math_sum p, q, inverse;
    return read_argument(x, &p) && read_argument(x, &q) && math_invert(x->arena, &q, &inverse)
           && math_multiply(x->arena, &p, &inverse, out);
}

/* \sqrt[3]{x}, \sqrt2; where it is written out (`surd`), all of a number is inside: sqrt 13. */
static bool read_root(reader *x, bool surd, math_sum *out)
{
    math_sum index, inside;
    rm_fraction k = { 2, 1 };
    if (take_sign(x, '[') && (!read_bracketed(x, ']', &index) || !math_is_rational(&index, &k)
                              || k.q != 1))
        return false;
    bool bracket = take_sign(x, '(');
    return (bracket ? read_bracketed(x, ')', &inside)
            : surd  ? read_primary(x, &inside)
                    : read_argument(x, &inside))
           && math_root(x->arena, &inside, k.p, out);
}

static bool read_binomial(reader *x, math_sum *out)
{
    math_sum n, k;
    rm_fraction fn, fk;
    if (!read_argument(x, &n) || !read_argument(x, &k))
        return false;
    if (!math_is_rational(&n, &fn) || !math_is_rational(&k, &fk))
        return math_make_atom(x->arena, "\\binom{", &n, "}{", &k, "}", out);
    if (fn.q != 1 || fk.q != 1 || fk.p < 0 || fn.p < fk.p || fn.p > 1000)
        return false;
    rm_fraction c = { 1, 1 };
    for (int64_t i = 1; i <= fk.p; i++)
        if (!rm_fraction_apply('*', c, (rm_fraction){ fn.p - fk.p + i, 1 }, &c)
            || !rm_fraction_apply('/', c, (rm_fraction){ i, 1 }, &c))
            return false;
    return math_sum_of(x->arena, c, 1, NULL, out);
}

static const char *const functions[] = {
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
    "log", "ln", "exp", "abs",
};
static const char *const symbols[] = {
    "pi", "theta", "alpha", "beta", "gamma", "delta", "lambda", "mu", "omega", "phi", "rho",
        "sigma",
    "tau", "epsilon", "varphi", "zeta", "eta", "kappa", "nu", "xi", "psi", "chi", "Omega", "Delta",
};

static const char *named(const math_token *t, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (math_is_named(t, MATH_COMMAND, names[i]))
            return names[i];
    return NULL;
}

#define NAMED(token, table) named(token, table, (int)(sizeof(table) / sizeof *(table)))

/* What a function without brackets takes: factors up to the next sign or function. */
static bool read_bare_arguments(reader *x, math_sum *out)
{
    if (!read_primary(x, out))
        return false;
    for (;;) {
        const math_token *t = peek(x);
        bool more = t->kind == MATH_LETTER || (t->kind == MATH_COMMAND && NAMED(t, symbols));
        math_sum right;
        if (!more)
            return true;
        if (!read_primary(x, &right) || !math_multiply(x->arena, out, &right, out))
            return false;
    }
}

static bool read_absolute(reader *x, const math_sum *inside, math_sum *out)
{
    if (inside->n == 0 || (inside->n == 1 && math_is_number(inside))) {
        *out = *inside;
        if (out->n && out->terms[0].coefficient.p < 0)
            return math_scale(x->arena, inside, '*', (rm_fraction){ -1, 1 }, out);
        return true;
    }
    math_sum s = *inside; /* |-P| = |P| */
    if (s.terms[0].coefficient.p < 0
        && !math_scale(x->arena, inside, '*', (rm_fraction){ -1, 1 }, &s))
        return false;
    return math_make_atom(x->arena, "abs(", &s, ")", NULL, "", out);
}

static bool read_function(reader *x, const char *name, math_sum *out)
{
    math_sum base, exponent, argument;
    char head[96];
    bool has_base = take_sign(x, '_'), has_exponent = false;
    if (has_base && !read_argument(x, &base))
        return false;
    if (take_sign(x, '^')) {
        has_exponent = true;
        rm_fraction e;
        if (!read_argument(x, &exponent) || !math_is_rational(&exponent, &e) || e.p < 0)
            return false; /* sin^{-1} has two meanings */
    }
    if (take_sign(x, '(') ? !read_bracketed(x, ')', &argument)
                          : take_sign(x, '{') ? !read_bracketed(x, '}', &argument)
                                              : !read_bare_arguments(x, &argument))
        return false;
    if (!strcmp(name, "abs") && !has_base && !has_exponent)
        return read_absolute(x, &argument, out);
    size_t n = strlen(name);
    memcpy(head, name, n + 1);
    if (has_base) {
        rm_text text = { 0 };
        math_print(&base, &text);
        bool fits = !text.failed && text.length < 64;
        if (fits) {
            memcpy(head + n, "_{", 2);
            memcpy(head + n + 2, text.data, text.length);
            n += text.length + 2;
            memcpy(head + n, "}", 2);
            n++;
        }
        rm_text_free(&text);
        if (!fits)
            return false;
    }
    memcpy(head + n, "(", 2);
    return math_make_atom(x->arena, head, &argument, ")", NULL, "", out)
           && (!has_exponent || math_power(x->arena, out, &exponent, out));
}

/* A symbol with its subscript: x, x_1, x_{12}. */
static bool read_symbol(reader *x, const math_token *t, math_sum *out)
{
    x->at++;
    rm_text text = { 0 };
    rm_text_printf(&text, "%s%.*s", t->kind == MATH_COMMAND ? "\\" : "", (int)t->length, t->text);
    bool ok = true;
    if (take_sign(x, '_')) {
        bool group = take_sign(x, '{');
        const math_token *s = peek(x);
        ok = s->kind == MATH_NUMBER || s->kind == MATH_LETTER;
        rm_text_printf(&text, "_{%.*s}", ok ? (int)s->length : 0, ok ? s->text : "");
        x->at += ok;
        ok = ok && (!group || take_sign(x, '}'));
    }
    if (math_is_sign(peek(x), '(') && t->kind == MATH_LETTER && strchr("fghFGHP", t->text[0]))
        ok = false; /* f(2) is no product */
    char *atom = ok && !text.failed ? math_alloc(x->arena, text.length + 1) : NULL;
    if (atom)
        memcpy(atom, text.data, text.length + 1);
    rm_text_free(&text);
    return atom && math_sum_of(x->arena, (rm_fraction){ 1, 1 }, 1, atom, out);
}

static bool is_whole(const math_token *t, int64_t *value)
{
    rm_fraction f;
    if (t->kind != MATH_NUMBER || memchr(t->text, '.', t->length) || !math_number(t, 0, &f))
        return false;
    *value = f.p;
    return true;
}

/* The p/q of a mixed number at token i: \frac{p}{q} or p/q, p < q. Returns the tokens it takes. */
static int mixed_part(const reader *x, int i, rm_fraction *f)
{
    const math_token *t = x->t;
    int64_t p, q;
    if (x->to - i >= 7 && math_is_named(&t[i], MATH_COMMAND, "frac") && math_is_sign(&t[i + 1], '{')
        && is_whole(&t[i + 2], &p) && math_is_sign(&t[i + 3], '}') && math_is_sign(&t[i + 4], '{')
        && is_whole(&t[i + 5], &q) && math_is_sign(&t[i + 6], '}')) {
        *f = (rm_fraction){ p, q };
        return p < q ? 7 : 0;
    }
    if (x->to - i >= 3 && t[i].blank && is_whole(&t[i], &p) && math_is_sign(&t[i + 1], '/')
        && is_whole(&t[i + 2], &q)) {
        *f = (rm_fraction){ p, q };
        return p < q ? 3 : 0;
    }
    if (x->to - i >= 2 && math_is_named(&t[i], MATH_COMMAND, "frac") && t[i + 1].length == 2
        && is_whole(&t[i + 1], &p)) { /* \frac45 */
        *f = (rm_fraction){ p / 10, p % 10 };
        return p / 10 < p % 10 ? 2 : 0;
    }
    return 0;
}

static bool read_number(reader *x, math_sum *out)
{
    const math_token *t = peek(x);
    int64_t whole;
    rm_fraction part, sum;
    int taken = x->skip == 0 && is_whole(t, &whole) ? mixed_part(x, x->at + 1, &part) : 0;
    if (taken) {
        x->at += 1 + taken;
        return rm_fraction_apply('/', (rm_fraction){ part.p, 1 }, (rm_fraction){ part.q, 1 }, &part)
               && rm_fraction_apply('+', (rm_fraction){ whole, 1 }, part, &sum)
               && math_sum_of(x->arena, sum, 1, NULL, out);
    }
    if (x->at + 1 < x->to && math_is_sign(&x->t[x->at + 1], '_')) { /* 52_8 */
        char numeral[64];
        rm_text text = { 0 };
        math_spell(x->t, x->at, x->at + 1, &text);
        x->at += 2;
        bool group = take_sign(x, '{'), ok = peek(x)->kind == MATH_NUMBER && text.length < 40
                                             && peek(x)->length < 4;
        if (ok) {
            memcpy(numeral, text.data, text.length);
            size_t n = text.length;
            memcpy(numeral + n, "_{", 2);
            memcpy(numeral + n + 2, peek(x)->text, peek(x)->length);
            n += 2 + peek(x)->length;
            memcpy(numeral + n, "}", 2);
        }
        rm_text_free(&text);
        x->at += ok;
        ok = ok && (!group || take_sign(x, '}'));
        char *atom = ok ? math_alloc(x->arena, strlen(numeral) + 1) : NULL;
        if (atom)
            strcpy(atom, numeral);
        return atom && math_sum_of(x->arena, (rm_fraction){ 1, 1 }, 1, atom, out);
    }
    return read_token_number(x, out);
}

static bool read_primary(reader *x, math_sum *out)
{
    const math_token *t = peek(x);
    const char *name;
    if (x->depth >= MATH_MAX_DEPTH || x->arena->failed)
        return false;
    x->depth++;
    bool ok = false;
    if (t->kind == MATH_NUMBER) {
        ok = read_number(x, out);
    } else if (t->kind == MATH_LETTER || (t->kind == MATH_COMMAND && NAMED(t, symbols))) {
        ok = read_symbol(x, t, out);
    } else if (t->kind == MATH_COMMAND) {
        x->at++;
        if (math_is_named(t, MATH_COMMAND, "frac"))
            ok = read_fraction(x, out);
        else if (math_is_named(t, MATH_COMMAND, "sqrt"))
            ok = read_root(x, false, out);
        else if (math_is_named(t, MATH_COMMAND, "surd"))
            ok = read_root(x, true, out);
        else if (math_is_named(t, MATH_COMMAND, "binom"))
            ok = read_binomial(x, out);
        else if ((name = NAMED(t, functions)))
            ok = read_function(x, name, out);
    } else if (take_sign(x, '(')) {
        ok = read_bracketed(x, ')', out);
    } else if (take_sign(x, '[')) {
        ok = read_bracketed(x, ']', out);
    } else if (take_sign(x, '{')) {
        ok = read_bracketed(x, '}', out);
    } else if (take_sign(x, '|')) {
        math_sum inside;
        ok = read_bracketed(x, '|', &inside) && read_absolute(x, &inside, out);
    }
    x->depth--;
    return ok;
}

static bool factorial(reader *x, math_sum *s)
{
    rm_fraction n, f = { 1, 1 };
    if (!math_is_rational(s, &n))
        return math_make_atom(x->arena, "((", s, ")!)", NULL, "", s);
    if (n.q != 1 || n.p < 0 || n.p > 20)
        return false;
    for (int64_t i = 2; i <= n.p; i++)
        f.p *= i;
    return math_sum_of(x->arena, f, 1, NULL, s);
}

/* A primary with its exponents and factorials. */
static bool read_factor(reader *x, math_sum *out)
{
    if (!read_primary(x, out))
        return false;
    for (;;) {
        if (take_sign(x, '!')) {
            if (!factorial(x, out))
                return false;
        } else if (take_sign(x, '^')) {
            math_sum exponent;
            bool minus = take_sign(x, '-');
            bool ok = math_is_sign(peek(x), '{') ? read_argument(x, &exponent)
                                                 : read_primary(x, &exponent);
            if (!ok || (minus && !math_scale(x->arena, &exponent, '*', (rm_fraction){ -1, 1 },
                                             &exponent))
                || math_is_sign(peek(x), '^') || !math_power(x->arena, out, &exponent, out))
                return false;
        } else {
            return true;
        }
    }
}

static bool starts_factor(const math_token *t)
{
    return t->kind == MATH_LETTER || t->kind == MATH_COMMAND
           || (t->kind == MATH_SIGN && t->sign && strchr("([{", t->sign));
}

static bool read_product(reader *x, math_sum *out)
{
    bool after_letters = false; /* behind a division by letters: what comes next? */
    int sign = 1;
    while (math_is_sign(peek(x), '-') || math_is_sign(peek(x), '+'))
        sign = math_is_sign(&x->t[x->at++], '-') ? -sign : sign;
    if (!read_factor(x, out) || (sign < 0 && !math_scale(x->arena, out, '*', (rm_fraction){ -1, 1 },
                                                         out)))
        return false;
    for (;;) {
        char op = take_sign(x, '*') ? '*' : take_sign(x, '/') ? '/' : ' ';
        bool beside = op == ' ';
        if (beside && (after_letters || !(starts_factor(peek(x)) || x->skip)))
            return !beside || !after_letters || !starts_factor(peek(x));
        sign = 1;
        while (!beside && (math_is_sign(peek(x), '-') || math_is_sign(peek(x), '+')))
            sign = math_is_sign(&x->t[x->at++], '-') ? -sign : sign;
        after_letters = op == '/' && peek(x)->kind != MATH_NUMBER;
        math_sum right;
        if (!read_factor(x, &right) || (op == '/' && !math_invert(x->arena, &right, &right))
            || (sign < 0 && !math_scale(x->arena, &right, '*', (rm_fraction){ -1, 1 }, &right))
            || !math_multiply(x->arena, out, &right, out))
            return false;
    }
}

static bool read_sum(reader *x, math_sum *out)
{
    if (x->depth >= MATH_MAX_DEPTH)
        return false;
    x->depth++;
    bool ok = read_product(x, out);
    while (ok && (math_is_sign(peek(x), '+') || math_is_sign(peek(x), '-'))) {
        int sign = math_is_sign(&x->t[x->at++], '-') ? -1 : 1;
        math_sum right;
        ok = read_product(x, &right) && math_add(x->arena, out, &right, sign, out);
    }
    x->depth--;
    return ok;
}

bool math_parse(math_arena *arena, const math_token *t, int from, int to, int depth, math_sum *out)
{
    reader x = { .arena = arena, .t = t, .at = from, .to = to, .depth = depth };
    return from < to && read_sum(&x, out) && x.at == to && x.skip == 0;
}
