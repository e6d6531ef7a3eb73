/* cpu.c - the table of operations of the CPU: opening, tensors, enqueueing.
 *
 * Enqueueing appends to an array of operations; flush hands it to the executor. Products read
 * their inputs as f32, bf16 or int8 blocks: the copy is made once, by the very tiles that write
 * the tensor if they are still in the program (`emit`), else by an operation of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpu.h"

static const char *const isa_names[] = {
#if defined(__x86_64__)
    "avx512-bf16", "avx512", "avx2",
#endif
    "portable", NULL
};

static const cpu_isa *const isas[] = { /* in the order of isa_names */
#if defined(__x86_64__)
                                       &cpu_avx512_bf16, &cpu_avx512, &cpu_avx2,
#endif
                                       &cpu_portable
};

static const cpu_isa *find_isa(const char *name)
{
    for (int i = 0; isa_names[i]; i++)
        if (strcmp(isa_names[i], name) == 0)
            return isas[i];
    return NULL;
}

static bool isa_available(const char *name)
{
    const cpu_isa *isa = find_isa(name);
    return isa && isa->available();
}

/* The processor's own name, from /proc/cpuinfo. */
static void device_name(char *name, size_t size)
{
    snprintf(name, size, "%s", "unknown processor");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f)
        return;
    char line[256];
    while (fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        colon += 1 + (colon[1] == ' ');
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(name, size, "%s", colon);
        break;
    }
    fclose(f);
}

enum { FIRST_OPS = 512 }; /* room from the start; a model of 24 layers enqueues 200 */

/* ---- opening ------------------------------------------------------------------------------- */

static void set_scratch(rm_backend *b, char *all, size_t bytes)
{
    b->scratch_bytes = bytes;
    for (int i = 0; i < b->options.n_threads; i++)
        b->workers[i].scratch = all + (size_t)i * bytes;
}

/* Workers run only inside flush, so their scratch may move while operations are enqueued. */
static void need_scratch(rm_backend *b, size_t bytes)
{
    bytes = round_up(bytes, 4096);
    if (bytes <= b->scratch_bytes || b->status)
        return;
    char *all = cpu_aligned_zeroed(bytes * (size_t)b->options.n_threads);
    if (!all) {
        b->status =
            rm_fail(&b->error, RM_E_MEMORY, "no memory for %zu bytes of scratch per thread", bytes);
        return;
    }
    free(b->workers[0].scratch);
    set_scratch(b, all, bytes);
}

static void backend_close(rm_backend *b)
{
    if (!b)
        return;
    cpu_executor_free(b->executor);
    if (b->workers)
        free(b->workers[0].scratch);
    free(b->workers);
    free(b->ops);
    for (size_t i = 0; i < b->plan_capacity; i++) {
        if (!b->plans[i])
            continue;
        cpu_plan_free(b->plans[i]);
        free(b->plans[i]);
    }
    free(b->plans);
    free(b->partial);
    free(b);
}

static rm_status backend_open(const rm_backend_options *options, rm_backend **out, rm_error *err)
{
    const cpu_isa *isa = NULL;
    if (options->isa) {
        isa = find_isa(options->isa);
        if (!isa)
            return rm_fail(err, RM_E_ARGUMENT,
                           "instruction set \"%s\" is unknown; avx512-bf16, avx512, avx2 or "
                           "portable was expected",
                           options->isa);
        if (!isa->available())
            return rm_fail(err, RM_E_UNSUPPORTED, "this processor or system has no %s",
                           options->isa);
    } else {
        for (size_t i = 0; !isa; i++)
            if (isas[i]->available())
                isa = isas[i];
    }
    if (options->n_threads < 1 || options->n_threads > 1024)
        return rm_fail(err, RM_E_ARGUMENT, "%d threads; 1 to 1024 were expected",
                       options->n_threads);
    if (options->max_rows < 1 || options->max_rows > 1 << 20)
        return rm_fail(err, RM_E_ARGUMENT, "batches of %d rows; 1 to 1048576 were expected",
                       options->max_rows);

    rm_backend *b = calloc(1, sizeof *b);
    if (!b)
        return rm_fail(err, RM_E_MEMORY, "no memory for a backend");
    b->isa = isa;
    b->options = *options;
    b->program = 1;
    device_name(b->device, sizeof b->device);
    b->workers = calloc((size_t)options->n_threads, sizeof *b->workers);
    if (!b->workers) {
        backend_close(b);
        return rm_fail(err, RM_E_MEMORY, "no memory for %d workers", options->n_threads);
    }
    for (int i = 0; i < options->n_threads; i++) {
        b->workers[i].backend = b;
        b->workers[i].index = i;
    }
    need_scratch(b, 64 * 1024);
    b->op_capacity = FIRST_OPS;
    b->ops = malloc(b->op_capacity * sizeof *b->ops);
    if (!b->ops && !b->status)
        b->status = rm_fail(&b->error, RM_E_MEMORY, "no memory for a program of operations");
    rm_status st = b->status ? rm_fail(err, b->status, "%s", b->error.text)
                             : cpu_executor_new(b, err);
    if (st) {
        backend_close(b);
        return st;
    }
    *out = b;
    return RM_OK;
}

static const char *backend_isa(const rm_backend *b)
{
    return b->isa->name;
}

static void describe(const rm_backend *b, rm_text *text)
{
    rm_text_printf(text, "%s, %s, %d thread%s", b->device, b->isa->name, b->options.n_threads,
                   b->options.n_threads == 1 ? "" : "s");
}

/* ---- tensors ------------------------------------------------------------------------------- */

size_t cpu_input_stride(input_kind kind, size_t width)
{
    return kind == INPUT_Q8 ? (width + 31) / 32 * sizeof(q8_block) : round_up(width, 32) * 2;
}

static rm_status tensor_new(rm_backend *b, size_t rows, size_t width, rm_tensor **out,
                            rm_error *err)
{
    (void)b;
    rm_tensor *t = calloc(1, sizeof *t);
    if (!t)
        return rm_fail(err, RM_E_MEMORY, "no memory for a tensor");
    t->rows = rows;
    t->width = width;
    t->stride = round_up(width, LANES);
    if (!rows || !width || width > SIZE_MAX / 16 / rows ||
        !(t->data = cpu_lazy_zeroed(rows * t->stride * sizeof(float)))) {
        free(t);
        return rm_fail(err, RM_E_MEMORY, "no memory for a tensor of %zu by %zu", rows, width);
    }
    *out = t;
    return RM_OK;
}

static void tensor_free(rm_backend *b, rm_tensor *t)
{
    (void)b;
    if (!t)
        return;
    cpu_lazy_free(t->data);
    for (int i = 0; i < INPUT_KINDS; i++)
        cpu_lazy_free(t->input[i]);
    free(t);
}

/* ---- enqueueing ------------------------------------------------------------------------------ */

static op *enqueue(rm_backend *b, tile_fn *tile, size_t n_tiles)
{
    if (b->n_ops == b->op_capacity) {
        size_t capacity = 2 * b->op_capacity;
        op *ops = realloc(b->ops, capacity * sizeof *ops);
        if (ops) {
            b->ops = ops;
            b->op_capacity = capacity;
        } else { /* the program is lost; flush says so */
            b->status = rm_fail(&b->error, RM_E_MEMORY, "no memory for a program of %zu operations",
                                capacity);
            b->n_ops = 0;
        }
    }
    op *o = &b->ops[b->n_ops++];
    *o = (op){ .tile = tile, .n_tiles = n_tiles };
    return o;
}

op *cpu_enqueue(rm_backend *b, tile_fn *tile, size_t n_tiles, const void *args)
{
    if (b->status)
        return NULL;
    op *o = enqueue(b, tile, n_tiles);
    o->args = args;
    return o;
}

void cpu_run_tiles(rm_backend *b, tile_fn *tile, size_t n_tiles, const void *args)
{
    op o = { .tile = tile, .n_tiles = n_tiles, .args = args };
    cpu_executor_run(b->executor, &o, 1);
}

void cpu_need_scratch(rm_backend *b, size_t bytes)
{
    need_scratch(b, bytes);
}

/* Cuts `rows` into tiles of about `work` units of which a row has `per_row`. */
static void cut_rows(op *o, int rows, size_t per_row, size_t work)
{
    size_t per_tile = per_row ? work / per_row : 1;
    o->rows = rows;
    o->rows_per_tile = per_tile < 1 ? 1 : per_tile > (size_t)rows ? rows : (int)per_tile;
    if (o->rows_per_tile < 1)
        o->rows_per_tile = 1;
    o->n_row_tiles = (rows + o->rows_per_tile - 1) / o->rows_per_tile;
    o->n_tiles = (size_t)o->n_row_tiles;
}

enum { SMALL_WORK = 16384 }; /* values a tile of a cheap operation handles */

/* `y` is what operation `o` writes. */
static void writes(rm_backend *b, op *o, rm_tensor *y)
{
    o->y = y;
    memset(y->current, 0, sizeof y->current);
    y->program = b->program;
    y->writer = (size_t)(o - b->ops);
}

/* Whether the tiles of the operation can write the copy of what they computed: its pieces must
 * begin at multiples of the copy's unit. */
static bool can_emit(const op *o, input_kind kind)
{
    if (o->emit)
        return o->emit == kind;
    if (o->tile == tile_product && o->w->n_parts > 1)
        return false; /* the groups of a part begin anywhere */
    if (o->tile == tile_norm || o->tile == tile_product)
        return true;
    if (o->tile != tile_attention && o->tile != tile_merge)
        return false;
    size_t piece = o->y->width / (size_t)o->kv->shape.n_kv_heads;
    return piece % (kind == INPUT_Q8 ? 32 : LANES) == 0;
}

/* Sees to it that the first `rows` rows of x exist as inputs of `kind` before the next op. */
static void need_input(rm_backend *b, rm_tensor *x, input_kind kind, int rows)
{
    if (kind == INPUT_F32 || x->current[kind] >= rows)
        return;
    if (!x->input[kind]) {
        x->input[kind] = cpu_lazy_zeroed(x->rows * cpu_input_stride(kind, x->width));
        if (!x->input[kind]) {
            b->status = rm_fail(&b->error, RM_E_MEMORY, "no memory for the inputs of a product");
            return;
        }
    }
    op *writer = x->program == b->program && x->writer < b->n_ops ? &b->ops[x->writer] : NULL;
    if (writer && writer->rows >= rows && can_emit(writer, kind)) {
        writer->emit = kind;
        x->current[kind] = writer->rows;
        return;
    }
    x->current[kind] = rows;
    op *o = enqueue(b, tile_convert, 1);
    cut_rows(o, rows, x->width, SMALL_WORK);
    o->y = x;
    o->emit = kind;
}

static void product(rm_backend *b, rm_tensor *y, const rm_tensor *x, const rm_weight *w, int rows,
                    epilogue e)
{
    assert(w->class == WEIGHT_PANELS && w->gated == (e == GATE) && w->n == y->width &&
           w->k == x->width);
    assert(rows >= 0 && (size_t)rows <= y->rows && (size_t)rows <= x->rows && x != y);
    if (rows < 1 || b->status)
        return;
    need_input(b, (rm_tensor *)x, w->input, rows);
    need_scratch(b, w->source  ? cpu_expand_scratch_bytes(w)
                    : w->parts ? cpu_packed_scratch_bytes()
                               : ROW_BLOCK * GROUP * sizeof(float));
    op *o = enqueue(b, tile_product, 1);
    o->rows = rows;
    o->n_row_tiles = (rows + ROW_BLOCK - 1) / ROW_BLOCK;
    o->rows_per_tile = (rows + o->n_row_tiles - 1) / o->n_row_tiles;
    if (o->n_row_tiles > 1)
        o->rows_per_tile = (int)round_up((size_t)o->rows_per_tile, 6);
    o->n_row_tiles = (rows + o->rows_per_tile - 1) / o->rows_per_tile;
    o->n_tiles = (size_t)o->n_row_tiles * w->n_groups;
    o->x = x;
    o->w = w;
    o->epilogue = e;
    writes(b, o, y);
}

static void matmul(rm_backend *b, rm_tensor *y, const rm_tensor *x, const rm_weight *w, int rows)
{
    product(b, y, x, w, rows, STORE);
}

static void matmul_add(rm_backend *b, rm_tensor *y, const rm_tensor *x, const rm_weight *w,
                       int rows)
{
    product(b, y, x, w, rows, ADD);
}

static void swiglu(rm_backend *b, rm_tensor *y, const rm_tensor *x, const rm_weight *w, int rows)
{
    product(b, y, x, w, rows, GATE);
}

static void embed(rm_backend *b, rm_tensor *y, const rm_weight *table, const int32_t *token,
                  int rows)
{
    assert(table->class == WEIGHT_TABLE && table->k == y->width && (size_t)rows <= y->rows);
    if (rows < 1 || b->status)
        return;
    op *o = enqueue(b, tile_embed, 1);
    cut_rows(o, rows, y->width, SMALL_WORK);
    o->w = table;
    o->index = token;
    writes(b, o, y);
}

static void rms_norm(rm_backend *b, rm_tensor *y, const rm_tensor *x, const rm_weight *w, float eps,
                     int rows)
{
    assert(w->class == WEIGHT_VECTOR && w->n == y->width && x->width == y->width &&
           (size_t)rows <= y->rows);
    if (rows < 1 || b->status)
        return;
    op *o = enqueue(b, tile_norm, 1);
    cut_rows(o, rows, y->width, SMALL_WORK / 2);
    o->x = x;
    o->w = w;
    o->eps = eps;
    writes(b, o, y);
}

static void head_norm(rm_backend *b, rm_tensor *y, const rm_weight *w, float eps, int first, int n,
                      int rows)
{
    assert(w->class == WEIGHT_VECTOR && first >= 0 && (size_t)(first + n) * w->n <= y->width &&
           (size_t)rows <= y->rows);
    if (rows < 1 || n < 1 || b->status)
        return;
    need_scratch(b, round_up(w->n, LANES) * sizeof(float));
    op *o = enqueue(b, tile_head_norm, 1);
    cut_rows(o, rows, (size_t)n * w->n, SMALL_WORK / 2);
    o->w = w;
    o->eps = eps;
    o->n = first;
    o->n_heads = n;
    writes(b, o, y);
}

static void copy_rows(rm_backend *b, rm_tensor *y, const int32_t *to, const rm_tensor *x,
                      const int32_t *from, int n)
{
    assert(x->width == y->width);
    if (n < 1 || b->status)
        return;
    op *o = enqueue(b, tile_copy_rows, 1);
    cut_rows(o, n, y->width, SMALL_WORK);
    o->x = x;
    o->index = from;
    o->to = to;
    writes(b, o, y);
}

static void kv_copy_page(rm_backend *b, rm_kv *kv, int32_t to, int32_t from)
{
    assert(to >= 0 && from >= 0 && (size_t)to < kv->n_pages && (size_t)from < kv->n_pages);
    if (b->status)
        return;
    op *o = enqueue(b, tile_copy_page, (size_t)kv->shape.n_layers);
    o->kv = kv;
    o->rows = to;
    o->n = from;
}

static void batch(rm_backend *b, rm_kv *kv, const rm_batch *batch)
{
    if (b->status)
        return;
    if (b->n_plans == b->plan_capacity) {
        size_t capacity = b->plan_capacity ? 2 * b->plan_capacity : 4;
        batch_plan **plans = realloc(b->plans, capacity * sizeof *plans);
        if (plans) {
            memset(plans + b->plan_capacity, 0, (capacity - b->plan_capacity) * sizeof *plans);
            b->plans = plans;
            b->plan_capacity = capacity;
        }
    }
    batch_plan *p = NULL;
    if (b->n_plans < b->plan_capacity) {
        if (!b->plans[b->n_plans])
            b->plans[b->n_plans] = calloc(1, sizeof *p);
        p = b->plans[b->n_plans];
    }
    int room = batch->n_rows > b->options.max_rows ? batch->n_rows : b->options.max_rows;
    if (room < batch->n_seqs)
        room = batch->n_seqs;
    if (!p || !cpu_plan_grow(p, room)) {
        b->status = rm_fail(&b->error, RM_E_MEMORY, "no memory for the plan of a batch of %d rows",
                            batch->n_rows);
        return;
    }
    b->n_plans++;
    cpu_plan_make(p, kv, batch);
}

static void rope_store(rm_backend *b, rm_tensor *qkv, rm_kv *kv, int layer, int n_heads)
{
    if (b->status)
        return;
    const batch_plan *p = b->plans[b->n_plans - 1];
    assert(b->n_plans && p->kv == kv && layer >= 0 && layer < kv->shape.n_layers);
    assert(qkv->width == (size_t)(n_heads + 2 * kv->shape.n_kv_heads) * (size_t)kv->shape.head_dim);
    op *o = enqueue(b, tile_rope_store, 1);
    cut_rows(o, p->batch.n_rows, qkv->width, SMALL_WORK / 2);
    o->kv = kv;
    o->plan = p;
    o->layer = layer;
    o->n_heads = n_heads;
    writes(b, o, qkv);
}

/* Room for partial results: at first use already what the longest single sequence needs. */
static bool need_partial(rm_backend *b, const rm_kv *kv, int rows, int n_heads, int chunks)
{
    size_t per_row =
        (size_t)n_heads * ((size_t)kv->padded_dim + 2) + (size_t)kv->shape.n_kv_heads * LANES;
    size_t all = per_row * (size_t)((kv->max_positions + RM_CHUNK - 1) / RM_CHUNK),
           least = (size_t)1 << 20;
    if (all < least)
        all = least;
    if (b->partial_floats < all) {
        float *partial = aligned_alloc(64, round_up(all * sizeof *partial, 64));
        if (!partial)
            return b->partial_floats > 0;
        free(b->partial);
        b->partial = partial;
        b->partial_floats = all;
    }
    return per_row * (size_t)rows * (size_t)chunks <= b->partial_floats;
}

static void attention(rm_backend *b, rm_tensor *y, const rm_tensor *qkv, rm_kv *kv, int layer,
                      int n_heads)
{
    if (b->status)
        return;
    const batch_plan *p = b->plans[b->n_plans - 1];
    int G = kv->shape.n_kv_heads, per_kv = n_heads / G, rows = p->batch.n_rows;
    assert(b->n_plans && p->kv == kv && n_heads % G == 0 &&
           y->width == (size_t)n_heads * (size_t)kv->shape.head_dim);
    op *o = enqueue(b, tile_attention, 1);
    o->rows = rows;
    o->rows_per_tile = per_kv < QUERY_TILE ? QUERY_TILE / per_kv : 1;
    if (o->rows_per_tile > rows)
        o->rows_per_tile = rows;
    o->n_row_tiles = (rows + o->rows_per_tile - 1) / o->rows_per_tile;
    o->n_tiles = (size_t)o->n_row_tiles * (size_t)G;
    o->x = qkv;
    o->kv = kv;
    o->plan = p;
    o->layer = layer;
    o->n_heads = n_heads;
    size_t threads = (size_t)b->options.n_threads;
    o->split = threads > 1 && o->n_tiles < 2 * threads && o->n_tiles % threads != 0 &&
               p->n_chunks >= 4 && need_partial(b, kv, rows, n_heads, p->n_chunks);
    need_scratch(b, cpu_attention_scratch_bytes(o->rows_per_tile * per_kv, kv));
    if (o->split) {
        o->n_tiles *= (size_t)p->n_chunks;
        o->partial = b->partial;
        op merge = *o;
        merge.tile = tile_merge;
        merge.n_tiles = (size_t)rows * (size_t)G;
        o = enqueue(b, tile_merge, 1);
        *o = merge;
    }
    writes(b, o, y);
}

static void pick(rm_backend *b, const rm_pick *picks, int n)
{
    if (n < 1 || b->status)
        return;
    for (int i = 0; i < n; i++)
        need_scratch(b, rm_pick_scratch_bytes(picks[i].n_vocab));
    op *o = enqueue(b, tile_pick, (size_t)n);
    o->picks = picks;
}

static rm_status flush(rm_backend *b, rm_error *err)
{
    if (!b->status && !cpu_executor_reserve(b->executor, b->n_ops))
        b->status = rm_fail(&b->error, RM_E_MEMORY, "no memory to run %zu operations", b->n_ops);
    rm_status st = b->status;
    if (st)
        rm_fail(err, st, "%s", b->error.text);
    else
        cpu_executor_run(b->executor, b->ops, b->n_ops);
    b->status = RM_OK;
    b->n_ops = b->n_plans = 0;
    b->program++;
    return st;
}

const rm_ops rm_cpu_ops = {
    .name = "cpu",
    .isa_names = isa_names,
    .isa_available = isa_available,
    .open = backend_open,
    .close = backend_close,
    .isa = backend_isa,
    .describe = describe,
    .weight_new = cpu_weight_new,
    .weight_new_gated = cpu_weight_new_gated,
    .table_new = cpu_table_new,
    .vector_new = cpu_vector_new,
    .weight_free = cpu_weight_free,
    .weight_bytes = cpu_weight_bytes,
    .tensor_new = tensor_new,
    .tensor_free = tensor_free,
    .kv_new = cpu_kv_new,
    .kv_free = cpu_kv_free,
    .kv_page_bytes = cpu_kv_page_bytes,
    .kv_reserve = cpu_kv_reserve,
    .kv_copy_page = kv_copy_page,
    .batch = batch,
    .embed = embed,
    .rms_norm = rms_norm,
    .matmul = matmul,
    .matmul_add = matmul_add,
    .swiglu = swiglu,
    .head_norm = head_norm,
    .rope_store = rope_store,
    .attention = attention,
    .copy_rows = copy_rows,
    .pick = pick,
    .flush = flush,
};
