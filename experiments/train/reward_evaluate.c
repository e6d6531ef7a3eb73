/* reward_evaluate.c - how well a reward model judges: samples of tuning problems, drawn once from
 * the first model, are judged as whole texts at each evaluation. A line a task says
 *
 *     accuracy    share of problems whose sample of the highest value is right (best-of-n)
 *     random      the same of a sample drawn at random: what the reward model has to beat
 *     auc         that a right sample is valued above a wrong one of the same problem (ties half):
 *                 the mean over the problems that have both; problems of different difficulty are
 *                 never compared, since that is easier and of no use to a choice among samples
 *     judged_loss mean of -log of the probability given to the true verdict
 */
#include "experiments/train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct reward_held {
    rollout_list list[MAX_SOURCES]; /* problem by problem, recipe->samples each */
};

rm_status reward_hold(train_loop *loop, reward_held **out, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    reward_held *held = calloc(1, sizeof *held);
    rm_status st = held ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for samples");
    *out = held;
    for (int i = 0; i < r->n_sources && !st; i++) {
        const train_source *s = &r->sources[i];
        rollout_request request = { .engine = loop->engine,
                                    .model = loop->model,
                                    .task = s->tune,
                                    .listed = true,
                                    .n_problems = r->evaluate_problems,
                                    .n_samples = r->samples,
                                    .sampling = RM_SAMPLING_DEFAULT,
                                    .max_new_tokens = r->max_new_tokens
                                                          ? r->max_new_tokens
                                                          : rm_task_max_new_tokens(s->tune),
                                    .seed = r->seed,
                                    .cancel = loop->options->cancel };
        request.sampling.temperature = r->temperature;
        st = rollouts_draw(&request, 0, &held->list[i], err);
    }
    return st;
}

void reward_held_free(reward_held *held)
{
    for (int i = 0; held && i < MAX_SOURCES; i++)
        rollouts_free(&held->list[i]);
    free(held);
}

/* The judgement is wanted, no gradient. */
static double flat(void *arg, int document, int token, double lp)
{
    (void)arg, (void)document, (void)token, (void)lp;
    return 0;
}

/* value[i] = log v of the whole text of sample i: log p(good) - log (p(good) + p(bad)). */
static rm_status judge(train_loop *loop, const rollout_list *list, double *value, rm_error *err)
{
    document_list texts = { 0 };
    double **lp = calloc((size_t)list->n + 1, sizeof *lp);
    rm_status st = lp ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for judgements");
    for (int i = 0; i < list->n && !st; i++) {
        const rollout *o = &list->items[i];
        size_t n = (size_t)o->n + 1;
        int32_t *tokens = calloc(n, sizeof *tokens), *target = calloc(n, sizeof *target);
        float *weight = calloc(n, sizeof *weight);
        if (!tokens || !target || !weight || !(lp[i] = calloc(n, sizeof **lp))) {
            st = rm_fail(err, RM_E_MEMORY, "no memory for judgements");
        } else {
            memcpy(tokens, o->tokens, (n - 1) * sizeof *tokens);
            for (size_t k = 0; k < n; k++)
                target[k] = loop->good;
            tokens[n - 1] = loop->good;
            weight[n - 1] = 1;
            st = document_add_targets(&texts, tokens, target, weight, (int)n, err);
        }
        free(tokens);
        free(target);
        free(weight);
    }
    rm_objective objective = { .judge = true, .slope = flat };
    if (!st)
        st = rm_trainer_pass(loop->trainer, texts.items, texts.n, &objective, lp, NULL, err);
    for (int i = 0; i < list->n && lp; i++) {
        value[i] = st || !lp[i] ? 0 : lp[i][list->items[i].n];
        free(lp[i]);
    }
    free(lp);
    documents_free(&texts);
    return st;
}

typedef struct judgement {
    double best, random, auc, loss;
    int mixed; /* problems with right and wrong samples */
} judgement;

/* Adds one problem of n samples. */
static void weigh(judgement *sum, const rollout *o, const double *value, int n)
{
    double highest = -INFINITY, right = 0, best = 0, n_best = 0, won = 0;
    for (int i = 0; i < n; i++) {
        highest = fmax(highest, value[i]);
        right += o[i].correct;
        sum->loss -= o[i].correct ? value[i] : rm_math_log(fmax(-expm1(value[i]), 1e-300));
        for (int k = 0; k < n && o[i].correct; k++)
            won += o[k].correct ? 0 : value[i] > value[k] ? 1 : value[i] == value[k] ? 0.5 : 0;
    }
    for (int i = 0; i < n; i++)
        if (value[i] == highest) {
            best += o[i].correct;
            n_best++;
        }
    sum->best += best / n_best;
    sum->random += right / n;
    if (right > 0 && right < n) {
        sum->auc += won / (right * (n - right));
        sum->mixed++;
    }
}

static rm_status evaluate_source(train_loop *loop, const rollout_list *list, const char *task,
                                 rm_error *err)
{
    int n = loop->recipe->samples, problems = list->n / n;
    judgement sum = { 0 };
    rm_text line = { 0 };
    rm_json_writer w = { .out = &line };
    double *value = calloc((size_t)list->n + 1, sizeof *value);
    rm_status st = value ? judge(loop, list, value, err)
                         : rm_fail(err, RM_E_MEMORY, "no memory for judgements");
    for (int i = 0; i < problems && !st; i++)
        weigh(&sum, list->items + i * n, value + i * n, n);
    if (!st) {
        rm_json_object(&w, NULL);
        rm_json_uint(&w, "step", loop->step);
        rm_json_string(&w, "evaluated", task);
        rm_json_int(&w, "problems", problems);
        rm_json_int(&w, "samples", n);
        rm_json_real(&w, "accuracy", sum.best / problems);
        rm_json_real(&w, "random", sum.random / problems);
        rm_json_real(&w, "auc", sum.mixed ? sum.auc / sum.mixed : (double)NAN);
        rm_json_real(&w, "judged_loss", sum.loss / list->n);
        rm_json_end(&w);
        st = loop_log(loop, &line, err);
    }
    rm_text_free(&line);
    free(value);
    return st;
}

rm_status reward_evaluate(train_loop *loop, const reward_held *held, rm_error *err)
{
    rm_status st = RM_OK;
    for (int i = 0; i < loop->recipe->n_sources && !st; i++)
        st =
            evaluate_source(loop, &held->list[i], rm_task_name(loop->recipe->sources[i].tune), err);
    return st;
}
