/* table.c - the tables of a task: what stands in them. How they are written: table_print.c.
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

static size_t add_column(fig_table *t, const char *head, const char *unit, bool left)
{
    if (t->n_columns < FIG_MAX_COLUMNS)
        t->columns[t->n_columns++] = (fig_column){ head, unit, left };
    return t->n_columns - 1;
}

static void set_rows(fig_table *t, size_t n)
{
    t->cells = calloc(n ? n : 1, FIG_MAX_COLUMNS * sizeof *t->cells);
    if (t->cells)
        t->n_rows = n;
    else
        t->failed = true;
}

/* Moves the text into a cell; takes it over. */
static void put(fig_table *t, size_t row, size_t column, rm_text *main, rm_text *aside)
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

static void put_string(fig_table *t, size_t row, size_t column, const char *text)
{
    rm_text main = { 0 };
    rm_text_puts(&main, text);
    put(t, row, column, &main, NULL);
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
        rm_text_printf(out, "%s%.*f", v <= -tiny ? "−" : plus ? "+" : "", digits, fabs(v));
    }
}

typedef enum form { PERCENT, POINTS, AMOUNT, DECIMAL } form;

static void print_form(rm_text *out, double v, form f)
{
    switch (f) {
    case PERCENT:
        fixed(out, 100 * v, 1, false);
        break;
    case POINTS:
        fixed(out, 100 * v, 1, true);
        break;
    case AMOUNT:
        fig_amount(out, v);
        break;
    case DECIMAL:
        fixed(out, v, 2, false);
        break;
    }
}

static void put_estimate(fig_table *t, size_t row, size_t column, const rm_estimate *e, form f,
                         bool interval)
{
    rm_text main = { 0 }, aside = { 0 };
    print_form(&main, e->value, f);
    bool has = interval && isfinite(e->value) && !isnan(e->low) && !isnan(e->high);
    if (has) {
        rm_text_puts(&aside, "[");
        print_form(&aside, e->low, f);
        rm_text_puts(&aside, ", ");
        print_form(&aside, e->high, f);
        rm_text_puts(&aside, "]");
    }
    put(t, row, column, &main, has ? &aside : NULL);
}

static void put_p(fig_table *t, size_t row, size_t column, double p)
{
    rm_text main = { 0 };
    if (isnan(p))
        rm_text_puts(&main, "–");
    else if (p < 0.001)
        rm_text_puts(&main, "<0.001");
    else
        rm_text_printf(&main, "%.3f", p);
    put(t, row, column, &main, NULL);
}

static void put_name(fig_table *t, size_t row, size_t column, const rm_cell *cell)
{
    rm_text main = { 0 };
    rm_text_printf(&main, "%s%s", cell->label, fig_dagger(cell));
    put(t, row, column, &main, NULL);
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

static void note_daggers(const fig_view *v, fig_table *t)
{
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

static void note_comparisons(const fig_view *v, fig_table *t)
{
    if (!v->task->n_comparisons)
        return;
    const char *baseline = common_baseline(v);
    rm_text_puts(&t->notes, "Differences are paired over common problems");
    if (baseline)
        rm_text_printf(&t->notes, "; baseline: %s", baseline);
    rm_text_printf(&t->notes,
                   "; intervals hold for the %zu comparison%s together (Bonferroni), p-values are "
                   "Holm-adjusted.\n",
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
                            const char *unit, form f, bool interval)
{
    if (!any_value(v, q))
        return;
    size_t column = add_column(t, head, unit, false);
    for (size_t i = 0; i < t->n_rows; i++)
        put_estimate(t, i, column, fig_quantity(v, (int)i, q), f, interval);
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
    size_t column = add_column(t, "Δ to baseline", "pp", false);
    size_t column_p = add_column(t, "p", "Holm", false);
    for (size_t i = 0; i < t->n_rows; i++) {
        const rm_comparison *c = comparison_of(v, v->task->cells[i].cell);
        if (!c) {
            put_string(t, i, column, "–");
            put_string(t, i, column_p, "–");
            continue;
        }
        rm_estimate e = c->corrected;
        e.value = c->difference.value;
        put_estimate(t, i, column, &e, POINTS, true);
        put_p(t, i, column_p, c->p_holm);
    }
}

static void build_results(const fig_view *v, fig_table *t)
{
    size_t name = add_column(t, "Strategy", "", true);
    set_rows(t, v->task->n_cells);
    for (size_t i = 0; i < t->n_rows; i++)
        put_name(t, i, name, fig_cell(v, (int)i));
    quantity_column(v, t, RM_Q_ACCURACY, "Accuracy", "%", PERCENT, true);
    difference_columns(v, t);
    quantity_column(v, t, RM_Q_GENERATED_TOKENS, "Tokens", "", AMOUNT, false);
    quantity_column(v, t, RM_Q_FLOPS, "FLOPs", "", AMOUNT, false);
    quantity_column(v, t, RM_Q_LATENCY_P50_MS, "Latency p50", "ms", AMOUNT, true);
    quantity_column(v, t, RM_Q_LATENCY_P95_MS, "Latency p95", "ms", AMOUNT, true);
    quantity_column(v, t, RM_Q_MISSING, "Missing", "%", PERCENT, false);
    quantity_column(v, t, RM_Q_TRUNCATED, "Cut off", "%", PERCENT, false);
    rm_text_printf(&t->notes, "Means over %zu problem%s; %.4g%% intervals in brackets.\n",
                   v->task->n_problems, v->task->n_problems == 1 ? "" : "s",
                   100 * v->analysis->options.level);
    note_methods(v, t, RM_Q_ACCURACY, "Accuracy: ");
    note_methods(v, t, RM_Q_LATENCY_P50_MS, "Latency: ");
    note_comparisons(v, t);
    rm_text_puts(&t->notes, "Tokens: all generated ones, discarded branches included. Missing: no "
                            "answer could be extracted; cut off: by a length limit.\n");
    note_daggers(v, t);
}

static void build_cost(const fig_view *v, fig_table *t)
{
    static const struct {
        rm_quantity q;
        const char *head, *unit;
        form f;
    } columns[] = {
        { RM_Q_CANDIDATES, "Candidates", "", AMOUNT },
        { RM_Q_PROMPT_TOKENS, "Prompt", "tokens", AMOUNT },
        { RM_Q_GENERATED_TOKENS, "Generated", "tokens", AMOUNT },
        { RM_Q_EVALUATED_TOKENS, "Evaluated", "tokens", AMOUNT },
        { RM_Q_SHARED_TOKENS, "Shared", "tokens", AMOUNT },
        { RM_Q_ROUNDS, "Rounds", "", AMOUNT },
        { RM_Q_FLOPS, "FLOPs", "", AMOUNT },
        { RM_Q_WEIGHT_BYTES, "Weights read", "bytes", AMOUNT },
        { RM_Q_KV_BYTES, "KV read", "bytes", AMOUNT },
        { RM_Q_KV_PEAK, "KV peak", "positions", AMOUNT },
        { RM_Q_ENERGY_J, "Energy", "J", AMOUNT },
        { RM_Q_TOKENS_PER_CORRECT, "Per correct", "tokens", AMOUNT },
        { RM_Q_FLOPS_PER_CORRECT, "Per correct", "FLOPs", AMOUNT },
        { RM_Q_TTFT_P50_MS, "First token", "ms, p50", AMOUNT },
        { RM_Q_TOKENS_PER_S, "Throughput", "tokens/s", AMOUNT },
        { RM_Q_DISTINCT_ANSWERS, "Distinct", "answers", DECIMAL },
        { RM_Q_ANSWER_ENTROPY, "Entropy", "nats", DECIMAL },
        { RM_Q_DISTINCT_2, "Distinct-2", "", DECIMAL },
        { RM_Q_EDIT_DISTANCE, "Edit dist.", "", DECIMAL },
        { RM_Q_FAILED, "Failed", "%", PERCENT },
    };
    size_t name = add_column(t, "Strategy", "", true);
    set_rows(t, v->task->n_cells);
    for (size_t i = 0; i < t->n_rows; i++)
        put_name(t, i, name, fig_cell(v, (int)i));
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
        quantity_column(v, t, columns[c].q, columns[c].head, columns[c].unit, columns[c].f, false);
    rm_text_printf(&t->notes,
                   "Means over %zu problem%s of each outcome's own account, counted as if "
                   "it had run alone; shared: positions that forked paths did not need to "
                   "evaluate again.\n",
                   v->task->n_problems, v->task->n_problems == 1 ? "" : "s");
    if (any_value(v, RM_Q_DISTINCT_ANSWERS))
        rm_text_printf(&t->notes, "Diversity of %zu candidates a problem.\n",
                       v->analysis->options.diversity_k);
    note_daggers(v, t);
}

static const char *verdict_of(const rm_comparison *c)
{
    if (c->corrected.low > 0)
        return "better";
    if (c->corrected.high < 0)
        return "worse";
    return c->equal == RM_SUPPORTED ? "equal" : "inconclusive";
}

static void build_comparisons(const fig_view *v, fig_table *t)
{
    const rm_cell *cells = v->analysis->records->cells;
    bool same_baseline = common_baseline(v) != NULL;
    size_t a = add_column(t, "Strategy", "", true);
    size_t b = same_baseline ? 0 : add_column(t, "Baseline", "", true);
    size_t n = add_column(t, "n", "", false);
    size_t only_a = add_column(t, "Only it", "solved", false);
    size_t only_b = add_column(t, "Only base", "solved", false);
    size_t difference = add_column(t, "Difference", "pp", false);
    size_t corrected = add_column(t, "Corrected", "pp", false);
    size_t p = add_column(t, "p", "", false);
    size_t holm = add_column(t, "p", "Holm", false);
    size_t verdict = add_column(t, "Verdict", "", true);
    size_t detectable = add_column(t, "Detectable", "pp", false);
    size_t test = add_column(t, "Test", "", true);
    set_rows(t, v->task->n_comparisons);
    for (size_t i = 0; i < t->n_rows; i++) {
        const rm_comparison *c = &v->task->comparisons[i];
        put_name(t, i, a, &cells[c->a]);
        if (!same_baseline)
            put_name(t, i, b, &cells[c->b]);
        rm_text text = { 0 };
        rm_text_printf(&text, "%zu", c->n);
        put(t, i, n, &text, NULL);
        put_estimate(t, i, only_a, &(rm_estimate){ .value = c->only_a }, AMOUNT, false);
        put_estimate(t, i, only_b, &(rm_estimate){ .value = c->only_b }, AMOUNT, false);
        put_estimate(t, i, difference, &c->difference, POINTS, true);
        rm_text interval = { 0 };
        rm_text_puts(&interval, "[");
        print_form(&interval, c->corrected.low, POINTS);
        rm_text_puts(&interval, ", ");
        print_form(&interval, c->corrected.high, POINTS);
        rm_text_puts(&interval, "]");
        put(t, i, corrected, &interval, NULL);
        put_p(t, i, p, c->p);
        put_p(t, i, holm, c->p_holm);
        put_string(t, i, verdict, verdict_of(c));
        put_estimate(t, i, detectable, &(rm_estimate){ .value = c->detectable }, PERCENT, false);
        put_string(t, i, test, c->test ? c->test : "–");
    }
    note_comparisons(v, t);
    rm_text_puts(&t->notes, "Better, worse: the corrected interval excludes 0.");
    if (v->analysis->options.margin > 0)
        rm_text_printf(&t->notes, " Equal: it lies inside the stated margin of ±%.4g points.",
                       100 * v->analysis->options.margin);
    rm_text_printf(&t->notes,
                   "\nDetectable: the smallest true difference found with a probability of "
                   "%.4g%% at this size.\n",
                   100 * v->analysis->options.power);
    note_daggers(v, t);
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
