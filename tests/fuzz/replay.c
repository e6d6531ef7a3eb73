/* replay.c - a fuzz target without the fuzzer: every file of a folder, as it is and with seeded
 * changes.
 *
 *     fuzz_gguf FOLDER
 *
 * Each file is given whole; then VARIANTS times with one to four edits, each of which sets a byte,
 * cuts the end off, or copies one stretch over another. The draws are counters (Philox), so a
 * failure comes back with the same command; what was being run is printed before it is run into. */
#include "base/base.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VARIANTS = 300, MAX_FILE = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char current[512];

/* Names the input that crashed, then lets the signal do what it does. */
static void crashed(int signal_number)
{
    ssize_t written = write(STDERR_FILENO, current, strlen(current));
    (void)written;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static uint64_t draw(uint64_t file, uint32_t variant, uint32_t *n, uint64_t below)
{
    return rm_scale(rm_random(1, file, variant, (*n)++), below ? below : 1);
}

static size_t edit(uint8_t *data, size_t size, uint64_t file, uint32_t variant)
{
    static const uint8_t extremes[] = { 0, 1, 0x7f, 0x80, 0xff };
    uint32_t n = 0;
    for (uint64_t edits = 1 + draw(file, variant, &n, 4); edits > 0 && size > 0; edits--) {
        size_t at = draw(file, variant, &n, size);
        uint64_t kind = draw(file, variant, &n, 8);
        if (kind == 0) {
            size = at;
        } else if (kind == 1) {
            size_t from = draw(file, variant, &n, size);
            size_t most = size - (at > from ? at : from);
            memmove(data + at, data + from, draw(file, variant, &n, most + 1));
        } else {
            uint64_t value = draw(file, variant, &n, 261);
            data[at] = value < 256 ? (uint8_t)value : extremes[value - 256];
        }
    }
    return size;
}

/* Every input is a fresh allocation of its exact size, so that a sanitizer sees its end. */
static void run(const uint8_t *data, size_t size, uint64_t file, uint32_t variant)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    if (variant)
        size = edit(copy, size, file, variant);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int replay(const char *folder, const char *name)
{
    char path[1024], *data;
    size_t size;
    rm_error err;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (rm_file_read(path, MAX_FILE, &data, &size, &err)) {
        fprintf(stderr, "replay: %s\n", err.text);
        return 1;
    }
    uint64_t file = rm_hash_bytes(name, strlen(name));
    for (uint32_t variant = 0; variant <= VARIANTS; variant++) {
        snprintf(current, sizeof current, "replay: died at %.400s, variant %u\n", path, variant);
        run((const uint8_t *)data, size, file, variant);
    }
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    int n = 0, failed = 0;
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (!folder) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    signal(SIGSEGV, crashed);
    signal(SIGBUS, crashed);
    signal(SIGABRT, crashed);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.') {
            failed |= replay(argv[1], entry->d_name);
            n++;
        }
    closedir(folder);
    printf("%s: %d files, %d variants each\n", argv[1], n, VARIANTS);
    return failed || n == 0;
}
