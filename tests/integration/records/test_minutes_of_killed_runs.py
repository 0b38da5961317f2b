# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run that is killed leaves of its minutes: of each camera one at most that is not over, the newest.

A ledger on a simulated machine writes into a real record file: the wall clock is set, the machine sleeps, cameras come
and go, a disk hangs. After each commit, which is where a kill can cut, the file is what `verify` and the next start
rely on.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integration.records.test_journal import NOW, Recorder

from vision_line.errors import BrokenRecordError
from vision_line.frames import CoverageMinute, NotInspected
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.coverage.minutes import CameraCounts
from vision_line.inspection.coverage.window import Need
from vision_line.records.entries import CameraRecord, CamerasEntry, ClockStepsEntry, CoverageEntry
from vision_line.records.journal_check import Expected, check_journal

NEED = Need(1.0, 3, 2.0)
CAMERAS = ("cam01", "cam02")
#: A minute begins: what happens at its end must not depend on when the test runs.
START_UTC = NOW // 60 * 60
_UNDER_WAY = "SELECT run, camera, minute_utc, clock FROM coverage WHERE provisional"
_NEWEST = "SELECT minute_utc, clock FROM coverage WHERE run = ? AND camera = ? ORDER BY clock DESC, minute_utc DESC"


def holds(connection: sqlite3.Connection) -> None:
    check_journal(connection, Expected(), lambda _done, _total: None)


class Machine:
    """Both clocks, a ledger, and the record file that it is written into."""

    def __init__(self, records: Path, begins_s: float = 0.0) -> None:
        self.recorder = Recorder(records)
        self.now_s, self.utc, self.asleep_s = 100.0, START_UTC + begins_s, 0.0
        self.stuck = False
        self.begin()

    def begin(self) -> None:
        self.recorder.write([CamerasEntry(tuple(CameraRecord(name, "", "", "") for name in CAMERAS), self.utc)])
        self.ledger = CoverageLedger()
        self.counts = {camera: CameraCounts() for camera in CAMERAS}
        for camera in CAMERAS:
            self.ledger.add_camera(camera, NEED, self.now_s, self.utc)

    def write(self, rows: tuple[list[CoverageMinute], list[NotInspected]]) -> None:
        """Commit what the ledger says, as the log takes it, and look at what a kill would leave now."""
        if steps := self.ledger.take_clock_steps():
            self.recorder.write([ClockStepsEntry(tuple(steps))])
            self.check()
        minutes = [row for row in rows[0] if not (self.stuck and row.provisional)]
        if minutes or rows[1]:
            self.recorder.write([CoverageEntry(tuple(minutes), tuple(rows[1]))])
            self.check()

    def check(self) -> None:
        connection = self.recorder.connection
        under_way = [row for row in map(tuple, connection.execute(_UNDER_WAY)) if row[0] == self.recorder.run]
        assert len({camera for _, camera, *_ in under_way}) == len(under_way)
        for run, camera, *minute in under_way:
            assert [*connection.execute(_NEWEST, (run, camera)).fetchone()] == minute
        holds(connection)

    def tick(self, passed_s: float) -> None:
        self.now_s, self.utc = self.now_s + passed_s, self.utc + passed_s
        self.counts = {name: replace(counts, arrived=counts.arrived + 1) for name, counts in self.counts.items()}
        self.write(self.ledger.tick(self.now_s, self.utc, self.counts, self.asleep_s))

    def inspect(self, camera: str) -> None:
        self.ledger.inspected(camera, self.now_s)

    def set_clock(self, step_s: float) -> None:
        self.utc += step_s

    def sleep(self, passed_s: float) -> None:
        self.utc, self.asleep_s = self.utc + passed_s, self.asleep_s + passed_s

    def remove(self, camera: str) -> None:
        counts = self.counts.get(camera, CameraCounts())
        self.write(self.ledger.remove_camera(camera, counts, self.now_s, self.utc))

    def add(self, camera: str) -> None:
        self.counts[camera] = CameraCounts()
        self.ledger.add_camera(camera, NEED, self.now_s, self.utc)

    def hang(self, *, stuck: bool) -> None:
        self.stuck = stuck

    def kill(self) -> None:
        """And start again."""
        self.recorder.kill()
        self.check()
        self.begin()

    def end(self) -> None:
        """Properly, and start again."""
        self.write(self.ledger.close(self.now_s, self.utc, self.counts, self.asleep_s))
        self.recorder.restart()
        self.check()
        self.begin()


def call(name: str, *values: st.SearchStrategy[object]) -> st.SearchStrategy[Callable[[Machine], object]]:
    return st.tuples(*values).map(lambda drawn: lambda machine: getattr(machine, name)(*drawn))


CAMERA = st.sampled_from(CAMERAS)
STEPS = st.one_of(
    call("tick", st.sampled_from([0.2, 3.0, 3.0, 20.0, 61.0, 4000.0])),
    call("tick", st.floats(0.1, 70.0)),
    call("inspect", CAMERA),
    call("set_clock", st.sampled_from([-7200.0, -61.0, -0.4, -0.01, 0.4, 30.0, 3600.0])),
    call("sleep", st.sampled_from([0.4, 30.0, 4000.0])),
    call("remove", CAMERA),
    call("add", CAMERA),
    st.booleans().map(lambda stuck: lambda machine: machine.hang(stuck=stuck)),
    call("kill"),
    call("end"),
)


@settings(deadline=None, max_examples=120)
@given(begins_s=st.floats(0.0, 59.9), steps=st.lists(STEPS, max_size=40))
def test_of_each_camera_the_newest_minute_alone_is_not_over(
    begins_s: float, steps: list[Callable[[Machine], object]]
) -> None:
    """Whatever happens, and wherever the run is killed; the journal holds there too."""
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder) / "records", begins_s)
        try:
            for step in steps:
                step(machine)
        finally:
            machine.recorder.connection.close()


def test_a_camera_that_comes_back_within_its_minute_goes_on_in_its_row(tmp_path: Path) -> None:
    """So its minute is not over when it is removed, and over when the next one has begun without it."""
    machine = Machine(tmp_path / "records")
    minutes = "SELECT provisional FROM coverage WHERE camera = 'cam01' ORDER BY minute"
    seen = []
    for step in (machine.remove, machine.add, machine.remove):
        machine.tick(3.0)
        step("cam01")
        seen.append([*map(tuple, machine.recorder.connection.execute(minutes))])
    machine.tick(60.0)
    machine.add("cam01")
    machine.tick(3.0)
    seen.append([*map(tuple, machine.recorder.connection.execute(minutes))])

    assert seen == [[(1,)], [(1,)], [(1,)], [(0,), (1,)]]
    machine.recorder.connection.close()


@pytest.mark.parametrize("then", ["tick", "remove", "end"])
def test_a_camera_that_comes_back_in_the_next_minute_ends_the_one_before(tmp_path: Path, then: str) -> None:
    """Nothing else would: between its removal and its return, at a reload, no time passes for the ledger."""
    machine = Machine(tmp_path / "records", begins_s=58.0)
    machine.tick(1.0)
    machine.remove("cam01")
    machine.now_s, machine.utc = machine.now_s + 2.0, machine.utc + 2.0
    machine.add("cam01")
    if then == "tick":
        machine.tick(0.2)
    elif then == "remove":
        machine.remove("cam01")
    else:
        machine.end()
    first = "SELECT minute_utc, provisional FROM coverage WHERE camera = 'cam01' ORDER BY minute LIMIT 1"
    assert tuple(machine.recorder.connection.execute(first).fetchone()) == (START_UTC, 0)
    machine.recorder.connection.close()


@pytest.mark.parametrize(
    "forged",
    [
        "UPDATE coverage SET minute_utc = minute_utc - 3600 WHERE camera = 'cam01'",
        "UPDATE coverage SET camera = 'cam03' WHERE camera = 'cam01'",
    ],
)
@pytest.mark.parametrize("end", ["kill", "end"])
def test_forged_minutes_are_not_settled(tmp_path: Path, forged: str, end: str) -> None:
    """The next start enters what a run can have left, and nothing else; nor does the run's own end."""
    machine = Machine(tmp_path / "records")
    machine.tick(3.0)
    connection = machine.recorder.connection
    names = [row[0] for row in connection.execute("SELECT name FROM pragma_table_info('coverage')")]
    rows = [dict(zip(names, row, strict=True)) for row in connection.execute("SELECT * FROM coverage")]
    connection.execute(forged)  # of a copy: the run's own goes on beside it
    for row in rows:
        known = {**row, "minute": None}
        sql = f"INSERT OR IGNORE INTO coverage ({', '.join(known)}) VALUES ({', '.join('?' * len(known))})"
        connection.execute(sql, list(known.values()))
    with pytest.raises(BrokenRecordError, match=r"is over, and has no entry|camera that the run does not have"):
        holds(connection)
    recorder = machine.recorder
    recorder.kill() if end == "kill" else recorder.restart()

    with pytest.raises(BrokenRecordError, match=r"row cam0[13]/\d+/0 has no entry in the journal"):
        holds(recorder.connection)
    recorder.connection.close()
