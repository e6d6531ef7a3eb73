/* events.c - server-sent events, as they arrive (WHATWG HTML Living Standard, section 9.2.6).
 *
 *     stream  = lines that end in LF, CR or CR LF; a byte-order mark may stand in front
 *     line    = "data:" text | ":" comment | other field, ignored | empty: the event is complete
 *     event   = its data lines, joined by LF; one without a data line is none
 *
 * One blank after the colon belongs to the syntax. Bytes come in pieces that end anywhere, within a
 * line, between CR and LF, within a character: nothing is looked at before its line is complete.
 * What stands after the last empty line is an event that was cut off, and is not one. */
#include "engine/remote/private.h"

#include <string.h>

enum { MAX_EVENT = 64 << 20 };

void remote_events_free(remote_events *e)
{
    rm_text_free(&e->line);
    rm_text_free(&e->data);
    *e = (remote_events){ 0 };
}

static rm_status too_long(rm_error *err)
{
    return rm_fail(err, RM_E_FORMAT, "an event of the server's stream has more than %d MiB",
                   MAX_EVENT >> 20);
}

/* A complete line, without its end. */
static rm_status take_line(remote_events *e, remote_event *event, void *arg, rm_error *err)
{
    static const char mark[] = "\xEF\xBB\xBF", field[] = "data";
    const char *line = e->line.data ? e->line.data : "";
    size_t n = e->line.length, n_field = sizeof field - 1;
    if (!e->begun && n >= 3 && !memcmp(line, mark, 3)) {
        line += 3;
        n -= 3;
    }
    e->begun = true;
    if (!n) { /* the event is complete */
        rm_status status = e->has_data ? event(arg, e->data.data ? e->data.data : "", e->data.length,
                                               err) : RM_OK;
        e->data.length = 0;
        e->has_data = false;
        return status;
    }
    if (n < n_field || memcmp(line, field, n_field) || (n > n_field && line[n_field] != ':'))
        return RM_OK; /* a comment, or a field that says nothing here */
    size_t skip = n_field + (n > n_field);
    skip += skip < n && line[skip] == ' ';
    if (e->has_data)
        rm_text_puts(&e->data, "\n");
    rm_text_add(&e->data, line + skip, n - skip);
    e->has_data = true;
    return e->data.length > MAX_EVENT ? too_long(err) : RM_OK;
}

rm_status remote_events_feed(remote_events *e, const char *bytes, size_t n, remote_event *event,
                             void *arg, rm_error *err)
{
    rm_status status = RM_OK;
    if (n && e->after_cr && *bytes == '\n')
        bytes++, n--;
    e->after_cr = n ? false : e->after_cr;
    while (n && !status) {
        const char *lf = memchr(bytes, '\n', n), *cr = memchr(bytes, '\r', lf ? (size_t)(lf - bytes) : n);
        const char *end = cr ? cr : lf;
        size_t part = end ? (size_t)(end - bytes) : n;
        rm_text_add(&e->line, bytes, part);
        if (e->line.length > MAX_EVENT)
            return too_long(err);
        if (e->line.failed || e->data.failed)
            return rm_fail(err, RM_E_MEMORY, "no memory for a server's stream");
        bytes += part;
        n -= part;
        if (!end)
            break;
        status = take_line(e, event, arg, err);
        e->line.length = 0;
        size_t eol = cr && n > 1 && bytes[1] == '\n' ? 2 : 1;
        e->after_cr = cr && n == 1;
        bytes += eol;
        n -= eol;
    }
    return !status && e->data.failed ? rm_fail(err, RM_E_MEMORY, "no memory for a server's stream")
                                     : status;
}
