# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run one node: ``python3 -m simnode --node-id=n1 --port=8090 …`` or as the JAR's child process.

``SIMNODE_API=runbook`` makes it the runbook's; a JAR knows by itself which it is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

try:
    from simnode.node import Node
    from simnode.runbook import read_runbook
    from simnode.settings import RUNBOOK, Exit, read
    from simnode.switches import load
except ImportError:  # started by its folder's name
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from simnode.node import Node
    from simnode.runbook import read_runbook
    from simnode.settings import RUNBOOK, Exit, read
    from simnode.switches import load


def say(line):
    print(line, flush=True)


def end_with_the_parent():
    """The JAR's launcher holds our standard input open; when it is gone, however it went, so are we."""

    def watch():
        while os.read(0, 4096):
            pass
        os._exit(137)

    threading.Thread(target=watch, daemon=True).start()


async def live(settings, switches) -> int:
    node = Node(settings, switches, say)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, node.terminate)
    return await node.run()


def main(argv, api: str = "") -> int:
    import time

    if os.environ.get("SIMNODE_CHILD"):
        end_with_the_parent()
    switches = load()
    try:
        settings = read_runbook(argv) if (api or os.environ.get("SIMNODE_API")) == RUNBOOK else read(argv)
    except Exit as end:
        for line in end.lines:
            say(line)
        time.sleep(end.after * switches.time_factor)
        return end.code
    return asyncio.run(live(settings, switches))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
