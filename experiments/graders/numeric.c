/* numeric.c - numbers as people and models write them, as exact fractions.
 *
 *     number   = [sign] [currency] digits [separators] ["." digits] [power | "/" digits] ["%"]
 *              | [sign] digits " " digits "/" digits         1 1/2, if the fraction is below 1
 *              | [sign] [digits] "\frac{" digits "}{" digits "}"
 *     power    = ("e" | "E") [sign] digits                   1e3, 2.5E-2
 *              | "^" exponent                                10^3, 2^{10}, 10**3
 *              | times "10" "^" exponent                     3 \times 10^{4}, 3*10^4, 3 x 10^4
 *
 * Canonical form: the reduced fraction p/q; written as an integer if q = 1, as a finite decimal
 * if q has no prime factors but 2 and 5, else as "p/q". So 18, 18.00 and $18 are one answer, and
 * so are 0.75 and 3/4. Thousands are separated by a comma, by LaTeX's "{,}" and "\,", by a thin,
 * narrow or unbreakable space: groups of three digits, so "1,00" is 1 and something else. A plain
 * space separates them only in the number that a text begins with: "1 000" is a thousand, "3 apples
 * and 12 345" is not asked. A percent sign is a unit like any other and is dropped: data sets write
 * their references both ways. Numbers too long for 63 bits are no answer. */
#include "experiments/graders/grader.h"

#include <math.h>
#include <inttypes.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}


/* Reduces p/q in 128 bits and stores it if it fits. INT64_MIN is left out, so that negation is
 * always possible. */
static bool fraction_make(__int128 p, __int128 q, rm_fraction *out)
{
    if (q == 0)
        return false;
    if (q < 0) {
        p = -p;
        q = -q;
    }
    __int128 a = p < 0 ? -p : p, b = q;
    while (b) {
        __int128 t = a % b;
        a = b;
        b = t;
    }
    p /= a;
    q /= a;
    if (p > INT64_MAX || p < -INT64_MAX || q > INT64_MAX)
        return false;
    *out = (rm_fraction){ (int64_t)p, (int64_t)q };
    return true;
}

bool rm_fraction_apply(char op, rm_fraction a, rm_fraction b, rm_fraction *c)
{
    /* Products of two 63-bit numbers stay below 2^126, and the sum of two below 2^127. */
    __int128 ap = a.p, aq = a.q, bp = b.p, bq = b.q;
    switch (op) {
    case '+':
        return fraction_make(ap * bq + bp * aq, aq * bq, c);
    case '-':
        return fraction_make(ap * bq - bp * aq, aq * bq, c);
    case '*':
        return fraction_make(ap * bp, aq * bq, c);
    case '/':
        return bp != 0 && fraction_make(ap * bq, aq * bp, c);
    default:
        return false;
    }
}

void rm_fraction_text(rm_fraction f, rm_text *out)
{
    int64_t q = f.q, scale = 1;
    int n_decimals = 0;
    while (q % 10 == 0)
        q /= 10, n_decimals++;
    while (q % 2 == 0)
        q /= 2, n_decimals++;
    while (q % 5 == 0)
        q /= 5, n_decimals++;
    if (q != 1 || n_decimals > 17) { /* 10^18 would leave 63 bits in the next step */
        rm_text_printf(out, "%" PRId64 "/%" PRId64, f.p, f.q);
        return;
    }
    for (int i = 0; i < n_decimals; i++)
        scale *= 10;
    int64_t p = f.p < 0 ? -f.p : f.p;
    int64_t whole = p / f.q;
    int64_t rest = (int64_t)((__int128)(p % f.q) * scale / f.q);
    rm_text_printf(out, "%s%" PRId64, f.p < 0 ? "-" : "", whole);
    if (n_decimals)
        rm_text_printf(out, ".%0*" PRId64, n_decimals, rest);
}

/* ---- finding -------------------------------------------------------------------------- */

/* Length of a separator of thousands with its three digits behind it, else 0. The last one listed, a
 * plain space, only if `spaces`. */
static size_t separator_at(const char *s, size_t n, size_t i, bool spaces)
{
    static const char *const separators[] = { ",", "{,}", "\\,", "\xc2\xa0", "\xe2\x80\x89",
                                              "\xe2\x80\xaf", " " };
    for (size_t k = 0; k < sizeof separators / sizeof *separators - !spaces; k++) {
        size_t length = strlen(separators[k]), rest = n - i;
        const char *digits = s + i + length;
        if (rest >= length + 3 && !memcmp(s + i, separators[k], length) && is_digit(digits[0])
            && is_digit(digits[1]) && is_digit(digits[2])
            && (rest == length + 3 || !is_digit(digits[3])))
            return length;
    }
    return 0;
}

/* Digits with separators in groups of three: "1,234,567". Moves *at; false if too long. */
static bool read_digits(const char *s, size_t n, size_t *at, bool spaces, int64_t *value)
{
    size_t i = *at, group = 0;
    bool commas = false, fits = true;
    int64_t v = 0;
    for (; i < n; i++) {
        size_t separator = is_digit(s[i]) ? 0 : separator_at(s, n, i, spaces);
        if (is_digit(s[i])) {
            fits = fits && !__builtin_mul_overflow(v, INT64_C(10), &v)
                   && !__builtin_add_overflow(v, (int64_t)(s[i] - '0'), &v);
            group++;
        } else if (separator && group > 0 && (commas ? group == 3 : group <= 3)) {
            commas = true;
            group = 0;
            i += separator - 1;
        } else {
            break;
        }
    }
    *at = i;
    *value = v;
    return fits;
}

/* The fractional part after "."; value = value + digits / scale. */
static bool read_decimals(const char *s, size_t n, size_t *at, int64_t *value, int64_t *scale)
{
    size_t i = *at, end;
    while (i < n && is_digit(s[i]))
        i++;
    end = i;
    while (i > *at && s[i - 1] == '0')
        i--;
    bool fits = true;
    for (size_t k = *at; k < i; k++)
        fits = fits && !__builtin_mul_overflow(*value, INT64_C(10), value)
               && !__builtin_mul_overflow(*scale, INT64_C(10), scale)
               && !__builtin_add_overflow(*value, (int64_t)(s[k] - '0'), value);
    *at = end;
    return fits;
}

/* A minus in front of s[i] (perhaps with a currency sign between): is it a sign, or does it
 * subtract? It subtracts right after a letter, a digit or a closing bracket. A minus with a blank
 * behind it is no sign: it is a dash, or a list. */
static bool signed_at(const char *s, size_t i, size_t *start)
{
    *start = i;
    size_t k = i;
    if (k > 0 && s[k - 1] == '$')
        k--;
    if (k > 0 && s[k - 1] == '\\') /* LaTeX writes \$ */
        k--;
    size_t minus = 0;
    if (k > 0 && s[k - 1] == '-')
        minus = 1;
    else if (k > 2 && !memcmp(s + k - 3, "\xE2\x88\x92", 3)) /* U+2212 */
        minus = 3;
    if (!minus)
        return false;
    size_t before = k - minus;
    if (before > 0 && (is_alnum(s[before - 1]) || s[before - 1] == ')' || s[before - 1] == '%'))
        return false;
    *start = k - minus;
    return true;
}

/* \frac{3}{4} and \dfrac, \tfrac; s[i] is the backslash. */
static bool read_latex_fraction(const char *s, size_t n, size_t *at, rm_fraction *f)
{
    static const char *const names[] = { "\\frac{", "\\dfrac{", "\\tfrac{" };
    for (size_t k = 0; k < 3; k++) {
        size_t length = strlen(names[k]), i = *at + length;
        int64_t p, q;
        if (n - *at < length || memcmp(s + *at, names[k], length) || i >= n || !is_digit(s[i]))
            continue;
        if (!read_digits(s, n, &i, false, &p) || n - i < 3 || s[i] != '}' || s[i + 1] != '{'
            || !is_digit(s[i + 2]))
            continue;
        i += 2;
        if (!read_digits(s, n, &i, false, &q) || i >= n || s[i] != '}' || q == 0)
            continue;
        *at = i + 1;
        return fraction_make(p, q, f);
    }
    return false;
}

/* ---- powers --------------------------------------------------------------------------- */

/* f *= base^exponent; false if it does not fit. */
static bool raise(rm_fraction *f, rm_fraction base, int exponent)
{
    char op = exponent < 0 ? '/' : '*';
    for (int i = exponent < 0 ? -exponent : exponent; i > 0; i--)
        if (!rm_fraction_apply(op, *f, base, f))
            return false;
    return true;
}

/* "3", "-3" or "{-3}" at *at: a whole number of at most two digits. */
static bool read_exponent(const char *s, size_t n, size_t *at, bool braces, int *exponent)
{
    size_t i = *at;
    bool braced = braces && i < n && s[i] == '{';
    i += braced;
    bool minus = i < n && s[i] == '-';
    i += minus || (i < n && s[i] == '+');
    size_t first = i;
    int value = 0;
    for (; i < n && is_digit(s[i]) && i - first < 2; i++)
        value = value * 10 + (s[i] - '0');
    if (i == first || (i < n && is_digit(s[i])) || (braced && (i >= n || s[i] != '}')))
        return false;
    *at = i + braced;
    *exponent = minus ? -value : value;
    return true;
}

/* "^" or "**" and an exponent. */
static bool read_power(const char *s, size_t n, size_t *at, int *exponent)
{
    size_t i = *at;
    if (i < n && s[i] == '^')
        i++;
    else if (n - i >= 2 && s[i] == '*' && s[i + 1] == '*')
        i += 2;
    else
        return false;
    if (!read_exponent(s, n, &i, true, exponent))
        return false;
    *at = i;
    return true;
}

/* " \times 10^4" behind a number. */
static bool read_times_ten(const char *s, size_t n, size_t *at, int *exponent)
{
    static const char *const times[] = { "\\times", "\\cdot", "\xc3\x97", "*", "x" };
    size_t i = *at;
    while (i < n && s[i] == ' ')
        i++;
    for (size_t k = 0; k < sizeof times / sizeof *times; k++) {
        size_t length = strlen(times[k]), j = i + length;
        if (n - i < length || memcmp(s + i, times[k], length))
            continue;
        while (j < n && s[j] == ' ')
            j++;
        if (n - j < 2 || memcmp(s + j, "10", 2))
            return false;
        j += 2;
        if (!read_power(s, n, &j, exponent))
            return false;
        *at = j;
        return true;
    }
    return false;
}

/* What may follow the digits of a number; *f becomes its value. False: it does not fit. */
static bool read_scale(const char *s, size_t n, size_t *at, rm_fraction *f)
{
    const rm_fraction ten = { 10, 1 };
    rm_fraction base = *f;
    int exponent;
    size_t i = *at;
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        i++;
        if (!read_exponent(s, n, &i, false, &exponent) || (i < n && is_alnum(s[i])))
            return true; /* a letter that follows */
        *at = i;
        return raise(f, ten, exponent);
    }
    if (read_power(s, n, &i, &exponent)) {
        *at = i;
        *f = (rm_fraction){ 1, 1 };
        return raise(f, base, exponent);
    }
    if (!read_times_ten(s, n, &i, &exponent))
        return true;
    *at = i;
    return raise(f, ten, exponent);
}

/* " 1/2" or "\frac{1}{2}" behind a whole number: a fraction below 1 that is added to it. */
static void read_mixed(const char *s, size_t n, size_t *at, rm_fraction *f)
{
    size_t i = *at;
    rm_fraction part;
    int64_t p, q;
    if (i < n && s[i] == '\\') {
        if (!read_latex_fraction(s, n, &i, &part))
            return;
    } else {
        if (n - i < 4 || s[i] != ' ' || !is_digit(s[i + 1]))
            return;
        i++;
        if (!read_digits(s, n, &i, false, &p) || n - i < 2 || s[i] != '/' || !is_digit(s[i + 1]))
            return;
        i++;
        if (!read_digits(s, n, &i, false, &q) || !q || !fraction_make(p, q, &part))
            return;
    }
    rm_fraction sum;
    if (part.p < part.q && rm_fraction_apply('+', *f, part, &sum)) {
        *f = sum;
        *at = i;
    }
}

/* ---- one number ----------------------------------------------------------------------- */

/* Does only a sign or a currency stand before s[i]? */
static bool begins_text(const char *s, size_t i)
{
    while (i > 0 && strchr(" -$\\", s[i - 1]))
        i--;
    return i == 0;
}

bool rm_number_find(const char *s, size_t n, size_t *at, size_t *start, rm_fraction *f)
{
    for (size_t i = *at; i < n;) {
        size_t begin = i;
        bool starts = is_digit(s[i]) || (s[i] == '.' && i + 1 < n && is_digit(s[i + 1])
                                         && (i == 0 || !is_alnum(s[i - 1])));
        if (s[i] == '\\' && read_latex_fraction(s, n, &i, f)) {
            if (signed_at(s, begin, start))
                f->p = -f->p;
            *at = i;
            return true;
        }
        if (!starts) {
            i = begin + 1;
            continue;
        }
        int64_t value = 0, scale = 1, divisor = 1;
        bool fits = read_digits(s, n, &i, begins_text(s, i), &value);
        if (i + 1 < n && s[i] == '.' && is_digit(s[i + 1])) {
            i++;
            fits = read_decimals(s, n, &i, &value, &scale) && fits;
        }
        if (i + 1 < n && s[i] == '/' && is_digit(s[i + 1])) {
            size_t k = i + 1;
            if (read_digits(s, n, &k, false, &divisor) && divisor != 0)
                i = k;
            else
                divisor = 1;
        }
        if (!fits || !fraction_make(value, (__int128)scale * divisor, f))
            continue; /* too long to be compared exactly: not a number we can judge */
        if (divisor == 1 && !read_scale(s, n, &i, f))
            continue;
        if (f->q == 1 && scale == 1)
            read_mixed(s, n, &i, f);
        if (signed_at(s, begin, start))
            f->p = -f->p;
        *at = i;
        return true;
    }
    return false;
}

/* ---- the grader ----------------------------------------------------------------------- */

bool rm_numeric_canonical(const char *bytes, size_t n, rm_text *out)
{
    /* "5 + 3 = 8" states 8: what is left of the last = is the working. */
    for (size_t i = n; i > 0; i--)
        if (bytes[i - 1] == '=') {
            size_t at = 0, start;
            rm_fraction f;
            if (rm_number_find(bytes + i, n - i, &at, &start, &f)) {
                bytes += i;
                n -= i;
            }
            break;
        }
    size_t at = 0, start;
    rm_fraction f;
    if (!rm_number_find(bytes, n, &at, &start, &f))
        return false;
    rm_fraction_text(f, out);
    return true;
}

static bool parse_whole(const char *text, rm_fraction *f)
{
    size_t at = 0, start, n = strlen(text);
    return rm_number_find(text, n, &at, &start, f) && start == 0 && at == n;
}

bool rm_numeric_correct(const char *answer, const char *reference, double tolerance,
                        double relative_tolerance)
{
    rm_fraction a, r;
    if (!parse_whole(answer, &a) || !parse_whole(reference, &r))
        return false;
    if (a.p == r.p && a.q == r.q)
        return true;
    double x = (double)a.p / (double)a.q, y = (double)r.p / (double)r.q;
    double allowed = fmax(tolerance, relative_tolerance * fabs(y));
    /* The bound itself counts: half a unit in the 12th digit makes up for its rounding. */
    return allowed > 0 && fabs(x - y) <= allowed * (1 + 1e-12);
}
