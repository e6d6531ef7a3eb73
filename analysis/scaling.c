/* scaling.c - coverage as a law of the number of samples.
 *
 *     pass@k = exp(-a k^-b)        a, b >= 0
 *
 * the exponentiated power law of Brown et al. 2024 (Large Language Monkeys, arXiv:2407.21787, sec.
 * 3.1, log c = a k^b there, with both signs turned). It holds of a mean over problems whose chances
 * have a power-law tail towards 0 (Schaeffer et al. 2025, arXiv:2502.17578); problems that are
 * never solved bend the points below it. The law describes the measured range; what it says of
 * larger k is a conjecture, so nothing is extrapolated here.
 *
 * Fit: least squares in coverage, where the points' errors are comparable (on the scale of
 * log(-log c) a coverage near 1 would decide everything). With alpha = ln a, u = a k^-b, m = e^-u
 *
 *     dm/dalpha = -m u,      dm/db = m u ln k,
 *
 * a Gauss-Newton step is the weighted straight line of (c - m)/(-m u) over -ln k with weights
 * (m u)^2, for which gsl_fit_wlinear stands; a step that does not improve the fit is halved. The
 * start is the line through log(-log c).
 *
 * The points share their samples and their problems, so the residuals say nothing about the errors
 * of a and b: these come from fitting every resample of the problems again (derived.c). Where fewer
 * than FEW problems are unsolved at the largest k, or solved at k = 1, resampling sees too little
 * of what decides b and a: the intervals are then too narrow, and their method says so. */
#include "analysis/internal.h"

#include <gsl/gsl_fit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_POINTS = 64, MAX_STEPS = 200, MAX_HALVINGS = 40, FEWEST = 3, FEW = 5 };

typedef struct law {
    double alpha, b; /* ln a and b */
} law;

static double at_k(law l, double log_k)
{
    return exp(-exp(l.alpha - l.b * log_k));
}

static double squares(law l, const double *log_k, const double *c, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = c[i] - at_k(l, log_k[i]);
        sum += d * d;
    }
    return sum;
}

/* The line through log(-log c), points weighted as their error on that scale suggests. */
static law start(const double *log_k, const double *c, size_t n)
{
    double x[MAX_POINTS], y[MAX_POINTS], w[MAX_POINTS], c0, c1, v00, v01, v11, chi;
    for (size_t i = 0; i < n; i++) {
        double inner = fmin(fmax(c[i], 1e-4), 1 - 1e-4), slope = inner * log(inner);
        x[i] = -log_k[i];
        y[i] = log(-log(inner));
        w[i] = slope * slope;
    }
    gsl_fit_wlinear(x, 1, w, 1, y, 1, n, &c0, &c1, &v00, &v01, &v11, &chi);
    return (law){ c0, c1 };
}

/* One Gauss-Newton step from l. */
static law step(law l, const double *log_k, const double *c, size_t n)
{
    double x[MAX_POINTS], y[MAX_POINTS], w[MAX_POINTS], c0, c1, v00, v01, v11, chi;
    for (size_t i = 0; i < n; i++) {
        double u = exp(l.alpha - l.b * log_k[i]), m = exp(-u), slope = fmax(m * u, 1e-12);
        x[i] = -log_k[i];
        y[i] = (c[i] - m) / -slope;
        w[i] = slope * slope;
    }
    gsl_fit_wlinear(x, 1, w, 1, y, 1, n, &c0, &c1, &v00, &v01, &v11, &chi);
    return (law){ c0, c1 };
}

static bool fit(const double *log_k, const double *c, size_t n, law *out)
{
    size_t inner = 0, different = 1;
    for (size_t i = 0; i < n; i++) {
        inner += c[i] > 1e-9 && c[i] < 1 - 1e-9;
        different += i > 0 && log_k[i] > log_k[i - 1];
        if (!(c[i] >= 0 && c[i] <= 1 + 1e-9))
            return false;
    }
    if (n < FEWEST || n > MAX_POINTS || different < FEWEST || inner < 2)
        return false;
    law l = start(log_k, c, n);
    double best = squares(l, log_k, c, n);
    for (int i = 0; i < MAX_STEPS; i++) {
        law d = step(l, log_k, c, n), next = l;
        double sum = INFINITY, scale = 1;
        for (int h = 0; h < MAX_HALVINGS && !(sum <= best); h++, scale /= 2) {
            next = (law){ l.alpha + scale * d.alpha, l.b + scale * d.b };
            sum = squares(next, log_k, c, n);
        }
        if (!(sum <= best))
            break;
        bool done = fabs(next.alpha - l.alpha) + fabs(next.b - l.b) < 1e-10;
        l = next;
        best = sum;
        if (done)
            break;
    }
    *out = l;
    return isfinite(l.alpha) && isfinite(l.b);
}

bool rm_fit_coverage(const double *k, const double *coverage, size_t n, rm_scaling *out)
{
    double log_k[MAX_POINTS] = { 0 };
    law l;
    rm_estimate none = { .value = NAN, .low = NAN, .high = NAN, .method = "no fit" };
    *out = (rm_scaling){ 0, none, none, NAN };
    for (size_t i = 0; i < n; i++) {
        if (i == MAX_POINTS || !(k[i] >= 1) || (i && !(k[i] > k[i - 1])))
            return false;
        log_k[i] = log(k[i]);
    }
    if (!fit(log_k, coverage, n, &l))
        return false;
    out->n_points = n;
    out->a.value = exp(l.alpha);
    out->b.value = l.b;
    out->rmse = sqrt(squares(l, log_k, coverage, n) / (double)n);
    return true;
}

const char RM_FEW_UNSOLVED[] = "BCa bootstrap over problems, too narrow: few are unsolved";
const char RM_FEW_SOLVED[] = "BCa bootstrap over problems, too narrow: few are solved";

/* ---- of a recorded cell ------------------------------------------------------------------ */

/* One parameter of the fit as a function of the coverages. Both parameters of one resample are
 * wanted one after the other; fitting twice costs less than remembering. */
typedef struct wanted {
    double log_k[MAX_POINTS];
    bool b;
} wanted;

static double parameter(const double *coverage, size_t n, const void *context)
{
    const wanted *w = context;
    law l;
    if (!fit(w->log_k, coverage, n, &l))
        return NAN;
    return w->b ? l.b : exp(l.alpha);
}

rm_status an_scaling(const an_frame *frame, const an_kept *kept, const rm_analysis_options *options,
                     rm_scaling *out, rm_error *err)
{
    an_bundle bundle = { 0 };
    size_t n = kept->pass ? kept->pass->n_points : 0;
    double k[MAX_POINTS] = { 0 }, coverage[MAX_POINTS] = { 0 };
    wanted w = { .b = false };
    rm_fit_coverage(k, coverage, 0, out);
    if (n < FEWEST || n > MAX_POINTS)
        return RM_OK;
    for (size_t i = 0; i < n; i++) {
        k[i] = (double)kept->pass->k[i];
        w.log_k[i] = log(k[i]);
        coverage[i] = kept->pass->value[i].value;
    }
    if (!rm_fit_coverage(k, coverage, n, out))
        return RM_OK;
    size_t problems = an_column_problems(frame, &kept->pass_column[0]);
    rm_status status = an_bundle_new(frame, kept->pass_column, n, options, &bundle, err);
    if (!status)
        status = an_derive(&bundle, NULL, n, parameter, &w, problems, options->level, &out->a, err);
    w.b = true;
    if (!status)
        status = an_derive(&bundle, NULL, n, parameter, &w, problems, options->level, &out->b, err);
    an_bundle_free(&bundle);
    if (!status && (1 - coverage[n - 1]) * (double)problems < FEW)
        out->a.method = out->b.method = RM_FEW_UNSOLVED;
    else if (!status && coverage[0] * (double)problems < FEW)
        out->a.method = out->b.method = RM_FEW_SOLVED;
    return status;
}
