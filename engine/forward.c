/* forward.c - planning a pass and enqueueing the forward pass (forward.h).
 *
 * The model, as llama has it (Touvron et al. 2023, arXiv:2302.13971), on R rows:
 *
 *     x = embedding[token]
 *     each layer:  x += Wo attention(rope(Wqkv rms(x) + b))     grouped-query attention
 *                  x += Wdown (silu(Wgate rms(x)) * Wup rms(x))
 *     logits = Wout rms(x)                                      for rows that want them
 *
 * and its relatives: qwen2 has the biases b, qwen3 normalises each head's queries and keys before
 * they are rotated, mistral's attention sees the last positions only (the cache knows how many).
 *
 * Only the rows that want a distribution or leave a tip pass the final norm, and only those that
 * want a distribution meet the output matrix: in a prefill that is one row of hundreds. */
#include "engine/forward.h"

#include "engine/ahead.h"
#include "engine/replay.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { LOGITS_BYTES = 128 << 20, LOGITS_SHARE = 64 }; /* most that the logits of one pass may take:
                                                         so much, or this part of a device's memory */

/* ---- buffers ------------------------------------------------------------------------------- */

rm_status rm_pass_new(int max_rows, rm_pass **out, rm_error *err)
{
    rm_pass *pass = calloc(1, sizeof *pass);
    if (!pass)
        return rm_fail(err, RM_E_MEMORY, "no memory for the batches of an engine");
    pass->max_rows = max_rows;
    pass->max_picks = pass->max_served = 4 * max_rows;
    pass->picks = calloc((size_t)pass->max_picks, sizeof *pass->picks);
    pass->pick_runs = calloc((size_t)pass->max_picks, sizeof *pass->pick_runs);
    pass->pick_models = calloc((size_t)pass->max_picks, sizeof *pass->pick_models);
    pass->no_numbers = calloc((size_t)pass->max_picks, sizeof *pass->no_numbers);
    pass->served = calloc((size_t)pass->max_served, sizeof *pass->served);
    pass->ascending = calloc((size_t)max_rows, sizeof *pass->ascending);
    if (!pass->picks || !pass->pick_runs || !pass->pick_models || !pass->no_numbers
        || !pass->served || !pass->ascending) {
        rm_pass_free(pass);
        return rm_fail(err, RM_E_MEMORY, "no memory for batches of %d rows", max_rows);
    }
    for (int i = 0; i < max_rows; i++)
        pass->ascending[i] = i;
    *out = pass;
    return RM_OK;
}

void rm_pass_free(rm_pass *pass)
{
    if (!pass)
        return;
    free(pass->picks);
    free(pass->pick_runs);
    free(pass->pick_models);
    free(pass->no_numbers);
    free(pass->served);
    free(pass->ascending);
    free(pass);
}

static int32_t *indices(int n, bool *failed)
{
    int32_t *array = calloc((size_t)n, sizeof *array);
    *failed |= !array;
    return array;
}

rm_status rm_model_buffers_new(rm_model *model, rm_error *err)
{
    const rm_ops *ops = model->engine->ops;
    rm_backend *backend = model->engine->backend;
    const rm_model_info *info = &model->weights->info;
    int rows = model->engine->options.max_batch_rows;
    size_t R = (size_t)rows, C = (size_t)info->head_dim, H = (size_t)info->n_heads,
           G = (size_t)info->n_kv_heads, D = (size_t)info->n_embd;

    size_t most = model->engine->identity.memory_bytes / LOGITS_SHARE;
    size_t block = (most > LOGITS_BYTES ? most : LOGITS_BYTES) / sizeof(float) / (size_t)info->n_vocab;
    model->block_rows = block < RM_MAX_MEMBERS * 2 ? RM_MAX_MEMBERS * 2
                        : block > 2 * R            ? 2 * rows
                                                   : (int)block;
    size_t B = (size_t)model->block_rows;

    bool failed = false;
    rm_rows *in = &model->rows;
    in->token = indices(rows, &failed);
    in->position = indices(rows, &failed);
    in->seq = indices(rows, &failed);
    in->ahead = indices(rows, &failed);
    in->pages = calloc(R, sizeof *in->pages);
    rm_outputs *outputs = &model->outputs;
    int32_t **blocks[] = { &outputs->row_from, &outputs->row_to,    &outputs->tip_from,
                           &outputs->tip_to,   &outputs->kept_from, &outputs->kept_slot };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        *blocks[i] = indices(model->block_rows, &failed);
    outputs->state_from = indices(rows, &failed);
    outputs->state_slot = indices(rows, &failed);
    if (failed || !in->pages)
        return rm_fail(err, RM_E_MEMORY, "no memory for batches of %d rows of %s", rows,
                       info->name);

    const struct {
        rm_tensor **tensor;
        size_t rows, width;
    } tensors[] = {
        { &model->x, R, D },
        { &model->norm, R, D },
        { &model->qkv, R, (H + 2 * G) * C },
        { &model->attended, R, H * C },
        { &model->hidden, R, (size_t)info->n_ff },
        { &model->last, B, D },
        { &model->logits, B, (size_t)info->n_vocab },
    };
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        rm_status status =
            ops->tensor_new(backend, tensors[i].rows, tensors[i].width, tensors[i].tensor, err);
        if (status)
            return status;
    }
    return RM_OK;
}

void rm_model_buffers_free(rm_model *model)
{
    rm_tensor *tensors[] = { model->x,      model->norm, model->qkv,    model->attended,
                             model->hidden, model->last, model->logits, model->tips };
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        if (tensors[i])
            model->engine->ops->tensor_free(model->engine->backend, tensors[i]);
    rm_rows *in = &model->rows;
    free(in->token);
    free(in->position);
    free(in->seq);
    free(in->pages);
    free(in->ahead);
    rm_outputs *outputs = &model->outputs;
    free(outputs->row_from);
    free(outputs->row_to);
    free(outputs->tip_from);
    free(outputs->tip_to);
    free(outputs->kept_from);
    free(outputs->kept_slot);
    free(outputs->state_from);
    free(outputs->state_slot);
    free(model->free_slots);
}

/* ---- planning ------------------------------------------------------------------------------ */

void rm_pass_begin(rm_engine *engine)
{
    engine->pass->number++;
    engine->pass->n_picks = engine->pass->n_served = 0;
    rm_ahead_begin_pass(engine);
    for (rm_model *model = engine->models; model; model = model->next) {
        model->rows.n = model->rows.n_seqs = 0;
        rm_outputs *outputs = &model->outputs;
        outputs->n = outputs->n_rows = outputs->n_tips = outputs->n_kept = outputs->n_states = 0;
    }
}

/* Rows for positions [from, from + n) of a path; returns the first one's index. */
static int add_rows(rm_path *path, int from, int n)
{
    rm_rows *rows = &path->model->rows;
    int first = rows->n;
    if (!n)
        return first;
    rows->pages[rows->n_seqs] = path->pages;
    rows->ahead[rows->n_seqs] = 0;
    for (int i = 0; i < n; i++) {
        rows->token[first + i] = path->tokens[from + i];
        rows->position[first + i] = from + i;
        rows->seq[first + i] = rows->n_seqs;
    }
    rows->n += n;
    rows->n_seqs++;
    return first;
}

static int want_row(rm_model *model, int row)
{
    rm_outputs *outputs = &model->outputs;
    outputs->row_from[outputs->n_rows] = row;
    outputs->row_to[outputs->n_rows++] = outputs->n;
    return outputs->n++;
}

/* Requests on the same tip share one row of logits. */
static int want_tip(const rm_pass *pass, rm_model *model, rm_tip *tip)
{
    rm_outputs *outputs = &model->outputs;
    if (tip->pass != pass->number) {
        tip->pass = pass->number;
        tip->row = outputs->n;
        outputs->tip_from[outputs->n_tips] = tip->slot;
        outputs->tip_to[outputs->n_tips++] = outputs->n++;
    }
    return tip->row;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* How a task fits: rows of each member before its first place, and how many places. */
typedef struct task_fit {
    int before[RM_MAX_MEMBERS];
    bool tip[RM_MAX_MEMBERS]; /* the first place is its tip */
    int places;
} task_fit;

static task_fit fit_task(const rm_pass *pass, const rm_task *task)
{
    task_fit fit = { .places = task->n_places - task->places_done };
    bool all = true;
    for (int m = 0; m < task->n_members; m++) {
        rm_model *model = task->member[m]->model;
        model->planned = model->rows.n;
        model->sharing = 0;
    }
    for (int m = 0; m < task->n_members; m++) {
        rm_path *path = task->member[m];
        int pending = rm_task_rows(task, path);
        fit.tip[m] = path->tip && !task->places_done;
        int before = pending - (fit.places - fit.tip[m]);
        fit.before[m] = smaller(before, pass->max_rows - path->model->planned);
        path->model->planned += fit.before[m];
        path->model->sharing++;
        all &= fit.before[m] == before;
    }
    if (!all || pass->n_served == pass->max_served)
        fit.places = 0;
    if (task->request->want != RM_WANT_NOTHING)
        fit.places = smaller(fit.places, pass->max_picks - pass->n_picks);
    for (int m = 0; m < task->n_members; m++) {
        const rm_model *model = task->member[m]->model;
        int rows = (pass->max_rows - model->planned) / model->sharing;
        bool row_free = fit.tip[m] && model->sharing == 1; /* its first place needs no row */
        fit.places = smaller(fit.places, rows + row_free);
        if (task->request->want != RM_WANT_NOTHING)
            fit.places =
                smaller(fit.places, (model->block_rows - model->outputs.n) / model->sharing);
    }
    return fit;
}

/* One pick for place i of the task; `rows` are its members' rows of logits. */
static void add_pick(rm_pass *pass, rm_run *run, rm_task *task, int i, const int *rows)
{
    const rm_request *request = task->request;
    const rm_path *path = task->member[0];
    int at = pass->n_picks++;
    rm_pick *pick = &pass->picks[at];
    pass->pick_runs[at] = run;
    pass->pick_models[at] = path->model;
    pass->no_numbers[at] = false;
    pick->out_no_numbers = &pass->no_numbers[at];
    pick->want = request->want;
    pick->n_members = task->n_members;
    for (int m = 0; m < task->n_members; m++) {
        pick->member[m].logits = task->member[m]->model->logits;
        pick->member[m].row = rows[m];
        pick->member[m].weight = task->weight[m];
    }
    pick->combine = request->combine;
    pick->n_vocab = path->model->weights->info.n_vocab;
    pick->sampling = request->sampling;
    pick->seed = run->options.seed;
    pick->stream = task->stream;
    pick->index = (uint32_t)path->length;
    pick->history = path->tokens;
    pick->n_history = path->length;
    pick->k = request->k;
    pick->tokens = request->tokens;
    pick->n_tokens = request->n_tokens;
    pick->out_tokens = task->tokens;
    pick->out_lp = task->lp;
    pick->out_lp_sampling = task->lp_sampling;
    if (request->want == RM_WANT_SPAN) {
        pick->out_tokens += task->n_results;
        pick->out_lp += task->n_results;
        pick->out_lp_sampling += task->n_results;
    } else if (request->want == RM_WANT_SCORE) {
        pick->index = (uint32_t)(path->length - request->n_tokens + i);
        pick->tokens += i;
        pick->n_tokens = 1;
        pick->out_lp += i;
    }
}

rm_status rm_pass_add(rm_engine *engine, rm_run *run, rm_task *task, rm_error *err)
{
    rm_pass *pass = engine->pass;
    if (rm_ahead_add(engine, run, task))
        return RM_OK;
    task_fit fit = fit_task(pass, task);
    rm_tip *tip[RM_MAX_MEMBERS] = { NULL };
    if (fit.places && rm_task_leaves_tip(task))
        for (int m = 0; m < task->n_members; m++)
            if (!fit.tip[m] && !(tip[m] = rm_tip_new(run, task->member[m]->model, err))) {
                while (m--)
                    rm_tip_drop(run, task->member[m]->model, tip[m]);
                return RM_E_MEMORY;
            }

    int first_row[RM_MAX_MEMBERS];
    for (int m = 0; m < task->n_members; m++) {
        rm_path *path = task->member[m];
        int n = fit.before[m] + (fit.places ? fit.places - fit.tip[m] : 0);
        first_row[m] = add_rows(path, path->evaluated, n) + fit.before[m];
        run->energy_rows += (uint64_t)n;
        engine->energy_rows += (uint64_t)n;
        rm_path_advance(path, n);
    }
    bool distribution = task->request->want != RM_WANT_NOTHING;
    for (int i = 0; i < fit.places; i++) {
        int rows[RM_MAX_MEMBERS] = { 0 };
        for (int m = 0; m < task->n_members; m++) {
            rm_model *model = task->member[m]->model;
            rm_outputs *outputs = &model->outputs;
            int row = first_row[m] + i - fit.tip[m];
            if (distribution)
                rows[m] = fit.tip[m] && i == 0 ? want_tip(pass, model, task->member[m]->tip)
                                               : want_row(model, row);
            if (tip[m] && distribution) {
                outputs->kept_from[outputs->n_kept] = rows[m];
                outputs->kept_slot[outputs->n_kept++] = tip[m]->slot;
            } else if (tip[m]) {
                outputs->state_from[outputs->n_states] = row;
                outputs->state_slot[outputs->n_states++] = tip[m]->slot;
            }
        }
        if (distribution)
            add_pick(pass, run, task, task->places_done + i, rows);
    }
    for (int m = 0; m < task->n_members; m++)
        if (tip[m])
            task->member[m]->tip = tip[m];
    task->places_done += fit.places;
    if (task->places_done == task->n_places) {
        pass->served[pass->n_served].run = run;
        pass->served[pass->n_served++].task = task;
    }
    return RM_OK;
}

bool rm_pass_full(const rm_engine *engine)
{
    const rm_pass *pass = engine->pass;
    if (pass->n_served == pass->max_served || pass->n_picks == pass->max_picks)
        return true;
    for (const rm_model *model = engine->models; model; model = model->next)
        if (model->rows.n < pass->max_rows && model->outputs.n < model->block_rows)
            return false;
    return true;
}

bool rm_pass_empty(const rm_engine *engine)
{
    if (engine->pass->n_picks || engine->pass->n_served)
        return false;
    for (const rm_model *model = engine->models; model; model = model->next)
        if (model->rows.n)
            return false;
    return true;
}

/* ---- the forward pass ---------------------------------------------------------------------- */

/* Enqueues the layers for the rows planned; afterwards x is the residual stream after the last
 * layer. */
static void enqueue_layers(rm_model *model)
{
    const rm_ops *ops = model->engine->ops;
    rm_backend *backend = model->engine->backend;
    const rm_weights *weights = model->weights;
    const rm_rows *in = &model->rows;
    rm_kv *kv = model->pool.kv;
    float eps = (float)weights->info.norm_eps;
    int R = in->n, H = weights->info.n_heads, G = weights->info.n_kv_heads;

    model->batch = (rm_batch){ .n_rows = R,
                               .n_seqs = in->n_seqs,
                               .token = in->token,
                               .position = in->position,
                               .seq = in->seq,
                               .pages = in->pages,
                               .ahead = in->ahead };
    ops->batch(backend, kv, &model->batch);
    ops->embed(backend, model->x, weights->embedding, in->token, R);
    for (int l = 0; l < weights->info.n_layers; l++) {
        const rm_layer *layer = &weights->layers[l];
        ops->rms_norm(backend, model->norm, model->x, layer->attn_norm, eps, R);
        ops->matmul(backend, model->qkv, model->norm, layer->qkv, R); /* [R, (H+2G)C] */
        if (layer->q_norm) {
            ops->head_norm(backend, model->qkv, layer->q_norm, eps, 0, H, R);
            ops->head_norm(backend, model->qkv, layer->k_norm, eps, H, G, R);
        }
        ops->rope_store(backend, model->qkv, kv, l, H);
        ops->attention(backend, model->attended, model->qkv, kv, l, H); /* [R, HC] */
        ops->matmul_add(backend, model->x, model->attended, layer->attn_out, R);
        ops->rms_norm(backend, model->norm, model->x, layer->ffn_norm, eps, R);
        ops->swiglu(backend, model->hidden, model->norm, layer->gate_up, R); /* [R, F] */
        ops->matmul_add(backend, model->x, model->hidden, layer->down, R);
    }
}

/* Enqueues what the planned outputs need: tips to keep, and logits. */
static void enqueue_outputs(rm_model *model)
{
    const rm_ops *ops = model->engine->ops;
    rm_backend *backend = model->engine->backend;
    const rm_weights *weights = model->weights;
    const rm_outputs *out = &model->outputs;
    const int32_t *ascending = model->engine->pass->ascending;
    float eps = (float)weights->info.norm_eps;

    if (out->n_states) {
        ops->copy_rows(backend, model->norm, ascending, model->x, out->state_from, out->n_states);
        ops->rms_norm(backend, model->norm, model->norm, weights->out_norm, eps, out->n_states);
        ops->copy_rows(backend, model->tips, out->state_slot, model->norm, ascending,
                       out->n_states);
    }
    if (out->n_rows) {
        ops->copy_rows(backend, model->last, out->row_to, model->x, out->row_from, out->n_rows);
        ops->rms_norm(backend, model->last, model->last, weights->out_norm, eps, out->n);
    }
    if (out->n_tips)
        ops->copy_rows(backend, model->last, out->tip_to, model->tips, out->tip_from, out->n_tips);
    if (out->n_kept)
        ops->copy_rows(backend, model->tips, out->kept_slot, model->last, out->kept_from,
                       out->n_kept);
    if (out->n)
        ops->matmul(backend, model->logits, model->last, weights->output, out->n); /* [., V] */
}

void rm_run_doom(rm_run *run, const rm_model *model, uint32_t length)
{
    if (run->doomed)
        return;
    run->doomed = true;
    run->status = rm_fail(&run->error, RM_E_FORMAT, "the logits of %s after %u tokens are no "
                          "numbers (NaN or infinite): its weights are damaged, or its compute "
                          "type overflows", model->weights->info.name, (unsigned)length);
}

static void doom_without_numbers(const rm_pass *pass)
{
    for (int i = 0; i < pass->n_picks; i++)
        if (pass->no_numbers[i])
            rm_run_doom(pass->pick_runs[i], pass->pick_models[i], pass->picks[i].index);
}

static void enqueue_model(rm_model *model)
{
    if (model->rows.n)
        enqueue_layers(model);
    enqueue_outputs(model);
}

/* Replayed models decide first, in time that no run is charged (replay.c). */
static rm_status decide(rm_engine *engine, rm_error *err)
{
    bool any = false;
    double start = rm_now_s();
    for (rm_model *model = engine->models; model; model = model->next)
        if (model->body) {
            enqueue_model(model);
            rm_replay_plan(model);
            any = true;
        }
    if (!any)
        return RM_OK;
    rm_status status = engine->ops->flush(engine->backend, err);
    engine->deciding_s += rm_now_s() - start;
    return status;
}

rm_status rm_pass_run(rm_engine *engine, rm_error *err)
{
    rm_status status = rm_ahead_take(engine, err);
    if (!status)
        status = decide(engine, err);
    if (!status)
        status = rm_ahead_plan(engine, err);
    if (status)
        return status;
    for (rm_model *model = engine->models; model; model = model->next) {
        engine->times.rows += (uint64_t)model->rows.n;
        enqueue_model(model->body ? model->body : model);
    }
    if (engine->pass->n_picks)
        engine->ops->pick(engine->backend, engine->pass->picks, engine->pass->n_picks);
    engine->times.rounds++;
    status = engine->ops->flush(engine->backend, err);
    if (!status)
        doom_without_numbers(engine->pass);
    return status;
}

rm_status rm_path_evaluate_again(rm_path *path, int from, int n, int32_t slot, rm_error *err)
{
    rm_model *model = path->model;
    rm_engine *engine = model->engine;
    rm_status status = RM_OK;
    while (n > 0 && !status) {
        int take = smaller(n, engine->pass->max_rows);
        rm_pass_begin(engine);
        add_rows(path, from, take);
        if (take == n && slot >= 0) {
            model->outputs.state_from[0] = take - 1;
            model->outputs.state_slot[0] = slot;
            model->outputs.n_states = 1;
        }
        status = rm_pass_run(engine, err);
        from += take;
        n -= take;
    }
    return status;
}
