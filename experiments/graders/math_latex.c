/* math_latex.c - the tokens of a mathematical answer.
 *
 * What only sets type is dropped: dollar signs, \left and \right, spaces, \displaystyle, \boxed.
 * So are currency and percent signs: the question says what is counted, and data sets write their
 * references both ways. Spellings of one sign become one token: \times, \cdot and U+00D7; \dfrac,
 * \tfrac and \frac; \le, \leq, <= and U+2264.
 *
 * Commas group digits ("58,500", "10,\!080", "32{,}348") where exactly three digits follow each and
 * no blank stands behind them; inside brackets they separate, unless TeX's \! or {,} says
 * otherwise. Letters: one is a symbol; two, or several of x y z or a b c d, are a product (xy); any
 * other run is a word unless it names a function. */
#include "experiments/graders/math.h"

#include <stdlib.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

void *math_alloc(math_arena *a, size_t n_bytes)
{
    n_bytes = (n_bytes + 15) & ~(size_t)15;
    if (a->failed || !a->base || n_bytes > MATH_ARENA_BYTES - a->used) {
        a->failed = true;
        return NULL;
    }
    void *p = a->base + a->used;
    a->used += n_bytes;
    return memset(p, 0, n_bytes);
}

bool math_is_sign(const math_token *t, char sign)
{
    return t->kind == MATH_SIGN && t->sign == sign;
}

bool math_is_named(const math_token *t, math_kind kind, const char *text)
{
    return t->kind == kind && t->length == strlen(text) && !memcmp(t->text, text, t->length);
}

/* ---- spellings ------------------------------------------------------------------------ */

typedef struct spelling {
    const char *from; /* the command without its backslash, or bytes */
    char sign;        /* 0: a command under the name `to`; ' ': nothing */
    const char *to;
} spelling;

static const spelling commands[] = {
    { "left", ' ', 0 }, { "right", ' ', 0 }, { "big", ' ', 0 }, { "Big", ' ', 0 },
    { "bigl", ' ', 0 }, { "bigr", ' ', 0 }, { "Bigl", ' ', 0 }, { "Bigr", ' ', 0 },
    { "bigg", ' ', 0 }, { "displaystyle", ' ', 0 }, { "limits", ' ', 0 }, { "quad", ' ', 0 },
    { "qquad", ' ', 0 }, { "boxed", ' ', 0 }, { "fbox", ' ', 0 }, { "dollar", ' ', 0 },
    { "percent", ' ', 0 }, { "mathbf", ' ', 0 }, { "boldsymbol", ' ', 0 }, { "bf", ' ', 0 },
    { "times", '*', 0 }, { "cdot", '*', 0 }, { "ast", '*', 0 }, { "div", '/', 0 },
    { "pm", SIGN_PLUS_MINUS, 0 }, { "mp", SIGN_MINUS_PLUS, 0 },
    { "le", SIGN_LE, 0 }, { "leq", SIGN_LE, 0 }, { "leqslant", SIGN_LE, 0 }, { "lt", '<', 0 },
    { "ge", SIGN_GE, 0 }, { "geq", SIGN_GE, 0 }, { "geqslant", SIGN_GE, 0 }, { "gt", '>', 0 },
    { "cup", SIGN_UNION, 0 }, { "in", SIGN_IN, 0 }, { "degree", SIGN_DEGREE, 0 },
    { "circ", SIGN_DEGREE, 0 }, { "infty", SIGN_INFINITY, 0 }, { "infinity", SIGN_INFINITY, 0 },
    { "lbrace", SIGN_SET_OPEN, 0 }, { "rbrace", SIGN_SET_CLOSE, 0 },
    { "lor", SIGN_OR, 0 }, { "vee", SIGN_OR, 0 }, { "land", SIGN_AND, 0 }, { "wedge", SIGN_AND, 0 },
    { "langle", '(', 0 }, { "rangle", ')', 0 }, { "lvert", '|', 0 }, { "rvert", '|', 0 },
    { "vert", '|', 0 }, { "mid", '|', 0 }, { "lbrack", '[', 0 }, { "rbrack", ']', 0 },
    { "colon", ':', 0 }, { "varnothing", 0, "emptyset" },
    { "dfrac", 0, "frac" }, { "tfrac", 0, "frac" }, { "cfrac", 0, "frac" },
    { "dbinom", 0, "binom" }, { "tbinom", 0, "binom" },
    { "arcsin", 0, "arcsin" }, { "lg", 0, "log" },
};

static const spelling typography[] = {
    { "\xE2\x88\x92", '-', 0 }, { "\xE2\x80\x93", '-', 0 }, { "\xC3\x97", '*', 0 },
    { "\xC2\xB7", '*', 0 }, { "\xE2\x8B\x85", '*', 0 }, { "\xC3\xB7", '/', 0 },
    { "\xC2\xB1", SIGN_PLUS_MINUS, 0 }, { "\xE2\x89\xA4", SIGN_LE, 0 },
    { "\xE2\x89\xA5", SIGN_GE, 0 },
    { "\xE2\x88\xAA", SIGN_UNION, 0 }, { "\xE2\x88\x88", SIGN_IN, 0 },
    { "\xC2\xB0", SIGN_DEGREE, 0 },
    { "\xE2\x88\x9E", SIGN_INFINITY, 0 }, { "\xCF\x80", 0, "pi" }, { "\xE2\x88\x9A", 0, "surd" },
    { "\xCE\xB8", 0, "theta" }, { "\xC2\xA0", ' ', 0 }, { "\xE2\x80\x89", ' ', 0 },
    { "\xE2\x82\xAC", ' ', 0 }, { "\xC2\xA3", ' ', 0 },
    { "<=", SIGN_LE, 0 }, { ">=", SIGN_GE, 0 }, { "**", '^', 0 },
};

/* Runs of letters that are not words. */
static const spelling plain_names[] = {
    { "pi", 0, "pi" }, { "sqrt", 0, "surd" }, { "sin", 0, "sin" }, { "cos", 0, "cos" },
    { "tan", 0, "tan" }, { "cot", 0, "cot" }, { "sec", 0, "sec" }, { "csc", 0, "csc" },
    { "arcsin", 0, "arcsin" }, { "arccos", 0, "arccos" }, { "arctan", 0, "arctan" },
    { "log", 0, "log" }, { "ln", 0, "ln" }, { "exp", 0, "exp" }, { "abs", 0, "abs" },
    { "theta", 0, "theta" }, { "alpha", 0, "alpha" }, { "beta", 0, "beta" },
    { "inf", SIGN_INFINITY, 0 }, { "infinity", SIGN_INFINITY, 0 }, { "oo", SIGN_INFINITY, 0 },
    { "or", SIGN_OR, 0 }, { "and", SIGN_AND, 0 },
    { "degrees", SIGN_DEGREE, 0 }, { "degree", SIGN_DEGREE, 0 },
};

/* Commands whose argument is prose or a name. */
static const char *const text_commands[] = { "text", "mbox", "textbf", "textit", "textrm", "mathrm",
                                             "textnormal", "operatorname", "hbox", "rm", "textsf" };

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

static const spelling *find_spelling(const spelling *table, int n, const char *s, size_t length)
{
    for (int i = 0; i < n; i++)
        if (strlen(table[i].from) == length && !memcmp(table[i].from, s, length))
            return &table[i];
    return NULL;
}

/* ---- scanning ------------------------------------------------------------------------- */

typedef struct scanner {
    const char *s;
    size_t n, at;
    math_tokens *out;
    int brackets;        /* open ( and [: commas in them separate */
    int braces;          /* open { */
    int text_until;      /* braces outside of the \text{} being read, -1 outside of one */
    bool blank;
} scanner;

static void emit(scanner *x, math_kind kind, char sign, const char *text, size_t length)
{
    if (kind == MATH_SIGN && sign == ' ') {
        x->blank = true;
        return;
    }
    x->out->t[x->out->n++] = (math_token){ (unsigned char)kind, sign, x->blank,
                                           x->text_until >= 0, text, length };
    x->blank = false;
}

static void emit_spelling(scanner *x, const spelling *p)
{
    if (p->sign)
        emit(x, MATH_SIGN, p->sign, NULL, 0);
    else
        emit(x, MATH_COMMAND, 0, p->to, strlen(p->to));
}

/* Length of a comma that groups digits at s, 0 if it is something else. */
static size_t grouping(const scanner *x, size_t at)
{
    static const char *const marks[] = { ",\\!", "{,}", "," };
    for (int i = 0; i < 3; i++) {
        size_t k = at, length = strlen(marks[i]);
        if (x->n - at < length || memcmp(x->s + at, marks[i], length))
            continue;
        if (i == 2 && x->brackets)
            return 0;
        for (k += length; i == 0 && k < x->n && x->s[k] == ' '; k++)
            ; /* "11,\! 111" */
        size_t first = k;
        while (k < x->n && is_digit(x->s[k]))
            k++;
        return k - first == 3 ? first - at : 0;
    }
    return 0;
}

static void scan_number(scanner *x)
{
    size_t start = x->at, run = 0, skip;
    bool commas = false;
    for (;;) {
        size_t before = x->at;
        while (x->at < x->n && is_digit(x->s[x->at]))
            x->at++;
        run = x->at - before;
        skip = run >= 1 && run <= 3 ? grouping(x, x->at) : 0;
        if (!skip || (commas && run != 3))
            break;
        commas = true;
        x->at += skip;
    }
    if (x->at + 1 < x->n && x->s[x->at] == '.' && is_digit(x->s[x->at + 1]))
        for (x->at++; x->at < x->n && is_digit(x->s[x->at]); x->at++)
            ;
    emit(x, MATH_NUMBER, 0, x->s + start, x->at - start);
}

/* x y z and a b c d multiply; other runs of three letters and more are words. */
static bool is_product(const char *s, size_t n)
{
    static const char *const words[] = { "no", "in", "cm", "mm", "km", "kg", "ft", "mi", "hr", "is",
                                         "if", "to", "of", "by", "an" };
    for (int i = 0; n == 2 && i < COUNT(words); i++)
        if (!memcmp(words[i], s, 2))
            return false;
    size_t k = 0;
    while (k < n && strchr("xyz", s[k]))
        k++;
    if (k == n || n <= 2)
        return true;
    for (k = 0; k < n && strchr("abcd", s[k]); k++)
        ;
    return k == n;
}

static void scan_letters(scanner *x)
{
    size_t start = x->at;
    while (x->at < x->n && (is_letter(x->s[x->at])
                            || (x->text_until >= 0 && x->s[x->at] == '\'')))
        x->at++;
    const char *s = x->s + start;
    size_t n = x->at - start;
    const spelling *p = find_spelling(plain_names, COUNT(plain_names), s, n);
    if (p && (x->text_until < 0 || p->sign))
        emit_spelling(x, p);
    else if (n == 1)
        emit(x, MATH_LETTER, 0, s, 1);
    else if (x->text_until < 0 && is_product(s, n))
        for (size_t i = 0; i < n; i++)
            emit(x, MATH_LETTER, 0, s + i, 1);
    else
        emit(x, MATH_WORD, 0, s, n);
}

/* \begin{pmatrix}; the columns of an array are skipped. */
static bool scan_environment(scanner *x, math_kind kind)
{
    if (x->at >= x->n || x->s[x->at] != '{')
        return false;
    size_t start = ++x->at;
    while (x->at < x->n && is_letter(x->s[x->at]))
        x->at++;
    if (x->at >= x->n || x->s[x->at] != '}')
        return false;
    emit(x, kind, 0, x->s + start, x->at - start);
    bool array = x->at - start == 5 && !memcmp(x->s + start, "array", 5);
    x->at++;
    if (kind == MATH_BEGIN && array && x->at < x->n && x->s[x->at] == '{') {
        const char *close = memchr(x->s + x->at, '}', x->n - x->at);
        if (!close)
            return false;
        x->at = (size_t)(close - x->s) + 1;
    }
    return true;
}

static bool scan_command(scanner *x)
{
    size_t start = ++x->at;
    if (x->at >= x->n)
        return false;
    char c = x->s[x->at];
    if (!is_letter(c)) {
        static const char from[] = "!,;: %$#{}\\|", to[] = "        str|";
        const char *at = strchr(from, c);
        if (!c || !at)
            return false;
        x->at++;
        x->brackets += c == '{' ? 1 : c == '}' ? -1 : 0;
        emit(x, MATH_SIGN, to[at - from], NULL, 0);
        return true;
    }
    while (x->at < x->n && is_letter(x->s[x->at]))
        x->at++;
    const char *name = x->s + start;
    size_t length = x->at - start;
    if (length == 5 && !memcmp(name, "begin", 5))
        return scan_environment(x, MATH_BEGIN);
    if (length == 3 && !memcmp(name, "end", 3))
        return scan_environment(x, MATH_END);
    const spelling *p = find_spelling(commands, COUNT(commands), name, length);
    if (p) {
        emit_spelling(x, p);
        return true;
    }
    for (int i = 0; i < COUNT(text_commands); i++)
        if (strlen(text_commands[i]) == length && !memcmp(text_commands[i], name, length)) {
            while (x->at < x->n && is_blank(x->s[x->at]))
                x->at++;
            if (x->at >= x->n || x->s[x->at] != '{')
                return true;
            x->at++;
            if (x->text_until < 0)
                x->text_until = x->braces;
            x->braces++;
            x->blank = true;
            return true;
        }
    emit(x, MATH_COMMAND, 0, name, length);
    return true;
}

static bool scan_sign(scanner *x)
{
    for (int i = 0; i < COUNT(typography); i++) {
        size_t length = strlen(typography[i].from);
        if (x->n - x->at >= length && !memcmp(x->s + x->at, typography[i].from, length)) {
            x->at += length;
            emit_spelling(x, &typography[i]);
            return true;
        }
    }
    char c = x->s[x->at++];
    if (c == '$' || c == '%' || c == '~' || c == '`' || c == '"') {
        x->blank = true;
        return true;
    }
    if (c == '}' && --x->braces == x->text_until) {
        x->text_until = -1; /* the end of \text{...} */
        x->blank = true;
        return true;
    }
    x->braces += c == '{';
    x->brackets += c == '(' || c == '[' ? 1 : c == ')' || c == ']' ? -1 : 0;
    if (!c || !strchr("+-*/^_()[]{},;=<>|!:&.?'", c) || x->braces < 0)
        return false;
    emit(x, MATH_SIGN, c, NULL, 0);
    return true;
}

bool math_tokenize(const char *bytes, size_t n, math_arena *arena, math_tokens *out)
{
    out->n = 0;
    out->t = math_alloc(arena, (n + 1) * sizeof *out->t); /* a token has at least one byte */
    scanner x = { .s = bytes, .n = n, .out = out, .text_until = -1 };
    bool ok = out->t != NULL;
    while (ok && x.at < n) {
        char c = bytes[x.at];
        bool point = c == '.' && x.at + 1 < n && is_digit(bytes[x.at + 1])
                     && (x.at == 0 || !is_digit(bytes[x.at - 1]));
        if (is_blank(c)) {
            x.at++;
            x.blank = true;
        } else if (is_digit(c) || point) {
            scan_number(&x);
        } else if (is_letter(c)) {
            scan_letters(&x);
        } else {
            ok = c == '\\' ? scan_command(&x) : scan_sign(&x);
        }
    }
    return ok && x.braces == 0;
}

/* ---- back to text --------------------------------------------------------------------- */

bool math_number(const math_token *t, size_t skip, rm_fraction *out)
{
    int64_t p = 0, q = 1;
    bool decimals = false;
    for (size_t i = skip; i < t->length; i++) {
        if (t->text[i] == '.') {
            decimals = true;
        } else if (is_digit(t->text[i])) {
            if (__builtin_mul_overflow(p, INT64_C(10), &p)
                || __builtin_add_overflow(p, (int64_t)(t->text[i] - '0'), &p)
                || (decimals && __builtin_mul_overflow(q, INT64_C(10), &q)))
                return false;
        }
    }
    return rm_fraction_apply('/', (rm_fraction){ p, 1 }, (rm_fraction){ q, 1 }, out);
}

static void spell_sign(char sign, rm_text *out)
{
    static const struct { char sign; const char *text; } names[] = {
        { SIGN_LE, "<=" }, { SIGN_GE, ">=" }, { SIGN_PLUS_MINUS, "\\pm " },
        { SIGN_MINUS_PLUS, "\\mp " }, { SIGN_UNION, "\\cup " }, { SIGN_IN, "\\in " },
        { SIGN_DEGREE, "\\degree " }, { SIGN_SET_OPEN, "\\{" }, { SIGN_SET_CLOSE, "\\}" },
        { SIGN_ROW, "\\\\" }, { SIGN_OR, " or " }, { SIGN_AND, " and " },
        { SIGN_INFINITY, "\\infty " },
    };
    for (int i = 0; i < COUNT(names); i++)
        if (names[i].sign == sign) {
            rm_text_puts(out, names[i].text);
            return;
        }
    rm_text_add(out, &sign, 1);
}

void math_spell(const math_token *t, int from, int to, rm_text *out)
{
    for (int i = from; i < to; i++) {
        bool after_word = i > from && (t[i - 1].kind == MATH_WORD || t[i - 1].kind == MATH_LETTER
                                       || t[i - 1].kind == MATH_NUMBER);
        switch ((math_kind)t[i].kind) {
        case MATH_NUMBER:
            if (after_word && t[i].blank)
                rm_text_puts(out, " ");
            for (size_t k = 0; k < t[i].length; k++)
                if (is_digit(t[i].text[k]) || t[i].text[k] == '.')
                    rm_text_add(out, t[i].text + k, 1);
            break;
        case MATH_LETTER:
        case MATH_WORD:
            if (after_word && (t[i].blank || t[i].kind == MATH_WORD))
                rm_text_puts(out, " ");
            for (size_t k = 0; k < t[i].length; k++) {
                char c = t[i].text[k];
                c = t[i].kind == MATH_WORD && c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
                rm_text_add(out, &c, 1);
            }
            break;
        case MATH_COMMAND:
            rm_text_printf(out, "\\%.*s ", (int)t[i].length, t[i].text);
            break;
        case MATH_BEGIN:
        case MATH_END:
            rm_text_printf(out, "\\%s{%.*s}", t[i].kind == MATH_BEGIN ? "begin" : "end",
                           (int)t[i].length, t[i].text);
            break;
        case MATH_SIGN:
            spell_sign(t[i].sign, out);
            break;
        }
    }
}
