/* weight.c - matrices onto the device.
 *
 *   compute f32    f32, f16 and bf16 stay as they are and are widened by the kernel; blocks and
 *                  stacks of several types become f32, exactly
 *   compute bf16   bf16 stays, everything else is rounded to it, to nearest even
 *
 * Rows are put together in pinned memory, a piece at a time, while the piece before is on its way:
 * no second copy of a matrix exists on the host, however large it is. */
#include "engine/cuda/cuda.h"
#include "engine/dtype.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rm_status check_matrix(const rm_matrix *m, rm_compute compute, rm_error *err)
{
    if (!m->data || !m->n_out || !m->n_in || m->type >= RM_DTYPE_COUNT)
        return rm_fail(err, RM_E_ARGUMENT, "a weight matrix is empty or of unknown type");
    if (m->n_in % rm_block_values(m->type))
        return rm_fail(err, RM_E_FORMAT,
                       "a %s matrix has %zu columns; a multiple of %zu was expected",
                       rm_dtype_name(m->type), m->n_in, rm_block_values(m->type));
    if (compute == RM_COMPUTE_Q8)
        return rm_fail(err, RM_E_UNSUPPORTED, "compute type q8 on backend \"cuda\", which computes "
                       "in f32 or bf16");
    if (m->n_in > INT32_MAX / 16 || m->n_out > INT32_MAX / 16)
        return rm_fail(err, RM_E_FORMAT, "a weight matrix of %zu by %zu is too large for backend "
                       "\"cuda\"", m->n_out, m->n_in);
    return RM_OK;
}

static size_t type_bytes(int type)
{
    return type == RM_CUDA_F32 ? 4 : 2;
}

/* ---- rows on their way -------------------------------------------------------------------------------- */

/* Where the rows of a weight come from. */
typedef struct rows_of {
    const rm_matrix *matrix; /* [n] one above the other; gated: gate and up */
    int n;
    bool gated, tight;       /* tight: no padding behind a row, as tables have it */
} rows_of;

/* The matrix and row that row `at` of the weight is; NULL: zeros (padding of a gated weight). */
static const rm_matrix *source_row(const rows_of *from, size_t at, size_t *row)
{
    if (from->gated) {
        *row = at / 16 * 8 + at % 8;
        return *row < from->matrix[0].n_out ? &from->matrix[at % 16 / 8] : NULL;
    }
    for (int i = 0; i < from->n; i++) {
        if (at < from->matrix[i].n_out) {
            *row = at;
            return &from->matrix[i];
        }
        at -= from->matrix[i].n_out;
    }
    return NULL;
}

/* One row as type `to`, zeros behind it; `wide` is scratch of one row. */
static void put_row(const rm_matrix *m, size_t row, int to, size_t stride, float *wide, void *out)
{
    const uint8_t *from = (const uint8_t *)m->data + row * rm_dtype_bytes(m->type, m->n_in);
    size_t bytes = type_bytes(to);
    memset(out, 0, stride * bytes);
    if ((int)m->type == to) {
        memcpy(out, from, m->n_in * bytes);
    } else if (to == RM_CUDA_F32) {
        rm_dtype_widen(m->type, from, m->n_in, out);
    } else {
        rm_dtype_widen(m->type, from, m->n_in, wide);
        rm_dtype_narrow(RM_BF16, wide, m->n_in, out);
    }
}

static rm_status open_staging(rm_backend *b, rm_error *err)
{
    for (int i = 0; i < 2; i++) {
        int code = 0;
        if (!b->staging[i])
            code = (int)cudaMallocHost((void **)&b->staging[i], STAGING_BYTES);
        if (!code && !b->staged[i])
            code = (int)cudaEventCreateWithFlags(&b->staged[i], cudaEventDisableTiming);
        if (code)
            return CUDA_FAIL(err, code, "pinned memory of %d bytes for loading weights",
                             STAGING_BYTES);
    }
    return RM_OK;
}

static rm_status send(rm_backend *b, const rm_weight *w, const rows_of *from, rm_error *err)
{
    size_t row_bytes = (size_t)w->stride * type_bytes(w->type), n = (size_t)w->n;
    size_t per_piece = STAGING_BYTES / row_bytes;
    float *wide = malloc((size_t)w->k * sizeof *wide);
    rm_status st = wide ? open_staging(b, err)
                        : rm_fail(err, RM_E_MEMORY, "no memory for a row of weights");
    if (!st && !per_piece)
        st = rm_fail(err, RM_E_UNSUPPORTED, "rows of %d weights are too long", w->k);
    int turn = 0;
    for (size_t at = 0; at < n && !st; at += per_piece, turn ^= 1) {
        size_t rows = n - at < per_piece ? n - at : per_piece;
        uint8_t *to = (uint8_t *)b->staging[turn];
        int code = (int)cudaEventSynchronize(b->staged[turn]);
        for (size_t i = 0; i < rows && !code; i++) {
            size_t row;
            const rm_matrix *m = source_row(from, at + i, &row);
            if (m)
                put_row(m, row, w->type, (size_t)w->stride, wide, to + i * row_bytes);
            else
                memset(to + i * row_bytes, 0, row_bytes);
        }
        if (!code)
            code = (int)cudaMemcpyAsync((uint8_t *)w->data + at * row_bytes, to, rows * row_bytes,
                                        cudaMemcpyHostToDevice, b->stream);
        if (!code)
            code = (int)cudaEventRecord(b->staged[turn], b->stream);
        if (code)
            st = CUDA_FAIL(err, code, "copying %zu rows of %d weights", rows, w->k);
    }
    free(wide);
    return st;
}

/* ---- weights -------------------------------------------------------------------------------------------- */

static int stored_type(const rm_matrix *m, int n, rm_compute compute)
{
    if (compute == RM_COMPUTE_BF16)
        return RM_CUDA_BF16;
    for (int i = 0; i < n; i++)
        if (m[i].type != m[0].type || m[i].type > RM_BF16)
            return RM_CUDA_F32;
    return (int)m[0].type;
}

static rm_status matrix_new(rm_backend *b, const rows_of *from, size_t n, size_t width,
                            rm_compute compute, rm_weight **out, rm_error *err)
{
    rm_weight *w = calloc(1, sizeof *w);
    if (!w)
        return rm_fail(err, RM_E_MEMORY, "no memory for a weight");
    size_t k = from->matrix[0].n_in;
    w->class = WEIGHT_MATRIX;
    w->gated = from->gated;
    w->type = stored_type(from->matrix, from->n, compute);
    w->rounded = compute == RM_COMPUTE_BF16;
    w->n = (int)n;
    w->width = (int)width;
    w->k = (int)k;
    w->stride = (int)(from->tight ? k : (k + 7) / 8 * 8);
    w->bytes = n * (size_t)w->stride * type_bytes(w->type);
    char what[80];
    snprintf(what, sizeof what, "a matrix of %zu by %zu", n, k);
    rm_status st = cuda_alloc(b, w->bytes, what, &w->data, err);
    if (!st)
        st = send(b, w, from, err);
    if (st) {
        cuda_weight_free(b, w);
        return st;
    }
    *out = w;
    return RM_OK;
}

static rm_status add_bias(rm_backend *b, rm_weight *w, const rm_matrix *m,
                          const float *const *bias, int n, rm_error *err)
{
    void *device = NULL;
    float *all = calloc((size_t)w->n, sizeof *all);
    rm_status st = all ? cuda_alloc(b, (size_t)w->n * sizeof *all, "biases", &device, err)
                       : rm_fail(err, RM_E_MEMORY, "no memory for biases");
    for (size_t i = 0, at = 0; i < (size_t)n && !st; at += m[i++].n_out)
        if (bias[i])
            memcpy(all + at, bias[i], m[i].n_out * sizeof *all);
    if (!st) {
        w->bias = device;
        int code = (int)cudaMemcpyAsync(device, all, (size_t)w->n * sizeof *all,
                                        cudaMemcpyHostToDevice, b->stream);
        if (!code)
            code = (int)cudaStreamSynchronize(b->stream);
        if (code)
            st = CUDA_FAIL(err, code, "copying %d biases", w->n);
    }
    free(all);
    return st;
}

rm_status cuda_weight_new(rm_backend *b, const rm_matrix *m, const float *const *bias, int n,
                          rm_compute compute, rm_weight **out, rm_error *err)
{
    size_t n_out = 0;
    bool any = false;
    for (int i = 0; i < n; i++) {
        rm_status st = check_matrix(&m[i], compute, err);
        if (st)
            return st;
        if (m[i].n_in != m[0].n_in)
            return rm_fail(err, RM_E_FORMAT,
                           "stacked matrices have %zu and %zu columns; equal numbers were expected",
                           m[0].n_in, m[i].n_in);
        n_out += m[i].n_out;
        any |= bias && bias[i];
    }
    rows_of from = { .matrix = m, .n = n };
    rm_weight *w = NULL;
    rm_status st = matrix_new(b, &from, n_out, n_out, compute, &w, err);
    if (!st && any)
        st = add_bias(b, w, m, bias, n, err);
    else if (st)
        return st;
    if (!st)
        st = cuda_library_probe(b, w, err);
    if (st)
        cuda_weight_free(b, w);
    else
        *out = w;
    return st;
}

rm_status cuda_weight_new_gated(rm_backend *b, const rm_matrix *gate, const rm_matrix *up,
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
    rows_of from = { .matrix = both, .n = 2, .gated = true };
    rm_weight *w = NULL;
    st = matrix_new(b, &from, (gate->n_out + 7) / 8 * 16, gate->n_out, compute, &w, err);
    if (st)
        return st;
    st = cuda_library_probe(b, w, err);
    if (st)
        cuda_weight_free(b, w);
    else
        *out = w;
    return st;
}

rm_status cuda_table_new(rm_backend *b, const rm_matrix *m, rm_weight **out, rm_error *err)
{
    rm_status st = check_matrix(m, RM_COMPUTE_F32, err);
    if (st)
        return st;
    rows_of from = { .matrix = m, .n = 1, .tight = true };
    rm_weight *w = NULL;
    st = matrix_new(b, &from, m->n_out, m->n_out, RM_COMPUTE_F32, &w, err);
    if (st)
        return st;
    w->class = WEIGHT_TABLE;
    w->bytes = (size_t)w->stride * type_bytes(w->type);
    *out = w;
    return RM_OK;
}

rm_status cuda_vector_new(rm_backend *b, const float *values, size_t n, rm_weight **out,
                          rm_error *err)
{
    rm_matrix m = { RM_F32, values, 1, n };
    rm_status st = check_matrix(&m, RM_COMPUTE_F32, err);
    if (st)
        return st;
    rows_of from = { .matrix = &m, .n = 1 };
    rm_weight *w = NULL;
    st = matrix_new(b, &from, 1, n, RM_COMPUTE_F32, &w, err);
    if (st)
        return st;
    w->class = WEIGHT_VECTOR;
    w->width = (int)n;
    w->bytes = n * sizeof(float);
    *out = w;
    return RM_OK;
}

void cuda_weight_free(rm_backend *b, rm_weight *w)
{
    if (!w)
        return;
    cudaStreamSynchronize(b->stream);
    cuda_free(w->data);
    cuda_free(w->bias);
    free(w);
}

size_t cuda_weight_bytes(const rm_weight *w)
{
    return w->bytes;
}
