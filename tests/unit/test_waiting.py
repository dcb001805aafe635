# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits end, say what they wait for, and know what "stable" means. Time is made up."""

from __future__ import annotations

from ansible_collections.pragmatica.aether.plugins.module_utils.waiting import wait_until
from hypothesis import given
from hypothesis import strategies as st


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds


def waited(condition, timeout, **options):
    clock = Clock()
    result = wait_until(lambda: (condition(clock.now), "at %.1f" % clock.now), timeout, clock=clock, sleep=clock.sleep, **options)
    return result, clock.now


def test_a_condition_that_holds_is_not_waited_for():
    result, now = waited(lambda t: True, 60)
    assert result.met and result.polls == 1 and now == 0


def test_timeout_zero_asks_once():
    result, now = waited(lambda t: False, 0)
    assert not result.met and result.polls == 1 and now == 0


@given(st.floats(0, 120), st.floats(0.1, 120))
def test_a_wait_ends_by_its_deadline_and_notices_within_a_pause(true_at, timeout):
    result, now = waited(lambda t: t >= true_at, timeout)
    assert now <= timeout + 0.011
    if true_at <= timeout - 1.0:
        assert result.met and now <= true_at + 1.0
    if true_at > timeout + 0.02:
        assert not result.met


def test_stable_means_without_interruption():
    result, now = waited(lambda t: t < 1 or t > 4, 10, stable_for=3)
    assert result.met and now >= 7
    flapping, _ = waited(lambda t: int(t) % 2 == 0, 10, stable_for=3)
    assert not flapping.met


def test_progress_says_every_change_and_something_every_five_seconds():
    lines = []
    waited(lambda t: False, 21, progress=lines.append)
    assert len(lines) >= 4
    said = []
    clock = Clock()
    wait_until(lambda: (False, "same"), 21, clock=clock, sleep=clock.sleep, progress=said.append)
    assert 4 <= len(said) <= 6 and all("same" in s for s in said)
