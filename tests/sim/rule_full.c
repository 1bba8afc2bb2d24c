/*
 * A leader whose disk is full hands leadership over (protocol.md, "Decision log on disk"): where all other nodes are well
 * one of them leads soon.
 */
#include "observe.h"
#include "oracle.h"

void rule_full_handed_over(struct sim *sim)
{
    struct node_info info;

    node_info(sim->full->node, &info);
    sim->counts.handed_over++;
    SIM_CHECK(sim, "full", !info.leading || !info.disk_full, "%s goes on leading with a full disk",
              sim->full->name);
}
