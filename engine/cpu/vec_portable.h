/* vec_portable.h - the vector of 16 floats in plain C: what the other variants must reproduce.
 *
 * Compilers lower the vector types to whatever the baseline has. The fused multiply-add is
 * computed without the instruction and without libm: the product of two floats is exact in
 * double; the sum is rounded to odd there (Boldo & Melquiond 2008, "Emulation of a FMA and
 * correctly rounded sums"), which the final rounding to float cannot tell from the exact sum. */
#ifndef RM_ENGINE_CPU_VEC_H
#define RM_ENGINE_CPU_VEC_H

#include "engine/dtype.h"
#include "engine/num.h"

#define VEC_REGISTER_ROWS    2 /* rows of a product tile */
#define VEC_REGISTER_VECTORS 1 /* and vectors */

typedef struct vf {
    float v[16];
} vf;
typedef struct vi {
    int32_t v[16];
} vi;
typedef struct vb {
    uint8_t v[64];
} vb;

/* Specialising every tile for its size buys nothing here and makes sanitizer builds crawl. */
#define INLINE static inline
#define UNROLL

#define EACH(j, n) for (int j = 0; j < (n); j++)

/* a b + c, rounded once. */
static inline float sf_fma(float a, float b, float c)
{
#ifdef __FP_FAST_FMAF
    return __builtin_fmaf(a, b, c);
#else
    double p = (double)a * (double)b, s = p + (double)c;
    double t = s - p, lost = (p - (s - t)) + ((double)c - t); /* p + c = s + lost exactly */
    /* inexact and even: step to the odd neighbour on the side of what was lost (a NaN, as for
     * infinities, compares unequal to nothing here) */
    uint64_t u = rm_bits(s);
    uint64_t inexact = (uint64_t)(lost < 0.0) | (uint64_t)(lost > 0.0);
    uint64_t even = ~u & 1, toward_zero = (uint64_t)((lost < 0.0) != (s < 0.0));
    u = u + (inexact & even) - 2 * (inexact & even & toward_zero);
    return (float)rm_from_bits(u);
#endif
}

static inline vf vf_set(float a)
{
    vf r;
    EACH(j, 16) r.v[j] = a;
    return r;
}
static inline vf vf_zero(void)
{
    return vf_set(0.0f);
}
static inline vf vf_load(const float *p)
{
    vf r;
    memcpy(&r, p, sizeof r);
    return r;
}
static inline void vf_store(float *p, vf a)
{
    memcpy(p, &a, sizeof a);
}
static inline vf vf_add(vf a, vf b)
{
    EACH(j, 16) a.v[j] += b.v[j];
    return a;
}
static inline vf vf_sub(vf a, vf b)
{
    EACH(j, 16) a.v[j] -= b.v[j];
    return a;
}
static inline vf vf_mul(vf a, vf b)
{
    EACH(j, 16) a.v[j] *= b.v[j];
    return a;
}
static inline vf vf_div(vf a, vf b)
{
    EACH(j, 16) a.v[j] /= b.v[j];
    return a;
}
static inline vf vf_fma(vf a, vf b, vf c)
{
    EACH(j, 16) c.v[j] = sf_fma(a.v[j], b.v[j], c.v[j]);
    return c;
}
/* The second where neither is larger, as the instruction does it. */
static inline vf vf_max(vf a, vf b)
{
    EACH(j, 16) a.v[j] = a.v[j] > b.v[j] ? a.v[j] : b.v[j];
    return a;
}
static inline vf vf_abs(vf a)
{
    EACH(j, 16) a.v[j] = rm_from_bitsf(rm_bitsf(a.v[j]) & 0x7fffffff);
    return a;
}
/* yes where x < limit, else no. */
static inline vf vf_where_less(vf x, vf limit, vf yes, vf no)
{
    EACH(j, 16) no.v[j] = x.v[j] < limit.v[j] ? yes.v[j] : no.v[j];
    return no;
}
/* x where x is not a number, else y. */
static inline vf vf_keep_nan(vf x, vf y)
{
    EACH(j, 16) y.v[j] = x.v[j] != x.v[j] ? x.v[j] : y.v[j];
    return y;
}
/* a in lanes below n, else b. */
static inline vf vf_first(int n, vf a, vf b)
{
    EACH(j, 16) b.v[j] = j < n ? a.v[j] : b.v[j];
    return b;
}
/* The bits of `a` plus those of `biased` shifted into the exponent. */
static inline vf vf_scale2(vf a, vf biased)
{
    EACH(j, 16) a.v[j] = rm_from_bitsf(rm_bitsf(a.v[j]) + (rm_bitsf(biased.v[j]) << 23));
    return a;
}
/* Lanes folded 8, 4, 2, 1. */
static inline float vf_fold_add(vf a)
{
    for (int h = 8; h; h /= 2)
        EACH(j, h) a.v[j] += a.v[j + h];
    return a.v[0];
}
static inline float vf_fold_max(vf a)
{
    for (int h = 8; h; h /= 2)
        EACH(j, h) a.v[j] = a.v[j] > a.v[j + h] ? a.v[j] : a.v[j + h];
    return a.v[0];
}
/* Neighbours exchanged: lanes 2i and 2i+1. */
static inline vf vf_swap_pairs(vf a)
{
    vf r;
    EACH(j, 16) r.v[j] = a.v[j ^ 1];
    return r;
}

static inline vf vf_from_f16(const uint16_t *p)
{
    vf r;
    EACH(j, 16) r.v[j] = rm_f16_to_f32(p[j]);
    return r;
}
static inline vf vf_from_bf16(const uint16_t *p)
{
    vf r;
    EACH(j, 16) r.v[j] = rm_from_bitsf((uint32_t)p[j] << 16);
    return r;
}
/* Pairs of bf16: the even (low) and the odd (high) halves of 16 words. */
static inline vf vf_pair_even(const uint16_t *p)
{
    vf r;
    EACH(j, 16) r.v[j] = rm_from_bitsf((uint32_t)p[2 * j] << 16);
    return r;
}
static inline vf vf_pair_odd(const uint16_t *p)
{
    vf r;
    EACH(j, 16) r.v[j] = rm_from_bitsf((uint32_t)p[2 * j + 1] << 16);
    return r;
}

static inline void vf_to_bf16(uint16_t *p, vf a)
{
    EACH(j, 16) p[j] = rm_f32_to_bf16(a.v[j]);
}

/* As bf16 into the even or the odd halves of 16 words; the other halves are not touched. */
static inline void vf_store_half(uint16_t *p, int odd, vf a)
{
    EACH(j, 16) p[2 * j + odd] = rm_f32_to_bf16(a.v[j]);
}

/* To int8 by rounding to nearest even; |a| <= 127. Returns the sum of the 16. */
static inline int vf_to_i8(int8_t *p, vf a)
{
    int sum = 0;
    EACH(j, 16)
    {
        int q = (int)(rm_bitsf(a.v[j] + RM_ROUNDF) - rm_bitsf(RM_ROUNDF));
        p[j] = (int8_t)q;
        sum += p[j];
    }
    return sum;
}

static inline vi vi_set(int32_t a)
{
    vi r;
    EACH(j, 16) r.v[j] = a;
    return r;
}
static inline vf vf_from_i32(vi a)
{
    vf r;
    EACH(j, 16) r.v[j] = (float)a.v[j];
    return r;
}
/* 16 bytes as floats. */
static inline vf vf_from_u8(const uint8_t *p)
{
    vf r;
    EACH(j, 16) r.v[j] = (float)p[j];
    return r;
}
static inline vf vf_from_i8(const uint8_t *p)
{
    vf r;
    EACH(j, 16) r.v[j] = (float)(int8_t)p[j];
    return r;
}

/* 64 bytes. */
static inline vb vb_load(const uint8_t *p)
{
    vb r;
    memcpy(r.v, p, sizeof r.v);
    return r;
}
static inline vb vb_keep(vb a) /* see vec_avx512.h */
{
    return a;
}
static inline void vb_store(uint8_t *p, vb a)
{
    memcpy(p, a.v, sizeof a.v);
}
static inline vb vb_low4(vb a)
{
    EACH(j, 64) a.v[j] &= 15;
    return a;
}
static inline vb vb_high4(vb a)
{
    EACH(j, 64) a.v[j] = (uint8_t)(a.v[j] >> 4);
    return a;
}
/* q | (bits moved up by `up` & mask). */
static inline vb vb_merge(vb q, vb bits, int up, int mask)
{
    EACH(j, 64)
    q.v[j] = (uint8_t)(q.v[j] | ((up < 0 ? bits.v[j] >> -up : bits.v[j] << up) & mask));
    return q;
}

/* acc += sum over 4 of (unsigned w) * (signed x): w [16][4], x the same 4 for all lanes. */
static inline vi vi_dot(vi acc, vb w, const int8_t *x)
{
    EACH(j, 16)
    acc.v[j] += w.v[4 * j] * x[0] + w.v[4 * j + 1] * x[1] + w.v[4 * j + 2] * x[2] +
                w.v[4 * j + 3] * x[3];
    return acc;
}
/* The same; the other variants need w <= 127. */
static inline vi vi_dot_few(vi acc, vb w, const int8_t *x)
{
    return vi_dot(acc, w, x);
}

#endif
