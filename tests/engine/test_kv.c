/* test_kv.c - the page pool: references, growth, the budget's counts. */
#include "engine/kv.h"

#include "tests/engine/fake.h"

#include <criterion/criterion.h>

static rm_pool pool_open(rm_budget *budget)
{
    rm_backend *backend;
    rm_kv *kv;
    rm_pool pool;
    rm_kv_shape shape = { .n_layers = 2, .n_kv_heads = 1, .head_dim = 4, .page_positions = 16 };
    fake_ops.open(NULL, &backend, NULL);
    fake_ops.kv_new(backend, &shape, NULL, 100, &kv, NULL);
    rm_pool_open(&pool, &fake_ops, backend, kv, 16, budget);
    return pool;
}

static void pool_close(rm_pool *pool)
{
    rm_backend *backend = pool->backend;
    rm_pool_close(pool);
    fake_ops.close(backend);
}

Test(kv, pages_are_counted_and_come_back)
{
    rm_budget budget = { .limit_bytes = 1 << 20 };
    rm_pool pool = pool_open(&budget);
    size_t page = 2 * 4 * 2 * 4 * 16; /* keys and values, f32, 2 layers, 4 wide, 16 positions */
    cr_assert_eq(pool.page_bytes, page);
    cr_assert_eq(rm_pool_reserve(&pool, 3, NULL), RM_OK);
    int32_t a = rm_pool_take(&pool), b = rm_pool_take(&pool);
    cr_expect_eq(a, 0);
    cr_expect_eq(b, 1, "pages are taken in ascending order");
    rm_pool_share(&pool, a);
    cr_expect_eq(budget.used_bytes, 2 * page);
    rm_pool_release(&pool, a);
    cr_expect_eq(budget.used_bytes, 2 * page, "one path still refers to it");
    rm_pool_release(&pool, a);
    cr_expect_eq(budget.used_bytes, page);
    cr_expect_eq(rm_pool_take(&pool), a, "the page given back last is warm");
    cr_expect_eq(budget.pages_peak, 2);
    rm_pool_release(&pool, a);
    rm_pool_release(&pool, b);
    cr_expect_eq(budget.pages_used, 0);
    cr_expect_eq(budget.peak_bytes, 2 * page);
    pool_close(&pool);
    cr_expect_eq(budget.pages_allocated, 0);
}

Test(kv, growth_keeps_every_page_apart)
{
    enum { N = 500 };
    rm_budget budget = { .limit_bytes = 1 };
    rm_pool pool = pool_open(&budget);
    bool seen[4 * N] = { false };
    for (int i = 0; i < N; i++) {
        cr_assert_eq(rm_pool_reserve(&pool, 1, NULL), RM_OK);
        int32_t page = rm_pool_take(&pool);
        cr_assert(page >= 0 && (size_t)page < pool.n_pages && !seen[page]);
        seen[page] = true;
    }
    cr_expect_eq(budget.pages_used, N);
    cr_expect(pool.n_pages < 2 * N, "%zu pages for %d", pool.n_pages, N);
    cr_expect_eq(rm_budget_room(&budget), 0, "past its limit a budget has no room");
    for (int32_t page = 0; page < 4 * N; page++)
        if (seen[page])
            rm_pool_release(&pool, page);
    cr_expect_eq(pool.n_free, pool.n_pages);
    cr_expect_eq(rm_budget_room(&budget), 1);
    pool_close(&pool);
}
