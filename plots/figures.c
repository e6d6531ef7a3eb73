/* figures.c - the figures of a task: their list, their layout on a page, their files.
 *
 * A figure is drawn twice with the same code. The dry run finds which labels need a key; then
 * the page grows by the room for keys and notes below the panels, which keep their size, so that
 * the second run places every label as the first did. */
#include "plots/panel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define COLUMN_IN 3.35
#define PAGE_IN   7.0
#define PANEL_GAP 13.0

/* ---- layouts --------------------------------------------------------------------------- */

typedef bool figure_has(const fig_view *);
typedef void figure_draw(const fig_view *, fig_page *);
/* The height that suits a width; a width of 0 is chosen first. */
typedef void figure_size(const fig_view *, double *width_in, double *height_in);

static void choose_width(double *width_in, double width)
{
    if (*width_in == 0)
        *width_in = width;
}

/* Panels stand side by side while each has 2.2 inches (a page holds three), else in rows. */
static size_t columns_of(double width_in, size_t n)
{
    size_t fit = (size_t)(width_in / 2.2);
    return fit < 1 ? 1 : fit < n ? fit : n;
}

static size_t rows_of(double width_in, size_t n)
{
    size_t columns = columns_of(width_in, n);
    return n ? (n + columns - 1) / columns : 1;
}

static fig_rect panel_of(const fig_page *page, size_t i, size_t n)
{
    double all = fig_canvas_width(page->canvas) / 72;
    size_t columns = columns_of(all, n), rows = rows_of(all, n);
    double width =
        (page->body.x1 - page->body.x0 - PANEL_GAP * (double)(columns - 1)) / (double)columns;
    double height = (page->body.y1 - page->body.y0 - PANEL_GAP * (double)(rows - 1)) / (double)rows;
    double x0 = page->body.x0 + (double)(i % columns) * (width + PANEL_GAP);
    double y1 = page->body.y1 - (double)(i / columns) * (height + PANEL_GAP);
    return (fig_rect){ x0, y1 - height, x0 + width, y1 };
}

static rm_quantity main_cost(const fig_view *v)
{
    return fig_has_cost(v, RM_Q_LATENCY_P50_MS)     ? RM_Q_LATENCY_P50_MS
           : fig_has_cost(v, RM_Q_GENERATED_TOKENS) ? RM_Q_GENERATED_TOKENS
                                                    : RM_Q_FLOPS;
}

static bool has_any_cost(const fig_view *v)
{
    return fig_has_cost(v, RM_Q_LATENCY_P50_MS) || fig_has_cost(v, RM_Q_GENERATED_TOKENS) ||
           fig_has_cost(v, RM_Q_FLOPS);
}

static rm_quantity second_cost(const fig_view *v)
{
    return main_cost(v) == RM_Q_LATENCY_P50_MS && fig_has_cost(v, RM_Q_GENERATED_TOKENS)
               ? RM_Q_GENERATED_TOKENS
               : RM_Q_FLOPS;
}

static bool has_frontier(const fig_view *v)
{
    return second_cost(v) != main_cost(v) && fig_has_cost(v, second_cost(v));
}

static size_t overview_panels(const fig_view *v)
{
    int pool[1];
    return (size_t)1 + (fig_sample_pools(v, pool, 1) || fig_has_sizes(v)) + has_frontier(v);
}

/* Which draws a chart of samples shows, for the note. */
static void say_pool(const fig_view *v, fig_page *page, int report)
{
    rm_text name = { 0 };
    const rm_cell *cell = fig_cell(v, report);
    fig_text_plain(&name, cell->label, 60);
    if (!name.failed && name.data)
        snprintf(page->pool, sizeof page->pool, "%s", name.data);
    rm_text_free(&name);
}

/* The panels that have data, lettered. */
static void draw_overview(const fig_view *v, fig_page *page)
{
    int pool[2];
    size_t n_pools = fig_sample_pools(v, pool, 2);
    bool samples = n_pools > 0, sizes = !samples && fig_has_sizes(v);
    rm_quantity first = main_cost(v), second = second_cost(v);
    bool frontier = has_frontier(v);
    size_t n = overview_panels(v), at = 0;
    char title[3][96];
    snprintf(title[0], sizeof title[0], "(a) accuracy vs. %s",
             first == RM_Q_LATENCY_P50_MS ? "latency"
             : first == RM_Q_FLOPS        ? "FLOPs"
                                          : "tokens");
    fig_chart_tradeoff(v, page, panel_of(page, at, n), first,
                       &(fig_chart_options){ n > 1 ? title[0] : NULL, true });
    at++;
    if (samples || sizes) {
        rm_text name = { 0 }; /* whose samples, where there are several models */
        fig_text_plain(&name, samples && n_pools > 1 ? fig_cell(v, pool[0])->model : "", 14);
        snprintf(title[1], sizeof title[1], "(b) scaling with %s%s%s", samples ? "samples" : "size",
                 name.length ? ": " : "", name.failed || !name.data ? "" : name.data);
        rm_text_free(&name);
        fig_chart_options o = { title[1], true };
        if (samples)
            say_pool(v, page, pool[0]);
        if (samples)
            fig_chart_samples(v, page, panel_of(page, at, n), pool[0], &o);
        else
            fig_chart_size(v, page, panel_of(page, at, n), &o);
        at++;
    }
    if (frontier) {
        snprintf(title[2], sizeof title[2], "(%c) compute frontier", at == 1 ? 'b' : 'c');
        fig_chart_frontier(v, page, panel_of(page, at, n), second,
                           &(fig_chart_options){ title[2], true });
    }
}

static void draw_latency(const fig_view *v, fig_page *page)
{
    fig_chart_tradeoff(v, page, page->body, RM_Q_LATENCY_P50_MS, &(fig_chart_options){ 0 });
}

static void draw_tokens(const fig_view *v, fig_page *page)
{
    fig_chart_tradeoff(v, page, page->body, RM_Q_GENERATED_TOKENS, &(fig_chart_options){ 0 });
}

static void draw_flops(const fig_view *v, fig_page *page)
{
    fig_chart_tradeoff(v, page, page->body, RM_Q_FLOPS, &(fig_chart_options){ 0 });
}

static bool has_latency(const fig_view *v)
{
    return fig_has_cost(v, RM_Q_LATENCY_P50_MS);
}
static bool has_tokens(const fig_view *v)
{
    return fig_has_cost(v, RM_Q_GENERATED_TOKENS);
}
static bool has_flops(const fig_view *v)
{
    return fig_has_cost(v, RM_Q_FLOPS);
}

/* One panel a model, headed by its name where there are several. */
enum { MAX_MODELS = 6 };
typedef void panel_draw(const fig_view *, fig_page *, fig_rect, int report,
                        const fig_chart_options *);

static void draw_models(const fig_view *v, fig_page *page, const int *reports, size_t n,
                        panel_draw *draw, bool whole_label)
{
    for (size_t i = 0; i < n; i++) {
        rm_text title = { 0 };
        const rm_cell *cell = fig_cell(v, reports[i]); /* of an ensemble the many names say less */
        bool alone = true; /* is the model enough to tell it from the others? */
        for (size_t j = 0; j < n; j++)
            alone &= j == i || strcmp(fig_cell(v, reports[j])->model, cell->model);
        const char *name = strstr(cell->model, " + ") ? cell->strategy : cell->model;
        if (whole_label) {
            name = fig_name_of(v, cell);
            page->names |= name != cell->label;
        } else if (!alone) { /* the family, less the model that goes without saying */
            size_t unsaid = (size_t)(fig_name_of(v, cell) - cell->label);
            bool kin = !strncmp(cell->family, cell->label, unsaid) && cell->family[unsaid];
            name = kin ? cell->family + unsaid : cell->label;
            page->names |= kin && unsaid;
        }
        fig_text_plain(&title, name, 36);
        draw(v, page, panel_of(page, i, n), reports[i],
             &(fig_chart_options){ (n > 1 || whole_label) && !title.failed ? title.data : NULL,
                                   n > 1 });
        rm_text_free(&title);
    }
}

static void draw_samples(const fig_view *v, fig_page *page)
{
    int reports[MAX_MODELS];
    size_t n = fig_sample_pools(v, reports, MAX_MODELS);
    draw_models(v, page, reports, n, fig_chart_samples, false);
    if (n == 1)
        say_pool(v, page, reports[0]);
}

static void draw_reliability(const fig_view *v, fig_page *page)
{
    int reports[MAX_MODELS];
    size_t n = fig_calibrated(v, reports, MAX_MODELS);
    draw_models(v, page, reports, n, fig_chart_reliability, true);
    page->bars = true;
}

static bool has_samples(const fig_view *v)
{
    int report[1];
    return fig_sample_pools(v, report, 1) > 0;
}

static bool has_reliability(const fig_view *v)
{
    int report[1];
    return fig_calibrated(v, report, 1) > 0;
}

static void samples_size(const fig_view *v, double *width_in, double *height_in)
{
    int reports[MAX_MODELS];
    size_t n = fig_sample_pools(v, reports, MAX_MODELS);
    choose_width(width_in, n > 1 ? PAGE_IN : COLUMN_IN);
    *height_in = (n > 2 ? 2.1 : 2.5) * (double)rows_of(*width_in, n);
}

static void reliability_size(const fig_view *v, double *width_in, double *height_in)
{
    int reports[MAX_MODELS];
    size_t n = fig_calibrated(v, reports, MAX_MODELS);
    choose_width(width_in, n > 1 ? PAGE_IN : COLUMN_IN);
    *height_in = (n > 2 ? 2.3 : 3.0) * (double)rows_of(*width_in, n);
}

static void draw_size(const fig_view *v, fig_page *page)
{
    fig_chart_size(v, page, page->body, &(fig_chart_options){ 0 });
}

static void draw_diversity(const fig_view *v, fig_page *page)
{
    fig_chart_diversity(v, page, page->body, &(fig_chart_options){ 0 });
}

static bool has_diversity(const fig_view *v)
{
    return fig_has_cost(v, RM_Q_DISTINCT_ANSWERS);
}

static void draw_distribution(const fig_view *v, fig_page *page)
{
    fig_chart_distribution(v, page, page->body);
}

static void draw_differences(const fig_view *v, fig_page *page)
{
    fig_chart_differences(v, page, page->body);
}

static bool has_distribution(const fig_view *v)
{
    return fig_distribution_rows(v) > 0;
}
static bool has_differences(const fig_view *v)
{
    return fig_difference_rows(v) > 0;
}

static void distribution_size(const fig_view *v, double *width_in, double *height_in)
{
    choose_width(width_in, 4.6);
    *height_in = 0.55 + 0.16 * (double)fig_distribution_rows(v);
}

static void differences_size(const fig_view *v, double *width_in, double *height_in)
{
    choose_width(width_in, 5.4);
    *height_in = 0.55 + 0.16 * (double)fig_difference_rows(v);
}

static void draw_beams(const fig_view *v, fig_page *page)
{
    bool both = fig_has_beam_lp(v);
    fig_chart_beams(v, page, panel_of(page, 0, both ? 2 : 1), RM_Q_ACCURACY,
                    &(fig_chart_options){ both ? "(a) accuracy" : NULL, both });
    if (both)
        fig_chart_beams(v, page, panel_of(page, 1, 2), RM_Q_CHOSEN_LP,
                        &(fig_chart_options){ "(b) log-probability of the answer", true });
}

static void beams_size(const fig_view *v, double *width_in, double *height_in)
{
    choose_width(width_in, fig_has_beam_lp(v) ? PAGE_IN : COLUMN_IN);
    *height_in = 2.4 * (double)rows_of(*width_in, fig_has_beam_lp(v) ? 2 : 1);
}

static void draw_coverage(const fig_view *v, fig_page *page)
{
    fig_chart_coverage(v, page, page->body);
}

static bool has_coverage(const fig_view *v)
{
    for (size_t i = 0; i < v->task->n_cells; i++)
        if (fig_longest_fit(v, i))
            return true;
    return false;
}

static void draw_tuning(const fig_view *v, fig_page *page)
{
    fig_chart_tuning(v, page, page->body);
}

static bool has_tuning(const fig_view *v)
{
    return v->task->n_tunings > 0;
}

static void overview_size(const fig_view *v, double *width_in, double *height_in)
{
    size_t n = overview_panels(v);
    choose_width(width_in, PAGE_IN);
    *height_in = 2.1 * (double)rows_of(*width_in, n);
}

/* ---- the list -------------------------------------------------------------------------- */

/* clang-format off */
static const struct figure {
    rm_figure_info info;
    figure_has *has;
    figure_draw *draw;
    figure_size *size; /* NULL: a column wide, 2.6 inches high */
} figures[RM_N_FIGURES] = {
    [RM_FIGURE_OVERVIEW] = {
        { "overview", "Overview",
          "Accuracy against cost (median latency where it was measured), every cell with its "
          "intervals "
          "in both directions and the Pareto front of the cells without verifier and oracle; exact "
          "expectations over subsets of one pool of samples, or the swept sizes; and the front "
          "over a "
          "second cost." },
        has_any_cost, draw_overview, overview_size },
    [RM_FIGURE_LATENCY] = {
        { "latency", "Accuracy against latency",
          "Latency is the median over problems run one at a time. The grey staircase is the "
          "Pareto front; numbers beside points are the swept size." },
        has_latency, draw_latency, NULL },
    [RM_FIGURE_TOKENS] = {
        { "tokens", "Accuracy against generated tokens",
          "Generated tokens per problem, every discarded branch included. The grey staircase is "
          "the "
          "Pareto front; numbers beside points are the swept size." },
        has_tokens, draw_tokens, NULL },
    [RM_FIGURE_FLOPS] = {
        { "flops", "Accuracy against FLOPs",
          "Floating-point operations of the forward passes per problem, a shared prefix counted "
          "once. The grey staircase is the Pareto front." },
        has_flops, draw_flops, NULL },
    [RM_FIGURE_SAMPLES] = {
        { "samples", "Scaling with samples",
          "Expectations over all k-subsets of the recorded samples, with bands from a bootstrap "
          "over "
          "problems. Coverage (pass@k) is what an oracle would choose: an upper bound." },
        has_samples, draw_samples, samples_size },
    [RM_FIGURE_SIZE] = {
        { "size", "Scaling with the swept size",
          "Every cell run in full; a line joins the cells that differ only in the swept "
          "parameter." },
        fig_has_sizes, draw_size, NULL },
    [RM_FIGURE_BEAMS] = {
        { "beams", "Beam width",
          "Accuracy against the beam width, and beside it what the search itself raises: the "
          "log-probability of the chosen answer under the model, mean over problems. Per doubling: "
          "the least-squares change with an interval that holds for all trends together." },
        fig_has_beams, draw_beams, beams_size },
    [RM_FIGURE_COVERAGE] = {
        { "coverage", "Coverage and its law",
          "Share of the problems that at least one of k samples solves, for every pool of samples, "
          "with bands from a bootstrap over problems. Dashed: the law exp(−a k^−b) fitted to the "
          "points. A horizontal bar: the interval of k in which one pool overtakes another." },
        has_coverage, draw_coverage, NULL },
    [RM_FIGURE_TUNING] = {
        { "tuning", "Equal tuning",
          "Expected accuracy of the best of m settings of a strategy, chosen on one half of the "
          "problems and judged on the other: strategies compare at equal m." },
        has_tuning, draw_tuning, NULL },
    [RM_FIGURE_DIVERSITY] = {
        { "diversity", "Diversity and accuracy",
          "Expected number of distinct answers among equally many candidates of every cell." },
        has_diversity, draw_diversity, NULL },
    [RM_FIGURE_RELIABILITY] = {
        { "reliability", "Reliability of the vote",
          "Accuracy of the chosen answers by the share of candidates that gave them, with Wilson "
          "intervals; grey bars show how many results a bin holds; on the dashed line a share "
          "would "
          "be a probability." },
        has_reliability, draw_reliability, reliability_size },
    [RM_FIGURE_DISTRIBUTION] = {
        { "distribution", "Latency distributions",
          "Per cell: the median (marker), the middle half (bar) and the middle 90% (line) of the "
          "latencies of single problems." },
        has_distribution, draw_distribution, distribution_size },
    [RM_FIGURE_DIFFERENCES] = {
        { "differences", "Differences to the baseline",
          "Paired differences on common problems, with intervals corrected for the number of "
          "comparisons. A filled marker: the interval excludes 0. The green band, where there is "
          "one, is the stated margin of equivalence." },
        has_differences, draw_differences, differences_size },
};
/* clang-format on */

const rm_figure_info *rm_figure_describe(rm_figure f)
{
    return (unsigned)f < RM_N_FIGURES ? &figures[f].info : NULL;
}

rm_status rm_figure_find(const char *name, rm_figure *out, rm_error *err)
{
    int best = 0, best_distance = 1000;
    for (int i = 0; i < RM_N_FIGURES; i++) {
        if (!strcmp(name, figures[i].info.name)) {
            *out = (rm_figure)i;
            return RM_OK;
        }
        int distance = rm_word_distance(name, figures[i].info.name);
        if (distance < best_distance)
            best = i, best_distance = distance;
    }
    return rm_fail(err, RM_E_ARGUMENT, "There is no figure \"%s\"; did you mean \"%s\"?", name,
                   figures[best].info.name);
}

const char *rm_format_extension(rm_format format)
{
    static const char *const extension[] = { "pdf", "svg", "png" };
    return (unsigned)format < 3 ? extension[format] : NULL;
}

rm_status rm_format_of_path(const char *path, rm_format *out, rm_error *err)
{
    const char *dot = strrchr(path, '.');
    for (int i = 0; dot && i < 3; i++)
        if (!strcasecmp(dot + 1, rm_format_extension((rm_format)i))) {
            *out = (rm_format)i;
            return RM_OK;
        }
    return rm_fail(err, RM_E_ARGUMENT, "%s: a figure's file must end in .pdf, .svg or .png.", path);
}

/* ---- pages ----------------------------------------------------------------------------- */

#define PAGE_MARGIN 2.0

/* What the reader must know of every figure: level, number of problems, the daggers. */
static void note_of(const fig_view *v, const fig_page *page, rm_text *note)
{
    const char *ring = page->rings ? " (ringed)" : "",
               *front = page->front ? "; never on the front" : "";
    if (page->note[0])
        rm_text_puts(note, page->note);
    else {
        rm_text_printf(note, "%.4g%% intervals", 100 * v->analysis->options.level);
        for (size_t i = 0; i < page->n_methods; i++)
            rm_text_printf(note, "%s%s", i ? "; " : " (", page->method[i]);
        rm_text_printf(note, "%s; %zu problem%s", page->n_methods ? ")" : "", v->task->n_problems,
                       v->task->n_problems == 1 ? "" : "s");
        if (page->latency && fig_latency_problems(v) != v->task->n_problems)
            rm_text_printf(note, ", latency on %zu", fig_latency_problems(v));
        rm_text_puts(note, ".");
    }
    if (page->steps)
        rm_text_puts(note, " Grey steps: Pareto front.");
    if (page->pool[0])
        rm_text_printf(note, " Samples #<italic/>k#<upright/>: from the pool of %s.", page->pool);
    if (page->bars)
        rm_text_puts(note, " Grey bars: results in a bin. Dashed: a share that is a probability.");
    if (page->beside)
        rm_text_puts(note, " Markers of one size stand side by side.");
    if (page->names && v->main_model) {
        rm_text_puts(note, " Model, where none is named: ");
        fig_text_plain(note, v->main_model, 40);
        rm_text_puts(note, ".");
    }
    if (page->verifier)
        rm_text_printf(note, " †\u00a0an exact verifier took part%s%s.", ring, front);
    if (page->oracle)
        rm_text_printf(note, " ‡\u00a0oracle: the reference answer took part%s%s.", ring, front);
}

static size_t count_lines(const char *text)
{
    size_t n = *text != '\0';
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void draw_note(fig_canvas *canvas, const char *lines)
{
    double y =
        PAGE_MARGIN + FIG_SIZE_NOTE * 0.6 + (FIG_SIZE_NOTE + 2) * (double)(count_lines(lines) - 1);
    for (const char *p = lines; *p; y -= FIG_SIZE_NOTE + 2) {
        size_t n = strcspn(p, "\n");
        rm_text line = { 0 };
        rm_text_add(&line, p, n);
        if (!line.failed)
            fig_text(canvas, PAGE_MARGIN, y, 0, FIG_SIZE_NOTE, FIG_REGULAR, FIG_GRAY, line.data);
        rm_text_free(&line);
        p += n + (p[n] == '\n');
    }
}

/* The key: rows of markers and names over the width of the page, the first row's top at `top`.
 * Returns their height. */
static double draw_key(const fig_page *page, double top)
{
    const double row = FIG_SIZE_LABEL + 4.5, lead = 10, gap = 11, left = PAGE_MARGIN + 3;
    double x = left, y = top - row / 2;
    for (size_t i = 0; i < page->n_key; i++) {
        const fig_key *k = &page->key[i];
        double width = lead + fig_text_width(k->text, FIG_SIZE_LABEL, FIG_REGULAR);
        if (x > left && x + width > fig_canvas_width(page->canvas) - PAGE_MARGIN)
            x = left, y -= row;
        fig_draw_marker(page->canvas, x + 3, y, k->style.ringed ? 2.0 : 2.6, &k->style);
        fig_text(page->canvas, x + lead, y, 0, FIG_SIZE_LABEL, FIG_REGULAR, k->color, k->text);
        x += width + gap;
    }
    return page->n_key ? top - y + row / 2 : 0;
}

static void free_key(fig_page *page)
{
    for (size_t i = 0; i < page->n_key; i++)
        free(page->key[i].text);
    page->n_key = 0;
}

/* Draws the figure above `below` points that are kept free, the key at their top. */
static rm_status draw_page(const fig_view *v, const struct figure *f, fig_canvas *canvas,
                           double below, fig_page *page, rm_error *err)
{
    *page = (fig_page){
        .canvas = canvas,
        .body = { PAGE_MARGIN, PAGE_MARGIN + below, fig_canvas_width(canvas) - PAGE_MARGIN,
                  fig_canvas_height(canvas) - PAGE_MARGIN },
    };
    f->draw(v, page);
    page->key_height = draw_key(page, page->body.y0 - 4);
    free_key(page);
    if (page->status && err)
        *err = page->error;
    return page->status;
}

/* The dry run: the page's note, in lines, and the room for note and keys below the panels. */
static rm_status lay_out(const fig_view *v, const struct figure *f, double width, double height,
                         rm_text *lines, double *below, rm_error *err)
{
    fig_canvas *canvas = NULL;
    fig_page page;
    rm_status st = fig_canvas_dry(width, height, &canvas, err);
    if (!st)
        st = draw_page(v, f, canvas, 0, &page, err);
    fig_canvas_free(canvas);
    if (st)
        return st;
    rm_text note = { 0 };
    note_of(v, &page, &note);
    if (!note.failed)
        fig_text_wrap(lines, note.data, width - 2 * PAGE_MARGIN, FIG_SIZE_NOTE, FIG_REGULAR, 4);
    rm_text_free(&note);
    if (lines->failed || !lines->data)
        return rm_fail(err, RM_E_MEMORY, "There is no memory for the note of a figure.");
    *below = 5 + (FIG_SIZE_NOTE + 2) * (double)count_lines(lines->data) +
             (page.key_height > 0 ? page.key_height + 5 : 0);
    return RM_OK;
}

static rm_status render(const fig_view *v, const struct figure *f, const rm_plot_options *o,
                        rm_format format, rm_text *bytes, rm_error *err)
{
    double width_in = o && o->width_in > 0 ? o->width_in : 0, height_in = 2.6;
    if (f->size)
        f->size(v, &width_in, &height_in);
    choose_width(&width_in, COLUMN_IN);
    if (o && o->height_in > 0)
        height_in = o->height_in;
    double width = 72 * width_in, height = 72 * height_in, below = 0;
    if (!(width >= 100 && height >= 50))
        return rm_fail(err, RM_E_ARGUMENT,
                       "A figure of %g x %g inches is too small; at least 1.4 x 0.7 are needed.",
                       width_in, height_in);
    rm_text lines = { 0 };
    fig_canvas *canvas = NULL;
    fig_page page;
    rm_status st = lay_out(v, f, width, height, &lines, &below, err);
    if (!st)
        st = fig_canvas_open(format, width, height + below, o && o->dpi > 0 ? o->dpi : 300,
                             f->info.title, &canvas, err);
    if (!st)
        st = draw_page(v, f, canvas, below, &page, err);
    if (!st) {
        draw_note(canvas, lines.data);
        st = fig_canvas_finish(canvas, bytes, err);
        canvas = NULL;
    }
    fig_canvas_free(canvas);
    rm_text_free(&lines);
    return st;
}

bool rm_figure_has_data(const rm_analysis *analysis, size_t task, rm_figure figure)
{
    fig_view v;
    if ((unsigned)figure >= RM_N_FIGURES || fig_view_new(analysis, task, &v, NULL))
        return false;
    bool has = figures[figure].has(&v);
    fig_view_free(&v);
    return has;
}

rm_status rm_figure_render(const rm_analysis *analysis, size_t task, rm_figure figure,
                           const rm_plot_options *options, rm_format format, rm_text *bytes,
                           rm_error *err)
{
    if ((unsigned)figure >= RM_N_FIGURES || (unsigned)format > RM_FORMAT_PNG)
        return rm_fail(err, RM_E_ARGUMENT, "There is no figure %d in format %d.", (int)figure,
                       (int)format);
    fig_view v;
    rm_status st = fig_view_new(analysis, task, &v, err);
    if (st)
        return st;
    if (!figures[figure].has(&v))
        st = rm_fail(err, RM_E_ARGUMENT, "Task \"%s\" has no data for the figure \"%s\".",
                     v.task->task, figures[figure].info.name);
    else
        st = render(&v, &figures[figure], options, format, bytes, err);
    fig_view_free(&v);
    return st;
}

rm_status rm_figure_write(const rm_analysis *analysis, size_t task, rm_figure figure,
                          const rm_plot_options *options, const char *path, rm_error *err)
{
    rm_format format;
    rm_status st = rm_format_of_path(path, &format, err);
    if (st)
        return st;
    rm_text bytes = { 0 };
    st = rm_figure_render(analysis, task, figure, options, format, &bytes, err);
    if (!st)
        st = rm_file_write(path, bytes.data, bytes.length, err);
    rm_text_free(&bytes);
    return st;
}
