/* backend.h - which table of operations serves an engine. */
#ifndef RM_ENGINE_BACKEND_H
#define RM_ENGINE_BACKEND_H

#include "engine/ops.h"

typedef struct rm_backend_choice {
    const rm_ops *ops;
    bool automatic;   /* nobody asked for this one by name */
    char why[192];    /* what was taken and the reason; "" where there was nothing to choose */
} rm_backend_choice;

/* "cpu", "cuda", or NULL and "auto": CUDA where a driver and a plugin of this build are, else the
 * CPU. Of the options `isa`, `device` and `fast` are read. */
rm_status rm_backend_find(const char *name, const rm_backend_options *, rm_backend_choice *,
                          rm_error *);

/* The CUDA plugin's table; one sentence if there is none: no driver, no plugin, one of another
 * build. A plugin once loaded stays. */
rm_status rm_plugin_load(const rm_ops **, rm_error *);

/* The same of one file, whatever drivers there are. */
rm_status rm_plugin_open(const char *file, const rm_ops **, rm_error *);

/* Is there an NVIDIA driver, without which there is nothing to choose? */
bool rm_driver_present(void);

#endif
