/*
 * Terms, votes and campaigns (Raft paper 5.1, 5.2, 5.4.1; thesis 4.2.3 and 9.6 for pre-vote).
 *
 * Fault model: a vote that was lost in a crash was never told to anybody: requests and grants leave
 * only once term and vote are durable (raft_send_owed). So no term has two votes of one node.
 */
#include "coordinator/raft/core.h"

static as_time ms(uint32_t count)
{
    return (as_time)count * AS_MS;
}

void raft_reset_election(struct raft *raft)
{
    uint64_t spread = (uint64_t)ms(raft->config.election_max_ms - raft->config.election_min_ms) + 1;

    raft->election_at =
        raft->now + ms(raft->config.election_min_ms) + (as_time)as_rng_below(&raft->rng, spread);
}

/* What was owed to the leader of another term, or known of its log. */
static void forget_leader(struct raft *raft)
{
    raft->leader = 0;
    raft->matched = raft->commit; /* that much every leader's log has (leader completeness) */
    raft->leader_commit = 0;
    raft->round = 0;
    raft->owed.ack_to = 0;
    raft->owed.ack = false;
    raft->owed.acked = 0;
    raft->owed.reject = false;
    raft->owed.chunk = false;
}

static void enter_term(struct raft *raft, uint64_t term, uint64_t voted_for)
{
    AS_ASSERT(term > raft->term);
    raft->term = term;
    raft->voted_for = voted_for;
    raft->vote_unwritten = true;
    raft->owed.vote = 0;
    forget_leader(raft);
}

void raft_become_follower(struct raft *raft, uint64_t term, uint64_t leader)
{
    bool led = raft_leads(raft);

    if (led)
        raft_lead_close(raft);
    raft->role = RAFT_FOLLOWER;
    raft->owed.requests = false;
    if (term > raft->term)
        enter_term(raft, term, 0);
    else
        forget_leader(raft);
    raft->leader = leader;
    if (led)
        raft_reset_election(raft);
}

void raft_hear_leader(struct raft *raft, uint64_t from)
{
    if (raft->role != RAFT_FOLLOWER || raft->leader != from) {
        raft_become_follower(raft, raft->term, from);
        raft->owed.ack_to = from;
        raft_trace(raft, AS_TRACE_RAFT_FOLLOWS, from);
    }
    raft->leader_heard_at = raft->now;
    raft_reset_election(raft);
}

bool raft_is_sticky(const struct raft *raft)
{
    return raft_leads(raft) ||
           (raft->leader && raft->now < raft->leader_heard_at + ms(raft->config.election_min_ms));
}

/* --- Campaigning --- */

static bool is_elected(const struct raft *raft)
{
    uint32_t yes = raft_is_voter(raft);

    for (uint32_t i = 0; i < raft->peer_count; i++)
        yes += raft->peers[i].voter && raft->peers[i].vote == RAFT_VOTE_YES;
    return yes > raft_voter_count(&raft->members) / 2;
}

static void open_votes(struct raft *raft, enum raft_role role)
{
    raft->role = role;
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft->peers[i].vote = RAFT_VOTE_OPEN;
    raft->owed.requests = true;
}

/* Our own vote counts at once: whoever else's is needed is asked only after ours is durable. */
static void become_candidate(struct raft *raft)
{
    enter_term(raft, raft->term + 1, raft->config.id);
    open_votes(raft, RAFT_CANDIDATE);
    raft_reset_election(raft);
    raft_trace(raft, AS_TRACE_RAFT_CAMPAIGN, raft->term);
    if (is_elected(raft))
        raft_become_leader(raft);
}

void raft_campaign(struct raft *raft, bool transfer)
{
    /* While a snapshot is being installed nobody knows what our log is. */
    if (!raft_may_campaign(raft) || raft->receiving.last)
        return;
    forget_leader(raft);
    raft->transferred = transfer;
    open_votes(raft, RAFT_PRE_CANDIDATE);
    if (transfer || is_elected(raft))
        become_candidate(raft);
}

void raft_send_requests(struct raft *raft)
{
    bool pre = raft->role == RAFT_PRE_CANDIDATE;

    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_message *message;

        if (!raft->peers[i].voter)
            continue;
        message = raft_send(raft, raft->peers[i].id, pre ? RAFT_PRE_VOTE : RAFT_VOTE);
        message->term = raft->term + pre;
        message->vote.last_index = raft->tail.last_index;
        message->vote.last_term = raft_tail_term(&raft->tail, raft->tail.last_index);
        message->vote.transfer = !pre && raft->transferred;
    }
}

void raft_on_vote_reply(struct raft *raft, uint64_t from, const struct raft_message *message)
{
    bool pre = message->type == RAFT_PRE_VOTE_REPLY;
    struct raft_peer *peer = raft_peer_find(raft, from);

    if (!peer || raft->role != (pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE))
        return;
    if (!message->vote_reply.granted) {
        peer->vote = RAFT_VOTE_NO;
        return;
    }
    if (message->term != raft->term + pre)
        return;
    peer->vote = RAFT_VOTE_YES;
    if (!is_elected(raft))
        return;
    if (pre)
        become_candidate(raft);
    else
        raft_become_leader(raft);
}

void raft_on_timeout_now(struct raft *raft, uint64_t from)
{
    if (raft->role != RAFT_FOLLOWER || (raft->leader && raft->leader != from))
        return;
    raft_campaign(raft, true);
}

/* --- Voting --- */

/* 5.4.1: its log is at least as up to date as ours. A node that knows of no members, or has never
 * been one, does not vote: its directory may have been emptied. One that was removed does: a
 * candidate that needs its vote does not have that entry, and is right to count it (thesis 4.2.2).
 */
static bool may_vote_for(const struct raft *raft, const struct raft_message *message)
{
    uint64_t last = raft->tail.last_index;
    uint64_t last_term = raft_tail_term(&raft->tail, last);

    if (!raft_member_find(&raft->members, raft->config.id) && !raft->leaving)
        return false;
    return message->vote.last_term > last_term ||
           (message->vote.last_term == last_term && message->vote.last_index >= last);
}

void raft_on_pre_vote(struct raft *raft, uint64_t from, const struct raft_message *message)
{
    bool granted =
        message->term > raft->term && !raft_is_sticky(raft) && may_vote_for(raft, message);
    struct raft_message *reply;

    if (!raft_hard_state_durable(raft))
        return;
    reply = raft_send(raft, from, RAFT_PRE_VOTE_REPLY);
    reply->vote_reply.granted = granted;
    if (granted)
        reply->term = message->term;
}

void raft_on_vote(struct raft *raft, uint64_t from, const struct raft_message *message)
{
    if ((raft->voted_for && raft->voted_for != from) || !may_vote_for(raft, message)) {
        if (raft_hard_state_durable(raft))
            raft_send(raft, from, RAFT_VOTE_REPLY);
        return;
    }
    if (!raft->voted_for) {
        raft->voted_for = from;
        raft->vote_unwritten = true;
        raft->role = RAFT_FOLLOWER;
        raft->owed.requests = false;
    }
    raft->owed.vote = from;
    raft_reset_election(raft);
}

void raft_on_peer_down(struct raft *raft, uint64_t id)
{
    as_time soon =
        raft->now + (as_time)as_rng_below(&raft->rng, (uint64_t)ms(raft->config.hint_ms) + 1);
    struct raft_peer *peer = raft_leads(raft) ? raft_peer_find(raft, id) : NULL;

    /* What was on its way is lost with the connection. */
    if (peer && peer->progress == RAFT_PIPELINE)
        raft_probe(peer, peer->match + 1);
    if (raft->role != RAFT_FOLLOWER || raft->leader != id)
        return;
    raft->leader = 0;
    if (soon < raft->election_at)
        raft->election_at = soon;
}
