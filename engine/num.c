/* num.c - the portable passes over a row of logits; they define what the vector kernels give.
 *
 * Eight running sums, folded 4, 2, 1, and 64-bit weights whose total is exact in any order:
 * see pick.h for the formulas. */
#include "engine/num.h"
#include "engine/pick.h"
#include "engine/pick_math.h"

static void max_sum(const float *row, int n, double *max, double *sum)
{
    float top = row[0];
    for (int v = 1; v < n; v++)
        if (row[v] > top)
            top = row[v];
    double lane[8] = { 0 };
    for (int v = 0; v < n; v++)
        lane[v % 8] += rm_exp((double)row[v] - (double)top);
    *max = (double)top;
    *sum = rm_fold_lanes(lane);
}

static uint64_t weights(const float *row, int n, double max, double temperature, uint64_t *w)
{
    uint64_t total = 0;
    for (int v = 0; v < n; v++) {
        w[v] = rm_weight_of((double)row[v], max, temperature);
        total += w[v];
    }
    return total;
}

const rm_row_kernels rm_row_kernels_portable = { max_sum, weights };
