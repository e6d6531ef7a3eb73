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

enum { MOST_RECIPE = 1 << 20, MOST_LOG = 256 << 20 };

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

/* ---- results --------------------------------------------------------------------------------- */

/* The name that the run gave the file of this hash, malloc'd; NULL: it had no part in it. */
static rm_status name_in_run(rm_store *store, const char *hash, char **name, rm_error *err)
{
    rm_text text = { 0 };
    rm_json *json = NULL;
    *name = NULL;
    rm_status status = rm_manifest_text(store, &text, err);
    if (!status)
        status = rm_json_parse(text.data, text.length, "manifest.json", 1, RM_JSON_NO_POSITIONS,
                               &json, err);
    const cJSON *session, *m;
    if (!status)
        cJSON_ArrayForEach(session,
                           cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "sessions"))
        {
            const cJSON *with = cJSON_GetObjectItemCaseSensitive(session, "with");
            cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(
                                      with, "models")) if (!*name &&
                                                           strcmp(string_of(m, "hash_xxh3_128", ""),
                                                                  hash) == 0) *name =
                strdup(string_of(m, "name", ""));
        }
    rm_json_free(json);
    rm_text_free(&text);
    return status;
}

static void put_share(rm_text *out, const rm_estimate *e)
{
    if (isfinite(e->value) && isfinite(e->low))
        rm_text_printf(out, " %.1f [%.1f, %.1f] |", 100 * e->value, 100 * e->low, 100 * e->high);
    else
        rm_text_puts(out, " – |");
}

/* The cell of a task that belongs to the model alone: its greedy one, or its largest pool. */
static const rm_cell_report *own_cell(const rm_analysis *a, const rm_task_report *task,
                                      const char *name, bool greedy)
{
    const rm_cell_report *best = NULL;
    for (size_t i = 0; i < task->n_cells; i++) {
        const rm_cell_report *c = &task->cells[i];
        const rm_cell *cell = &a->records->cells[c->cell];
        if (strcmp(cell->model, name) != 0)
            continue;
        if (greedy ? strcmp(cell->strategy, "greedy") == 0
                   : c->n_curves && (!best || c->curves[0].k[c->curves[0].n_points - 1] >
                                                  best->curves[0].k[best->curves[0].n_points - 1]))
            best = c;
    }
    return best;
}

/* pass@k or maj@k of the pool at its first or last k. */
static void put_curve(const rm_cell_report *pool, rm_subset_kind kind, bool last, rm_text *out)
{
    static const rm_estimate none = { .value = NAN, .low = NAN };
    const rm_estimate *e = &none;
    for (size_t i = 0; pool && i < pool->n_curves; i++)
        if (pool->curves[i].kind == kind && !pool->curves[i].by)
            e = &pool->curves[i].value[last ? pool->curves[i].n_points - 1 : 0];
    put_share(out, e);
}

/* One line a task: greedy, one sample, majority and coverage of all samples. */
static void put_alone(const rm_analysis *a, const char *name, rm_text *out)
{
    bool any = false;
    for (size_t t = 0; t < a->n_tasks; t++) {
        const rm_task_report *task = &a->tasks[t];
        const rm_cell_report *greedy = own_cell(a, task, name, true);
        const rm_cell_report *pool = own_cell(a, task, name, false);
        if (!greedy && !pool)
            continue;
        if (!any)
            rm_text_puts(out,
                         "| task | problems | greedy % | one sample % | samples | majority % | "
                         "any right % | tokens of a sample |\n|---|---|---|---|---|---|---|---|\n");
        any = true;
        static const rm_estimate none = { .value = NAN, .low = NAN };
        rm_text_printf(out, "| %s | %zu |", task->task, (greedy ? greedy : pool)->n_problems);
        put_share(out, greedy ? &greedy->quantities[RM_Q_ACCURACY] : &none);
        put_curve(pool, RM_PASS_AT_K, false, out);
        size_t n = pool ? pool->curves[0].k[pool->curves[0].n_points - 1] : 0;
        rm_text_printf(out, n ? " %zu |" : " – |", n);
        put_curve(pool, RM_MAJ_AT_K, true, out);
        put_curve(pool, RM_PASS_AT_K, true, out);
        if (pool)
            rm_text_printf(out, " %.0f |\n",
                           pool->quantities[RM_Q_GENERATED_TOKENS].value / (double)n);
        else
            rm_text_printf(out, " %.0f (greedy) |\n",
                           greedy->quantities[RM_Q_GENERATED_TOKENS].value);
    }
    rm_text_puts(out, any ? "\n" : "");
}

/* Is `name` one of the names that `joined` joins by " + "? */
static bool takes_part(const char *joined, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = joined; at; at = strstr(at, " + ") ? strstr(at, " + ") + 3 : NULL)
        if (strncmp(at, name, n) == 0 && (!at[n] || strncmp(at + n, " + ", 3) == 0))
            return true;
    return false;
}

/* Cells of several models, this one among them, each with its difference from what it is held
 * against: the stated pairs of the run. */
static void put_together(const rm_analysis *a, const char *name, rm_text *out)
{
    bool any = false;
    for (size_t t = 0; t < a->n_tasks; t++) {
        const rm_task_report *task = &a->tasks[t];
        for (size_t i = 0; i < task->n_pairs; i++) {
            const rm_comparison *c = &task->pairs[i];
            const rm_cell *one = &a->records->cells[c->a], *two = &a->records->cells[c->b];
            if (!takes_part(one->model, name) && !takes_part(two->model, name))
                continue;
            if (!any)
                rm_text_puts(out, "| task | problems | cell | % | held against | % | difference | "
                                  "verdict |\n|---|---|---|---|---|---|---|---|\n");
            any = true;
            rm_text_printf(out,
                           "| %s | %zu | %s | %.1f | %s | %.1f | %+.1f [%+.1f, %+.1f] | %s |\n",
                           task->task, c->n, one->label, 100 * c->accuracy_a, two->label,
                           100 * c->accuracy_b, 100 * c->difference.value, 100 * c->corrected.low,
                           100 * c->corrected.high, rm_comparison_verdict(c, a->options.level));
        }
    }
    if (any)
        rm_text_puts(out, "\nDifferences in points; their intervals hold for all pairs of a task "
                          "together.\n\n");
}

static rm_status put_run(const cli_args *args, const char *dir, const card_model *model,
                         rm_text *out, rm_error *err)
{
    cli_analysis a;
    rm_store *store = NULL;
    char *name = NULL;
    rm_status status = rm_store_open(dir, false, &store, err);
    if (!status)
        status = name_in_run(store, model->hash, &name, err);
    if (!status && !name)
        status = rm_fail(err, RM_E_ARGUMENT,
                         "%s is no run of this file of %s (%s): its manifest "
                         "has no such hash",
                         dir, model->name, model->hash);
    if (!status)
        status = cli_analyze_dirs(args, &dir, 1, &a, err);
    if (!status) {
        rm_text run = { 0 };
        rm_store_get_meta(store, "name", &run);
        rm_text_printf(out, "## %s\n\n", run.data ? run.data : dir);
        rm_text_free(&run);
        rm_text unfinished = { 0 };
        if (rm_records_caveat(a.analysis->records, &unfinished) && unfinished.data)
            rm_text_printf(out, "%s\n\n", unfinished.data);
        rm_text_free(&unfinished);
        put_alone(a.analysis, name, out);
        put_together(a.analysis, name, out);
        cli_analysis_free(&a);
    }
    rm_store_close(store);
    free(name);
    return status;
}

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
    for (int i = 1; i < args->n_positional && !status; i++)
        status = put_run(args, args->positional[i], &model, &out, err);
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
    CLI_ANALYSIS_OPTIONS,
    { NULL, 0, NULL, NULL },
};

const cli_command cli_card = {
    .name = "card",
    .summary = "a model's card: its making and its results, from records",
    .positional = "MODEL [DIR...]",
    .min_positional = 1,
    .max_positional = 64,
    .details = "Markdown. The runs must have used this very file: it is known by its hash.",
    .example = "ramify card thimble evaluation --recipe experiments/train/thimble.json "
               "--log thimble.train.jsonl > thimble.md",
    .options = options,
    .run = run,
};
