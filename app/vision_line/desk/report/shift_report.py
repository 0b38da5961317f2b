# SPDX-License-Identifier: AGPL-3.0-or-later
"""All that a report says of a time, read from one moment of the record file on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vision_line.challenges.challenge_windows import count_challenged, teach_challenges
from vision_line.desk.charts.baselines import read_baselines
from vision_line.desk.charts.silences import SilenceWatch, read_silences
from vision_line.desk.inspected.coverage_bar import BarPart, column_s, read_bars
from vision_line.desk.inspected.degraded_time import degraded_words, read_degraded
from vision_line.desk.inspected.doubted_time import DoubtedTime, read_doubts
from vision_line.desk.inspected.inspected_time import CameraTime, Gap, read_inspected_time
from vision_line.desk.local_time import ChosenTime
from vision_line.desk.part_charts.part_baselines import read_part_baselines
from vision_line.desk.part_charts.part_silences import PartSilenceWatch, read_part_silences
from vision_line.desk.report.challenged import ReportedChallenges, read_challenges
from vision_line.desk.report.counts import (
    KeptForReview,
    ParetoBar,
    VerdictCounts,
    in_all,
    pareto,
    read_counts,
    read_kept,
)
from vision_line.desk.report.expectation import ReportedChart, Shortages, read_rate_chart, read_shortages
from vision_line.desk.report.identity import (
    CameraIdentity,
    RunIdentity,
    read_cameras,
    read_runs,
    without_run_s,
)
from vision_line.desk.report.journal_proof import JournalCheck, JournalProof, read_journal_proof
from vision_line.desk.report.part_expectation import ReportedLane, read_lanes
from vision_line.desk.report.passed_parts import ReportedParts, read_lot_time, read_parts
from vision_line.desk.report.period import ReportPeriod, WantedPeriod, choose_period
from vision_line.desk.report.rejects import ShownReject, read_rejects, shown
from vision_line.errors import BrokenRecordError
from vision_line.inspection.coverage.causes import NOT_DUE
from vision_line.ports import ProgressCallback
from vision_line.records.journal_check import Expected
from vision_line.records.records import Records
from vision_line.records.schema import FILE_NAME, open_reader, translated
from vision_line.records.verification import verify
from vision_line.telemetry.covered import Covered, together

_REMOVED = """SELECT removed_from, sum(rows) AS rows, min(from_utc) AS from_utc, max(to_utc) AS to_utc FROM removals
    WHERE removed_from IN ('events', 'coverage', 'not_inspected', 'near_misses', 'audits')
    AND to_utc >= ? AND from_utc < ? GROUP BY removed_from ORDER BY removed_from"""


@dataclass(frozen=True, slots=True)
class RemovedRows:
    """Rows of a table that retention has removed, of which some may be of the report's time."""

    table: str
    rows: int
    from_utc: float
    to_utc: float


@dataclass(frozen=True, slots=True)
class InspectedPart:
    """What was inspected. `without_run_s`: for how much of the time until now no program ran.

    `degraded`: the cameras that were DEGRADED meanwhile, in words; `doubts`: when an engine may have computed wrongly.
    """

    total: Covered
    off_s: float
    without_run_s: float
    column_s: int
    cameras: Sequence[CameraTime]
    bars: dict[str, list[BarPart]]
    longest: Gap | None
    degraded: str
    doubts: Sequence[DoubtedTime]


@dataclass(frozen=True, slots=True)
class FoundPart:
    """What was found; `unshown` rejects are older than those in `rejects`, `challenged` events are left out of all."""

    counts: Sequence[VerdictCounts]
    total: VerdictCounts
    pareto: Sequence[ParetoBar]
    kept: KeptForReview
    rejects: Sequence[ShownReject]
    unshown: int
    challenged: int

    @property
    def by_camera(self) -> Mapping[str, VerdictCounts]:
        """The events of each camera; of one without any, none."""
        cameras = {one.camera for one in self.counts}
        sums = {name: in_all(one for one in self.counts if one.camera == name) for name in cameras}
        return defaultdict(lambda: VerdictCounts("", ""), sums)


@dataclass(frozen=True, slots=True)
class ShiftReport:
    """A report; `check` is None where the journal was not checked."""

    period: ReportPeriod
    made_utc: float
    inspected: InspectedPart
    found: FoundPart
    parts: ReportedParts
    lanes: Sequence[ReportedLane]
    challenges: ReportedChallenges
    usual: ReportedChart
    shortages: Shortages
    silences: SilenceWatch
    part_silences: PartSilenceWatch
    runs: Sequence[RunIdentity]
    cameras: Sequence[CameraIdentity]
    journal: JournalProof
    removed: Sequence[RemovedRows]
    check: JournalCheck | None = None


def read_report(
    directory: Path, wanted: WantedPeriod, now_utc: float, most_images: int, check: JournalCheck | None = None
) -> ShiftReport:
    """Return the report on the records of `directory`, with images of at most so many rejects.

    Raises:
        ConfigError: what was asked for is no time.
        RunError: there are no records, or they cannot be read.
    """
    path = directory / FILE_NAME
    lot = None if wanted.lot is None else read_lot_time(directory, wanted.lot)
    baselines, part_baselines = read_baselines(directory), read_part_baselines(directory)
    with closing(open_reader(directory)) as connection, translated(path, "reading"):
        connection.execute("BEGIN")  # a run that writes meanwhile is not in it
        period = choose_period(connection, wanted, now_utc, lot)
        time = period.time
        teach_challenges(connection, directory)
        runs, cameras = read_runs(connection, time), read_cameras(connection, time)
        inspected = _read_inspected(connection, time, runs, now_utc)
        counts = read_counts(connection, time)
        challenges = read_challenges(connection, directory, time, now_utc)
        challenged = count_challenged(connection, time.since_utc, time.until_utc)
        usual = read_rate_chart(connection, period.charted(now_utc), period.clock, baselines, now_utc)
        shortages = read_shortages(connection, time, inspected.cameras, counts, baselines)
        silences = read_silences(connection, baselines, time.until_utc)
        lanes = read_lanes(
            directory, connection, time, period.clock, part_baselines, lot=wanted.lot or "", now_utc=now_utc
        )
        kept = read_kept(connection, time)
        rows = read_rejects(connection, time, most_images)
        journal = read_journal_proof(connection, time)
        removed = connection.execute(_REMOVED, (time.since_utc, time.until_utc)).fetchall()
        connection.execute("COMMIT")
    rejects = [shown(directory, row) for row in rows]
    total = in_all(counts)
    return ShiftReport(
        period=period,
        made_utc=now_utc,
        inspected=inspected,
        found=FoundPart(
            counts=counts,
            total=total,
            pareto=pareto(counts),
            kept=kept,
            rejects=rejects,
            unshown=total.reject - len(rejects),
            challenged=challenged,
        ),
        parts=read_parts(directory, time, wanted.lot or "", [gap for one in inspected.cameras for gap in one.gaps]),
        lanes=lanes,
        challenges=challenges,
        usual=usual,
        shortages=shortages,
        silences=silences,
        part_silences=read_part_silences(directory, part_baselines, time.until_utc),
        runs=runs,
        cameras=cameras,
        journal=journal,
        removed=[RemovedRows(*row) for row in removed],
        check=check,
    )


def _read_inspected(
    connection: Records, time: ChosenTime, runs: Sequence[RunIdentity], now_utc: float
) -> InspectedPart:
    cameras = read_inspected_time(connection, time)
    gaps = [gap for camera in cameras for gap in camera.gaps]
    return InspectedPart(
        total=together(camera.covered for camera in cameras),
        off_s=sum(camera.off_s for camera in cameras),
        without_run_s=without_run_s(runs, time, now_utc),
        column_s=column_s(time),
        cameras=cameras,
        bars=read_bars(connection, time, gaps),
        longest=max((gap for gap in gaps if gap.cause not in NOT_DUE), key=lambda gap: gap.seconds, default=None),
        degraded=degraded_words(read_degraded(connection, time)),
        doubts=read_doubts(connection, time),
    )


def check_journal_of(directory: Path, report: ProgressCallback) -> JournalCheck:
    """Check the whole journal against the tables, as `vision-line verify` does.

    Raises:
        ConfigError: the journal is signed, and the package that checks it is missing.
        RunError: there are no records, or they cannot be read.
    """
    try:
        verified = verify(directory, Expected(), report, images=False)
    except BrokenRecordError as exc:
        return JournalCheck(holds=False, said=str(exc))
    head = verified.journal.head
    return JournalCheck(holds=True, said=f"entries {verified.journal.first} to {head.number}, head {head.digest.hex()}")
