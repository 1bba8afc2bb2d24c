/*
 * Waits until nothing is under way any more: no transaction is active or waits for a branch, and nothing is prepared in any
 * database. And reads which outcomes the cluster reports as heuristic.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inside.h"
#include "tests/support/http.h"

#define SETTLE_MS 90000
#define ASK_MS 5000

struct settling {
    struct world *world;
    char open[400]; /* what was not settled at the last look */
};

static bool is_heuristic(const char *state)
{
    return strncmp(state, "heuristic_", 10) == 0 || strcmp(state, "lost_prepare") == 0 ||
           strcmp(state, "unverified") == 0;
}

/* Nothing will change any more by itself: what is heuristic stays pending until a person acknowledges it. */
static bool waits_for_a_person(const cJSON *transaction)
{
    const cJSON *branch;
    bool heuristic = false, other = false;

    cJSON_ArrayForEach(branch, cJSON_GetObjectItem(transaction, "branches"))
    {
        const char *state = cJSON_GetStringValue(cJSON_GetObjectItem(branch, "state"));

        if (state && is_heuristic(state))
            heuristic = true;
        else if (!state || (strcmp(state, "committed") != 0 && strcmp(state, "read_only") != 0))
            other = true;
    }
    return heuristic && !other;
}

static bool none_is(struct settling *settling, const char *state)
{
    struct world *world = settling->world;
    const cJSON *list, *transaction;
    struct answer answer;
    bool none = false;
    char path[80];

    (void)snprintf(path, sizeof(path), "/v1/transactions?state=%s&limit=1000", state);
    http_at(world->nodes[0].api, NULL, path, NULL, ASK_MS, &answer);
    list = cJSON_GetObjectItem(answer.json, "transactions");
    none = answer.status == 200 && list;
    if (!none)
        (void)snprintf(settling->open, sizeof(settling->open), "%s: HTTP %ld", path, answer.status);
    cJSON_ArrayForEach(transaction, list)
    {
        if (waits_for_a_person(transaction))
            continue;
        none = false;
        (void)snprintf(settling->open, sizeof(settling->open), "%.330s is %s",
                       cJSON_GetObjectItem(transaction, "id")->valuestring, state);
    }
    answer_free(&answer);
    return none;
}

static bool nothing_prepared(struct settling *settling, const struct database *database)
{
    PGconn *connection = database_connect(database);
    PGresult *result =
        connection ? PQexec(connection, "SELECT gid, now() - prepared FROM pg_prepared_xacts")
                   : NULL;
    bool nothing = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 0;

    if (PQntuples(result) > 0)
        (void)snprintf(settling->open, sizeof(settling->open), "%d prepared in %s: %.250s for %s",
                       PQntuples(result), database->participant, PQgetvalue(result, 0, 0),
                       PQgetvalue(result, 0, 1));
    else if (!nothing)
        (void)snprintf(settling->open, sizeof(settling->open), "%s cannot be asked",
                       database->participant);
    PQclear(result);
    PQfinish(connection);
    return nothing;
}

static bool is_settled(void *ctx)
{
    struct settling *settling = ctx;

    if (!none_is(settling, "active") || !none_is(settling, "preparing") ||
        !none_is(settling, "pending"))
        return false;
    for (int i = 0; i < WORLD_DATABASES; i++)
        if (!nothing_prepared(settling, &settling->world->databases[i]))
            return false;
    return true;
}

bool settle(struct world *world)
{
    struct settling settling = {.world = world};

    return world_wait(world, is_settled, &settling, SETTLE_MS) ||
           world_fail(world, "not settled after %d s: %s", SETTLE_MS / 1000, settling.open);
}

/* --- Heuristic outcomes --- */

static bool transaction_take(struct world *world, const cJSON *transaction, uint8_t *ret_flags)
{
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItem(transaction, "id"));
    const cJSON *branch;
    uint64_t index;

    if (!id || !history_parse_id(world->history, id, &index))
        return world_fail(world, "the list of heuristic outcomes has %s", id ? id : "no id");
    cJSON_ArrayForEach(branch, cJSON_GetObjectItem(transaction, "branches"))
    {
        const char *state = cJSON_GetStringValue(cJSON_GetObjectItem(branch, "state"));
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(branch, "participant"));

        if (state && name && is_heuristic(state))
            ret_flags[index] |= (uint8_t)(1 << (name[strlen(name) - 1] - 'a'));
    }
    return true;
}

static bool page_take(struct world *world, char after[128], uint8_t *ret_flags)
{
    struct answer answer;
    const cJSON *transaction;
    char path[256];
    bool well;

    (void)snprintf(path, sizeof(path), "/v1/transactions?state=heuristic&limit=500%s%s",
                   after[0] ? "&after=" : "", after);
    http_at(world->nodes[0].api, NULL, path, NULL, ASK_MS, &answer);
    well = answer.status == 200 ||
           world_fail(world, "the list of heuristic outcomes: HTTP %ld", answer.status);
    cJSON_ArrayForEach(transaction, cJSON_GetObjectItem(answer.json, "transactions"))
    {
        well = well && transaction_take(world, transaction, ret_flags);
    }
    (void)snprintf(after, 128, "%s", answer_text(&answer, "next"));
    answer_free(&answer);
    return well;
}

bool heuristics_read(struct world *world, uint8_t *ret_flags)
{
    char after[128] = "";

    do
        if (!page_take(world, after, ret_flags))
            return false;
    while (after[0]);
    return true;
}
