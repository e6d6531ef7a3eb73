/* countdown.c - four numbers, a target: combine each number once to reach it.
 *
 *     4 7 8 25>80<think>
 *
 * Numbers are uniform in `range` and printed in ascending order. The target is what a random
 * sequence of operations makes of them: two of the numbers that are left are drawn, then one of
 * the operations they allow (a+b; a-b if positive; a*b unless a factor is 1; a/b if exact and b is
 * not 1; results up to `max_value`), until one number is left; it must fall into `target`. So
 * every problem can be solved. The reference is the canonical form of a right answer,
 * "4 7 8 25=80" (graders/expression.c), which follows from the problem: the checker needs no
 * solution. */
#include "experiments/tasks/kinds.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NUMBERS = 8 };

typedef struct options {
    int numbers;
    rm_range range, target;
    int max_value;
} options;

#define FIELD(name) offsetof(options, name)
static const rm_key keys[] = {
    { "numbers", RM_KEY_INT, FIELD(numbers), 2, MAX_NUMBERS, NULL, "numbers of a problem (4)" },
    { "range", RM_KEY_RANGE, FIELD(range), 1, 10000, NULL, "range of the numbers (1 to 25)" },
    { "target", RM_KEY_RANGE, FIELD(target), 1, 1000000, NULL, "range of the target (10 to 100)" },
    { "max_value", RM_KEY_INT, FIELD(max_value), 1, 1000000000, NULL,
      "largest value on the way (2000)" },
    { 0 },
};

static rm_status defaults(rm_format *format, void *data, rm_error *err)
{
    options *o = data;
    *o = (options){ .numbers = 4, .range = { 1, 25 }, .target = { 10, 100 }, .max_value = 2000 };
    format->grader.kind = RM_GRADE_EXPRESSION;
    format->split = RM_SPLIT_TEST;
    format->prompt = strdup("{question}<think>");
    free(format->wait);
    format->wait = strdup("~"); /* another attempt */
    if (!format->prompt || !format->wait || !rm_strings_add(&format->step_ends, ")", 1))
        return rm_fail(err, RM_E_MEMORY, "out of memory for a task");
    return RM_OK;
}

static rm_status open_task(rm_task *task, void *data, const rm_json *json, const cJSON *object,
                           const char *path, rm_error *err)
{
    const options *o = data;
    (void)json;
    (void)object;
    (void)path;
    (void)err;
    if (!task->format.max_new_tokens) /* three attempts of some 18 tokens a step, and the answer */
        task->format.max_new_tokens = 60 * (o->numbers - 1) + 20;
    return RM_OK;
}

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* What the operations allow for a >= b, in the order + - * /. */
static int results(int a, int b, int max_value, int out[4])
{
    int n = 0;
    if (a <= max_value - b)
        out[n++] = a + b;
    if (a > b)
        out[n++] = a - b;
    if (b > 1 && (int64_t)a * b <= max_value)
        out[n++] = a * b;
    if (b > 1 && a % b == 0)
        out[n++] = a / b;
    return n;
}

/* Combines the numbers at random; 0 if it ran into a dead end. */
static int combine(rm_draws *draws, int *left, int n, int max_value)
{
    while (n > 1) {
        int i = rm_draw(draws, 0, n - 1), k = rm_draw(draws, 0, n - 2), found[4];
        if (k >= i)
            k++;
        int a = left[i] > left[k] ? left[i] : left[k], b = left[i] > left[k] ? left[k] : left[i];
        int n_found = results(a, b, max_value, found);
        if (n_found == 0)
            return 0;
        left[i] = found[rm_draw(draws, 0, n_found - 1)];
        left[k] = left[--n];
    }
    return left[0];
}

static rm_status make(const rm_task *task, const void *data, size_t index, uint32_t attempt,
                      rm_draft *draft, rm_error *err)
{
    const options *o = data;
    rm_draws draws = rm_draws_for(task, index, attempt);
    for (int tries = 0; tries < 10000; tries++) {
        int numbers[MAX_NUMBERS], left[MAX_NUMBERS] = { 0 };
        for (int i = 0; i < o->numbers; i++)
            numbers[i] = left[i] = rm_draw(&draws, o->range.low, o->range.high);
        int target = combine(&draws, left, o->numbers, o->max_value);
        if (target < o->target.low || target > o->target.high)
            continue;
        qsort(numbers, (size_t)o->numbers, sizeof *numbers, ascending);
        for (int i = 0; i < o->numbers; i++)
            rm_text_printf(&draft->numbers, "%s%d", i ? " " : "", numbers[i]);
        const char *list = draft->numbers.data ? draft->numbers.data : "";
        rm_text_printf(&draft->target, "%d", target);
        rm_text_printf(&draft->question, "%s>%d", list, target);
        rm_text_printf(&draft->canonical, "%s>%d", list, target);
        rm_text_printf(&draft->reference, "%s=%d", list, target);
        return RM_OK;
    }
    return rm_fail(err, RM_E_ARGUMENT, "task %s: no problem found whose target lies in %d to %d; "
                   "expected a wider range", rm_task_name(task), o->target.low, o->target.high);
}

/* Thought and answer of the embedded models, failed attempts included. */
static int typical(const void *data)
{
    const options *o = data;
    return 31 * (o->numbers - 1);
}

const rm_kind rm_kind_countdown = {
    .name = "countdown", .summary = "generated: reach a target with each number once",
    .keys = keys, .size = sizeof(options), .canonical_prefix = "countdown",
    .defaults = defaults, .open = open_task, .make = make, .typical = typical, .verifier = true,
};
