/* jinja_expression.c - expressions, by recursive descent in Jinja2's own order of precedence:
 *
 *     a if b else c  <  or  <  and  <  not  <  == != < <= > >= in, not in  <  + -  <  ~
 *       <  * / // %  <  **  <  unary + -  <  .name [item] (call)  <  | filter, is test
 *
 * Nesting is bounded, so that the recursion is. */
#include "experiments/chat/jinja_parse.h"

static jinja_node *parse_unary(jinja_parser *, bool with_filter);

static jinja_node *string_constant(jinja_parser *p)
{
    jinja_node *node = jinja_new_node(p, JINJA_K_CONST, p->at->line);
    size_t n = 0;
    const jinja_token *first = p->at;
    for (; p->at->type == JINJA_T_STRING; advance(p)) /* neighbours are one string */
        n += p->at->n;
    jinja_string *string = jinja_arena_alloc(&p->template->arena, sizeof *string);
    char *bytes = jinja_arena_alloc(&p->template->arena, n + 1);
    if (!string || !bytes)
        return jinja_new_node(p, JINJA_K_CONST, 0);
    string->bytes = bytes;
    for (const jinja_token *t = first; t < p->at; t++) {
        memcpy(bytes + string->n, t->bytes, t->n);
        string->n += t->n;
    }
    node->value = (jinja_value){ .type = JINJA_STRING, .string = string };
    return node;
}

/* Expressions up to `close`, commas between them. */
static jinja_node *parse_items(jinja_parser *p, char close, bool pairs)
{
    jinja_node *first = NULL, **end = &first;
    while (!p->status && !is_operator(p, (uint16_t)close)) {
        if (first)
            jinja_expect_operator(p, ',');
        if (is_operator(p, (uint16_t)close))
            break;
        for (int i = 0; i < 1 + pairs; i++) {
            if (i)
                jinja_expect_operator(p, ':');
            *end = jinja_parse_expression(p);
            end = &(*end)->next;
        }
    }
    jinja_expect_operator(p, close);
    return first;
}

/* What stands between parentheses: nothing, one expression, or a tuple. */
static jinja_node *parse_parentheses(jinja_parser *p)
{
    int line = p->at->line;
    advance(p);
    if (!is_operator(p, ')')) {
        jinja_node *node = jinja_parse_expression(p);
        if (!is_operator(p, ',')) {
            jinja_expect_operator(p, ')');
            return node;
        }
        advance(p);
        jinja_node *tuple = jinja_new_node(p, JINJA_K_TUPLE, line);
        tuple->first = node;
        node->next = parse_items(p, ')', false);
        return tuple;
    }
    advance(p);
    return jinja_new_node(p, JINJA_K_TUPLE, line);
}

static jinja_node *parse_name(jinja_parser *p)
{
    static const struct { const char *word; jinja_value value; } constants[] = {
        { "true", { .type = JINJA_BOOL, .truth = true } },
        { "True", { .type = JINJA_BOOL, .truth = true } },
        { "false", { .type = JINJA_BOOL } }, { "False", { .type = JINJA_BOOL } },
        { "none", { .type = JINJA_NONE } }, { "None", { .type = JINJA_NONE } },
    };
    jinja_node *node = jinja_new_node(p, JINJA_K_NAME, p->at->line);
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (skip_word(p, constants[i].word)) {
            node->kind = JINJA_K_CONST;
            node->value = constants[i].value;
            return node;
        }
    node->name = jinja_take_name(p);
    return node;
}

static jinja_node *parse_primary(jinja_parser *p)
{
    int line = p->at->line;
    switch (p->at->type) {
    case JINJA_T_NAME:
        return parse_name(p);
    case JINJA_T_STRING:
        return string_constant(p);
    case JINJA_T_INT:
    case JINJA_T_FLOAT: {
        jinja_node *node = jinja_new_node(p, JINJA_K_CONST, line);
        node->value = p->at->number;
        advance(p);
        return node;
    }
    default:
        break;
    }
    if (is_operator(p, '('))
        return parse_parentheses(p);
    bool list = is_operator(p, '['), map = is_operator(p, '{');
    if (!list && !map) {
        jinja_unexpected(p, "an expression");
        return jinja_new_node(p, JINJA_K_CONST, line);
    }
    advance(p);
    jinja_node *node = jinja_new_node(p, list ? JINJA_K_LIST : JINJA_K_MAP, line);
    node->first = parse_items(p, list ? ']' : '}', map);
    return node;
}

/* Arguments behind an opening parenthesis; keywords are argument nodes with a name. */
static jinja_node *parse_arguments(jinja_parser *p)
{
    jinja_node *first = NULL, **end = &first;
    bool keywords = false;
    int n = 0;
    jinja_expect_operator(p, '(');
    while (!p->status && !is_operator(p, ')')) {
        if (n)
            jinja_expect_operator(p, ',');
        if (is_operator(p, ')'))
            break;
        if (is_operator(p, '*') || is_operator(p, JINJA_OP2('*', '*')))
            jinja_parse_fail(p, RM_E_UNSUPPORTED, p->at->line,
                             "arguments with * or ** are not supported", NULL);
        if (++n > JINJA_MAX_ARGUMENTS)
            jinja_parse_fail(p, RM_E_LIMIT, p->at->line, "too many arguments", NULL);
        jinja_node *argument;
        if (p->at->type == JINJA_T_NAME && p->at[1].type == JINJA_T_OPERATOR
            && p->at[1].operator == '=') {
            argument = jinja_new_node(p, JINJA_K_ARGUMENT, p->at->line);
            argument->name = jinja_take_name(p);
            advance(p);
            argument->left = jinja_parse_expression(p);
            keywords = true;
        } else {
            if (keywords)
                jinja_unexpected(p, "a keyword argument");
            argument = jinja_parse_expression(p);
        }
        *end = argument;
        end = &argument->next;
    }
    jinja_expect_operator(p, ')');
    return first;
}

static jinja_node *parse_subscript(jinja_parser *p, jinja_node *of)
{
    int line = p->at->line;
    advance(p);
    jinja_node *from = NULL, *to = NULL, *step = NULL;
    if (!is_operator(p, ':'))
        from = jinja_parse_expression(p);
    if (!is_operator(p, ':')) {
        jinja_node *item = jinja_new_node(p, JINJA_K_ITEM, line);
        item->left = of;
        item->right = from;
        jinja_expect_operator(p, ']');
        return item;
    }
    advance(p);
    if (!is_operator(p, ':') && !is_operator(p, ']'))
        to = jinja_parse_expression(p);
    if (skip_operator(p, ':') && !is_operator(p, ']'))
        step = jinja_parse_expression(p);
    jinja_expect_operator(p, ']');
    jinja_node *node = jinja_new_node(p, JINJA_K_SLICE, line),
        *range = jinja_new_node(p, JINJA_K_SLICE, line);
    node->left = of;
    node->right = range;
    range->left = from;
    range->right = to;
    range->third = step;
    return node;
}

jinja_node *jinja_parse_dot(jinja_parser *p, jinja_node *of)
{
    int line = p->at->line;
    advance(p);
    jinja_node *node = jinja_new_node(p, JINJA_K_ATTRIBUTE, line);
    node->left = of;
    if (p->at->type == JINJA_T_INT) {
        node->kind = JINJA_K_ITEM;
        node->right = parse_primary(p);
    } else {
        node->name = jinja_take_name(p);
    }
    return node;
}

static jinja_node *parse_call(jinja_parser *p, jinja_node *of)
{
    jinja_node *node = jinja_new_node(p, JINJA_K_CALL, p->at->line);
    node->left = of;
    node->first = parse_arguments(p);
    return node;
}

static jinja_node *parse_postfix(jinja_parser *p, jinja_node *node)
{
    while (!p->status) {
        if (is_operator(p, '.'))
            node = jinja_parse_dot(p, node);
        else if (is_operator(p, '['))
            node = parse_subscript(p, node);
        else if (is_operator(p, '('))
            node = parse_call(p, node);
        else
            break;
    }
    return node;
}

jinja_node *jinja_parse_filter(jinja_parser *p, jinja_node *of)
{
    jinja_node *node = jinja_new_node(p, JINJA_K_FILTER, p->at->line);
    node->left = of;
    node->name = jinja_take_name(p);
    if (is_operator(p, '('))
        node->first = parse_arguments(p);
    return node;
}

static jinja_node *parse_test(jinja_parser *p, jinja_node *of)
{
    jinja_node *node = jinja_new_node(p, JINJA_K_TEST, p->at->line);
    advance(p);
    bool negated = skip_word(p, "not");
    node->left = of;
    node->name = jinja_take_name(p);
    if (is_operator(p, '(')) {
        node->first = parse_arguments(p);
    } else if ((p->at->type == JINJA_T_NAME || p->at->type == JINJA_T_STRING
                || p->at->type == JINJA_T_INT || p->at->type == JINJA_T_FLOAT
                || is_operator(p, '[') || is_operator(p, '{'))
               && !is_word(p, "else") && !is_word(p, "or") && !is_word(p, "and")
               && !is_word(p, "if")) {
        if (is_word(p, "is"))
            jinja_unexpected(p, "no second \"is\"");
        node->first = parse_postfix(p, parse_primary(p));
    }
    if (!negated)
        return node;
    jinja_node *negation = jinja_new_node(p, JINJA_K_NOT, node->line);
    negation->left = node;
    return negation;
}

static jinja_node *parse_filters(jinja_parser *p, jinja_node *node)
{
    while (!p->status) {
        if (skip_operator(p, '|'))
            node = jinja_parse_filter(p, node);
        else if (is_word(p, "is"))
            node = parse_test(p, node);
        else if (is_operator(p, '('))
            node = parse_call(p, node);
        else
            break;
    }
    return node;
}

static jinja_node *parse_unary(jinja_parser *p, bool with_filter)
{
    jinja_node *node;
    if (is_operator(p, '-') || is_operator(p, '+')) {
        node = jinja_new_node(p, is_operator(p, '-') ? JINJA_K_NEGATE : JINJA_K_PLUS, p->at->line);
        advance(p);
        if (jinja_nest(p))
            node->left = parse_unary(p, false);
        p->nesting--;
    } else {
        node = parse_primary(p);
    }
    node = parse_postfix(p, node);
    return with_filter ? parse_filters(p, node) : node;
}

/* Left-associative levels of binary operators, loosest first; ~ lies between the two. */
static const uint16_t levels[][5] = {
    { '+', '-' }, { '*', '/', JINJA_OP2('/', '/'), '%' }, { JINJA_OP2('*', '*') },
};
enum { SUMS, PRODUCTS, POWERS, UNARY };

static jinja_node *parse_concat(jinja_parser *p);

static jinja_node *parse_binary(jinja_parser *p, int level)
{
    if (level == UNARY)
        return parse_unary(p, true);
    jinja_node *left = level == SUMS ? parse_concat(p) : parse_binary(p, level + 1);
    for (int i = 0; !p->status && levels[level][i];) {
        int line = p->at->line;
        if (!skip_operator(p, levels[level][i])) {
            i++;
            continue;
        }
        jinja_node *node = jinja_new_node(p, JINJA_K_ARITHMETIC, line);
        node->operator = levels[level][i];
        node->left = left;
        node->right = level == SUMS ? parse_concat(p) : parse_binary(p, level + 1);
        left = node;
        i = 0;
    }
    return left;
}

static jinja_node *parse_concat(jinja_parser *p)
{
    jinja_node *first = parse_binary(p, PRODUCTS);
    if (!is_operator(p, '~'))
        return first;
    jinja_node *node = jinja_new_node(p, JINJA_K_CONCAT, p->at->line);
    node->first = first;
    for (jinja_node *last = first; !p->status && skip_operator(p, '~'); last = last->next)
        last->next = parse_binary(p, PRODUCTS);
    return node;
}

/* a < b < c holds if a < b and b < c. Operands are argument nodes with their operators; "in" is
 * 'i' and "not in" 'n'. */
static jinja_node *parse_compare(jinja_parser *p)
{
    static const uint16_t operators[] = { JINJA_OP2('=', '='), JINJA_OP2('!', '='), '<',
                                          JINJA_OP2('<', '='), '>',
                                          JINJA_OP2('>', '=') };
    jinja_node *first = parse_binary(p, SUMS), *node = NULL, **end = NULL;
    while (!p->status) {
        uint16_t operator = 0;
        int line = p->at->line;
        for (size_t i = 0; i < sizeof operators / sizeof *operators && !operator; i++)
            if (skip_operator(p, operators[i]))
                operator = operators[i];
        if (!operator && skip_word(p, "in"))
            operator = 'i';
        if (!operator && is_word(p, "not") && p->at[1].type == JINJA_T_NAME && p->at[1].n == 2
            && !memcmp(p->at[1].bytes, "in", 2)) {
            advance(p);
            advance(p);
            operator = 'n';
        }
        if (!operator)
            break;
        if (!node) {
            node = jinja_new_node(p, JINJA_K_COMPARE, line);
            node->left = first;
            end = &node->first;
        }
        *end = jinja_new_node(p, JINJA_K_ARGUMENT, line);
        (*end)->operator = operator;
        (*end)->left = parse_binary(p, SUMS);
        end = &(*end)->next;
    }
    return node ? node : first;
}

static jinja_node *parse_not(jinja_parser *p)
{
    if (!is_word(p, "not"))
        return parse_compare(p);
    jinja_node *node = jinja_new_node(p, JINJA_K_NOT, p->at->line);
    advance(p);
    if (jinja_nest(p))
        node->left = parse_not(p);
    p->nesting--;
    return node;
}

static jinja_node *parse_logic(jinja_parser *p, bool either)
{
    jinja_node *left = either ? parse_logic(p, false) : parse_not(p);
    while (!p->status && is_word(p, either ? "or" : "and")) {
        jinja_node *node = jinja_new_node(p, either ? JINJA_K_OR : JINJA_K_AND, p->at->line);
        advance(p);
        node->left = left;
        node->right = either ? parse_logic(p, false) : parse_not(p);
        left = node;
    }
    return left;
}

static jinja_node *parse_conditional(jinja_parser *p)
{
    jinja_node *value = parse_logic(p, true);
    while (!p->status && is_word(p, "if")) {
        jinja_node *node = jinja_new_node(p, JINJA_K_CONDITION, p->at->line);
        advance(p);
        node->right = value;
        node->left = parse_logic(p, true);
        if (skip_word(p, "else"))
            node->third = jinja_parse_expression(p);
        value = node;
    }
    return value;
}

jinja_node *jinja_parse_expression(jinja_parser *p)
{
    jinja_node *node = jinja_nest(p) ? parse_conditional(p)
        : jinja_new_node(p, JINJA_K_CONST, p->at->line);
    p->nesting--;
    return node;
}

jinja_node *jinja_parse_tuple(jinja_parser *p, bool conditional)
{
    jinja_node *first = conditional ? jinja_parse_expression(p) : parse_logic(p, true);
    if (!is_operator(p, ','))
        return first;
    jinja_node *tuple = jinja_new_node(p, JINJA_K_TUPLE, first->line);
    tuple->first = first;
    for (jinja_node *last = first; !p->status && skip_operator(p, ','); last = last->next) {
        if (p->at->type == JINJA_T_BLOCK_END || p->at->type == JINJA_T_PRINT_END)
            break;
        last->next = conditional ? jinja_parse_expression(p) : parse_logic(p, true);
    }
    return tuple;
}
