/* executor.c - worker threads that run a program of operations.
 *
 * Everyone follows one word, `stage`: which operation of which program may be worked on. An
 * operation's tiles are dealt to the workers in advance, a contiguous range each (a worker meets
 * the same weights again with the next token, in its own cache); who has finished his own range
 * takes tiles from the others'. Whoever completes the last tile runs the following operations
 * that have one tile only, on the spot, and moves `stage` on.
 *
 * Nobody waits for a thread, only for tiles: a worker that the operating system holds back
 * delays the one tile in its hands, and a claim that comes too late finds the program number in
 * the claim word changed and does nothing. Waiting spins for some microseconds, then keeps
 * offering its processor to others, then sleeps on a futex. It spins briefly where another worker
 * was seen on the same processor (spinning would keep the awaited tile waiting) and longer where
 * none was: what is offered to a foreign program comes back only after that program's turn.
 *
 *     stage   epoch (32, counts every step) | operation (16, NONE when idle) | program (16)
 *     claim   end (24) | next (24) | program (16)     one per operation and worker */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/cpu/cpu.h"

enum { NONE = 0xffff, SPINS = 200, SPINS_APART = 2000, YIELDS = 1000 };

typedef struct claim {
    _Alignas(64) _Atomic uint64_t word;
} claim;

typedef struct progress {
    _Alignas(64) _Atomic size_t done;
} progress;

struct executor {
    _Alignas(64) _Atomic uint64_t stage;
    _Alignas(64) atomic_int sleepers;
    atomic_int inside; /* workers that may be looking at claims */
    atomic_bool quit;
    rm_backend *backend;
    const op *ops; /* of the current program; read only with a claimed tile in hand */
    size_t n_ops;
    claim *claims;      /* [capacity][n_threads] */
    progress *progress; /* [capacity] */
    pace *paces;        /* [n_threads] */
    size_t capacity;
    int n_threads;
    pthread_t *threads; /* [n_threads - 1] */
    int n_started;
};

static uint64_t stage_word(uint32_t epoch, uint16_t at, uint16_t program)
{
    return (uint64_t)program << 48 | (uint64_t)at << 32 | epoch;
}
static uint32_t stage_epoch(uint64_t s)
{
    return (uint32_t)s;
}
static uint16_t stage_op(uint64_t s)
{
    return (uint16_t)(s >> 32);
}
static uint16_t stage_program(uint64_t s)
{
    return (uint16_t)(s >> 48);
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void wake(executor *e)
{
    if (atomic_load(&e->sleepers))
        syscall(SYS_futex, (uint32_t *)(void *)&e->stage, FUTEX_WAKE_PRIVATE, e->n_threads, NULL,
                NULL, 0);
}

/* Returns once `stage` is no longer `seen`. */
static void wait_step(executor *e, int self, uint64_t seen)
{
    int spins = cpu_pace_apart(e->paces, e->n_threads, self) ? SPINS_APART : SPINS;
    for (int i = 0; i < spins; i++) {
        if (atomic_load_explicit(&e->stage, memory_order_acquire) != seen)
            return;
        relax();
    }
    for (int i = 0; i < YIELDS; i++) {
        if (atomic_load_explicit(&e->stage, memory_order_acquire) != seen)
            return;
        sched_yield();
    }
    cpu_pace_rest(&e->paces[self]);
    atomic_fetch_add(&e->sleepers, 1);
    while (atomic_load(&e->stage) == seen && !atomic_load(&e->quit))
        /* the epoch is the low half of the word: little-endian */
        syscall(SYS_futex, (uint32_t *)(void *)&e->stage, FUTEX_WAIT_PRIVATE, stage_epoch(seen),
                NULL, NULL, 0);
    atomic_fetch_sub(&e->sleepers, 1);
}

/* Operation `at` is complete: run what follows alone, then let all see the next. */
static void advance(executor *e, worker *w, uint64_t seen, size_t at)
{
    for (at++; at < e->n_ops && e->ops[at].n_tiles <= 1; at++)
        if (e->ops[at].n_tiles)
            e->ops[at].tile(&e->ops[at], w, 0);
    uint16_t next = at < e->n_ops ? (uint16_t)at : NONE;
    atomic_store(&e->stage, stage_word(stage_epoch(seen) + 1, next, stage_program(seen)));
    wake(e);
}

static bool take(claim *c, uint16_t program, size_t *tile)
{
    uint64_t word = atomic_load_explicit(&c->word, memory_order_acquire);
    for (;;) {
        uint64_t end = word >> 40, next = word >> 16 & 0xffffff;
        if ((uint16_t)word != program || next >= end)
            return false;
        if (atomic_compare_exchange_weak_explicit(&c->word, &word, word + 0x10000,
                                                  memory_order_acq_rel, memory_order_acquire)) {
            *tile = next;
            return true;
        }
    }
}

/* Works on the operation that `seen` names until it has no unclaimed tile. */
static void help(executor *e, worker *w, uint64_t seen)
{
    size_t at = stage_op(seen), n_done = 0, tile;
    for (int i = 0; i < e->n_threads; i++) {
        int owner = (w->index + i) % e->n_threads;
        claim *c = &e->claims[at * (size_t)e->n_threads + (size_t)owner];
        while (take(c, stage_program(seen), &tile)) {
            const op *o = &e->ops[at];
            o->tile(o, w, tile);
            n_done++;
        }
    }
    if (!n_done)
        return;
    size_t total = e->ops[at].n_tiles; /* the program cannot end before our tiles are counted */
    if (atomic_fetch_add_explicit(&e->progress[at].done, n_done, memory_order_acq_rel) + n_done ==
        total)
        advance(e, w, seen, at);
    cpu_pace_step(e->paces, e->n_threads, w->index);
}

static void *work(void *arg)
{
    worker *w = arg;
    executor *e = w->backend->executor;
    for (;;) {
        uint64_t seen = atomic_load(&e->stage);
        if (atomic_load(&e->quit))
            return NULL;
        if (stage_op(seen) != NONE) {
            atomic_fetch_add(&e->inside, 1);
            /* reserve() looks at `inside` only while the stage is idle: look again */
            if (atomic_load(&e->stage) == seen)
                help(e, w, seen);
            atomic_fetch_sub(&e->inside, 1);
        }
        wait_step(e, w->index, seen);
    }
}

bool cpu_executor_reserve(executor *e, size_t n_ops)
{
    if (n_ops <= e->capacity)
        return true;
    size_t capacity = round_up(n_ops, 256);
    claim *claims = cpu_aligned_zeroed(capacity * (size_t)e->n_threads * sizeof *claims);
    progress *done = cpu_aligned_zeroed(capacity * sizeof *done);
    if (!claims || !done) {
        free(claims);
        free(done);
        return false;
    }
    while (atomic_load(&e->inside))
        sched_yield(); /* late workers leave on their own */
    free(e->claims);
    free(e->progress);
    e->claims = claims;
    e->progress = done;
    e->capacity = capacity;
    return true;
}

static void run_piece(executor *e, const op *ops, size_t n_ops)
{
    worker *self = &e->backend->workers[0];
    size_t threads = (size_t)e->n_threads;
    uint64_t idle = atomic_load(&e->stage);
    uint16_t program = (uint16_t)(stage_program(idle) + 1);
    e->ops = ops;
    e->n_ops = n_ops;
    for (size_t i = 0; i < n_ops; i++) {
        size_t n = ops[i].n_tiles;
        assert(n < 1 << 24);
        atomic_store_explicit(&e->progress[i].done, 0, memory_order_relaxed);
        for (size_t t = 0; t < threads; t++) {
            uint64_t word = (uint64_t)(n * (t + 1) / threads) << 40 |
                            (uint64_t)(n * t / threads) << 16 | program;
            atomic_store_explicit(&e->claims[i * threads + t].word, word, memory_order_release);
        }
    }
    size_t at = 0;
    for (; at < n_ops && ops[at].n_tiles <= 1; at++)
        if (ops[at].n_tiles)
            ops[at].tile(&ops[at], self, 0);
    if (at == n_ops)
        return;
    atomic_store(&e->stage, stage_word(stage_epoch(idle) + 1, (uint16_t)at, program));
    wake(e);
    for (;;) {
        uint64_t seen = atomic_load(&e->stage);
        if (stage_op(seen) == NONE)
            return;
        help(e, self, seen);
        wait_step(e, 0, seen);
    }
}

void cpu_executor_run(executor *e, const op *ops, size_t n_ops)
{
    while (n_ops) {
        size_t n = n_ops < e->capacity ? n_ops : e->capacity;
        if (n > NONE - 1)
            n = NONE - 1;
        run_piece(e, ops, n);
        ops += n;
        n_ops -= n;
    }
}

rm_status cpu_executor_new(rm_backend *backend, rm_error *err)
{
    executor *e = cpu_aligned_zeroed(sizeof *e);
    if (!e)
        return rm_fail(err, RM_E_MEMORY, "no memory for the worker threads' state");
    e->backend = backend;
    e->n_threads = backend->options.n_threads;
    e->paces = cpu_aligned_zeroed((size_t)e->n_threads * sizeof *e->paces);
    e->threads = calloc((size_t)e->n_threads, sizeof *e->threads);
    atomic_store(&e->stage, stage_word(0, NONE, 0));
    backend->executor = e;
    if (!e->threads || !e->paces || !cpu_executor_reserve(e, 1)) {
        cpu_executor_free(e);
        return rm_fail(err, RM_E_MEMORY, "no memory for %d worker threads", e->n_threads);
    }
    for (int i = 1; i < e->n_threads; i++) {
        int code = pthread_create(&e->threads[i - 1], NULL, work, &backend->workers[i]);
        if (code) {
            rm_status st =
                rm_fail(err, RM_E_MEMORY, "worker thread %d of %d could not be started: %s", i + 1,
                        e->n_threads, strerror(code));
            cpu_executor_free(e);
            return st;
        }
        e->n_started++;
    }
    return RM_OK;
}

void cpu_executor_free(executor *e)
{
    if (!e)
        return;
    uint64_t idle = atomic_load(&e->stage);
    atomic_store(&e->quit, true);
    atomic_store(&e->stage, stage_word(stage_epoch(idle) + 1, NONE, stage_program(idle)));
    wake(e);
    for (int i = 0; i < e->n_started; i++)
        pthread_join(e->threads[i], NULL);
    free(e->threads);
    free(e->paces);
    free(e->claims);
    free(e->progress);
    e->backend->executor = NULL;
    free(e);
}
