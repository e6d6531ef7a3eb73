/* jinja_parse.c - tokens to a tree, by recursive descent in Jinja2's own order of precedence:
 *
 *     a if b else c  <  or  <  and  <  not  <  == != < <= > >= in, not in  <  + -  <  ~
 *       <  * / // %  <  **  <  unary + -  <  .name [item] (call)  <  | filter, is test
 *
 * Statements that chat templates do not use are refused by name. Nesting is bounded, so that the
 * recursion is. */
#include "experiments/chat/jinja_private.h"

#include <stdio.h>
#include <string.h>

typedef struct parser {
    rm_jinja *template;
    const jinja_token *at;
    int nesting, loops;
    rm_status status;        /* the first failure; nothing is parsed after it */
    jinja_node nowhere;      /* stands in for a node without memory; never evaluated */
    rm_error *err;
} parser;

#define OP2(a, b) ((uint16_t)((a) | (b) << 8))

static jinja_node *parse_expression(parser *);
static jinja_node *parse_unary(parser *, bool with_filter);
static jinja_node *parse_body(parser *, const char *const *ends);

static void fail(parser *p, rm_status status, int line, const char *what, const jinja_token *near)
{
    if (p->status)
        return;
    bool shown = near && (near->type == JINJA_T_NAME || near->type == JINJA_T_OPERATOR);
    char operator[3] = { 0 };
    if (shown && near->type == JINJA_T_OPERATOR) {
        operator[0] = (char)(near->operator & 0xff);
        operator[1] = (char)(near->operator >> 8);
    }
    int n = shown && near->type == JINJA_T_NAME ? (int)(near->n < 40 ? near->n : 40) : 2;
    p->status = rm_fail(p->err, status, "%s:%d: %s%s%.*s%s", p->template->name, line, what,
                        shown ? " \"" : "", shown ? n : 0,
                        !shown ? "" : near->type == JINJA_T_NAME ? near->bytes : operator,
                        shown ? "\"" : "");
}

static void unexpected(parser *p, const char *expected)
{
    char what[96];
    const char *found = p->at->type == JINJA_T_BLOCK_END || p->at->type == JINJA_T_PRINT_END
                            ? "the end of the tag"
                        : p->at->type == JINJA_T_END ? "the end of the template"
                        : p->at->type == JINJA_T_STRING ? "a string"
                        : p->at->type == JINJA_T_INT || p->at->type == JINJA_T_FLOAT ? "a number"
                                                                                    : "";
    snprintf(what, sizeof what, "expected %s, found %s", expected, found);
    size_t n = strlen(what);
    if (!*found)
        what[n - 1] = '\0'; /* the token itself follows */
    fail(p, RM_E_FORMAT, p->at->line, what, p->at);
}

static bool nest(parser *p)
{
    if (++p->nesting > RM_JINJA_MAX_NESTING)
        fail(p, RM_E_LIMIT, p->at->line, "statements or expressions are nested too deep", NULL);
    return !p->status;
}

static jinja_node *new_node(parser *p, jinja_kind kind, int line)
{
    jinja_node *node = jinja_arena_alloc(&p->template->arena, sizeof *node);
    if (!node) {
        if (!p->status)
            p->status = rm_fail(p->err, RM_E_MEMORY, "%s: no memory for the template",
                                p->template->name);
        p->nowhere = (jinja_node){ 0 };
        return &p->nowhere;
    }
    node->kind = kind;
    node->line = line;
    return node;
}

/* ---- tokens ----------------------------------------------------------------------------- */

static bool is_operator(const parser *p, uint16_t operator)
{
    return p->at->type == JINJA_T_OPERATOR && p->at->operator == operator;
}

static bool is_word(const parser *p, const char *word)
{
    return p->at->type == JINJA_T_NAME && p->at->n == strlen(word)
           && !memcmp(p->at->bytes, word, p->at->n);
}

static void advance(parser *p)
{
    p->at += p->at->type != JINJA_T_END;
}

static bool skip_operator(parser *p, uint16_t operator)
{
    bool there = is_operator(p, operator);
    if (there)
        advance(p);
    return there;
}

static bool skip_word(parser *p, const char *word)
{
    bool there = is_word(p, word);
    if (there)
        advance(p);
    return there;
}

static void expect_operator(parser *p, char operator)
{
    char what[] = { '"', operator, '"', '\0' };
    if (!skip_operator(p, (uint16_t)operator))
        unexpected(p, what);
}

static void expect_end(parser *p, jinja_token_type type)
{
    if (p->at->type == type)
        advance(p);
    else
        unexpected(p, "the end of the tag");
}

static const char *take_name(parser *p)
{
    if (p->at->type != JINJA_T_NAME) {
        unexpected(p, "a name");
        return "";
    }
    char *name = jinja_arena_alloc(&p->template->arena, p->at->n + 1);
    if (!name) {
        new_node(p, JINJA_K_NAME, 0); /* reports the lack of memory */
        return "";
    }
    memcpy(name, p->at->bytes, p->at->n);
    advance(p);
    return name;
}

/* ---- expressions ------------------------------------------------------------------------ */

static jinja_node *string_constant(parser *p)
{
    jinja_node *node = new_node(p, JINJA_K_CONST, p->at->line);
    size_t n = 0;
    const jinja_token *first = p->at;
    for (; p->at->type == JINJA_T_STRING; advance(p)) /* neighbours are one string */
        n += p->at->n;
    jinja_string *string = jinja_arena_alloc(&p->template->arena, sizeof *string);
    char *bytes = jinja_arena_alloc(&p->template->arena, n + 1);
    if (!string || !bytes)
        return new_node(p, JINJA_K_CONST, 0);
    string->bytes = bytes;
    for (const jinja_token *t = first; t < p->at; t++) {
        memcpy(bytes + string->n, t->bytes, t->n);
        string->n += t->n;
    }
    node->value = (jinja_value){ .type = JINJA_STRING, .string = string };
    return node;
}

/* Expressions up to `close`, commas between them. */
static jinja_node *parse_items(parser *p, char close, bool pairs)
{
    jinja_node *first = NULL, **end = &first;
    while (!p->status && !is_operator(p, (uint16_t)close)) {
        if (first)
            expect_operator(p, ',');
        if (is_operator(p, (uint16_t)close))
            break;
        for (int i = 0; i < 1 + pairs; i++) {
            if (i)
                expect_operator(p, ':');
            *end = parse_expression(p);
            end = &(*end)->next;
        }
    }
    expect_operator(p, close);
    return first;
}

/* What stands between parentheses: nothing, one expression, or a tuple. */
static jinja_node *parse_parentheses(parser *p)
{
    int line = p->at->line;
    advance(p);
    if (!is_operator(p, ')')) {
        jinja_node *node = parse_expression(p);
        if (!is_operator(p, ',')) {
            expect_operator(p, ')');
            return node;
        }
        advance(p);
        jinja_node *tuple = new_node(p, JINJA_K_TUPLE, line);
        tuple->first = node;
        node->next = parse_items(p, ')', false);
        return tuple;
    }
    advance(p);
    return new_node(p, JINJA_K_TUPLE, line);
}

static jinja_node *parse_name(parser *p)
{
    static const struct { const char *word; jinja_value value; } constants[] = {
        { "true", { .type = JINJA_BOOL, .truth = true } },
        { "True", { .type = JINJA_BOOL, .truth = true } },
        { "false", { .type = JINJA_BOOL } }, { "False", { .type = JINJA_BOOL } },
        { "none", { .type = JINJA_NONE } }, { "None", { .type = JINJA_NONE } },
    };
    jinja_node *node = new_node(p, JINJA_K_NAME, p->at->line);
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (skip_word(p, constants[i].word)) {
            node->kind = JINJA_K_CONST;
            node->value = constants[i].value;
            return node;
        }
    node->name = take_name(p);
    return node;
}

static jinja_node *parse_primary(parser *p)
{
    int line = p->at->line;
    switch (p->at->type) {
    case JINJA_T_NAME:
        return parse_name(p);
    case JINJA_T_STRING:
        return string_constant(p);
    case JINJA_T_INT:
    case JINJA_T_FLOAT: {
        jinja_node *node = new_node(p, JINJA_K_CONST, line);
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
        unexpected(p, "an expression");
        return new_node(p, JINJA_K_CONST, line);
    }
    advance(p);
    jinja_node *node = new_node(p, list ? JINJA_K_LIST : JINJA_K_MAP, line);
    node->first = parse_items(p, list ? ']' : '}', map);
    return node;
}

/* Arguments behind an opening parenthesis; keywords are argument nodes with a name. */
static jinja_node *parse_arguments(parser *p)
{
    jinja_node *first = NULL, **end = &first;
    bool keywords = false;
    int n = 0;
    expect_operator(p, '(');
    while (!p->status && !is_operator(p, ')')) {
        if (n)
            expect_operator(p, ',');
        if (is_operator(p, ')'))
            break;
        if (is_operator(p, '*') || is_operator(p, OP2('*', '*')))
            fail(p, RM_E_UNSUPPORTED, p->at->line, "arguments with * or ** are not supported", NULL);
        if (++n > JINJA_MAX_ARGUMENTS)
            fail(p, RM_E_LIMIT, p->at->line, "too many arguments", NULL);
        jinja_node *argument;
        if (p->at->type == JINJA_T_NAME && p->at[1].type == JINJA_T_OPERATOR
            && p->at[1].operator == '=') {
            argument = new_node(p, JINJA_K_ARGUMENT, p->at->line);
            argument->name = take_name(p);
            advance(p);
            argument->left = parse_expression(p);
            keywords = true;
        } else {
            if (keywords)
                unexpected(p, "a keyword argument");
            argument = parse_expression(p);
        }
        *end = argument;
        end = &argument->next;
    }
    expect_operator(p, ')');
    return first;
}

static jinja_node *parse_subscript(parser *p, jinja_node *of)
{
    int line = p->at->line;
    advance(p);
    jinja_node *from = NULL, *to = NULL, *step = NULL;
    if (!is_operator(p, ':'))
        from = parse_expression(p);
    if (!is_operator(p, ':')) {
        jinja_node *item = new_node(p, JINJA_K_ITEM, line);
        item->left = of;
        item->right = from;
        expect_operator(p, ']');
        return item;
    }
    advance(p);
    if (!is_operator(p, ':') && !is_operator(p, ']'))
        to = parse_expression(p);
    if (skip_operator(p, ':') && !is_operator(p, ']'))
        step = parse_expression(p);
    expect_operator(p, ']');
    jinja_node *node = new_node(p, JINJA_K_SLICE, line), *range = new_node(p, JINJA_K_SLICE, line);
    node->left = of;
    node->right = range;
    range->left = from;
    range->right = to;
    range->third = step;
    return node;
}

static jinja_node *parse_dot(parser *p, jinja_node *of)
{
    int line = p->at->line;
    advance(p);
    jinja_node *node = new_node(p, JINJA_K_ATTRIBUTE, line);
    node->left = of;
    if (p->at->type == JINJA_T_INT) {
        node->kind = JINJA_K_ITEM;
        node->right = parse_primary(p);
    } else {
        node->name = take_name(p);
    }
    return node;
}

static jinja_node *parse_call(parser *p, jinja_node *of)
{
    jinja_node *node = new_node(p, JINJA_K_CALL, p->at->line);
    node->left = of;
    node->first = parse_arguments(p);
    return node;
}

static jinja_node *parse_postfix(parser *p, jinja_node *node)
{
    while (!p->status) {
        if (is_operator(p, '.'))
            node = parse_dot(p, node);
        else if (is_operator(p, '['))
            node = parse_subscript(p, node);
        else if (is_operator(p, '('))
            node = parse_call(p, node);
        else
            break;
    }
    return node;
}

/* A filter's name and arguments, behind "|" or the word `filter`. */
static jinja_node *parse_filter(parser *p, jinja_node *of)
{
    jinja_node *node = new_node(p, JINJA_K_FILTER, p->at->line);
    node->left = of;
    node->name = take_name(p);
    if (is_operator(p, '('))
        node->first = parse_arguments(p);
    return node;
}

static jinja_node *parse_test(parser *p, jinja_node *of)
{
    jinja_node *node = new_node(p, JINJA_K_TEST, p->at->line);
    advance(p);
    bool negated = skip_word(p, "not");
    node->left = of;
    node->name = take_name(p);
    if (is_operator(p, '(')) {
        node->first = parse_arguments(p);
    } else if ((p->at->type == JINJA_T_NAME || p->at->type == JINJA_T_STRING
                || p->at->type == JINJA_T_INT || p->at->type == JINJA_T_FLOAT
                || is_operator(p, '[') || is_operator(p, '{'))
               && !is_word(p, "else") && !is_word(p, "or") && !is_word(p, "and")
               && !is_word(p, "if")) {
        if (is_word(p, "is"))
            unexpected(p, "no second \"is\"");
        node->first = parse_postfix(p, parse_primary(p));
    }
    if (!negated)
        return node;
    jinja_node *negation = new_node(p, JINJA_K_NOT, node->line);
    negation->left = node;
    return negation;
}

static jinja_node *parse_filters(parser *p, jinja_node *node)
{
    while (!p->status) {
        if (skip_operator(p, '|'))
            node = parse_filter(p, node);
        else if (is_word(p, "is"))
            node = parse_test(p, node);
        else if (is_operator(p, '('))
            node = parse_call(p, node);
        else
            break;
    }
    return node;
}

static jinja_node *parse_unary(parser *p, bool with_filter)
{
    jinja_node *node;
    if (is_operator(p, '-') || is_operator(p, '+')) {
        node = new_node(p, is_operator(p, '-') ? JINJA_K_NEGATE : JINJA_K_PLUS, p->at->line);
        advance(p);
        if (nest(p))
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
    { '+', '-' }, { '*', '/', OP2('/', '/'), '%' }, { OP2('*', '*') },
};
enum { SUMS, PRODUCTS, POWERS, UNARY };

static jinja_node *parse_concat(parser *p);

static jinja_node *parse_binary(parser *p, int level)
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
        jinja_node *node = new_node(p, JINJA_K_ARITHMETIC, line);
        node->operator = levels[level][i];
        node->left = left;
        node->right = level == SUMS ? parse_concat(p) : parse_binary(p, level + 1);
        left = node;
        i = 0;
    }
    return left;
}

static jinja_node *parse_concat(parser *p)
{
    jinja_node *first = parse_binary(p, PRODUCTS);
    if (!is_operator(p, '~'))
        return first;
    jinja_node *node = new_node(p, JINJA_K_CONCAT, p->at->line);
    node->first = first;
    for (jinja_node *last = first; !p->status && skip_operator(p, '~'); last = last->next)
        last->next = parse_binary(p, PRODUCTS);
    return node;
}

/* a < b < c holds if a < b and b < c. Operands are argument nodes with their operators; "in" is
 * 'i' and "not in" 'n'. */
static jinja_node *parse_compare(parser *p)
{
    static const uint16_t operators[] = { OP2('=', '='), OP2('!', '='), '<', OP2('<', '='), '>',
                                          OP2('>', '=') };
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
            node = new_node(p, JINJA_K_COMPARE, line);
            node->left = first;
            end = &node->first;
        }
        *end = new_node(p, JINJA_K_ARGUMENT, line);
        (*end)->operator = operator;
        (*end)->left = parse_binary(p, SUMS);
        end = &(*end)->next;
    }
    return node ? node : first;
}

static jinja_node *parse_not(parser *p)
{
    if (!is_word(p, "not"))
        return parse_compare(p);
    jinja_node *node = new_node(p, JINJA_K_NOT, p->at->line);
    advance(p);
    if (nest(p))
        node->left = parse_not(p);
    p->nesting--;
    return node;
}

static jinja_node *parse_logic(parser *p, bool either)
{
    jinja_node *left = either ? parse_logic(p, false) : parse_not(p);
    while (!p->status && is_word(p, either ? "or" : "and")) {
        jinja_node *node = new_node(p, either ? JINJA_K_OR : JINJA_K_AND, p->at->line);
        advance(p);
        node->left = left;
        node->right = either ? parse_logic(p, false) : parse_not(p);
        left = node;
    }
    return left;
}

static jinja_node *parse_conditional(parser *p)
{
    jinja_node *value = parse_logic(p, true);
    while (!p->status && is_word(p, "if")) {
        jinja_node *node = new_node(p, JINJA_K_CONDITION, p->at->line);
        advance(p);
        node->right = value;
        node->left = parse_logic(p, true);
        if (skip_word(p, "else"))
            node->third = parse_expression(p);
        value = node;
    }
    return value;
}

static jinja_node *parse_expression(parser *p)
{
    jinja_node *node = nest(p) ? parse_conditional(p) : new_node(p, JINJA_K_CONST, p->at->line);
    p->nesting--;
    return node;
}

/* One expression, or several with commas, which make a tuple. `conditional` is false where an
 * `if` that follows belongs to the statement. */
static jinja_node *parse_tuple(parser *p, bool conditional)
{
    jinja_node *first = conditional ? parse_expression(p) : parse_logic(p, true);
    if (!is_operator(p, ','))
        return first;
    jinja_node *tuple = new_node(p, JINJA_K_TUPLE, first->line);
    tuple->first = first;
    for (jinja_node *last = first; !p->status && skip_operator(p, ','); last = last->next) {
        if (p->at->type == JINJA_T_BLOCK_END || p->at->type == JINJA_T_PRINT_END)
            break;
        last->next = conditional ? parse_expression(p) : parse_logic(p, true);
    }
    return tuple;
}

/* ---- statements ------------------------------------------------------------------------- */

/* A name, a tuple of names, or (for set) an attribute of a namespace. */
static jinja_node *parse_target(parser *p, bool attributes)
{
    jinja_node *first = NULL, **end = &first;
    int line = p->at->line, n = 0;
    bool parentheses = skip_operator(p, '(');
    do {
        if (n && (is_word(p, "in") || is_operator(p, '=')))
            break;
        jinja_node *name = new_node(p, JINJA_K_NAME, p->at->line);
        name->name = take_name(p);
        if (attributes && is_operator(p, '.'))
            name = parse_dot(p, name);
        *end = name;
        end = &name->next;
        n++;
    } while (!p->status && skip_operator(p, ','));
    if (parentheses)
        expect_operator(p, ')');
    if (n == 1)
        return first;
    jinja_node *tuple = new_node(p, JINJA_K_TUPLE, line);
    tuple->first = first;
    return tuple;
}

static bool at_block_word(const parser *p, const char *const *words)
{
    if (p->at->type != JINJA_T_BLOCK || p->at[1].type != JINJA_T_NAME)
        return false;
    for (; *words; words++)
        if (p->at[1].n == strlen(*words) && !memcmp(p->at[1].bytes, *words, p->at[1].n))
            return true;
    return false;
}

/* The rest of a tag, a body, and the word that closes it with its tag. */
static jinja_node *parse_closed(parser *p, const char *end)
{
    const char *const ends[] = { end, NULL };
    expect_end(p, JINJA_T_BLOCK_END);
    jinja_node *body = parse_body(p, ends);
    advance(p);
    advance(p);
    expect_end(p, JINJA_T_BLOCK_END);
    return body;
}

static jinja_node *parse_if(parser *p, int line)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    static const char *const last[] = { "endif", NULL };
    jinja_node *node = new_node(p, JINJA_K_IF, line), *at = node;
    for (;;) {
        at->left = parse_tuple(p, true);
        expect_end(p, JINJA_T_BLOCK_END);
        at->body = parse_body(p, ends);
        if (p->status)
            return node;
        advance(p);
        if (!is_word(p, "elif"))
            break;
        int at_line = p->at->line;
        advance(p);
        at->otherwise = new_node(p, JINJA_K_IF, at_line);
        at = at->otherwise;
        at->operator = JINJA_ELIF;
    }
    if (skip_word(p, "else")) {
        expect_end(p, JINJA_T_BLOCK_END);
        at->otherwise = parse_body(p, last);
        advance(p);
    }
    advance(p);
    expect_end(p, JINJA_T_BLOCK_END);
    return node;
}

static jinja_node *parse_for(parser *p, int line)
{
    static const char *const ends[] = { "else", "endfor", NULL }, *const last[] = { "endfor", NULL };
    jinja_node *node = new_node(p, JINJA_K_FOR, line);
    node->left = parse_target(p, false);
    if (!skip_word(p, "in"))
        unexpected(p, "\"in\"");
    node->right = parse_tuple(p, false);
    if (skip_word(p, "if"))
        node->third = parse_expression(p);
    if (is_word(p, "recursive"))
        fail(p, RM_E_UNSUPPORTED, line, "recursive loops are not supported", NULL);
    expect_end(p, JINJA_T_BLOCK_END);
    p->loops++;
    node->body = parse_body(p, ends);
    p->loops--;
    advance(p);
    if (skip_word(p, "else")) {
        expect_end(p, JINJA_T_BLOCK_END);
        node->otherwise = parse_body(p, last);
        advance(p);
    }
    advance(p);
    expect_end(p, JINJA_T_BLOCK_END);
    return node;
}

static jinja_node *parse_set(parser *p, int line)
{
    jinja_node *node = new_node(p, JINJA_K_SET, line);
    node->left = parse_target(p, true);
    if (skip_operator(p, '=')) {
        node->right = parse_tuple(p, true);
        expect_end(p, JINJA_T_BLOCK_END);
        return node;
    }
    node->kind = JINJA_K_SET_BLOCK;
    while (!p->status && skip_operator(p, '|'))
        node->right = parse_filter(p, node->right);
    node->body = parse_closed(p, "endset");
    return node;
}

static jinja_node *parse_macro(parser *p, int line)
{
    jinja_node *node = new_node(p, JINJA_K_MACRO, line), **end = &node->first;
    int n = 0;
    bool defaults = false;
    node->name = take_name(p);
    expect_operator(p, '(');
    while (!p->status && !is_operator(p, ')')) {
        if (n)
            expect_operator(p, ',');
        if (++n > JINJA_MAX_ARGUMENTS)
            fail(p, RM_E_LIMIT, line, "a macro has too many parameters", NULL);
        jinja_node *parameter = new_node(p, JINJA_K_ARGUMENT, p->at->line);
        parameter->name = take_name(p);
        if (skip_operator(p, '='))
            parameter->left = parse_expression(p);
        else if (defaults)
            unexpected(p, "a default, as the parameters before it have");
        defaults = defaults || parameter->left;
        *end = parameter;
        end = &parameter->next;
    }
    expect_operator(p, ')');
    int loops = p->loops;
    p->loops = 0; /* a break in a macro does not end its caller's loop */
    node->body = parse_closed(p, "endmacro");
    p->loops = loops;
    return node;
}

static jinja_node *parse_filter_block(parser *p, int line)
{
    jinja_node *node = new_node(p, JINJA_K_FILTER_BLOCK, line);
    node->right = parse_filter(p, NULL);
    while (!p->status && skip_operator(p, '|'))
        node->right = parse_filter(p, node->right);
    node->body = parse_closed(p, "endfilter");
    return node;
}

static jinja_node *parse_jump(parser *p, jinja_kind kind, int line)
{
    if (!p->loops)
        fail(p, RM_E_FORMAT, line, "a break or continue outside of a loop", NULL);
    expect_end(p, JINJA_T_BLOCK_END);
    return new_node(p, kind, line);
}

static jinja_node *parse_statement(parser *p)
{
    int line = p->at->line;
    const jinja_token *word = p->at;
    if (skip_word(p, "if"))
        return parse_if(p, line);
    if (skip_word(p, "for"))
        return parse_for(p, line);
    if (skip_word(p, "set"))
        return parse_set(p, line);
    if (skip_word(p, "macro"))
        return parse_macro(p, line);
    if (skip_word(p, "filter"))
        return parse_filter_block(p, line);
    if (skip_word(p, "break"))
        return parse_jump(p, JINJA_K_BREAK, line);
    if (skip_word(p, "continue"))
        return parse_jump(p, JINJA_K_CONTINUE, line);
    if (skip_word(p, "generation")) { /* marks what an assistant said; its names stay inside */
        jinja_node *node = new_node(p, JINJA_K_SCOPE, line);
        node->body = parse_closed(p, "endgeneration");
        return node;
    }
    if (word->type != JINJA_T_NAME)
        unexpected(p, "a statement");
    fail(p, RM_E_UNSUPPORTED, line, "no statement that is supported here:", word);
    return new_node(p, JINJA_K_TEXT, line);
}

/* Text and tags up to a block that begins with one of `ends` (NULL: to the end). */
static jinja_node *parse_body(parser *p, const char *const *ends)
{
    jinja_node *first = NULL, **end = &first;
    int line = p->at->line;
    for (bool deep = nest(p); deep && !p->status;) {
        jinja_node *node;
        if (ends && at_block_word(p, ends))
            break;
        if (p->at->type == JINJA_T_END) {
            char what[64];
            if (ends) {
                snprintf(what, sizeof what, "the block begun here has no {%% %s %%}",
                         ends[0][0] == 'e' && ends[1] ? ends[1] : ends[0]);
                fail(p, RM_E_FORMAT, line, what, NULL);
            }
            break;
        }
        jinja_token_type type = p->at->type;
        if (type == JINJA_T_TEXT) {
            jinja_string *text = jinja_arena_alloc(&p->template->arena, sizeof *text);
            node = new_node(p, JINJA_K_TEXT, p->at->line);
            if (!text)
                node = new_node(p, JINJA_K_TEXT, 0);
            else
                *text = (jinja_string){ .bytes = p->at->bytes, .n = p->at->n };
            node->value = (jinja_value){ .type = JINJA_STRING, .string = text };
            advance(p);
        } else {
            advance(p);
            if (type == JINJA_T_PRINT) {
                node = new_node(p, JINJA_K_PRINT, p->at->line);
                node->left = parse_tuple(p, true);
                expect_end(p, JINJA_T_PRINT_END);
            } else {
                node = parse_statement(p);
            }
        }
        *end = node;
        end = &node->next;
    }
    p->nesting--;
    return p->status ? NULL : first;
}

rm_status jinja_parse(rm_jinja *template, const jinja_token *tokens, rm_error *err)
{
    parser p = { .template = template, .at = tokens, .err = err };
    template->body = parse_body(&p, NULL);
    return p.status;
}
