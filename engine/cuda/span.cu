/* span.cu - the loop of a span on the device: from a drawn token to the next row (launch.h).
 *
 * One thread an entry. It reads what picks.cu left, writes the row's next token and position, and
 * sets the pick for the next draw: index, and history one token longer. Entries of one pick are
 * members of an ensemble: all rows get the token, the leading one keeps it and moves the pick. So
 * that no member sees the pick half moved, members read and the leader alone writes the pick; what
 * a member needs (the token) is not what the leader changes.
 *
 * A span ends as in engine/eval.c: with a stop token (which is kept), with its last token, or where
 * the logits were no numbers. Then its rows become padding (position -1) and its pick too. */
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
    if (i >= a.n || a.entry[i].stopped)
        return;
    rm_span_entry *e = &a.entry[i];
    rm_pick_item *pick = e->pick;
    rm_pick_result drawn = *pick->result;
    int stop = drawn.no_numbers || ends(e, drawn.token);
    if (e->leads) {
        e->drawn[e->n_done] = drawn;
        if (!drawn.no_numbers)
            e->history[pick->n_history++] = drawn.token;
        pick->index++;
        if (stop) {
            pick->want = -1;
            ADD_I32(a.n_live, -1);
        }
    }
    e->n_done++;
    e->left--;
    e->stopped = stop;
    *e->token = stop ? 0 : drawn.token;
    *e->position = stop ? -1 : *e->position + 1;
}

int rm_launch_span_step(const rm_span_args *p, rm_stream stream)
{
    if (p->n < 1)
        return 0;
    return LAUNCH(span_step, rm_ceil_div(p->n, SPAN_THREADS), 1, 1, SPAN_THREADS, 0, stream, *p);
}
