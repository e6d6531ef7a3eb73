/* normalizer.h - what a tokenizer does to a text before it cuts it: a list of steps, each a rewriting
 * of the whole text, as tokenizer.json and SentencePiece's own files name them.
 *
 * Bytes that are not valid UTF-8 stay as they are; a step sees the stretches between them. */
#ifndef RM_ENGINE_MODEL_NORMALIZER_H
#define RM_ENGINE_MODEL_NORMALIZER_H

#include "base/base.h"

typedef enum rm_step_kind {
    RM_STEP_NFC, RM_STEP_NFD, RM_STEP_NFKC, RM_STEP_NFKD,  /* Unicode's normal forms */
    RM_STEP_LOWERCASE,
    RM_STEP_STRIP_ACCENTS,   /* drops marks (categories Mn, Mc and Me) */
    RM_STEP_CONTROLS,        /* "Nmt": drops control characters, other blanks become spaces */
    RM_STEP_STRIP_LEFT, RM_STEP_STRIP_RIGHT, /* blanks at the ends of the text */
    RM_STEP_PREPEND,         /* `from` in front of a text that is not empty */
    RM_STEP_REPLACE,         /* every `from` becomes `to` */
    RM_STEP_REPLACE_RUNS,    /* every run of two and more `from` becomes one `to` */
    RM_STEP_TRIM_WORDS,      /* runs of spaces become one; none at the ends (SentencePiece) */
    RM_STEP_CHARSMAP,        /* a compiled table of replacements, looked up as SentencePiece does */
    RM_STEP_CHARSMAP_CLUSTERS, /* the same table, looked up as the tokenizers package does */
} rm_step_kind;

typedef struct rm_normalizer rm_normalizer;

rm_status rm_normalizer_new(rm_normalizer **, rm_error *); /* without steps: texts stay */
void rm_normalizer_free(rm_normalizer *);
int rm_normalizer_count(const rm_normalizer *);

/* Adds a step behind the others. from: of PREPEND and the REPLACEs, not empty; of the CHARSMAPs the
 * table as files have it, checked here. Both are copied. */
rm_status rm_normalizer_add(rm_normalizer *, rm_step_kind, const char *from, size_t n_from,
                            const char *to, size_t n_to, rm_error *);

/* Rewrites *text[0 .. *n): afterwards they are what they were, or lie in *room, which is the
 * caller's to free in any case. */
rm_status rm_normalizer_apply(const rm_normalizer *, const char **text, size_t *n, rm_text *room,
                              rm_error *);

/* Bytes of the blank (Unicode's White_Space) that text begins with, 0 if with none; and of the one
 * that it ends with. */
size_t rm_blank_at_start(const char *text, size_t n);
size_t rm_blank_at_end(const char *text, size_t n);

#endif
