/* import.c - samples that were made elsewhere become a run directory.
 *
 * Lines may come in any order. Cells (task, model, strategy, params) and problems are numbered as
 * they first appear; lines are then sorted by cell, problem, seed, timing, repeat and candidate,
 * and every group without its candidate number is one outcome. */
#include "base/json.h"
#include "experiments/exchange.h"
#include "experiments/manifest.h"
#include "experiments/names.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_IMPORT = 0x7fffffff };

/* ---- lines ------------------------------------------------------------------------------------- */

/* One candidate. Strings belong to its JSON tree. */
typedef struct line {
    rm_json *json;
    size_t number;
    int cell, problem;
    uint64_t seed;
    rm_timing timing;
    int repeat, k;
    bool correct, chosen;
    int exchangeable;        /* 1, 0, or -1: not said */
    double latency_ms;
    const char *error;       /* of an outcome that failed: its line has no candidate, k is -1 */
    rm_cost cost;            /* where the line tells it: costs of the whole outcome */
    rm_candidate candidate;  /* scores are malloc'd, their names too */
} line;

typedef struct importer {
    const char *file;
    line *lines;
    size_t n, capacity;
    names cells, problems;
} importer;

static const cJSON *member(const line *l, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(rm_json_root(l->json), key);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

static rm_status wrong(const line *l, const cJSON *item, const char *key, const char *expected,
                       rm_error *err)
{
    return item ? rm_json_fail(err, RM_E_FORMAT, l->json, item, "%s should be %s", key, expected)
                : rm_json_fail(err, RM_E_FORMAT, l->json, rm_json_root(l->json),
                               "the line has no %s (%s)", key, expected);
}

static rm_status get_text(const line *l, const char *key, const char *absent, const char **value,
                          rm_error *err)
{
    const cJSON *item = member(l, key);
    *value = absent;
    if (!item)
        return RM_OK;
    if (!cJSON_IsString(item))
        return wrong(l, item, key, "a string", err);
    *value = item->valuestring;
    return RM_OK;
}

static rm_status get_real(const line *l, const char *key, double *value, rm_error *err)
{
    const cJSON *item = member(l, key);
    *value = NAN;
    if (!item)
        return RM_OK;
    if (!cJSON_IsNumber(item))
        return wrong(l, item, key, "a number", err);
    *value = item->valuedouble;
    return RM_OK;
}

static rm_status get_uint(const line *l, const char *key, uint64_t absent, uint64_t most,
                          uint64_t *value, rm_error *err)
{
    const cJSON *item = member(l, key);
    *value = absent;
    if (item && (!rm_json_get_uint(l->json, item, value) || *value > most))
        return wrong(l, item, key, "a whole number from 0 on", err);
    return RM_OK;
}

/* A real that cannot be negative. */
static rm_status get_amount(const line *l, const char *key, double *value, rm_error *err)
{
    rm_status status = get_real(l, key, value, err);
    return !status && *value < 0 ? wrong(l, member(l, key), key, "a number from 0 on", err) : status;
}

/* true, false, 1 or 0; *value stays if the key is absent. */
static rm_status get_flag(const line *l, const char *key, int *value, rm_error *err)
{
    const cJSON *item = member(l, key);
    if (!item)
        return RM_OK;
    if (cJSON_IsBool(item))
        *value = cJSON_IsTrue(item);
    else if (cJSON_IsNumber(item) && (item->valuedouble == 0 || item->valuedouble == 1))
        *value = item->valuedouble == 1;
    else
        return wrong(l, item, key, "true or false", err);
    return RM_OK;
}

/* ---- identity of cells and problems --------------------------------------------------------------- */

static int by_key(const void *left, const void *right)
{
    return strcmp((*(const cJSON *const *)left)->string, (*(const cJSON *const *)right)->string);
}

/* A value with its object keys sorted, so that equal parameters are equal texts. */
static bool put_canonical(rm_json_writer *w, const char *key, const cJSON *value, int depth)
{
    if (depth > 32)
        return false;
    if (cJSON_IsObject(value)) {
        size_t n = (size_t)cJSON_GetArraySize(value), i = 0;
        const cJSON **members = malloc((n + 1) * sizeof *members), *item;
        bool fine = members != NULL;
        if (!fine)
            return false;
        cJSON_ArrayForEach(item, value) members[i++] = item;
        qsort(members, n, sizeof *members, by_key);
        rm_json_object(w, key);
        for (i = 0; i < n && fine; i++)
            fine = put_canonical(w, members[i]->string, members[i], depth + 1);
        rm_json_end(w);
        free(members);
        return fine;
    }
    if (cJSON_IsArray(value)) {
        const cJSON *item;
        bool fine = true;
        rm_json_array(w, key);
        cJSON_ArrayForEach(item, value) fine = fine && put_canonical(w, NULL, item, depth + 1);
        rm_json_end(w);
        return fine;
    }
    if (cJSON_IsString(value))
        rm_json_string(w, key, value->valuestring);
    else if (cJSON_IsNumber(value))
        rm_json_real(w, key, value->valuedouble);
    else if (cJSON_IsBool(value))
        rm_json_bool(w, key, cJSON_IsTrue(value));
    else
        rm_json_null(w, key);
    return true;
}

/* The four parts of a cell's name are joined by a byte that JSON text holds only escaped. */
static const char joint[] = "\x1f";

static rm_status name_cell(importer *in, line *l, rm_error *err)
{
    const char *task, *model, *strategy;
    rm_text key = { 0 };
    rm_status status = get_text(l, "task", "imported", &task, err);
    if (!status)
        status = get_text(l, "model", "unknown", &model, err);
    if (!status)
        status = get_text(l, "strategy", NULL, &strategy, err);
    if (!status && !strategy)
        status = wrong(l, NULL, "strategy", "a string", err);
    if (status)
        return status;
    const cJSON *params = member(l, "params");
    if (params && !cJSON_IsObject(params))
        return wrong(l, params, "params", "an object", err);
    rm_text_printf(&key, "%s%s%s%s%s%s", task, joint, model, joint, strategy, joint);
    rm_json_writer w = { .out = &key };
    if (!params)
        rm_text_puts(&key, "{}");
    else if (!put_canonical(&w, NULL, params, 0))
        status = wrong(l, params, "params", "a flat object", err);
    if (!status)
        l->cell = key.failed ? -1 : names_index(&in->cells, key.data);
    rm_text_free(&key);
    if (!status && l->cell < 0)
        return rm_fail(err, RM_E_MEMORY, "no memory to import %s", in->file);
    return status;
}

static rm_status name_problem(importer *in, line *l, rm_error *err)
{
    const cJSON *item = member(l, "problem");
    const char *task;
    rm_text key = { 0 };
    rm_status status = get_text(l, "task", "imported", &task, err);
    if (status)
        return status;
    rm_text_printf(&key, "%s%s", task, joint);
    if (item && cJSON_IsString(item))
        rm_text_puts(&key, item->valuestring);
    else if (item && cJSON_IsNumber(item))
        rm_json_number(&key, item->valuedouble);
    else
        status = wrong(l, item, "problem", "a string or a number", err);
    if (!status)
        l->problem = key.failed ? -1 : names_index(&in->problems, key.data);
    rm_text_free(&key);
    if (!status && l->problem < 0)
        return rm_fail(err, RM_E_MEMORY, "no memory to import %s", in->file);
    return status;
}

/* ---- the candidate of a line ------------------------------------------------------------------------ */

static rm_status add_score(line *l, const char *name, double value, rm_error *err)
{
    rm_candidate *c = &l->candidate;
    rm_score *scores = realloc(c->scores, ((size_t)c->n_scores + 1) * sizeof *scores);
    char *copy = strdup(name);
    if (scores)
        c->scores = scores;
    if (!scores || !copy) {
        free(copy);
        return rm_fail(err, RM_E_MEMORY, "no memory for a score");
    }
    scores[c->n_scores++] = (rm_score){ copy, value };
    return RM_OK;
}

static rm_status read_scores(line *l, rm_error *err)
{
    const cJSON *scores = member(l, "scores"), *steps = member(l, "step_scores"), *item;
    rm_status status = RM_OK;
    if (scores && !cJSON_IsObject(scores))
        return wrong(l, scores, "scores", "an object of numbers", err);
    cJSON_ArrayForEach(item, scores) {
        if (!cJSON_IsNumber(item) && !cJSON_IsNull(item))
            return wrong(l, item, "a score", "a number", err);
        status = add_score(l, item->string, cJSON_IsNull(item) ? NAN : item->valuedouble, err);
        if (status)
            return status;
    }
    if (steps && !cJSON_IsArray(steps))
        return wrong(l, steps, "step_scores", "a list of numbers", err);
    int i = 0;
    cJSON_ArrayForEach(item, steps) {
        char name[32];
        if (!cJSON_IsNumber(item) && !cJSON_IsNull(item))
            return wrong(l, item, "a step score", "a number", err);
        snprintf(name, sizeof name, "step_scores[%03d]", i++);
        status = add_score(l, name, cJSON_IsNull(item) ? NAN : item->valuedouble, err);
        if (status)
            return status;
    }
    return RM_OK;
}

/* The words that other programs use for why a text ended, next to ours. */
static rm_stop_reason reason_of(const char *word)
{
    static const struct {
        const char *word;
        rm_stop_reason reason;
    } others[] = { { "stop", RM_STOP_TOKEN },         { "eos", RM_STOP_TOKEN },
                   { "eos_token", RM_STOP_TOKEN },    { "end_turn", RM_STOP_TOKEN },
                   { "stop_sequence", RM_STOP_STRING }, { "max_tokens", RM_STOP_LENGTH },
                   { "max_new_tokens", RM_STOP_LENGTH } };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(word, others[i].word) == 0)
            return others[i].reason;
    return rm_stop_reason_find(word);
}

static rm_status read_candidate(line *l, rm_error *err)
{
    rm_candidate *c = &l->candidate;
    const char *reason;
    uint64_t n_generated, k;
    rm_status status = get_text(l, "text", NULL, &c->text, err);
    if (!status)
        status = get_text(l, "finish_reason", "none", &reason, err);
    if (!status)
        status = get_real(l, "lp", &c->lp, err);
    if (!status)
        status = get_real(l, "lp_sampling", &c->lp_sampling, err);
    if (!status)
        status = get_real(l, "score", &c->score, err);
    if (!status)
        status = get_uint(l, "n_generated", RM_NOT_COUNTED, INT32_MAX, &n_generated, err);
    if (!status && !cJSON_GetObjectItemCaseSensitive(rm_json_root(l->json), "candidate"))
        status = wrong(l, NULL, "candidate", "a whole number from 0 on", err);
    if (!status)
        status = get_uint(l, "candidate", 0, INT32_MAX, &k, err);
    if (!status)
        status = read_scores(l, err);
    if (status)
        return status;
    const cJSON *root = rm_json_root(l->json);
    const cJSON *answer = cJSON_GetObjectItemCaseSensitive(root, "answer");
    if (!answer || (!cJSON_IsString(answer) && !cJSON_IsNull(answer) && !cJSON_IsNumber(answer)))
        return wrong(l, answer, "answer", "a string, or null where there is none", err);
    if (cJSON_IsNumber(answer)) {
        rm_text number = { 0 };
        rm_json_number(&number, answer->valuedouble);
        c->answer = number.data; /* freed with the line: see line_free */
        if (number.failed)
            return rm_fail(err, RM_E_MEMORY, "no memory for an answer");
    } else {
        c->answer = cJSON_IsString(answer) ? answer->valuestring : NULL;
    }
    c->reason = reason_of(reason);
    c->n_tokens = n_generated == RM_NOT_COUNTED ? -1 : (int)n_generated;
    l->k = member(l, "candidate") ? (int)k : -1; /* null: an exported outcome that failed */
    if (l->k < 0)
        return get_text(l, "error", "it failed where it was made", &l->error, err);
    return RM_OK;
}

static void line_free(line *l)
{
    const cJSON *answer =
        l->json ? cJSON_GetObjectItemCaseSensitive(rm_json_root(l->json), "answer") : NULL;
    if (answer && cJSON_IsNumber(answer))
        free((char *)(uintptr_t)l->candidate.answer);
    for (int i = 0; i < l->candidate.n_scores; i++)
        free((char *)(uintptr_t)l->candidate.scores[i].name);
    free(l->candidate.scores);
    rm_json_free(l->json);
}

/* The account of the whole outcome, as `ramify export` writes it on every line of it. */
static rm_status read_cost(line *l, rm_error *err)
{
    rm_cost *c = &l->cost;
    const struct count {
        const char *key;
        uint64_t *value;
    } counts[] = { { "n_prompt", &c->prompt_tokens },
                   { "generated_tokens", &c->generated_tokens },
                   { "evaluated_tokens", &c->evaluated_tokens },
                   { "shared_tokens", &c->shared_tokens },
                   { "rounds", &c->rounds },
                   { "kv_peak_positions", &c->kv_peak_positions } };
    const struct amount {
        const char *key;
        double *value;
    } amounts[] = { { "flops", &c->flops },     { "weight_bytes", &c->weight_bytes },
                    { "kv_bytes", &c->kv_bytes }, { "ttft_ms", &c->ttft_ms },
                    { "energy_j", &c->energy_j }, { "wall_ms", &c->wall_ms },
                    { "load", &c->load },         { "latency_ms", &l->latency_ms } };
    rm_status status = RM_OK;
    for (size_t i = 0; i < sizeof counts / sizeof *counts && !status; i++)
        status = get_uint(l, counts[i].key, RM_NOT_COUNTED, INT64_MAX, counts[i].value, err);
    for (size_t i = 0; i < sizeof amounts / sizeof *amounts && !status; i++)
        status = get_amount(l, amounts[i].key, amounts[i].value, err);
    return status;
}

static rm_status read_timing(line *l, rm_error *err)
{
    static const rm_timing timings[] = { RM_TIMING_THROUGHPUT, RM_TIMING_LATENCY, RM_TIMING_NONE };
    const char *said;
    rm_status status = get_text(l, "timing", rm_timing_name(RM_TIMING_NONE), &said, err);
    size_t t = 0;
    while (!status && strcmp(said, rm_timing_name(timings[t])) != 0)
        if (++t == sizeof timings / sizeof *timings)
            return wrong(l, member(l, "timing"), "timing", "throughput, latency or none", err);
    l->timing = timings[t] == RM_TIMING_NONE && !isnan(l->latency_ms) ? RM_TIMING_LATENCY
                                                                      : timings[t];
    return status;
}

static rm_status read_line(importer *in, line *l, rm_error *err)
{
    uint64_t repeat;
    int correct = -1, chosen = 0;
    l->exchangeable = -1;
    if (!cJSON_IsObject(rm_json_root(l->json)))
        return rm_json_fail(err, RM_E_FORMAT, l->json, rm_json_root(l->json),
                            "each line should be one JSON object");
    rm_status status = name_problem(in, l, err);
    if (!status)
        status = name_cell(in, l, err);
    if (!status)
        status = read_candidate(l, err);
    if (!status)
        status = get_flag(l, "correct", &correct, err);
    if (!status && correct < 0)
        status = wrong(l, NULL, "correct", "true or false", err);
    if (!status)
        status = get_flag(l, "chosen", &chosen, err);
    if (!status)
        status = get_flag(l, "exchangeable", &l->exchangeable, err);
    if (!status)
        status = get_uint(l, "seed", 0, UINT64_MAX, &l->seed, err);
    if (!status)
        status = get_uint(l, "repeat", 0, INT32_MAX, &repeat, err);
    if (!status)
        status = read_cost(l, err);
    if (!status)
        status = read_timing(l, err);
    if (status)
        return status;
    l->correct = correct == 1;
    l->chosen = chosen == 1;
    l->repeat = (int)repeat;
    return RM_OK;
}

static rm_status read_lines(importer *in, const char *text, size_t n, rm_error *err)
{
    size_t cursor = 0, number = 0;
    for (;;) {
        line l = { 0 };
        rm_status status = rm_jsonl_next(text, n, in->file, &cursor, &number, &l.json, err);
        if (status)
            return status;
        if (!l.json)
            break;
        l.number = number;
        if (in->n == in->capacity) {
            size_t capacity = in->capacity ? 2 * in->capacity : 256;
            line *lines = realloc(in->lines, capacity * sizeof *lines);
            if (!lines) {
                rm_json_free(l.json);
                return rm_fail(err, RM_E_MEMORY, "no memory to import %s", in->file);
            }
            in->lines = lines;
            in->capacity = capacity;
        }
        in->lines[in->n++] = l;
        status = read_line(in, &in->lines[in->n - 1], err);
        if (status)
            return status;
    }
    if (!in->n)
        return rm_fail(err, RM_E_FORMAT, "%s has no lines to import", in->file);
    return RM_OK;
}

/* ---- order and consistency ------------------------------------------------------------------------- */

static int compare_outcomes(const line *a, const line *b)
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
    const line *a = left, *b = right;
    int order = compare_outcomes(a, b);
    return order ? order : (a->k > b->k) - (a->k < b->k);
}

static rm_status check_group(const importer *in, size_t first, size_t end, rm_error *err)
{
    int chosen = 0;
    for (size_t i = first; i < end; i++) {
        const line *l = &in->lines[i];
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
        if (l->exchangeable >= 0 && in->lines[first].exchangeable >= 0 &&
            l->exchangeable != in->lines[first].exchangeable)
            return rm_fail(err, RM_E_FORMAT, "%s:%zu: exchangeable differs from line %zu of the "
                           "same cell", in->file, l->number, in->lines[first].number);
    }
    return RM_OK;
}

/* ---- into the records -------------------------------------------------------------------------------- */

/* Splits a cell's name at its joints, in place. */
static void split_name(char *name, char *part[4])
{
    part[0] = name;
    for (int i = 1; i < 4; i++) {
        part[i] = strchr(part[i - 1], joint[0]);
        *part[i]++ = '\0';
    }
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
static void describe(rm_text *text, char *const part[4], bool with_model, const cJSON *params,
                     const char *skip)
{
    const cJSON *item;
    if (with_model)
        rm_text_printf(text, "%s: ", part[1]);
    rm_text_puts(text, part[2]);
    cJSON_ArrayForEach(item, params) {
        if (skip && strcmp(item->string, skip) == 0)
            continue;
        rm_text_printf(text, " %s=", item->string);
        if (cJSON_IsString(item))
            rm_text_puts(text, item->valuestring);
        else {
            rm_json_writer w = { .out = text };
            put_canonical(&w, NULL, item, 0);
        }
    }
}

static rm_status put_cell(importer *in, rm_store *store, int index, bool exchangeable,
                          bool with_model, rm_error *err)
{
    char *name = strdup(in->cells.text[index]), *part[4];
    rm_text label = { 0 }, family = { 0 };
    rm_json *params = NULL;
    if (!name)
        return rm_fail(err, RM_E_MEMORY, "no memory to import %s", in->file);
    split_name(name, part);
    rm_status status =
        rm_json_parse(part[3], strlen(part[3]), "params", 1, RM_JSON_NO_POSITIONS, &params, err);
    if (!status) {
        double size;
        const char *size_name = find_size(part[2], rm_json_root(params), &size);
        describe(&label, part, with_model, rm_json_root(params), NULL);
        describe(&family, part, true, rm_json_root(params), size_name);
        rm_cell cell = { .model = part[1], .task = part[0], .strategy = part[2],
                         .params = part[3], .label = label.data, .family = family.data,
                         .size = size, .size_name = (char *)(uintptr_t)size_name,
                         .exchangeable = exchangeable };
        status = label.failed || family.failed
                     ? rm_fail(err, RM_E_MEMORY, "no memory to import %s", in->file)
                     : rm_store_put_cell(store, index, &cell, err);
    }
    rm_json_free(params);
    rm_text_free(&label);
    rm_text_free(&family);
    free(name);
    return status;
}

/* Models of one task are named in the labels where there are several. */
static bool several_models(const importer *in)
{
    const char *first = strchr(in->cells.text[0], joint[0]) + 1;
    size_t n = strcspn(first, joint) + 1;
    for (size_t i = 1; i < in->cells.n; i++)
        if (strncmp(strchr(in->cells.text[i], joint[0]) + 1, first, n) != 0)
            return true;
    return false;
}

static rm_status put_cells(importer *in, rm_store *store, rm_error *err)
{
    rm_status status = RM_OK;
    bool with_model = several_models(in);
    for (size_t first = 0, end; first < in->n && !status; first = end) {
        const line *l = &in->lines[first];
        int said = -1;
        bool several = false;
        for (end = first; end < in->n && in->lines[end].cell == l->cell; end++) {
            if (in->lines[end].exchangeable >= 0)
                said = in->lines[end].exchangeable;
            several = several || (end > first &&
                                  compare_outcomes(&in->lines[end - 1], &in->lines[end]) == 0);
        }
        status = put_cell(in, store, l->cell, said < 0 ? several : said == 1, with_model, err);
    }
    return status;
}

static rm_status put_problems(importer *in, rm_store *store, int64_t *rows, rm_error *err)
{
    rm_status status = RM_OK;
    for (size_t i = 0; i < in->n; i++) /* the first line of each problem, whatever the order */
        rows[in->lines[i].problem] = -1;
    for (size_t i = 0; i < in->n && !status; i++) {
        const line *l = &in->lines[i];
        char *name = in->problems.text[l->problem];
        if (rows[l->problem] >= 0)
            continue;
        char *id = strchr(name, joint[0]);
        const char *reference, *cluster, *level, *question;
        status = get_text(l, "reference", NULL, &reference, err);
        if (!status)
            status = get_text(l, "cluster", NULL, &cluster, err);
        if (!status)
            status = get_text(l, "level", NULL, &level, err);
        if (!status)
            status = get_text(l, "question", NULL, &question, err);
        if (status)
            break;
        *id = '\0';
        rm_problem_row row = { .task = name, .id = id + 1, .index = l->problem,
                               .question = question, .reference = reference, .cluster = cluster,
                               .level = level };
        status = rm_store_put_problem(store, &row, &rows[l->problem], err);
        *id = joint[0];
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
        const line *one = &in->lines[i];
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
    const line *l = &in->lines[first];
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
    rm_status status = candidates && correct ? RM_OK
                                             : rm_fail(err, RM_E_MEMORY, "no memory to import %s",
                                                       in->file);
    for (size_t i = 0; i < n && !status; i++) {
        const line *one = &in->lines[first + i];
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
        return rm_fail(err, RM_E_MEMORY, "no memory to import %s", in->file);
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
        status = read_lines(&in, text, n_text, err);
    if (!status)
        qsort(in.lines, in.n, sizeof *in.lines, by_place);
    for (size_t first = 0, end; first < in.n && !status; first = end) {
        for (end = first + 1; end < in.n && compare_outcomes(&in.lines[first], &in.lines[end]) == 0;)
            end++;
        status = check_group(&in, first, end, err);
    }
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
        line_free(&in.lines[i]);
    free(in.lines);
    names_free(&in.cells);
    names_free(&in.problems);
    free(text);
    return status;
}
