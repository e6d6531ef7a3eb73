/* axis.c - scales and ticks.
 *
 * Linear ticks stand on multiples of 1, 2 or 5 x 10^n (Heckbert 1990, "Nice numbers for graph
 * labels"). Log axes over few decades are labelled at 1-2-5, over more at the powers of ten with
 * unlabelled ticks at 2..9 between; log2 axes at powers of two and at the last value. The labelling
 * is thinned until the texts keep their distance, measured, not guessed. */
#include "plots/axis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- scales ---------------------------------------------------------------------------- */

static double transform(fig_scale_kind kind, double v)
{
    return kind == FIG_LINEAR ? v : kind == FIG_LOG10 ? log10(v) : log2(v);
}

double fig_at(const fig_scale *s, double value)
{
    if (!isfinite(value) || (s->kind != FIG_LINEAR && !(value > 0)))
        return NAN;
    double low = transform(s->kind, s->low), high = transform(s->kind, s->high);
    return s->from + (transform(s->kind, value) - low) / (high - low) * (s->to - s->from);
}

double fig_at_clamped(const fig_scale *s, double value)
{
    if (value == INFINITY)
        return s->to;
    if (value == -INFINITY || (s->kind != FIG_LINEAR && value <= 0))
        return s->from;
    double at = fig_at(s, value);
    if (isnan(at))
        return at;
    return fmin(fmax(at, fmin(s->from, s->to)), fmax(s->from, s->to));
}

void fig_range_add(fig_range *range, fig_scale_kind kind, double v)
{
    if (!isfinite(v) || (kind != FIG_LINEAR && !(v > 0)))
        return;
    if (fig_range_empty(*range))
        *range = (fig_range){ v, v };
    range->low = fmin(range->low, v);
    range->high = fmax(range->high, v);
}

bool fig_range_empty(fig_range range)
{
    return range.low > range.high;
}

double fig_nice_step(double x)
{
    double unit = pow(10, floor(log10(x)));
    static const double nice[] = { 1, 2, 5, 10 };
    for (int i = 0; i < 4; i++)
        if (unit * nice[i] >= x * (1 - 1e-9))
            return unit * nice[i];
    return unit * 10;
}

fig_scale fig_scale_nice(fig_range r, double min_span, double lowest, double highest, int n_steps)
{
    if (fig_range_empty(r))
        r = (fig_range){ fmax(lowest, 0), fmin(highest, fmax(lowest, 0) + min_span) };
    double span = fmax(r.high - r.low, min_span), middle = (r.high + r.low) / 2;
    if (!(span > 0))
        span = middle != 0 ? fabs(middle) : 1;
    double pad = 0.04 * span;
    double low = fmin(r.low - pad, middle - span / 2), high = fmax(r.high + pad, middle + span / 2);
    /* shift instead of cut where an end meets its bound, so that the span survives */
    if (low < lowest)
        high = fmin(fmax(high, lowest + span), highest), low = lowest;
    if (high > highest)
        low = fmax(fmin(low, highest - span), lowest), high = highest;
    double step = fig_nice_step((high - low) / n_steps);
    low = fmax(floor(low / step + 1e-9) * step, lowest);
    high = fmin(ceil(high / step - 1e-9) * step, highest);
    return (fig_scale){ FIG_LINEAR, low, high, 0, 1, 0 };
}

fig_scale fig_scale_log(fig_scale_kind kind, fig_range r, double pad, double min_ratio)
{
    if (fig_range_empty(r))
        r = (fig_range){ 1, 10 };
    double ratio = fmax(r.high / r.low, min_ratio), middle = sqrt(r.low) * sqrt(r.high);
    double half = sqrt(ratio) * pow(ratio, pad);
    return (fig_scale){ kind, middle / half, middle * half, 0, 1, 0 };
}

fig_scale fig_scale_log2(fig_range r)
{
    if (fig_range_empty(r))
        r = (fig_range){ 1, 2 };
    double steps = log2(r.high / r.low), pad = exp2(fmax(0.12, 0.05 * steps));
    if (r.high / r.low < 2)
        pad = 2;
    return (fig_scale){ FIG_LOG2, r.low / pad, r.high * pad, 0, 1, r.high };
}

/* ---- numbers --------------------------------------------------------------------------- */

void fig_power_of_ten(int exponent, char text[24])
{
    static const char *const digit[] = { "⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹" };
    char plain[8];
    snprintf(plain, sizeof plain, "%d", exponent % 1000);
    char *out = text;
    out += snprintf(out, 4, "10");
    for (const char *p = plain; *p; p++)
        out += snprintf(out, 4, "%s", *p == '-' ? "⁻" : digit[*p - '0']);
}

void fig_number(double value, char text[24])
{
    static const struct {
        double from, unit;
        const char *suffix;
    } units[] = {
        { 1e12, 1e12, "T" }, { 1e9, 1e9, "G" }, { 1e6, 1e6, "M" }, { 1e4, 1e3, "k" }, { 0, 1, "" },
    };
    double size = fabs(value);
    const char *sign = value < 0 ? "−" : "";
    if (size != 0 && (size >= 1e15 || size < 1e-4)) {
        int exponent = (int)floor(log10(size) + 1e-9);
        double mantissa = size / pow(10, exponent);
        char power[24];
        fig_power_of_ten(exponent, power);
        char factor[16] = ""; /* "2.5·" */
        if (fabs(mantissa - 1) >= 1e-6)
            snprintf(factor, sizeof factor, "%.2g·", mantissa);
        snprintf(text, 24, "%s%.5s%.12s", sign, factor, power);
        return;
    }
    int u = 0;
    while (size < units[u].from * (1 - 1e-9))
        u++;
    double scaled = size / units[u].unit;
    if (u == 4 && scaled >= 1000 - 1e-6) {
        unsigned whole = (unsigned)lround(scaled);
        snprintf(text, 24, "%s%u,%03u", sign, whole / 1000, whole % 1000);
    } else {
        snprintf(text, 24, u < 4 ? "%s%.3g%s" : "%s%.4g%s", sign, scaled, units[u].suffix);
    }
}

/* ---- ticks ----------------------------------------------------------------------------- */

static bool inside(const fig_scale *s, double v)
{
    double slack = s->kind == FIG_LINEAR ? 1e-9 * (s->high - s->low) : 0;
    double stretch = s->kind == FIG_LINEAR ? 1 : 1 + 1e-9;
    return v >= s->low / stretch - slack && v <= s->high * stretch + slack;
}

static void push(fig_tick *ticks, size_t *n, double value, bool labelled)
{
    if (*n >= FIG_MAX_TICKS)
        return;
    ticks[*n].value = value;
    ticks[*n].text[0] = '\0';
    if (labelled)
        fig_number(value, ticks[*n].text);
    (*n)++;
}

static size_t ticks_linear(const fig_scale *s, int level, fig_tick *ticks)
{
    size_t n = 0;
    double step = fig_nice_step((s->high - s->low) / 7);
    for (int i = 0; i < level; i++)
        step = fig_nice_step(step * 1.01);
    double first = ceil(s->low / step - 1e-9);
    for (double i = first; i * step <= s->high + 1e-9 * step && n < FIG_MAX_TICKS; i++)
        if (inside(s, i * step))
            push(ticks, &n, i * step, true);
    return n;
}

/* Labels at 1-2-5 (level 0, few decades only), at 1, 10, 100 ... (level 1), at every second,
 * third ... power of ten (further levels); unlabelled ticks at the other multiples. */
static size_t ticks_log10(const fig_scale *s, int level, fig_tick *ticks)
{
    size_t n = 0;
    double decades = log10(s->high / s->low);
    int first = (int)floor(log10(s->low)), last = (int)ceil(log10(s->high));
    bool fine = level == 0 && decades <= 3.3, powers = decades > 2.2 && s->high >= 1e4;
    int every = level > 1 ? level : 1;
    if (decades < 0.75) { /* too short for 1-2-5: a linear choice of values */
        fig_scale flat = *s;
        flat.kind = FIG_LINEAR;
        return ticks_linear(&flat, level, ticks);
    }
    for (int e = first; e <= last; e++)
        for (int m = 1; m <= 9; m++) {
            double v = m * pow(10, e);
            if (!inside(s, v))
                continue;
            bool labelled = fine ? m == 1 || m == 2 || m == 5 : m == 1 && e % every == 0;
            if (decades > 8 && m > 1)
                continue;
            push(ticks, &n, v, labelled);
            if (labelled && !fine && powers && n)
                fig_power_of_ten(e, ticks[n - 1].text);
        }
    return n;
}

static size_t ticks_log2(const fig_scale *s, int level, fig_tick *ticks)
{
    size_t n = 0;
    int first = (int)ceil(log2(s->low) - 1e-9), last = (int)floor(log2(s->high) + 1e-9);
    double mark = s->mark > 0 ? log2(s->mark) : INFINITY;
    for (int e = first; e <= last; e++) {
        bool labelled = e % (level + 1) == 0 && fabs(e - mark) > 0.45 * (level + 1);
        if (mark > e - 1 && mark < e)
            push(ticks, &n, s->mark, true);
        push(ticks, &n, exp2(e), labelled || mark == e);
    }
    if (mark > last && inside(s, s->mark))
        push(ticks, &n, s->mark, true);
    return n;
}

size_t fig_ticks(const fig_scale *s, int level, fig_tick ticks[FIG_MAX_TICKS])
{
    switch (s->kind) {
    case FIG_LOG10:
        return ticks_log10(s, level, ticks);
    case FIG_LOG2:
        return ticks_log2(s, level, ticks);
    default:
        return ticks_linear(s, level, ticks);
    }
}

/* Do the labels of a horizontal (or vertical) axis keep `gap` points apart? */
static bool labels_fit(const fig_scale *s, const fig_tick *ticks, size_t n, double size,
                       bool horizontal, double gap)
{
    double taken = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (!ticks[i].text[0])
            continue;
        double at = fig_at(s, ticks[i].value);
        double extent = horizontal ? fig_text_width(ticks[i].text, size, FIG_REGULAR) : size;
        if (at - extent / 2 < taken + gap)
            return false;
        taken = at + extent / 2;
    }
    return true;
}

size_t fig_ticks_fitting(const fig_scale *s, double size, bool horizontal, double gap,
                         fig_tick ticks[FIG_MAX_TICKS])
{
    size_t n = 0;
    for (int level = 0; level < 40; level++) {
        n = fig_ticks(s, level, ticks);
        if (labels_fit(s, ticks, n, size, horizontal, gap))
            return n;
    }
    bool labelled = false; /* not even two fit: the first alone */
    for (size_t i = 0; i < n; i++) {
        if (labelled)
            ticks[i].text[0] = '\0';
        labelled |= ticks[i].text[0] != '\0';
    }
    return n;
}
