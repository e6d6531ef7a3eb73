/* config.c - reads an experiment file.
 *
 *     {
 *       "name": "...", "description": "...",
 *       "models": { "thimble": "thimble", "big": { "file": "...", "compute": "bf16" } },
 *       "tasks": [ { "kind": "arithmetic", "operations": 6 } ],
 *       "generation": { "temperature": 0.8 },
 *       "strategies": [ { "strategy": "beam", "num_beams": [2, 4, 8] } ],
 *       "seeds": [1], "problems": 200,
 *       "latency": { ... }, "limits": { ... }, "engine": { ... }, "analysis": { ... },
 *       "full": { "problems": 1000, ... }
 *     }
 *
 * README.md explains every key. The hash of a configuration covers what changes a record, so that
 * a run directory can be resumed only with the configuration that made it. A limit of one outcome
 * belongs to it, since a strategy sees it and works within it. The number of problems does not (a
 * run may be extended), nor do file names, threads, concurrency and kv_mib: a cache that is too
 * small for one problem ends the run instead of changing an outcome. Nor do isa, backend, device and
 * products: where the bits depend on them, the run directory remembers what it was begun with and
 * refuses another (runner.c). */
#define _GNU_SOURCE
#include "experiments/config_private.h"

#include "experiments/claims.h"
#include "plots/plots.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MODELS = 64, MAX_TASKS = 64, MAX_SEEDS = 10000, MAX_PAIRS = 1000 };

static rm_status out_of_memory(rm_error *err)
{
    return rm_fail(err, RM_E_MEMORY, "out of memory while reading a configuration");
}

/* ---- the tables of keys --------------------------------------------------------------- */

typedef struct top {
    char *name, *description, *replay_on;
    const cJSON *models, *tasks, *strategies, *generation, *seeds;
    const cJSON *latency, *limits, *engine, *analysis, *full;
    int problems;
} top;

#define TOP(field) offsetof(top, field)
static const rm_key top_keys[] = {
    { "name", RM_KEY_STRING, TOP(name), 0, 0, NULL, "" },
    { "description", RM_KEY_STRING, TOP(description), 0, 0, NULL, "" },
    { "models", RM_KEY_ANY, TOP(models), 0, 0, NULL, "" },
    { "replay_on", RM_KEY_STRING, TOP(replay_on), 0, 0, NULL, "" },
    { "tasks", RM_KEY_ANY, TOP(tasks), 0, 0, NULL, "" },
    { "strategies", RM_KEY_ANY, TOP(strategies), 0, 0, NULL, "" },
    { "generation", RM_KEY_ANY, TOP(generation), 0, 0, NULL, "" },
    { "seeds", RM_KEY_ANY, TOP(seeds), 0, 0, NULL, "" },
    { "problems", RM_KEY_INT, TOP(problems), 1, 10000000, NULL, "" },
    { "latency", RM_KEY_ANY, TOP(latency), 0, 0, NULL, "" },
    { "limits", RM_KEY_ANY, TOP(limits), 0, 0, NULL, "" },
    { "engine", RM_KEY_ANY, TOP(engine), 0, 0, NULL, "" },
    { "analysis", RM_KEY_ANY, TOP(analysis), 0, 0, NULL, "" },
    { "full", RM_KEY_ANY, TOP(full), 0, 0, NULL, "" },
    { 0 },
};

/* What the full size may say anew. Models and analysis stay: it asks the same question. */
static const rm_key full_keys[] = {
    { "tasks", RM_KEY_ANY, TOP(tasks), 0, 0, NULL, "" },
    { "strategies", RM_KEY_ANY, TOP(strategies), 0, 0, NULL, "" },
    { "generation", RM_KEY_ANY, TOP(generation), 0, 0, NULL, "" },
    { "seeds", RM_KEY_ANY, TOP(seeds), 0, 0, NULL, "" },
    { "problems", RM_KEY_INT, TOP(problems), 1, 10000000, NULL, "" },
    { "latency", RM_KEY_ANY, TOP(latency), 0, 0, NULL, "" },
    { "limits", RM_KEY_ANY, TOP(limits), 0, 0, NULL, "" },
    { 0 },
};

#define CONFIG(field) offsetof(rm_config, field)
static const rm_key latency_keys[] = {
    { "problems", RM_KEY_INT, CONFIG(latency_problems), 0, 1000000, NULL, "" },
    { "repeats", RM_KEY_INT, CONFIG(latency_repeats), 3, 1000, NULL, "" },
    { "warmup", RM_KEY_INT, CONFIG(latency_warmup), 0, 1000, NULL, "" },
    { 0 },
};

/* Limits of one outcome, sizes in MiB, which are read as reals and kept in bytes, and what has a
 * name: instruction set, backend, products. */
typedef struct sizes {
    double max_wall_ms, kv_mib, kv_quota_mib;
    uint64_t max_generated_tokens;
    int isa, backend;            /* index; -1: not said */
    int products;
} sizes;

#define SIZES(field) offsetof(sizes, field)
static const rm_key limit_keys[] = {
    { "max_wall_ms", RM_KEY_REAL, SIZES(max_wall_ms), 0, 1e12, NULL, "" },
    { "max_generated_tokens", RM_KEY_SEED, SIZES(max_generated_tokens), 0, 0, NULL, "" },
    { "kv_quota_mib", RM_KEY_REAL, SIZES(kv_quota_mib), 0, 1e9, NULL, "" },
    { 0 },
};

static const rm_key engine_keys[] = {
    { "concurrency", RM_KEY_INT, CONFIG(concurrency), 1, 100000, NULL, "" },
    { "threads", RM_KEY_INT, CONFIG(threads), 1, 1024, NULL, "" },
    { "max_batch_rows", RM_KEY_INT, CONFIG(max_batch_rows), 16, 1 << 16, NULL, "" },
    { "device", RM_KEY_INT, CONFIG(device), 0, 1023, NULL, "" },
    { 0 },
};
static const rm_key engine_size_keys[] = {
    { "kv_mib", RM_KEY_REAL, SIZES(kv_mib), 1, 1e9, NULL, "" },
    { "isa", RM_KEY_CHOICE, SIZES(isa), 0, 0, rm_isa_names, "" },
    { "backend", RM_KEY_CHOICE, SIZES(backend), 0, 0, rm_backend_names, "" },
    { "products", RM_KEY_CHOICE, SIZES(products), 0, 0, rm_product_names, "" },
    { 0 },
};

/* The paired tests are tests of accuracy. Costs are shown with intervals and on fronts; stating
 * one of them as the primary metric would promise a test that nobody makes. */
static const char *const metric_names[] = { "accuracy", NULL };
typedef struct analysis {
    int metric;
    char *baseline, *hypothesis, *figure;
    double margin;
    int direction;
    const cJSON *comparisons, *claims;
} analysis;

static const rm_key analysis_keys[] = {
    { "primary_metric", RM_KEY_CHOICE, offsetof(analysis, metric), 0, 0, metric_names, "" },
    { "margin", RM_KEY_REAL, offsetof(analysis, margin), 0, 1, NULL, "" },
    { "direction", RM_KEY_CHOICE, offsetof(analysis, direction), 0, 0, rm_direction_names, "" },
    { "baseline", RM_KEY_STRING, offsetof(analysis, baseline), 0, 0, NULL, "" },
    { "comparisons", RM_KEY_ANY, offsetof(analysis, comparisons), 0, 0, NULL, "" },
    { "hypothesis", RM_KEY_STRING, offsetof(analysis, hypothesis), 0, 0, NULL, "" },
    { "claims", RM_KEY_ANY, offsetof(analysis, claims), 0, 0, NULL, "" },
    { "figure", RM_KEY_STRING, offsetof(analysis, figure), 0, 0, NULL, "" },
    { 0 },
};

/* ---- models --------------------------------------------------------------------------- */

typedef struct model_spec {
    char *file;
    int compute, kv, context;
} model_spec;

static const char *const compute_names[] = { "stored", "f32", "bf16", "q8", NULL };
static const char *const kv_names[] = { "default", "f32", "bf16", NULL };
static const rm_key model_keys[] = {
    { "file", RM_KEY_STRING, offsetof(model_spec, file), 0, 0, NULL, "" },
    { "compute", RM_KEY_CHOICE, offsetof(model_spec, compute), 0, 0, compute_names, "" },
    { "kv", RM_KEY_CHOICE, offsetof(model_spec, kv), 0, 0, kv_names, "" },
    { "context", RM_KEY_INT, offsetof(model_spec, context), 1, 1 << 24, NULL, "" },
    { 0 },
};

/* A member of "models": its value is a file (or an embedded model's name) or an object; in a list,
 * the element itself is both name and file. */
static rm_status add_model(rm_config *config, const rm_json *json, const cJSON *item,
                           rm_error *err)
{
    model_spec spec = { 0 };
    rm_config_remote server, *remote = NULL;
    char path[96];
    const char *name = item->string ? item->string
                     : cJSON_IsString(item) ? item->valuestring : "";
    snprintf(path, sizeof path, "models.%.60s", name);
    if (!*name)
        return rm_json_fail(err, RM_E_ARGUMENT, json, item,
                            "models: expected the name of a model");
    for (int i = 0; i < config->n_models; i++)
        if (!strcmp(config->models[i].name, name))
            return rm_json_fail(err, RM_E_ARGUMENT, json, item,
                                "models: \"%.60s\" is there twice", name);
    rm_status st = RM_OK;
    rm_remote_defaults(&server);
    if (cJSON_IsString(item)) {
        if (!(spec.file = strdup(item->valuestring)))
            st = out_of_memory(err);
    } else {
        st = rm_keys_read(json, item, path, model_keys, &spec, rm_remote_keys, &server, err);
        if (st)
            rm_keys_free(rm_remote_keys, &server);
        else
            st = rm_remote_settle(json, item, path, spec.file, &server, &remote, err);
        if (!st && remote && !(spec.file = strdup(remote->url)))
            st = out_of_memory(err);
    }
    if (!st && (!spec.file || !*spec.file))
        st = rm_json_fail(err, RM_E_ARGUMENT, json, item,
                          "%s: expected a file or the name of an embedded model", path);
    size_t line = 0, column = 0;
    rm_json_where(json, item, false, &line, &column);
    char *copy = st ? NULL : strdup(name);
    if (!st && !copy)
        st = out_of_memory(err);
    if (st) {
        rm_remote_free(remote);
        free(spec.file);
        return st;
    }
    config->models[config->n_models++] = (rm_config_model){
        .name = copy, .file = spec.file, .remote = remote, .line = line,
        .options = { .compute = spec.compute ? compute_names[spec.compute] : NULL,
                     .kv = spec.kv ? kv_names[spec.kv] : NULL,
                     .n_ctx = spec.context },
    };
    return RM_OK;
}

static rm_status read_models(rm_config *config, const rm_json *json, const cJSON *models,
                             rm_error *err)
{
    int n = cJSON_IsObject(models) || cJSON_IsArray(models) ? cJSON_GetArraySize(models) : 0;
    if (n == 0)
        return rm_json_fail(err, RM_E_ARGUMENT, json, models ? models : rm_json_root(json),
                            "models: expected an object from names to files, or a list of names, "
                            "with at least one model");
    if (n > MAX_MODELS)
        return rm_json_fail(err, RM_E_ARGUMENT, json, models, "models: at most %d models",
                            MAX_MODELS);
    if (!(config->models = calloc((size_t)n, sizeof *config->models)))
        return out_of_memory(err);
    const cJSON *item;
    cJSON_ArrayForEach(item, models) {
        rm_status st = add_model(config, json, item, err);
        if (st)
            return st;
    }
    return RM_OK;
}

static rm_status read_replay(rm_config *config, const rm_json *json, const char *file,
                             rm_error *err)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "replay_on");
    if (!file)
        return RM_OK;
    if (!*file)
        return rm_json_fail(err, RM_E_ARGUMENT, json, item,
                            "replay_on: expected a file or the name of an embedded model");
    for (int i = 0; i < config->n_models; i++)
        if (config->models[i].remote)
            return rm_json_fail(err, RM_E_ARGUMENT, json, item, "replay_on: model %s is behind a "
                                "server, whose decisions cannot be replayed",
                                config->models[i].name);
    return (config->replay_on = strdup(file)) ? RM_OK : out_of_memory(err);
}

rm_status rm_config_replayed(const rm_config *config, const char *file, rm_text *text,
                             rm_error *err)
{
    rm_json *json = NULL;
    size_t line = 0, column = 0;
    if (config->replay_on)
        return rm_fail(err, RM_E_ARGUMENT, "%s is itself a replay (on %s); replay the run that it "
                       "was made from", config->file, config->replay_on);
    rm_status st = rm_json_parse(config->text, strlen(config->text), config->file, 1,
                                 RM_JSON_COMMENTS, &json, err);
    if (st)
        return st;
    rm_json_where(json, rm_json_root(json), false, &line, &column);
    const char *brace = config->text;
    while (line-- > 1)
        brace = strchr(brace, '\n') + 1;
    brace += column - 1;
    rm_text_add(text, config->text, (size_t)(brace - config->text) + 1);
    rm_text_puts(text, " \"replay_on\": ");
    rm_json_quote(text, file, strlen(file));
    rm_text_printf(text, ",%s", brace + 1);
    rm_json_free(json);
    return text->failed ? out_of_memory(err) : RM_OK;
}

/* ---- tasks and seeds ------------------------------------------------------------------ */

static rm_status read_tasks(rm_config *config, const rm_json *json, const cJSON *tasks,
                            const char *folder, rm_error *err)
{
    int n = cJSON_IsArray(tasks) ? cJSON_GetArraySize(tasks) : 0;
    if (n == 0 || n > MAX_TASKS)
        return rm_json_fail(err, RM_E_ARGUMENT, json, tasks ? tasks : rm_json_root(json),
                            "tasks: expected a list of 1 to %d objects with a \"kind\"", MAX_TASKS);
    if (!(config->tasks = calloc((size_t)n, sizeof *config->tasks)))
        return out_of_memory(err);
    const cJSON *item;
    cJSON_ArrayForEach(item, tasks) {
        char path[32];
        snprintf(path, sizeof path, "tasks[%d]", config->n_tasks);
        rm_task *task;
        rm_status st = rm_task_new(json, item, folder, path, &task, err);
        if (st)
            return st;
        config->tasks[config->n_tasks++] = task;
        for (int i = 0; i + 1 < config->n_tasks; i++)
            if (!strcmp(rm_task_name(config->tasks[i]), rm_task_name(task)))
                return rm_json_fail(err, RM_E_ARGUMENT, json, item,
                                    "%s: another task is called \"%s\"; give this one a \"name\"",
                                    path, rm_task_name(task));
    }
    return RM_OK;
}

static rm_status read_seeds(rm_config *config, const rm_json *json, const cJSON *seeds,
                            rm_error *err)
{
    int n = cJSON_IsArray(seeds) ? cJSON_GetArraySize(seeds) : 1;
    if (n == 0 || n > MAX_SEEDS)
        return rm_json_fail(err, RM_E_ARGUMENT, json, seeds,
                            "seeds: expected a list of 1 to %d integers", MAX_SEEDS);
    if (!(config->seeds = calloc((size_t)n, sizeof *config->seeds)))
        return out_of_memory(err);
    config->seeds[config->n_seeds++] = 1;
    if (!seeds)
        return RM_OK;
    config->n_seeds = 0;
    const cJSON *item = cJSON_IsArray(seeds) ? seeds->child : seeds;
    for (; item; item = cJSON_IsArray(seeds) ? item->next : NULL) {
        uint64_t seed;
        if (!rm_json_get_uint(json, item, &seed))
            return rm_json_fail(err, RM_E_ARGUMENT, json, item,
                                "seeds: expected an integer from 0 to 18446744073709551615");
        for (int i = 0; i < config->n_seeds; i++)
            if (config->seeds[i] == seed)
                return rm_json_fail(err, RM_E_ARGUMENT, json, item, "seeds: %llu is there twice",
                                    (unsigned long long)seed);
        config->seeds[config->n_seeds++] = seed;
    }
    return RM_OK;
}

/* ---- the rest ------------------------------------------------------------------------- */

static rm_status read_sizes(rm_config *config, const rm_json *json, const top *t, rm_error *err)
{
    sizes z = { .isa = -1, .backend = -1 };
    rm_status st = RM_OK;
    config->latency_repeats = 3;
    config->latency_warmup = 1;
    if (t->latency)
        st = rm_keys_read(json, t->latency, "latency", latency_keys, config, NULL, NULL, err);
    if (!st && t->limits)
        st = rm_keys_read(json, t->limits, "limits", limit_keys, &z, NULL, NULL, err);
    if (!st && t->engine)
        st = rm_keys_read(json, t->engine, "engine", engine_keys, config, engine_size_keys, &z,
                          err);
    config->isa = z.isa < 0 ? NULL : rm_isa_names[z.isa];
    config->backend = z.backend < 0 ? NULL : rm_backend_names[z.backend];
    config->fast = z.products == RM_PRODUCTS_FAST;
    config->max_wall_ms = z.max_wall_ms;
    config->max_generated_tokens = z.max_generated_tokens;
    config->kv_bytes = (size_t)(z.kv_mib * 1048576.0);
    config->kv_quota_bytes = (size_t)(z.kv_quota_mib * 1048576.0);
    return st;
}

/* A label of the plan, or a sentence with the nearest one. */
static rm_status check_label(const rm_config *config, const rm_json *json, const cJSON *item,
                             const char *path, rm_error *err)
{
    if (!cJSON_IsString(item))
        return rm_json_fail(err, RM_E_ARGUMENT, json, item, "%s: expected the label of a cell",
                            path);
    const char *near = NULL;
    int best = (int)(strlen(item->valuestring) % 1000) / 2 + 2; /* farther off is no slip */
    for (int i = 0; i < config->n_cells; i++) {
        const char *label = config->cells[i].label;
        if (!strcmp(label, item->valuestring))
            return RM_OK;
        int distance = rm_word_distance(item->valuestring, label);
        if (distance < best) {
            best = distance;
            near = label;
        }
    }
    return rm_json_fail(err, RM_E_ARGUMENT, json, item,
                        "%s: no cell has the label \"%.80s\"%s%s%s", path, item->valuestring,
                        near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

/* Cells are compared on common problems: within a task that has both. */
static rm_status check_pair(const rm_config *config, const rm_json *json, const cJSON *pair,
                            const char *a, const char *b, rm_error *err)
{
    if (!strcmp(a, b))
        return rm_json_fail(err, RM_E_ARGUMENT, json, pair,
                            "analysis.comparisons: \"%.80s\" is compared with itself", a);
    for (int i = 0; i < config->n_cells; i++)
        for (int j = 0; j < config->n_cells && !strcmp(config->cells[i].label, a); j++)
            if (config->cells[i].task == config->cells[j].task &&
                !strcmp(config->cells[j].label, b))
                return RM_OK;
    return rm_json_fail(err, RM_E_ARGUMENT, json, pair,
                        "analysis.comparisons: no task has both \"%.80s\" and \"%.80s\"", a, b);
}

static rm_status read_pairs(rm_config *config, const rm_json *json, const cJSON *list,
                            rm_error *err)
{
    int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : -1;
    if (n < 0 || n > MAX_PAIRS)
        return rm_json_fail(err, RM_E_ARGUMENT, json, list,
                            "analysis.comparisons: expected a list of at most %d pairs of labels",
                            MAX_PAIRS);
    if (!(config->pairs = calloc((size_t)n + 1, sizeof *config->pairs)))
        return out_of_memory(err);
    const cJSON *pair;
    cJSON_ArrayForEach(pair, list) {
        if (!cJSON_IsArray(pair) || cJSON_GetArraySize(pair) != 2)
            return rm_json_fail(err, RM_E_ARGUMENT, json, pair,
                                "analysis.comparisons: expected a pair of labels");
        const cJSON *a = pair->child, *b = a->next;
        rm_status st = check_label(config, json, a, "analysis.comparisons", err);
        if (!st)
            st = check_label(config, json, b, "analysis.comparisons", err);
        if (!st)
            st = check_pair(config, json, pair, a->valuestring, b->valuestring, err);
        if (st)
            return st;
        rm_config_pair *p = &config->pairs[config->n_pairs++];
        p->a = strdup(a->valuestring);
        p->b = strdup(b->valuestring);
        if (!p->a || !p->b)
            return out_of_memory(err);
    }
    return RM_OK;
}

static rm_status read_analysis(rm_config *config, const rm_json *json, const cJSON *object,
                               rm_error *err)
{
    analysis a = { .margin = (double)NAN };
    rm_status st = RM_OK;
    if (object)
        st = rm_keys_read(json, object, "analysis", analysis_keys, &a, NULL, NULL, err);
    if (!st && a.baseline)
        st = check_label(config, json, cJSON_GetObjectItemCaseSensitive(object, "baseline"),
                         "analysis.baseline", err);
    if (!st && a.comparisons)
        st = read_pairs(config, json, a.comparisons, err);
    if (!st && a.direction == RM_DIRECTION_EQUAL && !(a.margin > 0))
        st = rm_json_fail(err, RM_E_ARGUMENT, json,
                          cJSON_GetObjectItemCaseSensitive(object, "direction"),
                          "analysis.direction: \"equal\" needs a \"margin\" above 0");
    if (!st && a.claims)
        st = rm_claims_read(json, a.claims, a.margin, &config->claims, err);
    if (!st)
        st = a.claims ? rm_claims_check(config, json, a.claims, err) : RM_OK;
    rm_figure figure;
    rm_error inner;
    if (!st && a.figure && rm_figure_find(a.figure, &figure, &inner))
        st = rm_json_fail(err, RM_E_ARGUMENT, json,
                          cJSON_GetObjectItemCaseSensitive(object, "figure"), "analysis.figure: %s",
                          inner.text);
    config->hypothesis = a.hypothesis;
    config->figure = a.figure;
    config->margin = a.margin;
    config->direction = (rm_direction)a.direction;
    config->baseline = a.baseline;
    if (!st && !(config->primary_metric = strdup(metric_names[a.metric])))
        st = out_of_memory(err);
    return st;
}

static uint64_t hash_text(uint64_t h, const char *text)
{
    return text ? rm_mix(h, rm_hash_bytes(text, strlen(text))) : rm_mix(h, 0);
}

static uint64_t hash_config(const rm_config *config)
{
    uint64_t h = 1;
    for (int i = 0; i < config->n_models; i++) {
        h = hash_text(h, config->models[i].name);
        h = hash_text(h, config->models[i].options.compute);
        h = hash_text(h, config->models[i].options.kv);
        if (config->models[i].options.n_ctx)
            h = rm_mix(h, (uint64_t)config->models[i].options.n_ctx);
        if (config->models[i].remote) /* which model it is, is checked when it is opened */
            h = rm_mix(h, rm_mix((uint64_t)config->models[i].remote->choices,
                                 (uint64_t)config->models[i].remote->logprobs));
    }
    if (config->replay_on) /* costs are another model's; which, is checked when it is opened */
        h = hash_text(h, "replay");
    for (int i = 0; i < config->n_tasks; i++)
        h = rm_mix(hash_text(h, rm_task_name(config->tasks[i])), rm_task_hash(config->tasks[i]));
    for (int i = 0; i < config->n_cells; i++)
        h = rm_mix(h, config->cells[i].hash);
    for (int i = 0; i < config->n_seeds; i++)
        h = rm_mix(h, config->seeds[i]);
    h = rm_mix(h, rm_hash_bytes(&config->max_wall_ms, sizeof config->max_wall_ms));
    h = rm_mix(h, config->max_generated_tokens);
    return rm_mix(h, config->kv_quota_bytes);
}

/* ---- the whole file ------------------------------------------------------------------- */

/* "dir/file.json" to "dir", "file.json" to "."; malloc'd. */
static char *folder_of(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash ? strndup(file, slash == file ? 1 : (size_t)(slash - file)) : strdup(".");
}

static rm_status read_config(rm_config *config, const rm_json *json, top *t, rm_error *err)
{
    const cJSON *root = rm_json_root(json);
    rm_status st = rm_keys_read(json, root, "", top_keys, t, NULL, NULL, err);
    config->has_full = t->full != NULL;
    if (!st && config->full && !t->full)
        st = rm_json_fail(err, RM_E_ARGUMENT, json, root, "the file has no \"full\" size to run");
    if (!st && t->full) { /* checked also where it is not asked for */
        top full = *t;
        st = rm_keys_read(json, t->full, "full", full_keys, config->full ? t : &full, NULL, NULL,
                          err);
    }
    if (st)
        return st;
    if (t->generation && !cJSON_IsObject(t->generation))
        return rm_json_fail(err, RM_E_ARGUMENT, json, t->generation,
                            "generation: expected an object of parameters");
    char *folder = folder_of(config->file);
    if (!folder)
        return out_of_memory(err);
    config->problems = t->problems ? t->problems : 100;
    if (!(st = read_models(config, json, t->models, err))
        && !(st = read_replay(config, json, t->replay_on, err))
        && !(st = read_tasks(config, json, t->tasks, folder, err))
        && !(st = read_seeds(config, json, t->seeds, err))
        && !(st = read_sizes(config, json, t, err))
        && !(st = rm_config_read_cells(config, json, t->strategies, t->generation, err)))
        st = read_analysis(config, json, t->analysis, err);
    free(folder);
    if (st)
        return st;
    const char *slash = strrchr(config->file, '/'), *base = slash ? slash + 1 : config->file;
    const char *dot = strrchr(base, '.');
    config->name = t->name && *t->name
                       ? strdup(t->name) : strndup(base, dot > base ? (size_t)(dot - base)
                                                                    : strlen(base));
    config->description = strdup(t->description ? t->description : "");
    if (!config->name || !config->description)
        return out_of_memory(err);
    config->hash = hash_config(config);
    return RM_OK;
}

static rm_status parse(const char *file_name, const char *text, size_t n, bool full,
                       rm_config **out, rm_error *err)
{
    rm_json *json = NULL;
    rm_status st = rm_json_parse(text, n, file_name, 1, RM_JSON_COMMENTS, &json, err);
    if (st)
        return st;
    top t = { 0 };
    rm_config *config = calloc(1, sizeof *config);
    if (!config || !(config->file = strdup(file_name)) || !(config->text = strndup(text, n)))
        st = out_of_memory(err);
    else {
        config->full = full;
        st = read_config(config, json, &t, err);
    }
    rm_keys_free(top_keys, &t);
    rm_json_free(json);
    if (st) {
        rm_config_free(config);
        return st;
    }
    *out = config;
    return RM_OK;
}

rm_status rm_config_parse(const char *file_name, const char *text, size_t n, rm_config **out,
                          rm_error *err)
{
    return parse(file_name, text, n, false, out, err);
}

rm_status rm_config_parse_full(const char *file_name, const char *text, size_t n, rm_config **out,
                               rm_error *err)
{
    return parse(file_name, text, n, true, out, err);
}

static rm_status open_size(const char *file, bool full, rm_config **out, rm_error *err)
{
    char *text;
    size_t n;
    rm_status st = rm_file_read(file, (size_t)16 << 20, &text, &n, err);
    if (st)
        return st;
    st = parse(file, text, n, full, out, err);
    free(text);
    return st;
}

rm_status rm_config_open(const char *file, rm_config **out, rm_error *err)
{
    return open_size(file, false, out, err);
}

rm_status rm_config_open_full(const char *file, rm_config **out, rm_error *err)
{
    return open_size(file, true, out, err);
}

void rm_config_free(rm_config *config)
{
    if (!config)
        return;
    for (int i = 0; i < config->n_models; i++) {
        free(config->models[i].name);
        free(config->models[i].file);
        rm_remote_free(config->models[i].remote);
    }
    for (int i = 0; i < config->n_tasks; i++)
        rm_task_free(config->tasks[i]);
    for (int i = 0; i < config->n_cells; i++) {
        rm_plan_cell *cell = &config->cells[i];
        free(cell->models);
        free(cell->label);
        free(cell->family);
        rm_params_free(cell->params);
    }
    for (int i = 0; i < config->n_pairs; i++) {
        free(config->pairs[i].a);
        free(config->pairs[i].b);
    }
    free(config->pairs);
    rm_claims_free(&config->claims);
    free(config->hypothesis);
    free(config->figure);
    free(config->models);
    free(config->tasks);
    free(config->cells);
    free(config->seeds);
    free(config->primary_metric);
    free(config->replay_on);
    free(config->baseline);
    free(config->name);
    free(config->description);
    free(config->text);
    free(config->file);
    free(config);
}
