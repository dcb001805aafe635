# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold for the tree as a whole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CODE = (".py", ".yml", ".yaml", ".java", ".sh")


def tracked():
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / n for n in names if (ROOT / n).is_file()]


def test_ansible_lint_is_clean_at_profile_production():
    # Asked where the clone lies as a collection, for that is where its own names resolve.
    place = ROOT / ".dev" / "collections" / "ansible_collections" / "pragmatica" / "aether"
    done = subprocess.run([str(Path(sys.executable).with_name("ansible-lint")), "--profile", "production", "--offline", "--nocolor", "-q"], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


LICENCE = ("Copyright: Contributors to the pragmatica.aether project", "GNU General Public License v3.0+", "SPDX-License-Identifier: GPL-3.0-or-later")


# Texts, for which LICENSE speaks; what was recorded, and what antsibull-changelog keeps.
WITHOUT_HEADER = ("*.md", "*.rst", "LICENSE", "tests/recordings/*/*", "tests/recordings/*/*/*", "changelogs/changelog.yaml", "changelogs/fragments/*")


def test_every_file_says_its_licence():
    """As REUSE wants it: who, and which licence as SPDX, in the first lines."""
    headed = [p for p in tracked() if not any(p.relative_to(ROOT).match(pattern) for pattern in WITHOUT_HEADER) and p.stat().st_size]
    assert len(headed) > 200
    without = [str(p.relative_to(ROOT)) for p in headed if not all(line in p.read_bytes()[:600].decode("utf-8", "replace") for line in LICENCE)]
    assert without == []


def test_no_line_of_the_plugins_is_longer_than_160_columns():
    # As ansible-test's pep8 wants it, which takes longer to say so.
    lines = [(str(p.relative_to(ROOT)), n) for p in tracked() if p.suffix == ".py" and "plugins" in p.parts for n, t in enumerate(p.read_text(encoding="utf-8").splitlines(), 1) if len(t) > 160]
    assert lines == []


def test_requirements_have_floors_only():
    lines = [text.partition(";")[0].strip() for text in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines() if not text.startswith("#")]
    assert lines and all(re.fullmatch(r"[a-z0-9-]+>=[0-9.]+", text) and not text.startswith("ansible") for text in lines), lines


def test_no_path_of_one_machine_is_in_the_tree():
    home = re.compile(r"/(?:home|Users)/[a-z]+/|/ro" + r"ot/\.(?!ssh)|/wo" + r"rk/|/fa" + r"rm/")
    found = [str(p.relative_to(ROOT)) for p in tracked() if p.suffix in CODE + (".md", ".cfg", ".ini", ".toml", ".txt") and home.search(p.read_text(encoding="utf-8", errors="ignore"))]
    assert found == []


def test_every_role_has_a_readme_and_an_argument_spec_that_names_its_defaults():
    roles = sorted(p for p in (ROOT / "roles").iterdir() if p.is_dir())
    assert roles
    for role in roles:
        assert (role / "README.md").read_text(encoding="utf-8").startswith("# ")
        spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
        options = {name for entry in spec.values() for name in entry.get("options", {})}
        defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text(encoding="utf-8"))
        assert set(defaults) <= options, (role.name, set(defaults) - options)
        assert all(name.startswith("aether_") for name in options)


# Given from one play to another, which no user does.
BETWEEN_PLAYS = {"aether_round", "aether_replacing", "aether_full"}


def test_every_variable_is_described_and_every_description_is_of_one_that_is_read():
    """Of roles in their argument specs, of plays and plugins in docs/variables.yml; where one is read: in tasks, templates, plays and plugins."""
    specs = [yaml.safe_load(p.read_text(encoding="utf-8"))["argument_specs"] for p in (ROOT / "roles").glob("*/meta/argument_specs.yml")]
    of_roles = {name: option for spec in specs for entry in spec.values() for name, option in entry.get("options", {}).items()}
    plays = yaml.safe_load((ROOT / "docs" / "variables.yml").read_text(encoding="utf-8"))
    assert set(plays) - {"every play"} <= {p.stem for p in (ROOT / "playbooks").glob("*.yml")}
    of_plays = {name: option for options in plays.values() for name, option in options.items()}
    assert len(of_plays) == sum(map(len, plays.values())) and not set(of_roles) & set(of_plays)
    assert all(option.get("type") and option.get("description") for option in [*of_roles.values(), *of_plays.values()])
    not_only_variables = {p.stem for p in (ROOT / "plugins" / "modules").glob("*.py")} | {p.name for p in (ROOT / "roles").iterdir()} | {"aether_nodes", "aether_retired"}
    # Files of roles, and what the exporter measures.
    not_only_variables |= {p.name.partition(".")[0] for p in (ROOT / "roles").glob("*/[ft]*/*") if p.parent.name in ("files", "templates")}
    exporter = (ROOT / "roles" / "aether_monitoring" / "files" / "aether_exporter.py").read_text(encoding="utf-8")
    not_only_variables |= set(re.findall(r'^    "(aether_[a-z_]+)": ', exporter, re.M))
    read = set()
    for path in tracked():
        place = path.relative_to(ROOT).parts
        if place[0] not in ("playbooks", "roles", "plugins") or {"meta", "defaults", "doc_fragments"} & set(place) or path.suffix not in (".py", ".yml", ".j2"):
            continue
        text = re.sub(r"(?m)^\s*#.*", "", path.read_text(encoding="utf-8"))
        read |= set(re.findall(r"(?<![\w.])aether_(?!_)[a-z0-9_]+", text))
        if place[0] == "playbooks":
            read |= set(re.findall(r"{{ ([a-z]\w+) \| default\(omit\b", text))
    described = set(of_roles) | set(of_plays) | BETWEEN_PLAYS
    assert (read - not_only_variables - described, described - read) == (set(), set())


def test_serial_plays_stop_on_a_failed_and_on_an_unreachable_host():
    """max_fail_percentage 0 and the batch guard, never any_errors_fatal."""
    for path in sorted((ROOT / "playbooks").glob("*.yml")):
        for play in yaml.safe_load(path.read_text(encoding="utf-8")):
            assert "any_errors_fatal" not in play
            if "serial" in play:
                assert play["max_fail_percentage"] == 0, (path.name, play["name"])
                assert "ansible_play_hosts_all" in str(play["pre_tasks"][0]), (path.name, play["name"])


def test_the_tarball_holds_what_a_user_needs_and_nothing_else(tmp_path):
    import tarfile

    galaxy = str(Path(sys.executable).with_name("ansible-galaxy"))
    # A user's environment: with this clone's own, galaxy would find the collection installed already.
    user = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "c")}
    subprocess.run([galaxy, "collection", "build", str(ROOT), "--output-path", str(tmp_path)], check=True, capture_output=True, env=user, cwd=tmp_path)
    (tarball,) = tmp_path.glob("pragmatica-aether-*.tar.gz")
    with tarfile.open(tarball) as archive:
        top = {name.split("/")[0] for name in archive.getnames()}
    assert {"meta", "plugins", "roles", "playbooks", "README.md", "LICENSE", "MANIFEST.json"} <= top
    assert not top & {"tests", "molecule", "bin", ".dev", ".ci", ".git"}
    subprocess.run([galaxy, "collection", "install", str(tarball), "-p", str(tmp_path / "c"), "--offline"], check=True, capture_output=True, env=user, cwd=tmp_path)
    for play in sorted(p.stem for p in (ROOT / "playbooks").glob("*.yml")):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "pragmatica.aether." + play, "--syntax-check"],
            cwd=tmp_path, env=user, capture_output=True, text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
