# SPDX-License-Identifier: AGPL-3.0-or-later
"""A fleet as somebody sees it who watches for a moment: who lives, what the plan is, what would happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

from pydantic import ValidationError

from vision_line.fleet.coordination import (
    CONFIG,
    LEADER,
    NODE_PREFIX,
    PLAN,
    Coordination,
    CoordinationError,
    StoreEntry,
)
from vision_line.fleet.fleet_member import Claim
from vision_line.fleet.fleet_plan import FleetPlan
from vision_line.fleet.membership import HEARTBEAT_S
from vision_line.fleet.node_report import NodeReport
from vision_line.fleet.placing import Placed, place
from vision_line.fleet.workload import FleetCamera, FleetNode

#: Who lives gives two signs of it in this time.
WATCHED_S = 2 * HEARTBEAT_S + 0.3
#: How long the end of a watch is waited for.
_ENDS_S = 1.0


@dataclass(slots=True)
class FleetView:
    """What was seen. `reports` are those of nodes that gave a sign of life meanwhile, `silent` the others' names."""

    reports: dict[str, NodeReport] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)  # those of `silent` whose last word was a good-bye
    plan: FleetPlan = field(default_factory=FleetPlan)
    leader: str = ""
    config: StoreEntry | None = None
    is_complete: bool = False  # whether everybody who did not say good-bye has given a sign of life
    _revisions: dict[str, int] = field(default_factory=dict)
    _awaited: set[str] = field(default_factory=set)

    def nodes(self, cameras: Collection[str] = ()) -> dict[str, FleetNode]:
        """Return the living nodes as the planner sees them who places `cameras`."""
        return {
            name: report.as_node(name, cameras if self.has_older_plant(report) else ())
            for name, report in self.reports.items()
            if not report.leaving
        }

    def has_older_plant(self, report: NodeReport) -> bool:
        """Return whether a node goes on with an older plant than the one that the plan is for."""
        return report.config_serial < self.plan.config_serial

    def placed(self, cameras: Mapping[str, FleetCamera], without: str = "") -> Placed:
        """Return where cameras would belong, perhaps without one node."""
        nodes = {name: node for name, node in self.nodes(cameras).items() if name != without}
        return place(nodes, cameras, self.plan.places(nodes))

    def not_survived(self, cameras: Mapping[str, FleetCamera]) -> dict[str, list[str]]:
        """Return by box the cameras that nobody could inspect if it died, beyond those that nobody can now."""
        now = self.placed(cameras).left_out.keys()
        found = {name: sorted(self.placed(cameras, name).left_out.keys() - now) for name in self.nodes()}
        return {name: lost for name, lost in found.items() if lost}

    def heir_of(self, camera: str) -> str:
        """Return who is to take a camera over; "": nobody."""
        assignment = self.plan.cameras.get(camera)
        return "" if assignment is None else assignment.heir

    def not_inspected(self, cameras: Iterable[str]) -> list[str]:
        """Return those of `cameras` that no living node says it inspects now."""
        seen = {name for report in self.reports.values() for name, one in report.cameras.items() if one.inspected}
        return sorted(set(cameras) - seen)

    def take(self, entry: StoreEntry) -> None:
        """Take in what the watch brought; what cannot be read is left out."""
        try:
            if entry.key == CONFIG:
                self.config = entry
            elif entry.key == PLAN:
                self.plan = FleetPlan.model_validate_json(entry.value)
            elif entry.key == LEADER:
                self.leader = Claim.model_validate_json(entry.value).node
            elif entry.key.startswith(NODE_PREFIX):
                self._take_node(entry.key.removeprefix(NODE_PREFIX), entry)
        except ValidationError:
            return

    def _take_node(self, name: str, entry: StoreEntry) -> None:
        report = NodeReport.model_validate_json(entry.value)
        if name not in self._revisions:
            self._revisions[name] = entry.revision
            self.silent.add(name)
            (self.left if report.leaving else self._awaited).add(name)
        if self._revisions[name] == entry.revision:
            return
        self.silent.discard(name)
        self.left.discard(name)
        self._awaited.discard(name)
        self.reports[name] = report
        # What stands in the store comes first, and then what changes: by now every key has come.
        self.is_complete = not self._awaited


async def watched_fleet(store: Coordination, watched_s: float = WATCHED_S) -> FleetView:
    """Watch a fleet until every node has given a sign of life, at the most for `watched_s`.

    Raises:
        CoordinationError: the store does not answer.
    """
    view = FleetView()
    await store.get(PLAN)  # else nobody would say that the store is away
    watching = asyncio.ensure_future(_watch(store, view))
    # Not `asyncio.timeout`: a client that swallows the one cancellation would be watched for ever.
    done, _ = await asyncio.wait({watching}, timeout=watched_s)
    if not done:
        watching.cancel()
        await asyncio.wait({watching}, timeout=_ENDS_S)
    if done and watching.exception() is None and not view.is_complete:
        raise CoordinationError("the store's watch ended")
    if done:
        watching.result()
    return view


async def _watch(store: Coordination, view: FleetView) -> None:
    async with aclosing(cast(AsyncGenerator[StoreEntry], store.watch())) as entries:
        async for entry in entries:
            view.take(entry)
            if view.is_complete:
                return
