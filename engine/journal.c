/* journal.c - resuming in the middle of a problem.
 *
 * A journal is a list of records, little-endian, that grows while the run goes on:
 *
 *     'B' u32 n, n times { u8 want, u64 name }                   an rm_eval of n requests begins; name
 *                                                                is a span's stream, or its path
 *     'T' u32 i, u32 n, n times i32, n times f64, n times f64    request i drew n tokens more: their ids,
 *                                                                lp, lp_sampling
 *     'X'                                                        here the journal ends: something else
 *                                                                was asked for
 *
 * Only spans and RM_WANT_NOTHING of models that are computed here are recorded: samples, which are
 * what takes hours. A strategy is straight-line code, so that the same problem makes the same requests
 * again; a run that takes up a journal lets it, and answers from the records instead of evaluating. It goes
 * through the same rounds: tokens are appended, ends are looked for, and the account counts as it
 * always does, from the tree. Meanwhile the run counts as suspended (scheduler.h): it holds no pages.
 * Where the records end it goes on as any suspended run does: its positions are evaluated again,
 * many rows at a time, to the same bits. So records and account are those of a run that was
 * never interrupted, and a journal that does not fit (another version, a damaged file) costs nothing but
 * the time that it would have saved. */
#include "engine/journal.h"

#include "engine/num.h"
#include "engine/scheduler.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD_BYTES = 40, TOKEN_BYTES = 4 + 8 + 8, REQUEST_BYTES = 1 + 8 };
static const char head_mark[8] = "rmjournl";

/* ---- bytes -------------------------------------------------------------------------------- */

static void put_u32(rm_text *out, uint32_t value)
{
    char bytes[4];
    for (int i = 0; i < 4; i++)
        bytes[i] = (char)(unsigned char)(value >> 8 * i);
    rm_text_add(out, bytes, sizeof bytes);
}

static void put_u64(rm_text *out, uint64_t value)
{
    put_u32(out, (uint32_t)value);
    put_u32(out, (uint32_t)(value >> 32));
}

static uint32_t get_u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get_u64(const unsigned char *p)
{
    return get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

static double get_f64(const unsigned char *p)
{
    uint64_t bits = get_u64(p);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- recording ---------------------------------------------------------------------------- */

/* What the journal must agree with besides its requests. */
static uint64_t run_name(const rm_run *run)
{
    return rm_mix(rm_mix(run->options.seed, run->options.problem), run->options.stream);
}

static uint64_t request_name(const rm_task *task)
{
    return task->request->want == RM_WANT_SPAN ? task->stream : task->member[0]->identity;
}

static bool is_recorded(const rm_task *task)
{
    rm_want want = task->request->want;
    return (want == RM_WANT_SPAN || want == RM_WANT_NOTHING) && !task->member[0]->model->served;
}

static void close_journal(rm_journal *d)
{
    rm_text_puts(&d->records, "X");
    d->closed = true;
}

static void record_begin(rm_run *run)
{
    rm_journal *d = &run->journal;
    d->kept = rm_arena_alloc(&run->scratch, (size_t)run->n_tasks * sizeof *d->kept);
    bool fine = d->kept != NULL;
    for (int i = 0; i < run->n_tasks && fine; i++)
        fine = is_recorded(&run->tasks[i]);
    if (!fine) {
        close_journal(d);
        return;
    }
    rm_text_puts(&d->records, "B");
    put_u32(&d->records, (uint32_t)run->n_tasks);
    for (int i = 0; i < run->n_tasks; i++) {
        char want = (char)run->tasks[i].request->want;
        rm_text_add(&d->records, &want, 1);
        put_u64(&d->records, request_name(&run->tasks[i]));
    }
}

/* What the requests in progress have drawn since they were last looked at. */
static void record_tokens(rm_run *run)
{
    rm_journal *d = &run->journal;
    for (int i = 0; i < run->n_tasks; i++) {
        const rm_task *task = &run->tasks[i];
        int from = d->kept[i], n = task->n_results - from;
        if (task->request->want != RM_WANT_SPAN || n <= 0)
            continue;
        rm_text_puts(&d->records, "T");
        put_u32(&d->records, (uint32_t)i);
        put_u32(&d->records, (uint32_t)n);
        for (int t = from; t < from + n; t++)
            put_u32(&d->records, (uint32_t)task->tokens[t]);
        for (int t = from; t < from + n; t++)
            put_u64(&d->records, rm_bits(task->lp[t]));
        for (int t = from; t < from + n; t++)
            put_u64(&d->records, rm_bits(task->lp_sampling[t]));
        d->kept[i] = task->n_results;
    }
}

void rm_journal_end_eval(rm_run *run, bool failed)
{
    rm_journal *d = &run->journal;
    if (!run->options.keep_journal || d->closed || !d->kept)
        return;
    if (failed)
        close_journal(d);
    else
        record_tokens(run);
    d->kept = NULL;
}

rm_status rm_run_journal(rm_run *run, bool first, rm_text *out, rm_error *err)
{
    rm_journal *d = &run->journal;
    if (run->active && d->kept && !d->closed)
        record_tokens(run);
    if (first) {
        rm_text_add(out, head_mark, sizeof head_mark);
        put_u64(out, run_name(run));
    }
    size_t at = out->length;
    double now = rm_now_s();
    put_u64(out, rm_bits(now - run->started_s));
    put_u64(out, rm_bits(run->first_token_s > 0.0 ? run->first_token_s - run->started_s : 0.0));
    put_u64(out, d->records.length);
    rm_text_add(out, d->records.data ? d->records.data : "", d->records.length);
    put_u64(out, rm_hash_bytes(out->data + at, out->length - at));
    bool failed = d->records.failed || out->failed;
    rm_text_free(&d->records);
    return failed ? rm_fail(err, RM_E_MEMORY, "no memory to keep what a problem has drawn") : RM_OK;
}

/* ---- opening ------------------------------------------------------------------------------ */

/* Joins the records of all chunks that are whole; *elapsed and *first are those of the last. */
static size_t join_chunks(const unsigned char *in, size_t n, unsigned char *out, double *elapsed,
                          double *first)
{
    size_t joined = 0;
    while (n >= HEAD_BYTES - sizeof head_mark) {
        uint64_t length = get_u64(in + 16);
        if (length > n - (HEAD_BYTES - sizeof head_mark) ||
            get_u64(in + 24 + length) != rm_hash_bytes((const char *)in, 24 + (size_t)length))
            break;
        memcpy(out + joined, in + 24, (size_t)length);
        joined += (size_t)length;
        *elapsed = get_f64(in);
        *first = get_f64(in + 8);
        in += 32 + length;
        n -= 32 + (size_t)length;
    }
    return joined;
}

void rm_journal_open(rm_run *run)
{
    const unsigned char *in = run->options.journal;
    size_t n = run->options.n_journal;
    double elapsed = 0, first = 0;
    run->options.journal = NULL;
    if (!in || n < 16 || memcmp(in, head_mark, sizeof head_mark) || get_u64(in + 8) != run_name(run))
        return;
    unsigned char *records = rm_arena_alloc(&run->life, n);
    if (!records)
        return;
    run->journal.next = records;
    run->journal.n_left = join_chunks(in + 16, n - 16, records, &elapsed, &first);
    if (elapsed > 0 && elapsed < 1e9) /* the time that it took then counts */
        run->started_s -= elapsed;
    if (first > 0 && first <= elapsed)
        run->first_token_s = run->started_s + first;
}

void rm_journal_free(rm_run *run)
{
    rm_text_free(&run->journal.records);
}

/* ---- taking up ---------------------------------------------------------------------------- */

/* What the records say of one request. */
typedef struct known {
    int n;
    int32_t *tokens;         /* [n] */
    double *lp, *lp_sampling;
} known;

/* Skips a 'B' record that fits the requests; false if the next one is none. */
static bool take_begin(const rm_run *run, rm_journal *d)
{
    const unsigned char *p = d->next;
    size_t size = 5 + (size_t)run->n_tasks * REQUEST_BYTES;
    if (d->n_left < size || p[0] != 'B' || get_u32(p + 1) != (uint32_t)run->n_tasks)
        return false;
    p += 5;
    for (int i = 0; i < run->n_tasks; i++, p += REQUEST_BYTES)
        if (!is_recorded(&run->tasks[i]) || p[0] != (unsigned char)run->tasks[i].request->want ||
            get_u64(p + 1) != request_name(&run->tasks[i]))
            return false;
    d->next += size;
    d->n_left -= size;
    return true;
}

/* Takes one 'T' record; false if the next one is none, or makes no sense. */
static bool take_tokens(const rm_run *run, rm_journal *d, known *all)
{
    const unsigned char *p = d->next;
    if (d->n_left < 9 || p[0] != 'T')
        return false;
    uint32_t i = get_u32(p + 1), n = get_u32(p + 5);
    if (i >= (uint32_t)run->n_tasks || n > (d->n_left - 9) / TOKEN_BYTES)
        return false;
    const rm_task *task = &run->tasks[i];
    known *k = &all[i];
    int n_vocab = task->member[0]->model->weights->info.n_vocab;
    if (task->request->want != RM_WANT_SPAN || n > (uint32_t)(task->capacity - k->n))
        return false;
    for (uint32_t t = 0; t < n; t++) {
        uint32_t token = get_u32(p + 9 + 4 * (size_t)t);
        if (token >= (uint32_t)n_vocab)
            return false;
        k->tokens[k->n + (int)t] = (int32_t)token;
        k->lp[k->n + (int)t] = get_f64(p + 9 + 4 * (size_t)n + 8 * (size_t)t);
        k->lp_sampling[k->n + (int)t] = get_f64(p + 9 + 12 * (size_t)n + 8 * (size_t)t);
    }
    k->n += (int)n;
    d->next += 9 + (size_t)n * TOKEN_BYTES;
    d->n_left -= 9 + (size_t)n * TOKEN_BYTES;
    return true;
}

/* Does every request of the round that begins have its token? */
static bool round_is_known(const rm_run *run, const known *all)
{
    for (int i = 0; i < run->n_tasks; i++) {
        const rm_task *task = &run->tasks[i];
        if (!task->finished && task->request->want == RM_WANT_SPAN && all[i].n <= task->n_results)
            return false;
    }
    return true;
}

/* What a pass does for a request, without the pass: positions count as evaluated, the state that
 * a path keeps is to be restored with the rest. */
static rm_status serve_on_paper(rm_run *run, rm_task *task, const known *k, rm_error *err)
{
    for (int m = 0; m < task->n_members; m++) {
        rm_path *path = task->member[m];
        rm_path_advance(path, rm_task_rows(task, path));
        if (rm_task_leaves_tip(task) && !path->tip) {
            if (!(path->tip = rm_tip_new(run, path->model, err)))
                return RM_E_MEMORY;
            rm_tip_empty(path->tip, path->model);
        }
    }
    if (task->request->want == RM_WANT_SPAN) {
        int at = task->n_results;
        task->tokens[at] = k->tokens[at];
        task->lp[at] = k->lp[at];
        task->lp_sampling[at] = k->lp_sampling[at];
        run->journal.replayed++;
    }
    rm_eval_task_served(run, task);
    return RM_OK;
}

static rm_status replay(rm_run *run, const known *all, rm_error *err)
{
    rm_status status = RM_OK;
    if (!run->suspended)
        rm_run_suspend(run);
    while (run->active && !status && round_is_known(run, all)) {
        rm_eval_begin_round(run);
        for (int i = 0; i < run->n_tasks && !status; i++)
            if (!run->tasks[i].round_done)
                status = serve_on_paper(run, &run->tasks[i], &all[i], err);
        if (!status)
            rm_eval_end_round(run);
    }
    if (status) {
        rm_error why = *err;
        rm_eval_abandon(run, status, &why);
    }
    size_t paths = 0;
    for (const rm_path *path = run->first_path; path; path = path->next)
        paths += path->model->pool.page_bytes + path->model->tip_bytes;
    run->restore_bytes = (size_t)rm_run_held_bytes(run) + paths;
    return status;
}

rm_status rm_journal_begin_eval(rm_run *run, rm_error *err)
{
    rm_journal *d = &run->journal;
    if (run->options.keep_journal && !d->closed)
        record_begin(run);
    if (!d->n_left)
        return RM_OK;
    known *all = take_begin(run, d)
                     ? rm_arena_alloc(&run->scratch, (size_t)run->n_tasks * sizeof *all) : NULL;
    for (int i = 0; i < run->n_tasks && all; i++) {
        size_t n = run->tasks[i].request->want == RM_WANT_SPAN ? (size_t)run->tasks[i].capacity : 0;
        all[i].tokens = rm_arena_alloc(&run->scratch, n * sizeof *all[i].tokens);
        all[i].lp = rm_arena_alloc(&run->scratch, n * sizeof *all[i].lp);
        all[i].lp_sampling = rm_arena_alloc(&run->scratch, n * sizeof *all[i].lp_sampling);
        if (!all[i].tokens || !all[i].lp || !all[i].lp_sampling)
            all = NULL;
    }
    if (!all) { /* it does not fit, or there is no room: computed like any other */
        d->n_left = 0;
        return RM_OK;
    }
    while (take_tokens(run, d, all))
        ;
    rm_status status = replay(run, all, err);
    if (run->active) /* its records end here */
        d->n_left = 0;
    return status;
}

/* ---- what is in flight -------------------------------------------------------------------- */

rm_run_flight rm_run_in_flight(const rm_run *run)
{
    rm_run_flight flight = { .tokens = run->generated, .replayed = run->journal.replayed };
    for (int i = 0; run->active && i < run->n_tasks; i++)
        flight.paths += !run->tasks[i].finished && run->tasks[i].request->want == RM_WANT_SPAN;
    return flight;
}
