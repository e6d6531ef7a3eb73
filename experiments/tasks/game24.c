/* game24.c - the Game of 24 from a CSV file: four numbers, each used once, make 24.
 *
 * The file is the one of the Tree of Thoughts paper (Yao et al. 2023, arXiv:2305.10601): columns
 * Rank, Puzzles ("1 1 4 6") and others; its experiments use ranks 901 to 1,000 ("first": 901,
 * "count": 100). Fractions on the way are legal: 8/(3-8/3). Problems and answers have the
 * canonical forms of countdown.c, so that both share verifier and problem hashes. */
#include "experiments/tasks/kinds.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NUMBERS = 8 };

typedef struct options {
    char *path, *column;
    rm_origin origin;
    int target;
    rm_csv csv;
    size_t at, rank; /* indices of the columns; rank SIZE_MAX if there is none */
} options;

#define FIELD(name) offsetof(options, name)
static const rm_key keys[] = {
    { "path", RM_KEY_STRING, FIELD(path), 0, 0, NULL,
      "the CSV file, relative to the configuration's folder (required)" },
    { "source", RM_KEY_STRING, FIELD(origin.source), 0, 0, NULL,
      "where to get the file, for those who do not have it" },
    { "xxh3", RM_KEY_STRING, FIELD(origin.xxh3), 0, 0, NULL,
      "XXH3-64 of the file's bytes, 16 hexadecimal digits: another file is refused" },
    { "column", RM_KEY_STRING, FIELD(column), 0, 0, NULL,
      "column of the numbers, separated by spaces (\"Puzzles\")" },
    { "target", RM_KEY_INT, FIELD(target), 1, 1000000, NULL, "what to make of them (24)" },
    { 0 },
};

static const char instruction[] =
    "Use each of the four numbers exactly once, with + - * / and parentheses, to make {target}.\n"
    "Numbers: {numbers}\n"
    "Answer:";

static rm_status defaults(rm_format *format, void *data, rm_error *err)
{
    options *o = data;
    o->target = 24;
    format->grader.kind = RM_GRADE_EXPRESSION;
    format->prompt = strdup(instruction);
    if (!format->prompt || !rm_strings_add(&format->stop, "\nNumbers:", 9))
        return rm_fail(err, RM_E_MEMORY, "out of memory for a task");
    return RM_OK;
}

static rm_status find_column(const options *o, const char *file, const char *name, size_t *at,
                             rm_error *err)
{
    for (*at = 0; *at < o->csv.n_fields; ++*at)
        if (!strcmp(o->csv.fields[*at], name))
            return RM_OK;
    return rm_fail(err, RM_E_FORMAT, "%s:1: no column is called \"%s\"", file, name);
}

static rm_status open_task(rm_task *task, void *data, const rm_json *json, const cJSON *object,
                           const char *path, rm_error *err)
{
    options *o = data;
    if (!o->path)
        return rm_json_fail(err, RM_E_ARGUMENT, json, object,
                            "%s: a game24 task needs \"path\", the CSV file with its problems",
                            path);
    char *file = rm_join_path(task->folder, o->path);
    if (!file)
        return rm_fail(err, RM_E_MEMORY, "out of memory for a task");
    free(o->path);
    o->path = file;
    uint64_t hash = 0;
    rm_status st = rm_csv_read(file, &o->csv, &hash, err);
    if (st)
        return rm_origin_absent(&o->origin, file, st, err);
    if ((st = rm_origin_check(&o->origin, file, hash, err)))
        return st;
    task->hash = rm_mix(task->hash, hash);
    if (o->csv.n_rows < 2)
        return rm_fail(err, RM_E_FORMAT, "%s: has a header and no rows", file);
    if (find_column(o, file, "Rank", &o->rank, NULL))
        o->rank = SIZE_MAX;
    return find_column(o, file, o->column ? o->column : "Puzzles", &o->at, err);
}

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static rm_status make(const rm_task *task, const void *data, size_t index, uint32_t attempt,
                      rm_draft *draft, rm_error *err)
{
    (void)task;
    (void)attempt;
    const options *o = data;
    size_t row = index + 1; /* behind the header */
    char **fields = o->csv.fields + o->csv.row_start[row];
    int numbers[MAX_NUMBERS], n = 0;
    char *p = fields[o->at];
    for (; *p; n++) {
        char *end;
        long v = *p >= '0' && *p <= '9' ? strtol(p, &end, 10) : -1;
        if (n >= MAX_NUMBERS || v < 0 || v > 1000000)
            break;
        numbers[n] = (int)v;
        for (p = end; *p == ' '; p++)
            ;
    }
    if (*p || n < 2)
        return rm_fail(err, RM_E_FORMAT, "%s:%zu: expected 2 to %d whole numbers separated by "
                       "spaces, found \"%.40s\"", o->path, o->csv.row_line[row], MAX_NUMBERS,
                       fields[o->at]);
    qsort(numbers, (size_t)n, sizeof *numbers, ascending);
    for (int i = 0; i < n; i++)
        rm_text_printf(&draft->numbers, "%s%d", i ? " " : "", numbers[i]);
    const char *list = draft->numbers.data ? draft->numbers.data : "";
    rm_text_printf(&draft->target, "%d", o->target);
    rm_text_printf(&draft->question, "%s>%d", list, o->target);
    rm_text_printf(&draft->canonical, "%s>%d", list, o->target);
    rm_text_printf(&draft->reference, "%s=%d", list, o->target);
    if (o->rank != SIZE_MAX)
        rm_text_puts(&draft->id, fields[o->rank]);
    return RM_OK;
}

static size_t count(const void *data)
{
    return ((const options *)data)->csv.n_rows - 1;
}

static void close_task(void *data)
{
    rm_csv_free(&((options *)data)->csv);
}

const rm_kind rm_kind_game24 = {
    .name = "game24", .summary = "the Game of 24 from a CSV file of number puzzles",
    .keys = keys, .size = sizeof(options), .canonical_prefix = "countdown",
    .defaults = defaults, .open = open_task, .make = make, .count = count, .close = close_task,
    .verifier = true,
};
