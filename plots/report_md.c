/* report_md.c - the report as Markdown, for repositories and drafts; figures by file name. */
#include "plots/report.h"

#include <math.h>
#include <string.h>

void fig_task_slug(rm_text *out, const rm_analysis *a, size_t task)
{
    rm_text mine = { 0 }, other = { 0 };
    size_t same = 1;
    fig_slug(&mine, a->tasks[task].task);
    for (size_t i = 0; i < task && !mine.failed; i++) {
        other.length = 0;
        fig_slug(&other, a->tasks[i].task);
        same += !other.failed && !strcmp(other.data, mine.data);
    }
    if (mine.failed)
        out->failed = true;
    else
        rm_text_puts(out, mine.data);
    if (same > 1)
        rm_text_printf(out, "-%zu", same);
    rm_text_free(&mine);
    rm_text_free(&other);
}

/* ---- summary ----------------------------------------------------------------------------- */

static void add_cell(const fig_view *v, int report, rm_text *out)
{
    rm_text_printf(out, "%s (%.1f%%", fig_cell(v, report)->label,
                   100 * fig_quantity(v, report, RM_Q_ACCURACY)->value);
    double tokens = fig_quantity(v, report, RM_Q_GENERATED_TOKENS)->value;
    double ms = fig_quantity(v, report, RM_Q_LATENCY_P50_MS)->value;
    if (isfinite(tokens)) {
        rm_text_puts(out, ", ");
        fig_amount(out, tokens);
        rm_text_puts(out, " tokens");
    }
    if (isfinite(ms)) {
        rm_text_puts(out, ", ");
        fig_amount(out, ms);
        rm_text_puts(out, " ms");
    }
    rm_text_puts(out, ")");
}

/* Better, worse, equal and undecided cells against the baseline. */
static void count_verdicts(const fig_view *v, rm_text *out)
{
    size_t better = 0, worse = 0, n = v->task->n_comparisons;
    for (size_t i = 0; i < n; i++) {
        better += v->task->comparisons[i].corrected.low > 0;
        worse += v->task->comparisons[i].corrected.high < 0;
    }
    if (n)
        rm_text_printf(out,
                       " Of %zu comparison%s with the baseline, %zu %s better and %zu worse beyond "
                       "the corrected interval; the others are undecided or equal.",
                       n, n == 1 ? "" : "s", better, better == 1 ? "is" : "are", worse);
}

/* What became of the claim that the experiment states. */
static void count_claims(const fig_view *v, rm_text *out)
{
    const rm_analysis_options *o = &v->analysis->options;
    size_t found[3] = { 0 }, n = v->task->n_comparisons;
    for (size_t i = 0; i < n; i++)
        found[rm_comparison_claim(&v->task->comparisons[i], o)]++;
    if (n && o->direction)
        rm_text_printf(out,
                       " The experiment claims that their accuracy is %s: supported for %zu, "
                       "refuted for %zu, inconclusive for %zu.",
                       rm_direction_names[o->direction], found[RM_SUPPORTED], found[RM_REFUTED],
                       found[RM_INCONCLUSIVE]);
}

void fig_report_summary(const fig_view *v, rm_text *out)
{
    int best = -1;
    for (size_t i = 0; i < v->task->n_cells; i++) {
        const rm_cell *cell = fig_cell(v, (int)i);
        double accuracy = fig_quantity(v, (int)i, RM_Q_ACCURACY)->value;
        if (cell->verifier || cell->oracle || !isfinite(accuracy))
            continue;
        if (best < 0 || accuracy > fig_quantity(v, best, RM_Q_ACCURACY)->value)
            best = (int)i;
    }
    rm_text_printf(out, "%zu cells on %zu problem%s.", v->task->n_cells, v->task->n_problems,
                   v->task->n_problems == 1 ? "" : "s");
    if (best >= 0) {
        rm_text_puts(out, " The highest accuracy without verifier and oracle: ");
        add_cell(v, best, out);
        rm_text_puts(out, ".");
    }
    count_verdicts(v, out);
    count_claims(v, out);
}

/* ---- the document ------------------------------------------------------------------------ */

static void add_figure(const rm_analysis *a, size_t task, rm_figure figure, rm_text *out)
{
    if (!rm_figure_has_data(a, task, figure))
        return;
    const rm_figure_info *info = rm_figure_describe(figure);
    rm_text_printf(out, "![%s](figures/", info->title);
    fig_task_slug(out, a, task);
    rm_text_printf(out, "-%s.png)\n\n*%s.* %s\n\n", info->name, info->title, info->caption);
}

static void add_verdicts(const rm_task_report *task, rm_text *out)
{
    for (size_t i = 0; i < task->n_claims; i++) {
        rm_text sentence = { 0 };
        rm_claim_sentence(&task->claims[i], &sentence);
        rm_text_puts(out, "- ");
        if (sentence.data)
            fig_markdown(out, sentence.data);
        rm_text_puts(out, "\n");
        out->failed = out->failed || sentence.failed;
        rm_text_free(&sentence);
    }
    if (task->n_claims)
        rm_text_puts(out, "\n");
}

static rm_status add_task(const rm_analysis *a, size_t task, rm_figure lead, rm_text *out,
                          rm_error *err)
{
    fig_view v;
    rm_status st = fig_view_new(a, task, &v, err);
    if (st)
        return st;
    rm_text summary = { 0 };
    fig_report_summary(&v, &summary);
    rm_text_puts(out, "## ");
    fig_markdown(out, v.task->task);
    rm_text_puts(out, "\n\n");
    if (!summary.failed && summary.data)
        fig_markdown(out, summary.data);
    rm_text_puts(out, "\n\n");
    rm_text_free(&summary);
    add_verdicts(v.task, out);
    if (lead != RM_FIGURE_OVERVIEW)
        add_figure(a, task, lead, out);
    add_figure(a, task, RM_FIGURE_OVERVIEW, out);
    for (int t = 0; !st && t < RM_N_TABLES; t++) {
        if (!fig_table_has(&v, (rm_table)t))
            continue;
        rm_text_printf(out, "### %s\n\n", rm_table_describe((rm_table)t)->title);
        st = rm_table_render(a, task, (rm_table)t, RM_TABLE_MARKDOWN, out, err);
        rm_text_puts(out, "\n");
    }
    rm_text_puts(out, "### Further figures\n\n");
    for (int f = RM_FIGURE_OVERVIEW + 1; f < RM_N_FIGURES; f++)
        if (f != (int)lead)
            add_figure(a, task, (rm_figure)f, out);
    fig_view_free(&v);
    return st;
}

static void add_block(const char *title, const char *info, const char *text, rm_text *out)
{
    if (!text || !*text)
        return;
    rm_text_printf(out, "%s\n\n", title);
    fig_markdown_block(out, info, text);
}

rm_status rm_report_markdown(const rm_analysis *a, const rm_report_options *o, rm_text *out,
                             rm_error *err)
{
    static const rm_report_options none = { 0 };
    if (!o)
        o = &none;
    rm_status st = RM_OK;
    rm_text_puts(out, "# ");
    fig_markdown(out, o->title ? o->title : "Ramify report");
    rm_text_puts(out, "\n\n");
    if (o->description && *o->description) {
        fig_markdown(out, o->description);
        rm_text_puts(out, "\n\n");
    }
    if (o->hypothesis && *o->hypothesis) {
        rm_text_puts(out, "**Hypothesis:** ");
        fig_markdown(out, o->hypothesis);
        rm_text_puts(out, ".\n\n");
    }
    rm_text unfinished = { 0 };
    if (rm_records_caveat(a->records, &unfinished)) {
        rm_text_printf(out, "**This run is %s.**\n\n", unfinished.data ? unfinished.data : "");
        out->failed = out->failed || unfinished.failed;
    }
    rm_text_free(&unfinished);
    for (size_t i = 0; !st && i < a->n_tasks; i++)
        st = add_task(a, i, o->figure, out, err);
    if (o->n_trees)
        rm_text_puts(out, "## Search trees\n\n");
    for (size_t i = 0; i < o->n_trees; i++)
        rm_text_printf(out, "![Search tree](figures/tree-%zu.png)\n\n", i + 1);
    rm_text_puts(out, "## How the numbers were computed\n\n");
    for (const char *const *p = fig_report_methods; *p; p++)
        rm_text_printf(out, "%s\n\n", *p);
    rm_text_puts(out, "### What they do not say\n\n");
    for (const char *const *p = fig_report_limits; *p; p++)
        rm_text_printf(out, "%s\n\n", *p);
    rm_text_puts(out, "## The run\n\n");
    add_block("Made by this command:", "sh", o->command, out);
    add_block("Manifest:", "json", o->manifest, out);
    add_block("Configuration as used:", "json", o->config, out);
    if (!st && out->failed)
        st = rm_fail(err, RM_E_MEMORY, "There is no memory for the report.");
    return st;
}
