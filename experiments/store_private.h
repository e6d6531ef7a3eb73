/* store_private.h - what the files of the store share. */
#ifndef RM_EXPERIMENTS_STORE_PRIVATE_H
#define RM_EXPERIMENTS_STORE_PRIVATE_H

#include "experiments/store.h"

/* Statements prepared once and kept. */
enum store_statement {
    PUT_META,
    GET_META,
    PUT_CELL,
    PUT_PROBLEM,
    GET_PROBLEM,
    PUT_PROMPT,
    GET_PROMPT,
    PUT_OUTCOME,
    PUT_CANDIDATE,
    PUT_SCORE,
    PUT_NODE,
    N_STATEMENTS
};

typedef struct store_queued store_queued;

struct rm_store {
    char *dir;
    int lock;                 /* descriptor of the held lock file; -1 when reading */
    sqlite3 *db;
    bool writing;             /* a transaction is open */
    bool has_journals;        /* the table is known to be there */
    sqlite3_stmt *statements[N_STATEMENTS];
    store_queued *queue, *queue_end; /* outcomes not yet written (store_queue.c) */
    size_t queue_bytes;
};

enum { STORE_TIME_SIZE = 24 };

/* Now in UTC as 2026-01-31T12:00:00Z. */
void store_time(char text[STORE_TIME_SIZE]);

/* Opens the transaction of the writes that follow, if none is open. */
rm_status store_begin(rm_store *, rm_error *);

/* The kept statement, ready to bind, within an open transaction if it writes. */
rm_status store_statement_ready(rm_store *, enum store_statement, bool write, sqlite3_stmt **,
                                rm_error *);

/* Writes what is queued; if that fails, what was not committed is undone. */
rm_status store_write_queue(rm_store *, rm_error *);
void store_drop_queue(rm_store *);

rm_status store_execute(rm_store *, const char *sql, const char *doing, rm_error *);

#endif
