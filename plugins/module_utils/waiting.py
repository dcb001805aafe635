# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting: how long, how often it is looked, and what is said meanwhile.

No wait is without an end. Its deadline is so many seconds later by the monotonic clock, the pauses between
two looks grow, and its result has what the last look saw. What ends a wait early (a failure that time does not mend) is
the poll's own business: it raises.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, Optional, Tuple

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 1.0
# Where it is to be noticed within a second that something is true, the pause between two looks is shorter than that.
SOON = 0.5
GROWTH = 1.4
SAY_EVERY = 5.0


@dataclass
class Waited:
    """How a wait went: ``seconds`` and ``polls`` so far, whether it was ``met``, and the ``last`` sentence."""

    met: bool = False
    seconds: float = 0.0
    polls: int = 0
    last: str = ""

    def as_data(self):
        return {"seconds": round(self.seconds, 2), "polls": self.polls}


def wait_until(
    poll: Callable[[], Tuple[bool, str]],
    timeout: float,
    progress: Optional[Callable[[str], None]] = None,
    stable_for: float = 0.0,
    longest_pause: float = LONGEST_PAUSE,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Waited:
    """Call ``poll`` until it says True and has said so for ``stable_for`` seconds, or ``timeout`` seconds are over.

    ``poll`` returns (met, sentence about now). It is called at least once, also with ``timeout`` 0.
    The time for ``stable_for`` comes on top of ``timeout``: a condition met just in time may still prove itself.
    ``longest_pause``: seconds between two polls at most. ``progress`` gets one line per change and at least one in five seconds.
    """
    start = clock()
    waited = Waited()
    since = None
    pause = min(FIRST_PAUSE, longest_pause)
    said_at, said = start, None
    while True:
        met, sentence = poll()
        now = clock()
        waited.polls += 1
        waited.seconds, waited.last = now - start, sentence
        if not met:
            since = None
        elif since is None:
            since = now
        if met and now - since >= stable_for:
            waited.met = True
            return waited
        limit = timeout + stable_for if met else timeout
        if waited.seconds >= limit:
            return waited
        if progress is not None and (sentence != said or now - said_at >= SAY_EVERY):
            progress("%3.0f s  %s" % (waited.seconds, sentence))
            said_at, said = now, sentence
        # What must hold for a while is looked at again when that while is over, not a pause later.
        proven = max(0.01, stable_for - (now - since)) if met else pause
        sleep(min(pause, max(0.01, limit - waited.seconds), stable_for or pause, proven))
        pause = min(longest_pause, pause * GROWTH)
