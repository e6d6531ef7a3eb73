/* run_support.h - scratch directories, programs and exports for the tests of runs. */
#ifndef RUN_SUPPORT_H
#define RUN_SUPPORT_H

#define _GNU_SOURCE
#include "experiments/experiments.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(call)                                                          \
    do {                                                                     \
        rm_error err_ = { "" };                                              \
        rm_error *err = &err_;                                               \
        rm_status status_ = (call);                                          \
        cr_assert(status_ == RM_OK, "%s: %s", #call, err->text);             \
    } while (0)

/* ---- scratch ------------------------------------------------------------------------------ */

static char scratch[PATH_MAX];

static inline int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

static inline void make_scratch(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/ramify-test-XXXXXX", base ? base : "/tmp");
    cr_assert(mkdtemp(scratch) != NULL);
}

static inline void remove_scratch(void)
{
    nftw(scratch, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* scratch/name; the last 64 results stay valid */
static inline const char *in_scratch(const char *name)
{
    static char paths[64][PATH_MAX + 64];
    static int next;
    char *path = paths[next++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}

static inline const char *write_scratch(const char *name, const char *text)
{
    const char *path = in_scratch(name);
    CHECK(rm_file_write(path, text, strlen(text), err));
    return path;
}

/* ---- exports ------------------------------------------------------------------------------ */

/* Everything a run recorded apart from times; free() it. */
static inline char *export_text(rm_store *store)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    CHECK(rm_export(store, RM_EXPORT_JSONL,
                    RM_EXPORT_NO_TIMES | RM_EXPORT_TOKENS | RM_EXPORT_TREES, out, err));
    fclose(out);
    return text;
}

static inline char *export_dir(const char *dir)
{
    rm_store *store;
    CHECK(rm_store_open(dir, false, &store, err));
    char *text = export_text(store);
    rm_store_close(store);
    return text;
}

static inline int count_lines(const char *text)
{
    int n = 0;
    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

/* The first line in which two texts differ, for messages. */
static inline void assert_same_text(const char *a, const char *b, const char *what)
{
    if (strcmp(a, b) == 0)
        return;
    size_t at = 0, start = 0;
    for (; a[at] && a[at] == b[at]; at++)
        if (a[at] == '\n')
            start = at + 1;
    cr_assert_fail("%s: the records differ:\n%.900s\n%.900s", what, a + start, b + start);
}

/* ---- programs ------------------------------------------------------------------------------- */

/* Runs ramify with the arguments (NULL-terminated) and waits. stdout and stderr land in `out` and
 * `message` (malloc'd). Returns the exit status, or -signal. */
static inline pid_t start_program(const char *const *args, const char *out, const char *message)
{
    const char *argv[32] = { RM_PROGRAM };
    for (int i = 0; args[i]; i++)
        argv[i + 1] = args[i];
    fflush(NULL);
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) {
        int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        int errors = open(message, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(fd, 1);
        dup2(errors, 2);
        execv(RM_PROGRAM, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

static inline int wait_program(pid_t pid)
{
    int status = 0;
    cr_assert(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* Not inlined: gcc 12 would warn of a dangling pointer to `text` where there is none. */
__attribute__((noinline, unused)) static char *read_scratch(const char *name)
{
    char *text = NULL;
    size_t n = 0;
    CHECK(rm_file_read(in_scratch(name), 64 << 20, &text, &n, err));
    return text;
}

static inline int run_program(const char *const *args, char **out, char **message)
{
    int status = wait_program(start_program(args, in_scratch("stdout"), in_scratch("stderr")));
    if (out)
        *out = read_scratch("stdout");
    if (message)
        *message = read_scratch("stderr");
    return status;
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

#endif
