/* analyze.c - everything about one set of records: per task a report of every cell, the families
 * its curves join, every cell against its baseline, the stated pairs, the Pareto fronts, and what
 * the curves say together: trends, areas, crossings, equal tuning.
 *
 * All statistics of a task come from the same resamples of its problems (bootstrap.c). */
#include "analysis/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- one cell ---------------------------------------------------------------------------- */

static void count_results(const an_frame *frame, int at, rm_cell_report *report)
{
    size_t last_problem = SIZE_MAX, last_unit = SIZE_MAX, units = 0;
    for (size_t i = frame->cell_first[at]; i < frame->cell_first[at + 1]; i++) {
        size_t unit = frame->entries[i].unit, problem = frame->unit_problem[unit];
        report->n_results++;
        if (problem != last_problem) {
            report->n_problems++;
            units = 0;
        }
        if (unit != last_unit && ++units > report->n_seeds)
            report->n_seeds = units;
        last_problem = problem;
        last_unit = unit;
    }
}

static an_kind kind_of(rm_quantity quantity)
{
    return rm_quantity_describe(quantity)->share ? AN_SHARE : AN_MEAN;
}

static rm_status add_means(const an_frame *frame, int at, rm_cell_report *report, an_jobs *jobs,
                           rm_error *err)
{
    rm_status status = RM_OK;
    for (int q = 0; q < RM_N_QUANTITIES && !status; q++) {
        an_column column = { 0 };
        bool has;
        status = an_quantity_column(frame, at, (rm_quantity)q, &column, &has, err);
        if (!status && has)
            status =
                an_jobs_add(jobs, &column, kind_of((rm_quantity)q), &report->quantities[q], err);
    }
    return status;
}

static rm_status add_diversity(const an_frame *frame, int at, const rm_analysis_options *options,
                               rm_cell_report *report, an_jobs *jobs, rm_error *err)
{
    double *values[AN_N_DIVERSITY];
    rm_status status = an_diversity_new(frame, at, options, values, err);
    if (status)
        return status;
    for (int i = 0; i < AN_N_DIVERSITY && !status; i++) {
        an_column column = { 0 };
        rm_quantity q = (rm_quantity)(RM_Q_DISTINCT_ANSWERS + i);
        status = an_column_new(frame, &column, err);
        if (status)
            break;
        an_column_from_problems(frame, values[i], &column);
        status = an_jobs_add(jobs, &column, kind_of(q), &report->quantities[q], err);
    }
    an_diversity_free(values);
    return status;
}

static rm_status report_quantiles(const an_frame *frame, int at, const rm_analysis_options *options,
                                  rm_cell_report *report, rm_error *err)
{
    rm_status status = RM_OK;
    an_result_value *value;
    double q;
    for (int i = 0; i < RM_N_QUANTITIES && !status; i++)
        if (an_quantity_quantile((rm_quantity)i, &value, &q))
            status = an_quantile(frame, at, value, q, options, &report->quantities[i], err);
    return status;
}

/* Takes the columns of one curve out of the jobs, so that they outlive them. */
static rm_status keep_curve(const rm_subset_curve *curve, an_jobs *jobs,
                            const rm_subset_curve **kept, an_column **columns, rm_error *err)
{
    *columns = calloc(curve->n_points, sizeof **columns);
    if (!*columns)
        return rm_fail(err, RM_E_MEMORY, "no memory for a curve of %zu points", curve->n_points);
    *kept = curve;
    for (size_t i = 0; i < curve->n_points; i++)
        an_jobs_take(jobs, &curve->value[i], &(*columns)[i]);
    return RM_OK;
}

static rm_status keep_curves(const rm_cell_report *report, an_jobs *jobs, an_kept *kept,
                             rm_error *err)
{
    rm_status status = RM_OK;
    for (size_t i = 0; i < report->n_curves && !status; i++) {
        const rm_subset_curve *curve = &report->curves[i];
        if (curve->kind == RM_PASS_AT_K)
            status = keep_curve(curve, jobs, &kept->pass, &kept->pass_column, err);
        else if (curve->kind == RM_MAJ_AT_K && !curve->by)
            status = keep_curve(curve, jobs, &kept->maj, &kept->maj_column, err);
    }
    return status;
}

void an_kept_free(an_kept *kept, size_t n)
{
    for (size_t c = 0; kept && c < n; c++) {
        for (size_t i = 0; kept[c].pass_column && i < kept[c].pass->n_points; i++)
            an_column_free(&kept[c].pass_column[i]);
        for (size_t i = 0; kept[c].maj_column && i < kept[c].maj->n_points; i++)
            an_column_free(&kept[c].maj_column[i]);
        free(kept[c].pass_column);
        free(kept[c].maj_column);
    }
    free(kept);
}

static rm_status report_cell(const an_frame *frame, int at, const rm_analysis_options *options,
                             rm_cell_report *report, an_kept *kept, rm_error *err)
{
    an_jobs jobs = { 0 };
    report->cell = frame->cell[at];
    count_results(frame, at, report);
    rm_status status = add_means(frame, at, report, &jobs, err);
    if (!status)
        status = add_diversity(frame, at, options, report, &jobs, err);
    if (!status)
        status = an_curves(frame, at, options, report, &jobs, err);
    if (!status)
        status = an_jobs_run(frame, &jobs, options, err);
    if (!status)
        status = keep_curves(report, &jobs, kept, err);
    if (!status)
        status = an_scaling(frame, kept, options, &report->scaling, err);
    if (!status)
        status = report_quantiles(frame, at, options, report, err);
    if (!status)
        status = an_calibration(frame, at, options, &report->calibration, &report->calibrated, err);
    an_jobs_free(&jobs);
    return status;
}

/* ---- families ---------------------------------------------------------------------------- */

static rm_status report_families(const an_frame *frame, rm_task_report *task, rm_error *err)
{
    const rm_cell *cells = frame->records->cells;
    task->families = calloc(frame->n_cells, sizeof *task->families);
    if (!task->families)
        return rm_fail(err, RM_E_MEMORY, "no memory for the families of task %s", task->task);
    for (size_t i = 0; i < frame->n_cells; i++) {
        const rm_cell *cell = &cells[frame->cell[i]];
        size_t f = 0;
        while (f < task->n_families && strcmp(task->families[f].name, cell->family) != 0)
            f++;
        rm_family *family = &task->families[f];
        if (f == task->n_families) {
            task->n_families++;
            family->name = cell->family;
            family->size_name = cell->size_name;
            family->reports = calloc(frame->n_cells, sizeof *family->reports);
            if (!family->reports)
                return rm_fail(err, RM_E_MEMORY, "no memory for the family %s", cell->family);
        }
        size_t place = family->n++; /* insertion keeps equal and missing sizes in record order */
        while (place > 0 && cells[frame->cell[family->reports[place - 1]]].size > cell->size) {
            family->reports[place] = family->reports[place - 1];
            place--;
        }
        family->reports[place] = (int)i;
    }
    return RM_OK;
}

/* ---- comparisons ------------------------------------------------------------------------- */

static bool common_problem(const an_frame *frame, int a, int b)
{
    size_t i = frame->cell_first[a], j = frame->cell_first[b];
    while (i < frame->cell_first[a + 1] && j < frame->cell_first[b + 1]) {
        size_t p = frame->unit_problem[frame->entries[i].unit];
        size_t q = frame->unit_problem[frame->entries[j].unit];
        if (p == q)
            return true;
        p < q ? i++ : j++;
    }
    return false;
}

int an_baseline_of(const an_frame *frame, int at, const char *label)
{
    const rm_cell *cells = frame->records->cells;
    int greedy = -1, same_model = -1;
    for (int i = (int)frame->n_cells - 1; i >= 0; i--) { /* backwards: the first one stays */
        const rm_cell *cell = &cells[frame->cell[i]];
        if (label && strcmp(cell->label, label) == 0)
            return i;
        if (strcmp(cell->strategy, "greedy") != 0)
            continue;
        greedy = i;
        if (strcmp(cell->model, cells[frame->cell[at]].model) == 0)
            same_model = i;
    }
    return same_model >= 0 ? same_model : greedy >= 0 ? greedy : 0;
}

int an_cell_named(const an_frame *frame, const char *label)
{
    for (int i = 0; i < (int)frame->n_cells; i++)
        if (strcmp(frame->records->cells[frame->cell[i]].label, label) == 0)
            return i;
    return -1;
}

/* A pair of positions that can be compared. */
typedef struct duel {
    int a, b;
} duel;

/* duels[n_cells]: every cell against its baseline. */
static size_t list_baselines(const an_frame *frame, const rm_analysis_options *options, duel *duels)
{
    size_t n = 0;
    for (int i = 0; i < (int)frame->n_cells; i++) {
        int b = an_baseline_of(frame, i, options->baseline);
        if (b != i && common_problem(frame, i, b))
            duels[n++] = (duel){ i, b };
    }
    return n;
}

/* duels[n_pairs]: the stated pairs whose cells this task has. */
static size_t list_stated(const an_frame *frame, const rm_analysis_options *options, duel *duels)
{
    size_t n = 0;
    for (size_t i = 0; i < options->n_pairs; i++) {
        int a = an_cell_named(frame, options->pairs[i].a),
            b = an_cell_named(frame, options->pairs[i].b);
        if (a >= 0 && b >= 0 && a != b && common_problem(frame, a, b))
            duels[n++] = (duel){ a, b };
    }
    return n;
}

/* One family: `list` fills at most `most` duels. */
static rm_status report_family(const an_frame *frame, const rm_analysis_options *options,
                               size_t (*list)(const an_frame *, const rm_analysis_options *,
                                              duel *),
                               size_t most, rm_comparison **comparisons, size_t *n_comparisons,
                               rm_error *err)
{
    rm_status status = RM_OK;
    duel *duels = calloc(most + 1, sizeof *duels);
    int *cells = calloc(most + 1, sizeof *cells);
    int *baselines = calloc(most + 1, sizeof *baselines);
    rm_comparison *out = calloc(most + 1, sizeof *out);
    if (!duels || !cells || !baselines || !out) {
        status = rm_fail(err, RM_E_MEMORY, "no memory for %zu comparisons", most);
        goto done;
    }
    size_t n = list(frame, options, duels);
    for (size_t i = 0; i < n; i++) {
        cells[i] = frame->cell[duels[i].a];
        baselines[i] = frame->cell[duels[i].b];
    }
    status = an_compare(frame, cells, baselines, n, n, options, out, err);
    if (!status)
        status = an_holm(out, n, err);
    if (!status) {
        *comparisons = out;
        *n_comparisons = n;
        out = NULL;
    }
done:
    free(duels);
    free(cells);
    free(baselines);
    free(out);
    return status;
}

static rm_status report_comparisons(const an_frame *frame, const rm_analysis_options *options,
                                    rm_task_report *task, rm_error *err)
{
    rm_status status = report_family(frame, options, list_baselines, frame->n_cells,
                                     &task->comparisons, &task->n_comparisons, err);
    if (!status && options->n_pairs)
        status = report_family(frame, options, list_stated, options->n_pairs, &task->pairs,
                               &task->n_pairs, err);
    return status;
}

/* ---- one task ---------------------------------------------------------------------------- */

static rm_status report_task(const rm_records *records, const char *name,
                             const rm_analysis_options *options, rm_task_report *task,
                             rm_error *err)
{
    an_frame *frame = NULL;
    task->task = name;
    rm_status status = an_frame_new(records, name, &frame, err);
    if (status)
        return status;
    an_frame_draw(frame, options);
    task->n_problems = frame->n_problems;
    task->n_clusters = frame->n_clusters;
    task->text_unit = an_texts_have_words(frame) ? "words" : "characters";
    task->cells = calloc(frame->n_cells, sizeof *task->cells);
    an_kept *kept = calloc(frame->n_cells, sizeof *kept);
    if (!task->cells || !kept)
        status = rm_fail(err, RM_E_MEMORY, "no memory for %zu cells", frame->n_cells);
    for (size_t i = 0; i < frame->n_cells && !status; i++) {
        task->n_cells = i + 1;
        status = report_cell(frame, (int)i, options, &task->cells[i], &kept[i], err);
        if (status)
            rm_fail_within(err, status, "%s", records->cells[frame->cell[i]].label);
    }
    if (!status)
        status = report_families(frame, task, err);
    if (!status)
        status = report_comparisons(frame, options, task, err);
    if (!status)
        status = an_fronts(frame, options, task, err);
    if (!status)
        status = an_trends(frame, options, task, err);
    if (!status)
        status = an_areas(frame, options, task, err);
    if (!status)
        status = an_crossings(frame, kept, options, task, err);
    if (!status)
        status = an_tunings(frame, options, task, err);
    if (!status)
        status = an_claims(frame, options, task, err);
    an_kept_free(kept, frame->n_cells);
    an_frame_free(frame);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------- */

static bool task_has_results(const rm_records *records, const char *task)
{
    for (size_t i = 0; i < records->n_results; i++)
        if (strcmp(records->problems[records->results[i].problem].task, task) == 0)
            return true;
    return false;
}

/* Tasks with results, in the order of their first cell; names live in the records. */
static size_t list_tasks(const rm_records *records, const char **names)
{
    size_t n = 0;
    for (size_t i = 0; i < records->n_cells; i++) {
        const char *task = records->cells[i].task;
        size_t at = 0;
        while (at < n && strcmp(names[at], task) != 0)
            at++;
        if (at == n && task_has_results(records, task))
            names[n++] = task;
    }
    return n;
}

static rm_status check_label(const rm_records *records, const char *label, const char *what,
                             rm_error *err)
{
    const char *near = NULL;
    int best = (int)(strlen(label) % 1000) / 2 + 2; /* farther off is no slip */
    for (size_t i = 0; i < records->n_cells; i++) {
        int distance = rm_word_distance(label, records->cells[i].label);
        if (distance == 0)
            return RM_OK;
        if (distance < best) {
            best = distance;
            near = records->cells[i].label;
        }
    }
    return rm_fail(err, RM_E_ARGUMENT, "no cell is called \"%s\", %s%s%s%s", label, what,
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

/* Labels that are stated must exist. */
static rm_status check_labels(const rm_records *records, const rm_analysis_options *options,
                              rm_error *err)
{
    rm_status status = options->baseline ? check_label(records, options->baseline,
                                                       "the stated baseline", err)
                                         : RM_OK;
    for (size_t i = 0; i < options->n_pairs && !status; i++) {
        status = check_label(records, options->pairs[i].a, "which a comparison names", err);
        if (!status)
            status = check_label(records, options->pairs[i].b, "which a comparison names", err);
    }
    return status;
}

rm_status rm_analyze(const rm_records *records, const rm_analysis_options *given, rm_analysis **out,
                     rm_error *err)
{
    rm_analysis_options options;
    rm_status status = an_options(given, &options, err);
    if (!status)
        status = check_labels(records, &options, err);
    if (status)
        return status;
    if (records->n_results == 0)
        return rm_fail(err, RM_E_ARGUMENT, "the records hold no results to analyse");

    rm_analysis *analysis = calloc(1, sizeof *analysis);
    const char **names = calloc(records->n_cells, sizeof *names);
    if (!analysis || !names) {
        status = rm_fail(err, RM_E_MEMORY, "no memory for an analysis");
        goto done;
    }
    analysis->records = records;
    analysis->options = options;
    size_t n = list_tasks(records, names);
    analysis->tasks = calloc(n, sizeof *analysis->tasks);
    if (!analysis->tasks) {
        status = rm_fail(err, RM_E_MEMORY, "no memory for %zu tasks", n);
        goto done;
    }
    for (size_t i = 0; i < n && !status; i++) {
        analysis->n_tasks = i + 1;
        status = report_task(records, names[i], &options, &analysis->tasks[i], err);
    }
    if (!status) {
        *out = analysis;
        analysis = NULL;
    }
done:
    rm_analysis_free(analysis);
    free(names);
    return status;
}

static void cell_report_free(rm_cell_report *report)
{
    for (size_t i = 0; i < report->n_curves; i++) {
        free(report->curves[i].by);
        free(report->curves[i].k);
        free(report->curves[i].value);
        free(report->curves[i].mc_se);
    }
    free(report->curves);
    free(report->refusal);
}

void rm_analysis_free(rm_analysis *analysis)
{
    if (!analysis)
        return;
    for (size_t t = 0; t < analysis->n_tasks; t++) {
        rm_task_report *task = &analysis->tasks[t];
        for (size_t i = 0; i < task->n_cells; i++)
            cell_report_free(&task->cells[i]);
        for (size_t i = 0; i < task->n_families; i++)
            free(task->families[i].reports);
        for (size_t i = 0; i < task->n_fronts; i++)
            free(task->fronts[i].points);
        free(task->cells);
        free(task->families);
        free(task->comparisons);
        free(task->pairs);
        free(task->fronts);
        for (size_t i = 0; i < task->n_tunings; i++) {
            free(task->tunings[i].reports);
            free(task->tunings[i].value);
        }
        free(task->trends);
        free(task->areas);
        free(task->area_pairs);
        free(task->crossings);
        free(task->passes);
        free(task->tunings);
        free(task->tuning_pairs);
        free(task->claims);
    }
    free(analysis->tasks);
    free(analysis);
}

const rm_cell_report *rm_analysis_cell(const rm_analysis *analysis, int cell)
{
    for (size_t t = 0; t < analysis->n_tasks; t++)
        for (size_t i = 0; i < analysis->tasks[t].n_cells; i++)
            if (analysis->tasks[t].cells[i].cell == cell)
                return &analysis->tasks[t].cells[i];
    return NULL;
}
