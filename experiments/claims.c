/* claims.c - the list "claims" of an experiment's analysis (claims.h).
 *
 *     { "claim": "in words", "compare": ["A", "B"], "measure": "accuracy", "direction": "higher",
 *       "margin": 0.05 }
 *     { "claim": "...", "compare": ["A", ["B", "C"]], "chosen_on": "TASK" }
 *     { "claim": "...", "trend": "FAMILY" }
 *     { "claim": "...", "budget": ["FAMILY", "FAMILY"], "cost": "generated_tokens" } */
#define _GNU_SOURCE
#include "experiments/claims.h"

#include "experiments/config_private.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CLAIMS = 100, MAX_SIDES = 64, PATH = 48 };

static const rm_quantity costs[] = { RM_Q_GENERATED_TOKENS, RM_Q_EVALUATED_TOKENS, RM_Q_ROUNDS,
                                     RM_Q_FLOPS, RM_Q_WEIGHT_BYTES, RM_Q_KV_BYTES,
                                     RM_Q_LATENCY_P50_MS };
static const char *const cost_names[] = { "generated_tokens", "evaluated_tokens", "rounds", "flops",
                                          "weight_bytes", "kv_bytes", "latency_p50_ms", NULL };

typedef struct spec {
    char *text, *trend, *chosen_on;
    const cJSON *compare, *budget;
    int measure, cost, direction, k;
    double margin;
} spec;

#define SPEC(field) offsetof(spec, field)
static const rm_key claim_keys[] = {
    { "claim", RM_KEY_STRING, SPEC(text), 0, 0, NULL, "" },
    { "compare", RM_KEY_ANY, SPEC(compare), 0, 0, NULL, "" },
    { "trend", RM_KEY_STRING, SPEC(trend), 0, 0, NULL, "" },
    { "budget", RM_KEY_ANY, SPEC(budget), 0, 0, NULL, "" },
    { "chosen_on", RM_KEY_STRING, SPEC(chosen_on), 0, 0, NULL, "" },
    { "measure", RM_KEY_CHOICE, SPEC(measure), 0, 0, rm_measure_names, "" },
    { "cost", RM_KEY_CHOICE, SPEC(cost), 0, 0, cost_names, "" },
    { "direction", RM_KEY_CHOICE, SPEC(direction), 0, 0, rm_direction_names, "" },
    { "k", RM_KEY_INT, SPEC(k), 1, 1000000, NULL, "" },
    { "margin", RM_KEY_REAL, SPEC(margin), 0, 1e9, NULL, "" },
    { 0 },
};

static rm_status out_of_memory(rm_error *err)
{
    return rm_fail(err, RM_E_MEMORY, "out of memory while reading claims");
}

/* The second side: one name, or a list of them. */
static rm_status read_sides(const rm_json *json, const cJSON *item, const char *path, rm_claim *claim,
                            rm_error *err)
{
    int n = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : 1;
    if (n < 1 || n > MAX_SIDES)
        return rm_json_fail(err, RM_E_ARGUMENT, json, item, "%s: expected 1 to %d names", path,
                            MAX_SIDES);
    char **names = calloc((size_t)n, sizeof *names);
    if (!names)
        return out_of_memory(err);
    claim->b = (const char *const *)names;
    const cJSON *name = cJSON_IsArray(item) ? item->child : item;
    for (int i = 0; i < n; i++, name = name->next) {
        if (!cJSON_IsString(name) || !*name->valuestring)
            return rm_json_fail(err, RM_E_ARGUMENT, json, name, "%s: expected the name of a cell or "
                                "of a family", path);
        if (!(names[i] = strdup(name->valuestring)))
            return out_of_memory(err);
        claim->n_b++;
    }
    return RM_OK;
}

static rm_status read_pair(const rm_json *json, const cJSON *pair, const char *path, rm_claim *claim,
                           rm_error *err)
{
    if (!cJSON_IsArray(pair) || cJSON_GetArraySize(pair) != 2 || !cJSON_IsString(pair->child))
        return rm_json_fail(err, RM_E_ARGUMENT, json, pair, "%s: expected two names, of which the "
                            "second may be a list", path);
    if (!(claim->a = strdup(pair->child->valuestring)))
        return out_of_memory(err);
    return read_sides(json, pair->child->next, path, claim, err);
}

/* What the keys say together. */
static rm_status check_spec(const rm_json *json, const cJSON *item, const char *path, const spec *s,
                            double margin, rm_error *err)
{
    bool rates = s->measure == RM_MEASURE_PASS_AT_K || s->measure == RM_MEASURE_MAJ_AT_K;
    const char *wrong = NULL;
    if (!s->text || !*s->text)
        wrong = "says nothing: \"claim\" is missing";
    else if ((s->compare != NULL) + (s->trend != NULL) + (s->budget != NULL) != 1)
        wrong = "expected one of \"compare\", \"trend\" and \"budget\"";
    else if (s->trend && s->measure > RM_MEASURE_CHOSEN_LP)
        wrong = "a trend is of \"accuracy\" or \"chosen_lp\"";
    else if (s->budget && s->measure != RM_MEASURE_ACCURACY)
        wrong = "a budget compares accuracies";
    else if (s->budget && s->cost < 0)
        wrong = "a budget needs a \"cost\"";
    else if (!s->budget && s->cost >= 0)
        wrong = "\"cost\" is for budgets";
    else if (s->k && !rates)
        wrong = "\"k\" is for pass@k and maj@k";
    else if (s->direction == RM_DIRECTION_NONE)
        wrong = "a claim has a direction: higher, lower or equal";
    else if (s->direction == RM_DIRECTION_EQUAL && !(margin > 0))
        wrong = "\"equal\" needs a \"margin\" above 0";
    return wrong ? rm_json_fail(err, RM_E_ARGUMENT, json, item, "%s: %s", path, wrong) : RM_OK;
}

static rm_status read_claim(const rm_json *json, const cJSON *item, const char *path, double margin,
                            rm_claim *claim, rm_error *err)
{
    spec s = { .cost = -1, .direction = RM_DIRECTION_HIGHER, .margin = (double)NAN };
    rm_status st = rm_keys_read(json, item, path, claim_keys, &s, NULL, NULL, err);
    if (isnan(s.margin))
        s.margin = isfinite(margin) ? margin : 0;
    if (!st)
        st = check_spec(json, item, path, &s, s.margin, err);
    claim->kind = s.trend ? RM_CLAIM_TREND : s.budget ? RM_CLAIM_BUDGET : RM_CLAIM_DIFFERENCE;
    claim->measure = (rm_measure)s.measure;
    claim->cost = s.cost < 0 ? -1 : (int)costs[s.cost];
    claim->k = (size_t)s.k;
    claim->direction = (rm_direction)s.direction;
    claim->margin = s.margin;
    claim->text = s.text; /* the strings go over */
    claim->chosen_on = s.chosen_on;
    claim->a = s.trend;
    if (!st && !s.trend)
        st = read_pair(json, s.compare ? s.compare : s.budget, path, claim, err);
    if (!st && (claim->n_b > 1) != (claim->chosen_on != NULL))
        st = rm_json_fail(err, RM_E_ARGUMENT, json, item, "%s: a list of names and \"chosen_on\", the "
                          "task that one of them is chosen on, go together", path);
    return st;
}

rm_status rm_claims_read(const rm_json *json, const cJSON *list, double margin, rm_claims *out,
                         rm_error *err)
{
    int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    *out = (rm_claims){ 0 };
    if (n < 1 || n > MAX_CLAIMS)
        return rm_json_fail(err, RM_E_ARGUMENT, json, list, "analysis.claims: expected a list of 1 to "
                            "%d objects", MAX_CLAIMS);
    if (!(out->claim = calloc((size_t)n, sizeof *out->claim)))
        return out_of_memory(err);
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        char path[PATH];
        snprintf(path, sizeof path, "analysis.claims[%zu]", out->n);
        rm_status st = read_claim(json, item, path, margin, &out->claim[out->n++], err);
        if (st)
            return st;
    }
    return RM_OK;
}

void rm_claims_free(rm_claims *claims)
{
    for (size_t i = 0; i < claims->n; i++) {
        rm_claim *c = &claims->claim[i];
        for (size_t k = 0; k < c->n_b; k++)
            free((char *)(uintptr_t)c->b[k]);
        free((void *)(uintptr_t)c->b);
        free((char *)(uintptr_t)c->text);
        free((char *)(uintptr_t)c->a);
        free((char *)(uintptr_t)c->chosen_on);
    }
    free(claims->claim);
    *claims = (rm_claims){ 0 };
}

/* ---- against the plan ---------------------------------------------------------------------- */

static rm_status check_name(const rm_config *config, const rm_json *json, const cJSON *item,
                            const char *path, bool family, const char *name, rm_error *err)
{
    const char *known[RM_MAX_CELLS];
    for (int i = 0; i < config->n_cells; i++) {
        known[i] = family ? config->cells[i].family : config->cells[i].label;
        if (!strcmp(known[i], name) || !strcmp(config->cells[i].family, name))
            return RM_OK; /* of a family that is compared its largest cell is meant */
    }
    const char *near = rm_nearest_word(name, known, config->n_cells);
    return rm_json_fail(err, RM_E_ARGUMENT, json, item, "%s: no %s is called \"%.80s\"%s%s%s", path,
                        family ? "family of cells" : "cell", name, near ? "; did you mean \"" : "",
                        near ? near : "", near ? "\"?" : "");
}

rm_status rm_claims_check(const rm_config *config, const rm_json *json, const cJSON *list,
                          rm_error *err)
{
    for (size_t i = 0; i < config->claims.n; i++) {
        const rm_claim *c = &config->claims.claim[i];
        const cJSON *item = cJSON_GetArrayItem(list, (int)i);
        char path[PATH];
        snprintf(path, sizeof path, "analysis.claims[%zu]", i);
        bool family = c->kind != RM_CLAIM_DIFFERENCE, there = !c->chosen_on;
        rm_status st = check_name(config, json, item, path, family, c->a, err);
        for (size_t k = 0; k < c->n_b && !st; k++)
            st = check_name(config, json, item, path, family, c->b[k], err);
        for (int t = 0; t < config->n_tasks && !there; t++)
            there = !strcmp(rm_task_name(config->tasks[t]), c->chosen_on);
        if (!st && !there)
            st = rm_json_fail(err, RM_E_ARGUMENT, json, item, "%s.chosen_on: no task is called "
                              "\"%.80s\"", path, c->chosen_on);
        if (st)
            return st;
    }
    return RM_OK;
}

void rm_claims_json(const rm_claims *claims, rm_text *out)
{
    rm_json_writer w = { .out = out };
    rm_json_array(&w, NULL);
    for (size_t i = 0; i < claims->n; i++) {
        const rm_claim *c = &claims->claim[i];
        rm_json_object(&w, NULL);
        rm_json_string(&w, "claim", c->text);
        if (c->kind == RM_CLAIM_TREND) {
            rm_json_string(&w, "trend", c->a);
        } else {
            rm_json_array(&w, rm_claim_kind_names[c->kind]);
            rm_json_string(&w, NULL, c->a);
            rm_json_array(&w, NULL);
            for (size_t k = 0; k < c->n_b; k++)
                rm_json_string(&w, NULL, c->b[k]);
            rm_json_end(&w);
            rm_json_end(&w);
        }
        rm_json_string(&w, "measure", rm_measure_names[c->measure]);
        for (int k = 0; c->kind == RM_CLAIM_BUDGET && cost_names[k]; k++)
            if ((int)costs[k] == c->cost)
                rm_json_string(&w, "cost", cost_names[k]);
        if (c->chosen_on)
            rm_json_string(&w, "chosen_on", c->chosen_on);
        if (c->k)
            rm_json_uint(&w, "k", c->k);
        rm_json_string(&w, "direction", rm_direction_names[c->direction]);
        rm_json_real(&w, "margin", c->margin);
        rm_json_end(&w);
    }
    rm_json_end(&w);
}
