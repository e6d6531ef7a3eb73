/* jinja_lex.c - a template's source to tokens.
 *
 * Outside of tags everything is text, and most of the rules are about the blanks around tags
 * (Jinja2 3.1, lexer.py, with trim_blocks and lstrip_blocks):
 *
 *   {%-  {{-  {#-     the text before loses its trailing whitespace
 *   {%   {#           the text before loses blanks back to the line's beginning, if there is
 *                     nothing else on it
 *   {%+  {#+          it loses nothing
 *   -%}  -}}  -#}     all whitespace behind is dropped
 *   %}   #}           one line break behind is dropped
 *   +%}  +#}          nothing is dropped
 *
 * {% raw %} ... {% endraw %} is text. Line breaks are \n, \r\n or \r and become \n; the last one of
 * the source does not count. */
#include "experiments/chat/jinja_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct lexer {
    jinja_arena *arena;
    const char *name;
    char *text;              /* line breaks normalised */
    size_t n, at;
    size_t counted;          /* `line` is that of text[counted] */
    int line;
    bool line_start;         /* the last token ended with a line break */
    jinja_token *tokens;
    size_t n_tokens, capacity;
    char closers[RM_JINJA_MAX_NESTING]; /* open brackets of an expression */
    int n_closers;
    rm_error *err;
} lexer;

static rm_status lex_fail(lexer *l, int line, const char *what)
{
    return rm_fail(l->err, RM_E_FORMAT, "%s:%d: %s", l->name, line, what);
}

static int line_at(lexer *l, size_t at)
{
    for (; l->counted < at; l->counted++)
        l->line += l->text[l->counted] == '\n';
    return l->line;
}

static rm_status no_memory(lexer *l)
{
    return rm_fail(l->err, RM_E_MEMORY, "%s: no memory for the template", l->name);
}

static rm_status add(lexer *l, jinja_token token)
{
    if (l->n_tokens == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 256;
        jinja_token *tokens = jinja_arena_alloc(l->arena, capacity * sizeof *tokens);
        if (!tokens)
            return no_memory(l);
        if (l->n_tokens)
            memcpy(tokens, l->tokens, l->n_tokens * sizeof *tokens);
        l->tokens = tokens;
        l->capacity = capacity;
    }
    l->tokens[l->n_tokens++] = token;
    return RM_OK;
}

static rm_status add_text(lexer *l, size_t from, size_t to)
{
    if (from >= to)
        return RM_OK;
    return add(l, (jinja_token){ .type = JINJA_T_TEXT, .line = line_at(l, from),
                                 .bytes = l->text + from, .n = to - from });
}

/* The end of text[from..to) without the whitespace at its end. */
static size_t without_space(const lexer *l, size_t from, size_t to)
{
    while (to > from) {
        size_t at = to - 1;
        while (at > from && ((unsigned char)l->text[at] & 0xc0) == 0x80)
            at--;
        if (!jinja_is_space(jinja_char(l->text + at, to - at)))
            break;
        to = at;
    }
    return to;
}

/* The position behind the whitespace at `at`. */
static size_t skip_space(const lexer *l, size_t at)
{
    while (at < l->n) {
        size_t n = jinja_char_bytes(l->text + at, l->text + l->n);
        if (!jinja_is_space(jinja_char(l->text + at, n)))
            break;
        at += n;
    }
    return at;
}

/* Text in front of a tag: `sign` is the character behind the tag's opening. */
static size_t trimmed_end(const lexer *l, size_t from, size_t to, char sign, bool print)
{
    if (sign == '-')
        return without_space(l, from, to);
    if (sign == '+' || print)
        return to;
    size_t start = to;
    while (start > from && l->text[start - 1] != '\n')
        start--;
    if (start == from && !l->line_start)
        return to; /* something else stands in front on this line */
    return without_space(l, start, to) == start ? start : to;
}

/* Behind the closing of a block or comment, `minus` and `plus` its sign. */
static size_t behind_block(const lexer *l, size_t at, char sign)
{
    if (sign == '-')
        return skip_space(l, at);
    return sign != '+' && at < l->n && l->text[at] == '\n' ? at + 1 : at;
}

static void moved_to(lexer *l, size_t at)
{
    l->line_start = at > 0 && l->text[at - 1] == '\n';
    l->at = at;
}

/* ---- inside of tags --------------------------------------------------------------------- */

static bool is_name_byte(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80
           || (!first && c >= '0' && c <= '9');
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static size_t put_char(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | c);
    return n;
}

/* One escape behind a backslash at s[*at], as Python reads it; unknown ones stay as written. */
static bool unescape(const char *s, size_t n, size_t *at, char *out, size_t *n_out)
{
    static const char plain[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    char c = s[*at];
    for (size_t i = 0; i < sizeof plain - 1; i += 2)
        if (c == plain[i]) {
            out[(*n_out)++] = plain[i + 1];
            ++*at;
            return true;
        }
    if (c == '\n') {
        ++*at;
        return true;
    }
    size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t value = 0;
    if (c >= '0' && c <= '7') {
        for (size_t i = 0; i < 3 && *at < n && s[*at] >= '0' && s[*at] <= '7'; i++)
            value = value * 8 + (uint32_t)(s[(*at)++] - '0');
    } else if (digits) {
        ++*at;
        for (size_t i = 0; i < digits; i++, ++*at) {
            int digit = *at < n ? hex_digit(s[*at]) : -1;
            if (digit < 0 || value > 0x10ffff)
                return false;
            value = value * 16 + (uint32_t)digit;
        }
    } else {
        out[(*n_out)++] = '\\';
        return c != 'N';
    }
    if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000) || value == 0)
        return false;
    *n_out += put_char(out + *n_out, value);
    return true;
}

static rm_status lex_string(lexer *l)
{
    size_t start = l->at + 1, end = start;
    char quote = l->text[l->at];
    int line = line_at(l, l->at);
    while (end < l->n && l->text[end] != quote)
        end += l->text[end] == '\\' && end + 1 < l->n ? 2 : 1;
    if (end >= l->n)
        return lex_fail(l, line, "a string without an end");
    char *out = jinja_arena_alloc(l->arena, end - start + 1);
    size_t n = 0;
    if (!out)
        return no_memory(l);
    for (size_t at = start; at < end;) {
        if (l->text[at] != '\\') {
            out[n++] = l->text[at++];
            continue;
        }
        at++;
        if (!unescape(l->text, end, &at, out, &n))
            return lex_fail(l, line, "an escape in a string that names no character");
    }
    l->at = end + 1;
    return add(l, (jinja_token){ .type = JINJA_T_STRING, .line = line, .bytes = out, .n = n });
}

/* Decimal integers and floats, underscores between digits; 0x, 0o and 0b are not used. */
static rm_status lex_number(lexer *l)
{
    char digits[64];
    size_t n = 0, at = l->at;
    bool real = false;
    int line = line_at(l, at);
    for (; at < l->n && n < sizeof digits - 1; at++) {
        char c = l->text[at], next = at + 1 < l->n ? l->text[at + 1] : '\0';
        bool digit = c >= '0' && c <= '9', next_digit = next >= '0' && next <= '9';
        if (c == '_' && next_digit)
            continue;
        if (c == '.' && !real && next_digit && !memchr(digits, 'e', n))
            real = true;
        else if ((c == 'e' || c == 'E') && !memchr(digits, 'e', n)
                 && (next_digit || ((next == '+' || next == '-') && at + 2 < l->n
                                    && l->text[at + 2] >= '0' && l->text[at + 2] <= '9'))) {
            real = true;
            digits[n++] = 'e';
            if (!next_digit)
                digits[n++] = l->text[++at];
            continue;
        } else if (!digit)
            break;
        digits[n++] = c;
    }
    digits[n] = '\0';
    if (n >= sizeof digits - 2 || (at < l->n && is_name_byte(l->text[at], true)))
        return lex_fail(l, line, "a number that is too long or not decimal");
    jinja_token token = { .type = real ? JINJA_T_FLOAT : JINJA_T_INT, .line = line };
    errno = 0;
    token.number = real ? jinja_float(strtod(digits, NULL)) : jinja_int(strtoll(digits, NULL, 10));
    if (!real && errno == ERANGE)
        return lex_fail(l, line, "a number outside the range");
    l->at = at;
    return add(l, token);
}

static rm_status lex_operator(lexer *l)
{
    static const char two[][3] = { "==", "!=", "<=", ">=", "//", "**" };
    static const char one[] = "+-*/%~<>=()[]{}.,:|;", open[] = "([{", close[] = ")]}";
    char c = l->text[l->at], next = l->at + 1 < l->n ? l->text[l->at + 1] : '\0';
    jinja_token token = { .type = JINJA_T_OPERATOR, .line = line_at(l, l->at), .n = 1 };
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (c == two[i][0] && next == two[i][1])
            token.n = 2;
    if (token.n == 1 && (!c || !strchr(one, c)))
        return rm_fail(l->err, RM_E_FORMAT, "%s:%d: unexpected character with code %u", l->name,
                       token.line, (unsigned)(unsigned char)c);
    token.operator = (uint16_t)((unsigned char)c
                                | (token.n == 2 ? (unsigned)(unsigned char)next << 8 : 0u));
    const char *opening = token.n == 1 ? strchr(open, c) : NULL;
    if (opening) {
        if (l->n_closers == RM_JINJA_MAX_NESTING)
            return lex_fail(l, token.line, "brackets are nested too deep");
        l->closers[l->n_closers++] = close[opening - open];
    } else if (token.n == 1 && strchr(close, c)) {
        if (!l->n_closers || l->closers[l->n_closers - 1] != c)
            return lex_fail(l, token.line, "a closing bracket that closes nothing");
        l->n_closers--;
    }
    l->at += token.n;
    return add(l, token);
}

/* The tokens of a tag up to its end. */
static rm_status lex_tag(lexer *l, bool print)
{
    const char *close = print ? "}}" : "%}";
    int line = line_at(l, l->at);
    rm_status st = RM_OK;
    l->n_closers = 0;
    while (!st) {
        l->at = skip_space(l, l->at);
        size_t at = l->at, sign = at < l->n && (l->text[at] == '-'
                                                || (l->text[at] == '+' && !print));
        if (at >= l->n)
            return rm_fail(l->err, RM_E_FORMAT, "%s:%d: this %s has no %s", l->name, line,
                           print ? "{{" : "{%", close);
        if (!l->n_closers && l->n - at >= sign + 2 && !memcmp(l->text + at + sign, close, 2)) {
            char s = sign ? l->text[at] : '\0';
            st = add(l, (jinja_token){ .type = print ? JINJA_T_PRINT_END : JINJA_T_BLOCK_END,
                                       .line = line_at(l, at) });
            at += sign + 2;
            moved_to(l, print ? (s == '-' ? skip_space(l, at) : at) : behind_block(l, at, s));
            return st;
        }
        char c = l->text[at];
        if (is_name_byte(c, true)) {
            size_t end = at;
            while (end < l->n && is_name_byte(l->text[end], false))
                end++;
            st = add(l, (jinja_token){ .type = JINJA_T_NAME, .line = line_at(l, at),
                                       .bytes = l->text + at, .n = end - at });
            l->at = end;
        } else if (c >= '0' && c <= '9') {
            st = lex_number(l);
        } else if (c == '"' || c == '\'') {
            st = lex_string(l);
        } else {
            st = lex_operator(l);
        }
    }
    return st;
}

/* ---- text ------------------------------------------------------------------------------- */

/* Is text[at] "{%" WORD "%}", signs and blanks allowed? *end is behind it, *sign that of the
 * end. */
static bool is_word_block(const lexer *l, size_t at, const char *word, size_t *end, char *sign)
{
    size_t n = strlen(word);
    if (l->n - at < 2 || memcmp(l->text + at, "{%", 2) != 0)
        return false;
    at += 2;
    at += at < l->n && (l->text[at] == '-' || l->text[at] == '+');
    at = skip_space(l, at);
    if (l->n - at < n || memcmp(l->text + at, word, n) != 0)
        return false;
    at = skip_space(l, at + n);
    *sign = at < l->n && (l->text[at] == '-' || l->text[at] == '+') ? l->text[at] : '\0';
    at += *sign != '\0';
    *end = at + 2;
    return l->n - at >= 2 && !memcmp(l->text + at, "%}", 2);
}

static rm_status lex_raw(lexer *l, size_t begin)
{
    size_t end = 0;
    char sign;
    int line = line_at(l, l->at);
    for (size_t at = begin; at + 1 < l->n; at++) {
        if (!is_word_block(l, at, "endraw", &end, &sign))
            continue;
        rm_status st = add_text(l, begin, trimmed_end(l, begin, at, l->text[at + 2], false));
        moved_to(l, behind_block(l, end, sign));
        return st;
    }
    return lex_fail(l, line, "{% raw %} without {% endraw %}");
}

static rm_status lex_comment(lexer *l, size_t at)
{
    int line = line_at(l, at);
    size_t first = at + 2;
    first += first < l->n && (l->text[first] == '-' || l->text[first] == '+');
    for (size_t i = first; i + 1 < l->n; i++)
        if (l->text[i] == '#' && l->text[i + 1] == '}') {
            char sign = i > first ? l->text[i - 1] : '\0';
            moved_to(l, behind_block(l, i + 2, sign));
            return RM_OK;
        }
    return lex_fail(l, line, "a comment {# without #}");
}

static rm_status lex_all(lexer *l)
{
    l->line_start = true;
    while (l->at < l->n) {
        size_t from = l->at, at = from;
        while (at + 1 < l->n && !(l->text[at] == '{' && l->text[at + 1]
                                  && strchr("%{#", l->text[at + 1])))
            at++;
        if (at + 1 >= l->n)
            return add_text(l, from, l->n);
        char kind = l->text[at + 1], sign = at + 2 < l->n ? l->text[at + 2] : '\0';
        size_t raw_end;
        char raw_sign;
        rm_status st = add_text(l, from, trimmed_end(l, from, at, sign, kind == '{'));
        if (st)
            return st;
        l->at = at;
        if (kind == '%' && is_word_block(l, at, "raw", &raw_end, &raw_sign) && raw_sign != '+') {
            l->line_start = raw_end > 0 && l->text[raw_end - 1] == '\n';
            st = lex_raw(l, raw_sign == '-' ? skip_space(l, raw_end) : raw_end);
        } else if (kind == '#') {
            st = lex_comment(l, at);
        } else {
            st = add(l, (jinja_token){ .type = kind == '{' ? JINJA_T_PRINT : JINJA_T_BLOCK,
                                       .line = line_at(l, at) });
            l->at = at + 2 + (sign == '-' || sign == '+');
            if (!st)
                st = lex_tag(l, kind == '{');
        }
        if (st)
            return st;
    }
    return RM_OK;
}

rm_status jinja_lex(jinja_arena *arena, const char *source, size_t n, const char *name,
                    jinja_token **tokens, rm_error *err)
{
    lexer l = { .arena = arena, .name = name, .line = 1, .err = err };
    if (!(l.text = jinja_arena_alloc(arena, n + 1)))
        return no_memory(&l);
    for (size_t i = 0; i < n; i++)
        if (source[i] != '\r')
            l.text[l.n++] = source[i];
        else if (i + 1 >= n || source[i + 1] != '\n')
            l.text[l.n++] = '\n';
    l.n -= l.n && l.text[l.n - 1] == '\n';
    l.text[l.n] = '\0';
    rm_status st = lex_all(&l);
    if (!st)
        st = add(&l, (jinja_token){ .type = JINJA_T_END, .line = line_at(&l, l.n) });
    if (!st)
        *tokens = l.tokens;
    return st;
}
