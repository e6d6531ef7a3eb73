/* avx2.c - the variant for AVX2, FMA and F16C (Intel Haswell, AMD Zen and later). */
#include "engine/cpu/cpu.h"
#if defined(__x86_64__)
#include "engine/cpu/vec_avx2.h"
#include "engine/cpu/kernels.inc"
#include "engine/cpu/attention.inc"
#include "engine/cpu/rowpick.inc"

static bool available(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

const cpu_isa cpu_avx2 = {
    .name = "avx2", .available = available, KERNELS,
    .rows = &row_kernels,
};
#endif
