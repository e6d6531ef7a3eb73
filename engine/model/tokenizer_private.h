/* tokenizer_private.h - what tokenizer.c builds and tokenizer_encode.c reads. */
#ifndef RM_ENGINE_MODEL_TOKENIZER_PRIVATE_H
#define RM_ENGINE_MODEL_TOKENIZER_PRIVATE_H

#include "engine/model/pretokenizer.h"
#include "engine/model/tokenizer.h"
#include "engine/model/unigram.h"

#define RM_BLANK "\xe2\x96\x81" /* U+2581, SentencePiece's visible space */

/* Strings one after another: string i is data[at[i] .. at[i+1]). */
typedef struct rm_strings {
    char *data;
    size_t *at; /* [n + 1] */
} rm_strings;

/* What two neighbouring tokens merge into; `left` is -1 in an empty slot. */
typedef struct rm_merge {
    int32_t left, right, result, rank;
} rm_merge;

struct rm_tokenizer {
    bool sentencepiece, add_bos, add_space_prefix, prefix_once, prefix_joins, blanks_apart, marked,
        strip_space, space_first, whole_pieces, emit_unknown, fuse_unknown, spaced, words;
    rm_blank_prefix prefix;
    int n_vocab;
    int32_t bos, eos, unknown;
    uint8_t *type;           /* [n_vocab] rm_token_type */
    rm_strings text;         /* as in the file */
    rm_strings bytes;        /* as in running text */
    uint32_t *priority;      /* [n_vocab] sentencepiece: smaller merges first, from the score; NULL
                                where merges say it, as in BPE */
    bool blanks_lead;        /* sentencepiece: in no piece does U+2581 follow another character,
                                so that nothing merges across the front of a word */
    size_t longest;          /* bytes of the longest text */
    int32_t byte_token[256]; /* token of a single byte, or -1 */

    int32_t *pieces;         /* open addressing by text: ids of pieces that merging may make */
    size_t pieces_mask;
    rm_merge *merges;        /* open addressing by (left, right) */
    size_t merges_mask;

    rm_names names[2];       /* found in the text as given, and in the normalised one */
    uint8_t *matching;       /* [n_vocab] how, or NULL: all as written */
    bool *always;            /* [n_vocab] user-defined: found whether or not special ones are */
    rm_normalizer *normalizer; /* or NULL */
    rm_unigram *unigram;     /* unigram, else NULL */

    rm_pretokenizer *pre;    /* bpe */
};

/* The piece with this text that merging may make, or -1. */
int32_t rm_tokenizer_find_piece(const rm_tokenizer *, const char *text, size_t n);

/* The same by what the piece means, in BPE; bytes of a piece of at most 256. */
int32_t rm_tokenizer_find_bytes(const rm_tokenizer *, const char *bytes, size_t n);

static inline size_t rm_merge_hash(int32_t left, int32_t right)
{
    return (size_t)rm_mix((uint64_t)(uint32_t)left, (uint64_t)(uint32_t)right);
}

#endif
