/* emulate.h - a device in software: the names of engine/cuda/device.h for a C compiler.
 *
 * Blocks run one after another, a block's threads as coroutines that take turns at barriers and
 * warp operations. It computes what the PTX manual says (fragment layouts of mma.sync and ldmatrix,
 * zero fill of cp.async) and stops the program with a sentence where a device would hang, read
 * what nobody wrote, or do something undefined:
 *
 *   - threads of a block that wait at different barriers, or at one that some have left behind
 *   - lanes of a warp that meet in different operations, or meet a lane that has returned
 *   - shared memory is filled with signalling patterns before each block, has its exact size
 *     (AddressSanitizer sees what lies outside), and a background copy arrives only when its
 *     group is waited for
 *   - a block that ends without having waited for the kernel before it (WAIT_PREVIOUS)
 *   - races: emulate_order(seed) makes the threads between two barriers run in another order;
 *     a kernel whose results change with it has one
 *
 * One kernel runs at a time; nothing here is for several threads of the host. */
#ifndef TESTS_CUDA_EMULATE_H
#define TESTS_CUDA_EMULATE_H

#include <stddef.h>
#include <stdint.h>

typedef struct emulate_state {
    int thread, threads;       /* of the block that runs */
    int block[3], grid[3];
    void *shared;
    size_t shared_bytes;
} emulate_state;

extern emulate_state emulate_now;

/* Order of the threads between barriers: 0 ascending, 1 descending, else shuffled by the seed. */
void emulate_order(uint64_t seed);

/* What a launch was asked to do; `args` points to the kernel's struct of args_bytes. */
typedef struct emulate_call {
    void (*kernel)(const void *args);
    const char *name;
    const void *args;
    size_t args_bytes;
    int x, y, z, threads;
    size_t shared_bytes;
} emulate_call;

/* Runs a kernel: 0, or the number of the error that a device would report. */
int emulate_run(const emulate_call *);

/* What LAUNCH calls. If emulate_record is set the launch goes there (capture of a stream: whoever
 * records copies the arguments), else it runs at once. */
int emulate_launch(const emulate_call *, void *stream);
extern int (*emulate_record)(const emulate_call *, void *stream);
void *emulate_shared(size_t bytes, const char *what);
void emulate_sync(const char *file, int line);
void emulate_sync_warp(const char *file, int line);
uint64_t emulate_shuffle(uint64_t value, int from, const char *file, int line);
uint32_t emulate_ballot(int predicate, const char *file, int line);
void emulate_wait_previous(void);
void emulate_copy_async(void *to, const void *from, int real);
void emulate_copy_commit(void);
void emulate_copy_wait(int pending);
void emulate_mma(int is_f16, float *d, const uint32_t *m, const uint32_t *n, const char *file,
                 int line);
void emulate_load_matrix(int transposed, uint32_t *r, const void *row, const char *file, int line);

#define DEVICE static inline
#define DEVICE_CALL static
#define KERNEL(name, args, threads) KERNEL_NAMED(name, args, threads)
#define KERNEL_NAMED(name, args, threads)                                                          \
    static void name(const args a);                                                                \
    static void name##_call(const void *p)                                                         \
    {                                                                                              \
        name(*(const args *)p);                                                                    \
    }                                                                                              \
    static void name(const args a)
#define SHARED(type, s) type *s = (type *)emulate_shared(sizeof(type), #type)
#define UNROLL
#define UNROLL_8

#define THREAD  (emulate_now.thread)
#define THREADS (emulate_now.threads)
#define LANE    (emulate_now.thread & 31)
#define WARP    (emulate_now.thread >> 5)
#define BLOCK_X (emulate_now.block[0])
#define BLOCK_Y (emulate_now.block[1])
#define BLOCK_Z (emulate_now.block[2])
#define GRID_X  (emulate_now.grid[0])
#define GRID_Y  (emulate_now.grid[1])

#define SYNC()      emulate_sync(__FILE__, __LINE__)
#define SYNC_WARP() emulate_sync_warp(__FILE__, __LINE__)
#define SHUFFLE_XOR_F(x, mask)                                                                     \
    rm_from_bitsf((uint32_t)emulate_shuffle(rm_bitsf(x), LANE ^ (mask), __FILE__, __LINE__))
#define SHUFFLE_XOR_D(x, mask)                                                                     \
    rm_from_bits(emulate_shuffle(rm_bits(x), LANE ^ (mask), __FILE__, __LINE__))
#define SHUFFLE_XOR_U(x, mask)                                                                     \
    ((uint32_t)emulate_shuffle((uint32_t)(x), LANE ^ (mask), __FILE__, __LINE__))
#define SHUFFLE_XOR_U64(x, mask) emulate_shuffle((x), LANE ^ (mask), __FILE__, __LINE__)
#define SHUFFLE_U(x, lane)       ((uint32_t)emulate_shuffle((uint32_t)(x), (lane), __FILE__, __LINE__))
#define SHUFFLE_U64(x, lane)     emulate_shuffle((x), (lane), __FILE__, __LINE__)
#define BALLOT(p)                emulate_ballot((p), __FILE__, __LINE__)

/* Threads change at barriers only, so a plain addition is atomic. */
#define ADD_U32(at, x) emulate_add_u32((at), (uint32_t)(x))
#define ADD_U64(at, x) emulate_add_u64((at), (uint64_t)(x))

static inline uint32_t emulate_add_u32(uint32_t *at, uint32_t x)
{
    uint32_t old = *at;
    *at += x;
    return old;
}

static inline uint64_t emulate_add_u64(uint64_t *at, uint64_t x)
{
    uint64_t old = *at;
    *at += x;
    return old;
}

#define square_root __builtin_sqrtf

#define START_NEXT()    ((void)0)
#define WAIT_PREVIOUS() emulate_wait_previous()

#define COPY_ASYNC16(to, from, real) emulate_copy_async((to), (from), (real))
#define COPY_COMMIT()                emulate_copy_commit()
#define COPY_WAIT(n)                 emulate_copy_wait(n)
#define MMA_BF16(d, m, n)            emulate_mma(0, (d), (m), (n), __FILE__, __LINE__)
#define MMA_F16(d, m, n)             emulate_mma(1, (d), (m), (n), __FILE__, __LINE__)
#define LOAD_MATRIX(r, row)          emulate_load_matrix(0, (r), (row), __FILE__, __LINE__)
#define LOAD_MATRIX_T(r, row)        emulate_load_matrix(1, (r), (row), __FILE__, __LINE__)

#define LAUNCH(kernel, x, y, z, threads, bytes, stream, args)                                      \
    LAUNCH_NAMED(kernel, x, y, z, threads, bytes, stream, args)
#define LAUNCH_NAMED(kernel, x, y, z, threads, bytes, stream, args)                                \
    emulate_launch(&(emulate_call){ kernel##_call, #kernel, &(args), sizeof(args), (x), (y), (z),  \
                                    (threads), (bytes) },                                          \
                   (stream))

#endif
