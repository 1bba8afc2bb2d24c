/*
 * Random runs of the core against a small world: clients, agents whose branches have a life of
 * their own, a log that may refuse, crashes of the coordinator at any moment. An oracle that knows
 * nothing of the core's insides checks every effect; each entry is folded by a follower too, which
 * is now and then replaced by its own snapshot. In the end everything heals, and all must be
 * finished.
 */
#include "../../support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assent/rng.h"
#include "coordinator/txn/txn.h"

#define PARTICIPANTS 3
#define SESSIONS 6
#define ATTEMPTS_MAX 4096
#define CLIENTS_MAX 8192
#define IDS 40
#define BRANCHES 3
#define STEPS 600

enum life { NOTHING, EXECUTING, PREPARED, ROLLED_BACK, COMMITTED };

/* What the world knows of a branch: the truth of its database. */
struct twig {
    bool dispatched;
    bool read_only;
    uint64_t session;
    uint16_t slot;
    int participant;
    enum life life;
    bool voted_yes; /* the vote reached the coordinator while it could count */
    bool read_voted;
    bool ready;
    bool acked;     /* to the present leader, or an operator has */
    bool heuristic; /* somebody finished it by hand */
    bool reported;  /* and that is in the log */
    bool unknown;   /* answered so: below the horizon, an operator's work (R6) */
};

struct
try {
    bool used;
    struct as_attempt attempt;
    char id[16];
    int branch_count;
    struct twig twigs[BRANCHES];
    bool commit_proposed, abort_proposed, refused;
    bool committed; /* by the oracle's own reading of the log */
    bool finished;  /* likewise: FINISH is in it */
    bool abort_sent, told_aborted;
};

struct client {
    bool waits, answered;
};

struct entry {
    uint8_t type;
    uint64_t term;
    struct as_attempt attempt;
    size_t len;
    uint8_t payload[1600];
};

static struct world {
    struct as_rng rng;
    struct txn_config config;
    struct txn *txn, *follower;
    as_time now;
    uint64_t term, index;
    struct try tries[ATTEMPTS_MAX];
    int try_count;
    struct client clients[CLIENTS_MAX];
    uint64_t client_count;
    char committed_ids[IDS * 2][16];
    int committed_id_count;
    uint64_t session[SESSIONS]; /* 0: down */
    uint64_t session_count;
    struct entry *pending, *log;
    size_t pending_count, log_count;
    bool healing;
    bool inquiring;         /* in this step */
    struct as_buf snapshot; /* under way while the table goes on */
    bool snapshot_open;
    uint64_t snapshot_digest;
    uint64_t list_after;
} world;

static uint64_t below(uint64_t bound)
{
    return as_rng_below(&world.rng, bound);
}

static bool chance(unsigned percent)
{
    return below(100) < percent;
}

/* --- The oracle --- */

static struct try *try_of(struct as_attempt attempt)
{
    for (int i = world.try_count; i-- > 0;) {
        if (as_attempt_equal(world.tries[i].attempt, attempt))
            return &world.tries[i];
    }
    return NULL;
}

static int participant_of(uint64_t session)
{
    for (int i = 0; i < SESSIONS; i++) {
        if (world.session[i] == session)
            return i % PARTICIPANTS;
    }
    return -1;
}

static void check_execute(uint64_t session, const struct as_wire_execute *execute)
{
    struct try *try = try_of(execute->branch.attempt);
    struct twig *twig;

    if (!try) {
        assert_true(world.try_count < ATTEMPTS_MAX);
        try = &world.tries[world.try_count++];
        *try = (struct try){.used = true, .attempt = execute->branch.attempt};
        snprintf(try->id, sizeof(try->id), "%.*s", (int)execute->id.len, execute->id.data);
    }
    assert_true(execute->branch.number >= 1 && execute->branch.number <= BRANCHES);
    twig = &try->twigs[execute->branch.number - 1];
    assert_false(twig->dispatched); /* R2: once */
    assert_int_equal(execute->branch.attempt.term, world.term);
    twig->dispatched = true;
    twig->session = session;
    twig->slot = execute->branch.slot;
    twig->participant = participant_of(session);
    twig->read_only = execute->work.data[0] == 'r';
    twig->life = EXECUTING;
    if ((int)execute->branch.number > try->branch_count)
        try->branch_count = (int)execute->branch.number;
}

static void check_commit(const struct as_wire_branch *branch)
{
    struct try *try = try_of(branch->attempt);

    assert_non_null(try);
    assert_true(try->committed);                    /* R1: not before it is applied */
    assert_true(world.inquiring || !try->finished); /* R8: nobody is asked again */
    assert_false(try->abort_sent);
    assert_false(try->twigs[branch->number - 1].read_only);
}

static void check_abort(const struct as_wire_branch *branch)
{
    struct try *try = try_of(branch->attempt);

    if (!try)
        return; /* nobody prepared anything for it */
    assert_false(try->committed);
    try->abort_sent = true;
}

/* R2: a yes of every branch, each from the session it was dispatched to. */
static void check_propose_commit(const struct txn_record *record)
{
    struct try *try = try_of(record->commit.attempt);
    uint32_t writes = 0;

    assert_non_null(try);
    assert_false(try->commit_proposed || try->abort_proposed || try->abort_sent);
    assert_string_equal(try->id, record->commit.id);
    for (int i = 0; i < try->branch_count; i++) {
        const struct twig *twig = &try->twigs[i];

        assert_true(twig->dispatched);
        assert_true(twig->read_only ? twig->read_voted : twig->voted_yes);
        writes += !twig->read_only;
    }
    assert_int_equal(writes, record->commit.branch_count);
    try->commit_proposed = true;
}

static void check_propose(const struct txn_effect *effect)
{
    struct txn_record record;
    struct try *try;

    assert_int_equal(txn_record_take(effect->propose.type, effect->propose.payload, &record),
                     AS_OK);
    if (record.type == TXN_RECORD_COMMIT) {
        check_propose_commit(&record);
    } else if (record.type == TXN_RECORD_ABORT) {
        try = try_of(record.abort.attempt);
        if (try) {
            assert_false(try->commit_proposed || try->committed);
            try->abort_proposed = true;
        }
    } else if (record.type == TXN_RECORD_FINISH) {
        for (uint32_t i = 0; i < record.finish.count; i++) {
            try = try_of(txn_record_attempt(&record, i));
            assert_non_null(try);
            assert_true(try->committed);
            for (int b = 0; b < try->branch_count; b++)
                assert_true(try->twigs[b].read_only || try->twigs[b].acked ||
                            try->twigs[b].reported); /* R8 */
        }
    }
}

static bool id_committed(const char *id)
{
    for (int i = 0; i < world.committed_id_count; i++) {
        if (strcmp(world.committed_ids[i], id) == 0)
            return true;
    }
    return false;
}

static void check_reply(const struct txn_effect *effect)
{
    const struct as_reply *reply = &effect->reply.reply;
    struct client *client = &world.clients[effect->reply.client];
    struct try *try;

    assert_true(client->waits);
    assert_false(client->answered); /* exactly once */
    client->answered = true;
    if (reply->refused)
        return;
    try = try_of(reply->view->attempt);
    if (reply->view->state == AS_TXN_COMMITTED && reply->view->index > 0) {
        assert_true(id_committed(reply->id));
        assert_true(try && try->committed);
    } else if (reply->view->state == AS_TXN_ABORTED && try) {
        assert_false(try->committed);
        try->told_aborted = true;
    }
}

/* --- The log --- */

static void keep(struct entry **list, size_t *count, const struct entry *entry)
{
    if ((*count & (*count - 1)) == 0) {
        *list = realloc(*list, (*count ? *count * 2 : 1) * sizeof(*entry));
        assert_non_null(*list);
    }
    (*list)[(*count)++] = *entry;
}

static void step(struct txn_event *event);

static void propose(const struct txn_effect *effect)
{
    struct entry entry = {.type = effect->propose.type,
                          .term = world.term,
                          .attempt = effect->propose.attempt,
                          .len = effect->propose.payload.len};

    assert_true(entry.len <= sizeof(entry.payload));
    memcpy(entry.payload, effect->propose.payload.data, entry.len);
    keep(&world.pending, &world.pending_count, &entry);
}

static void take_record(const struct entry *entry, struct txn_record *ret)
{
    assert_int_equal(
        txn_record_take(entry->type, (struct as_bytes){entry->payload, entry->len}, ret), AS_OK);
}

/* The oracle's own reading of R1. */
static void read_commit(const struct entry *entry)
{
    struct txn_record record;
    struct try *try;

    take_record(entry, &record);
    try = try_of(record.commit.attempt);
    assert_non_null(try);
    /* Where outcomes are evicted early an id may run again, and commit again. */
    if (record.commit.attempt.term != entry->term ||
        (!world.config.outcomes_max && id_committed(record.commit.id)))
        return;
    assert_false(try->abort_sent || try->told_aborted || try->refused);
    try->committed = true;
    if (id_committed(record.commit.id))
        return;
    assert_true(world.committed_id_count < IDS * 2 && strlen(record.commit.id) < 16);
    memcpy(world.committed_ids[world.committed_id_count++], record.commit.id,
           strlen(record.commit.id) + 1);
}

/* An operator's word counts once it is applied (R8). */
static void read_acknowledge(const struct entry *entry)
{
    struct txn_record record;
    struct try *try;

    take_record(entry, &record);
    try = try_of(record.acknowledge.attempt);
    assert_non_null(try);
    assert_true(try->twigs[record.acknowledge.branch - 1].heuristic);
    try->twigs[record.acknowledge.branch - 1].acked = true;
}

/* FINISH may speak for the others now (R8). */
static void read_heuristic(const struct entry *entry)
{
    struct txn_record record;
    struct try *try;

    take_record(entry, &record);
    try = try_of(record.heuristic.attempt);
    assert_true(try && try->twigs[record.heuristic.branch - 1].heuristic);
    try->twigs[record.heuristic.branch - 1].reported = true;
}

/* Nobody is told again what it names (R8). */
static void read_finish(const struct entry *entry)
{
    struct txn_record record;

    take_record(entry, &record);
    for (uint32_t i = 0; i < record.finish.count; i++)
        try_of(txn_record_attempt(&record, i))->finished = true;
}

static void read_entry(const struct entry *entry)
{
    if (entry->type == TXN_RECORD_COMMIT)
        read_commit(entry);
    else if (entry->type == TXN_RECORD_ACKNOWLEDGE)
        read_acknowledge(entry);
    else if (entry->type == TXN_RECORD_HEURISTIC)
        read_heuristic(entry);
    else if (entry->type == TXN_RECORD_FINISH)
        read_finish(entry);
}

static struct txn *copy(struct txn *from)
{
    struct txn *to;
    struct as_buf buf;
    uint64_t index, term;
    bool done = false;

    assert_int_equal(txn_new(&to, &world.config), AS_OK);
    as_buf_init(&buf, SIZE_MAX / 2);
    assert_int_equal(txn_snapshot_begin(from, &index, &term), AS_OK);
    while (!done) {
        as_buf_clear(&buf);
        assert_int_equal(txn_snapshot_next(from, &buf, 1 + below(500), &done), AS_OK);
        assert_int_equal(txn_restore(to, as_buf_bytes(&buf), done), AS_OK);
    }
    txn_snapshot_end(from);
    as_buf_close(&buf);
    assert_true(txn_digest(to) == txn_digest(from));
    return to;
}

static void feed(struct txn *txn, const struct entry *entry, uint64_t index, as_time now)
{
    struct txn_event event = {.kind = TXN_APPLY, .now = now};
    struct txn_effects effects;

    event.entry = (struct txn_entry){.index = index,
                                     .term = entry->term,
                                     .time_ms = (int64_t)index * 7,
                                     .type = entry->type,
                                     .payload = {entry->payload, entry->len}};
    assert_int_equal(txn_step(txn, &event, &effects), AS_OK);
    for (size_t i = 0; i < effects.count; i++)
        assert_int_equal(effects.list[i].kind, TXN_TRACE);
}

/* A snapshot that was written under traffic is the table as it was when it began. */
static void check_snapshot(void)
{
    struct txn *copy;

    assert_int_equal(txn_new(&copy, &world.config), AS_OK);
    assert_int_equal(txn_restore(copy, as_buf_bytes(&world.snapshot), true), AS_OK);
    assert_true(txn_digest(copy) == world.snapshot_digest);
    for (uint64_t i = txn_applied_index(copy); i < world.index; i++)
        feed(copy, &world.log[i], i + 1, 0);
    assert_true(txn_digest(copy) == txn_digest(world.txn));
    txn_free(copy);
}

static void snapshot_end(void)
{
    if (world.snapshot_open)
        txn_snapshot_end(world.txn);
    as_buf_close(&world.snapshot);
    world.snapshot_open = false;
}

static void snapshot(void)
{
    uint64_t index, term;
    bool done;

    if (!world.snapshot_open) {
        as_buf_init(&world.snapshot, SIZE_MAX / 2);
        assert_int_equal(txn_snapshot_begin(world.txn, &index, &term), AS_OK);
        assert_int_equal(index, world.index);
        world.snapshot_open = true;
        world.snapshot_digest = txn_digest(world.txn);
        return;
    }
    assert_int_equal(txn_snapshot_next(world.txn, &world.snapshot, 1 + below(400), &done), AS_OK);
    if (!done)
        return;
    check_snapshot();
    snapshot_end();
}

static void apply(void)
{
    struct entry entry = world.pending[0];
    struct txn_event event = {.kind = TXN_APPLY};

    world.pending_count--;
    memmove(world.pending, world.pending + 1, world.pending_count * sizeof(entry));
    if (entry.type == TXN_RECORD_COMMIT && !world.healing && chance(3)) {
        struct try *try = try_of(entry.attempt);

        try->refused = true; /* the disk is full */
        step(&(struct txn_event){.kind = TXN_REFUSED,
                                 .refused = {entry.attempt, AS_REFUSAL_DISK_FULL}});
        return;
    }
    if (entry.type != TXN_RECORD_COMMIT && !world.healing && chance(2))
        return; /* dropped: it must come again, or not be missed */
    world.index++;
    keep(&world.log, &world.log_count, &entry);
    read_entry(&entry);
    event.entry = (struct txn_entry){.index = world.index,
                                     .term = entry.term,
                                     .time_ms = (int64_t)world.index * 7,
                                     .type = entry.type,
                                     .payload = {entry.payload, entry.len}};
    step(&event);
    feed(world.follower, &entry, world.index, 0);
    assert_true(txn_digest(world.follower) == txn_digest(world.txn));
    if (chance(10)) {
        struct txn *fresh = copy(world.follower);

        txn_free(world.follower);
        world.follower = fresh;
    }
}

/* --- Agents --- */

static struct as_wire_branch wire_branch(const struct try *try, int i, uint16_t slot)
{
    return (struct as_wire_branch){
        .slot = slot, .number = (uint32_t)i + 1, .attempt = try->attempt};
}

static void told_to_commit(uint64_t session, const struct as_wire_decision *commit)
{
    struct try *try = try_of(commit->branch.attempt);
    struct twig *twig = &try->twigs[commit->branch.number - 1];
    struct as_wire_ack ack = {.branch = commit->branch, .ack = AS_ACK_COMMITTED};

    check_commit(&commit->branch);
    assert_int_equal(commit->xid, 1000 + commit->branch.number);
    assert_int_equal(participant_of(session), twig->participant);
    if (!world.healing && chance(30))
        return; /* lost, or its answer */
    if (!world.healing && chance(20)) {
        ack.ack = AS_ACK_RETRY;
    } else if (!twig->heuristic && !world.healing && twig->life == PREPARED && chance(5)) {
        twig->heuristic = true; /* rolled back by hand */
        twig->life = ROLLED_BACK;
        ack.ack = AS_ACK_HEURISTIC_ABORT;
    } else if (twig->heuristic) {
        ack.ack = AS_ACK_HEURISTIC_ABORT;
    } else {
        assert_int_not_equal(twig->life, ROLLED_BACK); /* all or nothing */
        twig->life = COMMITTED;
    }
    if (ack.ack == AS_ACK_COMMITTED)
        twig->acked = true;
    step(&(struct txn_event){.kind = TXN_ACK, .ack = {session, &ack}});
}

static void told_to_abort(const struct as_wire_branch *branch)
{
    struct try *try = try_of(branch->attempt);

    check_abort(branch);
    if (!try)
        return;
    assert_int_not_equal(try->twigs[branch->number - 1].life, COMMITTED);
    try->twigs[branch->number - 1].life = ROLLED_BACK;
}

/* By hand it was committed before: a heuristic commit of an aborted attempt, said once (R7). */
static void abort_found_committed(uint64_t session, const struct as_wire_branch *branch)
{
    struct try *try = try_of(branch->attempt);
    struct as_wire_ack ack = {.branch = *branch, .ack = AS_ACK_HEURISTIC_COMMIT};

    if (!try || world.healing || !chance(10) || try->twigs[branch->number - 1].heuristic)
        return;
    try->twigs[branch->number - 1].heuristic = true;
    step(&(struct txn_event){.kind = TXN_ACK, .ack = {session, &ack}});
}

static void told_answer(const struct as_wire_answer *answer)
{
    struct try *try = try_of(answer->branch.attempt);

    assert_non_null(try);
    if (answer->answer == AS_ANSWER_PENDING) {
        assert_false(try->commit_proposed || try->committed || try->abort_sent);
        return;
    }
    assert_true(world.config.committed_bytes_max != 0); /* only where the set is cut early */
    assert_false(try->committed);
    try->twigs[answer->branch.number - 1].unknown = true;
}

static void vote(struct try *try, int i)
{
    struct twig *twig = &try->twigs[i];
    struct as_wire_vote vote = {
        .branch = wire_branch(try, i, twig->slot),
        .xid = 1001 + (uint64_t)i,
        .identity = {{7}},
        .results = {(const uint8_t *)"rows", 4},
        .message = {(const uint8_t *)"no", 2},
    };
    uint64_t session = twig->session;
    bool stranger = !world.healing && chance(10);

    if (stranger) /* a vote from somebody else must count for nothing */
        session = world.session[below(SESSIONS)];
    if (session == 0 || participant_of(session) < 0)
        return;
    if (stranger && session == twig->session)
        stranger = false;
    if (twig->life == EXECUTING && !stranger && !world.healing && chance(10)) {
        twig->life = ROLLED_BACK;
        vote.vote = AS_VOTE_NO;
        vote.code = AS_REASON_STATEMENT_FAILED;
    } else if (twig->read_only) {
        vote.vote = AS_VOTE_READY;
        twig->ready |= !stranger;
    } else {
        vote.vote = AS_VOTE_YES;
        if (!stranger) {
            twig->life = twig->life == EXECUTING ? PREPARED : twig->life;
            twig->voted_yes = true;
        }
    }
    step(&(struct txn_event){.kind = TXN_VOTE, .vote = {session, &vote}});
}

static void told_to_finish_reading(uint64_t session, const struct as_wire_branch *branch)
{
    struct try *try = try_of(branch->attempt);
    struct twig *twig = &try->twigs[branch->number - 1];
    struct as_wire_vote vote = {.branch = *branch, .vote = AS_VOTE_READ_ONLY};

    assert_true(twig->read_only && twig->ready);
    for (int i = 0; i < try->branch_count; i++) /* R10: all other votes are in */
        assert_true(try->twigs[i].read_only ? try->twigs[i].ready : try->twigs[i].voted_yes);
    if (!world.healing && chance(10))
        vote.vote = AS_VOTE_NO;
    else
        twig->read_voted = true;
    step(&(struct txn_event){.kind = TXN_VOTE, .vote = {session, &vote}});
}

/* --- Effects --- */

/* Effects may be carried out in any order: copies first, then one by one in a random one. */
static void carry_out(const struct txn_effects *effects)
{
    size_t count = effects->count;
    struct txn_effect *list = malloc((count + 1) * sizeof(*list));

    assert_non_null(list);
    for (size_t i = 0; i < count; i++) {
        list[i] = effects->list[i];
        if (list[i].kind == TXN_PROPOSE) {
            check_propose(&list[i]);
            propose(&list[i]);
        } else if (list[i].kind == TXN_REPLY) {
            check_reply(&list[i]);
        } else if (list[i].kind == TXN_SEND && list[i].send.msg.type == AS_WIRE_EXECUTE) {
            check_execute(list[i].send.session, &list[i].send.msg.execute);
        } else if (list[i].kind == TXN_SEND && list[i].send.msg.type == AS_WIRE_ABORT) {
            told_to_abort(&list[i].send.msg.decision.branch);
        } else if (list[i].kind == TXN_SEND && list[i].send.msg.type == AS_WIRE_ANSWER) {
            told_answer(&list[i].send.msg.answer);
        } else if (list[i].kind == TXN_SEND && list[i].send.msg.type == AS_WIRE_COMMIT) {
            check_commit(&list[i].send.msg.decision.branch);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct as_wire_msg *msg = &list[i].send.msg;
        size_t other = i + below(count - i);
        struct txn_effect swap = list[i];

        list[i] = list[other];
        list[other] = swap;
        if (list[i].kind != TXN_SEND)
            continue;
        if (msg->type == AS_WIRE_COMMIT)
            told_to_commit(list[i].send.session, &msg->decision);
        else if (msg->type == AS_WIRE_ABORT)
            abort_found_committed(list[i].send.session, &msg->decision.branch);
        else if (msg->type == AS_WIRE_READ_FINISH)
            told_to_finish_reading(list[i].send.session, &msg->read_finish);
    }
    free(list);
}

static void step(struct txn_event *event)
{
    struct txn_effects effects;

    event->now = world.now;
    event->wall_ms = 1700000000000 + world.now / AS_MS;
    assert_int_equal(txn_step(world.txn, event, &effects), AS_OK);
    carry_out(&effects);
}

/* --- What happens --- */

static void serve(int i)
{
    char name[2] = {(char)('a' + i % PARTICIPANTS), 0};
    struct as_wire_participant facts = {.slot = (uint16_t)(i % 2),
                                        .up = true,
                                        .name = {(const uint8_t *)name, 1},
                                        .identity = {{7}},
                                        .counter = 1};

    if (!world.session[i])
        world.session[i] = ++world.session_count;
    step(&(struct txn_event){.kind = TXN_SERVE, .serve = {world.session[i], &facts}});
}

static void silence(int i)
{
    if (world.session[i])
        step(&(struct txn_event){.kind = TXN_SILENT, .silent = {world.session[i], chance(50)}});
}

static void agent_loses_session(uint64_t session)
{
    for (int t = 0; t < world.try_count; t++) {
        for (int b = 0; b < BRANCHES; b++) {
            struct twig *twig = &world.tries[t].twigs[b];

            if (twig->session == session && twig->life == EXECUTING)
                twig->life = ROLLED_BACK; /* R2 */
        }
    }
}

static void session_down(int i)
{
    uint64_t session = world.session[i];

    if (!session)
        return;
    world.session[i] = 0;
    agent_loses_session(session);
    step(&(struct txn_event){.kind = TXN_SESSION_DOWN, .session = session});
}

static void submit(void)
{
    struct as_submit_branch branches[BRANCHES];
    struct as_submit submit = {.branches = branches, .timeout_ms = 1 + (uint32_t)below(3000)};
    uint64_t client = chance(10) ? 0 : ++world.client_count;
    static const char names[] = "abcz";

    assert_true(world.client_count < CLIENTS_MAX);
    snprintf(submit.id, sizeof(submit.id), "id%u", (unsigned)below(IDS));
    memset(submit.body_hash, chance(5), sizeof(submit.body_hash));
    submit.wait = (enum as_wait)below(3);
    submit.branch_count = 1 + (uint32_t)below(BRANCHES);
    for (uint32_t i = 0; i < submit.branch_count; i++) {
        branches[i].read_only = chance(20);
        branches[i].participant =
            (struct as_bytes){(const uint8_t *)&names[chance(1) ? 3 : below(3)], 1};
        branches[i].work =
            (struct as_bytes){(const uint8_t *)(branches[i].read_only ? "r" : "w"), 1};
    }
    world.clients[client].waits = client != 0;
    step(&(struct txn_event){.kind = TXN_SUBMIT, .submit = {client, &submit}});
}

static void get(void)
{
    char id[16];

    snprintf(id, sizeof(id), "id%u", (unsigned)below(IDS));
    world.clients[++world.client_count].waits = true;
    step(&(struct txn_event){.kind = TXN_GET,
                             .get = {world.client_count, id, (uint32_t)below(2) * 500}});
}

static void forget(void)
{
    uint64_t client = 1 + below(world.client_count + 1);

    if (client > world.client_count || world.clients[client].answered)
        return;
    world.clients[client].answered = true;
    step(&(struct txn_event){.kind = TXN_FORGET, .client = client});
}

static void inquire_all(void)
{
    for (int t = 0; t < world.try_count; t++) {
        for (int b = 0; b < BRANCHES; b++) {
            struct try *try = &world.tries[t];
            struct as_wire_inquire inquire = {.branch = wire_branch(try, b, 0),
                                              .id = {(const uint8_t *)try->id, strlen(try->id)}};
            int at = try->twigs[b].participant;

            if (try->twigs[b].life != PREPARED)
                continue;
            if (!world.session[at])
                at += PARTICIPANTS;
            world.inquiring = true;
            if (world.session[at])
                step(&(struct txn_event){.kind = TXN_INQUIRE,
                                         .inquire = {world.session[at], &inquire}});
            world.inquiring = false;
        }
    }
}

static void vote_somewhere(void)
{
    for (int tries = 0; tries < 5 && world.try_count > 0; tries++) {
        int last = world.try_count < 12 ? world.try_count : 12;
        struct try *try = &world.tries[world.try_count - 1 - (int)below((uint64_t)last)];
        int i = (int)below(BRANCHES);

        if (try->twigs[i].dispatched && try->twigs[i].life != ROLLED_BACK) {
            vote(try, i);
            return;
        }
    }
}

static void acknowledge_all(void)
{
    struct txn_counts counts;

    txn_count(world.txn, &counts);
    if (counts.heuristic == 0)
        return;
    for (int t = 0; t < world.try_count; t++) {
        struct try *try = &world.tries[t];

        for (int b = 0; b < BRANCHES; b++) {
            if (!try->twigs[b].heuristic || try->twigs[b].acked)
                continue;
            world.clients[++world.client_count].waits = true;
            step(&(struct txn_event){
                .kind = TXN_ACKNOWLEDGE,
                .acknowledge = {
                    world.client_count, try->id, (uint32_t)b + 1, {NULL, 0}, {NULL, 0}}});
        }
    }
}

static void look(void *ctx, const struct as_txn_view *view)
{
    uint64_t *last = ctx;

    assert_true(strlen(view->id) > 2 && view->branch_count <= BRANCHES);
    for (uint32_t i = 0; i < view->branch_count; i++)
        assert_non_null(view->branches[i].participant);
    if (view->state == AS_TXN_COMMITTED && view->index > 0) {
        assert_true(id_committed(view->id));
        assert_true(*last == 0 || view->index < *last); /* newest first */
        *last = view->index;
    }
}

/* Pages of a list that goes on while the table changes under it. */
static void list(void)
{
    static uint64_t last;
    struct txn_list_query query = {.limit = 1 + (uint32_t)below(4), .after = world.list_after};

    if (world.list_after == 0)
        last = 0;
    txn_list(world.txn, &query, look, &last, &world.list_after);
}

static void fire(void)
{
    for (int i = 0; txn_deadline(world.txn) <= world.now; i++) {
        assert_true(i < 10000);
        step(&(struct txn_event){.kind = TXN_TIMER});
    }
}

static void start(void)
{
    struct entry noop = {.type = TXN_RECORD_NOOP, .term = ++world.term};

    keep(&world.log, &world.log_count, &noop);
    feed(world.txn, &noop, ++world.index, world.now);
    feed(world.follower, &noop, world.index, 0);
    step(&(struct txn_event){.kind = TXN_LEAD, .term = world.term});
}

/* The process dies. Of what was on its way the log keeps the first few, or nothing. */
static void crash(void)
{
    size_t kept = below(world.pending_count + 1);

    for (int i = 0; i < SESSIONS; i++) {
        if (world.session[i])
            agent_loses_session(world.session[i]);
        world.session[i] = 0;
    }
    for (uint64_t c = 1; c <= world.client_count; c++)
        world.clients[c].answered = true; /* its connection is gone */
    for (size_t i = 0; i < kept; i++) {
        keep(&world.log, &world.log_count, &world.pending[i]);
        read_entry(&world.pending[i]);
        feed(world.follower, &world.pending[i], ++world.index, 0);
    }
    world.pending_count = 0;
    snapshot_end();
    txn_free(world.txn);
    assert_int_equal(txn_new(&world.txn, &world.config), AS_OK);
    for (size_t i = 0; i < world.log_count; i++)
        feed(world.txn, &world.log[i], i + 1, world.now);
    assert_true(txn_digest(world.txn) == txn_digest(world.follower));
    for (int t = 0; t < world.try_count; t++)
        for (int b = 0; b < BRANCHES; b++)
            if (!world.tries[t].twigs[b].heuristic && !world.tries[t].finished)
                world.tries[t].twigs[b].acked = false; /* volatile */
    start();
}

static void something(void)
{
    uint64_t what = below(100);

    world.now += (as_time)below(40) * AS_MS;
    if (what < 20)
        submit();
    else if (what < 55)
        vote_somewhere();
    else if (what < 72 && world.pending_count > 0)
        apply();
    else if (what < 75)
        snapshot();
    else if (what < 78)
        get();
    else if (what < 80)
        forget();
    else if (what < 82)
        list();
    else if (what < 85)
        session_down((int)below(SESSIONS));
    else if (what < 88)
        serve((int)below(SESSIONS));
    else if (what < 90)
        silence((int)below(SESSIONS));
    else if (what < 92)
        inquire_all();
    else if (what < 93)
        acknowledge_all();
    else if (what < 94 && chance(30))
        crash();
    else
        fire();
}

/* Faults end: everything must be finished, and every branch is where its transaction is. */
static void heal(void)
{
    struct txn_counts counts;

    world.healing = true;
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < SESSIONS; i++)
            if (!world.session[i])
                serve(i);
        while (world.pending_count > 0)
            apply();
        inquire_all();
        acknowledge_all();
        world.now += AS_SECOND;
        fire();
    }
    txn_count(world.txn, &counts);
    assert_int_equal(counts.undecided, 0);
    assert_int_equal(counts.unfinished, 0);
    assert_int_equal(counts.heuristic, 0);
    assert_int_equal(world.pending_count, 0);
    for (uint64_t c = 1; c <= world.client_count; c++)
        assert_true(world.clients[c].answered);
    for (int t = 0; t < world.try_count; t++) {
        for (int b = 0; b < BRANCHES; b++) {
            const struct twig *twig = &world.tries[t].twigs[b];

            if (!twig->dispatched || twig->read_only || twig->heuristic || twig->unknown)
                continue;
            assert_int_not_equal(twig->life, PREPARED);
            assert_int_equal(twig->life == COMMITTED, world.tries[t].committed);
        }
    }
}

static int run(uint64_t seed)
{
    int committed;

    memset(&world, 0, sizeof(world));
    world.rng.state = seed;
    world.config.seed = seed;
    if (chance(50)) {
        world.config.outcomes_max = 10;
        world.config.retention_ms = 1;
    }
    world.config.committed_bytes_max = chance(50) ? 600 : 0;
    world.config.lazy_ms = 1 + (uint32_t)below(100);
    assert_int_equal(txn_new(&world.txn, &world.config), AS_OK);
    assert_int_equal(txn_new(&world.follower, &world.config), AS_OK);
    start();
    for (int i = 0; i < SESSIONS; i++)
        serve(i);
    for (int i = 0; i < STEPS; i++)
        something();
    heal();
    committed = world.committed_id_count;
    snapshot_end();
    txn_free(world.txn);
    txn_free(world.follower);
    free(world.pending);
    free(world.log);
    return committed;
}

static uint64_t running; /* the seed under way */

static void test_random(void **state)
{
    const char *only = getenv("ASSENT_SEED"), *count = getenv("ASSENT_SEEDS");
    uint64_t runs = count ? strtoull(count, NULL, 10) : 1500;
    long committed = 0;

    (void)state;
    if (only) {
        run(strtoull(only, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= runs; seed++) {
        running = seed;
        committed += run(seed);
    }
    running = 0;
    assert_true(committed > (long)runs * 5); /* the worlds are not all dead */
}

static int name_the_seed(void **state)
{
    (void)state;
    if (running)
        print_error("failed with ASSENT_SEED=%llu\n", (unsigned long long)running);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_random, name_the_seed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
