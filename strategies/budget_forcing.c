/* budget_forcing.c - one path whose thought is made shorter or longer (s1, Muennighoff et al. 2025,
 * arXiv:2501.19393).
 *
 *     E   the token that ends a thought, the task's think_end ("</think>")
 *     W   the task's continuation, wait ("Wait", s1's; Countdown has "~": another attempt)
 *
 *     cap     a thought of max_tokens_thinking tokens is ended: E is appended, the answer follows
 *     floor   the model draws E and n_ignore > 0: E is taken back, W appended, n_ignore -= 1
 *
 * n_ignore starts as thinking_n_ignore. W counts as thought, and E is not ignored where W would
 * reach the cap or the length limit. With thinking_n_ignore = 0 and no cap the path is the greedy
 * one (or sample 0), token by token. A stop token or stop string inside of the thought ends the
 * text, as it does everywhere: only E is ignored.
 *
 * The account: an ignored E stays counted as generated, a discarded branch of one token, and the
 * token before it is evaluated twice. E and W that were appended cost what drawn tokens cost, one
 * round each. lp is the model's of the text as it stands, forced tokens included; they were not
 * drawn, so that lp_sampling has nothing of them. Scores: "ignored", how often E was, and "forced",
 * 1 if the cap ended the thought. */
#include "strategies/list.h"
#include "strategies/params.h"
#include "strategies/samples.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct bf_params {
    rm_sampling sampling;
    int cap, n_ignore, max_new_tokens;
    bool do_sample;
} bf_params;

static const rm_param bf_table[] = {
    PARAM_INT(bf_params, cap, "max_tokens_thinking", MAX_NEW_TOKENS, 1, MAX_NEW_TOKENS,
              "tokens of thought after which its end is forced"),
    PARAM_INT(bf_params, n_ignore, "thinking_n_ignore", 0, 0, MAX_NEW_TOKENS,
              "how often the end of the thought is ignored"),
    PARAM_BOOL(bf_params, do_sample, "do_sample", 0, "draw instead of taking the likeliest"),
    PARAM_MAX_NEW_TOKENS(bf_params, max_new_tokens),
    PARAMS_SAMPLING(bf_params, sampling),
    PARAM_END,
};

static unsigned bf_needs(const void *params)
{
    (void)params;
    return RM_NEEDS_SAMPLES | RM_NEEDS_FORK | RM_NEEDS_SCORING | RM_NEEDS_THOUGHT;
}

/* Paths of several seeds are independent draws; greedy ones are one path. */
static bool bf_exchangeable(const void *params)
{
    return ((const bf_params *)params)->do_sample;
}

/* ---- the path ------------------------------------------------------------------------------ */

enum { MAX_WAIT = 64 };

typedef struct writer {
    const rm_trial *trial;
    const bf_params *p;
    rm_sampling sampling;
    rm_path *root, *path;
    int32_t end;                 /* E */
    int32_t wait[MAX_WAIT];      /* W */
    int n_wait;
    rm_stop in_thought, in_answer;
    int limit;                   /* most tokens of the text */
    rm_stop_reason at_limit;
    int32_t *tokens;             /* [limit] the text so far */
    int n;
    double lp, lp_sampling;
    int ignored, forced;
} writer;

/* The tokens of a word in the middle of a text. */
static rm_status word_tokens(const rm_trial *trial, const char *word, int32_t *out, int most, int *n,
                             rm_error *err)
{
    int32_t *tokens = NULL;
    rm_status status = rm_tokenize_rendered(trial->models[0], word, NULL, strlen(word), &tokens,
                                            n, err);
    if (!status && (*n < 1 || *n > most))
        status = rm_fail(err, RM_E_ARGUMENT, "\"%.40s\" is %d tokens of %s; budget forcing expects "
                         "1 to %d", word, *n, rm_model_describe(trial->models[0])->name, most);
    if (!status)
        memcpy(out, tokens, (size_t)*n * sizeof *out);
    free(tokens);
    return status;
}

/* E joins the model's stop tokens while it thinks. */
static rm_status thought_stop(writer *w, rm_error *err)
{
    int n;
    const int32_t *own = rm_model_stop_tokens(w->trial->models[0], &n);
    int32_t *all;
    rm_status status = run_array(w->trial->run, (size_t)n + 1, sizeof *all, &all, err);
    if (status)
        return status;
    if (n)
        memcpy(all, own, (size_t)n * sizeof *all);
    all[n] = w->end;
    w->in_answer = w->in_thought = answer_stop(w->trial, false);
    w->in_thought.tokens = all;
    w->in_thought.n_tokens = n + 1;
    return RM_OK;
}

static rm_status writer_open(writer *w, rm_error *err)
{
    const rm_problem *problem = w->trial->problem;
    int n_end;
    if (!problem->think_end || !problem->wait)
        return rm_fail(err, RM_E_ARGUMENT, "the task of problem '%s' has no thought to prolong",
                       problem->id);
    rm_status status = word_tokens(w->trial, problem->think_end, &w->end, 1, &n_end, err);
    if (!status)
        status = word_tokens(w->trial, problem->wait, w->wait, MAX_WAIT, &w->n_wait, err);
    if (!status)
        status = thought_stop(w, err);
    if (!status)
        status = prompt_path(w->trial, 0, &w->root, err);
    if (!status)
        status = generation_limit(w->root, w->p->max_new_tokens, &w->limit, &w->at_limit, err);
    if (!status)
        status = run_array(w->trial->run, (size_t)w->limit, sizeof *w->tokens, &w->tokens, err);
    rm_request prompt = { .want = RM_WANT_NOTHING, .path = w->root };
    if (!status)
        status = rm_eval(w->trial->run, &prompt, 1, err);
    return status ? status : rm_path_fork(w->root, 0, &w->path, err); /* sample 0's identity */
}

static void writer_close(writer *w)
{
    rm_path_drop(w->path);
    rm_path_drop(w->root);
}

/* Draws up to `most` tokens; *reason says what ended them. */
static rm_status draw(writer *w, const rm_stop *stop, int most, rm_request *r, rm_error *err)
{
    *r = (rm_request){ .want = RM_WANT_SPAN, .path = w->path, .sampling = &w->sampling,
                       .stop = stop, .max_new_tokens = most };
    rm_status status = rm_eval(w->trial->run, r, 1, err);
    if (status)
        return status;
    if (r->result.n)
        memcpy(w->tokens + w->n, r->result.tokens, (size_t)r->result.n * sizeof *w->tokens);
    w->n += r->result.n;
    w->lp += sum_lp(r->result.lp, r->result.n);
    if (w->sampling.do_sample)
        w->lp_sampling += sum_lp(r->result.lp_sampling, r->result.n);
    return RM_OK;
}

/* Appends tokens that nobody drew, each with its log-probability. */
static rm_status force(writer *w, const int32_t *tokens, int n, rm_error *err)
{
    for (int i = 0; i < n; i++) {
        rm_request r = { .want = RM_WANT_LOGPROBS, .path = w->path, .tokens = &tokens[i],
                         .n_tokens = 1 };
        rm_status status = rm_eval(w->trial->run, &r, 1, err);
        if (!status)
            status = rm_path_append(w->path, &tokens[i], 1, err);
        if (status)
            return status;
        w->lp += r.result.lp[0];
        w->tokens[w->n++] = tokens[i];
    }
    return RM_OK;
}

/* Takes the E that was just drawn back. Where it came first of all, the token before it is the
 * prompt's, and the prompt is forked once more. */
static rm_status take_back(writer *w, const rm_request *r, rm_error *err)
{
    int last = r->result.n - 1;
    w->n--;
    w->lp -= r->result.lp[last];
    if (w->sampling.do_sample)
        w->lp_sampling -= r->result.lp_sampling[last];
    w->ignored++;
    if (w->n)
        return rm_path_take_back(w->path, err);
    rm_path_drop(w->path);
    w->path = NULL;
    return rm_path_fork(w->root, 0, &w->path, err);
}

/* Writes the thought and E. *reason is RM_STOP_NONE where the answer follows, else what ended the
 * text. */
static rm_status think(writer *w, rm_stop_reason *reason, rm_error *err)
{
    rm_status status = RM_OK;
    int cap = w->p->cap < w->limit ? w->p->cap : w->limit; /* the whole text is thought so far */
    *reason = RM_STOP_NONE;
    while (!status && w->n < cap) {
        rm_request r;
        status = draw(w, &w->in_thought, cap - w->n, &r, err);
        if (status)
            return status;
        bool ended = r.result.reason == RM_STOP_TOKEN && w->tokens[w->n - 1] == w->end;
        if (!ended && r.result.reason != RM_STOP_LENGTH) {
            *reason = r.result.reason;
            return RM_OK;
        }
        if (!ended)
            break;
        if (w->ignored == w->p->n_ignore || w->n - 1 + w->n_wait >= cap)
            return RM_OK;
        status = take_back(w, &r, err);
        if (!status)
            status = force(w, w->wait, w->n_wait, err);
    }
    if (!status && w->n == w->limit) {
        *reason = w->at_limit;
        return RM_OK;
    }
    w->forced = 1;
    return status ? status : force(w, &w->end, 1, err);
}

static rm_status write_text(writer *w, rm_stop_reason *reason, rm_error *err)
{
    rm_status status = think(w, reason, err);
    if (status || *reason != RM_STOP_NONE)
        return status;
    *reason = w->at_limit;
    if (w->n == w->limit)
        return RM_OK;
    rm_request r;
    status = draw(w, &w->in_answer, w->limit - w->n, &r, err);
    if (!status && (r.result.reason != RM_STOP_LENGTH || w->n < w->limit))
        *reason = r.result.reason;
    return status;
}

/* ---- the outcome --------------------------------------------------------------------------- */

static rm_status take_candidate(const writer *w, rm_stop_reason reason, rm_outcome *out,
                                rm_error *err)
{
    rm_score *scores;
    rm_status status = run_array(w->trial->run, 2, sizeof *scores, &scores, err);
    if (!status)
        status = run_array(w->trial->run, 1, sizeof *out->candidates, &out->candidates, err);
    if (status)
        return status;
    scores[0] = (rm_score){ "ignored", w->ignored };
    scores[1] = (rm_score){ "forced", w->forced };
    out->candidates[0] = (rm_candidate){
        .tokens = w->tokens, .n_tokens = w->n, .lp = w->lp, .score = NAN, .reason = reason,
        .lp_sampling = w->sampling.do_sample ? w->lp_sampling : NAN,
        .scores = scores, .n_scores = 2,
    };
    status = candidate_finish(w->trial, &out->candidates[0], err);
    if (!status)
        out->n_candidates = 1;
    return status;
}

static rm_status bf_run(const rm_trial *trial, const void *params, rm_outcome *out, rm_error *err)
{
    const bf_params *p = params;
    writer w = { .trial = trial, .p = p, .sampling = p->sampling };
    w.sampling.do_sample = p->do_sample;
    rm_stop_reason reason = RM_STOP_NONE;
    rm_error why;
    rm_status status = writer_open(&w, &why);
    if (!status)
        status = write_text(&w, &reason, &why);
    writer_close(&w);
    bool spent = status == RM_E_LIMIT || status == RM_E_BUDGET;
    if (status && !(spent && w.n))
        return rm_fail(err, status, "%s", why.text);
    if (!w.n)
        return rm_fail(err, RM_E_BUDGET, "the token budget ended before the first token");
    if (spent)
        reason = RM_STOP_BUDGET;
    out->cut_short = reason == RM_STOP_BUDGET;
    out->chosen = 0;
    return take_candidate(&w, reason, out, err);
}

static uint64_t bf_positions(const void *params, int n_prompt, int n_ctx, int window)
{
    return paths_positions(1, ((const bf_params *)params)->max_new_tokens, n_prompt, n_ctx, window);
}

const rm_strategy rm_budget_forcing = {
    .name = "budget-forcing",
    .paper = "Muennighoff et al. 2025 (s1), arXiv:2501.19393",
    .summary = "one path, its thought ended at a cap or made to go on",
    .params = bf_table,
    .params_size = sizeof(bf_params),
    .size_param = "max_tokens_thinking",
    .size_is_length = true,
    .min_models = 1,
    .max_models = 1,
    .needs = bf_needs,
    .exchangeable = bf_exchangeable,
    .run = bf_run,
    .positions = bf_positions,
};
