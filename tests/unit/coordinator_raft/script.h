/*
 * Scripts for the consensus core: one node, its peers' messages and its disk are commands; what the
 * core gives out is printed below each. A script file is both the input and the expected output.
 *
 *   command words            at the line's beginning
 *     what came of it        indented by two
 *   # a comment
 *
 *   node 1 members 1 2 3l      a new core with this id and these founders (l: a learner)
 *   load vote 3 for 2 | load entry 5/2 x | load snapshot 4/2 members 1 2 3 | load truncate 5
 *   start
 *   from 2 <message>           see say_message for the words; they are read as they are printed
 *   persisted [n]              the writes up to n, or all, are durable
 *   refused n                  the log had no room for that write
 *   propose x [term 3], flush, read 7, transfer 2, add 4, promote 4, remove 4, up 2, down 2
 *   taken 5/2, chunk 2 5 0 [last] x, stored 5 0, installed 5/2, failed 5
 *   timer                      the clock moves to the deadline, and it fires
 *   wait 100                   the clock moves by so many ms, nothing else
 *   look                       prints the state
 *
 * An entry is index/term:what, or term:what where its index is plain; "what" is the payload, noop,
 * or members=1,2,3l.
 */
#ifndef ASSENT_TEST_RAFT_SCRIPT_H
#define ASSENT_TEST_RAFT_SCRIPT_H

#include "../../support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/raft/raft.h"

#define WORDS_MAX 40

struct script {
    struct raft *raft;
    struct raft_config config;
    as_time now;
    uint64_t writes; /* given out */
    char *out;       /* malloc */
    size_t out_len, out_cap;
    char *words[WORDS_MAX];
    int word_count, at;
    bool in_log; /* entries of this step, that were given to the log */
};

/* --- Text --- */

__attribute__((format(printf, 2, 3))) static void say(struct script *script, const char *format,
                                                      ...)
{
    char text[2048];
    size_t len;
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    len = strlen(text);
    while (script->out_len + len + 1 > script->out_cap) {
        script->out_cap = script->out_cap ? script->out_cap * 2 : 4096;
        script->out = realloc(script->out, script->out_cap);
        assert_non_null(script->out);
    }
    memcpy(script->out + script->out_len, text, len + 1);
    script->out_len += len;
}

static unsigned long long u(uint64_t number)
{
    return (unsigned long long)number;
}

static void say_members(struct script *script, struct as_bytes payload, char between)
{
    struct raft_members members;

    assert_int_equal(raft_members_take(payload, &members), AS_OK);
    for (uint32_t i = 0; i < members.count; i++)
        say(script, "%.*s%llu%s", i > 0, &between, u(members.list[i].id),
            members.list[i].role == RAFT_VOTER ? "" : "l");
}

static void say_entry(struct script *script, const struct raft_entry *entry)
{
    say(script, " %llu/%llu:", u(entry->index), u(entry->term));
    if (entry->type == RAFT_ENTRY_NOOP)
        say(script, "noop");
    else if (entry->type == RAFT_ENTRY_MEMBERS) {
        say(script, "members=");
        say_members(script, entry->payload, ',');
    } else {
        say(script, "%.*s", (int)entry->payload.len, entry->payload.data);
    }
}

static void say_message(struct script *script, const struct raft_message *message)
{
    struct as_reader in;
    struct raft_entry entry;
    uint64_t index;

    say(script, "%s term %llu", raft_message_text(message->type), u(message->term));
    switch (message->type) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE:
        say(script, " last %llu/%llu%s", u(message->vote.last_index), u(message->vote.last_term),
            message->vote.transfer ? " transfer" : "");
        break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        say(script, message->vote_reply.granted ? " granted" : " refused");
        break;
    case RAFT_APPEND:
        say(script, " prev %llu/%llu commit %llu round %llu%s", u(message->append.prev_index),
            u(message->append.prev_term), u(message->append.commit), u(message->append.round),
            message->append.voter ? "" : " learner");
        in = as_reader_of(message->append.entries);
        for (index = message->append.prev_index + 1; raft_entry_take(&in, &entry); index++) {
            entry.index = index;
            say_entry(script, &entry);
        }
        break;
    case RAFT_ACK:
        say(script, " match %llu round %llu", u(message->ack.match), u(message->ack.round));
        break;
    case RAFT_REJECT:
        say(script, " prev %llu hint %llu/%llu round %llu", u(message->reject.prev_index),
            u(message->reject.hint_index), u(message->reject.hint_term), u(message->reject.round));
        break;
    case RAFT_SNAPSHOT:
        say(script, " index %llu/%llu chunk %u%s%s members=", u(message->snapshot.index),
            u(message->snapshot.snapshot_term), message->snapshot.chunk,
            message->snapshot.last ? " last" : "", message->snapshot.voter ? "" : " learner");
        say_members(script, message->snapshot.members, ',');
        say(script, " bytes %.*s", (int)message->snapshot.bytes.len, message->snapshot.bytes.data);
        break;
    case RAFT_SNAPSHOT_REPLY:
        say(script, " index %llu chunk %u", u(message->snapshot_reply.index),
            message->snapshot_reply.chunk);
        break;
    case RAFT_TIMEOUT_NOW:
    case RAFT_MESSAGE_COUNT:
        break;
    }
    say(script, "\n");
}

static void say_range(struct script *script, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++) {
        struct raft_entry entry;

        assert_int_equal(raft_entry(script->raft, i, &entry), AS_OK);
        say_entry(script, &entry);
    }
    say(script, "\n");
}

static const char *role_text(enum raft_role role)
{
    static const char *const texts[] = {"follower", "pre-candidate", "candidate", "leader"};

    return texts[role];
}

static void say_effect(struct script *script, const struct raft_effect *effect)
{
    switch (effect->kind) {
    case RAFT_SEND:
        say(script, "  to %llu ", u(effect->send.to));
        say_message(script, &effect->send.message);
        break;
    case RAFT_WRITE_VOTE:
        say(script, "  write %llu: vote term %llu for %llu\n", u(effect->vote.write),
            u(effect->vote.term), u(effect->vote.voted_for));
        script->writes = effect->vote.write;
        break;
    case RAFT_WRITE_TRUNCATE:
        say(script, "  write %llu: truncate from %llu\n", u(effect->truncate.write),
            u(effect->truncate.first));
        script->writes = effect->truncate.write;
        break;
    case RAFT_WRITE_ENTRIES:
        say(script, "  write %llu:", u(effect->entries.write));
        say_range(script, effect->entries.first, effect->entries.first + effect->entries.count - 1);
        script->writes = effect->entries.write + effect->entries.count - 1;
        break;
    case RAFT_COMMITTED:
        say(script, "  committed");
        say_range(script, effect->committed.first, effect->committed.last);
        break;
    case RAFT_ROLE_CHANGED:
        say(script, "  %s of term %llu, leader %llu\n", role_text(effect->role.role),
            u(effect->role.term), u(effect->role.leader));
        break;
    case RAFT_READ_READY:
        say(script, "  read %llu at index %llu\n", u(effect->read.request), u(effect->read.index));
        break;
    case RAFT_READ_REFUSED:
        say(script, "  read %llu refused\n", u(effect->read.request));
        break;
    case RAFT_SNAPSHOT_READ:
        say(script, "  read chunk %u of snapshot %llu for %llu\n", effect->snapshot_read.chunk,
            u(effect->snapshot_read.index), u(effect->snapshot_read.peer));
        break;
    case RAFT_SNAPSHOT_WRITE:
        say(script, "  store chunk %u of snapshot %llu/%llu%s: %.*s\n",
            effect->snapshot_write.chunk, u(effect->snapshot_write.index),
            u(effect->snapshot_write.term), effect->snapshot_write.last ? " last" : "",
            (int)effect->snapshot_write.bytes.len, effect->snapshot_write.bytes.data);
        break;
    case RAFT_SNAPSHOT_DROP:
        say(script, "  drop the snapshot\n");
        break;
    case RAFT_TRACE:
        say(script, "  trace %s %llu\n", as_trace_name(effect->trace.kind),
            u(effect->trace.number));
        break;
    }
}

/* --- Steps --- */

/* A step that found no memory is given again: it must be as if it had not been. */
static void step(struct script *script, struct raft_event event)
{
    struct raft_effects effects;
    as_err err;

    event.now = script->now;
    err = raft_step(script->raft, &event, &effects);
    if (err == AS_ERR_NOMEM && test_allocation_failed())
        err = raft_step(script->raft, &event, &effects);
    if (err) {
        say(script, "  error: %s\n", as_err_text(err));
        return;
    }
    if (effects.refusal)
        say(script, "  refused: %s\n", raft_refusal_text(effects.refusal));
    for (size_t i = 0; i < effects.count; i++)
        say_effect(script, &effects.list[i]);
}

/* --- Words --- */

static const char *next(struct script *script)
{
    return script->at < script->word_count ? script->words[script->at++] : "";
}

/* Takes the word if it is this one. */
static bool has(struct script *script, const char *word)
{
    if (script->at == script->word_count || strcmp(script->words[script->at], word) != 0)
        return false;
    script->at++;
    return true;
}

static uint64_t number(struct script *script)
{
    return strtoull(next(script), NULL, 10);
}

static uint64_t after(struct script *script, const char *word)
{
    return has(script, word) ? number(script) : 0;
}

static void pair(const char *word, uint64_t *ret_index, uint64_t *ret_term)
{
    char *slash;

    *ret_index = strtoull(word, &slash, 10);
    *ret_term = *slash == '/' ? strtoull(slash + 1, NULL, 10) : 0;
}

static struct as_bytes text_bytes(const char *text)
{
    return (struct as_bytes){(const uint8_t *)text, strlen(text)};
}

/* "1", "2", "3l": up to the next word that is no number; or "1,2,3l" in one word. */
static struct raft_members members_of(const char *text)
{
    struct raft_members members = {0};

    while (*text >= '0' && *text <= '9') {
        struct raft_member *member = &members.list[members.count++];
        char *end;

        member->id = strtoull(text, &end, 10);
        member->role = *end == 'l' ? RAFT_LEARNER : RAFT_VOTER;
        text = end + (*end == 'l');
        text += *text == ',';
    }
    return members;
}

static struct raft_members read_members(struct script *script)
{
    struct raft_members members = {0};

    while (script->at < script->word_count && script->words[script->at][0] >= '0' &&
           script->words[script->at][0] <= '9') {
        struct raft_members one = members_of(next(script));

        members.list[members.count++] = one.list[0];
    }
    return members;
}

/* "2:x", "3/2:x", "2:noop", "2:members=1,2". `room` holds an encoded list of members. */
static struct raft_entry entry_of(const char *word, struct as_buf *room)
{
    struct raft_entry entry = {.type = 2};
    const char *what = strchr(word, ':');
    const char *slash = strchr(word, '/');

    assert_non_null(what);
    entry.term = strtoull(slash && slash < what ? slash + 1 : word, NULL, 10);
    entry.index = slash && slash < what ? strtoull(word, NULL, 10) : 0;
    entry.payload = text_bytes(++what);
    if (strcmp(what, "noop") == 0) {
        entry.type = RAFT_ENTRY_NOOP;
        entry.payload.len = 0;
    } else if (strncmp(what, "members=", 8) == 0) {
        struct raft_members members = members_of(what + 8);

        as_buf_clear(room);
        raft_members_put(room, &members);
        assert_int_equal(room->err, AS_OK);
        entry.type = RAFT_ENTRY_MEMBERS;
        entry.payload = as_buf_bytes(room);
    }
    return entry;
}

/* --- Messages --- */

/* A buffer over memory of its own: the allocator's failures are for the core. */
static struct as_buf fixed(uint8_t *bytes, size_t size)
{
    return (struct as_buf){.data = bytes, .cap = size, .max = size};
}

static void read_append(struct script *script, struct raft_message *message, struct as_buf *bytes)
{
    uint8_t members[2600];
    struct as_buf room = fixed(members, sizeof(members));

    if (has(script, "prev"))
        pair(next(script), &message->append.prev_index, &message->append.prev_term);
    message->append.commit = after(script, "commit");
    message->append.round = after(script, "round");
    message->append.voter = !has(script, "learner");
    for (; script->at < script->word_count; message->append.count++) {
        struct raft_entry entry = entry_of(next(script), &room);

        raft_entry_put(bytes, &entry);
    }
    message->append.entries = as_buf_bytes(bytes);
}

static void read_snapshot(struct script *script, struct raft_message *message, struct as_buf *bytes)
{
    struct raft_members members;

    if (has(script, "index"))
        pair(next(script), &message->snapshot.index, &message->snapshot.snapshot_term);
    message->snapshot.chunk = (uint32_t)after(script, "chunk");
    message->snapshot.last = has(script, "last");
    message->snapshot.voter = !has(script, "learner");
    members = members_of(next(script) + strlen("members="));
    raft_members_put(bytes, &members);
    message->snapshot.members = as_buf_bytes(bytes);
    if (has(script, "bytes"))
        message->snapshot.bytes = text_bytes(next(script));
    message->snapshot.checksum =
        raft_chunk_checksum(message->snapshot.index, message->snapshot.chunk,
                            message->snapshot.last, message->snapshot.bytes);
    if (has(script, "damaged"))
        message->snapshot.checksum++;
}

static void read_body(struct script *script, struct raft_message *message, struct as_buf *bytes)
{
    switch (message->type) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE:
        if (has(script, "last"))
            pair(next(script), &message->vote.last_index, &message->vote.last_term);
        message->vote.transfer = has(script, "transfer");
        break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        message->vote_reply.granted = has(script, "granted");
        break;
    case RAFT_APPEND:
        read_append(script, message, bytes);
        break;
    case RAFT_ACK:
        message->ack.match = after(script, "match");
        message->ack.round = after(script, "round");
        break;
    case RAFT_REJECT:
        message->reject.prev_index = after(script, "prev");
        if (has(script, "hint"))
            pair(next(script), &message->reject.hint_index, &message->reject.hint_term);
        message->reject.round = after(script, "round");
        break;
    case RAFT_SNAPSHOT:
        read_snapshot(script, message, bytes);
        break;
    case RAFT_SNAPSHOT_REPLY:
        message->snapshot_reply.index = after(script, "index");
        message->snapshot_reply.chunk = (uint32_t)after(script, "chunk");
        break;
    case RAFT_TIMEOUT_NOW:
    case RAFT_MESSAGE_COUNT:
        break;
    }
}

static void run_from(struct script *script)
{
    struct raft_message message = {0}, taken;
    struct raft_event event = {.kind = RAFT_MESSAGE};
    uint8_t data[8192], coded[8192];
    struct as_buf bytes = fixed(data, sizeof(data)), buf = fixed(coded, sizeof(coded));
    const char *type;
    int kind = 0;

    event.message.from = number(script);
    type = next(script);
    while (kind < RAFT_MESSAGE_COUNT &&
           strcmp(type, raft_message_text((enum raft_message_type)kind)) != 0)
        kind++;
    message.type = (enum raft_message_type)kind;
    message.term = after(script, "term");
    read_body(script, &message, &bytes);
    raft_message_put(&buf, &message);
    assert_int_equal(buf.err, AS_OK);
    if (raft_message_take(as_buf_bytes(&buf), &taken)) {
        say(script, "  malformed\n");
        return;
    }
    event.message.message = &taken;
    step(script, event);
}

/* --- Commands --- */

static void run_load(struct script *script)
{
    uint64_t index, term;
    uint8_t data[4096];
    struct as_buf room = fixed(data, sizeof(data));
    as_err err = AS_OK;

    if (has(script, "vote")) {
        term = number(script);
        err = raft_load_vote(script->raft, term, after(script, "for"));
    } else if (has(script, "entry")) {
        struct raft_entry entry = entry_of(next(script), &room);

        err = raft_load_entry(script->raft, &entry);
        if (err == AS_ERR_NOMEM)
            err = raft_load_entry(script->raft, &entry);
    } else if (has(script, "truncate")) {
        err = raft_load_truncate(script->raft, number(script));
    } else if (has(script, "snapshot")) {
        struct raft_members members;

        pair(next(script), &index, &term);
        has(script, "members");
        members = read_members(script);
        err = raft_load_snapshot(script->raft, index, term, 0, &members);
    }
    if (err)
        say(script, "  error: %s\n", as_err_text(err));
}

static void run_node(struct script *script)
{
    script->config = (struct raft_config){.seed = 1, .id = number(script), .page_bytes = 4096};
    if (has(script, "members"))
        script->config.members = read_members(script);
    for (; script->at < script->word_count;) {
        if (has(script, "window"))
            script->config.window_entries = (uint32_t)number(script);
        else if (has(script, "message_bytes"))
            script->config.message_bytes = (uint32_t)number(script);
        else if (has(script, "keep"))
            script->config.tail_keep_bytes = number(script);
        else if (has(script, "tail_entries"))
            script->config.tail_entries_max = number(script);
        else if (has(script, "caught_up"))
            script->config.caught_up_entries = (uint32_t)number(script);
        else
            fail_msg("node: what is %s?", next(script));
    }
    raft_free(script->raft);
    script->raft = NULL;
    script->writes = 0;
    if (raft_new(&script->raft, &script->config) == AS_ERR_NOMEM)
        assert_int_equal(raft_new(&script->raft, &script->config), AS_OK);
}

static void run_look(struct script *script)
{
    struct raft_status status;

    raft_look(script->raft, &status);
    say(script, "  %s%s of term %llu, voted for %llu, leader %llu\n", role_text(status.role),
        status.ready ? " (ready)" : "", u(status.term), u(status.voted_for), u(status.leader));
    say(script, "  log %llu..%llu/%llu durable %llu commit %llu snapshot %llu/%llu\n",
        u(status.first_index), u(status.last_index), u(status.last_term), u(status.durable_index),
        u(status.commit_index), u(status.snapshot_index), u(status.snapshot_term));
    for (uint32_t i = 0; i < raft_members(script->raft)->count; i++) {
        const struct raft_member *member = &raft_members(script->raft)->list[i];
        struct raft_peer_view peer;

        say(script, "  member %llu%s", u(member->id), member->role == RAFT_VOTER ? "" : " learner");
        if (raft_peer(script->raft, member->id, &peer) == AS_OK)
            say(script, " %s match %llu next %llu%s",
                peer.progress == RAFT_PROBE      ? "probe"
                : peer.progress == RAFT_PIPELINE ? "pipeline"
                                                 : "snapshot",
                u(peer.match), u(peer.next), peer.caught_up ? " caught up" : "");
        say(script, "\n");
    }
}

static void run_timer(struct script *script)
{
    if (raft_deadline(script->raft) == AS_NEVER) {
        say(script, "  never\n");
        return;
    }
    if (raft_deadline(script->raft) > script->now)
        script->now = raft_deadline(script->raft);
    step(script, (struct raft_event){.kind = RAFT_TIMER});
}

static void run_propose(struct script *script)
{
    struct raft_event event = {.kind = RAFT_PROPOSE};
    struct raft_status status;

    raft_look(script->raft, &status);
    event.propose.type = 2;
    event.propose.payload = text_bytes(next(script));
    event.propose.term = has(script, "term") ? number(script) : status.term;
    step(script, event);
}

static void run_member(struct script *script, enum raft_member_change change)
{
    struct raft_event event = {.kind = RAFT_MEMBER};

    event.member.change = change;
    event.member.id = number(script);
    event.member.address = "somewhere";
    step(script, event);
}

static void run_snapshot(struct script *script, enum raft_event_kind kind)
{
    struct raft_event event = {.kind = kind};

    pair(next(script), &event.snapshot.index, &event.snapshot.term);
    step(script, event);
}

static void run_chunk(struct script *script)
{
    struct raft_event event = {.kind = RAFT_SNAPSHOT_CHUNK};

    event.chunk.peer = number(script);
    event.chunk.index = number(script);
    event.chunk.chunk = (uint32_t)number(script);
    event.chunk.last = has(script, "last");
    if (has(script, "gone"))
        event.chunk.err = AS_ERR_NOTFOUND;
    event.chunk.bytes = text_bytes(next(script));
    step(script, event);
}

static void run_numbered(struct script *script, enum raft_event_kind kind)
{
    struct raft_event event = {.kind = kind};

    if (kind == RAFT_PERSISTED && script->at == script->word_count)
        event.write = script->writes;
    else if (kind == RAFT_SNAPSHOT_STORED) {
        event.stored.index = number(script);
        event.stored.chunk = (uint32_t)number(script);
    } else if (kind == RAFT_READ_INDEX) {
        event.request = number(script);
    } else if (kind == RAFT_PERSISTED || kind == RAFT_WRITE_REFUSED) {
        event.write = number(script);
        if (kind == RAFT_WRITE_REFUSED)
            script->writes = event.write - 1;
    } else {
        event.peer = number(script);
    }
    step(script, event);
}

static const struct {
    const char *word;
    enum raft_event_kind kind;
} plain[] = {
    {"start", RAFT_START},
    {"flush", RAFT_FLUSH},
    {"persisted", RAFT_PERSISTED},
    {"refused", RAFT_WRITE_REFUSED},
    {"read", RAFT_READ_INDEX},
    {"transfer", RAFT_TRANSFER},
    {"up", RAFT_PEER_UP},
    {"down", RAFT_PEER_DOWN},
    {"stored", RAFT_SNAPSHOT_STORED},
};

static void run_command(struct script *script)
{
    const char *word = next(script);

    for (size_t i = 0; i < AS_COUNT_OF(plain); i++) {
        if (strcmp(word, plain[i].word) == 0) {
            run_numbered(script, plain[i].kind);
            return;
        }
    }
    if (strcmp(word, "node") == 0)
        run_node(script);
    else if (strcmp(word, "load") == 0)
        run_load(script);
    else if (strcmp(word, "from") == 0)
        run_from(script);
    else if (strcmp(word, "propose") == 0)
        run_propose(script);
    else if (strcmp(word, "add") == 0)
        run_member(script, RAFT_MEMBER_ADD);
    else if (strcmp(word, "promote") == 0)
        run_member(script, RAFT_MEMBER_PROMOTE);
    else if (strcmp(word, "remove") == 0)
        run_member(script, RAFT_MEMBER_REMOVE);
    else if (strcmp(word, "taken") == 0)
        run_snapshot(script, RAFT_SNAPSHOT_TAKEN);
    else if (strcmp(word, "installed") == 0)
        run_snapshot(script, RAFT_SNAPSHOT_INSTALLED);
    else if (strcmp(word, "failed") == 0)
        run_snapshot(script, RAFT_SNAPSHOT_FAILED);
    else if (strcmp(word, "chunk") == 0)
        run_chunk(script);
    else if (strcmp(word, "timer") == 0)
        run_timer(script);
    else if (strcmp(word, "wait") == 0)
        script->now += (as_time)number(script) * AS_MS;
    else if (strcmp(word, "look") == 0)
        run_look(script);
    else
        fail_msg("no such command: %s", word);
}

static void run_line(struct script *script, char *line)
{
    char *save = NULL;

    if (line[0] == ' ')
        return; /* of the output that is being written anew */
    say(script, "%s\n", line);
    if (line[0] == '#' || line[0] == 0)
        return;
    script->word_count = script->at = 0;
    for (char *word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        assert_true(script->word_count < WORDS_MAX);
        script->words[script->word_count++] = word;
    }
    run_command(script);
}

static void run_text(struct script *script, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        char *line = strndup(text, len);

        assert_non_null(line);
        run_line(script, line);
        free(line);
        text += len + (text[len] == '\n');
    }
}

static void script_close(struct script *script)
{
    raft_free(script->raft);
    free(script->out);
}

#endif
