/* train.c - ramify train: a model from a configuration. */
#include "experiments/cli/cli.h"
#include "experiments/train/train.h"

#include <stdlib.h>
#include <string.h>

static rm_status find_kind(const cli_args *args, train_kind *kind, rm_error *err)
{
    const char *name = args->positional[0];
    for (int i = 0; train_kind_names[i]; i++)
        if (!strcmp(name, train_kind_names[i])) {
            *kind = (train_kind)i;
            return RM_OK;
        }
    const char *near = rm_nearest_word(name, train_kind_names, TRAIN_KINDS);
    return cli_misuse(args, err, "there is no training \"%.40s\"%s%s%s", name,
                      near ? "; did you mean " : "; there are sft, reject, grpo and reward",
                      near ? near : "", near ? "?" : "");
}

/* What the command line says instead of the configuration: another first model, another seed. */
static rm_status change(const cli_args *args, train_recipe *recipe, rm_error *err)
{
    const char *from = cli_text(args, "from", NULL);
    if (from && !recipe->model)
        return cli_misuse(args, err, "--from: %s describes a new model, which begins with none",
                          recipe->file);
    if (from) {
        free(recipe->model);
        if (!(recipe->model = strdup(from)))
            return rm_fail(err, RM_E_MEMORY, "out of memory");
    }
    if (cli_text(args, "seed", NULL)) {
        uint64_t seed = 0;
        rm_status status = cli_uint(args, "seed", &seed, err);
        if (!status)
            train_recipe_seed(recipe, seed);
        return status;
    }
    return RM_OK;
}

static rm_status run(const cli_args *args, rm_error *err)
{
    train_kind kind = TRAIN_SFT;
    train_recipe *recipe = NULL;
    char *named = NULL;
    train_options o = { .out = cli_text(args, "out", NULL), .isa = cli_text(args, "isa", NULL),
                        .progress = cli_flag(args, "quiet") ? NULL : stderr,
                        .cancel = cli_catch_signals() };
    rm_status status = find_kind(args, &kind, err);
    if (!status)
        status = cli_int(args, "threads", 1, 4096, &o.threads, err);
    if (!status)
        status = train_recipe_open(args->positional[1], kind, &recipe, err);
    if (!status)
        status = change(args, recipe, err);
    if (!status && !o.out) { /* the model's name, here */
        size_t n = strlen(recipe->name) + 6;
        if (strchr(recipe->name, '/') || !(named = malloc(n)))
            status = cli_misuse(args, err, "--out FILE.gguf is missing");
        else
            snprintf(named, n, "%s.gguf", recipe->name);
        o.out = named;
    }
    if (!status)
        status = train_run(recipe, &o, err);
    if (!status && o.progress)
        fprintf(stderr, "%s is trained. Next: ramify models %s\n", o.out, o.out);
    train_recipe_free(recipe);
    free(named);
    return status;
}

static const cli_option options[] = {
    { "out", 'o', "FILE", "the model to write (default: NAME.gguf, by the configuration's name)" },
    { "from", 0, "MODEL", "the model to begin with, in place of the configuration's" },
    { "seed", 0, "SEED", "of problems and all draws, in place of the configuration's" },
    { "threads", 't', "T", "worker threads (default: all processors; no effect on the weights)" },
    { "isa", 0, "NAME", "instruction-set variant (no effect on the weights)" },
    { "quiet", 'q', NULL, "no progress" },
    { NULL, 0, NULL, NULL },
};

const cli_command cli_train = {
    .name = "train",
    .summary = "make a model: sft, reject, grpo or reward",
    .positional = "sft|reject|grpo|reward CONFIG [--out FILE.gguf]",
    .min_positional = 2,
    .max_positional = 2,
    .details = "sft     supervised: problems of the generated tasks with chains of thought\n"
               "reject  rejection sampling: a model's own right samples, and training on them\n"
               "grpo    reinforcement learning on groups of samples: GRPO, Dr. GRPO or DAPO\n"
               "reward  a model that judges texts: how probably one that begins so ends right\n\n"
               "A training may be killed at any moment; the same command goes on from the last\n"
               "checkpoint, FILE.checkpoint, and ends in the same bits as one that was never\n"
               "interrupted. FILE.train.jsonl is its log. Keys: experiments/train/README.md.",
    .example = "ramify train sft experiments/train/tiny.json --out tiny.gguf",
    .options = options,
    .run = run,
};
