/* test_coroutine.c - stacks, switches, and the guard page below. */
#include "engine/coroutine.h"

#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct counter {
    rm_coroutine *co;
    int from, steps;
    double sum;
    int trace[8];
} counter;

static void count(void *arg)
{
    counter *c = arg;
    double x = 0.1;
    for (int i = 0; i < c->steps; i++) {
        x = x * 1.5 + c->from; /* must survive in whatever registers it lives in */
        c->trace[i] = c->from + i;
        c->sum = x;
        rm_coroutine_pause(c->co);
    }
}

Test(coroutine, many_take_turns)
{
    enum { N = 300, STEPS = 5 };
    static counter counters[N];
    rm_stacks *stacks = rm_stacks_new();
    rm_error error;
    for (int i = 0; i < N; i++) {
        counters[i] = (counter){ .from = 10 * i, .steps = STEPS };
        counters[i].co = rm_coroutine_new(stacks, count, &counters[i], &error);
        cr_assert(counters[i].co);
    }
    for (int s = 0; s < STEPS; s++)
        for (int i = 0; i < N; i++) {
            cr_assert(!rm_coroutine_is_running(counters[i].co));
            cr_assert(rm_coroutine_resume(counters[i].co));
            cr_assert_eq(counters[i].trace[s], 10 * i + s);
        }
    for (int i = 0; i < N; i++) {
        double x = 0.1;
        for (int s = 0; s < STEPS; s++)
            x = x * 1.5 + 10 * i;
        cr_expect_eq(counters[i].sum, x);
        cr_expect(!rm_coroutine_resume(counters[i].co), "it returns");
        rm_coroutine_recycle(stacks, counters[i].co);
    }
    rm_stacks_free(stacks);
}

/* Stacks are used again, and a body may use nearly all of one. */
static void deep(void *arg)
{
    volatile char big[200 * 1024];
    memset((char *)big, 7, sizeof big);
    *(int *)arg += big[100] + big[sizeof big - 1];
}

Test(coroutine, stacks_are_reused_and_large_enough)
{
    rm_stacks *stacks = rm_stacks_new();
    rm_error error;
    rm_coroutine *first = NULL;
    int sum = 0;
    for (int i = 0; i < 50; i++) {
        rm_coroutine *co = rm_coroutine_new(stacks, deep, &sum, &error);
        cr_assert(co);
        cr_assert(!first || co == first);
        first = co;
        cr_assert(!rm_coroutine_resume(co));
        rm_coroutine_recycle(stacks, co);
    }
    cr_expect_eq(sum, 50 * 14);
    rm_coroutine_recycle(stacks, rm_coroutine_new(stacks, deep, &sum, &error)); /* never begun */
    rm_stacks_free(stacks);
}

/* The stack is aligned as the ABI wants it: SSE spills of a called function do not fault. */
static void aligned(void *arg)
{
    _Alignas(16) volatile char here[16];
    here[0] = 1;
    *(int *)arg = (int)((uintptr_t)here % 16) + (int)(1.0 + sin((double)here[0]));
}

Test(coroutine, stack_is_aligned)
{
    rm_stacks *stacks = rm_stacks_new();
    rm_error error;
    int result = -1;
    rm_coroutine *co = rm_coroutine_new(stacks, aligned, &result, &error);
    cr_assert(!rm_coroutine_resume(co));
    cr_expect_eq(result, 1);
    rm_coroutine_recycle(stacks, co);
    rm_stacks_free(stacks);
}

/* ---- the guard page ---- */

static int dig(volatile char *above, int depth)
{
    volatile char frame[1024];
    frame[0] = (char)depth;
    return depth > 1000000 ? above[0] : dig(frame, depth + 1) + frame[0];
}

static void overflow(void *arg)
{
    volatile char here[1] = { 0 };
    *(int *)arg = dig(here, 0);
}

/* The child overflows its coroutine's stack: the kernel stops it at the guard page. */
Test(coroutine, overflow_is_a_segmentation_fault)
{
    pid_t child = fork();
    cr_assert(child >= 0);
    if (child == 0) {
        struct rlimit none = { 0, 0 };
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        rm_error error;
        rm_stacks *stacks = rm_stacks_new();
        int result = 0;
        rm_coroutine_resume(rm_coroutine_new(stacks, overflow, &result, &error));
        _exit(result ? 1 : 2); /* not reached */
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "status %x", (unsigned)status);
}
