/*
 * A file of tokens that anybody may have written. What is taken as a line is written back as one that says the same; a
 * file that is taken has each token and each certificate once, and finds them.
 */
#include "assent/grant.h"
#include "tests/fuzz/fuzz.h"

static bool same(const struct as_grant *a, const struct as_grant *b)
{
    return strcmp(a->name, b->name) == 0 && a->roles == b->roles &&
           a->certificate == b->certificate && a->rate == b->rate && a->expires == b->expires &&
           memcmp(a->sha256, b->sha256, AS_HASH_LEN) == 0 &&
           fuzz_same(a->participants, b->participants);
}

static void check_line(const struct as_grant *grant)
{
    char why[AS_GRANT_WHY_BYTES];
    struct as_grant again;
    struct as_buf line;

    AS_ASSERT(grant->roles && grant->roles < 8 && grant->rate <= AS_GRANT_RATE_MAX);
    AS_ASSERT(((grant->roles & AS_ROLE_APP) != 0) == (grant->participants.len > 0));
    as_buf_init(&line, (size_t)2 * AS_GRANT_LINE_MAX);
    as_grant_put(&line, grant);
    AS_ASSERT(!line.err && as_grant_parse(as_buf_bytes(&line), &again, why) == AS_OK);
    AS_ASSERT(same(grant, &again));
    as_buf_close(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[AS_GRANT_WHY_BYTES];
    struct as_grants grants;
    struct as_grant grant;

    if (as_grant_parse((struct as_bytes){data, size}, &grant, why) == AS_OK &&
        size <= AS_GRANT_LINE_MAX)
        check_line(&grant);
    if (as_grants_parse((struct as_bytes){data, size}, &grants, why))
        return 0;
    AS_ASSERT(grants.count <= AS_GRANTS_MAX);
    for (uint32_t i = 0; i < grants.count; i++) {
        const struct as_grant *one = &grants.list[i];

        check_line(one);
        AS_ASSERT((one->certificate
                       ? as_grants_by_certificate(&grants, (enum as_role)one->roles, one->name)
                       : as_grants_by_hash(&grants, one->sha256)) == i);
    }
    as_grants_close(&grants);
    return 0;
}
