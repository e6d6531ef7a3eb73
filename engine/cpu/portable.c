/* portable.c - the variant that defines the bits: plain C, no instruction-set extensions. */
#include "engine/cpu/attention.inc"
#include "engine/cpu/cpu.h"
#include "engine/cpu/kernels.inc"
#include "engine/cpu/vec_portable.h"

static bool available(void)
{
    return true;
}

const cpu_isa cpu_portable = {
    .name = "portable",
    .available = available,
    KERNELS,
    .rows = &rm_row_kernels_portable,
};
