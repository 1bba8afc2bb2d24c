/*
 * R7 as pure functions: what the database's answers prove, and why a refused PREPARE is a no.
 * Nothing is guessed: what cannot be proven is said to be unverified, and a person looks.
 */
#include <string.h>

#include "participant/branch/branch.h"

static const struct as_identity no_identity;

static bool same(const struct as_identity *a, const struct as_identity *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/*
 *   listed with the recorded xid (or that is not known)      -> it is ours: COMMIT PREPARED
 *   otherwise our branch is not there: a gid listed under another xid bears somebody else's work
 *
 *   identity  xact status            marker kept and there   marker kept, absent   no marker kept
 *   same      committed              committed               committed             committed
 *   same      aborted                heuristic abort         heuristic abort       heuristic abort
 *   same      in progress            busy                    busy                  busy
 *   same      null (too old)         committed               heuristic abort       unverified
 *   same      22023 (in the future)  committed               lost prepare          unverified
 *   another   (not believed)         committed               lost prepare          lost prepare
 *   not known (not believed)         committed               unverified            unverified
 *
 * Another identity is another history: xids are used again in it, so its pg_xact_status means
 * nothing.
 */
enum branch_proof branch_prove(const struct as_pg_done *probe, uint64_t xid,
                               struct as_identity identity, enum as_proof kept)
{
    bool marked = kept == AS_PROOF_MARKER && probe->marker;
    enum as_pg_xact xact = xid ? probe->xact : AS_PG_XACT_NONE;

    if (probe->listed && (xid == 0 || probe->listed_xid32 == (uint32_t)xid))
        return BRANCH_PROOF_LISTED;
    if (same(&identity, &no_identity))
        return marked ? BRANCH_PROOF_COMMITTED : BRANCH_PROOF_UNVERIFIED;
    if (!same(&identity, &probe->identity))
        return marked ? BRANCH_PROOF_COMMITTED : BRANCH_PROOF_LOST_PREPARE;

    switch (xact) {
    case AS_PG_XACT_COMMITTED:
        return BRANCH_PROOF_COMMITTED;
    case AS_PG_XACT_ABORTED:
        return BRANCH_PROOF_HEURISTIC_ABORT;
    case AS_PG_XACT_IN_PROGRESS:
        return BRANCH_PROOF_BUSY;
    case AS_PG_XACT_NONE:
    case AS_PG_XACT_INVALID:
        break;
    }
    if (marked)
        return BRANCH_PROOF_COMMITTED;
    if (kept != AS_PROOF_MARKER)
        return BRANCH_PROOF_UNVERIFIED;
    return xact == AS_PG_XACT_INVALID ? BRANCH_PROOF_LOST_PREPARE : BRANCH_PROOF_HEURISTIC_ABORT;
}

static bool state_is(const struct as_pg_done *done, const char *sqlstate)
{
    return strncmp(done->sqlstate, sqlstate, sizeof done->sqlstate) == 0;
}

static enum as_reason_code refused_reason(const struct as_pg_done *done, bool late)
{
    bool conflict = state_is(done, "40001") || state_is(done, "40P01") || state_is(done, "55P03");

    if (late && state_is(done, "57014"))
        return AS_REASON_TIMEOUT;
    if (done->statement >= 0)
        return conflict ? AS_REASON_LOCK_CONFLICT : AS_REASON_STATEMENT_FAILED;
    /* PREPARE TRANSACTION itself: 53200 says that all slots are taken. */
    return state_is(done, "53200") ? AS_REASON_OVERLOADED : AS_REASON_PREPARE_REFUSED;
}

enum as_reason_code branch_reason(const struct as_pg_done *done, bool late)
{
    if (done->code != AS_REASON_NONE)
        return done->code;

    switch (done->status) {
    case AS_PG_REFUSED:
        return refused_reason(done, late);
    case AS_PG_EXPECTATION:
        return AS_REASON_EXPECTATION_FAILED;
    case AS_PG_LOST:
    case AS_PG_UNAVAILABLE:
    case AS_PG_STALE:
        return AS_REASON_PARTICIPANT_UNAVAILABLE;
    case AS_PG_CANCELLED:
        return AS_REASON_TIMEOUT;
    case AS_PG_OK:
    case AS_PG_WARNED:
        break;
    }
    return AS_REASON_PREPARE_REFUSED; /* a success that does not count (R11) */
}
