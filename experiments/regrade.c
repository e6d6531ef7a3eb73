/* regrade.c - extract and grade the recorded texts again, without a model. */
#include "experiments/exchange.h"

#include <sqlite3.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct regrader {
    const rm_config *config;
    rm_store *store;
    bool write;
    sqlite3_stmt *rows, *put_candidate, *put_outcome;
    rm_regrade_summary *summary;
} regrader;

enum { OUTCOME, K, TASK, IDX, ID, HASH, LABEL, SEED, TEXT, ANSWER, CORRECT, CHOSEN, TRUNCATED,
       PROMPT };

static rm_status prepare(regrader *g, rm_error *err)
{
    rm_text sql = { 0 };
    sqlite3_stmt *table = NULL;
    rm_status status = rm_store_prepare(
        g->store, "SELECT 1 FROM sqlite_master WHERE name = 'prompts'", &table, err);
    /* runs from before chats have none */
    bool prompts = !status && sqlite3_step(table) == SQLITE_ROW;
    sqlite3_finalize(table);
    rm_text_printf(&sql,
        "SELECT o.outcome, k.k, c.task, p.idx, p.id, p.hash, c.label, o.seed, k.text, k.answer, "
        "k.correct,"
        " k.k = o.chosen, k.truncated, %s FROM outcomes o JOIN cells c USING (cell) JOIN problems p"
        " USING (problem)"
        " JOIN candidates k USING (outcome)"
        " ORDER BY o.cell, p.idx, o.seed, o.timing DESC, o.repeat, k.k",
        prompts ? "(SELECT q.prompt FROM prompts q WHERE q.problem = p.problem AND q.model = "
        "c.model)"
                : "NULL");
    if (!status)
        status = sql.failed ? rm_fail(err, RM_E_MEMORY, "no memory to read the records")
                            : rm_store_prepare(g->store, sql.data, &g->rows, err);
    rm_text_free(&sql);
    if (!status)
        status = rm_store_prepare(
            g->store, "UPDATE candidates SET answer = ?, correct = ? WHERE outcome = ? AND k = ?",
            &g->put_candidate, err);
    if (!status)
        status = rm_store_prepare(g->store, "UPDATE outcomes SET correct = ? WHERE outcome = ?",
                                  &g->put_outcome, err);
    return status;
}

/* Another configuration may hold another problem in the same place (another seed of a generated
 * task, another order of a file): its reference says nothing about the recorded texts. */
static rm_status check_problem(const regrader *g, const rm_item *item, const char *task,
                               rm_error *err)
{
    char hash[17];
    const char *id = (const char *)sqlite3_column_text(g->rows, ID);
    const char *recorded = (const char *)sqlite3_column_text(g->rows, HASH);
    snprintf(hash, sizeof hash, "%016" PRIx64, item->hash);
    if (strcmp(id, item->seen.id) == 0 && (!recorded || strcmp(recorded, hash) == 0))
        return RM_OK;
    return rm_fail(err, RM_E_ARGUMENT, "problem %lld of task %s is %s in the records and another "
                   "one in the configuration (%s); nothing was written",
                   (long long)sqlite3_column_int64(g->rows, IDX), task, id, item->seen.id);
}

static rm_status find_item(const regrader *g, const rm_item **item, rm_task **task, rm_error *err)
{
    const char *name = (const char *)sqlite3_column_text(g->rows, TASK);
    *task = NULL;
    for (int t = 0; t < g->config->n_tasks; t++)
        if (strcmp(rm_task_name(g->config->tasks[t]), name) == 0)
            *task = g->config->tasks[t];
    if (!*task)
        return rm_fail(err, RM_E_FORMAT, "the records name a task %s that the configuration lacks",
                       name);
    rm_status status =
        rm_task_item(*task, (size_t)sqlite3_column_int64(g->rows, IDX), item, err);
    return status ? status : check_problem(g, *item, name, err);
}

static rm_status update(regrader *g, const char *answer, bool correct, rm_error *err)
{
    sqlite3_stmt *put = g->put_candidate;
    sqlite3_bind_text(put, 1, answer, -1, SQLITE_STATIC);
    sqlite3_bind_int(put, 2, correct);
    sqlite3_bind_int64(put, 3, sqlite3_column_int64(g->rows, OUTCOME));
    sqlite3_bind_int64(put, 4, sqlite3_column_int64(g->rows, K));
    bool failed = sqlite3_step(put) != SQLITE_DONE;
    sqlite3_reset(put);
    if (!failed && sqlite3_column_int(g->rows, CHOSEN)) {
        put = g->put_outcome;
        sqlite3_bind_int(put, 1, correct);
        sqlite3_bind_int64(put, 2, sqlite3_column_int64(g->rows, OUTCOME));
        failed = sqlite3_step(put) != SQLITE_DONE;
        sqlite3_reset(put);
    }
    return failed ? rm_store_fail(g->store, "record a new verdict", err) : RM_OK;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static rm_status regrade_row(regrader *g, void (*changed)(void *, const rm_regraded *), void *arg,
                             rm_error *err)
{
    const rm_item *item;
    rm_task *task;
    char *answer = NULL;
    bool correct = false;
    const char *text = (const char *)sqlite3_column_text(g->rows, TEXT);
    g->summary->candidates++;
    if (!text) {
        g->summary->without_text++;
        return RM_OK;
    }
    rm_status status = find_item(g, &item, &task, err);
    rm_item read = status ? (rm_item){ 0 } : *item; /* with the prompt as the model read it */
    if (sqlite3_column_text(g->rows, PROMPT))
        read.seen.prompt = (const char *)sqlite3_column_text(g->rows, PROMPT);
    if (!status)
        status = rm_task_grade(task, &read, text, sqlite3_column_int(g->rows, TRUNCATED) != 0,
                               &answer, &correct, err);
    if (status)
        return status;
    rm_regraded r = { .task = (const char *)sqlite3_column_text(g->rows, TASK),
                      .problem = (const char *)sqlite3_column_text(g->rows, ID),
                      .label = (const char *)sqlite3_column_text(g->rows, LABEL),
                      .seed = (uint64_t)sqlite3_column_int64(g->rows, SEED),
                      .candidate = sqlite3_column_int(g->rows, K),
                      .old_answer = (const char *)sqlite3_column_text(g->rows, ANSWER),
                      .new_answer = answer,
                      .old_correct = sqlite3_column_int(g->rows, CORRECT) != 0,
                      .new_correct = correct };
    bool other_answer = !same_text(r.old_answer, r.new_answer);
    bool other_verdict = r.old_correct != r.new_correct;
    g->summary->changed_answers += other_answer;
    g->summary->changed_verdicts += other_verdict;
    if (other_answer || other_verdict) {
        if (changed)
            changed(arg, &r);
        if (g->write)
            status = update(g, answer, correct, err);
    }
    free(answer);
    return status;
}

rm_status rm_regrade(const rm_config *config, rm_store *store, bool write,
                     void (*changed)(void *, const rm_regraded *), void *arg,
                     rm_regrade_summary *summary, rm_error *err)
{
    *summary = (rm_regrade_summary){ 0 };
    regrader g = { .config = config, .store = store, .write = write, .summary = summary };
    int code = SQLITE_DONE;
    sqlite3 *db = rm_store_database(store);
    rm_status status = prepare(&g, err);
    if (!status && write && sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        status = rm_store_fail(store, "begin to write", err);
    while (!status && (code = sqlite3_step(g.rows)) == SQLITE_ROW)
        status = regrade_row(&g, changed, arg, err);
    if (!status && code != SQLITE_DONE)
        status = rm_store_fail(store, "read the candidates", err);
    sqlite3_finalize(g.rows);
    sqlite3_finalize(g.put_candidate);
    sqlite3_finalize(g.put_outcome);
    if (write && !status && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        status = rm_store_fail(store, "commit the new verdicts", err);
    if (write && status)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    if (write && !status)
        rm_store_log(store, "graded again: %zu of %zu verdicts changed", summary->changed_verdicts,
                     summary->candidates);
    return status;
}
