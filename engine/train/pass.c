/* pass.c - forward and backward over packed documents.
 *
 * The forward pass is forward.c's with everything kept that the backward pass asks for; the gate
 * is an operation of its own, because its gradient needs what goes in. The backward pass, from
 * the loss down, with dx the gradient by the residual stream:
 *
 *     d_norm = d_logits Wout                         dx = norm_back(d_norm)
 *     each layer, last first:
 *         d_hidden = dx Wdown;   d_gate_up = swiglu_back(d_hidden);   d_norm = d_gate_up Wgate_up
 *         dx += norm_back(d_norm)
 *         d_attended = dx Wo;    d_qkv = attention_back, rotated back;  d_norm = d_qkv Wqkv
 *         dx += norm_back(d_norm)
 *     d_embedding[token] += dx
 *
 * and for each product y = x W^T the weights' own gradient dW += dy^T x. Operations are enqueued on
 * the backend's workers like those of inference. */
#include "engine/train/trainer.h"

#include "engine/num.h"

#include <stdlib.h>
#include <string.h>

enum { TILE_ROWS = 48, GRADIENT_ROWS = 96, TERM_BLOCK = 128, CHEAP_ROWS = 32 };

/* The arguments of one operation; which are used, the tile functions say. */
struct train_op {
    const rm_trainer *t;
    const rm_tensor *x, *dy, *out;
    rm_tensor *dx;
    const float *w;
    float *dw;
    size_t n_out, n_in;
    float eps;
    int rows;
};

static const train_op *args_of(const op *o)
{
    return o->args;
}

static float *row_at(const rm_tensor *t, size_t row)
{
    return t->data + row * t->stride;
}

static size_t tiles_of(size_t n, size_t per_tile)
{
    return (n + per_tile - 1) / per_tile;
}

static void rows_at(const train_op *a, size_t tile, size_t per_tile, size_t *from, size_t *to)
{
    *from = tile * per_tile;
    *to = *from + per_tile < (size_t)a->rows ? *from + per_tile : (size_t)a->rows;
}

/* ---- tiles ----------------------------------------------------------------------------------- */

/* hidden = silu(gate) up */
static void tile_gate(const op *o, worker *w, size_t tile)
{
    const train_op *a = args_of(o);
    size_t r, end;
    (void)w;
    for (rows_at(a, tile, CHEAP_ROWS, &r, &end); r < end; r++)
        a->t->kernels->swiglu(row_at(a->dx, r), row_at(a->x, r), a->n_out);
}

static void tile_gate_back(const op *o, worker *w, size_t tile)
{
    const train_op *a = args_of(o);
    size_t r, end;
    (void)w;
    for (rows_at(a, tile, CHEAP_ROWS, &r, &end); r < end; r++)
        a->t->kernels->swiglu_back(row_at(a->dx, r), row_at(a->x, r), row_at(a->dy, r), a->n_out);
}

/* lse of each row of logits, by the kernels that picks use; of two of them when judging. */
static void tile_lse(const op *o, worker *w, size_t tile)
{
    const train_op *a = args_of(o);
    size_t r, end;
    for (rows_at(a, tile, CHEAP_ROWS, &r, &end); r < end; r++) {
        double max, sum;
        if (a->t->judging) {
            a->t->lse[r] = rm_log_add((double)row_at(a->x, r)[a->t->good],
                                      (double)row_at(a->x, r)[a->t->bad]);
            continue;
        }
        w->backend->isa->rows->max_sum(row_at(a->x, r), a->t->shape.n_vocab, &max, &sum);
        a->t->lse[r] = max + rm_log(sum);
    }
}

/* The gradient of the two logits of a verdict; returns the entropy. */
static double judge_back(const rm_trainer *t, float *d, const float *logits, size_t r)
{
    double lp[2] = { (double)logits[t->good] - t->lse[r], (double)logits[t->bad] - t->lse[r] };
    double slope = (double)t->slope[r], p = rm_exp(lp[0]), q = rm_exp(lp[1]);
    d[t->good] = (float)(slope * ((t->target[r] == t->good) - p));
    d[t->bad] = (float)(slope * ((t->target[r] == t->bad) - q));
    return -p * lp[0] - q * lp[1];
}

static void tile_loss_back(const op *o, worker *w, size_t tile)
{
    const train_op *a = args_of(o);
    const rm_trainer *t = a->t;
    size_t r, end;
    (void)w;
    for (rows_at(a, tile, CHEAP_ROWS, &r, &end); r < end; r++) {
        float *d = row_at(a->dx, r);
        if (t->target[r] < 0 || t->judging)
            memset(d, 0, a->dx->stride * sizeof *d);
        if (t->target[r] < 0)
            continue;
        if (t->judging)
            t->entropy[r] = judge_back(t, d, row_at(a->x, r), r);
        else
            t->entropy[r] = t->kernels->softmax_back(d, row_at(a->x, r), t->shape.n_vocab,
                                                     t->lse[r], t->target[r], t->slope[r]);
    }
}

/* dx = dy W: some rows by one group of columns. */
static void tile_input_gradient(const op *o, worker *w, size_t tile)
{
    const train_op *a = args_of(o);
    size_t row_tiles = tiles_of((size_t)a->rows, TILE_ROWS), column = tile / row_tiles * GROUP, r,
           end;
    (void)w;
    rows_at(a, tile % row_tiles, TILE_ROWS, &r, &end);
    multiply_args m = { .n_rows = end - r,
                        .n_columns = a->n_in - column < GROUP ? a->n_in - column : GROUP,
                        .n_terms = a->n_out,
                        .a = row_at(a->dy, r), .a_row = a->dy->stride, .a_step = 1,
                        .b = a->w + column, .b_row = a->n_in,
                        .c = row_at(a->dx, r) + column, .c_row = a->dx->stride };
    a->t->kernels->multiply(&m);
}

/* dW += dy^T x: some rows of dW by one group of its columns, over all rows of the batch in blocks
 * that stay in the first cache. */
static void tile_weight_gradient(const op *o, worker *w, size_t tile)
{
    const train_op *a = args_of(o);
    size_t row_tiles = tiles_of(a->n_out, GRADIENT_ROWS), column = tile / row_tiles * GROUP;
    size_t from = tile % row_tiles * GRADIENT_ROWS, left = a->n_out - from, R = (size_t)a->rows;
    (void)w;
    multiply_args m = { .n_rows = left < GRADIENT_ROWS ? left : GRADIENT_ROWS,
                        .n_columns = a->n_in - column < GROUP ? a->n_in - column : GROUP,
                        .a_row = 1, .a_step = a->dy->stride, .b_row = a->x->stride,
                        .c = a->dw + from * a->n_in + column, .c_row = a->n_in, .more = true };
    for (size_t r = 0; r < R; r += TERM_BLOCK) {
        m.n_terms = R - r < TERM_BLOCK ? R - r : TERM_BLOCK;
        m.a = row_at(a->dy, r) + from;
        m.b = row_at(a->x, r) + column;
        a->t->kernels->multiply(&m);
    }
}

/* dx += norm_back; leaves each row's r for the weights' gradient. */
static void tile_norm_back(const op *o, worker *w, size_t tile)
{
    const train_op *a = args_of(o);
    size_t r, end;
    (void)w;
    for (rows_at(a, tile, CHEAP_ROWS, &r, &end); r < end; r++)
        a->t->r[r] = a->t->kernels->norm_back(row_at(a->dx, r), row_at(a->dy, r), row_at(a->x, r),
                                              a->w, a->eps, a->n_in);
}

static void tile_norm_weight(const op *o, worker *w, size_t tile)
{
    const train_op *a = args_of(o);
    size_t column = tile * GROUP, n = a->n_in - column < GROUP ? a->n_in - column : GROUP;
    (void)w;
    a->t->kernels->norm_weight_back(a->dw + column, a->dy->data + column, a->x->data + column,
                                    a->x->stride, a->t->r, (size_t)a->rows, n);
}

/* One document under one kv head. */
static void tile_attention_back(const op *o, worker *w, size_t tile)
{
    const train_op *a = args_of(o);
    const rm_shape *s = &a->t->shape;
    size_t G = (size_t)s->n_kv_heads, C = (size_t)s->head_dim, q = (size_t)s->n_heads * C;
    size_t document = tile / G, g = tile % G, row = (size_t)a->t->first[document];
    size_t per_kv = (size_t)(s->n_heads / s->n_kv_heads);
    const float *x = row_at(a->x, row);
    float *d = row_at(a->dx, row);
    attention_back_args back = { .n_positions = a->t->length[document], .head_dim = s->head_dim,
                                 .n_queries = (int)per_kv,
                                 .q = x + g * per_kv * C, .k = x + q + g * C,
                                 .v = x + q + (G + g) * C, .stride = a->x->stride,
                                 .out = row_at(a->out, row) + g * per_kv * C,
                                 .d_out = row_at(a->dy, row) + g * per_kv * C,
                                 .out_stride = a->out->stride,
                                 .d_q = d + g * per_kv * C, .d_k = d + q + g * C,
                                 .d_v = d + q + (G + g) * C, .d_stride = a->dx->stride,
                                 .scratch = w->scratch };
    a->t->kernels->attention_back(&back);
}

/* Rotates the gradients of q and k back: a rotation's transpose turns the other way. */
static void tile_rope_back(const op *o, worker *w, size_t tile)
{
    const train_op *a = args_of(o);
    const rm_kv *kv = a->t->kv;
    const rm_shape *s = &a->t->shape;
    size_t r, end, n = (size_t)kv->rope_dims;
    float *backwards = w->scratch;
    for (rows_at(a, tile, CHEAP_ROWS, &r, &end); r < end; r++) {
        const float *cosine = kv->cosine + (size_t)a->t->position[r] * n;
        const float *sine = kv->sine + (size_t)a->t->position[r] * n;
        for (size_t i = 0; i < n; i++)
            backwards[i] = -sine[i];
        float *head = row_at(a->dx, r);
        for (int h = 0; h < s->n_heads + s->n_kv_heads; h++, head += s->head_dim)
            w->backend->isa->rope(head, cosine, backwards, kv->rope_dims, kv->interleaved);
    }
}

/* d_embedding[token] += dx, one group of columns, rows in order. */
static void tile_embedding_gradient(const op *o, worker *w, size_t tile)
{
    const train_op *a = args_of(o);
    size_t column = tile * GROUP, n = a->n_in - column < GROUP ? a->n_in - column : GROUP;
    (void)w;
    for (size_t r = 0; r < (size_t)a->rows; r++) {
        float *to = a->dw + (size_t)a->t->token[r] * a->n_in + column;
        const float *d = row_at(a->dy, r) + column;
        for (size_t i = 0; i < n; i++)
            to[i] += d[i];
    }
}

/* ---- enqueueing ------------------------------------------------------------------------------ */

static void add(rm_trainer *t, tile_fn *tile, size_t n_tiles, train_op a)
{
    assert(t->n_ops < t->ops_capacity);
    train_op *args = &t->ops_args[t->n_ops++];
    *args = a;
    args->t = t;
    args->rows = t->batch.n_rows;
    cpu_enqueue(t->backend, tile, n_tiles, args);
}

static void add_rows(rm_trainer *t, tile_fn *tile, train_op a)
{
    add(t, tile, tiles_of((size_t)t->batch.n_rows, CHEAP_ROWS), a);
}

static void enqueue_forward(rm_trainer *t)
{
    const rm_ops *ops = t->ops;
    rm_backend *b = t->backend;
    const rm_shape *s = &t->shape;
    float eps = (float)s->norm_eps;
    int R = t->batch.n_rows, H = s->n_heads, L = s->n_layers;

    ops->batch(b, t->kv, &t->batch);
    ops->embed(b, t->memory[0].x, t->table, t->token, R);
    for (int l = 0; l < L; l++) {
        const rm_layer *w = &t->layers[l];
        const layer_memory *y = &t->memory[l];
        rm_tensor *next = l + 1 < L ? t->memory[l + 1].x : t->x;
        ops->rms_norm(b, y->norm, y->x, w->attn_norm, eps, R);
        ops->matmul(b, y->qkv, y->norm, w->qkv, R);
        ops->rope_store(b, y->qkv, t->kv, l, H);
        ops->attention(b, y->attended, y->qkv, t->kv, l, H);
        ops->copy_rows(b, y->middle, t->ascending, y->x, t->ascending, R);
        ops->matmul_add(b, y->middle, y->attended, w->attn_out, R);
        ops->rms_norm(b, y->norm2, y->middle, w->ffn_norm, eps, R);
        ops->matmul(b, y->gate_up, y->norm2, w->gate_up, R);
        add_rows(t, tile_gate,
                 (train_op){ .dx = y->hidden, .x = y->gate_up, .n_out = (size_t)s->n_ff });
        ops->copy_rows(b, next, t->ascending, y->middle, t->ascending, R);
        ops->matmul_add(b, next, y->hidden, w->down, R);
    }
    ops->rms_norm(b, t->norm, t->x, t->last_norm, eps, R);
    ops->matmul(b, t->logits, t->norm, t->logits_weight, R);
    add_rows(t, tile_lse, (train_op){ .x = t->logits });
}

/* The gradients of y = x W^T, W being [n_out, n_in] at `offset`. */
static void enqueue_product_back(rm_trainer *t, rm_tensor *dx, const rm_tensor *dy,
                                 const rm_tensor *x, size_t offset, size_t n_out, size_t n_in)
{
    train_op a = { .dx = dx, .dy = dy, .x = x, .w = t->values + offset,
                   .dw = t->gradient + offset, .n_out = n_out, .n_in = n_in };
    size_t columns = tiles_of(n_in, GROUP);
    add(t, tile_input_gradient, columns * tiles_of((size_t)t->batch.n_rows, TILE_ROWS), a);
    add(t, tile_weight_gradient, columns * tiles_of(n_out, GRADIENT_ROWS), a);
}

/* dx += the gradient through the norm of x. */
static void enqueue_norm_back(rm_trainer *t, const rm_tensor *x, size_t offset)
{
    train_op a = { .dx = t->dx, .dy = t->d_norm, .x = x, .w = t->values + offset,
                   .dw = t->gradient + offset, .n_in = (size_t)t->shape.n_embd,
                   .eps = (float)t->shape.norm_eps };
    add_rows(t, tile_norm_back, a);
    add(t, tile_norm_weight, tiles_of(a.n_in, GROUP), a);
}

static void enqueue_attention_back(rm_trainer *t, const layer_memory *y)
{
    const rm_shape *s = &t->shape;
    int longest = 1;
    for (int d = 0; d < t->batch.n_seqs; d++)
        if (t->length[d] > longest)
            longest = t->length[d];
    size_t floats = attention_back_floats(longest, s->head_dim);
    if (floats < (size_t)t->kv->rope_dims)
        floats = (size_t)t->kv->rope_dims;
    cpu_need_scratch(t->backend, floats * sizeof(float));
    train_op a = { .dx = t->d_qkv, .dy = t->d_attended, .x = y->qkv, .out = y->attended };
    add(t, tile_attention_back, (size_t)t->batch.n_seqs * (size_t)s->n_kv_heads, a);
    add_rows(t, tile_rope_back, a);
}

static void enqueue_backward(rm_trainer *t)
{
    const rm_shape *s = &t->shape;
    size_t D = (size_t)s->n_embd, F = (size_t)s->n_ff, C = (size_t)s->head_dim;
    size_t q = (size_t)s->n_heads * C, stacked = q + 2 * (size_t)s->n_kv_heads * C;

    add_rows(t, tile_loss_back, (train_op){ .dx = t->d_logits, .x = t->logits });
    enqueue_product_back(t, t->d_norm, t->d_logits, t->norm, t->output, (size_t)s->n_vocab, D);
    memset(t->dx->data, 0, (size_t)t->batch.n_rows * t->dx->stride * sizeof(float));
    enqueue_norm_back(t, t->x, t->out_norm);
    for (int l = s->n_layers - 1; l >= 0; l--) {
        const layer_memory *y = &t->memory[l];
        const layer_offsets *at = &t->at[l];
        enqueue_product_back(t, t->d_hidden, t->dx, y->hidden, at->down, D, F);
        add_rows(t, tile_gate_back, (train_op){ .dx = t->d_gate_up, .x = y->gate_up,
                                                .dy = t->d_hidden, .n_out = F });
        enqueue_product_back(t, t->d_norm, t->d_gate_up, y->norm2, at->gate_up, 2 * F, D);
        enqueue_norm_back(t, y->middle, at->ffn_norm);
        enqueue_product_back(t, t->d_attended, t->dx, y->attended, at->attn_out, D, q);
        enqueue_attention_back(t, y);
        enqueue_product_back(t, t->d_norm, t->d_qkv, y->norm, at->qkv, stacked, D);
        enqueue_norm_back(t, y->x, at->attn_norm);
    }
    add(t, tile_embedding_gradient, tiles_of(D, GROUP),
        (train_op){ .dy = t->dx, .dw = t->gradient + t->embedding, .n_in = D });
}

/* ---- documents ------------------------------------------------------------------------------- */

static rm_status check_documents(const rm_trainer *t, const rm_document *documents, int n,
                                 rm_error *err)
{
    if (t->judging && t->good == t->bad)
        return rm_fail(err, RM_E_ARGUMENT, "the tokens that stand for good and bad are not chosen");
    for (int d = 0; d < n; d++) {
        const rm_document *doc = &documents[d];
        if (doc->n < 2 || doc->n > t->shape.n_ctx + 1)
            return rm_fail(err, RM_E_ARGUMENT, "document %d has %d tokens, expected 2 to %d", d,
                           doc->n, t->shape.n_ctx + 1);
        for (int i = 0; i < doc->n; i++) {
            if (t->judging && doc->weight[i] != 0.0f &&
                (!doc->target || (doc->target[i] != t->good && doc->target[i] != t->bad)))
                return rm_fail(err, RM_E_ARGUMENT, "document %d has no verdict at %d", d, i);
            const int32_t *lists[] = { doc->tokens, doc->target ? doc->target : doc->tokens };
            for (int k = 0; k < 2; k++)
                if (lists[k][i] < 0 || lists[k][i] >= t->shape.n_vocab)
                    return rm_fail(err, RM_E_ARGUMENT, "document %d has token %d at %d, expected 0 "
                                   "to %d", d, lists[k][i], i, t->shape.n_vocab - 1);
        }
    }
    return RM_OK;
}

static int32_t wanted(const rm_document *doc, int i)
{
    return doc->target ? doc->target[i] : doc->tokens[i];
}

/* Rows for as many documents as fit; returns how many. */
static int fill_batch(rm_trainer *t, const rm_document *documents, int n, size_t *n_pages)
{
    int rows = 0, d = 0;
    int32_t page = 0;
    for (; d < n; d++) {
        int m = documents[d].n - 1; /* the last token predicts nothing */
        if (rows + m > t->rows)
            break;
        t->first[d] = rows;
        t->length[d] = m;
        t->pages[d] = t->page + page;
        page += (m + TRAIN_PAGE - 1) / TRAIN_PAGE;
        for (int i = 0; i < m; i++, rows++) {
            t->token[rows] = documents[d].tokens[i];
            t->position[rows] = i;
            t->seq[rows] = d;
            t->target[rows] =
                documents[d].weight[i + 1] != 0.0f ? wanted(&documents[d], i + 1) : -1;
        }
    }
    *n_pages = (size_t)page;
    t->batch = (rm_batch){ .n_rows = rows, .n_seqs = d, .token = t->token, .position = t->position,
                           .seq = t->seq, .pages = t->pages };
    return d;
}

static double logit(const rm_trainer *t, size_t row, int32_t token)
{
    return (double)row_at(t->logits, row)[token];
}

/* After the forward pass: log-probabilities, the loss, and each row's slope. */
static void score_batch(rm_trainer *t, const rm_document *documents, int done,
                        const rm_objective *objective, double *const *lp, rm_train_sums *sums)
{
    for (int d = 0; d < t->batch.n_seqs; d++) {
        const rm_document *doc = &documents[d];
        if (lp)
            lp[done + d][0] = 0;
        for (int i = 0; i < t->length[d]; i++) {
            size_t r = (size_t)(t->first[d] + i);
            double p = logit(t, r, wanted(doc, i + 1)) - t->lse[r], weight = doc->weight[i + 1];
            if (lp)
                lp[done + d][i + 1] = p;
            if (t->target[r] < 0)
                continue;
            sums->loss -= weight * p;
            sums->weight += weight;
            sums->tokens++;
            if (!objective)
                continue;
            t->slope[r] = (float)(objective->slope
                                      ? objective->slope(objective->arg, done + d, i + 1, p)
                                      : -objective->scale * weight);
        }
    }
    sums->rows += (uint64_t)t->batch.n_rows;
}

static rm_status run_batch(rm_trainer *t, const rm_document *documents, int done,
                           const rm_objective *objective, double *const *lp, rm_train_sums *sums,
                           rm_error *err)
{
    t->n_ops = 0;
    enqueue_forward(t);
    rm_status st = t->ops->flush(t->backend, err);
    if (st)
        return st;
    score_batch(t, documents, done, objective, lp, sums);
    if (!objective)
        return RM_OK;
    t->n_ops = 0;
    enqueue_backward(t);
    st = t->ops->flush(t->backend, err);
    for (int r = 0; !st && r < t->batch.n_rows; r++)
        if (t->target[r] >= 0)
            sums->entropy += t->entropy[r];
    return st;
}

rm_status rm_trainer_pass(rm_trainer *t, const rm_document *documents, int n,
                          const rm_objective *objective, double *const *lp, rm_train_sums *out,
                          rm_error *err)
{
    rm_train_sums sums = { 0 };
    t->judging = objective && objective->judge;
    rm_status st = check_documents(t, documents, n, err);
    int rows = PASS_ROWS;
    for (int d = 0; d < n; d++)
        if (documents[d].n - 1 > rows)
            rows = documents[d].n - 1;
    if (!t->ops_args) {
        t->ops_capacity = 16 * t->shape.n_layers + 16;
        t->ops_args = calloc((size_t)t->ops_capacity, sizeof *t->ops_args);
        if (!t->ops_args)
            return rm_fail(err, RM_E_MEMORY, "no memory for a training pass");
    }
    if (st || (st = trainer_need_rows(t, rows, err)) || (st = trainer_pack(t, err)))
        return st;
    for (int done = 0; done < n && !st;) {
        size_t n_pages;
        int taken = fill_batch(t, documents + done, n - done, &n_pages);
        st = t->ops->kv_reserve(t->backend, t->kv, n_pages, err);
        if (!st)
            st = run_batch(t, documents + done, done, objective, lp, &sums, err);
        done += taken;
    }
    if (!st && out)
        *out = sums;
    return st;
}
