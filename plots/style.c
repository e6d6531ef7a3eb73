/* style.c - the colours of every figure.
 *
 * The qualitative palette is that of Okabe & Ito (2008, "Color Universal Design"), whose colours
 * stay apart for all common kinds of colour-blindness. Its yellow is left out: it vanishes on
 * white paper. Markers carry the same distinction a second time, for prints in grey.
 *
 * The ramp follows cividis (Nunez, Anderton & Renslow 2018), designed to look the same with and
 * without red-green colour-blindness; five of its colours, joined linearly. */
#include "plots/canvas.h"

#include <math.h>

const fig_color FIG_INK = { 0x1c, 0x1c, 0x1c, 1 };
const fig_color FIG_GRAY = { 0x6a, 0x6a, 0x6a, 1 };
const fig_color FIG_GRID = { 0xdf, 0xdf, 0xdf, 1 };
const fig_color FIG_WHITE = { 0xff, 0xff, 0xff, 1 };
const fig_color FIG_BLUE = { 0x00, 0x72, 0xb2, 1 };
const fig_color FIG_ORANGE = { 0xe6, 0x9f, 0x00, 1 };
const fig_color FIG_GREEN = { 0x00, 0x9e, 0x73, 1 };
const fig_color FIG_VERMILLION = { 0xd5, 0x5e, 0x00, 1 };
const fig_color FIG_PURPLE = { 0xcc, 0x79, 0xa7, 1 };
const fig_color FIG_SKY = { 0x56, 0xb4, 0xe9, 1 };

fig_color fig_fade(fig_color color, double opacity)
{
    color.a *= opacity;
    return color;
}

static unsigned char blend(unsigned char a, unsigned char b, double t)
{
    return (unsigned char)lround(a + (b - a) * t);
}

fig_color fig_mix(fig_color a, fig_color b, double t)
{
    return (fig_color){ blend(a.r, b.r, t), blend(a.g, b.g, t), blend(a.b, b.b, t),
                        a.a + (b.a - a.a) * t };
}

/* One channel of sRGB to linear light (IEC 61966-2-1). */
static double linear(unsigned char channel)
{
    double c = channel / 255.0;
    return c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
}

double fig_contrast_on_white(fig_color c)
{
    double luminance = 0.2126 * linear(c.r) + 0.7152 * linear(c.g) + 0.0722 * linear(c.b);
    return 1.05 / (luminance + 0.05);
}

fig_color fig_readable(fig_color color)
{
    const fig_color black = { 0, 0, 0, color.a };
    for (double t = 0; t < 1; t += 0.02) {
        fig_color darker = fig_mix(color, black, t);
        if (fig_contrast_on_white(darker) >= 4.5)
            return darker;
    }
    return black;
}

fig_color fig_ramp(double t)
{
    static const fig_color stop[] = { { 0x00, 0x22, 0x4e, 1 },
                                      { 0x41, 0x4d, 0x6b, 1 },
                                      { 0x7c, 0x7b, 0x78, 1 },
                                      { 0xbc, 0xae, 0x6c, 1 },
                                      { 0xfe, 0xe8, 0x38, 1 } };
    if (!(t > 0))
        return stop[0];
    if (t >= 1)
        return stop[4];
    int i = (int)(t * 4);
    return fig_mix(stop[i], stop[i + 1], t * 4 - i);
}
