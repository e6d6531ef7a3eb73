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

/* Dimensions as keys hold them: bf16 in pairs. */
static size_t key_dims(const rm_kv *kv)
{
    size_t C = (size_t)kv->shape.head_dim;
    return kv->shape.type == RM_F32 ? C : round_up(C, 2);
}

size_t cpu_window_bytes(const rm_kv *kv)
{
    if (!kv->shape.window)
        return 0;
    return round_up(RM_CHUNK * (key_dims(kv) + (size_t)kv->padded_dim) * kv->element_bytes, 64);
}

/* A row of values to position `lane` of pairs of positions. */
static void put_paired(const char *page, size_t at, size_t lane, size_t dims, char *to)
{
    const uint16_t *from = (const uint16_t *)(const void *)page + at / 2 * dims * 2 + at % 2;
    uint16_t *pair = (uint16_t *)(void *)to + lane / 2 * dims * 2 + lane % 2;
    for (size_t d = 0; d < dims; d++)
        pair[2 * d] = from[2 * d];
}

void cpu_window_gather(const rm_kv *kv, const void *const keys[CHUNK_PAGES], int from, int to,
                       void *scratch, attend_args *a)
{
    bool paired = kv->shape.type == RM_BF16;
    size_t P = (size_t)kv->shape.page_positions, dims = (size_t)kv->padded_dim;
    size_t rows = key_dims(kv) / (paired ? 2 : 1); /* of keys: one 4-byte cell a position */
    char *to_keys = scratch, *to_values = to_keys + RM_CHUNK * rows * 4;
    if (paired) /* an odd last position is half a pair: the other half must be zero */
        memset(to_values + (size_t)((to - from - 1) / 2) * dims * 4, 0, dims * 4);
    for (size_t t = (size_t)from, n; t < (size_t)to; t += n) { /* the rest of one page */
        const char *page = keys[t / P];
        size_t at = t % P, lane = t - (size_t)from;
        n = P - at < (size_t)to - t ? P - at : (size_t)to - t;
        for (size_t c = 0; c < rows; c++)
            memcpy(to_keys + (c * RM_CHUNK + lane) * 4, page + (c * P + at) * 4, n * 4);
        for (size_t i = 0; i < n; i++) {
            if (paired)
                put_paired(page + kv->key_bytes, at + i, lane + i, dims, to_values);
            else
                memcpy(to_values + (lane + i) * dims * 4, page + kv->key_bytes + (at + i) * dims * 4,
                       dims * 4);
        }
    }
    a->page_positions = RM_CHUNK;
    a->keys[0] = to_keys;
    a->values[0] = to_values;
}
