# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The site of the documentation: built without a warning, every link inside it leads somewhere, nothing is left out."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import catalogue
import pytest
import yaml
from environments import ROOT


class Page(HTMLParser):
    """Where the links of a page lead, and which places in it have a name."""

    def __init__(self, path):
        super().__init__()
        self.links, self.names = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.names.update(given[key] for key in ("id", "name") if given.get(key))
        self.links.extend(given[key] for key in ("href", "src") if given.get(key))


@pytest.fixture(scope="module")
def site():
    done = subprocess.run([sys.executable, str(ROOT / "tests" / "tools" / "docs.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return ROOT / ".dev" / "docs" / "html"


def test_every_link_inside_the_site_leads_somewhere(site):
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    broken, followed = [], 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue  # elsewhere; nothing here reaches it
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            followed += 1
            if not target.exists() or (parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].names):
                broken.append("%s: %s" % (path.relative_to(site.resolve()), link))
    assert followed > 1000 and broken == []


def test_every_module_role_filter_play_and_variable_is_there(site):
    for path in (ROOT / "plugins" / "modules").glob("*.py"):
        assert (site / "reference" / (path.stem + "_module.html")).exists(), path
    for path in (ROOT / "plugins" / "filter").glob("*.yml"):
        assert (site / "reference" / (path.stem + "_filter.html")).exists(), path
    variables = text_of(site / "variables.html")
    for role in (ROOT / "roles").iterdir():
        assert (site / "reference" / (role.name + "_role.html")).exists(), role
        for entry in yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"].values():
            assert all(re.search(r"\b%s\b" % name, variables) for name in entry.get("options", {})), role
    for options in yaml.safe_load((ROOT / "docs" / "variables.yml").read_text(encoding="utf-8")).values():
        assert all(re.search(r"\b%s\b" % name, variables) for name in options)
    told = "".join(text_of(path) for path in site.glob("*.html"))
    for play in (ROOT / "playbooks").glob("*.yml"):
        verb = "hosts:" in play.read_text(encoding="utf-8") and play.stem not in ("remove_one", "remove_plan")  # those are parts of remove_node
        assert not verb or "pragmatica.aether." + play.stem in told, play


def test_the_page_of_messages_has_all_of_them(site):
    """That they are what the code says is tested in tests/unit/test_catalogue.py."""
    shown = " ".join(text_of(site / "failures.html").split())
    known = catalogue.messages()
    assert len(known) > 250
    for message in known:
        assert " ".join(message.sentence.split()) in shown, message


def text_of(path):
    body = path.read_text(encoding="utf-8").partition('itemprop="articleBody"')[2]
    return html.unescape(re.sub(r"<[^>]+>", "", body))
