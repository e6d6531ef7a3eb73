/* jinja.h - chat templates: an interpreter of the part of Jinja2 that they are written in
 * (private to experiments).
 *
 * Makers of chat models ship a Jinja2 template that turns messages into the text their model was
 * trained on. This renders one as Hugging Face's apply_chat_template does: trim_blocks and
 * lstrip_blocks, break and continue, an immutable sandbox, its own tojson, raise_exception,
 * strftime_now. README.md says what is supported; anything else is refused by name and line.
 *
 * Safety.  A template is a program from a stranger. It has no access to anything but its
 * variables: no files, no clock but the one it is given, no environment. Steps, memory, output
 * and depth are limited (below), whatever the template does.
 *
 * Provenance.  Every string knows, byte by byte, whether it is the template's own or came in with
 * the variables. The output says so too, so that text in a message which spells out a special
 * token (<|im_end|>) can be tokenized as the text it is.
 *
 * Ownership.  rm_jinja_new copies the source; a template is read-only once made and can be
 * rendered by several threads. What is rendered belongs to the caller. */
#ifndef RM_EXPERIMENTS_JINJA_H
#define RM_EXPERIMENTS_JINJA_H

#include "base/json.h"

typedef struct rm_jinja rm_jinja;

enum {
    RM_JINJA_MAX_SOURCE = 1 << 20,   /* bytes of a template */
    RM_JINJA_MAX_STEPS = 5000000,    /* nodes evaluated, and 64 bytes or items handled, each */
    RM_JINJA_MAX_MEMORY = 64 << 20,  /* bytes of values made while rendering */
    RM_JINJA_MAX_OUTPUT = 16 << 20,  /* bytes rendered */
    RM_JINJA_MAX_NESTING = 100,      /* of statements and expressions in the source */
    RM_JINJA_MAX_DEPTH = 400         /* of evaluation, macros included */
};

/* Parses a template; `name` goes into messages ("name:line: sentence"). RM_E_FORMAT for what is
 * no Jinja2, RM_E_UNSUPPORTED for statements that are left out here. */
rm_status rm_jinja_new(const char *source, size_t n, const char *name, rm_jinja **, rm_error *);
void rm_jinja_free(rm_jinja *);

/* A variable that is the template's own, not data: bos_token. */
typedef struct rm_jinja_text {
    const char *name, *value;
} rm_jinja_text;

typedef struct rm_jinja_input {
    const cJSON *variables;          /* an object; its members are the template's variables, and all
                                        strings in them data, except values of a key "role" */
    const rm_jinja_text *own;        /* [n_own] */
    int n_own;
    const int *now;                  /* for strftime_now: year, month 1..12, day, hour, minute,
                                        second; NULL: the function is not defined */
    uint64_t max_steps;              /* 0: RM_JINJA_MAX_STEPS */
} rm_jinja_input;

/* Renders into `text`; `data` (may be NULL) gets one byte for each of the text's: 1 where it came
 * with the variables, else 0. RM_E_ARGUMENT if the template calls raise_exception (the sentence
 * is the template's) or fails as Jinja2 would, RM_E_LIMIT at a limit, RM_E_UNSUPPORTED where it
 * asks for something that is left out here. */
rm_status rm_jinja_render(const rm_jinja *, const rm_jinja_input *, rm_text *text, rm_text *data,
                          rm_error *);

/* Does the template read a variable of this name? */
bool rm_jinja_mentions(const rm_jinja *, const char *name);

#endif
