/* The emulator's alarms: each kernel below slips in one way, and must be stopped. */
#include "engine/cuda/device.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>

typedef struct slip_args {
    int kind;
    float *out;
} slip_args;

typedef struct slip_shared {
    float x[64];
} slip_shared;

KERNEL(slip, slip_args, 64)
{
    SHARED(slip_shared, s);
    if (a.kind != 4)
        AFTER_PREVIOUS();
    s->x[THREAD] = (float)THREAD;
    if (a.kind == 0 && THREAD < 32)
        SYNC();
    if (a.kind == 1 && THREAD != 5)
        s->x[0] += SHUFFLE_XOR_F(1.0f, 1);
    if (a.kind == 2) {
        if (THREAD < 32)
            SYNC();
        else
            SYNC();
    }
    if (a.kind == 3)
        COPY_ASYNC16(&s->x[0], a.out, 1);
    a.out[THREAD] = s->x[THREAD];
}

static void run_slip(int kind)
{
    slip_args a = { kind, calloc(64, 4) };
    (void)LAUNCH(slip, 1, 1, 1, 64, sizeof(slip_shared), NULL, a);
    free(a.out);
}

Test(emulate, a_barrier_that_some_do_not_reach_is_reported, .signal = SIGABRT)
{
    run_slip(0);
}
Test(emulate, a_shuffle_that_some_do_not_join_is_reported, .signal = SIGABRT)
{
    run_slip(1);
}
Test(emulate, two_barriers_at_once_are_reported, .signal = SIGABRT)
{
    run_slip(2);
}
Test(emulate, a_copy_that_nobody_waits_for_is_reported, .signal = SIGABRT)
{
    run_slip(3);
}
Test(emulate, a_kernel_that_does_not_wait_for_the_one_before_is_reported, .signal = SIGABRT)
{
    run_slip(4);
}
