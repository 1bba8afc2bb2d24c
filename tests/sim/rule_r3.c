/*
 * R3: what is said of an attempt. Nothing before the node's own NOOP is durable; never abort of what may still commit or
 * has; never pending of what is decided. Terms only grow.
 */
#include "observe.h"
#include "oracle.h"

static void leads(struct as_env *env, const struct sim_branch *branch)
{
    SIM_CHECK(env->sim, "R3", env->sim->oracle->leads[env->proc] != 0,
              "%s answers about %s (%llu.%llu/%u) before its NOOP is committed", env->name,
              BRANCH_ARGS(branch));
}

void rule_r3_abort_sent(struct as_env *env, struct sim_branch *branch)
{
    struct sim_attempt *attempt = branch->attempt;

    leads(env, branch);
    SIM_CHECK(env->sim, "R3", !attempt->durable,
              "an agent is told to abort %s (%llu.%llu/%u), which is committed",
              BRANCH_ARGS(branch));
    SIM_CHECK(env->sim, "R3",
              !attempt->proposed || attempt->attempt.term != env->sim->oracle->leads[env->proc],
              "an agent is told to abort %s (%llu.%llu/%u) while its COMMIT is being written",
              BRANCH_ARGS(branch));
    branch->abort_told = true;
    attempt->aborted_said = true;
}

void rule_r3_answer_sent(struct as_env *env, struct sim_branch *branch, enum as_answer answer)
{
    struct sim_attempt *attempt = branch->attempt;

    leads(env, branch);
    if (answer == AS_ANSWER_UNKNOWN) { /* or it is a branch in no record */
        SIM_CHECK(env->sim, "R3",
                  (branch->read_only && attempt->durable) || rule_r8_covers(env->sim, attempt),
                  "%s (%llu.%llu/%u) is answered as unknown", BRANCH_ARGS(branch));
        branch->unknown_told = true;
        env->sim->counts.unknown++;
    } else if (rule_raft_newest(env)) /* one that was deposed may not know: the agent asks again */
        SIM_CHECK(env->sim, "R3",
                  !attempt->aborted_said &&
                      !(attempt->durable && (attempt->told || env->sim->lone)),
                  "%s (%llu.%llu/%u) is answered as pending, and is decided", BRANCH_ARGS(branch));
}
