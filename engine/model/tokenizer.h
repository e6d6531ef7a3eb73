/* tokenizer.h - text to token ids and back, for the tokenizers that model files carry.
 *
 * Two kinds: byte-level BPE with merges ("bpe": GPT-2's scheme, every byte has a printable
 * stand-in), and SentencePiece with scores ("sentencepiece": highest score merges first, bytes
 * without a piece fall back to <0xNN>). See engine.h, rm_tokenize, for what is promised. */
#ifndef RM_ENGINE_MODEL_TOKENIZER_H
#define RM_ENGINE_MODEL_TOKENIZER_H

#include "engine/engine.h"

/* As GGUF's tokenizer.ggml.token_type numbers them. */
typedef enum rm_token_type {
    RM_TOKEN_NORMAL = 1, RM_TOKEN_UNKNOWN, RM_TOKEN_CONTROL, RM_TOKEN_USER, RM_TOKEN_UNUSED,
    RM_TOKEN_BYTE
} rm_token_type;

typedef struct rm_tokenizer_source {
    bool sentencepiece;
    const char *pre;               /* name of the pre-tokenizer ("gpt-2", "default", ...), BPE */
    int n_vocab;
    const char *const *text;       /* [n_vocab] NUL-free pieces, with lengths */
    const size_t *text_bytes;
    const float *score;            /* [n_vocab] sentencepiece, or NULL: merges instead */
    const int32_t *type;           /* [n_vocab] or NULL: all normal */
    const char *const *merge;      /* [n_merges] "left right" */
    const size_t *merge_bytes;
    int n_merges;
    int32_t bos, eos, unknown;     /* -1: none */
    bool add_bos, add_space_prefix;
    bool prefix_once;              /* the space prefix stands at the front of a text only, not
                                      after each special token */
    bool prefix_joins;             /* no space prefix where the text begins with a space already */
    bool nfc;                      /* text is brought into Unicode's form NFC first */
} rm_tokenizer_source;

/* Copies what it keeps. Checks everything: ids in range, merges that name existing pieces.
 * rm_tokenizer_free, _encode and _decode are in engine.h. */
rm_status rm_tokenizer_new(const rm_tokenizer_source *, rm_tokenizer **, rm_error *);

/* From the metadata of a GGUF file; sentences name the file and the key. */
struct rm_gguf;
rm_status rm_tokenizer_from_gguf(const struct rm_gguf *, rm_tokenizer **, rm_error *);

typedef struct rm_tokenizer_info {
    bool sentencepiece, add_bos;
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
