/* grpo.c - reinforcement learning from groups of samples (objective.c has the definitions).
 *
 * A step draws `group` samples of each of `problems_per_step` problems from the weights as they
 * are, rewards them (reward_correct if right, reward_format if well formed), and makes `updates`
 * updates, each from an equal part of the problems. Under DAPO problems without signal are replaced
 * by others, in up to `resample` further rounds.
 *
 * The log-probabilities of drawing are those of training, bit for bit: the first update's ratios
 * are exactly 1, and the largest difference is logged ("logprob_difference": 0). */
#include "experiments/train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct grpo_state {
    rm_trainer *reference; /* the first weights, if beta > 0 */
} grpo_state;

/* A step's samples and what was made of them. */
typedef struct step_samples {
    rollout_list list;
    group_sample *sample;  /* [list.n] */
    int *group;            /* [n_groups] those with signal: index of the first sample */
    int n_groups;
    int drawn, silent;     /* groups drawn; of these without signal */
    uint64_t cursor;       /* after drawing */
} step_samples;

static void samples_free(step_samples *s)
{
    rollouts_free(&s->list);
    free(s->sample);
    free(s->group);
}

rm_status train_grpo_open(train_loop *loop, void **state, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    grpo_state *s = calloc(1, sizeof *s);
    if (!s)
        return rm_fail(err, RM_E_MEMORY, "out of memory");
    *state = s;
    return r->beta > 0 && r->objective != OBJECTIVE_DAPO
               ? rm_trainer_open(loop->engine, rm_model_describe(loop->model)->file, &s->reference,
                                 err)
               : RM_OK;
}

void train_grpo_close(void *state)
{
    grpo_state *s = state;
    if (!s)
        return;
    rm_trainer_free(s->reference);
    free(s);
}

/* ---- drawing --------------------------------------------------------------------------------- */

static int most_tokens(const train_recipe *r, const rm_task *task)
{
    return r->max_new_tokens ? r->max_new_tokens : rm_task_max_new_tokens(task);
}

/* One round: each problem's source is drawn by its share. */
static rm_status draw_round(train_loop *loop, step_samples *s, int *source_of, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    int count[MAX_SOURCES] = { 0 }, number = s->list.n / r->group;
    double total = 0;
    rm_status st = RM_OK;
    for (int i = 0; i < r->n_sources; i++)
        total += r->sources[i].share;
    for (int i = 0; i < r->problems_per_step; i++) {
        double u = rm_unit(rm_random(r->seed, rm_mix(s->cursor, 0x736f7572 /* "sour" */),
                                     (uint32_t)i, 0)), sum = 0;
        int k = 0;
        while (k + 1 < r->n_sources && u * total >= (sum += r->sources[k].share))
            k++;
        count[k]++;
    }
    for (int k = 0; k < r->n_sources && !st; k++) {
        rollout_request request = { .engine = loop->engine, .model = loop->model,
                                    .task = r->sources[k].task, .first = (size_t)s->cursor,
                                    .n_problems = count[k], .n_samples = r->group,
                                    .sampling = RM_SAMPLING_DEFAULT,
                                    .max_new_tokens = most_tokens(r, r->sources[k].task),
                                    .seed = r->seed, .cancel = loop->options->cancel };
        for (int i = 0; i < count[k]; i++)
            source_of[number + i] = k;
        st = rollouts_draw(&request, number, &s->list, err);
        number += count[k];
    }
    s->cursor += (uint64_t)r->problems_per_step;
    return st;
}

/* Rewards and advantages of the groups from `first` on. */
static void judge_round(const train_recipe *r, step_samples *s, const int *source_of, int first)
{
    for (int g = first; g < s->list.n / r->group; g++) {
        int at = g * r->group;
        int most = most_tokens(r, r->sources[source_of[g]].task);
        for (int i = at; i < at + r->group; i++) {
            const rollout *o = &s->list.items[i];
            int n = o->n - o->n_prompt;
            s->sample[i] = (group_sample){ .reward = r->reward_correct * o->correct +
                                                     r->reward_format * o->formed,
                                           .n_tokens = n };
            if (r->objective == OBJECTIVE_DAPO)
                s->sample[i].reward += overlong_penalty(n, most, r->overlong);
        }
        s->drawn++;
        if (group_advantages((group_objective)r->objective, s->sample + at, r->group)) {
            if (s->n_groups < r->problems_per_step)
                s->group[s->n_groups++] = at;
        } else {
            s->silent++;
        }
    }
}

static rm_status draw_samples(train_loop *loop, step_samples *s, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    int rounds = 1 + (r->objective == OBJECTIVE_DAPO ? r->resample : 0);
    size_t groups = (size_t)r->problems_per_step * (size_t)rounds;
    int *source_of = calloc(groups, sizeof *source_of);
    s->sample = calloc(groups * (size_t)r->group, sizeof *s->sample);
    s->group = calloc(groups, sizeof *s->group);
    s->cursor = loop->cursor;
    rm_status st = source_of && s->sample && s->group ? loop_model(loop, err)
                                                      : rm_fail(err, RM_E_MEMORY, "out of memory");
    for (int round = 0; round < rounds && !st && s->n_groups < r->problems_per_step; round++) {
        int first = s->list.n / r->group;
        st = draw_round(loop, s, source_of, err);
        if (!st)
            judge_round(r, s, source_of, first);
    }
    free(source_of);
    return st;
}

/* ---- updates --------------------------------------------------------------------------------- */

/* The documents of one update, and what the slope of each needs. */
typedef struct update {
    const train_recipe *recipe;
    rm_document *documents;
    const rollout **samples;
    double *advantage, *weight; /* of each token of the document */
    double **reference;    /* log-probabilities under the reference, or NULL */
    double difference;     /* largest between drawing and training */
    int n;
} update;

static double slope(void *arg, int document, int token, double lp)
{
    update *u = arg;
    double old = u->samples[document]->lp[token];
    double reference = u->reference ? u->reference[document][token] : lp;
    u->difference = fmax(u->difference, fabs(lp - old));
    return token_slope(u->recipe, u->weight[document], u->advantage[document], lp, old, reference);
}

static void update_free(update *u)
{
    for (int i = 0; i < u->n; i++) {
        if (u->documents)
            free((void *)(uintptr_t)u->documents[i].weight);
        if (u->reference)
            free(u->reference[i]);
    }
    free(u->documents);
    free(u->samples);
    free(u->advantage);
    free(u->weight);
    free(u->reference);
}

static rm_status make_update(const train_recipe *r, const step_samples *s, int from, int to,
                             int n_samples, double tokens, update *u, rm_error *err)
{
    size_t most = (size_t)(to - from) * (size_t)r->group + 1;
    u->recipe = r;
    u->documents = calloc(most, sizeof *u->documents);
    u->samples = calloc(most, sizeof *u->samples);
    u->advantage = calloc(most, sizeof *u->advantage);
    u->weight = calloc(most, sizeof *u->weight);
    if (!u->documents || !u->samples || !u->advantage || !u->weight)
        return rm_fail(err, RM_E_MEMORY, "out of memory");
    int constant = r->max_new_tokens;
    for (int i = 0; i < r->n_sources && !r->max_new_tokens; i++)
        if (rm_task_max_new_tokens(r->sources[i].task) > constant)
            constant = rm_task_max_new_tokens(r->sources[i].task);
    for (int g = from; g < to; g++)
        for (int i = s->group[g]; i < s->group[g] + r->group; i++) {
            const rollout *o = &s->list.items[i];
            float *weight = calloc((size_t)o->n, sizeof *weight);
            if (!weight)
                return rm_fail(err, RM_E_MEMORY, "out of memory");
            for (int k = o->n_prompt; k < o->n; k++)
                weight[k] = 1;
            u->samples[u->n] = o;
            u->advantage[u->n] = s->sample[i].advantage;
            u->weight[u->n] = token_weight((group_objective)r->objective, o->n - o->n_prompt,
                                           n_samples, tokens, constant);
            u->documents[u->n++] = (rm_document){ o->tokens, weight, o->n, NULL };
        }
    return RM_OK;
}

static rm_status score_reference(rm_trainer *reference, update *u, rm_error *err)
{
    u->reference = calloc((size_t)u->n + 1, sizeof *u->reference);
    for (int i = 0; u->reference && i < u->n; i++)
        if (!(u->reference[i] = calloc((size_t)u->documents[i].n, sizeof **u->reference)))
            return rm_fail(err, RM_E_MEMORY, "out of memory");
    if (!u->reference)
        return rm_fail(err, RM_E_MEMORY, "out of memory");
    return rm_trainer_pass(reference, u->documents, u->n, NULL, u->reference, NULL, err);
}

/* What a step's updates leave for the log. */
typedef struct update_sums {
    double norm, entropy, tokens, difference;
    uint64_t trained;
} update_sums;

/* Update `k` of the step; groups without signal count among its samples and tokens, no more. */
static rm_status one_update(train_loop *loop, grpo_state *state, const step_samples *s, int k,
                            update_sums *total, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    update u = { 0 };
    rm_train_sums sums;
    double norm, tokens = 0;
    int from = s->n_groups * k / r->updates, to = s->n_groups * (k + 1) / r->updates;
    bool replaced = r->objective == OBJECTIVE_DAPO;
    int counted = replaced ? s->n_groups : s->drawn;
    int n_samples = (counted * (k + 1) / r->updates - counted * k / r->updates) * r->group;
    if (from == to)
        return RM_OK;
    for (int g = from; g < to; g++)
        for (int i = s->group[g]; i < s->group[g] + r->group; i++)
            tokens += s->sample[i].n_tokens;
    rm_status st = make_update(r, s, from, to, n_samples, tokens, &u, err);
    if (!st && state->reference)
        st = score_reference(state->reference, &u, err);
    rm_objective objective = { .slope = slope, .arg = &u };
    if (!st)
        st = loop_update(loop, u.documents, u.n, &objective, NULL, &norm, &sums, err);
    if (!st) {
        total->norm = fmax(total->norm, norm);
        total->entropy += sums.entropy;
        total->tokens += (double)sums.tokens;
        total->trained += sums.rows;
        if (k == 0)
            total->difference = u.difference;
    }
    update_free(&u);
    return st;
}

/* ---- the step -------------------------------------------------------------------------------- */

/* Mean of what is not empty; NaN (null in the log) of nothing. */
static double mean(double sum, int n)
{
    return n ? sum / n : (double)NAN;
}

static rm_status report(train_loop *loop, const step_samples *s, const update_sums *u,
                        double started, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    rm_text line = { 0 };
    rm_json_writer w = { .out = &line };
    double reward = 0, long_right = 0, long_wrong = 0;
    int right = 0, formed = 0, truncated = 0, n = s->list.n;
    for (int i = 0; i < n; i++) {
        const rollout *o = &s->list.items[i];
        reward += s->sample[i].reward;
        right += o->correct;
        formed += o->formed;
        truncated += o->truncated;
        *(o->correct ? &long_right : &long_wrong) += s->sample[i].n_tokens;
    }
    rm_json_object(&w, NULL);
    rm_json_uint(&w, "step", loop->step + 1);
    rm_json_real(&w, "reward", mean(reward, n));
    rm_json_real(&w, "accuracy", mean(right, n));
    rm_json_real(&w, "formed", mean(formed, n));
    rm_json_real(&w, "truncated", mean(truncated, n));
    rm_json_real(&w, "length", mean(long_right + long_wrong, n));
    rm_json_real(&w, "length_correct", mean(long_right, right));
    rm_json_real(&w, "length_wrong", mean(long_wrong, n - right));
    rm_json_real(&w, "zero_signal", mean(s->silent, s->drawn));
    rm_json_int(&w, "groups", s->drawn);
    rm_json_real(&w, "entropy", u->tokens > 0 ? u->entropy / u->tokens : (double)NAN);
    rm_json_real(&w, "norm", u->norm);
    rm_json_real(&w, "logprob_difference", u->difference);
    rm_json_real(&w, "rate", loop_rate(loop) * r->adam.rate);
    rm_json_uint(&w, "tokens", loop->tokens);
    rm_json_real(&w, "seconds", rm_now_s() - started);
    rm_json_end(&w);
    rm_status st = loop_log(loop, &line, err);
    snprintf(loop->bar.note, sizeof loop->bar.note, "right %.3f  length %.0f", mean(right, n),
             mean(long_right + long_wrong, n));
    rm_progress_add(&loop->bar, 1, s->list.tokens);
    rm_text_free(&line);
    return st;
}

rm_status train_grpo_step(train_loop *loop, void *state, rm_error *err)
{
    step_samples s = { 0 };
    update_sums sums = { 0 };
    double started = rm_now_s();
    rm_status st = draw_samples(loop, &s, err);
    for (int k = 0; k < loop->recipe->updates && !st; k++)
        st = one_update(loop, state, &s, k, &sums, err);
    if (!st) {
        loop->cursor = s.cursor;
        loop->tokens += s.list.tokens;
        st = report(loop, &s, &sums, started, err);
    }
    samples_free(&s);
    return st;
}
