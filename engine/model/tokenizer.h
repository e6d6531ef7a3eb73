/* tokenizer.h - text to token ids and back, for the tokenizers that model files carry.
 *
 * Three kinds: byte-level BPE with merges ("bpe": GPT-2's scheme, every byte has a printable
 * stand-in), SentencePiece's BPE ("sentencepiece": highest score or first merge first, bytes without
 * a piece fall back to <0xNN>), and the unigram model ("unigram": the most probable cutting). See
 * engine.h, rm_tokenize, for what is promised. */
#ifndef RM_ENGINE_MODEL_TOKENIZER_H
#define RM_ENGINE_MODEL_TOKENIZER_H

#include "engine/engine.h"
#include "engine/model/names.h"
#include "engine/model/normalizer.h"

/* As GGUF's tokenizer.ggml.token_type numbers them. */
typedef enum rm_token_type {
    RM_TOKEN_NORMAL = 1, RM_TOKEN_UNKNOWN, RM_TOKEN_CONTROL, RM_TOKEN_USER, RM_TOKEN_UNUSED,
    RM_TOKEN_BYTE
} rm_token_type;

/* What stands before the words of a text (Metaspace, as tokenizer.json calls it). */
typedef enum rm_blank_prefix { RM_PREFIX_NEVER, RM_PREFIX_FIRST, RM_PREFIX_ALWAYS } rm_blank_prefix;

typedef struct rm_tokenizer_source {
    bool sentencepiece;            /* also for unigram: pieces write a space as U+2581 */
    bool unigram;
    const char *pre;               /* name of the pre-tokenizer ("gpt-2", "default", ...), BPE */
    int n_vocab;
    const char *const *text;       /* [n_vocab] NUL-free pieces, with lengths */
    const size_t *text_bytes;
    const float *score;            /* [n_vocab] sentencepiece, or NULL: merges instead */
    const double *log_probability; /* [n_vocab] unigram */
    bool single_precision;         /* unigram: sums of them are floats */
    const int32_t *type;           /* [n_vocab] or NULL: all normal */
    const uint8_t *matching;       /* [n_vocab] how names are found (names.h), or NULL: as written */
    const char *const *merge;      /* [n_merges] "left right" */
    const size_t *merge_bytes;
    int n_merges;
    int32_t bos, eos, unknown;     /* -1: none */
    bool add_bos, add_space_prefix;
    bool prefix_once;              /* the space prefix stands at the front of a text only, not
                                      after each special token */
    bool prefix_joins;             /* no space prefix where the text begins with a space already */
    bool blanks_apart;             /* each blank begins a piece that merges with none before it */
    bool marked;                   /* sentencepiece: the normalizer writes spaces as U+2581 */
    bool strip_space;              /* decoding takes a space off the front, though nothing above
                                      puts one there */
    bool space_first;              /* BPE: a text that begins with no space gets one */
    bool whole_pieces;             /* BPE: a word that is a token is that token, whatever merges say */
    bool emit_unknown, fuse_unknown; /* what no piece fits is the unknown token: one a character,
                                        or one a run; else it is an error */
    bool spaced;                   /* unigram: spaces become U+2581, with `prefix` in front ... */
    bool words;                    /* ... of each word, blanks between words being dropped */
    rm_blank_prefix prefix;
    rm_normalizer *normalizer;     /* or NULL; the tokenizer's own once it is made */
} rm_tokenizer_source;

/* Copies what it keeps. Checks everything: ids in range, merges that name existing pieces.
 * rm_tokenizer_free, _encode and _decode are in engine.h. */
rm_status rm_tokenizer_new(const rm_tokenizer_source *, rm_tokenizer **, rm_error *);

/* From the metadata of a GGUF file; sentences name the file and the key. */
struct rm_gguf;
rm_status rm_tokenizer_from_gguf(const struct rm_gguf *, rm_tokenizer **, rm_error *);

typedef struct rm_tokenizer_info {
    const char *kind;           /* "bpe", "sentencepiece", "unigram" */
    bool add_bos;
    int n_vocab;
    int32_t bos, eos, unknown;  /* -1: none */
} rm_tokenizer_info;

rm_tokenizer_info rm_tokenizer_describe(const rm_tokenizer *);

/* As rm_tokenize_rendered. */
rm_status rm_tokenizer_encode_rendered(const rm_tokenizer *, const char *text, const char *plain,
                                       size_t n_bytes, int32_t **tokens, int *n_tokens, rm_error *);

/* Bytes of a token as in running text; an id outside the vocabulary has none. *special: control,
 * unknown and unused tokens, which decoding without `special` drops. User-defined pieces are
 * text: always matched when encoding, always written when decoding. */
const char *rm_tokenizer_bytes(const rm_tokenizer *, int32_t token, size_t *n, bool *special);
rm_status rm_tokenizer_same(const rm_tokenizer *, const rm_tokenizer *, rm_error *);

#endif
