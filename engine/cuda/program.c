/* program.c - what was enqueued, run: one upload, the launches, one copy back, one wait.
 *
 * Launching a few hundred kernels costs the host more than a small model takes to compute, so a
 * program that comes again runs as a CUDA graph, copies included. It is recognised by its bytes:
 * the launches' argument structs and how much of the areas is used. Two equal programs do the same
 * thing by construction, so there is nothing to invalidate but scratch that has moved.
 *
 * A program is captured the second time it is seen; of GRAPHS kept ones the least recently used
 * goes. Decode steps differ from one another only in what the areas hold, as long as their padded
 * counts are equal: rows in their bucket, page tables in their stride, items in theirs. */
#include "engine/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GRAPHS = 64 };

struct cuda_graph {
    uint64_t hash, used_at;
    uint64_t upload, result;      /* how much of the areas is used */
    size_t n_ops;
    cuda_op *ops;                 /* [n_ops] */
    bool fresh;                   /* seen just now for the first time */
    cudaGraphExec_t exec;         /* NULL: seen once, not captured */
};

int cuda_bucket(int n)
{
    int power = 1;
    while (power < n)
        power *= 2;
    return power >= 4 && n <= power / 4 * 3 ? power / 4 * 3 : power;
}

/* ---- launches ------------------------------------------------------------------------------------- */

int cuda_launch(rm_backend *b, const cuda_op *o)
{
    switch (o->kind) {
    case OP_EMBED:
        return rm_launch_embed(&o->embed, b->stream);
    case OP_NORM:
        return rm_launch_rms_norm(&o->norm, b->stream);
    case OP_HEAD_NORM:
        return rm_launch_head_norm(&o->head_norm, b->stream);
    case OP_ROUND:
        return rm_launch_round(&o->round, b->stream);
    case OP_COPY_ROWS:
        return rm_launch_copy_rows(&o->copy_rows, b->stream);
    case OP_KV_COPY:
        return rm_launch_kv_copy(&o->kv_copy, b->stream);
    case OP_ROPE_STORE:
        return rm_launch_rope_store(&o->rope_store, b->stream);
    case OP_PRODUCT:
    case OP_PRODUCT_F32:
    case OP_LIBRARY: {
        rm_product_args args = o->product;
        args.partial = b->partial.data;
        return o->kind == OP_PRODUCT       ? rm_launch_product(&args, b->stream)
               : o->kind == OP_PRODUCT_F32 ? rm_launch_product_f32(&args, b->stream)
                                           : cuda_library_product(b, o->algorithm, o->weight, &args);
    }
    case OP_PARTIAL:
    case OP_FINISH: {
        rm_attend_args args = o->attend;
        args.scratch = b->slots.data;
        return o->kind == OP_PARTIAL ? rm_launch_attend_partial(&args, b->stream)
                                     : rm_launch_attend_finish(&args, b->stream);
    }
    case OP_PICKS: {
        rm_pick_args args = o->picks;
        args.scratch = b->pick_slots.data;
        return rm_launch_picks(&args, b->stream);
    }
    case OP_SPAN: {
        int code = (int)cudaMemcpyAsync(o->span.gone, o->span.gone_host, o->span.n * sizeof(int32_t),
                                        cudaMemcpyHostToDevice, b->stream);
        return code ? code : rm_launch_span_step(&o->span.args, b->stream);
    }
    }
    return cudaErrorInvalidValue;
}

void cuda_op_describe(const cuda_op *o, char *text, size_t size)
{
    switch (o->kind) {
    case OP_EMBED:
        snprintf(text, size, "embedding of %d rows of %d", o->embed.rows, o->embed.width);
        return;
    case OP_NORM:
        snprintf(text, size, "norm of %d rows of %d", o->norm.rows, o->norm.width);
        return;
    case OP_HEAD_NORM:
        snprintf(text, size, "norm of %d heads of %d in %d rows", o->head_norm.n,
                 o->head_norm.head_dim, o->head_norm.rows);
        return;
    case OP_ROUND:
        snprintf(text, size, "rounding of %d rows of %d", o->round.rows, o->round.width);
        return;
    case OP_COPY_ROWS:
        snprintf(text, size, "copy of %d rows of %d", o->copy_rows.n, o->copy_rows.width);
        return;
    case OP_KV_COPY:
        snprintf(text, size, "copy of %d cache pages of %zu bytes", o->kv_copy.n,
                 o->kv_copy.page_bytes);
        return;
    case OP_ROPE_STORE:
        snprintf(text, size, "rotation and storing of %d rows, %d heads, layer %d",
                 o->rope_store.row.rows, o->rope_store.n_heads, o->rope_store.layer);
        return;
    case OP_PRODUCT:
    case OP_PRODUCT_F32:
    case OP_LIBRARY:
        snprintf(text, size, "product of %d rows with %d by %d weights%s", o->product.rows,
                 o->product.n, o->product.k, o->kind == OP_LIBRARY ? " by cuBLASLt" : "");
        return;
    case OP_PARTIAL:
    case OP_FINISH:
        snprintf(text, size, "attention, %d items of %d heads of %d, layer %d", o->attend.n_items,
                 o->attend.n_heads, o->attend.kv.head_dim, o->attend.layer);
        return;
    case OP_PICKS:
        snprintf(text, size, "%d picks of %d logits", o->picks.n_items, o->picks.n_vocab);
        return;
    case OP_SPAN:
        snprintf(text, size, "next rows of %d drawing ones", o->span.args.n);
        return;
    }
}

static rm_status copy_there(rm_backend *b, const cuda_area *area, rm_error *err)
{
    for (int i = 0; i < area->n_blocks; i++) {
        if (!area->block[i].used)
            continue;
        int code = (int)cudaMemcpyAsync(area->block[i].device, area->block[i].host,
                                        area->block[i].used, cudaMemcpyHostToDevice, b->stream);
        if (code)
            return CUDA_FAIL(err, code, "copying %zu bytes of indices to %s", area->block[i].used,
                             b->name);
    }
    return RM_OK;
}

static rm_status copy_back(rm_backend *b, const cuda_area *area, rm_error *err)
{
    for (int i = 0; i < area->n_blocks; i++) {
        if (!area->block[i].used)
            continue;
        int code = (int)cudaMemcpyAsync(area->block[i].host, area->block[i].device,
                                        area->block[i].used, cudaMemcpyDeviceToHost, b->stream);
        if (code)
            return CUDA_FAIL(err, code, "copying %zu bytes of results from %s",
                             area->block[i].used, b->name);
    }
    return RM_OK;
}

/* Everything on the stream: indices there, launches, results back. Names what failed. */
static rm_status issue(rm_backend *b, const cuda_program *p, rm_error *err)
{
    rm_status st = p->travels ? copy_there(b, &b->upload, err) : RM_OK;
    if (!st && p->travels && b->ahead.open)
        st = copy_there(b, &b->ahead.upload, err);
    for (size_t i = 0; i < p->n_ops && !st; i++) {
        int code = cuda_launch(b, &p->ops[i]);
        char what[128];
        if (!code)
            continue;
        cuda_op_describe(&p->ops[i], what, sizeof what);
        st = CUDA_FAIL(err, code, "%s", what);
    }
    if (!st && p->travels)
        st = copy_back(b, &b->result, err);
    if (!st && p->travels && b->ahead.open)
        st = copy_back(b, &b->ahead.result, err);
    return st;
}

/* ---- graphs ----------------------------------------------------------------------------------------- */

static uint64_t area_used(const cuda_area *area)
{
    uint64_t used = 0;
    for (int i = 0; i < area->n_blocks; i++)
        used = rm_mix(used, area->block[i].used);
    return used;
}

static void graph_free(cuda_graph *g)
{
    if (g->exec)
        cudaGraphExecDestroy(g->exec);
    free(g->ops);
    *g = (cuda_graph){ 0 };
}

void cuda_graphs_free(rm_backend *b)
{
    for (int i = 0; i < GRAPHS && b->graphs; i++)
        graph_free(&b->graphs[i]);
    free(b->graphs);
    b->graphs = NULL;
}

/* The entry of a program; a new one takes the place of the least recently used. NULL: no memory,
 * which costs speed alone. */
static cuda_graph *find_graph(rm_backend *b, const cuda_program *p)
{
    size_t bytes = p->n_ops * sizeof *p->ops;
    if (!b->graphs && !(b->graphs = calloc(GRAPHS, sizeof *b->graphs)))
        return NULL;
    uint64_t upload = 0, result = 0;
    if (p->travels) {
        upload = rm_mix(area_used(&b->upload), b->ahead.open ? area_used(&b->ahead.upload) : 0);
        result = rm_mix(area_used(&b->result), b->ahead.open ? area_used(&b->ahead.result) : 0);
    }
    uint64_t hash = rm_mix(rm_mix(rm_hash_bytes(p->ops, bytes), upload), result);
    cuda_graph *oldest = &b->graphs[0];
    for (int i = 0; i < GRAPHS; i++) {
        cuda_graph *g = &b->graphs[i];
        if (g->ops && g->hash == hash && g->n_ops == p->n_ops && g->upload == upload &&
            g->result == result && memcmp(g->ops, p->ops, bytes) == 0) {
            g->used_at = ++b->runs;
            return g;
        }
        oldest = g->used_at < oldest->used_at ? g : oldest;
    }
    graph_free(oldest);
    oldest->ops = malloc(bytes);
    if (!oldest->ops)
        return NULL;
    memcpy(oldest->ops, p->ops, bytes);
    oldest->hash = hash;
    oldest->n_ops = p->n_ops;
    oldest->upload = upload;
    oldest->result = result;
    oldest->used_at = ++b->runs;
    oldest->fresh = true;
    return oldest;
}

/* The program as a graph; where that cannot be had it is launched as it stands. */
static rm_status capture(rm_backend *b, const cuda_program *p, cuda_graph *g, rm_error *err)
{
    cudaGraph_t graph = NULL;
    int code = (int)cudaStreamBeginCapture(b->stream, cudaStreamCaptureModeThreadLocal);
    if (code) {
        cudaGetLastError();
        return RM_OK;
    }
    rm_status st = issue(b, p, err);
    code = (int)cudaStreamEndCapture(b->stream, &graph);
    if (!st && !code)
        code = (int)cudaGraphInstantiate(&g->exec, graph, 0);
    if (graph)
        cudaGraphDestroy(graph);
    if (code || st) {
        cudaGetLastError();
        g->exec = NULL;
    }
    return st;
}

rm_status cuda_run(rm_backend *b, const cuda_program *p, rm_error *err)
{
    cuda_graph *g = find_graph(b, p);
    rm_status st = RM_OK;
    if (g && !g->fresh && !g->exec)
        st = capture(b, p, g, err);
    if (g)
        g->fresh = false;
    if (st || !g || !g->exec)
        return st ? st : issue(b, p, err);
    int code = (int)cudaGraphLaunch(g->exec, b->stream);
    b->n_replays += !code;
    return code ? CUDA_FAIL(err, code, "a graph of %zu launches", p->n_ops) : RM_OK;
}

/* ---- flush -------------------------------------------------------------------------------------------- */

/* A device tells too late which launch it was. */
static rm_status failed_on_device(rm_backend *b, int code, rm_error *err)
{
    char first[128], last[128];
    cuda_op_describe(&b->ops[0], first, sizeof first);
    cuda_op_describe(&b->ops[b->n_ops - 1], last, sizeof last);
    return CUDA_FAIL(err, code, "one of %zu launches on %s, from the %s to the %s,", b->n_ops,
                     b->name, first, last);
}

/* The program enqueued on the stream, and waited for; what it goes on with is begun behind it. */
static rm_status run_and_wait(rm_backend *b, rm_error *err)
{
    int code = (int)cudaSetDevice(b->options.device);
    if (code)
        return CUDA_FAIL(err, code, "cudaSetDevice %d", b->options.device);
    rm_status st = cuda_run(b, &(cuda_program){ b->ops, b->n_ops, true }, err);
    if (!st && b->ahead.open)
        return cuda_ahead_begin(b, err);
    if (!st && (code = (int)cudaStreamSynchronize(b->stream)))
        st = failed_on_device(b, code, err);
    return st;
}

rm_status cuda_flush(rm_backend *b, rm_error *err)
{
    if (!b->status && b->ahead.open)
        cuda_ahead_prepare(b);
    rm_status st = b->status;
    if (st)
        rm_fail(err, st, "%s", b->error.text);
    else if (b->n_ops)
        st = run_and_wait(b, err);
    if (!st)
        cuda_picks_deliver(b);
    b->status = RM_OK;
    b->n_ops = 0;
    b->n_batches = b->n_picked = 0;
    cuda_area_empty(&b->upload);
    cuda_area_empty(&b->result);
    if (b->ahead.open) {
        cuda_area_empty(&b->ahead.upload);
        cuda_area_empty(&b->ahead.result);
    }
    b->ahead.open = false;
    b->program++;
    return st;
}
