# Of demo.sh, check.sh and test.sh: the containers and networks of the compose project, and waiting.
# shellcheck shell=bash disable=SC2034
cd "$(dirname "${BASH_SOURCE[0]}")" || exit

# Nothing ends in silence.
set -E
trap 'echo "${0##*/}: line $LINENO failed: $BASH_COMMAND" >&2' ERR

# As compose finds it: in the environment, else in .env.
project=${COMPOSE_PROJECT_NAME:-$(sed -n 's/^COMPOSE_PROJECT_NAME=//p' .env)}
nodes=(node-1 node-2 node-3)
agents=(agent-a agent-b agent-c)
databases=(database-a database-b database-c)

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose "$@"
    else
        docker-compose "$@"
    fi
}

# The container of a service; compose 1 and 2 name them differently.
container() {
    local id
    id=$(docker ps -aq --filter "label=com.docker.compose.project=$project" \
        --filter "label=com.docker.compose.service=$1")
    [ -n "$id" ] || die "there is no container of $1 in project $project: docker compose up -d"
    echo "$id"
}

in_container() {
    local id
    id=$(container "$1")
    shift
    docker exec "$id" "$@"
}

# What the service certs has made: ca.pem, operator.token, ...
secret() {
    docker cp "$(container certs)":/var/lib/assent/"$1" - | tar -xO
}

# The command as the operator, from the network of the nodes. A token is no argument: everybody sees those.
assent() {
    [ -n "${operator:=$(secret operator.token)}" ] || return 1
    ASSENT_TOKEN=$operator docker exec -e ASSENT_TOKEN "$(container agent-a)" assent "$@"
}

published() { # node: 127.0.0.1:PORT
    docker port "$(container "$1")" 7480/tcp | head -n 1
}

# The API from the host, by curl: whose token (or nobody), node, path, curl's options.
api() {
    local header="" node=$2 path=$3
    [ "$1" = nobody ] || header="Authorization: Bearer $(secret "$1.token")"
    shift 3
    curl -sS --max-time 20 --cacert <(secret ca.pem) -H @- -H 'Content-Type: application/json' "$@" \
        "https://$(published "$node")$path" <<<"$header"
}

state_of() { # running, exited, paused ...
    docker inspect --format '{{.State.Status}}' "$(container "$1")"
}

# wait_for SECONDS "what" COMMAND...: until the command succeeds.
wait_for() {
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || die "waited in vain: $what"
        sleep 0.2
    done
}

# Asked now, not at the last health check: every node has links to the others and is caught up, as the leader sees it;
# every database is up by way of its agent.
all_is_well() {
    local status service
    status=$(assent cluster status --json)
    [ "$(grep -o '"linked":true' <<<"$status" | wc -l)" = ${#nodes[@]} ] || return 1
    [ "$(grep -o '"caught_up":true' <<<"$status" | wc -l)" = ${#nodes[@]} ] || return 1
    for service in "${agents[@]}"; do
        assent participant show "bank_${service#agent-}" || return 1
    done
}

# What the load was told so far.
commits() {
    in_container load grep -c ' committed$' /var/lib/assent/journal
}
committed_beyond() {
    [ "$(commits)" -ge "$1" ]
}

# One value from a bank's database, as its superuser by way of the socket.
query() { # database-a SQL
    in_container "$1" psql -qXAt -F ' ' -c "$2" bank
}
