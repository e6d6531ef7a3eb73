/* test_analyze.c - the whole analysis of a simulated run: structure, fronts, families, JSON. */
#include "base/json.h"
#include "tests/analysis/simulate.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- Pareto ------------------------------------------------------------------------------ */

Test(pareto, by_hand)
{
    const double cost[] = { 1, 2, 3, 2, 4, NAN, 1, 5 };
    const double accuracy[] = { 0.3, 0.5, 0.4, 0.5, 0.6, 0.9, 0.2, 0.6 };
    /* twins at (2, 0.5) do not dominate each other; (1, 0.2) is beaten at equal cost, (5, 0.6) at
     * equal accuracy */
    const bool expected[] = { true, true, false, true, true, false, false, false };
    bool on[8];
    rm_pareto(cost, accuracy, 8, on);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(on[i], expected[i], "point %d", i);
}

/* ---- a simulated run --------------------------------------------------------------------- */

enum { PROBLEMS = 60 };

/* Two tasks; greedy, a sampling sweep, beams that are not exchangeable, and a verified search. */
static void simulate(rm_records *r, const char *const *tasks, int n_tasks)
{
    static const struct {
        const char *label, *strategy;
        size_t n;
        bool exchangeable, verifier;
        double boost;
    } cells[] = {
        { "sampling 8", "sampling", 8, true, false, 0 },
        { "greedy", "greedy", 1, false, false, 0.1 },
        { "sampling 4", "sampling", 4, true, false, 0 },
        { "beam 4", "beam", 4, false, false, 0.2 },
        { "search", "mcts", 4, false, true, 0.3 },
    };
    enum { N = sizeof cells / sizeof *cells };
    sim_source s = { 41, 1, 0 };
    for (int t = 0; t < n_tasks; t++) {
        int index[N];
        for (int c = 0; c < N; c++) {
            index[c] = sim_cell(r, tasks[t], cells[c].label, cells[c].strategy,
                                cells[c].n > 1 ? (double)cells[c].n : NAN, cells[c].exchangeable);
            r->cells[index[c]].verifier = cells[c].verifier;
        }
        for (int p = 0; p < PROBLEMS; p++) {
            int problem = sim_problem(r, tasks[t], p, NULL);
            double q = 0.7 * sim_unit(&s);
            for (int c = 0; c < N; c++) {
                sim_answers a = { .right = q + cells[c].boost, .missing = 0.02, .n_wrong = 4 };
                sim_samples(r, index[c], problem, 0, &a, cells[c].n, &s);
                if (p >= 20)
                    continue;
                for (int repeat = 0; repeat < 3; repeat++) { /* the same outcome, timed */
                    rm_result timed = r->results[r->n_results - 1];
                    timed.timing = RM_TIMING_LATENCY;
                    timed.repeat = repeat;
                    timed.cost.wall_ms = 100 * (double)cells[c].n * (1 + sim_unit(&s));
                    cr_assert_eq(rm_records_add_result(r, &timed, NULL, NULL), RM_OK);
                }
            }
        }
    }
}

static const char *const both[] = { "arithmetic", "countdown" };
static const rm_analysis_options quick = { .resamples = 400, .margin = 0.05 };

static rm_analysis *analyze(const rm_records *r, const rm_analysis_options *o)
{
    rm_analysis *analysis = NULL;
    rm_error err = { "" };
    cr_assert_eq(rm_analyze(r, o, &analysis, &err), RM_OK, "%s", err.text);
    return analysis;
}

Test(analyze, structure)
{
    rm_records r = { 0 };
    simulate(&r, both, 2);
    rm_analysis *analysis = analyze(&r, &quick);
    cr_assert_eq(analysis->n_tasks, 2);
    for (size_t t = 0; t < 2; t++) {
        const rm_task_report *task = &analysis->tasks[t];
        cr_assert_str_eq(task->task, both[t]);
        cr_assert_eq(task->n_problems, PROBLEMS);
        cr_assert_eq(task->n_cells, 5);
        for (size_t c = 0; c < task->n_cells; c++) {
            const rm_cell_report *cell = &task->cells[c];
            cr_assert_eq(rm_analysis_cell(analysis, cell->cell), cell);
            cr_assert_eq(cell->n_problems, PROBLEMS);
            cr_assert_eq(cell->n_results, PROBLEMS + 60);
            cr_assert_eq(cell->n_seeds, 1);
            cr_assert_str_eq(cell->quantities[RM_Q_ACCURACY].method, "Wilson");
            cr_assert_eq(cell->quantities[RM_Q_LATENCY_P50_MS].n, 20);
            cr_assert_eq(cell->quantities[RM_Q_GENERATED_TOKENS].n, PROBLEMS);
            cr_assert_eq(cell->quantities[RM_Q_ENERGY_J].n, 0);
            cr_assert((cell->n_curves > 0) != (cell->refusal != NULL));
        }
        cr_assert(strstr(task->cells[3].refusal, "depend on one another"));
    }
    rm_analysis_free(analysis);
    rm_analysis_free(NULL);
    rm_records_free(&r);
}

/* The report's numbers are those of the single estimators. */
Test(analyze, agrees_with_the_single_estimators)
{
    rm_records r = { 0 };
    simulate(&r, both, 1);
    rm_analysis *analysis = analyze(&r, &quick);
    const rm_task_report *task = &analysis->tasks[0];
    for (size_t c = 0; c < task->n_cells; c++) {
        const rm_cell_report *cell = &task->cells[c];
        for (int q = 0; q < RM_N_QUANTITIES; q++) {
            rm_estimate e;
            const rm_estimate *f = &cell->quantities[q];
            cr_assert_eq(rm_cell_quantity(&r, cell->cell, (rm_quantity)q, &quick, &e, NULL), RM_OK);
            cr_assert(
                (isnan(e.value) && isnan(f->value)) ||
                    (e.value == f->value && e.low == f->low && e.high == f->high && e.n == f->n),
                "%s", rm_quantity_describe((rm_quantity)q)->name);
        }
        for (size_t i = 0; i < cell->n_curves; i++) {
            const rm_subset_curve *curve = &cell->curves[i];
            size_t last = curve->n_points - 1;
            cr_assert_eq(curve->k[last], c == 0 ? 8 : 4);
            for (size_t j = 0; j < curve->n_points; j++) {
                rm_estimate e;
                double se;
                cr_assert_eq(rm_cell_subset(&r, cell->cell, curve->kind, curve->by, curve->k[j],
                                            &quick, &e, &se, NULL),
                             RM_OK);
                cr_assert(e.value == curve->value[j].value && e.low == curve->value[j].low &&
                          se == curve->mc_se[j]);
            }
        }
    }
    rm_analysis_free(analysis);
    rm_records_free(&r);
}

Test(analyze, families_join_sizes_in_order)
{
    rm_records r = { 0 };
    simulate(&r, both, 1);
    rm_analysis *analysis = analyze(&r, &quick);
    const rm_task_report *task = &analysis->tasks[0];
    cr_assert_eq(task->n_families, 4);
    cr_assert_str_eq(task->families[0].name, "sampling");
    cr_assert_eq(task->families[0].n, 2);
    cr_assert_str_eq(r.cells[task->cells[task->families[0].reports[0]].cell].label, "sampling 4");
    cr_assert_str_eq(r.cells[task->cells[task->families[0].reports[1]].cell].label, "sampling 8");
    rm_analysis_free(analysis);
    rm_records_free(&r);
}

Test(analyze, compares_with_the_baseline)
{
    rm_records r = { 0 };
    rm_error err;
    simulate(&r, both, 2);
    rm_analysis *analysis = analyze(&r, &quick);
    cr_assert_eq(analysis->tasks[1].n_comparisons, 4);
    for (size_t i = 0; i < 4; i++) {
        const rm_comparison *c = &analysis->tasks[1].comparisons[i];
        rm_comparison alone;
        cr_assert_str_eq(r.cells[c->b].label, "greedy");
        cr_assert_str_eq(r.cells[c->b].task, "countdown");
        cr_assert_eq(c->n_family, 4);
        cr_assert(c->p_holm >= c->p);
        cr_assert_eq(rm_compare(&r, &c->a, &c->b, 1, &quick, &alone, NULL), RM_OK);
        cr_assert_eq(alone.p, c->p);
    }
    rm_analysis_free(analysis);

    rm_analysis_options o = quick;
    o.baseline = "beam 4";
    analysis = analyze(&r, &o);
    cr_assert_str_eq(r.cells[analysis->tasks[0].comparisons[0].b].label, "beam 4");
    rm_analysis_free(analysis);
    o.baseline = "nobody";
    cr_assert_eq(rm_analyze(&r, &o, &analysis, &err), RM_E_ARGUMENT);
    cr_assert(strstr(err.text, "nobody"));
    rm_records_free(&r);
}

Test(analyze, verified_cells_have_fronts_of_their_own)
{
    rm_records r = { 0 };
    simulate(&r, both, 1);
    rm_analysis *analysis = analyze(&r, &quick);
    const rm_task_report *task = &analysis->tasks[0];
    cr_assert_eq(task->n_fronts, 8); /* four costs, two classes */
    for (size_t i = 0; i < task->n_fronts; i++) {
        const rm_front *front = &task->fronts[i];
        double certain = 0;
        cr_assert_eq(front->n, front->class_ == RM_FRONT_PLAIN ? 4 : 1);
        for (size_t j = 0; j < front->n; j++) {
            const rm_front_point *point = &front->points[j];
            const rm_cell_report *cell = &task->cells[point->report];
            cr_assert_eq(r.cells[cell->cell].verifier, front->class_ == RM_FRONT_VERIFIER);
            cr_assert_eq(point->cost, cell->quantities[front->cost].value);
            cr_assert_eq(point->accuracy, cell->quantities[RM_Q_ACCURACY].value);
            cr_assert(j == 0 || point->cost >= front->points[j - 1].cost);
            cr_assert(point->probability >= 0 && point->probability <= 1);
            certain += point->probability;
        }
        cr_assert(certain >= 1 - 1e-9);       /* some cell is on the front in every resample */
        cr_assert(front->points[0].on_front); /* the cheapest one */
    }
    rm_analysis_free(analysis);
    rm_records_free(&r);
}

/* A cell that is cheaper and better on every problem is on the front for certain, the other not. */
Test(analyze, front_probability_of_a_sure_thing)
{
    rm_records r = { 0 };
    int good = sim_cell(&r, "t", "good", "x", NAN, false);
    int bad = sim_cell(&r, "t", "bad", "x", NAN, false);
    for (int p = 0; p < 30; p++) {
        int problem = sim_problem(&r, "t", p, NULL);
        rm_result x = { .cell = good, .problem = problem, .chosen = -1, .correct = true };
        x.cost.generated_tokens = 10;
        rm_records_add_result(&r, &x, NULL, NULL);
        x.cell = bad;
        x.correct = p % 2;
        x.cost.generated_tokens = 20;
        rm_records_add_result(&r, &x, NULL, NULL);
    }
    rm_analysis *analysis = analyze(&r, &quick);
    for (size_t i = 0; i < analysis->tasks[0].n_fronts; i++) {
        const rm_front *front = &analysis->tasks[0].fronts[i];
        if (front->cost != RM_Q_GENERATED_TOKENS)
            continue;
        cr_assert_eq(front->points[0].probability, 1);
        cr_assert_eq(front->points[1].probability, 0);
        cr_assert_not(front->points[1].on_front);
    }
    rm_analysis_free(analysis);
    rm_records_free(&r);
}

/* ---- JSON -------------------------------------------------------------------------------- */

static char *as_json(const rm_records *r)
{
    rm_analysis *analysis = analyze(r, &quick);
    rm_text text = { 0 };
    cr_assert_eq(rm_analysis_json(analysis, &text, NULL), RM_OK);
    rm_analysis_free(analysis);
    return text.data;
}

Test(analyze, json_is_complete_and_reproducible)
{
    rm_records r = { 0 };
    rm_json *json = NULL;
    rm_error err = { "" };
    simulate(&r, both, 2);
    free(r.cells[1].params);
    r.cells[1].params = strdup("not {json");
    char *text = as_json(&r), *again = as_json(&r);
    cr_assert_str_eq(text, again);
    cr_assert_eq(rm_json_parse(text, strlen(text), "analysis", 1, 0, &json, &err), RM_OK, "%s",
                 err.text);
    const cJSON *tasks = cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "tasks");
    cr_assert_eq(cJSON_GetArraySize(tasks), 2);
    const cJSON *cells = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(tasks, 0), "cells");
    const cJSON *pool = cJSON_GetArrayItem(cells, 0), *beam = cJSON_GetArrayItem(cells, 3);
    static const char *const curves[] = { "pass@k", "maj@k", "weighted_maj@k", "best-of-k" };
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++) {
        cr_assert(cJSON_HasObjectItem(pool, curves[i]), "%s", curves[i]);
        cr_assert_not(cJSON_HasObjectItem(beam, curves[i]));
    }
    cr_assert(cJSON_IsString(cJSON_GetObjectItemCaseSensitive(beam, "subsets_refused")));
    cr_assert(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(pool, "energy_j")));
    cr_assert(cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(pool, "scaling"), "rmse")));
    static const char *const lists[] = { "families", "comparisons", "pairs", "fronts", "trends",
                                         "areas", "area_pairs", "crossings", "equal_passes",
                                         "tunings", "tuning_pairs" };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        cr_assert(cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(tasks, 0),
                                                                 lists[i])),
                  "%s", lists[i]);
    const cJSON *accuracy = cJSON_GetObjectItemCaseSensitive(pool, "accuracy");
    cr_assert(cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(accuracy, "low")));
    const cJSON *odd = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(cells, 1), "params");
    cr_assert(cJSON_IsString(odd));
    rm_json_free(json);
    free(text);
    free(again);
    rm_records_free(&r);
}

/* The order in which results were recorded (a resumed run, say) changes nothing. */
Test(analyze, order_of_results_does_not_matter)
{
    rm_records r = { 0 };
    simulate(&r, both, 1);
    char *forwards = as_json(&r);
    for (size_t i = 0; i < r.n_results / 2; i++) {
        rm_result swap = r.results[i];
        r.results[i] = r.results[r.n_results - 1 - i];
        r.results[r.n_results - 1 - i] = swap;
    }
    char *backwards = as_json(&r);
    cr_assert_str_eq(forwards, backwards);
    free(forwards);
    free(backwards);
    rm_records_free(&r);
}

/* ---- the simulated model as oracle of the whole report ------------------------------------ */

/* |value - truth| within five standard errors, these taken from the interval of 95% itself, which
 * must be narrow enough to mean something. */
static void near_truth(const rm_estimate *e, double truth, const char *what)
{
    double se = (e->high - e->low) / (2 * 1.96);
    cr_assert(se > 0 && se < 0.06 * fabs(truth), "%s: standard error %g of %g", what, se, truth);
    cr_assert_float_eq(e->value, truth, 5 * se, "%s: %g, the truth is %g +- %g", what, e->value,
                       truth, se);
}

/* Two models whose answers have known distributions: everything that rm_analyze says of them has
 * a true value in closed form. */
Test(analyze, of_known_models)
{
    enum { MANY = 1500, SAMPLES = 4 };
    static const sim_answers weak = { .right = 0.35, .missing = 0.2, .n_wrong = 3 },
                             strong = { .right = 0.5, .missing = 0, .n_wrong = 2 };
    rm_records r = { 0 };
    rm_analysis *a = NULL;
    sim_source s = { 31, 4, 0 };
    int base = sim_cell(&r, "t", "greedy", "greedy", NAN, true);
    int pool = sim_cell(&r, "t", "strong", "sampling", SAMPLES, true);
    for (int p = 0; p < MANY; p++) {
        int problem = sim_problem(&r, "t", p, NULL);
        sim_samples(&r, base, problem, 0, &weak, SAMPLES, &s);
        sim_samples(&r, pool, problem, 0, &strong, SAMPLES, &s);
    }
    rm_analysis_options o = { .resamples = 400, .diversity_k = SAMPLES };
    cr_assert_eq(rm_analyze(&r, &o, &a, NULL), RM_OK);
    const rm_estimate *w = rm_analysis_cell(a, base)->quantities,
                      *q = rm_analysis_cell(a, pool)->quantities;
    near_truth(&w[RM_Q_ACCURACY], 0.35, "accuracy");
    near_truth(&w[RM_Q_MISSING], 0.2, "missing");
    /* the tokens are 40 + uniform {0..9} */
    near_truth(&q[RM_Q_TOKENS_PER_CORRECT], 44.5 / 0.5, "tokens per correct");
    /* right 1/2, two wrong answers 1/4 each: sum of 1 - (1 - p)^4 */
    near_truth(&q[RM_Q_DISTINCT_ANSWERS], 15.0 / 16 + 2 * (1 - pow(0.75, 4)), "distinct answers");
    const rm_cell_report *report = rm_analysis_cell(a, pool);
    bool pass = false, vote = false;
    for (size_t c = 0; c < report->n_curves; c++) {
        const rm_subset_curve *curve = &report->curves[c];
        for (size_t k = 0; k < curve->n_points; k++) {
            if (curve->kind == RM_PASS_AT_K) {
                near_truth(&curve->value[k], 1 - pow(0.5, (double)curve->k[k]), "pass@k");
                pass = true;
            }
            /* of 4: 3 or 4 right 5/16; 2 right 3/8: alone if the others differ (1/2), else a tie;
             * 1 right 1/4: the three others are 3:0 or 2:1, and never all different */
            if (curve->kind == RM_MAJ_AT_K && !curve->by && curve->k[k] == 4) {
                near_truth(&curve->value[k], 5.0 / 16 + 3.0 / 8 * (0.5 + 0.25), "maj@4");
                vote = true;
            }
        }
    }
    cr_assert(pass && vote);
    cr_assert_eq(a->tasks[0].n_comparisons, 1);
    const rm_comparison *c = &a->tasks[0].comparisons[0];
    double sign = c->a == pool ? 1 : -1, se = (c->difference.high - c->difference.low) / 3.92;
    cr_assert_float_eq(sign * c->difference.value, 0.15, 5 * se);
    cr_assert_lt(se, 0.02);
    cr_assert_lt(c->p, 1e-6);
    rm_analysis_free(a);
    rm_records_free(&r);
}

Test(analyze, nothing_to_analyse)
{
    rm_records r = { 0 };
    rm_analysis *analysis = NULL;
    rm_error err;
    cr_assert_eq(rm_analyze(&r, NULL, &analysis, &err), RM_E_ARGUMENT);
    sim_cell(&r, "t", "x", "x", NAN, false);
    cr_assert_eq(rm_analyze(&r, NULL, &analysis, &err), RM_E_ARGUMENT);
    cr_assert_null(analysis);
    rm_records_free(&r);
}

/* One problem, one failed result: everything is defined, nothing is invented. */
Test(analyze, smallest_run)
{
    rm_records r = { 0 };
    int cell = sim_cell(&r, "t", "x", "x", NAN, true);
    rm_result failed = { .cell = cell,
                         .problem = sim_problem(&r, "t", 0, NULL),
                         .failed = true,
                         .chosen = -1,
                         .timing = RM_TIMING_LATENCY };
    failed.cost.wall_ms = 5;
    failed.cost.ttft_ms = NAN;
    rm_records_add_result(&r, &failed, NULL, NULL);
    rm_analysis *analysis = analyze(&r, &quick);
    const rm_cell_report *report = rm_analysis_cell(analysis, cell);
    cr_assert_eq(report->quantities[RM_Q_ACCURACY].value, 0);
    cr_assert_float_eq(report->quantities[RM_Q_ACCURACY].high, 0.7935, 5e-5); /* Wilson 0/1 */
    cr_assert_eq(report->quantities[RM_Q_FAILED].value, 1);
    cr_assert(isnan(report->quantities[RM_Q_MISSING].value));
    cr_assert(isnan(report->quantities[RM_Q_TTFT_P50_MS].value));
    cr_assert_not(report->calibrated);
    cr_assert_not_null(report->refusal);
    cr_assert_eq(analysis->tasks[0].n_comparisons, 0);
    rm_analysis_free(analysis);
    rm_records_free(&r);
}

Test(analyze, every_quantity_is_described)
{
    for (int q = 0; q < RM_N_QUANTITIES; q++) {
        const rm_quantity_info *info = rm_quantity_describe((rm_quantity)q);
        cr_assert(info && info->name && info->title && info->unit, "quantity %d", q);
        for (int other = 0; other < q; other++)
            cr_assert_str_neq(info->name, rm_quantity_describe((rm_quantity)other)->name);
    }
    cr_assert_null(rm_quantity_describe(RM_N_QUANTITIES));
}
