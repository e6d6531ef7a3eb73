/* test_stale_pages.c - attention under a sliding window never looks at pages that were given back.
 *
 * A path's page list keeps the numbers of pages it has given back (rm_path_release_behind). By then
 * they may be anybody's, or nobody's. Here they are replaced by numbers of memory that is reserved and
 * not mapped, where a single read ends the program, by pages full of NaN, and by the same numbers for
 * all sequences, so that the work list may take them for shared: every row keeps its bits. Work lists
 * are those of few sequences (their past in parts) and of many (shared chunks read once). */
#include "tests/cuda/engine.h"

#include "engine/num.h"

enum { H = 2, G = 1, C = 16, PAGE = 16, MOST_S = 12, TABLE = 16, SHARED_PAGES = 8,
       PAGES = SHARED_PAGES + MOST_S * 8, WIDTH = (H + 2 * G) * C,
       UNMAPPED = 1 << 16, POISONED = PAGES };

typedef struct ground {
    rm_backend *b;
    rm_kv *kv;
    rm_tensor *qkv, *y;
    int S, window;
    int32_t pages[MOST_S][TABLE];
    int length[MOST_S];
} ground;

static void fill(rm_tensor *t, int row, uint64_t stream)
{
    for (int i = 0; i < WIDTH; i++)
        t->data[(size_t)row * (size_t)t->stride + (size_t)i] =
            (float)(2.0 * rm_unit(rm_random(5, stream, (uint32_t)i, 0)) - 1.0);
}

/* Evaluates positions [from, to) of one sequence. */
static void evaluate(ground *g, int s, int from, int to)
{
    rm_error err = { "" };
    int32_t token[256] = { 0 }, position[256], seq[256] = { 0 };
    const int32_t *pages[] = { g->pages[s] };
    int n = to - from;
    for (int i = 0; i < n; i++) {
        position[i] = from + i;
        fill(g->qkv, i, rm_mix(from + i < SHARED_PAGES * PAGE ? 0 : (uint64_t)s + 1,
                               (uint64_t)(from + i)));
    }
    rm_batch batch = { .n_rows = n, .n_seqs = 1, .token = token, .position = position, .seq = seq,
                       .pages = pages };
    rm_cuda_ops.batch(g->b, g->kv, &batch);
    rm_cuda_ops.rope_store(g->b, g->qkv, g->kv, 0, H);
    must(rm_cuda_ops.flush(g->b, &err), &err);
}

static ground open_ground(int S, rm_dtype type, int window)
{
    ground g = { .S = S, .window = window };
    rm_error err = { "" };
    rm_backend_options options = { .n_threads = 1, .max_rows = 256 };
    rm_kv_shape shape = { 1, G, C, PAGE, type, window };
    must(rm_cuda_ops.open(&options, &g.b, &err), &err);
    must(rm_cuda_ops.kv_new(g.b, &shape, NULL, 512, &g.kv, &err), &err);
    must(rm_cuda_ops.kv_reserve(g.b, g.kv, PAGES + 1, &err), &err);
    must(rm_cuda_ops.tensor_new(g.b, 256, WIDTH, &g.qkv, &err), &err);
    must(rm_cuda_ops.tensor_new(g.b, 256, H * C, &g.y, &err), &err);
    for (int s = 0; s < S; s++) {
        g.length[s] = SHARED_PAGES * PAGE + 3 + s * 97 % 83;
        for (int p = 0; p < TABLE; p++)
            g.pages[s][p] = p < SHARED_PAGES ? p : SHARED_PAGES + (s * 8 + p - SHARED_PAGES) % (S * 8);
        evaluate(&g, s, s ? SHARED_PAGES * PAGE : 0, g.length[s]);
    }
    memset(g.kv->pages.base + (size_t)POISONED * g.kv->page_bytes, 0xff, g.kv->page_bytes);
    return g;
}

static void close_ground(ground *g)
{
    rm_cuda_ops.tensor_free(g->b, g->qkv);
    rm_cuda_ops.tensor_free(g->b, g->y);
    rm_cuda_ops.kv_free(g->b, g->kv);
    rm_cuda_ops.close(g->b);
    cr_expect_eq(runtime.used, 0);
}

/* The next row of every sequence; pages wholly before the chunk in which it begins to look are
 * replaced by `stale`, or kept if that is negative. Returns how many were. */
static int attend(ground *g, int stale, float *out)
{
    rm_error err = { "" };
    int32_t token[MOST_S] = { 0 }, position[MOST_S], seq[MOST_S], table[MOST_S][TABLE];
    const int32_t *pages[MOST_S];
    int replaced = 0;
    for (int s = 0; s < g->S; s++) {
        int gone = (g->length[s] - g->window + 1) / RM_CHUNK * (RM_CHUNK / PAGE);
        position[s] = g->length[s];
        seq[s] = s;
        memcpy(table[s], g->pages[s], sizeof table[s]);
        for (int p = 0; p < gone && stale >= 0; p++, replaced++)
            table[s][p] = stale;
        pages[s] = table[s];
        fill(g->qkv, s, rm_mix(99, (uint64_t)s));
    }
    rm_batch batch = { .n_rows = g->S, .n_seqs = g->S, .token = token, .position = position,
                       .seq = seq, .pages = pages };
    rm_cuda_ops.batch(g->b, g->kv, &batch);
    rm_cuda_ops.rope_store(g->b, g->qkv, g->kv, 0, H);
    rm_cuda_ops.attention(g->b, g->y, g->qkv, g->kv, 0, H);
    must(rm_cuda_ops.flush(g->b, &err), &err);
    for (int s = 0; s < g->S; s++)
        memcpy(out + s * H * C, g->y->data + (size_t)s * (size_t)g->y->stride, H * C * sizeof *out);
    return replaced;
}

static void check(int S, rm_dtype type, int window)
{
    static const int stale[] = { UNMAPPED, POISONED };
    float expected[MOST_S * H * C], got[MOST_S * H * C];
    ground g = open_ground(S, type, window);
    attend(&g, -1, expected);
    for (int i = 0; i < 2; i++) {
        cr_assert_gt(attend(&g, stale[i], got), 0, "nothing is behind the window of %d", window);
        cr_expect_eq(memcmp(got, expected, (size_t)(S * H * C) * sizeof *got), 0,
                     "%d sequences, window %d, stale pages %d", S, window, stale[i]);
    }
    for (int i = 0; i < S * H * C; i++)
        cr_assert(got[i] == got[i] && got[i] != 0.0f, "row %d has no attention", i / (H * C));
    close_ground(&g);
}

Test(cuda_stale_pages, few_sequences)
{
    check(2, RM_F32, 37);
    check(2, RM_BF16, 64);
}

Test(cuda_stale_pages, many_sequences_that_share_chunks)
{
    check(MOST_S, RM_F32, 37);
    check(MOST_S, RM_F32, 90);
    check(MOST_S, RM_BF16, 5);
}

/* The test itself: a page that a row does look at is missed. */
Test(cuda_stale_pages, a_page_that_is_seen_counts)
{
    float expected[2 * H * C], got[2 * H * C];
    ground g = open_ground(2, RM_F32, 37);
    attend(&g, -1, expected);
    int page = (g.length[0] - 20) / PAGE;
    g.pages[0][page] = POISONED;
    attend(&g, -1, got);
    cr_expect_neq(memcmp(got, expected, H * C * sizeof *got), 0);
    close_ground(&g);
}
