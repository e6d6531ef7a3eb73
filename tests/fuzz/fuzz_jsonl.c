/* fuzz_jsonl.c - the readers of data files, and the graders of generated text.
 *
 * The first byte chooses: JSON lines, one JSON value with comments, CSV, or a text to extract
 * answers from. Invariants besides memory: bytes that the writer quoted parse back, and a
 * canonical answer is its own canonical form. */
#include "experiments/tasks/kinds.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void fuzz_lines(const char *text, size_t n)
{
    size_t cursor = 0, line = 0;
    for (;;) {
        rm_json *json = NULL;
        rm_error err = { { 0 } };
        rm_status st = rm_jsonl_next(text, n, "f", &cursor, &line, &json, &err);
        if (st || !json) {
            require(!st || err.text[0]);
            if (!st)
                break;
            continue;
        }
        rm_text field = { 0 };
        rm_record_field(rm_json_root(json), "question", &field);
        rm_text_free(&field);
        rm_json_free(json);
    }
    rm_text quoted = { 0 };
    rm_json *json = NULL;
    rm_json_quote(&quoted, text, strnlen(text, n));
    require(rm_json_parse(quoted.data, quoted.length, "q", 1, 0, &json, NULL) == RM_OK);
    rm_json_free(json);
    rm_text_free(&quoted);
}

static void fuzz_csv(const char *text, size_t n)
{
    char *copy = malloc(n + 1);
    rm_csv csv;
    if (!copy)
        return;
    memcpy(copy, text, n);
    copy[n] = '\0';
    if (rm_csv_parse("f", copy, n, &csv, NULL))
        return;
    size_t total = 0;
    for (size_t i = 0; i < csv.row_start[csv.n_rows]; i++)
        total += strlen(csv.fields[i]);
    require(total <= n);
    rm_csv_free(&csv);
}

static void fuzz_answers(const char *text)
{
    static const char *const rules[] = { "####", "answer is", "answer:", "option", "boxed",
                                         "number", "last number", "last line", "all" };
    for (int kind = RM_GRADE_NUMERIC; kind <= RM_GRADE_MATH; kind++)
        for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
            rm_grader g = { .kind = kind, .latex = i % 2, .fold_case = i % 3 == 0 };
            rm_extractor x = { .open = "<think>", .close = "</think>", .in_thought = i % 2 };
            rm_text out = { 0 }, again = { 0 };
            require(rm_extractor_add_named(&x, rules[i], NULL) == RM_OK);
            if (rm_extract(&x, &g, text, i % 4 == 0, &out) && kind == RM_GRADE_NUMERIC) {
                require(rm_grader_canonical(&g, out.data, out.length, &again));
                require(!strcmp(out.data, again.data));
            }
            rm_text_free(&out);
            rm_text_free(&again);
            rm_extractor_free(&x);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    size_t n = size - 1;
    rm_json *json = NULL;
    switch (data[0] % 4) {
    case 0:
        fuzz_lines(text, n);
        break;
    case 1:
        if (rm_json_parse(text, n, "f", 1, RM_JSON_COMMENTS, &json, NULL) == RM_OK)
            rm_json_free(json);
        break;
    case 2:
        fuzz_csv(text, n);
        break;
    default: {
        char *copy = strndup(text, n);
        if (copy)
            fuzz_answers(copy);
        free(copy);
        break;
    }
    }
    return 0;
}
