/* cpu_ops.h - what the tests of the CPU backend share: seeded values, opening, hashing. */
#ifndef RM_TEST_CPU_OPS_H
#define RM_TEST_CPU_OPS_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "engine/cpu/cpu.h"

static const rm_ops *const ops = &rm_cpu_ops;

/* Uniform in (-1, 1), the same everywhere. */
static inline float value_of(uint64_t stream, size_t i)
{
    return (float)(2.0 * rm_unit(rm_random(2024, stream, (uint32_t)i, 0)) - 1.0);
}

static inline float *values(uint64_t stream, size_t n)
{
    float *v = malloc((n ? n : 1) * sizeof *v);
    cr_assert(v != NULL);
    for (size_t i = 0; i < n; i++)
        v[i] = value_of(stream, i);
    return v;
}

static inline rm_backend *open_backend(const char *isa, int threads)
{
    rm_error err = { "" };
    rm_backend *b = NULL;
    rm_backend_options options = { .isa = isa, .n_threads = threads, .max_rows = 256 };
    cr_assert_eq(ops->open(&options, &b, &err), RM_OK, "%s", err.text);
    return b;
}

static inline rm_tensor *new_tensor(rm_backend *b, size_t rows, size_t width, const float *from)
{
    rm_error err = { "" };
    rm_tensor *t = NULL;
    cr_assert_eq(ops->tensor_new(b, rows, width, &t, &err), RM_OK, "%s", err.text);
    for (size_t r = 0; from && r < rows; r++)
        memcpy(t->data + r * t->stride, from + r * width, width * sizeof *from);
    return t;
}

static inline void flush(rm_backend *b)
{
    rm_error err = { "" };
    cr_assert_eq(ops->flush(b, &err), RM_OK, "%s", err.text);
}

/* The rows without their padding. */
static inline void read_tensor(const rm_tensor *t, size_t rows, float *to)
{
    for (size_t r = 0; r < rows; r++)
        memcpy(to + r * t->width, t->data + r * t->stride, t->width * sizeof *to);
}

#endif
