/* roof.c - how fast the processors read memory: what bounds one path of a model whose weights lie
 * outside the caches, since every token reads all of them once.
 *
 * Each thread sums its own contiguous part of a buffer as large as the weights; the rate counts
 * from the first thread's start to the last one's end. */
#include "experiments/cli/cli.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct reader {
    pthread_t thread;
    bool started;
    const uint64_t *from, *to;
    uint64_t sum; /* so that nothing can be left out */
} reader;

struct cli_roof {
    size_t bytes;
    uint64_t *data;
    int n_threads;
    reader *readers; /* [n_threads] */
};

static void *read_part(void *arg)
{
    enum { APART = 4, AHEAD = 512 }; /* words: independent sums; 4 KiB of prefetching */
    reader *r = arg;
    uint64_t sums[8 * APART] = { 0 };
    for (const uint64_t *p = r->from; p < r->to; p += 8 * APART) {
        for (int line = 0; line < APART; line++)
            __builtin_prefetch(p + AHEAD + 8 * line);
        for (int i = 0; i < 8 * APART; i++)
            sums[i] ^= p[i];
    }
    for (int i = 0; i < 8 * APART; i++)
        r->sum += sums[i];
    return NULL;
}

rm_status cli_roof_new(size_t bytes, int n_threads, cli_roof **out, rm_error *err)
{
    enum { PAGE = 2 << 20 };
    cli_roof *roof = calloc(1, sizeof *roof);
    size_t part = (bytes / (size_t)n_threads + PAGE) / PAGE * PAGE;
    if (roof) {
        roof->n_threads = n_threads;
        roof->bytes = part * (size_t)n_threads;
        roof->readers = calloc((size_t)n_threads, sizeof *roof->readers);
        roof->data = aligned_alloc(PAGE, roof->bytes);
    }
    if (!roof || !roof->readers || !roof->data) {
        cli_roof_free(roof);
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu bytes to read", bytes);
    }
    madvise(roof->data, roof->bytes, MADV_HUGEPAGE); /* as the weights are held; only a hint */
    memset(roof->data, 1, roof->bytes);
    for (int i = 0; i < n_threads; i++) {
        roof->readers[i].from = roof->data + (size_t)i * (part / sizeof *roof->data);
        roof->readers[i].to = roof->readers[i].from + part / sizeof *roof->data;
    }
    *out = roof;
    return RM_OK;
}

void cli_roof_free(cli_roof *roof)
{
    if (!roof)
        return;
    free(roof->data);
    free(roof->readers);
    free(roof);
}

double cli_roof_measure(cli_roof *roof)
{
    double start = rm_now_s();
    for (int i = 1; i < roof->n_threads; i++) {
        reader *r = &roof->readers[i];
        r->started = pthread_create(&r->thread, NULL, read_part, r) == 0;
    }
    read_part(&roof->readers[0]);
    for (int i = 1; i < roof->n_threads; i++) {
        reader *r = &roof->readers[i];
        if (r->started)
            pthread_join(r->thread, NULL);
        else
            read_part(r);
    }
    return (double)roof->bytes / (rm_now_s() - start);
}
