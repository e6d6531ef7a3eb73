/* json_write.c - the writer of json.h: straight into an rm_text, no tree in between. */
#include "base/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rm_json_quote(rm_text *out, const char *bytes, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    rm_text_add(out, "\"", 1);
    size_t valid = rm_utf8_valid_prefix(bytes, n);
    while (n) {
        size_t run = 0; /* bytes that stand for themselves */
        while (run < valid && bytes[run] != '"' && bytes[run] != '\\'
               && (unsigned char)bytes[run] >= 0x20)
            run++;
        rm_text_add(out, bytes, run);
        bytes += run;
        n -= run;
        valid -= run;
        if (!n)
            break;
        if (!valid) {
            rm_text_puts(out, "\xEF\xBF\xBD"); /* U+FFFD for one byte that is not UTF-8 */
            valid = 1 + rm_utf8_valid_prefix(bytes + 1, n - 1);
        } else {
            unsigned char c = (unsigned char)*bytes;
            static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
            const char *known = c ? strchr(from, c) : NULL;
            if (known)
                rm_text_add(out, (char[2]){ '\\', to[known - from] }, 2);
            else
                rm_text_add(out, (char[6]){ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6);
        }
        bytes++;
        n--;
        valid--;
    }
    rm_text_add(out, "\"", 1);
}

void rm_json_number(rm_text *out, double value)
{
    char digits[40];
    if (!isfinite(value)) {
        rm_text_puts(out, "null");
        return;
    }
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    /* A locale may have put another decimal point there, even one of several bytes. */
    bool point = false;
    for (const char *p = digits; *p; p++) {
        if (strchr("0123456789+-e", *p))
            rm_text_add(out, p, 1);
        else if (!point)
            rm_text_add(out, ".", 1);
        point = point || !strchr("0123456789+-e", *p);
    }
}

/* Everything that stands before a value: comma, line break, indentation, key. */
static void lead(rm_json_writer *w, const char *key)
{
    if (w->depth > 0) {
        bool *filled = &w->filled[w->depth - 1];
        if (*filled)
            rm_text_add(w->out, ",", 1);
        *filled = true;
        if (w->pretty)
            rm_text_printf(w->out, "\n%*s", 2 * w->depth, "");
    }
    if (key) {
        rm_json_quote(w->out, key, strlen(key));
        rm_text_puts(w->out, w->pretty ? ": " : ":");
    }
}

static void open_container(rm_json_writer *w, const char *key, char opening, char closing)
{
    assert(w->depth < RM_JSON_WRITER_DEPTH);
    lead(w, key);
    rm_text_add(w->out, &opening, 1);
    w->filled[w->depth] = false;
    w->closing[w->depth++] = closing;
}

void rm_json_object(rm_json_writer *w, const char *key)
{
    open_container(w, key, '{', '}');
}

void rm_json_array(rm_json_writer *w, const char *key)
{
    open_container(w, key, '[', ']');
}

void rm_json_end(rm_json_writer *w)
{
    assert(w->depth > 0);
    w->depth--;
    if (w->pretty && w->filled[w->depth])
        rm_text_printf(w->out, "\n%*s", 2 * w->depth, "");
    rm_text_add(w->out, &w->closing[w->depth], 1);
}

void rm_json_string_n(rm_json_writer *w, const char *key, const char *bytes, size_t n)
{
    lead(w, key);
    rm_json_quote(w->out, bytes, n);
}

void rm_json_string(rm_json_writer *w, const char *key, const char *string)
{
    if (string)
        rm_json_string_n(w, key, string, strlen(string));
    else
        rm_json_null(w, key);
}

void rm_json_int(rm_json_writer *w, const char *key, int64_t value)
{
    lead(w, key);
    rm_text_printf(w->out, "%" PRId64, value);
}

void rm_json_uint(rm_json_writer *w, const char *key, uint64_t value)
{
    lead(w, key);
    rm_text_printf(w->out, "%" PRIu64, value);
}

void rm_json_real(rm_json_writer *w, const char *key, double value)
{
    lead(w, key);
    rm_json_number(w->out, value);
}

void rm_json_bool(rm_json_writer *w, const char *key, bool value)
{
    rm_json_raw(w, key, value ? "true" : "false");
}

void rm_json_null(rm_json_writer *w, const char *key)
{
    rm_json_raw(w, key, "null");
}

void rm_json_raw(rm_json_writer *w, const char *key, const char *json)
{
    lead(w, key);
    rm_text_puts(w->out, json);
}
