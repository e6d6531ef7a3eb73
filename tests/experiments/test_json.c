/* test_json.c - the strict parser, its positions, and the writer. */
#include "base/json.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef RM_TEST_DATA
#define RM_TEST_DATA "../shared/data"
#endif

static const char *data_folder(void)
{
    const char *folder = getenv("RM_TEST_DATA");
    return folder ? folder : RM_TEST_DATA;
}

/* Nicolas Seriot's JSONTestSuite ("Parsing JSON is a minefield", 2016): y_ must be accepted, n_
 * refused, i_ is left to the implementation. */
Test(json, test_suite)
{
    char folder[1024], path[2048];
    snprintf(folder, sizeof folder, "%s/json-test-suite/test_parsing", data_folder());
    DIR *dir = opendir(folder);
    if (!dir)
        cr_skip_test("no folder %s", folder);
    int n_yes = 0, n_no = 0, n_other = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        char *text;
        size_t n;
        rm_error err = { { 0 } };
        rm_json *json = NULL;
        cr_assert_eq(rm_file_read(path, 1 << 24, &text, &n, &err), RM_OK, "%s", err.text);
        rm_status st = rm_json_parse(text, n, "x", 1, 0, &json, &err);
        bool ours = strstr(e->d_name, "duplicated_key") || strstr(e->d_name, "escaped_null")
                    || strstr(e->d_name, "null_escape");
        if (e->d_name[0] == 'y' && !ours) {
            n_yes++;
            cr_expect_eq(st, RM_OK, "%s: %s", e->d_name, err.text);
        } else if (e->d_name[0] == 'n') {
            n_no++;
            cr_expect_eq(st, RM_E_FORMAT, "%s was accepted", e->d_name);
            cr_expect_not_null(strstr(err.text, "x:"), "%s: no position in: %s", e->d_name,
                               err.text);
        } else {
            n_other++; /* includes what we refuse on purpose: duplicate keys and \u0000 */
            cr_expect(st == RM_OK || st == RM_E_FORMAT);
        }
        if (!st)
            rm_json_free(json);
        free(text);
    }
    closedir(dir);
    cr_expect(n_yes >= 91 && n_no >= 188 && n_other >= 39, "%d %d %d", n_yes, n_no, n_other);
}

static const struct refusal {
    const char *text, *message;
    unsigned flags;
} refusals[] = {
    { "", "f:1:1: expected a value, found the end of the text", 0 },
    { "{\"a\":1,\n \"a\":2}", "f:1:1: key \"a\" stands twice in this object", 0 },
    { "[1,\n 2,]", "f:2:4: expected a value", 0 },
    { "{\"a\":1,}", "f:1:8: expected a key in double quotes", 0 },
    { "{\"a\" 1}", "f:1:6: expected ':' after the key", 0 },
    { "[1 2]", "f:1:4: expected ',' or ']' here", 0 },
    { "[1] x", "f:1:5: expected the end of the text after the value", 0 },
    { "\"\\u0000\"", "f:1:2: \\u0000 is not allowed in a string", 0 },
    { "\"\\ud800\"", "f:1:2: this surrogate is not one of a pair", 0 },
    { "\"a\nb\"", "f:1:3: a line ends inside a string", 0 },
    { "\"abc", "f:1:1: this string is never closed", 0 },
    { "\"\xC0\x80\"", "f:1:2: this byte is not valid UTF-8", 0 },
    { "[1e999]", "f:1:2: this number is too large", 0 },
    { "[01]", "f:1:2: a number must not begin with a superfluous 0", 0 },
    { "[NaN]", "f:1:2: expected a value", 0 },
    { "// c\n1", "f:1:1: expected a value", 0 },
    { "/* c\n", "f:1:1: this comment is never closed", RM_JSON_COMMENTS },
    { "1 /", "f:1:3: expected the end of the text", RM_JSON_COMMENTS },
    { "1 /", "f:1:3: expected the end of the text", 0 },
};

Test(json, refuses_with_position)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        rm_error err = { { 0 } };
        rm_json *json = NULL;
        const char *text = refusals[i].text;
        cr_expect_eq(rm_json_parse(text, strlen(text), "f", 1, refusals[i].flags, &json, &err),
                     RM_E_FORMAT, "accepted: %s", text);
        cr_expect_eq(strncmp(err.text, refusals[i].message, strlen(refusals[i].message)), 0,
                     "%s gave: %s", text, err.text);
        cr_expect_null(json);
    }
}

Test(json, depth_is_bounded)
{
    for (int depth = RM_JSON_MAX_DEPTH; depth <= RM_JSON_MAX_DEPTH + 1; depth++) {
        char text[2 * RM_JSON_MAX_DEPTH + 8];
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        rm_json *json = NULL;
        rm_status st = rm_json_parse(text, 2 * (size_t)depth, "f", 1, 0, &json, NULL);
        cr_expect_eq(st, depth <= RM_JSON_MAX_DEPTH ? RM_OK : RM_E_FORMAT);
        rm_json_free(json);
    }
}

Test(json, comments_keep_positions)
{
    static const char text[] = "// head\n{ /* one\n two */ \"a\": /**/ \"// not a comment\",\n"
                               "  \"b\": [1, // tail\n        2]}\n/* end */";
    rm_json *json = NULL;
    rm_error err = { { 0 } };
    cr_assert_eq(rm_json_parse(text, sizeof text - 1, "f.json", 1, RM_JSON_COMMENTS, &json, &err),
                 RM_OK, "%s", err.text);
    const cJSON *a = cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "a");
    const cJSON *b = cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "b");
    cr_expect_str_eq(a->valuestring, "// not a comment");
    size_t line, column;
    rm_json_where(json, a, false, &line, &column);
    cr_expect(line == 3 && column == 19, "%zu:%zu", line, column);
    rm_json_where(json, a, true, &line, &column);
    cr_expect(line == 3 && column == 9, "%zu:%zu", line, column);
    rm_json_where(json, cJSON_GetArrayItem(b, 1), false, &line, &column);
    cr_expect(line == 5 && column == 9, "%zu:%zu", line, column);
    rm_json_fail(&err, RM_E_ARGUMENT, json, b, "expected %d", 7);
    cr_expect_str_eq(err.text, "f.json:4:8: expected 7");
    rm_json_free(json);
}

Test(json, exact_integers)
{
    static const struct { const char *text; bool ok; uint64_t value; } cases[] = {
        { "0", true, 0 }, { "9007199254740993", true, UINT64_C(9007199254740993) },
        { "18446744073709551615", true, UINT64_MAX }, { "18446744073709551616", false, 0 },
        { "-1", false, 0 }, { "1.0", false, 0 }, { "1e3", false, 0 }, { "\"1\"", false, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rm_json *json = NULL;
        uint64_t value = 0;
        cr_assert_eq(rm_json_parse(cases[i].text, strlen(cases[i].text), "f", 1, 0, &json, NULL),
                     0);
        cr_expect_eq(rm_json_get_uint(json, rm_json_root(json), &value), cases[i].ok, "%s",
                     cases[i].text);
        cr_expect_eq(value, cases[i].value);
        rm_json_free(json);
    }
}

Test(json, strings_decode)
{
    static const char text[] = "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83d\\ude00\"";
    rm_json *json = NULL;
    cr_assert_eq(rm_json_parse(text, sizeof text - 1, "f", 1, 0, &json, NULL), RM_OK);
    cr_expect_str_eq(rm_json_root(json)->valuestring,
                     "\"\\/\b\f\n\r\t\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    rm_json_free(json);
}

Test(json, lines)
{
    static const char text[] = "\xEF\xBB\xBF{\"a\":1}\r\n\n  \t\r\n{\"a\":2}\n{\"a\":}\n";
    size_t cursor = 0, line = 0;
    rm_json *json = NULL;
    rm_error err = { { 0 } };
    static const size_t lines[] = { 1, 4 };
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(rm_jsonl_next(text, sizeof text - 1, "f", &cursor, &line, &json, &err), RM_OK,
                     "%s", err.text);
        cr_expect_eq(line, lines[i]);
        rm_json_free(json);
    }
    cr_expect_eq(rm_jsonl_next(text, sizeof text - 1, "f", &cursor, &line, &json, &err),
                 RM_E_FORMAT);
    cr_expect_eq(strncmp(err.text, "f:5:6: expected a value", 23), 0, "%s", err.text);
    cr_expect_eq(rm_jsonl_next(text, sizeof text - 1, "f", &cursor, &line, &json, &err), RM_OK);
    cr_expect_null(json);
}

Test(json, writer)
{
    rm_text text = { 0 };
    rm_json_writer w = { .out = &text };
    rm_json_object(&w, NULL);
    rm_json_string(&w, "s", "a\"b\\c\n\x01\xC3\xA9");
    rm_json_string_n(&w, "bad", "x\xFF\xFEy\xC3", 5);
    rm_json_string(&w, "none", NULL);
    rm_json_uint(&w, "big", UINT64_MAX);
    rm_json_int(&w, "small", INT64_MIN);
    rm_json_array(&w, "list");
    rm_json_real(&w, NULL, 0.1);
    rm_json_real(&w, NULL, (double)NAN);
    rm_json_bool(&w, NULL, true);
    rm_json_object(&w, NULL);
    rm_json_end(&w);
    rm_json_end(&w);
    rm_json_end(&w);
    cr_expect_str_eq(text.data,
        "{\"s\":\"a\\\"b\\\\c\\n\\u0001\xC3\xA9\",\"bad\":\"x\xEF\xBF\xBD\xEF\xBF\xBDy\xEF\xBF\xBD\","
        "\"none\":null,\"big\":18446744073709551615,\"small\":-9223372036854775808,"
        "\"list\":[0.1,null,true,{}]}");
    rm_text_free(&text);
    rm_json_writer p = { .out = &text, .pretty = true };
    rm_json_object(&p, NULL);
    rm_json_array(&p, "a");
    rm_json_int(&p, NULL, 1);
    rm_json_end(&p);
    rm_json_end(&p);
    cr_expect_str_eq(text.data, "{\n  \"a\": [\n    1\n  ]\n}");
    rm_text_free(&text);
}

Test(json, reals_round_trip)
{
    uint64_t state = 1;
    for (int i = 0; i < 20000; i++) {
        double value;
        uint64_t bits = state = rm_mix(state, (uint64_t)i);
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            continue;
        rm_text text = { 0 };
        rm_json *json = NULL;
        rm_json_number(&text, value);
        cr_assert_eq(rm_json_parse(text.data, text.length, "f", 1, 0, &json, NULL), RM_OK);
        cr_assert_eq(rm_json_root(json)->valuedouble, value, "%s", text.data);
        rm_json_free(json);
        rm_text_free(&text);
    }
    rm_text text = { 0 };
    rm_json_number(&text, 0.1 + 0.2); /* what cJSON prints as 0.3 */
    cr_expect_str_eq(text.data, "0.30000000000000004");
    rm_text_free(&text);
}
