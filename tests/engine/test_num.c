/* Elementary functions and the passes over a row of logits.
 *
 * Accuracy is measured against libm's long double functions (64-bit mantissa), in units of the
 * last place of the result; the bounds are those that num.h states. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "engine/cpu/cpu.h"
#include "engine/cpu/vec_portable.h"

static double uniform(uint32_t i, double lo, double hi)
{
    return lo + (hi - lo) * rm_unit(rm_random(11, 22, i, 0));
}

static double ulps(double got, long double want)
{
    double next = nextafter(fabs((double)want), INFINITY);
    return (double)(fabsl((long double)got - want) / (long double)(next - fabs((double)want)));
}

static double sine(double x)
{
    double s, c;
    rm_sincos(x, &s, &c);
    return s;
}
static double cosine(double x)
{
    double s, c;
    rm_sincos(x, &s, &c);
    return c;
}
static double log_of_exp(double x)
{
    return rm_log(exp(x));
}
static long double log_of_exp_l(long double x)
{
    return logl((long double)exp((double)x));
}
static long double log1mexp_l(long double x)
{
    return x > -0.5L ? logl(-expm1l(x)) : log1pl(-expl(x));
}

static const struct {
    const char *name;
    double (*f)(double);
    long double (*reference)(long double);
    double lo, hi, max_ulps;
} functions[] = {
    { "exp", rm_exp, expl, -700, 709, 1.0 },
    { "exp near 0", rm_exp, expl, -0.5, 0.5, 1.0 },
    { "log of large and small", log_of_exp, log_of_exp_l, -700, 700, 1.0 },
    { "log", rm_log, logl, 0.1, 10, 1.5 },
    { "log near 1", rm_log, logl, 0.99, 1.01, 1.5 },
    { "log1p", rm_log1p, log1pl, -0.9, 10, 2.0 },
    { "log1p near 0", rm_log1p, log1pl, -1e-3, 1e-3, 1.5 },
    { "expm1", rm_expm1, expm1l, -5, 50, 2.0 },
    { "expm1 near 0", rm_expm1, expm1l, -0.01, 0.01, 1.5 },
    { "log1mexp", rm_log1mexp, log1mexp_l, -30, -1e-6, 3.0 },
    { "sin", sine, sinl, -1e5, 1e5, 2.0 },
    { "cos", cosine, cosl, -1e5, 1e5, 2.0 },
    { "sin near 0", sine, sinl, -1, 1, 2.0 },
    { "cos near 0", cosine, cosl, -1, 1, 2.0 },
};

Test(num, double_functions_are_accurate)
{
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        double worst = 0;
        for (uint32_t i = 0; i < 50000; i++) {
            double x = uniform(i, functions[f].lo, functions[f].hi);
            double e = ulps(functions[f].f(x), functions[f].reference(x));
            if (e > worst)
                worst = e;
        }
        cr_expect_leq(worst, functions[f].max_ulps, "%s: %.3f ulp, expected at most %.1f",
                      functions[f].name, worst, functions[f].max_ulps);
    }
}

Test(num, expf_is_accurate)
{
    double worst = 0;
    for (uint32_t i = 0; i < 300000; i++) {
        float x = (float)uniform(i, -87.3, 88.7);
        double want = exp((double)x);
        double ulp = (double)(nextafterf((float)want, INFINITY) - (float)want);
        double e = fabs((double)rm_expf(x) - want) / ulp;
        if (e > worst)
            worst = e;
    }
    cr_expect_leq(worst, 1.1, "%.3f ulp, expected at most 1.1", worst);
}

Test(num, pow_serves_rotary_frequencies)
{
    for (int i = 0; i < 64; i++) {
        double want = pow(500000.0, -2.0 * i / 128);
        cr_expect_lt(fabs(rm_pow(500000.0, -2.0 * i / 128) / want - 1), 4e-15);
    }
}

Test(num, special_values)
{
    cr_expect_eq(rm_exp(0), 1.0);
    cr_expect_eq(rm_exp(-INFINITY), 0.0);
    cr_expect_eq(rm_exp(-709), 0.0);
    cr_expect_eq(rm_exp(710), INFINITY);
    cr_expect(isfinite(rm_exp(709.78)));
    cr_expect(isnan(rm_exp(NAN)));
    cr_expect_eq(rm_expf(0), 1.0f);
    cr_expect_eq(rm_expf(-INFINITY), 0.0f);
    cr_expect_eq(rm_expf(89), INFINITY);
    cr_expect(isfinite(rm_expf(88.7f)));
    cr_expect(isnan(rm_expf(NAN)));
    cr_expect_eq(rm_log(1), 0.0);
    cr_expect_eq(rm_log(0), -INFINITY);
    cr_expect_eq(rm_log(INFINITY), INFINITY);
    cr_expect(isnan(rm_log(-1)));
    cr_expect_lt(fabs(rm_log(0x1p-1074) / log(0x1p-1074) - 1), 1e-15);
    cr_expect_eq(rm_log1p(-1), -INFINITY);
    cr_expect_eq(rm_expm1(-50), -1.0);
    cr_expect_eq(rm_expm1(1e-300), 1e-300);
    cr_expect_eq(rm_log_add(-INFINITY, 3), 3.0);
    cr_expect_lt(fabs(rm_log_add(1000, 1000) - (1000 + log(2.0))), 1e-12);
}

/* A float with random sign and mantissa and an exponent near that of 2^e. */
static float random_float(uint32_t i, int e)
{
    uint64_t r = rm_random(5, 6, i, 0);
    float m = rm_from_bitsf((uint32_t)(r & 0x807fffff) | 0x3f800000);
    return ldexpf(m, e + (int)(r >> 40 & 63) - 32);
}

/* The emulated fused multiply-add against libm's, which the C standard defines as exact. */
Test(num, portable_fma_rounds_once)
{
    static const int exponents[] = { 0, -60, 50, -100, 90 };
    for (uint32_t i = 0; i < 400000; i++) {
        int e = exponents[i % 5];
        float a = random_float(3 * i, e / 2), b = random_float(3 * i + 1, e / 2),
              c = random_float(3 * i + 2, e);
        if (i % 3 == 0)
            c = -a * b; /* cancellation: only the rounding is left */
        if (i % 3 == 1)
            c = random_float(3 * i + 2, e - 24);
        float want = fmaf(a, b, c), got = sf_fma(a, b, c);
        cr_assert(rm_bitsf(want) == rm_bitsf(got), "fma(%a, %a, %a) = %a, got %a", (double)a,
                  (double)b, (double)c, (double)want, (double)got);
    }
    cr_expect_eq(sf_fma(INFINITY, 1, 1), INFINITY);
    cr_expect_eq(sf_fma(2, 3, -INFINITY), -INFINITY);
    cr_expect(isnan(sf_fma(INFINITY, 0, 1)));
    cr_expect(isnan(sf_fma(INFINITY, 1, -INFINITY)));
    cr_expect_eq(sf_fma(0x1p127f, 2, 0), INFINITY);
    cr_expect_eq(sf_fma(0x1p-126f, 0x1p-23f, 0), 0x1p-149f);
}

/* ---- passes over a row of logits ------------------------------------------------------------- */

static const cpu_isa *const variants[] = {
#if defined(__x86_64__)
    &cpu_avx512_bf16, &cpu_avx512, &cpu_avx2,
#endif
    &cpu_portable
};

enum { MAX_ROW = 1003 };

static void fill_row(float *row, int n, uint32_t seed)
{
    for (int v = 0; v < n; v++)
        row[v] = (float)uniform(seed + (uint32_t)v, -20, 15);
    if (n > 5)
        row[n / 2] = -INFINITY;
    if (n > 9)
        row[n - 2] = row[0]; /* a tie */
}

Test(num, row_passes_mean_what_they_say)
{
    static float row[MAX_ROW];
    static uint64_t w[MAX_ROW];
    fill_row(row, MAX_ROW, 1);
    double top = -INFINITY, sum = 0, max, got;
    for (int v = 0; v < MAX_ROW; v++)
        top = fmax(top, (double)row[v]);
    for (int v = 0; v < MAX_ROW; v++)
        sum += exp((double)row[v] - top);
    rm_row_kernels_portable.max_sum(row, MAX_ROW, &max, &got);
    cr_expect_eq(max, top);
    cr_expect_lt(fabs(got / sum - 1), 1e-13); /* 1003 roundings of 2^-53 and the exponentials' */
    uint64_t total = rm_row_kernels_portable.weights(row, MAX_ROW, max, 0.7, w), check = 0;
    for (int v = 0; v < MAX_ROW; v++) {
        double want = ldexp(exp(((double)row[v] - top) / 0.7), 40);
        cr_expect_lt(fabs((double)w[v] - want), 0.5 + want * 1e-14);
        check += w[v];
    }
    cr_expect_eq(total, check);
}

Test(num, row_passes_are_equal_in_all_variants)
{
    static const int sizes[] = { 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 100, 512, MAX_ROW };
    static float row[MAX_ROW];
    static uint64_t w[2][MAX_ROW];
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        if (!variants[i]->available())
            continue;
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            int n = sizes[s];
            double max[2], sum[2];
            uint64_t total[2];
            fill_row(row, n, 1000 * (uint32_t)s);
            const rm_row_kernels *kernels[] = { &rm_row_kernels_portable, variants[i]->rows };
            for (int j = 0; j < 2; j++) {
                kernels[j]->max_sum(row, n, &max[j], &sum[j]);
                total[j] = kernels[j]->weights(row, n, max[j], 0.8, w[j]);
            }
            cr_expect_eq(max[0], max[1]);
            cr_expect_eq(rm_bits(sum[0]), rm_bits(sum[1]), "%s, n = %d", variants[i]->name, n);
            cr_expect_eq(total[0], total[1]);
            cr_expect_eq(memcmp(w[0], w[1], (size_t)n * sizeof **w), 0);
        }
    }
}

Test(num, a_logit_that_is_no_number_has_no_weight)
{
    float row[9] = { 1, 2, NAN, 0, 1, 2, 0, 0, NAN };
    uint64_t w[9];
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        if (!variants[i]->available())
            continue;
        variants[i]->rows->weights(row, 9, 2.0, 1.0, w);
        cr_expect_eq(w[2], 0);
        cr_expect_eq(w[8], 0);
        cr_expect_eq(w[1], UINT64_C(1) << 40);
    }
}
