/* math.c - the elementary functions of num.h under public names, for the folders above. */
#include "engine/engine.h"
#include "engine/num.h"

double rm_math_exp(double x)
{
    return rm_exp(x);
}

double rm_math_log(double x)
{
    return rm_log(x);
}

double rm_math_pow(double x, double y)
{
    return rm_pow(x, y);
}
