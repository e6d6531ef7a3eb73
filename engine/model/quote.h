/* quote.h - text from a file, made fit to stand in an error sentence.
 *
 * A hostile file could otherwise put newlines, terminal escapes or broken UTF-8 into what the
 * user reads. Printable characters stay; control characters (C0, DEL, C1), quotes, backslashes
 * and bytes of invalid UTF-8 become \xNN; beyond 40 bytes of input three dots follow. */
#ifndef RM_ENGINE_MODEL_QUOTE_H
#define RM_ENGINE_MODEL_QUOTE_H

#include "base/base.h"

#include <stdio.h>

#define RM_QUOTE_BYTES 40

typedef struct rm_quote {
    char text[RM_QUOTE_BYTES * 4 + 8];
} rm_quote;

/* The result lives in *q; returns q->text. */
static inline const char *rm_quoted(rm_quote *q, const char *bytes, size_t n)
{
    size_t at = 0, written = 0;
    while (at < n && at < RM_QUOTE_BYTES) {
        unsigned char c = (unsigned char)bytes[at];
        size_t length = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        bool plain = length <= n - at && rm_utf8_valid_prefix(bytes + at, length) == length &&
                     c >= ' ' && c != 0x7f && c != '"' && c != '\\' &&
                     !(c == 0xc2 && (unsigned char)bytes[at + 1] < 0xa0);
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
