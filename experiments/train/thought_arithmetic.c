/* thought_arithmetic.c - working out an expression step by step, in random order.
 *
 *     (17+5)*(9-4)-36     17+5=22;9-4=5;22*5=110;110-36=74     74
 *
 * A step reduces two neighbouring numbers whose result does not depend on what stands beside them:
 *
 *     a*b     always (a*b*c may begin with b*c)
 *     a+b     not after * or -, not before *   (a-b+c cannot begin with b+c)
 *     a-b     likewise
 *
 * One of the steps that are ready is drawn, each equally likely, so that many thoughts lead to one
 * answer. A product with a factor beyond `max_factor` waits while anything else is ready: the
 * problems are made so that no such product is needed, but another order may meet one. */
#include "experiments/train/train.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ITEMS = 512 };

typedef struct item {
    char kind; /* 'n' a number, else the character itself */
    int64_t value;
} item;

typedef struct line {
    item items[MAX_ITEMS];
    int n;
} line;

static rm_status read_line(const char *question, line *l, rm_error *err)
{
    for (const char *c = question; *c;) {
        item i = { *c, 0 };
        if (l->n == MAX_ITEMS)
            return rm_fail(err, RM_E_LIMIT, "an expression of more than %d parts", MAX_ITEMS);
        if (*c >= '0' && *c <= '9') {
            i.kind = 'n';
            for (; *c >= '0' && *c <= '9' && i.value < 1000000000; c++)
                i.value = 10 * i.value + (*c - '0');
        } else if (strchr("+-*()", *c)) {
            c++;
        } else {
            return rm_fail(err, RM_E_ARGUMENT, "\"%.80s\" is not an expression of numbers, + - * "
                           "and brackets", question);
        }
        l->items[l->n++] = i;
    }
    return RM_OK;
}

static char kind_at(const line *l, int i)
{
    return i < 0 || i >= l->n ? '\0' : l->items[i].kind;
}

static void cut(line *l, int at, int n)
{
    memmove(l->items + at, l->items + at + n, (size_t)(l->n - at - n) * sizeof *l->items);
    l->n -= n;
}

/* Takes the brackets away from single numbers. */
static void unwrap(line *l)
{
    for (int i = 0; i + 2 < l->n;) {
        if (kind_at(l, i) == '(' && kind_at(l, i + 1) == 'n' && kind_at(l, i + 2) == ')') {
            cut(l, i + 2, 1);
            cut(l, i, 1);
            i = i > 0 ? i - 1 : 0;
        } else {
            i++;
        }
    }
}

static bool ready(const line *l, int i)
{
    char op = kind_at(l, i), before = kind_at(l, i - 2), after = kind_at(l, i + 2);
    if (kind_at(l, i - 1) != 'n' || kind_at(l, i + 1) != 'n')
        return false;
    if (op == '*')
        return true;
    return (op == '+' || op == '-') && before != '*' && before != '-' && after != '*';
}

static bool small(const line *l, int i, int most)
{
    return kind_at(l, i) != '*' ||
           (llabs(l->items[i - 1].value) <= most && llabs(l->items[i + 1].value) <= most);
}

/* Index of the operation to do next, or -1. */
static int choose(const line *l, int max_factor, rm_draws *draws)
{
    int all[MAX_ITEMS], easy[MAX_ITEMS], n_all = 0, n_easy = 0;
    for (int i = 1; i + 1 < l->n; i++)
        if (ready(l, i)) {
            all[n_all++] = i;
            if (small(l, i, max_factor))
                easy[n_easy++] = i;
        }
    if (n_easy)
        return easy[rm_draw(draws, 0, n_easy - 1)];
    return n_all ? all[rm_draw(draws, 0, n_all - 1)] : -1;
}

rm_status thought_arithmetic(const char *question, const thought_recipe *recipe, rm_draws *draws,
                             rm_text *thought, rm_text *answer, rm_error *err)
{
    line l = { .n = 0 };
    rm_status st = read_line(question, &l, err);
    if (st)
        return st;
    unwrap(&l);
    for (bool first = true; l.n > 1; first = false) {
        int i = choose(&l, recipe->max_factor, draws);
        if (i < 0)
            return rm_fail(err, RM_E_ARGUMENT, "\"%.80s\" is no expression", question);
        int64_t a = l.items[i - 1].value, b = l.items[i + 1].value, r;
        char op = kind_at(&l, i);
        bool over = op == '+'   ? __builtin_add_overflow(a, b, &r)
                    : op == '-' ? __builtin_sub_overflow(a, b, &r)
                                : __builtin_mul_overflow(a, b, &r);
        if (over)
            return rm_fail(err, RM_E_LIMIT, "\"%.80s\" grows beyond 64 bits", question);
        rm_text_printf(thought, "%s%lld%c%lld=%lld", first ? "" : ";", (long long)a, op,
                       (long long)b, (long long)r);
        l.items[i - 1].value = r;
        cut(&l, i, 2);
        unwrap(&l);
    }
    if (kind_at(&l, 0) != 'n')
        return rm_fail(err, RM_E_ARGUMENT, "\"%.80s\" is no expression", question);
    rm_text_printf(answer, "%lld", (long long)l.items[0].value);
    return RM_OK;
}
