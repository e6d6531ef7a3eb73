/* run.c - opening and closing runs, their memory and their own random draws (run.h). */
#include "engine/run.h"

#include "engine/account.h"
#include "engine/journal.h"
#include "engine/scheduler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- arenas -------------------------------------------------------------------------------- */

typedef struct rm_arena_block {
    struct rm_arena_block *next;
    size_t bytes, used;
    _Alignas(16) char data[];
} arena_block;

enum { ARENA_BLOCK_BYTES = 16 * 1024 };

static void *block_alloc(arena_block *block, size_t bytes)
{
    if (!block || block->bytes - block->used < bytes)
        return NULL;
    void *memory = block->data + block->used;
    block->used += bytes;
    return memset(memory, 0, bytes);
}

void *rm_arena_alloc(rm_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 4)
        return NULL;
    bytes = bytes ? (bytes + 15) & ~(size_t)15 : 16;
    for (;;) {
        void *memory = block_alloc(arena->current, bytes);
        if (memory)
            return memory;
        if (!arena->current || !arena->current->next)
            break;
        arena->current = arena->current->next; /* an empty block kept by a reset */
    }
    size_t size = bytes > ARENA_BLOCK_BYTES ? bytes : ARENA_BLOCK_BYTES;
    arena_block *block = malloc(sizeof *block + size);
    if (!block)
        return NULL;
    block->next = NULL;
    block->bytes = size;
    block->used = 0;
    if (arena->current)
        arena->current->next = block;
    else
        arena->first = block;
    arena->current = block;
    return block_alloc(block, bytes);
}

void rm_arena_reset(rm_arena *arena)
{
    for (arena_block *block = arena->first; block; block = block->next)
        block->used = 0;
    arena->current = arena->first;
}

void rm_arena_free(rm_arena *arena)
{
    while (arena->first) {
        arena_block *block = arena->first;
        arena->first = block->next;
        free(block);
    }
    arena->current = NULL;
}

/* ---- runs ---------------------------------------------------------------------------------- */

static double mebibytes(size_t bytes)
{
    return (double)bytes / 1048576.0;
}

rm_status rm_run_new(rm_engine *engine, const rm_run_options *options, rm_run **out, rm_error *err)
{
    size_t quota = options ? options->kv_quota_bytes : 0, limit = engine->budget.limit_bytes;
    if (quota > limit)
        return rm_fail(err, RM_E_LIMIT, "a quota of %.6g MiB of keys and values exceeds the %.6g "
                       "MiB of the whole engine", mebibytes(quota), mebibytes(limit));
    rm_run *run = calloc(1, sizeof *run);
    if (!run)
        return rm_fail(err, RM_E_MEMORY, "no memory for another run");
    run->engine = engine;
    if (options)
        run->options = *options;
    if (run->options.prefix)
        ((rm_prefix *)(uintptr_t)run->options.prefix)->open_runs++;
    run->started_s = rm_engine_now(engine);
    run->prev = engine->last_run;
    if (engine->last_run)
        engine->last_run->next = run;
    else
        engine->first_run = run;
    engine->last_run = run;
    rm_journal_open(run);
    *out = run;
    return RM_OK;
}

void rm_run_free(rm_run *run)
{
    if (!run)
        return;
    assert(!run->active);
    rm_engine *engine = run->engine;
    while (run->last_path)
        rm_path_drop(run->last_path);
    for (int i = 0; i < run->n_usages; i++)
        run->usage[i].model->open_runs--;
    if (run->options.prefix)
        ((rm_prefix *)(uintptr_t)run->options.prefix)->open_runs--;
    if (run->prev)
        run->prev->next = run->next;
    else
        engine->first_run = run->next;
    if (run->next)
        run->next->prev = run->prev;
    else
        engine->last_run = run->prev;
    rm_journal_free(run);
    rm_arena_free(&run->life);
    rm_arena_free(&run->scratch);
    free(run);
}

rm_status rm_run_open(rm_engine *engine, const rm_run_options *options, rm_run **out, rm_error *err)
{
    return rm_run_new(engine, options, out, err);
}

void rm_run_close(rm_run *run)
{
    assert(!run || !run->coroutine);
    rm_run_free(run);
}

int rm_run_usage(rm_run *run, rm_model *model, rm_error *err)
{
    for (int i = 0; i < run->n_usages; i++)
        if (run->usage[i].model == model)
            return i;
    if (run->n_usages == RM_MAX_USAGES) {
        rm_fail(err, RM_E_ARGUMENT, "a run can use %d models, not more", RM_MAX_USAGES);
        return -1;
    }
    run->usage[run->n_usages].model = model;
    model->open_runs++;
    return run->n_usages++;
}

uint64_t rm_run_held_bytes(const rm_run *run)
{
    uint64_t bytes = 0;
    for (int i = 0; i < run->n_usages; i++)
        bytes += rm_usage_held(run, i) * run->usage[i].model->weights->info.kv_held_bytes;
    return bytes;
}

void *rm_run_alloc(rm_run *run, size_t bytes)
{
    return rm_arena_alloc(&run->life, bytes);
}

uint64_t rm_run_random(const rm_run *run, rm_purpose purpose, uint64_t who, uint32_t index,
                       uint32_t draw)
{
    uint64_t stream = rm_mix(rm_mix(run->options.problem, run->options.stream), (uint64_t)purpose);
    return rm_random(run->options.seed, rm_mix(stream, who), index, draw);
}
