/* cuda.c - the table of operations of a CUDA device: opening, tensors, enqueueing (cuda.h).
 *
 * Products of bf16 weights read their inputs rounded to bf16. The operation that writes a tensor
 * rounds it on the way if it is still in the program when a product wants it so, and where nobody
 * reads the f32 values before they are overwritten they are not written at all. */
#include "engine/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_OPS = 1024, MOST_ROWS = 1 << 16 };

static const char *const isa_names[] = { NULL };

static bool isa_available(const char *isa)
{
    (void)isa;
    return false;
}

/* ---- opening ---------------------------------------------------------------------------------------- */

static void backend_close(rm_backend *b)
{
    if (!b)
        return;
    if (b->stream)
        cudaStreamSynchronize(b->stream);
    cuda_graphs_free(b);
    cuda_library_close(b);
    cuda_energy_close(b);
    cuda_ahead_free(b);
    cuda_area_free(&b->upload);
    cuda_area_free(&b->result);
    for (int i = 0; i < 2; i++) {
        if (b->staging[i])
            cudaFreeHost(b->staging[i]);
        if (b->staged[i])
            cudaEventDestroy(b->staged[i]);
    }
    cuda_free(b->partial.data);
    cuda_free(b->slots.data);
    cuda_free(b->pick_slots.data);
    cuda_free(b->workspace.data);
    if (b->stream)
        cudaStreamDestroy(b->stream);
    free(b->ops);
    free(b->batches);
    free(b->plan_memory);
    free(b->picked);
    free(b);
}

/* The device, its name and what it can do. */
static rm_status find_device(rm_backend *b, rm_error *err)
{
    struct cudaDeviceProp p;
    int n = 0, driver = 0, code = (int)cudaGetDeviceCount(&n);
    if (code || n < 1) {
        cudaGetLastError();
        return rm_fail(err, RM_E_UNSUPPORTED, "no CUDA device can be used: %s",
                       code ? cudaGetErrorString((cudaError_t)code) : "the driver has none");
    }
    if (b->options.device >= n)
        return rm_fail(err, RM_E_ARGUMENT, "device %d; this machine has %d, counted from 0",
                       b->options.device, n);
    code = (int)cudaSetDevice(b->options.device);
    if (!code)
        code = (int)cudaGetDeviceProperties(&p, b->options.device);
    if (!code)
        code = (int)cudaDriverGetVersion(&driver);
    if (code)
        return CUDA_FAIL(err, code, "asking device %d what it is", b->options.device);
    if (p.major < 8)
        return rm_fail(err, RM_E_UNSUPPORTED, "device %d, %.60s, has compute capability %d.%d; 8.0 "
                       "or later was expected", b->options.device, p.name, p.major, p.minor);
    snprintf(b->name, sizeof b->name, "%.80s", p.name);
    snprintf(b->isa, sizeof b->isa, "sm_%d%d%s", p.major, p.minor, b->options.fast ? "-fast" : "");
    cudaDeviceGetPCIBusId(b->bus, sizeof b->bus, b->options.device);
    b->identity.memory_bytes = p.totalGlobalMem;
    b->identity.multiprocessors = p.multiProcessorCount;
    snprintf(b->identity.libraries, sizeof b->identity.libraries, "CUDA %d.%d, driver %d.%d",
             CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10, driver / 1000, driver % 1000 / 10);
    return RM_OK;
}

static rm_status backend_open(const rm_backend_options *options, rm_backend **out, rm_error *err)
{
    if (options->isa)
        return rm_fail(err, RM_E_ARGUMENT, "instruction set \"%s\"; backend \"cuda\" has none to "
                       "choose from", options->isa);
    if (options->max_rows < 1 || options->max_rows > MOST_ROWS)
        return rm_fail(err, RM_E_ARGUMENT, "batches of %d rows; 1 to %d were expected",
                       options->max_rows, MOST_ROWS);
    rm_backend *b = calloc(1, sizeof *b);
    if (!b)
        return rm_fail(err, RM_E_MEMORY, "no memory for a backend");
    b->options = *options;
    b->program = 1;
    rm_status st = find_device(b, err);
    if (!st) {
        int code = (int)cudaStreamCreateWithFlags(&b->stream, cudaStreamNonBlocking);
        if (code)
            st = CUDA_FAIL(err, code, "a stream on %s", b->name);
    }
    b->ops = st ? NULL : calloc(FIRST_OPS, sizeof *b->ops);
    b->op_capacity = FIRST_OPS;
    if (!st && !b->ops)
        st = rm_fail(err, RM_E_MEMORY, "no memory for a program of operations");
    if (st) {
        backend_close(b);
        return st;
    }
    cuda_library_open(b);
    cuda_energy_open(b);
    *out = b;
    return RM_OK;
}

static const char *backend_isa(const rm_backend *b)
{
    return b->isa;
}

static void describe(const rm_backend *b, rm_text *text)
{
    rm_text_printf(text, "%s, %s, %d multiprocessors, %s, %s products", b->name, b->isa,
                   b->identity.multiprocessors, b->identity.libraries,
                   b->options.fast ? "fast" : "exact");
}

static void identify(const rm_backend *b, rm_identity *identity)
{
    *identity = b->identity;
}

/* ---- tensors ------------------------------------------------------------------------------------------ */

static rm_status tensor_new(rm_backend *b, size_t rows, size_t width, rm_tensor **out,
                            rm_error *err)
{
    rm_tensor *t = calloc(1, sizeof *t);
    if (!t)
        return rm_fail(err, RM_E_MEMORY, "no memory for a tensor");
    rm_status st = RM_OK;
    void *data = NULL;
    if (!rows || !width || rows > MOST_ROWS * 16 || width > INT32_MAX / 16)
        st = rm_fail(err, RM_E_MEMORY, "no memory for a tensor of %zu by %zu", rows, width);
    t->rows = rows;
    t->allocated = st ? 0 : (size_t)cuda_bucket((int)rows);
    t->width = (int)width;
    t->stride = ((int)width + 15) / 16 * 16;
    t->rounded_stride = t->stride;
    char what[80];
    snprintf(what, sizeof what, "a tensor of %zu by %zu", rows, width);
    if (!st)
        st = cuda_alloc(b, t->allocated * (size_t)t->stride * sizeof(float), what, &data, err);
    t->data = data;
    if (st)
        free(t);
    else
        *out = t;
    return st;
}

static void tensor_free(rm_backend *b, rm_tensor *t)
{
    if (!t)
        return;
    cudaStreamSynchronize(b->stream);
    cuda_free(t->data);
    cuda_free(t->rounded);
    free(t);
}

/* ---- enqueueing ------------------------------------------------------------------------------------------ */

cuda_op *cuda_enqueue(rm_backend *b, op_kind kind)
{
    if (b->status)
        return NULL;
    if (b->n_ops == b->op_capacity) {
        size_t capacity = 2 * b->op_capacity;
        cuda_op *ops = realloc(b->ops, capacity * sizeof *ops);
        if (!ops) {
            b->status = rm_fail(&b->error, RM_E_MEMORY, "no memory for a program of %zu operations",
                                capacity);
            return NULL;
        }
        b->ops = ops;
        b->op_capacity = capacity;
    }
    cuda_op *o = &b->ops[b->n_ops++];
    memset(o, 0, sizeof *o); /* padding too: programs are compared byte by byte */
    o->kind = kind;
    return o;
}

void cuda_need(rm_backend *b, struct cuda_scratch *scratch, size_t bytes, const char *what)
{
    void *data = NULL;
    if (b->status || bytes <= scratch->bytes)
        return;
    bytes += bytes / 4;
    cudaStreamSynchronize(b->stream);
    cuda_graphs_free(b); /* they know where the old one lay */
    cuda_free(scratch->data);
    *scratch = (struct cuda_scratch){ 0 };
    b->status = cuda_alloc(b, bytes, what, &data, &b->error);
    if (!b->status)
        *scratch = (struct cuda_scratch){ data, bytes };
}

/* The operation in the open program that wrote `t`, or NULL. */
static cuda_op *writer_of(rm_backend *b, const rm_tensor *t)
{
    return t->program == b->program && t->writer < b->n_ops ? &b->ops[t->writer] : NULL;
}

static rm_rounded *rounded_of(cuda_op *o)
{
    switch (o->kind) {
    case OP_NORM:
        return &o->norm.rounded;
    case OP_PRODUCT:
    case OP_PRODUCT_F32:
    case OP_LIBRARY:
        return &o->product.rounded;
    case OP_FINISH:
        return &o->attend.rounded;
    default:
        return NULL;
    }
}

static int rows_of_op(const cuda_op *o)
{
    return o->kind == OP_NORM ? o->norm.rows : o->kind == OP_FINISH ? o->attend.row.rows
                                                                    : o->product.rows;
}

static void reads(rm_backend *b, const rm_tensor *t)
{
    cuda_op *writer = writer_of(b, t);
    if (writer)
        writer->f32_read = true;
}

/* `t` is written as a whole by the operation enqueued last: what was there before and only its
 * rounded copy read need not have been written. */
static void writes(rm_backend *b, rm_tensor *t)
{
    cuda_op *before = writer_of(b, t), *now = &b->ops[b->n_ops - 1];
    if (before && before != now && !before->f32_read && rounded_of(before) &&
        rounded_of(before)->to) {
        if (before->kind == OP_NORM)
            before->norm.y = NULL;
        else if (before->kind == OP_FINISH)
            before->attend.y = NULL;
        else if (before->product.mode != RM_PRODUCT_ADD)
            before->product.y = NULL;
    }
    t->program = b->program;
    t->writer = b->n_ops - 1;
    t->rounded_rows = 0;
}

/* The rounded copy of x, made by whoever writes x or by a launch of its own; NULL on failure. */
static const uint16_t *need_rounded(rm_backend *b, rm_tensor *x, int rows)
{
    if (x->rounded_rows >= rows)
        return x->rounded;
    if (!x->rounded) {
        void *data = NULL;
        b->status = cuda_alloc(b, x->allocated * (size_t)x->rounded_stride * sizeof(uint16_t),
                               "inputs of products", &data, &b->error);
        if (b->status)
            return NULL;
        x->rounded = data;
    }
    rm_rounded copy = { x->rounded, x->rounded_stride, RM_CUDA_BF16 };
    cuda_op *writer = writer_of(b, x);
    if (writer && rounded_of(writer) && rows_of_op(writer) >= rows) {
        *rounded_of(writer) = copy;
        x->rounded_rows = rows_of_op(writer);
        return x->rounded;
    }
    reads(b, x);
    cuda_op *o = cuda_enqueue(b, OP_ROUND);
    if (!o)
        return NULL;
    o->round = (rm_round_args){ copy, x->data, rows, x->width, x->stride };
    x->rounded_rows = rows;
    return x->rounded;
}

static void product(rm_backend *b, rm_tensor *y, const rm_tensor *in, const rm_weight *w, int rows,
                    int mode)
{
    rm_tensor *x = (rm_tensor *)in;
    assert(w->class == WEIGHT_MATRIX && w->gated == (mode == RM_PRODUCT_GATE) &&
           w->width == y->width && w->k == x->width && x != y);
    assert(rows >= 0 && (size_t)rows <= y->rows && (size_t)rows <= x->rows);
    if (rows < 1 || b->status)
        return;
    int padded = cuda_bucket(rows);
    const void *from = w->rounded ? (const void *)need_rounded(b, x, padded) : x->data;
    if (b->status)
        return;
    if (!w->rounded)
        reads(b, x);
    if (mode == RM_PRODUCT_ADD)
        reads(b, y);
    const void *algorithm = w->rounded ? cuda_library_algorithm(w, padded) : NULL;
    size_t floats = w->rounded ? rm_product_partial_floats(padded, w->n, w->k) : 0;
    if (algorithm && !floats)
        floats = (size_t)padded * (size_t)w->n;
    cuda_need(b, &b->partial, floats * sizeof(float), "sums of products");
    cuda_op *o = cuda_enqueue(b, !w->rounded ? OP_PRODUCT_F32 : algorithm ? OP_LIBRARY : OP_PRODUCT);
    if (!o)
        return;
    o->algorithm = algorithm;
    o->weight = algorithm ? w : NULL;
    o->product = (rm_product_args){ .y = y->data, .x = from, .w = w->data, .bias = w->bias,
                                    .w_type = w->type, .mode = mode, .rows = padded, .n = w->n,
                                    .k = w->k, .x_stride = w->rounded ? x->rounded_stride : x->stride,
                                    .w_stride = w->stride, .y_stride = y->stride };
    writes(b, y);
}

static void matmul(rm_backend *b, rm_tensor *y, const rm_tensor *x, const rm_weight *w, int rows)
{
    product(b, y, x, w, rows, RM_PRODUCT_STORE);
}

static void matmul_add(rm_backend *b, rm_tensor *y, const rm_tensor *x, const rm_weight *w,
                       int rows)
{
    product(b, y, x, w, rows, RM_PRODUCT_ADD);
}

static void swiglu(rm_backend *b, rm_tensor *y, const rm_tensor *x, const rm_weight *w, int rows)
{
    product(b, y, x, w, rows, RM_PRODUCT_GATE);
}

/* n indices padded with -1 to `padded`, on their way to the device. */
static const int32_t *put_indices(rm_backend *b, const int32_t *index, int n, int padded)
{
    cuda_piece piece = cuda_take(b, cuda_upload(b), (size_t)padded * sizeof *index);
    if (!piece.host)
        return NULL;
    memset(piece.host, -1, (size_t)padded * sizeof *index);
    memcpy(piece.host, index, (size_t)n * sizeof *index);
    return piece.device;
}

static void embed(rm_backend *b, rm_tensor *y, const rm_weight *table, const int32_t *token,
                  int rows)
{
    assert(table->class == WEIGHT_TABLE && table->k == y->width && (size_t)rows <= y->rows);
    if (rows < 1 || b->status)
        return;
    int padded = cuda_bucket(rows);
    const cuda_batch *batch = b->n_batches ? &b->batches[b->n_batches - 1] : NULL;
    const int32_t *at = batch && batch->token_host == token && batch->rows == rows
                            ? batch->token
                            : put_indices(b, token, rows, padded);
    cuda_op *o = cuda_enqueue(b, OP_EMBED);
    if (!o)
        return;
    o->embed = (rm_embed_args){ y->data, table->data, at, table->type, padded, y->width, y->stride };
    writes(b, y);
}

static void rms_norm(rm_backend *b, rm_tensor *y, const rm_tensor *x, const rm_weight *w, float eps,
                     int rows)
{
    assert(w->class == WEIGHT_VECTOR && w->width == y->width && x->width == y->width &&
           (size_t)rows <= y->rows);
    if (rows < 1 || b->status)
        return;
    reads(b, x);
    cuda_op *o = cuda_enqueue(b, OP_NORM);
    if (!o)
        return;
    o->norm = (rm_norm_args){ .y = y->data, .x = x->data, .w = w->data, .eps = eps,
                              .rows = cuda_bucket(rows), .width = y->width, .x_stride = x->stride,
                              .y_stride = y->stride };
    writes(b, y);
}

static void head_norm(rm_backend *b, rm_tensor *y, const rm_weight *w, float eps, int first, int n,
                      int rows)
{
    assert(w->class == WEIGHT_VECTOR && first >= 0 && (first + n) * w->width <= y->width &&
           (size_t)rows <= y->rows);
    if (rows < 1 || n < 1 || b->status)
        return;
    reads(b, y);
    cuda_op *o = cuda_enqueue(b, OP_HEAD_NORM);
    if (!o)
        return;
    o->head_norm = (rm_head_norm_args){ .y = y->data, .w = w->data, .eps = eps,
                                        .rows = cuda_bucket(rows), .stride = y->stride,
                                        .first = first, .n = n, .head_dim = w->width };
    writes(b, y);
}

static void copy_rows(rm_backend *b, rm_tensor *y, const int32_t *to, const rm_tensor *x,
                      const int32_t *from, int n)
{
    assert(x->width == y->width);
    if (n < 1 || b->status)
        return;
    int padded = cuda_bucket(n);
    const int32_t *to_at = put_indices(b, to, n, padded), *from_at = put_indices(b, from, n, padded);
    reads(b, x);
    reads(b, y); /* the rows that are not written stay */
    cuda_op *o = cuda_enqueue(b, OP_COPY_ROWS);
    if (!o)
        return;
    o->copy_rows = (rm_copy_rows_args){ .y = y->data, .x = x->data, .to = to_at, .from = from_at,
                                        .n = padded, .width = y->width, .y_stride = y->stride,
                                        .x_stride = x->stride };
    writes(b, y);
}

static cuda_batch *last_batch(rm_backend *b, const rm_kv *kv)
{
    cuda_batch *batch = &b->batches[b->n_batches - 1];
    assert(b->n_batches && batch->kv == kv);
    (void)kv;
    return batch;
}

static void rope_store(rm_backend *b, rm_tensor *qkv, rm_kv *kv, int layer, int n_heads)
{
    if (b->status)
        return;
    const cuda_batch *batch = last_batch(b, kv);
    assert(layer >= 0 && layer < kv->shape.n_layers);
    assert(qkv->width == (n_heads + 2 * kv->shape.n_kv_heads) * kv->shape.head_dim);
    reads(b, qkv);
    cuda_op *o = cuda_enqueue(b, OP_ROPE_STORE);
    if (!o)
        return;
    o->rope_store = (rm_rope_store_args){ .qkv = qkv->data, .row = batch->row,
                                          .kv = cuda_kv_view(batch), .cos_sin = kv->cos_sin,
                                          .rope_dims = kv->rope_dims,
                                          .interleaved = kv->interleaved, .n_heads = n_heads,
                                          .layer = layer, .qkv_stride = qkv->stride };
    writes(b, qkv);
}

static void attention(rm_backend *b, rm_tensor *y, const rm_tensor *qkv, rm_kv *kv, int layer,
                      int n_heads)
{
    if (b->status)
        return;
    cuda_batch *batch = last_batch(b, kv);
    assert(n_heads % kv->shape.n_kv_heads == 0 && y->width == n_heads * kv->shape.head_dim);
    cuda_batch_plan(b, batch, n_heads);
    reads(b, qkv);
    rm_attend_args args = { .y = y->data, .qkv = qkv->data, .row = batch->row,
                            .kv = cuda_kv_view(batch), .item = batch->partial,
                            .row_list = batch->row_list, .first_slot = batch->first_slot,
                            .n_items = batch->n_partial, .n_heads = n_heads, .layer = layer,
                            .qkv_stride = qkv->stride, .y_stride = y->stride };
    cuda_op *o = b->status || !batch->n_partial ? NULL : cuda_enqueue(b, OP_PARTIAL);
    if (o)
        o->attend = args;
    o = cuda_enqueue(b, OP_FINISH);
    if (!o)
        return;
    o->attend = args;
    o->attend.item = batch->finish;
    o->attend.n_items = batch->n_finish;
    writes(b, y);
}

const rm_ops rm_cuda_ops = {
    .name = "cuda",
    .isa_names = isa_names,
    .isa_available = isa_available,
    .widens_blocks = true,
    .open = backend_open,
    .close = backend_close,
    .isa = backend_isa,
    .describe = describe,
    .identify = identify,
    .energy = cuda_energy_joules,
    .weight_new = cuda_weight_new,
    .weight_new_gated = cuda_weight_new_gated,
    .table_new = cuda_table_new,
    .vector_new = cuda_vector_new,
    .weight_free = cuda_weight_free,
    .weight_bytes = cuda_weight_bytes,
    .tensor_new = tensor_new,
    .tensor_free = tensor_free,
    .kv_new = cuda_kv_new,
    .kv_free = cuda_kv_free,
    .kv_page_bytes = cuda_kv_page_bytes,
    .kv_reserve = cuda_kv_reserve,
    .kv_copy_page = cuda_kv_copy,
    .batch = cuda_batch_make,
    .embed = embed,
    .rms_norm = rms_norm,
    .matmul = matmul,
    .matmul_add = matmul_add,
    .swiglu = swiglu,
    .head_norm = head_norm,
    .rope_store = rope_store,
    .attention = attention,
    .copy_rows = copy_rows,
    .pick = cuda_picks,
    .flush = cuda_flush,
    .ahead = cuda_ahead_open,
    .ahead_take = cuda_ahead_take,
    .ahead_leave = cuda_ahead_leave,
};
