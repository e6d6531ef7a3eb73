/* test_analysis_memory.c - every allocation of an analysis fails once: the caller gets
 * RM_E_MEMORY with a sentence, nothing leaks, nothing crashes.
 *
 * malloc and its relatives are replaced in this executable and count down to the one that fails;
 * the real ones are glibc's. Sanitizers bring their own allocator; there nothing is made to fail
 * and the sanitizer looks for the leaks. */
#include "tests/analysis/simulate.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

/* Records, analysis, JSON, a comparison, a merge: the status of the first that fails. */
static rm_status everything(rm_error *err)
{
    static const rm_analysis_options options = { .resamples = 100, .draws = 5 };
    rm_records r = { 0 }, joined = { 0 };
    rm_analysis *analysis = NULL;
    rm_text text = { 0 };
    rm_comparison comparison;
    rm_calibration calibration;
    sim_source s = { 51, 1, 0 };
    sim_answers a = { .right = 0.5, .n_wrong = 3 };
    rm_status status = RM_E_MEMORY;

    snprintf(err->text, sizeof err->text, "records");
    int pool = sim_cell(&r, "t", "pool", "sampling", 5, true);
    int beam = sim_cell(&r, "t", "beam", "beam", 4, false);
    for (int p = 0; p < 12 && pool >= 0 && beam >= 0; p++) {
        int problem = sim_problem(&r, "t", p, NULL);
        if (problem < 0)
            goto done;
        sim_samples(&r, pool, problem, 0, &a, 5, &s);
        sim_samples(&r, beam, problem, 0, &a, 4, &s);
    }
    if (r.n_results < 24)
        goto done;
    err->text[0] = '\0';
    status = rm_analyze(&r, &options, &analysis, err);
    if (!status)
        status = rm_analysis_json(analysis, &text, err);
    if (!status)
        status = rm_compare(&r, &pool, &beam, 1, &options, &comparison, err);
    if (!status)
        status = rm_cell_calibration(&r, pool, &options, &calibration, err);
    if (!status)
        status = rm_records_append(&joined, &r, "again", err);
done:
    rm_text_free(&text);
    rm_analysis_free(analysis);
    rm_records_free(&joined);
    rm_records_free(&r);
    return status;
}

#if defined(__GLIBC__) && !defined(SANITIZED)

/* Exported, so that libraries (strdup, for one) allocate here too. */
#pragma GCC visibility push(default)
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void __libc_free(void *);

static bool counting;
static long count, fail_at, live;

static bool fails(void)
{
    return counting && ++count == fail_at;
}

void *malloc(size_t n)
{
    void *p = fails() ? NULL : __libc_malloc(n);
    live += counting && p;
    return p;
}

void *calloc(size_t n, size_t size)
{
    void *p = fails() ? NULL : __libc_calloc(n, size);
    live += counting && p;
    return p;
}

void *realloc(void *old, size_t n)
{
    void *p = fails() ? NULL : __libc_realloc(old, n);
    live += counting && p && !old;
    return p;
}

void free(void *p)
{
    live -= counting && p;
    __libc_free(p);
}

#pragma GCC visibility pop

Test(memory, each_allocation_fails_once)
{
    rm_error err;
    counting = true;
    rm_status status = everything(&err);
    long total = count, leaks = live;
    counting = false;
    cr_assert_eq(status, RM_OK);
    cr_assert_eq(leaks, 0, "%ld blocks leaked", leaks);
    cr_assert(total > 1000);

    long failed = 0, step = 1;
    for (long i = 1; i <= total; i += step) {
        fail_at = i;
        count = live = 0;
        counting = true;
        status = everything(&err);
        leaks = live;
        counting = false;
        cr_assert_eq(leaks, 0, "allocation %ld: %ld blocks leaked", i, leaks);
        cr_assert(status == RM_OK || (status == RM_E_MEMORY && err.text[0]),
                  "allocation %ld: status %d", i, (int)status);
        failed += status != RM_OK;
        step = i < 600 ? 1 : 5; /* the records, then a sample of the analysis */
    }
    cr_assert(failed > 600); /* the few that may fail unnoticed are caches and the sort's buffer */
}

#else

Test(memory, the_same_without_failures)
{
    rm_error err;
    cr_assert_eq(everything(&err), RM_OK, "%s", err.text);
}

#endif
