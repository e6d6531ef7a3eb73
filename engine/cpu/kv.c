/* kv.c - pages of keys and values, the angles of the rotary embedding, and the plan of a batch.
 *
 * The plan.  A chunk of 64 positions is read once for all rows of a tile that see the same pages
 * there. Sequences are sorted by their page lists, so that those with a common beginning lie
 * side by side, as in a dictionary; then one number a row, how many leading chunks it shares
 * with the row before, says for every chunk which rows go together. Nothing of this changes a
 * bit: it only decides who is computed beside whom. */
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpu.h"
#include "engine/num.h"

/* ---- pages --------------------------------------------------------------------------------- */

static rm_status rope_new(rm_kv *kv, const rm_rope *rope, int max_positions, rm_error *err)
{
    if (!rope || !rope->n_dims)
        return RM_OK;
    if (rope->n_dims < 0 || rope->n_dims % 2 || rope->n_dims > kv->shape.head_dim)
        return rm_fail(err, RM_E_FORMAT,
                       "rotary embedding of %d dimensions in heads of %d; an even number up to "
                       "that was expected",
                       rope->n_dims, kv->shape.head_dim);
    if (!(rope->theta > 0.0) || !(rope->theta < 1e300))
        return rm_fail(err, RM_E_FORMAT, "rotary frequency base %g; a positive number was expected",
                       rope->theta);
    int half = rope->n_dims / 2;
    kv->rope_dims = rope->n_dims;
    kv->interleaved = rope->interleaved;
    kv->rope_scale = rope->scale;
    kv->rope_magnitude = rope->magnitude > 0.0 ? rope->magnitude : 1.0;
    kv->frequency = calloc((size_t)half, sizeof(double));
    /* Not cleared: memory is touched when a batch first reaches a position (cpu_plan_make). */
    size_t bytes = round_up((size_t)max_positions * (size_t)rope->n_dims * sizeof(float), 64);
    kv->cosine = aligned_alloc(64, bytes);
    kv->sine = aligned_alloc(64, bytes);
    if (!kv->frequency || !kv->cosine || !kv->sine)
        return rm_fail(err, RM_E_MEMORY, "no memory for the rotary table of %d positions",
                       max_positions);
    for (int i = 0; i < half; i++) {
        kv->frequency[i] = rm_pow(rope->theta, -2.0 * i / rope->n_dims);
        if (rope->factors)
            kv->frequency[i] /= (double)rope->factors[i];
        /* rm_sincos reduces its argument exactly below 2^30; no model comes near. */
        if (!((double)max_positions * rope->scale * kv->frequency[i] < 0x1p30))
            return rm_fail(err, RM_E_FORMAT,
                           "rotary angles of up to %g (%d positions, scale %g, frequency %g); less "
                           "than 2^30 was expected",
                           (double)max_positions * rope->scale * kv->frequency[i], max_positions,
                           rope->scale, kv->frequency[i]);
    }
    return RM_OK;
}

rm_status cpu_kv_new(rm_backend *b, const rm_kv_shape *shape, const rm_rope *rope,
                     int max_positions, rm_kv **out, rm_error *err)
{
    int P = shape->page_positions;
    if (P != 16 && P != 32 && P != 64)
        return rm_fail(err, RM_E_ARGUMENT, "%d positions in a page; 16, 32 or 64 were expected", P);
    if (shape->type != RM_F32 && shape->type != RM_BF16)
        return rm_fail(err, RM_E_ARGUMENT, "keys and values can be stored as f32 or bf16 only");
    if (shape->n_layers < 1 || shape->n_kv_heads < 1 || shape->head_dim < 1 || max_positions < 1 ||
        shape->window < 0 || shape->n_layers > 1 << 14 || shape->n_kv_heads > 1 << 14 || shape->head_dim > 1 << 14)
        return rm_fail(err, RM_E_ARGUMENT,
                       "a cache of %d layers, %d heads of %d for %d positions is impossible",
                       shape->n_layers, shape->n_kv_heads, shape->head_dim, max_positions);
    rm_kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return rm_fail(err, RM_E_MEMORY, "no memory for a cache");
    kv->shape = *shape;
    kv->max_positions = max_positions;
    kv->padded_dim = (int)round_up((size_t)shape->head_dim, LANES);
    kv->element_bytes = shape->type == RM_F32 ? 4 : 2;
    kv->key_bytes =
        (size_t)P * kv->element_bytes *
        (shape->type == RM_F32 ? (size_t)shape->head_dim : round_up((size_t)shape->head_dim, 2));
    kv->head_bytes =
        round_up(kv->key_bytes + (size_t)P * kv->element_bytes * (size_t)kv->padded_dim, 64);
    kv->layer_bytes = kv->head_bytes * (size_t)shape->n_kv_heads;
    kv->page_bytes = kv->layer_bytes * (size_t)shape->n_layers;
    rm_status st = rope_new(kv, rope, max_positions, err);
    if (st) {
        cpu_kv_free(b, kv);
        return st;
    }
    *out = kv;
    return RM_OK;
}

void cpu_kv_free(rm_backend *b, rm_kv *kv)
{
    if (!kv)
        return;
    for (size_t i = 0; i < kv->n_slabs; i++)
        cpu_arena_free(b, kv->slab[i]);
    free(kv->slab);
    free(kv->page);
    free(kv->frequency);
    free(kv->cosine);
    free(kv->sine);
    free(kv);
}

size_t cpu_kv_page_bytes(const rm_kv *kv)
{
    return kv->page_bytes;
}

rm_status cpu_kv_reserve(rm_backend *b, rm_kv *kv, size_t n_pages, rm_error *err)
{
    if (n_pages <= kv->n_pages)
        return RM_OK;
    size_t more = n_pages - kv->n_pages;
    if (n_pages > SIZE_MAX / sizeof(void *) / 2 || more > SIZE_MAX / 2 / kv->page_bytes)
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu cache pages", n_pages);
    if (n_pages > kv->page_capacity) {
        size_t capacity = n_pages > 2 * kv->page_capacity ? n_pages : 2 * kv->page_capacity;
        uint8_t **page = realloc(kv->page, capacity * sizeof *page);
        if (!page)
            return rm_fail(err, RM_E_MEMORY, "no memory for %zu cache pages", n_pages);
        kv->page = page;
        kv->page_capacity = capacity;
    }
    if (kv->n_slabs == kv->slab_capacity) {
        size_t capacity = kv->slab_capacity ? 2 * kv->slab_capacity : 16;
        void **slab = realloc(kv->slab, capacity * sizeof *slab);
        if (!slab)
            return rm_fail(err, RM_E_MEMORY, "no memory for %zu cache pages", n_pages);
        kv->slab = slab;
        kv->slab_capacity = capacity;
    }
    /* Zeroed: a kernel may read positions of a page that nobody has written yet and drops them,
     * but they must not be undefined. */
    uint8_t *slab = cpu_arena_alloc(b, more * kv->page_bytes);
    if (!slab)
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu cache pages of %zu bytes", more,
                       kv->page_bytes);
    kv->slab[kv->n_slabs++] = slab;
    for (size_t i = 0; i < more; i++)
        kv->page[kv->n_pages++] = slab + i * kv->page_bytes;
    return RM_OK;
}

/* Fills the rotary table up to `position`, 64 positions at a time. */
static void rope_extend(rm_kv *kv, int position)
{
    int n = kv->rope_dims, half = n / 2;
    if (!n || position < kv->rope_ready)
        return;
    int to = position / 64 * 64 + 64;
    if (to > kv->max_positions)
        to = kv->max_positions;
    for (int p = kv->rope_ready; p < to; p++) {
        float *cosine = kv->cosine + (size_t)p * (size_t)n,
              *sine = kv->sine + (size_t)p * (size_t)n;
        for (int i = 0; i < half; i++) {
            double s, c;
            rm_sincos((double)p * kv->rope_scale * kv->frequency[i], &s, &c);
            int a = kv->interleaved ? 2 * i : i, b = kv->interleaved ? a + 1 : a + half;
            cosine[a] = cosine[b] = (float)(c * kv->rope_magnitude);
            sine[b] = (float)(s * kv->rope_magnitude);
            sine[a] = -sine[b];
        }
    }
    kv->rope_ready = to;
}

/* ---- the plan of a batch --------------------------------------------------------------------- */

void cpu_plan_free(batch_plan *p)
{
    free(p->order);
    memset(p, 0, sizeof *p);
}

bool cpu_plan_grow(batch_plan *p, int rows)
{
    if (rows <= p->capacity)
        return true;
    int *all = malloc((size_t)rows * 6 * sizeof *all);
    if (!all)
        return false;
    free(p->order);
    p->order = all;
    p->common = all + rows;
    p->sequence = all + 2 * (size_t)rows; /* and its merge buffer behind it */
    p->first = all + 4 * (size_t)rows;
    p->count = all + 5 * (size_t)rows;
    p->capacity = rows;
    return true;
}

static int pages_of(const batch_plan *p, int row)
{
    return p->batch.position[row] / p->kv->shape.page_positions + 1;
}

/* Order of two sequences in the dictionary of their page lists. */
static int compare(const batch_plan *p, int s, int t)
{
    const int32_t *a = p->batch.pages[s], *b = p->batch.pages[t];
    int n = pages_of(p, p->first[s] + p->count[s] - 1),
        m = pages_of(p, p->first[t] + p->count[t] - 1);
    for (int i = 0; i < n && i < m; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return n - m;
}

/* Merge sort, bottom up, in `sequence` and the buffer behind it. A batch that is in order
 * already, as forks of one prompt usually are, costs one pass. */
static int *sort_sequences(const batch_plan *p, int n)
{
    int *from = p->sequence, *to = p->sequence + p->capacity;
    bool sorted = true;
    for (int i = 1; i < n && sorted; i++)
        sorted = compare(p, from[i - 1], from[i]) <= 0;
    if (sorted)
        return from;
    for (int width = 1; width < n; width *= 2) {
        for (int lo = 0; lo < n; lo += 2 * width) {
            int mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n;
            for (int i = lo, j = mid, k = lo; k < hi; k++)
                to[k] = j == hi || (i < mid && compare(p, from[i], from[j]) <= 0) ? from[i++]
                                                                                  : from[j++];
        }
        int *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

/* Leading chunks of row a that row b sees in the same pages. */
static int common_chunks(const batch_plan *p, int a, int b)
{
    const rm_batch *batch = &p->batch;
    int na = row_chunks(p, a), nb = row_chunks(p, b), chunks = na < nb ? na : nb;
    if (batch->seq[a] == batch->seq[b])
        return chunks;
    const int32_t *x = batch->pages[batch->seq[a]], *y = batch->pages[batch->seq[b]];
    int per_chunk = RM_CHUNK / p->kv->shape.page_positions;
    int pa = pages_of(p, a), pb = pages_of(p, b);
    for (int c = 0; c < chunks; c++) {
        int end = (c + 1) * per_chunk, ea = pa < end ? pa : end, eb = pb < end ? pb : end;
        if (ea != eb)
            return c;
        for (int i = c * per_chunk; i < ea; i++)
            if (x[i] != y[i])
                return c;
    }
    return chunks;
}

void cpu_plan_make(batch_plan *p, rm_kv *kv, const rm_batch *batch)
{
    int R = batch->n_rows, most = 0, n = 0;
    p->batch = *batch;
    p->kv = kv;
    for (int r = 0; r < R; r++) {
        assert(batch->position[r] >= 0 && batch->position[r] < kv->max_positions);
        if (batch->position[r] > most)
            most = batch->position[r];
        if (!r || batch->seq[r] != batch->seq[r - 1]) {
            p->sequence[n++] = batch->seq[r];
            p->first[batch->seq[r]] = r;
            p->count[batch->seq[r]] = 0;
        }
        p->count[batch->seq[r]]++;
    }
    p->n_chunks = most / RM_CHUNK + 1;
    rope_extend(kv, most);
    const int *sequence = sort_sequences(p, n);
    for (int i = 0, at = 0; i < n; i++)
        for (int j = 0; j < p->count[sequence[i]]; j++, at++) {
            p->order[at] = p->first[sequence[i]] + j;
            p->common[at] = at ? common_chunks(p, p->order[at - 1], p->order[at]) : 0;
        }
}
