# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a report says of the parts that passed: verdicts, yield, and those that were let through and were defective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vision_line.challenges.challenge_windows import teach_challenges
from vision_line.desk.inspected.inspected_time import Gap
from vision_line.desk.local_time import ChosenTime
from vision_line.desk.report.unseen_parts import UnseenPart, find_unseen
from vision_line.errors import ConfigError
from vision_line.parts.lot_spans import LotSpan, distinct, lot_spans, read_lot_orders
from vision_line.parts.parts_file import reading
from vision_line.parts.parts_removal import removed_parts
from vision_line.parts.passed import OF_CHALLENGE, LaneCounts, PartsFilter, count_parts
from vision_line.quality.intervals import clopper_pearson
from vision_line.records.records import Records

#: Parts that were let through and were defective are named one by one, up to so many of them.
MOST_ESCAPES = 200

#: Only what a reject was found of later: what was no product, or was diverted anyway, escaped nobody.
_ESCAPES = f"""SELECT t.number, t.lane, t.sequence, t.part_id, t.lot, t.triggered_utc, t.verdict
    FROM parts t JOIN journal c ON c.number = t.corrected
    WHERE {{where}} AND t.corrected IS NOT NULL AND t.verdict IN ('accept', 'warn')
    AND json_extract(c.body, '$.found') = 'reject' AND NOT ({OF_CHALLENGE}) ORDER BY t.triggered_utc"""  # noqa: S608  ours


@dataclass(frozen=True, slots=True)
class EscapedPart:
    """A part that was let through, and of which a reject was found later; `number` is its entry's."""

    number: int
    lane: str
    sequence: int
    part_id: str
    lot: str
    triggered_utc: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Yield:
    """Good parts by inspected ones: let through, and no reject is known of them. Of none inspected there is none."""

    good: int
    inspected: int

    @property
    def share(self) -> float:
        """The yield."""
        return self.good / self.inspected

    @property
    def limits(self) -> tuple[float, float]:
        """Its exact 95 % limits."""
        return clopper_pearson(self.good, self.inspected)


@dataclass(frozen=True, slots=True)
class ReportedParts:
    """The parts of a time, or of a lot, those of challenges left out.

    `unseen` were let through while a camera of theirs stood still. `removed_until_utc`: of the time up to then parts
    were removed, which are in no count; None: none were.
    """

    lanes: Sequence[LaneCounts]
    escapes: Sequence[EscapedPart]
    unseen: Sequence[UnseenPart] = ()
    removed_until_utc: float | None = None

    @property
    def yields(self) -> Mapping[str, Yield]:
        """The yield of each lane."""
        return {lane.lane: yield_of(lane, self.escapes) for lane in self.lanes}


@dataclass(frozen=True, slots=True)
class LotTime:
    """A lot with the times in which it was made."""

    lot: str
    spans: Sequence[LotSpan]

    def whole(self, now_utc: float) -> ChosenTime:
        """Return the time from its first beginning to its last end, or now while it goes on."""
        ends = [now_utc if span.until_utc is None else span.until_utc for span in self.spans]
        return ChosenTime(min(span.since_utc for span in self.spans), max(ends))

    def active(self, now_utc: float) -> list[ChosenTime]:
        """Return the times in which it was made at any lane, one after the other, without those in between."""
        found: list[ChosenTime] = []
        for span in sorted(self.spans, key=lambda each: each.since_utc):
            until_utc = now_utc if span.until_utc is None else span.until_utc
            if found and span.since_utc <= found[-1].until_utc:
                found[-1] = ChosenTime(found[-1].since_utc, max(found[-1].until_utc, until_utc))
            else:
                found.append(ChosenTime(span.since_utc, until_utc))
        return found

    @property
    def is_interrupted(self) -> bool:
        """Whether other things were made in between, or it was made at some lanes alone."""
        return len(self.spans) > 1 or self.spans[0].lane != "*"


def read_lot_time(directory: Path, lot: str) -> LotTime:
    """Return when a lot was made.

    Raises:
        ConfigError: nobody began it.
        RunError: the parts cannot be read.
    """
    with reading(directory) as connection:
        spans = [] if connection is None else distinct(lot_spans(read_lot_orders(connection)))
    own = [span for span in spans if span.lot == lot]
    if not own:
        raise ConfigError(f"--lot: nobody began a lot {lot!r}; `vision-line lots list` shows which there are")
    return LotTime(lot, own)


def read_parts(directory: Path, time: ChosenTime, lot: str, gaps: Sequence[Gap]) -> ReportedParts:
    """Return what passed in a time, or of a lot, whenever that was; `gaps` are what of the time was not inspected.

    Raises:
        RunError: the parts cannot be read.
    """
    wanted = PartsFilter(lot=lot) if lot else PartsFilter(time.since_utc, time.until_utc)
    with reading(directory) as connection:
        if connection is None:
            return ReportedParts((), ())
        teach_challenges(connection, directory)
        removed = removed_parts(connection)
        is_cut = removed.from_utc < time.until_utc and removed.to_utc >= time.since_utc
        until_utc = removed.to_utc if is_cut else None
        unseen = find_unseen(connection, wanted, gaps)
        return ReportedParts(count_parts(connection, wanted), find_escapes(connection, wanted), unseen, until_utc)


def find_escapes(connection: Records, wanted: PartsFilter) -> list[EscapedPart]:
    """Return the parts that were let through and were defective, the oldest first.

    The connection was taught `is_challenge`.

    Raises:
        Error: the database's, as it comes.
    """
    where, values = wanted.conditions()
    return [EscapedPart(*row) for row in connection.execute(_ESCAPES.format(where=where), values)]


def yield_of(counts: LaneCounts, escapes: Sequence[EscapedPart]) -> Yield:
    """Return a lane's yield. Pure."""
    escaped = sum(one.lane == counts.lane for one in escapes)
    return Yield(counts.good - escaped, counts.inspected)
