# SPDX-License-Identifier: AGPL-3.0-or-later
"""What became of the boards, held against what they bear and against what the ledger says was inspected."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from enum import StrEnum, auto
from pathlib import Path

from benchmarks.virtual_plc.belt import BoardPass
from benchmarks.virtual_plc.plc import Sorted
from benchmarks.virtual_plc.witness import InspectionWitness, was_inspected
from vision_line.lanes.modbus_map import VERDICTS
from vision_line.parts.part import PartVerdict
from vision_line.parts.parts_file import FILE_NAME as PARTS_NAME
from vision_line.records.schema import FILE_NAME

_REJECT = VERDICTS[PartVerdict.REJECT]
#: A board's window is known to us, and to the line, by clocks that differ a little.
_EDGE_S = 0.05
#: The ledger measures from arrival to arrival, a lane from light to light, and a frame may be so late
#: (`max_staleness_ms`). So of a gap in the ledger the part before its last `_STALE_S` is sure, if it is a gap then.
_STALE_S, _GAP_S = 0.5, 0.25
#: Inspections that each board needs in its window.
_NEEDED = 5
_GAPS = """SELECT 1 FROM not_inspected WHERE camera = ? AND started_utc < ? AND coalesce(ended_utc, 1e12) > ?
    AND coalesce(ended_utc, 1e12) - started_utc > ?"""
_RUN = """SELECT 1 FROM runs WHERE started_utc < ? AND coalesce(ended_utc, 1e12) > ?"""
_PART = """SELECT 1 FROM parts WHERE part_id = ? AND verdict = 'accept' AND inspections > 0"""
#: How much of a killed run's end its ledger may lack, in seconds.
_UNMARKED_S = 3.0
_OVERLAPS = """SELECT cause, round(started_utc - ?, 2), round(ended_utc - ?, 2) FROM not_inspected
    WHERE camera = ? AND started_utc < ? AND coalesce(ended_utc, 1e12) > ?"""
_FOUND = "SELECT verdict, cause, inspections, corrected FROM parts WHERE part_id = ?"


class LedgerSays(StrEnum):
    """What the ledger says of a board's window. UNACCOUNTED: it was, and a kill took the last seconds' account."""

    INSPECTED = auto()
    UNACCOUNTED = auto()
    NOT_INSPECTED = auto()


@dataclass(slots=True)
class Outcome:
    """Counts of boards. Those that pass and bear a defect are escapes.

    `distrusted` are those that the PLC would not have accepted whatever came: told late, or out of touch.
    """

    boards: int = 0
    good_passed: int = 0
    good_diverted: int = 0
    defective_rejected: int = 0
    defective_diverted: int = 0
    escapes: int = 0
    late_accepts: int = 0
    not_inspected_accepts: int = 0
    unaccounted_accepts: int = 0
    distrusted: int = 0
    evidence: list[str] = field(default_factory=list)

    def add(self, part: Sorted, ledger: LedgerSays) -> None:
        """Count a board."""
        is_good, is_rejected = not part.board.defects, part.verdict == _REJECT
        self.boards += 1
        self.good_passed += is_good and part.is_passed
        self.good_diverted += is_good and not part.is_passed
        self.defective_rejected += not is_good and is_rejected
        self.defective_diverted += not (is_good or is_rejected or part.is_passed)
        self.escapes += not is_good and part.is_passed
        self.late_accepts += part.is_late
        self.not_inspected_accepts += ledger is LedgerSays.NOT_INSPECTED
        self.distrusted += bool(part.distrusted)
        self.unaccounted_accepts += ledger is LedgerSays.UNACCOUNTED

    def __iadd__(self, other: Outcome) -> Outcome:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self


class Ledger:
    """What the records say of boards; `kills_s` is when the line was killed, monotonic.

    An interval begins where parts lack inspections that enter the view from then on. So it may reach back into the
    window of a board that had left, and had all of its own; of those `witness` tells.
    """

    def __init__(self, records: Path, kills_s: Sequence[float], witness: InspectionWitness, stack: ExitStack) -> None:
        self._kills_s = kills_s
        self._witness = witness
        self._records, self._parts = (
            stack.enter_context(closing(sqlite3.connect(f"file:{records / name}?mode=ro", uri=True)))
            for name in (FILE_NAME, PARTS_NAME)
        )

    def says_of(self, part: Sorted) -> LedgerSays:
        """Return what it says of a board that passed."""
        if self._parts.execute(_PART, (part.part_id,)).fetchone() is None:
            return LedgerSays.NOT_INSPECTED
        to_utc = time.time() - time.monotonic()
        begin_s, end_s = part.board.window_s
        begin, end = begin_s + to_utc, end_s + to_utc
        sure = (part.board.camera, end - _EDGE_S, begin + _EDGE_S + _STALE_S, _GAP_S + _STALE_S)
        has_gap = self._records.execute(_GAPS, sure).fetchone()
        had_run = self._records.execute(_RUN, (begin, end)).fetchone()
        if had_run is not None and (has_gap is None or self._had_its_own(part.board)):
            return LedgerSays.INSPECTED
        was_killed = any(end_s <= kill_s < end_s + _UNMARKED_S for kill_s in self._kills_s)
        return LedgerSays.UNACCOUNTED if was_killed else LedgerSays.NOT_INSPECTED

    def _had_its_own(self, board: BoardPass) -> bool:
        arrived_s = self._witness.arrived_s(board.camera)
        return was_inspected(arrived_s, board.window_s, _NEEDED, _GAP_S + _EDGE_S, _EDGE_S)

    def evidence(self, part: Sorted) -> str:
        """Return what there is about a board, in seconds from the begin of its window."""
        begin, end = (at_s + time.time() - time.monotonic() for at_s in part.board.window_s)
        gaps = self._records.execute(_OVERLAPS, (begin, begin, part.board.camera, end, begin)).fetchall()
        found = self._parts.execute(_FOUND, (part.part_id,)).fetchall()
        begin_s, end_s = part.board.window_s
        near = [at_s - begin_s for at_s in self._witness.arrived_s(part.board.camera) if begin_s - 1 < at_s < end_s + 1]
        inspected = " ".join(f"{at_s:.2f}" for at_s in near)
        return f"{part.part_id}: window 0 to {end - begin:.2f}, inspected {inspected}, ledger {gaps}, parts {found}"


def counted(parts: Iterable[Sorted], records: Path, kills_s: Sequence[float], witness: InspectionWitness) -> Outcome:
    """Count boards, and ask the ledger about each that passed."""
    outcome = Outcome()
    with ExitStack() as stack:
        ledger = Ledger(records, kills_s, witness, stack)
        for part in parts:
            found = ledger.says_of(part) if part.is_passed else LedgerSays.INSPECTED
            outcome.add(part, found)
            if found is LedgerSays.NOT_INSPECTED:
                outcome.evidence.append(ledger.evidence(part))
    return outcome
