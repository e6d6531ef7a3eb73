/* tokenizer_encode.c - text to tokens.
 *
 *   1. Names of special tokens are found first, leftmost and then longest, and cut the text into
 *      stretches of plain text. Where the vocabulary asks for it, each of these is normalised
 *      (NFC in Qwen's own files; more in others), which decoding does not undo; and names that
 *      are to be found in normalised text cut it again.
 *   2. A stretch is cut into pieces that do not merge across their ends: by the pre-tokenizer in
 *      BPE; in SentencePiece, whose rule has no such step, in front of each word if no piece of
 *      the vocabulary could reach across (else the stretch stays whole). Spaces become U+2581.
 *      A unigram model has its blanks from a step of its own, Metaspace (encode_unigram).
 *   3. Unigram: the most probable cutting (unigram.h). Else a piece starts as single bytes (BPE) or
 *      characters (SentencePiece). The best pair of neighbours merges, again and again: lowest
 *      rank, or highest score; the leftmost of equals.
 *
 * The merge loop keeps the symbols in a linked list and the candidate pairs in a binary heap on
 * (priority, position): n symbols need O(n log n), so a megabyte without a space is no harder
 * than one with. A pair in the heap whose sides have grown meanwhile is recognised by its length
 * and dropped.
 *
 * A piece that a longer text has had before is not merged again: a small table remembers where
 * its tokens lie in the output.
 *
 * A character that no token stands for, and whose bytes have none, is the unknown token where the
 * file says so (emit_unknown); elsewhere it is an error.
 *
 * Bytes that are not valid UTF-8 take part in nothing and become their byte tokens. In
 * SentencePiece so does a U+2581 written out in the text, which decoding could not tell from a
 * space: that is what makes the round trip exact. */
#include "engine/model/tokenizer_private.h"

#include "engine/model/quote.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT_BYTES (INT32_MAX / 4) /* U+2581 is three times as long as a space */

/* A run of the piece's bytes that is one token, or will be. */
typedef struct symbol {
    int32_t start, length; /* length 0: merged into its left neighbour */
    int32_t prev, next;    /* -1: none */
    int32_t token;         /* -1: none has this text */
} symbol;

typedef struct candidate {
    uint64_t order;        /* priority << 32 | index of the left symbol; smallest first */
    int32_t length, token; /* of the two together */
} candidate;

#define REMEMBERED 4096        /* slots; a power of two */
#define REMEMBERED_BYTES 32    /* of the longest piece remembered */
#define REMEMBER_FROM 1024     /* bytes of text from which on the table pays */

typedef struct remembered {
    char text[REMEMBERED_BYTES];
    uint32_t n_bytes;      /* 0: an empty slot */
    uint32_t n_tokens;
    size_t first;          /* index of its first token in the output */
} remembered;

typedef struct encoder {
    const rm_tokenizer *t;
    rm_error *err;
    bool special;          /* names of special tokens are looked for */
    rm_splitter *splitter;
    symbol *symbols;
    size_t n_symbols, symbols_capacity;
    candidate *heap;
    size_t n_heap, heap_capacity;
    rm_text blanks;        /* sentencepiece: the piece with U+2581 for spaces */
    remembered *memory;    /* [REMEMBERED], or NULL */
    rm_text spaced;        /* BPE with a space in front; unigram with blanks as U+2581 */
    rm_cutting cutting;    /* unigram */
    int32_t *tokens;
    size_t n_tokens, tokens_capacity;
    size_t fused;          /* tokens before this one are none that an unknown one joins */
} encoder;

static rm_status no_memory(encoder *e)
{
    return rm_fail(e->err, RM_E_MEMORY, "no memory to tokenize the text");
}

/* Makes room for one more element of an array that doubles. */
static bool room(void **array, size_t n, size_t *capacity, size_t bytes)
{
    if (n < *capacity)
        return true;
    size_t wider = *capacity * 2 + 256;
    void *a = realloc(*array, wider * bytes);
    if (!a)
        return false;
    *array = a;
    *capacity = wider;
    return true;
}

static bool emit(encoder *e, int32_t token)
{
    void *a = e->tokens;
    if (!room(&a, e->n_tokens, &e->tokens_capacity, sizeof *e->tokens))
        return false;
    e->tokens = a;
    e->tokens[e->n_tokens++] = token;
    return true;
}

/* The slot for a piece, NULL if it is not to be remembered. *known: its tokens have been put out
 * again. */
static remembered *recall(encoder *e, const char *text, size_t n, bool *known)
{
    *known = false;
    if (!e->memory || n > REMEMBERED_BYTES || n < 2)
        return NULL;
    remembered *r = &e->memory[rm_hash_bytes(text, n) % REMEMBERED];
    if (r->n_bytes != n || memcmp(r->text, text, n) != 0)
        return r;
    for (uint32_t i = 0; i < r->n_tokens; i++)
        if (!emit(e, e->tokens[r->first + i]))
            return r;
    *known = true;
    return r;
}

static void remember(const encoder *e, remembered *r, const char *text, size_t n, size_t first)
{
    if (!r)
        return;
    *r = (remembered){ .n_bytes = (uint32_t)n, .n_tokens = (uint32_t)(e->n_tokens - first),
                       .first = first };
    memcpy(r->text, text, n);
}

static bool symbol_add(encoder *e, int32_t start, int32_t length, int32_t token)
{
    void *a = e->symbols;
    if (!room(&a, e->n_symbols, &e->symbols_capacity, sizeof *e->symbols))
        return false;
    e->symbols = a;
    int32_t i = (int32_t)e->n_symbols++;
    e->symbols[i] = (symbol){ start, length, i - 1, -1, token };
    if (i > 0)
        e->symbols[i - 1].next = i;
    return true;
}

/* ---- the heap ------------------------------------------------------------------------------ */

static bool heap_push(encoder *e, candidate c)
{
    void *a = e->heap;
    if (!room(&a, e->n_heap, &e->heap_capacity, sizeof *e->heap))
        return false;
    e->heap = a;
    size_t i = e->n_heap++;
    for (; i > 0 && e->heap[(i - 1) / 2].order > c.order; i = (i - 1) / 2)
        e->heap[i] = e->heap[(i - 1) / 2];
    e->heap[i] = c;
    return true;
}

static candidate heap_pop(encoder *e)
{
    candidate top = e->heap[0], last = e->heap[--e->n_heap];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < e->n_heap) {
        if (child + 1 < e->n_heap && e->heap[child + 1].order < e->heap[child].order)
            child++;
        if (e->heap[child].order >= last.order)
            break;
        e->heap[i] = e->heap[child];
        i = child;
    }
    e->heap[i] = last;
    return top;
}

/* ---- merging ------------------------------------------------------------------------------- */

/* What symbols l and its right neighbour merge into: false if nothing. */
static bool pair(const encoder *e, const char *text, const symbol *l, const symbol *r,
                 int32_t *token, uint32_t *priority)
{
    const rm_tokenizer *t = e->t;
    if (t->priority) {
        *token = rm_tokenizer_find_piece(t, text + l->start, (size_t)(l->length + r->length));
        if (*token >= 0)
            *priority = t->priority[*token];
        return *token >= 0;
    }
    if (l->token < 0 || r->token < 0)
        return false; /* a character without a piece */
    size_t slot = rm_merge_hash(l->token, r->token) & t->merges_mask;
    for (; t->merges[slot].left >= 0; slot = (slot + 1) & t->merges_mask)
        if (t->merges[slot].left == l->token && t->merges[slot].right == r->token) {
            *token = t->merges[slot].result;
            *priority = (uint32_t)t->merges[slot].rank;
            return true;
        }
    return false;
}

static bool consider(encoder *e, const char *text, int32_t left)
{
    if (left < 0 || e->symbols[left].next < 0)
        return true;
    const symbol *l = &e->symbols[left], *r = &e->symbols[l->next];
    int32_t token;
    uint32_t priority;
    if (!pair(e, text, l, r, &token, &priority))
        return true;
    return heap_push(e, (candidate){ (uint64_t)priority << 32 | (uint32_t)left,
                                     l->length + r->length, token });
}

/* Merges e->symbols (runs of `text`) until no pair is left. */
static bool merge_all(encoder *e, const char *text)
{
    e->n_heap = 0;
    for (size_t i = 0; i + 1 < e->n_symbols; i++)
        if (!consider(e, text, (int32_t)i))
            return false;
    while (e->n_heap) {
        candidate c = heap_pop(e);
        int32_t left = (int32_t)(uint32_t)c.order;
        symbol *l = &e->symbols[left];
        if (l->length == 0 || l->next < 0 || l->length + e->symbols[l->next].length != c.length)
            continue; /* one of the two has merged otherwise since */
        symbol *r = &e->symbols[l->next];
        l->length = c.length;
        l->token = c.token;
        l->next = r->next;
        r->length = 0;
        if (l->next >= 0)
            e->symbols[l->next].prev = left;
        if (!consider(e, text, l->prev) || !consider(e, text, left))
            return false;
    }
    return true;
}

/* ---- bytes --------------------------------------------------------------------------------- */

/* Says which character or byte the vocabulary lacks. */
static rm_status lacks(encoder *e, const char *text, size_t n)
{
    unsigned byte = (unsigned char)text[0];
    size_t length = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    rm_quote q;
    if (byte > ' ' && length <= n && rm_utf8_valid_prefix(text, length) == length)
        return rm_fail(e->err, RM_E_ARGUMENT, "the text needs the character \"%s\" (byte %02X), "
                       "which this vocabulary has no token for", rm_quoted(&q, text, length), byte);
    return rm_fail(e->err, RM_E_ARGUMENT, "the text needs the byte %02X, which this vocabulary has "
                   "no token for", byte);
}

/* Bytes as byte tokens, one each; all of them as the unknown token if one has none and the file
 * says so. `n_around` bytes from `text` on may be shown in the sentence. */
static rm_status emit_bytes(encoder *e, const char *text, size_t n, size_t n_around)
{
    const rm_tokenizer *t = e->t;
    for (size_t i = 0; i < n; i++) {
        if (t->byte_token[(unsigned char)text[i]] >= 0)
            continue;
        if (!t->emit_unknown)
            return lacks(e, text + i, n_around - i);
        bool fused = t->fuse_unknown && e->n_tokens > e->fused &&
                     e->tokens[e->n_tokens - 1] == t->unknown;
        return fused || emit(e, t->unknown) ? RM_OK : no_memory(e);
    }
    for (size_t i = 0; i < n; i++)
        if (!emit(e, t->byte_token[(unsigned char)text[i]]))
            return no_memory(e);
    return RM_OK;
}

/* ---- byte-level BPE ------------------------------------------------------------------------ */

static rm_status encode_piece(encoder *e, const char *text, size_t n)
{
    const rm_tokenizer *t = e->t;
    if (n == 1)
        return emit_bytes(e, text, n, n);
    e->n_symbols = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t token = t->byte_token[(unsigned char)text[i]];
        if (token < 0)
            return lacks(e, text + i, n - i);
        if (!symbol_add(e, (int32_t)i, 1, token))
            return no_memory(e);
    }
    if (!merge_all(e, text))
        return no_memory(e);
    for (int32_t i = 0; i >= 0; i = e->symbols[i].next)
        if (!emit(e, e->symbols[i].token))
            return no_memory(e);
    return RM_OK;
}

/* A stretch of valid UTF-8. */
static rm_status encode_valid(encoder *e, const char *text, size_t n)
{
    const size_t *ends;
    size_t n_ends, start = 0;
    rm_status st = rm_splitter_cut(e->splitter, text, n, &ends, &n_ends, e->err);
    bool whole = e->t->whole_pieces;
    for (size_t i = 0; i < n_ends && !st; start = ends[i++]) {
        const char *piece = text + start;
        size_t length = ends[i] - start, first = e->n_tokens;
        bool known;
        remembered *slot = recall(e, piece, length, &known);
        if (known)
            continue;
        int32_t token = whole ? rm_tokenizer_find_bytes(e->t, piece, length) : -1;
        if (token < 0)
            st = encode_piece(e, piece, length);
        else if (!emit(e, token))
            st = no_memory(e);
        remember(e, slot, piece, length, first);
    }
    return st;
}

static rm_status encode_bpe(encoder *e, const char *text, size_t n)
{
    rm_status st = RM_OK;
    if (e->t->space_first && n && text[0] != ' ') {
        e->spaced.length = 0;
        rm_text_puts(&e->spaced, " ");
        rm_text_add(&e->spaced, text, n);
        if (e->spaced.failed)
            return no_memory(e);
        text = e->spaced.data;
        n++;
    }
    for (size_t at = 0; at < n && !st;) {
        size_t valid = rm_utf8_valid_prefix(text + at, n - at);
        if (valid)
            st = encode_valid(e, text + at, valid);
        at += valid;
        if (at < n && !st) {
            st = emit_bytes(e, text + at, 1, 1);
            at++;
        }
    }
    return st;
}

/* ---- SentencePiece ------------------------------------------------------------------------- */

/* The symbols of a piece: characters, spaces as U+2581; single bytes where UTF-8 is invalid
 * and where U+2581 itself is written, which no piece matches because pieces are valid UTF-8. */
static bool make_symbols(encoder *e, const char *text, size_t n, bool prefix)
{
    e->n_symbols = 0;
    e->blanks.length = 0;
    if (prefix)
        rm_text_add(&e->blanks, RM_BLANK, 3);
    size_t valid = rm_utf8_valid_prefix(text, n); /* valid up to here, counted from text */
    bool good = !prefix || symbol_add(e, 0, 3, -1);
    for (size_t i = 0; i < n && good;) {
        if (i == valid) { /* an invalid byte: alone; then look further */
            good = symbol_add(e, (int32_t)e->blanks.length, 1, -1);
            rm_text_add(&e->blanks, text + i, 1);
            i++;
            valid = i + rm_utf8_valid_prefix(text + i, n - i);
            continue;
        }
        unsigned char c = (unsigned char)text[i];
        int32_t at = (int32_t)e->blanks.length;
        size_t length = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        if (c == ' ') {
            rm_text_add(&e->blanks, RM_BLANK, 3);
            good = symbol_add(e, at, 3, -1);
        } else {
            rm_text_add(&e->blanks, text + i, length);
            if (length == 3 && !e->t->marked && memcmp(text + i, RM_BLANK, 3) == 0)
                good = symbol_add(e, at, 1, -1) && symbol_add(e, at + 1, 1, -1) &&
                       symbol_add(e, at + 2, 1, -1);
            else
                good = symbol_add(e, at, (int32_t)length, -1);
        }
        i += length;
    }
    return good && !e->blanks.failed;
}

static rm_status encode_word(encoder *e, const char *text, size_t n, bool prefix)
{
    if (!make_symbols(e, text, n, prefix))
        return no_memory(e);
    const char *blanks = e->blanks.data;
    for (size_t i = 0; i < e->n_symbols; i++) {
        symbol *s = &e->symbols[i];
        s->token = rm_tokenizer_find_piece(e->t, blanks + s->start, (size_t)s->length);
    }
    if (!merge_all(e, blanks))
        return no_memory(e);
    rm_status st = RM_OK;
    e->fused = e->n_tokens;
    for (int32_t i = 0; i >= 0 && !st; i = e->symbols[i].next) {
        const symbol *s = &e->symbols[i];
        if (s->token >= 0) {
            if (!emit(e, s->token))
                st = no_memory(e);
        } else if (s->length == 3 && memcmp(blanks + s->start, RM_BLANK, 3) == 0) {
            st = emit_bytes(e, " ", 1, 1); /* a space where the vocabulary has no U+2581 */
        } else {
            st = emit_bytes(e, blanks + s->start, (size_t)s->length,
                            e->blanks.length - (size_t)s->start);
        }
    }
    return st;
}

static rm_status encode_sentencepiece(encoder *e, const char *text, size_t n, bool prefix)
{
    rm_status st = RM_OK;
    prefix &= !(e->t->prefix_joins && n && text[0] == ' ');
    bool apart = e->t->blanks_apart, lead = e->t->blanks_lead;
    for (size_t start = 0, end; start < n && !st; start = end) {
        for (end = start + 1; end < n; end++)
            if (text[end] == ' ' && (apart || (lead && text[end - 1] != ' ')))
                break;
        size_t first = e->n_tokens;
        bool known = false, led = prefix && start == 0; /* a word with a space of ours in front */
        remembered *slot = led ? NULL : recall(e, text + start, end - start, &known);
        if (known)
            continue;
        st = encode_word(e, text + start, end - start, led);
        remember(e, slot, text + start, end - start, first);
    }
    return st;
}

/* ---- unigram ------------------------------------------------------------------------------- */

static rm_status encode_cutting(encoder *e, const char *text, size_t n)
{
    if (!rm_unigram_cut(e->t->unigram, text, n, &e->cutting))
        return no_memory(e);
    rm_status st = RM_OK;
    e->fused = e->n_tokens;
    for (size_t i = 0; i < e->cutting.n && !st; i++) {
        const struct rm_cut *c = &e->cutting.cut[i];
        size_t length = c->length;
        if (c->token >= 0) {
            st = emit(e, c->token) ? RM_OK : no_memory(e);
            continue;
        }
        while (e->t->fuse_unknown && i + 1 < e->cutting.n && e->cutting.cut[i + 1].token < 0)
            length += e->cutting.cut[++i].length; /* a run has byte tokens together, or none */
        st = emit_bytes(e, text + c->start, length, n - c->start);
    }
    return st;
}

/* A word, or a whole stretch, with its blanks in place. Bytes that are no UTF-8 stand alone. */
static rm_status encode_spaced(encoder *e, const char *text, size_t n)
{
    rm_status st = RM_OK;
    for (size_t at = 0; at < n && !st;) {
        size_t valid = rm_utf8_valid_prefix(text + at, n - at), first = e->n_tokens;
        bool known = false;
        remembered *slot = valid == n ? recall(e, text, n, &known) : NULL;
        if (known)
            return RM_OK;
        if (valid)
            st = encode_cutting(e, text + at, valid);
        if (!st)
            remember(e, slot, text, n, first);
        at += valid;
        if (at < n && !st)
            st = emit_bytes(e, text + at++, 1, 1);
    }
    return st;
}

static size_t blank_mark(const char *text, size_t n)
{
    return n >= 3 && memcmp(text, RM_BLANK, 3) == 0 ? 3 : 0;
}

/* Metaspace: spaces of text[0..n) become U+2581, one stands in front if `prefix`; then, if they are
 * to be apart, each begins a piece. */
static rm_status encode_metaspace(encoder *e, const char *text, size_t n, bool prefix)
{
    rm_text *spaced = &e->spaced;
    spaced->length = 0;
    if (prefix && n && text[0] != ' ' && !blank_mark(text, n))
        rm_text_add(spaced, RM_BLANK, 3);
    for (size_t i = 0; i < n; i++) {
        size_t run = i;
        while (run < n && text[run] != ' ')
            run++;
        rm_text_add(spaced, text + i, run - i);
        if (run < n)
            rm_text_add(spaced, RM_BLANK, 3);
        i = run;
    }
    if (spaced->failed)
        return no_memory(e);
    rm_status st = RM_OK;
    for (size_t start = 0, end; start < spaced->length && !st; start = end) {
        for (end = start + 1; end < spaced->length; end++)
            if (e->t->blanks_apart && blank_mark(spaced->data + end, spaced->length - end))
                break;
        st = encode_spaced(e, spaced->data + start, end - start);
    }
    return st;
}

static rm_status encode_unigram(encoder *e, const char *text, size_t n, bool first)
{
    const rm_tokenizer *t = e->t;
    rm_status st = RM_OK;
    if (!t->spaced)
        return encode_spaced(e, text, n);
    if (!t->words)
        return encode_metaspace(e, text, n, t->prefix == RM_PREFIX_ALWAYS ||
                                            (t->prefix == RM_PREFIX_FIRST && first));
    for (size_t at = 0, blank, end; at < n && !st; at = end) {
        while ((blank = rm_blank_at_start(text + at, n - at)) > 0)
            at += blank;
        for (end = at; end < n && !rm_blank_at_start(text + end, n - end);)
            end++;
        st = encode_metaspace(e, text + at, end - at, t->prefix == RM_PREFIX_ALWAYS ||
                              (t->prefix == RM_PREFIX_FIRST && first && at == 0));
    }
    return st;
}

/* ---- names and stretches ------------------------------------------------------------------- */

/* A stretch without names. `first`: nothing stands before it. */
static rm_status encode_stretch(encoder *e, const char *text, size_t n, bool first)
{
    const rm_tokenizer *t = e->t;
    if (t->unigram)
        return encode_unigram(e, text, n, first);
    if (!t->sentencepiece)
        return encode_bpe(e, text, n);
    /* SentencePiece models learn the space also after each name */
    return encode_sentencepiece(e, text, n, t->add_space_prefix && (first || !t->prefix_once));
}

/* text[0..n) as tokens of names and stretches between them; stretches go to `inner`. */
typedef rm_status stretch_encoder(encoder *, const char *text, const char *plain, size_t n, bool first);

static rm_status encode_around(encoder *e, const rm_names *names, const char *text, const char *plain,
                               size_t n, bool special, bool first, stretch_encoder *inner)
{
    const rm_tokenizer *t = e->t;
    rm_name_search search = { names, t->matching, t->always, plain, special };
    rm_status st = RM_OK;
    for (size_t at = 0, taken = 0; at <= n && !st;) {
        rm_name_match m = rm_names_find(&search, text, n, at, taken);
        if (m.from > taken || m.token < 0)
            st = inner(e, text + taken, plain ? plain + taken : NULL, m.from - taken,
                       first && taken == 0);
        if (m.token < 0)
            break;
        if (!st && !emit(e, m.token))
            st = no_memory(e);
        at = m.end;
        taken = m.to;
    }
    return st;
}

static rm_status encode_inner(encoder *e, const char *text, const char *plain, size_t n, bool first)
{
    (void)plain;
    return encode_stretch(e, text, n, first);
}

/* A stretch of the text as given. Where names are looked for in normalised text, that special ones
 * are mere text is known only if normalising changed nothing; else a stretch with any such byte
 * has none. */
static rm_status encode_given(encoder *e, const char *text, const char *plain, size_t n, bool first)
{
    const rm_tokenizer *t = e->t;
    const char *given = text;
    size_t n_given = n;
    rm_text room = { 0 };
    rm_status st = RM_OK;
    if (t->normalizer && n)
        st = rm_normalizer_apply(t->normalizer, &text, &n, &room, e->err);
    if (!st && t->names[1].n) {
        bool changed = n != n_given || memcmp(text, given, n) != 0, special = e->special;
        for (size_t i = 0; changed && plain && special && i < n_given; i++)
            special = !plain[i];
        st = encode_around(e, &t->names[1], text, changed ? NULL : plain, n, special, first,
                           encode_inner);
    } else if (!st) {
        st = encode_stretch(e, text, n, first);
    }
    rm_text_free(&room);
    return st;
}

static rm_status encode(const rm_tokenizer *t, const char *text, const char *plain, size_t n_bytes,
                        bool special, bool bos, int32_t **tokens, int *n_tokens, rm_error *err)
{
    if (n_bytes > MAX_TEXT_BYTES)
        return rm_fail(err, RM_E_ARGUMENT, "a text of %zu bytes, expected at most %d", n_bytes,
                       MAX_TEXT_BYTES);
    encoder e = { .t = t, .err = err, .special = special };
    rm_status st = RM_OK;
    if (!text)
        text = ""; /* of no bytes */
    if (t->pre)
        st = rm_splitter_new(t->pre, &e.splitter, err);
    if (n_bytes >= REMEMBER_FROM)
        e.memory = calloc(REMEMBERED, sizeof *e.memory); /* without it: slower, the same */
    if (!st && bos && t->add_bos && !emit(&e, t->bos))
        st = no_memory(&e);
    if (!st)
        st = encode_around(&e, &t->names[0], text, plain, n_bytes, special, true, encode_given);
    if (!st && !e.tokens && !(e.tokens = malloc(sizeof *e.tokens)))
        st = no_memory(&e); /* an empty text still gives something to free */
    rm_splitter_free(e.splitter);
    free(e.symbols);
    free(e.heap);
    free(e.memory);
    rm_text_free(&e.blanks);
    rm_text_free(&e.spaced);
    rm_cutting_free(&e.cutting);
    if (st) {
        free(e.tokens);
        return st;
    }
    assert(e.n_tokens <= INT_MAX);
    *tokens = e.tokens;
    *n_tokens = (int)e.n_tokens;
    return RM_OK;
}

rm_status rm_tokenizer_encode(const rm_tokenizer *t, const char *text, size_t n_bytes, bool special,
                              int32_t **tokens, int *n_tokens, rm_error *err)
{
    return encode(t, text, NULL, n_bytes, special, special, tokens, n_tokens, err);
}

rm_status rm_tokenizer_encode_rendered(const rm_tokenizer *t, const char *text, const char *plain,
                                       size_t n_bytes, int32_t **tokens, int *n_tokens,
                                       rm_error *err)
{
    return encode(t, text, plain, n_bytes, true, false, tokens, n_tokens, err);
}
