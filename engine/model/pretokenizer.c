/* pretokenizer.c - the regular expressions of the pre-tokenizers, and PCRE2 to run them.
 *
 * The patterns are those of the models' own tokenizer.json files (GPT-2's is from Radford et al.
 * 2019, the encoder.py released with it), under the names that GGUF files use. Written so that
 * PCRE2 means what the tokenizers' own engines mean:
 *
 *   - \s is spelled out as Unicode's White_Space, because PCRE2's counts U+180E as well;
 *   - PCRE2_DOLLAR_ENDONLY, because $ is the end of the piece and not a newline before it;
 *   - PCRE2_UTF | PCRE2_UCP, and PCRE2_NO_UTF_CHECK when matching: the caller has validated the
 *     text once, while PCRE2 would validate the rest of it again at every match (quadratic);
 *   - a search that begins inside a run of blanks and fails at its end would be tried again one
 *     blank later (quadratic in the run): such patterns look back for a blank first.
 *
 * Letters and numbers are those of PCRE2's Unicode version (14 in Debian 12's 10.42); characters
 * assigned later count as neither. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/model/pretokenizer.h"

#include "engine/model/quote.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STAGES 6

#define WS "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

/* A run of blanks leaves its last one to the word that follows; the rest is one piece. */
#define BLANKS "[" WS "]+(?![^" WS "])|[" WS "]+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+|" BLANKS
#define LLAMA3(digits) "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
    "| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n]*|[" WS "]*[\\r\\n]+|" BLANKS
/* Mistral's models since Nemo: words end where a small letter is followed by a capital. */
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define TEKKEN "[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]*[" LOWER "]+|[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]+[" LOWER "]*" \
    "|\\p{N}| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]*|[" WS "]*[\\r\\n]+|" BLANKS
#define FALCON_SIGNS "[\\p{P}\\$\\+<=>\\^~\\|`]+"
#define THREE_DIGITS "[0-9][0-9][0-9]"
/* Chinese characters; U+0800 to U+4E00; Hangul: as DeepSeek's files group them. */
#define EAST_ASIAN "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"
/* DeepSeek LLM's own list of letters that have case: what \p{L&} meant to its makers. */
#define CASED \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}"            \
    "\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}"    \
    "\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}"             \
    "\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}"                  \
    "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}"            \
    "\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}"            \
    "\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}"   \
    "\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}"    \
    "\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}"            \
    "\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}"             \
    "\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}"              \
    "\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}"   \
    "\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}"    \
    "\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}"             \
    "\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}"            \
    "\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}"          \
    "\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}"    \
    "\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"

#define WHOLE_PIECES 1u
#define ADDS_BOS 2u

static const struct spec {
    const char *names;  /* each followed by one blank */
    unsigned flags;
    const char *patterns[MAX_STAGES];
} specs[] = {
    { "gpt-2 gpt2 mpt olmo jais phi-2 gigachat trillion granite-docling ", 0, { GPT2 } },
    { "default ", 0, { FALCON_SIGNS, GPT2, "\\p{N}+", THREE_DIGITS } },
    { "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 ",
      WHOLE_PIECES | ADDS_BOS, { LLAMA3("\\p{N}{1,3}") } },
    { "tekken ", WHOLE_PIECES | ADDS_BOS, { TEKKEN } },
    { "dbrx smaug-bpe ", 0, { LLAMA3("\\p{N}{1,3}") } },
    { "qwen2 stablelm2 deepseek-r1-qwen megrez hunyuan ", 0, { LLAMA3("\\p{N}") } },
    { "starcoder refact command-r smollm codeshell exaone minerva-7b ", 0, { "\\p{N}", GPT2 } },
    { "falcon ", 0, { FALCON_SIGNS, GPT2, THREE_DIGITS } },
    { "deepseek-llm ", 0,
      { "[\\r\\n]", "[" WS "]?[" CASED "]+",
        "[" WS "]?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}"
        "\\x{3000}-\\x{3002}]+",
        "(?<![" WS "])[" WS "]++$", EAST_ASIAN, "\\p{N}+" } },
    { "deepseek-coder ", 0,
      { "[\\r\\n]", "[" WS "]?\\p{L}+", "[" WS "]?\\p{P}+", EAST_ASIAN, "\\p{N}" } },
    { "deepseek-v3 ", 0,
      { "\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
        "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|"
        "[" WS "]*[\\r\\n]+|" BLANKS } },
};

struct rm_pretokenizer {
    const struct spec *spec;
    pcre2_code *code[MAX_STAGES];
    int n_stages;
};

typedef struct cuts {
    size_t *end;
    size_t n, capacity;
} cuts;

struct rm_splitter {
    const rm_pretokenizer *pre;
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *jit_stack;
    cuts now, next;
};

/* The row that lists `name`. */
static const struct spec *find_spec(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || strchr(name, ' '))
        return NULL;
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++)
        for (const char *at = specs[i].names; *at; at = strchr(at, ' ') + 1)
            if (strncmp(at, name, n) == 0 && at[n] == ' ')
                return &specs[i];
    return NULL;
}

static rm_status unknown_name(const char *name, rm_error *err)
{
    rm_text known = { 0 };
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++)
        rm_text_puts(&known, specs[i].names);
    rm_status st = rm_fail(err, RM_E_UNSUPPORTED,
                           "pre-tokenizer \"%s\" is not supported; known: %s",
                           rm_quoted(&(rm_quote){ 0 }, name, strlen(name)),
                           known.data ? known.data : "");
    rm_text_free(&known);
    return st;
}

rm_status rm_pretokenizer_new(const char *name, rm_pretokenizer **out, rm_error *err)
{
    const struct spec *spec = find_spec(name);
    if (!spec)
        return unknown_name(name, err);
    rm_pretokenizer *p = calloc(1, sizeof *p);
    if (!p)
        return rm_fail(err, RM_E_MEMORY, "no memory for the pre-tokenizer");
    p->spec = spec;
    for (; p->n_stages < MAX_STAGES && spec->patterns[p->n_stages]; p->n_stages++) {
        int code;
        PCRE2_SIZE at;
        pcre2_code *c = pcre2_compile((PCRE2_SPTR)spec->patterns[p->n_stages],
                                      PCRE2_ZERO_TERMINATED,
                                      PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL);
        if (!c) {
            char why[120] = "";
            pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
            bool memory = code == PCRE2_ERROR_HEAP_FAILED;
            rm_status st = rm_fail(err, memory ? RM_E_MEMORY : RM_E_UNSUPPORTED,
                                   "pattern %d of pre-tokenizer %s: PCRE2 says at %zu: %s",
                                   p->n_stages, name, (size_t)at, why);
            rm_pretokenizer_free(p);
            return st;
        }
        /* Where the system forbids generated code this fails and pcre2_match interprets: the
         * same pieces at a quarter of the speed. */
        (void)pcre2_jit_compile(c, PCRE2_JIT_COMPLETE);
        p->code[p->n_stages] = c;
    }
    *out = p;
    return RM_OK;
}

void rm_pretokenizer_free(rm_pretokenizer *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n_stages; i++)
        pcre2_code_free(p->code[i]);
    free(p);
}

bool rm_pretokenizer_whole_pieces(const rm_pretokenizer *p)
{
    return (p->spec->flags & WHOLE_PIECES) != 0;
}

bool rm_pretokenizer_named_adds_bos(const char *name)
{
    const struct spec *spec = find_spec(name);
    return spec && (spec->flags & ADDS_BOS);
}

rm_status rm_splitter_new(const rm_pretokenizer *pre, rm_splitter **out, rm_error *err)
{
    rm_splitter *s = calloc(1, sizeof *s);
    if (s) {
        s->pre = pre;
        s->match = pcre2_match_data_create(1, NULL);
        s->context = pcre2_match_context_create(NULL);
        s->jit_stack = pcre2_jit_stack_create(32 * 1024, 1024 * 1024, NULL);
    }
    if (!s || !s->match || !s->context || !s->jit_stack) {
        rm_splitter_free(s);
        return rm_fail(err, RM_E_MEMORY, "no memory to split a text");
    }
    pcre2_jit_stack_assign(s->context, NULL, s->jit_stack);
    *out = s;
    return RM_OK;
}

void rm_splitter_free(rm_splitter *s)
{
    if (!s)
        return;
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->jit_stack);
    free(s->now.end);
    free(s->next.end);
    free(s);
}

static bool cuts_add(cuts *c, size_t end)
{
    if (c->n == c->capacity) {
        size_t wider = c->capacity * 2 + 256;
        size_t *e = realloc(c->end, wider * sizeof *e);
        if (!e)
            return false;
        c->end = e;
        c->capacity = wider;
    }
    c->end[c->n++] = end;
    return true;
}

/* One match of a stage in text[0..n) from `at`: 1 found, 0 none, negative: PCRE2's error. */
static int find_match(rm_splitter *s, const pcre2_code *code, const char *text, size_t n, size_t at)
{
    int found = pcre2_match(code, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK, s->match, s->context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter keeps its state on the heap */
        found = pcre2_match(code, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                            s->match, s->context);
    if (found >= 0)
        return 1;
    return found == PCRE2_ERROR_NOMATCH ? 0 : found;
}

/* Cuts the piece text[start..end) by one stage into s->next. */
static rm_status cut_piece(rm_splitter *s, const pcre2_code *code, const char *text, size_t start,
                           size_t end, rm_error *err)
{
    const char *piece = text + start;
    size_t n = end - start, done = 0;
    const PCRE2_SIZE *where = pcre2_get_ovector_pointer(s->match);
    while (done < n) {
        int found = find_match(s, code, piece, n, done);
        if (found < 0) {
            char why[120] = "";
            pcre2_get_error_message(found, (PCRE2_UCHAR *)why, sizeof why);
            return rm_fail(err, RM_E_LIMIT, "splitting the text at byte %zu: PCRE2 says: %s",
                           start + done, why);
        }
        if (!found || where[1] <= where[0])
            break;
        if (where[0] > done && !cuts_add(&s->next, start + where[0]))
            goto no_memory;
        if (!cuts_add(&s->next, start + where[1]))
            goto no_memory;
        done = where[1];
    }
    if (done < n && !cuts_add(&s->next, end))
        goto no_memory;
    return RM_OK;
no_memory:
    return rm_fail(err, RM_E_MEMORY, "no memory to split a text of %zu bytes", end);
}

rm_status rm_splitter_cut(rm_splitter *s, const char *text, size_t n, const size_t **ends,
                          size_t *n_ends, rm_error *err)
{
    s->now.n = 0;
    if (n && !cuts_add(&s->now, n))
        return rm_fail(err, RM_E_MEMORY, "no memory to split a text of %zu bytes", n);
    for (int stage = 0; stage < s->pre->n_stages; stage++) {
        s->next.n = 0;
        size_t start = 0;
        for (size_t i = 0; i < s->now.n; i++) {
            rm_status st = cut_piece(s, s->pre->code[stage], text, start, s->now.end[i], err);
            if (st)
                return st;
            start = s->now.end[i];
        }
        cuts swap = s->now;
        s->now = s->next;
        s->next = swap;
    }
    *ends = s->now.end;
    *n_ends = s->now.n;
    return RM_OK;
}
