/* num.c - the portable passes over a row of logits; they define what the vector kernels give.
 *
 * Eight running sums, folded 4, 2, 1, and 64-bit weights whose total is exact in any order:
 * see pick.h for the formulas. */
#include "engine/num.h"
#include "engine/pick.h"

static void max_sum(const float *row, int n, double *max, double *sum)
{
    float top = row[0];
    for (int v = 1; v < n; v++)
        if (row[v] > top)
            top = row[v];
    double lane[8] = { 0 };
    for (int v = 0; v < n; v++)
        lane[v % 8] += rm_exp((double)row[v] - (double)top);
    for (int half = 4; half >= 1; half /= 2)
        for (int j = 0; j < half; j++)
            lane[j] += lane[j + half];
    *max = (double)top;
    *sum = lane[0];
}

static uint64_t weights(const float *row, int n, double max, double temperature, uint64_t *w)
{
    uint64_t total = 0;
    for (int v = 0; v < n; v++) {
        double e = rm_exp(((double)row[v] - max) / temperature);
        /* e <= 1, so the sum lies in [2^52, 2^53) and its low bits are the rounded integer; a
         * logit that is not a number has no weight */
        w[v] = e == e ? rm_bits(e * 0x1p40 + 0x1p52) & ((UINT64_C(1) << 52) - 1) : 0;
        total += w[v];
    }
    return total;
}

const rm_row_kernels rm_row_kernels_portable = { max_sum, weights };
