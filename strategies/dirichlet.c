/* dirichlet.c - gamma variates normalised to sum 1.
 *
 *     eta_i = g_i / sum_j g_j,  g_i ~ Gamma(alpha)
 *     Gamma(a), a >= 1:  d = a - 1/3, c = 1 / sqrt(9 d); x ~ N(0,1), v = (1 + c x)^3;
 *                        accept d v if v > 0 and log u < x^2 / 2 + d - d v + d log v
 *     Gamma(a), a < 1:   Gamma(a + 1) u^(1/a)
 *
 * Marsaglia & Tsang 2000, "A simple method for generating gamma variables"; normals by the polar
 * method (Marsaglia & Bray 1964), which needs log and sqrt only. For small alpha u^(1/a)
 * underflows, so logarithms are kept until the normalisation. */
#include "strategies/dirichlet.h"

#include <math.h>

typedef struct stream {
    uint64_t (*bits)(const void *context, uint32_t index, uint32_t draw);
    const void *context;
    uint32_t index, draw;
} stream;

static double next_unit(stream *s)
{
    return rm_unit(s->bits(s->context, s->index, s->draw++));
}

static double next_normal(stream *s)
{
    for (;;) {
        double a = 2 * next_unit(s) - 1, b = 2 * next_unit(s) - 1, r = a * a + b * b;
        if (r > 0 && r < 1)
            return a * sqrt(-2 * rm_math_log(r) / r);
    }
}

/* log of a Gamma(alpha) variate. */
static double next_log_gamma(stream *s, double alpha)
{
    double boost = alpha < 1 ? rm_math_log(next_unit(s)) / alpha : 0;
    double d = (alpha < 1 ? alpha + 1 : alpha) - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = next_normal(s), root = 1 + c * x, v = root * root * root;
        if (v <= 0)
            continue;
        double log_v = rm_math_log(v);
        if (rm_math_log(next_unit(s)) < 0.5 * x * x + d - d * v + d * log_v)
            return rm_math_log(d) + log_v + boost;
    }
}

void dirichlet_draw_from(uint64_t (*bits)(const void *, uint32_t, uint32_t), const void *context,
                         double alpha, double *eta, int n)
{
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++) {
        stream s = { bits, context, (uint32_t)i, 0 };
        eta[i] = next_log_gamma(&s, alpha);
        max = eta[i] > max ? eta[i] : max;
    }
    for (int i = 0; i < n; i++)
        sum += eta[i] = rm_math_exp(eta[i] - max);
    for (int i = 0; i < n; i++)
        eta[i] /= sum;
}

typedef struct run_stream {
    const rm_run *run;
    uint64_t who;
} run_stream;

static uint64_t run_bits(const void *context, uint32_t index, uint32_t draw)
{
    const run_stream *s = context;
    return rm_run_random(s->run, RM_PURPOSE_DIRICHLET, s->who, index, draw);
}

void dirichlet_draw(const rm_run *run, uint64_t who, double alpha, double *eta, int n)
{
    run_stream s = { run, who };
    dirichlet_draw_from(run_bits, &s, alpha, eta, n);
}
