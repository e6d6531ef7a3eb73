/* unigram.h - the most probable way to cut a text into pieces.
 * Kudo 2018, arXiv:1804.10959: pieces are drawn independently, so a cutting's logarithm of
 * probability is the sum of its pieces' scores. */
#ifndef RM_ENGINE_MODEL_UNIGRAM_H
#define RM_ENGINE_MODEL_UNIGRAM_H

#include "base/base.h"

typedef struct rm_unigram rm_unigram; /* read-only, shared by threads */

/* What a text is cut into; its own memory, used again from call to call. Zero to begin with. */
typedef struct rm_cutting {
    struct rm_cut *cut;    /* [n] in the order of the text */
    size_t n, capacity;
    struct rm_ending *best;
    size_t n_best;
} rm_cutting;

struct rm_cut {
    int32_t token;         /* -1: one character that is no piece */
    uint32_t start, length;
};

typedef struct rm_unigram_piece {
    const char *text;      /* lives as long as the unigram */
    size_t n;
    int32_t token;
    double score;
} rm_unigram_piece;

/* `lowest`: the least score of the vocabulary; a character that no piece begins with and ends
 * costs 10 more than that (SentencePiece's penalty). Of two pieces with one text the first holds.
 * The pieces are sorted in place. `single`: sums are rounded to single precision, as SentencePiece
 * has them, else double as in the tokenizers package: cuttings of equal score differ. */
rm_status rm_unigram_new(rm_unigram_piece *, size_t n, double lowest, bool single, rm_unigram **,
                         rm_error *);
void rm_unigram_free(rm_unigram *);

/* Cuts valid UTF-8 of less than 2^31 bytes; false if memory ran out. */
bool rm_unigram_cut(const rm_unigram *, const char *text, size_t n, rm_cutting *);
void rm_cutting_free(rm_cutting *);

#endif
