/* normalizer.c - steps of normalisation (normalizer.h).
 *
 * Each step writes its result into the buffer that the step before last is done with. Steps that
 * cannot change a text see that from its bytes: nothing below U+0300 changes under NFC, and no
 * ASCII under the other forms.
 *
 * The compiled table ("precompiled_charsmap", Kudo & Richardson 2018, and the double-array tries
 * of Yata's darts-clone it is made of):
 *
 *     u32      bytes of the trie, little-endian
 *     u32[]    the trie: bit 8 has-leaf, bits 0-7 (and 31) label, bits 10-30 offset, shifted left by
 *              8 where bit 9 is set; of a leaf, bits 0-30 are its value
 *     bytes    texts, each with a NUL behind it; values of leaves are offsets into them
 *
 * Node n's child under byte c is n ^ offset(n) ^ c if that unit's label is c; if a node has a leaf,
 * it lies at n ^ offset(n). Offsets come from the file, so each is checked against the size.
 *
 * SentencePiece replaces the longest match at each position. The tokenizers package looks at
 * clusters of characters (UAX 29), takes the *shortest* prefix of a cluster under 6 bytes that the
 * table knows for all of it, and else goes character by character. Files of either kind get
 * what their own library does. */
#include "engine/model/normalizer.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { MAX_STEPS = 32, MAX_CLUSTER = 6, MAX_REPLACEMENT = 64 };

/* No rule that is meant for text makes it longer than this; one that does is not run to its end.
 * (The longest of Unicode's own, NFKC of U+FDFA, makes 3 bytes 33.) */
static size_t longest_result(size_t n)
{
    return 32 * n + 4096;
}

typedef struct step {
    rm_step_kind kind;
    char *from, *to;
    size_t n_from, n_to;
} step;

struct rm_normalizer {
    step steps[MAX_STEPS];
    int n;
};

/* ---- characters ---------------------------------------------------------------------------- */

static size_t character_bytes(unsigned char first)
{
    return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

static int32_t character_at(const char *text, size_t n, size_t *length)
{
    utf8proc_int32_t c = -1;
    utf8proc_ssize_t read = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &c);
    *length = read > 0 ? (size_t)read : 1;
    return read > 0 ? c : -1;
}

static bool is_blank(int32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

size_t rm_blank_at_start(const char *text, size_t n)
{
    size_t length;
    return n && is_blank(character_at(text, n, &length)) ? length : 0;
}

size_t rm_blank_at_end(const char *text, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++)
        if (rm_blank_at_start(text + n - back, back) == back)
            return back;
    return 0;
}

static void put_character(rm_text *out, int32_t c)
{
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char(c, bytes);
    rm_text_add(out, (const char *)bytes, n > 0 ? (size_t)n : 0);
}

/* ---- the compiled table -------------------------------------------------------------------- */

static uint32_t unit_at(const char *table, size_t i)
{
    const unsigned char *p = (const unsigned char *)table + 4 + 4 * i;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static size_t trie_bytes(const char *table)
{
    const unsigned char *p = (const unsigned char *)table;
    return (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
}

static size_t unit_offset(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & 0x200) >> 6);
}

/* The text that a prefix of text[0..n) becomes: of the longest such prefix, or of the shortest.
 * NULL: the table knows none. */
static const char *look_up(const step *s, const char *text, size_t n, bool longest, size_t *length)
{
    size_t n_units = trie_bytes(s->from) / 4, n_texts = s->n_from - 4 - n_units * 4;
    const char *texts = s->from + 4 + n_units * 4, *found = NULL;
    size_t node = unit_offset(unit_at(s->from, 0));
    for (size_t i = 0; i < n && text[i]; i++) {
        unsigned char c = (unsigned char)text[i];
        node ^= c;
        if (node >= n_units)
            break;
        uint32_t unit = unit_at(s->from, node);
        if ((unit & 0x800000ffu) != c)
            break;
        node ^= unit_offset(unit);
        if (!(unit & 0x100))
            continue;
        size_t value = node < n_units ? unit_at(s->from, node) & 0x7fffffffu : n_texts;
        if (value >= n_texts || strnlen(texts + value, MAX_REPLACEMENT + 1) > MAX_REPLACEMENT)
            break;
        found = texts + value;
        *length = i + 1;
        if (!longest)
            break;
    }
    return found;
}

static rm_status check_table(const char *table, size_t n, rm_error *err)
{
    if (n < 9 || trie_bytes(table) < 4 || trie_bytes(table) % 4 || trie_bytes(table) > n - 5 ||
        table[n - 1])
        return rm_fail(err, RM_E_FORMAT, "a compiled table of replacements of %zu bytes, expected its "
                       "size, a trie of so many bytes and texts that end in a zero byte", n);
    return RM_OK;
}

/* As SentencePiece: the longest match, else the character as it is. */
static void map_longest(const step *s, const char *text, size_t n, rm_text *out)
{
    for (size_t at = 0, length; at < n; at += length) {
        const char *to = look_up(s, text + at, n - at, true, &length);
        if (to)
            rm_text_puts(out, to);
        else
            rm_text_add(out, text + at, length = character_bytes((unsigned char)text[at]));
    }
}

static size_t cluster_bytes(const char *text, size_t n)
{
    utf8proc_int32_t state = 0;
    size_t at, length;
    int32_t previous = character_at(text, n, &at);
    while (at < n) {
        int32_t next = character_at(text + at, n - at, &length);
        if (utf8proc_grapheme_break_stateful(previous, next, &state))
            break;
        previous = next;
        at += length;
    }
    return at;
}

/* As the tokenizers package. */
static void map_clusters(const step *s, const char *text, size_t n, rm_text *out)
{
    size_t cluster, length, ignored;
    for (size_t at = 0; at < n; at += cluster) {
        cluster = cluster_bytes(text + at, n - at);
        const char *to = cluster < MAX_CLUSTER ? look_up(s, text + at, cluster, false, &ignored) : NULL;
        if (to)
            rm_text_puts(out, to);
        for (size_t i = 0; i < cluster && !to; i += length) {
            length = character_bytes((unsigned char)text[at + i]);
            const char *single = look_up(s, text + at + i, length, false, &ignored);
            if (single)
                rm_text_puts(out, single);
            else
                rm_text_add(out, text + at + i, length);
        }
    }
}

/* ---- steps on valid text ------------------------------------------------------------------- */

static rm_status normal_form(rm_step_kind kind, const char *text, size_t n, rm_text *out,
                             rm_error *err)
{
    static const int options[] = {
        [RM_STEP_NFC] = UTF8PROC_COMPOSE, [RM_STEP_NFD] = UTF8PROC_DECOMPOSE,
        [RM_STEP_NFKC] = UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [RM_STEP_NFKD] = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    utf8proc_uint8_t *form = NULL;
    utf8proc_ssize_t length =
        utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &form,
                     (utf8proc_option_t)(UTF8PROC_STABLE | options[kind]));
    if (length < 0)
        return rm_fail(err, RM_E_MEMORY, "the text cannot be normalised: %s", utf8proc_errmsg(length));
    rm_text_add(out, (const char *)form, (size_t)length);
    free(form);
    return RM_OK;
}

/* Control characters vanish, blanks of all kinds and what is invisible become a space: the lists
 * of SentencePiece's rule nmt_nfkc. 0: vanishes. */
static int32_t without_controls(int32_t c)
{
    if ((c >= 1 && c <= 8) || c == 0x0b || (c >= 0x0e && c <= 0x1f) || c == 0x7f || c == 0x8f ||
        c == 0x9f)
        return 0;
    if (c == 9 || c == 0x0a || c == 0x0c || c == 0x0d || c == 0x1680 || (c >= 0x200b && c <= 0x200f) ||
        c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd)
        return ' ';
    return c;
}

static bool is_mark(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
           category == UTF8PROC_CATEGORY_ME;
}

static void each_character(rm_step_kind kind, const char *text, size_t n, rm_text *out)
{
    for (size_t at = 0, length; at < n; at += length) {
        int32_t c = character_at(text + at, n - at, &length), to = c;
        if (kind == RM_STEP_LOWERCASE)
            to = utf8proc_tolower(c);
        else if (kind == RM_STEP_CONTROLS)
            to = without_controls(c);
        else if (is_mark(c))
            continue;
        if (kind == RM_STEP_LOWERCASE && c == 0x130)
            rm_text_puts(out, "i\xcc\x87"); /* the one letter whose small form is two characters */
        else if (to == c)
            rm_text_add(out, text + at, length);
        else if (to)
            put_character(out, to);
    }
}

/* A stretch of valid UTF-8, or a byte that is not. */
static rm_status rewrite_valid(const step *s, const char *text, size_t n, rm_text *out, rm_error *err)
{
    switch (s->kind) {
    case RM_STEP_NFC: case RM_STEP_NFD: case RM_STEP_NFKC: case RM_STEP_NFKD:
        return normal_form(s->kind, text, n, out, err);
    case RM_STEP_CHARSMAP:
        map_longest(s, text, n, out);
        return RM_OK;
    case RM_STEP_CHARSMAP_CLUSTERS:
        map_clusters(s, text, n, out);
        return RM_OK;
    default:
        each_character(s->kind, text, n, out);
        return RM_OK;
    }
}

static rm_status rewrite_stretches(const step *s, const char *text, size_t n, rm_text *out,
                                   rm_error *err)
{
    rm_status st = RM_OK;
    for (size_t at = 0; at < n && !st;) {
        size_t valid = rm_utf8_valid_prefix(text + at, n - at);
        if (valid)
            st = rewrite_valid(s, text + at, valid, out, err);
        at += valid;
        if (at < n)
            rm_text_add(out, text + at++, 1);
    }
    return st;
}

/* ---- steps on any bytes -------------------------------------------------------------------- */

static void replace(const step *s, const char *text, size_t n, size_t limit, rm_text *out)
{
    for (size_t at = 0; at < n && out->length <= limit;) {
        size_t end = at;
        while (n - end >= s->n_from && memcmp(text + end, s->from, s->n_from) == 0)
            end += s->n_from;
        size_t found = (end - at) / s->n_from;
        if (found < (s->kind == RM_STEP_REPLACE_RUNS ? 2 : 1)) {
            size_t plain = found ? s->n_from : 1;
            rm_text_add(out, text + at, plain);
            at += plain;
            continue;
        }
        if (s->kind == RM_STEP_REPLACE_RUNS)
            found = 1;
        for (size_t i = 0; i < found && out->length <= limit; i++)
            rm_text_add(out, s->to, s->n_to);
        at = end;
    }
}

static void trim_words(const char *text, size_t n, rm_text *out)
{
    for (size_t at = 0; at < n; at++) {
        bool space = text[at] == ' ';
        if (!space && at && text[at - 1] == ' ' && out->length)
            rm_text_puts(out, " ");
        if (!space)
            rm_text_add(out, text + at, 1);
    }
}

/* Can the step change the text at all? */
static bool may_change(const step *s, const char *text, size_t n)
{
    unsigned char from = s->kind == RM_STEP_NFC ? 0xcc : 0x80; /* U+0300 is CC 80 */
    bool forms = s->kind <= RM_STEP_NFKD || s->kind == RM_STEP_STRIP_ACCENTS;
    for (size_t i = 0; i < n && forms; i++)
        if ((unsigned char)text[i] >= from)
            return true;
    return !forms && n;
}

static rm_status rewrite(const step *s, const char *text, size_t n, size_t limit, rm_text *out,
                         rm_error *err)
{
    size_t blank;
    switch (s->kind) {
    case RM_STEP_PREPEND:
        rm_text_add(out, s->from, s->n_from);
        break;
    case RM_STEP_REPLACE: case RM_STEP_REPLACE_RUNS:
        replace(s, text, n, limit, out);
        return RM_OK;
    case RM_STEP_TRIM_WORDS:
        trim_words(text, n, out);
        return RM_OK;
    case RM_STEP_STRIP_LEFT:
        while ((blank = rm_blank_at_start(text, n)) > 0) {
            text += blank;
            n -= blank;
        }
        break;
    case RM_STEP_STRIP_RIGHT:
        while ((blank = rm_blank_at_end(text, n)) > 0)
            n -= blank;
        break;
    default:
        return rewrite_stretches(s, text, n, out, err);
    }
    rm_text_add(out, text, n);
    return RM_OK;
}

rm_status rm_normalizer_apply(const rm_normalizer *r, const char **text, size_t *n, rm_text *room,
                              rm_error *err)
{
    rm_text other = { 0 };
    rm_status st = RM_OK;
    size_t limit = longest_result(*n);
    for (int i = 0; i < r->n && !st; i++) {
        if (!may_change(&r->steps[i], *text, *n))
            continue;
        /* the text lies in `room` or with the caller; the result goes where it does not lie */
        other.length = 0;
        st = rewrite(&r->steps[i], *text, *n, limit, &other, err);
        if (!st && other.length > limit)
            st = rm_fail(err, RM_E_LIMIT, "normalising makes a text of %zu bytes longer than %zu", *n,
                         limit);
        if (!st && other.failed)
            st = rm_fail(err, RM_E_MEMORY, "no memory to normalise the text");
        rm_text swap = *room;
        *room = other;
        other = swap;
        *text = room->data ? room->data : "";
        *n = room->length;
    }
    rm_text_free(&other);
    return st;
}

/* ---- building ------------------------------------------------------------------------------ */

rm_status rm_normalizer_new(rm_normalizer **out, rm_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for a normalizer");
}

void rm_normalizer_free(rm_normalizer *r)
{
    for (int i = 0; r && i < r->n; i++) {
        free(r->steps[i].from);
        free(r->steps[i].to);
    }
    free(r);
}

int rm_normalizer_count(const rm_normalizer *r)
{
    return r->n;
}

static char *copy_bytes(const char *bytes, size_t n)
{
    char *copy = malloc(n + 1);
    if (copy) {
        if (n)
            memcpy(copy, bytes, n);
        copy[n] = '\0';
    }
    return copy;
}

rm_status rm_normalizer_add(rm_normalizer *r, rm_step_kind kind, const char *from, size_t n_from,
                            const char *to, size_t n_to, rm_error *err)
{
    bool table = kind == RM_STEP_CHARSMAP || kind == RM_STEP_CHARSMAP_CLUSTERS;
    bool needs = kind == RM_STEP_PREPEND || kind == RM_STEP_REPLACE || kind == RM_STEP_REPLACE_RUNS;
    if (needs && !n_from)
        return rm_fail(err, RM_E_FORMAT, "a normalizer that looks for nothing");
    if (n_to > MAX_REPLACEMENT || (kind == RM_STEP_PREPEND && n_from > MAX_REPLACEMENT))
        return rm_fail(err, RM_E_UNSUPPORTED, "a normalizer that puts %zu bytes into the text at once, "
                       "expected at most %d", n_to ? n_to : n_from, MAX_REPLACEMENT);
    if (r->n == MAX_STEPS)
        return rm_fail(err, RM_E_UNSUPPORTED, "a normalizer of more than %d steps", MAX_STEPS);
    rm_status st = table ? check_table(from, n_from, err) : RM_OK;
    if (st)
        return st;
    step *s = &r->steps[r->n++];
    *s = (step){ kind, copy_bytes(from, n_from), copy_bytes(to, n_to), n_from, n_to };
    return s->from && s->to ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for a normalizer");
}
