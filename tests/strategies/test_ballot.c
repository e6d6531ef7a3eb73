/* test_ballot.c - votes, their weights and their ties, as a table of hand-counted elections. */
#include "strategies/ballot.h"

#include <criterion/criterion.h>
#include <math.h>

typedef struct voter {
    const char *answer;
    double weight, lp;
} voter;

typedef struct election {
    const char *why;
    bool logs;
    int n;
    voter voter[6];
    int winner;          /* index */
    double share;        /* of the winner's total in the sum */
} election;

static const election elections[] = {
    { "nobody votes", false, 0, { { 0 } }, -1, NAN },
    { "one vote", false, 1, { { "a", 1, -3 } }, 0, 1 },
    { "plurality beats likelihood",
      false,
      3,
      { { "a", 1, -1 }, { "b", 1, -9 }, { "b", 1, -8 } },
      2,
      2.0 / 3 },
    { "a tie goes to the answer with the likeliest path",
      false,
      4,
      { { "a", 1, -4 }, { "b", 1, -9 }, { "b", 1, -2 }, { "a", 1, -3 } },
      2,
      0.5 },
    { "an equal tie goes to the smaller index",
      false,
      2,
      { { "a", 1, -2 }, { "b", 1, -2 } },
      0,
      0.5 },
    { "within an answer the likelier path, then the smaller index, stands for it",
      false,
      3,
      { { "a", 1, -5 }, { "a", 1, -2 }, { "a", 1, -2 } },
      1,
      1 },
    { "none is not an answer",
      false,
      3,
      { { NULL, 1, -1 }, { NULL, 1, -1 }, { "a", 1, -9 } },
      2,
      1 },
    { "unless all lack one",
      false,
      3,
      { { NULL, 1, -3 }, { NULL, 1, -1 }, { NULL, 1, -2 } },
      1,
      1 },
    { "the empty answer is one", false, 2, { { "", 1, -3 }, { NULL, 1, -1 } }, 0, 1 },
    { "weights add",
      false,
      3,
      { { "a", 0.5, -1 }, { "b", 0.375, -9 }, { "b", 0.25, -8 } },
      2,
      0.625 / 1.125 },
    { "negative weights count against",
      false,
      3,
      { { "a", -1, -1 }, { "a", -1, -1 }, { "b", -1.5, -8 } },
      2,
      -1.5 / -3.5 },
    { "log weights: 0.2 + 0.2 > 0.3",
      true,
      3,
      { { "a", -1.2039728043259361, -1 },
        { "b", -1.6094379124341003, -9 },
        { "b", -1.6094379124341003, -8 } },
      2,
      0.4 / 0.7 },
    { "log weights far below exp's range: e^-1000 + e^-1000 > e^-999.5",
      true,
      3,
      { { "a", -999.5, -999.5 }, { "b", -1000, -1000 }, { "b", -1000, -1000 } },
      1,
      2 / (2 + 1.6487212707001282) },
    { "log weights: an infinitely small one counts 0",
      true,
      2,
      { { "a", -INFINITY, -1 }, { "b", -50, -2 } },
      1,
      1 },
    { "log weights: all 0, likelihood decides",
      true,
      2,
      { { "a", -INFINITY, -3 }, { "b", -INFINITY, -2 } },
      1,
      NAN },
};

Test(ballot, elections)
{
    for (size_t i = 0; i < sizeof elections / sizeof *elections; i++) {
        const election *e = &elections[i];
        ballot_vote votes[6];
        ballot b = { .vote = votes, .logs = e->logs };
        for (int v = 0; v < e->n; v++)
            ballot_add(&b, v, e->voter[v].answer, e->voter[v].weight, e->voter[v].lp);
        ballot_count(&b);
        cr_expect_eq(b.winner, e->winner, "%s: winner %d", e->why, b.winner);
        if (!isnan(e->share)) { /* 2^-40 is the resolution of log weights */
            double share = ballot_total(&b, e->winner) / b.sum;
            cr_expect(fabs(share - e->share) < 4e-12, "%s: share %.17g", e->why, share);
        }
    }
}

Test(ballot, order_of_voters_does_not_matter)
{
    /* 40 voters with weights over 30 nats, counted forwards and backwards: equal bits. */
    ballot_vote forward[40], backward[40];
    ballot f = { .vote = forward, .logs = true }, b = { .vote = backward, .logs = true };
    static const char *const names[] = { "x", "y", "z" };
    for (int i = 0; i < 40; i++) {
        int j = 39 - i;
        ballot_add(&f, i, names[i * 7 % 3], -(i * 37 % 300) / 10.0, -i);
        ballot_add(&b, j, names[j * 7 % 3], -(j * 37 % 300) / 10.0, -j);
    }
    ballot_count(&f);
    ballot_count(&b);
    cr_assert_eq(f.winner, b.winner);
    cr_assert_eq(f.n_answers, 3);
    for (int i = 0; i < 40; i++)
        cr_assert(ballot_total(&f, i) == ballot_total(&b, 39 - i));
}
