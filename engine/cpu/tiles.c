/* tiles.c - the tiles that operations are cut into: what a worker runs between two looks at the
 * counters. Which tile a value belongs to never changes how it is computed. */
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpu.h"

static float *row_of(const rm_tensor *t, int row)
{
    return t->data + (size_t)row * t->stride;
}

static char *input_row(const rm_tensor *t, input_kind kind, int row)
{
    return (char *)t->input[kind] + (size_t)row * cpu_input_stride(kind, t->width);
}

/* Columns [from, from + n) of a row as inputs of a product; `from` is a multiple of 32. */
static void convert(const cpu_isa *isa, const rm_tensor *t, input_kind kind, int row, size_t from,
                    size_t n)
{
    char *to = input_row(t, kind, row);
    to += kind == INPUT_Q8 ? from / 32 * sizeof(q8_block) : from * 2;
    isa->convert(kind, row_of(t, row) + from, n, to);
}

/* Rows of tile `tile`. */
static void rows_of(const op *o, size_t tile, int *from, int *to)
{
    *from = (int)tile * o->rows_per_tile;
    *to = *from + o->rows_per_tile < o->rows ? *from + o->rows_per_tile : o->rows;
}

void tile_embed(const op *o, worker *w, size_t tile)
{
    int r, end;
    for (rows_of(o, tile, &r, &end); r < end; r++)
        w->backend->isa->embed(&o->w->table, (size_t)o->index[r], row_of(o->y, r));
}

void tile_norm(const op *o, worker *w, size_t tile)
{
    const cpu_isa *isa = w->backend->isa;
    int r, end;
    for (rows_of(o, tile, &r, &end); r < end; r++) {
        isa->norm(row_of(o->y, r), row_of(o->x, r), o->w->data, o->eps, o->y->width);
        if (o->emit)
            convert(isa, o->y, o->emit, r, 0, o->y->width);
    }
}

void tile_convert(const op *o, worker *w, size_t tile)
{
    int r, end;
    for (rows_of(o, tile, &r, &end); r < end; r++)
        convert(w->backend->isa, o->y, o->emit, r, 0, o->y->width);
}

void tile_product(const op *o, worker *w, size_t tile)
{
    const cpu_isa *isa = w->backend->isa;
    size_t group = tile / (size_t)o->n_row_tiles;
    int r, end;
    rows_of(o, tile % (size_t)o->n_row_tiles, &r, &end);
    product_args p = {
        .w = o->w, .y = o->y->data, .y_stride = o->y->stride, .epilogue = o->epilogue
    };
    p.x = o->w->input ? o->x->input[o->w->input] : (void *)o->x->data;
    p.x_stride =
        o->w->input ? cpu_input_stride(o->w->input, o->x->width) : o->x->stride * sizeof(float);
    if (o->w->parts)
        cpu_packed_product(isa, &p, group, r, end, w->scratch);
    else if (o->w->source)
        cpu_expand_product(isa, &p, group, r, end, w->scratch);
    else
        isa->product(&p, group, r, end, w->scratch);
    if (!o->emit)
        return;
    size_t columns = o->w->gated ? GROUP / 2 : GROUP, from = group * columns;
    size_t n = o->y->width - from < columns ? o->y->width - from : columns;
    for (; r < end; r++)
        convert(isa, o->y, o->emit, r, from, n);
}

void tile_rope_store(const op *o, worker *w, size_t tile)
{
    const cpu_isa *isa = w->backend->isa;
    rm_kv *kv = o->kv;
    const rm_kv_shape *s = &kv->shape;
    size_t C = (size_t)s->head_dim, P = (size_t)s->page_positions;
    int r, end;
    for (rows_of(o, tile, &r, &end); r < end; r++) {
        float *q = row_of(o->y, r), *k = q + (size_t)o->n_heads * C,
              *v = k + (size_t)s->n_kv_heads * C;
        int position = o->plan->batch.position[r];
        if (kv->rope_dims) {
            const float *cosine = kv->cosine + (size_t)position * (size_t)kv->rope_dims;
            const float *sine = kv->sine + (size_t)position * (size_t)kv->rope_dims;
            for (int h = 0; h < o->n_heads + s->n_kv_heads; h++)
                isa->rope(q + (size_t)h * C, cosine, sine, kv->rope_dims, kv->interleaved);
        }
        int32_t id = o->plan->batch.pages[o->plan->batch.seq[r]][(size_t)position / P];
        assert(id >= 0 && (size_t)id < kv->n_pages);
        uint8_t *head = kv->page[id] + (size_t)o->layer * kv->layer_bytes;
        for (int g = 0; g < s->n_kv_heads; g++, k += C, v += C, head += kv->head_bytes)
            isa->store_kv(s->type, k, v, s->head_dim, s->page_positions, position % (int)P, head,
                          head + kv->key_bytes);
    }
}

/* ---- attention --------------------------------------------------------------------------------
 *
 * A tile is some rows, neighbours in the plan's order, under one kv head: its queries are rows
 * times the heads of that kv head. It walks the chunks upwards; at each, neighbours that share
 * the chunk's pages go through the kernel together. When there are too few tiles for the workers
 * (one long sequence), a tile is one chunk only, its (max, sum, out) go to memory, and a second
 * operation merges them in the same order. */

size_t cpu_attention_scratch_bytes(int n_queries, const rm_kv *kv)
{
    size_t floats = 2 * (size_t)kv->padded_dim + RM_CHUNK + 2 + 1;
    return cpu_window_bytes(kv) +
           ((size_t)n_queries * floats + (size_t)kv->shape.head_dim + LANES) * sizeof(float);
}

typedef struct attention_tile {
    const op *o;
    const cpu_isa *isa;
    int g, per_kv;    /* kv head, query heads of it */
    int from, to;     /* rows, as places in the plan's order */
    attend_args args; /* what does not change from chunk to chunk; pointers at the first query */
    int *valid;
    void *window; /* scratch of cpu_window_gather */
} attention_tile;

/* The queries of rows [from, to) divided by sqrt(C), in the cache's type, and scratch. */
static void tile_begin(attention_tile *t, const op *o, worker *w, int g, int row_tile)
{
    const rm_kv *kv = o->kv;
    int C = kv->shape.head_dim;
    *t = (attention_tile){
        .o = o, .isa = w->backend->isa, .g = g, .per_kv = o->n_heads / kv->shape.n_kv_heads
    };
    rows_of(o, (size_t)row_tile, &t->from, &t->to);
    int n = (t->to - t->from) * t->per_kv;
    bool bf16 = kv->shape.type == RM_BF16;
    size_t stride = bf16 ? (size_t)kv->padded_dim * 2 : (size_t)C * sizeof(float);
    t->window = w->scratch;
    float *q = (float *)(void *)((char *)w->scratch + cpu_window_bytes(kv)),
          *scores = q + n * kv->padded_dim, *out = scores + n * RM_CHUNK,
          *max = out + n * kv->padded_dim, *scaled = max + 3 * n;
    t->valid = (int *)(void *)(max + 2 * n);
    t->args = (attend_args){ .head_dim = C,
                             .padded_dim = kv->padded_dim,
                             .page_positions = kv->shape.page_positions,
                             .type = kv->shape.type,
                             .q = q,
                             .q_stride = stride,
                             .max = max,
                             .sum = max + n,
                             .out = out,
                             .scores = scores };
    float scale = 1.0f / __builtin_sqrtf((float)C);
    char *to = (char *)q;
    for (int i = t->from; i < t->to; i++) {
        const float *row = row_of(o->x, o->plan->order[i]) + g * t->per_kv * C;
        for (int h = 0; h < t->per_kv; h++, row += C, to += stride) {
            t->isa->scale(bf16 ? scaled : (float *)(void *)to, row, scale, (size_t)C);
            if (bf16)
                t->isa->convert(INPUT_BF16, scaled, (size_t)C, to);
        }
    }
}

/* Keys and values of `row` at a chunk: where each of its pages has this tile's head. */
static int chunk_pages(const attention_tile *t, int chunk, int row, const void *heads[CHUNK_PAGES])
{
    const batch_plan *p = t->o->plan;
    const rm_kv *kv = t->o->kv;
    int P = kv->shape.page_positions, page0 = chunk * RM_CHUNK / P,
        page1 = p->batch.position[row] / P, n = 0;
    const int32_t *pages = p->batch.pages[p->batch.seq[row]];
    size_t at = (size_t)t->o->layer * kv->layer_bytes + (size_t)t->g * kv->head_bytes;
    for (; n < RM_CHUNK / P && page0 + n <= page1; n++)
        heads[n] = kv->page[pages[page0 + n]] + at;
    return n;
}

/* The kernel's arguments for the queries of rows from place i on. */
static attend_args queries_from(const attention_tile *t, int i)
{
    attend_args a = t->args;
    size_t first = (size_t)(i - t->from) * (size_t)t->per_kv;
    a.q = (const char *)a.q + first * a.q_stride;
    a.valid = t->valid + first;
    a.max += first;
    a.sum += first;
    a.out += first * (size_t)a.padded_dim;
    a.scores += first * RM_CHUNK;
    return a;
}

/* Whether a row sees the positions of a chunk from the chunk's first on: its window, if it has
 * one, began before. */
static bool sees_from_start(const batch_plan *p, int row, int chunk)
{
    int begin = row_begin(p, row);
    return begin == 0 || begin < chunk * RM_CHUNK;
}

/* The chunk in which the window of the row at place i begins: its first, and its own. */
static void window_chunk(attention_tile *t, int i, int chunk)
{
    const batch_plan *p = t->o->plan;
    int row = p->order[i], from = row_begin(p, row) - chunk * RM_CHUNK,
        to = p->batch.position[row] + 1 - chunk * RM_CHUNK;
    const void *keys[CHUNK_PAGES] = { NULL };
    attend_args a = queries_from(t, i);
    if (to > RM_CHUNK)
        to = RM_CHUNK;
    chunk_pages(t, chunk, row, keys);
    cpu_window_gather(t->o->kv, keys, from, to, t->window, &a);
    for (int h = 0; h < t->per_kv; h++)
        t->valid[(i - t->from) * t->per_kv + h] = to - from;
    a.n_queries = t->per_kv;
    a.first = true;
    t->isa->attend(&a);
}

/* Chunk `chunk` for those rows of the tile that reach it. */
static void tile_chunk(attention_tile *t, int chunk)
{
    const batch_plan *p = t->o->plan;
    const rm_kv *kv = t->o->kv;
    for (int i = t->from; i < t->to;) {
        if (row_chunks(p, p->order[i]) <= chunk) {
            i++;
            continue;
        }
        if (!sees_from_start(p, p->order[i], chunk)) {
            if (row_begin(p, p->order[i]) / RM_CHUNK == chunk)
                window_chunk(t, i, chunk);
            i++;
            continue;
        }
        int end = i, longest = p->order[i];
        do {
            int row = p->order[end], n = p->batch.position[row] + 1 - chunk * RM_CHUNK;
            if (p->batch.position[row] > p->batch.position[longest])
                longest = row;
            for (int h = 0; h < t->per_kv; h++)
                t->valid[(end - t->from) * t->per_kv + h] = n < RM_CHUNK ? n : RM_CHUNK;
            end++;
        } while (end < t->to && p->common[end] > chunk &&
                 sees_from_start(p, p->order[end], chunk));

        attend_args a = queries_from(t, i);
        a.n_queries = (end - i) * t->per_kv;
        a.first = a.first || chunk == 0;
        int n = chunk_pages(t, chunk, longest, a.keys);
        for (int j = 0; j < n; j++)
            a.values[j] = (const char *)a.keys[j] + kv->key_bytes;
        if (end < t->to && row_chunks(p, p->order[end]) > chunk)
            chunk_pages(t, chunk, p->order[end], a.next);
        a.next_bytes = (int)kv->head_bytes;
        t->isa->attend(&a);
        i = end;
    }
}

/* Where partial results of (chunk, kv head) begin: max [n], sum [n], out [n][Cp], n = R H / G. */
static float *partial_of(const op *o, int chunk, int g)
{
    size_t n = (size_t)o->rows * (size_t)(o->n_heads / o->kv->shape.n_kv_heads);
    size_t floats = round_up(n * 2, LANES) + n * (size_t)o->kv->padded_dim;
    return o->partial + ((size_t)chunk * (size_t)o->kv->shape.n_kv_heads + (size_t)g) * floats;
}

void tile_attention(const op *o, worker *w, size_t tile)
{
    attention_tile t;
    int chunks = o->plan->n_chunks, only = -1, G = o->kv->shape.n_kv_heads;
    if (o->split) {
        only = (int)(tile % (size_t)chunks);
        tile /= (size_t)chunks;
    }
    tile_begin(&t, o, w, (int)(tile % (size_t)G), (int)(tile / (size_t)G));
    if (o->split) {
        size_t n = (size_t)o->rows * (size_t)t.per_kv, first = (size_t)t.from * (size_t)t.per_kv;
        float *to = partial_of(o, only, t.g);
        t.args.first = true;
        t.args.max = to + first;
        t.args.sum = to + n + first;
        t.args.out = to + round_up(n * 2, LANES) + first * (size_t)t.args.padded_dim;
        tile_chunk(&t, only);
        return;
    }
    for (int chunk = 0; chunk < chunks; chunk++)
        tile_chunk(&t, chunk);
    size_t C = (size_t)t.args.head_dim, width = (size_t)t.per_kv * C;
    for (int i = t.from, n = 0; i < t.to; i++) {
        float *y = row_of(o->y, o->plan->order[i]) + (size_t)t.g * width;
        for (int h = 0; h < t.per_kv; h++, n++)
            t.isa->finish(y + (size_t)h * C, t.args.out + (size_t)n * (size_t)t.args.padded_dim,
                          t.args.sum[n], C);
        if (o->emit)
            convert(t.isa, o->y, o->emit, o->plan->order[i], (size_t)t.g * width, width);
    }
}

/* Merges the chunks of one row under one kv head. */
void tile_merge(const op *o, worker *w, size_t tile)
{
    const cpu_isa *isa = w->backend->isa;
    int G = o->kv->shape.n_kv_heads, g = (int)(tile % (size_t)G), i = (int)(tile / (size_t)G),
        per_kv = o->n_heads / G;
    int row = o->plan->order[i];
    size_t C = (size_t)o->kv->shape.head_dim, padded = (size_t)o->kv->padded_dim;
    size_t n = (size_t)o->rows * (size_t)per_kv;
    float *y = row_of(o->y, row) + (size_t)g * (size_t)per_kv * C, *out = w->scratch;
    for (int h = 0; h < per_kv; h++) {
        size_t at = (size_t)i * (size_t)per_kv + (size_t)h;
        float max = 0.0f, sum = 0.0f;
        int first = row_begin(o->plan, row) / RM_CHUNK;
        for (int c = first; c < row_chunks(o->plan, row); c++) {
            const float *from = partial_of(o, c, g),
                        *o2 = from + round_up(n * 2, LANES) + at * padded;
            if (c == first) {
                max = from[at];
                sum = from[n + at];
                memcpy(out, o2, padded * sizeof *out);
            } else {
                isa->merge(&max, &sum, out, from[at], from[n + at], o2, padded);
            }
        }
        isa->finish(y + (size_t)h * C, out, sum, C);
    }
    if (o->emit)
        convert(isa, o->y, o->emit, row, (size_t)g * (size_t)per_kv * C, (size_t)per_kv * C);
}

/* ---- the rest ---------------------------------------------------------------------------------
 */

void tile_copy_rows(const op *o, worker *w, size_t tile)
{
    (void)w;
    int i, end;
    for (rows_of(o, tile, &i, &end); i < end; i++)
        memcpy(row_of(o->y, o->to[i]), row_of(o->x, o->index[i]), o->x->width * sizeof(float));
}

void tile_copy_page(const op *o, worker *w, size_t tile)
{
    (void)w;
    size_t at = tile * o->kv->layer_bytes;
    memcpy(o->kv->page[o->rows] + at, o->kv->page[o->n] + at, o->kv->layer_bytes);
}

void tile_pick(const op *o, worker *w, size_t tile)
{
    const rm_pick *p = &o->picks[tile];
    const float *rows[RM_MAX_MEMBERS] = { NULL };
    for (int m = 0; m < p->n_members; m++)
        rows[m] = row_of(p->member[m].logits, p->member[m].row);
    rm_pick_serve(p, rows, w->backend->isa->rows, w->scratch);
}
