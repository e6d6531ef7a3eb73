/* expand.c - products with block-quantised weights (blocks.h).
 *
 * The weights stay in the mapped file as they are. A tile of a product widens its group of 64
 * outputs to a panel in the worker's scratch, piece by piece along K, and the kernel for f32 or
 * bf16 panels runs on it: the same values in the same order as if the whole matrix had been
 * widened at load, so the bits are those of an f32 (or bf16) model with these weights. A byte of
 * the file is read once for 48 rows of a batch at most.
 *
 * The kernel continues its sums where `more` says so only within one call, so a panel spans all of
 * K; what is done in pieces is the widening (panel.c). */
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpu.h"

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
    return panel_bytes(w) + cpu_panel_rows_bytes(CPU_PANEL_PIECE) +
           (size_t)ROW_BLOCK * GROUP * sizeof(float);
}

void cpu_expand_product(const cpu_isa *isa, const product_args *args, size_t group, int row0,
                        int row1, void *scratch)
{
    const rm_weight *w = args->w;
    char *panel = scratch;
    uint32_t *rows = (uint32_t *)(void *)(panel + panel_bytes(w));
    float *sums = (float *)(void *)((char *)rows + cpu_panel_rows_bytes(CPU_PANEL_PIECE));
    cpu_fill_panel(w, w->source, w->n_sources, group, CPU_PANEL_PIECE, rows, panel);
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
