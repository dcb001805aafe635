# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The marker of the tests that make hosts."""


def pytest_configure(config):
    config.addinivalue_line("markers", "sandbox: makes hosts in namespaces, so it needs root")
