/* listings.c - ramify strategies, ramify tasks: what there is, from the tables that validate. */
#include "base/json.h"
#include "experiments/cli/cli.h"

#include <math.h>
#include <string.h>

/* ---- strategies ------------------------------------------------------------------------------ */

static void param_default(const rm_params *params, const rm_param *p, rm_text *text)
{
    text->length = 0;
    rm_text_puts(text, "");
    rm_params_get(params, p->name, text);
}

static void param_range(const rm_param *p, char *text, size_t size)
{
    text[0] = '\0';
    if (p->kind == RM_PARAM_BOOL) {
        snprintf(text, size, "true, false");
    } else if (p->kind == RM_PARAM_CHOICE) {
        size_t n = 0;
        for (int i = 0; p->choices[i] && n < size; i++)
            n += (size_t)snprintf(text + n, size - n, i ? ", %s" : "%s", p->choices[i]);
    } else {
        const char *above = p->open_min ? "above " : "";
        if (p->max >= 1e9)
            snprintf(text, size, "%s%.10g%s", above, p->min, p->open_min ? "" : " or more");
        else
            snprintf(text, size, "%s%.10g%s to %.10g", above, p->min, p->open_min ? "," : "",
                     p->max);
    }
}

static rm_status strategy_table(const rm_strategy *s, rm_error *err)
{
    rm_params *params = NULL;
    rm_text value = { 0 };
    cli_table table = { 0 };
    rm_status status = rm_params_new(s, &params, err);
    if (status)
        return status;
    printf("%s - %s\n%s\n\n", s->name, s->summary, s->paper);
    cli_cell(&table, "parameter");
    cli_cell(&table, "default");
    cli_cell(&table, "values");
    cli_cell(&table, "meaning");
    cli_end_row(&table);
    for (const rm_param *p = s->params; p->name; p++) {
        char range[128];
        param_default(params, p, &value);
        param_range(p, range, sizeof range);
        cli_cell(&table, "%s", p->name);
        cli_cell(&table, "%s", value.data ? value.data : "");
        cli_cell(&table, "%s", range);
        cli_cell(&table, "%s", p->help);
        cli_end_row(&table);
    }
    cli_print_table(&table, "llll", stdout);
    cli_table_free(&table);
    rm_text_free(&value);
    rm_params_free(params);
    return RM_OK;
}

static rm_status strategy_json(rm_json_writer *w, const rm_strategy *s, rm_error *err)
{
    rm_params *params = NULL;
    rm_text value = { 0 };
    rm_status status = rm_params_new(s, &params, err);
    if (status)
        return status;
    rm_json_object(w, NULL);
    rm_json_string(w, "name", s->name);
    rm_json_string(w, "summary", s->summary);
    rm_json_string(w, "paper", s->paper);
    rm_json_string(w, "size_param", s->size_param);
    rm_json_int(w, "min_models", s->min_models);
    rm_json_int(w, "max_models", s->max_models);
    rm_json_array(w, "params");
    for (const rm_param *p = s->params; p->name; p++) {
        static const char *const kinds[] = { "int", "real", "bool", "choice", "reals" };
        param_default(params, p, &value);
        rm_json_object(w, NULL);
        rm_json_string(w, "name", p->name);
        rm_json_string(w, "kind", kinds[p->kind]);
        rm_json_string(w, "default", value.data);
        if (p->kind == RM_PARAM_CHOICE) {
            rm_json_array(w, "choices");
            for (int i = 0; p->choices[i]; i++)
                rm_json_string(w, NULL, p->choices[i]);
            rm_json_end(w);
        } else if (p->kind != RM_PARAM_BOOL) {
            rm_json_real(w, "min", p->min);
            rm_json_real(w, "max", p->max);
        }
        rm_json_string(w, "help", p->help);
        rm_json_end(w);
    }
    rm_json_end(w);
    rm_json_end(w);
    rm_text_free(&value);
    rm_params_free(params);
    return RM_OK;
}

static rm_status strategies(const cli_args *args, rm_error *err)
{
    const rm_strategy *const *all = rm_strategies(), *one = NULL;
    rm_status status = RM_OK;
    if (args->n_positional)
        status = cli_misused(args, rm_strategy_find(args->positional[0], &one, err));
    if (status)
        return status;
    if (cli_flag(args, "json")) {
        rm_text out = { 0 };
        rm_json_writer w = { .out = &out, .pretty = true };
        rm_json_array(&w, NULL);
        for (; *all && !status; all++)
            if (!one || *all == one)
                status = strategy_json(&w, *all, err);
        rm_json_end(&w);
        rm_text_puts(&out, "\n");
        if (!status)
            status = cli_put(&out, err);
        rm_text_free(&out);
        return status;
    }
    if (one)
        return strategy_table(one, err);
    cli_table table = { 0 };
    for (; *all; all++) {
        cli_cell(&table, "%s", (*all)->name);
        cli_cell(&table, "%s", (*all)->summary);
        cli_cell(&table, "%s", (*all)->paper);
        cli_end_row(&table);
    }
    cli_print_table(&table, "lll", stdout);
    cli_table_free(&table);
    return RM_OK;
}

static const cli_option json_options[] = {
    { "json", 0, NULL, "for machines" },
    { NULL, 0, NULL, NULL },
};

const cli_command cli_strategies = {
    .name = "strategies",
    .summary = "the strategies, and the parameters of one",
    .positional = "[NAME]",
    .max_positional = 1,
    .example = "ramify strategies mcts",
    .options = json_options,
    .run = strategies,
};

/* ---- tasks ----------------------------------------------------------------------------------- */

typedef struct task_listing {
    const char *wanted, *kind; /* NULL: all kinds; the kind that was listed last */
    bool found;
    const char *nearest;       /* kind to the wanted one, and how far it is */
    int distance;
    cli_table table;
    rm_json_writer *json;
} task_listing;

static void add_task_key(void *arg, const rm_task_key *key)
{
    task_listing *l = arg;
    int distance = l->wanted && key->kind[0] ? rm_word_distance(l->wanted, key->kind) : 0;
    if (distance && (!l->nearest || distance < l->distance)) {
        l->distance = distance;
        l->nearest = key->kind;
    }
    if (l->wanted && key->kind[0] && strcmp(key->kind, l->wanted) != 0)
        return;
    l->found = l->found || key->kind[0];
    if (l->json) {
        rm_json_object(l->json, NULL);
        rm_json_string(l->json, "kind", key->kind);
        rm_json_string(l->json, "summary", key->summary);
        rm_json_string(l->json, "key", key->name);
        rm_json_string(l->json, "help", key->help);
        rm_json_end(l->json);
        return;
    }
    if (!l->kind || strcmp(l->kind, key->kind) != 0) {
        l->kind = key->kind;
        cli_cell(&l->table, "%s", key->kind[0] ? key->kind : "(all kinds)");
        cli_cell(&l->table, "%s", key->summary);
        cli_end_row(&l->table);
    }
    cli_cell(&l->table, "  %s", key->name);
    cli_cell(&l->table, "%s", key->help);
    cli_end_row(&l->table);
}

static rm_status tasks(const cli_args *args, rm_error *err)
{
    rm_text out = { 0 };
    rm_json_writer w = { .out = &out, .pretty = true };
    bool json = cli_flag(args, "json");
    task_listing l = { .wanted = args->n_positional ? args->positional[0] : NULL,
                       .json = json ? &w : NULL };
    if (json)
        rm_json_array(&w, NULL);
    rm_task_kinds(add_task_key, &l);
    rm_status status = RM_OK;
    if (!l.found)
        status = cli_misuse(args, err, "there is no kind of task '%.60s'; the nearest is '%s'",
                            l.wanted, l.nearest);
    else if (!json)
        cli_print_table(&l.table, "ll", stdout);
    if (json) {
        rm_json_end(&w);
        rm_text_puts(&out, "\n");
        if (!status)
            status = cli_put(&out, err);
    }
    rm_text_free(&out);
    cli_table_free(&l.table);
    return status;
}

const cli_command cli_tasks = {
    .name = "tasks",
    .summary = "the kinds of tasks and their keys in an experiment file",
    .positional = "[KIND]",
    .max_positional = 1,
    .example = "ramify tasks countdown",
    .options = json_options,
    .run = tasks,
};
