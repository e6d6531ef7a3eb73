/* log.c - reads the logs of trainings and draws them. */
#include "experiments/train/log.h"

#include "analysis/analysis.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LOGS = 5, MOST_CURVES = 15, MOST_BYTES = 256 << 20 };

/* The panels and the keys of a log that each draws. */
static const struct panel_kind {
    const char *title, *y_title;
    double factor, floor, ceiling;
    struct { const char *key, *name; } keys[3];
    const char *evaluated; /* key of evaluation lines, one curve a task, or NULL */
} kinds[] = {
    { "Loss", "Nats per token", 1, 0, INFINITY, { { "loss", "loss" } }, NULL },
    { "Accuracy", "Accuracy (%)", 100, 0, 100, { { "accuracy", "samples" } }, "accuracy" },
    { "Length of thought", "Tokens", 1, 0, INFINITY,
      { { "length", "all" }, { "length_correct", "right" }, { "length_wrong", "wrong" } }, NULL },
    { "Reward", "Mean reward", 1, -INFINITY, INFINITY, { { "reward", "reward" } }, NULL },
    { "Groups without signal", "Share (%)", 100, 0, 100, { { "zero_signal", "all rewards equal" } },
      NULL },
    { "Entropy", "Nats per token", 1, 0, INFINITY, { { "entropy", "entropy" } }, NULL },
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

typedef struct curve {
    rm_text name;
    char task[64];          /* of evaluations */
    double *step, *value, *low, *high;
    size_t n, capacity;
    bool intervals;
} curve;

typedef struct board {
    curve curves[N_KINDS][MOST_CURVES];
    size_t n[N_KINDS];
    bool several;           /* logs */
} board;

static double number_of(const cJSON *line, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(line, key);
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

static bool add_point(curve *c, double step, double value, double low, double high)
{
    if (c->n == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 256;
        double **arrays[] = { &c->step, &c->value, &c->low, &c->high };
        for (int i = 0; i < 4; i++) {
            double *longer = realloc(*arrays[i], capacity * sizeof *longer);
            if (!longer)
                return false;
            *arrays[i] = longer;
        }
        c->capacity = capacity;
    }
    c->step[c->n] = step;
    c->value[c->n] = value;
    c->low[c->n] = low;
    c->high[c->n++] = high;
    return true;
}

/* The curve of a log's quantity; made at its first value. NULL: the panel is full. */
static curve *curve_for(board *b, int kind, const char *log, const char *name, const char *task)
{
    rm_text wanted = { 0 };
    curve *found = NULL;
    bool plain = !b->several || !kinds[kind].keys[1].key;
    if (b->several)
        rm_text_puts(&wanted, log);
    if (!b->several || !plain || *task) {
        rm_text_puts(&wanted, b->several ? ", " : "");
        rm_text_puts(&wanted, *task ? task : name);
    }
    for (size_t i = 0; i < b->n[kind] && !found && wanted.data; i++)
        if (!strcmp(b->curves[kind][i].name.data, wanted.data) &&
            !strcmp(b->curves[kind][i].task, task))
            found = &b->curves[kind][i];
    if (!found && wanted.data && !wanted.failed && b->n[kind] < MOST_CURVES) {
        found = &b->curves[kind][b->n[kind]++];
        found->name = wanted;
        snprintf(found->task, sizeof found->task, "%s", task);
        return found;
    }
    rm_text_free(&wanted);
    return found;
}

static rm_status add_line(board *b, const char *log, const rm_json *json, rm_error *err)
{
    const cJSON *line = rm_json_root(json);
    const cJSON *task = cJSON_GetObjectItemCaseSensitive(line, "evaluated");
    double step = number_of(line, "step");
    bool good = true;
    if (cJSON_GetObjectItemCaseSensitive(line, "sampled"))
        return RM_OK; /* what a rejection sampling drew: no step */
    if (!cJSON_IsObject(line) || !isfinite(step))
        return rm_json_fail(err, RM_E_FORMAT, json, line, "this is no line of a training's log");
    for (int k = 0; k < N_KINDS; k++) {
        if (cJSON_IsString(task)) {
            double p = kinds[k].evaluated ? number_of(line, kinds[k].evaluated) : (double)NAN;
            double n = number_of(line, "problems");
            if (!(p >= 0 && p <= 1) || !(n >= 1 && n <= 1e9))
                continue;
            rm_estimate interval = rm_wilson(round(p * n), n, 0.95);
            curve *c = curve_for(b, k, log, "", task->valuestring);
            if (c) {
                c->intervals = true;
                good &= add_point(c, step, 100 * p, 100 * interval.low, 100 * interval.high);
            }
            continue;
        }
        for (int i = 0; i < 3 && kinds[k].keys[i].key; i++) {
            double v = number_of(line, kinds[k].keys[i].key);
            curve *c = isfinite(v) ? curve_for(b, k, log, kinds[k].keys[i].name, "") : NULL;
            if (c)
                good &= add_point(c, step, kinds[k].factor * v, 0, 0);
        }
    }
    return good ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for the curves of a log");
}

static rm_status read_log(board *b, const char *file, rm_error *err)
{
    char *text, name[64] = "";
    size_t n, cursor = 0, line = 0;
    rm_status st = rm_file_read(file, MOST_BYTES, &text, &n, err);
    if (st)
        return st;
    for (bool first = true; !st; first = false) {
        rm_json *json = NULL;
        st = rm_jsonl_next(text, n, file, &cursor, &line, &json, err);
        if (st || !json)
            break;
        if (first) {
            const cJSON *head = cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "name");
            if (!cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "training") ||
                !cJSON_IsString(head))
                st = rm_json_fail(err, RM_E_FORMAT, json, rm_json_root(json), "a training's log "
                                  "begins with its \"training\" and \"name\"");
            else
                snprintf(name, sizeof name, "%s", head->valuestring);
        } else {
            st = add_line(b, name, json, err);
        }
        rm_json_free(json);
    }
    free(text);
    return st;
}

static void board_free(board *b)
{
    for (int k = 0; k < N_KINDS; k++)
        for (size_t i = 0; i < b->n[k]; i++) {
            curve *c = &b->curves[k][i];
            rm_text_free(&c->name);
            free(c->step);
            free(c->value);
            free(c->low);
            free(c->high);
        }
    free(b);
}

static rm_status draw(const board *b, const rm_plot_options *options, const char *out,
                      rm_error *err)
{
    rm_training_curve curves[N_KINDS][MOST_CURVES];
    rm_training_panel panels[N_KINDS];
    char titles[N_KINDS][64];
    size_t n = 0;
    for (int k = 0; k < N_KINDS; k++) {
        if (!b->n[k])
            continue;
        for (size_t i = 0; i < b->n[k]; i++) {
            const curve *c = &b->curves[k][i];
            curves[k][i] = (rm_training_curve){ c->name.data, c->step, c->value,
                                                c->intervals ? c->low : NULL,
                                                c->intervals ? c->high : NULL, c->n };
        }
        snprintf(titles[n], sizeof titles[n], "(%c) %s", (char)('a' + (int)n), kinds[k].title);
        panels[n] = (rm_training_panel){ titles[n], kinds[k].y_title, kinds[k].floor,
                                         kinds[k].ceiling, curves[k], b->n[k] };
        n++;
    }
    if (!n)
        return rm_fail(err, RM_E_ARGUMENT, "the log has no step yet; there is nothing to draw");
    return rm_training_write(panels, n,
                             "Bands: 95% Wilson intervals of greedy answers to tuning "
                             "problems. Thin: single steps; thick: running means.",
                             options, out, err);
}

rm_status train_log_plot(const char *const *files, int n, const rm_plot_options *options,
                         const char *out, rm_error *err)
{
    if (n > MOST_LOGS)
        return rm_fail(err, RM_E_ARGUMENT, "%d logs in one figure; at most %d can be told apart", n,
                       MOST_LOGS);
    board *b = calloc(1, sizeof *b);
    rm_status st = b ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for a figure");
    for (int i = 0; i < n && !st; i++) {
        b->several = n > 1;
        st = read_log(b, files[i], err);
    }
    if (!st)
        st = draw(b, options, out, err);
    if (b)
        board_free(b);
    return st;
}
