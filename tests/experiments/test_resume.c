/* A run that is killed and started again records what an uninterrupted run records. */
#include "run_support.h"

#include <signal.h>
#include <time.h>

TestSuite(resume, .init = make_scratch, .fini = remove_scratch);

static const char config[] =
    "{ \"name\": \"resume\", \"models\": [\"thimble-s\"],"
    "  \"tasks\": [{ \"kind\": \"arithmetic\", \"operations\": 3 }, { \"kind\": \"countdown\" }],"
    "  \"problems\": 24, \"generation\": { \"max_new_tokens\": 48 },"
    "  \"strategies\": [ { \"strategy\": \"greedy\" },"
    "    { \"strategy\": \"self-consistency\", \"num_return_sequences\": [4, 16] },"
    "    { \"strategy\": \"mcts\", \"simulations\": 6 } ] }";

static void sleep_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

static pid_t start_run(const char *file, const char *dir, const char *concurrency)
{
    return start_program(ARGS("run", file, "--out", dir, "--quiet", "--concurrency", concurrency),
                         in_scratch("stdout"), in_scratch("stderr"));
}

Test(resume, records_after_SIGKILL_equal_an_uninterrupted_run)
{
    const char *file = write_scratch("config.json", config);
    char whole_dir[PATH_MAX + 64], killed_dir[PATH_MAX + 64];
    snprintf(whole_dir, sizeof whole_dir, "%s", in_scratch("whole"));
    snprintf(killed_dir, sizeof killed_dir, "%s", in_scratch("killed"));
    double began = rm_now_s();
    cr_assert(wait_program(start_run(file, whole_dir, "8")) == 0);
    double took_ms = 1e3 * (rm_now_s() - began);

    int kills = 0, rounds = 0, status;
    do {
        /* Anywhere in the run, its first milliseconds included; later attempts get longer, so
         * that the test ends. */
        uint64_t bits = rm_random(7, 0, (uint32_t)rounds, 0);
        pid_t pid = start_run(file, killed_dir, rounds % 2 ? "3" : "32");
        sleep_ms((long)(rm_unit(bits) * took_ms * (0.3 + 0.1 * rounds)));
        kill(pid, SIGKILL);
        status = wait_program(pid);
        if (status != 0 && status != -SIGKILL) {
            char *message = read_scratch("stderr");
            cr_assert(false, "exit status %d in round %d: %s", status, rounds, message);
        }
        kills += status == -SIGKILL;
    } while (status != 0 && ++rounds < 8);
    if (status != 0)
        cr_assert(wait_program(start_run(file, killed_dir, "8")) == 0);
    cr_assert(kills > 0);

    char *whole = export_dir(whole_dir), *killed = export_dir(killed_dir);
    assert_same_text(whole, killed, "after SIGKILL");
    free(whole);
    free(killed);
}

static void interrupted_by(int number, int expected)
{
    const char *file = write_scratch("config.json", config);
    char dir[PATH_MAX + 64];
    snprintf(dir, sizeof dir, "%s", in_scratch("run"));
    pid_t pid = start_run(file, dir, "4");
    /* Not before it has begun: until then the signal ends it as it ends any program. */
    for (int i = 0; i < 2000 && access(in_scratch("run/manifest.json"), F_OK) != 0; i++)
        sleep_ms(5);
    kill(pid, number);
    int status = wait_program(pid);
    cr_assert(status == expected, "exit status %d", status);
    char *message = read_scratch("stderr");
    cr_assert(strstr(message, "ramify resume") != NULL, "%s", message);
    free(message);
    cr_assert(run_program(ARGS("resume", dir, "--quiet"), NULL, NULL) == 0);
    rm_store *store;
    rm_records records = { 0 };
    CHECK(rm_store_open(dir, false, &store, err));
    CHECK(rm_store_records(store, &records, err));
    cr_assert(records.n_results == 2 * 24 * 4);
    rm_records_free(&records);
    rm_store_close(store);
}

Test(resume, SIGINT_says_how_to_go_on)
{
    interrupted_by(SIGINT, 130);
}

Test(resume, SIGTERM_says_how_to_go_on)
{
    interrupted_by(SIGTERM, 143);
}
