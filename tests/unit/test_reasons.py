# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every reason of aether_quorum_check, word for word, from what the members answer over HTTP to what the task says: for real, and the same in check mode."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils import quorum
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import quorum_check, session
from builders import member, stateless
from fakes import parameters, spoken

THREE, FIVE = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4", "n5"]
REFUSED = httpx.ConnectError("[Errno 111] Connection refused")
OFF_DUTY = {"n1": "ON_DUTY", "n2": "ON_DUTY", "n3": "DECOMMISSIONED"}
LOST = "What the cluster knows is there as long as one member with state runs: stop none."


def of(everyone, **differs):
    """What stands behind each endpoint: a healthy member, or what differs: its fields, another view, or an error or answer to everything."""
    return {n: member(n, everyone, **d) if isinstance(d := differs.get(n, {}), dict) else d for n in everyone}


# (what it is about, what is asked, what stands behind each endpoint, [(code, node, sentence)])
FAILING = [
    ("a member is down", {"require": "complete"}, of(THREE, n3=REFUSED), [
        ("down", "n3", "n3: no connection to http://n3:8080 ([Errno 111] Connection refused); is the node running?")]),
    ("a voter has no endpoint", {"require": "complete", "voters": THREE}, {n: member(n, THREE) for n in ("n1", "n2")}, [
        ("down", "n3", "n3: none of the endpoints answers for it.")]),
    ("a member hangs", {"require": "complete"}, of(THREE, n3=httpx.ReadTimeout("slow")), [
        ("hanging", "n3", "n3: http://n3:8080 accepts connections but did not answer /health/ready within 5 s; look at its journal.")]),
    ("ready without a leader", {"require": "complete"}, of(THREE, n3={"leader": None}), [
        ("no_leader", "n3", "n3 is ready but knows no leader.")]),
    ("ready without state", {"require": "complete"}, of(THREE, n3=stateless("n3", THREE)), [
        ("no_state", "n3", "n3 is ready but without state: it lacks n1 in its lifecycle list, n2 in its lifecycle list, "
         "blueprint org.example:shop:1.0.0, threshold cpu.usage.")]),
    ("two leaders", {}, of(FIVE, n4={"leader": "n4"}, n5={"leader": "n4"}), [
        ("two_leaders", None, "The members do not agree on one leader: n1 names n1, n2 names n1, n3 names n1, n4 names n4, n5 names n4.")]),
    ("the leader is dead", {}, of(THREE, n1=REFUSED), [
        ("down", "n1", "n1: no connection to http://n1:8080 ([Errno 111] Connection refused); is the node running?"),
        ("dead_leader", "n2", "n2 follows n1, which does not answer."),
        ("dead_leader", "n3", "n3 follows n1, which does not answer."),
        ("lost_majority", None, "0 sound members, 2 needed. It takes 2 more of n1, n2, n3. Start what is down: n1 (site.yml does). " + LOST)]),
    ("split views", {"require": "complete"}, of(FIVE, n1={"peers": frozenset(FIVE[:3])}), [
        ("split_views", "n1", "n1 does not see n4, n5, which answers and is sound: the views are split.")]),
    ("a member cut off", {"require": "complete"}, of(FIVE, n5={"peers": frozenset(["n5"])}), [
        ("no_quorum", "n5", "n5 has no quorum: of the 5 in its list it sees too few that are ready.")]),
    ("a member of another cluster", {"require": "complete"}, of(THREE, n3={"node_id": "x9"}), [
        ("foreign", "n3", "http://n3:8080 answers as x9, which is not one of the voters (n1, n2, n3): "
         "a member of another cluster, or a node without its own id.")]),
    ("a member that follows another cluster", {"require": "complete"}, of(THREE, n3={"leader": "x9"}), [
        ("foreign", "n3", "n3 follows x9, which is not one of the voters: a member of another cluster.")]),
    ("two endpoints of one node", {"require": "complete"}, of(THREE, n3={"node_id": "n2"}), [
        ("wrong_id", "n3", "The endpoint of n3 (http://n3:8080) answers as n2: two inventory entries point at one node, or its node id is wrong.")]),
    ("peer lists that differ", {"require": "complete"}, of(THREE, n3={"core_nodes": frozenset(["n2", "n3", "n9"])}), [
        ("lists_differ", "n3", "The list n3 runs with differs from the inventory: it lacks n1 and still names n9.")]),
    ("a majority of another number", {"require": "complete"}, of(THREE, n3={"cluster_size": 5}), [
        ("lists_differ", "n3", "n3 counts a majority of 5, though its list has 3 names.")]),
    ("no key, which one endpoint wants", {"require": "complete"}, of(THREE, n3=httpx.Response(401, json={"error": "X-API-Key header required"})), [
        ("unauthorized", "n3", "n3: http://n3:8080 needs an API key (401: X-API-Key header required); set 'api_key' or AETHER_API_KEY.")]),
    ("a key that one endpoint refuses", {"require": "complete", "api_key": "sesame"}, of(THREE, n3=httpx.Response(403, json={"error": "Invalid API key"})), [
        ("unauthorized", "n3", "n3: http://n3:8080 refuses the API key (403: Invalid API key); set 'api_key' or AETHER_API_KEY.")]),
    ("an endpoint that is no Aether", {"require": "complete"}, of(THREE, n3=httpx.Response(404)), [
        ("not_aether", "n3", "n3: http://n3:8080 knows no /health/ready (404): not an Aether management port, or another release.")]),
    ("a member that is not ready", {"require": "complete"}, of(THREE, n3={"ready": False}), [
        ("not_ready", "n3", "n3 answers but is not ready.")]),
    ("a stop that leaves too few", {"without": ["n2", "n3"]}, of(THREE), [
        ("would_not_survive", None, "Without n2, n3 only 1 of 3 members with state would be left with a quorum (n1): not more than half.")]),
    ("a stop that takes a quorum away", {"without": ["n1"]}, of(FIVE, n4=REFUSED, n5=REFUSED), [
        ("would_not_survive", None, "Without n1 there would be no quorum left for n2, n3.")]),
]
# What is only said.
HOLDING = [
    ("nothing to compare state by", {"require": "complete"}, of(THREE, **{n: {"evidence": ()} for n in THREE}),
     "3 of 3 voters sound, 2 needed, leader n1, can lose 1; complete (nothing to compare state by).",
     ("state_evidence_none", None, "There is nothing to compare state by (no blueprint, no changed threshold): "
      "a member without state can be told by its lifecycle list only.")),
    ("a member that is not on duty", {"require": "complete"}, of(THREE, **{n: {"lifecycle": OFF_DUTY} for n in THREE}),
     "3 of 3 voters sound, 2 needed, leader n1, can lose 1; complete.", ("not_on_duty", "n3", "n3 is DECOMMISSIONED.")),
]
CHECK_MODE = pytest.mark.parametrize("check_mode", [False, True], ids=["for real", "check mode"])


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(session, "SECOND_LOOK", 0)


def ask(behind, options, check_mode):
    """The result, or the AetherError, of the operation that asks what stands ``behind`` the endpoints; nobody may be asked for anything but a read."""

    def answer(request):
        assert request.method == "GET"
        said = behind[request.url.host]
        if isinstance(said, Exception):
            raise said
        if isinstance(said, httpx.Response):
            return httpx.Response(said.status_code, content=said.content)
        status, document = spoken(said)[request.url.path]
        return httpx.Response(status, json=document)

    given = parameters(quorum_check, endpoints=["%s=http://%s:8080" % (n, n) for n in behind], api="v1", **options)
    with session.Session(given, check_mode=check_mode, transport=httpx.MockTransport(answer)) as asked:
        try:
            return quorum_check.run(asked.params, asked)
        except AetherError as error:
            return error


@CHECK_MODE
@pytest.mark.parametrize(("options", "behind", "reasons"), [row[1:] for row in FAILING], ids=[row[0] for row in FAILING])
def test_what_fails_the_task(options, behind, reasons, check_mode):
    error = ask(behind, options, check_mode)
    what = "survive losing %s" % ", ".join(options["without"]) if "without" in options else "hold '%s'" % options.get("require", "majority")
    assert error.message == "The cluster does not %s: %s" % (what, " ".join(sentence for _code, _node, sentence in reasons))
    assert [(r["code"], r["node"], r["sentence"]) for r in error.data["reasons"]] == reasons
    assert (error.kind, error.data["codes"]) == ("quorum", sorted({code for code, _node, _sentence in reasons}))
    # And all of them stand in the result's quorum, with those that fail nothing asked for.
    shown = [(r["code"], r["node"], r["sentence"]) for r in error.data["result"]["quorum"]["reasons"]]
    assert set(reasons) <= set(shown) and not error.data["result"]["changed"]


@CHECK_MODE
@pytest.mark.parametrize(("options", "behind", "sentence", "remark"), [row[1:] for row in HOLDING], ids=[row[0] for row in HOLDING])
def test_what_is_only_said(options, behind, sentence, remark, check_mode):
    result = ask(behind, options, check_mode)
    assert result["msg"] == sentence and result["changed"] is False
    assert [(r["code"], r["node"], r["sentence"]) for r in result["quorum"]["reasons"]] == [remark]
    assert result["quorum"]["state_evidence"] == ("none" if remark[0] == "state_evidence_none" else "compared")


def test_no_reason_is_left_out():
    written = set(re.findall(r'Reason\(\s*"(\w+)"', Path(quorum.__file__).read_text(encoding="utf-8")))
    shown = {code for row in FAILING for code, _node, _sentence in row[3]} | {row[4][0] for row in HOLDING}
    shown.add("runs_twice")  # by test_twins.py: it takes two nodes
    assert len(written) > 10 and written <= shown
