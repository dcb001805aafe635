# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

from ..module_utils.operations import artifact
from ..plugin_utils.door import OperationAction


class ActionModule(OperationAction):
    operation = artifact

    def _validated(self, task_vars):
        """A relative ``src`` that is not in the working directory is looked for beside the play."""
        parameters, secrets = super()._validated(task_vars)
        if parameters.get("src") and not os.path.exists(parameters["src"]):
            parameters["src"] = self._find_needle("files", parameters["src"])
        return parameters, secrets
