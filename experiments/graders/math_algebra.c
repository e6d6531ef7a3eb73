/* math_algebra.c - the normal form of an expression: a sum of terms
 *
 *     p/q * sqrt(r) * a_1^k_1 * ... * a_m^k_m        r square-free, k_i whole numbers, not 0
 *
 * over atoms a_i: symbols, pi, and whatever is not taken apart (sin(x), sqrt(x+1), 2^(n), (x+1) in a
 * denominator). Two expressions with one normal form are equal wherever both are defined; the
 * converse does not hold: sin(x)^2 + cos(x)^2 is not found to be 1. The rules are those of a
 * commutative ring with division by terms, and
 *
 *     sqrt(p/q) = sqrt(p q)/q                        squares taken out of the root
 *     1/(a + b) = (a - b)/(a^2 - b^2)                for two numeric terms
 *     sqrt(c P) = sqrt(c) sqrt(P)                    c > 0 the rational content of P
 *     sqrt(-c) = i sqrt(c)
 *
 * Sums are multiplied out, so a factored polynomial equals the expanded one. Whatever leaves 63 bits,
 * MAX_TERMS or MAX_EXPONENT is no expression here, and is compared as text.
 *
 * Reading: juxtaposition multiplies; "1\frac{4}{5}" and "1 4/5" are mixed numbers; "52_8" is a numeral
 * of another base and an atom; "\frac43" takes one digit each; a division by letters set side by
 * side ("a/bc") is ambiguous and refused. The argument of a function without brackets ends at the
 * next sign or function. */
#include "experiments/graders/math.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TERMS = 128, MAX_FACTORS = 16, MAX_EXPONENT = 64 };

/* ---- terms ---------------------------------------------------------------------------- */

static int compare_atoms(const math_factor *a, const math_factor *b)
{
    return strcmp(a->atom, b->atom);
}

static int degree(const math_term *t)
{
    int d = 0;
    for (int i = 0; i < t->n_factors; i++)
        d += t->factors[i].exponent;
    return d;
}

/* Higher degrees first, then by atoms, plain numbers last; 0: alike, the coefficient aside. */
static int compare_terms(const math_term *a, const math_term *b)
{
    int da = degree(a), db = degree(b);
    if (da != db)
        return da > db ? -1 : 1;
    for (int i = 0; i < a->n_factors && i < b->n_factors; i++) {
        int c = compare_atoms(&a->factors[i], &b->factors[i]);
        if (!c)
            c = b->factors[i].exponent - a->factors[i].exponent;
        if (c)
            return c;
    }
    if (a->n_factors != b->n_factors)
        return a->n_factors > b->n_factors ? -1 : 1;
    return a->radicand < b->radicand ? 1 : a->radicand > b->radicand ? -1 : 0;
}

/* Takes the square part out of r > 0: r = square^2 * rest. Trial division to 10^6; a larger r whose
 * factors it cannot find is refused. */
static bool take_squares(int64_t r, int64_t *square, int64_t *rest)
{
    if (r <= 0 || r > INT64_C(1000000000000))
        return false;
    *square = *rest = 1;
    for (int64_t d = 2; d * d <= r; d++)
        while (r % d == 0) {
            r /= d;
            if (r % d == 0) {
                r /= d;
                *square *= d;
            } else {
                *rest *= d;
            }
        }
    *rest *= r;
    return true;
}

static bool multiply_terms(math_arena *arena, const math_term *a, const math_term *b, math_term *out)
{
    int64_t g = a->radicand, h = b->radicand;
    while (h) {
        int64_t t = g % h;
        g = h;
        h = t;
    }
    math_term t = { .factors = math_alloc(arena, (size_t)(a->n_factors + b->n_factors)
                                                     * sizeof *t.factors) };
    if (!t.factors || __builtin_mul_overflow(a->radicand / g, b->radicand / g, &t.radicand)
        || !rm_fraction_apply('*', a->coefficient, b->coefficient, &t.coefficient)
        || !rm_fraction_apply('*', t.coefficient, (rm_fraction){ g, 1 }, &t.coefficient))
        return false;
    for (int i = 0, k = 0; i < a->n_factors || k < b->n_factors;) {
        int c = i == a->n_factors ? 1 : k == b->n_factors ? -1
                                      : compare_atoms(&a->factors[i], &b->factors[k]);
        math_factor f = c <= 0 ? a->factors[i++] : b->factors[k++];
        if (c == 0)
            f.exponent += b->factors[k++].exponent;
        if (f.exponent > MAX_EXPONENT || f.exponent < -MAX_EXPONENT)
            return false;
        if (f.exponent)
            t.factors[t.n_factors++] = f;
    }
    *out = t;
    return t.n_factors <= MAX_FACTORS;
}

/* ---- sums ----------------------------------------------------------------------------- */

static bool sum_new(math_arena *arena, int n, math_sum *out)
{
    *out = (math_sum){ 0, math_alloc(arena, (size_t)(n ? n : 1) * sizeof *out->terms) };
    return out->terms != NULL;
}

static bool sum_of(math_arena *arena, rm_fraction coefficient, int64_t radicand, const char *atom,
                   math_sum *out)
{
    if (!sum_new(arena, 1, out))
        return false;
    math_term *t = out->terms;
    *t = (math_term){ coefficient, radicand, atom != NULL, NULL };
    if (atom) {
        if (!(t->factors = math_alloc(arena, sizeof *t->factors)))
            return false;
        t->factors[0] = (math_factor){ atom, 1 };
    }
    out->n = coefficient.p != 0;
    return true;
}

static bool number(math_arena *arena, int64_t p, math_sum *out)
{
    return sum_of(arena, (rm_fraction){ p, 1 }, 1, NULL, out);
}

/* Adds a term in place; `s` has room. */
static bool add_term(math_sum *s, const math_term *t)
{
    int i = 0, c = 1;
    while (i < s->n && (c = compare_terms(&s->terms[i], t)) < 0)
        i++;
    if (i < s->n && c == 0) {
        rm_fraction *p = &s->terms[i].coefficient;
        if (!rm_fraction_apply('+', *p, t->coefficient, p))
            return false;
        if (p->p == 0)
            memmove(&s->terms[i], &s->terms[i + 1], (size_t)(--s->n - i) * sizeof *s->terms);
        return true;
    }
    if (s->n >= MAX_TERMS)
        return false;
    memmove(&s->terms[i + 1], &s->terms[i], (size_t)(s->n++ - i) * sizeof *s->terms);
    s->terms[i] = *t;
    return true;
}

static bool add(math_arena *arena, const math_sum *a, const math_sum *b, int sign, math_sum *out)
{
    math_sum s;
    bool ok = sum_new(arena, a->n + b->n, &s);
    for (int i = 0; ok && i < a->n; i++)
        ok = add_term(&s, &a->terms[i]);
    for (int i = 0; ok && i < b->n; i++) {
        math_term t = b->terms[i];
        t.coefficient.p *= sign; /* fractions leave out INT64_MIN */
        ok = add_term(&s, &t);
    }
    *out = s;
    return ok;
}

bool math_subtract(math_arena *arena, const math_sum *a, const math_sum *b, math_sum *out)
{
    return add(arena, a, b, -1, out);
}

static bool multiply(math_arena *arena, const math_sum *a, const math_sum *b, math_sum *out)
{
    math_sum s;
    int most = a->n * b->n < MAX_TERMS ? a->n * b->n : MAX_TERMS;
    bool ok = sum_new(arena, most, &s);
    for (int i = 0; ok && i < a->n; i++)
        for (int k = 0; ok && k < b->n; k++) {
            math_term t;
            ok = multiply_terms(arena, &a->terms[i], &b->terms[k], &t) && add_term(&s, &t);
        }
    *out = s;
    return ok;
}

static bool is_number(const math_sum *s)
{
    for (int i = 0; i < s->n; i++)
        if (s->terms[i].n_factors)
            return false;
    return true;
}

/* A rational number, nothing else. */
static bool is_rational(const math_sum *s, rm_fraction *value)
{
    *value = s->n ? s->terms[0].coefficient : (rm_fraction){ 0, 1 };
    return s->n == 0 || (s->n == 1 && s->terms[0].n_factors == 0 && s->terms[0].radicand == 1);
}

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t t = a % b;
        a = b;
        b = t;
    }
    return a < 0 ? -a : a;
}

/* The positive rational c for which s/c has whole coefficients without a common divisor. */
static bool content(const math_sum *s, rm_fraction *c)
{
    int64_t p = 0, q = 1;
    for (int i = 0; i < s->n; i++) {
        rm_fraction f = s->terms[i].coefficient;
        p = gcd(p, f.p);
        if (__builtin_mul_overflow(q, f.q / gcd(q, f.q), &q))
            return false;
    }
    return s->n > 0 && rm_fraction_apply('/', (rm_fraction){ p, 1 }, (rm_fraction){ q, 1 }, c);
}

static bool scale(math_arena *arena, const math_sum *s, char op, rm_fraction f, math_sum *out)
{
    math_sum r;
    if (!sum_new(arena, s->n, &r))
        return false;
    for (int i = 0; i < s->n; i++, r.n++) {
        r.terms[i] = s->terms[i];
        if (!rm_fraction_apply(op, s->terms[i].coefficient, f, &r.terms[i].coefficient))
            return false;
    }
    *out = r;
    return true;
}

bool math_make_primitive(math_arena *arena, math_sum *s)
{
    rm_fraction c;
    if (!content(s, &c))
        return false;
    if (s->terms[0].coefficient.p < 0)
        c.p = -c.p;
    return scale(arena, s, '/', c, s);
}

/* ---- printing ------------------------------------------------------------------------- */

static void print_term(const math_term *t, bool first, rm_text *out)
{
    rm_fraction c = t->coefficient;
    bool bare = t->radicand == 1 && t->n_factors == 0, started = false;
    if (c.p < 0 || !first)
        rm_text_puts(out, c.p < 0 ? "-" : "+");
    c.p = c.p < 0 ? -c.p : c.p;
    if (bare || c.p != 1 || c.q != 1) {
        rm_fraction_text(c, out);
        started = true;
    }
    if (t->radicand != 1) {
        rm_text_printf(out, "%ssqrt(%" PRId64 ")", started ? "*" : "", t->radicand);
        started = true;
    }
    for (int i = 0; i < t->n_factors; i++) {
        rm_text_printf(out, "%s%s", started ? "*" : "", t->factors[i].atom);
        if (t->factors[i].exponent != 1)
            rm_text_printf(out, "^%d", t->factors[i].exponent);
        started = true;
    }
}

void math_print(const math_sum *s, rm_text *out)
{
    if (s->n == 0)
        rm_text_puts(out, "0");
    for (int i = 0; i < s->n; i++)
        print_term(&s->terms[i], i == 0, out);
}

/* The text of an atom: before + sum + after, in the arena. */
static bool make_atom(math_arena *arena, const char *before, const math_sum *s, const char *middle,
                      const math_sum *second, const char *after, math_sum *out)
{
    rm_text text = { 0 };
    rm_text_puts(&text, before);
    math_print(s, &text);
    rm_text_puts(&text, middle);
    if (second)
        math_print(second, &text);
    rm_text_puts(&text, after);
    char *atom = text.failed ? NULL : math_alloc(arena, text.length + 1);
    if (atom)
        memcpy(atom, text.data, text.length + 1);
    rm_text_free(&text);
    return atom && sum_of(arena, (rm_fraction){ 1, 1 }, 1, atom, out);
}

/* ---- powers and quotients ------------------------------------------------------------- */

static bool invert_term(math_arena *arena, const math_term *t, math_sum *out)
{
    math_sum s;
    rm_fraction one = { 1, 1 }, r = { t->radicand, 1 };
    if (!sum_of(arena, one, t->radicand, NULL, &s)
        || !rm_fraction_apply('/', one, t->coefficient, &s.terms[0].coefficient)
        || !rm_fraction_apply('/', s.terms[0].coefficient, r, &s.terms[0].coefficient)
        || !(s.terms[0].factors = math_alloc(arena, (size_t)(t->n_factors + 1)
                                                        * sizeof(math_factor))))
        return false;
    s.terms[0].n_factors = t->n_factors;
    for (int i = 0; i < t->n_factors; i++)
        s.terms[0].factors[i] = (math_factor){ t->factors[i].atom, -t->factors[i].exponent };
    *out = s;
    return true;
}

static bool invert(math_arena *arena, const math_sum *s, math_sum *out)
{
    if (s->n == 0)
        return false;
    if (s->n == 1)
        return invert_term(arena, &s->terms[0], out);
    if (s->n == 2 && is_number(s)) {
        math_sum conjugate = { 0 }, product, inverse;
        if (!scale(arena, s, '*', (rm_fraction){ 1, 1 }, &conjugate))
            return false;
        conjugate.terms[1].coefficient.p *= -1;
        return multiply(arena, s, &conjugate, &product) && product.n == 1
               && invert_term(arena, &product.terms[0], &inverse)
               && multiply(arena, &conjugate, &inverse, out);
    }
    rm_fraction c;
    math_sum primitive = *s;
    if (!content(s, &c) || !math_make_primitive(arena, &primitive))
        return false;
    if (s->terms[0].coefficient.p < 0)
        c.p = -c.p;
    math_sum atom;
    if (!make_atom(arena, "(", &primitive, ")", NULL, "", &atom))
        return false;
    atom.terms[0].factors[0].exponent = -1;
    return scale(arena, &atom, '/', c, out);
}

static bool root_of(math_arena *arena, const math_sum *s, math_sum *out)
{
    rm_fraction c;
    if (s->n == 0) {
        *out = *s;
        return true;
    }
    math_sum rest, radical, product;
    int64_t pq, square, r;
    if (!content(s, &c))
        return false;
    bool negative = s->n == 1 && s->terms[0].coefficient.p < 0;
    rm_fraction by = { negative ? -c.p : c.p, c.q };
    if (!scale(arena, s, '/', by, &rest) || __builtin_mul_overflow(c.p, c.q, &pq)
        || !take_squares(pq, &square, &r)
        || !sum_of(arena, (rm_fraction){ square, 1 }, r, NULL, &radical)
        || !rm_fraction_apply('/', (rm_fraction){ square, 1 }, (rm_fraction){ c.q, 1 },
                              &radical.terms[0].coefficient))
        return false;
    rm_fraction one;
    if (is_rational(&rest, &one)) { /* what is left is 1 */
        math_sum i;
        return negative ? sum_of(arena, (rm_fraction){ 1, 1 }, 1, "i", &i)
                              && multiply(arena, &radical, &i, out)
                        : (*out = radical, true);
    }
    if (negative && !scale(arena, &rest, '*', (rm_fraction){ -1, 1 }, &rest))
        return false;
    return make_atom(arena, "sqrt(", &rest, ")", NULL, "", &product)
           && multiply(arena, &radical, &product, out);
}

/* The whole k-th root of a rational number, if it has one. */
static bool exact_root(rm_fraction f, int64_t k, rm_fraction *out)
{
    int64_t parts[2] = { f.p, f.q }, roots[2] = { 0, 0 };
    for (int i = 0; i < 2; i++) {
        bool found = false;
        for (int64_t r = 0; r <= 100000 && !found; r++) {
            int64_t power = 1;
            bool over = false;
            for (int64_t e = 0; e < k && !over; e++)
                over = __builtin_mul_overflow(power, r, &power) || power > parts[i];
            if (!over && power == parts[i]) {
                roots[i] = r;
                found = true;
            }
            if (over)
                break;
        }
        if (!found)
            return false;
    }
    *out = (rm_fraction){ roots[0], roots[1] };
    return true;
}

static bool root(math_arena *arena, const math_sum *s, int64_t k, math_sum *out)
{
    rm_fraction f;
    if (k == 1 || s->n == 0) {
        *out = *s;
        return k > 0;
    }
    if (k == 2)
        return root_of(arena, s, out);
    if (k > 2 && k <= MAX_EXPONENT && is_rational(s, &f) && f.p > 0 && exact_root(f, k, &f))
        return sum_of(arena, f, 1, NULL, out);
    math_sum index;
    return k > 2 && number(arena, k, &index)
           && make_atom(arena, "\\sqrt[", &index, "]{", s, "}", out);
}

static bool power(math_arena *arena, const math_sum *base, const math_sum *exponent, math_sum *out)
{
    rm_fraction e;
    if (!is_rational(exponent, &e)) {
        if (base->n == 0)
            return false;
        return make_atom(arena, "((", base, ")^{", exponent, "})", out);
    }
    if (e.p == 0)
        return base->n > 0 && number(arena, 1, out);
    math_sum b = *base, result;
    if (e.p < 0 && !invert(arena, base, &b))
        return false;
    int64_t n = e.p < 0 ? -e.p : e.p;
    if (n > MAX_EXPONENT || (e.q > 1 && !root(arena, &b, e.q, &b)))
        return false;
    if (!number(arena, 1, &result))
        return false;
    for (int64_t i = 0; i < n; i++)
        if (!multiply(arena, &result, &b, &result))
            return false;
    *out = result;
    return true;
}

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
    return sum_of(x->arena, f, 1, NULL, out);
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
    return number(x->arena, digit - '0', out);
}

static bool read_fraction(reader *x, math_sum *out)
{
    math_sum p, q, inverse;
    return read_argument(x, &p) && read_argument(x, &q) && invert(x->arena, &q, &inverse)
           && multiply(x->arena, &p, &inverse, out);
}

/* \sqrt[3]{x}, \sqrt2; where it is written out (`surd`), all of a number is inside: sqrt 13. */
static bool read_root(reader *x, bool surd, math_sum *out)
{
    math_sum index, inside;
    rm_fraction k = { 2, 1 };
    if (take_sign(x, '[') && (!read_bracketed(x, ']', &index) || !is_rational(&index, &k)
                              || k.q != 1))
        return false;
    bool bracket = take_sign(x, '(');
    return (bracket ? read_bracketed(x, ')', &inside)
            : surd  ? read_primary(x, &inside)
                    : read_argument(x, &inside))
           && root(x->arena, &inside, k.p, out);
}

static bool read_binomial(reader *x, math_sum *out)
{
    math_sum n, k;
    rm_fraction fn, fk;
    if (!read_argument(x, &n) || !read_argument(x, &k))
        return false;
    if (!is_rational(&n, &fn) || !is_rational(&k, &fk))
        return make_atom(x->arena, "\\binom{", &n, "}{", &k, "}", out);
    if (fn.q != 1 || fk.q != 1 || fk.p < 0 || fn.p < fk.p || fn.p > 1000)
        return false;
    rm_fraction c = { 1, 1 };
    for (int64_t i = 1; i <= fk.p; i++)
        if (!rm_fraction_apply('*', c, (rm_fraction){ fn.p - fk.p + i, 1 }, &c)
            || !rm_fraction_apply('/', c, (rm_fraction){ i, 1 }, &c))
            return false;
    return sum_of(x->arena, c, 1, NULL, out);
}

static const char *const functions[] = {
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
    "log", "ln", "exp", "abs",
};
static const char *const symbols[] = {
    "pi", "theta", "alpha", "beta", "gamma", "delta", "lambda", "mu", "omega", "phi", "rho", "sigma",
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
        if (!read_primary(x, &right) || !multiply(x->arena, out, &right, out))
            return false;
    }
}

static bool read_absolute(reader *x, const math_sum *inside, math_sum *out)
{
    if (inside->n == 0 || (inside->n == 1 && is_number(inside))) {
        *out = *inside;
        if (out->n && out->terms[0].coefficient.p < 0)
            return scale(x->arena, inside, '*', (rm_fraction){ -1, 1 }, out);
        return true;
    }
    math_sum s = *inside; /* |-P| = |P| */
    if (s.terms[0].coefficient.p < 0
        && !scale(x->arena, inside, '*', (rm_fraction){ -1, 1 }, &s))
        return false;
    return make_atom(x->arena, "abs(", &s, ")", NULL, "", out);
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
        if (!read_argument(x, &exponent) || !is_rational(&exponent, &e) || e.p < 0)
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
    return make_atom(x->arena, head, &argument, ")", NULL, "", out)
           && (!has_exponent || power(x->arena, out, &exponent, out));
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
    return atom && sum_of(x->arena, (rm_fraction){ 1, 1 }, 1, atom, out);
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
               && sum_of(x->arena, sum, 1, NULL, out);
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
        return atom && sum_of(x->arena, (rm_fraction){ 1, 1 }, 1, atom, out);
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
    if (!is_rational(s, &n))
        return make_atom(x->arena, "((", s, ")!)", NULL, "", s);
    if (n.q != 1 || n.p < 0 || n.p > 20)
        return false;
    for (int64_t i = 2; i <= n.p; i++)
        f.p *= i;
    return sum_of(x->arena, f, 1, NULL, s);
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
            if (!ok || (minus && !scale(x->arena, &exponent, '*', (rm_fraction){ -1, 1 }, &exponent))
                || math_is_sign(peek(x), '^') || !power(x->arena, out, &exponent, out))
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
    if (!read_factor(x, out) || (sign < 0 && !scale(x->arena, out, '*', (rm_fraction){ -1, 1 }, out)))
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
        if (!read_factor(x, &right) || (op == '/' && !invert(x->arena, &right, &right))
            || (sign < 0 && !scale(x->arena, &right, '*', (rm_fraction){ -1, 1 }, &right))
            || !multiply(x->arena, out, &right, out))
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
        ok = read_product(x, &right) && add(x->arena, out, &right, sign, out);
    }
    x->depth--;
    return ok;
}

bool math_parse(math_arena *arena, const math_token *t, int from, int to, int depth, math_sum *out)
{
    reader x = { .arena = arena, .t = t, .at = from, .to = to, .depth = depth };
    return from < to && read_sum(&x, out) && x.at == to && x.skip == 0;
}
