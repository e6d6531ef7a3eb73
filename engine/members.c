/* members.c - tokens chosen from a combined distribution, appended by whoever chose them: to all
 * members or, where one refuses, to none. */
#include "engine/run.h"

rm_status rm_members_append(const rm_member *members, int n_members, const int32_t *tokens, int n,
                            rm_error *err)
{
    for (int m = 0; m < n_members; m++) {
        rm_status status = rm_path_prepare(members[m].path, tokens, n, err);
        if (status)
            return status;
    }
    for (int m = 0; m < n_members; m++) {
        rm_path *path = members[m].path;
        rm_status status = rm_path_append(path, tokens, n, err);
        if (status) /* a path that was given twice */
            return status;
        if (m > 0) /* the first has counted them */
            path->run->generated -= (uint64_t)n;
    }
    return RM_OK;
}
