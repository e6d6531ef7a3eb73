/* table_curves.c - the tables of what curves say: fronts, trends, areas, scaling laws, crossings,
 * equal tuning. Numbers and their meaning: analysis.h. */
#include "plots/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ------------------------------------------------------------------------------- */

/* Appends a family's name without the model that goes without saying. */
static void family_name(const fig_view *v, int family, rm_text *out)
{
    const rm_family *f = &v->task->families[family];
    const rm_cell *cell = fig_cell(v, f->reports[0]);
    size_t n = v->main_model ? strlen(v->main_model) : 0;
    const char *name = f->name;
    if (n && !strncmp(name, v->main_model, n) && name[n] == ':' && name[n + 1] == ' ' &&
        name[n + 2])
        name += n + 2;
    rm_text_printf(out, "%s%s", name, fig_dagger(cell));
}

/* The same of a strategy whose settings are compared. */
static void tuning_name(const fig_view *v, int tuning, rm_text *out)
{
    const rm_cell *cell = fig_cell(v, v->task->tunings[tuning].reports[0]);
    if (fig_needs_model(v, cell))
        rm_text_printf(out, "%s: ", cell->model);
    rm_text_printf(out, "%s%s", cell->strategy, fig_dagger(cell));
}

/* And of a cell. */
static void report_name(const fig_view *v, int report, rm_text *out)
{
    const rm_cell *cell = fig_cell(v, report);
    rm_text_printf(out, "%s%s", fig_name_of(v, cell), fig_dagger(cell));
}

typedef void namer(const fig_view *, int, rm_text *);

static void put_one(const fig_view *v, fig_table *t, size_t row, size_t column, namer *name, int a)
{
    rm_text main = { 0 };
    name(v, a, &main);
    fig_table_put(t, row, column, &main, NULL);
}

/* "A over B" in one column, which a wide table repeats where it goes on below. */
static void put_two(const fig_view *v, fig_table *t, size_t row, size_t column, namer *name, int a,
                    const char *between, int b)
{
    rm_text main = { 0 };
    name(v, a, &main);
    rm_text_printf(&main, " %s ", between);
    name(v, b, &main);
    fig_table_put(t, row, column, &main, NULL);
}

static void put_report(const fig_view *v, fig_table *t, size_t row, size_t column, int report)
{
    fig_table_name(v, t, row, column, v->task->cells[report].cell);
}

/* ---- the front --------------------------------------------------------------------------- */

static const rm_quantity front_costs[] = { RM_Q_LATENCY_P50_MS, RM_Q_GENERATED_TOKENS, RM_Q_FLOPS };
static const char *const cost_heads[] = { "Latency", "Tokens", "FLOPs" };
enum { N_COSTS = 3 };

static double front_probability(const fig_view *v, rm_quantity cost, int report)
{
    for (size_t f = 0; f < v->task->n_fronts; f++)
        for (size_t i = 0; v->task->fronts[f].cost == cost && i < v->task->fronts[f].n; i++)
            if (v->task->fronts[f].points[i].report == report)
                return v->task->fronts[f].points[i].probability;
    return NAN;
}

static bool has_cost(const fig_view *v, rm_quantity cost)
{
    for (size_t f = 0; f < v->task->n_fronts; f++)
        if (v->task->fronts[f].cost == cost)
            return true;
    return false;
}

static void build_front(const fig_view *v, fig_table *t)
{
    size_t name = fig_table_column(t, "Strategy", "", true);
    fig_table_rows(t, v->task->n_cells);
    for (size_t i = 0; i < t->n_rows; i++)
        put_report(v, t, i, name, (int)i);
    for (int c = 0; c < N_COSTS; c++) {
        if (!has_cost(v, front_costs[c]))
            continue;
        size_t column = fig_table_column(t, cost_heads[c], "%", false);
        for (size_t i = 0; i < t->n_rows; i++) {
            rm_estimate e = { .value = front_probability(v, front_costs[c], (int)i) };
            fig_table_estimate(t, i, column, &e, FIG_PERCENT, false);
        }
    }
    rm_text_puts(&t->notes, "Share of the bootstrap resamples of the problems in which no other "
                            "cell is both at least as accurate and at most as expensive. Cells "
                            "that used a verifier or the reference answer have fronts of their "
                            "own.\n");
    fig_table_note_names(v, t);
}

/* ---- trends ------------------------------------------------------------------------------ */

static void build_trends(const fig_view *v, fig_table *t)
{
    size_t family = fig_table_column(t, "Family", "", true);
    size_t swept = fig_table_column(t, "Swept", "", true);
    size_t of = fig_table_column(t, "Of", "", true);
    size_t slope = fig_table_column(t, "Per doubling", "", false);
    size_t p = fig_table_column(t, "p", "", false), holm = fig_table_column(t, "p", "Holm", false);
    size_t verdict = fig_table_column(t, "Verdict", "", true);
    fig_table_rows(t, v->task->n_trends);
    for (size_t i = 0; i < t->n_rows; i++) {
        const rm_trend *trend = &v->task->trends[i];
        const rm_family *f = &v->task->families[trend->family];
        bool accuracy = trend->quantity == RM_Q_ACCURACY;
        rm_text range = { 0 };
        rm_text_printf(&range, "%s %g–%g", f->size_name ? f->size_name : "size",
                       fig_cell(v, f->reports[0])->size, fig_cell(v, f->reports[f->n - 1])->size);
        put_one(v, t, i, family, family_name, trend->family);
        fig_table_put(t, i, swept, &range, NULL);
        fig_table_string(t, i, of, accuracy ? "accuracy, pp" : "log-probability, nats");
        rm_estimate e = trend->corrected;
        e.value = trend->slope.value;
        fig_table_estimate(t, i, slope, &e, accuracy ? FIG_POINTS : FIG_CHANGE, true);
        fig_table_p(t, i, p, trend->p);
        fig_table_p(t, i, holm, trend->p_holm);
        fig_table_string(t, i, verdict, rm_trend_verdict(trend, v->analysis->options.level));
    }
    rm_text_puts(&t->notes,
                 "Per doubling: least-squares change when the size doubles, mean over the problems "
                 "that have all sizes; intervals hold for all trends of one quantity together and "
                 "decide. Test: permutations of the sizes within each problem.\n");
    fig_table_note_names(v, t);
}

/* ---- areas ------------------------------------------------------------------------------- */

static const rm_area *area_of(const fig_view *v, int family, rm_quantity cost)
{
    for (size_t i = 0; i < v->task->n_areas; i++)
        if (v->task->areas[i].family == family && v->task->areas[i].cost == cost)
            return &v->task->areas[i];
    return NULL;
}

static bool any_area(const fig_view *v, int family)
{
    for (int c = 0; c < N_COSTS; c++)
        if (area_of(v, family, front_costs[c]))
            return true;
    return false;
}

static size_t put_areas(const fig_view *v, fig_table *t, int c)
{
    size_t accuracy = fig_table_column(t, cost_heads[c], "accuracy, %", false);
    size_t range = fig_table_column(t, "from–to", c == 0 ? "ms" : "", false), row = 0;
    for (size_t f = 0; f < v->task->n_families; f++) {
        const rm_area *a = area_of(v, (int)f, front_costs[c]);
        if (!any_area(v, (int)f))
            continue;
        rm_text text = { 0 };
        if (a) {
            fig_amount(&text, a->low);
            rm_text_puts(&text, "–");
            fig_amount(&text, a->high);
            fig_table_estimate(t, row, accuracy, &a->accuracy, FIG_PERCENT, true);
            fig_table_put(t, row, range, &text, NULL);
        } else {
            fig_table_string(t, row, accuracy, "–");
            fig_table_string(t, row, range, "–");
        }
        row++;
    }
    return row;
}

static void build_areas(const fig_view *v, fig_table *t)
{
    size_t name = fig_table_column(t, "Family", "", true), n = 0;
    for (size_t f = 0; f < v->task->n_families; f++)
        n += any_area(v, (int)f);
    fig_table_rows(t, n);
    for (size_t f = 0, row = 0; f < v->task->n_families; f++)
        if (any_area(v, (int)f))
            put_one(v, t, row++, name, family_name, (int)f);
    for (int c = 0; c < N_COSTS; c++) {
        bool any = false;
        for (size_t i = 0; i < v->task->n_areas; i++)
            any |= v->task->areas[i].cost == front_costs[c];
        if (any)
            put_areas(v, t, c);
    }
    rm_text_puts(
        &t->notes,
        "Mean accuracy over the family's own range of the cost, every doubling of the cost "
        "counting alike: the area under accuracy against log cost. Ranges differ: compare "
        "families in the table at equal budgets.\n");
    fig_table_note_names(v, t);
}

/* "12.3 [4.5, > 64]": a place that may lie outside of what was measured. */
static void put_place(fig_table *t, size_t row, size_t column, const rm_estimate *e, double low,
                      double high)
{
    rm_text main = { 0 }, aside = { 0 };
    const double ends[3] = { e->value, e->low, e->high };
    for (int i = 0; i < 3; i++) {
        rm_text *out = i ? &aside : &main;
        rm_text_puts(out, i == 1 ? "[" : i == 2 ? ", " : "");
        if (isinf(ends[i])) {
            rm_text_puts(out, ends[i] < 0 ? "< " : "> ");
            fig_amount(out, ends[i] < 0 ? low : high);
        } else {
            fig_amount(out, ends[i]);
        }
        rm_text_puts(out, i == 2 ? "]" : "");
    }
    fig_table_put(t, row, column, &main, &aside);
}

/* The cost that budgets are counted in here: latency where it was measured. JSON has all. */
static rm_quantity budget_cost(const fig_view *v)
{
    for (int c = 0; c < N_COSTS; c++)
        for (size_t i = 0; i < v->task->n_area_pairs; i++)
            if (v->task->area_pairs[i].cost == front_costs[c])
                return front_costs[c];
    return RM_Q_LATENCY_P50_MS;
}

static void put_budget(const fig_view *v, fig_table *t, size_t row, const size_t *column,
                       const rm_area_pair *p)
{
    rm_text range = { 0 };
    put_two(v, t, row, column[0], family_name, p->a, "over", p->b);
    fig_amount(&range, p->low);
    rm_text_puts(&range, "–");
    fig_amount(&range, p->high);
    fig_table_put(t, row, column[1], &range, NULL);
    fig_table_estimate(t, row, column[2], &p->difference, FIG_POINTS, true);
    fig_table_string(t, row, column[3], p->a_ahead ? "first" : "second");
    put_place(t, row, column[4], &p->overtakes, p->low, p->high);
}

static void build_budgets(const fig_view *v, fig_table *t)
{
    rm_quantity cost = budget_cost(v);
    const char *unit = rm_quantity_describe(cost)->unit;
    size_t n = 0, row = 0;
    size_t column[5] = {
        fig_table_column(t, "First over second", "", true),
        fig_table_column(t, "Budgets", unit, false),
        fig_table_column(t, "Difference", "pp", false),
        fig_table_column(t, "Ahead at the end", "", true),
        fig_table_column(t, "from", unit, false),
    };
    for (size_t i = 0; i < v->task->n_area_pairs; i++)
        n += v->task->area_pairs[i].cost == cost;
    fig_table_rows(t, n);
    for (size_t i = 0; i < v->task->n_area_pairs && row < n; i++)
        if (v->task->area_pairs[i].cost == cost)
            put_budget(v, t, row++, column, &v->task->area_pairs[i]);
    rm_text_printf(&t->notes,
                   "Two families over the range of %s that both have. Difference: of their mean "
                   "accuracies over it, every doubling counting alike. From: where the one that "
                   "is ahead at the end takes the lead for good; < and >: outside of the range.\n",
                   rm_quantity_describe(cost)->title);
    rm_text_puts(&t->notes, "Each interval at its own level: with many pairs some will lie beyond "
                            "0 by chance.\n");
    fig_table_note_names(v, t);
}

/* ---- pools ------------------------------------------------------------------------------- */

/* The longest fit of its family, and not that of an earlier cell with the same draws. */
bool fig_longest_fit(const fig_view *v, size_t report)
{
    const rm_scaling *mine = &v->task->cells[report].scaling;
    const rm_cell *cell = fig_cell(v, (int)report);
    for (size_t i = 0; i < v->task->n_cells; i++) {
        const rm_scaling *other = &v->task->cells[i].scaling;
        const rm_cell *of = fig_cell(v, (int)i);
        if (!strcmp(of->family, cell->family) && other->n_points > mine->n_points)
            return false;
        if (i < report && other->n_points == mine->n_points &&
            (!strcmp(of->family, cell->family) ||
             (!strcmp(of->model, cell->model) && other->a.value == mine->a.value &&
              other->b.value == mine->b.value)))
            return false;
    }
    return mine->n_points > 0;
}

const rm_subset_curve *fig_coverage_of(const rm_cell_report *r)
{
    for (size_t i = 0; i < r->n_curves; i++)
        if (r->curves[i].kind == RM_PASS_AT_K)
            return &r->curves[i];
    return NULL;
}

static void build_scaling(const fig_view *v, fig_table *t)
{
    size_t name = fig_table_column(t, "Pool", "", true), n = 0, row = 0;
    size_t one = fig_table_column(t, "pass@1", "%", false);
    size_t all = fig_table_column(t, "pass@max", "%", false);
    size_t most = fig_table_column(t, "max k", "", false);
    t->columns[most].detail = true; /* names of pools say it */
    size_t a = fig_table_column(t, "a", "", false), b = fig_table_column(t, "b", "", false);
    size_t rmse = fig_table_column(t, "Error", "pp", false);
    for (size_t i = 0; i < v->task->n_cells; i++)
        n += fig_longest_fit(v, i);
    fig_table_rows(t, n);
    for (size_t i = 0; i < v->task->n_cells && row < n; i++) {
        const rm_cell_report *r = &v->task->cells[i];
        const rm_subset_curve *curve = fig_coverage_of(r);
        if (!fig_longest_fit(v, i) || !curve)
            continue;
        size_t last = curve->n_points - 1;
        put_report(v, t, row, name, (int)i);
        fig_table_estimate(t, row, one, &curve->value[0], FIG_PERCENT, true);
        fig_table_estimate(t, row, all, &curve->value[last], FIG_PERCENT, true);
        fig_table_estimate(t, row, most, &(rm_estimate){ .value = (double)curve->k[last] },
                           FIG_AMOUNT, false);
        fig_table_estimate(t, row, a, &r->scaling.a, FIG_DECIMAL, true);
        fig_table_estimate(t, row, b, &r->scaling.b, FIG_DECIMAL, true);
        fig_table_estimate(t, row++, rmse, &(rm_estimate){ .value = r->scaling.rmse }, FIG_PERCENT,
                           false);
    }
    rm_text_puts(
        &t->notes,
        "pass@k = exp(−a k^−b), least squares over k = 1, 2, 4, …: a is how far one sample "
        "falls short, b how fast more samples close the gap. Intervals from fitting every "
        "resample of the problems again. Error: root mean square distance of the points. "
        "The law describes the measured range and promises nothing beyond it.\n");
    for (size_t i = 0; i < v->task->n_cells; i++) {
        const rm_estimate *e = &v->task->cells[i].scaling.b;
        bool unsolved = e->method == RM_FEW_UNSOLVED;
        if (!fig_longest_fit(v, i) || (!unsolved && e->method != RM_FEW_SOLVED))
            continue;
        rm_text_puts(&t->notes, "Intervals of a and b too narrow, since few problems are ");
        rm_text_puts(&t->notes, unsolved ? "unsolved at the largest k: " : "solved at k = 1: ");
        report_name(v, (int)i, &t->notes);
        rm_text_puts(&t->notes, ".\n");
    }
    fig_table_note_names(v, t);
}

static void build_crossings(const fig_view *v, fig_table *t)
{
    size_t name = fig_table_column(t, "Pool and what it is held against", "", true);
    size_t curve = fig_table_column(t, "Curve", "", true);
    size_t at = fig_table_column(t, "from k", "", false);
    size_t inside = fig_table_column(t, "Inside", "%", false);
    fig_table_rows(t, v->task->n_crossings + v->task->n_passes);
    for (size_t i = 0; i < t->n_rows; i++) {
        bool crossing = i < v->task->n_crossings;
        const rm_crossing *c = crossing ? &v->task->crossings[i] : NULL;
        const rm_equal_passes *p = crossing ? NULL : &v->task->passes[i - v->task->n_crossings];
        rm_subset_kind kind = crossing ? c->kind : p->kind;
        fig_table_string(t, i, curve, kind == RM_PASS_AT_K ? "pass@k" : "maj@k");
        put_two(v, t, i, name, report_name, crossing ? c->ahead : p->pool,
                crossing ? "overtakes" : "equals one pass of", crossing ? c->behind : p->cell);
        put_place(t, i, at, crossing ? &c->at : &p->at, 1,
                  (double)(crossing ? c->k_most : p->k_most));
        rm_estimate share = { .value = crossing ? c->inside : p->inside };
        fig_table_estimate(t, i, inside, &share, FIG_PERCENT, false);
    }
    rm_text_puts(&t->notes,
                 "The number of samples from which the pool's curve stays above the other's, or "
                 "above one pass of a cell; < 1: it is above from the first sample on; > k: not "
                 "within the samples both have. Inside: share of the resamples of the problems "
                 "that cross within the measured range.\n");
    fig_table_note_names(v, t);
}

/* ---- tuning ------------------------------------------------------------------------------ */

static void build_tuning(const fig_view *v, fig_table *t)
{
    static const char *const heads[] = { "1", "2", "3", "4", "6", "8", "12", "16" };
    static const size_t at[] = { 1, 2, 3, 4, 6, 8, 12, 16 };
    size_t name = fig_table_column(t, "Strategy", "", true), most = 0;
    size_t settings = fig_table_column(t, "Settings", "", false);
    fig_table_rows(t, v->task->n_tunings);
    for (size_t i = 0; i < t->n_rows; i++) {
        const rm_tuning *tuning = &v->task->tunings[i];
        most = tuning->n > most ? tuning->n : most;
        put_one(v, t, i, name, tuning_name, (int)i);
        fig_table_estimate(t, i, settings, &(rm_estimate){ .value = (double)tuning->n }, FIG_AMOUNT,
                           false);
    }
    for (size_t m = 0; m < sizeof at / sizeof *at && at[m] <= most; m++) {
        size_t column = fig_table_column(t, "Best of", heads[m], false);
        for (size_t i = 0; i < t->n_rows; i++) {
            const rm_tuning *tuning = &v->task->tunings[i];
            if (at[m] <= tuning->n)
                fig_table_estimate(t, i, column, &tuning->value[at[m] - 1], FIG_PERCENT, true);
            else
                fig_table_string(t, i, column, "–");
        }
    }
    rm_text_puts(&t->notes,
                 "Expected accuracy (%) of the best of m settings, chosen on one half of the "
                 "problems and judged on the other, mean over random halves. Settings differ in "
                 "cost too: the best may be the most expensive one.\n");
    fig_table_note_names(v, t);
}

static void build_equal_tuning(const fig_view *v, fig_table *t)
{
    size_t pair_at = fig_table_column(t, "Better over other", "", true);
    size_t m = fig_table_column(t, "m", "", false);
    size_t difference = fig_table_column(t, "Difference", "pp", false);
    fig_table_rows(t, v->task->n_tuning_pairs);
    for (size_t i = 0; i < t->n_rows; i++) {
        const rm_tuning_pair *pair = &v->task->tuning_pairs[i];
        put_two(v, t, i, pair_at, tuning_name, pair->a, "over", pair->b);
        fig_table_estimate(t, i, m, &(rm_estimate){ .value = (double)pair->m }, FIG_AMOUNT, false);
        fig_table_estimate(t, i, difference, &pair->difference, FIG_POINTS, true);
    }
    rm_text_puts(
        &t->notes,
        "Difference of the expected accuracies of the best of m settings, tuned and judged "
        "on different problems. Each interval at its own level.\n");
    fig_table_note_names(v, t);
}

/* ---- the list ---------------------------------------------------------------------------- */

bool fig_table_has(const fig_view *v, rm_table kind)
{
    size_t fits = 0;
    for (size_t i = 0; i < v->task->n_cells; i++)
        fits += v->task->cells[i].scaling.n_points > 0;
    switch (kind) {
    case RM_TABLE_RESULTS:
    case RM_TABLE_COST:
        return true;
    case RM_TABLE_COMPARISONS:
        return v->task->n_comparisons + v->task->n_pairs > 0;
    case RM_TABLE_FRONT:
        return v->task->n_cells > 1 &&
               (has_cost(v, RM_Q_LATENCY_P50_MS) || has_cost(v, RM_Q_GENERATED_TOKENS) ||
                has_cost(v, RM_Q_FLOPS));
    case RM_TABLE_TRENDS:
        return v->task->n_trends > 0;
    case RM_TABLE_AREAS:
        return v->task->n_areas > 0;
    case RM_TABLE_BUDGETS:
        return v->task->n_area_pairs > 0;
    case RM_TABLE_SCALING:
        return fits > 0;
    case RM_TABLE_CROSSINGS:
        return v->task->n_crossings + v->task->n_passes > 0;
    case RM_TABLE_TUNING:
        return v->task->n_tunings > 0;
    case RM_TABLE_EQUAL_TUNING:
        return v->task->n_tuning_pairs > 0;
    case RM_N_TABLES:
        break;
    }
    return false;
}

void fig_table_curves(const fig_view *v, rm_table kind, fig_table *t)
{
    static void (*const build[RM_N_TABLES])(const fig_view *, fig_table *) = {
        [RM_TABLE_FRONT] = build_front,     [RM_TABLE_TRENDS] = build_trends,
        [RM_TABLE_AREAS] = build_areas,     [RM_TABLE_BUDGETS] = build_budgets,
        [RM_TABLE_SCALING] = build_scaling, [RM_TABLE_CROSSINGS] = build_crossings,
        [RM_TABLE_TUNING] = build_tuning,   [RM_TABLE_EQUAL_TUNING] = build_equal_tuning,
    };
    if (build[kind])
        build[kind](v, t);
}
