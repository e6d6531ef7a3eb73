/* test_crossing.c - where curves cross, areas under them, and how many samples equal one pass:
 * by hand, by NumPy, and in simulated models whose curves cross at a known place. */
#include "tests/analysis/simulate.h"

#include <criterion/criterion.h>

/* ---- by hand ----------------------------------------------------------------------------- */

static const struct overtaking {
    const char *what;
    size_t n_a, n_b;
    double x_a[4], y_a[4], x_b[4], y_b[4], at;
} overtakings[] = {
    /* halfway on the logarithmic scale between 1 and 4 */
    { "once", 2, 2, { 1, 4 }, { 0.5, 0.5 }, { 1, 4 }, { 0.4, 0.6 }, 2 },
    /* a falls by 0.2, b rises by 0.2 over ln 16: equal at a quarter of it */
    { "moving", 2, 2, { 1, 16 }, { 0.5, 0.3 }, { 1, 16 }, { 0.4, 0.6 }, 2 },
    { "leads throughout", 2, 2, { 1, 4 }, { 0.5, 0.5 }, { 1, 4 }, { 0.6, 0.7 }, -INFINITY },
    { "never", 2, 2, { 1, 4 }, { 0.5, 0.5 }, { 1, 4 }, { 0.3, 0.4 }, INFINITY },
    { "equal at the end", 2, 2, { 1, 4 }, { 0.5, 0.5 }, { 1, 4 }, { 0.3, 0.5 }, INFINITY },
    { "the last of three times",
      2,
      4,
      { 1, 8 },
      { 0.5, 0.5 },
      { 1, 2, 4, 8 },
      { 0.4, 0.6, 0.4, 0.6 },
      5.656854249492381 },
    { "in the common range only",
      2,
      2,
      { 1, 4 },
      { 0.5, 0.5 },
      { 2, 8 },
      { 0.55, 0.6 },
      -INFINITY },
    { "breakpoints of both",
      3,
      3,
      { 1, 2, 16 },
      { 0.5, 0.6, 0.6 },
      { 1, 8, 16 },
      { 0.3, 0.6, 0.8 },
      8 },
    { "no common range", 2, 2, { 1, 2 }, { 0.5, 0.5 }, { 4, 8 }, { 0.6, 0.7 }, NAN },
    { "not ascending", 2, 2, { 4, 1 }, { 0.5, 0.5 }, { 1, 8 }, { 0.6, 0.7 }, NAN },
    { "no number", 2, 2, { 1, 4 }, { 0.5, NAN }, { 1, 4 }, { 0.6, 0.7 }, NAN },
};

Test(crossing, by_hand)
{
    for (size_t i = 0; i < sizeof overtakings / sizeof *overtakings; i++) {
        const struct overtaking *c = &overtakings[i];
        double at = rm_overtakes(c->x_a, c->y_a, c->n_a, c->x_b, c->y_b, c->n_b);
        cr_assert((isnan(at) && isnan(c->at)) || at == c->at || fabs(at - c->at) < 1e-12 * c->at,
                  "%s: %.15g", c->what, at);
    }
}

/* numpy.trapezoid of numpy.interp over ln x (NumPy 2.4.6). */
Test(crossing, areas_agree_with_numpy)
{
    static const double x[] = { 10, 40, 100, 900 }, y[] = { 0.2, 0.5, 0.45, 0.8 };
    static const struct {
        double low, high, area;
    } areas[] = {
        { 10, 900, 0.509734111643 },
        { 20, 500, 0.515825677580 },
        { 1, 5, 0.2 },
        { 5, 2000, 0.512586205561 },
        { 50, 60, 0.482849093700 },
        { 1000, 2000, 0.8 },
        { 0, 5, NAN },
        { 7, 7, NAN },
    };
    for (size_t i = 0; i < sizeof areas / sizeof *areas; i++) {
        double area = rm_log_area(x, y, 4, areas[i].low, areas[i].high);
        cr_assert((isnan(area) && isnan(areas[i].area)) || fabs(area - areas[i].area) < 1e-11,
                  "case %zu: %.12f", i, area);
    }
    cr_assert(isnan(rm_log_area(x, y, 0, 1, 2)));
}

/* ---- known models -------------------------------------------------------------------------- */

static rm_analysis *analyze(const rm_records *r, const rm_analysis_options *o)
{
    rm_analysis *analysis = NULL;
    rm_error err = { "" };
    cr_assert_eq(rm_analyze(r, o, &analysis, &err), RM_OK, "%s", err.text);
    return analysis;
}

/* The truth lies in an interval of five standard errors, taken from that of 95% on the logarithmic
 * scale, on which the interval must be narrow enough to mean something. */
static void near_place(const rm_estimate *at, double truth, const char *what)
{
    double se = log(at->high / at->low) / (2 * 1.96);
    cr_assert(se > 0 && se < 0.25, "%s: [%g, %g]", what, at->low, at->high);
    cr_assert_float_eq(log(at->value), log(truth), 5 * se, "%s: %g, the truth is %g", what,
                       at->value, truth);
}

enum { PROBLEMS = 800, SAMPLES = 16 };

/* A sampler that solves every problem with probability 0.3 a sample, another that solves 76% of
 * them always and the others never, a greedy cell that solves 76%: the first has pass@k = 1 -
 * 0.7^k, which is 0.7599 at k = 4, a point of the curves. */
static void simulate(rm_records *r, int cells[3])
{
    static const double solvable = 0.7599;
    sim_source s = { 5, 9, 0 };
    cells[0] = sim_cell(r, "t", "even", "sampling", SAMPLES, true);
    cells[1] = sim_cell(r, "t", "split", "split sampling", SAMPLES, true);
    cells[2] = sim_cell(r, "t", "greedy", "greedy", NAN, false);
    r->cells[cells[1]].model[0] = 'S'; /* another model */
    for (int p = 0; p < PROBLEMS; p++) {
        int problem = sim_problem(r, "t", p, NULL);
        sim_answers even = { .right = 0.3, .n_wrong = 3 };
        sim_answers split = { .right = sim_unit(&s) < solvable ? 1 : 0, .n_wrong = 3 };
        sim_samples(r, cells[0], problem, 0, &even, SAMPLES, &s);
        sim_samples(r, cells[1], problem, 0, &split, SAMPLES, &s);
        sim_verdict(r, cells[2], problem, 0, sim_unit(&s) < solvable);
    }
}

Test(crossing, of_known_pools)
{
    rm_records r = { 0 };
    int cells[3];
    simulate(&r, cells);
    rm_analysis_options o = { .resamples = 400 };
    rm_analysis *analysis = analyze(&r, &o);
    const rm_task_report *task = &analysis->tasks[0];
    cr_assert_eq(task->n_crossings, 2); /* pass@k and maj@k of one pair */
    const rm_crossing *c = &task->crossings[0];
    cr_assert_eq(c->kind, RM_PASS_AT_K);
    cr_assert_eq(task->cells[c->ahead].cell, cells[0]);
    cr_assert_eq(task->cells[c->behind].cell, cells[1]);
    cr_assert_eq(c->k_most, SAMPLES);
    cr_assert_eq(c->inside, 1);
    near_place(&c->at, 4, "pass@k");
    /* the vote of the even one never gets there: three wrong answers share 0.7 */
    const rm_crossing *vote = &task->crossings[1];
    cr_assert_eq(task->cells[vote->ahead].cell, cells[1]);
    cr_assert(vote->at.value == -INFINITY && vote->at.low == -INFINITY &&
              vote->at.high == -INFINITY && vote->inside == 0);
    rm_analysis_free(analysis);
    rm_records_free(&r);
}

Test(crossing, samples_that_equal_one_pass)
{
    rm_records r = { 0 };
    int cells[3], found = 0;
    simulate(&r, cells);
    rm_analysis_options o = { .resamples = 400 };
    rm_analysis *analysis = analyze(&r, &o);
    const rm_task_report *task = &analysis->tasks[0];
    for (size_t i = 0; i < task->n_passes; i++) {
        const rm_equal_passes *p = &task->passes[i];
        if (p->kind != RM_PASS_AT_K || task->cells[p->pool].cell != cells[0])
            continue;
        near_place(&p->at, 4, "one pass"); /* of the greedy cell, and of the other model */
        found++;
    }
    cr_assert_eq(found, 2);
    rm_analysis_free(analysis);
    rm_records_free(&r);
}

/* Cells that share their candidates are one pool: nothing crosses itself. */
Test(crossing, one_pool_seen_twice)
{
    rm_records r = { 0 };
    sim_source s = { 5, 10, 0 };
    sim_answers a = { .right = 0.5, .n_wrong = 3 };
    int one = sim_cell(&r, "t", "one", "vote", 4, true);
    int two = sim_cell(&r, "t", "two", "best", 8, true);
    for (int p = 0; p < 30; p++) {
        sim_samples(&r, two, sim_problem(&r, "t", p, NULL), 0, &a, 8, &s);
        rm_result part = r.results[r.n_results - 1];
        part.cell = one;
        part.n_samples = 4;
        cr_assert_eq(rm_records_add_result(&r, &part, NULL, NULL), RM_OK);
    }
    rm_analysis_options o = { .resamples = 100 };
    rm_analysis *analysis = analyze(&r, &o);
    cr_assert_eq(analysis->tasks[0].n_crossings, 0);
    rm_analysis_free(analysis);
    rm_records_free(&r);
}

/* Two families over costs 10, 40, 160: accuracies 0.3, 0.5, 0.7 and 0.6, 0.5, 0.4 cross at 40; the
 * areas are 0.5 and 0.5; a third with 0.1 more than the first everywhere never crosses it. */
Test(crossing, areas_of_known_families)
{
    static const double accuracy[3][3] = { { 0.3, 0.5, 0.7 },
                                           { 0.6, 0.5, 0.4 },
                                           { 0.4, 0.6, 0.8 } };
    static const char *const names[3] = { "rising", "falling", "above" };
    rm_records r = { 0 };
    int cells[3][3];
    for (int f = 0; f < 3; f++)
        for (int i = 0; i < 3; i++) {
            char label[32];
            snprintf(label, sizeof label, "%s %d", names[f], i);
            cells[f][i] = sim_cell(&r, "t", label, names[f], 1 << i, false);
        }
    for (int p = 0; p < PROBLEMS; p++) {
        int problem = sim_problem(&r, "t", p, NULL);
        for (int f = 0; f < 3; f++)
            for (int i = 0; i < 3; i++) {
                rm_result x = { .cell = cells[f][i], .problem = problem, .chosen = -1 };
                /* exactly that share of the problems, in an order of its own for every cell */
                x.correct = (p * 37 + 11 * (3 * f + i)) % 100 < 100 * accuracy[f][i] - 0.5;
                x.cost.generated_tokens = 10ull << (2 * i);
                x.cost.wall_ms = x.cost.ttft_ms = x.cost.flops = NAN;
                cr_assert_eq(rm_records_add_result(&r, &x, NULL, NULL), RM_OK);
            }
    }
    rm_analysis_options o = { .resamples = 400 };
    rm_analysis *analysis = analyze(&r, &o);
    const rm_task_report *task = &analysis->tasks[0];
    cr_assert_eq(task->n_areas, 3); /* of tokens alone: nothing else was measured */
    cr_assert_eq(task->n_area_pairs, 3);
    for (size_t i = 0; i < 3; i++) {
        const rm_area *a = &task->areas[i];
        cr_assert(a->low == 10 && a->high == 160 && a->cost == RM_Q_GENERATED_TOKENS);
        cr_assert_float_eq(a->accuracy.value, i == 2 ? 0.6 : 0.5, 1e-9);
        cr_assert(a->accuracy.low < a->accuracy.value && a->accuracy.value < a->accuracy.high);
        const rm_area_pair *p = &task->area_pairs[i];
        bool rising_falling = p->a < 2 && p->b < 2;
        cr_assert_float_eq(p->difference.value, rising_falling ? 0 : 0.1, 1e-9);
        cr_assert(rising_falling == (p->difference.low <= 0), "pair %zu: low %g", i,
                  p->difference.low);
        if (rising_falling)
            near_place(&p->overtakes, 40, "cost");
    }
    rm_analysis_free(analysis);
    rm_records_free(&r);
}
