/* rollout.c - groups of samples: one job a problem, its samples forks of one evaluated prompt.
 *
 * This is how any strategy draws (same token tree, same random stream), with each token's
 * log-probability kept: in f32 it is the log-probability that training computes, bit for bit. */
#include "experiments/train/train.h"

#include <stdlib.h>
#include <string.h>

enum { CONCURRENCY = 64 };

typedef struct rollout_job {
    rm_job job;
    const rollout_request *request;
    rm_slot *slot;           /* NULL: the task keeps the item */
    const rm_item *item;
    rollout *out;            /* [n_samples] */
} rollout_job;

typedef struct rollout_crew {
    rollout_job *jobs;
    int n, next;
    rm_status status;        /* the first failure */
    rm_error error;
} rollout_crew;

static int count_of(const char *text, const char *tag)
{
    int n = 0;
    for (const char *at = text; *tag && (at = strstr(at, tag)); at += strlen(tag))
        n++;
    return n;
}

/* Text, answer and verdict of a sample. */
static rm_status grade(const rollout_job *j, const rm_request *span, rollout *out, rm_error *err)
{
    const rm_task *task = j->request->task;
    rm_text text = { 0 };
    char *answer = NULL;
    int n = span->result.n;
    bool ended = span->result.reason == RM_STOP_TOKEN;
    out->truncated = span->result.reason != RM_STOP_TOKEN && span->result.reason != RM_STOP_STRING;
    rm_detokenize(j->request->model, span->result.tokens, ended && n ? n - 1 : n, true, &text);
    rm_text_puts(&text, "");
    if (text.failed || !text.data)
        return rm_fail(err, RM_E_MEMORY, "no memory for the text of a sample");
    if (span->result.n_stop_bytes > 0 && !ended)
        text.data[span->result.n_stop_bytes] = '\0';
    rm_status st = rm_task_grade(task, j->item, text.data, out->truncated, &answer, &out->correct,
                                 err);
    const rm_strings *think = &task->format.think;
    bool one_thought = think->n != 2 || (count_of(text.data, think->items[1]) == 1 &&
                                         count_of(text.data, think->items[0]) == 0);
    out->formed = !out->truncated && answer && one_thought;
    free(answer);
    rm_text_free(&text);
    return st;
}

static rm_status keep(const rollout_job *j, const rm_request *span, int n_prompt, rollout *out,
                      rm_error *err)
{
    int n = n_prompt + span->result.n;
    out->n = n;
    out->n_prompt = n_prompt;
    out->tokens = malloc((size_t)n * sizeof *out->tokens);
    out->lp = calloc((size_t)n, sizeof *out->lp);
    if (!out->tokens || !out->lp)
        return rm_fail(err, RM_E_MEMORY, "no memory for a sample of %d tokens", n);
    memcpy(out->tokens, rm_path_tokens(span->path), (size_t)n * sizeof *out->tokens);
    memcpy(out->lp + n_prompt, span->result.lp, (size_t)span->result.n * sizeof *out->lp);
    return grade(j, span, out, err);
}

/* One problem, as straight-line code in its coroutine. */
static rm_status work(rm_run *run, void *arg, rm_error *err)
{
    rollout_job *j = arg;
    const rollout_request *r = j->request;
    const rm_problem *problem = &j->item->seen;
    rm_stop stop = { .strings = problem->stop_strings, .n_strings = problem->n_stop_strings };
    rm_path *root;
    int32_t *prompt = NULL;
    int n_prompt;
    stop.tokens = rm_model_stop_tokens(r->model, &stop.n_tokens);
    rm_request *spans = rm_run_alloc(run, (size_t)r->n_samples * sizeof *spans);
    rm_status st = spans ? rm_tokenize(r->model, problem->prompt, strlen(problem->prompt), true,
                                       &prompt, &n_prompt, err)
                         : rm_fail(err, RM_E_MEMORY, "no memory for %d samples", r->n_samples);
    if (!st)
        st = rm_path_new(run, r->model, prompt, n_prompt, &root, err);
    free(prompt);
    if (!st)
        st = rm_eval(run, &(rm_request){ .want = RM_WANT_NOTHING, .path = root }, 1, err);
    for (int i = 0; i < r->n_samples && !st; i++) {
        spans[i] = (rm_request){ .want = RM_WANT_SPAN, .sampling = &r->sampling, .stop = &stop,
                                 .max_new_tokens = r->max_new_tokens };
        st = rm_path_fork(root, (uint32_t)i, &spans[i].path, err);
    }
    if (!st)
        st = rm_eval(run, spans, r->n_samples, err);
    for (int i = 0; i < r->n_samples && !st; i++)
        st = keep(j, &spans[i], n_prompt, &j->out[i], err);
    return st;
}

static rm_job *next_job(void *arg)
{
    rollout_crew *crew = arg;
    return crew->next < crew->n && !crew->status ? &crew->jobs[crew->next++].job : NULL;
}

static void job_done(void *arg, rm_job *job)
{
    rollout_crew *crew = arg;
    if (job->status && !crew->status) {
        crew->status = job->status;
        crew->error = job->error;
    }
}

static rm_status make_jobs(const rollout_request *r, rollout_crew *crew, rollout *out,
                           rm_error *err)
{
    rm_status st = RM_OK;
    for (int i = 0; i < r->n_problems && !st; i++) {
        rollout_job *j = &crew->jobs[i];
        size_t index = r->first + (size_t)i;
        st = r->listed ? rm_task_item(r->task, index, &j->item, err)
                       : rm_task_draw(r->task, index, &j->slot, &j->item, err);
        if (st)
            break;
        j->request = r;
        j->out = out + (size_t)i * (size_t)r->n_samples;
        j->job = (rm_job){ .options = { .seed = r->seed, .problem = j->item->hash }, .work = work,
                           .arg = j };
    }
    return st;
}

rm_status rollouts_draw(const rollout_request *request, int number, rollout_list *list,
                        rm_error *err)
{
    size_t more = (size_t)request->n_problems * (size_t)request->n_samples;
    rollout_crew crew = { .n = request->n_problems };
    rollout *items = realloc(list->items, ((size_t)list->n + more) * sizeof *items);
    if (items) {
        list->items = items;
        memset(items + list->n, 0, more * sizeof *items);
    }
    crew.jobs = calloc((size_t)request->n_problems + 1, sizeof *crew.jobs);
    if (!items || !crew.jobs) {
        free(crew.jobs);
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu samples", more);
    }
    rollout *first = items + list->n;
    list->n += (int)more;
    rm_status st = make_jobs(request, &crew, first, err);
    if (!st)
        st = rm_engine_run(request->engine, CONCURRENCY, next_job, job_done, &crew, request->cancel,
                           err);
    if (crew.status && (!st || st != RM_E_CANCELLED))
        st = rm_fail(err, crew.status, "%s", crew.error.text);
    for (size_t i = 0; i < more; i++) {
        first[i].problem = number + (int)(i / (size_t)request->n_samples);
        list->tokens += (uint64_t)(first[i].n - first[i].n_prompt);
    }
    for (int i = 0; i < crew.n; i++)
        if (crew.jobs[i].slot)
            rm_task_drop(crew.jobs[i].slot);
    free(crew.jobs);
    return st;
}

void rollouts_free(rollout_list *list)
{
    for (int i = 0; i < list->n; i++) {
        free(list->items[i].tokens);
        free(list->items[i].lp);
    }
    free(list->items);
    *list = (rollout_list){ 0 };
}
