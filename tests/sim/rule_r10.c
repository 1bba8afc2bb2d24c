/*
 * R10: a read-only branch keeps its transaction open until all other votes are in.
 */
#include "observe.h"
#include "oracle.h"

void rule_r10_read_finish_sent(struct sim_branch *branch)
{
    const struct sim_attempt *attempt = branch->attempt;

    for (uint32_t i = 0; i < attempt->branch_count; i++) {
        const struct sim_branch *other = &attempt->branches[i];

        SIM_CHECK(attempt->sim, "R10", other->read_only ? other->ready : other->yes,
                  "%s (%llu.%llu/%u) is told to end its reading before all others have voted",
                  BRANCH_ARGS(branch));
    }
}
