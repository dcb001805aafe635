# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters with TLS and keys: formed, grown and restarted with the secret alone; what cannot come about is recognised and explained; no secret is left anywhere."""

from __future__ import annotations

import pytest
from lab import Lab

THREE, FIVE = ["n1", "n2", "n3"], ["n1", "n2", "n3", "n4", "n5"]
SECRET, ANOTHER = "sesame-of-the-cluster-4711", "sesame-of-another-one-4712"


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
    assert "TLS" in status.text, status.tail()


def test_another_secret_is_refused_before_anything_is_touched(lab):
    result = lab.play("add_node", FIVE, ok=False, aether_cluster_secret=ANOTHER)
    assert "comes from an authority that is not known here" in result.text and "othing was touched" in result.text, result.tail()
    result = lab.play("add_node", FIVE, ok=False, aether_tls=False, aether_cluster_secret="")
    assert "it speaks HTTPS there: name it with https://" in result.text and "othing was touched" in result.text, result.tail()
    assert not lab.runs("n4")
    lab.play("status", THREE)


def test_tls_that_never_forms_is_recognised_and_explained(lab):
    for host in FIVE:
        lab._wipe(host)
        lab.switch(host, tls_forms=False)
    result = lab.play("site", THREE, ok=False, aether_ready_timeout=8)
    assert "the handshake between the nodes fails, which it always does in this release once TLS is on" in result.text, result.tail()
