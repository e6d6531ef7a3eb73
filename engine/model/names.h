/* names.h - special and added tokens by their names in a text.
 *
 * A name is looked for as it is written; what stands around it may be asked for besides (as the
 * tokenizers package defines it): `word`, that no letter, digit or underscore touches it;
 * `left` and `right`, that the token swallows the blanks on that side. */
#ifndef RM_ENGINE_MODEL_NAMES_H
#define RM_ENGINE_MODEL_NAMES_H

#include "base/base.h"

/* How a name is matched: bits of rm_tokenizer_source.matching. */
enum { RM_NAME_WORD = 1, RM_NAME_LEFT = 2, RM_NAME_RIGHT = 4,
       RM_NAME_NORMALIZED = 8 }; /* looked for in the normalised text, not in the text as given */

/* Node of a trie over names. Children are a list. */
typedef struct rm_name_node {
    int32_t child, sibling; /* -1: none */
    int32_t token;          /* that ends here, or -1 */
    uint8_t byte;
} rm_name_node;

typedef struct rm_names {
    rm_name_node *node;     /* [n]; node[0] is the root, NULL before the first name */
    int32_t n, capacity;
    int32_t root[256];      /* its children, by byte; -1: none */
} rm_names;

/* A name found: text[start, end) is its own, [from, to) with the blanks it swallows. */
typedef struct rm_name_match {
    size_t start, end, from, to;
    int32_t token;          /* -1: no more */
} rm_name_match;

/* What a search accepts, and what it knows of each token. */
typedef struct rm_name_search {
    const rm_names *names;
    const uint8_t *matching;  /* [n_vocab], or NULL: all as written */
    const bool *always;       /* [n_vocab] found also where special tokens are not asked for */
    const char *plain;        /* [n] bytes that are mere text, or NULL: none is */
    bool special;
} rm_name_search;

/* Of two names with one text the first added is found. */
rm_status rm_names_add(rm_names *, int32_t token, const char *name, size_t n, rm_error *);
void rm_names_free(rm_names *);

/* The first match at or behind `at`, leftmost and then longest. Blanks before `taken`, where the
 * match before ended, are not swallowed again. */
rm_name_match rm_names_find(const rm_name_search *, const char *text, size_t n, size_t at,
                            size_t taken);

#endif
