/* options.c - the command line by table.
 *
 * --name VALUE, --name=VALUE, -m VALUE, -mVALUE; "--" ends the options. '_' and '-' are the same
 * in names, so that parameters can be typed as papers and configurations spell them. */
#include "experiments/cli/cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool same_name(const char *known, const char *typed, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (known[i] != (typed[i] == '_' ? '-' : typed[i]))
            return false;
    return known[n] == '\0';
}

static const cli_option *find_long(const cli_command *command, const char *name, size_t n)
{
    for (const cli_option *o = command->options; o && o->name; o++)
        if (same_name(o->name, name, n))
            return o;
    return NULL;
}

static const cli_option *find_short(const cli_command *command, char letter)
{
    for (const cli_option *o = command->options; o && o->name; o++)
        if (o->letter && o->letter == letter)
            return o;
    return NULL;
}

static rm_status unknown_option(const cli_command *command, const char *typed, rm_error *err)
{
    const char *nearest = NULL;
    int best = 4;
    for (const cli_option *o = command->options; o && o->name; o++) {
        int distance = rm_word_distance(typed + strspn(typed, "-"), o->name);
        if (distance < best) {
            best = distance;
            nearest = o->name;
        }
    }
    if (nearest)
        return rm_fail(err, RM_E_ARGUMENT, "there is no option %s (did you mean --%s?)", typed,
                       nearest);
    return rm_fail(err, RM_E_ARGUMENT, "there is no option %s (ramify %s --help lists them)", typed,
                   command->name);
}

/* ---- parsing --------------------------------------------------------------------------------- */

typedef struct parser {
    const cli_command *command;
    int argc, at;
    char **argv;
    cli_args *args;
} parser;

static rm_status take(parser *p, const cli_option *option, const char *typed, const char *value,
                      rm_error *err)
{
    if (!option->value) {
        if (value)
            return rm_fail(err, RM_E_ARGUMENT, "%s is a flag and takes no value", typed);
        value = "";
    } else if (!value) {
        if (p->at >= p->argc)
            return rm_fail(err, RM_E_ARGUMENT, "%s needs a value: %s", typed, option->value);
        value = p->argv[p->at++];
    }
    p->args->given[p->args->n_given++] = (cli_given){ option->name, value };
    return RM_OK;
}

static rm_status take_long(parser *p, char *word, rm_error *err)
{
    char *equals = strchr(word, '=');
    size_t n = equals ? (size_t)(equals - word - 2) : strlen(word) - 2;
    if (same_name("help", word + 2, n)) {
        p->args->help = true;
        return RM_OK;
    }
    const cli_option *option = find_long(p->command, word + 2, n);
    if (option)
        return take(p, option, word, equals ? equals + 1 : NULL, err);
    if (!p->command->other_options)
        return unknown_option(p->command, word, err);
    cli_given other = { word + 2, equals ? equals + 1 : NULL };
    if (equals)
        *equals = '\0';
    else if (p->at < p->argc)
        other.value = p->argv[p->at++];
    if (!other.value)
        return rm_fail(err, RM_E_ARGUMENT, "%s needs a value", word);
    p->args->others[p->args->n_others++] = other;
    return RM_OK;
}

static rm_status take_short(parser *p, const char *word, rm_error *err)
{
    if (word[1] == 'h') {
        p->args->help = true;
        return RM_OK;
    }
    const cli_option *option = find_short(p->command, word[1]);
    if (!option)
        return unknown_option(p->command, word, err);
    return take(p, option, word, word[2] ? word + 2 : NULL, err);
}

rm_status cli_parse(const cli_command *command, int argc, char **argv, cli_args *args,
                    rm_error *err)
{
    size_t most = (size_t)argc + 1;
    *args = (cli_args){ .command = command };
    args->given = calloc(most, sizeof *args->given);
    args->others = calloc(most, sizeof *args->others);
    args->positional = calloc(most, sizeof *args->positional);
    if (!args->given || !args->others || !args->positional)
        return rm_fail(err, RM_E_MEMORY, "no memory for the command line");
    parser p = { command, argc, 2, argv, args };
    rm_status status = RM_OK;
    bool only_positional = false;
    while (p.at < argc && !status) {
        char *word = argv[p.at++];
        if (!only_positional && strcmp(word, "--") == 0)
            only_positional = true;
        else if (!only_positional && word[0] == '-' && word[1] == '-')
            status = take_long(&p, word, err);
        else if (!only_positional && word[0] == '-' && word[1])
            status = take_short(&p, word, err);
        else
            args->positional[args->n_positional++] = word;
    }
    if (status || args->help)
        return status;
    if (args->n_positional < command->min_positional)
        return rm_fail(err, RM_E_ARGUMENT, "%s is missing (ramify %s --help has an example)",
                       command->positional, command->name);
    if (args->n_positional > command->max_positional)
        return rm_fail(err, RM_E_ARGUMENT, "one argument too many: %s",
                       args->positional[command->max_positional]);
    return RM_OK;
}

void cli_args_free(cli_args *args)
{
    free(args->given);
    free(args->others);
    free(args->positional);
    *args = (cli_args){ 0 };
}

rm_status cli_misused(const cli_args *args, rm_status status)
{
    if (status && args->misused)
        *args->misused = true;
    return status;
}

rm_status cli_misuse(const cli_args *args, rm_error *err, const char *format, ...)
{
    char text[sizeof err->text];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return cli_misused(args, rm_fail(err, RM_E_ARGUMENT, "%s", text));
}

/* ---- values ------------------------------------------------------------------------------ */

const char *cli_text(const cli_args *args, const char *name, const char *absent)
{
    for (int i = args->n_given - 1; i >= 0; i--)
        if (strcmp(args->given[i].name, name) == 0)
            return args->given[i].value;
    return absent;
}

bool cli_flag(const cli_args *args, const char *name)
{
    return cli_text(args, name, NULL) != NULL;
}

rm_status cli_uint(const cli_args *args, const char *name, uint64_t *value, rm_error *err)
{
    const char *text = cli_text(args, name, NULL);
    char *end;
    if (!text)
        return RM_OK;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno)
        return cli_misuse(args, err, "--%s takes a whole number from 0 on, not %s", name, text);
    *value = number;
    return RM_OK;
}

rm_status cli_int(const cli_args *args, const char *name, int min, int max, int *value,
                  rm_error *err)
{
    const char *text = cli_text(args, name, NULL);
    char *end;
    if (!text)
        return RM_OK;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (end == text || *end || errno || number < min || number > max)
        return cli_misuse(args, err, "--%s takes a whole number from %d to %d, not %s", name, min,
                          max, text);
    *value = (int)number;
    return RM_OK;
}

rm_status cli_real(const cli_args *args, const char *name, double min, double max, double *value,
                   rm_error *err)
{
    const char *text = cli_text(args, name, NULL);
    char *end;
    if (!text)
        return RM_OK;
    double number = strtod(text, &end);
    if (end == text || *end || !(number >= min && number <= max))
        return cli_misuse(args, err, "--%s takes a number from %g to %g, not %s", name, min, max,
                          text);
    *value = number;
    return RM_OK;
}

rm_status cli_choice(const cli_args *args, const char *name, const char *const *choices,
                     int *value, rm_error *err)
{
    const char *text = cli_text(args, name, NULL);
    if (!text)
        return RM_OK;
    rm_text known = { 0 };
    for (int i = 0; choices[i]; i++) {
        if (strcmp(choices[i], text) == 0) {
            *value = i;
            rm_text_free(&known);
            return RM_OK;
        }
        rm_text_printf(&known, i ? ", %s" : "%s", choices[i]);
    }
    cli_misuse(args, err, "--%s takes one of %s, not %s", name, known.data ? known.data : "", text);
    rm_text_free(&known);
    return RM_E_ARGUMENT;
}

/* ---- engines and models ------------------------------------------------------------------ */

rm_status cli_engine_options(const cli_args *args, rm_engine_options *o, rm_error *err)
{
    int isa = -1, backend = -1, products = 0;
    double kv_mib = 0;
    rm_status status = cli_int(args, "threads", 1, 1024, &o->n_threads, err);
    if (!status)
        status = cli_choice(args, "backend", rm_backend_names, &backend, err);
    if (!status)
        status = cli_int(args, "device", 0, 1023, &o->device, err);
    if (!status)
        status = cli_choice(args, "products", rm_product_names, &products, err);
    if (!status)
        status = cli_choice(args, "isa", rm_isa_names, &isa, err);
    if (!status)
        status = cli_real(args, "kv-mib", 1, 1e9, &kv_mib, err);
    if (!status)
        status = cli_int(args, "max-batch-rows", 16, 1 << 16, &o->max_batch_rows, err);
    if (status)
        return status;
    if (isa >= 0)
        o->isa = rm_isa_names[isa];
    if (backend >= 0)
        o->backend = rm_backend_names[backend];
    o->fast = products == RM_PRODUCTS_FAST;
    if (kv_mib > 0)
        o->kv_bytes = (size_t)(kv_mib * 1048576.0);
    return RM_OK;
}

rm_status cli_engine_open(const rm_engine_options *options, rm_engine **engine, rm_error *err)
{
    rm_status status = rm_engine_open(options, engine, err);
    rm_engine_info info;
    if (!status && (info = rm_engine_describe(*engine)).why[0])
        fprintf(stderr, "backend: %s\n", info.why);
    return status;
}

rm_status cli_model_options(const cli_args *args, rm_model_options *o, rm_error *err)
{
    static const char *const computes[] = { "f32", "bf16", "q8", NULL };
    static const char *const caches[] = { "f32", "bf16", NULL };
    int compute = -1, kv = -1;
    rm_status status = cli_choice(args, "compute", computes, &compute, err);
    if (!status)
        status = cli_choice(args, "kv", caches, &kv, err);
    if (!status)
        status = cli_int(args, "context", 1, 1 << 24, &o->n_ctx, err);
    if (!status && compute >= 0)
        o->compute = computes[compute];
    if (!status && kv >= 0)
        o->kv = caches[kv];
    return status;
}

bool cli_is_address(const char *model)
{
    return !strncmp(model, "http://", 7) || !strncmp(model, "https://", 8);
}

/* ---- help -------------------------------------------------------------------------------- */

void cli_print_help(const cli_command *command, FILE *out)
{
    fprintf(out, "ramify %s - %s\n\n  ramify %s", command->name, command->summary, command->name);
    if (command->positional[0])
        fprintf(out, " %s", command->positional);
    fprintf(out, "%s\n", command->options && command->options->name ? " [options]" : "");
    if (command->details)
        fprintf(out, "\n%s\n", command->details);
    fputs("\nOptions\n", out);
    for (const cli_option *o = command->options; o && o->name; o++) {
        char left[64];
        char letter[8] = "    ";
        if (o->letter)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        fprintf(out, "  %-30s %s\n", left, o->help);
    }
    fprintf(out, "  %-30s %s\n", "    --help", "this text");
    fprintf(out, "\nExample\n  %s\n", command->example);
}
