/* import_private.h - what the parts of the import share (private to experiments): import_line.c
 * reads lines, import.c orders, checks and records them. */
#ifndef RM_EXPERIMENTS_IMPORT_PRIVATE_H
#define RM_EXPERIMENTS_IMPORT_PRIVATE_H

#include "base/json.h"
#include "experiments/names.h"
#include "experiments/store.h"

/* What a line may say of its whole cell. */
typedef enum import_mark { IMPORT_EXCHANGEABLE, IMPORT_VERIFIER, IMPORT_ORACLE, N_IMPORT_MARKS }
    import_mark;
extern const char *const import_mark_names[];

/* One candidate. Strings belong to its JSON tree. */
typedef struct import_line {
    rm_json *json;
    size_t number;
    int cell, problem;
    uint64_t seed;
    rm_timing timing;
    int repeat, k;
    bool correct, chosen;
    int mark[N_IMPORT_MARKS];/* 1, 0, or -1: not said */
    const char *label;       /* of the cell, or NULL: not said */
    const char *reference, *cluster, *level, *question; /* of the problem, or NULL */
    double latency_ms;
    const char *error;       /* of an outcome that failed: its line has no candidate, k is -1 */
    rm_cost cost;            /* where the line tells it: costs of the whole outcome */
    rm_candidate candidate;  /* scores are malloc'd, their names too */
} import_line;

/* A cell as it will be recorded. */
typedef struct import_cell {
    char *task, *model, *strategy, *params; /* parts of `name`, which is malloc'd */
    char *name;
    rm_text label, family;
    double size;
    const char *size_name;
    bool mark[N_IMPORT_MARKS];
} import_cell;

typedef struct importer {
    const char *file;
    import_line *lines;
    size_t n, capacity;
    names cells, problems;   /* parts joined by import_joint */
    import_cell *cell;       /* [cells.n] */
} importer;

/* The parts of a cell's name and of a problem's are joined by a byte that JSON text holds only
 * escaped. */
extern const char import_joint[];

rm_status import_read_lines(importer *, const char *text, size_t n, rm_error *);
void import_line_free(import_line *);

/* A value with its object keys sorted, so that equal parameters are equal texts; false if it is
 * nested too deeply. */
bool import_put_canonical(rm_json_writer *, const char *key, const cJSON *value, int depth);

#endif
