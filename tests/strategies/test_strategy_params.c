/* test_strategy_params.c - parameters: what is refused and how, what they look like as text, and
 * that every strategy describes itself. */
#include "strategies/strategy.h"

#include <criterion/criterion.h>
#include <string.h>

static rm_params *params_new(const char *name)
{
    rm_error err;
    const rm_strategy *strategy;
    rm_params *params;
    cr_assert_eq(rm_strategy_find(name, &strategy, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_params_new(strategy, &params, &err), RM_OK);
    return params;
}

/* What set says to one text; the sentence holds `says`. */
static const struct {
    const char *strategy, *name, *text, *says;
} refused[] = {
    { "beam", "num_beam", "4", "has no parameter 'num_beam'; the nearest is 'num_beams'" },
    { "sampling", "temprature", "1", "nearest is 'temperature'" },
    { "beam", "num_beams", "0", "an integer from 1 to 1024" },
    { "beam", "num_beams", "1025", "an integer from 1 to 1024" },
    { "beam", "num_beams", "4.0", "an integer" },
    { "beam", "num_beams", "", "an integer" },
    { "beam", "num_beams", "-", "an integer" },
    { "beam", "num_beams", " 4", "an integer" },
    { "beam", "num_beams", "4 ", "an integer" },
    { "beam", "num_beams", "0x4", "an integer" },
    { "beam", "num_beams", "99999999999999999999", "an integer" },
    { "beam", "early_stopping", "maybe", "expected false, true or never" },
    { "beam", "length_norm", "Total", "generated, total, gnmt or none" },
    { "beam", "length_penalty", "11", "a number from -10 to 10" },
    { "beam", "length_penalty", "nan", "a number" },
    { "beam", "length_penalty", "inf", "a number" },
    { "beam", "length_penalty", "1e999", "a number" },
    { "beam", "length_penalty", "0x1p1", "a number" },
    { "beam", "length_penalty", "1,5", "a number" },
    { "beam", "length_penalty", "1e", "a number" },
    { "sampling", "temperature", "0", "above 0 up to 100" },
    { "sampling", "top_p", "0", "above 0 up to 1" },
    { "sampling", "top_p", "1.01", "above 0 up to 1" },
    { "sampling", "min_p", "-0.1", "from 0 to 1" },
    { "ensemble-token", "do_sample", "yes", "true or false" },
    { "ensemble-token", "do_sample", "1", "true or false" },
    { "ensemble-token", "weights", "0.5,", "separated by commas" },
    { "ensemble-token", "weights", "0.5,,0.5", "separated by commas" },
    { "ensemble-token", "weights", "0", "each from 1e-06" },
    { "ensemble-token", "weights", "1,1,1,1,1,1,1,1,1", "up to 8 numbers" },
    { "self-consistency", "weight", "", "majority, prob, mean_prob or value" },
    { "mcts", "simulations", "0", "an integer from 1" },
};

Test(params, refused)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        rm_params *params = params_new(refused[i].strategy);
        rm_text before = { 0 }, after = { 0 };
        rm_error err;
        rm_params_json(params, &before);
        cr_expect_eq(rm_params_set(params, refused[i].name, refused[i].text, &err), RM_E_ARGUMENT,
                     "%s = \"%s\" was taken", refused[i].name, refused[i].text);
        cr_expect(strstr(err.text, refused[i].says), "%s = \"%s\": %s", refused[i].name,
                  refused[i].text, err.text);
        rm_params_json(params, &after);
        cr_expect_str_eq(before.data, after.data);
        rm_text_free(&before);
        rm_text_free(&after);
        rm_params_free(params);
    }
}

static const struct {
    const char *strategy, *name, *text, *reads;
} taken[] = {
    { "beam", "num_beams", "1024", "1024" },
    { "beam", "num_beams", "+8", "8" },
    { "beam", "length_penalty", "-1.50", "-1.5" },
    { "beam", "length_penalty", "-0", "0" },
    { "beam", "length_penalty", "1e-1", "0.1" },
    { "beam", "length_penalty", "0.30000000000000004", "0.30000000000000004" },
    { "beam", "early_stopping", "never", "never" },
    { "beam", "early_stopping", "true", "true" },
    { "sampling", "temperature", "1e-3", "0.001" },
    { "ensemble-token", "weights", "0.25,0.75", "0.25,0.75" },
    { "ensemble-token", "weights", "[0.25, 0.75]", "0.25,0.75" },
    { "ensemble-token", "weights", "", "" },
    { "ensemble-token", "do_sample", "true", "true" },
};

Test(params, taken)
{
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        rm_params *params = params_new(taken[i].strategy);
        rm_text text = { 0 };
        rm_error err;
        cr_expect_eq(rm_params_set(params, taken[i].name, taken[i].text, &err), RM_OK, "%s",
                     err.text);
        cr_expect(rm_params_get(params, taken[i].name, &text));
        cr_expect_str_eq(text.data ? text.data : "", taken[i].reads);
        cr_expect_not(rm_params_get(params, "no_such", &text));
        rm_text_free(&text);
        rm_params_free(params);
    }
}

Test(params, canonical_json)
{
    rm_params *params = params_new("beam");
    rm_text text = { 0 };
    cr_assert_eq(rm_params_set(params, "early_stopping", "never", NULL), RM_OK);
    cr_assert_eq(rm_params_set(params, "length_penalty", "0.1", NULL), RM_OK);
    rm_params_json(params, &text);
    cr_expect_str_eq(text.data,
                     "{\"num_beams\":4,\"num_return_sequences\":0,\"length_penalty\":0.1,"
                     "\"early_stopping\":\"never\",\"length_norm\":\"generated\","
                     "\"repetition_penalty\":1,\"num_beam_groups\":1,\"diversity_penalty\":0,"
                     "\"max_new_tokens\":256}");
    rm_text_free(&text);
    cr_assert_eq(rm_params_set(params, "early_stopping", "true", NULL), RM_OK);
    rm_params_json(params, &text);
    cr_expect(strstr(text.data, "\"early_stopping\":true,"));
    rm_text_free(&text);
    rm_params_free(params);

    params = params_new("ensemble-token");
    cr_assert_eq(rm_params_set(params, "weights", "0.5,1", NULL), RM_OK);
    rm_params_json(params, &text);
    cr_expect(strstr(text.data, "\"weights\":[0.5,1],\"do_sample\":false,"));
    rm_text_free(&text);
    rm_params_free(params);
}

/* Combinations: words set, number of models, NULL or what the sentence holds. */
static const struct {
    const char *strategy, *name[2], *text[2];
    int n_models;
    const char *says;
} combined[] = {
    { "greedy", { 0 }, { 0 }, 1, NULL },
    { "greedy", { 0 }, { 0 }, 2, "takes 1 model, not 2" },
    { "greedy", { 0 }, { 0 }, 0, "takes 1 model, not 0" },
    { "ensemble-vote", { 0 }, { 0 }, 1, "takes 2 to 8 models, not 1" },
    { "ensemble-vote", { "weight" }, { "log_odds" }, 2, "one accuracy for each of the 2 models" },
    { "ensemble-vote", { "weight", "accuracy" }, { "log_odds", "0.5,0.9" }, 2, NULL },
    { "ensemble-vote", { "accuracy" }, { "0.5,0.9" }, 2, "only used with weight = log_odds" },
    { "ensemble-token", { "weights" }, { "1" }, 2, "one number for each of the 2 models" },
    { "ensemble-token", { "num_return_sequences" }, { "2" }, 2, "needs do_sample" },
    { "ensemble-token", { "do_sample", "num_beams" }, { "true", "2" }, 2, "does not go with" },
    { "ensemble-token", { "temperature" }, { "0.5" }, 2, "without do_sample = true" },
    { "ensemble-token", { "top_k", "num_beams" }, { "9", "2" }, 2, "without do_sample = true" },
    { "ensemble-token", { "top_p", "do_sample" }, { "0.9", "true" }, 2, NULL },
    { "ensemble-token", { "length_penalty" }, { "0" }, 2, "no effect with num_beams = 1" },
    { "ensemble-token", { "early_stopping" }, { "never" }, 2, "no effect with num_beams = 1" },
    { "ensemble-token", { "length_norm", "num_beams" }, { "gnmt", "2" }, 2, NULL },
    { "ensemble-token", { "repetition_penalty" }, { "1.2" }, 2, NULL },
    { "beam", { "num_return_sequences" }, { "5" }, 1, "exceeds num_beams = 4" },
    { "beam", { "num_beam_groups" }, { "3" }, 1, "divisible by num_beam_groups = 3" },
    { "beam", { "diversity_penalty" }, { "1" }, 1, "no effect" },
    { "mcts", { "evaluate", "score" }, { "prefix", "agreement" }, 1, "needs score = lp" },
    { "mcts", { "selection", "noise_epsilon" }, { "uct", "0.25" }, 1, "uses no priors" },
    { "mcts", { "noise_epsilon" }, { "0.25" }, 1, NULL },
};

Test(params, combined)
{
    for (size_t i = 0; i < sizeof combined / sizeof *combined; i++) {
        rm_params *params = params_new(combined[i].strategy);
        rm_error err = { "" };
        for (int w = 0; w < 2 && combined[i].name[w]; w++)
            cr_assert_eq(rm_params_set(params, combined[i].name[w], combined[i].text[w], &err),
                         RM_OK, "%s", err.text);
        rm_status status = rm_params_check(params, combined[i].n_models, &err);
        if (combined[i].says)
            cr_expect(status == RM_E_ARGUMENT && strstr(err.text, combined[i].says), "row %zu: %s",
                      i, err.text);
        else
            cr_expect_eq(status, RM_OK, "row %zu: %s", i, err.text);
        rm_params_free(params);
    }
}

Test(registry, nearest_name)
{
    static const char *const pairs[][2] = { { "gredy", "greedy" }, { "beams", "beam" },
                                            { "self-consistancy", "self-consistency" },
                                            { "best_of_n", "best-of-n" }, { "MCTS", "mcts" } };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const rm_strategy *strategy = NULL;
        rm_error err;
        cr_expect_eq(rm_strategy_find(pairs[i][0], &strategy, &err), RM_E_ARGUMENT);
        if (i < 4) /* by distance; all capitals are far from everything */
            cr_expect(strstr(err.text, pairs[i][1]), "%s", err.text);
        cr_expect_null(strategy);
    }
}

Test(registry, every_strategy_describes_itself)
{
    for (const rm_strategy *const *s = rm_strategies(); *s; s++) {
        rm_error err;
        const rm_strategy *found;
        rm_params *params;
        cr_assert_eq(rm_strategy_find((*s)->name, &found, &err), RM_OK);
        cr_expect_eq(found, *s);
        cr_expect((*s)->paper && (*s)->summary && (*s)->needs && (*s)->exchangeable);
        cr_expect((*s)->pool ? (*s)->choose != NULL : (*s)->run != NULL, "%s cannot run",
                  (*s)->name);
        cr_assert_eq(rm_params_new(*s, &params, &err), RM_OK);
        bool has_size = (*s)->size_param == NULL;
        for (const rm_param *p = (*s)->params; p->name; p++) {
            rm_text text = { 0 };
            cr_expect(p->help && strlen(p->help) > 3, "%s of %s", p->name, (*s)->name);
            cr_expect(rm_params_get(params, p->name, &text));
            cr_expect_eq(rm_params_set(params, p->name, text.data ? text.data : "", &err), RM_OK,
                         "the default of %s is refused: %s", p->name, err.text);
            rm_text_free(&text);
            has_size |= (*s)->size_param && strcmp((*s)->size_param, p->name) == 0;
        }
        cr_expect(has_size, "%s has no parameter %s", (*s)->name, (*s)->size_param);
        cr_expect_eq(rm_params_check(params, (*s)->min_models, &err), RM_OK, "%s", err.text);
        cr_expect((*s)->needs(rm_params_values(params)));
        rm_params_free(params);
    }
}
