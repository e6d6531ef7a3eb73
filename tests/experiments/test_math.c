/* test_math.c - when are two mathematical answers the same?
 *
 * The tables were written by hand: answers of competition problems as data sets, people and models
 * write them. The recorded answers of others are read from RM_TEST_DATA where they are. */
#include "experiments/graders/grader.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef RM_TEST_DATA
#define RM_TEST_DATA "../shared/data"
#endif

#define COUNT(table) (sizeof table / sizeof *table)

static char *canonical_of(const char *text)
{
    rm_text out = { 0 };
    if (!rm_math_canonical(text, strlen(text), &out)) {
        rm_text_free(&out);
        return NULL;
    }
    return out.data;
}

static bool same(const char *a, const char *b)
{
    char *x = canonical_of(a), *y = canonical_of(b);
    bool equal = x && y && !strcmp(x, y);
    free(x);
    free(y);
    return equal;
}

static const char *const equal[][2] = {
    { "(3,\\pi/2)", "\\left( 3, \\frac{\\pi}{2} \\right)" }, { "Evelyn", "\\text{Evelyn}" },
    { "\\text{evelyn}.", "Evelyn" }, { "90", "90^\\circ" }, { "90^{\\circ}", "90\xC2\xB0" },
    { "90 degrees", "90^\\circ" }, { "$x=5$", "5" }, { "x = 5", "5" },
    { "\\sqrt{117}", "3\\sqrt{13}" }, { "3\xE2\x88\x9A" "13", "3\\sqrt{13}" },
    { "3*sqrt(13)", "3\\sqrt{13}" }, { "-2, 1", "1,-2" }, { "\\{1,-2\\}", "1,-2" },
    { "x=1 or x=-2", "1,-2" }, { "x = 1, -2", "1,-2" }, { "x=1 \\text{ or } x=-2", "1,-2" },
    { "1 \\text{ and } -2", "1,-2" }, { "52_{8}", "52_8" }, { "52_{\\text{8}}", "52_8" },
    { "\\frac{9}{5}", "1\\frac{4}{5}" }, { "1.8", "1\\frac{4}{5}" }, { "1 4/5", "1\\frac{4}{5}" },
    { "1\\tfrac45", "1.8" }, { "10,080", "10,\\!080" }, { "10080", "10,\\!080" },
    { "10{,}080", "10080" }, { "11111111100", "11,\\! 111,\\! 111,\\! 100" },
    { "$32,348", "\\$32,\\!348" }, { "\\$32{,}348", "32348" },
    { "32,348 dollars", "\\$32,\\!348" }, { "C", "\\text{(C)}" }, { "(C)", "\\text{(C)}" },
    { "\\textbf{(C)}", "C" }, { "\\boxed{C}", "C" }, { "864", "864 \\mbox{ inches}^2" },
    { "864 \\text{ in}^2", "864" }, { "864\\text{ square inches}", "864" },
    { "864 square inches", "864" }, { "15\\,\\text{cm}^{2}", "15\\mbox{ cm}^2" },
    { "5.4", "5.4 \\text{ cents}" }, { "60 km/h", "60" }, { "60\\text{ miles per hour}", "60" },
    { "[-2,7]", "x \\in [-2,7]" }, { "-2 \\le x \\le 7", "x \\in [-2,7]" },
    { "-2\\leq x\\leq 7", "[-2,7]" }, { "x > 2", "(2,\\infty)" }, { "x \\le 0", "(-\\infty, 0]" },
    { "0 >= x", "(-\\infty, 0]" },
    { "(3, \\infty) \\cup (-\\infty, 2)", "(-\\infty, 2) \\cup (3, \\infty)" },
    { "x<2 or x>3", "(-\\infty, 2) \\cup (3, \\infty)" },
    { "(-\\infty,2) \xE2\x88\xAA (3,\xE2\x88\x9E)", "(-\\infty, 2) \\cup (3, \\infty)" },
    { "y=2x+3", "2x+3" }, { "f(x) = 2x+3", "3+2x" }, { "5x+11z-7y+4=0", "5x - 7y + 11z + 4 = 0" },
    { "5x+11z+4=7y", "5x - 7y + 11z + 4 = 0" },
    { "10x - 14y + 22z + 8 = 0", "5x - 7y + 11z + 4 = 0" },
    { "1+\\sqrt{19}, 1-\\sqrt{19}", "1 \\pm \\sqrt{19}" },
    { "\\{1-\\sqrt{19},1+\\sqrt{19}\\}", "1 \\pm \\sqrt{19}" },
    { "x=1\\pm\\sqrt{19}", "1 \\pm \\sqrt{19}" },
    { "-2, 1-\\sqrt5, 1+\\sqrt5", "\\{1\\pm\\sqrt{5},-2\\}" },
    { "\\begin{bmatrix} -1/3 \\\\ 2/3 \\\\ 5/3 \\end{bmatrix}",
      "\\begin{pmatrix} -\\frac{1}{3} \\\\ \\frac23 \\\\ \\frac53 \\end{pmatrix}" },
    { "\\left(\\begin{array}{c}1\\\\2\\end{array}\\right)",
      "\\begin{pmatrix}1\\\\2\\end{pmatrix}" },
    { "\\frac{1}{\\sqrt{3}}", "\\frac{\\sqrt{3}}{3}" }, { "(b+2)(a+5)", "(a+5)(b+2)" },
    { "\\frac{11}{20}+\\frac{9a}{20}", "\\frac{11+9a}{20}" },
    { "0.55+0.45a", "\\frac{11+9a}{20}" }, { "6.72 \\times 10^{-5}", ".0000672" },
    { "6.72\\cdot10^{-5}", ".0000672" }, { "\\frac{1}{2}", "0.5" }, { "1/2", "\\frac12" },
    { "50%", "50\\%" }, { "50\\%", "50" }, { "\\sin^2 x", "\\sin(x)^2" }, { "2^{10}", "1024" },
    { "\\binom{5}{2}", "10" }, { "5!", "120" }, { "|{-3}|", "3" },
    { "\\frac{\\pi^{2}}{8}", "\\pi^2/8" }, { "\\emptyset", "\\{\\}" },
    { "8\\pi \\text{ cm}", "8\\pi" }, { "an ellipse", "\\text{ellipse}" },
    { "The ellipse", "ellipse" }, { "\\cot(x)", "\\cot x" }, { "\\text{Area} = 12", "12" },
    { "AB=5", "5" }, { "\\angle ABC = 30^\\circ", "30" }, { "2+2=4", "4" },
    { "x = \\frac{10}{4} = 2.5", "2.5" }, { "x=1,y=2", "y=2, x=1" },
    { "\\left\\{ 1, 2 \\right\\}", "1,2" }, { "\\mathrm{east}", "\\text{east}" },
    { "$\\$36$", "36" }, { "\\langle 1, 2\\rangle", "(1,2)" },
    { "-\\frac{35}{9}", "\\frac{-35}{9}" }, { "\\frac{35}{-9}", "-35/9" }, { "2^{n}", "2^n" },
    { "\\frac{x}{2}", "0.5x" }, { "\\log_{2} 8", "\\log_2(8)" }, { "i\\sqrt5", "\\sqrt{-5}" },
    { "1, 2, \\text{ and } 3", "3,2,1" }, { "1000", "1,000" },
    { "\\frac{270}{7}", "\\frac{270}7\\text{ degrees}" },
};

Test(math, equal_answers)
{
    for (size_t i = 0; i < COUNT(equal); i++) {
        char *a = canonical_of(equal[i][0]), *b = canonical_of(equal[i][1]);
        cr_expect(a && b && !strcmp(a, b), "%s is %s, %s is %s", equal[i][0], a ? a : "nothing",
                  equal[i][1], b ? b : "nothing");
        free(a);
        free(b);
    }
}

static const char *const different[][2] = {
    { "(1,2)", "(2,1)" }, { "(1,2)", "[1,2]" }, { "[1,2)", "(1,2]" }, { "(1,2)", "1,2" },
    { "east", "teas" }, { "east", "seat" }, { "5 million", "5" }, { "5 mod 7", "7 mod 5" },
    { "52_8", "52" }, { "52_8", "52_9" }, { "x=1, y=2", "x=2, y=1" }, { "x=1", "\\{1\\}" },
    { "0.333", "\\frac13" }, { "3.14", "\\pi" }, { "\\sqrt{2}", "1.414" },
    { "1\\pm2\\pm3", "1\\pm3\\pm2" }, { "x+1", "x-1" }, { "2x+3", "2y+3" }, { "1/(2x)", "x/2" },
    { "\\frac{1}{2x}", "\\frac{x}{2}" }, { "x>2", "x\\ge2" }, { "x>2", "x<2" },
    { "x<1 and x>0", "x<1 or x>0" }, { "1000", "1,00" }, { "(1,234)", "1234" },
    { "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}" },
    { "\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}" },
    { "x=5y", "5" }, { "3x=5", "5" }, { "2", "-2" }, { "no", "on" }, { "yes", "no" }, { "A", "a" },
    { "A", "B" }, { "\\sin 2x", "2\\sin x" }, { "f(2)\\cdot 3", "6f" }, { "a/bc", "ac/b" },
    { "2:3", "3:2" }, { "5 or 7", "5" }, { "\\infty", "-\\infty" }, { "\\frac{1}{x+1}", "x+1" },
    { "x^{-1}+1", "(x+1)^{-1}" }, { "1,2", "1,2,3" }, { "12", "1, 2" }, { "\\sqrt{x^2}", "-x" },
    { "(-2)^2", "-2^2" }, { "2^{3^2}", "(2^3)^2" }, { "", "0" }, { "x \\ne 3", "3" },
    { "\\approx 3", "3" },
};

Test(math, different_answers)
{
    for (size_t i = 0; i < COUNT(different); i++)
        cr_expect_not(same(different[i][0], different[i][1]), "%s and %s", different[i][0],
                      different[i][1]);
}

/* Worked out by hand. */
static const char *const forms[][2] = {
    { "\\frac{3}{4}", "0.75" }, { "\\frac13", "1/3" }, { "\\sqrt{12}", "2*sqrt(3)" },
    { "\\frac{1}{1+\\sqrt2}", "sqrt(2)-1" }, { "\\frac{\\sqrt{8}}{\\sqrt{6}}", "2/3*sqrt(3)" },
    { "(x+1)^2", "x^2+2*x+1" }, { "\\frac{3}{2x+4}", "1.5*(x+2)^-1" }, { "x - x", "0" },
    { "\\frac{2\\pi}{6}", "1/3*\\pi" }, { "(2,\\infty)", "(2,\\infty)" }, { "", NULL },
    { "$$", NULL },
    { "x^2y/(xy)", "x" }, { "\\sqrt[3]{27}", "3" }, { "8^{1/3}", "2" }, { "4^{-1/2}", "0.5" },
    { "2^{-3}", "0.125" }, { "0^0", "0^0" }, { "1/0", "1/0" }, { "\\frac{1}{0}", "\\frac {1}{0}" },
    { "3, 1, 3", "\\{1,3\\}" }, { "-3 < x \\le 5", "(-3,5]" }, { "5 \\ge x > -3", "(-3,5]" },
    { "3x = 6y", "x-2*y=0" }, { "\\text{not possible}", "not possible" }, { "12 apples", "12" },
    { "9223372036854775807", "9223372036854775807" },
    { "9223372036854775808", "9223372036854775808" },
};

/* A form is its own form: recorded answers can be graded again. */
Test(math, canonical_forms)
{
    for (size_t i = 0; i < COUNT(forms); i++) {
        char *form = canonical_of(forms[i][0]);
        if (!form || !forms[i][1]) {
            cr_expect(!form && !forms[i][1], "%s: %s", forms[i][0], form ? form : "nothing");
        } else {
            cr_expect_str_eq(form, forms[i][1], "%s: %s", forms[i][0], form);
            cr_expect(same(form, forms[i][0]), "%s", form);
        }
        free(form);
    }
}

/* What would cost time or memory without limits is text in the end. */
Test(math, hostile_answers)
{
    static const struct { const char *unit; int times; const char *tail; } cases[] = {
        { "(", 4000, "" }, { "{", 4000, "" }, { "\\sqrt{", 500, "2" }, { "-", 4000, "1" },
        { "\\frac", 600, "12" }, { "1\\pm", 900, "2" }, { "x^", 1900, "2" }, { "1,", 2000, "" },
        { "(x+y+z)^{9}", 300, "" }, { "((x+y)^{64}+z)^{64}", 100, "" },
        { "\\begin{pmatrix}", 200, "" },
        { "a=b=", 900, "c" }, { "|", 4000, "" }, { "x!", 1900, "" }, { "9", 4000, "" },
        { "\\text{", 500, "x" }, { "1_", 2000, "1" }, { "\\binom{9}{4}", 300, "" },
        { "x", 100000, "" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        rm_text text = { 0 };
        for (int k = 0; k < cases[i].times; k++)
            rm_text_puts(&text, cases[i].unit);
        rm_text_puts(&text, cases[i].tail);
        char *form = canonical_of(text.data);
        cr_expect_not_null(form, "%s", cases[i].unit);
        free(form);
        rm_text_free(&text);
    }
    cr_expect_not(same("\xFF\xFE", "\xFF"), "bytes that are no text are compared as they are");
}

/* ---- recorded answers ------------------------------------------------------------------ */

static char *read_data(const char *name, size_t *n)
{
    char path[512], *text = NULL;
    const char *folder = getenv("RM_TEST_DATA");
    snprintf(path, sizeof path, "%s/%s", folder ? folder : RM_TEST_DATA, name);
    if (rm_file_read(path, (size_t)64 << 20, &text, n, NULL))
        cr_skip_test("%s is not there", path);
    return text;
}

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    cr_assert(cJSON_IsString(item), "%s", name);
    return item->valuestring;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The 500 references of MATH-500 (test500.jsonl of github.com/openreasoner/openr). All are
 * understood. Two copies of them differ in no answer; written differently, only those below are
 * equal (checked by eye): 9 pairs and one triple. */
Test(math, math500_references)
{
    enum { N = 500 };
    char *forms_of[N], *raw[N];
    size_t size, cursor = 0, line = 0;
    char *text = read_data("math500/test500.jsonl", &size);
    rm_error err = { { 0 } };
    int n = 0, n_distinct_raw = 0, n_distinct = 0;
    for (rm_json *json; n < N; n++) {
        cr_assert_eq(rm_jsonl_next(text, size, "test500", &cursor, &line, &json, &err), RM_OK);
        cr_assert_not_null(json);
        raw[n] = strdup(text_of(rm_json_root(json), "answer"));
        forms_of[n] = canonical_of(raw[n]);
        cr_assert_not_null(forms_of[n], "%s", raw[n]);
        char *again = canonical_of(forms_of[n]);
        cr_expect_str_eq(again, forms_of[n], "%s", raw[n]);
        free(again);
        rm_json_free(json);
    }
    free(text);
    qsort(forms_of, N, sizeof *forms_of, by_text);
    qsort(raw, N, sizeof *raw, by_text);
    for (int i = 0; i < N; i++) {
        n_distinct_raw += i == 0 || strcmp(raw[i], raw[i - 1]);
        n_distinct += i == 0 || strcmp(forms_of[i], forms_of[i - 1]);
    }
    cr_expect_eq(n_distinct_raw - n_distinct, 11, "%d different texts, %d different answers",
                 n_distinct_raw, n_distinct);
    for (int i = 0; i < N; i++) {
        free(raw[i]);
        free(forms_of[i]);
    }
}

/* What stands between two marks in a page of results. */
static void between(const char *html, const char *before, char *out, size_t n)
{
    const char *from = strstr(html, before);
    cr_assert_not_null(from, "%s", before);
    from += strlen(before);
    size_t length = strcspn(from, "<");
    cr_assert_lt(length, n);
    memcpy(out, from, length);
    out[length] = '\0';
}

/* 240 recorded answers to AIME 2025 with the verdicts of another grader (benches/dgx-spark of
 * github.com/ggml-org/llama.cpp). They agree on 238; on two that say "n=104" for 104 the other one
 * found no answer. */
Test(math, aime_verdicts)
{
    size_t size;
    char *text = read_data("aime25-gptoss/aime25_openai__gpt-oss-120b-high_temp1.0_20251109_094547_"
                           "allresults.json", &size);
    rm_error err = { { 0 } };
    rm_json *json;
    cr_assert_eq(rm_json_parse(text, size, "aime", 1, 0, &json, &err), RM_OK, "%s", err.text);
    free(text);
    const cJSON *html = cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "htmls")->child;
    const cJSON *talk = cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "convos")->child;
    rm_extractor x = { 0 };
    rm_grader g = { .kind = RM_GRADE_MATH };
    cr_assert_eq(rm_extractor_add_named(&x, "boxed", &err), RM_OK);
    int n = 0, agreed = 0, unextracted = 0;
    for (; html && talk; html = html->next, talk = talk->next, n++) {
        char reference[64], extracted[64], score[64];
        between(html->valuestring, "<p>Correct Answer: ", reference, sizeof reference);
        between(html->valuestring, "<p>Extracted Answer: ", extracted, sizeof extracted);
        between(html->valuestring, "<p>Score: ", score, sizeof score);
        rm_text answer = { 0 };
        bool found = rm_extract(&x, &g, text_of(talk->child->next, "content"), false, &answer);
        bool correct = found && rm_grader_correct(&g, answer.data, reference);
        bool theirs = strtod(score, NULL) > 0.5;
        agreed += correct == theirs;
        unextracted += correct && !theirs && !strcmp(extracted, "None");
        rm_text_free(&answer);
    }
    cr_expect_eq(n, 240);
    cr_expect_eq(agreed, 238, "%d", agreed);
    cr_expect_eq(unextracted, 2, "%d", unextracted);
    rm_extractor_free(&x);
    rm_json_free(json);
}

/* 4 x 1,319 recorded solutions of GSM8K with OpenAI's verdicts (example_model_solutions.jsonl of
 * github.com/openai/grade-school-math). */
Test(math, gsm8k_verdicts)
{
    static const char *const models[] = { "6b_finetuning", "6b_verification", "175b_finetuning",
                                          "175b_verification" };
    size_t size, cursor = 0, line = 0;
    char *text = read_data("gsm8k/example_model_solutions.jsonl", &size);
    rm_error err = { { 0 } };
    rm_extractor x = { 0 };
    rm_grader graders[] = { { .kind = RM_GRADE_NUMERIC }, { .kind = RM_GRADE_MATH } };
    int n = 0, agreed[2] = { 0, 0 };
    cr_assert_eq(rm_extractor_add_pattern(&x, "(?m)^A: *(.*)$", true, &err), RM_OK);
    for (rm_json *json; !rm_jsonl_next(text, size, "gsm8k", &cursor, &line, &json, &err) && json;) {
        const cJSON *root = rm_json_root(json);
        for (size_t g = 0; g < 2; g++) {
            rm_text reference = { 0 };
            cr_assert(rm_extract(&x, &graders[g], text_of(root, "ground_truth"), false,
                                 &reference));
            for (size_t m = 0; m < COUNT(models); m++) {
                const cJSON *one = cJSON_GetObjectItemCaseSensitive(root, models[m]);
                rm_text answer = { 0 };
                bool ours = rm_extract(&x, &graders[g], text_of(one, "solution"), false, &answer)
                            && rm_grader_correct(&graders[g], answer.data, reference.data);
                agreed[g] += ours == cJSON_IsTrue(cJSON_GetObjectItem(one, "is_correct"));
                n += g == 0;
                rm_text_free(&answer);
            }
            rm_text_free(&reference);
        }
        rm_json_free(json);
    }
    free(text);
    rm_extractor_free(&x);
    cr_expect_eq(n, 4 * 1319);
    cr_expect_eq(agreed[0], 5276, "numeric: %d of %d", agreed[0], n);
    cr_expect_eq(agreed[1], 5276, "math: %d of %d", agreed[1], n);
}
