/* test_blocks.c - block-quantised types: their values against the gguf package's numpy code, and
 * products with them against products with the same values as f32. */
#include "cpu_ops.h"

/* ---- values ------------------------------------------------------------------------------ */

/* Printed by goldens/make_blocks.py: GGUF's number, bytes of a block, FNV-1a hash of 40 blocks as
 * f32, first and last value. */
static const struct golden {
    rm_dtype type;
    uint32_t number;
    size_t bytes;
    uint64_t hash;
    uint32_t first, last;
} goldens[] = {
    { RM_Q4_0, 2, 18, UINT64_C(0x4e4bfa8a886bb292), 0xc8278000, 0xc8554800 },
    { RM_Q4_1, 3, 20, UINT64_C(0x642f42b55f2c9205), 0xc0fbe43c, 0x421a2d00 },
    { RM_Q5_0, 6, 22, UINT64_C(0x016df142d1e49dc9), 0xc42eac00, 0xbcf62000 },
    { RM_Q5_1, 7, 24, UINT64_C(0x243867dd446a5cd3), 0xc603a800, 0x434c9400 },
    { RM_Q8_0, 8, 34, UINT64_C(0x6b95f5ec0da6fcbc), 0x3abc3800, 0x44508600 },
    { RM_Q4_K, 12, 144, UINT64_C(0xdfc9fb1ffc994911), 0x47edafd2, 0xc83b88f7 },
    { RM_Q5_K, 13, 176, UINT64_C(0x32e3a37d4e8f0c7e), 0x4a1d25fd, 0x464c0663 },
    { RM_Q6_K, 14, 210, UINT64_C(0x9fee595e143df404), 0x42c34d30, 0x4390a680 },
};
enum { N_GOLDENS = sizeof goldens / sizeof *goldens, BLOCKS = 40 };

/* Offsets of the f16 fields of a block, the second -1 if there is only one. */
static void scale_offsets(rm_dtype type, int at[2])
{
    bool two = type == RM_Q4_1 || type == RM_Q5_1 || type == RM_Q4_K || type == RM_Q5_K;
    at[0] = type == RM_Q6_K ? 208 : 0;
    at[1] = two ? 2 : -1;
}

/* The bytes that make_blocks.py has. */
static void fill(const struct golden *g, uint8_t *raw, size_t n)
{
    uint32_t state = g->number;
    int at[2];
    scale_offsets(g->type, at);
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        raw[i] = (uint8_t)(state >> 24);
    }
    for (size_t block = 0; block < n; block += g->bytes)
        for (int k = 0; k < 2; k++)
            if (at[k] >= 0 && (raw[block + (size_t)at[k] + 1] & 0x7c) == 0x7c)
                raw[block + (size_t)at[k] + 1] ^= 0x40;
}

Test(blocks, widen_as_the_gguf_package_does)
{
    for (int i = 0; i < N_GOLDENS; i++) {
        const struct golden *g = &goldens[i];
        uint8_t raw[BLOCKS * 210];
        float x[BLOCKS * 256];
        size_t n = BLOCKS * rm_block_values(g->type);
        cr_assert_eq(rm_block_bytes(g->type), g->bytes);
        fill(g, raw, BLOCKS * g->bytes);
        rm_dtype_widen(g->type, raw, n, x);
        uint64_t hash = UINT64_C(0xcbf29ce484222325);
        for (size_t k = 0; k < n * sizeof *x; k++)
            hash = (hash ^ ((const uint8_t *)x)[k]) * UINT64_C(0x100000001b3);
        cr_expect_eq(rm_f32_bits(x[0]), g->first, "%s", rm_dtype_name(g->type));
        cr_expect_eq(rm_f32_bits(x[n - 1]), g->last, "%s", rm_dtype_name(g->type));
        cr_expect_eq(hash, g->hash, "%s", rm_dtype_name(g->type));
    }
}

/* ---- products ---------------------------------------------------------------------------- */

/* Random blocks with scales of about 2^-8, so that sums stay in range. */
static uint8_t *quantised(rm_dtype type, size_t n_out, size_t n_in, uint64_t stream)
{
    size_t bytes = rm_dtype_bytes(type, n_out * n_in), block = rm_block_bytes(type);
    uint8_t *raw = malloc(bytes);
    int at[2];
    scale_offsets(type, at);
    for (size_t i = 0; i < bytes; i++)
        raw[i] = (uint8_t)rm_random(7, stream, (uint32_t)i, 0);
    for (size_t i = 0; i < bytes; i += block)
        for (int k = 0; k < 2; k++)
            if (at[k] >= 0)
                raw[i + (size_t)at[k] + 1] = (uint8_t)((raw[i + (size_t)at[k] + 1] & 0x83) | 0x1c);
    return raw;
}

static float *widened(rm_dtype type, const void *raw, size_t n)
{
    float *x = malloc(n * sizeof *x);
    rm_dtype_widen(type, raw, n, x);
    return x;
}

/* y of one product: stacked (n matrices) or gated (2), R rows. */
static void multiply(const char *isa, int threads, const rm_matrix *m, int n, bool gated,
                     rm_compute compute, const float *const *bias, const float *x, size_t R,
                     float *y)
{
    rm_error err = { "" };
    rm_backend *b = open_backend(isa, threads);
    rm_weight *w;
    size_t n_out = 0;
    for (int i = 0; i < n; i++)
        n_out += m[i].n_out;
    if (gated)
        n_out = m[0].n_out;
    rm_status st = gated ? ops->weight_new_gated(b, &m[0], &m[1], compute, &w, &err)
                         : ops->weight_new(b, m, bias, n, compute, &w, &err);
    cr_assert_eq(st, RM_OK, "%s", err.text);
    rm_tensor *in = new_tensor(b, R, m[0].n_in, x), *out = new_tensor(b, R, n_out, NULL);
    if (gated)
        ops->swiglu(b, out, in, w, (int)R);
    else
        ops->matmul(b, out, in, w, (int)R);
    flush(b);
    read_tensor(out, R, y);
    ops->tensor_free(b, in);
    ops->tensor_free(b, out);
    ops->weight_free(b, w);
    ops->close(b);
}

/* Stacks of mixed types, odd numbers of outputs, with a bias, in f32 and bf16, every variant and
 * number of rows: the bits of the same product with the values as f32. */
Test(blocks, products_have_the_bits_of_widened_weights)
{
    static const rm_dtype types[][3] = { { RM_Q4_0, RM_Q4_1, RM_Q5_0 },
                                         { RM_Q4_K, RM_Q4_K, RM_Q6_K },
                                         { RM_Q5_1, RM_Q8_0, RM_F16 },
                                          { RM_Q5_K, RM_Q5_K, RM_BF16 } };
    static const size_t n_out[3] = { 70, 9, 33 };
    enum { K = 512, ROWS = 53, OUT = 112 };
    float *x = values(1, ROWS * K), *biases = values(2, OUT);
    const float *bias[3] = { biases, NULL, biases + 79 };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        rm_matrix packed[3], plain[3];
        for (size_t k = 0; k < 3; k++) {
            rm_dtype t = types[i][k];
            uint8_t *raw;
            if (t == RM_F16 || t == RM_BF16) {
                float *v = values(9, n_out[k] * K);
                raw = malloc(n_out[k] * K * 2);
                rm_dtype_narrow(t, v, n_out[k] * K, raw);
                free(v);
            } else {
                raw = quantised(t, n_out[k], K, 10 * i + k);
            }
            packed[k] = (rm_matrix){ t, raw, n_out[k], K };
            plain[k] = (rm_matrix){ RM_F32, widened(t, raw, n_out[k] * K), n_out[k], K };
        }
        for (int c = 0; c < 2; c++) {
            static float want[ROWS * OUT], got[ROWS * OUT];
            rm_compute compute = c ? RM_COMPUTE_BF16 : RM_COMPUTE_F32;
            for (const char *const *isa = ops->isa_names; *isa; isa++) {
                if (!ops->isa_available(*isa))
                    continue;
                for (size_t R = 1; R <= ROWS; R += 26) {
                    multiply(*isa, 1, plain, 3, false, compute, bias, x, R, want);
                    multiply(*isa, 2, packed, 3, false, compute, bias, x, R, got);
                    cr_expect(memcmp(want, got, R * OUT * sizeof *got) == 0, "%s, types %zu, "
                              "compute %d, %zu rows", *isa, i, c, R);
                }
            }
        }
        for (size_t k = 0; k < 3; k++) {
            free((void *)(uintptr_t)packed[k].data);
            free((void *)(uintptr_t)plain[k].data);
        }
    }
    free(x);
    free(biases);
}

Test(blocks, gated_products_too)
{
    enum { K = 256, ROWS = 7, OUT = 45 };
    float *x = values(1, ROWS * K);
    static float want[ROWS * OUT], got[ROWS * OUT];
    uint8_t *gate = quantised(RM_Q4_K, OUT, K, 1), *up = quantised(RM_Q6_K, OUT, K, 2);
    float *plain_gate = widened(RM_Q4_K, gate, OUT * K), *plain_up = widened(RM_Q6_K, up, OUT * K);
    rm_matrix packed[] = { { RM_Q4_K, gate, OUT, K }, { RM_Q6_K, up, OUT, K } };
    rm_matrix plain[] = { { RM_F32, plain_gate, OUT, K }, { RM_F32, plain_up, OUT, K } };
    multiply(NULL, 1, plain, 2, true, RM_COMPUTE_F32, NULL, x, ROWS, want);
    multiply(NULL, 2, packed, 2, true, RM_COMPUTE_F32, NULL, x, ROWS, got);
    cr_expect(memcmp(want, got, sizeof got) == 0);
    free(gate);
    free(up);
    free(plain_gate);
    free(plain_up);
    free(x);
}

/* Under compute type q8: stacks of several types, with a bias, and gated pairs. Every variant,
 * number of threads and of rows gives the same bits; the values are those of the widened weights
 * times the inputs rounded to int8 blocks, summed in double. */
static void check_packed(const rm_matrix *m, int n, bool gated, const float *bias)
{
    enum { ROWS = 49 };
    static const size_t row_counts[] = { 1, 2, 3, 4, 5, 8, ROWS }; /* every way tiles are cut */
    size_t K = m[0].n_in, out = 0, at = 0;
    for (int i = 0; i < n; i++)
        out += m[i].n_out;
    size_t width = gated ? m[0].n_out : out;
    float *x = values(3, ROWS * K), *first = calloc(ROWS * width, sizeof *first),
          *y = calloc(ROWS * width, sizeof *y), *w = malloc(K * sizeof *w);
    double *sums = calloc(ROWS * out, sizeof *sums), *sizes = calloc(ROWS * out, sizeof *sizes);
    q8_block *q = calloc(ROWS * K / 32, sizeof *q);
    const float *biases[] = { bias, NULL, NULL };
    for (size_t r = 0; r < ROWS; r++)
        cpu_portable.convert(INPUT_Q8, x + r * K, K, q + r * K / 32);
    for (int i = 0; i < n; at += m[i++].n_out)
        for (size_t o = 0; o < m[i].n_out; o++) {
            rm_dtype_widen(m[i].type, (const char *)m[i].data + o * rm_dtype_bytes(m[i].type, K), K,
                           w);
            for (size_t r = 0; r < ROWS; r++)
                for (size_t k = 0; k < K; k++) {
                    const q8_block *b = &q[(r * K + k) / 32];
                    double term = (double)b->scale * b->q[k % 32] * (double)w[k];
                    sums[r * out + at + o] += term;
                    sizes[r * out + at + o] += fabs(term);
                }
        }
    multiply("portable", 1, m, n, gated, RM_COMPUTE_Q8, bias ? biases : NULL, x, ROWS, first);
    for (size_t r = 0; r < ROWS && !gated; r++)
        for (size_t o = 0; o < out; o++) {
            double want = sums[r * out + o] + (bias && o < m[0].n_out ? (double)bias[o] : 0);
            /* K / 32 blocks, two or three roundings of 2^-24 each; sub-blocks with a minimum are a
             * difference of parts up to 8 times as large */
            cr_assert_float_eq((double)first[r * out + o], want, 2e-5 * sizes[r * out + o] + 1e-5,
                               "%s, row %zu, output %zu", rm_dtype_name(m[0].type), r, o);
        }
    for (size_t r = 0; r < ROWS && gated; r++)
        for (size_t o = 0; o < width; o++) {
            double g = sums[r * out + o], u = sums[r * out + width + o];
            cr_assert_float_eq((double)first[r * width + o], g / (1 + exp(-g)) * u,
                               1e-4 * (1 + sizes[r * out + o]) * (1 + sizes[r * out + width + o]));
        }
    for (const char *const *isa = ops->isa_names; *isa; isa++)
        for (size_t i = 0; i < sizeof row_counts / sizeof *row_counts && ops->isa_available(*isa);
             i++) {
            size_t R = row_counts[i];
            multiply(*isa, 1 + (int)R % 3, m, n, gated, RM_COMPUTE_Q8, bias ? biases : NULL, x, R,
                     y);
            cr_expect(memcmp(first, y, R * width * sizeof *y) == 0, "%s, %s, %zu rows", *isa,
                      rm_dtype_name(m[0].type), R);
        }
    free(x), free(first), free(y), free(w), free(sums), free(sizes), free(q);
}

Test(blocks, int8_products)
{
    static const rm_dtype stacks[][3] = { { RM_Q4_0, RM_Q4_1, RM_Q5_0 },
                                          { RM_Q5_1, RM_Q8_0, RM_Q4_0 },
                                          { RM_Q4_K, RM_Q4_K, RM_Q6_K },
                                          { RM_Q6_K, RM_Q5_K, RM_Q5_K } };
    static const size_t n_out[3] = { 80, 16, 37 };
    float *bias = values(2, 80);
    for (size_t i = 0; i < sizeof stacks / sizeof *stacks; i++) {
        rm_matrix m[3];
        for (size_t k = 0; k < 3; k++)
            m[k] = (rm_matrix){ stacks[i][k], quantised(stacks[i][k], n_out[k], 512, 10 * i + k),
                                n_out[k], 512 };
        check_packed(m, 3, false, bias);
        rm_matrix pair[] = { m[1], m[1] };
        pair[0].n_out = pair[1].n_out = 13;
        check_packed(pair, 2, true, NULL);
        check_packed(&m[2], 1, false, NULL);
        for (size_t k = 0; k < 3; k++)
            free((void *)(uintptr_t)m[k].data);
    }
    free(bias);
}

/* Rows that are no multiple of the 256 values unpacked at once, groups of one to four vectors. */
Test(blocks, int8_products_of_all_sizes)
{
    static const rm_dtype types[] = { RM_Q8_0, RM_Q4_0, RM_Q5_1 };
    static const size_t n_out[] = { 3, 30, 47, 60, 116 };
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (size_t i = 0; i < sizeof n_out / sizeof *n_out; i++) {
            rm_matrix m = { types[t], quantised(types[t], n_out[i], 352, 100 * t + i), n_out[i], 352 };
            check_packed(&m, 1, false, NULL);
            free((void *)(uintptr_t)m.data);
        }
}

/* Products under compute type q8 today and earlier: FNV-1a of the outputs of the portable variant
 * (the others are held to it above). They come from no other program; see tests/README.md. */
static const struct {
    rm_dtype type;
    uint64_t hash;
} products[] = {
    { RM_Q8_0, UINT64_C(0x5895be8466a157ef) }, { RM_Q4_0, UINT64_C(0xd422c64509c48614) },
    { RM_Q4_1, UINT64_C(0xaa7c5b2ee81f6734) }, { RM_Q5_0, UINT64_C(0x9a43e8ad746e5482) },
    { RM_Q5_1, UINT64_C(0xa7c79ca5aaf9959d) }, { RM_Q4_K, UINT64_C(0x7b81b9a5bb6fda63) },
    { RM_Q5_K, UINT64_C(0x6deb0b228e4ab8ba) }, { RM_Q6_K, UINT64_C(0xf02886b1beddddda) },
};

Test(blocks, int8_products_keep_their_bits)
{
    enum { OUT = 70, K = 512, ROWS = 5 };
    float *x = values(3, ROWS * K), y[ROWS * OUT];
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        rm_matrix m = { products[i].type, quantised(products[i].type, OUT, K, i), OUT, K };
        multiply("portable", 2, &m, 1, false, RM_COMPUTE_Q8, NULL, x, ROWS, y);
        uint64_t hash = UINT64_C(0xcbf29ce484222325);
        for (size_t k = 0; k < sizeof y; k++)
            hash = (hash ^ ((const uint8_t *)y)[k]) * UINT64_C(0x100000001b3);
        cr_expect_eq(hash, products[i].hash, "%s: 0x%016llx", rm_dtype_name(products[i].type),
                     (unsigned long long)hash);
        free((void *)(uintptr_t)m.data);
    }
    free(x);
}

/* A stack that cannot be packed (a part in the middle of 9 outputs) is computed in f32. */
Test(blocks, other_stacks_fall_back_to_f32)
{
    enum { K = 256, ROWS = 3 };
    uint8_t *a = quantised(RM_Q4_K, 9, K, 1), *c = quantised(RM_Q6_K, 5, K, 2);
    float *x = values(1, ROWS * K), want[ROWS * 14], got[ROWS * 14];
    rm_matrix m[] = { { RM_Q4_K, a, 9, K }, { RM_Q6_K, c, 5, K } };
    multiply(NULL, 1, m, 2, false, RM_COMPUTE_F32, NULL, x, ROWS, want);
    multiply(NULL, 1, m, 2, false, RM_COMPUTE_Q8, NULL, x, ROWS, got);
    cr_expect(memcmp(want, got, sizeof got) == 0);
    free(a);
    free(c);
    free(x);
}

Test(blocks, rows_must_hold_whole_blocks)
{
    rm_error err = { "" };
    rm_backend *b = open_backend(NULL, 1);
    rm_weight *w;
    rm_matrix m = { RM_Q4_K, "", 1, 128 };
    cr_expect_eq(ops->weight_new(b, &m, NULL, 1, RM_COMPUTE_F32, &w, &err), RM_E_FORMAT);
    cr_expect(strstr(err.text, "a q4_k matrix has 128 columns; a multiple of 256"), "%s", err.text);
    ops->close(b);
}
