/*
 * common/uv/config: what is accepted, and every mistake with the text that a person sees.
 */
#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/uv/config.h"

struct plain {
    char name[16];
    uint64_t port;
    bool insecure;
    int mode;
    char listen[64];
};

struct participant {
    char name[64];
    char dsn[1024];
    uint64_t connections;
};

struct all {
    struct plain plain;
    struct participant participants[3];
    uint32_t participant_count;
};

#define PLAIN(section, kind, field, ...)                                                          \
    {                                                                                             \
        section, #field, kind, offsetof(struct plain, field), sizeof(((struct plain *)0)->field), \
            __VA_ARGS__                                                                           \
    }
#define PART(kind, field, ...)                                             \
    {                                                                      \
        "participant.", #field, kind, offsetof(struct participant, field), \
            sizeof(((struct participant *)0)->field), __VA_ARGS__          \
    }

static const struct config_key keys[] = {
    PLAIN("node", CONFIG_TEXT, name, .required = true),
    PLAIN("node", CONFIG_BOOL, insecure, .required = false),
    PLAIN("node", CONFIG_CHOICE, mode, .choices = "auto|never|ever"),
    PLAIN("api", CONFIG_NUMBER, port, .min = 1, .max = 65535),
    PLAIN("api", CONFIG_TEXT, listen, .required = false),
    PART(CONFIG_TEXT, dsn, .required = true),
    PART(CONFIG_NUMBER, connections, .min = 1, .max = 1000),
};

static void *target_of(void *ctx, const char *section, const char *name, char ret_error[256])
{
    struct all *all = ctx;
    struct participant *participant;

    assert_string_equal(section, "participant.");
    for (uint32_t i = 0; i < all->participant_count; i++) {
        if (strcmp(all->participants[i].name, name) == 0)
            return &all->participants[i];
    }
    if (all->participant_count == AS_COUNT_OF(all->participants)) {
        snprintf(ret_error, 256, "more than %zu participants", AS_COUNT_OF(all->participants));
        return NULL;
    }
    participant = &all->participants[all->participant_count++];
    snprintf(participant->name, sizeof(participant->name), "%s", name);
    participant->connections = 16;
    return participant;
}

static as_err read_bytes(const void *data, size_t len, struct all *ret, char error[512])
{
    const struct config_schema schema = {keys, AS_COUNT_OF(keys), &ret->plain, target_of, ret,
                                         false};
    char path[] = "/tmp/assent-config-XXXXXX";
    int fd = mkstemp(path);
    as_err err;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    close(fd);
    memset(ret, 0, sizeof(*ret));
    ret->plain.port = 7480;
    err = config_read(path, &schema, error);
    unlink(path);
    if (err) {
        /* Messages begin with the path; the table below has what follows. */
        assert_memory_equal(error, path, strlen(path));
        memmove(error, error + strlen(path), strlen(error + strlen(path)) + 1);
    }
    return err;
}

static as_err read_text(const char *text, struct all *ret, char error[512])
{
    return read_bytes(text, strlen(text), ret, error);
}

static void values_are_read(void **state)
{
    struct all all;
    char error[512];

    (void)state;
    assert_int_equal(read_text("\xef\xbb\xbf# a comment\n"
                               "; another\r\n"
                               "\n"
                               "[node]\n"
                               "name = demo ; why\n"
                               "   insecure=yes\r\n"
                               "\tmode =\tnever\t\n"
                               "[api] # here too\n"
                               "listen = a;b # = c\n"
                               "[participant.bank_a]\n"
                               "dsn = host=/run/a dbname='x y' password=p=q\n"
                               "[participant.bank_b]\n"
                               "connections = 1000\n"
                               "dsn=x\n"
                               "[node]\n"
                               "\n"
                               "[api]\n"
                               "port = 1",
                               &all, error),
                     AS_OK);
    assert_string_equal(all.plain.name, "demo");
    assert_true(all.plain.insecure);
    assert_int_equal(all.plain.mode, 1);
    assert_string_equal(all.plain.listen, "a;b # = c");
    assert_int_equal(all.plain.port, 1);
    assert_int_equal(all.participant_count, 2);
    assert_string_equal(all.participants[0].dsn, "host=/run/a dbname='x y' password=p=q");
    assert_int_equal(all.participants[0].connections, 16);
    assert_string_equal(all.participants[1].name, "bank_b");
    assert_int_equal(all.participants[1].connections, 1000);
}

static void long_values_and_names_stay_whole(void **state)
{
    char text[2048], dsn[1024], name[64], error[512];
    struct all all;

    (void)state;
    memset(dsn, 'd', sizeof(dsn) - 1);
    dsn[sizeof(dsn) - 1] = '\0';
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    snprintf(text, sizeof(text), "[node]\nname=x\n[participant.%s]\ndsn = %s\n", name, dsn);
    assert_int_equal(read_text(text, &all, error), AS_OK);
    assert_string_equal(all.participants[0].dsn, dsn);
    assert_string_equal(all.participants[0].name, name);
    snprintf(text, sizeof(text), "[node]\nname=x\n[participant.a]\ndsn = %sd\n", dsn);
    assert_int_equal(read_text(text, &all, error), AS_ERR_INVALID);
    assert_string_equal(error, ":4: dsn is longer than 1023 bytes");
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *text;
        const char *error;
    } table[] = {
        {"", ": [node] needs name"},
        {"[node]\nname=x\n[participant.a]\nconnections = 4\n", ": [participant.a] needs dsn"},
        {"[node]\nname=x\n[participant.a]\n", ": [participant.a] needs dsn"},
        {"name = x\n", ":1: name stands before any [section]"},
        {"[nodes]\nname = x\n",
         ":1: there is no section [nodes]; known are: node, api, participant.NAME"},
        {"[]\n", ":1: there is no section []; known are: node, api, participant.NAME"},
        {"[participant.]\n",
         ":1: there is no section [participant.]; known are: node, api, participant.NAME"},
        {"[participant]\n",
         ":1: there is no section [participant]; known are: node, api, participant.NAME"},
        {"[node\nname = x\n", ":1: a section is [name], alone on its line"},
        {"[node] name = x\n", ":1: a section is [name], alone on its line"},
        {"[node]\nnmae = x\n", ":2: [node] has no key nmae; known are: name, insecure, mode"},
        {"[participant.a]\nport = 3\n",
         ":2: [participant.a] has no key port; known are: dsn, connections"},
        {"[node]\nname\n", ":2: this line is neither [section] nor key = value nor a comment"},
        {"[node]\n= x\n", ":2: this line is neither [section] nor key = value nor a comment"},
        {"[node]\nname = x\n\nname = y\n",
         ":4: name is given a second time; the first is in line 2"},
        {"[participant.a]\ndsn = x\n[participant.b]\ndsn = x\n[participant.a]\ndsn = y\n",
         ":6: dsn is given a second time; the first is in line 2"},
        {"[node]\nname = 0123456789abcdef\n", ":2: name is longer than 15 bytes"},
        {"[api]\nport = 0\n", ":2: port is \"0\", but must be a whole number from 1 to 65535"},
        {"[api]\nport = 65536\n",
         ":2: port is \"65536\", but must be a whole number from 1 to 65535"},
        {"[api]\nport = 99999999999999999999999\n",
         ":2: port is \"99999999999999999999999\", but must be a whole number from 1 to 65535"},
        {"[api]\nport = -1\n", ":2: port is \"-1\", but must be a whole number from 1 to 65535"},
        {"[api]\nport = 1x\n", ":2: port is \"1x\", but must be a whole number from 1 to 65535"},
        {"[api]\nport =\n", ":2: port is \"\", but must be a whole number from 1 to 65535"},
        {"[node]\ninsecure = 1\n", ":2: insecure is \"1\", but must be yes or no"},
        {"[node]\nmode = aut\n", ":2: mode is \"aut\", but must be one of auto|never|ever"},
        {"[node]\nmode = auto|never\n",
         ":2: mode is \"auto|never\", but must be one of auto|never|ever"},
        {"[participant.a]\ndsn=x\n[participant.b]\ndsn=x\n[participant.c]\ndsn=x\n[participant.d]"
         "\n",
         ":7: [participant.d]: more than 3 participants"},
    };
    struct all all;
    char error[512];

    (void)state;
    for (size_t i = 0; i < AS_COUNT_OF(table); i++) {
        assert_int_equal(read_text(table[i].text, &all, error), AS_ERR_INVALID);
        assert_string_equal(error, table[i].error);
    }
    assert_int_equal(read_bytes("[node]\nname = a\0b\n", 18, &all, error), AS_ERR_INVALID);
    assert_string_equal(error, ":2: this line has a zero byte in it");
}

/* Of a file that another reader has checked, a few keys are read. */
static void a_lenient_reader_passes_over_what_it_does_not_know(void **state)
{
    static const char text[] = "[stranger]\nname = no\nlisten = no\n"
                               "[node]\nname = demo\nnew = 1\n"
                               "[participant.a]\nnew = 1\ndsn = x\n"
                               "[stranger]\ndsn = no\n";
    struct all all = {0};
    struct config_schema schema = {keys, AS_COUNT_OF(keys), &all.plain, target_of, &all, true};
    char path[] = "/tmp/assent-test-XXXXXX", error[512];
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    assert_int_equal(config_read(path, &schema, error), AS_OK);
    assert_string_equal(all.plain.name, "demo");
    assert_string_equal(all.participants[0].dsn, "x");
    assert_string_equal(all.plain.listen, "");
    schema.lenient = false;
    all.participant_count = 0;
    assert_int_equal(config_read(path, &schema, error), AS_ERR_INVALID);
    unlink(path);
}

static void files_that_cannot_be_read(void **state)
{
    struct all all = {0};
    const struct config_schema schema = {keys, AS_COUNT_OF(keys), &all.plain, target_of, &all,
                                         false};
    char error[512];

    (void)state;
    assert_int_equal(config_read("/tmp/assent-none.ini", &schema, error), AS_ERR_NOTFOUND);
    assert_string_equal(error, "/tmp/assent-none.ini: No such file or directory");
    assert_int_equal(config_read("/tmp", &schema, error), AS_ERR_IO);
    assert_string_equal(error, "/tmp: Is a directory");
}

static void body_out_of_memory(void *ctx)
{
    struct all all;
    char error[512];
    as_err err = read_text("[node]\nname=x\n[participant.a]\ndsn=x\n", &all, error);

    (void)ctx;
    assert_int_equal(err, test_allocation_failed() ? AS_ERR_NOMEM : AS_OK);
    if (err)
        assert_string_equal(error, ": out of memory");
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    test_fail_each_allocation(body_out_of_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read),
        cmocka_unit_test(long_values_and_names_stay_whole),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(a_lenient_reader_passes_over_what_it_does_not_know),
        cmocka_unit_test(files_that_cannot_be_read),
        cmocka_unit_test(each_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
