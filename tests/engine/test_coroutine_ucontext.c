/* test_coroutine_ucontext.c - the tests of coroutines once more, on the switch that processors
 * other than x86-64 use. Its functions get names of their own, since the engine is linked too. */
#define RM_COROUTINE_UCONTEXT 1
#define rm_stacks_new ucontext_stacks_new
#define rm_stacks_free ucontext_stacks_free
#define rm_coroutine_new ucontext_coroutine_new
#define rm_coroutine_resume ucontext_coroutine_resume
#define rm_coroutine_pause ucontext_coroutine_pause
#define rm_coroutine_is_running ucontext_coroutine_is_running
#define rm_coroutine_recycle ucontext_coroutine_recycle

#include "engine/coroutine.c"

#ifdef WITH_ASAN
#include <criterion/criterion.h>

Test(coroutine, by_ucontext)
{
    cr_skip_test("AddressSanitizer reports every program that calls swapcontext");
}
#else
#include "tests/engine/test_coroutine.c"
#endif
