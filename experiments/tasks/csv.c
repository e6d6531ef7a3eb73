/* csv.c - comma-separated values as RFC 4180 has them.
 *
 *     file   = row { line-break row }          line breaks are LF or CRLF
 *     field  = plain | '"' { any | '""' } '"'  plain holds no comma, quote or line break
 *
 * One pass over the text, unquoting in place: the written end of a field never overtakes what is
 * read. Blank lines are skipped; all rows must have as many fields as the first, the header. */
#include "experiments/tasks/kinds.h"

#include <stdlib.h>
#include <string.h>

void rm_csv_free(rm_csv *csv)
{
    free(csv->text);
    free(csv->fields);
    free(csv->row_start);
    free(csv->row_line);
    *csv = (rm_csv){ 0 };
}

typedef struct reader {
    rm_csv *csv;
    const char *name;
    char *text;
    size_t n, at, line;
    size_t n_all, fields_capacity, rows_capacity;
    rm_error *err;
} reader;

static bool reserve(void **list, size_t size, size_t n, size_t *capacity)
{
    if (n < *capacity)
        return true;
    size_t larger = *capacity ? 2 * *capacity : 64;
    void *moved = realloc(*list, larger * size);
    if (!moved)
        return false;
    *list = moved;
    *capacity = larger;
    return true;
}

static rm_status out_of_memory(const reader *r)
{
    return rm_fail(r->err, RM_E_MEMORY, "%s: out of memory for its rows", r->name);
}

/* Reads one field and terminates it; *last tells that the row ends with it. */
static rm_status read_field(reader *r, bool *last)
{
    char *s = r->text;
    size_t begin_line = r->line, out = r->at, start = r->at;
    if (!reserve((void **)&r->csv->fields, sizeof *r->csv->fields, r->n_all, &r->fields_capacity))
        return out_of_memory(r);
    r->csv->fields[r->n_all++] = s + start;
    bool quoted = r->at < r->n && s[r->at] == '"';
    if (quoted) {
        for (r->at++;; r->at++) {
            if (r->at >= r->n)
                return rm_fail(r->err, RM_E_FORMAT, "%s:%zu: a quoted field is never closed",
                               r->name, begin_line);
            if (s[r->at] == '"' && !(r->at + 1 < r->n && s[r->at + 1] == '"'))
                break;
            r->at += s[r->at] == '"';
            r->line += s[r->at] == '\n';
            s[out++] = s[r->at];
        }
        r->at++;
    } else {
        while (r->at < r->n && !strchr(",\"\n", s[r->at])) {
            s[out++] = s[r->at];
            r->at++;
        }
    }
    /* What follows a field: a comma, a line break, the end. */
    bool carriage = r->at + 1 < r->n && s[r->at] == '\r' && s[r->at + 1] == '\n';
    r->at += carriage;
    if (r->at < r->n && s[r->at] != ',' && s[r->at] != '\n')
        return rm_fail(r->err, RM_E_FORMAT, "%s:%zu: expected a comma or the end of the line after "
                       "a field; a field with quotes in it must be quoted", r->name, r->line);
    *last = r->at >= r->n || s[r->at] == '\n';
    bool more = r->at < r->n;
    r->at += more;
    r->line += more && *last;
    if (!quoted && out > start && s[out - 1] == '\r' && *last)
        out--; /* CRLF behind a plain field */
    s[out] = '\0';
    return RM_OK;
}

static rm_status read_row(reader *r)
{
    rm_csv *csv = r->csv;
    size_t capacity = r->rows_capacity;
    if (!reserve((void **)&csv->row_start, sizeof *csv->row_start, csv->n_rows + 1, &capacity))
        return out_of_memory(r);
    if (!reserve((void **)&csv->row_line, sizeof *csv->row_line, csv->n_rows + 1,
                 &r->rows_capacity))
        return out_of_memory(r);
    csv->row_start[csv->n_rows] = r->n_all;
    csv->row_line[csv->n_rows] = r->line;
    for (bool last = false; !last;) {
        rm_status st = read_field(r, &last);
        if (st)
            return st;
    }
    size_t n_fields = r->n_all - csv->row_start[csv->n_rows];
    if (csv->n_rows == 0)
        csv->n_fields = n_fields;
    else if (n_fields != csv->n_fields)
        return rm_fail(r->err, RM_E_FORMAT, "%s:%zu: this row has %zu fields; expected %zu, as "
                       "in the first", r->name, csv->row_line[csv->n_rows], n_fields,
                       csv->n_fields);
    csv->row_start[++csv->n_rows] = r->n_all;
    return RM_OK;
}

/* Takes `text` over; it has a NUL after its n bytes. */
rm_status rm_csv_parse(const char *name, char *text, size_t n, rm_csv *csv, rm_error *err)
{
    *csv = (rm_csv){ .text = text };
    reader r = { .csv = csv, .name = name, .text = text, .n = n, .line = 1, .err = err };
    rm_status st = RM_OK;
    size_t valid = rm_utf8_valid_prefix(text, n);
    if (valid < n || memchr(text, '\0', n)) {
        size_t line = 1, bad = valid < n ? valid : strlen(text);
        for (size_t i = 0; i < bad; i++)
            line += text[i] == '\n';
        st = rm_fail(err, RM_E_FORMAT, "%s:%zu: a byte here is not UTF-8 text", name, line);
    }
    if (n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3))
        r.at = 3;
    while (!st && r.at < n) {
        if (text[r.at] == '\n' || (text[r.at] == '\r' && text[r.at + 1] == '\n')) {
            r.at += text[r.at] == '\r' ? 2 : 1;
            r.line++;
            continue;
        }
        st = read_row(&r);
    }
    if (!st && csv->n_rows == 0)
        st = rm_fail(err, RM_E_FORMAT, "%s: is empty; expected a header and rows", name);
    if (st)
        rm_csv_free(csv);
    return st;
}

rm_status rm_csv_read(const char *file, rm_csv *csv, uint64_t *hash, rm_error *err)
{
    char *text;
    size_t n;
    rm_status st = rm_file_read(file, (size_t)1 << 28, &text, &n, err);
    if (st)
        return st;
    *hash = rm_hash_bytes(text, n);
    return rm_csv_parse(file, text, n, csv, err);
}
