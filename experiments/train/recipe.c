/* recipe.c - reads the configuration of a training.
 *
 *     {
 *       "name": "thimble", "seed": 1,
 *       "model": { "layers": 6, "width": 192, "heads": 6, "ffn": 512 },     // or "thimble", a file
 *       "tasks": [ { "task": { "kind": "arithmetic" }, "share": 0.65 },
 *                  { "task": { "kind": "countdown" }, "share": 0.35,
 *                    "failures": [0.6, 0.25, 0.15], "give_up": 0.5 } ],
 *       "steps": 5250, "tokens_per_step": 8192,
 *       "optimizer": { "rate": 0.003, "warmup": 100, "flat": 0.7, "last": 0.03 },
 *       "evaluate": { "every": 500, "problems": 100 }
 *     }
 *
 * README.md explains every key. Tasks are held to their split "train", and evaluated on "tune", so
 * that no test problem is ever trained on: the split follows from a problem's canonical hash. */
#include "experiments/train/train.h"

#include "experiments/experiments.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const char *const train_kind_names[] = { "sft", "reject", "grpo", "reward", NULL };
static const char *const objective_names[] = { "grpo", "dr-grpo", "dapo", NULL };

/* ---- the tables of keys ---------------------------------------------------------------------- */

typedef struct top {
    train_recipe *r;
    const cJSON *model, *tasks, *optimizer, *evaluate, *part;
} top;

#define R(field) offsetof(train_recipe, field)
static const rm_key recipe_keys[] = {
    { "name", RM_KEY_STRING, R(name), 0, 0, NULL, "" },
    { "seed", RM_KEY_SEED, R(seed), 0, 0, NULL, "" },
    { "steps", RM_KEY_INT, R(steps), 1, 100000000, NULL, "" },
    { "tokens_per_step", RM_KEY_INT, R(tokens_per_step), 64, 1 << 24, NULL, "" },
    { "checkpoint_every", RM_KEY_INT, R(checkpoint_every), 1, 100000000, NULL, "" },
    { "weight_type", RM_KEY_STRING, R(weight_type), 0, 0, NULL, "" },
    { 0 },
};

#define T(field) offsetof(top, field)
static const rm_key part_keys[TRAIN_KINDS][6] = {
    { { "model", RM_KEY_ANY, T(model), 0, 0, NULL, "" },
      { "tasks", RM_KEY_ANY, T(tasks), 0, 0, NULL, "" },
      { "optimizer", RM_KEY_ANY, T(optimizer), 0, 0, NULL, "" },
      { "evaluate", RM_KEY_ANY, T(evaluate), 0, 0, NULL, "" } },
    { { "model", RM_KEY_ANY, T(model), 0, 0, NULL, "" },
      { "tasks", RM_KEY_ANY, T(tasks), 0, 0, NULL, "" },
      { "optimizer", RM_KEY_ANY, T(optimizer), 0, 0, NULL, "" },
      { "evaluate", RM_KEY_ANY, T(evaluate), 0, 0, NULL, "" },
      { "reject", RM_KEY_ANY, T(part), 0, 0, NULL, "" } },
    { { "model", RM_KEY_ANY, T(model), 0, 0, NULL, "" },
      { "tasks", RM_KEY_ANY, T(tasks), 0, 0, NULL, "" },
      { "optimizer", RM_KEY_ANY, T(optimizer), 0, 0, NULL, "" },
      { "evaluate", RM_KEY_ANY, T(evaluate), 0, 0, NULL, "" },
      { "grpo", RM_KEY_ANY, T(part), 0, 0, NULL, "" } },
    { { "model", RM_KEY_ANY, T(model), 0, 0, NULL, "" },
      { "tasks", RM_KEY_ANY, T(tasks), 0, 0, NULL, "" },
      { "optimizer", RM_KEY_ANY, T(optimizer), 0, 0, NULL, "" },
      { "evaluate", RM_KEY_ANY, T(evaluate), 0, 0, NULL, "" },
      { "reward", RM_KEY_ANY, T(part), 0, 0, NULL, "" } },
};

static const rm_key optimizer_keys[] = {
    { "rate", RM_KEY_REAL, R(adam.rate), 1e-12, 1, NULL, "" },
    { "beta1", RM_KEY_REAL, R(adam.beta1), 0, 0.9999, NULL, "" },
    { "beta2", RM_KEY_REAL, R(adam.beta2), 0, 0.99999, NULL, "" },
    { "eps", RM_KEY_REAL, R(adam.eps), 1e-20, 1, NULL, "" },
    { "decay", RM_KEY_REAL, R(adam.decay), 0, 10, NULL, "" },
    { "clip", RM_KEY_REAL, R(adam.clip), 0, 1e9, NULL, "" },
    { "warmup", RM_KEY_INT, R(warmup), 0, 100000000, NULL, "" },
    { "flat", RM_KEY_REAL, R(flat), 0, 1, NULL, "" },
    { "last", RM_KEY_REAL, R(last), 0, 1, NULL, "" },
    { 0 },
};

static const rm_key evaluate_keys[] = {
    { "every", RM_KEY_INT, R(evaluate_every), 1, 100000000, NULL, "" },
    { "problems", RM_KEY_INT, R(evaluate_problems), 1, 100000, NULL, "" },
    { 0 },
};

static const rm_key reject_keys[] = {
    { "samples", RM_KEY_INT, R(samples), 1, 4096, NULL, "" },
    { "keep", RM_KEY_INT, R(keep), 1, 4096, NULL, "" },
    { "problems", RM_KEY_INT, R(problems), 1, 1000000, NULL, "" },
    { "epochs", RM_KEY_INT, R(epochs), 1, 1000, NULL, "" },
    { "temperature", RM_KEY_REAL, R(temperature), 0.01, 10, NULL, "" },
    { "max_new_tokens", RM_KEY_INT, R(max_new_tokens), 1, 1000000, NULL, "" },
    { 0 },
};

static const rm_key reward_keys[] = {
    { "samples", RM_KEY_INT, R(samples), 1, 4096, NULL, "" },
    { "problems", RM_KEY_INT, R(problems), 1, 1000000, NULL, "" },
    { "epochs", RM_KEY_INT, R(epochs), 1, 1000, NULL, "" },
    { "temperature", RM_KEY_REAL, R(temperature), 0.01, 10, NULL, "" },
    { "max_new_tokens", RM_KEY_INT, R(max_new_tokens), 1, 1000000, NULL, "" },
    { 0 },
};

static const rm_key grpo_keys[] = {
    { "objective", RM_KEY_CHOICE, R(objective), 0, 0, objective_names, "" },
    { "group", RM_KEY_INT, R(group), 2, 4096, NULL, "" },
    { "problems_per_step", RM_KEY_INT, R(problems_per_step), 1, 100000, NULL, "" },
    { "updates", RM_KEY_INT, R(updates), 1, 1000, NULL, "" },
    { "max_new_tokens", RM_KEY_INT, R(max_new_tokens), 1, 1000000, NULL, "" },
    { "clip_low", RM_KEY_REAL, R(clip_low), 0, 1, NULL, "" },
    { "clip_high", RM_KEY_REAL, R(clip_high), 0, 1000, NULL, "" },
    { "beta", RM_KEY_REAL, R(beta), 0, 1000, NULL, "" },
    { "reward_correct", RM_KEY_REAL, R(reward_correct), 0, 1000, NULL, "" },
    { "reward_format", RM_KEY_REAL, R(reward_format), 0, 1000, NULL, "" },
    { "overlong", RM_KEY_INT, R(overlong), 0, 1000000, NULL, "" },
    { "resample", RM_KEY_INT, R(resample), 0, 1000, NULL, "" },
    { 0 },
};

static const rm_key shape_keys[] = {
    { "layers", RM_KEY_INT, offsetof(rm_shape, n_layers), 0, 0, NULL, "" },
    { "width", RM_KEY_INT, offsetof(rm_shape, n_embd), 0, 0, NULL, "" },
    { "heads", RM_KEY_INT, offsetof(rm_shape, n_heads), 1, 1024, NULL, "" },
    { "kv_heads", RM_KEY_INT, offsetof(rm_shape, n_kv_heads), 0, 0, NULL, "" },
    { "head_size", RM_KEY_INT, offsetof(rm_shape, head_dim), 0, 0, NULL, "" },
    { "ffn", RM_KEY_INT, offsetof(rm_shape, n_ff), 0, 0, NULL, "" },
    { "vocabulary", RM_KEY_INT, offsetof(rm_shape, n_vocab), 0, 0, NULL, "" },
    { "context", RM_KEY_INT, offsetof(rm_shape, n_ctx), 0, 0, NULL, "" },
    { "tied", RM_KEY_BOOL, offsetof(rm_shape, tied), 0, 0, NULL, "" },
    { "rope_theta", RM_KEY_REAL, offsetof(rm_shape, rope_theta), 0, 0, NULL, "" },
    { "norm_eps", RM_KEY_REAL, offsetof(rm_shape, norm_eps), 0, 0, NULL, "" },
    { 0 },
};

typedef struct source_spec {
    const cJSON *task, *failures;
    double share;
    thought_recipe thought;
} source_spec;

#define S(field) offsetof(source_spec, field)
static const rm_key source_keys[] = {
    { "task", RM_KEY_ANY, S(task), 0, 0, NULL, "" },
    { "share", RM_KEY_REAL, S(share), 1e-9, 1e9, NULL, "" },
    { "failures", RM_KEY_ANY, S(failures), 0, 0, NULL, "" },
    { "give_up", RM_KEY_REAL, S(thought.give_up), 0, 1, NULL, "" },
    { "max_factor", RM_KEY_INT, S(thought.max_factor), 1, 1000000, NULL, "" },
    { "max_value", RM_KEY_INT, S(thought.max_value), 1, 1000000000, NULL, "" },
    { 0 },
};

/* ---- parts ----------------------------------------------------------------------------------- */

static rm_status read_shape(train_recipe *r, const rm_json *json, const cJSON *item, rm_error *err)
{
    rm_error inner = { "" };
    r->shape = (rm_shape){ .n_vocab = 32, .n_ctx = 512, .tied = true, .rope_theta = 10000,
                           .norm_eps = 1e-5 };
    rm_status st = rm_keys_read(json, item, "model", shape_keys, &r->shape, NULL, NULL, err);
    if (st)
        return st;
    if (!r->shape.n_kv_heads)
        r->shape.n_kv_heads = r->shape.n_heads;
    if (!r->shape.head_dim && r->shape.n_heads > 0)
        r->shape.head_dim = r->shape.n_embd / r->shape.n_heads;
    st = rm_shape_check(&r->shape, &inner);
    return st ? rm_json_fail(err, st, json, item, "%s", inner.text) : RM_OK;
}

static rm_status read_model(train_recipe *r, const rm_json *json, const cJSON *item, rm_error *err)
{
    if (cJSON_IsObject(item) && r->kind == TRAIN_SFT)
        return read_shape(r, json, item, err);
    if (!cJSON_IsString(item))
        return rm_json_fail(err, RM_E_ARGUMENT, json, item ? item : rm_json_root(json),
                            "model: expected the name or file of a model to begin with%s",
                            r->kind == TRAIN_SFT ? ", or an object with the shape of a new one"
                                                 : "");
    r->model = strdup(item->valuestring);
    return r->model ? RM_OK : rm_fail(err, RM_E_MEMORY, "out of memory");
}

static rm_status read_failures(source_spec *s, const rm_json *json, rm_error *err)
{
    const cJSON *item;
    double sum = 0;
    if (!s->failures)
        return RM_OK;
    s->thought.n_failures = 0;
    cJSON_ArrayForEach(item, s->failures) {
        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 1e6) ||
            s->thought.n_failures == MAX_FAILURES)
            return rm_json_fail(err, RM_E_ARGUMENT, json, item, "failures: expected up to %d "
                                "probabilities, of no failed attempt first", MAX_FAILURES);
        s->thought.failures[s->thought.n_failures++] = item->valuedouble;
        sum += item->valuedouble;
    }
    if (!cJSON_IsArray(s->failures) || !(sum > 0))
        return rm_json_fail(err, RM_E_ARGUMENT, json, s->failures, "failures: expected a list of "
                            "probabilities that are not all 0");
    return RM_OK;
}

/* The task in another split: the tree is ours, and so is its "split". */
static rm_status task_in_split(const rm_json *json, const cJSON *object, const char *split,
                               const char *folder, const char *path, rm_task **task, rm_error *err)
{
    cJSON *own = (cJSON *)(uintptr_t)object;
    cJSON *old = cJSON_GetObjectItemCaseSensitive(own, "split");
    cJSON *item = cJSON_CreateString(split);
    bool set = item && (old ? cJSON_ReplaceItemInObjectCaseSensitive(own, "split", item)
                            : cJSON_AddItemToObject(own, "split", item));
    return set ? rm_task_new(json, object, folder, path, task, err)
               : rm_fail(err, RM_E_MEMORY, "out of memory");
}

static rm_status read_source(train_recipe *r, const rm_json *json, const cJSON *item,
                             const char *folder, rm_error *err)
{
    char path[48];
    source_spec s = { .share = 1, .thought = { .failures = { 1 }, .n_failures = 1, .give_up = 0.5,
                                               .max_factor = 99, .max_value = 2000 } };
    train_source *source = &r->sources[r->n_sources];
    snprintf(path, sizeof path, "tasks[%d]", r->n_sources);
    rm_status st = rm_keys_read(json, item, path, source_keys, &s, NULL, NULL, err);
    if (!st)
        st = read_failures(&s, json, err);
    if (st)
        return st;
    const cJSON *split = cJSON_IsObject(s.task) ? cJSON_GetObjectItemCaseSensitive(s.task, "split")
                                                : NULL;
    if (!cJSON_IsObject(s.task))
        return rm_json_fail(err, RM_E_ARGUMENT, json, item, "%s: expected a \"task\" object, as in "
                            "an experiment", path);
    if (split && !(cJSON_IsString(split) && !strcmp(split->valuestring, "train")))
        return rm_json_fail(err, RM_E_ARGUMENT, json, split, "%s.task.split: training takes the "
                            "problems of split \"train\" only", path);
    r->n_sources++;
    source->own_seed = cJSON_GetObjectItemCaseSensitive(s.task, "seed") != NULL;
    source->share = s.share;
    source->thought = s.thought;
    st = task_in_split(json, s.task, "train", folder, path, &source->task, err);
    if (!st)
        st = task_in_split(json, s.task, "tune", folder, path, &source->tune, err);
    if (!st && source->task->kind->count)
        st = rm_json_fail(err, RM_E_ARGUMENT, json, item, "%s: training takes generated tasks "
                          "(arithmetic, countdown)", path);
    if (!st && !source->own_seed)
        source->task->format.seed = r->seed;
    return st;
}

void train_recipe_seed(train_recipe *r, uint64_t seed)
{
    r->seed = seed;
    r->hash = rm_mix(r->hash, seed);
    for (int i = 0; i < r->n_sources; i++)
        if (!r->sources[i].own_seed)
            r->sources[i].task->format.seed = seed;
}

static rm_status read_sources(train_recipe *r, const rm_json *json, const cJSON *list,
                              const char *folder, rm_error *err)
{
    const cJSON *item;
    rm_status st = RM_OK;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) < 1 ||
        cJSON_GetArraySize(list) > MAX_SOURCES)
        return rm_json_fail(err, RM_E_ARGUMENT, json, list ? list : rm_json_root(json),
                            "tasks: expected a list of 1 to %d", MAX_SOURCES);
    cJSON_ArrayForEach(item, list)
        if ((st = read_source(r, json, item, folder, err)))
            return st;
    return RM_OK;
}

static rm_status read_part(train_recipe *r, const top *t, const rm_json *json, rm_error *err)
{
    static const rm_key *const keys[] = { NULL, reject_keys, grpo_keys, reward_keys };
    const char *name = train_kind_names[r->kind];
    if (!t->part)
        return RM_OK;
    rm_status st = rm_keys_read(json, t->part, name, keys[r->kind], r, NULL, NULL, err);
    if (!st && r->kind == TRAIN_GRPO && r->updates > r->problems_per_step)
        st = rm_json_fail(err, RM_E_ARGUMENT, json, t->part, "grpo: %d updates a step of %d "
                          "problems; an update takes at least one problem", r->updates,
                          r->problems_per_step);
    return st;
}

static void set_defaults(train_recipe *r)
{
    r->seed = 1;
    r->tokens_per_step = 8192;
    r->checkpoint_every = r->kind == TRAIN_GRPO ? 5 : 200;
    r->adam = (rm_adamw){ r->kind == TRAIN_SFT ? 3e-3 : r->kind == TRAIN_GRPO ? 2e-5 : 3e-4, 0.9,
                          0.95, 1e-8, r->kind == TRAIN_GRPO ? 0 : 0.1, 1 };
    r->warmup = r->kind == TRAIN_SFT ? 100 : r->kind == TRAIN_GRPO ? 0 : 10;
    r->flat = r->kind == TRAIN_GRPO ? 1 : 0.7;
    r->last = r->kind == TRAIN_GRPO ? 1 : 0.03;
    r->samples = 32;
    r->keep = 4;
    r->problems = 1000;
    r->epochs = 1;
    r->temperature = 1;
    r->group = 16;
    r->problems_per_step = 48;
    r->updates = 1;
    r->clip_low = 0.2;
    r->clip_high = -1; /* by objective */
    r->reward_correct = 1;
    r->reward_format = 0.1;
    r->resample = 4;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static rm_status read_recipe(train_recipe *r, const rm_json *json, const char *folder,
                             rm_error *err)
{
    top t = { .r = r };
    const cJSON *root = rm_json_root(json);
    char *canonical = cJSON_PrintUnformatted(root); /* without comments and spaces */
    if (!canonical)
        return rm_fail(err, RM_E_MEMORY, "out of memory");
    r->hash = rm_mix(rm_hash_bytes(canonical, strlen(canonical)), (uint64_t)r->kind);
    free(canonical);
    set_defaults(r);
    rm_status st = rm_keys_read(json, root, "", recipe_keys, r, part_keys[r->kind], &t, err);
    if (!st && (!(r->name || (r->name = strdup("model"))) ||
                !(r->weight_type || (r->weight_type = strdup("f16")))))
        st = rm_fail(err, RM_E_MEMORY, "out of memory");
    if (!st)
        st = read_model(r, json, t.model, err);
    if (!st && t.optimizer)
        st = rm_keys_read(json, t.optimizer, "optimizer", optimizer_keys, r, NULL, NULL, err);
    if (!st && t.evaluate)
        st = rm_keys_read(json, t.evaluate, "evaluate", evaluate_keys, r, NULL, NULL, err);
    if (!st)
        st = read_part(r, &t, json, err);
    if (!st && !r->steps && (r->kind == TRAIN_SFT || r->kind == TRAIN_GRPO))
        st = rm_json_fail(err, RM_E_ARGUMENT, json, root, "steps: how many is missing");
    if (!st)
        st = read_sources(r, json, t.tasks, folder, err);
    if (r->clip_high < 0)
        r->clip_high = r->objective == OBJECTIVE_DAPO ? 0.28 : r->clip_low;
    if (r->evaluate_every && !r->evaluate_problems)
        r->evaluate_problems = 100;
    return st;
}

rm_status train_recipe_open(const char *file, train_kind kind, train_recipe **out, rm_error *err)
{
    enum { MOST_BYTES = 1 << 20 };
    char *text = NULL, *folder = strdup(file);
    size_t n;
    rm_json *json = NULL;
    train_recipe *r = calloc(1, sizeof *r);
    rm_status st = r && folder && (r->file = strdup(file))
                       ? rm_file_read(file, MOST_BYTES, &text, &n, err)
                       : rm_fail(err, RM_E_MEMORY, "out of memory");
    if (!st) {
        char *slash = strrchr(folder, '/');
        r->kind = kind;
        if (slash)
            *slash = '\0';
        st = rm_json_parse(text, n, file, 1, RM_JSON_COMMENTS, &json, err);
        if (!st)
            st = read_recipe(r, json, slash ? folder : ".", err);
    }
    rm_json_free(json);
    free(text);
    free(folder);
    if (st)
        train_recipe_free(r);
    else
        *out = r;
    return st;
}

void train_recipe_free(train_recipe *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->n_sources; i++) {
        rm_task_free(r->sources[i].task);
        rm_task_free(r->sources[i].tune);
    }
    free(r->name);
    free(r->file);
    free(r->model);
    free(r->weight_type);
    free(r);
}
