/* compare.cu - how many words of two arrays differ: what probing products asks (library.c). */
#include "engine/cuda/device.h"

#include "engine/cuda/compare.h"

enum { COMPARE_THREADS = 256, COMPARE_BLOCKS = 1024 };

KERNEL(compare, rm_compare_args, COMPARE_THREADS)
{
    uint32_t differ = 0;
    AFTER_PREVIOUS();
    for (size_t i = (size_t)BLOCK_X * (size_t)THREADS + (size_t)THREAD; i < a.n;
         i += (size_t)GRID_X * (size_t)THREADS)
        differ += a.a[i] != a.b[i];
    if (differ)
        ADD_U32(a.count, differ);
}

int rm_launch_compare(const rm_compare_args *p, rm_stream stream)
{
    size_t blocks = (p->n + COMPARE_THREADS - 1) / COMPARE_THREADS;
    return LAUNCH(compare, blocks < COMPARE_BLOCKS ? (int)blocks : COMPARE_BLOCKS, 1, 1,
                  COMPARE_THREADS, 0, stream, *p);
}
