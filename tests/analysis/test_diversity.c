/* test_diversity.c - answers, n-grams, edit distances, self-BLEU. */
#include "tests/analysis/simulate.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- answers, against all subsets -------------------------------------------------------- */

Test(diversity, equals_the_enumeration_of_all_subsets)
{
    sim_source s = { 13, 1, 0 };
    for (int trial = 0; trial < 100; trial++) {
        int n = 1 + (int)(9 * sim_unit(&s)), category[10];
        size_t count[4] = { 0 };
        for (int i = 0; i < n; i++)
            count[category[i] = (int)(4 * sim_unit(&s))]++;
        for (int k = 1; k <= n; k++) {
            double distinct = 0, entropy = 0, subsets = 0;
            for (unsigned subset = 0; subset < 1u << n; subset++) {
                if (__builtin_popcount(subset) != k)
                    continue;
                double x[4] = { 0 };
                for (int i = 0; i < n; i++)
                    x[category[i]] += subset >> i & 1;
                for (int a = 0; a < 4; a++) {
                    distinct += x[a] > 0;
                    entropy -= x[a] > 0 ? x[a] / k * log(x[a] / k) : 0;
                }
                subsets++;
            }
            cr_assert_float_eq(rm_distinct_at_k(count, 4, (size_t)k), distinct / subsets, 1e-12);
            cr_assert_float_eq(rm_entropy_at_k(count, 4, (size_t)k), entropy / subsets, 1e-12);
        }
    }
    cr_assert(isnan(rm_distinct_at_k((size_t[]){ 2 }, 1, 3)));
    cr_assert(isnan(rm_entropy_at_k((size_t[]){ 2 }, 1, 0)));
}

/* Two of the equally likely four answers: 1 + 3/4 distinct ones in expectation. */
Test(diversity, unbiased_for_a_known_answer_distribution)
{
    enum { POOLS = 4000, N = 6 };
    sim_source s = { 13, 2, 0 };
    double mean = 0, square = 0;
    for (int p = 0; p < POOLS; p++) {
        size_t count[4] = { 0 };
        for (int i = 0; i < N; i++)
            count[(int)(4 * sim_unit(&s))]++;
        double x = rm_distinct_at_k(count, 4, 2);
        mean += x / POOLS;
        square += x * x / POOLS;
    }
    cr_assert_float_eq(mean, 1.75, 5 * sqrt((square - mean * mean) / POOLS));
}

/* ---- edit distance ----------------------------------------------------------------------- */

static size_t by_table(const uint64_t *a, size_t n, const uint64_t *b, size_t m)
{
    size_t *row = malloc((m + 1) * sizeof *row);
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    size_t distance = row[m];
    free(row);
    return distance;
}

/* Lengths around the 64-bit words, small and large alphabets. */
Test(diversity, edit_distance_equals_the_table)
{
    static const size_t lengths[] = { 0, 1, 5, 63, 64, 65, 127, 128, 129, 200 };
    enum { L = sizeof lengths / sizeof *lengths };
    sim_source s = { 13, 3, 0 };
    for (size_t i = 0; i < L; i++)
        for (size_t j = 0; j < L; j++)
            for (int alphabet = 2; alphabet <= 50; alphabet *= 5) {
                uint64_t a[200], b[200];
                bool failed;
                for (size_t x = 0; x < lengths[i]; x++)
                    a[x] = (uint64_t)(alphabet * sim_unit(&s)) * UINT64_C(0x9e3779b97f4a7c15);
                for (size_t x = 0; x < lengths[j]; x++)
                    b[x] = (uint64_t)(alphabet * sim_unit(&s)) * UINT64_C(0x9e3779b97f4a7c15);
                cr_assert_eq(rm_edit_distance(a, lengths[i], b, lengths[j], &failed),
                             by_table(a, lengths[i], b, lengths[j]), "%zu x %zu", lengths[i],
                             lengths[j]);
                cr_assert_not(failed);
            }
}

Test(diversity, edit_distance_of_words)
{
    static const struct {
        const char *a, *b;
        size_t distance;
    } table[] = { { "kitten", "sitting", 3 },
                  { "saturday", "sunday", 3 },
                  { "", "abc", 3 },
                  { "flaw", "lawn", 2 },
                  { "same", "same", 0 } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint64_t a[16], b[16];
        bool failed;
        for (size_t x = 0; table[i].a[x]; x++)
            a[x] = (unsigned char)table[i].a[x];
        for (size_t x = 0; table[i].b[x]; x++)
            b[x] = (unsigned char)table[i].b[x];
        cr_assert_eq(rm_edit_distance(a, strlen(table[i].a), b, strlen(table[i].b), &failed),
                     table[i].distance);
    }
}

/* ---- texts of a cell --------------------------------------------------------------------- */

/* One problem whose candidates have these texts and no answers. */
static double text_quantity(const char *const *texts, size_t n, bool exchangeable, size_t k,
                            rm_quantity quantity)
{
    rm_records r = { 0 };
    rm_sample samples[16] = { 0 };
    rm_estimate e;
    int cell = sim_cell(&r, "t", "x", "x", NAN, exchangeable);
    for (size_t i = 0; i < n; i++)
        samples[i].text = (char *)texts[i];
    rm_result x = { .cell = cell,
                    .problem = sim_problem(&r, "t", 0, NULL),
                    .chosen = -1,
                    .samples = samples,
                    .n_samples = n };
    rm_records_add_result(&r, &x, NULL, NULL);
    rm_analysis_options o = { .diversity_k = k };
    cr_assert_eq(rm_cell_quantity(&r, cell, quantity, &o, &e, NULL), RM_OK);
    rm_records_free(&r);
    return e.value;
}

static const char *const near_pair[] = { "a b c d", "a  b\nc e" };
static const char *const triple[] = { "a b", "a b", "c d" };
static const char *const letters[] = { "abc", "ab\xc3\xa4" }; /* no blanks: characters */
static const char *const same[] = { "one two three four five", "one two three four five" };
static const char *const apart[] = { "a b", "c d" };
static const char *const long_short[] = { "a b c d", "a b c d e f g h" };
static const char *const lengths_apart[] = { "a b c d e", "u v w x y z", "a" };
static const char *const with_gap[] = { "a b", NULL };
static const char *const empty[] = { "", "" };

static const struct {
    const char *const *texts;
    size_t n;
    bool exchangeable;
    size_t k;
    rm_quantity quantity;
    double value;
} texts[] = {
    { near_pair, 2, true, 2, RM_Q_DISTINCT_1, 5.0 / 8 },
    { near_pair, 2, true, 2, RM_Q_DISTINCT_2, 4.0 / 6 },
    { near_pair, 2, true, 2, RM_Q_EDIT_DISTANCE, 1.0 / 4 },
    /* precisions 3/4, (2+1)/(3+1), (1+1)/(2+1), (0+1)/(1+1), no brevity penalty: 0.1875^(1/4) */
    { near_pair, 2, true, 2, RM_Q_SELF_BLEU, 0.65803700647 },
    /* pairs of three texts hold 2, 4 and 4 distinct words of 4 */
    { triple, 3, true, 2, RM_Q_DISTINCT_1, 10.0 / 12 },
    { triple, 3, true, 2, RM_Q_EDIT_DISTANCE, 2.0 / 3 },
    { triple, 3, false, 2, RM_Q_DISTINCT_1, 2.0 / 4 }, /* ranked: the first two as they are */
    { triple, 3, false, 3, RM_Q_DISTINCT_1, 4.0 / 6 },
    { letters, 2, true, 2, RM_Q_DISTINCT_1, 4.0 / 6 },
    { letters, 2, true, 2, RM_Q_EDIT_DISTANCE, 1.0 / 3 },
    { same, 2, true, 2, RM_Q_SELF_BLEU, 1 },
    { same, 2, true, 2, RM_Q_EDIT_DISTANCE, 0 },
    { apart, 2, true, 2, RM_Q_SELF_BLEU, 0 },
    /* the short one: all match, brevity e^(1 - 8/4); the long one: (4/8 4/8 3/7 2/6)^(1/4) */
    { long_short, 2, true, 2, RM_Q_SELF_BLEU, 0.40130015656 },
    /* 5 words: (1/5 1/5 1/4 1/3)^(1/4), the closest length is 6: e^(1 - 6/5); 6 words: no match;
     * 1 word: all match, e^(1 - 5/1) */
    { lengths_apart, 3, true, 3, RM_Q_SELF_BLEU, 0.071680399583 },
    { apart, 2, true, 2, RM_Q_EDIT_DISTANCE, 1 },
    { with_gap, 2, true, 2, RM_Q_DISTINCT_1, NAN },
    { empty, 2, true, 2, RM_Q_DISTINCT_1, NAN },
    { empty, 2, true, 2, RM_Q_EDIT_DISTANCE, 0 },
    { triple, 3, true, 4, RM_Q_DISTINCT_1, NAN }, /* fewer candidates than k */
};

Test(diversity, texts_by_hand)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        double value = text_quantity(texts[i].texts, texts[i].n, texts[i].exchangeable, texts[i].k,
                                     texts[i].quantity);
        if (isnan(texts[i].value))
            cr_assert(isnan(value), "row %zu: %g", i, value);
        else
            cr_assert_float_eq(value, texts[i].value, 1e-10, "row %zu: %.12g", i, value);
    }
}

/* A missing answer is no answer, but it is an outcome. */
Test(diversity, missing_answers)
{
    rm_records r = { 0 };
    char four[] = "4";
    rm_sample samples[] = { { .answer = four }, { .answer = four }, { 0 }, { 0 } };
    rm_estimate e;
    int cell = sim_cell(&r, "t", "x", "x", NAN, false);
    rm_result x = { .cell = cell,
                    .problem = sim_problem(&r, "t", 0, NULL),
                    .chosen = -1,
                    .samples = samples,
                    .n_samples = 4 };
    rm_records_add_result(&r, &x, NULL, NULL);
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_DISTINCT_ANSWERS, NULL, &e, NULL), RM_OK);
    cr_assert_float_eq(e.value, 1, 1e-12);
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_ANSWER_ENTROPY, NULL, &e, NULL), RM_OK);
    cr_assert_float_eq(e.value, log(2), 1e-12);
    rm_records_free(&r);
}

/* A cell whose own texts have no space counts words too where another cell's do: one unit a
 * task. */
Test(diversity, one_unit_for_all_cells_of_a_task)
{
    for (int spaced = 0; spaced < 2; spaced++) {
        rm_records r = { 0 };
        rm_estimate e;
        int problem = sim_problem(&r, "t", 0, NULL), first = -1;
        for (int c = 0; c < 2; c++) {
            int cell = sim_cell(&r, "t", c ? "b" : "a", "x", NAN, true);
            rm_sample samples[2] = { { .text = (char *)"aab" }, { .text = (char *)"aac" } };
            if (c && spaced)
                samples[0].text = (char *)"a b";
            rm_result x = { .cell = cell,
                            .problem = problem,
                            .chosen = -1,
                            .samples = samples,
                            .n_samples = 2 };
            rm_records_add_result(&r, &x, NULL, NULL);
            first = c ? first : cell;
        }
        rm_analysis_options o = { .diversity_k = 2 };
        cr_assert_eq(rm_cell_quantity(&r, first, RM_Q_DISTINCT_1, &o, &e, NULL), RM_OK);
        cr_assert_float_eq(e.value, spaced ? 1 : 0.5, 1e-12); /* 2 of 2 words; a, b, c of 6 */
        rm_analysis *analysis;
        cr_assert_eq(rm_analyze(&r, &o, &analysis, NULL), RM_OK);
        cr_assert_str_eq(analysis->tasks[0].text_unit, spaced ? "words" : "characters");
        rm_analysis_free(analysis);
        rm_records_free(&r);
    }
}
