/* store_journals.c - what unfinished problems have drawn (engine.h, rm_run_journal), kept beside the records.
 *
 *   journals    job, chunk, data    the chunks of one unfinished job, in order; gone when it is finished
 *
 * The table is made when it is first needed and is empty when a run is complete. */
#include "experiments/store_private.h"

#include <sqlite3.h>

static rm_status made(rm_store *store, rm_error *err)
{
    if (store->has_journals)
        return RM_OK;
    rm_status status = store_execute(store, "CREATE TABLE IF NOT EXISTS journals (job TEXT NOT NULL,"
                                     " chunk INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (job, chunk))"
                                     " STRICT;", "keep what unfinished problems have drawn", err);
    store->has_journals = !status;
    return status;
}

bool rm_store_any_journal(rm_store *store)
{
    sqlite3_stmt *row = NULL;
    bool any = !rm_store_prepare(store, "SELECT 1 FROM journals LIMIT 1", &row, NULL) &&
               sqlite3_step(row) == SQLITE_ROW;
    sqlite3_finalize(row);
    return any;
}

rm_status rm_store_put_journal(rm_store *store, const char *job, int chunk, const char *data, size_t n,
                               rm_error *err)
{
    sqlite3_stmt *row = NULL;
    rm_status status = made(store, err);
    if (!status && !chunk)
        status = rm_store_drop_journal(store, job, err);
    if (!status)
        status = store_begin(store, err);
    if (!status)
        status = rm_store_prepare(store, "INSERT INTO journals VALUES (?, ?, ?)", &row, err);
    if (status)
        return status;
    sqlite3_bind_text(row, 1, job, -1, SQLITE_STATIC);
    sqlite3_bind_int(row, 2, chunk);
    sqlite3_bind_blob64(row, 3, data, n, SQLITE_STATIC);
    if (sqlite3_step(row) != SQLITE_DONE)
        status = rm_store_fail(store, "keep what an unfinished problem has drawn", err);
    sqlite3_finalize(row);
    return status;
}

rm_status rm_store_get_journal(rm_store *store, const char *job, rm_text *out, rm_error *err)
{
    sqlite3_stmt *row = NULL;
    int code;
    rm_status status = rm_store_prepare(store, "SELECT data FROM journals WHERE job = ? ORDER BY chunk",
                                        &row, err);
    if (status)
        return status;
    sqlite3_bind_text(row, 1, job, -1, SQLITE_STATIC);
    while ((code = sqlite3_step(row)) == SQLITE_ROW)
        if (sqlite3_column_bytes(row, 0))
            rm_text_add(out, sqlite3_column_blob(row, 0), (size_t)sqlite3_column_bytes(row, 0));
    if (code != SQLITE_DONE)
        status = rm_store_fail(store, "read what an unfinished problem has drawn", err);
    else if (out->failed)
        status = rm_fail(err, RM_E_MEMORY, "no memory for what an unfinished problem has drawn");
    sqlite3_finalize(row);
    return status;
}

rm_status rm_store_drop_journal(rm_store *store, const char *job, rm_error *err)
{
    sqlite3_stmt *row = NULL;
    rm_status status = made(store, err);
    if (!status)
        status = store_begin(store, err);
    if (!status)
        status = rm_store_prepare(store, job ? "DELETE FROM journals WHERE job = ?"
                                             : "DELETE FROM journals", &row, err);
    if (status)
        return status;
    if (job)
        sqlite3_bind_text(row, 1, job, -1, SQLITE_STATIC);
    if (sqlite3_step(row) != SQLITE_DONE)
        status = rm_store_fail(store, "forget what a finished problem had drawn", err);
    sqlite3_finalize(row);
    return status;
}
