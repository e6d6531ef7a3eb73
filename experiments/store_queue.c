/* store_queue.c - outcomes that wait to be written together.
 *
 * Between two passes of the engine SQLite finds neither its code nor its pages in the caches, which
 * the models' weights have filled: an outcome written there took 65 us, one written among
 * others 8. So the runner's outcomes are copied, each into one block of memory, and written when a
 * commit is due or their blocks reach QUEUE_BYTES. They were not safe before that commit anyhow. */
#include "experiments/store_private.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE_BYTES = 1 << 20 };

struct store_queued {
    store_queued *next;
    void *block; /* holds this and all it points to */
    rm_outcome_row row;
    rm_outcome outcome;
};

/* A block that is filled from its beginning; without a base the same calls only count. */
typedef struct room {
    char *base;
    size_t used;
} room;

static void *keep(room *r, const void *from, size_t n)
{
    void *to = r->base ? r->base + r->used : NULL;
    r->used += (n + 15) / 16 * 16;
    if (to && n)
        memcpy(to, from, n);
    return to;
}

static const char *keep_text(room *r, const char *text)
{
    return text ? keep(r, text, strlen(text) + 1) : NULL;
}

static void keep_candidates(room *r, rm_outcome *outcome)
{
    const rm_candidate *from = outcome->candidates;
    rm_candidate *to = keep(r, from, (size_t)outcome->n_candidates * sizeof *to);
    for (int i = 0; i < outcome->n_candidates; i++) {
        rm_candidate c = from[i];
        c.text = keep_text(r, from[i].text);
        c.answer = keep_text(r, from[i].answer);
        if (from[i].tokens)
            c.tokens = keep(r, from[i].tokens, (size_t)from[i].n_tokens * sizeof *c.tokens);
        c.scores = keep(r, from[i].scores, (size_t)from[i].n_scores * sizeof *c.scores);
        for (int k = 0; k < from[i].n_scores; k++) {
            const char *name = keep_text(r, from[i].scores[k].name);
            if (c.scores)
                c.scores[k].name = name;
        }
        if (to)
            to[i] = c;
    }
    outcome->candidates = to;
}

static void keep_nodes(room *r, rm_outcome *outcome)
{
    const rm_node *from = outcome->nodes;
    rm_node *to = keep(r, from, (size_t)outcome->n_nodes * sizeof *to);
    for (int i = 0; i < outcome->n_nodes; i++) {
        const char *text = keep_text(r, from[i].text);
        if (to)
            to[i].text = text;
    }
    outcome->nodes = to;
}

static store_queued *copy(room *r, const rm_outcome_row *row)
{
    store_queued all = { .block = r->base, .row = *row };
    all.row.error = keep_text(r, row->error);
    if (row->outcome) {
        all.outcome = *row->outcome;
        all.row.correct = keep(r, row->correct,
                               (size_t)all.outcome.n_candidates * sizeof *row->correct);
        keep_candidates(r, &all.outcome);
        keep_nodes(r, &all.outcome);
    }
    store_queued *q = keep(r, &all, sizeof all);
    if (q && row->outcome)
        q->row.outcome = &q->outcome;
    return q;
}

void store_drop_queue(rm_store *store)
{
    while (store->queue) {
        store_queued *q = store->queue;
        store->queue = q->next;
        free(q->block);
    }
    store->queue_end = NULL;
    store->queue_bytes = 0;
}

rm_status store_write_queue(rm_store *store, rm_error *err)
{
    rm_status status = RM_OK;
    for (const store_queued *q = store->queue; q && !status; q = q->next)
        status = rm_store_put_outcome(store, &q->row, err);
    store_drop_queue(store);
    if (status && store->writing) { /* none of them is committed without its candidates */
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
        store->writing = false;
    }
    return status;
}

rm_status rm_store_queue_outcome(rm_store *store, const rm_outcome_row *row, rm_error *err)
{
    room r = { 0 };
    copy(&r, row);
    r.base = malloc(r.used);
    if (!r.base)
        return rm_fail(err, RM_E_MEMORY, "no memory for an outcome of %zu bytes", r.used);
    store->queue_bytes += r.used;
    r.used = 0;
    store_queued *q = copy(&r, row);
    if (store->queue_end)
        store->queue_end->next = q;
    else
        store->queue = q;
    store->queue_end = q;
    return store->queue_bytes < QUEUE_BYTES ? RM_OK : store_write_queue(store, err);
}
