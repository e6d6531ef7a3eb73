/* jinja.c - a template from its source, one rendering of it, and the machine that renders: what
 * fails, what it may spend. */
#include "experiments/chat/jinja_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the machine ------------------------------------------------------------------------ */

/* A sentence is one line without terminal escapes, whatever a template puts into it: control
 * characters (C0, DEL, C1) become blanks. */
static void make_line(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c; c++) {
        bool high = c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0;
        if (high)
            *c++ = ' ';
        if (high || *c < ' ' || *c == 0x7f)
            *c = ' ';
    }
}

void jinja_fail(jinja_machine *m, rm_status status, const char *format, ...)
{
    char sentence[400];
    va_list arguments;
    if (m->status)
        return;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    make_line(sentence);
    m->status = rm_fail(m->err, status, "%s:%d: %s", m->template->name, m->line, sentence);
}

bool jinja_step(jinja_machine *m, size_t n)
{
    if (m->status)
        return false;
    if (n >= m->steps) {
        m->steps = 0;
        jinja_fail(m, RM_E_LIMIT, "the template does too much work; it may not end");
        return false;
    }
    m->steps -= n;
    return true;
}

void *jinja_alloc(jinja_machine *m, size_t bytes)
{
    void *memory = jinja_step(m, bytes / 1024) ? jinja_arena_alloc(&m->arena, bytes) : NULL;
    if (!memory && bytes > m->arena.left)
        jinja_fail(m, RM_E_LIMIT, "the template needs more than %d MiB",
                   RM_JINJA_MAX_MEMORY >> 20);
    else if (!memory)
        jinja_fail(m, RM_E_MEMORY, "no memory to render the template");
    return memory;
}

/* ---- the interface ---------------------------------------------------------------------- */

rm_status rm_jinja_new(const char *source, size_t n, const char *name, rm_jinja **out,
                       rm_error *err)
{
    if (n > RM_JINJA_MAX_SOURCE)
        return rm_fail(err, RM_E_LIMIT, "%s: a template of %zu bytes, expected at most %d", name, n,
                       RM_JINJA_MAX_SOURCE);
    if (rm_utf8_valid_prefix(source, n) != n || memchr(source, 0, n))
        return rm_fail(err, RM_E_FORMAT, "%s: a template is UTF-8 text without zero bytes", name);
    rm_jinja *t = calloc(1, sizeof *t);
    jinja_token *tokens = NULL;
    if (!t)
        return rm_fail(err, RM_E_MEMORY, "%s: no memory for the template", name);
    t->arena.left = RM_JINJA_MAX_MEMORY;
    size_t n_name = strlen(name);
    char *copy = jinja_arena_alloc(&t->arena, n_name + 1);
    rm_status st = copy ? RM_OK : rm_fail(err, RM_E_MEMORY, "%s: no memory for the template", name);
    if (!st) {
        memcpy(copy, name, n_name);
        t->name = copy;
        st = jinja_lex(&t->arena, source, n, name, &tokens, err);
    }
    if (!st)
        st = jinja_parse(t, tokens, err);
    if (st) {
        rm_jinja_free(t);
        return st;
    }
    *out = t;
    return RM_OK;
}

void rm_jinja_free(rm_jinja *t)
{
    if (!t)
        return;
    jinja_arena_free(&t->arena);
    free(t);
}

static void set_variables(jinja_machine *m)
{
    const rm_jinja_input *in = m->input;
    for (const cJSON *v = in->variables ? in->variables->child : NULL; v && !m->status; v = v->next)
        jinja_set_name(m, v->string, jinja_from_json(m, v, true, 0));
    for (int i = 0; i < in->n_own && !m->status; i++)
        jinja_set_name(m, in->own[i].name,
                 jinja_text(m, in->own[i].value, strlen(in->own[i].value), false));
}

rm_status rm_jinja_render(const rm_jinja *t, const rm_jinja_input *input, rm_text *text,
                          rm_text *data, rm_error *err)
{
    jinja_machine m = { .template = t, .input = input, .arena = { .left = RM_JINJA_MAX_MEMORY },
                        .steps = input->max_steps ? input->max_steps : RM_JINJA_MAX_STEPS,
                        .line = 1, .err = err };
    jinja_buffer out = { 0 };
    if ((m.scope = jinja_open_scope(&m, NULL)))
        set_variables(&m);
    jinja_run(&m, t->body, &out);
    if (!m.status) {
        size_t before = text->length;
        rm_text_add(text, out.n ? out.bytes : "", out.n);
        if (data && out.n)
            rm_text_add(data, (const char *)out.mark, out.n);
        if (text->failed || (data && data->failed)) {
            m.status = rm_fail(err, RM_E_MEMORY, "no memory for a rendered prompt");
            text->length = before;
        }
    }
    jinja_arena_free(&m.arena);
    return m.status;
}

static bool mentions(const jinja_node *node, const char *name, int depth)
{
    if (depth > 4 * RM_JINJA_MAX_DEPTH)
        return false; /* too deep to be evaluated either */
    for (; node; node = node->next) {
        const jinja_node *parts[] = { node->left, node->right, node->third, node->first, node->body,
                                      node->otherwise };
        if (node->kind == JINJA_K_NAME && node->name && !strcmp(node->name, name))
            return true;
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
            if (parts[i] && mentions(parts[i], name, depth + 1))
                return true;
    }
    return false;
}

bool rm_jinja_mentions(const rm_jinja *t, const char *name)
{
    return mentions(t->body, name, 0);
}
