/* names.h - names numbered in the order of their appearance. Zero-initialise; free with
 * names_free. */
#ifndef RM_EXPERIMENTS_NAMES_H
#define RM_EXPERIMENTS_NAMES_H

#include <stddef.h>

typedef struct names {
    char **text;
    size_t n, capacity;
    int *slots;         /* open-addressed, -1 empty; n_slots a power of two, less than half full */
    size_t n_slots;
} names;

/* Index of `text`, added (copied) if new; -1 without memory. */
int names_index(names *, const char *text);
void names_free(names *);

#endif
