/*
 * Fault model: a person wrote the file (common/uv/config.h).
 */
#include "participant/host/participants.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "assent/alloc.h"
#include "participant/agent/operations.h"

/* Between arrays of one limit: the table of keys has checked the length. */
#define COPY(to, from) snprintf(to, sizeof(to), "%s", from)

/* config.h gives the same name once more for each of its keys. */
void *host_participant_of(void *ctx, const char *section, const char *name, char ret_error[256])
{
    struct host_participants *participants = ctx;
    struct host_participant *grown;

    (void)section;
    for (uint32_t i = 0; i < participants->count; i++)
        if (strcmp(participants->list[i].name, name) == 0)
            return &participants->list[i];
    if (!as_participant_valid(name, strlen(name))) {
        snprintf(ret_error, 256,
                 "a participant's name is 1 to 63 of a-z, 0-9, _ and -, the first a letter");
        return NULL;
    }
    if (participants->count == AS_PARTICIPANTS_MAX) {
        snprintf(ret_error, 256, "more than %d participants", AS_PARTICIPANTS_MAX);
        return NULL;
    }
    grown = as_resize(participants->list, (participants->count + 1) * sizeof(*participants->list));
    if (!grown) {
        snprintf(ret_error, 256, "out of memory");
        return NULL;
    }
    participants->list = grown;
    grown = &participants->list[participants->count++];
    memset(grown, 0, sizeof(*grown));
    COPY(grown->name, name);
    return grown;
}

static as_err refuse(char *ret_error, const char *path, const char *name, const char *why)
{
    snprintf(ret_error, 512, "%.100s: [participant.%.64s] %.300s", path, name, why);
    return AS_ERR_INVALID;
}

/* The file as a whole. */
static as_err read_file(const char *path, struct as_buf *ret, char ret_error[512])
{
    FILE *file = fopen(path, "re");
    uint8_t part[4096];
    size_t got;

    if (!file) {
        snprintf(ret_error, 512, "%.300s: %s", path, strerror(errno));
        return errno == ENOENT ? AS_ERR_NOTFOUND : AS_ERR_IO;
    }
    while ((got = fread(part, 1, sizeof(part), file)) > 0)
        as_put_bytes(ret, part, got);
    if (ferror(file)) {
        snprintf(ret_error, 512, "%.300s: %s", path, strerror(errno));
        ret->err = AS_ERR_IO;
    } else if (ret->err == AS_ERR_TOOBIG) {
        snprintf(ret_error, 512, "%.300s: more than %u bytes of operations", path,
                 AS_OPERATIONS_BYTES_MAX);
    } else if (ret->err) {
        snprintf(ret_error, 512, "%.300s: %s", path, as_err_text(ret->err));
    }
    (void)fclose(file);
    return ret->err;
}

static as_err read_operations(const struct host_participant *participant, struct operations **ret,
                              char ret_error[512])
{
    struct as_buf text;
    char why[256];
    as_err err;

    *ret = NULL;
    if (!participant->operations[0])
        return AS_OK;
    as_buf_init(&text, AS_OPERATIONS_BYTES_MAX);
    err = read_file(participant->operations, &text, ret_error);
    if (!err) {
        err = operations_parse(as_buf_bytes(&text), ret, why);
        if (err)
            snprintf(ret_error, 512, "%.250s: %s", participant->operations, why);
    }
    as_buf_close(&text);
    return err;
}

as_err host_participants_operations(const struct host_participants *participants,
                                    struct operations **ret, char ret_error[512])
{
    for (uint32_t i = 0; i < participants->count; i++) {
        as_err err = read_operations(&participants->list[i], &ret[i], ret_error);

        if (!err)
            continue;
        while (i-- > 0)
            operations_free(ret[i]);
        return err;
    }
    return AS_OK;
}

static as_err check_operations(const struct host_participant *participant, const char *path,
                               char *ret_error)
{
    struct operations *operations;
    as_err err;

    if (participant->sql == HOST_SQL_NAMED && !participant->operations[0])
        return refuse(ret_error, path, participant->name,
                      "sql = named needs operations: the file in which they are written");
    err = read_operations(participant, &operations, ret_error);
    operations_free(err ? NULL : operations);
    return err;
}

static as_err check(const struct host_participant *participant, const char *path, char *ret_error)
{
    char why[300], detail[256];
    as_err err = check_operations(participant, path, ret_error);

    if (err)
        return err;
    if (participant->null)
        return participant->dsn[0] ? refuse(ret_error, path, participant->name,
                                            "null = yes means no database: remove dsn")
                                   : AS_OK;
    if (!participant->dsn[0])
        return refuse(ret_error, path, participant->name,
                      "dsn is missing: a libpq connection string, such as "
                      "host=db1 dbname=bank user=assent");
    if (pg_dsn_check(participant->dsn, detail) == AS_OK)
        return AS_OK;
    snprintf(why, sizeof(why), "dsn: %.250s", detail);
    return refuse(ret_error, path, participant->name, why);
}

as_err host_participants_check(const struct host_participants *participants, const char *path,
                               char ret_error[512])
{
    as_err err = AS_OK;

    for (uint32_t i = 0; i < participants->count && !err; i++)
        err = check(&participants->list[i], path, ret_error);
    return err;
}

void host_participants_close(struct host_participants *participants)
{
    as_free(participants->list);
    participants->list = NULL;
    participants->count = 0;
}

void host_participants_agent(const struct host_participants *participants,
                             struct agent_participant_config *ret)
{
    for (uint32_t i = 0; i < participants->count; i++) {
        const struct host_participant *from = &participants->list[i];

        memset(&ret[i], 0, sizeof(ret[i]));
        COPY(ret[i].name, from->name);
        ret[i].prepared_max = (uint32_t)from->prepared_max;
        ret[i].queue_max = (uint32_t)from->queue_max;
        ret[i].named = from->sql == HOST_SQL_NAMED;
    }
}

void host_participants_pg(const struct host_participants *participants,
                          struct pg_participant_config *ret)
{
    for (uint32_t i = 0; i < participants->count; i++) {
        const struct host_participant *from = &participants->list[i];

        memset(&ret[i], 0, sizeof(ret[i]));
        COPY(ret[i].name, from->name);
        COPY(ret[i].dsn, from->dsn);
        ret[i].connections = (uint32_t)from->connections;
        ret[i].proof = (enum as_proof)from->proof;
        ret[i].null = from->null;
    }
}
