/* panel.c - rows of matrices laid into panels of f32, f16 or bf16 (layouts: cpu.h).
 *
 * A panel's lanes are outputs and K runs outermost, a matrix in a file is the other way round: this
 * is a transposition of units of 4 bytes (a float, or a pair of 16-bit values). It goes by pieces of
 * some columns of all lanes, which stay in the cache between reading and writing; rows of the buffer
 * are not a power of two apart, so that a column of it does not fall on few cache sets. */
#include <string.h>

#include "engine/cpu/cpu.h"

const rm_matrix *cpu_row_of_lane(const rm_weight *w, const rm_matrix *m, int n, size_t group,
                                 size_t lane, size_t *row)
{
    if (w->gated) {
        size_t half = (size_t)group_vectors(w, group) / 2 * LANES;
        *row = group * (GROUP / 2) + lane % half;
        return *row < w->n ? &m[lane >= half] : NULL;
    }
    *row = group * GROUP + lane;
    for (int i = 0; i < n; i++) {
        if (*row < m[i].n_out)
            return &m[i];
        *row -= m[i].n_out;
    }
    return NULL;
}

/* Values [from, from + n) of a row in the panel's type; an odd one of 16 bits is paired with 0. */
static void read_piece(panel_kind kind, const rm_matrix *m, size_t row, size_t from, size_t n,
                       uint32_t *to)
{
    const char *at = (const char *)m->data + row * rm_dtype_bytes(m->type, m->n_in) +
                     rm_dtype_bytes(m->type, from);
    rm_dtype type = kind == PANEL_F32 ? RM_F32 : kind == PANEL_F16 ? RM_F16 : RM_BF16;
    if (type != RM_F32)
        to[n / 2] = 0;
    if (m->type == type) {
        memcpy(to, at, rm_dtype_bytes(type, n));
    } else if (type == RM_F32) {
        rm_dtype_widen(m->type, at, n, (float *)to);
    } else {
        float wide[CPU_PANEL_PIECE];
        rm_dtype_widen(m->type, at, n, wide);
        rm_dtype_narrow(type, wide, n, to);
    }
}

/* n units of each lane to the panel, whose next unit is at `to`. */
static void transpose(const uint32_t *rows, size_t stride, size_t lanes, size_t n, uint32_t *to)
{
    for (size_t k = 0; k < n; k++, to += lanes)
        for (size_t lane = 0; lane < lanes; lane++)
            to[lane] = rows[lane * stride + k];
}

/* f16 panels are not in pairs: units of 2 bytes, n of them. */
static void transpose_halves(const uint32_t *rows, size_t stride, size_t lanes, size_t n, uint16_t *to)
{
    for (size_t k = 0; k < n; k++, to += lanes)
        for (size_t lane = 0; lane < lanes; lane++)
            to[lane] = (uint16_t)(rows[lane * stride + k / 2] >> 16 * (k % 2));
}

void cpu_fill_panel(const rm_weight *w, const rm_matrix *m, int n, size_t group, size_t piece,
                    uint32_t *rows, char *panel)
{
    size_t lanes = (size_t)group_vectors(w, group) * LANES, stride = piece + CPU_PANEL_PAD;
    assert(piece % 2 == 0 && piece <= CPU_PANEL_PIECE);
    for (size_t from = 0; from < w->k; from += piece) {
        size_t some = w->k - from < piece ? w->k - from : piece;
        for (size_t lane = 0; lane < lanes; lane++) {
            size_t row;
            const rm_matrix *from_matrix = cpu_row_of_lane(w, m, n, group, lane, &row);
            if (from_matrix)
                read_piece(w->kind, from_matrix, row, from, some, rows + lane * stride);
            else
                memset(rows + lane * stride, 0, (some + 1) * sizeof *rows);
        }
        if (w->kind == PANEL_F16)
            transpose_halves(rows, stride, lanes, some, (uint16_t *)(void *)panel + from * lanes);
        else if (w->kind == PANEL_F32)
            transpose(rows, stride, lanes, some, (uint32_t *)(void *)panel + from * lanes);
        else
            transpose(rows, stride, lanes, (some + 1) / 2,
                      (uint32_t *)(void *)panel + from / 2 * lanes);
    }
}
