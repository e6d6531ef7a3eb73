/* arithmetic.c - generated expressions with a chain of thought.
 *
 *     (17+5)*(9-4)-36=<think>
 *
 * A random tree of n operations: an operation has k of the remaining ones on its left with every k
 * equally likely; leaves are uniform in `leaves`; operations are + 40%, - 30%, * 30%. A product
 * with a factor beyond `max_factor` or a result beyond `max_value` (in absolute value) becomes a
 * sum or a difference; a tree with any value beyond `max_value` is thrown away. Only needed
 * parentheses are printed, so that a+b+c may be worked out in either order. This is the
 * distribution that the embedded models were trained on. */
#include "experiments/tasks/kinds.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPERATIONS = 64 };

typedef struct options {
    rm_range operations, leaves;
    int max_factor, max_value;
    int plus, minus, times; /* weights of the mix */
} options;

#define FIELD(name) offsetof(options, name)
static const rm_key keys[] = {
    { "operations", RM_KEY_RANGE, FIELD(operations), 1, MAX_OPERATIONS, NULL,
      "operations of an expression: n or [low, high] (3 to 8)" },
    { "leaves", RM_KEY_RANGE, FIELD(leaves), 0, 1000000, NULL, "range of the numbers (1 to 99)" },
    { "max_factor", RM_KEY_INT, FIELD(max_factor), 1, 1000000, NULL,
      "a product with a larger factor becomes a sum or difference (99)" },
    { "max_value", RM_KEY_INT, FIELD(max_value), 1, 1000000000, NULL,
      "no value on the way is larger, in absolute value (9999)" },
    { "plus", RM_KEY_INT, FIELD(plus), 0, 1000, NULL, "weight of + among the operations (40)" },
    { "minus", RM_KEY_INT, FIELD(minus), 0, 1000, NULL, "weight of - (30)" },
    { "times", RM_KEY_INT, FIELD(times), 0, 1000, NULL, "weight of * (30)" },
    { 0 },
};

static rm_status defaults(rm_format *format, void *data, rm_error *err)
{
    options *o = data;
    *o = (options){ .operations = { 3, 8 }, .leaves = { 1, 99 }, .max_factor = 99,
                    .max_value = 9999, .plus = 40, .minus = 30, .times = 30 };
    format->grader.kind = RM_GRADE_NUMERIC;
    format->split = RM_SPLIT_TEST;
    format->prompt = strdup("{question}=<think>");
    if (!format->prompt || !rm_strings_add(&format->step_ends, ";", 1))
        return rm_fail(err, RM_E_MEMORY, "out of memory for a task");
    return RM_OK;
}

static rm_status open_task(rm_task *task, void *data, const rm_json *json, const cJSON *object,
                           const char *path, rm_error *err)
{
    const options *o = data;
    if (!task->format.max_new_tokens) /* the longest step is 9999-9999=-9999; or so */
        task->format.max_new_tokens = 16 * o->operations.high + 24;
    if (o->plus + o->minus + o->times == 0)
        return rm_json_fail(err, RM_E_ARGUMENT, json, object,
                            "%s: plus, minus and times are all 0; expected at least one operation",
                            path);
    if (o->leaves.high > o->max_value)
        return rm_json_fail(err, RM_E_ARGUMENT, json, object,
                            "%s: leaves go up to %d, beyond max_value %d", path, o->leaves.high,
                            o->max_value);
    return RM_OK;
}

/* A node of the tree; leaves have op 0. */
typedef struct node {
    char op;
    int left, right;
    int64_t value;
} node;

typedef struct tree {
    const options *o;
    rm_draws draws;
    node nodes[2 * MAX_OPERATIONS + 1];
    int n;
    bool fits;
} tree;

static int64_t absolute(int64_t v)
{
    return v < 0 ? -v : v;
}

static int grow(tree *t, int n_operations)
{
    const options *o = t->o;
    node new = { 0 };
    if (n_operations == 0) {
        new.value = rm_draw(&t->draws, o->leaves.low, o->leaves.high);
    } else {
        int n_left = rm_draw(&t->draws, 0, n_operations - 1);
        new.left = grow(t, n_left);
        new.right = grow(t, n_operations - 1 - n_left);
        int64_t a = t->nodes[new.left].value, b = t->nodes[new.right].value;
        int which = rm_draw(&t->draws, 0, o->plus + o->minus + o->times - 1);
        new.op = which < o->plus ? '+' : which < o->plus + o->minus ? '-' : '*';
        if (new.op == '*' && (absolute(a) > o->max_factor || absolute(b) > o->max_factor
                              || absolute(a * b) > o->max_value))
            new.op = rm_draw(&t->draws, 0, 1) ? '+' : '-';
        new.value = new.op == '+' ? a + b : new.op == '-' ? a - b : a * b;
        /* Values stay below 2^31 until the first that is too large, and the tree is dropped
         * then; holding on to 0 keeps the rest of it in range. */
        if (absolute(new.value) > o->max_value) {
            t->fits = false;
            new.value = 0;
        }
    }
    t->nodes[t->n] = new;
    return t->n++;
}

/* Brackets are needed around a sum that is a factor, and around a sum that is subtracted. */
static void print(const tree *t, int at, rm_text *out)
{
    const node *x = &t->nodes[at];
    if (!x->op) {
        rm_text_printf(out, "%d", (int)x->value);
        return;
    }
    for (int side = 0; side < 2; side++) {
        int child = side ? x->right : x->left;
        char op = t->nodes[child].op;
        bool sum = op == '+' || op == '-';
        bool brackets = sum && (x->op == '*' || (x->op == '-' && side));
        if (side)
            rm_text_add(out, &x->op, 1);
        if (brackets)
            rm_text_puts(out, "(");
        print(t, child, out);
        if (brackets)
            rm_text_puts(out, ")");
    }
}

static rm_status make(const rm_task *task, const void *data, size_t index, uint32_t attempt,
                      rm_draft *draft, rm_error *err)
{

    tree t = { .o = data, .draws = rm_draws_for(task, index, attempt) };
    int n_operations = rm_draw(&t.draws, t.o->operations.low, t.o->operations.high);
    for (int tries = 0; tries < 1000; tries++) {
        t.n = 0;
        t.fits = true;
        int root = grow(&t, n_operations);
        if (!t.fits)
            continue;
        print(&t, root, &draft->question);
        rm_text_puts(&draft->canonical, draft->question.data ? draft->question.data : "");
        rm_text_printf(&draft->reference, "%d", (int)t.nodes[root].value);
        rm_text_printf(&draft->level, "%d", n_operations);
        return RM_OK;
    }
    return rm_fail(err, RM_E_ARGUMENT, "task %s: no expression of %d operations stays within "
                   "max_value %d; expected a larger limit", rm_task_name(task), n_operations,
                   t.o->max_value);
}

/* One step of a thought is about 12 tokens ("22*5=110;"), the answer and the tags six. */
static int typical(const void *data)
{
    const options *o = data;
    return 6 * (o->operations.low + o->operations.high) + 6;
}

const rm_kind rm_kind_arithmetic = {
    .name = "arithmetic", .summary = "generated expressions, worked out step by step",
    .keys = keys, .size = sizeof(options), .canonical_prefix = "arithmetic",
    .defaults = defaults, .open = open_task, .make = make, .typical = typical,
};
