/* config_labels.c - what figures call the cells.
 *
 *     label  = [models ": "] name [size] [parameters that vary]
 *     family = the same without the size: what a curve joins
 *
 * A label shows what distinguishes a cell within its configuration and nothing else: the models
 * only if cells differ in them, a parameter only if it takes several values among the cells of
 * its strategy (on the same task: defaults that come from the task distinguish nothing). */
#include "experiments/config_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void rm_config_models_text(const rm_config *config, const rm_plan_cell *cell, rm_text *out)
{
    for (int i = 0; i < cell->n_models; i++)
        rm_text_printf(out, "%s%s", i ? " + " : "", config->models[cell->models[i]].name);
}

static bool same_models(const rm_plan_cell *a, const rm_plan_cell *b)
{
    return a->n_models == b->n_models
           && !memcmp(a->models, b->models, (size_t)a->n_models * sizeof *a->models);
}

static bool same_value(const rm_params *a, const rm_params *b, const char *name)
{
    rm_text x = { 0 }, y = { 0 };
    rm_params_get(a, name, &x);
    rm_params_get(b, name, &y);
    bool same = !strcmp(x.data ? x.data : "", y.data ? y.data : "");
    rm_text_free(&x);
    rm_text_free(&y);
    return same;
}

static bool same_group(const rm_plan_cell *a, const rm_plan_cell *b)
{
    return a->task == b->task && rm_params_strategy(a->params) == rm_params_strategy(b->params);
}

/* Index of the first cell of a cell's group. */
static int group_of(const rm_config *config, int cell)
{
    int first = 0;
    while (!same_group(&config->cells[first], &config->cells[cell]))
        first++;
    return first;
}

/* Which parameters vary among the cells of one strategy and task: bit i for the i-th of the table,
 * masks[k] for the group whose first cell is k. A parameter varies if any cell differs from the
 * first in it. */
static void find_varying(const rm_config *config, uint64_t *masks)
{
    for (int i = 0; i < config->n_cells; i++) {
        int first = group_of(config, i), bit = 0;
        const rm_params *a = config->cells[first].params, *b = config->cells[i].params;
        for (const rm_param *p = rm_params_strategy(a)->params; p->name && bit < 64; p++, bit++)
            if (!(masks[first] >> bit & 1) && !same_value(a, b, p->name))
                masks[first] |= UINT64_C(1) << bit;
    }
}

/* Short forms that every reader of the field knows. */
static const char *short_name(const char *name)
{
    static const char *const forms[][2] = {
        { "num_return_sequences", "n" }, { "temperature", "T" }, { "top_p", "p" },
        { "top_k", "k" }, { "num_simulations", "sims" }, { "simulations", "sims" },
        { "num_beams", "" },
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(forms[i][0], name))
            return forms[i][1];
    return name;
}

static void add_parameter(const rm_plan_cell *cell, const char *name, rm_text *out)
{
    const char *form = short_name(name);
    for (const rm_param *p = rm_params_strategy(cell->params)->params; p->name; p++)
        if (!strcmp(p->name, name) && p->kind == RM_PARAM_CHOICE && strcmp(p->choices[0], "false"))
            form = ""; /* "product" says it without "combine=" */
    rm_text_printf(out, " %s%s", form, *form ? "=" : "");
    rm_params_get(cell->params, name, out);
}

static bool size_varies(const rm_strategy *s, uint64_t varying)
{
    for (const rm_param *p = s->params; p->name && varying; p++, varying >>= 1)
        if (!strcmp(p->name, s->size_param))
            return varying & 1;
    return false;
}

static rm_status label_cell(const rm_config *config, rm_plan_cell *cell, const char *name,
                            bool models, uint64_t varying, rm_error *err)
{
    const rm_strategy *s = rm_params_strategy(cell->params);
    rm_text label = { 0 }, family = { 0 };
    if (models) {
        rm_config_models_text(config, cell, &label);
        rm_text_puts(&label, ": ");
    }
    rm_text_puts(&label, name);
    rm_text_puts(&family, label.data ? label.data : "");
    cell->size = (double)NAN;
    cell->size_name = s->size_param;
    if (s->size_param) {
        rm_text value = { 0 };
        if (rm_params_get(cell->params, s->size_param, &value) && value.data)
            cell->size = strtod(value.data, NULL);
        rm_text_free(&value);
    }
    if (s->size_param && (cell->size != 1 || size_varies(s, varying)))
        add_parameter(cell, s->size_param, &label); /* "ensemble-token n=1" would say nothing */
    for (const rm_param *p = s->params; p->name && varying; p++, varying >>= 1)
        if ((varying & 1) && (!s->size_param || strcmp(p->name, s->size_param))) {
            add_parameter(cell, p->name, &label);
            add_parameter(cell, p->name, &family);
        }
    if (cell->independent) {
        rm_text_puts(&label, " independent");
        rm_text_puts(&family, " independent");
    }
    if (label.failed || family.failed) {
        rm_text_free(&label);
        rm_text_free(&family);
        return rm_fail(err, RM_E_MEMORY, "out of memory for the labels of cells");
    }
    cell->label = label.data;
    cell->family = family.data;
    return RM_OK;
}

rm_status rm_config_label_cells(rm_config *config, const char *const *names, rm_error *err)
{
    bool models = false;
    rm_status st = RM_OK;
    uint64_t *masks = calloc((size_t)config->n_cells, sizeof *masks);
    if (!masks)
        return rm_fail(err, RM_E_MEMORY, "out of memory for the labels of cells");
    find_varying(config, masks);
    for (int i = 1; i < config->n_cells; i++)
        models = models || !same_models(&config->cells[0], &config->cells[i]);
    for (int i = 0; i < config->n_cells && !st; i++)
        st = label_cell(config, &config->cells[i], names[i], models, masks[group_of(config, i)],
                        err);
    free(masks);
    return st;
}
