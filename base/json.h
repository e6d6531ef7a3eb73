/* json.h - JSON in and out.
 *
 * Reading.  rm_json_parse builds a cJSON tree (walk it with cJSON's own accessors:
 *           cJSON_GetObjectItemCaseSensitive, cJSON_ArrayForEach, cJSON_IsString) and remembers
 *           where every item stood, so that whoever finds a value wrong can say "file:line:col".
 *           The grammar is RFC 8259 to the letter, which cJSON's own parser is not: it takes
 *           invalid UTF-8, cuts strings at \u0000 and numbers at 63 digits, keeps duplicate keys
 *           and has no positions. Only its tree and its accessors are used here.
 * Writing.  rm_json_writer appends to an rm_text as it goes; there is no tree. cJSON's printer
 *           rounds doubles to 15 digits and integers to doubles; this one does neither.
 *
 * Ownership.  The tree belongs to the rm_json it came from and lives until rm_json_free. */
#ifndef RM_JSON_H
#define RM_JSON_H

#include "base/base.h"

#include <cjson/cJSON.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- reading --------------------------------------------------------------------------- */

typedef struct rm_json rm_json;

enum {
    RM_JSON_COMMENTS = 1,   /* allow // comments and C comments between tokens */
    RM_JSON_NO_POSITIONS = 2 /* do not remember positions (bulk data); errors of the parser itself
                                still have them */
};

enum { RM_JSON_MAX_DEPTH = 256 };

/* Parses text[0..n). `name` and `first_line` (1 for a whole file) go into messages. Refused with
 * RM_E_FORMAT and "name:line:column: sentence": anything outside the grammar, invalid UTF-8, lone
 * surrogates, \u0000, duplicate keys in one object, numbers beyond a double, nesting deeper than
 * RM_JSON_MAX_DEPTH, anything after the value. A byte-order mark in front is skipped. */
RM_API rm_status rm_json_parse(const char *text, size_t n, const char *name, size_t first_line,
                               unsigned flags, rm_json **json, rm_error *err);
RM_API void rm_json_free(rm_json *);
RM_API const cJSON *rm_json_root(const rm_json *);

/* Line and column (in bytes), both from 1, of the first byte of an item of this tree; of its key
 * where it is a member of an object and `of_key`. Line 0 if the item is not of this tree. */
RM_API void rm_json_where(const rm_json *, const cJSON *item, bool of_key, size_t *line,
                          size_t *column);

/* Writes "name:line:column: sentence" for an item (NULL: "name: sentence"); returns `status`. */
RM_API rm_status rm_json_fail(rm_error *, rm_status status, const rm_json *, const cJSON *item,
                              const char *format, ...) RM_PRINTF(5, 6);

/* The exact value of a number written as a plain integer in [0, 2^64); false for all else. (A
 * cJSON number is a double, which holds integers only up to 2^53.) */
RM_API bool rm_json_get_uint(const rm_json *, const cJSON *item, uint64_t *value);

/* Reads a text of one JSON value a line. Start with *cursor = 0 and *line = 0; each call skips
 * blank lines, parses the next and moves on; *json is NULL at the end. Lines end in LF or CRLF;
 * a last line without either counts. Lines longer than 64 MiB are refused. */
RM_API rm_status rm_jsonl_next(const char *text, size_t n, const char *name, size_t *cursor,
                               size_t *line, rm_json **json, rm_error *);

/* ---- writing --------------------------------------------------------------------------- */

enum { RM_JSON_WRITER_DEPTH = 64 };

/* Zero-initialise and set `out`, and `pretty` for two-space indentation. A failed append is
 * remembered in out->failed, so one check at the end is enough. */
typedef struct rm_json_writer {
    rm_text *out;
    bool pretty;
    int depth;
    bool filled[RM_JSON_WRITER_DEPTH];  /* has the open container a member yet? */
    char closing[RM_JSON_WRITER_DEPTH]; /* '}' or ']' */
} rm_json_writer;

/* `key` names the value inside an object and is NULL inside an array and at the top. */
RM_API void rm_json_object(rm_json_writer *, const char *key);
RM_API void rm_json_array(rm_json_writer *, const char *key);
RM_API void rm_json_end(rm_json_writer *); /* closes the innermost object or array */

/* Valid UTF-8 is kept, each other byte becomes U+FFFD; a NULL string is null. */
RM_API void rm_json_string(rm_json_writer *, const char *key, const char *string);
RM_API void rm_json_string_n(rm_json_writer *, const char *key, const char *bytes, size_t n);
RM_API void rm_json_int(rm_json_writer *, const char *key, int64_t value);
RM_API void rm_json_uint(rm_json_writer *, const char *key, uint64_t value);
/* The fewest of 15, 16 or 17 digits that give the same double back; NaN and infinities are null. */
RM_API void rm_json_real(rm_json_writer *, const char *key, double value);
RM_API void rm_json_bool(rm_json_writer *, const char *key, bool value);
RM_API void rm_json_null(rm_json_writer *, const char *key);
/* A value that is JSON already. */
RM_API void rm_json_raw(rm_json_writer *, const char *key, const char *json);

/* The quoted, escaped form of bytes[0..n), outside any writer. */
RM_API void rm_json_quote(rm_text *, const char *bytes, size_t n);
/* The shortest round-trip form of a double as rm_json_real writes it ("null" if not finite). */
RM_API void rm_json_number(rm_text *, double value);

#ifdef __cplusplus
}
#endif
#endif
