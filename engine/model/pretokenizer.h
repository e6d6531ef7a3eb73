/* pretokenizer.h - cuts text into the pieces within which byte-level BPE merges.
 *
 * A pre-tokenizer is a named list of regular expressions, applied one after another: each cuts
 * every piece that the ones before left into its matches and the gaps between them. Model files
 * carry only the name; pretokenizer.c has the table. */
#ifndef RM_ENGINE_MODEL_PRETOKENIZER_H
#define RM_ENGINE_MODEL_PRETOKENIZER_H

#include "base/base.h"

typedef struct rm_pretokenizer rm_pretokenizer; /* compiled; read-only, shared by threads */
typedef struct rm_splitter rm_splitter;         /* working memory of one thread */

rm_status rm_pretokenizer_new(const char *name, rm_pretokenizer **, rm_error *);
void rm_pretokenizer_free(rm_pretokenizer *);

/* A piece that is a token as a whole is that token, whatever the merges would make of it. */
bool rm_pretokenizer_whole_pieces(const rm_pretokenizer *);
/* Files that name this pre-tokenizer and do not say otherwise begin a text with BOS. */
bool rm_pretokenizer_named_adds_bos(const char *name);

rm_status rm_splitter_new(const rm_pretokenizer *, rm_splitter **, rm_error *);
void rm_splitter_free(rm_splitter *);

/* Cuts n bytes of valid UTF-8. *ends (of the splitter, until its next use) are the offsets where
 * the pieces end, ascending, the last being n. */
rm_status rm_splitter_cut(rm_splitter *, const char *text, size_t n, const size_t **ends,
                          size_t *n_ends, rm_error *);

#endif
