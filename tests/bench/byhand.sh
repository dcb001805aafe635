#!/usr/bin/env bash
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What a careful operator would type, as the other side of the benchmarks: ssh and curl, polls every 0.2 s, nothing between.
#   byhand.sh add NEW OLD...      add node NEW to the members OLD, whose lists stay as they are
#   byhand.sh roll HOST...        restart all members, one after the other, the leader last
#   byhand.sh remove OUT HOST...  drain and stop OUT, which does not lead, and restart the HOSTs with a list that lacks it
# KEY: ssh key; JAR: path of the release, for add; IP_<host>: addresses. Hosts are named like their nodes. An ssh connection is
# opened where it is needed first, as a play does it, and kept until the end. Prints "milliseconds N".
set -euo pipefail

verb=$1
shift
hosts=("$@")

address() { local name=IP_$1; echo "${!name}"; }
connections=$(mktemp -d)
ssh_options=(-q -F /dev/null -i "$KEY" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ControlMaster=auto -o ControlPath="$connections/%C" -o ControlPersist=yes)
on() { local host=$1; shift; ssh "${ssh_options[@]}" "root@$(address "$host")" "$@"; }
hang_up() {
  local host
  for host in "${hosts[@]}"; do ssh "${ssh_options[@]}" -O exit "root@$(address "$host")" 2>/dev/null || true; done
  rm -rf "$connections"
}
trap hang_up EXIT
die() { echo "byhand: $*" >&2; exit 1; }

ask() { # ask PATH HOST...: what each host answers, one a line
  local path=$1 host urls=()
  shift
  for host in "$@"; do urls+=("http://$(address "$host"):8080$path"); done
  curl -s -m 3 -w '\n' "${urls[@]}" || true
}
holds() { # ... | holds EXPRESSION [NAME]: of the answers `said`, and of `name`; false when a host did not answer
  python3 -c 'import json, sys
said, name = [json.loads(line or "null") for line in sys.stdin.read().splitlines()], sys.argv[2]
sys.exit(None in said or not eval(sys.argv[1]))' "$1" "${2-}" 2>/dev/null
}
status() { curl -s -m 3 -o /dev/null -w '%{http_code}' "http://$(address "$1"):8080$2" || true; }

until_true() { # until_true SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ $SECONDS -lt $end ] || die "waited in vain for $what"
    sleep 0.2
  done
}

peers() { local list='' host; for host in "$@"; do list=${list:+$list,}$host:$(address "$host"):8090; done; echo "$list"; }
ready() { [ "$(status "$1" /health/ready)" = 200 ]; }
all_ready() { local host; for host in "$@"; do ready "$host" || return 1; done; }
one_leader() { ask /api/status "$@" | holds 'len({s["leader"] for s in said}) == 1 and said[0]["leader"] != "none"'; }
are_majority() { ask /api/cluster/topology "$@" | holds 'all(2 * len(said) > s["clusterSize"] for s in said)'; }
has_state() { ask /api/blueprints "$@" | holds 'said[0].get("blueprints") and said[0] == said[1]'; } # has_state HOST OTHER: what the other has
on_duty() { local name=$1; shift; ask /api/nodes/lifecycle "$@" | holds 'all(any(e["nodeId"] == name and e["state"] == "ON_DUTY" for e in s) for s in said)' "$name"; }
# Not by the lifecycle list: a leader's entry stays until there is another, 14 s that a restart need not wait.
gone() { local name=$1; shift; ask /api/status "$@" | holds 'all(e["id"] != name for s in said for e in s["cluster"]["nodes"])' "$name"; }
decommissioned() { local name=$1; shift; ask /api/nodes/lifecycle "$@" | holds 'all(any(e["nodeId"] == name and e["state"] == "DECOMMISSIONED" for e in s) for s in said)' "$name"; }
empty() { ask /api/slices "$@" | holds 'all(i["nodeId"] != name for s in said for e in s.get("slices", []) for i in e.get("instances", []))' "$1"; } # in its own view, too
drained() { decommissioned "$@" && empty "$@"; } # drained NAME HOST...
settled() { ask /api/slices "$@" | holds 'all([i["state"] for i in e.get("instances", [])] == ["ACTIVE"] * e["targetInstances"] for s in said for e in s["slices"])'; }
have_list_of() { local count=$1; shift; ask /api/cluster/topology "$@" | holds 'all(len(s["coreNodes"]) == int(name) for s in said)' "$count"; }

install_node() { # install_node NEW OLD...
  local new=$1 sum
  shift
  sum=$(sha256sum "$JAR" | cut -d' ' -f1)
  on "$new" 'java -version 2>&1 | grep -q "\"25"; id aether >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin aether
    install -d -m 755 /opt/aether; install -d -m 750 -o aether -g aether /var/lib/aether; install -d -m 750 -g aether /etc/aether'
  scp "${ssh_options[@]}" "$JAR" "root@$(address "$new"):/opt/aether/aether-node.jar.part"
  on "$new" "echo '$sum  /opt/aether/aether-node.jar.part' | sha256sum -c --quiet && mv /opt/aether/aether-node.jar.part /opt/aether/aether-node.jar"
  on "$new" 'cat > /etc/aether/aether.toml' <<TOML
[cluster]
environment = "local"
nodes = 3
tls = false
[cluster.ports]
management = 8080
cluster = 8090
TOML
  on "$new" 'cat > /etc/systemd/system/aether.service && systemctl daemon-reload' <<UNIT
[Service]
User=aether
WorkingDirectory=/var/lib/aether
ExecStart=/usr/bin/java -Xmx128m -jar /opt/aether/aether-node.jar --config=/etc/aether/aether.toml --node-id=$new --port=8090 --management-port=8080 --peers=$(peers "$@" "$new")
SuccessExitStatus=143
RestartSec=30
[Install]
WantedBy=multi-user.target
UNIT
}

add() { # add NEW OLD...
  local new=$1
  shift
  all_ready "$@" && one_leader "$@" || die "the old members are not well"
  install_node "$new" "$@"
  on "$new" 'systemctl enable --quiet --now aether'
  until_true 60 "$new to be ready" ready "$new"
  until_true 30 "$new on duty in every old member's view" on_duty "$new" "$@"
  until_true 30 "one leader" one_leader "$@"
}

list='' beside=''
restart() { # restart HOST OTHER...: with the peers in `list`, if there are any; `beside` counts for the majority, but is not waited for
  local host=$1 change=''
  shift
  all_ready "$host" "$@" && one_leader "$host" "$@" && are_majority "$@" ${beside:+"$beside"} || die "the members are not well, $host is not stopped"
  on "$host" 'systemctl stop aether'
  until_true 30 "$host to be gone from every other view" gone "$host" "$@"
  [ -z "$list" ] || change="sed -i 's/--peers=[^ ]*/--peers=$list/' /etc/systemd/system/aether.service && systemctl daemon-reload &&"
  on "$host" "$change systemctl start aether"
  until_true 60 "$host to be ready" ready "$host"
  until_true 30 "$host to have the state that $1 has" has_state "$host" "$1"
  until_true 30 "$host on duty in every other view" on_duty "$host" "$@"
  until_true 30 "one leader" one_leader "$host" "$@"
}

restart_one_of() { # restart_one_of HOST MEMBER...: HOST is among the members
  local host=$1 other others=()
  shift
  for other in "$@"; do [ "$other" = "$host" ] || others+=("$other"); done
  restart "$host" "${others[@]}"
}

leader_last() { # leader_last HOST...: into `order`
  local host leader
  leader=$(ask /api/status "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["leader"])')
  [[ " $* " = *" $leader "* ]] || die "none of $* leads, but '$leader'"
  order=()
  for host in "$@"; do [ "$host" = "$leader" ] || order+=("$host"); done
  order+=("$leader")
}

roll() { # roll HOST...
  local host order
  leader_last "$@"
  for host in "${order[@]}"; do restart_one_of "$host" "$@"; done
}

remove() { # remove OUT HOST...
  local out=$1 size=$# before=0 host order
  shift
  all_ready "$out" "$@" && one_leader "$out" "$@" && are_majority "$@" || die "the members are not well, $out is not drained"
  curl -s -m 5 -X POST "http://$(address "$1"):8080/api/node/drain/$out" | holds 'said[0]["success"]' || die "$1 does not drain $out"
  until_true 60 "$out to be drained" drained "$out" "$@"
  # Where the rest would have no margin for the restarts once it is stopped, the followers get the list first (docs/product.md 2).
  [ $((size - 2)) -gt $((size / 2)) ] || before=$((size - 2))
  leader_last "$@"
  list=$(peers "$@") beside=$out
  for host in "${order[@]:0:before}"; do restart_one_of "$host" "$@"; done
  beside=''
  drained "$out" "$@" && one_leader "$@" && are_majority "$@" || die "the members are not well, $out is not stopped"
  on "$out" 'systemctl disable --quiet --now aether'
  until_true 30 "$out to be gone from every view" gone "$out" "$@"
  for host in "${order[@]:before}"; do restart_one_of "$host" "$@"; done
  all_ready "$@" && have_list_of $# "$@" || die "not all of $* run with the shorter list"
  until_true 30 "every slice to be active" settled "$@"
}

case $verb in add | roll | remove) ;; *) die "no verb '$verb'" ;; esac
begin=$(date +%s%N)
"$verb" "${hosts[@]}"
echo "milliseconds $((($(date +%s%N) - begin) / 1000000))"
