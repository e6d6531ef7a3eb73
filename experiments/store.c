/* store.c - opens, creates, locks and closes run directories; meta, sessions, log.
 *
 * SQLite in WAL mode with synchronous=NORMAL: a commit costs no fsync (measured 19,400 against
 * 272 commits a second), survives SIGKILL, and after a power cut the file is a consistent earlier
 * state. A clean close folds the log back into the one file, so that a finished run can be
 * copied, or read from a read-only medium, as a single file. */
#define _GNU_SOURCE
#include "experiments/schema.h"
#include "experiments/store_private.h"

#include <sqlite3.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Marks records.sqlite as ours (file(1) and PRAGMA application_id see it): "Rmfy". */
enum { APPLICATION_ID = 0x526d6679 };

static const char *const own_files[] = { "config.json", "manifest.json", "records.sqlite",
                                         "log.txt",     "lock",          "report.html",
                                         "report.md",   "figures",       "tables", NULL };

/* ---- names and times ----------------------------------------------------------------------- */

const char *rm_store_dir(const rm_store *store)
{
    return store->dir;
}

sqlite3 *rm_store_database(rm_store *store)
{
    return store->db;
}

static char *join(const char *dir, const char *name)
{
    rm_text text = { 0 };
    rm_text_printf(&text, "%s/%s", dir, name);
    if (text.failed)
        rm_text_free(&text);
    return text.data;
}

char *rm_store_path(const rm_store *store, const char *name)
{
    return join(store->dir, name);
}

void store_time(char text[STORE_TIME_SIZE])
{
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(text, STORE_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

/* ---- errors -------------------------------------------------------------------------------- */

rm_status rm_store_fail(rm_store *store, const char *doing, rm_error *err)
{
    int code = sqlite3_errcode(store->db);
    const char *safe = "; what was committed before is safe";
    if (code == SQLITE_FULL)
        return rm_fail(err, RM_E_IO, "the disk is full: could not %s in %s/records.sqlite%s", doing,
                       store->dir, safe);
    if (code == SQLITE_NOMEM)
        return rm_fail(err, RM_E_MEMORY, "no memory to %s in %s/records.sqlite", doing, store->dir);
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
        return rm_fail(err, RM_E_FORMAT, "could not %s: %s/records.sqlite is damaged or no SQLite "
                       "database (%s)", doing, store->dir, sqlite3_errmsg(store->db));
    return rm_fail(err, RM_E_IO, "could not %s in %s/records.sqlite: %s%s", doing, store->dir,
                   sqlite3_errmsg(store->db), store->lock >= 0 ? safe : "");
}

rm_status store_execute(rm_store *store, const char *sql, const char *doing, rm_error *err)
{
    if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return rm_store_fail(store, doing, err);
    return RM_OK;
}

rm_status rm_store_prepare(rm_store *store, const char *sql, sqlite3_stmt **statement,
                           rm_error *err)
{
    if (sqlite3_prepare_v2(store->db, sql, -1, statement, NULL) != SQLITE_OK)
        return rm_store_fail(store, "read", err);
    return RM_OK;
}

/* ---- the directory ------------------------------------------------------------------------- */

/* mkdir -p */
static rm_status make_directories(const char *dir, rm_error *err)
{
    rm_status status = RM_OK;
    if (!*dir)
        return rm_fail(err, RM_E_ARGUMENT, "the name of the run directory is empty");
    char *path = strdup(dir);
    if (!path)
        return rm_fail(err, RM_E_MEMORY, "no memory for the name %s", dir);
    for (char *slash = path + 1; !status; slash++) {
        slash += strcspn(slash, "/");
        char kept = *slash;
        *slash = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            status = rm_fail(err, RM_E_IO, "cannot create the run directory %s: %s", path,
                             strerror(errno));
        *slash = kept;
        if (!kept)
            break;
    }
    free(path);
    return status;
}

static bool is_own(const char *name)
{
    for (int i = 0; own_files[i]; i++)
        if (strncmp(name, own_files[i], strlen(own_files[i])) == 0)
            return true;
    return false;
}

/* An existing directory is taken only if it is a run or has nothing in it but what an interrupted
 * start of a run can leave. */
static rm_status check_directory(const char *dir, rm_error *err)
{
    DIR *listing = opendir(dir);
    if (!listing) {
        if (errno == ENOENT)
            return make_directories(dir, err);
        return rm_fail(err, RM_E_IO, "cannot use %s as a run directory: %s", dir, strerror(errno));
    }
    char foreign[256] = "";
    bool records = false;
    for (struct dirent *entry; (entry = readdir(listing));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        records = records || strcmp(name, "records.sqlite") == 0;
        if (!is_own(name))
            snprintf(foreign, sizeof foreign, "%s", name);
    }
    closedir(listing);
    if (foreign[0] && !records)
        return rm_fail(err, RM_E_ARGUMENT, "%s is not a run directory (it holds %s but no "
                       "records.sqlite); give --out a new name", dir, foreign);
    return RM_OK;
}

static rm_status take_lock(rm_store *store, rm_error *err)
{
    char *path = join(store->dir, "lock");
    if (!path)
        return rm_fail(err, RM_E_MEMORY, "no memory for the name of a lock file");
    rm_status status = RM_OK;
    store->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (store->lock < 0)
        status = rm_fail(err, RM_E_IO, "cannot write into the run directory %s: %s", store->dir,
                         strerror(errno));
    else if (flock(store->lock, LOCK_EX | LOCK_NB) != 0)
        status = rm_fail(err, RM_E_IO, "another process is writing to the run directory %s%s",
                         store->dir, errno == EWOULDBLOCK ? "" : " (or it cannot be locked)");
    free(path);
    return status;
}

/* ---- the database -------------------------------------------------------------------------- */

static rm_status open_database(rm_store *store, int flags, rm_error *err)
{
    char *path = join(store->dir, "records.sqlite");
    if (!path)
        return rm_fail(err, RM_E_MEMORY, "no memory for the name of a file");
    int code = sqlite3_open_v2(path, &store->db, flags, NULL);
    free(path);
    if (!store->db)
        return rm_fail(err, RM_E_MEMORY, "no memory to open %s/records.sqlite", store->dir);
    if (code != SQLITE_OK) {
        if (!(flags & SQLITE_OPEN_CREATE))
            return rm_fail(err, RM_E_IO, "%s is not a run directory: cannot open its "
                           "records.sqlite (%s)", store->dir, sqlite3_errmsg(store->db));
        return rm_store_fail(store, "open the records", err);
    }
    sqlite3_busy_timeout(store->db, 5000);
    return RM_OK;
}

static rm_status read_pragma(rm_store *store, const char *sql, int *value, rm_error *err)
{
    sqlite3_stmt *statement = NULL;
    rm_status status = rm_store_prepare(store, sql, &statement, err);
    if (!status && sqlite3_step(statement) == SQLITE_ROW)
        *value = sqlite3_column_int(statement, 0);
    else if (!status)
        status = rm_store_fail(store, "read", err);
    sqlite3_finalize(statement);
    return status;
}

/* *fresh: the database is empty, so that the run may be set up in it. */
static rm_status check_database(rm_store *store, bool *fresh, rm_error *err)
{
    int application = 0, version = 0, tables = 0;
    rm_status status = read_pragma(store, "PRAGMA application_id", &application, err);
    if (!status)
        status = read_pragma(store, "PRAGMA user_version", &version, err);
    if (!status)
        status = read_pragma(store, "SELECT count(*) FROM sqlite_master", &tables, err);
    if (status)
        return status;
    *fresh = application == 0 && version == 0 && tables == 0;
    if (*fresh)
        return RM_OK;
    if (application != APPLICATION_ID)
        return rm_fail(err, RM_E_FORMAT, "%s/records.sqlite was not made by ramify", store->dir);
    if (version != RM_SCHEMA_VERSION)
        return rm_fail(err, RM_E_UNSUPPORTED, "%s/records.sqlite has schema version %d; this "
                       "ramify reads version %d", store->dir, version, RM_SCHEMA_VERSION);
    /* The settings are read by functions that take damage for absence: find it here. */
    return read_pragma(store, "SELECT count(*) FROM meta", &tables, err);
}

static rm_status set_up(rm_store *store, const char *identity, rm_error *err)
{
    rm_text pragmas = { 0 };
    rm_text_printf(&pragmas, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
                   APPLICATION_ID, RM_SCHEMA_VERSION);
    if (pragmas.failed)
        return rm_fail(err, RM_E_MEMORY, "no memory to create the records");
    rm_status status = store_execute(store, "BEGIN IMMEDIATE", "create the records", err);
    if (!status) {
        store->writing = true;
        status = store_execute(store, pragmas.data, "create the records", err);
    }
    if (!status)
        status = store_execute(store, rm_schema_sql, "create the records", err);
    if (!status)
        status = rm_store_set_meta(store, "identity", identity, err);
    if (!status)
        status = rm_store_commit(store, err);
    rm_text_free(&pragmas);
    return status;
}

/* A run that was refused or stopped before its first outcome leaves settings and nothing worth
 * keeping: *empty, and its place may be taken by another configuration. */
static rm_status check_empty(rm_store *store, bool *empty, rm_error *err)
{
    int outcomes = 0;
    rm_status status =
        read_pragma(store, "SELECT EXISTS (SELECT 1 FROM outcomes)", &outcomes, err);
    *empty = outcomes == 0;
    return status;
}

static rm_status start_again(rm_store *store, const char *identity, rm_error *err)
{
    rm_status status = store_execute(store, "BEGIN IMMEDIATE", "empty the records", err);
    if (status)
        return status;
    store->writing = true;
    sqlite3_stmt *table = NULL; /* runs from before chats have none */
    status = rm_store_prepare(
        store, "SELECT 1 FROM sqlite_master WHERE name = 'prompts'", &table, err);
    bool prompts = !status && sqlite3_step(table) == SQLITE_ROW;
    sqlite3_finalize(table);
    if (prompts)
        status = store_execute(store, "DELETE FROM prompts;", "empty the records", err);
    if (!status)
        status = store_execute(store, "DELETE FROM sessions; DELETE FROM problems;"
                               " DELETE FROM cells; DELETE FROM meta;", "empty the records", err);
    if (!status)
        status = rm_store_set_meta(store, "identity", identity, err);
    return status ? status : rm_store_commit(store, err);
}

/* ---- opening and closing ------------------------------------------------------------------- */

static rm_status store_new(const char *dir, rm_store **out, rm_error *err)
{
    rm_store *store = calloc(1, sizeof *store);
    if (store) {
        store->lock = -1;
        store->dir = strdup(dir);
    }
    if (!store || !store->dir) {
        rm_store_close(store);
        return rm_fail(err, RM_E_MEMORY, "no memory to open %s", dir);
    }
    size_t n = strlen(store->dir);
    while (n > 1 && store->dir[n - 1] == '/')
        store->dir[--n] = '\0';
    *out = store;
    return RM_OK;
}

static rm_status prepare_writing(rm_store *store, rm_error *err)
{
    return store_execute(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;",
                         "open the records for writing", err);
}

static rm_status check_identity(rm_store *store, const char *identity, rm_error *err)
{
    rm_text recorded = { 0 };
    rm_status status = RM_OK;
    if (!rm_store_get_meta(store, "identity", &recorded))
        status = rm_fail(err, RM_E_FORMAT, "%s/records.sqlite does not say which configuration "
                         "made it", store->dir);
    else if (strcmp(recorded.data, identity) != 0)
        status = rm_fail(err, RM_E_ARGUMENT, "%s holds a run of another configuration (%.32s, not "
                         "%.32s); give --out a new name", store->dir, recorded.data, identity);
    rm_text_free(&recorded);
    return status;
}

static rm_status write_config(rm_store *store, const char *config, size_t n, bool replace,
                              rm_error *err)
{
    char *path = join(store->dir, "config.json");
    if (!path)
        return rm_fail(err, RM_E_MEMORY, "no memory for the name of a file");
    rm_status status = RM_OK;
    if (replace || access(path, F_OK) != 0)
        status = rm_file_write(path, config, n, err);
    free(path);
    return status;
}

rm_status rm_store_create(const char *dir, const char *identity, const char *config,
                          size_t n_config, rm_store **out, rm_error *err)
{
    rm_store *store = NULL;
    bool fresh = false, empty = false;
    rm_status status = store_new(dir, &store, err);
    if (!status)
        status = check_directory(store->dir, err);
    if (!status)
        status = take_lock(store, err);
    if (!status)
        status = open_database(store, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (!status)
        status = check_database(store, &fresh, err);
    if (!status && !fresh)
        status = check_empty(store, &empty, err);
    if (!status && !fresh && !empty)
        status = check_identity(store, identity, err);
    if (!status)
        status = prepare_writing(store, err);
    if (!status && empty)
        status = start_again(store, identity, err);
    if (!status && fresh)
        status = set_up(store, identity, err);
    if (!status && config)
        status = write_config(store, config, n_config, empty, err);
    if (status)
        rm_store_close(store);
    else
        *out = store;
    return status;
}

rm_status rm_store_open(const char *dir, bool write, rm_store **out, rm_error *err)
{
    rm_store *store = NULL;
    bool fresh = false;
    char *records = join(dir, "records.sqlite");
    if (!records)
        return rm_fail(err, RM_E_MEMORY, "no memory to open %s", dir);
    bool exists = access(records, F_OK) == 0;
    free(records);
    if (!exists)
        return rm_fail(err, RM_E_IO, "%s is not a run directory: it has no records.sqlite", dir);
    rm_status status = store_new(dir, &store, err);
    if (!status && write)
        status = take_lock(store, err);
    if (!status)
        status = open_database(store, write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY, err);
    if (!status)
        status = check_database(store, &fresh, err);
    if (!status && fresh)
        status = rm_fail(err, RM_E_FORMAT, "the run in %s was killed before it recorded anything; "
                         "run it again", dir);
    if (!status && write)
        status = prepare_writing(store, err);
    if (status)
        rm_store_close(store);
    else
        *out = store;
    return status;
}

void rm_store_close(rm_store *store)
{
    if (!store)
        return;
    store_drop_queue(store);
    for (int i = 0; i < N_STATEMENTS; i++)
        sqlite3_finalize(store->statements[i]);
    if (store->db) {
        if (store->writing)
            sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
        if (store->lock >= 0) {
            sqlite3_busy_timeout(store->db, 0); /* a reader may hold it: then it stays as it is */
            sqlite3_exec(store->db, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
        }
        sqlite3_close(store->db);
    }
    if (store->lock >= 0)
        close(store->lock);
    free(store->dir);
    free(store);
}

/* ---- statements and transactions ----------------------------------------------------------- */

rm_status rm_store_commit(rm_store *store, rm_error *err)
{
    rm_status status = store_write_queue(store, err);
    if (status || !store->writing)
        return status;
    status = store_execute(store, "COMMIT", "commit the records", err);
    if (!status)
        store->writing = false;
    return status;
}

rm_status rm_store_set_meta(rm_store *store, const char *key, const char *value, rm_error *err)
{
    sqlite3_stmt *put = NULL;
    rm_status status = store_statement_ready(store, PUT_META, true, &put, err);
    if (status)
        return status;
    sqlite3_bind_text(put, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_text(put, 2, value, -1, SQLITE_STATIC);
    int code = sqlite3_step(put);
    sqlite3_reset(put);
    return code == SQLITE_DONE ? RM_OK : rm_store_fail(store, "record a setting", err);
}

bool rm_store_get_meta(rm_store *store, const char *key, rm_text *text)
{
    sqlite3_stmt *get = NULL;
    if (store_statement_ready(store, GET_META, false, &get, NULL))
        return false;
    sqlite3_bind_text(get, 1, key, -1, SQLITE_STATIC);
    bool found = sqlite3_step(get) == SQLITE_ROW;
    if (found)
        rm_text_add(text, (const char *)sqlite3_column_text(get, 0),
                    (size_t)sqlite3_column_bytes(get, 0));
    sqlite3_reset(get);
    return found && !text->failed;
}

/* ---- sessions and the log ------------------------------------------------------------------ */

rm_status rm_store_begin_session(rm_store *store, const char *manifest, int64_t *session,
                                 rm_error *err)
{
    sqlite3_stmt *put = NULL;
    char now[STORE_TIME_SIZE];
    store_time(now);
    rm_status status = rm_store_prepare(
        store, "INSERT INTO sessions (started, manifest) VALUES (?, ?)", &put, err);
    if (status)
        return status;
    sqlite3_bind_text(put, 1, now, -1, SQLITE_STATIC);
    sqlite3_bind_text(put, 2, manifest, -1, SQLITE_STATIC);
    if (sqlite3_step(put) != SQLITE_DONE)
        status = rm_store_fail(store, "record the session", err);
    else
        *session = sqlite3_last_insert_rowid(store->db);
    sqlite3_finalize(put);
    return status;
}

rm_status rm_store_end_session(rm_store *store, int64_t session, const char *ending, rm_error *err)
{
    sqlite3_stmt *put = NULL;
    char now[STORE_TIME_SIZE];
    store_time(now);
    rm_status status = rm_store_prepare(
        store, "UPDATE sessions SET finished = ?, ending = ? WHERE session = ?", &put, err);
    if (status)
        return status;
    sqlite3_bind_text(put, 1, now, -1, SQLITE_STATIC);
    sqlite3_bind_text(put, 2, ending, -1, SQLITE_STATIC);
    sqlite3_bind_int64(put, 3, session);
    if (sqlite3_step(put) != SQLITE_DONE)
        status = rm_store_fail(store, "record the end of the session", err);
    sqlite3_finalize(put);
    return status;
}

void rm_store_log(rm_store *store, const char *format, ...)
{
    char now[STORE_TIME_SIZE], line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    store_time(now);
    char *path = join(store->dir, "log.txt");
    FILE *log = path ? fopen(path, "ae") : NULL;
    if (log) {
        fprintf(log, "%s %s\n", now, line);
        fclose(log);
    }
    free(path);
}
