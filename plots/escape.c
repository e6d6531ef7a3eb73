/* escape.c - HTML, Markdown and LaTeX escapes, base64 (RFC 4648), file names. */
#include "plots/escape.h"

#include <ctype.h>
#include <string.h>

/* Bytes of the character at p (of at most n), 0 if p is not valid UTF-8. */
static size_t char_length(const char *p, size_t n)
{
    for (size_t k = 1; k <= 4 && k <= n; k++)
        if (rm_utf8_valid_prefix(p, k) == k)
            return k;
    return 0;
}

static bool is_control(const char *p)
{
    unsigned char c = (unsigned char)p[0];
    return c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)p[1] < 0xa0);
}

/* Hands the text over character by character to `one`, which appends a whole, valid, printable
 * character (or '\n', '\t'). */
static void walk(rm_text *out, const char *text, void (*one)(rm_text *, const char *, size_t))
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        size_t k = char_length(text + i, n - i);
        if (k == 0) {
            rm_text_puts(out, "\xef\xbf\xbd");
            k = 1;
        } else if (is_control(text + i) && text[i] != '\n' && text[i] != '\t') {
            rm_text_puts(out, text[i] == '\r' ? "" : "\xef\xbf\xbd");
        } else {
            one(out, text + i, k);
        }
        i += k;
    }
}

static void html_char(rm_text *out, const char *p, size_t k)
{
    switch (*p) {
    case '&':
        rm_text_puts(out, "&amp;");
        break;
    case '<':
        rm_text_puts(out, "&lt;");
        break;
    case '>':
        rm_text_puts(out, "&gt;");
        break;
    case '"':
        rm_text_puts(out, "&quot;");
        break;
    case '\'':
        rm_text_puts(out, "&#39;");
        break;
    default:
        rm_text_add(out, p, k);
    }
}

void fig_html(rm_text *out, const char *text)
{
    walk(out, text, html_char);
}

static void markdown_char(rm_text *out, const char *p, size_t k)
{
    if (*p == '\n' || *p == '\t')
        rm_text_puts(out, " ");
    else if (*p == '&')
        rm_text_puts(out, "&amp;");
    else if (*p == '<')
        rm_text_puts(out, "&lt;");
    else if (*p == '>')
        rm_text_puts(out, "&gt;");
    else if (k == 1 && strchr("\\`*_{}[]#|~!$", *p))
        rm_text_printf(out, "\\%c", *p);
    else
        rm_text_add(out, p, k);
}

void fig_markdown(rm_text *out, const char *text)
{
    walk(out, text, markdown_char);
}

/* clang-format off */
static const struct { const char *from, *to; } latex_table[] = {
    { "\\", "\\textbackslash{}" }, { "{", "\\{" }, { "}", "\\}" }, { "$", "\\$" },
    { "&", "\\&" }, { "#", "\\#" }, { "%", "\\%" }, { "_", "\\_" },
    { "^", "\\textasciicircum{}" }, { "~", "\\textasciitilde{}" },
    { "<", "\\textless{}" }, { ">", "\\textgreater{}" }, { "|", "\\textbar{}" },
    { "\"", "\\char34{}" }, { "`", "\\textasciigrave{}" },
    { "\n", " " }, { "\t", " " },
    { "−", "$-$" }, { "–", "--" }, { "—", "---" }, { "…", "\\ldots{}" }, { "†", "\\textdagger{}" },
    { "‡", "\\textdaggerdbl{}" }, { "∞", "$\\infty$" }, { "±", "$\\pm$" }, { "×", "$\\times$" },
    { "·", "$\\cdot$" }, { "Δ", "$\\Delta$" }, { "δ", "$\\delta$" }, { "≤", "$\\le$" },
    { "≥", "$\\ge$" }, { "\xc2\xa0", "~" }, { "\xef\xbf\xbd", "?" },
};
/* clang-format on */

static void latex_char(rm_text *out, const char *p, size_t k)
{
    /* "--" and "''" would become a dash and a closing quote */
    if ((*p == '-' || *p == '\'') && out->length && out->data[out->length - 1] == *p)
        rm_text_puts(out, "{}");
    for (size_t i = 0; i < sizeof latex_table / sizeof *latex_table; i++)
        if (strlen(latex_table[i].from) == k && !memcmp(latex_table[i].from, p, k)) {
            rm_text_puts(out, latex_table[i].to);
            return;
        }
    rm_text_add(out, p, k);
}

void fig_latex(rm_text *out, const char *text)
{
    size_t from = out->length;
    walk(out, text, latex_char);
    /* what walk itself put in for broken bytes */
    for (size_t i = from; !out->failed && i + 3 <= out->length; i++)
        if (!memcmp(out->data + i, "\xef\xbf\xbd", 3)) {
            out->data[i] = '?';
            memmove(out->data + i + 1, out->data + i + 3, out->length - i - 2);
            out->length -= 2;
        }
}

void fig_markdown_block(rm_text *out, const char *info, const char *text)
{
    size_t longest = 2, run = 0;
    for (const char *p = text; *p; p++) {
        run = *p == '`' ? run + 1 : 0;
        if (run > longest)
            longest = run;
    }
    for (int end = 0; end < 2; end++) {
        for (size_t i = 0; i <= longest; i++)
            rm_text_puts(out, "`");
        if (!end) {
            rm_text_printf(out, "%s\n%s", info, text);
            size_t n = strlen(text);
            if (!n || text[n - 1] != '\n')
                rm_text_puts(out, "\n");
        }
    }
    rm_text_puts(out, "\n\n");
}

void fig_base64(rm_text *out, const char *bytes, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)bytes;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16;
        if (i + 1 < n)
            v |= (uint32_t)p[i + 1] << 8;
        if (i + 2 < n)
            v |= p[i + 2];
        char four[4] = { digit[v >> 18], digit[v >> 12 & 63], i + 1 < n ? digit[v >> 6 & 63] : '=',
                         i + 2 < n ? digit[v & 63] : '=' };
        rm_text_add(out, four, 4);
    }
}

void fig_slug(rm_text *out, const char *text)
{
    size_t n = 0;
    for (const char *p = text; *p && n < 80; p++, n++) {
        unsigned char c = (unsigned char)*p;
        char safe = c < 0x80 && (isalnum(c) || strchr("._-", c)) ? (char)c : '-';
        if (!n && safe == '.')
            safe = '-'; /* no hidden files, no ".." */
        rm_text_add(out, &safe, 1);
    }
    if (!n)
        rm_text_puts(out, "-");
}
