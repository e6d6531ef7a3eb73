/* stale.c - a plugin as another build would have made it, for test_plugin.c. */
#include "engine/ops.h"

RM_API extern const rm_plugin rm_plugin_symbol __asm__("rm_plugin");
const rm_plugin rm_plugin_symbol = { .build = "of last week", .ops = NULL };
