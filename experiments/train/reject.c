/* reject.c - rejection sampling: draw K samples of each problem, keep those that are right and well
 * formed, each text once and at most `keep` a problem, and train on what is left.
 *
 * A reward model (reward.c) is trained by the same steps on all samples, with their verdicts.
 *
 * The samples come from the model the training begins with. A training that is gone on with draws
 * them again, from the same weights: the same samples. Every epoch shuffles the kept ones. */
#include "experiments/train/train.h"

#include <stdlib.h>
#include <string.h>

typedef struct reject_state {
    document_list kept;
    int *order;      /* [kept.n] of the current epoch */
    uint64_t epoch;  /* the order's, + 1; 0: none yet */
    reward_held *held; /* of a reward model that is evaluated, else NULL */
} reject_state;

static bool same(const rollout *a, const rollout *b)
{
    return a->n == b->n && memcmp(a->tokens, b->tokens, (size_t)a->n * sizeof *a->tokens) == 0;
}

rm_status reject_keep(train_loop *loop, const rollout *group, int n, document_list *kept,
                      rm_error *err)
{
    const train_recipe *r = loop->recipe;
    int taken[4096], n_taken = 0;
    rm_status st = RM_OK;
    for (int i = 0; i < n && n_taken < r->keep && !st; i++) {
        bool good = group[i].correct && group[i].formed;
        for (int k = 0; k < n_taken && good; k++)
            good = !same(&group[i], &group[taken[k]]);
        if (!good)
            continue;
        taken[n_taken++] = i;
        st = document_add(kept, group[i].tokens, group[i].n, group[i].n_prompt, err);
    }
    return st;
}

static rm_status draw_source(train_loop *loop, int index, reject_state *s, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    const train_source *source = &r->sources[index];
    rm_text line = { 0 };
    rm_json_writer w = { .out = &line };
    int batch = 64, most = r->max_new_tokens ? r->max_new_tokens
                                             : rm_task_max_new_tokens(source->task);
    uint64_t drawn = 0, right = 0;
    int before = s->kept.n;
    rm_status st = RM_OK;
    for (int done = 0; done < r->problems && !st; done += batch) {
        rollout_list list = { 0 };
        rollout_request request = { .engine = loop->engine, .model = loop->model,
                                    .task = source->task, .first = (size_t)done,
                                    .n_problems = r->problems - done < batch ? r->problems - done
                                                                             : batch,
                                    .n_samples = r->samples, .sampling = RM_SAMPLING_DEFAULT,
                                    .max_new_tokens = most, .seed = r->seed,
                                    .cancel = loop->options->cancel };
        request.sampling.temperature = r->temperature;
        st = rollouts_draw(&request, 0, &list, err);
        for (int i = 0; i < request.n_problems && !st; i++)
            st = (r->kind == TRAIN_REWARD ? reward_keep : reject_keep)(
                loop, list.items + i * r->samples, r->samples, &s->kept, err);
        for (int i = 0; i < list.n && !st; i++)
            right += list.items[i].correct;
        drawn += (uint64_t)list.n;
        rm_progress_add(&loop->bar, (size_t)request.n_problems, list.tokens);
        rollouts_free(&list);
    }
    if (!st) {
        rm_json_object(&w, NULL);
        rm_json_uint(&w, "step", 0);
        rm_json_string(&w, "sampled", rm_task_name(source->task));
        rm_json_uint(&w, "samples", drawn);
        rm_json_real(&w, "accuracy", (double)right / (double)drawn);
        rm_json_int(&w, "kept", s->kept.n - before);
        rm_json_end(&w);
        st = loop->step ? RM_OK : loop_log(loop, &line, err);
    }
    rm_text_free(&line);
    return st;
}

rm_status train_reject_open(train_loop *loop, void **state, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    reject_state *s = calloc(1, sizeof *s);
    rm_status st = s ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for samples");
    *state = s;
    if (!st && r->kind == TRAIN_REWARD)
        st = reward_prepare(loop, err);
    rm_progress_begin(&loop->bar, loop->options->progress, "drawing",
                      (size_t)r->problems * (size_t)r->n_sources);
    for (int i = 0; i < r->n_sources && !st; i++)
        st = draw_source(loop, i, s, err);
    if (!st && r->kind == TRAIN_REWARD && r->evaluate_every)
        st = reward_hold(loop, &s->held, err);
    rm_progress_end(&loop->bar);
    if (!st && !s->kept.n)
        st = rm_fail(err, RM_E_LIMIT, "none of the samples was right and well formed; there is "
                     "nothing to train on");
    if (!st && !(s->order = calloc((size_t)s->kept.n, sizeof *s->order)))
        st = rm_fail(err, RM_E_MEMORY, "no memory for samples");
    if (!st && !r->steps)
        loop->steps = ((uint64_t)r->epochs * s->kept.tokens + (uint64_t)r->tokens_per_step - 1) /
                      (uint64_t)r->tokens_per_step;
    return st;
}

rm_status train_reward_evaluate(train_loop *loop, void *state, rm_error *err)
{
    return reward_evaluate(loop, ((reject_state *)state)->held, err);
}

void train_reject_close(void *state)
{
    reject_state *s = state;
    if (!s)
        return;
    documents_free(&s->kept);
    reward_held_free(s->held);
    free(s->order);
    free(s);
}

/* Fisher & Yates' shuffle, drawn anew for each epoch. */
static const rm_document *document_at(const train_loop *loop, reject_state *s, uint64_t cursor)
{
    uint64_t n = (uint64_t)s->kept.n, epoch = cursor / n;
    if (s->epoch != epoch + 1) {
        s->epoch = epoch + 1;
        for (int i = 0; i < s->kept.n; i++)
            s->order[i] = i;
        for (int i = s->kept.n - 1; i > 0; i--) {
            uint64_t bits = rm_random(loop->recipe->seed, rm_mix(epoch, 0x73687566 /* "shuf" */),
                                      (uint32_t)i, 0);
            int k = (int)rm_scale(bits, (uint64_t)i + 1), swap = s->order[i];
            s->order[i] = s->order[k];
            s->order[k] = swap;
        }
    }
    return &s->kept.items[s->order[cursor % n]];
}

rm_status train_reject_step(train_loop *loop, void *state, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    reject_state *s = state;
    rm_document *batch = calloc((size_t)r->tokens_per_step, sizeof *batch);
    rm_train_sums sums;
    size_t tokens = 0;
    double weight = 0, norm = 0, started = rm_now_s();
    int n = 0;
    if (!batch)
        return rm_fail(err, RM_E_MEMORY, "no memory for a step");
    for (; tokens < (size_t)r->tokens_per_step; n++) {
        batch[n] = *document_at(loop, s, loop->cursor++);
        tokens += (size_t)batch[n].n;
        for (int k = 1; k < batch[n].n; k++)
            weight += (double)batch[n].weight[k];
    }
    rm_objective objective = { .scale = 1 / weight, .judge = r->kind == TRAIN_REWARD };
    rm_status st = loop_update(loop, batch, n, &objective, NULL, &norm, &sums, err);
    if (!st)
        st = loop_report(loop, &sums, norm, tokens, started, err);
    free(batch);
    return st;
}
