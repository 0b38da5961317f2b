# SPDX-License-Identifier: AGPL-3.0-or-later
"""Of runs that share a camera, whose records count at each moment, and which are superseded. Pure.

Two boxes may inspect one camera for a while. Of those that have it, or say since when nobody did, one alone counts at
each moment: who inspects comes before who does not; among equals the higher epoch of the fleet's plan holds, then the
name of the box, then the run. What follows from the rows that are there follows from them in whatever order they came.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, permutations
from math import inf

#: From when to when, seconds since the Unix epoch; `inf`: it goes on.
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Tenure:
    """A time in which a run had a camera under one epoch: from `since_utc`, and inspected it from `inspected_utc` on.

    `gaps` are when it was not inspected in it, and before it: since when nobody had, as the run says.
    """

    run: int
    node: str
    epoch: int
    since_utc: float
    until_utc: float = inf
    inspected_utc: float = inf
    gaps: Sequence[Span] = ()


@dataclass(frozen=True, slots=True, order=True)
class Superseded:
    """A time in which a run's records of the camera do not count, because those of `by_run` do, or would."""

    run: int
    by_run: int
    from_utc: float
    to_utc: float


#: Whether it inspects, and its rank; what is greater counts.
_Standing = tuple[bool, int, str, int]


@dataclass(frozen=True, slots=True)
class _Timeline:
    """What a run says of a camera: from each of `edges` on what stands at the same place of `standings`."""

    edges: Sequence[float]
    standings: Sequence[_Standing | None]

    def at(self, at_utc: float) -> _Standing | None:
        place = bisect_right(self.edges, at_utc) - 1
        return None if place < 0 else self.standings[place]


def superseded(tenures: Iterable[Tenure], since_utc: float = -inf) -> list[Superseded]:
    """Return what is superseded from a moment on of the records of one camera, whose `tenures` after it are all here.

    Each time is of two runs: without the rows of one of them, all others hold as they are.
    """
    by_run = defaultdict[int, list[Tenure]](list)
    for tenure in tenures:
        by_run[tenure.run].append(tenure)
    lines = {run: _timeline(own) for run, own in sorted(by_run.items())}
    return [
        Superseded(one, other, *span)
        for one, other in permutations(lines, 2)
        for span in _beaten(lines[one], lines[other], since_utc)
    ]


def _timeline(tenures: Iterable[Tenure]) -> _Timeline:
    own = [(tenure, _merged(tenure.gaps)) for tenure in tenures]
    found = {edge for tenure, gaps in own for edge in (tenure.since_utc, tenure.until_utc, tenure.inspected_utc)}
    found |= {edge for _, gaps in own for gap in gaps for edge in gap}
    edges = sorted(edge for edge in found if edge < inf)
    return _Timeline(edges, [max(_standings(own, edge), default=None) for edge in edges])


def _standings(tenures: Iterable[tuple[Tenure, Sequence[Span]]], at_utc: float) -> Iterator[_Standing]:
    """Yield how a run stands at a moment by each tenure that says anything of it; `tenures` with their merged gaps."""
    for tenure, gaps in tenures:
        place = bisect_right(gaps, (at_utc, inf)) - 1
        is_gap = place >= 0 and at_utc < gaps[place][1]
        is_had = tenure.since_utc <= at_utc < tenure.until_utc
        if is_had or is_gap:
            yield is_had and not is_gap and tenure.inspected_utc <= at_utc, tenure.epoch, tenure.node, tenure.run


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Return the same times without overlaps, in their order."""
    found: list[Span] = []
    for begins, ends in sorted(spans):
        if found and begins <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ends))
        else:
            found.append((begins, ends))
    return found


def _beaten(one: _Timeline, other: _Timeline, since_utc: float) -> Iterator[Span]:
    """Yield when both say something of the camera, and the other one counts before the one."""
    edges = sorted({edge for edge in (*one.edges, *other.edges) if edge > since_utc} | {since_utc})
    begun: float | None = None
    for edge in edges:
        mine, its = one.at(edge), other.at(edge)
        is_beaten = mine is not None and its is not None and its > mine
        if is_beaten and begun is None:
            begun = edge
        elif not is_beaten and begun is not None:
            yield begun, edge
            begun = None
    if begun is not None:
        yield begun, inf


@dataclass(frozen=True, slots=True)
class CameraRow:
    """A row of `cameras`: the run has the camera so since then, until its next row or its end."""

    run: int
    node: str
    epoch: int
    since_utc: float
    inspected_utc: float | None
    ended_utc: float | None = field(default=None)  # of the run


def tenures_of(
    rows: Iterable[CameraRow], removed: Mapping[int, Sequence[float]], gaps: Mapping[int, Sequence[Span]]
) -> list[Tenure]:
    """Return the tenures that rows of one camera tell of; `removed` says when each run let it go, `gaps` are its gaps.

    A gap is of the tenure in which it begins, or of the next one: then it says what was before that.
    """
    by_run = defaultdict[int, list[CameraRow]](list)
    for row in sorted(rows, key=lambda row: (row.run, row.since_utc)):
        by_run[row.run].append(row)
    return [tenure for run, own in by_run.items() for tenure in _tenures(own, removed.get(run, ()), gaps.get(run, ()))]


def _tenures(rows: Sequence[CameraRow], removed: Sequence[float], gaps: Sequence[Span]) -> Iterator[Tenure]:
    spans: list[tuple[CameraRow, float, float]] = []  # each with its end, and when it was inspected first
    for row, after in pairwise((*rows, None)):
        assert row is not None  # noqa: S101  only the last one is
        ends = [at_utc for at_utc in removed if at_utc >= row.since_utc]
        ends.append(inf if after is None else after.since_utc)
        ends.append(inf if row.ended_utc is None else row.ended_utc)
        until_utc = max(min(ends), row.since_utc)
        inspected_utc = inf if row.inspected_utc is None else row.inspected_utc
        if spans and spans[-1][0].epoch == row.epoch and spans[-1][1] == row.since_utc > spans[-1][2]:
            inspected_utc = row.since_utc  # it goes on as before, with other settings
        spans.append((row, until_utc, inspected_utc))
    own: list[list[Span]] = [[] for _ in spans]
    for gap in gaps:
        place = next((n for n, (_, until_utc, _) in enumerate(spans) if gap[0] < until_utc), None)
        if place is not None:
            own[place].append((gap[0], min(gap[1], spans[place][1])))
    for (row, until_utc, inspected_utc), its in zip(spans, own, strict=True):
        yield Tenure(
            run=row.run,
            node=row.node,
            epoch=row.epoch,
            since_utc=row.since_utc,
            until_utc=until_utc,
            inspected_utc=inspected_utc,
            gaps=tuple(its),
        )
