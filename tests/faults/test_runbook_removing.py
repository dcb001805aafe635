# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Members are taken out of a cluster with the runbook's API. The others are restarted there, too: a node counts its majority from the list that it was started with."""

from __future__ import annotations

from test_removing import FIVE, test_five_become_three_in_two_runs_and_five_again  # noqa: F401

API = "runbook"
MEMBERS = FIVE
