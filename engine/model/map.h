/* map.h - a model's file, mapped for reading. */
#ifndef RM_ENGINE_MODEL_MAP_H
#define RM_ENGINE_MODEL_MAP_H

#include "base/base.h"

/* Maps a regular file (an empty one gives n 0 and no mapping). It must not shrink while it is
 * mapped: the kernel raises SIGBUS, as with any program that maps its input. */
rm_status rm_map_open(const char *file, const void **bytes, size_t *n, rm_error *);
void rm_map_close(const void *bytes, size_t n);

#endif
