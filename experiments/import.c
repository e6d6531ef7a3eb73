/* import.c - samples that were made elsewhere become a run directory.
 *
 * Lines may come in any order (import_line.c reads them). They are sorted by cell, problem, seed,
 * timing, repeat and candidate, and every group without its candidate number is one outcome. The
 * run directory is made only once all lines have been found to fit together. */
#include "experiments/exchange.h"
#include "experiments/import_private.h"
#include "experiments/manifest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_IMPORT = 0x7fffffff };

/* ---- order and consistency --------------------------------------------------------------- */

static int compare_outcomes(const import_line *a, const import_line *b)
{
    if (a->cell != b->cell)
        return a->cell < b->cell ? -1 : 1;
    if (a->problem != b->problem)
        return a->problem < b->problem ? -1 : 1;
    if (a->seed != b->seed)
        return a->seed < b->seed ? -1 : 1;
    if (a->timing != b->timing)
        return a->timing < b->timing ? -1 : 1;
    return (a->repeat > b->repeat) - (a->repeat < b->repeat);
}

static int by_place(const void *left, const void *right)
{
    const import_line *a = left, *b = right;
    int order = compare_outcomes(a, b);
    return order ? order : (a->k > b->k) - (a->k < b->k);
}

static rm_status check_group(const importer *in, size_t first, size_t end, rm_error *err)
{
    int chosen = 0;
    for (size_t i = first; i < end; i++) {
        const import_line *l = &in->lines[i];
        chosen += l->chosen;
        if (i > first && l->k == in->lines[i - 1].k)
            return rm_fail(err, RM_E_FORMAT, "%s: lines %zu and %zu are both candidate %d of the "
                           "same outcome (give them different seeds)", in->file,
                           in->lines[i - 1].number, l->number, l->k);
        if (l->k < 0 && end - first > 1)
            return rm_fail(err, RM_E_FORMAT, "%s:%zu: an outcome without a candidate (candidate is "
                           "null) has a candidate on another line", in->file, l->number);
        if (chosen > 1)
            return rm_fail(err, RM_E_FORMAT, "%s:%zu: a second candidate of one outcome is marked "
                           "chosen", in->file, l->number);
    }
    return RM_OK;
}

/* ---- cells ------------------------------------------------------------------------------- */

static rm_status no_memory(const importer *in, rm_error *err)
{
    return rm_fail(err, RM_E_MEMORY, "no memory to import %s", in->file);
}

/* The swept parameter of a strategy we know, if the params give it a number. */
static const char *find_size(const char *strategy, const cJSON *params, double *size)
{
    const rm_strategy *known = NULL;
    *size = NAN;
    if (rm_strategy_find(strategy, &known, NULL) || !known->size_param)
        return NULL;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(params, known->size_param);
    if (!item || !cJSON_IsNumber(item))
        return NULL;
    *size = item->valuedouble;
    return known->size_param;
}

/* "model: strategy key=value ..."; without `skip`, the parameter a family runs over. */
static void describe(rm_text *text, const import_cell *cell, bool with_model, const cJSON *params,
                     const char *skip)
{
    const cJSON *item;
    if (with_model)
        rm_text_printf(text, "%s: ", cell->model);
    rm_text_puts(text, cell->strategy);
    cJSON_ArrayForEach(item, params) {
        if (skip && strcmp(item->string, skip) == 0)
            continue;
        rm_text_printf(text, " %s=", item->string);
        if (cJSON_IsString(item))
            rm_text_puts(text, item->valuestring);
        else {
            rm_json_writer w = { .out = text };
            import_put_canonical(&w, NULL, item, 0);
        }
    }
}

/* Models of one task are named in the labels where there are several. */
static bool several_models(const importer *in)
{
    const char *first = strchr(in->cells.text[0], import_joint[0]) + 1;
    size_t n = strcspn(first, import_joint) + 1;
    for (size_t i = 1; i < in->cells.n; i++)
        if (strncmp(strchr(in->cells.text[i], import_joint[0]) + 1, first, n) != 0)
            return true;
    return false;
}

/* What lines first .. end-1, all of one cell, say of it; they must not contradict each other. */
static rm_status gather_cell(const importer *in, size_t first, size_t end, import_cell *cell,
                             rm_error *err)
{
    const import_line *said[N_IMPORT_MARKS] = { NULL }, *labelled = NULL;
    bool several = false;
    for (size_t i = first; i < end; i++) {
        const import_line *l = &in->lines[i];
        several = several || (i > first && compare_outcomes(l - 1, l) == 0);
        for (int m = 0; m < N_IMPORT_MARKS; m++) {
            if (l->mark[m] < 0)
                continue;
            if (said[m] && said[m]->mark[m] != l->mark[m])
                return rm_fail(err, RM_E_FORMAT,
                               "%s:%zu: %s differs from line %zu of the same cell",
                               in->file, l->number, import_mark_names[m], said[m]->number);
            said[m] = l;
        }
        if (l->label && labelled && strcmp(l->label, labelled->label) != 0)
            return rm_fail(err, RM_E_FORMAT, "%s:%zu: label \"%.60s\" differs from \"%.60s\" of "
                           "line %zu of the same cell", in->file, l->number, l->label,
                           labelled->label, labelled->number);
        labelled = l->label ? l : labelled;
    }
    for (int m = 0; m < N_IMPORT_MARKS; m++)
        cell->mark[m] = said[m] ? said[m]->mark[m] == 1 : m == IMPORT_EXCHANGEABLE && several;
    if (labelled)
        rm_text_puts(&cell->label, labelled->label);
    return RM_OK;
}

/* Parts, label and family of a cell; labels that no line gives are made of what it is. */
static rm_status describe_cell(const importer *in, int index, bool with_model, rm_error *err)
{
    import_cell *cell = &in->cell[index];
    char **const parts[] = { &cell->task, &cell->model, &cell->strategy, &cell->params };
    rm_json *params = NULL;
    cell->name = strdup(in->cells.text[index]);
    if (!cell->name)
        return no_memory(in, err);
    char *at = cell->name;
    for (int i = 0; i < 4; i++) {
        *parts[i] = at;
        at += strcspn(at, import_joint);
        if (i < 3)
            *at++ = '\0';
    }
    rm_status status = rm_json_parse(cell->params, strlen(cell->params), "params", 1,
                                     RM_JSON_NO_POSITIONS, &params, err);
    if (status)
        return status;
    cell->size_name = find_size(cell->strategy, rm_json_root(params), &cell->size);
    if (!cell->label.length)
        describe(&cell->label, cell, with_model, rm_json_root(params), NULL);
    describe(&cell->family, cell, true, rm_json_root(params), cell->size_name);
    rm_json_free(params);
    return cell->label.failed || cell->family.failed ? no_memory(in, err) : RM_OK;
}

/* Labels name the cells of a task: no two cells may have the same one. */
static rm_status check_labels(const importer *in, rm_error *err)
{
    names labels = { 0 };
    rm_status status = RM_OK;
    for (size_t c = 0; c < in->cells.n && !status; c++) {
        const import_cell *cell = &in->cell[c];
        rm_text key = { 0 };
        rm_text_printf(&key, "%s%s%s", cell->task, import_joint, cell->label.data);
        int index = key.failed ? -1 : names_index(&labels, key.data);
        if (index < 0)
            status = no_memory(in, err);
        else if ((size_t)index != c)
            status = rm_fail(err, RM_E_FORMAT, "%s: two cells of task %s have the label \"%.80s\"; "
                             "give them different ones", in->file, cell->task, cell->label.data);
        rm_text_free(&key);
    }
    names_free(&labels);
    return status;
}

static rm_status make_cells(importer *in, rm_error *err)
{
    bool with_model = several_models(in);
    rm_status status = RM_OK;
    if (!(in->cell = calloc(in->cells.n, sizeof *in->cell)))
        return no_memory(in, err);
    for (size_t first = 0, end; first < in->n && !status; first = end) {
        int cell = in->lines[first].cell;
        for (end = first + 1; end < in->n && in->lines[end].cell == cell; end++)
            ;
        status = gather_cell(in, first, end, &in->cell[cell], err);
        if (!status)
            status = describe_cell(in, cell, with_model, err);
    }
    return status ? status : check_labels(in, err);
}

static void cell_free(import_cell *cell)
{
    free(cell->name);
    rm_text_free(&cell->label);
    rm_text_free(&cell->family);
}

/* ---- into the records -------------------------------------------------------------------- */

static rm_status put_cells(importer *in, rm_store *store, rm_error *err)
{
    rm_status status = RM_OK;
    for (size_t c = 0; c < in->cells.n && !status; c++) {
        const import_cell *made = &in->cell[c];
        rm_cell cell = { .model = made->model, .task = made->task, .strategy = made->strategy,
                         .params = made->params, .label = made->label.data,
                         .family = made->family.data, .size = made->size,
                         .size_name = (char *)(uintptr_t)made->size_name,
                         .exchangeable = made->mark[IMPORT_EXCHANGEABLE],
                         .verifier = made->mark[IMPORT_VERIFIER],
                         .oracle = made->mark[IMPORT_ORACLE] };
        status = rm_store_put_cell(store, (int)c, &cell, err);
    }
    return status;
}

static rm_status put_problems(importer *in, rm_store *store, int64_t *rows, rm_error *err)
{
    rm_status status = RM_OK;
    for (size_t i = 0; i < in->n; i++) /* the first line of each problem, whatever the order */
        rows[in->lines[i].problem] = -1;
    for (size_t i = 0; i < in->n && !status; i++) {
        const import_line *l = &in->lines[i];
        char *name = in->problems.text[l->problem];
        if (rows[l->problem] >= 0)
            continue;
        char *id = strchr(name, import_joint[0]);
        *id = '\0';
        rm_problem_row row = { .task = name, .id = id + 1, .index = l->problem,
                               .question = l->question, .reference = l->reference,
                               .cluster = l->cluster, .level = l->level };
        status = rm_store_put_problem(store, &row, &rows[l->problem], err);
        *id = import_joint[0];
    }
    return status;
}

/* The account of a group: what its first line tells of the outcome, the candidates' tokens where
 * it tells nothing, the longest latency. */
static rm_cost cost_of_group(const importer *in, size_t first, size_t end)
{
    rm_cost cost = in->lines[first].cost;
    uint64_t sum = 0;
    for (size_t i = first; i < end; i++) {
        const import_line *one = &in->lines[i];
        if (one->candidate.n_tokens < 0)
            sum = RM_NOT_COUNTED;
        else if (sum != RM_NOT_COUNTED)
            sum += (uint64_t)one->candidate.n_tokens;
        if (isnan(cost.wall_ms) || one->latency_ms > cost.wall_ms)
            cost.wall_ms = one->latency_ms;
    }
    if (cost.generated_tokens == RM_NOT_COUNTED)
        cost.generated_tokens = sum;
    return cost;
}

static rm_status put_group(importer *in, rm_store *store, const int64_t *rows, size_t first,
                           size_t end, rm_error *err)
{
    size_t n = end - first;
    const import_line *l = &in->lines[first];
    rm_outcome_row row = { .cell = l->cell, .problem = rows[l->problem], .seed = l->seed,
                           .timing = l->timing, .repeat = l->repeat, .error = l->error,
                           .cost = cost_of_group(in, first, end), .pooled = 1,
                           .machine_load = NAN };
    if (l->k < 0)
        return rm_store_put_outcome(store, &row, err);
    rm_candidate *candidates = calloc(n, sizeof *candidates);
    bool *correct = calloc(n, sizeof *correct);
    rm_outcome outcome = { .candidates = candidates, .n_candidates = (int)n,
                           .chosen = n == 1 ? 0 : -1 };
    rm_status status = candidates && correct ? RM_OK : no_memory(in, err);
    for (size_t i = 0; i < n && !status; i++) {
        const import_line *one = &in->lines[first + i];
        candidates[i] = one->candidate;
        correct[i] = one->correct;
        if (one->chosen)
            outcome.chosen = (int)i;
    }
    row.outcome = &outcome;
    row.correct = correct;
    if (!status)
        status = rm_store_put_outcome(store, &row, err);
    free(candidates);
    free(correct);
    return status;
}

static rm_status put_all(importer *in, rm_store *store, rm_error *err)
{
    int64_t *rows = malloc((in->problems.n + 1) * sizeof *rows);
    if (!rows)
        return no_memory(in, err);
    rm_status status = put_problems(in, store, rows, err);
    if (!status)
        status = put_cells(in, store, err);
    for (size_t first = 0, end; first < in->n && !status; first = end) {
        for (end = first + 1;
             end < in->n && compare_outcomes(&in->lines[first], &in->lines[end]) == 0;)
            end++;
        status = put_group(in, store, rows, first, end, err);
    }
    free(rows);
    return status;
}

rm_status rm_import(const char *file, const char *dir, const char *command, size_t *n,
                    rm_error *err)
{
    importer in = { .file = file };
    rm_store *store = NULL;
    char *text = NULL, identity[40];
    size_t n_text = 0;
    rm_status status = rm_file_read(file, MAX_IMPORT, &text, &n_text, err);
    if (!status)
        status = import_read_lines(&in, text, n_text, err);
    if (!status)
        qsort(in.lines, in.n, sizeof *in.lines, by_place);
    for (size_t first = 0, end; first < in.n && !status; first = end) {
        for (end = first + 1; end < in.n && compare_outcomes(&in.lines[first],
                                                             &in.lines[end]) == 0;)
            end++;
        status = check_group(&in, first, end, err);
    }
    if (!status)
        status = make_cells(&in, err);
    if (!status) {
        snprintf(identity, sizeof identity, "import-%016llx",
                 (unsigned long long)rm_hash_bytes(text, n_text));
        status = rm_store_create(dir, identity, NULL, 0, &store, err);
    }
    rm_text done = { 0 };
    if (!status && !rm_store_get_meta(store, "imported", &done)) {
        status = put_all(&in, store, err);
        if (!status)
            status = rm_store_set_meta(store, "imported", file, err);
        if (!status)
            status = rm_store_commit(store, err);
        if (!status)
            status = rm_manifest_imported(store, file, command, err);
    }
    if (!status)
        *n = in.n;
    rm_text_free(&done);
    rm_store_close(store);
    for (size_t i = 0; i < in.n; i++)
        import_line_free(&in.lines[i]);
    free(in.lines);
    for (size_t c = 0; in.cell && c < in.cells.n; c++)
        cell_free(&in.cell[c]);
    free(in.cell);
    names_free(&in.cells);
    names_free(&in.problems);
    free(text);
    return status;
}
