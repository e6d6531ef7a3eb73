/* config_cells.c - strategy entries to cells.
 *
 *     { "strategy": "beam", "models": ["thimble"], "tasks": ["countdown"], "num_beams": [2, 4, 8] }
 *
 * An entry makes one cell for each of its models (or groups of models) x tasks x the product of
 * its parameter lists; the last list varies fastest. A parameter comes from, in this order: the
 * entry; "generation"; for max_new_tokens the task; the strategy's default. */
#include "experiments/config_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PARAMS = 64 };

/* One strategy entry as written. */
typedef struct entry {
    const rm_json *json;
    const cJSON *object;
    char path[32];              /* "strategies[3]" */
    const rm_strategy *strategy;
    const cJSON *models, *tasks;
    char *label;
    bool independent;
    const cJSON *params[MAX_PARAMS]; /* members that are parameters of the strategy */
    int n_params;
    size_t position[MAX_PARAMS];     /* which value of each sweep */
} entry;

/* Cells under construction, and for each where it came from. */
typedef struct builder {
    rm_config *config;
    const rm_json *json;
    const cJSON *generation;
    const cJSON **origin;      /* [n_cells] the entry of a cell */
    char **names;              /* [n_cells] */
    int capacity;
    rm_error *err;
} builder;

static rm_status out_of_memory(rm_error *err)
{
    return rm_fail(err, RM_E_MEMORY, "out of memory while reading a configuration");
}

/* ---- parameter values as text --------------------------------------------------------- */

static const rm_param *find_param(const rm_strategy *s, const char *name)
{
    for (const rm_param *p = s->params; p->name; p++)
        if (!strcmp(p->name, name))
            return p;
    return NULL;
}

/* A JSON value in the form rm_params_set takes; false if it can be none. */
static bool value_text(const cJSON *item, rm_text *out)
{
    if (cJSON_IsString(item)) {
        rm_text_puts(out, item->valuestring);
    } else if (cJSON_IsNumber(item)) {
        double v = item->valuedouble;
        if (v == floor(v) && fabs(v) < 1e15)
            rm_text_printf(out, "%.0f", v);
        else
            rm_json_number(out, v);
    } else if (cJSON_IsBool(item)) {
        rm_text_puts(out, cJSON_IsTrue(item) ? "true" : "false");
    } else if (cJSON_IsArray(item) && item->child) {
        const cJSON *e;
        cJSON_ArrayForEach(e, item) {
            if (!cJSON_IsNumber(e))
                return false;
            if (e != item->child)
                rm_text_puts(out, ",");
            rm_json_number(out, e->valuedouble);
        }
    } else {
        return false;
    }
    return true;
}

/* Is this value a sweep? A list is, except where the parameter itself is a list of numbers: then
 * a list of lists is. */
static bool is_sweep(const rm_param *p, const cJSON *item)
{
    return cJSON_IsArray(item)
           && (p->kind != RM_PARAM_REALS || cJSON_IsArray(item->child) || !item->child);
}

static rm_status set_param(const builder *b, rm_params *params, const cJSON *named,
                           const cJSON *value, const char *path)
{
    rm_text text = { 0 };
    rm_error inner = { { 0 } };
    rm_status st;
    const rm_param *p = find_param(rm_params_strategy(params), named->string);
    bool nested = cJSON_IsArray(value) && p->kind != RM_PARAM_REALS;
    if (nested && value == named) /* of "generation": an entry's own lists are taken apart before */
        st = rm_json_fail(b->err, RM_E_ARGUMENT, b->json, value,
                          "%s.%s: expected one value for all strategies, found a list; a sweep "
                          "stands in a strategy's own entry", path, named->string);
    else if (nested || !value_text(value, &text) || text.failed)
        st = rm_json_fail(b->err, RM_E_ARGUMENT, b->json, value,
                          "%s.%s: expected a number, a string, true or false, or a list of them",
                          path, named->string);
    else if ((st = rm_params_set(params, named->string, text.data, &inner)))
        rm_json_fail(b->err, st, b->json, value, "%s.%s: %s", path, named->string, inner.text);
    rm_text_free(&text);
    return st;
}

/* ---- one cell ------------------------------------------------------------------------- */

/* Parameters of drawing, without effect where a strategy is told not to draw. */
static bool only_for_draws(const char *name)
{
    static const char *const names[] = { "temperature", "top_k", "top_p", "min_p", "typical_p" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

static bool draws_nothing(const rm_params *params)
{
    rm_text value = { 0 };
    bool nothing = rm_params_get(params, "do_sample", &value) && !strcmp(value.data, "false");
    rm_text_free(&value);
    return nothing;
}

static bool entry_says(const entry *e, const char *name)
{
    for (int i = 0; i < e->n_params; i++)
        if (!strcmp(e->params[i]->string, name))
            return true;
    return false;
}

/* What "generation" says to parameters that the entry leaves open. Those of drawing come last: by
 * then it is known whether the strategy draws. */
static rm_status set_generation(const builder *b, const entry *e, rm_params *params)
{
    rm_status st = RM_OK;
    const cJSON *g;
    for (int of_draws = 0; of_draws < 2 && b->generation; of_draws++)
        cJSON_ArrayForEach(g, b->generation) {
            if (!find_param(e->strategy, g->string) || entry_says(e, g->string) ||
                only_for_draws(g->string) != of_draws || (of_draws && draws_nothing(params)))
                continue;
            if ((st = set_param(b, params, g, g, "generation")))
                return st;
        }
    return RM_OK;
}

static rm_status make_params(const builder *b, const entry *e, const rm_task *task,
                             rm_params **out)
{
    rm_params *params = NULL;
    rm_status st = rm_params_new(e->strategy, &params, b->err);
    int limit = rm_task_max_new_tokens(task);
    if (!st && limit && find_param(e->strategy, "max_new_tokens")) {
        char text[16];
        snprintf(text, sizeof text, "%d", limit);
        st = rm_params_set(params, "max_new_tokens", text, b->err);
    }
    for (int i = 0; i < e->n_params && !st; i++) {
        const cJSON *value = e->params[i];
        if (is_sweep(find_param(e->strategy, value->string), value))
            value = cJSON_GetArrayItem(value, (int)e->position[i]);
        st = set_param(b, params, e->params[i], value, e->path);
    }
    if (!st)
        st = set_generation(b, e, params);
    if (st) {
        rm_params_free(params);
        return st;
    }
    *out = params;
    return RM_OK;
}

/* Refuses a cell that cannot run: number of models, combination of parameters, what the strategy
 * needs of the task. */
static rm_status check_cell(const builder *b, const entry *e, const rm_plan_cell *cell)
{
    const rm_strategy *s = e->strategy;
    rm_task *task = b->config->tasks[cell->task];
    rm_error inner = { { 0 } };
    if (cell->n_models < s->min_models || cell->n_models > s->max_models) {
        char range[40];
        snprintf(range, sizeof range, s->min_models == s->max_models ? "%d" : "%d to %d",
                 s->min_models, s->max_models);
        return rm_json_fail(b->err, RM_E_ARGUMENT, b->json, e->models ? e->models : e->object,
                            "%s: strategy \"%s\" takes %s models, not %d; a list within \"models\" "
                            "([[\"a\", \"b\"]]) makes one cell of several", e->path, s->name, range,
                            cell->n_models);
    }
    rm_status st = rm_params_check(cell->params, cell->n_models, &inner);
    if (st)
        return rm_json_fail(b->err, st, b->json, e->object, "%s: %s", e->path, inner.text);
    unsigned needs = s->needs ? s->needs(rm_params_values(cell->params)) : 0;
    for (int i = 0; i < cell->n_models; i++) {
        const rm_config_model *m = &b->config->models[cell->models[i]];
        const char *more = m->remote ? rm_remote_lack(m->remote, needs) : NULL;
        if (more)
            return rm_json_fail(b->err, RM_E_ARGUMENT, b->json, e->object,
                                "%s: strategy \"%s\" needs %s, and model \"%s\", which is behind a "
                                "server, does not give that", e->path, s->name, more, m->name);
        int top = m->remote && (needs & RM_NEEDS_TOP) && s->most_top
                      ? s->most_top(rm_params_values(cell->params)) : 0;
        if (top && top > m->remote->top_logprobs)
            return rm_json_fail(b->err, RM_E_ARGUMENT, b->json, e->object,
                                "%s: strategy \"%s\" needs the %d most likely next tokens at once, and "
                                "model \"%s\", which is behind a server, lists %d (\"top_logprobs\")",
                                e->path, s->name, top, m->name, m->remote->top_logprobs);
    }
    const char *lack = (needs & RM_NEEDS_STEPS) && !rm_task_has_steps(task)
                           ? "says where a reasoning step ends (\"step_ends\")"
                     : (needs & RM_NEEDS_THOUGHT) && !rm_task_has_thought(task)
                           ? "has a thought to prolong (\"think\", \"wait\")"
                     : (needs & RM_NEEDS_VERIFIER) && !rm_task_has_verifier(task)
                           ? "has an exact verifier" : NULL;
    if (lack)
        return rm_json_fail(b->err, RM_E_ARGUMENT, b->json, e->object,
                            "%s: strategy \"%s\" needs a task that %s; task \"%s\" does not, so "
                            "name the others in \"tasks\"", e->path, s->name, lack,
                            rm_task_name(task));
    return RM_OK;
}

static uint64_t hash_text(uint64_t h, const char *text)
{
    return rm_mix(h, rm_hash_bytes(text, strlen(text)));
}

static uint64_t hash_cell(const rm_config *config, const rm_plan_cell *cell)
{
    rm_text json = { 0 };
    uint64_t h = (uint64_t)cell->n_models;
    for (int i = 0; i < cell->n_models; i++)
        h = hash_text(h, config->models[cell->models[i]].name);
    h = hash_text(h, rm_task_name(config->tasks[cell->task]));
    h = hash_text(h, rm_params_strategy(cell->params)->name);
    rm_params_json(cell->params, &json);
    h = hash_text(h, json.data ? json.data : "");
    rm_text_free(&json);
    return rm_mix(h, cell->independent);
}

static rm_status add_cell(builder *b, const entry *e, const int *models, int n_models, int task)
{
    rm_config *config = b->config;
    if (config->n_cells >= RM_MAX_CELLS)
        return rm_json_fail(b->err, RM_E_ARGUMENT, b->json, e->object,
                            "%s: the sweeps make more than %d cells", e->path, RM_MAX_CELLS);
    if (config->n_cells == b->capacity) {
        int capacity = b->capacity ? 2 * b->capacity : 32;
        rm_plan_cell *cells = realloc(config->cells, (size_t)capacity * sizeof *cells);
        if (cells)
            config->cells = cells;
        const cJSON **origin = realloc(b->origin, (size_t)capacity * sizeof *origin);
        if (origin)
            b->origin = origin;
        char **names = realloc(b->names, (size_t)capacity * sizeof *names);
        if (names)
            b->names = names;
        if (!cells || !origin || !names)
            return out_of_memory(b->err);
        b->capacity = capacity;
    }
    rm_plan_cell cell = { .n_models = n_models, .task = task, .independent = e->independent };
    char *name = strdup(e->label ? e->label : e->strategy->name);
    cell.models = malloc((size_t)n_models * sizeof *cell.models);
    rm_status st = name && cell.models ? RM_OK : out_of_memory(b->err);
    if (!st) {
        memcpy(cell.models, models, (size_t)n_models * sizeof *models);
        st = make_params(b, e, config->tasks[task], &cell.params);
    }
    if (!st)
        st = check_cell(b, e, &cell);
    if (st) {
        free(name);
        free(cell.models);
        rm_params_free(cell.params);
        return st;
    }
    cell.hash = hash_cell(config, &cell);
    b->origin[config->n_cells] = e->object;
    b->names[config->n_cells] = name;
    config->cells[config->n_cells++] = cell;
    return RM_OK;
}

/* ---- one entry ------------------------------------------------------------------------ */

/* Turns the sweeps' wheels by one; false when all combinations were there. */
static bool next_combination(entry *e)
{
    for (int i = e->n_params; i-- > 0;) {
        const rm_param *p = find_param(e->strategy, e->params[i]->string);
        size_t n = is_sweep(p, e->params[i]) ? (size_t)cJSON_GetArraySize(e->params[i]) : 1;
        if (++e->position[i] < n)
            return true;
        e->position[i] = 0;
    }
    return false;
}

static rm_status add_combinations(builder *b, entry *e, const int *models, int n_models, int task)
{
    memset(e->position, 0, sizeof e->position);
    do {
        rm_status st = add_cell(b, e, models, n_models, task);
        if (st)
            return st;
    } while (next_combination(e));
    return RM_OK;
}

/* Index of a name among models or tasks. */
static rm_status find_name(const builder *b, const cJSON *item, const char *path, bool task,
                           int *index)
{
    const rm_config *config = b->config;
    int n = task ? config->n_tasks : config->n_models;
    const char **names = malloc(((size_t)n + 1) * sizeof *names);
    if (!names)
        return out_of_memory(b->err);
    *index = -1;
    for (int i = 0; i < n; i++) {
        names[i] = task ? rm_task_name(config->tasks[i]) : config->models[i].name;
        if (cJSON_IsString(item) && !strcmp(names[i], item->valuestring))
            *index = i;
    }
    rm_status st = RM_OK;
    const char *what = task ? "task" : "model";
    if (!cJSON_IsString(item)) {
        st = rm_json_fail(b->err, RM_E_ARGUMENT, b->json, item, "%s.%ss: expected the name of a %s",
                          path, what, what);
    } else if (*index < 0) {
        const char *near = rm_nearest_word(item->valuestring, names, n);
        st = rm_json_fail(b->err, RM_E_ARGUMENT, b->json, item,
                          "%s.%ss: there is no %s \"%.60s\"%s%s%s", path, what, what,
                          item->valuestring, near ? "; did you mean \"" : " in this configuration",
                          near ? near : "", near ? "\"?" : "");
    }
    free(names);
    return st;
}

/* All of the entry's groups of models for one task. */
static rm_status add_for_task(builder *b, entry *e, int task)
{
    rm_config *config = b->config;
    int *group = malloc((size_t)config->n_models * sizeof *group);
    if (!group)
        return out_of_memory(b->err);
    rm_status st = RM_OK;
    if (!e->models && e->strategy->min_models > 1) {
        for (int i = 0; i < config->n_models; i++)
            group[i] = i;
        st = add_combinations(b, e, group, config->n_models, task);
    } else if (!e->models) {
        for (int i = 0; i < config->n_models && !st; i++)
            st = add_combinations(b, e, &i, 1, task);
    } else {
        const cJSON *m = cJSON_IsArray(e->models) ? e->models->child : e->models;
        for (; m && !st; m = cJSON_IsArray(e->models) ? m->next : NULL) {
            int n = 0;
            const cJSON *member = cJSON_IsArray(m) ? m->child : m;
            if (!member)
                st = rm_json_fail(b->err, RM_E_ARGUMENT, b->json, m,
                                  "%s.models: a group of models is empty", e->path);
            for (; member && !st; member = cJSON_IsArray(m) ? member->next : NULL) {
                int index = 0;
                if ((st = find_name(b, member, e->path, false, &index)))
                    break;
                for (int i = 0; i < n; i++)
                    if (group[i] == index)
                        st = rm_json_fail(b->err, RM_E_ARGUMENT, b->json, member,
                                          "%s.models: \"%s\" stands twice in one group", e->path,
                                          config->models[index].name);
                if (!st)
                    group[n++] = index;
            }
            if (!st)
                st = add_combinations(b, e, group, n, task);
        }
    }
    free(group);
    return st;
}

/* Sorts the members of an entry into its own keys and the strategy's parameters. */
static rm_status read_entry(builder *b, entry *e)
{
    const char *known[MAX_PARAMS] = { "strategy", "models", "tasks", "label", "independent" };
    int n_known = 5;
    const cJSON *item;
    for (const rm_param *p = e->strategy->params; p->name && n_known < MAX_PARAMS; p++)
        known[n_known++] = p->name;
    cJSON_ArrayForEach(item, e->object) {
        const char *name = item->string;
        if (!strcmp(name, "strategy")) {
            continue;
        } else if (!strcmp(name, "models")) {
            e->models = item;
        } else if (!strcmp(name, "tasks")) {
            e->tasks = item;
        } else if (!strcmp(name, "label")) {
            if (!cJSON_IsString(item) || !item->valuestring[0])
                return rm_json_fail(b->err, RM_E_ARGUMENT, b->json, item,
                                    "%s.label: expected a string that is not empty", e->path);
            e->label = item->valuestring;
        } else if (!strcmp(name, "independent")) {
            if (!cJSON_IsBool(item))
                return rm_json_fail(b->err, RM_E_ARGUMENT, b->json, item,
                                    "%s.independent: expected true or false", e->path);
            e->independent = cJSON_IsTrue(item);
        } else {
            const rm_param *p = find_param(e->strategy, name);
            const char *near = p ? NULL : rm_nearest_word(name, known, n_known);
            if (!p)
                return rm_json_fail(b->err, RM_E_ARGUMENT, b->json, item,
                                    "%s: strategy \"%s\" has no parameter \"%.60s\"%s%s%s", e->path,
                                    e->strategy->name, name, near ? "; did you mean \"" : "",
                                    near ? near : "", near ? "\"?" : "");
            if (is_sweep(p, item) && !item->child)
                return rm_json_fail(b->err, RM_E_ARGUMENT, b->json, item,
                                    "%s.%s: this sweep is empty; expected at least one value",
                                    e->path, name);
            if (e->n_params < MAX_PARAMS)
                e->params[e->n_params++] = item;
        }
    }
    return RM_OK;
}

static rm_status add_entry(builder *b, entry *e)
{
    rm_error inner = { { 0 } };
    const cJSON *name = cJSON_IsObject(e->object)
                            ? cJSON_GetObjectItemCaseSensitive(e->object, "strategy") : NULL;
    if (!cJSON_IsString(name))
        return rm_json_fail(b->err, RM_E_ARGUMENT, b->json, name ? name : e->object,
                            "%s: expected an object with \"strategy\", the name of one", e->path);
    rm_status st = rm_strategy_find(name->valuestring, &e->strategy, &inner);
    if (st)
        return rm_json_fail(b->err, st, b->json, name, "%s.strategy: %s", e->path, inner.text);
    if ((st = read_entry(b, e)))
        return st;
    const cJSON *empty = cJSON_IsArray(e->models) && !e->models->child ? e->models
                       : cJSON_IsArray(e->tasks) && !e->tasks->child ? e->tasks : NULL;
    if (empty)
        return rm_json_fail(b->err, RM_E_ARGUMENT, b->json, empty,
                            "%s.%s: this list is empty; leave the key out to take all", e->path,
                            empty->string);
    if (!e->tasks) {
        for (int t = 0; t < b->config->n_tasks && !st; t++)
            st = add_for_task(b, e, t);
        return st;
    }
    const cJSON *t = cJSON_IsArray(e->tasks) ? e->tasks->child : e->tasks;
    for (; t && !st; t = cJSON_IsArray(e->tasks) ? t->next : NULL) {
        int index = 0;
        if (!(st = find_name(b, t, e->path, true, &index)))
            st = add_for_task(b, e, index);
    }
    return st;
}

/* ---- all of them ---------------------------------------------------------------------- */

typedef struct ranked {
    uint64_t hash;
    const char *label;
    int task, index;
} ranked;

static int by_hash(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->index - y->index;
}

static int by_label(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    int c = x->task != y->task ? x->task - y->task : strcmp(x->label, y->label);
    return c ? c : x->index - y->index;
}

/* Neither the same cell twice, nor two cells of a task under one label. */
static rm_status refuse_duplicates(const builder *b)
{
    const rm_config *config = b->config;
    int n = config->n_cells;
    ranked *list = malloc((size_t)n * sizeof *list);
    if (!list)
        return out_of_memory(b->err);
    for (int i = 0; i < n; i++)
        list[i] = (ranked){ config->cells[i].hash, config->cells[i].label, config->cells[i].task,
                            i };
    rm_status st = RM_OK;
    for (int pass = 0; pass < 2 && !st; pass++) {
        qsort(list, (size_t)n, sizeof *list, pass ? by_label : by_hash);
        for (int i = 1; i < n && !st; i++) {
            const ranked *x = &list[i - 1], *y = &list[i];
            if (pass ? x->task != y->task || strcmp(x->label, y->label) : x->hash != y->hash)
                continue;
            size_t line, column;
            rm_json_where(b->json, b->origin[x->index], false, &line, &column);
            st = rm_json_fail(b->err, RM_E_ARGUMENT, b->json, b->origin[y->index], pass
                              ? "cell \"%s\" of task \"%s\" has the label of another (line %zu); "
                                "give one of them a \"label\" of its own"
                              : "cell \"%s\" of task \"%s\" is there already (line %zu)",
                              y->label, rm_task_name(config->tasks[y->task]), line);
        }
    }
    free(list);
    return st;
}

/* A common parameter that no strategy here takes is a mistake. */
static rm_status check_generation(const builder *b)
{
    const cJSON *g;
    if (!b->generation)
        return RM_OK;
    if (!cJSON_IsObject(b->generation))
        return rm_json_fail(b->err, RM_E_ARGUMENT, b->json, b->generation,
                            "generation: expected an object of parameters");
    cJSON_ArrayForEach(g, b->generation) {
        bool taken = false;
        const char *known[MAX_PARAMS];
        int n = 0;
        for (int i = 0; i < b->config->n_cells; i++) {
            const rm_strategy *s = rm_params_strategy(b->config->cells[i].params);
            taken = taken || find_param(s, g->string);
            for (const rm_param *p = s->params; p->name && n < MAX_PARAMS; p++) {
                bool there = false;
                for (int k = 0; k < n; k++)
                    there = there || !strcmp(known[k], p->name);
                if (!there)
                    known[n++] = p->name;
            }
        }
        const char *near = taken ? NULL : rm_nearest_word(g->string, known, n);
        const rm_strategy *const *other = rm_strategies();
        for (; !taken && !near && *other; other++) {
            n = 0;
            for (const rm_param *p = (*other)->params; p->name && n < MAX_PARAMS; p++)
                known[n++] = p->name;
            near = rm_nearest_word(g->string, known, n);
        }
        if (!taken)
            return rm_json_fail(b->err, RM_E_ARGUMENT, b->json, g,
                                "generation: no strategy of this configuration has a parameter "
                                "\"%.60s\"%s%s%s", g->string, near ? "; did you mean \"" : "",
                                near ? near : "", near ? "\"?" : "");
    }
    return RM_OK;
}

rm_status rm_config_read_cells(rm_config *config, const rm_json *json, const cJSON *strategies,
                               const cJSON *generation, rm_error *err)
{
    builder b = { .config = config, .json = json, .err = err,
                  .generation = generation };
    if (!cJSON_IsArray(strategies) || !strategies->child)
        return rm_json_fail(err, RM_E_ARGUMENT, json, strategies ? strategies : rm_json_root(json),
                            "strategies: expected a list of at least one object with a "
                            "\"strategy\"");
    rm_status st = RM_OK;
    int index = 0;
    for (const cJSON *object = strategies->child; object && !st; object = object->next) {
        entry e = { .json = json, .object = object };
        snprintf(e.path, sizeof e.path, "strategies[%d]", index++);
        st = add_entry(&b, &e);
    }
    if (!st)
        st = check_generation(&b);
    if (!st)
        st = rm_config_label_cells(config, (const char *const *)b.names, err);
    if (!st)
        st = refuse_duplicates(&b);
    for (int i = 0; i < config->n_cells; i++)
        free(b.names[i]);
    free(b.names);
    free(b.origin);
    return st;
}
