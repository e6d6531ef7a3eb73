/* update.c - new weights for a loaded model: the one way in which training reaches inference.
 *
 * The new weights are packed beside the old ones and take their place only when all of it worked.
 * A model's identity follows from its content: its hash is the XXH3-128 of the values, and its id,
 * which enters the random stream, changes with it, so that two trainings that reach the same
 * weights draw the same tokens whatever the number of updates between. */
#include "engine/core.h"
#include "engine/run.h"
#include "engine/train/trainer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static rm_status check_shape(const rm_model_info *info, const rm_shape *s, rm_error *err)
{
    const struct {
        const char *name;
        int model, given;
    } counts[] = {
        { "n_layers", info->n_layers, s->n_layers },
        { "n_embd", info->n_embd, s->n_embd },
        { "n_heads", info->n_heads, s->n_heads },
        { "n_kv_heads", info->n_kv_heads, s->n_kv_heads },
        { "head_dim", info->head_dim, s->head_dim },
        { "n_ff", info->n_ff, s->n_ff },
        { "n_vocab", info->n_vocab, s->n_vocab },
        { "tied", info->tied, s->tied },
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].model != counts[i].given)
            return rm_fail(err, RM_E_ARGUMENT, "the new weights of %s have %s %d, the model has %d",
                           info->name, counts[i].name, counts[i].given, counts[i].model);
    if (info->n_params != rm_shape_parameters(s))
        return rm_fail(err, RM_E_ARGUMENT, "%s has biases or other parameters that no training "
                       "changes", info->name);
    return RM_OK;
}

/* A request in progress would read old and new weights. */
static rm_status check_idle(const rm_model *model, rm_error *err)
{
    for (const rm_run *run = model->engine->first_run; run; run = run->next)
        for (const rm_path *path = run->active ? run->first_path : NULL; path; path = path->next)
            if (path->model == model)
                return rm_fail(err, RM_E_ARGUMENT, "the weights of %s cannot change while a "
                               "request on it is in progress", model->weights->info.name);
    return RM_OK;
}

static void identify(rm_model *model, const float *values, size_t n)
{
    rm_weights *w = model->weights;
    XXH128_hash_t h = XXH3_128bits(values, n * sizeof *values);
    snprintf(w->info.hash, sizeof w->info.hash, "%016" PRIx64 "%016" PRIx64, (uint64_t)h.high64,
             (uint64_t)h.low64);
    w->info.id = rm_mix(rm_mix(h.high64, h.low64),
                        (uint64_t)w->compute << 8 | (uint64_t)w->kv_type);
    w->info.weight_type = "f32";
}

rm_status rm_model_update(rm_model *model, const rm_shape *shape, const float *values,
                          rm_error *err)
{
    const rm_ops *ops = model->engine->ops;
    rm_backend *backend = model->engine->backend;
    rm_weights *w = model->weights;
    size_t n = rm_shape_parameters(shape);
    if (model->served)
        return rm_fail(err, RM_E_ARGUMENT,
                       "%s is computed by a service; only a model that is loaded "
                       "from a file can be given new weights", w->info.name);
    rm_status st = check_shape(&w->info, shape, err);
    if (!st)
        st = check_idle(model, err);
    if (!st && w->compute == RM_COMPUTE_Q8)
        st = rm_fail(err, RM_E_ARGUMENT, "%s computes in q8; open it with compute f32 or bf16 to "
                     "change its weights", w->info.name);
    if (st)
        return st;
    float *copy = malloc(n * sizeof *copy);
    rm_layer *layers = calloc((size_t)shape->n_layers, sizeof *layers);
    rm_weight *table = NULL, *norm = NULL, *output = NULL;
    if (!copy || !layers) {
        st = rm_fail(err, RM_E_MEMORY, "no memory for new weights of %s", w->info.name);
    } else {
        memcpy(copy, values, n * sizeof *copy);
        st = pack_values(ops, backend, shape, copy, w->compute, true, layers, &table, &norm,
                         &output, err);
    }
    if (st) {
        free_packed(ops, backend, shape->n_layers, layers, table, norm, output);
        free(layers);
        free(copy);
        return st;
    }
    free_packed(ops, backend, shape->n_layers, w->layers, w->embedding, w->out_norm, w->output);
    free(w->layers);
    free(model->values);
    w->layers = layers;
    w->embedding = table;
    w->out_norm = norm;
    w->output = output;
    model->values = copy; /* the table is read in place */
    model->version++;
    identify(model, copy, n);
    rm_model_count_weights(model);
    return RM_OK;
}

uint64_t rm_model_version(const rm_model *model)
{
    return model->version;
}
