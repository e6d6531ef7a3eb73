/* analyze.c - ramify analyze: accuracy, cost, latency, comparisons, as tables or JSON. */
#include "experiments/cli/cli.h"
#include "plots/plots.h"

#include <math.h>
#include <string.h>

/* "71.5 [64.8, 77.4]" in percent. */
static void share_cell(cli_table *table, const rm_estimate *e)
{
    if (isnan(e->value))
        cli_cell(table, "-");
    else if (isnan(e->low) || isnan(e->high))
        cli_cell(table, "%.1f", 100 * e->value);
    else
        cli_cell(table, "%.1f [%.1f, %.1f]", 100 * e->value, 100 * e->low, 100 * e->high);
}

static void amount_cell(cli_table *table, const rm_estimate *e)
{
    char text[16];
    cli_cell(table, "%s", cli_amount(e->value, text));
}

static const char *mark(const rm_cell *cell)
{
    return cell->oracle ? " ‡" : cell->verifier ? " †" : "";
}

/* Has any cell of the task a value for it, and for what should not happen (no answer, cut off,
 * failed) one that is not 0? Columns without are left out. */
static bool any_value(const rm_task_report *task, rm_quantity q)
{
    for (size_t i = 0; i < task->n_cells; i++)
        if (!isnan(task->cells[i].quantities[q].value) &&
            (task->cells[i].quantities[q].value > 0 ||
             (q != RM_Q_MISSING && q != RM_Q_TRUNCATED && q != RM_Q_FAILED)))
            return true;
    return false;
}

static const struct shown {
    rm_quantity quantity;
    const char *title;
    bool share;
} shown[] = {
    { RM_Q_ACCURACY, "accuracy %", true },
    { RM_Q_MISSING, "missing %", true },
    { RM_Q_TRUNCATED, "cut off %", true },
    { RM_Q_FAILED, "failed %", true },
    { RM_Q_CANDIDATES, "paths", false },
    { RM_Q_GENERATED_TOKENS, "tokens", false },
    { RM_Q_ROUNDS, "rounds", false },
    { RM_Q_FLOPS, "FLOP", false },
    { RM_Q_LATENCY_P50_MS, "p50 ms", false },
    { RM_Q_LATENCY_P95_MS, "p95 ms", false },
};
enum { N_SHOWN = sizeof shown / sizeof *shown };

/* Have all cells of the task as many problems? If not, each says how many. */
static bool same_problems(const rm_task_report *task)
{
    for (size_t i = 1; i < task->n_cells; i++)
        if (task->cells[i].quantities[RM_Q_ACCURACY].n !=
            task->cells[0].quantities[RM_Q_ACCURACY].n)
            return false;
    return true;
}

/* Length of "model: " in front of a label, 0 if it does not begin so. */
static size_t model_prefix(const rm_cell *cell)
{
    size_t n = strlen(cell->model);
    return strncmp(cell->label, cell->model, n) == 0 && strncmp(cell->label + n, ": ", 2) == 0
               ? n + 2 : 0;
}

static bool same_group(const rm_cell *a, const rm_cell *b)
{
    size_t n = model_prefix(a);
    return n == model_prefix(b) && (!n || strcmp(a->model, b->model) == 0);
}

/* The next cell in the order of the table: behind `at` those of its model, then the first cell of
 * a model that was not there yet. n_cells if there is none; `at` n_cells begins. */
static size_t next_cell(const rm_analysis *a, const rm_task_report *task, size_t at)
{
    const rm_cell *cells = a->records->cells;
    for (size_t c = at + 1; at < task->n_cells && c < task->n_cells; c++)
        if (same_group(&cells[task->cells[c].cell], &cells[task->cells[at].cell]))
            return c;
    size_t first = 0; /* of this cell's group */
    while (at < task->n_cells &&
           !same_group(&cells[task->cells[first].cell], &cells[task->cells[at].cell]))
        first++;
    for (size_t c = at < task->n_cells ? first + 1 : 0; c < task->n_cells; c++) {
        size_t k = 0;
        while (!same_group(&cells[task->cells[k].cell], &cells[task->cells[c].cell]))
            k++;
        if (k == c)
            return c;
    }
    return task->n_cells;
}

/* The label behind its model, which stands once in front of its cells. */
static void label_cell(const rm_cell *cell, bool first, cli_table *table)
{
    size_t n = model_prefix(cell);
    if (n && first) {
        cli_cell(table, "%s", cell->model);
        cli_end_row(table);
    }
    cli_cell(table, "%s%s%s", n ? "  " : "", cell->label + n, mark(cell));
}

static void print_cells(const rm_analysis *a, const rm_task_report *task, cli_table *table)
{
    bool use[N_SHOWN];
    bool each = a->records->n_missing > 0 || !same_problems(task);
    cli_cell(table, "cell");
    if (each)
        cli_cell(table, "problems");
    for (int i = 0; i < N_SHOWN; i++) {
        use[i] = any_value(task, shown[i].quantity);
        if (use[i])
            cli_cell(table, "%s", shown[i].title);
    }
    cli_end_row(table);
    const rm_cell *before = NULL;
    for (size_t c = next_cell(a, task, task->n_cells); c < task->n_cells;
         c = next_cell(a, task, c)) {
        const rm_cell_report *r = &task->cells[c];
        const rm_cell *cell = &a->records->cells[r->cell];
        label_cell(cell, !before || !same_group(before, cell), table);
        before = cell;
        if (each)
            cli_cell(table, "%zu", r->quantities[RM_Q_ACCURACY].n);
        for (int i = 0; i < N_SHOWN; i++) {
            const rm_estimate *e = &r->quantities[shown[i].quantity];
            if (!use[i])
                continue;
            if (shown[i].quantity == RM_Q_ACCURACY)
                share_cell(table, e);
            else if (shown[i].share && !isnan(e->value))
                cli_cell(table, "%.1f", 100 * e->value);
            else
                amount_cell(table, e);
        }
        cli_end_row(table);
    }
}

static void comparison_row(const rm_analysis *a, const rm_comparison *c, bool both,
                           cli_table *table)
{
    const rm_cell *one = &a->records->cells[c->a], *two = &a->records->cells[c->b];
    cli_cell(table, "%s%s%s%s%s", one->label, mark(one), both ? " vs " : "",
             both ? two->label : "", both ? mark(two) : "");
    cli_cell(table, "%+.1f [%+.1f, %+.1f]", 100 * c->difference.value, 100 * c->corrected.low,
             100 * c->corrected.high);
    cli_cell(table, c->p < 0.0001 ? "<0.0001" : "%.4f", c->p);
    cli_cell(table, c->p_holm < 0.0001 ? "<0.0001" : "%.4f", c->p_holm);
    cli_cell(table, "%s", rm_comparison_verdict(c, a->options.level));
    if (a->options.direction)
        cli_cell(table, "%s", rm_verdict_name(rm_comparison_claim(c, &a->options)));
    cli_cell(table, "%zu", c->n);
    cli_cell(table, "%s", c->test);
    cli_end_row(table);
}

/* One family. Rows name both cells where there is no common second one. */
static rm_status print_family(const rm_analysis *a, const rm_comparison *list, size_t n,
                              bool stated, rm_error *err)
{
    cli_table table = { 0 };
    bool both = stated;
    for (size_t i = 1; i < n; i++)
        both = both || list[i].b != list[0].b;
    if (stated)
        cli_cell(&table, "stated comparisons");
    else if (both)
        cli_cell(&table, "compared with the baseline");
    else
        cli_cell(&table, "compared with %s", a->records->cells[list[0].b].label);
    cli_cell(&table, "difference %% (corrected)");
    cli_cell(&table, "p");
    cli_cell(&table, "p (Holm)");
    cli_cell(&table, "verdict");
    if (a->options.direction)
        cli_cell(&table, "%s?", rm_direction_names[a->options.direction]);
    cli_cell(&table, "n");
    cli_cell(&table, "test");
    cli_end_row(&table);
    for (size_t i = 0; i < n; i++)
        comparison_row(a, &list[i], both, &table);
    bool failed = table.failed;
    if (!failed) {
        cli_print_table(&table, a->options.direction ? "lrrrllrl" : "lrrrlrl", stdout);
        fputc('\n', stdout);
    }
    cli_table_free(&table);
    return failed ? rm_fail(err, RM_E_MEMORY, "no memory for a table") : RM_OK;
}

/* What was claimed, and when it counts as supported and as refuted. */
static void print_claim(const rm_analysis *a)
{
    double margin = 100 * a->options.margin;
    bool higher = a->options.direction == RM_DIRECTION_HIGHER;
    if (a->options.direction == RM_DIRECTION_NONE)
        return;
    printf("The claim: accuracy is %s. ", rm_direction_names[a->options.direction]);
    if (a->options.direction == RM_DIRECTION_EQUAL)
        printf("Supported by an interval inside ±%g points, refuted by one outside.\n\n", margin);
    else
        printf("Supported by an interval %s 0, refuted by one %s %s%g points.\n\n",
               higher ? "above" : "below", higher ? "below" : "above",
               margin > 0 ? (higher ? "+" : "−") : "", margin);
}

/* What became of the claims of the experiment: one sentence each, from its test. */
static rm_status print_verdicts(const rm_task_report *task, rm_error *err)
{
    rm_text out = { 0 };
    for (size_t i = 0; i < task->n_claims; i++) {
        rm_claim_sentence(&task->claims[i], &out);
        rm_text_puts(&out, "\n");
    }
    rm_status status = RM_OK;
    if (out.failed)
        status = rm_fail(err, RM_E_MEMORY, "no memory for the verdicts");
    else if (out.data)
        printf("%s\n", out.data);
    rm_text_free(&out);
    return status;
}

/* What the verdicts mean. */
static void print_rule(const rm_analysis *a, const rm_task_report *task)
{
    printf("Intervals and verdicts hold for each family of comparisons together (%zu",
           task->n_comparisons);
    if (task->n_pairs)
        printf("; stated: %zu", task->n_pairs);
    printf("):\nbetter and worse by an interval beyond 0");
    if (a->options.margin > 0)
        printf(", equal by one inside ±%g points", 100 * a->options.margin);
    puts("; borderline: only\nthe adjusted p is below the level.\n");
    print_claim(a);
}

static const char *curve_name(rm_subset_kind kind)
{
    return kind == RM_PASS_AT_K ? "pass@k" : kind == RM_MAJ_AT_K ? "maj@k" : "best-of-k";
}

/* The expectations at each k, a row a curve; cells that cannot have them say why. */
static void print_curves(const rm_analysis *a, const rm_task_report *task)
{
    for (size_t c = 0; c < task->n_cells; c++) {
        const rm_cell_report *r = &task->cells[c];
        cli_table table = { 0 };
        if (!r->n_curves)
            continue;
        cli_cell(&table, "%s", a->records->cells[r->cell].label);
        for (size_t i = 0; i < r->curves[0].n_points; i++)
            cli_cell(&table, "k=%zu", r->curves[0].k[i]);
        cli_end_row(&table);
        for (size_t i = 0; i < r->n_curves; i++) {
            const rm_subset_curve *curve = &r->curves[i];
            cli_cell(&table, "  %s%s%s", curve_name(curve->kind), curve->by ? " by " : "",
                     curve->by ? curve->by : "");
            for (size_t k = 0; k < curve->n_points; k++)
                cli_cell(&table, "%.1f", 100 * curve->value[k].value);
            cli_end_row(&table);
        }
        if (!table.failed)
            cli_print_table(&table, "lrrrrrrrrrrrrrrrr", stdout);
        cli_table_free(&table);
        fputc('\n', stdout);
    }
}

/* What this many problems can show, and how many the stated margin needs. */
static void print_power(const rm_analysis *a, const rm_task_report *task)
{
    double least = INFINITY, most = 0, needed = 0;
    for (size_t i = 0; i < task->n_comparisons; i++) {
        const rm_comparison *c = &task->comparisons[i];
        if (!isfinite(c->detectable))
            continue;
        least = fmin(least, c->detectable);
        most = fmax(most, c->detectable);
        needed = isfinite(c->needed) ? fmax(needed, c->needed) : needed;
    }
    if (!(most > 0))
        return;
    printf("Taken alone, a comparison finds a true difference of ");
    if (most - least >= 0.001)
        printf("%.1f to ", 100 * least);
    printf("%.1f points in %g%% of such runs", 100 * most, 100 * a->options.power);
    if (needed > 0)
        printf(";\n%g points need up to %.0f problems", 100 * a->options.margin, needed);
    puts(".\n");
}

/* Tables that the report has too, if the task has anything in them. */
static rm_status print_tables(const rm_analysis *a, const rm_task_report *task,
                              const rm_table *tables, size_t n, rm_error *err)
{
    rm_status status = RM_OK;
    size_t at = (size_t)(task - a->tasks);
    for (size_t i = 0; i < n && !status; i++) {
        rm_text text = { 0 };
        if (!rm_table_has_data(a, at, tables[i]))
            continue;
        rm_text_printf(&text, "%s\n\n", rm_table_describe(tables[i])->title);
        status = rm_table_render(a, at, tables[i], RM_TABLE_TEXT, &text, err);
        rm_text_puts(&text, "\n");
        if (!status)
            status = cli_put(&text, err);
        rm_text_free(&text);
    }
    return status;
}

/* Latencies come from a phase of its own on fewer problems. */
static void print_latency_problems(const rm_task_report *task)
{
    size_t least = SIZE_MAX, most = 0;
    for (size_t i = 0; i < task->n_cells; i++) {
        size_t n = task->cells[i].quantities[RM_Q_LATENCY_P50_MS].n;
        if (!n)
            continue;
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    if (least < most)
        printf("latency on %zu to %zu problems\n", least, most);
    else if (most && most < task->n_problems)
        printf("latency on %zu problem%s\n", most, most == 1 ? "" : "s");
}

typedef enum depth { BRIEF, USUAL, CURVES } depth;

static rm_status print_task(const rm_analysis *a, const rm_task_report *task, depth how,
                            rm_error *err)
{
    static const rm_table always[] = { RM_TABLE_TRENDS, RM_TABLE_CROSSINGS };
    static const rm_table more[] = { RM_TABLE_SCALING,      RM_TABLE_FRONT,  RM_TABLE_AREAS,
                                     RM_TABLE_BUDGETS, RM_TABLE_TUNING, RM_TABLE_EQUAL_TUNING };
    cli_table cells = { 0 };
    bool verifier = false, oracle = false;
    for (size_t i = 0; i < task->n_cells; i++) {
        verifier = verifier || a->records->cells[task->cells[i].cell].verifier;
        oracle = oracle || a->records->cells[task->cells[i].cell].oracle;
    }
    printf("%s: %zu problem%s, intervals at %g%%\n\n", task->task, task->n_problems,
           task->n_problems == 1 ? "" : "s", 100 * a->options.level);
    rm_status status = print_verdicts(task, err);
    if (status)
        return status;
    print_cells(a, task, &cells);
    status = cells.failed ? rm_fail(err, RM_E_MEMORY, "no memory for a table") : RM_OK;
    if (!status) {
        cli_print_table(&cells, "lrrrrrrrrrrr", stdout);
        print_latency_problems(task);
        if (verifier)
            puts("† an exact verifier took part");
        if (oracle)
            puts("‡ the reference answer took part: an upper bound");
        fputc('\n', stdout);
    }
    cli_table_free(&cells);
    if (status || how == BRIEF)
        return status;
    if (task->n_comparisons)
        status = print_family(a, task->comparisons, task->n_comparisons, false, err);
    if (!status && task->n_pairs)
        status = print_family(a, task->pairs, task->n_pairs, true, err);
    if (!status && task->n_comparisons)
        print_rule(a, task);
    if (!status)
        print_power(a, task);
    if (!status)
        status = print_tables(a, task, always, sizeof always / sizeof *always, err);
    if (!status && how == CURVES) {
        print_curves(a, task);
        status = print_tables(a, task, more, sizeof more / sizeof *more, err);
    }
    return status;
}

static rm_status analyze(const cli_args *args, rm_error *err)
{
    cli_analysis a;
    depth how = cli_flag(args, "curves") ? CURVES : cli_flag(args, "brief") ? BRIEF : USUAL;
    if (how == CURVES && cli_flag(args, "brief"))
        return cli_misuse(args, err, "--brief and --curves: one of them");
    rm_status status =
        cli_analyze_dirs(args, args->positional, args->n_positional, &a, err);
    if (status)
        return status;
    if (cli_flag(args, "json")) {
        rm_text out = { 0 };
        status = rm_analysis_json(a.analysis, &out, err);
        rm_text_puts(&out, "\n");
        if (!status)
            status = cli_put(&out, err);
        rm_text_free(&out);
    } else {
        rm_text unfinished = { 0 };
        if (rm_records_caveat(a.analysis->records, &unfinished) && unfinished.data)
            printf("%s\n\n", unfinished.data);
        rm_text_free(&unfinished);
        if (a.hypothesis.length)
            printf("Hypothesis: %s.\n\n", a.hypothesis.data);
        for (size_t t = 0; t < a.analysis->n_tasks && !status; t++)
            status = print_task(a.analysis, &a.analysis->tasks[t], how, err);
    }
    cli_analysis_free(&a);
    return status;
}

static const cli_option options[] = {
    { "brief", 0, NULL, "the cells only: accuracy, cost, latency" },
    { "curves", 0, NULL, "curves over k, laws of coverage, fronts, equal budgets, equal tuning" },
    { "json", 0, NULL, "everything, for machines" },
    CLI_ANALYSIS_OPTIONS,
    { NULL, 0, NULL, NULL },
};

const cli_command cli_analyze = {
    .name = "analyze",
    .summary = "accuracy, cost, latency and paired comparisons of runs",
    .positional = "DIR...",
    .min_positional = 1,
    .max_positional = 64,
    .details =
        "Cells of one task are compared on their common problems. With several run\n"
        "directories the problems are matched by task and name.\n\n"
        "Sweeps of three sizes and more get a trend test; pools of samples are held against\n"
        "each other and against the baseline: from how many samples on is one better?",
    .example = "ramify analyze demo --baseline 'thimble: greedy' --margin 0.02",
    .options = options,
    .run = analyze,
};
