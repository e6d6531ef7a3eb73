/* test_train_objective.c - GRPO, Dr. GRPO and DAPO by hand-worked tables, and the slopes against
 * finite differences of the objective as its definition states it. */
#include "experiments/train/train.h"

#include <criterion/criterion.h>
#include <math.h>

static void near_to(double got, double expected, const char *what)
{
    cr_expect(fabs(got - expected) < 2e-6 * (1 + fabs(expected)), "%s: got %.9g, expected %.9g",
              what, got, expected);
}

/* Rewards 1 0 0 1: mean 1/2, population deviation 1/2. Rewards 1.1 0.1 0.1 0.1: mean 0.35, squares
 * 0.5625 and three of 0.0625, variance 0.1875. */
static const struct {
    double reward[4], grpo[4], dr[4];
    bool signal;
} groups[] = {
    { { 1, 0, 0, 1 }, { 1, -1, -1, 1 }, { 0.5, -0.5, -0.5, 0.5 }, true },
    { { 1.1, 0.1, 0.1, 0.1 },
      { 1.7320508, -0.5773503, -0.5773503, -0.5773503 },
      { 0.75, -0.25, -0.25, -0.25 },
      true },
    { { 0.1, 0.1, 0.1, 0.1 }, { 0 }, { 0 }, false },
};

Test(train_objective, advantages)
{
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
        for (int objective = OBJECTIVE_GRPO; objective <= OBJECTIVE_DAPO; objective++) {
            group_sample sample[4] = { { 0 } };
            for (int i = 0; i < 4; i++)
                sample[i].reward = groups[g].reward[i];
            cr_expect_eq(group_advantages((group_objective)objective, sample, 4), groups[g].signal);
            for (int i = 0; i < 4; i++)
                cr_expect(fabs(sample[i].advantage - (objective == OBJECTIVE_DR_GRPO
                                                          ? groups[g].dr[i]
                                                          : groups[g].grpo[i])) < 1e-5,
                          "group %zu, sample %d: %g", g, i, sample[i].advantage);
        }
}

/* Two samples of 10 and 30 tokens: which weight each token has. */
Test(train_objective, weights)
{
    near_to(token_weight(OBJECTIVE_GRPO, 10, 2, 40, 100), 1.0 / 20, "a short sample's token");
    near_to(token_weight(OBJECTIVE_GRPO, 30, 2, 40, 100), 1.0 / 60, "a long one's weighs less");
    near_to(token_weight(OBJECTIVE_DR_GRPO, 10, 2, 40, 100), 1.0 / 200, "constant length");
    near_to(token_weight(OBJECTIVE_DR_GRPO, 30, 2, 40, 100), 1.0 / 200, "constant length");
    near_to(token_weight(OBJECTIVE_DAPO, 10, 2, 40, 100), 1.0 / 40, "all tokens alike");
    near_to(token_weight(OBJECTIVE_DAPO, 30, 2, 40, 100), 1.0 / 40, "all tokens alike");
}

Test(train_objective, overlong_answers)
{
    static const struct { int n; double penalty; } table[] = {
        { 0, 0 }, { 80, 0 }, { 81, -0.05 }, { 90, -0.5 }, { 99, -0.95 }, { 100, -1 }, { 130, -1 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        near_to(overlong_penalty(table[i].n, 100, 20), table[i].penalty, "penalty");
    near_to(overlong_penalty(100, 100, 0), 0, "no buffer, no penalty");
}

/* The loss of one token, from the definition in objective.c's head. */
static double loss(const train_recipe *r, double weight, double advantage, double lp, double old,
                   double reference)
{
    double rho = exp(lp - old), low = 1 - r->clip_low, high = 1 + r->clip_high;
    double clipped = rho < low ? low : rho > high ? high : rho, d = reference - lp;
    double beta = r->objective == OBJECTIVE_DAPO ? 0 : r->beta;
    return -weight * (fmin(rho * advantage, clipped * advantage) - beta * (exp(d) - d - 1));
}

Test(train_objective, slopes_are_derivatives)
{
    static const double offsets[] = { -0.9, -0.3, -0.1, 0, 0.05, 0.2, 0.4, 1.1 }; /* lp - old */
    static const double advantages[] = { -1.3, 0.7 }, references[] = { -2.5, -1.9 };
    for (int objective = OBJECTIVE_GRPO; objective <= OBJECTIVE_DAPO; objective++)
        for (int beta = 0; beta < 2; beta++)
            for (size_t a = 0; a < 2; a++)
                for (size_t o = 0; o < sizeof offsets / sizeof *offsets; o++)
                    for (size_t k = 0; k < 2; k++) {
                        train_recipe r = { .objective = objective, .clip_low = 0.2,
                                           .clip_high = 0.28, .beta = 0.1 * beta };
                        double old = -2, lp = old + offsets[o], h = 1e-6;
                        double up = loss(&r, 0.3, advantages[a], lp + h, old, references[k]);
                        double down = loss(&r, 0.3, advantages[a], lp - h, old, references[k]);
                        near_to(token_slope(&r, 0.3, advantages[a], lp, old, references[k]),
                                (up - down) / (2 * h), "slope");
                    }
}

Test(train_objective, the_first_update_is_plain_policy_gradient)
{
    train_recipe r = { .objective = OBJECTIVE_GRPO, .clip_low = 0.2, .clip_high = 0.2 };
    cr_expect_eq(token_slope(&r, 0.5, 2, -1.25, -1.25, -1.25), -1.0, "ratio 1: exactly -w A");
}
