#!/usr/bin/env bash
# What is tested of the packages, in a bare Debian 12 with systemd running. See run.sh.
set -euo pipefail
nodes=(assentd@1 assentd@2 assentd@3)
export ASSENT_API=https://127.0.0.1:7480,https://127.0.0.1:7490,https://127.0.0.1:7500 ASSENT_CA=/etc/assent/tls/ca.pem

step() { echo "package-test: $*" >&2; }

fail() {
    echo "package-test: FAILED: $*" >&2
    systemctl --no-pager status "${nodes[@]}" assent-agent >&2 || true
    journalctl --no-pager -n 60 >&2
    exit 1
}

demand() { # "what" COMMAND...
    local what=$1
    shift
    "$@" >/dev/null 2>&1 || fail "$what: $*"
}

refuse() { # "what" COMMAND...
    local what=$1
    shift
    ! "$@" >/dev/null 2>&1 || fail "$what: $*"
}

same() { # "what" EXPECTED GOT
    [ "$2" = "$3" ] || fail "$1: expected $2, got $3"
}

# wait_for SECONDS "what" COMMAND...: until the command succeeds.
wait_for() {
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || fail "waited in vain: $what"
        sleep 0.1
    done
}

property() { systemctl show --property="$2" --value "$1"; }
pid_of() { property "$1" MainPID; }
three_are_up() {
    [ "$(assent cluster status --json | grep -o '"linked":true' | wc -l)" = 3 ] &&
        assent cluster status --json | grep -q '"role":"leader"'
}
balance() { runuser -u postgres -- psql -qXAt "$1" -c 'SELECT sum(balance) FROM accounts'; }
transfer() { # ID
    cat >/tmp/transfer.json <<TEXT
{ "id": "$1", "branches": [
  { "participant": "bank_a", "statements": [ { "sql": "UPDATE accounts SET balance = balance - 100 WHERE id = 1", "expect_rows": 1 } ] },
  { "participant": "bank_b", "statements": [ { "sql": "UPDATE accounts SET balance = balance + 100 WHERE id = 1", "expect_rows": 1 } ] } ] }
TEXT
    assent txn run /tmp/transfer.json
}
committed() { assent txn show "$1" --json | grep -q '"state":"committed"'; }

wait_for 60 "systemd is up" systemctl is-active multi-user.target

step "the three commands of docs/operations.md"
apt-get install -y -qq --no-install-recommends /packages/*.deb >/dev/null || fail "apt-get install"
assent-new-cluster main 3 >/tmp/new-cluster || fail "assent-new-cluster"
systemctl enable --now "${nodes[@]}" || fail "systemctl enable --now"
wait_for 30 "three nodes with a leader" three_are_up

step "what was installed"
version=$(dpkg-query -W -f='${Version}' assent-coordinator)
same "version of the program" "assentd ${version%-*}" "$(assentd --version)"
same "version of the agent" "assent-agent ${version%-*}" "$(assent-agent --version)"
same "version of the command" "assent ${version%-*}" "$(assent --version)"
refuse "the agent starts unasked" systemctl is-enabled assent-agent
refuse "the lone node starts unasked" systemctl is-enabled assentd
same "state directory" "700 assent assent" "$(stat -c '%a %U %G' /var/lib/assent)"
same "assentd.ini" "640 root assent" "$(stat -c '%a %U %G' /etc/assent/assentd.ini)"
same "assentd-1.ini" "640 root assent" "$(stat -c '%a %U %G' /etc/assent/assentd-1.ini)"
same "agent.ini" "640 root assent-agent" "$(stat -c '%a %U %G' /etc/assent/agent.ini)"
refuse "the coordinator may read the databases' passwords" runuser -u assent -- cat /etc/assent/agent.ini
refuse "the agent may read the decision log" runuser -u assent-agent -- ls /var/lib/assent
refuse "the agent may read a node's key" runuser -u assent-agent -- cat /etc/assent/tls/node-1-key.pem
refuse "a node may read the authority's key" runuser -u assent -- cat /etc/assent/tls/ca-key.pem
refuse "the API is served without TLS" assent cluster status --api http://127.0.0.1:7480
refuse "the API is served with a certificate of anybody" env -u ASSENT_CA assent cluster status
demand "the default file is good" assentd --config /etc/assent/assentd.ini --check-config
refuse "a cluster is made twice" assent-new-cluster main 3
for unit in assentd assentd@1 assent-agent; do
    demand "systemd finds the unit good" systemd-analyze verify "$unit.service"
    # Of 0 (safe) to 100. What is left: it speaks IP with everybody.
    demand "hardening" systemd-analyze security --threshold=20 "$unit.service"
    step "$(systemd-analyze security "$unit.service" | grep 'Overall exposure' | sed 's/^[^O]*//; s/ [^ ]*$//')"
done

step "a node tells what it is"
one_leads() { # by the status texts alone, which follow within a second
    local node leaders=0
    for node in "${nodes[@]}"; do
        case $(property "$node" StatusText) in
        "node ${node#*@}, leader, term "*) leaders=$((leaders + 1)) ;;
        "node ${node#*@}, follower of node "*) ;;
        *) return 1 ;;
        esac
    done
    [ $leaders = 1 ]
}
wait_for 10 "statuses of one leader and two followers" one_leads

step "databases and an agent"
apt-get install -y -qq --no-install-recommends postgresql-15 >/dev/null || fail "apt-get install postgresql-15"
runuser -u postgres -- psql -qX -c 'ALTER SYSTEM SET max_prepared_transactions = 20' -c 'CREATE ROLE "assent-agent" LOGIN'
systemctl restart postgresql@15-main
for bank in bank_a bank_b; do
    runuser -u postgres -- createdb -O assent-agent "$bank"
    runuser -u assent-agent -- psql -qX "$bank" -c 'CREATE TABLE accounts (id int PRIMARY KEY, balance bigint)' \
        -c 'INSERT INTO accounts VALUES (1, 1000)'
    printf '[participant.%s]\ndsn = host=/run/postgresql dbname=%s\n' $bank $bank >>/etc/assent/agent.ini
done
assent certs /etc/assent/tls --cluster main --agent bank_a,bank_b >/dev/null || fail "assent certs"
chown assent-agent /etc/assent/tls/agent-bank_a+bank_b-key.pem
printf '[tls]\nca = /etc/assent/tls/ca.pem\ncertificate = /etc/assent/tls/agent-bank_a+bank_b.pem\nkey = /etc/assent/tls/agent-bank_a+bank_b-key.pem\n' \
    >>/etc/assent/agent.ini
sed -i "s/^coordinators = .*/$(sed -n 's/^ *\(coordinators = .*\)/\1/p' /tmp/new-cluster)/" /etc/assent/agent.ini
demand "the edited file is good" assent-agent --config /etc/assent/agent.ini --check
systemctl enable --now assent-agent || fail "systemctl enable --now assent-agent"
for bank in bank_a bank_b; do
    wait_for 30 "$bank is up" assent participant show "$bank"
done
wait_for 10 "the agent's status" sh -c "systemctl show -p StatusText assent-agent | grep -q '2 of 2 databases up'"

step "a transaction"
transfer first >/tmp/answer || fail "$(cat /tmp/answer)"
same "bank_a" 900 "$(balance bank_a)"
same "bank_b" 1100 "$(balance bank_b)"

step "the doctor and top"
assent doctor >/tmp/doctor || fail "assent doctor: $(cat /tmp/doctor)"
[ "$(grep -c 'ends in 36[0-9] days' /tmp/doctor)" = 4 ] || fail "certificates: $(cat /tmp/doctor)"
env -u ASSENT_API -u ASSENT_CA assent doctor >/tmp/doctor || fail "assent doctor without an environment: $(cat /tmp/doctor)"
grep -q '/etc/assent/assentd-3.ini: assentd finds it good' /tmp/doctor || fail "assent doctor: $(cat /tmp/doctor)"
assent top --once --json | grep -q '"committed_per_s"' || fail "assent top"

step "a node that is killed comes back"
killed=$(pid_of assentd@2)
kill -9 "$killed"
wait_for 30 "node 2 runs again" sh -c "[ \$(systemctl show -p MainPID --value assentd@2) != $killed ] && systemctl is-active assentd@2"
wait_for 30 "three nodes with a leader" three_are_up

step "a node that hangs is found by the watchdog"
mkdir -p /run/systemd/system/assentd@3.service.d
printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/assentd@3.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart assentd@3
hung=$(pid_of assentd@3)
kill -STOP "$hung"
wait_for 60 "node 3 was replaced" sh -c "[ \$(systemctl show -p MainPID --value assentd@3) != $hung ] && systemctl is-active assentd@3"
[ -n "$(journalctl -u assentd@3 | grep 'Watchdog timeout')" ] || fail "it was not the watchdog who killed node 3"
rm -r /run/systemd/system/assentd@3.service.d
systemctl daemon-reload
wait_for 30 "three nodes with a leader" three_are_up

step "certificates are reloaded"
assent certs /etc/assent/tls --cluster main --renew --node 1 >/dev/null || fail "assent certs --renew"
chown assent /etc/assent/tls/node-1-key.pem
same_pid=$(pid_of assentd@1)
systemctl reload assentd@1 || fail "systemctl reload"
wait_for 10 "certificates are reloaded" sh -c "journalctl -u assentd@1 | grep certificates_reloaded"
same "process" "$same_pid" "$(pid_of assentd@1)"

step "a wrong file is not tried again and again"
cp /etc/assent/assentd-3.ini /tmp/good.ini
echo '[nonsense]' >>/etc/assent/assentd-3.ini
refuse "node 3 starts with a wrong file" systemctl restart assentd@3
same "restarts" 0 "$(property assentd@3 NRestarts)"
cat /tmp/good.ini >/etc/assent/assentd-3.ini
systemctl reset-failed assentd@3
systemctl start assentd@3
wait_for 30 "three nodes with a leader" three_are_up

upgrade() { # FOLDER
    local before after unit
    before=$(for unit in "${nodes[@]}" assent-agent; do pid_of "$unit"; done)
    dpkg -i --force-confold "$1"/*.deb >/tmp/dpkg.log 2>&1 || fail "dpkg -i: $(cat /tmp/dpkg.log)"
    for unit in "${nodes[@]}" assent-agent; do
        demand "$unit runs after the upgrade" systemctl is-active "$unit"
        after=$(pid_of "$unit")
        ! grep -qx "$after" <<<"$before" || fail "$unit was not restarted by the upgrade"
    done
    wait_for 30 "three nodes with a leader" three_are_up
    demand "the agent's file is as it was edited" grep -q '^\[participant.bank_b\]' /etc/assent/agent.ini
    demand "what was committed is known" committed first
}

# Moves money until told to end; what a restart refuses or loses the answer of is asked again under its id.
move_money() {
    local moved=0
    while [ ! -e /tmp/enough ]; do
        until transfer "moved-$moved" >/dev/null 2>&1; do sleep 0.05; done
        moved=$((moved + 1))
        echo $moved >/tmp/moved
    done
}

step "the package over itself, then a later release, while money moves"
runuser -u postgres -- psql -qX bank_a -c 'UPDATE accounts SET balance = 1000000'
runuser -u postgres -- psql -qX bank_b -c 'UPDATE accounts SET balance = 0'
move_money &
mover=$!
wait_for 30 "money moves" test -s /tmp/moved
upgrade /packages
upgrade /upgrade
same "release" "${version%-*}-2" "$(dpkg-query -W -f='${Version}' assent-coordinator)"
touch /tmp/enough
wait $mover
moved=$(cat /tmp/moved)
step "$moved transfers meanwhile"
same "bank_a" $((1000000 - 100 * moved)) "$(balance bank_a)"
same "bank_b" $((100 * moved)) "$(balance bank_b)"

step "remove, and install again"
dpkg -r assent-coordinator assent-agent assent-cli >/dev/null
for node in "${nodes[@]}"; do refuse "$node runs on" systemctl is-active "$node"; done
demand "the logs stay" test -e /var/lib/assent/node-1
demand "the files stay" test -e /etc/assent/agent.ini
dpkg -i /packages/*.deb >/dev/null 2>&1 || fail "dpkg -i after a removal"
systemctl start "${nodes[@]}" assent-agent
wait_for 30 "three nodes with a leader" three_are_up
demand "what was committed is known" committed moved-0
wait_for 30 "transfers go on" transfer again

step "purge"
dpkg --purge assent-coordinator assent-agent assent-cli >/tmp/purge.log 2>&1 || fail "purge: $(cat /tmp/purge.log)"
for n in 1 2 3; do
    [ -n "$(ls /var/lib/assent/node-$n/*.log)" ] || fail "a purge has taken the log of node $n"
    demand "the file of a log that is kept stays" test -s /etc/assent/assentd-$n.ini
done
grep -q '/var/lib/assent is kept' /tmp/purge.log || fail "the purge does not say what it kept"
demand "the packages' files are gone" test ! -e /etc/assent/agent.ini -a ! -e /etc/assent/assentd.ini
refuse "links of the units stay" sh -c 'ls /etc/systemd/system/*.wants/assent*'
rm -r /var/lib/assent /etc/assent/assentd-*.ini /etc/assent/tls

step "a purge of what was never used leaves nothing"
dpkg -i /packages/*.deb >/dev/null 2>&1 || fail "dpkg -i after a purge"
dpkg --purge assent-coordinator assent-agent assent-cli >/dev/null 2>&1
demand "nothing is left" test ! -e /var/lib/assent -a ! -e /etc/assent

step "passed"
