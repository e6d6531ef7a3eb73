/* beam_step.c - selection, and what ends (beam_step.h). */
#include "strategies/beam_step.h"

#include <math.h>
#include <string.h>

/* x^alpha; exact for the usual exponents. */
static double power(double x, double alpha)
{
    if (alpha == 0)
        return 1;
    if (alpha == 1)
        return x;
    if (alpha == 2)
        return x * x;
    if (alpha == 0.5)
        return sqrt(x);
    return rm_math_pow(x, alpha);
}

double beam_length_norm(const beam_rules *rules, int n_generated)
{
    switch (rules->norm) {
    case BEAM_NORM_TOTAL: return power(rules->n_prompt + n_generated, rules->length_penalty);
    case BEAM_NORM_GNMT: return power((5.0 + n_generated) / 6.0, rules->length_penalty);
    case BEAM_NORM_NONE: return 1;
    default: return power(n_generated, rules->length_penalty);
    }
}

static int times_chosen(int32_t token, const int32_t *chosen, int n)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        count += chosen[i] == token;
    return count;
}

/* What the choices of earlier groups cost a token of one beam: the repetition penalty scales it
 * with the log-probability it is taken from. */
static double diversity_cost(const beam_list *list, int32_t token, const int32_t *chosen,
                             int n_chosen, double diversity)
{
    int count = times_chosen(token, chosen, n_chosen);
    if (count == 0)
        return 0;
    bool repeated = times_chosen(token, list->path, list->n_path) > 0;
    return diversity * count * (repeated ? list->repetition : 1);
}

void beam_select(beam_group *group, const beam_rules *rules, const beam_list *lists,
                 const int32_t *chosen, int n_chosen, double diversity)
{
    beam_next *next = group->next;
    int n = 0, keep = rules->keep;
    for (int b = 0; b < group->n_live; b++)
        for (int i = 0; i < lists[b].n; i++) {
            double score = group->live[b].score + lists[b].lp[i];
            if (n == keep && score <= next[n - 1].score)
                break; /* the rest of the list is no better, and a penalty only lowers it */
            int32_t token = lists[b].tokens[i];
            if (diversity != 0)
                score = group->live[b].score +
                        (lists[b].lp[i] -
                         diversity_cost(&lists[b], token, chosen, n_chosen, diversity));
            if (n == keep && score <= next[n - 1].score)
                continue;
            int at = n < keep ? n++ : n - 1; /* insert, pushing the worst out when full */
            for (; at > 0 && next[at - 1].score < score; at--)
                next[at] = next[at - 1];
            next[at] = (beam_next){ .beam = b, .token = token, .score = score,
                                    .token_lp = lists[b].lp[i] };
        }
    group->n_next = n;
}

/* Enters a candidate into `done`, whose worst leaves when it is full. */
static void enter(beam_group *group, const beam_rules *rules, int candidate, double score)
{
    beam_done *done = group->done;
    int slot = group->n_done;
    if (group->n_done == rules->width) {
        if (score <= done[group->n_done - 1].score)
            return;
        slot = done[--group->n_done].slot;
    }
    int at = group->n_done++;
    for (; at > 0 && done[at - 1].score < score; at--)
        done[at] = done[at - 1];
    done[at] = (beam_done){ .score = score, .slot = slot, .next = candidate };
}

void beam_settle(beam_group *group, const beam_rules *rules, int length)
{
    double norm = beam_length_norm(rules, length);
    for (int i = 0; i < group->n_done; i++)
        group->done[i].next = -1;
    group->n_survivors = 0;
    for (int i = 0; i < group->n_next; i++) {
        if (!group->next[i].ends) {
            if (group->n_survivors < rules->width)
                group->survivor[group->n_survivors++] = i;
        } else if (i < rules->width) {
            enter(group, rules, i, group->next[i].score / norm);
        }
    }

    bool full = group->n_done == rules->width;
    if (group->n_survivors == 0 || (full && rules->early == BEAM_EARLY_TRUE)) {
        group->stopped = true;
        return;
    }
    bool longest = rules->early == BEAM_EARLY_NEVER && rules->length_penalty > 0;
    double best_possible = group->next[group->survivor[0]].score /
                           beam_length_norm(rules, longest ? rules->max_new_tokens : length);
    group->stopped = full && best_possible <= group->done[group->n_done - 1].score;
}
