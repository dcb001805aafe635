# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Is it safe to stop this node? Who is sound, is the majority kept, how many can be lost?

Pure functions ``Observation -> verdict``. The rules are those of docs/product.md 3:
a member is judged by its own answers, and every member has its own denominator.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Dict, FrozenSet, List, NamedTuple, Optional, Sequence, Tuple

from .model import ON_DUTY, Observation, Reason, View

MAJORITY = frozenset(["majority"])
COMPLETE = frozenset(["complete"])
BOTH = MAJORITY | COMPLETE

# Findings that compare members: asked at slightly different moments, they may differ for
# an instant without meaning anything, so they count only when a second look shows them too.
COMPARISONS = frozenset(["no_state", "split_views", "two_leaders", "dead_leader", "no_leader", "no_quorum", "lost_majority"])


# One node that is asked at two addresses is equally old at both, but for the time between the two questions: seconds.
SAME_AGE = 5


@dataclass(frozen=True)
class Member:
    """One voter, judged by its own answers. ``sound`` = ready, has quorum, has state and is led."""

    id: str
    answers: bool = False
    ready: bool = False
    has_quorum: bool = False
    has_state: bool = False
    led: bool = False
    state: Optional[str] = None

    @property
    def sound(self) -> bool:
        return self.answers and self.ready and self.has_quorum and self.has_state and self.led


@dataclass(frozen=True)
class Verdict:
    """What one observation says.

    ``needed``/``have``: sound members, see :func:`judge`. ``can_lose``: how many members may go,
    whichever they are, with the majority kept (0 also when it is not kept now).
    ``survives_without``: for each member that answers, whether the cluster survives losing it.
    """

    members: Dict[str, Member]
    leader: Optional[str]
    needed: int
    have: int
    can_lose: int
    survives_without: Dict[str, bool]
    agreed: bool
    state_evidence: str
    reasons: Tuple[Reason, ...]

    def holds(self, requirement: str) -> bool:
        """``requirement``: ``majority`` or ``complete``."""
        return not self.blocking(requirement)

    def blocking(self, requirement: str) -> Tuple[Reason, ...]:
        return tuple(r for r in self.reasons if requirement in r.blocks)

    def explaining(self, requirement: str) -> Tuple[Reason, ...]:
        """What blocks, and when too few members are sound, what each of the others lacks."""
        blocking = self.blocking(requirement)
        if any(r.code == "lost_majority" for r in blocking):
            return tuple(r for r in self.reasons if r.blocks)
        return blocking

    @property
    def quorate(self) -> bool:
        """Have as many as are needed state and a quorum, whoever leads them? Leadership is judged apart (docs/product.md 3)."""
        return sum(m.has_state and m.has_quorum for m in self.members.values()) >= self.needed

    @property
    def with_state(self) -> Tuple[str, ...]:
        return tuple(m.id for m in self.members.values() if m.has_state)

    @property
    def sound(self) -> Tuple[str, ...]:
        return tuple(m.id for m in self.members.values() if m.sound)

    def as_data(self):
        return {
            "needed": self.needed,
            "have": self.have,
            "can_lose": self.can_lose,
            "survives_without": dict(self.survives_without),
            "agreed": self.agreed,
            "state_evidence": self.state_evidence,
            "reasons": [r.as_data() for r in self.reasons],
        }


def reference_view(observation: Observation) -> Optional[View]:
    """A view from the group that the others' state is measured by; None when no member has any.

    The largest group of members with equal evidence and equal lifecycle lists. A group that shows
    something always goes before one that shows nothing, however large: what members without state
    have in common is that they show nothing (docs/product.md 2). On a tie the longest list wins,
    for the same reason.
    """
    groups: Dict[tuple, list] = {}
    for view in observation.answering():
        if view.has_lifecycle and not view.lifecycle:
            continue
        key = (view.evidence, frozenset(view.lifecycle))
        groups.setdefault(key, []).append(view)
    if not groups:
        return None
    best = max(groups, key=lambda key: (bool(key[0]), len(groups[key]), len(key[1]), -_first(observation, groups[key])))
    return groups[best][0]


def _first(observation, views):
    return min(observation.voters.index(v.id) for v in views)


def has_state(view: View, reference: Optional[View], answering: FrozenSet[str]) -> bool:
    """Does ``view`` show what the reference group shows? ``answering``: ids of the voters that answer.

    Without lifecycle (docs/product.md 10) the node list is all there is: it has every voter that answers and has a quorum.
    """
    if not view.has_lifecycle:
        return (view.peers | {view.id}) >= answering
    if reference is None:
        return False
    if view.evidence != reference.evidence:
        return False
    return frozenset(view.lifecycle) >= (frozenset(reference.lifecycle) & answering)


def majority(size: int) -> int:
    """How many of ``size`` are more than half."""
    return size // 2 + 1


def quorum_of(view: View, ready: FrozenSet[str], unlisted: int = 0) -> bool:
    """Has this member a quorum by its own denominator, counting only peers that say themselves they are ready?

    ``unlisted``: the denominator where the dialect shows no lists: how many had state when the operation began, else how many voters there are.
    """
    size = view.cluster_size or (0 if view.has_lists else unlisted)
    if size < 1:
        return False
    count = len((view.peers & ready) | {view.id})
    return count >= majority(size)


class Standing(NamedTuple):
    """A member that has state and a quorum now: the ready ones that it sees, itself included, and how many of them it needs."""

    id: str
    seen: FrozenSet[str]
    needed: int


def standing(observation: Observation, with_state: FrozenSet[str], baseline: int = 0) -> List[Standing]:
    """``baseline``: how many had state when the operation began; 0: not known. A member that is cut off already is not among them: it must not be needed."""
    ready = frozenset(v.id for v in observation.answering() if v.ready)
    unlisted = baseline or len(observation.listed)
    able = [v for v in observation.answering() if v.id in with_state and quorum_of(v, ready, unlisted)]
    return [Standing(v.id, (v.peers & ready) | {v.id}, majority(v.cluster_size or unlisted)) for v in able]


def survives(observation: Observation, with_state: FrozenSet[str], lost: FrozenSet[str], baseline: int = 0) -> bool:
    """Would the cluster survive losing ``lost`` now? (docs/product.md 3)

    Every remaining member that has state and quorum now must have a quorum without them, and they must be
    more than half of the members with state, and of ``baseline``.
    """
    return _survive(standing(observation, with_state, baseline), max(len(with_state), baseline), lost)


def _survive(able: Sequence[Standing], had: int, lost: FrozenSet[str]) -> bool:
    rest = [s for s in able if s.id not in lost]
    return 2 * len(rest) > had and all(_holds_without(s, lost) for s in rest)


def _holds_without(one: Standing, lost: FrozenSet[str]) -> bool:
    return len(one.seen) - len(one.seen & lost) >= one.needed


def margin(able: Sequence[Standing], had: int, members: int) -> int:
    """The largest number of members whose loss is survived whichever they are; 0 when none or not even now.

    The worst loss of so many takes only members that stand, or only those that one of them sees: no need to try them all.
    ``had``: how many of them had state, see :func:`survives`; ``members``: how many answer.
    """
    left = (2 * len(able) - had - 1) // 2
    return max(0, min([left, members - 1] + [len(s.seen) - s.needed for s in able if s.needed > 1]))


def judge(observation: Observation, baseline: Optional[Tuple[str, ...]] = None, without: Tuple[str, ...] = ()) -> Verdict:
    """Judge one observation.

    ``baseline``: ids that had state when the operation began. ``without``: would it survive losing these?

    ``needed`` is more than half of the baseline. Asked without one, it is the majority of the
    shortest list that a member with state runs with: during growth the founders' lists still hold the state.
    """
    answering = observation.answering()
    ids = frozenset(v.id for v in answering)
    ready = frozenset(v.id for v in answering if v.ready)
    reference = reference_view(observation)
    stateful = frozenset(v.id for v in answering if has_state(v, reference, ids if v.has_lifecycle else ready))
    size = len(baseline) if baseline else 0
    leader, leaders = _common_leader(answering, stateful, ids)
    reasons = list(_trouble(observation))

    members: Dict[str, Member] = {}
    for voter in observation.voters:
        view = observation.view(voter)
        if view is None or not view.answers:
            members[voter] = Member(id=voter)
            continue
        led = not view.has_leader or (leader is not None and view.leader == leader)
        members[voter] = Member(
            id=voter,
            answers=True,
            ready=view.ready,
            has_quorum=quorum_of(view, ready, size or len(observation.listed)),
            has_state=voter in stateful,
            led=led,
            state=view.lifecycle.get(voter),
        )
        reasons.extend(_findings(observation, view, members[voter], ids, ready, reference))

    if len(leaders) > 1:
        said = ", ".join("%s names %s" % (v.id, v.leader) for v in answering if v.id in stateful and v.leader in ids)
        reasons.append(Reason("two_leaders", None, "The members do not agree on one leader: %s." % said, BOTH))
    reasons.extend(_compare_views(members, answering))
    reasons.extend(_compare_lists(observation, answering))

    evidence = "none"
    if reference is not None and reference.evidence:
        evidence = "compared"
    elif answering:
        reasons.append(
            Reason(
                "state_evidence_none",
                None,
                "There is nothing to compare state by (no blueprint, no changed threshold): a member without state can be told by its lifecycle list only."
                if all(v.has_lifecycle for v in answering)
                else "This API shows nothing to compare state by: members are judged by their node lists.",
            )
        )

    sound = [m for m in members.values() if m.sound]
    needed = _needed(observation, answering, stateful, baseline)
    if len(sound) < needed:
        reasons.append(
            Reason(
                "lost_majority",
                None,
                "%d sound member%s, %d needed. %s" % (len(sound), "" if len(sound) == 1 else "s", needed, _what_heals(observation, members, sound, needed)),
                BOTH,
            )
        )
    able, had = standing(observation, stateful, size), max(len(stateful), size)
    if without and not _survive(able, had, frozenset(without)):
        reasons.append(Reason("would_not_survive", None, _why_not(able, had, without), BOTH))
    return Verdict(
        members=members,
        leader=leader,
        needed=needed,
        have=len(sound),
        can_lose=margin(able, had, len(answering)),
        survives_without={v.id: _survive(able, had, frozenset([v.id])) for v in answering},
        agreed=not any(r.code in ("two_leaders", "split_views", "dead_leader") for r in reasons) and bool(sound),
        state_evidence=evidence,
        reasons=tuple(reasons),
    )


def _needed(observation, answering, stateful, baseline):
    if baseline:
        return majority(len(baseline))
    sizes = [v.cluster_size for v in answering if v.id in stateful and v.cluster_size > 0]
    return majority(min(sizes) if sizes else len(observation.listed))


def _common_leader(answering, stateful, ids):
    """The leader that most members with state name (None on a tie), and every leader they name.

    Only leaders that answer: one that is dead, or no voter, leads nobody and is a finding of its own.
    """
    named = Counter(v.leader for v in answering if v.id in stateful and v.leader in ids)
    if not named:
        return None, named
    ranked = named.most_common()
    if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
        return None, named
    return ranked[0][0], named


def are_two(one: View, other: View) -> bool:
    """Do two nodes run under the id that both say they have, and not one that can be reached at two addresses? False where it cannot be told."""
    if not (one.answers and other.answers) or one.node_id != other.node_id or one.uptime is None or other.uptime is None:
        return False
    return abs(one.uptime - other.uptime) > SAME_AGE


def runs_twice(own: View, other: View) -> Reason:
    """``own``: at the endpoint that is named for it."""
    return Reason(
        "runs_twice",
        own.node_id,
        "%s runs twice, at %s and at %s: two nodes of one id must never run. Stop the one that is not meant, for good: systemctl disable --now aether on its"
        " host; one that was replaced is fenced with replace_node.yml -e aether_replace=%s -e aether_old_host=NAME."
        % (own.node_id, own.endpoint, other.endpoint, own.node_id),
        COMPLETE,
    )


def _trouble(observation):
    """Endpoints that could not be read, that answer for somebody else, and voters nobody answers for."""
    seen = set()
    for view in observation.views:
        if view.answers:
            if view.node_id in observation.voters and view.name in (None, view.node_id):
                seen.add(view.node_id)
            elif view.node_id in observation.voters:
                seen.update((view.node_id, view.name))
                own = next((v for v in observation.views if v.name == view.node_id), view)
                if are_two(own, view):
                    yield runs_twice(own, view)
                    continue
                yield Reason(
                    "wrong_id",
                    view.name,
                    "The endpoint of %s (%s) answers as %s: two inventory entries point at one node, or its node id is wrong."
                    % (view.name, view.endpoint, view.node_id),
                    COMPLETE,
                )
            else:
                seen.add(view.name)
                yield Reason(
                    "foreign",
                    view.name,
                    "%s answers as %s, which is not one of the voters (%s): a member of another cluster, or a node without its own id."
                    % (view.endpoint, view.node_id, ", ".join(observation.voters)),
                    COMPLETE,
                )
        else:
            seen.add(view.name)
            yield Reason(view.trouble.kind, view.id, "%s: %s" % (view.id, view.trouble.text), COMPLETE)
    for voter in observation.voters:
        if voter not in seen:
            yield Reason("down", voter, "%s: none of the endpoints answers for it." % voter, COMPLETE)


def _findings(observation, view, member, ids, ready, reference):
    """What one member that answers says against itself."""
    node = view.id
    if not member.ready:
        yield Reason("not_ready", node, "%s answers but is not ready." % node, COMPLETE)
    if not member.has_state and not view.has_lifecycle:
        unseen = sorted(ready - view.peers - {node})
        yield Reason("split_views", node, "%s does not list %s, which answers and has a quorum: the views are split." % (node, ", ".join(unseen)), COMPLETE)
    elif not member.has_state:
        yield Reason("no_state", node, "%s is %s but without state: %s." % (node, "ready" if member.ready else "up", _lacking(view, reference, ids)), COMPLETE)
    elif not member.has_quorum:
        yield Reason(
            "no_quorum",
            node,
            "%s has no quorum: of the %s it sees too few that are ready." % (node, "%d in its list" % view.cluster_size if view.cluster_size else "voters"),
            COMPLETE,
        )
    if view.has_leader and member.has_state:
        if view.leader is None:
            yield Reason("no_leader", node, "%s is %s but knows no leader." % (node, "ready" if member.ready else "up"), COMPLETE)
        elif view.leader not in observation.voters:
            yield Reason("foreign", node, "%s follows %s, which is not one of the voters: a member of another cluster." % (node, view.leader), COMPLETE)
        elif view.leader not in ids:
            yield Reason("dead_leader", node, "%s follows %s, which does not answer." % (node, view.leader), COMPLETE)
    if view.has_lifecycle and member.has_state and member.state not in (None, ON_DUTY):
        yield Reason("not_on_duty", node, "%s is %s." % (node, member.state))


def _lacking(view, reference, ids):
    """In words: what the reference group shows and this view does not."""
    if reference is None:
        return "no member shows any state"
    lacking = ["%s in its lifecycle list" % i for i in sorted((frozenset(reference.lifecycle) & ids) - frozenset(view.lifecycle))]
    mine, theirs = dict(view.evidence), dict(reference.evidence)
    lacking.extend(what for what in sorted(theirs) if what not in mine)
    differing = [what for what in sorted(mine) if what in theirs and theirs[what] != mine[what]]
    extra = [what for what in sorted(mine) if what not in theirs]
    parts = []
    if lacking:
        parts.append("it lacks " + ", ".join(lacking))
    if differing:
        parts.append("it differs in " + ", ".join(differing))
    if extra:
        parts.append("only it has " + ", ".join(extra))
    return "; ".join(parts) or "it shows another state than %s" % reference.id


def _compare_views(members, answering):
    """Sound members that do not see each other."""
    sound = {m.id for m in members.values() if m.sound}
    for view in answering:
        if view.id in sound:
            unseen = sorted(sound - view.peers)
            if unseen:
                yield Reason(
                    "split_views", view.id, "%s does not see %s, which answers and is sound: the views are split." % (view.id, ", ".join(unseen)), COMPLETE
                )


def _compare_lists(observation, answering):
    voters = observation.listed
    for view in answering:
        if not view.core_nodes or view.core_nodes == voters:
            continue
        missing, extra = sorted(voters - view.core_nodes), sorted(view.core_nodes - voters)
        parts = []
        if missing:
            parts.append("lacks " + ", ".join(missing))
        if extra:
            parts.append("still names " + ", ".join(extra))
        yield Reason("lists_differ", view.id, "The list %s runs with differs from the inventory: it %s." % (view.id, " and ".join(parts)), COMPLETE)
    for view in answering:
        if view.core_nodes == voters and view.cluster_size not in (0, len(voters)):
            yield Reason(
                "lists_differ", view.id, "%s counts a majority of %d, though its list has %d names." % (view.id, view.cluster_size, len(voters)), COMPLETE
            )


def _what_heals(observation, members, sound, needed):
    """What is left of a lost majority, and what brings it back (docs/product.md 3)."""
    others = [i for i in observation.voters if i not in sound]
    down = [i for i in others if not members[i].answers]
    heals = "It takes %d more of %s." % (needed - len(sound), ", ".join(others))
    if down:
        heals += " Start what is down: %s (site.yml does)." % ", ".join(down)
    if any(members[i].has_state for i in observation.voters):
        return heals + " What the cluster knows is there as long as one member with state runs: stop none."
    return heals


def _why_not(able, had, without):
    rest, names = [s for s in able if s.id not in without], ", ".join(without)
    if 2 * len(rest) <= had:
        left = ", ".join(s.id for s in rest) or "none"
        return "Without %s only %d of %d members with state would be left with a quorum (%s): not more than half." % (names, len(rest), had, left)
    return "Without %s there would be no quorum left for %s." % (names, ", ".join(s.id for s in rest if not _holds_without(s, frozenset(without))))
