/* tokenizer_json.c - a tokenizer from the files of a Hugging Face folder.
 *
 * tokenizer.json says all of it:
 *
 *   added_tokens     [{ id, content, special, ... }]   special: a control token, else text that is
 *                    always matched; lstrip, rstrip, single_word, normalized: see names.h
 *   normalizer       what is done to a text first        (tokenizer_steps.c)
 *   pre_tokenizer    how it is cut into words            (tokenizer_steps.c)
 *   post_processor   a TemplateProcessing may put a token (BOS) in front. One that it puts behind is
 *                    not put there: a prompt is to be gone on with
 *   model            { type: BPE, vocab: { piece: id }, merges: ["a b"] or [["a", "b"]],
 *                      byte_fallback, ignore_merges, unk_token, fuse_unk }
 *                    { type: Unigram, vocab: [[piece, log-probability]], unk_id, byte_fallback }
 *
 * Three families of it are read: byte-level BPE, the BPE that stands for SentencePiece (blanks as
 * U+2581, bytes without a piece as <0xNN>), and SentencePiece's unigram model.
 *
 * vocab.json and merges.txt say less. Which pre-tokenizer belongs to them follows from
 * "tokenizer_class" in tokenizer_config.json, and the added tokens stand there under
 * "added_tokens_decoder"; encoder.json and vocab.bpe are GPT-2's own names for the two.
 *
 * A folder may have no vocabulary but "char_ords" in tokenizer_config.json: the code points of single
 * characters, as the character tokenizer of verl's tests saves itself. Its ids 0 to 3 are S, E,
 * P and U (separator, end, padding, unknown), and the characters follow. */
#include "engine/model/tokenizer_json_private.h"

#include "engine/model/quote.h"
#include "engine/model/whole.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

enum { MAX_TEXT = 256 << 20, MAX_IDS = 1 << 24 };

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
    char path[4096];
    f->model = (size_t)snprintf(path, sizeof path, "%s/tokenizer.model", folder) < sizeof path &&
               access(path, F_OK) == 0;
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

typedef rm_tokenizer_builder builder;

static rm_status no_memory(const builder *b)
{
    return rm_fail(b->err, RM_E_MEMORY, "%s: no memory for its tokenizer", b->folder);
}

rm_status rm_tokenizer_unsupported(const builder *b, const char *what, const char *value)
{
    return rm_fail(b->err, RM_E_UNSUPPORTED, "%s: the tokenizer's %s is \"%s\", which this engine "
                   "does not have", b->folder, what,
                   rm_quoted(&(rm_quote){ 0 }, value, strlen(value)));
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
        uint8_t *m = realloc(b->matching, wider * sizeof *m);
        if (m)
            b->matching = m;
        double *s = realloc(b->score, wider * sizeof *s);
        if (s)
            b->score = s;
        if (!t || !n || !k || !m || !s)
            return no_memory(b);
        memset(b->text + b->capacity, 0, (wider - b->capacity) * sizeof *b->text);
        memset(b->matching + b->capacity, 0, (wider - b->capacity) * sizeof *b->matching);
        memset(b->score + b->capacity, 0, (wider - b->capacity) * sizeof *b->score);
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

static int32_t piece_type(const builder *b, const char *text)
{
    bool byte = b->source.sentencepiece && b->byte_fallback && is_byte_name(text);
    return byte ? RM_TOKEN_BYTE : RM_TOKEN_NORMAL;
}

/* [[piece, log-probability]], numbered as they stand. */
static rm_status read_scored(builder *b)
{
    const cJSON *item;
    uint64_t id = 0;
    if (!cJSON_IsArray(b->vocab))
        return rm_fail(b->err, RM_E_FORMAT, "%s: a unigram vocabulary should be a list of pieces and "
                       "their scores", b->folder);
    cJSON_ArrayForEach(item, b->vocab)
    {
        const cJSON *piece = cJSON_IsArray(item) ? item->child : NULL,
                    *score = piece ? piece->next : NULL;
        if (!cJSON_IsString(piece) || !cJSON_IsNumber(score) || score->next)
            return rm_fail(b->err, RM_E_FORMAT, "%s: entry %" PRIu64 " of the vocabulary should be a "
                           "piece and its score", b->folder, id);
        rm_status st = put_token(b, piece->valuestring, id, piece_type(b, piece->valuestring));
        if (st)
            return st;
        b->score[id++] = score->valuedouble;
    }
    return RM_OK;
}

static rm_status read_vocabulary(builder *b)
{
    const cJSON *item;
    uint64_t id;
    if (b->source.unigram)
        return b->vocab ? read_scored(b) : RM_OK;
    if (!cJSON_IsObject(b->vocab))
        return rm_fail(b->err, RM_E_FORMAT, "%s: the tokenizer's vocabulary should be an object of "
                       "pieces and their numbers", b->folder);
    cJSON_ArrayForEach(item, b->vocab)
    {
        if (!rm_json_whole(item, &id))
            return rm_fail(b->err, RM_E_FORMAT, "%s: the number of token \"%s\" should be a whole "
                           "one", b->folder,
                           rm_quoted(&(rm_quote){ 0 }, item->string, strlen(item->string)));
        rm_status st = put_token(b, item->string, id, piece_type(b, item->string));
        if (st)
            return st;
    }
    return RM_OK;
}

static rm_status add_named(builder *b, const cJSON *token, uint64_t id)
{
    static const struct { const char *key; uint8_t how; } keys[] = {
        { "single_word", RM_NAME_WORD }, { "lstrip", RM_NAME_LEFT }, { "rstrip", RM_NAME_RIGHT },
        { "normalized", RM_NAME_NORMALIZED },
    };
    const char *content = rm_json_text(token, "content");
    if (!content)
        return rm_fail(b->err, RM_E_FORMAT, "%s: added token %" PRIu64 " has no content", b->folder,
                       id);
    rm_status st = put_token(b, content, id, cJSON_IsTrue(rm_json_at(token, "special"))
                                                 ? RM_TOKEN_CONTROL : RM_TOKEN_USER);
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !st; i++)
        if (cJSON_IsTrue(rm_json_at(token, keys[i].key)))
            b->matching[id] |= keys[i].how;
    return st;
}

static rm_status read_added(builder *b)
{
    const cJSON *token;
    uint64_t id;
    rm_status st = RM_OK;
    const cJSON *added = rm_json_at(b->root, "added_tokens");
    if (added && !cJSON_IsArray(added))
        return rm_fail(b->err, RM_E_FORMAT, "%s: \"added_tokens\" should be a list", b->folder);
    cJSON_ArrayForEach(token, added)
    {
        if (!rm_json_whole(rm_json_at(token, "id"), &id))
            return rm_fail(b->err, RM_E_FORMAT, "%s: an added token has no whole number as its \"id\"",
                           b->folder);
        if ((st = add_named(b, token, id)))
            return st;
    }
    if (b->root)
        return RM_OK;
    cJSON_ArrayForEach(token, rm_json_at(b->config, "added_tokens_decoder"))
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
    if (b->source.unigram)
        return RM_OK;
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

/* ---- single characters --------------------------------------------------------------------- */

static rm_status read_characters(builder *b)
{
    static const struct { const char *name; int32_t type; } first[] = {
        { "S", RM_TOKEN_CONTROL }, { "E", RM_TOKEN_CONTROL }, { "P", RM_TOKEN_CONTROL },
        { "U", RM_TOKEN_UNKNOWN },
    };
    enum { N_FIRST = sizeof first / sizeof *first, MAX_BYTES = 5 };
    const cJSON *list = rm_json_at(b->config, "char_ords"), *item;
    size_t n = (size_t)cJSON_GetArraySize(list), id = N_FIRST;
    rm_status st = RM_OK;
    for (uint64_t i = 0; i < N_FIRST && !st; i++)
        st = put_token(b, first[i].name, i, first[i].type);
    char *texts = b->joined.data = calloc(n + 1, MAX_BYTES); /* freed with the builder */
    if (!texts)
        return no_memory(b);
    cJSON_ArrayForEach(item, list)
    {
        uint64_t c = 0;
        char *text = texts + (id - N_FIRST) * MAX_BYTES;
        if (st)
            return st;
        if (!rm_json_whole(item, &c) || c == 0 || c > 0x10ffff ||
            !utf8proc_codepoint_valid((utf8proc_int32_t)c))
            return rm_fail(b->err, RM_E_FORMAT, "%s: entry %zu of char_ords should be the number of a "
                           "character", b->folder, id - N_FIRST);
        utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)text);
        st = put_token(b, text, id++, RM_TOKEN_NORMAL);
    }
    b->source.bos = -1;
    b->source.eos = 1;
    b->source.unknown = 3;
    return st;
}

/* ---- the rest ------------------------------------------------------------------------------ */

/* The token that the post-processor puts in front; others than one there are refused. */
static rm_status read_template(builder *b, const cJSON *processor, const char **front)
{
    for (const cJSON *s = rm_first_step(processor, "processors"); s; s = rm_next_step(processor, s)) {
        if (!rm_json_type_is(s, "TemplateProcessing")) {
            if (!rm_json_type_is(s, "ByteLevel"))
                return rm_tokenizer_unsupported(b, "post_processor", rm_json_text(s, "type") ? rm_json_text(s, "type") : "");
            continue;
        }
        const cJSON *single = rm_json_at(s, "single"), *piece;
        bool seen = false;
        if (!cJSON_IsArray(single))
            return rm_fail(b->err, RM_E_FORMAT, "%s: \"single\" of its TemplateProcessing should be a list",
                           b->folder);
        cJSON_ArrayForEach(piece, single)
        {
            const char *id = rm_json_text(rm_json_at(piece, "SpecialToken"), "id");
            if (id && !seen && *front)
                return rm_tokenizer_unsupported(b, "post_processor that puts another token in front",
                                                id);
            if (id && !seen)
                *front = id;
            seen |= rm_json_at(piece, "Sequence") != NULL;
        }
    }
    return RM_OK;
}

/* A token of tokenizer_config.json: a string, or an object with "content". */
static const char *config_token(const builder *b, const char *key)
{
    const cJSON *item = rm_json_at(b->config, key);
    return cJSON_IsString(item) ? item->valuestring : rm_json_text(item, "content");
}

static rm_status read_specials(builder *b)
{
    const char *front = NULL;
    rm_status st = read_template(b, rm_json_at(b->root, "post_processor"), &front);
    if (st)
        return st;
    const char *bos = config_token(b, "bos_token"), *eos = config_token(b, "eos_token"),
               *unknown = rm_json_text(rm_json_at(b->root, "model"), "unk_token");
    rm_tokenizer_source *s = &b->source;
    s->bos = id_of(b, front ? front : bos);
    s->eos = id_of(b, eos);
    if (!s->unigram)
        s->unknown = id_of(b, unknown);
    if (s->unknown >= 0 && ((size_t)s->unknown >= b->n || !b->text[s->unknown]))
        return rm_fail(b->err, RM_E_FORMAT, "%s: unk_id is %" PRId32 ", which no token has", b->folder,
                       s->unknown);
    s->emit_unknown = s->unknown >= 0;
    s->add_bos = front != NULL;
    const cJSON *add = rm_json_at(b->config, "add_bos_token");
    if (cJSON_IsBool(add))
        s->add_bos = cJSON_IsTrue(add);
    if (s->add_bos && s->bos < 0)
        return rm_fail(b->err, RM_E_FORMAT, "%s: the tokenizer puts \"%s\" in front of a text, which "
                       "its vocabulary lacks", b->folder,
                       rm_quoted(&(rm_quote){ 0 }, front ? front : "bos_token",
                                 strlen(front ? front : "bos_token")));
    if (s->sentencepiece && s->unknown >= 0 &&
        (b->type[s->unknown] == RM_TOKEN_CONTROL || s->unigram))
        b->type[s->unknown] = RM_TOKEN_UNKNOWN;
    return RM_OK;
}

/* ---- tokenizer.json ------------------------------------------------------------------------ */

static rm_status read_bpe(builder *b, const cJSON *model)
{
    const char *prefix = rm_json_text(model, "continuing_subword_prefix"),
               *suffix = rm_json_text(model, "end_of_word_suffix");
    const cJSON *dropout = rm_json_at(model, "dropout");
    if ((prefix && *prefix) || (suffix && *suffix) ||
        (cJSON_IsNumber(dropout) && dropout->valuedouble != 0))
        return rm_tokenizer_unsupported(b, "model", "BPE with subword marks or dropout");
    const cJSON *pre = rm_json_at(b->root, "pre_tokenizer");
    bool level = false;
    for (const cJSON *s = rm_first_step(pre, "pretokenizers"); s; s = rm_next_step(pre, s))
        level |= rm_json_type_is(s, "ByteLevel");
    b->whole_pieces = cJSON_IsTrue(rm_json_at(model, "ignore_merges"));
    b->merges = rm_json_at(model, "merges");
    b->source.sentencepiece = !level;
    b->source.fuse_unknown = cJSON_IsTrue(rm_json_at(model, "fuse_unk"));
    return RM_OK;
}

static rm_status read_model(builder *b)
{
    const cJSON *model = rm_json_at(b->root, "model"), *unknown = rm_json_at(model, "unk_id");
    const char *type = rm_json_text(model, "type");
    uint64_t id;
    if (!cJSON_IsObject(model))
        return rm_fail(b->err, RM_E_FORMAT, "%s: tokenizer.json has no model", b->folder);
    b->byte_fallback = cJSON_IsTrue(rm_json_at(model, "byte_fallback"));
    b->vocab = rm_json_at(model, "vocab");
    rm_status st = RM_OK;
    if (type && strcmp(type, "Unigram") == 0) {
        b->source.unigram = b->source.sentencepiece = b->source.fuse_unknown = true;
        if (!b->vocab)
            return rm_fail(b->err, RM_E_FORMAT, "%s: tokenizer.json has no vocabulary", b->folder);
        if (unknown && (!rm_json_whole(unknown, &id) || id >= MAX_IDS))
            return rm_fail(b->err, RM_E_FORMAT, "%s: unk_id should be the number of a token", b->folder);
        if (unknown)
            b->source.unknown = (int32_t)id;
    } else if (type ? strcmp(type, "BPE") != 0 : rm_json_at(model, "type") != NULL) {
        return rm_tokenizer_unsupported(b, "model", type ? type : "of a type that is no text");
    } else {
        st = read_bpe(b, model);
    }
    return st ? st : rm_tokenizer_read_steps(b);
}

/* vocab.json and merges.txt: what they leave unsaid follows from the class. */
static rm_status read_class(builder *b, bool gpt2_names)
{
    static const struct { const char *class, *pre; bool nfc; } classes[] = {
        { "GPT2Tokenizer", "gpt-2", false }, { "Qwen2Tokenizer", "qwen2", true },
    };
    rm_status st = RM_OK;
    const char *class = gpt2_names ? "GPT2Tokenizer" : rm_json_text(b->config, "tokenizer_class");
    if (!class)
        return rm_fail(b->err, RM_E_FORMAT, "%s: vocab.json and merges.txt need a tokenizer_class "
                       "in tokenizer_config.json", b->folder);
    size_t n = strlen(class);
    if (n > 4 && strcmp(class + n - 4, "Fast") == 0)
        n -= 4;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strlen(classes[i].class) == n && strncmp(class, classes[i].class, n) == 0) {
            b->source.pre = classes[i].pre;
            if (classes[i].nfc && !(st = rm_normalizer_new(&b->source.normalizer, b->err)))
                st = rm_normalizer_add(b->source.normalizer, RM_STEP_NFC, NULL, 0, NULL, 0, b->err);
        }
    if (st)
        return st;
    if (!b->source.pre)
        return rm_tokenizer_unsupported(b, "tokenizer_class", class);
    b->vocab = rm_json_root(b->vocab_json);
    return RM_OK;
}

static rm_status parse_file(builder *b, const char *folder, const char *name, const char *text, size_t n,
                            rm_json **json)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return text ? rm_json_parse(text, n, path, 1, RM_JSON_NO_POSITIONS, json, b->err) : RM_OK;
}

static rm_status parse_files(builder *b, const rm_tokenizer_files *f, const char *folder)
{
    rm_status st = parse_file(b, folder, "tokenizer_config.json", f->config, f->n_config, &b->config_json);
    if (!st)
        st = parse_file(b, folder, "tokenizer.json", f->tokenizer, f->n_tokenizer, &b->json);
    if (!st && !f->tokenizer)
        st = parse_file(b, folder, "vocab.json", f->vocab, f->n_vocab, &b->vocab_json);
    if (st)
        return st;
    b->config = b->config_json ? rm_json_root(b->config_json) : NULL;
    b->root = b->json ? rm_json_root(b->json) : NULL;
    b->source.unigram = !f->tokenizer && !f->vocab && cJSON_IsArray(rm_json_at(b->config, "char_ords"));
    if (!f->tokenizer && !(f->vocab && f->merges) && !b->source.unigram)
        return rm_fail(b->err, RM_E_FORMAT, "%s: no tokenizer: neither tokenizer.json nor vocab.json with "
                       "merges.txt is there%s", b->folder,
                       f->model ? " (tokenizer.model alone is not read: transformers writes "
                                  "tokenizer.json from it)" : "");
    return RM_OK;
}

static rm_status build(builder *b, const rm_tokenizer_files *f, const char *folder, int64_t n_rows,
                       rm_tokenizer **out)
{
    static const char end_of_text[] = "<|endoftext|>";
    rm_status st = parse_files(b, f, folder);
    if (st)
        return st;
    if (b->source.unigram) { /* single characters */
        b->source.sentencepiece = b->source.emit_unknown = true;
        if ((st = read_characters(b)))
            return st;
    } else if ((st = f->tokenizer ? read_model(b) : read_class(b, f->gpt2_names)) ||
               (st = read_vocabulary(b)) || (st = read_added(b)) ||
               (st = f->tokenizer ? read_merges(b) : read_merge_lines(b, f->merges, f->n_merges)) ||
               (st = read_specials(b))) {
        return st;
    }
    if (f->gpt2_names && (b->source.eos = id_of(b, end_of_text)) >= 0)
        b->type[b->source.eos] = RM_TOKEN_CONTROL;
    if ((st = pad(b, n_rows)))
        return st;
    b->source.n_vocab = (int)b->n;
    b->source.text = b->text;
    b->source.text_bytes = b->bytes;
    b->source.type = b->type;
    b->source.matching = b->matching;
    b->source.log_probability = b->score;
    b->source.whole_pieces = b->whole_pieces;
    b->source.merge = b->merge;
    b->source.merge_bytes = b->merge_bytes;
    st = rm_tokenizer_new(&b->source, out, b->err);
    if (!st)
        b->source.normalizer = NULL; /* the tokenizer's now */
    return st ? rm_fail_within(b->err, st, "%s", b->folder) : RM_OK;
}

rm_status rm_tokenizer_from_files(const rm_tokenizer_files *f, const char *folder, int64_t n_rows,
                                  rm_tokenizer **out, rm_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    builder b = { .folder = f->tokenizer ? path : folder, .err = err,
                  .source = { .bos = -1, .eos = -1, .unknown = -1 } };
    rm_status st = build(&b, f, folder, n_rows, out);
    rm_json_free(b.json);
    rm_json_free(b.vocab_json);
    rm_json_free(b.config_json);
    rm_text_free(&b.joined);
    free(b.text);
    free(b.bytes);
    free(b.type);
    free(b.matching);
    free(b.score);
    rm_normalizer_free(b.source.normalizer);
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
