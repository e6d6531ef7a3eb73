/* check.h - the tests of the kernels with Criterion, or without it on a real device.
 *
 * Machines with a GPU often lack Criterion. Compiled with RM_TEST_ON_DEVICE = 1 the same files get
 * the few macros they use from here, and check.c runs them: one process, no isolation; the first
 * failed assertion ends its test, every failed expectation is printed and counted. */
#ifndef TESTS_CUDA_CHECK_H
#define TESTS_CUDA_CHECK_H

#if RM_TEST_ON_DEVICE

#include <setjmp.h>
#include <stdbool.h>

typedef struct check_test {
    const char *suite, *name;
    void (*run)(void);
    struct check_test *next;
} check_test;

void check_register(check_test *);
void check_failed(const char *file, int line, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
extern jmp_buf check_abandon;

#define Test(suite, name, ...)                                                                     \
    static void suite##_##name(void);                                                              \
    __attribute__((constructor)) static void register_##suite##_##name(void)                       \
    {                                                                                              \
        static check_test test = { #suite, #name, suite##_##name, NULL };                          \
        check_register(&test);                                                                     \
    }                                                                                              \
    static void suite##_##name(void)

#define CHECK(condition, what, then, ...)                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check_failed(__FILE__, __LINE__, what, " " __VA_ARGS__);                               \
            then;                                                                                  \
        }                                                                                          \
    } while (0)
#define cr_expect(c, ...)        CHECK(c, #c, (void)0, __VA_ARGS__)
#define cr_expect_eq(a, b, ...)  CHECK((a) == (b), #a " == " #b, (void)0, __VA_ARGS__)
#define cr_expect_leq(a, b, ...) CHECK((a) <= (b), #a " <= " #b, (void)0, __VA_ARGS__)
#define cr_assert(c, ...)        CHECK(c, #c, longjmp(check_abandon, 1), __VA_ARGS__)
#define cr_assert_eq(a, b, ...)  CHECK((a) == (b), #a " == " #b, longjmp(check_abandon, 1), __VA_ARGS__)

#else
#include <criterion/criterion.h>
#endif

#endif
