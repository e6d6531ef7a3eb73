/* commands.c - the subcommands, in the order of the help. */
#include "experiments/cli/cli.h"

const cli_command *const cli_commands[] = {
    &cli_run,    &cli_resume, &cli_check,  &cli_generate, &cli_bench,      &cli_analyze,
    &cli_plot,   &cli_report, &cli_tree,   &cli_models,   &cli_tasks,      &cli_strategies,
    &cli_export, &cli_import, &cli_regrade, &cli_replay,   &cli_train,      &cli_card,
    NULL
};
