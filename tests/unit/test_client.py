# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client against a transport that answers what the test says, without a network but for the last test."""

from __future__ import annotations

import http.server
import json
import threading

import httpx
import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils import client as client_module
from ansible_collections.pragmatica.aether.plugins.module_utils.client import Client, EndpointTrouble, parse_endpoints
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import quorum_check
from ansible_collections.pragmatica.aether.plugins.module_utils.operations.session import Session
from ansible_collections.pragmatica.aether.plugins.module_utils.quorum import judge
from builders import member
from fakes import parameters, spoken

N1 = parse_endpoints(["n1=http://n1:8080"])


class Script:
    """Answers one after the other; remembers what was asked and how long the client paused."""

    def __init__(self, *answers):
        self.answers, self.asked, self.pauses = list(answers), [], []

    def __call__(self, request):
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, **options):
        return Client(N1, transport=httpx.MockTransport(self), sleep=self.pauses.append, **options)


def ok(document=None, **more):
    return httpx.Response(200, json={"fine": True} if document is None else document, **more)


@pytest.mark.parametrize(
    "texts, part",
    [
        ([], "No endpoints"),
        (["n1"], "is not http://"),
        (["n1=ftp://h:1"], "is not http://"),
        (["http://u:secret@h:8080"], "carries a user or password"),
        (["http://h:99999"], "port"),
        (["http://h:0"], "port"),
        (["http://h:8080/api"], "something behind the port"),
        (["n1=http://a:1", "n1=http://b:1"], "name 'n1' stands there twice"),
        (["http://a:1", "http://a:1/"], "URL 'http://a:1' stands there twice"),
    ],
)
def test_bad_endpoints_are_refused_in_one_sentence(texts, part):
    with pytest.raises(AetherError) as caught:
        parse_endpoints(texts)
    assert part in caught.value.message and "secret" not in caught.value.message


def test_all_bad_endpoints_are_named_at_once():
    with pytest.raises(AetherError) as caught:
        parse_endpoints(["one", "two", "n3=http://ok:1"])
    assert "'one'" in caught.value.message and "'two'" in caught.value.message


@pytest.mark.parametrize("trouble", [httpx.ConnectError("no route"), httpx.ReadError("reset"), httpx.RemoteProtocolError("closed"), httpx.ConnectTimeout("slow")])
def test_reads_are_repeated_after_connection_errors(trouble):
    script = Script(trouble, ok())
    assert script.client().read(N1[0], "/api/status").document == {"fine": True}
    assert len(script.asked) == 2 and len(script.pauses) == 1 and script.pauses[0] > 0


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_reads_are_repeated_when_the_node_says_not_now(status):
    script = Script(httpx.Response(status), httpx.Response(status), ok())
    assert script.client().read(N1[0], "/api/status").status == 200
    assert script.pauses[1] > script.pauses[0] * 0.9


def test_retry_after_is_honoured_but_capped():
    script = Script(httpx.Response(503, headers={"Retry-After": "2"}), httpx.Response(503, headers={"Retry-After": "9999"}), ok())
    script.client().read(N1[0], "/x")
    assert script.pauses[0] == 2.0 and script.pauses[1] == client_module.LONGEST_RETRY_AFTER
    dated = Script(httpx.Response(503, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), ok())
    dated.client().read(N1[0], "/x")
    assert dated.pauses[0] < 1


def test_an_expected_503_is_an_answer_not_an_obstacle():
    script = Script(httpx.Response(503, json={"status": "DOWN"}))
    assert script.client().read(N1[0], "/health/ready", accept=(200, 503)).status == 503
    assert script.pauses == []


def test_reads_give_up_and_say_why():
    script = Script(*[httpx.ReadError("reset")] * 3)
    with pytest.raises(EndpointTrouble) as caught:
        script.client().read(N1[0], "/x")
    assert caught.value.trouble.kind == "down" and len(script.asked) == 3


def test_a_port_where_nobody_listens_is_tried_once_more_at_once():
    script = Script(*[httpx.ConnectError("[Errno 111] Connection refused")] * 2)
    with pytest.raises(EndpointTrouble) as caught:
        script.client().read(N1[0], "/x")
    assert script.pauses == [0.05] and caught.value.trouble.kind == "down" and "is the node running?" in caught.value.trouble.text


def test_a_member_that_hangs_is_not_asked_again():
    script = Script(httpx.ReadTimeout("slow"))
    with pytest.raises(EndpointTrouble) as caught:
        script.client(read_timeout=7).read(N1[0], "/api/status")
    assert caught.value.trouble.kind == "hanging" and "within 7 s" in caught.value.trouble.text and script.pauses == []


@pytest.mark.parametrize(
    "status, error, kind, part",
    [
        (401, "X-API-Key header required", "unauthorized", "needs an API key"),
        (403, "Invalid API key", "unauthorized", "refuses the API key"),
        (302, "", "not_aether", "redirects"),
        (404, "", "not_aether", "another release"),
        (500, "Blueprint not found", "error", "Blueprint not found"),
    ],
)
def test_refusals_have_their_kind_and_sentence(status, error, kind, part):
    script = Script(httpx.Response(status, json={"error": error}, headers={"location": "http://elsewhere/"}))
    with pytest.raises(EndpointTrouble) as caught:
        script.client(api_key="topsecret").read(N1[0], "/api/status")
    assert caught.value.trouble.kind == kind and part in caught.value.trouble.text and "topsecret" not in caught.value.trouble.text
    assert len(script.asked) == 1


def test_the_key_goes_in_its_header_and_nowhere_else():
    script = Script(ok())
    script.client(api_key="topsecret").read(N1[0], "/api/status")
    assert script.asked[0].headers["X-API-Key"] == "topsecret" and "topsecret" not in str(script.asked[0].url)


def test_too_large_an_answer_is_refused():
    script = Script(httpx.Response(200, content=b"x" * (client_module.MAX_ANSWER + 1)))
    with pytest.raises(EndpointTrouble) as caught:
        script.client().read(N1[0], "/x")
    assert "more than 16 MiB" in caught.value.trouble.text


def test_an_answer_that_is_no_json_is_refused():
    script = Script(httpx.Response(200, text="<html>"))
    answer = script.client().read(N1[0], "/x")
    with pytest.raises(EndpointTrouble) as caught:
        client_module.json_of(answer, N1[0], "/x", dict)
    assert "not a JSON object" in caught.value.trouble.text


def test_the_environments_proxy_is_ignored_unless_asked_for(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:1")
    assert Client(N1)._proxied is None
    assert Client(N1, use_proxy=True)._proxied._mounts != {}


def test_a_write_in_check_mode_is_refused_by_the_client_itself():
    script = Script()
    with pytest.raises(AetherError) as caught:
        script.client(allow_writes=False).write(N1[0], "POST", "/api/x", None, lambda: False)
    assert caught.value.kind == "write_in_check_mode" and script.asked == []
    assert Script(ok()).client(allow_writes=False).probe(N1[0], "POST", "/api/blueprint/validate", "id='x'").status == 200


@pytest.mark.parametrize("trouble", [httpx.ReadTimeout("slow"), httpx.Response(500, json={"error": "Promise timed out after 10000ms"})])
def test_a_failed_write_that_took_effect_is_not_repeated(trouble):
    script = Script(trouble)
    answer = script.client().write(N1[0], "POST", "/api/x", {"a": 1}, lambda: True)
    assert answer.status == 200 and len(script.asked) == 1


def test_a_failed_write_is_repeated_only_after_a_read_said_it_did_not_happen():
    script, reads = Script(httpx.Response(500, json={"error": "Node n1 is inactive"}), ok()), []

    def took_effect():
        reads.append(len(script.asked))
        return False

    script.client().write(N1[0], "POST", "/api/x", None, took_effect)
    assert reads == [1] and len(script.asked) == 2


def test_a_write_that_never_takes_effect_fails_with_what_the_node_said():
    script = Script(*[httpx.Response(500, json={"error": "Node n1 is inactive"})] * client_module.WRITE_TRIES)
    with pytest.raises(EndpointTrouble) as caught:
        script.client().write(N1[0], "POST", "/api/x", None, lambda: False)
    assert "Node n1 is inactive" in caught.value.trouble.text


def test_a_refused_write_is_not_repeated():
    script = Script(httpx.Response(403, json={"error": "Access denied"}))
    with pytest.raises(EndpointTrouble) as caught:
        script.client().write(N1[0], "POST", "/api/x", None, lambda: False)
    assert caught.value.trouble.kind == "unauthorized" and len(script.asked) == 1


def test_a_request_without_a_mark_is_a_defect():
    with pytest.raises(ValueError):
        Script().client()._once(N1[0], "GET", "/x", "peek", None)


def test_certificates_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(AetherError) as caught:
        Client(parse_endpoints(["https://h:1"]), ca_path=str(tmp_path / "missing.pem"))
    assert "'ca_path'" in caught.value.message


class Listening(http.server.ThreadingHTTPServer):
    """Members on loopback that say a view each; counts the connections, and answers nobody until all of them have been asked."""

    daemon_threads = True

    def __init__(self, view, everybody):
        self.said, self.everybody, self.connections, self.asked = spoken(view), everybody, 0, []
        super().__init__(("127.0.0.1", 0), Answering)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def get_request(self):
        self.connections += 1
        return super().get_request()


class Answering(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.server.asked.append(self.path)
        status, document = self.server.said[self.path]
        try:
            self.server.everybody.wait(10)
        except threading.BrokenBarrierError:
            status = 500
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *unused):
        pass


def test_all_members_are_asked_at_the_same_time_and_over_connections_that_are_kept():
    """One after the other, the first would wait for the others in vain. A connection each does for all the questions of all the observations."""
    ids = ["n1", "n2", "n3"]
    everybody = threading.Barrier(len(ids))
    servers = [Listening(member(i, ids), everybody) for i in ids]
    try:
        endpoints = ["%s=http://127.0.0.1:%d" % (i, s.server_port) for i, s in zip(ids, servers)]
        with Session(parameters(quorum_check, endpoints=endpoints, api="v1", read_timeout=20.0)) as session:
            for _time in range(3):
                assert judge(session.observe()).reasons == ()
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
    assert [len(s.asked) for s in servers] == [21, 21, 21]
    assert [s.connections for s in servers] == [1, 1, 1]
