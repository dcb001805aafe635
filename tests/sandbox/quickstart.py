# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From nothing to a cluster of five on disposable hosts, with the same plays a user runs. Run again it goes on from where it is."""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent / "node"))
import hosts as sandbox  # noqa: E402
from simnode.tls import Certificate  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".dev" / "quickstart"
POOL = "quickstart"
V1, RUNBOOK = "v1", "runbook"
THREE, FIVE = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4", "n5"]
STEPS = 6


class Progress:
    """Numbered lines with the seconds since the start."""

    def __init__(self):
        self.start, self.number = time.monotonic(), 0

    def step(self, text: str) -> None:
        self.number += 1
        print("\n[%3.0f s] %d/%d %s" % (time.monotonic() - self.start, self.number, STEPS, text), flush=True)


def play(inventory: Path, playbook: str, *arguments: str) -> None:
    """Run a playbook as a user would; what it prints is shown and kept."""
    command = ["ansible-playbook", "-i", str(inventory), playbook, *arguments]
    print("$ " + " ".join(command[:2] + [str(inventory.relative_to(ROOT)), playbook, *arguments]), flush=True)
    code = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode
    if code:
        sys.exit("quickstart: %s ended with %d; what it says is above. Run bin/quickstart again to go on, or bin/quickstart --down to begin anew." % (playbook, code))


def inventories(pool: sandbox.Pool, jar: Path, api: str, secret: str) -> tuple[Path, Path]:
    """three.json and five.json: the same hosts, before and after growing. With a secret nobody else can read them."""
    HOME.mkdir(mode=0o700, parents=True, exist_ok=True)
    variables = {"aether_jar": str(jar), "aether_heap": "256m"}
    if api != V1:
        variables["aether_api"] = api
    if secret:
        variables.update(aether_tls=True, aether_cluster_secret=secret)
    paths = []
    for name, hosts in (("three", THREE), ("five", FIVE)):
        path = HOME / (name + ".json")
        path.touch(mode=0o600)
        path.write_text(json.dumps(pool.inventory(hosts, variables), indent=2) + "\n", encoding="utf-8")
        paths.append(path)
    return paths[0], paths[1]


def grown(pool: sandbox.Pool) -> bool:
    """Has an earlier run begun to grow the cluster? Then the three are no whole inventory any more."""
    return any(pool.exec(h, "systemctl", "is-active", "--quiet", "aether", check=False).returncode == 0 for h in FIVE[3:])


def slice_jar() -> Path:
    """A JAR for the slices of the quickstart's own blueprint: the simulated node looks at its checksum only."""
    path = HOME / "slice.jar"
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr(zipfile.ZipInfo("slice.txt"), "a slice")
    return path


def before() -> Optional[dict]:
    """The variables of the cluster that an earlier run made; None when there is none."""
    try:
        return json.loads((HOME / "five.json").read_text(encoding="utf-8"))["aether_nodes"].get("vars", {})
    except FileNotFoundError:
        return None


def of_another_kind(found, api: str, tls: bool) -> bool:
    """Do the hosts run what this run would not go on with? ``found``: what before() says."""
    return found is not None and (found.get("aether_api", V1), bool(found.get("aether_tls"))) != (api, tls)


def why_no_tls(options) -> str:
    """Empty when the nodes are to speak TLS."""
    if options.tls is not None:
        return "" if options.tls else "as you said"
    if options.jar:
        return "for the releases that there are never form a cluster with TLS (docs/product.md 7); --tls does it anyway"
    return "" if options.api == V1 else "so that the runbook's own commands work as they stand"


def own_certificate(secret: str) -> None:
    """For curl: the authority's certificate, and one for a person, with its key."""
    own = Certificate(secret, "somebody", "localhost")
    for name, text in (("ca.pem", own.root), ("own.pem", own.chain)):
        path = HOME / name
        path.touch(mode=0o600)
        path.write_bytes(text)


def up(options) -> None:
    found, no_tls = before(), why_no_tls(options)
    if of_another_kind(found, options.api, not no_tls):
        sys.exit("quickstart: the hosts run nodes with another API, or %s TLS; take them down first: bin/quickstart --down" % ("without" if not no_tls else "with"))
    secret = "" if no_tls else (found or {}).get("aether_cluster_secret") or secrets.token_urlsafe(24)
    progress = Progress()
    progress.step("Sandbox: packages and the hosts' root file system")
    sandbox.build()
    progress.step("The node: %s" % (options.jar or "a simulated aether-node.jar"))
    jar = Path(options.jar).resolve() if options.jar else sandbox.jar(api=options.api)
    progress.step("Five systemd hosts (pool '%s')" % POOL)
    pool = sandbox.Pool(POOL)
    for host, facts in pool.up(FIVE).items():
        print("    %s  %s" % (host, facts["ip"]))
    three, five = inventories(pool, jar, options.api, secret)
    print("    TLS: %s" % ("off, " + no_tls if no_tls else "on, from a secret in %s" % five.relative_to(ROOT)))
    if secret:
        own_certificate(secret)
    if grown(pool):
        progress.step("A cluster of three: there is one already")
    else:
        progress.step("A cluster of three, with a blueprint of two slices")
        play(three, "playbooks/site.yml")
        if options.jar and not options.blueprint:
            print("    Without slices: a real node needs real ones, --blueprint FILE.")
        else:
            slices = ["-e", "sandbox_blueprint_file=%s" % Path(options.blueprint).resolve()] if options.blueprint else ["-e", "sandbox_slice_jar=%s" % slice_jar()]
            play(three, "tests/sandbox/playbooks/blueprint.yml", *slices)
    progress.step("Grow it to five")
    play(five, "playbooks/add_node.yml")
    progress.step("Its status")
    play(five, "playbooks/status.yml")
    look = LOOK["tls" if secret else options.api].format(address=pool.ip("n1"), cli=sandbox.CLI.relative_to(ROOT), home=HOME.relative_to(ROOT))
    print(NEXT.format(look=look, seconds=time.monotonic() - progress.start, five=five.relative_to(ROOT)), flush=True)


NEXT = """
Done in {seconds:.0f} s. The cluster runs on five hosts; the commands are the ones you would use on your own:

    . .dev/venv/bin/activate
    ansible-playbook -i {five} playbooks/status.yml
    ansible-playbook -i {five} playbooks/rolling_restart.yml
    ansible-playbook -i {five} playbooks/add_node.yml --check      # nothing left to add: changed=0
    ansible-playbook -i {five} playbooks/remove_node.yml -e aether_remove=n5,n4    # asks for the names to be typed

Break something and look again:

    tests/sandbox/hosts.py kill quickstart n3       # power loss; 'boot' brings it back
    tests/sandbox/hosts.py exec quickstart n1 journalctl -u aether -n 20
{look}

Take everything down again: bin/quickstart --down
"""


LOOK = {
    "tls": "    curl --cacert {home}/ca.pem --cert {home}/own.pem https://{address}:8080/api/status",
    V1: "    curl http://{address}:8080/api/status",
    RUNBOOK: "    curl http://{address}:8080/cluster/status\n    {cli} --host {address}:8080 -c 'slices list'",
}


def down(options) -> None:
    sandbox.Pool(POOL).down()
    shutil.rmtree(HOME, ignore_errors=True)
    print("quickstart: the hosts and their files are gone.")
    if options.cache:
        shutil.rmtree(sandbox.CACHE, ignore_errors=True)
        shutil.rmtree(ROOT / ".dev", ignore_errors=True)
        print("quickstart: the cached root file system and the virtual environment are gone, too.")
    elif sandbox.CACHE.exists():
        print("quickstart: kept for next time: %s and .dev/venv ('--down --cache' removes them)." % sandbox.CACHE)


def main(argv: List[str]) -> int:
    parser = argparse.ArgumentParser(prog="bin/quickstart", description="A cluster of five Aether nodes on disposable hosts, from nothing.")
    parser.add_argument("--api", choices=[V1, RUNBOOK], default=V1, help="which API the nodes have; by default %(default)s")
    parser.add_argument("--tls", action=argparse.BooleanOptionalAction, help="with TLS; by default for simulated nodes with the API v1")
    parser.add_argument("--jar", metavar="PATH", help="a real aether-node.jar instead of the simulated node")
    parser.add_argument("--blueprint", metavar="FILE", help="the blueprint (TOML) to give the cluster; with --jar its artifacts must be resolvable")
    parser.add_argument("--down", action="store_true", help="remove the hosts and every file of the quickstart")
    parser.add_argument("--cache", action="store_true", help="with --down: also what was kept for next time")
    options = parser.parse_args(argv)
    if options.cache and not options.down:
        parser.error("--cache goes with --down")
    if options.tls and options.api != V1:
        parser.error("--tls goes with --api v1: with TLS the runbook's own commands would not work")
    for name in ("jar", "blueprint"):
        path = getattr(options, name)
        if path and not Path(path).is_file():
            parser.error("--%s: there is no file '%s'" % (name, path))
    try:
        down(options) if options.down else up(options)
    except sandbox.SandboxError as error:
        print("quickstart: %s" % error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
