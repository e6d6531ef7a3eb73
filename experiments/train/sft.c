/* sft.c - supervised training on problems with their thoughts: one step takes documents until they
 * have `tokens_per_step` tokens; the loss is the mean over the tokens after the prompts. */
#include "experiments/train/train.h"

static double weights_of(const document_list *list)
{
    double sum = 0;
    for (int i = 0; i < list->n; i++)
        for (int k = 1; k < list->items[i].n; k++)
            sum += (double)list->items[i].weight[k];
    return sum;
}

rm_status train_sft_step(train_loop *loop, void *state, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    document_list list = { 0 };
    rm_train_sums sums;
    double norm = 0, started = rm_now_s();
    rm_status st = RM_OK;
    (void)state;
    while (!st && list.tokens < (size_t)r->tokens_per_step)
        st = corpus_document(r, loop->model, loop->cursor++, &list, err);
    rm_objective objective = { .scale = st ? 0 : 1 / weights_of(&list) };
    if (!st)
        st = loop_update(loop, list.items, list.n, &objective, NULL, &norm, &sums, err);
    if (!st)
        st = loop_report(loop, &sums, norm, list.tokens, started, err);
    documents_free(&list);
    return st;
}
