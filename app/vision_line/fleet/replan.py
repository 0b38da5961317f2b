# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the plan that is in force to the next one: `next_plan`, a step at a time, never two owners without need. Pure.

A camera that serves two sessions is opened by its heir before its node closes it; one that serves a single session is
closed first. What a lost node had is given away at once, and waits for it where nobody else can take it. A leader
without a plan takes what nodes say they inspect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from vision_line.fleet.fleet_plan import Assignment, FleetPlan
from vision_line.fleet.node_report import NodeReport
from vision_line.fleet.placing import NO_ROOM, Placed
from vision_line.fleet.workload import NOTHING, FleetCamera, Workload
from vision_line.inspection.coverage.causes import CAPACITY, NODE_LOST, NODE_MOVING


def adopted_plan(reports: Mapping[str, NodeReport]) -> FleetPlan:
    """Return the plan that the living nodes carry out; of two owners of a camera the one of the later epoch has it."""
    claims: dict[str, tuple[int, bool, str]] = {}
    for node, report in sorted(reports.items()):
        for name, camera in report.cameras.items():
            claims[name] = max(claims.get(name, (-1, False, "")), (camera.epoch, camera.inspected, node))
    epochs = [report.plan_epoch for report in reports.values()] + [epoch for epoch, *_ in claims.values()]
    cameras = {name: Assignment(node=node, epoch=epoch) for name, (epoch, _, node) in claims.items()}
    return FleetPlan(epoch=max(epochs, default=0), cameras=cameras)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstance:
    """What a step of the plan follows from."""

    reports: Mapping[str, NodeReport]  # of the nodes that live
    cameras: Mapping[str, FleetCamera]
    config_serial: int = 0
    most_moves: int = 50  # that may begin in this step


def next_plan(plan: FleetPlan, placed: Placed, now: Circumstance) -> FleetPlan:
    """Return the plan one step closer to `placed`, of the next epoch; `plan` itself where there is nothing to do."""
    step = _Step(plan, placed, now)
    cameras = step.carry_out()
    new = FleetPlan(
        epoch=plan.epoch + 1,
        config_serial=now.config_serial,
        cameras=cameras,
        reduced=placed.reduced,
        left_out=dict(placed.left_out),
    )
    return plan if new.model_copy(update={"epoch": plan.epoch}) == plan else new


class _Change(NamedTuple):
    """What becomes of a camera; where it opens one that was closed there, `opens` is the node that must have room."""

    assignment: Assignment
    opens: str = ""


@dataclass(slots=True)
class _Step:
    plan: FleetPlan
    placed: Placed
    now: Circumstance
    _used: dict[str, Workload] = field(default_factory=dict)  # by node: all that it has open, also what it is to close

    def carry_out(self) -> dict[str, Assignment]:
        """Return the assignments of the next plan, by camera."""
        names = sorted(self.now.cameras, key=lambda name: (-self.now.cameras[name].priority, name))
        for node in self.now.reports:
            self._used[node] = NOTHING
        for name, assignment in self.plan.cameras.items():
            for node in {assignment.node, assignment.heir} & self._used.keys():
                self._count(name, node)
        result: dict[str, Assignment] = {}
        begun, is_under_way, waiting = 0, False, dict[str, _Change]()
        for name in names:
            old = self.plan.cameras.get(name, Assignment())
            change = self._change_of(name, old)
            if change.opens:
                if begun >= self.now.most_moves or not self._has_room(name, change.opens):
                    waiting[name] = change
                    change = _Change(old)
                else:
                    self._count(name, change.opens)
                    begun += 1
            is_under_way = is_under_way or change.assignment != old or bool(change.assignment.heir)
            result[name] = change.assignment
        if waiting and not is_under_way and self.now.most_moves > 0:  # nodes that wait for each other's room
            name, change = next(iter(waiting.items()))
            result[name] = change.assignment
        return {name: one for name, one in result.items() if one != Assignment()}

    def _change_of(self, name: str, old: Assignment) -> _Change:
        target = self.placed.nodes.get(name, "")
        if old.node not in self.now.reports:
            return self._given_away(name, old, target)
        if not target:
            return _Change(Assignment(epoch=self._epoch, cause=CAPACITY))
        if target == old.node:
            return self._kept(old)
        if target == old.heir:
            return self._handed_over(name, old)
        heir = {"heir": target, "heir_epoch": self._epoch}
        if old.closing or self.now.cameras[name].sessions < 2:
            return _Change(old.model_copy(update={**heir, "closing": True}), "" if old.closing else target)
        return _Change(old.model_copy(update=heir), target)

    def _given_away(self, name: str, old: Assignment, target: str) -> _Change:
        """Return who has the camera of a node that is gone, or of nobody."""
        cause = NODE_LOST if old.node else old.cause
        if target and target == old.heir:
            return _Change(Assignment(node=target, epoch=old.heir_epoch, cause=cause))
        if target:
            return _Change(Assignment(node=target, epoch=self._epoch, cause=cause), target)
        if old.node:  # it may only be cut off, and goes on then
            return _Change(Assignment(node=old.node, epoch=old.epoch, cause=cause))
        if not cause and self.placed.left_out.get(name) == NO_ROOM:
            cause = CAPACITY
        return _Change(Assignment(epoch=old.epoch, cause=cause))

    def _kept(self, old: Assignment) -> _Change:
        """Return the camera with the node that has it, whatever heir it had."""
        if old.closing:  # it may have closed it already
            return _Change(Assignment(node=old.node, epoch=self._epoch, cause=NODE_MOVING))
        return _Change(Assignment(node=old.node, epoch=old.epoch, cause=old.cause))

    def _handed_over(self, name: str, old: Assignment) -> _Change:
        """Return the camera as its heir's once nothing is lost by that."""
        report = self.now.reports[old.node]
        held = report.cameras.get(name)
        if old.closing:
            if report.plan_epoch >= old.heir_epoch and held is None:
                return _Change(Assignment(node=old.heir, epoch=old.heir_epoch, cause=NODE_MOVING))
            return _Change(old)
        opened = self.now.reports[old.heir].cameras.get(name)
        if opened is not None and opened.epoch == old.heir_epoch and opened.inspected:
            return _Change(Assignment(node=old.heir, epoch=old.heir_epoch))
        if held is not None and held.epoch == old.epoch and not held.inspected:
            return _Change(Assignment(node=old.heir, epoch=old.heir_epoch, cause=NODE_MOVING))
        return _Change(old)

    @property
    def _epoch(self) -> int:
        return self.plan.epoch + 1

    def _need(self, name: str, node: str) -> Workload:
        camera = self.now.cameras.get(name)
        if camera is None:
            return NOTHING  # it is closed with this step
        return camera.least if node in self.placed.reduced else camera.wanted

    def _count(self, name: str, node: str) -> None:
        self._used[node] = self._used[node].plus(self._need(name, node))

    def _has_room(self, name: str, node: str) -> bool:
        capacity = self.now.reports[node].as_node(node).capacity
        return self._used[node].plus(self._need(name, node)).fits(capacity)
