/* portable.c - the variant that defines the bits: plain C, no instruction-set extensions. */
#include "engine/cpu/cpu.h"

#include "engine/cpu/vec_portable.h"

#include "engine/cpu/kernels.inc"

#include "engine/cpu/blocks.inc"
#include "engine/cpu/attention.inc"

static bool available(void)
{
    return true;
}

const cpu_isa cpu_portable = {
    .name = "portable",
    .available = available,
    .rows = &rm_row_kernels_portable,
    .blocks = kernel_blocks,
    KERNELS,
};
