# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Attributes that every operation shares."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    support: full
    description: Reads are done for real; writes become the plan in RV(ignore:actions), and a refusal reads as it would without check mode.
  diff_mode:
    support: none
    description: Has no differences to show.
"""
