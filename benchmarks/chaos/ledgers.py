# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the records of all boxes say together: who opened which camera when, and when nobody inspected it."""

from __future__ import annotations

import itertools
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from vision_line.central.camera_owners import CameraRow, Span, Tenure, superseded, tenures_of

_OPENED = """SELECT c.name, c.epoch, c.since_utc, c.inspected_utc FROM cameras c WHERE c.since_utc > ?
    ORDER BY c.since_utc"""
_ROWS = """SELECT c.run, c.name, c.epoch, c.since_utc, c.inspected_utc, coalesce(r.ended_utc, r.alive_utc)
    FROM cameras c JOIN runs r ON r.run = c.run WHERE c.epoch > 0"""
_GAPS = "SELECT run, camera, started_utc, coalesce(ended_utc, 9e99), cause FROM not_inspected"
_REMOVED = "SELECT run, camera, at_utc FROM states WHERE state = 'REMOVED'"
_CAUSES = """SELECT camera, cause, started_utc, coalesce(ended_utc, 9e99) FROM not_inspected
    WHERE started_utc < ? AND coalesce(ended_utc, 9e99) > ?"""
#: Causes of gaps that this machine is too small for: they say nothing of who has a camera.
_TOO_SLOW = frozenset({"capacity", "capacity:decoding", "paused"})
#: Numbers of runs of several boxes side by side, as in the central record.
_BOX = 2**40


@dataclass(frozen=True, slots=True)
class Opened:
    """A box opened a camera; `inspected_utc` None: it has not inspected it yet."""

    node: str
    camera: str
    epoch: int
    since_utc: float
    inspected_utc: float | None


@dataclass(frozen=True, slots=True)
class Missing:
    """A camera was not inspected, as a box says."""

    node: str
    camera: str
    cause: str
    started_utc: float
    ended_utc: float


class Ledgers:
    """The record files of the boxes in `folder`, read anew with each question, also while they are written."""

    def __init__(self, folder: Path, nodes: Sequence[str]) -> None:
        self._folder = folder
        self._nodes = nodes

    def opened_since(self, utc: float) -> list[Opened]:
        """Return which cameras were opened by which box after a moment."""
        return [Opened(node, *row) for node, row in self._asked(_OPENED, utc)]

    def missing(self, since_utc: float, until_utc: float) -> list[Missing]:
        """Return what was not inspected of a time, as the boxes say: of two boxes one may have inspected it."""
        return [Missing(node, *row) for node, row in self._asked(_CAUSES, until_utc, since_utc)]

    def tenures(self, camera: str, but: frozenset[str] = frozenset()) -> list[Tenure]:
        """Return when which box had a camera, and inspected it, without the gaps of some causes."""
        rows, removed, gaps = [], defaultdict[int, list[float]](list), defaultdict[int, list[Span]](list)
        for node, (run, name, *row) in self._asked(_ROWS):
            if name == camera:
                rows.append(CameraRow(self._run(node, run), node, *row))
        for node, (run, name, at_utc) in self._asked(_REMOVED):
            if name == camera:
                removed[self._run(node, run)].append(at_utc)
        for node, (run, name, *span, cause) in self._asked(_GAPS):
            if name == camera and cause not in but:
                gaps[self._run(node, run)].append((span[0], span[1]))
        return tenures_of(rows, removed, gaps)

    def unlit_s(self, camera: str, since_utc: float, until_utc: float) -> float:
        """Return for how long of a time no box inspected a camera, but for what this machine is too slow for."""
        return (until_utc - since_utc) - _length(_lit(self.tenures(camera, _TOO_SLOW), since_utc, until_utc))

    def doubled_s(self, camera: str, since_utc: float, until_utc: float) -> tuple[float, float]:
        """Return for how long two boxes inspected a camera, and for how long of that both would count."""
        tenures = self.tenures(camera)
        hidden = superseded(tenures)
        edges = sorted({since_utc, until_utc, *_edges(tenures), *(edge for one in hidden for edge in _span(one))})
        twice = counted = 0.0
        for begins, ends in itertools.pairwise(edges):
            if begins < since_utc or ends > until_utc:
                continue
            runs = {one.run for one in tenures if _inspects(one, begins)}
            if len(runs) > 1:
                twice += ends - begins
                counting = [run for run in runs if not any(_hides(one, run, begins) for one in hidden)]
                counted += (ends - begins) * (len(counting) != 1)
        return twice, counted

    def _asked(self, sql: str, *values: float) -> list[tuple[str, tuple[Any, ...]]]:
        found = []
        for node in self._nodes:
            path = self._folder / node / "records" / "records.sqlite"
            if path.is_file():
                with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
                    found += [(node, row) for row in connection.execute(sql, values)]
        return found

    def _run(self, node: str, run: int) -> int:
        return run + _BOX * (1 + self._nodes.index(node))


def _hides(one: Any, run: int, at: float) -> bool:
    return bool(one.run == run and one.from_utc <= at < one.to_utc)


def _span(one: Any) -> Span:
    return (one.from_utc, min(one.to_utc, 9e99))


def _edges(tenures: Sequence[Tenure]) -> set[float]:
    found = {edge for one in tenures for edge in (one.since_utc, one.until_utc, one.inspected_utc)}
    return {edge for edge in found | {edge for one in tenures for gap in one.gaps for edge in gap} if edge < inf}


def _inspects(tenure: Tenure, at: float) -> bool:
    had = tenure.since_utc <= at < tenure.until_utc and tenure.inspected_utc <= at
    return had and not any(begins <= at < ends for begins, ends in tenure.gaps)


def _lit(tenures: Sequence[Tenure], since_utc: float, until_utc: float) -> list[Span]:
    """Return the pieces of a time in which some box inspected."""
    edges = sorted({since_utc, until_utc, *(edge for edge in _edges(tenures) if since_utc < edge < until_utc)})
    pairs = itertools.pairwise(edges)
    return [(begins, ends) for begins, ends in pairs if any(_inspects(one, begins) for one in tenures)]


def _length(spans: Sequence[Span]) -> float:
    return sum(ends - begins for begins, ends in spans)
