/*
 * Bad requests, each with the status and the stable code it is answered with. The unit test of the
 * API sends them to a fake node, the system test to a real one.
 */
#ifndef ASSENT_TEST_BAD_REQUESTS_H
#define ASSENT_TEST_BAD_REQUESTS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum bad_make {
    BAD_AS_IS,
    BAD_RAW,        /* `body` is the whole HTTP request */
    BAD_DEEP,       /* `body` nested `count` levels deep */
    BAD_BRANCHES,   /* `count` branches */
    BAD_STATEMENTS, /* `count` statements */
    BAD_PARAMS,     /* `count` parameters */
    BAD_LONG_ID,    /* an id of `count` characters */
    BAD_LONG_NAME,  /* a participant's name of `count` characters */
    BAD_SPACES,     /* a good body behind `count` spaces */
    BAD_CHUNKED,    /* the same, chunked */
    BAD_ANNOUNCED,  /* Content-Length `count` and no body at all */
};

struct bad_request {
    const char *name, *method, *path, *type, *body;
    size_t body_len;
    enum bad_make make;
    size_t count;
    int status;
    const char *code; /* NULL: libmicrohttpd answers by itself, or it is a HEAD */
};

#define BAD_JSON "application/json"
#define BAD_TXN "/v1/transactions"
#define BAD_GOOD_STATEMENT "{\"sql\":\"SELECT 1\"}"
#define BAD_GOOD_BRANCH "{\"participant\":\"a\",\"statements\":[" BAD_GOOD_STATEMENT "]}"
#define BAD_TEXT_64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define BAD_TEXT_256 BAD_TEXT_64 BAD_TEXT_64 BAD_TEXT_64 BAD_TEXT_64
#define BAD_GOOD "{\"branches\":[" BAD_GOOD_BRANCH "]}"

#define POST(name, text, status, code)                                                      \
    {                                                                                       \
        name, "POST", BAD_TXN, BAD_JSON, text, sizeof(text) - 1, BAD_AS_IS, 0, status, code \
    }
/* One statement of one branch. */
#define STATEMENT(name, text, status, code) \
    POST(name, "{\"branches\":[{\"participant\":\"a\",\"statements\":[" text "]}]}", status, code)
#define SQL(name, sql) STATEMENT(name, "{\"sql\":\"" sql "\"}", 400, "statement_refused")
#define BRANCH(name, text, status, code) POST(name, "{\"branches\":[" text "]}", status, code)
#define MADE(name, how, number, status, code)                             \
    {                                                                     \
        name, "POST", BAD_TXN, BAD_JSON, "", 0, how, number, status, code \
    }
#define TYPE(name, type, status, code)                                                          \
    {                                                                                           \
        name, "POST", BAD_TXN, type, BAD_GOOD, sizeof(BAD_GOOD) - 1, BAD_AS_IS, 0, status, code \
    }
#define ROUTE(method, path, status, code)                                      \
    {                                                                          \
        method " " path, method, path, NULL, "", 0, BAD_AS_IS, 0, status, code \
    }
#define ACKNOWLEDGE(name, path, text, status, code)                                      \
    {                                                                                    \
        name, "POST", path, BAD_JSON, text, sizeof(text) - 1, BAD_AS_IS, 0, status, code \
    }
#define RESOLVE(name, text, status, code) \
    ACKNOWLEDGE("resolve: " name, "/v1/participants/a/prepared/mine/resolve", text, status, code)
#define CLUSTER(name, path, text, code)                                               \
    {                                                                                 \
        name, "POST", path, BAD_JSON, text, sizeof(text) - 1, BAD_AS_IS, 0, 400, code \
    }
#define ADD(name, text, code) CLUSTER("add: " name, "/v1/cluster/nodes", text, code)
#define TRANSFER(name, text, code) CLUSTER("transfer: " name, "/v1/cluster/transfer", text, code)
#define RAW(name, text, status)                                                  \
    {                                                                            \
        name, NULL, NULL, NULL, text, sizeof(text) - 1, BAD_RAW, 0, status, NULL \
    }

static const struct bad_request bad_requests[] = {
    /* What is not JSON. */
    POST("empty body", "", 400, "malformed_json"),
    POST("only space", " \r\n\t ", 400, "malformed_json"),
    POST("cut object", "{\"branches\":[", 400, "malformed_json"),
    POST("cut string", "{\"bran", 400, "malformed_json"),
    POST("cut escape", "{\"a\\", 400, "malformed_json"),
    POST("cut number", "{\"timeout_ms\":-", 400, "malformed_json"),
    POST("cut literal", "{\"id\":nul", 400, "malformed_json"),
    POST("trailing comma in object", "{\"id\":\"x\",}", 400, "malformed_json"),
    POST("trailing comma in array", "{\"branches\":[1,]}", 400, "malformed_json"),
    POST("leading comma", "{,\"id\":\"x\"}", 400, "malformed_json"),
    POST("no colon", "{\"id\" \"x\"}", 400, "malformed_json"),
    POST("two colons", "{\"id\"::\"x\"}", 400, "malformed_json"),
    POST("no comma", "{\"id\":\"x\" \"wait\":\"none\"}", 400, "malformed_json"),
    POST("single quotes", "{'id':'x'}", 400, "malformed_json"),
    POST("bare key", "{id:\"x\"}", 400, "malformed_json"),
    POST("comment", "{/* no */}", 400, "malformed_json"),
    POST("text behind", BAD_GOOD " x", 400, "malformed_json"),
    POST("second object behind", BAD_GOOD "{}", 400, "malformed_json"),
    POST("closing bracket of the other kind", "{\"branches\":[}", 400, "malformed_json"),
    POST("closed twice", "{}}", 400, "malformed_json"),
    POST("byte order mark", "\xef\xbb\xbf" BAD_GOOD, 400, "malformed_json"),
    POST("True", "{\"id\":True}", 400, "malformed_json"),
    POST("NaN", "{\"timeout_ms\":NaN}", 400, "malformed_json"),
    POST("Infinity", "{\"timeout_ms\":-Infinity}", 400, "malformed_json"),
    POST("leading zero", "{\"timeout_ms\":0100}", 400, "malformed_json"),
    POST("plus sign", "{\"timeout_ms\":+1}", 400, "malformed_json"),
    POST("no digit before the point", "{\"timeout_ms\":.5}", 400, "malformed_json"),
    POST("no digit behind the point", "{\"timeout_ms\":1.}", 400, "malformed_json"),
    POST("no digit in the exponent", "{\"timeout_ms\":1e}", 400, "malformed_json"),
    POST("hexadecimal", "{\"timeout_ms\":0x10}", 400, "malformed_json"),
    POST("raw newline in a string", "{\"id\":\"a\nb\"}", 400, "malformed_json"),
    POST("raw tab in a string", "{\"id\":\"a\tb\"}", 400, "malformed_json"),
    POST("no such escape", "{\"id\":\"\\x41\"}", 400, "malformed_json"),
    POST("short \\u", "{\"id\":\"\\u12\"}", 400, "malformed_json"),
    POST("\\u with no hexadecimal", "{\"id\":\"\\u12g4\"}", 400, "malformed_json"),
    POST("control character outside", "{\x01}", 400, "malformed_json"),
    POST("form feed as space", "{\f}", 400, "malformed_json"),
    POST("NUL outside", "{\0}", 400, "malformed_json"),
    /* Strings that PostgreSQL cannot hold. */
    POST("raw NUL in a string", "{\"id\":\"a\0b\"}", 400, "bad_string"),
    POST("escaped NUL", "{\"id\":\"a\\u0000b\"}", 400, "bad_string"),
    POST("lone high surrogate", "{\"id\":\"\\ud800\"}", 400, "bad_string"),
    POST("lone low surrogate", "{\"id\":\"\\udc00\"}", 400, "bad_string"),
    POST("two high surrogates", "{\"id\":\"\\ud800\\ud800\"}", 400, "bad_string"),
    STATEMENT("NUL in sql", "{\"sql\":\"SELECT '\\u0000'\"}", 400, "bad_string"),
    STATEMENT("NUL in a parameter", "{\"sql\":\"SELECT $1\",\"params\":[\"\\u0000\"]}", 400,
              "bad_string"),
    STATEMENT("NUL deep in a parameter",
              "{\"sql\":\"SELECT $1\",\"params\":[{\"a\":[\"\\u0000\"]}]}", 400, "bad_string"),
    POST("stray continuation byte", "{\"id\":\"\x80\"}", 400, "bad_utf8"),
    POST("overlong slash", "{\"id\":\"\xc0\xaf\"}", 400, "bad_utf8"),
    POST("overlong three bytes", "{\"id\":\"\xe0\x80\xaf\"}", 400, "bad_utf8"),
    POST("surrogate in UTF-8", "{\"id\":\"\xed\xa0\x80\"}", 400, "bad_utf8"),
    POST("above U+10FFFF", "{\"id\":\"\xf4\x90\x80\x80\"}", 400, "bad_utf8"),
    POST("cut UTF-8", "{\"id\":\"\xe2\x82\"}", 400, "bad_utf8"),
    POST("byte 0xff", "{\"id\":\"\xff\"}", 400, "bad_utf8"),
    POST("latin-1 in a key", "{\"caf\xe9\":1}", 400, "bad_utf8"),
    MADE("arrays 33 deep", BAD_DEEP, 33, 400, "too_deep"),
    MADE("arrays 5000 deep", BAD_DEEP, 5000, 400, "too_deep"),
    /* The transaction. */
    POST("null", "null", 400, "bad_type"),
    POST("an array", "[]", 400, "bad_type"),
    POST("a string", "\"x\"", 400, "bad_type"),
    POST("a number", "7", 400, "bad_type"),
    POST("no branches", "{}", 400, "branches_required"),
    POST("no branches, but an id", "{\"id\":\"x\"}", 400, "branches_required"),
    POST("empty branches", "{\"branches\":[]}", 400, "branches_required"),
    POST("locks",
         "{\"locks\":[\"a\"],"
         "\"branches\":[" BAD_GOOD_BRANCH "]}",
         400, "unknown_field"),
    POST("misspelt branches", "{\"branchs\":[]}", 400, "unknown_field"),
    POST("upper case", "{\"Branches\":[]}", 400, "unknown_field"),
    POST("empty field name", "{\"\":1}", 400, "unknown_field"),
    POST("odd field name", "{\"a/b~c\":1}", 400, "unknown_field"),
    POST("id twice", "{\"id\":\"x\",\"id\":\"y\",\"branches\":[" BAD_GOOD_BRANCH "]}", 400,
         "duplicate_field"),
    POST("id twice, once escaped",
         "{\"id\":\"x\",\"\\u0069d\":\"x\",\"branches\":[" BAD_GOOD_BRANCH "]}", 400,
         "duplicate_field"),
    POST("branches twice", "{\"branches\":[],\"branches\":[" BAD_GOOD_BRANCH "]}", 400,
         "duplicate_field"),
    POST("id of a number", "{\"id\":1,\"branches\":[" BAD_GOOD_BRANCH "]}", 400, "bad_type"),
    POST("id null", "{\"id\":null,\"branches\":[" BAD_GOOD_BRANCH "]}", 400, "bad_type"),
    POST("empty id", "{\"id\":\"\",\"branches\":[" BAD_GOOD_BRANCH "]}", 400, "bad_id"),
    POST("id with a space", "{\"id\":\"a b\",\"branches\":[" BAD_GOOD_BRANCH "]}", 400, "bad_id"),
    POST("id with a slash", "{\"id\":\"a/b\",\"branches\":[" BAD_GOOD_BRANCH "]}", 400, "bad_id"),
    POST("id with a quote", "{\"id\":\"a'b\",\"branches\":[" BAD_GOOD_BRANCH "]}", 400, "bad_id"),
    POST("id not ASCII", "{\"id\":\"\xc3\xa9\",\"branches\":[" BAD_GOOD_BRANCH "]}", 400, "bad_id"),
    MADE("id of 65", BAD_LONG_ID, 65, 400, "bad_id"),
    MADE("id of 10000", BAD_LONG_ID, 10000, 400, "bad_id"),
    POST("timeout text", "{\"timeout_ms\":\"1\",\"branches\":[" BAD_GOOD_BRANCH "]}", 400,
         "bad_type"),
    POST("timeout 0", "{\"timeout_ms\":0,\"branches\":[" BAD_GOOD_BRANCH "]}", 400, "bad_value"),
    POST("timeout below 0", "{\"timeout_ms\":-1,\"branches\":[" BAD_GOOD_BRANCH "]}", 400,
         "bad_value"),
    POST("timeout too long", "{\"timeout_ms\":3600001,\"branches\":[" BAD_GOOD_BRANCH "]}", 400,
         "bad_value"),
    POST("timeout past 64 bits",
         "{\"timeout_ms\":18446744073709551617,\"branches\":[" BAD_GOOD_BRANCH "]}", 400,
         "bad_value"),
    POST("timeout with a fraction", "{\"timeout_ms\":1.5,\"branches\":[" BAD_GOOD_BRANCH "]}", 400,
         "bad_value"),
    POST("timeout with an exponent", "{\"timeout_ms\":1e3,\"branches\":[" BAD_GOOD_BRANCH "]}", 400,
         "bad_value"),
    POST("wait unknown", "{\"wait\":\"forever\",\"branches\":[" BAD_GOOD_BRANCH "]}", 400,
         "bad_value"),
    POST("wait a boolean", "{\"wait\":true,\"branches\":[" BAD_GOOD_BRANCH "]}", 400, "bad_type"),
    POST("branches an object", "{\"branches\":{}}", 400, "bad_type"),
    POST("branches a string", "{\"branches\":\"a\"}", 400, "bad_type"),
    MADE("65 branches", BAD_BRANCHES, 65, 400, "too_many_branches"),
    MADE("1001 statements", BAD_STATEMENTS, 1001, 400, "too_many_statements"),
    MADE("65536 parameters", BAD_PARAMS, 65536, 400, "too_many_params"),
    /* A branch. */
    BRANCH("a branch of null", "null", 400, "bad_type"),
    BRANCH("a branch of text", "\"a\"", 400, "bad_type"),
    BRANCH("an empty branch", "{}", 400, "missing_field"),
    BRANCH("second branch wrong", BAD_GOOD_BRANCH ",7", 400, "bad_type"),
    BRANCH("no participant", "{\"statements\":[" BAD_GOOD_STATEMENT "]}", 400, "missing_field"),
    BRANCH("no statements", "{\"participant\":\"a\"}", 400, "missing_field"),
    BRANCH("empty statements", "{\"participant\":\"a\",\"statements\":[]}", 400, "bad_value"),
    BRANCH("statements an object", "{\"participant\":\"a\",\"statements\":{}}", 400, "bad_type"),
    BRANCH("participant a number", "{\"participant\":1,\"statements\":[" BAD_GOOD_STATEMENT "]}",
           400, "bad_type"),
    BRANCH("participant empty", "{\"participant\":\"\",\"statements\":[" BAD_GOOD_STATEMENT "]}",
           400, "bad_participant"),
    BRANCH("participant upper case",
           "{\"participant\":\"Bank\",\"statements\":[" BAD_GOOD_STATEMENT "]}", 400,
           "bad_participant"),
    BRANCH("participant begins with a digit",
           "{\"participant\":\"1a\",\"statements\":[" BAD_GOOD_STATEMENT "]}", 400,
           "bad_participant"),
    BRANCH("participant with a quote",
           "{\"participant\":\"a'b\",\"statements\":[" BAD_GOOD_STATEMENT "]}", 400,
           "bad_participant"),
    MADE("participant of 64", BAD_LONG_NAME, 64, 400, "bad_participant"),
    BRANCH("isolation unknown",
           "{\"participant\":\"a\",\"isolation\":\"chaos\",\"statements\":[" BAD_GOOD_STATEMENT
           "]}",
           400, "bad_value"),
    BRANCH("isolation upper case",
           "{\"participant\":\"a\",\"isolation\":\"SERIALIZABLE\",\"statements\":"
           "[" BAD_GOOD_STATEMENT "]}",
           400, "bad_value"),
    BRANCH("isolation null",
           "{\"participant\":\"a\",\"isolation\":null,\"statements\":[" BAD_GOOD_STATEMENT "]}",
           400, "bad_type"),
    BRANCH("read_only a text",
           "{\"participant\":\"a\",\"read_only\":\"yes\",\"statements\":[" BAD_GOOD_STATEMENT "]}",
           400, "bad_type"),
    BRANCH("unknown field of a branch",
           "{\"participant\":\"a\",\"readonly\":true,\"statements\":[" BAD_GOOD_STATEMENT "]}", 400,
           "unknown_field"),
    BRANCH("participant twice",
           "{\"participant\":\"a\",\"participant\":\"b\",\"statements\":[" BAD_GOOD_STATEMENT "]}",
           400, "duplicate_field"),
    /* A statement. */
    STATEMENT("a statement of text", "\"SELECT 1\"", 400, "bad_type"),
    STATEMENT("an empty statement", "{}", 400, "missing_field"),
    STATEMENT("no sql", "{\"params\":[]}", 400, "missing_field"),
    STATEMENT("sql and operation", "{\"sql\":\"SELECT 1\",\"operation\":\"a\"}", 400, "bad_value"),
    STATEMENT("operation a number", "{\"operation\":1}", 400, "bad_type"),
    STATEMENT("operation empty", "{\"operation\":\"\"}", 400, "bad_operation"),
    STATEMENT("operation with a capital", "{\"operation\":\"Debit\"}", 400, "bad_operation"),
    STATEMENT("operation twice", "{\"operation\":\"a\",\"operation\":\"a\"}", 400,
              "duplicate_field"),
    STATEMENT("empty sql", "{\"sql\":\"\"}", 400, "bad_value"),
    STATEMENT("sql a number", "{\"sql\":1}", 400, "bad_type"),
    STATEMENT("params an object", "{\"sql\":\"SELECT 1\",\"params\":{}}", 400, "bad_type"),
    STATEMENT("params null", "{\"sql\":\"SELECT 1\",\"params\":null}", 400, "bad_type"),
    STATEMENT("param, not params", "{\"sql\":\"SELECT $1\",\"param\":[1]}", 400, "unknown_field"),
    STATEMENT("expect_rows below 0", "{\"sql\":\"SELECT 1\",\"expect_rows\":-1}", 400, "bad_value"),
    STATEMENT("expect_rows a fraction", "{\"sql\":\"SELECT 1\",\"expect_rows\":0.5}", 400,
              "bad_value"),
    STATEMENT("expect_rows a text", "{\"sql\":\"SELECT 1\",\"expect_rows\":\"1\"}", 400,
              "bad_type"),
    STATEMENT("expect_rows past 64 bits",
              "{\"sql\":\"SELECT 1\",\"expect_rows\":9223372036854775808}", 400, "bad_value"),
    STATEMENT("sql twice", "{\"sql\":\"SELECT 1\",\"sql\":\"SELECT 2\"}", 400, "duplicate_field"),
    SQL("BEGIN", "BEGIN"),
    SQL("commit in lower case", "commit"),
    SQL("ROLLBACK behind a comment", "/* a /* nested */ one */ -- line\\n ROLLBACK"),
    SQL("PREPARE TRANSACTION", "PREPARE TRANSACTION 'x'"),
    SQL("COMMIT PREPARED", "COMMIT PREPARED 'x'"),
    SQL("SAVEPOINT", "SAVEPOINT a"),
    SQL("COPY", "COPY t FROM STDIN"),
    SQL("LISTEN", "LISTEN a"),
    SQL("NOTIFY", "NOTIFY a"),
    SQL("DISCARD ALL", "DISCARD ALL"),
    SQL("SET SESSION AUTHORIZATION", "SET SESSION AUTHORIZATION postgres"),
    SQL("escaped keyword", "\\u0042EGIN"),
    /* Content types and lengths. */
    TYPE("no content type", NULL, 415, "unsupported_media_type"),
    TYPE("text/plain", "text/plain", 415, "unsupported_media_type"),
    TYPE("a form", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    TYPE("application/jsonp", "application/jsonp", 415, "unsupported_media_type"),
    TYPE("application/json-patch+json", "application/json-patch+json", 415,
         "unsupported_media_type"),
    MADE("a body just too long", BAD_SPACES, 1 << 20, 413, "body_too_large"),
    MADE("a body far too long, announced", BAD_ANNOUNCED, 1u << 30, 413, "body_too_large"),
    MADE("a chunked body too long", BAD_CHUNKED, (1 << 20) + 1, 413, "body_too_large"),
    /* Routes, methods, parameters. */
    ROUTE("GET", "/v1", 404, "no_such_route"),
    ROUTE("GET", "/v2/transactions", 404, "no_such_route"),
    ROUTE("GET", "/v1/transactionsx", 404, "no_such_route"),
    ROUTE("GET", "/v1/transactions/x/branches", 404, "no_such_route"),
    ROUTE("GET", "/v1/transactions/x/branches/1", 404, "no_such_route"),
    ROUTE("GET", "/v1/transactions/x/commit", 404, "no_such_route"),
    ROUTE("GET", "/v1/participants/a/b", 404, "no_such_route"),
    ROUTE("GET", "/v1/participants/a/prepared/", 404, "no_such_route"),
    ROUTE("GET", "/v1/participants/a/prepared/x", 404, "no_such_route"),
    ROUTE("POST", "/v1/participants/a/prepared/resolve", 404, "no_such_route"),
    ROUTE("POST", "/v1/participants/a/prepared//resolve", 404, "no_such_route"),
    ROUTE("GET", "/../etc/passwd", 404, "no_such_route"),
    ROUTE("GET", "/metrics/", 404, "no_such_route"),
    ROUTE("GET", "/v1/transactions/a%00b", 404, "no_such_route"),
    ROUTE("POST", "/v1/nothing", 404, "no_such_route"),
    ROUTE("PUT", "/v1/locks/a", 404, "no_such_route"),
    ROUTE("DELETE", "/v1/transactions", 405, "method_not_allowed"),
    ROUTE("PUT", "/v1/transactions/x", 405, "method_not_allowed"),
    ROUTE("POST", "/v1/transactions/x", 405, "method_not_allowed"),
    ROUTE("PATCH", "/v1/cluster", 405, "method_not_allowed"),
    ROUTE("GET", "/v1/cluster/nodes", 405, "method_not_allowed"),
    ROUTE("GET", "/v1/cluster/nodes/3", 405, "method_not_allowed"),
    ROUTE("PUT", "/v1/cluster/nodes/3", 405, "method_not_allowed"),
    ROUTE("DELETE", "/v1/cluster/transfer", 405, "method_not_allowed"),
    ROUTE("DELETE", "/v1/cluster/nodes/", 400, "bad_node"),
    ROUTE("DELETE", "/v1/cluster/nodes/0", 400, "bad_node"),
    ROUTE("DELETE", "/v1/cluster/nodes/x", 400, "bad_node"),
    ROUTE("DELETE", "/v1/cluster/nodes/-1", 400, "bad_node"),
    ROUTE("DELETE", "/v1/cluster/nodes/4294967296", 400, "bad_node"),
    ROUTE("DELETE", "/v1/cluster/nodes/99999999999999999999999", 400, "bad_node"),
    ROUTE("DELETE", "/v1/cluster/nodes/3/x", 404, "no_such_route"),
    ROUTE("DELETE", "/v1/cluster/nodes/3?force=1", 400, "unknown_parameter"),
    ROUTE("GET", "/v1/cluster?x=1", 400, "unknown_parameter"),
    ROUTE("POST", "/metrics", 405, "method_not_allowed"),
    ROUTE("OPTIONS", "/v1/transactions", 405, "method_not_allowed"),
    ROUTE("BREW", "/", 405, "method_not_allowed"),
    ROUTE("GET", "/v1/transactions/x/branches/1/acknowledge", 405, "method_not_allowed"),
    ROUTE("GET", "/v1/transactions/", 400, "bad_id"),
    ROUTE("GET", "/v1/transactions/a%20b", 400, "bad_id"),
    ROUTE("GET", "/v1/transactions/a%27b", 400, "bad_id"),
    ROUTE("GET", "/v1/transactions/no-such-transaction", 404, "not_found"),
    ROUTE("HEAD", "/v1/transactions/no-such-transaction", 404, NULL),
    ROUTE("GET", "/v1/transactions/a%2", 404, "no_such_route"),
    ROUTE("GET", "/v1/transactions/a%zz", 404, "no_such_route"),
    ROUTE("GET", "/v1/transactions/x?wait_ms=%", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions/x?wait_ms=1%00", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions/x?%gg=1", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions/x?wait_ms=1&&", 400, "unknown_parameter"),
    ROUTE("GET", "/v1/transactions/x?=1", 400, "unknown_parameter"),
    ROUTE("GET", "/v1/transactions/x?wait_ms=", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions/x?wait_ms=-1", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions/x?wait_ms=60001", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions/x?wait_ms=1s", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions/x?wait_ms=99999999999999999999999", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions/x?wait=1", 400, "unknown_parameter"),
    ROUTE("GET", "/v1/transactions/x?wait_ms=1&wait_ms=2", 400, "duplicate_parameter"),
    ROUTE("GET", "/v1/transactions/x?consistency=strong", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions?state=done", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions?limit=0", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions?limit=1001", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions?after=x", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions?after=18446744073709551616", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions?participant=A", 400, "bad_participant"),
    ROUTE("GET", "/v1/transactions?consistency=strong", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions?consistency=", 400, "bad_parameter"),
    ROUTE("GET", "/v1/transactions?consistency=session&consistency=session", 400,
          "duplicate_parameter"),
    ROUTE("GET", "/v1/transactions?wait_ms=1", 400, "unknown_parameter"),
    ROUTE("GET", "/v1/transactions?limits=1", 400, "unknown_parameter"),
    ROUTE("GET", "/v1/participants?x=1", 400, "unknown_parameter"),
    ROUTE("GET", "/v1/participants/Upper", 400, "bad_participant"),
    ROUTE("GET", "/v1/participants/Upper/prepared", 400, "bad_participant"),
    ROUTE("GET", "/v1/participants/a/prepared?x=1", 400, "unknown_parameter"),
    ROUTE("POST", "/v1/participants/a/prepared", 405, "method_not_allowed"),
    ROUTE("GET", "/v1/participants/a/prepared/x/resolve", 405, "method_not_allowed"),
    ROUTE("GET", "/v1/participants/no-such-participant", 404, "no_such_participant"),
    ACKNOWLEDGE("a parameter at POST", "/v1/transactions?wait=none", BAD_GOOD, 400,
                "unknown_parameter"),
    /* Acknowledge. */
    ACKNOWLEDGE("acknowledge branch 0", "/v1/transactions/x/branches/0/acknowledge",
                "{\"reason\":\"y\"}", 400, "bad_branch"),
    ACKNOWLEDGE("acknowledge branch 65", "/v1/transactions/x/branches/65/acknowledge",
                "{\"reason\":\"y\"}", 400, "bad_branch"),
    ACKNOWLEDGE("acknowledge branch x", "/v1/transactions/x/branches/x/acknowledge",
                "{\"reason\":\"y\"}", 400, "bad_branch"),
    ACKNOWLEDGE("acknowledge branch 1x", "/v1/transactions/x/branches/1x/acknowledge",
                "{\"reason\":\"y\"}", 400, "bad_branch"),
    ACKNOWLEDGE("acknowledge bad id", "/v1/transactions/a%20b/branches/1/acknowledge",
                "{\"reason\":\"y\"}", 400, "bad_id"),
    ACKNOWLEDGE("acknowledge without reason", "/v1/transactions/x/branches/1/acknowledge", "{}",
                400, "missing_field"),
    ACKNOWLEDGE("acknowledge empty reason", "/v1/transactions/x/branches/1/acknowledge",
                "{\"reason\":\"\"}", 400, "bad_value"),
    ACKNOWLEDGE("acknowledge reason a number", "/v1/transactions/x/branches/1/acknowledge",
                "{\"reason\":1}", 400, "bad_type"),
    ACKNOWLEDGE("acknowledge unknown field", "/v1/transactions/x/branches/1/acknowledge",
                "{\"reason\":\"y\",\"why\":\"z\"}", 400, "unknown_field"),
    ACKNOWLEDGE("acknowledge empty who", "/v1/transactions/x/branches/1/acknowledge",
                "{\"reason\":\"y\",\"who\":\"\"}", 400, "bad_value"),
    ACKNOWLEDGE("acknowledge unknown transaction",
                "/v1/transactions/no-such-transaction/branches/1/acknowledge", "{\"reason\":\"y\"}",
                404, "not_found"),
    /* Resolve. */
    RESOLVE("nothing", "{}", 400, "missing_field"),
    RESOLVE("no reason", "{\"decision\":\"abort\"}", 400, "missing_field"),
    RESOLVE("no decision", "{\"reason\":\"y\"}", 400, "missing_field"),
    RESOLVE("decision rollback", "{\"decision\":\"rollback\",\"reason\":\"y\"}", 400, "bad_value"),
    RESOLVE("decision a boolean", "{\"decision\":true,\"reason\":\"y\"}", 400, "bad_type"),
    RESOLVE("empty reason", "{\"decision\":\"abort\",\"reason\":\"\"}", 400, "bad_value"),
    RESOLVE("empty who", "{\"decision\":\"abort\",\"reason\":\"y\",\"who\":\"\"}", 400,
            "bad_value"),
    RESOLVE("other_incarnation a text",
            "{\"decision\":\"abort\",\"reason\":\"y\",\"other_incarnation\":\"yes\"}", 400,
            "bad_type"),
    RESOLVE("unknown field", "{\"decision\":\"abort\",\"reason\":\"y\",\"force\":true}", 400,
            "unknown_field"),
    RESOLVE("a foreign gid", "{\"decision\":\"abort\",\"reason\":\"y\"}", 409, "foreign_gid"),
    /* The cluster. */
    ADD("nothing", "{}", "missing_field"),
    ADD("no address", "{\"id\":4}", "missing_field"),
    ADD("no id", "{\"address\":\"a:1\"}", "missing_field"),
    ADD("no object", "[4,\"a:1\"]", "bad_type"),
    ADD("id 0", "{\"id\":0,\"address\":\"a:1\"}", "bad_value"),
    ADD("id past 32 bits", "{\"id\":4294967296,\"address\":\"a:1\"}", "bad_value"),
    ADD("id a string", "{\"id\":\"4\",\"address\":\"a:1\"}", "bad_type"),
    ADD("id with a fraction", "{\"id\":4.5,\"address\":\"a:1\"}", "bad_value"),
    ADD("address a number", "{\"id\":4,\"address\":1}", "bad_type"),
    ADD("address empty", "{\"id\":4,\"address\":\"\"}", "bad_value"),
    ADD("address without port", "{\"id\":4,\"address\":\"a\"}", "bad_value"),
    ADD("address without host", "{\"id\":4,\"address\":\":1\"}", "bad_value"),
    ADD("port 0", "{\"id\":4,\"address\":\"a:0\"}", "bad_value"),
    ADD("port past 16 bits", "{\"id\":4,\"address\":\"a:65536\"}", "bad_value"),
    ADD("address with a space", "{\"id\":4,\"address\":\"a b:1\"}", "bad_value"),
    ADD("address with a line's end", "{\"id\":4,\"address\":\"a\\n:1\"}", "bad_value"),
    ADD("address v6 without brackets", "{\"id\":4,\"address\":\"::1:7481\"}", "bad_value"),
    ADD("address of 256", "{\"id\":4,\"address\":\"" BAD_TEXT_256 ":1\"}", "bad_value"),
    ADD("unknown field", "{\"id\":4,\"address\":\"a:1\",\"voter\":true}", "unknown_field"),
    TRANSFER("to 0", "{\"to\":0}", "bad_value"),
    TRANSFER("to a name", "{\"to\":\"node-2\"}", "bad_type"),
    TRANSFER("to null", "{\"to\":null}", "bad_type"),
    TRANSFER("unknown field", "{\"from\":1}", "unknown_field"),
    TRANSFER("empty body", "", "malformed_json"),
    /* What libmicrohttpd refuses itself. */
    RAW("no Host", "GET /healthz HTTP/1.1\r\n\r\n", 400),
    RAW("Content-Length no number",
        "POST /v1/transactions HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
};

#undef POST
#undef STATEMENT
#undef SQL
#undef BRANCH
#undef MADE
#undef TYPE
#undef ROUTE
#undef ACKNOWLEDGE
#undef RESOLVE
#undef CLUSTER
#undef ADD
#undef TRANSFER
#undef RAW

/* Grows as it is written to; tests run out of memory loudly. */
struct bad_text {
    char *data;
    size_t len, cap;
};

static inline void bad_put_bytes(struct bad_text *text, const char *data, size_t len)
{
    if (text->len + len + 1 > text->cap) {
        text->cap = (text->len + len + 1) * 2;
        text->data = realloc(text->data, text->cap);
        if (!text->data)
            abort();
    }
    if (len)
        memcpy(text->data + text->len, data, len);
    text->len += len;
    text->data[text->len] = 0;
}

static inline void bad_put(struct bad_text *text, const char *part)
{
    bad_put_bytes(text, part, strlen(part));
}

static inline void bad_repeat(struct bad_text *text, const char *part, const char *between,
                              size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bad_put(text, i ? between : "");
        bad_put(text, part);
    }
}

static inline void bad_make_body(struct bad_text *body, const struct bad_request *bad)
{
    switch (bad->make) {
    case BAD_AS_IS:
    case BAD_RAW:
        bad_put_bytes(body, bad->body, bad->body_len);
        break;
    case BAD_DEEP:
        bad_repeat(body, "[", "", bad->count);
        bad_repeat(body, "]", "", bad->count);
        break;
    case BAD_BRANCHES:
        bad_put(body, "{\"branches\":[");
        bad_repeat(body, BAD_GOOD_BRANCH, ",", bad->count);
        bad_put(body, "]}");
        break;
    case BAD_STATEMENTS:
        bad_put(body, "{\"branches\":[{\"participant\":\"a\",\"statements\":[");
        bad_repeat(body, BAD_GOOD_STATEMENT, ",", bad->count);
        bad_put(body, "]}]}");
        break;
    case BAD_PARAMS:
        bad_put(body, "{\"branches\":[{\"participant\":\"a\",\"statements\":[{\"sql\":\"x\",");
        bad_put(body, "\"params\":[");
        bad_repeat(body, "1", ",", bad->count);
        bad_put(body, "]}]}]}");
        break;
    case BAD_LONG_ID:
        bad_put(body, "{\"id\":\"");
        bad_repeat(body, "x", "", bad->count);
        bad_put(body, "\",\"branches\":[" BAD_GOOD_BRANCH "]}");
        break;
    case BAD_LONG_NAME:
        bad_put(body, "{\"branches\":[{\"participant\":\"");
        bad_repeat(body, "a", "", bad->count);
        bad_put(body, "\",\"statements\":[" BAD_GOOD_STATEMENT "]}]}");
        break;
    case BAD_SPACES:
    case BAD_CHUNKED:
        bad_repeat(body, " ", "", bad->count);
        bad_put(body, BAD_GOOD);
        break;
    case BAD_ANNOUNCED:
        break;
    }
}

/* The whole request as bytes for a socket; free() them. */
static inline char *bad_request_bytes(const struct bad_request *bad, size_t *ret_len)
{
    struct bad_text out = {0}, body = {0};
    char line[256];

    bad_put(&out, "");
    bad_put(&body, "");
    bad_make_body(&body, bad);
    if (bad->make == BAD_RAW) {
        free(out.data);
        *ret_len = body.len;
        return body.data;
    }
    (void)snprintf(line, sizeof(line), "%s %s HTTP/1.1\r\nHost: localhost\r\n", bad->method,
                   bad->path);
    bad_put(&out, line);
    if (bad->type) {
        (void)snprintf(line, sizeof(line), "Content-Type: %s\r\n", bad->type);
        bad_put(&out, line);
    }
    if (bad->make == BAD_CHUNKED) {
        (void)snprintf(line, sizeof(line), "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", body.len);
        bad_put(&out, line);
        bad_put_bytes(&out, body.data, body.len);
        bad_put(&out, "\r\n0\r\n\r\n");
    } else {
        (void)snprintf(line, sizeof(line), "Content-Length: %zu\r\n\r\n",
                       bad->make == BAD_ANNOUNCED ? bad->count : body.len);
        bad_put(&out, line);
        bad_put_bytes(&out, body.data, body.len);
    }
    free(body.data);
    *ret_len = out.len;
    return out.data;
}

#endif
