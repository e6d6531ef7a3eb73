/* table_print.c - a table as LaTeX (booktabs), Markdown (pipes), HTML and aligned text. */
#include "plots/escape.h"
#include "plots/table.h"

#include <string.h>

static const fig_cell_text *text_at(const fig_table *t, size_t row, size_t column)
{
    return &t->cells[row * FIG_MAX_COLUMNS + column];
}

/* Hands each note to `one`. */
static void each_note(const fig_table *t, rm_text *out, void (*one)(rm_text *, const char *))
{
    for (const char *p = t->notes.data; p && *p;) {
        size_t n = strcspn(p, "\n");
        rm_text line = { 0 };
        rm_text_add(&line, p, n);
        if (!line.failed && n)
            one(out, line.data);
        rm_text_free(&line);
        p += n + (p[n] == '\n');
    }
}

/* ---- LaTeX ------------------------------------------------------------------------------- */

/* Numbers in footnote size, intervals smaller, little room between columns; columns that do not
 * fit a page's text width go into a further tabular below, which repeats the first column. TeX
 * alone knows widths, so they are estimated from the numbers of characters of Computer Modern. */
#define LATEX_WIDTH  462.0 /* points; two-column classes have 469 to 516 */
#define LATEX_CHAR   3.95  /* at \footnotesize, digits and letters mixed */
#define LATEX_ASIDE  3.35  /* at \scriptsize, with brackets, points and spaces */
#define LATEX_COLSEP 3.5   /* on either side of a column */

static size_t characters(const char *text)
{
    size_t n = 0;
    for (; text && *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static double latex_width(const fig_table *t, size_t column)
{
    const fig_column *c = &t->columns[column];
    size_t head = characters(c->head), unit = characters(c->unit);
    double widest = LATEX_CHAR * (double)(head > unit ? head : unit);
    for (size_t r = 0; r < t->n_rows; r++) {
        const fig_cell_text *cell = text_at(t, r, column);
        double width = LATEX_CHAR * (double)characters(cell->main) +
                       LATEX_ASIDE * (double)(cell->aside ? characters(cell->aside) + 1 : 0);
        if (width > widest)
            widest = width;
    }
    return widest + 2 * LATEX_COLSEP;
}

static void latex_note(rm_text *out, const char *note)
{
    rm_text_puts(out, "\\par ");
    fig_latex(out, note);
    rm_text_puts(out, "\n");
}

static void latex_cell(const fig_cell_text *cell, rm_text *out)
{
    if (cell->main)
        fig_latex(out, cell->main);
    if (!cell->aside)
        return;
    rm_text_puts(out, "~{\\scriptsize ");
    fig_latex(out, cell->aside);
    rm_text_puts(out, "}");
}

/* One tabular of the first column and of those given. */
static void latex_tabular(const fig_table *t, const size_t *column, size_t n, rm_text *out)
{
    bool units = false;
    rm_text_puts(out, "\\begin{tabular}{@{}");
    for (size_t c = 0; c < n; c++) {
        rm_text_puts(out, t->columns[column[c]].left ? "l" : "r");
        units |= *t->columns[column[c]].unit;
    }
    rm_text_puts(out, "@{}}\n\\toprule\n");
    for (int line = 0; line < 1 + units; line++) {
        for (size_t c = 0; c < n; c++) {
            const fig_column *of = &t->columns[column[c]];
            rm_text_puts(out, c ? " & " : "");
            fig_latex(out, line ? of->unit : of->head);
        }
        rm_text_puts(out, " \\\\\n");
    }
    rm_text_puts(out, "\\midrule\n");
    for (size_t r = 0; r < t->n_rows; r++) {
        /* {}: a row that begins with a bracket is not the optional argument of \\ before it */
        rm_text_puts(out, "{}");
        for (size_t c = 0; c < n; c++) {
            rm_text_puts(out, c ? " & " : "");
            latex_cell(text_at(t, r, column[c]), out);
        }
        rm_text_puts(out, " \\\\\n");
    }
    rm_text_puts(out, "\\bottomrule\n\\end{tabular}\n");
}

static void print_latex(const fig_table *t, rm_text *out)
{
    rm_text_puts(out,
                 "% needs \\usepackage{booktabs}; for a page's width "
        "(table*)\n{\\noindent\\footnotesize"
                      "\\setlength{\\tabcolsep}{3.5pt}\n");
    size_t chosen[FIG_MAX_COLUMNS] = { 0 }, n = 1;
    double name = latex_width(t, 0), width = name;
    for (size_t c = 1; c < t->n_columns; c++) {
        if (t->columns[c].detail)
            continue;
        double more = latex_width(t, c);
        if (n > 1 && width + more > LATEX_WIDTH) {
            latex_tabular(t, chosen, n, out);
            rm_text_puts(out, "\\par\\medskip\\noindent\n");
            n = 1;
            width = name;
        }
        chosen[n++] = c;
        width += more;
    }
    latex_tabular(t, chosen, n, out);
    rm_text_puts(out,
                 "\\par\\smallskip\\noindent\\parbox{\\linewidth}{\\scriptsize\\raggedright\n");
    each_note(t, out, latex_note);
    rm_text_puts(out, "}\\par}\n");
}

/* ---- Markdown ---------------------------------------------------------------------------- */

static void markdown_note(rm_text *out, const char *note)
{
    fig_markdown(out, note);
    rm_text_puts(out, "  \n"); /* a hard line break */
}

static void print_markdown(const fig_table *t, rm_text *out)
{
    for (size_t c = 0; c < t->n_columns; c++) {
        rm_text_puts(out, "| ");
        fig_markdown(out, t->columns[c].head);
        if (*t->columns[c].unit) {
            rm_text_puts(out, " (");
            fig_markdown(out, t->columns[c].unit);
            rm_text_puts(out, ")");
        }
        rm_text_puts(out, " ");
    }
    rm_text_puts(out, "|\n");
    for (size_t c = 0; c < t->n_columns; c++)
        rm_text_puts(out, t->columns[c].left ? "|:---" : "|---:");
    rm_text_puts(out, "|\n");
    for (size_t r = 0; r < t->n_rows; r++) {
        for (size_t c = 0; c < t->n_columns; c++) {
            const fig_cell_text *cell = text_at(t, r, c);
            rm_text_puts(out, "| ");
            if (cell->main)
                fig_markdown(out, cell->main);
            if (cell->aside) {
                rm_text_puts(out, " ");
                fig_markdown(out, cell->aside);
            }
            rm_text_puts(out, " ");
        }
        rm_text_puts(out, "|\n");
    }
    rm_text_puts(out, "\n");
    each_note(t, out, markdown_note);
}

/* ---- HTML -------------------------------------------------------------------------------- */

static void html_note(rm_text *out, const char *note)
{
    rm_text_puts(out, "<li>");
    fig_html(out, note);
    rm_text_puts(out, "</li>\n");
}

static void html_cell(const fig_table *t, size_t row, size_t column, rm_text *out)
{
    const fig_cell_text *cell = text_at(t, row, column);
    const char *tag = column == 0 ? "th scope=\"row\"" : "td";
    const char *head = t->columns[column].head;
    bool verdict = !strcmp(head, "Verdict") || !strcmp(head, "Claim");
    rm_text_printf(out, "<%s class=\"%s\">", tag, t->columns[column].left ? "l" : "r");
    if (verdict)
        rm_text_printf(out, "<span class=\"verdict %s\">", cell->main ? cell->main : "");
    if (cell->main)
        fig_html(out, cell->main);
    if (verdict)
        rm_text_puts(out, "</span>");
    if (cell->aside) {
        rm_text_puts(out, " <span class=\"ci\">");
        fig_html(out, cell->aside);
        rm_text_puts(out, "</span>");
    }
    rm_text_puts(out, column == 0 ? "</th>" : "</td>");
}

static void print_html(const fig_table *t, rm_text *out)
{
    rm_text_puts(out, "<table>\n<thead><tr>");
    for (size_t c = 0; c < t->n_columns; c++) {
        rm_text_printf(out, "<th scope=\"col\" class=\"%s\">", t->columns[c].left ? "l" : "r");
        fig_html(out, t->columns[c].head);
        if (*t->columns[c].unit) {
            rm_text_puts(out, " <span class=\"unit\">");
            fig_html(out, t->columns[c].unit);
            rm_text_puts(out, "</span>");
        }
        rm_text_puts(out, "</th>");
    }
    rm_text_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t r = 0; r < t->n_rows; r++) {
        rm_text_puts(out, "<tr>");
        for (size_t c = 0; c < t->n_columns; c++)
            html_cell(t, r, c, out);
        rm_text_puts(out, "</tr>\n");
    }
    rm_text_puts(out, "</tbody>\n</table>\n<ul class=\"notes\">\n");
    each_note(t, out, html_note);
    rm_text_puts(out, "</ul>\n");
}

/* ---- text -------------------------------------------------------------------------------- */

/* Nothing is escaped but control characters, which a terminal would obey. */
static void text_plain(rm_text *out, const char *text)
{
    for (const char *p = text; *p; p++)
        rm_text_add(out, (unsigned char)*p < 0x20 || *p == 0x7f ? " " : p, 1);
}

enum { TEXT_WIDTH = 100 };

/* Words in lines of TEXT_WIDTH characters; a longer word has a line of its own. */
static void text_note(rm_text *out, const char *note)
{
    size_t used = 0;
    while (*note) {
        rm_text word = { 0 };
        size_t n = strcspn(note, " ");
        rm_text_add(&word, note, n);
        size_t width = word.failed ? 0 : characters(word.data);
        if (used && used + 1 + width > TEXT_WIDTH) {
            rm_text_puts(out, "\n");
            used = 0;
        }
        rm_text_puts(out, used ? " " : "");
        text_plain(out, word.failed || !word.data ? "" : word.data);
        used += width + (used > 0);
        note += n + strspn(note + n, " ");
        rm_text_free(&word);
    }
    rm_text_puts(out, "\n");
}

static size_t text_width(const fig_table *t, size_t column)
{
    const fig_column *c = &t->columns[column];
    size_t widest = characters(c->head) + (*c->unit ? characters(c->unit) + 1 : 0);
    for (size_t r = 0; r < t->n_rows; r++) {
        const fig_cell_text *cell = text_at(t, r, column);
        size_t n = characters(cell->main) + (cell->aside ? characters(cell->aside) + 1 : 0);
        widest = n > widest ? n : widest;
    }
    return widest;
}

static void text_cell(const char *main, const char *aside, size_t width, bool left, bool last,
                      rm_text *out)
{
    size_t used = characters(main) + (aside && *aside ? characters(aside) + 1 : 0);
    int room = used < width ? (int)(width - used) : 0;
    rm_text_printf(out, "%*s", left ? 0 : room, "");
    if (main)
        text_plain(out, main);
    if (aside && *aside) {
        rm_text_puts(out, " ");
        text_plain(out, aside);
    }
    if (!last)
        rm_text_printf(out, "%*s  ", left ? room : 0, "");
}

static void print_text(const fig_table *t, rm_text *out)
{
    size_t width[FIG_MAX_COLUMNS];
    for (size_t c = 0; c < t->n_columns; c++)
        width[c] = text_width(t, c);
    for (size_t c = 0; c < t->n_columns; c++)
        text_cell(t->columns[c].head, t->columns[c].unit, width[c], t->columns[c].left,
                  c + 1 == t->n_columns, out);
    rm_text_puts(out, "\n");
    for (size_t r = 0; r < t->n_rows; r++) {
        for (size_t c = 0; c < t->n_columns; c++)
            text_cell(text_at(t, r, c)->main, text_at(t, r, c)->aside, width[c],
                      t->columns[c].left, c + 1 == t->n_columns, out);
        rm_text_puts(out, "\n");
    }
    each_note(t, out, text_note);
}

void fig_table_print(const fig_table *t, rm_table_format format, rm_text *out)
{
    switch (format) {
    case RM_TABLE_LATEX:
        print_latex(t, out);
        break;
    case RM_TABLE_MARKDOWN:
        print_markdown(t, out);
        break;
    case RM_TABLE_HTML:
        print_html(t, out);
        break;
    case RM_TABLE_TEXT:
        print_text(t, out);
        break;
    }
}

/* ---- public ------------------------------------------------------------------------------ */

const rm_table_info *rm_table_describe(rm_table table)
{
    static const rm_table_info info[RM_N_TABLES] = {
        [RM_TABLE_RESULTS] = { "results", "Results" },
        [RM_TABLE_COST] = { "cost", "Cost and diversity" },
        [RM_TABLE_COMPARISONS] = { "comparisons", "Comparisons" },
        [RM_TABLE_FRONT] = { "front", "On the Pareto front" },
        [RM_TABLE_TRENDS] = { "trends", "Trends along swept sizes" },
        [RM_TABLE_AREAS] = { "areas", "Accuracy over a range of costs" },
        [RM_TABLE_BUDGETS] = { "budgets", "At equal budgets" },
        [RM_TABLE_SCALING] = { "scaling", "The law of coverage" },
        [RM_TABLE_CROSSINGS] = { "crossings", "Crossing curves and equal passes" },
        [RM_TABLE_TUNING] = { "tuning", "Best of m settings" },
        [RM_TABLE_EQUAL_TUNING] = { "equal-tuning", "At equal tuning" },
    };
    return (unsigned)table < RM_N_TABLES ? &info[table] : NULL;
}

bool rm_table_has_data(const rm_analysis *analysis, size_t task, rm_table kind)
{
    fig_view v;
    if ((unsigned)kind >= RM_N_TABLES || fig_view_new(analysis, task, &v, NULL))
        return false;
    bool has = fig_table_has(&v, kind);
    fig_view_free(&v);
    return has;
}

rm_status rm_table_render(const rm_analysis *analysis, size_t task, rm_table kind,
                          rm_table_format format, rm_text *out, rm_error *err)
{
    if ((unsigned)kind >= RM_N_TABLES || (unsigned)format > RM_TABLE_TEXT)
        return rm_fail(err, RM_E_ARGUMENT, "There is no table %d in format %d.", (int)kind,
                       (int)format);
    fig_view v;
    fig_table t;
    rm_status st = fig_view_new(analysis, task, &v, err);
    if (st)
        return st;
    st = fig_table_build(&v, kind, &t, err);
    if (!st) {
        fig_table_print(&t, format, out);
        fig_table_free(&t);
        if (out->failed)
            st = rm_fail(err, RM_E_MEMORY, "There is no memory for a table.");
    }
    fig_view_free(&v);
    return st;
}

rm_status rm_table_write(const rm_analysis *analysis, size_t task, rm_table kind,
                         rm_table_format format, const char *path, rm_error *err)
{
    rm_text text = { 0 };
    rm_status st = rm_table_render(analysis, task, kind, format, &text, err);
    if (!st)
        st = rm_file_write(path, text.data, text.length, err);
    rm_text_free(&text);
    return st;
}
