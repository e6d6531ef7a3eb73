/* shape.c - what a trainable llama may look like, and the one order of its parameters. */
#include "engine/train/trainer.h"

#include <stdio.h>
#include <string.h>

static rm_status check_count(const char *what, int value, int low, int high, int multiple,
                             rm_error *err)
{
    if (value < low || value > high)
        return rm_fail(err, RM_E_ARGUMENT, "model shape: %s is %d, expected %d to %d", what, value,
                       low, high);
    if (value % multiple)
        return rm_fail(err, RM_E_ARGUMENT, "model shape: %s is %d, expected a multiple of %d", what,
                       value, multiple);
    return RM_OK;
}

rm_status rm_shape_check(const rm_shape *s, rm_error *err)
{
    rm_status st;
    if ((st = check_count("n_layers", s->n_layers, 1, 1024, 1, err)) ||
        (st = check_count("n_embd", s->n_embd, LANES, 16384, LANES, err)) ||
        (st = check_count("n_heads", s->n_heads, 1, 1024, 1, err)) ||
        (st = check_count("n_kv_heads", s->n_kv_heads, 1, 1024, 1, err)) ||
        (st = check_count("head_dim", s->head_dim, LANES, 1024, LANES, err)) ||
        (st = check_count("n_ff", s->n_ff, LANES, 65536, LANES, err)) ||
        (st = check_count("n_vocab", s->n_vocab, 4, 1 << 20, 1, err)) ||
        (st = check_count("n_ctx", s->n_ctx, 8, 1 << 20, 1, err)))
        return st;
    if (s->n_heads % s->n_kv_heads)
        return rm_fail(err, RM_E_ARGUMENT,
                       "model shape: %d heads cannot share %d key/value heads evenly", s->n_heads,
                       s->n_kv_heads);
    if (!(s->rope_theta >= 1 && s->rope_theta <= 1e15))
        return rm_fail(err, RM_E_ARGUMENT, "model shape: rope_theta is %g, expected 1 to 1e15",
                       s->rope_theta);
    if (!(s->norm_eps >= 1e-30 && s->norm_eps <= 1))
        return rm_fail(err, RM_E_ARGUMENT, "model shape: norm_eps is %g, expected 1e-30 to 1",
                       s->norm_eps);
    if (rm_shape_parameters(s) > (size_t)1 << 33)
        return rm_fail(err, RM_E_ARGUMENT, "model shape: %zu parameters, expected at most 2^33",
                       rm_shape_parameters(s));
    return RM_OK;
}

/* ---- the order of parameters ----------------------------------------------------------------- */

typedef struct part {
    const char *name;
    size_t n_out, n_in;
} part;

enum { LAYER_PARTS = 9, MAX_ENDS = 3 };

static int ends_of(const rm_shape *s, part ends[MAX_ENDS])
{
    size_t V = (size_t)s->n_vocab, D = (size_t)s->n_embd;
    ends[0] = (part){ "token_embd", V, D };
    ends[1] = (part){ "output_norm", 0, D };
    ends[2] = (part){ "output", V, D };
    return s->tied ? 2 : 3;
}

static void parts_of(const rm_shape *s, part layer[LAYER_PARTS])
{
    size_t D = (size_t)s->n_embd, F = (size_t)s->n_ff, C = (size_t)s->head_dim;
    size_t q = (size_t)s->n_heads * C, kv = (size_t)s->n_kv_heads * C;
    const part all[LAYER_PARTS] = {
        { "attn_norm", 0, D }, { "attn_q", q, D },      { "attn_k", kv, D },
        { "attn_v", kv, D },   { "attn_output", D, q }, { "ffn_norm", 0, D },
        { "ffn_gate", F, D },  { "ffn_up", F, D },      { "ffn_down", D, F },
    };
    memcpy(layer, all, sizeof all);
}

static size_t size_of(part p)
{
    return (p.n_out ? p.n_out : 1) * p.n_in;
}

bool rm_shape_parameter(const rm_shape *s, int i, rm_parameter *out)
{
    part ends[MAX_ENDS], layer[LAYER_PARTS], p;
    int n_ends = ends_of(s, ends);
    parts_of(s, layer);
    if (i < 0 || i >= n_ends + s->n_layers * LAYER_PARTS)
        return false;
    size_t offset = 0, layer_size = 0;
    for (int e = 0; e < n_ends && e < i; e++)
        offset += size_of(ends[e]);
    for (int k = 0; k < LAYER_PARTS; k++)
        layer_size += size_of(layer[k]);
    if (i < n_ends) {
        p = ends[i];
        snprintf(out->name, sizeof out->name, "%s.weight", p.name);
    } else {
        int at = i - n_ends;
        offset += (size_t)(at / LAYER_PARTS) * layer_size;
        for (int k = 0; k < at % LAYER_PARTS; k++)
            offset += size_of(layer[k]);
        p = layer[at % LAYER_PARTS];
        snprintf(out->name, sizeof out->name, "blk.%d.%s.weight", at / LAYER_PARTS, p.name);
    }
    out->offset = offset;
    out->n_out = p.n_out;
    out->n_in = p.n_in;
    return true;
}

size_t trainer_offsets(const rm_shape *s, size_t *embedding, size_t *out_norm, size_t *output,
                       layer_offsets *layers)
{
    size_t V = (size_t)s->n_vocab, D = (size_t)s->n_embd, F = (size_t)s->n_ff;
    size_t C = (size_t)s->head_dim, q = (size_t)s->n_heads * C;
    size_t stacked = q + 2 * (size_t)s->n_kv_heads * C, at = 0;
    *embedding = at;
    at += V * D;
    *out_norm = at;
    at += D;
    *output = s->tied ? *embedding : at;
    at += s->tied ? 0 : V * D;
    for (int l = 0; l < s->n_layers; l++) {
        layer_offsets o = { .attn_norm = at };
        o.qkv = o.attn_norm + D;
        o.attn_out = o.qkv + stacked * D;
        o.ffn_norm = o.attn_out + D * q;
        o.gate_up = o.ffn_norm + D;
        o.down = o.gate_up + 2 * F * D;
        at = o.down + D * F;
        if (layers)
            layers[l] = o;
    }
    return at;
}

size_t rm_shape_parameters(const rm_shape *s)
{
    size_t embedding, out_norm, output;
    return trainer_offsets(s, &embedding, &out_norm, &output, NULL);
}
