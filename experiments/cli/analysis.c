/* analysis.c - from run directories to an analysis, for the commands that show one. */
#include "base/json.h"
#include "experiments/claims.h"
#include "experiments/cli/cli.h"
#include "plots/plots.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *last_part(const char *dir)
{
    const char *name = dir;
    for (const char *at = dir; *at; at++)
        if (*at == '/' && at[1] && at[1] != '/')
            name = at + 1;
    return name;
}

/* ---- pairs of cells ------------------------------------------------------------------------- */

static rm_status add_pair(cli_analysis *a, const char *first, size_t n, const char *second,
                          rm_error *err)
{
    rm_label_pair *grown = realloc(a->pairs, (a->n_pairs + 1) * sizeof *grown);
    if (grown)
        a->pairs = grown;
    rm_label_pair pair = { strndup(first, n), strdup(second) };
    if (!grown || !pair.a || !pair.b) {
        free((char *)(uintptr_t)pair.a);
        free((char *)(uintptr_t)pair.b);
        return rm_fail(err, RM_E_MEMORY, "no memory for the pairs to compare");
    }
    a->pairs[a->n_pairs++] = pair;
    return RM_OK;
}

/* The pairs that the experiment states, as runner.c keeps them. */
static rm_status stated_pairs(rm_store *store, cli_analysis *a, rm_error *err)
{
    rm_text text = { 0 };
    rm_json *json = NULL;
    if (!rm_store_get_meta(store, "comparisons", &text))
        return RM_OK;
    rm_status status = rm_json_parse(text.data, text.length, "the recorded comparisons", 1,
                                     RM_JSON_NO_POSITIONS, &json, err);
    const cJSON *pair;
    if (!status)
        cJSON_ArrayForEach(pair, rm_json_root(json)) {
            const cJSON *one = cJSON_GetArrayItem(pair, 0), *two = cJSON_GetArrayItem(pair, 1);
            if (!cJSON_IsString(one) || !cJSON_IsString(two))
                status = rm_fail(err, RM_E_FORMAT, "%s/records.sqlite has damaged comparisons",
                                 rm_store_dir(store));
            if (!status)
                status = add_pair(a, one->valuestring, strlen(one->valuestring), two->valuestring,
                                  err);
            if (status)
                break;
        }
    rm_json_free(json);
    rm_text_free(&text);
    return status;
}

/* Hypothesis, claims and the figure that shows them. */
static rm_status stated_claims(rm_store *store, cli_analysis *a, rm_error *err)
{
    rm_text text = { 0 }, figure = { 0 };
    rm_json *json = NULL;
    rm_status status = RM_OK;
    rm_store_get_meta(store, "hypothesis", &a->hypothesis);
    rm_figure named = RM_FIGURE_OVERVIEW;
    if (rm_store_get_meta(store, "figure", &figure))
        status = rm_figure_find(figure.data, &named, err);
    a->figure = (int)named;
    if (!status && rm_store_get_meta(store, "claims", &text)) {
        status = rm_json_parse(text.data, text.length, "the recorded claims", 1,
                               RM_JSON_NO_POSITIONS, &json, err);
        if (!status)
            status = rm_claims_read(json, rm_json_root(json), NAN, &a->claims, err);
    }
    rm_json_free(json);
    rm_text_free(&text);
    rm_text_free(&figure);
    return status;
}

/* --compare 'A vs B' */
static rm_status given_pairs(const cli_args *args, cli_analysis *a, rm_error *err)
{
    static const char between[] = " vs ";
    rm_status status = RM_OK;
    for (int i = 0; i < args->n_given && !status; i++) {
        const char *value = args->given[i].value;
        if (strcmp(args->given[i].name, "compare") != 0)
            continue;
        const char *at = strstr(value, between);
        if (!at || at == value || !at[sizeof between - 1])
            return cli_misuse(args, err, "--compare takes two labels with \" vs \" between them, "
                              "not %s", value);
        status = add_pair(a, value, (size_t)(at - value), at + sizeof between - 1, err);
    }
    return status;
}

/* ---- options -------------------------------------------------------------------------------- */

/* What the command line says; `stated` fills in the rest. */
static rm_status read_options(const cli_args *args, rm_analysis_options *o, rm_error *err)
{
    int resamples = 0, direction = RM_DIRECTION_NONE;
    rm_status status = cli_real(args, "level", 0.5, 0.9999, &o->level, err);
    if (!status)
        status = cli_int(args, "resamples", 100, 1000000, &resamples, err);
    if (!status)
        status = cli_uint(args, "analysis-seed", &o->seed, err);
    if (!status)
        status = cli_real(args, "margin", 0, 1, &o->margin, err);
    if (!status)
        status = cli_choice(args, "direction", rm_direction_names, &direction, err);
    o->resamples = (size_t)resamples;
    o->direction = (rm_direction)direction;
    return status;
}

/* Baseline, margin, direction and pairs are those that the experiment states; options replace the
 * first three and add to the fourth. Of several runs nothing is taken as stated (`store` is NULL):
 * their labels bear the runs' names. */
static rm_status stated(const cli_args *args, rm_store *store, cli_analysis *a,
                        rm_analysis_options *o, rm_error *err)
{
    rm_text margin = { 0 }, direction = { 0 };
    if (store && !cli_flag(args, "margin") && rm_store_get_meta(store, "margin", &margin))
        o->margin = strtod(margin.data, NULL);
    if (store && !cli_flag(args, "direction") &&
        rm_store_get_meta(store, "direction", &direction))
        for (int i = 0; rm_direction_names[i]; i++)
            if (strcmp(direction.data, rm_direction_names[i]) == 0)
                o->direction = (rm_direction)i;
    const char *baseline = cli_text(args, "baseline", NULL);
    if (baseline)
        rm_text_puts(&a->baseline, baseline);
    else if (store)
        rm_store_get_meta(store, "baseline", &a->baseline);
    o->baseline = a->baseline.length ? a->baseline.data : NULL;
    rm_status status = store ? stated_pairs(store, a, err) : RM_OK;
    if (!status && store)
        status = stated_claims(store, a, err);
    o->claims = a->claims.claim;
    o->n_claims = a->claims.n;
    if (!status)
        status = given_pairs(args, a, err);
    o->pairs = a->pairs;
    o->n_pairs = a->n_pairs;
    rm_text_free(&margin);
    rm_text_free(&direction);
    return status;
}

/* Labels may be given by their ends. */
static rm_status whole_labels(cli_analysis *a, rm_analysis_options *o, rm_error *err)
{
    const char *label = NULL;
    rm_status status = RM_OK;
    if (o->baseline && !(status = cli_find_cell(&a->records, o->baseline, &label, err))) {
        a->baseline.length = 0;
        rm_text_puts(&a->baseline, label);
        o->baseline = a->baseline.data;
    }
    for (size_t i = 0; i < 2 * a->n_pairs && !status; i++) {
        const char **side = i % 2 ? &a->pairs[i / 2].b : &a->pairs[i / 2].a;
        status = cli_find_cell(&a->records, *side, &label, err);
        char *copy = status ? NULL : strdup(label);
        if (!status && !copy)
            status = rm_fail(err, RM_E_MEMORY, "no memory for the pairs to compare");
        if (copy) {
            free((char *)(uintptr_t)*side);
            *side = copy;
        }
    }
    return status;
}

static rm_status add_run(const char *dir, const char *prefix, cli_analysis *a, rm_error *err)
{
    rm_records one = { 0 };
    rm_store *store = NULL;
    rm_status status = rm_store_open(dir, false, &store, err);
    if (!status)
        status = rm_store_records(store, prefix ? &one : &a->records, err);
    if (!status && prefix)
        status = rm_records_append(&a->records, &one, prefix, err);
    rm_records_free(&one);
    rm_store_close(store);
    return status;
}

rm_status cli_analyze_dirs(const cli_args *args, const char *const *dirs, int n, cli_analysis *a,
                           rm_error *err)
{
    return cli_analyze_claims(args, dirs, n, NULL, NULL, a, err);
}

rm_status cli_analyze_claims(const cli_args *args, const char *const *dirs, int n,
                             cli_claim_maker maker, void *context, cli_analysis *a, rm_error *err)
{
    rm_analysis_options options = { 0 };
    rm_store *store = NULL;
    *a = (cli_analysis){ 0 };
    rm_status status = read_options(args, &options, err);
    for (int i = 0; i < n && !status; i++)
        status = add_run(dirs[i], n > 1 ? last_part(dirs[i]) : NULL, a, err);
    if (!status && n == 1)
        status = rm_store_open(dirs[0], false, &store, err);
    if (!status)
        status = stated(args, store, a, &options, err);
    if (!status && !a->records.n_results)
        status = rm_fail(err, RM_E_ARGUMENT, "%s has no recorded outcomes yet", dirs[0]);
    if (!status)
        status = whole_labels(a, &options, err);
    if (!status && maker) {
        rm_claims_free(&a->claims);
        status = maker(&a->records, context, &a->claims, err);
        options.claims = a->claims.claim;
        options.n_claims = a->claims.n;
    }
    if (!status && (!maker || n == 1 || options.n_claims))
        status = rm_analyze(&a->records, &options, &a->analysis, err);
    rm_store_close(store);
    if (status)
        cli_analysis_free(a);
    return status;
}

void cli_analysis_free(cli_analysis *a)
{
    rm_analysis_free(a->analysis);
    rm_records_free(&a->records);
    rm_text_free(&a->baseline);
    for (size_t i = 0; i < a->n_pairs; i++) {
        free((char *)(uintptr_t)a->pairs[i].a);
        free((char *)(uintptr_t)a->pairs[i].b);
    }
    free(a->pairs);
    rm_claims_free(&a->claims);
    rm_text_free(&a->hypothesis);
    *a = (cli_analysis){ 0 };
}
