/* Kernels of single rows and cells on the device, emulated or real: norms have the CPU backend's bits, tables
 * are widened exactly, copies copy, and padding is left alone. */
#include "tests/cuda/device_memory.h"

#include "engine/cpu/cpu.h"
#include "engine/num.h"

static const int row_counts[] = { 1, 7, 33, 129 };

/* x normalised by the CPU backend, whole rows or heads first .. first + n - 1 of them. */
static void norm_on_cpu(float *x, const float *w, int rows, int width, int head_dim, int first, int n)
{
    const rm_ops *ops = &rm_cpu_ops;
    rm_error err = { "" };
    rm_backend *b = NULL;
    rm_backend_options options = { .n_threads = 1, .max_rows = 256 };
    cr_assert_eq(ops->open(&options, &b, &err), RM_OK, "%s", err.text);
    rm_tensor *t = NULL;
    rm_weight *weight = NULL;
    ops->tensor_new(b, (size_t)rows, (size_t)width, &t, &err);
    ops->vector_new(b, w, (size_t)(n ? head_dim : width), &weight, &err);
    for (int r = 0; r < rows; r++)
        memcpy(t->data + (size_t)r * t->stride, x + r * width, (size_t)width * 4);
    if (n)
        ops->head_norm(b, t, weight, 1e-6f, first, n, rows);
    else
        ops->rms_norm(b, t, t, weight, 1e-6f, rows);
    cr_assert_eq(ops->flush(b, &err), RM_OK, "%s", err.text);
    for (int r = 0; r < rows; r++)
        memcpy(x + r * width, t->data + (size_t)r * t->stride, (size_t)width * 4);
    ops->tensor_free(b, t);
    ops->weight_free(b, weight);
    ops->close(b);
}

Test(rows, norms_have_the_bits_of_the_cpu)
{
    static const int widths[] = { 8, 100, 256, 896, 4100, 8200 };
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (size_t j = 0; j < sizeof row_counts / sizeof *row_counts; j++) {
            int D = widths[i], R = D > 1000 ? (int)j + 1 : row_counts[j], padded = (D + 7) / 8 * 8;
            size_t n = (size_t)R * (size_t)D;
            float *x = values_of(50, (size_t)R, (size_t)D, (size_t)D),
                  *w = values_of(7, 1, (size_t)D, (size_t)D), *y = malloc(n * 4);
            uint16_t *half = malloc((size_t)(R * padded) * 2);
            rm_norm_args a = { .y = on_device(NULL, n * 4),
                               .rounded = { filled_on_device(0xff, (size_t)(R * padded) * 2), padded,
                                            RM_CUDA_BF16 },
                               .x = on_device(x, n * 4), .w = on_device(w, (size_t)D * 4),
                               .eps = 1e-6f, .rows = R, .width = D, .x_stride = D, .y_stride = D };
            cr_assert_eq(rm_launch_rms_norm(&a, NULL), 0);
            from_device(y, a.y, n * 4);
            from_device(half, a.rounded.to, (size_t)(R * padded) * 2);
            norm_on_cpu(x, w, R, D, 0, 0, 0);
            cr_expect_eq(memcmp(x, y, n * 4), 0, "%d rows of %d", R, D);
            for (int r = 0; r < R; r++)
                for (int c = 0; c < padded; c++)
                    cr_assert_eq(half[r * padded + c],
                                 c < D ? rm_f32_to_bf16(y[r * D + c]) : 0, "row %d, column %d", r, c);
            free(x);
            free(w);
            free(y);
            free(half);
            device_free(a.y);
            device_free(a.rounded.to);
            device_free((void *)(uintptr_t)a.x);
            device_free((void *)(uintptr_t)a.w);
        }
}

Test(rows, heads_have_the_bits_of_the_cpu)
{
    static const int dims[] = { 32, 64, 80, 128, 20 };
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        int C = dims[i], heads = 5, R = 7, D = heads * C;
        float *x = values_of(3, (size_t)R, (size_t)D, (size_t)D), *w = values_of(9, 1, (size_t)C, (size_t)C);
        rm_head_norm_args a = { .y = on_device(x, (size_t)(R * D) * 4), .w = on_device(w, (size_t)C * 4),
                                .eps = 1e-6f, .rows = R, .stride = D, .first = 1, .n = 3, .head_dim = C };
        cr_assert_eq(rm_launch_head_norm(&a, NULL), 0);
        norm_on_cpu(x, w, R, D, C, 1, 3);
        float *y = malloc((size_t)(R * D) * 4);
        from_device(y, a.y, (size_t)(R * D) * 4);
        cr_expect_eq(memcmp(x, y, (size_t)(R * D) * 4), 0, "heads of %d", C);
        free(x);
        free(w);
        free(y);
        device_free(a.y);
        device_free((void *)(uintptr_t)a.w);
    }
}

Test(rows, tables_are_widened_exactly)
{
    enum { V = 11, D = 70, R = 6 };
    static const int32_t token[R] = { 10, 0, -1, 3, 3, 7 };
    float *f32 = values_of(2, V, D, D), y[R * D];
    f32[5] = 0x1p-20f; /* subnormal in f16 */
    for (int type = RM_CUDA_F32; type <= RM_CUDA_BF16; type++) {
        char *table = malloc(V * D * 4);
        rm_dtype_narrow((rm_dtype)type, f32, V * D, table);
        float wide[V * D];
        rm_dtype_widen((rm_dtype)type, table, V * D, wide);
        rm_embed_args a = { .y = on_device(NULL, sizeof y),
                            .table = on_device(table, V * D * (type ? 2 : 4)),
                            .token = on_device(token, sizeof token), .type = type, .rows = R,
                            .width = D, .y_stride = D };
        cr_assert_eq(rm_launch_embed(&a, NULL), 0);
        from_device(y, a.y, sizeof y);
        for (int r = 0; r < R; r++)
            for (int c = 0; c < D; c++)
                cr_assert_eq(y[r * D + c], token[r] < 0 ? 0 : wide[token[r] * D + c]);
        free(table);
        device_free(a.y);
        device_free((void *)(uintptr_t)a.table);
        device_free((void *)(uintptr_t)a.token);
    }
    free(f32);
}

/* Every value that has a rounding of its own: all 16-bit patterns, and what lies between them. */
Test(rows, rounding_is_that_of_the_cpu)
{
    enum { N = 65536 };
    float *x = malloc(2 * N * sizeof *x);
    for (uint32_t i = 0; i < N; i++) {
        x[i] = rm_f32_from_bits(i << 16 | (i * 40503u & 0xffffu));
        x[N + i] = rm_f32_from_bits(rm_f32_bits(rm_f16_to_f32((uint16_t)i)) + (i % 3) * 0x800u);
    }
    uint16_t *half = malloc(2 * N * 2);
    for (int type = RM_CUDA_F16; type <= RM_CUDA_BF16; type++) {
        rm_round_args a = { .rounded = { on_device(NULL, 2 * N * 2), N / 8, type },
                            .x = on_device(x, 2 * N * 4), .rows = 16, .width = N / 8,
                            .x_stride = N / 8 };
        cr_assert_eq(rm_launch_round(&a, NULL), 0);
        from_device(half, a.rounded.to, 2 * N * 2);
        for (uint32_t i = 0; i < 2 * N; i++)
            cr_assert_eq(half[i], type == RM_CUDA_F16 ? rm_f32_to_f16(x[i]) : rm_f32_to_bf16(x[i]),
                         "%a", (double)x[i]);
        device_free(a.rounded.to);
        device_free((void *)(uintptr_t)a.x);
    }
    free(x);
    free(half);
}

Test(rows, copies_copy_and_skip_padding)
{
    enum { D = 9, R = 5 };
    static const int32_t to[] = { 4, 0, -1, 2 }, from[] = { 1, 0, 3, -1 };
    float *x = values_of(1, R, D, D), y[R * D];
    rm_copy_rows_args a = { .y = on_device(NULL, sizeof y), .x = on_device(x, sizeof y),
                            .to = on_device(to, sizeof to), .from = on_device(from, sizeof from),
                            .n = 4, .width = D, .y_stride = D, .x_stride = D };
    cr_assert_eq(rm_launch_copy_rows(&a, NULL), 0);
    from_device(y, a.y, sizeof y);
    for (int c = 0; c < D; c++) {
        cr_expect_eq(y[4 * D + c], x[D + c]);
        cr_expect_eq(y[c], x[c]);
        cr_expect_eq(y[2 * D + c], 0.0f);
    }
    free(x);
    device_free(a.y);
    device_free((void *)(uintptr_t)a.x);
    device_free((void *)(uintptr_t)a.to);
    device_free((void *)(uintptr_t)a.from);

    enum { BYTES = 48 * 1024, PAGES = 4 };
    static const int32_t pair[] = { 3, 0, -1, 1, 2, 1 };
    uint8_t *pages = malloc(PAGES * BYTES), *after = malloc(PAGES * BYTES);
    for (size_t i = 0; i < PAGES * BYTES; i++)
        pages[i] = (uint8_t)(i * 31 >> 3);
    rm_kv_copy_args k = { .base = on_device(pages, PAGES * BYTES), .page_bytes = BYTES,
                          .pair = on_device(pair, sizeof pair), .n = 3 };
    cr_assert_eq(rm_launch_kv_copy(&k, NULL), 0);
    from_device(after, k.base, PAGES * BYTES);
    cr_expect_eq(memcmp(after, pages, 2 * BYTES), 0);
    cr_expect_eq(memcmp(after + 3 * BYTES, pages, BYTES), 0);
    cr_expect_eq(memcmp(after + 2 * BYTES, pages + BYTES, BYTES), 0);
    free(pages);
    free(after);
    device_free(k.base);
    device_free((void *)(uintptr_t)k.pair);
}
