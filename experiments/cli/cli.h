/* cli.h - what the subcommands of `ramify` share: options by table, tables for terminals.
 *
 * A subcommand is a const struct with its options, one worked example, and a function. Results go
 * to stdout, messages to stderr; main.c prints the sentence of a failure and makes the exit
 * status of it. */
#ifndef RM_EXPERIMENTS_CLI_H
#define RM_EXPERIMENTS_CLI_H

#include "experiments/experiments.h"

#include <stdio.h>

/* ---- options ------------------------------------------------------------------------------ */

typedef struct cli_option {
    const char *name;     /* "max-new-tokens"; '_' is taken for '-' */
    char letter;          /* 'm', or 0 */
    const char *value;    /* what the value is called in the help; NULL: a flag */
    const char *help;
} cli_option;             /* tables end with a NULL name */

typedef struct cli_args cli_args;

typedef struct cli_command {
    const char *name, *summary;
    const char *positional;      /* "CONFIG", "[FILE]", "DIR...", or "" */
    int min_positional, max_positional;
    const char *details;         /* paragraphs of the help, or NULL */
    const char *example;         /* one command line and what it does */
    const cli_option *options;
    bool other_options;          /* unknown --name VALUE are kept (strategy parameters) */
    rm_status (*run)(const cli_args *, rm_error *);
} cli_command;

extern const cli_command cli_run, cli_resume, cli_check, cli_generate, cli_bench, cli_analyze,
    cli_plot, cli_report, cli_tree, cli_models, cli_tasks, cli_strategies, cli_export, cli_import,
    cli_regrade, cli_replay, cli_train, cli_card;

/* All of them, NULL-terminated, in the order of the help. */
extern const cli_command *const cli_commands[];

typedef struct cli_given {
    const char *name, *value;    /* name as in the table; for others as typed */
} cli_given;

struct cli_args {
    const cli_command *command;
    const char *line;            /* the whole command line, for manifests */
    cli_given *given;            /* [n_given] options of the table, in order */
    int n_given;
    cli_given *others;           /* [n_others] */
    int n_others;
    const char **positional;     /* [n_positional] */
    int n_positional;
    bool help;
    bool *misused;               /* set by cli_misuse */
};

/* Reads argv[2..]; RM_E_ARGUMENT names the option and the nearest known one. */
rm_status cli_parse(const cli_command *, int argc, char **argv, cli_args *, rm_error *);
void cli_args_free(cli_args *);
/* The sentence of a command line that cannot be understood (a missing option, an impossible
 * value): RM_E_ARGUMENT, and the program's exit status will be that of misuse. */
rm_status cli_misuse(const cli_args *, rm_error *, const char *format, ...) RM_PRINTF(3, 4);
/* The same for a sentence that another part has written already; returns `status`. */
rm_status cli_misused(const cli_args *, rm_status status);
void cli_print_help(const cli_command *, FILE *);

bool cli_flag(const cli_args *, const char *name);
/* The last value given, or `absent`. */
const char *cli_text(const cli_args *, const char *name, const char *absent);
/* Stay as they are if the option is not given; RM_E_ARGUMENT outside [min, max]. */
rm_status cli_int(const cli_args *, const char *name, int min, int max, int *, rm_error *);
rm_status cli_uint(const cli_args *, const char *name, uint64_t *, rm_error *);
rm_status cli_real(const cli_args *, const char *name, double min, double max, double *,
                   rm_error *);
/* Index of the value among `choices` (NULL-terminated). */
rm_status cli_choice(const cli_args *, const char *name, const char *const *choices, int *,
                     rm_error *);

/* Options of every command that opens an engine and models. */
#define CLI_BACKEND_OPTIONS                                                                       \
    { "backend", 0, "NAME", "auto (default: a CUDA device if there is one), cpu or cuda" },       \
    { "device", 0, "N", "which CUDA device, from 0" },                                            \
    { "products", 0, "MODE", "on CUDA: exact (default: the same bits in any batch) or fast" }
#define CLI_ENGINE_OPTIONS                                                                        \
    CLI_BACKEND_OPTIONS,                                                                          \
    { "threads", 't', "T", "worker threads (default: all processors)" },                          \
    { "isa", 0, "NAME", "instruction-set variant: avx512-bf16, avx512, avx2, portable" },         \
    { "kv-mib", 0, "MIB", "most memory for keys and values (default: a quarter, of a device half)" }, \
    { "max-batch-rows", 0, "N", "most rows of one forward pass" }
#define CLI_MODEL_OPTIONS                                                                         \
    { "compute", 0, "TYPE", "f32, bf16 or q8 (default: as the weights are stored)" },             \
    { "kv", 0, "TYPE", "of keys and values: f32 or bf16 (default: as computed)" },                \
    { "context", 0, "N", "positions to make room for (default: as the model's file says)" }

/* Set what is given and leave the rest. The strings live as long as the program. */
rm_status cli_engine_options(const cli_args *, rm_engine_options *, rm_error *);
/* Opens an engine; says on stderr what "auto" took and why, where there was something to choose. */
rm_status cli_engine_open(const rm_engine_options *, rm_engine **, rm_error *);
rm_status cli_model_options(const cli_args *, rm_model_options *, rm_error *);
/* Is it a server's, "http://HOST/v1"? */
bool cli_is_address(const char *model);

/* ---- tables ------------------------------------------------------------------------------- */

/* Columns as wide as their content; numbers to the right. Zero-initialise. */
typedef struct cli_table {
    char **cells;
    size_t n, capacity;
    int columns;          /* 0 until the first row is ended */
    int at;               /* in the current row */
    bool failed;
} cli_table;

void cli_cell(cli_table *, const char *format, ...) RM_PRINTF(2, 3);
void cli_end_row(cli_table *);
/* The first row is the head; on a terminal too narrow for it the table comes in parts. Columns
 * whose letter in `align` is 'r' are set to the right. */
void cli_print_table(const cli_table *, const char *align, FILE *);
void cli_table_free(cli_table *);

/* 1234567 as "1.23M"; NaN as a dash. */
const char *cli_amount(double, char text[16]);

/* ---- results ------------------------------------------------------------------------------ */

/* Writes text to stdout; a closed pipe or a full disk is RM_E_IO. Frees the text. */
rm_status cli_put(rm_text *, rm_error *);

/* Becomes true on SIGINT and SIGTERM, once cli_catch_signals was called. */
volatile bool *cli_catch_signals(void);
int cli_signal(void);     /* the one that came, or 0 */

/* A run directory with its analysis; free with cli_analysis_free. */
typedef struct cli_analysis {
    rm_records records;
    rm_analysis *analysis;
    rm_text baseline;
    rm_label_pair *pairs;    /* [n_pairs] stated comparisons; their labels are ours */
    size_t n_pairs;
    rm_claims claims;        /* stated ones; of a single run only */
    rm_text hypothesis;
    int figure;              /* an rm_figure, the one that shows it; 0: the overview */
} cli_analysis;

/* Options that every command with an analysis has. */
#define CLI_ANALYSIS_OPTIONS                                                                     \
    { "baseline", 0, "LABEL",                                                                     \
      "the cell to compare with, or the end of its label (default: greedy)" },                   \
    { "compare", 0, "'A vs B'", "two cells, beside the stated pairs; may be given several times" },\
    { "margin", 0, "DELTA", "two cells count as equal within this difference of accuracy" },     \
    { "direction", 0, "CLAIM", "judge the claim that cells are higher, lower or equal; or none" }, \
    { "level", 0, "P", "confidence level of all intervals (default 0.95)" },                     \
    { "resamples", 0, "N", "bootstrap resamples (default 4000)" },                               \
    { "analysis-seed", 0, "SEED", "of the resampling (default 0)" }

/* Reads the run directories and analyses them together; with several, cells get their
 * directory's name in front. */
rm_status cli_analyze_dirs(const cli_args *, const char *const *dirs, int n, cli_analysis *,
                           rm_error *);
void cli_analysis_free(cli_analysis *);

/* The same with claims that are made of the records in place of the stated ones; several runs that
 * none can be made of are not analysed (`analysis` is NULL). */
typedef rm_status (*cli_claim_maker)(const rm_records *, void *context, rm_claims *, rm_error *);
rm_status cli_analyze_claims(const cli_args *, const char *const *dirs, int n, cli_claim_maker,
                             void *context, cli_analysis *, rm_error *);

/* Results of the model of that file (known by its hash) in the run of `dir`, for its card; then
 * beside those of the models of each run of `beside`. Markdown. */
rm_status cli_card_results(const cli_args *, const char *dir, const char *const *beside, int n_beside,
                           const char *model, const char *hash, rm_text *, rm_error *);

/* The label among `labels` that was typed, or the only one that ends in it after a blank; borrowed
 * from the list. RM_E_ARGUMENT names the nearest, or those that it could be. */
rm_status cli_find_label(const char *const *labels, size_t n, const char *typed,
                         const char **label, rm_error *);
rm_status cli_find_cell(const rm_records *, const char *typed, const char **label, rm_error *);

/* ---- the memory's speed, roof.c -------------------------------------------------------------- */

typedef struct cli_roof cli_roof;

/* A buffer of at least `bytes`, read by `n_threads`. Owned by the caller. */
rm_status cli_roof_new(size_t bytes, int n_threads, cli_roof **, rm_error *);
void cli_roof_free(cli_roof *);

/* Reads all of it once; bytes per second. */
double cli_roof_measure(cli_roof *);

#endif
