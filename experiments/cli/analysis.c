/* analysis.c - from run directories to an analysis, for the commands that show one. */
#include "experiments/cli/cli.h"

#include <stdlib.h>
#include <string.h>

static const char *last_part(const char *dir)
{
    const char *name = dir;
    for (const char *at = dir; *at; at++)
        if (*at == '/' && at[1] && at[1] != '/')
            name = at + 1;
    return name;
}

/* Baseline and margin are the options', else those that the experiment states. */
static rm_status read_options(const cli_args *args, rm_store *store, cli_analysis *a,
                              rm_analysis_options *o, rm_error *err)
{
    int resamples = 0;
    rm_text margin = { 0 };
    rm_status status = cli_real(args, "level", 0.5, 0.9999, &o->level, err);
    if (!status)
        status = cli_int(args, "resamples", 100, 10000000, &resamples, err);
    if (!status)
        status = cli_uint(args, "analysis-seed", &o->seed, err);
    if (store && rm_store_get_meta(store, "margin", &margin))
        o->margin = strtod(margin.data, NULL);
    if (!status)
        status = cli_real(args, "margin", 0, 1, &o->margin, err);
    const char *baseline = cli_text(args, "baseline", NULL);
    if (baseline)
        rm_text_puts(&a->baseline, baseline);
    else if (store)
        rm_store_get_meta(store, "baseline", &a->baseline);
    o->baseline = a->baseline.length ? a->baseline.data : NULL;
    o->resamples = (size_t)resamples;
    rm_text_free(&margin);
    return status;
}

static rm_status add_run(const char *dir, const char *prefix, cli_analysis *a, rm_error *err)
{
    rm_records one = { 0 };
    rm_store *store = NULL;
    rm_status status = rm_store_open(dir, false, &store, err);
    if (!status)
        status = rm_store_records(store, prefix ? &one : &a->records, err);
    if (!status && prefix)
        status = rm_records_append(&a->records, &one, prefix, err);
    rm_records_free(&one);
    rm_store_close(store);
    return status;
}

rm_status cli_analyze_dirs(const cli_args *args, const char *const *dirs, int n, cli_analysis *a,
                           rm_error *err)
{
    rm_analysis_options options = { 0 };
    rm_store *store = NULL;
    *a = (cli_analysis){ 0 };
    rm_status status = RM_OK;
    for (int i = 0; i < n && !status; i++)
        status = add_run(dirs[i], n > 1 ? last_part(dirs[i]) : NULL, a, err);
    if (!status && n == 1)
        status = rm_store_open(dirs[0], false, &store, err);
    if (!status)
        status = read_options(args, store, a, &options, err);
    if (!status && !a->records.n_results)
        status = rm_fail(err, RM_E_ARGUMENT, "%s has no recorded outcomes yet", dirs[0]);
    if (!status)
        status = rm_analyze(&a->records, &options, &a->analysis, err);
    rm_store_close(store);
    if (status)
        cli_analysis_free(a);
    return status;
}

void cli_analysis_free(cli_analysis *a)
{
    rm_analysis_free(a->analysis);
    rm_records_free(&a->records);
    rm_text_free(&a->baseline);
    *a = (cli_analysis){ 0 };
}
