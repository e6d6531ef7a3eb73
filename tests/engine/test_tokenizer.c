/* test_tokenizer.c - both tokenizers: hand-made vocabularies for the rules, recorded ids of
 * llama.cpp for real ones, and the promise that text survives the round trip. */
#include "engine/engine.h"
#include "engine/model/tokenizer.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_TOKENS 700
#define GOLDENS RM_SOURCE_DIR "/tests/engine/goldens/"
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* ---- hand-made vocabularies ------------------------------------------------------------------- */

typedef struct vocab {
    const char *text[MAX_TOKENS];
    size_t bytes[MAX_TOKENS];
    float score[MAX_TOKENS];
    int32_t type[MAX_TOKENS];
    char storage[MAX_TOKENS][8];
    int n;
} vocab;

static int add(vocab *v, const char *text, float score, int32_t type)
{
    v->text[v->n] = text;
    v->bytes[v->n] = strlen(text);
    v->score[v->n] = score;
    v->type[v->n] = type;
    return v->n++;
}

/* The 256 bytes: as stand-ins for BPE, as <0xNN> for SentencePiece. */
static void add_bytes(vocab *v, bool sentencepiece)
{
    unsigned next = 0x100;
    for (unsigned b = 0; b < 256; b++) {
        char *s = v->storage[v->n];
        bool itself = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        unsigned c = itself ? b : next++;
        if (sentencepiece)
            snprintf(s, 8, "<0x%02X>", b);
        else if (c < 0x80)
            snprintf(s, 8, "%c", (char)c);
        else
            snprintf(s, 8, "%c%c", (char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f)));
        add(v, s, 0, sentencepiece ? RM_TOKEN_BYTE : RM_TOKEN_NORMAL);
    }
}

static rm_tokenizer *build(const vocab *v, bool sentencepiece, const char *pre,
                           const char *const *merges, int n_merges, int32_t bos)
{
    size_t merge_bytes[16];
    rm_tokenizer *t = NULL;
    rm_error err = { { 0 } };
    for (int i = 0; i < n_merges; i++)
        merge_bytes[i] = strlen(merges[i]);
    rm_tokenizer_source s = {
        .sentencepiece = sentencepiece, .pre = pre, .n_vocab = v->n, .text = v->text,
        .text_bytes = v->bytes, .score = v->score, .type = v->type, .merge = merges,
        .merge_bytes = merge_bytes, .n_merges = n_merges, .bos = bos, .eos = -1, .unknown = -1,
        .add_bos = bos >= 0, .add_space_prefix = sentencepiece,
    };
    cr_assert_eq(rm_tokenizer_new(&s, &t, &err), RM_OK, "%s", err.text);
    return t;
}

/* Encodes, compares with the ids given (ended by -1), and decodes again. */
static void expect_ids(const rm_tokenizer *t, const char *text, bool special, const int32_t *ids)
{
    int32_t *tokens;
    int n, n_expected = 0;
    rm_error err = { { 0 } };
    rm_text back = { 0 };
    while (ids[n_expected] >= 0)
        n_expected++;
    cr_assert_eq(rm_tokenizer_encode(t, text, strlen(text), special, &tokens, &n, &err), RM_OK,
                 "\"%s\": %s", text, err.text);
    cr_expect_eq(n, n_expected, "\"%s\": %d tokens, expected %d", text, n, n_expected);
    for (int i = 0; i < n && i < n_expected; i++)
        cr_expect_eq(tokens[i], ids[i], "\"%s\": token %d is %d, expected %d", text, i, tokens[i],
                     ids[i]);
    int skip = special && n && rm_tokenizer_describe(t).add_bos;
    rm_tokenizer_decode(t, tokens + skip, n - skip, true, &back);
    cr_expect_str_eq(back.data ? back.data : "", text);
    rm_text_free(&back);
    free(tokens);
}

#define IDS(...) (const int32_t[]){ __VA_ARGS__, -1 }
#define NO_IDS (const int32_t[]){ -1 }

Test(bpe, merges_by_rank_then_leftmost)
{
    vocab v = { .n = 0 };
    add_bytes(&v, false);
    int aa = add(&v, "aa", 0, RM_TOKEN_NORMAL), ab = add(&v, "ab", 0, RM_TOKEN_NORMAL),
        aab = add(&v, "aab", 0, RM_TOKEN_NORMAL), bc = add(&v, "bc", 0, RM_TOKEN_NORMAL);
    const char *merges[] = { "a b", "a a", "a ab", "b c" };
    rm_tokenizer *t = build(&v, false, "gpt-2", merges, 4, -1);
    int32_t a = 'a', b = 'b', c = 'c'; /* letters stand for themselves at their own id */
    expect_ids(t, "", false, NO_IDS);
    expect_ids(t, "b", false, IDS(b));
    expect_ids(t, "aab", false, IDS(aab));       /* a+ab, not aa+b: "a b" has the lower rank */
    expect_ids(t, "aaa", false, IDS(aa, a));     /* leftmost first */
    expect_ids(t, "aaaa", false, IDS(aa, aa));
    expect_ids(t, "abc", false, IDS(ab, c));     /* not a+bc */
    expect_ids(t, "cbc", false, IDS(c, bc));
    expect_ids(t, "a a", false, IDS(a, ' ', a)); /* the blank is a byte like others */
    expect_ids(t, "aa1b", false, IDS(aa, '1', b)); /* no merge across pieces */
    rm_tokenizer_free(t);
}

Test(bpe, names_are_found_longest_first)
{
    vocab v = { .n = 0 };
    add_bytes(&v, false);
    int bos = add(&v, "<s>", 0, RM_TOKEN_CONTROL), think = add(&v, "<think>", 0, RM_TOKEN_CONTROL),
        longer = add(&v, "<think>!", 0, RM_TOKEN_CONTROL), run = add(&v, "  ", 0, RM_TOKEN_USER);
    rm_tokenizer *t = build(&v, false, "gpt-2", NULL, 0, bos);
    expect_ids(t, "x<think>y", true, IDS(bos, 'x', think, 'y'));
    expect_ids(t, "<think>!<thin", true, IDS(bos, longer, '<', 't', 'h', 'i', 'n'));
    expect_ids(t, "", true, IDS(bos));
    expect_ids(t, "<s>", false, IDS('<', 's', '>'));
    expect_ids(t, "a   b", false, IDS('a', run, ' ', 'b')); /* user-defined: always */
    int32_t mixed[] = { bos, 'a', think, run };
    rm_text text = { 0 };
    rm_tokenizer_decode(t, mixed, 4, false, &text);
    cr_expect_str_eq(text.data, "a  ");
    rm_text_free(&text);
    rm_tokenizer_free(t);
}

Test(bpe, whole_pieces_win_where_the_pre_tokenizer_says_so)
{
    vocab v = { .n = 0 };
    add_bytes(&v, false);
    int abc = add(&v, "abc", 0, RM_TOKEN_NORMAL);
    rm_tokenizer *t = build(&v, false, "llama-bpe", NULL, 0, -1);
    expect_ids(t, "abc", false, IDS(abc)); /* no merge leads there */
    rm_tokenizer_free(t);
    t = build(&v, false, "gpt-2", NULL, 0, -1);
    expect_ids(t, "abc", false, IDS('a', 'b', 'c'));
    rm_tokenizer_free(t);
}

Test(bpe, missing_bytes_are_named)
{
    vocab v = { .n = 0 };
    add(&v, "a", 0, RM_TOKEN_NORMAL);
    rm_tokenizer *t = build(&v, false, "gpt-2", NULL, 0, -1);
    static const struct { const char *text, *says; } table[] = {
        { "ab", "character \"b\" (byte 62)" },
        { "a\xc3\xa4", "character \"\xc3\xa4\" (byte C3)" },
        { "a\xff", "byte FF" },
        { "a ", "byte 20" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int32_t *tokens;
        int n;
        rm_error err = { { 0 } };
        cr_expect_eq(rm_tokenizer_encode(t, table[i].text, strlen(table[i].text), false, &tokens,
                                         &n, &err), RM_E_ARGUMENT);
        cr_expect(strstr(err.text, table[i].says), "%s", err.text);
    }
    rm_tokenizer_free(t);
}

Test(sentencepiece, merges_by_score_then_leftmost)
{
    vocab v = { .n = 0 };
    int bos = add(&v, "<s>", 0, RM_TOKEN_CONTROL);
    add_bytes(&v, true);
    int blank = add(&v, "\xe2\x96\x81", -1, RM_TOKEN_NORMAL), a = add(&v, "a", -2, RM_TOKEN_NORMAL),
        b = add(&v, "b", -3, RM_TOKEN_NORMAL), ab = add(&v, "ab", -4, RM_TOKEN_NORMAL),
        ba = add(&v, "ba", -5, RM_TOKEN_NORMAL), blank_a = add(&v, "\xe2\x96\x81" "a", -6, RM_TOKEN_NORMAL);
    rm_tokenizer *t = build(&v, true, NULL, NULL, 0, bos);
    int32_t byte0 = bos + 1;
    expect_ids(t, "ab", false, IDS(blank, ab));
    expect_ids(t, "aba", false, IDS(blank, ab, a));
    expect_ids(t, "ba", true, IDS(bos, blank, ba));
    expect_ids(t, "a b", false, IDS(blank_a, blank, b));
    expect_ids(t, " a", false, IDS(blank, blank_a));
    expect_ids(t, "", false, NO_IDS);
    expect_ids(t, "\xc3\xa4", false, IDS(blank, byte0 + 0xc3, byte0 + 0xa4));
    expect_ids(t, "\n", false, IDS(blank, byte0 + '\n'));
    /* a U+2581 in the text is not a space and must come back as itself */
    expect_ids(t, "\xe2\x96\x81", false, IDS(blank, byte0 + 0xe2, byte0 + 0x96, byte0 + 0x81));
    /* after a name the text gets its space again, and loses it again */
    expect_ids(t, "a<s>a", true, IDS(bos, blank_a, bos, blank_a));
    expect_ids(t, "<s>", false, IDS(blank, byte0 + '<', byte0 + 's', byte0 + '>'));
    rm_tokenizer_free(t);
}

Test(tokenizer, bad_vocabularies_are_refused)
{
    vocab v = { .n = 0 };
    rm_error err = { { 0 } };
    rm_tokenizer *t;
    add(&v, "a", 0, RM_TOKEN_NORMAL);
    add(&v, "b", 0, RM_TOKEN_NORMAL);
    const char *merge = "a c";
    size_t merge_bytes = 3;
    const rm_tokenizer_source good = { .pre = "gpt-2", .n_vocab = 2, .text = v.text,
                                       .text_bytes = v.bytes, .type = v.type, .merge = &merge,
                                       .merge_bytes = &merge_bytes, .bos = -1, .eos = -1,
                                       .unknown = -1 };
    rm_tokenizer_source s = good;
    cr_assert_eq(rm_tokenizer_new(&s, &t, &err), RM_OK);
    rm_tokenizer_free(t);
#define REFUSED(change, fragment)                                                               \
    do {                                                                                        \
        s = good;                                                                               \
        change;                                                                                 \
        cr_expect_neq(rm_tokenizer_new(&s, &t, &err), RM_OK);                                   \
        cr_expect(strstr(err.text, fragment), "%s", err.text);                                  \
    } while (0)
    REFUSED(s.n_merges = 1, "merge 0, \"a c\", names a piece that the vocabulary lacks");
    REFUSED((s.n_merges = 1, merge = "ab "), "expected two pieces");
    REFUSED((s.n_merges = 1, merge_bytes = 5, merge = "a \033\xff\""), "merge 0, \"a \\x1B\\xFF\\x22\", names");
    REFUSED(s.pre = "no-such", "pre-tokenizer \"no-such\" is not supported; known: gpt-2");
    REFUSED(s.eos = 2, "the eos token is 2");
    REFUSED(s.bos = -2, "the bos token is -2");
    REFUSED(s.add_bos = true, "a bos token is to be added");
    REFUSED(s.sentencepiece = true, "without scores");
    REFUSED(v.type[1] = 7, "token 1 has type 7, expected 1 to 6");
    REFUSED(v.type[1] = RM_TOKEN_BYTE, "byte token 1 is written \"b\", expected <0xNN>");
    REFUSED((v.type[1] = 1, v.text[1] = "\xff"), "token 1 is not valid UTF-8 at byte 0");
}

Test(tokenizer, same_vocabulary_names_the_first_difference)
{
    vocab v = { .n = 0 }, w;
    rm_error err = { { 0 } };
    add_bytes(&v, false);
    add(&v, "<x>", 0, RM_TOKEN_CONTROL);
    w = v; /* texts keep pointing into v: only read */
    rm_tokenizer *a = build(&v, false, "gpt-2", NULL, 0, -1);
    rm_tokenizer *b = build(&w, false, "qwen2", NULL, 0, -1);
    cr_expect_eq(rm_tokenizer_same(a, b, &err), RM_OK, "%s", err.text);
    rm_tokenizer_free(b);
    w.text[256] = "<y>";
    b = build(&w, false, "gpt-2", NULL, 0, -1);
    cr_expect_eq(rm_tokenizer_same(a, b, &err), RM_E_ARGUMENT);
    cr_expect(strstr(err.text, "token 256 is \"<x>\""), "%s", err.text);
    rm_tokenizer_free(b);
    w.n--;
    b = build(&w, false, "gpt-2", NULL, 0, -1);
    cr_expect_eq(rm_tokenizer_same(a, b, &err), RM_E_ARGUMENT);
    rm_tokenizer_free(b);
    rm_tokenizer_free(a);
}

/* ---- round trips ------------------------------------------------------------------------------ */

/* Random text: valid UTF-8 of all lengths, many blanks, U+2581 and names; or any bytes. */
static void random_text(rm_text *text, uint32_t seed, bool valid)
{
    static const char *const bits[] = { " ", "  ", "\n", "\xe2\x96\x81", "<s>", "a", "ab", "'s",
                                        "12", "\xc2\xa0", "\xf0\x9f\x98\x80", "\xe4\xb8\xad" };
    uint32_t n = (uint32_t)rm_scale(rm_random(seed, 1, 0, 0), 40);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t r = rm_random(seed, 1, i, 1);
        uint32_t c = (uint32_t)rm_scale(rm_random(seed, 1, i, 2), 0x110000);
        if (!valid && r % 3 == 0) {
            char byte = (char)(r >> 8);
            rm_text_add(text, &byte, 1);
        } else if (r % 2) {
            rm_text_puts(text, bits[(r >> 8) % (uint64_t)COUNT(bits)]);
        } else if (c < 0x80) {
            rm_text_printf(text, "%c", c ? (char)c : 'z');
        } else if (c < 0x800 || (c >= 0x10000 && r % 8 == 0)) {
            c &= 0x7ff;
            c |= 0x80;
            rm_text_printf(text, "%c%c", (char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f)));
        } else if (c >= 0x10000) {
            rm_text_printf(text, "%c%c%c%c", (char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3f)),
                           (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f)));
        } else if (c < 0xd800 || c > 0xdfff) {
            rm_text_printf(text, "%c%c%c", (char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3f)),
                           (char)(0x80 | (c & 0x3f)));
        }
    }
}

/* `complete`: the vocabulary has a token for every byte; else a missing one is an error. */
static void round_trips(const rm_tokenizer *t, bool valid, bool complete, uint32_t n)
{
    bool add_bos = rm_tokenizer_describe(t).add_bos;
    for (uint32_t seed = 0; seed < n; seed++)
        for (int special = 0; special < 2; special++) {
            rm_text text = { 0 }, back = { 0 };
            int32_t *tokens;
            int n_tokens;
            rm_error err = { { 0 } };
            random_text(&text, seed, valid);
            rm_status st = rm_tokenizer_encode(t, text.data, text.length, special, &tokens,
                                               &n_tokens, &err);
            if (st == RM_E_ARGUMENT && !complete) {
                cr_expect(strstr(err.text, "no token for"), "%s", err.text);
                rm_text_free(&text);
                continue;
            }
            cr_assert_eq(st, RM_OK, "%s", err.text);
            int skip = special && add_bos;
            rm_tokenizer_decode(t, tokens + skip, n_tokens - skip, true, &back);
            cr_assert(back.length == text.length &&
                      (!text.length || memcmp(back.data, text.data, text.length) == 0),
                      "seed %u: \"%s\" came back as \"%s\"", seed, text.data, back.data);
            rm_text_free(&text);
            rm_text_free(&back);
            free(tokens);
        }
}

static rm_tokenizer *full_bpe(const char *pre)
{
    static vocab v;
    static const char *const merges[] = { "a b", "\xc4\xa0 a" };
    v.n = 0;
    add_bytes(&v, false);
    add(&v, "ab", 0, RM_TOKEN_NORMAL);
    add(&v, "\xc4\xa0" "a", 0, RM_TOKEN_NORMAL);
    add(&v, "<s>", 0, RM_TOKEN_CONTROL);
    return build(&v, false, pre, merges, 2, -1);
}

static rm_tokenizer *full_sentencepiece(bool reaching)
{
    static vocab v;
    v.n = 0;
    add_bytes(&v, true);
    int bos = add(&v, "<s>", 0, RM_TOKEN_CONTROL);
    add(&v, "\xe2\x96\x81", -1, RM_TOKEN_NORMAL);
    add(&v, "\xe2\x96\x81\xe2\x96\x81", -2, RM_TOKEN_NORMAL);
    add(&v, "ab", -3, RM_TOKEN_NORMAL);
    add(&v, "\xe4\xb8\xad", -3, RM_TOKEN_NORMAL);
    add(&v, "\xe2\x96\x81" "12", -3, RM_TOKEN_NORMAL);
    if (reaching) /* a piece across two words: no text of these tests has it */
        add(&v, "q\xe2\x96\x81q", -4, RM_TOKEN_NORMAL);
    return build(&v, true, NULL, NULL, 0, bos);
}

static const char *const pres[] = { "gpt-2", "default", "llama-bpe", "qwen2", "starcoder",
                                    "falcon", "deepseek-llm", "deepseek-coder", "deepseek-v3" };

/* With a token for every byte any bytes come back, valid or not. */
Test(tokenizer, all_bytes_round_trip_in_bpe)
{
    for (int i = 0; i < COUNT(pres); i++) {
        rm_tokenizer *t = full_bpe(pres[i]);
        round_trips(t, true, true, 300);
        round_trips(t, false, true, 300);
        rm_tokenizer_free(t);
    }
}

Test(tokenizer, all_bytes_round_trip_in_sentencepiece)
{
    rm_tokenizer *t = full_sentencepiece(false);
    round_trips(t, true, true, 2000);
    round_trips(t, false, true, 2000);
    rm_tokenizer_free(t);
}

/* Where no piece reaches across words each word is merged by itself, and repeated ones are copied:
 * the tokens must be those of merging the whole text, which a reaching piece enforces. */
Test(tokenizer, words_apart_are_as_words_together)
{
    rm_tokenizer *apart = full_sentencepiece(false), *together = full_sentencepiece(true);
    for (uint32_t seed = 0; seed < 500; seed++) {
        rm_text text = { 0 };
        int32_t *a, *b;
        int n_a, n_b;
        for (uint32_t part = 0; part < 1 + seed % 40; part++) /* some long enough to remember */
            random_text(&text, seed * 1000 + part % 7, seed % 2);
        cr_assert_eq(rm_tokenizer_encode(apart, text.data, text.length, seed % 3, &a, &n_a, NULL),
                     RM_OK);
        cr_assert_eq(rm_tokenizer_encode(together, text.data, text.length, seed % 3, &b, &n_b, NULL),
                     RM_OK);
        cr_assert(n_a == n_b && memcmp(a, b, (size_t)n_a * sizeof *a) == 0, "seed %u", seed);
        free(a);
        free(b);
        rm_text_free(&text);
    }
    rm_tokenizer_free(apart);
    rm_tokenizer_free(together);
}

/* The same for BPE: a long text that repeats itself against its parts, cut where pieces end. */
Test(tokenizer, repeated_pieces_are_as_the_first)
{
    rm_tokenizer *t = full_bpe("gpt-2");
    rm_text text = { 0 };
    int32_t *all, *one;
    int n_all, n_one;
    static const char line[] = "ab aab abab, a 12ab's\n";
    for (int i = 0; i < 200; i++)
        rm_text_puts(&text, line);
    cr_assert_eq(rm_tokenizer_encode(t, text.data, text.length, false, &all, &n_all, NULL), RM_OK);
    cr_assert_eq(rm_tokenizer_encode(t, line, strlen(line), false, &one, &n_one, NULL), RM_OK);
    cr_assert_eq(n_all, 200 * n_one);
    for (int i = 0; i < n_all; i++)
        cr_expect_eq(all[i], one[i % n_one]);
    free(all);
    free(one);
    rm_text_free(&text);
    rm_tokenizer_free(t);
}

/* One byte a token where nothing is valid UTF-8: overlong, surrogate, lone continuation. */
Test(tokenizer, invalid_bytes_are_byte_tokens)
{
    rm_tokenizer *bpe = full_bpe("gpt-2"), *sp = full_sentencepiece(false);
    static const char bad[] = "\xc0\x80\xed\xa0\x80\x80\xff";
    int32_t *tokens;
    int n;
    cr_assert_eq(rm_tokenizer_encode(sp, bad, sizeof bad - 1, false, &tokens, &n, NULL), RM_OK);
    cr_expect_eq(n, 8); /* and the blank in front */
    for (int i = 1; i < n; i++)
        cr_expect_eq(tokens[i], (unsigned char)bad[i - 1]);
    free(tokens);
    cr_assert_eq(rm_tokenizer_encode(bpe, bad, sizeof bad - 1, false, &tokens, &n, NULL), RM_OK);
    cr_expect_eq(n, 7);
    free(tokens);
    rm_tokenizer_free(bpe);
    rm_tokenizer_free(sp);
}

/* A quarter of a megabyte without a place to cut: quadratic work would take minutes. */
Test(tokenizer, long_texts_of_one_character)
{
    static const char *const units[] = { "a", " ", "\n", "1", "!", "ab", "\xff", "\xe4\xb8\xad",
                                         " \xff", "'s", "<" };
    for (int u = 0; u < COUNT(units); u++)
        for (int i = -1; i < COUNT(pres); i++) {
            rm_tokenizer *t = i < 0 ? full_sentencepiece(false) : full_bpe(pres[i]);
            size_t unit = strlen(units[u]), n = (1 << 18) / unit * unit;
            char *text = malloc(n + 1);
            for (size_t k = 0; k < n; k++)
                text[k] = units[u][k % unit];
            text[n] = 'x'; /* a run of blanks must not reach the end */
            int32_t *tokens;
            int n_tokens;
            rm_error err = { { 0 } };
            rm_text back = { 0 };
            cr_assert_eq(rm_tokenizer_encode(t, text, n + 1, false, &tokens, &n_tokens, &err), RM_OK,
                         "%d %d: %s", u, i, err.text);
            rm_tokenizer_decode(t, tokens, n_tokens, false, &back);
            cr_expect(back.length == n + 1 && memcmp(back.data, text, n + 1) == 0);
            rm_text_free(&back);
            free(tokens);
            free(text);
            rm_tokenizer_free(t);
        }
}

/* ---- real vocabularies ------------------------------------------------------------------------ */

/* The embedded model: ids as its description lists them (specials 0 to 3, then the characters
 * 0123456789+-*,/()=;?! >~ and the comma in that order from 4 on). */
Test(tokenizer, embedded_model)
{
    rm_tokenizer *t;
    rm_error err = { { 0 } };
    if (access(RM_MODELS_DIR "/thimble.gguf", R_OK))
        cr_skip("no " RM_MODELS_DIR "/thimble.gguf");
    cr_assert_eq(rm_tokenizer_open(RM_MODELS_DIR "/thimble.gguf", &t, &err), RM_OK, "%s", err.text);
    expect_ids(t, "(17+5)*2=<think>", true,
               IDS(0, 18, 5, 11, 14, 9, 19, 16, 6, 20, 2));
    expect_ids(t, "4 7>8</think><eos>", true, IDS(0, 8, 24, 11, 25, 12, 3, 1));
    int32_t *tokens;
    int n;
    cr_expect_eq(rm_tokenizer_encode(t, "1<eos>", 6, false, &tokens, &n, &err), RM_E_ARGUMENT);
    cr_expect(strstr(err.text, "character \"<\" (byte 3C)"), "%s", err.text);
    rm_tokenizer_free(t);
}

/* Texts and ids recorded with llama.cpp (models/ggml-vocab-*.gguf.inp and .out of its
 * repository; special tokens not parsed). Each pair with the vocabulary that belongs to it: GGUF, or
 * the files of the model's makers. Why a pair does not run is said in the same table. */
static const struct recording {
    const char *pair, *vocabulary, *missing;
} recordings[] = {
    { "gpt-2", "llamacpp-vocab/ggml-vocab-gpt-2.gguf", NULL },
    { "gpt-2", "gpt2-tokenizer", NULL }, /* encoder.json, vocab.bpe */
    { "qwen2", "qwen-tokenizer", NULL }, /* vocab.json, merges.txt */
    { "llama-spm", "llamacpp-vocab/ggml-vocab-llama-spm.gguf", NULL },
    { "phi-3", "llamacpp-vocab/ggml-vocab-phi-3.gguf", NULL },
    { "deepseek-llm", "llamacpp-vocab/ggml-vocab-deepseek-llm.gguf", NULL },
    { "deepseek-coder", "llamacpp-vocab/ggml-vocab-deepseek-coder.gguf", NULL },
    { "falcon", "llamacpp-vocab/ggml-vocab-falcon.gguf", NULL },
    { "mpt", "llamacpp-vocab/ggml-vocab-mpt.gguf", NULL },
    { "refact", "llamacpp-vocab/ggml-vocab-refact.gguf", NULL },
    { "starcoder", "llamacpp-vocab/ggml-vocab-starcoder.gguf", NULL },
    { "bert-bge", NULL, "WordPiece, which no model here uses" },
    { "command-r", NULL, "its vocabulary is not there" },
    { "gemma-4", NULL, "its vocabulary is not there" },
    { "llama-bpe", NULL, "its vocabulary is not there" },
    { "qwen35", NULL, "its vocabulary is not there" },
};

static void check_recorded(const struct recording *r)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char path[512];
    char *input, *output;
    size_t n_input, n_output;
    rm_tokenizer *t;
    rm_error err = { { 0 } };
    int n_texts = 0;
    snprintf(path, sizeof path, RM_TEST_DATA "/%s", r->vocabulary);
    cr_assert_eq(rm_tokenizer_open(path, &t, &err), RM_OK, "%s", err.text);
    snprintf(path, sizeof path, RM_TEST_DATA "/llamacpp-vocab/ggml-vocab-%s.gguf.inp", r->pair);
    cr_assert_eq(rm_file_read(path, 1 << 20, &input, &n_input, &err), RM_OK, "%s", err.text);
    strcpy(path + strlen(path) - 3, "out");
    cr_assert_eq(rm_file_read(path, 1 << 20, &output, &n_output, &err), RM_OK, "%s", err.text);
    char *text = input, *line = output;
    for (char *end; (end = strstr(text, separator)); text = end + sizeof separator - 1) {
        int32_t ids[512];
        int n_ids = 0;
        char *newline = strchr(line, '\n');
        cr_assert_not_null(newline);
        *newline = *end = '\0';
        for (char *at = line, *next; n_ids < 511; at = next) {
            long id = strtol(at, &next, 10);
            if (next == at)
                break;
            ids[n_ids++] = (int32_t)id;
        }
        ids[n_ids] = -1;
        expect_ids(t, text, false, ids);
        line = newline + 1;
        n_texts++;
    }
    cr_expect(n_texts > 40, "%d texts", n_texts);
    if (strcmp(r->pair, "qwen2") != 0) /* whose NFC changes texts */
        round_trips(t, true, false, 100); /* some of these lack bytes that assigned characters never need */
    cr_log_info("%s: %d texts, tokens of %s", r->pair, n_texts, r->vocabulary);
    free(input);
    free(output);
    rm_tokenizer_free(t);
}

Test(recorded, every_pair_whose_vocabulary_is_there)
{
    int ran = 0;
    if (access(RM_TEST_DATA "/llamacpp-vocab", R_OK))
        cr_skip("no folder " RM_TEST_DATA "/llamacpp-vocab");
    for (size_t i = 0; i < sizeof recordings / sizeof *recordings; i++) {
        char path[512];
        if (recordings[i].missing) {
            cr_log_info("%s: not run: %s", recordings[i].pair, recordings[i].missing);
            continue;
        }
        snprintf(path, sizeof path, RM_TEST_DATA "/%s", recordings[i].vocabulary);
        if (access(path, R_OK)) {
            cr_log_info("%s: not run: no %s", recordings[i].pair, path);
            continue;
        }
        check_recorded(&recordings[i]);
        ran++;
    }
    cr_expect(ran >= 9, "%d pairs", ran);
}

/* No pair in the folder is missing from the table. */
Test(recorded, the_table_knows_every_pair)
{
    DIR *folder = opendir(RM_TEST_DATA "/llamacpp-vocab");
    if (!folder)
        cr_skip("no folder " RM_TEST_DATA "/llamacpp-vocab");
    for (struct dirent *e; (e = readdir(folder));) {
        size_t n = strlen(e->d_name);
        bool known = n < 9 || strcmp(e->d_name + n - 9, ".gguf.inp") != 0;
        for (size_t i = 0; i < sizeof recordings / sizeof *recordings; i++)
            known |= n == strlen(recordings[i].pair) + 20 && /* "ggml-vocab-" and ".gguf.inp" */
                     strncmp(e->d_name + 11, recordings[i].pair, n - 20) == 0;
        cr_expect(known, "%s", e->d_name);
    }
    closedir(folder);
}

/* tokenizer.json of each kind, against the tokenizers package (goldens/make_tokenizers.py): special
 * tokens parsed, BOS in front where the file puts it. */
static void unescape(char *text)
{
    char *to = text;
    for (; *text; text++) {
        bool pair = text[0] == '\\' && (text[1] == 'n' || text[1] == 't' || text[1] == 'r');
        *to++ = !pair ? *text : text[1] == 'n' ? '\n' : text[1] == 't' ? '\t' : '\r';
        text += pair;
    }
    *to = '\0';
}

/* `marks`: ours keeps a U+2581 of the text apart from a space, so that it comes back (engine.h).
 * `returns`: nothing is rewritten, so every text comes back. */
static void check_json(const char *kind, bool marks, bool returns)
{
    char path[512], *texts, *ids;
    size_t n;
    rm_tokenizer *t;
    rm_error err = { { 0 } };
    int n_texts = 0;
    bool gguf = strcmp(kind, "gguf") == 0;
    snprintf(path, sizeof path, GOLDENS "tokenizer_%s%s", kind, gguf ? "/t5.gguf" : "");
    cr_assert_eq(rm_tokenizer_open(path, &t, &err), RM_OK, "%s", err.text);
    snprintf(path, sizeof path, GOLDENS "tokenizer_%s/ids.txt", kind);
    cr_assert_eq(rm_file_read(path, 1 << 20, &ids, &n, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_file_read(GOLDENS "tokenizer_texts.txt", 1 << 20, &texts, &n, &err), RM_OK);
    char *line = ids, *text = texts;
    for (char *end; (end = strchr(text, '\n')); text = end + 1, n_texts++) {
        int32_t *tokens;
        int n_tokens, i = 0;
        char *newline = strchr(line, '\n');
        cr_assert_not_null(newline);
        *end = *newline = '\0';
        unescape(text);
        bool other = marks && strstr(text, "\xe2\x96\x81");
        cr_assert_eq(rm_tokenizer_encode(t, text, strlen(text), !gguf, &tokens, &n_tokens, &err), RM_OK,
                     "%s: %s", kind, err.text);
        for (char *at = line, *next; !other; at = next, i++) {
            long id = strtol(at, &next, 10);
            if (next == at)
                break;
            cr_expect(i < n_tokens && tokens[i] == id, "%s, \"%s\": token %d is %d, expected %ld", kind,
                      text, i, i < n_tokens ? tokens[i] : -1, id);
        }
        cr_expect(other || i == n_tokens, "%s, \"%s\": %d tokens, expected %d", kind, text, n_tokens, i);
        free(tokens);
        line = newline + 1;
    }
    cr_expect_eq(n_texts, 34);
    if (returns)
        round_trips(t, true, true, 200);
    free(texts);
    free(ids);
    rm_tokenizer_free(t);
}

Test(json, gpt2) { check_json("gpt2", false, true); }
Test(json, llama3) { check_json("llama3", false, true); }
Test(json, qwen2) { check_json("qwen2", false, false); }
Test(json, deepseek) { check_json("deepseek", false, true); }
Test(json, tekken) { check_json("tekken", false, true); }
Test(json, llama2) { check_json("llama2", true, true); }
Test(json, llama2_metaspace) { check_json("llama2_metaspace", true, false); }
Test(json, metaspace_split) { check_json("metaspace_split", true, false); }
Test(json, flags) { check_json("flags", false, false); }
Test(json, flags_plain) { check_json("flags_plain", false, false); }
Test(json, flags_llama2) { check_json("flags_llama2", false, false); }
Test(json, unigram_t5) { check_json("unigram_t5", false, false); }
Test(json, unigram_words) { check_json("unigram_words", false, false); }
Test(json, unigram_bytes) { check_json("unigram_bytes", false, false); }
Test(json, unigram_gguf) { check_json("gguf", false, false); }
Test(json, unigram_whole) { check_json("unigram_whole", false, false); }

/* Where the vocabulary asks for NFC, text and its composed form are the same tokens; invalid bytes
 * end a stretch and stay. */
Test(json, nfc)
{
    static const char *const pairs[][2] = {
        { "e\xcc\x81", "\xc3\xa9" },                       /* e and acute */
        { "\xff" "e\xcc\x81\xfe", "\xff\xc3\xa9\xfe" },
        { "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81" }, /* Hangul letters */
    };
    rm_tokenizer *t;
    rm_error err = { { 0 } };
    cr_assert_eq(rm_tokenizer_open(GOLDENS "tokenizer_qwen2", &t, &err), RM_OK, "%s", err.text);
    for (int i = 0; i < COUNT(pairs); i++) {
        int32_t *a, *b;
        int n, m;
        cr_assert_eq(rm_tokenizer_encode(t, pairs[i][0], strlen(pairs[i][0]), false, &a, &n, &err), RM_OK);
        cr_assert_eq(rm_tokenizer_encode(t, pairs[i][1], strlen(pairs[i][1]), false, &b, &m, &err), RM_OK);
        cr_expect(n == m && memcmp(a, b, (size_t)n * sizeof *a) == 0, "pair %d", i);
        free(a);
        free(b);
    }
    rm_tokenizer_free(t);
}

Test(recorded, other_kinds_are_refused)
{
    rm_tokenizer *t;
    rm_error err = { { 0 } };
    if (access(RM_TEST_DATA "/llamacpp-vocab/ggml-vocab-bert-bge.gguf", R_OK))
        cr_skip("no folder " RM_TEST_DATA "/llamacpp-vocab");
    cr_expect_eq(rm_tokenizer_open(RM_TEST_DATA "/llamacpp-vocab/ggml-vocab-bert-bge.gguf", &t,
                                   &err), RM_E_UNSUPPORTED);
    cr_expect(strstr(err.text, "tokenizer.ggml.model is \"bert\""), "%s", err.text);
}

/* Ids of a second implementation of the rule, which rescans all pairs for the best score after
 * every merge (a dozen lines of Python). */
Test(recorded, stories260k)
{
    rm_tokenizer *t;
    rm_error err = { { 0 } };
    if (access(RM_TEST_DATA "/stories260k/stories260K.gguf", R_OK))
        cr_skip("no folder " RM_TEST_DATA "/stories260k");
    cr_assert_eq(rm_tokenizer_open(RM_TEST_DATA "/stories260k/stories260K.gguf", &t, &err), RM_OK);
    expect_ids(t, "Once upon a time", true, IDS(1, 403, 407, 261, 378));
    expect_ids(t, "Lily and Tom went to the park, and they were happy.", false,
               IDS(317, 269, 274, 287, 263, 377, 267, 265, 282, 295, 433, 432, 269, 366, 382, 276,
                   393, 426));
    round_trips(t, true, true, 500);
    rm_tokenizer_free(t);
}
