/* replay.c - is a replay (engine/replay.c) what it should be: the recorded run at another cost?
 *
 * Equal bits are promised, so every candidate that both runs have must be equal token for token.
 * Where they are not, the two were made under different instruction sets with bf16 or int8 weights,
 * or by different versions of the program, and the costs are of other trees. */
#include "experiments/runner.h"

#include <sqlite3.h>

#include <stdlib.h>

static const char compare_sql[] =
    "SELECT count(*), coalesce(sum(a.tokens IS b.tokens AND a.text IS b.text), 0)"
    " FROM main.outcomes oa"
    " JOIN main.cells ca ON ca.cell = oa.cell"
    " JOIN main.problems pa ON pa.problem = oa.problem"
    " JOIN recorded.cells cb ON cb.task = ca.task AND cb.label = ca.label"
    " JOIN recorded.problems pb ON pb.task = pa.task AND pb.idx = pa.idx"
    " JOIN recorded.outcomes ob ON ob.cell = cb.cell AND ob.problem = pb.problem"
    "  AND ob.seed = oa.seed AND ob.timing = oa.timing AND ob.repeat = oa.repeat"
    " JOIN main.candidates a ON a.outcome = oa.outcome"
    " JOIN recorded.candidates b ON b.outcome = ob.outcome AND b.k = a.k"
    " WHERE oa.error IS NULL AND ob.error IS NULL";

static rm_status attach(rm_store *store, const char *dir, rm_error *err)
{
    sqlite3_stmt *statement = NULL;
    rm_text file = { 0 };
    rm_text_printf(&file, "%s/records.sqlite", dir);
    rm_status status = file.failed ? rm_fail(err, RM_E_MEMORY, "no memory for the name of a file")
                                   : rm_store_prepare(store, "ATTACH ?1 AS recorded", &statement,
                                                      err);
    if (!status && (sqlite3_bind_text(statement, 1, file.data, -1, SQLITE_STATIC) != SQLITE_OK ||
                    sqlite3_step(statement) != SQLITE_DONE))
        status = rm_store_fail(store, "read the run that was replayed", err);
    sqlite3_finalize(statement);
    rm_text_free(&file);
    return status;
}

rm_status rm_replay_compare(rm_store *store, const char *dir, rm_replay_summary *summary,
                            rm_error *err)
{
    sqlite3_stmt *row = NULL;
    *summary = (rm_replay_summary){ 0 };
    rm_status status = rm_store_commit(store, err);
    if (!status)
        status = attach(store, dir, err);
    if (status)
        return status;
    status = rm_store_prepare(store, compare_sql, &row, err);
    if (!status && sqlite3_step(row) == SQLITE_ROW) {
        summary->compared = (size_t)sqlite3_column_int64(row, 0);
        summary->equal = (size_t)sqlite3_column_int64(row, 1);
    } else if (!status) {
        status = rm_store_fail(store, "compare the replay with its run", err);
    }
    sqlite3_finalize(row);
    sqlite3_exec(rm_store_database(store), "DETACH recorded", NULL, NULL, NULL);
    if (!status && summary->equal < summary->compared)
        status = rm_fail(err, RM_E_FORMAT, "%zu of %zu candidates differ from those of %s: it was "
                         "made with another instruction-set variant or version (see its "
                         "manifest.json), so these costs are of other trees",
                         summary->compared - summary->equal, summary->compared, dir);
    return status;
}
