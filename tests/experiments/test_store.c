/* Run directories: what is committed stays, what is not ours is left alone. */
#include "run_support.h"

#include <sqlite3.h>
#include <math.h>
#include <sys/file.h>

TestSuite(store, .init = make_scratch, .fini = remove_scratch);

static const rm_cell a_cell = { .model = (char *)"m", .task = (char *)"t",
                                .strategy = (char *)"greedy", .params = (char *)"{}",
                                .label = (char *)"greedy", .family = (char *)"greedy",
                                .size = NAN };

static rm_store *create(const char *identity)
{
    rm_store *store;
    CHECK(rm_store_create(in_scratch("run"), identity, "{}", 2, &store, err));
    return store;
}

static void put(rm_store *store, int problem_index, uint64_t seed, const char *text)
{
    char id[16];
    snprintf(id, sizeof id, "p%d", problem_index);
    rm_problem_row problem = { .task = "t", .id = id, .index = problem_index };
    int64_t row;
    rm_score score = { "prm", 0.25 };
    int32_t tokens[2] = { 70000, -1 };
    rm_candidate candidate = { .text = text, .tokens = tokens, .n_tokens = 2, .lp = -1.5,
                               .lp_sampling = NAN, .score = INFINITY, .answer = "4",
                               .reason = RM_STOP_LENGTH, .scores = &score, .n_scores = 1 };
    rm_node nodes[2] = { { .parent = -1, .text = "", .value = 0.5, .candidate = -1 },
                         { .parent = 0, .depth = 1, .text = "x", .value = NAN, .candidate = 0 } };
    rm_outcome outcome = { .candidates = &candidate, .n_candidates = 1, .chosen = 0,
                           .nodes = nodes, .n_nodes = 2 };
    bool correct = true;
    rm_outcome_row o = { .cell = 0, .seed = seed, .timing = RM_TIMING_THROUGHPUT,
                         .outcome = &outcome, .correct = &correct, .pooled = 1,
                         .cost = { .prompt_tokens = 3, .generated_tokens = 2,
                                   .rounds = RM_NOT_COUNTED, .flops = 1e9, .wall_ms = NAN } };
    CHECK(rm_store_put_cell(store, 0, &a_cell, err));
    CHECK(rm_store_put_problem(store, &problem, &row, err));
    o.problem = row;
    CHECK(rm_store_put_outcome(store, &o, err));
}

static void count_one(void *arg, int cell, int64_t problem, uint64_t seed, rm_timing timing,
                      int repeat)
{
    (void)cell, (void)problem, (void)seed, (void)timing, (void)repeat;
    ++*(int *)arg;
}

static int n_finished(rm_store *store)
{
    int n = 0;
    CHECK(rm_store_finished(store, count_one, &n, err));
    return n;
}

Test(store, committed_outcomes_stay_and_others_are_undone)
{
    rm_store *store = create("one");
    put(store, 0, 1, "a");
    CHECK(rm_store_commit(store, err));
    put(store, 1, 1, "b");
    rm_store_close(store); /* without a commit */
    store = create("one");
    cr_assert(n_finished(store) == 1);
    rm_store_close(store);
    cr_assert(access(in_scratch("run/records.sqlite-wal"), F_OK) != 0,
              "a closed run should be one file");
}

/* What is queued is a copy, and is written whole: reading it back is the same test as below. */
Test(store, a_queued_outcome_comes_with_the_commit)
{
    rm_store *store = create("one");
    put(store, 0, 1, "a");
    char text[] = "late", name[] = "prm";
    int32_t tokens[2] = { 7, 8 };
    rm_score score = { name, 0.5 };
    rm_candidate candidates[2] = {
        { .text = text, .tokens = tokens, .n_tokens = 2, .answer = text, .scores = &score, .n_scores = 1 },
        { .text = "", .n_tokens = -1 } };
    rm_node node = { .parent = -1, .text = text, .candidate = 1 };
    rm_outcome outcome = { .candidates = candidates, .n_candidates = 2, .chosen = 1, .nodes = &node,
                           .n_nodes = 1 };
    bool correct[2] = { false, true };
    rm_outcome_row row = { .problem = 1, .seed = 2, .timing = RM_TIMING_THROUGHPUT,
                           .outcome = &outcome, .correct = correct, .pooled = 1 };
    CHECK(rm_store_queue_outcome(store, &row, err));
    row = (rm_outcome_row){ .problem = 1, .seed = 3, .timing = RM_TIMING_THROUGHPUT, .error = text };
    CHECK(rm_store_queue_outcome(store, &row, err));
    cr_assert(n_finished(store) == 1, "queued, not written");
    memset(text, 'x', 4), memset(name, 'x', 3), memset(tokens, 0, sizeof tokens);
    CHECK(rm_store_commit(store, err));
    cr_assert(n_finished(store) == 3);
    static const char sql[] =
        "SELECT group_concat(c.text || '/' || ifnull(c.answer, '-') || '/' || c.correct || '/' ||"
        " hex(c.tokens), ' ') || ' ' || (SELECT name || value FROM scores s WHERE s.outcome = o.outcome)"
        " || ' ' || (SELECT text FROM nodes n WHERE n.outcome = o.outcome) || ' ' || (SELECT error FROM"
        " outcomes WHERE seed = 3) FROM outcomes o JOIN candidates c USING (outcome) WHERE seed = 2";
    sqlite3_stmt *select;
    CHECK(rm_store_prepare(store, sql, &select, err));
    cr_assert(sqlite3_step(select) == SQLITE_ROW);
    cr_expect_str_eq((const char *)sqlite3_column_text(select, 0),
                     "late/late/0/0700000008000000 /-/1/ prm0.5 late late");
    sqlite3_finalize(select);
    /* One that cannot be written takes those with it that were not committed, and no more. */
    row.seed = 4, row.error = NULL;
    CHECK(rm_store_queue_outcome(store, &row, err));
    CHECK(rm_store_queue_outcome(store, &row, err));
    rm_error why;
    cr_expect(rm_store_commit(store, &why) != RM_OK, "recorded twice");
    CHECK(rm_store_commit(store, err));
    cr_assert(n_finished(store) == 3);
    CHECK(rm_store_queue_outcome(store, &row, err));
    rm_store_close(store); /* without a commit */
    store = create("one");
    cr_assert(n_finished(store) == 3);
    rm_store_close(store);
}

Test(store, the_largest_seed_and_all_values_come_back)
{
    rm_store *store = create("one");
    put(store, 0, UINT64_MAX, "a \xff text");
    CHECK(rm_store_commit(store, err));
    rm_records records = { 0 };
    CHECK(rm_store_records(store, &records, err));
    cr_assert(records.n_results == 1 && records.n_cells == 1 && records.n_problems == 1);
    const rm_result *r = &records.results[0];
    cr_assert(r->seed == UINT64_MAX && r->correct && !r->failed && r->chosen == 0);
    cr_assert(r->cost.prompt_tokens == 3 && r->cost.rounds == RM_NOT_COUNTED);
    cr_assert(r->cost.flops == 1e9 && isnan(r->cost.wall_ms));
    const rm_sample *s = &r->samples[0];
    cr_assert(strcmp(s->text, "a \xff text") == 0 && strcmp(s->answer, "4") == 0);
    cr_assert(s->truncated && s->n_tokens == 2 && s->lp == -1.5);
    cr_assert(isnan(s->lp_sampling) && isinf(s->score));
    cr_assert(s->n_scores == 1 && s->scores[0].value == 0.25);
    rm_records_free(&records);
    char *text = export_text(store);
    cr_assert(strstr(text, "\"tokens\":[70000,-1]") != NULL, "%s", text);
    cr_assert(strstr(text, "\"seed\":18446744073709551615") != NULL, "%s", text);
    cr_assert(strstr(text, "\"node\":1,\"parent\":0") != NULL, "%s", text);
    free(text);
    rm_store_close(store);
}

/* 40 texts of thinking models: a question about answers reads no text, and the records that are analysed
 * hold as many texts as are compared. Counted in the pages that SQLite reads. */
Test(store, long_texts_are_read_by_who_wants_them)
{
    enum { N = 40, BYTES = 40000, PAGE = 4096 };
    rm_store *store = create("one");
    static rm_candidate candidates[N];
    static bool correct[N];
    static int32_t tokens[BYTES / 4];
    char *text = malloc(BYTES + 1);
    memset(text, 'x', BYTES);
    text[BYTES] = '\0';
    for (int i = 0; i < N; i++)
        candidates[i] = (rm_candidate){ .text = text, .tokens = tokens, .n_tokens = BYTES / 4, .answer = "4" };
    rm_problem_row problem = { .task = "t", .id = "p" };
    rm_outcome outcome = { .candidates = candidates, .n_candidates = N };
    rm_outcome_row row = { .timing = RM_TIMING_NONE, .outcome = &outcome, .correct = correct, .pooled = 1 };
    CHECK(rm_store_put_cell(store, 0, &a_cell, err));
    CHECK(rm_store_put_problem(store, &problem, &row.problem, err));
    CHECK(rm_store_put_outcome(store, &row, err));
    CHECK(rm_store_commit(store, err));
    rm_records records = { 0 };
    CHECK(rm_store_records(store, &records, err));
    cr_assert_eq(records.results[0].n_samples, N);
    for (int i = 0; i < N; i++) {
        const rm_sample *sample = &records.results[0].samples[i];
        cr_expect_eq(sample->text != NULL, i < RM_MOST_TEXTS);
        cr_expect_str_eq(sample->answer, "4");
    }
    rm_records_free(&records);
    rm_store_close(store);

    sqlite3 *db;
    sqlite3_stmt *rows;
    int pages = 0, most;
    cr_assert_eq(sqlite3_open_v2(in_scratch("run/records.sqlite"), &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, "SELECT count(answer), sum(correct) FROM candidates", -1, &rows, NULL),
                 SQLITE_OK);
    cr_assert_eq(sqlite3_step(rows), SQLITE_ROW);
    cr_expect_eq(sqlite3_column_int(rows, 0), N);
    sqlite3_finalize(rows);
    sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_MISS, &pages, &most, 0);
    cr_expect(pages < N * BYTES / PAGE / 4, "%d pages", pages);
    sqlite3_close(db);
    free(text);
}

/* What the records know of a score comes from the strategy and its parameters. */
Test(store, scores_that_are_shares_of_the_votes_are_marked)
{
    static const struct {
        const char *strategy, *params;
        bool relative;
    } cells[] = {
        { "self-consistency", "{\"num_return_sequences\":4}", true },
        { "best-of-n", "{\"num_return_sequences\":4,\"score\":\"agreement\"}", true },
        { "best-of-n", "{\"num_return_sequences\":4,\"score\":\"mean_lp\"}", false },
        { "sampling", "{}", false },
        { "made elsewhere", "{\"score\":\"agreement\"}", false },
    };
    enum { N = sizeof cells / sizeof *cells };
    rm_store *store = create("one");
    for (int i = 0; i < N; i++) {
        char label[16];
        snprintf(label, sizeof label, "cell %d", i);
        rm_cell cell = a_cell;
        cell.label = label;
        cell.strategy = (char *)(uintptr_t)cells[i].strategy;
        cell.params = (char *)(uintptr_t)cells[i].params;
        CHECK(rm_store_put_cell(store, i, &cell, err));
    }
    CHECK(rm_store_commit(store, err));
    rm_records records = { 0 };
    CHECK(rm_store_records(store, &records, err));
    cr_assert(records.n_cells == N);
    for (int i = 0; i < N; i++)
        cr_expect_eq(records.cells[i].relative_score, cells[i].relative, "row %d", i);
    rm_records_free(&records);
    rm_store_close(store);
}

Test(store, an_outcome_cannot_be_recorded_twice)
{
    rm_store *store = create("one");
    put(store, 0, 1, "a");
    rm_outcome_row again = { .cell = 0, .problem = 1, .seed = 1, .timing = RM_TIMING_THROUGHPUT,
                             .pooled = 1 };
    rm_error why;
    cr_assert(rm_store_put_outcome(store, &again, &why) == RM_E_IO);
    rm_store_close(store);
}

Test(store, another_configuration_is_refused_and_nothing_touched)
{
    rm_store *store = create("one");
    put(store, 0, 1, "a");
    CHECK(rm_store_commit(store, err));
    rm_store_close(store);
    char *before = read_scratch("run/records.sqlite");
    struct stat was, is;
    cr_assert(stat(in_scratch("run/records.sqlite"), &was) == 0);
    rm_error why;
    cr_assert(rm_store_create(in_scratch("run"), "two", "{}", 2, &store, &why) == RM_E_ARGUMENT);
    cr_assert(strstr(why.text, "another configuration") != NULL, "%s", why.text);
    cr_assert(stat(in_scratch("run/records.sqlite"), &is) == 0);
    char *after = read_scratch("run/records.sqlite");
    cr_assert(was.st_size == is.st_size && memcmp(before, after, (size_t)was.st_size) == 0);
    free(before);
    free(after);
}

Test(store, a_second_process_is_refused)
{
    rm_store *store = create("one");
    rm_store *other;
    rm_error why;
    cr_assert(rm_store_create(in_scratch("run"), "one", "{}", 2, &other, &why) == RM_E_IO);
    cr_assert(strstr(why.text, "another process") != NULL, "%s", why.text);
    CHECK(rm_store_open(in_scratch("run"), false, &other, err)); /* reading is free */
    rm_store_close(other);
    rm_store_close(store);
}

Test(store, a_directory_of_other_things_is_left_alone)
{
    rm_store *store;
    rm_error why;
    mkdir(in_scratch("run"), 0700);
    write_scratch("run/thesis.tex", "years of work");
    cr_assert(rm_store_create(in_scratch("run"), "one", "{}", 2, &store, &why) == RM_E_ARGUMENT);
    cr_assert(strstr(why.text, "thesis.tex") != NULL, "%s", why.text);
    cr_assert(access(in_scratch("run/records.sqlite"), F_OK) != 0);
    cr_assert(access(in_scratch("run/lock"), F_OK) != 0);
}

Test(store, a_file_in_the_way_of_the_directory)
{
    rm_store *store;
    rm_error why;
    write_scratch("file", "");
    cr_assert(rm_store_create(in_scratch("file/run"), "one", "{}", 2, &store, &why) == RM_E_IO);
    cr_assert(strstr(why.text, "file") != NULL, "%s", why.text);
}

Test(store, damaged_databases_are_sentences)
{
    static const char *const contents[] = { "not a database at all, but long enough to be read",
                                            "SQLite format 3" };
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        rm_store *store;
        rm_error why = { "" };
        mkdir(in_scratch("run"), 0700);
        write_scratch("run/records.sqlite", contents[i]);
        cr_assert(rm_store_open(in_scratch("run"), false, &store, &why) != RM_OK);
        cr_assert(strstr(why.text, "records.sqlite") != NULL, "%s", why.text);
        cr_assert(rm_store_create(in_scratch("run"), "one", "{}", 2, &store, &why) != RM_OK);
    }
}

/* The head of the file is whole, its tables are not. */
Test(store, damaged_tables_are_not_taken_for_absent_ones)
{
    rm_store *store = create("one");
    rm_store_close(store);
    char *bytes, garbage[64];
    size_t n;
    memset(garbage, 0x5a, sizeof garbage);
    CHECK(rm_file_read(in_scratch("run/records.sqlite"), 64 << 20, &bytes, &n, err));
    size_t page = (size_t)(unsigned char)bytes[16] << 8 | (unsigned char)bytes[17];
    for (size_t at = page; at + sizeof garbage < n; at += page)
        memcpy(bytes + at, garbage, sizeof garbage);
    CHECK(rm_file_write(in_scratch("run/records.sqlite"), bytes, n, err));
    free(bytes);
    rm_error why = { "" };
    cr_assert(rm_store_open(in_scratch("run"), true, &store, &why) != RM_OK);
    cr_assert(strstr(why.text, "damaged") != NULL, "%s", why.text);
}

Test(store, a_database_of_another_program_is_refused)
{
    sqlite3 *db;
    rm_store *store;
    rm_error why;
    mkdir(in_scratch("run"), 0700);
    cr_assert(sqlite3_open(in_scratch("run/records.sqlite"), &db) == SQLITE_OK);
    sqlite3_exec(db, "CREATE TABLE recipes (title TEXT)", NULL, NULL, NULL);
    sqlite3_close(db);
    cr_assert(rm_store_create(in_scratch("run"), "one", "{}", 2, &store, &why) == RM_E_FORMAT);
    cr_assert(strstr(why.text, "not made by ramify") != NULL, "%s", why.text);
}

Test(store, a_full_disk_is_one_sentence_and_loses_nothing)
{
    rm_store *store = create("one");
    put(store, 0, 1, "a");
    CHECK(rm_store_commit(store, err));
    /* The limit stands for the disk: SQLite answers both with SQLITE_FULL. */
    sqlite3_exec(rm_store_database(store), "PRAGMA max_page_count = 30", NULL, NULL, NULL);
    char *large = malloc(200001);
    memset(large, 'x', 200000);
    large[200000] = '\0';
    rm_candidate candidate = { .text = large, .n_tokens = -1 };
    rm_outcome outcome = { .candidates = &candidate, .n_candidates = 1, .chosen = -1 };
    bool correct = false;
    rm_outcome_row row = { .cell = 0, .problem = 1, .seed = 2, .timing = RM_TIMING_THROUGHPUT,
                           .outcome = &outcome, .correct = &correct, .pooled = 1 };
    rm_error why;
    rm_status status = rm_store_put_outcome(store, &row, &why);
    if (!status)
        status = rm_store_commit(store, &why);
    cr_assert(status == RM_E_IO);
    cr_assert(strstr(why.text, "disk is full") != NULL, "%s", why.text);
    free(large);
    /* with room again the same store goes on */
    sqlite3_exec(rm_store_database(store), "PRAGMA max_page_count = 100000", NULL, NULL, NULL);
    put(store, 0, 3, "b");
    CHECK(rm_store_commit(store, err));
    rm_store_close(store);
    store = create("one");
    cr_assert(n_finished(store) == 2);
    rm_store_close(store);
}
