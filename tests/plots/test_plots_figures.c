/* Figures of edge cases; equal input must give equal bytes. */
#include "tests/plots/synthetic.h"
#include "tests/plots/synthetic_tree.h"

#include <criterion/criterion.h>
#include <unistd.h>

typedef struct edge_case {
    const char *name;
    synthetic_spec spec;
    bool twice; /* also drawn again, to the same bytes */
} edge_case;

static const edge_case cases[] = {
    { .name = "usual", .spec = { .n_problems = 30, .n_tasks = 1 }, .twice = true },
    { .name = "five tasks", .spec = { .n_problems = 5, .n_tasks = 5 } },
    { .name = "three models", .spec = { .n_problems = 12, .n_tasks = 1, .n_models = 3 } },
    { .name = "one cell", .spec = { .n_problems = 20, .n_tasks = 1, .one_cell = true } },
    { .name = "one problem", .spec = { .n_problems = 1, .n_tasks = 1 } },
    { .name = "no latency", .spec = { .n_problems = 12, .n_tasks = 1, .no_latency = true } },
    { .name = "all missing", .spec = { .n_problems = 12, .n_tasks = 1, .all_missing = true } },
    { .name = "tiny values", .spec = { .n_problems = 12, .n_tasks = 1, .scale = 1e-3 } },
    { .name = "huge values", .spec = { .n_problems = 12, .n_tasks = 1, .scale = 1e9 } },
    { .name = "long names",
      .spec = { .n_problems = 12, .n_tasks = 1, .n_models = 2, .long_names = true } },
    { .name = "hostile names",
      .spec = { .n_problems = 12, .n_tasks = 1, .hostile = true },
      .twice = true },
    { .name = "many cells", .spec = { .n_problems = 6, .n_tasks = 1, .copies = 5 } },
};
enum { N_CASES = sizeof cases / sizeof *cases };

typedef struct fixture { /* not to be copied: the analysis points to the records */
    rm_records records;
    rm_analysis *analysis;
} fixture;

static void setup_case(fixture *f, const synthetic_spec *spec)
{
    rm_error err = { "" };
    synthetic_fill(&f->records, spec);
    rm_analysis_options o = { .resamples = 100, .draws = 40, .margin = 0.05 };
    cr_assert_eq(rm_analyze(&f->records, &o, &f->analysis, &err), RM_OK, "%s", err.text);
}

static void teardown_case(fixture *f)
{
    rm_analysis_free(f->analysis);
    rm_records_free(&f->records);
}

static bool looks_like(rm_format format, const rm_text *b)
{
    static const char *const magic[] = { "%PDF-", "<?xml", "\x89PNG" };
    size_t n = strlen(magic[format]);
    return b->length > 500 && !memcmp(b->data, magic[format], n);
}

/* Draws what a case has; the format changes from figure to figure to keep the test short. */
static void draw_all(const edge_case *c)
{
    fixture f;
    setup_case(&f, &c->spec);
    for (size_t task = 0; task < f.analysis->n_tasks; task++)
        for (int figure = 0; figure < RM_N_FIGURES; figure++) {
            rm_text once = { 0 }, twice = { 0 };
            rm_error err = { "" };
            rm_format format = (rm_format)(((size_t)figure + task) % 3);
            bool has = rm_figure_has_data(f.analysis, task, (rm_figure)figure);
            rm_plot_options o = { .dpi = 60 };
            rm_status st =
                rm_figure_render(f.analysis, task, (rm_figure)figure, &o, format, &once, &err);
            cr_assert_eq(st, has ? RM_OK : RM_E_ARGUMENT, "%s, figure %d: %s", c->name, figure,
                         err.text);
            if (has) {
                cr_assert(looks_like(format, &once), "%s, figure %d is no file", c->name, figure);
            }
            if (has && c->twice) {
                cr_assert_eq(
                    rm_figure_render(f.analysis, task, (rm_figure)figure, &o, format, &twice, &err),
                    RM_OK);
                cr_assert(once.length == twice.length &&
                              !memcmp(once.data, twice.data, once.length),
                          "%s, figure %d: not the same bytes", c->name, figure);
            }
            if (!has) {
                cr_assert(strstr(err.text, "no data"), "%s", err.text);
                cr_assert_eq(once.length, 0);
            }
            rm_text_free(&once);
            rm_text_free(&twice);
        }
    teardown_case(&f);
}

Test(plots_figures, edge_cases_first_half)
{
    for (int i = 0; i < N_CASES / 2; i++)
        draw_all(&cases[i]);
}

Test(plots_figures, edge_cases_second_half)
{
    for (int i = N_CASES / 2; i < N_CASES; i++)
        draw_all(&cases[i]);
}

Test(plots_figures, what_a_usual_run_shows)
{
    fixture f;
    setup_case(&f, &cases[0].spec);
    for (int figure = 0; figure < RM_N_FIGURES; figure++)
        cr_assert(rm_figure_has_data(f.analysis, 0, (rm_figure)figure), "%s has no data",
                  rm_figure_describe((rm_figure)figure)->name);
    teardown_case(&f);
}

/* What pdftotext reads from a PDF; NULL where the tool is missing. */
static char *text_of_pdf(const rm_text *pdf)
{
    if (system("command -v pdftotext >/dev/null 2>&1"))
        return NULL;
    char name[] = P_tmpdir "/ramify-plots-XXXXXX", command[128];
    int fd = mkstemp(name);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, pdf->data, pdf->length), (ssize_t)pdf->length);
    close(fd);
    snprintf(command, sizeof command, "pdftotext -layout %s -", name);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    char *text = calloc(1, 1 << 16);
    size_t n = fread(text, 1, (1 << 16) - 1, pipe);
    pclose(pipe);
    unlink(name);
    cr_assert_gt(n, 0);
    return text;
}

Test(plots_figures, pdf_holds_its_labels_as_text)
{
    fixture f;
    setup_case(&f, &cases[0].spec);
    rm_text pdf = { 0 };
    rm_error err = { "" };
    cr_assert_eq(
        rm_figure_render(f.analysis, 0, RM_FIGURE_LATENCY, NULL, RM_FORMAT_PDF, &pdf, &err), RM_OK,
        "%s", err.text);
    char *text = text_of_pdf(&pdf);
    if (text) {
        static const char *const expected[] = { "greedy",
                                                "sampling",
                                                "beam-search",
                                                "self-consistency",
                                                "best-of-n",
                                                "mcts",
                                                "Accuracy (%)",
                                                "Median latency (ms, log scale)",
                                                "95% intervals (",
                                                "Wilson",
                                                "; 30 problems",
                                                "†",
                                                "‡",
                                                "oracle: the reference" };
        for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
            cr_assert(strstr(text, expected[i]), "\"%s\" is missing in:\n%s", expected[i], text);
    }
    bool skipped = !text;
    free(text);
    rm_text_free(&pdf);
    teardown_case(&f);
    if (skipped)
        cr_skip_test("pdftotext (poppler-utils) is not installed");
}

Test(plots_figures, errors_are_sentences)
{
    fixture f;
    setup_case(&f, &cases[3].spec);
    rm_text bytes = { 0 };
    rm_error err;
    rm_figure figure;
    cr_assert_eq(
        rm_figure_render(f.analysis, 7, RM_FIGURE_LATENCY, NULL, RM_FORMAT_PDF, &bytes, &err),
        RM_E_ARGUMENT);
    cr_assert(strstr(err.text, "Task 7"), "%s", err.text);
    cr_assert_eq(rm_figure_render(f.analysis, 0, RM_FIGURE_LATENCY,
                                  &(rm_plot_options){ .width_in = 0.3 }, RM_FORMAT_PDF, &bytes,
                                  &err),
                 RM_E_ARGUMENT);
    cr_assert(strstr(err.text, "too small"), "%s", err.text);
    cr_assert_eq(rm_figure_render(f.analysis, 0, RM_FIGURE_LATENCY,
                                  &(rm_plot_options){ .dpi = 1e6 }, RM_FORMAT_PNG, &bytes, &err),
                 RM_E_ARGUMENT);
    cr_assert_eq(rm_figure_write(f.analysis, 0, RM_FIGURE_LATENCY, NULL, "figure.gif", &err),
                 RM_E_ARGUMENT);
    cr_assert(strstr(err.text, "figure.gif") && strstr(err.text, ".svg"), "%s", err.text);
    cr_assert_eq(
        rm_figure_write(f.analysis, 0, RM_FIGURE_LATENCY, NULL, "/nowhere/figure.pdf", &err),
        RM_E_IO);
    cr_assert_eq(rm_figure_find("latencie", &figure, &err), RM_E_ARGUMENT);
    cr_assert(strstr(err.text, "\"latency\""), "%s", err.text);
    cr_assert_eq(rm_figure_find("samples", &figure, &err), RM_OK);
    cr_assert_eq(figure, RM_FIGURE_SAMPLES);
    cr_assert_eq(bytes.length, 0);
    teardown_case(&f);
}

/* ---- trees ------------------------------------------------------------------------------- */

Test(plots_figures, trees)
{
    static const struct {
        size_t n;
        int branching;
        bool hostile;
    } table[] = {
        { 1, 1, false },   { 2, 1, false }, { 200, 1, false },
        { 15, 14, false }, { 40, 3, true }, { 4000, 6, false },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        rm_tree tree =
            synthetic_tree(table[i].n, table[i].branching, table[i].hostile ? HOSTILE : NULL);
        rm_text once = { 0 }, twice = { 0 };
        rm_error err = { "" };
        rm_format format = (rm_format)(i % 3);
        cr_assert_eq(rm_tree_render(&tree, &(rm_plot_options){ .dpi = 60 }, format, &once, &err),
                     RM_OK, "%s", err.text);
        cr_assert_eq(rm_tree_render(&tree, &(rm_plot_options){ .dpi = 60 }, format, &twice, &err),
                     RM_OK);
        cr_assert(looks_like(format, &once));
        cr_assert(once.length == twice.length && !memcmp(once.data, twice.data, once.length));
        rm_text_free(&once);
        rm_text_free(&twice);
        free(tree.nodes);
    }
}

Test(plots_figures, trees_without_numbers_and_bad_trees)
{
    rm_tree_node nodes[3] = { { -1, NULL, NAN, NAN, NAN, NAN, true },
                              { 0, "a", NAN, NAN, NAN, NAN, false },
                              { 1, "", NAN, NAN, INFINITY, -5, true } };
    rm_tree tree = { NULL, NULL, NULL, false, nodes, 3 };
    rm_text bytes = { 0 };
    rm_error err;
    cr_assert_eq(rm_tree_render(&tree, NULL, RM_FORMAT_SVG, &bytes, &err), RM_OK);
    rm_text_free(&bytes);
    nodes[2].parent = 2;
    cr_assert_eq(rm_tree_render(&tree, NULL, RM_FORMAT_SVG, &bytes, &err), RM_E_ARGUMENT);
    cr_assert(strstr(err.text, "Node 2"), "%s", err.text);
    nodes[2].parent = -4;
    cr_assert_eq(rm_tree_render(&tree, NULL, RM_FORMAT_SVG, &bytes, &err), RM_E_ARGUMENT);
    tree.n_nodes = 0;
    cr_assert_eq(rm_tree_render(&tree, NULL, RM_FORMAT_SVG, &bytes, &err), RM_E_ARGUMENT);
    cr_assert_eq(bytes.length, 0);
}
