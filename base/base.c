/* base.c - errors, text, files and the clock. */
#define _GNU_SOURCE
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- errors ---------------------------------------------------------------------------- */

/* Cuts a trailing partial UTF-8 sequence, which truncation by vsnprintf can leave. */
static void trim_to_utf8(char *text)
{
    size_t n = strlen(text);
    size_t start = n;
    while (start > 0 && n - start < 4 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0xC0)
        start--;
    if (start + rm_utf8_valid_prefix(text + start, n - start) < n && n + 1 >= sizeof(rm_error))
        text[start] = '\0';
}

rm_status rm_fail(rm_error *err, rm_status status, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        trim_to_utf8(err->text);
    }
    return status;
}

rm_status rm_fail_within(rm_error *err, rm_status status, const char *format, ...)
{
    if (err) {
        rm_error inner = *err;
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        size_t room = sizeof err->text - 1, used = strlen(err->text);
        const char *parts[] = { ": ", inner.text };
        for (int i = 0; i < 2; i++) {
            size_t n = strlen(parts[i]);
            n = n < room - used ? n : room - used;
            memcpy(err->text + used, parts[i], n);
            used += n;
        }
        err->text[used] = '\0';
        trim_to_utf8(err->text);
    }
    return status;
}

/* ---- text ------------------------------------------------------------------------------ */

static bool text_reserve(rm_text *text, size_t more)
{
    if (text->failed || more > SIZE_MAX / 2 - text->length - 1) {
        text->failed = true;
        return false;
    }
    size_t need = text->length + more + 1;
    if (need <= text->capacity)
        return true;
    size_t capacity = text->capacity ? text->capacity : 64;
    while (capacity < need)
        capacity *= 2;
    char *data = realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void rm_text_add(rm_text *text, const char *bytes, size_t n)
{
    if (!text_reserve(text, n))
        return;
    if (n)
        memcpy(text->data + text->length, bytes, n);
    text->length += n;
    text->data[text->length] = '\0';
}

void rm_text_puts(rm_text *text, const char *string)
{
    rm_text_add(text, string, strlen(string));
}

void rm_text_printf(rm_text *text, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        text->failed = true;
    else if (text_reserve(text, (size_t)n)) {
        vsnprintf(text->data + text->length, (size_t)n + 1, format, again);
        text->length += (size_t)n;
    }
    va_end(again);
}

void rm_text_free(rm_text *text)
{
    free(text->data);
    *text = (rm_text){ 0 };
}

/* Length of the UTF-8 sequence at p[0..n), 0 if it is not one (Unicode 15, table 3-7). */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
    unsigned char a = p[0];
    if (a < 0x80)
        return 1;
    if (a < 0xC2 || a > 0xF4)
        return 0;
    size_t length = a < 0xE0 ? 2 : a < 0xF0 ? 3 : 4;
    if (n < length)
        return 0;
    unsigned char low = 0x80, high = 0xBF;
    if (a == 0xE0)
        low = 0xA0; /* overlong */
    else if (a == 0xED)
        high = 0x9F; /* surrogates */
    else if (a == 0xF0)
        low = 0x90; /* overlong */
    else if (a == 0xF4)
        high = 0x8F; /* above U+10FFFF */
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

size_t rm_utf8_valid_prefix(const char *bytes, size_t n)
{
    const unsigned char *p = (const unsigned char *)bytes;
    size_t i = 0;
    while (i < n) {
        size_t length = utf8_sequence(p + i, n - i);
        if (!length)
            break;
        i += length;
    }
    return i;
}

int rm_word_distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    size_t n = strlen(a), m = strlen(b);
    if (n >= MAX || m >= MAX)
        return MAX;
    int d[MAX + 1][MAX + 1];
    for (size_t i = 0; i <= n; i++)
        d[i][0] = (int)i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

/* ---- files ----------------------------------------------------------------------------- */

rm_status rm_file_read(const char *path, size_t max_bytes, char **data, size_t *n, rm_error *err)
{
    rm_status status = RM_OK;
    char *buffer = NULL;
    size_t length = 0;
    struct stat info;

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return rm_fail(err, RM_E_IO, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &info) != 0) {
        status = rm_fail(err, RM_E_IO, "cannot examine %s: %s", path, strerror(errno));
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        status = rm_fail(err, RM_E_IO, "%s is not a regular file", path);
        goto done;
    }
    if ((uintmax_t)info.st_size > max_bytes) {
        status = rm_fail(err, RM_E_FORMAT, "%s has %jd bytes; at most %zu are accepted here", path,
                         (intmax_t)info.st_size, max_bytes);
        goto done;
    }
    length = (size_t)info.st_size;
    buffer = malloc(length + 1);
    if (!buffer) {
        status = rm_fail(err, RM_E_MEMORY, "no memory for the %zu bytes of %s", length, path);
        goto done;
    }
    for (size_t have = 0; have < length;) {
        ssize_t got = read(fd, buffer + have, length - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            status = rm_fail(err, RM_E_IO, "cannot read %s after byte %zu: %s", path, have,
                             got < 0 ? strerror(errno) : "the file became shorter");
            goto done;
        }
        have += (size_t)got;
    }
    buffer[length] = '\0';
    *data = buffer;
    *n = length;
    buffer = NULL;
done:
    free(buffer);
    close(fd);
    return status;
}

rm_status rm_file_write(const char *path, const char *data, size_t n, rm_error *err)
{
    rm_status status = RM_OK;
    rm_text temporary = { 0 };
    struct stat there;
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode)) /* renaming would put a file for it */
        return rm_fail(err, RM_E_IO, "cannot replace %s: it is not a regular file", path);
    rm_text_printf(&temporary, "%s.%ld.tmp", path, (long)getpid());
    if (temporary.failed) {
        rm_text_free(&temporary);
        return rm_fail(err, RM_E_MEMORY, "no memory for the name of a temporary file");
    }
    int fd = open(temporary.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        status = rm_fail(err, RM_E_IO, "cannot create %s: %s", path, strerror(errno));
        goto done;
    }
    for (size_t have = 0; have < n && !status;) {
        ssize_t put = write(fd, data + have, n - have);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            status = rm_fail(err, RM_E_IO, "cannot write %s: %s", path, strerror(errno));
        else
            have += (size_t)put;
    }
    if (!status && fsync(fd) != 0 && errno != EINVAL && errno != EROFS)
        status = rm_fail(err, RM_E_IO, "cannot write %s: %s", path, strerror(errno));
    if (close(fd) != 0 && !status)
        status = rm_fail(err, RM_E_IO, "cannot write %s: %s", path, strerror(errno));
    if (!status && rename(temporary.data, path) != 0)
        status = rm_fail(err, RM_E_IO, "cannot replace %s: %s", path, strerror(errno));
    if (status)
        unlink(temporary.data);
done:
    rm_text_free(&temporary);
    return status;
}

/* ---- time and hashes --------------------------------------------------------------------- */

double rm_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

uint64_t rm_hash_bytes(const void *bytes, size_t n)
{
    return XXH3_64bits(bytes, n);
}
