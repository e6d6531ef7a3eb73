/* table.h - a table as rows of texts, before it takes a format. Private to plots/. */
#ifndef RM_PLOTS_TABLE_H
#define RM_PLOTS_TABLE_H

#include "plots/panel.h"

typedef struct fig_cell_text {
    char *main;  /* UTF-8, not escaped; NULL: empty */
    char *aside; /* the interval, set smaller; may be NULL */
} fig_cell_text;

typedef struct fig_column {
    const char *head;
    const char *unit; /* below or after the head; "" for none */
    bool left;        /* texts; numbers are right-aligned */
    bool detail;      /* for screens: left out of LaTeX, where width is short */
} fig_column;

enum { FIG_MAX_COLUMNS = 24 };

typedef struct fig_table {
    fig_column columns[FIG_MAX_COLUMNS];
    size_t n_columns, n_rows, room;
    fig_cell_text *cells; /* [n_rows][FIG_MAX_COLUMNS] */
    rm_text notes;        /* one a line, not escaped */
    bool failed;
} fig_table;

rm_status fig_table_build(const fig_view *, rm_table, fig_table *, rm_error *);
void fig_table_free(fig_table *);
/* Appends it; `caption` may be NULL. */
void fig_table_print(const fig_table *, rm_table_format, rm_text *out);

/* ---- building: table.c --------------------------------------------------------------------- */

typedef enum fig_form {
    FIG_PERCENT, /* 0.123 as 12.3 */
    FIG_POINTS,  /* the same with a sign */
    FIG_AMOUNT,  /* three significant digits */
    FIG_DECIMAL, /* two digits after the point */
    FIG_CHANGE   /* three, with a sign */
} fig_form;

size_t fig_table_column(fig_table *, const char *head, const char *unit, bool left);
void fig_table_rows(fig_table *, size_t n);
/* Moves the texts into a cell; `aside` may be NULL. */
void fig_table_put(fig_table *, size_t row, size_t column, rm_text *main, rm_text *aside);
void fig_table_string(fig_table *, size_t row, size_t column, const char *);
void fig_table_estimate(fig_table *, size_t row, size_t column, const rm_estimate *, fig_form,
                        bool interval);
void fig_table_p(fig_table *, size_t row, size_t column, double p);
/* A cell's name (index into the records), without the model that goes without saying. */
void fig_table_name(const fig_view *, fig_table *, size_t row, size_t column, int cell);
void fig_table_note_names(const fig_view *, fig_table *);
void fig_form_print(rm_text *, double, fig_form);

/* ---- table_curves.c -------------------------------------------------------------------------- */

/* Has the task anything to show in it? */
bool fig_table_has(const fig_view *, rm_table);
/* The tables of what curves say. */
void fig_table_curves(const fig_view *, rm_table, fig_table *);

/* A number for people: three significant digits, "–" for NaN, "1,234", "1.23M". */
void fig_amount(rm_text *, double);

#endif
