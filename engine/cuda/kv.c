/* kv.c - the pool of key/value pages and the batch: what the rows of a forward pass read of it.
 *
 * A page of an f32 or bf16 cache is one stretch of device memory, all layers in it (launch.h), so a
 * copied page is one copy. The rotary table is made once, for all positions a model has. */
#include "engine/cuda/cuda.h"
#include "engine/num.h"

#include <stdlib.h>
#include <string.h>

/* ---- pages --------------------------------------------------------------------------------------- */

/* The angles' frequencies as the CPU has them, in the same order of operations. */
static rm_status frequencies(const rm_rope *rope, int max_positions, double *frequency,
                             rm_error *err)
{
    for (int i = 0; i < rope->n_dims / 2; i++) {
        frequency[i] = rm_pow(rope->theta, -2.0 * i / rope->n_dims);
        if (rope->factors)
            frequency[i] /= (double)rope->factors[i];
        if (!((double)max_positions * rope->scale * frequency[i] < 0x1p30))
            return rm_fail(err, RM_E_FORMAT,
                           "rotary angles of up to %g (%d positions, scale %g, frequency %g); less "
                           "than 2^30 was expected",
                           (double)max_positions * rope->scale * frequency[i], max_positions,
                           rope->scale, frequency[i]);
    }
    return RM_OK;
}

static rm_status rope_new(rm_backend *b, rm_kv *kv, const rm_rope *rope, rm_error *err)
{
    int half = rope ? rope->n_dims / 2 : 0;
    void *table = NULL, *device = NULL;
    if (!rope || !rope->n_dims)
        return RM_OK;
    if (rope->n_dims < 0 || rope->n_dims % 2 || rope->n_dims > kv->shape.head_dim)
        return rm_fail(err, RM_E_FORMAT, "rotary embedding of %d dimensions in heads of %d; an even "
                       "number up to that was expected", rope->n_dims, kv->shape.head_dim);
    if (!(rope->theta > 0.0) || !(rope->theta < 1e300))
        return rm_fail(err, RM_E_FORMAT, "rotary frequency base %g; a positive number was expected",
                       rope->theta);
    double *frequency = calloc((size_t)half, sizeof *frequency);
    if (!frequency)
        return rm_fail(err, RM_E_MEMORY, "no memory for a rotary table");
    rm_status st = frequencies(rope, kv->max_positions, frequency, err);
    if (!st)
        st = cuda_alloc(b, (size_t)half * sizeof *frequency, "a rotary table", &device, err);
    if (!st)
        st = cuda_alloc(b, (size_t)kv->max_positions * (size_t)half * 2 * sizeof(float),
                        "a rotary table", &table, err);
    if (!st) {
        int code = (int)cudaMemcpyAsync(device, frequency, (size_t)half * sizeof *frequency,
                                        cudaMemcpyHostToDevice, b->stream);
        rm_rope_table_args args = { .cos_sin = table, .frequency = device, .scale = rope->scale,
                                    .magnitude = rope->magnitude > 0.0 ? rope->magnitude : 1.0,
                                    .from = 0, .to = kv->max_positions, .half = half };
        if (!code)
            code = rm_launch_rope_table(&args, b->stream);
        if (!code)
            code = (int)cudaStreamSynchronize(b->stream);
        if (code)
            st = CUDA_FAIL(err, code, "the rotary table of %d positions and %d dimensions",
                           kv->max_positions, rope->n_dims);
    }
    cuda_free(device);
    free(frequency);
    kv->cos_sin = table;
    kv->rope_dims = rope->n_dims;
    kv->interleaved = rope->interleaved;
    return st;
}

rm_status cuda_kv_new(rm_backend *b, const rm_kv_shape *shape, const rm_rope *rope,
                      int max_positions, rm_kv **out, rm_error *err)
{
    int P = shape->page_positions;
    if (P != 16 && P != 32 && P != 64)
        return rm_fail(err, RM_E_ARGUMENT, "%d positions in a page; 16, 32 or 64 were expected", P);
    if (shape->type != RM_F32 && shape->type != RM_BF16)
        return rm_fail(err, RM_E_ARGUMENT, "keys and values can be stored as f32 or bf16 only");
    if (shape->n_layers < 1 || shape->n_kv_heads < 1 || shape->head_dim < 1 || max_positions < 1 ||
        shape->window < 0 || shape->n_layers > 1 << 14 || shape->n_kv_heads > 1 << 14)
        return rm_fail(err, RM_E_ARGUMENT,
                       "a cache of %d layers, %d heads of %d for %d positions is impossible",
                       shape->n_layers, shape->n_kv_heads, shape->head_dim, max_positions);
    if (shape->head_dim > 256)
        return rm_fail(err, RM_E_UNSUPPORTED, "heads of %d dimensions; backend \"cuda\" computes "
                       "attention with at most 256", shape->head_dim);
    rm_kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return rm_fail(err, RM_E_MEMORY, "no memory for a cache");
    kv->shape = *shape;
    kv->max_positions = max_positions;
    kv->page_bytes =
        rm_kv_page_bytes(shape->n_layers, shape->n_kv_heads, shape->head_dim, P, (int)shape->type);
    rm_status st = rope_new(b, kv, rope, err);
    if (!st)
        st = cuda_span_reserve(b, b->identity.memory_bytes, &kv->pages, err);
    if (st) {
        cuda_kv_free(b, kv);
        return st;
    }
    *out = kv;
    return RM_OK;
}

void cuda_kv_free(rm_backend *b, rm_kv *kv)
{
    if (!kv)
        return;
    cuda_span_free(b, &kv->pages);
    cuda_free(kv->cos_sin);
    free(kv->copied);
    free(kv);
}

size_t cuda_kv_page_bytes(const rm_kv *kv)
{
    return kv->page_bytes;
}

rm_status cuda_kv_reserve(rm_backend *b, rm_kv *kv, size_t n_pages, rm_error *err)
{
    if (n_pages <= kv->n_pages)
        return RM_OK;
    if (n_pages > INT32_MAX || n_pages > SIZE_MAX / 2 / kv->page_bytes)
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu cache pages", n_pages);
    int32_t *copied = realloc(kv->copied, n_pages * sizeof *copied);
    if (!copied)
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu cache pages", n_pages);
    kv->copied = copied;
    rm_status st = cuda_span_grow(b, &kv->pages, n_pages * kv->page_bytes, err);
    if (st)
        return st;
    memset(copied + kv->n_pages, 0, (n_pages - kv->n_pages) * sizeof *copied);
    kv->n_pages = n_pages;
    return RM_OK;
}

/* ---- copies ---------------------------------------------------------------------------------------- */

enum { FIRST_PAIRS = 64 }; /* room of a copy launch; a fuller one is followed by another */

/* Copies follow one another in one launch while none touches a page that an earlier one wrote, or
 * writes one that an earlier one read. */
void cuda_kv_copy(rm_backend *b, rm_kv *kv, int32_t to, int32_t from)
{
    assert(to >= 0 && from >= 0 && (size_t)to < kv->n_pages && (size_t)from < kv->n_pages);
    if (b->status)
        return;
    cuda_op *o = b->n_ops ? &b->ops[b->n_ops - 1] : NULL;
    bool open = o && o->kind == OP_KV_COPY && o->kv_copy.base == kv->pages.base &&
                b->copy_used < FIRST_PAIRS && kv->copied[to] != kv->copy &&
                kv->copied[from] != kv->copy;
    if (!open) {
        cuda_piece pairs = cuda_take(b, cuda_upload(b), FIRST_PAIRS * 2 * sizeof(int32_t));
        o = cuda_enqueue(b, OP_KV_COPY);
        if (!o)
            return;
        memset(pairs.host, -1, FIRST_PAIRS * 2 * sizeof(int32_t));
        b->copy_pairs = pairs.host;
        b->copy_used = 0;
        o->kv_copy = (rm_kv_copy_args){ .base = kv->pages.base, .page_bytes = kv->page_bytes,
                                        .pair = pairs.device, .n = FIRST_PAIRS };
        kv->copy++;
    }
    int32_t *pair = b->copy_pairs + 2 * b->copy_used++;
    pair[0] = to;
    pair[1] = from;
    kv->copied[to] = kv->copied[from] = kv->copy;
}

/* ---- batches ---------------------------------------------------------------------------------------- */

static cuda_batch *add_batch(rm_backend *b)
{
    if (b->n_batches == b->batch_capacity) {
        int capacity = b->batch_capacity ? 2 * b->batch_capacity : 4;
        cuda_batch *batches = realloc(b->batches, (size_t)capacity * sizeof *batches);
        if (!batches) {
            b->status = rm_fail(&b->error, RM_E_MEMORY, "no memory for %d batches", capacity);
            return NULL;
        }
        b->batches = batches;
        b->batch_capacity = capacity;
    }
    cuda_batch *batch = &b->batches[b->n_batches++];
    *batch = (cuda_batch){ 0 };
    return batch;
}

/* The position that the page list of row r's sequence covers, if r is its last row. */
static int last_position(const rm_batch *source, int r)
{
    return source->position[r] + (source->ahead ? source->ahead[source->seq[r]] : 0);
}

/* Page tables side by side, their width a power of two: as a sequence grows its table keeps the
 * stride, and with it the program its bytes. */
static bool put_tables(rm_backend *b, cuda_batch *batch, const rm_batch *source)
{
    int P = batch->kv->shape.page_positions, most = 1, tables = cuda_bucket(source->n_seqs);
    for (int r = 0; r < source->n_rows; r++) {
        int last = last_position(source, r), n = last / P + 1;
        assert(source->position[r] >= 0 && last < batch->kv->max_positions);
        most = n > most ? n : most;
    }
    batch->table_stride = 8;
    while (batch->table_stride < most)
        batch->table_stride *= 2;
    size_t stride = (size_t)batch->table_stride;
    cuda_piece piece = cuda_take(b, cuda_upload(b), (size_t)tables * stride * sizeof(int32_t));
    if (b->status)
        return false;
    int32_t *to = piece.host;
    for (int r = 0; r < source->n_rows; r++) /* the last row of a sequence sees the most pages */
        if (r + 1 == source->n_rows || source->seq[r + 1] != source->seq[r])
            memcpy(to + (size_t)source->seq[r] * stride, source->pages[source->seq[r]],
                   ((size_t)(last_position(source, r) / P) + 1) * sizeof *to);
    batch->page_table = piece.device;
    return true;
}

void cuda_batch_make(rm_backend *b, rm_kv *kv, const rm_batch *source)
{
    cuda_batch *batch = b->status ? NULL : add_batch(b);
    if (!batch)
        return;
    int R = source->n_rows, padded = cuda_bucket(R);
    size_t n = (size_t)padded;
    batch->kv = kv;
    batch->source = source;
    batch->token_host = source->token;
    batch->rows = R;
    batch->padded = padded;
    cuda_piece piece = cuda_take(b, cuda_upload(b), 3 * n * sizeof(int32_t));
    if (b->status || !put_tables(b, batch, source))
        return;
    int32_t *token = piece.host, *position = token + n, *table = position + n;
    for (int r = 0; r < padded; r++) {
        token[r] = r < R ? source->token[r] : -1;
        position[r] = r < R ? source->position[r] : -1;
        table[r] = r < R ? source->seq[r] : 0;
    }
    int32_t *device = piece.device;
    batch->token = device;
    batch->row = (rm_row_view){ .position = device + n, .table = device + 2 * n, .rows = padded };
}

rm_kv_view cuda_kv_view(const cuda_batch *batch)
{
    const rm_kv *kv = batch->kv;
    return (rm_kv_view){ .base = kv->pages.base, .page_bytes = kv->page_bytes,
                         .type = (int)kv->shape.type, .n_kv_heads = kv->shape.n_kv_heads,
                         .head_dim = kv->shape.head_dim,
                         .page_positions = kv->shape.page_positions, .window = kv->shape.window,
                         .page_table = batch->page_table, .table_stride = batch->table_stride };
}

/* ---- the work list ------------------------------------------------------------------------------------ */

enum { MAX_SLOT_BYTES = 256 << 20, SLOTS_PER_ROW = 16 };

/* Items behind the real ones have no rows. */
static void pad_items(rm_attend_item *item, int n, int padded)
{
    for (int i = n; i < padded; i++)
        item[i] = (rm_attend_item){ 0 };
}

void cuda_batch_plan(rm_backend *b, cuda_batch *batch, int n_heads)
{
    if (batch->planned || b->status)
        return;
    const rm_kv *kv = batch->kv;
    int G = kv->shape.n_kv_heads, R = batch->rows, most = cuda_plan_items(R);
    size_t slot = rm_attend_slot_floats(n_heads, kv->shape.head_dim) * sizeof(float);
    size_t slots = (size_t)b->options.max_rows * SLOTS_PER_ROW;
    if (slots > MAX_SLOT_BYTES / slot)
        slots = MAX_SLOT_BYTES / slot;
    cuda_need(b, &b->slots, slots * slot, "attention");
    size_t rows = (size_t)batch->padded, items = (size_t)most;
    size_t ints = cuda_plan_scratch(R) + 2 * items * (sizeof(rm_attend_item) / sizeof(int32_t));
    if (b->plan_ints < ints) {
        size_t room = cuda_plan_scratch(b->options.max_rows) +
                      2 * (size_t)cuda_plan_items(b->options.max_rows) *
                          (sizeof(rm_attend_item) / sizeof(int32_t));
        room = room > ints ? room : ints;
        int32_t *memory = realloc(b->plan_memory, room * sizeof *memory);
        if (!memory) {
            b->status = rm_fail(&b->error, RM_E_MEMORY, "no memory for the plan of %d rows", R);
            return;
        }
        b->plan_memory = memory;
        b->plan_ints = room;
    }
    cuda_piece lists = cuda_take(b, cuda_upload(b), 2 * rows * sizeof(int32_t));
    if (b->status)
        return;
    rm_attend_item *scratch = (rm_attend_item *)(void *)(b->plan_memory + cuda_plan_scratch(R));
    cuda_plan plan = { .partial = scratch, .finish = scratch + items, .row_list = lists.host,
                       .first_slot = (int32_t *)lists.host + rows };
    memset(lists.host, 0, 2 * rows * sizeof(int32_t));
    cuda_plan_options options = { .page_positions = kv->shape.page_positions,
                                  .window = kv->shape.window,
                                  .item_rows = rm_attend_rows(n_heads / G), .n_heads_kv = G,
                                  .want_blocks = 2 * b->identity.multiprocessors,
                                  .max_slots = slots > INT32_MAX ? INT32_MAX : (int)slots,
                                  .max_items = most };
    cuda_plan_make(batch->source, &options, b->plan_memory, &plan);
    batch->n_partial = plan.n_partial ? cuda_bucket(plan.n_partial) : 0;
    batch->n_finish = cuda_bucket(plan.n_finish);
    cuda_piece partial = cuda_take(b, cuda_upload(b), (size_t)batch->n_partial * sizeof *scratch),
               finish = cuda_take(b, cuda_upload(b), (size_t)batch->n_finish * sizeof *scratch);
    if (b->status)
        return;
    memcpy(partial.host, plan.partial, (size_t)plan.n_partial * sizeof *scratch);
    memcpy(finish.host, plan.finish, (size_t)plan.n_finish * sizeof *scratch);
    pad_items(partial.host, plan.n_partial, batch->n_partial);
    pad_items(finish.host, plan.n_finish, batch->n_finish);
    batch->partial = partial.device;
    batch->finish = finish.device;
    batch->row_list = lists.device;
    batch->first_slot = (int32_t *)lists.device + rows;
    batch->planned = true;
}
