/* import_line.c - reads samples that were made elsewhere, one JSON object a line (exchange.h lists
 * the keys). Cells (task, model, strategy, params) and problems are numbered as they first appear.
 * Everything a line says is checked here, before anything is written. */
#include "experiments/import_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ------------------------------------------------------------------------------ */

static const cJSON *member(const import_line *l, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(rm_json_root(l->json), key);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

static rm_status wrong(const import_line *l, const cJSON *item, const char *key,
                       const char *expected,
                       rm_error *err)
{
    return item ? rm_json_fail(err, RM_E_FORMAT, l->json, item, "%s should be %s", key, expected)
                : rm_json_fail(err, RM_E_FORMAT, l->json, rm_json_root(l->json),
                               "the line has no %s (%s)", key, expected);
}

static rm_status get_text(const import_line *l, const char *key, const char *absent,
                          const char **value,
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

static rm_status get_real(const import_line *l, const char *key, double *value, rm_error *err)
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

static rm_status get_uint(const import_line *l, const char *key, uint64_t absent, uint64_t most,
                          uint64_t *value, rm_error *err)
{
    const cJSON *item = member(l, key);
    *value = absent;
    if (item && (!rm_json_get_uint(l->json, item, value) || *value > most))
        return wrong(l, item, key, "a whole number from 0 on", err);
    return RM_OK;
}

/* A real that cannot be negative. */
static rm_status get_amount(const import_line *l, const char *key, double *value, rm_error *err)
{
    rm_status status = get_real(l, key, value, err);
    return !status && *value < 0 ? wrong(l, member(l, key), key, "a number from 0 on", err)
        : status;
}

/* true, false, 1 or 0; *value stays if the key is absent. */
static rm_status get_flag(const import_line *l, const char *key, int *value, rm_error *err)
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

/* ---- identity of cells and problems ------------------------------------------------------ */

static int by_key(const void *left, const void *right)
{
    return strcmp((*(const cJSON *const *)left)->string, (*(const cJSON *const *)right)->string);
}

/* A value with its object keys sorted, so that equal parameters are equal texts. */
bool import_put_canonical(rm_json_writer *w, const char *key, const cJSON *value, int depth)
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
            fine = import_put_canonical(w, members[i]->string, members[i], depth + 1);
        rm_json_end(w);
        free(members);
        return fine;
    }
    if (cJSON_IsArray(value)) {
        const cJSON *item;
        bool fine = true;
        rm_json_array(w, key);
        cJSON_ArrayForEach(item, value) fine = fine
            && import_put_canonical(w, NULL, item, depth + 1);
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

const char import_joint[] = "\x1f";

static rm_status name_cell(importer *in, import_line *l, rm_error *err)
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
    rm_text_printf(&key, "%s%s%s%s%s%s", task, import_joint, model, import_joint, strategy,
                   import_joint);
    rm_json_writer w = { .out = &key };
    if (!params)
        rm_text_puts(&key, "{}");
    else if (!import_put_canonical(&w, NULL, params, 0))
        status = wrong(l, params, "params", "a flat object", err);
    if (!status)
        l->cell = key.failed ? -1 : names_index(&in->cells, key.data);
    rm_text_free(&key);
    if (!status && l->cell < 0)
        return rm_fail(err, RM_E_MEMORY, "no memory to import %s", in->file);
    return status;
}

static rm_status name_problem(importer *in, import_line *l, rm_error *err)
{
    const cJSON *item = member(l, "problem");
    const char *task;
    rm_text key = { 0 };
    rm_status status = get_text(l, "task", "imported", &task, err);
    if (status)
        return status;
    rm_text_printf(&key, "%s%s", task, import_joint);
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

/* ---- the candidate of a line ------------------------------------------------------------- */

static rm_status add_score(import_line *l, const char *name, double value, rm_error *err)
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

static rm_status read_scores(import_line *l, rm_error *err)
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
static const struct {
    const char *word;
    rm_stop_reason reason;
} other_reasons[] = { { "stop", RM_STOP_TOKEN },           { "eos", RM_STOP_TOKEN },
                      { "eos_token", RM_STOP_TOKEN },      { "end_turn", RM_STOP_TOKEN },
                      { "stop_sequence", RM_STOP_STRING }, { "max_tokens", RM_STOP_LENGTH },
                      { "max_new_tokens", RM_STOP_LENGTH } };
enum { N_OTHER_REASONS = sizeof other_reasons / sizeof *other_reasons };

static rm_status read_reason(const import_line *l, rm_stop_reason *reason, rm_error *err)
{
    const char *word;
    rm_status status = get_text(l, "finish_reason", rm_stop_reason_name(RM_STOP_NONE), &word, err);
    if (status)
        return status;
    *reason = rm_stop_reason_find(word);
    if (*reason != RM_STOP_NONE || strcmp(word, rm_stop_reason_name(RM_STOP_NONE)) == 0)
        return RM_OK;
    for (int i = 0; i < N_OTHER_REASONS; i++)
        if (strcmp(word, other_reasons[i].word) == 0) {
            *reason = other_reasons[i].reason;
            return RM_OK;
        }
    rm_text known = { 0 };
    for (int i = RM_STOP_NONE; i <= RM_STOP_BUDGET; i++)
        rm_text_printf(&known, "%s, ", rm_stop_reason_name((rm_stop_reason)i));
    for (int i = 0; i < N_OTHER_REASONS; i++)
        rm_text_printf(&known, i ? ", %s" : "%s", other_reasons[i].word);
    rm_json_fail(err, RM_E_FORMAT, l->json, member(l, "finish_reason"),
                 "finish_reason is \"%.40s\", expected one of %s, or null where it is not known",
                 word, known.data ? known.data : "the known ones");
    rm_text_free(&known);
    return RM_E_FORMAT;
}

static rm_status read_candidate(import_line *l, rm_error *err)
{
    rm_candidate *c = &l->candidate;
    uint64_t n_generated, k;
    rm_status status = get_text(l, "text", NULL, &c->text, err);
    if (!status)
        status = read_reason(l, &c->reason, err);
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
    c->n_tokens = n_generated == RM_NOT_COUNTED ? -1 : (int)n_generated;
    l->k = member(l, "candidate") ? (int)k : -1; /* null: an exported outcome that failed */
    if (l->k < 0)
        return get_text(l, "error", "it failed where it was made", &l->error, err);
    return RM_OK;
}

void import_line_free(import_line *l)
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
static rm_status read_cost(import_line *l, rm_error *err)
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

static rm_status read_timing(import_line *l, rm_error *err)
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

const char *const import_mark_names[] = { "exchangeable", "verifier", "oracle" };

/* What the line says of its cell and its problem. */
static rm_status read_owners(import_line *l, rm_error *err)
{
    const struct described {
        const char *key, **value;
    } texts[] = { { "label", &l->label },     { "reference", &l->reference },
                  { "cluster", &l->cluster }, { "level", &l->level },
                  { "question", &l->question } };
    rm_status status = RM_OK;
    for (int m = 0; m < N_IMPORT_MARKS && !status; m++) {
        l->mark[m] = -1;
        status = get_flag(l, import_mark_names[m], &l->mark[m], err);
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !status; i++)
        status = get_text(l, texts[i].key, NULL, texts[i].value, err);
    if (!status && l->label && !l->label[0])
        status = wrong(l, member(l, "label"), "label", "a string that is not empty", err);
    return status;
}

static rm_status read_line(importer *in, import_line *l, rm_error *err)
{
    uint64_t repeat;
    int correct = -1, chosen = 0;
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
        status = read_owners(l, err);
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

rm_status import_read_lines(importer *in, const char *text, size_t n, rm_error *err)
{
    size_t cursor = 0, number = 0;
    for (;;) {
        import_line l = { 0 };
        rm_status status = rm_jsonl_next(text, n, in->file, &cursor, &number, &l.json, err);
        if (status)
            return status;
        if (!l.json)
            break;
        l.number = number;
        if (in->n == in->capacity) {
            size_t capacity = in->capacity ? 2 * in->capacity : 256;
            import_line *lines = realloc(in->lines, capacity * sizeof *lines);
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
