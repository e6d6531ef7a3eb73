/* report_html.c - the report as one page that needs nothing else.
 *
 * Figures are SVG in data: addresses, so that ids of several figures cannot meet and nothing in
 * them can run. There is no script, and a content security policy forbids what the page does not
 * use, so that a recorded text that slipped through an escape still could not load or run
 * anything. Every text from outside goes through fig_html. */
#include "plots/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- figures ----------------------------------------------------------------------------- */

static void open_card(rm_text *out, double width_pt, const char *alt)
{
    bool wide = width_pt > 300;
    rm_text_printf(out, "<figure%s><div class=\"card\" tabindex=\"0\">",
                   wide ? " class=\"wide\"" : "");
    /* drawn a third larger than in print, so that 7-point labels read like 9 points */
    rm_text_printf(out, "<img%s style=\"width:%.0fpx\" alt=\"", wide ? " class=\"wide\"" : "",
                   width_pt * 96 / 72 * 1.5);
    fig_html(out, alt);
    rm_text_puts(out, "\" src=\"data:image/svg+xml;base64,");
}

/* Width in points from the head of an SVG of ours. */
static double svg_width(const char *svg)
{
    const char *at = svg ? strstr(svg, "width=\"") : NULL;
    return at ? strtod(at + 7, NULL) : 0;
}

static void close_card(rm_text *out, const char *title, const char *caption)
{
    rm_text_puts(out, "\"></div><figcaption><b>");
    fig_html(out, title);
    rm_text_puts(out, ".</b> ");
    fig_html(out, caption);
    rm_text_puts(out, "</figcaption></figure>\n");
}

static rm_status add_figure(const rm_analysis *a, size_t task, rm_figure figure, rm_text *out,
                            rm_error *err)
{
    if (!rm_figure_has_data(a, task, figure))
        return RM_OK;
    const rm_figure_info *info = rm_figure_describe(figure);
    rm_text svg = { 0 };
    rm_status st = rm_figure_render(a, task, figure, NULL, RM_FORMAT_SVG, &svg, err);
    if (!st) {
        open_card(out, svg_width(svg.data), info->title);
        fig_base64(out, svg.data, svg.length);
        close_card(out, info->title, info->caption);
    }
    rm_text_free(&svg);
    return st;
}

/* ---- tasks ------------------------------------------------------------------------------- */

static rm_status add_table(const rm_analysis *a, size_t task, rm_table table, rm_text *out,
                           rm_error *err)
{
    rm_text html = { 0 };
    rm_status st = rm_table_render(a, task, table, RM_TABLE_HTML, &html, err);
    if (!st) {
        /* the notes stand below the box that scrolls */
        const char *notes = strstr(html.data, "<ul class=\"notes\">");
        rm_text_printf(out, "<h3>%s</h3>\n<div class=\"scroll\" tabindex=\"0\">\n",
                       rm_table_describe(table)->title);
        rm_text_add(out, html.data, notes ? (size_t)(notes - html.data) : html.length);
        rm_text_puts(out, "</div>\n");
        if (notes)
            rm_text_puts(out, notes);
    }
    rm_text_free(&html);
    return st;
}

/* What became of the claims, in the analysis' own sentences. */
static void add_verdicts(const rm_task_report *task, rm_text *out)
{
    if (!task->n_claims)
        return;
    rm_text_puts(out, "<ul class=\"verdicts\">\n");
    for (size_t i = 0; i < task->n_claims; i++) {
        rm_text sentence = { 0 };
        rm_claim_sentence(&task->claims[i], &sentence);
        rm_text_printf(out, "<li class=\"%s\">", rm_verdict_name(task->claims[i].verdict));
        if (sentence.data)
            fig_html(out, sentence.data);
        rm_text_puts(out, "</li>\n");
        out->failed = out->failed || sentence.failed;
        rm_text_free(&sentence);
    }
    rm_text_puts(out, "</ul>\n");
}

static rm_status add_task(const rm_analysis *a, size_t task, rm_figure lead, rm_text *out,
                          rm_error *err)
{
    static const rm_figure further[] = {
        RM_FIGURE_LATENCY, RM_FIGURE_TOKENS,    RM_FIGURE_FLOPS,       RM_FIGURE_SAMPLES,
        RM_FIGURE_SIZE,    RM_FIGURE_BEAMS,     RM_FIGURE_COVERAGE,    RM_FIGURE_TUNING,
        RM_FIGURE_DIVERSITY, RM_FIGURE_RELIABILITY, RM_FIGURE_DISTRIBUTION,
    };
    static const rm_table curves[] = { RM_TABLE_TRENDS, RM_TABLE_SCALING, RM_TABLE_CROSSINGS };
    static const rm_table folded[] = { RM_TABLE_FRONT, RM_TABLE_AREAS, RM_TABLE_BUDGETS,
                                       RM_TABLE_TUNING, RM_TABLE_EQUAL_TUNING };
    fig_view v;
    rm_status st = fig_view_new(a, task, &v, err);
    if (st)
        return st;
    rm_text_printf(out, "<section id=\"task-%zu\">\n<h2>", task + 1);
    fig_html(out, v.task->task);
    rm_text_puts(out, "</h2>\n<p class=\"lead\">");
    rm_text summary = { 0 };
    fig_report_summary(&v, &summary);
    if (!summary.failed && summary.data)
        fig_html(out, summary.data);
    rm_text_free(&summary);
    rm_text_puts(out, "</p>\n");
    add_verdicts(v.task, out);
    if (lead != RM_FIGURE_OVERVIEW)
        st = add_figure(a, task, lead, out, err);
    if (!st)
        st = add_figure(a, task, RM_FIGURE_OVERVIEW, out, err);
    if (!st)
        st = add_table(a, task, RM_TABLE_RESULTS, out, err);
    if (!st && v.task->n_comparisons + v.task->n_pairs > 0) {
        st = add_table(a, task, RM_TABLE_COMPARISONS, out, err);
        if (!st && lead != RM_FIGURE_DIFFERENCES)
            st = add_figure(a, task, RM_FIGURE_DIFFERENCES, out, err);
    }
    for (size_t i = 0; !st && i < sizeof curves / sizeof *curves; i++)
        if (fig_table_has(&v, curves[i]))
            st = add_table(a, task, curves[i], out, err);
    rm_text_puts(out, "<details><summary>Fronts, budgets and tuning</summary>\n");
    for (size_t i = 0; !st && i < sizeof folded / sizeof *folded; i++)
        if (fig_table_has(&v, folded[i]))
            st = add_table(a, task, folded[i], out, err);
    rm_text_puts(out, "</details>\n<h3>Further figures</h3>\n<div class=\"grid\">\n");
    for (size_t i = 0; !st && i < sizeof further / sizeof *further; i++)
        st = further[i] == lead ? RM_OK : add_figure(a, task, further[i], out, err);
    rm_text_puts(out, "</div>\n");
    if (!st)
        st = add_table(a, task, RM_TABLE_COST, out, err);
    rm_text_puts(out, "</section>\n");
    fig_view_free(&v);
    return st;
}

/* ---- trees ------------------------------------------------------------------------------- */

enum { MAX_LISTED = 400, MAX_DEPTH = 60 };

static void add_node_numbers(const rm_tree_node *node, rm_text *out)
{
    const struct {
        const char *name;
        double value;
    } number[] = {
        { "N", node->visits },
        { "Q", node->value },
        { "P", node->prior },
        { "lp", node->lp },
    };
    for (size_t i = 0; i < sizeof number / sizeof *number; i++) {
        if (!isfinite(number[i].value))
            continue;
        rm_text_printf(out, "<span class=\"num\">%s ", number[i].name);
        fig_amount(out, number[i].value);
        rm_text_puts(out, "</span>");
    }
}

static void add_step(const rm_tree_node *node, bool root, rm_text *out)
{
    rm_text_puts(out, "<span class=\"step\">");
    if (node->text && *node->text) {
        rm_text cut = { 0 }; /* 300 bytes tell enough of a step */
        rm_text_add(&cut, node->text, strnlen(node->text, 300));
        if (!cut.failed)
            fig_html(out, cut.data); /* a character cut in two becomes U+FFFD */
        rm_text_free(&cut);
    } else {
        rm_text_puts(out, root ? "(prompt)" : "(empty)");
    }
    rm_text_puts(out, "</span>");
    add_node_numbers(node, out);
}

/* The nodes as nested boxes to open, the chosen path open already. Children are found through
 * first-child and next-sibling links; an explicit path replaces recursion. */
static rm_status add_nodes(const rm_tree *tree, rm_text *out, rm_error *err)
{
    size_t n = tree->n_nodes;
    size_t *child = calloc(n, sizeof *child), *sibling = calloc(n, sizeof *sibling);
    if (!child || !sibling) {
        free(child);
        free(sibling);
        return rm_fail(err, RM_E_MEMORY, "There is no memory to list a search tree.");
    }
    for (size_t i = n; i-- > 1;) { /* from the back, so that lists ascend; 0 ends a list */
        size_t parent = (size_t)tree->nodes[i].parent;
        sibling[i] = child[parent];
        child[parent] = i;
    }
    size_t path[MAX_DEPTH], listed = 0, skipped = 0;
    int depth = 0;
    rm_text_puts(out, "<div class=\"nodes\" tabindex=\"0\">\n");
    for (size_t at = 0;;) {
        const rm_tree_node *node = &tree->nodes[at];
        bool inner = child[at] && depth < MAX_DEPTH - 1 && listed < MAX_LISTED;
        if (listed < MAX_LISTED || node->chosen) {
            const char *chosen = node->chosen ? " chosen" : "";
            rm_text_printf(out,
                           inner ? "<details class=\"%s\"%s><summary>" : "<div class=\"leaf%s\"%s>",
                           inner ? chosen + (*chosen == ' ') : chosen,
                           inner && (node->chosen || !at) ? " open" : "");
            add_step(node, !at, out);
            rm_text_puts(out, inner ? "</summary>\n" : "</div>\n");
            listed++;
        } else {
            skipped++;
        }
        if (inner) {
            path[depth++] = at;
            at = child[at];
            continue;
        }
        while (depth && !sibling[at]) {
            at = path[--depth];
            rm_text_puts(out, "</details>\n");
        }
        if (!depth)
            break;
        at = sibling[at];
    }
    rm_text_puts(out, "</div>\n");
    if (listed + skipped < n || skipped)
        rm_text_printf(out, "<p>%zu of %zu nodes are listed.</p>\n", listed, n);
    free(child);
    free(sibling);
    return RM_OK;
}

static rm_status add_tree(const rm_tree *tree, rm_text *out, rm_error *err)
{
    rm_text svg = { 0 };
    rm_status st = rm_tree_render(tree, NULL, RM_FORMAT_SVG, &svg, err);
    if (!st) {
        rm_text_puts(out, "<details class=\"tree\"><summary class=\"title\">");
        fig_html(out, tree->title && *tree->title ? tree->title : "Search tree");
        rm_text_puts(out, "</summary>\n");
        if (tree->question) {
            rm_text_puts(out, "<p>");
            fig_html(out, tree->question);
            rm_text_puts(out, "</p>\n");
        }
        open_card(out, svg_width(svg.data), "A search tree, drawn from the root at the left");
        fig_base64(out, svg.data, svg.length);
        close_card(out, "Search tree",
                   "A disc's area is proportional to its visits, its colour the mean "
                   "value Q; the chosen path is drawn in bold.");
        rm_text_puts(out,
                     "<p>N visits, Q mean value, P prior, lp log-probability of the step.</p>\n");
        st = add_nodes(tree, out, err);
        rm_text_puts(out, "</details>\n");
    }
    rm_text_free(&svg);
    return st;
}

/* ---- the page ---------------------------------------------------------------------------- */

static void add_head(const rm_report_options *o, rm_text *out)
{
    rm_text_puts(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                      "img-src data:; style-src 'unsafe-inline'\">\n<title>");
    fig_html(out, o->title ? o->title : "Ramify report");
    rm_text_puts(out, "</title>\n<style>\n");
    rm_text_puts(out, fig_report_css);
    rm_text_puts(out, "</style>\n</head>\n<body>\n");
}

static void add_header(const rm_analysis *a, const rm_report_options *o, rm_text *out)
{
    size_t n_cells = 0;
    for (size_t i = 0; i < a->n_tasks; i++)
        n_cells += a->tasks[i].n_cells;
    rm_text_puts(out, "<header>\n<h1>");
    fig_html(out, o->title ? o->title : "Ramify report");
    rm_text_puts(out, "</h1>\n");
    if (o->description && *o->description) {
        rm_text_puts(out, "<p class=\"lead\">");
        fig_html(out, o->description);
        rm_text_puts(out, "</p>\n");
    }
    if (o->hypothesis && *o->hypothesis) {
        rm_text_puts(out, "<p class=\"hypothesis\"><strong>Hypothesis:</strong> ");
        fig_html(out, o->hypothesis);
        rm_text_puts(out, ".</p>\n");
    }
    rm_text_printf(
        out, "<p>%zu task%s, %zu cells, %zu recorded results; intervals of %.4g%%.</p>\n",
        a->n_tasks, a->n_tasks == 1 ? "" : "s", n_cells, a->records->n_results,
        100 * a->options.level);
    rm_text unfinished = { 0 };
    if (rm_records_caveat(a->records, &unfinished)) {
        rm_text_puts(out, "<p class=\"notice\">This run is ");
        fig_html(out, unfinished.data ? unfinished.data : "");
        rm_text_puts(out, ".</p>\n");
        out->failed = out->failed || unfinished.failed;
    }
    rm_text_free(&unfinished);
    rm_text_puts(out, "<nav>\n");
    for (size_t i = 0; i < a->n_tasks; i++) {
        rm_text_printf(out, "<a href=\"#task-%zu\">", i + 1);
        fig_html(out, a->tasks[i].task);
        rm_text_puts(out, "</a>\n");
    }
    if (o->n_trees)
        rm_text_puts(out, "<a href=\"#trees\">Search trees</a>\n");
    rm_text_puts(out, "<a href=\"#methods\">Methods</a>\n<a href=\"#run\">The "
                      "run</a>\n</nav>\n</header>\n<main>\n");
}

static void add_paragraphs(const char *const *paragraphs, rm_text *out)
{
    for (; *paragraphs; paragraphs++) {
        rm_text_puts(out, "<p>");
        fig_html(out, *paragraphs);
        rm_text_puts(out, "</p>\n");
    }
}

static void add_folded(const char *title, const char *text, rm_text *out)
{
    if (!text || !*text)
        return;
    rm_text_printf(out, "<details><summary>%s</summary>\n<pre tabindex=\"0\">", title);
    fig_html(out, text);
    rm_text_puts(out, "</pre></details>\n");
}

static void add_run(const rm_report_options *o, rm_text *out)
{
    rm_text_puts(out, "<section id=\"run\">\n<h2>The run</h2>\n");
    if (o->command && *o->command) {
        rm_text_puts(out, "<p>Made by this command:</p>\n<pre class=\"command\">");
        fig_html(out, o->command);
        rm_text_puts(out, "</pre>\n");
    }
    add_folded("Manifest: version, models, machine", o->manifest, out);
    add_folded("Configuration as used", o->config, out);
    rm_text_puts(out, "</section>\n");
}

rm_status rm_report_html(const rm_analysis *a, const rm_report_options *o, rm_text *out,
                         rm_error *err)
{
    static const rm_report_options none = { 0 };
    if (!o)
        o = &none;
    rm_status st = RM_OK;
    add_head(o, out);
    add_header(a, o, out);
    for (size_t i = 0; !st && i < a->n_tasks; i++)
        st = add_task(a, i, o->figure, out, err);
    if (!st && o->n_trees) {
        rm_text_puts(out, "<section id=\"trees\">\n<h2>Search trees</h2>\n");
        for (size_t i = 0; !st && i < o->n_trees; i++)
            st = add_tree(&o->trees[i], out, err);
        rm_text_puts(out, "</section>\n");
    }
    rm_text_puts(out, "<section id=\"methods\">\n<h2>How the numbers were computed</h2>\n");
    add_paragraphs(fig_report_methods, out);
    rm_text_puts(out, "<h3>What they do not say</h3>\n");
    add_paragraphs(fig_report_limits, out);
    rm_text_puts(out, "</section>\n");
    add_run(o, out);
    rm_text_puts(out, "</main>\n<footer>Made by Ramify. This page is complete in itself and loads "
                      "nothing.</footer>\n</body>\n</html>\n");
    if (!st && out->failed)
        st = rm_fail(err, RM_E_MEMORY, "There is no memory for the report.");
    return st;
}
