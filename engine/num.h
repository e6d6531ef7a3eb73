/* num.h - the engine's own elementary functions.
 *
 * Nothing that ends up in a record may depend on a C library's version, so exp, log and their
 * relatives are written here: argument reduction and a polynomial in explicit fused
 * multiply-adds, the same operations in the same order on every machine. The vector kernels of
 * the backends repeat these sequences lane by lane and must give the same bits
 * (tests/engine/test_num.c). Plain C over +, -, *, /, fma and the bits of a float, so that a
 * device compiler can take the file as it is.
 *
 *     exp    x = k ln 2 + r, |r| <= ln 2 / 2;  e^x = 2^k (1 + r + r^2 q(r))
 *     log    x = 2^e (1 + f), s = f / (2 + f);
 *            log(1 + f) = f - f^2/2 + s (f^2/2 + R(s^2)),  R(z) = sum_{k>=1} 2 z^k / (2k + 1)
 *     sin    x = k pi/2 + r in three parts (Cody & Waite 1980), Taylor polynomials on |r| <= pi/4
 *
 * Errors as tested against libm: rm_exp, rm_log, rm_log1p, rm_expm1, rm_sincos <= 2 ulp;
 * rm_expf <= 1.1 ulp. Results that would be subnormal are 0. */
#ifndef RM_ENGINE_NUM_H
#define RM_ENGINE_NUM_H

#include "base/base.h"

#include <string.h>

#ifdef __CUDACC__
#define RM_FMA(a, b, c)  fma((a), (b), (c))
#define RM_FMAF(a, b, c) fmaf((a), (b), (c))
#elif !defined(RM_FMA) /* exact by definition, whether an instruction or a function does it */
#define RM_FMA(a, b, c)  __builtin_fma((a), (b), (c))
#define RM_FMAF(a, b, c) __builtin_fmaf((a), (b), (c))
#endif

#define RM_INF __builtin_inf()
#define RM_NAN __builtin_nan("")

RM_BOTH uint64_t rm_bits(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

RM_BOTH double rm_from_bits(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

RM_BOTH uint32_t rm_bitsf(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

RM_BOTH float rm_from_bitsf(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Adding and subtracting 1.5 * 2^52 rounds to the nearest integer, ties to even, and leaves the
 * integer in the low bits of the sum: no conversion instruction, the same in every lane width. */
#define RM_ROUND  0x1.8p52
#define RM_ROUNDF 0x1.8p23f

/* ---- float ------------------------------------------------------------------------------- */

/* Coefficients of q(r) = (e^r - 1 - r) / r^2 on |r| <= 0.34658: interpolation in five Chebyshev
 * nodes, rounded to float; relative error of the whole 9.8e-9. */
#define RM_EXPF_LOW    (-87.33654f) /* below: 0 */
#define RM_EXPF_HIGH   88.72283f    /* above: infinity */
#define RM_EXPF_LOG2E  0x1.715476p0f
#define RM_EXPF_LN2_HI 0x1.62e43p-1f
#define RM_EXPF_LN2_LO (-0x1.05c61p-29f)
#define RM_EXPF_Q4     0x1.6d10fep-10f
#define RM_EXPF_Q3     0x1.120b64p-7f
#define RM_EXPF_Q2     0x1.55551ap-5f
#define RM_EXPF_Q1     0x1.5554dep-3f
#define RM_EXPF_Q0     0x1p-1f

RM_BOTH float rm_expf(float x)
{
    if (x != x)
        return x;
    if (x < RM_EXPF_LOW)
        return 0.0f;
    if (x > RM_EXPF_HIGH)
        return __builtin_inff();
    float biased = RM_FMAF(x, RM_EXPF_LOG2E, RM_ROUNDF), k = biased - RM_ROUNDF;
    float r = RM_FMAF(-k, RM_EXPF_LN2_HI, x);
    r = RM_FMAF(-k, RM_EXPF_LN2_LO, r);
    float q = RM_FMAF(RM_EXPF_Q4, r, RM_EXPF_Q3);
    q = RM_FMAF(q, r, RM_EXPF_Q2);
    q = RM_FMAF(q, r, RM_EXPF_Q1);
    q = RM_FMAF(q, r, RM_EXPF_Q0);
    float e = 1.0f + RM_FMAF(r * r, q, r);
    return rm_from_bitsf(rm_bitsf(e) + (rm_bitsf(biased) << 23));
}

/* ---- double ------------------------------------------------------------------------------ */

#define RM_EXP_LOW  (-708.0)
#define RM_EXP_HIGH 709.782712893384
#define RM_LOG2E    0x1.71547652b82fep0
#define RM_LN2_HI   0x1.62e42fefa39efp-1
#define RM_LN2_LO   0x1.abc9e3b39803fp-56

/* (e^r - 1 - r) / r^2 by the Taylor series up to r^11 / 13!: 4e-18 relative on |r| <= 0.3466. */
#define RM_EXP_TAIL                                                                              \
    0x1.6124613a86d09p-33, 0x1.1eed8eff8d898p-29, 0x1.ae64567f544e4p-26, 0x1.27e4fb7789f5cp-22,  \
        0x1.71de3a556c734p-19, 0x1.a01a01a01a01ap-16, 0x1.a01a01a01a01ap-13,                     \
        0x1.6c16c16c16c17p-10, 0x1.1111111111111p-7, 0x1.5555555555555p-5, 0x1.5555555555555p-3, \
        0.5
RM_BOTH double rm_exp_tail(double r)
{
    const double c[] = { RM_EXP_TAIL }; /* highest power first */
    double q = c[0];
    for (int i = 1; i < (int)(sizeof c / sizeof *c); i++)
        q = RM_FMA(q, r, c[i]);
    return q;
}

/* e^x; 0 below -708, infinity above 709.78. */
RM_BOTH double rm_exp(double x)
{
    if (x != x)
        return x;
    if (x < RM_EXP_LOW)
        return 0.0;
    if (x > RM_EXP_HIGH)
        return RM_INF;
    double biased = RM_FMA(x, RM_LOG2E, RM_ROUND), k = biased - RM_ROUND;
    double r = RM_FMA(-k, RM_LN2_HI, x);
    r = RM_FMA(-k, RM_LN2_LO, r);
    double e = 1.0 + RM_FMA(r * r, rm_exp_tail(r), r);
    return rm_from_bits(rm_bits(e) + (rm_bits(biased) << 52));
}

/* e^x - 1 without cancellation near 0. */
RM_BOTH double rm_expm1(double x)
{
    if (x != x)
        return x;
    if (x < -40.0)
        return -1.0;
    if (x > 700.0)
        return rm_exp(x);
    double biased = RM_FMA(x, RM_LOG2E, RM_ROUND), k = biased - RM_ROUND;
    double r = RM_FMA(-k, RM_LN2_HI, x);
    r = RM_FMA(-k, RM_LN2_LO, r);
    double m = RM_FMA(r * r, rm_exp_tail(r), r);
    if (k == 0.0)
        return m;
    double scale = rm_from_bits(rm_bits(1.0) + (rm_bits(biased) << 52));
    return RM_FMA(scale, m, scale - 1.0);
}

/* log(1 + f) + e ln 2 for 1 + f in [sqrt(1/2), sqrt(2)); `low` is what rounding left of f. */
RM_BOTH double rm_log_parts(double f, double low, double e)
{
    double s = f / (2.0 + f), z = s * s;
    double p = RM_FMA(0x1.642c8590b2164p-4, z, 0x1.8618618618618p-4);
    p = RM_FMA(p, z, 0x1.af286bca1af28p-4);
    p = RM_FMA(p, z, 0x1.e1e1e1e1e1e1ep-4);
    p = RM_FMA(p, z, 0x1.1111111111111p-3);
    p = RM_FMA(p, z, 0x1.3b13b13b13b14p-3);
    p = RM_FMA(p, z, 0x1.745d1745d1746p-3);
    p = RM_FMA(p, z, 0x1.c71c71c71c71cp-3);
    p = RM_FMA(p, z, 0x1.2492492492492p-2);
    p = RM_FMA(p, z, 0x1.999999999999ap-2);
    p = RM_FMA(p, z, 0x1.5555555555555p-1);
    double half = 0.5 * f * f;
    double tail = RM_FMA(s, RM_FMA(p, z, half), low);
    /* e ln 2 in two parts, the first exact: its last 11 bits are 0 */
    tail = RM_FMA(e, 0x1.ef35793c7673p-45, tail);
    return RM_FMA(e, 0x1.62e42fefa38p-1, f - (half - tail));
}

/* Natural logarithm; -infinity at 0, NaN below. */
RM_BOTH double rm_log(double x)
{
    if (!(x > 0.0))
        return x == 0.0 ? -RM_INF : RM_NAN;
    if (x == RM_INF)
        return x;
    double e = 0.0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        e = -54.0;
    }
    /* the exponent that puts the mantissa into [sqrt(1/2), sqrt(2)) */
    uint64_t u = rm_bits(x) + (UINT64_C(0x3ff0000000000000) - UINT64_C(0x3fe6a09e667f3bcd));
    e += (double)((int)(u >> 52) - 1023);
    double m = rm_from_bits((u & UINT64_C(0x000fffffffffffff)) + UINT64_C(0x3fe6a09e667f3bcd));
    return rm_log_parts(m - 1.0, 0.0, e);
}

/* log(1 + x), accurate near 0. */
RM_BOTH double rm_log1p(double x)
{
    if (!(x > -1.0))
        return x == -1.0 ? -RM_INF : RM_NAN;
    if (x > -0.25 && x < 0.4)
        return rm_log_parts(x, 0.0, 0.0);
    double u = 1.0 + x;
    if (u == RM_INF)
        return u;
    double lost = x > 1.0 ? 1.0 - (u - x) : x - (u - 1.0);
    return rm_log(u) + lost / u;
}

/* log(1 - e^x) for x < 0 (Maechler 2012, "Accurately computing log(1 - exp(-|a|))"). */
RM_BOTH double rm_log1mexp(double x)
{
    return x > -0x1.62e42fefa39efp-1 ? rm_log(-rm_expm1(x)) : rm_log1p(-rm_exp(x));
}

/* log(e^a + e^b). */
RM_BOTH double rm_log_add(double a, double b)
{
    double hi = a > b ? a : b, lo = a > b ? b : a;
    return lo == -RM_INF ? hi : hi + rm_log1p(rm_exp(lo - hi));
}

/* x^y for x > 0: e^(y log x); relative error about |y log x| 2^-53 + 2^-52. */
RM_BOTH double rm_pow(double x, double y)
{
    return rm_exp(y * rm_log(x));
}

/* Sine and cosine for |x| < 2^30. */
RM_BOTH void rm_sincos(double x, double *sine, double *cosine)
{
    double biased = RM_FMA(x, 0x1.45f306dc9c883p-1, RM_ROUND), k = biased - RM_ROUND;
    double r = RM_FMA(-k, 0x1.921fb54442d18p0, x);
    r = RM_FMA(-k, 0x1.1a62633145c07p-54, r);
    r = RM_FMA(k, 0x1.f1976b7ed8fbcp-110, r);
    double z = r * r;
    double s = RM_FMA(0x1.952c77030ad4ap-49, z, -0x1.ae7f3e733b81fp-41);
    s = RM_FMA(s, z, 0x1.6124613a86d09p-33);
    s = RM_FMA(s, z, -0x1.ae64567f544e4p-26);
    s = RM_FMA(s, z, 0x1.71de3a556c734p-19);
    s = RM_FMA(s, z, -0x1.a01a01a01a01ap-13);
    s = RM_FMA(s, z, 0x1.1111111111111p-7);
    s = RM_FMA(s, z, -0x1.5555555555555p-3);
    s = RM_FMA(s * z, r, r);
    double c = RM_FMA(-0x1.6827863b97d97p-53, z, 0x1.ae7f3e733b81fp-45);
    c = RM_FMA(c, z, -0x1.93974a8c07c9dp-37);
    c = RM_FMA(c, z, 0x1.1eed8eff8d898p-29);
    c = RM_FMA(c, z, -0x1.27e4fb7789f5cp-22);
    c = RM_FMA(c, z, 0x1.a01a01a01a01ap-16);
    c = RM_FMA(c, z, -0x1.6c16c16c16c17p-10);
    c = RM_FMA(c, z, 0x1.5555555555555p-5);
    c = RM_FMA(c * z, z, RM_FMA(-0.5, z, 1.0));
    uint64_t quadrant = rm_bits(biased) & 3;
    double a = quadrant & 1 ? c : s, b = quadrant & 1 ? s : c;
    *sine = quadrant & 2 ? -a : a;
    *cosine = (quadrant + 1) & 2 ? -b : b;
}

#endif
