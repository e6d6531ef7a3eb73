/* test_strategies.c - every strategy on the device in software, in f32: the candidates of the CPU, their
 * texts and their log-probabilities bit for bit. */
#include "strategies/strategy.h"
#include "tests/cuda/engine.h"

/* What keeps a strategy short, where it has such a parameter. */
static const char *const brief[][2] = {
    { "max_new_tokens", "6" },   { "num_return_sequences", "3" }, { "num_beams", "3" },
    { "beam_width", "3" },
    { "simulations", "2" },      { "expand", "2" },               { "max_samples", "4" },
};

static const char *whole_text(const rm_problem *problem, rm_run *run, const char *text)
{
    (void)problem;
    char *copy = rm_run_alloc(run, strlen(text) + 1);
    return copy ? strcpy(copy, text) : NULL;
}

static double as_long(const rm_problem *problem, const char *answer)
{
    (void)problem;
    return (double)strlen(answer);
}

static uint64_t outcome_on(const rm_ops *ops, const char *file, const rm_strategy *strategy)
{
    static const char *const step[] = { "a" };
    rm_problem problem = { .id = "p", .prompt = "one and two", .step_ends = step, .n_step_ends = 1,
                           .think_end = "z", .wait = "b", .answer = whole_text,
                           .verify = as_long, .oracle = as_long };
    rm_error err = { "" };
    rm_engine *engine = engine_on(ops, (rm_engine_options){ .max_batch_rows = 64 });
    rm_model *models[2];
    for (int i = 0; i < 2; i++)
        models[i] = model_on(engine, file, "f32");
    rm_params *params;
    rm_run *run;
    rm_outcome out;
    must(rm_params_new(strategy, &params, &err), &err);
    for (size_t i = 0; i < sizeof brief / sizeof *brief; i++)
        (void)rm_params_set(params, brief[i][0], brief[i][1], &(rm_error){ "" });
    must(rm_run_open(engine, &(rm_run_options){ .seed = 5, .problem = 9 }, &run, &err), &err);
    rm_trial trial = { .run = run, .problem = &problem, .models = models,
                       .n_models = strncmp(strategy->name, "ensemble", 8) == 0 ? 2 : 1 };
    must(rm_strategy_run(&trial, params, &out, &err), &err);
    uint64_t hash = rm_mix((uint64_t)out.n_candidates, (uint64_t)(out.chosen + 1));
    for (int i = 0; i < out.n_candidates; i++) {
        hash = rm_mix(hash, rm_hash_bytes(out.candidates[i].text, strlen(out.candidates[i].text)));
        hash = rm_mix(hash, rm_bits(out.candidates[i].lp));
    }
    rm_params_free(params);
    rm_run_close(run);
    for (int i = 0; i < 2; i++)
        rm_model_close(models[i]);
    rm_engine_close(engine);
    return hash;
}

Test(cuda_strategies, every_one_has_the_candidates_of_the_cpu)
{
    char file[64];
    int n = 0;
    random_model(file, "f32", 32, 24, 7);
    for (const rm_strategy *const *s = rm_strategies(); *s; s++, n++)
        cr_expect_eq(outcome_on(&rm_cuda_ops, file, *s), outcome_on(&rm_cpu_ops, file, *s), "%s",
                     (*s)->name);
    unlink(file);
    cr_expect_gt(n, 5);
    cr_expect_eq(runtime.used, 0);
}
