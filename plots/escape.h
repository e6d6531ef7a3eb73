/* escape.h - foreign text made safe for each format. Private to plots/.
 *
 * All three take any bytes: invalid UTF-8 and control characters become U+FFFD or a space, so
 * that what comes out is valid UTF-8 on its way into a document. */
#ifndef RM_PLOTS_ESCAPE_H
#define RM_PLOTS_ESCAPE_H

#include "plots/plots.h"

/* Content of elements and of quoted attributes. Line ends and tabs stay. */
void fig_html(rm_text *out, const char *text);
/* Inline Markdown (CommonMark with pipe tables); line ends become spaces. */
void fig_markdown(rm_text *out, const char *text);
/* LaTeX text mode; typographic signs that we use become commands, other characters stay UTF-8. */
void fig_latex(rm_text *out, const char *text);

/* A Markdown code block whose fence is longer than any run of backticks in the text. */
void fig_markdown_block(rm_text *out, const char *info, const char *text);
void fig_base64(rm_text *out, const char *bytes, size_t n);
/* A file name's part: everything but letters, digits, '.', '_' and '-' becomes '-'. */
void fig_slug(rm_text *out, const char *text);

#endif
