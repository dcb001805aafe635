# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Appends one JSON line per task to the file TASK_SECONDS names: its name, and seconds from its start to its (last) result."""

from __future__ import annotations

import json
import os
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: task_seconds
    type: aggregate
    short_description: Seconds of every task, for the benchmarks
    description: Writes JSON lines to the file that TASK_SECONDS names.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_seconds"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.started = 0.0

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.started = time.monotonic()

    def v2_runner_on_ok(self, result):
        with open(os.environ["TASK_SECONDS"], "a", encoding="utf-8") as file:
            file.write(json.dumps({"task": result.task_name, "seconds": time.monotonic() - self.started}) + "\n")
