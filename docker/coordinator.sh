#!/bin/sh
# The first process of a coordinator's container: writes its configuration from the environment and becomes assentd.
#
#   ASSENT_NODE     this node's id
#   ASSENT_NODES    1=HOST:PORT, 2=HOST:PORT, ...: all founders; a node that is none of them joins
#
# /var/lib/assent is this node's volume; identity/ in it is of certs.sh. /cluster is shared by the nodes: it holds what is
# drawn once for all (the incarnation), and who has begun. The latter is not kept beside the log on purpose: a node whose
# log is lost must not begin anew, for it has forgotten its votes (docs/operations.md, "A node that lost its disk").
set -eu
node=${ASSENT_NODE:?} nodes=${ASSENT_NODES:?}
log=/var/lib/assent/log identity=/var/lib/assent/identity

# Whoever is first wins; `ln` never replaces a file.
if [ ! -e /cluster/incarnation ]; then
    od -An -N8 -tx1 /dev/urandom | tr -d ' \n' >"/cluster/drawn-by-$node"
    ln "/cluster/drawn-by-$node" /cluster/incarnation 2>/dev/null || true
    rm "/cluster/drawn-by-$node"
fi

# Noted before the log is there: a crash between the two leaves a node that refuses to start, which is the safe side.
case ", $nodes" in
*", $node="*) first=--bootstrap members="nodes = $nodes" ;;
*) first=--join members= ;; # the cluster's log tells it
esac
mkdir -p "$log"
if [ -e "/cluster/begun-$node" ] || ls "$log"/*.log >/dev/null 2>&1; then first=; fi
: >"/cluster/begun-$node"

cat >/tmp/assentd.ini <<INI
[node]
cluster = bank
id = $node
data_dir = $log

[tls]
ca = $identity/ca.pem
certificate = $identity/certificate.pem
key = $identity/key.pem

[api]
listen = 0.0.0.0:7480
tls = yes
tokens = $identity/tokens
client_ca = $identity/ca.pem

[agents]
listen = 0.0.0.0:7481

[cluster]
$members
incarnation = $(cat /cluster/incarnation)

; Some 600 bytes each: they must fit into the container's memory limit (compose.yaml).
[limits]
outcomes_max = 400000
INI
exec assentd --config /tmp/assentd.ini $first
