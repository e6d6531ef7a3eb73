/* bench.h - what `ramify bench` measures here (bench.c) and on a server (bench_remote.c). */
#ifndef RM_EXPERIMENTS_CLI_BENCH_H
#define RM_EXPERIMENTS_CLI_BENCH_H

#include "base/json.h"
#include "experiments/cli/cli.h"

/* NaN all three: nothing was measured. */
typedef struct cli_spread {
    double median, min, max;
} cli_spread;

/* Sorts the values. */
cli_spread cli_spread_of(double *values, size_t n);
/* As `key`, key_min and key_max; NaN is null. */
void cli_put_spread(rm_json_writer *, const char *key, const cli_spread *);

typedef struct cli_server_bench {
    const int *batches;     /* [n_batches] requests at once */
    int n_batches;
    int n_prompt, n_generate, n_repeats;
    bool greedy;
    uint64_t seed;
} cli_server_bench;

rm_status cli_bench_remote(const cli_args *, const cli_server_bench *, rm_error *);

#endif
