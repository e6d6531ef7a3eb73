/* Escapes, tables and the report. */
#include "plots/escape.h"
#include "plots/report.h"
#include "plots/table.h"
#include "tests/plots/synthetic.h"
#include "tests/plots/synthetic_tree.h"

#include <criterion/criterion.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- escapes ----------------------------------------------------------------------------- */

typedef struct escape_case {
    const char *text, *html, *markdown, *latex;
} escape_case;

static const escape_case escapes[] = {
    { "plain", "plain", "plain", "plain" },
    { "", "", "", "" },
    { "a<b>&c", "a&lt;b&gt;&amp;c", "a&lt;b&gt;&amp;c", "a\\textless{}b\\textgreater{}\\&c" },
    { "\"'", "&quot;&#39;", "\"'", "\\char34{}'" },
    { "a_b*c|d", "a_b*c|d", "a\\_b\\*c\\|d", "a\\_b*c\\textbar{}d" },
    { "$x^2 #1 %~", "$x^2 #1 %~", "\\$x^2 \\#1 %\\~",
      "\\$x\\textasciicircum{}2 \\#1 \\%\\textasciitilde{}" },
    { "\\input{x}", "\\input{x}", "\\\\input\\{x\\}", "\\textbackslash{}input\\{x\\}" },
    { "[a](b) `c`", "[a](b) `c`", "\\[a\\](b) \\`c\\`",
      "[a](b) \\textasciigrave{}c\\textasciigrave{}" },
    { "two\nlines\t!", "two\nlines\t!", "two lines \\!", "two lines !" },
    { "−1 × ∞ †", "−1 × ∞ †", "−1 × ∞ †", "$-$1 $\\times$ $\\infty$ \\textdagger{}" },
    { "-- ''", "-- &#39;&#39;", "-- ''", "-{}- '{}'" },
    { "é漢", "é漢", "é漢", "é漢" },
    { "bad \xff\xc3 end", "bad \xef\xbf\xbd\xef\xbf\xbd end", "bad \xef\xbf\xbd\xef\xbf\xbd end",
      "bad ?? end" },
    { "bell\x07 c1\xc2\x85", "bell\xef\xbf\xbd c1\xef\xbf\xbd", "bell\xef\xbf\xbd c1\xef\xbf\xbd",
      "bell? c1?" },
    { "cr\r\nlf", "cr\nlf", "cr lf", "cr lf" },
};

static void check_escape(const char *text, const char *expected,
                         void (*escape)(rm_text *, const char *))
{
    rm_text out = { 0 };
    rm_text_puts(&out, "");
    escape(&out, text);
    cr_assert_str_eq(out.data, expected, "\"%s\" became \"%s\"", text, out.data);
    rm_text_free(&out);
}

Test(plots_report, escapes)
{
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        check_escape(escapes[i].text, escapes[i].html, fig_html);
        check_escape(escapes[i].text, escapes[i].markdown, fig_markdown);
        check_escape(escapes[i].text, escapes[i].latex, fig_latex);
    }
}

Test(plots_report, base64_of_rfc_4648)
{
    static const char *const table[][2] = {
        /* RFC 4648, section 10 */
        { "", "" },
        { "f", "Zg==" },
        { "fo", "Zm8=" },
        { "foo", "Zm9v" },
        { "foob", "Zm9vYg==" },
        { "fooba", "Zm9vYmE=" },
        { "foobar", "Zm9vYmFy" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        rm_text out = { 0 };
        rm_text_puts(&out, "");
        fig_base64(&out, table[i][0], strlen(table[i][0]));
        cr_assert_str_eq(out.data, table[i][1]);
        rm_text_free(&out);
    }
}

Test(plots_report, slugs_and_fences)
{
    check_escape("arithmetic", "arithmetic", fig_slug);
    check_escape("../../etc/passwd", "-.-..-etc-passwd", fig_slug);
    check_escape("", "-", fig_slug);
    check_escape("gsm8k: é", "gsm8k----", fig_slug);
    rm_text out = { 0 };
    fig_markdown_block(&out, "sh", "echo ````` x");
    cr_assert_str_eq(out.data, "``````sh\necho ````` x\n``````\n\n");
    rm_text_free(&out);
}

Test(plots_report, amounts)
{
    static const struct {
        double value;
        const char *text;
    } table[] = {
        { NAN, "–" },         { INFINITY, "∞" },      { -INFINITY, "−∞" }, { 0, "0" },
        { 61.53, "61.5" },    { 0.012345, "0.0123" }, { 1234.4, "1,234" }, { 12345, "12.3k" },
        { 2.371e9, "2.37G" }, { 999.6, "1,000" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        rm_text out = { 0 };
        fig_amount(&out, table[i].value);
        cr_assert_str_eq(out.data, table[i].text, "%g became %s", table[i].value, out.data);
        rm_text_free(&out);
    }
}

/* ---- tables ------------------------------------------------------------------------------ */

typedef struct fixture { /* not to be copied: the analysis points to the records */
    rm_records records;
    rm_analysis *analysis;
} fixture;

static void make(fixture *f, const synthetic_spec *spec)
{
    rm_error err = { "" };
    synthetic_fill(&f->records, spec);
    rm_analysis_options o = { .resamples = 100, .draws = 40, .margin = 0.05 };
    cr_assert_eq(rm_analyze(&f->records, &o, &f->analysis, &err), RM_OK, "%s", err.text);
}

static void unmake(fixture *f)
{
    rm_analysis_free(f->analysis);
    rm_records_free(&f->records);
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

/* Separators that are not escaped, in every line of a table's body the same number. */
static void check_columns(const char *text, char separator, const char *from, const char *to)
{
    const char *p = strstr(text, from), *end = p ? strstr(p, to) : NULL;
    cr_assert(p && end);
    int first = -1;
    for (p = strchr(p, '\n') + 1; p < end;) {
        int n = 0;
        for (; *p && *p != '\n'; p++)
            n += *p == separator && p[-1] != '\\';
        if (n) {
            if (first < 0)
                first = n;
            cr_assert_eq(n, first, "a row has %d separators, the first one %d", n, first);
        }
        p++;
    }
    cr_assert_gt(first, 0);
}

/* What the analysis of synthetic cells holds. Of five families with sizes the swept ones have
 * areas; laws: of the two strategies that sample. */
static size_t rows_of(const rm_task_report *task, int table)
{
    size_t n = 0;
    switch ((rm_table)table) {
    case RM_TABLE_COMPARISONS:
        return N_SYNTHETIC_CELLS - 1;
    case RM_TABLE_TRENDS:
        return task->n_trends;
    case RM_TABLE_AREAS:
        return task->n_areas / 3; /* of three costs each */
    case RM_TABLE_BUDGETS:
        for (size_t i = 0; i < task->n_area_pairs; i++)
            n += task->area_pairs[i].cost == RM_Q_LATENCY_P50_MS;
        return n;
    case RM_TABLE_SCALING:
        return 2;
    case RM_TABLE_CROSSINGS:
        return task->n_crossings + task->n_passes;
    case RM_TABLE_TUNING:
        return task->n_tunings;
    case RM_TABLE_EQUAL_TUNING:
        return task->n_tuning_pairs;
    default:
        return N_SYNTHETIC_CELLS;
    }
}

Test(plots_report, tables_have_equal_rows_even_of_hostile_names)
{
    fixture f;
    make(&f, &(synthetic_spec){ .n_problems = 12, .n_tasks = 1, .hostile = true });
    for (int t = 0; t < RM_N_TABLES; t++) {
        cr_assert(rm_table_has_data(f.analysis, 0, (rm_table)t), "table %d", t);
        rm_text latex = { 0 }, markdown = { 0 }, html = { 0 };
        rm_error err = { "" };
        cr_assert_eq(rm_table_render(f.analysis, 0, (rm_table)t, RM_TABLE_LATEX, &latex, &err),
                     RM_OK, "%s", err.text);
        cr_assert_eq(
            rm_table_render(f.analysis, 0, (rm_table)t, RM_TABLE_MARKDOWN, &markdown, &err), RM_OK);
        cr_assert_eq(rm_table_render(f.analysis, 0, (rm_table)t, RM_TABLE_HTML, &html, &err),
                     RM_OK);
        check_columns(latex.data, '&', "\\midrule", "\\bottomrule");
        check_columns(markdown.data, '|', "|:---", "\n\n");
        cr_assert_null(strstr(latex.data, "\\input{"));
        cr_assert_null(strstr(html.data, "<script"));
        cr_assert_null(strstr(markdown.data, "<script"));
        cr_assert_eq(count(html.data, "<th scope=\"row\""), rows_of(&f.analysis->tasks[0], t));
        cr_assert_eq(count(latex.data, "†") + count(latex.data, "‡"), 0,
                     "a dagger is left as it is");
        if (t <= RM_TABLE_FRONT) { /* which have a row a cell: the cell and its note */
            cr_assert_eq(count(markdown.data, "†"), 2);
            cr_assert_eq(count(markdown.data, "‡"), 2);
        }
        rm_text_free(&latex);
        rm_text_free(&markdown);
        rm_text_free(&html);
    }
    unmake(&f);
}

/* Aligned columns for terminals: in every line of the table the last column begins at one place. */
Test(plots_report, text_is_aligned)
{
    fixture f;
    make(&f, &(synthetic_spec){ .n_problems = 12, .n_tasks = 1 });
    rm_text text = { 0 };
    rm_error err = { "" };
    cr_assert_eq(rm_table_render(f.analysis, 0, RM_TABLE_TRENDS, RM_TABLE_TEXT, &text, &err), RM_OK,
                 "%s", err.text);
    size_t rows = f.analysis->tasks[0].n_trends, lines = 0, verdict_at = 0;
    for (const char *line = text.data; lines <= rows; lines++, line = strchr(line, '\n') + 1) {
        size_t at = 0; /* in characters */
        const char *end = strchr(line, '\n'), *verdict = NULL;
        static const char *const verdicts[] = { "Verdict", "rises", "falls", "no trend", "border" };
        for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
            const char *found = strstr(line, verdicts[i]);
            if (found && found < end)
                verdict = found;
        }
        cr_assert_not_null(verdict, "line %zu has no verdict:\n%s", lines, text.data);
        for (const char *p = line; p < verdict; p++)
            at += ((unsigned char)*p & 0xc0) != 0x80;
        verdict_at = lines ? verdict_at : at;
        cr_assert_eq(at, verdict_at, "line %zu is not aligned:\n%s", lines, text.data);
    }
    cr_assert(strstr(text.data, "beam-search") && strstr(text.data, "num_beams 2–8"));
    cr_assert(strstr(text.data, "\nPer doubling: "));
    rm_text_free(&text);
    unmake(&f);
}

Test(plots_report, columns_without_data_are_left_out)
{
    fixture with;
    make(&with, &(synthetic_spec){ .n_problems = 12, .n_tasks = 1 });
    fixture without;
    make(&without, &(synthetic_spec){ .n_problems = 12, .n_tasks = 1, .no_latency = true });
    rm_text a = { 0 }, b = { 0 };
    cr_assert_eq(rm_table_render(with.analysis, 0, RM_TABLE_RESULTS, RM_TABLE_MARKDOWN, &a, NULL),
                 RM_OK);
    cr_assert_eq(
        rm_table_render(without.analysis, 0, RM_TABLE_RESULTS, RM_TABLE_MARKDOWN, &b, NULL), RM_OK);
    cr_assert(strstr(a.data, "Latency p50"));
    cr_assert_null(strstr(b.data, "Latency p50"));
    cr_assert(strstr(b.data, "baseline: greedy"));
    rm_text_free(&a);
    rm_text_free(&b);
    unmake(&with);
    unmake(&without);
}

/* Three records: a model of most cells, another one, an ensemble. */
static int add_named_cell(rm_records *r, const char *model, const char *strategy, const char *label)
{
    int index = -1;
    rm_cell cell = { .model = (char *)model,
                     .task = (char *)"t",
                     .strategy = (char *)strategy,
                     .label = (char *)label,
                     .size = NAN };
    cr_assert_eq(rm_records_add_cell(r, &cell, &index, NULL), RM_OK);
    return index;
}

static void add_latency(rm_records *r, int cell, int problem, bool correct)
{
    rm_result result = { .cell = cell,
                         .problem = problem,
                         .timing = RM_TIMING_LATENCY,
                         .correct = correct,
                         .chosen = -1 };
    result.cost.wall_ms = 10 + problem;
    result.cost.ttft_ms = result.cost.load = result.cost.energy_j = NAN;
    cr_assert_eq(rm_records_add_result(r, &result, NULL, NULL), RM_OK);
}

/* Names leave out the model of most cells and say so; a percentile that so few problems cannot
 * bound is an inequality; the model's prefix stays where it tells cells apart. */
Test(plots_report, short_names_and_open_intervals)
{
    fixture f = { 0 };
    static const char *const cell[][3] = {
        { "big", "greedy", "big: greedy" },
        { "big", "beam-search", "big: beam 2" },
        { "big", "sampling", "big: sampling" },
        { "small", "greedy", "small: greedy" },
        { "big + small", "ensemble-vote", "big + small: ensemble-vote" },
    };
    rm_error err = { "" };
    for (size_t c = 0; c < sizeof cell / sizeof *cell; c++) {
        int index = add_named_cell(&f.records, cell[c][0], cell[c][1], cell[c][2]);
        for (int p = 0; p < 12; p++) {
            char id[8];
            int problem = -1;
            snprintf(id, sizeof id, "p%d", p);
            rm_problem_key key = { .task = (char *)"t", .id = id };
            cr_assert_eq(rm_records_add_problem(&f.records, &key, &problem, NULL), RM_OK);
            add_latency(&f.records, index, problem, (p + (int)c) % 3 != 0);
        }
    }
    rm_analysis_options o = { .resamples = 100 };
    cr_assert_eq(rm_analyze(&f.records, &o, &f.analysis, &err), RM_OK, "%s", err.text);
    rm_text text = { 0 }, latex = { 0 };
    cr_assert_eq(rm_table_render(f.analysis, 0, RM_TABLE_RESULTS, RM_TABLE_MARKDOWN, &text, &err),
                 RM_OK);
    cr_assert_eq(rm_table_render(f.analysis, 0, RM_TABLE_RESULTS, RM_TABLE_LATEX, &latex, &err),
                 RM_OK);
    cr_assert(strstr(text.data, "| beam 2 |"), "%s", text.data);
    cr_assert(strstr(text.data, "| ensemble-vote |"), "%s", text.data);
    cr_assert(strstr(text.data, "small: greedy |"), "%s", text.data);
    cr_assert(strstr(text.data, "Model, where none is named: big."), "%s", text.data);
    cr_assert(strstr(text.data, "≥ "), "the p95 of 12 problems has no upper end:\n%s", text.data);
    cr_assert_null(strstr(text.data, "∞"));
    cr_assert(strstr(latex.data, "$\\ge$"));
    rm_text_free(&text);
    rm_text_free(&latex);
    unmake(&f);
}

/* Stated pairs follow the comparisons with the baseline and name their own. */
Test(plots_report, stated_pairs_have_rows)
{
    fixture f = { 0 };
    rm_error err = { "" };
    synthetic_fill(&f.records, &(synthetic_spec){ .n_problems = 12, .n_tasks = 1 });
    const rm_label_pair pair = { f.records.cells[3].label, f.records.cells[1].label };
    rm_analysis_options o = { .resamples = 100, .pairs = &pair, .n_pairs = 1 };
    cr_assert_eq(rm_analyze(&f.records, &o, &f.analysis, &err), RM_OK, "%s", err.text);
    rm_text html = { 0 };
    cr_assert_eq(rm_table_render(f.analysis, 0, RM_TABLE_COMPARISONS, RM_TABLE_HTML, &html, &err),
                 RM_OK);
    cr_assert_eq(count(html.data, "<th scope=\"row\""), N_SYNTHETIC_CELLS);
    cr_assert(strstr(html.data, "Baseline"));
    cr_assert(strstr(html.data, "The last 1 row: stated before the run"), "%s", html.data);
    rm_text_free(&html);
    unmake(&f);
}

/* A stated direction: a column, its rule in the notes, and a sentence in the report. */
Test(plots_report, a_stated_claim_is_judged)
{
    fixture f = { 0 };
    rm_error err = { "" };
    synthetic_fill(&f.records, &(synthetic_spec){ .n_problems = 12, .n_tasks = 1 });
    rm_analysis_options o = { .resamples = 100, .margin = 0.05,
                              .direction = RM_DIRECTION_HIGHER };
    cr_assert_eq(rm_analyze(&f.records, &o, &f.analysis, &err), RM_OK, "%s", err.text);
    rm_text html = { 0 }, summary = { 0 };
    cr_assert_eq(rm_table_render(f.analysis, 0, RM_TABLE_COMPARISONS, RM_TABLE_HTML, &html, &err),
                 RM_OK);
    size_t claims = count(html.data, "<span class=\"verdict supported\"") +
                    count(html.data, "<span class=\"verdict refuted\"");
    size_t all = count(html.data, "<span class=\"verdict ");
    cr_assert_eq(all, 2 * f.analysis->tasks[0].n_comparisons);
    cr_assert_leq(claims, all);
    cr_assert(strstr(html.data, "Claim: the accuracy is higher. It is supported where the "
                                "corrected interval lies above 0, and refuted where it lies below "
                                "+5 points."),
              "%s", html.data);
    fig_view v;
    cr_assert_eq(fig_view_new(f.analysis, 0, &v, &err), RM_OK);
    fig_report_summary(&v, &summary);
    cr_assert(strstr(summary.data, "claims that their accuracy is higher: supported for"), "%s",
              summary.data);
    fig_view_free(&v);
    rm_text_free(&html);
    rm_text_free(&summary);
    unmake(&f);
}

/* Eleven columns of numbers are wider than a page: the table goes on below with the names again,
 * and no piece is estimated wider than a two-column paper's text. */
Test(plots_report, wide_latex_tables_go_on_below)
{
    fixture f;
    make(&f, &(synthetic_spec){ .n_problems = 12, .n_tasks = 1, .long_names = true });
    rm_text latex = { 0 };
    rm_error err = { "" };
    cr_assert_eq(rm_table_render(f.analysis, 0, RM_TABLE_RESULTS, RM_TABLE_LATEX, &latex, &err),
                 RM_OK, "%s", err.text);
    size_t pieces = count(latex.data, "\\begin{tabular}");
    cr_assert_gt(pieces, 1);
    cr_assert_eq(count(latex.data, "\\end{tabular}"), pieces);
    cr_assert_eq(count(latex.data, "\nStrategy & "), pieces);
    rm_text_free(&latex);
    unmake(&f);
}

/* ---- the report -------------------------------------------------------------------------- */

/* Every element that is opened is closed, in order (void elements aside). */
static void check_nesting(const char *html)
{
    char open[256][16];
    int depth = 0;
    for (const char *p = html; (p = strchr(p, '<')); p++) {
        char name[16];
        bool closing = p[1] == '/';
        size_t n = strspn(p + 1 + closing, "abcdefghijklmnopqrstuvwxyz0123456789");
        if (!n || n >= sizeof name)
            continue; /* <!doctype */
        memcpy(name, p + 1 + closing, n);
        name[n] = '\0';
        if (!strcmp(name, "img") || !strcmp(name, "meta"))
            continue;
        if (!closing) {
            cr_assert_lt(depth, 256);
            memcpy(open[depth++], name, n + 1);
        } else {
            cr_assert_gt(depth, 0, "</%s> closes nothing", name);
            cr_assert_str_eq(open[--depth], name, "</%s> closes <%s>", name, open[depth]);
        }
    }
    cr_assert_eq(depth, 0, "<%s> is never closed", depth ? open[depth - 1] : "");
}

Test(plots_report, html_is_self_contained_and_escaped)
{
    fixture f;
    make(&f, &(synthetic_spec){ .n_problems = 8, .n_tasks = 1, .hostile = true });
    rm_tree tree = synthetic_tree(500, 4, HOSTILE);
    tree.question = tree.title = tree.answer = HOSTILE;
    rm_report_options o = { .title = HOSTILE,
                            .description = HOSTILE,
                            .command = "ramify run <x> " HOSTILE,
                            .manifest = "</pre><script>fetch('x')</script>",
                            .config = HOSTILE,
                            .trees = &tree,
                            .n_trees = 1 };
    rm_text html = { 0 }, again = { 0 };
    rm_error err = { "" };
    cr_assert_eq(rm_report_html(f.analysis, &o, &html, &err), RM_OK, "%s", err.text);
    static const char *const absent[] = {
        "<script", "http:", "https:",  "src=\"//", "@import",
        "url(",    "<link", "<iframe", "onerror",  "</pre><script"
    };
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        cr_assert_null(strstr(html.data, absent[i]), "the page holds \"%s\"", absent[i]);
    static const char *const present[] = { "Content-Security-Policy",
                                           "data:image/svg+xml;base64,",
                                           "name=\"viewport\"",
                                           "&lt;script&gt;alert(1)&lt;/script&gt;",
                                           "ramify run &lt;x&gt;",
                                           "does not carry over",
                                           "Wilson",
                                           "Holm",
                                           "<details",
                                           "prefers-color-scheme" };
    for (size_t i = 0; i < sizeof present / sizeof *present; i++)
        cr_assert(strstr(html.data, present[i]), "the page lacks \"%s\"", present[i]);
    cr_assert_eq(rm_utf8_valid_prefix(html.data, html.length), html.length,
                 "the page is not valid UTF-8");
    check_nesting(strstr(html.data, "<html"));
    cr_assert_eq(rm_report_html(f.analysis, &o, &again, &err), RM_OK);
    cr_assert(html.length == again.length && !memcmp(html.data, again.data, html.length));
    rm_text_free(&html);
    rm_text_free(&again);
    free(tree.nodes);
    unmake(&f);
}

static bool exists(const char *directory, const char *name)
{
    char path[300];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return !stat(path, &info) && info.st_size > 100;
}

Test(plots_report, files)
{
    char directory[] = P_tmpdir "/ramify-report-XXXXXX", command[80], inside[64];
    cr_assert_not_null(mkdtemp(directory));
    snprintf(inside, sizeof inside, "%s/report", directory);
    fixture f;
    make(&f, &(synthetic_spec){ .n_problems = 6, .n_tasks = 2, .one_cell = true });
    rm_tree tree = synthetic_tree(20, 3, NULL);
    rm_report_options o = { .trees = &tree, .n_trees = 1, .formats = 1u << RM_FORMAT_SVG };
    rm_error err = { "" };
    cr_assert_eq(rm_report_write(f.analysis, &o, inside, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_report_write(f.analysis, &o, inside, &err), RM_OK, "a second time: %s",
                 err.text);
    static const char *const names[] = { "report.html",
                                         "report.md",
                                         "figures/arithmetic-overview.svg",
                                         "figures/countdown-latency.png",
                                         "figures/tree-1.svg",
                                         "tables/arithmetic-results.tex",
                                         "tables/countdown-cost.tex" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_assert(exists(inside, names[i]), "%s was not written", names[i]);
    cr_assert(!exists(inside, "figures/arithmetic-overview.pdf"));
    cr_assert(!exists(inside, "tables/countdown-comparisons.tex")); /* one cell: nothing to say */
    cr_assert_eq(rm_report_write(f.analysis, &o, "/nowhere/at/all", &err), RM_E_IO);
    cr_assert(strstr(err.text, "/nowhere/at/all"), "%s", err.text);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    cr_assert_eq(system(command), 0);
    free(tree.nodes);
    unmake(&f);
}
