/* table.c - the tables of a task: what stands in them. Tables of curves: table_curves.c; how all
 * are written: table_print.c.
 *
 * Columns in which no cell has a number are left out. An estimate is its value with its interval
 * beside it; the notes below say how the intervals were computed, which are corrected for the
 * number of comparisons, and what the daggers mean. */
#include "plots/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- cells ------------------------------------------------------------------------------- */

static fig_cell_text *cell_at(fig_table *t, size_t row, size_t column)
{
    return &t->cells[row * FIG_MAX_COLUMNS + column];
}

size_t fig_table_column(fig_table *t, const char *head, const char *unit, bool left)
{
    if (t->n_columns < FIG_MAX_COLUMNS)
        t->columns[t->n_columns++] = (fig_column){ head, unit, left, false };
    return t->n_columns - 1;
}

void fig_table_rows(fig_table *t, size_t n)
{
    t->cells = calloc(n ? n : 1, FIG_MAX_COLUMNS * sizeof *t->cells);
    if (t->cells)
        t->n_rows = n;
    else
        t->failed = true;
}

/* Moves the text into a cell; takes it over. */
void fig_table_put(fig_table *t, size_t row, size_t column, rm_text *main, rm_text *aside)
{
    if (t->failed || main->failed || (aside && aside->failed)) {
        t->failed = true;
        rm_text_free(main);
        if (aside)
            rm_text_free(aside);
        return;
    }
    fig_cell_text *c = cell_at(t, row, column);
    c->main = main->data;
    c->aside = aside ? aside->data : NULL;
}

void fig_table_string(fig_table *t, size_t row, size_t column, const char *text)
{
    rm_text main = { 0 };
    rm_text_puts(&main, text);
    fig_table_put(t, row, column, &main, NULL);
}

void fig_amount(rm_text *out, double v)
{
    if (isnan(v)) {
        rm_text_puts(out, "–");
        return;
    }
    if (isinf(v)) {
        rm_text_puts(out, v > 0 ? "∞" : "−∞");
        return;
    }
    char text[24];
    double size = fabs(v);
    if (size >= 100 && size < 1e4)
        v = round(v);
    else if (size < 100 && size > 0) { /* three digits */
        double unit = pow(10, 2 - floor(log10(size)));
        v = round(v * unit) / unit;
    }
    fig_number(v, text);
    rm_text_puts(out, text);
}

static void fixed(rm_text *out, double v, int digits, bool plus)
{
    if (!isfinite(v))
        fig_amount(out, v);
    else {
        double tiny = 0.5 * pow(10, -digits);
        rm_text_printf(out, "%s%.*f",
                       v <= -tiny          ? "−"
                       : plus && v >= tiny ? "+"
                                           : "",
                       digits, fabs(v));
    }
}

void fig_form_print(rm_text *out, double v, fig_form f)
{
    switch (f) {
    case FIG_PERCENT:
        fixed(out, 100 * v, 1, false);
        break;
    case FIG_POINTS:
        fixed(out, 100 * v, 1, true);
        break;
    case FIG_AMOUNT:
        fig_amount(out, v);
        break;
    case FIG_DECIMAL:
        fixed(out, v, 2, false);
        break;
    case FIG_CHANGE:
        fixed(out, v, 3, true);
        break;
    }
}

void fig_table_estimate(fig_table *t, size_t row, size_t column, const rm_estimate *e, fig_form f,
                        bool interval)
{
    rm_text main = { 0 }, aside = { 0 };
    fig_form_print(&main, e->value, f);
    bool has = interval && isfinite(e->value) && !isnan(e->low) && !isnan(e->high);
    if (has && isinf(e->low) && isinf(e->high)) {
        has = false;                    /* too few values for either end: nothing is known */
    } else if (has && isinf(e->high)) { /* too few values for an upper end */
        rm_text_puts(&aside, "[≥ ");
        fig_form_print(&aside, e->low, f);
        rm_text_puts(&aside, "]");
    } else if (has && isinf(e->low)) {
        rm_text_puts(&aside, "[≤ ");
        fig_form_print(&aside, e->high, f);
        rm_text_puts(&aside, "]");
    } else if (has) {
        rm_text_puts(&aside, "[");
        fig_form_print(&aside, e->low, f);
        rm_text_puts(&aside, ", ");
        fig_form_print(&aside, e->high, f);
        rm_text_puts(&aside, "]");
    }
    fig_table_put(t, row, column, &main, has ? &aside : NULL);
}

void fig_table_p(fig_table *t, size_t row, size_t column, double p)
{
    rm_text main = { 0 };
    if (isnan(p))
        rm_text_puts(&main, "–");
    else if (p < 0.001)
        rm_text_puts(&main, "<0.001");
    else
        rm_text_printf(&main, "%.3f", p);
    fig_table_put(t, row, column, &main, NULL);
}

void fig_table_name(const fig_view *v, fig_table *t, size_t row, size_t column, int cell)
{
    const rm_cell *of = &v->analysis->records->cells[cell];
    rm_text main = { 0 };
    rm_text_printf(&main, "%s%s", fig_name_of(v, of), fig_dagger(of));
    fig_table_put(t, row, column, &main, NULL);
}

/* ---- notes ------------------------------------------------------------------------------- */

/* "Accuracy: Wilson; BCa bootstrap over problems." from the distinct methods of a quantity. */
static void note_methods(const fig_view *v, fig_table *t, rm_quantity q, const char *what)
{
    const char *seen[8];
    size_t n = 0;
    for (size_t i = 0; i < v->task->n_cells; i++) {
        const rm_estimate *e = fig_quantity(v, (int)i, q);
        if (!isfinite(e->value) || isnan(e->low) || !e->method || !*e->method)
            continue;
        size_t k = 0;
        while (k < n && strcmp(seen[k], e->method))
            k++;
        if (k == n && n < 8)
            seen[n++] = e->method;
    }
    for (size_t k = 0; k < n; k++)
        rm_text_printf(&t->notes, "%s%s", k ? "; " : what, seen[k]);
    if (n)
        rm_text_puts(&t->notes, ".\n");
}

/* What stands below every table: whose names are short, what the daggers mean. */
void fig_table_note_names(const fig_view *v, fig_table *t)
{
    if (v->main_model)
        rm_text_printf(&t->notes, "Model, where none is named: %s.\n", v->main_model);
    bool verifier = false, oracle = false;
    for (size_t i = 0; i < v->task->n_cells; i++) {
        verifier |= fig_cell(v, (int)i)->verifier && !fig_cell(v, (int)i)->oracle;
        oracle |= fig_cell(v, (int)i)->oracle;
    }
    if (verifier)
        rm_text_puts(&t->notes, "† An exact verifier took part: not comparable with the others.\n");
    if (oracle)
        rm_text_puts(&t->notes, "‡ Oracle: the reference answer took part; an upper bound.\n");
}

/* The baseline's label if all comparisons have one and the same. */
static const char *common_baseline(const fig_view *v)
{
    const rm_task_report *t = v->task;
    for (size_t i = 1; i < t->n_comparisons; i++)
        if (t->comparisons[i].b != t->comparisons[0].b)
            return NULL;
    return t->n_comparisons ? v->analysis->records->cells[t->comparisons[0].b].label : NULL;
}

/* Sentence on a second family, that of the pairs which the experiment states. */
static void note_pairs(const fig_view *v, fig_table *t)
{
    size_t n = v->task->n_pairs;
    if (n)
        rm_text_printf(&t->notes,
                       "The last %zu row%s: stated before the run, a family of %s own.\n", n,
                       n == 1 ? "" : "s", n == 1 ? "its" : "their");
}

static void note_comparisons(const fig_view *v, fig_table *t)
{
    if (!v->task->n_comparisons)
        return;
    const char *baseline = common_baseline(v);
    rm_text_puts(&t->notes, "Differences are paired over common problems");
    if (baseline)
        rm_text_printf(&t->notes, "; baseline: %s", baseline);
    rm_text_printf(&t->notes,
                   "; intervals hold for the %zu comparison%s together (Bonferroni) and decide, "
                   "p-values are Holm-adjusted.\n",
                   v->task->comparisons[0].n_family,
                   v->task->comparisons[0].n_family == 1 ? "" : "s");
}

/* ---- tables ------------------------------------------------------------------------------ */

static bool any_value(const fig_view *v, rm_quantity q)
{
    for (size_t i = 0; i < v->task->n_cells; i++)
        if (isfinite(fig_quantity(v, (int)i, q)->value))
            return true;
    return false;
}

static void quantity_column(const fig_view *v, fig_table *t, rm_quantity q, const char *head,
                            const char *unit, fig_form f, bool interval)
{
    if (!any_value(v, q))
        return;
    size_t column = fig_table_column(t, head, unit, false);
    for (size_t i = 0; i < t->n_rows; i++)
        fig_table_estimate(t, i, column, fig_quantity(v, (int)i, q), f, interval);
}

static const rm_comparison *comparison_of(const fig_view *v, int cell)
{
    for (size_t i = 0; i < v->task->n_comparisons; i++)
        if (v->task->comparisons[i].a == cell)
            return &v->task->comparisons[i];
    return NULL;
}

static void difference_columns(const fig_view *v, fig_table *t)
{
    if (!v->task->n_comparisons)
        return;
    size_t column = fig_table_column(t, "Δ to baseline", "pp", false);
    size_t column_p = fig_table_column(t, "p", "Holm", false);
    for (size_t i = 0; i < t->n_rows; i++) {
        const rm_comparison *c = comparison_of(v, v->task->cells[i].cell);
        if (!c) {
            fig_table_string(t, i, column, "–");
            fig_table_string(t, i, column_p, "–");
            continue;
        }
        rm_estimate e = c->corrected;
        e.value = c->difference.value;
        fig_table_estimate(t, i, column, &e, FIG_POINTS, true);
        fig_table_p(t, i, column_p, c->p_holm);
    }
}

static void build_results(const fig_view *v, fig_table *t)
{
    size_t name = fig_table_column(t, "Strategy", "", true);
    fig_table_rows(t, v->task->n_cells);
    for (size_t i = 0; i < t->n_rows; i++)
        fig_table_name(v, t, i, name, v->task->cells[i].cell);
    quantity_column(v, t, RM_Q_ACCURACY, "Accuracy", "%", FIG_PERCENT, true);
    difference_columns(v, t);
    quantity_column(v, t, RM_Q_GENERATED_TOKENS, "Tokens", "", FIG_AMOUNT, false);
    quantity_column(v, t, RM_Q_FLOPS, "FLOPs", "", FIG_AMOUNT, false);
    quantity_column(v, t, RM_Q_LATENCY_P50_MS, "Latency p50", "ms", FIG_AMOUNT, true);
    quantity_column(v, t, RM_Q_LATENCY_P95_MS, "Latency p95", "ms", FIG_AMOUNT, true);
    quantity_column(v, t, RM_Q_MISSING, "Missing", "%", FIG_PERCENT, false);
    quantity_column(v, t, RM_Q_TRUNCATED, "Cut off", "%", FIG_PERCENT, false);
    rm_text_printf(&t->notes, "Means over %zu problem%s; %.4g%% intervals in brackets.\n",
                   v->task->n_problems, v->task->n_problems == 1 ? "" : "s",
                   100 * v->analysis->options.level);
    note_methods(v, t, RM_Q_ACCURACY, "Accuracy: ");
    note_methods(v, t, RM_Q_LATENCY_P50_MS, "Latency: ");
    if (fig_latency_problems(v) && fig_latency_problems(v) != v->task->n_problems)
        rm_text_printf(&t->notes, "Latency was measured on %zu problems, one at a time.\n",
                       fig_latency_problems(v));
    note_comparisons(v, t);
    rm_text_puts(&t->notes, "Tokens: all generated ones, discarded branches included. Missing: no "
                            "answer could be extracted; cut off: by a length limit.\n");
    fig_table_note_names(v, t);
}

static void build_cost(const fig_view *v, fig_table *t)
{
    static const struct {
        rm_quantity q;
        const char *head, *unit;
        fig_form f;
        bool detail;
    } columns[] = {
        { RM_Q_CANDIDATES, "Candidates", "", FIG_AMOUNT, false },
        { RM_Q_PROMPT_TOKENS, "Prompt", "tokens", FIG_AMOUNT, true },
        { RM_Q_GENERATED_TOKENS, "Generated", "tokens", FIG_AMOUNT, false },
        { RM_Q_EVALUATED_TOKENS, "Evaluated", "tokens", FIG_AMOUNT, true },
        { RM_Q_SHARED_TOKENS, "Shared", "tokens", FIG_AMOUNT, false },
        { RM_Q_ROUNDS, "Rounds", "", FIG_AMOUNT, true },
        { RM_Q_FLOPS, "FLOPs", "", FIG_AMOUNT, false },
        { RM_Q_WEIGHT_BYTES, "Weights read", "bytes", FIG_AMOUNT, true },
        { RM_Q_KV_BYTES, "KV read", "bytes", FIG_AMOUNT, true },
        { RM_Q_KV_PEAK, "KV peak", "positions", FIG_AMOUNT, true },
        { RM_Q_ENERGY_J, "Energy", "J", FIG_AMOUNT, true },
        { RM_Q_TOKENS_PER_CORRECT, "Per correct", "tokens", FIG_AMOUNT, false },
        { RM_Q_FLOPS_PER_CORRECT, "Per correct", "FLOPs", FIG_AMOUNT, true },
        { RM_Q_TTFT_P50_MS, "First token", "ms, p50", FIG_AMOUNT, true },
        { RM_Q_TOKENS_PER_S, "Throughput", "tokens/s", FIG_AMOUNT, false },
        { RM_Q_DISTINCT_ANSWERS, "Distinct", "answers", FIG_DECIMAL, false },
        { RM_Q_ANSWER_ENTROPY, "Entropy", "nats", FIG_DECIMAL, true },
        { RM_Q_DISTINCT_2, "Distinct-2", "", FIG_DECIMAL, true },
        { RM_Q_EDIT_DISTANCE, "Edit dist.", "", FIG_DECIMAL, true },
        { RM_Q_FAILED, "Failed", "%", FIG_PERCENT, true },
    };
    size_t name = fig_table_column(t, "Strategy", "", true);
    fig_table_rows(t, v->task->n_cells);
    for (size_t i = 0; i < t->n_rows; i++)
        fig_table_name(v, t, i, name, v->task->cells[i].cell);
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
        if (any_value(v, columns[c].q)) {
            quantity_column(v, t, columns[c].q, columns[c].head, columns[c].unit, columns[c].f,
                            false);
            t->columns[t->n_columns - 1].detail = columns[c].detail;
        }
    rm_text_printf(&t->notes,
                   "Means over %zu problem%s of each outcome's own account, counted as if "
                   "it had run alone; shared: positions that forked paths did not need to "
                   "evaluate again.\n",
                   v->task->n_problems, v->task->n_problems == 1 ? "" : "s");
    if (any_value(v, RM_Q_DISTINCT_ANSWERS))
        rm_text_printf(&t->notes, "Diversity of %zu candidates a problem.\n",
                       v->analysis->options.diversity_k);
    fig_table_note_names(v, t);
}

/* Row i of the table: the comparisons with the baseline, then the stated pairs. */
static const rm_comparison *comparison_at(const rm_task_report *task, size_t i)
{
    return i < task->n_comparisons ? &task->comparisons[i] : &task->pairs[i - task->n_comparisons];
}

static size_t comparison_rows(const rm_task_report *task)
{
    return task->n_comparisons + task->n_pairs;
}

/* The test's name if all rows had the same; likewise their number of problems. */
static const char *common_test(const rm_task_report *task)
{
    const char *test = comparison_rows(task) ? comparison_at(task, 0)->test : NULL;
    for (size_t i = 0; test && i < comparison_rows(task); i++)
        if (!comparison_at(task, i)->test || strcmp(comparison_at(task, i)->test, test))
            return NULL;
    return test;
}

static bool common_n(const rm_task_report *task)
{
    for (size_t i = 1; i < comparison_rows(task); i++)
        if (comparison_at(task, i)->n != comparison_at(task, 0)->n)
            return false;
    return true;
}

static void put_interval(fig_table *t, size_t row, size_t column, const rm_estimate *e)
{
    rm_text interval = { 0 };
    rm_text_puts(&interval, "[");
    fig_form_print(&interval, e->low, FIG_POINTS);
    rm_text_puts(&interval, ", ");
    fig_form_print(&interval, e->high, FIG_POINTS);
    rm_text_puts(&interval, "]");
    fig_table_put(t, row, column, &interval, NULL);
}

/* Columns of the table of comparisons; 0 for those that a note says once for all rows. */
typedef struct comparison_columns {
    size_t a, b, n, only_a, only_b, difference, alone, corrected, p, holm, verdict, claim,
        detectable, test;
} comparison_columns;

static comparison_columns add_comparison_columns(const fig_view *v, fig_table *t)
{
    comparison_columns at = { .a = fig_table_column(t, "Strategy", "", true) };
    if (!common_baseline(v) || v->task->n_pairs)
        at.b = fig_table_column(t, "Baseline", "", true);
    if (!common_n(v->task))
        at.n = fig_table_column(t, "n", "", false);
    at.only_a = fig_table_column(t, "Only it", "solved", false);
    at.only_b = fig_table_column(t, "Only base", "solved", false);
    at.difference = fig_table_column(t, "Difference", "pp", false);
    at.alone = fig_table_column(t, "Interval", "alone", false);
    t->columns[at.alone].detail = true;
    at.corrected = fig_table_column(t, "Interval", "corrected", false);
    at.p = fig_table_column(t, "p", "", false);
    t->columns[at.p].detail = true;
    at.holm = fig_table_column(t, "p", "Holm", false);
    at.verdict = fig_table_column(t, "Verdict", "", true);
    if (v->analysis->options.direction)
        at.claim =
            fig_table_column(t, "Claim", rm_direction_names[v->analysis->options.direction], true);
    at.detectable = fig_table_column(t, "Detectable", "pp", false);
    t->columns[at.detectable].detail = true;
    if (!common_test(v->task))
        at.test = fig_table_column(t, "Test", "", true);
    return at;
}

static void put_comparison(const fig_view *v, fig_table *t, const comparison_columns *at, size_t i)
{
    const rm_comparison *c = comparison_at(v->task, i);
    fig_table_name(v, t, i, at->a, c->a);
    if (at->b)
        fig_table_name(v, t, i, at->b, c->b);
    if (at->n)
        fig_table_estimate(t, i, at->n, &(rm_estimate){ .value = (double)c->n }, FIG_AMOUNT, false);
    fig_table_estimate(t, i, at->only_a, &(rm_estimate){ .value = c->only_a }, FIG_AMOUNT, false);
    fig_table_estimate(t, i, at->only_b, &(rm_estimate){ .value = c->only_b }, FIG_AMOUNT, false);
    fig_table_estimate(t, i, at->difference, &c->difference, FIG_POINTS, false);
    put_interval(t, i, at->alone, &c->difference);
    put_interval(t, i, at->corrected, &c->corrected);
    fig_table_p(t, i, at->p, c->p);
    fig_table_p(t, i, at->holm, c->p_holm);
    fig_table_string(t, i, at->verdict, rm_comparison_verdict(c, v->analysis->options.level));
    if (at->claim)
        fig_table_string(t, i, at->claim,
                         rm_verdict_name(rm_comparison_claim(c, &v->analysis->options)));
    fig_table_estimate(t, i, at->detectable, &(rm_estimate){ .value = c->detectable }, FIG_PERCENT,
                       false);
    if (at->test)
        fig_table_string(t, i, at->test, c->test ? c->test : "–");
}

static void note_claim(const fig_view *v, fig_table *t)
{
    const rm_analysis_options *o = &v->analysis->options;
    bool higher = o->direction == RM_DIRECTION_HIGHER;
    if (o->direction == RM_DIRECTION_NONE)
        return;
    rm_text_printf(&t->notes,
                   "\nClaim: the accuracy is %s. It is supported where the corrected "
                   "interval lies ",
                   rm_direction_names[o->direction]);
    if (o->direction == RM_DIRECTION_EQUAL)
        rm_text_puts(&t->notes, "inside the margin, and refuted where it lies outside.");
    else
        rm_text_printf(&t->notes, "%s 0, and refuted where it lies %s %s%.4g points.",
                       higher ? "above" : "below", higher ? "below" : "above",
                       o->margin > 0 ? (higher ? "+" : "−") : "", 100 * o->margin);
}

static void build_comparisons(const fig_view *v, fig_table *t)
{
    comparison_columns at = add_comparison_columns(v, t);
    fig_table_rows(t, comparison_rows(v->task));
    for (size_t i = 0; i < t->n_rows; i++)
        put_comparison(v, t, &at, i);
    note_comparisons(v, t);
    note_pairs(v, t);
    if (!at.test && common_test(v->task))
        rm_text_printf(&t->notes, "Test: %s", common_test(v->task));
    if (!at.test && !at.n && t->n_rows)
        rm_text_printf(&t->notes, ", n = %zu.\n", comparison_at(v->task, 0)->n);
    else if (!at.test)
        rm_text_puts(&t->notes, ".\n");
    rm_text_puts(&t->notes,
                 "The corrected interval decides: better or worse where it excludes 0; borderline, "
                 "and as undecided as inconclusive, where only the adjusted p is small.");
    if (v->analysis->options.margin > 0)
        rm_text_printf(&t->notes, " Equal: it lies inside the stated margin of ±%.4g points.",
                       100 * v->analysis->options.margin);
    note_claim(v, t);
    rm_text_printf(&t->notes,
                   "\nDetectable: the smallest true difference found with a probability of "
                   "%.4g%% at this size.\n",
                   100 * v->analysis->options.power);
    fig_table_note_names(v, t);
}

rm_status fig_table_build(const fig_view *v, rm_table kind, fig_table *t, rm_error *err)
{
    *t = (fig_table){ 0 };
    switch (kind) {
    case RM_TABLE_RESULTS:
        build_results(v, t);
        break;
    case RM_TABLE_COST:
        build_cost(v, t);
        break;
    case RM_TABLE_COMPARISONS:
        build_comparisons(v, t);
        break;
    case RM_TABLE_FRONT:
    case RM_TABLE_TRENDS:
    case RM_TABLE_AREAS:
    case RM_TABLE_BUDGETS:
    case RM_TABLE_SCALING:
    case RM_TABLE_CROSSINGS:
    case RM_TABLE_TUNING:
    case RM_TABLE_EQUAL_TUNING:
        fig_table_curves(v, kind, t);
        break;
    case RM_N_TABLES:
        break;
    }
    if (!t->failed && !t->notes.failed)
        return RM_OK;
    fig_table_free(t);
    return rm_fail(err, RM_E_MEMORY, "There is no memory for a table.");
}

void fig_table_free(fig_table *t)
{
    for (size_t i = 0; t->cells && i < t->n_rows * FIG_MAX_COLUMNS; i++) {
        free(t->cells[i].main);
        free(t->cells[i].aside);
    }
    free(t->cells);
    rm_text_free(&t->notes);
    *t = (fig_table){ 0 };
}
