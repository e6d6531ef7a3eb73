/* records.c - from records.sqlite to what the analysis works on. */
#include "base/json.h"
#include "experiments/store.h"
#include "strategies/strategy.h"

#include <sqlite3.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Row numbers of the database and where the row went in the records; sorted by number. */
typedef struct place {
    int64_t row;
    int index;
} place;

typedef struct places {
    place *items;
    size_t n, capacity;
} places;

static bool places_add(places *list, int64_t row, int index)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        place *items = realloc(list->items, capacity * sizeof *items);
        if (!items)
            return false;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->n++] = (place){ row, index };
    return true;
}

static int by_row(const void *left, const void *right)
{
    const place *a = left, *b = right;
    return (a->row > b->row) - (a->row < b->row);
}

static int places_find(const places *list, int64_t row)
{
    place wanted = { row, 0 };
    const place *found =
        list->n ? bsearch(&wanted, list->items, list->n, sizeof wanted, by_row) : NULL;
    return found ? found->index : -1;
}

/* ---- columns ------------------------------------------------------------------------------- */

/* The records copy every string, so borrowed text of the current row will do. */
static char *text_at(sqlite3_stmt *row, int column)
{
    return (char *)(uintptr_t)sqlite3_column_text(row, column);
}

static double real_at(sqlite3_stmt *row, int column)
{
    return sqlite3_column_type(row, column) == SQLITE_NULL ? NAN
                                                           : sqlite3_column_double(row, column);
}

static uint64_t count_at(sqlite3_stmt *row, int column)
{
    return sqlite3_column_type(row, column) == SQLITE_NULL
               ? RM_NOT_COUNTED
               : (uint64_t)sqlite3_column_int64(row, column);
}

static bool flag_at(sqlite3_stmt *row, int column)
{
    return sqlite3_column_int(row, column) != 0;
}

/* ---- cells and problems -------------------------------------------------------------------- */

/* Runs `sql` and gives each row to `add`, which returns the new entry's index. */
typedef rm_status add_row(sqlite3_stmt *row, rm_records *, int *index, rm_error *);

static rm_status read_rows(rm_store *store, const char *sql, add_row *add, rm_records *records,
                           places *list, rm_error *err)
{
    sqlite3_stmt *row = NULL;
    rm_status status = rm_store_prepare(store, sql, &row, err);
    int code = SQLITE_DONE;
    while (!status && (code = sqlite3_step(row)) == SQLITE_ROW) {
        int index = -1;
        status = add(row, records, &index, err);
        if (!status && !places_add(list, sqlite3_column_int64(row, 0), index))
            status = rm_fail(err, RM_E_MEMORY, "no memory to read %s", rm_store_dir(store));
    }
    if (!status && code != SQLITE_DONE)
        status = rm_store_fail(store, "read the records", err);
    sqlite3_finalize(row);
    if (list->n)
        qsort(list->items, list->n, sizeof *list->items, by_row);
    return status;
}

/* Whether the strategy, as parametrised, scores a candidate by the others. What decides is a
 * choice, so only the parameters that are texts matter; a strategy that is not ours scores each
 * alone. */
static bool relative_score(const char *strategy, const char *params)
{
    const rm_strategy *s;
    rm_params *values = NULL;
    rm_json *json = NULL;
    const cJSON *item;
    if (!strategy || !params || rm_strategy_find(strategy, &s, NULL) || !s->relative_score)
        return false;
    bool relative = false;
    if (!rm_params_new(s, &values, NULL) &&
        !rm_json_parse(params, strlen(params), "params", 1, RM_JSON_NO_POSITIONS, &json, NULL)) {
        cJSON_ArrayForEach(item, rm_json_root(json)) if (cJSON_IsString(item) && item->string)
            rm_params_set(values, item->string, item->valuestring, NULL);
        relative = s->relative_score(rm_params_values(values));
    }
    rm_json_free(json);
    rm_params_free(values);
    return relative;
}

static rm_status add_cell(sqlite3_stmt *row, rm_records *records, int *index, rm_error *err)
{
    rm_cell cell = { .label = text_at(row, 1), .model = text_at(row, 2), .task = text_at(row, 3),
                     .strategy = text_at(row, 4), .params = text_at(row, 5),
                     .family = text_at(row, 6), .size = real_at(row, 7),
                     .size_name = text_at(row, 8), .exchangeable = flag_at(row, 9),
                     .relative_score = relative_score(text_at(row, 4), text_at(row, 5)),
                     .verifier = flag_at(row, 10), .oracle = flag_at(row, 11) };
    return rm_records_add_cell(records, &cell, index, err);
}

static rm_status add_problem(sqlite3_stmt *row, rm_records *records, int *index, rm_error *err)
{
    rm_problem_key problem = { .task = text_at(row, 1), .id = text_at(row, 2),
                               .cluster = text_at(row, 3), .level = text_at(row, 4) };
    return rm_records_add_problem(records, &problem, index, err);
}

/* ---- outcomes ------------------------------------------------------------------------------ */

/* The candidates of one outcome; what they hold is owned by the statements' current rows, so
 * texts are copied here and freed by samples_free. */
typedef struct samples {
    rm_sample *items;
    size_t n, capacity;
} samples;

static char *copy_at(sqlite3_stmt *row, int column, bool *failed)
{
    const char *text = text_at(row, column);
    if (!text)
        return NULL;
    rm_text copy = { 0 };
    rm_text_add(&copy, text, (size_t)sqlite3_column_bytes(row, column));
    *failed = *failed || copy.failed;
    return copy.data;
}

static void samples_clear(samples *list)
{
    for (size_t i = 0; i < list->n; i++) {
        rm_sample *sample = &list->items[i];
        for (size_t s = 0; s < sample->n_scores; s++)
            free(sample->scores[s].name);
        free(sample->scores);
        free(sample->text);
        free(sample->answer);
    }
    list->n = 0;
}

static rm_status samples_read(rm_store *store, sqlite3_stmt *rows, int64_t outcome, samples *list,
                              rm_error *err)
{
    bool failed = false;
    int code;
    sqlite3_bind_int64(rows, 1, outcome);
    sqlite3_bind_int(rows, 2, RM_MOST_TEXTS); /* of thinking models all texts would fill the memory */
    while ((code = sqlite3_step(rows)) == SQLITE_ROW && !failed) {
        if (list->n == list->capacity) {
            size_t capacity = list->capacity ? 2 * list->capacity : 16;
            rm_sample *items = realloc(list->items, capacity * sizeof *items);
            if (!items) {
                failed = true;
                break;
            }
            list->items = items;
            list->capacity = capacity;
        }
        uint64_t n_tokens = count_at(rows, 4);
        list->items[list->n++] = (rm_sample){
            .text = copy_at(rows, 0, &failed), .answer = copy_at(rows, 1, &failed),
            .correct = flag_at(rows, 2), .truncated = flag_at(rows, 3),
            .n_tokens = n_tokens > UINT32_MAX ? 0 : (uint32_t)n_tokens, .lp = real_at(rows, 5),
            .lp_sampling = real_at(rows, 6), .score = real_at(rows, 7) };
    }
    rm_status status = RM_OK;
    if (failed)
        status = rm_fail(err, RM_E_MEMORY, "no memory to read %s", rm_store_dir(store));
    else if (code != SQLITE_DONE)
        status = rm_store_fail(store, "read the candidates", err);
    sqlite3_reset(rows);
    return status;
}

/* Adds a score, or sets it if the sample has one of that name. */
static bool score_set(rm_sample *sample, const char *name, double value)
{
    for (size_t i = 0; i < sample->n_scores; i++)
        if (strcmp(sample->scores[i].name, name) == 0) {
            sample->scores[i].value = value;
            return true;
        }
    rm_named_score *scores =
        realloc(sample->scores, (sample->n_scores + 1) * sizeof *sample->scores);
    char *copy = strdup(name);
    if (scores)
        sample->scores = scores;
    if (!scores || !copy) {
        free(copy);
        return false;
    }
    scores[sample->n_scores++] = (rm_named_score){ copy, value };
    return true;
}

static double score_get(const rm_sample *sample, const char *name, double absent)
{
    for (size_t i = 0; i < sample->n_scores; i++)
        if (strcmp(sample->scores[i].name, name) == 0)
            return sample->scores[i].value;
    return absent;
}

/* Scores of single steps reach the analysis as the three ways in which they are usually made one:
 * the least, the last, and the product (Lightman et al. 2023, arXiv:2305.20050; Snell et al. 2024,
 * arXiv:2408.03314). */
static bool step_score_add(rm_sample *sample, double value)
{
    double least = score_get(sample, "step_scores min", INFINITY);
    return score_set(sample, "step_scores min", value < least ? value : least) &&
           score_set(sample, "step_scores last", value) &&
           score_set(sample, "step_scores prod", value * score_get(sample, "step_scores prod", 1));
}

static rm_status scores_read(rm_store *store, sqlite3_stmt *rows, int64_t outcome, samples *list,
                             rm_error *err)
{
    static const char step[] = "step_scores[";
    rm_status status = RM_OK;
    int code = SQLITE_DONE;
    sqlite3_bind_int64(rows, 1, outcome);
    while (!status && (code = sqlite3_step(rows)) == SQLITE_ROW) {
        size_t k = (size_t)sqlite3_column_int64(rows, 0);
        const char *name = text_at(rows, 1);
        double value = real_at(rows, 2);
        if (k >= list->n)
            continue; /* a score without its candidate: a damaged file, but harmless */
        bool fine = strncmp(name, step, sizeof step - 1) == 0
                        ? step_score_add(&list->items[k], value)
                        : score_set(&list->items[k], name, value);
        if (!fine)
            status = rm_fail(err, RM_E_MEMORY, "no memory to read %s", rm_store_dir(store));
    }
    if (!status && code != SQLITE_DONE)
        status = rm_store_fail(store, "read the scores", err);
    sqlite3_reset(rows);
    return status;
}

static rm_result result_of(sqlite3_stmt *row, int cell, int problem, const samples *list)
{
    const char *timing = text_at(row, 4);
    int chosen = sqlite3_column_type(row, 7) == SQLITE_NULL ? -1 : sqlite3_column_int(row, 7);
    return (rm_result){
        .cell = cell, .problem = problem, .seed = (uint64_t)sqlite3_column_int64(row, 3),
        .timing = timing[0] == 'l'   ? RM_TIMING_LATENCY
                  : timing[0] == 't' ? RM_TIMING_THROUGHPUT
                                     : RM_TIMING_NONE,
        .repeat = sqlite3_column_int(row, 5), .failed = flag_at(row, 6),
        .chosen = chosen >= 0 && (size_t)chosen < list->n ? chosen : -1,
        .correct = flag_at(row, 8), .samples = list->items, .n_samples = list->n,
        .cost = { .prompt_tokens = count_at(row, 9), .generated_tokens = count_at(row, 10),
                  .evaluated_tokens = count_at(row, 11), .shared_tokens = count_at(row, 12),
                  .rounds = count_at(row, 13), .flops = real_at(row, 14),
                  .weight_bytes = real_at(row, 15), .kv_bytes = real_at(row, 16),
                  .kv_peak_positions = count_at(row, 17), .wall_ms = real_at(row, 18),
                  .ttft_ms = real_at(row, 19), .load = real_at(row, 20),
                  .energy_j = real_at(row, 21) } };
}

static rm_status read_outcomes(rm_store *store, const places *cells, const places *problems,
                               rm_records *records, rm_error *err)
{
    sqlite3_stmt *outcomes = NULL, *candidates = NULL, *scores = NULL;
    samples list = { 0 };
    int code = SQLITE_DONE;
    rm_status status = rm_store_prepare(
        store,
        "SELECT o.outcome, o.cell, o.problem, o.seed, o.timing, o.repeat, o.error IS NOT NULL,"
        " o.chosen, o.correct, o.prompt_tokens, o.generated_tokens, o.evaluated_tokens,"
        " o.shared_tokens, o.rounds, o.flops, o.weight_bytes, o.kv_bytes, o.kv_peak_positions,"
        " o.wall_ms, o.ttft_ms, o.load, o.energy_j"
        " FROM outcomes o JOIN problems p USING (problem)"
        " ORDER BY o.cell, p.idx, o.seed, o.timing DESC, o.repeat",
        &outcomes, err);
    if (!status)
        status = rm_store_prepare(store,
                                  "SELECT iif(k < ?2, text, NULL), answer, correct, truncated,"
                                  " n_tokens, lp, lp_sampling, score FROM candidates"
                                  " WHERE outcome = ?1"
                                  " ORDER BY k",
                                  &candidates, err);
    if (!status)
        status = rm_store_prepare(store,
                                  "SELECT k, name, value FROM scores WHERE outcome = ?"
                                  " ORDER BY k, name",
                                  &scores, err);
    while (!status && (code = sqlite3_step(outcomes)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(outcomes, 0);
        int cell = places_find(cells, sqlite3_column_int64(outcomes, 1));
        int problem = places_find(problems, sqlite3_column_int64(outcomes, 2));
        status = samples_read(store, candidates, id, &list, err);
        if (!status)
            status = scores_read(store, scores, id, &list, err);
        if (!status && (cell < 0 || problem < 0))
            status = rm_fail(err, RM_E_FORMAT, "%s/records.sqlite is damaged: outcome %lld has no "
                             "cell or problem", rm_store_dir(store), (long long)id);
        if (!status) {
            rm_result result = result_of(outcomes, cell, problem, &list);
            status = rm_records_add_result(records, &result, NULL, err);
        }
        samples_clear(&list);
    }
    if (!status && code != SQLITE_DONE)
        status = rm_store_fail(store, "read the outcomes", err);
    free(list.items);
    sqlite3_finalize(scores);
    sqlite3_finalize(candidates);
    sqlite3_finalize(outcomes);
    return status;
}

static rm_status read_replay(rm_store *store, rm_records *records, rm_error *err)
{
    rm_text name = { 0 };
    if (!rm_store_get_meta(store, "replayed_on", &name))
        return RM_OK;
    if (name.failed) {
        rm_text_free(&name);
        return rm_fail(err, RM_E_MEMORY, "no memory for the records");
    }
    free(records->replayed_on);
    records->replayed_on = name.data;
    return RM_OK;
}

/* What the phases of the run were to record (runner.c) and did not. Imported samples have none. */
static rm_status count_missing(rm_store *store, rm_records *records, rm_error *err)
{
    sqlite3_stmt *row = NULL;
    rm_status status = rm_store_prepare(
        store,
        "SELECT coalesce(sum(max(0, CAST(value AS INTEGER) -"
        " (SELECT count(*) FROM outcomes WHERE timing = substr(key, length('planned ') + 1)))), 0)"
        " FROM meta WHERE key GLOB 'planned *'",
        &row, err);
    if (!status && sqlite3_step(row) == SQLITE_ROW)
        records->n_missing += (size_t)sqlite3_column_int64(row, 0);
    else if (!status)
        status = rm_store_fail(store, "read the settings", err);
    sqlite3_finalize(row);
    return status;
}

rm_status rm_store_records(rm_store *store, rm_records *records, rm_error *err)
{
    places cells = { 0 }, problems = { 0 };
    rm_status status =
        read_rows(store,
                  "SELECT cell, label, model, task, strategy, params, family, size, size_name,"
                  " exchangeable, verifier, oracle FROM cells ORDER BY cell",
                  add_cell, records, &cells, err);
    if (!status)
        status = read_rows(store,
                           "SELECT problem, task, id, cluster, level FROM problems"
                           " ORDER BY task, idx",
                           add_problem, records, &problems, err);
    if (!status)
        status = read_outcomes(store, &cells, &problems, records, err);
    if (!status)
        status = count_missing(store, records, err);
    if (!status)
        status = read_replay(store, records, err);
    free(cells.items);
    free(problems.items);
    return status;
}
