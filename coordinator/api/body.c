/*
 * Request bodies: see body.h. The JSON is read once into tokens; then each object's fields are
 * found, and the work of each branch is encoded behind the one before it.
 */
#include "coordinator/api/body.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "assent/wire.h"
#include "assent/work.h"
#include "common/uv/net.h"

#define BUF_KEPT 65536
#define FIELDS_MAX 4
#define WORK_BYTES_MAX (AS_FRAME_BYTES_MAX - 4096)

struct decode {
    struct body_reader *reader;
    struct problem *problem;
    int branch, statement; /* where it reads, from 0; -1: outside */
};

struct field_name {
    const char *text;
    size_t len;
};
#define FIELD(text)            \
    {                          \
        text, sizeof(text) - 1 \
    }

void body_init(struct body_reader *reader, uint32_t timeout_ms_default, size_t body_bytes_max)
{
    memset(reader, 0, sizeof(*reader));
    reader->timeout_ms_default = timeout_ms_default;
    /* What takes three bytes of JSON ("",) takes five of work, a statement's frame less than twice
     * its own. */
    as_buf_init(&reader->canonical, body_bytes_max * 4 + 65536);
    as_buf_init(&reader->scratch, body_bytes_max + 64);
    as_buf_init(&reader->text, body_bytes_max + 64);
}

void body_close(struct body_reader *reader)
{
    if (!reader)
        return;
    json_close(&reader->json);
    as_buf_close(&reader->canonical);
    as_buf_close(&reader->scratch);
    as_buf_close(&reader->text);
}

void body_trim(struct body_reader *reader)
{
    json_trim(&reader->json);
    if (reader->canonical.cap > BUF_KEPT)
        as_buf_close(&reader->canonical);
    if (reader->scratch.cap > BUF_KEPT)
        as_buf_close(&reader->scratch);
    if (reader->text.cap > BUF_KEPT)
        as_buf_close(&reader->text);
}

/* Refuses with a pointer to where decode stands, and below it `leaf`. Always false. */
__attribute__((format(printf, 4, 5))) static bool refuse(struct decode *in, const char *code,
                                                         const char *leaf, const char *detail, ...)
{
    struct problem *problem = in->problem;
    char text[sizeof(problem->detail)];
    int at = 0;
    va_list args;

    va_start(args, detail);
    (void)vsnprintf(text, sizeof(text), detail, args);
    va_end(args);
    problem_set(problem, 400, code, "%s", text);
    problem->has_pointer = true;
    if (in->branch >= 0) {
        at = snprintf(problem->pointer, sizeof(problem->pointer), "/branches/%d", in->branch);
        problem->branch = (uint32_t)in->branch + 1;
    }
    if (in->statement >= 0) {
        at += snprintf(problem->pointer + at, sizeof(problem->pointer) - (size_t)at,
                       "/statements/%d", in->statement);
        problem->statement = in->statement;
    }
    (void)snprintf(problem->pointer + at, sizeof(problem->pointer) - (size_t)at, "%s", leaf);
    return false;
}

static bool no_memory(struct decode *in)
{
    problem_set(in->problem, 503, "out_of_memory",
                "this node has no memory left for the request; try again later");
    return false;
}

static bool refuse_type(struct decode *in, const char *leaf, const char *expected, uint8_t type)
{
    return refuse(in, "bad_type", leaf, "expected %s, found %s", expected, json_type_text(type));
}

static void locate(struct problem *problem, struct as_bytes text, size_t offset)
{
    problem->has_position = true;
    problem->offset = (uint32_t)offset;
    problem->line = problem->column = 1;
    for (size_t i = 0; i < offset; i++) {
        problem->column++;
        if (text.data[i] == '\n') {
            problem->line++;
            problem->column = 1;
        }
    }
}

static bool parse(struct decode *in, struct as_bytes body)
{
    struct json *json = &in->reader->json;
    as_err err = json_parse(json, body);

    if (err == AS_ERR_MALFORMED) {
        struct problem *problem = in->problem;

        problem_set(problem, 400, json->fault_code, "%s", json->fault);
        locate(problem, body, json->fault_at);
        (void)snprintf(problem->detail, sizeof(problem->detail), "%s, at line %u, column %u",
                       json->fault, (unsigned)problem->line, (unsigned)problem->column);
        return false;
    }
    if (err)
        return no_memory(in);
    if (json->tokens[0].type != JSON_OBJECT)
        return refuse_type(in, "", "an object", json->tokens[0].type);
    return true;
}

/* A pointer's last part for a field name of the client's: cut at 64 bytes, with RFC 6901's escapes.
 */
static void leaf_of(struct as_bytes name, char ret_leaf[160])
{
    size_t at = 0, len = name.len;

    if (len > 64) {
        for (len = 64; (name.data[len] & 0xc0) == 0x80;)
            len--;
    }
    ret_leaf[at++] = '/';
    for (size_t i = 0; i < len; i++) {
        if (name.data[i] == '~' || name.data[i] == '/') {
            ret_leaf[at++] = '~';
            ret_leaf[at++] = name.data[i] == '~' ? '0' : '1';
        } else {
            ret_leaf[at++] = (char)name.data[i];
        }
    }
    ret_leaf[at] = 0;
}

/* The value tokens of an object's fields; those that are not there stay JSON_NONE. */
static bool fields(struct decode *in, uint32_t object, const struct field_name *names, size_t count,
                   uint32_t ret_values[FIELDS_MAX])
{
    struct json *json = &in->reader->json;
    uint32_t token = object + 1;

    AS_ASSERT(count <= FIELDS_MAX);
    for (uint32_t i = 0; i < json->tokens[object].count; i++) {
        struct as_bytes name = json_string(json, token, &in->reader->scratch);
        char leaf[160];
        size_t f = 0;

        if (!name.data)
            return no_memory(in);
        while (f < count &&
               (names[f].len != name.len || memcmp(names[f].text, name.data, name.len) != 0))
            f++;
        if (f == count || ret_values[f] != JSON_NONE) {
            leaf_of(name, leaf);
            if (f == count)
                return refuse(in, "unknown_field", leaf, "there is no field \"%s\" here", leaf + 1);
            return refuse(in, "duplicate_field", leaf, "the field \"%s\" is given twice", leaf + 1);
        }
        ret_values[f] = token + 1;
        token = json->tokens[token + 1].next;
    }
    return true;
}

static uint8_t type_of(const struct decode *in, uint32_t token)
{
    return in->reader->json.tokens[token].type;
}

/* The characters of a string field. */
static bool string_field(struct decode *in, uint32_t token, const char *leaf,
                         struct as_buf *scratch, struct as_bytes *ret_text)
{
    if (type_of(in, token) != JSON_STRING)
        return refuse_type(in, leaf, "a string", type_of(in, token));
    *ret_text = json_string(&in->reader->json, token, scratch);
    if (!ret_text->data)
        return no_memory(in);
    return true;
}

static bool integer_field(struct decode *in, uint32_t token, const char *leaf, int64_t min,
                          int64_t max, int64_t *ret_value)
{
    if (type_of(in, token) != JSON_NUMBER)
        return refuse_type(in, leaf, "an integer", type_of(in, token));
    if (!json_integer(&in->reader->json, token, ret_value) || *ret_value < min || *ret_value > max)
        return refuse(in, "bad_value", leaf, "expected an integer from %lld to %lld",
                      (long long)min, (long long)max);
    return true;
}

/* One of `choices`; *ret_choice is its position. */
static bool choice_field(struct decode *in, uint32_t token, const char *leaf,
                         const char *const *choices, size_t count, const char *allowed,
                         size_t *ret_choice)
{
    struct as_bytes text = {NULL, 0};

    if (!string_field(in, token, leaf, &in->reader->scratch, &text))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (strlen(choices[i]) == text.len && memcmp(choices[i], text.data, text.len) == 0) {
            *ret_choice = i;
            return true;
        }
    }
    return refuse(in, "bad_value", leaf, "expected %s", allowed);
}

/* What PostgreSQL gets for a parameter: null, the characters of a string, or the JSON text as
 * written. */
static bool put_param(struct decode *in, uint32_t token)
{
    struct json *json = &in->reader->json;
    struct as_bytes text = {NULL, 0};

    if (type_of(in, token) == JSON_STRING) {
        text = json_string(json, token, &in->reader->scratch);
        if (!text.data)
            return no_memory(in);
    } else if (type_of(in, token) != JSON_NULL) {
        text = json_raw(json, token);
    }
    as_work_put_param(&in->reader->canonical, text);
    return true;
}

static bool sql_field(struct decode *in, uint32_t token, struct as_bytes *ret_sql)
{
    const char *keyword;

    if (!string_field(in, token, "/sql", &in->reader->scratch, ret_sql))
        return false;
    if (ret_sql->len == 0)
        return refuse(in, "bad_value", "/sql", "an empty text is no statement");
    keyword = as_sql_refused(*ret_sql);
    if (!keyword)
        return true;
    (void)refuse(in, "statement_refused", "/sql",
                 "%s is not allowed in a branch: Assent itself begins, prepares and ends its "
                 "transaction (R11)",
                 keyword);
    in->problem->keyword = keyword;
    return false;
}

static bool operation_field(struct decode *in, uint32_t token, struct as_bytes *ret_name)
{
    if (!string_field(in, token, "/operation", &in->reader->scratch, ret_name))
        return false;
    if (as_operation_valid((const char *)ret_name->data, ret_name->len))
        return true;
    return refuse(in, "bad_operation", "/operation",
                  "an operation's name is 1 to %d of a-z 0-9 _ . - and begins with a letter",
                  AS_OPERATION_LEN_MAX);
}

/* `work_at`: where the branch's work begins. */
static bool put_statement(struct decode *in, uint32_t token, size_t work_at)
{
    static const struct field_name names[] = {FIELD("sql"), FIELD("params"), FIELD("expect_rows"),
                                              FIELD("operation")};
    struct json *json = &in->reader->json;
    int64_t expect_rows = AS_EXPECT_NONE;
    uint32_t value[FIELDS_MAX] = {JSON_NONE}, params = 0;
    struct as_bytes text = {NULL, 0};

    if (type_of(in, token) != JSON_OBJECT)
        return refuse_type(in, "", "an object", type_of(in, token));
    if (!fields(in, token, names, AS_COUNT_OF(names), value))
        return false;
    if (value[2] && !integer_field(in, value[2], "/expect_rows", 0, INT64_MAX, &expect_rows))
        return false;
    if (value[1]) {
        if (type_of(in, value[1]) != JSON_ARRAY)
            return refuse_type(in, "/params", "an array", type_of(in, value[1]));
        params = json->tokens[value[1]].count;
        if (params > AS_PARAMS_MAX)
            return refuse(in, "too_many_params", "/params", "at most %d parameters", AS_PARAMS_MAX);
    }
    if (!value[0] && !value[3])
        return refuse(in, "missing_field", "", "a statement needs \"sql\" or \"operation\"");
    if (value[0] && value[3])
        return refuse(in, "bad_value", "/operation",
                      "a statement has \"sql\" or \"operation\", not both");
    if (value[0] ? !sql_field(in, value[0], &text) : !operation_field(in, value[3], &text))
        return false;
    if (value[0])
        as_work_put_statement(&in->reader->canonical, text, expect_rows, params);
    else
        as_work_put_operation(&in->reader->canonical, work_at, text, expect_rows, params);
    for (uint32_t i = 0, at = value[1] + 1; i < params; i++, at = json->tokens[at].next) {
        if (!put_param(in, at))
            return false;
    }
    return true;
}

static bool put_work(struct decode *in, uint32_t statements, enum as_isolation isolation,
                     bool read_only)
{
    struct json *json = &in->reader->json;
    size_t work_at = in->reader->canonical.len;
    uint32_t count, at = statements + 1;

    if (!statements)
        return refuse(in, "missing_field", "", "a branch needs \"statements\"");
    if (type_of(in, statements) != JSON_ARRAY)
        return refuse_type(in, "/statements", "an array", type_of(in, statements));
    count = json->tokens[statements].count;
    if (count == 0)
        return refuse(in, "bad_value", "/statements", "a branch needs at least one statement");
    if (count > AS_STATEMENTS_MAX)
        return refuse(in, "too_many_statements", "/statements", "at most %d statements a branch",
                      AS_STATEMENTS_MAX);
    as_work_put_begin(&in->reader->canonical, isolation, read_only, count);
    for (in->statement = 0; in->statement < (int)count; in->statement++) {
        if (!put_statement(in, at, work_at))
            return false;
        at = json->tokens[at].next;
    }
    in->statement = -1;
    return true;
}

/*
 * Appends participant, length and work. The views of `branch` hold offsets until the buffer has
 * stopped moving: see point_branches.
 */
static bool put_branch(struct decode *in, uint32_t token, struct as_submit_branch *branch)
{
    static const struct field_name names[] = {FIELD("participant"), FIELD("isolation"),
                                              FIELD("read_only"), FIELD("statements")};
    static const char *const isolations[] = {"read committed", "repeatable read", "serializable"};
    struct as_buf *out = &in->reader->canonical;
    uint32_t value[FIELDS_MAX] = {JSON_NONE};
    size_t isolation = AS_ISOLATION_READ_COMMITTED, work_at;
    struct as_bytes name = {NULL, 0};

    if (type_of(in, token) != JSON_OBJECT)
        return refuse_type(in, "", "an object", type_of(in, token));
    if (!fields(in, token, names, AS_COUNT_OF(names), value))
        return false;
    if (value[1] &&
        !choice_field(in, value[1], "/isolation", isolations, AS_COUNT_OF(isolations),
                      "\"read committed\", \"repeatable read\" or \"serializable\"", &isolation))
        return false;
    if (value[2] && type_of(in, value[2]) != JSON_TRUE && type_of(in, value[2]) != JSON_FALSE)
        return refuse_type(in, "/read_only", "a boolean", type_of(in, value[2]));
    branch->read_only = value[2] && type_of(in, value[2]) == JSON_TRUE;
    if (!value[0])
        return refuse(in, "missing_field", "", "a branch needs \"participant\"");
    if (!string_field(in, value[0], "/participant", &in->reader->scratch, &name))
        return false;
    if (!as_participant_valid((const char *)name.data, name.len))
        return refuse(in, "bad_participant", "/participant",
                      "a participant's name is 1 to %d of a-z 0-9 _ - and begins with a letter",
                      AS_PARTICIPANT_LEN_MAX);
    branch->participant = (struct as_bytes){NULL, name.len};
    as_put_text8(out, (const char *)name.data, name.len);
    as_put_u32(out, 0);
    work_at = out->len;
    if (!put_work(in, value[3], (enum as_isolation)isolation, branch->read_only))
        return false;
    if (out->err == AS_ERR_NOMEM)
        return no_memory(in);
    branch->work = (struct as_bytes){NULL, out->len - work_at};
    if (out->err || branch->work.len > WORK_BYTES_MAX) {
        (void)refuse(in, "branch_too_large", "", "a branch's work is at most %u bytes when encoded",
                     (unsigned)WORK_BYTES_MAX);
        in->problem->status = 413;
        return false;
    }
    for (int i = 0; i < 4; i++)
        out->data[work_at - 4 + (size_t)i] = (uint8_t)(branch->work.len >> (8 * i));
    return true;
}

static void point_branches(struct body_reader *reader, uint32_t count)
{
    const uint8_t *at = reader->canonical.data;

    for (uint32_t i = 0; i < count; i++) {
        struct as_submit_branch *branch = &reader->branches[i];

        branch->participant.data = at + 1;
        branch->work.data = at + 1 + branch->participant.len + 4;
        at = branch->work.data + branch->work.len;
    }
}

static bool put_branches(struct decode *in, uint32_t branches, struct as_submit *submit)
{
    struct body_reader *reader = in->reader;
    uint32_t count, at = branches + 1;

    if (branches && type_of(in, branches) != JSON_ARRAY)
        return refuse_type(in, "/branches", "an array", type_of(in, branches));
    count = branches ? reader->json.tokens[branches].count : 0;
    if (count == 0)
        return refuse(in, "branches_required", "",
                      "a transaction needs \"branches\": what to run, and at which participants");
    if (count > AS_BRANCHES_MAX)
        return refuse(in, "too_many_branches", "/branches", "at most %d branches a transaction",
                      AS_BRANCHES_MAX);
    as_buf_clear(&reader->canonical);
    for (in->branch = 0; in->branch < (int)count; in->branch++) {
        if (!put_branch(in, at, &reader->branches[in->branch]))
            return false;
        at = reader->json.tokens[at].next;
    }
    in->branch = -1;
    point_branches(reader, count);
    submit->branch_count = count;
    submit->branches = reader->branches;
    return true;
}

/* R9: the hash of what is to be done, in a form that white space and the order of fields do not
 * change. */
static bool hash_body(struct decode *in, uint8_t ret_hash[AS_HASH_LEN])
{
    const struct as_buf *canonical = &in->reader->canonical;

    _Static_assert(AS_HASH_LEN == 32, "SHA-256");
    return gnutls_hash_fast(GNUTLS_DIG_SHA256, canonical->data, canonical->len, ret_hash) == 0 ||
           no_memory(in);
}

bool body_submit(struct body_reader *reader, struct as_bytes body, struct as_submit *ret_submit,
                 struct problem *ret_problem)
{
    static const struct field_name names[] = {FIELD("id"), FIELD("timeout_ms"), FIELD("wait"),
                                              FIELD("branches")};
    static const char *const waits[] = {"applied", "decided", "none"};
    struct decode in = {reader, ret_problem, -1, -1};
    int64_t timeout_ms = reader->timeout_ms_default;
    uint32_t value[FIELDS_MAX] = {JSON_NONE};
    size_t wait = AS_WAIT_APPLIED;
    struct as_bytes id = {(const uint8_t *)"", 0};

    memset(ret_submit, 0, sizeof(*ret_submit));
    if (!parse(&in, body) || !fields(&in, 0, names, AS_COUNT_OF(names), value))
        return false;
    if (value[0]) {
        if (!string_field(&in, value[0], "/id", &reader->scratch, &id))
            return false;
        if (!as_id_valid((const char *)id.data, id.len))
            return refuse(&in, "bad_id", "/id", "an id is 1 to %d of A-Z a-z 0-9 . _ : -",
                          AS_ID_LEN_MAX);
        memcpy(ret_submit->id, id.data, id.len);
    }
    if (value[1] && !integer_field(&in, value[1], "/timeout_ms", 1, AS_TIMEOUT_MS_MAX, &timeout_ms))
        return false;
    if (value[2] && !choice_field(&in, value[2], "/wait", waits, AS_COUNT_OF(waits),
                                  "\"applied\", \"decided\" or \"none\"", &wait))
        return false;
    ret_submit->timeout_ms = (uint32_t)timeout_ms;
    ret_submit->wait = (enum as_wait)wait;
    return put_branches(&in, value[3], ret_submit) && hash_body(&in, ret_submit->body_hash);
}

/* Who decides it, and why: both go into the decision log. */
static bool put_who_and_why(struct decode *in, uint32_t who, uint32_t why, struct as_bytes *ret_who,
                            struct as_bytes *ret_why)
{
    struct body_reader *reader = in->reader;

    if (!why)
        return refuse(in, "missing_field", "",
                      "an operator says why: \"reason\" goes into the decision log");
    if (!string_field(in, why, "/reason", &reader->text, ret_why))
        return false;
    if (ret_why->len < 1 || ret_why->len > AS_REASON_LEN_MAX)
        return refuse(in, "bad_value", "/reason", "expected 1 to %d bytes", AS_REASON_LEN_MAX);
    *ret_who = (struct as_bytes){NULL, 0};
    if (!who)
        return true;
    if (!string_field(in, who, "/who", &reader->scratch, ret_who))
        return false;
    if (ret_who->len < 1 || ret_who->len > AS_WHO_LEN_MAX)
        return refuse(in, "bad_value", "/who", "expected 1 to %d bytes", AS_WHO_LEN_MAX);
    return true;
}

bool body_acknowledge(struct body_reader *reader, struct as_bytes body,
                      struct body_acknowledge *ret_acknowledge, struct problem *ret_problem)
{
    static const struct field_name names[] = {FIELD("reason"), FIELD("who")};
    struct decode in = {reader, ret_problem, -1, -1};
    uint32_t value[FIELDS_MAX] = {JSON_NONE};

    return parse(&in, body) && fields(&in, 0, names, AS_COUNT_OF(names), value) &&
           put_who_and_why(&in, value[1], value[0], &ret_acknowledge->who, &ret_acknowledge->why);
}

bool body_resolve(struct body_reader *reader, struct as_bytes body, struct as_resolve *resolve,
                  struct problem *ret_problem)
{
    static const struct field_name names[] = {FIELD("decision"), FIELD("reason"), FIELD("who"),
                                              FIELD("other_incarnation")};
    static const char *const decisions[] = {"abort", "commit"};
    struct decode in = {reader, ret_problem, -1, -1};
    uint32_t value[FIELDS_MAX] = {JSON_NONE};
    size_t decision = 0;

    if (!parse(&in, body) || !fields(&in, 0, names, AS_COUNT_OF(names), value))
        return false;
    if (!value[0])
        return refuse(&in, "missing_field", "",
                      "an operator decides: \"decision\" is \"commit\" or \"abort\"");
    if (!choice_field(&in, value[0], "/decision", decisions, AS_COUNT_OF(decisions),
                      "\"commit\" or \"abort\"", &decision))
        return false;
    if (value[3] && type_of(&in, value[3]) != JSON_TRUE && type_of(&in, value[3]) != JSON_FALSE)
        return refuse_type(&in, "/other_incarnation", "a boolean", type_of(&in, value[3]));
    resolve->commit = decision == 1;
    resolve->other_incarnation = value[3] && type_of(&in, value[3]) == JSON_TRUE;
    return put_who_and_why(&in, value[2], value[1], &resolve->who, &resolve->why);
}

/* host:port, nothing in it that would not show in a log line. */
static bool address_valid(const char *address)
{
    char host[256];
    uint16_t port;

    for (const char *at = address; *at; at++) {
        if (*at <= ' ' || *at > '~')
            return false;
    }
    return net_address_split(address, host, &port) == AS_OK && port != 0;
}

bool body_node(struct body_reader *reader, struct as_bytes body, struct body_node *ret_node,
               struct problem *ret_problem)
{
    static const struct field_name names[] = {FIELD("id"), FIELD("address")};
    struct decode in = {reader, ret_problem, -1, -1};
    uint32_t value[FIELDS_MAX] = {JSON_NONE};
    struct as_bytes address = {(const uint8_t *)"", 0};
    int64_t id = 0;

    memset(ret_node, 0, sizeof(*ret_node));
    if (!parse(&in, body) || !fields(&in, 0, names, AS_COUNT_OF(names), value))
        return false;
    if (!value[0] || !value[1])
        return refuse(&in, "missing_field", "",
                      "a node needs \"id\", which none ever had, and \"address\"");
    if (!integer_field(&in, value[0], "/id", 1, BODY_NODE_ID_MAX, &id) ||
        !string_field(&in, value[1], "/address", &reader->scratch, &address))
        return false;
    ret_node->id = (uint64_t)id;
    if (address.len <= RAFT_ADDRESS_LEN_MAX)
        memcpy(ret_node->address, address.data, address.len);
    if (!address_valid(ret_node->address))
        return refuse(&in, "bad_value", "/address",
                      "expected host:port or [v6]:port, how the other nodes reach it");
    return true;
}

bool body_transfer(struct body_reader *reader, struct as_bytes body, uint64_t *ret_to,
                   struct problem *ret_problem)
{
    static const struct field_name names[] = {FIELD("to")};
    struct decode in = {reader, ret_problem, -1, -1};
    uint32_t value[FIELDS_MAX] = {JSON_NONE};
    int64_t to = 0;

    if (!parse(&in, body) || !fields(&in, 0, names, AS_COUNT_OF(names), value) ||
        (value[0] && !integer_field(&in, value[0], "/to", 1, BODY_NODE_ID_MAX, &to)))
        return false;
    *ret_to = (uint64_t)to;
    return true;
}
