/* plot.c - ramify plot, ramify report: figures, tables and the page of a run. */
#include "experiments/cli/cli.h"
#include "experiments/recorded_tree.h"
#include "experiments/train/log.h"

#include <sqlite3.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- plot ------------------------------------------------------------------------------------ */

static rm_status find_task(const rm_analysis *a, const char *name, size_t *task, rm_error *err)
{
    for (size_t t = 0; t < a->n_tasks; t++)
        if (!name || strcmp(a->tasks[t].task, name) == 0) {
            *task = t;
            return RM_OK;
        }
    return rm_fail(err, RM_E_ARGUMENT, "the run has no task %s; its first is %s", name,
                   a->tasks[0].task);
}

static rm_status one_figure(const cli_args *args, const rm_analysis *a, rm_figure figure,
                            const char *out, const rm_plot_options *plot, rm_error *err)
{
    size_t task = 0;
    rm_status status = find_task(a, cli_text(args, "task", NULL), &task, err);
    if (!status)
        status = rm_figure_write(a, task, figure, plot, out, err);
    return status;
}

/* TASK-FIGURE.FORMAT for every figure that has data. */
static rm_status all_figures(const rm_analysis *a, const char *dir, const char *extension,
                             const rm_plot_options *plot, rm_error *err)
{
    rm_status status = RM_OK;
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return rm_fail(err, RM_E_IO, "cannot create %s: %s", dir, strerror(errno));
    for (size_t t = 0; t < a->n_tasks; t++)
        for (int f = 0; f < RM_N_FIGURES && !status; f++) {
            rm_text path = { 0 };
            if (!rm_figure_has_data(a, t, (rm_figure)f))
                continue;
            rm_text_printf(&path, "%s/", dir);
            for (const char *c = a->tasks[t].task; *c; c++)
                rm_text_add(&path, strchr("/ \\", *c) ? "-" : c, 1);
            rm_text_printf(&path, "-%s.%s", rm_figure_describe((rm_figure)f)->name, extension);
            status = path.failed ? rm_fail(err, RM_E_MEMORY, "no memory for a name")
                                 : rm_figure_write(a, t, (rm_figure)f, plot, path.data, err);
            if (!status)
                puts(path.data);
            rm_text_free(&path);
        }
    return status;
}

/* Logs of trainings instead of runs? All or none of what was named. */
static rm_status count_logs(const cli_args *args, int *n, rm_error *err)
{
    static const char ending[] = ".jsonl";
    for (int i = 0; i < args->n_positional; i++) {
        size_t length = strlen(args->positional[i]);
        *n += length > strlen(ending) &&
              !strcmp(args->positional[i] + length - strlen(ending), ending);
    }
    return *n == 0 || *n == args->n_positional
               ? RM_OK
               : cli_misuse(args, err, "runs and logs of trainings do not share a figure");
}

static rm_status plot(const cli_args *args, rm_error *err)
{
    static const char *const formats[] = { "pdf", "svg", "png", NULL };
    int format = 0, n_logs = 0;
    cli_analysis a;
    rm_plot_options o = { 0 };
    const char *figure = cli_text(args, "figure", NULL), *out = cli_text(args, "out", NULL);
    if (!out)
        return cli_misuse(args, err, figure ? "--out FILE is missing (.pdf, .svg or .png)"
                                            : "--out DIR is missing");
    rm_figure which = RM_FIGURE_OVERVIEW;
    rm_status status = count_logs(args, &n_logs, err);
    if (!status)
        status = cli_choice(args, "format", formats, &format, err);
    if (!status && figure && !n_logs)
        status = cli_misused(args, rm_figure_find(figure, &which, err));
    if (!status)
        status = cli_real(args, "width", 1, 40, &o.width_in, err);
    if (!status)
        status = cli_real(args, "height", 0.5, 40, &o.height_in, err);
    if (!status)
        status = cli_real(args, "dpi", 30, 2400, &o.dpi, err);
    if (!status && n_logs)
        return train_log_plot(args->positional, args->n_positional, &o, out, err);
    if (!status)
        status = cli_analyze_dirs(args, args->positional, args->n_positional, &a, err);
    if (status)
        return status;
    status = figure ? one_figure(args, a.analysis, which, out, &o, err)
                    : all_figures(a.analysis, out, formats[format], &o, err);
    cli_analysis_free(&a);
    return status;
}

static const cli_option plot_options[] = {
    { "figure", 0, "NAME", "one of those above (default: all that have data)" },
    { "task", 0, "NAME", "of the one figure (default: the first task)" },
    { "out", 'o', "PATH", "needed: the file (.pdf, .svg, .png) of one figure, or a directory" },
    { "format", 'f', "FORMAT", "of all figures: pdf (default), svg or png" },
    { "width", 0, "INCHES", "3.35 is a column, 7 a page" },
    { "height", 0, "INCHES", "default: the figure's own" },
    { "dpi", 0, "N", "of PNG (default 300)" },
    CLI_ANALYSIS_OPTIONS,
    { NULL, 0, NULL, NULL },
};

const cli_command cli_plot = {
    .name = "plot",
    .summary = "figures of a run or a training as PDF, SVG or PNG",
    .positional = "DIR...|LOG.train.jsonl...",
    .min_positional = 1,
    .max_positional = 64,
    .details =
        "Figures\n"
        "  overview                      three panels, a page wide\n"
        "  latency, tokens, flops        accuracy against a cost, with the Pareto front\n"
        "  samples                       vote, best of k and coverage of one pool\n"
        "  coverage                      coverage of all pools, its law, crossings\n"
        "  size                          accuracy against the swept size\n"
        "  beams                         accuracy and log-probability against beam width\n"
        "  tuning                        expected best of m settings\n"
        "  diversity                     accuracy against distinct answers\n"
        "  reliability                   accuracy against the share of votes\n"
        "  distribution                  latencies of single problems\n"
        "  differences                   to the baseline, corrected intervals\n"
        "Search trees: ramify tree. The log of a training (up to five in one figure) becomes "
        "loss,\n"
        "accuracy, length of thought, reward, share of groups without signal and entropy over\n"
        "its steps.",
    .example = "ramify plot demo --figure latency --out latency.pdf",
    .options = plot_options,
    .run = plot,
};

/* ---- report ------------------------------------------------------------------------------ */

enum { MAX_TREES = 6, MAX_FILE = 64 << 20 };

typedef struct page {
    rm_text name, description, command, manifest, config;
    rm_recorded_tree trees[MAX_TREES];
    rm_tree borrowed[MAX_TREES];
    size_t n_trees;
} page;

static void page_free(page *p)
{
    rm_text_free(&p->name);
    rm_text_free(&p->description);
    rm_text_free(&p->command);
    rm_text_free(&p->manifest);
    rm_text_free(&p->config);
    for (size_t i = 0; i < p->n_trees; i++)
        rm_tree_unload(&p->trees[i]);
}

/* The command that began the run, from the first session. */
static rm_status first_command(rm_store *store, rm_text *command, rm_error *err)
{
    sqlite3_stmt *row = NULL;
    rm_status status = rm_store_prepare(
        store, "SELECT manifest ->> '$.program.command' FROM sessions ORDER BY session LIMIT 1",
        &row, err);
    if (!status && sqlite3_step(row) == SQLITE_ROW && sqlite3_column_text(row, 0))
        rm_text_puts(command, (const char *)sqlite3_column_text(row, 0));
    sqlite3_finalize(row);
    return status;
}

/* The experiment's own sentence on itself, from the configuration as used; none is fine. */
static void find_description(const rm_text *config, rm_text *description)
{
    rm_json *json = NULL;
    if (!config->length || rm_json_parse(config->data, config->length, "config.json", 1,
                                         RM_JSON_COMMENTS, &json, NULL))
        return;
    const cJSON *item =
        cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "description");
    if (cJSON_IsString(item))
        rm_text_puts(description, item->valuestring);
    rm_json_free(json);
}

/* The first trees of different cells. */
static rm_status load_trees(const rm_records *records, rm_store *store, page *p, rm_error *err)
{
    for (size_t c = 0; c < records->n_cells && p->n_trees < MAX_TREES; c++) {
        rm_tree_choice choice = { .task = records->cells[c].task,
                                  .label = records->cells[c].label, .any_seed = true };
        rm_status status = rm_tree_load(store, &choice, &p->trees[p->n_trees], err);
        if (status == RM_E_ARGUMENT)
            continue; /* this cell has none */
        if (status)
            return status;
        p->borrowed[p->n_trees] = p->trees[p->n_trees].tree;
        p->n_trees++;
    }
    return RM_OK;
}

static rm_status gather_page(const cli_analysis *a, rm_store *store, page *p, rm_error *err)
{
    char *text = NULL, *path = rm_store_path(store, "config.json");
    size_t n = 0;
    rm_status status = path ? rm_manifest_text(store, &p->manifest, err)
                            : rm_fail(err, RM_E_MEMORY, "no memory for a report");
    if (!status)
        status = first_command(store, &p->command, err);
    rm_store_get_meta(store, "name", &p->name);
    if (!status && !rm_file_read(path, MAX_FILE, &text, &n, NULL))
        rm_text_add(&p->config, text, n); /* imported runs have none */
    find_description(&p->config, &p->description);
    if (!status)
        status = load_trees(&a->records, store, p, err);
    free(text);
    free(path);
    return status;
}

static rm_status report(const cli_args *args, rm_error *err)
{
    cli_analysis a;
    page p = { .n_trees = 0 };
    rm_store *store = NULL;
    const char *dir = args->positional[0], *out = cli_text(args, "out", dir);
    rm_status status = cli_analyze_dirs(args, &dir, 1, &a, err);
    if (status)
        return status;
    status = rm_store_open(dir, false, &store, err);
    if (!status)
        status = gather_page(&a, store, &p, err);
    if (!status) {
        rm_report_options options = {
            .title = cli_text(args, "title", p.name.length ? p.name.data : NULL),
            .description = p.description.data,
            .hypothesis = a.hypothesis.data, .figure = (rm_figure)a.figure,
            .command = p.command.data, .manifest = p.manifest.data, .config = p.config.data,
            .trees = p.borrowed, .n_trees = p.n_trees };
        status = rm_report_write(a.analysis, &options, out, err);
    }
    if (!status)
        printf("%s/report.html\n", out);
    page_free(&p);
    rm_store_close(store);
    cli_analysis_free(&a);
    return status;
}

static const cli_option report_options[] = {
    { "out", 'o', "DIR", "default: the run directory itself" },
    { "title", 0, "TEXT", "default: the experiment's name" },
    CLI_ANALYSIS_OPTIONS,
    { NULL, 0, NULL, NULL },
};

const cli_command cli_report = {
    .name = "report",
    .summary = "one page per run: figures, tables, trees, manifest",
    .positional = "DIR",
    .min_positional = 1,
    .max_positional = 1,
    .details = "Writes report.html (self-contained), report.md, figures/ and tables/.",
    .example = "ramify report demo",
    .options = report_options,
    .run = report,
};
