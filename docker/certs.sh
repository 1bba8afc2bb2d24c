#!/bin/sh
# The one-shot service `certs`. What is missing it makes in its own volume, which no service that runs sees: the authority, a
# certificate for each node and agent, tokens. Then it hands each service what it is to have, and no more: identity/ in that
# service's volume, mounted here as /to/SERVICE. What is there stays, but a certificate of 300 days is replaced: it is valid for 365.
#
#   ASSENT_NODE_IDS   of node-1, node-2, ... in this order
set -eu
umask 077
cd /var/lib/assent
[ -e ca.pem ] || rm -f ca-key.pem # of a first run that was cut short

certificate() { # its name, and the option of `assent certs` that makes it
    [ -n "$(find "$1.pem" -mtime -300 2>/dev/null)" ] || assent certs . --cluster bank --renew "$2" "$3" >/dev/null
}

token() { # its name, and what it may
    name=$1
    shift
    [ -s "$name.token" ] && return
    assent token new --name "$name" --file tokens "$@" >new
    mv new "$name.token"
}

# A file that is right already is not touched: somebody may be reading it.
give() { # service, then FILE AS...
    to=/to/$1/identity
    shift
    mkdir -p "$to"
    while [ $# != 0 ]; do
        cmp -s "$1" "$to/$2" || { cp "$1" "$to/new" && mv "$to/new" "$to/$2"; }
        shift 2
    done
}

token viewer --role viewer
token operator --role operator
token load --role app --participant bank_a --participant bank_b --participant bank_c
certificate viewer-browser --viewer browser

number=0
for id in ${ASSENT_NODE_IDS:?}; do
    number=$((number + 1))
    certificate "node-$id" --node "$id=node-$number,node-$number.cluster"
    give "node-$number" ca.pem ca.pem "node-$id.pem" certificate.pem "node-$id-key.pem" key.pem tokens tokens viewer.token token
done
for letter in a b c; do
    certificate "agent-bank_$letter" --agent "bank_$letter"
    give "agent-$letter" ca.pem ca.pem "agent-bank_$letter.pem" certificate.pem "agent-bank_$letter-key.pem" key.pem \
        viewer.token token
done
give load ca.pem ca.pem load.token token
give prometheus ca.pem ca.pem viewer.token token
