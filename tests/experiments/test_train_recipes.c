/* test_train_recipes.c - the committed recipes: they can be read, they keep training, tuning and
 * test problems apart, and a training is the same file under every compiler and instruction set. */
#include "run_support.h"

#include "experiments/train/train.h"

TestSuite(train_recipes, .init = make_scratch, .fini = remove_scratch);

#define RECIPES RM_SOURCE_DIR "/experiments/train/"

static const struct {
    train_kind kind;
    const char *name;
} recipes[] = {
    { TRAIN_SFT, "thimble" },           { TRAIN_SFT, "thimble-b" },
    { TRAIN_SFT, "thimble-c" },         { TRAIN_SFT, "tiny" },
    { TRAIN_SFT, "thimble-s" },         { TRAIN_SFT, "thimble-base" },
    { TRAIN_GRPO, "thimble-grpo" },     { TRAIN_GRPO, "thimble-dr-grpo" },
    { TRAIN_GRPO, "thimble-dapo" },     { TRAIN_REJECT, "thimble-reject" },
    { TRAIN_REWARD, "thimble-reward" },
};
enum { N_RECIPES = sizeof recipes / sizeof *recipes };

static train_recipe *open_recipe(int i)
{
    train_recipe *recipe = NULL;
    char file[PATH_MAX];
    snprintf(file, sizeof file, RECIPES "%s.json", recipes[i].name);
    CHECK(train_recipe_open(file, recipes[i].kind, &recipe, err));
    return recipe;
}

Test(train_recipes, a_recipe_bears_the_name_of_the_model_it_makes)
{
    for (int i = 0; i < N_RECIPES; i++) {
        train_recipe *recipe = open_recipe(i);
        cr_expect_str_eq(recipe->name, recipes[i].name);
        cr_expect(recipe->model ? !strncmp(recipe->model, "thimble", 7)
                                : recipes[i].kind == TRAIN_SFT,
                  "%s", recipes[i].name);
        train_recipe_free(recipe);
    }
}

/* ---- disjoint problems ----------------------------------------------------------------------- */

typedef struct hash_set {
    uint64_t *items;
    size_t n, capacity;
} hash_set;

static void add_hash(hash_set *set, uint64_t hash)
{
    if (set->n == set->capacity) {
        set->capacity = set->capacity ? 2 * set->capacity : 1024;
        set->items = realloc(set->items, set->capacity * sizeof *set->items);
        cr_assert(set->items);
    }
    set->items[set->n++] = hash;
}

static int by_hash(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* How many of b's are in a (sorted here). */
static size_t common(hash_set *a, const hash_set *b)
{
    size_t n = 0;
    qsort(a->items, a->n, sizeof *a->items, by_hash);
    for (size_t i = 0; i < b->n; i++)
        n += bsearch(&b->items[i], a->items, a->n, sizeof *a->items, by_hash) != NULL;
    return n;
}

enum { MOST_PROBLEMS = 1000 };

/* What trains: the endless list, with duplicates. */
static void add_drafts(hash_set *set, const rm_task *task, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        rm_draft draft = { 0 };
        uint64_t hash;
        CHECK(rm_task_draft(task, i, &draft, &hash, err));
        add_hash(set, hash);
        rm_draft_free(&draft);
    }
}

static void add_items(hash_set *set, rm_task *task, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const rm_item *item;
        CHECK(rm_task_item(task, i, &item, err));
        add_hash(set, item->hash);
    }
}

static void add_tasks(hash_set *set, const char *tasks, const char *split)
{
    rm_json *json;
    const cJSON *object;
    char text[1024];
    int n = snprintf(text, sizeof text, tasks, split, split);
    CHECK(rm_json_parse(text, (size_t)n, "tasks", 1, 0, &json, err));
    cJSON_ArrayForEach(object, rm_json_root(json))
    {
        rm_task *task;
        CHECK(rm_task_new(json, object, ".", "tasks", &task, err));
        add_items(set, task, 400);
        rm_task_free(task);
    }
    rm_json_free(json);
}

/* Small problems, so that equal ones come up by themselves: sums of two numbers up to 99, and
 * three numbers up to 12. Under "all" instead of "test" the last expectation would fail. */
static const char small[] =
    "[{ \"kind\": \"arithmetic\", \"operations\": 1, \"leaves\": [1, 40], \"split\": \"%s\" },"
    " { \"kind\": \"countdown\", \"numbers\": 3, \"range\": [1, 12], \"split\": \"%s\" }]";

Test(train_recipes, training_tuning_and_test_problems_are_disjoint)
{
    hash_set train = { 0 }, tune = { 0 }, test = { 0 };
    for (int i = 0; i < N_RECIPES; i++) {
        train_recipe *recipe = open_recipe(i);
        for (int s = 0; s < recipe->n_sources; s++) {
            add_drafts(&train, recipe->sources[s].task, MOST_PROBLEMS);
            add_items(&tune, recipe->sources[s].tune, 300);
        }
        train_recipe_free(recipe);
    }
    add_tasks(&train, small, "train");
    add_tasks(&tune, small, "tune");
    add_tasks(&test, small, "test");
    /* the tasks of evaluate.json */
    add_tasks(&test,
              "[{ \"kind\": \"arithmetic\", \"operations\": 4, \"split\": \"%s\" },"
              " { \"kind\": \"countdown\", \"split\": \"%s\" }]",
              "test");
    cr_expect_eq(common(&train, &tune), 0);
    cr_expect_eq(common(&train, &test), 0);
    cr_expect_eq(common(&tune, &test), 0);
    hash_set any = { 0 };
    add_tasks(&any, small, "all");
    cr_expect_gt(common(&train, &any), 0, "these sets are large enough to meet");
    free(train.items);
    free(tune.items);
    free(test.items);
    free(any.items);
}

/* ---- the same file --------------------------------------------------------------------------- */

/* A short one, which the portable operations get through in a second as well, and one of each kind;
 * the last two begin with the file of the second. */
static const struct {
    const char *kind, *text;
    uint64_t
        hash; /* of the whole file; ours, today's: gcc 12 and clang 14, every instruction set */
} golden[] = {
    { "sft",
      "{ \"name\": \"short\", \"model\": { \"layers\": 2, \"width\": 32, \"heads\": 2,"
      " \"kv_heads\": 1, \"ffn\": 48, \"context\": 256, \"tied\": false }, \"tasks\": [ { "
      "\"task\": {"
      " \"kind\": \"arithmetic\", \"operations\": 2 } }, { \"task\": { \"kind\": \"countdown\" },"
      " \"failures\": [1, 1] } ], \"steps\": 6, \"tokens_per_step\": 128 }",
      0x484bd235d7ba217f },
    { "sft",
      "{ \"name\": \"golden\", \"model\": { \"layers\": 1, \"width\": 48, \"heads\": 2,"
      " \"head_size\": 32, \"ffn\": 64, \"context\": 256 }, \"tasks\": [ { \"task\": {"
      " \"kind\": \"arithmetic\", \"operations\": 1, \"leaves\": [1, 4] }, \"share\": 9 },"
      " { \"task\": { \"kind\": \"countdown\" }, \"failures\": [1, 1] } ], \"steps\": 100,"
      " \"tokens_per_step\": 256, \"optimizer\": { \"rate\": 0.01, \"warmup\": 5 } }",
      0x06094abd8635d1eb },
    { "grpo",
      "{ \"name\": \"golden-grpo\", \"model\": \"golden\", \"tasks\": [ { \"task\": {"
      " \"kind\": \"arithmetic\", \"operations\": 1, \"leaves\": [1, 4] } } ], \"steps\": 2,"
      " \"optimizer\": { \"rate\": 0.001 }, \"grpo\": { \"objective\": \"dapo\", \"group\": 6,"
      " \"problems_per_step\": 6, \"updates\": 2, \"max_new_tokens\": 20, \"overlong\": 8 } }",
      0x6a1195a0b61184c8 },
    { "reward",
      "{ \"name\": \"golden-reward\", \"model\": \"golden\", \"tasks\": [ { \"task\": {"
      " \"kind\": \"arithmetic\", \"operations\": 1, \"leaves\": [1, 4] } } ],"
      " \"tokens_per_step\": 256, \"weight_type\": \"f32\", \"reward\": { \"samples\": 6,"
      " \"problems\": 12, \"max_new_tokens\": 20 } }",
      0x7ad17e56b9392fdd },
};
enum { N_GOLDEN = sizeof golden / sizeof *golden };

static bool has_isa(const char *isa)
{
    rm_engine_options options = { .isa = isa, .n_threads = 1 };
    rm_engine *engine = NULL;
    rm_error error = { "" };
    bool has = rm_engine_open(&options, &engine, &error) == RM_OK;
    rm_engine_close(engine);
    return has;
}

Test(train_recipes, a_recipe_is_one_file_for_every_compiler_and_instruction_set)
{
    static const char *const isas[] = { "portable", "avx2", "avx512", "avx512-bf16" };
    char first[PATH_MAX + 64] = "";
    for (size_t k = 0; k < sizeof isas / sizeof *isas; k++) {
        if (!has_isa(isas[k]))
            continue;
        for (int i = 0; i < (k ? N_GOLDEN : 1); i++) {
            char name[64], out[PATH_MAX + 64], *message, *bytes;
            size_t n;
            const char *file = write_scratch("recipe.json", golden[i].text);
            snprintf(name, sizeof name, "%s-%d.gguf", isas[k], i);
            snprintf(out, sizeof out, "%s", in_scratch(name));
            if (i == 1)
                memcpy(first, out, sizeof first);
            int status =
                run_program(ARGS("train", golden[i].kind, file, "--out", out, "--quiet", "--isa",
                                 isas[k], i > 1 ? "--from" : "--threads", i > 1 ? first : "2"),
                            NULL, &message);
            cr_assert_eq(status, 0, "%s", message);
            free(message);
            CHECK(rm_file_read(out, 64 << 20, &bytes, &n, err));
            cr_expect_eq(rm_hash_bytes(bytes, n), golden[i].hash, "%s, %s: 0x%016llx",
                         golden[i].kind, isas[k], (unsigned long long)rm_hash_bytes(bytes, n));
            free(bytes);
        }
    }
}

/* ---- what the command line changes -------------------------------------------------------------
 */

static void train_as(const char *text, const char *out, const char *option, const char *value,
                     int expected, const char *says)
{
    char *message;
    const char *file = write_scratch("recipe.json", text);
    int status = run_program(ARGS("train", "sft", file, "--out", out, "--quiet", option, value),
                             NULL, &message);
    cr_assert(status == expected && strstr(message, says), "%d, not %d: %s", status, expected,
              message);
    free(message);
}

static uint64_t hash_of(const char *file)
{
    char *bytes;
    size_t n;
    CHECK(rm_file_read(file, 64 << 20, &bytes, &n, err));
    uint64_t hash = rm_hash_bytes(bytes, n);
    free(bytes);
    return hash;
}

Test(train_recipes, seed_and_first_model_of_the_command_line)
{
    char in_file[1024], one[PATH_MAX + 64], two[PATH_MAX + 64], three[PATH_MAX + 64];
    snprintf(one, sizeof one, "%s", in_scratch("one.gguf"));
    snprintf(two, sizeof two, "%s", in_scratch("two.gguf"));
    snprintf(three, sizeof three, "%s", in_scratch("three.gguf"));
    snprintf(in_file, sizeof in_file, "{ \"seed\": 2, %s", strchr(golden[0].text, '{') + 1);
    train_as(golden[0].text, one, "--threads", "1", 0, "");
    train_as(golden[0].text, two, "--seed", "2", 0, "");
    train_as(in_file, three, "--threads", "1", 0, "");
    cr_expect_eq(hash_of(one), golden[0].hash);
    cr_expect_neq(hash_of(one), hash_of(two));
    cr_expect_eq(hash_of(two), hash_of(three));
    train_as(golden[0].text, in_scratch("four.gguf"), "--from", one, 2, "begins with none");
    train_as("{ \"model\": \"thimbel\", \"steps\": 1, \"tokens_per_step\": 128, \"tasks\": [ {"
             " \"task\": { \"kind\": \"countdown\" } } ] }",
             in_scratch("four.gguf"), "--from", one, 0, "");
}

/* Three problems of two tasks, each with a greedy text and four samples, of up to 9 tokens. */
static void run_for_card(const char *models, const char *analysis, const char *dir)
{
    char text[2 * PATH_MAX + 512], *message;
    snprintf(text, sizeof text,
             "{ \"models\": { %s }, \"problems\": 3, \"tasks\": ["
             " { \"kind\": \"arithmetic\", \"max_new_tokens\": 9 },"
             " { \"kind\": \"countdown\", \"max_new_tokens\": 7 } ], \"strategies\": ["
             " { \"strategy\": \"greedy\" }, { \"strategy\": \"sampling\","
             " \"num_return_sequences\": 4 } ], \"analysis\": { %s } }",
             models, analysis);
    const char *config = write_scratch("config.json", text);
    cr_assert_eq(run_program(ARGS("run", config, "--out", dir, "-q"), NULL, &message), 0, "%s",
                 message);
    free(message);
}

Test(train_recipes, a_card_says_what_the_records_say)
{
    char model[PATH_MAX + 64], log[PATH_MAX + 64], run[PATH_MAX + 64], other[PATH_MAX + 64];
    char *card, *message;
    snprintf(model, sizeof model, "%s", in_scratch("one.gguf"));
    snprintf(log, sizeof log, "%s", in_scratch("one.train.jsonl"));
    snprintf(run, sizeof run, "%s", in_scratch("run"));
    snprintf(other, sizeof other, "%s", in_scratch("other"));
    train_as(golden[0].text, model, "--threads", "1", 0, "");
    char models[2 * PATH_MAX];
    snprintf(models, sizeof models, "\"m\": \"%s\", \"n\": \"thimble-s\"", model);
    run_for_card(models, "\"comparisons\": [[\"m: greedy\", \"n: greedy\"]]", run);
    run_for_card("\"o\": \"thimble-s\"", "\"margin\": 0", other);
    const char *recipe = write_scratch("recipe.json", golden[0].text);
    cr_assert_eq(
        run_program(ARGS("card", model, run, "--beside", other, "--recipe", recipe, "--log", log),
                    &card, &message), 0, "%s", message);
    static const char *const says[] = {
        "# short\n",    "2 layers, width 32",    "| sft, from new weights |",
        "| seed | 1 |", "| steps, tokens | 6, ", "| arithmetic | 3 | 0.0 [0.0, 56.1] |",
        /* nothing is right: samples add nothing, and no text is a right one */
        "| 0.0 [0.0, 56.1] | +0.0 [+0.0, +0.0] | +0.0 [+0.0, +0.0] |", "] | – | ",
        "| arithmetic | 3 | n | +0.0 [", "| countdown | 3 | n | +0.0 [",
        "| arithmetic | 3 | o | +0.0 [", "about this pair of files",
        "- arithmetic: `m: greedy` is not shown to differ from `n: greedy`: +0.0 points [",
    };
    for (size_t i = 0; i < sizeof says / sizeof *says; i++)
        cr_expect(strstr(card, says[i]), "no \"%s\" in\n%s", says[i], card);
    free(card);
    free(message);
    /* numbers of another file of that name are refused */
    cr_expect_eq(run_program(ARGS("card", "thimble", run), NULL, &message), 1);
    cr_expect(strstr(message, "has no such hash"), "%s", message);
    free(message);
}
