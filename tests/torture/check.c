/*
 * The checks, while all clients are paused.
 *
 * An id whose POSTs have not all been answered may still be carried out by a request that is on its way in some socket: such a
 * one is judged by what a GET says after its rows have been read, and looked at again if the two differ. All others are final.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inside.h"

#define LOOKS_MAX 4
#define LOOK_AGAIN_MS 2000

/* What the clients know of a transfer. */
#define KNOWN_COMMITTED 1u
#define KNOWN_OPEN 2u /* a POST without an answer that settles it */

struct look {
    struct world *world;
    struct requester requester;
    uint64_t
        asked_from; /* open ids before it were asked for at an earlier check: now by their rows only */
    struct ledger ledger;
    uint8_t *known;     /* of each transfer */
    uint8_t *heuristic; /* a bit for each database */
    int64_t missing;    /* money that marked branches did not move */
    char differs[300];  /* why to look again: only of open ones */
};

static bool fails(const struct look *look, uint64_t transfer, const char *what)
{
    char id[65], seen[64] = "";

    history_id(look->world->history, transfer, id);
    for (int i = 0; i < WORLD_DATABASES; i++)
        (void)snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), " %c:%u", 'a' + i,
                       look->ledger.seen[i][transfer]);
    return world_fail(look->world, "%s %s; rows seen:%s", id, what, seen);
}

static void learn(struct look *look)
{
    const struct history *history = look->world->history;

    for (size_t i = 0; i < history->op_count; i++) {
        const struct op *op = &history->ops[i];

        if (op->transfer >= look->ledger.count)
            continue;
        if (op->result == RESULT_COMMITTED)
            look->known[op->transfer] |= KNOWN_COMMITTED;
        else if (op->kind == OP_POST &&
                 (op->result == RESULT_UNKNOWN || op->result == RESULT_UNDER_WAY))
            look->known[op->transfer] |= KNOWN_OPEN;
    }
}

static bool absent(const struct look *look, uint64_t transfer)
{
    for (int i = 0; i < WORLD_DATABASES; i++)
        if (look->ledger.seen[i][transfer])
            return false;
    return true;
}

/* Committed: once in each of its databases, unless it was provoked that it is not. */
static bool branch_is_well(struct look *look, uint64_t transfer, int database)
{
    int32_t amount = look->world->history->transfers[transfer].amount[database];
    bool heuristic = look->heuristic[transfer] >> database & 1;
    bool seen = look->ledger.seen[database][transfer] != 0;
    enum mark mark;

    if (!history_is_marked(look->world->history, transfer, (uint8_t)database, &mark)) {
        if (heuristic)
            return fails(look, transfer, "is reported as heuristic, and nobody provoked it");
        return seen == (amount != 0) || fails(look, transfer, "is committed, but not everywhere");
    }
    if (mark == MARK_DOUBT)
        return seen ||
               fails(look, transfer, "was committed before a failover, and its row is lost");
    if (amount && !seen)
        look->missing += amount;
    if (seen)
        return fails(look, transfer, "was lost by force, but its row is there");
    return heuristic || mark == MARK_GONE ||
           fails(look, transfer, "was lost by force, and it is not reported");
}

static bool committed_is_well(struct look *look, uint64_t transfer)
{
    if (look->world->history->transfers[transfer].kind >= TRANSFER_FAILS)
        return fails(look, transfer, "is committed, and a statement of it fails");
    for (int i = 0; i < WORLD_DATABASES; i++)
        if (!branch_is_well(look, transfer, i))
            return false;
    return true;
}

/* False: failed. `differs` is set when rows and GET are not of the same moment. */
static bool open_is_well(struct look *look, uint64_t transfer)
{
    bool none = absent(look, transfer);
    enum op_result result;

    if (transfer < look->asked_from)
        return none || committed_is_well(look, transfer);
    result = request_get(&look->requester, transfer,
                         (int)as_rng_below(&look->requester.rng, WORLD_NODES), 0, NULL);
    if (result == RESULT_COMMITTED && !none)
        return committed_is_well(look, transfer);
    if (none && (result == RESULT_ABORTED || result == RESULT_NOT_FOUND))
        return true;
    history_id(look->world->history, transfer, look->differs);
    (void)snprintf(look->differs + strlen(look->differs),
                   sizeof(look->differs) - strlen(look->differs),
                   ": its rows are %s, and a GET says %s", none ? "not there" : "there",
                   result == RESULT_COMMITTED   ? "committed"
                   : result == RESULT_ABORTED   ? "aborted"
                   : result == RESULT_NOT_FOUND ? "not found"
                                                : "nothing");
    return true;
}

static bool transfer_is_well(struct look *look, uint64_t transfer)
{
    if (look->known[transfer] & KNOWN_COMMITTED)
        return committed_is_well(look, transfer);
    if (look->known[transfer] & KNOWN_OPEN)
        return open_is_well(look, transfer);
    if (look->heuristic[transfer])
        return fails(look, transfer, "is reported as heuristic, and it was not committed");
    return absent(look, transfer) || fails(look, transfer, "was not committed, but it is there");
}

static bool money_is_well(const struct look *look)
{
    int64_t expected = (int64_t)WORLD_DATABASES * WORLD_ACCOUNTS * WORLD_BALANCE - look->missing;

    return look->ledger.total == expected ||
           world_fail(look->world, "the money in all databases is %lld, and not %lld",
                      (long long)look->ledger.total, (long long)expected);
}

static bool all_well(struct look *look)
{
    for (uint64_t i = 0; i < look->ledger.count && !look->differs[0]; i++)
        if (!transfer_is_well(look, i))
            return false;
    return look->differs[0] || money_is_well(look);
}

static bool look_once(struct look *look)
{
    bool well = settle(look->world) && ledger_read(look->world, &look->ledger);

    look->differs[0] = 0;
    look->missing = 0;
    look->known = calloc(look->ledger.count + 1, 1);
    look->heuristic = calloc(look->ledger.count + 1, 1);
    AS_ASSERT(look->known && look->heuristic);
    if (well && heuristics_read(look->world, look->heuristic)) {
        learn(look);
        well = all_well(look);
    } else {
        well = false;
    }
    free(look->known);
    free(look->heuristic);
    ledger_free(&look->ledger);
    return well;
}

bool check_world(struct world *world, uint64_t asked_from)
{
    struct look look = {.world = world,
                        .asked_from = asked_from,
                        .requester = {world, WORLD_CLIENTS, {world->seed ^ 0xc0ffee}}};

    for (int i = 0; i < LOOKS_MAX; i++) {
        if (!look_once(&look))
            return false;
        if (!look.differs[0])
            return true;
        if (!world_wait(world, NULL, NULL, LOOK_AGAIN_MS))
            return false;
    }
    return world_fail(world, "%s", look.differs);
}
