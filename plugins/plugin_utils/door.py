# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second door to an operation: inside Ansible's own worker process.

Used when the task's connection is local. It saves shipping and starting a module (0.3 to 0.5 s a task), needs no
library in another interpreter, and can say what it waits for while it waits. Everything a module gets for free it
does by itself: argument validation, check mode, ``environment:``, and scrubbing what must not be logged.
"""

from __future__ import annotations

import json
import os
import traceback

from ansible.errors import AnsibleActionFail
from ansible.module_utils.basic import AnsibleFallbackNotFound
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.client import HTTPX_ERROR
from ..module_utils.connection import with_fallbacks
from ..module_utils.model import AetherError
from ..module_utils.module_door import failure
from ..module_utils.operations.session import Session

HIDDEN = "********"
LOCAL_CONNECTIONS = ("local", "ansible.builtin.local")


class OperationAction(ActionBase):
    """Base of the action plugins; each names its ``operation`` (a module of module_utils/operations).

    ``searched``: options with a file; a relative one that is not in the working directory is looked for beside the play.
    """

    operation = None
    searched = ()
    TRANSFERS_FILES = False
    _supports_async = True
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        if self._must_ship(task_vars):
            # There are keys among the arguments. Pipelined they go through a pipe; else Ansible writes the module, and them in it, to a file here first.
            if "pipelining" in self._connection.option_definitions:
                self._connection.set_option("pipelining", True)
            result.update(self._execute_module(task_vars=task_vars, wrap_async=bool(self._task.async_val)))
            return result
        parameters, secrets = self._validated(task_vars)
        result.update(scrubbed(self._operate(parameters), secrets))
        return result

    def _must_ship(self, task_vars) -> bool:
        """True when only a module can do what the task asks for."""
        needs_cluster = getattr(self.operation, "NEEDS_CLUSTER", True)
        return (
            self._connection.transport not in LOCAL_CONNECTIONS
            or bool(self._task.async_val)
            or bool(self._connection.become)
            or (needs_cluster and HTTPX_ERROR is not None)
            or not boolean(self._templar.template(task_vars.get("aether_in_process", True)), strict=False)
        )

    def _validated(self, task_vars):
        environment = self._task_environment()

        def fallback(name):
            value = environment.get(name, os.environ.get(name))
            if value is None:
                raise AnsibleFallbackNotFound
            return value

        spec = dict(with_fallbacks(fallback), **self.operation.ARGUMENT_SPEC)
        validator = ArgumentSpecValidator(spec)
        arguments = plain(self._task.args)
        checked = validator.validate(arguments)
        if checked.error_messages:
            raise AnsibleActionFail("; ".join(scrubbed(checked.error_messages, checked._no_log_values)))
        parameters = checked.validated_parameters
        for option in self.searched:
            if parameters.get(option) and not os.path.exists(parameters[option]):
                parameters[option] = self._find_needle("files", parameters[option])
        return parameters, checked._no_log_values

    def _task_environment(self):
        """The task's ``environment:`` merged as a module would see it."""
        merged = {}
        environments = self._task.environment or []
        for entry in environments if isinstance(environments, list) else [environments]:
            value = self._templar.template(entry)
            if isinstance(value, dict):
                merged.update({str(k): str(v) for k, v in plain(value).items()})
        return merged

    def _operate(self, parameters):
        try:
            if not getattr(self.operation, "NEEDS_CLUSTER", True):
                return dict(self.operation.run(parameters, None))
            with Session(parameters, check_mode=self._task.check_mode, progress=self._progress) as session:
                return dict(self.operation.run(parameters, session))
        except AetherError as error:
            return dict(failure(error), failed=True)
        except Exception as error:  # the worker must answer with a result, whatever a defect here throws
            return dict(failed=True, msg="%s: unexpected %s: %s" % (self._task.action, type(error).__name__, error), exception=traceback.format_exc())

    def _progress(self, line):
        """One line on stderr, so that callbacks which print JSON on stdout stay valid."""
        Display().display("    %s" % line, stderr=True)


def scrubbed(value, secrets):
    """The value without any of the secrets in its texts and keys.

    Ansible's own function for it is deprecated since core 2.22, which masks what is shown instead; a registered result would keep them.
    """
    if isinstance(value, dict):
        return {scrubbed(k, secrets): scrubbed(v, secrets) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [scrubbed(v, secrets) for v in value]
    if isinstance(value, str) or str(value) in secrets:
        for secret in sorted(map(str, secrets), key=len, reverse=True):  # the longest first, for one may be in another
            value = str(value).replace(secret, HIDDEN) if secret else value
    return value


def plain(value):
    """Tagged strings and lazy containers of newer cores as plain data: libraries such as jmespath reject them."""
    return json.loads(json.dumps(value, default=_plain_leaf))


def _plain_leaf(value):
    if hasattr(value, "items"):
        return dict(value.items())
    if isinstance(value, (set, frozenset, tuple)) or hasattr(value, "__iter__") and not isinstance(value, str):
        return list(value)
    return str(value)
