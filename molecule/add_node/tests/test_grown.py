# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After growing: every host runs with the list of five and holds the state."""

from __future__ import annotations

from whole import *  # noqa: F403

MEMBERS = ["n1", "n2", "n3", "n4", "n5"]
