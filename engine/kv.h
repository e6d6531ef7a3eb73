/* kv.h - pages of cached keys and values: reference counts over a backend's page store.
 *
 * A pool serves one model; the pools of an engine draw on one budget of bytes. A page is free
 * (references 0) or referred to by that many paths. The budget is a measure, not a wall: the
 * scheduler asks rm_budget_room before a round and makes room by suspending runs, so that no
 * single allocation has to fail (scheduler.h). */
#ifndef RM_ENGINE_KV_H
#define RM_ENGINE_KV_H

#include "engine/ops.h"

/* Shared by all pools of an engine. */
typedef struct rm_budget {
    size_t limit_bytes, used_bytes, peak_bytes;
    size_t lent_bytes;   /* of free pages that spans may reach ahead of their time (ahead.h); not used */
    size_t pages_used, pages_peak, pages_allocated;
} rm_budget;

void rm_budget_add(rm_budget *, size_t bytes);
void rm_budget_remove(rm_budget *, size_t bytes);
size_t rm_budget_room(const rm_budget *); /* 0 when the limit is reached or passed */

typedef struct rm_pool {
    const rm_ops *ops;
    rm_backend *backend;
    rm_kv *kv;
    rm_kv *mirror;       /* NULL, or the store of a body (replay.h), which has the same pages */
    rm_budget *budget;
    int page_positions;
    size_t page_bytes;
    int32_t *references; /* [n_pages] */
    int32_t *free_pages; /* [n_pages], the first n_free are free; taken from the end */
    size_t n_pages, n_free;
} rm_pool;

/* `kv` is taken over and freed by rm_pool_close. */
void rm_pool_open(rm_pool *, const rm_ops *, rm_backend *, rm_kv *, int page_positions,
                  rm_budget *);
void rm_pool_close(rm_pool *);

/* Makes at least n pages free, growing the store by half where it must. */
rm_status rm_pool_reserve(rm_pool *, size_t n, rm_error *);

int32_t rm_pool_take(rm_pool *);              /* one reference; needs n_free > 0 */
void rm_pool_share(rm_pool *, int32_t page);  /* one reference more */
void rm_pool_release(rm_pool *, int32_t page);
void rm_pool_copy(rm_pool *, int32_t to, int32_t from); /* enqueues it */

/* A free page set aside for one path: nobody else takes it, and it counts as used only once it is
 * adopted, which is what taking it would have been. */
int32_t rm_pool_lend(rm_pool *);               /* needs n_free > 0 */
void rm_pool_adopt(rm_pool *, int32_t page);
void rm_pool_give_back(rm_pool *, int32_t page);

#endif
