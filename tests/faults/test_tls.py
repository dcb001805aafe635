# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters with TLS and keys: formed, grown and restarted with the secret alone; what cannot come about is recognised and explained; no secret is left anywhere."""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from lab import PASSPHRASE, Lab

THREE, FIVE = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4", "n5"]
SECRET, ANOTHER = "sesame-of-the-cluster-4711", "sesame-of-another-one-4712"
VAULT_WORDS = "words-that-open-the-vault"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with Lab("t-tls", FIVE, tmp_path_factory.mktemp("tls"), time_factor=0.2, secret=SECRET, stateless="never", formation="ok") as lab:
        yield lab


@pytest.fixture
def lab(made):
    made.form_again(THREE)
    yield made


def test_it_forms_grows_and_restarts_with_the_secret_alone(lab):
    assert lab.play("site", THREE).changed == 0
    with lab.witness() as witness:
        lab.play("add_node", FIVE)
        assert lab.lists() == {h: FIVE for h in FIVE} and lab.active("n5") == 5
    lab.judge(witness)
    for host in FIVE:
        assert lab.pool.exec(host, "stat", "-c", "%a %U", "/etc/aether/secrets.env").stdout.strip() == "600 root"
        assert lab.pool.exec(host, "grep", "-rl", SECRET, "/etc", "/opt", "/var", check=False).stdout.split() == ["/etc/aether/secrets.env"]
    status = lab.play("status", FIVE)
    assert "TLS; certificates are good for n1 7.0 days" in status.text, status.tail()
    lab.pool.exec("n1", "systemd-analyze", "security", "--no-pager", "--threshold=20", "aether.service")  # the unit is hardened, and the node stands it


@pytest.mark.fault("known beforehand", "the inventory has another cluster secret, or none", play=(0, 1, 2))
def test_another_secret_is_refused_before_anything_is_touched(lab):
    result = lab.play("add_node", FIVE, ok=False, aether_cluster_secret=ANOTHER)
    assert "comes from an authority that is not known here" in result.text and "othing was touched" in result.text, result.tail()
    result = lab.play("add_node", FIVE, ok=False, aether_tls=False, aether_cluster_secret="")
    assert "it speaks HTTPS there: name it with https://" in result.text and "othing was touched" in result.text, result.tail()
    result = lab.play("site", THREE, ok=False, aether_cluster_secret=ANOTHER)
    assert "comes from an authority that is not known here" in result.text and "othing was touched" in result.text and result.changed == 0, result.tail()
    assert not lab.runs("n4")
    lab.play("status", THREE)


@pytest.mark.fault("known beforehand", "a secret that is easily guessed, files of TLS that the product ignores, no key that may do everything")
def test_what_the_product_would_ignore_is_refused(lab, tmp_path):
    """Files of certificates, which v1 checks and does not use, a secret that is easily guessed, and keys of which none may do everything."""
    files = {"aether_tls_%s" % name: str(tmp_path / name) for name in ("ca", "cert", "key")}
    result = lab.play("preflight", FIVE, ok=False, aether_cluster_secret="sesame", aether_api_keys=[{"key": "key-that-may-read-4712", "name": "reader"}], **files)
    for part in ("checks such files and then ignores them", "has 6 characters", "has none with the role ADMIN"):
        assert part in result.text, result.tail()
    assert result.changed == 0


class Passing:
    """What is there for a moment only, looked at again and again: command lines of this machine's processes, its sandbox hosts' among them, and files of a folder."""

    def __init__(self, folder):
        self.folder, self.lines, self.files, self.end = folder, set(), {}, threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.end.set()
        self.thread.join()

    def _look(self):
        while not self.end.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.lines.add(path.read_bytes())
            for path in self.folder.rglob("*"):
                with contextlib.suppress(OSError):
                    if path.is_file():
                        self.files[path, path.stat().st_mtime_ns] = path.read_bytes()


def vaulted(text):
    """What ansible-vault makes of a text; plays get it open with VAULT_WORDS in a file."""
    secret = VaultSecret(VAULT_WORDS.encode())
    return VaultLib([("default", secret)]).encrypt(text, secret)


@pytest.fixture
def left():
    """A folder for what is left. Ansible has its own sockets below it, whose whole path may have 107 characters: pytest's folder is too deep for that."""
    with tempfile.TemporaryDirectory(prefix="left-") as folder:
        yield Path(folder)


def talkative(lab, folder, monkeypatch, **variables):
    """Arguments of plays that have ``variables`` from an encrypted file, say all there is to say, and leave in ``folder`` whatever they leave; its part for temporary files.

    Without pipelining, as Ansible is where nobody configured it: then modules pass through temporary files.
    """
    temporary = folder / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(lab, "more", {
        "ANSIBLE_LOG_PATH": str(folder / "log"), "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder / "facts"),
        "ANSIBLE_LOCAL_TEMP": str(temporary), "ANSIBLE_PIPELINING": "false", "ANSIBLE_SSH_PIPELINING": "false", "TMPDIR": str(temporary),
    })
    (folder / "vault.yml").write_bytes(vaulted(json.dumps(variables)))
    (folder / "words").write_text(VAULT_WORDS)
    for host in lab.hosts:
        lab.pool.exec(host, "touch", "/run/before")
    return ["-vvvv", "--diff", "-e", "@%s" % (folder / "vault.yml"), "--vault-password-file", str(folder / "words")], temporary


def nowhere(lab, folder, passing, outputs, words, at_home):
    """None of ``words`` in anything that was printed, logged, cached, in a temporary file or a command line, on this machine or on a host; there only in ``at_home``."""
    log = (folder / "log").read_text()
    assert len(log) > 100000 and len(passing.lines) > 100 and passing.files, "so there was something to look through"
    for word in words:
        for what, text in [("stdout", output) for output in outputs] + [("log", log)]:
            where = text.find(word)
            assert where < 0, (what, text[max(0, where - 300) : where].splitlines()[-1:])
        assert not [line for line in passing.lines if word.encode() in line]
        assert not [path for (path, _), content in passing.files.items() if word.encode() in content]
        for place in (folder, lab.folder / "state", Path.home() / ".ansible", Path("/dev/shm"), Path("/var/tmp")):
            assert not [p for p in place.rglob("*") if p.is_file() and word.encode() in p.read_bytes()], place
    patterns = " ".join("-e '%s'" % word for word in words)
    for host in lab.hosts:
        found = lab.pool.exec(host, "sh", "-c", "find / /run /tmp /dev/shm -xdev -type f -newer /run/before -exec grep -lF %s {} + 2>/dev/null" % patterns, check=False).stdout.split()
        assert set(found) <= set(at_home), (host, found)
        journal = lab.pool.exec(host, "journalctl", "--no-pager").stdout
        assert not [word for word in words if word in journal]


@pytest.mark.fault("known beforehand", "the API key may not do what will be needed", play=1)
def test_no_secret_is_left_anywhere(lab, left, monkeypatch):
    """Everything that a run prints, logs, caches or leaves in a folder, at its most talkative; an encrypted file has them, and the hosts' files for root."""
    keys = [{"key": "key-that-may-all-4711", "name": "ops", "role": "ADMIN"}, {"key": "key-that-may-read-4712", "name": "reader"}]
    environment = {"SHOP_PASSWORD": "password-of-the-shop-4711"}
    words = [SECRET, *(entry["key"] for entry in keys), *environment.values()]
    arguments, temporary = talkative(lab, left, monkeypatch, vault_keys=keys, vault_environment=environment)
    variables = {"aether_api_keys": "{{ vault_keys }}", "aether_extra_env": "{{ vault_environment }}"}
    with Passing(temporary) as passing:
        result = lab.play("add_node", FIVE, *arguments, aether_api_key="{{ vault_keys[0].key }}", **variables)
        # The second as modules in processes of their own, which get their arguments in another way.
        failed = lab.play("add_node", FIVE, *arguments, ok=False, aether_api_key="{{ vault_keys[1].key }}", aether_in_process=False, **variables)
    # The key of a reader: found by asking, not by the first write in the middle.
    assert "The API key may not do what this needs, the role OPERATOR" in failed.text and "Refused, nothing was touched" in failed.text and failed.changed == 0
    for host in FIVE:
        assert lab.pool.exec(host, "stat", "-c", "%a %U", "/etc/aether/aether.env").stdout.strip() == "600 root"
        assert 'SHOP_PASSWORD="password-of-the-shop-4711"' in lab.pool.exec(host, "cat", "/etc/aether/aether.env").stdout.splitlines()
    nowhere(lab, left, passing, [result.output, failed.output], words, ["/etc/aether/secrets.env", "/etc/aether/aether.env"])


@pytest.mark.fault("the formation", "the handshake of TLS always fails")
def test_tls_that_never_forms_is_recognised_and_explained(lab):
    for host in FIVE:
        lab._wipe(host)
        lab.switch(host, tls_forms=False)
    result = lab.play("site", THREE, ok=False, aether_ready_timeout=8)
    assert "the handshake between the nodes fails, which it always does in this release once TLS is on" in result.text, result.tail()


@pytest.fixture(scope="module")
def made_with_authority(made, tmp_path_factory):
    made.pool.down()
    with Lab("t-tls", FIVE, tmp_path_factory.mktemp("tls-runbook"), time_factor=0.2, api="runbook", own_ca=True) as lab:
        yield lab


@pytest.fixture
def runbook(made_with_authority):
    made_with_authority.form_again(THREE)
    yield made_with_authority


def test_the_runbooks_api_with_a_private_authority(runbook):
    """The nodes make their own keys, and nobody without a certificate of the authority gets in."""
    lab = runbook
    assert lab.play("authority", THREE).changed == 0 and lab.play("site", THREE).changed == 0
    with lab.witness() as witness:
        lab.play("add_node", FIVE)
    lab.judge(witness)
    assert lab.lists() == {h: FIVE for h in FIVE} and lab.active("n5") == 5
    assert lab.pool.exec("n1", "stat", "-c", "%a %U", "/etc/aether/node.key").stdout.strip() == "400 aether"
    assert oct((lab.authority / "ca.key").stat().st_mode)[-4:] == "0600" and b"ENCRYPTED" in (lab.authority / "ca.key").read_bytes()
    assert "PRIVATE" not in "".join(p.read_text() for p in lab.folder.rglob("*.pem"))
    assert lab.pool.exec("n1", "curl", "-skf", "https://127.0.0.1:8080/health", check=False).returncode != 0  # no certificate shown


def private_key():
    """PEM of a new one."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def body(pem):
    """A line with a part of the private number in it, in either form."""
    return pem.splitlines()[1]


def test_no_private_key_and_no_passphrase_is_left_anywhere(runbook, left, monkeypatch):
    """Of an authority, which is made and signs, and of nodes whose keys are given: as a variable, as a file of ansible-vault, as a file."""
    lab, given = runbook, {host: private_key() for host in THREE}
    files, fresh = left / "given", lab.folder / "fresh-authority"
    files.mkdir()
    (files / "n2.key").write_bytes(vaulted(given["n2"]))
    plain = lab.folder / "n3.key"  # beside the folder that is looked through
    plain.write_text(given["n3"])
    plain.chmod(0o644)
    paths = {"n1": given["n1"], "n2": str(files / "n2.key"), "n3": str(plain)}
    arguments, temporary = talkative(lab, left, monkeypatch, vault_passphrase=PASSPHRASE, vault_keys=paths)
    variables = {
        "aether_tls_own_ca": "", "aether_tls_key": "{{ vault_keys[inventory_hostname] }}", "aether_tls_ca": str(lab.authority / "ca.pem"),
        "aether_tls_cert": lab.pool.exec("n1", "cat", "/etc/aether/node.pem").stdout,
    }
    with Passing(temporary) as passing:
        outputs = [lab.play("authority", THREE, *arguments, aether_tls_ca_passphrase="{{ vault_passphrase }}", aether_tls_own_ca=str(fresh)).output]
        # Longer than a certificate lasts, so that all are signed anew.
        outputs.append(lab.play("site", THREE, *arguments, aether_tls_ca_passphrase="{{ vault_passphrase }}", aether_tls_renew_days=400).output)
        made = {host: lab.pool.exec(host, "cat", "/etc/aether/node.key").stdout for host in THREE}
        refused = lab.play("site", THREE, *arguments, ok=False, **variables)
        plain.chmod(0o600)
        done = lab.play("site", THREE, *arguments, **variables)
    assert "n3.key has a private key and is open to others than its owner (mode 0644)" in refused.text
    assert lab.play("site", THREE, *arguments, **variables).changed == 0
    for host in THREE:
        assert lab.pool.exec(host, "cat", "/etc/aether/node.key").stdout == given[host]
        assert lab.pool.exec(host, "stat", "-c", "%a %U", "/etc/aether/node.key").stdout.strip() == "400 aether"
    words = [PASSPHRASE, *map(body, given.values()), *map(body, made.values())]
    for folder in (fresh, lab.authority):
        authority = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), PASSPHRASE.encode())
        for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
            words.append(body(authority.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()))
        client = body((folder / "client.key").read_text())  # in clear on the controller, for the plays, and nowhere else
        assert not [text for text in (*outputs, (left / "log").read_text()) if client in text]
        assert [oct((folder / name).stat().st_mode)[-4:] for name in ("ca.key", "client.key")] == ["0600", "0600"]
    nowhere(lab, left, passing, [*outputs, refused.output, done.output], words, ["/etc/aether/node.key"])


@pytest.mark.fault("no play runs", "a certificate is near its end", play=4, then=5)
@pytest.mark.fault("known beforehand", "a certificate has ended", play=7)
def test_a_certificate_that_ends(runbook):
    """What is wrong is said as it is; one near its end is made anew by the next roll, and one that has ended by site.yml once its node is stopped."""
    lab = runbook
    for variables, said in (
        ({"aether_client_cert": "", "aether_client_key": ""}, "it wants a client certificate and was shown none"),
        ({"aether_ca_path": ""}, "comes from an authority that is not known here"),
        ({"aether_tls": False}, "it speaks HTTPS there"),
    ):
        status = lab.play("status", THREE, **variables)
        assert status.text.count(said) >= 3, status.tail()
    status = lab.play("status", THREE)
    assert "certificates are good for n1 36" in status.text and "Our own are good for" in status.text and "renewed by nobody but you" not in status.text, status.tail()
    # For all the rest it is the node's own, and ends in twenty days.
    aged = give_again(lab, "n1", -340, 20)
    lab.wait(lambda: lab.at_one("n1", THREE), "n1 to be back")
    status = lab.play("status", THREE)
    assert "The certificate of n1 ends 20" in status.text and "rolling_restart" in status.text, status.tail()
    lab.play("rolling_restart", THREE)
    assert lab.pool.exec("n1", "cat", "/etc/aether/node.pem").stdout not in (aged, "")
    status = lab.play("status", THREE)
    assert "good for n1 36" in status.text and "renewed by nobody but you" not in status.text, status.tail()
    give_again(lab, "n2", -340, -1)
    lab.wait(lambda: ":8080 " in lab.pool.exec("n2", "ss", "-lntH").stdout, "n2 to be up")
    refused = lab.play("rolling_restart", THREE, ok=False)
    assert "its certificate is out of its time" in refused.text and "Refused, nothing was touched" in refused.text, refused.tail()
    lab.pool.exec("n2", "systemctl", "stop", "aether")
    lab.play("site", THREE)
    lab.wait(lambda: lab.at_one("n2", THREE), "n2 to be back")


def give_again(lab, host, begins, ends):
    """Restart the node with the same certificate, but good from and to so many days from now; returns it."""
    made = signed_again(lab.pool.exec(host, "cat", "/etc/aether/node.pem").stdout, lab.authority, begins, ends)
    lab.pool.exec(host, "sh", "-c", "cat > /etc/aether/node.pem && systemctl restart aether", input=made)
    return made


def signed_again(certificate, authority, begins, ends):
    """The same certificate, from and to so many days from now, by the same authority: PEM in, PEM out."""
    old = x509.load_pem_x509_certificate(certificate.encode())
    key = serialization.load_pem_private_key((authority / "ca.key").read_bytes(), PASSPHRASE.encode())
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), x509.random_serial_number(), now + timedelta(days=begins), now + timedelta(days=ends))
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
