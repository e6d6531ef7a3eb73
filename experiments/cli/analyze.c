/* analyze.c - ramify analyze: accuracy, cost, latency, comparisons, as tables or JSON. */
#include "experiments/cli/cli.h"

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

/* Has any cell of the task a value for it? Columns without are left out. */
static bool any_value(const rm_task_report *task, rm_quantity q)
{
    for (size_t i = 0; i < task->n_cells; i++)
        if (!isnan(task->cells[i].quantities[q].value))
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

static void print_cells(const rm_analysis *a, const rm_task_report *task, cli_table *table)
{
    bool use[N_SHOWN];
    cli_cell(table, "cell");
    for (int i = 0; i < N_SHOWN; i++) {
        use[i] = any_value(task, shown[i].quantity);
        if (use[i])
            cli_cell(table, "%s", shown[i].title);
    }
    cli_end_row(table);
    for (size_t c = 0; c < task->n_cells; c++) {
        const rm_cell_report *r = &task->cells[c];
        const rm_cell *cell = &a->records->cells[r->cell];
        cli_cell(table, "%s%s", cell->label, mark(cell));
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

static void print_comparisons(const rm_analysis *a, const rm_task_report *task, cli_table *table)
{
    cli_cell(table, "compared with %s", a->records->cells[task->comparisons[0].b].label);
    cli_cell(table, "difference %%");
    cli_cell(table, "p");
    cli_cell(table, "p (Holm)");
    cli_cell(table, "n");
    cli_cell(table, "test");
    cli_end_row(table);
    for (size_t i = 0; i < task->n_comparisons; i++) {
        const rm_comparison *c = &task->comparisons[i];
        cli_cell(table, "%s%s", a->records->cells[c->a].label, mark(&a->records->cells[c->a]));
        cli_cell(table, "%+.1f [%+.1f, %+.1f]", 100 * c->difference.value,
                 100 * c->difference.low, 100 * c->difference.high);
        cli_cell(table, c->p < 0.0001 ? "<0.0001" : "%.4f", c->p);
        cli_cell(table, c->p_holm < 0.0001 ? "<0.0001" : "%.4f", c->p_holm);
        cli_cell(table, "%zu", c->n);
        cli_cell(table, "%s", c->test);
        cli_end_row(table);
    }
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

static rm_status print_task(const rm_analysis *a, const rm_task_report *task, bool curves,
                            rm_error *err)
{
    cli_table cells = { 0 }, comparisons = { 0 };
    bool verifier = false, oracle = false;
    for (size_t i = 0; i < task->n_cells; i++) {
        verifier = verifier || a->records->cells[task->cells[i].cell].verifier;
        oracle = oracle || a->records->cells[task->cells[i].cell].oracle;
    }
    printf("%s: %zu problems, intervals at %g%%\n\n", task->task, task->n_problems,
           100 * a->options.level);
    print_cells(a, task, &cells);
    if (task->n_comparisons)
        print_comparisons(a, task, &comparisons);
    rm_status status = cells.failed || comparisons.failed
                           ? rm_fail(err, RM_E_MEMORY, "no memory for a table")
                           : RM_OK;
    if (!status) {
        cli_print_table(&cells, "lrrrrrrrrrr", stdout);
        if (verifier)
            puts("† an exact verifier took part");
        if (oracle)
            puts("‡ the reference answer took part: an upper bound");
        fputc('\n', stdout);
        if (task->n_comparisons) {
            cli_print_table(&comparisons, "lrrrrl", stdout);
            fputc('\n', stdout);
        }
        if (curves)
            print_curves(a, task);
    }
    cli_table_free(&cells);
    cli_table_free(&comparisons);
    return status;
}

static rm_status analyze(const cli_args *args, rm_error *err)
{
    cli_analysis a;
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
        for (size_t t = 0; t < a.analysis->n_tasks && !status; t++)
            status = print_task(a.analysis, &a.analysis->tasks[t], cli_flag(args, "curves"), err);
    }
    cli_analysis_free(&a);
    return status;
}

static const cli_option options[] = {
    { "curves", 0, NULL, "also pass@k, maj@k and best-of-k of every exchangeable cell" },
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
    .details = "Cells of one task are compared on their common problems. With several run\n"
               "directories the problems are matched by task and name.",
    .example = "ramify analyze demo --baseline greedy --margin 0.02",
    .options = options,
    .run = analyze,
};
