# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ..module_utils.locking import verdict


def lock_verdict(hostvars, hosts, play_hosts, first, others):
    """``hostvars | lock_verdict(groups['aether_nodes'], ansible_play_hosts, first, others)`` -> module_utils/locking.py, verdict.

    The hosts of the play but the first have their answers in ``aether__lock``. ``first``: of the one that was asked before the others, which may have
    been the only one; ``others``: the result of a loop over the hosts that are not in the play.
    """
    answers = [first]
    if first.get("held", True):
        answers += [hostvars[h].get("aether__lock", {}) for h in play_hosts[1:]] + others.get("results", [])
    return verdict(answers, len(hosts))


class FilterModule:
    def filters(self):
        return {"lock_verdict": lock_verdict}
