/* check.c - runs the tests of the kernels on a real device (check.h), first without the overlap of
 * launches (engine/cuda/device.h), then with it, and the tests of the overlap itself before the
 * others: a kernel that does not wait for the one before it shows there. Exit status 0 when all
 * passed, 1 when one failed, 77 with a reason when there is no device. */
#include "tests/cuda/check.h"

#if RM_TEST_ON_DEVICE

#include <cuda_runtime_api.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/cuda/launch.h"

jmp_buf check_abandon;

static check_test *first;
static int failures, before; /* of all tests; before the one that runs */

void check_register(check_test *test)
{
    test->next = first;
    first = test;
}

void check_failed(const char *file, int line, const char *what, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fprintf(stderr, "%s:%d: not so: %s", file, line, what);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    failures++;
}

/* Runs the tests whose suite or name is an argument; all without one. */
static bool asked_for(const check_test *test, int n, char **names)
{
    for (int i = 1; i < n; i++)
        if (!strcmp(names[i], test->suite) || !strcmp(names[i], test->name))
            return true;
    return n < 2;
}

/* Did it pass? A function of its own, so that no variable lives across the jump. */
static bool passes(const check_test *test)
{
    before = failures;
    if (!setjmp(check_abandon))
        test->run();
    cudaError_t error = cudaDeviceSynchronize();
    if (error)
        check_failed(test->suite, 0, "no device error", " %s", cudaGetErrorString(error));
    return failures == before;
}

static int n_passed;

/* Runs those that were asked for, of the suite "overlap" or of the others; returns how many failed. */
static int run_suites(bool overlap, int argc, char **argv)
{
    int failed = 0;
    for (const check_test *test = first; test; test = test->next) {
        if (!asked_for(test, argc, argv) || (strcmp(test->suite, "overlap") == 0) != overlap)
            continue;
        bool ok = passes(test);
        n_passed += ok;
        failed += !ok;
        printf("%s %s/%s\n", ok ? "passed" : "FAILED", test->suite, test->name);
        fflush(stdout);
    }
    return failed;
}

int main(int argc, char **argv)
{
    int devices = 0, failed[2] = { 0 }, built = rm_launch_overlap;
    cudaError_t error = cudaGetDeviceCount(&devices);
    if (error || devices < 1) {
        fprintf(stderr, "skipped: no CUDA device (%s)\n",
                error ? cudaGetErrorString(error) : "none found");
        return 77;
    }
    for (int on = 0; on < 2; on++) {
        if (on && !built)
            break;
        printf("launches that %s\n", on ? "overlap" : "follow one another");
        rm_launch_overlap = on;
        failed[on] = run_suites(true, argc, argv) + run_suites(false, argc, argv);
    }
    printf("%d passed, %d failed\n", n_passed, failed[0] + failed[1]);
    if (failed[1] && !failed[0])
        puts("only with the overlap of launches: a build with -DRM_LAUNCH_OVERLAP=0 does without it");
    return failed[0] || failed[1] || !n_passed;
}

#endif
