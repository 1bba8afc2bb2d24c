/*
 * Scripts for the transaction core: commands in, what the core gives out printed below each. A
 * script file is both the input and the expected output; running it writes the file anew, and the
 * test compares the two.
 *
 *   command words            at the line's beginning
 *     what came of it        indented by two
 *   # a comment
 *
 * Every entry that is applied is also folded by a follower, and by one that is restored from a
 * snapshot now and then; their digests must be equal at each index.
 */
#ifndef ASSENT_TEST_TXN_SCRIPT_H
#define ASSENT_TEST_TXN_SCRIPT_H

#include "../../support/support.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/txn/txn.h"

#define WORDS_MAX 80
#define WALL_START_MS 1700000000000
#define INCARNATION 5

struct script_entry {
    struct script_entry *next;
    struct txn_entry entry;
    bool forced;
    struct as_attempt attempt;
    uint8_t payload[];
};

struct script {
    struct txn *txn;
    struct txn *follower;
    struct txn_config config;
    as_time now;
    int64_t wall_ms;
    uint64_t term;
    uint64_t index;
    int64_t log_time_ms;
    struct script_entry *log, **log_end;         /* applied */
    struct script_entry *pending, **pending_end; /* proposed */
    struct as_buf snapshot;                      /* being written */
    bool snapshot_open;
    char *out; /* malloc */
    size_t out_len, out_cap;
    char *replies; /* of the whole run */
    size_t replies_len, replies_cap;
    bool quick; /* due timers fire after each command: what was put off is done at once */
};

/* --- Text --- */

static void add_text(char **text, size_t *len, size_t *cap, const char *more)
{
    size_t more_len = strlen(more);

    while (*len + more_len + 1 > *cap) {
        *cap = *cap ? *cap * 2 : 4096;
        *text = realloc(*text, *cap);
        assert_non_null(*text);
    }
    memcpy(*text + *len, more, more_len + 1);
    *len += more_len;
}

__attribute__((format(printf, 2, 3))) static void say(struct script *script, const char *format,
                                                      ...)
{
    char text[8192];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    add_text(&script->out, &script->out_len, &script->out_cap, text);
}

static const char *identity_text(const struct as_identity *identity)
{
    static char text[4][8];
    static int turn;
    char *at = text[turn = (turn + 1) % 4];

    snprintf(at, 8, identity->token[0] ? "%c" : "-", identity->token[0]);
    return at;
}

static struct as_identity identity_of(const char *text)
{
    struct as_identity identity = {{0}};

    memset(identity.token, text[0], text[0] ? sizeof(identity.token) : 0);
    return identity;
}

static const char *attempt_text(struct as_attempt attempt)
{
    static char text[4][48];
    static int turn;
    char *at = text[turn = (turn + 1) % 4];

    snprintf(at, 48, "%llu.%llu", (unsigned long long)attempt.term,
             (unsigned long long)attempt.seq);
    return at;
}

static const char *gid_text(const struct as_gid *gid)
{
    static char text[4][AS_GID_LEN_MAX + 1];
    static int turn;
    char *at = text[turn = (turn + 1) % 4];

    as_gid_format(gid, at);
    return at;
}

/* --- What the core gives out --- */

static void say_branch(struct script *script, const struct as_wire_branch *branch)
{
    say(script, " %s/%u slot %u", attempt_text(branch->attempt), branch->number, branch->slot);
}

static void say_send(struct script *script, uint64_t session, const struct as_wire_msg *msg)
{
    say(script, "  send s%llu %s", (unsigned long long)session, as_wire_type_text(msg->type));
    switch (msg->type) {
    case AS_WIRE_EXECUTE:
        say_branch(script, &msg->execute.branch);
        say(script, " %.*s timeout %u work %.*s", (int)msg->execute.id.len, msg->execute.id.data,
            msg->execute.timeout_ms, (int)msg->execute.work.len, msg->execute.work.data);
        break;
    case AS_WIRE_READ_FINISH:
        say_branch(script, &msg->read_finish);
        break;
    case AS_WIRE_COMMIT:
    case AS_WIRE_ABORT:
        say_branch(script, &msg->decision.branch);
        say(script, " %.*s xid %llu identity %s", (int)msg->decision.id.len, msg->decision.id.data,
            (unsigned long long)msg->decision.xid, identity_text(&msg->decision.identity));
        break;
    case AS_WIRE_ANSWER:
        say_branch(script, &msg->answer.branch);
        say(script, " %s", msg->answer.answer == AS_ANSWER_PENDING ? "pending" : "unknown");
        break;
    case AS_WIRE_ROTATE:
        say(script, " slot %u counter %llu", msg->rotate.slot,
            (unsigned long long)msg->rotate.counter);
        break;
    case AS_WIRE_LIST:
        say(script, " slot %u ticket %llu%s%.*s", msg->list.slot,
            (unsigned long long)msg->list.ticket, msg->list.gid.len ? " " : "",
            (int)msg->list.gid.len, msg->list.gid.data);
        break;
    case AS_WIRE_RESOLVE:
        say(script, " slot %u ticket %llu %s %.*s xid %llu", msg->resolve.slot,
            (unsigned long long)msg->resolve.ticket, msg->resolve.commit ? "commit" : "abort",
            (int)msg->resolve.gid.len, msg->resolve.gid.data, (unsigned long long)msg->resolve.xid);
        break;
    default:
        say(script, " ?");
    }
    say(script, "\n");
}

static void say_record(struct script *script, uint8_t type, struct as_bytes payload)
{
    struct txn_record record;

    assert_int_equal(txn_record_take(type, payload, &record), AS_OK);
    switch (record.type) {
    case TXN_RECORD_COMMIT:
        say(script, " %s %s", attempt_text(record.commit.attempt), record.commit.id);
        for (uint32_t i = 0; i < record.commit.branch_count; i++)
            say(script, " [%u participant %u xid %llu identity %s]",
                record.commit.branches[i].number, record.commit.branches[i].participant,
                (unsigned long long)record.commit.branches[i].xid,
                identity_text(&record.commit.branches[i].identity));
        break;
    case TXN_RECORD_FINISH:
        for (uint32_t i = 0; i < record.finish.count; i++)
            say(script, " %s", attempt_text(txn_record_attempt(&record, i)));
        break;
    case TXN_RECORD_ABORT:
        say(script, " %s %s %s", attempt_text(record.abort.attempt), record.abort.id,
            as_reason_text(record.abort.reason.code));
        break;
    case TXN_RECORD_HEURISTIC:
        say(script, " %s/%u %s participant %u %s", attempt_text(record.heuristic.attempt),
            record.heuristic.branch, as_branch_state_text(record.heuristic.what),
            record.heuristic.participant, record.heuristic.id);
        break;
    case TXN_RECORD_ACKNOWLEDGE:
        say(script, " %s/%u who %.*s why %.*s", attempt_text(record.acknowledge.attempt),
            record.acknowledge.branch, (int)record.acknowledge.who.len, record.acknowledge.who.data,
            (int)record.acknowledge.why.len, record.acknowledge.why.data);
        break;
    case TXN_RECORD_HORIZON:
        say(script, " %s", attempt_text(record.horizon));
        break;
    case TXN_RECORD_PARTICIPANT:
        say(script, " %s identity %s counter %llu system %llu timeline %u", record.participant.name,
            identity_text(&record.participant.identity),
            (unsigned long long)record.participant.counter,
            (unsigned long long)record.participant.system_id, record.participant.timeline);
        break;
    case TXN_RECORD_RESOLVE:
        say(script, " participant %u %s %s xid %llu who %.*s why %.*s", record.resolve.participant,
            record.resolve.commit ? "commit" : "abort", gid_text(&record.resolve.gid),
            (unsigned long long)record.resolve.xid, (int)record.resolve.who.len,
            record.resolve.who.data, (int)record.resolve.why.len, record.resolve.why.data);
        break;
    case TXN_RECORD_NOOP:
    case TXN_RECORD_END:
        break;
    }
}

static void say_list(struct script *script, const struct as_prepared_list *list)
{
    say(script, " %s total %u foreign %u", list->participant, list->total, list->foreign);
    for (uint32_t i = 0; i < list->count; i++) {
        const struct as_prepared_view *row = &list->rows[i];

        say(script, " [%.*s xid %llu age %lld %s answer %s]", (int)row->gid.len, row->gid.data,
            (unsigned long long)row->xid, (long long)row->age_ms, as_prepared_text(row->state),
            as_verdict_text(row->verdict));
    }
}

static void say_view(struct script *script, const struct as_txn_view *view)
{
    say(script, " %s %s%s %s", view->id, as_txn_state_text(view->state),
        view->applied ? " applied" : "", attempt_text(view->attempt));
    if (view->index)
        say(script, " index %llu", (unsigned long long)view->index);
    say(script, " created %lld", (long long)(view->created_ms - WALL_START_MS));
    if (view->decided_ms)
        say(script, " decided %lld", (long long)(view->decided_ms - WALL_START_MS));
    for (uint32_t i = 0; i < view->branch_count; i++) {
        const struct as_branch_view *branch = &view->branches[i];

        say(script, " [%u %s %s", branch->number, branch->participant,
            as_branch_state_text(branch->state));
        if (branch->results.data)
            say(script, " %.*s", (int)branch->results.len, branch->results.data);
        say(script, "]");
    }
    if (view->reason)
        say(script, " reason %s branch %u participant %s statement %d sqlstate %s \"%s\"",
            as_reason_text(view->reason->code), view->reason->branch,
            view->reason->participant[0] ? view->reason->participant : "-", view->reason->statement,
            view->reason->sqlstate[0] ? view->reason->sqlstate : "-", view->reason->message);
}

static void say_reply(struct script *script, uint64_t client, const struct as_reply *reply)
{
    static const char *const codes[] = {
#define CODE(name, status, code, text) code,
        AS_REFUSAL_MAP(CODE)
#undef CODE
    };
    size_t from = script->out_len;

    say(script, "  reply c%llu", (unsigned long long)client);
    if (reply->refused)
        say(script, "%s%s refused %s", reply->id[0] ? " " : "", reply->id, codes[reply->refusal]);
    else if (reply->prepared)
        say_list(script, reply->prepared);
    else if (reply->resolved)
        say(script, " %s%s %s at %s", reply->tag ? "" : "proven ",
            reply->resolved->commit ? "committed" : "aborted", gid_text(&reply->resolved->gid),
            reply->resolved->participant);
    else
        say_view(script, reply->view);
    if (reply->detail)
        say(script, " \"%s\"", reply->detail);
    if (reply->view)
        assert_string_equal(reply->id, reply->view->id);
    say(script, "\n");
    add_text(&script->replies, &script->replies_len, &script->replies_cap, script->out + from);
}

static void say_trace(struct script *script, const struct as_trace *trace)
{
    say(script, "  trace %s", as_trace_name(trace->kind));
    if (trace->attempt.term)
        say(script, " %s", attempt_text(trace->attempt));
    if (trace->branch)
        say(script, "/%u", trace->branch);
    if (trace->number)
        say(script, " number %llu", (unsigned long long)trace->number);
    if (trace->id)
        say(script, " id %s", trace->id);
    if (trace->name)
        say(script, " name %s", trace->name);
    if (trace->detail)
        say(script, " \"%s\"", trace->detail);
    say(script, "\n");
}

static void keep_proposal(struct script *script, const struct txn_effect *effect)
{
    struct as_bytes payload = effect->propose.payload;
    struct script_entry *entry = malloc(sizeof(*entry) + payload.len);

    assert_non_null(entry);
    *entry =
        (struct script_entry){.forced = effect->propose.forced, .attempt = effect->propose.attempt};
    entry->entry.type = effect->propose.type;
    entry->entry.term = script->term;
    memcpy(entry->payload, payload.data, payload.len);
    entry->entry.payload = (struct as_bytes){entry->payload, payload.len};
    *script->pending_end = entry;
    script->pending_end = &entry->next;
}

static void say_effects(struct script *script, const struct txn_effects *effects)
{
    for (size_t i = 0; i < effects->count; i++) {
        const struct txn_effect *effect = &effects->list[i];

        switch (effect->kind) {
        case TXN_SEND:
            say_send(script, effect->send.session, &effect->send.msg);
            break;
        case TXN_PROPOSE:
            say(script, "  propose %s%s", txn_record_type_text(effect->propose.type),
                effect->propose.forced ? " forced" : "");
            say_record(script, effect->propose.type, effect->propose.payload);
            say(script, "\n");
            keep_proposal(script, effect);
            break;
        case TXN_REPLY:
            say_reply(script, effect->reply.client, &effect->reply.reply);
            break;
        case TXN_TRACE:
            say_trace(script, &effect->trace);
            break;
        }
    }
}

/* --- Steps --- */

/* A step that found no memory is given again: it must be as if it had not been. */
static void step(struct script *script, struct txn_event *event)
{
    struct txn_effects effects;
    as_err err;

    event->now = script->now;
    event->wall_ms = script->wall_ms;
    err = txn_step(script->txn, event, &effects);
    if (err == AS_ERR_NOMEM && test_allocation_failed())
        err = txn_step(script->txn, event, &effects);
    if (err) {
        say(script, "  error %s\n", as_err_text(err));
        return;
    }
    say_effects(script, &effects);
}

static void fire_due(struct script *script)
{
    for (int i = 0; txn_deadline(script->txn) <= script->now; i++) {
        assert_true(i < 100000);
        step(script, &(struct txn_event){.kind = TXN_TIMER});
    }
}

static struct txn *new_core(struct script *script)
{
    struct txn *txn = NULL;
    as_err err = txn_new(&txn, &script->config);

    if (err)
        err = txn_new(&txn, &script->config);
    assert_int_equal(err, AS_OK);
    return txn;
}

/* Copies a core's table by way of a snapshot, in small pieces. */
static struct txn *copy_core(struct script *script, struct txn *from, size_t target)
{
    struct txn *to;
    struct as_buf buf;
    uint64_t index, term;
    bool done = false;
    as_err err;

again:
    as_buf_init(&buf, SIZE_MAX / 2);
    to = new_core(script);
    done = false;
    err = txn_snapshot_begin(from, &index, &term);
    assert_int_not_equal(err, AS_ERR_BUSY);
    while (!err && !done) {
        err = txn_snapshot_next(from, &buf, target, &done);
        for (size_t at = 0; !err && at < buf.len; at += 7) {
            size_t len = buf.len - at < 7 ? buf.len - at : 7;

            err =
                txn_restore(to, (struct as_bytes){buf.data + at, len}, done && at + len == buf.len);
        }
        as_buf_clear(&buf);
    }
    txn_snapshot_end(from);
    as_buf_close(&buf);
    if (err == AS_ERR_NOMEM && test_allocation_failed()) {
        txn_free(to);
        goto again;
    }
    assert_int_equal(err, AS_OK);
    assert_int_equal(txn_applied_index(to), index);
    assert_int_equal(txn_applied_term(to), term);
    return to;
}

static void follow(struct script *script, const struct txn_entry *entry)
{
    struct txn_event event = {.kind = TXN_APPLY, .entry = *entry};
    struct txn_effects effects;
    as_err err = txn_step(script->follower, &event, &effects);

    if (err == AS_ERR_NOMEM)
        err = txn_step(script->follower, &event, &effects);
    assert_int_equal(err, AS_OK);
    for (size_t i = 0; i < effects.count; i++)
        assert_int_equal(effects.list[i].kind, TXN_TRACE); /* a follower has nothing to say */
    assert_true(txn_digest(script->follower) == txn_digest(script->txn));
    if (entry->index % 3 == 0) {
        struct txn *copy = copy_core(script, script->follower, 100);

        assert_true(txn_digest(copy) == txn_digest(script->follower));
        txn_free(script->follower);
        script->follower = copy;
    }
}

/* Gives an entry to the core, as the log would. Takes it over. */
static void apply_entry(struct script *script, struct script_entry *entry)
{
    struct txn_event event = {.kind = TXN_APPLY};

    entry->next = NULL;
    entry->entry.index = script->index + 1;
    entry->entry.time_ms = script->log_time_ms;
    event.entry = entry->entry;
    step(script, &event);
    if (txn_applied_index(script->txn) != entry->entry.index) {
        free(entry); /* refused: not part of the log */
        return;
    }
    script->index++;
    *script->log_end = entry;
    script->log_end = &entry->next;
    follow(script, &entry->entry);
}

static struct script_entry *take_pending(struct script *script)
{
    struct script_entry *entry = script->pending;

    script->pending = entry->next;
    if (!script->pending)
        script->pending_end = &script->pending;
    return entry;
}

static void apply_pending(struct script *script, int count)
{
    while (script->pending && count-- > 0)
        apply_entry(script, take_pending(script));
}

static struct script_entry *entry_of(const struct txn_record *record, uint64_t term)
{
    struct script_entry *entry = malloc(sizeof(*entry) + 8192);
    struct as_buf buf = {.data = entry->payload, .cap = 8192, .max = 8192};

    assert_non_null(entry);
    memset(entry, 0, sizeof(*entry));
    txn_record_put(&buf, record);
    assert_int_equal(buf.err, AS_OK);
    entry->entry.type = (uint8_t)record->type;
    entry->entry.term = term;
    entry->entry.payload = as_buf_bytes(&buf);
    return entry;
}

/* --- Commands --- */

struct words {
    char *word[WORDS_MAX];
    int count;
};

/* The value of `key=value` among the words, or NULL. */
static const char *option(const struct words *words, const char *key)
{
    size_t len = strlen(key);

    for (int i = 1; i < words->count; i++) {
        if (strncmp(words->word[i], key, len) == 0 && words->word[i][len] == '=')
            return words->word[i] + len + 1;
    }
    return NULL;
}

static uint64_t number(const struct words *words, const char *key, uint64_t otherwise)
{
    const char *text = option(words, key);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

static uint64_t handle_of(const char *word)
{
    return strtoull(word + 1, NULL, 10); /* s1, c1 */
}

static struct as_attempt attempt_of(const char *text)
{
    char *end;
    struct as_attempt attempt;

    attempt.term = strtoull(text, &end, 10);
    attempt.seq = strtoull(end + 1, NULL, 10);
    return attempt;
}

/* "7.1/2" with a slot */
static struct as_wire_branch branch_of(const char *slot, const char *text)
{
    const char *slash = strchr(text, '/');

    return (struct as_wire_branch){.slot = (uint16_t)strtoul(slot, NULL, 10),
                                   .attempt = attempt_of(text),
                                   .number = (uint32_t)strtoul(slash + 1, NULL, 10)};
}

static struct as_bytes bytes_of(const char *text)
{
    return (struct as_bytes){(const uint8_t *)text, text ? strlen(text) : 0};
}

/* submit c1 ID a b:ro [timeout=] [wait=] [body=] */
static void cmd_submit(struct script *script, const struct words *words)
{
    struct as_submit_branch branches[AS_BRANCHES_MAX];
    struct as_submit submit = {.branches = branches};
    const char *wait = option(words, "wait"), *body = option(words, "body");
    char work[WORDS_MAX][32];

    snprintf(submit.id, sizeof(submit.id), "%s", words->word[2]);
    submit.timeout_ms = (uint32_t)number(words, "timeout", 1000);
    submit.wait = !wait || strcmp(wait, "applied") == 0 ? AS_WAIT_APPLIED
                  : strcmp(wait, "decided") == 0        ? AS_WAIT_DECIDED
                                                        : AS_WAIT_NONE;
    memset(submit.body_hash, body ? body[0] : 'x', sizeof(submit.body_hash));
    for (int i = 3; i < words->count; i++) {
        struct as_submit_branch *branch = &branches[submit.branch_count];
        char *colon = strchr(words->word[i], ':');

        if (strchr(words->word[i], '='))
            continue;
        branch->read_only = colon != NULL;
        branch->participant = bytes_of(words->word[i]);
        if (colon)
            branch->participant.len = (size_t)(colon - words->word[i]);
        submit.branch_count++;
        snprintf(work[i], sizeof(work[i]), "w%u", submit.branch_count);
        branch->work = bytes_of(work[i]);
    }
    step(script,
         &(struct txn_event){.kind = TXN_SUBMIT, .submit = {handle_of(words->word[1]), &submit}});
}

/* serve s1 SLOT NAME [identity=] [counter=] [system=] [timeline=] [down] */
static void cmd_serve(struct script *script, const struct words *words)
{
    const char *identity = option(words, "identity");
    struct as_wire_participant facts = {
        .slot = (uint16_t)strtoul(words->word[2], NULL, 10),
        .up = !option(words, "up"),
        .name = bytes_of(words->word[3]),
        .identity = identity_of(identity ? identity : "I"),
        .counter = number(words, "counter", 1),
        .system_id = number(words, "system", 1),
        .timeline = (uint32_t)number(words, "timeline", 1),
    };

    step(script,
         &(struct txn_event){.kind = TXN_SERVE, .serve = {handle_of(words->word[1]), &facts}});
}

static enum as_reason_code reason_of(const char *text)
{
    for (int i = 0; text && i < AS_REASON_COUNT; i++) {
        if (strcmp(text, as_reason_text((enum as_reason_code)i)) == 0)
            return (enum as_reason_code)i;
    }
    return AS_REASON_STATEMENT_FAILED;
}

/* vote s1 SLOT 7.1/1 yes|no|ready|read_only [xid=] [identity=] [results=] [code=] [sqlstate=] */
static void cmd_vote(struct script *script, const struct words *words)
{
    static const char *const votes[] = {"", "no", "yes", "ready", "read_only"};
    const char *identity = option(words, "identity"), *sqlstate = option(words, "sqlstate");
    const char *message = option(words, "message");
    struct as_wire_vote vote = {
        .branch = branch_of(words->word[2], words->word[3]),
        .xid = number(words, "xid", 100),
        .identity = identity_of(identity ? identity : "I"),
        .results = bytes_of(option(words, "results")),
        .code = reason_of(option(words, "code")),
        .statement = (int32_t)number(words, "statement", 0),
        .message = bytes_of(message ? message : "refused"),
    };

    for (int i = 1; i < 5; i++)
        if (strcmp(words->word[4], votes[i]) == 0)
            vote.vote = (enum as_vote)i;
    if (sqlstate)
        snprintf(vote.sqlstate, sizeof(vote.sqlstate), "%s", sqlstate);
    step(script, &(struct txn_event){.kind = TXN_VOTE, .vote = {handle_of(words->word[1]), &vote}});
}

/* ack s1 SLOT 7.1/1 WHAT */
static void cmd_ack(struct script *script, const struct words *words)
{
    static const char *const acks[] = {
        "",           "committed", "aborted", "heuristic_abort", "heuristic_commit", "lost_prepare",
        "unverified", "retry"};
    struct as_wire_ack ack = {.branch = branch_of(words->word[2], words->word[3])};

    for (int i = 1; i < 8; i++)
        if (strcmp(words->word[4], acks[i]) == 0)
            ack.ack = (enum as_ack)i;
    step(script, &(struct txn_event){.kind = TXN_ACK, .ack = {handle_of(words->word[1]), &ack}});
}

/* inquire s1 SLOT 7.1/1 ID */
static void cmd_inquire(struct script *script, const struct words *words)
{
    struct as_wire_inquire inquire = {.branch = branch_of(words->word[2], words->word[3]),
                                      .id = bytes_of(words->word[4])};

    step(script, &(struct txn_event){.kind = TXN_INQUIRE,
                                     .inquire = {handle_of(words->word[1]), &inquire}});
}

/* "7.1/2/x", or "6:7.1/2/x" of another incarnation */
static struct as_gid gid_of(const char *text)
{
    const char *colon = strchr(text, ':');
    struct as_gid gid;
    char whole[300];

    snprintf(whole, sizeof(whole), "assent/demo/%016x/%s",
             colon ? (unsigned)strtoul(text, NULL, 16) : INCARNATION, colon ? colon + 1 : text);
    assert_int_equal(as_gid_parse(whole, strlen(whole), &gid), AS_OK);
    return gid;
}

/* The same as text; "foreign:x" is "x" as it stands. Valid until the next step. */
static struct as_bytes row_gid(const char *text)
{
    static char kept[16][AS_GID_LEN_MAX + 1];
    static int next;
    char *gid = kept[next++ % 16];

    if (strncmp(text, "foreign:", 8) == 0) {
        snprintf(gid, sizeof(kept[0]), "%s", text + 8);
    } else {
        struct as_gid parts = gid_of(text);

        as_gid_format(&parts, gid);
    }
    return bytes_of(gid);
}

/* resolve c1 NAME GID commit|abort [other=1] */
static void cmd_resolve(struct script *script, const struct words *words)
{
    struct as_resolve resolve = {
        .participant = words->word[2],
        .gid = gid_of(words->word[3]),
        .commit = strcmp(words->word[4], "commit") == 0,
        .other_incarnation = option(words, "other") != NULL,
        .who = bytes_of("ann"),
        .why = bytes_of("ticket 812"),
    };

    step(script,
         &(struct txn_event){.kind = TXN_RESOLVE,
                             .resolve = {handle_of(words->word[1]), &resolve, INCARNATION}});
}

static enum as_asked asked_of(const char *text)
{
    static const char *const all[] = {"",     "done",    "gone", "otherwise", "replaced",
                                      "busy", "refused", "down", "unknown"};

    for (int i = 1; i < 9; i++)
        if (strcmp(text, all[i]) == 0)
            return (enum as_asked)i;
    fail_msg("no such answer: %s", text);
    return AS_ASKED_DONE;
}

/* listed s1 TICKET WHAT [message=] [total=] [foreign=] [row=GID|foreign:TEXT,XID,AGE[,waits]]... */
static void cmd_listed(struct script *script, const struct words *words)
{
    uint8_t memory[4096];
    struct as_buf rows = {.data = memory, .cap = sizeof(memory), .max = sizeof(memory)};
    struct as_wire_listed listed = {
        .ticket = strtoull(words->word[2], NULL, 10),
        .asked = asked_of(words->word[3]),
        .total = (uint32_t)number(words, "total", 0),
        .foreign = (uint32_t)number(words, "foreign", 0),
        .message = bytes_of(option(words, "message")),
    };

    for (int i = 4; i < words->count; i++) {
        struct as_wire_prepared row = {0};
        char *comma = strchr(words->word[i], ',');

        if (strncmp(words->word[i], "row=", 4) != 0)
            continue;
        *comma = 0;
        row.gid = row_gid(words->word[i] + 4);
        row.xid = strtoull(comma + 1, &comma, 10);
        row.age_ms = strtoll(comma + 1, &comma, 10);
        row.waits = *comma != 0;
        as_wire_prepared_put(&rows, &row);
    }
    listed.rows = as_buf_bytes(&rows);
    step(script,
         &(struct txn_event){.kind = TXN_LISTED, .listed = {handle_of(words->word[1]), &listed}});
}

/* resolved s1 TICKET WHAT [tag=0] [message=] */
static void cmd_resolved(struct script *script, const struct words *words)
{
    struct as_wire_resolved resolved = {
        .ticket = strtoull(words->word[2], NULL, 10),
        .asked = asked_of(words->word[3]),
        .tag = number(words, "tag", 1) != 0,
        .message = bytes_of(option(words, "message")),
    };

    step(script, &(struct txn_event){.kind = TXN_RESOLVED,
                                     .resolved = {handle_of(words->word[1]), &resolved}});
}

/* entry TERM commit 7.1 ID [participants=0,1] | abort 7.1 ID | horizon 7.1 | finish 7.1 | noop
 *       | heuristic 7.1/1 ID | resolve GID: what another leader, or a faulty one, left in the log */
static void cmd_entry(struct script *script, const struct words *words)
{
    struct txn_record record = {.type = TXN_RECORD_NOOP};
    const char *what = words->word[2];
    uint8_t attempt[16];
    struct as_buf buf = {.data = attempt, .cap = 16, .max = 16};

    if (strcmp(what, "commit") == 0) {
        record.type = TXN_RECORD_COMMIT;
        record.commit.attempt = attempt_of(words->word[3]);
        snprintf(record.commit.id, sizeof(record.commit.id), "%s", words->word[4]);
        memset(record.commit.body_hash, 'x', sizeof(record.commit.body_hash));
        record.commit.created_ms = record.commit.decided_ms = script->wall_ms;
        record.commit.branch_count = 1;
        record.commit.branches[0] = (struct txn_record_branch){
            .number = 1,
            .participant = (uint32_t)number(words, "participant", 0),
            .xid = number(words, "xid", 100),
            .identity = identity_of("I"),
        };
    } else if (strcmp(what, "abort") == 0) {
        record.type = TXN_RECORD_ABORT;
        record.abort.attempt = attempt_of(words->word[3]);
        snprintf(record.abort.id, sizeof(record.abort.id), "%s", words->word[4]);
        as_reason_set(&record.abort.reason, AS_REASON_TIMEOUT, "from the log");
    } else if (strcmp(what, "horizon") == 0) {
        record.type = TXN_RECORD_HORIZON;
        record.horizon = attempt_of(words->word[3]);
    } else if (strcmp(what, "finish") == 0) {
        record.type = TXN_RECORD_FINISH;
        as_put_u64(&buf, attempt_of(words->word[3]).term);
        as_put_u64(&buf, attempt_of(words->word[3]).seq);
        record.finish.count = 1;
        record.finish.attempts = as_buf_bytes(&buf);
    } else if (strcmp(what, "heuristic") == 0) {
        struct as_wire_branch branch = branch_of("0", words->word[3]);

        record.type = TXN_RECORD_HEURISTIC;
        record.heuristic.attempt = branch.attempt;
        record.heuristic.branch = branch.number;
        record.heuristic.what = AS_BRANCH_HEURISTIC_COMMIT;
        snprintf(record.heuristic.id, sizeof(record.heuristic.id), "%s", words->word[4]);
    }
    if (strcmp(what, "resolve") == 0) {
        record.type = TXN_RECORD_RESOLVE;
        record.resolve.participant = (uint32_t)number(words, "participant", 0);
        record.resolve.gid = gid_of(words->word[3]);
        record.resolve.who = bytes_of("bob");
        record.resolve.why = bytes_of("on another node");
    }
    apply_entry(script, entry_of(&record, strtoull(words->word[1], NULL, 10)));
}

static void lead(struct script *script, uint64_t term)
{
    script->term = term;
    apply_entry(script, entry_of(&(struct txn_record){.type = TXN_RECORD_NOOP}, term));
    step(script, &(struct txn_event){.kind = TXN_LEAD, .term = term});
}

static void forget_pending(struct script *script)
{
    while (script->pending)
        free(take_pending(script));
}

/* The process died: a new core reads the log again. Sessions and waiters are gone with it. */
static void restart(struct script *script)
{
    const struct script_entry *entry;

    txn_free(script->txn);
    script->txn = new_core(script);
    for (entry = script->log; entry; entry = entry->next) {
        struct txn_event event = {.kind = TXN_APPLY, .entry = entry->entry};
        struct txn_effects effects;
        as_err err = txn_step(script->txn, &event, &effects);

        if (err == AS_ERR_NOMEM)
            err = txn_step(script->txn, &event, &effects);
        assert_int_equal(err, AS_OK);
    }
    assert_true(txn_digest(script->txn) == txn_digest(script->follower));
    forget_pending(script);
}

struct list_print {
    struct script *script;
};

static void print_listed(void *ctx, const struct as_txn_view *view)
{
    struct script *script = ((struct list_print *)ctx)->script;

    say(script, " ");
    say_view(script, view);
    say(script, "\n");
}

/* list [state=] [participant=] [limit=]: pages until the end */
static void cmd_list(struct script *script, const struct words *words)
{
    static const char *const states[] = {"any",     "active",  "preparing", "committed",
                                         "aborted", "pending", "heuristic"};
    struct txn_list_query query = {.participant = option(words, "participant"),
                                   .limit = (uint32_t)number(words, "limit", 100)};
    const char *state = option(words, "state");
    struct list_print print = {script};

    for (int i = 0; state && i < 7; i++)
        if (strcmp(state, states[i]) == 0)
            query.state = (enum txn_list_state)i;
    do {
        txn_list(script->txn, &query, print_listed, &print, &query.after);
        if (query.after)
            say(script, "  more\n");
    } while (query.after);
}

static void print_participant(void *ctx, const struct txn_participant_view *view)
{
    say(ctx, "  %s identity %s counter %llu sessions %u unfinished %u undecided %u\n", view->name,
        identity_text(&view->identity), (unsigned long long)view->counter, view->sessions,
        view->unfinished, view->undecided);
}

static void cmd_counts(struct script *script)
{
    struct txn_counts counts;

    txn_count(script->txn, &counts);
    say(script,
        "  undecided %u unfinished %u heuristic %u outcomes %u committed %llu finished %llu "
        "inquiries %llu alarms %llu",
        counts.undecided, counts.unfinished, counts.heuristic, counts.outcomes,
        (unsigned long long)counts.committed, (unsigned long long)counts.finished,
        (unsigned long long)counts.inquiries, (unsigned long long)counts.alarms);
    if (counts.resolved_commit + counts.resolved_abort)
        say(script, " resolved commit %llu abort %llu", (unsigned long long)counts.resolved_commit,
            (unsigned long long)counts.resolved_abort);
    say(script, " aborted");
    for (int i = 0; i < AS_REASON_COUNT; i++)
        if (counts.aborted[i])
            say(script, " %s %llu", as_reason_text((enum as_reason_code)i),
                (unsigned long long)counts.aborted[i]);
    say(script, "\n");
}

/* snapshot begin | some BYTES | end: while the table goes on */
static void cmd_snapshot(struct script *script, const struct words *words)
{
    static uint64_t digest;
    uint64_t index, term;
    struct txn *copy;
    bool done = false;
    as_err err;

    if (strcmp(words->word[1], "begin") == 0) {
        as_buf_init(&script->snapshot, SIZE_MAX / 2);
        err = txn_snapshot_begin(script->txn, &index, &term);
        if (err)
            err = txn_snapshot_begin(script->txn, &index, &term);
        assert_int_equal(err, AS_OK);
        assert_int_equal(txn_snapshot_begin(script->txn, &index, &term), AS_ERR_BUSY);
        script->snapshot_open = true;
        digest = txn_digest(script->txn);
        say(script, "  at index %llu\n", (unsigned long long)index);
        return;
    }
    if (!script->snapshot_open)
        return;
    if (strcmp(words->word[1], "some") == 0) {
        err = txn_snapshot_next(script->txn, &script->snapshot, strtoul(words->word[2], NULL, 10),
                                &done);
        assert_false(done);
    } else {
        do
            err = txn_snapshot_next(script->txn, &script->snapshot, 1, &done);
        while (!err && !done);
    }
    if (err) { /* out of memory: it is given up, the table goes on */
        assert_true(test_allocation_failed());
        txn_snapshot_end(script->txn);
        as_buf_close(&script->snapshot);
        script->snapshot_open = false;
        return;
    }
    if (!done)
        return;
    txn_snapshot_end(script->txn);
    copy = new_core(script);
    err = txn_restore(copy, as_buf_bytes(&script->snapshot), true);
    if (err == AS_ERR_NOMEM && test_allocation_failed()) {
        txn_free(copy);
        copy = new_core(script);
        err = txn_restore(copy, as_buf_bytes(&script->snapshot), true);
    }
    assert_int_equal(err, AS_OK);
    assert_true(txn_digest(copy) == digest);
    /* What came after it makes both equal again. */
    for (struct script_entry *entry = script->log; entry; entry = entry->next) {
        struct txn_event event = {.kind = TXN_APPLY, .entry = entry->entry};
        struct txn_effects effects;

        if (entry->entry.index <= txn_applied_index(copy))
            continue;
        err = txn_step(copy, &event, &effects);
        if (err == AS_ERR_NOMEM)
            err = txn_step(copy, &event, &effects);
        assert_int_equal(err, AS_OK);
    }
    assert_true(txn_digest(copy) == txn_digest(script->txn));
    txn_free(copy);
    as_buf_close(&script->snapshot);
    script->snapshot_open = false;
}

/* config key=value ...: before anything else; a new core */
static void cmd_config(struct script *script, const struct words *words)
{
    script->config.undecided_max = (uint32_t)number(words, "undecided_max", 0);
    script->config.outcomes_max = (uint32_t)number(words, "outcomes_max", 0);
    script->config.retention_ms = (uint32_t)number(words, "retention_ms", 0);
    script->config.committed_bytes_max = number(words, "committed_bytes_max", 0);
    script->config.lazy_ms = (uint32_t)number(words, "lazy_ms", 0);
    script->config.resend_first_ms = (uint32_t)number(words, "resend_first_ms", 0);
    script->config.resend_max_ms = (uint32_t)number(words, "resend_max_ms", 0);
    txn_free(script->txn);
    txn_free(script->follower);
    script->txn = new_core(script);
    script->follower = new_core(script);
}

/* Moves the clocks without anything happening. */
static void pass(struct script *script, uint64_t ms)
{
    script->now += (as_time)ms * AS_MS;
    script->wall_ms += (int64_t)ms;
    script->log_time_ms += (int64_t)ms;
}

/* wait MS: time goes by and timers fire when they are due */
static void cmd_wait(struct script *script, uint64_t ms)
{
    as_time until = script->now + (as_time)ms * AS_MS;

    while (txn_deadline(script->txn) <= until) {
        as_time at = txn_deadline(script->txn);

        if (at > script->now) {
            as_time by = (at - script->now + AS_MS - 1) / AS_MS;

            say(script, "  after %lld ms\n", (long long)by);
            pass(script, (uint64_t)by);
        }
        fire_due(script);
    }
    if (until > script->now)
        pass(script, (uint64_t)((until - script->now) / AS_MS));
}

static void run_command(struct script *script, const struct words *words)
{
    const char *command = words->word[0];
    const char *one = words->count > 1 ? words->word[1] : "";

    if (strcmp(command, "config") == 0)
        cmd_config(script, words);
    else if (strcmp(command, "lead") == 0)
        lead(script, strtoull(one, NULL, 10));
    else if (strcmp(command, "resign") == 0)
        step(script, &(struct txn_event){.kind = TXN_RESIGN});
    else if (strcmp(command, "serve") == 0)
        cmd_serve(script, words);
    else if (strcmp(command, "unserve") == 0)
        step(script,
             &(struct txn_event){.kind = TXN_UNSERVE,
                                 .unserve = {handle_of(one), (uint16_t)atoi(words->word[2])}});
    else if (strcmp(command, "silent") == 0 || strcmp(command, "heard") == 0)
        step(script,
             &(struct txn_event){.kind = TXN_SILENT,
                                 .silent = {handle_of(one), strcmp(command, "silent") == 0}});
    else if (strcmp(command, "down") == 0)
        step(script, &(struct txn_event){.kind = TXN_SESSION_DOWN, .session = handle_of(one)});
    else if (strcmp(command, "submit") == 0)
        cmd_submit(script, words);
    else if (strcmp(command, "get") == 0)
        step(script, &(struct txn_event){.kind = TXN_GET,
                                         .get = {handle_of(one), words->word[2],
                                                 (uint32_t)number(words, "wait", 0)}});
    else if (strcmp(command, "forget") == 0)
        step(script, &(struct txn_event){.kind = TXN_FORGET, .client = handle_of(one)});
    else if (strcmp(command, "vote") == 0)
        cmd_vote(script, words);
    else if (strcmp(command, "ack") == 0)
        cmd_ack(script, words);
    else if (strcmp(command, "inquire") == 0)
        cmd_inquire(script, words);
    else if (strcmp(command, "acknowledge") == 0)
        step(script, &(struct txn_event){.kind = TXN_ACKNOWLEDGE,
                                         .acknowledge = {handle_of(one), words->word[2],
                                                         (uint32_t)atoi(words->word[3]),
                                                         bytes_of("op"), bytes_of("seen")}});
    else if (strcmp(command, "prepared") == 0)
        step(script, &(struct txn_event){
                         .kind = TXN_PREPARED,
                         .prepared = {handle_of(one), words->word[2], "demo", INCARNATION}});
    else if (strcmp(command, "resolve") == 0)
        cmd_resolve(script, words);
    else if (strcmp(command, "listed") == 0)
        cmd_listed(script, words);
    else if (strcmp(command, "resolved") == 0)
        cmd_resolved(script, words);
    else if (strcmp(command, "apply") == 0)
        apply_pending(script, words->count > 1 ? atoi(one) : 1000000);
    else if (strcmp(command, "lose") == 0)
        forget_pending(script);
    else if (strcmp(command, "refuse") == 0)
        step(script, &(struct txn_event){.kind = TXN_REFUSED,
                                         .refused = {attempt_of(one), AS_REFUSAL_DISK_FULL}});
    else if (strcmp(command, "entry") == 0)
        cmd_entry(script, words);
    else if (strcmp(command, "timer") == 0)
        fire_due(script);
    else if (strcmp(command, "pass") == 0)
        pass(script, strtoull(one, NULL, 10));
    else if (strcmp(command, "wall") == 0)
        script->wall_ms = strtoll(one, NULL, 10);
    else if (strcmp(command, "wait") == 0)
        cmd_wait(script, strtoull(one, NULL, 10));
    else if (strcmp(command, "restart") == 0)
        restart(script);
    else if (strcmp(command, "list") == 0)
        cmd_list(script, words);
    else if (strcmp(command, "participants") == 0)
        txn_participants(script->txn, print_participant, script);
    else if (strcmp(command, "counts") == 0)
        cmd_counts(script);
    else if (strcmp(command, "snapshot") == 0)
        cmd_snapshot(script, words);
    else
        fail_msg("no such command: %s", command);
    if (script->quick)
        fire_due(script);
}

static void run_line(struct script *script, const char *line)
{
    char copy[1024];
    struct words words = {.count = 0};
    char *save = NULL;

    snprintf(copy, sizeof(copy), "%s", line);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        assert_true(words.count < WORDS_MAX);
        words.word[words.count++] = word;
    }
    run_command(script, &words);
}

static void script_open(struct script *script)
{
    memset(script, 0, sizeof(*script));
    script->config.seed = 1;
    script->wall_ms = WALL_START_MS;
    script->log_end = &script->log;
    script->pending_end = &script->pending;
    script->txn = new_core(script);
    script->follower = new_core(script);
}

static void script_close(struct script *script)
{
    if (script->snapshot_open)
        as_buf_close(&script->snapshot);
    txn_free(script->txn);
    txn_free(script->follower);
    forget_pending(script);
    while (script->log) {
        struct script_entry *entry = script->log;

        script->log = entry->next;
        free(entry);
    }
    free(script->out);
    free(script->replies);
}

/* Runs the commands of `text`; the whole file as it should be is in script->out. */
static void run_text(struct script *script, const char *text)
{
    while (*text) {
        const char *end = strchr(text, '\n');
        size_t len = end ? (size_t)(end - text) : strlen(text);
        char line[1024];

        assert_true(len < sizeof(line));
        memcpy(line, text, len);
        line[len] = 0;
        text += len + (end != NULL);
        if (strncmp(line, "  ", 2) == 0)
            continue; /* what came of it last time */
        say(script, "%s\n", line);
        if (line[0] && line[0] != '#')
            run_line(script, line);
    }
}

#endif
