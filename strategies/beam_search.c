/* beam_search.c - beam search on the token tree (beam_search.h; the rule is in beam_step.h).
 *
 * One rm_eval a step asks every live beam of every group for its best next tokens. A live beam is
 * a source: the path of each model, and how far the stop strings have been seen. A source that
 * has one successor grows in place, one with several is forked, one with none is dropped, so that
 * the pages of dead beams come back at once. The groups of a diverse search start from one and
 * the same source: the prompt is evaluated and asked once.
 *
 * A beam that ends is appended its last token on a fork that is dropped again: the token was
 * chosen, and the account counts it where it is appended. */
#include "strategies/beam_search.h"

#include "strategies/samples.h"
#include "strategies/stop_match.h"

#include <math.h>
#include <string.h>

const char *const beam_early_names[] = { "false", "true", "never", NULL };
const char *const beam_norm_names[] = { "generated", "total", "gnmt", "none", NULL };

typedef struct source {
    rm_member *member;       /* [n_models] path and weight */
    size_t *seen;            /* [stops.n] */
    int uses;                /* successors it still has to give */
} source;

typedef struct search {
    const rm_trial *trial;
    const beam_config *config;
    int n_models;
    rm_combine combine;
    rm_sampling penalties;   /* carries the repetition penalty */

    beam_rules rules;        /* of each group */
    int n_groups;
    beam_group *group;       /* [n_groups] */
    rm_candidate *slot;      /* [num_beams] done beams, by group and slot */
    int32_t **slot_tokens;   /* [num_beams][limit] theirs */

    source *now, *next;      /* [num_beams] each */
    int n_now, n_next;
    rm_request *request;     /* [num_beams] of `now` */
    beam_list *list;         /* [width] of the group at hand */
    beam_live *before;       /* [width] its live beams before they are replaced */
    int32_t *chosen;         /* [num_beams] tokens that the groups chose in this step */
    int n_chosen;

    const int32_t *stop_tokens;
    int n_stop_tokens;
    stop_matcher stops;
    size_t *seen;            /* [stops.n] scratch */
    int limit;               /* most tokens to generate, ... */
    rm_stop_reason at_limit; /* ... and what reaching it means */
    int length;              /* tokens generated so far */
} search;

/* ---- opening ------------------------------------------------------------------------------- */

static rm_status group_open(search *s, beam_group *group, rm_error *err)
{
    rm_run *run = s->trial->run;
    size_t width = (size_t)s->rules.width;
    rm_status status = run_array(run, width, sizeof *group->live, &group->live, err);
    if (!status)
        status = run_array(run, width, sizeof *group->done, &group->done, err);
    if (!status)
        status = run_array(run, width, sizeof *group->survivor, &group->survivor, err);
    if (!status)
        status = run_array(run, (size_t)s->rules.keep, sizeof *group->next, &group->next, err);
    group->n_live = 1; /* the prompt, score 0 */
    return status;
}

static rm_status sources_open(search *s, source **sources, const double *weights, rm_error *err)
{
    rm_run *run = s->trial->run;
    int n = s->config->num_beams;
    rm_status status = run_array(run, (size_t)n, sizeof **sources, sources, err);
    for (int i = 0; i < n && !status; i++) {
        source *at = &(*sources)[i];
        status = run_array(run, (size_t)s->n_models, sizeof *at->member, &at->member, err);
        if (!status)
            status = run_array(run, (size_t)s->stops.n, sizeof *at->seen, &at->seen, err);
        for (int m = 0; m < s->n_models && !status; m++)
            at->member[m].weight = weights ? weights[m] : 1;
    }
    return status;
}

static rm_status slots_open(search *s, rm_error *err)
{
    rm_run *run = s->trial->run;
    size_t n = (size_t)s->config->num_beams;
    rm_status status = run_array(run, n, sizeof *s->slot, &s->slot, err);
    if (!status)
        status = run_array(run, n, sizeof *s->slot_tokens, &s->slot_tokens, err);
    for (size_t i = 0; i < n && !status; i++)
        status = run_array(run, (size_t)s->limit, sizeof **s->slot_tokens, &s->slot_tokens[i], err);
    return status;
}

/* The prompts as the one source of all groups, and how far it may grow. */
static rm_status prompts_open(search *s, rm_error *err)
{
    rm_status status = RM_OK;
    for (int m = 0; m < s->n_models && !status; m++) {
        int limit = 0;
        rm_stop_reason reason = RM_STOP_LENGTH;
        status = prompt_path(s->trial, m, &s->now[0].member[m].path, err);
        if (!status)
            status = generation_limit(s->now[0].member[m].path, s->config->max_new_tokens, &limit,
                                      &reason, err);
        if (m == 0 || limit < s->limit) {
            s->limit = limit;
            s->at_limit = reason;
        }
    }
    s->n_now = 1;
    if (!status)
        s->rules.n_prompt = rm_path_length(s->now[0].member[0].path);
    return status;
}

static rm_status search_open(search *s, const double *weights, rm_error *err)
{
    const rm_trial *trial = s->trial;
    const beam_config *config = s->config;
    rm_run *run = trial->run;
    size_t n = (size_t)config->num_beams;
    s->stop_tokens = rm_model_stop_tokens(trial->models[0], &s->n_stop_tokens);
    s->n_groups = config->num_beam_groups;
    int width = config->num_beams / s->n_groups;
    s->rules = (beam_rules){ .width = width,
                             .keep = (s->n_stop_tokens > 1 ? 1 + s->n_stop_tokens : 2) * width,
                             .length_penalty = config->length_penalty,
                             .norm = (beam_norm)config->length_norm,
                             .early = (beam_early)config->early_stopping,
                             .max_new_tokens = config->max_new_tokens };
    s->penalties = (rm_sampling)RM_SAMPLING_DEFAULT;
    s->penalties.repetition_penalty = config->repetition_penalty;

    rm_status status = stop_matcher_open(&s->stops, run, trial->problem->stop_strings,
                                         trial->problem->n_stop_strings, err);
    if (!status)
        status = run_array(run, (size_t)s->stops.n, sizeof *s->seen, &s->seen, err);
    if (!status)
        status = sources_open(s, &s->now, weights, err);
    if (!status)
        status = sources_open(s, &s->next, weights, err);
    if (!status)
        status = run_array(run, n, sizeof *s->request, &s->request, err);
    if (!status)
        status = run_array(run, (size_t)width, sizeof *s->list, &s->list, err);
    if (!status)
        status = run_array(run, (size_t)width, sizeof *s->before, &s->before, err);
    if (!status)
        status = run_array(run, n, sizeof *s->chosen, &s->chosen, err);
    if (!status)
        status = run_array(run, (size_t)s->n_groups, sizeof *s->group, &s->group, err);
    for (int g = 0; g < s->n_groups && !status; g++)
        status = group_open(s, &s->group[g], err);
    if (!status)
        status = prompts_open(s, err);
    if (!status)
        status = slots_open(s, err);
    return status;
}

/* ---- one step ------------------------------------------------------------------------------ */

/* The best next tokens of every source. Diversity can push out as many tokens as earlier groups
 * chose, so a list is longer by that. */
static rm_status ask(search *s, rm_error *err)
{
    int spare = s->config->diversity_penalty > 0 ? s->config->num_beams - s->rules.width : 0;
    for (int i = 0; i < s->n_now; i++) {
        rm_request *r = &s->request[i];
        *r = (rm_request){ .want = RM_WANT_TOP, .k = s->rules.keep + spare, .brief = true,
                           .sampling = s->config->repetition_penalty != 1 ? &s->penalties : NULL };
        if (s->n_models == 1) {
            r->path = s->now[i].member[0].path;
        } else {
            r->members = s->now[i].member;
            r->n_members = s->n_models;
            r->combine = s->combine;
        }
    }
    return rm_eval(s->trial->run, s->request, s->n_now, err);
}

static bool is_stop_token(const search *s, int32_t token)
{
    for (int i = 0; i < s->n_stop_tokens; i++)
        if (s->stop_tokens[i] == token)
            return true;
    return false;
}

/* Follows the stop strings from `from` through a token into `to`; true if one is complete. */
static bool follow(const search *s, const size_t *from, int32_t token, size_t *to)
{
    if (s->stops.n == 0)
        return false;
    size_t n;
    bool special;
    const char *bytes = rm_token_bytes(s->trial->models[0], token, &n, &special);
    memcpy(to, from, (size_t)s->stops.n * sizeof *to);
    return !special && stop_matcher_follow(&s->stops, to, bytes, n);
}

static void mark_ends(search *s, beam_group *group)
{
    for (int i = 0; i < group->n_next; i++) {
        beam_next *next = &group->next[i];
        const source *from = &s->now[group->live[next->beam].source];
        next->ends = true;
        if (is_stop_token(s, next->token))
            next->reason = RM_STOP_TOKEN;
        else if (follow(s, from->seen, next->token, s->seen))
            next->reason = RM_STOP_STRING;
        else if (s->length + 1 == s->limit)
            next->reason = s->at_limit;
        else
            next->ends = false;
    }
}

/* The raw log-probability of a token ranked by a penalised one: log-probabilities are not
 * positive, so the penalty multiplied it, if the token stands in the path. */
static double raw_lp(const search *s, const rm_path *path, int32_t token, double lp)
{
    double penalty = s->config->repetition_penalty;
    if (penalty == 1)
        return lp;
    const int32_t *tokens = rm_path_tokens(path);
    for (int i = 0; i < rm_path_length(path); i++)
        if (tokens[i] == token)
            return lp / penalty;
    return lp;
}

/* Counts the last token of an ended beam (see the head of this file). */
static rm_status append_and_drop(const source *from, int32_t token, rm_error *err)
{
    rm_path *last;
    rm_status status = rm_path_fork(from->member[0].path, UINT32_MAX, &last, err);
    if (status)
        return status;
    status = rm_path_append(last, &token, 1, err);
    rm_path_drop(last);
    return status;
}

/* Copies what has entered `done` in this step into its slot. */
static rm_status keep_done(search *s, int g, rm_error *err)
{
    beam_group *group = &s->group[g];
    for (int i = 0; i < group->n_done; i++) {
        if (group->done[i].next < 0)
            continue;
        const beam_next *next = &group->next[group->done[i].next];
        const beam_live *live = &group->live[next->beam];
        const source *from = &s->now[live->source];
        const rm_path *path = from->member[0].path;
        int at = g * s->rules.width + group->done[i].slot;
        rm_candidate *slot = &s->slot[at];
        int32_t *tokens = s->slot_tokens[at];
        memcpy(tokens, rm_path_tokens(path) + s->rules.n_prompt,
               (size_t)s->length * sizeof *tokens);
        *slot = (rm_candidate){ .tokens = tokens, .n_tokens = s->length, .lp = live->lp,
                                .lp_sampling = NAN, .score = group->done[i].score,
                                .reason = next->reason };
        if (next->token < 0)
            continue; /* cut short: the live beam itself */
        tokens[slot->n_tokens++] = next->token;
        slot->lp += raw_lp(s, path, next->token, next->token_lp);
        rm_status status = append_and_drop(from, next->token, err);
        if (status)
            return status;
    }
    return RM_OK;
}

/* Selects and settles one group; its survivors' tokens join those chosen in this step. */
static rm_status step_group(search *s, int g, rm_error *err)
{
    beam_group *group = &s->group[g];
    for (int b = 0; b < group->n_live; b++) {
        const rm_request *r = &s->request[group->live[b].source];
        s->list[b] = (beam_list){ .tokens = r->result.tokens, .lp = r->result.lp,
                                  .n = r->result.n };
        if (s->config->repetition_penalty == 1)
            continue;
        const rm_path *path = s->now[group->live[b].source].member[0].path;
        s->list[b].path = rm_path_tokens(path);
        s->list[b].n_path = rm_path_length(path);
        s->list[b].repetition = s->config->repetition_penalty;
    }
    beam_select(group, &s->rules, s->list, s->chosen, s->n_chosen, s->config->diversity_penalty);
    mark_ends(s, group);
    beam_settle(group, &s->rules, s->length + 1);
    for (int i = 0; i < group->n_survivors; i++)
        s->chosen[s->n_chosen++] = group->next[group->survivor[i]].token;
    return keep_done(s, g, err);
}

/* One successor of a source: the source itself if it is the last one, else a fork. */
static rm_status succeed(search *s, source *from, int32_t token, source *to, rm_error *err)
{
    from->uses--;
    follow(s, from->seen, token, to->seen);
    for (int m = 0; m < s->n_models; m++) {
        to->member[m].path = NULL;
        if (from->uses == 0) {
            to->member[m].path = from->member[m].path;
            from->member[m].path = NULL;
            continue;
        }
        rm_status status = rm_path_fork(from->member[m].path, (uint32_t)from->uses,
                                        &to->member[m].path, err);
        if (status)
            return status;
    }
    return rm_members_append(to->member, s->n_models, &token, 1, err);
}

/* Survivors become the live beams: `next` is built from `now`, then they change places. */
static rm_status advance(search *s, rm_error *err)
{
    for (int g = 0; g < s->n_groups; g++) {
        beam_group *group = &s->group[g];
        for (int i = 0; i < group->n_survivors && !group->stopped; i++)
            s->now[group->live[group->next[group->survivor[i]].beam].source].uses++;
    }
    for (int i = 0; i < s->n_now; i++)
        for (int m = 0; m < s->n_models && s->now[i].uses == 0; m++) {
            rm_path_drop(s->now[i].member[m].path);
            s->now[i].member[m].path = NULL;
        }

    s->n_next = 0;
    for (int g = 0; g < s->n_groups; g++) {
        beam_group *group = &s->group[g];
        const beam_live *live = s->before;
        memcpy(s->before, group->live, (size_t)group->n_live * sizeof *live);
        group->n_live = group->stopped ? 0 : group->n_survivors;
        for (int i = 0; i < group->n_live; i++) {
            const beam_next *next = &group->next[group->survivor[i]];
            source *from = &s->now[live[next->beam].source];
            const rm_path *path = from->member[0].path;
            group->live[i] = (beam_live){
                .score = next->score, .source = s->n_next,
                .lp = live[next->beam].lp + raw_lp(s, path, next->token, next->token_lp)
            };
            rm_status status = succeed(s, from, next->token, &s->next[s->n_next++], err);
            if (status)
                return status;
        }
    }
    source *spent = s->now;
    s->now = s->next;
    s->next = spent;
    s->n_now = s->n_next;
    for (int i = 0; i < s->config->num_beams; i++)
        s->now[i].uses = 0;
    return RM_OK;
}

/* ---- the search ---------------------------------------------------------------------------- */

/* A limit or budget ended the search: live beams end as they are. */
static rm_status cut_short(search *s, rm_error *err)
{
    for (int g = 0; g < s->n_groups; g++) {
        beam_group *group = &s->group[g];
        if (group->stopped)
            continue;
        group->n_next = group->n_live;
        for (int b = 0; b < group->n_live; b++)
            group->next[b] = (beam_next){ .beam = b, .token = -1, .score = group->live[b].score,
                                          .ends = true, .reason = RM_STOP_BUDGET };
        beam_settle(group, &s->rules, s->length);
        rm_status status = keep_done(s, g, err);
        if (status)
            return status;
    }
    return RM_OK;
}

static rm_status search_run(search *s, rm_outcome *out, rm_error *err)
{
    for (;;) {
        rm_status status = ask(s, err);
        if ((status == RM_E_LIMIT || status == RM_E_BUDGET) && s->length > 0) {
            out->cut_short = true;
            return cut_short(s, err);
        }
        s->n_chosen = 0;
        bool live = false;
        for (int g = 0; g < s->n_groups && !status; g++) {
            if (!s->group[g].stopped)
                status = step_group(s, g, err);
            live |= !s->group[g].stopped;
        }
        if (status)
            return status;
        status = advance(s, err);
        if (status || !live)
            return status;
        s->length++;
    }
}

/* The done beams of all groups, by descending score, the earlier group first on a tie. */
static rm_status collect(search *s, rm_outcome *out, rm_error *err)
{
    int n = 0, most = s->config->num_return_sequences;
    rm_candidate *c;
    rm_status status = run_array(s->trial->run, (size_t)s->config->num_beams, sizeof *c, &c, err);
    if (status)
        return status;
    for (int g = 0; g < s->n_groups; g++)
        for (int i = 0; i < s->group[g].n_done; i++) {
            rm_candidate done = s->slot[g * s->rules.width + s->group[g].done[i].slot];
            int at = n++;
            for (; at > 0 && c[at - 1].score < done.score; at--)
                c[at] = c[at - 1];
            c[at] = done;
        }
    if (most > 0 && n > most)
        n = most;
    for (int i = 0; i < n && !status; i++)
        status = candidate_finish(s->trial, &c[i], err);
    out->candidates = c;
    out->n_candidates = n;
    out->chosen = 0;
    return status;
}

rm_status beam_search(const rm_trial *trial, const beam_config *config, int n_models,
                      const double *weights, rm_combine combine, rm_outcome *out, rm_error *err)
{
    search s = { .trial = trial, .config = config, .n_models = n_models, .combine = combine };
    rm_status status = search_open(&s, weights, err);
    if (!status)
        status = search_run(&s, out, err);
    for (int i = 0; i < s.n_now; i++) /* what is still alive, also after a failure */
        for (int m = 0; m < n_models; m++) {
            rm_path_drop(s.now[i].member[m].path);
            s.now[i].member[m].path = NULL;
        }
    return status ? status : collect(&s, out, err);
}
