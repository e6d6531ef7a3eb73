/* thought_countdown.c - searching for a way from the numbers to the target.
 *
 *     4 7 8 25>80     25-7=18(4 8 18)18*4=72(8 72)72+8=80(80)!     ((25-7)*4)+8
 *
 * An attempt combines two numbers a >= b at a time (a+b; a-b if positive; a*b unless b is 1; a/b
 * if exact and b is not 1; results up to `max_value`) and prints after each step what is left, in
 * ascending order. After the last, ! says that the target is reached, ? that it is missed; ~
 * begins another attempt. A thought has i failed attempts with probability failures[i]; then, if
 * it has any, it gives up with probability `give_up` and answers with its last attempt, else it
 * succeeds. The successful attempt is drawn from all sequences of steps that reach the target, each
 * equally likely; a failed one is a random walk that misses it. */
#include "experiments/train/train.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_NUMBERS = 5, MOST_STEPS = MOST_NUMBERS - 1, MOST_CHOICES = 64, NAME = 96 };

typedef struct state {
    int value[MOST_NUMBERS];
    int n;
} state;

/* Numbers `left` and `right` of the state make `result` by `op`. */
typedef struct step {
    int left, right; /* indices; value[left] >= value[right] */
    char op;
    int result;
} step;

typedef struct search {
    int target, max_value;
    step path[MOST_STEPS];
    uint64_t found, wanted; /* solutions seen; the one to keep, or UINT64_MAX to count */
    step kept[MOST_STEPS];
} search;

static int steps_from(const state *s, int max_value, step out[MOST_CHOICES])
{
    int n = 0;
    for (int i = 0; i < s->n; i++)
        for (int k = i + 1; k < s->n; k++) {
            int l = s->value[i] >= s->value[k] ? i : k, r = l == i ? k : i;
            int a = s->value[l], b = s->value[r];
            if (a <= max_value - b)
                out[n++] = (step){ l, r, '+', a + b };
            if (a > b)
                out[n++] = (step){ l, r, '-', a - b };
            if (b > 1 && (int64_t)a * b <= max_value)
                out[n++] = (step){ l, r, '*', a * b };
            if (b > 1 && a % b == 0)
                out[n++] = (step){ l, r, '/', a / b };
        }
    return n;
}

static state after(const state *s, const step *done)
{
    state next = { .n = 0 };
    for (int i = 0; i < s->n && i < MOST_NUMBERS; i++)
        if (i != done->left && i != done->right)
            next.value[next.n++] = s->value[i];
    next.value[next.n++] = done->result;
    return next;
}

/* Walks all sequences in one order; recursion as deep as there are steps. */
static void explore(search *find, const state *s, int depth)
{
    if (s->n == 1 || depth == MOST_STEPS) { /* the second follows from the first */
        if (s->value[0] == find->target && find->found++ == find->wanted)
            memcpy(find->kept, find->path, sizeof find->kept);
        return;
    }
    step choices[MOST_CHOICES];
    int n = steps_from(s, find->max_value, choices);
    for (int i = 0; i < n; i++) {
        state next = after(s, &choices[i]);
        find->path[depth] = choices[i];
        explore(find, &next, depth + 1);
    }
}

/* A walk that misses the target; false if it ran into a dead end or hit it. */
static bool walk(const state *start, const search *find, rm_draws *draws, step *path)
{
    state s = *start;
    for (int depth = 0; s.n > 1 && depth < MOST_STEPS; depth++) {
        step choices[MOST_CHOICES];
        int n = steps_from(&s, find->max_value, choices);
        if (!n)
            return false;
        path[depth] = choices[rm_draw(draws, 0, n - 1)];
        s = after(&s, &path[depth]);
    }
    return s.value[0] != find->target;
}

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Prints an attempt; `expression` gets the answer it stands for. */
static void print_attempt(const state *start, const step *path, int target, rm_text *out,
                          char expression[NAME])
{
    state s = *start;
    char names[MOST_NUMBERS][NAME], joined[NAME];
    for (int i = 0; i < s.n; i++)
        snprintf(names[i], NAME, "%d", s.value[i]);
    for (int depth = 0; s.n > 1; depth++) {
        const step *p = &path[depth];
        state next = after(&s, p);
        int sorted[MOST_NUMBERS], at = 0;
        rm_text_printf(out, "%d%c%d=%d(", s.value[p->left], p->op, s.value[p->right], p->result);
        memcpy(sorted, next.value, sizeof sorted);
        qsort(sorted, (size_t)next.n, sizeof *sorted, ascending);
        for (int i = 0; i < next.n; i++)
            rm_text_printf(out, "%s%d", i ? " " : "", sorted[i]);
        rm_text_puts(out, ")");
        bool last = next.n == 1;
        int used = snprintf(joined, NAME, "%s%.40s%c%.40s%s", last ? "" : "(", names[p->left],
                            p->op, names[p->right], last ? "" : ")");
        (void)used;
        for (int i = 0; i < s.n; i++)
            if (i != p->left && i != p->right)
                memmove(names[at++], names[i], NAME);
        memcpy(names[at], joined, NAME);
        s = next;
    }
    rm_text_puts(out, s.value[0] == target ? "!" : "?");
    memcpy(expression, names[0], NAME);
}

static rm_status read_question(const char *question, state *s, int *target, rm_error *err)
{
    const char *c = question;
    for (;;) {
        char *end;
        long value = strtol(c, &end, 10);
        if (end == c || value < 1 || value > 1000000 || (*end != ' ' && *end != '>') ||
            s->n == MOST_NUMBERS)
            return rm_fail(err, RM_E_ARGUMENT, "\"%.80s\": thoughts are written for up to %d "
                           "numbers, as in \"4 7 8 25>80\"", question, MOST_NUMBERS);
        s->value[s->n++] = (int)value;
        c = end + 1;
        if (*end == '>')
            break;
    }
    *target = atoi(c);
    return RM_OK;
}

static int draw_failures(const thought_recipe *recipe, rm_draws *draws)
{
    double u = rm_draw(draws, 0, 999999) / 1e6, sum = 0, total = 0;
    for (int i = 0; i < recipe->n_failures; i++)
        total += recipe->failures[i];
    for (int i = 0; i < recipe->n_failures; i++)
        if (u * total < (sum += recipe->failures[i]))
            return i;
    return 0;
}

rm_status thought_countdown(const char *question, const thought_recipe *recipe, rm_draws *draws,
                            rm_text *thought, rm_text *answer, rm_error *err)
{
    state start = { .n = 0 };
    search find = { .max_value = recipe->max_value, .wanted = UINT64_MAX };
    char expression[NAME] = "";
    step path[MOST_STEPS];
    rm_status st = read_question(question, &start, &find.target, err);
    if (st)
        return st;
    explore(&find, &start, 0);
    if (!find.found)
        return rm_fail(err, RM_E_ARGUMENT, "\"%.80s\" has no solution with steps up to %d",
                       question, find.max_value);
    int failures = draw_failures(recipe, draws), done = 0;
    for (int tries = 0; done < failures && tries < 1000; tries++) {
        if (!walk(&start, &find, draws, path))
            continue;
        rm_text_puts(thought, done++ ? "~" : "");
        print_attempt(&start, path, find.target, thought, expression);
    }
    bool give_up = done && rm_draw(draws, 0, 999999) < recipe->give_up * 1e6;
    if (!give_up) {
        find.wanted = rm_scale((uint64_t)rm_draw(draws, 0, INT32_MAX - 1) << 33, find.found);
        find.found = 0;
        explore(&find, &start, 0);
        rm_text_puts(thought, done ? "~" : "");
        print_attempt(&start, find.kept, find.target, thought, expression);
    }
    rm_text_puts(answer, expression);
    return RM_OK;
}
