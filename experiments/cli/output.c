/* output.c - tables for terminals, amounts, stdout, signals. */
#define _GNU_SOURCE
#include "experiments/cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- tables -------------------------------------------------------------------------------- */

void cli_cell(cli_table *table, const char *format, ...)
{
    rm_text text = { 0 };
    char line[256];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    rm_text_puts(&text, line);
    if (table->n == table->capacity && !table->failed) {
        size_t capacity = table->capacity ? 2 * table->capacity : 64;
        char **cells = realloc(table->cells, capacity * sizeof *cells);
        table->failed = !cells;
        if (cells) {
            table->cells = cells;
            table->capacity = capacity;
        }
    }
    if (table->failed || text.failed) {
        table->failed = true;
        rm_text_free(&text);
        return;
    }
    table->cells[table->n++] = text.data;
    table->at++;
}

void cli_end_row(cli_table *table)
{
    if (!table->columns)
        table->columns = table->at;
    while (table->at < table->columns && !table->failed)
        cli_cell(table, "%s", "");
    table->at = 0;
}

/* Characters, where each takes one column: good for all that stands in our tables. */
static int width(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void print_padded(const char *text, int room, bool right, FILE *out)
{
    int pad = room - width(text);
    if (right)
        fprintf(out, "%*s%s", pad > 0 ? pad : 0, "", text);
    else
        fprintf(out, "%s%*s", text, pad > 0 ? pad : 0, "");
}

/* Columns of the terminal that `out` is; INT_MAX for a file or a pipe. */
static int terminal_width(FILE *out)
{
    struct winsize size;
    int fd = fileno(out);
    if (fd < 0 || !isatty(fd) || ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return INT_MAX;
    return size.ws_col;
}

static void print_row(const cli_table *table, size_t row, const char *align, const int *widths,
                      int first, int end, FILE *out)
{
    char *const *cells = table->cells + row * (size_t)table->columns;
    int last = end - 1;
    while (last > 0 && !cells[last][0])
        last--;
    last = last < first ? 0 : last;
    for (int c = 0; c <= last; c = c ? c + 1 : first) {
        bool right = (size_t)c < strlen(align) && align[c] == 'r';
        fputs(c ? "  " : "", out);
        print_padded(cells[c], c == last && !right ? 0 : widths[c], right, out);
    }
    fputc('\n', out);
}

/* A table too wide for the terminal is printed in parts, each with the first column in front. */
void cli_print_table(const cli_table *table, const char *align, FILE *out)
{
    enum { MAX_COLUMNS = 32 };
    int limit = terminal_width(out);
    int widths[MAX_COLUMNS] = { 0 };
    int columns = table->columns < MAX_COLUMNS ? table->columns : MAX_COLUMNS;
    size_t rows = columns ? table->n / (size_t)table->columns : 0;
    for (size_t i = 0; i < rows * (size_t)columns; i++) {
        int w = width(table->cells[i]), c = (int)(i % (size_t)columns);
        widths[c] = w > widths[c] ? w : widths[c];
    }
    for (int first = 1, end; first == 1 || first < columns; first = end) {
        int used = widths[0];
        for (end = first; end < columns && (end == first || used + 2 + widths[end] <= limit); end++)
            used += 2 + widths[end];
        if (first > 1)
            fputc('\n', out);
        for (size_t r = 0; r < rows; r++)
            print_row(table, r, align, widths, first, end, out);
        if (end == first)
            break; /* a table of one column */
    }
}

void cli_table_free(cli_table *table)
{
    for (size_t i = 0; i < table->n; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (cli_table){ 0 };
}

const char *cli_amount(double value, char text[16])
{
    static const char units[] = " kMGTPE";
    int unit = 0;
    if (isnan(value))
        return strcpy(text, "-");
    while (fabs(value) >= 9999.5 && unit < 6) {
        value /= 1000;
        unit++;
    }
    if (!unit)
        snprintf(text, 16, fabs(value) >= 100 || value == floor(value) ? "%.0f" : "%.3g", value);
    else
        snprintf(text, 16, "%.*f%c", fabs(value) >= 100 ? 0 : 1, value, units[unit]);
    return text;
}

/* ---- stdout --------------------------------------------------------------------------------- */

rm_status cli_put(rm_text *text, rm_error *err)
{
    rm_status status = RM_OK;
    if (text->failed)
        status = rm_fail(err, RM_E_MEMORY, "no memory for the output");
    else if (fwrite(text->data ? text->data : "", 1, text->length, stdout) != text->length ||
             fflush(stdout) != 0)
        status = rm_fail(err, RM_E_IO, "cannot write to standard output: %s", strerror(errno));
    rm_text_free(text);
    return status;
}

/* ---- signals -------------------------------------------------------------------------------- */

/* The one place where the program keeps state outside of any object: a signal handler can reach
 * nothing else. */
static volatile bool stop_requested;
static volatile sig_atomic_t signal_number;

static void on_signal(int number)
{
    if (stop_requested) { /* a second one: at once */
        signal(number, SIG_DFL);
        raise(number);
    }
    stop_requested = true;
    signal_number = number;
}

volatile bool *cli_catch_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return &stop_requested;
}

int cli_signal(void)
{
    return signal_number;
}
