#!/usr/bin/env bash
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What a careful operator would type, as the other side of the benchmarks: ssh and curl, polls every 0.2 s, nothing between.
#   byhand.sh add NEW OLD...      add node NEW to the members OLD, whose lists stay as they are
# KEY: ssh key; JAR: path of the release; IP_<host>: addresses. One ssh connection per host is opened before the clock starts,
# as it is for the play. Prints "milliseconds N".
set -euo pipefail

verb=$1 new=$2
shift 2
old=("$@")

address() { local name=IP_$1; echo "${!name}"; }
ssh_options=(-q -F /dev/null -i "$KEY" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ControlMaster=auto -o ControlPath=/tmp/byhand-%C -o ControlPersist=60)
on() { local host=$1; shift; ssh "${ssh_options[@]}" "root@$(address "$host")" "$@"; }
get() { curl -s -m 3 "http://$(address "$1"):8080$2"; }
status() { curl -s -m 3 -o /dev/null -w '%{http_code}' "http://$(address "$1"):8080$2" || true; }

until_true() { # until_true SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ $SECONDS -lt $end ] || { echo "byhand: waited in vain for $what" >&2; exit 1; }
    sleep 0.2
  done
}

peers() { local list='' host; for host in "$@"; do list=${list:+$list,}$host:$(address "$host"):8090; done; echo "$list"; }
ready() { [ "$(status "$1" /health/ready)" = 200 ]; }
all_ready() { local host; for host in "$@"; do ready "$host" || return 1; done; }
one_leader() { local host; [ "$(for host in "$@"; do get "$host" /api/status | python3 -c 'import json,sys; print(json.load(sys.stdin)["leader"])'; done | sort -u | grep -cv none)" = 1 ]; }
on_duty_everywhere() {
  local host
  for host in "${old[@]}"; do
    get "$host" /api/nodes/lifecycle | python3 -c 'import json,sys; sys.exit(not any(e["nodeId"] == sys.argv[1] and e["state"] == "ON_DUTY" for e in json.load(sys.stdin)))' "$new" || return 1
  done
}

install_node() {
  local sum
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
ExecStart=/usr/bin/java -Xmx128m -jar /opt/aether/aether-node.jar --config=/etc/aether/aether.toml --node-id=$new --port=8090 --management-port=8080 --peers=$(peers "${old[@]}" "$new")
SuccessExitStatus=143
RestartSec=30
[Install]
WantedBy=multi-user.target
UNIT
}

[ "$verb" = add ] || { echo "byhand: no verb '$verb'" >&2; exit 1; }
for host in "${old[@]}" "$new"; do on "$host" true; done
begin=$(date +%s%N)
all_ready "${old[@]}" && one_leader "${old[@]}" || { echo "byhand: the old members are not well" >&2; exit 1; }
install_node
on "$new" 'systemctl enable --quiet --now aether'
until_true 60 "$new to be ready" ready "$new"
until_true 30 "$new on duty in every old member's view" on_duty_everywhere
until_true 30 "one leader" one_leader "${old[@]}"
echo "milliseconds $((($(date +%s%N) - begin) / 1000000))"
