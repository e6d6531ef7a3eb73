/* schema.c - the tables of records.sqlite, written for those who read it with pandas, R or the
 * sqlite3 shell. */
#include "experiments/schema.h"

/* One row of `outcomes` is what one cell returned for one problem under one seed; its candidates,
 * their further scores and the nodes of its search tree hang on it by the number `outcome`. That
 * number is an order of arrival and differs from run to run; (cell, problem, seed, timing, repeat)
 * is what names an outcome.
 *
 *   meta        key, value              schema version, configuration, models' hashes
 *   sessions    one row a session of the run: a JSON object as in manifest.json
 *   cells       model x task x strategy x parameters; params is a JSON object:
 *               params ->> 'num_beams' gives one
 *   problems    idx is the place within the task; hash names equal problems in all tasks
 *   prompts     what a cell's model read, where prompts go through chat templates (then problems
 *               has what the user says); model is as in cells
 *   outcomes    counts are those of the outcome alone (base.h, rm_cost); what was measured
 *               (wall_ms and all columns after it) depends on the machine, the rest does not
 *   candidates  tokens are little-endian int32 (numpy: frombuffer(blob, '<i4'))
 *   scores      further scores of a candidate by name
 *   nodes       the search tree; node 0 is the root, parents come before children
 *   journals    what unfinished problems have drawn, to go on with (store_journals.c); made when needed
 *
 * NULL is "not known" or "not measured", never 0. Booleans are 0 and 1. Hashes are hexadecimal.
 * Seeds are unsigned 64-bit numbers stored as signed ones (only those above 2^63 differ).
 *
 *   import sqlite3, pandas
 *   db = sqlite3.connect("file:RUN/records.sqlite?mode=ro", uri=True)
 *   pandas.read_sql("select * from v_cells", db)
 *
 *   library(RSQLite); db <- dbConnect(SQLite(), "RUN/records.sqlite")
 *   dbGetQuery(db, "select label, avg(correct) from v_outcomes group by cell") */
const char rm_schema_sql[] =
    "CREATE TABLE meta ("
    "  key   TEXT PRIMARY KEY,"
    "  value TEXT NOT NULL"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE sessions ("
    "  session  INTEGER PRIMARY KEY,"
    "  started  TEXT NOT NULL," /* UTC, 2026-01-31T12:00:00Z */
    "  finished TEXT,"          /* NULL: it was killed or still runs */
    "  ending   TEXT,"          /* complete, interrupted, or the sentence it failed with */
    "  manifest TEXT NOT NULL"
    ") STRICT;"

    "CREATE TABLE cells ("
    "  cell         INTEGER PRIMARY KEY," /* place in the plan */
    "  label        TEXT NOT NULL,"       /* unique within its task */
    "  model        TEXT NOT NULL,"       /* names joined by ' + ' */
    "  task         TEXT NOT NULL,"
    "  strategy     TEXT NOT NULL,"
    "  params       TEXT NOT NULL,"       /* JSON object, defaults included */
    "  family       TEXT NOT NULL,"       /* what a curve joins */
    "  size         REAL,"                /* the swept size */
    "  size_name    TEXT,"                /* the parameter it came from */
    "  exchangeable INTEGER NOT NULL,"    /* candidates are independent draws */
    "  verifier     INTEGER NOT NULL,"    /* an exact verifier took part */
    "  oracle       INTEGER NOT NULL,"    /* the reference answer took part */
    "  UNIQUE (task, label)"
    ") STRICT;"

    "CREATE TABLE problems ("
    "  problem     INTEGER PRIMARY KEY,"
    "  task        TEXT NOT NULL,"
    "  idx         INTEGER NOT NULL,"
    "  id          TEXT NOT NULL,"
    "  question    TEXT,"
    "  reference   TEXT,"
    "  cluster     TEXT," /* problems of one source belong together */
    "  level       TEXT," /* difficulty */
    "  hash        TEXT,"
    "  prompt_hash TEXT,"
    "  prompt      TEXT," /* as rendered for the model */
    "  UNIQUE (task, idx),"
    "  UNIQUE (task, id)"
    ") STRICT;"

    "CREATE TABLE prompts ("
    "  problem     INTEGER NOT NULL REFERENCES problems,"
    "  model       TEXT NOT NULL,"
    "  prompt_hash TEXT NOT NULL,"
    "  prompt      TEXT NOT NULL,"
    "  PRIMARY KEY (problem, model)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE outcomes ("
    "  outcome INTEGER PRIMARY KEY,"
    "  cell    INTEGER NOT NULL REFERENCES cells,"
    "  problem INTEGER NOT NULL REFERENCES problems,"
    "  seed    INTEGER NOT NULL,"
    "  timing  TEXT NOT NULL CHECK (timing IN ('throughput', 'latency', 'none')),"
    "  repeat  INTEGER NOT NULL,"
    "  error   TEXT,"                 /* NULL: it worked; else it counts as wrong */
    "  cut_short INTEGER NOT NULL,"   /* a budget ended the search; the answer stands */
    "  chosen  INTEGER,"              /* k of the chosen candidate */
    "  correct INTEGER NOT NULL,"     /* of the chosen one */
    "  n_candidates INTEGER NOT NULL,"
    "  prompt_tokens INTEGER, generated_tokens INTEGER, evaluated_tokens INTEGER,"
    "  shared_tokens INTEGER, rounds INTEGER, flops REAL, weight_bytes REAL, kv_bytes REAL,"
    "  kv_peak_positions INTEGER,"
    "  wall_ms REAL, ttft_ms REAL,"   /* to the finished outcome, to the first token */
    "  load REAL,"                    /* other problems in flight */
    "  energy_j REAL,"
    "  pooled INTEGER NOT NULL,"      /* cells that shared its pool of samples; 1: none */
    "  machine_load REAL,"            /* the machine's load average over a minute */
    "  recorded TEXT NOT NULL,"       /* UTC */
    "  UNIQUE (cell, problem, seed, timing, repeat)"
    ") STRICT;"

    /* What is long stands last: SQLite reaches a column only through all of those before it, and most
     * questions are not about texts. */
    "CREATE TABLE candidates ("
    "  outcome  INTEGER NOT NULL REFERENCES outcomes,"
    "  k        INTEGER NOT NULL,"
    "  n_tokens INTEGER,"
    "  lp       REAL,"                /* natural log, raw model, sum over tokens */
    "  lp_sampling REAL,"             /* under the distribution drawn from */
    "  score    REAL,"                /* what the strategy ranked by */
    "  answer   TEXT,"                /* canonical; NULL: none */
    "  correct  INTEGER NOT NULL,"
    "  reason   TEXT NOT NULL,"       /* token, string, step, length, context, budget, none */
    "  truncated INTEGER NOT NULL,"   /* length, context or budget ended it */
    "  model    INTEGER NOT NULL,"    /* which of the cell's models */
    "  text     TEXT,"
    "  tokens   BLOB,"
    "  PRIMARY KEY (outcome, k)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE scores ("
    "  outcome INTEGER NOT NULL REFERENCES outcomes,"
    "  k       INTEGER NOT NULL,"
    "  name    TEXT NOT NULL,"
    "  value   REAL,"
    "  PRIMARY KEY (outcome, k, name)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE nodes ("
    "  outcome  INTEGER NOT NULL REFERENCES outcomes,"
    "  node     INTEGER NOT NULL,"
    "  parent   INTEGER,"             /* NULL for the root */
    "  depth    INTEGER NOT NULL,"
    "  text     TEXT NOT NULL,"
    "  n_tokens INTEGER NOT NULL,"
    "  lp       REAL,"
    "  prior    REAL,"
    "  value    REAL,"
    "  visits   REAL,"
    "  candidate INTEGER,"            /* k of the candidate it ends */
    "  PRIMARY KEY (outcome, node)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE VIEW v_outcomes AS"
    "  SELECT o.*, c.label, c.model, c.task, c.strategy, c.params, c.family, c.size,"
    "         p.idx, p.id, p.question, p.reference, p.cluster, p.level, k.text, k.answer, k.lp"
    "  FROM outcomes o JOIN cells c USING (cell) JOIN problems p USING (problem)"
    "  LEFT JOIN candidates k ON k.outcome = o.outcome AND k.k = o.chosen;"

    "CREATE VIEW v_candidates AS"
    "  SELECT k.*, o.cell, o.problem, o.seed, o.timing, o.repeat, o.chosen, c.label, c.model AS"
    "         models, c.task, c.strategy, c.params, c.size, p.idx, p.id, p.reference"
    "  FROM candidates k JOIN outcomes o USING (outcome) JOIN cells c USING (cell)"
    "  JOIN problems p USING (problem);"

    "CREATE VIEW v_cells AS"
    "  SELECT c.cell, c.label, c.model, c.task, c.strategy, c.params, o.timing,"
    "         count(*) AS outcomes, avg(o.correct) AS accuracy, sum(o.error IS NOT NULL) AS failed,"
    "         avg(o.generated_tokens) AS generated_tokens, avg(o.rounds) AS rounds,"
    "         avg(o.flops) AS flops, avg(o.wall_ms) AS wall_ms"
    "  FROM cells c JOIN outcomes o USING (cell) GROUP BY c.cell, o.timing;";
