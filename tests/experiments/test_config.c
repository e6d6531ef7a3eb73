/* test_config.c - experiment files: plans, labels, sweeps, and every way to get one wrong. */
#include "experiments/config.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef RM_SOURCE_DIR
#define RM_SOURCE_DIR "."
#endif

#define COUNT(table) (sizeof table / sizeof *table)

static rm_status parse(const char *text, rm_config **config, rm_error *err)
{
    *config = NULL;
    return rm_config_parse("dir/c.json", text, strlen(text), config, err);
}

static rm_config *must_parse(const char *text)
{
    rm_config *config;
    rm_error err = { { 0 } };
    cr_assert_eq(parse(text, &config, &err), RM_OK, "%s", err.text);
    return config;
}

#define MODELS "\"models\": [\"a\", \"b\"]"
#define ONE "\"models\": [\"a\"]"
#define TASKS "\"tasks\": [{\"kind\": \"arithmetic\"}, {\"kind\": \"countdown\"}]"
#define TASK "\"tasks\": [{\"kind\": \"countdown\"}]"

/* ---- plans ----------------------------------------------------------------------------------- */

Test(config, defaults)
{
    rm_config *c = must_parse("{" ONE "," TASK ", \"strategies\": [{\"strategy\": \"greedy\"}]}");
    cr_expect_str_eq(c->name, "c");
    cr_expect_str_eq(c->description, "");
    cr_expect_eq(c->problems, 100);
    cr_expect(c->n_seeds == 1 && c->seeds[0] == 1);
    cr_expect(c->latency_problems == 0 && c->latency_repeats == 3 && c->latency_warmup == 1);
    cr_expect_str_eq(c->primary_metric, "accuracy");
    cr_expect(isnan(c->margin));
    cr_expect_eq(c->direction, RM_DIRECTION_NONE);
    cr_expect_null(c->isa);
    cr_expect_null(c->baseline);
    cr_expect_str_eq(c->models[0].file, "a");
    cr_expect_null(c->models[0].options.compute);
    cr_expect_eq(c->n_cells, 1);
    cr_expect_str_eq(c->cells[0].label, "greedy");
    cr_expect(isnan(c->cells[0].size));
    rm_config_free(c);
}

Test(config, everything)
{
    rm_config *c = must_parse(
        "// head\n{\"name\": \"x\", \"description\": \"d\", \"models\": {\"m\": {\"file\": "
        "\"f.gguf\","
        " \"compute\": \"bf16\", \"kv\": \"f32\"}, \"n\": \"g\"}," TASKS ","
        "\"generation\": {\"temperature\": 0.8, \"max_new_tokens\": 50}, /* two cells */"
        "\"strategies\": [{\"strategy\": \"greedy\", \"models\": \"m\", \"tasks\": \"countdown\"},"
        " {\"strategy\": \"sampling\", \"models\": [\"n\"], \"tasks\": [\"countdown\"],"
        "  \"temperature\": 1, \"independent\": true}],"
        "\"seeds\": [18446744073709551615, 0], \"problems\": 7,"
        "\"latency\": {\"problems\": 5, \"repeats\": 4, \"warmup\": 2},"
        "\"limits\": {\"max_wall_ms\": 1.5, \"max_generated_tokens\": 99, \"kv_quota_mib\": 2},"
        "\"engine\": {\"concurrency\": 3, \"threads\": 2, \"max_batch_rows\": 64, \"kv_mib\": 100,"
        " \"isa\": \"portable\"},"
        "\"analysis\": {\"primary_metric\": \"accuracy\", \"margin\": 0.02, \"baseline\": \"m: "
        "greedy\","
        " \"direction\": \"lower\","
        " \"comparisons\": [[\"m: greedy\", \"n: sampling independent\"]]}}");
    cr_expect_str_eq(c->models[0].options.compute, "bf16");
    cr_expect_str_eq(c->models[0].options.kv, "f32");
    cr_expect_eq(c->seeds[0], UINT64_MAX);
    cr_expect(c->latency_problems == 5 && c->latency_repeats == 4 && c->latency_warmup == 2);
    cr_expect(c->max_wall_ms == 1.5 && c->max_generated_tokens == 99);
    cr_expect(c->kv_bytes == (size_t)100 << 20 && c->kv_quota_bytes == (size_t)2 << 20);
    cr_expect(c->concurrency == 3 && c->threads == 2 && c->max_batch_rows == 64);
    cr_expect_str_eq(c->isa, "portable");
    cr_expect_eq(c->margin, 0.02);
    cr_expect_eq(c->direction, RM_DIRECTION_LOWER);
    cr_expect_str_eq(c->baseline, "m: greedy");
    cr_expect_eq(c->n_pairs, 1);
    cr_assert_eq(c->n_cells, 2);
    cr_expect(c->cells[1].independent);
    rm_text v = { 0 };
    cr_expect(rm_params_get(c->cells[1].params, "temperature", &v));
    cr_expect_str_eq(v.data, "1", "the entry wins over generation");
    rm_text_free(&v);
    cr_expect(rm_params_get(c->cells[0].params, "max_new_tokens", &v));
    cr_expect_str_eq(v.data, "50", "generation wins over the task");
    rm_text_free(&v);
    rm_config_free(c);
}

/* One temperature for all draws does not disturb a strategy that is told not to draw; said to the
 * strategy itself it is a contradiction. */
Test(config, generation_leaves_out_what_has_no_effect)
{
    static const char *const draws[] = { "", ", \"do_sample\": true" },
        *const kept[] = { "1", "0.5" };
    for (int i = 0; i < 2; i++) {
        char text[640];
        snprintf(text, sizeof text, "{\"models\": [\"m\", \"n\"]," TASK ",\"generation\": "
                 "{\"temperature\": 0.5}, \"strategies\": [{\"strategy\": \"ensemble-token\"%s}]}",
                 draws[i]);
        rm_config *c = must_parse(text);
        rm_text v = { 0 };
        cr_expect(rm_params_get(c->cells[0].params, "temperature", &v));
        cr_expect_str_eq(v.data, kept[i]);
        rm_text_free(&v);
        rm_config_free(c);
    }
}

static const struct plan {
    const char *text;
    int n_cells;
    const char *labels[8], *families[8];
    double sizes[8];
} plans[] = {
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"beam\", \"num_beams\": [2, 4]}]}", 2,
      { "beam 2", "beam 4" }, { "beam", "beam" }, { 2, 4 } },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"beam\", \"num_beams\": [2, 4],"
      " \"length_penalty\": [0, 1]}]}", 4,
      { "beam 2 length_penalty=0", "beam 2 length_penalty=1", "beam 4 length_penalty=0",
        "beam 4 length_penalty=1" },
      { "beam length_penalty=0", "beam length_penalty=1", "beam length_penalty=0",
        "beam length_penalty=1" }, { 2, 2, 4, 4 } },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"self-consistency\","
      " \"num_return_sequences\": 16}, {\"strategy\": \"greedy\"}]}", 2,
      { "self-consistency n=16", "greedy" }, { "self-consistency", "greedy" }, { 16, NAN } },
    { "{" MODELS "," TASK ",\"strategies\": [{\"strategy\": \"greedy\"}]}", 2,
      { "a: greedy", "b: greedy" }, { "a: greedy", "b: greedy" }, { NAN, NAN } },
    { "{" ONE "," TASKS ",\"strategies\": [{\"strategy\": \"greedy\"}]}", 2,
      { "greedy", "greedy" }, { "greedy", "greedy" }, { NAN, NAN } },
    { "{" MODELS "," TASK ",\"strategies\": [{\"strategy\": \"ensemble-vote\"},"
      " {\"strategy\": \"ensemble-token\", \"weights\": [[1, 3], [1, 1]]}]}", 3,
      { "ensemble-vote n=4", "ensemble-token weights=1,3", "ensemble-token weights=1,1" },
      { "ensemble-vote", "ensemble-token weights=1,3", "ensemble-token weights=1,1" },
      { 4, 1, 1 } },
    { "{" MODELS "," TASK ",\"strategies\": [{\"strategy\": \"ensemble-token\","
      " \"models\": [[\"b\", \"a\"]], \"weights\": [1, 3], \"label\": \"mix\"}]}", 1,
      { "mix" }, { "mix" }, { 1 } },
};

Test(config, plans)
{
    for (size_t i = 0; i < COUNT(plans); i++) {
        rm_config *c = must_parse(plans[i].text);
        cr_assert_eq(c->n_cells, plans[i].n_cells, "plan %zu: %d cells", i, c->n_cells);
        for (int k = 0; k < c->n_cells; k++) {
            const rm_plan_cell *cell = &c->cells[k];
            cr_expect_str_eq(cell->label, plans[i].labels[k], "%s", cell->label);
            cr_expect_str_eq(cell->family, plans[i].families[k], "%s", cell->family);
            double size = plans[i].sizes[k];
            cr_expect(isnan(size) ? isnan(cell->size) : cell->size == size, "%s: %g", cell->label,
                      cell->size);
        }
        rm_config_free(c);
    }
}

/* max_new_tokens of the task holds where nothing else says more, and distinguishes no cells. */
Test(config, task_limit)
{
    rm_config *c =
        must_parse("{" ONE ", \"tasks\": [{\"kind\": \"countdown\", \"max_new_tokens\": 77}],"
                              "\"strategies\": [{\"strategy\": \"greedy\"},"
                              " {\"strategy\": \"sampling\", \"max_new_tokens\": [5, 6]}]}");
    static const char *const want[] = { "77", "5", "6" };
    for (int i = 0; i < 3; i++) {
        rm_text v = { 0 };
        cr_expect(rm_params_get(c->cells[i].params, "max_new_tokens", &v));
        cr_expect_str_eq(v.data, want[i]);
        rm_text_free(&v);
    }
    rm_config_free(c);
}

/* ---- mistakes ---------------------------------------------------------------------------- */

#define GREEDY "\"strategies\": [{\"strategy\": \"greedy\"}]"
static const struct mistake {
    const char *text, *message;
} mistakes[] = {
    { "", "dir/c.json:1:1: expected a value" },
    { "{" ONE "," TASK "," GREEDY ",}", "expected a key in double quotes" },
    { "{" ONE "," TASK "," GREEDY ",\"engine\": {\"threads\": 1025}}", "threads" },
    { "{" ONE "," TASK "," GREEDY ",\"engine\": {\"max_batch_rows\": 15}}", "max_batch_rows" },
    { "{" ONE "," TASK "," GREEDY ",\"engine\": {\"max_batch_rows\": 65537}}", "max_batch_rows" },
    { "[]", "dir/c.json:1:1: expected an object, found a list" },
    { "{\n\"model\": []}", "dir/c.json:2:10: unknown key \"model\"; did you mean \"models\"?" },
    { "{\"xyzzy\": 1}", "unknown key \"xyzzy\"; known are name, description, models" },
    { "{" TASK "," GREEDY "}", "models: expected an object from names to files" },
    { "{\"models\": {}," TASK "," GREEDY "}", "with at least one model" },
    { "{\"models\": [\"a\", \"a\"]," TASK "," GREEDY "}", "\"a\" is there twice" },
    { "{\"models\": [1]," TASK "," GREEDY "}", "expected the name of a model" },
    { "{\"models\": {\"m\": {\"fil\": 1}}," TASK "," GREEDY "}",
      "models.m: unknown key \"fil\"; did you mean \"file\"?" },
    { "{\"models\": {\"m\": {\"compute\": \"f32\"}}," TASK "," GREEDY "}",
      "models.m: expected a file" },
    { "{\"models\": {\"m\": {\"file\": \"f\", \"compute\": \"f8\"}}," TASK "," GREEDY "}",
      "\"f8\" is not one of \"stored\", \"f32\"" },
    { "{" ONE "," GREEDY "}", "tasks: expected a list" },
    { "{" ONE ",\"tasks\": [{\"kind\": \"countdown\"}, {\"kind\": \"countdown\"}]," GREEDY "}",
      "tasks[1]: another task is called \"countdown\"" },
    { "{" ONE "," TASK "}", "strategies: expected a list of at least one" },
    { "{" ONE "," TASK ",\"strategies\": []}", "strategies: expected a list of at least one" },
    { "{" ONE "," TASK ",\"strategies\": [1]}",
      "strategies[0]: expected an object with \"strategy\"" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"beem\"}]}", "strategies[0].strategy: " },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"beam\", \"num_beam\": 2}]}",
      "no parameter \"num_beam\"; did you mean \"num_beams\"?" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"beam\",\n \"num_beams\": []}]}",
      "dir/c.json:2:15: strategies[0].num_beams: this sweep is empty" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"beam\", \"num_beams\": [2, 2]}]}",
      "cell \"beam 2\" of task \"countdown\" is there already" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"greedy\"},\n{\"strategy\": "
      "\"greedy\"}]}",
    "dir/c.json:2:1: cell \"greedy\" of task \"countdown\" is there already (line 1)" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"greedy\", \"label\": \"x\"}, "
      "{\"strategy\": \"sampling\", \"label\": \"x\"}]}", "has the label of another" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"beam\", \"num_beams\": \"many\"}]}",
      "num_beams" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"beam\", \"num_beams\": 0}]}",
      "num_beams" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"beam\", \"num_beams\": {}}]}",
      "num_beams: expected a number" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"beam\", \"num_beams\": [[2]]}]}",
      "num_beams: expected a number" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"beam\", \"num_beams\": 3, "
      "\"num_beam_groups\": 2}]}", "strategies[0]: " },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"greedy\", \"models\": [\"c\"]}]}",
      "strategies[0].models: there is no model \"c\"" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"greedy\", \"models\": []}]}",
      "this list is empty" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"greedy\", \"tasks\": [\"countdwn\"]}]}",
      "there is no task \"countdwn\"; did you mean \"countdown\"?" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"greedy\", \"tasks\": 1}]}",
      "expected the name of a task" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"greedy\", \"independent\": 1}]}",
      "expected true or false" },
    { "{" MODELS "," TASK ",\"strategies\": [{\"strategy\": \"greedy\", \"models\": [[\"a\", "
      "\"b\"]]}]}", "takes 1 models, not 2" },
    { "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"ensemble-vote\"}]}", "takes 2 to " },
    { "{" MODELS "," TASK ",\"strategies\": [{\"strategy\": \"ensemble-vote\", \"models\": [[\"a\", \"a\"]]}]}",
      "stands twice in one group" },
    { "{" ONE "," TASKS ",\"strategies\": [{\"strategy\": \"mcts\", \"score\": \"verifier\"}]}",
      "needs a task that has an exact verifier; task \"arithmetic\" does not" },
    { "{" ONE "," TASK "," GREEDY ", \"full\": {\"models\": [\"b\"]}}",
      "full: unknown key \"models\"" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"figure\": \"beam\"}}", "analysis.figure: " },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"claims\": []}}",
      "expected a list of 1 to 100 objects" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"claims\": [{\"trend\": \"greedy\"}]}}",
      "\"claim\" is missing" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"claims\": [{\"claim\": \"x\"}]}}",
      "expected one of \"compare\"" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"claims\": [{\"claim\": \"x\", \"trend\": \"gredy\"}]}}",
      "no family of cells is called \"gredy\"" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"claims\": [{\"claim\": \"x\", \"compare\": [\"greedy\", [\"a\", \"b\"]]}]}}",
      "go together" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"claims\": [{\"claim\": \"x\", \"compare\": [\"greedy\"]}]}}",
      "expected two names" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"claims\": [{\"claim\": \"x\", \"budget\": [\"greedy\", \"greedy\"]}]}}",
      "needs a \"cost\"" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"claims\": [{\"claim\": \"x\", \"compare\": [\"greedy\", \"greedy\"], \"direction\": \"equal\"}]}}",
      "\"equal\" needs a \"margin\"" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"claims\": [{\"claim\": \"x\", \"trend\": \"greedy\", \"measure\": \"length\"}]}}",
      "a trend is of" },
    { "{" ONE ", \"tasks\": [{\"kind\": \"countdown\", \"think\": []}],\"strategies\": [{\"strategy\": \"budget-forcing\"}]}",
      "has a thought to prolong" },
    { "{" ONE ", \"tasks\": [{\"kind\": \"arithmetic\", \"step_ends\": []}],\"strategies\": [{\"strategy\": \"mcts\"}]}",
      "says where a reasoning step ends" },
    { "{" ONE "," TASK "," GREEDY ", \"generation\": {\"temperature\": 1}}",
      "generation: no strategy of this configuration has a parameter \"temperature\"" },
    { "{" ONE "," TASK "," GREEDY ", \"generation\": []}", "generation: expected an object" },
    { "{" ONE "," TASK "," GREEDY ", \"seeds\": []}", "seeds: expected a list of 1" },
    { "{" ONE "," TASK "," GREEDY ", \"seeds\": [1, 1]}", "seeds: 1 is there twice" },
    { "{" ONE "," TASK "," GREEDY ", \"seeds\": 1.5}", "seeds: expected an integer" },
    { "{" ONE "," TASK "," GREEDY ", \"problems\": 0}", "problems: expected 1 to" },
    { "{" ONE "," TASK "," GREEDY ", \"problems\": 1e300}", "problems: expected an integer" },
    { "{" ONE "," TASK "," GREEDY ", \"latency\": {\"repeats\": 2}}", "latency.repeats" },
    { "{" ONE "," TASK "," GREEDY ", \"latency\": {\"repeat\": 3}}",
      "latency: unknown key \"repeat\"; did you mean \"repeats\"?" },
    { "{" ONE "," TASK "," GREEDY ", \"limits\": {\"max_wall_ms\": -1}}",
      "limits.max_wall_ms: expected 0 to" },
    { "{" ONE "," TASK "," GREEDY ", \"engine\": 3}",
      "engine: expected an object, found a number" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"baseline\": \"gredy\"}}",
      "no cell has the label \"gredy\"; did you mean \"greedy\"?" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"comparisons\": [[\"greedy\"]]}}",
      "expected a pair of labels" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"comparisons\": [[\"greedy\", \"greedy\"]]}}",
      "\"greedy\" is compared with itself" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"primary_metric\": \"latency\"}}",
      "analysis.primary_metric" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"margin\": 5}}", "analysis.margin" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"direction\": \"highr\"}}",
      "analysis.direction" },
    { "{" ONE "," TASK "," GREEDY ", \"analysis\": {\"direction\": \"equal\"}}",
      "\"equal\" needs a \"margin\"" },
    { "{" ONE "," TASK "," GREEDY ", \"engine\": {\"isa\": \"sse\"}}", "engine.isa" },
    { "{" ONE "," TASK "," GREEDY ", \"engine\": {\"threads\": 4096}}",
      "engine.threads: expected 1 to 1024" },
    { "{" ONE "," TASK "," GREEDY ", \"name\": \"\xFF\"}", "not valid UTF-8" },
};

Test(config, mistakes_are_named)
{
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        rm_config *c = NULL;
        rm_error err = { { 0 } };
        cr_expect_neq(parse(mistakes[i].text, &c, &err), RM_OK, "accepted: %s", mistakes[i].text);
        cr_expect_not_null(strstr(err.text, mistakes[i].message), "%s\n gave: %s",
                           mistakes[i].text, err.text);
        cr_expect_eq(strncmp(err.text, "dir/c.json:", 11), 0, "no place: %s", err.text);
        cr_expect_null(c);
    }
}

Test(config, sweeps_are_bounded)
{
    rm_text text = { 0 };
    rm_text_puts(&text, "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"sampling\"");
    static const char *const names[] = { "num_return_sequences", "top_k", "max_new_tokens" };
    for (int k = 0; k < 3; k++) {
        rm_text_printf(&text, ", \"%s\": [", names[k]);
        for (int i = 1; i <= 60; i++)
            rm_text_printf(&text, "%s%d", i > 1 ? ", " : "", i);
        rm_text_puts(&text, "]");
    }
    rm_text_puts(&text, "}]}");
    rm_config *c;
    rm_error err = { { 0 } };
    cr_expect_eq(parse(text.data, &c, &err), RM_E_ARGUMENT);
    cr_expect_not_null(strstr(err.text, "more than"), "%s", err.text);
    rm_text_free(&text);
}

/* ---- hashes ------------------------------------------------------------------------------ */

Test(config, hash_covers_what_changes_a_record)
{
    static const struct { bool same; const char *text; } cases[] = {
        { true, "{" ONE "," TASK "," GREEDY "}" },
        { true, "{\"models\": {\"a\": \"elsewhere/a.gguf\"}," TASK "," GREEDY ", \"problems\": 5,"
                "\"engine\": {\"threads\": 1}, \"name\": \"other\", \"latency\": {\"problems\": "
                "3}}" },
        { false, "{\"models\": [\"b\"]," TASK "," GREEDY "}" },
        { false, "{" ONE ",\"tasks\": [{\"kind\": \"countdown\", \"seed\": 2}]," GREEDY "}" },
        { false, "{" ONE ",\"tasks\": [{\"kind\": \"countdown\", \"name\": \"x\"}]," GREEDY "}" },
        { false, "{" ONE "," TASK ",\"strategies\": [{\"strategy\": \"greedy\", "
          "\"max_new_tokens\": 9}]}" },
        { false, "{" ONE "," TASK "," GREEDY ", \"seeds\": 2}" },
        { false, "{" ONE "," TASK "," GREEDY ", \"limits\": {\"max_generated_tokens\": 9}}" },
        { false, "{\"models\": {\"a\": {\"file\": \"a\", \"compute\": "
          "\"bf16\"}}," TASK "," GREEDY "}" },
    };
    uint64_t first = 0;
    for (size_t i = 0; i < COUNT(cases); i++) {
        rm_config *c = must_parse(cases[i].text);
        first = i ? first : c->hash;
        cr_expect_eq(c->hash == first, cases[i].same, "%s", cases[i].text);
        rm_config_free(c);
    }
}

/* ---- files ------------------------------------------------------------------------------- */

static const char *const shipped[] = { "tradeoff.json", "quick.json", "gsm8k.json", "game24.json",
                                       "gsm8k-chat.json", "svamp.json", "math500.json", "bbh.json",
                                       "bbh-choice.json", "aime.json" };

static const char *const questions[] = { "q1-beam-width", "q2-paths", "q3-ensemble", "q4-value",
                                         "q5-reinforcement", "q6-thinking" };

/* The questions are valid in both sizes, claim something, and name the figure that shows it. */
Test(config, questions_that_ship)
{
    for (size_t i = 0; i < COUNT(questions); i++) {
        char path[1024];
        rm_error err = { { 0 } };
        rm_config *c, *full;
        snprintf(path, sizeof path, "%s/experiments/questions/%s.json", RM_SOURCE_DIR, questions[i]);
        cr_assert_eq(rm_config_open(path, &c, &err), RM_OK, "%s", err.text);
        cr_assert_eq(rm_config_open_full(path, &full, &err), RM_OK, "%s", err.text);
        cr_expect_str_eq(c->name, questions[i]);
        cr_expect(c->hypothesis && c->figure && c->claims.n > 0 && c->has_full && !c->full);
        cr_expect(full->full && full->claims.n == c->claims.n);
        cr_expect(full->problems > c->problems);
        for (size_t k = 0; k < c->claims.n; k++)
            cr_expect(c->claims.claim[k].margin > 0, "%s, claim %zu", questions[i], k);
        rm_config_free(c);
        rm_config_free(full);
    }
}

Test(config, full_sizes)
{
    const char *text = "{" ONE "," TASK "," GREEDY ", \"problems\": 5, \"seeds\": [1],"
                       " \"full\": { \"problems\": 50, \"seeds\": [1, 2] } }";
    rm_error err = { { 0 } };
    rm_config *c = must_parse(text), *full;
    cr_assert_eq(rm_config_parse_full("c.json", text, strlen(text), &full, &err), RM_OK);
    cr_expect(c->problems == 5 && c->n_seeds == 1);
    cr_expect(full->problems == 50 && full->n_seeds == 2);
    cr_expect(c->hash != full->hash);
    rm_config_free(c);
    rm_config_free(full);
    text = "{" ONE "," TASK "," GREEDY "}";
    cr_expect_eq(rm_config_parse_full("c.json", text, strlen(text), &full, &err), RM_E_ARGUMENT);
    cr_expect(strstr(err.text, "has no \"full\" size"), "%s", err.text);
}

/* The experiments that ship are valid; those that need a data set say which file is missing. */
Test(config, shipped_experiments)
{
    for (size_t i = 0; i < COUNT(shipped); i++) {
        char path[1024];
        rm_config *c = NULL;
        rm_error err = { { 0 } };
        snprintf(path, sizeof path, "%s/experiments/%s", RM_SOURCE_DIR, shipped[i]);
        rm_status st = rm_config_open(path, &c, &err);
        if (i < 2)
            cr_expect_eq(st, RM_OK, "%s", err.text);
        else
            cr_expect(st == RM_OK || st == RM_E_IO, "%s", err.text);
        rm_config_free(c);
    }
}

Test(config, description)
{
    rm_config *c =
        must_parse("{" ONE "," TASK ",\"seeds\": [1, 2], \"problems\": 10, \"strategies\":"
                              " [{\"strategy\": \"beam\", \"num_beams\": 4}]}");
    rm_text out = { 0 };
    rm_error err = { { 0 } };
    cr_assert_eq(rm_config_describe(c, NULL, 0, false, &out, &err), RM_OK, "%s", err.text);
    const rm_item *item;
    cr_assert_eq(rm_task_item(c->tasks[0], 0, &item, &err), RM_OK);
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)item->prompt_hash);
    cr_expect_not_null(strstr(out.data, item->seen.prompt));
    cr_expect_not_null(strstr(out.data, hash));
    cr_expect_not_null(strstr(out.data, "1 cell, 20 outcomes"), "%s", out.data);
    rm_text_free(&out);
    cr_assert_eq(rm_config_describe(c, NULL, 3, true, &out, &err), RM_OK);
    rm_json *json = NULL;
    cr_assert_eq(rm_json_parse(out.data, out.length, "out", 1, 0, &json, &err), RM_OK, "%s",
                 err.text);
    const cJSON *root = rm_json_root(json);
    cr_expect_eq(cJSON_GetObjectItemCaseSensitive(root, "outcomes")->valuedouble, 6);
    /* 93 tokens, 4 beams, 3 problems, 2 seeds */
    cr_expect_eq(cJSON_GetObjectItemCaseSensitive(root, "estimated_tokens")->valuedouble,
                 93 * 4 * 6);
    cr_expect(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(root, "estimated_flops")));
    rm_json_free(json);
    rm_text_free(&out);
    rm_config_free(c);
}
