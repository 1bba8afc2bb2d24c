#!/usr/bin/env bash
# ./dev docker-test: builds the images, brings the cluster of compose.yaml up as a project of its own on free ports,
# strikes it (demo.sh), takes it down and up again, and looks at what an operator relies on. Everything it starts goes
# with it, a Docker daemon too if none was running; images stay, as a cache.
#
#   docker/test.sh [ROUNDS]    rounds of demo.sh (1)
set -euo pipefail
COMPOSE_PROJECT_NAME=assent-test-$$
. "$(dirname "$0")/lib.sh"
export COMPOSE_PROJECT_NAME COMPOSE_IGNORE_ORPHANS=1 ASSENT_TAG=test
export ASSENT_PORT_1=0 ASSENT_PORT_2=0 ASSENT_PORT_3=0 ASSENT_PORT_PROMETHEUS=0 # free ones
work=$(mktemp -d)
daemon="" up=""

step() { printf '\n== %s (%d s)\n' "$*" $SECONDS; }
passed() { echo "ok: $*"; }

# --- A Docker daemon, and a base image ---

end() {
    local code=$?
    trap '' INT TERM
    if [ -n "$up" ]; then
        [ $code = 0 ] || [ $code = 130 ] || compose --profile watch logs --no-color --tail 40 >&2 || true
        compose --profile watch down --volumes --timeout 5 >/dev/null 2>&1 || true
    fi
    if [ -n "$daemon" ]; then
        kill "$daemon"
        wait "$daemon" || true
    fi
    rm -rf --one-file-system "$work" # debootstrap, cut short, may have left a mount
    [ $code != 0 ] || echo "docker-test: passed in $SECONDS s"
    exit $code
}
trap end EXIT
trap 'exit 130' INT TERM

daemon_answers() { docker info; }
daemon_start() {
    docker info >/dev/null 2>&1 && return
    [ "$(id -u)" = 0 ] || die "no Docker daemon answers: start it, or run this as root"
    step "start a Docker daemon"
    setsid dockerd >"$work/dockerd.log" 2>&1 & # in its own session: Ctrl-C is for us
    daemon=$!
    (wait_for 60 "the Docker daemon answers" daemon_answers) || {
        tail -n 20 "$work/dockerd.log" >&2
        exit 1
    }
}

# Debian's own image if it is here or can be had; else the same made of Debian's packages.
base_find() {
    local own=assent-base:bookworm wanted=debian:bookworm-slim
    export ASSENT_BASE=$wanted
    docker image inspect "$wanted" >/dev/null 2>&1 && return
    docker image inspect "$own" >/dev/null 2>&1 && ASSENT_BASE=$own && return
    timeout 60 docker pull "$wanted" 2>/dev/null && return
    [ "$(id -u)" = 0 ] || die "$wanted cannot be pulled, and making it needs root"
    step "make a base image with debootstrap, for $wanted cannot be pulled"
    debootstrap --variant=minbase bookworm "$work/base" >"$work/debootstrap.log" 2>&1 || {
        tail -n 20 "$work/debootstrap.log" >&2
        exit 1
    }
    tar -C "$work/base" --exclude=./var/cache/apt/'*' --exclude=./var/lib/apt/lists/'*' --exclude=./usr/share/doc/'*' \
        --exclude=./usr/share/locale/'*' --exclude=./usr/share/man/'*' -c . | docker import - "$own" >/dev/null
    rm -rf "$work/base"
    ASSENT_BASE=$own
}

# --- What is looked at ---

start() { # service...; none: all
    compose up -d "$@" >"$work/up.log" 2>&1 || {
        cat "$work/up.log" >&2
        die "compose up failed"
    }
    wait_for 60 "all is well" all_is_well
}
load_stop() { docker stop --time 60 "$(container load)" >/dev/null; }

nobody_is_root() {
    local service
    for service in "${nodes[@]}" "${agents[@]}" "${databases[@]}" load; do
        [ "$(in_container "$service" id -u)" = 10001 ] || die "$service runs as root"
        in_container "$service" touch /usr/local/bin/x 2>/dev/null && die "$service can write to its image"
    done
    passed "no container runs as root, or can write to its image"
}

doors_are_shut() {
    local id database
    in_container load bash -c 'exec 3<>/dev/tcp/node-1/7480' || die "the load does not reach the API"
    for database in "${databases[@]}"; do
        in_container load bash -c "exec 3<>/dev/tcp/$database/5432" 2>/dev/null && die "the load reaches $database"
        in_container node-1 bash -c "exec 3<>/dev/tcp/$database/5432" 2>/dev/null && die "node-1 reaches $database"
    done
    for id in $(docker ps -q --filter "label=com.docker.compose.project=$project"); do
        docker port "$id" | grep -v -- '-> 127\.0\.0\.1:' && die "a port is published beyond loopback"
    done
    passed "databases are reached by their agents only, ports are published on loopback only"
}

answers() { # what the answer's body and status must match; then as for api
    local want=$1 got
    shift
    got=$(api "$@" -w ' %{http_code}')
    [[ $got =~ $want ]] || die "$*: the answer is not \"$want\" but $got"
}
strangers_are_refused() {
    local node forged own='{"branches":[{"participant":"bank_a","statements":[{"sql":"SELECT 1"}]}]}'
    forged="Authorization: Bearer assent_$(printf '%064d' 0)"
    for node in "${nodes[@]}"; do
        answers 'no_credentials.* 401$' nobody "$node" /healthz
        answers 'no_credentials.* 401$' nobody "$node" /v1/cluster
        answers 'no_credentials.* 401$' nobody "$node" /v1/transactions -d '{"branches":[]}'
        answers 'unknown_token.* 401$' nobody "$node" /v1/cluster -H "$forged"
        answers ' 200$' viewer "$node" /v1/cluster
        answers 'wrong_role.* 403$' viewer "$node" /v1/cluster/transfer -d '{}'
        answers 'wrong_role.* 403$' load "$node" /v1/cluster/transfer -d '{}'
        answers 'wrong_role.* 403$' load "$node" /v1/cluster
        answers 'wrong_role.* 403$' operator "$node" /v1/transactions -d "$own"
        answers 'wrong_participant.* 403$' load "$node" /v1/transactions -d "${own/bank_a/bank_d}"
        answers '"committed".* 200$' load "$node" /v1/transactions -d "$own"
    done
    passed "at each node: 401 without a token or with a forged one, 403 for another role's route and another app's participant"
}

# Strangers at the doors of a node: without TLS, and at the one for nodes and agents with TLS but without a certificate.
refused() { docker logs "$(container "$1")" 2>&1 | grep -c "event=$2"; }
refused_beyond() { [ "$(refused "$1" "$2")" -gt "$3" ]; }
knock() { # node, the event that its log must tell, command
    local node=$1 event=$2 before
    shift 2
    before=$(refused "$node" "$event" || true)
    ! "$@" >"$work/knock" 2>&1 || die "$node lets in: $*: $(cat "$work/knock")"
    wait_for 10 "$node says $event of: $*" refused_beyond "$node" "$event" "$before"
}
plaintext_is_refused() {
    local node
    for node in "${nodes[@]}"; do
        knock "$node" https_refused curl -sS --max-time 10 "http://$(published "$node")/healthz"
        knock "$node" tls_refused in_container agent-a assent cluster status --api "http://$node.cluster:7481"
        knock "$node" tls_refused in_container agent-a assent cluster status --api "https://$node.cluster:7481"
    done
    passed "at each node: no plaintext at the API, nor at the port for nodes and agents, nor there TLS without a certificate"
}

each_has_its_own() {
    local service found
    [ -z "$(docker ps -q --filter "volume=${project}_certs")" ] || die "a container that runs sees all keys"
    for service in "${nodes[@]}" "${agents[@]}" load; do
        [ "$(docker ps -q --filter "volume=${project}_$service")" = "$(docker ps -q --filter "id=$(container "$service")")" ] ||
            die "another container sees the volume of $service"
        found=0
        secret operator.token | docker exec -i "$(container "$service")" grep -rqFf - identity || found=$?
        [ $found = 1 ] || die "does $service have the operator's token? grep says $found"
        [ "$service" = load ] || in_container "$service" sh -c 'stat -c %a identity/key.pem; sha256sum identity/key.pem'
    done >"$work/keys"
    [ "$(grep -c '^600$' "$work/keys")" = 6 ] || die "a key is not its owner's alone: $(cat "$work/keys")"
    [ "$(grep -v '^600$' "$work/keys" | sort -u | wc -l)" = 6 ] || die "keys are the same: $(cat "$work/keys")"
    passed "each node and agent has a key of its own, and sees no other; nobody that runs has the authority's or the operator's"
}

passwords_are_nowhere() {
    local database password
    docker ps -q --filter "label=com.docker.compose.project=$project" | xargs docker inspect >"$work/inspected"
    compose logs --no-color >>"$work/inspected" 2>&1
    for database in "${databases[@]}"; do
        password=$(in_container "$database" cut -d : -f 5 /secret/pgpass)
        [ ${#password} = 32 ] || die "$database has no password"
        ! grep -qF "$password" "$work/inspected" || die "the password of $database shows in environment or logs"
    done
    ! grep -E 'assent_[0-9a-f]{64}|PRIVATE KEY' "$work/inspected" || die "a token or a key shows in environment or logs"
    passed "each database drew a password of its own; none is in an environment or a log, nor is a token or a key"
}

# What the coordinators' logs, the databases and the journal hold, with the load stopped.
remember() {
    local database
    docker cp "$(container load)":/var/lib/assent/journal - | tar -xO
    for database in "${databases[@]}"; do
        query "$database" "SELECT * FROM accounts ORDER BY id"
        query "$database" "SELECT * FROM ledger ORDER BY txn"
    done
}
last_committed() {
    docker cp "$(container load)":/var/lib/assent/journal - | tar -xO | awk '$2 == "committed" { id = $1 } END { print id }'
}

certs() { docker cp "$(container certs)":/var/lib/assent - | sha256sum; }
facts() { grep -o '"state":"committed"\|"index":[0-9]*' | sort; } # of an answer

down_and_up_loses_nothing() {
    local id
    load_stop
    ./check.sh >"$work/check" || die "before down: $(cat "$work/check")"
    remember >"$work/before"
    id=$(last_committed)
    api viewer node-1 "/v1/transactions/$id" --fail | facts >"$work/fact"
    certs >"$work/certs"
    [ "$(wc -l <"$work/fact")" -ge 2 ] || die "the coordinators do not know $id"
    compose --profile watch down >/dev/null 2>&1
    [ -z "$(docker ps -aq --filter "label=com.docker.compose.project=$project")" ] || die "down left containers"
    start "${nodes[@]}" "${agents[@]}"
    compose up --no-start load >/dev/null 2>&1 # for its volume
    remember >"$work/after"
    cmp "$work/before" "$work/after" || die "down and up has changed what is stored"
    api viewer node-2 "/v1/transactions/$id" --fail | facts | diff "$work/fact" - || die "the coordinators tell otherwise of $id"
    certs | cmp "$work/certs" || die "down and up has changed certificates or tokens"
    ./check.sh
    start
    passed "down and up again: every row, the journal and the certificates are the same, and the coordinators still know $id"
}

# A node whose volume is gone has forgotten its votes: it must not begin anew by itself. It is removed, and its container
# joins under an id that no node has had (docs/docker.md).
refuses() { docker logs "$(container node-3)" 2>&1 | grep -q -- --bootstrap; }
lost_disk_is_replaced() {
    local from
    docker rm -f "$(container node-3)" "$(container certs)" >/dev/null
    docker volume rm "${project}_node-3" >/dev/null
    compose up -d node-3 >/dev/null 2>&1
    wait_for 60 "node-3 refuses to start without its log" refuses
    from=$(commits)
    wait_for 60 "the other two go on" committed_beyond $((from + 50))
    passed "a node that lost its volume refuses to start; the other two go on"
    assent cluster remove 3
    export ASSENT_NODE_3=4
    compose up -d node-3 >/dev/null 2>&1
    wait_for 60 "node 4 can be added" assent cluster add 4 node-3.cluster:7481
    wait_for 60 "node 4 is one of three" all_is_well
    assent cluster status
    passed "its container has joined as node 4"
}

certificate() { in_container agent-a sha256sum identity/certificate.pem; }
certificate_is_new() { [ "$(certificate)" != "$1" ]; }
old_certificates_are_replaced() {
    local before
    before=$(certificate)
    compose run --rm -T certs touch -d '301 days ago' agent-bank_a.pem >/dev/null 2>&1
    compose up -d certs >/dev/null 2>&1
    wait_for 60 "agent-a has a new certificate" certificate_is_new "$before"
    docker restart "$(container agent-a)" >/dev/null
    wait_for 60 "all is well with it" all_is_well
    passed "a certificate of 300 days is replaced at the next up"
}

# The proof itself: whatever is put wrong by hand, it must say so.
check_sees() { # text, database, SQL
    query "$2" "$3" >/dev/null
    if CHECK_SECONDS=2 ./check.sh >"$work/check" 2>&1; then
        cat "$work/check" >&2
        die "check.sh does not see $1"
    fi
    grep -q "^NOT PROVED" "$work/check" || die "check.sh failed otherwise: $(cat "$work/check")"
    passed "check.sh sees $1: $(grep '^NOT' "$work/check" | head -n 1)"
}
checker_is_checked() {
    local id
    load_stop
    id=$(last_committed)
    check_sees "money from nowhere" database-a "UPDATE accounts SET balance = balance + 1 WHERE id = 1"
    query database-a "UPDATE accounts SET balance = balance - 1 WHERE id = 1" >/dev/null
    check_sees "a prepared transaction" database-b \
        "BEGIN; UPDATE accounts SET balance = balance WHERE id = 1; PREPARE TRANSACTION 'left'"
    query database-b "ROLLBACK PREPARED 'left'" >/dev/null
    for database in "${databases[@]}"; do # one side of it is in two of the three
        query "$database" "INSERT INTO ledger SELECT * FROM ledger WHERE txn = '$id'" >/dev/null
    done
    check_sees "a transfer that is there twice" database-a "SELECT 1"
    for database in "${databases[@]}"; do query "$database" "DELETE FROM ledger WHERE txn = '$id'" >/dev/null; done
    check_sees "an acknowledged transfer that is gone" database-a "SELECT 1"
}

# What the dashboard, the rules and the documents name, a Prometheus that scrapes this cluster must have.
metrics_are_there() {
    local port files=(grafana-dashboard.json ../packaging/alerts.yml ../docs/operations.md ../docs/api.md)
    compose --profile watch up -d prometheus >"$work/up.log" 2>&1 || die "prometheus: $(cat "$work/up.log")"
    port=$(docker port "$(container prometheus)" 9090/tcp | head -n 1)
    wait_for 60 "every panel of the dashboard has figures" ./metrics-check.py "http://$port" "${files[0]}"
    ./metrics-check.py "http://$port" "${files[@]}"
}

# --- The order ---

daemon_start
base_find
step "build the images from $ASSENT_BASE"
up=1
compose --profile watch build >"$work/build.log" 2>&1 || {
    tail -n 40 "$work/build.log" >&2
    die "the build failed"
}
docker images --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep -E "^(assent.*:test|$ASSENT_BASE) "
step "up"
start
nobody_is_root
doors_are_shut
strangers_are_refused
plaintext_is_refused
each_has_its_own
passwords_are_nowhere
step "strikes"
./demo.sh "${1:-1}"
step "Prometheus and the dashboard"
metrics_are_there
step "down, and up again"
down_and_up_loses_nothing
step "a lost volume"
lost_disk_is_replaced
old_certificates_are_replaced
step "does the proof see what is wrong?"
checker_is_checked
