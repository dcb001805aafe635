# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first door to an operation: a module, shipped to where it runs.

A module file holds its documentation and one call of :func:`run_module`.
"""

from __future__ import annotations

import traceback

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from .client import HTTPX_ERROR
from .connection import with_fallbacks
from .model import AetherError
from .operations.session import Session


def run_module(operation) -> None:
    """Run ``operation`` (a module of operations/) with the task's parameters and end the process."""
    needs_cluster = getattr(operation, "NEEDS_CLUSTER", True)
    spec = dict(with_fallbacks(env_fallback), **operation.ARGUMENT_SPEC)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if needs_cluster and HTTPX_ERROR is not None:
        module.fail_json(
            msg=missing_required_lib("httpx") + ".",  # it names the interpreter
            exception="".join(traceback.format_exception(type(HTTPX_ERROR), HTTPX_ERROR, HTTPX_ERROR.__traceback__)),
        )
    try:
        if not needs_cluster:
            result = operation.run(module.params, None)
        else:
            with Session(module.params, check_mode=module.check_mode) as session:
                result = operation.run(module.params, session)
    except AetherError as error:
        module.fail_json(**failure(error))
    module.exit_json(**result)


def failure(error: AetherError) -> dict:
    """What a failed operation returns: the sentence, the common core as far as it is known, and ``failure`` to branch on."""
    data = dict(error.data)
    result = dict(data.pop("result", {}))
    result.update(changed=result.get("changed", False), msg=error.message, failure=dict(data, kind=error.kind))
    return result
