/* json_curves.c - what curves say, as JSON: scaling laws, trends, areas, crossings, equal tuning.
 * The rest of the report, and the shape of the whole: json.c. */
#include "analysis/json_parts.h"

#include <math.h>

static const char *label_at(const rm_analysis *analysis, const rm_task_report *task, int report)
{
    return analysis->records->cells[task->cells[report].cell].label;
}

static const char *kind_name(rm_subset_kind kind)
{
    return kind == RM_PASS_AT_K ? "pass@k" : "maj@k";
}

/* An estimate on an axis: an end (or the value) outside of the measured range is "below" or
 * "above", which a number could not say. */
static void put_place(rm_json_writer *w, const char *key, double x)
{
    if (isinf(x))
        rm_json_string(w, key, x < 0 ? "below" : "above");
    else
        rm_json_real(w, key, x);
}

static void put_censored(rm_json_writer *w, const char *key, const rm_estimate *e, double inside)
{
    rm_json_object(w, key);
    put_place(w, "value", e->value);
    put_place(w, "low", e->low);
    put_place(w, "high", e->high);
    rm_json_uint(w, "n", e->n);
    rm_json_real(w, "inside", inside);
    rm_json_string(w, "method", e->method);
    rm_json_end(w);
}

void an_json_scaling(rm_json_writer *w, const rm_scaling *s)
{
    if (s->n_points == 0) {
        rm_json_null(w, "scaling");
        return;
    }
    rm_json_object(w, "scaling");
    rm_json_string(w, "law", "pass@k = exp(-a k^-b)");
    rm_json_uint(w, "n_points", s->n_points);
    an_json_estimate(w, "a", &s->a);
    an_json_estimate(w, "b", &s->b);
    rm_json_real(w, "rmse", s->rmse);
    rm_json_end(w);
}

static void put_trends(rm_json_writer *w, const rm_analysis *analysis, const rm_task_report *task)
{
    rm_json_array(w, "trends");
    for (size_t i = 0; i < task->n_trends; i++) {
        const rm_trend *t = &task->trends[i];
        rm_json_object(w, NULL);
        rm_json_string(w, "family", task->families[t->family].name);
        rm_json_string(w, "size_name", task->families[t->family].size_name);
        rm_json_string(w, "quantity", rm_quantity_describe(t->quantity)->name);
        rm_json_uint(w, "n_sizes", t->n_sizes);
        rm_json_uint(w, "n", t->n);
        an_json_estimate(w, "slope_per_doubling", &t->slope);
        an_json_estimate(w, "corrected", &t->corrected);
        rm_json_string(w, "test", "permutation within problems, Monte Carlo");
        rm_json_real(w, "p", t->p);
        rm_json_real(w, "p_holm", t->p_holm);
        rm_json_uint(w, "n_family", t->n_family);
        rm_json_string(w, "verdict", rm_trend_verdict(t, analysis->options.level));
        rm_json_end(w);
    }
    rm_json_end(w);
}

static void put_areas(rm_json_writer *w, const rm_task_report *task)
{
    rm_json_array(w, "areas");
    for (size_t i = 0; i < task->n_areas; i++) {
        const rm_area *a = &task->areas[i];
        rm_json_object(w, NULL);
        rm_json_string(w, "family", task->families[a->family].name);
        rm_json_string(w, "cost", rm_quantity_describe(a->cost)->name);
        rm_json_real(w, "low", a->low);
        rm_json_real(w, "high", a->high);
        an_json_estimate(w, "accuracy", &a->accuracy);
        rm_json_end(w);
    }
    rm_json_end(w);
    rm_json_array(w, "area_pairs");
    for (size_t i = 0; i < task->n_area_pairs; i++) {
        const rm_area_pair *p = &task->area_pairs[i];
        const char *a = task->families[p->a].name, *b = task->families[p->b].name;
        rm_json_object(w, NULL);
        rm_json_string(w, "a", a);
        rm_json_string(w, "b", b);
        rm_json_string(w, "cost", rm_quantity_describe(p->cost)->name);
        rm_json_real(w, "low", p->low);
        rm_json_real(w, "high", p->high);
        an_json_estimate(w, "difference", &p->difference);
        rm_json_string(w, "ahead_at_high", p->a_ahead ? a : b);
        put_censored(w, "takes_the_lead_at", &p->overtakes, p->inside);
        rm_json_end(w);
    }
    rm_json_end(w);
}

static void put_crossings(rm_json_writer *w, const rm_analysis *analysis,
                          const rm_task_report *task)
{
    rm_json_array(w, "crossings");
    for (size_t i = 0; i < task->n_crossings; i++) {
        const rm_crossing *c = &task->crossings[i];
        rm_json_object(w, NULL);
        rm_json_string(w, "curve", kind_name(c->kind));
        rm_json_string(w, "behind", label_at(analysis, task, c->behind));
        rm_json_string(w, "ahead", label_at(analysis, task, c->ahead));
        rm_json_uint(w, "k_most", c->k_most);
        put_censored(w, "k", &c->at, c->inside);
        rm_json_end(w);
    }
    rm_json_end(w);
    rm_json_array(w, "equal_passes");
    for (size_t i = 0; i < task->n_passes; i++) {
        const rm_equal_passes *p = &task->passes[i];
        rm_json_object(w, NULL);
        rm_json_string(w, "curve", kind_name(p->kind));
        rm_json_string(w, "pool", label_at(analysis, task, p->pool));
        rm_json_string(w, "cell", label_at(analysis, task, p->cell));
        rm_json_uint(w, "k_most", p->k_most);
        put_censored(w, "k", &p->at, p->inside);
        rm_json_end(w);
    }
    rm_json_end(w);
}

/* A strategy's settings share model and strategy; either alone may repeat. */
static void put_group(rm_json_writer *w, const rm_analysis *analysis, const rm_task_report *task,
                      const rm_tuning *t)
{
    const rm_cell *cell = &analysis->records->cells[task->cells[t->reports[0]].cell];
    rm_json_string(w, "model", cell->model);
    rm_json_string(w, "strategy", cell->strategy);
}

static void put_tunings(rm_json_writer *w, const rm_analysis *analysis, const rm_task_report *task)
{
    rm_json_array(w, "tunings");
    for (size_t i = 0; i < task->n_tunings; i++) {
        const rm_tuning *t = &task->tunings[i];
        rm_json_object(w, NULL);
        put_group(w, analysis, task, t);
        rm_json_array(w, "cells");
        for (size_t j = 0; j < t->n; j++)
            rm_json_string(w, NULL, label_at(analysis, task, t->reports[j]));
        rm_json_end(w);
        rm_json_array(w, "best_of_m");
        for (size_t m = 0; m < t->n; m++)
            an_json_estimate(w, NULL, &t->value[m]);
        rm_json_end(w);
        rm_json_end(w);
    }
    rm_json_end(w);
    rm_json_array(w, "tuning_pairs");
    for (size_t i = 0; i < task->n_tuning_pairs; i++) {
        const rm_tuning_pair *p = &task->tuning_pairs[i];
        rm_json_object(w, NULL);
        rm_json_object(w, "a");
        put_group(w, analysis, task, &task->tunings[p->a]);
        rm_json_end(w);
        rm_json_object(w, "b");
        put_group(w, analysis, task, &task->tunings[p->b]);
        rm_json_end(w);
        rm_json_uint(w, "m", p->m);
        an_json_estimate(w, "difference", &p->difference);
        rm_json_end(w);
    }
    rm_json_end(w);
}

static void put_claims(rm_json_writer *w, const rm_task_report *task)
{
    rm_json_array(w, "claims");
    for (size_t i = 0; i < task->n_claims; i++) {
        const rm_claim_report *c = &task->claims[i];
        rm_json_object(w, NULL);
        rm_json_string(w, "claim", c->claim->text);
        rm_json_string(w, "kind", rm_claim_kind_names[c->claim->kind]);
        rm_json_string(w, "measure", rm_measure_names[c->claim->measure]);
        rm_json_string(w, "a", c->claim->a);
        if (c->claim->kind != RM_CLAIM_TREND)
            rm_json_string(w, "b", c->b);
        if (c->claim->kind == RM_CLAIM_BUDGET)
            rm_json_string(w, "cost", rm_quantity_describe((rm_quantity)c->claim->cost)->name);
        if (c->k)
            rm_json_uint(w, "k", c->k);
        rm_json_string(w, "direction", rm_direction_names[c->claim->direction]);
        rm_json_real(w, "margin", c->claim->margin);
        an_json_estimate(w, "corrected", &c->theta);
        rm_json_real(w, "p", c->p);
        rm_json_uint(w, "n_family", c->n_family);
        rm_json_string(w, "verdict", rm_verdict_name(c->verdict));
        rm_json_end(w);
    }
    rm_json_end(w);
}

void an_json_curves(rm_json_writer *w, const rm_analysis *analysis, const rm_task_report *task)
{
    put_trends(w, analysis, task);
    put_areas(w, task);
    put_crossings(w, analysis, task);
    put_tunings(w, analysis, task);
    if (analysis->options.n_claims)
        put_claims(w, task);
}
