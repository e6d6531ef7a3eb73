/* plots.h - floor 2: figures, tables and the report, from what analysis computed. Never runs a
 * model.
 *
 * Figures are drawn by PLplot through cairo, the same picture as PDF, SVG and PNG; equal input
 * gives equal bytes. They are made for print: 3.35 inches (a column) or 7 inches (a page) wide,
 * colours that stay apart for colour-blind readers, labels beside the data.
 * Marks.    A cell that used an exact verifier bears a dagger, one that used the reference answer
 *           (oracle) a double dagger, in every figure and table; neither joins the others' front.
 * Missing.  What was not measured is left out of a figure and is a dash in a table, never 0.
 * Texts.    Names and recorded texts may hold anything; they are escaped for each format.
 * Threads.  PLplot has global state: figures are drawn by one thread at a time. */
#ifndef RM_PLOTS_H
#define RM_PLOTS_H

#include "analysis/analysis.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- figures --------------------------------------------------------------------------- */

typedef enum rm_format { RM_FORMAT_PDF, RM_FORMAT_SVG, RM_FORMAT_PNG } rm_format;

/* From a path's extension (.pdf, .svg, .png, any case); RM_E_ARGUMENT for others. */
RM_API rm_status rm_format_of_path(const char *path, rm_format *, rm_error *);
RM_API const char *rm_format_extension(rm_format); /* "pdf" */

/* The figures of one task. */
typedef enum rm_figure {
    RM_FIGURE_OVERVIEW,     /* latency, samples and tokens side by side */
    RM_FIGURE_LATENCY,      /* accuracy against median latency, with the Pareto front */
    RM_FIGURE_TOKENS,       /* accuracy against generated tokens, with the Pareto front */
    RM_FIGURE_FLOPS,        /* accuracy against FLOPs, with the Pareto front */
    RM_FIGURE_SAMPLES,      /* maj@k, best-of-k and coverage against k */
    RM_FIGURE_SIZE,         /* accuracy against the swept size: beams, samples, simulations */
    RM_FIGURE_BEAMS,        /* accuracy and log-probability against the beam width */
    RM_FIGURE_COVERAGE,     /* pass@k of every pool with its law and crossings */
    RM_FIGURE_TUNING,       /* expected best of m settings */
    RM_FIGURE_DIVERSITY,    /* accuracy against distinct answers at a common k */
    RM_FIGURE_RELIABILITY,  /* accuracy against the share of votes */
    RM_FIGURE_DISTRIBUTION, /* latency distribution of every cell */
    RM_FIGURE_DIFFERENCES,  /* paired differences to the baseline, corrected intervals */
    RM_N_FIGURES
} rm_figure;

typedef struct rm_figure_info {
    const char *name;    /* file and command-line name: "latency" */
    const char *title;   /* for headings */
    const char *caption; /* what is drawn and how its intervals were computed */
} rm_figure_info;

RM_API const rm_figure_info *rm_figure_describe(rm_figure); /* static table */
/* By name; an unknown one is RM_E_ARGUMENT with the nearest known name. */
RM_API rm_status rm_figure_find(const char *name, rm_figure *, rm_error *);

typedef struct rm_plot_options {
    double width_in;  /* 0: the figure's own */
    double height_in; /* of the panels; keys and notes below them add to it. 0: the figure's own */
    double dpi;       /* of PNG; 0: 300 */
} rm_plot_options;

/* Has the task (index into analysis->tasks) what the figure shows? */
RM_API bool rm_figure_has_data(const rm_analysis *, size_t task, rm_figure);

/* Appends the figure's file to `bytes`. Options may be NULL. RM_E_ARGUMENT where the task has
 * no data for it. */
RM_API rm_status rm_figure_render(const rm_analysis *, size_t task, rm_figure,
                                  const rm_plot_options *, rm_format, rm_text *bytes, rm_error *);
/* Writes it to `path`, in the format of its extension. */
RM_API rm_status rm_figure_write(const rm_analysis *, size_t task, rm_figure,
                                 const rm_plot_options *, const char *path, rm_error *);

/* ---- search trees ---------------------------------------------------------------------- */

/* A recorded search tree, as the caller copies it from an outcome. All strings are borrowed. */
typedef struct rm_tree_node {
    int parent;       /* -1 for node 0, the root; otherwise an earlier node */
    const char *text; /* of this step; may be NULL */
    double lp;        /* of this step; NaN unknown, like the following */
    double prior;
    double value; /* mean value Q, in [0, 1] */
    double visits;
    bool chosen; /* on the path to the chosen candidate */
} rm_tree_node;

typedef struct rm_tree {
    const char *title;    /* "MCTS, problem 17" */
    const char *question; /* as shown to people; may be NULL */
    const char *answer;   /* chosen; NULL: none */
    bool correct;
    rm_tree_node *nodes; /* [n_nodes] */
    size_t n_nodes;
} rm_tree;

/* A layered drawing, root at the left: area by visits, colour by Q, the chosen path in bold,
 * step texts where there is room. Large trees are cut to their most visited nodes, and the
 * figure says so. RM_E_ARGUMENT if the tree is empty or a parent is not an earlier node. */
RM_API rm_status rm_tree_render(const rm_tree *, const rm_plot_options *, rm_format, rm_text *bytes,
                                rm_error *);
RM_API rm_status rm_tree_write(const rm_tree *, const rm_plot_options *, const char *path,
                               rm_error *);

/* ---- training -------------------------------------------------------------------------- */

/* One quantity over the steps of a training. All arrays and strings are borrowed. */
typedef struct rm_training_curve {
    const char *name;
    const double *step, *value; /* [n] by ascending step; values that are not finite are gaps */
    const double *low, *high;   /* [n] of intervals, or NULL: every step is a value of its own, and
                                   a running mean is drawn over them */
    size_t n;
} rm_training_curve;

typedef struct rm_training_panel {
    const char *title, *y_title;
    double floor, ceiling;      /* the axis never goes beyond; infinite: as far as the values */
    const rm_training_curve *curves;
    size_t n_curves;            /* 1 to 16 */
} rm_training_panel;

/* Panels in rows of three over a common axis of steps. `note` (may be NULL) stands below them.
 * RM_E_ARGUMENT without a panel that has a value. */
RM_API rm_status rm_training_render(const rm_training_panel *, size_t n_panels, const char *note,
                                    const rm_plot_options *, rm_format, rm_text *bytes, rm_error *);
RM_API rm_status rm_training_write(const rm_training_panel *, size_t n_panels, const char *note,
                                   const rm_plot_options *, const char *path, rm_error *);

/* ---- tables ---------------------------------------------------------------------------- */

typedef enum rm_table {
    RM_TABLE_RESULTS,     /* accuracy, difference to the baseline, tokens, FLOPs, latency */
    RM_TABLE_COST,        /* the whole account of cost, and diversity */
    RM_TABLE_COMPARISONS, /* every comparison with its test and verdicts */
    RM_TABLE_FRONT,       /* how surely a cell is on the Pareto front, for each cost */
    RM_TABLE_TRENDS,      /* change per doubling of a swept size, with its test */
    RM_TABLE_AREAS,       /* mean accuracy of a family over its range of costs */
    RM_TABLE_BUDGETS,     /* two families at equal budgets, and who leads from where */
    RM_TABLE_SCALING,     /* the law of coverage of every pool */
    RM_TABLE_CROSSINGS,   /* pools overtaking each other; samples that equal one pass */
    RM_TABLE_TUNING,      /* expected best of m settings */
    RM_TABLE_EQUAL_TUNING, /* two strategies at equal tuning */
    RM_N_TABLES
} rm_table;
typedef enum rm_table_format {
    RM_TABLE_LATEX,
    RM_TABLE_MARKDOWN,
    RM_TABLE_HTML,
    RM_TABLE_TEXT /* aligned columns, for terminals */
} rm_table_format;

typedef struct rm_table_info {
    const char *name, *title;
} rm_table_info;
RM_API const rm_table_info *rm_table_describe(rm_table); /* static table */

/* Has the task (index into analysis->tasks) a row in that table? */
RM_API bool rm_table_has_data(const rm_analysis *, size_t task, rm_table);

/* Appends the table of one task. LaTeX: a tabular for the packages booktabs and (for the text
 * symbols) textcomp; Markdown: a pipe table; HTML: one <table>; text: aligned columns. Notes
 * follow it. */
RM_API rm_status rm_table_render(const rm_analysis *, size_t task, rm_table, rm_table_format,
                                 rm_text *, rm_error *);
RM_API rm_status rm_table_write(const rm_analysis *, size_t task, rm_table, rm_table_format,
                                const char *path, rm_error *);

/* ---- the report ------------------------------------------------------------------------ */

typedef struct rm_report_options {
    const char *title;       /* NULL: "Ramify report" */
    const char *description; /* of the experiment; may be NULL, like the following */
    const char *hypothesis;  /* stated before the run, in words */
    const char *command;     /* the exact command that made the run */
    const char *manifest;    /* JSON text */
    const char *config;      /* as used */
    const rm_tree *trees;    /* [n_trees] */
    size_t n_trees;
    rm_figure figure; /* the one that leads each task; RM_FIGURE_OVERVIEW is the usual one */
    unsigned formats; /* of the figure files, bits 1 << rm_format; 0: all three */
} rm_report_options;

/* One self-contained HTML page: figures inline, tables, comparisons, trees, manifest, command. */
RM_API rm_status rm_report_html(const rm_analysis *, const rm_report_options *, rm_text *,
                                rm_error *);
/* The same as Markdown, naming figure files under figures/ (see rm_report_write). */
RM_API rm_status rm_report_markdown(const rm_analysis *, const rm_report_options *, rm_text *,
                                    rm_error *);

/* Writes into the directory `out` (made if absent; its parent must exist)
 *     report.html, report.md, figures/TASK-FIGURE.{pdf,svg,png}, figures/tree-N.*,
 * tables/TASK-TABLE.tex TASK is the task's name with everything but letters, digits, '.', '_' and
 * '-' replaced by '-'. Figures and tables without data are left out. Existing files of these names
 * are replaced. */
RM_API rm_status rm_report_write(const rm_analysis *, const rm_report_options *, const char *out,
                                 rm_error *);

#ifdef __cplusplus
}
#endif
#endif
