/* trainer.c - making a trainer: numbers, tensors, and the weights as the backend wants them.
 *
 * Four arrays of all parameters (values, gradient, two moments) are the truth; the backend gets
 * packed copies of the values, made again after each step. Packing 2.7 million values takes a
 * hundredth of a step over 8,192 tokens. */
#include "engine/train/trainer.h"

#include "engine/num.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_VALUES = 1 << 14 };

const train_kernels *train_kernels_for(const char *isa)
{
#if defined(__x86_64__)
    if (strncmp(isa, "avx512", 6) == 0)
        return &train_avx512;
    if (strcmp(isa, "avx2") == 0)
        return &train_avx2;
#endif
    (void)isa;
    return &train_portable;
}

/* ---- numbers ------------------------------------------------------------------------------- */

static rm_status make_chunks(rm_trainer *t, rm_error *err)
{
    rm_parameter p;
    for (int pass = 0; pass < 2; pass++) {
        size_t n = 0;
        for (int i = 0; rm_shape_parameter(&t->shape, i, &p); i++) {
            size_t all = (p.n_out ? p.n_out : 1) * p.n_in;
            for (size_t at = 0; at < all; at += CHUNK_VALUES, n++)
                if (pass)
                    t->chunks[n] = (chunk){ p.offset + at,
                                            all - at < CHUNK_VALUES ? all - at : CHUNK_VALUES,
                                            p.n_out > 0 };
        }
        if (pass)
            break;
        t->n_chunks = n;
        t->chunks = calloc(n, sizeof *t->chunks);
        t->chunk_squares = calloc(n, sizeof *t->chunk_squares);
        if (!t->chunks || !t->chunk_squares)
            return rm_fail(err, RM_E_MEMORY, "no memory for a trainer");
    }
    return RM_OK;
}

/* Weights, gradient and moments are touched at once: what the machine does not have must be refused
 * here, since an operating system that promises more than it has ends the program later. */
static rm_status check_memory(size_t n_values, rm_error *err)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    double has = pages > 0 && page > 0 ? (double)pages * (double)page : INFINITY;
    double needs = 4.0 * (double)n_values * sizeof(float), gib = 1 << 30;
    return needs < 0.9 * has
               ? RM_OK
               : rm_fail(err, RM_E_LIMIT, "training %zu parameters takes %.1f GiB, this machine has "
                         "%.1f", n_values, needs / gib, has / gib);
}

rm_status trainer_alloc(rm_engine *engine, const rm_shape *shape, rm_trainer **out, rm_error *err)
{
    rm_status st = rm_shape_check(shape, err);
    if (st)
        return st;
    if (engine->ops != &rm_cpu_ops)
        return rm_fail(err, RM_E_UNSUPPORTED,
                       "training runs on backend \"cpu\" only, this engine's "
                       "is \"%s\"",
                       engine->ops->name);
    if ((st = check_memory(rm_shape_parameters(shape), err)))
        return st;
    rm_trainer *t = calloc(1, sizeof *t);
    if (!t)
        return rm_fail(err, RM_E_MEMORY, "no memory for a trainer");
    t->engine = engine;
    t->ops = engine->ops;
    t->backend = engine->backend;
    t->kernels = train_kernels_for(engine->options.isa);
    t->shape = *shape;
    t->n_values = rm_shape_parameters(shape);
    t->at = calloc((size_t)shape->n_layers, sizeof *t->at);
    t->layers = calloc((size_t)shape->n_layers, sizeof *t->layers);
    t->memory = calloc((size_t)shape->n_layers, sizeof *t->memory);
    float **arrays[] = { &t->values, &t->gradient, &t->moment1, &t->moment2 };
    bool good = t->at && t->layers && t->memory;
    for (int i = 0; i < 4; i++)
        good &= (*arrays[i] = cpu_aligned_zeroed(t->n_values * sizeof(float))) != NULL;
    if (!good)
        st = rm_fail(err, RM_E_MEMORY, "no memory to train %zu parameters", t->n_values);
    else
        st = make_chunks(t, err);
    if (st) {
        rm_trainer_free(t);
        return st;
    }
    trainer_offsets(shape, &t->embedding, &t->out_norm, &t->output, t->at);
    t->rope = (rm_rope){ .n_dims = shape->head_dim, .interleaved = true,
                         .theta = shape->rope_theta, .scale = 1 };
    *out = t;
    return RM_OK;
}

/* Standard normal (Box & Muller 1958) from 128 random bits. */
static double normal(uint64_t seed, uint64_t stream, uint32_t index)
{
    double u = rm_unit(rm_random(seed, stream, index, 0)),
           v = rm_unit(rm_random(seed, stream, index, 1));
    double sine, cosine;
    rm_sincos(6.283185307179586 * v, &sine, &cosine);
    return __builtin_sqrt(-2.0 * rm_log(u)) * cosine;
}

static void draw_weights(rm_trainer *t, uint64_t seed)
{
    rm_parameter p;
    double residual = 0.02 / __builtin_sqrt(2.0 * t->shape.n_layers);
    for (int i = 0; rm_shape_parameter(&t->shape, i, &p); i++) {
        bool writes = strstr(p.name, "attn_output") || strstr(p.name, "ffn_down");
        double deviation = writes ? residual : 0.02;
        uint64_t stream = rm_hash_bytes(p.name, strlen(p.name));
        size_t n = (p.n_out ? p.n_out : 1) * p.n_in;
        for (size_t k = 0; k < n; k++)
            t->values[p.offset + k] =
                p.n_out ? (float)(deviation * normal(seed, stream, (uint32_t)k)) : 1.0f;
    }
}

static rm_status copy_vocabulary(rm_trainer *t, const rm_vocabulary *v, rm_error *err)
{
    int n = v->n_special + (int)strlen(v->characters);
    if (v->n_special < 2 || n > t->shape.n_vocab)
        return rm_fail(err, RM_E_ARGUMENT, "a vocabulary of %d special tokens and %zu characters "
                       "does not fit %d tokens; at least <bos> and <eos> are needed", v->n_special,
                       strlen(v->characters), t->shape.n_vocab);
    for (const char *c = v->characters; *c; c++)
        if (*c < ' ' || *c > '~' || strchr(c + 1, *c))
            return rm_fail(err, RM_E_ARGUMENT, "a vocabulary's characters are printable ASCII, "
                           "each once; \"%s\" is not", v->characters);
    t->special = calloc((size_t)v->n_special, sizeof *t->special);
    t->characters = strdup(v->characters);
    bool good = t->special && t->characters;
    for (int i = 0; good && i < v->n_special; i++)
        good = (t->special[i] = strdup(v->special[i])) != NULL;
    t->vocabulary.n_special = t->special ? v->n_special : 0;
    t->vocabulary.special = (const char *const *)t->special;
    t->vocabulary.characters = t->characters;
    return good ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for a vocabulary");
}

rm_status rm_trainer_new(rm_engine *engine, const rm_shape *shape, const rm_vocabulary *vocabulary,
                         uint64_t seed, rm_trainer **out, rm_error *err)
{
    rm_trainer *t = NULL;
    rm_status st = trainer_alloc(engine, shape, &t, err);
    if (!st)
        st = copy_vocabulary(t, vocabulary, err);
    if (st) {
        rm_trainer_free(t);
        return st;
    }
    draw_weights(t, seed);
    *out = t;
    return RM_OK;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static void free_tensors(rm_trainer *t)
{
    rm_tensor **ends[] = { &t->x, &t->norm, &t->logits, &t->dx, &t->d_norm, &t->d_qkv,
                           &t->d_attended, &t->d_gate_up, &t->d_hidden, &t->d_logits };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        t->ops->tensor_free(t->backend, *ends[i]);
        *ends[i] = NULL;
    }
    for (int l = 0; t->memory && l < t->shape.n_layers; l++) {
        layer_memory *y = &t->memory[l];
        rm_tensor *all[] = { y->x, y->norm, y->qkv, y->attended, y->middle, y->norm2, y->gate_up,
                             y->hidden };
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            t->ops->tensor_free(t->backend, all[i]);
        *y = (layer_memory){ 0 };
    }
    void *arrays[] = { t->token, t->position, t->seq, t->target, t->ascending, t->page, t->pages,
                       t->first, t->length, t->slope, t->r, t->lse, t->entropy };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
    t->token = t->position = t->seq = t->target = t->ascending = t->page = NULL;
    t->pages = NULL;
    t->first = t->length = NULL;
    t->slope = t->r = NULL;
    t->lse = t->entropy = NULL;
    t->rows = 0;
}

static rm_status new_tensors(rm_trainer *t, size_t R, rm_error *err)
{
    const rm_shape *s = &t->shape;
    size_t D = (size_t)s->n_embd, F = (size_t)s->n_ff, C = (size_t)s->head_dim;
    size_t q = (size_t)s->n_heads * C, stacked = q + 2 * (size_t)s->n_kv_heads * C;
    const struct {
        rm_tensor **tensor;
        size_t width;
    } ends[] = { { &t->x, D },          { &t->norm, D },       { &t->logits, (size_t)s->n_vocab },
                 { &t->dx, D },         { &t->d_norm, D },     { &t->d_qkv, stacked },
                 { &t->d_attended, q }, { &t->d_gate_up, 2 * F }, { &t->d_hidden, F },
                 { &t->d_logits, (size_t)s->n_vocab } };
    rm_status st = RM_OK;
    for (size_t i = 0; !st && i < sizeof ends / sizeof *ends; i++)
        st = t->ops->tensor_new(t->backend, R, ends[i].width, ends[i].tensor, err);
    for (int l = 0; !st && l < s->n_layers; l++) {
        layer_memory *y = &t->memory[l];
        const struct {
            rm_tensor **tensor;
            size_t width;
        } all[] = { { &y->x, D },           { &y->norm, D },   { &y->qkv, stacked },
                    { &y->attended, q },    { &y->middle, D }, { &y->norm2, D },
                    { &y->gate_up, 2 * F }, { &y->hidden, F } };
        for (size_t i = 0; !st && i < sizeof all / sizeof *all; i++)
            st = t->ops->tensor_new(t->backend, R, all[i].width, all[i].tensor, err);
    }
    return st;
}

rm_status trainer_need_rows(rm_trainer *t, int rows, rm_error *err)
{
    rm_status st = RM_OK;
    if (!t->kv) {
        rm_kv_shape shape = { .n_layers = t->shape.n_layers, .n_kv_heads = t->shape.n_kv_heads,
                              .head_dim = t->shape.head_dim, .page_positions = TRAIN_PAGE,
                              .type = RM_F32 };
        st = t->ops->kv_new(t->backend, &shape, &t->rope, t->shape.n_ctx, &t->kv, err);
    }
    if (st || rows <= t->rows)
        return st;
    free_tensors(t);
    size_t R = (size_t)rows;
    /* a document of n rows takes n / 64 pages, rounded up; documents have at least one row */
    size_t n_pages = R;
    int32_t **words[] = { &t->token, &t->position, &t->seq, &t->target, &t->ascending };
    bool good = true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        good &= (*words[i] = calloc(R, sizeof **words[i])) != NULL;
    good &= (t->page = calloc(n_pages, sizeof *t->page)) != NULL;
    good &= (t->pages = calloc(R, sizeof *t->pages)) != NULL;
    good &= (t->first = calloc(R, sizeof *t->first)) != NULL;
    good &= (t->length = calloc(R, sizeof *t->length)) != NULL;
    good &= (t->slope = calloc(R, sizeof *t->slope)) != NULL;
    good &= (t->r = calloc(R, sizeof *t->r)) != NULL;
    good &= (t->lse = calloc(R, sizeof *t->lse)) != NULL;
    good &= (t->entropy = calloc(R, sizeof *t->entropy)) != NULL;
    st = good ? new_tensors(t, R, err)
              : rm_fail(err, RM_E_MEMORY, "no memory to train on %d rows", rows);
    if (st) {
        free_tensors(t);
        return st;
    }
    for (int i = 0; i < rows; i++)
        t->ascending[i] = t->page[i] = i;
    t->rows = rows;
    return RM_OK;
}

/* ---- packed weights -------------------------------------------------------------------------- */

void free_packed(const rm_ops *ops, rm_backend *b, int n_layers, rm_layer *layers, rm_weight *table,
                 rm_weight *out_norm, rm_weight *output)
{
    for (int l = 0; layers && l < n_layers; l++) {
        rm_layer *y = &layers[l];
        rm_weight *all[] = { y->attn_norm, y->qkv, y->attn_out, y->ffn_norm, y->gate_up, y->down };
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            ops->weight_free(b, all[i]);
        *y = (rm_layer){ 0 };
    }
    ops->weight_free(b, table);
    ops->weight_free(b, out_norm);
    ops->weight_free(b, output);
}

rm_status pack_values(const rm_ops *ops, rm_backend *b, const rm_shape *s, const float *values,
                      rm_compute compute, bool gated, rm_layer *layers, rm_weight **table,
                      rm_weight **out_norm, rm_weight **output, rm_error *err)
{
    size_t D = (size_t)s->n_embd, F = (size_t)s->n_ff, C = (size_t)s->head_dim;
    size_t V = (size_t)s->n_vocab, q = (size_t)s->n_heads * C;
    size_t stacked = q + 2 * (size_t)s->n_kv_heads * C, at_embedding, at_norm, at_output;
    layer_offsets *at = calloc((size_t)s->n_layers, sizeof *at);
    if (!at)
        return rm_fail(err, RM_E_MEMORY, "no memory to pack weights");
    trainer_offsets(s, &at_embedding, &at_norm, &at_output, at);
    rm_matrix embedding = { RM_F32, values + at_embedding, V, D };
    rm_matrix last = { RM_F32, values + at_output, V, D };
    rm_status st = ops->table_new(b, &embedding, table, err);
    if (!st)
        st = ops->vector_new(b, values + at_norm, D, out_norm, err);
    if (!st)
        st = ops->weight_new(b, &last, NULL, 1, compute, output, err);
    for (int l = 0; !st && l < s->n_layers; l++) {
        rm_layer *y = &layers[l];
        rm_matrix qkv = { RM_F32, values + at[l].qkv, stacked, D };
        rm_matrix out = { RM_F32, values + at[l].attn_out, D, q };
        rm_matrix both = { RM_F32, values + at[l].gate_up, 2 * F, D };
        rm_matrix gate = { RM_F32, values + at[l].gate_up, F, D };
        rm_matrix up = { RM_F32, values + at[l].gate_up + F * D, F, D };
        rm_matrix down = { RM_F32, values + at[l].down, D, F };
        if ((st = ops->vector_new(b, values + at[l].attn_norm, D, &y->attn_norm, err)) ||
            (st = ops->weight_new(b, &qkv, NULL, 1, compute, &y->qkv, err)) ||
            (st = ops->weight_new(b, &out, NULL, 1, compute, &y->attn_out, err)) ||
            (st = ops->vector_new(b, values + at[l].ffn_norm, D, &y->ffn_norm, err)) ||
            (st = ops->weight_new(b, &down, NULL, 1, compute, &y->down, err)))
            break;
        st = gated ? ops->weight_new_gated(b, &gate, &up, compute, &y->gate_up, err)
                   : ops->weight_new(b, &both, NULL, 1, compute, &y->gate_up, err);
    }
    free(at);
    return st;
}

static void drop_packed(rm_trainer *t)
{
    free_packed(t->ops, t->backend, t->shape.n_layers, t->layers, t->table, t->last_norm,
                t->logits_weight);
    t->table = t->last_norm = t->logits_weight = NULL;
    t->packed = false;
}

rm_status trainer_pack(rm_trainer *t, rm_error *err)
{
    if (t->packed)
        return RM_OK;
    drop_packed(t);
    rm_status st = pack_values(t->ops, t->backend, &t->shape, t->values, RM_COMPUTE_F32, false,
                               t->layers, &t->table, &t->last_norm, &t->logits_weight, err);
    t->packed = !st;
    return st;
}

/* ---- the rest -------------------------------------------------------------------------------- */

void rm_trainer_free(rm_trainer *t)
{
    if (!t)
        return;
    drop_packed(t);
    free_tensors(t);
    if (t->kv)
        t->ops->kv_free(t->backend, t->kv);
    rm_gguf_close(t->source);
    for (int i = 0; t->special && i < t->vocabulary.n_special; i++)
        free(t->special[i]);
    free(t->special);
    free(t->characters);
    free(t->values);
    free(t->gradient);
    free(t->moment1);
    free(t->moment2);
    free(t->at);
    free(t->layers);
    free(t->memory);
    free(t->ops_args);
    free(t->chunks);
    free(t->chunk_squares);
    free(t);
}

const rm_shape *rm_trainer_shape(const rm_trainer *t)
{
    return &t->shape;
}

size_t rm_trainer_memory(const rm_trainer *t)
{
    return 4 * t->n_values * sizeof(float);
}

float *rm_trainer_values(rm_trainer *t)
{
    t->packed = false; /* the caller may change them */
    return t->values;
}

const float *rm_trainer_gradient(const rm_trainer *t)
{
    return t->gradient;
}

uint64_t rm_trainer_step_count(const rm_trainer *t)
{
    return t->step;
}

rm_status rm_trainer_judge(rm_trainer *t, int32_t good, int32_t bad, rm_error *err)
{
    int n = t->shape.n_vocab;
    if (good < 0 || bad < 0 || good >= n || bad >= n || good == bad)
        return rm_fail(err, RM_E_ARGUMENT,
                       "tokens %d and %d cannot stand for good and bad; expected "
                       "two of 0 to %d",
                       good, bad, n - 1);
    t->good = good;
    t->bad = bad;
    return RM_OK;
}

void rm_trainer_clear(rm_trainer *t)
{
    memset(t->gradient, 0, t->n_values * sizeof *t->gradient);
}
