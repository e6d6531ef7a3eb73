/* math_algebra.c - the normal form of an expression: a sum of terms
 *
 *     p/q * sqrt(r) * a_1^k_1 * ... * a_m^k_m        r square-free, k_i whole numbers, not 0
 *
 * over atoms a_i: symbols, pi, and whatever is not taken apart (sin(x), sqrt(x+1), 2^(n), (x+1) in
 * a denominator). Two expressions with one normal form are equal wherever both are defined; the
 * converse does not hold: sin(x)^2 + cos(x)^2 is not found to be 1. The rules are those of a
 * commutative ring with division by terms, and
 *
 *     sqrt(p/q) = sqrt(p q)/q                        squares taken out of the root
 *     1/(a + b) = (a - b)/(a^2 - b^2)                for two numeric terms
 *     sqrt(c P) = sqrt(c) sqrt(P)                    c > 0 the rational content of P
 *     sqrt(-c) = i sqrt(c)
 *
 * Sums are multiplied out, so a factored polynomial equals the expanded one. Whatever leaves 63
 * bits, MAX_TERMS or MAX_EXPONENT is no expression here, and is compared as text. */
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

static bool multiply_terms(math_arena *arena, const math_term *a, const math_term *b,
                           math_term *out)
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

bool math_sum_of(math_arena *arena, rm_fraction coefficient, int64_t radicand, const char *atom,
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

bool math_whole(math_arena *arena, int64_t p, math_sum *out)
{
    return math_sum_of(arena, (rm_fraction){ p, 1 }, 1, NULL, out);
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

bool math_add(math_arena *arena, const math_sum *a, const math_sum *b, int sign, math_sum *out)
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
    return math_add(arena, a, b, -1, out);
}

bool math_multiply(math_arena *arena, const math_sum *a, const math_sum *b, math_sum *out)
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

bool math_is_number(const math_sum *s)
{
    for (int i = 0; i < s->n; i++)
        if (s->terms[i].n_factors)
            return false;
    return true;
}

/* A rational number, nothing else. */
bool math_is_rational(const math_sum *s, rm_fraction *value)
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

bool math_scale(math_arena *arena, const math_sum *s, char op, rm_fraction f, math_sum *out)
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
    return math_scale(arena, s, '/', c, s);
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
bool math_make_atom(math_arena *arena, const char *before, const math_sum *s, const char *middle,
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
    return atom && math_sum_of(arena, (rm_fraction){ 1, 1 }, 1, atom, out);
}

/* ---- powers and quotients ------------------------------------------------------------- */

static bool invert_term(math_arena *arena, const math_term *t, math_sum *out)
{
    math_sum s;
    rm_fraction one = { 1, 1 }, r = { t->radicand, 1 };
    if (!math_sum_of(arena, one, t->radicand, NULL, &s)
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

bool math_invert(math_arena *arena, const math_sum *s, math_sum *out)
{
    if (s->n == 0)
        return false;
    if (s->n == 1)
        return invert_term(arena, &s->terms[0], out);
    if (s->n == 2 && math_is_number(s)) {
        math_sum conjugate = { 0 }, product, inverse;
        if (!math_scale(arena, s, '*', (rm_fraction){ 1, 1 }, &conjugate))
            return false;
        conjugate.terms[1].coefficient.p *= -1;
        return math_multiply(arena, s, &conjugate, &product) && product.n == 1
               && invert_term(arena, &product.terms[0], &inverse)
               && math_multiply(arena, &conjugate, &inverse, out);
    }
    rm_fraction c;
    math_sum primitive = *s;
    if (!content(s, &c) || !math_make_primitive(arena, &primitive))
        return false;
    if (s->terms[0].coefficient.p < 0)
        c.p = -c.p;
    math_sum atom;
    if (!math_make_atom(arena, "(", &primitive, ")", NULL, "", &atom))
        return false;
    atom.terms[0].factors[0].exponent = -1;
    return math_scale(arena, &atom, '/', c, out);
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
    if (!math_scale(arena, s, '/', by, &rest) || __builtin_mul_overflow(c.p, c.q, &pq)
        || !take_squares(pq, &square, &r)
        || !math_sum_of(arena, (rm_fraction){ square, 1 }, r, NULL, &radical)
        || !rm_fraction_apply('/', (rm_fraction){ square, 1 }, (rm_fraction){ c.q, 1 },
                              &radical.terms[0].coefficient))
        return false;
    rm_fraction one;
    if (math_is_rational(&rest, &one)) { /* what is left is 1 */
        math_sum i;
        return negative ? math_sum_of(arena, (rm_fraction){ 1, 1 }, 1, "i", &i)
                              && math_multiply(arena, &radical, &i, out)
                        : (*out = radical, true);
    }
    if (negative && !math_scale(arena, &rest, '*', (rm_fraction){ -1, 1 }, &rest))
        return false;
    return math_make_atom(arena, "sqrt(", &rest, ")", NULL, "", &product)
           && math_multiply(arena, &radical, &product, out);
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

bool math_root(math_arena *arena, const math_sum *s, int64_t k, math_sum *out)
{
    rm_fraction f;
    if (k == 1 || s->n == 0) {
        *out = *s;
        return k > 0;
    }
    if (k == 2)
        return root_of(arena, s, out);
    if (k > 2 && k <= MAX_EXPONENT && math_is_rational(s, &f) && f.p > 0 && exact_root(f, k, &f))
        return math_sum_of(arena, f, 1, NULL, out);
    math_sum index;
    return k > 2 && math_whole(arena, k, &index)
           && math_make_atom(arena, "\\sqrt[", &index, "]{", s, "}", out);
}

bool math_power(math_arena *arena, const math_sum *base, const math_sum *exponent, math_sum *out)
{
    rm_fraction e;
    if (!math_is_rational(exponent, &e)) {
        if (base->n == 0)
            return false;
        return math_make_atom(arena, "((", base, ")^{", exponent, "})", out);
    }
    if (e.p == 0)
        return base->n > 0 && math_whole(arena, 1, out);
    math_sum b = *base, result;
    if (e.p < 0 && !math_invert(arena, base, &b))
        return false;
    int64_t n = e.p < 0 ? -e.p : e.p;
    if (n > MAX_EXPONENT || (e.q > 1 && !math_root(arena, &b, e.q, &b)))
        return false;
    if (!math_whole(arena, 1, &result))
        return false;
    for (int64_t i = 0; i < n; i++)
        if (!math_multiply(arena, &result, &b, &result))
            return false;
    *out = result;
    return true;
}
