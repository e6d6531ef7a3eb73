/* avx2.c - the kernels of training for AVX2 and FMA. */
#include "engine/train/kernels.h"
#if defined(__x86_64__)

#include "engine/cpu/vec_avx2.h"

#include "engine/train/kernels.inc"

const train_kernels train_avx2 = { .name = "avx2", TRAIN_KERNELS };
#endif
