# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The benchmarks: each measures both sides of its ratio in one run and returns figures, ratio and conditions."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for folder in ("tests/bench", "tests/plays", "tests/sandbox", "tests/sandbox/node"):
    sys.path.insert(0, str(ROOT / folder))

import add_node  # noqa: E402
import blueprint  # noqa: E402
import full_restart  # noqa: E402
import gate  # noqa: E402
import observe  # noqa: E402
import preflight  # noqa: E402
import remove_node  # noqa: E402
import roll  # noqa: E402

BENCHMARKS = {
    "gate": gate, "add-node": add_node, "remove-node": remove_node, "preflight": preflight, "roll": roll, "blueprint": blueprint, "observe": observe, "full-restart": full_restart,
}


def say(text: str) -> None:
    print("bench: %s" % text, file=sys.stderr, flush=True)


def conditions() -> dict:
    from ansible.release import __version__ as core

    return {"cores": os.cpu_count(), "python": platform.python_version(), "ansible_core": core, "load_before": round(os.getloadavg()[0], 2)}


def main(argv) -> int:
    listed = "; ".join("%s: %s" % (name, module.__doc__.splitlines()[0].rstrip(".")) for name, module in BENCHMARKS.items())
    parser = argparse.ArgumentParser(prog="bin/bench", description="Measure. " + listed + ".")
    parser.add_argument("name", choices=list(BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--tls", action="store_true", help="gate: measure it on members with TLS, too")
    options = parser.parse_args(argv)
    if options.tls and options.name != "gate":
        parser.error("--tls goes with gate")
    before = conditions()
    figures = BENCHMARKS[options.name].measure(say, **({"tls": True} if options.tls else {}))
    figures["conditions"] = dict(before, **figures.get("conditions", {}))
    if options.json:
        print(json.dumps(dict(figures, benchmark=options.name)))
    else:
        for name, value in figures.items():
            print("%-28s %s" % (name, value))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
