/* test_beam_step.c - the rule of beam search on hand-made tables of probabilities.
 *
 * Two oracles: searches worked out by hand below, one for every value of early_stopping, and
 * beam_reference.py beside this file, which computes what Hugging Face transformers computes and
 * printed the table of toy-model cases. */
#include "strategies/beam_step.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { MAX_BEAMS = 8, MAX_VOCAB = 8, MAX_LENGTH = 8 };

/* log p(v | step, last token); last = -1 at the start. */
typedef void (*toy_model)(int seed, int step, int last, double *lp, int32_t *order, int *n);

typedef struct result {
    int n;
    struct {
        char text[MAX_LENGTH + 1]; /* one digit a token */
        double score;
    } item[2 * MAX_BEAMS];
    int steps;
} result;

static void sort_list(double *lp, int32_t *order, int n)
{
    for (int i = 0; i < n; i++)
        for (int j = i; j > 0 && lp[order[j - 1]] < lp[order[j]]; j--) {
            int32_t swap = order[j];
            order[j] = order[j - 1];
            order[j - 1] = swap;
        }
}

/* A whole search over a toy model whose token 0 ends a text. */
static result search(toy_model model, int seed, const beam_rules *rules, int n_groups,
                     double diversity, double repetition)
{
    static beam_live live[MAX_BEAMS][MAX_BEAMS];
    static beam_next next[MAX_BEAMS][2 * MAX_BEAMS];
    static beam_done done[MAX_BEAMS][MAX_BEAMS];
    static int survivor[MAX_BEAMS][MAX_BEAMS];
    static char text[MAX_BEAMS][MAX_BEAMS][MAX_LENGTH + 1],
        kept[MAX_BEAMS][MAX_BEAMS][MAX_LENGTH + 1];
    beam_group group[MAX_BEAMS];
    memset(text, 0, sizeof text);
    memset(live, 0, sizeof live);
    for (int g = 0; g < n_groups; g++)
        group[g] = (beam_group){ .live = live[g], .n_live = 1, .next = next[g], .done = done[g],
                                 .survivor = survivor[g] };
    result out = { 0 };
    for (int running = n_groups, length = 1; running; length++) {
        int32_t chosen[MAX_BEAMS];
        int n_chosen = 0;
        running = 0;
        out.steps = length;
        for (int g = 0; g < n_groups; g++) {
            if (group[g].stopped)
                continue;
            double raw[MAX_BEAMS][MAX_VOCAB], sorted[MAX_BEAMS][MAX_VOCAB];
            int32_t order[MAX_BEAMS][MAX_VOCAB];
            int32_t path[MAX_BEAMS][MAX_LENGTH];
            beam_list list[MAX_BEAMS];
            for (int b = 0; b < group[g].n_live; b++) {
                const char *so_far = text[g][b];
                int last = length > 1 ? so_far[length - 2] - '0' : -1;
                list[b] = (beam_list){ .path = path[b], .n_path = length - 1,
                                       .repetition = repetition };
                model(seed, length - 1, last, raw[b], order[b], &list[b].n);
                for (int i = 0; i < length - 1; i++)
                    path[b][i] = so_far[i] - '0';
                for (int v = 0; v < list[b].n; v++)
                    if (strchr(so_far, '0' + v))
                        raw[b][v] *= repetition;
                sort_list(raw[b], order[b], list[b].n);
                for (int i = 0; i < list[b].n; i++)
                    sorted[b][i] = raw[b][order[b][i]];
                list[b].tokens = order[b];
                list[b].lp = sorted[b];
            }
            beam_select(&group[g], rules, list, chosen, n_chosen, diversity);
            for (int i = 0; i < group[g].n_next; i++)
                group[g].next[i].ends =
                    group[g].next[i].token == 0 || length == rules->max_new_tokens;
            beam_settle(&group[g], rules, length);
            for (int i = 0; i < group[g].n_done; i++)
                if (done[g][i].next >= 0) {
                    const beam_next *from = &next[g][done[g][i].next];
                    char *to = kept[g][done[g][i].slot];
                    memcpy(to, text[g][from->beam], MAX_LENGTH + 1);
                    to[length - 1] = (char)('0' + from->token);
                    to[length] = '\0';
                }
            char before[MAX_BEAMS][MAX_LENGTH + 1];
            memcpy(before, text[g], sizeof before);
            group[g].n_live = group[g].n_survivors;
            for (int i = 0; i < group[g].n_survivors; i++) {
                const beam_next *from = &next[g][survivor[g][i]];
                memcpy(text[g][i], before[from->beam], MAX_LENGTH + 1);
                text[g][i][length - 1] = (char)('0' + from->token);
                live[g][i] = (beam_live){ .score = from->score };
                chosen[n_chosen++] = from->token;
            }
            running += !group[g].stopped;
        }
    }
    for (int g = 0; g < n_groups; g++)
        for (int i = 0; i < group[g].n_done; i++) {
            int at = out.n++;
            for (; at > 0 && out.item[at - 1].score < done[g][i].score; at--)
                out.item[at] = out.item[at - 1];
            out.item[at].score = done[g][i].score;
            strcpy(out.item[at].text, kept[g][done[g][i].slot]);
        }
    return out;
}

/* ---- by hand --------------------------------------------------------------------------------
 *
 * Vocabulary: 0 end, 1 a, 2 b. p by step and last token:
 *
 *     one beam, length_penalty 1, at most 4 tokens      two beams, the same
 *     step 1          0 .5  a .4  b .1                  0 .3  a .5  b .2
 *     step 2 from a   0 .05 a .9  b .05                 0 .15 a .8  b .05
 *            from b                                     0 .9  a .05 b .05
 *     step 3 from a   0 .9  a .05 b .05                 0 .9  a .05 b .05
 *            from b                                     0 .1  a .8  b .1
 *
 * One beam. Step 1: 0 leads and enters done with ln .5 / 1 = -0.693; a lives, ln .4 = -0.916.
 *   true   done is full: stop. Result 0.
 *   false  best_possible = -0.916 / 1 <= -0.693: stop. Result 0.
 *   never  best_possible = -0.916 / 4 = -0.229 > -0.693: on. Step 2: aa lives, ln .36 = -1.022,
 *          / 4 = -0.255: on. Step 3: aa0 leads, ln .324 / 3 = -0.376, and takes the place of 0;
 *          aaa lives, ln .018 / 4 = -1.004 <= -0.376: stop. Result aa0.
 *
 * Two beams. Step 1: a, 0, b by rank; 0 is second and enters, ln .3 = -1.204; a, b live.
 *   Step 2: aa ln .4, b0 ln .18, a0 ln .075, ab ln .025, .. ; b0 is second and enters with
 *   ln .18 / 2 = -0.857; a0 is third and does not. aa and ab live.
 *   true   done is full: stop. Result b0, 0.
 *   false  best_possible = ln .4 / 2 = -0.458 > -1.204: on. Step 3: aa0 ln .36 leads and enters
 *          with / 3 = -0.341 in place of 0; aaa (aab) ln .02, aba ln .02: aaa / 3 = -1.304 <=
 *          -0.857: stop. Result aa0, b0.
 *   never  the same at step 2; at step 3 ln .02 / 4 = -0.978 <= -0.857: stop. Result aa0, b0. */
static void by_hand(int beams, int step, int last, double *lp, int32_t *order, int *n)
{
    static const double one[4][3] = { { .5, .4, .1 }, { .05, .9, .05 }, { .9, .05, .05 },
                                      { .9, .05, .05 } };
    static const double two_a[4][3] = { { .3, .5, .2 }, { .15, .8, .05 }, { .9, .05, .05 },
                                        { .9, .05, .05 } };
    static const double two_b[4][3] = { { .3, .5, .2 }, { .9, .05, .05 }, { .1, .8, .1 },
                                        { .1, .8, .1 } };
    const double *p = beams == 1 ? one[step] : last == 2 ? two_b[step] : two_a[step];
    *n = 3;
    for (int v = 0; v < 3; v++) {
        lp[v] = log(p[v]);
        order[v] = v;
    }
}

static const struct {
    int beams;
    beam_early early;
    int steps, n;
    struct {
        const char *text;
        double p;       /* score = log(p) / length */
    } item[2];
} hand_cases[] = {
    { 1, BEAM_EARLY_TRUE, 1, 1, { { "0", .5 } } },
    { 1, BEAM_EARLY_FALSE, 1, 1, { { "0", .5 } } },
    { 1, BEAM_EARLY_NEVER, 3, 1, { { "110", .324 } } },
    { 2, BEAM_EARLY_TRUE, 2, 2, { { "20", .18 }, { "0", .3 } } },
    { 2, BEAM_EARLY_FALSE, 3, 2, { { "110", .36 }, { "20", .18 } } },
    { 2, BEAM_EARLY_NEVER, 3, 2, { { "110", .36 }, { "20", .18 } } },
};

Test(beam_step, early_stopping_by_hand)
{
    for (size_t i = 0; i < sizeof hand_cases / sizeof *hand_cases; i++) {
        int beams = hand_cases[i].beams;
        beam_rules rules = { .width = beams, .keep = 2 * beams, .length_penalty = 1,
                             .early = hand_cases[i].early, .n_prompt = 5, .max_new_tokens = 4 };
        result r = search(by_hand, beams, &rules, 1, 0, 1);
        cr_expect_eq(r.steps, hand_cases[i].steps, "case %zu took %d steps", i, r.steps);
        cr_assert_eq(r.n, hand_cases[i].n);
        for (int k = 0; k < r.n; k++) {
            const char *text = hand_cases[i].item[k].text;
            double score = log(hand_cases[i].item[k].p) / (double)strlen(text);
            cr_expect_str_eq(r.item[k].text, text);
            cr_expect(fabs(r.item[k].score - score) < 1e-12, "case %zu: %g", i, r.item[k].score);
        }
    }
}

/* ---- against the reference ------------------------------------------------------------------- */

/* log_probs() of beam_reference.py */
static void toy(int seed, int step, int last, double *lp, int32_t *order, int *n)
{
    enum { V = 6 };
    double top = -1, total = 0;
    if (last < 0)
        last = V;
    for (int v = 0; v < V; v++) {
        lp[v] = ((7 * seed + 5 * step * step + 3 * last * v + 11 * v + step * v) % 23) / 6.0;
        top = lp[v] > top ? lp[v] : top;
        order[v] = v;
    }
    for (int v = 0; v < V; v++)
        total += exp(lp[v] - top);
    for (int v = 0; v < V; v++)
        lp[v] = lp[v] - top - log(total);
    *n = V;
}

static const struct {
    int seed, beams, groups;
    double diversity, repetition, alpha;
    beam_norm norm;
    beam_early early;
    int n;
    struct {
        const char *text;
        double score;
    } item[4];
} reference[] = {
    /* seed, beams, groups, diversity_penalty, repetition_penalty, length_penalty, length_norm,
     * early_stopping */
    { 1, 1, 1, 0, 1, 1, BEAM_NORM_GENERATED, BEAM_EARLY_FALSE, 1,
      { { "23520", -0.707822698739822 } } },
    { 1, 1, 1, 0, 1, -0.5, BEAM_NORM_GENERATED, BEAM_EARLY_TRUE, 1,
      { { "23520", -7.91369835199798 } } },
    { 1, 1, 1, 0, 1, 1, BEAM_NORM_GENERATED, BEAM_EARLY_NEVER, 1,
      { { "23520", -0.707822698739822 } } },
    { 2, 2, 1, 0, 1, 0, BEAM_NORM_TOTAL, BEAM_EARLY_FALSE, 2,
      { { "50", -1.78666111824728 }, { "10", -2.06471701353893 } } },
    { 2, 2, 1, 0, 1, 1, BEAM_NORM_TOTAL, BEAM_EARLY_TRUE, 2,
      { { "50", -0.357332223649455 }, { "10", -0.412943402707787 } } },
    { 2, 2, 1, 0, 1, 0, BEAM_NORM_TOTAL, BEAM_EARLY_NEVER, 2,
      { { "50", -1.78666111824728 }, { "10", -2.06471701353893 } } },
    { 3, 3, 1, 0, 1, 0.7, BEAM_NORM_GNMT, BEAM_EARLY_FALSE, 3,
      { { "0", -1.06613671646152 }, { "450", -2.90029887990781 }, { "4420", -3.17889357673512 } } },
    { 3, 3, 1, 0, 1, 0, BEAM_NORM_GNMT, BEAM_EARLY_TRUE, 3,
      { { "0", -1.06613671646152 }, { "450", -3.54731594054968 }, { "4420", -4.22221039026749 } } },
    { 3, 3, 1, 0, 1, 0.7, BEAM_NORM_GNMT, BEAM_EARLY_NEVER, 3,
      { { "0", -1.06613671646152 }, { "450", -2.90029887990781 }, { "4420", -3.17889357673512 } } },
    { 4, 4, 2, 0.5, 1, 2, BEAM_NORM_NONE, BEAM_EARLY_FALSE, 4,
      { { "234541", -5.07950459060115 }, { "234414", -5.50396745774602 },
        { "12110", -5.72195964933683 }, { "121141", -6.62580198794959 } } },
    { 4, 4, 2, 0.5, 1, 0.7, BEAM_NORM_NONE, BEAM_EARLY_TRUE, 4,
      { { "234541", -5.07950459060115 }, { "234414", -5.50396745774602 },
        { "12110", -5.72195964933683 }, { "121141", -6.62580198794959 } } },
    { 4, 4, 2, 0.5, 1, 2, BEAM_NORM_NONE, BEAM_EARLY_NEVER, 4,
      { { "234541", -5.07950459060115 }, { "234414", -5.50396745774602 },
        { "12110", -5.72195964933683 }, { "121141", -6.62580198794959 } } },
    { 5, 4, 1, 0, 1, -0.5, BEAM_NORM_GENERATED, BEAM_EARLY_FALSE, 4,
      { { "0", -2.16394245895201 }, { "10", -2.91995080300923 }, { "50", -3.40842815557697 },
        { "130", -6.31617302766876 } } },
    { 5, 4, 1, 0, 1, 2, BEAM_NORM_GENERATED, BEAM_EARLY_TRUE, 4,
      { { "130", -0.405182688641424 }, { "10", -0.516179253384733 }, { "50", -0.602530665498908 },
        { "0", -2.16394245895201 } } },
    { 5, 4, 1, 0, 1, -0.5, BEAM_NORM_GENERATED, BEAM_EARLY_NEVER, 4,
      { { "0", -2.16394245895201 }, { "10", -2.91995080300923 }, { "50", -3.40842815557697 },
        { "130", -6.31617302766876 } } },
    { 6, 1, 1, 0, 1, 1, BEAM_NORM_TOTAL, BEAM_EARLY_FALSE, 1,
      { { "4510", -0.602264099751453 } } },
    { 6, 1, 1, 0, 1, -0.5, BEAM_NORM_TOTAL, BEAM_EARLY_TRUE, 1,
      { { "4510", -11.1540872206718 } } },
    { 6, 1, 1, 0, 1, 1, BEAM_NORM_TOTAL, BEAM_EARLY_NEVER, 1,
      { { "4510", -0.602264099751453 } } },
    { 7, 2, 1, 0, 1, 0, BEAM_NORM_GNMT, BEAM_EARLY_FALSE, 2,
      { { "354514", -3.92914276843536 }, { "354541", -4.42013823733783 } } },
    { 7, 2, 1, 0, 1, 1, BEAM_NORM_GNMT, BEAM_EARLY_TRUE, 2,
      { { "354514", -2.14316878278292 }, { "354541", -2.41098449309336 } } },
    { 7, 2, 1, 0, 1, 0, BEAM_NORM_GNMT, BEAM_EARLY_NEVER, 2,
      { { "354514", -3.92914276843536 }, { "354541", -4.42013823733783 } } },
    { 8, 3, 1, 0, 1, 0.7, BEAM_NORM_NONE, BEAM_EARLY_FALSE, 3,
      { { "20", -2.17233311899135 }, { "24520", -4.67130419334153 },
        { "24440", -4.77256968362066 } } },
    { 8, 3, 1, 0, 1, 0, BEAM_NORM_NONE, BEAM_EARLY_TRUE, 3,
      { { "20", -2.17233311899135 }, { "24520", -4.67130419334153 },
        { "24440", -4.77256968362066 } } },
    { 8, 3, 1, 0, 1, 0.7, BEAM_NORM_NONE, BEAM_EARLY_NEVER, 3,
      { { "20", -2.17233311899135 }, { "24520", -4.67130419334153 },
        { "24440", -4.77256968362066 } } },
    { 9, 4, 1, 0, 1, 2, BEAM_NORM_GENERATED, BEAM_EARLY_FALSE, 4,
      { { "324125", -0.1804063589729 }, { "325125", -0.183464397994977 },
        { "324243", -0.19496476068162 }, { "324235", -0.199298631090236 } } },
    { 9, 4, 1, 0, 1, 0.7, BEAM_NORM_GENERATED, BEAM_EARLY_TRUE, 4,
      { { "40", -0.657327164572757 }, { "0", -1.06613671646152 }, { "30", -1.85577180831023 },
        { "310", -2.11530060429978 } } },
    { 9, 4, 1, 0, 1, 2, BEAM_NORM_GENERATED, BEAM_EARLY_NEVER, 4,
      { { "324125", -0.1804063589729 }, { "325125", -0.183464397994977 },
        { "324243", -0.19496476068162 }, { "324235", -0.199298631090236 } } },
    { 10, 4, 2, 0.5, 1, -0.5, BEAM_NORM_TOTAL, BEAM_EARLY_FALSE, 4,
      { { "340", -3.70574953939144 }, { "350", -5.60356439972162 }, { "340", -6.15523928217461 },
        { "350", -8.0530541425048 } } },
    { 10, 4, 2, 0.5, 1, 2, BEAM_NORM_TOTAL, BEAM_EARLY_TRUE, 4,
      { { "340", -0.0420240531762167 }, { "350", -0.0635457107414032 },
        { "340", -0.0698018309539945 }, { "350", -0.091323488519181 } } },
    { 10, 4, 2, 0.5, 1, -0.5, BEAM_NORM_TOTAL, BEAM_EARLY_NEVER, 4,
      { { "340", -3.70574953939144 }, { "350", -5.60356439972162 }, { "340", -6.15523928217461 },
        { "350", -8.0530541425048 } } },
    { 11, 1, 1, 0, 1, 1, BEAM_NORM_GNMT, BEAM_EARLY_FALSE, 1,
      { { "230", -2.17671150335119 } } },
    { 11, 1, 1, 0, 1, -0.5, BEAM_NORM_GNMT, BEAM_EARLY_TRUE, 1,
      { { "230", -3.35126659308791 } } },
    { 11, 1, 1, 0, 1, 1, BEAM_NORM_GNMT, BEAM_EARLY_NEVER, 1,
      { { "230", -2.17671150335119 } } },
    { 12, 2, 1, 0, 1, 0, BEAM_NORM_NONE, BEAM_EARLY_FALSE, 2,
      { { "50", -1.78666111824728 }, { "10", -2.06471701353893 } } },
    { 12, 2, 1, 0, 1, 1, BEAM_NORM_NONE, BEAM_EARLY_TRUE, 2,
      { { "50", -1.78666111824728 }, { "10", -2.06471701353893 } } },
    { 12, 2, 1, 0, 1, 0, BEAM_NORM_NONE, BEAM_EARLY_NEVER, 2,
      { { "50", -1.78666111824728 }, { "10", -2.06471701353893 } } },
    { 13, 4, 2, 0.7, 1.6, 1, BEAM_NORM_GENERATED, BEAM_EARLY_TRUE, 4,
      { { "0", -0.558666429241894 }, { "0", -0.558666429241894 }, { "340", -1.19173317949936 },
        { "350", -1.61679400334793 } } },
    { 14, 4, 4, 0.7, 1.6, 1, BEAM_NORM_GENERATED, BEAM_EARLY_NEVER, 4,
      { { "234541", -0.836360245578218 }, { "52110", -1.17462674862481 },
        { "23520", -1.21632798559257 }, { "1530", -1.3244741423767 } } },
    { 15, 4, 2, 0.7, 1.6, 1, BEAM_NORM_GENERATED, BEAM_EARLY_FALSE, 4,
      { { "512534", -0.939669541406621 }, { "512535", -0.995638000549645 },
        { "10", -1.38235850676947 }, { "50", -1.55506133099782 } } },
    { 16, 4, 4, 0.7, 0.8, 1, BEAM_NORM_GENERATED, BEAM_EARLY_TRUE, 4,
      { { "4420", -0.976456238355179 }, { "0", -1.06613671646152 }, { "0", -1.06613671646152 },
        { "0", -1.06613671646152 } } },
    { 17, 4, 2, 0.7, 1.6, 1, BEAM_NORM_GENERATED, BEAM_EARLY_NEVER, 4,
      { { "354514", -0.817643443239371 }, { "354414", -0.93150157945538 },
        { "35420", -1.40703426532599 }, { "354541", -1.48116113966018 } } },
    { 18, 4, 4, 0.7, 1.6, 1, BEAM_NORM_GENERATED, BEAM_EARLY_FALSE, 4,
      { { "51240", -0.867001010163902 }, { "15240", -1.07541236067898 },
        { "50", -1.55506133099782 }, { "15250", -1.59755268692662 } } },
    { 19, 4, 2, 0.7, 1.6, 1, BEAM_NORM_GENERATED, BEAM_EARLY_TRUE, 4,
      { { "0", -1.06613671646152 }, { "0", -1.06613671646152 }, { "450", -1.35063541310272 },
        { "310", -1.6257877925077 } } },
    { 20, 4, 4, 0.7, 0.8, 1, BEAM_NORM_GENERATED, BEAM_EARLY_NEVER, 4,
      { { "340", -0.504288638114601 }, { "220", -0.924836993727652 }, { "350", -0.995881862230171 },
        { "340", -1.2042886381146 } } },
};

Test(beam_step, equals_the_reference)
{
    for (size_t i = 0; i < sizeof reference / sizeof *reference; i++) {
        int width = reference[i].beams / reference[i].groups;
        beam_rules rules = { .width = width, .keep = 2 * width,
                             .length_penalty = reference[i].alpha, .norm = reference[i].norm,
                             .early = reference[i].early, .n_prompt = 3, .max_new_tokens = 6 };
        result r = search(toy, reference[i].seed, &rules, reference[i].groups,
                          reference[i].diversity, reference[i].repetition);
        cr_assert_eq(r.n, reference[i].n, "case %zu: %d beams", i, r.n);
        for (int k = 0; k < r.n; k++) {
            cr_expect_str_eq(r.item[k].text, reference[i].item[k].text, "case %zu: %s", i,
                             r.item[k].text);
            /* the two sums of logarithms differ by rounding only */
            cr_expect(fabs(r.item[k].score - reference[i].item[k].score) < 1e-11);
        }
    }
}

/* ---- small things ---------------------------------------------------------------------------- */

Test(beam_step, length_norms)
{
    static const struct {
        beam_norm norm;
        double alpha, expected;
    } table[] = {
        { BEAM_NORM_GENERATED, 0, 1 },    { BEAM_NORM_GENERATED, 1, 7 },
        { BEAM_NORM_GENERATED, 2, 49 },   { BEAM_NORM_GENERATED, 0.5, 2.6457513110645906 },
        { BEAM_NORM_GENERATED, -1, 1.0 / 7 }, { BEAM_NORM_TOTAL, 1, 10 },
        { BEAM_NORM_GNMT, 1, 2 },         { BEAM_NORM_GNMT, 0.6, 1.515716566510398 },
        { BEAM_NORM_NONE, 1, 1 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        beam_rules rules = { .norm = table[i].norm, .length_penalty = table[i].alpha,
                             .n_prompt = 3 };
        double norm = beam_length_norm(&rules, 7);
        cr_expect(fabs(norm - table[i].expected) < 4e-16 * table[i].expected * 4, "row %zu: %.17g",
                  i,
                  norm);
    }
}

/* Two groups of one beam, p = a .5, b .4, c .1: the first takes a; the second takes a too as long
 * as ln .5 - lambda >= ln .4, that is up to lambda = ln 1.25 = 0.2231. The penalty stays in the
 * running score. */
Test(beam_step, diversity_by_hand)
{
    static const double lambda[] = { 0, 0.2, 0.25 };
    static const int32_t tokens[] = { 1, 2, 3 };
    const double lp[] = { log(.5), log(.4), log(.1) };
    for (int i = 0; i < 3; i++) {
        beam_rules rules = { .width = 1, .keep = 2, .max_new_tokens = 9 };
        beam_live live = { 0 };
        beam_next next[2];
        beam_group group = { .live = &live, .n_live = 1, .next = next };
        beam_list list = { .tokens = tokens, .lp = lp, .n = 3 };
        int32_t chosen = 1;
        beam_select(&group, &rules, &list, &chosen, 1, lambda[i]);
        cr_expect_eq(next[0].token, i < 2 ? 1 : 2);
        cr_expect_eq(next[0].score, i < 2 ? lp[0] - lambda[i] : lp[1]);
        cr_expect_eq(next[0].token_lp, i < 2 ? lp[0] : lp[1]);
    }
}

/* Both penalties on one beam whose text holds a: p = a .5, b .4, c .1, theta = 1.5, lambda = 0.2,
 * and earlier groups chose a once and b twice. Diversity first, then repetition:
 *     a  (ln .5 - 0.2) 1.5 = -1.339720770839918
 *     b   ln .4 - 0.4      = -1.316290731874155
 *     c   ln .1            = -2.302585092994046
 * so that b is first; the other way round, a would be: 1.5 ln .5 - 0.2 = -1.239720770839918. With
 * theta below 1 a token that repeats is favoured: 0.5 gives a
 * (ln .5 - 0.2) 0.5 = -0.446573590279973.
 * The processors of transformers 4.49, called on these numbers, give the same three scores. */
Test(beam_step, diversity_is_scaled_by_repetition)
{
    static const int32_t sorted[2][3] = { { 2, 1, 3 }, { 1, 2, 3 } }, chosen[] = { 1, 2, 2 };
    static const double theta[] = { 1.5, 0.5 };
    static const struct {
        int32_t token[3];
        double score[3];
    } expected[] = {
        { { 2, 1, 3 }, { -1.316290731874155, -1.339720770839918, -2.302585092994046 } },
        { { 1, 2, 3 }, { -0.446573590279973, -1.316290731874155, -2.302585092994046 } },
    };
    for (int i = 0; i < 2; i++) {
        const int32_t text[] = { 7, 1, 1 };
        double lp[3];
        for (int t = 0; t < 3; t++)
            lp[t] = sorted[i][t] == 1 ? theta[i] * log(.5) : log(sorted[i][t] == 2 ? .4 : .1);
        beam_rules rules = { .width = 1, .keep = 3, .max_new_tokens = 9 };
        beam_live live = { 0 };
        beam_next next[3];
        beam_group group = { .live = &live, .n_live = 1, .next = next };
        beam_list list = { .tokens = sorted[i], .lp = lp, .n = 3, .path = text, .n_path = 3,
                           .repetition = theta[i] };
        beam_select(&group, &rules, &list, chosen, 3, 0.2);
        for (int t = 0; t < 3; t++) {
            cr_expect_eq(next[t].token, expected[i].token[t], "theta %g, place %d", theta[i], t);
            cr_expect(fabs(next[t].score - expected[i].score[t]) < 1e-15 * 4, "%.17g",
                      next[t].score);
        }
    }
}

/* Equal scores: the earlier beam, then the order of its list; an ended candidate ranked below B
 * does not enter, and one that enters a full `done` on an equal score does not push out. */
Test(beam_step, ties)
{
    static const int32_t tokens[] = { 4, 5 };
    static const double lp[] = { -1, -1 };
    beam_rules rules = { .width = 2, .keep = 4, .early = BEAM_EARLY_NEVER, .max_new_tokens = 9 };
    beam_live live[2] = { { .score = -1 }, { .score = -1 } };
    beam_next next[4];
    beam_done done[2] = { { -1.5, 0, -1 }, { -2, 1, -1 } };
    int survivor[2];
    beam_group group = { .live = live, .n_live = 2, .next = next, .done = done, .n_done = 2,
                         .survivor = survivor };
    beam_list lists[2] = { { .tokens = tokens, .lp = lp, .n = 2 },
                           { .tokens = tokens, .lp = lp, .n = 2 } };
    beam_select(&group, &rules, lists, NULL, 0, 0);
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(next[i].beam, i / 2);
        cr_expect_eq(next[i].token, 4 + i % 2);
    }
    next[1].ends = next[3].ends = true; /* both -2: the one of rank 2 finds an equal one there */
    beam_settle(&group, &rules, 1);
    cr_expect_eq(done[1].next, -1);
    cr_expect_eq(group.n_survivors, 2);
    cr_expect(survivor[0] == 0 && survivor[1] == 2);
    cr_expect(group.stopped); /* live[0] = -2 cannot beat the worst, -2 */
}
