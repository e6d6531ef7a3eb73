/* version.c - which program this is: its version, and its commit as git describes it. */
#include "experiments/manifest.h"

#include "engine/engine.h"

#ifndef RM_GIT_DESCRIBE
#define RM_GIT_DESCRIBE ""
#endif

const char rm_version_git[] = RM_GIT_DESCRIBE;

const char *rm_version_text(void)
{
    return rm_version_git[0] ? RM_VERSION " (" RM_GIT_DESCRIBE ")" : RM_VERSION;
}
