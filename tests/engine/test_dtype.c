/* test_dtype.c - conversions between value types, against hardware and hand-worked values. */
#include "engine/dtype.h"

#include <criterion/criterion.h>
#include <math.h>

#if defined(__x86_64__)
#include <immintrin.h>

/* The processor's own conversions (F16C, IEEE 754 round to nearest even). */
__attribute__((target("f16c"))) static float hardware_widen(uint16_t h)
{
    return _cvtsh_ss(h);
}

__attribute__((target("f16c"))) static uint16_t hardware_narrow(float x)
{
    return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT);
}

/* clang 14 cannot be asked for F16C; every processor with AVX2 has it. */
static bool have_hardware(void) { return __builtin_cpu_supports("avx2"); }
#else
static float hardware_widen(uint16_t h) { return h; }
static uint16_t hardware_narrow(float x) { return (uint16_t)x; }
static bool have_hardware(void) { return false; }
#endif

Test(dtype, f16_widens_as_hardware_does)
{
    if (!have_hardware())
        cr_skip("this processor has no F16C");
    for (uint32_t h = 0; h < 0x10000; h++)
        cr_expect_eq(rm_f32_bits(rm_f16_to_f32((uint16_t)h)),
                     rm_f32_bits(hardware_widen((uint16_t)h)), "%04x", h);
}

/* Around every boundary between two f16 values, and a million bit patterns from everywhere. */
Test(dtype, f16_narrows_as_hardware_does)
{
    if (!have_hardware())
        cr_skip("this processor has no F16C");
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float low = rm_f16_to_f32((uint16_t)h);
        float high = h == 0x7bff ? 65536.0f : rm_f16_to_f32((uint16_t)(h + 1));
        uint32_t middle = rm_f32_bits((low + high) / 2);
        for (uint32_t d = 0; d < 3; d++)
            for (uint32_t sign = 0; sign < 2; sign++) {
                float x = rm_f32_from_bits((middle - 1 + d) | sign << 31);
                cr_expect_eq(rm_f32_to_f16(x), hardware_narrow(x), "%a", (double)x);
            }
    }
    for (uint32_t i = 0; i < 1000000; i++) {
        float x = rm_f32_from_bits((uint32_t)rm_random(1, 2, i, 0));
        if (rm_f32_to_f16(x) != hardware_narrow(x))
            cr_assert_fail("%a: %04x, hardware %04x", (double)x, rm_f32_to_f16(x),
                           hardware_narrow(x));
    }
}

/* IEEE 754-2008, table 3.5 parameters worked out by hand. */
Test(dtype, f16_known_values)
{
    static const struct { float x; uint16_t h; } table[] = {
        { 0.0f, 0x0000 }, { 1.0f, 0x3c00 }, { -2.0f, 0xc000 }, { 65504.0f, 0x7bff },
        { 65519.0f, 0x7bff }, { 65520.0f, 0x7c00 }, { 0x1p-14f, 0x0400 }, { 0x1p-24f, 0x0001 },
        { 0x1p-25f, 0x0000 }, { 0x1.8p-24f, 0x0002 }, { 0x1.000002p-25f, 0x0001 },
        { 0.333333343f, 0x3555 }, { INFINITY, 0x7c00 }, { -INFINITY, 0xfc00 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        cr_expect_eq(rm_f32_to_f16(table[i].x), table[i].h, "%a", (double)table[i].x);
    cr_expect(isnan(rm_f16_to_f32(rm_f32_to_f16(NAN))));
}

Test(dtype, bf16_known_values)
{
    static const struct { uint32_t bits; uint16_t h; } table[] = {
        { 0x3f800000, 0x3f80 }, /* 1 */
        { 0x3f808000, 0x3f80 }, /* half way, even below */
        { 0x3f818000, 0x3f82 }, /* half way, even above */
        { 0x3f808001, 0x3f81 }, { 0x3f817fff, 0x3f81 },
        { 0x7f7fffff, 0x7f80 }, /* the largest float rounds to infinity */
        { 0x7f800000, 0x7f80 }, { 0xff800000, 0xff80 },
        { 0x7f800001, 0x7fc0 }, /* a NaN whose kept bits would be infinity's */
        { 0x80000001, 0x8000 }, { 0x00008000, 0x0000 }, { 0x00018000, 0x0002 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        cr_expect_eq(rm_f32_to_bf16(rm_f32_from_bits(table[i].bits)), table[i].h, "%08x",
                     table[i].bits);
    for (uint32_t h = 0; h < 0x10000; h++)
        if ((h & 0x7f80) != 0x7f80 || (h & 0x7f) == 0)
            cr_expect_eq(rm_f32_to_bf16(rm_bf16_to_f32((uint16_t)h)), h);
}

Test(dtype, q8_0_by_hand)
{
    float x[32] = { 0 };
    rm_q8_block b;
    x[0] = 127; x[1] = -127; x[2] = 0.5f; x[3] = 1.5f; x[4] = 2.5f; x[5] = -0.5f; x[6] = -1.5f;
    rm_q8_quantize(x, &b); /* the scale is 1: halves go to the even neighbour */
    cr_expect_eq(b.d, 0x3c00);
    static const int8_t expected[7] = { 127, -127, 0, 2, 2, 0, -2 };
    cr_expect(memcmp(b.q, expected, 7) == 0);
    memset(x, 0, sizeof x);
    rm_q8_quantize(x, &b);
    cr_expect(b.d == 0 && b.q[0] == 0);
}

/* |x - d q| <= d/2, but for values that the rounding of d to f16 pushed over 127: it moves d by
 * 2^-11 of itself, or by 2^-25 where d is subnormal, and the product by 127 times that. */
Test(dtype, q8_0_error_is_bounded)
{
    for (uint32_t trial = 0; trial < 2000; trial++) {
        float x[32], y[32], largest = 0;
        for (uint32_t i = 0; i < 32; i++) {
            x[i] = (float)((rm_unit(rm_random(3, trial, i,
                                              0)) - 0.5) * exp2((double)(trial % 20) - 10));
            largest = fmaxf(largest, fabsf(x[i]));
        }
        rm_q8_block b;
        rm_q8_quantize(x, &b);
        rm_dtype_widen(RM_Q8_0, &b, 32, y);
        float d = rm_f16_to_f32(b.d);
        for (int i = 0; i < 32; i++)
            cr_expect(fabsf(x[i] - y[i]) <= d * 0.5001f + largest * 0x1p-11f + 127 * 0x1p-25f,
                      "%g %g, scale %g",
                      (double)x[i], (double)y[i], (double)d);
    }
}
