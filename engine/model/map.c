/* map.c - mapping a file. */
#define _GNU_SOURCE
#include "engine/model/map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

rm_status rm_map_open(const char *file, const void **bytes, size_t *n, rm_error *err)
{
    struct stat info;
    rm_status st = RM_OK;
    void *map = NULL;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang us */
    if (fd < 0)
        return rm_fail(err, RM_E_IO, "%s: cannot open the model file: %s", file, strerror(errno));
    if (fstat(fd, &info))
        st = rm_fail(err, RM_E_IO, "%s: cannot stat: %s", file, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        st = rm_fail(err, RM_E_ARGUMENT, "%s: not a regular file", file);
    else if (info.st_size &&
             (map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        st = rm_fail(err, RM_E_IO, "%s: cannot map %lld bytes: %s", file, (long long)info.st_size,
                     strerror(errno));
    close(fd);
    if (st)
        return st;
    *bytes = map;
    *n = (size_t)info.st_size;
    return RM_OK;
}

void rm_map_close(const void *bytes, size_t n)
{
    if (bytes && n)
        munmap((void *)(uintptr_t)bytes, n);
}
