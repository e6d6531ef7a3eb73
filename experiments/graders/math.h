/* math.h - the parts of the grader for mathematical answers (private to graders/).
 *
 *     math_latex.c    bytes  -> tokens      LaTeX, plain text and signs of typography alike
 *     math_parse.c    tokens -> one expression, by
 *     math_algebra.c  sums in normal form and their arithmetic
 *     math.c          answers: lists, sets, intervals, tuples, matrices, equations, units, words
 *
 * All memory of one answer is one arena: whatever a text says, an answer costs at most that. */
#ifndef RM_EXPERIMENTS_GRADERS_MATH_H
#define RM_EXPERIMENTS_GRADERS_MATH_H

#include "experiments/graders/grader.h"

enum {
    MATH_MAX_BYTES = 4096,   /* of an answer; longer ones are compared as text */
    MATH_MAX_DEPTH = 32,     /* of nested groups */
    MATH_ARENA_BYTES = 1 << 20
};

/* ---- memory --------------------------------------------------------------------------- */

typedef struct math_arena {
    char *base;
    size_t used;
    bool failed; /* exhausted: the answer is too large for algebra */
} math_arena;

void *math_alloc(math_arena *, size_t n_bytes); /* zeroed; NULL once exhausted */

/* ---- tokens --------------------------------------------------------------------------- */

typedef enum math_kind {
    MATH_NUMBER,   /* "1,234.50": digits, grouping commas, one point */
    MATH_LETTER,   /* one letter: a symbol */
    MATH_WORD,     /* several letters that are no product: "east", "cm" */
    MATH_COMMAND,  /* \pi, \frac, \sin: `text` without the backslash; also pi, sqrt, sin written
                      out */
    MATH_BEGIN, MATH_END, /* \begin{pmatrix}: `text` is the environment */
    MATH_SIGN      /* everything else, by `sign` */
} math_kind;

/* Signs that are one ASCII character stand for themselves: + - * / ^ _ ( ) [ ] { } , ; = < > | ! :
 * & */
enum {
    SIGN_LE = 'l', SIGN_GE = 'g', SIGN_PLUS_MINUS = 'p', SIGN_MINUS_PLUS = 'm', SIGN_UNION = 'u',
    SIGN_IN = 'i', SIGN_DEGREE = 'd', SIGN_SET_OPEN = 's', SIGN_SET_CLOSE = 't', SIGN_ROW = 'r',
    SIGN_OR = 'o', SIGN_AND = 'a', SIGN_INFINITY = 'n'
};

typedef struct math_token {
    unsigned char kind; /* math_kind */
    char sign;
    bool blank;         /* white space in front */
    bool in_text;       /* from \text{...}: prose, not algebra */
    const char *text;
    size_t length;
} math_token;

typedef struct math_tokens {
    math_token *t;
    int n;
} math_tokens;

/* False if there is something that it cannot read (an unknown byte, an unbalanced brace). */
bool math_tokenize(const char *bytes, size_t n, math_arena *, math_tokens *);
bool math_is_sign(const math_token *, char sign);
bool math_is_named(const math_token *, math_kind, const char *text);
/* What tokens [from, to) are as text: spacing, sizes and \text gone, words in lower case. */
void math_spell(const math_token *, int from, int to, rm_text *out);
/* A number token's exact value; false if it does not fit. */
bool math_number(const math_token *, size_t skip, rm_fraction *);

/* ---- algebra -------------------------------------------------------------------------- */

/* A power of something that is not taken apart: a symbol, sqrt(x+1), sin(x), (x+1). */
typedef struct math_factor {
    const char *atom; /* as it is printed */
    int exponent;     /* not 0 */
} math_factor;

/* coefficient * sqrt(radicand) * product of factors; the radicand is square-free, factors are
 * sorted by atom. */
typedef struct math_term {
    rm_fraction coefficient;
    int64_t radicand;
    int n_factors;
    math_factor *factors;
} math_term;

/* A sum in normal form: terms sorted, no two alike, none zero. n = 0 is zero. */
typedef struct math_sum {
    int n;
    math_term *terms;
} math_sum;

/* The normal form of the expression that is all of tokens [from, to); false if it is none. */
bool math_parse(math_arena *, const math_token *, int from, int to, int depth, math_sum *);

/* Sums from numbers and atoms, and their arithmetic. Results may be one of the operands; false
 * means undefined (1/0), or beyond the bounds of math_algebra.c. */
bool math_whole(math_arena *, int64_t, math_sum *);
bool math_sum_of(math_arena *, rm_fraction coefficient, int64_t radicand, const char *atom,
                 math_sum *);
/* The atom whose text is before, s, middle, second (may be NULL), after. */
bool math_make_atom(math_arena *, const char *before, const math_sum *s, const char *middle,
                    const math_sum *second, const char *after, math_sum *);
/* a + sign b */
bool math_add(math_arena *, const math_sum *a, const math_sum *b, int sign, math_sum *);
bool math_subtract(math_arena *, const math_sum *a, const math_sum *b, math_sum *);
bool math_multiply(math_arena *, const math_sum *a, const math_sum *b, math_sum *);
bool math_scale(math_arena *, const math_sum *, char op, rm_fraction, math_sum *); /* op * or / */
bool math_invert(math_arena *, const math_sum *, math_sum *);
bool math_root(math_arena *, const math_sum *, int64_t k, math_sum *);
bool math_power(math_arena *, const math_sum *base, const math_sum *exponent, math_sum *);
bool math_is_number(const math_sum *);                  /* no symbols */
bool math_is_rational(const math_sum *, rm_fraction *); /* nothing but a fraction */
/* Divides by the rational content; the leading term becomes positive. Not for zero. */
bool math_make_primitive(math_arena *, math_sum *);
void math_print(const math_sum *, rm_text *out);

#endif
