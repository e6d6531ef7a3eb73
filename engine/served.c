/* served.c - models that a service computes (engine.h, rm_service).
 *
 * To strategies such a model looks like any other: paths, forks, spans. Its tokens are pieces of
 * text, numbered as they arrive and kept as long as the model: what a server tells apart is a
 * vocabulary of finite size, and prompts are as many as there are problems. A span is its path's
 * text, handed over under a ticket; until it is done the run's coroutine waits like any other, and
 * the engine computes what other runs want. */
#include "engine/served.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rm_served {
    rm_service service;
    struct piece {
        char *bytes;
        size_t n;
    } *pieces;                 /* [capacity] */
    int n, capacity;
    int32_t *slots;            /* [n_slots] open addressing, -1 free; a power of two */
    size_t n_slots;
};

/* ---- pieces ------------------------------------------------------------------------------- */

static size_t slot_of(const rm_served *s, const char *bytes, size_t n)
{
    size_t at = (size_t)rm_hash_bytes(bytes, n) & (s->n_slots - 1);
    while (s->slots[at] >= 0) {
        const struct piece *p = &s->pieces[s->slots[at]];
        if (p->n == n && (n == 0 || !memcmp(p->bytes, bytes, n)))
            break;
        at = (at + 1) & (s->n_slots - 1);
    }
    return at;
}

static rm_status grow(rm_served *s, rm_error *err)
{
    int capacity = s->capacity ? 2 * s->capacity : 256;
    size_t n_slots = 2 * (size_t)capacity;
    if (s->capacity > INT32_MAX / 4)
        return rm_fail(err, RM_E_LIMIT, "a service has returned more than %d different pieces of "
                       "text", s->n);
    struct piece *pieces = realloc(s->pieces, (size_t)capacity * sizeof *pieces);
    if (pieces)
        s->pieces = pieces;
    int32_t *slots = malloc(n_slots * sizeof *slots);
    if (!pieces || !slots) {
        free(slots);
        return rm_fail(err, RM_E_MEMORY, "no memory for the texts of a service");
    }
    memset(slots, 0xFF, n_slots * sizeof *slots);
    free(s->slots);
    s->slots = slots;
    s->n_slots = n_slots;
    s->capacity = capacity;
    for (int32_t i = 1; i < s->n; i++) /* the end has no text to be found by */
        s->slots[slot_of(s, s->pieces[i].bytes, s->pieces[i].n)] = i;
    return RM_OK;
}

rm_status rm_served_piece(rm_served *s, const char *bytes, size_t n, int32_t *id, rm_error *err)
{
    if (s->n == s->capacity) {
        rm_status status = grow(s, err);
        if (status)
            return status;
    }
    size_t at = slot_of(s, bytes, n);
    if (s->slots[at] < 0) {
        char *copy = malloc(n + 1);
        if (!copy)
            return rm_fail(err, RM_E_MEMORY, "no memory for the texts of a service");
        if (n)
            memcpy(copy, bytes, n);
        copy[n] = '\0';
        s->pieces[s->n] = (struct piece){ copy, n };
        s->slots[at] = s->n++;
    }
    *id = s->slots[at];
    return RM_OK;
}

const char *rm_served_bytes(const rm_served *s, int32_t id, size_t *n)
{
    *n = s->pieces[id].n;
    return s->pieces[id].bytes;
}

/* ---- opening ------------------------------------------------------------------------------ */

rm_status rm_model_open_service(rm_engine *engine, const char *name, const char *address,
                                const rm_service *service, rm_model **out, rm_error *err)
{
    rm_model *model = calloc(1, sizeof *model);
    rm_served *served = calloc(1, sizeof *served);
    rm_weights *weights = calloc(1, sizeof *weights);
    size_t n_name = strlen(name) + 1, n_address = strlen(address) + 1;
    char *texts = malloc(n_name + n_address);
    rm_status status = RM_OK;
    if (!model || !served || !weights || !texts || (status = grow(served, err))) {
        status = rm_fail(err, RM_E_MEMORY, "no memory for model %s", name);
        service->close(service->self);
        free(texts);
        free(weights);
        rm_served_free(served);
        free(model);
        return status;
    }
    memcpy(texts, name, n_name);
    memcpy(texts + n_name, address, n_address);
    static int32_t end[] = { RM_SERVED_END };
    served->service = *service;
    served->pieces[RM_SERVED_END] = (struct piece){ NULL, 0 };
    served->n = 1;
    uint64_t hash = rm_hash_bytes(name, n_name - 1);
    weights->info = (rm_model_info){
        .name = texts, .file = texts + n_name, .arch = "service", .id = hash, .served = true,
        .weight_type = "unknown", .compute = "unknown", .kv = "unknown", .tokenizer = "service",
        .n_vocab = INT32_MAX, .n_ctx = 1 << 30, .bos = -1, .eos = RM_SERVED_END,
        .value_good = -1, .value_bad = -1,
    };
    snprintf(weights->info.hash, sizeof weights->info.hash, "%016llx%016llx",
             (unsigned long long)hash, (unsigned long long)rm_mix(hash, 0));
    weights->stop_tokens = end;
    weights->n_stop_tokens = 1;
    model->engine = engine;
    model->weights = weights;
    model->served = served;
    model->version = 1;
    model->pool.page_positions = engine->options.page_positions; /* of no pages */
    model->next = engine->models;
    engine->models = model;
    *out = model;
    return RM_OK;
}

void rm_served_free(rm_served *s)
{
    if (!s)
        return;
    if (s->service.close)
        s->service.close(s->service.self);
    for (int i = 0; i < s->n; i++)
        free(s->pieces[i].bytes);
    free(s->pieces);
    free(s->slots);
    free(s);
}

bool rm_model_traffic(const rm_model *model, rm_service_traffic *traffic)
{
    const rm_service *service = model->served ? &model->served->service : NULL;
    if (!service || !service->tell)
        return false;
    service->tell(service->self, traffic);
    return true;
}

rm_status rm_served_check_top(const rm_model *model, const rm_request *request, int i, rm_error *err)
{
    int most = model->served->service.most_top;
    const char *name = model->weights->info.name;
    if (!most)
        return rm_fail(err, RM_E_ARGUMENT, "request %d wants the most likely next tokens of %s, a "
                       "service that is not known to tell them (top_logprobs)", i, name);
    if (request->k > most)
        return rm_fail(err, RM_E_ARGUMENT, "request %d wants the %d most likely next tokens of %s, "
                       "which tells at most %d (top_logprobs)", i, request->k, name, most);
    if (request->sampling && request->sampling->repetition_penalty != 1.0)
        return rm_fail(err, RM_E_ARGUMENT, "request %d penalises repetition among the most likely "
                       "tokens of %s, a service, which lists them before any penalty", i, name);
    return RM_OK;
}

/* ---- results ------------------------------------------------------------------------------ */

/* Which kind of stop string ended the span; RM_E_FORMAT where that cannot be told. */
static rm_status served_reason(rm_task *task, const rm_service_result *result, rm_error *err)
{
    const rm_stop *stop = task->request->stop;
    task->reason = result->reason;
    if (result->reason != RM_STOP_STRING || !stop || !stop->n_steps)
        return RM_OK;
    if (result->stop < 0)
        return rm_fail(err, RM_E_FORMAT, "%s does not say which stop string ended a text "
                       "(stop_reason), so steps cannot be told from answers",
                       task->member[0]->model->weights->info.name);
    if (result->stop >= stop->n_strings)
        task->reason = RM_STOP_STEP;
    return RM_OK;
}

/* Appends one piece of the result, or the end of a step, to path and results. */
static rm_status served_push(rm_task *task, const char *bytes, size_t n, double lp, bool end,
                             rm_error *err)
{
    rm_path *path = task->member[0];
    int32_t id = RM_SERVED_END;
    if (task->n_results >= task->capacity)
        return rm_fail(err, RM_E_FORMAT, "%s returned more than the %d tokens asked for",
                       path->model->weights->info.name, task->request->max_new_tokens);
    rm_status status = end ? RM_OK : rm_served_piece(path->model->served, bytes, n, &id, err);
    if (status)
        return status;
    task->tokens[task->n_results] = id;
    task->lp[task->n_results] = lp;
    task->lp_sampling[task->n_results++] = task->request->sampling->do_sample ? (double)NAN : 0.0;
    rm_path_push(path, id);
    return RM_OK;
}

/* A step's end belongs to the path, but services leave it out: it joins the last piece. */
static rm_status served_step_end(rm_task *task, const rm_service_result *result, rm_text *last,
                                 rm_error *err)
{
    const rm_stop *stop = task->request->stop;
    if (result->n_pieces)
        rm_text_add(last, result->pieces[result->n_pieces - 1].text,
                    result->pieces[result->n_pieces - 1].n);
    rm_text_puts(last, stop->steps[result->stop - stop->n_strings]);
    return last->failed ? rm_fail(err, RM_E_MEMORY, "no memory for the text of a step") : RM_OK;
}

/* A service reads text, and may read it in other tokens than those that were chosen one by one: then
 * what it says of the next token belongs to another sequence. The prompt's length gives it away. */
static rm_status same_tokens(rm_path *path, const rm_service_result *r, rm_error *err)
{
    const char *name = path->model->weights->info.name;
    int chosen = path->length - path->n_prompt;
    if (r->prompt_tokens < 1)
        return rm_fail(err, RM_E_FORMAT, "%s does not tell how many tokens a prompt has "
                       "(usage.prompt_tokens), so whether it reads a text in the tokens that were "
                       "chosen cannot be told", name);
    if (!chosen)
        path->told_prompt = r->prompt_tokens;
    if (!path->told_prompt || r->prompt_tokens == path->told_prompt + chosen)
        return RM_OK;
    return rm_fail(err, RM_E_FORMAT, "%s reads a path of %lld tokens, %d of them chosen one by one, as "
                   "%lld: its tokenizer splits the text otherwise, so the probabilities it tells are "
                   "those of another sequence", name, (long long)(path->told_prompt + chosen), chosen,
                   (long long)r->prompt_tokens);
}

/* The most likely tokens, as pieces. */
static rm_status served_take_top(rm_task *task, const rm_service_result *r, rm_error *err)
{
    rm_path *path = task->member[0];
    rm_status status = same_tokens(path, r, err);
    for (int i = 0; i < r->n_pieces && i < task->capacity && !status; i++) {
        int32_t id = RM_SERVED_END;
        if (i != r->end)
            status = rm_served_piece(path->model->served, r->pieces[i].text, r->pieces[i].n, &id, err);
        task->tokens[i] = id;
        task->lp[i] = r->lp[i];
        task->n_results = i + 1;
    }
    return status;
}

/* The account of what was drawn; first_token_s is that of the earliest of all spans. */
static void count_served(rm_run *run, const rm_path *path, bool prompt_only,
                         const rm_service_result *r)
{
    rm_usage *usage = &run->usage[path->usage];
    if (prompt_only && r->prompt_tokens >= 0 && !usage->prompt_tokens) {
        usage->prompt_tokens = (uint64_t)r->prompt_tokens;
        run->prompt_told = true;
    }
    double at = r->first_token_s;
    if (at > 0.0 && (run->first_token_s == 0.0 || at < run->first_token_s))
        run->first_token_s = at;
}

rm_status rm_served_take(rm_run *run, rm_task *task, const rm_service_result *r, rm_error *err)
{
    rm_path *path = task->member[0];
    bool prompt_only = path->length == path->n_prompt;
    if (task->request->want == RM_WANT_TOP) {
        count_served(run, path, prompt_only, r);
        return served_take_top(task, r, err);
    }
    rm_text last = { 0 };
    rm_status status = served_reason(task, r, err);
    if (!status && task->reason == RM_STOP_STEP)
        status = served_step_end(task, r, &last, err);
    int n = r->n_pieces - (r->has_end || last.length);
    for (int i = 0; i < n && !status; i++)
        status = served_push(task, r->pieces[i].text, r->pieces[i].n, r->lp ? r->lp[i] : NAN, false,
                             err);
    task->n_stop_bytes = path->text_bytes;
    if (!status && last.length) {
        task->n_stop_bytes += r->n_pieces ? (int64_t)r->pieces[r->n_pieces - 1].n : 0;
        double lp = !r->lp ? (double)NAN : r->n_pieces ? r->lp[r->n_pieces - 1] : 0.0;
        status = served_push(task, last.data, last.length, lp, false, err);
    }
    if (!status && task->reason == RM_STOP_TOKEN) { /* its lp is often not told: then it counts 0 */
        double lp = !r->lp ? (double)NAN : r->has_end ? r->lp[r->n_pieces - 1] : 0.0;
        status = served_push(task, NULL, 0, lp, true, err);
    }
    rm_text_free(&last);
    if (status)
        return status;
    run->generated += r->generated_tokens < 0 ? 0 : (uint64_t)r->generated_tokens;
    run->uncounted = run->uncounted || r->generated_tokens < 0;
    count_served(run, path, prompt_only, r);
    return RM_OK;
}

/* ---- spans in flight ------------------------------------------------------------------------ */

rm_status rm_served_submit(rm_run *run, rm_task *task, rm_error *err)
{
    const rm_path *path = task->member[0];
    const rm_served *served = path->model->served;
    const rm_stop *stop = task->request->stop;
    int n_stops = stop ? stop->n_strings + stop->n_steps : 0;
    const char **stops = rm_arena_alloc(&run->scratch, (size_t)n_stops * sizeof *stops);
    rm_text prompt = { 0 };
    rm_detokenize(path->model, path->tokens, path->length, true, &prompt);
    if (prompt.failed || !stops) {
        rm_text_free(&prompt);
        return rm_fail(err, RM_E_MEMORY, "no memory for the prompt of a span");
    }
    for (int i = 0; i < n_stops; i++)
        stops[i] = i < stop->n_strings ? stop->strings[i] : stop->steps[i - stop->n_strings];
    static const rm_sampling greedy = { .temperature = 1.0, .top_p = 1.0, .typical_p = 1.0,
                                        .repetition_penalty = 1.0 };
    bool top = task->request->want == RM_WANT_TOP;
    rm_service_span span = {
        .prompt = prompt.data ? prompt.data : "", .n_prompt = prompt.length,
        .continues = path->length > path->n_prompt, .k = top ? task->request->k : 0,
        .sampling = top ? &greedy : task->request->sampling,
        .max_new_tokens = top ? 1 : task->request->max_new_tokens,
        .stops = stops, .n_stops = n_stops,
        .endless = !top && stop && stop->tokens && !stop->n_tokens,
        .seed = rm_random(run->options.seed, task->stream, (uint32_t)path->length, 0),
    };
    uint64_t budget = top ? 0 : run->options.max_generated_tokens;
    if (budget && (uint64_t)span.max_new_tokens > budget - run->generated)
        span.max_new_tokens = (int)(budget - run->generated);
    uint64_t ticket = ++run->engine->last_ticket;
    rm_status status = served->service.submit(served->service.self, ticket, &span, err);
    if (!status) {
        task->ticket = ticket;
        run->n_in_flight++;
        run->engine->n_in_flight++;
    }
    rm_text_free(&prompt);
    return status;
}

static void landed(rm_run *run, rm_task *task)
{
    task->ticket = 0;
    run->n_in_flight--;
    run->engine->n_in_flight--;
}

void rm_served_cancel(rm_run *run)
{
    for (int i = 0; i < run->n_tasks && run->n_in_flight; i++) {
        rm_task *task = &run->tasks[i];
        if (task->ticket) {
            const rm_service *service = &task->member[0]->model->served->service;
            service->cancel(service->self, task->ticket);
            landed(run, task);
        }
    }
}

static void done(void *arg, uint64_t ticket, rm_status status, const rm_service_result *result,
                 const rm_error *error)
{
    rm_engine *engine = arg;
    for (rm_run *run = engine->first_run; run; run = run->next)
        for (int i = 0; run->n_in_flight && i < run->n_tasks; i++)
            if (run->tasks[i].ticket == ticket) {
                landed(run, &run->tasks[i]);
                rm_eval_task_drawn(run, &run->tasks[i], status, result, error);
                return;
            }
}

void rm_served_poll(rm_engine *engine, int wait_ms)
{
    int n = 0;
    for (rm_model *model = engine->models; model; model = model->next)
        n += model->served != NULL;
    for (rm_model *model = engine->models; model && engine->n_in_flight; model = model->next)
        if (model->served)
            model->served->service.poll(model->served->service.self, wait_ms / (n ? n : 1), done,
                                        engine);
}
