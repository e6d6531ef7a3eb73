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

/* ---- sweeps of two parameters ------------------------------------------------------------- */

/* A sweep over sizes and a second parameter: families v0, v1, ... of one strategy. Samples choose
 * by their mean log-probability, which ranks otherwise than the sum. */
static void setup_sweep(fixture *f, const char *strategy, int families, int sizes, bool pool)
{
    f->records = (rm_records){ 0 };
    for (int p = 0; p < 12; p++) {
        char id[8];
        snprintf(id, sizeof id, "p%d", p);
        rm_problem_key key = { .task = (char *)"t", .id = id };
        rm_records_add_problem(&f->records, &key, NULL, NULL);
    }
    for (int c = 0; c < families * sizes; c++) {
        int size = 2 << (c / families), index;
        char label[48], family[48];
        snprintf(label, sizeof label, "%s %d v%d", strategy, size, c % families);
        snprintf(family, sizeof family, "%s v%d", strategy, c % families);
        rm_cell cell = { .model = (char *)"m",
                         .task = (char *)"t",
                         .strategy = (char *)(uintptr_t)strategy,
                         .label = label,
                         .family = family,
                         .size = size,
                         .size_name = (char *)"n",
                         .exchangeable = pool };
        cr_assert_eq(rm_records_add_cell(&f->records, &cell, &index, NULL), RM_OK);
        for (int p = 0; p < 12; p++) {
            rm_sample samples[64];
            for (int k = 0; k < size; k++) {
                uint64_t stream = (uint64_t)(100 * p + c % families);
                bool right = synthetic_draw(stream, (uint32_t)k, 0) < 0.1 * (p % 8);
                uint32_t n_tokens = 1 + (uint32_t)(50 * synthetic_draw(stream, (uint32_t)k, 1));
                double lp = -20 * synthetic_draw(stream, (uint32_t)k, 2);
                samples[k] = (rm_sample){ .answer = (char *)(right ? "1" : "0"),
                                          .correct = right,
                                          .n_tokens = n_tokens,
                                          .lp = lp,
                                          .lp_sampling = NAN,
                                          .score = lp / n_tokens };
            }
            rm_result r = { .cell = index,
                            .problem = p,
                            .timing = RM_TIMING_NONE,
                            .samples = samples,
                            .n_samples = (size_t)size,
                            .correct = samples[0].correct,
                            .cost = { .generated_tokens = (uint64_t)(40 * size),
                                      .flops = NAN,
                                      .wall_ms = NAN,
                                      .ttft_ms = NAN,
                                      .load = NAN,
                                      .energy_j = NAN } };
            cr_assert_eq(rm_records_add_result(&f->records, &r, NULL, NULL), RM_OK);
        }
    }
    rm_analysis_options o = { .resamples = 100, .draws = 40 };
    rm_error err = { "" };
    cr_assert_eq(rm_analyze(&f->records, &o, &f->analysis, &err), RM_OK, "%s", err.text);
}

static void render(const fixture *f, rm_figure figure, double width_in, rm_format format,
                   rm_text *out)
{
    rm_error err = { "" };
    rm_plot_options o = { .width_in = width_in };
    cr_assert_eq(rm_figure_render(f->analysis, 0, figure, &o, format, out, &err), RM_OK, "%s",
                 err.text);
}

/* Both values of the second parameter are named: as lines, and as pools of samples. */
Test(plots_figures, families_of_one_strategy_have_names_of_their_own)
{
    static const struct {
        rm_figure figure;
        bool pool;
        const char *names[4];
    } wanted[] = {
        { RM_FIGURE_SIZE, false, { " v0", " v1" } }, /* "beam" begins all labels */
        { RM_FIGURE_SAMPLES, true, { "beam v0", "beam v1" } },
        { RM_FIGURE_OVERVIEW, true, { "by lp/len", "the pool of beam 8 v0" } },
    };
    bool skipped = false;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        fixture f;
        setup_sweep(&f, "beam", 2, 3, wanted[i].pool);
        rm_text pdf = { 0 };
        render(&f, wanted[i].figure, 0, RM_FORMAT_PDF, &pdf);
        char *text = text_of_pdf(&pdf);
        skipped = skipped || !text;
        for (size_t j = 0; text && wanted[i].names[j]; j++)
            cr_expect(strstr(text, wanted[i].names[j]), "\"%s\" is missing in:\n%s",
                      wanted[i].names[j], text);
        free(text);
        rm_text_free(&pdf);
        teardown_case(&f);
    }
    if (skipped)
        cr_skip_test("pdftotext (poppler-utils) is not installed");
}

/* A figure says against what its differences are, and whose reliability it shows. */
Test(plots_figures, differences_and_reliability_name_what_they_show)
{
    static const struct {
        rm_figure figure;
        const char *names[3];
    } wanted[] = {
        { RM_FIGURE_DIFFERENCES, { "Baseline: greedy", "Filled:", "Green:" } },
        { RM_FIGURE_RELIABILITY, { "self-consistency n=64", "Grey bars:" } },
    };
    bool skipped = false;
    fixture f;
    setup_case(&f, &cases[0].spec);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        rm_text pdf = { 0 };
        render(&f, wanted[i].figure, 0, RM_FORMAT_PDF, &pdf);
        char *text = text_of_pdf(&pdf);
        skipped = skipped || !text;
        for (size_t j = 0; text && j < 3 && wanted[i].names[j]; j++)
            cr_expect(strstr(text, wanted[i].names[j]), "\"%s\" is missing in:\n%s",
                      wanted[i].names[j], text);
        free(text);
        rm_text_free(&pdf);
    }
    teardown_case(&f);
    if (skipped)
        cr_skip_test("pdftotext (poppler-utils) is not installed");
}

/* However many lines stand side by side, what is drawn starts on the canvas. */
Test(plots_figures, markers_beside_each_other_stay_on_the_canvas)
{
    for (int families = 3; families <= 9; families += 3) {
        fixture f;
        setup_sweep(&f, "beam", families, 2, false);
        rm_text svg = { 0 };
        render(&f, RM_FIGURE_SIZE, 3.35, RM_FORMAT_SVG, &svg);
        double x, y, unit = 0.05; /* points, as the canvas scales its paths; glyphs lie at 0 */
        size_t n = 0;
        cr_assert(strstr(svg.data, "matrix(0.05,0,0,-0.05,0"));
        for (const char *at = svg.data; (at = strstr(at, " d=\"M ")); at += 6)
            if (sscanf(at + 6, "%lf %lf", &x, &y) == 2) {
                cr_assert_lt(unit * x, 72 * 3.35, "%d families: a path starts at %g", families, x);
                n++;
            }
        cr_assert_gt(n, 20);
        n = 0; /* markers filled with the strategy's purple; what lies outside is not written */
        for (const char *at = svg.data; (at = strstr(at, "nonzero;fill:rgb(80%,47.45%,65.49%)"));
             at++)
            n++;
        cr_assert_geq(n, (size_t)(2 * families), "%zu markers of %d", n, 2 * families);
        rm_text_free(&svg);
        teardown_case(&f);
    }
}

/* Panels that have no room side by side stand in rows, each as high as on a page. */
Test(plots_figures, a_narrow_overview_is_stacked)
{
    fixture f;
    setup_case(&f, &cases[0].spec);
    static const double widths[] = { 7, 5, 3.35 };
    double height[3], width;
    for (size_t i = 0; i < 3; i++) {
        rm_text svg = { 0 };
        render(&f, RM_FIGURE_OVERVIEW, widths[i], RM_FORMAT_SVG, &svg);
        const char *box = strstr(svg.data, "viewBox=\"0 0 ");
        cr_assert(box && sscanf(box + 13, "%lf %lf", &width, &height[i]) == 2);
        rm_text_free(&svg);
    }
    cr_expect(height[1] > 1.6 * height[0] && height[2] > 2.3 * height[0], "%g %g %g", height[0],
              height[1], height[2]);
    teardown_case(&f);
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
