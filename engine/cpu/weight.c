/* weight.c - matrices packed into panels at load (layouts: cpu.h).
 *
 * Packed copies cost memory beside the mapped file, whose pages the operating system may drop,
 * and buy every variant one contiguous stream with outputs in the lanes. */
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

typedef struct packing {
    const cpu_isa *isa;
    rm_weight *w;
    float *row; /* scratch [k padded] */
} packing;

/* On failure the weight is freed. */
static rm_status packing_open(packing *p, rm_backend *b, rm_weight *w, rm_error *err)
{
    *p = (packing){ b->isa, w, cpu_aligned_zeroed(round_up(w->k, LANES) * sizeof(float)) };
    if (p->row)
        return RM_OK;
    cpu_weight_free(b, w);
    return rm_fail(err, RM_E_MEMORY, "no memory to pack a matrix");
}

/* Puts row `row` of `m` into lane `lane` (0 .. 63) of a group. */
static void pack_row(packing *p, const rm_matrix *m, size_t row, size_t group, size_t lane)
{
    rm_weight *w = p->w;
    size_t lanes = (size_t)group_vectors(w, group) * LANES, K = w->k;
    char *panel = (char *)w->data + group * w->group_bytes;
    switch (w->kind) {
    case PANEL_F16: {
        const char *from = (const char *)m->data + row * rm_dtype_bytes(m->type, K);
        for (size_t k = 0; k < K; k++)
            memcpy(panel + 2 * (k * lanes + lane), from + 2 * k, 2);
        break;
    }
    case PANEL_F32:
        p->isa->embed(m, row, p->row);
        for (size_t k = 0; k < K; k++)
            ((float *)(void *)panel)[k * lanes + lane] = p->row[k];
        break;
    case PANEL_BF16:
    case PANEL_BF16_WIDE:
        p->isa->embed(m, row, p->row);
        for (size_t k = 0; k < K; k++)
            ((uint16_t *)(void *)panel)[(k / 2 * lanes + lane) * 2 + k % 2] =
                rm_f32_to_bf16(p->row[k]);
        break;
    case PANEL_Q8: {
        const uint8_t *from = (const uint8_t *)m->data + row * rm_dtype_bytes(m->type, K);
        uint8_t *block = (uint8_t *)panel;
        for (size_t k = 0; k < K / 32; k++, from += 34, block += lanes * 34) {
            memcpy(block + 2 * lane, from, 2);
            uint8_t *q = block + 2 * lanes;
            for (size_t j = 0; j < 32; j++)
                q[(j / 4 * lanes + lane) * 4 + j % 4] = (uint8_t)(from[2 + j] ^ 0x80);
        }
        break;
    }
    }
}

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
    case PANEL_Q8:
        return k / 32 * 34;
    default:
        return 4 * ((k + 1) / 2);
    }
}

/* A weight of n outputs with room for its panels, unless they are made when they are needed
 * (expand.c); `per_group` outputs make a full group. */
static rm_status allocate(rm_backend *b, size_t n, size_t k, bool gated, panel_kind kind, bool bias,
                          bool expanded, rm_weight **out, rm_error *err)
{
    size_t per_group = gated ? GROUP / 2 : GROUP;
    rm_weight *w = calloc(1, sizeof *w);
    if (!w)
        return rm_fail(err, RM_E_MEMORY, "no memory for a weight");
    w->class = WEIGHT_PANELS;
    w->kind = kind;
    w->input = kind == PANEL_Q8 ? INPUT_Q8 : kind == PANEL_BF16 ? INPUT_BF16 : INPUT_F32;
    w->gated = gated;
    w->n = n;
    w->k = k;
    w->n_groups = (n + per_group - 1) / per_group;
    size_t rest = n - (w->n_groups - 1) * per_group;
    w->last_vectors = (int)((rest + LANES - 1) / LANES) * (gated ? 2 : 1);
    w->group_bytes = lane_bytes(kind, k) * GROUP;
    w->bytes =
        (w->n_groups - 1) * w->group_bytes + lane_bytes(kind, k) * LANES * (size_t)w->last_vectors;
    if (!expanded)
        w->data = cpu_arena_alloc(b, w->bytes);
    if (bias)
        w->bias = cpu_aligned_zeroed(w->n_groups * GROUP * sizeof(float));
    if ((!expanded && !w->data) || (bias && !w->bias)) {
        cpu_weight_free(b, w);
        return rm_fail(err, RM_E_MEMORY, "no memory for the packed form of a matrix of %zu by %zu",
                       n, k);
    }
    *out = w;
    return RM_OK;
}

static void copy_biases(rm_weight *w, const rm_matrix *m, const float *const *bias, int n)
{
    size_t at = 0;
    for (int i = 0; i < n; at += m[i++].n_out)
        if (bias && bias[i])
            memcpy(w->bias + at, bias[i], m[i].n_out * sizeof *w->bias);
}

/* On failure the weight is freed. */
static rm_status expand(rm_backend *b, rm_weight *w, const rm_matrix *m, int n, rm_weight **out,
                        rm_error *err)
{
    rm_status st = w->input == INPUT_Q8 ? cpu_pack_parts(b, w, m, n, err)
                                        : cpu_expand_new(w, m, n, err);
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
    rm_dtype type = m[0].type;
    bool any_bias = false, expanded = cpu_is_expanded(m, n);
    if (expanded && compute == RM_COMPUTE_Q8 && !cpu_can_pack(m, n, false))
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
        if (m[i].type != type)
            type = RM_F32; /* mixed types meet in the widest */
        any_bias |= bias && bias[i];
    }
    rm_weight *w = NULL;
    rm_status st =
        allocate(b, n_out, m[0].n_in, false, choose_kind(type, compute), any_bias, expanded, &w, err);
    if (!st && expanded) {
        copy_biases(w, m, bias, n);
        return expand(b, w, m, n, out, err);
    }
    packing p;
    if (!st)
        st = packing_open(&p, b, w, err);
    if (st)
        return st;
    size_t at = 0;
    for (int i = 0; i < n; i++)
        for (size_t row = 0; row < m[i].n_out; row++, at++)
            pack_row(&p, &m[i], row, at / GROUP, at % GROUP);
    copy_biases(w, m, bias, n);
    free(p.row);
    *out = w;
    return RM_OK;
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
    rm_dtype type = gate->type == up->type ? gate->type : RM_F32;
    const rm_matrix both[] = { *gate, *up };
    bool expanded = cpu_is_expanded(both, 2);
    if (expanded && compute == RM_COMPUTE_Q8 && !cpu_can_pack(both, 2, true))
        compute = RM_COMPUTE_F32;
    rm_weight *w = NULL;
    st = allocate(b, gate->n_out, gate->n_in, true, choose_kind(type, compute), false, expanded, &w,
                  err);
    if (!st && expanded)
        return expand(b, w, both, 2, out, err);
    packing p;
    if (!st)
        st = packing_open(&p, b, w, err);
    if (st)
        return st;
    for (size_t row = 0; row < w->n; row++) {
        size_t group = row / (GROUP / 2), lane = row % (GROUP / 2);
        size_t half = (size_t)group_vectors(w, group) / 2 * LANES;
        pack_row(&p, gate, row, group, lane);
        pack_row(&p, up, row, group, half + lane);
    }
    free(p.row);
    *out = w;
    return RM_OK;
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
