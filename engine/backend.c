/* backend.c - which table of operations serves an engine: the one place that knows. */
#include "engine/core.h"

#include <string.h>

rm_status rm_backend_find(const char *name, const rm_ops **ops, rm_error *err)
{
    static const rm_ops *const tables[] = { &rm_cpu_ops };
    if (!name || !strcmp(name, "auto")) {
        *ops = tables[0];
        return RM_OK;
    }
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (!strcmp(name, tables[i]->name)) {
            *ops = tables[i];
            return RM_OK;
        }
    return rm_fail(err, RM_E_UNSUPPORTED,
                   "there is no backend \"%s\" in this build; it has: auto, %s", name,
                   tables[0]->name);
}
