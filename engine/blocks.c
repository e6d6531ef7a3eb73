/* blocks.c - block-quantised values to f32 (layouts: blocks.h). */
#include "engine/blocks.h"

#include "engine/dtype.h"

static const struct { uint16_t values, bytes; } sizes[RM_DTYPE_COUNT] = {
    [RM_F32] = { 1, 4 },
    [RM_F16] = { 1, 2 },
    [RM_BF16] = { 1, 2 },
    [RM_Q8_0] = { RM_Q8_BLOCK, sizeof(rm_q8_block) },
    [RM_Q4_0] = { 32, sizeof(rm_q4_0_block) },
    [RM_Q4_1] = { 32, sizeof(rm_q4_1_block) },
    [RM_Q5_0] = { 32, sizeof(rm_q5_0_block) },
    [RM_Q5_1] = { 32, sizeof(rm_q5_1_block) },
    [RM_Q4_K] = { 256, sizeof(rm_q4_k_block) },
    [RM_Q5_K] = { 256, sizeof(rm_q5_k_block) },
    [RM_Q6_K] = { 256, sizeof(rm_q6_k_block) },
};

size_t rm_block_values(rm_dtype type)
{
    assert((unsigned)type < RM_DTYPE_COUNT);
    return sizes[type].values;
}

size_t rm_block_bytes(rm_dtype type)
{
    assert((unsigned)type < RM_DTYPE_COUNT);
    return sizes[type].bytes;
}

/* ---- 32 values ----------------------------------------------------------------------------- */

static void widen_q4_0(const void *at, float *x)
{
    rm_q4_0_block b;
    memcpy(&b, at, sizeof b);
    float d = rm_f16_to_f32(b.d);
    for (int i = 0; i < 16; i++) {
        x[i] = d * (float)((b.qs[i] & 15) - 8);
        x[i + 16] = d * (float)((b.qs[i] >> 4) - 8);
    }
}

static void widen_q4_1(const void *at, float *x)
{
    rm_q4_1_block b;
    memcpy(&b, at, sizeof b);
    float d = rm_f16_to_f32(b.d), m = rm_f16_to_f32(b.m);
    for (int i = 0; i < 16; i++) {
        x[i] = d * (float)(b.qs[i] & 15) + m;
        x[i + 16] = d * (float)(b.qs[i] >> 4) + m;
    }
}

static void widen_q5_0(const void *at, float *x)
{
    rm_q5_0_block b;
    uint32_t high;
    memcpy(&b, at, sizeof b);
    memcpy(&high, b.qh, sizeof high);
    float d = rm_f16_to_f32(b.d);
    for (int i = 0; i < 16; i++) {
        x[i] = d * (float)((int)((b.qs[i] & 15u) | (high >> i & 1u) << 4) - 16);
        x[i + 16] =
            d * (float)((int)(((unsigned)b.qs[i] >> 4) | (high >> (i + 16) & 1u) << 4) - 16);
    }
}

static void widen_q5_1(const void *at, float *x)
{
    rm_q5_1_block b;
    uint32_t high;
    memcpy(&b, at, sizeof b);
    memcpy(&high, b.qh, sizeof high);
    float d = rm_f16_to_f32(b.d), m = rm_f16_to_f32(b.m);
    for (int i = 0; i < 16; i++) {
        x[i] = d * (float)((b.qs[i] & 15u) | (high >> i & 1u) << 4) + m;
        x[i + 16] = d * (float)(((unsigned)b.qs[i] >> 4) | (high >> (i + 16) & 1u) << 4) + m;
    }
}

/* ---- 256 values ---------------------------------------------------------------------------- */

void rm_k_scale(const uint8_t scales[12], int j, unsigned *scale, unsigned *minimum)
{
    if (j < 4) {
        *scale = scales[j] & 63u;
        *minimum = scales[j + 4] & 63u;
    } else {
        *scale = (scales[j + 4] & 15u) | ((unsigned)scales[j - 4] >> 6) << 4;
        *minimum = ((unsigned)scales[j + 4] >> 4) | ((unsigned)scales[j] >> 6) << 4;
    }
}

static void widen_q4_k(const void *at, float *x)
{
    rm_q4_k_block b;
    memcpy(&b, at, sizeof b);
    float d = rm_f16_to_f32(b.d), m = rm_f16_to_f32(b.m);
    for (int j = 0; j < 8; j++, x += 32) {
        unsigned s, n;
        rm_k_scale(b.scales, j, &s, &n);
        float scale = d * (float)s, minimum = m * (float)n;
        const uint8_t *q = b.qs + 32 * (j / 2);
        int shift = j % 2 * 4;
        for (int i = 0; i < 32; i++)
            x[i] = scale * (float)(q[i] >> shift & 15) - minimum;
    }
}

static void widen_q5_k(const void *at, float *x)
{
    rm_q5_k_block b;
    memcpy(&b, at, sizeof b);
    float d = rm_f16_to_f32(b.d), m = rm_f16_to_f32(b.m);
    for (int j = 0; j < 8; j++, x += 32) {
        unsigned s, n;
        rm_k_scale(b.scales, j, &s, &n);
        float scale = d * (float)s, minimum = m * (float)n;
        const uint8_t *q = b.qs + 32 * (j / 2);
        int shift = j % 2 * 4;
        for (int i = 0; i < 32; i++)
            x[i] = scale * (float)((q[i] >> shift & 15) | (b.qh[i] >> j & 1) << 4) - minimum;
    }
}

static void widen_q6_k(const void *at, float *x)
{
    rm_q6_k_block b;
    memcpy(&b, at, sizeof b);
    float d = rm_f16_to_f32(b.d);
    for (int half = 0; half < 2; half++)
        for (int r = 0; r < 4; r++, x += 32) {
            const uint8_t *low = b.ql + 64 * half + 32 * (r % 2), *high = b.qh + 32 * half;
            const int8_t *scales = b.scales + 8 * half + 2 * r;
            float scale[2] = { d * (float)scales[0], d * (float)scales[1] };
            int shift = r / 2 * 4;
            for (int i = 0; i < 32; i++) {
                int q = (low[i] >> shift & 15) | (high[i] >> 2 * r & 3) << 4;
                x[i] = scale[i / 16] * (float)(q - 32);
            }
        }
}

void rm_blocks_widen(rm_dtype type, const void *blocks, size_t n, float *to)
{
    size_t values = rm_block_values(type), bytes = rm_block_bytes(type);
    const char *at = blocks;
    assert(n % values == 0);
    for (size_t i = 0; i < n; i += values, at += bytes, to += values)
        switch (type) {
        case RM_Q4_0: widen_q4_0(at, to); break;
        case RM_Q4_1: widen_q4_1(at, to); break;
        case RM_Q5_0: widen_q5_0(at, to); break;
        case RM_Q5_1: widen_q5_1(at, to); break;
        case RM_Q4_K: widen_q4_k(at, to); break;
        case RM_Q5_K: widen_q5_k(at, to); break;
        case RM_Q6_K: widen_q6_k(at, to); break;
        default: assert(false); return; /* the types of blocks.h are all above */
        }
}
