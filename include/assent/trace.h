/*
 * What cores say of themselves: typed events instead of log lines, so that the shell prints them, golden
 * tests compare them, and a core formats no text on its hot path.
 */
#ifndef ASSENT_TRACE_H
#define ASSENT_TRACE_H

#include "assent/attempt.h"

enum as_trace_level { AS_TRACE_DEBUG, AS_TRACE_INFO, AS_TRACE_WARN, AS_TRACE_ALARM };

/* name, level, text */
#define AS_TRACE_MAP(X)                                                              \
    X(TXN_BEGUN, DEBUG, "attempt registered")                                        \
    X(TXN_PROPOSED, DEBUG, "all votes are yes: commit proposed")                     \
    X(TXN_COMMITTED, DEBUG, "decision applied: committed")                           \
    X(TXN_ABORTED, DEBUG, "aborted")                                                 \
    X(TXN_FINISHED, DEBUG, "every branch acknowledged")                              \
    X(COMMIT_WITHOUT_EFFECT, ALARM, "a COMMIT record had no effect (R1)")            \
    X(HEURISTIC, ALARM, "heuristic outcome: an operator must look (R7)")             \
    X(ACKNOWLEDGED, INFO, "an operator closed a heuristic outcome")                  \
    X(RESOLVED, WARN, "an operator's word about a prepared branch is logged (R6)")   \
    X(LATE_TERM, WARN, "inquiry about a term later than ours (R3)")                  \
    X(UNKNOWN_INQUIRED, WARN, "inquiry about an attempt below the horizon (R3)")     \
    X(HORIZON, INFO, "the set of committed attempts was cut (R8)")                   \
    X(LEADING, INFO, "leading: this term's NOOP is applied")                         \
    X(RESIGNED, INFO, "not leading any more")                                        \
    X(SESSION_UP, INFO, "agent session up")                                          \
    X(SESSION_DOWN, INFO, "agent session down")                                      \
    X(PEER_UP, INFO, "linked with another node")                                     \
    X(PARTICIPANT_UP, INFO, "participant up")                                        \
    X(PARTICIPANT_DOWN, WARN, "participant down")                                    \
    X(IDENTITY_CHANGED, WARN, "a database bears a new identity (R7)")                \
    X(WIRE_REFUSED, WARN, "session ended: bad or refused bytes from the peer")       \
    X(DISK_FULL, ALARM, "the decision log has no space: new work is refused")        \
    X(DISK_RECOVERED, INFO, "the decision log has space again")                      \
    X(SEGMENT_OPENED, INFO, "log segment opened")                                    \
    X(SNAPSHOT_WRITTEN, INFO, "snapshot written; older segments recycled")           \
    X(RAFT_CAMPAIGN, INFO, "campaigning for a term")                                 \
    X(RAFT_ELECTED, INFO, "elected leader of a term")                                \
    X(RAFT_FOLLOWS, INFO, "follows a leader")                                        \
    X(RAFT_QUORUM_LOST, WARN, "steps down: a majority has not been heard")           \
    X(RAFT_TRUNCATED, WARN, "entries that never were committed are cut off")         \
    X(RAFT_MEMBERS, INFO, "members changed")                                         \
    X(RAFT_REMOVED, WARN, "this node is not a member any more")                      \
    X(RAFT_TRANSFER, INFO, "leadership is being handed over")                        \
    X(RAFT_SNAPSHOT_SENDING, INFO, "a peer is too far behind: it gets the snapshot") \
    X(RAFT_SNAPSHOT_INSTALLED, INFO, "a received snapshot is installed")             \
    X(RAFT_CHUNK_DAMAGED, WARN, "a snapshot's chunk arrived damaged")                \
    X(RAFT_EMPTIED, ALARM, "this node's directory was wiped: rejoin as a new one")   \
    X(SNAPSHOT_DAMAGED, ALARM, "the newest snapshot cannot be read")                 \
    X(BRANCH_PREPARED, DEBUG, "branch prepared")                                     \
    X(BRANCH_REFUSED, DEBUG, "branch votes no")                                      \
    X(BRANCH_FINISHED, DEBUG, "branch finished")                                     \
    X(BRANCH_FENCED, WARN, "prepare refused: an older term, or aborted before (R5)") \
    X(BRANCH_RESOLVED, WARN, "branch finished on an operator's word (R6)")           \
    X(BRANCH_IN_DOUBT, WARN, "prepared branch waits for an answer (R6)")             \
    X(BRANCH_ORPHANED, ALARM, "prepared branch answered unknown: resolve by hand (R6)")

#define AS_TRACE_ENUM(name, level, text) AS_TRACE_##name,
enum as_trace_kind { AS_TRACE_MAP(AS_TRACE_ENUM) AS_TRACE_COUNT };

/* Fields that do not apply are zero or NULL. Borrowed for the call. */
struct as_trace {
    enum as_trace_kind kind;
    struct as_attempt attempt;
    uint32_t branch;
    uint64_t number;    /* session, node, index or term: what the kind is about. Nanoseconds in
                             TXN_PROPOSED (since submit), TXN_COMMITTED (since proposed) and
                             TXN_FINISHED (since applied) */
    const char *id;     /* transaction */
    const char *name;   /* participant, file or peer */
    const char *detail; /* free text */
};

const char *as_trace_name(enum as_trace_kind kind); /* "TXN_BEGUN" */
const char *as_trace_text(enum as_trace_kind kind);
enum as_trace_level as_trace_level_of(enum as_trace_kind kind);

#endif
