/* jinja_parse.c - tokens to a tree: the parser's failures and tokens, and statements with their
 * bodies. Statements that chat templates do not use are refused by name. Nesting is bounded, so
 * that the recursion is. */
#include "experiments/chat/jinja_parse.h"

#include <stdio.h>

static jinja_node *parse_body(jinja_parser *, const char *const *ends);

void jinja_parse_fail(jinja_parser *p, rm_status status, int line, const char *what,
                      const jinja_token *near)
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

void jinja_unexpected(jinja_parser *p, const char *expected)
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
    jinja_parse_fail(p, RM_E_FORMAT, p->at->line, what, p->at);
}

bool jinja_nest(jinja_parser *p)
{
    if (++p->nesting > RM_JINJA_MAX_NESTING)
        jinja_parse_fail(p, RM_E_LIMIT, p->at->line,
                         "statements or expressions are nested too deep", NULL);
    return !p->status;
}

jinja_node *jinja_new_node(jinja_parser *p, jinja_kind kind, int line)
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

void jinja_expect_operator(jinja_parser *p, char operator)
{
    char what[] = { '"', operator, '"', '\0' };
    if (!skip_operator(p, (uint16_t)operator))
        jinja_unexpected(p, what);
}

static void expect_end(jinja_parser *p, jinja_token_type type)
{
    if (p->at->type == type)
        advance(p);
    else
        jinja_unexpected(p, "the end of the tag");
}

const char *jinja_take_name(jinja_parser *p)
{
    if (p->at->type != JINJA_T_NAME) {
        jinja_unexpected(p, "a name");
        return "";
    }
    char *name = jinja_arena_alloc(&p->template->arena, p->at->n + 1);
    if (!name) {
        jinja_new_node(p, JINJA_K_NAME, 0); /* reports the lack of memory */
        return "";
    }
    memcpy(name, p->at->bytes, p->at->n);
    advance(p);
    return name;
}

/* ---- statements ------------------------------------------------------------------------- */

/* A name, a tuple of names, or (for set) an attribute of a namespace. */
static jinja_node *parse_target(jinja_parser *p, bool attributes)
{
    jinja_node *first = NULL, **end = &first;
    int line = p->at->line, n = 0;
    bool parentheses = skip_operator(p, '(');
    do {
        if (n && (is_word(p, "in") || is_operator(p, '=')))
            break;
        jinja_node *name = jinja_new_node(p, JINJA_K_NAME, p->at->line);
        name->name = jinja_take_name(p);
        if (attributes && is_operator(p, '.'))
            name = jinja_parse_dot(p, name);
        *end = name;
        end = &name->next;
        n++;
    } while (!p->status && skip_operator(p, ','));
    if (parentheses)
        jinja_expect_operator(p, ')');
    if (n == 1)
        return first;
    jinja_node *tuple = jinja_new_node(p, JINJA_K_TUPLE, line);
    tuple->first = first;
    return tuple;
}

static bool at_block_word(const jinja_parser *p, const char *const *words)
{
    if (p->at->type != JINJA_T_BLOCK || p->at[1].type != JINJA_T_NAME)
        return false;
    for (; *words; words++)
        if (p->at[1].n == strlen(*words) && !memcmp(p->at[1].bytes, *words, p->at[1].n))
            return true;
    return false;
}

/* The rest of a tag, a body, and the word that closes it with its tag. */
static jinja_node *parse_closed(jinja_parser *p, const char *end)
{
    const char *const ends[] = { end, NULL };
    expect_end(p, JINJA_T_BLOCK_END);
    jinja_node *body = parse_body(p, ends);
    advance(p);
    advance(p);
    expect_end(p, JINJA_T_BLOCK_END);
    return body;
}

static jinja_node *parse_if(jinja_parser *p, int line)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    static const char *const last[] = { "endif", NULL };
    jinja_node *node = jinja_new_node(p, JINJA_K_IF, line), *at = node;
    for (;;) {
        at->left = jinja_parse_tuple(p, true);
        expect_end(p, JINJA_T_BLOCK_END);
        at->body = parse_body(p, ends);
        if (p->status)
            return node;
        advance(p);
        if (!is_word(p, "elif"))
            break;
        int at_line = p->at->line;
        advance(p);
        at->otherwise = jinja_new_node(p, JINJA_K_IF, at_line);
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

static jinja_node *parse_for(jinja_parser *p, int line)
{
    static const char *const ends[] = { "else", "endfor", NULL };
    static const char *const last[] = { "endfor", NULL };
    jinja_node *node = jinja_new_node(p, JINJA_K_FOR, line);
    node->left = parse_target(p, false);
    if (!skip_word(p, "in"))
        jinja_unexpected(p, "\"in\"");
    node->right = jinja_parse_tuple(p, false);
    if (skip_word(p, "if"))
        node->third = jinja_parse_expression(p);
    if (is_word(p, "recursive"))
        jinja_parse_fail(p, RM_E_UNSUPPORTED, line, "recursive loops are not supported", NULL);
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

static jinja_node *parse_set(jinja_parser *p, int line)
{
    jinja_node *node = jinja_new_node(p, JINJA_K_SET, line);
    node->left = parse_target(p, true);
    if (skip_operator(p, '=')) {
        node->right = jinja_parse_tuple(p, true);
        expect_end(p, JINJA_T_BLOCK_END);
        return node;
    }
    node->kind = JINJA_K_SET_BLOCK;
    while (!p->status && skip_operator(p, '|'))
        node->right = jinja_parse_filter(p, node->right);
    node->body = parse_closed(p, "endset");
    return node;
}

static jinja_node *parse_macro(jinja_parser *p, int line)
{
    jinja_node *node = jinja_new_node(p, JINJA_K_MACRO, line), **end = &node->first;
    int n = 0;
    bool defaults = false;
    node->name = jinja_take_name(p);
    jinja_expect_operator(p, '(');
    while (!p->status && !is_operator(p, ')')) {
        if (n)
            jinja_expect_operator(p, ',');
        if (++n > JINJA_MAX_ARGUMENTS)
            jinja_parse_fail(p, RM_E_LIMIT, line, "a macro has too many parameters", NULL);
        jinja_node *parameter = jinja_new_node(p, JINJA_K_ARGUMENT, p->at->line);
        parameter->name = jinja_take_name(p);
        if (skip_operator(p, '='))
            parameter->left = jinja_parse_expression(p);
        else if (defaults)
            jinja_unexpected(p, "a default, as the parameters before it have");
        defaults = defaults || parameter->left;
        *end = parameter;
        end = &parameter->next;
    }
    jinja_expect_operator(p, ')');
    int loops = p->loops;
    p->loops = 0; /* a break in a macro does not end its caller's loop */
    node->body = parse_closed(p, "endmacro");
    p->loops = loops;
    return node;
}

static jinja_node *parse_filter_block(jinja_parser *p, int line)
{
    jinja_node *node = jinja_new_node(p, JINJA_K_FILTER_BLOCK, line);
    node->right = jinja_parse_filter(p, NULL);
    while (!p->status && skip_operator(p, '|'))
        node->right = jinja_parse_filter(p, node->right);
    node->body = parse_closed(p, "endfilter");
    return node;
}

static jinja_node *parse_jump(jinja_parser *p, jinja_kind kind, int line)
{
    if (!p->loops)
        jinja_parse_fail(p, RM_E_FORMAT, line, "a break or continue outside of a loop", NULL);
    expect_end(p, JINJA_T_BLOCK_END);
    return jinja_new_node(p, kind, line);
}

static jinja_node *parse_statement(jinja_parser *p)
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
        jinja_node *node = jinja_new_node(p, JINJA_K_SCOPE, line);
        node->body = parse_closed(p, "endgeneration");
        return node;
    }
    if (word->type != JINJA_T_NAME)
        jinja_unexpected(p, "a statement");
    jinja_parse_fail(p, RM_E_UNSUPPORTED, line, "no statement that is supported here:", word);
    return jinja_new_node(p, JINJA_K_TEXT, line);
}

/* Text and tags up to a block that begins with one of `ends` (NULL: to the end). */
static jinja_node *parse_body(jinja_parser *p, const char *const *ends)
{
    jinja_node *first = NULL, **end = &first;
    int line = p->at->line;
    for (bool deep = jinja_nest(p); deep && !p->status;) {
        jinja_node *node;
        if (ends && at_block_word(p, ends))
            break;
        if (p->at->type == JINJA_T_END) {
            char what[64];
            if (ends) {
                size_t last = 0; /* what ends it for good */
                while (ends[last + 1])
                    last++;
                snprintf(what, sizeof what, "the block begun here has no {%% %s %%}", ends[last]);
                jinja_parse_fail(p, RM_E_FORMAT, line, what, NULL);
            }
            break;
        }
        jinja_token_type type = p->at->type;
        if (type == JINJA_T_TEXT) {
            jinja_string *text = jinja_arena_alloc(&p->template->arena, sizeof *text);
            node = jinja_new_node(p, JINJA_K_TEXT, p->at->line);
            if (!text)
                node = jinja_new_node(p, JINJA_K_TEXT, 0);
            else
                *text = (jinja_string){ .bytes = p->at->bytes, .n = p->at->n };
            node->value = (jinja_value){ .type = JINJA_STRING, .string = text };
            advance(p);
        } else {
            advance(p);
            if (type == JINJA_T_PRINT) {
                node = jinja_new_node(p, JINJA_K_PRINT, p->at->line);
                node->left = jinja_parse_tuple(p, true);
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
    jinja_parser p = { .template = template, .at = tokens, .err = err };
    template->body = parse_body(&p, NULL);
    return p.status;
}
