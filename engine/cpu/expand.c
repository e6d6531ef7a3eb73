/* expand.c - products with block-quantised weights (blocks.h).
 *
 * The weights stay in the mapped file as they are. A tile of a product widens its group of 64
 * outputs to a panel in the worker's scratch, piece by piece along K, and the kernel for f32 or
 * bf16 panels runs on it: the same values in the same order as if the whole matrix had been
 * widened at load, so the bits are those of an f32 (or bf16) model with these weights. A byte of
 * the file is read once for 48 rows of a batch at most.
 *
 * Pieces: the kernel continues its sums where `more` says so only within one call, so a panel
 * spans all of K; what is done in pieces is the widening, whose rows must be transposed: 64 rows
 * of 256 values fit the first-level cache together with the lanes they go to. */
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpu.h"

enum { PIECE = 256 }; /* values of a row widened at once: a multiple of every block */

bool cpu_is_expanded(const rm_matrix *m, int n)
{
    for (int i = 0; i < n; i++)
        if (m[i].type > RM_Q8_0)
            return true;
    return false;
}

/* One group's panel, the widened rows of a piece, and the sums of the tile. */
static size_t panel_bytes(const rm_weight *w)
{
    return round_up(w->k, 2) * GROUP * (w->kind == PANEL_F32 ? 4 : 2);
}

size_t cpu_expand_scratch_bytes(const rm_weight *w)
{
    return panel_bytes(w) + (size_t)GROUP * PIECE * sizeof(float) +
           (size_t)ROW_BLOCK * GROUP * sizeof(float);
}

/* The row of a matrix that lane `lane` of a group computes; false for a lane beyond the last. */
static bool row_of_lane(const rm_weight *w, size_t group, size_t lane, const rm_matrix **m,
                        size_t *row)
{
    if (w->gated) {
        size_t half = (size_t)group_vectors(w, group) / 2 * LANES;
        *m = &w->source[lane >= half];
        *row = group * (GROUP / 2) + lane % half;
        return *row < w->n;
    }
    *row = group * GROUP + lane;
    for (int i = 0; i < w->n_sources; i++) {
        *m = &w->source[i];
        if (*row < (*m)->n_out)
            return true;
        *row -= (*m)->n_out;
    }
    return false;
}

/* Values [from, from + n) of a row. */
static void widen_piece(const rm_matrix *m, size_t row, size_t from, size_t n, float *to)
{
    const char *at = (const char *)m->data + row * rm_dtype_bytes(m->type, m->n_in) +
                     rm_dtype_bytes(m->type, from);
    rm_dtype_widen(m->type, at, n, to);
}

static void transpose(panel_kind kind, const float *rows, size_t lanes, size_t from, size_t n,
                      char *panel)
{
    if (kind == PANEL_F32) {
        float *to = (float *)(void *)panel + from * lanes;
        for (size_t k = 0; k < n; k++, to += lanes)
            for (size_t lane = 0; lane < lanes; lane++)
                to[lane] = rows[lane * PIECE + k];
        return;
    }
    uint16_t *to = (uint16_t *)(void *)panel + from * lanes;
    for (size_t k = 0; k < n; k += 2, to += 2 * lanes)
        for (size_t lane = 0; lane < lanes; lane++) {
            to[2 * lane] = rm_f32_to_bf16(rows[lane * PIECE + k]);
            to[2 * lane + 1] = rm_f32_to_bf16(rows[lane * PIECE + k + 1]);
        }
}

static void fill_panel(const rm_weight *w, size_t group, float *rows, char *panel)
{
    size_t lanes = (size_t)group_vectors(w, group) * LANES;
    for (size_t from = 0; from < w->k; from += PIECE) {
        size_t n = w->k - from < PIECE ? w->k - from : PIECE;
        for (size_t lane = 0; lane < lanes; lane++) {
            const rm_matrix *m;
            size_t row;
            if (row_of_lane(w, group, lane, &m, &row))
                widen_piece(m, row, from, n, rows + lane * PIECE);
            else
                memset(rows + lane * PIECE, 0, n * sizeof *rows);
        }
        transpose(w->kind, rows, lanes, from, n, panel);
    }
}

void cpu_expand_product(const cpu_isa *isa, const product_args *args, size_t group, int row0,
                        int row1, void *scratch)
{
    const rm_weight *w = args->w;
    char *panel = scratch;
    float *rows = (float *)(void *)(panel + panel_bytes(w)), *sums = rows + GROUP * PIECE;
    fill_panel(w, group, rows, panel);
    rm_weight one = *w; /* this group alone */
    one.n_groups = 1;
    one.last_vectors = group_vectors(w, group);
    one.data = panel;
    if (w->bias)
        one.bias = w->bias + group * GROUP;
    product_args p = *args;
    p.w = &one;
    p.y += group * (w->gated ? GROUP / 2 : GROUP);
    isa->product(&p, 0, row0, row1, sums);
}

/* The bytes that a pass over the weight reads are those of the file. */
rm_status cpu_expand_new(rm_weight *w, const rm_matrix *m, int n, rm_error *err)
{
    w->source = calloc((size_t)n, sizeof *w->source);
    if (!w->source)
        return rm_fail(err, RM_E_MEMORY, "no memory for a weight");
    w->n_sources = n;
    w->bytes = 0;
    for (int i = 0; i < n; i++) {
        w->source[i] = m[i];
        w->bytes += rm_dtype_bytes(m[i].type, m[i].n_out * m[i].n_in);
    }
    return RM_OK;
}
