/* Operations of the CPU backend on rows: products, norm, tables, rotary embedding.
 *
 * Values are compared with a naive computation in double; the bound is the standard one for a
 * chain of K rounded multiply-adds, K 2^-24 sum |w x|, plus a few roundings of what follows.
 * Bits are compared between instruction-set variants, numbers of threads and numbers of rows,
 * and with committed hashes, which every compiler must reproduce. */
#include "cpu_ops.h"

/* ---- products ------------------------------------------------------------------------------ */

typedef struct product_case {
    rm_dtype type;
    rm_compute compute;
    size_t rows, n, k;
    uint64_t hash; /* of y, the same in all variants */
} product_case;

static const product_case products[] = {
    { RM_F32, RM_COMPUTE_F32, 7, 77, 50, UINT64_C(0xb10f9e67d993de11) },
    { RM_F32, RM_COMPUTE_F32, 33, 200, 129, UINT64_C(0x8b6c92120d65e640) },
    { RM_F32, RM_COMPUTE_F32, 129, 64, 257, UINT64_C(0xb1d157f54f12251a) },
    { RM_F32, RM_COMPUTE_F32, 1, 1, 1, UINT64_C(0x5977e74571264e69) },
    { RM_F16, RM_COMPUTE_F32, 7, 130, 63, UINT64_C(0xa10ff11fce092425) },
    { RM_F16, RM_COMPUTE_F32, 33, 17, 96, UINT64_C(0xe3993a7e5b5a5dc1) },
    { RM_BF16, RM_COMPUTE_F32, 7, 130, 63, UINT64_C(0x79130254c7946157) },
    { RM_Q8_0, RM_COMPUTE_F32, 5, 40, 96, UINT64_C(0xb980f3cd543ff977) },
    { RM_BF16, RM_COMPUTE_BF16, 7, 77, 51, UINT64_C(0x186ace1f5c6d6472) },
    { RM_BF16, RM_COMPUTE_BF16, 129, 130, 256, UINT64_C(0xb02942d31f6ace1d) },
    { RM_F32, RM_COMPUTE_BF16, 33, 64, 64, UINT64_C(0x571cce2195befa77) },
    { RM_Q8_0, RM_COMPUTE_BF16, 3, 33, 64, UINT64_C(0xd2bdfdee985ec389) },
    { RM_Q8_0, RM_COMPUTE_Q8, 1, 77, 32, UINT64_C(0xa13fca25eb398516) },
    { RM_Q8_0, RM_COMPUTE_Q8, 7, 130, 96, UINT64_C(0x78a79c062d0e2071) },
    { RM_Q8_0, RM_COMPUTE_Q8, 129, 50, 256, UINT64_C(0x32a363adb11cb891) },
};
enum { N_PRODUCTS = sizeof products / sizeof *products };

/* A matrix of a type from seeded values; free(data). */
static rm_matrix make_matrix(rm_dtype type, size_t n, size_t k, uint64_t stream)
{
    float *v = values(stream, n * k);
    char *data = malloc(rm_dtype_bytes(type, n * k));
    cr_assert(data != NULL);
    rm_dtype_narrow(type, v, n * k, data);
    free(v);
    return (rm_matrix){ type, data, n, k };
}

enum { PLAIN, WITH_BIAS, ADDED, GATED }; /* modes of a product */

/* y [rows, n]; inputs are rows `first` on of the seeded x. */
static void run_product(const char *isa, int threads, const product_case *c, int mode, size_t first,
                        size_t rows, float *out)
{
    rm_error err = { "" };
    rm_backend *b = open_backend(isa, threads);
    rm_matrix m = make_matrix(c->type, c->n, c->k, 1), up = make_matrix(c->type, c->n, c->k, 2);
    float *x = values(3, (first + rows) * c->k), *bias = values(4, c->n),
          *y0 = values(5, (first + rows) * c->n);
    const float *const biases[] = { bias };
    rm_weight *w = NULL;
    rm_status st = mode == GATED ? ops->weight_new_gated(b, &m, &up, c->compute, &w, &err)
                                 : ops->weight_new(b, &m, mode == WITH_BIAS ? biases : NULL, 1,
                                                   c->compute, &w, &err);
    cr_assert_eq(st, RM_OK, "%s", err.text);
    rm_tensor *in = new_tensor(b, rows, c->k, x + first * c->k);
    rm_tensor *to = new_tensor(b, rows, c->n, y0 + first * c->n);
    (mode == GATED   ? ops->swiglu
     : mode == ADDED ? ops->matmul_add
                     : ops->matmul)(b, to, in, w, (int)rows);
    flush(b);
    read_tensor(to, rows, out);
    ops->tensor_free(b, in);
    ops->tensor_free(b, to);
    ops->weight_free(b, w);
    ops->close(b);
    free((void *)m.data);
    free((void *)up.data);
    free(x);
    free(bias);
    free(y0);
}

/* What the compute type makes of one row of inputs, and the scale of its roundings. */
static void input_as_computed(rm_compute compute, const float *x, size_t k, double *to)
{
    for (size_t i = 0; i < k; i++)
        to[i] = (double)x[i];
    if (compute == RM_COMPUTE_BF16)
        for (size_t i = 0; i < k; i++)
            to[i] = (double)rm_bf16_to_f32(rm_f32_to_bf16(x[i]));
    if (compute == RM_COMPUTE_Q8)
        for (size_t i = 0; i < k; i += 32) {
            float most = 0;
            for (size_t j = i; j < i + 32; j++)
                most = fmaxf(most, fabsf(x[j]));
            float inverse = most > 0 ? 127.0f / most : 0, scale = most / 127.0f;
            for (size_t j = i; j < i + 32; j++)
                to[j] = (double)scale * (double)rintf(x[j] * inverse);
        }
}

static void check_product(const product_case *c, int mode, const float *y)
{
    rm_matrix m[2] = { make_matrix(c->type, c->n, c->k, 1), make_matrix(c->type, c->n, c->k, 2) };
    float *w = malloc(c->n * c->k * 2 * sizeof *w), *x = values(3, c->rows * c->k);
    float *bias = values(4, c->n), *y0 = values(5, c->rows * c->n);
    double *in = malloc(c->k * sizeof *in);
    for (int i = 0; i < 2; i++) {
        float *to = w + (size_t)i * c->n * c->k;
        rm_dtype_widen(c->type, m[i].data, c->n * c->k, to);
        for (size_t j = 0; c->compute == RM_COMPUTE_BF16 && j < c->n * c->k; j++)
            to[j] = rm_bf16_to_f32(rm_f32_to_bf16(to[j]));
    }
    for (size_t r = 0; r < c->rows; r++) {
        input_as_computed(c->compute, x + r * c->k, c->k, in);
        for (size_t n = 0; n < c->n; n++) {
            double sum[2] = { 0 }, magnitude[2] = { 0 };
            for (int i = 0; i < (mode == GATED ? 2 : 1); i++)
                for (size_t k = 0; k < c->k; k++) {
                    double term = (double)w[(size_t)i * c->n * c->k + n * c->k + k] * in[k];
                    sum[i] += term;
                    magnitude[i] += fabs(term);
                }
            double error = ((double)c->k + 4) * 0x1p-24 * magnitude[0], want = sum[0];
            if (mode == WITH_BIAS)
                want += (double)bias[n];
            if (mode == ADDED)
                want += (double)y0[r * c->n + n];
            if (mode == GATED) {
                double silu = sum[0] / (1 + exp(-sum[0]));
                want = silu * sum[1]; /* |silu'| < 1.1 */
                error = 1.1 * error * fabs(sum[1]) +
                        fabs(silu) * ((double)c->k + 4) * 0x1p-24 * magnitude[1];
            }
            error += 8 * 0x1p-24 * (fabs(want) + 1e-6) + 0x1p-24;
            double got = (double)y[r * c->n + n];
            cr_assert(fabs(got - want) <= error,
                      "type %d compute %d mode %d row %zu output %zu: %.9g, expected %.9g +- %.2g",
                      c->type, c->compute, mode, r, n, got, want, error);
        }
    }
    free((void *)m[0].data);
    free((void *)m[1].data);
    free(w);
    free(x);
    free(bias);
    free(y0);
    free(in);
}

Test(ops, products_are_right)
{
    for (int i = 0; i < N_PRODUCTS; i++)
        for (int mode = PLAIN; mode <= GATED; mode++) {
            float *y = malloc(products[i].rows * products[i].n * sizeof *y);
            run_product(NULL, 1, &products[i], mode, 0, products[i].rows, y);
            check_product(&products[i], mode, y);
            free(y);
        }
}

/* One hash over all four modes of a case. */
static uint64_t product_hash(const char *isa, int threads, const product_case *c)
{
    size_t n = c->rows * c->n;
    float *y = malloc(4 * n * sizeof *y);
    for (int mode = PLAIN; mode <= GATED; mode++)
        run_product(isa, threads, c, mode, 0, c->rows, y + (size_t)mode * n);
    uint64_t hash = rm_hash_bytes(y, 4 * n * sizeof *y);
    free(y);
    return hash;
}

Test(ops, products_have_the_committed_bits)
{
    for (const char *const *isa = ops->isa_names; *isa; isa++) {
        if (!ops->isa_available(*isa))
            continue;
        for (int i = 0; i < N_PRODUCTS; i++)
            for (int threads = 1; threads <= 3; threads += 2) {
                uint64_t hash = product_hash(*isa, threads, &products[i]);
                cr_expect_eq(hash, products[i].hash, "%s, %d threads, product %d: 0x%016llx", *isa,
                             threads, i, (unsigned long long)hash);
            }
    }
}

Test(ops, a_row_of_a_product_does_not_depend_on_the_others)
{
    for (int i = 0; i < N_PRODUCTS; i++) {
        const product_case *c = &products[i];
        float *all = malloc(c->rows * c->n * sizeof *all),
              *some = malloc(c->rows * c->n * sizeof *some);
        run_product(NULL, 1, c, GATED, 0, c->rows, all);
        for (size_t first = 0; first < c->rows; first += 1 + c->rows / 5)
            for (size_t rows = 1; first + rows <= c->rows; rows = 3 * rows + 1) {
                run_product(NULL, 2, c, GATED, first, rows, some);
                cr_assert_eq(memcmp(some, all + first * c->n, rows * c->n * sizeof *some), 0,
                             "product %d, rows %zu to %zu", i, first, first + rows);
            }
        free(all);
        free(some);
    }
}

/* ---- stacked weights, chains, errors ------------------------------------------------------------
 */

Test(ops, stacked_matrices_are_one_above_the_other)
{
    rm_error err;
    rm_backend *b = open_backend(NULL, 2);
    rm_matrix all = make_matrix(RM_F32, 90, 40, 1), part[3];
    static const size_t sizes[] = { 50, 17, 23 };
    const float *bias[3] = { NULL, values(9, 17), NULL };
    for (size_t i = 0, at = 0; i < 3; at += sizes[i++])
        part[i] = (rm_matrix){ RM_F32, (const float *)all.data + at * 40, sizes[i], 40 };
    float *x = values(3, 5 * 40), whole[5 * 90], stacked[5 * 90];
    rm_weight *w[2];
    cr_assert_eq(ops->weight_new(b, &all, NULL, 1, RM_COMPUTE_F32, &w[0], &err), RM_OK);
    cr_assert_eq(ops->weight_new(b, part, bias, 3, RM_COMPUTE_F32, &w[1], &err), RM_OK);
    rm_tensor *in = new_tensor(b, 5, 40, x),
              *y[2] = { new_tensor(b, 5, 90, NULL), new_tensor(b, 5, 90, NULL) };
    for (int i = 0; i < 2; i++)
        ops->matmul(b, y[i], in, w[i], 5);
    flush(b);
    read_tensor(y[0], 5, whole);
    read_tensor(y[1], 5, stacked);
    for (int r = 0; r < 5; r++)
        for (int n = 0; n < 90; n++) {
            float want = whole[r * 90 + n] + (n >= 50 && n < 67 ? bias[1][n - 50] : 0.0f);
            cr_assert_eq(stacked[r * 90 + n], want);
        }
    for (int i = 0; i < 2; i++) {
        ops->weight_free(b, w[i]);
        ops->tensor_free(b, y[i]);
    }
    ops->tensor_free(b, in);
    ops->close(b);
    free((void *)all.data);
    free((void *)bias[1]);
    free(x);
}

/* The copy of a tensor that products read follows every change of the tensor, whoever made it
 * and however few rows he wrote. */
Test(ops, inputs_of_products_are_never_stale)
{
    static const rm_compute computes[] = { RM_COMPUTE_F32, RM_COMPUTE_BF16, RM_COMPUTE_Q8 };
    for (int i = 0; i < 3; i++) {
        rm_error err;
        rm_backend *b = open_backend(NULL, 2);
        rm_matrix m = make_matrix(RM_Q8_0, 64, 64, 1);
        float *x = values(3, 8 * 64), *ones = values(0, 64), got[8 * 64], want[8 * 64];
        for (int j = 0; j < 64; j++)
            ones[j] = 1;
        rm_weight *w, *norm;
        cr_assert_eq(ops->weight_new(b, &m, NULL, 1, computes[i], &w, &err), RM_OK);
        cr_assert_eq(ops->vector_new(b, ones, 64, &norm, &err), RM_OK);
        rm_tensor *a = new_tensor(b, 8, 64, x), *h = new_tensor(b, 8, 64, NULL),
                  *y = new_tensor(b, 8, 64, NULL);
        static const int32_t to[] = { 1, 6 }, from[] = { 7, 0 };
        ops->rms_norm(b, h, a, norm, 1e-5f, 8);
        ops->matmul(b, y, h, w, 8);             /* the copy is current for 8 rows */
        ops->rms_norm(b, h, y, norm, 1e-5f, 3); /* rows 0 to 2 change */
        ops->copy_rows(b, h, to, a, from, 2);   /* and rows 1 and 6 */
        ops->matmul(b, y, h, w, 8);
        flush(b);
        read_tensor(y, 8, got);
        read_tensor(h, 8, want);
        rm_tensor *fresh = new_tensor(b, 8, 64, want);
        ops->matmul(b, y, fresh, w, 8);
        flush(b);
        read_tensor(y, 8, want);
        cr_expect_eq(memcmp(got, want, sizeof got), 0, "compute %d", computes[i]);
        rm_tensor *tensors[] = { a, h, y, fresh };
        for (int j = 0; j < 4; j++)
            ops->tensor_free(b, tensors[j]);
        ops->weight_free(b, w);
        ops->weight_free(b, norm);
        ops->close(b);
        free((void *)m.data);
        free(x);
        free(ones);
    }
}

Test(ops, impossible_options_and_weights_are_refused)
{
    rm_error err;
    rm_backend *b = NULL;
    rm_weight *w = NULL;
    rm_kv *kv = NULL;
    static const rm_backend_options wrong[] = { { .isa = "sse9", .n_threads = 1, .max_rows = 16 },
                                                { .max_rows = 16 },
                                                { .n_threads = 1 } };
    for (int i = 0; i < 3; i++)
        cr_expect_eq(ops->open(&wrong[i], &b, &err), RM_E_ARGUMENT);
    b = open_backend("portable", 1);
    cr_expect_str_eq(ops->isa(b), "portable");
    float data[64] = { 0 };
    rm_matrix narrow = { RM_Q8_0, data, 2, 16 }, f32 = { RM_F32, data, 2, 32 },
              other[2] = { f32, { RM_F32, data, 2, 16 } };
    cr_expect_eq(ops->weight_new(b, &narrow, NULL, 1, RM_COMPUTE_F32, &w, &err), RM_E_FORMAT);
    cr_expect_eq(ops->weight_new(b, &f32, NULL, 1, RM_COMPUTE_Q8, &w, &err), RM_E_UNSUPPORTED);
    cr_expect_eq(ops->weight_new(b, other, NULL, 2, RM_COMPUTE_F32, &w, &err), RM_E_FORMAT);
    cr_expect_eq(ops->weight_new_gated(b, &other[0], &other[1], RM_COMPUTE_F32, &w, &err),
                 RM_E_FORMAT);
    rm_kv_shape shape = { 1, 1, 32, 17, RM_F32, 0 };
    cr_expect_eq(ops->kv_new(b, &shape, NULL, 64, &kv, &err), RM_E_ARGUMENT);
    shape.page_positions = 16;
    rm_rope odd = { .n_dims = 34, .theta = 10000, .scale = 1 };
    cr_expect_eq(ops->kv_new(b, &shape, &odd, 64, &kv, &err), RM_E_FORMAT);
    ops->close(b);
}

/* ---- norm and tables ---------------------------------------------------------------------------
 */

Test(ops, norm_is_right_and_has_the_committed_bits)
{
    static const struct {
        size_t rows, n;
        uint64_t hash;
    } cases[] = { { 33, 77, UINT64_C(0xf812721fb901831a) },
                  { 7, 896, UINT64_C(0x5b175dfa4203830b) },
                  { 3, 8, UINT64_C(0x55e2269b7f259179) } };
    for (const char *const *isa = ops->isa_names; *isa; isa++) {
        if (!ops->isa_available(*isa))
            continue;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            size_t rows = cases[i].rows, n = cases[i].n;
            rm_error err;
            rm_backend *b = open_backend(*isa, 2);
            float *x = values(1, rows * n), *w = values(2, n), *y = malloc(rows * n * sizeof *y);
            rm_weight *weight;
            cr_assert_eq(ops->vector_new(b, w, n, &weight, &err), RM_OK);
            rm_tensor *t = new_tensor(b, rows, n, x);
            ops->rms_norm(b, t, t, weight, 1e-5f, (int)rows);
            flush(b);
            read_tensor(t, rows, y);
            for (size_t r = 0; r < rows; r++) {
                double sum = 0;
                for (size_t j = 0; j < n; j++)
                    sum += (double)x[r * n + j] * (double)x[r * n + j];
                double scale = 1 / sqrt(sum / (double)n + 1e-5);
                for (size_t j = 0; j < n; j++) { /* n / 16 additions a lane, and a few roundings */
                    double want = (double)x[r * n + j] * scale * (double)w[j];
                    cr_assert(fabs((double)y[r * n + j] - want) <=
                              (double)(n / 16 + 8) * 0x1p-24 * fabs(want) + 1e-9);
                }
            }
            uint64_t hash = rm_hash_bytes(y, rows * n * sizeof *y);
            cr_expect_eq(hash, cases[i].hash, "%s, norm %zu: 0x%016llx", *isa, i,
                         (unsigned long long)hash);
            ops->tensor_free(b, t);
            ops->weight_free(b, weight);
            ops->close(b);
            free(x);
            free(w);
            free(y);
        }
    }
}

Test(ops, tables_are_looked_up_exactly)
{
    static const struct {
        rm_dtype type;
        size_t width;
    } cases[] = {
        { RM_F32, 50 }, { RM_F16, 50 }, { RM_BF16, 33 }, { RM_Q8_0, 96 }, { RM_F16, 64 }
    };
    static const int32_t tokens[] = { 3, 0, 9, 3, 8 };
    for (const char *const *isa = ops->isa_names; *isa; isa++) {
        if (!ops->isa_available(*isa))
            continue;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            rm_error err;
            size_t n = cases[i].width;
            rm_backend *b = open_backend(*isa, 1);
            rm_matrix m = make_matrix(cases[i].type, 10, n, 1);
            rm_weight *table;
            cr_assert_eq(ops->table_new(b, &m, &table, &err), RM_OK);
            rm_tensor *t = new_tensor(b, 5, n, NULL);
            float *want = malloc(10 * n * sizeof *want), *got = malloc(5 * n * sizeof *got);
            ops->embed(b, t, table, tokens, 5);
            flush(b);
            read_tensor(t, 5, got);
            rm_dtype_widen(m.type, m.data, 10 * n, want);
            for (size_t r = 0; r < 5; r++)
                cr_expect_eq(memcmp(got + r * n, want + (size_t)tokens[r] * n, n * sizeof *got), 0,
                             "%s type %d", *isa, m.type);
            ops->tensor_free(b, t);
            ops->weight_free(b, table);
            ops->close(b);
            free((void *)m.data);
            free(want);
            free(got);
        }
    }
}
