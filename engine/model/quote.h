/* quote.h - text from a file, made fit to stand in an error sentence.
 *
 * A hostile file could otherwise put newlines, terminal escapes, reordered text or broken UTF-8
 * into what the user reads. Printable characters stay; control characters (C0, DEL, C1), line
 * separators, the marks that change the direction of writing, quotes, backslashes and bytes of
 * invalid UTF-8 become \xNN; beyond 40 bytes of input three dots follow. */
#ifndef RM_ENGINE_MODEL_QUOTE_H
#define RM_ENGINE_MODEL_QUOTE_H

#include "base/base.h"

#include <stdio.h>

#define RM_QUOTE_BYTES 40

typedef struct rm_quote {
    char text[RM_QUOTE_BYTES * 4 + 8];
} rm_quote;

/* Does nothing but change how the characters around it are drawn: U+061C, U+200E, U+200F, U+2028 to
 * U+202E, U+2066 to U+2069 (UTF-8 sequences of valid text). */
static inline bool rm_steers_text(const unsigned char *c, size_t length)
{
    if (length == 2)
        return c[0] == 0xd8 && c[1] == 0x9c;
    if (length != 3 || c[0] != 0xe2)
        return false;
    return c[1] == 0x80 ? c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xa8 && c[2] <= 0xae)
                        : c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9;
}

/* Bytes of the printable character that n >= 1 bytes begin with; 0 if it is none. */
static inline size_t rm_printable(const char *bytes, size_t n)
{
    const unsigned char *c = (const unsigned char *)bytes;
    size_t length = c[0] < 0x80 ? 1 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
    if (length > n || rm_utf8_valid_prefix(bytes, length) != length)
        return 0;
    bool control = c[0] < ' ' || c[0] == 0x7f || (c[0] == 0xc2 && c[1] < 0xa0);
    return control || rm_steers_text(c, length) ? 0 : length;
}

/* The result lives in *q; returns q->text. */
static inline const char *rm_quoted(rm_quote *q, const char *bytes, size_t n)
{
    size_t at = 0, written = 0;
    while (at < n && at < RM_QUOTE_BYTES) {
        unsigned char c = (unsigned char)bytes[at];
        size_t length = rm_printable(bytes + at, n - at);
        bool plain = length && c != '"' && c != '\\';
        if (!plain) {
            written += (size_t)snprintf(q->text + written, 5, "\\x%02X", c);
            at++;
            continue;
        }
        while (length--)
            q->text[written++] = bytes[at++];
    }
    snprintf(q->text + written, 4, "%s", at < n ? "..." : "");
    return q->text;
}

#endif
