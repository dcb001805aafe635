# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS from nothing but a secret, and what is said when it does not come about: against servers of Python's own TLS, with certificates of cryptography."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import json
import ssl
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.pragmatica.aether.plugins.module_utils import minting
from ansible_collections.pragmatica.aether.plugins.module_utils.client import Client, Endpoint, EndpointTrouble, _tls_trouble
from ansible_collections.pragmatica.aether.plugins.module_utils.model import AetherError
from ansible_collections.pragmatica.aether.plugins.module_utils.operations import info, quorum_check
from ansible_collections.pragmatica.aether.plugins.module_utils.report import certificate_lines
from cryptography import x509
from fakes import run
from simnode.testing import SimCluster

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings" / "rc1" / "tls"
SECRET, ANOTHER = "correct horse battery staple", "wrong horse"


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps({"nodeId": "n1"}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *unused):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a handshake that fails is what the tests are about


def served(context=None):
    server = Server(("127.0.0.1", 0), Answers)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


def node_context(secret, *names):
    """As docs/product.md 7 says of a node: its certificate from the secret's authority, and no client without one."""
    hosts = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names])
    key, certificate = minting.issued(secret, "n1", hosts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    minting.load_chain(context, minting.pem(certificate) + minting.pem(key))
    context.load_verify_locations(cadata=minting.pem(minting.authority(secret)[1]).decode())
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def node():
    server = served(node_context(SECRET, "127.0.0.1"))
    yield server.server_address[1]
    server.shutdown()


@pytest.fixture
def plain():
    server = served()
    yield server.server_address[1]
    server.shutdown()


def ask(url, **options):
    client = Client([Endpoint(url, "n1")], **options)
    try:
        return client.read(client.endpoints[0], "/api/status").status
    finally:
        client.close()


def trouble(url, **options):
    with pytest.raises(EndpointTrouble) as caught:
        ask(url, **options)
    return caught.value.trouble


def test_the_secret_is_all_that_is_needed(node):
    assert ask("https://127.0.0.1:%d" % node, cluster_secret=SECRET) == 200


def test_the_key_of_the_authority_is_that_of_the_product():
    """The numbers of docs/product.md 7, once more and by hand: HKDF is one HMAC to extract and one to expand."""
    import hashlib
    import hmac

    extracted = hmac.new(b"aether-ca-seed", SECRET.encode(), hashlib.sha256).digest()
    expanded = hmac.new(extracted, b"aether-ca-key-v1\x01", hashlib.sha256).digest()
    scalar = int.from_bytes(expanded, "big") % (minting.ORDER - 1) + 1
    assert minting.authority_key(SECRET).private_numbers().private_value == scalar
    assert minting.authority(SECRET)[1].subject.rfc4514_string() == "CN=Aether Cluster CA"


def test_files_do_as_well(node, tmp_path):
    key, certificate = minting.issued(SECRET, "somebody")
    for name, item in (("ca.pem", minting.authority(SECRET)[1]), ("cert.pem", certificate), ("key.pem", key)):
        (tmp_path / name).write_bytes(minting.pem(item))
    files = dict(ca_path=str(tmp_path / "ca.pem"), client_cert=str(tmp_path / "cert.pem"), client_key=str(tmp_path / "key.pem"))
    assert ask("https://127.0.0.1:%d" % node, **files) == 200
    del files["client_cert"], files["client_key"]
    found = trouble("https://127.0.0.1:%d" % node, **files)
    assert found.kind == "tls" and "wants a client certificate and was shown none" in found.text
    with pytest.raises(AetherError, match="give either it or them"):
        ask("https://127.0.0.1:%d" % node, cluster_secret=SECRET, **files)


def test_another_secret_is_another_authority(node):
    found = trouble("https://127.0.0.1:%d" % node, cluster_secret=ANOTHER)
    assert found.kind == "tls" and "comes from an authority that is not known here" in found.text
    found = trouble("https://127.0.0.1:%d" % node)
    assert found.kind == "tls" and "comes from an authority that is not known here" in found.text
    # Where only the client does not look, the node does.
    found = trouble("https://127.0.0.1:%d" % node, cluster_secret=ANOTHER, validate_certs=False)
    assert found.kind == "tls" and "it refuses the client certificate" in found.text


def test_a_name_that_is_not_in_the_certificate():
    server = served(node_context(SECRET, "elsewhere.example", "10.9.8.7"))
    for host in ("127.0.0.1", "localhost"):
        found = trouble("https://%s:%d" % (host, server.server_address[1]), cluster_secret=SECRET)
        assert found.kind == "tls" and "is for another host name" in found.text
    server.shutdown()


def test_a_certificate_that_has_expired(monkeypatch):
    monkeypatch.setattr(minting, "LIFE", datetime.timedelta(seconds=-10))
    context = node_context(SECRET, "127.0.0.1")
    monkeypatch.undo()
    server = served(context)
    found = trouble("https://127.0.0.1:%d" % server.server_address[1], cluster_secret=SECRET)
    assert found.kind == "tls" and "out of its time" in found.text
    server.shutdown()


def test_a_client_certificate_that_has_expired(node, monkeypatch):
    monkeypatch.setattr(minting, "LIFE", datetime.timedelta(seconds=-10))
    found = trouble("https://127.0.0.1:%d" % node, cluster_secret=SECRET, validate_certs=False)
    assert found.kind == "tls" and "it refuses the client certificate" in found.text


def test_the_wrong_scheme_either_way(node, plain):
    found = trouble("https://127.0.0.1:%d" % plain, cluster_secret=SECRET)
    assert found.kind == "tls" and "it speaks plain HTTP there" in found.text
    found = trouble("http://127.0.0.1:%d" % node)
    assert found.kind == "tls" and "it speaks HTTPS there" in found.text


@pytest.mark.parametrize(("recording", "part"), [
    ("no-client-cert-GET-health-live", "wants a client certificate and was shown none"), ("unverified-no-client-cert", "wants a client certificate and was shown none"),
    ("client-cert-of-other-secret", "refuses the client certificate"),
])
def test_the_words_of_the_product_itself(recording, part):
    said = json.loads((RECORDINGS / (recording + ".json")).read_text())["response"]["error"]
    assert part in _tls_trouble(Endpoint("https://10.0.0.1:8080"), OSError(said), 1.0)


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(minting, "x509", None)
    with pytest.raises(AetherError, match="needs the Python library cryptography"):
        ask("https://127.0.0.1:1", cluster_secret=SECRET)


def test_nothing_of_it_is_left_anywhere(node, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert ask("https://127.0.0.1:%d" % node, cluster_secret=SECRET) == 200
    assert list(tmp_path.iterdir()) == []


# --- a whole cluster, whose nodes read docs/product.md 7 with other eyes -----------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    with SimCluster(3, secret=SECRET) as made:
        made.start_all()
        yield made


def test_a_cluster_with_tls_is_gated_with_the_secret_alone(cluster):
    result = run(quorum_check, cluster, cluster_secret=SECRET, require="complete", timeout=10.0)
    assert result["quorum"]["have"] == 3 and result["cluster"]["leader"] == "n1"


def test_every_member_is_named_with_what_is_wrong(cluster):
    for options, part in (({"cluster_secret": ANOTHER}, "comes from an authority that is not known here"), ({}, "comes from an authority that is not known here")):
        with pytest.raises(AetherError) as caught:
            run(quorum_check, cluster, **options)
        reasons = [r for r in caught.value.data["result"]["quorum"]["reasons"] if r["code"] == "tls"]
        assert [r["node"] for r in reasons] == ["n1", "n2", "n3"] and all(part in r["sentence"] for r in reasons)


def test_a_node_of_another_secret_stays_outside(cluster):
    cluster.add_member("n4")
    try:
        theirs = cluster.start("n4", secret_of_its_own=ANOTHER)
        time.sleep(0.5)
        assert cluster.get("n1", "/api/health")["connectedPeers"] == 2 and theirs.links == {}
    finally:
        cluster.kill("n4")
        del cluster.ports["n4"]


def test_tls_that_never_forms():
    with SimCluster(3, secret=SECRET, tls_forms=False) as cluster:
        for node in cluster.ids:
            cluster.start(node)
        cluster.wait(lambda: cluster.request("GET", "n1", "/health/live")[0] == 200, "n1 to be live")
        time.sleep(0.5)
        assert cluster.request("GET", "n1", "/health/ready")[0] == 503
        cluster.wait(lambda: any("NO_APPLICATION_PROTOCOL" in line for line in cluster.logs["n1"]), "its journal to say so")


def test_a_renewal_that_does_not_come_is_marked():
    """n1's is as it should be, n2's nears its end with nobody saying why, n3's could not be renewed."""
    with SimCluster(3, secret=SECRET) as cluster:
        cluster.start("n1")
        cluster.start("n2", certificate_days=2.5)
        cluster.start("n3", renewal_fails=True)
        cluster.wait(lambda: all(cluster.request("GET", n, "/health/ready")[0] == 200 for n in cluster.ids), "the nodes to be ready")
        result = run(info, cluster, cluster_secret=SECRET, gather=["certificate"])
        told = [(c["node"], c["renewal"], round(c["seconds_left"] / 86400, 1)) for c in result["document"]["certificate"]]
        assert told == [("n1", "HEALTHY", 7.0), ("n2", "HEALTHY", 2.5), ("n3", "FAILED", 7.0)]
        assert any(line.startswith("TLS; certificates are good for n1 7.0 days, n2 2.5 days, n3 7.0 days") for line in result["table"])
        assert [line[:80] for line in result["table"] if "should have been renewed" in line] == [
            "- The certificate of n2 should have been renewed by itself (it says HEALTHY); lo", "- The certificate of n3 should have been renewed by itself (it says FAILED); loo",
        ]


def test_a_certificate_that_has_ended_is_said_to_have():
    with SimCluster(1, secret=SECRET) as cluster:
        cluster.start("n1", certificate_days=-1)
        url, said = cluster.endpoints["n1"], []
        cluster.wait(lambda: said.append(trouble(url, cluster_secret=SECRET)) or said[-1].kind == "tls", "n1 to listen")
        assert "its certificate is out of its time" in said[-1].text


def test_the_end_of_a_certificate_in_a_file(node, tmp_path):
    now = time.time()
    near, far = minting.by_hand((now - 70 * 86400, now + 29 * 86400)), minting.by_hand((now - 70 * 86400, now + 31 * 86400))
    assert (near["renewal"], far["renewal"]) == ("DUE", "BY_HAND") and abs(near["seconds_left"] - 29 * 86400) < 5
    assert minting.by_hand((now - 1, now + 86400))["renewal"] == "BY_HAND" and minting.by_hand((now - 86400, now + 3600))["renewal"] == "DUE"
    assert minting.by_hand(None)["seconds_left"] is None
    # As it is shown, and as it is in a file.
    client = Client([Endpoint("https://127.0.0.1:%d" % node, "n1")], cluster_secret=SECRET)
    shown = minting.by_hand(client.read(client.endpoints[0], "/health").certificate)
    client.close()
    assert 3500 < shown["seconds_left"] <= 3600 and shown["renewal"] == "BY_HAND"
    (tmp_path / "own.pem").write_bytes(minting.pem(minting.authority(SECRET)[1]) + minting.pem(minting.issued(SECRET, "somebody")[1]))
    assert 3500 < minting.by_hand(minting.times_of(str(tmp_path / "own.pem")))["seconds_left"] <= 3600
    assert minting.times_of(str(tmp_path / "none.pem")) is None


def test_a_certificate_in_a_file_that_is_near_its_end_is_marked():
    due, fine = {"seconds_left": 100000, "renewal": "DUE", "expires_at": "2027-01-01T00:00:00Z"}, {"seconds_left": 100000, "renewal": "BY_HAND", "expires_at": "2027-01-01T00:00:00Z"}
    assert certificate_lines([]) == certificate_lines([{"node": "n1", "renewal": "NOT_CONFIGURED"}]) == []
    assert certificate_lines([dict(fine, node="n1")], [dict(fine, file="own.pem")]) == ["TLS; certificates are good for n1 1.2 days", "Our own are good for own.pem 1.2 days"]
    lines = certificate_lines([dict(fine, node="n1"), dict(due, node="n2")], [dict(due, file="own.pem")])
    assert len(lines) == 4 and "of n2 ends 2027-01-01T00:00:00Z" in lines[2] and "aether_tls_cert" in lines[2] and "in own.pem ends" in lines[3] and "authority" in lines[3]


def test_the_certificate_of_a_node_is_shown(cluster):
    result = run(info, cluster, cluster_secret=SECRET, gather=["certificate"])
    assert "TLS; certificates are good for n1 7.0 days, n2 7.0 days, n3 7.0 days" in result["table"]
    found = result["document"]["certificate"]
    assert result["document"]["own_certificates"] == []
    assert [c["node"] for c in found] == ["n1", "n2", "n3"] and all(600000 < c["seconds_left"] <= 604800 and c["renewal"] == "HEALTHY" for c in found)
