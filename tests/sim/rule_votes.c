/*
 * Votes, as they leave the nodes (Raft, figure 2, RequestVote): one in a term, whatever happens between; to nobody whose
 * log ends before the voter's own, be it told to campaign or not; and none in a term that the voter has left behind.
 *
 * What a candidate says of its log is what its own disk says. The voter's is what its disk holds for good: it may hold
 * more in memory, so this excuses rather than accuses.
 */
#include "observe.h"
#include "oracle.h"

/* A directory that is lost takes its votes along (raft.h, config.members). */
static bool counts(const struct as_env *env)
{
    return !env->sim->oracle->lost[env->id];
}

/* False: it only says again what it has said. */
static bool votes(struct as_env *env, uint64_t term, const struct as_env *candidate)
{
    struct sim *sim = env->sim;
    struct oracle_vote *vote = &sim->oracle->votes[env->id];

    SIM_CHECK(sim, "votes", term >= vote->term, "%s votes in term %llu, and has in %llu", env->name,
              (unsigned long long)term, (unsigned long long)vote->term);
    SIM_CHECK(sim, "votes", term > vote->term || vote->to == candidate->id,
              "%s votes twice in term %llu: for node %llu, and for %s", env->name,
              (unsigned long long)term, (unsigned long long)vote->to, candidate->name);
    if (term == vote->term)
        return false;
    *vote = (struct oracle_vote){.term = term, .to = candidate->id};
    return true;
}

static void campaigns(struct as_env *env, const struct raft_message *message)
{
    struct oracle_candidacy *candidacy = &env->sim->oracle->candidacies[env->id];

    if (candidacy->term != message->term)
        (void)votes(env, message->term, env); /* for itself */
    *candidacy =
        (struct oracle_candidacy){message->term, message->vote.last_term, message->vote.last_index};
}

/* Entries of the candidate's own term came after the vote. An entry behind a snapshot of which the oracle knows nothing has
 * term 0: it says nothing. */
static void is_not_behind(struct as_env *env, const struct oracle_candidacy *candidacy,
                          const struct as_env *candidate)
{
    const struct oracle_log *log = env->sim->oracle->logs[env->id];
    uint64_t last = log ? log->last : 0, last_term;

    while (last > 0 && log->entries[last].term >= candidacy->term)
        last--;
    last_term = last > 0 ? log->entries[last].term : 0;
    SIM_CHECK(env->sim, "votes",
              last_term == 0 || candidacy->last_term > last_term ||
                  (candidacy->last_term == last_term && candidacy->last_index >= last),
              "%s votes in term %llu for %s, whose log ends at %llu of term %llu, and its own at "
              "%llu of term %llu",
              env->name, (unsigned long long)candidacy->term, candidate->name,
              (unsigned long long)candidacy->last_index, (unsigned long long)candidacy->last_term,
              (unsigned long long)last, (unsigned long long)last_term);
}

void rule_votes_sent(struct as_env *env, const struct as_env *to,
                     const struct raft_message *message)
{
    const struct oracle_candidacy *candidacy;

    if (!counts(env) || (to && !counts(to)))
        return;
    if (message->type == RAFT_VOTE)
        campaigns(env, message);
    if (message->type != RAFT_VOTE_REPLY || !message->vote_reply.granted || !to)
        return;
    candidacy = &env->sim->oracle->candidacies[to->id];
    if (votes(env, message->term, to) && candidacy->term == message->term)
        is_not_behind(env, candidacy, to);
}
