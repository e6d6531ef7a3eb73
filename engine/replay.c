/* replay.c - the trees of one model at the latency and cost of another.
 *
 * What a strategy costs depends on the model's shape: where the weights fit into a processor's cache,
 * N paths cost about N times one; where reading them from memory takes all the time, N paths are
 * nearly free. But a model of another shape says other things, and grows other trees. Replayed, a
 * model decides as ever, and a second one of any shape, its *body*, goes through the same rows of the
 * same tree: the same prefills, forks, batches and distributions. Nothing the body computes is looked
 * at; its FLOPs and bytes are what the account holds, and the clock of a run stands still while the
 * first model computes. The records are the first model's, apart from times and costs.
 *
 * The body's cache has the same page numbers as the first model's (rm_pool.mirror), so one batch
 * describes both. Token ids are taken modulo the body's vocabulary. */
#include "engine/replay.h"

#include <string.h>

/* The body keeps every position that the first model does, and sees no more of them. */
static rm_status check_body(const rm_model_info *model, const rm_model_info *body, rm_error *err)
{
    if (body->n_ctx < model->n_ctx)
        return rm_fail(err, RM_E_ARGUMENT, "%s has a context of %d tokens; what %s decides needs "
                       "%d to be replayed on it", body->file, body->n_ctx, model->name,
                       model->n_ctx);
    if (model->window && (!body->window || body->window > model->window))
        return rm_fail(err, RM_E_ARGUMENT, "%s sees the last %d positions only; it cannot be "
                       "replayed on %s, which looks further back", model->name, model->window,
                       body->file);
    return RM_OK;
}

static void unlist(rm_model *model)
{
    rm_model **link = &model->engine->models;
    while (*link != model)
        link = &(*link)->next;
    *link = model->next;
    model->next = NULL;
}

/* Quotas go on counting the first model's bytes, since records depend on them. So that both caches
 * together keep to the engine's limit, the first may have its share of it. */
static void share_memory(const rm_model *model)
{
    rm_engine *engine = model->engine;
    double own = (double)model->pool.page_bytes, body = (double)model->body->pool.page_bytes;
    size_t share = (size_t)((double)engine->options.kv_bytes * own / (own + body));
    if (share < engine->budget.limit_bytes)
        engine->budget.limit_bytes = share;
}

rm_status rm_replay_open(rm_model *model, const char *file, rm_error *err)
{
    rm_model *body;
    rm_status status = rm_model_open(model->engine, file, NULL, &body, err);
    if (status)
        return status;
    unlist(body); /* it never has tasks of its own */
    status = check_body(&model->weights->info, &body->weights->info, err);
    if (status) {
        rm_model_close(body);
        return status;
    }
    if (body->block_rows < model->block_rows)
        model->block_rows = body->block_rows;
    model->pool.mirror = body->pool.kv;
    model->body = body;
    share_memory(model);
    return RM_OK;
}

void rm_replay_plan(rm_model *model)
{
    rm_model *body = model->body;
    const rm_rows *from = &model->rows;
    rm_rows *to = &body->rows;
    size_t n = (size_t)from->n;
    int vocabulary = body->weights->info.n_vocab;
    for (size_t i = 0; i < n; i++)
        to->token[i] = from->token[i] % vocabulary;
    memcpy(to->position, from->position, n * sizeof *to->position);
    memcpy(to->seq, from->seq, n * sizeof *to->seq);
    memcpy(to->pages, from->pages, (size_t)from->n_seqs * sizeof *to->pages);
    to->n = from->n;
    to->n_seqs = from->n_seqs;

    /* A distribution drawn from a tip costs the output matrix alone, whatever state it stands on. */
    const rm_outputs *wanted = &model->outputs;
    rm_outputs *outputs = &body->outputs;
    memcpy(outputs->row_from, wanted->row_from, (size_t)wanted->n_rows * sizeof(int32_t));
    memcpy(outputs->row_to, wanted->row_to, (size_t)wanted->n_rows * sizeof(int32_t));
    outputs->n_rows = wanted->n_rows;
    outputs->n = wanted->n;
}
