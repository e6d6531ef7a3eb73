/* test_graders.c - canonical forms, extraction and its traps, as tables. */
#include "experiments/graders/grader.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) (sizeof table / sizeof *table)

static const char *canonical(const rm_grader *g, const char *text, rm_text *out)
{
    rm_text_free(out);
    return rm_grader_canonical(g, text, strlen(text), out) ? out->data : NULL;
}

static void expect_same(const char *what, const char *got, const char *want)
{
    if (!got || !want)
        cr_expect(!got && !want, "%s: got %s, expected %s", what, got ? got : "nothing",
                  want ? want : "nothing");
    else
        cr_expect_str_eq(got, want, "%s: got %s, expected %s", what, got, want);
}

static const char *const numbers[][2] = {
    { "18", "18" }, { "18.00", "18" }, { "018", "18" }, { "$18", "18" }, { "18%", "18" },
    { "1,000", "1000" }, { "1,234,567.50", "1234567.5" }, { "1,00", "1" }, { "1{,}000", "1000" },
    { "12\\,345\\,678", "12345678" }, { "1{,}00", "1" }, { "12,3456", "12" },
    { "12,345,6", "12345" }, { "$ 80,000 dollars", "80000" }, { "12 apples", "12" },
    { "about 5.", "5" }, { "5.5 kg.", "5.5" }, { "-7", "-7" }, { "-$7", "-7" }, { "$-7", "-7" },
    { "\xE2\x88\x92" "7", "-7" }, { "3-7", "3" }, { "x-7", "7" }, { "(-7)", "-7" }, { "- 7", "7" },
    { "is -7", "-7" },
    { "0.75", "0.75" }, { "3/4", "0.75" }, { "6/8", "0.75" }, { "1/3", "1/3" }, { "-2/6", "-1/3" },
    { "4/2", "2" }, { "5/0", "5" }, { "\\frac{3}{4}", "0.75" }, { "-\\frac{1}{3}", "-1/3" },
    { "\\dfrac{10}{5}", "2" }, { "\\frac{a}{b}", NULL }, { ".5", "0.5" }, { "0.50", "0.5" },
    { "5 + 3 = 8", "8" }, { "5 + 3 =", "5" }, { "x = 4", "4" }, { "no number", NULL }, { "", NULL },
    { "99999999999999999999", NULL }, { "9223372036854775807", "9223372036854775807" },
    { "0.1234567890123456789", NULL }, { "-0", "0" }, { "-0.0", "0" }, { "1e5", "100000" },
    { "1 000", "1000" }, { "-$1 234 567.5", "-1234567.5" }, { "1 00", "1" }, { "12 3456", "12" },
    { "so 12 345", "12" }, { "so 12\xe2\x80\xaf" "345", "12345" }, { "1\xc2\xa0" "000 m", "1000" },
    { "2\xe2\x80\x89" "000", "2000" }, { "\\$1,000.00", "1000" }, { "-\\$1,000.00", "-1000" },
    { "2.5E-2", "0.025" }, { "1e3x", "1" }, { "3 eggs", "3" }, { "10^3", "1000" }, { "2^{10}", "1024" },
    { "10**3", "1000" }, { "10^{-2}", "0.01" }, { "10^", "10" }, { "3 \\times 10^4", "30000" },
    { "1.5\xc3\x97" "10^{3}", "1500" }, { "3*10^4 m", "30000" }, { "3 x 10", "3" }, { "10^99", NULL },
    { "1 1/2", "1.5" }, { "-2 3/4", "-2.75" }, { "1\\frac{1}{2}", "1.5" }, { "1 3/2", "1" }, { "12.5%", "12.5" },
    { "0.000001", "0.000001" }, { "3/8", "0.375" }, { "7/1000", "0.007" },
};

Test(graders, numeric_canonical)
{
    rm_grader g = { .kind = RM_GRADE_NUMERIC };
    rm_text out = { 0 };
    for (size_t i = 0; i < COUNT(numbers); i++)
        expect_same(numbers[i][0], canonical(&g, numbers[i][0], &out), numbers[i][1]);
    rm_text_free(&out);
}

Test(graders, numeric_tolerance)
{
    static const struct { const char *answer, *reference; double tolerance, relative; bool ok; }
    cases[] = {
        { "18", "18", 0, 0, true }, { "18.1", "18", 0, 0, false }, { "18.1", "18", 0.1, 0, true },
        { "18.11", "18", 0.1, 0, false }, { "101", "100", 0, 0.01, true },
        { "102", "100", 0, 0.01, false }, { "1/3", "0.333", 0.001, 0, true },
        { "0.333", "1/3", 0, 0, false }, { "-5", "5", 0, 0, false },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_expect_eq(rm_numeric_correct(cases[i].answer, cases[i].reference, cases[i].tolerance,
                                        cases[i].relative), cases[i].ok, "%s against %s",
                     cases[i].answer, cases[i].reference);
}

/* Values worked out by hand. */
static const char *const expressions[][2] = {
    { "((25-7)*4)+8", "4 7 8 25=80" }, { "8+4*(25-7)", "4 7 8 25=80" },
    { "8/(3-8/3)", "3 3 8 8=24" }, { "(4 + 8) * (6 - 4) = 24", "4 4 6 8=24" },
    { "1/3", "1 3=1/3" }, { "7", "7=7" }, { "`2*3`.", "2 3=6" }, { "$2 \\times 3$", "2 3=6" },
    { "2 \xC3\x97 3 \xC3\xB7 6", "2 3 6=1" }, { "7 \xE2\x88\x92 9", "7 9=-2" },
    { "2-3-4", "2 3 4=-5" }, { "16/4/2", "2 4 16=2" }, { "2+3*4", "2 3 4=14" },
    { "", NULL }, { "()", NULL }, { "2+", NULL }, { "(2+3", NULL }, { "2+3)", NULL },
    { "2 3", NULL }, { "-2+3", NULL }, { "2**3", NULL }, { "4/(2-2)", NULL }, { "2+a", NULL },
    { "2.5*2", NULL }, { "999999999999*999999999999", NULL }, { "1234567890123", NULL },
};

Test(graders, expression_canonical)
{
    rm_grader g = { .kind = RM_GRADE_EXPRESSION };
    rm_text out = { 0 };
    for (size_t i = 0; i < COUNT(expressions); i++)
        expect_same(expressions[i][0], canonical(&g, expressions[i][0], &out), expressions[i][1]);
    char deep[4001];
    memset(deep, '(', 4000);
    deep[4000] = '\0';
    cr_expect_null(canonical(&g, deep, &out));
    char many[1001]; /* 500 numbers, beyond the limit of 64 */
    for (int i = 0; i < 500; i++)
        memcpy(many + 2 * i, "1+", 2);
    many[999] = '\0';
    cr_expect_null(canonical(&g, many, &out));
    rm_text_free(&out);
}

Test(graders, choice_canonical)
{
    static const char *const cases[][2] = {
        { "(B)", "B" }, { "B", "B" }, { " b ", "B" }, { "B.", "B" }, { "**C**", "C" },
        { "(b) because A is wrong", "B" }, { "A man bought", NULL }, { "the A", "A" },
        { "Option D: the cat", "D" }, { "[E]", "E" }, { "Z", NULL }, { "none", NULL },
        { "I think B, not A.", "B" }, { "", NULL }, { "don't", NULL },
    };
    rm_grader g = { .kind = RM_GRADE_CHOICE, .choices = (char[]){ "ABCDE" } };
    rm_text out = { 0 };
    for (size_t i = 0; i < COUNT(cases); i++)
        expect_same(cases[i][0], canonical(&g, cases[i][0], &out), cases[i][1]);
    rm_text_free(&out);
}

Test(graders, exact_canonical)
{
    static const struct { bool fold, latex; const char *text, *want; } cases[] = {
        { false, false, "  Paris. ", "Paris" }, { false, false, "**new\n  york**", "new york" },
        { false, false, "\"yes\"", "yes" }, { true, false, "YES", "yes" },
        { false, false, "YES", "YES" }, { false, false, " . ", "." }, { false, false, "  ", NULL },
        { false, true, "$\\left( 3, \\frac{\\pi}{2} \\right)$", "(3,\\frac{\\pi}{2})" },
        { false, true, "\\dfrac{1}{2}", "\\frac{1}{2}" }, { false, true, "90^\\circ", "90" },
        { false, true, "\\leftarrow", "\\leftarrow" },
    };
    rm_text out = { 0 };
    for (size_t i = 0; i < COUNT(cases); i++) {
        rm_grader g = { .kind = RM_GRADE_EXACT, .fold_case = cases[i].fold,
                        .latex = cases[i].latex };
        expect_same(cases[i].text, canonical(&g, cases[i].text, &out), cases[i].want);
    }
    rm_text_free(&out);
}

Test(graders, pattern)
{
    rm_grader g = { .kind = RM_GRADE_PATTERN };
    cr_expect(rm_grader_correct(&g, "colour", "colou?r"));
    cr_expect(!rm_grader_correct(&g, "my colour", "colou?r"), "the whole answer must match");
    cr_expect(!rm_grader_correct(&g, "colours", "colou?r"));
    cr_expect(!rm_grader_correct(&g, "x", "("), "a broken pattern matches nothing");
    char a[4097]; /* exponential for a backtracking matcher without a limit */
    memset(a, 'a', 4096);
    a[4096] = '\0';
    cr_expect(!rm_grader_correct(&g, a, "(a|a)*(a|a)*b"));
    cr_expect(!rm_grader_correct(&g, "\xFF\xFE", "b+"));
}

/* ---- extraction ---------------------------------------------------------------------------- */

static const struct extraction {
    rm_grader_kind grader;
    const char *rules[5];  /* names, or a regular expression after "re:" or "last:" */
    const char *cuts[3];
    bool thought, truncated;
    const char *text, *want;
} extractions[] = {
    /* a statement, and what models put around it */
    { 0, { "answer is" }, { 0 }, 0, 0, "So the answer is 5.", "5" },
    { 0, { "answer is" }, { 0 }, 0, 0, "The answer is $1,000.50.", "1000.5" },
    { 0, { "answer is" }, { 0 }, 0, 0, "The final answer is: **42** apples", "42" },
    { 0, { "answer is" }, { 0 }, 0, 0, "Answer: 3 + 4 = 7", "7" },
    { 0, { "answer is" }, { 0 }, 0, 0, "I do not know", NULL },
    { 0, { "####" }, { 0 }, 0, 0, "16 - 3 = 13\n#### 13", "13" },
    { 0, { "####" }, { 0 }, 0, 0, "#### -1,234 dollars\n", "-1234" },
    { 0, { "boxed" }, { 0 }, 0, 0, "thus \\boxed{\\frac{3}{4}}.", "0.75" },
    { 0, { "boxed" }, { 0 }, 0, 0, "\\boxed{3} or rather \\boxed{4}", "4" },
    { 0, { "boxed" }, { 0 }, 0, 0, "\\boxed{3} or rather \\boxed{4", "3" },
    { 0, { "last number" }, { 0 }, 0, 0, "First 3, then 4. Done.", "4" },
    { 0, { "last number" }, { 0 }, 0, 0, "nothing here", NULL },
    /* rules in order */
    { 0, { "####", "answer is", "last number" }, { 0 }, 0, 0, "The answer is 5, not 6", "5" },
    { 0, { "####", "answer is", "last number" }, { 0 }, 0, 0, "so 5 and 6", "6" },
    { 0, { "answer is", "last number" }, { 0 }, 0, 0, "The answer is unclear: maybe 6\n7", "6" },
    /* a second question invented by the model */
    { 0, { "last number" }, { "\nQuestion:" }, 0, 0, "It is 5.\nQuestion: Bob has 7", "5" },
    { 0, { "last number" }, { 0 }, 0, 0, "It is 5.\nQuestion: Bob has 7", "7" },
    { 0, { "####" }, { 0 }, 0, 0, "#### 5\n\nQ: Bob\nA: 7\n#### 7", "5" },
    { 0, { "answer is" }, { 0 }, 0, 0, "The answer is 5.\nQ: more?\nThe answer is 7.", "5" },
    { 0, { "last:answer is (\\d+)" }, { 0 }, 0, 0, "answer is 5. no, answer is 7.", "7" },
    { 0, { "last number" }, { "\nQ:", "\n\n" }, 0, 0, "It is 5.\n\n8\nQ: 9", "5" },
    /* cut off by a limit */
    { 0, { "####" }, { 0 }, 0, true, "#### 12", NULL },
    { 0, { "####" }, { 0 }, 0, true, "#### 12\n", "12" },
    { 0, { "last number" }, { 0 }, 0, true, "so it is 12", NULL },
    { 0, { "last number" }, { 0 }, 0, true, "so it is 12 app", "12" },
    { 0, { "boxed" }, { 0 }, 0, true, "\\boxed{12", NULL },
    { 0, { "answer is" }, { 0 }, 0, true, "The answer is 12. Bec", "12" },
    { 0, { "answer is" }, { "\nQ:" }, 0, true, "The answer is 12\nQ: How m", "12" },
    { 0, { "number" }, { 0 }, true, true, "1+1=2</think>2", NULL },
    /* thoughts */
    { 0, { "number" }, { 0 }, true, 0, "17+5=22;22-36=-14</think>-14", "-14" },
    { 0, { "number" }, { 0 }, true, 0, "17+5=22;22-36=-14", NULL },
    { 0, { "number" }, { 0 }, true, 0, "1=1</think>7 4", NULL },
    { 0, { "number" }, { 0 }, true, 0, "1=1</think>", NULL },
    { 0, { "number" }, { 0 }, true, 0, "a</think>1</think>2", "2" },
    { 0, { "last number" }, { 0 }, 0, 0, "<think>3 or 4?</think>It is 4.", "4" },
    { 0, { "last number" }, { 0 }, 0, 0, "<think>3 or 4? maybe 5", NULL },
    { 0, { "last number" }, { 0 }, 0, 0, "no thought: 4", "4" },
    { RM_GRADE_EXPRESSION, { "all" }, { 0 }, true, 0,
      "25-7=18(4 8 18)4*18=72(8 72)72+8=80(80)!</think>((25-7)*4)+8", "4 7 8 25=80" },
    { RM_GRADE_EXPRESSION, { "answer:", "last line" }, { 0 }, 0, 0,
      "4 + 8 = 12 (left: 4 6 12)\nAnswer: (4 + 8) * (6 - 4) = 24", "4 4 6 8=24" },
    { RM_GRADE_CHOICE, { "option" }, { 0 }, 0, 0, "The answer is (C).", "C" },
    { RM_GRADE_CHOICE, { "option" }, { 0 }, 0, 0, "Answer: b", "B" },
    { RM_GRADE_CHOICE, { "option" }, { 0 }, 0, 0, "The answer is a dog", NULL },
    { RM_GRADE_EXACT, { "re:city of (\\w+)" }, { 0 }, 0, 0, "the city of Paris it is", "Paris" },
    { RM_GRADE_EXACT, { "re:Par.s" }, { 0 }, 0, 0, "in Paris", "Paris" },
    { RM_GRADE_EXACT, { "last line" }, { 0 }, 0, 0, "one\ntwo \n\n", "two" },
    { RM_GRADE_EXACT, { "re:x(.*)" }, { 0 }, 0, 0, "x\xFF\xFE", NULL },
};

static void set_up(rm_extractor *x, const struct extraction *e)
{
    rm_error err = { { 0 } };
    for (int i = 0; i < 5 && e->rules[i]; i++) {
        const char *r = e->rules[i];
        bool last = !strncmp(r, "last:", 5);
        rm_status st = last || !strncmp(r, "re:", 3)
            ? rm_extractor_add_pattern(x, r + (last ? 5 : 3), last, &err)
            : rm_extractor_add_named(x, r, &err);
        cr_assert_eq(st, RM_OK, "%s", err.text);
    }
    for (int i = 0; i < 3 && e->cuts[i]; i++)
        cr_assert(rm_strings_add(&x->cuts, e->cuts[i], strlen(e->cuts[i])));
    x->open = "<think>";
    x->close = "</think>";
    x->in_thought = e->thought;
}

Test(graders, extraction)
{
    for (size_t i = 0; i < COUNT(extractions); i++) {
        const struct extraction *e = &extractions[i];
        rm_extractor x = { 0 };
        rm_grader g = { .kind = (int)e->grader };
        rm_text out = { 0 };
        set_up(&x, e);
        bool found = rm_extract(&x, &g, e->text, e->truncated, &out);
        expect_same(e->text, found ? out.data : NULL, e->want);
        rm_text_free(&out);
        rm_extractor_free(&x);
    }
}

Test(graders, rules_are_checked)
{
    rm_extractor x = { 0 };
    rm_error err = { { 0 } };
    cr_expect_eq(rm_extractor_add_named(&x, "last nunber", &err), RM_E_ARGUMENT);
    cr_expect_not_null(strstr(err.text, "did you mean \"last number\""), "%s", err.text);
    cr_expect_eq(rm_extractor_add_pattern(&x, "a(b", false, &err), RM_E_ARGUMENT);
    cr_expect_not_null(strstr(err.text, "\"a(b\""), "%s", err.text);
    rm_extractor_free(&x);
}
