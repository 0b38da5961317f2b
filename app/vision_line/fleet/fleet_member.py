# SPDX-License-Identifier: AGPL-3.0-or-later
"""The protocol of one node without its network: what it hears goes in, what it asks of the store comes out. Pure.

Every node observes all others and obeys the plan that it saw last; one of them leads and writes the plan. What comes of
a request may be unknown, and what the watch brings may be old, doubled or missing: each write is guarded by a revision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import TypeAlias, TypeVar

from pydantic import ValidationError

from vision_line.config.table_values import NODE_NAME
from vision_line.fleet.breaker import Breaker
from vision_line.fleet.coordination import DRAIN, DRAIN_PREFIX, LEADER, NODE_PREFIX, PLAN, StoreEntry
from vision_line.fleet.fleet_plan import FleetPlan, NodeName, Stored
from vision_line.fleet.membership import HEARTBEAT_S, LEASE_S, Membership
from vision_line.fleet.node_report import NodeReport
from vision_line.fleet.placing import Placed, place
from vision_line.fleet.replan import Circumstance, adopted_plan, next_plan
from vision_line.fleet.workload import FleetCamera, FleetNode, Workload

_Stored = TypeVar("_Stored", bound=Stored)

#: How many moves may begin in a second.
MOVES_PER_S = 50.0
#: Who would lead waits this long for each node before it in the order of names, so that not all ask at once.
STAGGER_S = 0.1
#: A node has so long to accept a new plant; then it is one that goes on with an older one. It reads it every 5 s.
ACCEPTED_S = 10.0


class Claim(Stored):
    """The value of `leader`."""

    node: NodeName
    life: str


@dataclass(frozen=True, slots=True)
class Put:
    """Write a value."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Swap:
    """Write a value if the key has that revision."""

    key: str
    value: bytes
    expected: int


@dataclass(frozen=True, slots=True)
class Read:
    """Ask for a value."""

    key: str


Request: TypeAlias = Put | Swap | Read


class FleetMember:
    """One node's part of the protocol. Call `tick` some times a second, and report what comes of each request."""

    def __init__(self, name: str, life: str, *, lease_s: float = LEASE_S, moves_per_s: float = MOVES_PER_S) -> None:
        """Begin as node `name`; `life` names this process."""
        self.name = name
        self.life = life
        self.membership = Membership(name, lease_s)
        self.breaker = Breaker(lease_s)
        self.reports: dict[str, NodeReport] = {}  # the last of each node, also of those that are gone
        self.plan: FleetPlan | None = None  # the one to obey
        self.is_draining = False  # whether somebody asked it to give its cameras away
        self.doubles: str = ""  # the life of another process that calls itself by this name; "": none is known
        self._doubled_s = 0.0  # when that one gave a sign of life last
        self._lease_s = lease_s
        self._leading = _Leading(name, life, lease_s)
        self._planning = _Planning(moves_per_s)
        self._cameras: Mapping[str, FleetCamera] | None = None
        self._config_serial = 0
        self._beat_s: float | None = None
        self._caught_up_s = 0.0
        self._echoed = False
        self._configured_s: float | None = None  # since when it has this plant; None: since the next tick
        self._accepted_s: dict[str, float] = {}  # by node: since when it has the plant that it says
        self._inspected_s: dict[str, float] = {}
        self._stood_s: dict[str, float] = {}  # by camera: when the store's value was written that says it is inspected
        self._pixels_s: dict[str, int] = {}

    def configure(self, cameras: Mapping[str, FleetCamera], serial: int) -> None:
        """Use these cameras, which `fleet apply` number `serial` gave, from now on; before, nothing is planned."""
        self._cameras, self._config_serial, self._configured_s = cameras, serial, None

    def obey(self, plan: FleetPlan) -> None:
        """Obey a plan, if it is newer than the one that is obeyed: of the store, or of before a restart."""
        if self.plan is None or plan.epoch > self.plan.epoch:
            self.plan = plan

    @property
    def is_leading(self) -> bool:
        """Whether this node writes the plan."""
        return self._leading.revision is not None

    @property
    def leader(self) -> str:
        """Who leads, as far as is known; ""."""
        return self._leading.holder

    def last_inspected_s(self, camera: str) -> float | None:
        """Return when a heartbeat last said that some node inspects the camera, by the clock of this observer."""
        return self._inspected_s.get(camera)

    def saw(self, entry: StoreEntry, now_s: float) -> None:
        """Take in what the watch brought; what cannot be read is left out, and what was obeyed stays in force."""
        if entry.key.startswith(NODE_PREFIX):
            self._saw_node(entry, now_s)
        elif entry.key == LEADER:
            self._leading.saw(entry, now_s)
        elif entry.key == DRAIN_PREFIX + self.name:
            self.is_draining = entry.value == DRAIN
        elif entry.key == PLAN and (plan := _parsed(FleetPlan, entry)) is not None:
            self.obey(plan)

    def came(self, request: Read, entry: StoreEntry | None, now_s: float) -> None:
        """Take in what was asked for, None where the store has nothing there."""
        if request.key == PLAN:
            self._planning.came(entry)
            if entry is not None:
                self.saw(entry, now_s)
        elif request.key == LEADER:
            self._leading.came(entry, now_s)
        else:
            self.membership.confirm(
                request.key.removeprefix(NODE_PREFIX), 0 if entry is None else entry.revision, now_s
            )
            if entry is not None:
                self._saw_node(entry, now_s, was_read=True)

    def answered(self, request: Swap, revision: int | None, now_s: float) -> None:
        """Take in what became of a swap: its revision, or None where another write came before it."""
        if request.key == LEADER:
            self._leading.answered(revision, now_s)
        elif request.key == PLAN:
            plan = self._planning.answered(revision)
            if plan is not None:
                self.obey(plan)

    def failed(self, request: Request) -> None:
        """Note that it is not known what became of a request."""
        if request.key == LEADER:
            self._leading.failed()
        elif request.key == PLAN:
            self._planning.failed()

    def tick(self, report: NodeReport, now_s: float) -> list[Request]:
        """Return what is to be asked of the store now; `report` is what this node is and has, its life filled in."""
        requests: list[Request] = []
        if now_s - self._doubled_s > self._lease_s:
            self.doubles = ""
        if self._beat_s is None or now_s - self._beat_s >= HEARTBEAT_S or report.leaving:
            self._beat_s = now_s
            requests.append(self.heartbeat(report))
        requests += [Read(NODE_PREFIX + name) for name in self.membership.tick(now_s)]
        living = self.membership.living()
        self.breaker.note(now_s, living, self.membership.lost())
        if report.leaving:
            return requests
        if self._configured_s is None:
            self._configured_s = now_s
        is_deaf = self.membership.is_deaf(now_s)
        may_lead = self._has_newest_plant() and not is_deaf
        requests += self._leading.tick(now_s, self.membership, may_lead=may_lead)
        if not self.is_leading:
            self._planning.failed()  # another one may have written it
        if self.is_leading and self._cameras is not None and self.membership.has_heard_all(now_s):
            requests += self._planning.tick(
                now_s, self._living_reports(now_s), self._seen_plant(now_s), may_move=not self.breaker.is_holding
            )
        elif (is_deaf or self._is_behind()) and now_s - self._caught_up_s >= HEARTBEAT_S:
            self._caught_up_s = now_s
            requests.append(Read(PLAN))
        return requests

    def heartbeat(self, report: NodeReport) -> Put:
        """Return the write that renews this node's key."""
        obeyed = 0 if self.plan is None else self.plan.epoch
        own = {
            "life": self.life,
            "plan_epoch": obeyed,
            "config_serial": self._config_serial,
            "draining": report.draining or self.is_draining,
            "doubled": bool(self.doubles),
        }
        return Put(NODE_PREFIX + self.name, report.model_copy(update=own).to_bytes())

    def _saw_node(self, entry: StoreEntry, now_s: float, *, was_read: bool = False) -> None:
        name, report = entry.key.removeprefix(NODE_PREFIX), _parsed(NodeReport, entry)
        if report is None or not NODE_NAME.fullmatch(name):
            return
        if name == self.name:
            if report.life != self.life:
                self._saw_double(report, now_s)
                return  # of the process before, or of another one: no echo
            self._echoed = True
        # What comes first of another node, or after a silence, or was read, may have stood in the store for long.
        may_be_old = was_read or name not in self.reports or not self.membership.is_hearing
        is_news = self.membership.heard(name, entry.revision, now_s, has_left=report.leaving)
        before = self.reports.get(name)
        if before is None or (before.life, before.config_serial) != (report.life, report.config_serial):
            self._accepted_s[name] = now_s
        self.reports[name] = report
        self._pixels_s |= {camera: one.pixels_s for camera, one in report.cameras.items() if one.pixels_s}
        inspected = [camera for camera, one in report.cameras.items() if one.inspected]
        if is_news and (name == self.name or not may_be_old):
            self._inspected_s |= dict.fromkeys(inspected, now_s)
        elif is_news:
            self._stood_s |= {camera: max(self._stood_s.get(camera, 0.0), entry.created_s) for camera in inspected}
        if is_news and name == self.name:
            self._settle(entry, now_s)

    def _settle(self, echo: StoreEntry, now_s: float) -> None:
        """Take in how old the values are that had stood in the store: by its clock, which dates the own echo too."""
        for camera, created_s in self._stood_s.items():
            if created_s and echo.created_s:
                at_s = now_s - max(echo.created_s - created_s, 0.0)
                self._inspected_s[camera] = max(at_s, self._inspected_s.get(camera, -inf))
        self._stood_s.clear()

    def _saw_double(self, report: NodeReport, now_s: float) -> None:
        """Take in a sign of life of another process of this name; before the own first one it is of the one before."""
        if report.leaving:
            self.doubles = ""
        elif self._echoed:
            self.doubles, self._doubled_s = report.life, now_s

    def _living_reports(self, now_s: float) -> dict[str, NodeReport]:
        """Return the reports of those that live, and of those lost just now, with whom others may be lost."""
        recent = {name for name, at_s in self.membership.lost().items() if now_s - at_s < HEARTBEAT_S}
        return {name: self.reports[name] for name in sorted(self.membership.living() | recent)}

    def _seen_plant(self, now_s: float) -> _Plant:
        """Return the plant with what is known of its cameras' frames, and of who does not use it."""
        cameras = {name: _weighed(one, self._pixels_s.get(name, 0)) for name, one in (self._cameras or {}).items()}
        since_s = now_s if self._configured_s is None else self._configured_s
        outdated = frozenset(
            name
            for name, report in self.reports.items()
            if report.config_serial < self._config_serial
            and (report.plant_refused or now_s - max(since_s, self._accepted_s[name]) > ACCEPTED_S)
        )
        return _Plant(cameras, self._config_serial, outdated)

    def _has_newest_plant(self) -> bool:
        """Whether it can plan: not with an older plant than the plan in force is for, or than most nodes have."""
        own, living = self._config_serial, self.membership.living()
        newer = sum(self.reports[name].config_serial > own for name in living)
        in_force = 0 if self.plan is None else self.plan.config_serial
        return self._cameras is not None and in_force <= own and 2 * newer <= len(living)

    def _is_behind(self) -> bool:
        """Whether somebody obeys a newer plan than this node: the watch has lost it."""
        obeyed = 0 if self.plan is None else self.plan.epoch
        return any(self.reports[name].plan_epoch > obeyed for name in self.membership.living())


@dataclass(frozen=True, slots=True)
class _Plant:
    """What is planned for."""

    cameras: Mapping[str, FleetCamera]
    serial: int
    outdated: frozenset[str]  # nodes that go on with an older one


class _Leading:
    """Whether this node leads: the key `leader`, held by renewing it."""

    def __init__(self, name: str, life: str, lease_s: float) -> None:
        self._claim = Claim(node=name, life=life)
        self._lease_s = lease_s
        self._seen_revision = 0
        self._changed_s: float | None = None  # when that revision was seen first
        self.holder = ""
        self.revision: int | None = None  # of the own claim; None: this node does not lead
        self._renewed_s = 0.0
        self._is_asking = False
        self._asked_s = 0.0
        self._is_unsure = False  # the revision may be another one than the last that was seen

    def saw(self, entry: StoreEntry, now_s: float) -> None:
        """Take in the key as the watch brought it."""
        if entry.revision == self._seen_revision:
            return
        self._seen_revision, self._changed_s = entry.revision, now_s
        claim = _parsed(Claim, entry)
        self.holder = "" if claim is None else claim.node
        if self.revision is not None and entry.revision > self.revision and claim != self._claim:
            self.revision = None

    def came(self, entry: StoreEntry | None, now_s: float) -> None:
        """Take in the key as it was read."""
        self._is_asking = self._is_unsure = False
        if entry is None:
            self._seen_revision, self.holder = 0, ""
            return
        self.saw(entry, now_s)
        if _parsed(Claim, entry) == self._claim and now_s - self._renewed_s <= self._lease_s:
            self.revision = entry.revision

    def answered(self, revision: int | None, now_s: float) -> None:
        """Take in whether the claim stands."""
        self._is_asking = False
        if revision is None:
            self.revision = None
            self._is_unsure = True
            return
        self.revision, self._seen_revision, self._changed_s = revision, revision, now_s
        self.holder = self._claim.node
        self._renewed_s = self._asked_s

    def failed(self) -> None:
        """Note that it is not known."""
        self._is_asking = False
        self._is_unsure = True

    def tick(self, now_s: float, membership: Membership, *, may_lead: bool) -> Iterator[Request]:
        """Renew the claim, or make one where nobody renews it; who may not lead lets go of it."""
        if self.revision is not None and not (may_lead and now_s - self._renewed_s <= self._lease_s):
            self.revision = None  # another one may lead by now
        if self._is_asking or now_s - self._asked_s < HEARTBEAT_S:
            return
        if self._is_unsure:
            self._ask(now_s)
            yield Read(LEADER)
        elif may_lead and (self.revision is not None or self._is_vacant(now_s, membership)):
            self._ask(now_s)
            yield Swap(LEADER, self._claim.to_bytes(), self._seen_revision if self.revision is None else self.revision)

    def _ask(self, now_s: float) -> None:
        self._is_asking, self._asked_s = True, now_s

    def _is_vacant(self, now_s: float, membership: Membership) -> bool:
        if not membership.has_heard_all(now_s):
            return False
        living = membership.living()
        before = sum(name < self._claim.node for name in living)
        waits_s = min(before * STAGGER_S, 1.0)
        if self._changed_s is None or (self.holder and self.holder not in living):
            return True
        return now_s - self._changed_s > self._lease_s + waits_s


class _Planning:
    """The leader's plan: read, made anew where that is needed, and written a step at a time."""

    def __init__(self, moves_per_s: float) -> None:
        self._moves_per_s = moves_per_s
        self._base: FleetPlan | None = None  # None: what stands in the store cannot be used
        self._revision: int | None = None  # of the base; None: it must be read
        self._is_asking = False
        self._writing: FleetPlan | None = None
        self._placed: tuple[object, Placed] | None = None
        self._moves = 0.0
        self._moves_s: float | None = None

    def came(self, entry: StoreEntry | None) -> None:
        """Take in the plan as it was read."""
        self._is_asking = False
        self._revision = 0 if entry is None else entry.revision
        self._base = None if entry is None else _parsed(FleetPlan, entry)

    def answered(self, revision: int | None) -> FleetPlan | None:
        """Take in whether the plan stands; return it if it does."""
        plan = self._writing
        if revision is None or plan is None:
            self.failed()
            return None
        self._base, self._revision = plan, revision
        self._is_asking, self._writing = False, None
        return plan

    def failed(self) -> None:
        """Note that it is not known what stands in the store."""
        self._is_asking, self._revision, self._writing = False, None, None

    def tick(self, now_s: float, reports: Mapping[str, NodeReport], seen: _Plant, may_move: bool) -> Iterator[Request]:
        """Read the plan, or write the next one if there is one."""
        if self._is_asking:
            return
        if self._revision is None:
            self._is_asking = True
            yield Read(PLAN)
            return
        base = self._base
        is_usable = base is not None and all(report.plan_epoch <= base.epoch for report in reports.values())
        if base is None or not is_usable:
            base = adopted_plan(reports)
        if base.config_serial > seen.serial or not may_move:
            return
        plan = self._next(base, now_s, reports, seen)
        if plan is base and is_usable:
            return
        if plan is base:
            plan = base.model_copy(update={"epoch": base.epoch + 1})
        self._is_asking, self._writing = True, plan
        yield Swap(PLAN, plan.to_bytes(), self._revision)

    def _next(self, base: FleetPlan, now_s: float, reports: Mapping[str, NodeReport], seen: _Plant) -> FleetPlan:
        nodes = {
            name: report.as_node(name, seen.cameras if name in seen.outdated else ())
            for name, report in reports.items()
        }
        placed = self._place(nodes, seen.cameras, base.places(nodes))
        now = Circumstance(
            reports=reports,
            cameras=seen.cameras,
            config_serial=seen.serial,
            most_moves=self._allowed_moves(now_s),
        )
        plan = next_plan(base, placed, now)
        self._moves -= sum(
            (one.node, one.heir) != (before.node, before.heir) if (before := base.cameras.get(name)) else 1
            for name, one in plan.cameras.items()
        )
        return plan

    def _place(
        self, nodes: Mapping[str, FleetNode], cameras: Mapping[str, FleetCamera], current: Mapping[str, str]
    ) -> Placed:
        """Return where cameras belong; of the same question the same answer as before."""
        asked = (nodes, cameras, current)
        if self._placed is None or self._placed[0] != asked:
            self._placed = (asked, place(nodes, cameras, current))
        return self._placed[1]

    def _allowed_moves(self, now_s: float) -> int:
        if self._moves_s is None:
            self._moves = self._moves_per_s
        else:
            self._moves = min(self._moves + (now_s - self._moves_s) * self._moves_per_s, self._moves_per_s)
        self._moves_s = now_s
        return max(int(self._moves), 0)


def _weighed(camera: FleetCamera, pixels_s: int) -> FleetCamera:
    """Return the camera with the pixels that were seen of it; 0: none were yet, and what is assumed stands."""
    if not pixels_s or pixels_s == camera.wanted.pixels_s:
        return camera
    return replace(
        camera,
        wanted=Workload(camera.wanted.inspections_mhz, pixels_s),
        least=Workload(camera.least.inspections_mhz, pixels_s),
    )


def _parsed(kind: type[_Stored], entry: StoreEntry) -> _Stored | None:
    """Return the value, None where it is none of that kind: of a newer version, or broken."""
    try:
        return kind.model_validate_json(entry.value)
    except ValidationError:
        return None
