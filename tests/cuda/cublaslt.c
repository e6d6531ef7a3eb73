/* cublaslt.c - cuBLASLt for the device in software: four algorithms, of which the engine may use two.
 *
 *   0  adds as the own kernel does, from the first row to the last
 *   1  the same, for 32 rows and more only
 *   2  other bits from 8 rows on: adds from the end, as another tile might
 *   3  loses what lies behind the last whole 128 of K
 *
 * "As the own kernel does" is what the kernel itself gives for one piece of K. */
#include "engine/cuda/cuda.h"
#include "engine/cuda/library.h"
#include "engine/dtype.h"
#include "tests/cuda/runtime.h"

#include <stdlib.h>
#include <string.h>

enum { ALGORITHMS = 4, LATE_ROWS = 32, OTHER_ROWS = 8, TAIL = 128 };

struct lt_handle {
    int unused;
};
struct lt_desc {
    bool transposed;
};
struct lt_layout {
    size_t rows, columns, stride;
    int32_t batch;
    int64_t offset;
};
struct lt_preference {
    int unused;
};

bool lt_load(lt_functions *lt)
{
#define OWN(name) lt->name = name;
    LT_FUNCTIONS(OWN)
    return runtime.has_library;
}

void lt_unload(lt_functions *lt)
{
    *lt = (lt_functions){ 0 };
}

size_t cublasLtGetVersion(void)
{
    return 130000;
}

#define NEW(handle)                                                                         \
    *(handle) = calloc(1, sizeof **(handle));                                                      \
    return *(handle) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    NEW(handle);
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    (void)compute;
    (void)scale;
    NEW(desc);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    free(desc);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes)
{
    (void)attribute;
    (void)bytes;
    desc->transposed = *(const cublasOperation_t *)value == CUBLAS_OP_T;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType_t type,
                                          uint64_t rows, uint64_t columns, int64_t stride)
{
    (void)type;
    *layout = malloc(sizeof **layout);
    if (!*layout)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    **layout = (struct lt_layout){ rows, columns, (size_t)stride, 1, 0 };
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    free(layout);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void *value, size_t bytes)
{
    if (attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT)
        memcpy(&layout->batch, value, bytes);
    else
        memcpy(&layout->offset, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    NEW(preference);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    free(preference);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes)
{
    (void)preference;
    (void)attribute;
    (void)value;
    (void)bytes;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t found[], int *n)
{
    (void)handle, (void)desc, (void)a, (void)b, (void)c, (void)d, (void)preference;
    *n = 0;
    for (int i = 0; i < ALGORITHMS && i < wanted; i++)
        found[(*n)++] = (cublasLtMatmulHeuristicResult_t){ .algo.data[0] = (uint64_t)i };
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algo,
                                       cublasLtMatmulHeuristicResult_t *result)
{
    (void)handle, (void)desc, (void)a, (void)b, (void)c, (void)d, (void)result;
    return algo->data[0] == 1 && b->columns < LATE_ROWS ? CUBLAS_STATUS_NOT_SUPPORTED
                                                        : CUBLAS_STATUS_SUCCESS;
}

/* One piece by the own kernel: its bits, as long as it does not split what it is given. */
static int as_own(const uint16_t *w, const uint16_t *x, float *y, const struct lt_layout *a,
                  const struct lt_layout *b)
{
    rm_product_args args = { .y = y, .x = x, .w = w, .w_type = RM_CUDA_BF16, .rows = (int)b->columns,
                             .n = (int)a->columns, .k = (int)a->rows, .x_stride = (int)b->stride,
                             .w_stride = (int)a->stride, .y_stride = (int)a->columns };
    return rm_product_split(args.n, args.k) > 1 ? cudaErrorInvalidValue
                                                : rm_launch_product(&args, NULL);
}

static void backwards(const uint16_t *w, const uint16_t *x, float *y, const struct lt_layout *a,
                      const struct lt_layout *b, size_t k)
{
    for (size_t r = 0; r < b->columns; r++)
        for (size_t j = 0; j < a->columns; j++) {
            float sum = 0;
            for (size_t i = k; i-- > 0;)
                sum += rm_bf16_to_f32(w[j * a->stride + i]) * rm_bf16_to_f32(x[r * b->stride + i]);
            y[r * a->columns + j] = sum;
        }
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                              cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                              cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo,
                              void *workspace, size_t bytes, cudaStream_t stream)
{
    (void)handle, (void)alpha, (void)beta, (void)c, (void)c_layout, (void)workspace, (void)bytes,
        (void)stream;
    if (!desc->transposed || cublasLtMatmulAlgoCheck(NULL, NULL, a_layout, b_layout, NULL, NULL, algo,
                                                     NULL))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    for (int i = 0; i < a_layout->batch; i++) {
        const uint16_t *w = (const uint16_t *)a + i * a_layout->offset,
                       *x = (const uint16_t *)b + i * b_layout->offset;
        float *y = (float *)d + i * d_layout->offset;
        size_t k = a_layout->rows;
        if (algo->data[0] == 3)
            backwards(w, x, y, a_layout, b_layout, k / TAIL * TAIL);
        else if (algo->data[0] == 2 && b_layout->columns >= OTHER_ROWS)
            backwards(w, x, y, a_layout, b_layout, k);
        else if (as_own(w, x, y, a_layout, b_layout))
            return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    runtime.library_products++;
    return CUBLAS_STATUS_SUCCESS;
}
