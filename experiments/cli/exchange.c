/* exchange.c - ramify export, import, regrade: records to and from other programs. */
#include "base/json.h"
#include "experiments/cli/cli.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- export --------------------------------------------------------------------------------- */

/* Writes a file of another name and renames it: on a full disk or from damaged records nothing
 * stands under the final name. What is no regular file (a pipe, /dev/null) is written directly. */
static rm_status export_file(rm_store *store, rm_export_format format, unsigned flags,
                             const char *file, rm_error *err)
{
    struct stat there;
    bool direct = stat(file, &there) == 0 && !S_ISREG(there.st_mode);
    rm_text aside = { 0 };
    if (direct)
        rm_text_puts(&aside, file);
    else
        rm_text_printf(&aside, "%s.%ld.tmp", file, (long)getpid());
    if (aside.failed) {
        rm_text_free(&aside);
        return rm_fail(err, RM_E_MEMORY, "no memory for the name of a file");
    }
    rm_status status = RM_OK;
    FILE *out = fopen(aside.data, "we");
    if (!out)
        status = rm_fail(err, RM_E_IO, "cannot create %s: %s", file, strerror(errno));
    else
        status = rm_export(store, format, flags, out, err);
    if (out && fclose(out) != 0 && !status)
        status = rm_fail(err, RM_E_IO, "cannot write %s: %s", file, strerror(errno));
    if (!status && !direct && rename(aside.data, file) != 0)
        status = rm_fail(err, RM_E_IO, "cannot replace %s: %s", file, strerror(errno));
    if (status && out && !direct)
        unlink(aside.data);
    rm_text_free(&aside);
    return status;
}

static rm_status export_run(const cli_args *args, rm_error *err)
{
    static const char *const formats[] = { "jsonl", "csv", NULL };
    int format = RM_EXPORT_JSONL;
    rm_store *store = NULL;
    const char *file = cli_text(args, "out", NULL);
    unsigned flags = (cli_flag(args, "no-times") ? RM_EXPORT_NO_TIMES : 0u) |
                     (cli_flag(args, "tokens") ? RM_EXPORT_TOKENS : 0u) |
                     (cli_flag(args, "trees") ? RM_EXPORT_TREES : 0u);
    rm_status status = cli_choice(args, "format", formats, &format, err);
    if (!status)
        status = rm_store_open(args->positional[0], false, &store, err);
    if (!status)
        status = file ? export_file(store, (rm_export_format)format, flags, file, err)
                      : rm_export(store, (rm_export_format)format, flags, stdout, err);
    rm_store_close(store);
    return status;
}

static const cli_option export_options[] = {
    { "format", 'f', "FORMAT", "jsonl (default) or csv" },
    { "out", 'o', "FILE", "instead of standard output" },
    { "no-times", 0, NULL, "leave out what is measured: equal runs are equal byte for byte" },
    { "tokens", 0, NULL, "also the token ids" },
    { "trees", 0, NULL, "also the search trees (jsonl)" },
    { NULL, 0, NULL, NULL },
};

const cli_command cli_export = {
    .name = "export",
    .summary = "the records as JSON lines or CSV",
    .positional = "DIR",
    .min_positional = 1,
    .max_positional = 1,
    .details = "One line for each candidate, ordered by cell, problem, seed and candidate.",
    .example = "ramify export demo --format csv --out demo.csv",
    .options = export_options,
    .run = export_run,
};

/* ---- import --------------------------------------------------------------------------------- */

static rm_status import_run(const cli_args *args, rm_error *err)
{
    size_t n = 0;
    const char *out = cli_text(args, "out", NULL);
    if (!out)
        return cli_misuse(args, err, "--out DIR is missing: where should the records go?");
    rm_status status = rm_import(args->positional[0], out, args->line, &n, err);
    if (!status)
        fprintf(stderr, "%zu candidates in %s. Next: ramify analyze %s\n", n, out, out);
    return status;
}

static const cli_option import_options[] = {
    { "out", 'o', "DIR", "the run directory to make" },
    { NULL, 0, NULL, NULL },
};

const cli_command cli_import = {
    .name = "import",
    .summary = "samples made elsewhere, for analysis, plots and report",
    .positional = "FILE.jsonl --out DIR",
    .min_positional = 1,
    .max_positional = 1,
    .details =
        "One JSON object a line with problem, strategy, candidate, answer, correct, and if known\n"
        "model, task, seed, params, text, reference, n_prompt, n_generated, finish_reason,\n"
        "latency_ms, lp, scores (by name), step_scores, cluster, level, chosen; and of the cell\n"
        "that the line belongs to, label, exchangeable, verifier, oracle. Nothing is written "
        "unless\n"
        "every line is understood.",
    .example = "ramify import samples.jsonl --out samples && ramify analyze samples",
    .options = import_options,
    .run = import_run,
};

/* ---- regrade -------------------------------------------------------------------------------- */

typedef struct listing {
    bool json, answers;
    rm_text out;
} listing;

static void add_change(void *arg, const rm_regraded *r)
{
    listing *l = arg;
    bool verdict = r->old_correct != r->new_correct;
    if (!verdict && !l->answers)
        return;
    if (l->json) {
        rm_json_writer w = { .out = &l->out };
        rm_json_object(&w, NULL);
        rm_json_string(&w, "task", r->task);
        rm_json_string(&w, "problem", r->problem);
        rm_json_string(&w, "label", r->label);
        rm_json_uint(&w, "seed", r->seed);
        rm_json_int(&w, "candidate", r->candidate);
        rm_json_string(&w, "old_answer", r->old_answer);
        rm_json_string(&w, "new_answer", r->new_answer);
        rm_json_bool(&w, "old_correct", r->old_correct);
        rm_json_bool(&w, "new_correct", r->new_correct);
        rm_json_end(&w);
        rm_text_puts(&l->out, "\n");
        return;
    }
    rm_text_printf(&l->out, "%s: %s, %s, seed %llu, candidate %d: %s (%s) -> %s (%s)\n", r->task,
                   r->problem, r->label, (unsigned long long)r->seed, r->candidate,
                   r->old_answer ? r->old_answer : "no answer", r->old_correct ? "right" : "wrong",
                   r->new_answer ? r->new_answer : "no answer", r->new_correct ? "right" : "wrong");
}

static rm_status regrade(const cli_args *args, rm_error *err)
{
    listing l = { .json = cli_flag(args, "json"), .answers = cli_flag(args, "answers") };
    bool write = cli_flag(args, "write");
    rm_regrade_summary summary = { 0 };
    rm_store *store = NULL;
    rm_config *config = NULL;
    const char *other = cli_text(args, "config", NULL);
    rm_status status = rm_store_open(args->positional[0], write, &store, err);
    if (!status)
        status = other ? rm_config_open(other, &config, err) : rm_run_config(store, &config, err);
    if (!status)
        status = rm_regrade(config, store, write, add_change, &l, &summary, err);
    if (!status)
        status = cli_put(&l.out, err);
    if (!status)
        fprintf(stderr, "%zu candidates: %zu verdicts and %zu answers would be others%s\n",
                summary.candidates, summary.changed_verdicts, summary.changed_answers,
                write ? " (written)" : "");
    rm_text_free(&l.out);
    rm_config_free(config);
    rm_store_close(store);
    return status;
}

static const cli_option regrade_options[] = {
    { "write", 0, NULL, "update the records (what was chosen stays chosen)" },
    { "config", 0, "CONFIG", "grade with the tasks of this file instead of the run's own" },
    { "answers", 0, NULL, "also list answers that changed with the same verdict" },
    { "json", 0, NULL, "one object a line" },
    { NULL, 0, NULL, NULL },
};

const cli_command cli_regrade = {
    .name = "regrade",
    .summary = "extract and grade the recorded texts again, without a model",
    .positional = "DIR",
    .min_positional = 1,
    .max_positional = 1,
    .details = "Lists every verdict that would change; the records stay as they are without "
               "--write.",
    .example = "ramify regrade demo",
    .options = regrade_options,
    .run = regrade,
};
