/* picks.c - picks to the device and their results back (launch.h: rm_pick_item).
 *
 * A pick becomes one item in the upload area, with the tokens it names; what it gives lies in the
 * result area, which comes back in one copy. After the flush every result goes where its rm_pick
 * said. Bits are the kernel's business: it computes what pick.c computes. */
#include "engine/cuda/cuda.h"

#include <stdlib.h>
#include <string.h>

/* Room for n more. */
static bool grow(rm_backend *b, int n)
{
    int want = b->n_picked + n, capacity = b->picked_capacity;
    if (want <= capacity)
        return true;
    capacity = want > 2 * capacity ? want : 2 * capacity;
    cuda_picked *picked = realloc(b->picked, (size_t)capacity * sizeof *picked);
    if (!picked) {
        b->status = rm_fail(&b->error, RM_E_MEMORY, "no memory for %d picks", want);
        return false;
    }
    b->picked = picked;
    b->picked_capacity = capacity;
    return true;
}

/* n tokens in the upload area, and room for `more`, padded so that a path that grows keeps its
 * layout. */
static const int32_t *put_tokens(rm_backend *b, const int32_t *tokens, int n, int more)
{
    if (n < 1)
        return NULL;
    size_t room = 64;
    while (room < (size_t)n + (size_t)more)
        room *= 2;
    cuda_piece piece = cuda_take(b, cuda_upload(b), room * sizeof *tokens);
    if (piece.host)
        memcpy(piece.host, tokens, (size_t)n * sizeof *tokens);
    return piece.device;
}

/* Results of a pick beside its rm_pick_result. */
static int wanted(const rm_pick *pick)
{
    switch (pick->want) {
    case RM_WANT_TOP:
        return pick->k < pick->n_vocab ? pick->k : pick->n_vocab;
    case RM_WANT_LOGPROBS:
    case RM_WANT_SCORE:
        return pick->n_tokens;
    case RM_WANT_ALL:
        return pick->n_vocab;
    default:
        return 0;
    }
}

static void put_sampling(const rm_pick *pick, rm_pick_item *item)
{
    static const rm_sampling none = { false, 1.0, 0, 1.0, 0.0, 1.0, 1.0 };
    const rm_sampling *s = pick->sampling ? pick->sampling : &none;
    item->do_sample = s->do_sample;
    item->top_k = s->top_k;
    item->temperature = s->temperature;
    item->top_p = s->top_p;
    item->min_p = s->min_p;
    item->typical_p = s->typical_p;
    item->repetition_penalty = s->repetition_penalty;
}

/* `more`: tokens that the pick's history may grow by on the device. */
static void put(rm_backend *b, const rm_pick *pick, int more, rm_pick_item *item,
                cuda_picked *picked, cuda_piece result)
{
    *item = (rm_pick_item){ .want = (int32_t)pick->want, .n_members = pick->n_members,
                            .combine = (int32_t)pick->combine, .n_vocab = pick->n_vocab,
                            .seed = pick->seed, .stream = pick->stream, .index = pick->index,
                            .result = result.device };
    *picked = (cuda_picked){ .pick = pick, .result = result.host };
    for (int m = 0; m < pick->n_members; m++) {
        const rm_tensor *t = pick->member[m].logits;
        assert(pick->member[m].row >= 0 && (size_t)pick->member[m].row < t->rows &&
               t->width >= pick->n_vocab);
        item->row[m] = t->data + (size_t)pick->member[m].row * (size_t)t->stride;
        item->weight[m] = pick->member[m].weight;
    }
    put_sampling(pick, item);
    if (item->repetition_penalty != 1.0) {
        item->n_history = pick->n_history;
        item->history = put_tokens(b, pick->history, pick->n_history, more);
    }
    int n = wanted(pick);
    if (pick->want == RM_WANT_LOGPROBS || pick->want == RM_WANT_SCORE) {
        item->n_tokens = pick->n_tokens;
        item->tokens = put_tokens(b, pick->tokens, pick->n_tokens, 0);
    }
    if (n) {
        cuda_piece lp = cuda_take(b, cuda_result(b), (size_t)n * sizeof(double));
        item->out_lp = lp.device;
        picked->lp = lp.host;
    }
    if (pick->want == RM_WANT_TOP) {
        cuda_piece tokens = cuda_take(b, cuda_result(b), (size_t)n * sizeof(int32_t));
        item->k = n;
        item->out_tokens = tokens.device;
        picked->tokens = tokens.host;
    }
}

void cuda_picks(rm_backend *b, const rm_pick *picks, int n)
{
    if (n < 1 || b->status || !grow(b, n))
        return;
    int padded = cuda_bucket(n), vocab = 0, slots = 2 * b->identity.multiprocessors;
    slots = slots < padded ? slots : padded;
    cuda_piece items = cuda_take(b, cuda_upload(b), (size_t)padded * sizeof(rm_pick_item)),
               results = cuda_take(b, cuda_result(b), (size_t)padded * sizeof(rm_pick_result));
    for (int i = 0; i < n && !b->status; i++) {
        size_t at = (size_t)i * sizeof(rm_pick_result);
        cuda_piece result = { (uint8_t *)results.host + at, (uint8_t *)results.device + at };
        int more = b->ahead.open ? b->ahead.path[i].n_tokens : 0;
        put(b, &picks[i], more, (rm_pick_item *)items.host + i, &b->picked[b->n_picked++], result);
        vocab = picks[i].n_vocab > vocab ? picks[i].n_vocab : vocab;
    }
    if (b->status)
        return;
    if (b->ahead.open) {
        assert(n == b->ahead.n && !b->ahead.item);
        b->ahead.item = items.device;
        b->ahead.item_host = items.host;
        b->ahead.drawn_on_device = results.device;
    }
    for (int i = n; i < padded; i++)
        ((rm_pick_item *)items.host)[i] = (rm_pick_item){ .want = -1 };
    cuda_need(b, &b->pick_slots, (size_t)slots * rm_pick_slot_bytes(vocab), "picks");
    cuda_op *o = cuda_enqueue(b, OP_PICKS);
    if (o)
        o->picks = (rm_pick_args){ .item = items.device, .n_items = padded, .n_slots = slots,
                                   .n_vocab = vocab };
}

void cuda_picks_deliver(rm_backend *b)
{
    for (int i = 0; i < b->n_picked; i++) {
        const cuda_picked *p = &b->picked[i];
        const rm_pick *pick = p->pick;
        int n = wanted(pick);
        if (p->result->no_numbers && pick->out_no_numbers)
            *pick->out_no_numbers = true;
        if (pick->want == RM_WANT_SPAN) {
            *pick->out_tokens = p->result->token;
            *pick->out_lp = p->result->lp;
            *pick->out_lp_sampling = p->result->lp_sampling;
        }
        if (n)
            memcpy(pick->out_lp, p->lp, (size_t)n * sizeof *p->lp);
        if (p->tokens)
            memcpy(pick->out_tokens, p->tokens, (size_t)n * sizeof *p->tokens);
    }
}
