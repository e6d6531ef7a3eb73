/* names.c - names of special and added tokens (names.h): a trie, searched from each byte on.
 *
 * A search costs the length of the text times that of the longest name at worst, which tokenizer.c
 * bounds; hardly any text has bytes that begin a name. */
#include "engine/model/names.h"

#include "engine/model/normalizer.h"

#include <stdlib.h>
#include <utf8proc.h>

/* ---- building ------------------------------------------------------------------------------ */

static int32_t child_of(const rm_names *t, int32_t node, uint8_t byte)
{
    if (node == 0)
        return t->root[byte];
    int32_t child = t->node[node].child;
    while (child >= 0 && t->node[child].byte != byte)
        child = t->node[child].sibling;
    return child;
}

static rm_status make_room(rm_names *t, size_t n, rm_error *err)
{
    size_t wanted = (size_t)t->n + n + 1;
    if (wanted <= (size_t)t->capacity)
        return RM_OK;
    size_t room = 2 * (size_t)t->capacity > wanted ? 2 * (size_t)t->capacity : wanted;
    rm_name_node *node = room <= INT32_MAX ? realloc(t->node, room * sizeof *node) : NULL;
    if (!node)
        return rm_fail(err, RM_E_MEMORY, "no memory for the names of special tokens");
    t->node = node;
    t->capacity = (int32_t)room;
    if (t->n)
        return RM_OK;
    t->node[t->n++] = (rm_name_node){ -1, -1, -1, 0 };
    for (int b = 0; b < 256; b++)
        t->root[b] = -1;
    return RM_OK;
}

rm_status rm_names_add(rm_names *t, int32_t token, const char *name, size_t n, rm_error *err)
{
    rm_status st = n ? make_room(t, n, err) : RM_OK;
    int32_t node = 0;
    if (st || !n)
        return st;
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)name[i];
        int32_t child = child_of(t, node, byte);
        if (child < 0) {
            child = t->n++;
            t->node[child] = (rm_name_node){ -1, node ? t->node[node].child : -1, -1, byte };
            if (node)
                t->node[node].child = child;
            else
                t->root[byte] = child;
        }
        node = child;
    }
    if (t->node[node].token < 0)
        t->node[node].token = token;
    return RM_OK;
}

void rm_names_free(rm_names *t)
{
    free(t->node);
    *t = (rm_names){ 0 };
}

/* ---- searching ----------------------------------------------------------------------------- */

/* The longest name that text begins with, or -1: one found always, or, where special tokens are
 * asked for, any of whose bytes none is `plain`. */
static int32_t longest_at(const rm_name_search *s, const char *text, const char *plain, size_t n,
                          size_t *length)
{
    const rm_names *t = s->names;
    int32_t found = -1, node = t->root[(unsigned char)text[0]];
    bool special = s->special;
    for (size_t i = 0; node >= 0;) {
        int32_t token = t->node[node].token;
        special = special && !(plain && plain[i]);
        i++;
        if (token >= 0 && (special || s->always[token])) {
            found = token;
            *length = i;
        }
        if (i == n)
            break;
        node = child_of(t, node, (uint8_t)text[i]);
    }
    return found;
}

/* Letters, marks, digits, connecting signs and joiners: \w of Unicode's regular expressions. */
static bool is_word(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM: case UTF8PROC_CATEGORY_LO: case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ME: case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL: case UTF8PROC_CATEGORY_PC:
        return true;
    default: /* circled and squared letters are alphabetic, too */
        return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) ||
               (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
               (c >= 0x1f170 && c <= 0x1f189);
    }
}

static bool word_at(const char *text, size_t n)
{
    utf8proc_int32_t c = -1;
    return n && utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &c) > 0 &&
           is_word(c);
}

static bool word_before(const char *text, size_t at)
{
    size_t start = at;
    while (start > 0 && at - start < 4) {
        start--;
        if (((unsigned char)text[start] & 0xc0) != 0x80)
            break;
    }
    return start < at && word_at(text + start, at - start);
}

rm_name_match rm_names_find(const rm_name_search *s, const char *text, size_t n, size_t at,
                            size_t taken)
{
    rm_name_match m = { n, n, n, n, -1 };
    for (size_t length; at < n && s->names->n; at++) {
        int32_t token = longest_at(s, text + at, s->plain ? s->plain + at : NULL, n - at, &length);
        if (token < 0)
            continue;
        unsigned how = s->matching ? s->matching[token] : 0;
        if ((how & RM_NAME_WORD) && (word_before(text, at) || word_at(text + at + length, n - at - length))) {
            at += length - 1; /* dropped, and nothing inside it is looked for */
            continue;
        }
        m = (rm_name_match){ at, at + length, at, at + length, token };
        size_t blank;
        while ((how & RM_NAME_LEFT) && (blank = rm_blank_at_end(text, m.from)) > 0 &&
               m.from - blank >= taken)
            m.from -= blank;
        while ((how & RM_NAME_RIGHT) && (blank = rm_blank_at_start(text + m.to, n - m.to)) > 0)
            m.to += blank;
        return m;
    }
    return m;
}
