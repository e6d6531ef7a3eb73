/* tokenizer_gguf.c - a tokenizer from the metadata of a GGUF file.
 *
 *   tokenizer.ggml.model             "gpt2" (byte-level BPE), "llama" (SentencePiece's BPE) or "t5"
 *                                    (SentencePiece's unigram model)
 *   tokenizer.ggml.pre               pre-tokenizer, BPE; "default" if absent
 *   tokenizer.ggml.tokens            strings
 *   tokenizer.ggml.scores            f32, SentencePiece; of the unigram model log-probabilities
 *   tokenizer.ggml.token_type        i32, see rm_token_type; all normal if absent
 *   tokenizer.ggml.merges            strings "left right", BPE
 *   tokenizer.ggml.{bos,eos,unknown}_token_id
 *   tokenizer.ggml.add_bos_token     absent: as the model kind had it (SentencePiece: yes; BPE:
 *                                    only under some pre-tokenizers)
 *   tokenizer.ggml.add_space_prefix  SentencePiece; yes if absent
 *   tokenizer.ggml.precompiled_charsmap      u8 or i8, unigram: replacements (normalizer.c)
 *   tokenizer.ggml.remove_extra_whitespaces  unigram: runs of spaces are one, none at the ends */
#include "engine/model/gguf.h"
#include "engine/model/pretokenizer.h"
#include "engine/model/quote.h"
#include "engine/model/tokenizer_json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The arrays that an rm_tokenizer_source points to, unpacked from the file. */
typedef struct unpacked {
    const char **text, **merge;
    size_t *text_bytes, *merge_bytes;
    float *score;
    double *log_probability;
    int32_t *type;
    char pre[65];
} unpacked;

static void unpacked_free(unpacked *u)
{
    free(u->text);
    free(u->merge);
    free(u->text_bytes);
    free(u->merge_bytes);
    free(u->score);
    free(u->log_probability);
    free(u->type);
}

static rm_status no_memory(const rm_gguf *g, rm_error *err)
{
    return rm_fail(err, RM_E_MEMORY, "%s: no memory for its tokenizer", rm_gguf_file(g));
}

static rm_status unpack_strings(const rm_gguf *g, const rm_gguf_entry *entry, const char ***text,
                                size_t **bytes, rm_error *err)
{
    size_t n = (size_t)entry->n; /* each took at least 8 bytes of the file */
    *text = malloc((n + 1) * sizeof **text);
    *bytes = malloc((n + 1) * sizeof **bytes);
    if (!*text || !*bytes)
        return no_memory(g, err);
    const unsigned char *cursor = entry->data;
    for (size_t i = 0; i < n; i++) {
        rm_gguf_string s = rm_gguf_next_string(&cursor);
        (*text)[i] = s.bytes;
        (*bytes)[i] = s.n;
    }
    return RM_OK;
}

/* An array of 4-byte numbers, one for each token; *values stays NULL if the key is absent. */
static rm_status unpack_numbers(const rm_gguf *g, const char *key, rm_gguf_type type, int n_vocab,
                                void **values, rm_error *err)
{
    const rm_gguf_entry *entry;
    rm_status st = rm_gguf_array(g, key, type, &entry, err);
    if (st || !entry)
        return st;
    if (entry->n != (uint64_t)n_vocab)
        return rm_fail(err, RM_E_FORMAT, "%s: %s has %" PRIu64 " elements, expected one for each "
                       "of %d tokens", rm_gguf_file(g), key, entry->n, n_vocab);
    *values = malloc((size_t)n_vocab * 4 + 1);
    if (!*values)
        return no_memory(g, err);
    memcpy(*values, entry->data, (size_t)n_vocab * 4);
    return RM_OK;
}

static rm_status read_kind(const rm_gguf *g, rm_tokenizer_source *s, unpacked *u, rm_error *err)
{
    rm_gguf_string kind = { 0 }, pre = { "default", 7 };
    rm_status st = rm_gguf_text(g, "tokenizer.ggml.model", &kind, err);
    if (!st)
        st = rm_gguf_text(g, "tokenizer.ggml.pre", &pre, err);
    if (st)
        return st;
    if (!kind.bytes)
        return rm_fail(err, RM_E_FORMAT, "%s: no tokenizer: tokenizer.ggml.model is missing",
                       rm_gguf_file(g));
    s->unigram = kind.n == 2 && memcmp(kind.bytes, "t5", 2) == 0;
    s->sentencepiece = s->unigram || (kind.n == 5 && memcmp(kind.bytes, "llama", 5) == 0);
    if (!s->sentencepiece && !(kind.n == 4 && memcmp(kind.bytes, "gpt2", 4) == 0))
        return rm_fail(err, RM_E_UNSUPPORTED, "%s: tokenizer.ggml.model is \"%s\", supported are "
                       "gpt2 (byte-level BPE), llama and t5 (SentencePiece)", rm_gguf_file(g),
                       rm_quoted(&(rm_quote){ 0 }, kind.bytes, kind.n));
    if (pre.n >= sizeof u->pre || memchr(pre.bytes, 0, pre.n))
        return rm_fail(err, RM_E_FORMAT, "%s: tokenizer.ggml.pre should be a short name, it has "
                       "%zu bytes", rm_gguf_file(g), pre.n);
    memcpy(u->pre, pre.bytes, pre.n);
    u->pre[pre.n] = '\0';
    s->pre = u->pre;
    return RM_OK;
}

static rm_status read_vocabulary(const rm_gguf *g, rm_tokenizer_source *s, unpacked *u,
                                 rm_error *err)
{
    const rm_gguf_entry *tokens, *merges;
    rm_status st = rm_gguf_array(g, "tokenizer.ggml.tokens", RM_GGUF_STRING, &tokens, err);
    if (st)
        return st;
    if (!tokens || tokens->n < 1 || tokens->n > INT32_MAX)
        return rm_fail(err, RM_E_FORMAT, "%s: tokenizer.ggml.tokens is missing or empty",
                       rm_gguf_file(g));
    s->n_vocab = (int)tokens->n;
    if ((st = unpack_strings(g, tokens, &u->text, &u->text_bytes, err)))
        return st;
    void *score = NULL, *type = NULL;
    st = unpack_numbers(g, "tokenizer.ggml.scores", RM_GGUF_F32, s->n_vocab, &score, err);
    if (!st)
        st = unpack_numbers(g, "tokenizer.ggml.token_type", RM_GGUF_I32, s->n_vocab, &type, err);
    u->score = score;
    u->type = type;
    if (st)
        return st;
    s->text = u->text;
    s->text_bytes = u->text_bytes;
    s->score = u->score;
    s->type = u->type;
    if (s->unigram && u->score) {
        u->log_probability = malloc((size_t)s->n_vocab * sizeof *u->log_probability);
        if (!u->log_probability)
            return no_memory(g, err);
        for (int i = 0; i < s->n_vocab; i++)
            u->log_probability[i] = (double)u->score[i];
        s->log_probability = u->log_probability;
        s->single_precision = true;
    }
    if (s->sentencepiece)
        return RM_OK;
    st = rm_gguf_array(g, "tokenizer.ggml.merges", RM_GGUF_STRING, &merges, err);
    if (st || !merges)
        return st;
    if (merges->n > INT32_MAX)
        return rm_fail(err, RM_E_FORMAT, "%s: too many merges", rm_gguf_file(g));
    s->n_merges = (int)merges->n;
    st = unpack_strings(g, merges, &u->merge, &u->merge_bytes, err);
    s->merge = u->merge;
    s->merge_bytes = u->merge_bytes;
    return st;
}

/* Token ids; writers store "none" as 2^32 - 1 or -1. */
static rm_status read_id(const rm_gguf *g, const char *key, int n_vocab, int32_t *id, rm_error *err)
{
    int64_t value = -1;
    rm_status st = rm_gguf_integer(g, key, -1, UINT32_MAX, &value, err);
    if (st)
        return st;
    if (value == UINT32_MAX)
        value = -1;
    if (value >= n_vocab)
        return rm_fail(err, RM_E_FORMAT, "%s: %s is %" PRId64 ", but there are %d tokens",
                       rm_gguf_file(g), key, value, n_vocab);
    *id = (int32_t)value;
    return RM_OK;
}

static rm_status read_flags(const rm_gguf *g, rm_tokenizer_source *s, rm_error *err)
{
    rm_status st;
    if ((st = read_id(g, "tokenizer.ggml.bos_token_id", s->n_vocab, &s->bos, err)) ||
        (st = read_id(g, "tokenizer.ggml.eos_token_id", s->n_vocab, &s->eos, err)) ||
        (st = read_id(g, "tokenizer.ggml.unknown_token_id", s->n_vocab, &s->unknown, err)))
        return st;
    s->add_space_prefix = true;
    s->add_bos = s->bos >= 0 && !s->unigram &&
                 (s->sentencepiece || rm_pretokenizer_named_adds_bos(s->pre));
    if ((st = rm_gguf_flag(g, "tokenizer.ggml.add_bos_token", &s->add_bos, err)))
        return st;
    return rm_gguf_flag(g, "tokenizer.ggml.add_space_prefix", &s->add_space_prefix, err);
}

/* SentencePiece's own order: replacements, extra spaces, one in front, spaces as U+2581. */
static rm_status read_normalizer(const rm_gguf *g, rm_tokenizer_source *s, rm_error *err)
{
    static const char key[] = "tokenizer.ggml.precompiled_charsmap";
    const rm_gguf_entry *table = rm_gguf_find(g, key);
    bool trims = false;
    rm_status st = rm_gguf_flag(g, "tokenizer.ggml.remove_extra_whitespaces", &trims, err);
    if (!st && table && table->type != RM_GGUF_I8)
        st = rm_gguf_array(g, key, RM_GGUF_U8, &table, err);
    if (!st)
        st = rm_normalizer_new(&s->normalizer, err);
    if (!st && table && table->n)
        st = rm_normalizer_add(s->normalizer, RM_STEP_CHARSMAP, (const char *)table->data,
                               (size_t)table->n, NULL, 0, err);
    if (st)
        return rm_fail_within(err, st, "%s", rm_gguf_file(g));
    if ((trims && (st = rm_normalizer_add(s->normalizer, RM_STEP_TRIM_WORDS, NULL, 0, NULL, 0, err))) ||
        (s->add_space_prefix &&
         (st = rm_normalizer_add(s->normalizer, RM_STEP_PREPEND, " ", 1, NULL, 0, err))))
        return st;
    s->strip_space = s->add_space_prefix;
    s->add_space_prefix = false;
    s->emit_unknown = s->unknown >= 0;
    s->fuse_unknown = true;
    return rm_normalizer_add(s->normalizer, RM_STEP_REPLACE, " ", 1, "\xe2\x96\x81", 3, err);
}

rm_status rm_tokenizer_from_gguf(const rm_gguf *g, rm_tokenizer **out, rm_error *err)
{
    rm_tokenizer_source source = { .bos = -1, .eos = -1, .unknown = -1 };
    unpacked u = { 0 };
    rm_status st;
    if ((st = read_kind(g, &source, &u, err)) || (st = read_vocabulary(g, &source, &u, err)) ||
        (st = read_flags(g, &source, err)) ||
        (source.unigram && (st = read_normalizer(g, &source, err))))
        goto done;
    st = rm_tokenizer_new(&source, out, err);
    if (st)
        rm_fail_within(err, st, "%s", rm_gguf_file(g));
    else
        source.normalizer = NULL; /* the tokenizer's now */
done:
    rm_normalizer_free(source.normalizer);
    unpacked_free(&u);
    return st;
}

rm_status rm_tokenizer_open(const char *file, rm_tokenizer **out, rm_error *err)
{
    rm_gguf *g;
    struct stat info;
    if (stat(file, &info) == 0 && S_ISDIR(info.st_mode))
        return rm_tokenizer_from_folder(file, out, err);
    rm_status st = rm_gguf_open(file, &g, err);
    if (st)
        return st;
    st = rm_tokenizer_from_gguf(g, out, err);
    rm_gguf_close(g);
    return st;
}
