/* jinja_parse.h - what the two halves of the parser share (private to the interpreter):
 * jinja_parse.c has statements, jinja_expression.c what stands between their words.
 *
 * The first failure is remembered in the parser; after it nothing is parsed, loops end by `status`,
 * and whatever is returned is never evaluated. */
#ifndef RM_EXPERIMENTS_JINJA_PARSE_H
#define RM_EXPERIMENTS_JINJA_PARSE_H

#include "experiments/chat/jinja_private.h"

#include <string.h>

typedef struct jinja_parser {
    rm_jinja *template;
    const jinja_token *at;
    int nesting, loops;
    rm_status status;        /* the first failure */
    jinja_node nowhere;      /* stands in for a node without memory; never evaluated */
    rm_error *err;
} jinja_parser;

/* An operator of two characters. */
#define JINJA_OP2(a, b) ((uint16_t)((a) | (b) << 8))

/* ---- the token at hand ------------------------------------------------------------------ */

static inline bool is_operator(const jinja_parser *p, uint16_t operator)
{
    return p->at->type == JINJA_T_OPERATOR && p->at->operator == operator;
}

static inline bool is_word(const jinja_parser *p, const char *word)
{
    return p->at->type == JINJA_T_NAME && p->at->n == strlen(word)
           && !memcmp(p->at->bytes, word, p->at->n);
}

static inline void advance(jinja_parser *p)
{
    p->at += p->at->type != JINJA_T_END;
}

static inline bool skip_operator(jinja_parser *p, uint16_t operator)
{
    bool there = is_operator(p, operator);
    if (there)
        advance(p);
    return there;
}

static inline bool skip_word(jinja_parser *p, const char *word)
{
    bool there = is_word(p, word);
    if (there)
        advance(p);
    return there;
}

/* ---- jinja_parse.c ---------------------------------------------------------------------- */

/* Remembers a failure, if it is the first: `what`, and the token `near` if it has a text. */
void jinja_parse_fail(jinja_parser *, rm_status, int line, const char *what,
                      const jinja_token *near);
/* Fails with "expected ..., found ..." at the token at hand. */
void jinja_unexpected(jinja_parser *, const char *expected);
/* One level deeper (the caller decrements `nesting` again); false if that is too deep. */
bool jinja_nest(jinja_parser *);
/* Zeroed, never NULL. */
jinja_node *jinja_new_node(jinja_parser *, jinja_kind, int line);
void jinja_expect_operator(jinja_parser *, char operator);
const char *jinja_take_name(jinja_parser *);

/* ---- jinja_expression.c ----------------------------------------------------------------- */

jinja_node *jinja_parse_expression(jinja_parser *);
/* One expression, or several with commas, which make a tuple. `conditional` is false where an
 * `if` that follows belongs to the statement. */
jinja_node *jinja_parse_tuple(jinja_parser *, bool conditional);
/* A filter's name and arguments, behind "|" or the word `filter`. */
jinja_node *jinja_parse_filter(jinja_parser *, jinja_node *of);
/* .name or .0 */
jinja_node *jinja_parse_dot(jinja_parser *, jinja_node *of);

#endif
