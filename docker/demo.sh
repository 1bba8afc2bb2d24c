#!/usr/bin/env bash
# Kills, stops and cuts off containers of the running cluster, one after the other, while the load goes on; demands after
# each strike that transfers go on committing, and that all is well again once it is healed. Then it proves that nothing
# was lost (check.sh). It ends with the cluster running as before; Ctrl-C heals what is broken at that moment.
#
#   ./demo.sh [ROUNDS]    each round has every strike once (1)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
rounds=${1:-1}
heal=() # the command that undoes the strike under way
strikes=0

leader() {
    local number
    number=$(assent cluster status --json | sed -n 's/.*"leader":\([1-9]\).*/\1/p')
    [ -n "$number" ] && echo "node-$number"
}
leader_is_known() { leader >/dev/null; }
find_leader() {
    wait_for 60 "a node leads" leader_is_known
    now=$(leader) || die "the leader is gone again"
}

end() {
    local code=$?
    [ ${#heal[@]} = 0 ] || "${heal[@]}" >/dev/null 2>&1 || true
    exit $code
}
trap end EXIT
trap 'exit 130' INT TERM

# under_strike TEXT COMMITS: the strike has struck. So many transfers must commit before it is healed.
under_strike() {
    local begin=$EPOCHREALTIME from
    from=$(commits)
    wait_for 90 "$2 commits while $1" committed_beyond $((from + $2))
    healed "$1" "$(awk "BEGIN { printf \"%d commits in %.1f s meanwhile\", $2, $EPOCHREALTIME - $begin }")"
}
healed() {
    [ ${#heal[@]} = 0 ] || "${heal[@]}" >/dev/null
    heal=()
    wait_for 90 "all is well after $1" all_is_well
    strikes=$((strikes + 1))
    printf '%6.1f s  %-52s %s\n' "$(awk "BEGIN { print $EPOCHREALTIME - $started }")" "$1" "$2"
}

kill_one() { # service, text, commits
    docker kill "$(container "$1")" >/dev/null
    heal=(docker start "$(container "$1")")
    under_strike "$2" "$3"
}
pause_one() {
    docker pause "$(container "$1")" >/dev/null
    heal=(docker unpause "$(container "$1")")
    under_strike "$2" "$3"
}
cut_one() { # service, network, text, commits
    local id
    id=$(container "$1")
    docker network disconnect "${project}_$2" "$id"
    heal=(docker network connect --alias "$1" --alias "$1.$2" "${project}_$2" "$id")
    under_strike "$3" "$4"
}
# Nobody starts it again but Docker itself: the restart policy. The shell that kills may go with its container.
restarts() { docker inspect --format '{{.RestartCount}}' "$(container "$1")"; }
restarted_beyond() { [ "$(restarts "$1")" -gt "$2" ]; }
crash_one() { # service, program, text, commits
    local before
    before=$(restarts "$1")
    in_container "$1" sh -c "kill -9 \$(pidof $2)" || true
    wait_for 30 "Docker restarts $1" restarted_beyond "$1" "$before"
    under_strike "$3" "$4"
}

kill_all_nodes() {
    local ids=() node
    for node in "${nodes[@]}"; do ids+=("$(container "$node")"); done
    docker kill "${ids[@]}" >/dev/null
    heal=(docker start "${ids[@]}")
    healed "docker kill of all three coordinators at once" ""
    under_strike "(they are back)" 20
}

kill_load() {
    docker kill "$(container load)" >/dev/null
    docker start "$(container load)" >/dev/null
    under_strike "docker kill of the load itself" 20
}

round() {
    find_leader
    kill_one "$now" "docker kill of $now, the leader" 50
    find_leader
    pause_one "$now" "docker pause of $now, the leader" 50
    find_leader
    cut_one "$now" cluster "$now, the leader, cut off from nodes and agents" 50
    find_leader
    crash_one "$now" assentd "kill -9 of assentd in $now, the leader" 50
    kill_one agent-a "docker kill of agent-a" 10
    pause_one agent-b "docker pause of agent-b" 10
    cut_one agent-c cluster "agent-c cut off from the coordinators" 10
    kill_one database-a "docker kill of database-a" 10
    pause_one database-b "docker pause of database-b" 10
    cut_one database-c bank-c "database-c cut off from its agent" 10
    kill_load
    kill_all_nodes
}

wait_for 60 "all is well" all_is_well
wait_for 60 "the load runs" commits
started=$EPOCHREALTIME
for ((i = 0; i < rounds; i++)); do round; done

echo "the load learns its last outcomes"
docker stop --time 60 "$(container load)" >/dev/null
heal=(docker start "$(container load)")
echo "$strikes strikes; the load's last words: $(docker logs --tail 1 "$(container load)")"
./check.sh
