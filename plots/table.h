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

/* A number for people: three significant digits, "–" for NaN, "1,234", "1.23M". */
void fig_amount(rm_text *, double);

#endif
