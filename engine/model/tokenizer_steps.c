/* tokenizer_steps.c - what tokenizer.json does to a text before the model sees it: "normalizer" and
 * "pre_tokenizer", each one step or a Sequence.
 *
 * Byte-level BPE: Splits by regular expression (and Digits) in front of a ByteLevel. The expressions
 * are not run as they stand but recognised as one of pretokenizer.c's, whose spelling is known to
 * mean in PCRE2 what these mean to their own engine; an unknown one is refused.
 *
 * SentencePiece, BPE or unigram: blanks become U+2581, and one is put in front. Either the normalizer
 * does it (Prepend, Replace) or the pre-tokenizer (Metaspace), which then also cuts in front of
 * each. The commonest normalizer, these two steps and no other, is not run: the BPE has the rule
 * built in, in a form that keeps a U+2581 of the text apart from a space (tokenizer_encode.c). */
#include "engine/model/tokenizer_json_private.h"

#include "engine/model/quote.h"
#include "engine/model/tokenizer_private.h"

#include <stdlib.h>

typedef rm_tokenizer_builder builder;

enum { MAX_SPLITS = 6 };

static const char *type_of(const cJSON *item)
{
    const char *type = rm_json_text(item, "type");
    return type ? type : "without a type";
}

/* ---- normalizer ---------------------------------------------------------------------------- */

/* Base64 (RFC 4648) to bytes, malloc'd; NULL if it is none. */
static char *decode_base64(const char *text, size_t *n)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = strlen(text), written = 0;
    char *bytes = malloc(length / 4 * 3 + 3);
    uint32_t held = 0;
    int bits = 0;
    while (length && text[length - 1] == '=')
        length--;
    for (size_t i = 0; bytes && i < length; i++) {
        const char *at = strchr(letters, text[i]);
        if (!at || !text[i]) {
            free(bytes);
            return NULL;
        }
        held = held << 6 | (uint32_t)(at - letters);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes[written++] = (char)(held >> bits & 0xff);
        }
    }
    *n = written;
    return bytes;
}

static rm_status add_bytes(builder *b, rm_step_kind kind, const char *from, size_t n, const char *to)
{
    rm_status st = rm_normalizer_add(b->source.normalizer, kind, from, n, to, to ? strlen(to) : 0, b->err);
    return st ? rm_fail_within(b->err, st, "%s: normalizer", b->folder) : RM_OK;
}

static rm_status add_step(builder *b, rm_step_kind kind, const char *from, const char *to)
{
    return add_bytes(b, kind, from, from ? strlen(from) : 0, to);
}

static rm_status add_table(builder *b, const cJSON *step)
{
    const char *text = rm_json_text(step, "precompiled_charsmap");
    size_t n = 0;
    if (!text || !*text)
        return RM_OK; /* an empty table */
    char *bytes = decode_base64(text, &n);
    if (!bytes)
        return rm_fail(b->err, RM_E_FORMAT, "%s: normalizer: precompiled_charsmap should be base64",
                       b->folder);
    rm_status st = add_bytes(b, RM_STEP_CHARSMAP_CLUSTERS, bytes, n, NULL);
    free(bytes);
    return st;
}

/* Of regular expressions the runs of one character " {2,}" alone. */
static rm_status add_replace(builder *b, const cJSON *step)
{
    const cJSON *pattern = rm_json_at(step, "pattern");
    const char *from = rm_json_text(pattern, "String"), *content = rm_json_text(step, "content"),
               *expression = rm_json_text(pattern, "Regex");
    if (from && content)
        return add_step(b, RM_STEP_REPLACE, from, content);
    if (expression && content && strcmp(expression, " {2,}") == 0)
        return add_step(b, RM_STEP_REPLACE_RUNS, " ", content);
    return rm_tokenizer_unsupported(b, "normalizer that replaces the expression",
                                    expression ? expression : "");
}

static rm_status add_strip(builder *b, const cJSON *step)
{
    rm_status st = RM_OK;
    if (!cJSON_IsFalse(rm_json_at(step, "strip_left")))
        st = add_step(b, RM_STEP_STRIP_LEFT, NULL, NULL);
    if (!st && !cJSON_IsFalse(rm_json_at(step, "strip_right")))
        st = add_step(b, RM_STEP_STRIP_RIGHT, NULL, NULL);
    return st;
}

static rm_status add_normalizer(builder *b, const cJSON *step)
{
    static const struct { const char *type; rm_step_kind kind; } plain[] = {
        { "NFC", RM_STEP_NFC }, { "NFD", RM_STEP_NFD }, { "NFKC", RM_STEP_NFKC },
        { "NFKD", RM_STEP_NFKD }, { "Lowercase", RM_STEP_LOWERCASE },
        { "StripAccents", RM_STEP_STRIP_ACCENTS }, { "Nmt", RM_STEP_CONTROLS },
    };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (rm_json_type_is(step, plain[i].type))
            return add_step(b, plain[i].kind, NULL, NULL);
    if (rm_json_type_is(step, "Prepend") && rm_json_text(step, "prepend"))
        return add_step(b, RM_STEP_PREPEND, rm_json_text(step, "prepend"), NULL);
    if (rm_json_type_is(step, "Replace"))
        return add_replace(b, step);
    if (rm_json_type_is(step, "Strip"))
        return add_strip(b, step);
    if (rm_json_type_is(step, "Precompiled"))
        return add_table(b, step);
    return rm_tokenizer_unsupported(b, "normalizer", type_of(step));
}

static rm_status read_normalizer(builder *b)
{
    const cJSON *normalizer = rm_json_at(b->root, "normalizer");
    if (!normalizer)
        return RM_OK;
    rm_status st = rm_normalizer_new(&b->source.normalizer, b->err);
    for (const cJSON *s = rm_first_step(normalizer, "normalizers"); s && !st;
         s = rm_next_step(normalizer, s))
        st = add_normalizer(b, s);
    return st;
}

/* ---- byte-level BPE ------------------------------------------------------------------------ */

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3(digits) \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"

/* The expressions by which tokenizer.json cuts in front of a ByteLevel, one after another, and the
 * name of them in pretokenizer.c. A ByteLevel's own expression is GPT-2's; Digits are one, too.
 * DeepSeek-V3's files (and so R1's) have these three in a row. */
static const struct known {
    const char *split[MAX_SPLITS], *name;
} known[] = {
    { { LLAMA3("\\p{N}{1,3}") }, "dbrx" },
    { { LLAMA3("\\p{N}") }, "qwen2" },
    { { GPT2 }, "gpt-2" },
    { { "\\p{N}", GPT2 }, "starcoder" },
    { { "[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]*[" LOWER "]+|[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]+[" LOWER "]*"
        "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" }, "tekken" },
    { { "[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+",
        "[\xe4\xb8\x80-\xe9\xbe\xa5\xe0\xa0\x80-\xe4\xb8\x80\xea\xb0\x80-\xed\x9f\xbf]+", "\\p{N}" },
      "deepseek-coder" },
    { { "\\p{N}{1,3}", "[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f\xe3\x82\xa0-\xe3\x83\xbf]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?"
        "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+" },
      "deepseek-v3" },
};

static rm_status name_splits(builder *b, const char *const *split, int n)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        bool same = true;
        for (int k = 0; k < MAX_SPLITS && same; k++) {
            const char *wanted = known[i].split[k];
            same = k < n ? wanted && strcmp(wanted, split[k]) == 0 : !wanted;
        }
        b->source.pre = known[i].name;
        if (same)
            return RM_OK;
    }
    return rm_tokenizer_unsupported(b, "pre_tokenizer with the expression", n ? split[n - 1] : "");
}

/* The expression of a step in front of the ByteLevel; NULL: it is none that cuts its matches out. */
static const char *expression_of(const cJSON *step)
{
    const char *behaviour = rm_json_text(step, "behavior");
    if (rm_json_type_is(step, "Digits"))
        return cJSON_IsTrue(rm_json_at(step, "individual_digits")) ? "\\p{N}" : "\\p{N}+";
    if (!rm_json_type_is(step, "Split") || !behaviour || strcmp(behaviour, "Isolated") != 0 ||
        cJSON_IsTrue(rm_json_at(step, "invert")))
        return NULL;
    return rm_json_text(rm_json_at(step, "pattern"), "Regex");
}

static rm_status read_byte_level(builder *b, const cJSON *pre)
{
    const char *split[MAX_SPLITS];
    int n = 0;
    bool level = false;
    for (const cJSON *s = rm_first_step(pre, "pretokenizers"); s; s = rm_next_step(pre, s)) {
        const char *expression = expression_of(s);
        if (level)
            return rm_tokenizer_unsupported(b, "pre_tokenizer after ByteLevel", type_of(s));
        if (rm_json_type_is(s, "ByteLevel")) {
            level = true;
            b->source.space_first = cJSON_IsTrue(rm_json_at(s, "add_prefix_space"));
            if (b->source.space_first && n)
                return rm_tokenizer_unsupported(b, "pre_tokenizer", "a Split before add_prefix_space");
            expression = cJSON_IsFalse(rm_json_at(s, "use_regex")) ? NULL : GPT2;
        } else if (!expression) {
            return rm_tokenizer_unsupported(b, "pre_tokenizer", type_of(s));
        }
        if (expression && n == MAX_SPLITS)
            return rm_tokenizer_unsupported(b, "pre_tokenizer", "more steps than any known one has");
        if (expression)
            split[n++] = expression;
    }
    return level ? name_splits(b, split, n)
                 : rm_tokenizer_unsupported(b, "pre_tokenizer", "without a ByteLevel");
}

/* ---- the SentencePiece family -------------------------------------------------------------- */

static bool is_prepend(const cJSON *step)
{
    const char *prefix = rm_json_text(step, "prepend");
    return rm_json_type_is(step, "Prepend") && prefix && strcmp(prefix, RM_BLANK) == 0;
}

static bool is_marking(const cJSON *step)
{
    const char *content = rm_json_text(step, "content"),
               *from = rm_json_text(rm_json_at(step, "pattern"), "String");
    return rm_json_type_is(step, "Replace") && from && content && strcmp(from, " ") == 0 &&
           strcmp(content, RM_BLANK) == 0;
}

static bool finds_normalized(const builder *b)
{
    const cJSON *token;
    cJSON_ArrayForEach(token, rm_json_at(b->root, "added_tokens"))
        if (cJSON_IsTrue(rm_json_at(token, "normalized")))
            return true;
    return false;
}

/* Does a list of steps only put a blank in front and mark blanks, or only mark them? */
static bool is_built_in(const builder *b, const cJSON *normalizer)
{
    const cJSON *s = rm_first_step(normalizer, "normalizers");
    if (s && is_prepend(s))
        s = rm_next_step(normalizer, s);
    return s && is_marking(s) && !rm_next_step(normalizer, s) && !b->source.unigram &&
           !finds_normalized(b);
}

static rm_status read_metaspace(builder *b, const cJSON *space)
{
    rm_tokenizer_source *s = &b->source;
    const char *scheme = rm_json_text(space, "prepend_scheme"),
               *mark = rm_json_text(space, "replacement");
    if (mark && strcmp(mark, RM_BLANK) != 0)
        return rm_tokenizer_unsupported(b, "replacement for blanks", mark);
    bool prefix = !cJSON_IsFalse(rm_json_at(space, "add_prefix_space"));
    if (scheme)
        prefix = strcmp(scheme, "never") != 0;
    bool once = prefix && scheme && strcmp(scheme, "first") == 0;
    s->prefix_once = once;
    s->blanks_apart = !cJSON_IsFalse(rm_json_at(space, "split"));
    s->strip_space = prefix;
    if (s->unigram) {
        s->spaced = true;
        s->prefix = once ? RM_PREFIX_FIRST : prefix ? RM_PREFIX_ALWAYS : RM_PREFIX_NEVER;
    } else {
        s->add_space_prefix = s->prefix_joins = prefix;
    }
    return RM_OK;
}

/* A Split at spaces, after a normalizer that leaves none. */
static bool is_idle(const builder *b, const cJSON *step)
{
    const char *pattern = rm_json_text(rm_json_at(step, "pattern"), "String");
    return b->source.marked && rm_json_type_is(step, "Split") && pattern && strcmp(pattern, " ") == 0;
}

static rm_status read_blanks(builder *b)
{
    const cJSON *normalizer = rm_json_at(b->root, "normalizer"),
                *pre = rm_json_at(b->root, "pre_tokenizer");
    rm_tokenizer_source *source = &b->source;
    bool metaspace = false, built_in = is_built_in(b, normalizer);
    rm_status st = built_in ? RM_OK : read_normalizer(b);
    for (const cJSON *s = rm_first_step(normalizer, "normalizers"); s && !st;
         s = rm_next_step(normalizer, s)) {
        source->strip_space |= is_prepend(s);
        source->marked |= is_marking(s) && !built_in;
    }
    source->add_space_prefix = built_in && source->strip_space;
    for (const cJSON *s = rm_first_step(pre, "pretokenizers"); s && !st; s = rm_next_step(pre, s)) {
        if (rm_json_type_is(s, "Metaspace") && !metaspace && !built_in) {
            metaspace = true;
            st = read_metaspace(b, s);
        } else if (rm_json_type_is(s, "WhitespaceSplit") && source->unigram && !metaspace) {
            source->words = true;
        } else if (!is_idle(b, s) && !(built_in && rm_json_type_is(s, "Split"))) {
            st = rm_tokenizer_unsupported(b, "pre_tokenizer", type_of(s));
        }
    }
    if (!st && source->words && !metaspace)
        st = rm_tokenizer_unsupported(b, "pre_tokenizer", "WhitespaceSplit without a Metaspace");
    if (!st && !source->unigram && !metaspace && !built_in && !source->marked)
        st = rm_tokenizer_unsupported(b, "pre_tokenizer", "none");
    return st;
}

rm_status rm_tokenizer_read_steps(builder *b)
{
    if (b->source.sentencepiece)
        return read_blanks(b);
    rm_status st = read_normalizer(b);
    return st ? st : read_byte_level(b, rm_json_at(b->root, "pre_tokenizer"));
}
