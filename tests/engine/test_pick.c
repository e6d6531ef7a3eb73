/* test_pick.c - from logits to tokens: every filter against a hand calculation, the draw against
 * its distribution, combinations against closed forms. */
#include "engine/num.h"
#include "engine/pick.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A distribution by hand: logits log(p) with p in units of 1/64. */
static float logit(int parts)
{
    return (float)log((double)parts / 64.0);
}

static void serve(rm_pick *pick, const float *const *rows)
{
    void *scratch = aligned_alloc(64, rm_pick_scratch_bytes(pick->n_vocab));
    rm_pick_serve(pick, rows, &rm_row_kernels_portable, scratch);
    free(scratch);
}

/* The tokens a sampling leaves, and their probabilities, found by drawing often. */
static void frequencies(const float *row, int n, rm_sampling sampling, const int32_t *history,
                        int n_history, int draws, int *count)
{
    memset(count, 0, (size_t)n * sizeof *count);
    for (int i = 0; i < draws; i++) {
        int32_t token;
        double lp, lp_sampling;
        rm_pick pick = { .want = RM_WANT_SPAN, .n_members = 1, .n_vocab = n, .sampling = &sampling,
                         .seed = 17, .stream = 99, .index = (uint32_t)i, .history = history,
                         .n_history = n_history, .out_tokens = &token, .out_lp = &lp,
                         .out_lp_sampling = &lp_sampling };
        serve(&pick, &row);
        cr_assert(token >= 0 && token < n);
        count[token]++;
    }
}

/* Eight tokens with p = 20 12 12 8 4 4 2 2 in 64ths; the ties are deliberate. Which tokens stay:
 *   top_k 2      the 2nd largest is 12: both tokens with 12 stay (Hugging Face removes logits
 *                strictly below the k-th largest)                                      -> 0 1 2
 *   top_k 4      cut at 8                                                              -> 0 1 2 3
 *   top_p 0.4999 needs 31.99: 20 + 12 reach it, the second 12 is not needed (0.5 itself would
 *                hang on the rounding of the logits)                                   -> 0 1
 *   top_p 0.51   needs 32.64: the second 12 as well                                    -> 0 1 2
 *   top_p 0.86   needs 55.04; 20+12+12+8 = 52, + 4 = 56                                -> 0 .. 4
 *   top_p 1e-9   at least one token                                                    -> 0
 *   min_p 0.1999 cut just below 4                                                      -> 0 .. 5
 *   min_p 0.21   cut at 4.2                                                            -> 0 1 2 3
 *   top_k 4 then top_p 0.6: W = 52, needs 31.2: 20 + 12                                -> 0 1
 *   typical_p    H = sum p log(1/p) = 20/64 log(64/20) + 24/64 log(64/12) + 8/64 log 8
 *                + 8/64 log 16 + 4/64 log 32 = .363477 + .627742 + .259930 + .346574 + .216608
 *                = 1.814331; |log(1/p) - H|: 20: |1.163151 - H| = .651180, 12: |1.673976 - H| =
 *                .140355, 8: |2.079442 - H| = .265111, 4: |2.772589 - H| = .958258,
 *                2: |3.465736 - H| = 1.651405
 *     0.3        needs 19.2: 12, 12 (24)                                               -> 1 2
 *     0.1        needs 6.4: one 12 reaches it, the tie stays                           -> 1 2
 *     0.4        needs 25.6: 12, 12, 8 (32)                                            -> 1 2 3
 *     0.6        needs 38.4: then 20 (52)                                              -> 0 1 2 3
 *     0.85       needs 54.4: then 4, and the tie stays                                 -> 0 .. 5 */
Test(pick, filters_leave_what_they_should)
{
    static const int parts[8] = { 20, 12, 12, 8, 4, 4, 2, 2 };
    static const struct {
        rm_sampling sampling;
        unsigned left; /* bit v: token v stays */
    } table[] = {
        { { true, 1.0, 0, 1.0, 0.0, 1.0, 1.0 }, 0xFF },
        { { true, 1.0, 2, 1.0, 0.0, 1.0, 1.0 }, 0x07 },
        { { true, 1.0, 4, 1.0, 0.0, 1.0, 1.0 }, 0x0F },
        { { true, 1.0, 1, 1.0, 0.0, 1.0, 1.0 }, 0x01 },
        { { true, 1.0, 99, 1.0, 0.0, 1.0, 1.0 }, 0xFF },
        { { true, 1.0, 0, 0.4999, 0.0, 1.0, 1.0 }, 0x03 },
        { { true, 1.0, 0, 0.51, 0.0, 1.0, 1.0 }, 0x07 },
        { { true, 1.0, 0, 0.86, 0.0, 1.0, 1.0 }, 0x1F },
        { { true, 1.0, 0, 1e-9, 0.0, 1.0, 1.0 }, 0x01 },
        { { true, 1.0, 0, 1.0, 0.1999, 1.0, 1.0 }, 0x3F },
        { { true, 1.0, 0, 1.0, 0.21, 1.0, 1.0 }, 0x0F },
        { { true, 1.0, 0, 1.0, 1.0, 1.0, 1.0 }, 0x01 },
        { { true, 1.0, 4, 0.6, 0.0, 1.0, 1.0 }, 0x03 },
        { { true, 1.0, 0, 1.0, 0.0, 0.3, 1.0 }, 0x06 },
        { { true, 1.0, 0, 1.0, 0.0, 0.1, 1.0 }, 0x06 },
        { { true, 1.0, 0, 1.0, 0.0, 0.4, 1.0 }, 0x0E },
        { { true, 1.0, 0, 1.0, 0.0, 0.6, 1.0 }, 0x0F },
        { { true, 1.0, 0, 1.0, 0.0, 0.85, 1.0 }, 0x3F },
    };
    float row[8];
    for (int v = 0; v < 8; v++)
        row[v] = logit(parts[v]);
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        enum { DRAWS = 4000 };
        int count[8], total = 0;
        double chi_square = 0.0;
        int kinds = 0;
        frequencies(row, 8, table[t].sampling, NULL, 0, DRAWS, count);
        for (int v = 0; v < 8; v++)
            total += table[t].left >> v & 1 ? parts[v] : 0;
        for (int v = 0; v < 8; v++) {
            if (!(table[t].left >> v & 1)) {
                cr_expect_eq(count[v], 0, "case %zu: token %d was filtered out", t, v);
                continue;
            }
            double expected = (double)DRAWS * parts[v] / total;
            chi_square += ((double)count[v] - expected) * ((double)count[v] - expected) / expected;
            kinds++;
        }
        /* Mean k - 1, variance 2 (k - 1): five sigma. */
        double freedom = kinds - 1;
        cr_expect_leq(chi_square, freedom + 5.0 * sqrt(2.0 * freedom) + 1e-9, "case %zu: %g", t,
                      chi_square);
    }
}

/* Two equal weights of 2^40: half of their sum is reached by one of them exactly, the least bit more
 * only by both. */
Test(pick, top_p_is_reached_to_the_last_unit)
{
    static const struct {
        double top_p;
        bool both;
    } table[] = { { 0.5, false }, { 0.5 + 0x1p-42, true }, { 0.5 - 0x1p-42, false } };
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        const float row[2] = { 1, 1 };
        int count[2];
        rm_sampling sampling = { true, 1.0, 0, table[t].top_p, 0.0, 1.0, 1.0 };
        frequencies(row, 2, sampling, NULL, 0, 64, count);
        cr_expect_eq(count[1] > 0, table[t].both, "case %zu: %d draws of the second", t, count[1]);
    }
}

/* The largest of the weights is 2^40 and rounding to whole weights is all that separates the
 * sampling log-probability from the exact one. */
Test(pick, log_probabilities_of_a_draw)
{
    const float row[4] = { 1.0f, 3.0f, 2.0f, -1.0f };
    double z = exp(1.0) + exp(3.0) + exp(2.0) + exp(-1.0);
    double hot = exp(0.5) + exp(1.5) + exp(1.0) + exp(-0.5);
    rm_sampling sampling = { true, 2.0, 0, 1.0, 0.0, 1.0, 1.0 };
    for (uint32_t i = 0; i < 50; i++) {
        int32_t token;
        double lp, lp_sampling;
        const float *rows = row;
        rm_pick pick = { .want = RM_WANT_SPAN, .n_members = 1, .n_vocab = 4, .sampling = &sampling,
                         .index = i, .out_tokens = &token, .out_lp = &lp,
                         .out_lp_sampling = &lp_sampling };
        serve(&pick, &rows);
        cr_expect_float_eq(lp, (double)row[token] - log(z), 1e-14);
        cr_expect_float_eq(lp_sampling, (double)row[token] / 2.0 - log(hot), 1e-11);
    }
}

/* Inverse CDF in id order, by hand: weights 2^40 each for three equal logits, W = 3 2^40, and
 * r = floor(u W / 2^64). */
Test(pick, draw_is_the_inverse_cdf)
{
    const float row[3] = { 0.5f, 0.5f, 0.5f };
    rm_sampling sampling = RM_SAMPLING_DEFAULT;
    for (uint32_t i = 0; i < 200; i++) {
        int32_t token;
        double lp, lp_sampling;
        const float *rows = row;
        rm_pick pick = { .want = RM_WANT_SPAN, .n_members = 1, .n_vocab = 3, .sampling = &sampling,
                         .seed = 5, .stream = 6, .index = i, .out_tokens = &token, .out_lp = &lp,
                         .out_lp_sampling = &lp_sampling };
        serve(&pick, &rows);
        uint64_t r = rm_scale(rm_random(5, 6, i, 0), UINT64_C(3) << 40);
        cr_expect_eq(token, (int32_t)(r >> 40));
    }
}

Test(pick, greedy_ties_go_to_the_smaller_id)
{
    const float row[5] = { 1.0f, 2.0f, -3.0f, 2.0f, 0.0f };
    const float *rows = row;
    rm_sampling sampling = { false, 1.0, 0, 1.0, 0.0, 1.0, 1.0 };
    int32_t token;
    double lp, lp_sampling = 1.0;
    rm_pick pick = { .want = RM_WANT_SPAN, .n_members = 1, .n_vocab = 5, .sampling = &sampling,
                     .out_tokens = &token, .out_lp = &lp, .out_lp_sampling = &lp_sampling };
    serve(&pick, &rows);
    cr_expect_eq(token, 1);
    cr_expect_eq(lp_sampling, 0.0);
}

/* Penalty 2 on raw logits 3, 2, -1, -2 with history 0, 0, 3: 3/2 = 1.5 (once, though seen
 * twice), 2, -1, -2*2 = -4. Greedy takes token 1; its lp is that of the raw row. */
Test(pick, repetition_penalty)
{
    const float row[4] = { 3.0f, 2.0f, -1.0f, -2.0f };
    const float *rows = row;
    const int32_t history[] = { 0, 0, 3 };
    rm_sampling sampling = { false, 1.0, 0, 1.0, 0.0, 1.0, 2.0 };
    double lse = log(exp(3.0) + exp(2.0) + exp(-1.0) + exp(-2.0));
    int32_t tokens[4];
    double lp[4], lp_sampling;
    rm_pick pick = { .want = RM_WANT_SPAN, .n_members = 1, .n_vocab = 4, .sampling = &sampling,
                     .history = history, .n_history = 3, .out_tokens = tokens, .out_lp = lp,
                     .out_lp_sampling = &lp_sampling };
    serve(&pick, &rows);
    cr_expect_eq(tokens[0], 1);
    cr_expect_float_eq(lp[0], 2.0 - lse, 1e-14);

    /* Sampled, at temperature 1: probabilities follow 1.5, 2, -1, -4. */
    int count[4];
    sampling.do_sample = true;
    frequencies(row, 4, sampling, history, 3, 4000, count);
    double z = exp(1.5) + exp(2.0) + exp(-1.0) + exp(-4.0);
    const double p[4] = { exp(1.5) / z, exp(2.0) / z, exp(-1.0) / z, exp(-4.0) / z };
    for (int v = 0; v < 4; v++)
        cr_expect_float_eq(count[v], 4000.0 * p[v], 5.0 * sqrt(4000.0 * p[v] * (1.0 - p[v])));

    /* Top: the penalty multiplies the log-softmax (all negative), without renormalising. */
    pick.want = RM_WANT_TOP;
    pick.k = 4;
    serve(&pick, &rows);
    const double penalised[4] = { 2.0 * (3.0 - lse), 2.0 - lse, -1.0 - lse, 2.0 * (-2.0 - lse) };
    for (int i = 0; i < 4; i++) {
        cr_expect_float_eq(lp[i], penalised[tokens[i]], 1e-13);
        cr_expect(i == 0 || lp[i] <= lp[i - 1]);
    }
}

Test(pick, top_is_ordered_with_ties_by_id)
{
    enum { V = 300 };
    float row[V];
    const float *rows = row;
    for (int v = 0; v < V; v++)
        row[v] = (float)(rm_mix(3, (uint64_t)v) % 40) * 0.25f;
    for (int k = 1; k <= V; k += 23) {
        int32_t tokens[V];
        double lp[V];
        rm_pick pick = { .want = RM_WANT_TOP, .n_members = 1, .n_vocab = V, .k = k,
                         .out_tokens = tokens, .out_lp = lp };
        serve(&pick, &rows);
        bool taken[V] = { false };
        for (int i = 0; i < k; i++) { /* by repeated search */
            int best = -1;
            for (int v = 0; v < V; v++)
                if (!taken[v] && (best < 0 || row[v] > row[best]))
                    best = v;
            taken[best] = true;
            cr_assert_eq(tokens[i], best, "k %d, place %d", k, i);
        }
    }
}

/* top_p cuts one power of two of the weights exactly where a full sort would. */
Test(pick, top_p_equals_a_full_sort)
{
    enum { V = 200 };
    for (int c = 0; c < 40; c++) {
        float row[V];
        for (int v = 0; v < V; v++)
            row[v] = (float)(rm_mix((uint64_t)c, (uint64_t)v) % 64) * 0.15f;
        double top_p = 0.02 + 0.024 * c, z = 0.0, sum = 0.0;
        int order[V], n = 0;
        for (int v = 0; v < V; v++)
            z += exp((double)row[v]);
        for (int v = 0; v < V; v++) { /* insertion sort: descending, ties by id */
            int at = n++;
            for (; at > 0 && row[order[at - 1]] < row[v]; at--)
                order[at] = order[at - 1];
            order[at] = v;
        }
        int keep = 0;
        while (keep < V && sum < top_p * z)
            sum += exp((double)row[order[keep++]]);
        rm_sampling sampling = { true, 1.0, 0, top_p, 0.0, 1.0, 1.0 };
        bool allowed[V] = { false };
        for (int i = 0; i < keep; i++)
            allowed[order[i]] = true;
        int count[V];
        frequencies(row, V, sampling, NULL, 0, 60, count);
        for (int v = 0; v < V; v++)
            cr_expect(!count[v] || allowed[v], "top_p %g: token %d", top_p, v);
        /* The sampling probability of what is drawn shows the whole set's mass. */
        int32_t token;
        double lp, lp_sampling;
        const float *rows = row;
        rm_pick pick = { .want = RM_WANT_SPAN, .n_members = 1, .n_vocab = V, .sampling = &sampling,
                         .out_tokens = &token, .out_lp = &lp, .out_lp_sampling = &lp_sampling };
        serve(&pick, &rows);
        cr_expect_float_eq(lp - lp_sampling, log(sum / z), 1e-9);
    }
}

/* p1 = (4, 2, 2)/8, p2 = (1, 1, 6)/8. Mixture with weights 3 and 1: (13, 7, 12)/32. Product with
 * weights 2 and 1: 16, 4, 24 over 44; with weight 1/2 each: 2, sqrt 2, sqrt 12. */
Test(pick, mixture_and_product)
{
    static const float a[3] = { 1.3862943611f, 0.69314718056f, 0.69314718056f };
    static const float b[3] = { 5.0f, 5.0f, 6.7917594692f };
    const float *rows[2] = { a, b };
    static const struct {
        rm_combine combine;
        double w[2], p[3];
    } table[] = {
        { RM_COMBINE_MIXTURE, { 3, 1 }, { 13.0 / 32, 7.0 / 32, 12.0 / 32 } },
        { RM_COMBINE_MIXTURE, { 0.1, 0.1 }, { 5.0 / 16, 3.0 / 16, 8.0 / 16 } },
        { RM_COMBINE_PRODUCT, { 2, 1 }, { 16.0 / 44, 4.0 / 44, 24.0 / 44 } },
        { RM_COMBINE_PRODUCT, { 0.5, 0.5 },
          { 0.290768880, 0.205604647, 0.503626473 } }, /* over 2 + 1.414214 + 3.464102 = 6.878315 */
    };
    for (size_t t = 0; t < 4; t++) {
        double lp[3];
        rm_pick pick = { .want = RM_WANT_ALL, .n_members = 2, .combine = table[t].combine,
                         .n_vocab = 3, .out_lp = lp };
        pick.member[0].weight = table[t].w[0];
        pick.member[1].weight = table[t].w[1];
        serve(&pick, rows);
        double tolerance = 1e-6; /* the logits are rounded to float */
        for (int v = 0; v < 3; v++)
            cr_expect_float_eq(exp(lp[v]), table[t].p[v], tolerance, "case %zu: %.9f", t,
                               exp(lp[v]));
        /* Drawing at temperature 1/2 squares the combined probabilities. */
        rm_sampling sampling = { true, 0.5, 0, 1.0, 0.0, 1.0, 1.0 };
        int32_t token;
        double one, lp_sampling;
        pick.want = RM_WANT_SPAN;
        pick.sampling = &sampling;
        pick.out_tokens = &token;
        pick.out_lp = &one;
        pick.out_lp_sampling = &lp_sampling;
        serve(&pick, rows);
        double z = exp(2 * lp[0]) + exp(2 * lp[1]) + exp(2 * lp[2]);
        cr_expect_float_eq(one, lp[token], 1e-15);
        cr_expect_float_eq(lp_sampling, 2 * lp[token] - log(z), 1e-10);
    }
}

/* A broken model's rows are served without harm. */
Test(pick, rows_that_are_no_numbers)
{
    static const float rows_of[][4] = {
        { NAN, NAN, NAN, NAN }, { NAN, 1.0f, 2.0f, NAN }, { -INFINITY, 0.0f, -INFINITY, 0.0f },
        { INFINITY, 0.0f, 1.0f, 2.0f }, { -INFINITY, -INFINITY, -INFINITY, -INFINITY },
    };
    rm_sampling sampling = { true, 0.01, 3, 0.9, 0.1, 0.9, 1.1 };
    for (size_t i = 0; i < sizeof rows_of / sizeof *rows_of; i++) {
        int32_t token = -5, top[4];
        double lp[4], lp_sampling;
        const float *rows = rows_of[i];
        const int32_t history[] = { 1 };
        rm_pick pick = { .want = RM_WANT_SPAN, .n_members = 1, .n_vocab = 4, .sampling = &sampling,
                         .history = history, .n_history = 1, .out_tokens = &token, .out_lp = lp,
                         .out_lp_sampling = &lp_sampling };
        serve(&pick, &rows);
        cr_expect(token >= 0 && token < 4);
        pick.want = RM_WANT_TOP;
        pick.k = 4;
        pick.out_tokens = top;
        serve(&pick, &rows);
        cr_expect(top[0] + top[1] + top[2] + top[3] == 6);
    }
}
