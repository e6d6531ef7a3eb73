/* test_tasks.c - generated problems, files, prompts, splits; and hostile files. */
#include "experiments/task.h"
#include "experiments/tasks/kinds.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef RM_TEST_DATA
#define RM_TEST_DATA "../shared/data"
#endif

#define COUNT(table) (sizeof table / sizeof *table)

static const char *data_folder(void)
{
    const char *folder = getenv("RM_TEST_DATA");
    return folder ? folder : RM_TEST_DATA;
}

static rm_status open_in(const char *folder, const char *object, rm_task **task, rm_error *err)
{
    rm_json *json = NULL;
    rm_status st = rm_json_parse(object, strlen(object), "c.json", 1, RM_JSON_COMMENTS, &json, err);
    cr_assert_eq(st, RM_OK, "%s", err->text);
    st = rm_task_new(json, rm_json_root(json), folder, "tasks[0]", task, err);
    rm_json_free(json);
    return st;
}

static rm_task *must_open(const char *folder, const char *object)
{
    rm_error err = { { 0 } };
    rm_task *task = NULL;
    cr_assert_eq(open_in(folder, object, &task, &err), RM_OK, "%s", err.text);
    return task;
}

static const rm_item *item_of(rm_task *task, size_t i)
{
    rm_error err = { { 0 } };
    const rm_item *item = NULL;
    cr_assert_eq(rm_task_item(task, i, &item, &err), RM_OK, "%s", err.text);
    return item;
}

/* A temporary file with the given content; its folder goes into `folder`. */
static void write_temporary(const char *name, const char *text, size_t n, char *folder)
{
    char path[256];
    rm_error err = { { 0 } };
    strcpy(folder, "/tmp/ramify-test-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(rm_file_write(path, text, n, &err), RM_OK, "%s", err.text);
}

static void remove_temporary(const char *name, const char *folder)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    rmdir(folder);
}

/* ---- arithmetic ---------------------------------------------------------------------------- */

/* An evaluator of its own: the checker for expressions knows the value, and each operation is
 * counted. */
Test(tasks, arithmetic_problems)
{
    rm_task *task = must_open(".", "{\"kind\": \"arithmetic\", \"operations\": [3, 8]}");
    int n_negative = 0, seen[9] = { 0 };
    for (size_t i = 0; i < 2000; i++) {
        const rm_item *item = item_of(task, i);
        const char *q = item->question;
        char prompt[256];
        snprintf(prompt, sizeof prompt, "%s=<think>", q);
        cr_assert_str_eq(item->seen.prompt, prompt);
        rm_text value = { 0 };
        cr_assert(rm_expression_canonical(q, strlen(q), &value), "%s", q);
        cr_expect_str_eq(strchr(value.data, '=') + 1, item->reference, "%s", q);
        rm_text_free(&value);
        int n_operations = 0;
        for (const char *p = q; *p; p++) {
            n_operations += strchr("+-*", *p) != NULL;
            cr_assert(strchr("0123456789+-*()", *p), "%s", q);
        }
        cr_assert(n_operations >= 3 && n_operations <= 8, "%s", q);
        seen[n_operations]++;
        char level[16];
        snprintf(level, sizeof level, "%d", n_operations);
        cr_expect_str_eq(item->level, level);
        long v = strtol(item->reference, NULL, 10);
        cr_assert(v >= -9999 && v <= 9999);
        n_negative += v < 0;
    }
    for (int k = 3; k <= 8; k++) /* 2000 / 6, five sigma */
        cr_expect(abs(seen[k] - 333) < 85, "%d operations: %d", k, seen[k]);
    cr_expect(n_negative > 200, "%d", n_negative);
    cr_expect_not(rm_task_has_verifier(task));
    cr_expect(rm_task_has_steps(task));
    cr_expect_eq(rm_task_count(task), SIZE_MAX);
    rm_task_free(task);
}

/* Only parentheses that change the value: without any one pair the value differs or the pair
 * was needed for a product. */
Test(tasks, arithmetic_parentheses_are_needed)
{
    rm_task *task = must_open(".", "{\"kind\": \"arithmetic\", \"operations\": 5}");
    for (size_t i = 0; i < 300; i++) {
        const char *q = item_of(task, i)->question;
        for (const char *open = strchr(q, '('); open; open = strchr(open + 1, '(')) {
            int depth = 0;
            const char *close = open;
            do
                depth += *close == '(' ? 1 : *close == ')' ? -1 : 0;
            while (depth && *++close);
            char before = open > q ? open[-1] : 0, after = close[1];
            cr_expect(before == '-' || before == '*' || after == '*', "%s", q);
        }
    }
    rm_task_free(task);
}

Test(tasks, arithmetic_mix)
{
    rm_task *task = must_open(".",
                              "{\"kind\": \"arithmetic\", \"operations\": 1, \"leaves\": [1, 9],"
                                   "\"plus\": 0, \"minus\": 0, \"times\": 1, \"split\": \"all\"}");
    rm_error err = { { 0 } };
    const rm_item *item;
    for (size_t i = 0; i < 81; i++)
        cr_expect_not_null(strchr(item_of(task, i)->question, '*'));
    /* 9 * 9 problems there are; the 82nd is one too many */
    cr_expect_eq(rm_task_item(task, 81, &item, &err), RM_E_ARGUMENT);
    cr_expect_not_null(strstr(err.text, "allow too few"), "%s", err.text);
    rm_task_free(task);
}

/* ---- countdown ----------------------------------------------------------------------------- */

/* Exhaustive: can the numbers reach the target by the rules of the task? */
static bool solvable(const int *left, int n, int target)
{
    if (n == 1)
        return left[0] == target;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++) {
            if (i == k || left[i] < left[k])
                continue;
            int a = left[i], b = left[k], rest[8], m = 0;
            for (int j = 0; j < n; j++)
                if (j != i && j != k)
                    rest[m++] = left[j];
            int results[4] = { a + b, a - b, a * b, b && a % b == 0 ? a / b : 0 };
            for (int r = 0; r < 4; r++) {
                rest[m] = results[r];
                if (results[r] > 0 && results[r] <= 2000 && solvable(rest, n - 1, target))
                    return true;
            }
        }
    return false;
}

Test(tasks, countdown_problems)
{
    rm_task *task = must_open(".", "{\"kind\": \"countdown\"}");
    for (size_t i = 0; i < 1000; i++) {
        const rm_item *item = item_of(task, i);
        int v[4], target, end = 0;
        cr_assert_eq(sscanf(item->seen.prompt, "%d %d %d %d>%d<think>%n", &v[0], &v[1], &v[2],
                            &v[3], &target, &end), 5, "%s", item->seen.prompt);
        cr_assert_eq(item->seen.prompt[end], '\0');
        cr_assert(v[0] >= 1 && v[0] <= v[1] && v[1] <= v[2] && v[2] <= v[3] && v[3] <= 25);
        cr_assert(target >= 10 && target <= 100);
        if (i < 300)
            cr_expect(solvable(v, 4, target), "%s", item->seen.prompt);
    }
    cr_expect(rm_task_has_verifier(task));
    cr_expect_str_eq(rm_task_grader(task), "expression");
    rm_task_free(task);
}

Test(tasks, countdown_grades)
{
    rm_task *task = must_open(".", "{\"kind\": \"countdown\", \"seed\": 5}");
    const rm_item *item = item_of(task, 0);
    rm_error err = { { 0 } };
    char *answer;
    bool correct;
    /* the reference is the canonical form of a right answer */
    char want[64];
    snprintf(want, sizeof want, "%s", item->question);
    *strchr(want, '>') = '=';
    cr_expect_str_eq(item->reference, want);
    cr_expect_eq(item->seen.verify(&item->seen, item->reference), 1);
    cr_expect_eq(item->seen.oracle(&item->seen, item->reference), 1);
    cr_expect_eq(item->seen.verify(&item->seen, "1 2=3"), 0);
    cr_expect_eq(item->seen.verify(&item->seen, NULL), 0);
    /* the sum of the numbers: legal, and wrong unless it happens to hit */
    cr_assert_eq(rm_task_grade(task, item, "x</think>1+2+3", false, &answer, &correct, &err),
                 RM_OK);
    cr_expect_str_eq(answer, "1 2 3=6");
    cr_expect_not(correct);
    free(answer);
    cr_assert_eq(rm_task_grade(task, item, "1+2=3(3)3", false, &answer, &correct, &err), RM_OK);
    cr_expect_null(answer);
    cr_expect_not(correct);
    rm_task_free(task);
}

/* ---- seeds, duplicates, splits ----------------------------------------------------------- */

Test(tasks, problems_do_not_depend_on_how_many)
{
    static const char object[] = "{\"kind\": \"countdown\", \"seed\": 18446744073709551615}";
    rm_task *a = must_open(".", object), *b = must_open(".", object);
    item_of(a, 400);
    for (size_t i = 0; i <= 400; i++) {
        cr_expect_str_eq(item_of(a, i)->question, item_of(b, i)->question);
        cr_expect_eq(item_of(a, i)->hash, item_of(b, i)->hash);
    }
    rm_task_free(a);
    rm_task_free(b);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

Test(tasks, splits_are_disjoint)
{
    static const char *const splits[] = { "test", "tune", "train" };
    static uint64_t hashes[3 * 500];
    int n = 0;
    for (int s = 0; s < 3; s++) {
        char object[128];
        /* other seeds too: a split is a property of the problem */
        snprintf(object, sizeof object,
                 "{\"kind\": \"countdown\", \"split\": \"%s\", \"seed\": %d}",
                 splits[s], s);
        rm_task *task = must_open(".", object);
        for (size_t i = 0; i < 500; i++)
            hashes[n++] = item_of(task, i)->hash;
        rm_task_free(task);
    }
    qsort(hashes, (size_t)n, sizeof *hashes, by_value);
    for (int i = 1; i < n; i++)
        cr_assert_neq(hashes[i], hashes[i - 1], "a problem occurs twice");
}

Test(tasks, equal_problems_have_equal_hashes)
{
    char folder[64];
    static const char csv[] = "Rank,Puzzles\n1,25 4 8 7\n";
    write_temporary("p.csv", csv, sizeof csv - 1, folder);
    rm_task *a = must_open(folder, "{\"kind\": \"game24\", \"path\": \"p.csv\", \"target\": 80}");
    cr_expect_str_eq(item_of(a, 0)->question, "4 7 8 25>80");
    cr_expect_eq(item_of(a, 0)->hash, rm_mix(rm_hash_bytes("countdown", 9),
                                             rm_hash_bytes("4 7 8 25>80", 11)));
    rm_task_free(a);
    remove_temporary("p.csv", folder);
}

/* ---- prompts ----------------------------------------------------------------------------- */

Test(tasks, prompts)
{
    char folder[64];
    static const char lines[] =
        "{\"question\": \"What is 1+1?\", \"answer\": \"2\", \"level\": 3}\n"
        "{\"question\": \"What is 2+2?\", \"answer\": \"4\", \"level\": 3}\n"
        "{\"question\": \"What is 3+3?\", \"answer\": \"6\", \"level\": 4}\n";
    static const struct { const char *object, *prompt; } cases[] = {
        { "{\"kind\": \"jsonl\", \"path\": \"p\"}", "Question: What is 1+1?\nAnswer:" },
        { "{\"kind\": \"jsonl\", \"path\": \"p\", \"prompt\": \"{{{level}}} {question} {x y}\"}",
          "{3} What is 1+1? {x y}" },
        { "{\"kind\": \"jsonl\", \"path\": \"p\", \"question\": \"[{question}]\", \"system\": "
          "\"S\"}",
          "S\n\nQuestion: [What is 1+1?]\nAnswer:" },
        { "{\"kind\": \"jsonl\", \"path\": \"p\", \"system\": \"S\", \"chat\": \"chatml\","
          " \"prompt\": \"{question}\"}",
          "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nWhat is 1+1?<|im_end|>\n"
          "<|im_start|>assistant\n" },
        { "{\"kind\": \"jsonl\", \"path\": \"p\", \"system\": \"S\", \"chat\": \"mistral\","
          " \"prompt\": \"{question}\"}", "[INST] S\n\nWhat is 1+1? [/INST]" },
        { "{\"kind\": \"jsonl\", \"path\": \"p\", \"few_shot\": {\"examples\":"
          " [{\"question\": \"0+1?\", \"answer\": \"It is 1.\"}, {\"question\": \"0\", "
          "\"answer\": 0}]}}",
          "Question: 0+1?\nAnswer: It is 1.\n\nQuestion: 0\nAnswer: 0\n\n"
          "Question: What is 1+1?\nAnswer:" },
        { "{\"kind\": \"jsonl\", \"path\": \"p\", \"first\": 3, \"few_shot\": {\"file\": \"p\", "
          "\"n\": 1,"
          " \"template\": \"{question}={answer}\", \"separator\": \";\"}}",
          "What is 1+1?=2;Question: What is 3+3?\nAnswer:" },
        /* an example is no problem: the first is skipped */
        { "{\"kind\": \"jsonl\", \"path\": \"p\", \"few_shot\": {\"file\": \"p\", \"n\": 1,"
          " \"template\": \"{question}\", \"separator\": \";\"}}",
          "What is 1+1?;Question: What is 2+2?\nAnswer:" },
    };
    write_temporary("p", lines, sizeof lines - 1, folder);
    for (size_t i = 0; i < COUNT(cases); i++) {
        rm_task *task = must_open(folder, cases[i].object);
        const rm_item *item = item_of(task, 0);
        cr_expect_str_eq(item->seen.prompt, cases[i].prompt, "case %zu: %s", i, item->seen.prompt);
        cr_expect_eq(item->prompt_hash, rm_hash_bytes(cases[i].prompt, strlen(cases[i].prompt)));
        rm_task_free(task);
    }
    /* a seeded draw of examples is a draw, and the same one each time */
    rm_task *a = must_open(folder,
                           "{\"kind\": \"jsonl\", \"path\": \"p\", \"first\": 1, \"few_shot\":"
                                   "{\"file\": \"p\", \"n\": 2, \"seed\": 7}}");
    rm_task *b = must_open(folder,
                           "{\"kind\": \"jsonl\", \"path\": \"p\", \"first\": 1, \"few_shot\":"
                                   "{\"file\": \"p\", \"n\": 2, \"seed\": 7}}");
    cr_expect_eq(rm_task_count(a), 1);
    cr_expect_str_eq(item_of(a, 0)->seen.prompt, item_of(b, 0)->seen.prompt);
    rm_task_free(a);
    rm_task_free(b);
    remove_temporary("p", folder);
}

/* Options below the question; references as numbers and as letters. */
Test(tasks, multiple_choice)
{
    char folder[64];
    static const char text[] =
        "{\"made\": \"by hand\", \"list\": [\n"
        "{\"question\": \"Which is even?\", \"o\": [\"7\", \"9\", \"12\"], \"answer\": 2},\n"
        "{\"question\": \"Which is odd?\", \"o\": [\"7\", \"8\"], \"answer\": \"A\"}]}";
    static const struct { const char *text, *answer; bool correct; } cases[] = {
        { "7 and 9 are odd. The answer is (C).", "C", true }, { "\\boxed{C}", "C", true },
        { "Option c: 12", "C", true }, { "The answer is (B).", "B", false },
        { "I cannot say", NULL, false },
    };
    write_temporary("p", text, sizeof text - 1, folder);
    rm_task *task = must_open(folder,
                              "{\"kind\": \"jsonl\", \"path\": \"p\", \"records\": \"list\","
                                      " \"options\": \"o\", \"grader\": \"choice\"}");
    remove_temporary("p", folder);
    const rm_item *item = item_of(task, 0);
    cr_expect_eq(rm_task_count(task), 2);
    cr_expect_str_eq(item->seen.prompt, "Question: Which is even?\n(A) 7\n(B) 9\n(C) 12\nAnswer:");
    cr_expect_str_eq(item->reference, "C");
    cr_expect_str_eq(item_of(task, 1)->reference, "A");
    for (size_t i = 0; i < COUNT(cases); i++) {
        rm_error err = { { 0 } };
        char *answer;
        bool correct;
        cr_assert_eq(rm_task_grade(task, item, cases[i].text, false, &answer, &correct, &err),
                     RM_OK);
        cr_expect_eq(correct, cases[i].correct, "%s", cases[i].text);
        if (cases[i].answer)
            cr_expect_str_eq(answer, cases[i].answer, "%s", cases[i].text);
        else
            cr_expect_null(answer);
        free(answer);
    }
    rm_task_free(task);
}

/* ---- bad input --------------------------------------------------------------------------- */

static const struct refusal {
    const char *object, *message; /* the sentence contains it */
    const char *file;             /* content of p, or NULL */
} refusals[] = {
    { "{}", "c.json:1:1: tasks[0]: expected an object with a \"kind\"", NULL },
    { "[]", "expected an object with a \"kind\"", NULL },
    { "{\"kind\": \"aritmetic\"}", "there is no task \"aritmetic\"; did you mean \"arithmetic\"?",
      NULL },
    { "{\"kind\": \"countdown\", \"nubers\": 4}",
      "unknown key \"nubers\"; did you mean \"numbers\"?", NULL },
    { "{\"kind\": \"countdown\",\n \"numbers\": \"4\"}",
      "c.json:2:13: tasks[0].numbers: expected an integer, found a string", NULL },
    { "{\"kind\": \"countdown\", \"numbers\": 99}", "numbers: expected 2 to 8, found 99", NULL },
    { "{\"kind\": \"countdown\", \"range\": [5]}", "a list of two", NULL },
    { "{\"kind\": \"countdown\", \"range\": [9, 5]}", "the wrong way round", NULL },
    { "{\"kind\": \"countdown\", \"seed\": -1}", "seed: expected an integer from 0", NULL },
    { "{\"kind\": \"countdown\", \"target\": [999999, 1000000]}", "expected a wider range", NULL },
    { "{\"kind\": \"arithmetic\", \"operations\": 0}", "operations: expected 1 to 64", NULL },
    { "{\"kind\": \"arithmetic\", \"plus\": 0, \"minus\": 0, \"times\": 0}", "all 0", NULL },
    { "{\"kind\": \"arithmetic\", \"split\": \"tst\"}", "\"tst\" is not one of \"all\", \"test\"",
      NULL },
    { "{\"kind\": \"arithmetic\", \"first\": 3}", "are for tasks from files", NULL },
    { "{\"kind\": \"arithmetic\", \"stop\": [\"\"]}", "must not be empty", NULL },
    { "{\"kind\": \"arithmetic\", \"think\": [\"a\"]}", "expected two tags", NULL },
    { "{\"kind\": \"arithmetic\", \"prompt\": \"{qestion}\"}", "has no field \"qestion\"", NULL },
    { "{\"kind\": \"arithmetic\", \"answer_rules\": [\"lastnumber\"]}",
      "did you mean \"last number\"", NULL },
    { "{\"kind\": \"arithmetic\", \"answer_rules\": []}", "at least one rule", NULL },
    { "{\"kind\": \"arithmetic\", \"answer_rules\": {\"pattern\": \"(\"}}", "is wrong at character",
      NULL },
    { "{\"kind\": \"jsonl\"}", "needs \"path\"", NULL },
    { "{\"kind\": \"jsonl\", \"path\": \"absent\"}", "absent", NULL },
    { "{\"kind\": \"jsonl\", \"path\": \"p\"}", "holds no records", "" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\"}", "holds no records", "\n\n \r\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\"}", "p:2:1: expected a text or a number \"answer\"",
      "{\"question\": \"a\", \"answer\": 1}\n{\"question\": \"b\"}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\"}", "p:1:1: a problem must be an object", "1\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\"}", "a problem must be an object", "[1]\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\"}", "p:2:3: expected a key",
      "{\"question\": \"a\", \"answer\": 1}\n{ nonsense\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\"}", "finds no answer in the reference \"many\"",
      "{\"question\": \"a\", \"answer\": \"many\"}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\"}", "not valid UTF-8",
      "{\"question\": \"\xFF\", \"answer\": 1}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"reference\": \"#### (.*)\"}", "does not match",
      "{\"question\": \"a\", \"answer\": \"1\"}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"id\": \"question\"}",
      "two problems have the id \"a\"",
    "{\"question\": \"a\", \"answer\": 1}\n{\"question\": \"a\", \"answer\": 1}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"first\": 2}", "the file has 1 problems",
      "{\"question\": \"a\", \"answer\": 1}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"few_shot\": {}}", "either \"examples\" or \"file\"",
      "{\"question\": \"a\", \"answer\": 1}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"few_shot\": {\"file\": \"p\", \"n\": 2}}",
      "but the file has 1", "{\"question\": \"a\", \"answer\": 1}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"few_shot\": {\"examples\": [{\"question\": 1}]}}",
      "no text or number \"answer\"", "{\"question\": \"a\", \"answer\": 1}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"grader\": \"pattern\"}", "pattern",
      "{\"question\": \"a\", \"answer\": \"(\"}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"absent\", \"source\": \"http://x/y\", \"xxh3\": "
      "\"0123456789abcdef\"}",
    "absent is not there (or cannot be read): get it from http://x/y and put it there; its XXH3 "
    "(xxhsum -H3) must be 0123456789abcdef", NULL },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"xxh3\": \"0123456789abcdef\"}",
      "p is not the file that this experiment was written for: its XXH3 is ",
    "{\"question\": \"a\", \"answer\": 1}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"xxh3\": \"123\"}", "expected 16 hexadecimal digits",
      "{\"question\": \"a\", \"answer\": 1}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"xxh3\": \"0x23456789abcdef\"}",
      "expected 16 hexadecimal digits", "{\"question\": \"a\", \"answer\": 1}\n" },
    { "{\"kind\": \"game24\", \"path\": \"absent\", \"source\": \"http://x/y\"}",
      "get it from http://x/y and put it there", NULL },
    { "{\"kind\": \"game24\", \"path\": \"p\", \"xxh3\": \"0123456789abcdef\"}",
      "expected 0123456789abcdef", "Puzzles\n1 2 3 4\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"few_shot\": {\"file\": \"absent\", \"source\": "
      "\"http://x/y\"}}", "get it from http://x/y", "{\"question\": \"a\", \"answer\": 1}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"records\": \"list\"}",
      "expected an object with the list \"list\"", "{\"examples\": []}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"records\": \"list\"}",
      "expected an object with the list \"list\"", "[1]\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"records\": \"list\"}", "holds no records",
      "{\"list\": []}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"options\": \"o\"}",
      "expected a list \"o\" of 2 to 26 options",
    "{\"question\": \"a\", \"answer\": 1, \"o\": [\"x\"]}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"options\": \"o\"}",
      "expected an option to be a text",
    "{\"question\": \"a\", \"answer\": 1, \"o\": [\"x\", 2]}\n" },
    { "{\"kind\": \"jsonl\", \"path\": \"p\", \"options\": \"o\"}",
      "expected an answer from 0 to 1",
    "{\"question\": \"a\", \"answer\": 2, \"o\": [\"x\", \"y\"]}\n" },
    { "{\"kind\": \"game24\"}", "needs \"path\"", NULL },
    { "{\"kind\": \"game24\", \"path\": \"p\"}", "is empty", "" },
    { "{\"kind\": \"game24\", \"path\": \"p\"}", "no rows", "Puzzles\n" },
    { "{\"kind\": \"game24\", \"path\": \"p\"}", "no column is called \"Puzzles\"", "a,b\n1,2\n" },
    { "{\"kind\": \"game24\", \"path\": \"p\"}", "p:3: expected 2 to 8 whole numbers",
      "Puzzles\n1 2 3 4\n1 x 3\n" },
    { "{\"kind\": \"game24\", \"path\": \"p\"}", "expected 2 to 8 whole numbers",
      "Puzzles\n1 2 3 4 5 6 7 8 9\n" },
    { "{\"kind\": \"game24\", \"path\": \"p\"}", "p:2: this row has 1 fields; expected 2",
      "a,Puzzles\n1\n" },
    { "{\"kind\": \"game24\", \"path\": \"p\"}", "never closed", "a,Puzzles\n\"1,2\n" },
    { "{\"kind\": \"game24\", \"path\": \"p\"}", "expected a comma or the end of the line",
      "Puzzles\n1\"2\n" },
};

Test(tasks, bad_input_is_refused)
{
    for (size_t i = 0; i < COUNT(refusals); i++) {
        char folder[64] = ".";
        rm_error err = { { 0 } };
        rm_task *task = NULL;
        const char *file = refusals[i].file;
        if (file)
            write_temporary("p", file, strlen(file), folder);
        rm_status st = open_in(folder, refusals[i].object, &task, &err);
        if (file)
            remove_temporary("p", folder);
        cr_expect_neq(st, RM_OK, "accepted: %s", refusals[i].object);
        cr_expect_not_null(strstr(err.text, refusals[i].message), "%s gave: %s",
                           refusals[i].object, err.text);
    }
}

/* ---- CSV --------------------------------------------------------------------------------- */

Test(tasks, csv)
{
    static const char text[] = "\xEF\xBB\xBF" "a,b\r\n\"1,\"\"x\"\"\r\ny\",2\r\n\r\n,\n\"\",\"z\"";
    static const char *const want[] = { "a", "b", "1,\"x\"\r\ny", "2", "", "", "", "z" };
    static const size_t lines[] = { 1, 2, 5, 6 };
    rm_csv csv;
    rm_error err = { { 0 } };
    cr_assert_eq(rm_csv_parse("f", strdup(text), sizeof text - 1, &csv, &err), RM_OK, "%s",
                 err.text);
    cr_assert(csv.n_rows == 4 && csv.n_fields == 2);
    for (size_t i = 0; i < COUNT(want); i++)
        cr_expect_str_eq(csv.fields[i], want[i]);
    for (size_t i = 0; i < 4; i++)
        cr_expect_eq(csv.row_line[i], lines[i], "row %zu: line %zu", i, csv.row_line[i]);
    rm_csv_free(&csv);
}

/* ---- published data sets ----------------------------------------------------------------- */

static bool have(const char *file, char *folder, size_t size)
{
    char path[1024];
    snprintf(folder, size, "%s", data_folder());
    snprintf(path, sizeof path, "%s/%s", folder, file);
    return access(path, R_OK) == 0;
}

/* All 1,319 problems (the size the authors state: Cobbe et al. 2021, arXiv:2110.14168); each
 * reference solution, taken as a model's output, is graded right. */
Test(tasks, gsm8k)
{
    char folder[900];
    if (!have("gsm8k/test.jsonl", folder, sizeof folder))
        cr_skip_test("no gsm8k/test.jsonl in %s", folder);
    rm_task *task = must_open(folder,
        "{\"kind\": \"jsonl\", \"path\": \"gsm8k/test.jsonl\", \"reference\": \"#### (.*)\","
        " \"few_shot\": {\"file\": \"gsm8k/train.jsonl\", \"n\": 4, \"seed\": 1}}");
    cr_assert_eq(rm_task_count(task), 1319);
    rm_error err = { { 0 } };
    char path[1024], *text;
    size_t n, cursor = 0, line = 0;
    snprintf(path, sizeof path, "%s/gsm8k/test.jsonl", folder);
    cr_assert_eq(rm_file_read(path, 1 << 26, &text, &n, &err), RM_OK);
    for (size_t i = 0; i < 1319; i++) {
        const rm_item *item = item_of(task, i);
        rm_json *json;
        char *answer;
        bool correct = false;
        cr_assert_eq(rm_jsonl_next(text, n, path, &cursor, &line, &json, &err), RM_OK);
        const char *solution =
            cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "answer")->valuestring;
        cr_assert_eq(rm_task_grade(task, item, solution, false, &answer, &correct, &err), RM_OK);
        cr_expect(correct, "problem %zu: %s against %s", i + 1, answer ? answer : "nothing",
                  item->reference);
        free(answer);
        rm_json_free(json);
    }
    cr_expect_str_eq(item_of(task, 0)->reference, "18");
    free(text);
    rm_task_free(task);
}

/* 1,362 puzzles (Yao et al. 2023); the first two are 1 1 4 6 and 1 1 11 11. */
Test(tasks, game24)
{
    char folder[900];
    if (!have("game24/24.csv", folder, sizeof folder))
        cr_skip_test("no game24/24.csv in %s", folder);
    rm_task *task = must_open(folder, "{\"kind\": \"game24\", \"path\": \"game24/24.csv\"}");
    cr_assert_eq(rm_task_count(task), 1362);
    const rm_item *item = item_of(task, 0);
    cr_expect_str_eq(item->seen.id, "1");
    cr_expect_str_eq(item->reference, "1 1 4 6=24");
    rm_error err = { { 0 } };
    char *answer;
    bool correct;
    rm_task_grade(task, item, " (1 + 1 + 4) * ... no\nAnswer: 1 * 4 * 6 * 1 = 24", false, &answer,
                  &correct,
                  &err);
    cr_expect(correct, "%s", answer ? answer : "nothing");
    free(answer);
    rm_task_free(task);
    task = must_open(folder, "{\"kind\": \"game24\", \"path\": \"game24/24.csv\", \"first\": 901,"
                             " \"count\": 100}");
    cr_expect_eq(rm_task_count(task), 100);
    cr_expect_str_eq(item_of(task, 0)->seen.id, "901");
    rm_task_free(task);
}

/* Opens the tasks of an experiment that ships, where their files are, with the hashes that it states and
 * as many problems as their authors published (n, in order). Returns how many files are absent. */
static int open_shipped(const char *file, const size_t *n, size_t most)
{
    char path[1024], folder[64], link[128], *text;
    size_t n_text, k = 0;
    int n_absent = 0;
    rm_error err = { { 0 } };
    rm_json *json;
    snprintf(path, sizeof path, "%s/experiments/%s", RM_SOURCE_DIR, file);
    cr_assert_eq(rm_file_read(path, 1 << 20, &text, &n_text, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_json_parse(text, n_text, file, 1, RM_JSON_COMMENTS, &json, &err), RM_OK, "%s", err.text);
    free(text);
    write_temporary("x", "", 0, folder); /* a folder in which "data" is the data folder */
    snprintf(link, sizeof link, "%s/data", folder);
    char *real = realpath(data_folder(), NULL);
    cr_assert_eq(symlink(real ? real : "/nowhere", link), 0);
    free(real);
    const cJSON *object;
    cJSON_ArrayForEach(object, cJSON_GetObjectItem(rm_json_root(json), "tasks")) {
        rm_task *task = NULL;
        rm_status st = rm_task_new(json, object, folder, "tasks", &task, &err);
        if (st == RM_E_IO) {
            cr_expect_not_null(strstr(err.text, "get it from https://"), "%s", err.text);
            n_absent++;
        } else {
            cr_assert_eq(st, RM_OK, "%s: %s", file, err.text);
            cr_assert(k < most);
            cr_expect_eq(rm_task_count(task), n[k], "%s: %zu", file, rm_task_count(task));
            rm_task_free(task);
        }
        k++;
    }
    rm_json_free(json);
    unlink(link);
    remove_temporary("x", folder);
    return n_absent;
}

Test(tasks, shipped_experiments)
{
    static const struct { const char *file; size_t n[10]; } files[] = {
        { "gsm8k.json", { 1319 } }, { "gsm8k-chat.json", { 1319 } }, { "svamp.json", { 1000 } },
        { "math500.json", { 500 } }, { "game24.json", { 100 } },
        { "bbh.json", { 250, 250, 250, 250, 250, 250, 250 } },
        { "bbh-choice.json", { 250, 250, 250, 250, 250, 250, 250, 250, 250, 146 } },
    };
    int n_absent = 0;
    for (size_t i = 0; i < COUNT(files); i++)
        n_absent += open_shipped(files[i].file, files[i].n, COUNT(files[i].n));
    if (n_absent)
        cr_skip_test("%d data files are not in %s", n_absent, data_folder());
}

Test(tasks, shipped_aime)
{
    static const size_t n[] = { 30, 30 };
    if (open_shipped("aime.json", n, COUNT(n)))
        cr_skip_test("the AIME's files are not in %s/aime", data_folder());
}

/* The rules of the AIME as aime.json states them, on answers of our own: whole numbers from 0 to 999 that
 * may be written with three digits; boxed, behind the thought, and nothing else counts. */
static const struct { const char *text, *answer; bool correct; } aime[] = {
    { "So \\boxed{073}.", "73", true },
    { "So \\boxed{73}.", "73", true },
    { "$$\\boxed{N = 73}$$", "73", true },
    { "$$\\boxed{m+n = 73}$$", NULL, false }, /* an equation is not its right side */
    { "\\boxed{73^\\circ}", "73", true },
    { "\\boxed{\\text{073}}", "73", true },
    { "\\boxed{\\,73\\,}", "73", true },
    { "<think>\\boxed{12}</think> The answer is $\\boxed{073}$", "73", true },
    { "\\boxed{12} no: \\boxed{73}", "73", true }, /* the last one counts */
    { "<think>\\boxed{73}</think> I do not know.", NULL, false },
    { "The answer is 73.", NULL, false },
    { "\\boxed{730}", "730", false },
    { "\\boxed{73.5}", NULL, false },
    { "\\boxed{-73}", "-73", false },
    { "\\boxed{}", NULL, false },
};

Test(tasks, aime_answers)
{
    static const char file[] = "{\"question\": \"What is $70 + 3$?\", \"answer\": \"073\"}\n"
                               "{\"question\": \"What is $1 - 1$?\", \"answer\": \"000\"}\n";
    char folder[64], *text;
    size_t n;
    rm_error err = { { 0 } };
    rm_json *json;
    cr_assert_eq(rm_file_read(RM_SOURCE_DIR "/experiments/aime.json", 1 << 20, &text, &n, &err), RM_OK);
    cr_assert_eq(rm_json_parse(text, n, "aime.json", 1, RM_JSON_COMMENTS, &json, &err), RM_OK);
    cJSON *object = cJSON_Duplicate(cJSON_GetArrayItem(cJSON_GetObjectItem(rm_json_root(json), "tasks"), 0),
                                    true);
    cr_assert(cJSON_ReplaceItemInObject(object, "path", cJSON_CreateString("f.jsonl")));
    cJSON_DeleteItemFromObject(object, "xxh3"); /* of another file than this one */
    char *spec = cJSON_PrintUnformatted(object);
    write_temporary("f.jsonl", file, sizeof file - 1, folder);
    rm_task *task = must_open(folder, spec);
    cr_expect_str_eq(item_of(task, 0)->reference, "73");
    for (size_t i = 0; i < COUNT(aime); i++) {
        char *answer;
        bool correct;
        rm_task_grade(task, item_of(task, 0), aime[i].text, false, &answer, &correct, &err);
        cr_expect_eq(correct, aime[i].correct, "%s: %s", aime[i].text, answer ? answer : "nothing");
        if (aime[i].answer)
            cr_expect(answer && !strcmp(answer, aime[i].answer), "%s: %s", aime[i].text,
                      answer ? answer : "nothing");
        free(answer);
    }
    rm_task_free(task);
    remove_temporary("f.jsonl", folder);
    free(spec);
    cJSON_Delete(object);
    free(text);
    rm_json_free(json);
}

/* One file each of the shapes there are: an array of objects, LaTeX answers, letters. */
Test(tasks, other_shapes)
{
    static const struct { const char *file, *object; size_t n; } sets[] = {
        { "svamp/SVAMP.json", "{\"kind\": \"jsonl\", \"path\": \"svamp/SVAMP.json\", \"question\":"
          " \"{Body}. {Question}\", \"answer\": \"Answer\", \"id\": \"ID\", \"level\": \"Type\"}",
          1000 },
        { "math500/math_500.jsonl", "{\"kind\": \"jsonl\", \"path\": \"math500/math_500.jsonl\","
          " \"question\": \"problem\", \"answer\": \"final_answer\", \"grader\": \"exact\","
          " \"latex\": true}", 500 },
    };
    for (size_t i = 0; i < COUNT(sets); i++) {
        char folder[900];
        if (!have(sets[i].file, folder, sizeof folder))
            cr_skip_test("no %s in %s", sets[i].file, folder);
        rm_task *task = must_open(folder, sets[i].object);
        cr_expect_eq(rm_task_count(task), sets[i].n, "%s: %zu", sets[i].file, rm_task_count(task));
        rm_task_free(task);
    }
}
