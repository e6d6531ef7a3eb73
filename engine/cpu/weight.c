/* weight.c - matrices packed into panels at load (layouts: cpu.h).
 *
 * Packed copies cost memory beside the mapped file, whose pages the operating system may drop,
 * and buy every variant one contiguous stream with outputs in the lanes. They are made a group at a
 * time, by all worker threads. */
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpu.h"

static rm_status check_matrix(const rm_matrix *m, rm_compute compute, rm_error *err)
{
    if (!m->data || !m->n_out || !m->n_in || m->type >= RM_DTYPE_COUNT)
        return rm_fail(err, RM_E_ARGUMENT, "a weight matrix is empty or of unknown type");
    if (m->n_in % rm_block_values(m->type))
        return rm_fail(err, RM_E_FORMAT,
                       "a %s matrix has %zu columns; a multiple of %zu was expected",
                       rm_dtype_name(m->type), m->n_in, rm_block_values(m->type));
    if (compute == RM_COMPUTE_Q8 && m->type < RM_Q8_0)
        return rm_fail(err, RM_E_UNSUPPORTED, "compute type q8 needs quantised weights");
    if (m->n_in > SIZE_MAX / 8 / (m->n_out + GROUP))
        return rm_fail(err, RM_E_FORMAT,
                       "a weight matrix of %zu by %zu does not fit the address space", m->n_out,
                       m->n_in);
    return RM_OK;
}

/* ---- packing ------------------------------------------------------------------------------- */

static panel_kind choose_kind(rm_dtype type, rm_compute compute)
{
    switch (compute) {
    case RM_COMPUTE_BF16:
        return PANEL_BF16;
    case RM_COMPUTE_Q8:
        return PANEL_Q8;
    default:
        return type == RM_F16 ? PANEL_F16 : type == RM_BF16 ? PANEL_BF16_WIDE : PANEL_F32;
    }
}

static size_t lane_bytes(panel_kind kind, size_t k)
{
    switch (kind) {
    case PANEL_F32:
        return 4 * k;
    case PANEL_F16:
        return 2 * k;
    default:
        return 4 * ((k + 1) / 2);
    }
}

/* What a weight is made of. */
typedef struct making {
    rm_weight *w;
    const rm_matrix *m; /* [n] stacked, or a gated pair */
    int n;
} making;

enum { PACK_PIECE = 64 }; /* columns: 64 rows of them stay in the first-level cache */

static void tile_pack(const op *o, worker *self, size_t group)
{
    (void)self;
    const making *made = o->args;
    uint32_t rows[GROUP * (PACK_PIECE + CPU_PANEL_PAD)];
    cpu_fill_panel(made->w, made->m, made->n, group, PACK_PIECE, rows,
                   (char *)made->w->data + group * made->w->group_bytes);
}

/* Panels of one of the types that are no blocks. */
static rm_status pack_panels(rm_backend *b, rm_weight *w, const rm_matrix *m, int n, rm_error *err)
{
    w->data = cpu_arena_alloc(b, w->bytes);
    if (!w->data)
        return rm_fail(err, RM_E_MEMORY, "no memory for the packed form of a matrix of %zu by %zu",
                       w->n, w->k);
    cpu_run_tiles(b, tile_pack, w->n_groups, &(making){ w, m, n });
    return RM_OK;
}

static void copy_biases(rm_weight *w, const rm_matrix *m, const float *const *bias, int n)
{
    size_t at = 0;
    for (int i = 0; i < n; at += m[i++].n_out)
        if (bias && bias[i])
            memcpy(w->bias + at, bias[i], m[i].n_out * sizeof *w->bias);
}

/* A weight of n_out outputs from n stacked matrices or a gated pair, whose sizes are checked. */
static rm_status make(rm_backend *b, const rm_matrix *m, int n, size_t n_out, bool gated,
                      const float *const *bias, rm_compute compute, rm_weight **out, rm_error *err)
{
    rm_dtype type = m[0].type;
    bool any_bias = false, expanded = cpu_is_expanded(m, n);
    for (int i = 0; i < n; i++) {
        if (m[i].type != type)
            type = RM_F32; /* mixed types meet in the widest */
        any_bias |= bias && bias[i];
    }
    rm_weight *w = calloc(1, sizeof *w);
    if (!w)
        return rm_fail(err, RM_E_MEMORY, "no memory for a weight");
    size_t per_group = gated ? GROUP / 2 : GROUP;
    w->class = WEIGHT_PANELS;
    w->kind = choose_kind(type, compute);
    w->input = w->kind == PANEL_Q8 ? INPUT_Q8 : w->kind == PANEL_BF16 ? INPUT_BF16 : INPUT_F32;
    w->gated = gated;
    w->n = n_out;
    w->k = m[0].n_in;
    w->n_groups = (n_out + per_group - 1) / per_group;
    size_t rest = n_out - (w->n_groups - 1) * per_group;
    w->last_vectors = (int)((rest + LANES - 1) / LANES) * (gated ? 2 : 1);
    w->group_bytes = lane_bytes(w->kind, w->k) * GROUP;
    w->bytes = (w->n_groups - 1) * w->group_bytes +
               lane_bytes(w->kind, w->k) * LANES * (size_t)w->last_vectors;
    rm_status st = RM_OK;
    if (any_bias && !(w->bias = cpu_aligned_zeroed(w->n_groups * GROUP * sizeof(float))))
        st = rm_fail(err, RM_E_MEMORY, "no memory for a bias of %zu values", n_out);
    if (!st && any_bias)
        copy_biases(w, m, bias, n);
    if (!st)
        st = w->kind == PANEL_Q8 ? cpu_pack_parts(b, w, m, n, err)
             : expanded          ? cpu_expand_new(w, m, n, err)
                                 : pack_panels(b, w, m, n, err);
    if (st)
        cpu_weight_free(b, w);
    else
        *out = w;
    return st;
}

rm_status cpu_weight_new(rm_backend *b, const rm_matrix *m, const float *const *bias, int n,
                         rm_compute compute, rm_weight **out, rm_error *err)
{
    size_t n_out = 0;
    if (compute == RM_COMPUTE_Q8 && cpu_is_expanded(m, n) && !cpu_can_pack(m, n, false))
        compute = RM_COMPUTE_F32;
    for (int i = 0; i < n; i++) {
        rm_status st = check_matrix(&m[i], compute, err);
        if (st)
            return st;
        if (m[i].n_in != m[0].n_in)
            return rm_fail(err, RM_E_FORMAT,
                           "stacked matrices have %zu and %zu columns; equal numbers were expected",
                           m[0].n_in, m[i].n_in);
        n_out += m[i].n_out;
    }
    return make(b, m, n, n_out, false, bias, compute, out, err);
}

rm_status cpu_weight_new_gated(rm_backend *b, const rm_matrix *gate, const rm_matrix *up,
                               rm_compute compute, rm_weight **out, rm_error *err)
{
    rm_status st = check_matrix(gate, compute, err);
    if (!st)
        st = check_matrix(up, compute, err);
    if (st)
        return st;
    if (gate->n_in != up->n_in || gate->n_out != up->n_out)
        return rm_fail(err, RM_E_FORMAT,
                       "gate is %zu by %zu, up is %zu by %zu; equal shapes were expected",
                       gate->n_out, gate->n_in, up->n_out, up->n_in);
    const rm_matrix both[] = { *gate, *up };
    if (compute == RM_COMPUTE_Q8 && !cpu_can_pack(both, 2, true))
        compute = RM_COMPUTE_F32;
    return make(b, both, 2, gate->n_out, true, NULL, compute, out, err);
}

rm_status cpu_table_new(rm_backend *b, const rm_matrix *m, rm_weight **out, rm_error *err)
{
    (void)b;
    rm_status st = check_matrix(m, RM_COMPUTE_F32, err);
    if (st)
        return st;
    rm_weight *w = calloc(1, sizeof *w);
    if (!w)
        return rm_fail(err, RM_E_MEMORY, "no memory for a weight");
    w->class = WEIGHT_TABLE;
    w->table = *m; /* read in place */
    w->n = m->n_out;
    w->k = m->n_in;
    w->bytes = rm_dtype_bytes(m->type, m->n_in);
    *out = w;
    return RM_OK;
}

rm_status cpu_vector_new(rm_backend *b, const float *values, size_t n, rm_weight **out,
                         rm_error *err)
{
    (void)b;
    rm_weight *w = calloc(1, sizeof *w);
    if (w)
        w->data = cpu_aligned_zeroed(round_up(n, LANES) * sizeof(float));
    if (!w || !w->data) {
        free(w);
        return rm_fail(err, RM_E_MEMORY, "no memory for a vector of %zu values", n);
    }
    memcpy(w->data, values, n * sizeof(float));
    w->class = WEIGHT_VECTOR;
    w->n = n;
    w->bytes = n * sizeof(float);
    *out = w;
    return RM_OK;
}

void cpu_weight_free(rm_backend *b, rm_weight *w)
{
    if (!w)
        return;
    if (w->class == WEIGHT_PANELS)
        cpu_arena_free(b, w->data);
    else
        free(w->data);
    free(w->bias);
    free(w->source);
    cpu_packed_free(b, w);
    free(w);
}

size_t cpu_weight_bytes(const rm_weight *w)
{
    return w->bytes;
}
