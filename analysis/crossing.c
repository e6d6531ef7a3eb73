/* crossing.c - where one curve overtakes another, and how many samples equal one pass.
 *
 * With D(x) = y_b(x) - y_a(x) on the range that both curves have, both straight in ln x between
 * their points, b overtakes a at
 *
 *     x* = inf { x : D > 0 from x up to the end of the range }
 *
 * -INFINITY where D > 0 throughout, INFINITY where D <= 0 at the end. That is defined for any pair
 * of curves, also where they cross several times, so it can be found again in every resample: its
 * distribution over the resamples gives the interval (derived.c). Dividing an interval of the
 * difference by a slope would not do: near a tangent the crossing is not normal, and it may lie
 * outside of what was measured.
 *
 * One pass of a cell is its pass@1 where it has a pool of samples, else its accuracy. The samples
 * of a pool that equal it: x* of the pool's curve over that level (the question of Brown et al.
 * 2024, arXiv:2407.21787, sec. 2, of a weaker model's samples against one of a stronger one; and of
 * Yue et al. 2025, arXiv:2504.13837, of a base model's against its trained self). */
#include "analysis/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Value at x of the line through n points; level beyond its ends. */
static double line_at(const double *x, const double *y, size_t n, double at)
{
    if (at <= x[0])
        return y[0];
    for (size_t i = 1; i < n; i++)
        if (at <= x[i])
            return y[i - 1] + (y[i] - y[i - 1]) * (at - x[i - 1]) / (x[i] - x[i - 1]);
    return y[n - 1];
}

/* The largest breakpoint below `at`, not below low. */
static double breakpoint_below(const double *x, size_t n, double at, double low)
{
    for (size_t i = n; i-- > 0;)
        if (x[i] < at)
            return fmax(x[i], low);
    return low;
}

/* rm_overtakes on logarithms, ascending. */
static double overtakes(const double *xa, const double *ya, size_t na, const double *xb,
                        const double *yb, size_t nb)
{
    double low = fmax(xa[0], xb[0]), at = fmin(xa[na - 1], xb[nb - 1]);
    if (!(low < at))
        return NAN;
    double d = line_at(xb, yb, nb, at) - line_at(xa, ya, na, at);
    if (isnan(d))
        return NAN;
    if (d <= 0)
        return INFINITY;
    while (at > low) {
        double next = fmax(breakpoint_below(xa, na, at, low), breakpoint_below(xb, nb, at, low));
        double before = line_at(xb, yb, nb, next) - line_at(xa, ya, na, next);
        if (before <= 0)
            return next + (at - next) * -before / (d - before);
        at = next;
        d = before;
    }
    return -INFINITY;
}

enum { MAX_POINTS = 64 };

static bool logarithms(const double *x, size_t n, double *log_x)
{
    if (n == 0 || n > MAX_POINTS)
        return false;
    for (size_t i = 0; i < n; i++) {
        log_x[i] = log(x[i]);
        if (!(x[i] > 0) || !isfinite(x[i]) || (i && !(x[i] >= x[i - 1])))
            return false;
    }
    return true;
}

double rm_overtakes(const double *x_a, const double *y_a, size_t n_a, const double *x_b,
                    const double *y_b, size_t n_b)
{
    double xa[MAX_POINTS], xb[MAX_POINTS];
    if (!logarithms(x_a, n_a, xa) || !logarithms(x_b, n_b, xb))
        return NAN;
    double at = overtakes(xa, y_a, n_a, xb, y_b, n_b);
    return isfinite(at) ? exp(at) : at;
}

/* ---- the curves of two pools ------------------------------------------------------------- */

/* Two curves over k side by side; a single level is a curve of two equal points. */
typedef struct duel {
    size_t n_a, n_b;
    double k_a[MAX_POINTS], k_b[MAX_POINTS];
    bool level; /* the first curve is one value */
} duel;

static double curves_cross(const double *y, size_t n, const void *context)
{
    const duel *d = context;
    double level[2] = { y[0], y[0] };
    (void)n;
    return d->level ? rm_overtakes(d->k_a, level, 2, d->k_b, y + 1, d->n_b)
                    : rm_overtakes(d->k_a, y, d->n_a, d->k_b, y + d->n_a, d->n_b);
}

static const rm_subset_curve *curve_of(const an_kept *kept, rm_subset_kind kind)
{
    return kind == RM_PASS_AT_K ? kept->pass : kept->maj;
}

static const an_column *columns_of(const an_kept *kept, rm_subset_kind kind)
{
    return kind == RM_PASS_AT_K ? kept->pass_column : kept->maj_column;
}

static size_t k_most(const an_kept *kept)
{
    return kept->pass->k[kept->pass->n_points - 1];
}

/* Copies of the columns first[n_first] and second[n_second], cut to their common problems, as a
 * bundle. */
static rm_status bundle_of(const an_frame *frame, const an_column *first, size_t n_first,
                           const an_column *second, size_t n_second,
                           const rm_analysis_options *options, an_bundle *bundle, size_t *problems,
                           rm_error *err)
{
    an_column column[2 * MAX_POINTS] = { { 0 } };
    size_t n = 0;
    rm_status status = RM_OK;
    for (size_t i = 0; i < n_first + n_second && !status; i++, n++)
        status =
            an_column_copy(frame, i < n_first ? &first[i] : &second[i - n_first], &column[i], err);
    if (!status) {
        *problems = an_columns_common(frame, column, n);
        status = an_bundle_new(frame, column, n, options, bundle, err);
    }
    for (size_t i = 0; i < n; i++)
        an_column_free(&column[i]);
    return status;
}

static void fill_k(const rm_subset_curve *curve, double *k)
{
    for (size_t i = 0; i < curve->n_points; i++)
        k[i] = (double)curve->k[i];
}

static double value_at(const rm_subset_curve *curve, double at)
{
    double k[MAX_POINTS] = { 0 }, y[MAX_POINTS] = { 0 };
    for (size_t i = 0; i < curve->n_points; i++) {
        k[i] = log((double)curve->k[i]);
        y[i] = curve->value[i].value;
    }
    return line_at(k, y, curve->n_points, log(at));
}

static rm_status cross(const an_frame *frame, const an_kept *kept, size_t i, size_t j,
                       rm_subset_kind kind, const rm_analysis_options *options, rm_crossing *out,
                       rm_error *err)
{
    an_bundle bundle;
    duel d = { .level = false };
    size_t problems, most_i = k_most(&kept[i]), most_j = k_most(&kept[j]);
    *out = (rm_crossing){ .kind = kind, .k_most = most_i < most_j ? most_i : most_j };
    double end_i = value_at(curve_of(&kept[i], kind), (double)out->k_most);
    double end_j = value_at(curve_of(&kept[j], kind), (double)out->k_most);
    size_t behind = end_i > end_j ? j : i, ahead = end_i > end_j ? i : j;
    out->behind = (int)behind;
    out->ahead = (int)ahead;
    const rm_subset_curve *a = curve_of(&kept[behind], kind), *b = curve_of(&kept[ahead], kind);
    d.n_a = a->n_points;
    d.n_b = b->n_points;
    fill_k(a, d.k_a);
    fill_k(b, d.k_b);
    rm_status status =
        bundle_of(frame, columns_of(&kept[behind], kind), d.n_a, columns_of(&kept[ahead], kind),
                  d.n_b, options, &bundle, &problems, err);
    if (status)
        return status;
    status = an_derive_censored(&bundle, NULL, d.n_a + d.n_b, curves_cross, &d, problems,
                                options->level, &out->at, &out->inside, err);
    an_bundle_free(&bundle);
    return status;
}

static rm_status equal_passes(const an_frame *frame, const an_kept *kept, size_t pool, size_t cell,
                              rm_subset_kind kind, const rm_analysis_options *options,
                              rm_equal_passes *out, rm_error *err)
{
    an_bundle bundle;
    an_column accuracy = { 0 };
    size_t problems;
    const rm_subset_curve *curve = curve_of(&kept[pool], kind);
    *out =
        (rm_equal_passes){ kind, (int)pool, (int)cell, k_most(&kept[pool]), { .value = NAN }, NAN };
    duel d = { .n_a = 2, .n_b = curve->n_points, .level = true };
    d.k_a[0] = 1;
    d.k_a[1] = (double)out->k_most;
    fill_k(curve, d.k_b);
    rm_status status = RM_OK;
    if (!kept[cell].pass) {
        status = an_column_new(frame, &accuracy, err);
        if (!status)
            an_column_mean(frame, (int)cell, an_result_accuracy, &accuracy);
    }
    if (!status)
        status = bundle_of(frame, kept[cell].pass ? &kept[cell].pass_column[0] : &accuracy, 1,
                           columns_of(&kept[pool], kind), d.n_b, options, &bundle, &problems, err);
    an_column_free(&accuracy);
    if (status)
        return status;
    status = an_derive_censored(&bundle, NULL, 1 + d.n_b, curves_cross, &d, problems,
                                options->level, &out->at, &out->inside, err);
    an_bundle_free(&bundle);
    return status;
}

/* ---- which pools ------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Do two results begin with the same candidates? */
static bool same_draws(const rm_result *a, const rm_result *b)
{
    size_t n = a->n_samples < b->n_samples ? a->n_samples : b->n_samples;
    for (size_t i = 0; i < n; i++) {
        const rm_sample *x = &a->samples[i], *y = &b->samples[i];
        if (x->n_tokens != y->n_tokens || !same_text(x->answer, y->answer) ||
            !(x->lp == y->lp || (isnan(x->lp) && isnan(y->lp))) || !same_text(x->text, y->text))
            return false;
    }
    return true;
}

/* Strategies that sample alike share their first candidates (one pool seen twice): a difference of
 * their curves says nothing. */
static bool same_pool(const an_frame *frame, size_t i, size_t j)
{
    const rm_cell *cells = frame->records->cells;
    if (strcmp(cells[frame->cell[i]].model, cells[frame->cell[j]].model) != 0)
        return false;
    size_t a = frame->cell_first[i], b = frame->cell_first[j], common = 0;
    while (a < frame->cell_first[i + 1] && b < frame->cell_first[j + 1]) {
        const an_entry *x = &frame->entries[a], *y = &frame->entries[b];
        if (x->unit == y->unit && !same_draws(x->result, y->result))
            return false;
        common += x->unit == y->unit && x->result->n_samples > 0 && y->result->n_samples > 0;
        a += x->unit <= y->unit;
        b += x->unit >= y->unit;
    }
    return common > 0;
}

/* The largest pool of each family, no draws twice. */
static size_t list_pools(const an_frame *frame, const an_kept *kept, size_t *pool)
{
    const rm_cell *cells = frame->records->cells;
    size_t n = 0;
    for (size_t i = 0; i < frame->n_cells; i++) {
        if (!kept[i].pass || !kept[i].maj || kept[i].pass->n_points > MAX_POINTS)
            continue;
        size_t at = 0;
        while (at < n && !same_pool(frame, i, pool[at]) &&
               strcmp(cells[frame->cell[i]].family, cells[frame->cell[pool[at]]].family) != 0)
            at++;
        if (at == n)
            pool[n++] = i;
        else if (k_most(&kept[i]) > k_most(&kept[pool[at]]))
            pool[at] = i;
    }
    size_t distinct = 0; /* a replaced one may have become another's twin */
    for (size_t i = 0; i < n; i++) {
        bool twin = false;
        for (size_t j = 0; j < distinct && !twin; j++)
            twin = same_pool(frame, pool[i], pool[j]);
        if (!twin)
            pool[distinct++] = pool[i];
    }
    return distinct;
}

static rm_status report_crossings(const an_frame *frame, const an_kept *kept, const size_t *pool,
                                  size_t n, const rm_analysis_options *options,
                                  rm_task_report *task, rm_error *err)
{
    static const rm_subset_kind kinds[2] = { RM_PASS_AT_K, RM_MAJ_AT_K };
    rm_status status = RM_OK;
    task->crossings = calloc(n * n + 1, sizeof *task->crossings);
    if (!task->crossings)
        return rm_fail(err, RM_E_MEMORY, "no memory for the crossings of %zu pools", n);
    for (int kind = 0; kind < 2; kind++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = i + 1; j < n && !status; j++) {
                rm_crossing *out = &task->crossings[task->n_crossings];
                status = cross(frame, kept, pool[i], pool[j], kinds[kind], options, out, err);
                task->n_crossings += !status && out->at.n > 0;
            }
    return status;
}

/* A pool and what it is held against. */
typedef struct question {
    size_t pool, cell;
} question;

static void ask(question *list, size_t *n, size_t pool, size_t cell)
{
    for (size_t i = 0; i < *n; i++)
        if (list[i].pool == pool && list[i].cell == cell)
            return;
    if (pool != cell)
        list[(*n)++] = (question){ pool, cell };
}

static size_t list_questions(const an_frame *frame, const an_kept *kept, const size_t *pool,
                             size_t n, const rm_analysis_options *options, question *list)
{
    const rm_cell *cells = frame->records->cells;
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        ask(list, &m, pool[i], (size_t)an_baseline_of(frame, (int)pool[i], options->baseline));
        for (size_t j = 0; j < n; j++)
            if (strcmp(cells[frame->cell[pool[i]]].model, cells[frame->cell[pool[j]]].model) != 0)
                ask(list, &m, pool[i], pool[j]);
    }
    for (size_t i = 0; i < options->n_pairs; i++) {
        int a = an_cell_named(frame, options->pairs[i].a);
        int b = an_cell_named(frame, options->pairs[i].b);
        if (a < 0 || b < 0)
            continue;
        if (kept[a].pass && kept[a].pass->n_points <= MAX_POINTS)
            ask(list, &m, (size_t)a, (size_t)b);
        if (kept[b].pass && kept[b].pass->n_points <= MAX_POINTS)
            ask(list, &m, (size_t)b, (size_t)a);
    }
    return m;
}

static rm_status report_passes(const an_frame *frame, const an_kept *kept, const size_t *pool,
                               size_t n, const rm_analysis_options *options, rm_task_report *task,
                               rm_error *err)
{
    static const rm_subset_kind kinds[2] = { RM_PASS_AT_K, RM_MAJ_AT_K };
    size_t most = n * (n + 1) + 2 * options->n_pairs + 1;
    rm_status status = RM_OK;
    question *list = calloc(most, sizeof *list);
    task->passes = calloc(2 * most, sizeof *task->passes);
    if (!list || !task->passes) {
        free(list);
        return rm_fail(err, RM_E_MEMORY, "no memory for the equal passes of %zu pools", n);
    }
    size_t m = list_questions(frame, kept, pool, n, options, list);
    for (size_t i = 0; i < m; i++)
        for (int kind = 0; kind < 2 && !status; kind++) {
            rm_equal_passes *out = &task->passes[task->n_passes];
            status = equal_passes(frame, kept, list[i].pool, list[i].cell, kinds[kind], options,
                                  out, err);
            task->n_passes += !status && out->at.n > 0;
        }
    free(list);
    return status;
}

rm_status an_crossings(const an_frame *frame, const an_kept *kept,
                       const rm_analysis_options *options, rm_task_report *task, rm_error *err)
{
    size_t *pool = calloc(frame->n_cells, sizeof *pool);
    if (!pool)
        return rm_fail(err, RM_E_MEMORY, "no memory for the pools of %s", task->task);
    size_t n = list_pools(frame, kept, pool);
    rm_status status = report_crossings(frame, kept, pool, n, options, task, err);
    if (!status)
        status = report_passes(frame, kept, pool, n, options, task, err);
    free(pool);
    return status;
}
