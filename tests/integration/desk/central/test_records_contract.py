# SPDX-License-Identifier: AGPL-3.0-or-later
"""The port `Records`: whatever the desk asks, a box's files and the database of all boxes answer the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.answers import make_answer
from tests.fakes.central_shipping import ship_boxes
from tests.fakes.challenge_plans import challenged
from tests.fakes.desk_records import BEGAN_UTC, writing
from tests.fakes.passed_parts import make_part
from tests.fakes.shift_records import BERLIN, SHIFT_HOURS, SHIFT_S, made_shift

from vision_line.central.database_url import parsed
from vision_line.challenges.challenge_windows import count_challenged
from vision_line.desk.audit_trail import read_trail
from vision_line.desk.boxes import PresentBoxes, shown_of
from vision_line.desk.cameras.camera_history import read_cameras, read_frames, read_states
from vision_line.desk.central.central_source import CentralSource
from vision_line.desk.charts.chart_choice import ChartWish
from vision_line.desk.charts.shown_charts import read_charts
from vision_line.desk.charts.silences import read_silences
from vision_line.desk.found.found_events import (
    ChallengeChoice,
    EventFilter,
    Position,
    challenged_events,
    find_events,
    find_number,
    read_beside,
    read_choices,
    read_event,
)
from vision_line.desk.inspected.attention import read_last_run
from vision_line.desk.inspected.coverage_bar import read_bars
from vision_line.desk.inspected.doubted_time import read_doubts
from vision_line.desk.inspected.inspected_time import Gap, read_inspected_time
from vision_line.desk.inspected.overview import read_overview
from vision_line.desk.local_time import ChosenTime, PlantClock, shown_by
from vision_line.desk.record_reader import DeskSource, RecordReader
from vision_line.desk.recorded_clock import clock_of
from vision_line.desk.report import identity
from vision_line.desk.report.counts import read_counts, read_kept
from vision_line.desk.report.passed_parts import find_escapes
from vision_line.desk.report.rejects import read_rejects
from vision_line.desk.report.unseen_parts import find_unseen
from vision_line.desk.reviewing.shown_answers import answers_for, overruled_keys
from vision_line.desk.run_times import ahead_utc, newest_utc
from vision_line.desk.time_choice import WantedTime, choose_time
from vision_line.frames import Verdict
from vision_line.parts.lot_rows import read_lot_rows
from vision_line.parts.orders import Asked, ask_lot
from vision_line.parts.part import PartCause, PartVerdict
from vision_line.parts.part_entries import add_correction, add_part
from vision_line.parts.parts_file import writing as writing_parts
from vision_line.parts.passed import PartsFilter, count_parts, find_parts, parts_of_event, read_part
from vision_line.records.journal import Kind
from vision_line.records.query import Selection
from vision_line.records.schema import transaction
from vision_line.reviews.answer import ItemKey, ItemKind, ReviewVerdict
from vision_line.reviews.answer_journal import append_answer
from vision_line.reviews.reviews_file import writing as writing_reviews

BEGINS_UTC = BEGAN_UTC + SHIFT_S
SHIFT = ChosenTime(BEGINS_UTC, BEGINS_UTC + 3600 * SHIFT_HOURS)
CUT = ChosenTime(BEGINS_UTC + 3630.5, BEGINS_UTC + 3700.25)
TWO_DAYS = ChosenTime(SHIFT.since_utc - 86_400, SHIFT.until_utc + 86_400)
RUN_ID = f"run at {SHIFT_S - 7 * 86_400}"
ANSWERS = (("e1", "overruled", "anna"), ("e2", "confirmed", "vera"), ("e1", "unsure", "vera"))
Asking = Callable[[DeskSource], object]


def filled(directory: Path, cameras: int, events: int) -> Path:
    """Write all that a desk can show of a shift, by what writes it in a plant."""
    made_shift(directory, cameras, events)
    with writing(directory) as rows:
        (run_id,) = rows.connection.execute("SELECT run_id FROM runs").fetchone()
        later = rows.run(SHIFT_S + 3600 * SHIFT_HOURS + 60, None, "cam01", "cam09", alive_s=SHIFT_S + 40_000)
        for at_s, state, code in ((10, "RUNNING", None), (60, "DEGRADED", "LATE"), (90, "STALE", "TIMEOUT")):
            rows.state(later, "cam09", state, SHIFT_S + at_s, code, "nothing came")
        rows.gap(later, "cam09", "camera:STALE", SHIFT_S + 39_000, None)
        values = {"at_s": 10.0, "from_utc": BEGINS_UTC + 39_500, "to_utc": BEGINS_UTC + 39_600}
        rows.insert("clock_steps", run=later, clock=1, **values)
        number = rows.event(later, "cam09", SHIFT_S + 39_900, class_name="spur")
        rows.images(number, b"image")
        rows.clip(later, "cam09", number, b"clip")
        rows.near_miss(later, "cam09", SHIFT_S + 39_901, b"image")
        rows.near_miss(1, "cam01", SHIFT_S + 100)
        rows.audit(1, "cam01", SHIFT_S + 200, b"image")
        with transaction(rows.connection):
            doubted = {"since_utc": BEGINS_UTC + 900, "until_utc": BEGINS_UTC + 1500, "why": "it computes wrongly now"}
            rows.connection.journal.append(Kind.DOUBT, "engine", doubted, 1)
    challenged(directory, "cam01", BEGINS_UTC + 1800, BEGINS_UTC + 1830)
    challenged(directory, "cam02", BEGINS_UTC + 7200, BEGINS_UTC + 9000)
    with writing_reviews(directory) as reviews:
        for event, verdict, person in (
            ("e1", "overruled", "anna"),
            ("e2", "confirmed", "vera"),
            ("e1", "unsure", "vera"),
        ):
            key = ItemKey(ItemKind.EVENT, run_id, event)
            append_answer(reviews, make_answer(key, verdict=ReviewVerdict(verdict), person=person))
    ask_lot(directory, "L-1", Asked("anna", "desk"))
    with writing_parts(directory) as parts:
        seen = {"inspections": {"cam01": 4, "cam02": 3}, "run_id": run_id}
        add_part(parts, make_part(1, BEGINS_UTC + 100, lot="L-1", **seen))
        add_part(parts, make_part(2, BEGINS_UTC + 101, verdict=PartVerdict.REJECT, events=("e1",), **seen))
        gap = {"verdict": PartVerdict.NOT_INSPECTED, "cause": PartCause.GAP}
        add_part(parts, make_part(3, BEGINS_UTC + 102, **gap, **seen))
        add_part(parts, make_part(4, BEGINS_UTC + 7300, **seen))  # of a challenge
        for sequence, at_utc, begins_s in (
            (5, BEGINS_UTC + 7195, 4.6),
            (6, BEGINS_UTC + 7196, 4.9),
        ):  # one is of it too
            add_part(
                parts, make_part(sequence, at_utc, window_utc=(at_utc + begins_s, at_utc + begins_s + 0.4), **seen)
            )
        let_through = make_part(1, BEGINS_UTC + 103, lane="b", lot="L-1", verdict=PartVerdict.WARN, **seen)
        add_correction(parts, let_through, add_part(parts, let_through), PartVerdict.REJECT, ["e2"])
    return directory


def of_records(read: Callable[..., object], *given: object, **named: object) -> Asking:
    """Return what asks the records."""

    def asked(source: DeskSource) -> object:
        with source.open() as records:
            return read(records, *given, **named)

    return asked


def of_parts(read: Callable[..., object], *given: object) -> Asking:
    """Return what asks the parts."""

    def asked(source: DeskSource) -> object:
        with source.open_parts() as parts:
            return read(parts, *given)

    return asked


def everything_found(source: DeskSource, wanted: EventFilter) -> list[object]:
    """Return all events of a search, page by page."""
    found: list[object] = []
    after: Position | None = Position()
    while after is not None:
        with source.open() as records:
            page = find_events(records, wanted, after, rows=90)
        found += page.events
        after = page.next
    return found


def searched(**wanted: Any) -> Asking:
    selection = wanted.pop("selection", Selection())
    return lambda source: everything_found(source, EventFilter(selection, **wanted))


def one_event(source: DeskSource) -> object:
    """Return the newest event with its neighbours in a search."""
    with source.open() as records:
        newest = find_events(records, EventFilter(Selection()), Position(), rows=30).events
        detail = read_event(records, newest[7].event)
        assert detail is not None
        beside = read_beside(records, EventFilter(Selection(verdicts=(Verdict.REJECT,))), newest[7])
        clip = read_event(records, newest[0].event)
        assert clip is not None
        number = find_number(records, newest[9].run_id, newest[9].event_id)
        challenged_of = challenged_events(records, [one.event for one in newest])
        ids = {one.event: one.event_id for one in newest}
    assert number == newest[9].event
    return detail, beside, clip, sorted(ids[one] for one in challenged_of)


def every_part(source: DeskSource) -> object:
    """Return all parts with what is known of each."""
    with source.open_parts() as parts:
        assert parts is not None
        found = find_parts(parts, PartsFilter())
        return found, [read_part(parts, one.number) for one in found]


def by_lot(source: DeskSource) -> object:
    with source.open_parts() as parts, source.open() as records:
        assert parts is not None
        found = read_lot_rows(parts, records, "L-1")
    return (
        found.times,
        len(found.own),
        len(found.others),
        everything_found(source, EventFilter(Selection(), lot="L-1", lot_rows=found)),
    )


OF_A_CLASS = ChartWish(together=True, class_name="open", period="day", days=9)
ASKED: dict[str, Asking] = {
    "the overview of a shift": of_records(read_overview, SHIFT),
    "the overview of a time within minutes": of_records(read_overview, CUT),
    "the overview of two days": of_records(
        read_overview, ChosenTime(SHIFT.since_utc - 86_400, SHIFT.until_utc + 86_400)
    ),
    "the last run": of_records(read_last_run),
    "the newest time": of_records(choose_time, WantedTime()),
    "the newest hour": of_records(choose_time, WantedTime(last="1h")),
    "up to when there are records": of_records(lambda records: (newest_utc(records), ahead_utc(records))),
    "the clock": of_records(clock_of),
    "all cameras": of_records(read_cameras),
    "states of a camera": lambda source: of_records(read_states, named(source, "cam09"), SHIFT)(source),
    "frames of a camera": lambda source: of_records(read_frames, named(source, "cam01"), SHIFT)(source),
    "a camera's time": lambda source: of_records(read_inspected_time, SHIFT, named(source, "cam01"))(source),
    "a camera's bar": lambda source: of_records(read_bars, CUT, (), (named(source, "cam01"),))(source),
    "all events": searched(),
    "events of a class, rejected, of a time": searched(
        selection=Selection(SHIFT.since_utc, SHIFT.until_utc, classes=("short",), verdicts=(Verdict.REJECT,))
    ),
    "events of a station": searched(station_names=("line 1", "none")),
    "events of a camera": lambda source: searched(selection=Selection(cameras=(named(source, "cam02"),)))(source),
    "events without challenges": searched(challenges=ChallengeChoice.WITHOUT),
    "events of challenges": searched(challenges=ChallengeChoice.ONLY),
    "reviewed events": searched(reviewed="reviewed", reviewed_keys=(f"event/{RUN_ID}/e1",)),
    "events that were not reviewed": searched(reviewed="not reviewed", reviewed_keys=("event/x/e1", "event/y/e2")),
    "events of a lot that nobody made": searched(lot="none"),
    "what there is to choose": of_records(read_choices),
    "an event with what is around it": one_event,
    "counts by camera and class": of_records(read_counts, SHIFT),
    "what was kept for review": of_records(read_kept, ChosenTime(SHIFT.since_utc, SHIFT.until_utc + 86_400)),
    "events of challenge parts": of_records(count_challenged, SHIFT.since_utc, SHIFT.until_utc),
    "the newest rejects": of_records(lambda records: [dict(row) for row in read_rejects(records, SHIFT, 9)]),
    "what may be wrong": of_records(read_doubts, SHIFT),
    "runs": of_records(identity.read_runs, SHIFT),
    "cameras of the runs": of_records(identity.read_cameras, SHIFT),
    "the trail": of_records(read_trail, None),
    "charts of each station": of_records(read_charts, {}, ChartWish(period="hour")),
    "a chart of a class": of_records(read_charts, {}, OF_A_CLASS),
    "a chart of a camera": lambda source: of_records(
        read_charts, {}, ChartWish(camera=named(source, "cam01"), period="hour", days=2)
    )(source),
    "silences": of_records(read_silences, {}),
    "counts by lane": of_parts(count_parts, PartsFilter()),
    "counts of a lot": of_parts(count_parts, PartsFilter(lot="L-1")),
    "parts with all that is known of them": every_part,
    "parts of a lane": lambda source: of_parts(find_parts, PartsFilter(lane=named(source, "b")))(source),
    "parts of an event": of_parts(parts_of_event, RUN_ID, "e1"),
    "escapes": of_parts(find_escapes, PartsFilter()),
    "parts that passed while a camera stood still": lambda source: of_parts(
        find_unseen, PartsFilter(), [frozen(named(source, "cam01"))]
    )(source),
    "a lot with its events": by_lot,
    "answers": lambda source: answers_for(source, "anna", [f"event/{RUN_ID}/e{n}" for n in (1, 2)]),
    "what was overruled": lambda source: overruled_keys(source, "anna"),
}


def frozen(camera: str) -> Gap:
    """Return a time in which a camera stood still."""
    return Gap(1, camera, "", "camera:FROZEN", BEGINS_UTC, BEGINS_UTC + 200, is_open=False, seconds=200.0)


def named(source: DeskSource, name: str) -> str:
    """Return how a source calls a camera or lane."""
    return f"hall-1:{name}" if isinstance(source, CentralSource) else name


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> RecordReader:
    """Return a box's records, with rows in every table."""
    return RecordReader(filled(tmp_path_factory.mktemp("box"), 4, 60), 40.0)


@pytest.fixture(scope="module")
def central(box: RecordReader, new_plant: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> CentralSource:
    """Return the database of two boxes, whose cameras have the same names; they ship to it as in a plant."""
    url = new_plant()
    other = tmp_path_factory.mktemp("other")
    with writing(other) as rows:
        run = rows.run(SHIFT_S + 0.5, SHIFT_S + 7000, "cam01", "cam02", "cam77")
        for second in range(0, 6000, 60):
            rows.minute(run, "cam01", SHIFT_S + second, 7)
            rows.event(run, "cam01", SHIFT_S + second, class_name="scratch")
        rows.gap(run, "cam02", "device", SHIFT_S + 100, SHIFT_S + 5000)
    ship_boxes(url, {"hall-1": box.directory, "hall-2": other})
    return CentralSource(parsed(url), tmp_path_factory.mktemp("desk"), 40.0)


@contextmanager
def in_berlin() -> Iterator[None]:
    with shown_by(PlantClock(BERLIN)):
        yield


@pytest.mark.parametrize("question", ASKED)
def test_both_answer_the_same(question: str, box: RecordReader, central: CentralSource) -> None:
    """Of one box, with another one's records beside it."""
    with in_berlin():
        own = ASKED[question](box)
        with shown_of(PresentBoxes({1: "hall-1", 2: "hall-2"}, "hall-1")):
            found = ASKED[question](central)
    assert said(found) == said(own)


#: What differs by its place: numbers of rows and entries, and the machine.
PLACES = frozenset(
    {"interval", "change", "clip", "entries", "host", "number", "corrected", "first_entry", "last_entry", "event"}
)


def said(value: Any) -> Any:
    """Return an answer without what differs by its place, also the box in names."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {one.name: getattr(value, one.name) for one in fields(value)}
    if isinstance(value, dict):
        return {said(key): said(one) for key, one in value.items() if key not in PLACES}
    if isinstance(value, list | tuple | set | frozenset):
        return [said(one) for one in (value if isinstance(value, list | tuple) else sorted(value))]
    if isinstance(value, str):
        return value.replace("hall-1:", "")
    return value % 2**40 if isinstance(value, int) and not isinstance(value, bool) else value
