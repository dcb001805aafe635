# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the documentation as a site: pages of docs/site and docs, a reference by antsibull-docs, and two pages that are made from the code itself.

A warning of any of the tools is an error. The result is in .dev/docs/html.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Dict, List

import catalogue
import environments
import yaml
from environments import ROOT

PLACE = ROOT / ".dev" / "docs"
REPOSITORY = "https://github.com/pragmaticalabs/ansible-aether/blob/main/"
SETTINGS = {
    "project": "pragmatica.aether", "author": "Contributors to the pragmatica.aether project", "copyright": "Contributors to the pragmatica.aether project",
    "extensions": ["myst_parser", "sphinx_antsibull_ext"], "html_theme": "sphinx_rtd_theme", "html_title": "pragmatica.aether", "html_show_sphinx": False,
    "html_theme_options": {"navigation_depth": 3}, "html_copy_source": False, "html_show_sourcelink": False,
    "myst_heading_anchors": 3, "nitpicky": True, "smartquotes": False, "highlight_language": "none", "myst_enable_extensions": ["colon_fence"], "html_css_files": ["site.css"], "html_static_path": ["_static"],
}
COLUMNS = ("variable", "type", "default", "meaning")
CSS = """.wy-nav-content { max-width: 70rem; }
.rst-content table.docutils td, .rst-content table.docutils th { white-space: normal; vertical-align: top; }
.rst-content table.docutils td p { margin-bottom: .5rem; font-size: inherit; line-height: 1.4; }
.rst-content table.docutils td a { overflow-wrap: normal; word-break: keep-all; }
.rst-content table.docutils td pre { white-space: pre-wrap; }
"""


def main() -> int:
    tools = environments.tools()
    shutil.rmtree(PLACE, ignore_errors=True)
    source = PLACE / "source"
    shutil.copytree(ROOT / "docs" / "site", source)
    (source / "_static").mkdir()
    (source / "_static" / "site.css").write_text(CSS, encoding="utf-8")
    for name in ("design", "product", "faults"):
        (source / (name + ".md")).write_text(elsewhere((ROOT / "docs" / (name + ".md")).read_text(encoding="utf-8")), encoding="utf-8")
    (source / "variables.md").write_text(variables(), encoding="utf-8")
    (source / "failures.md").write_text(failures(), encoding="utf-8")
    (source / "conf.py").write_text("".join("%s = %r\n" % item for item in SETTINGS.items()), encoding="utf-8")
    reference = source / "reference"
    reference.mkdir()
    steps = (
        ("antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", str(reference), "pragmatica.aether"),
        ("sphinx-build", "-q", "-W", "--keep-going", "-j", "2", "-b", "html", str(source), str(PLACE / "html")),
    )
    for words in steps:
        code, text = tools.run(*words, ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".dev" / "collections"))
        if code != 0 or text.strip():
            print(text, file=sys.stderr)
            return 1
    print(PLACE / "html" / "index.html")
    return 0


def elsewhere(text: str) -> str:
    """Links to files that are no pages of the site lead to the repository."""
    return re.sub(r"\]\((?!https?:|#)(?!(?:design|product|faults)\.md)([^)]+)\)", lambda found: "](%s%s)" % (REPOSITORY, found.group(1).replace("../", "")), text)


def variables() -> str:
    """Every variable of the roles' argument specs, with the roles that use it; then those that only plays read, from docs/variables.yml."""
    found: Dict[str, dict] = {}
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            for name, option in entry.get("options", {}).items():
                roles = found.setdefault(name, dict(option, roles=[]))["roles"]
                if path.parts[-3] not in roles:
                    roles.append(path.parts[-3])
    rows = [
        (*described(name, option), ", ".join("{ansplugin}`%s <pragmatica.aether.%s#role>`" % (role[len("aether_"):], role) for role in option["roles"]))
        for name, option in sorted(found.items())
    ]
    parts = [
        "# Variables\n\nAll that can be set, in the inventory or with `-e`.\n\n## Nodes and clusters\n\nOne set of variables for all roles. Made from the roles' argument specs, which Ansible checks "
        "before a role runs;\nplays set some of them themselves.\n\n" + table((*COLUMNS, "role aether\\_…"), rows)
    ]
    for play, options in yaml.safe_load((ROOT / "docs" / "variables.yml").read_text(encoding="utf-8")).items():
        title = "Every play" if play == "every play" else "The play `%s`" % play
        parts.append("\n## %s\n\n%s" % (title, table(COLUMNS, [described(name, option) for name, option in options.items()])))
    return "".join(parts)


def described(name: str, option: dict) -> tuple:
    """A variable as a row of ``COLUMNS``; ``option``: as in an argument spec."""
    default = option.get("default")
    return (
        "`%s`" % name,
        option.get("type", "str") + (", required" if option.get("required") else ""),
        "" if default in (None, "", [], {}) else "`%s`" % str(default).replace("True", "true").replace("False", "false"),
        marked(option.get("description", "")) + (" %s of %s." % ("Any" if option.get("type") == "list" else "One", ", ".join("`%s`" % c for c in option["choices"])) if option.get("choices") else ""),
    )


def failures() -> str:
    """Every sentence with which something refuses or fails, by what it is about."""
    parts = [
        "# When it stops: the messages\n\nWhat the collection says when it refuses or fails, and the codes to branch on (`failure` in a result has them). `…` is what is filled in. This page is made\n"
        "from the very statements that raise these sentences.\n"
    ]
    found = catalogue.messages()
    for area in dict.fromkeys(message.area for message in found):
        rows = [("`%s`" % m.code if m.code else "", plain(m.sentence)) for m in found if m.area == area]
        parts.append("\n## %s\n\n%s" % (area, table(("code", "message"), rows)))
    return "".join(parts)


def marked(text) -> str:
    """Ansible's markup as Markdown's."""
    text = " ".join(text) if isinstance(text, list) else str(text)
    text = re.sub(r"\b(?:C|V|O|RV|M|P)\(((?:[^()]|\([^()]*\))*)\)", r"`\1`", text)
    return " ".join(text.split()).replace("|", "\\|")


def plain(text: str) -> str:
    """Text that means nothing to Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#|$~])", r"\\\1", " ".join(text.split()))


def table(head, rows) -> str:
    lines: List[str] = ["| %s |" % " | ".join(head), "|%s" % ("---|" * len(head))]
    lines.extend("| %s |" % " | ".join(row) for row in rows)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
