/* table_print.c - a table as LaTeX (booktabs), Markdown (pipes) and HTML. */
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

static void latex_note(rm_text *out, const char *note)
{
    rm_text_puts(out, "\\par{\\footnotesize ");
    fig_latex(out, note);
    rm_text_puts(out, "}\n");
}

static void print_latex(const fig_table *t, rm_text *out)
{
    rm_text_puts(out, "% needs \\usepackage{booktabs}\n\\begin{tabular}{@{}");
    for (size_t c = 0; c < t->n_columns; c++)
        rm_text_puts(out, t->columns[c].left ? "l" : "r");
    rm_text_puts(out, "@{}}\n\\toprule\n");
    for (size_t c = 0; c < t->n_columns; c++) {
        if (c)
            rm_text_puts(out, " & ");
        fig_latex(out, t->columns[c].head);
        if (!*t->columns[c].unit)
            continue;
        rm_text_puts(out, " (");
        fig_latex(out, t->columns[c].unit);
        rm_text_puts(out, ")");
    }
    rm_text_puts(out, " \\\\\n\\midrule\n");
    for (size_t r = 0; r < t->n_rows; r++) {
        /* {}: a row that begins with a bracket is not the optional argument of \\ before it */
        rm_text_puts(out, "{}");
        for (size_t c = 0; c < t->n_columns; c++) {
            const fig_cell_text *cell = text_at(t, r, c);
            if (c)
                rm_text_puts(out, " & ");
            if (cell->main)
                fig_latex(out, cell->main);
            if (!cell->aside)
                continue;
            rm_text_puts(out, " {\\footnotesize ");
            fig_latex(out, cell->aside);
            rm_text_puts(out, "}");
        }
        rm_text_puts(out, " \\\\\n");
    }
    rm_text_puts(out, "\\bottomrule\n\\end{tabular}\n");
    each_note(t, out, latex_note);
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
    bool verdict = !strcmp(t->columns[column].head, "Verdict");
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
    }
}

/* ---- public ------------------------------------------------------------------------------ */

const rm_table_info *rm_table_describe(rm_table table)
{
    static const rm_table_info info[RM_N_TABLES] = {
        [RM_TABLE_RESULTS] = { "results", "Results" },
        [RM_TABLE_COST] = { "cost", "Cost and diversity" },
        [RM_TABLE_COMPARISONS] = { "comparisons", "Comparisons" },
    };
    return (unsigned)table < RM_N_TABLES ? &info[table] : NULL;
}

rm_status rm_table_render(const rm_analysis *analysis, size_t task, rm_table kind,
                          rm_table_format format, rm_text *out, rm_error *err)
{
    if ((unsigned)kind >= RM_N_TABLES || (unsigned)format > RM_TABLE_HTML)
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
