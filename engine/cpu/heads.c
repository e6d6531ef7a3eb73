/* heads.c - what some architectures do to single heads: queries and keys normalised (qwen3), and
 * attention that sees the last W positions only (mistral).
 *
 * A window begins anywhere in a chunk. The positions of that chunk which a query sees are copied
 * to the front of a page of their own, and the kernel computes them as a chunk that begins there:
 * what comes out depends on the query and on those positions, and neither on the size of pages
 * nor on what lies before the window. Every later chunk is whole and read in place, so a window
 * costs one copy of at most a chunk for each row. */
#include <string.h>

#include "engine/cpu/cpu.h"

void tile_head_norm(const op *o, worker *w, size_t tile)
{
    const cpu_isa *isa = w->backend->isa;
    size_t C = o->w->n;
    float *head = w->scratch; /* [C padded]: the kernel works on whole vectors */
    int r = (int)tile * o->rows_per_tile,
        end = r + o->rows_per_tile < o->rows ? r + o->rows_per_tile : o->rows;
    memset(head, 0, round_up(C, LANES) * sizeof *head);
    for (; r < end; r++) {
        float *at = o->y->data + (size_t)r * o->y->stride + (size_t)o->n * C;
        for (int h = 0; h < o->n_heads; h++, at += C) {
            memcpy(head, at, C * sizeof *head);
            isa->norm(head, head, o->w->data, o->eps, C);
            memcpy(at, head, C * sizeof *head);
        }
    }
}

size_t cpu_window_bytes(const rm_kv *kv)
{
    if (!kv->shape.window)
        return 0;
    size_t values = (size_t)kv->shape.head_dim + (size_t)kv->padded_dim;
    return round_up(RM_CHUNK * values * kv->element_bytes, 64);
}

void cpu_window_gather(const rm_kv *kv, const void *const keys[CHUNK_PAGES], int from, int to,
                       void *scratch, attend_args *a)
{
    size_t C = (size_t)kv->shape.head_dim, P = (size_t)kv->shape.page_positions,
           e = kv->element_bytes, row = (size_t)kv->padded_dim * e;
    char *to_keys = scratch, *to_values = to_keys + RM_CHUNK * C * e;
    for (size_t t = (size_t)from, n; t < (size_t)to; t += n) { /* the rest of one page */
        const char *page = keys[t / P];
        size_t at = t % P, lane = t - (size_t)from;
        n = P - at < (size_t)to - t ? P - at : (size_t)to - t;
        for (size_t c = 0; c < C; c++)
            memcpy(to_keys + (c * RM_CHUNK + lane) * e, page + (c * P + at) * e, n * e);
        memcpy(to_values + lane * row, page + kv->key_bytes + at * row, n * row);
    }
    a->page_positions = RM_CHUNK;
    a->keys[0] = to_keys;
    a->values[0] = to_values;
}
