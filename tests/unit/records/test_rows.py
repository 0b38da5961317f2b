# SPDX-License-Identifier: AGPL-3.0-or-later
"""Entries become rows: detections find their events, cameras their labels, classes their names."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.builders import make_detections, make_frame, make_inspection

from vision_line.frames import DefectEvent, Detections, DropCause, EventPhase, Masks, Verdict
from vision_line.records.entries import (
    AuditEntry,
    CameraLabels,
    CameraRecord,
    CamerasEntry,
    Entry,
    EventsEntry,
    FirstInspectionEntry,
    InspectedEntry,
    RunRecord,
    StoredImage,
    estimated_bytes,
    inspected_entry,
)
from vision_line.records.rows import INSERT_RUN, Row, RowMaker, event_of_each, run_row
from vision_line.records.schema import DROPPED_COLUMNS, open_writer

BOXES = ((0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0), (20.5, 0.0, 30.5, 10.0))


def event(
    event_id: str, xyxy: tuple[float, float, float, float], sequence: int = 1, phase: EventPhase = EventPhase.NEW
) -> DefectEvent:
    return DefectEvent(
        *(event_id, phase, "cam01", 0, "open", Verdict.REJECT, 0.899_999_98, 0.95, xyxy, sequence, 3),
        *(1.0, 100.0, 2.0, 101.0),
    )


def inspected(found: Detections, *events: DefectEvent) -> InspectedEntry:
    frame = make_frame("cam01", 1, at_s=1.0, at_utc=100.0, behind_s=0.05)
    return inspected_entry(make_inspection(replace(frame, pts_s=0.5), found, after_s=0.25), events)


def test_a_detection_knows_its_event() -> None:
    """The nearest box of the event's class within a pixel is the event's."""
    events = [event("a", BOXES[0]), event("b", BOXES[2])]

    assert event_of_each(make_detections(*BOXES), events, 1) == ["a", None, "b"]


def test_other_frames_classes_and_ends_match_nothing() -> None:
    """A box of another frame, of another class or of an event that ended is no detection's."""
    boxes = make_detections(BOXES[0])

    assert event_of_each(boxes, [event("a", BOXES[0], sequence=2)], 1) == [None]
    assert event_of_each(boxes, [event("a", BOXES[0], phase=EventPhase.END)], 1) == [None]
    assert event_of_each(make_detections(BOXES[0], class_id=1), [event("a", BOXES[0])], 1) == [None]
    assert event_of_each(boxes, [event("a", BOXES[1])], 1) == [None]
    assert event_of_each(Detections.empty(), [event("a", BOXES[1])], 1) == []


def test_rows_hold_what_the_entry_held() -> None:
    """Times, latency, box, class and the camera's labels are in the row; float32's noise is not."""
    maker = RowMaker(7, ["open"], [CameraRecord("cam01", "press", "A", "")])
    (sql, rows), (_, event_rows) = maker.statements(inspected(make_detections(BOXES[0]), event("a", BOXES[0])))

    assert sql.startswith("INSERT INTO detections (run, camera, station, recipe, sequence, ")
    assert rows == [
        (
            7,
            "cam01",
            "press",
            "A",
            1,
            100.0,
            1.0,
            None,
            0.5,
            "open",
            0.9,
            0.0,
            0.0,
            10.0,
            10.0,
            640,
            360,
            "a",
            300.0,
            50.0,
            *[None] * 4,
        )
    ]
    assert 0.9 in event_rows[0]


def test_labels_change_from_their_entry_on() -> None:
    """A camera that is configured anew has its new labels; one that nobody configured has empty ones."""
    maker = RowMaker(1, [], [])
    before = next(maker.statements(EventsEntry((event("a", BOXES[0]),))))[1][0]
    list(maker.statements(CamerasEntry((CameraRecord("cam01", "press", "B", ""),), 5.0)))
    after = next(maker.statements(EventsEntry((event("a", BOXES[0]),))))[1][0]

    assert (before[:4], after[:4]) == ((1, "cam01", "", ""), (1, "cam01", "press", "B"))


def test_a_camera_has_a_row_for_as_long_as_nothing_about_it_changes() -> None:
    """What is said again leaves no row; settings that are not said are as they were; a retry gives the same rows."""
    maker = RowMaker(1, [], [])
    first = CamerasEntry((CameraRecord("a", "", "", "", '{"x":1}'), CameraRecord("b", "", "", "")), 5.0)
    again = CamerasEntry((CameraRecord("a", "", "", ""), CameraRecord("b", "press", "", "")), 6.0)

    def rows(entry: CamerasEntry) -> list[Row]:
        ((_, found),) = maker.statements(entry)
        return found

    expected = [(1, "a", "", "", "", 5.0, '{"x":1}', "", "", 0), (1, "b", "", "", "", 5.0, "", "", "", 0)]
    assert rows(first) == expected
    assert rows(first) == expected
    assert rows(again) == [(1, "b", "press", "", "", 6.0, "", "", "", 0)]


def test_a_class_without_a_name_is_still_recorded() -> None:
    """A class number beyond the model's list gets a name that says so."""
    maker = RowMaker(1, ["open"], [])
    (_, rows), *_ = maker.statements(inspected(make_detections(BOXES[0], class_id=5)))

    assert "class 5" in rows[0]


def test_every_drop_cause_has_its_column() -> None:
    """A new cause of drops needs a new schema version with its column."""
    assert tuple(f"dropped_{cause}" for cause in DropCause) == DROPPED_COLUMNS
    assert len(DROPPED_COLUMNS) == 9


@pytest.mark.parametrize(("detections", "events"), [(0, 0), (1, 0), (1, 1), (20, 2), (300, 0)])
def test_what_an_inspection_takes_in_memory_is_not_underestimated(detections: int, events: int) -> None:
    """Else a backlog would hold more than its bound."""
    entries, many = list[InspectedEntry](), 500
    inspected(make_detections(*[BOXES[0]] * detections))
    tracemalloc.start()
    try:
        for number in range(many):
            at_s = number + 0.25
            frame = make_frame("cam01", 1000 + number, at_s=at_s, at_utc=at_s + 1e9, behind_s=at_s / 1e6)
            found = make_detections(*[BOXES[0]] * detections)
            of_it = [event(f"event {number} {index}", BOXES[0]) for index in range(events)]
            entries.append(inspected_entry(make_inspection(frame, found, after_s=at_s), of_it))
        del frame, found, of_it
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held / many <= estimated_bytes(entries[0])


def test_what_an_audit_takes_in_memory_is_that_of_its_detections() -> None:
    """Their masks are most of it."""
    found = make_detections(*[BOXES[0]] * 50)
    corners = tuple(map(float, range(64)))
    masked = replace(found, masks=Masks(np.zeros((50, 3), np.float32), (corners,) * 50))
    audits = [AuditEntry(inspected(some).inspection, CameraLabels(), 0.1, StoredImage(0.0)) for some in (found, masked)]

    assert estimated_bytes(audits[0]) >= estimated_bytes(inspected(found))
    assert estimated_bytes(audits[1]) >= estimated_bytes(inspected(masked)) > 50 * len(corners) * 24


def test_no_pixels_wait_in_the_backlog() -> None:
    """Everything else of the frame does."""
    frame = replace(make_frame("cam01", 1, at_s=1.0, at_utc=100.0, behind_s=0.05), data=object(), keyframe=True)
    frame = replace(frame, pts_s=0.5, camera_utc=7.0)

    assert frame.without_data() == replace(frame, data=None)
    assert inspected_entry(make_inspection(frame, Detections.empty(), after_s=0.25), []).inspection.frame.data is None


def test_a_first_inspection_is_of_the_row_that_holds(tmp_path: Path) -> None:
    """A camera that came back is inspected under its newest row."""
    connection = open_writer(tmp_path / "records.sqlite")
    connection.execute(INSERT_RUN, run_row(RunRecord("0", 0.0, "", "", "", "", "", ""), [], evidence=False))
    maker = RowMaker(1, [], [])
    for epoch, at_utc in ((3, 10.0), (7, 20.0)):
        camera = CameraRecord("cam01", "", "", "", epoch=epoch)
        for entry in (CamerasEntry((camera,), at_utc), FirstInspectionEntry("cam01", at_utc + 1)):
            for sql, rows in maker.statements(entry):
                connection.executemany(sql, rows)

    found = connection.execute("SELECT epoch, since_utc, inspected_utc FROM cameras").fetchall()
    connection.close()
    assert found == [(3, 10.0, 11.0), (7, 20.0, 21.0)]


def test_what_could_not_be_committed_relabels_no_row_before_it() -> None:
    """The same group is tried again: what came before a camera's new label bears the old one, as at the first time."""
    maker = RowMaker(7, ["open"], [CameraRecord("cam01", "press", "A", "")])
    before = inspected(make_detections(BOXES[0]))
    group: list[Entry] = [before, CamerasEntry((CameraRecord("cam01", "press", "B", ""),), 5.0), before]
    known = maker.known
    first = [list(maker.statements(entry)) for entry in group]
    maker.known = known

    assert [list(maker.statements(entry)) for entry in group] == first
    assert [first[at][0][1][0][3] for at in (0, 2)] == ["A", "B"]


def test_a_rotated_box_has_its_corners_in_its_rows() -> None:
    """The detection's, and those of the event's best observation; rounded as boxes are."""
    outline = (1.004, 2.0, 9.0, 0.5, 10.0, 8.0, 2.0, 9.5)
    upright = make_detections(BOXES[0])
    found = replace(upright, outlines=np.array(outline, np.float32).reshape(1, 4, 2))
    maker = RowMaker(7, ["open"], [])
    (_, rows), (_, event_rows) = maker.statements(inspected(found, replace(event("a", BOXES[0]), outline=outline)))

    text = "[1.0, 2.0, 9.0, 0.5, 10.0, 8.0, 2.0, 9.5]"
    assert (rows[0][-4:], event_rows[0][-4:]) == ((text, None, None, None),) * 2
