/* commands_engine.c - the subcommands of a build without analysis, plots and records
 * (RM_ENGINE_ONLY), and models behind servers, which it cannot reach: it has no libcurl. */
#include "engine/remote/remote.h"
#include "experiments/cli/cli.h"

const cli_command *const cli_commands[] = { &cli_generate, &cli_bench, &cli_models, NULL };

rm_status rm_remote_open(rm_engine *engine, const rm_remote_options *options, rm_model **model,
                         rm_error *err)
{
    (void)engine;
    (void)model;
    return rm_fail(err, RM_E_ARGUMENT, "%.200s is a server, and this build (RM_ENGINE_ONLY) has no "
                   "libcurl to reach it with", options->url);
}
