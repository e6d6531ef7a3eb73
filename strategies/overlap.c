/* overlap.c - n-grams as sorted lists of hashes, compared by merging (overlap.h).
 *
 * Two n-grams are taken for equal if their 64-bit hashes are: among the million pairs of a large
 * vote that errs once in 10^13 votes. */
#include "strategies/overlap.h"

#include "strategies/samples.h"

#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The n-grams of `item`, all orders up to `orders`. */
static rm_status grams_of(grams *g, rm_run *run, const int32_t *item, int n, int orders,
                          rm_error *err)
{
    *g = (grams){ .orders = orders };
    for (int o = 0; o < orders; o++) {
        g->n[o] = n > o ? n - o : 0;
        rm_status status = run_array(run, (size_t)g->n[o] + 1, sizeof *g->of[o], &g->of[o], err);
        if (status)
            return status;
        for (int i = 0; i < g->n[o]; i++)
            g->of[o][i] = rm_hash_bytes(item + i, (size_t)(o + 1) * sizeof *item);
        qsort(g->of[o], (size_t)g->n[o], sizeof *g->of[o], by_value);
    }
    return RM_OK;
}

/* The next character, or the next byte plus 2^24 where there is none. */
static int32_t next_character(const char **at)
{
    const unsigned char *s = (const unsigned char *)*at;
    int n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (rm_utf8_valid_prefix(*at, strnlen(*at, (size_t)n)) < (size_t)n) {
        (*at)++;
        return (1 << 24) + s[0];
    }
    int32_t value = n == 1 ? s[0] : s[0] & (0xff >> (n + 1));
    for (int i = 1; i < n; i++)
        value = value << 6 | (s[i] & 0x3f);
    *at += n;
    return value;
}

/* Unicode's White_Space. */
static bool is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

rm_status grams_of_text(grams *g, rm_run *run, const char *text, rm_error *err)
{
    int32_t *character;
    int n = 0;
    rm_status status = run_array(run, strlen(text) + 1, sizeof *character, &character, err);
    if (status)
        return status;
    while (*text) {
        int32_t c = next_character(&text);
        if (!is_space(c))
            character[n++] = c;
    }
    return grams_of(g, run, character, n, OVERLAP_ORDERS, err);
}

rm_status grams_of_tokens(grams *g, rm_run *run, const int32_t *tokens, int n, rm_error *err)
{
    return grams_of(g, run, tokens, n, 1, err);
}

static int common(const uint64_t *a, int n_a, const uint64_t *b, int n_b)
{
    int n = 0;
    for (int i = 0, j = 0; i < n_a && j < n_b;) {
        n += a[i] == b[j];
        bool on_a = a[i] <= b[j], on_b = b[j] <= a[i];
        i += on_a;
        j += on_b;
    }
    return n;
}

double grams_f(const grams *hypothesis, const grams *reference, double beta)
{
    double precision = 0, recall = 0, square = beta * beta;
    int orders = 0;
    for (int o = 0; o < hypothesis->orders; o++) {
        int n_h = hypothesis->n[o], n_r = reference->n[o];
        if (!n_h || !n_r)
            continue;
        double both = common(hypothesis->of[o], n_h, reference->of[o], n_r);
        precision += both / n_h;
        recall += both / n_r;
        orders++;
    }
    if (!(precision + recall > 0))
        return 0;
    precision /= orders;
    recall /= orders;
    return (1 + square) * precision * recall / (square * precision + recall);
}
