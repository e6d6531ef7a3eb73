/* Products on the device, emulated or real.
 *
 * f32 products of one piece equal the CPU backend's bit for bit, with every end; products of 16-bit
 * inputs equal a sum in double up to the rounding of their accumulator; and no row's bits depend
 * on how many rows there are, on where it stands, or on the size of the tile that serves it. */
#include "tests/cuda/device_memory.h"

#include "engine/cpu/cpu.h"

typedef struct product_case {
    int n, k;
    bool gated, bias;
} product_case;

static const product_case cases[] = {
    { 64, 64, false, false },   { 72, 96, false, true },  { 8, 8, false, false },
    { 130, 200, false, true },  { 96, 72, true, false },  { 160, 320, true, true },
    { 64, 1056, false, true }, /* two pieces */
    { 48, 2056, true, true },  /* four pieces, gated */
};
enum { N_CASES = sizeof cases / sizeof *cases };
static const int row_counts[] = { 1, 7, 33, 129 };
enum { N_COUNTS = 4, MOST_ROWS = 129 };

typedef struct product_data {
    const product_case *c;
    int k_stride, columns;
    float *x, *w, *bias, *start;
    uint16_t *x16[3], *w16[3];
} product_data;

static product_data data_of(const product_case *c)
{
    product_data d = { .c = c, .k_stride = (c->k + 7) / 8 * 8 };
    size_t k = (size_t)c->k, stride = (size_t)d.k_stride, n = (size_t)c->n;
    d.columns = c->gated ? c->n / 2 : c->n;
    d.x = values_of(1000, MOST_ROWS, k, stride);
    d.w = values_of(9000, n, k, stride);
    d.bias = values_of(5, 1, n, n);
    d.start = values_of(300, MOST_ROWS, (size_t)d.columns, (size_t)d.columns);
    for (int t = RM_F16; t <= RM_BF16; t++) {
        d.x16[t] = narrowed((rm_dtype)t, d.x, MOST_ROWS * stride);
        d.w16[t] = narrowed((rm_dtype)t, d.w, n * stride);
    }
    return d;
}

static void data_free(product_data *d)
{
    free(d->x);
    free(d->w);
    free(d->bias);
    free(d->start);
    for (int t = RM_F16; t <= RM_BF16; t++) {
        free(d->x16[t]);
        free(d->w16[t]);
    }
}

/* Rows first .. first + rows - 1 of the product with weights of `type`, mode ADD for those that
 * are not gated; `wide`: f32 inputs. */
static float *product(const product_data *d, rm_dtype type, bool wide, int first, int rows,
                      uint16_t *rounded)
{
    const product_case *c = d->c;
    size_t stride = (size_t)d->k_stride, width = (size_t)d->columns, n = (size_t)c->n;
    size_t x_bytes = wide ? 4 : 2, w_bytes = type == RM_F32 ? 4 : 2;
    const char *x = wide ? (const void *)d->x : (const void *)d->x16[type];
    const void *w = type == RM_F32 ? (const void *)d->w : (const void *)d->w16[type];
    size_t partial = rm_product_partial_floats(rows, c->n, c->k);
    rm_product_args a = {
        .y = on_device(d->start + (size_t)first * width, (size_t)rows * width * 4),
        .x = on_device(x + (size_t)first * stride * x_bytes, (size_t)rows * stride * x_bytes),
        .w = on_device(w, n * stride * w_bytes),
        .bias = c->bias ? on_device(d->bias, n * 4) : NULL,
        .partial = partial ? on_device(NULL, partial * 4) : NULL,
        .w_type = (int)type,
        .mode = c->gated ? RM_PRODUCT_GATE : RM_PRODUCT_ADD,
        .rows = rows,
        .n = c->n,
        .k = c->k,
        .x_stride = d->k_stride,
        .w_stride = d->k_stride,
        .y_stride = d->columns,
    };
    if (rounded)
        a.rounded = (rm_rounded){ on_device(NULL, (size_t)rows * width * 2), d->columns, RM_CUDA_BF16 };
    int status = wide ? rm_launch_product_f32(&a, NULL) : rm_launch_product(&a, NULL);
    cr_assert_eq(status, 0, "n %d, k %d, %d rows: error %d", c->n, c->k, rows, status);
    float *y = calloc((size_t)rows * width, sizeof *y);
    from_device(y, a.y, (size_t)rows * width * 4);
    if (rounded) {
        from_device(rounded, a.rounded.to, (size_t)rows * width * 2);
        device_free(a.rounded.to);
    }
    device_free(a.y);
    device_free((void *)(uintptr_t)a.x);
    device_free((void *)(uintptr_t)a.w);
    device_free((void *)(uintptr_t)a.bias);
    device_free(a.partial);
    return y;
}

static double silu(double x)
{
    return x / (1.0 + exp(-x));
}

/* Sum in double, and the sum of magnitudes for the bound. */
static double exact(const product_data *d, rm_dtype type, int row, int j, double *size)
{
    double sum = d->c->bias ? (double)d->bias[j] : 0.0;
    *size = fabs(sum);
    for (int k = 0; k < d->c->k; k++) {
        size_t a = (size_t)row * (size_t)d->k_stride + (size_t)k,
               b = (size_t)j * (size_t)d->k_stride + (size_t)k;
        double x = type == RM_F16 ? (double)rm_f16_to_f32(d->x16[RM_F16][a])
                                  : (double)rm_bf16_to_f32(d->x16[RM_BF16][a]);
        double w = type == RM_F16 ? (double)rm_f16_to_f32(d->w16[RM_F16][b])
                                  : (double)rm_bf16_to_f32(d->w16[RM_BF16][b]);
        sum += x * w;
        *size += fabs(x * w);
    }
    return sum;
}

Test(product, of_16_bits_is_the_sum)
{
    for (int i = 0; i < N_CASES; i++) {
        product_data d = data_of(&cases[i]);
        rm_dtype type = i % 2 ? RM_F16 : RM_BF16;
        int rows = 33;
        uint16_t *rounded = calloc((size_t)(rows * d.columns), 2);
        float *y = product(&d, type, false, 0, rows, cases[i].n % 8 ? NULL : rounded);
        double worst = 0;
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < d.columns; j++) {
                double size, other = 0, want;
                if (cases[i].gated) {
                    int low = j / 8 * 16 + j % 8;
                    want = silu(exact(&d, type, r, low, &size)) *
                           exact(&d, type, r, low + 8, &other);
                    size = (size + 1) * (other + 1);
                } else {
                    want = exact(&d, type, r, j, &size) + (double)d.start[r * d.columns + j];
                    size += 1;
                }
                /* the accumulator loses at most 2^-23 of what was added, at each of k / 16 + 8
                 * roundings; a device may cut off instead of rounding */
                double bound = size * 0x1p-22 * (cases[i].k / 16 + 8);
                double error = fabs((double)y[r * d.columns + j] - want) / bound;
                worst = fmax(worst, error);
                if (cases[i].n % 8 == 0)
                    cr_assert_eq(rounded[r * d.columns + j],
                                 rm_f32_to_bf16(y[r * d.columns + j]));
            }
        cr_expect_leq(worst, 1.0, "case %d: %g of the bound", i, worst);
        free(rounded);
        free(y);
        data_free(&d);
    }
}

/* All rows together, and pieces that the other tiles serve. */
static void check_rows(const product_data *d, rm_dtype type, bool wide)
{
    size_t bytes = (size_t)d->columns * sizeof(float);
    float *all = product(d, type, wide, 0, MOST_ROWS, NULL);
    for (int i = 0; i < N_COUNTS - 1; i++) {
        int rows = row_counts[i], first = MOST_ROWS - rows - i;
        float *some = product(d, type, wide, first, rows, NULL);
        cr_expect_eq(memcmp(some, (char *)all + (size_t)first * bytes, (size_t)rows * bytes), 0,
                     "n %d, k %d, type %d: %d rows", d->c->n, d->c->k, (int)type, rows);
        free(some);
    }
    float *middle = product(d, type, wide, 40, 60, NULL); /* tiles of 64 */
    cr_expect_eq(memcmp(middle, (char *)all + 40 * bytes, 60 * bytes), 0);
    free(middle);
    free(all);
}

Test(product, rows_do_not_see_each_other)
{
    for (int i = 0; i < N_CASES; i++) {
        product_data d = data_of(&cases[i]);
        check_rows(&d, i % 2 ? RM_BF16 : RM_F16, false);
        check_rows(&d, RM_F32, true);
        data_free(&d);
    }
}

Test(product, order_of_threads_changes_nothing)
{
    product_data d = data_of(&cases[5]);
    for (int wide = 0; wide < 2; wide++) {
        float *y[3];
        for (int seed = 0; seed < ORDERS; seed++) {
            thread_order((uint64_t)seed);
            y[seed] = product(&d, wide ? RM_F32 : RM_BF16, wide, 0, 33, NULL);
        }
        thread_order(0);
        for (int seed = 1; seed < ORDERS; seed++)
            cr_expect_eq(memcmp(y[0], y[seed], 33 * (size_t)d.columns * 4), 0);
        for (int seed = 0; seed < ORDERS; seed++)
            free(y[seed]);
    }
    data_free(&d);
}

/* The same by the CPU backend, on weights of `type`. */
static float *on_cpu(const product_data *d, rm_dtype type, int rows)
{
    const rm_ops *ops = &rm_cpu_ops;
    const product_case *c = d->c;
    rm_error err = { "" };
    rm_backend *b = NULL;
    rm_backend_options options = { .n_threads = 1, .max_rows = 256 };
    cr_assert_eq(ops->open(&options, &b, &err), RM_OK, "%s", err.text);
    size_t k = (size_t)c->k, n = (size_t)c->n, stride = (size_t)d->k_stride, F = n / 2,
           each = type == RM_F32 ? 4 : 2;
    const char *w = type == RM_F32 ? (const void *)d->w : (const void *)d->w16[type];
    char *dense = malloc(n * k * each);
    for (size_t j = 0; j < n; j++) { /* gate rows first, then up rows */
        size_t to = c->gated ? j / 16 * 8 + j % 8 + (j % 16 < 8 ? 0 : F) : j;
        memcpy(dense + to * k * each, w + j * stride * each, k * each);
    }
    rm_matrix m = { type, dense, c->gated ? F : n, k },
              up = { type, dense + F * k * each, F, k };
    const float *bias = c->bias ? d->bias : NULL;
    rm_weight *weight = NULL;
    cr_assert_eq(c->gated ? ops->weight_new_gated(b, &m, &up, RM_COMPUTE_F32, &weight, &err)
                          : ops->weight_new(b, &m, &bias, 1, RM_COMPUTE_F32, &weight, &err),
                 RM_OK, "%s", err.text);
    rm_tensor *x = NULL, *y = NULL;
    ops->tensor_new(b, (size_t)rows, k, &x, &err);
    ops->tensor_new(b, (size_t)rows, (size_t)d->columns, &y, &err);
    for (int r = 0; r < rows; r++) {
        memcpy(x->data + (size_t)r * x->stride, d->x + (size_t)r * stride, k * 4);
        memcpy(y->data + (size_t)r * y->stride, d->start + r * d->columns, (size_t)d->columns * 4);
    }
    if (c->gated)
        ops->swiglu(b, y, x, weight, rows);
    else
        ops->matmul_add(b, y, x, weight, rows);
    cr_assert_eq(ops->flush(b, &err), RM_OK, "%s", err.text);
    float *out = malloc((size_t)rows * (size_t)d->columns * 4);
    for (int r = 0; r < rows; r++)
        memcpy(out + r * d->columns, y->data + (size_t)r * y->stride, (size_t)d->columns * 4);
    ops->tensor_free(b, x);
    ops->tensor_free(b, y);
    ops->weight_free(b, weight);
    ops->close(b);
    free(dense);
    return out;
}

Test(product, of_f32_has_the_bits_of_the_cpu)
{
    for (int i = 0; i < N_CASES; i++) {
        const product_case *c = &cases[i];
        if (rm_product_split(c->n, c->k) > 1 || (c->gated && c->bias))
            continue; /* the CPU adds one piece, and gives gates no bias */
        product_data d = data_of(c);
        for (rm_dtype type = RM_F32; type <= RM_BF16; type++) {
            float *want = on_cpu(&d, type, 33), *got = product(&d, type, true, 0, 33, NULL);
            cr_expect_eq(memcmp(want, got, 33 * (size_t)d.columns * 4), 0, "case %d, type %d", i,
                         (int)type);
            free(want);
            free(got);
        }
        data_free(&d);
    }
}

/* Every input 1: each output is k exactly, so a piece of K that is lost or counted twice shows. */
Test(product, of_ones_counts_k)
{
    static const int shapes[][2] = { { 64, 1024 }, { 16, 1096 }, { 512, 520 }, { 24, 4744 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        size_t n = (size_t)shapes[i][0], k = (size_t)shapes[i][1];
        uint16_t *ones = malloc(n * k * 2);
        for (size_t j = 0; j < n * k; j++)
            ones[j] = 0x3f80; /* 1 in bf16 */
        size_t partial = rm_product_partial_floats(3, (int)n, (int)k);
        rm_product_args a = { .y = on_device(NULL, 3 * n * 4),
                              .x = on_device(ones, 3 * k * 2),
                              .w = on_device(ones, n * k * 2),
                              .partial = on_device(NULL, partial * 4),
                              .w_type = RM_CUDA_BF16,
                              .mode = RM_PRODUCT_STORE,
                              .rows = 3,
                              .n = (int)n,
                              .k = (int)k,
                              .x_stride = (int)k,
                              .w_stride = (int)k,
                              .y_stride = (int)n };
        cr_assert_eq(rm_launch_product(&a, NULL), 0);
        float *y = malloc(3 * n * 4);
        from_device(y, a.y, 3 * n * 4);
        for (size_t j = 0; j < 3 * n; j++)
            cr_assert_eq(y[j], (float)k, "n %zu, k %zu: %g", n, k, (double)y[j]);
        free(y);
        free(ones);
        device_free(a.y);
        device_free((void *)(uintptr_t)a.x);
        device_free((void *)(uintptr_t)a.w);
        device_free(a.partial);
    }
}
