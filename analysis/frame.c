/* frame.c - orders one task's results for resampling, and turns results into columns.
 *
 * internal.h says what frames and columns are. Clusters are compared by name, a problem without
 * one is its own; results of one unit (repeats of latency mode, or the same cell measured in both
 * modes) lie side by side, so that an average over them is one pass. */
#include "analysis/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- building ---------------------------------------------------------------------------- */

/* One result on its way into the frame. */
typedef struct row {
    const char *cluster; /* NULL: the problem itself */
    int problem, cell;
    uint64_t seed;
    size_t index, unit;
    const rm_result *result;
} row;

static int compare_problems(const row *a, const row *b)
{
    /* Lone problems first, by index; then by cluster. */
    if (!a->cluster != !b->cluster)
        return a->cluster ? 1 : -1;
    int order = a->cluster ? strcmp(a->cluster, b->cluster) : 0;
    return order ? order : (a->problem > b->problem) - (a->problem < b->problem);
}

static int by_unit(const void *left, const void *right)
{
    const row *a = left, *b = right;
    int order = compare_problems(a, b);
    if (!order)
        order = (a->seed > b->seed) - (a->seed < b->seed);
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

static int by_cell(const void *left, const void *right)
{
    const row *a = left, *b = right;
    int order = (a->cell > b->cell) - (a->cell < b->cell);
    if (!order)
        order = (a->unit > b->unit) - (a->unit < b->unit);
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

/* Numbers units, problems and clusters of rows sorted by unit. */
static void number_units(an_frame *frame, row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool new_problem = i == 0 || rows[i].problem != rows[i - 1].problem;
        bool new_cluster = new_problem && (i == 0 || !rows[i].cluster || !rows[i - 1].cluster ||
                                           strcmp(rows[i].cluster, rows[i - 1].cluster) != 0);
        if (new_cluster)
            frame->cluster_first[frame->n_clusters++] = frame->n_problems;
        if (new_problem) {
            frame->problem_first[frame->n_problems] = frame->n_units;
            frame->problem[frame->n_problems++] = rows[i].problem;
        }
        if (new_problem || rows[i].seed != rows[i - 1].seed)
            frame->unit_problem[frame->n_units++] = frame->n_problems - 1;
        rows[i].unit = frame->n_units - 1;
    }
    frame->cluster_first[frame->n_clusters] = frame->n_problems;
    frame->problem_first[frame->n_problems] = frame->n_units;
}

/* Lists every cell's entries from rows sorted by cell. */
static void list_cells(an_frame *frame, const row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || rows[i].cell != rows[i - 1].cell) {
            frame->cell[frame->n_cells] = rows[i].cell;
            frame->cell_first[frame->n_cells++] = i;
        }
        frame->entries[i] = (an_entry){ rows[i].unit, rows[i].result };
    }
    frame->cell_first[frame->n_cells] = n;
}

static size_t gather(const rm_records *records, const char *task, row *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < records->n_results; i++) {
        const rm_result *result = &records->results[i];
        const rm_problem_key *problem = &records->problems[result->problem];
        if (strcmp(problem->task, task) != 0)
            continue;
        if (rows)
            rows[n] = (row){ .cluster = problem->cluster,
                             .problem = result->problem,
                             .cell = result->cell,
                             .seed = result->seed,
                             .index = i,
                             .result = result };
        n++;
    }
    return n;
}

rm_status an_frame_new(const rm_records *records, const char *task, an_frame **out, rm_error *err)
{
    size_t n = gather(records, task, NULL);
    if (n == 0)
        return rm_fail(err, RM_E_ARGUMENT, "task %s has no results to analyse", task);

    rm_status status = RM_OK;
    row *rows = calloc(n, sizeof *rows);
    an_frame *frame = calloc(1, sizeof *frame);
    if (!rows || !frame)
        goto no_memory;
    frame->records = records;
    frame->task = task;
    frame->problem = calloc(n, sizeof *frame->problem);
    frame->cluster_first = calloc(n + 1, sizeof *frame->cluster_first);
    frame->problem_first = calloc(n + 1, sizeof *frame->problem_first);
    frame->unit_problem = calloc(n, sizeof *frame->unit_problem);
    frame->cell = calloc(n, sizeof *frame->cell);
    frame->cell_first = calloc(n + 1, sizeof *frame->cell_first);
    frame->entries = calloc(n, sizeof *frame->entries);
    if (!frame->problem || !frame->cluster_first || !frame->problem_first || !frame->unit_problem ||
        !frame->cell || !frame->cell_first || !frame->entries)
        goto no_memory;

    gather(records, task, rows);
    qsort(rows, n, sizeof *rows, by_unit);
    number_units(frame, rows, n);
    qsort(rows, n, sizeof *rows, by_cell);
    list_cells(frame, rows, n);
    *out = frame;
    frame = NULL;
    goto done;

no_memory:
    status = rm_fail(err, RM_E_MEMORY, "no memory to analyse the %zu results of task %s", n, task);
done:
    an_frame_free(frame);
    free(rows);
    return status;
}

void an_frame_free(an_frame *frame)
{
    if (!frame)
        return;
    free(frame->problem);
    free(frame->cluster_first);
    free(frame->problem_first);
    free(frame->unit_problem);
    free(frame->cell);
    free(frame->cell_first);
    free(frame->entries);
    free(frame->drawn);
    free(frame);
}

rm_status an_frame_of_cell(const rm_records *records, int cell, an_frame **out, rm_error *err)
{
    if (cell < 0 || (size_t)cell >= records->n_cells)
        return rm_fail(err, RM_E_ARGUMENT, "there is no cell %d among %zu", cell, records->n_cells);
    an_frame *frame;
    rm_status status = an_frame_new(records, records->cells[cell].task, &frame, err);
    if (status)
        return status;
    if (an_frame_find(frame, cell) < 0) {
        an_frame_free(frame);
        return rm_fail(err, RM_E_ARGUMENT, "cell \"%s\" of task %s has no results",
                       records->cells[cell].label, records->cells[cell].task);
    }
    *out = frame;
    return RM_OK;
}

int an_frame_find(const an_frame *frame, int cell)
{
    for (size_t i = 0; i < frame->n_cells; i++)
        if (frame->cell[i] == cell)
            return (int)i;
    return -1;
}

/* ---- columns ----------------------------------------------------------------------------- */

rm_status an_column_new(const an_frame *frame, an_column *column, rm_error *err)
{
    column->num = calloc(frame->n_units, sizeof *column->num);
    column->den = calloc(frame->n_units, sizeof *column->den);
    if (column->num && column->den)
        return RM_OK;
    an_column_free(column);
    return rm_fail(err, RM_E_MEMORY, "no memory for a statistic over %zu results", frame->n_units);
}

void an_column_free(an_column *column)
{
    free(column->num);
    free(column->den);
    *column = (an_column){ 0 };
}

/* In a ratio a unit may have cost but nothing correct: num > 0, den 0. */
static bool has_data(const an_column *column, size_t unit)
{
    return column->num[unit] > 0 || column->den[unit] > 0;
}

/* Divides every unit by the number of units of its problem that have data. */
static void weigh_problems(const an_frame *frame, an_column *column)
{
    for (size_t p = 0; p < frame->n_problems; p++) {
        size_t first = frame->problem_first[p], end = frame->problem_first[p + 1], m = 0;
        for (size_t u = first; u < end; u++)
            m += has_data(column, u);
        for (size_t u = first; u < end && m > 1; u++) {
            column->num[u] /= (double)m;
            column->den[u] /= (double)m;
        }
    }
}

void an_column_mean(const an_frame *frame, int cell_at, an_result_value *value, an_column *column)
{
    memset(column->num, 0, frame->n_units * sizeof *column->num);
    memset(column->den, 0, frame->n_units * sizeof *column->den);
    const an_entry *e = frame->entries + frame->cell_first[cell_at];
    const an_entry *end = frame->entries + frame->cell_first[cell_at + 1];
    const rm_cell *cell = &frame->records->cells[frame->cell[cell_at]];
    for (; e < end; e++) {
        double x = value(e->result, cell);
        if (isnan(x))
            continue;
        column->num[e->unit] += x;
        column->den[e->unit] += 1;
    }
    for (size_t u = 0; u < frame->n_units; u++)
        if (column->den[u] > 0) {
            column->num[u] /= column->den[u];
            column->den[u] = 1;
        }
    weigh_problems(frame, column);
}

void an_column_ratio(const an_frame *frame, int cell_at, an_result_value *num, an_result_value *den,
                     an_column *column)
{
    memset(column->num, 0, frame->n_units * sizeof *column->num);
    memset(column->den, 0, frame->n_units * sizeof *column->den);
    size_t end = frame->cell_first[cell_at + 1];
    const rm_cell *cell = &frame->records->cells[frame->cell[cell_at]];
    for (size_t i = frame->cell_first[cell_at]; i < end;) {
        size_t u = frame->entries[i].unit, repeats = 0;
        for (; i < end && frame->entries[i].unit == u; i++) {
            double x = num(frame->entries[i].result, cell);
            double y = den(frame->entries[i].result, cell);
            if (isnan(x) || isnan(y))
                continue;
            column->num[u] += x;
            column->den[u] += y;
            repeats++;
        }
        if (repeats > 1) {
            column->num[u] /= (double)repeats;
            column->den[u] /= (double)repeats;
        }
    }
    weigh_problems(frame, column);
}

void an_column_from_problems(const an_frame *frame, const double *value, an_column *column)
{
    for (size_t p = 0; p < frame->n_problems; p++) {
        size_t first = frame->problem_first[p], end = frame->problem_first[p + 1];
        for (size_t u = first; u < end; u++) {
            bool has = !isnan(value[p]);
            column->den[u] = has ? 1 / (double)(end - first) : 0;
            column->num[u] = has ? value[p] / (double)(end - first) : 0;
        }
    }
}

double an_column_problem(const an_frame *frame, const an_column *column, size_t problem)
{
    double num = 0, den = 0;
    for (size_t u = frame->problem_first[problem]; u < frame->problem_first[problem + 1]; u++) {
        num += column->num[u];
        den += column->den[u];
    }
    return den > 0 ? num / den : NAN;
}

double an_column_value(const an_frame *frame, const an_column *column)
{
    double num = 0, den = 0;
    for (size_t u = 0; u < frame->n_units; u++) {
        num += column->num[u];
        den += column->den[u];
    }
    return den > 0 ? num / den : NAN;
}

size_t an_column_problems(const an_frame *frame, const an_column *column)
{
    size_t n = 0;
    for (size_t p = 0; p < frame->n_problems; p++) {
        bool has = false;
        for (size_t u = frame->problem_first[p]; u < frame->problem_first[p + 1]; u++)
            has = has || has_data(column, u);
        n += has;
    }
    return n;
}
