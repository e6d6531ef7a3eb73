/* fake_ahead.h - the double of a backend (fake.h) that goes on with spans by itself (rm_ops.ahead).
 *
 * As a device would, it keeps page lists, tokens and picks as they were announced and writes to those
 * pages in every step that begins, of all paths that have not ended or been told to leave. So a page
 * that was given away too early is overwritten, and whoever has it now has other logits. */
#ifndef TESTS_ENGINE_FAKE_AHEAD_H
#define TESTS_ENGINE_FAKE_AHEAD_H

#include "tests/engine/fake.h"

enum { FAKE_STEPS = 64, FAKE_PAGES = 64 };

typedef struct fake_path {
    rm_ahead_path path;
    rm_pick pick;
    int32_t *history, *stop;
    int left;
    bool gone;
    struct {
        rm_kv *kv;
        int32_t pages[FAKE_PAGES];
        int position;
    } member[RM_MAX_MEMBERS];
} fake_path;

static struct {
    bool announced;
    int n, begin, begun;
    fake_path *path;                        /* [n] */
    rm_drawn *drawn;                        /* [FAKE_STEPS + 1][n] */
    uint64_t groups, steps, left_early;     /* in all */
} fake_on;

static void fake_forget(void)
{
    for (int i = 0; i < fake_on.n; i++) {
        free(fake_on.path[i].history);
        free(fake_on.path[i].stop);
    }
    free(fake_on.path);
    free(fake_on.drawn);
    fake_on.path = NULL;
    fake_on.drawn = NULL;
    fake_on.n = 0;
}

static bool fake_ahead(rm_backend *b, const rm_ahead_path *path, int n, int begin)
{
    (void)b;
    fake_forget();
    fake_on.announced = true;
    fake_on.n = n;
    fake_on.begin = begin;
    fake_on.begun = 0;
    fake_on.path = calloc((size_t)n, sizeof *fake_on.path);
    fake_on.drawn = calloc((size_t)n * (FAKE_STEPS + 1), sizeof *fake_on.drawn);
    for (int i = 0; i < n; i++)
        fake_on.path[i].path = path[i];
    fake_on.groups++;
    return true;
}

static void fake_ahead_pick(rm_backend *b, const rm_pick *picks, int n)
{
    fake_pick(b, picks, n);
    if (!fake_on.announced)
        return;
    fake_check(n == fake_on.n);
    for (int i = 0; i < n; i++) {
        fake_path *p = &fake_on.path[i];
        fake_check(picks[i].want == RM_WANT_SPAN && p->path.n_members == picks[i].n_members);
        p->pick = picks[i];
        p->left = p->path.n_tokens;
        p->history = malloc(sizeof(int32_t) * (size_t)(picks[i].n_history + p->left));
        memcpy(p->history, picks[i].history, sizeof(int32_t) * (size_t)picks[i].n_history);
        p->stop = malloc(sizeof(int32_t) * (size_t)p->path.n_stop + 1);
        if (p->path.n_stop)
            memcpy(p->stop, p->path.stop, sizeof(int32_t) * (size_t)p->path.n_stop);
        for (int m = 0; m < p->path.n_members; m++) {
            const rm_batch *batch = &p->path.member[m].kv->batch;
            int row = p->path.member[m].row, seq = batch->seq[row];
            int last = batch->position[row] + batch->ahead[seq];
            int pages = last / p->path.member[m].kv->page_positions + 1;
            fake_check(pages <= FAKE_PAGES && batch->ahead[seq] == p->left - 1);
            p->member[m].kv = (rm_kv *)p->path.member[m].kv;
            p->member[m].position = batch->position[row];
            memcpy(p->member[m].pages, batch->pages[seq], sizeof(int32_t) * (size_t)pages);
        }
    }
}

/* The row of a member that follows when `token` was drawn: its logits. */
static void fake_next_row(fake_path *p, int m, int32_t token, float *row)
{
    rm_kv *kv = p->member[m].kv;
    int position = ++p->member[m].position, size = kv->page_positions;
    uint64_t history = 0;
    for (int at = 0; at <= position; at++) {
        size_t cell = (size_t)p->member[m].pages[at / size] * (size_t)size + (size_t)(at % size);
        if (at == position) {
            kv->cell[cell].token = token;
            kv->cell[cell].position = position;
        }
        history = fake_history(history, kv->cell[cell].token);
    }
    for (int v = 0; v < p->pick.n_vocab; v++)
        row[v] = fake_logit(history, v);
}

static void fake_step(void)
{
    static _Alignas(64) char scratch[4096];
    static float row[RM_MAX_MEMBERS][32];
    int step = ++fake_on.begun;
    fake_check(step <= FAKE_STEPS);
    for (int i = 0; i < fake_on.n; i++) {
        fake_path *p = &fake_on.path[i];
        const rm_drawn *before = &fake_on.drawn[(size_t)(step - 1) * (size_t)fake_on.n + (size_t)i];
        rm_drawn *now = (rm_drawn *)before + fake_on.n;
        for (int s = 0; s < p->path.n_stop; s++)
            p->left = p->stop[s] == before->token ? 0 : p->left;
        fake_on.left_early += p->gone && p->left > 1;
        if (p->gone || p->left <= 1 || before->no_numbers) {
            p->left = 0;
            continue;
        }
        p->left--;
        fake_on.steps++;
        p->history[p->pick.n_history++] = before->token;
        p->pick.history = p->history;
        p->pick.index++;
        const float *rows[RM_MAX_MEMBERS];
        for (int m = 0; m < p->path.n_members; m++) {
            fake_next_row(p, m, before->token, row[m]);
            rows[m] = row[m];
        }
        bool no_numbers = false;
        p->pick.out_tokens = &now->token;
        p->pick.out_lp = &now->lp;
        p->pick.out_lp_sampling = &now->lp_sampling;
        p->pick.out_no_numbers = &no_numbers;
        rm_pick_serve(&p->pick, rows, &rm_row_kernels_portable, scratch);
        now->no_numbers = no_numbers;
    }
}

static rm_status fake_ahead_flush(rm_backend *b, rm_error *err)
{
    rm_status status = fake_flush(b, err);
    if (fake_on.announced && !status) {
        for (int i = 0; i < fake_on.n; i++) {
            const rm_pick *pick = &fake_on.path[i].pick;
            fake_on.drawn[i].token = *pick->out_tokens;
            fake_on.drawn[i].no_numbers = *pick->out_no_numbers;
        }
        while (fake_on.begun < fake_on.begin)
            fake_step();
    }
    fake_on.announced = false;
    return status;
}

static rm_status fake_ahead_take(rm_backend *b, int step, int begin, const rm_drawn **drawn,
                                 rm_error *err)
{
    (void)b, (void)err;
    fake_check(step > 0 && step <= begin);
    while (fake_on.begun < begin)
        fake_step();
    *drawn = fake_on.drawn + (size_t)step * (size_t)fake_on.n;
    return RM_OK;
}

static void fake_ahead_leave(rm_backend *b, int path)
{
    (void)b;
    fake_check(path < fake_on.n);
    fake_on.path[path].gone = true;
}

static void fake_ahead_close(rm_backend *b)
{
    fake_forget();
    fake_close(b);
}

/* The table of fake.h with these operations. */
static rm_ops fake_ahead_ops(void)
{
    rm_ops ops = fake_ops;
    ops.close = fake_ahead_close;
    ops.pick = fake_ahead_pick;
    ops.flush = fake_ahead_flush;
    ops.ahead = fake_ahead;
    ops.ahead_take = fake_ahead_take;
    ops.ahead_leave = fake_ahead_leave;
    return ops;
}

#endif
