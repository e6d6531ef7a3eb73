/* ballot.h - answers vote (folder-private).
 *
 *     a* = argmax_a  sum_i w_i [a_i = a]
 *
 * Ties go to the answer whose best vote has the higher lp, then to the smaller index. A vote
 * without an answer counts only if no vote has one: then all of them stand as one option. */
#ifndef RM_STRATEGIES_BALLOT_H
#define RM_STRATEGIES_BALLOT_H

#include "engine/engine.h"

typedef struct ballot_vote {
    const char *answer;  /* NULL: none */
    int index;           /* of the candidate; the smaller one wins a full tie */
    double weight;
    double lp;           /* summed log-probability of the candidate, breaks ties */

    /* filled in by ballot_count */
    uint64_t hash;
    int first;           /* position of the first vote for the same answer */
    int best;            /* of a first vote: position of the answer's best vote */
    double total;        /* of a first vote: the answer's weight */
} ballot_vote;

typedef struct ballot {
    ballot_vote *vote;   /* [n] the caller's */
    int n;
    bool logs;           /* weights are natural logarithms of what is summed */

    /* filled in by ballot_count */
    double sum;          /* of all totals */
    int n_answers;       /* distinct ones; 0 if no vote has any */
    int winner;          /* candidate index; -1 without votes */
    const char *answer;  /* the winner's */
} ballot;

/* Adds a vote; the caller's array has room for it. */
void ballot_add(ballot *, int index, const char *answer, double weight, double lp);

/* Counts. With `logs`, each vote counts round(2^40 exp(w - max w)), an integer, so that the sums
 * are exact in any order and nothing underflows that could change the winner: an answer is told
 * from another down to 2^-40 of the largest weight. Totals are then relative to the largest. */
void ballot_count(ballot *);

/* After ballot_count: the total of the answer that vote `position` is for, 0 without an answer
 * where others have one. */
double ballot_total(const ballot *, int position);

#endif
