/* Rotation, pages and attention on the device, emulated or real.
 *
 * The same sequences go through the CPU backend and through the kernels, the latter under several
 * work lists: each row by itself, rows of a sequence together, every chunk a partial item, chunks
 * that sequences share read for all of them. Over an f32 cache every way has the CPU's bits; over
 * bf16 all ways agree with each other bit for bit and with the CPU up to rounding. */
#include "tests/cuda/device_memory.h"

#include "engine/cpu/cpu.h"
#include "engine/num.h"

typedef struct attention_case {
    int H, G, C;
    rm_dtype type;
    int n_seqs, length[3];
    int shared; /* leading positions in which all sequences agree and share pages */
    int page, rope_dims;
    bool interleaved;
    int window;
} attention_case;

static const attention_case cases[] = {
    { 2, 1, 32, RM_F32, 2, { 150, 129 }, 128, 64, 32, true, 0 },
    { 6, 2, 64, RM_F32, 2, { 97, 130 }, 80, 16, 64, false, 0 },
    { 2, 2, 80, RM_F32, 2, { 33, 70 }, 0, 32, 0, false, 0 },
    { 4, 1, 128, RM_F32, 2, { 65, 66 }, 64, 16, 128, false, 0 },
    { 8, 4, 8, RM_F32, 3, { 1, 15, 67 }, 1, 16, 8, true, 0 },
    { 6, 2, 20, RM_F32, 2, { 150, 100 }, 48, 16, 20, false, 37 },
    { 2, 1, 32, RM_F32, 1, { 210 }, 0, 32, 32, false, 100 },
    { 1, 1, 160, RM_F32, 1, { 70 }, 0, 16, 64, false, 0 },
    { 2, 1, 32, RM_BF16, 2, { 140, 129 }, 128, 16, 20, false, 0 },
    { 7, 1, 64, RM_BF16, 2, { 70, 131 }, 64, 32, 64, true, 0 },
    { 2, 2, 80, RM_BF16, 2, { 70, 65 }, 64, 64, 80, false, 0 },
    { 4, 2, 128, RM_BF16, 2, { 65, 129 }, 64, 16, 128, false, 0 },
    { 4, 1, 40, RM_BF16, 2, { 140, 129 }, 128, 16, 40, false, 33 },
    { 40, 1, 16, RM_BF16, 1, { 33 }, 0, 16, 16, false, 0 }, /* more heads than a block serves */
    { 1, 1, 256, RM_BF16, 1, { 66 }, 0, 64, 64, false, 0 },
};
enum { N_CASES = sizeof cases / sizeof *cases, MAX_PAGES = 64, TABLE = 16, THETA = 10000 };

static int total_rows(const attention_case *c)
{
    int n = 0;
    for (int s = 0; s < c->n_seqs; s++)
        n += c->length[s];
    return n;
}

static size_t width_of(const attention_case *c)
{
    return (size_t)((c->H + 2 * c->G) * c->C);
}

/* Rows of all sequences, and where they stand. */
typedef struct ground {
    const attention_case *c;
    int R;
    float *qkv;
    int32_t position[512], seq[512], table[3 * TABLE];
} ground;

static ground ground_of(const attention_case *c)
{
    ground g = { .c = c, .R = total_rows(c) };
    size_t W = width_of(c);
    g.qkv = malloc((size_t)g.R * W * sizeof *g.qkv);
    int next = 0;
    for (int s = 0, r = 0; s < c->n_seqs; s++) {
        for (int i = 0; i * c->page < c->length[s]; i++) {
            bool share = s && (i + 1) * c->page <= c->shared && (i + 1) * c->page <= c->length[0];
            g.table[s * TABLE + i] = share ? g.table[i] : (next++ * 37 + 5) % MAX_PAGES;
        }
        for (int t = 0; t < c->length[s]; t++, r++) {
            uint64_t stream = rm_mix(t < c->shared ? 0 : (uint64_t)s + 1, (uint64_t)t);
            for (size_t i = 0; i < W; i++)
                g.qkv[(size_t)r * W + i] = 2.0f * value_at(stream, i);
            g.position[r] = t;
            g.seq[r] = s;
        }
    }
    return g;
}

static float *on_cpu(const ground *g)
{
    const attention_case *c = g->c;
    const rm_ops *ops = &rm_cpu_ops;
    rm_error err = { "" };
    rm_backend *b = NULL;
    rm_backend_options options = { .n_threads = 1, .max_rows = 512 };
    cr_assert_eq(ops->open(&options, &b, &err), RM_OK, "%s", err.text);
    rm_kv_shape shape = { 2, c->G, c->C, c->page, c->type, c->window };
    rm_rope rope = { .n_dims = c->rope_dims, .interleaved = c->interleaved, .theta = THETA, .scale = 1 };
    rm_kv *kv = NULL;
    cr_assert_eq(ops->kv_new(b, &shape, &rope, 512, &kv, &err), RM_OK, "%s", err.text);
    cr_assert_eq(ops->kv_reserve(b, kv, MAX_PAGES, &err), RM_OK);
    rm_tensor *qkv = NULL, *y = NULL;
    size_t W = width_of(c), O = (size_t)(c->H * c->C);
    ops->tensor_new(b, (size_t)g->R, W, &qkv, &err);
    ops->tensor_new(b, (size_t)g->R, O, &y, &err);
    for (int r = 0; r < g->R; r++)
        memcpy(qkv->data + (size_t)r * qkv->stride, g->qkv + (size_t)r * W, W * 4);
    int32_t token[512] = { 0 };
    const int32_t *pages[3] = { g->table, g->table + TABLE, g->table + 2 * TABLE };
    rm_batch batch = { g->R, c->n_seqs, token, g->position, g->seq, pages, NULL };
    ops->batch(b, kv, &batch);
    ops->rope_store(b, qkv, kv, 1, c->H);
    ops->attention(b, y, qkv, kv, 1, c->H);
    cr_assert_eq(ops->flush(b, &err), RM_OK, "%s", err.text);
    float *out = malloc((size_t)g->R * O * sizeof *out);
    for (int r = 0; r < g->R; r++)
        memcpy(out + (size_t)r * O, y->data + (size_t)r * y->stride, O * 4);
    ops->tensor_free(b, qkv);
    ops->tensor_free(b, y);
    ops->kv_free(b, kv);
    ops->close(b);
    return out;
}

/* ---- work lists ------------------------------------------------------------------------------ */

enum { ALONE, TOGETHER, CHUNK_BY_CHUNK, RUNS, SHARED, N_WAYS };

typedef struct work {
    rm_attend_item partial[4096], finish[512];
    int n_partial, n_finish;
    int32_t list[8192], slot[512];
    int n_list, n_slots;
} work;

static void add_item(work *w, bool finish, const int32_t *rows, int n, int chunk, int n_chunks,
                     int table)
{
    rm_attend_item *item = finish ? &w->finish[w->n_finish++] : &w->partial[w->n_partial++];
    *item = (rm_attend_item){ w->n_list, n, chunk, n_chunks, table };
    for (int i = 0; i < n; i++)
        w->list[w->n_list++] = rows[i];
}

static int first_chunk(const ground *g, int row)
{
    int low = g->c->window ? g->position[row] - g->c->window + 1 : 0;
    return low < 0 ? 0 : low / 64;
}

static void plan(const ground *g, int way, work *w)
{
    const attention_case *c = g->c;
    int most = rm_attend_rows(c->H / c->G), common = way == SHARED ? c->shared / 64 : 0;
    *w = (work){ 0 };
    for (int r = 0; r < g->R; r++) { /* room for all chunks of a row */
        w->slot[r] = w->n_slots;
        w->n_slots += g->position[r] / 64 + 1;
    }
    for (int chunk = 0; chunk < common; chunk++) { /* all rows that see a shared chunk */
        int32_t rows[64];
        int n = 0;
        for (int r = 0; r <= g->R; r++) {
            if (n == most || (n && r == g->R)) {
                add_item(w, false, rows, n, chunk, 1, 0);
                n = 0;
            }
            if (r < g->R && g->position[r] / 64 > chunk && first_chunk(g, r) <= chunk)
                rows[n++] = r;
        }
    }
    for (int r = 0; r < g->R;) {
        int n = 1, chunk = 0, s = g->seq[r], own = g->position[r] / 64;
        int32_t rows[64] = { r };
        bool alone = way == ALONE || way == CHUNK_BY_CHUNK;
        while (!alone && n < most && r + n < g->R && g->seq[r + n] == s &&
               (way != SHARED || g->position[r + n] / 64 == own)) {
            rows[n] = r + n;
            n++;
        }
        if (way == CHUNK_BY_CHUNK) {
            for (chunk = first_chunk(g, r); chunk < own; chunk++)
                add_item(w, false, rows, 1, chunk, 1, s);
            chunk = own;
        } else if (way == RUNS) { /* the chunks all of them have behind them */
            chunk = own;
            if (chunk > first_chunk(g, r))
                add_item(w, false, rows, n, first_chunk(g, r), chunk - first_chunk(g, r), s);
        } else if (way == SHARED) {
            chunk = own < common ? own : common;
        }
        add_item(w, true, rows, n, chunk, 0, s);
        r += n;
    }
}

/* ---- the kernels ------------------------------------------------------------------------------- */

typedef struct cache {
    rm_kv_view kv;
    rm_row_view row;
    float *qkv;
} cache;

static cache cache_of(const ground *g)
{
    const attention_case *c = g->c;
    int half = c->rope_dims / 2;
    double frequency[256];
    for (int i = 0; i < half; i++)
        frequency[i] = rm_pow(THETA, -2.0 * i / c->rope_dims);
    rm_rope_table_args t = { .frequency = on_device(frequency, sizeof frequency),
                             .cos_sin = on_device(NULL, (size_t)(512 * (half + 1) * 2) * 4),
                             .scale = 1, .magnitude = 1, .to = 512, .half = half };
    cr_assert_eq(rm_launch_rope_table(&t, NULL), 0);
    size_t bytes = rm_kv_page_bytes(2, c->G, c->C, c->page, (int)c->type);
    cache k = { 0 };
    k.kv = (rm_kv_view){ .base = on_device(NULL, MAX_PAGES * bytes), .page_bytes = bytes,
                         .type = (int)c->type, .n_kv_heads = c->G, .head_dim = c->C,
                         .page_positions = c->page, .window = c->window,
                         .page_table = on_device(g->table, sizeof g->table),
                         .table_stride = TABLE };
    k.row = (rm_row_view){ on_device(g->position, sizeof g->position),
                           on_device(g->seq, sizeof g->seq), g->R };
    k.qkv = on_device(g->qkv, (size_t)g->R * width_of(c) * 4);
    rm_rope_store_args a = { .qkv = k.qkv, .row = k.row, .kv = k.kv,
                             .cos_sin = half ? t.cos_sin : NULL, .rope_dims = c->rope_dims,
                             .interleaved = c->interleaved, .n_heads = c->H, .layer = 1,
                             .qkv_stride = (int)width_of(c) };
    cr_assert_eq(rm_launch_rope_store(&a, NULL), 0);
    device_free((void *)(uintptr_t)t.frequency);
    device_free(t.cos_sin);
    return k;
}

static void cache_free(cache *k)
{
    device_free(k->kv.base);
    device_free((void *)(uintptr_t)k->kv.page_table);
    device_free((void *)(uintptr_t)k->row.position);
    device_free((void *)(uintptr_t)k->row.table);
    device_free(k->qkv);
}

static float *attend(const ground *g, const cache *k, int way, uint16_t *rounded)
{
    const attention_case *c = g->c;
    work *w = malloc(sizeof *w);
    plan(g, way, w);
    size_t O = (size_t)(c->H * c->C), bytes = (size_t)g->R * O * 4;
    size_t floats = rm_attend_slot_floats(c->H, c->C) * (size_t)w->n_slots;
    float *scratch = filled_on_device(0xff, floats * 4); /* NaN: what no partial item wrote must
                                                            not be read */
    rm_attend_args a = { .y = on_device(NULL, bytes),
                         .qkv = k->qkv, .row = k->row, .kv = k->kv,
                         .row_list = on_device(w->list, sizeof w->list),
                         .first_slot = on_device(w->slot, sizeof w->slot),
                         .scratch = scratch,
                         .n_heads = c->H, .layer = 1, .qkv_stride = (int)width_of(c),
                         .y_stride = (int)O };
    if (rounded)
        a.rounded = (rm_rounded){ on_device(NULL, bytes), (int)O, RM_CUDA_BF16 };
    a.item = on_device(w->partial, sizeof w->partial);
    a.n_items = w->n_partial + 1; /* one item of padding */
    cr_assert_eq(rm_launch_attend_partial(&a, NULL), 0);
    device_free((void *)(uintptr_t)a.item);
    a.item = on_device(w->finish, sizeof w->finish);
    a.n_items = w->n_finish;
    cr_assert_eq(rm_launch_attend_finish(&a, NULL), 0);
    float *out = malloc(bytes);
    from_device(out, a.y, bytes);
    if (rounded)
        from_device(rounded, a.rounded.to, bytes / 2);
    device_free(a.rounded.to);
    device_free(a.y);
    device_free((void *)(uintptr_t)a.item);
    device_free((void *)(uintptr_t)a.row_list);
    device_free((void *)(uintptr_t)a.first_slot);
    device_free(scratch);
    free(w);
    return out;
}

static void check_case(int i)
{
    ground g = ground_of(&cases[i]);
    cache k = cache_of(&g);
    size_t n = (size_t)g.R * (size_t)(cases[i].H * cases[i].C);
    uint16_t *rounded = malloc(n * 2);
    float *cpu = on_cpu(&g), *first = attend(&g, &k, 0, rounded);
    double worst = 0;
    for (size_t j = 0; j < n; j++) {
        worst = fmax(worst, fabs((double)first[j] - (double)cpu[j]));
        cr_assert_eq(rounded[j], rm_f32_to_bf16(first[j]), "case %d: not rounded", i);
    }
    cr_assert(worst == worst, "case %d: not a number", i);
    if (cases[i].type == RM_F32)
        cr_expect_eq(memcmp(first, cpu, n * 4), 0, "case %d: off by %g", i, worst);
    else /* both round queries and weights; another order of the sums moves a score by an f32
            rounding, which a weight's rounding to 8 bits can turn into 2^-8 of a value of 2 */
        cr_expect_leq(worst, 0.008, "case %d: off by %g", i, worst);
    for (int way = 1; way < N_WAYS; way++) {
        float *out = attend(&g, &k, way, NULL);
        cr_expect_eq(memcmp(first, out, n * 4), 0, "case %d, way %d", i, way);
        free(out);
    }
    free(rounded);
    free(first);
    free(cpu);
    free(g.qkv);
    cache_free(&k);
}

Test(attention_device, equals_the_cpu_over_f32)
{
    for (int i = 0; i < N_CASES; i++)
        if (cases[i].type == RM_F32)
            check_case(i);
}

Test(attention_device, ways_agree_over_bf16)
{
    for (int i = 0; i < N_CASES; i++)
        if (cases[i].type == RM_BF16)
            check_case(i);
}

Test(attention_device, order_of_threads_changes_nothing)
{
    static const int some[] = { 2, 10 };
    for (int i = 0; i < 2; i++) {
        ground g = ground_of(&cases[some[i]]);
        size_t n = (size_t)g.R * (size_t)(g.c->H * g.c->C);
        float *out[3];
        for (int seed = 0; seed < ORDERS; seed++) {
            thread_order((uint64_t)seed);
            cache k = cache_of(&g);
            out[seed] = attend(&g, &k, RUNS, NULL);
            cache_free(&k);
        }
        thread_order(0);
        for (int j = 1; j < ORDERS; j++)
            cr_expect_eq(memcmp(out[0], out[j], n * 4), 0);
        for (int j = 0; j < ORDERS; j++)
            free(out[j]);
        free(g.qkv);
    }
}
