/* commands_engine.c - the subcommands of a build without analysis, plots and records
 * (RM_ENGINE_ONLY). */
#include "experiments/cli/cli.h"

const cli_command *const cli_commands[] = { &cli_generate, &cli_bench, &cli_models, NULL };
