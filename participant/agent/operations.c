/*
 * Named operations: see operations.h.
 *
 * Fault model: a person wrote the file; a client wrote the work. An operation is looked up when its
 * branch begins, and its SQL is a copy from then on: a file that is read again meanwhile changes
 * nothing of that branch.
 */
#include "participant/agent/operations.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "assent/attempt.h"
#include "assent/work.h"

struct operation {
    struct as_bytes name, sql;
    int64_t expect_rows;
    uint32_t line;
};

struct operations {
    uint8_t *text; /* all names and SQL point into it */
    uint32_t count;
    struct operation list[AS_OPERATIONS_MAX];
};

/* --- The file --- */

struct parse {
    struct operations *operations;
    struct operation *current; /* NULL before the first */
    bool in_sql;               /* of the current one, a line that is no header has come */
    size_t sql_end;
    uint32_t line;
    char *error;
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct as_bytes trim(struct as_bytes text)
{
    while (text.len > 0 && is_blank(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.data[text.len - 1]))
        text.len--;
    return text;
}

static bool is_text(struct as_bytes bytes, const char *text)
{
    return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

__attribute__((format(printf, 3, 4))) static as_err refuse(struct parse *in, uint32_t line,
                                                           const char *format, ...)
{
    int len = snprintf(in->error, 256, "line %u: ", (unsigned)line);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(in->error + len, 256 - (size_t)len, format, args);
    va_end(args);
    return AS_ERR_INVALID;
}

/* "-- key: value", the key of a-z and _. */
static bool header_of(struct as_bytes line, struct as_bytes *ret_key, struct as_bytes *ret_value)
{
    size_t len = 0;

    line = trim(line);
    if (line.len < 2 || line.data[0] != '-' || line.data[1] != '-')
        return false;
    line = trim((struct as_bytes){line.data + 2, line.len - 2});
    while (len < line.len &&
           ((line.data[len] >= 'a' && line.data[len] <= 'z') || line.data[len] == '_'))
        len++;
    if (len == 0 || len == line.len || line.data[len] != ':')
        return false;
    *ret_key = (struct as_bytes){line.data, len};
    *ret_value = trim((struct as_bytes){line.data + len + 1, line.len - len - 1});
    return true;
}

/* The current one is complete. */
static as_err finish(struct parse *in)
{
    struct operation *operation = in->current;
    const char *keyword;

    if (!operation)
        return AS_OK;
    if (in->in_sql)
        operation->sql = trim((struct as_bytes){operation->sql.data, in->sql_end});
    if (operation->sql.len == 0)
        return refuse(in, operation->line, "\"%.*s\" has no statement below its name",
                      (int)operation->name.len, (const char *)operation->name.data);
    keyword = as_sql_refused(operation->sql);
    if (keyword)
        return refuse(in, operation->line,
                      "\"%.*s\": %s is not allowed: Assent itself begins, prepares and ends the "
                      "transaction (R11)",
                      (int)operation->name.len, (const char *)operation->name.data, keyword);
    return AS_OK;
}

static as_err begin(struct parse *in, struct as_bytes name)
{
    struct operations *operations = in->operations;
    as_err err = finish(in);

    if (err)
        return err;
    if (!as_operation_valid((const char *)name.data, name.len))
        return refuse(in, in->line,
                      "\"%.*s\" is no name of an operation: 1 to %d of a-z 0-9 _ . -, the first a "
                      "letter",
                      name.len > 80 ? 80 : (int)name.len, (const char *)name.data,
                      AS_OPERATION_LEN_MAX);
    for (uint32_t i = 0; i < operations->count; i++) {
        const struct operation *before = &operations->list[i];

        if (before->name.len == name.len && memcmp(before->name.data, name.data, name.len) == 0)
            return refuse(in, in->line, "\"%.*s\" is given a second time; the first is in line %u",
                          (int)name.len, (const char *)name.data, (unsigned)before->line);
    }
    if (operations->count == AS_OPERATIONS_MAX)
        return refuse(in, in->line, "more than %d operations", AS_OPERATIONS_MAX);
    in->current = &operations->list[operations->count++];
    *in->current = (struct operation){
        .name = name, .sql = {NULL, 0}, .expect_rows = AS_EXPECT_NONE, .line = in->line};
    in->in_sql = false;
    return AS_OK;
}

static as_err set_expect_rows(struct parse *in, struct as_bytes value)
{
    int64_t rows = 0;

    if (in->current->expect_rows != AS_EXPECT_NONE)
        return refuse(in, in->line, "expect_rows is given a second time");
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9' || value.len > 9)
            return refuse(in, in->line, "expect_rows is a whole number up to 999999999");
        rows = rows * 10 + (value.data[i] - '0');
    }
    if (value.len == 0)
        return refuse(in, in->line, "expect_rows is a whole number up to 999999999");
    in->current->expect_rows = rows;
    return AS_OK;
}

static as_err take_line(struct parse *in, struct as_bytes line)
{
    struct as_bytes key = {NULL, 0}, value = {NULL, 0};
    bool header = header_of(line, &key, &value);
    struct as_bytes text = trim(line);

    if (header && is_text(key, "name"))
        return begin(in, value);
    if (!in->current && text.len > 0 &&
        !(text.len > 1 && text.data[0] == '-' && text.data[1] == '-'))
        return refuse(in, in->line, "SQL before the first \"-- name: NAME\"");
    if (!in->current)
        return AS_OK;
    if (!in->in_sql && header)
        return is_text(key, "expect_rows")
                   ? set_expect_rows(in, value)
                   : refuse(in, in->line, "there is no \"%.*s\" here; known are: name, expect_rows",
                            key.len > 80 ? 80 : (int)key.len, (const char *)key.data);
    if (!in->in_sql &&
        (text.len == 0 || (text.len > 1 && text.data[0] == '-' && text.data[1] == '-')))
        return AS_OK;
    if (!in->in_sql)
        in->current->sql.data = line.data;
    in->in_sql = true;
    in->sql_end = (size_t)(line.data + line.len - in->current->sql.data);
    return AS_OK;
}

static as_err parse(struct parse *in, struct as_bytes text)
{
    as_err err;

    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end ? (size_t)(end - text.data) : text.len;

        in->line++;
        if (memchr(text.data, 0, len))
            return refuse(in, in->line, "this line has a zero byte in it");
        err = take_line(in, (struct as_bytes){text.data, len});
        if (err)
            return err;
        len += end != NULL;
        text.data += len;
        text.len -= len;
    }
    return finish(in);
}

as_err operations_parse(struct as_bytes text, struct operations **ret_operations,
                        char ret_error[256])
{
    struct parse in = {.operations = as_alloc_zero(1, sizeof(struct operations)),
                       .error = ret_error};
    as_err err = AS_ERR_NOMEM;

    (void)snprintf(ret_error, 256, "out of memory");
    if (in.operations)
        in.operations->text = as_alloc_zero(1, text.len + 1);
    if (in.operations && in.operations->text) {
        if (text.len > 0)
            memcpy(in.operations->text, text.data, text.len);
        err = parse(&in, (struct as_bytes){in.operations->text, text.len});
    }
    if (err) {
        operations_free(in.operations);
        return err;
    }
    *ret_operations = in.operations;
    return AS_OK;
}

void operations_free(struct operations *operations)
{
    if (!operations)
        return;
    as_free(operations->text);
    as_free(operations);
}

uint32_t operations_count(const struct operations *operations)
{
    return operations->count;
}

/* --- The work --- */

static const struct operation *find(const struct operations *operations, struct as_bytes name)
{
    for (uint32_t i = 0; operations && i < operations->count; i++) {
        const struct operation *operation = &operations->list[i];

        if (operation->name.len == name.len &&
            memcmp(operation->name.data, name.data, name.len) == 0)
            return operation;
    }
    return NULL;
}

static as_err expand(const struct operations *operations, bool named,
                     const struct as_statement *statement, struct as_buf *out,
                     struct operations_refusal *refusal)
{
    const struct operation *operation;
    int64_t expect_rows = statement->expect_rows;

    if (!statement->operation && !named) {
        as_work_put_statement(out, statement->sql, expect_rows, statement->param_count);
        return AS_OK;
    }
    if (!statement->operation) {
        refusal->sqlstate = "OP001";
        (void)snprintf(refusal->why, sizeof(refusal->why),
                       "this participant runs named operations only (sql = named): send "
                       "\"operation\" instead of \"sql\"");
        return AS_ERR_REFUSED;
    }
    operation = find(operations, statement->sql);
    if (!operation) {
        refusal->sqlstate = "OP002";
        (void)snprintf(refusal->why, sizeof(refusal->why),
                       "this participant has no operation \"%.*s\"", (int)statement->sql.len,
                       (const char *)statement->sql.data);
        return AS_ERR_REFUSED;
    }
    if (expect_rows != AS_EXPECT_NONE && operation->expect_rows != AS_EXPECT_NONE &&
        expect_rows != operation->expect_rows) {
        refusal->sqlstate = "OP003";
        (void)snprintf(refusal->why, sizeof(refusal->why),
                       "the operation \"%.*s\" expects %lld rows, the request %lld: both cannot be",
                       (int)statement->sql.len, (const char *)statement->sql.data,
                       (long long)operation->expect_rows, (long long)expect_rows);
        return AS_ERR_REFUSED;
    }
    as_work_put_statement(out, operation->sql,
                          expect_rows != AS_EXPECT_NONE ? expect_rows : operation->expect_rows,
                          statement->param_count);
    return AS_OK;
}

as_err operations_expand(const struct operations *operations, bool named, struct as_bytes work,
                         struct as_buf *out, struct operations_refusal *ret_refusal)
{
    struct as_work_reader in;
    struct as_statement statement;
    struct as_bytes param;
    as_err err = as_work_open(&in, work);

    if (err)
        return err;
    as_work_put_begin(out, in.isolation, in.read_only, in.statement_count);
    for (uint32_t i = 0; i < in.statement_count; i++) {
        err = as_work_next_statement(&in, &statement);
        ret_refusal->statement = (int32_t)i;
        if (!err)
            err = expand(operations, named, &statement, out, ret_refusal);
        for (uint32_t k = 0; !err && k < statement.param_count; k++) {
            err = as_work_next_param(&in, &param);
            if (!err)
                as_work_put_param(out, param);
        }
        if (!err)
            err = out->err;
        if (err)
            return err;
    }
    return as_reader_done(&in.in) ? AS_OK : AS_ERR_MALFORMED;
}
