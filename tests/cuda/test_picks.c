/* Picks on the device, emulated or real: token for token and bit for bit what engine/pick.c gives.
 *
 * By one block a pick, and by several that share a row in parts of any length. Random rows of several
 * vocabularies, some of few distinct values so that every filter meets
 * ties, one with infinities; every want, every filter by itself and together, penalties, mixtures
 * and products; and rows that are no distribution. */
#include "tests/cuda/device_memory.h"

#include "engine/pick.h"

enum { MOST_V = 152064, MOST_MEMBERS = 3, MOST_TOP = 2100, HISTORY = 9 };

static_assert((int)RM_WANT_SPAN == RM_CUDA_SPAN && (int)RM_WANT_TOP == RM_CUDA_TOP &&
                  (int)RM_WANT_LOGPROBS == RM_CUDA_LOGPROBS &&
                  (int)RM_WANT_SCORE == RM_CUDA_SCORE && (int)RM_WANT_ALL == RM_CUDA_ALL &&
                  (int)RM_COMBINE_PRODUCT == RM_CUDA_PRODUCT,
              "wants and combinations have one numbering");

typedef struct pick_case {
    rm_want want;
    int n_members;
    rm_combine combine;
    rm_sampling sampling;
    bool history;
    int k;
} pick_case;

#define DRAW(...) { true, __VA_ARGS__ }
static const pick_case cases[] = {
    { RM_WANT_SPAN, 1, 0, { false, 1, 0, 1, 0, 1, 1 }, false, 0 },
    { RM_WANT_SPAN, 1, 0, DRAW(1, 0, 1, 0, 1, 1), false, 0 },
    { RM_WANT_SPAN, 1, 0, DRAW(0.7, 0, 1, 0, 1, 1), false, 0 },
    { RM_WANT_SPAN, 1, 0, DRAW(1e-9, 0, 1, 0, 1, 1), false, 0 },
    { RM_WANT_SPAN, 1, 0, DRAW(1, 1, 1, 0, 1, 1), false, 0 },
    { RM_WANT_SPAN, 1, 0, DRAW(1, 40, 1, 0, 1, 1), false, 0 },
    { RM_WANT_SPAN, 1, 0, DRAW(1.3, 0, 0.9, 0, 1, 1), false, 0 },
    { RM_WANT_SPAN, 1, 0, DRAW(1, 0, 0.01, 0, 1, 1), false, 0 },
    { RM_WANT_SPAN, 1, 0, DRAW(1, 0, 1, 0.1, 1, 1), false, 0 },
    { RM_WANT_SPAN, 1, 0, DRAW(1, 0, 1, 0, 0.9, 1), false, 0 },
    { RM_WANT_SPAN, 1, 0, DRAW(1, 0, 1, 0, 0.2, 1), false, 0 },
    { RM_WANT_SPAN, 1, 0, DRAW(1.1, 50, 0.95, 0.02, 0.95, 1.3), true, 0 },
    { RM_WANT_SPAN, 1, 0, { false, 1, 0, 1, 0, 1, 1.5 }, true, 0 },
    { RM_WANT_SPAN, 3, RM_COMBINE_MIXTURE, DRAW(1, 0, 0.9, 0, 1, 1), false, 0 },
    { RM_WANT_SPAN, 2, RM_COMBINE_PRODUCT, DRAW(1, 30, 1, 0, 0.9, 1.2), true, 0 },
    { RM_WANT_SPAN, 3, RM_COMBINE_PRODUCT, { false, 1, 0, 1, 0, 1, 1 }, false, 0 },
    { RM_WANT_TOP, 1, 0, { false, 1, 0, 1, 0, 1, 1 }, false, 1 },
    { RM_WANT_TOP, 1, 0, { false, 1, 0, 1, 0, 1, 1 }, false, 16 },
    { RM_WANT_TOP, 1, 0, { false, 1, 0, 1, 0, 1, 1.4 }, true, 100 },
    { RM_WANT_TOP, 2, RM_COMBINE_MIXTURE, { false, 1, 0, 1, 0, 1, 1 }, false, 7 },
    { RM_WANT_TOP, 1, 0, { false, 1, 0, 1, 0, 1, 1 }, false, MOST_TOP },
    { RM_WANT_LOGPROBS, 1, 0, { false, 1, 0, 1, 0, 1, 1 }, false, 0 },
    { RM_WANT_SCORE, 2, RM_COMBINE_PRODUCT, { false, 1, 0, 1, 0, 1, 1 }, false, 0 },
    { RM_WANT_ALL, 1, 0, { false, 1, 0, 1, 0, 1, 1.2 }, true, 0 },
    { RM_WANT_ALL, 3, RM_COMBINE_MIXTURE, { false, 1, 0, 1, 0, 1, 1 }, false, 0 },
};
enum { N_CASES = sizeof cases / sizeof *cases };

/* Kinds of rows: smooth, of few values, with -infinity, peaked. */
enum { SMOOTH, COARSE, HOLES, PEAKED, N_KINDS };

static void fill(float *row, int n, int kind, uint64_t stream)
{
    for (int v = 0; v < n; v++) {
        float x = 6.0f * value_at(stream, (size_t)v);
        if (kind == COARSE)
            x = (float)(int)x;
        if (kind == PEAKED)
            x *= 8.0f;
        row[v] = kind == HOLES && v % 3 == 1 ? -INFINITY : x;
    }
}

typedef struct answer {
    int32_t token[MOST_TOP];
    double lp[MOST_V], lp_sampling;
    bool no_numbers;
} answer;

static int entries(const pick_case *c, int n_vocab)
{
    return c->want == RM_WANT_SPAN  ? 1
           : c->want == RM_WANT_ALL ? n_vocab
           : c->want == RM_WANT_TOP ? (c->k < n_vocab ? c->k : n_vocab)
                                    : 4;
}

/* Serves one case on rows of a kind, on the host and on the device, whose blocks look at `part`
 * entries (launch.h); compares. */
static void check_parts(const pick_case *c, int n_vocab, int kind, uint64_t seed, int part)
{
    static float rows[MOST_MEMBERS][MOST_V];
    static answer want, got;
    const float *row[RM_MAX_MEMBERS];
    int32_t history[HISTORY], asked[4] = { 0, n_vocab - 1, n_vocab / 2, 1 % n_vocab };
    size_t slot = rm_pick_slot_bytes(n_vocab);
    memset(&want, 0, sizeof want);
    memset(&got, 0, sizeof got);
    rm_pick pick = { .want = c->want, .n_members = c->n_members, .combine = c->combine,
                     .n_vocab = n_vocab, .sampling = &c->sampling, .seed = seed,
                     .stream = seed * 31, .index = (uint32_t)kind, .history = history,
                     .n_history = c->history ? HISTORY : 0, .k = c->k, .tokens = asked,
                     .n_tokens = 4, .out_tokens = want.token, .out_lp = want.lp,
                     .out_lp_sampling = &want.lp_sampling, .out_no_numbers = &want.no_numbers };
    rm_pick_item item = { .want = (int32_t)c->want, .n_members = c->n_members,
                          .combine = (int32_t)c->combine, .n_vocab = n_vocab,
                          .do_sample = c->sampling.do_sample, .top_k = c->sampling.top_k,
                          .temperature = c->sampling.temperature, .top_p = c->sampling.top_p,
                          .min_p = c->sampling.min_p, .typical_p = c->sampling.typical_p,
                          .repetition_penalty = c->sampling.repetition_penalty, .seed = seed,
                          .stream = seed * 31, .index = (uint32_t)kind,
                          .n_history = pick.n_history, .k = c->k, .n_tokens = 4 };
    for (int i = 0; i < HISTORY; i++)
        history[i] = (int32_t)rm_scale(rm_random(seed, 4, (uint32_t)i, 0), (uint64_t)n_vocab);
    history[HISTORY - 1] = history[0]; /* one of them twice */
    for (int m = 0; m < c->n_members; m++) {
        fill(rows[m], n_vocab, kind, seed + (uint64_t)m * 7);
        row[m] = rows[m];
        pick.member[m].weight = item.weight[m] = 0.5 + m;
        item.row[m] = on_device(rows[m], (size_t)n_vocab * 4);
    }
    void *memory = aligned_alloc(64, (rm_pick_scratch_bytes(n_vocab) + 63) / 64 * 64);
    rm_pick_serve(&pick, row, &rm_row_kernels_portable, memory);
    free(memory);

    int n = entries(c, n_vocab);
    rm_pick_result result = { 0 };
    item.history = on_device(history, sizeof history);
    item.tokens = on_device(asked, sizeof asked);
    item.out_tokens = on_device(NULL, (size_t)n * 4);
    item.out_lp = on_device(NULL, (size_t)n * 8);
    item.result = on_device(NULL, sizeof *item.result);
    rm_pick_args a = { .item = on_device(&item, sizeof item), .scratch = filled_on_device(0xa5, slot),
                       .n_items = 1, .n_slots = 1, .n_vocab = n_vocab, .part = part };
    cr_assert_eq(rm_launch_picks(&a, NULL), 0);
    from_device(&result, item.result, sizeof result);
    from_device(got.token, item.out_tokens, (size_t)n * 4);
    from_device(got.lp, item.out_lp, (size_t)n * 8);
    if (c->want == RM_WANT_SPAN) {
        got.token[0] = result.token;
        got.lp[0] = result.lp;
        got.lp_sampling = result.lp_sampling;
    }
    int at = (int)(c - cases);
    cr_expect_eq(result.no_numbers, want.no_numbers, "case %d, V %d, kind %d", at, n_vocab, kind);
    if (c->want == RM_WANT_SPAN || c->want == RM_WANT_TOP)
        cr_expect_eq(memcmp(got.token, want.token, (size_t)n * 4), 0, "case %d, V %d, kind %d: %d %d",
                     at, n_vocab, kind, got.token[0], want.token[0]);
    cr_expect_eq(memcmp(got.lp, want.lp, (size_t)n * 8), 0, "case %d, V %d, kind %d: %.17g %.17g", at,
                 n_vocab, kind, got.lp[0], want.lp[0]);
    cr_expect_eq(memcmp(&got.lp_sampling, &want.lp_sampling, 8), 0, "case %d, V %d, kind %d", at,
                 n_vocab, kind);
    for (int m = 0; m < c->n_members; m++)
        device_free((void *)(uintptr_t)item.row[m]);
    device_free((void *)(uintptr_t)item.history);
    device_free((void *)(uintptr_t)item.tokens);
    device_free(item.out_tokens);
    device_free(item.out_lp);
    device_free(item.result);
    device_free((void *)(uintptr_t)a.item);
    device_free(a.scratch);
}

static void check(const pick_case *c, int n_vocab, int kind, uint64_t seed)
{
    check_parts(c, n_vocab, kind, seed, 0);
}

Test(picks, equal_those_of_the_cpu)
{
    static const int vocabularies[] = { 2, 33, 512, 2051 };
    for (int i = 0; i < N_CASES; i++)
        for (size_t j = 0; j < sizeof vocabularies / sizeof *vocabularies; j++)
            for (int kind = 0; kind < N_KINDS; kind++)
                check(&cases[i], vocabularies[j], kind, (uint64_t)(i * 100 + kind + 1));
}

Test(picks, equal_those_of_the_cpu_for_many_draws)
{
    for (uint64_t seed = 1; seed <= 12; seed++)
        for (int i = 1; i < 15; i++)
            check(&cases[i], 300 + (int)seed, (int)seed % N_KINDS, seed * 1000);
}

/* Parts that end within the row's end, at it, and beyond it; one of one entry; more than there may be
 * (which makes them longer). */
Test(picks, several_blocks_give_what_one_gives)
{
    static const struct {
        int n_vocab, part;
    } sizes[] = { { 2, 1 }, { 33, 32 }, { 515, 64 }, { 512, 128 }, { 2051, 1024 }, { 2051, 3000 },
                  { 2051, 1 } };
    for (int i = 0; i < N_CASES; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
            check_parts(&cases[i], sizes[j].n_vocab, (i + (int)j) % N_KINDS,
                        (uint64_t)(i * 70 + (int)j), sizes[j].part);
}

/* Which are as many as the launcher sees fit, at the sizes around its choice and a model's. */
Test(picks, long_vocabularies_are_shared_and_the_same)
{
    static const int some[] = { 1, 5, 6, 9, 11, 12, 14, 17, 18 };
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        const pick_case *c = &cases[some[i]];
        check(c, 152064, (int)i % N_KINDS, i + 5);
        check_parts(c, 152064, (int)i % N_KINDS, i + 5, -1);
        check(c, i % 2 ? 32767 : 32769, SMOOTH, i);
    }
}

Test(picks, order_of_threads_changes_nothing)
{
    for (int order = 0; order < ORDERS; order++) {
        thread_order((uint64_t)order);
        for (int i = 0; i < N_CASES; i++)
            check_parts(&cases[i], 515, COARSE, 99, i % 2 ? 100 : 0);
    }
    thread_order(0);
}

Test(picks, rows_that_are_no_distribution_are_reported)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    for (int i = 0; i < 6; i++)
        for (int whole = 0; whole < 2; whole++) {
            float row[100];
            for (int v = 0; v < 100; v++)
                row[v] = whole || v == 40 ? bad[i % 3] : 1.0f;
            rm_pick_item item = { .want = RM_CUDA_SPAN, .n_members = 1, .n_vocab = 100,
                                  .do_sample = 1, .temperature = 1, .top_p = 1, .typical_p = 1,
                                  .repetition_penalty = 1 };
            item.row[0] = on_device(row, sizeof row);
            item.result = on_device(NULL, sizeof *item.result);
            rm_pick_args a = { .item = on_device(&item, sizeof item),
                               .scratch = on_device(NULL, rm_pick_slot_bytes(100)), .n_items = 1,
                               .n_slots = 1, .n_vocab = 100, .part = i < 3 ? -1 : 30 };
            cr_assert_eq(rm_launch_picks(&a, NULL), 0);
            rm_pick_result result;
            from_device(&result, item.result, sizeof result);
            cr_expect_eq(result.no_numbers, i % 3 < 2 || whole, "value %d, whole %d", i, whole);
            cr_expect(result.token >= 0 && result.token < 100);
            device_free((void *)(uintptr_t)item.row[0]);
            device_free(item.result);
            device_free((void *)(uintptr_t)a.item);
            device_free(a.scratch);
        }
}
