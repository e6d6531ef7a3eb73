/* store_write.c - cells, problems and outcomes into the records; see schema.c for the tables. */
#include "experiments/store_private.h"

#include <sqlite3.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const statement_sql[N_STATEMENTS] = {
    [PUT_META] = "INSERT OR REPLACE INTO meta VALUES (?, ?)",
    [GET_META] = "SELECT value FROM meta WHERE key = ?",
    [PUT_CELL] = "INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                 " ON CONFLICT (cell) DO NOTHING",
    [PUT_PROBLEM] = "INSERT INTO problems (task, idx, id, question, reference, cluster, level,"
                    " hash, prompt_hash, prompt) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (task, idx) DO NOTHING",
    [GET_PROBLEM] = "SELECT problem, id, prompt_hash FROM problems WHERE task = ? AND idx = ?",
    [PUT_PROMPT] = "INSERT INTO prompts VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
    [GET_PROMPT] = "SELECT prompt_hash FROM prompts WHERE problem = ? AND model = ?",
    [PUT_OUTCOME] =
        "INSERT INTO outcomes (cell, problem, seed, timing, repeat, error, cut_short, chosen,"
        " correct, n_candidates, prompt_tokens, generated_tokens, evaluated_tokens, shared_tokens,"
        " rounds, flops, weight_bytes, kv_bytes, kv_peak_positions, wall_ms, ttft_ms, load,"
        " energy_j, pooled, machine_load, recorded)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [PUT_CANDIDATE] = "INSERT INTO candidates (outcome, k, text, tokens, n_tokens, lp, lp_sampling,"
                      " score, answer, correct, reason, truncated, model)"
                      " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [PUT_SCORE] = "INSERT INTO scores VALUES (?, ?, ?, ?)",
    [PUT_NODE] = "INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
};

rm_status store_begin(rm_store *store, rm_error *err)
{
    rm_status status = store->writing ? RM_OK : store_execute(store, "BEGIN IMMEDIATE", "write", err);
    store->writing = store->writing || !status;
    return status;
}

rm_status store_statement_ready(rm_store *store, enum store_statement which, bool write,
                                sqlite3_stmt **statement, rm_error *err)
{
    rm_status status = write ? store_begin(store, err) : RM_OK;
    if (status)
        return status;
    if (!store->statements[which])
        status = rm_store_prepare(store, statement_sql[which], &store->statements[which], err);
    *statement = store->statements[which];
    return status;
}

/* ---- binding: one column after the other ----------------------------------------------------- */

typedef struct binder {
    sqlite3_stmt *statement;
    int column;
} binder;

static void put_int(binder *b, int64_t value)
{
    sqlite3_bind_int64(b->statement, ++b->column, value);
}

static void put_known_int(binder *b, int64_t value, bool known)
{
    if (known)
        put_int(b, value);
    else
        sqlite3_bind_null(b->statement, ++b->column);
}

static void put_count(binder *b, uint64_t value)
{
    put_known_int(b, (int64_t)value, value != RM_NOT_COUNTED);
}

static void put_real(binder *b, double value) /* NaN becomes NULL */
{
    sqlite3_bind_double(b->statement, ++b->column, value);
}

/* Bytes that are not UTF-8 (a cut token) are kept as they are: SQLite stores what it is given. */
static void put_text(binder *b, const char *text)
{
    sqlite3_bind_text(b->statement, ++b->column, text, -1, SQLITE_STATIC);
}

static void put_hash(binder *b, uint64_t hash)
{
    static const char digits[] = "0123456789abcdef";
    char text[17];
    for (int i = 0; i < 16; i++)
        text[i] = digits[hash >> (60 - 4 * i) & 15];
    text[16] = '\0';
    sqlite3_bind_text(b->statement, ++b->column, hash ? text : NULL, -1, SQLITE_TRANSIENT);
}

static rm_status finish(rm_store *store, sqlite3_stmt *statement, const char *doing, rm_error *err)
{
    int code = sqlite3_step(statement);
    rm_status status = code == SQLITE_DONE ? RM_OK : rm_store_fail(store, doing, err);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    /* A full disk or a failing one may have undone the whole transaction. */
    if (status && sqlite3_get_autocommit(store->db))
        store->writing = false;
    return status;
}

/* ---- cells and problems ------------------------------------------------------------------ */

rm_status rm_store_put_cell(rm_store *store, int index, const rm_cell *cell, rm_error *err)
{
    binder b = { 0 };
    rm_status status = store_statement_ready(store, PUT_CELL, true, &b.statement, err);
    if (status)
        return status;
    put_int(&b, index);
    put_text(&b, cell->label);
    put_text(&b, cell->model);
    put_text(&b, cell->task);
    put_text(&b, cell->strategy);
    put_text(&b, cell->params);
    put_text(&b, cell->family);
    put_real(&b, cell->size);
    put_text(&b, cell->size_name);
    put_int(&b, cell->exchangeable);
    put_int(&b, cell->verifier);
    put_int(&b, cell->oracle);
    return finish(store, b.statement, "record a cell", err);
}

static rm_status find_problem(rm_store *store, const rm_problem_row *row, int64_t *problem,
                              rm_error *err)
{
    binder b = { 0 };
    rm_status status = store_statement_ready(store, GET_PROBLEM, false, &b.statement, err);
    if (status)
        return status;
    put_text(&b, row->task);
    put_int(&b, row->index);
    if (sqlite3_step(b.statement) != SQLITE_ROW)
        status = rm_store_fail(store, "find a problem", err);
    else if (strcmp((const char *)sqlite3_column_text(b.statement, 1), row->id) != 0)
        status = rm_fail(err, RM_E_ARGUMENT, "problem %lld of task %s is %s, but %s was made with "
                         "%s there: the task's file has changed", (long long)row->index, row->task,
                         row->id, store->dir, (const char *)sqlite3_column_text(b.statement, 1));
    else
        *problem = sqlite3_column_int64(b.statement, 0);
    sqlite3_reset(b.statement);
    return status;
}

rm_status rm_store_put_problem(rm_store *store, const rm_problem_row *row, int64_t *problem,
                               rm_error *err)
{
    binder b = { 0 };
    rm_status status = store_statement_ready(store, PUT_PROBLEM, true, &b.statement, err);
    if (status)
        return status;
    put_text(&b, row->task);
    put_int(&b, row->index);
    put_text(&b, row->id);
    put_text(&b, row->question);
    put_text(&b, row->reference);
    put_text(&b, row->cluster);
    put_text(&b, row->level);
    put_hash(&b, row->hash);
    put_hash(&b, row->prompt_hash);
    put_text(&b, row->prompt);
    status = finish(store, b.statement, "record a problem", err);
    return status ? status : find_problem(store, row, problem, err);
}

rm_status rm_store_put_prompt(rm_store *store, int64_t problem, const char *model,
                              const char *prompt, rm_error *err)
{
    binder b = { 0 };
    uint64_t hash = rm_hash_bytes(prompt, strlen(prompt));
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    rm_status status = store_statement_ready(store, PUT_PROMPT, true, &b.statement, err);
    if (status)
        return status;
    put_int(&b, problem);
    put_text(&b, model);
    put_hash(&b, hash);
    put_text(&b, prompt);
    status = finish(store, b.statement, "record a prompt", err);
    b = (binder){ 0 };
    if (!status)
        status = store_statement_ready(store, GET_PROMPT, true, &b.statement, err);
    if (status)
        return status;
    put_int(&b, problem);
    put_text(&b, model);
    if (sqlite3_step(b.statement) != SQLITE_ROW)
        status = rm_store_fail(store, "find a prompt", err);
    else if (strcmp((const char *)sqlite3_column_text(b.statement, 0), text) != 0)
        status = rm_fail(err, RM_E_ARGUMENT,
                         "the chat template of %s makes another prompt of problem "
                         "%lld than when %s was begun", model, (long long)problem, store->dir);
    sqlite3_reset(b.statement);
    return status;
}

/* ---- outcomes ---------------------------------------------------------------------------- */

const char *rm_timing_name(rm_timing timing)
{
    return timing == RM_TIMING_LATENCY      ? "latency"
           : timing == RM_TIMING_THROUGHPUT ? "throughput"
                                            : "none";
}


bool rm_stop_reason_truncated(rm_stop_reason reason)
{
    return reason == RM_STOP_LENGTH || reason == RM_STOP_CONTEXT || reason == RM_STOP_BUDGET;
}

static rm_status put_candidate(rm_store *store, int64_t outcome, int k, const rm_candidate *c,
                               bool correct, rm_error *err)
{
    binder b = { 0 };
    rm_status status = store_statement_ready(store, PUT_CANDIDATE, true, &b.statement, err);
    if (status)
        return status;
    put_int(&b, outcome);
    put_int(&b, k);
    put_text(&b, c->text);
    sqlite3_bind_blob64(b.statement, ++b.column, c->tokens,
                        c->tokens ? (sqlite3_uint64)c->n_tokens * sizeof *c->tokens : 0,
                        SQLITE_STATIC);
    put_known_int(&b, c->n_tokens, c->n_tokens >= 0);
    put_real(&b, c->lp);
    put_real(&b, c->lp_sampling);
    put_real(&b, c->score);
    put_text(&b, c->answer);
    put_int(&b, correct);
    put_text(&b, rm_stop_reason_name(c->reason));
    put_int(&b, rm_stop_reason_truncated(c->reason));
    put_int(&b, c->model);
    status = finish(store, b.statement, "record a candidate", err);
    for (int i = 0; i < c->n_scores && !status; i++) {
        binder s = { 0 };
        status = store_statement_ready(store, PUT_SCORE, true, &s.statement, err);
        if (status)
            break;
        put_int(&s, outcome);
        put_int(&s, k);
        put_text(&s, c->scores[i].name);
        put_real(&s, c->scores[i].value);
        status = finish(store, s.statement, "record a score", err);
    }
    return status;
}

static rm_status put_node(rm_store *store, int64_t outcome, int index, const rm_node *node,
                          rm_error *err)
{
    binder b = { 0 };
    rm_status status = store_statement_ready(store, PUT_NODE, true, &b.statement, err);
    if (status)
        return status;
    put_int(&b, outcome);
    put_int(&b, index);
    put_known_int(&b, node->parent, node->parent >= 0);
    put_int(&b, node->depth);
    put_text(&b, node->text ? node->text : "");
    put_int(&b, node->n_tokens);
    put_real(&b, node->lp);
    put_real(&b, node->prior);
    put_real(&b, node->value);
    put_real(&b, node->visits);
    put_known_int(&b, node->candidate, node->candidate >= 0);
    return finish(store, b.statement, "record a node of a search tree", err);
}

static void bind_outcome(binder *b, const rm_outcome_row *row, const rm_outcome *outcome,
                         const char *now)
{
    int chosen = outcome ? outcome->chosen : -1;
    const rm_cost *cost = &row->cost;
    put_int(b, row->cell);
    put_int(b, row->problem);
    put_int(b, (int64_t)row->seed);
    put_text(b, rm_timing_name(row->timing));
    put_int(b, row->repeat);
    put_text(b, row->error);
    put_int(b, outcome && outcome->cut_short);
    put_known_int(b, chosen, chosen >= 0);
    put_int(b, !row->error && chosen >= 0 && row->correct[chosen]);
    put_int(b, outcome ? outcome->n_candidates : 0);
    put_count(b, cost->prompt_tokens);
    put_count(b, cost->generated_tokens);
    put_count(b, cost->evaluated_tokens);
    put_count(b, cost->shared_tokens);
    put_count(b, cost->rounds);
    put_real(b, cost->flops);
    put_real(b, cost->weight_bytes);
    put_real(b, cost->kv_bytes);
    put_count(b, cost->kv_peak_positions);
    put_real(b, cost->wall_ms);
    put_real(b, cost->ttft_ms);
    put_real(b, cost->load);
    put_real(b, cost->energy_j);
    put_int(b, row->pooled);
    put_real(b, row->machine_load);
    put_text(b, now);
}

rm_status rm_store_put_outcome(rm_store *store, const rm_outcome_row *row, rm_error *err)
{
    binder b = { 0 };
    char now[STORE_TIME_SIZE];
    const rm_outcome *outcome = row->outcome;
    rm_status status = store_statement_ready(store, PUT_OUTCOME, true, &b.statement, err);
    if (status)
        return status;
    store_time(now);
    bind_outcome(&b, row, outcome, now);
    status = finish(store, b.statement, "record an outcome", err);
    int64_t id = sqlite3_last_insert_rowid(store->db);
    for (int i = 0; outcome && i < outcome->n_candidates && !status; i++)
        status = put_candidate(store, id, i, &outcome->candidates[i], row->correct[i], err);
    for (int i = 0; outcome && i < outcome->n_nodes && !status; i++)
        status = put_node(store, id, i, &outcome->nodes[i], err);
    return status;
}

rm_status rm_store_finished(rm_store *store, rm_store_found *found, void *arg, rm_error *err)
{
    sqlite3_stmt *select = NULL;
    rm_status status = rm_store_prepare(
        store, "SELECT cell, problem, seed, timing, repeat FROM outcomes", &select, err);
    if (status)
        return status;
    int code;
    while ((code = sqlite3_step(select)) == SQLITE_ROW) {
        const char *timing = (const char *)sqlite3_column_text(select, 3);
        found(arg, sqlite3_column_int(select, 0), sqlite3_column_int64(select, 1),
              (uint64_t)sqlite3_column_int64(select, 2),
              timing[0] == 'l'   ? RM_TIMING_LATENCY
              : timing[0] == 't' ? RM_TIMING_THROUGHPUT
                                 : RM_TIMING_NONE,
              sqlite3_column_int(select, 4));
    }
    if (code != SQLITE_DONE)
        status = rm_store_fail(store, "read the finished outcomes", err);
    sqlite3_finalize(select);
    return status;
}
