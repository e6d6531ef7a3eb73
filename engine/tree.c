/* tree.c - paths, nodes and tips (tree.h). */
#include "engine/tree.h"

#include "engine/account.h"
#include "engine/run.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- nodes --------------------------------------------------------------------------------- */

static rm_node *node_new(rm_run *run, rm_node *parent, int usage)
{
    rm_node *node = run->free_nodes;
    if (node)
        run->free_nodes = node->parent;
    else if (!(node = rm_arena_alloc(&run->life, sizeof *node)))
        return NULL;
    *node = (rm_node){
        .parent = parent, .references = 1, .start = rm_node_end(parent), .usage = usage
    };
    return node;
}

/* Gives one reference back; a node without any leaves the tree, and then perhaps its parent. */
static void node_drop(rm_run *run, rm_node *node)
{
    while (node && --node->references == 0) {
        assert(node->active == 0);
        rm_node *parent = node->parent;
        run->usage[node->usage].held -= (uint64_t)node->length;
        run->prefix_positions -= (uint64_t)node->prefix_positions;
        node->parent = run->free_nodes;
        run->free_nodes = node;
        node = parent;
    }
}

rm_status rm_path_own_node(rm_path *path, rm_error *err)
{
    if (path->node && path->node->references == 1)
        return RM_OK;
    assert(!path->active);
    rm_node *node = node_new(path->run, path->node, path->usage);
    if (!node)
        return rm_fail(err, RM_E_MEMORY, "no memory for another node of the token tree");
    if (path->claim == node) /* an earlier node lay there */
        path->claim = NULL;
    path->node = node;
    return RM_OK;
}

void rm_path_advance(rm_path *path, int n)
{
    rm_run *run = path->run;
    rm_usage *usage = &run->usage[path->usage];
    rm_node *node = path->node;
    if (!n)
        return;
    assert(n <= rm_path_pending(path) && node && node->references == 1);
    usage->rows += (uint64_t)n;
    usage->looked += rm_positions_looked((uint64_t)path->evaluated, (uint64_t)n,
                                         path->model->weights->info.window);
    usage->held += (uint64_t)n;
    if (path->active)
        usage->active += (uint64_t)n;
    node->length += n;
    node->claimed = false;
    path->evaluated += n;
}

void rm_path_retract(rm_path *path, int length, int evaluated, int64_t text_bytes, rm_tip *tip)
{
    rm_node *node = path->node;
    int back = path->evaluated - evaluated;
    assert(back >= 0 && length <= path->length && !path->active && !path->n_lent);
    if (back) {
        assert(node && node->references == 1 && node->length >= back);
        node->length -= back;
        if (node->prefix_positions > node->length) {
            path->run->prefix_positions -= (uint64_t)(node->prefix_positions - node->length);
            node->prefix_positions = node->length;
        }
        path->run->usage[path->usage].held -= (uint64_t)back;
    }
    rm_pool *pool = &path->model->pool;
    int keep = (evaluated + pool->page_positions - 1) / pool->page_positions;
    while (path->n_pages > keep && path->n_pages > path->n_gone)
        rm_pool_release(pool, path->pages[--path->n_pages]);
    path->evaluated = evaluated;
    path->length = length;
    path->text_bytes = text_bytes;
    if (path->tip != tip) {
        rm_tip_drop(path->run, path->model, path->tip);
        path->tip = tip;
        if (tip)
            tip->references++;
    }
}

void rm_path_claim(rm_path *path)
{
    rm_node *node = path->node;
    int end = rm_node_end(node);
    if (!node || (path->claim == node && path->claim_end == end))
        return;
    if (node->claimed)
        path->run->shared += (uint64_t)end;
    node->claimed = true;
    path->claim = node;
    path->claim_end = end;
}

/* Joins a node with its parent, which nobody else refers to. Forks that are dropped again leave such
 * parents behind: a long beam search would walk past one for every token of its text, in every round. */
static void absorb_parent(rm_run *run, rm_node *node)
{
    rm_node *parent = node->parent;
    assert(parent->references == 1 && !parent->active && !node->active && parent->usage == node->usage);
    node->start = parent->start;
    node->length += parent->length;
    node->prefix_positions += parent->prefix_positions;
    node->parent = parent->parent;
    parent->parent = run->free_nodes;
    run->free_nodes = parent;
}

void rm_path_activate(rm_path *path)
{
    if (path->active)
        return;
    path->active = true;
    for (rm_node *node = path->node; node; node = node->parent) {
        while (!node->active && node->parent && node->parent->references == 1)
            absorb_parent(path->run, node);
        if (node->active++)
            break;
        path->run->usage[node->usage].active += (uint64_t)node->length;
    }
}

void rm_path_deactivate(rm_path *path)
{
    if (!path->active)
        return;
    path->active = false;
    for (rm_node *node = path->node; node; node = node->parent) {
        if (--node->active)
            break;
        path->run->usage[node->usage].active -= (uint64_t)node->length;
    }
}

uint64_t rm_tree_seen(const rm_run *run, int usage, bool evaluating)
{
    uint64_t stamp = ++run->engine->walks, seen = 0;
    int window = run->usage[usage].model->weights->info.window;
    for (const rm_path *path = run->first_path; path; path = path->next) {
        int begin = (path->active ? path->round_from : path->evaluated) - window + 1;
        if (path->usage != usage || (evaluating && !path->active))
            continue;
        for (rm_node *node = path->node; node && rm_node_end(node) > begin; node = node->parent) {
            int low = node->start > begin ? node->start : begin;
            if (node->walk != stamp) {
                node->walk = stamp;
                node->walked_from = rm_node_end(node);
            }
            if (low < 0)
                low = 0;
            if (low < node->walked_from) {
                seen += (uint64_t)(node->walked_from - low);
                node->walked_from = low;
            }
        }
    }
    return seen;
}

/* ---- tips ---------------------------------------------------------------------------------- */

/* Twice as many slots, in a new tensor; states move by one copy. */
static rm_status tips_grow(rm_model *model, rm_error *err)
{
    const rm_ops *ops = model->engine->ops;
    rm_backend *backend = model->engine->backend;
    int n = model->n_slots ? 2 * model->n_slots : 64;
    rm_status status = RM_OK;
    rm_tensor *tips = NULL;
    int32_t *same = NULL;
    int32_t *free_slots = realloc(model->free_slots, (size_t)n * sizeof *free_slots);
    if (free_slots)
        model->free_slots = free_slots;
    if (!free_slots || !(same = malloc((size_t)n * sizeof *same))) {
        status = rm_fail(err, RM_E_MEMORY, "no memory to keep the states of %d paths", n);
        goto done;
    }
    for (int i = 0; i < n; i++)
        same[i] = i;
    status = ops->tensor_new(backend, (size_t)n, (size_t)model->weights->info.n_embd, &tips, err);
    if (status)
        goto done;
    if (model->n_slots) {
        ops->copy_rows(backend, tips, same, model->tips, same, model->n_slots);
        status = ops->flush(backend, err);
        if (status)
            goto done;
        ops->tensor_free(backend, model->tips);
    }
    model->tips = tips;
    tips = NULL;
    for (int i = n - 1; i >= model->n_slots; i--)
        model->free_slots[model->n_free_slots++] = i;
    model->n_slots = n;
done:
    if (tips)
        ops->tensor_free(backend, tips);
    free(same);
    return status;
}

rm_status rm_tip_fill(rm_tip *tip, rm_model *model, rm_error *err)
{
    assert(tip->slot < 0);
    if (!model->n_free_slots) {
        rm_status status = tips_grow(model, err);
        if (status)
            return status;
    }
    tip->slot = model->free_slots[--model->n_free_slots];
    rm_budget_add(&model->engine->budget, model->tip_bytes);
    return RM_OK;
}

void rm_tip_empty(rm_tip *tip, rm_model *model)
{
    if (tip->slot < 0)
        return;
    model->free_slots[model->n_free_slots++] = tip->slot;
    tip->slot = -1;
    rm_budget_remove(&model->engine->budget, model->tip_bytes);
}

rm_tip *rm_tip_new(rm_run *run, rm_model *model, rm_error *err)
{
    rm_tip *tip = run->free_tips;
    if (tip)
        run->free_tips = tip->next_free;
    else if (!(tip = rm_arena_alloc(&run->life, sizeof *tip))) {
        rm_fail(err, RM_E_MEMORY, "no memory for the state of another path");
        return NULL;
    }
    *tip = (rm_tip){ .references = 1, .slot = -1 };
    if (rm_tip_fill(tip, model, err)) {
        tip->next_free = run->free_tips;
        run->free_tips = tip;
        return NULL;
    }
    return tip;
}

void rm_tip_drop(rm_run *run, rm_model *model, rm_tip *tip)
{
    if (!tip || --tip->references)
        return;
    rm_tip_empty(tip, model);
    tip->next_free = run->free_tips;
    run->free_tips = tip;
}

/* ---- pages --------------------------------------------------------------------------------- */

static bool last_page_shared(const rm_path *path, int from)
{
    const rm_pool *pool = &path->model->pool;
    return from % pool->page_positions &&
           pool->references[path->pages[from / pool->page_positions]] > 1;
}

int rm_path_pages_needed(const rm_path *path, int from, int more)
{
    if (!more)
        return 0;
    int page = path->model->pool.page_positions;
    return (from + more + page - 1) / page - path->n_pages + last_page_shared(path, from);
}

void rm_path_take_pages(rm_path *path, int from, int more)
{
    if (!more)
        return;
    rm_pool *pool = &path->model->pool;
    if (last_page_shared(path, from)) {
        int at = from / pool->page_positions;
        int32_t copy = rm_pool_take(pool);
        rm_pool_copy(pool, copy, path->pages[at]);
        rm_pool_release(pool, path->pages[at]);
        path->pages[at] = copy;
    }
    int want = (from + more + pool->page_positions - 1) / pool->page_positions;
    assert(want <= path->page_capacity);
    while (path->n_pages < want) {
        if (path->n_lent) {
            path->n_lent--;
            rm_pool_adopt(pool, path->pages[path->n_pages]);
        } else {
            path->pages[path->n_pages] = rm_pool_take(pool);
        }
        path->n_pages++;
    }
}

int rm_path_pages_to_lend(const rm_path *path, int end)
{
    int page = path->model->pool.page_positions, have = path->n_pages + path->n_lent;
    int want = (end + page - 1) / page;
    return want > have ? want - have : 0;
}

void rm_path_lend_pages(rm_path *path, int end)
{
    int n = rm_path_pages_to_lend(path, end);
    assert(path->n_pages + path->n_lent + n <= path->page_capacity);
    for (int i = 0; i < n; i++, path->n_lent++)
        path->pages[path->n_pages + path->n_lent] = rm_pool_lend(&path->model->pool);
}

void rm_path_return_lent(rm_path *path)
{
    while (path->n_lent)
        rm_pool_give_back(&path->model->pool, path->pages[path->n_pages + --path->n_lent]);
}

/* Pages wholly before the chunk in which a row at `next` begins to look. Whole chunks, because
 * attention reads a chunk at a time. */
static int pages_behind(const rm_path *path, int next)
{
    int window = path->model->weights->info.window, page = path->model->pool.page_positions;
    if (!window || path->run->internal || next < window)
        return 0;
    return (next - window + 1) / RM_CHUNK * (RM_CHUNK / page);
}

void rm_path_release_behind(rm_path *path, int next)
{
    int behind = pages_behind(path, next);
    while (path->n_gone < behind && path->n_gone < path->n_pages)
        rm_pool_release(&path->model->pool, path->pages[path->n_gone++]);
}

bool rm_path_can_see(const rm_path *path, int next)
{
    return path->n_gone <= pages_behind(path, next);
}

void rm_path_share_pages(rm_path *path, const rm_path *from, int n)
{
    rm_pool *pool = &path->model->pool;
    int pages = (n + pool->page_positions - 1) / pool->page_positions;
    assert(!path->n_pages && pages <= from->n_pages && pages <= path->page_capacity);
    path->n_gone = from->n_gone < pages ? from->n_gone : pages;
    for (int i = 0; i < pages; i++) {
        if (i >= path->n_gone)
            rm_pool_share(pool, from->pages[i]);
        path->pages[i] = from->pages[i];
    }
    path->n_pages = pages;
}

void rm_path_release_pages(rm_path *path)
{
    assert(!path->n_lent);
    while (path->n_pages > path->n_gone)
        rm_pool_release(&path->model->pool, path->pages[--path->n_pages]);
    path->n_pages = path->n_gone = 0;
}

/* ---- paths --------------------------------------------------------------------------------- */

rm_status rm_path_reserve(rm_path *path, int length, rm_error *err)
{
    if (length > path->capacity) {
        int capacity = length < 32 ? 32 : length;
        int32_t *tokens = realloc(path->tokens, (size_t)capacity * sizeof *tokens);
        if (!tokens)
            return rm_fail(err, RM_E_MEMORY, "no memory for the tokens of a path of %d", length);
        path->tokens = tokens;
        path->capacity = capacity;
    }
    int page = path->model->pool.page_positions;
    int pages = (path->capacity + page - 1) / page;
    if (pages > path->page_capacity) {
        int32_t *list = realloc(path->pages, (size_t)pages * sizeof *list);
        if (!list)
            return rm_fail(err, RM_E_MEMORY, "no memory for the pages of a path of %d", length);
        path->pages = list;
        path->page_capacity = pages;
    }
    return RM_OK;
}

void rm_path_push(rm_path *path, int32_t token)
{
    size_t n;
    bool special;
    assert(path->length < path->capacity);
    path->tokens[path->length++] = token;
    rm_token_bytes(path->model, token, &n, &special);
    path->text_bytes += special ? 0 : (int64_t)n;
    rm_tip_drop(path->run, path->model, path->tip);
    path->tip = NULL;
}

static rm_status check_tokens(const rm_model *model, const int32_t *tokens, int n, rm_error *err)
{
    const rm_model_info *info = &model->weights->info;
    for (int i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= info->n_vocab)
            return rm_fail(err, RM_E_ARGUMENT,
                           "token %d of %d is %d, but the vocabulary of %s is 0 to %d", i, n,
                           (int)tokens[i], info->name, info->n_vocab - 1);
    return RM_OK;
}

static rm_path *path_alloc(rm_run *run, rm_model *model, int length, rm_error *err)
{
    rm_path *path = calloc(1, sizeof *path);
    if (!path) {
        rm_fail(err, RM_E_MEMORY, "no memory for another path");
        return NULL;
    }
    path->run = run;
    path->model = model;
    if (rm_path_reserve(path, length, err)) {
        free(path->tokens);
        free(path->pages);
        free(path);
        return NULL;
    }
    path->prev = run->last_path;
    if (run->last_path)
        run->last_path->next = path;
    else
        run->first_path = path;
    run->last_path = path;
    return path;
}

rm_status rm_path_new(rm_run *run, rm_model *model, const int32_t *tokens, int n, rm_path **out,
                      rm_error *err)
{
    const rm_model_info *info = &model->weights->info;
    if (n < 1)
        return rm_fail(err, RM_E_ARGUMENT, "a path needs a prompt of at least one token");
    if (n > info->n_ctx)
        return rm_fail(err, RM_E_LIMIT, "a prompt of %d tokens exceeds the %d positions of %s", n,
                       info->n_ctx, info->name);
    if (model->engine != run->engine)
        return rm_fail(err, RM_E_ARGUMENT, "model %s belongs to another engine than the run",
                       info->name);
    rm_status status = check_tokens(model, tokens, n, err);
    if (status)
        return status;
    int usage = rm_run_usage(run, model, err);
    if (usage < 0)
        return RM_E_ARGUMENT;
    rm_path *path = path_alloc(run, model, n, err);
    if (!path)
        return RM_E_MEMORY;
    memcpy(path->tokens, tokens, (size_t)n * sizeof *tokens);
    path->length = path->n_prompt = n;
    path->usage = usage;
    path->version = model->version;
    path->identity = rm_hash_bytes(tokens, (size_t)n * sizeof *tokens);
    *out = path;
    return RM_OK;
}

rm_status rm_path_fork(rm_path *parent, uint32_t ordinal, rm_path **out, rm_error *err)
{
    rm_path *path = path_alloc(parent->run, parent->model, parent->length, err);
    if (!path)
        return RM_E_MEMORY;
    memcpy(path->tokens, parent->tokens, (size_t)parent->length * sizeof *path->tokens);
    path->length = parent->length;
    path->n_prompt = parent->n_prompt;
    path->evaluated = parent->evaluated;
    path->text_bytes = parent->text_bytes;
    path->told_prompt = parent->told_prompt;
    path->usage = parent->usage;
    path->version = parent->version;
    path->identity = rm_mix(parent->identity, ordinal);
    path->node = parent->node;
    if (path->node)
        path->node->references++;
    path->tip = parent->tip;
    if (path->tip)
        path->tip->references++;
    if (!parent->run->suspended)
        rm_path_share_pages(path, parent, parent->evaluated);
    *out = path;
    return RM_OK;
}

rm_status rm_path_prepare(rm_path *path, const int32_t *tokens, int n, rm_error *err)
{
    const rm_model_info *info = &path->model->weights->info;
    if (n < 0)
        return rm_fail(err, RM_E_ARGUMENT, "cannot append %d tokens", n);
    if (n > info->n_ctx - path->length)
        return rm_fail(err, RM_E_LIMIT, "%d more tokens after %d exceed the %d positions of %s", n,
                       path->length, info->n_ctx, info->name);
    rm_status status = check_tokens(path->model, tokens, n, err);
    if (!status && path->length + n > path->capacity)
        status = rm_path_reserve(
            path, path->length + n < info->n_ctx / 2 ? 2 * (path->length + n) : info->n_ctx, err);
    return status;
}

rm_status rm_path_append(rm_path *path, const int32_t *tokens, int n, rm_error *err)
{
    rm_status status = rm_path_prepare(path, tokens, n, err);
    if (status)
        return status;
    rm_run *run = path->run;
    for (int i = 0; i < n; i++)
        rm_path_push(path, tokens[i]);
    run->generated += (uint64_t)n;
    if (n && run->first_token_s == 0.0)
        run->first_token_s = rm_engine_now(run->engine);
    return RM_OK;
}

rm_status rm_path_take_back(rm_path *path, rm_error *err)
{
    const rm_node *node = path->node;
    if (rm_path_pending(path) != 1)
        return rm_fail(err, RM_E_ARGUMENT,
                       "only a last token that has not been evaluated can be taken back");
    if (!node || node->references != 1 || node->length < 1)
        return rm_fail(err, RM_E_ARGUMENT,
                       "the token before the one to take back belongs to another path too");
    size_t n;
    bool special;
    rm_token_bytes(path->model, path->tokens[path->length - 1], &n, &special);
    rm_path_retract(path, path->length - 1, path->evaluated - 1,
                    path->text_bytes - (special ? 0 : (int64_t)n), NULL);
    return RM_OK;
}

void rm_path_drop(rm_path *path)
{
    if (!path)
        return;
    rm_run *run = path->run;
    assert(!run->active);
    rm_path_release_pages(path);
    rm_tip_drop(run, path->model, path->tip);
    node_drop(run, path->node);
    if (path->prev)
        path->prev->next = path->next;
    else
        run->first_path = path->next;
    if (path->next)
        path->next->prev = path->prev;
    else
        run->last_path = path->prev;
    free(path->tokens);
    free(path->pages);
    free(path);
}

int rm_path_length(const rm_path *path)
{
    return path->length;
}

int rm_path_prompt_length(const rm_path *path)
{
    return path->n_prompt;
}

const int32_t *rm_path_tokens(const rm_path *path)
{
    return path->tokens;
}

rm_model *rm_path_model(const rm_path *path)
{
    return path->model;
}

uint64_t rm_path_identity(const rm_path *path)
{
    return path->identity;
}
