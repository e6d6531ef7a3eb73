/* avx512.c - the variant for AVX-512 F, BW, VL and DQ (Intel Skylake-SP, AMD Zen 4 and later). */
#include "engine/cpu/cpu.h"
#if defined(__x86_64__)

#include "engine/cpu/vec_avx512.h"

#include "engine/cpu/kernels.inc"

#include "engine/cpu/blocks.inc"

#include "engine/cpu/attention.inc"

#include "engine/cpu/rowpick.inc"

static bool available(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("fma");
}

const cpu_isa cpu_avx512 = {
    .name = "avx512",
    .available = available,
    .rows = &row_kernels,
    .blocks = kernel_blocks,
    KERNELS,
};
#endif
