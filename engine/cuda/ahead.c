/* ahead.c - programs that the device goes on with by itself (rm_ops.ahead, engine/ahead.h).
 *
 * The program of a pass that draws one token for each of its rows is a step already; what a further
 * one needs beside it is one small launch in front (span.cu), which makes of every token drawn the
 * next row: its token, its position, the index and the history of its pick. So a further step is that
 * launch and the program again, without copies of pages and without anything from the host but who
 * has left. Attention's work list stays as it is: finish items read from the positions how far they
 * go, and page tables reach as far as the span does.
 *
 * The tokens that a step drew are copied to a place of their own in pinned memory, and an event tells
 * when they are there: the host waits for the step it wants while later ones run. */
#include "engine/cuda/cuda.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(rm_drawn) == sizeof(rm_pick_result) &&
                   offsetof(rm_drawn, token) == offsetof(rm_pick_result, token) &&
                   offsetof(rm_drawn, no_numbers) == offsetof(rm_pick_result, no_numbers),
               "what kernels leave is what the engine reads");

void cuda_ahead_free(rm_backend *b)
{
    cuda_ahead *a = &b->ahead;
    cuda_area_free(&a->upload);
    cuda_area_free(&a->result);
    if (a->drawn)
        cudaFreeHost(a->drawn);
    for (int i = 0; i <= AHEAD_STEPS && a->has_events; i++)
        cudaEventDestroy(a->done[i]);
    free(a->ops);
    *a = (cuda_ahead){ 0 };
}

/* ---- preparing ------------------------------------------------------------------------------------ */

static bool make_events(cuda_ahead *a)
{
    for (int i = 0; i <= AHEAD_STEPS && !a->has_events; i++)
        if (cudaEventCreateWithFlags(&a->done[i], cudaEventDisableTiming)) {
            while (i--)
                cudaEventDestroy(a->done[i]);
            return false;
        }
    return a->has_events = true;
}

/* Room for what n paths draw in all steps. */
static bool make_drawn(rm_backend *b, int n)
{
    cuda_ahead *a = &b->ahead;
    size_t want = (size_t)cuda_bucket(n) * (AHEAD_STEPS + 1);
    void *host = NULL;
    if (want <= a->drawn_capacity)
        return true;
    if (cudaMallocHost(&host, want * sizeof *a->drawn))
        return false;
    cudaStreamSynchronize(b->stream); /* steps begun before may still write to the old one */
    if (a->drawn)
        cudaFreeHost(a->drawn);
    a->drawn = host;
    a->drawn_capacity = want;
    return true;
}

/* The areas' first blocks, which most programs never leave. */
static bool make_areas(rm_backend *b)
{
    cuda_ahead *a = &b->ahead;
    if (!a->upload.n_blocks)
        cuda_take(b, &a->upload, 1);
    if (!a->result.n_blocks)
        cuda_take(b, &a->result, 1);
    cuda_area_empty(&a->upload);
    cuda_area_empty(&a->result);
    bool made = !b->status;
    b->status = RM_OK;
    return made;
}

bool cuda_ahead_open(rm_backend *b, const rm_ahead_path *path, int n, int begin)
{
    cuda_ahead *a = &b->ahead;
    assert(n > 0 && begin <= AHEAD_STEPS && !b->n_batches && !b->n_picked);
    a->n = a->begun = 0;
    a->gone = NULL;
    if (b->status || !make_events(a) || !make_drawn(b, n) || !make_areas(b)) {
        cudaGetLastError();
        return false;
    }
    a->open = true;
    a->path = path;
    a->n = n;
    a->begin = begin;
    a->item = NULL;
    return true;
}

static const cuda_batch *batch_of(const rm_backend *b, const rm_kv *kv)
{
    for (int i = 0; i < b->n_batches; i++)
        if (b->batches[i].kv == kv)
            return &b->batches[i];
    return NULL;
}

/* The stop tokens of path i on the device; paths that follow one another mostly have the same. */
static const int32_t *put_stop(rm_backend *b, int i, const int32_t *before)
{
    const rm_ahead_path *p = &b->ahead.path[i], *q = i ? p - 1 : NULL;
    if (!p->n_stop || (q && p->stop == q->stop && p->n_stop == q->n_stop))
        return p->n_stop ? before : NULL;
    cuda_piece piece = cuda_take(b, cuda_upload(b), (size_t)p->n_stop * sizeof *p->stop);
    if (piece.host)
        memcpy(piece.host, p->stop, (size_t)p->n_stop * sizeof *p->stop);
    return piece.device;
}

/* One entry for each member of each path, padded with ended ones. */
static void put_entries(rm_backend *b, cuda_span_op *span)
{
    cuda_ahead *a = &b->ahead;
    int n = 0, padded;
    for (int i = 0; i < a->n; i++)
        n += a->path[i].n_members;
    padded = cuda_bucket(n);
    size_t paths = (size_t)cuda_bucket(a->n);
    cuda_piece gone = cuda_take(b, cuda_upload(b), paths * sizeof(int32_t)),
               entries = cuda_take(b, cuda_upload(b), (size_t)padded * sizeof(rm_span_entry));
    const int32_t *stop = NULL;
    if (b->status)
        return;
    memset(gone.host, 0, paths * sizeof(int32_t));
    memset(entries.host, 0, (size_t)padded * sizeof(rm_span_entry));
    rm_span_entry *e = entries.host;
    for (int i = 0; i < a->n; i++) {
        const rm_ahead_path *p = &a->path[i];
        stop = put_stop(b, i, stop);
        for (int m = 0; m < p->n_members && !b->status; m++, e++) {
            const cuda_batch *batch = batch_of(b, p->member[m].kv);
            assert(batch && p->member[m].row >= 0 && p->member[m].row < batch->rows);
            *e = (rm_span_entry){ .pick = a->item + i, .token = batch->token + p->member[m].row,
                                  .position = (int32_t *)batch->row.position + p->member[m].row,
                                  .gone = (int32_t *)gone.device + i, .stop = stop,
                                  .history = (int32_t *)a->item_host[i].history,
                                  .n_stop = p->n_stop, .leads = m == 0, .left = p->n_tokens };
        }
    }
    a->gone = gone.host;
    span->args = (rm_span_args){ .entry = entries.device, .n = padded };
    span->gone = gone.device;
    span->gone_host = gone.host;
    span->n = paths;
}

void cuda_ahead_prepare(rm_backend *b)
{
    cuda_ahead *a = &b->ahead;
    assert(a->item && "a program that goes on has picks");
    if (a->op_capacity < b->n_ops + 1) {
        size_t capacity = 2 * b->n_ops + 1;
        cuda_op *ops = realloc(a->ops, capacity * sizeof *ops);
        if (!ops) {
            b->status = rm_fail(&b->error, RM_E_MEMORY, "no memory for a program of %zu operations",
                                capacity);
            return;
        }
        a->ops = ops;
        a->op_capacity = capacity;
    }
    memset(&a->ops[0], 0, sizeof a->ops[0]);
    a->ops[0].kind = OP_SPAN;
    put_entries(b, &a->ops[0].span);
    a->n_ops = 1;
    for (size_t i = 0; i < b->n_ops; i++)
        if (b->ops[i].kind != OP_KV_COPY)
            a->ops[a->n_ops++] = b->ops[i];
}

/* ---- steps ---------------------------------------------------------------------------------------- */

static rm_status begin_step(rm_backend *b, rm_error *err)
{
    cuda_ahead *a = &b->ahead;
    int step = a->begun + 1;
    size_t n = (size_t)a->n;
    rm_status st = cuda_run(b, &(cuda_program){ a->ops, a->n_ops, false }, err);
    if (st)
        return st;
    int code = (int)cudaMemcpyAsync(a->drawn + (size_t)step * n, a->drawn_on_device,
                                    n * sizeof *a->drawn, cudaMemcpyDeviceToHost, b->stream);
    if (!code)
        code = (int)cudaEventRecord(a->done[step], b->stream);
    if (code)
        return CUDA_FAIL(err, code, "copying %d drawn tokens from %s", a->n, b->name);
    a->begun = step;
    return RM_OK;
}

static rm_status begin_steps(rm_backend *b, int begin, rm_error *err)
{
    rm_status st = RM_OK;
    while (b->ahead.begun < begin && !st)
        st = begin_step(b, err);
    return st;
}

static rm_status wait_for(rm_backend *b, int step, rm_error *err)
{
    int code = (int)cudaEventSynchronize(b->ahead.done[step]);
    if (code)
        return CUDA_FAIL(err, code, "step %d of a span of %d paths on %s", step, b->ahead.n, b->name);
    return RM_OK;
}

rm_status cuda_ahead_begin(rm_backend *b, rm_error *err)
{
    cuda_ahead *a = &b->ahead;
    int code = (int)cudaEventRecord(a->done[0], b->stream);
    if (code)
        return CUDA_FAIL(err, code, "an event on %s", b->name);
    rm_status st = begin_steps(b, a->begin, err);
    return st ? st : wait_for(b, 0, err);
}

rm_status cuda_ahead_take(rm_backend *b, int step, int begin, const rm_drawn **drawn, rm_error *err)
{
    cuda_ahead *a = &b->ahead;
    assert(a->n && !a->open && step > 0 && step <= begin && begin <= AHEAD_STEPS);
    int code = (int)cudaSetDevice(b->options.device);
    if (code)
        return CUDA_FAIL(err, code, "cudaSetDevice %d", b->options.device);
    rm_status st = begin_steps(b, begin, err);
    if (!st)
        st = wait_for(b, step, err);
    *drawn = st ? NULL : (const rm_drawn *)(const void *)(a->drawn + (size_t)step * (size_t)a->n);
    return st;
}

void cuda_ahead_leave(rm_backend *b, int path)
{
    if (b->ahead.gone && path < b->ahead.n)
        b->ahead.gone[path] = 1;
}
