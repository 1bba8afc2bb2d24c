#!/bin/sh
# The first process of an agent's container: writes its configuration from the environment and becomes assent-agent.
#
#   ASSENT_COORDINATORS   HOST:PORT, HOST:PORT, ...
#   ASSENT_PARTICIPANT    what services call the database
#   ASSENT_DATABASE       the host of its server
#
# The password stays in the file that the database's container wrote into the volume that both share; identity/ in the
# agent's own volume is of certs.sh.
set -eu
identity=/var/lib/assent/identity
cat >/tmp/agent.ini <<INI
[agent]
cluster = bank
name = agent of ${ASSENT_PARTICIPANT:?}
coordinators = ${ASSENT_COORDINATORS:?}

[tls]
ca = $identity/ca.pem
certificate = $identity/certificate.pem
key = $identity/key.pem

[participant.$ASSENT_PARTICIPANT]
dsn = host=${ASSENT_DATABASE:?} dbname=bank user=assent passfile=/secret/pgpass
INI
exec assent-agent --config /tmp/agent.ini
