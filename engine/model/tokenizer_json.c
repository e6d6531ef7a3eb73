/* tokenizer_json.c - a tokenizer from the files of a Hugging Face folder.
 *
 * tokenizer.json says all of it:
 *
 *   added_tokens     [{ id, content, special, ... }]   special: a control token, else text that is
 *                    always matched
 *   normalizer       none; or what SentencePiece does to blanks (Prepend, Replace)
 *   pre_tokenizer    a ByteLevel, alone or after Splits by regular expression; or Metaspace
 *   post_processor   a TemplateProcessing may put a token (BOS) in front
 *   model            { type: BPE, vocab: { piece: id }, merges: ["a b"] or [["a", "b"]],
 *                      byte_fallback, ignore_merges }
 *
 * Two families of it are read: byte-level BPE, and the BPE that stands for SentencePiece (blanks
 * as U+2581, bytes without a piece as <0xNN>). The regular expressions are not run as they stand
 * but recognised as one of pretokenizer.c's, whose spelling is known to mean in PCRE2 what these
 * mean to their own engine; an unknown one is refused.
 *
 * vocab.json and merges.txt say less. Which pre-tokenizer belongs to them follows from
 * "tokenizer_class" in tokenizer_config.json, and the added tokens stand there under
 * "added_tokens_decoder"; encoder.json and vocab.bpe are GPT-2's own names for the two. */
#include "engine/model/tokenizer_json.h"

#include "engine/model/quote.h"
#include "engine/model/tokenizer_private.h"
#include "engine/model/whole.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TEXT = 256 << 20, MAX_IDS = 1 << 24, MAX_SPLITS = 4 };

/* ---- reading the files --------------------------------------------------------------------- */

static rm_status read_text(const char *folder, const char *name, char **text, size_t *n,
                           rm_error *err)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path)
        return rm_fail(err, RM_E_ARGUMENT, "%.200s: the path is too long", folder);
    if (access(path, F_OK) != 0)
        return RM_OK;
    return rm_file_read(path, MAX_TEXT, text, n, err);
}

rm_status rm_tokenizer_files_read(const char *folder, rm_tokenizer_files *f, rm_error *err)
{
    rm_status st;
    *f = (rm_tokenizer_files){ 0 };
    if ((st = read_text(folder, "tokenizer.json", &f->tokenizer, &f->n_tokenizer, err)) ||
        (st = read_text(folder, "tokenizer_config.json", &f->config, &f->n_config, err)))
        goto done;
    if (!f->tokenizer &&
        ((st = read_text(folder, "vocab.json", &f->vocab, &f->n_vocab, err)) ||
         (st = read_text(folder, "merges.txt", &f->merges, &f->n_merges, err))))
        goto done;
    if (!f->tokenizer && !f->vocab && !f->merges) {
        if ((st = read_text(folder, "encoder.json", &f->vocab, &f->n_vocab, err)) ||
            (st = read_text(folder, "vocab.bpe", &f->merges, &f->n_merges, err)))
            goto done;
        f->gpt2_names = f->vocab && f->merges;
    }
done:
    if (st)
        rm_tokenizer_files_free(f);
    return st;
}

void rm_tokenizer_files_free(rm_tokenizer_files *f)
{
    free(f->tokenizer);
    free(f->vocab);
    free(f->merges);
    free(f->config);
    *f = (rm_tokenizer_files){ 0 };
}

/* ---- what is being built ------------------------------------------------------------------- */

typedef struct builder {
    const char *folder;
    rm_error *err;
    rm_json *json, *vocab_json, *config_json;
    const cJSON *root, *vocab, *merges, *config;
    rm_tokenizer_source source;
    const char **text;         /* [capacity] by id; NULL: no token has it */
    size_t *bytes;
    int32_t *type;
    size_t n, capacity;        /* highest id + 1 */
    rm_text joined;            /* merges that came as pairs, joined by blanks */
    const char **merge;
    size_t *merge_bytes;
    bool byte_fallback, whole_pieces;
} builder;

static rm_status no_memory(const builder *b)
{
    return rm_fail(b->err, RM_E_MEMORY, "%s: no memory for its tokenizer", b->folder);
}

static rm_status unsupported(const builder *b, const char *what, const char *value)
{
    return rm_fail(b->err, RM_E_UNSUPPORTED, "%s: the tokenizer's %s is \"%s\", which this engine "
                   "does not have", b->folder, what,
                   rm_quoted(&(rm_quote){ 0 }, value, strlen(value)));
}

static const cJSON *find(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = find(object, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static bool is_type(const cJSON *item, const char *type)
{
    const char *own = text_of(item, "type");
    return own && strcmp(own, type) == 0;
}

/* Token `id` is `text`, which lives as long as the JSON it came from. */
static rm_status put_token(builder *b, const char *text, uint64_t id, int32_t type)
{
    if (id >= MAX_IDS)
        return rm_fail(b->err, RM_E_FORMAT, "%s: token \"%s\" has id %" PRIu64 ", expected less "
                       "than %d", b->folder, rm_quoted(&(rm_quote){ 0 }, text, strlen(text)), id,
                       MAX_IDS);
    if (id >= b->capacity) {
        size_t wider = (size_t)id + 1 > 2 * b->capacity ? (size_t)id + 1 : 2 * b->capacity;
        const char **t = realloc(b->text, wider * sizeof *t);
        if (t)
            b->text = t;
        size_t *n = realloc(b->bytes, wider * sizeof *n);
        if (n)
            b->bytes = n;
        int32_t *k = realloc(b->type, wider * sizeof *k);
        if (k)
            b->type = k;
        if (!t || !n || !k)
            return no_memory(b);
        memset(b->text + b->capacity, 0, (wider - b->capacity) * sizeof *b->text);
        b->capacity = wider;
    }
    if (b->text[id] && strcmp(b->text[id], text) != 0)
        return rm_fail(b->err, RM_E_FORMAT, "%s: token %" PRIu64 " is \"%s\" and \"%s\"", b->folder,
                       id, rm_quoted(&(rm_quote){ 0 }, b->text[id], strlen(b->text[id])),
                       rm_quoted(&(rm_quote){ 0 }, text, strlen(text)));
    b->text[id] = text;
    b->bytes[id] = strlen(text);
    b->type[id] = type;
    if (id >= b->n)
        b->n = (size_t)id + 1;
    return RM_OK;
}

static int32_t id_of(const builder *b, const char *text)
{
    for (size_t i = 0; text && i < b->n; i++)
        if (b->text[i] && strcmp(b->text[i], text) == 0)
            return (int32_t)i;
    return -1;
}

/* ---- vocabulary ---------------------------------------------------------------------------- */

static bool is_byte_name(const char *s)
{
    static const char hex[] = "0123456789ABCDEFabcdef";
    return strlen(s) == 6 && strncmp(s, "<0x", 3) == 0 && strchr(hex, s[3]) && strchr(hex, s[4]) &&
           s[5] == '>';
}

static rm_status read_vocabulary(builder *b)
{
    const cJSON *item;
    uint64_t id;
    if (!cJSON_IsObject(b->vocab))
        return rm_fail(b->err, RM_E_FORMAT, "%s: the tokenizer's vocabulary should be an object of "
                       "pieces and their numbers", b->folder);
    cJSON_ArrayForEach(item, b->vocab)
    {
        if (!rm_json_whole(item, &id))
            return rm_fail(b->err, RM_E_FORMAT, "%s: the number of token \"%s\" should be a whole "
                           "one", b->folder,
                           rm_quoted(&(rm_quote){ 0 }, item->string, strlen(item->string)));
        bool byte = b->source.sentencepiece && b->byte_fallback && is_byte_name(item->string);
        rm_status st = put_token(b, item->string, id, byte ? RM_TOKEN_BYTE : RM_TOKEN_NORMAL);
        if (st)
            return st;
    }
    return RM_OK;
}

static rm_status add_named(builder *b, const cJSON *token, uint64_t id)
{
    const char *content = text_of(token, "content");
    if (!content)
        return rm_fail(b->err, RM_E_FORMAT, "%s: added token %" PRIu64 " has no content", b->folder,
                       id);
    if (cJSON_IsTrue(find(token, "single_word")))
        return unsupported(b, "added token that is matched as a whole word only", content);
    if (cJSON_IsTrue(find(token, "lstrip")) || cJSON_IsTrue(find(token, "rstrip")))
        return unsupported(b, "added token that swallows the blanks beside it", content);
    return put_token(b, content, id,
                     cJSON_IsTrue(find(token, "special")) ? RM_TOKEN_CONTROL : RM_TOKEN_USER);
}

static rm_status read_added(builder *b)
{
    const cJSON *token;
    uint64_t id;
    rm_status st = RM_OK;
    cJSON_ArrayForEach(token, find(b->root, "added_tokens"))
    {
        if (!rm_json_whole(find(token, "id"), &id))
            return rm_fail(b->err, RM_E_FORMAT, "%s: an added token has no id", b->folder);
        if ((st = add_named(b, token, id)))
            return st;
    }
    if (b->root)
        return RM_OK;
    cJSON_ArrayForEach(token, find(b->config, "added_tokens_decoder"))
    {
        char *end;
        id = strtoull(token->string, &end, 10);
        if (end == token->string || *end)
            return rm_fail(b->err, RM_E_FORMAT, "%s: added_tokens_decoder has a key that is no "
                           "number", b->folder);
        if ((st = add_named(b, token, id)))
            return st;
    }
    return RM_OK;
}

/* Numbers that no piece has, and rows of the embedding beyond the last one: never produced. */
static rm_status pad(builder *b, int64_t n_rows)
{
    if (n_rows > 0 && b->n > (size_t)n_rows)
        return rm_fail(b->err, RM_E_FORMAT, "%s: the tokenizer has %zu tokens, but vocab_size in "
                       "config.json is %" PRId64, b->folder, b->n, n_rows);
    size_t n = n_rows > 0 ? (size_t)n_rows : b->n;
    rm_status st = RM_OK;
    if (n > b->n && n <= MAX_IDS)
        st = put_token(b, "", n - 1, RM_TOKEN_UNUSED);
    for (size_t i = 0; i < b->n && !st; i++)
        if (!b->text[i])
            st = put_token(b, "", i, RM_TOKEN_UNUSED);
    return st;
}

/* ---- merges -------------------------------------------------------------------------------- */

static rm_status merges_room(builder *b, size_t n)
{
    b->merge = calloc(n + 1, sizeof *b->merge);
    b->merge_bytes = calloc(n + 1, sizeof *b->merge_bytes);
    return b->merge && b->merge_bytes ? RM_OK : no_memory(b);
}

static rm_status read_merges(builder *b)
{
    const cJSON *item;
    int n = cJSON_IsArray(b->merges) ? cJSON_GetArraySize(b->merges) : -1;
    if (n < 0)
        return rm_fail(b->err, RM_E_FORMAT, "%s: the tokenizer's merges should be an array",
                       b->folder);
    rm_status st = merges_room(b, (size_t)n);
    if (st)
        return st;
    size_t i = 0;
    cJSON_ArrayForEach(item, b->merges)
    {
        const cJSON *left = cJSON_IsArray(item) ? item->child : NULL,
                    *right = left ? left->next : NULL;
        if (cJSON_IsString(item)) {
            b->merge[i] = item->valuestring;
            b->merge_bytes[i++] = strlen(item->valuestring);
            continue;
        }
        if (!cJSON_IsString(left) || !cJSON_IsString(right) || right->next ||
            strchr(left->valuestring, ' ') || strchr(right->valuestring, ' '))
            return rm_fail(b->err, RM_E_FORMAT, "%s: merge %zu should be two pieces without blanks",
                           b->folder, i);
        size_t before = b->joined.length;
        rm_text_puts(&b->joined, left->valuestring);
        rm_text_puts(&b->joined, " ");
        rm_text_puts(&b->joined, right->valuestring);
        b->merge_bytes[i++] = b->joined.length - before;
    }
    if (b->joined.failed)
        return no_memory(b);
    /* the joined ones lie one behind the other, now where they will stay */
    size_t at = 0;
    for (size_t k = 0; k < i; k++)
        if (!b->merge[k]) {
            b->merge[k] = b->joined.data + at;
            at += b->merge_bytes[k];
        }
    b->source.n_merges = (int)i;
    return RM_OK;
}

/* merges.txt: a line of version, then "left right" a line. */
static rm_status read_merge_lines(builder *b, const char *text, size_t n)
{
    size_t lines = 1, count = 0;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    if (lines > INT32_MAX)
        return rm_fail(b->err, RM_E_FORMAT, "%s: too many merges", b->folder);
    rm_status st = merges_room(b, lines);
    if (st)
        return st;
    for (const char *at = text, *end; at < text + n; at = end + 1) {
        end = memchr(at, '\n', (size_t)(text + n - at));
        if (!end)
            end = text + n;
        size_t length = (size_t)(end - at);
        if (length && at[length - 1] == '\r')
            length--;
        if (!length || (at == text && length > 8 && memcmp(at, "#version", 8) == 0))
            continue;
        b->merge[count] = at;
        b->merge_bytes[count++] = length;
    }
    b->source.n_merges = (int)count;
    return RM_OK;
}

/* ---- pre-tokenizers ------------------------------------------------------------------------ */

#define LLAMA3(digits) \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* What stands in tokenizer.json in front of a ByteLevel, and the name of it in pretokenizer.c.
 * DeepSeek-V3's files (and so R1's) have these three in a row. */
static const struct known {
    const char *split[MAX_SPLITS];
    const char *name, *whole_name; /* the second where ignore_merges is true; NULL: none known */
} known[] = {
    { { LLAMA3("\\p{N}{1,3}") }, "dbrx", "llama-bpe" },
    { { LLAMA3("\\p{N}") }, "qwen2", NULL },
    { { "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+" },
      "gpt-2", NULL },
    { { "\\p{N}{1,3}", "[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f\xe3\x82\xa0-\xe3\x83\xbf]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?"
        "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+" },
      "deepseek-v3", NULL },
};

/* The steps of a Sequence, or the one step there is. */
static const cJSON *first_step(const cJSON *item, const char *list)
{
    return is_type(item, "Sequence") ? (find(item, list) ? find(item, list)->child : NULL) : item;
}

static const cJSON *next_step(const cJSON *whole, const cJSON *step)
{
    return is_type(whole, "Sequence") ? step->next : NULL;
}

static rm_status name_splits(builder *b, const char *const *split, int n)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        bool same = true;
        for (int k = 0; k < MAX_SPLITS && same; k++) {
            const char *wanted = known[i].split[k];
            same = k < n ? wanted && strcmp(wanted, split[k]) == 0 : !wanted;
        }
        if (!same)
            continue;
        b->source.pre = b->whole_pieces ? known[i].whole_name : known[i].name;
        if (!b->source.pre)
            return unsupported(b, "ignore_merges under the pre-tokenizer", known[i].name);
        return RM_OK;
    }
    return unsupported(b, "pre_tokenizer with the expression", n ? split[n - 1] : "");
}

static rm_status read_byte_level(builder *b, const cJSON *pre)
{
    const char *split[MAX_SPLITS];
    int n = 0;
    bool digits = false, regex = true, level = false;
    for (const cJSON *s = first_step(pre, "pretokenizers"); s; s = next_step(pre, s)) {
        const char *type = text_of(s, "type");
        const char *expression = text_of(find(s, "pattern"), "Regex");
        if (!type)
            return unsupported(b, "pre_tokenizer", "without a type");
        if (level)
            return unsupported(b, "pre_tokenizer after ByteLevel", type);
        if (strcmp(type, "ByteLevel") == 0) {
            level = true;
            regex = !cJSON_IsFalse(find(s, "use_regex"));
            if (cJSON_IsTrue(find(s, "add_prefix_space")))
                return unsupported(b, "pre_tokenizer", "ByteLevel with add_prefix_space");
        } else if (strcmp(type, "Digits") == 0 && !n && cJSON_IsTrue(find(s, "individual_digits"))) {
            digits = true;
        } else if (strcmp(type, "Split") == 0 && expression && n < MAX_SPLITS &&
                   text_of(s, "behavior") && strcmp(text_of(s, "behavior"), "Isolated") == 0 &&
                   !cJSON_IsTrue(find(s, "invert"))) {
            split[n++] = expression;
        } else {
            return unsupported(b, "pre_tokenizer", type);
        }
    }
    if (!level)
        return unsupported(b, "pre_tokenizer", "without a ByteLevel");
    if (digits && n == 0 && regex) {
        b->source.pre = "starcoder";
        return RM_OK;
    }
    if (digits || (regex && n))
        return unsupported(b, "pre_tokenizer", "several expressions and ByteLevel's own");
    if (n == 0 && regex) {
        b->source.pre = "gpt-2";
        return b->whole_pieces ? unsupported(b, "pre_tokenizer", "gpt-2 with ignore_merges") : RM_OK;
    }
    return name_splits(b, split, n);
}

/* ---- the SentencePiece family -------------------------------------------------------------- */

static rm_status read_metaspace(builder *b, const cJSON *space)
{
    const char *scheme = text_of(space, "prepend_scheme"), *mark = text_of(space, "replacement");
    if (mark && strcmp(mark, RM_BLANK) != 0)
        return unsupported(b, "replacement for blanks", mark);
    bool prefix = !cJSON_IsFalse(find(space, "add_prefix_space"));
    if (scheme)
        prefix = strcmp(scheme, "never") != 0;
    b->source.add_space_prefix = b->source.prefix_joins = prefix;
    b->source.prefix_once = prefix && scheme && strcmp(scheme, "first") == 0;
    return RM_OK;
}

static rm_status read_blanks(builder *b)
{
    const cJSON *normalizer = find(b->root, "normalizer"), *pre = find(b->root, "pre_tokenizer");
    bool replaced = false;
    b->source.add_space_prefix = false;
    for (const cJSON *s = first_step(normalizer, "normalizers"); s; s = next_step(normalizer, s)) {
        const char *type = text_of(s, "type"), *prefix = text_of(s, "prepend"),
                   *content = text_of(s, "content"), *from = text_of(find(s, "pattern"), "String");
        if (is_type(s, "Prepend") && prefix && strcmp(prefix, RM_BLANK) == 0)
            b->source.add_space_prefix = true;
        else if (is_type(s, "Replace") && from && content && strcmp(from, " ") == 0 &&
                 strcmp(content, RM_BLANK) == 0)
            replaced = true;
        else
            return unsupported(b, "normalizer", type ? type : "without a type");
    }
    if (!pre && replaced)
        return RM_OK;
    if (is_type(pre, "Metaspace") && !normalizer)
        return read_metaspace(b, pre);
    return unsupported(b, "pre_tokenizer", text_of(pre, "type") ? text_of(pre, "type") : "none");
}

/* ---- the rest ------------------------------------------------------------------------------ */

/* A token that the post-processor puts in front; one that it puts behind is refused. */
static rm_status read_template(builder *b, const cJSON *processor, const char **front)
{
    for (const cJSON *s = first_step(processor, "processors"); s; s = next_step(processor, s)) {
        if (!is_type(s, "TemplateProcessing")) {
            if (!is_type(s, "ByteLevel"))
                return unsupported(b, "post_processor", text_of(s, "type") ? text_of(s, "type") : "");
            continue;
        }
        const cJSON *piece;
        bool seen = false;
        cJSON_ArrayForEach(piece, find(s, "single"))
        {
            const char *id = text_of(find(piece, "SpecialToken"), "id");
            if (id && (seen || *front))
                return unsupported(b, "post_processor that adds the token", id);
            if (id)
                *front = id;
            seen |= find(piece, "Sequence") != NULL;
        }
    }
    return RM_OK;
}

/* A token of tokenizer_config.json: a string, or an object with "content". */
static const char *config_token(const builder *b, const char *key)
{
    const cJSON *item = find(b->config, key);
    return cJSON_IsString(item) ? item->valuestring : text_of(item, "content");
}

static rm_status read_specials(builder *b)
{
    const char *front = NULL;
    rm_status st = read_template(b, find(b->root, "post_processor"), &front);
    if (st)
        return st;
    const char *bos = config_token(b, "bos_token"), *eos = config_token(b, "eos_token"),
               *unknown = text_of(find(b->root, "model"), "unk_token");
    rm_tokenizer_source *s = &b->source;
    s->bos = id_of(b, front ? front : bos);
    s->eos = id_of(b, eos);
    s->unknown = id_of(b, unknown);
    s->add_bos = front != NULL;
    const cJSON *add = find(b->config, "add_bos_token");
    if (cJSON_IsBool(add))
        s->add_bos = cJSON_IsTrue(add);
    if (cJSON_IsTrue(find(b->config, "add_eos_token")))
        return unsupported(b, "add_eos_token", "true");
    if (s->add_bos && s->bos < 0)
        return rm_fail(b->err, RM_E_FORMAT, "%s: the tokenizer puts \"%s\" in front of a text, which "
                       "its vocabulary lacks", b->folder,
                       rm_quoted(&(rm_quote){ 0 }, front ? front : "bos_token",
                                 strlen(front ? front : "bos_token")));
    if (s->sentencepiece && s->unknown >= 0 && b->type[s->unknown] == RM_TOKEN_CONTROL)
        b->type[s->unknown] = RM_TOKEN_UNKNOWN;
    return RM_OK;
}

/* ---- tokenizer.json ------------------------------------------------------------------------ */

static rm_status read_model(builder *b)
{
    const cJSON *model = find(b->root, "model"), *pre = find(b->root, "pre_tokenizer"),
                *normalizer = find(b->root, "normalizer");
    const char *type = text_of(model, "type");
    if (!cJSON_IsObject(model))
        return rm_fail(b->err, RM_E_FORMAT, "%s: tokenizer.json has no model", b->folder);
    if (type && strcmp(type, "BPE") != 0)
        return unsupported(b, "model", type);
    const char *prefix = text_of(model, "continuing_subword_prefix"),
               *suffix = text_of(model, "end_of_word_suffix");
    const cJSON *dropout = find(model, "dropout");
    if ((prefix && *prefix) || (suffix && *suffix) ||
        (cJSON_IsNumber(dropout) && dropout->valuedouble != 0))
        return unsupported(b, "model", "BPE with subword marks or dropout");
    b->byte_fallback = cJSON_IsTrue(find(model, "byte_fallback"));
    b->whole_pieces = cJSON_IsTrue(find(model, "ignore_merges"));
    b->vocab = find(model, "vocab");
    b->merges = find(model, "merges");
    bool level = false;
    for (const cJSON *s = first_step(pre, "pretokenizers"); s; s = next_step(pre, s))
        level |= is_type(s, "ByteLevel");
    b->source.sentencepiece = !level;
    if (!level)
        return read_blanks(b);
    if (is_type(normalizer, "NFC"))
        b->source.nfc = true;
    else if (normalizer && !(is_type(normalizer, "Sequence") &&
                             cJSON_GetArraySize(find(normalizer, "normalizers")) == 0))
        return unsupported(b, "normalizer", text_of(normalizer, "type") ? text_of(normalizer, "type") : "");
    return read_byte_level(b, pre);
}

/* vocab.json and merges.txt: what they leave unsaid follows from the class. */
static rm_status read_class(builder *b, bool gpt2_names)
{
    static const struct { const char *class, *pre; bool nfc; } classes[] = {
        { "GPT2Tokenizer", "gpt-2", false }, { "Qwen2Tokenizer", "qwen2", true },
    };
    const char *class = gpt2_names ? "GPT2Tokenizer" : text_of(b->config, "tokenizer_class");
    if (!class)
        return rm_fail(b->err, RM_E_FORMAT, "%s: vocab.json and merges.txt need a tokenizer_class "
                       "in tokenizer_config.json", b->folder);
    size_t n = strlen(class);
    if (n > 4 && strcmp(class + n - 4, "Fast") == 0)
        n -= 4;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strlen(classes[i].class) == n && strncmp(class, classes[i].class, n) == 0) {
            b->source.pre = classes[i].pre;
            b->source.nfc = classes[i].nfc;
        }
    if (!b->source.pre)
        return unsupported(b, "tokenizer_class", class);
    b->vocab = rm_json_root(b->vocab_json);
    return RM_OK;
}

static rm_status parse_files(builder *b, const rm_tokenizer_files *f)
{
    rm_status st = RM_OK;
    if (!f->tokenizer && !(f->vocab && f->merges))
        return rm_fail(b->err, RM_E_FORMAT, "%s: no tokenizer: neither tokenizer.json nor "
                       "vocab.json with merges.txt is there", b->folder);
    if (f->config)
        st = rm_json_parse(f->config, f->n_config, "tokenizer_config.json", 1, RM_JSON_NO_POSITIONS,
                           &b->config_json, b->err);
    if (!st && f->tokenizer)
        st = rm_json_parse(f->tokenizer, f->n_tokenizer, "tokenizer.json", 1, RM_JSON_NO_POSITIONS,
                           &b->json, b->err);
    if (!st && !f->tokenizer)
        st = rm_json_parse(f->vocab, f->n_vocab, "vocab.json", 1, RM_JSON_NO_POSITIONS,
                           &b->vocab_json, b->err);
    if (st)
        return rm_fail_within(b->err, st, "%s", b->folder);
    b->config = b->config_json ? rm_json_root(b->config_json) : NULL;
    b->root = b->json ? rm_json_root(b->json) : NULL;
    return RM_OK;
}

static rm_status build(builder *b, const rm_tokenizer_files *f, int64_t n_rows, rm_tokenizer **out)
{
    static const char end_of_text[] = "<|endoftext|>";
    rm_status st;
    if ((st = parse_files(b, f)) ||
        (st = f->tokenizer ? read_model(b) : read_class(b, f->gpt2_names)) ||
        (st = read_vocabulary(b)) || (st = read_added(b)) ||
        (st = f->tokenizer ? read_merges(b) : read_merge_lines(b, f->merges, f->n_merges)) ||
        (st = read_specials(b)))
        return st;
    if (f->gpt2_names && (b->source.eos = id_of(b, end_of_text)) >= 0)
        b->type[b->source.eos] = RM_TOKEN_CONTROL;
    if ((st = pad(b, n_rows)))
        return st;
    b->source.n_vocab = (int)b->n;
    b->source.text = b->text;
    b->source.text_bytes = b->bytes;
    b->source.type = b->type;
    b->source.merge = b->merge;
    b->source.merge_bytes = b->merge_bytes;
    st = rm_tokenizer_new(&b->source, out, b->err);
    return st ? rm_fail_within(b->err, st, "%s", b->folder) : RM_OK;
}

rm_status rm_tokenizer_from_files(const rm_tokenizer_files *f, const char *folder, int64_t n_rows,
                                  rm_tokenizer **out, rm_error *err)
{
    builder b = { .folder = folder, .err = err,
                  .source = { .bos = -1, .eos = -1, .unknown = -1 } };
    rm_status st = build(&b, f, n_rows, out);
    rm_json_free(b.json);
    rm_json_free(b.vocab_json);
    rm_json_free(b.config_json);
    rm_text_free(&b.joined);
    free(b.text);
    free(b.bytes);
    free(b.type);
    free(b.merge);
    free(b.merge_bytes);
    return st;
}

rm_status rm_tokenizer_from_folder(const char *folder, rm_tokenizer **out, rm_error *err)
{
    rm_tokenizer_files f;
    rm_status st = rm_tokenizer_files_read(folder, &f, err);
    if (!st)
        st = rm_tokenizer_from_files(&f, folder, 0, out, err);
    rm_tokenizer_files_free(&f);
    return st;
}
