# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What role aether_monitoring puts onto a host, made here: the exporter with what lies beside it, and the alert rules as its template writes them."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jinja2
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "aether_monitoring"
CASES = sorted((ROOT / "tests" / "monitoring").glob("*_test.yml"))


def of_role(folder):
    return yaml.safe_load((ROLE / folder / "main.yml").read_text(encoding="utf-8"))


def rules(**changed):
    """The text of the alert rules with the role's defaults, or what differs from them; ``aether_monitoring_for`` as in the role."""
    values = dict(of_role("defaults"), **of_role("vars"))
    values.update(changed)
    values["aether__for"] = dict(values["aether__for_by_default"], **values["aether_monitoring_for"])
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.from_string((ROLE / "templates" / "aether_rules.yml.j2").read_text(encoding="utf-8")).render(values)


def lay_out(folder):
    """The exporter's folder as on a host; its path."""
    for part in of_role("vars")["aether__exporter_modules"]:
        (folder / "aether" / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "plugins" / "module_utils" / part, folder / "aether" / part)
    return Path(shutil.copy(ROLE / "files" / "aether_exporter.py", folder))


def load(folder):
    """The exporter as a module, with what lies beside it there."""
    path = lay_out(folder)
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("aether_exporter", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def check_rules(promtool, folder):
    """What promtool has against the rules, and against what they do in the cases of tests/monitoring; empty when nothing."""
    (folder / "aether_rules.yml").write_text(rules(), encoding="utf-8")
    said = []
    for words in (("check", "rules", "--lint-fatal", "aether_rules.yml"), *(("test", "rules", shutil.copy(path, folder)) for path in CASES)):
        done = subprocess.run([promtool, *words], cwd=folder, capture_output=True, text=True)
        said += [done.stdout + done.stderr] if done.returncode else []
    return said


def check_configuration(promtool, folder):
    """The same of the two scrape configurations that the role writes."""
    said = []
    values = dict(of_role("vars"), **of_role("defaults"))
    values.update(aether__scraped="127.0.0.1:9185", aether_monitoring_rules_path=str(folder / "aether_rules.yml"), aether_monitoring_alertmanagers=["a1:9093"])
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, loader=jinja2.FileSystemLoader(ROLE / "templates"))
    environment.filters["to_json"] = json.dumps
    (folder / "aether_rules.yml").write_text(rules(), encoding="utf-8")
    for name in ("prometheus.yml", "aether_scrape.yml"):
        (folder / name).write_text(environment.get_template(name + ".j2").render(values), encoding="utf-8")
        done = subprocess.run([promtool, "check", "config", name], cwd=folder, capture_output=True, text=True)
        said += [done.stdout + done.stderr] if done.returncode else []
    return said
