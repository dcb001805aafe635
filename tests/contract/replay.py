# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repeats recorded exchanges against a simulated cluster, and keeps count of what came of them."""

from __future__ import annotations

import functools
import http.client
import json
import ssl
import time
from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from typing import Dict, List, Tuple

from deviations import DEVIATIONS, NOT_REPLAYED
from recordings import Answer, Exchange, compare, exchanges
from simnode.testing import SimCluster

SAME, DEVIATING, LEFT_OUT = "the same", "deviating for a reason", "left out for a reason"
counts: Dict[Tuple[str, str], Counter] = defaultdict(Counter)  # (release, scenario) -> what came of its recordings
reasons: Dict[str, str] = {}  # what deviates or is left out -> reason


class Replay:
    """Repeats the exchanges of some scenarios of one release; ``finish`` judges."""

    def __init__(self, release: str, cluster: SimCluster, *scenarios: str):
        self.release, self.cluster, self.scenarios = release, cluster, scenarios
        self.covered: List[Exchange] = [e for s in scenarios for e in exchanges(release, s)]
        self.open: Dict[str, Exchange] = {e.where: e for e in self.covered}
        self.app_ports: Dict[str, int] = {}
        self.contexts: Dict[str, ssl.SSLContext] = {}  # with TLS: pattern of an exchange's name -> what it is asked with; the first that fits
        self.used: set = set()  # (entry, exchange)
        self.unexplained: List[str] = []

    def __call__(self, scenario: str, *patterns: str, timeout: float = 30.0) -> None:
        """Repeat the exchanges that fit (all without a pattern), by name; ``timeout``: product seconds for one answer.

        A scenario that this release does not have is passed over.
        """
        if scenario not in self.scenarios:
            return
        found = exchanges(self.release, scenario, *patterns)
        assert found, "no exchange of %s/%s fits %s" % (self.release, scenario, patterns)
        for exchange in found:
            if exchange.where in self.open and not entries(NOT_REPLAYED, exchange):
                del self.open[exchange.where]
                self._one(exchange, timeout)

    def _one(self, exchange, timeout):
        """A read is repeated for 10 product seconds until it is as recorded: the recorder waited for things to settle, too."""
        deadline = time.monotonic() + self.cluster.t(10)
        while True:
            found = compare(exchange, self.ask(exchange, self.cluster.t(timeout)))
            unexplained = [d for d in found if not entries(DEVIATIONS, exchange, d.field)]
            if not unexplained or exchange.method != "GET" or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        self.used |= {(entry, exchange.where) for d in found for entry in entries(DEVIATIONS, exchange, d.field)}
        self.unexplained += ["%s %s %s: %s %s" % (exchange.where, exchange.method, exchange.path, d.field, d.text) for d in unexplained]
        counts[self.release, exchange.scenario][DEVIATING if found else SAME] += 1

    def ask(self, exchange, timeout) -> Answer:
        port = self.app_ports[exchange.node] if exchange.name.startswith("app-port") else self.cluster.ports[exchange.node][1]
        if self.contexts:
            context = next(c for pattern, c in self.contexts.items() if fnmatchcase(exchange.name, pattern))
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        try:
            connection.request(exchange.method, exchange.path, exchange.request_body, exchange.headers)
            response = connection.getresponse()
            content_type, data = response.headers.get("content-type", ""), response.read().decode()
        except TimeoutError:
            return Answer(None, "", "")
        except ssl.SSLError as error:
            return Answer(None, "", str(error))
        finally:
            connection.close()
        return Answer(response.status, content_type, json.loads(data) if content_type.startswith("application/json") else data)

    def finish(self) -> None:
        """Every exchange was repeated or has its reason, and every reason was needed."""
        for exchange in self.open.values():
            excuses = entries(NOT_REPLAYED, exchange)
            if excuses:
                self.used.add((excuses[0], exchange.where))
                counts[self.release, exchange.scenario][LEFT_OUT] += 1
            else:
                self.unexplained.append("%s was not repeated" % exchange.where)
        for table in (DEVIATIONS, NOT_REPLAYED):
            for entry in table:
                for exchange in self.covered:
                    if fits(entry, exchange) and (entry, exchange.where) not in self.used:
                        self.unexplained.append("%s no longer deviates as in the entry %s" % (exchange.where, entry))
        for entry, _ in self.used:
            reasons[" ".join((self.release, *entry[1:]))] = DEVIATIONS.get(entry) or NOT_REPLAYED[entry]
        assert not self.unexplained, "\n".join(self.unexplained)


class Pace:
    """How much slower than usual the attempt at hand goes."""

    now = 1


def patient(test):
    """A time that is off because this machine was busy elsewhere is right in a slower attempt; what deviates is off in all three."""

    @functools.wraps(test)
    def repeated(*args, **kwargs):
        try:
            for Pace.now in (1, 2):
                try:
                    return test(*args, **kwargs)
                except AssertionError:
                    pass
            Pace.now = 4
            return test(*args, **kwargs)
        finally:
            Pace.now = 1

    return repeated


def fits(entry, exchange) -> bool:
    return fnmatchcase(exchange.release, entry[0]) and fnmatchcase(exchange.scenario, entry[1]) and fnmatchcase(exchange.name, entry[2])


def entries(table, exchange, field=None):
    return [entry for entry in table if fits(entry, exchange) and (field is None or fnmatchcase(field, entry[3]))]


def report() -> List[str]:
    """One line per scenario, the total, and everything that deviates with its reason."""
    lines, total = [], Counter()
    for (release, scenario), count in sorted(counts.items()):
        total += count
        lines.append("%-6s%-54s%s" % (release, scenario, _sentence(count)))
    return lines + ["in all: " + _sentence(total)] + ["  %s: %s" % item for item in sorted(reasons.items())]


def _sentence(count) -> str:
    text = "%d of %d replayed" % (count[SAME] + count[DEVIATING], sum(count.values()))
    return text + "".join(", %d %s" % (count[what], what) for what in (DEVIATING, LEFT_OUT) if count[what])
