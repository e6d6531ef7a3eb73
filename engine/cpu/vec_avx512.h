/* vec_avx512.h - the vector of 16 floats as one AVX-512 register (F, BW, VL, DQ); with
 * VEC_BF16 also the bf16 and int8 dot products (BF16, VNNI). */
#ifndef RM_ENGINE_CPU_VEC_H
#define RM_ENGINE_CPU_VEC_H

#include <immintrin.h>

#include "engine/num.h"

#define VEC_REGISTER_ROWS    6
#define VEC_REGISTER_VECTORS 4

typedef __m512 vf;
typedef __m512i vi;
typedef __m512i vb;

static inline float sf_fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}
static inline vf vf_set(float a)
{
    return _mm512_set1_ps(a);
}
static inline vf vf_zero(void)
{
    return _mm512_setzero_ps();
}
static inline vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void vf_store(float *p, vf a)
{
    _mm512_storeu_ps(p, a);
}
static inline vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
static inline vf vf_abs(vf a)
{
    return _mm512_abs_ps(a);
}
static inline vf vf_where_less(vf x, vf limit, vf yes, vf no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, limit, _CMP_LT_OQ), no, yes);
}
static inline vf vf_keep_nan(vf x, vf y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), y, x);
}
static inline vf vf_first(int n, vf a, vf b)
{
    return n >= 16 ? a : _mm512_mask_blend_ps((__mmask16)((1u << (n < 0 ? 0 : n)) - 1), b, a);
}

static inline vf vf_scale2(vf a, vf biased)
{
    return _mm512_castsi512_ps(_mm512_add_epi32(
        _mm512_castps_si512(a), _mm512_slli_epi32(_mm512_castps_si512(biased), 23)));
}

static inline float vf_fold_add(vf a)
{
    __m256 s = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}

static inline float vf_fold_max(vf a)
{
    __m256 s = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_max_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
}

static inline vf vf_swap_pairs(vf a)
{
    return _mm512_permute_ps(a, 0xB1);
}
static inline vf vf_from_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
static inline vf vf_from_bf16(const uint16_t *p)
{
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}
static inline vf vf_pair_even(const uint16_t *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}
static inline vf vf_pair_odd(const uint16_t *p)
{
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32((int)0xffff0000)));
}

static inline __m512i round_bf16(vf a) /* in the low halves */
{
    __m512i u = _mm512_castps_si512(a), hi = _mm512_srli_epi32(u, 16);
    __m512i odd = _mm512_and_si512(hi, _mm512_set1_epi32(1));
    __m512i r = _mm512_srli_epi32(
        _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd), 16);
    __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    return _mm512_mask_or_epi32(r, nan, hi, _mm512_set1_epi32(0x40));
}
static inline void vf_to_bf16(uint16_t *p, vf a)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(round_bf16(a)));
}
/* As bf16 into the even or the odd halves of 16 words; the other halves are not touched. */
static inline void vf_store_half(uint16_t *p, int odd, vf a)
{
    __m512i r = round_bf16(a);
    if (odd) _mm512_mask_storeu_epi16(p, 0xAAAAAAAA, _mm512_slli_epi32(r, 16));
    else _mm512_mask_storeu_epi16(p, 0x55555555, r);
}

static inline int vf_to_i8(int8_t *p, vf a)
{
    __m512i q = _mm512_cvtps_epi32(a);
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(q));
    return _mm512_reduce_add_epi32(q);
}

/* Eight doubles, for what follows the logits. */
typedef __m512d vd;
static inline vd vd_set(double a)
{
    return _mm512_set1_pd(a);
}
static inline vd vd_load_float(const float *p)
{
    return _mm512_cvtps_pd(_mm256_loadu_ps(p));
}
static inline void vd_store(double *p, vd a)
{
    _mm512_storeu_pd(p, a);
}
static inline vd vd_add(vd a, vd b)
{
    return _mm512_add_pd(a, b);
}
static inline vd vd_sub(vd a, vd b)
{
    return _mm512_sub_pd(a, b);
}
static inline vd vd_mul(vd a, vd b)
{
    return _mm512_mul_pd(a, b);
}
static inline vd vd_div(vd a, vd b)
{
    return _mm512_div_pd(a, b);
}
static inline vd vd_fma(vd a, vd b, vd c)
{
    return _mm512_fmadd_pd(a, b, c);
}
static inline vd vd_where_less(vd x, vd limit, vd yes, vd no)
{
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(x, limit, _CMP_LT_OQ), no, yes);
}
static inline vd vd_keep_nan(vd x, vd y)
{
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(x, x, _CMP_UNORD_Q), y, x);
}
static inline vd vd_scale2(vd a, vd biased)
{
    return _mm512_castsi512_pd(_mm512_add_epi64(
        _mm512_castpd_si512(a), _mm512_slli_epi64(_mm512_castpd_si512(biased), 52)));
}
/* Nearest integers of 0 <= a < 2^52; 0 for what is not a number. */
static inline void vd_store_rounded(uint64_t *p, vd a)
{
    __m512i u = _mm512_castpd_si512(_mm512_add_pd(a, _mm512_set1_pd(0x1p52)));
    u = _mm512_and_si512(u, _mm512_set1_epi64((1ll << 52) - 1));
    _mm512_storeu_si512(p, _mm512_maskz_mov_epi64(_mm512_cmp_pd_mask(a, a, _CMP_ORD_Q), u));
}

static inline vi vi_set(int32_t a)
{
    return _mm512_set1_epi32(a);
}
static inline vf vf_from_i32(vi a)
{
    return _mm512_cvtepi32_ps(a);
}

/* 16 bytes as floats. */
static inline vf vf_from_u8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
static inline vf vf_from_i8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

/* 64 bytes. */
static inline vb vb_load(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}
/* Kept in a register: gcc would load it again for each of its uses, more loads than there are ports. */
static inline vb vb_keep(vb a)
{
    __asm__("" : "+v"(a));
    return a;
}
static inline void vb_store(uint8_t *p, vb a)
{
    _mm512_storeu_si512(p, a);
}
static inline vb vb_low4(vb a)
{
    return _mm512_and_si512(a, _mm512_set1_epi8(15));
}
static inline vb vb_high4(vb a)
{
    return _mm512_and_si512(_mm512_srli_epi16(a, 4), _mm512_set1_epi8(15));
}
/* q | (bits moved up by `up` & mask); |up| <= 4, and no bit of the mask is one that a move within
 * 16 bits takes from the neighbour. */
static inline vb vb_merge(vb q, vb bits, int up, int mask)
{
    switch (up) {
    case 4: bits = _mm512_slli_epi16(bits, 4); break;
    case 3: bits = _mm512_slli_epi16(bits, 3); break;
    case 2: bits = _mm512_slli_epi16(bits, 2); break;
    case 1: bits = _mm512_slli_epi16(bits, 1); break;
    case -1: bits = _mm512_srli_epi16(bits, 1); break;
    case -2: bits = _mm512_srli_epi16(bits, 2); break;
    case -3: bits = _mm512_srli_epi16(bits, 3); break;
    default: break;
    }
    return _mm512_ternarylogic_epi32(q, bits, _mm512_set1_epi8((char)mask), 0xf8);
}

static inline __m512i four_inputs(const int8_t *x)
{
    int32_t word;
    memcpy(&word, x, 4);
    return _mm512_set1_epi32(word);
}

/* acc += sum over 4 of w x; w unsigned, x the same 4 for all lanes. In vi_dot_few w <= 127. */
#ifdef VEC_BF16
static inline vi vi_dot(vi acc, vb w, const int8_t *x)
{
    return _mm512_dpbusd_epi32(acc, w, four_inputs(x));
}
static inline vi vi_dot_few(vi acc, vb w, const int8_t *x)
{
    return _mm512_dpbusd_epi32(acc, w, four_inputs(x));
}
#else
/* As in vec_avx2.h; there is no 512-bit vpsignb, so x is negated under a mask. */
static inline vi vi_dot(vi acc, vb w, const int8_t *x)
{
    __m512i s = _mm512_xor_si512(w, _mm512_set1_epi8((char)-128)), v = four_inputs(x);
    v = _mm512_mask_sub_epi8(v, _mm512_movepi8_mask(s), _mm512_setzero_si512(), v);
    __m512i sums =
        _mm512_madd_epi16(_mm512_maddubs_epi16(_mm512_abs_epi8(s), v), _mm512_set1_epi16(1));
    __m512i x128 = _mm512_set1_epi32(128 * (x[0] + x[1] + x[2] + x[3]));
    return _mm512_add_epi32(acc, _mm512_add_epi32(sums, x128));
}
static inline vi vi_dot_few(vi acc, vb w, const int8_t *x)
{
    __m512i pairs = _mm512_maddubs_epi16(w, four_inputs(x));
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
#endif

#ifdef VEC_BF16
/* acc += w_even x_even + w_odd x_odd for pairs of bf16; x the same pair for all lanes. */
static inline vf vf_dot_bf16(vf acc, const uint16_t *w, uint32_t pair)
{
    return _mm512_dpbf16_ps(acc, (__m512bh)_mm512_loadu_si512(w),
                            (__m512bh)_mm512_set1_epi32((int)pair));
}
static inline vf vf_dot_bf16_even(vf acc, const uint16_t *w, uint16_t x)
{
    __m512i even = _mm512_and_si512(_mm512_loadu_si512(w), _mm512_set1_epi32(0xffff));
    return _mm512_dpbf16_ps(acc, (__m512bh)even, (__m512bh)_mm512_set1_epi32(x));
}
#endif

#endif
