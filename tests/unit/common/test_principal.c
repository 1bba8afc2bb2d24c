/*
 * The name in a certificate: what is one, and what it may do.
 */
#include "tests/support/support.h"

#include <stdio.h>
#include <string.h>

#include "assent/principal.h"

static as_err parse(const char *text, struct as_principal *ret)
{
    return as_principal_parse(text, strlen(text), ret);
}

static struct as_bytes bytes(const char *text)
{
    return (struct as_bytes){(const uint8_t *)text, strlen(text)};
}

static void only_the_exact_form_is_one(void **state)
{
    static const char *const good[] = {
        "assent://demo/node/1",         "assent://demo/node/4294967295",
        "assent://d-1/agent/bank_a",    "assent://demo/agent/a,b-2",
        "assent://demo/operator/ops.1", "assent://demo/viewer/grafana",
        "assent://demo/app/shop",
    };
    static const char *const bad[] = {
        "",
        "assent://",
        "assent://demo",
        "assent://demo/",
        "assent://demo/node",
        "assent://demo/node/",
        "assent://demo/node/0",
        "assent://demo/node/01",
        "assent://demo/node/+1",
        "assent://demo/node/1/",
        "assent://demo/node/1 ",
        "assent://demo/node/4294967296",
        "assent://demo/node/18446744073709551617",
        "assent://demo/nodes/1",
        "assent://Demo/node/1",
        "assent:///node/1",
        "Assent://demo/node/1",
        "http://demo/node/1",
        "assent://demo/agent/",
        "assent://demo/agent/a,",
        "assent://demo/agent/,a",
        "assent://demo/agent/a,,b",
        "assent://demo/agent/A",
        "assent://demo/agent/a/b",
        "assent://demo/agent/*",
        "assent://demo/operator/",
        "assent://demo/viewer/",
        "assent://demo/app/a/b",
        "assent://demo/apps/a",
        "assent://demo/operator/a b",
    };
    struct as_principal principal;

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(good); i++)
        if (parse(good[i], &principal))
            fail_msg("%s is refused", good[i]);
    for (size_t i = 0; i < AS_COUNT_OF(bad); i++)
        if (!parse(bad[i], &principal))
            fail_msg("\"%s\" is taken", bad[i]);
    assert_int_equal(as_principal_parse("assent://demo/node/1\0x", 22, &principal),
                     AS_ERR_MALFORMED);
}

static void a_long_list_has_a_limit(void **state)
{
    char text[AS_PRINCIPAL_LEN_MAX + 2] = "assent://demo/agent/a";
    struct as_principal principal;

    (void)state;
    for (size_t at = strlen(text), in_name = 1; at < AS_PRINCIPAL_LEN_MAX; at++, in_name++) {
        text[at] = in_name == 60 && at + 1 < AS_PRINCIPAL_LEN_MAX ? ',' : 'a';
        in_name = text[at] == ',' ? 0 : in_name;
    }
    assert_int_equal(parse(text, &principal), AS_OK);
    strcat(text, "a");
    assert_int_equal(parse(text, &principal), AS_ERR_TOOBIG);
}

static void a_node_is_itself_and_of_its_cluster(void **state)
{
    struct as_principal node, agent, operator;

    (void)state;
    assert_int_equal(parse("assent://demo/node/12", &node), AS_OK);
    assert_int_equal(parse("assent://demo/agent/a", &agent), AS_OK);
    assert_int_equal(parse("assent://demo/operator/x", &operator), AS_OK);
    assert_null(as_principal_refuses_node(&node, "demo", 12));
    assert_non_null(as_principal_refuses_node(&node, "demo", 1));
    assert_non_null(as_principal_refuses_node(&node, "dem", 12));
    assert_non_null(as_principal_refuses_node(&agent, "demo", 0));
    assert_non_null(as_principal_refuses_node(&operator, "demo", 0));
    assert_null(as_principal_refuses_nodes(&node, "demo"));
    assert_non_null(as_principal_refuses_nodes(&node, "other"));
    assert_null(as_principal_refuses_node(NULL, "demo", 1));
}

static void an_agent_serves_what_it_is_named_for(void **state)
{
    struct as_principal node, agent, operator;

    (void)state;
    assert_int_equal(parse("assent://demo/node/1", &node), AS_OK);
    assert_int_equal(parse("assent://demo/agent/bank_a,bank_b", &agent), AS_OK);
    assert_int_equal(parse("assent://demo/operator/bank_a", &operator), AS_OK);
    assert_null(as_principal_refuses_agent(&agent, "demo"));
    assert_null(as_principal_refuses_agent(&node, "demo"));
    assert_non_null(as_principal_refuses_agent(&agent, "other"));
    assert_non_null(as_principal_refuses_agent(&operator, "demo"));
    assert_null(as_principal_refuses_participant(&agent, bytes("bank_a")));
    assert_null(as_principal_refuses_participant(&agent, bytes("bank_b")));
    assert_non_null(as_principal_refuses_participant(&agent, bytes("bank_")));
    assert_non_null(as_principal_refuses_participant(&agent, bytes("bank_aa")));
    assert_non_null(as_principal_refuses_participant(&agent, bytes("bank_a,bank_b")));
    assert_non_null(as_principal_refuses_participant(&agent, bytes("")));
    assert_non_null(as_principal_refuses_participant(&operator, bytes("bank_a")));
    assert_null(as_principal_refuses_participant(&node, bytes("anything")));
    assert_null(as_principal_refuses_participant(NULL, bytes("anything")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_exact_form_is_one),
        cmocka_unit_test(a_long_list_has_a_limit),
        cmocka_unit_test(a_node_is_itself_and_of_its_cluster),
        cmocka_unit_test(an_agent_serves_what_it_is_named_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
