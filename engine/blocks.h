/* blocks.h - the block-quantised types of GGUF files, widened to f32.
 *
 * Weights are cut into blocks along a row; a block has one or two scales and a few bits a value.
 * Multi-byte fields are little-endian, d and m are f16, and bits not named do not exist: the
 * structures below have no padding.
 *
 * Blocks of 32 values.  b_i is nibble i: the low half of qs[i] for i < 16, the high half of
 * qs[i - 16] for the others. h_i is bit i of the 32-bit qh.
 *
 *   q4_0   d, qs[16]            x_i = d (b_i - 8)
 *   q4_1   d, m, qs[16]         x_i = d b_i + m
 *   q5_0   d, qh, qs[16]        x_i = d (b_i + 16 h_i - 16)
 *   q5_1   d, m, qh, qs[16]     x_i = d (b_i + 16 h_i) + m
 *   q8_0   d, int8 q[32]        x_i = d q_i                           (dtype.h)
 *
 * Blocks of 256 values ("k-quants"), in 8 sub-blocks of 32 with a 6-bit scale s_j and minimum m_j
 * each, packed into scales[12]: for j < 4, s_j and m_j are the low 6 bits of scales[j] and
 * scales[j + 4]; for j >= 4 their low nibbles are the two halves of scales[j + 4], and their upper
 * 2 bits are the upper 2 of scales[j - 4] and of scales[j]. Value i of sub-block j has as nibble
 * the low (j even) or high (j odd) half of qs[32 (j / 2) + i].
 *
 *   q4_k   d, m, scales, qs[128]           x = (d s_j) b - (m m_j)
 *   q5_k   d, m, scales, qh[32], qs[128]   x = (d s_j) (b + 16 bit j of qh[i]) - (m m_j)
 *
 *   q6_k   ql[128], qh[64], int8 scales[16], d: 16 sub-blocks of 16. In each half of 128 values,
 *          value 32 r + i (r = 0..3, i = 0..31) has its low 4 bits in ql[64 half + 32 (r mod 2) +
 *          i] (low half for r < 2) and its upper 2 in bits 2 r of qh[32 half + i];
 *          x = (d scales[8 half + 2 r + i / 16]) (q - 32)
 *
 * Every product and sum written here is rounded once to f32, in this order, so the values are
 * equal bit for bit to those of the gguf package and of llama.cpp. */
#ifndef RM_ENGINE_BLOCKS_H
#define RM_ENGINE_BLOCKS_H

#include "engine/ops.h"

#include <assert.h>

typedef struct rm_q4_0_block { uint16_t d; uint8_t qs[16]; } rm_q4_0_block;
typedef struct rm_q4_1_block { uint16_t d, m; uint8_t qs[16]; } rm_q4_1_block;
typedef struct rm_q5_0_block { uint16_t d; uint8_t qh[4], qs[16]; } rm_q5_0_block;
typedef struct rm_q5_1_block { uint16_t d, m; uint8_t qh[4], qs[16]; } rm_q5_1_block;
typedef struct rm_q4_k_block { uint16_t d, m; uint8_t scales[12], qs[128]; } rm_q4_k_block;
typedef struct rm_q5_k_block { uint16_t d, m; uint8_t scales[12], qh[32], qs[128]; } rm_q5_k_block;
typedef struct rm_q6_k_block {
    uint8_t ql[128], qh[64];
    int8_t scales[16];
    uint16_t d;
} rm_q6_k_block;

static_assert(sizeof(rm_q4_0_block) == 18, "a q4_0 block is 18 bytes without padding");
static_assert(sizeof(rm_q4_1_block) == 20, "a q4_1 block is 20 bytes without padding");
static_assert(sizeof(rm_q5_0_block) == 22, "a q5_0 block is 22 bytes without padding");
static_assert(sizeof(rm_q5_1_block) == 24, "a q5_1 block is 24 bytes without padding");
static_assert(sizeof(rm_q4_k_block) == 144, "a q4_k block is 144 bytes without padding");
static_assert(sizeof(rm_q5_k_block) == 176, "a q5_k block is 176 bytes without padding");
static_assert(sizeof(rm_q6_k_block) == 210, "a q6_k block is 210 bytes without padding");

/* Values and bytes of one block; 1 and the value's size for types without blocks. */
size_t rm_block_values(rm_dtype);
size_t rm_block_bytes(rm_dtype);

/* Scale and minimum of sub-block j < 8, from the scales of a q4_k or q5_k block. */
void rm_k_scale(const uint8_t scales[12], int j, unsigned *scale, unsigned *minimum);

/* Widens n values, a multiple of the block's, of one of the types above (q8_0 aside). */
void rm_blocks_widen(rm_dtype, const void *blocks, size_t n, float *to);

#endif
