/* vec_avx2.h - the vector of 16 floats as two AVX2 registers, with FMA and F16C. */
#ifndef RM_ENGINE_CPU_VEC_H
#define RM_ENGINE_CPU_VEC_H

#include <immintrin.h>

#include "engine/num.h"

#define VEC_REGISTER_ROWS    6
#define VEC_REGISTER_VECTORS 1

typedef struct vf {
    __m256 a, b;
} vf;
typedef struct vi {
    __m256i a, b;
} vi;
typedef vi vb;

#define VF2(f, x, y) ((vf){ f((x).a, (y).a), f((x).b, (y).b) })

static inline float sf_fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}
static inline vf vf_set(float a)
{
    return (vf){ _mm256_set1_ps(a), _mm256_set1_ps(a) };
}
static inline vf vf_zero(void)
{
    return (vf){ _mm256_setzero_ps(), _mm256_setzero_ps() };
}
static inline vf vf_load(const float *p)
{
    return (vf){ _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) };
}
static inline void vf_store(float *p, vf x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
static inline vf vf_add(vf x, vf y)
{
    return VF2(_mm256_add_ps, x, y);
}
static inline vf vf_sub(vf x, vf y)
{
    return VF2(_mm256_sub_ps, x, y);
}
static inline vf vf_mul(vf x, vf y)
{
    return VF2(_mm256_mul_ps, x, y);
}
static inline vf vf_div(vf x, vf y)
{
    return VF2(_mm256_div_ps, x, y);
}
static inline vf vf_fma(vf x, vf y, vf z)
{
    return (vf){ _mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b) };
}
static inline vf vf_max(vf x, vf y)
{
    return VF2(_mm256_max_ps, x, y);
}
static inline vf vf_abs(vf x)
{
    vf m = { _mm256_set1_ps(-0.0f), _mm256_set1_ps(-0.0f) };
    return VF2(_mm256_andnot_ps, m, x);
}

static inline vf vf_where_less(vf x, vf limit, vf yes, vf no)
{
    return (vf){ _mm256_blendv_ps(no.a, yes.a, _mm256_cmp_ps(x.a, limit.a, _CMP_LT_OQ)),
                 _mm256_blendv_ps(no.b, yes.b, _mm256_cmp_ps(x.b, limit.b, _CMP_LT_OQ)) };
}

static inline vf vf_keep_nan(vf x, vf y)
{
    return (vf){ _mm256_blendv_ps(y.a, x.a, _mm256_cmp_ps(x.a, x.a, _CMP_UNORD_Q)),
                 _mm256_blendv_ps(y.b, x.b, _mm256_cmp_ps(x.b, x.b, _CMP_UNORD_Q)) };
}

static inline vf vf_first(int n, vf x, vf y)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), limit = _mm256_set1_epi32(n);
    __m256i below = _mm256_cmpgt_epi32(limit, lane);
    __m256i below8 = _mm256_cmpgt_epi32(limit, _mm256_add_epi32(lane, _mm256_set1_epi32(8)));
    return (vf){ _mm256_blendv_ps(y.a, x.a, _mm256_castsi256_ps(below)),
                 _mm256_blendv_ps(y.b, x.b, _mm256_castsi256_ps(below8)) };
}

static inline __m256 scale2(__m256 a, __m256 biased)
{
    return _mm256_castsi256_ps(_mm256_add_epi32(
        _mm256_castps_si256(a), _mm256_slli_epi32(_mm256_castps_si256(biased), 23)));
}
static inline vf vf_scale2(vf x, vf biased)
{
    return VF2(scale2, x, biased);
}

static inline float vf_fold_add(vf x)
{
    __m256 s = _mm256_add_ps(x.a, x.b);
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}

static inline float vf_fold_max(vf x)
{
    __m256 s = _mm256_max_ps(x.a, x.b);
    __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_max_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
}

static inline vf vf_swap_pairs(vf x)
{
    return (vf){ _mm256_permute_ps(x.a, 0xB1), _mm256_permute_ps(x.b, 0xB1) };
}

static inline vf vf_from_f16(const uint16_t *p)
{
    return (vf){ _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
                 _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8))) };
}

static inline __m256 widen8(const uint16_t *p)
{
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
}
static inline vf vf_from_bf16(const uint16_t *p)
{
    return (vf){ widen8(p), widen8(p + 8) };
}

static inline __m256 even8(const uint16_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)p), 16));
}
static inline __m256 odd8(const uint16_t *p)
{
    return _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256((const __m256i *)p),
                                                _mm256_set1_epi32((int)0xffff0000)));
}
static inline vf vf_pair_even(const uint16_t *p)
{
    return (vf){ even8(p), even8(p + 16) };
}
static inline vf vf_pair_odd(const uint16_t *p)
{
    return (vf){ odd8(p), odd8(p + 16) };
}

static inline __m256i round_bf16(__m256 x)
{
    __m256i u = _mm256_castps_si256(x), hi = _mm256_srli_epi32(u, 16);
    __m256i odd = _mm256_and_si256(hi, _mm256_set1_epi32(1));
    __m256i r = _mm256_srli_epi32(
        _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd), 16);
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_blendv_epi8(r, _mm256_or_si256(hi, _mm256_set1_epi32(0x40)), nan);
}
static inline void vf_to_bf16(uint16_t *p, vf x)
{
    __m256i packed = _mm256_packus_epi32(round_bf16(x.a), round_bf16(x.b));
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(packed, 0xD8));
}

/* As bf16 into the even or the odd halves of 16 words; the other halves are not touched. */
static inline void vf_store_half(uint16_t *p, int odd, vf x)
{
    uint16_t half[16];
    vf_to_bf16(half, x);
    for (int j = 0; j < 16; j++)
        p[2 * j + odd] = half[j];
}

static inline int vf_to_i8(int8_t *p, vf x)
{
    __m256i a = _mm256_cvtps_epi32(x.a), b = _mm256_cvtps_epi32(x.b);
    __m256i s = _mm256_add_epi32(a, b);
    __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8); /* 16 int16 in order */
    __m128i q = _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    _mm_storeu_si128((__m128i *)p, q);
    __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(t, _mm_shuffle_epi32(t, 0xB1)));
}

/* Eight doubles, for what follows the logits. */
typedef struct vd {
    __m256d a, b;
} vd;
static inline vd vd_set(double x)
{
    return (vd){ _mm256_set1_pd(x), _mm256_set1_pd(x) };
}
static inline vd vd_load_float(const float *p)
{
    return (vd){ _mm256_cvtps_pd(_mm_loadu_ps(p)), _mm256_cvtps_pd(_mm_loadu_ps(p + 4)) };
}
static inline void vd_store(double *p, vd x)
{
    _mm256_storeu_pd(p, x.a);
    _mm256_storeu_pd(p + 4, x.b);
}
#define VD2(f, x, y) ((vd){ f((x).a, (y).a), f((x).b, (y).b) })
static inline vd vd_add(vd x, vd y)
{
    return VD2(_mm256_add_pd, x, y);
}
static inline vd vd_sub(vd x, vd y)
{
    return VD2(_mm256_sub_pd, x, y);
}
static inline vd vd_mul(vd x, vd y)
{
    return VD2(_mm256_mul_pd, x, y);
}
static inline vd vd_div(vd x, vd y)
{
    return VD2(_mm256_div_pd, x, y);
}
static inline vd vd_fma(vd x, vd y, vd z)
{
    return (vd){ _mm256_fmadd_pd(x.a, y.a, z.a), _mm256_fmadd_pd(x.b, y.b, z.b) };
}
static inline vd vd_where_less(vd x, vd limit, vd yes, vd no)
{
    return (vd){ _mm256_blendv_pd(no.a, yes.a, _mm256_cmp_pd(x.a, limit.a, _CMP_LT_OQ)),
                 _mm256_blendv_pd(no.b, yes.b, _mm256_cmp_pd(x.b, limit.b, _CMP_LT_OQ)) };
}
static inline vd vd_keep_nan(vd x, vd y)
{
    return (vd){ _mm256_blendv_pd(y.a, x.a, _mm256_cmp_pd(x.a, x.a, _CMP_UNORD_Q)),
                 _mm256_blendv_pd(y.b, x.b, _mm256_cmp_pd(x.b, x.b, _CMP_UNORD_Q)) };
}
static inline __m256d scale2d(__m256d a, __m256d biased)
{
    return _mm256_castsi256_pd(_mm256_add_epi64(
        _mm256_castpd_si256(a), _mm256_slli_epi64(_mm256_castpd_si256(biased), 52)));
}
static inline vd vd_scale2(vd x, vd biased)
{
    return VD2(scale2d, x, biased);
}
static inline void store_rounded4(uint64_t *p, __m256d x)
{
    __m256d sum = _mm256_add_pd(x, _mm256_set1_pd(0x1p52));
    __m256i u = _mm256_and_si256(_mm256_castpd_si256(sum), _mm256_set1_epi64x((1ll << 52) - 1));
    u = _mm256_and_si256(u, _mm256_castpd_si256(_mm256_cmp_pd(x, x, _CMP_ORD_Q)));
    _mm256_storeu_si256((__m256i *)p, u);
}
/* Nearest integers of 0 <= a < 2^52; 0 for what is not a number. */
static inline void vd_store_rounded(uint64_t *p, vd x)
{
    store_rounded4(p, x.a);
    store_rounded4(p + 4, x.b);
}

static inline vi vi_set(int32_t a)
{
    return (vi){ _mm256_set1_epi32(a), _mm256_set1_epi32(a) };
}
static inline vf vf_from_i32(vi x)
{
    return (vf){ _mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b) };
}

/* 16 bytes as floats. */
static inline vf vf_from_u8(const uint8_t *p)
{
    __m128i u = _mm_loadu_si128((const __m128i *)p);
    return (vf){ _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(u)),
                 _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(u, 8))) };
}
static inline vf vf_from_i8(const uint8_t *p)
{
    __m128i u = _mm_loadu_si128((const __m128i *)p);
    return (vf){ _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(u)),
                 _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(u, 8))) };
}

/* 64 bytes. */
static inline vb vb_load(const uint8_t *p)
{
    return (vb){ _mm256_loadu_si256((const __m256i *)p),
                 _mm256_loadu_si256((const __m256i *)(p + 32)) };
}
static inline vb vb_keep(vb x) /* see vec_avx512.h */
{
    return x;
}
static inline void vb_store(uint8_t *p, vb x)
{
    _mm256_storeu_si256((__m256i *)p, x.a);
    _mm256_storeu_si256((__m256i *)(p + 32), x.b);
}
static inline vb vb_low4(vb x)
{
    __m256i m = _mm256_set1_epi8(15);
    return (vb){ _mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m) };
}
static inline vb vb_high4(vb x)
{
    return vb_low4((vb){ _mm256_srli_epi16(x.a, 4), _mm256_srli_epi16(x.b, 4) });
}
static inline __m256i merge32(__m256i q, __m256i bits, int up, int mask)
{
    switch (up) {
    case 4: bits = _mm256_slli_epi16(bits, 4); break;
    case 3: bits = _mm256_slli_epi16(bits, 3); break;
    case 2: bits = _mm256_slli_epi16(bits, 2); break;
    case 1: bits = _mm256_slli_epi16(bits, 1); break;
    case -1: bits = _mm256_srli_epi16(bits, 1); break;
    case -2: bits = _mm256_srli_epi16(bits, 2); break;
    case -3: bits = _mm256_srli_epi16(bits, 3); break;
    default: break;
    }
    return _mm256_or_si256(q, _mm256_and_si256(bits, _mm256_set1_epi8((char)mask)));
}
/* q | (bits moved up by `up` & mask); |up| <= 4, and no bit of the mask is one that a move within
 * 16 bits takes from the neighbour. */
static inline vb vb_merge(vb q, vb bits, int up, int mask)
{
    return (vb){ merge32(q.a, bits.a, up, mask), merge32(q.b, bits.b, up, mask) };
}

/* vpmaddubsw saturates at 16 bits, so unsigned times signed will not do: |w - 128| times x with
 * the sign of w - 128 stays below 2 * 128 * 127 < 2^15. What the contract's sum has beside that,
 * 128 times the sum of the four x, is added back. */
static inline __m256i dot8(__m256i acc, __m256i w, __m256i x, __m256i x128)
{
    __m256i s = _mm256_xor_si256(w, _mm256_set1_epi8((char)-128));
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(s), _mm256_sign_epi8(x, s));
    __m256i sums = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    return _mm256_add_epi32(acc, _mm256_add_epi32(sums, x128));
}
static inline vi vi_dot(vi acc, vb w, const int8_t *x)
{
    int32_t word;
    memcpy(&word, x, 4);
    __m256i v = _mm256_set1_epi32(word);
    __m256i x128 = _mm256_set1_epi32(128 * (x[0] + x[1] + x[2] + x[3]));
    return (vi){ dot8(acc.a, w.a, v, x128), dot8(acc.b, w.b, v, x128) };
}
/* The same for w <= 127: 2 * 127 * 127 < 2^15. */
static inline vi vi_dot_few(vi acc, vb w, const int8_t *x)
{
    int32_t word;
    memcpy(&word, x, 4);
    __m256i v = _mm256_set1_epi32(word), one = _mm256_set1_epi16(1);
    __m256i a = _mm256_madd_epi16(_mm256_maddubs_epi16(w.a, v), one),
            b = _mm256_madd_epi16(_mm256_maddubs_epi16(w.b, v), one);
    return (vi){ _mm256_add_epi32(acc.a, a), _mm256_add_epi32(acc.b, b) };
}

#endif
