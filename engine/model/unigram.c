/* unigram.c - Viterbi over the pieces that fit (unigram.h).
 *
 *     best(0) = 0       best(j) = max over pieces text[i, j) of best(i) + score
 *
 * computed from left to right, pieces at one position from short to long; the first of equals
 * stays. That is the order in which SentencePiece and the tokenizers package compare.
 * Where no piece is the single character at i, the character itself may stand, for 10 less than the
 * worst piece.
 *
 * Pieces lie in a trie whose nodes' children are neighbours in ascending order of their bytes,
 * numbered level by level; a node's are found by bisection. */
#include "engine/model/unigram.h"

#include <stdlib.h>
#include <string.h>

#define PENALTY 10.0

typedef struct node {
    double score;
    int32_t first_child, token; /* token -1: no piece ends here */
    uint16_t n_children;
    uint8_t byte;
} node;

struct rm_unigram {
    node *nodes;                /* nodes[0] is the root */
    size_t n_nodes;
    double unknown;
    bool single;
};

/* How the best cutting of text[0 .. i) ends. */
struct rm_ending {
    double score;
    uint32_t start;
    int32_t token;
    bool reached;
};

static int compare_pieces(const void *a, const void *b)
{
    const rm_unigram_piece *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n ? memcmp(x->text, y->text, n) : 0;
    if (order || x->n != y->n)
        return order ? order : x->n < y->n ? -1 : 1;
    return (x->token > y->token) - (x->token < y->token);
}

/* Sorted pieces [from, to) agree in their first `depth` bytes: the node of that prefix. */
typedef struct range {
    size_t from, to, depth;
} range;

/* Makes the children of node i, whose pieces are *r; ranges of the children go behind `ranges`. */
static void make_children(rm_unigram *u, size_t i, const rm_unigram_piece *p, range *ranges)
{
    range r = ranges[i];
    size_t at = r.from;
    while (at < r.to && p[at].n == r.depth) { /* ends here; the first holds */
        if (u->nodes[i].token < 0) {
            u->nodes[i].token = p[at].token;
            u->nodes[i].score = p[at].score;
        }
        at++;
    }
    u->nodes[i].first_child = (int32_t)u->n_nodes;
    while (at < r.to) {
        uint8_t byte = (uint8_t)p[at].text[r.depth];
        size_t end = at;
        while (end < r.to && (uint8_t)p[end].text[r.depth] == byte)
            end++;
        u->nodes[u->n_nodes] = (node){ .token = -1, .byte = byte };
        ranges[u->n_nodes++] = (range){ at, end, r.depth + 1 };
        u->nodes[i].n_children++;
        at = end;
    }
}

rm_status rm_unigram_new(rm_unigram_piece *pieces, size_t n, double lowest, bool single,
                         rm_unigram **out, rm_error *err)
{
    size_t total = 1;
    for (size_t i = 0; i < n; i++)
        total += pieces[i].n;
    rm_unigram *u = calloc(1, sizeof *u);
    range *ranges = malloc(total * sizeof *ranges);
    if (u)
        u->nodes = malloc(total * sizeof *u->nodes);
    if (!u || !ranges || !u->nodes || total > INT32_MAX) {
        rm_unigram_free(u);
        free(ranges);
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu pieces of %zu bytes", n, total - 1);
    }
    if (n)
        qsort(pieces, n, sizeof *pieces, compare_pieces);
    u->unknown = single ? (double)((float)lowest - (float)PENALTY) : lowest - PENALTY;
    u->single = single;
    u->nodes[0] = (node){ .token = -1 };
    u->n_nodes = 1;
    ranges[0] = (range){ 0, n, 0 };
    for (size_t i = 0; i < u->n_nodes; i++)
        make_children(u, i, pieces, ranges);
    free(ranges);
    node *fit = realloc(u->nodes, u->n_nodes * sizeof *fit);
    if (fit)
        u->nodes = fit;
    *out = u;
    return RM_OK;
}

void rm_unigram_free(rm_unigram *u)
{
    if (!u)
        return;
    free(u->nodes);
    free(u);
}

static const node *child(const rm_unigram *u, const node *of, uint8_t byte)
{
    const node *first = u->nodes + of->first_child;
    size_t low = 0, high = of->n_children;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (first[middle].byte < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low < of->n_children && first[low].byte == byte ? first + low : NULL;
}

static void offer(const rm_unigram *u, struct rm_ending *end, double score, size_t start,
                  int32_t token)
{
    if (u->single)
        score = (double)(float)score;
    if (!end->reached || score > end->score)
        *end = (struct rm_ending){ score, (uint32_t)start, token, true };
}

/* best[1 .. n]; best[0] is the beginning. */
static void run_forward(const rm_unigram *u, const char *text, size_t n, struct rm_ending *best)
{
    for (size_t i = 0; i <= n; i++)
        best[i].reached = false;
    best[0] = (struct rm_ending){ .token = -1, .reached = true };
    for (size_t at = 0, length; at < n; at += length) {
        unsigned char c = (unsigned char)text[at];
        bool single = false;
        length = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        const node *p = u->nodes;
        for (size_t i = at; i < n && (p = child(u, p, (uint8_t)text[i])); i++)
            if (p->token >= 0) {
                offer(u, &best[i + 1], best[at].score + p->score, at, p->token);
                single |= i + 1 - at == length;
            }
        if (!single)
            offer(u, &best[at + length], best[at].score + u->unknown, at, -1);
    }
}

bool rm_unigram_cut(const rm_unigram *u, const char *text, size_t n, rm_cutting *c)
{
    if (n + 1 > c->n_best) {
        size_t room = 2 * c->n_best > n + 1 ? 2 * c->n_best : n + 64;
        struct rm_ending *best = realloc(c->best, room * sizeof *best);
        if (!best)
            return false;
        c->best = best;
        c->n_best = room;
    }
    run_forward(u, text, n, c->best);
    c->n = 0;
    for (size_t end = n; end > 0; end = c->best[end].start)
        c->n++;
    if (c->n > c->capacity) {
        struct rm_cut *cut = realloc(c->cut, 2 * c->n * sizeof *cut);
        if (!cut)
            return false;
        c->cut = cut;
        c->capacity = 2 * c->n;
    }
    size_t i = c->n;
    for (size_t end = n; end > 0; end = c->best[end].start)
        c->cut[--i] = (struct rm_cut){ c->best[end].token, c->best[end].start,
                                       (uint32_t)(end - c->best[end].start) };
    return true;
}

void rm_cutting_free(rm_cutting *c)
{
    free(c->cut);
    free(c->best);
    *c = (rm_cutting){ 0 };
}
