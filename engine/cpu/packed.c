/* packed.c - block-quantised weights packed for int8 dot products, and their tiles.
 *
 * As other packed weights (cpu.h) they lie in groups of 64 lanes, a lane an output; along K by
 * super-blocks, the blocks of the type (32 or 256 values). With L lanes in the group:
 *
 *   header   q4_0, q5_0, q8_0   f16 d[L]
 *            q4_1, q5_1         f16 d[L], f16 m[L]
 *            q4_k, q5_k         f16 d[L], f16 m[L], u8 scale[8][L], u8 minimum[8][L]
 *            q6_k               f16 d[L], int8 scale[16][L]
 *   for each 32 values, k = 4 j + i
 *            nibbles            u8 [4][L][4]: the low 4 bits of j < 4 low, of j >= 4 high
 *            q5_*               u8 [L][4]: bit j is the fifth of k
 *            q6_k               u8 [2][L][4]: bits 2 (j mod 4) of byte j / 4 are the upper two
 *            q8_0               u8 [8][L][4] instead of all that: q + 128
 *
 * Stacked matrices may be of different types (files mix them within one layer): each is a part
 * with groups of its own. A part's outputs begin where those before it end, and kernels store
 * whole vectors, so all parts but the last must have multiples of 16 outputs; other stacks, and
 * gated pairs of two types, are not packed (expand.c). */
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpu.h"

size_t cpu_packed_header(rm_dtype type)
{
    switch (type) {
    case RM_Q4_1:
    case RM_Q5_1: return 4;
    case RM_Q4_K:
    case RM_Q5_K: return 4 + 16;
    case RM_Q6_K: return 2 + 16;
    default: return 2;
    }
}

size_t cpu_packed_block(rm_dtype type)
{
    switch (type) {
    case RM_Q8_0: return 32;
    case RM_Q5_0:
    case RM_Q5_1:
    case RM_Q5_K: return 16 + 4;
    case RM_Q6_K: return 16 + 8;
    default: return 16;
    }
}

static size_t lane_bytes(rm_dtype type, size_t k)
{
    size_t values = rm_block_values(type);
    return k / values * (cpu_packed_header(type) + values / 32 * cpu_packed_block(type));
}

/* ---- reading a block ----------------------------------------------------------------------- */

/* The 32 unsigned values of sub-block j. */
static void sub_block(rm_dtype type, const uint8_t *b, int j, uint8_t q[32])
{
    for (int i = 0; i < 32; i++) {
        int n = i % 16, high = i / 16 * 4;
        switch (type) {
        case RM_Q4_0: q[i] = b[2 + n] >> high & 15; break;
        case RM_Q4_1: q[i] = b[4 + n] >> high & 15; break;
        case RM_Q5_0: q[i] = (uint8_t)((b[6 + n] >> high & 15) | (b[2 + i / 8] >> i % 8 & 1) << 4); break;
        case RM_Q5_1: q[i] = (uint8_t)((b[8 + n] >> high & 15) | (b[4 + i / 8] >> i % 8 & 1) << 4); break;
        case RM_Q4_K: q[i] = b[16 + 32 * (j / 2) + i] >> j % 2 * 4 & 15; break;
        case RM_Q5_K:
            q[i] = (uint8_t)((b[48 + 32 * (j / 2) + i] >> j % 2 * 4 & 15) | (b[16 + i] >> j & 1) << 4);
            break;
        case RM_Q6_K: { /* 32 r + i of half j / 4 */
            int half = j / 4, r = j % 4;
            q[i] = (uint8_t)((b[64 * half + 32 * (r % 2) + i] >> r / 2 * 4 & 15) |
                             (b[128 + 32 * half + i] >> 2 * r & 3) << 4);
            break;
        }
        default: q[i] = b[2 + i] ^ 0x80; break;
        }
    }
}

static void put_header(rm_dtype type, const uint8_t *b, size_t lanes, size_t lane, uint8_t *to)
{
    memcpy(to + 2 * lane, b + (type == RM_Q6_K ? offsetof(rm_q6_k_block, d) : 0), 2);
    if (type == RM_Q6_K) {
        for (size_t s = 0; s < 16; s++)
            to[(2 + s) * lanes + lane] = b[offsetof(rm_q6_k_block, scales) + s];
    } else if (cpu_packed_header(type) >= 4) {
        memcpy(to + 2 * lanes + 2 * lane, b + 2, 2);
    }
    for (int j = 0; j < 8 && (type == RM_Q4_K || type == RM_Q5_K); j++) {
        unsigned scale, minimum;
        rm_k_scale(b + 4, j, &scale, &minimum);
        to[(4 + (size_t)j) * lanes + lane] = (uint8_t)scale;
        to[(12 + (size_t)j) * lanes + lane] = (uint8_t)minimum;
    }
}

static void put_bits(rm_dtype type, const uint8_t q[32], size_t lanes, size_t lane, uint8_t *to)
{
    for (size_t k = 0; k < 32; k++) {
        size_t j = k / 4, i = lane * 4 + k % 4, row = lanes * 4;
        if (type == RM_Q8_0) {
            to[j * row + i] = q[k];
            continue;
        }
        to[j % 4 * row + i] |= (uint8_t)((q[k] & 15) << (j / 4 * 4));
        uint8_t *more = to + 4 * row;
        if (type == RM_Q6_K)
            more[j / 4 * row + i] |= (uint8_t)(q[k] >> 4 << (j % 4 * 2));
        else if (cpu_packed_block(type) == 20)
            more[i] |= (uint8_t)(q[k] >> 4 << j);
    }
}

/* Row `row` of m to a lane; the group was zero. */
static void pack_lane(const rm_weight *w, const rm_matrix *m, size_t row, size_t group, size_t lane)
{
    rm_dtype type = w->packed;
    size_t lanes = (size_t)group_vectors(w, group) * LANES;
    uint8_t *to = (uint8_t *)w->data + group * w->group_bytes;
    const uint8_t *b = (const uint8_t *)m->data + row * rm_dtype_bytes(type, w->k);
    for (size_t k = 0; k < w->k; k += rm_block_values(type), b += rm_block_bytes(type)) {
        put_header(type, b, lanes, lane, to);
        to += cpu_packed_header(type) * lanes;
        for (int j = 0; j < (int)rm_block_values(type) / 32; j++) {
            uint8_t q[32];
            sub_block(type, b, j, q);
            put_bits(type, q, lanes, lane, to);
            to += cpu_packed_block(type) * lanes;
        }
    }
}

/* ---- weights ------------------------------------------------------------------------------- */

bool cpu_can_pack(const rm_matrix *m, int n, bool gated)
{
    bool any = false;
    for (int i = 0; i < n; i++) {
        if (m[i].type < RM_Q8_0 || (gated && m[i].type != m[0].type) ||
            (!gated && i < n - 1 && m[i].n_out % LANES))
            return false;
        any |= m[i].type > RM_Q8_0;
    }
    return any;
}

/* One part: a matrix, or a gated pair. */
static bool pack_part(rm_backend *b, rm_weight *w, const rm_matrix *m, bool gated)
{
    size_t per_group = gated ? GROUP / 2 : GROUP, n = m->n_out;
    *w = (rm_weight){ .class = WEIGHT_PANELS, .kind = PANEL_Q8, .input = INPUT_Q8, .gated = gated,
                      .n = n, .k = m->n_in, .packed = m->type };
    w->n_groups = (n + per_group - 1) / per_group;
    size_t rest = n - (w->n_groups - 1) * per_group;
    w->last_vectors = (int)((rest + LANES - 1) / LANES) * (gated ? 2 : 1);
    w->group_bytes = lane_bytes(m->type, w->k) * GROUP;
    w->bytes = (w->n_groups - 1) * w->group_bytes +
               lane_bytes(m->type, w->k) * LANES * (size_t)w->last_vectors;
    w->data = cpu_arena_alloc(b, w->bytes); /* zeroed */
    for (size_t row = 0; w->data && row < n; row++) {
        size_t group = row / per_group, lane = row % per_group;
        pack_lane(w, m, row, group, lane);
        if (gated)
            pack_lane(w, m + 1, row, group, (size_t)group_vectors(w, group) / 2 * LANES + lane);
    }
    return w->data != NULL;
}

/* Turns `w`, which has its sizes and bias but no panels, into packed parts. */
rm_status cpu_pack_parts(rm_backend *b, rm_weight *w, const rm_matrix *m, int n, rm_error *err)
{
    w->n_parts = w->gated ? 1 : n;
    w->parts = calloc((size_t)w->n_parts, sizeof *w->parts);
    bool good = w->parts != NULL;
    w->n_groups = 0;
    w->bytes = 0;
    for (int i = 0; i < w->n_parts && good; i++) {
        good = pack_part(b, &w->parts[i], &m[i], w->gated);
        w->n_groups += w->parts[i].n_groups;
        w->bytes += w->parts[i].bytes;
    }
    return good ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for the packed form of a matrix of "
                                  "%zu by %zu", w->n, w->k);
}

void cpu_packed_product(const cpu_isa *isa, const product_args *args, size_t group, int row0,
                        int row1, float *sums)
{
    const rm_weight *w = args->w;
    product_args p = *args;
    size_t column = 0;
    int i = 0;
    for (; group >= w->parts[i].n_groups; i++) {
        group -= w->parts[i].n_groups;
        column += w->parts[i].n;
    }
    rm_weight part = w->parts[i];
    part.bias = w->bias ? w->bias + column : NULL;
    p.w = &part;
    p.y += column;
    isa->blocks(&p, group, row0, row1, sums);
}

void cpu_packed_free(rm_backend *b, rm_weight *w)
{
    for (int i = 0; i < w->n_parts && w->parts; i++)
        cpu_arena_free(b, w->parts[i].data);
    free(w->parts);
}
