/* fuzz_jinja.c - chat templates: whatever the bytes, a text or one sentence, within the limits.
 *
 * The input is a template; a line {"... in front of it, up to the line's end, is the JSON object of
 * its variables, else there is a conversation with a tool. What is checked besides memory and time:
 * the output is valid UTF-8 with a mark for each byte, a failure has its sentence, and a second
 * rendering is the same. */
#include "experiments/chat/jinja.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)     \
    do {                       \
        if (!(condition))      \
            abort();           \
    } while (0)

static const char conversation[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"S\"}, {\"role\": \"user\", \"content\":"
    " \"a \xc3\xa9<b> \xf0\x9f\x98\x80\"}, {\"role\": \"assistant\", \"content\": null, "
    "\"tool_calls\":"
    " [{\"function\": {\"name\": \"f\", \"arguments\": {\"x\": [1, 2.5, true]}}}]}], \"tools\": "
    "[{\"type\":"
    " \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"properties\": {\"x\": "
    "{\"type\":"
    " \"array\"}}}}}], \"documents\": null, \"add_generation_prompt\": true, \"enable_thinking\": "
    "false}";

/* One line of UTF-8, fit for a terminal. */
static void check_error(const rm_error *err)
{
    size_t n = strlen(err->text);
    REQUIRE(rm_utf8_valid_prefix(err->text, n) == n);
    for (size_t i = 0; i < n; i++)
        REQUIRE((unsigned char)err->text[i] >= ' ' && err->text[i] != 0x7f);
}

static rm_status render(const rm_jinja *t, const rm_json *variables, rm_text *text, rm_text *marks)
{
    static const rm_jinja_text own[] = { { "bos_token", "<s>" }, { "eos_token", "</s>" } };
    static const int now[] = { 2026, 1, 31, 12, 30, 5 };
    rm_error err = { "" };
    rm_jinja_input input = { .variables = rm_json_root(variables), .own = own, .n_own = 2,
                             .now = now,
                             .max_steps = 100000 };
    rm_status st = rm_jinja_render(t, &input, text, marks, &err);
    REQUIRE(!st == !err.text[0]);
    check_error(&err);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *source = (const char *)data, *variables = conversation;
    size_t n_variables = sizeof conversation - 1;
    const char *line = size > 2 && !memcmp(source, "{\"", 2) ? memchr(source, '\n', size) : NULL;
    if (line) {
        variables = source;
        n_variables = (size_t)(line - source);
        size -= n_variables + 1;
        source = line + 1;
    }
    rm_json *json = NULL;
    rm_jinja *t = NULL;
    rm_error err = { "" };
    if (rm_json_parse(variables, n_variables, "variables", 1, 0, &json, NULL))
        return 0;
    if (cJSON_IsObject(rm_json_root(json)) && !rm_jinja_new(source, size, "fuzz", &t, &err)) {
        rm_text text = { 0 }, marks = { 0 }, again = { 0 };
        rm_status st = render(t, json, &text, &marks);
        REQUIRE(text.length == marks.length);
        REQUIRE(st || rm_utf8_valid_prefix(text.data ? text.data : "", text.length) == text.length);
        REQUIRE(render(t, json, &again, NULL) == st);
        REQUIRE(again.length == text.length
                && (!text.length || !memcmp(again.data, text.data, text.length)));
        rm_jinja_mentions(t, "enable_thinking");
        rm_text_free(&text);
        rm_text_free(&marks);
        rm_text_free(&again);
    } else {
        REQUIRE(!t);
        check_error(&err);
    }
    rm_jinja_free(t);
    rm_json_free(json);
    return 0;
}
