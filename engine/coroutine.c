/* coroutine.c - stacks with guard pages and the switch between them (coroutine.h).
 *
 * The switch on x86-64 follows the System V ABI: a function call may change every register but
 * rbx, rbp, r12-r15, rsp, the control word of the x87 unit and the control bits of mxcsr; so a
 * switch pushes those onto the stack it leaves, exchanges rsp and pops them from the stack it
 * enters. A new stack is laid out as if it had been left that way, with the address of `enter`
 * as the return address. Other processors use ucontext, as does whoever compiles this file with
 * RM_COROUTINE_UCONTEXT = 1 (a test does).
 *
 * The sanitizers are told of every switch: AddressSanitizer would take the new stack for an
 * overflow, ThreadSanitizer would find calls and returns that do not match. */
#define _GNU_SOURCE
#include "engine/coroutine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__x86_64__) && !RM_COROUTINE_UCONTEXT
#define SWITCH_BY_HAND 1
#else
#define SWITCH_BY_HAND 0
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#elif __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif

struct rm_coroutine {
    char *map; /* guard page, then the stack */
    size_t map_bytes, guard_bytes;
    void (*body)(void *);
    void *arg;
    bool running, finished;
#if SWITCH_BY_HAND
    void *own_sp, *resumer_sp;
#else
    ucontext_t own, resumer;
#endif
    void *fake_stack; /* AddressSanitizer's, of the side that waits */
    const void *resumer_bottom;
    size_t resumer_bytes;
    void *fiber, *resumer_fiber; /* ThreadSanitizer's names of the two sides */
    rm_coroutine *next;          /* in the list of spare ones */
};

struct rm_stacks {
    rm_coroutine *spare;
};

/* ---- telling the sanitizer ----------------------------------------------------------------- */

#if defined(WITH_ASAN)

static void leave_to_coroutine(rm_coroutine *co, void **fake)
{
    __sanitizer_start_switch_fiber(fake, co->map + co->guard_bytes,
                                   co->map_bytes - co->guard_bytes);
}

static void arrived_in_coroutine(rm_coroutine *co, void *fake)
{
    __sanitizer_finish_switch_fiber(fake, &co->resumer_bottom, &co->resumer_bytes);
}

/* `fake` NULL: this stack is left for good. */
static void leave_to_resumer(rm_coroutine *co, void **fake)
{
    __sanitizer_start_switch_fiber(fake, co->resumer_bottom, co->resumer_bytes);
}

static void arrived_in_resumer(void *fake)
{
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
}

/* What the last body left poisoned on a stack is none of the next one's concern. */
static void stack_taken(rm_coroutine *co)
{
    __asan_unpoison_memory_region(co->map + co->guard_bytes, co->map_bytes - co->guard_bytes);
}

static void stack_given_back(rm_coroutine *co)
{
    (void)co;
}

#elif defined(WITH_TSAN)

static void leave_to_coroutine(rm_coroutine *co, void **fake)
{
    (void)fake;
    co->resumer_fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(co->fiber, 0);
}

static void leave_to_resumer(rm_coroutine *co, void **fake)
{
    (void)fake;
    __tsan_switch_to_fiber(co->resumer_fiber, 0);
}

static void stack_taken(rm_coroutine *co)
{
    co->fiber = __tsan_create_fiber(0);
}
static void stack_given_back(rm_coroutine *co)
{
    __tsan_destroy_fiber(co->fiber);
}
static void arrived_in_coroutine(rm_coroutine *co, void *fake)
{
    (void)co, (void)fake;
}
static void arrived_in_resumer(void *fake)
{
    (void)fake;
}

#else

static void leave_to_coroutine(rm_coroutine *co, void **fake)
{
    (void)co, (void)fake;
}
static void leave_to_resumer(rm_coroutine *co, void **fake)
{
    (void)co, (void)fake;
}
static void stack_taken(rm_coroutine *co)
{
    (void)co;
}
static void stack_given_back(rm_coroutine *co)
{
    (void)co;
}
static void arrived_in_coroutine(rm_coroutine *co, void *fake)
{
    (void)co, (void)fake;
}
static void arrived_in_resumer(void *fake)
{
    (void)fake;
}

#endif

/* ---- the switch ---------------------------------------------------------------------------- */

static void run_body(rm_coroutine *co);

#if SWITCH_BY_HAND

/* Saves the caller's state at *save and continues where `load` was saved. */
void rm_stack_switch(void **save, void *load);
/* First return address of a new stack: calls r13(r12). */
void rm_stack_enter(void);

__asm__(".text\n"
        ".p2align 4\n"
        ".hidden rm_stack_switch\n"
        ".globl rm_stack_switch\n"
        ".type rm_stack_switch, @function\n"
        "rm_stack_switch:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    subq $8, %rsp\n"
        "    stmxcsr (%rsp)\n"
        "    fnstcw 4(%rsp)\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    ldmxcsr (%rsp)\n"
        "    fldcw 4(%rsp)\n"
        "    addq $8, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size rm_stack_switch, .-rm_stack_switch\n"
        ".p2align 4\n"
        ".hidden rm_stack_enter\n"
        ".globl rm_stack_enter\n"
        ".type rm_stack_enter, @function\n"
        "rm_stack_enter:\n"
        "    movq %r12, %rdi\n"
        "    xorl %ebp, %ebp\n" /* debuggers stop walking the stack here */
        "    call *%r13\n"
        "    ud2\n"
        ".size rm_stack_enter, .-rm_stack_enter\n"
        ".section .note.GNU-stack,\"\",@progbits\n"
        ".text\n");

/* The order in which rm_stack_switch pops. */
typedef struct saved_state {
    uint32_t mxcsr, x87;
    void *r15, *r14, *r13, *r12, *rbx, *rbp, *return_address;
} saved_state;

static void prepare(rm_coroutine *co)
{
    /* At the entry of rm_stack_enter rsp is 16-byte aligned, so that its call pushes the body's
     * return address onto the boundary the ABI asks for. */
    char *top = co->map + co->map_bytes - 64;
    saved_state *state = (saved_state *)(void *)(top - sizeof *state);
    *state = (saved_state){ .mxcsr = 0x1F80, .x87 = 0x037F, .r12 = co };
    void (*body)(rm_coroutine *) = run_body;
    void (*enter)(void) = rm_stack_enter;
    memcpy(&state->r13, &body, sizeof body);
    memcpy(&state->return_address, &enter, sizeof enter);
    co->own_sp = state;
}

static void switch_in(rm_coroutine *co)
{
    rm_stack_switch(&co->resumer_sp, co->own_sp);
}

static void switch_out(rm_coroutine *co)
{
    rm_stack_switch(&co->own_sp, co->resumer_sp);
}

#else

static void context_body(unsigned high, unsigned low)
{
    uintptr_t address = ((uintptr_t)high << 16 << 16) | low;
    run_body((rm_coroutine *)address);
}

static void prepare(rm_coroutine *co)
{
    uintptr_t address = (uintptr_t)co;
    getcontext(&co->own);
    co->own.uc_stack.ss_sp = co->map + co->guard_bytes;
    co->own.uc_stack.ss_size = co->map_bytes - co->guard_bytes;
    co->own.uc_link = NULL;
    makecontext(&co->own, (void (*)(void))context_body, 2, (unsigned)(address >> 16 >> 16),
                (unsigned)address);
}

static void switch_in(rm_coroutine *co)
{
    swapcontext(&co->resumer, &co->own);
}

static void switch_out(rm_coroutine *co)
{
    swapcontext(&co->own, &co->resumer);
}

#endif

static void run_body(rm_coroutine *co)
{
    arrived_in_coroutine(co, NULL);
    co->body(co->arg);
    co->finished = true;
    leave_to_resumer(co, NULL);
    switch_out(co);
    abort(); /* a finished coroutine is never resumed */
}

bool rm_coroutine_resume(rm_coroutine *co)
{
    assert(!co->running && !co->finished);
    void *fake = NULL;
    co->running = true;
    leave_to_coroutine(co, &fake);
    switch_in(co);
    arrived_in_resumer(fake);
    co->running = false;
    return !co->finished;
}

void rm_coroutine_pause(rm_coroutine *co)
{
    assert(co->running);
    leave_to_resumer(co, &co->fake_stack);
    switch_out(co);
    arrived_in_coroutine(co, co->fake_stack);
}

bool rm_coroutine_is_running(const rm_coroutine *co)
{
    return co->running;
}

/* ---- stacks -------------------------------------------------------------------------------- */

rm_stacks *rm_stacks_new(void)
{
    return calloc(1, sizeof(rm_stacks));
}

static void coroutine_free(rm_coroutine *co)
{
    munmap(co->map, co->map_bytes);
    free(co);
}

void rm_stacks_free(rm_stacks *stacks)
{
    if (!stacks)
        return;
    while (stacks->spare) {
        rm_coroutine *co = stacks->spare;
        stacks->spare = co->next;
        coroutine_free(co);
    }
    free(stacks);
}

static rm_coroutine *coroutine_map(rm_error *err)
{
    rm_coroutine *co = calloc(1, sizeof *co);
    if (!co) {
        rm_fail(err, RM_E_MEMORY, "no memory for another problem in flight");
        return NULL;
    }
    co->guard_bytes = (size_t)sysconf(_SC_PAGESIZE);
    co->map_bytes = RM_STACK_BYTES + co->guard_bytes;
    co->map = mmap(NULL, co->map_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (co->map == MAP_FAILED) {
        rm_fail(err, RM_E_MEMORY, "no stack for another problem in flight: %s", strerror(errno));
        free(co);
        return NULL;
    }
    if (mprotect(co->map, co->guard_bytes, PROT_NONE) != 0) {
        rm_fail(err, RM_E_MEMORY, "cannot guard a problem's stack: %s", strerror(errno));
        coroutine_free(co);
        return NULL;
    }
    return co;
}

rm_coroutine *rm_coroutine_new(rm_stacks *stacks, void (*body)(void *), void *arg, rm_error *err)
{
    rm_coroutine *co = stacks->spare;
    if (co)
        stacks->spare = co->next;
    else if (!(co = coroutine_map(err)))
        return NULL;
    stack_taken(co);
    co->body = body;
    co->arg = arg;
    co->running = co->finished = false;
    co->fake_stack = NULL;
    co->next = NULL;
    prepare(co);
    return co;
}

void rm_coroutine_recycle(rm_stacks *stacks, rm_coroutine *co)
{
    if (!co)
        return;
    assert(!co->running);
    stack_given_back(co);
    co->next = stacks->spare;
    stacks->spare = co;
}
