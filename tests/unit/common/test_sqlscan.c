/* R11: the keyword is found whatever stands before it, and nothing else is taken for it. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assent/work.h"
#include "tests/support/support.h"

/* In memory of exactly its length, so that a sanitizer sees a read behind it. */
static const char *refused(const char *sql)
{
    size_t len = strlen(sql);
    uint8_t *copy = malloc(len ? len : 1);
    const char *keyword;

    assert_non_null(copy);
    memcpy(copy, sql, len);
    keyword = as_sql_refused((struct as_bytes){copy, len});
    free(copy);
    return keyword;
}

static void expect(const char *sql, const char *keyword)
{
    const char *found = refused(sql);

    if (!found != !keyword || (found && strcmp(found, keyword) != 0))
        fail_msg("\"%s\": %s instead of %s", sql, found ? found : "runs",
                 keyword ? keyword : "runs");
}

static const char *const keywords[] = {
    "BEGIN",     "START",   "COMMIT", "END",    "ROLLBACK", "ABORT",  "PREPARE", "DEALLOCATE",
    "SAVEPOINT", "RELEASE", "COPY",   "LISTEN", "UNLISTEN", "NOTIFY", "DISCARD",
};

static void every_keyword_in_every_dress(void **state)
{
    static const char *const before[] = {
        "",
        " ",
        "\t\r\n\f\v",
        "-- c\n",
        "-- c\r",
        "--\n--\n",
        "/**/",
        "/* a /* b */ c */",
        "/*/**/*/",
        "/***/",
        "/*--*/",
        "--/*\n",
        ";",
        " ; ;/**/;",
        "/*\n*/ -- x\n ;\n",
    };
    static const char *const after[] = {"",  " ", ";",  " x", "\n", "--", "/**/x",
                                        "(", "'", "\"", ".",  "-",  "\1"};
    char sql[200], lower[40];

    (void)state;
    for (size_t k = 0; k < AS_COUNT_OF(keywords); k++) {
        for (size_t i = 0; keywords[k][i]; i++)
            lower[i] = (char)(i % 2 ? keywords[k][i] : tolower(keywords[k][i]));
        lower[strlen(keywords[k])] = '\0';
        for (size_t b = 0; b < AS_COUNT_OF(before); b++) {
            for (size_t a = 0; a < AS_COUNT_OF(after); a++) {
                snprintf(sql, sizeof(sql), "%s%s%s", before[b], a % 2 ? keywords[k] : lower,
                         after[a]);
                expect(sql, keywords[k]);
            }
        }
    }
}

static void longer_words_are_other_words(void **state)
{
    static const char *const after[] = {"_", "x", "X", "1", "$", "\xc3\xa4"};
    char sql[60];

    (void)state;
    for (size_t k = 0; k < AS_COUNT_OF(keywords); k++) {
        for (size_t a = 0; a < AS_COUNT_OF(after); a++) {
            snprintf(sql, sizeof(sql), "%s%s", keywords[k], after[a]);
            expect(sql, NULL);
            snprintf(sql, sizeof(sql), "%s%s", after[a], keywords[k]);
            expect(sql, NULL);
        }
        snprintf(sql, sizeof(sql), "%.*s", (int)strlen(keywords[k]) - 1, keywords[k]);
        expect(sql, NULL);
    }
}

static void work_may_run(void **state)
{
    static const char *const allowed[] = {
        "",
        ";",
        " ",
        "--",
        "-- COMMIT",
        "/* COMMIT",
        "/* /* */ COMMIT",
        "/",
        "-",
        "/* COMMIT */ SELECT 1",
        "-- COMMIT\nSELECT 1",
        "SELECT 1",
        "(SELECT 1)",
        "INSERT INTO t VALUES ('COMMIT')",
        "\"COMMIT\"",
        "'COMMIT'",
        "- - COMMIT",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "SET search_path = a",
        "SET LOCAL work_mem = '1MB'",
        "SET SESSION work_mem = '1MB'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET ROLE alice",
        "SET SESSION",
        "SET",
        "SET SESSION SESSION",
        "SET AUTHORIZATION x",
        "SET SESSION AUTHORIZATIONS x",
        "RESET SESSION AUTHORIZATION",
        "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    };

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(allowed); i++)
        expect(allowed[i], NULL);
}

static void the_role_stays(void **state)
{
    static const char *const sets[] = {
        "SET SESSION AUTHORIZATION bob",
        "set session authorization default",
        "SET/**/SESSION--\nAUTHORIZATION bob",
        "SET SESSION SESSION AUTHORIZATION bob",
        "SET LOCAL SESSION AUTHORIZATION bob",
        "SET LOCAL/* SESSION */SESSION/**/AUTHORIZATION/**/bob",
        "; SET SESSION AUTHORIZATION 'bob'",
        "SET session_authorization = bob",
        "SET LOCAL session_authorization TO bob",
        "SET SESSION Session_Authorization TO bob",
    };

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(sets); i++)
        expect(sets[i], "SET SESSION AUTHORIZATION");
}

static void a_nul_is_no_white_space(void **state)
{
    (void)state;
    assert_null(as_sql_refused((struct as_bytes){(const uint8_t *)"\0COMMIT", 7}));
    assert_null(as_sql_refused((struct as_bytes){NULL, 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_keyword_in_every_dress),
        cmocka_unit_test(longer_words_are_other_words),
        cmocka_unit_test(work_may_run),
        cmocka_unit_test(the_role_stays),
        cmocka_unit_test(a_nul_is_no_white_space),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
