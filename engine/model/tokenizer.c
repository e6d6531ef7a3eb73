/* tokenizer.c - the vocabulary: built and checked once, then read-only.
 *
 * Byte-level BPE (Radford et al. 2019) writes each byte as one printable character, its
 * stand-in: bytes 21-7E, A1-AC and AE-FF (hexadecimal) stand for themselves as code points, the
 * other 68 become U+0100, U+0101, ... in ascending order, so a space is U+0120. Pieces in the
 * file are strings of stand-ins; running text is what they stand for. A normal piece with any
 * other character in it is text as it is.
 *
 * SentencePiece (Kudo & Richardson 2018), as BPE or as a unigram model (unigram.h), writes a space
 * as U+2581 inside pieces, and may have a piece <0xNN> for each byte, used where no piece fits.
 *
 * Which tokens text can turn into: normal ones and user-defined ones always; control and unknown
 * ones only by their name where the caller allows it; unused ones never. */
#include "engine/model/tokenizer_private.h"

#include "engine/model/quote.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_VOCAB (1 << 24)
#define MAX_NAME_BYTES 512 /* of a special token: bounds the search for names at each byte */

/* ---- byte stand-ins ------------------------------------------------------------------------ */

static bool stands_for_itself(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/* The code point that stands for a byte: of the 68, 33 lie below 21, then come 7F to A0 and AD. */
static unsigned stand_in(unsigned byte)
{
    if (stands_for_itself(byte))
        return byte;
    return 0x100 + (byte <= 0x20 ? byte : byte == 0xad ? 67 : byte - 0x7f + 33);
}

/* byte_of[c] for code points below 0x144; -1: no stand-in. */
static void make_stand_ins(int16_t byte_of[0x144])
{
    for (int c = 0; c < 0x144; c++)
        byte_of[c] = -1;
    for (unsigned b = 0; b < 256; b++)
        byte_of[stand_in(b)] = (int16_t)b;
}

/* The next code point of valid UTF-8. */
static uint32_t next_code_point(const char *text, size_t n, size_t *at)
{
    const unsigned char *p = (const unsigned char *)text + *at;
    size_t length = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    assert(*at + length <= n);
    (void)n;
    uint32_t c = length == 1 ? p[0] : p[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++)
        c = c << 6 | (p[i] & 0x3fu);
    *at += length;
    return c;
}

/* Writes the bytes that a piece of stand-ins means; false if it holds another character. */
static bool stand_ins_to_bytes(const int16_t byte_of[0x144], const char *text, size_t n, char *to,
                               size_t *n_to)
{
    size_t at = 0, written = 0;
    while (at < n) {
        uint32_t c = next_code_point(text, n, &at);
        if (c >= 0x144 || byte_of[c] < 0)
            return false;
        to[written++] = (char)byte_of[c];
    }
    *n_to = written;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that a piece <0xNN> names, or -1. */
static int named_byte(const char *text, size_t n)
{
    if (n != 6 || memcmp(text, "<0x", 3) || text[5] != '>')
        return -1;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* ---- strings ------------------------------------------------------------------------------- */

static const char *string_at(const rm_strings *s, int32_t i, size_t *n)
{
    *n = s->at[i + 1] - s->at[i];
    return s->data + s->at[i];
}

/* Room for n strings of n_bytes together. */
static bool strings_new(rm_strings *s, size_t n, size_t n_bytes)
{
    s->data = malloc(n_bytes + 1);
    s->at = calloc(n + 1, sizeof *s->at);
    return s->data && s->at;
}

static rm_status copy_texts(rm_tokenizer *t, const rm_tokenizer_source *source, rm_error *err)
{
    size_t total = 0;
    for (int i = 0; i < t->n_vocab; i++)
        total += source->text_bytes[i];
    if (!strings_new(&t->text, (size_t)t->n_vocab, total) ||
        !strings_new(&t->bytes, (size_t)t->n_vocab, total))
        return rm_fail(err, RM_E_MEMORY, "no memory for a vocabulary of %zu bytes", total);
    for (int i = 0; i < t->n_vocab; i++) {
        size_t n = source->text_bytes[i];
        size_t valid = rm_utf8_valid_prefix(source->text[i], n);
        if (valid < n)
            return rm_fail(err, RM_E_FORMAT, "the text of token %d is not valid UTF-8 at byte %zu",
                           i, valid);
        memcpy(t->text.data + t->text.at[i], source->text[i], n);
        t->text.at[i + 1] = t->text.at[i] + n;
        if (n > t->longest)
            t->longest = n;
    }
    return RM_OK;
}

static rm_status copy_types(rm_tokenizer *t, const rm_tokenizer_source *source, rm_error *err)
{
    t->type = malloc((size_t)t->n_vocab);
    if (!t->type)
        return rm_fail(err, RM_E_MEMORY, "no memory for a vocabulary of %d tokens", t->n_vocab);
    for (int i = 0; i < t->n_vocab; i++) {
        int32_t type = source->type ? source->type[i] : RM_TOKEN_NORMAL;
        if (type < RM_TOKEN_NORMAL || type > RM_TOKEN_BYTE)
            return rm_fail(err, RM_E_FORMAT, "token %d has type %" PRId32 ", expected 1 to 6", i,
                           type);
        t->type[i] = (uint8_t)type;
    }
    return RM_OK;
}

/* Replaces each U+2581 by a space. */
static size_t blanks_to_spaces(const char *text, size_t n, char *to)
{
    size_t written = 0;
    for (size_t i = 0; i < n;) {
        if (n - i >= 3 && memcmp(text + i, RM_BLANK, 3) == 0) {
            to[written++] = ' ';
            i += 3;
        } else {
            to[written++] = text[i++];
        }
    }
    return written;
}

/* Fills t->bytes, and t->byte_token where a token is one byte. */
static rm_status make_bytes(rm_tokenizer *t, rm_error *err)
{
    int16_t byte_of[0x144];
    make_stand_ins(byte_of);
    for (int b = 0; b < 256; b++)
        t->byte_token[b] = -1;
    for (int i = 0; i < t->n_vocab; i++) {
        size_t n, written = 0;
        const char *text = string_at(&t->text, i, &n);
        char *to = t->bytes.data + t->bytes.at[i];
        bool single = false; /* one byte by its meaning */
        if (t->type[i] == RM_TOKEN_BYTE) {
            int b = named_byte(text, n);
            if (b < 0)
                return rm_fail(err, RM_E_FORMAT, "byte token %d is written \"%s\", expected "
                               "<0xNN>", i, rm_quoted(&(rm_quote){ 0 }, text, n));
            to[0] = (char)b;
            written = 1;
            single = true;
        } else if (t->type[i] == RM_TOKEN_NORMAL && t->sentencepiece) {
            written = blanks_to_spaces(text, n, to);
        } else if (t->type[i] == RM_TOKEN_NORMAL &&
                   stand_ins_to_bytes(byte_of, text, n, to, &written)) {
            single = written == 1;
        } else {
            memcpy(to, text, n);
            written = n;
        }
        t->bytes.at[i + 1] = t->bytes.at[i] + written;
        unsigned char b = written ? (unsigned char)to[0] : 0;
        if (single && t->byte_token[b] < 0)
            t->byte_token[b] = i;
    }
    return RM_OK;
}

/* ---- pieces and merges --------------------------------------------------------------------- */

static size_t table_slots(size_t n)
{
    size_t slots = 16;
    while (slots < n * 2)
        slots *= 2;
    return slots;
}

/* Slot of the piece with this text, or the empty slot where it would go. */
static size_t piece_slot(const rm_tokenizer *t, const char *text, size_t n)
{
    size_t slot = (size_t)rm_hash_bytes(text, n) & t->pieces_mask;
    for (; t->pieces[slot] >= 0; slot = (slot + 1) & t->pieces_mask) {
        size_t m;
        const char *other = string_at(&t->text, t->pieces[slot], &m);
        if (m == n && memcmp(text, other, n) == 0)
            break;
    }
    return slot;
}

int32_t rm_tokenizer_find_piece(const rm_tokenizer *t, const char *text, size_t n)
{
    return n > t->longest ? -1 : t->pieces[piece_slot(t, text, n)];
}

int32_t rm_tokenizer_find_bytes(const rm_tokenizer *t, const char *bytes, size_t n)
{
    char text[2 * 256];
    size_t written = 0;
    if (n > sizeof text / 2)
        return -1; /* no vocabulary has a piece as long */
    for (size_t i = 0; i < n; i++) {
        unsigned b = (unsigned char)bytes[i];
        unsigned c = stand_in(b);
        if (c >= 0x80)
            text[written++] = (char)(0xc0 | c >> 6);
        text[written++] = (char)(c < 0x80 ? c : 0x80 | (c & 0x3f));
    }
    return rm_tokenizer_find_piece(t, text, written);
}

/* Merging makes normal pieces, in BPE also user-defined ones that a merge names. Of two tokens
 * with one text the first is taken. */
static rm_status index_pieces(rm_tokenizer *t, rm_error *err)
{
    size_t slots = table_slots((size_t)t->n_vocab);
    t->pieces = malloc(slots * sizeof *t->pieces);
    if (!t->pieces)
        return rm_fail(err, RM_E_MEMORY, "no memory for a vocabulary of %d tokens", t->n_vocab);
    t->pieces_mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        t->pieces[i] = -1;
    for (int i = 0; i < t->n_vocab; i++) {
        bool mergeable = t->type[i] == RM_TOKEN_NORMAL ||
                         (!t->sentencepiece && t->type[i] == RM_TOKEN_USER);
        size_t n;
        const char *text = string_at(&t->text, i, &n);
        if (!mergeable || n == 0)
            continue;
        size_t slot = piece_slot(t, text, n);
        if (t->pieces[slot] < 0)
            t->pieces[slot] = i;
    }
    return RM_OK;
}

static rm_status index_merge(rm_tokenizer *t, const char *text, size_t n, int rank, char *joined,
                             rm_error *err)
{
    /* pieces may not hold a blank but at their start, where merges of old files have none */
    const char *blank = n > 1 ? memchr(text + 1, ' ', n - 1) : NULL;
    if (!blank || blank + 1 == text + n)
        return rm_fail(err, RM_E_FORMAT, "merge %d is \"%s\", expected two pieces and a blank "
                       "between them", rank, rm_quoted(&(rm_quote){ 0 }, text, n));
    size_t n_left = (size_t)(blank - text), n_right = n - n_left - 1;
    int32_t result = -1, left = rm_tokenizer_find_piece(t, text, n_left),
            right = rm_tokenizer_find_piece(t, blank + 1, n_right);
    if (left >= 0 && right >= 0 && n_left + n_right <= t->longest) {
        memcpy(joined, text, n_left);
        memcpy(joined + n_left, blank + 1, n_right);
        result = rm_tokenizer_find_piece(t, joined, n_left + n_right);
    }
    if (result < 0)
        return rm_fail(err, RM_E_FORMAT, "merge %d, \"%s\", names a piece that the vocabulary "
                       "lacks", rank, rm_quoted(&(rm_quote){ 0 }, text, n));
    size_t slot = rm_merge_hash(left, right) & t->merges_mask;
    for (; t->merges[slot].left >= 0; slot = (slot + 1) & t->merges_mask)
        if (t->merges[slot].left == left && t->merges[slot].right == right)
            return RM_OK; /* said twice: the first, better rank holds */
    t->merges[slot] = (rm_merge){ left, right, result, rank };
    return RM_OK;
}

static rm_status index_merges(rm_tokenizer *t, const rm_tokenizer_source *source, rm_error *err)
{
    if (source->n_merges < 0)
        return rm_fail(err, RM_E_ARGUMENT, "a negative number of merges");
    size_t slots = table_slots((size_t)source->n_merges);
    char *joined = malloc(t->longest + 1);
    t->merges = malloc(slots * sizeof *t->merges);
    if (!t->merges || !joined) {
        free(joined);
        return rm_fail(err, RM_E_MEMORY, "no memory for %d merges", source->n_merges);
    }
    t->merges_mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        t->merges[i].left = -1;
    rm_status st = RM_OK;
    for (int i = 0; i < source->n_merges && !st; i++)
        st = index_merge(t, source->merge[i], source->merge_bytes[i], i, joined, err);
    free(joined);
    return st;
}

static bool blank_follows(const char *text, size_t n)
{
    for (size_t i = 3; i + 3 <= n; i++)
        if (memcmp(text + i, RM_BLANK, 3) == 0 && memcmp(text + i - 3, RM_BLANK, 3) != 0)
            return true;
    /* nearer to the front than a whole U+2581 there is only a shorter character */
    return (n > 3 && memcmp(text + 1, RM_BLANK, 3) == 0) ||
           (n > 4 && memcmp(text + 2, RM_BLANK, 3) == 0);
}

static void find_leading_blanks(rm_tokenizer *t)
{
    t->blanks_lead = true;
    for (int i = 0; i < t->n_vocab; i++) {
        size_t n;
        const char *text = string_at(&t->text, i, &n);
        if (t->type[i] == RM_TOKEN_NORMAL && blank_follows(text, n))
            t->blanks_lead = false;
    }
}

/* Scores become integers in reverse order, so that both kinds merge the smallest first: the bits
 * of a float, sign-folded, order like the float. */
static rm_status make_priorities(rm_tokenizer *t, const float *score, rm_error *err)
{
    t->priority = malloc((size_t)t->n_vocab * sizeof *t->priority);
    if (!t->priority)
        return rm_fail(err, RM_E_MEMORY, "no memory for %d scores", t->n_vocab);
    for (int i = 0; i < t->n_vocab; i++) {
        float s = score[i] == 0 ? 0.0f : score[i]; /* -0 equals 0 */
        uint32_t u;
        if (isnan(s))
            return rm_fail(err, RM_E_FORMAT, "the score of token %d is not a number", i);
        memcpy(&u, &s, sizeof u);
        t->priority[i] = ~(u & 0x80000000u ? ~u : u | 0x80000000u);
    }
    return RM_OK;
}

/* ---- unigram ------------------------------------------------------------------------------- */

static rm_status make_unigram(rm_tokenizer *t, const double *score, bool single, rm_error *err)
{
    rm_unigram_piece *pieces = malloc((size_t)t->n_vocab * sizeof *pieces);
    size_t n = 0;
    double lowest = 0;
    rm_status st = RM_OK;
    if (!pieces)
        return rm_fail(err, RM_E_MEMORY, "no memory for %d scores", t->n_vocab);
    for (int i = 0; i < t->n_vocab && !st; i++) {
        if (!(fabs(score[i]) < 1e30))
            st = rm_fail(err, RM_E_FORMAT, "the score of token %d is no finite number", i);
        if (score[i] < lowest)
            lowest = score[i];
        if (t->type[i] == RM_TOKEN_NORMAL && t->text.at[i + 1] > t->text.at[i]) {
            pieces[n] = (rm_unigram_piece){ .token = i, .score = score[i] };
            pieces[n].text = string_at(&t->text, i, &pieces[n].n);
            n++;
        }
    }
    if (!st)
        st = rm_unigram_new(pieces, n, lowest, single, &t->unigram, err);
    free(pieces);
    return st;
}

/* ---- names of special tokens --------------------------------------------------------------- */

static bool has_name(const rm_tokenizer *t, int32_t token)
{
    return t->type[token] == RM_TOKEN_CONTROL || t->type[token] == RM_TOKEN_USER ||
           t->type[token] == RM_TOKEN_UNKNOWN;
}

/* A name that is looked for in the normalised text is looked for as that text would have it. */
static rm_status index_name(rm_tokenizer *t, int32_t token, rm_error *err)
{
    bool normalized = t->matching && (t->matching[token] & RM_NAME_NORMALIZED);
    rm_text room = { 0 };
    size_t n;
    const char *text = string_at(&t->text, token, &n);
    if (n > MAX_NAME_BYTES)
        return rm_fail(err, RM_E_FORMAT, "special token %" PRId32 " has a name of %zu bytes, expected at "
                       "most %d", token, n, MAX_NAME_BYTES);
    rm_status st = RM_OK;
    if (normalized && t->normalizer)
        st = rm_normalizer_apply(t->normalizer, &text, &n, &room, err);
    if (!st)
        st = rm_names_add(&t->names[normalized], token, text, n, err);
    rm_text_free(&room);
    return st;
}

static rm_status index_names(rm_tokenizer *t, const rm_tokenizer_source *source, rm_error *err)
{
    size_t n = (size_t)t->n_vocab;
    rm_status st = RM_OK;
    t->always = malloc(n * sizeof *t->always);
    if (source->matching)
        t->matching = malloc(n);
    if (!t->always || (source->matching && !t->matching))
        return rm_fail(err, RM_E_MEMORY, "no memory for a vocabulary of %d tokens", t->n_vocab);
    if (t->matching)
        memcpy(t->matching, source->matching, n);
    for (int i = 0; i < t->n_vocab && !st; i++) {
        t->always[i] = t->type[i] == RM_TOKEN_USER;
        if (has_name(t, i))
            st = index_name(t, i, err);
    }
    return st;
}

/* ---- building ------------------------------------------------------------------------------ */

static rm_status check_id(const char *what, int32_t id, int n_vocab, rm_error *err)
{
    if (id < -1 || id >= n_vocab)
        return rm_fail(err, RM_E_FORMAT, "the %s token is %" PRId32 ", but the vocabulary has %d "
                       "tokens", what, id, n_vocab);
    return RM_OK;
}

static rm_status check_source(const rm_tokenizer_source *s, rm_error *err)
{
    if (s->n_vocab < 1 || s->n_vocab > MAX_VOCAB)
        return rm_fail(err, RM_E_FORMAT, "a vocabulary of %d tokens, expected 1 to %d", s->n_vocab,
                       MAX_VOCAB);
    if (s->unigram && !s->log_probability)
        return rm_fail(err, RM_E_FORMAT, "a unigram vocabulary without scores");
    if (s->sentencepiece && !s->unigram && !s->score && !s->n_merges)
        return rm_fail(err, RM_E_FORMAT, "a SentencePiece vocabulary without scores or merges");
    rm_status st = check_id("bos", s->bos, s->n_vocab, err);
    if (!st)
        st = check_id("eos", s->eos, s->n_vocab, err);
    if (!st)
        st = check_id("unknown", s->unknown, s->n_vocab, err);
    if (!st && s->emit_unknown && s->unknown < 0)
        st = rm_fail(err, RM_E_FORMAT, "text may need an unknown token, but none is named");
    if (!st && s->add_bos && s->bos < 0)
        st = rm_fail(err, RM_E_FORMAT, "a bos token is to be added, but none is named");
    return st;
}

static void copy_settings(rm_tokenizer *t, const rm_tokenizer_source *source)
{
    t->sentencepiece = source->sentencepiece;
    t->add_bos = source->add_bos;
    t->add_space_prefix = source->sentencepiece && source->add_space_prefix;
    t->prefix_once = source->prefix_once;
    t->prefix_joins = source->prefix_joins;
    t->blanks_apart = source->blanks_apart;
    t->marked = source->marked;
    t->strip_space = t->add_space_prefix || source->strip_space;
    t->space_first = source->space_first;
    t->whole_pieces = source->whole_pieces;
    t->emit_unknown = source->emit_unknown;
    t->fuse_unknown = source->fuse_unknown;
    t->spaced = source->spaced;
    t->words = source->words;
    t->prefix = source->prefix;
    t->n_vocab = source->n_vocab;
    t->bos = source->bos;
    t->eos = source->eos;
    t->unknown = source->unknown;
}

rm_status rm_tokenizer_new(const rm_tokenizer_source *source, rm_tokenizer **out, rm_error *err)
{
    rm_status st = check_source(source, err);
    if (st)
        return st;
    rm_tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return rm_fail(err, RM_E_MEMORY, "no memory for a tokenizer");
    copy_settings(t, source);
    t->normalizer = source->normalizer;
    if ((st = copy_texts(t, source, err)) || (st = copy_types(t, source, err)) ||
        (st = make_bytes(t, err)) || (st = index_pieces(t, err)) ||
        (st = index_names(t, source, err)))
        goto done;
    if (source->unigram) {
        st = make_unigram(t, source->log_probability, source->single_precision, err);
    } else if (t->sentencepiece) {
        find_leading_blanks(t);
        st = source->score ? make_priorities(t, source->score, err) : index_merges(t, source, err);
    } else if (!(st = index_merges(t, source, err)))
        st = rm_pretokenizer_new(source->pre ? source->pre : "default", &t->pre, err);
    t->whole_pieces |= t->pre && rm_pretokenizer_whole_pieces(t->pre);
done:
    if (st) {
        t->normalizer = NULL; /* still the caller's */
        rm_tokenizer_free(t);
    } else {
        *out = t;
    }
    return st;
}

void rm_tokenizer_free(rm_tokenizer *t)
{
    if (!t)
        return;
    free(t->text.data);
    free(t->text.at);
    free(t->bytes.data);
    free(t->bytes.at);
    free(t->type);
    free(t->priority);
    free(t->pieces);
    free(t->merges);
    rm_names_free(&t->names[0]);
    rm_names_free(&t->names[1]);
    free(t->matching);
    free(t->always);
    rm_normalizer_free(t->normalizer);
    rm_unigram_free(t->unigram);
    rm_pretokenizer_free(t->pre);
    free(t);
}

/* ---- tokens to text ------------------------------------------------------------------------ */

rm_tokenizer_info rm_tokenizer_describe(const rm_tokenizer *t)
{
    return (rm_tokenizer_info){ t->unigram ? "unigram" : t->sentencepiece ? "sentencepiece" : "bpe",
                                t->add_bos, t->n_vocab, t->bos, t->eos, t->unknown };
}

static bool is_special(const rm_tokenizer *t, int32_t token)
{
    return t->type[token] == RM_TOKEN_CONTROL || t->type[token] == RM_TOKEN_UNKNOWN ||
           t->type[token] == RM_TOKEN_UNUSED;
}

const char *rm_tokenizer_bytes(const rm_tokenizer *t, int32_t token, size_t *n, bool *special)
{
    if (token < 0 || token >= t->n_vocab) {
        *n = 0;
        *special = false;
        return "";
    }
    *special = is_special(t, token);
    return string_at(&t->bytes, token, n);
}

/* Encoding put a space in front of the text, and in front of the text that follows a named
 * token; here each is taken away again. */
void rm_tokenizer_decode(const rm_tokenizer *t, const int32_t *tokens, int n_tokens, bool special,
                         rm_text *text)
{
    bool strip = t->strip_space;
    for (int i = 0; i < n_tokens; i++) {
        size_t n;
        bool hidden;
        const char *bytes = rm_tokenizer_bytes(t, tokens[i], &n, &hidden);
        bool named = tokens[i] >= 0 && tokens[i] < t->n_vocab && has_name(t, tokens[i]);
        if (strip && !named && n && bytes[0] == ' ') {
            bytes++;
            n--;
        }
        if (special || !hidden)
            rm_text_add(text, bytes, n);
        strip = t->strip_space && named && !t->prefix_once;
    }
}

rm_status rm_tokenizer_same(const rm_tokenizer *a, const rm_tokenizer *b, rm_error *err)
{
    if (a->sentencepiece != b->sentencepiece)
        return rm_fail(err, RM_E_ARGUMENT, "one vocabulary is of kind %s, the other %s",
                       a->sentencepiece ? "sentencepiece" : "bpe",
                       b->sentencepiece ? "sentencepiece" : "bpe");
    if (a->n_vocab != b->n_vocab)
        return rm_fail(err, RM_E_ARGUMENT, "one vocabulary has %d tokens, the other %d", a->n_vocab,
                       b->n_vocab);
    for (int i = 0; i < a->n_vocab; i++) {
        size_t n, m;
        const char *p = string_at(&a->text, i, &n), *q = string_at(&b->text, i, &m);
        if (n != m || memcmp(p, q, n))
            return rm_fail(err, RM_E_ARGUMENT, "token %d is \"%s\" in one vocabulary and "
                           "\"%s\" in the other", i, rm_quoted(&(rm_quote){ 0 }, p, n),
                           rm_quoted(&(rm_quote){ 0 }, q, m));
        if (a->type[i] != b->type[i])
            return rm_fail(err, RM_E_ARGUMENT, "token %d, \"%s\", has type %d in one vocabulary "
                           "and %d in the other", i, rm_quoted(&(rm_quote){ 0 }, p, n), a->type[i],
                           b->type[i]);
    }
    if (a->eos != b->eos)
        return rm_fail(err, RM_E_ARGUMENT, "the eos token is %" PRId32 " in one vocabulary and "
                       "%" PRId32 " in the other", a->eos, b->eos);
    return RM_OK;
}
