/* device_memory.h - what the tests of the kernels share: values and memory the kernels can reach.
 *
 * Under the emulator device memory is host memory, so that AddressSanitizer sees every access
 * outside. On a real device (RM_TEST_ON_DEVICE, see check.h) it comes from the runtime. */
#ifndef TESTS_CUDA_DEVICE_MEMORY_H
#define TESTS_CUDA_DEVICE_MEMORY_H

#include "tests/cuda/check.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/launch.h"
#include "engine/dtype.h"

#if RM_TEST_ON_DEVICE
#include <cuda_runtime_api.h>
enum { ORDERS = 1 }; /* of threads: the device's own */
static inline void thread_order(uint64_t seed)
{
    (void)seed;
}
#else
#include "tests/cuda/emulate.h"
enum { ORDERS = 3 };
static inline void thread_order(uint64_t seed)
{
    emulate_order(seed);
}
#endif

/* A copy of n bytes at `from` (NULL: zeros) in device memory. */
static inline void *on_device(const void *from, size_t bytes)
{
    void *p = NULL;
#if RM_TEST_ON_DEVICE
    cr_assert_eq(cudaMalloc(&p, bytes ? bytes : 16), cudaSuccess, "%zu bytes", bytes);
    cr_assert_eq(cudaMemset(p, 0, bytes ? bytes : 16), cudaSuccess);
    if (from)
        cr_assert_eq(cudaMemcpy(p, from, bytes, cudaMemcpyHostToDevice), cudaSuccess);
#else
    size_t whole = bytes ? (bytes + 63) / 64 * 64 : 64;
    p = aligned_alloc(64, whole);
    cr_assert(p != NULL);
    memset(p, 0, whole);
    if (from)
        memcpy(p, from, bytes);
#endif
    return p;
}

/* The same, every byte `fill`. */
static inline void *filled_on_device(int fill, size_t bytes)
{
    void *host = malloc(bytes ? bytes : 1);
    cr_assert(host != NULL);
    memset(host, fill, bytes);
    void *p = on_device(host, bytes);
    free(host);
    return p;
}

/* Waits for the kernels; a fault of theirs fails the test. */
static inline void from_device(void *to, const void *from, size_t bytes)
{
#if RM_TEST_ON_DEVICE
    cudaError_t error = cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost);
    cr_assert_eq(error, cudaSuccess, "%s", cudaGetErrorString(error));
#else
    memcpy(to, from, bytes);
#endif
}

static inline void device_free(void *p)
{
#if RM_TEST_ON_DEVICE
    cudaFree(p);
#else
    free(p);
#endif
}

/* Uniform in (-1, 1), the same everywhere. */
static inline float value_at(uint64_t stream, size_t i)
{
    return (float)(2.0 * rm_unit(rm_random(77, stream, (uint32_t)i, 0)) - 1.0);
}

/* [rows][stride] on the host, zeros behind `width`. */
static inline float *values_of(uint64_t stream, size_t rows, size_t width, size_t stride)
{
    float *v = calloc(rows * stride + 1, sizeof *v);
    cr_assert(v != NULL);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < width; i++)
            v[r * stride + i] = value_at(stream + r, i);
    return v;
}

static inline uint16_t *narrowed(rm_dtype type, const float *from, size_t n)
{
    uint16_t *to = calloc(n + 1, sizeof *to);
    cr_assert(to != NULL);
    rm_dtype_narrow(type, from, n, to);
    return to;
}

#endif
