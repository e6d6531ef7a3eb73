/* avx512.c - the kernels of training for AVX-512 F, BW, VL and DQ. */
#include "engine/train/kernels.h"
#if defined(__x86_64__)

#include "engine/cpu/vec_avx512.h"

#include "engine/train/kernels.inc"

const train_kernels train_avx512 = { .name = "avx512", TRAIN_KERNELS };
#endif
