/* fuzz_tokenizer.c - any bytes as a vocabulary and a text, or as a text under a vocabulary that
 * has every byte.
 *
 * The first byte chooses. Under the complete vocabularies every text, valid UTF-8 or not, must
 * come back from decode(encode(text)) byte for byte, names of special tokens included. Under an
 * invented vocabulary nothing is asked but that ids are in range. */
#include "engine/model/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition)                                                  \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: " #condition "\n", __FILE__, __LINE__); \
            abort();                                                        \
        }                                                                   \
    } while (0)

#define MAX_VOCAB 300

static const char *const pres[] = { "gpt-2", "default", "llama-bpe", "qwen2", "starcoder", "falcon",
                                    "deepseek-llm", "deepseek-coder", "deepseek-v3" };
#define N_PRES (sizeof pres / sizeof *pres)

typedef struct vocab {
    char storage[MAX_VOCAB][8];
    const char *text[MAX_VOCAB];
    size_t bytes[MAX_VOCAB];
    float score[MAX_VOCAB];
    int32_t type[MAX_VOCAB];
    int n;
} vocab;

static void add(vocab *v, const char *text, float score, int32_t type)
{
    v->text[v->n] = text;
    v->bytes[v->n] = strlen(text);
    v->score[v->n] = score;
    v->type[v->n++] = type;
}

static rm_tokenizer *complete(bool sentencepiece, const char *pre)
{
    static const char *const pieces[] = { "th", "the", "in", "aa", "aaaa", "12", "\xc4\xa0t",
                                          "\xc3\xa4", "\xe2\x96\x81", "\xe2\x96\x81th",
                                          "\xe2\x96\x81\xe2\x96\x81", "\xe4\xb8\xad" };
    static const char *const merges[] = { "t h", "th e", "i n", "a a", "aa aa", "1 2", "\xc4\xa0 t" };
    static const size_t merge_bytes[] = { 3, 4, 3, 3, 5, 3, 4 };
    static vocab v;
    unsigned next = 0x100;
    v.n = 0;
    for (unsigned b = 0; b < 256; b++) {
        bool itself = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        unsigned c = itself ? b : next++;
        char *s = v.storage[b];
        if (sentencepiece)
            snprintf(s, 8, "<0x%02X>", b);
        else if (c < 0x80)
            snprintf(s, 8, "%c", (char)c);
        else
            snprintf(s, 8, "%c%c", (char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f)));
        add(&v, s, 0, sentencepiece ? RM_TOKEN_BYTE : RM_TOKEN_NORMAL);
    }
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        add(&v, pieces[i], -(float)i, RM_TOKEN_NORMAL);
    add(&v, "<think>", 0, RM_TOKEN_CONTROL);
    add(&v, "<user>", 0, RM_TOKEN_USER);
    rm_tokenizer_source s = {
        .sentencepiece = sentencepiece, .pre = pre, .n_vocab = v.n, .text = v.text,
        .text_bytes = v.bytes, .score = v.score, .type = v.type, .merge = merges,
        .merge_bytes = merge_bytes, .n_merges = sentencepiece ? 0 : 7, .bos = -1, .eos = -1,
        .unknown = -1, .add_space_prefix = sentencepiece,
    };
    rm_tokenizer *t = NULL;
    REQUIRE(rm_tokenizer_new(&s, &t, NULL) == RM_OK);
    return t;
}

static void round_trip(const rm_tokenizer *t, const char *text, size_t n)
{
    for (int special = 0; special < 2; special++) {
        int32_t *tokens;
        int n_tokens;
        rm_text back = { 0 };
        REQUIRE(rm_tokenizer_encode(t, text, n, special, &tokens, &n_tokens, NULL) == RM_OK);
        rm_tokenizer_decode(t, tokens, n_tokens, true, &back);
        REQUIRE(back.length == n && (n == 0 || memcmp(back.data, text, n) == 0));
        rm_text_free(&back);
        free(tokens);
    }
}

/* Strings of a length byte and so many bytes; the rest of the data is the text. */
static void invented(const uint8_t *data, size_t size)
{
    vocab v = { .n = 0 };
    const char *merge[64];
    size_t merge_bytes[64];
    int n_merges = 0;
    if (size < 4)
        return;
    unsigned flags = data[0], n_vocab = data[1] % 64 + 1u, wanted = data[2] % 64u;
    size_t at = 3;
    for (; v.n < (int)n_vocab && at + 2 < size && at + 2 + data[at] % 16u <= size; v.n++) {
        v.bytes[v.n] = data[at] % 16u;
        v.type[v.n] = data[at] >> 4 ? data[at] >> 4 : 1;
        v.score[v.n] = (float)(int8_t)data[at + 1];
        v.text[v.n] = (const char *)data + at + 2;
        at += 2 + v.bytes[v.n];
    }
    for (; n_merges < (int)wanted && at < size && at + 1 + data[at] % 16u <= size; n_merges++) {
        merge_bytes[n_merges] = data[at] % 16u;
        merge[n_merges] = (const char *)data + at + 1;
        at += 1 + merge_bytes[n_merges];
    }
    rm_tokenizer_source s = {
        .sentencepiece = flags & 1, .pre = pres[(flags >> 1) % N_PRES], .n_vocab = v.n,
        .text = v.text, .text_bytes = v.bytes, .score = v.score, .type = v.type, .merge = merge,
        .merge_bytes = merge_bytes, .n_merges = n_merges, .bos = flags & 64 ? 0 : -1, .eos = -1,
        .unknown = -1, .add_bos = (flags & 64) != 0, .add_space_prefix = (flags & 128) != 0,
    };
    rm_tokenizer *t;
    rm_error err = { { 0 } };
    if (rm_tokenizer_new(&s, &t, &err)) {
        REQUIRE(err.text[0]);
        return;
    }
    for (int special = 0; special < 2; special++) {
        int32_t *tokens;
        int n;
        if (rm_tokenizer_encode(t, (const char *)data + at, size - at, special, &tokens, &n, &err))
            continue;
        rm_text back = { 0 };
        for (int i = 0; i < n; i++)
            REQUIRE(tokens[i] >= 0 && tokens[i] < v.n);
        rm_tokenizer_decode(t, tokens, n, special, &back);
        rm_text_free(&back);
        free(tokens);
    }
    rm_tokenizer_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static rm_tokenizer *tokenizers[N_PRES + 1];
    if (size == 0)
        return 0;
    unsigned which = data[0];
    if (which < 64) {
        invented(data + 1, size - 1);
        return 0;
    }
    which %= N_PRES + 1;
    if (!tokenizers[which])
        tokenizers[which] = complete(which == N_PRES, which < N_PRES ? pres[which] : NULL);
    round_trip(tokenizers[which], (const char *)data + 1, size - 1);
    return 0;
}
