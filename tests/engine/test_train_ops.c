/* test_train_ops.c - the gradient of every operation of training against finite differences.
 *
 * Each operation is written down once more in double; with random numbers y for the gradient that
 * comes from above, the derivative of sum y f(x) by each input is (f(x + h) - f(x - h)) / 2h,
 * h = 1e-5: truncation error 1e-10, rounding 1e-11. The kernels compute in f32: sums of n terms of
 * size 1 agree to some n 6e-8; the tolerance is 3e-6 of the largest gradient plus as much. All
 * variants must give the same bits. */
#include "engine/train/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const train_kernels *const variants[] = {
    &train_portable,
#if defined(__x86_64__)
    &train_avx2, &train_avx512,
#endif
};

static bool can_run(const train_kernels *k)
{
    return rm_cpu_ops.isa_available(k->name);
}

/* Uniform in [-1, 1), exact in float. */
static void draw(float *x, size_t n, uint64_t stream)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((double)(rm_random(3, stream, (uint32_t)i, 0) >> 40) / 8388608.0 - 1.0);
}

static double sum_of(const double *f, const float *y, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++)
        s += f[i] * (double)y[i];
    return s;
}

enum { MOST = 4096, CHECKED = 600 }; /* of many inputs about CHECKED are looked at */

/* f(x, arg) writes n_out doubles; got[n] is to be the gradient of sum y f by x[n]. */
typedef void function(const double *x, double *out, const void *arg);

static void check(const char *what, function *f, const void *arg, const float *x, size_t n,
                  const float *y, size_t n_out, const float *got)
{
    static double at[MOST], out[MOST], expected[MOST];
    double most = 0;
    size_t step = (1 + n / CHECKED) | 1; /* odd, so that all columns have their turn */
    for (size_t i = 0; i < n; i++)
        at[i] = (double)x[i];
    for (size_t i = 0; i < n; i += step) {
        double h = 1e-5;
        at[i] = (double)x[i] + h;
        f(at, out, arg);
        double up = sum_of(out, y, n_out);
        at[i] = (double)x[i] - h;
        f(at, out, arg);
        expected[i] = (up - sum_of(out, y, n_out)) / (2 * h);
        at[i] = (double)x[i];
        most = fmax(most, fabs(expected[i]));
    }
    for (size_t i = 0; i < n; i += step)
        cr_expect(fabs((double)got[i] - expected[i]) <= 3e-6 * most + 3e-6,
                  "%s, input %zu: got %g, differences give %g", what, i, (double)got[i],
                  expected[i]);
}

/* The first variant that ran sets what the others must equal. */
static void same_bits(const char *what, const train_kernels *k, const float *got, float *first,
                      size_t n)
{
    if (k == variants[0])
        memcpy(first, got, n * sizeof *got);
    else
        cr_expect_eq(memcmp(first, got, n * sizeof *got), 0, "%s: %s differs from portable", what,
                     k->name);
}

/* ---- products -------------------------------------------------------------------------------- */

/* y = x W^T with x [5, 32], W [19, 32]. */
enum { M_ROWS = 5, M_IN = 32, M_OUT = 19, M_PAD = 32 };
static void product_f(const double *xw, double *out, const void *arg)
{
    (void)arg;
    const double *x = xw, *w = xw + M_ROWS * M_IN;
    for (int r = 0; r < M_ROWS; r++)
        for (int o = 0; o < M_OUT; o++) {
            out[r * M_PAD + o] = 0;
            for (int i = 0; i < M_IN; i++)
                out[r * M_PAD + o] += x[r * M_IN + i] * w[o * M_IN + i];
        }
}

Test(train_ops, products)
{
    static float xw[(M_ROWS + M_OUT) * M_IN], y[M_ROWS * M_PAD], got[(M_ROWS + M_OUT) * M_IN],
        first[(M_ROWS + M_OUT) * M_IN];
    draw(xw, sizeof xw / sizeof *xw, 1);
    draw(y, sizeof y / sizeof *y, 2);
    for (int r = 0; r < M_ROWS; r++)
        for (int o = M_OUT; o < M_PAD; o++)
            y[r * M_PAD + o] = 0;
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        if (!can_run(variants[v]))
            continue;
        const float *x = xw, *w = xw + M_ROWS * M_IN;
        memset(got, 0, sizeof got);
        variants[v]->multiply(&(multiply_args){ M_ROWS, M_IN, M_OUT, y, M_PAD, 1, w, M_IN, got,
                                                M_IN, false });
        /* the sum over rows in two parts */
        float *dw = got + M_ROWS * M_IN;
        for (size_t r = 0; r < M_ROWS; r += 3)
            variants[v]->multiply(&(multiply_args){ M_OUT, M_IN, M_ROWS - r < 3 ? M_ROWS - r : 3,
                                                    y + r * M_PAD, 1, M_PAD, x + r * M_IN, M_IN, dw,
                                                    M_IN, true });
        check("product", product_f, NULL, xw, sizeof xw / sizeof *xw, y, M_ROWS * M_PAD, got);
        same_bits("product", variants[v], got, first, sizeof got / sizeof *got);
    }
}

/* All shapes of register tiles: columns 16 to 144, rows 1 to 13, against a sum in double. */
Test(train_ops, products_of_every_tile_shape)
{
    enum { K = 7, ROWS = 13, COLUMNS = 144 };
    static float a[ROWS * K], b[K * COLUMNS], c[ROWS * COLUMNS], first[ROWS * COLUMNS];
    draw(a, ROWS * K, 3);
    draw(b, K * COLUMNS, 4);
    for (int rows = 1; rows <= ROWS; rows++)
        for (int columns = 16; columns <= COLUMNS; columns += 16)
            for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
                if (!can_run(variants[v]))
                    continue;
                draw(c, ROWS * COLUMNS, 5);
                variants[v]->multiply(&(multiply_args){ (size_t)rows, (size_t)columns, K, a, K, 1,
                                                        b, COLUMNS, c, COLUMNS, false });
                for (int i = 0; i < rows * columns; i++) {
                    int r = i / columns, o = i % columns;
                    double sum = 0;
                    for (int k = 0; k < K; k++)
                        sum += (double)a[r * K + k] * (double)b[k * COLUMNS + o];
                    cr_assert(fabs(sum - (double)c[r * COLUMNS + o]) < 1e-6, "%d x %d at %d, %d",
                              rows, columns, r, o);
                }
                same_bits("tile", variants[v], c, first, ROWS * COLUMNS);
            }
}

/* ---- the gate -------------------------------------------------------------------------------- */

enum { GATE_N = 48 };
static void gate_f(const double *x, double *out, const void *arg)
{
    (void)arg;
    for (int i = 0; i < GATE_N; i++)
        out[i] = x[i] / (1 + exp(-x[i])) * x[GATE_N + i];
}

Test(train_ops, gate)
{
    float x[2 * GATE_N], y[GATE_N], got[2 * GATE_N], first[2 * GATE_N], hidden[GATE_N];
    double out[GATE_N], at[2 * GATE_N];
    draw(x, 2 * GATE_N, 6);
    draw(y, GATE_N, 7);
    for (int i = 0; i < GATE_N; i++)
        x[i] *= 8; /* both tails of the sigmoid */
    for (int i = 0; i < 2 * GATE_N; i++)
        at[i] = (double)x[i];
    gate_f(at, out, NULL);
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        if (!can_run(variants[v]))
            continue;
        variants[v]->swiglu(hidden, x, GATE_N);
        for (int i = 0; i < GATE_N; i++)
            cr_expect(fabs((double)hidden[i] - out[i]) < 1e-6, "%d", i);
        variants[v]->swiglu_back(got, x, y, GATE_N);
        check("gate", gate_f, NULL, x, 2 * GATE_N, y, GATE_N, got);
        same_bits("gate", variants[v], got, first, 2 * GATE_N);
    }
}

/* ---- the norm -------------------------------------------------------------------------------- */

enum { NORM_N = 64, NORM_ROWS = 3 };
static void norm_f(const double *xw, double *out, const void *arg)
{
    (void)arg;
    const double *w = xw + NORM_ROWS * NORM_N;
    for (int r = 0; r < NORM_ROWS; r++) {
        const double *x = xw + r * NORM_N;
        double squares = 0;
        for (int i = 0; i < NORM_N; i++)
            squares += x[i] * x[i];
        for (int i = 0; i < NORM_N; i++)
            out[r * NORM_N + i] = x[i] / sqrt(squares / NORM_N + 1e-3) * w[i];
    }
}

Test(train_ops, norm)
{
    enum { N = (NORM_ROWS + 1) * NORM_N };
    float xw[N], y[NORM_ROWS * NORM_N], got[N], first[N], r[NORM_ROWS];
    draw(xw, N, 8);
    draw(y, NORM_ROWS * NORM_N, 9);
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        if (!can_run(variants[v]))
            continue;
        const float *w = xw + NORM_ROWS * NORM_N;
        memset(got, 0, sizeof got);
        for (size_t i = 0; i < NORM_ROWS; i++)
            r[i] = variants[v]->norm_back(got + i * NORM_N, y + i * NORM_N, xw + i * NORM_N, w,
                                          1e-3f, NORM_N);
        variants[v]->norm_weight_back(got + NORM_ROWS * NORM_N, y, xw, NORM_N, r, NORM_ROWS,
                                      NORM_N);
        check("norm", norm_f, NULL, xw, N, y, NORM_ROWS * NORM_N, got);
        same_bits("norm", variants[v], got, first, N);
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

/* Rows of q (two heads), k, v; T of them. */
enum { HEAD = 16, QUERIES = 2, WIDTH = (QUERIES + 2) * HEAD, LONGEST = 53 };
static void attention_f(const double *x, double *out, const void *arg)
{
    int T = *(const int *)arg;
    for (int h = 0; h < QUERIES; h++)
        for (int i = 0; i < T; i++) {
            double s[LONGEST], most = -INFINITY, sum = 0;
            for (int j = 0; j <= i; j++) {
                s[j] = 0;
                for (int c = 0; c < HEAD; c++)
                    s[j] += x[i * WIDTH + h * HEAD + c] * x[j * WIDTH + QUERIES * HEAD + c];
                s[j] /= sqrt(HEAD);
                most = fmax(most, s[j]);
            }
            for (int j = 0; j <= i; j++)
                sum += s[j] = exp(s[j] - most);
            for (int c = 0; c < HEAD; c++) {
                double *to = &out[i * QUERIES * HEAD + h * HEAD + c];
                *to = 0;
                for (int j = 0; j <= i; j++)
                    *to += s[j] / sum * x[j * WIDTH + (QUERIES + 1) * HEAD + c];
            }
        }
}

static void attention_of(int T)
{
    static float x[LONGEST * WIDTH], y[LONGEST * QUERIES * HEAD], out[LONGEST * QUERIES * HEAD],
        got[LONGEST * WIDTH], first[LONGEST * WIDTH];
    static double at[LONGEST * WIDTH], value[LONGEST * QUERIES * HEAD];
    size_t n = (size_t)T * WIDTH, n_out = (size_t)T * QUERIES * HEAD;
    draw(x, n, 10);
    draw(y, n_out, 11);
    for (size_t i = 0; i < n; i++)
        x[i] *= 2;
    for (size_t i = 0; i < n; i++)
        at[i] = (double)x[i];
    attention_f(at, value, &T);
    for (size_t i = 0; i < n_out; i++)
        out[i] = (float)value[i];
    float *scratch = malloc(attention_back_floats(T, HEAD) * sizeof *scratch);
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        if (!can_run(variants[v]))
            continue;
        memset(got, 0x7f, sizeof got); /* all of it is written */
        attention_back_args a = {
            .n_positions = T, .head_dim = HEAD, .n_queries = QUERIES, .q = x,
            .k = x + QUERIES * HEAD, .v = x + (QUERIES + 1) * HEAD, .stride = WIDTH, .out = out,
            .d_out = y, .out_stride = QUERIES * HEAD, .d_q = got, .d_k = got + QUERIES * HEAD,
            .d_v = got + (QUERIES + 1) * HEAD, .d_stride = WIDTH, .scratch = scratch,
        };
        variants[v]->attention_back(&a);
        check("attention", attention_f, &T, x, n, y, n_out, got);
        same_bits("attention", variants[v], got, first, n);
    }
    free(scratch);
}

Test(train_ops, attention)
{
    static const int lengths[] = { 1, 2, 16, QUERY_BLOCK, QUERY_BLOCK + 1, 2 * QUERY_BLOCK + 5 };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        attention_of(lengths[i]);
}

/* ---- the loss -------------------------------------------------------------------------------- */

static void loss_f(const double *x, double *out, const void *arg)
{
    int n = *(const int *)arg;
    double sum = 0;
    for (int v = 0; v < n; v++)
        sum += exp(x[v]);
    out[0] = x[n / 3] - log(sum);
}

Test(train_ops, loss)
{
    static const int sizes[] = { 4, 16, 21, 32, 50 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int n = sizes[s];
        float x[64], got[64], first[64], slope = 0.75f;
        draw(x, 64, 12);
        for (int i = 0; i < 64; i++)
            x[i] *= 6;
        double sum = 0, entropy = 0;
        for (int v = 0; v < n; v++)
            sum += exp((double)x[v]);
        for (int v = 0; v < n; v++)
            entropy -= exp((double)x[v]) / sum * ((double)x[v] - log(sum));
        for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
            if (!can_run(variants[v]))
                continue;
            memset(got, 0x7f, sizeof got);
            double h = variants[v]->softmax_back(got, x, n, log(sum), n / 3, slope);
            cr_expect(fabs(h - entropy) < 1e-5, "entropy %g, expected %g", h, entropy);
            check("loss", loss_f, &n, x, (size_t)n, &slope, 1, got);
            for (int i = n; i < (n + 15) / 16 * 16; i++)
                cr_expect(got[i] == 0, "padding");
            same_bits("loss", variants[v], got, first, (size_t)n);
        }
    }
}

/* ---- the optimizer's passes ------------------------------------------------------------------ */

Test(train_ops, squares)
{
    float x[1000];
    double first = 0;
    draw(x, 1000, 13);
    static const size_t sizes[] = { 1, 15, 16, 17, 1000 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        double sum = 0;
        for (size_t i = 0; i < sizes[s]; i++)
            sum += (double)x[i] * (double)x[i];
        for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
            if (!can_run(variants[v]))
                continue;
            double got = variants[v]->squares(x, sizes[s]);
            cr_expect(fabs(got - sum) < 1e-12 * sum, "%zu", sizes[s]);
            if (!v)
                first = got;
            cr_expect(got == first, "%s", variants[v]->name);
        }
    }
}
