/* fake.h - a double of a backend for tests of the engine's bookkeeping.
 *
 * Its "model" is a hash: the logits of a row follow from the tokens at positions 0 .. the row's
 * own, as they are found in the KV pages. A wrong page, a missing copy, a lost or doubled
 * position, a stale tip: each changes the logits or trips a check. It loads any model file that
 * the engine can read and ignores its weights. Single-threaded; operations run when enqueued. */
#ifndef TESTS_ENGINE_FAKE_H
#define TESTS_ENGINE_FAKE_H

#include "engine/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the double saw, and what it shall do. */
static struct {
    uint64_t rows, batches, flushes, page_copies, output_rows;
    int most_rows;          /* in one batch */
    int fail_flush;         /* > 0: that many flushes from now one fails */
    long cells_missing;     /* attention met a position that nobody stored */
} fake;

static inline void fake_check(bool ok)
{
    if (!ok) {
        fputs("the engine asked something impossible of the backend\n", stderr);
        abort();
    }
}

struct rm_backend {
    int unused;
};
struct rm_weight {
    size_t n_out, bytes;
};
struct rm_tensor {
    size_t rows, width;
    uint64_t *tag;          /* [rows] what the row stands for */
    float *data;            /* [rows, width], logits only */
    bool of_ffn;
};
struct rm_kv {
    int page_positions;
    size_t page_bytes, n_pages;
    struct {
        int32_t token, position;
    } *cell;                /* [n_pages * page_positions] */
    rm_batch batch;
};

static uint64_t fake_history(uint64_t before, int32_t token)
{
    return rm_mix(before + 1, (uint64_t)token);
}

/* Logits in [-6, 6), the same on every machine. */
static float fake_logit(uint64_t history, int v)
{
    return (float)((double)(rm_mix(history, (uint64_t)v) >> 40) * 0x1p-24 * 12.0 - 6.0);
}

static bool fake_isa_available(const char *isa)
{
    return !strcmp(isa, "none");
}
static rm_status fake_open(const rm_backend_options *o, rm_backend **out, rm_error *err)
{
    (void)o;
    (void)err;
    *out = calloc(1, sizeof **out);
    memset(&fake, 0, sizeof fake);
    return RM_OK;
}
static void fake_close(rm_backend *b)
{
    free(b);
}
static const char *fake_isa(const rm_backend *b)
{
    (void)b;
    return "none";
}
static void fake_describe(const rm_backend *b, rm_text *text)
{
    (void)b;
    rm_text_puts(text, "a double");
}
static rm_weight *fake_weight(size_t n_out, size_t bytes)
{
    rm_weight *w = calloc(1, sizeof *w);
    w->n_out = n_out;
    w->bytes = bytes;
    return w;
}
static rm_status fake_weight_new(rm_backend *b, const rm_matrix *m, const float *const *bias, int n,
                                 rm_compute c, rm_weight **out, rm_error *err)
{
    (void)b, (void)bias, (void)c, (void)err;
    size_t rows = 0;
    for (int i = 0; i < n; i++)
        rows += m[i].n_out;
    *out = fake_weight(rows, rows * m[0].n_in);
    return RM_OK;
}
static rm_status fake_weight_gated(rm_backend *b, const rm_matrix *gate, const rm_matrix *up,
                                   rm_compute c, rm_weight **out, rm_error *err)
{
    (void)b, (void)c, (void)err;
    *out = fake_weight(gate->n_out + up->n_out, 2 * gate->n_out * gate->n_in);
    return RM_OK;
}
static rm_status fake_table_new(rm_backend *b, const rm_matrix *m, rm_weight **out, rm_error *err)
{
    (void)b, (void)err;
    *out = fake_weight(m->n_out, m->n_out * m->n_in);
    return RM_OK;
}
static rm_status fake_vector_new(rm_backend *b, const float *v, size_t n, rm_weight **out,
                                 rm_error *err)
{
    (void)b, (void)v, (void)err;
    *out = fake_weight(1, n);
    return RM_OK;
}
static void fake_weight_free(rm_backend *b, rm_weight *w)
{
    (void)b;
    free(w);
}
static size_t fake_weight_bytes(const rm_weight *w)
{
    return w->bytes;
}
static rm_status fake_tensor_new(rm_backend *b, size_t rows, size_t width, rm_tensor **out,
                                 rm_error *err)
{
    (void)b, (void)err;
    rm_tensor *t = calloc(1, sizeof *t);
    if (!t)
        return rm_fail(err, RM_E_MEMORY, "no memory for a tensor");
    t->rows = rows;
    t->width = width;
    t->tag = calloc(rows, sizeof *t->tag);
    t->data = calloc(rows * width, sizeof *t->data);
    if (!t->tag || !t->data) {
        free(t->tag);
        free(t->data);
        free(t);
        return rm_fail(err, RM_E_MEMORY, "no memory for a tensor");
    }
    *out = t;
    return RM_OK;
}
static void fake_tensor_free(rm_backend *b, rm_tensor *t)
{
    (void)b;
    free(t->tag);
    free(t->data);
    free(t);
}
static rm_status fake_kv_new(rm_backend *b, const rm_kv_shape *s, const rm_rope *r, int most,
                             rm_kv **out, rm_error *err)
{
    (void)b, (void)r, (void)most, (void)err;
    rm_kv *kv = calloc(1, sizeof *kv);
    kv->page_positions = s->page_positions;
    kv->page_bytes = 2 * sizeof(float) * (size_t)s->n_layers * (size_t)s->n_kv_heads *
                     (size_t)s->head_dim * (size_t)s->page_positions;
    *out = kv;
    return RM_OK;
}
static void fake_kv_free(rm_backend *b, rm_kv *kv)
{
    (void)b;
    free(kv->cell);
    free(kv);
}
static size_t fake_kv_page_bytes(const rm_kv *kv)
{
    return kv->page_bytes;
}
static rm_status fake_kv_reserve(rm_backend *b, rm_kv *kv, size_t n_pages, rm_error *err)
{
    (void)b, (void)err;
    fake_check(n_pages >= kv->n_pages);
    size_t cells = n_pages * (size_t)kv->page_positions;
    void *grown = realloc(kv->cell, cells * sizeof *kv->cell);
    if (!grown)
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu pages", n_pages);
    kv->cell = grown;
    for (size_t i = kv->n_pages * (size_t)kv->page_positions; i < cells; i++)
        kv->cell[i].position = -1;
    kv->n_pages = n_pages;
    return RM_OK;
}
static void fake_kv_copy_page(rm_backend *b, rm_kv *kv, int32_t to, int32_t from)
{
    (void)b;
    size_t n = (size_t)kv->page_positions;
    memcpy(&kv->cell[(size_t)to * n], &kv->cell[(size_t)from * n], n * sizeof *kv->cell);
    fake.page_copies++;
}
static void fake_batch(rm_backend *b, rm_kv *kv, const rm_batch *batch)
{
    (void)b;
    kv->batch = *batch;
    fake.rows += (uint64_t)batch->n_rows;
    fake.batches++;
    if (batch->n_rows > fake.most_rows)
        fake.most_rows = batch->n_rows;
    for (int r = 1; r < batch->n_rows; r++) /* rows of a sequence: together, ascending */
        fake_check(batch->seq[r] == batch->seq[r - 1]
                   ? batch->position[r] == batch->position[r - 1] + 1
                   : batch->seq[r] == batch->seq[r - 1] + 1);
}
static void fake_embed(rm_backend *b, rm_tensor *y, const rm_weight *w, const int32_t *token, int n)
{
    (void)b, (void)w;
    for (int r = 0; r < n; r++)
        y->tag[r] = (uint64_t)token[r];
}
static void fake_rms_norm(rm_backend *b, rm_tensor *y, const rm_tensor *x, const rm_weight *w,
                          float eps, int rows)
{
    (void)b, (void)w, (void)eps;
    fake_check((size_t)rows <= y->rows && (size_t)rows <= x->rows);
    for (int r = 0; r < rows; r++)
        y->tag[r] = x->tag[r];
}
static void fake_matmul(rm_backend *b, rm_tensor *y, const rm_tensor *x, const rm_weight *w,
                        int rows)
{
    (void)b;
    fake_check((size_t)rows <= y->rows && (size_t)rows <= x->rows);
    for (int r = 0; r < rows; r++) {
        y->tag[r] = x->tag[r];
        for (size_t v = 0; y->width == 32 && v < w->n_out; v++)
            y->data[(size_t)r * y->width + v] = fake_logit(x->tag[r], (int)v);
    }
    fake.output_rows += y->width == 32 ? (uint64_t)rows : 0;
}
static void fake_matmul_add(rm_backend *b, rm_tensor *y, const rm_tensor *x, const rm_weight *w,
                            int rows)
{
    (void)b, (void)w;
    for (int r = 0; r < rows && !x->of_ffn; r++)
        y->tag[r] = x->tag[r];
}
static void fake_swiglu(rm_backend *b, rm_tensor *y, const rm_tensor *x, const rm_weight *w,
                        int rows)
{
    (void)b, (void)x, (void)w, (void)rows;
    y->of_ffn = true;
}
static size_t fake_cell(const rm_kv *kv, int seq, int position)
{
    return (size_t)kv->batch.pages[seq][position / kv->page_positions] *
               (size_t)kv->page_positions + (size_t)(position % kv->page_positions);
}
static void fake_rope_store(rm_backend *b, rm_tensor *qkv, rm_kv *kv, int layer, int heads)
{
    (void)b, (void)heads;
    for (int r = 0; r < kv->batch.n_rows && layer == 0; r++) {
        size_t cell = fake_cell(kv, kv->batch.seq[r], kv->batch.position[r]);
        kv->cell[cell].token = (int32_t)qkv->tag[r];
        kv->cell[cell].position = kv->batch.position[r];
    }
}
static void fake_attention(rm_backend *b, rm_tensor *y, const rm_tensor *qkv, rm_kv *kv, int layer,
                           int heads)
{
    (void)b, (void)heads;
    for (int r = 0; r < kv->batch.n_rows; r++) {
        uint64_t history = 0;
        for (int p = 0; p <= kv->batch.position[r] && layer == 0; p++) {
            size_t cell = fake_cell(kv, kv->batch.seq[r], p);
            fake.cells_missing += kv->cell[cell].position != p;
            history = fake_history(history, kv->cell[cell].token);
        }
        y->tag[r] = layer == 0 ? history : qkv->tag[r];
    }
}
static void fake_copy_rows(rm_backend *b, rm_tensor *y, const int32_t *to, const rm_tensor *x,
                           const int32_t *from, int n)
{
    (void)b;
    for (int i = 0; i < n; i++) {
        fake_check((size_t)to[i] < y->rows && (size_t)from[i] < x->rows);
        y->tag[to[i]] = x->tag[from[i]];
    }
}
static void fake_pick(rm_backend *b, const rm_pick *picks, int n)
{
    (void)b;
    static _Alignas(64) char scratch[4096];
    for (int i = 0; i < n; i++) {
        const float *rows[RM_MAX_MEMBERS];
        for (int m = 0; m < picks[i].n_members; m++) {
            const rm_tensor *logits = picks[i].member[m].logits;
            rows[m] = logits->data + (size_t)picks[i].member[m].row * logits->width;
        }
        fake_check(rm_pick_scratch_bytes(picks[i].n_vocab) <= sizeof scratch);
        rm_pick_serve(&picks[i], rows, &rm_row_kernels_portable, scratch);
    }
}
static rm_status fake_flush(rm_backend *b, rm_error *err)
{
    (void)b;
    fake.flushes++;
    if (fake.fail_flush && --fake.fail_flush == 0)
        return rm_fail(err, RM_E_IO, "the double fails as it was told to");
    return RM_OK;
}

static const char *const fake_isas[] = { "none", NULL };
static const rm_ops fake_ops = {
    .name = "fake", .isa_names = fake_isas, .isa_available = fake_isa_available, .open = fake_open,
    .close = fake_close, .isa = fake_isa, .describe = fake_describe, .weight_new = fake_weight_new,
    .weight_new_gated = fake_weight_gated, .table_new = fake_table_new,
    .vector_new = fake_vector_new, .weight_free = fake_weight_free,
    .weight_bytes = fake_weight_bytes, .tensor_new = fake_tensor_new,
    .tensor_free = fake_tensor_free, .kv_new = fake_kv_new, .kv_free = fake_kv_free,
    .kv_page_bytes = fake_kv_page_bytes, .kv_reserve = fake_kv_reserve,
    .kv_copy_page = fake_kv_copy_page, .batch = fake_batch, .embed = fake_embed,
    .rms_norm = fake_rms_norm, .matmul = fake_matmul, .matmul_add = fake_matmul_add,
    .swiglu = fake_swiglu, .rope_store = fake_rope_store, .attention = fake_attention,
    .copy_rows = fake_copy_rows, .pick = fake_pick, .flush = fake_flush,
};

#endif
