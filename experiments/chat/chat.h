/* chat.h - prompts as a model's makers meant them: messages through its chat template (private to
 * experiments).
 *
 * Which template. The one that is asked for (a built-in one by name, or a file), else the model's
 * own, else a built-in one that the special tokens of its vocabulary point to; else there is none
 * and the model is refused.
 *
 * What is a special token. Only what the template writes. Text of a message that spells one out
 * stays text (jinja.h keeps the origin of every byte), so that no data can close its own turn.
 * Hugging Face makes no such difference. BOS is the template's business: none is added. */
#ifndef RM_EXPERIMENTS_CHAT_H
#define RM_EXPERIMENTS_CHAT_H

#include "experiments/chat/jinja.h"
#include "strategies/strategy.h"

typedef struct rm_chat rm_chat;

/* `wanted`: NULL, the name of a built-in template, or a file (relative to `folder` if that is not
 * NULL). Nothing of the model is kept. */
rm_status rm_chat_open(const rm_model *, const char *wanted, const char *folder, rm_chat **,
                       rm_error *);
void rm_chat_free(rm_chat *);

/* Where it came from, for people: "the model's own", "built-in chatml (the vocabulary has
 * <|im_start|>)", "file x.jinja". */
const char *rm_chat_origin(const rm_chat *);

/* Names of the built-in templates; NULL-terminated. */
const char *const *rm_chat_names(void);
bool rm_chat_is_name(const char *);

/* A message and the reply to it. */
typedef struct rm_chat_turn {
    const char *user, *reply;
} rm_chat_turn;

typedef struct rm_chat_request {
    const char *system;      /* NULL or "": none */
    const rm_chat_turn *turns; /* [n_turns] what was said before */
    int n_turns;
    const char *user;
    const char *reply_prefix; /* how the model's answer begins, to be gone on with: the template's
                                end, so special tokens count; NULL: nothing */
    const char *variables;   /* a JSON object as text, or NULL: what the template may read besides;
                                a name it never reads is RM_E_ARGUMENT */
    const int *now;          /* jinja.h; NULL: the template has no clock */
} rm_chat_request;

/* A prompt as rendered; `plain` has a byte for each of text (strategy.h, prompt_plain). */
typedef struct rm_chat_prompt {
    rm_text text, plain;
} rm_chat_prompt;

/* The messages up to where the model's answer begins. */
rm_status rm_chat_render(const rm_chat *, const rm_chat_request *, rm_chat_prompt *, rm_error *);
void rm_chat_prompt_free(rm_chat_prompt *);

/* Does the text end, blanks aside, in this tag? So end the prompts of models that begin with a
 * thought. */
bool rm_chat_opens(const char *prompt, const char *tag);

/* Adds "name": value to a JSON object under construction (empty at first); the value is JSON if it
 * reads as such, else a string. */
rm_status rm_chat_add_variable(rm_text *object, const char *name, const char *value, rm_error *);
/* The same for all members of a configuration's object. */
rm_status rm_chat_add_variables(rm_text *object, const cJSON *members, rm_error *);
/* "2026-01-31" as what rm_chat_request.now points to, at midnight. */
bool rm_chat_parse_date(const char *text, int now[6]);

#endif
