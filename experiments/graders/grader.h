/* grader.h - judging answers (private to experiments).
 *
 * Two steps, kept apart because votes need the first without the second:
 *   extract    finds the piece of a generated text that states the answer (extract.c)
 *   canonical  turns that piece into a canonical form: equal answers become equal strings, so
 *              that a vote compares strings and a record can be judged again
 * A grader then compares a canonical answer with the canonical reference. */
#ifndef RM_EXPERIMENTS_GRADER_H
#define RM_EXPERIMENTS_GRADER_H

#include "experiments/keys.h"

typedef enum rm_grader_kind {
    RM_GRADE_NUMERIC,    /* numbers, with tolerance if stated */
    RM_GRADE_EXACT,      /* text, white space and punctuation around it aside */
    RM_GRADE_CHOICE,     /* the letter of an option */
    RM_GRADE_PATTERN,    /* the reference is a regular expression for the whole answer */
    RM_GRADE_EXPRESSION, /* arithmetic that uses given numbers once each to make a value */
    RM_GRADE_MATH        /* formulas, sets, intervals, units: equal if proved equal (math.c) */
} rm_grader_kind;

extern const char *const rm_grader_names[]; /* in the order of the enum, NULL-terminated */

typedef struct rm_grader {
    int kind;                  /* rm_grader_kind */
    double tolerance;          /* numeric: largest absolute difference that counts as equal */
    double relative_tolerance; /* numeric: the same as a share of the reference */
    bool fold_case;            /* exact: letters of ASCII compare without case */
    bool latex;                /* exact: spacing and size commands of LaTeX do not count */
    char *choices;             /* choice: the letters there are; NULL: "ABCDEFGHIJ" */
} rm_grader;

/* The canonical form of the answer stated by bytes[0..n), appended to `out`; false if it states
 * none (then `out` is as before). */
bool rm_grader_canonical(const rm_grader *, const char *bytes, size_t n, rm_text *out);
/* Is a canonical answer right? `reference` is canonical too (a regular expression for PATTERN). */
bool rm_grader_correct(const rm_grader *, const char *answer, const char *reference);

/* One file each. */
bool rm_numeric_canonical(const char *bytes, size_t n, rm_text *out);
bool rm_numeric_correct(const char *answer, const char *reference, double tolerance,
                        double relative_tolerance);
bool rm_exact_canonical(const char *bytes, size_t n, bool fold_case, bool latex, rm_text *out);
bool rm_choice_canonical(const char *bytes, size_t n, const char *letters, rm_text *out);
bool rm_expression_canonical(const char *bytes, size_t n, rm_text *out);
bool rm_math_canonical(const char *bytes, size_t n, rm_text *out);

/* The first number in bytes[0..n) at or after *at, as a reduced fraction where it fits 63 bits.
 * Moves *at past it and sets *start to its first byte (sign included). */
typedef struct rm_fraction {
    int64_t p, q; /* q > 0 */
} rm_fraction;
bool rm_number_find(const char *bytes, size_t n, size_t *at, size_t *start, rm_fraction *);
void rm_fraction_text(rm_fraction, rm_text *);
/* c = a op b for op in + - * /; false on overflow or division by zero. */
bool rm_fraction_apply(char op, rm_fraction a, rm_fraction b, rm_fraction *c);

/* ---- regular expressions (pattern.c): PCRE2, UTF-8, bounded effort ------------------------- */

typedef struct rm_pattern rm_pattern;
rm_status rm_pattern_new(const char *expression, bool whole, rm_pattern **, rm_error *);
void rm_pattern_free(rm_pattern *);
/* The first (or last) match in text[0..n): its group 1, or the whole where there is no group.
 * *end is where the match ended. A search that exceeds the effort limit has not matched. */
bool rm_pattern_find(const rm_pattern *, const char *text, size_t n, bool last, size_t *start,
                     size_t *length, size_t *end);

/* ---- extraction (extract.c) --------------------------------------------------------------- */

typedef enum rm_rule_kind {
    RM_RULE_PATTERN,     /* a regular expression */
    RM_RULE_BOXED,       /* the last \boxed{...}, braces balanced */
    RM_RULE_NUMBER,      /* all of the text, which must be one number */
    RM_RULE_LAST_NUMBER, /* the last number anywhere */
    RM_RULE_LAST_LINE,   /* the last line that is not blank */
    RM_RULE_ALL          /* all of the text */
} rm_rule_kind;

typedef struct rm_rule {
    rm_rule_kind kind;
    rm_pattern *pattern;
    bool last;
} rm_rule;

typedef struct rm_extractor {
    rm_rule *rules; /* [n_rules] tried in order; the first that gives a canonical answer wins */
    int n_rules;
    rm_strings cuts;             /* the text ends where one of these begins */
    const char *open, *close;    /* tags around the thought, "" for none; borrowed */
    bool in_thought;             /* the text begins inside the thought */
} rm_extractor;

/* Adds a rule by its name ("####", "answer is", "boxed", "number", "last number", "last line",
 * "all", "option") or by a regular expression. Unknown names are RM_E_ARGUMENT. */
rm_status rm_extractor_add_named(rm_extractor *, const char *name, rm_error *);
rm_status rm_extractor_add_pattern(rm_extractor *, const char *expression, bool last, rm_error *);
void rm_extractor_free(rm_extractor *);

/* The canonical answer of a generated text, appended to `out`; false if there is none. In a
 * `truncated` text only an answer that something follows counts, since a number at the very end
 * may have lost digits. */
bool rm_extract(const rm_extractor *, const rm_grader *, const char *text, bool truncated,
                rm_text *out);

#endif
