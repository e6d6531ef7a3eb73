/* test_overlap.c - a chain of short launches, each of which reads what the one before wrote, gives the same
 * whether launches may overlap (engine/cuda/device.h) or follow one another. On the device in software
 * they always do; check.c runs this first of all on a real one. */
#include "tests/cuda/device_memory.h"

#if RM_TEST_ON_DEVICE
enum { R = 33, D = 64, TIMES = 2000 };
#else
enum { R = 33, D = 64, TIMES = 4 };
#endif

/* x = W norm(x), rows turned over, so many times. */
static void chain(int times, float *out)
{
    float *x = values_of(3, R, D, D), *w = values_of(50, D, D, D), ones[D];
    uint16_t *narrow = narrowed(RM_BF16, w, D * D);
    int32_t from[R], to[R];
    for (int i = 0; i < D; i++)
        ones[i] = 1.0f;
    for (int r = 0; r < R; r++) {
        from[r] = r;
        to[r] = R - 1 - r;
    }
    float *dx = on_device(x, R * D * 4), *dz = on_device(NULL, R * D * 4);
    uint16_t *dh = on_device(NULL, R * D * 2), *dw = on_device(narrow, D * D * 2);
    float *done = on_device(ones, sizeof ones);
    int32_t *dfrom = on_device(from, sizeof from), *dto = on_device(to, sizeof to);
    rm_norm_args norm = { .rounded = { dh, D, RM_CUDA_BF16 }, .x = dx, .w = done, .eps = 1e-5f,
                          .rows = R, .width = D, .x_stride = D, .y_stride = D };
    rm_product_args product = { .y = dz, .x = dh, .w = dw, .w_type = RM_CUDA_BF16,
                                .mode = RM_PRODUCT_STORE, .rows = R, .n = D, .k = D, .x_stride = D,
                                .w_stride = D, .y_stride = D };
    rm_copy_rows_args copy = { .y = dx, .x = dz, .to = dto, .from = dfrom, .n = R, .width = D,
                               .y_stride = D, .x_stride = D };
    for (int i = 0; i < times; i++) {
        cr_assert_eq(rm_launch_rms_norm(&norm, NULL), 0);
        cr_assert_eq(rm_launch_product(&product, NULL), 0);
        cr_assert_eq(rm_launch_copy_rows(&copy, NULL), 0);
    }
    from_device(out, dx, R * D * 4);
    device_free(dx);
    device_free(dz);
    device_free(dh);
    device_free(dw);
    device_free(done);
    device_free(dfrom);
    device_free(dto);
    free(x);
    free(w);
    free(narrow);
}

Test(overlap, changes_no_bit)
{
    static float apart[R * D], over[R * D];
    int before = rm_launch_overlap;
    rm_launch_overlap = 0;
    chain(TIMES, apart);
    rm_launch_overlap = before;
    chain(TIMES, over);
    for (int i = 0; i < R * D; i++)
        cr_assert(apart[i] == apart[i] && fabsf(apart[i]) < 100.0f, "entry %d is %g", i,
                  (double)apart[i]);
    cr_expect_eq(memcmp(apart, over, sizeof apart), 0);
}
