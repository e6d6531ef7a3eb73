/* step_beam.c - beam search over reasoning steps, led by a scorer of prefixes: the tree of thoughts,
 * breadth first (Yao et al. 2023, arXiv:2305.10601), with a process reward model (Snell et al. 2024,
 * arXiv:2408.03314); and its variant of independent trees, DVTS (Beeching, Tunstall & Rush 2024,
 * Scaling test-time compute with open models).
 *
 *     N = num_beams, M = beam_width, N divisible by M, W = N/M
 *     level 1   the root draws N steps
 *     then      each of the live ones proposes M continuations of one step, N candidates a level
 *               score them
 *               beam   the best W of the level stay
 *               dvts   W trees, of which the first M steps of the root begin the first, and so on;
 *                      the best of each tree stays
 *
 * A candidate that ends the text and stays is done; it keeps its place, so that the next level has
 * one live prefix (in dvts: one tree) fewer. The search ends when no place is left. Every finished
 * text of every level is a candidate of the outcome, also those that did not stay.
 *
 *     score     s = A(v_1 .. v_d) over the d steps of the prefix, A = aggregate, one of last, min,
 *               prod, mean, max; v_i the scorer's value of the prefix up to step i, in [0, 1]:
 *               lp      exp(lp / tokens), the geometric mean probability of a token
 *               value   a reward model's, the last of two models
 *     final     best           the finished text with the highest score
 *               weighted_vote  argmax over answers of the sum of their scores
 *               vote           argmax over answers of their number
 *
 * Ties go to the higher lp, then to the smaller index. With filter_duplicates equal continuations of
 * one prefix are one candidate; without, they take places of their own, as drawn. Draws follow
 * the tree: continuation k of a prefix is its child k. A budget or limit that ends the search after
 * a text was finished leaves an answer (cut_short). */
#include "strategies/ballot.h"
#include "strategies/list.h"
#include "strategies/params.h"
#include "strategies/samples.h"
#include "strategies/value.h"

#include <math.h>
#include <string.h>

/* ---- parameters ---------------------------------------------------------------------------- */

enum { SCORE_LP, SCORE_VALUE };
enum { SEARCH_BEAM, SEARCH_DVTS };
enum { FINAL_BEST, FINAL_WEIGHTED_VOTE, FINAL_VOTE };
enum { LAST, MIN, PROD, MEAN, MAX, N_AGGREGATES };
static const char *const score_names[] = { "lp", "value", NULL };
static const char *const search_names[] = { "beam", "dvts", NULL };
static const char *const final_names[] = { "best", "weighted_vote", "vote", NULL };
static const char *const aggregate_names[] = { "last", "min", "prod", "mean", "max", NULL };

typedef struct sb_params {
    rm_sampling sampling;
    int n, width, max_new_tokens;
    int score, aggregate, search, final;
    bool filter;
} sb_params;

static const rm_param sb_table[] = {
    PARAM_INT(sb_params, n, "num_beams", 16, 1, 1024, "N: candidates a level"),
    PARAM_INT(sb_params, width, "beam_width", 4, 1, 1024,
              "M: continuations of a prefix; num_beams / beam_width prefixes stay"),
    PARAM_CHOICE(sb_params, score, "score", SCORE_LP, score_names, "value of a prefix"),
    PARAM_CHOICE(sb_params, aggregate, "aggregate", LAST, aggregate_names,
                 "how the values of the steps make a score"),
    PARAM_CHOICE(sb_params, search, "search", SEARCH_BEAM, search_names,
                 "one beam, or a tree for each place (dvts)"),
    PARAM_CHOICE(sb_params, final, "final", FINAL_BEST, final_names, "choice of the answer"),
    PARAM_BOOL(sb_params, filter, "filter_duplicates", 0,
               "equal continuations of a prefix are one candidate"),
    PARAM_MAX_NEW_TOKENS(sb_params, max_new_tokens),
    PARAMS_SAMPLING(sb_params, sampling),
    PARAM_END,
};

static unsigned sb_needs(const void *params)
{
    const sb_params *p = params;
    return RM_NEEDS_SAMPLES | RM_NEEDS_FORK | RM_NEEDS_STEPS |
           (p->score == SCORE_VALUE ? RM_NEEDS_SCORING | RM_NEEDS_ONE_VOCABULARY
                                    : RM_NEEDS_LOGPROBS);
}

static bool sb_exchangeable(const void *params)
{
    (void)params;
    return false;
}

static rm_status sb_check(const void *params, int n_models, rm_error *err)
{
    const sb_params *p = params;
    if ((n_models == 2) != (p->score == SCORE_VALUE))
        return rm_fail(err, RM_E_ARGUMENT,
                       n_models == 2 ? "two models are for score = value: the second one judges"
                                     : "score = value takes two models: one that draws and a reward "
                                       "model");
    if (p->n % p->width)
        return rm_fail(err, RM_E_ARGUMENT, "num_beams = %d must be a multiple of beam_width = %d",
                       p->n, p->width);
    return RM_OK;
}

/* ---- the search ---------------------------------------------------------------------------- */

/* A prefix of steps; node 0 is the empty one. */
typedef struct prefix {
    rm_path *path;           /* while it is live or waits for its score */
    const int32_t *step;     /* [n_step] */
    int parent, depth, tree; /* tree: of dvts */
    int n_step, n_tokens;    /* of this step; from the prompt to its end */
    double step_lp, lp, lp_sampling;
    double of[N_AGGREGATES]; /* of the steps' values; MEAN holds their sum */
    double score;
    int candidate;           /* the finished text that ends here, or -1 */
} prefix;

typedef struct search {
    const rm_trial *trial;
    const sb_params *p;
    rm_sampling sampling;
    rm_stop stop;
    int limit;
    rm_stop_reason at_limit;
    prefix *node;
    int n_nodes, node_room;
    int candidate_room;
    int *live, n_live;       /* [N] nodes */
    int places;              /* that finished ones have not taken */
    int *fresh, n_fresh;     /* [N] nodes of this level */
    rm_request *request;     /* [N] */
    int *from;               /* [N] node that request i continues */
    int n_requests;
    const int32_t **text;    /* [N] for the reward model */
    int *length;
    double *value;
    rm_outcome *out;
} search;

/* Room for `more` items behind n in an array of the run's memory. */
static rm_status grow(rm_run *run, void *items, size_t bytes, int n, int more, int *room,
                      rm_error *err)
{
    void *old, *grown;
    if (more <= *room - n)
        return RM_OK;
    size_t wanted = 2 * ((size_t)n + (size_t)more);
    if (wanted > INT32_MAX)
        return rm_fail(err, RM_E_LIMIT, "the search has more than %d prefixes", INT32_MAX / 2);
    rm_status status = run_array(run, wanted, bytes, &grown, err);
    if (status)
        return status;
    memcpy(&old, items, sizeof old);
    if (n)
        memcpy(grown, old, (size_t)n * bytes);
    memcpy(items, &grown, sizeof grown);
    *room = (int)wanted;
    return RM_OK;
}

static rm_status search_open(search *s, rm_error *err)
{
    rm_run *run = s->trial->run;
    size_t n = (size_t)s->p->n;
    struct {
        size_t bytes;
        void *at;
    } arrays[] = {
        { sizeof *s->live, &s->live },       { sizeof *s->fresh, &s->fresh },
        { sizeof *s->request, &s->request }, { sizeof *s->from, &s->from },
        { sizeof *s->text, &s->text },       { sizeof *s->length, &s->length },
        { sizeof *s->value, &s->value },
    };
    rm_status status = grow(run, &s->node, sizeof *s->node, 0, 1 + s->p->n, &s->node_room, err);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays && !status; i++)
        status = run_array(run, n, arrays[i].bytes, arrays[i].at, err);
    if (status)
        return status;
    s->node[0] = (prefix){ .parent = -1, .candidate = -1,
                           .of = { [MIN] = INFINITY, [PROD] = 1, [MAX] = -INFINITY } };
    s->n_nodes = 1;
    s->live[s->n_live++] = 0;
    s->places = s->p->n / s->p->width;
    status = prompt_path(s->trial, 0, &s->node[0].path, err);
    return status ? status : generation_limit(s->node[0].path, s->p->max_new_tokens, &s->limit,
                                              &s->at_limit, err);
}

static void drop(search *s, int node)
{
    rm_path_drop(s->node[node].path);
    s->node[node].path = NULL;
}

/* Evaluates the live prefixes once, then draws a step behind each of their forks. */
static rm_status propose(search *s, rm_error *err)
{
    int each = s->n_nodes == 1 ? s->p->n : s->p->width;
    s->n_requests = 0;
    for (int i = 0; i < s->n_live; i++)
        s->request[i] = (rm_request){ .want = RM_WANT_NOTHING, .path = s->node[s->live[i]].path };
    rm_status status = rm_eval(s->trial->run, s->request, s->n_live, err);
    for (int i = 0; i < s->n_live && !status; i++)
        for (int k = 0; k < each && !status; k++) {
            const prefix *at = &s->node[s->live[i]];
            s->from[s->n_requests] = s->live[i];
            rm_request *r = &s->request[s->n_requests++];
            *r = (rm_request){ .want = RM_WANT_SPAN, .sampling = &s->sampling, .stop = &s->stop,
                               .max_new_tokens = s->limit - at->n_tokens };
            status = rm_path_fork(at->path, (uint32_t)k, &r->path, err);
        }
    return status ? status : rm_eval(s->trial->run, s->request, s->n_requests, err);
}

static bool seen_before(const search *s, int i)
{
    for (int k = i - 1; k >= 0 && s->from[k] == s->from[i]; k--) {
        const rm_request *a = &s->request[k], *b = &s->request[i];
        if (a->result.n == b->result.n &&
            memcmp(a->result.tokens, b->result.tokens,
                   (size_t)a->result.n * sizeof *a->result.tokens) == 0)
            return true;
    }
    return false;
}

/* The text that ends at a node becomes a candidate. */
static rm_status finish(search *s, int node, rm_stop_reason reason, rm_error *err)
{
    prefix *at = &s->node[node];
    rm_run *run = s->trial->run;
    int32_t *tokens;
    rm_score *scores;
    rm_status status = grow(run, &s->out->candidates, sizeof *s->out->candidates,
                            s->out->n_candidates, 1, &s->candidate_room, err);
    if (!status)
        status = run_array(run, (size_t)at->n_tokens, sizeof *tokens, &tokens, err);
    if (!status)
        status = run_array(run, N_AGGREGATES, sizeof *scores, &scores, err);
    if (status)
        return status;
    memcpy(tokens, rm_path_tokens(at->path) + rm_path_prompt_length(at->path),
           (size_t)at->n_tokens * sizeof *tokens);
    rm_candidate *c = &s->out->candidates[s->out->n_candidates];
    *c = (rm_candidate){ .tokens = tokens, .n_tokens = at->n_tokens, .lp = at->lp,
                         .lp_sampling = at->lp_sampling, .reason = reason, .scores = scores };
    status = candidate_finish(s->trial, c, err);
    if (!status)
        at->candidate = s->out->n_candidates++;
    return status;
}

/* Turns the drawn steps into nodes; their paths pass to them. */
static rm_status take_steps(search *s, rm_error *err)
{
    rm_status status = grow(s->trial->run, &s->node, sizeof *s->node, s->n_nodes, s->n_requests,
                            &s->node_room, err);
    s->n_fresh = 0;
    for (int i = 0; i < s->n_requests && !status; i++) {
        rm_request *r = &s->request[i];
        rm_stop_reason reason = r->result.reason;
        s->out->cut_short |= reason == RM_STOP_BUDGET;
        if (r->result.n == 0 || (s->p->filter && seen_before(s, i)))
            continue;
        const prefix *from = &s->node[s->from[i]];
        prefix *to = &s->node[s->n_nodes];
        *to = (prefix){ .path = r->path, .step = r->result.tokens, .parent = s->from[i],
                        .depth = from->depth + 1, .n_step = r->result.n,
                        .tree = s->from[i] ? from->tree : i / s->p->width,
                        .n_tokens = from->n_tokens + r->result.n,
                        .step_lp = sum_lp(r->result.lp, r->result.n), .candidate = -1 };
        to->lp = from->lp + to->step_lp;
        to->lp_sampling = from->lp_sampling + sum_lp(r->result.lp_sampling, r->result.n);
        r->path = NULL;
        s->fresh[s->n_fresh++] = s->n_nodes++;
        if (reason == RM_STOP_STEP && to->n_tokens == s->limit)
            reason = s->at_limit;
        if (reason != RM_STOP_STEP)
            status = finish(s, s->n_nodes - 1, reason, err);
    }
    return status;
}

/* v_d of every new prefix. Those that a limit leaves without one are worth 0, and end the search. */
static rm_status judge(search *s, rm_error *err)
{
    for (int i = 0; i < s->n_fresh; i++) {
        const prefix *at = &s->node[s->fresh[i]];
        s->text[i] = rm_path_tokens(at->path) + rm_path_prompt_length(at->path);
        s->length[i] = at->n_tokens;
        s->value[i] = s->p->score == SCORE_LP ? rm_math_exp(at->lp / at->n_tokens) : 0;
    }
    if (s->p->score == SCORE_LP || !s->n_fresh)
        return RM_OK;
    rm_status status = value_of_texts(s->trial, s->text, s->length, s->n_fresh, s->value, err);
    if (status != RM_E_LIMIT && status != RM_E_BUDGET)
        return status;
    s->out->cut_short = true;
    return RM_OK;
}

static void score_fresh(search *s)
{
    for (int i = 0; i < s->n_fresh; i++) {
        prefix *at = &s->node[s->fresh[i]];
        const prefix *from = &s->node[at->parent];
        double v = s->value[i];
        at->of[LAST] = v;
        at->of[MIN] = v < from->of[MIN] ? v : from->of[MIN];
        at->of[PROD] = from->of[PROD] * v;
        at->of[MEAN] = from->of[MEAN] + v;
        at->of[MAX] = v > from->of[MAX] ? v : from->of[MAX];
        at->score = s->p->aggregate == MEAN ? at->of[MEAN] / at->depth : at->of[s->p->aggregate];
        if (at->candidate < 0)
            continue;
        rm_candidate *c = &s->out->candidates[at->candidate];
        c->score = at->score;
        c->n_scores = N_AGGREGATES;
        for (int k = 0; k < N_AGGREGATES; k++)
            c->scores[k] = (rm_score){ aggregate_names[k],
                                       k == MEAN ? at->of[MEAN] / at->depth : at->of[k] };
    }
}

/* Higher score, then higher lp; nodes are older the smaller their index. */
static bool better(const prefix *a, const prefix *b)
{
    return a->score > b->score || (a->score == b->score && a->lp > b->lp);
}

/* The best fresh node whose place is not yet decided, of one tree or (-1) of all; -1: none. */
static int best_fresh(const search *s, const bool *taken, int tree)
{
    int best = -1;
    for (int i = 0; i < s->n_fresh; i++) {
        const prefix *at = &s->node[s->fresh[i]];
        if (taken[i] || (tree >= 0 && at->tree != tree))
            continue;
        if (best < 0 || better(at, &s->node[s->fresh[best]]))
            best = i;
    }
    return best;
}

/* Fills live with what stays; the other paths are dropped. */
static void select_live(search *s)
{
    bool taken[1024] = { false }; /* num_beams' largest value */
    int trees = s->p->n / s->p->width, places = s->places;
    for (int i = 0; i < s->n_live; i++)
        drop(s, s->live[i]);
    s->n_live = 0;
    for (int place = 0; place < (s->p->search == SEARCH_DVTS ? trees : places); place++) {
        int best = best_fresh(s, taken, s->p->search == SEARCH_DVTS ? place : -1);
        if (best < 0)
            continue; /* of a tree that is done, or of a level with fewer candidates */
        taken[best] = true;
        if (s->node[s->fresh[best]].candidate >= 0)
            s->places--;
        else
            s->live[s->n_live++] = s->fresh[best];
    }
    for (int i = 0; i < s->n_fresh; i++)
        if (!taken[i] || s->node[s->fresh[i]].candidate >= 0)
            drop(s, s->fresh[i]);
}

static rm_status level(search *s, rm_error *err)
{
    rm_status status = propose(s, err);
    if (!status)
        status = take_steps(s, err);
    for (int i = 0; i < s->n_requests; i++) {
        rm_path_drop(s->request[i].path);
        s->request[i].path = NULL;
    }
    s->n_requests = 0;
    if (!status)
        status = judge(s, err);
    if (status)
        return status;
    score_fresh(s);
    select_live(s);
    return RM_OK;
}

static rm_status descend(search *s, rm_error *err)
{
    while (s->n_live && !s->out->cut_short) {
        rm_status status = level(s, err);
        if ((status == RM_E_LIMIT || status == RM_E_BUDGET) && s->out->n_candidates)
            s->out->cut_short = true;
        else if (status)
            return status;
    }
    if (!s->out->n_candidates)
        return rm_fail(err, RM_E_BUDGET, "the budget ended before a text was finished");
    return RM_OK;
}

/* ---- the answer ---------------------------------------------------------------------------- */

static rm_status choose(search *s, rm_error *err)
{
    rm_outcome *out = s->out;
    ballot votes = { 0 };
    if (s->p->final == FINAL_BEST) {
        out->chosen = 0;
        for (int i = 1; i < out->n_candidates; i++) {
            const rm_candidate *c = &out->candidates[i], *best = &out->candidates[out->chosen];
            if (c->score > best->score || (c->score == best->score && c->lp > best->lp))
                out->chosen = i;
        }
        return RM_OK;
    }
    rm_status status = run_array(s->trial->run, (size_t)out->n_candidates, sizeof *votes.vote,
                                 &votes.vote, err);
    if (status)
        return status;
    for (int i = 0; i < out->n_candidates; i++) {
        const rm_candidate *c = &out->candidates[i];
        ballot_add(&votes, i, c->answer, s->p->final == FINAL_VOTE ? 1 : c->score, c->lp);
    }
    ballot_count(&votes);
    out->chosen = votes.winner;
    return RM_OK;
}

/* All that was proposed, for the record: `value` is the score. */
static rm_status record(search *s, rm_error *err)
{
    rm_node *nodes;
    rm_status status = run_array(s->trial->run, (size_t)s->n_nodes, sizeof *nodes, &nodes, err);
    for (int i = 0; i < s->n_nodes && !status; i++) {
        const prefix *at = &s->node[i];
        nodes[i] = (rm_node){ .parent = at->parent, .depth = at->depth, .n_tokens = at->n_step,
                              .lp = at->step_lp, .prior = NAN, .value = i ? at->score : NAN,
                              .visits = 1, .candidate = at->candidate };
        status = tokens_text(s->trial, 0, at->step, at->n_step, &nodes[i].text, err);
    }
    for (int i = s->n_nodes - 1; i > 0 && !status; i--)
        nodes[nodes[i].parent].visits += nodes[i].visits; /* prefixes looked at below, itself too */
    if (status)
        return status;
    s->out->nodes = nodes;
    s->out->n_nodes = s->n_nodes;
    return RM_OK;
}

static rm_status sb_run(const rm_trial *trial, const void *params, rm_outcome *out, rm_error *err)
{
    const sb_params *p = params;
    if (!trial->problem->n_step_ends)
        return rm_fail(err, RM_E_ARGUMENT,
                       "the task of problem '%s' does not say where a step ends",
                       trial->problem->id);
    rm_status status = p->score == SCORE_VALUE ? value_check(trial, "score = value", err) : RM_OK;
    if (status)
        return status;
    search s = { .trial = trial, .p = p, .sampling = p->sampling, .out = out,
                 .stop = answer_stop(trial, true) };
    s.sampling.do_sample = true;
    status = search_open(&s, err);
    if (!status)
        status = descend(&s, err);
    if (!status)
        status = choose(&s, err);
    if (!status)
        status = record(&s, err);
    for (int i = 0; i < s.n_nodes; i++)
        drop(&s, i);
    return status;
}

/* Every position of the tree is on the way to one of N candidates, and each of these is asked for
 * at the length of a whole text. */
static uint64_t sb_positions(const void *params, int n_prompt, int n_ctx, int window)
{
    const sb_params *p = params;
    return pieces_positions((uint64_t)p->n, p->max_new_tokens, n_prompt, n_ctx, window);
}

/* Of the N candidates of a level. */
static uint64_t sb_judge_positions(const void *params, int n_prompt, int n_ctx)
{
    const sb_params *p = params;
    return p->score == SCORE_VALUE
               ? value_positions((uint64_t)p->n, p->max_new_tokens, n_prompt, n_ctx) : 0;
}

const rm_strategy rm_step_beam = {
    .name = "step-beam",
    .paper = "Yao et al. 2023, arXiv:2305.10601; Snell et al. 2024, arXiv:2408.03314",
    .summary = "beam search over reasoning steps, led by a scorer of prefixes",
    .params = sb_table,
    .params_size = sizeof(sb_params),
    .size_param = "num_beams",
    .min_models = 1,
    .max_models = 2,
    .needs = sb_needs,
    .exchangeable = sb_exchangeable,
    .check = sb_check,
    .run = sb_run,
    .positions = sb_positions,
    .judge_positions = sb_judge_positions,
};
