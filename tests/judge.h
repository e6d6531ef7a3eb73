/* judge.h - a model that judges, for tests: a copy of another one, told to judge by two tokens it
 * never uses. Any numbers will do, so the weights of those rows are drawn: values differ. */
#ifndef RM_TESTS_JUDGE_H
#define RM_TESTS_JUDGE_H

#include "engine/engine.h"
#include "engine/train.h"

#include <criterion/criterion.h>

enum { JUDGE_GOOD = 31, JUDGE_BAD = 30 };

static inline void write_judge(rm_engine *engine, const char *model, const char *file)
{
    rm_error err;
    rm_trainer *t;
    cr_assert_eq(rm_trainer_open(engine, model, &t, &err), RM_OK, "%s", err.text);
    size_t width = (size_t)rm_trainer_shape(t)->n_embd;
    for (size_t i = JUDGE_BAD * width; i < (JUDGE_GOOD + 1) * width;
         i++) /* the embedding is first */
        rm_trainer_values(t)[i] = (float)(0.1 * (rm_unit(rm_random(3, 1, (uint32_t)i, 0)) - 0.5));
    cr_assert_eq(rm_trainer_judge(t, JUDGE_GOOD, JUDGE_BAD, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_trainer_write(t, file, "judge", "f32", &err), RM_OK, "%s", err.text);
    rm_trainer_free(t);
}

#endif
