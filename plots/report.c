/* report.c - the report's files: pages, figures, tables. */
#include "plots/report.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static rm_status make_directory(const char *path, rm_error *err)
{
    struct stat info;
    if (!mkdir(path, 0777))
        return RM_OK;
    int why = errno;
    if (why == EEXIST && !stat(path, &info) && S_ISDIR(info.st_mode))
        return RM_OK;
    return rm_fail(err, RM_E_IO, "%s: the directory for the report cannot be made: %s.", path,
                   strerror(why));
}

/* "OUT/SUB/NAME.EXTENSION". */
static void file_path(rm_text *path, const char *out, const char *sub, const char *name,
                      const char *extension)
{
    path->length = 0;
    rm_text_printf(path, "%s/%s%s%s.%s", out, sub, *sub ? "/" : "", name, extension);
}

static rm_status write_task(const rm_analysis *a, size_t task, unsigned formats, const char *out,
                            rm_error *err)
{
    rm_text path = { 0 }, name = { 0 };
    rm_status st = RM_OK;
    for (int f = 0; !st && f < RM_N_FIGURES; f++) {
        if (!rm_figure_has_data(a, task, (rm_figure)f))
            continue;
        name.length = 0;
        fig_task_slug(&name, a, task);
        rm_text_printf(&name, "-%s", rm_figure_describe((rm_figure)f)->name);
        for (int format = 0; !st && format < 3; format++) {
            if (!(formats & 1u << format))
                continue;
            file_path(&path, out, "figures", name.data ? name.data : "",
                      rm_format_extension((rm_format)format));
            st = path.failed || name.failed
                     ? rm_fail(err, RM_E_MEMORY, "There is no memory for the report.")
                     : rm_figure_write(a, task, (rm_figure)f, NULL, path.data, err);
        }
    }
    for (int t = 0; !st && t < RM_N_TABLES; t++) {
        if (!rm_table_has_data(a, task, (rm_table)t))
            continue;
        name.length = 0;
        fig_task_slug(&name, a, task);
        rm_text_printf(&name, "-%s", rm_table_describe((rm_table)t)->name);
        file_path(&path, out, "tables", name.data ? name.data : "", "tex");
        st = path.failed || name.failed
                 ? rm_fail(err, RM_E_MEMORY, "There is no memory for the report.")
                 : rm_table_write(a, task, (rm_table)t, RM_TABLE_LATEX, path.data, err);
    }
    rm_text_free(&path);
    rm_text_free(&name);
    return st;
}

static rm_status write_trees(const rm_report_options *o, unsigned formats, const char *out,
                             rm_error *err)
{
    rm_text path = { 0 };
    rm_status st = RM_OK;
    for (size_t i = 0; !st && i < o->n_trees; i++)
        for (int format = 0; !st && format < 3; format++) {
            if (!(formats & 1u << format))
                continue;
            path.length = 0;
            rm_text_printf(&path, "%s/figures/tree-%zu.%s", out, i + 1,
                           rm_format_extension((rm_format)format));
            st = path.failed ? rm_fail(err, RM_E_MEMORY, "There is no memory for the report.")
                             : rm_tree_write(&o->trees[i], NULL, path.data, err);
        }
    rm_text_free(&path);
    return st;
}

typedef rm_status page_maker(const rm_analysis *, const rm_report_options *, rm_text *, rm_error *);

static rm_status write_page(const rm_analysis *a, const rm_report_options *o, const char *out,
                            const char *extension, page_maker *make, rm_error *err)
{
    rm_text page = { 0 }, path = { 0 };
    rm_status st = make(a, o, &page, err);
    file_path(&path, out, "", "report", extension);
    if (!st && path.failed)
        st = rm_fail(err, RM_E_MEMORY, "There is no memory for the report.");
    if (!st)
        st = rm_file_write(path.data, page.data, page.length, err);
    rm_text_free(&page);
    rm_text_free(&path);
    return st;
}

rm_status rm_report_write(const rm_analysis *a, const rm_report_options *o, const char *out,
                          rm_error *err)
{
    static const rm_report_options none = { 0 };
    if (!o)
        o = &none;
    unsigned formats = o->formats ? o->formats : 7;
    /* report.md shows the PNG files */
    formats |= 1u << RM_FORMAT_PNG;
    rm_text sub = { 0 };
    rm_status st = make_directory(out, err);
    static const char *const subs[] = { "figures", "tables" };
    for (int i = 0; !st && i < 2; i++) {
        sub.length = 0;
        rm_text_printf(&sub, "%s/%s", out, subs[i]);
        st = sub.failed ? rm_fail(err, RM_E_MEMORY, "There is no memory for the report.")
                        : make_directory(sub.data, err);
    }
    rm_text_free(&sub);
    for (size_t i = 0; !st && i < a->n_tasks; i++)
        st = write_task(a, i, formats, out, err);
    if (!st)
        st = write_trees(o, formats, out, err);
    if (!st)
        st = write_page(a, o, out, "md", rm_report_markdown, err);
    if (!st)
        st = write_page(a, o, out, "html", rm_report_html, err);
    return st;
}
