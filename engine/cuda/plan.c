/* plan.c - the work list of attention, made from page lists (launch.h says what items are).
 *
 * Sequences are sorted by their page lists, as the CPU's plan has it: those with a common beginning
 * stand side by side. Let c_i be the number of whole leading chunks that sequence i sees in the same
 * pages as its neighbour before it. The sequences that share a chunk are then a run in which every
 * c_i is larger than the chunk's number, and the runs form a tree: walking it from the root gives
 * each shared stretch once, for all rows below it.
 *
 *   shared stretches       partial items: read once for all sequences
 *   a long past of few     partial items too, until there are blocks enough to fill the device
 *   everything else        the row's own finish item
 *
 * Nothing of this changes a bit (launch.h), so whatever does not fit the lists or the scratch may
 * be left to the finish items. */
#include "engine/cuda/cuda.h"

#include <string.h>

typedef struct planner {
    const rm_batch *batch;
    const cuda_plan_options *o;
    cuda_plan *plan;
    int S;            /* sequences */
    int32_t *order, *merge; /* [S] sequences in the order of their page lists; scratch */
    int32_t *first, *count; /* [S] by sequence: first row, number of rows */
    int32_t *common;  /* [S + 1] by place in `order`: whole chunks shared with the place before */
    int32_t *upto;    /* [S] by place: chunks that partial items compute */
    int32_t *at;      /* [S + 1] by place: its rows in row_list */
    int32_t *stack;   /* [3 (S + 1)] */
    int64_t chunks;   /* counted by a walk: item chunks there would be */
    int piece;        /* chunks of one item */
    bool overflow;
} planner;

int cuda_plan_items(int rows)
{
    return 4 * rows + 1024;
}

size_t cuda_plan_scratch(int rows)
{
    return 10 * ((size_t)rows + 1);
}

/* Chunks before the one in which the sequence's first row stands: whole for all its rows. */
static int whole_chunks(const planner *p, int seq)
{
    return p->batch->position[p->first[seq]] / RM_CHUNK;
}

static int pages_of(const planner *p, int seq)
{
    return p->batch->position[p->first[seq] + p->count[seq] - 1] / p->o->page_positions + 1;
}

/* ---- order --------------------------------------------------------------------------------------- */

static int compare(const planner *p, int s, int t)
{
    const int32_t *a = p->batch->pages[s], *b = p->batch->pages[t];
    int n = pages_of(p, s), m = pages_of(p, t);
    for (int i = 0; i < n && i < m; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return n - m;
}

/* Merge sort, bottom up; one pass where the order is right already. */
static void sort_sequences(planner *p)
{
    int32_t *from = p->order, *to = p->merge;
    int n = p->S;
    bool sorted = true;
    for (int i = 1; i < n && sorted; i++)
        sorted = compare(p, from[i - 1], from[i]) <= 0;
    for (int width = 1; width < n && !sorted; width *= 2) {
        for (int lo = 0; lo < n; lo += 2 * width) {
            int mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n;
            for (int i = lo, j = mid, k = lo; k < hi; k++)
                to[k] = j == hi || (i < mid && compare(p, from[i], from[j]) <= 0) ? from[i++]
                                                                                  : from[j++];
        }
        int32_t *swap = from;
        from = to;
        to = swap;
    }
    p->order = from;
    p->merge = to;
}

static int common_chunks(const planner *p, int s, int t)
{
    int n = whole_chunks(p, s), m = whole_chunks(p, t), least = n < m ? n : m;
    int per_chunk = RM_CHUNK / p->o->page_positions;
    const int32_t *a = p->batch->pages[s], *b = p->batch->pages[t];
    for (int i = 0; i < least * per_chunk; i++)
        if (a[i] != b[i])
            return i / per_chunk;
    return least;
}

/* ---- walking the tree of shared stretches ---------------------------------------------------------- */

/* The first chunk that any row of places [a, b) sees. */
static int first_seen(const planner *p, int a, int b)
{
    int least = INT32_MAX;
    if (!p->o->window)
        return 0;
    for (int i = a; i < b; i++) {
        int begin = p->batch->position[p->first[p->order[i]]] - p->o->window + 1;
        least = begin < least ? begin : least;
    }
    return least < 0 ? 0 : least / RM_CHUNK;
}

static void emit(planner *p, int a, int b, int from, int to, bool write)
{
    int seen = first_seen(p, a, b);
    from = from < seen ? seen : from;
    for (int row = p->at[a]; row < p->at[b] && from < to; row += p->o->item_rows) {
        p->chunks += to - from;
        for (int c = from; c < to && write; c += p->piece) {
            if (p->plan->n_partial == p->o->max_items) {
                p->overflow = true;
                return;
            }
            int rows = p->at[b] - row < p->o->item_rows ? p->at[b] - row : p->o->item_rows;
            p->plan->partial[p->plan->n_partial++] = (rm_attend_item){
                .first_row = row, .n_rows = rows, .chunk = c,
                .n_chunks = to - c < p->piece ? to - c : p->piece, .table = p->order[a] };
        }
    }
}

/* Ranges of places that share chunks [0, c) are on the stack; each is cut where chunk c is not
 * shared, and a part goes on for as long as all of it does. */
static void walk(planner *p, bool write)
{
    int n = 0;
    p->stack[n++] = 0;
    p->stack[n++] = p->S;
    p->stack[n++] = 0;
    while (n) {
        int c = p->stack[--n], end = p->stack[--n], i = p->stack[--n];
        while (i < end) {
            if (p->upto[i] <= c) {
                i++;
                continue;
            }
            int a = i++, to = p->upto[a];
            for (; i < end && p->common[i] > c && p->upto[i] > c; i++) {
                to = p->common[i] < to ? p->common[i] : to;
                to = p->upto[i] < to ? p->upto[i] : to;
            }
            emit(p, a, i, c, to, write);
            p->stack[n++] = a;
            p->stack[n++] = i;
            p->stack[n++] = to;
        }
    }
}

/* ---- what is partial, what is left to the finish ----------------------------------------------------- */

static int finish_items(const planner *p)
{
    int n = 0;
    for (int i = 0; i < p->S; i++)
        n += (p->count[i] + p->o->item_rows - 1) / p->o->item_rows;
    return n;
}

/* Chunks of each sequence that partial items compute, as far as the slots go. */
static void divide(planner *p)
{
    bool few = (int64_t)finish_items(p) * p->o->n_heads_kv < p->o->want_blocks;
    int64_t slots = 0;
    for (int i = 0; i < p->S; i++) {
        int seq = p->order[i], before = p->common[i], after = i + 1 < p->S ? p->common[i + 1] : 0;
        p->upto[i] = few ? whole_chunks(p, seq) : before > after ? before : after;
        int64_t more = (int64_t)p->upto[i] * p->count[seq];
        if (slots + more > p->o->max_slots)
            more = p->upto[i] = 0;
        slots += more;
    }
}

static void finish(planner *p)
{
    cuda_plan *plan = p->plan;
    plan->n_finish = plan->n_slots = 0;
    for (int i = 0; i < p->S; i++) {
        int seq = p->order[i];
        for (int r = 0; r < p->count[seq]; r++) {
            plan->first_slot[p->first[seq] + r] = plan->n_slots;
            plan->n_slots += p->upto[i];
        }
        for (int row = p->at[i]; row < p->at[i + 1]; row += p->o->item_rows) {
            int rows = p->at[i + 1] - row;
            plan->finish[plan->n_finish++] = (rm_attend_item){
                .first_row = row, .n_rows = rows < p->o->item_rows ? rows : p->o->item_rows,
                .chunk = p->upto[i], .table = seq };
        }
    }
}

void cuda_plan_make(const rm_batch *batch, const cuda_plan_options *o, int32_t *memory,
                    cuda_plan *plan)
{
    size_t S = (size_t)batch->n_rows + 1; /* room: there are no more sequences than rows */
    planner p = { .batch = batch, .o = o, .plan = plan, .order = memory, .merge = memory + S,
                  .first = memory + 2 * S, .count = memory + 3 * S, .common = memory + 4 * S,
                  .upto = memory + 5 * S, .at = memory + 6 * S, .stack = memory + 7 * S };
    for (int r = 0; r < batch->n_rows; r++) {
        int seq = batch->seq[r];
        if (!r || seq != batch->seq[r - 1]) {
            p.order[p.S++] = seq;
            p.first[seq] = r;
            p.count[seq] = 0;
        }
        p.count[seq]++;
    }
    sort_sequences(&p);
    p.at[0] = 0;
    for (int i = 0; i < p.S; i++) {
        int seq = p.order[i];
        p.common[i] = i ? common_chunks(&p, p.order[i - 1], seq) : 0;
        p.at[i + 1] = p.at[i] + p.count[seq];
        for (int r = 0; r < p.count[seq]; r++)
            plan->row_list[p.at[i] + r] = p.first[seq] + r;
    }
    plan->n_listed = batch->n_rows;
    plan->n_partial = 0;
    divide(&p);
    walk(&p, false);
    int64_t piece = p.chunks * o->n_heads_kv / (o->want_blocks > 0 ? o->want_blocks : 1);
    p.piece = piece < 1 ? 1 : piece > 64 ? 64 : (int)piece;
    walk(&p, true);
    if (p.overflow) { /* then every finish item does it all */
        plan->n_partial = 0;
        memset(p.upto, 0, (size_t)p.S * sizeof *p.upto);
    }
    finish(&p);
}
