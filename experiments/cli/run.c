/* run.c - ramify run, resume, replay: execute an experiment. */
#include "experiments/cli/cli.h"
#include "experiments/model_files.h"

#include <stdlib.h>
#include <string.h>

#define RUN_OPTIONS                                                                               \
    { "problems", 0, "N", "only the first N problems of each task" },                             \
    { "concurrency", 'c', "C", "problems in flight (default 64; no effect on the records)" },     \
    CLI_ENGINE_OPTIONS,                                                                           \
    { "mode", 0, "MODE", "only this phase: throughput or latency" },                              \
    { "no-sharing", 0, NULL, "draw every cell's samples anew: slower, the same records" },        \
    { "keep-every", 0, "S", "keep what unfinished problems have drawn (default 10 s; 0: never)" },   \
    { "quiet", 'q', NULL, "no progress" }

static rm_status read_options(const cli_args *args, rm_runner_options *o, rm_error *err)
{
    rm_engine_options engine = { 0 };
    static const char *const modes[] = { "all", "throughput", "latency", NULL };
    int mode = RM_MODE_ALL;
    rm_status status = cli_int(args, "problems", 1, 1 << 30, &o->problems, err);
    if (!status)
        status = cli_int(args, "concurrency", 1, 1 << 16, &o->concurrency, err);
    if (!status)
        status = cli_engine_options(args, &engine, err);
    if (!status)
        status = cli_choice(args, "mode", modes, &mode, err);
    o->keep_s = 10;
    if (!status)
        status = cli_real(args, "keep-every", 0, 1e6, &o->keep_s, err);
    o->keep_s = o->keep_s > 0 ? o->keep_s : -1;
    o->threads = engine.n_threads;
    o->max_batch_rows = engine.max_batch_rows;
    o->kv_bytes = engine.kv_bytes;
    o->isa = engine.isa;
    o->backend = engine.backend;
    o->device = engine.device;
    o->fast = engine.fast;
    o->mode = (rm_mode)mode;
    o->no_sharing = cli_flag(args, "no-sharing");
    o->command = args->line;
    o->progress = cli_flag(args, "quiet") ? NULL : stderr;
    o->cancel = cli_catch_signals();
    return status;
}

static rm_status execute(rm_runner *runner, rm_store *store, bool quiet, rm_error *err)
{
    rm_runner_summary summary = { 0 };
    const char *dir = rm_store_dir(store);
    rm_status status = rm_runner_execute(runner, store, &summary, err);
    if (!quiet && summary.found)
        fprintf(stderr, "%zu outcomes were recorded before\n", summary.found);
    if (status == RM_E_CANCELLED && cli_signal())
        return rm_fail(err, status, "stopped with %zu of %zu outcomes recorded; go on with: "
                       "ramify resume %s", summary.found + summary.recorded,
                       summary.found + summary.planned, dir);
    if (status)
        return status;
    if (!quiet)
        fprintf(stderr, "%zu outcomes in %s, %.1f s. Next: ramify analyze %s; ramify report %s\n",
                summary.found + summary.recorded, dir, summary.seconds, dir, dir);
    if (summary.failed)
        return rm_fail(err, RM_E_LIMIT, "%zu of %zu outcomes failed and are recorded as such; the "
                       "first: %s", summary.failed, summary.recorded, summary.first_failure.text);
    return RM_OK;
}

static rm_status run(const cli_args *args, rm_error *err)
{
    rm_runner_options o = { 0 };
    rm_config *config = NULL;
    rm_store *store = NULL;
    rm_runner *runner = NULL;
    const char *out = cli_text(args, "out", NULL);
    if (!out)
        return cli_misuse(args, err, "--out DIR is missing: where should the run go?");
    rm_status status = read_options(args, &o, err);
    if (!status)
        status = cli_flag(args, "full") ? rm_config_open_full(args->positional[0], &config, err)
                                        : rm_config_open(args->positional[0], &config, err);
    if (!status)
        status = rm_runner_open(config, &o, &runner, err); /* before a directory is made */
    if (!status)
        status = rm_run_create(config, out, &store, err);
    if (!status)
        status = execute(runner, store, cli_flag(args, "quiet"), err);
    rm_runner_close(runner);
    rm_store_close(store);
    rm_config_free(config);
    return status;
}

static rm_status resume(const cli_args *args, rm_error *err)
{
    rm_runner_options o = { 0 };
    rm_config *config = NULL;
    rm_store *store = NULL;
    rm_runner *runner = NULL;
    rm_status status = read_options(args, &o, err);
    if (!status)
        status = rm_store_open(args->positional[0], true, &store, err);
    if (!status)
        status = rm_run_config(store, &config, err);
    if (!status)
        status = rm_run_settings(store, &o, err);
    if (!status)
        status = rm_runner_open(config, &o, &runner, err);
    if (!status)
        status = execute(runner, store, cli_flag(args, "quiet"), err);
    rm_runner_close(runner);
    rm_store_close(store);
    rm_config_free(config);
    return status;
}

/* The configuration of a recorded run with one key more. */
static rm_status replayed_config(const cli_args *args, rm_runner_options *o, rm_config **config,
                                 rm_error *err)
{
    rm_store *store = NULL;
    rm_config *recorded = NULL;
    rm_text text = { 0 };
    char *path = NULL, *file = NULL;
    rm_status status = rm_store_open(args->positional[0], false, &store, err);
    if (!status)
        status = rm_run_config(store, &recorded, err);
    if (!status)
        status = rm_run_settings(store, o, err);
    if (!status)
        status = rm_model_find(cli_text(args, "on", NULL), NULL, &path, err);
    if (!status && !(file = realpath(path, NULL)))
        status = rm_fail(err, RM_E_IO, "%s: there is no such model", path);
    if (!status)
        status = rm_config_replayed(recorded, file, &text, err);
    if (!status)
        status = rm_config_parse(recorded->file, text.data, text.length, config, err);
    free(file);
    free(path);
    rm_text_free(&text);
    rm_config_free(recorded);
    rm_store_close(store);
    return status;
}

static rm_status replay(const cli_args *args, rm_error *err)
{
    rm_runner_options o = { 0 };
    rm_config *config = NULL;
    rm_store *store = NULL;
    rm_runner *runner = NULL;
    rm_replay_summary same = { 0 };
    const char *dir = args->positional[0], *out = cli_text(args, "out", NULL);
    if (!out)
        return cli_misuse(args, err, "--out DIR is missing: where should the replay go?");
    if (!cli_text(args, "on", NULL))
        return cli_misuse(args, err, "--on MODEL is missing: at whose cost?");
    rm_status status = read_options(args, &o, err);
    if (!status)
        status = replayed_config(args, &o, &config, err);
    if (!status)
        status = rm_runner_open(config, &o, &runner, err);
    if (!status)
        status = rm_run_create(config, out, &store, err);
    if (!status)
        status = execute(runner, store, cli_flag(args, "quiet"), err);
    if (!status)
        status = rm_replay_compare(store, dir, &same, err);
    if (!status && !cli_flag(args, "quiet"))
        fprintf(stderr, "%zu candidates are those of %s, token for token\n", same.compared, dir);
    rm_runner_close(runner);
    rm_store_close(store);
    rm_config_free(config);
    return status;
}

static const cli_option run_options[] = {
    { "out", 'o', "DIR", "the run directory: made, or gone on with" },
    { "full", 0, NULL, "the size for a paper, as the file's \"full\" describes it" },
    RUN_OPTIONS,
    { NULL, 0, NULL, NULL },
};

static const cli_option resume_options[] = { RUN_OPTIONS, { NULL, 0, NULL, NULL } };

const cli_command cli_run = {
    .name = "run",
    .summary = "execute an experiment into a run directory",
    .positional = "CONFIG --out DIR",
    .min_positional = 1,
    .max_positional = 1,
    .details =
        "A run may be killed at any moment; the same command goes on with it, and the\n"
        "records are those of a run that was never interrupted. Nothing that is recorded\n"
        "depends on concurrency, threads, --kv-mib or --max-batch-rows.\n"
        "\n"
        "What one problem may hold in the key/value cache follows from its strategy's\n"
        "parameters, or is stated (limits.kv_quota_mib, part of the run's identity). What\n"
        "the engine has in all (engine.kv_mib, a quarter of memory if not stated) changes no\n"
        "record; a problem's quota must fit into it, which is checked before anything is\n"
        "written.",
    .example = "ramify run experiments/tradeoff.json --out demo --problems 20",
    .options = run_options,
    .run = run,
};

const cli_command cli_resume = {
    .name = "resume",
    .summary = "go on with an interrupted run",
    .positional = "DIR",
    .min_positional = 1,
    .max_positional = 1,
    .details = "--problems and --mode are those of the run unless given anew.",
    .example = "ramify resume demo",
    .options = resume_options,
    .run = resume,
};

static const cli_option replay_options[] = {
    { "on", 0, "MODEL", "whose costs and times are wanted: of any shape and vocabulary" },
    { "out", 'o', "DIR", "the run directory of the replay" },
    RUN_OPTIONS,
    { NULL, 0, NULL, NULL },
};

const cli_command cli_replay = {
    .name = "replay",
    .summary = "the trees of a recorded run at the cost of another model",
    .positional = "DIR --on MODEL --out DIR2",
    .min_positional = 1,
    .max_positional = 1,
    .details = "Makes every outcome of DIR again: its models decide, and MODEL goes through the same\n"
               "rows of the same trees. FLOPs, bytes, latencies and times to the first token are\n"
               "MODEL's; the clock stands still while the deciding models compute. Tokens, answers and\n"
               "verdicts are those of DIR, which is checked at the end. So the trade-off of a small\n"
               "model that can do a task is seen as a large one would pay for it; random weights will\n"
               "do (ramify models FILE --random). DIR2 is a run like any other: resume, analyze, report.",
    .example = "ramify replay demo --on big.gguf --problems 5 --out demo-big",
    .options = replay_options,
    .run = replay,
};
