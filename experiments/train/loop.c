/* loop.c - what all trainings share: opening, log, checkpoints, evaluation, the steps themselves.
 *
 * Beside FILE.gguf, which appears when all is done, a training keeps
 *
 *     FILE.train.jsonl    the log: one JSON object a line (README.md names the keys)
 *     FILE.checkpoint     "RMCHECK1", hash of the configuration and the first model, step, cursor,
 *                         tokens, bytes of the log (u64 each), then the trainer's state (state.c)
 *
 * A checkpoint is written beside the last one and renamed over it, so that a full disk or a crash
 * leaves the last one whole. Going on cuts the log to what it was then. Everything drawn later
 * follows from step, cursor and weights: the training ends in the same bits. */
#define _GNU_SOURCE
#include "experiments/experiments.h"
#include "experiments/model_files.h"
#include "experiments/train/train.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = { 'R', 'M', 'C', 'H', 'E', 'C', 'K', '1' };
enum { CHECK_WORDS = 5, CHECK_BYTES = 8 + CHECK_WORDS * 8 };

/* ---- rates, updates -------------------------------------------------------------------------- */

/* Rises over `warmup` steps, stays, and falls in a straight line over the last 1 - flat to `last`.
 */
double loop_rate(const train_loop *loop)
{
    const train_recipe *r = loop->recipe;
    double step = (double)loop->step + 1, steps = (double)loop->steps, flat = r->flat * steps;
    double rise = r->warmup && step < r->warmup ? step / r->warmup : 1;
    double fall = step <= flat ? 1 : 1 - (1 - r->last) * (step - flat) / (steps - flat);
    return rise * fall;
}

rm_status loop_update(train_loop *loop, const rm_document *documents, int n,
                      const rm_objective *objective, double *const *lp, double *norm,
                      rm_train_sums *sums, rm_error *err)
{
    rm_adamw adam = loop->recipe->adam;
    adam.rate *= loop_rate(loop);
    rm_trainer_clear(loop->trainer);
    rm_status st = rm_trainer_pass(loop->trainer, documents, n, objective, lp, sums, err);
    return st ? st : rm_trainer_step(loop->trainer, &adam, norm, err);
}

rm_status loop_model(train_loop *loop, rm_error *err)
{
    uint64_t now = rm_trainer_step_count(loop->trainer) + 1;
    if (loop->model_step == now)
        return RM_OK;
    rm_status st = rm_model_update(loop->model, rm_trainer_shape(loop->trainer),
                                   rm_trainer_values(loop->trainer), err);
    if (!st)
        loop->model_step = now;
    return st;
}

/* ---- the log --------------------------------------------------------------------------------- */

rm_status loop_log(train_loop *loop, rm_text *line, rm_error *err)
{
    rm_text_puts(line, "\n");
    if (line->failed)
        return rm_fail(err, RM_E_MEMORY, "no memory for a line of the log");
    for (size_t at = 0; at < line->length;) {
        ssize_t n = write(loop->log, line->data + at, line->length - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return rm_fail(err, RM_E_IO, "%s: cannot write: %s", loop->log_file,
                           strerror(n < 0 ? errno : ENOSPC));
        at += (size_t)n;
    }
    line->length = 0;
    return RM_OK;
}

rm_status loop_report(train_loop *loop, const rm_train_sums *sums, double norm, size_t tokens,
                      double started_s, rm_error *err)
{
    rm_text line = { 0 };
    rm_json_writer w = { .out = &line };
    double loss = sums->loss / sums->weight;
    loop->tokens += tokens;
    rm_json_object(&w, NULL);
    rm_json_uint(&w, "step", loop->step + 1);
    rm_json_real(&w, "loss", loss);
    rm_json_real(&w, "entropy", sums->entropy / (double)sums->tokens);
    rm_json_real(&w, "norm", norm);
    rm_json_real(&w, "rate", loop_rate(loop) * loop->recipe->adam.rate);
    rm_json_uint(&w, "tokens", loop->tokens);
    rm_json_real(&w, "seconds", rm_now_s() - started_s);
    rm_json_end(&w);
    rm_status st = loop_log(loop, &line, err);
    snprintf(loop->bar.note, sizeof loop->bar.note, "loss %.4f", loss);
    rm_progress_add(&loop->bar, 1, tokens);
    rm_text_free(&line);
    return st;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static rm_status save_checkpoint(train_loop *loop, rm_error *err)
{
    rm_text text = { 0 };
    off_t log_bytes = lseek(loop->log, 0, SEEK_END);
    uint64_t words[CHECK_WORDS] = { loop->recipe->hash, loop->step, loop->cursor, loop->tokens,
                                    (uint64_t)log_bytes };
    if (log_bytes < 0 || fsync(loop->log))
        return rm_fail(err, RM_E_IO, "%s: %s", loop->log_file, strerror(errno));
    words[0] ^= loop->first_hash;
    rm_text_add(&text, magic, sizeof magic);
    rm_text_add(&text, (const char *)words, sizeof words);
    rm_status st = rm_trainer_save(loop->trainer, &text, err);
    if (!st)
        st = rm_file_write(loop->checkpoint_file, text.data, text.length, err);
    if (!st)
        loop->saved = loop->step;
    rm_text_free(&text);
    return st;
}

static rm_status load_checkpoint(train_loop *loop, rm_error *err)
{
    char *bytes;
    size_t n, most = rm_trainer_memory(loop->trainer) + (1 << 16);
    uint64_t words[CHECK_WORDS];
    struct stat log;
    rm_status st = rm_file_read(loop->checkpoint_file, most, &bytes, &n, err);
    if (st)
        return st;
    if (n < CHECK_BYTES || memcmp(bytes, magic, sizeof magic)) {
        free(bytes);
        return rm_fail(err, RM_E_FORMAT, "%s: this is no checkpoint of a training",
                       loop->checkpoint_file);
    }
    memcpy(words, bytes + sizeof magic, sizeof words);
    if (words[0] != (loop->recipe->hash ^ loop->first_hash))
        st = rm_fail(err, RM_E_ARGUMENT,
                     "%s belongs to another configuration or first model; go on "
                     "with that one, remove the checkpoint, or name another --out",
                     loop->checkpoint_file);
    else if (fstat(loop->log, &log) || (uint64_t)log.st_size < words[4])
        st = rm_fail(err, RM_E_FORMAT, "%s is shorter than when the checkpoint was written",
                     loop->log_file);
    else if ((st = rm_trainer_restore(loop->trainer, bytes + CHECK_BYTES, n - CHECK_BYTES, err)))
        rm_fail_within(err, st, "%s", loop->checkpoint_file);
    else if (ftruncate(loop->log, (off_t)words[4]))
        st = rm_fail(err, RM_E_IO, "%s: %s", loop->log_file, strerror(errno));
    free(bytes);
    if (st)
        return st;
    loop->step = loop->saved = words[1];
    loop->cursor = words[2];
    loop->tokens = words[3];
    return RM_OK;
}

/* ---- evaluation ------------------------------------------------------------------------------ */

/* Greedy answers to the first problems of the split "tune". */
static rm_status evaluate(train_loop *loop, const train_source *source, rm_error *err)
{
    rollout_list list = { 0 };
    rm_text line = { 0 };
    rm_json_writer w = { .out = &line };
    int n = loop->recipe->evaluate_problems, right = 0, formed = 0;
    rollout_request request = { .engine = loop->engine, .model = loop->model, .task = source->tune,
                                .listed = true, .n_problems = n, .n_samples = 1,
                                .sampling = RM_SAMPLING_DEFAULT,
                                .max_new_tokens = rm_task_max_new_tokens(source->tune),
                                .seed = loop->recipe->seed, .cancel = loop->options->cancel };
    request.sampling.do_sample = false;
    rm_status st = rollouts_draw(&request, 0, &list, err);
    for (int i = 0; i < list.n && !st; i++) {
        right += list.items[i].correct;
        formed += list.items[i].formed;
    }
    if (!st) {
        rm_json_object(&w, NULL);
        rm_json_uint(&w, "step", loop->step);
        rm_json_string(&w, "evaluated", rm_task_name(source->tune));
        rm_json_int(&w, "problems", n);
        rm_json_real(&w, "accuracy", (double)right / n);
        rm_json_real(&w, "formed", (double)formed / n);
        rm_json_real(&w, "length", (double)list.tokens / n);
        rm_json_end(&w);
        st = loop_log(loop, &line, err);
    }
    rm_text_free(&line);
    rollouts_free(&list);
    return st;
}

static rm_status evaluate_all(train_loop *loop, void *state, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    if (!r->evaluate_every ||
        (loop->step % (uint64_t)r->evaluate_every && loop->step != loop->steps))
        return RM_OK;
    if (r->kind == TRAIN_REWARD)
        return train_reward_evaluate(loop, state, err);
    rm_status st = loop_model(loop, err);
    for (int i = 0; i < r->n_sources && !st; i++)
        st = evaluate(loop, &r->sources[i], err);
    return st;
}

/* Are there so many problems to evaluate on? Asked before the first step. */
static rm_status check_evaluation(const train_recipe *r, rm_error *err)
{
    const rm_item *item;
    rm_status st = RM_OK;
    for (int i = 0; i < r->n_sources && r->evaluate_every && !st; i++)
        for (int k = 0; k < r->evaluate_problems && !st; k++)
            st = rm_task_item(r->sources[i].tune, (size_t)k, &item, err);
    return st ? rm_fail_within(err, st, "evaluate: %d problems", r->evaluate_problems) : RM_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

static char *beside(const char *out, const char *suffix)
{
    size_t n = strlen(out);
    if (n > 5 && !strcmp(out + n - 5, ".gguf"))
        n -= 5;
    char *name = malloc(n + strlen(suffix) + 1);
    if (name) {
        memcpy(name, out, n);
        strcpy(name + n, suffix);
    }
    return name;
}

/* The vocabulary of new models: that of the generated tasks and their thoughts. */
static const char *const special_tokens[] = { "<bos>", "<eos>", "<think>", "</think>" };
static const rm_vocabulary vocabulary = { special_tokens, 4, "0123456789+-*/()=;?! >~," };

/* Trainer and model of the weights the training begins with. */
static rm_status open_model(train_loop *loop, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    rm_model_options compute = { .compute = "f32", .kv = "f32" };
    char *path = NULL;
    rm_status st;
    if (r->model) {
        st = rm_model_find(r->model, NULL, &path, err);
        if (!st)
            st = rm_trainer_open(loop->engine, path, &loop->trainer, err);
    } else {
        st = rm_trainer_new(loop->engine, &r->shape, &vocabulary, r->seed, &loop->trainer, err);
        if (!st && !(path = beside(loop->options->out, ".start")))
            st = rm_fail(err, RM_E_MEMORY, "out of memory");
        if (!st)
            st = rm_trainer_write(loop->trainer, path, r->name, "f32", err);
    }
    if (!st)
        st = rm_model_open(loop->engine, path, &compute, &loop->model, err);
    if (!r->model && path)
        unlink(path);
    free(path);
    if (!st) {
        const char *hash = rm_model_describe(loop->model)->hash;
        loop->first_hash = r->model ? rm_hash_bytes(hash, strlen(hash)) : 0;
        loop->model_step = 1;
    }
    return st;
}

static rm_status open_files(train_loop *loop, bool *going_on, rm_error *err)
{
    const char *out = loop->options->out;
    loop->log_file = beside(out, ".train.jsonl");
    loop->checkpoint_file = beside(out, ".checkpoint");
    if (!loop->log_file || !loop->checkpoint_file)
        return rm_fail(err, RM_E_MEMORY, "out of memory");
    *going_on = access(loop->checkpoint_file, F_OK) == 0;
    if (!*going_on && access(out, F_OK) == 0)
        return rm_fail(err, RM_E_ARGUMENT, "%s exists already; remove it to train again, or name "
                       "another --out", out);
    loop->log =
        open(loop->log_file, O_WRONLY | O_CREAT | O_APPEND | (*going_on ? 0 : O_TRUNC), 0666);
    if (loop->log < 0)
        return rm_fail(err, RM_E_IO, "%s: cannot open: %s", loop->log_file, strerror(errno));
    return RM_OK;
}

static rm_status log_head(train_loop *loop, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    rm_text line = { 0 };
    rm_json_writer w = { .out = &line };
    rm_engine_info engine = rm_engine_describe(loop->engine);
    rm_json_object(&w, NULL);
    rm_json_string(&w, "training", train_kind_names[r->kind]);
    rm_json_string(&w, "name", r->name);
    rm_json_string(&w, "configuration", r->file);
    rm_json_uint(&w, "seed", r->seed);
    rm_json_string(&w, "model", r->model ? r->model : "new");
    if (r->model)
        rm_json_string(&w, "model_hash", rm_model_describe(loop->model)->hash);
    rm_json_uint(&w, "parameters", rm_shape_parameters(rm_trainer_shape(loop->trainer)));
    rm_json_string(&w, "version", rm_version_text());
    rm_json_string(&w, "device", engine.device);
    rm_json_end(&w);
    rm_status st = loop_log(loop, &line, err);
    rm_text_free(&line);
    return st;
}

/* ---- the steps ------------------------------------------------------------------------------- */

static const struct {
    rm_status (*open)(train_loop *, void **, rm_error *);
    train_step *step;
    void (*close)(void *);
} ways[TRAIN_KINDS] = {
    [TRAIN_SFT] = { NULL, train_sft_step, NULL },
    [TRAIN_REJECT] = { train_reject_open, train_reject_step, train_reject_close },
    [TRAIN_REWARD] = { train_reject_open, train_reject_step, train_reject_close },
    [TRAIN_GRPO] = { train_grpo_open, train_grpo_step, train_grpo_close },
};

static bool cancelled(const train_loop *loop)
{
    return loop->options->cancel && *loop->options->cancel;
}

/* The sentence of a failure in the step that comes next, or after the one that was done. */
static rm_status stopped(const train_loop *loop, rm_status st, bool after, rm_error *err)
{
    unsigned long long step = loop->step, saved = loop->saved;
    const char *when = after ? "after step" : "step";
    if (st == RM_E_CANCELLED)
        return rm_fail(err, st, "stopped after step %llu of %llu; the same command goes on with "
                       "step %llu", step, (unsigned long long)loop->steps, saved + 1);
    if (saved)
        return rm_fail_within(err, st, "%s %llu (the checkpoint after step %llu is kept)", when,
                              after ? step : step + 1, saved);
    return rm_fail_within(err, st, "%s %llu", when, after ? step : step + 1);
}

static rm_status all_steps(train_loop *loop, void *state, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    rm_status st = RM_OK;
    while (loop->step < loop->steps) {
        if (cancelled(loop)) {
            st = save_checkpoint(loop, err);
            return st ? st
                      : rm_fail(err, RM_E_CANCELLED,
                                "stopped after step %llu of %llu; the same "
                                "command goes on",
                                (unsigned long long)loop->step, (unsigned long long)loop->steps);
        }
        st = ways[r->kind].step(loop, state, err);
        bool after = !st; /* what fails now fails after the step, not in it */
        if (!st) {
            loop->step++;
            st = evaluate_all(loop, state, err);
        }
        if (!st && loop->step % (uint64_t)r->checkpoint_every == 0)
            st = save_checkpoint(loop, err);
        if (st)
            return stopped(loop, st, after, err);
    }
    return RM_OK;
}

static rm_status train_all(train_loop *loop, rm_error *err)
{
    const train_recipe *r = loop->recipe;
    void *state = NULL;
    bool going_on = false;
    rm_status st = check_evaluation(r, err);
    if (!st)
        st = open_files(loop, &going_on, err);
    if (!st)
        st = open_model(loop, err);
    if (!st && going_on)
        st = load_checkpoint(loop, err);
    if (!st && !going_on)
        st = log_head(loop, err);
    loop->steps = (uint64_t)r->steps;
    if (!st && ways[r->kind].open)
        st = ways[r->kind].open(loop, &state, err);
    if (!st) {
        rm_progress_begin(&loop->bar, loop->options->progress, train_kind_names[r->kind],
                          (size_t)(loop->steps > loop->step ? loop->steps - loop->step : 0));
        loop->bar.before = (size_t)loop->step;
        st = all_steps(loop, state, err);
        rm_progress_end(&loop->bar);
    }
    if (!st)
        st = rm_trainer_write(loop->trainer, loop->options->out, r->name, r->weight_type, err);
    if (!st)
        unlink(loop->checkpoint_file);
    if (ways[r->kind].close)
        ways[r->kind].close(state);
    return st;
}

rm_status train_run(const train_recipe *recipe, const train_options *options, rm_error *err)
{
    train_loop loop = { .recipe = recipe, .options = options, .log = -1 };
    rm_engine_options engine = { .backend = "cpu", .isa = options->isa, .n_threads = options->threads };
    rm_status st = rm_engine_open(&engine, &loop.engine, err);
    if (!st)
        st = train_all(&loop, err);
    if (loop.log >= 0)
        close(loop.log);
    rm_trainer_free(loop.trainer);
    rm_model_close(loop.model);
    rm_engine_close(loop.engine);
    free(loop.log_file);
    free(loop.checkpoint_file);
    return st;
}
