/* keys.h - reads a JSON object into a C struct by a table of its keys (private to experiments).
 *
 * Every object of a configuration is described once, by a table: name, kind, where the value
 * goes, its range, one line of help. From the table come the checking, the messages ("line, key,
 * what was expected, nearest known key") and the listings of `ramify tasks`. */
#ifndef RM_EXPERIMENTS_KEYS_H
#define RM_EXPERIMENTS_KEYS_H

#include "base/json.h"

typedef enum rm_key_kind {
    RM_KEY_STRING,  /* char *, malloc'd */
    RM_KEY_STRINGS, /* rm_strings; one string is taken for a list of one */
    RM_KEY_INT,     /* int */
    RM_KEY_SEED,    /* uint64_t, exact */
    RM_KEY_REAL,    /* double */
    RM_KEY_BOOL,    /* bool */
    RM_KEY_CHOICE,  /* int, index into choices */
    RM_KEY_RANGE,   /* rm_range: n or [low, high] */
    RM_KEY_ANY      /* const cJSON *, borrowed: the caller reads it */
} rm_key_kind;

typedef struct rm_strings {
    char **items;
    int n;
} rm_strings;

typedef struct rm_range {
    int low, high;
} rm_range;

typedef struct rm_key {
    const char *name;
    rm_key_kind kind;
    size_t offset;              /* of the field in the struct that is filled */
    double min, max;            /* of numbers; both 0: any */
    const char *const *choices; /* NULL-terminated */
    const char *help;           /* one line */
} rm_key;

/* Fills the fields of the keys that are there and leaves the others alone. `path` names the
 * object in messages ("tasks[0]"). A string field that is set already is freed and replaced.
 * Tables end with a NULL name; `more` (may be NULL) is a second table, for `more_base`. */
rm_status rm_keys_read(const rm_json *, const cJSON *object, const char *path, const rm_key *,
                       void *base, const rm_key *more, void *more_base, rm_error *);
/* Frees what strings the table's fields hold. */
void rm_keys_free(const rm_key *, void *base);

bool rm_strings_add(rm_strings *, const char *, size_t n); /* false: out of memory */
void rm_strings_free(rm_strings *);

/* The candidate nearest to `word`, or NULL if none is near enough to be a slip of the keyboard. */
const char *rm_nearest_word(const char *word, const char *const *candidates, int n);

/* `file` relative to `folder` unless it is absolute; malloc'd, NULL when out of memory. */
char *rm_join_path(const char *folder, const char *file);

#endif
