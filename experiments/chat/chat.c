/* chat.c - which template, and messages through it.
 *
 * The built-in templates are for files that lost theirs; each is the plain form of the format its
 * makers document: Llama 2 and 3 (Meta's model cards), ChatML (OpenAI; Qwen), Mistral's
 * instruction format, DeepSeek-R1, whose turn of the assistant opens with a thought. */
#include "experiments/chat/chat.h"

#include "experiments/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- built-in templates ----------------------------------------------------------------- */

/* Formats without a system role put that text in front of the first user's. */
#define SYSTEM_APART \
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}" \
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"

static const struct built_in {
    const char *name;
    const char *mark;        /* a special token that no other format has, or NULL */
    const char *source;      /* NULL: recognised, to be refused */
} built_ins[] = {
    { "chatml", "<|im_start|>",
      "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ '<|im_end|>\n' }}"
      "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}" },
    { "llama-3", "<|start_header_id|>",
      "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' ~ m.role ~ "
      "'<|end_header_id|>\n\n' ~ m.content | trim ~ '<|eot_id|>' }}{% endfor %}"
      "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
      "{% endif %}" },
    { "deepseek-r1", "<\xef\xbd\x9c" "Assistant" "\xef\xbd\x9c>",
      SYSTEM_APART "{{ bos_token ~ system }}{% for m in messages %}{% if m.role == 'user' %}"
      "{{ '<\xef\xbd\x9cUser\xef\xbd\x9c>' ~ m.content }}{% else %}{{ '<\xef\xbd\x9c"
      "Assistant\xef\xbd\x9c>' ~ m.content.split('</think>')[-1] ~ eos_token }}{% endif %}"
      "{% endfor %}{% if add_generation_prompt %}"
      "{{ '<\xef\xbd\x9c" "Assistant\xef\xbd\x9c><think>\n' }}{% endif %}" },
    { "mistral", "[INST]",
      SYSTEM_APART "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' ~ "
      "(system ~ '\n\n' if system and loop.first else '') ~ m.content ~ ' [/INST]' }}"
      "{% else %}{{ ' ' ~ m.content ~ eos_token }}{% endif %}{% endfor %}" },
    { "llama-2", NULL,
      SYSTEM_APART "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token ~ '[INST] ' ~ "
      "('<<SYS>>\n' ~ system ~ '\n<</SYS>>\n\n' if system and loop.first else '') ~ "
      "m.content | trim ~ ' [/INST]' }}{% else %}{{ ' ' ~ m.content | trim ~ ' ' ~ eos_token }}"
      "{% endif %}{% endfor %}" },
    { "gemma", "<start_of_turn>", NULL },
    { "phi-3", "<|assistant|>", NULL },
};
enum { N_BUILT_INS = sizeof built_ins / sizeof *built_ins };

const char *const *rm_chat_names(void)
{
    static const char *const names[] = { "chatml", "llama-3", "deepseek-r1", "mistral", "llama-2",
                                         NULL };
    return names;
}

bool rm_chat_is_name(const char *name)
{
    for (const char *const *n = rm_chat_names(); *n; n++)
        if (!strcmp(*n, name))
            return true;
    return false;
}

/* ---- opening ---------------------------------------------------------------------------- */

enum { N_OWN = 5 };

struct rm_chat {
    rm_jinja *template;
    struct { const char *name; char *text; } own[N_OWN]; /* NULL where the vocabulary has none */
    rm_text origin;
};

static bool has_special(const rm_model *model, const char *text)
{
    int32_t *tokens = NULL;
    int n = 0;
    size_t n_bytes;
    bool special = false;
    if (rm_tokenize_rendered(model, text, NULL, strlen(text), &tokens, &n, NULL))
        return false;
    if (n == 1)
        rm_token_bytes(model, tokens[0], &n_bytes, &special);
    free(tokens);
    return special;
}

static rm_status open_built_in(rm_chat *chat, const char *name, const char *mark, rm_error *err)
{
    char title[64];
    for (int i = 0; i < N_BUILT_INS; i++) {
        const struct built_in *b = &built_ins[i];
        if (strcmp(b->name, name) || !b->source)
            continue;
        snprintf(title, sizeof title, "built-in %s", name);
        rm_text_puts(&chat->origin, title);
        if (mark)
            rm_text_printf(&chat->origin, " (the vocabulary has %s)", mark);
        return rm_jinja_new(b->source, strlen(b->source), title, &chat->template, err);
    }
    return rm_fail(err, RM_E_ARGUMENT, "there is no built-in chat template \"%.60s\"", name);
}

static rm_status open_file(rm_chat *chat, const char *wanted, const char *folder, rm_error *err)
{
    char *source = NULL, *path = folder ? rm_join_path(folder, wanted) : strdup(wanted);
    size_t n = 0;
    if (!path)
        return rm_fail(err, RM_E_MEMORY, "no memory for the name of a chat template");
    rm_status st = rm_file_read(path, RM_JINJA_MAX_SOURCE, &source, &n, err);
    if (st) {
        rm_text names = { 0 };
        for (const char *const *name = rm_chat_names(); *name; name++)
            rm_text_printf(&names, "%s%s", name == rm_chat_names() ? "" : ", ", *name);
        rm_error why = err ? *err : (rm_error){ "" };
        rm_fail(err, st, "chat template: %s (built-in ones are %s)", why.text,
                names.data ? names.data : "");
        rm_text_free(&names);
    } else {
        rm_text_printf(&chat->origin, "file %s", path);
        st = rm_jinja_new(source, n, path, &chat->template, err);
    }
    free(source);
    free(path);
    return st;
}

static rm_status guess(rm_chat *chat, const rm_model *model, rm_error *err)
{
    const char *name = rm_model_describe(model)->name;
    for (int i = 0; i < N_BUILT_INS; i++) {
        const struct built_in *b = &built_ins[i];
        if (!b->mark || !has_special(model, b->mark))
            continue;
        if (b->source)
            return open_built_in(chat, b->name, b->mark, err);
        return rm_fail(err, RM_E_UNSUPPORTED,
                       "%s has no chat template; its vocabulary has %s, as in "
                       "%s, for which none is built in: name a file with the template", name,
                       b->mark,
                       b->name);
    }
    return rm_fail(err, RM_E_UNSUPPORTED, "%s has no chat template, and its vocabulary has no "
                   "special token that tells its format: it may be a base model; name a template "
                   "(chatml, llama-3, deepseek-r1, mistral, llama-2, or a file) if it is not",
                   name);
}

/* The text of a token, or NULL if there is none or memory ran out (*failed). */
static char *token_text(const rm_model *model, int32_t token, bool *failed)
{
    size_t n = 0;
    bool special;
    const char *bytes = token >= 0 ? rm_token_bytes(model, token, &n, &special) : NULL;
    char *copy = bytes ? strndup(bytes, n) : NULL;
    *failed = *failed || (bytes && !copy);
    return copy;
}

rm_status rm_chat_open(const rm_model *model, const char *wanted, const char *folder,
                       rm_chat **out, rm_error *err)
{
    const rm_model_info *info = rm_model_describe(model);
    rm_chat *chat = calloc(1, sizeof *chat);
    rm_status st = RM_OK;
    bool failed = !chat;
    if (chat) {
        const char *const others[] = { info->sep_token, info->pad_token, info->unk_token };
        static const char *const names[N_OWN] = { "bos_token", "eos_token", "sep_token", "pad_token",
                                                  "unk_token" };
        for (int i = 0; i < N_OWN; i++) {
            chat->own[i].name = names[i];
            chat->own[i].text = i < 2 ? token_text(model, i ? info->eos : info->bos, &failed)
                              : others[i - 2] ? strdup(others[i - 2]) : NULL;
            failed |= i >= 2 && others[i - 2] && !chat->own[i].text;
        }
    }
    if (failed)
        st = rm_fail(err, RM_E_MEMORY, "no memory for a chat template");
    else if (wanted)
        st = rm_chat_is_name(wanted) ? open_built_in(chat, wanted, NULL, err)
                                     : open_file(chat, wanted, folder, err);
    else if (info->served)
        st = rm_fail(err, RM_E_ARGUMENT, "the chat template of %s, behind a server, is not known "
                     "here; \"chat_template\" states one", info->name);
    else if (!info->chat_template)
        st = guess(chat, model, err);
    else {
        char title[320];
        snprintf(title, sizeof title, "chat template of %.256s", info->name);
        rm_text_puts(&chat->origin, "the model's own");
        st = rm_jinja_new(info->chat_template, strlen(info->chat_template), title, &chat->template,
                          err);
    }
    if (st) {
        rm_chat_free(chat);
        return st;
    }
    *out = chat;
    return RM_OK;
}

void rm_chat_free(rm_chat *chat)
{
    if (!chat)
        return;
    rm_jinja_free(chat->template);
    rm_text_free(&chat->origin);
    for (int i = 0; i < N_OWN; i++)
        free(chat->own[i].text);
    free(chat);
}

const char *rm_chat_origin(const rm_chat *chat)
{
    return chat->origin.data ? chat->origin.data : "";
}

/* ---- variables -------------------------------------------------------------------------- */

/* A cJSON value as JSON text; numbers keep 17 digits. */
static void add_json(rm_json_writer *w, const char *key, const cJSON *item)
{
    if (cJSON_IsString(item))
        rm_json_string(w, key, item->valuestring);
    else if (cJSON_IsNumber(item))
        rm_json_real(w, key, item->valuedouble);
    else if (cJSON_IsBool(item))
        rm_json_bool(w, key, cJSON_IsTrue(item));
    else if (cJSON_IsNull(item) || w->depth >= RM_JSON_WRITER_DEPTH - 1)
        rm_json_null(w, key);
    else {
        bool object = cJSON_IsObject(item);
        if (object)
            rm_json_object(w, key);
        else
            rm_json_array(w, key);
        for (const cJSON *c = item->child; c; c = c->next)
            add_json(w, object ? c->string : NULL, c);
        rm_json_end(w);
    }
}

/* Opens the object for one more member: drops its closing brace. */
static void reopen(rm_text *object)
{
    if (!object->length) {
        rm_text_puts(object, "{");
        return;
    }
    object->length--;
    if (object->data[object->length - 1] != '{')
        rm_text_puts(object, ",");
}

static rm_status check_name(const char *name, rm_error *err)
{
    static const char *const ours[] = { "messages", "add_generation_prompt", "bos_token",
                                        "eos_token", "sep_token", "pad_token", "unk_token" };
    bool good = *name && !strchr("0123456789", *name);
    for (const char *c = name; *c; c++)
        good = good && (*c == '_' || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z')
                        || (*c >= '0' && *c <= '9'));
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (!strcmp(name, ours[i]))
            return rm_fail(err, RM_E_ARGUMENT, "the template variable %s is set by the prompt "
                           "itself", name);
    return good ? RM_OK : rm_fail(err, RM_E_ARGUMENT,
                                  "\"%.60s\" is no name of a template variable: "
                                  "expected letters, digits and _", name);
}

rm_status rm_chat_add_variables(rm_text *object, const cJSON *members, rm_error *err)
{
    for (const cJSON *c = members->child; c; c = c->next) {
        rm_status st = check_name(c->string, err);
        if (st)
            return st;
        rm_json_writer w = { .out = object };
        reopen(object);
        rm_json_quote(object, c->string, strlen(c->string));
        rm_text_puts(object, ":");
        add_json(&w, NULL, c);
        rm_text_puts(object, "}");
    }
    return object->failed ? rm_fail(err, RM_E_MEMORY, "no memory for template variables") : RM_OK;
}

rm_status rm_chat_add_variable(rm_text *object, const char *name, const char *value, rm_error *err)
{
    rm_json *json = NULL;
    rm_status st = check_name(name, err);
    if (st)
        return st;
    bool is_json = !rm_json_parse(value, strlen(value), "value", 1, 0, &json, NULL);
    rm_json_free(json);
    reopen(object);
    rm_json_quote(object, name, strlen(name));
    rm_text_puts(object, ":");
    if (is_json)
        rm_text_puts(object, value);
    else
        rm_json_quote(object, value, strlen(value));
    rm_text_puts(object, "}");
    return object->failed ? rm_fail(err, RM_E_MEMORY, "no memory for template variables") : RM_OK;
}

bool rm_chat_parse_date(const char *text, int now[6])
{
    int end = 0;
    memset(now, 0, 6 * sizeof *now);
    return strlen(text) == 10 && sscanf(text, "%4d-%2d-%2d%n", &now[0], &now[1], &now[2], &end) == 3
           && end == 10 && now[0] >= 1900 && now[1] >= 1 && now[1] <= 12 && now[2] >= 1
           && now[2] <= 31;
}

/* ---- rendering -------------------------------------------------------------------------- */

static void put_message(rm_json_writer *w, const char *role, const char *content)
{
    rm_json_object(w, NULL);
    rm_json_string(w, "role", role);
    rm_json_string(w, "content", content);
    rm_json_end(w);
}

/* All variables as one JSON object, as apply_chat_template passes them: tools and documents are
 * there, none unless given. */
static rm_status all_variables(const rm_chat *chat, const rm_chat_request *r, rm_json **out,
                               rm_error *err)
{
    rm_text text = { 0 };
    rm_json *given = NULL;
    rm_json_writer w = { .out = &text };
    rm_status st = r->variables ? rm_json_parse(r->variables, strlen(r->variables),
                                                "template variables", 1, 0, &given, err) : RM_OK;
    if (st)
        return st;
    rm_json_object(&w, NULL);
    rm_json_array(&w, "messages");
    if (r->system && *r->system)
        put_message(&w, "system", r->system);
    for (int i = 0; i < r->n_turns; i++) {
        put_message(&w, "user", r->turns[i].user);
        put_message(&w, "assistant", r->turns[i].reply);
    }
    put_message(&w, "user", r->user);
    rm_json_end(&w);
    rm_json_bool(&w, "add_generation_prompt", true);
    bool tools = false, documents = false;
    for (const cJSON *v = given ? rm_json_root(given)->child : NULL; v && !st; v = v->next) {
        tools = tools || !strcmp(v->string, "tools");
        documents = documents || !strcmp(v->string, "documents");
        add_json(&w, v->string, v);
        if (!rm_jinja_mentions(chat->template, v->string))
            st = rm_fail(err, RM_E_ARGUMENT,
                         "the chat template (%s) never reads the variable %.60s",
                         rm_chat_origin(chat), v->string);
    }
    if (!tools)
        rm_json_null(&w, "tools");
    if (!documents)
        rm_json_null(&w, "documents");
    rm_json_end(&w);
    if (!st && text.failed)
        st = rm_fail(err, RM_E_MEMORY, "no memory for a prompt");
    if (!st)
        st = rm_json_parse(text.data, text.length, "the prompt", 1, RM_JSON_NO_POSITIONS, out, err);
    rm_json_free(given);
    rm_text_free(&text);
    return st;
}

rm_status rm_chat_render(const rm_chat *chat, const rm_chat_request *r, rm_chat_prompt *out,
                         rm_error *err)
{
    rm_json *variables = NULL;
    rm_jinja_text own[N_OWN];
    rm_jinja_input input = { .own = own, .now = r->now };
    rm_status st = all_variables(chat, r, &variables, err);
    if (st)
        return st;
    for (int i = 0; i < N_OWN; i++)
        if (chat->own[i].text)
            own[input.n_own++] = (rm_jinja_text){ chat->own[i].name, chat->own[i].text };
    input.variables = rm_json_root(variables);
    st = rm_jinja_render(chat->template, &input, &out->text, &out->plain, err);
    rm_json_free(variables);
    if (!st && r->reply_prefix) {
        rm_text_puts(&out->text, r->reply_prefix);
        for (size_t i = 0; i < strlen(r->reply_prefix); i++)
            rm_text_add(&out->plain, "", 1);
        if (out->text.failed || out->plain.failed)
            st = rm_fail(err, RM_E_MEMORY, "no memory for a prompt");
    }
    if (!st && !out->text.length)
        st = rm_fail(err, RM_E_ARGUMENT, "the chat template (%s) renders an empty prompt",
                     rm_chat_origin(chat));
    if (!st && strlen(out->text.data) != out->text.length)
        st = rm_fail(err, RM_E_ARGUMENT, "the chat template (%s) renders a zero byte",
                     rm_chat_origin(chat));
    return st;
}

void rm_chat_prompt_free(rm_chat_prompt *p)
{
    rm_text_free(&p->text);
    rm_text_free(&p->plain);
}

bool rm_chat_opens(const char *prompt, const char *tag)
{
    size_t n = strlen(prompt), m = strlen(tag);
    while (n && strchr(" \t\r\n", prompt[n - 1]))
        n--;
    return m && n >= m && !memcmp(prompt + n - m, tag, m);
}
