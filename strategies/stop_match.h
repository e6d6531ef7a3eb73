/* stop_match.h - stop strings followed token by token (folder-private).
 *
 * For strategies that choose tokens themselves; spans have it built in. Knuth, Morris & Pratt
 * 1977: how much of each string the text ends in is all that has to be remembered of the text, so
 * a beam carries one integer a string. Special tokens are not text, as in the engine's spans. */
#ifndef RM_STRATEGIES_STOP_MATCH_H
#define RM_STRATEGIES_STOP_MATCH_H

#include "engine/engine.h"

typedef struct stop_matcher {
    int n;                     /* strings that are not empty */
    const char **string;       /* [n] */
    size_t *length;            /* [n] */
    size_t **border;           /* [n][length]: of the prefix ending here, the longest border */
} stop_matcher;

rm_status stop_matcher_open(stop_matcher *, rm_run *, const char *const *strings, int n,
                            rm_error *);

/* Follows bytes: seen[i] of string i before, in and out; true if one is complete. */
bool stop_matcher_follow(const stop_matcher *, size_t *seen, const char *bytes, size_t n);

#endif
