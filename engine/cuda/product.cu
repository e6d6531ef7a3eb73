/* product.cu - products of rows with a weight, the same bits for any number of rows.
 *
 *     y[r][j] = sum_k x[r][k] w[j][k]       then bias, addition or silu(gate) up (launch.h)
 *
 * Tensor cores.  mma.sync.m16n8k16 with weights on its side of 16 and tokens on its side of 8, so
 * that one token wastes 7/8 of the multiplications and none of the bandwidth. A block owns 64
 * weights (16 a warp) and up to 128 tokens, and walks along its piece of K in tiles of 64 through a
 * ring of shared-memory stages filled by cp.async.
 *
 *   the sum      of one output depends on its weight row and its token alone: each instruction adds
 *                16 products to the f32 accumulator, in ascending order of K, from zero; which of
 *                the 8 columns the token is in, and how many tokens share the tile, is not an input
 *                of it. Tiles of 8, 32, 64 and 128 tokens therefore agree, and every row count.
 *   pieces of K  follow from (n, k) alone (rm_product_split); their sums are added in ascending
 *                order by the second kernel.
 *   order of k   as it stands: instruction i adds k = 16 i .. 16 i + 15, which is also what a
 *                library's kernels do, so that some may turn out to agree bit for bit.
 *   banks        rows are 128 bytes; vector v of row r lies at v xor (r mod 8), so that the eight
 *                rows of an ldmatrix touch all 32 banks once.
 *
 * Bytes: a weight is read once for each tile of tokens; with n n-wide outputs and R rows, 2 n K +
 * ceil(n / 64) 2 R K (from L2) + 4 R n. In flight: 3 of 4 stages, 8 KiB of weights each, for
 * every block.
 *
 * The first stages of weights are asked for before the kernel before this one has finished (launch
 * overlap, device.h): nobody writes weights while kernels run.
 *
 * f32.  One fused multiply-add a product in ascending k: with one piece the bits of the CPU
 * backend. Weights of 16 bits are widened exactly. */
#include "engine/cuda/device.h"

#include <string.h>

#define GLUE(a, b)      GLUE_NAMES(a, b)
#define GLUE_NAMES(a, b) a##b

enum { TILE_N = 64, TILE_K = 64, VECTORS = TILE_K / 8, PRODUCT_THREADS = 128 };

/* Where vector `vector` of 8 halves of a row lies. */
DEVICE int swizzled(int row, int vector)
{
    return vector ^ (row & 7);
}

/* Starts copying 8 halves of a row; zeros outside `rows` and from k = `end` on. */
DEVICE void copy_piece(uint16_t *to, const void *from, int stride, int row, int rows, int k,
                       int end)
{
    int real = row < rows && k < end;
    COPY_ASYNC16(to, (const uint16_t *)from + (real ? (size_t)row * (size_t)stride + (size_t)k : 0),
                 real);
}

/* ---- what becomes of a sum --------------------------------------------------------------------- */

DEVICE float gated(float gate, float up)
{
    return gate / (1.0f + rm_expf(0.0f - gate)) * up;
}

DEVICE void put_output(const rm_product_args *a, int token, int column, float value)
{
    if (a->y) {
        float *y = a->y + (size_t)token * (size_t)a->y_stride + (size_t)column;
        if (a->mode == RM_PRODUCT_ADD)
            value = *y + value;
        *y = value;
    }
    if (a->rounded.to)
        a->rounded.to[(size_t)token * (size_t)a->rounded.stride + (size_t)column] =
            rm_round_to(a->rounded.type, value);
}

DEVICE float biased(const rm_product_args *a, int j, float sum)
{
    return a->bias ? sum + a->bias[j] : sum;
}

/* Sums of weights j and j + 8 for a token: of a gated weight, gate and up of one column. */
DEVICE void leave_sums(const rm_product_args *a, int token, int j, float low, float high)
{
    if (token >= a->rows)
        return;
    if (GRID_Y > 1) { /* one piece of several */
        float *to = a->partial + ((size_t)BLOCK_Y * (size_t)a->rows + (size_t)token) * (size_t)a->n;
        if (j < a->n)
            to[j] = low;
        if (j + 8 < a->n)
            to[j + 8] = high;
    } else if (a->mode == RM_PRODUCT_GATE) {
        if (j + 8 < a->n)
            put_output(a, token, j / 16 * 8 + j % 8,
                       gated(biased(a, j, low), biased(a, j + 8, high)));
    } else {
        if (j < a->n)
            put_output(a, token, j, biased(a, j, low));
        if (j + 8 < a->n)
            put_output(a, token, j + 8, biased(a, j + 8, high));
    }
}

/* ---- tensor cores ------------------------------------------------------------------------------ */

#define PRODUCT_NAME product_bf16_8
#define PRODUCT_TOKENS 8
#define PRODUCT_STAGES 4
#define PRODUCT_MMA MMA_BF16
#include "engine/cuda/product.inc"

#define PRODUCT_NAME product_bf16_32
#define PRODUCT_TOKENS 32
#define PRODUCT_STAGES 4
#define PRODUCT_MMA MMA_BF16
#include "engine/cuda/product.inc"

#define PRODUCT_NAME product_bf16_64
#define PRODUCT_TOKENS 64
#define PRODUCT_STAGES 4
#define PRODUCT_MMA MMA_BF16
#include "engine/cuda/product.inc"

#define PRODUCT_NAME product_bf16_128
#define PRODUCT_TOKENS 128
#define PRODUCT_STAGES 3
#define PRODUCT_MMA MMA_BF16
#include "engine/cuda/product.inc"

#define PRODUCT_NAME product_f16_8
#define PRODUCT_TOKENS 8
#define PRODUCT_STAGES 4
#define PRODUCT_MMA MMA_F16
#include "engine/cuda/product.inc"

#define PRODUCT_NAME product_f16_32
#define PRODUCT_TOKENS 32
#define PRODUCT_STAGES 4
#define PRODUCT_MMA MMA_F16
#include "engine/cuda/product.inc"

#define PRODUCT_NAME product_f16_64
#define PRODUCT_TOKENS 64
#define PRODUCT_STAGES 4
#define PRODUCT_MMA MMA_F16
#include "engine/cuda/product.inc"

#define PRODUCT_NAME product_f16_128
#define PRODUCT_TOKENS 128
#define PRODUCT_STAGES 3
#define PRODUCT_MMA MMA_F16
#include "engine/cuda/product.inc"

/* ---- f32 --------------------------------------------------------------------------------------- */

enum { WIDE_K = 32, WIDE_TOKENS = 32, WIDE_EACH = WIDE_TOKENS / 2, WIDE_LOADS = 4 };

typedef struct wide_shared {
    float w[WIDE_K][TILE_N + 1];
    float x[WIDE_K][WIDE_TOKENS];
} wide_shared;

/* Four weights of row j from k on, as f32; zeros outside. */
DEVICE void four_weights(const rm_product_args *a, int j, int k, float *to)
{
    size_t at = (size_t)j * (size_t)a->w_stride + (size_t)k;
    UNROLL for (int i = 0; i < 4; i++) {
        float value = 0.0f;
        if (j < a->n && k + i < a->k) {
            if (a->w_type == RM_CUDA_F32)
                value = ((const float *)a->w)[at + (size_t)i];
            else if (a->w_type == RM_CUDA_BF16)
                value = rm_from_bf16(((const uint16_t *)a->w)[at + (size_t)i]);
            else
                value = rm_from_f16(((const uint16_t *)a->w)[at + (size_t)i]);
        }
        to[i] = value;
    }
}

DEVICE void four_inputs(const rm_product_args *a, int token, int k, float *to)
{
    const float *x = (const float *)a->x + (size_t)token * (size_t)a->x_stride;
    UNROLL for (int i = 0; i < 4; i++) to[i] = token < a->rows && k + i < a->k ? x[k + i] : 0.0f;
}

/* Thread (j, h) of a block computes weight j for tokens 16 h .. 16 h + 15. The next tile is on its
 * way in registers while one is multiplied. */
KERNEL(product_wide, rm_product_args, PRODUCT_THREADS)
{
    AFTER_PREVIOUS();
    SHARED(wide_shared, s);
    int piece = rm_product_piece(a.n, a.k) * TILE_K, k = BLOCK_Y * piece;
    int end = k + piece < a.k ? k + piece : a.k;
    int j = THREAD % TILE_N, half = THREAD / TILE_N;
    int j0 = BLOCK_X * TILE_N, t0 = BLOCK_Z * WIDE_TOKENS;
    int row = THREAD / (WIDE_K / 4), column = THREAD % (WIDE_K / 4) * 4;
    float acc[WIDE_EACH], w[WIDE_LOADS][4] = { { 0.0f } }, x[2][4] = { { 0.0f } };
    UNROLL for (int i = 0; i < WIDE_EACH; i++) acc[i] = 0.0f;

    for (int from = k - WIDE_K; from < end; from += WIDE_K) {
        if (from >= k) { /* multiply the tile that was loaded in the round before */
            SYNC();
            UNROLL for (int i = 0; i < WIDE_LOADS; i++)
                UNROLL for (int c = 0; c < 4; c++) s->w[column + c][row + 16 * i] = w[i][c];
            UNROLL for (int i = 0; i < 2; i++)
                UNROLL for (int c = 0; c < 4; c++) s->x[column + c][row + 16 * i] = x[i][c];
            SYNC();
        }
        int next = from + WIDE_K;
        if (next < end) {
            UNROLL for (int i = 0; i < WIDE_LOADS; i++)
                four_weights(&a, j0 + row + 16 * i, next + column, w[i]);
            UNROLL for (int i = 0; i < 2; i++)
                four_inputs(&a, t0 + row + 16 * i, next + column, x[i]);
        }
        if (from >= k)
            for (int c = 0; c < WIDE_K; c++) {
                float weight = s->w[c][j];
                UNROLL for (int i = 0; i < WIDE_EACH; i++)
                    acc[i] = RM_FMAF(s->x[c][half * WIDE_EACH + i], weight, acc[i]);
            }
    }
    SYNC(); /* the sums of gate and up meet in shared memory */
    float *sums = &s->w[0][0]; /* [tokens][64 + 1] */
    UNROLL for (int i = 0; i < WIDE_EACH; i++)
        sums[(half * WIDE_EACH + i) * (TILE_N + 1) + j] = acc[i];
    SYNC();
    for (int i = THREAD; i < WIDE_TOKENS * TILE_N / 2; i += PRODUCT_THREADS) {
        int token = i / (TILE_N / 2), pair = i % (TILE_N / 2), low = pair / 8 * 16 + pair % 8;
        const float *sum = sums + token * (TILE_N + 1) + low;
        leave_sums(&a, t0 + token, j0 + low, sum[0], sum[8]);
    }
}

/* ---- the end of a product ---------------------------------------------------------------------- */

typedef struct finish_args {
    rm_product_args product;
    int split, columns; /* of the output */
} finish_args;

DEVICE float summed(const finish_args *a, int token, int j)
{
    size_t n = (size_t)a->product.n, apart = (size_t)a->product.rows * n;
    const float *from = a->product.partial + (size_t)token * n + (size_t)j;
    float sum = from[0];
    for (int i = 1; i < a->split; i++)
        sum += from[(size_t)i * apart];
    return biased(&a->product, j, sum);
}

KERNEL(product_finish, finish_args, PRODUCT_THREADS)
{
    AFTER_PREVIOUS();
    int column = BLOCK_X * PRODUCT_THREADS + THREAD, token = BLOCK_Y;
    if (column < a.columns) {
        float value;
        if (a.product.mode == RM_PRODUCT_GATE) {
            int j = column / 8 * 16 + column % 8;
            value = gated(summed(&a, token, j), summed(&a, token, j + 8));
        } else {
            value = summed(&a, token, column);
        }
        put_output(&a.product, token, column, value);
    }
}

/* ---- launching --------------------------------------------------------------------------------- */

static int columns_of(const rm_product_args *p)
{
    return p->mode == RM_PRODUCT_GATE ? p->n / 2 : p->n;
}

static int bad_shape(const rm_product_args *p)
{
    return p->n < 1 || p->k < 1 || p->rows > 65535 || (p->mode == RM_PRODUCT_GATE && p->n % 16) ||
           (p->mode == RM_PRODUCT_ADD && !p->y) || (p->rounded.to && columns_of(p) % 8);
}

int rm_launch_product_finish(const rm_product_args *p, int split, rm_stream stream)
{
    if (p->rows < 1)
        return 0;
    if (bad_shape(p) || split < 1)
        return RM_BAD_SHAPE;
    finish_args args;
    args.product = *p;
    args.split = split;
    args.columns = columns_of(p);
    return LAUNCH(product_finish, rm_ceil_div(args.columns, PRODUCT_THREADS), p->rows, 1,
                  PRODUCT_THREADS, 0, stream, args);
}

static int finish_or_not(const rm_product_args *p, int status, rm_stream stream)
{
    int split = rm_product_split(p->n, p->k);
    return status || split == 1 ? status : rm_launch_product_finish(p, split, stream);
}

int rm_launch_product(const rm_product_args *p, rm_stream stream)
{
    if (p->rows < 1)
        return 0;
    int f16 = p->w_type == RM_CUDA_F16, status;
    if (bad_shape(p) || (!f16 && p->w_type != RM_CUDA_BF16) || p->w_stride % 8 || p->x_stride % 8)
        return RM_BAD_SHAPE;
    if (p->rows <= 8)
        status = f16 ? product_f16_8_launch(p, stream) : product_bf16_8_launch(p, stream);
    else if (p->rows <= 32)
        status = f16 ? product_f16_32_launch(p, stream) : product_bf16_32_launch(p, stream);
    else if (p->rows <= 64)
        status = f16 ? product_f16_64_launch(p, stream) : product_bf16_64_launch(p, stream);
    else
        status = f16 ? product_f16_128_launch(p, stream) : product_bf16_128_launch(p, stream);
    return finish_or_not(p, status, stream);
}

int rm_launch_product_f32(const rm_product_args *p, rm_stream stream)
{
    if (p->rows < 1)
        return 0;
    if (bad_shape(p))
        return RM_BAD_SHAPE;
    int status = LAUNCH(product_wide, rm_ceil_div(p->n, TILE_N), rm_product_split(p->n, p->k),
                        rm_ceil_div(p->rows, WIDE_TOKENS), PRODUCT_THREADS, sizeof(wide_shared),
                        stream, *p);
    return finish_or_not(p, status, stream);
}
