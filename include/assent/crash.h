/*
 * Named crash points: where a test kills a process, or stops it while something else is killed.
 *
 * Built in only with -DAS_CRASH_POINTS=ON (presets dev, asan-ubsan, tsan); in release the macros are empty.
 * The environment names one point of a process: ASSENT_CRASH_AT=<name>[:<nth>] and
 *   ASSENT_CRASH_ACTION=kill        SIGKILL to itself (default)
 *   ASSENT_CRASH_ACTION=pause:DIR   make DIR/<name>.reached, wait until DIR/<name>.continue exists
 * ASSENT_CRASH_AFTER=<file>: what is hit before this file exists does not count.
 * Either way DIR of ASSENT_CRASH_DIR gets a file <name>.reached first, so that a test can demand the hit.
 *
 * AS_CRASH_POINT is taken where it stands. Pure rooms only hand bytes to the shell, so "sent" happens when
 * the turn's bytes leave: AS_CRASH_POINT_SENT takes effect there.
 */
#ifndef ASSENT_CRASH_H
#define ASSENT_CRASH_H

/* Every point there is; the system test loops over this list, and a point that is never hit fails it. */
#define AS_CRASH_MAP(X)                                                    \
    X("node.attempt.registered") /* before anything is dispatched */       \
    X("node.execute.sent")                                                 \
    X("node.commit.proposed")  /* all votes in, nothing written */         \
    X("node.commit.writing")   /* the log write is under way */            \
    X("node.commit.persisted") /* durable, not applied */                  \
    X("node.commit.applied")   /* applied, no commit message has left */   \
    X("node.commit.sent")                                                  \
    X("node.branch.acknowledged") /* the first branch is finished */       \
    X("node.reply.sent")                                                   \
    X("node.finish.persisted")                                             \
    X("node.abort.sent")                                                   \
    X("log.segment.opened")                                                \
    X("log.snapshot.written") /* complete under its temporary name */      \
    X("log.snapshot.renamed") /* older segments not yet removed */         \
    X("agent.execute.received")                                            \
    X("agent.prepare.sent") /* the pipeline is on its way to PostgreSQL */ \
    X("agent.prepare.done") /* prepared, no vote has left */               \
    X("agent.vote.sent")                                                   \
    X("agent.commit.received")                                             \
    X("agent.commit.sent") /* COMMIT PREPARED is on its way */             \
    X("agent.commit.done") /* committed, not acknowledged */               \
    X("agent.ack.sent")                                                    \
    X("agent.abort.done")

#ifdef AS_CRASH_POINTS
void as_crash_point(const char *name);
void as_crash_mark(const char *name); /* taken at the next as_crash_flush */
void as_crash_flush(void);            /* the shell: this turn's bytes have left */
#define AS_CRASH_POINT(name) as_crash_point(name)
#define AS_CRASH_POINT_SENT(name) as_crash_mark(name)
#define AS_CRASH_FLUSHED() as_crash_flush()
#else
#define AS_CRASH_POINT(name) ((void)0)
#define AS_CRASH_POINT_SENT(name) ((void)0)
#define AS_CRASH_FLUSHED() ((void)0)
#endif

#endif
