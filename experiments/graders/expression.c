/* expression.c - checks arithmetic: which numbers does an expression use, and what is its value?
 *
 *     sum     = product { ("+" | "-") product }
 *     product = factor { ("*" | "/") factor }
 *     factor  = integer | "(" sum ")"
 *
 * Canonical form: the numbers used, sorted, and the exact value: "4 7 8 25=80". Two spellings of
 * one solution are one answer, and whether an answer is right follows from it alone: for
 * Countdown and the Game of 24 the reference is the canonical form that a right answer has. Values
 * are fractions of 63 bits, so 8/(3-8/3) is 24 exactly; an overflow or a division by zero is no
 * answer. A sign in front of a number is not in the grammar: the games have no such operation.
 * Recursion is bounded by MAX_DEPTH, the numbers by MAX_NUMBERS. */
#include "experiments/graders/grader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64, MAX_NUMBERS = 64 };

typedef struct scanner {
    const char *s;
    size_t n, at;
    int depth;
    int64_t numbers[MAX_NUMBERS];
    int n_numbers;
} scanner;

/* The operator or bracket at `at` ('0' for a digit, 0 for anything else or the end), and its
 * length: models also write the signs of typography and of LaTeX. */
static char peek(scanner *x, size_t *length)
{
    static const struct { const char *spelling; char op; } signs[] = {
        { "\xC3\x97", '*' }, { "\xC3\xB7", '/' }, { "\xE2\x88\x92", '-' }, { "\xC2\xB7", '*' },
        { "\\times", '*' }, { "\\div", '/' }, { "\\cdot", '*' },
    };
    while (x->at < x->n && (x->s[x->at] == ' ' || x->s[x->at] == '\t'))
        x->at++;
    *length = 1;
    if (x->at >= x->n)
        return 0;
    char c = x->s[x->at];
    if (c >= '0' && c <= '9')
        return '0';
    if (c && strchr("+-*/()", c))
        return c;
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        *length = strlen(signs[i].spelling);
        if (x->n - x->at >= *length && !memcmp(x->s + x->at, signs[i].spelling, *length))
            return signs[i].op;
    }
    return 0;
}

static bool read_sum(scanner *x, rm_fraction *value);

static bool read_factor(scanner *x, rm_fraction *value)
{
    size_t length;
    char c = peek(x, &length);
    if (c == '(') {
        if (x->depth >= MAX_DEPTH)
            return false;
        x->at++;
        x->depth++;
        bool ok = read_sum(x, value) && peek(x, &length) == ')';
        x->depth--;
        x->at += ok;
        return ok;
    }
    if (c != '0' || x->n_numbers >= MAX_NUMBERS)
        return false;
    int64_t v = 0;
    for (int digits = 0; x->at < x->n && x->s[x->at] >= '0' && x->s[x->at] <= '9'; x->at++) {
        if (++digits > 12)
            return false;
        v = 10 * v + (x->s[x->at] - '0');
    }
    x->numbers[x->n_numbers++] = v;
    *value = (rm_fraction){ v, 1 };
    return true;
}

static bool read_chain(scanner *x, rm_fraction *value, char first, char second,
                       bool (*operand)(scanner *, rm_fraction *))
{
    if (!operand(x, value))
        return false;
    for (;;) {
        size_t length;
        char op = peek(x, &length);
        if (op != first && op != second)
            return true;
        x->at += length;
        rm_fraction right;
        if (!operand(x, &right) || !rm_fraction_apply(op, *value, right, value))
            return false;
    }
}

static bool read_product(scanner *x, rm_fraction *value)
{
    return read_chain(x, value, '*', '/', read_factor);
}

static bool read_sum(scanner *x, rm_fraction *value)
{
    return read_chain(x, value, '+', '-', read_product);
}

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

bool rm_expression_canonical(const char *bytes, size_t n, rm_text *out)
{
    /* Models like to say what it equals, and to set it in bold or in dollars. */
    const char *equals = memchr(bytes, '=', n);
    if (equals)
        n = (size_t)(equals - bytes);
    while (n && strchr(" \t\r\n`$*:", bytes[0]))
        bytes++, n--;
    while (n && strchr(" \t\r\n`$*.", bytes[n - 1]))
        n--;
    scanner x = { .s = bytes, .n = n };
    rm_fraction value;
    size_t length;
    if (!read_sum(&x, &value) || peek(&x, &length) || x.at < x.n)
        return false;
    qsort(x.numbers, (size_t)x.n_numbers, sizeof *x.numbers, compare_numbers);
    for (int i = 0; i < x.n_numbers; i++)
        rm_text_printf(out, "%s%" PRId64, i ? " " : "", x.numbers[i]);
    rm_text_puts(out, "=");
    if (value.q == 1)
        rm_text_printf(out, "%" PRId64, value.p);
    else
        rm_text_printf(out, "%" PRId64 "/%" PRId64, value.p, value.q);
    return true;
}
