/* avx2.c - the variant for AVX2, FMA and F16C (Intel Haswell, AMD Zen and later). */
#include "engine/cpu/cpu.h"
#if defined(__x86_64__)
#include <cpuid.h>

#include "engine/cpu/vec_avx2.h"

#include "engine/cpu/kernels.inc"

#include "engine/cpu/blocks.inc"

#include "engine/cpu/attention.inc"

#include "engine/cpu/rowpick.inc"

/* Not every compiler's __builtin_cpu_supports knows the name. */
static bool has_f16c(void)
{
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool available(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

const cpu_isa cpu_avx2 = {
    .name = "avx2",
    .available = available,
    .rows = &row_kernels,
    .blocks = kernel_blocks,
    KERNELS,
};
#endif
