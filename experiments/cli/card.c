/* card.c - ramify card: a model's card in Markdown, from the file, the log of its training and the
 * records of runs. Nothing in it is typed by hand: what no record says is not there.
 *
 * A run counts for a model if its manifest has the model's hash: numbers of an older file of the
 * same name never reach the card of a newer one. */
#include "base/json.h"
#include "experiments/cli/cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RECIPE = 1 << 20, MOST_LOG = 256 << 20, MOST_BESIDE = 16 };

/* ---- the file -------------------------------------------------------------------------------- */

typedef struct card_model {
    char name[128], hash[40];
} card_model;

static rm_status put_model(const char *file, card_model *model, rm_text *out, rm_error *err)
{
    rm_engine_options options = { .n_threads = 1 };
    rm_engine *engine = NULL;
    rm_model *opened = NULL;
    rm_status status = rm_engine_open(&options, &engine, err);
    if (!status)
        status = rm_model_open(engine, file, NULL, &opened, err);
    if (!status) {
        const rm_model_info *m = rm_model_describe(opened);
        snprintf(model->name, sizeof model->name, "%s", m->name);
        snprintf(model->hash, sizeof model->hash, "%s", m->hash);
        rm_text_printf(out, "# %s\n\n| | |\n|---|---|\n", m->name);
        rm_text_printf(out,
                       "| architecture | %s: %d layers, width %d, %d heads of %d, feed-forward "
                       "%d, vocabulary %d, context %d%s |\n",
                       m->arch, m->n_layers, m->n_embd, m->n_heads, m->head_dim, m->n_ff,
                       m->n_vocab, m->n_ctx, m->tied ? ", tied embeddings" : "");
        rm_text_printf(out, "| parameters | %.2f million, stored as %s, %.2f MB |\n",
                       (double)m->n_params / 1e6, m->weight_type, (double)m->file_bytes / 1e6);
        if (m->value_good >= 0)
            rm_text_printf(out, "| judges | by token %d (good) and token %d (bad) |\n",
                           m->value_good, m->value_bad);
        rm_text_printf(out, "| hash | `%s` (XXH3-128 of the file) |\n", m->hash);
    }
    rm_model_close(opened);
    rm_engine_close(engine);
    return status;
}

/* ---- its training ---------------------------------------------------------------------------- */

static const char *string_of(const cJSON *object, const char *key, const char *absent)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : absent;
}

static double number_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

static rm_status put_recipe(const char *file, double *seed, rm_text *out, rm_error *err)
{
    char *text;
    size_t n;
    rm_json *json = NULL;
    rm_status status = rm_file_read(file, MOST_RECIPE, &text, &n, err);
    if (status)
        return status;
    status = rm_json_parse(text, n, file, 1, RM_JSON_COMMENTS, &json, err);
    if (!status) {
        *seed = number_of(rm_json_root(json), "seed");
        rm_text_printf(out, "| recipe | `%s` (XXH3-128 `%016llx`) |\n", file,
                       (unsigned long long)rm_hash_bytes(text, n));
    }
    rm_json_free(json);
    free(text);
    return status;
}

typedef struct log_sums {
    double steps, tokens, seconds, difference;
    rm_text evaluated; /* the lines of the last evaluation */
    double evaluated_at;
} log_sums;

static void add_evaluation(log_sums *sums, const cJSON *line)
{
    double step = number_of(line, "step"), n = number_of(line, "problems");
    double p = number_of(line, "accuracy"), auc = number_of(line, "auc");
    if (!(n >= 1 && n <= 1e9 && p >= 0 && p <= 1))
        return;
    if (!(step == sums->evaluated_at))
        sums->evaluated.length = 0;
    sums->evaluated_at = step;
    rm_estimate e = rm_wilson(p * n, n, 0.95);
    rm_text_printf(&sums->evaluated,
                   "| at step %.0f, %s | %.1f%% [%.1f, %.1f] of %.0f tuning "
                   "problems",
                   step, string_of(line, "evaluated", "?"), 100 * p, 100 * e.low, 100 * e.high, n);
    if (isfinite(auc))
        rm_text_printf(&sums->evaluated,
                       " by the best judged of %.0f samples (%.1f%% at random; "
                       "within problems right above wrong with probability %.3f)",
                       number_of(line, "samples"), 100 * number_of(line, "random"), auc);
    else
        rm_text_puts(&sums->evaluated, ", greedy");
    rm_text_puts(&sums->evaluated, " |\n");
}

static void add_line(log_sums *sums, const cJSON *line)
{
    double tokens = number_of(line, "tokens"), difference = number_of(line, "logprob_difference");
    if (cJSON_GetObjectItemCaseSensitive(line, "sampled"))
        return;
    if (cJSON_GetObjectItemCaseSensitive(line, "evaluated")) {
        add_evaluation(sums, line);
        return;
    }
    sums->steps = fmax(sums->steps, number_of(line, "step"));
    sums->tokens = fmax(sums->tokens, tokens);
    sums->seconds += fmax(0, number_of(line, "seconds"));
    if (isfinite(difference))
        sums->difference = fmax(fmax(sums->difference, 0), difference);
}

static void put_head(const cJSON *head, double seed, rm_text *out)
{
    double own = number_of(head, "seed");
    const char *model = string_of(head, "model", "?"), *hash = string_of(head, "model_hash", NULL);
    rm_text_printf(out, "| training | %s", string_of(head, "training", "?"));
    if (strcmp(model, "new") == 0)
        rm_text_puts(out, ", from new weights");
    else
        rm_text_printf(out, ", from %s", model);
    if (hash)
        rm_text_printf(out, " (`%s`)", hash);
    rm_text_puts(out, " |\n");
    if (isfinite(own) || isfinite(seed))
        rm_text_printf(out, "| seed | %.0f |\n", isfinite(own) ? own : seed);
}

static rm_status put_log(const char *file, double seed, rm_text *out, rm_error *err)
{
    char *text;
    size_t n, cursor = 0, line = 0;
    log_sums sums = { .difference = -1, .evaluated_at = NAN };
    rm_text machine = { 0 };
    rm_status status = rm_file_read(file, MOST_LOG, &text, &n, err);
    if (status)
        return status;
    for (bool first = true; !status; first = false) {
        rm_json *json = NULL;
        status = rm_jsonl_next(text, n, file, &cursor, &line, &json, err);
        if (status || !json)
            break;
        const cJSON *root = rm_json_root(json);
        if (!first)
            add_line(&sums, root);
        else if (!cJSON_GetObjectItemCaseSensitive(root, "training"))
            status = rm_json_fail(err, RM_E_FORMAT, json, root,
                                  "a training's log begins with its "
                                  "\"training\" and \"name\"");
        else
            put_head(root, seed, out);
        if (first && !status)
            rm_text_puts(&machine, string_of(root, "device", "?"));
        rm_json_free(json);
    }
    if (!status) {
        rm_text_printf(out, "| steps, tokens | %.0f, %.1f million |\n", sums.steps,
                       sums.tokens / 1e6);
        rm_text_printf(out,
                       "| time | %.0f minutes of steps by the clock, on a machine that did "
                       "other work beside: %s |\n",
                       sums.seconds / 60, machine.data ? machine.data : "");
        if (sums.difference >= 0)
            rm_text_printf(out,
                           "| drawing against training | largest difference of a token's "
                           "log-probability: %g |\n",
                           sums.difference);
        rm_text_puts(out, sums.evaluated.data && sums.evaluated.length ? sums.evaluated.data : "");
    }
    rm_text_free(&sums.evaluated);
    rm_text_free(&machine);
    free(text);
    return status;
}

/* ---- the command ------------------------------------------------------------------------------ */

static rm_status run(const cli_args *args, rm_error *err)
{
    card_model model;
    rm_text out = { 0 };
    char *file = NULL;
    double seed = NAN;
    const char *recipe = cli_text(args, "recipe", NULL), *log = cli_text(args, "log", NULL);
    const char *note = cli_text(args, "note", NULL);
    rm_status status = rm_model_find(args->positional[0], NULL, &file, err);
    if (!status)
        status = put_model(file, &model, &out, err);
    if (!status && recipe)
        status = put_recipe(recipe, &seed, &out, err);
    if (!status && log)
        status = put_log(log, seed, &out, err);
    rm_text_puts(&out, "\n");
    if (!status && note) {
        char *text;
        size_t n;
        status = rm_file_read(note, MOST_RECIPE, &text, &n, err);
        if (!status) {
            rm_text_add(&out, text, n);
            rm_text_puts(&out, "\n");
            free(text);
        }
    }
    const char *beside[MOST_BESIDE];
    int n_beside = 0;
    for (int i = 0; i < args->n_given; i++)
        if (strcmp(args->given[i].name, "beside") == 0 && n_beside < MOST_BESIDE)
            beside[n_beside++] = args->given[i].value;
    for (int i = 1; i < args->n_positional && !status; i++)
        status = cli_card_results(args, args->positional[i], beside, n_beside, model.name,
                                  model.hash, &out, err);
    if (!status && args->n_positional > 1)
        rm_text_printf(
            &out, "In brackets: intervals at %g%%.\n",
            100 * (cli_text(args, "level", NULL) ? atof(cli_text(args, "level", "")) : 0.95));
    if (!status)
        status = cli_put(&out, err);
    rm_text_free(&out);
    free(file);
    return status;
}

static const cli_option options[] = {
    { "recipe", 0, "FILE", "the configuration it was trained by" },
    { "log", 0, "FILE", "the log of its training, NAME.train.jsonl" },
    { "note", 0, "FILE", "Markdown to put before the results" },
    { "beside", 0, "DIR", "a run of other models on the same problems; may be given several times" },
    CLI_ANALYSIS_OPTIONS,
    { NULL, 0, NULL, NULL },
};

const cli_command cli_card = {
    .name = "card",
    .summary = "a model's card: its making and its results, from records",
    .positional = "MODEL [DIR...]",
    .min_positional = 1,
    .max_positional = 64,
    .details = "Markdown. The runs must have used this very file: it is known by its hash. Models that\n"
               "did the same in one of these runs, or in a run --beside them, are compared with it on\n"
               "the problems that both met.",
    .example = "ramify card thimble evaluation --recipe experiments/train/thimble.json "
               "--log thimble.train.jsonl > thimble.md",
    .options = options,
    .run = run,
};
