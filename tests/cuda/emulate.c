/* emulate.c - the software device (emulate.h).
 *
 * A block is a loop over its threads in the order asked for: each runs until it waits at a barrier,
 * waits for the rest of its warp, or returns. The lane that completes a warp operation carries it
 * out for all 32, reading what they brought and writing what they get, and they go on. When no
 * thread can go on, all must wait at one barrier; it opens. Every other situation is reported. */
#include "tests/cuda/emulate.h"

#include "base/base.h"
#include "engine/coroutine.h"
#include "engine/dtype.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_THREADS = 1024, LANES_OF_A_WARP = 32, MOST_SHARED_BYTES = 227 * 1024 };

typedef enum warp_kind { NO_OP, WARP_SYNC, SHUFFLE, VOTE, MULTIPLY, MATRIX } warp_kind;
typedef enum thread_state { READY, AT_BARRIER, IN_WARP, RETURNED } thread_state;

typedef struct pending_copy {
    void *to;
    const void *from;
    int real, group;
} pending_copy;

typedef struct emulate_thread {
    rm_coroutine *stack;
    thread_state state;
    const char *file; /* where it waits */
    int line;
    warp_kind op;
    int detail;             /* of the operation: the type of a product, whether transposed */
    uint64_t value, result; /* what it brought to a shuffle or vote, what it got */
    int from;
    float *d;
    const uint32_t *m, *n;
    uint32_t *r;
    const void *row;
    pending_copy *copy;
    size_t n_copies, copy_capacity;
    int group; /* number of the copy group that is open */
} emulate_thread;

emulate_state emulate_now;
int (*emulate_record)(const emulate_call *, void *);

static struct {
    rm_stacks *stacks;
    emulate_thread thread[MOST_THREADS];
    int order[MOST_THREADS];
    uint64_t seed;
    const emulate_call *call;
    const char *kernel;
    bool running; /* no launch inside a launch */
    bool waited;  /* a thread of the block has waited for the kernel before */
} device;

static void stop(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fprintf(stderr, "emulated device, kernel %s, block (%d, %d, %d), thread %d: ",
            device.kernel ? device.kernel : "?", emulate_now.block[0], emulate_now.block[1],
            emulate_now.block[2], emulate_now.thread);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    abort();
}

void emulate_order(uint64_t seed)
{
    device.seed = seed;
}

static emulate_thread *current(void)
{
    return &device.thread[emulate_now.thread];
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void wait_as(thread_state state, const char *file, int line)
{
    emulate_thread *t = current();
    t->state = state;
    t->file = file;
    t->line = line;
    rm_coroutine_pause(t->stack);
}

void emulate_sync(const char *file, int line)
{
    wait_as(AT_BARRIER, file, line);
}

static float half_value(int is_f16, uint32_t word, int high)
{
    uint16_t h = (uint16_t)(high ? word >> 16 : word);
    return is_f16 ? rm_f16_to_f32(h) : rm_bf16_to_f32(h);
}

/* D += A B, each element a sum in double rounded once: a device adds in an order of its own, so
 * tests of products carry a tolerance. */
static void multiply(emulate_thread *lane)
{
    float a[16][16], b[8][16];
    int is_f16 = lane->detail;
    for (int l = 0; l < LANES_OF_A_WARP; l++) {
        int g = l / 4, k = l % 4 * 2;
        for (int h = 0; h < 2; h++) {
            a[g][k + h] = half_value(is_f16, lane[l].m[0], h);
            a[g + 8][k + h] = half_value(is_f16, lane[l].m[1], h);
            a[g][k + 8 + h] = half_value(is_f16, lane[l].m[2], h);
            a[g + 8][k + 8 + h] = half_value(is_f16, lane[l].m[3], h);
            b[g][k + h] = half_value(is_f16, lane[l].n[0], h);
            b[g][k + 8 + h] = half_value(is_f16, lane[l].n[1], h);
        }
    }
    for (int l = 0; l < LANES_OF_A_WARP; l++)
        for (int i = 0; i < 4; i++) {
            const float *row = a[l / 4 + i / 2 * 8], *column = b[l % 4 * 2 + i % 2];
            double sum = (double)lane[l].d[i];
            for (int k = 0; k < 16; k++)
                sum += (double)row[k] * (double)column[k];
            lane[l].d[i] = (float)sum;
        }
}

static void load_matrices(emulate_thread *lane)
{
    for (int l = 0; l < LANES_OF_A_WARP; l++)
        for (int j = 0; j < 4; j++) {
            uint16_t half[2];
            for (int h = 0; h < 2; h++) {
                int row = lane->detail ? l % 4 * 2 + h : l / 4;
                int column = lane->detail ? l / 4 : l % 4 * 2 + h;
                memcpy(&half[h], (const char *)lane[8 * j + row].row + 2 * column, 2);
            }
            lane[l].r[j] = (uint32_t)half[1] << 16 | half[0];
        }
}

static void carry_out(emulate_thread *lane)
{
    uint64_t votes = 0;
    switch (lane->op) {
    case SHUFFLE:
        for (int l = 0; l < LANES_OF_A_WARP; l++)
            lane[l].result = lane[lane[l].from].value;
        break;
    case VOTE:
        for (int l = 0; l < LANES_OF_A_WARP; l++)
            votes |= lane[l].value << l;
        for (int l = 0; l < LANES_OF_A_WARP; l++)
            lane[l].result = votes;
        break;
    case MULTIPLY: multiply(lane); break;
    case MATRIX: load_matrices(lane); break;
    default: break;
    }
}

/* Meets the other lanes of the warp in `op`; the last one carries it out. */
static void meet(warp_kind op, int detail, const char *file, int line)
{
    emulate_thread *self = current(),
                   *lane = &device.thread[emulate_now.thread / LANES_OF_A_WARP * LANES_OF_A_WARP];
    self->op = op;
    self->detail = detail;
    self->file = file;
    self->line = line;
    for (int l = 0; l < LANES_OF_A_WARP; l++) {
        if (&lane[l] == self)
            continue;
        if (lane[l].state != IN_WARP) { /* not all are here */
            wait_as(IN_WARP, file, line);
            return;
        }
    }
    for (int l = 0; l < LANES_OF_A_WARP; l++)
        if (lane[l].op != op || lane[l].detail != detail || lane[l].line != line ||
            lane[l].file != file)
            stop("the lanes of a warp meet at %s:%d and at %s:%d", file, line, lane[l].file,
                 lane[l].line);
    carry_out(lane);
    for (int l = 0; l < LANES_OF_A_WARP; l++)
        lane[l].state = READY;
}

void emulate_sync_warp(const char *file, int line)
{
    meet(WARP_SYNC, 0, file, line);
}

uint64_t emulate_shuffle(uint64_t value, int from, const char *file, int line)
{
    emulate_thread *t = current();
    if (from < 0 || from >= LANES_OF_A_WARP)
        stop("a shuffle from lane %d at %s:%d", from, file, line);
    t->value = value;
    t->from = from;
    meet(SHUFFLE, 0, file, line);
    return t->result;
}

uint32_t emulate_ballot(int predicate, const char *file, int line)
{
    emulate_thread *t = current();
    t->value = predicate != 0;
    meet(VOTE, 0, file, line);
    return (uint32_t)t->result;
}

void emulate_mma(int is_f16, float *d, const uint32_t *m, const uint32_t *n, const char *file,
                 int line)
{
    emulate_thread *t = current();
    t->d = d;
    t->m = m;
    t->n = n;
    meet(MULTIPLY, is_f16, file, line);
}

void emulate_load_matrix(int transposed, uint32_t *r, const void *row, const char *file, int line)
{
    emulate_thread *t = current();
    if ((uintptr_t)row % 16)
        stop("a matrix row that is not aligned to 16 bytes at %s:%d", file, line);
    t->r = r;
    t->row = row;
    meet(MATRIX, transposed, file, line);
}

void emulate_wait_previous(void)
{
    device.waited = true;
}

/* ---- copies in the background ---------------------------------------------------------------- */

void emulate_copy_async(void *to, const void *from, int real)
{
    emulate_thread *t = current();
    if ((uintptr_t)to % 16 || (uintptr_t)from % 16)
        stop("a background copy between addresses that are not aligned to 16 bytes");
    if (t->n_copies == t->copy_capacity) {
        size_t capacity = t->copy_capacity ? 2 * t->copy_capacity : 64;
        pending_copy *more = realloc(t->copy, capacity * sizeof *more);
        if (!more)
            stop("no memory for background copies");
        t->copy = more;
        t->copy_capacity = capacity;
    }
    t->copy[t->n_copies++] = (pending_copy){ to, from, real, t->group };
}

void emulate_copy_commit(void)
{
    current()->group++;
}

/* Copies of all groups but the last `pending` committed ones arrive. */
void emulate_copy_wait(int pending)
{
    emulate_thread *t = current();
    size_t kept = 0;
    for (size_t i = 0; i < t->n_copies; i++) {
        pending_copy c = t->copy[i];
        if (c.group >= t->group - pending)
            t->copy[kept++] = c;
        else if (c.real)
            memcpy(c.to, c.from, 16);
        else
            memset(c.to, 0, 16);
    }
    t->n_copies = kept;
}

/* ---- launching ------------------------------------------------------------------------------- */

void *emulate_shared(size_t bytes, const char *what)
{
    if (bytes != emulate_now.shared_bytes)
        stop("%zu bytes of shared memory were launched for %s of %zu bytes",
             emulate_now.shared_bytes, what, bytes);
    return emulate_now.shared;
}

static void body(void *arg)
{
    (void)arg;
    device.call->kernel(device.call->args);
}

static void shuffle_order(int threads)
{
    for (int i = 0; i < threads; i++)
        device.order[i] = device.seed == 1 ? threads - 1 - i : i;
    if (device.seed < 2)
        return;
    for (int i = threads - 1; i > 0; i--) {
        uint64_t u = rm_random(device.seed, (uint64_t)emulate_now.block[0], (uint32_t)i, 0);
        int j = (int)rm_scale(u, (uint64_t)i + 1), swap = device.order[i];
        device.order[i] = device.order[j];
        device.order[j] = swap;
    }
}

/* Opens the barrier at which every thread waits; says what is wrong if they do not. */
static void open_barrier(int threads)
{
    const emulate_thread *first = NULL;
    for (int i = 0; i < threads; i++)
        if (device.thread[i].state != RETURNED) {
            first = &device.thread[i];
            break;
        }
    for (int i = 0; i < threads; i++) {
        const emulate_thread *t = &device.thread[i];
        emulate_now.thread = i;
        if (t->state == RETURNED)
            stop("has returned while another waits at %s:%d", first->file, first->line);
        if (t->state == IN_WARP)
            stop("waits at %s:%d for lanes that do not come", t->file, t->line);
        if (t->line != first->line || t->file != first->file)
            stop("waits at the barrier %s:%d, another at %s:%d", t->file, t->line, first->file,
                 first->line);
    }
    for (int i = 0; i < threads; i++)
        device.thread[i].state = READY;
}

static void run_block(int threads)
{
    rm_error error = { "" };
    memset(emulate_now.shared, 0xff, emulate_now.shared_bytes); /* NaN in every float type */
    for (int i = 0; i < threads; i++) {
        emulate_thread *t = &device.thread[i];
        t->state = READY;
        t->group = 0;
        t->n_copies = 0;
        t->stack = rm_coroutine_new(device.stacks, body, NULL, &error);
        if (!t->stack)
            stop("%s", error.text);
    }
    device.waited = false;
    shuffle_order(threads);
    for (int left = threads; left;) {
        bool moved = false;
        for (int i = 0; i < threads; i++) {
            emulate_thread *t = &device.thread[device.order[i]];
            if (t->state != READY)
                continue;
            emulate_now.thread = device.order[i];
            moved = true;
            if (!rm_coroutine_resume(t->stack)) {
                t->state = RETURNED;
                left--;
            }
        }
        if (!moved)
            open_barrier(threads);
    }
    if (!device.waited)
        stop("the block has ended and never waited for the kernel before it");
    for (int i = 0; i < threads; i++) {
        emulate_thread *t = &device.thread[i];
        emulate_now.thread = i;
        if (t->n_copies)
            stop("returned with background copies it never waited for");
        rm_coroutine_recycle(device.stacks, t->stack);
    }
}

int emulate_run(const emulate_call *c)
{
    device.kernel = c->name;
    if (c->x < 1 || c->y < 1 || c->z < 1 || c->y > 65535 || c->z > 65535 ||
        c->threads < LANES_OF_A_WARP || c->threads > MOST_THREADS ||
        c->threads % LANES_OF_A_WARP || c->shared_bytes > MOST_SHARED_BYTES)
        return 9; /* cudaErrorInvalidConfiguration */
    if (!device.stacks)
        device.stacks = rm_stacks_new();
    size_t bytes = c->shared_bytes ? (c->shared_bytes + 15) / 16 * 16 : 16;
    emulate_now.shared = aligned_alloc(16, bytes);
    if (!device.stacks || !emulate_now.shared || device.running)
        return 2; /* cudaErrorMemoryAllocation */
    device.running = true;
    device.call = c;
    emulate_now.threads = c->threads;
    emulate_now.shared_bytes = c->shared_bytes;
    emulate_now.grid[0] = c->x;
    emulate_now.grid[1] = c->y;
    emulate_now.grid[2] = c->z;
    for (int k = 0; k < c->z; k++)
        for (int j = 0; j < c->y; j++)
            for (int i = 0; i < c->x; i++) {
                emulate_now.block[0] = i;
                emulate_now.block[1] = j;
                emulate_now.block[2] = k;
                run_block(c->threads);
            }
    free(emulate_now.shared);
    emulate_now.shared = NULL;
    for (int i = 0; i < c->threads; i++) {
        free(device.thread[i].copy);
        device.thread[i].copy = NULL;
        device.thread[i].copy_capacity = 0;
    }
    device.running = false;
    return 0;
}

int emulate_launch(const emulate_call *c, void *stream)
{
    return emulate_record ? emulate_record(c, stream) : emulate_run(c);
}

/* The stacks stay for the next launch; at the end they go, so that nothing counts as lost. */
__attribute__((destructor)) static void free_stacks(void)
{
    rm_stacks_free(device.stacks);
    device.stacks = NULL;
}
