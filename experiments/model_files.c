/* model_files.c - looks for embedded models in <prefix>/share/ramify/models, seen from where the
 * program lies (so that an installed tree can be moved), and in the source tree it was built in. */
#define _GNU_SOURCE
#include "experiments/model_files.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef RM_BUILD_MODELS
#define RM_BUILD_MODELS "" /* the build system's engine/models */
#endif

enum { N_PLACES = 2 };

static void places(char folder[N_PLACES][PATH_MAX])
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    folder[0][0] = '\0';
    if (n > 0) {
        program[n] = '\0';
        char *slash = strrchr(program, '/');
        if (slash)
            *slash = '\0';
        if (snprintf(folder[0], PATH_MAX, "%s/../share/ramify/models", program) >= PATH_MAX)
            folder[0][0] = '\0';
    }
    snprintf(folder[1], PATH_MAX, "%s", RM_BUILD_MODELS);
}

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

/* ---- listing ------------------------------------------------------------------------------- */

static int is_model(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return n > 5 && strcmp(entry->d_name + n - 5, ".gguf") == 0;
}

/* Calls `seen` with each embedded name, from the first folder that has any. */
static void each_name(void (*seen)(void *arg, const char *name), void *arg)
{
    char folder[N_PLACES][PATH_MAX];
    places(folder);
    for (int i = 0; i < N_PLACES; i++) {
        struct dirent **entries = NULL;
        int n = folder[i][0] ? scandir(folder[i], &entries, is_model, alphasort) : -1;
        for (int j = 0; j < n; j++) {
            entries[j]->d_name[strlen(entries[j]->d_name) - 5] = '\0';
            seen(arg, entries[j]->d_name);
            free(entries[j]);
        }
        free(entries);
        if (n > 0)
            return;
    }
}

static void add_name(void *arg, const char *name)
{
    rm_text_puts(arg, name);
    rm_text_puts(arg, "\n");
}

void rm_model_names(rm_text *text)
{
    each_name(add_name, text);
}

typedef struct nearest {
    const char *wanted;
    char name[64];
    int distance;
} nearest;

static void compare_name(void *arg, const char *name)
{
    nearest *best = arg;
    int distance = rm_word_distance(best->wanted, name);
    if (distance < best->distance) {
        best->distance = distance;
        snprintf(best->name, sizeof best->name, "%s", name);
    }
}

/* ---- finding ------------------------------------------------------------------------------- */

static rm_status found(const char *path, char **out, rm_error *err)
{
    *out = strdup(path);
    return *out ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for the name %s", path);
}

rm_status rm_model_find(const char *name, const char *beside, char **path, rm_error *err)
{
    char candidate[PATH_MAX], folder[N_PLACES][PATH_MAX];
    if (!name[0])
        return rm_fail(err, RM_E_ARGUMENT, "the name of a model is empty");
    if (exists(name))
        return found(name, path, err);
    const char *slash = beside ? strrchr(beside, '/') : NULL;
    if (slash && name[0] != '/') {
        int n = snprintf(candidate, sizeof candidate, "%.*s/%s", (int)(slash - beside), beside,
                         name);
        if (n < PATH_MAX && exists(candidate))
            return found(candidate, path, err);
    }
    places(folder);
    for (int i = 0; i < N_PLACES && !strchr(name, '/'); i++) {
        int n = snprintf(candidate, sizeof candidate, "%s/%s.gguf", folder[i], name);
        if (folder[i][0] && n < PATH_MAX && exists(candidate))
            return found(candidate, path, err);
    }
    nearest best = { name, "", INT_MAX };
    each_name(compare_name, &best);
    if (best.name[0] && best.distance <= 3)
        return rm_fail(err, RM_E_ARGUMENT, "there is no model file %s, and no embedded model of "
                       "that name (did you mean %s?)", name, best.name);
    return rm_fail(err, RM_E_ARGUMENT, "there is no model file %s, and no embedded model of that "
                   "name (`ramify models` lists them)", name);
}

/* ---- models that work together ------------------------------------------------------------ */

static rm_status cell_fits(const rm_config *config, const rm_plan_cell *cell,
                           rm_model *const *models, rm_error *err)
{
    const rm_strategy *strategy = rm_params_strategy(cell->params);
    if (!(strategy->needs(rm_params_values(cell->params)) & RM_NEEDS_ONE_VOCABULARY))
        return RM_OK;
    int first = cell->models[0];
    for (int m = 1; m < cell->n_models; m++) {
        int other = cell->models[m];
        rm_status status = rm_model_same_vocabulary(models[first], models[other], err);
        if (status)
            return rm_fail_within(err, status, "cell %s: %s needs models of one vocabulary, but %s "
                                  "and %s differ", cell->label, strategy->name,
                                  config->models[first].name, config->models[other].name);
    }
    return RM_OK;
}

rm_status rm_models_fit(const rm_config *config, rm_model *const *models, rm_error *err)
{
    rm_status status = RM_OK;
    for (int i = 0; i < config->n_cells && !status; i++)
        status = cell_fits(config, &config->cells[i], models, err);
    return status;
}

/* ---- opening them --------------------------------------------------------------------------- */

rm_status rm_config_model_load(const rm_config *config, int index, rm_engine *engine,
                               rm_model **model, rm_error *err)
{
    const rm_config_model *wanted = &config->models[index];
    rm_model_options options = wanted->options;
    char *path = NULL, *body = NULL;
    rm_status status = rm_model_find(wanted->file, config->file, &path, err);
    if (!status && config->replay_on)
        status = rm_model_find(config->replay_on, config->file, &body, err);
    options.replay_on = body;
    if (!status)
        status = rm_model_open(engine, path, &options, model, err);
    free(path);
    free(body);
    if (status)
        return rm_fail_within(err, status, "%s:%zu: model %s", config->file, wanted->line,
                              wanted->name);
    return RM_OK;
}
