/* portable.c - the kernels of training for plain C: the variant that defines the bits. */
#include "engine/train/kernels.h"

#include "engine/cpu/vec_portable.h"

#include "engine/train/kernels.inc"

const train_kernels train_portable = { .name = "portable", TRAIN_KERNELS };
