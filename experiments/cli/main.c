/* main.c - the command line of ramify: finds the subcommand, prints the sentence of a failure.
 *
 * Exit status: 0 if all of it worked; 2 for a command line that cannot be understood (an unknown or
 * missing option, an impossible value, an unknown strategy); 130 or 143 after SIGINT or SIGTERM; 1
 * for everything else. */
#include "experiments/cli/cli.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static void print_overview(FILE *out)
{
    fprintf(out, "ramify %s - a workbench for research on decoding strategies\n\n"
                 "  ramify COMMAND [options]      ramify COMMAND --help      ramify --version\n\n",
            RM_VERSION);
    for (int i = 0; cli_commands[i]; i++)
        fprintf(out, "  %-12s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fputs("\nFirst steps\n"
          "  ramify generate -m thimble -p '(17+5)*(9-4)-36=<think>' --strategy greedy\n"
          "  ramify run experiments/tradeoff.json --out demo && ramify report demo\n",
          out);
}

static const cli_command *find_command(const char *name)
{
    for (int i = 0; cli_commands[i]; i++)
        if (strcmp(cli_commands[i]->name, name) == 0)
            return cli_commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *nearest = NULL;
    int best = 4;
    for (int i = 0; cli_commands[i]; i++) {
        int distance = rm_word_distance(name, cli_commands[i]->name);
        if (distance < best) {
            best = distance;
            nearest = cli_commands[i]->name;
        }
    }
    if (nearest)
        fprintf(stderr, "ramify: there is no command %s (did you mean %s?)\n", name, nearest);
    else
        fprintf(stderr, "ramify: there is no command %s (ramify --help lists them)\n", name);
    return 2;
}

/* The command line as it could be typed again. */
static void quote_line(rm_text *text, int argc, char **argv)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./=:,+@%";
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        rm_text_puts(text, i ? " " : "");
        if (word[0] && word[strspn(word, plain)] == '\0') {
            rm_text_puts(text, word);
            continue;
        }
        rm_text_puts(text, "'");
        for (; *word; word++)
            if (*word == '\'')
                rm_text_puts(text, "'\\''");
            else
                rm_text_add(text, word, 1);
        rm_text_puts(text, "'");
    }
}

/* What was printed has arrived; the exit status. */
static int finish_output(const char *who)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    fprintf(stderr, "%s: cannot write to standard output\n", who);
    return 1;
}

static int run_command(const cli_command *command, int argc, char **argv)
{
    cli_args args;
    rm_error err = { "" };
    rm_text line = { 0 };
    bool misused = true;
    quote_line(&line, argc, argv);
    rm_status status = cli_parse(command, argc, argv, &args, &err);
    if (!status && args.help) {
        cli_print_help(command, stdout);
    } else if (!status) {
        misused = false;
        args.line = line.data;
        args.misused = &misused;
        status = command->run(&args, &err);
    }
    cli_args_free(&args);
    rm_text_free(&line);
    if (status)
        fprintf(stderr, "ramify %s: %s\n", command->name, err.text);
    if (!status) {
        char who[64];
        snprintf(who, sizeof who, "ramify %s", command->name);
        return finish_output(who);
    }
    if (status == RM_E_CANCELLED && cli_signal())
        return 128 + cli_signal();
    return misused ? 2 : 1;
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files is a failed write with its sentence */
    const char *name = argc > 1 ? argv[1] : "--help";
    if (strcmp(name, "--version") == 0) {
        printf("ramify %s\n", rm_version_text());
        return finish_output("ramify");
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        (strcmp(name, "help") == 0 && argc < 3)) {
        print_overview(argc > 1 ? stdout : stderr);
        return argc > 1 ? finish_output("ramify") : 2;
    }
    bool help = strcmp(name, "help") == 0;
    const cli_command *command = find_command(help ? argv[2] : name);
    if (!command)
        return unknown_command(help ? argv[2] : name);
    if (help) {
        cli_print_help(command, stdout);
        return finish_output("ramify");
    }
    return run_command(command, argc, argv);
}
