# SPDX-License-Identifier: AGPL-3.0-or-later
"""Each moment of a camera that boxes share counts once, whoever inspected it, and in whatever order that came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from vision_line.central.camera_owners import CameraRow, Span, Superseded, Tenure, superseded, tenures_of

TIMES = st.integers(0, 40).map(float)


@dataclass
class Said:
    """What a run says of a camera: how often it had it, when it let it go, when it was not inspected."""

    rows: list[CameraRow] = field(default_factory=list)
    removed: list[float] = field(default_factory=list)
    gaps: list[Span] = field(default_factory=list)


@st.composite
def runs(draw: st.DrawFn, number: int) -> Said:
    """Draw one: it begins, perhaps ends or dies, has the camera once or twice, perhaps under another epoch."""
    node = draw(st.sampled_from("abc"))
    moments = sorted(draw(st.lists(TIMES, min_size=2, max_size=6, unique=True)))
    ended = draw(st.sampled_from([None, moments[-1]]))
    said = Said()
    for since, until in zip(moments[::2], [*moments[1::2], inf], strict=False):
        late = draw(st.none() | st.floats(0, 5))
        inspected = None if late is None else since + late
        said.rows.append(CameraRow(number, node, draw(st.integers(1, 4)), since, inspected, ended))
        if until < inf and draw(st.booleans()):
            said.removed.append(until)
    spans = st.tuples(TIMES, st.integers(0, 12)).map(lambda one: (one[0], one[0] + one[1]))
    said.gaps = draw(st.lists(spans | TIMES.map(lambda at: (at, inf)), max_size=4))
    return said


@st.composite
def worlds(draw: st.DrawFn) -> list[Said]:
    """Draw up to four runs, of boxes that may be the same one."""
    return [draw(runs(number)) for number in range(1, draw(st.integers(1, 4)) + 1)]


def tenures(world: Iterable[Said]) -> list[Tenure]:
    """Return what the runs had."""
    own = [one for one in world if one.rows]
    return tenures_of(
        [row for one in own for row in one.rows],
        {one.rows[0].run: one.removed for one in own},
        {one.rows[0].run: one.gaps for one in own},
    )


def moments(found: Iterable[Tenure]) -> list[float]:
    """Return every moment at which something changes, and one between each two."""
    edges = {0.0}
    for one in found:
        edges |= {one.since_utc, one.until_utc, one.inspected_utc, *(edge for gap in one.gaps for edge in gap)}
    known = sorted(edge for edge in edges if edge < inf)
    return sorted({*known, *((a + b) / 2 for a, b in pairwise(known)), known[-1] + 1.0})


def has(tenure: Tenure, at: float) -> bool:
    """Whether it had the camera, or says that it should have been inspected."""
    return tenure.since_utc <= at < tenure.until_utc or any(begins <= at < ends for begins, ends in tenure.gaps)


def inspects(tenure: Tenure, at: float) -> bool:
    """Whether it inspected it."""
    held = tenure.since_utc <= at < tenure.until_utc and tenure.inspected_utc <= at
    return held and not any(begins <= at < ends for begins, ends in tenure.gaps)


def hidden(found: Iterable[Superseded], run: int, at: float) -> bool:
    """Whether a run's records of a moment do not count."""
    return any(one.run == run and one.from_utc <= at < one.to_utc for one in found)


@given(worlds())
def test_each_moment_counts_once(world: list[Said]) -> None:
    """Of those that inspected it the highest epoch does; only where nobody inspected it, one that did not."""
    every = tenures(world)
    found = superseded(every)
    for at in moments(every):
        those = {one.run for one in every if has(one, at)}
        counting = {run for run in those if not hidden(found, run, at)}
        assert len(counting) == min(len(those), 1)
        inspecting = [one for one in every if inspects(one, at)]
        if inspecting:
            best = max(inspecting, key=lambda one: (one.epoch, one.node, one.run))
            assert counting == {best.run}


@given(worlds())
def test_nothing_is_hidden_that_nobody_else_accounts_for(world: list[Said]) -> None:
    """What is superseded lies in the times of both."""
    every = tenures(world)
    for one in superseded(every):
        at = one.from_utc
        assert one.from_utc < one.to_utc
        assert any(has(tenure, at) for tenure in every if tenure.run == one.run)
        assert any(has(tenure, at) for tenure in every if tenure.run == one.by_run)


@given(worlds(), st.integers(1, 4))
def test_a_box_whose_records_are_gone_hides_nothing(world: list[Said], wiped: int) -> None:
    """And whatever it had hidden, counts; between the others nothing changes."""
    without = [one for one in world if one.rows[0].run != wiped]
    found = superseded(tenures(world))
    assert superseded(tenures(without)) == [one for one in found if wiped not in {one.run, one.by_run}]


class Database:
    """What has come, and what of it is superseded: only what a batch touches is worked out anew."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, float], CameraRow] = {}
        self.removed: dict[int, list[float]] = {}
        self.gaps: dict[tuple[int, int], Span] = {}
        self.superseded: list[Superseded] = []

    def take(self, facts: Sequence[tuple[int, object, object]]) -> None:
        """Take in a batch; each fact is of a run, names what it is of, and says how it is."""
        touched = inf
        for run, name, said in facts:
            if isinstance(said, CameraRow):
                self.rows[run, said.since_utc] = said
                touched = min(touched, said.since_utc)
            elif name == "removed":
                assert isinstance(said, float)
                self.removed.setdefault(run, []).append(said)
                touched = min(touched, said)
            elif name == "ended":
                assert isinstance(said, float)
                for key, row in self.rows.items():
                    if row.run == run:
                        self.rows[key] = replace(row, ended_utc=said)
                touched = min(touched, said)
            else:
                assert isinstance(name, int)
                before = self.gaps.pop((run, name), None)
                touched = min(touched, inf if before is None else before[0])
                if isinstance(said, tuple):
                    self.gaps[run, name] = said
                    touched = min(touched, said[0])
        self._work_out(touched)

    def _work_out(self, since: float) -> None:
        rows = [row for row in self.rows.values() if row.ended_utc is None or row.ended_utc > since]
        gaps: dict[int, list[Span]] = {}
        for (run, _), gap in self.gaps.items():
            if gap[1] > since:
                gaps.setdefault(run, []).append(gap)
        kept = [replace(one, to_utc=min(one.to_utc, since)) for one in self.superseded if one.from_utc < since]
        self.superseded = kept + superseded(tenures_of(rows, self.removed, gaps), since)


def facts_of(said: Said) -> list[tuple[int, object, object]]:
    """Return what a run ships, in its order: gaps as they begin and as they are in the end, one that is taken back."""
    run = said.rows[0].run
    found: list[tuple[int, object, object]] = []
    for row in said.rows:
        found += [
            (run, "row", replace(row, inspected_utc=None, ended_utc=None)),
            (run, "row", replace(row, ended_utc=None)),
        ]
    found += [(run, "removed", at) for at in said.removed]
    for number, gap in enumerate(said.gaps):
        found += [(run, number, (max(0.0, gap[0] - 1), inf)), (run, number, gap)]
    found += [(run, 99, (3.0, inf)), (run, 99, None)]
    if said.rows[0].ended_utc is not None:
        found.append((run, "ended", said.rows[0].ended_utc))
    return found


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_in_which_records_come_does_not_matter(world: list[Said], random: Random) -> None:
    """Batch by batch, of one box and another, what is known in the end is what follows from all of it at once."""
    waiting = [facts_of(one) for one in world]
    database = Database()
    while any(waiting):
        own = random.choice([one for one in waiting if one])
        batch = [own.pop(0) for _ in range(min(len(own), random.randint(1, 4)))]
        database.take(batch)

    every = tenures(world)
    expected = superseded(every)
    for at in moments(every):
        for run in {one.run for one in every}:
            assert hidden(database.superseded, run, at) == hidden(expected, run, at), (run, at)


def test_a_stopped_owner_that_wakes_up() -> None:
    """The heir counts from its first inspection on; the gap of the takeover counts once, and is the heir's."""
    rows = [CameraRow(1, "a", 3, 0.0, 0.5, None), CameraRow(2, "b", 7, 14.0, 15.0, None)]
    gaps = {1: [(10.0, 18.0)], 2: [(11.0, 15.0)]}
    found = superseded(tenures_of(rows, {1: [20.0]}, gaps))

    assert found == [Superseded(1, 2, 11.0, 20.0)]


def test_an_heir_in_trouble_hides_nothing() -> None:
    """While it does not inspect, what the one before it finds counts."""
    rows = [CameraRow(1, "a", 3, 0.0, 0.5, None), CameraRow(2, "b", 7, 14.0, 15.0, None)]
    found = superseded(tenures_of(rows, {}, {2: [(20.0, 30.0)]}))

    assert found == [
        Superseded(1, 2, 15.0, 20.0),
        Superseded(1, 2, 30.0, inf),
        Superseded(2, 1, 14.0, 15.0),
        Superseded(2, 1, 20.0, 30.0),
    ]


def test_other_settings_are_no_other_owner() -> None:
    """A row of `cameras` of the same epoch goes on as the one before."""
    rows = [
        CameraRow(1, "a", 3, 0.0, 0.5, None),
        CameraRow(1, "a", 3, 9.0, None, None),
        CameraRow(2, "b", 2, 0.0, 0.0, None),
    ]

    assert superseded(tenures_of(rows, {}, {})) == [Superseded(1, 2, 0.0, 0.5), Superseded(2, 1, 0.5, inf)]
