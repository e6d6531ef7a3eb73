/* optimizer.c - AdamW with clipping by the global norm.
 *
 *     n = |g|,  g' = g min(1, clip / n)
 *     m = b1 m + (1 - b1) g'        v = b2 v + (1 - b2) g'^2
 *     w = w - rate decay w - rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
 *
 * Kingma & Ba 2015 (arXiv:1412.6980) with the decay of Loshchilov & Hutter 2019 (arXiv:1711.05101),
 * which acts on matrices only. The norm is a sum over fixed pieces of the parameters in their
 * order, so it does not depend on threads. */
#include "engine/train/trainer.h"

#include "engine/num.h"

typedef struct step_args {
    const rm_trainer *t;
    adamw_step keep, decay; /* for vectors, for matrices */
} step_args;

static void tile_squares(const op *o, worker *w, size_t tile)
{
    const rm_trainer *t = o->args;
    (void)w;
    t->chunk_squares[tile] =
        t->kernels->squares(t->gradient + t->chunks[tile].offset, t->chunks[tile].n);
}

static void tile_adamw(const op *o, worker *w, size_t tile)
{
    const step_args *a = o->args;
    const rm_trainer *t = a->t;
    const chunk *c = &t->chunks[tile];
    (void)w;
    t->kernels->adamw(t->values + c->offset, t->moment1 + c->offset, t->moment2 + c->offset,
                      t->gradient + c->offset, c->n, c->decays ? &a->decay : &a->keep);
}

static double power(double base, uint64_t n)
{
    double result = 1;
    for (; n; n >>= 1, base *= base)
        if (n & 1)
            result *= base;
    return result;
}

static rm_status check_options(const rm_adamw *o, rm_error *err)
{
    const struct {
        const char *name;
        double value, low, high;
    } ranges[] = { { "rate", o->rate, 0, 1 },       { "beta1", o->beta1, 0, 0.999999 },
                   { "beta2", o->beta2, 0, 0.999999 }, { "eps", o->eps, 1e-30, 1 },
                   { "decay", o->decay, 0, 10 },    { "clip", o->clip, 0, 1e30 } };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (!(ranges[i].value >= ranges[i].low && ranges[i].value <= ranges[i].high))
            return rm_fail(err, RM_E_ARGUMENT, "optimizer: %s is %g, expected %g to %g",
                           ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high);
    return RM_OK;
}

rm_status rm_trainer_step(rm_trainer *t, const rm_adamw *o, double *norm, rm_error *err)
{
    rm_status st = check_options(o, err);
    if (st)
        return st;
    cpu_enqueue(t->backend, tile_squares, t->n_chunks, t);
    st = t->ops->flush(t->backend, err);
    if (st)
        return st;
    double sum = 0;
    for (size_t i = 0; i < t->n_chunks; i++)
        sum += t->chunk_squares[i];
    double n = __builtin_sqrt(sum);
    if (norm)
        *norm = n;
    if (!(n < RM_INF))
        return rm_fail(err, RM_E_LIMIT, "the gradient of step %llu is not finite; a lower rate or "
                       "stronger clipping may help", (unsigned long long)t->step + 1);
    uint64_t step = t->step + 1;
    adamw_step s = { .scale = o->clip > 0 && n > o->clip ? (float)(o->clip / n) : 1.0f,
                     .beta1 = (float)o->beta1, .beta2 = (float)o->beta2,
                     .correct1 = (float)(1 / (1 - power(o->beta1, step))),
                     .correct2 = (float)(1 / (1 - power(o->beta2, step))),
                     .rate = (float)o->rate, .eps = (float)o->eps };
    step_args args = { t, s, s };
    args.decay.decay = (float)(o->rate * o->decay);
    cpu_enqueue(t->backend, tile_adamw, t->n_chunks, &args);
    st = t->ops->flush(t->backend, err);
    if (st)
        return st;
    t->step = step;
    t->packed = false;
    return RM_OK;
}
