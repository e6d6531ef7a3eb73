/* Scales, ticks and numbers of the figures, as tables. */
#include "plots/axis.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

Test(plots_axis, nice_steps)
{
    static const double table[][2] = {
        { 1, 1 },           { 1.01, 2 },   { 2, 2 },       { 2.3, 5 },
        { 5, 5 },           { 5.1, 10 },   { 9.99, 10 },   { 0.03, 0.05 },
        { 0.0001, 0.0001 }, { 730, 1000 }, { 1e-9, 1e-9 }, { 4.4e12, 5e12 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        cr_assert_float_eq(fig_nice_step(table[i][0]), table[i][1], 1e-9 * table[i][1],
                           "%g gives %g", table[i][0], fig_nice_step(table[i][0]));
}

Test(plots_axis, numbers)
{
    static const struct {
        double value;
        const char *text;
    } table[] = {
        { 0, "0" },
        { 1, "1" },
        { -20, "−20" },
        { 0.05, "0.05" },
        { 1.5, "1.5" },
        { 999, "999" },
        { 1000, "1,000" },
        { 1500, "1,500" },
        { 9999, "9,999" },
        { 10000, "10k" },
        { 12500, "12.5k" },
        { 3e6, "3M" },
        { 2e9, "2G" },
        { 5e12, "5T" },
        { 1e15, "10¹⁵" },
        { 1e-5, "10⁻⁵" },
        { 2.5e-7, "2.5·10⁻⁷" },
        { -1e20, "−10²⁰" },
        { 0.0001, "0.0001" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char text[24];
        fig_number(table[i].value, text);
        cr_assert_str_eq(text, table[i].text, "%g is written %s", table[i].value, text);
    }
    char text[24];
    fig_power_of_ten(-300, text);
    cr_assert_str_eq(text, "10⁻³⁰⁰");
}

/* Labels of a level joined by spaces, minor ticks as dots. */
static const char *labels(fig_scale s, int level)
{
    static char text[2048];
    fig_tick tick[FIG_MAX_TICKS];
    size_t n = fig_ticks(&s, level, tick), used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? " " : "",
                                 tick[i].text[0] ? tick[i].text : ".");
    return text;
}

Test(plots_axis, ticks)
{
    static const struct {
        fig_scale scale;
        int level;
        const char *labels;
    } table[] = {
        { { FIG_LINEAR, 20, 60, 0, 1, 0 }, 0, "20 30 40 50 60" },
        { { FIG_LINEAR, 20, 60, 0, 1, 0 }, 1, "20 40 60" },
        { { FIG_LINEAR, -1, 1, 0, 1, 0 }, 0, "−1 −0.5 0 0.5 1" },
        { { FIG_LINEAR, 0, 0.3, 0, 1, 0 }, 0, "0 0.05 0.1 0.15 0.2 0.25 0.3" },
        { { FIG_LOG10, 0.4, 60, 0, 1, 0 }, 0, ". 0.5 . . . . 1 2 . . 5 . . . . 10 20 . . 50 ." },
        { { FIG_LOG10, 0.4, 60, 0, 1, 0 }, 1, ". . . . . . 1 . . . . . . . . 10 . . . . ." },
        { { FIG_LOG10, 90, 110000, 0, 1, 0 },
          1,
          ". 10² . . . . . . . . 10³ . . . . . . . . 10⁴ . . . . . . . . 10⁵" },
        { { FIG_LOG10, 12, 18, 0, 1, 0 }, 0, "12 13 14 15 16 17 18" },
        { { FIG_LOG2, 1, 256, 0, 1, 0 }, 0, "1 2 4 8 16 32 64 128 256" },
        { { FIG_LOG2, 1, 256, 0, 1, 0 }, 1, "1 . 4 . 16 . 64 . 256" },
        { { FIG_LOG2, 0.8, 70, 0, 1, 0 }, 2, "1 . . 8 . . 64" },
        /* the last value has a label; powers of two give way to it */
        { { FIG_LOG2, 0.9, 30, 0, 1, 27 }, 0, "1 2 4 8 16 27" },
        { { FIG_LOG2, 0.9, 120, 0, 1, 100 }, 0, "1 2 4 8 16 32 64 100" },
        { { FIG_LOG2, 0.9, 120, 0, 1, 100 }, 1, "1 . 4 . 16 . . 100" },
        { { FIG_LOG2, 0.9, 80, 0, 1, 70 }, 0, "1 2 4 8 16 32 . 70" },
        { { FIG_LOG2, 0.9, 80, 0, 1, 64 }, 0, "1 2 4 8 16 32 64" },
        { { FIG_LOG2, 0.9, 80, 0, 1, 60 }, 0, "1 2 4 8 16 32 60 ." },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        cr_assert_str_eq(labels(table[i].scale, table[i].level), table[i].labels, "case %zu: %s", i,
                         labels(table[i].scale, table[i].level));
}

Test(plots_axis, fitting_labels_keep_their_distance)
{
    static const double widths[] = { 30, 60, 90, 140, 300, 500 };
    static const double tops[] = { 3, 12, 50, 1000, 1e5, 1e9, 1e15, 1e30 };
    for (size_t w = 0; w < 6; w++)
        for (size_t t = 0; t < 8; t++)
            for (int kind = FIG_LINEAR; kind <= FIG_LOG2; kind++) {
                fig_scale s = { (fig_scale_kind)kind, 1, tops[t], 10, 10 + widths[w],
                                w % 2 ? 0.9 * tops[t] : 0 };
                fig_tick tick[FIG_MAX_TICKS];
                size_t n = fig_ticks_fitting(&s, 7, true, 5, tick), labelled = 0;
                double end = -INFINITY;
                for (size_t i = 0; i < n; i++) {
                    if (i)
                        cr_assert_gt(tick[i].value, tick[i - 1].value);
                    if (!tick[i].text[0])
                        continue;
                    double at = fig_at(&s, tick[i].value);
                    double half = fig_text_width(tick[i].text, 7, FIG_REGULAR) / 2;
                    cr_assert_geq(at - half, end, "labels meet: kind %d, 1 to %g on %g points",
                                  kind, tops[t], widths[w]);
                    end = at + half;
                    labelled++;
                }
                cr_assert_geq(labelled, 1, "no label: kind %d, 1 to %g on %g points", kind, tops[t],
                              widths[w]);
            }
}

Test(plots_axis, positions)
{
    fig_scale log = { FIG_LOG10, 1, 100, 0, 200, 0 };
    cr_assert_float_eq(fig_at(&log, 10), 100, 1e-9);
    cr_assert(isnan(fig_at(&log, 0)));
    cr_assert(isnan(fig_at(&log, -3)));
    cr_assert(isnan(fig_at(&log, NAN)));
    cr_assert_eq(fig_at_clamped(&log, 1e9), 200);
    cr_assert_eq(fig_at_clamped(&log, INFINITY), 200);
    cr_assert_eq(fig_at_clamped(&log, -INFINITY), 0);
    cr_assert_eq(fig_at_clamped(&log, 0), 0);
}

Test(plots_axis, nice_scales_hold_their_range)
{
    static const struct {
        double low, high;
    } table[] = {
        { 20, 57 }, { 0, 0 },       { 100, 100 }, { 99, 100 },
        { 0, 1 },   { 33.3, 33.3 }, { 0, 100 },   { 41.2, 44.9 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        fig_range r = FIG_EMPTY;
        fig_range_add(&r, FIG_LINEAR, table[i].low);
        fig_range_add(&r, FIG_LINEAR, NAN);
        fig_range_add(&r, FIG_LINEAR, INFINITY);
        fig_range_add(&r, FIG_LINEAR, table[i].high);
        fig_scale s = fig_scale_nice(r, 10, 0, 100, 5);
        cr_assert_leq(s.low, table[i].low);
        cr_assert_geq(s.high, table[i].high);
        cr_assert_geq(s.low, 0);
        cr_assert_leq(s.high, 100);
        cr_assert_geq(s.high - s.low, 10 - 1e-9);
    }
    fig_scale empty = fig_scale_nice(FIG_EMPTY, 10, 0, 100, 5);
    cr_assert_lt(empty.low, empty.high);
    fig_scale point = fig_scale_log(FIG_LOG10, (fig_range){ 7, 7 }, 0.07, 4);
    cr_assert_lt(point.low, 7);
    cr_assert_gt(point.high, 7);
}

Test(plots_axis, colours_for_text_can_be_read)
{
    static const fig_color *const colours[] = { &FIG_BLUE,       &FIG_ORANGE, &FIG_GREEN,
                                                &FIG_VERMILLION, &FIG_PURPLE, &FIG_SKY,
                                                &FIG_GRAY,       &FIG_INK };
    for (size_t i = 0; i < 8; i++) /* WCAG 2.1, success criterion 1.4.3 */
        cr_assert_geq(fig_contrast_on_white(fig_readable(*colours[i])), 4.5);
    cr_assert_float_eq(fig_contrast_on_white((fig_color){ 0, 0, 0, 1 }), 21, 1e-9);
    cr_assert_float_eq(fig_contrast_on_white(FIG_WHITE), 1, 1e-9);
}
