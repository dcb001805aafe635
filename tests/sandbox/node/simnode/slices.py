# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Slices: the leader puts instances on members on duty, moves them, and takes them away (docs/product.md 5 and 6)."""

from __future__ import annotations

from typing import Any, Dict, List

ACTIVATION = (0.4, 1.2)
UNLOADING = (2.5, 3.0)
# A draining node gives up one slice after the other: each has a turn, and leaves within it.
TURN, LEAVES, UNLOADING_WITHIN_TURN = 5.0, 2.9, (0.1, 0.3)
EMPTY = 0.05  # a draining node that has nothing to give is done


class SliceEngine:
    def __init__(self, node):
        self.node = node
        self.drains: Dict[str, Any] = {}  # node and time of its drain -> (when this leader first saw it, what was there to move)

    def on_duty(self) -> List[str]:
        node = self.node
        here = [node.id] + [p for p, link in node.links.items() if link.ready]
        return sorted(n for n in here if (node.store.get("lifecycle/" + n) or {}).get("state") == "ON_DUTY")

    def instances(self, artifact: str) -> Dict[str, dict]:
        return dict(self.node.store.items("instance/%s/" % artifact))

    def tick(self) -> Dict[str, Any]:
        """The next changes; called on the leader only."""
        changes: Dict[str, Any] = {}
        members = set(self.node.members())
        targets = dict(self.node.store.items("target/"))
        for key, _ in self.node.store.items("instance/"):
            artifact, host = key.rsplit("/", 1)
            if host not in members or artifact not in targets:
                changes["instance/" + key] = None
        on_duty = self.on_duty()
        for artifact, target in targets.items():
            self._towards(artifact, target, on_duty, members, changes)
        self._drain(targets, on_duty, changes)
        return changes

    def _towards(self, artifact, target, on_duty, members, changes):
        node = self.node
        placed = {host: i for host, i in self.instances(artifact).items() if host in members}
        failing = bool(node.switches.slice_fail) and node.switches.slice_fail in artifact
        for host, instance in placed.items():
            key = "instance/%s/%s" % (artifact, host)
            if instance["state"] == "FAILED" and not failing:
                # The product unloads what failed and tries again and again; here that is one long failure, and one retry once the cause is gone.
                changes[key] = dict(instance, state="UNLOADING", at=node.store.time)
            elif instance["state"] == "ACTIVATING" and node._after("active/%s/%s" % (key, instance["at"]), (ACTIVATION[0] + node.switches.slice_delay, ACTIVATION[1] + node.switches.slice_delay)):
                changes[key] = dict(instance, state="FAILED", reason="Slice activation failed (simulated)") if failing else dict(instance, state="ACTIVE")
            elif instance["state"] == "UNLOADING" and node._after("gone/%s/%s" % (key, instance["at"]), UNLOADING if host in on_duty else UNLOADING_WITHIN_TURN):
                changes[key] = None
        staying = [h for h, i in placed.items() if i["state"] != "UNLOADING" and h in on_duty]
        free = [h for h in on_duty if h not in placed]
        for host in sorted(free, key=lambda h: (self._load(h, changes), h))[: max(0, target["instances"] - len(staying))]:
            changes["instance/%s/%s" % (artifact, host)] = {"state": "ACTIVATING", "at": node.store.time}
        for host in sorted(staying)[target["instances"]:]:
            changes["instance/%s/%s" % (artifact, host)] = {"state": "UNLOADING", "at": node.store.time}

    def rejected(self) -> Dict[str, Any]:
        """A new leader takes up every slice of every blueprint, those as well that were not taken when they were posted."""
        by_name = {artifact.rsplit(":", 1)[0]: artifact for artifact, _ in self.node.store.items("target/")}
        taken = {}
        for identity, blueprint in self.node.store.items("blueprint/"):
            for entry in blueprint["slices"]:
                artifact = entry["artifact"]
                if artifact not in by_name.values():
                    beside = by_name.get(artifact.rsplit(":", 1)[0])
                    taken["target/" + artifact] = dict({"instances": entry["instances"], "min": entry["min"], "owner": identity}, **({"beside": beside} if beside else {}))
        return taken

    def _load(self, host, changes) -> int:
        """How many instances a host has or is about to get."""
        here = {key for key, _ in self.node.store.items("instance/")}
        here |= {key[len("instance/"):] for key, value in changes.items() if key.startswith("instance/") and value is not None}
        return sum(1 for key in here if key.endswith("/" + host))

    def _drain(self, targets, on_duty, changes):
        node = self.node
        for host, entry in node.store.items("lifecycle/"):
            if entry["state"] not in ("DRAINING", "SHUTTING_DOWN") or node.switches.stuck_drain or entry.get("stuck") or ("lifecycle/" + host) in changes:
                continue
            held = [a for a in targets if host in self.instances(a)]
            since, order = self.drains.setdefault("%s/%s" % (host, entry["at"]), (node.now(), sorted(held)))
            stays = node.now() - since
            for position, artifact in enumerate(order):
                if artifact not in held:
                    continue
                placed = self.instances(artifact)
                elsewhere = [h for h, i in placed.items() if h in on_duty and i["state"] == "ACTIVE"]
                if len(elsewhere) < targets[artifact]["instances"]:
                    break  # nobody on duty is free of this slice: it never ends
                # One that is shut down does not wait for turns.
                if placed[host]["state"] != "UNLOADING" and (entry["state"] == "SHUTTING_DOWN" or stays >= node.t(TURN * position + LEAVES)):
                    changes["instance/%s/%s" % (artifact, host)] = {"state": "UNLOADING", "at": node.store.time}
                break
            if not held and entry["state"] == "DRAINING" and stays >= node.t(max(TURN * len(order), EMPTY)):
                changes["lifecycle/" + host] = dict(entry, state="DECOMMISSIONED")
