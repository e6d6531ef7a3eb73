/* The interpreter of chat templates against Jinja2 itself: chat/make_goldens.py made what is
 * expected, chat/constructs.txt and conversations.json are what was rendered. */
#include "experiments/chat/jinja.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER RM_SOURCE_DIR "/tests/experiments/chat/"
#define TEMPLATES RM_TEST_DATA "/chat-templates/templates/"

static const rm_jinja_text own[] = { { "bos_token", "<s>" }, { "eos_token", "</s>" } };
static const int now[] = { 2025, 3, 7, 14, 5, 9 };

static rm_status render(const char *source, size_t n, const cJSON *variables, rm_text *text,
                        rm_text *data, rm_error *err)
{
    rm_jinja *t = NULL;
    rm_jinja_input input = { .variables = variables, .own = own, .n_own = 2, .now = now };
    rm_status st = rm_jinja_new(source, n, "template", &t, err);
    if (!st)
        st = rm_jinja_render(t, &input, text, data, err);
    rm_jinja_free(t);
    return st;
}

static rm_json *read_json(const char *file)
{
    char *text = NULL;
    size_t n = 0;
    rm_json *json = NULL;
    rm_error err;
    cr_assert_eq(rm_file_read(file, 1 << 24, &text, &n, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_json_parse(text, n, file, 1, 0, &json, &err), RM_OK, "%s", err.text);
    free(text);
    return json;
}

static const char *string_at(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return item ? item->valuestring : NULL;
}

Test(jinja, constructs)
{
    rm_json *json = read_json(FOLDER "constructs.json");
    const cJSON *c;
    cJSON_ArrayForEach(c, rm_json_root(json)) {
        rm_text text = { 0 };
        rm_error err = { "" };
        const char *source = string_at(c, "template"), *output = string_at(c, "output");
        rm_status st = render(source, strlen(source),
                              cJSON_GetObjectItemCaseSensitive(c, "variables"), &text, NULL, &err);
        if (output) {
            cr_expect_eq(st, RM_OK, "%s\n%s", source, err.text);
            if (!st)
                cr_expect_str_eq(text.data ? text.data : "", output,
                                 "%s\n  got      |%s|\n  expected |%s|",
                                 source, text.data ? text.data : "", output);
        } else {
            cr_expect_neq(st, RM_OK, "%s: rendered |%s|, but Jinja2 says %s", source, text.data,
                          string_at(c, "error"));
            cr_expect_eq(strncmp(err.text, "template:", 9), 0, "%s: %s", source, err.text);
        }
        rm_text_free(&text);
    }
    rm_json_free(json);
}

/* One template under all conversations; the line of real.txt goes on behind its hash. */
static void check_real(const char *name, const char *source, size_t n, const cJSON *conversations,
                       char *hashes)
{
    const cJSON *c;
    char *rest, *word = strtok_r(hashes, " \n", &rest);
    cJSON_ArrayForEach(c, conversations) {
        rm_text text = { 0 };
        rm_error err = { "" };
        char hash[17];
        cr_assert_not_null(word, "%s: too few hashes", name);
        rm_status st = render(source, n, c, &text, NULL, &err);
        snprintf(hash, sizeof hash, "%016" PRIx64, rm_hash_bytes(text.data, text.length));
        cr_expect_str_eq(st ? "error" : hash, word, "%s, %s: %s", name, string_at(c, "name"),
                         st ? err.text : text.data);
        rm_text_free(&text);
        word = strtok_r(NULL, " \n", &rest);
    }
}

Test(jinja, real_templates)
{
    rm_json *json = read_json(FOLDER "conversations.json");
    FILE *goldens = fopen(FOLDER "real.txt", "r");
    char line[8192];
    int n_found = 0, n_others = 0;
    cr_assert_not_null(goldens);
    while (fgets(line, sizeof line, goldens)) {
        char name[256], hash[17], file[1024], own_hash[17], *source = NULL;
        size_t n = 0;
        int at = 0;
        cr_assert_eq(sscanf(line, "%255s %16s %n", name, hash, &at), 2);
        snprintf(file, sizeof file, "%s%s", TEMPLATES, name);
        if (rm_file_read(file, RM_JINJA_MAX_SOURCE, &source, &n, NULL))
            continue;
        snprintf(own_hash, sizeof own_hash, "%016" PRIx64, rm_hash_bytes(source, n));
        if (!strcmp(hash, own_hash)) {
            n_found++;
            check_real(name, source, n, rm_json_root(json), line + at);
        } else {
            n_others++;
        }
        free(source);
    }
    fclose(goldens);
    rm_json_free(json);
    if (!n_found)
        cr_skip_test("no chat templates in %s (%d of another version)", TEMPLATES, n_others);
}

/* What ends a template that would not end, or takes too much; the sentence says which limit. */
static const struct { const char *source, *part; rm_status status; } limits[] = {
    { "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}", "",
      RM_E_LIMIT },
    { "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s + "
      "ns.s %}{% endfor %}", "", RM_E_LIMIT },
    { "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
      "endfor %}{{ ns.l }}", "", RM_E_LIMIT },
    { "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
      "endfor %}{{ ns.l == ns.l + [] }}", "too much work", RM_E_LIMIT },
    { "{% set ns = namespace(l=[1]) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}{% endfor "
      "%}{{ ns.l | tojson }}", "nested too deep", RM_E_LIMIT },
    { "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested too deep", RM_E_LIMIT },
    { "{{ 'x' * 1000000000000 }}", "", RM_E_LIMIT },
    { "{{ [1] * 1000000000000 }}", "grows too long", RM_E_LIMIT },
    { "{{ 'x' | indent(100000000000) }}", "", RM_E_LIMIT },
    { "{% for i in range(100) %}{{ [1] | tojson(indent=100000000) }}{{ 'x' * 500000 }}{% endfor %}",
      "", RM_E_LIMIT },
    { "{{ ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))) }}", "nested too deep", RM_E_FORMAT },
    { "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}", "cannot be printed",
      RM_E_UNSUPPORTED },
    { "{% set ns = namespace() %}{% set ns.me = ns %}{{ [ns] == [ns] }}{{ ns.me | tojson }}",
      "JSON", RM_E_ARGUMENT },
    { "{% include 'file' %}", "\"include\"", RM_E_UNSUPPORTED },
    { "line\n{% import 'os' as os %}", "template:2:", RM_E_UNSUPPORTED },
    { "{% extends 'x' %}", "\"extends\"", RM_E_UNSUPPORTED },
    { "{% block a %}{% endblock %}", "\"block\"", RM_E_UNSUPPORTED },
    { "{{ f(*[1]) }}", "not supported", RM_E_UNSUPPORTED },
    { "{% for x in y recursive %}{% endfor %}", "recursive", RM_E_UNSUPPORTED },
    { "{{ ''.__class__.__mro__ }}", "undefined", RM_E_ARGUMENT },
    { "{{ 'a'.zfill(3) }}", "zfill", RM_E_UNSUPPORTED },
    { "a\nb\n{{ x | from_json }}", "template:3: there is no filter \"from_json\"",
      RM_E_UNSUPPORTED },
    { "{{ 9223372036854775807 + 1 }}", "64 bits", RM_E_UNSUPPORTED },
    { "{{ 99999999999999999999 }}", "range", RM_E_FORMAT },
    { "{{ '%s' % 1 }}", "not supported", RM_E_UNSUPPORTED },
    { "{{ raise_exception('no, \xc3\xa9') }}", "the template refuses: no, \xc3\xa9",
      RM_E_ARGUMENT },
    { "{{ raise_exception('no\n\x1b[31m\x7f\xc2\x9bm') }}", "the template refuses: no  [31m   m", RM_E_ARGUMENT },
    { "{{ 'abc'['x':] }}", "a slice needs integers", RM_E_ARGUMENT },
    { "{{ [1] | sum(start=true) ~ [1][true:] ~ (1 / 0) }}", "division by zero", RM_E_ARGUMENT },
    { "\n{% if 1 %}", "template:2: the block begun here has no {% endif %}", RM_E_FORMAT },
    { "{% for a in b %}{% else %}", "has no {% endfor %}", RM_E_FORMAT },
    { "bad \xff bytes", "UTF-8", RM_E_FORMAT },
};

Test(jinja, limits_and_refusals)
{
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        rm_text text = { 0 };
        rm_error err = { "" };
        rm_status st = render(limits[i].source, strlen(limits[i].source), NULL, &text, NULL, &err);
        cr_expect_eq(st, limits[i].status, "%.80s: %d %s", limits[i].source, st, err.text);
        cr_expect_not_null(strstr(err.text, limits[i].part), "%.80s: %s", limits[i].source,
                           err.text);
        rm_text_free(&text);
    }
}

/* Which bytes came with the variables: '.' the template's own, 'D' data. */
static const struct { const char *source, *output, *data; } origins[] = {
    { "<|u|>{{ m.content }}<|e|>", "<|u|>a<b<|e|>", ".....DDD....." },
    { "{{ '<|' + m.role + '|>' + m.content }}", "<|user|>a<b", "........DDD" },
    { "{{ (' ' ~ m.content ~ ' ') | trim | upper }}", "A<B", "DDD" },
    { "{{ m.content[::-1] }}{{ m.content[0] }}", "b<aa", "DDDD" },
    { "{{ m.content.replace('<', '--') }}", "a--b", "D..D" },
    { "{{ 'x<y'.replace('<', m.content) }}", "xa<by", ".DDD." },
    { "{{ m.content.split('<') | join('|') }}", "a|b", "D.D" },
    { "{{ m | tojson }}", "{\"role\": \"user\", \"content\": \"a<b\"}",
      "..DDDD............DDDDDDD....DDD.." },
    { "{% set x %}[{{ m.content }}]{% endset %}{{ x }}", "[a<b]", ".DDD." },
    { "{% macro f(t) %}({{ t }}){% endmacro %}{{ f(m.content) }}", "(a<b)", ".DDD." },
    { "{% for c in m.content %}{{ c }},{% endfor %}", "a,<,b,", "D.D.D." },
    { "{{ '{}!'.format(m.content) }}{{ [m.content] }}", "a<b!['a<b']", "DDD..DDDDD." },
    { "{{ bos_token }}{{ n }}{{ m.content | indent(2, true) }}", "<s>7  a<b", "......DDD" },
};

Test(jinja, provenance)
{
    rm_json *json = NULL;
    static const char variables[] = "{\"n\": 7, \"m\": {\"role\": \"user\", \"content\": \"a<b\"}}";
    cr_assert_eq(rm_json_parse(variables, strlen(variables), "v", 1, 0, &json, NULL), RM_OK);
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
        rm_text text = { 0 }, data = { 0 };
        rm_error err = { "" };
        const char *source = origins[i].source;
        cr_assert_eq(render(source, strlen(source), rm_json_root(json), &text, &data, &err), RM_OK,
                     "%s: %s", source, err.text);
        cr_expect_str_eq(text.data, origins[i].output, "%s: %s", source, text.data);
        cr_assert_eq(text.length, data.length);
        for (size_t k = 0; k < data.length; k++)
            data.data[k] = data.data[k] ? 'D' : '.';
        cr_expect_str_eq(data.data, origins[i].data, "%s: %s", source, data.data);
        rm_text_free(&text);
        rm_text_free(&data);
    }
    rm_json_free(json);
}

Test(jinja, what_a_template_reads)
{
    static const char source[] = "{% if a.b is defined %}{{ c | default(d) }}{% endif %}"
                                 "{% for e in [f] %}{{ x.g }}{% endfor %}";
    rm_jinja *t = NULL;
    cr_assert_eq(rm_jinja_new(source, strlen(source), "t", &t, NULL), RM_OK);
    static const char *const read[] = { "a", "c", "d", "f", "x" },
        *const others[] = { "b", "g", "h" };
    for (size_t i = 0; i < sizeof read / sizeof *read; i++)
        cr_expect(rm_jinja_mentions(t, read[i]), "%s", read[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        cr_expect(!rm_jinja_mentions(t, others[i]), "%s", others[i]);
    rm_jinja_free(t);
}

/* The clock is the caller's, or there is none. */
Test(jinja, without_a_clock)
{
    static const char source[] = "{{ strftime_now is defined }}";
    rm_jinja *t = NULL;
    rm_text text = { 0 };
    cr_assert_eq(rm_jinja_new(source, strlen(source), "t", &t, NULL), RM_OK);
    cr_assert_eq(rm_jinja_render(t, &(rm_jinja_input){ 0 }, &text, NULL, NULL), RM_OK);
    cr_expect_str_eq(text.data, "False");
    rm_text_free(&text);
    rm_jinja_free(t);
}
