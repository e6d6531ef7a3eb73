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
 * Stacked matrices may be of different types (files mix them within one layer): those of one type,
 * side by side, are a part with groups of its own. A part's outputs begin where those before it end, and kernels store
 * whole vectors, so all parts but the last must have multiples of 16 outputs; other stacks, and
 * gated pairs of two types, are not packed (expand.c). */
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpu.h"

/* ---- one block ------------------------------------------------------------------------------- */

static uint32_t word(const uint8_t *at)
{
    uint32_t w;
    memcpy(&w, at, sizeof w);
    return w;
}

/* The 32 unsigned values of sub-block j, four in a word (the first lowest). */
static void read_words(rm_dtype type, const uint8_t *b, int j, uint32_t w[8])
{
    const uint32_t nibbles = 0x0f0f0f0f, ones = 0x01010101, threes = 0x03030303;
    const uint8_t *low = b + rm_block_bytes(type) - 16, *high = b; /* q4_0 to q5_1: nibbles are last */
    int shift = j % 2 * 4;
    switch (type) {
    case RM_Q4_0:
    case RM_Q4_1:
    case RM_Q5_0:
    case RM_Q5_1:
        for (int i = 0; i < 4; i++) {
            w[i] = word(low + 4 * i) & nibbles;
            w[i + 4] = word(low + 4 * i) >> 4 & nibbles;
        }
        if (type == RM_Q4_0 || type == RM_Q4_1)
            break;
        for (int i = 0; i < 8; i++) { /* the product puts bits 0 .. 3 at 0, 8, 16, 24 */
            uint32_t fifths = word(low - 4) >> 4 * i & 15;
            w[i] |= (fifths * 0x00204081 & ones) << 4;
        }
        break;
    case RM_Q4_K:
        low = b + offsetof(rm_q4_k_block, qs) + 32 * (j / 2);
        for (int i = 0; i < 8; i++)
            w[i] = word(low + 4 * i) >> shift & nibbles;
        break;
    case RM_Q5_K:
        low = b + offsetof(rm_q5_k_block, qs) + 32 * (j / 2);
        high = b + offsetof(rm_q5_k_block, qh);
        for (int i = 0; i < 8; i++)
            w[i] = (word(low + 4 * i) >> shift & nibbles) | (word(high + 4 * i) >> j & ones) << 4;
        break;
    case RM_Q6_K: /* sub-block 32 r of half j / 4 */
        low = b + 64 * (j / 4) + 32 * (j % 2);
        high = b + offsetof(rm_q6_k_block, qh) + 32 * (j / 4);
        for (int i = 0; i < 8; i++)
            w[i] = (word(low + 4 * i) >> j % 4 / 2 * 4 & nibbles) |
                   (word(high + 4 * i) >> j % 4 * 2 & threes) << 4;
        break;
    default: /* q8_0 */
        for (int i = 0; i < 8; i++)
            w[i] = word(b + 2 + 4 * i) ^ 0x80808080;
        break;
    }
}

static void put_word(uint8_t *to, size_t lanes, size_t lane, int row, uint32_t w)
{
    memcpy(to + ((size_t)row * lanes + lane) * 4, &w, sizeof w);
}

static void put_words(rm_dtype type, const uint32_t w[8], size_t lanes, size_t lane, uint8_t *to)
{
    if (type == RM_Q8_0) {
        for (int j = 0; j < 8; j++)
            put_word(to, lanes, lane, j, w[j]);
        return;
    }
    for (int j = 0; j < 4; j++)
        put_word(to, lanes, lane, j, (w[j] & 0x0f0f0f0f) | (w[j + 4] & 0x0f0f0f0f) << 4);
    if (type == RM_Q6_K) {
        uint32_t more[2] = { 0 };
        for (int j = 0; j < 8; j++)
            more[j / 4] |= (w[j] >> 4 & 0x03030303) << 2 * (j % 4);
        put_word(to, lanes, lane, 4, more[0]);
        put_word(to, lanes, lane, 5, more[1]);
    } else if (cpu_packed_block(type) == 20) {
        uint32_t more = 0;
        for (int j = 0; j < 8; j++)
            more |= (w[j] >> 4 & 0x01010101) << j;
        put_word(to, lanes, lane, 4, more);
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

/* ---- a group --------------------------------------------------------------------------------- */

/* What a part is made of. */
typedef struct making {
    rm_weight *w;
    const rm_matrix *m; /* [n] stacked, or a gated pair */
    int n;
} making;

/* Super-block by super-block, so that what is written stays in the first-level cache until all lanes
 * have come. Lanes beyond the last output stay zero. */
static void tile_pack_blocks(const op *o, worker *self, size_t group)
{
    (void)self;
    const making *made = o->args;
    const rm_weight *w = made->w;
    rm_dtype type = w->packed;
    size_t lanes = (size_t)group_vectors(w, group) * LANES, values = cpu_block_values(type);
    uint8_t *to = (uint8_t *)w->data + group * w->group_bytes;
    const uint8_t *from[GROUP] = { NULL };
    for (size_t lane = 0, row; lane < lanes; lane++) {
        const rm_matrix *m = cpu_row_of_lane(w, made->m, made->n, group, lane, &row);
        if (m)
            from[lane] = (const uint8_t *)m->data + row * rm_dtype_bytes(type, w->k);
    }
    for (size_t k = 0; k < w->k; k += values, to += cpu_packed_lane(type, values) * lanes)
        for (size_t lane = 0; lane < lanes; lane++) {
            if (!from[lane])
                continue;
            uint8_t *block = to + cpu_packed_header(type) * lanes;
            put_header(type, from[lane], lanes, lane, to);
            for (int j = 0; j < (int)values / 32; j++, block += cpu_packed_block(type) * lanes) {
                uint32_t w32[8];
                read_words(type, from[lane], j, w32);
                put_words(type, w32, lanes, lane, block);
            }
            from[lane] += rm_block_bytes(type);
        }
}

/* ---- weights ------------------------------------------------------------------------------- */

/* Matrices from m[0] on that are of one type: they make one part. */
static int run_of(const rm_matrix *m, int n)
{
    int i = 1;
    while (i < n && m[i].type == m[0].type)
        i++;
    return i;
}

bool cpu_can_pack(const rm_matrix *m, int n, bool gated)
{
    for (int i = 0; i < n; i++)
        if (m[i].type < RM_Q8_0)
            return false;
    if (gated)
        return m[0].type == m[1].type;
    for (int at = 0, run; at < n; at += run) {
        size_t n_out = 0;
        run = run_of(m + at, n - at);
        for (int i = 0; i < run; i++)
            n_out += m[at + i].n_out;
        if (at + run < n && n_out % LANES)
            return false;
    }
    return true;
}

/* One part: matrices of one type, or a gated pair of n_out outputs. */
static bool pack_part(rm_backend *b, rm_weight *w, const rm_matrix *m, int n, size_t n_out, bool gated)
{
    size_t per_group = gated ? GROUP / 2 : GROUP;
    *w = (rm_weight){ .class = WEIGHT_PANELS, .kind = PANEL_Q8, .input = INPUT_Q8, .gated = gated,
                      .n = n_out, .k = m->n_in, .packed = m->type };
    w->n_groups = (n_out + per_group - 1) / per_group;
    size_t rest = n_out - (w->n_groups - 1) * per_group;
    w->last_vectors = (int)((rest + LANES - 1) / LANES) * (gated ? 2 : 1);
    w->group_bytes = cpu_packed_lane(m->type, w->k) * GROUP;
    w->bytes = (w->n_groups - 1) * w->group_bytes +
               cpu_packed_lane(m->type, w->k) * LANES * (size_t)w->last_vectors;
    w->data = cpu_arena_alloc(b, w->bytes); /* zeroed */
    if (w->data)
        cpu_run_tiles(b, tile_pack_blocks, w->n_groups, &(making){ w, m, n });
    return w->data != NULL;
}

/* Turns `w`, which has its sizes and bias but no panels, into packed parts. */
rm_status cpu_pack_parts(rm_backend *b, rm_weight *w, const rm_matrix *m, int n, rm_error *err)
{
    w->parts = calloc((size_t)n, sizeof *w->parts);
    bool good = w->parts != NULL;
    w->n_groups = 0;
    w->bytes = 0;
    for (int at = 0, run; at < n && good; at += run) {
        rm_weight *part = &w->parts[w->n_parts++];
        size_t n_out = 0;
        run = w->gated ? n : run_of(m + at, n - at);
        for (int i = 0; i < run && !w->gated; i++)
            n_out += m[at + i].n_out;
        good = pack_part(b, part, &m[at], run, w->gated ? w->n : n_out, w->gated);
        w->n_groups += part->n_groups;
        w->bytes += part->bytes;
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
