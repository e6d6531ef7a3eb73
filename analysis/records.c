/* records.c - the recorded outcomes in memory: copied in, appended, freed.
 *
 * The three arrays grow by doubling: their capacity is the smallest power of two that is at least
 * their length, so that the public struct needs no capacity fields. */
#include "analysis/internal.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- copies ------------------------------------------------------------------------------ */

/* Makes room for one more element behind n; the array's capacity follows from n (see above). */
static bool grow(void **array, size_t n, size_t size)
{
    if (n & (n - 1)) /* not a power of two: there is room */
        return true;
    size_t capacity = n ? 2 * n : 1;
    if (capacity > SIZE_MAX / size)
        return false;
    void *bigger = realloc(*array, capacity * size);
    if (!bigger)
        return false;
    *array = bigger;
    return true;
}

/* Copies `from` (NULL stays NULL); clears *ok without memory. */
static char *copy(const char *from, bool *ok)
{
    if (!from)
        return NULL;
    char *to = strdup(from);
    if (!to)
        *ok = false;
    return to;
}

static void cell_free(rm_cell *cell)
{
    free(cell->model);
    free(cell->task);
    free(cell->strategy);
    free(cell->params);
    free(cell->label);
    free(cell->family);
    free(cell->size_name);
}

static void problem_free(rm_problem_key *problem)
{
    free(problem->task);
    free(problem->id);
    free(problem->cluster);
    free(problem->level);
}

static void sample_free(rm_sample *sample)
{
    free(sample->text);
    free(sample->answer);
    for (size_t i = 0; i < sample->n_scores; i++)
        free(sample->scores[i].name);
    free(sample->scores);
}

static void result_free(rm_result *result)
{
    for (size_t i = 0; i < result->n_samples; i++)
        sample_free(&result->samples[i]);
    free(result->samples);
}

static bool sample_copy(const rm_sample *from, rm_sample *to)
{
    bool ok = true;
    *to = *from;
    to->text = copy(from->text, &ok);
    to->answer = copy(from->answer, &ok);
    to->scores = NULL;
    to->n_scores = 0;
    if (from->n_scores) {
        to->scores = calloc(from->n_scores, sizeof *to->scores);
        if (!to->scores)
            return false;
        to->n_scores = from->n_scores;
        for (size_t i = 0; i < from->n_scores; i++) {
            to->scores[i].name = copy(from->scores[i].name, &ok);
            to->scores[i].value = from->scores[i].value;
        }
    }
    return ok;
}

/* ---- appending --------------------------------------------------------------------------- */

static rm_status no_memory(rm_error *err)
{
    return rm_fail(err, RM_E_MEMORY, "no memory for one more record");
}

rm_status rm_records_add_cell(rm_records *records, const rm_cell *cell, int *index, rm_error *err)
{
    if (!cell->model || !cell->task || !cell->strategy || !cell->label)
        return rm_fail(err, RM_E_ARGUMENT,
                       "a cell needs a model, a task, a strategy and a label; \"%s\" lacks one",
                       cell->label ? cell->label : "(no label)");
    if (records->n_cells >= INT_MAX)
        return rm_fail(err, RM_E_ARGUMENT, "records hold at most %d cells", INT_MAX);
    if (!grow((void **)&records->cells, records->n_cells, sizeof *records->cells))
        return no_memory(err);

    bool ok = true;
    rm_cell made = *cell;
    made.model = copy(cell->model, &ok);
    made.task = copy(cell->task, &ok);
    made.strategy = copy(cell->strategy, &ok);
    made.params = copy(cell->params ? cell->params : "{}", &ok);
    made.label = copy(cell->label, &ok);
    made.family = copy(cell->family ? cell->family : cell->label, &ok);
    made.size_name = copy(cell->size_name, &ok);
    if (!ok) {
        cell_free(&made);
        return no_memory(err);
    }
    if (index)
        *index = (int)records->n_cells;
    records->cells[records->n_cells++] = made;
    return RM_OK;
}

rm_status rm_records_add_problem(rm_records *records, const rm_problem_key *problem, int *index,
                                 rm_error *err)
{
    if (!problem->task || !problem->id)
        return rm_fail(err, RM_E_ARGUMENT, "a problem needs a task and an id; \"%s\" lacks one",
                       problem->id ? problem->id : "(no id)");
    if (records->n_problems >= INT_MAX)
        return rm_fail(err, RM_E_ARGUMENT, "records hold at most %d problems", INT_MAX);
    if (!grow((void **)&records->problems, records->n_problems, sizeof *records->problems))
        return no_memory(err);

    bool ok = true;
    rm_problem_key made = { copy(problem->task, &ok), copy(problem->id, &ok),
                            copy(problem->cluster, &ok), copy(problem->level, &ok) };
    if (!ok) {
        problem_free(&made);
        return no_memory(err);
    }
    if (index)
        *index = (int)records->n_problems;
    records->problems[records->n_problems++] = made;
    return RM_OK;
}

static rm_status result_check(const rm_records *records, const rm_result *result, rm_error *err)
{
    if (result->cell < 0 || (size_t)result->cell >= records->n_cells)
        return rm_fail(err, RM_E_ARGUMENT, "a result names cell %d of %zu", result->cell,
                       records->n_cells);
    if (result->problem < 0 || (size_t)result->problem >= records->n_problems)
        return rm_fail(err, RM_E_ARGUMENT, "a result names problem %d of %zu", result->problem,
                       records->n_problems);
    const rm_cell *cell = &records->cells[result->cell];
    const rm_problem_key *problem = &records->problems[result->problem];
    if (strcmp(cell->task, problem->task) != 0)
        return rm_fail(err, RM_E_ARGUMENT,
                       "a result joins cell \"%s\" of task %s to problem %s of task %s",
                       cell->label, cell->task, problem->id, problem->task);
    if (result->chosen < -1 || (result->chosen >= 0 && (size_t)result->chosen >= result->n_samples))
        return rm_fail(err, RM_E_ARGUMENT, "a result of \"%s\" chose candidate %d of %zu",
                       cell->label, result->chosen, result->n_samples);
    return RM_OK;
}

rm_status rm_records_add_result(rm_records *records, const rm_result *result, int *index,
                                rm_error *err)
{
    rm_status status = result_check(records, result, err);
    if (status)
        return status;
    if (records->n_results >= INT_MAX)
        return rm_fail(err, RM_E_ARGUMENT, "records hold at most %d results", INT_MAX);
    if (!grow((void **)&records->results, records->n_results, sizeof *records->results))
        return no_memory(err);

    rm_result made = *result;
    made.samples = NULL;
    made.n_samples = 0;
    if (result->n_samples) {
        made.samples = calloc(result->n_samples, sizeof *made.samples);
        if (!made.samples)
            return no_memory(err);
        for (size_t i = 0; i < result->n_samples; i++) {
            made.n_samples = i + 1; /* so that a failed copy is freed as far as it came */
            if (!sample_copy(&result->samples[i], &made.samples[i])) {
                result_free(&made);
                return no_memory(err);
            }
        }
    }
    if (index)
        *index = (int)records->n_results;
    records->results[records->n_results++] = made;
    return RM_OK;
}

void rm_records_free(rm_records *records)
{
    if (!records)
        return;
    for (size_t i = 0; i < records->n_cells; i++)
        cell_free(&records->cells[i]);
    for (size_t i = 0; i < records->n_problems; i++)
        problem_free(&records->problems[i]);
    for (size_t i = 0; i < records->n_results; i++)
        result_free(&records->results[i]);
    free(records->cells);
    free(records->problems);
    free(records->results);
    free(records->replayed_on);
    *records = (rm_records){ 0 };
}

int rm_records_find_cell(const rm_records *records, const char *task, const char *label)
{
    for (size_t i = 0; i < records->n_cells; i++)
        if (strcmp(records->cells[i].task, task) == 0 &&
            strcmp(records->cells[i].label, label) == 0)
            return (int)i;
    return -1;
}

/* ---- several runs ------------------------------------------------------------------------ */

static uint64_t problem_hash(const rm_problem_key *problem)
{
    return rm_mix(rm_hash_bytes(problem->task, strlen(problem->task)),
                  rm_hash_bytes(problem->id, strlen(problem->id)));
}

/* map[i] = index in `into` of problem i of `from`, which is added where it is new. An open-
 * addressed table of indices keeps this linear in the number of problems. */
static rm_status problems_merge(rm_records *into, const rm_records *from, int *map, rm_error *err)
{
    size_t slots = 16;
    while (slots < 2 * (into->n_problems + from->n_problems))
        slots *= 2;
    int *table = malloc(slots * sizeof *table);
    if (!table)
        return no_memory(err);
    for (size_t i = 0; i < slots; i++)
        table[i] = -1;
    for (size_t i = 0; i < into->n_problems; i++) {
        size_t at = (size_t)problem_hash(&into->problems[i]) & (slots - 1);
        while (table[at] >= 0)
            at = (at + 1) & (slots - 1);
        table[at] = (int)i;
    }
    rm_status status = RM_OK;
    for (size_t i = 0; i < from->n_problems && !status; i++) {
        const rm_problem_key *wanted = &from->problems[i];
        size_t at = (size_t)problem_hash(wanted) & (slots - 1);
        while (table[at] >= 0 && (strcmp(into->problems[table[at]].task, wanted->task) != 0 ||
                                  strcmp(into->problems[table[at]].id, wanted->id) != 0))
            at = (at + 1) & (slots - 1);
        if (table[at] < 0)
            status = rm_records_add_problem(into, wanted, &table[at], err);
        map[i] = table[at];
    }
    free(table);
    return status;
}

rm_status rm_records_append(rm_records *into, const rm_records *from, const char *prefix,
                            rm_error *err)
{
    if (into == from)
        return rm_fail(err, RM_E_ARGUMENT, "records cannot be appended to themselves");
    int first_cell = (int)into->n_cells;
    rm_text label = { 0 }, family = { 0 };
    int *map = malloc((from->n_problems + 1) * sizeof *map);
    rm_status status = map ? problems_merge(into, from, map, err) : no_memory(err);

    for (size_t i = 0; i < from->n_cells && !status; i++) {
        rm_cell cell = from->cells[i];
        if (prefix) {
            rm_text_free(&label);
            rm_text_free(&family);
            rm_text_printf(&label, "%s: %s", prefix, cell.label);
            rm_text_printf(&family, "%s: %s", prefix, cell.family);
            if (label.failed || family.failed) {
                status = no_memory(err);
                break;
            }
            cell.label = label.data;
            cell.family = family.data;
        }
        status = rm_records_add_cell(into, &cell, NULL, err);
    }
    for (size_t i = 0; i < from->n_results && !status; i++) {
        rm_result result = from->results[i];
        result.cell += first_cell;
        result.problem = map[result.problem];
        status = rm_records_add_result(into, &result, NULL, err);
    }
    if (!status)
        into->n_missing += from->n_missing;
    if (!status && from->replayed_on && !into->replayed_on &&
        !(into->replayed_on = strdup(from->replayed_on)))
        status = no_memory(err);
    rm_text_free(&label);
    rm_text_free(&family);
    free(map);
    return status;
}

static void say_unfinished(const rm_records *records, rm_text *text)
{
    size_t empty = 0;
    bool *begun = calloc(records->n_cells + 1, sizeof *begun);
    for (size_t i = 0; begun && i < records->n_results; i++)
        begun[records->results[i].cell] = true;
    for (size_t c = 0; begun && c < records->n_cells; c++)
        empty += !begun[c];
    free(begun);
    rm_text_printf(text, "unfinished: %zu of %zu outcomes are recorded", records->n_results,
                   records->n_results + records->n_missing);
    if (empty)
        rm_text_printf(text, ", none yet for %zu of %zu cells", empty, records->n_cells);
    rm_text_puts(text, "; those that finish first are a biased part of them");
}

bool rm_records_caveat(const rm_records *records, rm_text *text)
{
    if (records->n_missing)
        say_unfinished(records, text);
    if (records->replayed_on)
        rm_text_printf(text, "%sreplayed on %s: FLOPs, bytes and times are that model's, texts and "
                       "verdicts are not", records->n_missing ? "; it is also " : "",
                       records->replayed_on);
    return records->n_missing || records->replayed_on;
}
