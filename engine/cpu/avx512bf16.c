/* avx512bf16.c - AVX-512 with the dot products of bf16 pairs and of int8 fours (Intel Sapphire
 * Rapids, AMD Zen 4 and later). */
#include "engine/cpu/cpu.h"
#if defined(__x86_64__)

#define VEC_BF16
#include "engine/cpu/vec_avx512.h"

#include "engine/cpu/kernels.inc"

#include "engine/cpu/blocks.inc"

#include "engine/cpu/attention.inc"

#include "engine/cpu/rowpick.inc"

static bool available(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
}

const cpu_isa cpu_avx512_bf16 = {
    .name = "avx512-bf16",
    .available = available,
    .rows = &row_kernels,
    .blocks = kernel_blocks,
    KERNELS,
};
#endif
