/* report.h - what the HTML and the Markdown report share. Private to plots/. */
#ifndef RM_PLOTS_REPORT_H
#define RM_PLOTS_REPORT_H

#include "plots/escape.h"
#include "plots/table.h"

/* Paragraphs on how the numbers were computed and what they do not say; NULL-terminated. */
extern const char *const fig_report_methods[];
extern const char *const fig_report_limits[];

extern const char fig_report_css[];

/* One or two sentences: the most accurate cell, what it costs, the cells on the front. */
void fig_report_summary(const fig_view *, rm_text *out);

/* The task's part of file names; tasks whose names look alike there get a number. */
void fig_task_slug(rm_text *out, const rm_analysis *, size_t task);

#endif
