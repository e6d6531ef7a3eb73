/* span.cu - the loop of a span on the device: from a drawn token to the next row (launch.h).
 *
 * One thread an entry. It reads what picks.cu left, writes the row's next token and position, and
 * sets the pick for the next draw: index, and history one token longer. Entries of one pick are
 * members of an ensemble: all rows get the token, the leading one moves the pick. So that no member
 * sees the pick half moved, members read and the leader alone writes the pick; what a member needs
 * (the token) is not what the leader changes.
 *
 * A span ends as in engine/eval.c: with a stop token, with its last token, or where the logits were
 * no numbers; or because the host wants no more of it. Then its rows become padding (position -1)
 * and its pick too. */
#include "engine/cuda/device.h"

enum { SPAN_THREADS = 128 };

DEVICE int ends(const rm_span_entry *e, int32_t token)
{
    for (int i = 0; i < e->n_stop; i++)
        if (e->stop[i] == token)
            return 1;
    return e->left <= 1;
}

KERNEL(span_step, rm_span_args, SPAN_THREADS)
{
    AFTER_PREVIOUS();
    int i = BLOCK_X * SPAN_THREADS + THREAD;
    if (i >= a.n || a.entry[i].left < 1)
        return;
    rm_span_entry *e = &a.entry[i];
    rm_pick_item *pick = e->pick;
    int32_t token = pick->result->token;
    int stop = *e->gone || pick->result->no_numbers || ends(e, token);
    if (e->leads) {
        if (stop)
            pick->want = -1;
        else if (e->history)
            e->history[pick->n_history++] = token;
        pick->index++;
    }
    e->left = stop ? 0 : e->left - 1;
    *e->token = stop ? -1 : token;
    *e->position = stop ? -1 : *e->position + 1;
}

int rm_launch_span_step(const rm_span_args *p, rm_stream stream)
{
    if (p->n < 1)
        return 0;
    return LAUNCH(span_step, rm_ceil_div(p->n, SPAN_THREADS), 1, 1, SPAN_THREADS, 0, stream, *p);
}
