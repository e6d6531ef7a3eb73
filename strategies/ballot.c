/* ballot.c - counting votes (ballot.h).
 *
 * Invariant: equal answers share `first`; only first votes carry `best` and `total`. */
#include "strategies/ballot.h"

#include <math.h>
#include <string.h>

void ballot_add(ballot *b, int index, const char *answer, double weight, double lp)
{
    b->vote[b->n++] = (ballot_vote){ .answer = answer, .index = index, .weight = weight, .lp = lp };
}

static bool same_answer(const ballot_vote *a, const ballot_vote *b)
{
    if (!a->answer || !b->answer)
        return a->answer == b->answer;
    return a->hash == b->hash && strcmp(a->answer, b->answer) == 0;
}

/* The higher lp, then the smaller index. */
static bool stands_before(const ballot_vote *a, const ballot_vote *b)
{
    return a->lp > b->lp || (a->lp == b->lp && a->index < b->index);
}

/* Finds each vote's first fellow and each answer's best vote. */
static void group_votes(ballot *b)
{
    b->n_answers = 0;
    for (int i = 0; i < b->n; i++) {
        ballot_vote *vote = &b->vote[i];
        vote->hash = vote->answer ? rm_hash_bytes(vote->answer, strlen(vote->answer)) : 0;
        vote->first = i;
        for (int j = 0; j < i; j++)
            if (b->vote[j].first == j && same_answer(&b->vote[j], vote)) {
                vote->first = j;
                break;
            }
        ballot_vote *first = &b->vote[vote->first];
        if (first == vote) {
            first->best = i;
            b->n_answers += vote->answer != NULL;
        } else if (stands_before(vote, &b->vote[first->best])) {
            first->best = i;
        }
    }
}

static bool counts(const ballot *b, const ballot_vote *vote)
{
    return vote->answer || b->n_answers == 0;
}

static void sum_weights(ballot *b)
{
    for (int i = 0; i < b->n; i++)
        b->vote[i].total = 0;
    for (int i = 0; i < b->n; i++)
        if (counts(b, &b->vote[i]))
            b->vote[b->vote[i].first].total += b->vote[i].weight;
}

/* The same with exact integer sums; below 2^53 (8,192 votes of the largest weight), where a
 * double holds them exactly too. */
static void sum_log_weights(ballot *b)
{
    double max = -INFINITY;
    for (int i = 0; i < b->n; i++) {
        b->vote[i].total = 0;
        if (counts(b, &b->vote[i]) && b->vote[i].weight > max)
            max = b->vote[i].weight;
    }
    if (max == -INFINITY)
        return; /* every weight is exp(-inf) = 0: lp decides */
    for (int i = 0; i < b->n; i++)
        if (counts(b, &b->vote[i]))
            b->vote[b->vote[i].first].total +=
                (double)(uint64_t)(0x1p40 * rm_math_exp(b->vote[i].weight - max) + 0.5);
    for (int i = 0; i < b->n; i++)
        b->vote[i].total *= 0x1p-40; /* a power of two: exact */
}

void ballot_count(ballot *b)
{
    group_votes(b);
    if (b->logs)
        sum_log_weights(b);
    else
        sum_weights(b);

    b->sum = 0;
    b->winner = -1;
    b->answer = NULL;
    const ballot_vote *leader = NULL;
    for (int i = 0; i < b->n; i++) {
        const ballot_vote *vote = &b->vote[i];
        if (vote->first != i || !counts(b, vote))
            continue;
        b->sum += vote->total;
        if (!leader || vote->total > leader->total ||
            (vote->total == leader->total &&
             stands_before(&b->vote[vote->best], &b->vote[leader->best])))
            leader = vote;
    }
    if (leader) {
        b->winner = b->vote[leader->best].index;
        b->answer = leader->answer;
    }
}

double ballot_total(const ballot *b, int position)
{
    const ballot_vote *vote = &b->vote[position];
    return counts(b, vote) ? b->vote[vote->first].total : 0;
}
