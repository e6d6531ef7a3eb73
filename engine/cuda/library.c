/* library.c - products by cuBLASLt, under the promise of equal bits.
 *
 * The library takes another kernel for another number of rows, and its kernels add in other orders.
 * So in `exact` products nothing is left to it but the tile: K is cut into the pieces that follow from
 * the weight's shape (rm_product_piece), each piece is a product of its own in a batch of them, and
 * our own kernel adds the pieces in ascending order. An algorithm may serve a weight only if it was
 * seen to give the bits of the own kernel, on every number of rows it could be asked for, on random
 * inputs with the weights themselves and on matrices of ones (where a lost end of K shows at
 * once). Algorithms that split K by themselves are never asked. Which of the admitted ones serves
 * how many rows is then a matter of time alone, measured at load; no bit depends on it. Where none
 * is admitted, or none is faster, the own kernel computes.
 *
 * In `fast` products the library's first choice for each number of rows is taken as it is. */
#include "engine/cuda/compare.h"
#include "engine/cuda/cuda.h"
#include "engine/cuda/library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CANDIDATES = 48, ASKED = 8, WORKSPACE_BYTES = 32 << 20, MAX_BUCKETS = 32, TIMED = 3,
       PROBED_ROWS = 1024 };

typedef struct lt_algorithm {
    cublasLtMatmulAlgo_t algo;
    bool whole; /* K in one piece: fast */
} lt_algorithm;

/* The algorithms of one shape. */
struct cuda_choice {
    cuda_choice *next;
    int n, k, stride;
    int n_buckets;
    int rows[MAX_BUCKETS];      /* the buckets, ascending */
    int serves[MAX_BUCKETS];    /* index into `algorithm`; -1: the own kernel */
    lt_algorithm algorithm[MAX_CANDIDATES];
    int n_algorithms;
};

struct cuda_library {
    lt_functions lt;
    cublasLtHandle_t handle;
    cuda_choice *choices;
    bool broken; /* memory for probing ran out once: no more */
};

void cuda_library_open(rm_backend *b)
{
    cuda_library *l = calloc(1, sizeof *l);
    if (!l || !lt_load(&l->lt)) {
        free(l);
        return;
    }
    if (l->lt.cublasLtCreate(&l->handle)) {
        lt_unload(&l->lt);
        free(l);
        return;
    }
    b->library = l;
    cuda_need(b, &b->workspace, WORKSPACE_BYTES, "cuBLASLt's workspace");
    if (b->status) {
        b->status = RM_OK;
        cuda_library_close(b);
        return;
    }
    size_t version = l->lt.cublasLtGetVersion(), at = strlen(b->identity.libraries);
    snprintf(b->identity.libraries + at, sizeof b->identity.libraries - at, ", cuBLASLt %zu.%zu.%zu",
             version / 10000, version % 10000 / 100, version % 100);
}

void cuda_library_close(rm_backend *b)
{
    cuda_library *l = b->library;
    if (!l)
        return;
    while (l->choices) {
        cuda_choice *next = l->choices->next;
        free(l->choices);
        l->choices = next;
    }
    l->lt.cublasLtDestroy(l->handle);
    lt_unload(&l->lt);
    free(l);
    b->library = NULL;
}

/* ---- one product -------------------------------------------------------------------------------------- */

/* The library counts in columns: D[n, rows] = transposed(W [k, n]) X [k, rows]. */
typedef struct lt_shape {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w, x, y;
} lt_shape;

static void shape_free(const lt_functions *lt, lt_shape *s)
{
    if (s->desc)
        lt->cublasLtMatmulDescDestroy(s->desc);
    if (s->w)
        lt->cublasLtMatrixLayoutDestroy(s->w);
    if (s->x)
        lt->cublasLtMatrixLayoutDestroy(s->x);
    if (s->y)
        lt->cublasLtMatrixLayoutDestroy(s->y);
}

static int layout(const lt_functions *lt, cublasLtMatrixLayout_t *out, cudaDataType_t type, int rows,
                  int columns, int stride, int pieces, int64_t offset)
{
    int32_t count = pieces;
    int code = (int)lt->cublasLtMatrixLayoutCreate(out, type, (uint64_t)rows, (uint64_t)columns,
                                                   stride);
    if (!code)
        code = (int)lt->cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                                                         &count, sizeof count);
    if (!code)
        code = (int)lt->cublasLtMatrixLayoutSetAttribute(
            *out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &offset, sizeof offset);
    return code;
}

/* `pieces` pieces of k side by side in K. */
static int shape_new(const lt_functions *lt, const rm_product_args *a, int k, int pieces,
                     lt_shape *s)
{
    cublasOperation_t transposed = CUBLAS_OP_T;
    *s = (lt_shape){ 0 };
    int code = (int)lt->cublasLtMatmulDescCreate(&s->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (!code)
        code = (int)lt->cublasLtMatmulDescSetAttribute(s->desc, CUBLASLT_MATMUL_DESC_TRANSA,
                                                       &transposed, sizeof transposed);
    if (!code)
        code = layout(lt, &s->w, CUDA_R_16BF, k, a->n, a->w_stride, pieces, k);
    if (!code)
        code = layout(lt, &s->x, CUDA_R_16BF, k, a->rows, a->x_stride, pieces, k);
    if (!code)
        code = layout(lt, &s->y, CUDA_R_32F, a->n, a->rows, a->n, pieces,
                      (int64_t)a->rows * a->n);
    if (code)
        shape_free(lt, s);
    return code;
}

/* Pieces `from` .. `from + pieces - 1` of length k, `piece` apart, into a->partial. */
static int multiply(rm_backend *b, const lt_algorithm *algorithm, const rm_product_args *a,
                    int from, int pieces, int piece, int k)
{
    const lt_functions *lt = &b->library->lt;
    static const float one = 1.0f, zero = 0.0f;
    size_t at = (size_t)from * (size_t)piece, out = (size_t)from * (size_t)a->rows * (size_t)a->n;
    lt_shape s;
    int code = shape_new(lt, a, k, pieces, &s);
    if (code)
        return code;
    float *y = a->partial + out;
    code = (int)lt->cublasLtMatmul(b->library->handle, s.desc, &one, (const uint16_t *)a->w + at,
                                   s.w, (const uint16_t *)a->x + at, s.x, &zero, y, s.y, y, s.y,
                                   &algorithm->algo, b->workspace.data, b->workspace.bytes,
                                   b->stream);
    shape_free(lt, &s);
    return code;
}

/* How K is cut: `whole` pieces of `length`, and one of `rest` behind them unless that is 0. */
static void cut(const lt_algorithm *algorithm, int n, int k, int *whole, int *length, int *rest)
{
    *length = algorithm->whole ? k : rm_product_piece(n, k) * 64;
    *whole = k / *length;
    *rest = k % *length;
}

int cuda_library_product(rm_backend *b, const void *chosen, const rm_weight *w,
                         const rm_product_args *a)
{
    const lt_algorithm *algorithm = chosen;
    int whole, length, rest;
    cut(algorithm, w->n, w->k, &whole, &length, &rest);
    int code = whole ? multiply(b, algorithm, a, 0, whole, length, length) : 0;
    if (!code && rest)
        code = multiply(b, algorithm, a, whole, 1, length, rest);
    return code ? cudaErrorInvalidValue
                : rm_launch_product_finish(a, whole + (rest > 0), b->stream);
}

/* ---- candidates ------------------------------------------------------------------------------------------ */

static void add_candidates(rm_backend *b, cuda_choice *c, const rm_product_args *a, bool whole)
{
    const lt_functions *lt = &b->library->lt;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t found[ASKED];
    lt_algorithm algorithm = { .whole = whole };
    int pieces, length, rest, n_found = 0;
    uint32_t no_reduction = 0;
    size_t workspace = WORKSPACE_BYTES;
    lt_shape s;
    cut(&algorithm, a->n, a->k, &pieces, &length, &rest);
    if (shape_new(lt, a, length, pieces, &s))
        return;
    int code = (int)lt->cublasLtMatmulPreferenceCreate(&preference);
    if (!code)
        code = (int)lt->cublasLtMatmulPreferenceSetAttribute(
            preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    if (!code && !whole)
        code = (int)lt->cublasLtMatmulPreferenceSetAttribute(
            preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &no_reduction,
            sizeof no_reduction);
    if (!code)
        code = (int)lt->cublasLtMatmulAlgoGetHeuristic(b->library->handle, s.desc, s.w, s.x, s.y,
                                                       s.y, preference, whole ? 1 : ASKED, found,
                                                       &n_found);
    for (int i = 0; i < n_found && !code; i++) {
        bool known = found[i].state != 0;
        for (int j = 0; j < c->n_algorithms && !known && !whole; j++)
            known = memcmp(&c->algorithm[j].algo, &found[i].algo, sizeof found[i].algo) == 0;
        if (!known && c->n_algorithms < MAX_CANDIDATES) {
            algorithm.algo = found[i].algo;
            c->algorithm[c->n_algorithms++] = algorithm;
        }
    }
    if (preference)
        lt->cublasLtMatmulPreferenceDestroy(preference);
    shape_free(lt, &s);
}

/* ---- probing ------------------------------------------------------------------------------------------------ */

/* What probing works with, on the device. */
typedef struct probe {
    rm_product_args args;  /* of the weight; y and x are set for each product */
    rm_weight *weight;
    void *random, *ones_x, *ones_w, *own, *other, *differ;
    bool admitted[MAX_CANDIDATES];
    float ms[MAX_CANDIDATES + 1][MAX_BUCKETS]; /* the last row is the own kernel's; < 0: cannot */
    cudaEvent_t begin, end;
} probe;

static void probe_free(probe *p)
{
    void *all[] = { p->random, p->ones_x, p->ones_w, p->own, p->other, p->differ };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cuda_free(all[i]);
    if (p->begin)
        cudaEventDestroy(p->begin);
    if (p->end)
        cudaEventDestroy(p->end);
}

/* Rows of numbers in (-1, 1), and of ones, as bf16. */
static rm_status fill_inputs(rm_backend *b, probe *p, int rows, rm_error *err)
{
    size_t k = (size_t)p->weight->k, stride = (size_t)p->args.x_stride;
    size_t bytes = (size_t)rows * stride * sizeof(uint16_t);
    uint16_t *host = calloc((size_t)rows, stride * sizeof *host);
    rm_status st = host ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory to probe products");
    for (int turn = 0; turn < 2 && !st; turn++) {
        for (size_t r = 0; r < (size_t)rows; r++)
            for (size_t i = 0; i < k; i++) {
                uint64_t u = rm_mix(r, i);
                host[r * stride + i] = turn ? 0x3f80 : (uint16_t)(0x3e00 | (u & 0x817f));
            }
        int code = (int)cudaMemcpyAsync(turn ? p->ones_x : p->random, host, bytes,
                                        cudaMemcpyHostToDevice, b->stream);
        if (!code)
            code = (int)cudaStreamSynchronize(b->stream);
        if (code)
            st = CUDA_FAIL(err, code, "copying %zu bytes to probe products", bytes);
    }
    free(host);
    return st;
}

static rm_status fill_ones(rm_backend *b, const probe *p, rm_error *err)
{
    const rm_weight *w = p->weight;
    size_t row = (size_t)w->stride, n = (size_t)w->n;
    uint16_t *host = calloc(row, sizeof *host);
    int code = host ? 0 : (int)cudaErrorMemoryAllocation;
    for (int i = 0; i < w->k && host; i++)
        host[i] = 0x3f80;
    for (size_t at = 0; at < n && !code; at++)
        code = (int)cudaMemcpyAsync((uint16_t *)p->ones_w + at * row, host, row * sizeof *host,
                                    cudaMemcpyHostToDevice, b->stream);
    if (!code)
        code = (int)cudaStreamSynchronize(b->stream);
    free(host);
    return code ? CUDA_FAIL(err, code, "a matrix of ones, %zu by %d", n, w->k) : RM_OK;
}

static rm_status probe_new(rm_backend *b, rm_weight *w, int rows, probe *p, rm_error *err)
{
    size_t x = (size_t)rows * (((size_t)w->k + 15) / 16 * 16) * sizeof(uint16_t);
    size_t y = (size_t)rows * (size_t)w->n * sizeof(float);
    const struct {
        void **at;
        size_t bytes;
    } wanted[] = { { &p->random, x }, { &p->ones_x, x },
                   { &p->ones_w, (size_t)w->n * (size_t)w->stride * sizeof(uint16_t) },
                   { &p->own, y }, { &p->other, y }, { &p->differ, sizeof(uint32_t) } };
    *p = (probe){ .weight = w };
    p->args = (rm_product_args){ .bias = w->bias, .w_type = w->type, .mode = RM_PRODUCT_STORE,
                                 .n = w->n, .k = w->k, .x_stride = (w->k + 15) / 16 * 16,
                                 .w_stride = w->stride, .y_stride = w->n };
    rm_status st = RM_OK;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted && !st; i++)
        st = cuda_alloc(b, wanted[i].bytes, "probing products", wanted[i].at, err);
    int split = rm_product_split(w->n, w->k);
    cuda_need(b, &b->partial, y * (size_t)split, "sums of products");
    if (!st && b->status) {
        st = rm_fail(err, b->status, "%s", b->error.text);
        b->status = RM_OK;
    }
    p->args.partial = b->partial.data;
    if (!st)
        st = fill_inputs(b, p, rows, err);
    if (!st)
        st = fill_ones(b, p, err);
    int code = st ? 0 : (int)cudaEventCreateWithFlags(&p->begin, 0);
    if (!code && !st)
        code = (int)cudaEventCreateWithFlags(&p->end, 0);
    if (code)
        st = CUDA_FAIL(err, code, "events to probe products");
    return st;
}

/* One product, by an algorithm or (NULL) by the own kernel. */
static int compute(rm_backend *b, probe *p, const lt_algorithm *algorithm, bool ones, int rows,
                   void *y)
{
    rm_product_args a = p->args;
    a.rows = rows;
    a.y = y;
    a.x = ones ? p->ones_x : p->random;
    a.w = ones ? p->ones_w : p->weight->data;
    return algorithm ? cuda_library_product(b, algorithm, p->weight, &a)
                     : rm_launch_product(&a, b->stream);
}

static bool equal(rm_backend *b, probe *p, int rows)
{
    uint32_t differ = 1;
    rm_compare_args args = { p->own, p->other, p->differ, (size_t)rows * (size_t)p->weight->n };
    int code = (int)cudaMemsetAsync(p->differ, 0, sizeof differ, b->stream);
    if (!code)
        code = rm_launch_compare(&args, b->stream);
    if (!code)
        code = (int)cudaMemcpyAsync(&differ, p->differ, sizeof differ, cudaMemcpyDeviceToHost,
                                    b->stream);
    if (!code)
        code = (int)cudaStreamSynchronize(b->stream);
    return !code && !differ;
}

/* Milliseconds of one product; negative where it fails. */
static float timed(rm_backend *b, probe *p, const lt_algorithm *algorithm, int rows)
{
    float ms = -1;
    int code = (int)cudaEventRecord(p->begin, b->stream);
    for (int i = 0; i < TIMED && !code; i++)
        code = compute(b, p, algorithm, false, rows, p->other);
    if (!code)
        code = (int)cudaEventRecord(p->end, b->stream);
    if (!code)
        code = (int)cudaEventSynchronize(p->end);
    if (!code)
        code = (int)cudaEventElapsedTime(&ms, p->begin, p->end);
    return code ? -1 : ms;
}

/* Everything at one number of rows: an algorithm with other bits is out for good. */
static void probe_rows(rm_backend *b, cuda_choice *c, probe *p, int bucket)
{
    int rows = c->rows[bucket];
    for (int i = 0; i < c->n_algorithms; i++)
        p->ms[i][bucket] = -1;
    for (int ones = 0; ones < 2; ones++) {
        if (compute(b, p, NULL, ones, rows, p->own))
            return;
        for (int i = 0; i < c->n_algorithms; i++) {
            if (!p->admitted[i] || (ones && p->ms[i][bucket] < 0))
                continue;
            if (compute(b, p, &c->algorithm[i], ones, rows, p->other)) {
                cudaGetLastError();
                continue; /* not for this many rows */
            }
            if (!equal(b, p, rows))
                p->admitted[i] = false;
            else if (!ones)
                p->ms[i][bucket] = timed(b, p, &c->algorithm[i], rows);
        }
    }
    p->ms[MAX_CANDIDATES][bucket] = timed(b, p, NULL, rows);
}

static void choose(cuda_choice *c, const probe *p)
{
    for (int m = 0; m < c->n_buckets; m++) {
        float best = p->ms[MAX_CANDIDATES][m];
        c->serves[m] = -1;
        for (int i = 0; i < c->n_algorithms; i++)
            if (p->admitted[i] && p->ms[i][m] >= 0 && p->ms[i][m] <= best) {
                best = p->ms[i][m];
                c->serves[m] = i;
            }
    }
}

static void fill_buckets(const rm_backend *b, cuda_choice *c)
{
    int most = b->options.max_rows < PROBED_ROWS / 2 ? cuda_bucket(2 * b->options.max_rows)
                                                     : PROBED_ROWS; /* logits have twice the rows */
    for (int rows = 1; rows <= most && c->n_buckets < MAX_BUCKETS; rows = cuda_bucket(rows + 1)) {
        c->serves[c->n_buckets] = -1;
        c->rows[c->n_buckets++] = rows;
    }
}

static rm_status fill_choice(rm_backend *b, rm_weight *w, cuda_choice *c, rm_error *err)
{
    rm_product_args a = { .n = w->n, .k = w->k, .x_stride = (w->k + 15) / 16 * 16,
                          .w_stride = w->stride };
    fill_buckets(b, c);
    for (int m = 0; m < c->n_buckets; m++) {
        a.rows = c->rows[m];
        int before = c->n_algorithms;
        add_candidates(b, c, &a, b->options.fast);
        if (b->options.fast && c->n_algorithms > before)
            c->serves[m] = before;
    }
    if (b->options.fast || !c->n_algorithms)
        return RM_OK;
    probe *p = malloc(sizeof *p);
    if (!p)
        return rm_fail(err, RM_E_MEMORY, "no memory to probe products");
    rm_status st = probe_new(b, w, c->rows[c->n_buckets - 1], p, err);
    for (int i = 0; i < MAX_CANDIDATES; i++)
        p->admitted[i] = true;
    for (int m = 0; m < c->n_buckets && !st; m++)
        probe_rows(b, c, p, m);
    if (!st)
        choose(c, p);
    probe_free(p);
    free(p);
    return st;
}

/* Too little memory to probe is no failure: the own kernel gives the same bits. */
rm_status cuda_library_probe(rm_backend *b, rm_weight *w, rm_error *err)
{
    cuda_library *l = b->library;
    if (!l || l->broken || !w->rounded)
        return RM_OK;
    for (cuda_choice *c = l->choices; c; c = c->next)
        if (c->n == w->n && c->k == w->k && c->stride == w->stride) {
            w->choice = c;
            return RM_OK;
        }
    cuda_choice *c = calloc(1, sizeof *c);
    if (!c)
        return rm_fail(err, RM_E_MEMORY, "no memory for the algorithms of a product");
    c->n = w->n;
    c->k = w->k;
    c->stride = w->stride;
    rm_status st = fill_choice(b, w, c, err);
    if (st) {
        free(c);
        l->broken = st == RM_E_MEMORY;
        return l->broken ? RM_OK : st;
    }
    c->next = l->choices;
    l->choices = w->choice = c;
    return RM_OK;
}

const void *cuda_library_algorithm(const rm_weight *w, int rows)
{
    const cuda_choice *c = w->choice;
    for (int m = 0; c && m < c->n_buckets; m++)
        if (c->rows[m] == rows)
            return c->serves[m] < 0 ? NULL : &c->algorithm[c->serves[m]];
    return NULL;
}
