/* jinja_eval.c - runs a template: names, expressions, statements.
 *
 * Scopes follow Jinja2: the template, each turn of a loop, a macro, a block set, a filter block
 * have their own; `if` has none. What is set inside a scope is gone behind it, which is why
 * templates keep their state in namespaces. A macro sees the names of where it was defined, as
 * they are when it is called. */
#include "experiments/chat/jinja_private.h"

#include <math.h>
#include <string.h>

static jinja_value eval(jinja_machine *, const jinja_node *);

static bool enter(jinja_machine *m)
{
    if (++m->depth > RM_JINJA_MAX_DEPTH)
        jinja_fail(m, RM_E_LIMIT, "expressions or macros are nested too deep");
    return jinja_step(m, 1);
}

/* ---- names ------------------------------------------------------------------------------ */

void jinja_set_name(jinja_machine *m, const char *name, jinja_value value)
{
    if (!m->scope->names)
        m->scope->names = jinja_new_map(m, 8).map;
    jinja_value key = jinja_text(m, name, strlen(name), false);
    if (!m->status)
        jinja_map_put(m, m->scope->names, key, value);
}

static jinja_value get_name(jinja_machine *m, const char *name)
{
    static const char *const globals[] = { "range", "namespace", "dict", "raise_exception",
                                           "strftime_now" };
    for (const jinja_scope *s = m->scope; s; s = s->parent) {
        const jinja_value *value = s->names ? jinja_map_name(m, s->names, name) : NULL;
        if (value)
            return *value;
    }
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
        if (!strcmp(name, globals[i]) && (m->input->now || strcmp(name, "strftime_now")))
            return (jinja_value){ .type = JINJA_GLOBAL, .global = globals[i] };
    return jinja_missing(name);
}

jinja_scope *jinja_open_scope(jinja_machine *m, jinja_scope *parent)
{
    jinja_scope *scope = jinja_alloc(m, sizeof *scope);
    if (scope)
        scope->parent = parent;
    return scope;
}

static void assign(jinja_machine *m, const jinja_node *target, jinja_value value)
{
    if (target->kind == JINJA_K_NAME) {
        jinja_set_name(m, target->name, value);
    } else if (target->kind == JINJA_K_ATTRIBUTE) {
        jinja_value of = eval(m, target->left);
        jinja_value key = jinja_text(m, target->name, strlen(target->name), false);
        if (of.type != JINJA_NAMESPACE)
            jinja_fail(m, RM_E_ARGUMENT, "cannot set an attribute of %s, only of a namespace",
                       jinja_type_name(of));
        if (!m->status)
            jinja_map_put(m, of.map, key, value);
    } else {
        const jinja_value *items;
        size_t n, wanted = 0;
        for (const jinja_node *t = target->first; t; t = t->next)
            wanted++;
        if (!jinja_items(m, value, &items, &n))
            return;
        if (n != wanted)
            jinja_fail(m, RM_E_ARGUMENT, "%zu values cannot be assigned to %zu names", n, wanted);
        for (const jinja_node *t = target->first; t && !m->status; t = t->next)
            assign(m, t, *items++);
    }
}

/* ---- arithmetic ------------------------------------------------------------------------- */

static jinja_value no_arithmetic(jinja_machine *m, uint16_t operator, jinja_value a, jinja_value b)
{
    char text[3] = { (char)(operator & 0xff), (char)(operator >> 8), '\0' };
    const char *missing = a.type == JINJA_UNDEFINED ? a.missing
                          : b.type == JINJA_UNDEFINED ? b.missing : NULL;
    if (missing)
        jinja_fail(m, RM_E_ARGUMENT, "\"%s\" needs two values, but %.80s is undefined", text,
                   missing);
    else
        jinja_fail(m, RM_E_ARGUMENT, "%s and %s cannot be joined by \"%s\"", jinja_type_name(a),
                   jinja_type_name(b), text);
    return JINJA_NOTHING;
}

static jinja_value out_of_range(jinja_machine *m)
{
    jinja_fail(m, RM_E_UNSUPPORTED, "an integer leaves 64 bits");
    return JINJA_NOTHING;
}

static jinja_value join_strings(jinja_machine *m, const jinja_string *a, const jinja_string *b)
{
    jinja_buffer buffer = { 0 };
    bool markup = a->markup || b->markup;
    if (markup && !a->markup)
        a = jinja_as_string(m, jinja_escape(m, a));
    if (markup && !b->markup)
        b = jinja_as_string(m, jinja_escape(m, b));
    jinja_add_string(m, &buffer, a);
    jinja_add_string(m, &buffer, b);
    jinja_value value = jinja_buffer_value(m, &buffer);
    if (markup && !m->status)
        ((jinja_string *)value.string)->markup = true; /* made just now */
    return value;
}

/* s * n for strings and lists. */
static jinja_value repeat(jinja_machine *m, jinja_value v, int64_t times)
{
    times = times < 0 ? 0 : times;
    if (v.type == JINJA_STRING) {
        jinja_buffer buffer = { 0 };
        for (int64_t i = 0; i < times && v.string->n && jinja_step(m, 1); i++)
            jinja_add_string(m, &buffer, v.string);
        return jinja_buffer_value(m, &buffer);
    }
    size_t n = v.list->n;
    if (n && (uint64_t)times > RM_JINJA_MAX_MEMORY / sizeof(jinja_value) / n) {
        jinja_fail(m, RM_E_LIMIT, "a list grows too long");
        return JINJA_NOTHING;
    }
    jinja_value *items = jinja_alloc(m, ((size_t)times * n + 1) * sizeof *items);
    for (size_t i = 0; items && i < (size_t)times * n; i++)
        items[i] = v.list->items[i % n];
    return jinja_sequence(m, v.type, items, (size_t)times * n);
}

static jinja_value join_lists(jinja_machine *m, jinja_value a, jinja_value b)
{
    size_t n = a.list->n + b.list->n;
    jinja_value *items = jinja_alloc(m, (n + 1) * sizeof *items);
    for (size_t i = 0; items && i < n; i++)
        items[i] = i < a.list->n ? a.list->items[i] : b.list->items[i - a.list->n];
    return jinja_sequence(m, a.type, items, n);
}

enum { FLOOR = '/' | '/' << 8, POWER = '*' | '*' << 8 };

static jinja_value real_arithmetic(jinja_machine *m, uint16_t operator, double x, double y)
{
    if ((operator == '/' || operator == FLOOR || operator == '%') && !(y < 0 || y > 0)) {
        jinja_fail(m, RM_E_ARGUMENT, "division by zero");
        return JINJA_NOTHING;
    }
    switch (operator) {
    case '+':
        return jinja_float(x + y);
    case '-':
        return jinja_float(x - y);
    case '*':
        return jinja_float(x * y);
    case '/':
        return jinja_float(x / y);
    case FLOOR:
        return jinja_float(floor(x / y));
    case '%':
        return jinja_float(x - y * floor(x / y));
    default:
        return jinja_float(pow(x, y));
    }
}

static jinja_value integer_arithmetic(jinja_machine *m, uint16_t operator, int64_t x, int64_t y)
{
    int64_t z = 0;
    bool overflow = false;
    if ((operator == FLOOR || operator == '%') && (y == 0 || y == -1)) {
        if (y == 0)
            return real_arithmetic(m, operator, 0, 0);
        overflow = operator == FLOOR && __builtin_sub_overflow(0, x, &z);
    } else if (operator == FLOOR) {
        z = x / y - (x % y != 0 && (x < 0) != (y < 0));
    } else if (operator == '%') {
        z = x % y + (x % y != 0 && (x < 0) != (y < 0) ? y : 0);
    } else if (operator == '+') {
        overflow = __builtin_add_overflow(x, y, &z);
    } else if (operator == '-') {
        overflow = __builtin_sub_overflow(x, y, &z);
    } else if (operator == '*') {
        overflow = __builtin_mul_overflow(x, y, &z);
    } else if (operator == POWER && y >= 0) {
        z = 1;
        if (x < -1 || x > 1) /* ends soon: 64 bits are left */
            for (int64_t i = 0; i < y && !overflow; i++)
                overflow = __builtin_mul_overflow(z, x, &z);
        else if (y)
            z = x == -1 && y % 2 == 0 ? 1 : x;
    } else {
        return real_arithmetic(m, operator, (double)x, (double)y);
    }
    return overflow ? out_of_range(m) : jinja_int(z);
}

static jinja_value arithmetic(jinja_machine *m, uint16_t operator, jinja_value a, jinja_value b)
{
    bool a_list = a.type == JINJA_LIST || a.type == JINJA_TUPLE;
    bool b_list = b.type == JINJA_LIST || b.type == JINJA_TUPLE;
    if (jinja_is_number(a) && jinja_is_number(b)) {
        if (a.type == JINJA_FLOAT || b.type == JINJA_FLOAT)
            return real_arithmetic(m, operator, jinja_real(a), jinja_real(b));
        return integer_arithmetic(m, operator, jinja_integer(a), jinja_integer(b));
    }
    if (operator == '+' && a.type == JINJA_STRING && b.type == JINJA_STRING)
        return join_strings(m, a.string, b.string);
    if (operator == '+' && a_list && a.type == b.type)
        return join_lists(m, a, b);
    if (operator == '*' && (a.type == JINJA_STRING || a_list) && b.type == JINJA_INT)
        return repeat(m, a, b.integer);
    if (operator == '*' && (b.type == JINJA_STRING || b_list) && a.type == JINJA_INT)
        return repeat(m, b, a.integer);
    if (operator == '%' && a.type == JINJA_STRING)
        jinja_fail(m, RM_E_UNSUPPORTED, "formatting with %% is not supported; ~ joins strings");
    return no_arithmetic(m, operator, a, b);
}

static jinja_value negate(jinja_machine *m, const jinja_node *node)
{
    jinja_value v = eval(m, node->left);
    if (v.type == JINJA_FLOAT)
        return node->kind == JINJA_K_NEGATE ? jinja_float(-v.real) : v;
    if (!jinja_is_number(v)) {
        jinja_fail(m, RM_E_ARGUMENT, "%s has no sign", jinja_type_name(v));
        return JINJA_NOTHING;
    }
    jinja_value zero = jinja_int(0);
    return arithmetic(m, node->kind == JINJA_K_NEGATE ? '-' : '+', zero, v);
}

/* ---- comparisons ------------------------------------------------------------------------ */

static bool holds(jinja_machine *m, uint16_t operator, jinja_value a, jinja_value b)
{
    enum { EQ = '=' | '=' << 8, NE = '!' | '=' << 8, LE = '<' | '=' << 8, GE = '>' | '=' << 8 };
    if (operator == EQ || operator == NE)
        return jinja_equal(m, a, b) == (operator == EQ);
    if (operator == 'i' || operator == 'n')
        return jinja_contains(m, b, a) == (operator == 'i');
    if (jinja_is_number(a) && jinja_is_number(b)
        && (isnan(jinja_real(a)) || isnan(jinja_real(b))))
        return false;
    int order = jinja_compare(m, a, b);
    return operator == '<' ? order < 0 : operator == LE ? order <= 0
           : operator == GE ? order >= 0 : order > 0;
}

static jinja_value compare(jinja_machine *m, const jinja_node *node)
{
    jinja_value left = eval(m, node->left);
    for (const jinja_node *operand = node->first; operand && !m->status; operand = operand->next) {
        jinja_value right = eval(m, operand->left);
        if (m->status || !holds(m, operand->operator, left, right))
            return jinja_bool(false);
        left = right;
    }
    return jinja_bool(true);
}

/* ---- slices ----------------------------------------------------------------------------- */

enum { CLIP = 1 << 30 }; /* no string or list is longer */

/* An integer of a slice, clipped to +-CLIP; false where none is given. */
static bool slice_integer(jinja_machine *m, const jinja_node *node, int64_t *value)
{
    jinja_value v = node ? eval(m, node) : JINJA_NULL;
    if (v.type == JINJA_NONE)
        return false;
    if (v.type != JINJA_INT && v.type != JINJA_BOOL)
        jinja_fail(m, RM_E_ARGUMENT, "a slice needs integers, not %s", jinja_type_name(v));
    int64_t i = jinja_integer(v);
    *value = i < -CLIP ? -CLIP : i > CLIP ? CLIP : i;
    return true;
}

/* A bound as Python takes it: counted from the end if negative, then kept inside. */
static int64_t slice_bound(jinja_machine *m, const jinja_node *node, int64_t n, bool backwards,
                           int64_t otherwise)
{
    int64_t at, low = backwards ? -1 : 0, high = backwards ? n - 1 : n;
    if (!slice_integer(m, node, &at))
        return otherwise;
    at += at < 0 ? n : 0;
    return at < low ? low : at > high ? high : at;
}

static jinja_value slice(jinja_machine *m, const jinja_node *node)
{
    jinja_value of = eval(m, node->left);
    const jinja_node *range = node->right;
    const jinja_value *items;
    size_t count, n_taken = 0;
    int64_t step = 1;
    if (of.type != JINJA_STRING && of.type != JINJA_LIST && of.type != JINJA_TUPLE)
        jinja_fail(m, RM_E_ARGUMENT, "%s cannot be sliced", jinja_type_name(of));
    slice_integer(m, range->third, &step);
    if (step == 0)
        jinja_fail(m, RM_E_ARGUMENT, "a slice with step 0");
    if (!jinja_items(m, of, &items, &count))
        return JINJA_NOTHING;
    int64_t n = (int64_t)count;
    int64_t from = slice_bound(m, range->left, n, step < 0, step < 0 ? n - 1 : 0);
    int64_t to = slice_bound(m, range->right, n, step < 0, step < 0 ? -1 : n);
    jinja_value *taken = jinja_alloc(m, (count + 1) * sizeof *taken);
    jinja_buffer text = { 0 };
    for (int64_t i = from; !m->status && (step > 0 ? i < to : i > to); i += step)
        if (of.type == JINJA_STRING)
            jinja_add_string(m, &text, items[i].string);
        else
            taken[n_taken++] = items[i];
    return of.type == JINJA_STRING ? jinja_buffer_value(m, &text)
                                   : jinja_sequence(m, of.type, taken, n_taken);
}

/* ---- calls ------------------------------------------------------------------------------ */

static void read_arguments(jinja_machine *m, const jinja_node *first, jinja_call *call)
{
    for (const jinja_node *a = first; a && !m->status; a = a->next) {
        if (a->kind == JINJA_K_ARGUMENT) {
            call->names[call->n_named] = a->name;
            call->named[call->n_named++] = eval(m, a->left);
        } else {
            call->positional[call->n++] = eval(m, a);
        }
    }
}

static jinja_value call_macro(jinja_machine *m, const jinja_macro *macro, const jinja_call *call)
{
    jinja_scope *caller = m->scope, *scope = jinja_open_scope(m, macro->scope);
    jinja_buffer text = { 0 };
    int position = 0, used = 0, line = m->line;
    if (!scope)
        return JINJA_NOTHING;
    m->scope = scope;
    for (const jinja_node *p = macro->node->first; p && !m->status; p = p->next, position++) {
        jinja_value value = jinja_missing(p->name);
        bool given = position < call->n;
        if (given)
            value = call->positional[position];
        for (int i = 0; i < call->n_named; i++)
            if (!strcmp(call->names[i], p->name)) {
                if (given)
                    jinja_fail(m, RM_E_ARGUMENT, "macro %s gets \"%s\" twice", call->name, p->name);
                value = call->named[i];
                given = true;
                used++;
            }
        jinja_set_name(m, p->name, given || !p->left ? value : eval(m, p->left));
    }
    if (call->n > position || used < call->n_named)
        jinja_fail(m, RM_E_ARGUMENT, "macro %s takes %d arguments and none besides", call->name,
                   position);
    jinja_run(m, macro->node->body, &text);
    m->scope = caller;
    m->line = line;
    return jinja_buffer_value(m, &text);
}

static jinja_value call_value(jinja_machine *m, const jinja_node *node)
{
    jinja_value of = eval(m, node->left);
    jinja_call call = { .name = node->left->name ? node->left->name : "it" };
    read_arguments(m, node->first, &call);
    m->line = node->line;
    if (m->status)
        return JINJA_NOTHING;
    switch (of.type) {
    case JINJA_MACRO:
        return call_macro(m, of.macro, &call);
    case JINJA_METHOD:
        return jinja_call_method(m, of.method, &call);
    case JINJA_GLOBAL:
        return jinja_call_global(m, of.global, &call);
    case JINJA_UNDEFINED:
        jinja_fail(m, RM_E_ARGUMENT, "%.80s is not defined and cannot be called",
                   of.missing ? of.missing : call.name);
        return JINJA_NOTHING;
    default:
        jinja_fail(m, RM_E_ARGUMENT, "%s cannot be called", jinja_type_name(of));
        return JINJA_NOTHING;
    }
}

/* x | a | b: `text` is what the innermost filter of a block works on. */
static jinja_value filter(jinja_machine *m, const jinja_node *node, const jinja_value *text)
{
    jinja_value value = JINJA_NOTHING;
    if (enter(m)) {
        bool innermost = !node->left || (node->left->kind == JINJA_K_FILTER && text);
        value = !node->left ? *text : innermost ? filter(m, node->left, text) : eval(m, node->left);
        jinja_call call = { .name = node->name };
        read_arguments(m, node->first, &call);
        m->line = node->line;
        value = m->status ? JINJA_NOTHING : jinja_apply_filter(m, node->name, value, &call);
    }
    m->depth--;
    return value;
}

static jinja_value test(jinja_machine *m, const jinja_node *node)
{
    jinja_value value = eval(m, node->left);
    jinja_call call = { .name = node->name };
    read_arguments(m, node->first, &call);
    m->line = node->line;
    return jinja_bool(!m->status && jinja_apply_test(m, node->name, value, &call));
}

/* ---- expressions ------------------------------------------------------------------------ */

static jinja_value sequence(jinja_machine *m, const jinja_node *node)
{
    size_t n = 0, i = 0;
    for (const jinja_node *item = node->first; item; item = item->next)
        n++;
    jinja_value *items = jinja_alloc(m, (n + 1) * sizeof *items);
    for (const jinja_node *item = node->first; item && !m->status; item = item->next)
        items[i++] = eval(m, item);
    return jinja_sequence(m, node->kind == JINJA_K_LIST ? JINJA_LIST : JINJA_TUPLE, items, n);
}

static jinja_value mapping(jinja_machine *m, const jinja_node *node)
{
    jinja_value map = jinja_new_map(m, 0);
    for (const jinja_node *key = node->first; key && !m->status; key = key->next->next) {
        jinja_value k = eval(m, key), v = eval(m, key->next);
        if (!m->status && !jinja_is_number(k) && k.type != JINJA_STRING && k.type != JINJA_NONE)
            jinja_fail(m, RM_E_UNSUPPORTED, "%s as a key is not supported", jinja_type_name(k));
        if (!m->status)
            jinja_map_put(m, map.map, k, v);
    }
    return map;
}

static jinja_value concat(jinja_machine *m, const jinja_node *node)
{
    jinja_buffer buffer = { 0 };
    for (const jinja_node *part = node->first; part && !m->status; part = part->next)
        jinja_add_value(m, &buffer, eval(m, part));
    return jinja_buffer_value(m, &buffer);
}

static jinja_value eval_kind(jinja_machine *m, const jinja_node *node)
{
    jinja_value v;
    switch (node->kind) {
    case JINJA_K_CONST:
        return node->value;
    case JINJA_K_NAME:
        return get_name(m, node->name);
    case JINJA_K_LIST:
    case JINJA_K_TUPLE:
        return sequence(m, node);
    case JINJA_K_MAP:
        return mapping(m, node);
    case JINJA_K_ATTRIBUTE:
        v = eval(m, node->left);
        m->line = node->line;
        return jinja_attribute(m, v, node->name);
    case JINJA_K_ITEM: {
        v = eval(m, node->left);
        jinja_value key = eval(m, node->right);
        m->line = node->line;
        return jinja_item(m, v, key);
    }
    case JINJA_K_SLICE:
        return slice(m, node);
    case JINJA_K_CALL:
        return call_value(m, node);
    case JINJA_K_FILTER:
        return filter(m, node, NULL);
    case JINJA_K_TEST:
        return test(m, node);
    case JINJA_K_NOT:
        return jinja_bool(!jinja_is_true(eval(m, node->left)));
    case JINJA_K_AND:
        v = eval(m, node->left);
        return jinja_is_true(v) ? eval(m, node->right) : v;
    case JINJA_K_OR:
        v = eval(m, node->left);
        return jinja_is_true(v) ? v : eval(m, node->right);
    case JINJA_K_NEGATE:
    case JINJA_K_PLUS:
        return negate(m, node);
    case JINJA_K_ARITHMETIC: {
        v = eval(m, node->left);
        jinja_value right = eval(m, node->right);
        m->line = node->line;
        return m->status ? JINJA_NOTHING : arithmetic(m, node->operator, v, right);
    }
    case JINJA_K_CONCAT:
        return concat(m, node);
    case JINJA_K_COMPARE:
        return compare(m, node);
    case JINJA_K_CONDITION:
        if (jinja_is_true(eval(m, node->left)))
            return eval(m, node->right);
        return node->third ? eval(m, node->third) : JINJA_NOTHING;
    default:
        return JINJA_NOTHING; /* statements are not evaluated */
    }
}

static jinja_value eval(jinja_machine *m, const jinja_node *node)
{
    jinja_value value = JINJA_NOTHING;
    m->line = m->status ? m->line : node->line;
    if (enter(m))
        value = eval_kind(m, node);
    m->depth--;
    return m->status ? JINJA_NOTHING : value;
}

/* ---- statements ------------------------------------------------------------------------- */

/* One turn of a loop: the target assigned in a scope of its own. */
static void run_turn(jinja_machine *m, const jinja_node *node, jinja_scope *outer,
                     const jinja_loop *loop, jinja_value item, jinja_buffer *out)
{
    if (!(m->scope = jinja_open_scope(m, outer)))
        return;
    if (loop)
        jinja_set_name(m, "loop", (jinja_value){ .type = JINJA_LOOP, .loop = loop });
    assign(m, node->left, item);
    if (out)
        jinja_run(m, node->body, out);
}

/* The items that the loop's `if` lets through. */
static size_t select_items(jinja_machine *m, const jinja_node *node, jinja_scope *outer,
                           const jinja_value **items, size_t n)
{
    jinja_value *kept = jinja_alloc(m, (n + 1) * sizeof *kept);
    size_t n_kept = 0;
    for (size_t i = 0; i < n && !m->status; i++) {
        run_turn(m, node, outer, NULL, (*items)[i], NULL);
        if (!m->status && jinja_is_true(eval(m, node->third)))
            kept[n_kept++] = (*items)[i];
    }
    *items = kept;
    return n_kept;
}

static void run_for(jinja_machine *m, const jinja_node *node, jinja_buffer *out)
{
    jinja_scope *outer = m->scope;
    const jinja_value *items;
    size_t n;
    jinja_value over = eval(m, node->right);
    m->line = node->line;
    if (!jinja_items(m, over, &items, &n))
        return;
    if (node->third)
        n = select_items(m, node, outer, &items, n);
    jinja_loop *loops = jinja_alloc(m, (n + 1) * sizeof *loops);
    for (size_t i = 0; i < n && !m->status; i++) {
        loops[i] = (jinja_loop){ .items = items, .n = n, .index = i };
        run_turn(m, node, outer, &loops[i], items[i], out);
        bool left = m->flow == JINJA_BREAK;
        m->flow = JINJA_GO;
        if (left || !jinja_step(m, 1))
            break;
    }
    m->scope = outer;
    if (!n)
        jinja_run(m, node->otherwise, out);
}

/* A body in a scope of its own, its text apart. */
static jinja_value run_captured(jinja_machine *m, const jinja_node *body)
{
    jinja_scope *outer = m->scope;
    jinja_buffer text = { 0 };
    if ((m->scope = jinja_open_scope(m, outer)))
        jinja_run(m, body, &text);
    m->scope = outer;
    return jinja_buffer_value(m, &text);
}

static void run_set_block(jinja_machine *m, const jinja_node *node)
{
    jinja_value text = run_captured(m, node->body);
    if (node->right && !m->status)
        text = filter(m, node->right, &text);
    if (!m->status)
        assign(m, node->left, text);
}

static void run_if(jinja_machine *m, const jinja_node *node, jinja_buffer *out)
{
    while (!jinja_is_true(eval(m, node->left))) {
        const jinja_node *otherwise = node->otherwise;
        if (!otherwise || otherwise->operator != JINJA_ELIF) {
            jinja_run(m, otherwise, out);
            return;
        }
        node = otherwise;
    }
    jinja_run(m, node->body, out);
}

static void define_macro(jinja_machine *m, const jinja_node *node)
{
    jinja_macro *macro = jinja_alloc(m, sizeof *macro);
    if (!macro)
        return;
    *macro = (jinja_macro){ .node = node, .scope = m->scope };
    jinja_set_name(m, node->name, (jinja_value){ .type = JINJA_MACRO, .macro = macro });
}

static void run(jinja_machine *m, const jinja_node *node, jinja_buffer *out)
{
    jinja_value value;
    switch (node->kind) {
    case JINJA_K_TEXT:
        jinja_add_string(m, out, node->value.string);
        break;
    case JINJA_K_PRINT:
        value = eval(m, node->left);
        jinja_add_value(m, out, value);
        break;
    case JINJA_K_IF:
        run_if(m, node, out);
        break;
    case JINJA_K_FOR:
        run_for(m, node, out);
        break;
    case JINJA_K_SET:
        value = eval(m, node->right);
        if (!m->status)
            assign(m, node->left, value);
        break;
    case JINJA_K_SET_BLOCK:
        run_set_block(m, node);
        break;
    case JINJA_K_MACRO:
        define_macro(m, node);
        break;
    case JINJA_K_FILTER_BLOCK:
        value = run_captured(m, node->body);
        if (!m->status)
            value = filter(m, node->right, &value);
        jinja_add_value(m, out, value);
        break;
    case JINJA_K_SCOPE:
        jinja_add_value(m, out, run_captured(m, node->body));
        break;
    case JINJA_K_BREAK:
        m->flow = JINJA_BREAK;
        break;
    case JINJA_K_CONTINUE:
        m->flow = JINJA_CONTINUE;
        break;
    default:
        break; /* expressions are not statements */
    }
}

void jinja_run(jinja_machine *m, const jinja_node *body, jinja_buffer *out)
{
    if (!body)
        return;
    if (enter(m))
        for (; body && !m->status && m->flow == JINJA_GO; body = body->next) {
            m->line = body->line;
            if (jinja_step(m, 1))
                run(m, body, out);
            if (out->n > RM_JINJA_MAX_OUTPUT)
                jinja_fail(m, RM_E_LIMIT, "more than %d MiB are rendered",
                           RM_JINJA_MAX_OUTPUT >> 20);
        }
    m->depth--;
}
