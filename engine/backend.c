/* backend.c - which table of operations serves an engine: the one place that knows (backend.h). */
#include "engine/backend.h"

#include <stdio.h>
#include <string.h>

static rm_status take(const rm_ops *ops, bool automatic, const char *why, rm_backend_choice *out)
{
    *out = (rm_backend_choice){ .ops = ops, .automatic = automatic };
    snprintf(out->why, sizeof out->why, "%s", why);
    return RM_OK;
}

/* Nobody named a backend. What only a device can do is asked of it, and what only a processor has
 * of the CPU; else a device is taken where there is one. */
static rm_status find_auto(bool said, const rm_backend_options *options, rm_backend_choice *out,
                           rm_error *err)
{
    const rm_ops *cuda;
    rm_error reason;
    if (options->isa)
        return take(&rm_cpu_ops, true, said ? "cpu, since an instruction set was named" : "", out);
    rm_status status = rm_plugin_load(&cuda, &reason);
    if (!status)
        return take(cuda, true, "cuda, since a driver and the plugin are here", out);
    if (options->device || options->fast)
        return rm_fail(err, status, "%s backend \"cuda\": %s",
                       options->fast ? "fast products need" : "a device's number needs", reason.text);
    char why[sizeof out->why];
    snprintf(why, sizeof why, "cpu, since %.*s", (int)sizeof why - 12, reason.text);
    return take(&rm_cpu_ops, true, said || rm_driver_present() ? why : "", out);
}

rm_status rm_backend_find(const char *name, const rm_backend_options *options,
                          rm_backend_choice *out, rm_error *err)
{
    if (!name || !strcmp(name, "auto"))
        return find_auto(name != NULL, options, out, err);
    if (!strcmp(name, "cpu"))
        return options->device || options->fast
                   ? rm_fail(err, RM_E_ARGUMENT, "backend \"cpu\" has no %s",
                             options->fast ? "fast products" : "devices to choose from")
                   : take(&rm_cpu_ops, false, "", out);
    if (strcmp(name, "cuda") != 0)
        return rm_fail(err, RM_E_ARGUMENT,
                       "there is no backend \"%.40s\"; auto, cpu or cuda was expected", name);
    const rm_ops *cuda;
    rm_error reason;
    rm_status status = rm_plugin_load(&cuda, &reason);
    return status ? rm_fail(err, status, "backend \"cuda\" cannot be used: %s", reason.text)
                  : take(cuda, false, "", out);
}
