/* device_memory.h - what the tests of the kernels share: values and memory the kernels can reach.
 *
 * Under the emulator device memory is host memory, of the exact size, so that AddressSanitizer
 * sees every access outside. */
#ifndef TESTS_CUDA_DEVICE_MEMORY_H
#define TESTS_CUDA_DEVICE_MEMORY_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/launch.h"
#include "engine/dtype.h"
#include "tests/cuda/emulate.h"

/* A copy of n bytes at `from` (NULL: zeros) in device memory. */
static inline void *on_device(const void *from, size_t bytes)
{
    void *p = aligned_alloc(64, bytes ? (bytes + 63) / 64 * 64 : 64);
    cr_assert(p != NULL);
    memset(p, 0, bytes ? (bytes + 63) / 64 * 64 : 64);
    if (from)
        memcpy(p, from, bytes);
    return p;
}

static inline void from_device(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

static inline void device_free(void *p)
{
    free(p);
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
