/* overlap.h - how much two texts have in common (folder-private). */
#ifndef RM_STRATEGIES_OVERLAP_H
#define RM_STRATEGIES_OVERLAP_H

#include "engine/engine.h"

enum { OVERLAP_ORDERS = 6 };

/* What the overlap of a text with others needs: hashes of its n-grams, each order sorted. */
typedef struct grams {
    uint64_t *of[OVERLAP_ORDERS]; /* [n[o]] of length o + 1 */
    int n[OVERLAP_ORDERS];
    int orders;
} grams;

/* Of the characters of a text (white space left out), orders 1 to 6; bytes that are no UTF-8 count as
 * one character each. */
rm_status grams_of_text(grams *, rm_run *, const char *text, rm_error *);

/* Of tokens, single ones. */
rm_status grams_of_tokens(grams *, rm_run *, const int32_t *tokens, int n, rm_error *);

/* The F-score of a hypothesis' n-grams against a reference's, with recall weighing beta^2 times
 * precision, both averaged over the orders that both texts have; in [0, 1]. beta 2 on characters is
 * chrF (Popovic 2015), as sacreBLEU counts it; beta 1 on single tokens is token-F1 (Rajpurkar et al.
 * 2016). */
double grams_f(const grams *hypothesis, const grams *reference, double beta);

#endif
