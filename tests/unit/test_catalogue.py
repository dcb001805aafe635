# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests/tools/catalogue.py reads out of the code is what the code says when it really refuses or fails."""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils import capacity, client, config_rules, growth, locking, model, placement, preflight, query, quorum, shrinking, slices, startup
from ansible_collections.pragmatica.aether.plugins.module_utils import restarting, saved, state
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import session, threshold
from builders import cluster, gone, member, stateless
from fakes import parameters
from test_capacity import same, silent
from test_preflight import FOUND, Network, entry, hosts, open_network
from test_startup import CASES, answers, started, wanted

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import catalogue  # noqa: E402

THREE, FIVE = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4", "n5"]
CART, SHOP = "org.example:cart:1.0.0", "org.example:shop:1.0.0"


def sound(everyone, **differs):
    return cluster(*[member(i, everyone, **differs) for i in everyone])


def full():
    """A slice on every member: none is free to take one of another."""
    return sound(THREE, instances=tuple(model.Instance(CART, n, "ACTIVE") for n in THREE), targets={CART: 3}, minimums={CART: 3})


def gates():
    for seen in (
        cluster(member("n1", THREE), member("n2", THREE), gone("n3"), voters=THREE),
        cluster(member("n1", THREE), member("n2", THREE, ready=False), stateless("n3", THREE), voters=THREE),
        cluster(member("n1", THREE), member("n2", THREE, leader="n2"), member("n3", THREE, core_nodes=frozenset(FIVE), cluster_size=5), voters=THREE),
    ):
        # What an endpoint's own trouble is called comes from the builder here, not from the client.
        yield from ((reason.code, reason.sentence) for reason in quorum.judge(seen, without=("n2",)).reasons if reason.code != "down")


def plans():
    down = cluster(member("n1", THREE), member("n2", THREE), gone("n3"), voters=THREE)
    found = [growth.plan_roll(down), growth.plan_grow(cluster(gone("n1"), voters=["n1", "n2"])), growth.plan_grow(sound(THREE + ["n4"]))]
    yield from ((refusal.code, refusal.sentence) for plan in found for refusal in plan.refusals)


def removals():
    found = [shrinking.plan_shrink(sound(FIVE), leaving) for leaving in ([], ["n9"], ["n5"], FIVE)]
    found += [shrinking.plan_shrink(sound(THREE), ["n3"]), shrinking.plan_shrink(sound(FIVE), ["n4", "n5"], keep_lists=True)]
    yield from ((refusal.code, refusal.sentence) for plan in found for refusal in plan.refusals)


def drains():
    apart = cluster(member("n1", THREE), gone("n2"), member("n3", THREE), voters=THREE)
    for seen, node in ((full(), "n1"), (apart, "n1"), (full(), "n9")):
        yield from ((refusal.code, refusal.sentence) for refusal in placement.plan_drain(seen, quorum.judge(seen), node).refusals)


def of_slices():
    for identity, entries in (("shop", [{"artifact": "a:b", "instances": 0}]), ("org.example:all:1.0.0", [{"artifact": CART, "instances": 2, "minAvailable": 3}] * 2)):
        yield from (("", finding) for finding in slices.from_data(identity, entries)[1])
    yield from (("", finding) for finding in slices.from_toml("id = ")[1])
    seen = placement.layout(full(), quorum.judge(full()))
    for artifact, count in ((CART, 5), (CART, 1), (SHOP, 1), ("org.example:cart:1.0.1", 2)):
        yield from ((refusal.code, refusal.sentence) for refusal in slices.plan_scale(seen, [], artifact, count).refusals)


def enough():
    small = capacity.Machine(1, 200, load=3.0)
    rising = capacity.Load("n1", tuple(capacity.Sample(float(at), 0.5, 0.9, 2.0**28, 1.0, 1.0 + at) for at in range(4)), machine=small)
    for loads, options in (
        ([rising, *same(2, cpu=0.95)], dict(profile="large", wanted={CART: 9}, degraded="2 of 5 sound.")), (same(7, cpu=1.0), {}), (same(5, cpu=1.0), {}), (same(4), {}),
        ([silent("n1"), *same(1)], {}),
    ):
        yield from ((finding.code, finding.sentence) for finding in capacity.advise(loads, **options).findings)
    yield from ((refusal.code, refusal.sentence) for refusal in (capacity.overload(same(5, cpu=0.8), ["n5"], True), capacity.overload(same(3, cpu=0.8), restarting=True)))
    for options in ({}, {"metric": "/", "warning": 2.0, "critical": 1.0}, {"warning": 2.0, "critical": 1.0}, {"warning": 70.0, "critical": 90.0, "metric": "cpu.usage"}, {"warning": 1.0}):
        with pytest.raises(model.AetherError) as caught:
            threshold.run(parameters(threshold, **dict({"metric": "queue.length", "state": "present"}, **options)), None)
        yield from (("", finding) for finding in caught.value.data["findings"])


def restarts():
    found = [restarting.plan_restart(sound(FIVE), ["n5"]), restarting.plan_restart(sound(THREE), ["n9", "n3"], ["n3"])]
    found += [restarting.plan_restart(cluster(member("n1", FIVE), gone("n2"), gone("n3"), voters=THREE)), restarting.plan_restart(cluster(gone("n1"), voters=THREE))]
    yield from ((refusal.code, refusal.sentence) for plan in found for refusal in plan.refusals if refusal.code != "down")


def savings():
    kept = state.State((state.Kept(SHOP, (state.Part(CART, 2, 1),)),), None, {}, {}, ("my.key",))
    yield from ((refusal.code, refusal.sentence) for refusal in state.losses(kept, (), (), {CART: "n1: no."}))
    yield from ((refusal.code, refusal.sentence) for refusal in state.file_refusals(kept, [("'f'", state.Blueprint(CART, ()))]))
    yield from failing(lambda: saved.read("/nowhere/at/all"))


def configurations():
    yield from (("", finding) for finding in config_rules.peer_findings("n1", ["n1:10.0.0.1"]))
    yield from (("", finding) for finding in config_rules.secret_findings({"tls": True}))
    yield from (("", finding) for content in ("[cluster\n", "[cluster]\nnodes = 4\n") for finding in config_rules.toml_findings(content, 8090, 8080))
    yield from (("", finding) for finding in config_rules.port_findings(70000, 8080, 8080))


def readiness():
    for _code, _level, changes, _part in FOUND:
        for finding in preflight.judge(open_network(hosts(3, **copy.deepcopy(changes)))):
            # The sentences of these two come from config_rules, which gives them no code.
            yield "" if finding.code in ("configuration", "lists") else finding.code, finding.message
    blocked = Network(lambda a, b, *rest: (a, b) == ("n1", "n2")).carry([entry("n%d" % i) for i in (1, 2, 3)])
    yield from ((finding.code, finding.message) for finding in preflight.judge(blocked))


def starts():
    for release, case in CASES:
        yield from ((finding.code, finding.message) for finding in startup.judge(started(release, case), answers(release, case), wanted()))


def locks():
    other = {"held": False, "msg": "ann has it.", "holder": {"run": "there/2/2"}}
    yield from (("", locking.verdict(told, 3)["msg"]) for told in ([other], [{"held": True}]))


def talking():
    yield from failing(lambda: client.parse_endpoints([]), lambda: client.parse_endpoints(["n1=ftp://n1"]), lambda: client.parse_endpoints(["n1=http://user:word@n1:8080"]))
    for parameters in ({"voters": ["n1", "n1"]}, {"voters": ["n2"]}, {"voters": ["n1"], "retired": ["n1"]}):
        whole = dict({"endpoints": ["n1=http://127.0.0.1:1"], "voters": None, "retired": None}, **parameters)
        yield from failing(lambda: session.Session(whole))


def queries():
    yield from failing(lambda: query.Query("a[", "query"), lambda: query.Query("abs('x')", "until").ask({}))


def failing(*calls):
    for call in calls:
        with pytest.raises(model.AetherError) as caught:
            call()
        yield caught.value.kind, caught.value.message


# Where it is said -> the chapter of the page in which it must stand.
SAID = {
    talking: "Talking to a node", gates: "How the cluster is: gates and waits", plans: "Growing, starting and restarting", removals: "Taking members out", drains: "Draining a node",
    restarts: "Restarting all at once", savings: "Saving the state and putting it back", of_slices: "Slices, blueprints and artifacts", enough: "Enough nodes, and when to warn",
    configurations: "A node's configuration", readiness: "Are the hosts ready?",
    starts: "A node that started with less than it was given", locks: "Two runs at once", queries: "Queries and conditions",
}


@pytest.fixture(scope="module")
def known():
    return [(m, re.compile(re.escape(m.sentence).replace("…", ".*"), re.S)) for m in catalogue.messages()]


@pytest.mark.parametrize("said", SAID, ids=lambda said: said.__name__)
def test_what_the_code_says_is_known(known, said):
    heard = sorted(set(said()))
    assert len(heard) > 1
    unknown = [(code, sentence) for code, sentence in heard if not any(m.code in (code, "…") and pattern.fullmatch(sentence) for m, pattern in known)]
    assert unknown == []
    assert SAID[said] in {m.area for m, pattern in known if any(pattern.fullmatch(sentence) for _code, sentence in heard)}


def test_a_sentence_that_nobody_says_is_unknown(known):
    assert [m for m, pattern in known if pattern.fullmatch("n1 has something: nobody says so, not of n2 (3 of 5). Do this.")] == []


def test_every_chapter_is_asked():
    """But the two last ones, modules and plays, which only speak where they run."""
    assert {title for title, _places in catalogue.AREAS} == set(SAID.values())
