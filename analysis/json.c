/* json.c - an analysis as one JSON object.
 *
 *   { "level", "resamples", "draws", "seed", "margin", "direction",
 *     "diversity_k", "tasks": [
 *     { "task", "n_problems", "n_clusters", "text_unit",
 *       "cells":       [ { "label", "model", "strategy", "params", "family", "size", ...,
 *                          <every quantity by its name>: estimate or null,
 *                          "pass@k": curve, "maj@k": curve,
 *                          "weighted_maj@k": { weight: curve }, "best-of-k": { score: curve },
 *                          "subsets_refused": why there are no curves,
 *                          "scaling": { "law", "a", "b", "rmse" } or null,
 *                          "calibration": { "ece", "brier", "bins" } } ],
 *       "families":    [ { "family", "size_name", "cells": [label] } ],
 *       "comparisons": [ { "a", "b", "difference", "corrected", "p", "p_holm", "test",
 *                          "verdict", "claim": what it says of the stated direction, ... } ],
 *       "fronts":      [ { "cost", "class", "points": [...] } ],
 *       "trends":      [ { "family", "quantity", "slope_per_doubling", "corrected", "p", ... } ],
 *       "areas":       [ { "family", "cost", "low", "high", "accuracy" } ],
 *       "area_pairs":  [ { "a", "b", "cost", "difference", "takes_the_lead_at", ... } ],
 *       "crossings":   [ { "curve", "behind", "ahead", "k": place } ],
 *       "equal_passes": [ { "curve", "pool", "cell", "k": place } ],
 *       "tunings":     [ { "model", "strategy", "cells", "best_of_m": [estimate] } ],
 *       "tuning_pairs": [ { "a", "b", "m", "difference" } ],
 *       "claims": [ { "claim", "kind", "measure", "a", "b", "direction", "margin", "corrected",
 *                     "p", "n_family", "verdict" } ] } ] }
 *
 * Beside "tasks": "recorded" and "missing" outcomes; some are missing if the run is unfinished.
 *
 * estimate: { "value", "low", "high", "n", "method" }; a curve is a list of estimates with "k" and
 * "mc_se"; a place is an estimate whose members are "below" or "above" where they lie outside of
 * what was measured, with the share of resamples "inside". Other numbers that are not finite (not
 * measured, unlimited) are null. */
#include "analysis/json_parts.h"

#include <math.h>
#include <string.h>

static void put_estimate_members(rm_json_writer *w, const rm_estimate *e)
{
    rm_json_real(w, "value", e->value);
    rm_json_real(w, "low", e->low);
    rm_json_real(w, "high", e->high);
    rm_json_uint(w, "n", e->n);
    rm_json_string(w, "method", e->method);
}

static void put_estimate(rm_json_writer *w, const char *key, const rm_estimate *e)
{
    if (e->n == 0) {
        rm_json_null(w, key);
        return;
    }
    rm_json_object(w, key);
    put_estimate_members(w, e);
    rm_json_end(w);
}

void an_json_estimate(rm_json_writer *w, const char *key, const rm_estimate *e)
{
    if (e->n == 0) {
        rm_json_null(w, key);
        return;
    }
    rm_json_object(w, key);
    rm_json_real(w, "level", e->level);
    put_estimate_members(w, e);
    rm_json_end(w);
}

static void put_curve(rm_json_writer *w, const char *key, const rm_subset_curve *curve)
{
    rm_json_array(w, key);
    for (size_t i = 0; i < curve->n_points; i++) {
        rm_json_object(w, NULL);
        rm_json_uint(w, "k", curve->k[i]);
        put_estimate_members(w, &curve->value[i]);
        rm_json_real(w, "mc_se", curve->mc_se[i]);
        rm_json_end(w);
    }
    rm_json_end(w);
}

/* The curves of one kind that have a weight or score, as an object keyed by its name. */
static void put_named_curves(rm_json_writer *w, const char *key, rm_subset_kind kind,
                             const rm_cell_report *report)
{
    rm_json_object(w, key);
    for (size_t i = 0; i < report->n_curves; i++)
        if (report->curves[i].kind == kind && report->curves[i].by)
            put_curve(w, report->curves[i].by, &report->curves[i]);
    rm_json_end(w);
}

static void put_curves(rm_json_writer *w, const rm_cell_report *report)
{
    if (report->refusal) {
        rm_json_string(w, "subsets_refused", report->refusal);
        return;
    }
    for (size_t i = 0; i < report->n_curves; i++)
        if (!report->curves[i].by)
            put_curve(w, report->curves[i].kind == RM_PASS_AT_K ? "pass@k" : "maj@k",
                      &report->curves[i]);
    put_named_curves(w, "weighted_maj@k", RM_MAJ_AT_K, report);
    put_named_curves(w, "best-of-k", RM_BEST_OF_K, report);
    an_json_scaling(w, &report->scaling);
}

static void put_calibration(rm_json_writer *w, const rm_calibration *c)
{
    rm_json_object(w, "calibration");
    rm_json_uint(w, "n", c->n);
    put_estimate(w, "ece", &c->ece);
    put_estimate(w, "brier", &c->brier);
    rm_json_array(w, "bins");
    for (size_t i = 0; i < RM_RELIABILITY_BINS; i++) {
        const rm_reliability_bin *bin = &c->bins[i];
        rm_json_object(w, NULL);
        rm_json_real(w, "low", bin->low);
        rm_json_real(w, "high", bin->high);
        rm_json_uint(w, "n", bin->n);
        rm_json_real(w, "confidence", bin->confidence);
        put_estimate(w, "accuracy", &bin->accuracy);
        rm_json_end(w);
    }
    rm_json_end(w);
    rm_json_end(w);
}

/* Parameters are JSON already, unless they came from elsewhere and are not. */
static void put_params(rm_json_writer *w, const char *params)
{
    rm_json *parsed = NULL;
    if (rm_json_parse(params, strlen(params), "params", 1, RM_JSON_NO_POSITIONS, &parsed, NULL))
        rm_json_string(w, "params", params);
    else
        rm_json_raw(w, "params", params);
    rm_json_free(parsed);
}

static void put_cell(rm_json_writer *w, const rm_analysis *analysis, const rm_cell_report *report)
{
    const rm_cell *cell = &analysis->records->cells[report->cell];
    rm_json_object(w, NULL);
    rm_json_string(w, "label", cell->label);
    rm_json_string(w, "model", cell->model);
    rm_json_string(w, "strategy", cell->strategy);
    put_params(w, cell->params);
    rm_json_string(w, "family", cell->family);
    rm_json_real(w, "size", cell->size);
    rm_json_string(w, "size_name", cell->size_name);
    rm_json_bool(w, "exchangeable", cell->exchangeable);
    rm_json_bool(w, "relative_score", cell->relative_score);
    rm_json_bool(w, "verifier", cell->verifier);
    rm_json_bool(w, "oracle", cell->oracle);
    rm_json_uint(w, "n_problems", report->n_problems);
    rm_json_uint(w, "n_results", report->n_results);
    rm_json_uint(w, "n_seeds", report->n_seeds);
    for (int q = 0; q < RM_N_QUANTITIES; q++)
        put_estimate(w, rm_quantity_describe((rm_quantity)q)->name, &report->quantities[q]);
    put_curves(w, report);
    if (report->calibrated)
        put_calibration(w, &report->calibration);
    rm_json_end(w);
}

static const char *label_of(const rm_analysis *analysis, const rm_task_report *task, int report)
{
    return analysis->records->cells[task->cells[report].cell].label;
}

static void put_families(rm_json_writer *w, const rm_analysis *analysis, const rm_task_report *task)
{
    rm_json_array(w, "families");
    for (size_t i = 0; i < task->n_families; i++) {
        const rm_family *family = &task->families[i];
        rm_json_object(w, NULL);
        rm_json_string(w, "family", family->name);
        rm_json_string(w, "size_name", family->size_name);
        rm_json_array(w, "cells");
        for (size_t j = 0; j < family->n; j++)
            rm_json_string(w, NULL, label_of(analysis, task, family->reports[j]));
        rm_json_end(w);
        rm_json_end(w);
    }
    rm_json_end(w);
}

static void put_comparison(rm_json_writer *w, const rm_analysis *analysis, const rm_comparison *c)
{
    rm_json_object(w, NULL);
    rm_json_string(w, "a", analysis->records->cells[c->a].label);
    rm_json_string(w, "b", analysis->records->cells[c->b].label);
    rm_json_uint(w, "n", c->n);
    rm_json_real(w, "accuracy_a", c->accuracy_a);
    rm_json_real(w, "accuracy_b", c->accuracy_b);
    rm_json_real(w, "only_a", c->only_a);
    rm_json_real(w, "only_b", c->only_b);
    an_json_estimate(w, "difference", &c->difference);
    an_json_estimate(w, "corrected", &c->corrected);
    rm_json_string(w, "test", c->test);
    rm_json_real(w, "p", c->p);
    rm_json_real(w, "p_holm", c->p_holm);
    rm_json_uint(w, "n_family", c->n_family);
    rm_json_real(w, "sd", c->sd);
    rm_json_real(w, "detectable", c->detectable);
    rm_json_real(w, "needed", c->needed);
    rm_json_string(w, "verdict", rm_comparison_verdict(c, analysis->options.level));
    if (analysis->options.margin > 0)
        rm_json_string(w, "equal", rm_verdict_name(c->equal));
    if (analysis->options.direction)
        rm_json_string(w, "claim", rm_verdict_name(rm_comparison_claim(c, &analysis->options)));
    rm_json_end(w);
}

static void put_fronts(rm_json_writer *w, const rm_analysis *analysis, const rm_task_report *task)
{
    static const char *const classes[] = { "plain", "verifier", "oracle" };
    rm_json_array(w, "fronts");
    for (size_t i = 0; i < task->n_fronts; i++) {
        const rm_front *front = &task->fronts[i];
        rm_json_object(w, NULL);
        rm_json_string(w, "cost", rm_quantity_describe(front->cost)->name);
        rm_json_string(w, "class", classes[front->class_]);
        rm_json_array(w, "points");
        for (size_t j = 0; j < front->n; j++) {
            const rm_front_point *point = &front->points[j];
            rm_json_object(w, NULL);
            rm_json_string(w, "cell", label_of(analysis, task, point->report));
            rm_json_real(w, "cost", point->cost);
            rm_json_real(w, "accuracy", point->accuracy);
            rm_json_bool(w, "on_front", point->on_front);
            rm_json_real(w, "probability", point->probability);
            rm_json_end(w);
        }
        rm_json_end(w);
        rm_json_end(w);
    }
    rm_json_end(w);
}

rm_status rm_analysis_json(const rm_analysis *analysis, rm_text *text, rm_error *err)
{
    rm_json_writer writer = { .out = text, .pretty = true }, *w = &writer;
    rm_json_object(w, NULL);
    rm_json_real(w, "level", analysis->options.level);
    rm_json_uint(w, "resamples", analysis->options.resamples);
    rm_json_uint(w, "draws", analysis->options.draws);
    rm_json_uint(w, "seed", analysis->options.seed);
    rm_json_real(w, "margin", analysis->options.margin > 0 ? analysis->options.margin : NAN);
    if (analysis->options.direction)
        rm_json_string(w, "direction", rm_direction_names[analysis->options.direction]);
    rm_json_uint(w, "diversity_k", analysis->options.diversity_k);
    rm_json_uint(w, "recorded", analysis->records->n_results);
    rm_json_uint(w, "missing", analysis->records->n_missing);
    rm_json_array(w, "tasks");
    for (size_t t = 0; t < analysis->n_tasks; t++) {
        const rm_task_report *task = &analysis->tasks[t];
        rm_json_object(w, NULL);
        rm_json_string(w, "task", task->task);
        rm_json_uint(w, "n_problems", task->n_problems);
        rm_json_uint(w, "n_clusters", task->n_clusters);
        rm_json_string(w, "text_unit", task->text_unit);
        rm_json_array(w, "cells");
        for (size_t i = 0; i < task->n_cells; i++)
            put_cell(w, analysis, &task->cells[i]);
        rm_json_end(w);
        put_families(w, analysis, task);
        rm_json_array(w, "comparisons");
        for (size_t i = 0; i < task->n_comparisons; i++)
            put_comparison(w, analysis, &task->comparisons[i]);
        rm_json_end(w);
        rm_json_array(w, "pairs");
        for (size_t i = 0; i < task->n_pairs; i++)
            put_comparison(w, analysis, &task->pairs[i]);
        rm_json_end(w);
        put_fronts(w, analysis, task);
        an_json_curves(w, analysis, task);
        rm_json_end(w);
    }
    rm_json_end(w);
    rm_json_end(w);
    rm_text_puts(text, "\n");
    if (text->failed)
        return rm_fail(err, RM_E_MEMORY, "no memory to write the analysis as JSON");
    return RM_OK;
}
