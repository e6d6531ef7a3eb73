/* reward.c - a model that judges: the probability that a text which begins so ends right.
 *
 *     v(prefix) = p(good) / (p(good) + p(bad))
 *
 * of two tokens that the vocabulary does not use, after the prefix; the loss is -log v or
 * -log (1 - v) and leaves the other tokens alone. All samples of a problem are
 * trained on, and every prefix of a sample has as its target the sample's own verdict: the Monte
 * Carlo estimate of its value by one rollout (Cobbe et al. 2021, arXiv:2110.14168, whose verifier
 * judges at every token; Wang et al. 2024, arXiv:2312.08935, for labels of steps by rollouts).
 * Samples of one problem share their first prefixes, whose labels then average to the share that
 * ended right. The value of the whole text is the outcome's (ORM), that of its beginnings the
 * steps' (PRM).
 *
 * As tokens of the output matrix the head costs nothing in the engine, and other programs read the
 * file as the llama it is. It is no longer a model to draw texts from. */
#include "experiments/train/train.h"

#include <stdlib.h>
#include <string.h>

static bool unused(const rm_model *model, int32_t token)
{
    size_t n;
    bool special;
    const char *bytes = rm_token_bytes(model, token, &n, &special);
    char name[64] = "";
    memcpy(name, bytes, n < sizeof name - 1 ? n : sizeof name - 1);
    return strstr(name, "unused") || strstr(name, "reserved");
}

/* Takes the last two tokens of the vocabulary that it says are unused, or goes on with those that
 * the first model has. */
rm_status reward_prepare(train_loop *loop, rm_error *err)
{
    const rm_model_info *info = rm_model_describe(loop->model);
    int32_t found[2] = { info->value_good, info->value_bad };
    int n = info->value_good >= 0 ? 2 : 0;
    for (int32_t token = info->n_vocab - 1; token >= 0 && n < 2; token--)
        if (unused(loop->model, token))
            found[n++] = token;
    if (n < 2)
        return rm_fail(err, RM_E_UNSUPPORTED, "the vocabulary of %s has no two unused tokens that "
                       "could stand for good and bad", info->name);
    loop->good = found[0];
    loop->bad = found[1];
    return rm_trainer_judge(loop->trainer, found[0], found[1], err);
}

/* The prefixes from the whole prompt to the whole text; the last target stands behind the text. */
rm_status reward_keep(train_loop *loop, const rollout *group, int n, document_list *list,
                      rm_error *err)
{
    rm_status st = RM_OK;
    for (int i = 0; i < n && !st; i++) {
        const rollout *o = &group[i];
        size_t length = (size_t)o->n + 1;
        int32_t *tokens = malloc(2 * length * sizeof *tokens), *target = tokens + length;
        float *weight = calloc(length, sizeof *weight);
        if (!tokens || !weight) {
            st = rm_fail(err, RM_E_MEMORY, "no memory for a sample");
        } else {
            memcpy(tokens, o->tokens, (length - 1) * sizeof *tokens);
            tokens[length - 1] = o->correct ? loop->good : loop->bad;
            for (size_t k = 0; k < length; k++) {
                target[k] = tokens[length - 1];
                weight[k] = (int)k < o->n_prompt ? 0.0f : 1.0f;
            }
            st = document_add_targets(list, tokens, target, weight, (int)length, err);
        }
        free(tokens);
        free(weight);
    }
    return st;
}
