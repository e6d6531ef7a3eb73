/* claims.c - what an experiment claims before it runs, and what becomes of it.
 *
 * A claim is a statement about one number theta, a direction and a margin delta:
 *
 *     difference   theta = measure of cell a - measure of cell b, mean over their common problems;
 *                  or - pass@1 of b, what one of its samples is worth; or - nothing, a's alone
 *     trend        theta = change of a measure per doubling of a family's size (trend.c)
 *     budget       theta = difference of two families' accuracies averaged over the range of a cost
 *                  that both have, every doubling of it alike (area.c): at equal budgets
 *
 *     higher, lower   supported: the corrected interval of theta lies beyond 0 in that direction;
 *                     refuted: it excludes delta in it; otherwise inconclusive
 *     equal           supported: the interval lies inside +-delta; refuted: outside of it
 *
 * The claims of one experiment in one task are a family of m: intervals at level 1 - alpha/m
 * (Bonferroni). Where there is a test (McNemar or sign flips for differences, permutations for
 * trends), an interval reaches to 0 unless it rejects at that level, as everywhere (paired.c).
 *
 * The second side may be a list; then the one that is most accurate on another task's problems
 * (`chosen_on`, a tuning split) stands in the comparison, a family by the mean over its cells. The
 * choice is made on other problems than the test, so that it needs no correction. */
#include "analysis/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TAIL = 10, MAX_RESAMPLES = 50000 };

const char *const rm_claim_kind_names[] = { "compare", "trend", "budget", NULL };
const char *const rm_measure_names[] = { "accuracy", "chosen_lp", "length", "length_right",
                                         "length_wrong", "pass@k", "maj@k", NULL };

/* ---- measures ------------------------------------------------------------------------------ */

/* Mean tokens of the candidates that are right (want 1), wrong (0), or all (-1). */
static double mean_length(const rm_result *result, int want)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < result->n_samples; i++)
        if (want < 0 || result->samples[i].correct == (want == 1)) {
            sum += result->samples[i].n_tokens;
            n++;
        }
    return n ? sum / (double)n : NAN;
}

static double length_all(const rm_result *result, const rm_cell *cell)
{
    (void)cell;
    return mean_length(result, -1);
}

static double length_right(const rm_result *result, const rm_cell *cell)
{
    (void)cell;
    return mean_length(result, 1);
}

static double length_wrong(const rm_result *result, const rm_cell *cell)
{
    (void)cell;
    return mean_length(result, 0);
}

/* One value a problem; NaN where the cell has none. */
static rm_status measure_values(const an_frame *frame, int at, rm_measure measure, size_t k,
                                const rm_analysis_options *options, double *values, rm_error *err)
{
    if (measure == RM_MEASURE_PASS_AT_K || measure == RM_MEASURE_MAJ_AT_K)
        return an_subset_values(frame, at,
                                measure == RM_MEASURE_PASS_AT_K ? RM_PASS_AT_K : RM_MAJ_AT_K, k,
                                options, values, err);
    an_column column = { 0 };
    bool has = true;
    rm_status status;
    if (measure == RM_MEASURE_ACCURACY || measure == RM_MEASURE_CHOSEN_LP) {
        status = an_quantity_column(frame, at, measure == RM_MEASURE_ACCURACY ? RM_Q_ACCURACY
                                                                       : RM_Q_CHOSEN_LP,
                                    &column, &has, err);
    } else {
        status = an_column_new(frame, &column, err);
        if (!status)
            an_column_mean(frame, at,
                           measure == RM_MEASURE_LENGTH         ? length_all
                       : measure == RM_MEASURE_LENGTH_RIGHT ? length_right
                                                            : length_wrong,
                           &column);
    }
    for (size_t p = 0; p < frame->n_problems && !status; p++)
        values[p] = an_column_problem(frame, &column, p);
    an_column_free(&column);
    return status;
}

/* ---- differences --------------------------------------------------------------------------- */

/* The interval of a mean difference a problem, and the sign-flip test on the clusters' sums. */
static rm_status difference_of(const an_frame *frame, const double *d, double level,
                               const rm_analysis_options *options, rm_claim_report *out,
                               rm_error *err)
{
    an_column column = { 0 };
    bool exact;
    double *cluster = calloc(frame->n_clusters + 1, sizeof *cluster);
    double *replicates = malloc(options->resamples * sizeof *replicates);
    rm_status status = RM_OK;
    if (!cluster || !replicates)
        status = rm_fail(err, RM_E_MEMORY, "no memory to test a claim");
    if (!status)
        status = an_column_new(frame, &column, err);
    if (status)
        goto done;
    for (size_t c = 0; c < frame->n_clusters; c++)
        for (size_t p = frame->cluster_first[c]; p < frame->cluster_first[c + 1]; p++)
            cluster[c] += isnan(d[p]) ? 0 : d[p];
    an_column_from_problems(frame, d, &column);
    out->p = rm_sign_flip(cluster, frame->n_clusters, options->resamples, options->seed, &exact);
    out->test = exact ? "sign-flip permutation, exact" : "sign-flip permutation, Monte Carlo";
    status = an_bootstrap(frame, &column, 1, options, replicates, err);
    if (!status)
        out->theta = an_agreeing(an_interval(frame, &column, AN_MEAN, replicates,
                                             options->resamples, level), out->p);
done:
    an_column_free(&column);
    free(cluster);
    free(replicates);
    return status;
}

/* The cell with that label, else the largest one of that family; -1: none. */
static int cell_or_largest(const an_frame *frame, const char *name)
{
    int at = an_cell_named(frame, name);
    for (size_t i = 0; at < 0 && i < frame->n_cells; i++)
        if (!strcmp(frame->records->cells[frame->cell[i]].family, name))
            at = (int)i;
    for (size_t i = 0; at >= 0 && i < frame->n_cells; i++) {
        const rm_cell *cell = &frame->records->cells[frame->cell[i]];
        const rm_cell *best = &frame->records->cells[frame->cell[at]];
        if (!strcmp(cell->family, name) && cell->size > best->size && strcmp(best->label, name) != 0)
            at = (int)i;
    }
    return at;
}

/* The most samples that every problem has in both pools; 0 where one has none. */
static rm_status common_k(const an_frame *frame, int a, int b, size_t *k, rm_error *err)
{
    an_pool pool = { 0 };
    size_t n[2] = { 0 };
    rm_status status = RM_OK;
    for (int i = 0; i < 2 && !status; i++) {
        status = an_pool_new(frame, i ? b : a, false, &pool, err);
        n[i] = status ? 0 : pool.n_min;
        an_pool_free(&pool);
    }
    *k = n[0] < n[1] ? n[0] : n[1];
    return status;
}

static rm_status test_difference(const an_frame *frame, const rm_claim *claim, size_t m,
                                 const rm_analysis_options *options, rm_claim_report *out,
                                 rm_error *err)
{
    int a = cell_or_largest(frame, claim->a), b = cell_or_largest(frame, out->b);
    if (a < 0 || b < 0)
        return RM_OK;
    if (claim->measure == RM_MEASURE_ACCURACY && claim->against == RM_AGAINST_MEASURE) {
        rm_comparison c;
        rm_status status =
            an_compare(frame, &frame->cell[a], &frame->cell[b], 1, m, options, &c, err);
        if (!status) {
            out->theta = c.corrected;
            out->p = c.p;
            out->test = c.test;
        }
        return status;
    }
    double *x = malloc(frame->n_problems * sizeof *x), *y = malloc(frame->n_problems * sizeof *y);
    rm_status status = x && y ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory to test a claim");
    bool subsets = claim->measure == RM_MEASURE_PASS_AT_K || claim->measure == RM_MEASURE_MAJ_AT_K;
    out->k = claim->k;
    if (!status && subsets && !out->k)
        status = common_k(frame, a, b, &out->k, err);
    if (!status && subsets && !out->k)
        goto done;
    bool one = claim->against == RM_AGAINST_ONE_SAMPLE, alone = claim->against == RM_AGAINST_NOTHING;
    if (!status)
        status = measure_values(frame, a, claim->measure, out->k, options, x, err);
    if (!status && !alone)
        status = measure_values(frame, b, one ? RM_MEASURE_PASS_AT_K : claim->measure,
                                one ? 1 : out->k, options, y, err);
    size_t n = 0;
    for (size_t p = 0; p < frame->n_problems && !status; p++) {
        x[p] -= alone ? 0 : y[p];
        n += isnan(x[p]) ? 0 : 1;
    }
    if (!status && n)
        status = difference_of(frame, x, 1 - (1 - options->level) / (double)m, options, out, err);
done:
    free(x);
    free(y);
    return status;
}

/* ---- trends and budgets -------------------------------------------------------------------- */

static const rm_family *family_named(const rm_task_report *task, const char *name)
{
    for (size_t f = 0; f < task->n_families; f++)
        if (!strcmp(task->families[f].name, name))
            return &task->families[f];
    return NULL;
}

static rm_status test_trend(const an_frame *frame, const rm_claim *claim, size_t m,
                            const rm_analysis_options *options, const rm_task_report *task,
                            rm_claim_report *out, rm_error *err)
{
    const rm_family *family = family_named(task, claim->a);
    rm_trend trend = { .n = 0 };
    if (!family)
        return RM_OK;
    rm_status status = an_trend_alone(frame, family, claim->measure == RM_MEASURE_CHOSEN_LP
                                                         ? RM_Q_CHOSEN_LP : RM_Q_ACCURACY,
                                      m, options, &trend, err);
    if (!status && trend.n) {
        out->theta = trend.corrected;
        out->p = trend.p;
        out->test = "permutations within problems";
    }
    return status;
}

static rm_status test_budget(const an_frame *frame, const rm_claim *claim, size_t m,
                             const rm_analysis_options *options, const rm_task_report *task,
                             rm_claim_report *out, rm_error *err)
{
    const rm_family *a = family_named(task, claim->a), *b = family_named(task, out->b);
    rm_area_pair pair = { .difference = { .value = NAN } };
    if (!a || !b)
        return RM_OK;
    rm_status status = an_area_alone(frame, claim->cost, a, b, m, options, task, &pair, err);
    if (!status && !isnan(pair.difference.value)) {
        out->theta = pair.difference;
        out->low = pair.low;
        out->high = pair.high;
    }
    return status;
}

/* ---- the other side of a comparison -------------------------------------------------------- */

/* Mean accuracy of the task's cells with that label or family; NaN without any. */
static double accuracy_of(const an_frame *frame, const char *name, rm_status *status, rm_error *err)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < frame->n_cells && !*status; i++) {
        const rm_cell *cell = &frame->records->cells[frame->cell[i]];
        if (strcmp(cell->label, name) != 0 && strcmp(cell->family, name) != 0)
            continue;
        an_column column = { 0 };
        bool has;
        *status = an_quantity_column(frame, (int)i, RM_Q_ACCURACY, &column, &has, err);
        if (!*status) {
            sum += an_column_value(frame, &column);
            n++;
        }
        an_column_free(&column);
    }
    return n ? sum / (double)n : NAN;
}

/* The first of the most accurate ones; NULL where none has results there. */
static rm_status choose_side(const rm_records *records, const rm_claim *claim, const char **b,
                             rm_error *err)
{
    an_frame *frame = NULL;
    double best = -1;
    *b = claim->n_b == 1 && !claim->chosen_on ? claim->b[0] : NULL;
    if (*b || !claim->n_b || !claim->chosen_on)
        return RM_OK;
    bool there = false;
    for (size_t i = 0; i < records->n_results && !there; i++)
        there = !strcmp(records->cells[records->results[i].cell].task, claim->chosen_on);
    rm_status status = there ? an_frame_new(records, claim->chosen_on, &frame, err) : RM_OK;
    for (size_t i = 0; i < claim->n_b && frame && !status; i++) {
        double accuracy = accuracy_of(frame, claim->b[i], &status, err);
        if (!status && accuracy > best) {
            best = accuracy;
            *b = claim->b[i];
        }
    }
    an_frame_free(frame);
    return status;
}

/* ---- the family ---------------------------------------------------------------------------- */

static bool names_cell(const an_frame *frame, const char *name)
{
    for (size_t i = 0; i < frame->n_cells; i++) {
        const rm_cell *cell = &frame->records->cells[frame->cell[i]];
        if (!strcmp(cell->label, name) || !strcmp(cell->family, name))
            return true;
    }
    return false;
}

/* Does the task have what the claim speaks of? Tasks that a side is chosen on are for that. */
static bool applies(const an_frame *frame, const rm_claim *claim)
{
    bool any = claim->kind == RM_CLAIM_TREND;
    if (claim->chosen_on && !strcmp(claim->chosen_on, frame->task))
        return false;
    for (size_t i = 0; i < claim->n_b && !any; i++)
        any = names_cell(frame, claim->b[i]);
    return any && names_cell(frame, claim->a);
}

static rm_verdict verdict_of(const rm_claim *claim, rm_estimate theta)
{
    switch (claim->direction) {
    case RM_DIRECTION_HIGHER: return rm_verdict_better(theta, 1, claim->margin);
    case RM_DIRECTION_LOWER: return rm_verdict_better(theta, -1, claim->margin);
    case RM_DIRECTION_EQUAL: return rm_verdict_equal(theta, claim->margin);
    default: return RM_INCONCLUSIVE;
    }
}

rm_status an_claims(const an_frame *frame, const rm_analysis_options *given, rm_task_report *task,
                    rm_error *err)
{
    size_t m = 0;
    rm_status status = RM_OK;
    for (size_t i = 0; i < given->n_claims; i++)
        m += applies(frame, &given->claims[i]) ? 1 : 0;
    if (!m)
        return RM_OK;
    /* Enough resamples that TAIL of them lie beyond either end of a corrected interval. */
    rm_analysis_options options = *given;
    double needed = 2 * TAIL * (double)m / (1 - options.level);
    if (needed > (double)options.resamples)
        options.resamples = (size_t)fmin(needed, MAX_RESAMPLES);
    if (!(task->claims = calloc(m, sizeof *task->claims)))
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu claims", m);
    for (size_t i = 0; i < given->n_claims && !status; i++) {
        const rm_claim *claim = &given->claims[i];
        if (!applies(frame, claim))
            continue;
        rm_claim_report *out = &task->claims[task->n_claims++];
        *out = (rm_claim_report){ .claim = claim, .n_family = m, .p = NAN, .test = "",
                                  .theta = { NAN, NAN, NAN, 1 - (1 - options.level) / (double)m, 0,
                                             "not measured" } };
        status = choose_side(frame->records, claim, &out->b, err);
        if (status)
            break;
        if (claim->kind == RM_CLAIM_TREND)
            status = test_trend(frame, claim, m, &options, task, out, err);
        else if (out->b && claim->kind == RM_CLAIM_BUDGET)
            status = test_budget(frame, claim, m, &options, task, out, err);
        else if (out->b)
            status = test_difference(frame, claim, m, &options, out, err);
        out->verdict = verdict_of(claim, out->theta);
    }
    return status;
}

/* ---- as a sentence ------------------------------------------------------------------------- */

/* "+3.1 points", "-12.0 tokens", "+0.52 nats" */
static void put_amount(const rm_claim *claim, double x, rm_text *out)
{
    bool tokens = claim->measure >= RM_MEASURE_LENGTH && claim->measure <= RM_MEASURE_LENGTH_WRONG;
    double scale = tokens || claim->measure == RM_MEASURE_CHOSEN_LP ? 1 : 100;
    if (isinf(x))
        rm_text_puts(out, x > 0 ? "+∞" : "−∞");
    else
        rm_text_printf(out, claim->measure == RM_MEASURE_CHOSEN_LP ? "%s%.2f" : "%s%.1f",
                       x < 0 ? "−" : "+", fabs(scale * x));
}

static const char *unit_of(const rm_claim *claim)
{
    switch (claim->measure) {
    case RM_MEASURE_CHOSEN_LP: return "nats";
    case RM_MEASURE_LENGTH:
    case RM_MEASURE_LENGTH_RIGHT:
    case RM_MEASURE_LENGTH_WRONG: return "tokens";
    default: return "points";
    }
}

static void put_subject(const rm_claim_report *r, rm_text *out)
{
    const rm_claim *claim = r->claim;
    const char *measure = rm_measure_names[claim->measure];
    if (claim->kind == RM_CLAIM_TREND) {
        rm_text_printf(out, "%s of %s per doubling", measure, claim->a);
        return;
    }
    if (r->k)
        rm_text_printf(out, "%.*s%zu", (int)strlen(measure) - 1, measure, r->k); /* pass@64 */
    else
        rm_text_puts(out, measure);
    rm_text_printf(out, " of %s less that of %s", claim->a, r->b ? r->b : "none");
    if (claim->chosen_on)
        rm_text_printf(out, " (chosen on %s)", claim->chosen_on);
    if (claim->kind == RM_CLAIM_BUDGET) {
        const rm_quantity_info *cost = rm_quantity_describe((rm_quantity)claim->cost);
        rm_text_printf(out, " at equal %s", cost->title);
        if (r->high > 0)
            rm_text_printf(out, ", %.3g to %.3g%s%s", r->low, r->high, *cost->unit ? " " : "",
                           cost->unit);
    }
}

void rm_claim_sentence(const rm_claim_report *r, rm_text *out)
{
    const rm_claim *claim = r->claim;
    static const char *const words[] = { "INCONCLUSIVE", "SUPPORTED", "REFUTED" };
    rm_text_printf(out, "%s: %s. ", words[r->verdict], claim->text);
    put_subject(r, out);
    if (isnan(r->theta.value)) {
        rm_text_puts(out, claim->kind == RM_CLAIM_BUDGET ? ": not defined by the data, as where the two "
                                                           "have no range of that cost in common."
                                                         : ": not measured.");
        return;
    }
    rm_text_puts(out, ": ");
    put_amount(claim, r->theta.value, out);
    rm_text_printf(out, " %s, %.3g%% interval ", unit_of(claim), 100 * r->theta.level);
    put_amount(claim, r->theta.low, out);
    rm_text_puts(out, " to ");
    put_amount(claim, r->theta.high, out);
    rm_text_printf(out, " (claimed: %s", rm_direction_names[claim->direction]);
    if (claim->margin > 0) {
        rm_text_puts(out, ", margin ");
        put_amount(claim, claim->margin, out);
    }
    rm_text_printf(out, "; %zu problems", r->theta.n);
    if (!isnan(r->p))
        rm_text_printf(out, r->p < 0.0001 ? "; %s p < 0.0001" : "; %s p = %.4f", r->test, r->p);
    rm_text_puts(out, ").");
}
