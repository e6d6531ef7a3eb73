/* dtype.h - the value types that matrices come in, and exact conversions between them.
 *
 *   f32    IEEE binary32
 *   f16    IEEE binary16: 1 sign, 5 exponent (bias 15), 10 mantissa bits; subnormals used
 *   bf16   the upper 16 bits of a binary32: 1 sign, 8 exponent, 7 mantissa bits
 *   q8_0   blocks of 32 values: one f16 scale d, then 32 signed bytes q; value i is d * q[i]
 *   q4_0 and the other quantised types, which are read and never written: blocks.h
 *
 * Widening is exact. Narrowing rounds to nearest, ties to even, keeps infinities, and makes
 * every NaN a quiet one; f16 overflows to infinity as IEEE 754 says. All of it is integer
 * arithmetic plus exact float operations, so it gives the same bits on every processor. */
#ifndef RM_ENGINE_DTYPE_H
#define RM_ENGINE_DTYPE_H

#include "engine/blocks.h"
#include "engine/ops.h"

#include <assert.h>
#include <string.h>

#define RM_Q8_BLOCK 32

typedef struct rm_q8_block {
    uint16_t d;              /* scale, f16 */
    int8_t q[RM_Q8_BLOCK];
} rm_q8_block;

static_assert(sizeof(rm_q8_block) == 34, "a q8_0 block is 34 bytes without padding");
static_assert(sizeof(float) == 4, "f32 is 4 bytes");

static inline uint32_t rm_f32_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}

static inline float rm_f32_from_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, 4);
    return x;
}

static inline float rm_bf16_to_f32(uint16_t h)
{
    return rm_f32_from_bits((uint32_t)h << 16);
}

/* Adding 0x7fff plus the lowest kept bit carries exactly when nearest-even rounds up. */
static inline uint16_t rm_f32_to_bf16(float x)
{
    uint32_t u = rm_f32_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u); /* NaN */
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

static inline float rm_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = h >> 10 & 0x1fu, mantissa = h & 0x3ffu;
    if (exponent == 0x1f)
        return rm_f32_from_bits(sign | 0x7f800000u | mantissa << 13 |
                                (mantissa ? 0x400000u : 0u));
    if (exponent == 0) { /* zero or subnormal: mantissa * 2^-24, exact in f32 */
        float magnitude = (float)mantissa * 0x1p-24f;
        return rm_f32_from_bits(sign | rm_f32_bits(magnitude));
    }
    return rm_f32_from_bits(sign | (exponent + 112u) << 23 | mantissa << 13);
}

static inline uint16_t rm_f32_to_f16(float x)
{
    uint32_t u = rm_f32_bits(x), sign = u >> 16 & 0x8000u;
    u &= 0x7fffffffu;
    if (u > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (u >> 13 & 0x3ffu)); /* NaN */
    if (u >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (u < 0x38800000u) { /* below 2^-14: subnormal, a multiple of 2^-24 */
        uint32_t shift = 126u - (u >> 23); /* kept bits are mantissa >> shift */
        if (shift > 24)
            return (uint16_t)sign; /* below 2^-25 */
        uint32_t mantissa = (u & 0x7fffffu) | 0x800000u;
        uint32_t kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1u);
        uint32_t half = 1u << (shift - 1u);
        return (uint16_t)(sign | (kept + (rest > half || (rest == half && (kept & 1u)))));
    }
    u += 0xfffu + (u >> 13 & 1u); /* nearest even on the 13 dropped bits */
    return (uint16_t)(sign | ((u >> 13) - (112u << 10)));
}

/* Quantises 32 finite values: d = max|x| / 127 rounded to f16, q = x / d to nearest even. The
 * rounded scale divides, so that a q of 128 cannot arise from d having been rounded down
 * without being clamped here. */
static inline void rm_q8_quantize(const float x[RM_Q8_BLOCK], rm_q8_block *block)
{
    float largest = 0;
    for (int i = 0; i < RM_Q8_BLOCK; i++) {
        float a = x[i] < 0 ? -x[i] : x[i];
        largest = a > largest ? a : largest;
    }
    block->d = rm_f32_to_f16(largest / 127.0f);
    float d = rm_f16_to_f32(block->d);
    float inverse = d > 0 ? 1.0f / d : 0.0f;
    for (int i = 0; i < RM_Q8_BLOCK; i++) {
        float scaled = x[i] * inverse;
        scaled = scaled > 127.0f ? 127.0f : scaled < -127.0f ? -127.0f : scaled;
        /* 1.5 * 2^23 pushes the fraction out of the mantissa: nearest even by the FPU's own
         * rounding, without libm */
        float rounded = (scaled + 12582912.0f) - 12582912.0f;
        block->q[i] = (int8_t)rounded;
    }
}

/* Bytes of n consecutive values, whole blocks of them. */
static inline size_t rm_dtype_bytes(rm_dtype type, size_t n)
{
    return n / rm_block_values(type) * rm_block_bytes(type);
}

static inline const char *rm_dtype_name(rm_dtype type)
{
    static const char *const names[] = { "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1",
                                         "q5_0", "q5_1", "q4_k", "q5_k", "q6_k" };
    static_assert(sizeof names / sizeof *names == RM_DTYPE_COUNT, "a name for each type");
    assert((unsigned)type < RM_DTYPE_COUNT);
    return names[type];
}

/* Widens n values (whole blocks of them) to f32, exactly except that d * q rounds once, and as
 * blocks.h says. */
static inline void rm_dtype_widen(rm_dtype type, const void *from, size_t n, float *to)
{
    const unsigned char *bytes = from;
    if (type == RM_F32) {
        memcpy(to, bytes, n * sizeof *to);
    } else if (type > RM_Q8_0) {
        rm_blocks_widen(type, from, n, to);
    } else if (type == RM_Q8_0) {
        for (size_t b = 0; b < n / RM_Q8_BLOCK; b++) {
            rm_q8_block block;
            memcpy(&block, bytes + b * sizeof block, sizeof block);
            float d = rm_f16_to_f32(block.d);
            for (size_t i = 0; i < RM_Q8_BLOCK; i++)
                to[b * RM_Q8_BLOCK + i] = d * (float)block.q[i];
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, bytes + 2 * i, 2);
            to[i] = type == RM_F16 ? rm_f16_to_f32(h) : rm_bf16_to_f32(h);
        }
    }
}

/* Narrows n values (a multiple of 32 for q8_0) to f32, f16, bf16 or q8_0. */
static inline void rm_dtype_narrow(rm_dtype type, const float *from, size_t n, void *to)
{
    unsigned char *bytes = to;
    assert(type <= RM_Q8_0);
    if (type == RM_F32) {
        memcpy(bytes, from, n * sizeof *from);
    } else if (type == RM_Q8_0) {
        for (size_t b = 0; b < n / RM_Q8_BLOCK; b++) {
            rm_q8_block block;
            rm_q8_quantize(from + b * RM_Q8_BLOCK, &block);
            memcpy(bytes + b * sizeof block, &block, sizeof block);
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            uint16_t h = type == RM_F16 ? rm_f32_to_f16(from[i]) : rm_f32_to_bf16(from[i]);
            memcpy(bytes + 2 * i, &h, 2);
        }
    }
}

#endif
