/* jinja_private.h - values, syntax tree and machine, as the files of the interpreter see them.
 *
 *   jinja.c          the interface, the machine
 *   jinja_lex.c      source to tokens: whitespace control, strings, numbers
 *   jinja_parse.c    tokens to a tree: statements; jinja_expression.c: expressions
 *   jinja_eval.c     statements and expressions
 *   jinja_value.c    memory, strings with provenance, truth, equality, order, printing
 *   jinja_filters.c  x | filter, x is test
 *   jinja_methods.c  x.method(), global functions
 *   jinja_json.c     JSON in and out
 *
 * Values are immutable, as Hugging Face's sandbox has them, except for the attributes of a
 * namespace. So nothing but a namespace can contain itself, and those are never printed.
 *
 * Failure is remembered in the machine: the first one writes its sentence, and from then on every
 * function returns at once with an undefined value. Loops therefore check `status` (or step). */
#ifndef RM_EXPERIMENTS_JINJA_PRIVATE_H
#define RM_EXPERIMENTS_JINJA_PRIVATE_H

#include "experiments/chat/jinja.h"

/* ---- memory: blocks that are freed together --------------------------------------------- */

typedef struct jinja_block jinja_block;
typedef struct jinja_arena {
    jinja_block *blocks;
    size_t left;             /* bytes that may still be allocated */
} jinja_arena;

/* Zeroed; NULL without memory or past the limit. */
void *jinja_arena_alloc(jinja_arena *, size_t bytes);
void jinja_arena_free(jinja_arena *);

/* ---- values ----------------------------------------------------------------------------- */

/* UTF-8. Where `mark` is NULL all bytes are `data` or none is; else mark[i] says it of byte i. */
typedef struct jinja_string {
    const char *bytes;
    const uint8_t *mark;
    size_t n;
    bool data;
    bool markup;             /* made by `safe`: + escapes what is joined to it, as Markup does */
} jinja_string;

typedef enum jinja_type {
    JINJA_UNDEFINED, JINJA_NONE, JINJA_BOOL, JINJA_INT, JINJA_FLOAT, JINJA_STRING, JINJA_LIST,
    JINJA_TUPLE, JINJA_ITERATOR, JINJA_MAP, JINJA_NAMESPACE, JINJA_LOOP, JINJA_MACRO, JINJA_METHOD,
    JINJA_GLOBAL
} jinja_type;

typedef struct jinja_value jinja_value;
typedef struct jinja_list jinja_list;
typedef struct jinja_map jinja_map;
typedef struct jinja_macro jinja_macro;
typedef struct jinja_method jinja_method;
typedef struct jinja_loop jinja_loop;

struct jinja_value {
    jinja_type type;
    union {
        const char *missing;          /* undefined: what was looked for, or NULL */
        bool truth;
        int64_t integer;
        double real;
        const jinja_string *string;
        jinja_list *list;             /* list, tuple and iterator */
        jinja_map *map;               /* map and namespace */
        const jinja_loop *loop;
        const jinja_macro *macro;
        const jinja_method *method;
        const char *global;
    };
};

/* An iterator is what map, select and their like give: true even if empty, without a length, and
 * `spent` once it was looped over. */
struct jinja_list {
    size_t n;
    const jinja_value *items;
    bool spent;
};

/* In the order of insertion, which Python's dict keeps. */
struct jinja_map {
    size_t n, capacity;
    jinja_value *keys, *values;
};

/* The variable `loop`. */
struct jinja_loop {
    const jinja_value *items;
    size_t n, index;
};

struct jinja_method {
    jinja_value self;
    const char *name;
};

#define JINJA_NULL ((jinja_value){ .type = JINJA_NONE })
#define JINJA_NOTHING ((jinja_value){ .type = JINJA_UNDEFINED })

/* ---- tokens and tree -------------------------------------------------------------------- */

typedef enum jinja_token_type {
    JINJA_T_END, JINJA_T_TEXT, JINJA_T_BLOCK, JINJA_T_BLOCK_END, JINJA_T_PRINT, JINJA_T_PRINT_END,
    JINJA_T_NAME, JINJA_T_STRING, JINJA_T_INT, JINJA_T_FLOAT, JINJA_T_OPERATOR
} jinja_token_type;

typedef struct jinja_token {
    jinja_token_type type;
    int line;
    uint16_t operator;       /* one or two characters: first | second << 8 */
    size_t n;
    const char *bytes;       /* text, name, decoded string */
    jinja_value number;
} jinja_token;

/* Tokens of a template, allocated from the arena; a JINJA_T_END closes them. */
rm_status jinja_lex(jinja_arena *, const char *source, size_t n, const char *name,
                    jinja_token **tokens, rm_error *);

typedef enum jinja_kind {
    /* statements, linked by `next` */
    JINJA_K_TEXT, JINJA_K_PRINT, JINJA_K_IF, JINJA_K_FOR, JINJA_K_SET, JINJA_K_SET_BLOCK,
    JINJA_K_MACRO, JINJA_K_FILTER_BLOCK, JINJA_K_SCOPE, JINJA_K_BREAK, JINJA_K_CONTINUE,
    /* expressions */
    JINJA_K_CONST, JINJA_K_NAME, JINJA_K_LIST, JINJA_K_TUPLE, JINJA_K_MAP, JINJA_K_ATTRIBUTE,
    JINJA_K_ITEM, JINJA_K_SLICE, JINJA_K_CALL, JINJA_K_FILTER, JINJA_K_TEST, JINJA_K_NOT,
    JINJA_K_AND, JINJA_K_OR, JINJA_K_NEGATE, JINJA_K_PLUS, JINJA_K_ARITHMETIC, JINJA_K_CONCAT,
    JINJA_K_COMPARE, JINJA_K_CONDITION, JINJA_K_ARGUMENT
} jinja_kind;

/* One shape for all kinds. Unused fields are zero.
 *   if          left test, body, otherwise (an `if` with operator JINJA_ELIF: its own chain)
 *   for         left target, right what is looped over, third filter, body, otherwise
 *   set         left target, right value        set block   left target, right filter, body
 *   macro       name, first = parameters (argument nodes: name, left default), body
 *   filter      name, left (NULL in a filter block: the text), first = arguments
 *   test, call  the same; arguments with a name are keywords (argument nodes)
 *   map         first = key, value, key, value   compare   left, first = operands with operators
 *   slice       left, right, third               condition left ? right : third */
enum { JINJA_ELIF = 1 };
typedef struct jinja_node jinja_node;
struct jinja_node {
    jinja_kind kind;
    uint16_t operator;
    int line;
    const char *name;        /* NUL-terminated */
    jinja_value value;
    jinja_node *left, *right, *third;
    jinja_node *first;       /* arguments, items: linked by `next` */
    jinja_node *body, *otherwise;
    jinja_node *next;
};

struct rm_jinja {
    jinja_arena arena;
    const char *name;
    jinja_node *body;
};

rm_status jinja_parse(rm_jinja *, const jinja_token *, rm_error *);

/* ---- the machine ------------------------------------------------------------------------ */

/* Names set in one block; names not found are looked for in the parent. */
typedef struct jinja_scope jinja_scope;
struct jinja_scope {
    jinja_scope *parent;
    jinja_map *names;        /* made when the first name is set */
};

struct jinja_macro {
    const jinja_node *node;
    jinja_scope *scope;      /* where it was defined */
};

/* Growing text with provenance, from the machine's memory. */
typedef struct jinja_buffer {
    char *bytes;
    uint8_t *mark;
    size_t n, capacity;
    size_t n_data;           /* marked bytes */
} jinja_buffer;

typedef enum jinja_flow { JINJA_GO, JINJA_BREAK, JINJA_CONTINUE } jinja_flow;

typedef struct jinja_machine {
    const rm_jinja *template;
    const rm_jinja_input *input;
    jinja_arena arena;
    uint64_t steps;          /* left */
    int depth, line;
    jinja_flow flow;         /* why the statements of a body end early */
    jinja_scope *scope;
    rm_status status;
    rm_error *err;
} jinja_machine;

/* Fails once: "name:line: sentence". */
void jinja_fail(jinja_machine *, rm_status, const char *format, ...) RM_PRINTF(3, 4);
/* Counts work; false if something has failed or the steps are used up. */
bool jinja_step(jinja_machine *, size_t n);
void *jinja_alloc(jinja_machine *, size_t bytes); /* NULL: failed */

/* ---- jinja_eval.c ------------------------------------------------------------------------ */

jinja_scope *jinja_open_scope(jinja_machine *, jinja_scope *parent); /* NULL: failed */
void jinja_set_name(jinja_machine *, const char *name, jinja_value); /* in the present scope */
/* Runs the statements of a body, appending what they print. */
void jinja_run(jinja_machine *, const jinja_node *body, jinja_buffer *out);

/* ---- jinja_value.c ---------------------------------------------------------------------- */

jinja_value jinja_bool(bool);
jinja_value jinja_int(int64_t);
jinja_value jinja_float(double);
jinja_value jinja_text(jinja_machine *, const char *bytes, size_t n, bool data); /* copies */
jinja_value jinja_missing(const char *what);
/* A list or tuple over items[0..n), which must live as long as the machine. */
jinja_value jinja_sequence(jinja_machine *, jinja_type, const jinja_value *items, size_t n);
jinja_value jinja_new_map(jinja_machine *, size_t capacity);
void jinja_map_put(jinja_machine *, jinja_map *, jinja_value key, jinja_value);
/* The value at a key, or NULL. */
const jinja_value *jinja_map_find(jinja_machine *, const jinja_map *, jinja_value key);
const jinja_value *jinja_map_name(jinja_machine *, const jinja_map *, const char *name);

/* Part of a string, sharing its bytes. */
jinja_value jinja_part(jinja_machine *, const jinja_string *, size_t from, size_t to);

void jinja_add(jinja_machine *, jinja_buffer *, const char *bytes, size_t n, bool data);
void jinja_add_part(jinja_machine *, jinja_buffer *, const jinja_string *, size_t from, size_t to);
void jinja_add_string(jinja_machine *, jinja_buffer *, const jinja_string *);
/* str(value): what printing shows. */
void jinja_add_value(jinja_machine *, jinja_buffer *, jinja_value);
jinja_value jinja_buffer_value(jinja_machine *, const jinja_buffer *);
/* The value as a string: itself, or str(value). */
const jinja_string *jinja_as_string(jinja_machine *, jinja_value);
void jinja_number_text(double, bool json, char text[40]); /* as Python's repr(float) */

bool jinja_is_true(jinja_value);
bool jinja_equal(jinja_machine *, jinja_value, jinja_value);
/* -1, 0, 1; fails where Python has no order. */
int jinja_compare(jinja_machine *, jinja_value, jinja_value);
bool jinja_is_number(jinja_value);      /* bool, int, float */
int64_t jinja_integer(jinja_value);     /* of int and bool; else 0 */
double jinja_real(jinja_value);
bool jinja_contains(jinja_machine *, jinja_value container, jinja_value item);
/* What a loop over the value sees; false (and a failure) where Python cannot iterate. */
bool jinja_items(jinja_machine *, jinja_value, const jinja_value **items, size_t *n);
const char *jinja_type_name(jinja_value);

/* Code points. */
size_t jinja_char_bytes(const char *at, const char *end);
uint32_t jinja_char(const char *at, size_t n);
bool jinja_is_space(uint32_t);
size_t jinja_length(jinja_machine *, const jinja_string *);

/* ---- calls ------------------------------------------------------------------------------ */

enum { JINJA_MAX_ARGUMENTS = 32 };

typedef struct jinja_call {
    const char *name;        /* of what is called, for messages */
    int n;                   /* positional */
    jinja_value positional[JINJA_MAX_ARGUMENTS];
    int n_named;
    const char *names[JINJA_MAX_ARGUMENTS];
    jinja_value named[JINJA_MAX_ARGUMENTS];
} jinja_call;

/* Binds arguments to parameters as Python does: `names` is "width first blank", values come in
 * filled with defaults. False (and a failure) for too many, unknown or doubled ones. */
bool jinja_bind(jinja_machine *, const jinja_call *, const char *names, jinja_value *values);

jinja_value jinja_apply_filter(jinja_machine *, const char *name, jinja_value, const jinja_call *);
bool jinja_apply_test(jinja_machine *, const char *name, jinja_value, const jinja_call *);
jinja_value jinja_attribute(jinja_machine *, jinja_value, const char *name);
jinja_value jinja_item(jinja_machine *, jinja_value, jinja_value key);
jinja_value jinja_call_method(jinja_machine *, const jinja_method *, const jinja_call *);
jinja_value jinja_call_global(jinja_machine *, const char *name, const jinja_call *);
/* Strings by code point: str.strip and its relatives; `which` 1 left, 2 right, 3 both. */
jinja_value jinja_strip(jinja_machine *, const jinja_string *, const jinja_string *chars,
                        int which);
jinja_value jinja_replace(jinja_machine *, const jinja_string *, const jinja_string *old,
                          const jinja_string *with, int64_t count);
typedef enum jinja_case { JINJA_UPPER, JINJA_LOWER, JINJA_CAPITALIZE, JINJA_TITLE,
                          JINJA_TITLE_WORDS } jinja_case;
jinja_value jinja_change_case(jinja_machine *, const jinja_string *, jinja_case);
jinja_value jinja_split_lines(jinja_machine *, const jinja_string *);
jinja_value jinja_escape(jinja_machine *, const jinja_string *);

/* ---- jinja_json.c ----------------------------------------------------------------------- */

jinja_value jinja_from_json(jinja_machine *, const cJSON *, bool data, int depth);
jinja_value jinja_to_json(jinja_machine *, jinja_value, const jinja_call *);

#endif
