/* device.h - the language the kernels are written in.
 *
 * A kernel is C: no templates, no overloads, no references, no <<<>>>. What a device has and C has
 * not comes through the names below: for nvcc they are CUDA's own, for a C compiler those of
 * tests/cuda/emulate.h, which runs a block's threads as coroutines. So one source is what runs on
 * a GPU and what the tests execute on a machine that has none.
 *
 *   KERNEL(name, args, threads)   begins a kernel; it takes one struct by value, called `a`
 *   DEVICE, DEVICE_CALL           functions of kernels: inlined; called, where code is long
 *   SHARED(type, s)               the block's shared memory as a struct; its size goes to LAUNCH
 *   THREAD, THREADS, LANE, WARP, BLOCK_X/Y/Z, GRID_X/Y  indices and counts
 *   SYNC(), SYNC_WARP()           barriers; all threads of the block or warp take part
 *   SHUFFLE_XOR_F/U/U64/D, SHUFFLE_U/U64, BALLOT        among the 32 lanes of a warp
 *   ADD_U32/U64                   atomic additions of integers: exact in any order
 *   COPY_ASYNC16, COPY_COMMIT, COPY_WAIT(n)             global to shared in the background
 *   MMA_BF16, MMA_F16, LOAD_MATRIX, LOAD_MATRIX_T       tensor cores: mma.sync.m16n8k16 and
 *                                 ldmatrix.x4 as the PTX manual has them (PTX ISA, 9.7.14)
 *   AFTER_PREVIOUS()              every kernel's first line, or START_NEXT and WAIT_PREVIOUS
 *   LAUNCH(kernel, x, y, z, threads, bytes, stream, args)   gives 0 or the runtime's error
 *
 * Fragments of m16n8k16, lane = 4 g + t:  A, row-major 16x16, four words of two halves:
 * (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8);  B, 16x8, two words: rows 2t and 2t + 1, and
 * 2t + 8 and 2t + 9, of column g;  C and D, 16x8 floats: (g, 2t), (g, 2t + 1), (g + 8, 2t),
 * (g + 8, 2t + 1). */
#ifndef RM_ENGINE_CUDA_DEVICE_H
#define RM_ENGINE_CUDA_DEVICE_H

#include "base/base.h"
#include "engine/cuda/launch.h"
#include "engine/num.h"

#ifdef __CUDACC__

#include <cuda_runtime.h>

#define DEVICE static __device__ __forceinline__
#define DEVICE_CALL static __device__ __noinline__
#define KERNEL(name, args, threads) KERNEL_NAMED(name, args, threads)
#define KERNEL_NAMED(name, args, threads)                                                          \
    static __global__ void __launch_bounds__(threads) name(const args a)
#define SHARED(type, s)                                                                            \
    extern __shared__ __align__(16) unsigned char rm_shared[];                                     \
    type *s = (type *)rm_shared
#define UNROLL   _Pragma("unroll")
#define UNROLL_8 _Pragma("unroll 8")

#define THREAD  ((int)threadIdx.x)
#define THREADS ((int)blockDim.x)
#define LANE    ((int)threadIdx.x & 31)
#define WARP    ((int)threadIdx.x >> 5)
#define BLOCK_X ((int)blockIdx.x)
#define BLOCK_Y ((int)blockIdx.y)
#define BLOCK_Z ((int)blockIdx.z)
#define GRID_X  ((int)gridDim.x)
#define GRID_Y  ((int)gridDim.y)

#define SYNC()      __syncthreads()
#define SYNC_WARP() __syncwarp()
#define ALL_LANES   0xffffffffu
#define SHUFFLE_XOR_F(x, mask)   __shfl_xor_sync(ALL_LANES, (float)(x), (mask))
#define SHUFFLE_XOR_D(x, mask)   __shfl_xor_sync(ALL_LANES, (double)(x), (mask))
#define SHUFFLE_XOR_U(x, mask)   __shfl_xor_sync(ALL_LANES, (uint32_t)(x), (mask))
#define SHUFFLE_XOR_U64(x, mask) ((uint64_t)__shfl_xor_sync(ALL_LANES, (unsigned long long)(x), (mask)))
#define SHUFFLE_U(x, lane)       __shfl_sync(ALL_LANES, (uint32_t)(x), (lane))
#define SHUFFLE_U64(x, lane)     ((uint64_t)__shfl_sync(ALL_LANES, (unsigned long long)(x), (lane)))
#define BALLOT(p)                __ballot_sync(ALL_LANES, (p))
#define ADD_U32(at, x)           atomicAdd((at), (uint32_t)(x))
#define ADD_U64(at, x)           atomicAdd((unsigned long long *)(at), (unsigned long long)(x))

DEVICE float square_root(float x) { return __fsqrt_rn(x); }

DEVICE uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* 16 bytes, or zeros where `real` is false; `from` must be a valid address all the same. */
DEVICE void COPY_ASYNC16(void *to, const void *from, int real)
{
    int bytes = real ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(bytes)
                 : "memory");
}

#define COPY_COMMIT() asm volatile("cp.async.commit_group;" ::: "memory")
#define COPY_WAIT(n)  asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")

#define MMA(type)                                                                                  \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 "                    \
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                 \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                  \
                 : "r"(m[0]), "r"(m[1]), "r"(m[2]), "r"(m[3]), "r"(n[0]), "r"(n[1]))
DEVICE void MMA_BF16(float *d, const uint32_t *m, const uint32_t *n) { MMA("bf16"); }
DEVICE void MMA_F16(float *d, const uint32_t *m, const uint32_t *n) { MMA("f16"); }

/* Lane l gives the address of 16 bytes: row l % 8 of matrix l / 8. */
DEVICE void LOAD_MATRIX(uint32_t *r, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

DEVICE void LOAD_MATRIX_T(uint32_t *r, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/* Launch overlap (programmatic dependent launch, Hopper): a kernel's blocks may be placed on the
 * device while the kernel before it still runs, which hides the gap between two kernels of a step.
 * From START_NEXT() on the next kernel may do so; WAIT_PREVIOUS() returns when the kernel before has
 * finished and its writes can be seen. Every block of every kernel must call the latter before it
 * touches what another kernel writes or reads: by induction all earlier kernels have then finished
 * too. */
#if __CUDA_ARCH__ >= 900
#define START_NEXT()    asm volatile("griddepcontrol.launch_dependents;" ::: "memory")
#define WAIT_PREVIOUS() asm volatile("griddepcontrol.wait;" ::: "memory")
#else
#define START_NEXT()    ((void)0)
#define WAIT_PREVIOUS() ((void)0)
#endif

/* The overlap is asked for only where the kernel's code knows how to wait: code that the driver made
 * from PTX for older devices does not. More than 48 KiB of shared memory must be asked for. */
static inline int rm_launch(const void *kernel, dim3 grid, int threads, size_t bytes,
                            rm_stream stream, const void *args)
{
    struct cudaFuncAttributes code;
    int status = (int)cudaFuncGetAttributes(&code, kernel);
    if (!status && bytes > 48 * 1024)
        status = (int)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           (int)bytes);
    if (status)
        return status;
    cudaLaunchAttribute overlap;
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config;
    config.gridDim = grid;
    config.blockDim = dim3((unsigned)threads, 1, 1);
    config.dynamicSmemBytes = bytes;
    config.stream = stream;
    config.attrs = &overlap;
    config.numAttrs = rm_launch_overlap && code.ptxVersion >= 90 ? 1 : 0;
    void *list[1];
    list[0] = const_cast<void *>(args);
    return (int)cudaLaunchKernelExC(&config, kernel, list);
}

#define LAUNCH(kernel, x, y, z, threads, bytes, stream, args)                                      \
    rm_launch((const void *)(kernel), dim3((unsigned)(x), (unsigned)(y), (unsigned)(z)),           \
              (threads), (bytes), (stream), &(args))

#else
#include "tests/cuda/emulate.h"
#endif

#ifndef RM_LAUNCH_OVERLAP
#define RM_LAUNCH_OVERLAP 1
#endif

/* How a kernel begins that has nothing to do before the one before it is done. */
#define AFTER_PREVIOUS()                                                                           \
    do {                                                                                           \
        START_NEXT();                                                                              \
        WAIT_PREVIOUS();                                                                           \
    } while (0)

enum { RM_BAD_SHAPE = 1 }; /* cudaErrorInvalidValue: a launcher's answer to what it cannot do */

/* ---- what several kernels share --------------------------------------------------------------- */

RM_BOTH int rm_ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

/* Narrowing as engine/dtype.h does it: nearest, ties to even. */
RM_BOTH uint16_t rm_to_bf16(float x)
{
    uint32_t u = rm_bitsf(x);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

RM_BOTH float rm_from_bf16(uint16_t h)
{
    return rm_from_bitsf((uint32_t)h << 16);
}

RM_BOTH float rm_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = h >> 10 & 0x1fu, mantissa = h & 0x3ffu;
    if (exponent == 0x1f)
        return rm_from_bitsf(sign | 0x7f800000u | mantissa << 13 | (mantissa ? 0x400000u : 0u));
    if (exponent == 0)
        return rm_from_bitsf(sign | rm_bitsf((float)mantissa * 0x1p-24f));
    return rm_from_bitsf(sign | (exponent + 112u) << 23 | mantissa << 13);
}

RM_BOTH uint16_t rm_to_f16(float x)
{
    uint32_t u = rm_bitsf(x), sign = u >> 16 & 0x8000u;
    u &= 0x7fffffffu;
    if (u > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (u >> 13 & 0x3ffu));
    if (u >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u);
    if (u < 0x38800000u) {
        uint32_t shift = 126u - (u >> 23);
        if (shift > 24)
            return (uint16_t)sign;
        uint32_t mantissa = (u & 0x7fffffu) | 0x800000u;
        uint32_t kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1u);
        uint32_t half = 1u << (shift - 1u);
        return (uint16_t)(sign | (kept + (rest > half || (rest == half && (kept & 1u)))));
    }
    u += 0xfffu + (u >> 13 & 1u);
    return (uint16_t)(sign | ((u >> 13) - (112u << 10)));
}

RM_BOTH uint16_t rm_round_to(int type, float x)
{
    return type == RM_CUDA_F16 ? rm_to_f16(x) : rm_to_bf16(x);
}

#endif
