/* kv.c - the page pool (kv.h).
 *
 * Free pages are a stack, so a page given back is the next one taken while it is still warm in
 * the processor's caches. The store grows by half of itself: the number of growths of a long
 * job is logarithmic and at most a third of the memory stands unused. */
#include "engine/kv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void rm_budget_add(rm_budget *budget, size_t bytes)
{
    budget->used_bytes += bytes;
    if (budget->used_bytes > budget->peak_bytes)
        budget->peak_bytes = budget->used_bytes;
}

void rm_budget_remove(rm_budget *budget, size_t bytes)
{
    assert(budget->used_bytes >= bytes);
    budget->used_bytes -= bytes;
}

size_t rm_budget_room(const rm_budget *budget)
{
    return budget->used_bytes < budget->limit_bytes ? budget->limit_bytes - budget->used_bytes : 0;
}

void rm_pool_open(rm_pool *pool, const rm_ops *ops, rm_backend *backend, rm_kv *kv,
                  int page_positions, rm_budget *budget)
{
    *pool = (rm_pool){ .ops = ops,
                       .backend = backend,
                       .kv = kv,
                       .budget = budget,
                       .page_positions = page_positions,
                       .page_bytes = ops->kv_page_bytes(kv) };
}

void rm_pool_close(rm_pool *pool)
{
    if (!pool->kv)
        return;
    pool->budget->pages_allocated -= pool->n_pages;
    pool->ops->kv_free(pool->backend, pool->kv);
    free(pool->references);
    free(pool->free_pages);
    *pool = (rm_pool){ 0 };
}

rm_status rm_pool_reserve(rm_pool *pool, size_t n, rm_error *err)
{
    if (pool->n_free >= n)
        return RM_OK;
    size_t target = pool->n_pages + (n - pool->n_free);
    if (target < pool->n_pages + pool->n_pages / 2)
        target = pool->n_pages + pool->n_pages / 2;
    if (target < 16)
        target = 16;
    if (target > INT32_MAX || target > SIZE_MAX / 2 / pool->page_bytes)
        return rm_fail(err, RM_E_MEMORY,
                       "a cache of %zu pages of %zu bytes is too large to address", target,
                       pool->page_bytes);

    int32_t *references = realloc(pool->references, target * sizeof *references);
    if (references)
        pool->references = references;
    int32_t *free_pages = realloc(pool->free_pages, target * sizeof *free_pages);
    if (free_pages)
        pool->free_pages = free_pages;
    if (!references || !free_pages)
        return rm_fail(err, RM_E_MEMORY, "no memory to keep track of %zu cache pages", target);
    rm_status status = pool->ops->kv_reserve(pool->backend, pool->kv, target, err);
    if (!status && pool->mirror)
        status = pool->ops->kv_reserve(pool->backend, pool->mirror, target, err);
    if (status)
        return status;

    /* New pages go below the free ones, the highest first: ids are taken in ascending order. */
    size_t more = target - pool->n_pages;
    memmove(pool->free_pages + more, pool->free_pages, pool->n_free * sizeof *pool->free_pages);
    for (size_t i = 0; i < more; i++) {
        pool->free_pages[i] = (int32_t)(target - 1 - i);
        pool->references[target - 1 - i] = 0;
    }
    pool->n_free += more;
    pool->n_pages = target;
    pool->budget->pages_allocated += more;
    return RM_OK;
}

static void use(rm_pool *pool, int32_t page)
{
    assert(pool->references[page] == 0);
    pool->references[page] = 1;
    rm_budget_add(pool->budget, pool->page_bytes);
    if (++pool->budget->pages_used > pool->budget->pages_peak)
        pool->budget->pages_peak = pool->budget->pages_used;
}

int32_t rm_pool_take(rm_pool *pool)
{
    assert(pool->n_free > 0);
    int32_t page = pool->free_pages[--pool->n_free];
    use(pool, page);
    return page;
}

int32_t rm_pool_lend(rm_pool *pool)
{
    assert(pool->n_free > 0);
    pool->budget->lent_bytes += pool->page_bytes;
    return pool->free_pages[--pool->n_free];
}

void rm_pool_adopt(rm_pool *pool, int32_t page)
{
    assert(pool->budget->lent_bytes >= pool->page_bytes);
    pool->budget->lent_bytes -= pool->page_bytes;
    use(pool, page);
}

void rm_pool_give_back(rm_pool *pool, int32_t page)
{
    assert(pool->references[page] == 0 && pool->budget->lent_bytes >= pool->page_bytes);
    pool->budget->lent_bytes -= pool->page_bytes;
    pool->free_pages[pool->n_free++] = page;
}

void rm_pool_share(rm_pool *pool, int32_t page)
{
    assert(pool->references[page] > 0);
    pool->references[page]++;
}

void rm_pool_release(rm_pool *pool, int32_t page)
{
    assert(pool->references[page] > 0);
    if (--pool->references[page])
        return;
    pool->free_pages[pool->n_free++] = page;
    pool->budget->pages_used--;
    rm_budget_remove(pool->budget, pool->page_bytes);
}

void rm_pool_copy(rm_pool *pool, int32_t to, int32_t from)
{
    pool->ops->kv_copy_page(pool->backend, pool->kv, to, from);
    if (pool->mirror)
        pool->ops->kv_copy_page(pool->backend, pool->mirror, to, from);
}
