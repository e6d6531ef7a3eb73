/* compare.h - launches compare.cu. */
#ifndef RM_ENGINE_CUDA_COMPARE_H
#define RM_ENGINE_CUDA_COMPARE_H

#include "engine/cuda/launch.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *count += words in which a and b differ. */
typedef struct rm_compare_args {
    const uint32_t *a, *b;
    uint32_t *count;
    size_t n;
} rm_compare_args;
int rm_launch_compare(const rm_compare_args *, rm_stream);

#ifdef __cplusplus
}
#endif

#endif
