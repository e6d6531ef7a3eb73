/* reasons.c - what the reasons for stopping are called in records. */
#include "experiments/store.h"

#include <string.h>

static const char *const reasons[] = { "none", "token", "string", "step", "length", "context",
                                       "budget" };

const char *rm_stop_reason_name(rm_stop_reason reason)
{
    return (size_t)reason < sizeof reasons / sizeof *reasons ? reasons[reason] : "none";
}

rm_stop_reason rm_stop_reason_find(const char *name)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (strcmp(name, reasons[i]) == 0)
            return (rm_stop_reason)i;
    return RM_STOP_NONE;
}
