/*
 * Names that anybody may have written. What the gid parser takes formats back to the same bytes;
 * and the same bytes, read as the fields of a gid, format to one that parses back.
 */
#include "assent/attempt.h"
#include "assent/buf.h"
#include "tests/fuzz/fuzz.h"

static void parse(const char *text, size_t len)
{
    char again[AS_GID_LEN_MAX + 1];
    struct as_gid gid;

    if (as_gid_parse(text, len, &gid))
        return;
    AS_ASSERT(as_id_valid(gid.id, strlen(gid.id)) &&
              as_cluster_valid(gid.cluster, strlen(gid.cluster)));
    AS_ASSERT(gid.branch > 0 && gid.attempt.term > 0 && gid.attempt.seq > 0);
    AS_ASSERT(as_gid_format(&gid, again) == len && memcmp(again, text, len) == 0);
}

/* Characters of `from` in `alphabet`, at least one. */
static void spell(struct as_bytes from, const char *alphabet, char *ret_text)
{
    size_t i = 0;

    ret_text[0] = alphabet[0];
    for (; i < from.len; i++)
        ret_text[i] = alphabet[from.data[i] % strlen(alphabet)];
    ret_text[i > 0 ? i : 1] = '\0';
}

static void format(struct as_reader in)
{
    char text[AS_GID_LEN_MAX + 1];
    struct as_gid gid = {0}, back;

    gid.incarnation = as_read_u64(&in);
    gid.attempt.term = as_read_u64(&in);
    gid.attempt.seq = as_read_u64(&in);
    gid.branch = as_read_u32(&in);
    gid.attempt.term += gid.attempt.term == 0;
    gid.attempt.seq += gid.attempt.seq == 0;
    gid.branch += gid.branch == 0;
    spell(as_read_bytes(&in, as_read_u8(&in) % (AS_CLUSTER_LEN_MAX + 1)), "az09-", gid.cluster);
    spell(as_read_bytes(&in, in.left < AS_ID_LEN_MAX ? in.left : AS_ID_LEN_MAX), "AZaz09._:-",
          gid.id);
    AS_ASSERT(as_gid_parse(text, as_gid_format(&gid, text), &back) == AS_OK);
    AS_ASSERT(memcmp(&gid, &back, sizeof(gid)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    int64_t ms;

    parse(size > 0 ? text : "", size);
    format(as_reader_of((struct as_bytes){data, size}));
    if (as_id_uuid7_ms(size > 0 ? text : "", size, &ms))
        AS_ASSERT(as_id_valid(text, size) && ms >= 0 && ms < (int64_t)1 << 48);
    if (as_participant_valid(text, size))
        AS_ASSERT(size <= AS_PARTICIPANT_LEN_MAX && as_id_valid(text, size > 64 ? 0 : size));
    return 0;
}
