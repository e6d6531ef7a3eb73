/* export.c - the records as JSON lines or CSV.
 *
 * The columns stand in one table: name, kind, and the expression that gives the value. Numbers
 * are written so that they read back to the same double. What is not known is null in JSON and
 * empty in CSV. */
#include "base/json.h"
#include "experiments/exchange.h"

#include <sqlite3.h>
#include <errno.h>
#include <string.h>

typedef enum kind { TEXT, JSON, INTEGER, UNSIGNED, REAL, FLAG, TOKENS } kind;
enum { TIMED = 1 };

static const struct column {
    const char *name;
    kind kind;
    unsigned flags;
    const char *sql;
} columns[] = {
    { "task", TEXT, 0, "c.task" },
    { "problem", TEXT, 0, "p.id" },
    { "model", TEXT, 0, "c.model" },
    { "strategy", TEXT, 0, "c.strategy" },
    { "label", TEXT, 0, "c.label" },
    { "params", JSON, 0, "c.params" },
    { "seed", UNSIGNED, 0, "o.seed" },
    { "timing", TEXT, 0, "o.timing" },
    { "repeat", INTEGER, 0, "o.repeat" },
    { "candidate", INTEGER, 0, "k.k" },
    { "chosen", FLAG, 0, "k.k = o.chosen" },
    { "answer", TEXT, 0, "k.answer" },
    { "correct", FLAG, 0, "coalesce(k.correct, 0)" },
    { "reference", TEXT, 0, "p.reference" },
    { "cluster", TEXT, 0, "p.cluster" },
    { "level", TEXT, 0, "p.level" },
    { "exchangeable", FLAG, 0, "c.exchangeable" },
    { "verifier", FLAG, 0, "c.verifier" },
    { "oracle", FLAG, 0, "c.oracle" },
    { "text", TEXT, 0, "k.text" },
    { "tokens", TOKENS, 0, "k.tokens" },
    { "finish_reason", TEXT, 0, "k.reason" },
    { "n_generated", INTEGER, 0, "k.n_tokens" },
    { "lp", REAL, 0, "k.lp" },
    { "lp_sampling", REAL, 0, "k.lp_sampling" },
    { "score", REAL, 0, "k.score" },
    { "outcome_correct", FLAG, 0, "o.correct" },
    { "n_candidates", INTEGER, 0, "o.n_candidates" },
    { "error", TEXT, 0, "o.error" },
    { "cut_short", FLAG, 0, "o.cut_short" },
    { "n_prompt", INTEGER, 0, "o.prompt_tokens" },
    { "generated_tokens", INTEGER, 0, "o.generated_tokens" },
    { "evaluated_tokens", INTEGER, 0, "o.evaluated_tokens" },
    { "shared_tokens", INTEGER, 0, "o.shared_tokens" },
    { "rounds", INTEGER, 0, "o.rounds" },
    { "flops", REAL, 0, "o.flops" },
    { "weight_bytes", REAL, 0, "o.weight_bytes" },
    { "kv_bytes", REAL, 0, "o.kv_bytes" },
    { "kv_peak_positions", INTEGER, 0, "o.kv_peak_positions" },
    { "latency_ms", REAL, TIMED, "CASE o.timing WHEN 'latency' THEN o.wall_ms END" },
    { "wall_ms", REAL, TIMED, "o.wall_ms" },
    { "ttft_ms", REAL, TIMED, "o.ttft_ms" },
    { "load", REAL, TIMED, "o.load" },
    { "energy_j", REAL, TIMED, "o.energy_j" },
    { "pooled", INTEGER, TIMED, "o.pooled" },
    { "machine_load", REAL, TIMED, "o.machine_load" },
};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

static bool wanted(const struct column *column, unsigned flags)
{
    if (column->kind == TOKENS && !(flags & RM_EXPORT_TOKENS))
        return false;
    return !(column->flags & TIMED) || !(flags & RM_EXPORT_NO_TIMES);
}

typedef struct exporter {
    rm_store *store;
    unsigned flags;
    FILE *out;
    sqlite3_stmt *rows, *scores, *nodes;
    int outcome_column, first_column; /* outcome number; is this its first line? */
} exporter;

/* ---- values ------------------------------------------------------------------------------ */

static void add_tokens(rm_text *text, sqlite3_stmt *row, int at)
{
    const unsigned char *blob = sqlite3_column_blob(row, at);
    int n = sqlite3_column_bytes(row, at) / 4;
    rm_text_puts(text, "[");
    for (int i = 0; i < n; i++) {
        const unsigned char *b = blob + 4 * i;
        int32_t token = (int32_t)((uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
                                  (uint32_t)b[3] << 24);
        rm_text_printf(text, i ? ",%d" : "%d", token);
    }
    rm_text_puts(text, "]");
}

static void json_value(rm_json_writer *w, const struct column *column, sqlite3_stmt *row, int at)
{
    const char *name = column->name;
    if (sqlite3_column_type(row, at) == SQLITE_NULL) {
        rm_json_null(w, name);
        return;
    }
    switch (column->kind) {
    case TEXT:
        rm_json_string_n(w, name, (const char *)sqlite3_column_text(row, at),
                         (size_t)sqlite3_column_bytes(row, at));
        break;
    case JSON:
        rm_json_raw(w, name, (const char *)sqlite3_column_text(row, at));
        break;
    case INTEGER:
        rm_json_int(w, name, sqlite3_column_int64(row, at));
        break;
    case UNSIGNED:
        rm_json_uint(w, name, (uint64_t)sqlite3_column_int64(row, at));
        break;
    case REAL:
        rm_json_real(w, name, sqlite3_column_double(row, at));
        break;
    case FLAG:
        rm_json_bool(w, name, sqlite3_column_int(row, at) != 0);
        break;
    case TOKENS: {
        rm_text list = { 0 };
        add_tokens(&list, row, at);
        if (list.failed)
            w->out->failed = true;
        else
            rm_json_raw(w, name, list.data);
        rm_text_free(&list);
        break;
    }
    }
}

/* ---- scores and trees -------------------------------------------------------------------- */

/* The scores of one candidate as two members: "scores" by name, and "step_scores", which the
 * records keep under the names step_scores[000], step_scores[001], ... */
static rm_status add_scores(exporter *e, rm_json_writer *w, int64_t outcome, int64_t k,
                            rm_error *err)
{
    static const char step[] = "step_scores[";
    for (int steps = 0; steps < 2; steps++) {
        int code;
        bool open = false;
        sqlite3_bind_int64(e->scores, 1, outcome);
        sqlite3_bind_int64(e->scores, 2, k);
        while ((code = sqlite3_step(e->scores)) == SQLITE_ROW) {
            const char *name = (const char *)sqlite3_column_text(e->scores, 0);
            if ((strncmp(name, step, sizeof step - 1) == 0) != (steps == 1))
                continue;
            if (!open && steps)
                rm_json_array(w, "step_scores");
            else if (!open)
                rm_json_object(w, "scores");
            open = true;
            if (sqlite3_column_type(e->scores, 1) == SQLITE_NULL)
                rm_json_null(w, steps ? NULL : name);
            else
                rm_json_real(w, steps ? NULL : name, sqlite3_column_double(e->scores, 1));
        }
        sqlite3_reset(e->scores);
        if (open)
            rm_json_end(w);
        if (code != SQLITE_DONE)
            return rm_store_fail(e->store, "read the scores", err);
    }
    return RM_OK;
}

static void real_or_null(rm_json_writer *w, const char *key, sqlite3_stmt *row, int at)
{
    if (sqlite3_column_type(row, at) == SQLITE_NULL)
        rm_json_null(w, key);
    else
        rm_json_real(w, key, sqlite3_column_double(row, at));
}

static rm_status add_nodes(exporter *e, rm_json_writer *w, int64_t outcome, rm_error *err)
{
    int code;
    bool open = false;
    sqlite3_bind_int64(e->nodes, 1, outcome);
    while ((code = sqlite3_step(e->nodes)) == SQLITE_ROW) {
        if (!open)
            rm_json_array(w, "nodes");
        open = true;
        rm_json_object(w, NULL);
        rm_json_int(w, "node", sqlite3_column_int64(e->nodes, 0));
        real_or_null(w, "parent", e->nodes, 1);
        rm_json_int(w, "depth", sqlite3_column_int64(e->nodes, 2));
        rm_json_string(w, "text", (const char *)sqlite3_column_text(e->nodes, 3));
        rm_json_int(w, "n_tokens", sqlite3_column_int64(e->nodes, 4));
        real_or_null(w, "lp", e->nodes, 5);
        real_or_null(w, "prior", e->nodes, 6);
        real_or_null(w, "value", e->nodes, 7);
        real_or_null(w, "visits", e->nodes, 8);
        real_or_null(w, "candidate", e->nodes, 9);
        rm_json_end(w);
    }
    sqlite3_reset(e->nodes);
    if (open)
        rm_json_end(w);
    return code == SQLITE_DONE ? RM_OK : rm_store_fail(e->store, "read the search trees", err);
}

/* ---- lines ------------------------------------------------------------------------------- */

static rm_status jsonl_line(exporter *e, rm_text *line, rm_error *err)
{
    rm_json_writer w = { .out = line };
    rm_status status = RM_OK;
    int64_t outcome = sqlite3_column_int64(e->rows, e->outcome_column);
    bool candidate = sqlite3_column_type(e->rows, e->first_column) != SQLITE_NULL;
    int64_t k = sqlite3_column_int64(e->rows, e->first_column);
    int at = 0;
    rm_json_object(&w, NULL);
    for (int i = 0; i < N_COLUMNS; i++)
        if (wanted(&columns[i], e->flags))
            json_value(&w, &columns[i], e->rows, at++);
    if (candidate)
        status = add_scores(e, &w, outcome, k, err);
    if (!status && e->flags & RM_EXPORT_TREES && k == 0)
        status = add_nodes(e, &w, outcome, err);
    rm_json_end(&w);
    return status;
}

/* RFC 4180: quoted where a comma, quote or line end demands it. */
static void csv_field(rm_text *line, const char *text, size_t n)
{
    bool quote = false;
    for (size_t i = 0; i < n; i++)
        quote = quote || strchr(",\"\r\n", text[i]);
    if (!quote) {
        rm_text_add(line, text, n);
        return;
    }
    rm_text_puts(line, "\"");
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"')
            rm_text_puts(line, "\"");
        rm_text_add(line, text + i, 1);
    }
    rm_text_puts(line, "\"");
}

static void csv_value(rm_text *line, kind type, sqlite3_stmt *row, int at)
{
    rm_text list = { 0 };
    if (sqlite3_column_type(row, at) == SQLITE_NULL)
        return;
    switch (type) {
    case TEXT:
    case JSON:
        csv_field(line, (const char *)sqlite3_column_text(row, at),
                  (size_t)sqlite3_column_bytes(row, at));
        break;
    case INTEGER:
        rm_text_printf(line, "%lld", (long long)sqlite3_column_int64(row, at));
        break;
    case UNSIGNED:
        rm_text_printf(line, "%llu", (unsigned long long)sqlite3_column_int64(row, at));
        break;
    case REAL:
        rm_json_number(line, sqlite3_column_double(row, at));
        break;
    case FLAG:
        rm_text_puts(line, sqlite3_column_int(row, at) ? "1" : "0");
        break;
    case TOKENS:
        add_tokens(&list, row, at);
        csv_field(line, list.data ? list.data : "", list.length);
        line->failed = line->failed || list.failed;
        rm_text_free(&list);
        break;
    }
}

static rm_status csv_line(exporter *e, rm_text *line, rm_error *err)
{
    rm_text scores = { 0 };
    rm_json_writer w = { .out = &scores };
    rm_status status = RM_OK;
    int at = 0;
    for (int i = 0; i < N_COLUMNS; i++)
        if (wanted(&columns[i], e->flags)) {
            rm_text_puts(line, at ? "," : "");
            csv_value(line, columns[i].kind, e->rows, at++);
        }
    rm_json_object(&w, NULL);
    if (sqlite3_column_type(e->rows, e->first_column) != SQLITE_NULL)
        status = add_scores(e, &w, sqlite3_column_int64(e->rows, e->outcome_column),
                            sqlite3_column_int64(e->rows, e->first_column), err);
    rm_json_end(&w);
    rm_text_puts(line, ",");
    if (scores.length > 2)
        csv_field(line, scores.data, scores.length);
    line->failed = line->failed || scores.failed;
    rm_text_free(&scores);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------- */

static rm_status prepare(exporter *e, rm_error *err)
{
    rm_text sql = { 0 };
    int n = 0;
    rm_text_puts(&sql, "SELECT ");
    for (int i = 0; i < N_COLUMNS; i++)
        if (wanted(&columns[i], e->flags)) {
            rm_text_printf(&sql, "%s, ", columns[i].sql);
            n++;
        }
    e->outcome_column = n;
    e->first_column = n + 1;
    rm_text_puts(&sql, "o.outcome, k.k FROM outcomes o JOIN cells c USING (cell)"
                       " JOIN problems p USING (problem)"
                       " LEFT JOIN candidates k ON k.outcome = o.outcome"
                       " ORDER BY o.cell, p.idx, o.seed, o.timing DESC, o.repeat, k.k");
    rm_status status = sql.failed ? rm_fail(err, RM_E_MEMORY, "no memory to export")
                                  : rm_store_prepare(e->store, sql.data, &e->rows, err);
    rm_text_free(&sql);
    if (!status)
        status = rm_store_prepare(
            e->store, "SELECT name, value FROM scores WHERE outcome = ? AND k = ? ORDER BY name",
            &e->scores, err);
    if (!status)
        status = rm_store_prepare(e->store,
                                  "SELECT node, parent, depth, text, n_tokens, lp, prior, value,"
                                  " visits, candidate FROM nodes WHERE outcome = ? ORDER BY node",
                                  &e->nodes, err);
    return status;
}

static rm_status put_line(exporter *e, rm_text *line, rm_error *err)
{
    rm_text_puts(line, "\n");
    if (line->failed)
        return rm_fail(err, RM_E_MEMORY, "no memory for a line of the export");
    if (fwrite(line->data, 1, line->length, e->out) != line->length)
        return rm_fail(err, RM_E_IO, "cannot write the export: %s", strerror(errno));
    line->length = 0;
    return RM_OK;
}

static void csv_head(const exporter *e, rm_text *line)
{
    int n = 0;
    for (int i = 0; i < N_COLUMNS; i++)
        if (wanted(&columns[i], e->flags))
            rm_text_printf(line, n++ ? ",%s" : "%s", columns[i].name);
    rm_text_puts(line, ",scores");
}

/* Joins pass over outcomes whose cell or problem a damaged file has lost: none may be missing. */
static rm_status check_count(exporter *e, int64_t exported, rm_error *err)
{
    sqlite3_stmt *row = NULL;
    int64_t recorded = 0;
    rm_status status = rm_store_prepare(e->store, "SELECT count(*) FROM outcomes NOT INDEXED", &row,
                                        err);
    if (!status && sqlite3_step(row) == SQLITE_ROW)
        recorded = sqlite3_column_int64(row, 0);
    else if (!status)
        status = rm_store_fail(e->store, "count the outcomes", err);
    sqlite3_finalize(row);
    if (!status && recorded != exported)
        status = rm_fail(err, RM_E_FORMAT, "%s/records.sqlite is damaged: only %lld of its %lld "
                         "outcomes can be read", rm_store_dir(e->store), (long long)exported,
                         (long long)recorded);
    return status;
}

rm_status rm_export(rm_store *store, rm_export_format format, unsigned flags, FILE *out,
                    rm_error *err)
{
    exporter e = { .store = store, .flags = flags, .out = out };
    rm_text line = { 0 };
    int code = SQLITE_DONE;
    int64_t outcomes = 0, last = -1;
    rm_status status = prepare(&e, err);
    if (!status && format == RM_EXPORT_CSV) {
        csv_head(&e, &line);
        status = put_line(&e, &line, err);
    }
    while (!status && (code = sqlite3_step(e.rows)) == SQLITE_ROW) {
        status = format == RM_EXPORT_CSV ? csv_line(&e, &line, err) : jsonl_line(&e, &line, err);
        if (!status)
            status = put_line(&e, &line, err);
        int64_t outcome = sqlite3_column_int64(e.rows, e.outcome_column);
        outcomes += outcome != last; /* its lines stand together */
        last = outcome;
    }
    if (!status && code != SQLITE_DONE)
        status = rm_store_fail(store, "read the outcomes", err);
    if (!status)
        status = check_count(&e, outcomes, err);
    if (!status && fflush(out) != 0)
        status = rm_fail(err, RM_E_IO, "cannot write the export: %s", strerror(errno));
    rm_text_free(&line);
    sqlite3_finalize(e.rows);
    sqlite3_finalize(e.scores);
    sqlite3_finalize(e.nodes);
    return status;
}
