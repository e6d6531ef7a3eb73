/* mcts.c - Monte Carlo tree search over reasoning steps.
 * PUCT: Silver et al. 2017, arXiv:1712.01815; UCT: Kocsis & Szepesvari 2006; over the steps of a
 * language model: Hao et al. 2023 (RAP), arXiv:2305.14992; Qi et al. 2024 (rStar), 2408.06195.
 *
 * A node is a prefix of steps. One simulation
 *
 *     selects   a leaf by PUCT or UCT (mcts_search.h)
 *     expands   K sampled step continuations, equal ones merged, P = softmax of their lp
 *     evaluates rollout   sample to the end; v = score of the path
 *               prefix    v = exp(mean lp) of the prefix (1 for the empty one)
 *               mix       (1 - mix) prefix + mix rollout
 *     backs up  W += v, N += 1 to the root
 *
 * Scores lie in [0, 1]: lp is exp(lp / len), the geometric mean probability of a token;
 * agreement is the share of the other finished paths that reached the same answer; verifier is the
 * task's checker (marked in the records); value is a reward model's, the last of two models, and
 * takes the place of exp(mean lp) for prefixes as well. Finished paths are rollouts and steps that
 * end the text; each is a candidate, with its final value as score. A leaf that ends the text is
 * not expanded and its value is its score. Agreement changes as paths finish, so before each round
 * every W is summed anew from the current values.
 *
 * `parallel` leaves are collected per round under virtual loss and served together. A round ends
 * early when it meets a leaf it already holds: the tree has no other to offer yet.
 *
 * Answer   visits  follow the most visited child; the best-valued path found at its end
 *          value   the best-valued path
 *          vote    sum of values per answer
 * Ties go to the higher lp, then to the smaller index. With evaluate = prefix, if no path ends
 * there, one rollout completes the answer.
 *
 * Draws follow the tree: step k of a leaf is its child k, its rollout child K. A budget or limit
 * that ends the search after any simulation leaves an answer (cut_short). */
#include "strategies/ballot.h"
#include "strategies/dirichlet.h"
#include "strategies/list.h"
#include "strategies/mcts_search.h"
#include "strategies/params.h"
#include "strategies/samples.h"
#include "strategies/value.h"

#include <math.h>
#include <string.h>

/* ---- parameters ---------------------------------------------------------------------------- */

enum { SELECT_PUCT, SELECT_UCT };
enum { EVALUATE_ROLLOUT, EVALUATE_PREFIX, EVALUATE_MIX };
enum { SCORE_LP, SCORE_AGREEMENT, SCORE_VERIFIER, SCORE_VALUE };
enum { ANSWER_VISITS, ANSWER_VALUE, ANSWER_VOTE };
static const char *const select_names[] = { "puct", "uct", NULL };
static const char *const evaluate_names[] = { "rollout", "prefix", "mix", NULL };
static const char *const score_names[] = { "lp", "agreement", "verifier", "value", NULL };
static const char *const answer_names[] = { "visits", "value", "vote", NULL };

typedef struct mcts_params {
    rm_sampling sampling;
    int simulations, expand, parallel, max_new_tokens;
    int selection, evaluate, score, answer;
    double c_init, c_base, uct_weight, q_init, mix, noise_epsilon, noise_alpha;
} mcts_params;

static const rm_param mcts_table[] = {
    PARAM_INT(mcts_params, simulations, "simulations", 16, 1, 16384, "leaves to evaluate"),
    PARAM_INT(mcts_params, expand, "expand", 4, 1, 64, "steps to sample below a leaf"),
    PARAM_INT(mcts_params, parallel, "parallel", 4, 1, 256, "leaves per round, under virtual loss"),
    PARAM_CHOICE(mcts_params, selection, "selection", SELECT_PUCT, select_names, "rule of descent"),
    PARAM_REAL(mcts_params, c_init, "c_init", 1.25, 0, 1000, "puct: weight of exploration"),
    PARAM_POSITIVE(mcts_params, c_base, "c_base", 19652, 1e12, "puct: visits that raise it"),
    PARAM_REAL(mcts_params, uct_weight, "uct_weight", 1.4142135623730951, 0, 1000,
               "uct: weight of exploration"),
    PARAM_REAL(mcts_params, q_init, "q_init", -1, -1, 1,
               "value of an unvisited step; below 0: its parent's"),
    PARAM_CHOICE(mcts_params, evaluate, "evaluate", EVALUATE_ROLLOUT, evaluate_names,
                 "what gives a leaf its value"),
    PARAM_REAL(mcts_params, mix, "mix", 0.5, 0, 1, "evaluate = mix: share of the rollout"),
    PARAM_CHOICE(mcts_params, score, "score", SCORE_LP, score_names, "value of a finished path"),
    PARAM_CHOICE(mcts_params, answer, "answer", ANSWER_VISITS, answer_names,
                 "choice of the answer"),
    PARAM_REAL(mcts_params, noise_epsilon, "noise_epsilon", 0, 0, 1,
               "share of Dirichlet noise in the root's priors; 0: none"),
    PARAM_POSITIVE(mcts_params, noise_alpha, "noise_alpha", 0.3, 1000, "parameter of that noise"),
    PARAM_MAX_NEW_TOKENS(mcts_params, max_new_tokens),
    PARAMS_SAMPLING(mcts_params, sampling),
    PARAM_END,
};

static unsigned mcts_needs(const void *params)
{
    const mcts_params *p = params;
    return RM_NEEDS_SAMPLES | RM_NEEDS_FORK | RM_NEEDS_STEPS | RM_NEEDS_LOGPROBS |
           (p->score == SCORE_VERIFIER ? RM_NEEDS_VERIFIER : 0u) |
           (p->score == SCORE_VALUE ? RM_NEEDS_SCORING | RM_NEEDS_ONE_VOCABULARY : 0u);
}

static bool mcts_exchangeable(const void *params)
{
    (void)params;
    return false;
}

static bool mcts_uses_verifier(const void *params)
{
    return ((const mcts_params *)params)->score == SCORE_VERIFIER;
}

static rm_status mcts_check(const void *params, int n_models, rm_error *err)
{
    const mcts_params *p = params;
    if ((n_models == 2) != (p->score == SCORE_VALUE))
        return rm_fail(err, RM_E_ARGUMENT,
                       n_models == 2 ? "two models are for score = value: the second one judges"
                                     : "score = value takes two models: one that draws and a "
                                     "reward "
                                       "model");
    if (p->evaluate == EVALUATE_PREFIX && p->score != SCORE_LP && p->score != SCORE_VALUE)
        return rm_fail(err, RM_E_ARGUMENT, "evaluate = prefix values unfinished texts and needs "
                       "score = lp or value, not %s", score_names[p->score]);
    if (p->selection == SELECT_UCT && p->noise_epsilon > 0)
        return rm_fail(err, RM_E_ARGUMENT,
                       "noise_epsilon has no effect with selection = uct, which uses no priors");
    return RM_OK;
}

/* ---- the search ---------------------------------------------------------------------------- */

/* What a node of the tree stands for. */
typedef struct state {
    rm_path *path;           /* NULL once expanded, and where the text ends */
    const int32_t *step;     /* [n_step] tokens of this step */
    int n_step, n_tokens;    /* of this step; from the prompt to its end */
    double step_lp, lp, lp_sampling; /* of this step; from the prompt, raw and drawn from */
    double value;            /* score = value: of the prefix, once it was a leaf */
    int depth;
    bool ends;               /* the text ends here, as this candidate */
    int candidate;
    bool busy;               /* waits in the current round */
} state;

/* One simulation: the leaf and the finished path its value comes from. */
typedef struct simulation {
    int leaf;
    int candidate;           /* -1: none, the prefix alone is valued */
    int first_request;       /* of its steps and rollout in this round; -1: ends, asks nothing */
} simulation;

/* Answers among the finished paths, for agreement. */
typedef struct answer_count {
    const char *answer;
    int n;
} answer_count;

typedef struct search {
    const rm_trial *trial;
    const mcts_params *p;
    rm_sampling sampling;
    mcts_rules rules;
    rm_stop step_stop, text_stop;
    int limit;               /* most tokens of a text */
    rm_stop_reason at_limit;

    mcts_tree tree;
    state *state;            /* [tree.capacity] */
    simulation *done;        /* [simulations] */
    int n_done;
    int *leaf;               /* [simulations] of done, and ... */
    double *value;           /* [simulations] ... their values, for mcts_revalue */
    simulation *round;       /* [parallel] */
    int n_round;
    rm_request *request;     /* [parallel * (expand + 1)] */
    int n_requests;
    double *prior, *eta;     /* [expand] */
    answer_count *answers;   /* [candidates] */
    int *answer_of;          /* [candidates] index into answers, -1 */
    int n_answers;
    double *judged;          /* [n_judged of candidates] score = value */
    int n_judged;
    rm_outcome *out;
} search;

static rm_status search_open(search *s, rm_error *err)
{
    rm_run *run = s->trial->run;
    const mcts_params *p = s->p;
    size_t sims = (size_t)p->simulations, k = (size_t)p->expand, parallel = (size_t)p->parallel;
    size_t nodes = 1 + sims * k, paths = sims * (k + 1) + 1;
    mcts_node *node = NULL;
    struct {
        size_t n, bytes;
        void *at;
    } arrays[] = {
        { nodes, sizeof *node, &node },
        { nodes, sizeof *s->state, &s->state },
        { sims, sizeof *s->done, &s->done },
        { sims, sizeof *s->leaf, &s->leaf },
        { sims, sizeof *s->value, &s->value },
        { parallel, sizeof *s->round, &s->round },
        { parallel * (k + 1), sizeof *s->request, &s->request },
        { k, sizeof *s->prior, &s->prior },
        { k, sizeof *s->eta, &s->eta },
        { paths, sizeof *s->answers, &s->answers },
        { paths, sizeof *s->answer_of, &s->answer_of },
        { paths, sizeof *s->judged, &s->judged },
        { paths, sizeof *s->out->candidates, &s->out->candidates },
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        rm_status status = run_array(run, arrays[i].n, arrays[i].bytes, arrays[i].at, err);
        if (status)
            return status;
    }
    mcts_start(&s->tree, node, (int)nodes);
    s->state[0].candidate = -1;
    rm_status status = prompt_path(s->trial, 0, &s->state[0].path, err);
    return status ? status : generation_limit(s->state[0].path, p->max_new_tokens, &s->limit,
                                              &s->at_limit, err);
}

/* ---- finished paths and their values --------------------------------------------------------- */

static double path_value(const search *s, int candidate)
{
    const rm_candidate *c = &s->out->candidates[candidate];
    int others = s->out->n_candidates - 1, answer = s->answer_of[candidate];
    switch (s->p->score) {
    case SCORE_AGREEMENT:
        return others > 0 && answer >= 0 ? (double)(s->answers[answer].n - 1) / others : 0;
    case SCORE_VALUE: return s->judged[candidate];
    case SCORE_VERIFIER:
        return c->answer ? s->trial->problem->verify(s->trial->problem, c->answer) : 0;
    default: return rm_math_exp(mean_lp(c));
    }
}

static double prefix_value(const search *s, int node)
{
    const state *at = &s->state[node];
    if (s->p->score == SCORE_VALUE)
        return at->ends ? s->judged[at->candidate] : at->value;
    return at->n_tokens ? rm_math_exp(at->lp / at->n_tokens) : 1;
}

static double simulation_value(const search *s, const simulation *sim)
{
    if (s->p->evaluate == EVALUATE_PREFIX || sim->candidate < 0)
        return prefix_value(s, sim->leaf);
    double value = path_value(s, sim->candidate);
    return s->p->evaluate == EVALUATE_MIX
               ? (1 - s->p->mix) * prefix_value(s, sim->leaf) + s->p->mix * value
               : value;
}

static void count_answer(search *s, int candidate)
{
    const char *answer = s->out->candidates[candidate].answer;
    s->answer_of[candidate] = -1;
    if (!answer)
        return;
    int i = 0;
    while (i < s->n_answers && strcmp(s->answers[i].answer, answer) != 0)
        i++;
    if (i == s->n_answers)
        s->answers[s->n_answers++] = (answer_count){ answer, 0 };
    s->answers[i].n++;
    s->answer_of[candidate] = i;
}

/* A finished path: the prefix of `node` and the span behind it, on `path`. */
static rm_status add_candidate(search *s, int node, const rm_path *path, const rm_request *r,
                               rm_stop_reason reason, int *index, rm_error *err)
{
    const state *from = &s->state[node];
    rm_run *run = s->trial->run;
    int n = from->n_tokens + r->result.n, prompt = rm_path_prompt_length(path);
    int32_t *tokens;
    rm_score *scores;
    rm_status status = run_array(run, (size_t)n, sizeof *tokens, &tokens, err);
    if (!status)
        status = run_array(run, 1, sizeof *scores, &scores, err);
    if (status)
        return status;
    memcpy(tokens, rm_path_tokens(path) + prompt, (size_t)n * sizeof *tokens);
    scores[0] = (rm_score){ "node", node }; /* the leaf that it was found from */
    *index = s->out->n_candidates;
    rm_candidate *c = &s->out->candidates[*index];
    *c = (rm_candidate){ .tokens = tokens, .n_tokens = n, .reason = reason, .score = NAN,
                         .lp = from->lp + sum_lp(r->result.lp, r->result.n),
                         .lp_sampling = from->lp_sampling +
                                        sum_lp(r->result.lp_sampling, r->result.n),
                         .scores = scores, .n_scores = 1 };
    status = candidate_finish(s->trial, c, err);
    if (!status) {
        s->out->n_candidates++;
        count_answer(s, *index);
    }
    return status;
}

/* ---- one round: select, ask, expand, back up ------------------------------------------------- */

static void select_leaves(search *s)
{
    int most = s->p->simulations - s->n_done;
    s->n_round = 0;
    while (s->n_round < s->p->parallel && s->n_round < most) {
        int leaf = mcts_select(&s->tree, &s->rules);
        if (s->state[leaf].busy) {
            mcts_cancel(&s->tree, leaf);
            return;
        }
        s->state[leaf].busy = !s->state[leaf].ends;
        s->round[s->n_round++] = (simulation){ leaf, s->state[leaf].candidate, -1 };
    }
}

/* Forks the leaf for a span; sampled steps are children 0 .. K-1, the rollout is child K. */
static rm_status fork_request(search *s, const state *leaf, int ordinal, rm_error *err)
{
    rm_request *r = &s->request[s->n_requests++];
    *r = (rm_request){ .want = RM_WANT_SPAN, .sampling = &s->sampling,
                       .stop = ordinal < s->p->expand ? &s->step_stop : &s->text_stop,
                       .max_new_tokens = s->limit - leaf->n_tokens };
    return rm_path_fork(leaf->path, (uint32_t)ordinal, &r->path, err);
}

/* The reward model reads the prefixes of this round's leaves, which still have their paths. */
static rm_status judge_leaves(search *s, rm_error *err)
{
    const int32_t *tokens[256]; /* parallel's largest value */
    int lengths[256], node[256], n = 0;
    double value[256];
    for (int i = 0; i < s->n_round; i++) {
        const state *leaf = &s->state[s->round[i].leaf];
        if (leaf->ends)
            continue;
        tokens[n] = rm_path_tokens(leaf->path) + rm_path_prompt_length(leaf->path);
        lengths[n] = leaf->n_tokens;
        node[n++] = s->round[i].leaf;
    }
    rm_status status = n ? value_of_texts(s->trial, tokens, lengths, n, value, err) : RM_OK;
    for (int i = 0; i < n && !status; i++)
        s->state[node[i]].value = value[i];
    return status;
}

/* ... and the paths that were finished since it last did. Those that a limit leaves without a
 * judgement are worth 0, and end the search. */
static rm_status judge_candidates(search *s, rm_error *err)
{
    int n = s->out->n_candidates - s->n_judged;
    if (s->p->score != SCORE_VALUE || !n)
        return RM_OK;
    rm_status status = value_of_candidates(s->trial, s->out->candidates + s->n_judged, n,
                                           s->judged + s->n_judged, err);
    bool spent = status == RM_E_LIMIT || status == RM_E_BUDGET;
    s->out->cut_short |= spent;
    s->n_judged += n;
    return spent ? RM_OK : status;
}

/* Evaluates the leaves once, then their steps and rollouts together. */
static rm_status ask(search *s, rm_error *err)
{
    rm_status status = RM_OK;
    s->n_requests = 0;
    for (int i = 0; i < s->n_round; i++)
        if (!s->state[s->round[i].leaf].ends)
            s->request[s->n_requests++] = (rm_request){
                .want = RM_WANT_NOTHING, .path = s->state[s->round[i].leaf].path
            };
    status = rm_eval(s->trial->run, s->request, s->n_requests, err);
    s->n_requests = 0;
    if (!status && s->p->score == SCORE_VALUE && s->p->evaluate != EVALUATE_ROLLOUT)
        status = judge_leaves(s, err);
    int n = s->p->expand + (s->p->evaluate != EVALUATE_PREFIX);
    for (int i = 0; i < s->n_round; i++) {
        const state *leaf = &s->state[s->round[i].leaf];
        if (leaf->ends)
            continue;
        s->round[i].first_request = s->n_requests;
        for (int k = 0; k < n && !status; k++)
            status = fork_request(s, leaf, k, err);
    }
    return status ? status : rm_eval(s->trial->run, s->request, s->n_requests, err);
}

static bool same_step(const rm_request *a, const rm_request *b)
{
    return a->result.n == b->result.n &&
           memcmp(a->result.tokens, b->result.tokens,
                  (size_t)a->result.n * sizeof *a->result.tokens) == 0;
}

/* Fills the state of a new child from the span that made it; the path passes to the state. */
static rm_status fill_child(search *s, int parent, int child, rm_request *r, rm_error *err)
{
    const state *from = &s->state[parent];
    state *to = &s->state[child];
    *to = (state){ .step = r->result.tokens, .n_step = r->result.n,
                   .n_tokens = from->n_tokens + r->result.n,
                   .step_lp = sum_lp(r->result.lp, r->result.n),
                   .depth = from->depth + 1, .candidate = -1 };
    to->lp = from->lp + to->step_lp;
    to->lp_sampling = from->lp_sampling + sum_lp(r->result.lp_sampling, r->result.n);
    rm_stop_reason reason = r->result.reason;
    if (reason == RM_STOP_STEP && to->n_tokens == s->limit)
        reason = s->at_limit;
    if (reason == RM_STOP_STEP) {
        to->path = r->path;
        r->path = NULL;
        return RM_OK;
    }
    to->ends = true;
    rm_status status = add_candidate(s, parent, r->path, r, reason, &to->candidate, err);
    if (!status)
        s->out->candidates[to->candidate].scores[0].value = child;
    return status;
}

/* The K spans from `first` on become the children of a leaf, equal ones merged. */
static rm_status expand(search *s, int leaf, int first, rm_error *err)
{
    int n = 0, kept[64]; /* expand's largest value */
    for (int k = 0; k < s->p->expand; k++) {
        const rm_request *r = &s->request[first + k];
        bool known = r->result.n == 0; /* a budget can end a span before its first token */
        for (int i = 0; i < n && !known; i++)
            known = same_step(&s->request[kept[i]], r);
        if (known)
            continue;
        s->prior[n] = sum_lp(r->result.lp, r->result.n);
        kept[n++] = first + k;
    }
    if (n == 0)
        return RM_OK;
    mcts_softmax(s->prior, n, s->prior);
    mcts_expand(&s->tree, leaf, s->prior, n); /* the capacity is 1 + simulations * expand */
    for (int i = 0; i < n; i++) {
        rm_status status = fill_child(s, leaf, s->tree.node[leaf].first_child + i,
                                      &s->request[kept[i]], err);
        if (status)
            return status;
    }
    if (leaf == 0 && s->p->noise_epsilon > 0) {
        dirichlet_draw(s->trial->run, rm_path_identity(s->state[0].path), s->p->noise_alpha,
                       s->eta, n);
        mcts_mix_noise(&s->tree, 0, s->eta, s->p->noise_epsilon);
    }
    rm_path_drop(s->state[leaf].path); /* its pages live on in its children */
    s->state[leaf].path = NULL;
    return RM_OK;
}

/* The rollout of a simulation becomes a candidate; -1 if a budget left nothing of it. */
static rm_status take_rollout(search *s, simulation *sim, rm_error *err)
{
    const rm_request *r = &s->request[sim->first_request + s->p->expand];
    sim->candidate = -1;
    if (r->result.n == 0)
        return RM_OK;
    return add_candidate(s, sim->leaf, r->path, r, r->result.reason, &sim->candidate, err);
}

/* Turns the answers of a served round into children and candidates. */
static rm_status take_round(search *s, rm_error *err)
{
    for (int i = 0; i < s->n_requests; i++)
        s->out->cut_short |= s->request[i].result.reason == RM_STOP_BUDGET;
    for (int i = 0; i < s->n_round; i++) {
        simulation *sim = &s->round[i];
        if (sim->first_request < 0)
            continue;
        rm_status status = RM_OK;
        if (s->p->evaluate != EVALUATE_PREFIX)
            status = take_rollout(s, sim, err);
        if (!status)
            status = expand(s, sim->leaf, sim->first_request, err);
        if (status)
            return status;
    }
    return judge_candidates(s, err);
}

static void back_up(search *s)
{
    for (int i = 0; i < s->n_round; i++) {
        const simulation *sim = &s->round[i];
        bool nothing = sim->candidate < 0 && s->p->evaluate != EVALUATE_PREFIX;
        s->state[sim->leaf].busy = false;
        if (nothing) {
            mcts_cancel(&s->tree, sim->leaf);
            continue;
        }
        mcts_backup(&s->tree, sim->leaf, simulation_value(s, sim));
        s->leaf[s->n_done] = sim->leaf;
        s->done[s->n_done++] = *sim;
    }
    if (s->p->score == SCORE_AGREEMENT) {
        for (int i = 0; i < s->n_done; i++)
            s->value[i] = simulation_value(s, &s->done[i]);
        mcts_revalue(&s->tree, s->leaf, s->value, s->n_done);
    }
    s->n_round = 0;
}

/* Gives up a round that could not be served. */
static void cancel_round(search *s)
{
    for (int i = 0; i < s->n_round; i++) {
        mcts_cancel(&s->tree, s->round[i].leaf);
        s->state[s->round[i].leaf].busy = false;
    }
    s->n_round = 0;
}

static void drop_requests(search *s)
{
    for (int i = 0; i < s->n_requests; i++)
        rm_path_drop(s->request[i].path);
    s->n_requests = 0;
}

static rm_status simulate(search *s, rm_error *err)
{
    while (s->n_done < s->p->simulations && !s->out->cut_short) {
        select_leaves(s);
        rm_status status = ask(s, err);
        if (status) {
            drop_requests(s);
            cancel_round(s);
            bool spent = status == RM_E_LIMIT || status == RM_E_BUDGET;
            if (!spent || s->n_done == 0)
                return status;
            s->out->cut_short = true;
            return RM_OK;
        }
        status = take_round(s, err);
        if (!status)
            back_up(s);
        drop_requests(s);
        if (status)
            return status;
    }
    if (s->n_done == 0)
        return rm_fail(err, RM_E_BUDGET, "the token budget ended before the first simulation");
    return RM_OK;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static bool better(const rm_candidate *a, const rm_candidate *b)
{
    return a->score > b->score || (a->score == b->score && a->lp > b->lp);
}

/* The best candidate found from `node`, or of all with node = -1; -1 if there is none. */
static int best_candidate(const search *s, int node)
{
    int best = -1;
    for (int i = 0; i < s->out->n_candidates; i++) {
        const rm_candidate *c = &s->out->candidates[i];
        if (node >= 0 && c->scores[0].value != node)
            continue;
        if (best < 0 || better(c, &s->out->candidates[best]))
            best = i;
    }
    return best;
}

static int end_of_most_visited(const search *s)
{
    int node = 0;
    for (int child; (child = mcts_most_visited(&s->tree, node)) >= 0;)
        node = child;
    return node;
}

/* evaluate = prefix: samples the most visited path to its end. Where the search stopped at an
 * expanded node, the likeliest of its unvisited steps goes on. */
static rm_status complete(search *s, int node, rm_error *err)
{
    while (s->tree.node[node].n_children) {
        int first = s->tree.node[node].first_child, likeliest = first;
        for (int c = first; c < first + s->tree.node[node].n_children; c++)
            if (s->tree.node[c].prior > s->tree.node[likeliest].prior)
                likeliest = c;
        node = likeliest;
    }
    if (s->state[node].ends) {
        s->out->chosen = s->state[node].candidate;
        return RM_OK;
    }
    s->n_requests = 0;
    rm_status status = fork_request(s, &s->state[node], s->p->expand, err);
    if (!status)
        status = rm_eval(s->trial->run, s->request, 1, err);
    if (!status && s->request[0].result.n == 0)
        status = rm_fail(err, RM_E_BUDGET, "the token budget ended before a path was finished");
    if (!status)
        status = add_candidate(s, node, s->request[0].path, &s->request[0],
                               s->request[0].result.reason, &s->out->chosen, err);
    drop_requests(s);
    if (!status)
        status = judge_candidates(s, err);
    if (!status)
        s->out->candidates[s->out->chosen].score = path_value(s, s->out->chosen);
    return status;
}

static rm_status vote(search *s, rm_error *err)
{
    ballot votes = { 0 };
    int n = s->out->n_candidates;
    rm_status status = run_array(s->trial->run, (size_t)n, sizeof *votes.vote, &votes.vote, err);
    if (status)
        return status;
    for (int i = 0; i < n; i++) {
        const rm_candidate *c = &s->out->candidates[i];
        ballot_add(&votes, i, c->answer, c->score, c->lp);
    }
    ballot_count(&votes);
    s->out->chosen = votes.winner;
    return RM_OK;
}

static rm_status choose(search *s, rm_error *err)
{
    for (int i = 0; i < s->out->n_candidates; i++)
        s->out->candidates[i].score = path_value(s, i);
    int end = end_of_most_visited(s);
    if (s->p->answer == ANSWER_VISITS)
        s->out->chosen = best_candidate(s, end);
    else if (s->p->answer == ANSWER_VALUE)
        s->out->chosen = best_candidate(s, -1);
    else if (s->out->n_candidates)
        return vote(s, err);
    if (s->out->chosen >= 0)
        return RM_OK;
    rm_error why;
    rm_status status = complete(s, end, &why);
    if (status) /* a finished path from elsewhere is still an answer */
        s->out->chosen = best_candidate(s, -1);
    return status && s->out->chosen < 0 ? rm_fail(err, status, "%s", why.text) : RM_OK;
}

/* The tree as it stands, for the record. */
static rm_status record(search *s, rm_error *err)
{
    rm_node *nodes;
    rm_status status = run_array(s->trial->run, (size_t)s->tree.n, sizeof *nodes, &nodes, err);
    for (int i = 0; i < s->tree.n && !status; i++) {
        const mcts_node *node = &s->tree.node[i];
        const state *at = &s->state[i];
        nodes[i] = (rm_node){ .parent = node->parent, .depth = at->depth, .n_tokens = at->n_step,
                              .lp = at->step_lp, .prior = i ? node->prior : NAN,
                              .value = node->visits > 0 ? node->value / node->visits : NAN,
                              .visits = node->visits, .candidate = at->candidate };
        /* like the candidate's text, without the token that ended it */
        bool end_token = at->ends && s->out->candidates[at->candidate].reason == RM_STOP_TOKEN;
        status = tokens_text(s->trial, 0, at->step, at->n_step - end_token, &nodes[i].text, err);
    }
    if (status)
        return status;
    s->out->nodes = nodes;
    s->out->n_nodes = s->tree.n;
    return RM_OK;
}

/* A simulation adds at most K steps to the tree, each of less than a text's length; beside them a
 * round holds a rollout for each of its leaves, and the rollout that completes an answer comes
 * when there is no round. Steps are asked for at the length of a whole text, which is what makes
 * this bound and not a smaller one. */
static uint64_t mcts_positions(const void *params, int n_prompt, int n_ctx, int window)
{
    const mcts_params *p = params;
    int rollouts = p->parallel < p->simulations ? p->parallel : p->simulations;
    uint64_t steps = (uint64_t)p->simulations * (uint64_t)p->expand;
    return pieces_positions(steps + (uint64_t)rollouts, p->max_new_tokens, n_prompt, n_ctx, window);
}

/* Of the leaves of a round, or of all that it finished: its steps and rollouts. */
static uint64_t mcts_judge_positions(const void *params, int n_prompt, int n_ctx)
{
    const mcts_params *p = params;
    uint64_t leaves = (uint64_t)(p->parallel < p->simulations ? p->parallel : p->simulations);
    return p->score == SCORE_VALUE ? value_positions(leaves * ((uint64_t)p->expand + 1),
                                                     p->max_new_tokens, n_prompt, n_ctx) : 0;
}

static rm_status mcts_run(const rm_trial *trial, const void *params, rm_outcome *out,
                          rm_error *err)
{
    const mcts_params *p = params;
    if (!trial->problem->n_step_ends)
        return rm_fail(err, RM_E_ARGUMENT,
                       "the task of problem '%s' does not say where a step ends",
                       trial->problem->id);
    if (p->score == SCORE_VERIFIER && !trial->problem->verify)
        return rm_fail(err, RM_E_ARGUMENT, "score = verifier: the task of problem '%s' has none",
                       trial->problem->id);
    if (p->score == SCORE_VALUE) {
        rm_status known = value_check(trial, "score = value", err);
        if (known)
            return known;
    }
    search s = {
        .trial = trial, .p = p, .sampling = p->sampling, .out = out,
        .rules = { .uct = p->selection == SELECT_UCT, .c_init = p->c_init, .c_base = p->c_base,
                   .w = p->uct_weight, .q_init = p->q_init },
        .step_stop = answer_stop(trial, true), .text_stop = answer_stop(trial, false),
    };
    s.sampling.do_sample = true;
    rm_status status = search_open(&s, err);
    if (!status)
        status = simulate(&s, err);
    if (!status)
        status = choose(&s, err);
    if (!status)
        status = record(&s, err);
    for (int i = 0; i < s.tree.n; i++) {
        rm_path_drop(s.state[i].path);
        s.state[i].path = NULL;
    }
    return status;
}

const rm_strategy rm_mcts = {
    .name = "mcts",
    .paper = "Silver et al. 2017, arXiv:1712.01815; Kocsis & Szepesvari 2006",
    .summary = "Monte Carlo tree search over reasoning steps",
    .params = mcts_table,
    .params_size = sizeof(mcts_params),
    .size_param = "simulations",
    .min_models = 1,
    .max_models = 2,
    .needs = mcts_needs,
    .exchangeable = mcts_exchangeable,
    .uses_verifier = mcts_uses_verifier,
    .check = mcts_check,
    .run = mcts_run,
    .positions = mcts_positions,
    .judge_positions = mcts_judge_positions,
};
