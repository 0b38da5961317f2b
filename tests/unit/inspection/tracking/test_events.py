# SPDX-License-Identifier: AGPL-3.0-or-later
"""The life of a defect event: confirmed, changed, ended, judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import make_frame, scored_detections

from vision_line.config.models import StreamSettings
from vision_line.frames import (
    DefectEvent,
    Detections,
    EventPhase,
    Frame,
    Verdict,
)
from vision_line.inspection.tracking.events import MARKED_RISE, EventTracker

CLASSES = ("open", "short")
PERIOD_S = 0.2
UTC = 1_767_225_600.0

Seen = tuple[float, float, float, int]  # x, y, score, class id


class Inspected(NamedTuple):
    """A frame with what counts of it."""

    frame: Frame
    detections: Detections


def _inspection(sequence: int, seen: Iterable[Seen], *, size_wh: tuple[int, int] = (640, 360)) -> Inspected:
    rows = list(seen)
    at_s = 100 + sequence * PERIOD_S
    found = scored_detections(*((x - 8, y - 8, x + 8, y + 8, score, class_id) for x, y, score, class_id in rows))
    return Inspected(make_frame(sequence=sequence, size_wh=size_wh, at_s=at_s, at_utc=UTC + at_s), found)


def _run(scores: Sequence[float | None], *, threshold: float = 0.25, **settings: object) -> list[DefectEvent]:
    """Show one defect on a belt of 100 px/s with these scores, None where it is missed; no end is asked for."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings.model_validate(settings), threshold)
    events = []
    for sequence, score in enumerate(scores):
        seen = [] if score is None else [(100 + 20.0 * sequence, 100.0, score, 0)]
        events += tracker.update(*_inspection(sequence, seen))
    return events


def _phases(events: Iterable[DefectEvent]) -> list[EventPhase]:
    return [event.phase for event in events]


def test_confirmed_after_min_hits() -> None:
    """NEW comes with the observation that makes `min_hits`, and describes the defect from its first observation."""
    (event,) = _run([0.4, 0.6, 0.5])

    assert (event.phase, event.hits, event.class_name) == (EventPhase.NEW, 3, "open")
    assert (event.score, event.top_score) == pytest.approx((0.5, 0.6))
    assert (event.first_seen_s, event.last_seen_s) == pytest.approx((100.0, 100.4))
    assert event.xyxy == (132, 92, 148, 108)


def test_single_hit_suffices_when_asked() -> None:
    """With `min_hits` 1 the first observation is an event, and may reject."""
    (event,) = _run([0.9], min_hits=1)

    assert (event.phase, event.verdict) == (EventPhase.NEW, Verdict.REJECT)


@settings(deadline=None, max_examples=50)
@given(jumps=st.lists(st.floats(-1e5, 1e5), min_size=12, max_size=12), behind=st.lists(st.floats(0, 1), min_size=12))
def test_an_event_never_ends_before_it_begins(jumps: list[float], behind: list[float]) -> None:
    """However the wall clock jumps and ages are estimated; it lasts as long as by the monotonic clock."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings(min_hits=2), 0.25)
    events = []
    for sequence, (jump_s, behind_s) in enumerate(zip(jumps, behind, strict=False)):
        inspection = _inspection(sequence, [(100 + 20.0 * sequence, 100.0, 0.5 + sequence / 30, 0)])
        frame = replace(inspection.frame, arrived_utc=inspection.frame.arrived_utc + jump_s, behind_s=behind_s)
        events += tracker.update(frame, inspection.detections)
    events += tracker.close()

    assert events
    for event in events:
        assert event.last_seen_utc >= event.first_seen_utc
        lasted_s = event.last_seen_s - event.first_seen_s
        assert event.last_seen_utc - event.first_seen_utc == pytest.approx(lasted_s, abs=1e-5)


def test_flicker_is_no_event() -> None:
    """What is seen less than `min_hits` times makes no event."""
    assert _run([0.9, 0.9, None, None, None, None, None]) == []


def test_inspections_below_threshold_confirm_nothing() -> None:
    """Detections below the class threshold neither start nor confirm a defect."""
    assert _run([0.3] * 10, threshold=0.5) == []
    assert _run([0.6, 0.6, 0.3, 0.3], threshold=0.5) == []


def test_inspections_below_threshold_keep_an_event() -> None:
    """A confirmed event goes on with observations below the threshold, without counting them as hits."""
    settings = StreamSettings(min_hits=2)
    tracker = EventTracker("cam01", CLASSES, settings, 0.5)
    scores = [0.7, 0.7, *[0.3] * 20]
    events = [
        event
        for sequence, score in enumerate(scores)
        for event in tracker.update(*_inspection(sequence, [(100 + 20.0 * sequence, 100.0, score, 0)]))
    ]
    (end,) = tracker.close()

    assert _phases(events) == [EventPhase.NEW]
    assert (end.phase, end.hits, end.sequence, end.last_observation.sequence) == (EventPhase.END, 2, 1, len(scores) - 1)


def test_one_bright_observation_does_not_reject() -> None:
    """The verdict follows the second best observation."""
    assert [event.verdict for event in _run([0.3, 0.95, 0.3])] == [Verdict.WARN]
    assert [event.verdict for event in _run([0.3, 0.95, 0.6])] == [Verdict.REJECT]


def test_below_the_warning_band_is_accepted() -> None:
    """With a `warn_threshold` an event is accepted, warns or rejects; it is an event in any case."""
    settings = {"warn_threshold": 0.4, "reject_threshold": 0.7}
    verdicts = [
        [event.verdict for event in _run(scores, **settings)]
        for scores in ([0.3, 0.35, 0.39], [0.3, 0.4, 0.3], [0.3, 0.9, 0.3], [0.8, 0.9, 0.3])
    ]

    assert verdicts == [[Verdict.ACCEPT], [Verdict.WARN], [Verdict.WARN], [Verdict.REJECT]]


def test_what_is_no_defect_is_accepted_whatever_its_score() -> None:
    """One of `accept_classes` neither warns nor rejects; other classes are judged as before."""
    assert [event.verdict for event in _run([0.3, 1.0, 1.0, 1.0], accept_classes=["open"])][-1] is Verdict.ACCEPT
    assert [event.verdict for event in _run([0.3, 1.0, 1.0, 1.0], accept_classes=["short"])][-1] is Verdict.REJECT


@pytest.mark.parametrize("seen_from", [0, 4])
def test_what_is_no_defect_hides_none_on_its_spot(seen_from: int) -> None:
    """A defect whose box is that of the part it lies on rejects, also where it is seen after the part."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings(accept_classes=["open"]), 0.25)
    events = []
    for sequence in range(8):
        x = 100 + 20.0 * sequence
        seen = [(x, 100.0, 0.9, 0), *([(x + 1, 100.0, 0.8, 1)] if sequence >= seen_from else [])]
        events += tracker.update(*_inspection(sequence, seen))

    assert len({event.event_id for event in events}) == 1
    assert events[-1].verdict is Verdict.REJECT
    assert events[-1].class_name == ("short" if seen_from == 0 else "open")


def test_without_a_warning_threshold_nothing_is_accepted() -> None:
    """Accepting is asked for; a camera that does not ask for it warns of whatever counts."""
    assert [event.verdict for event in _run([0.26, 0.26, 0.26])] == [Verdict.WARN]


def test_an_accepted_event_rises() -> None:
    """A better observation makes it warn, two certain ones reject. Each rise is reported at once; none falls."""
    events = _run([0.3, 0.3, 0.3, 0.5, 0.3, 0.8, 0.8, 0.3], warn_threshold=0.4, reject_threshold=0.7)

    rises = [(event.verdict, event.last_observation.sequence) for event in events]
    assert rises == [(Verdict.ACCEPT, 2), (Verdict.WARN, 3), (Verdict.WARN, 5), (Verdict.REJECT, 6)]


def test_the_warning_threshold_of_a_class_goes_first() -> None:
    """A class's own entry goes before the camera's."""
    (event,) = _run([0.3, 0.3, 0.3], warn_threshold=0.4, warn_thresholds={"open": 0.3})
    assert event.verdict is Verdict.WARN
    (event,) = _run([0.3, 0.3, 0.3], warn_threshold=0.3, warn_thresholds={"open": 0.4})
    assert event.verdict is Verdict.ACCEPT


def test_risen_verdict_is_reported_at_once_and_never_falls() -> None:
    """An UPDATE tells a better observation, another one the rise to reject; weak observations later change nothing."""
    events = _run([0.3, 0.3, 0.3, 0.8, 0.8, 0.3, 0.3, 0.3])

    assert [(event.phase, event.verdict, event.last_observation.sequence) for event in events] == [
        (EventPhase.NEW, Verdict.WARN, 2),
        (EventPhase.UPDATE, Verdict.WARN, 3),
        (EventPhase.UPDATE, Verdict.REJECT, 4),
    ]


def test_reject_threshold_of_the_class() -> None:
    """A class's own reject threshold counts before the camera's."""
    assert [event.verdict for event in _run([0.6] * 3, reject_thresholds={"open": 0.7})] == [Verdict.WARN]


def test_markedly_better_inspections_are_reported() -> None:
    """A steadily rising score is reported when it rose markedly, each time with the observation itself."""
    events = _run([0.30 + 0.012 * number for number in range(20)], reject_threshold=0.9)
    updates = [event for event in events if event.phase is EventPhase.UPDATE]

    assert [event.sequence for event in updates] == [7, 12, 17]
    assert all(event.best_observation == event.last_observation for event in updates)
    assert [event.phase for event in _run([0.4] * 20)] == [EventPhase.NEW]


@given(st.lists(st.floats(0.25, 1.0, width=32), min_size=3, max_size=12))
def test_an_event_has_its_best_observation_since_it_was_confirmed(scores: list[float]) -> None:
    """Box, score and number are from one observation; none since is markedly better; first and last are given."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings(), 0.25)
    inspections = [_inspection(number, [(100 + 20.0 * number, 100.0, score, 0)]) for number, score in enumerate(scores)]
    events = [event for inspection in inspections for event in tracker.update(*inspection)] + tracker.close()
    end = events[-1]

    for event in events:
        for seen in (event.first_observation, event.best_observation, event.last_observation):
            assert seen.score == pytest.approx(scores[seen.sequence])
            assert seen.xyxy == tuple(inspections[seen.sequence].detections.xyxy[0].tolist())
    assert (end.first_observation.sequence, end.last_observation.sequence) == (0, len(scores) - 1)
    assert end.sequence >= 2
    assert max(scores[2:]) < end.score + MARKED_RISE
    assert end.top_score == pytest.approx(max(scores))


def test_ends_once_when_it_has_left() -> None:
    """END comes once, soon after the defect left the view, with its last observation."""
    events = _run([*[0.5] * 26, *[None] * 10])

    assert _phases(events) == [EventPhase.NEW, EventPhase.END]
    assert events[-1].last_observation.sequence == 25
    assert events[0].event_id == events[-1].event_id


def test_expires_without_frames() -> None:
    """When no frames come any more the event ends by time, once."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings())
    for sequence in range(5):
        tracker.update(*_inspection(sequence, [(100 + 20.0 * sequence, 100.0, 0.5, 0)]))

    assert tracker.expire(103.0) == []
    assert _phases(tracker.expire(110.0)) == [EventPhase.END]
    assert tracker.expire(120.0) == []
    assert tracker.close() == []


def _seen_at(at_s: float, sequence: int, seen: Iterable[Seen]) -> Inspected:
    frame, detections = _inspection(sequence, seen)
    return Inspected(replace(frame, arrived_s=at_s, arrived_utc=UTC + at_s), detections)


@pytest.mark.parametrize("period_s", [0.08, 1.0, 7.0])
def test_a_defect_is_confirmed_however_rare_frames_are(period_s: float) -> None:
    """Between two of them it is asked again and again what has ended: nothing has, as long as they come as they do."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings(dwell_s=30.0, min_hits=3))
    events: list[DefectEvent] = []
    for number in range(12):
        at_s = 100.0 + number * period_s
        events += tracker.update(*_seen_at(at_s, number, [(100.0, 100.0, 0.5, 0)] if number >= 6 else []))
        for step in range(int(period_s / 0.1)):
            events += tracker.expire(at_s + 0.1 * step)
    assert _phases(events)[0] is EventPhase.NEW
    assert EventPhase.END not in _phases(events)
    assert _phases(tracker.expire(100.0 + 11 * period_s + 400.0)) == [EventPhase.END]


def test_a_defect_is_confirmed_where_frames_are_rare_from_the_first_on() -> None:
    """Nobody knows yet how far apart they are; it is not given up before its part has gone."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings(dwell_s=30.0, min_hits=2))
    tracker.update(*_seen_at(100.0, 0, [(100.0, 100.0, 0.5, 0)]))
    assert tracker.expire(109.0) == []
    assert _phases(tracker.update(*_seen_at(110.0, 1, [(100.0, 100.0, 0.5, 0)]))) == [EventPhase.NEW]


def test_one_gap_keeps_no_defect_of_before_alive() -> None:
    """A camera that was away for a minute sends as often as before: what was seen then has ended."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings(min_hits=1))
    for number in range(20):
        tracker.update(*_seen_at(100.0 + 0.2 * number, number, [(100.0, 100.0, 0.5, 0)]))
    ended = _phases(tracker.update(*_seen_at(164.0, 20, [])))
    ended += _phases(tracker.update(*_seen_at(164.2, 21, [])))
    assert ended == [EventPhase.END]


def test_new_frame_size_ends_events() -> None:
    """When the camera changes its frame size, events under way end and tracking starts afresh."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings(min_hits=1))
    tracker.update(*_inspection(0, [(100.0, 100.0, 0.5, 0)]))
    events = tracker.update(*_inspection(1, [(100.0, 100.0, 0.5, 0)], size_wh=(1280, 720)))

    assert _phases(events) == [EventPhase.END, EventPhase.NEW]


def test_ids_are_unique_and_sort_by_time() -> None:
    """Event ids name camera and time, differ, and sort by the defect's first observation."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings(min_hits=1))
    events = tracker.update(*_inspection(0, [(100.0, 100.0, 0.5, 0), (300.0, 100.0, 0.5, 0)]))
    events += tracker.update(*_inspection(1, [(200.0, 300.0, 0.5, 1)]))
    ids = [event.event_id for event in events if event.phase is EventPhase.NEW]

    assert ids[0] == "20260101T000140.000Z-cam01-000001"
    assert ids == sorted(set(ids))
    assert len(ids) == 3


def test_two_classes_on_one_spot_are_one_defect() -> None:
    """A defect that the detector reads as two classes, at once or in turn, is one event of the stronger class."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings())
    events = []
    for sequence in range(12):
        x = 100 + 20.0 * sequence
        seen: list[Seen] = [(x, 100.0, 0.6, 0), (x + 1, 101.0, 0.3, 1)] if sequence % 3 else [(x, 100.0, 0.3, 1)]
        events += tracker.update(*_inspection(sequence, seen))
    events += tracker.close()

    assert [(event.phase, event.class_name) for event in events if event.phase is not EventPhase.UPDATE] == [
        (EventPhase.NEW, "open"),
        (EventPhase.END, "open"),
    ]


def _two_classes(
    open_score: float, short_score: float, settings: dict[str, object], frames: int = 6
) -> list[DefectEvent]:
    """Show one spot on a belt as two classes at once."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings.model_validate(settings), 0.25)
    events = []
    for sequence in range(frames):
        x = 100 + 20.0 * sequence
        events += tracker.update(*_inspection(sequence, [(x, 100.0, open_score, 0), (x, 100.0, short_score, 1)]))
    return events


def test_a_class_below_its_threshold_takes_no_hits_from_another_on_its_spot() -> None:
    """The box with the higher score is followed, and each frame has a hit all the same."""
    lower: dict[str, object] = {"score_threshold": 0.3, "thresholds": {"open": 0.8}, "min_hits": 3}

    (event,) = _two_classes(0.78, 0.36, lower, frames=3)

    assert (event.phase, event.hits) == (EventPhase.NEW, 3)


@pytest.mark.parametrize(
    ("milder", "severer", "settings"),
    [
        (0.60, 0.58, {"reject_threshold": 0.5, "reject_thresholds": {"open": 0.9}}),
        (0.96, 0.95, {"warn_thresholds": {"open": 0.99}, "reject_thresholds": {"open": 0.99}}),
    ],
)
def test_a_milder_class_hides_no_severer_one_on_its_spot(
    milder: float, severer: float, settings: dict[str, object]
) -> None:
    """The event is called by the class with more votes, and judged by each that was observed twice."""
    events = _two_classes(milder, severer, settings)

    assert (events[0].class_name, events[-1].verdict) == ("open", Verdict.REJECT)


def test_one_look_of_a_severer_class_decides_nothing() -> None:
    """As one bright observation of the event's own class rejects nothing."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings.model_validate({"reject_thresholds": {"open": 0.99}}), 0.25)
    events = []
    for sequence in range(6):
        x = 100 + 20.0 * sequence
        seen = [(x, 100.0, 0.9, 0), *([(x, 100.0, 0.89, 1)] if sequence == 2 else [])]
        events += tracker.update(*_inspection(sequence, seen))

    assert events[-1].verdict is Verdict.WARN


def test_network_jitter_is_taken_out_by_the_stream_clock() -> None:
    """Frames that arrive in bursts are matched by the stream's own intervals."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings())
    events = []
    for sequence in range(20):
        inspection = _inspection(sequence, [(100 + 20.0 * sequence, 100.0, 0.5, 0)])
        inspection.frame.pts_s = sequence * PERIOD_S
        inspection.frame.arrived_s = 100 + (sequence // 3 * 3) * PERIOD_S
        events += tracker.update(*inspection)

    assert _phases(events) == [EventPhase.NEW]


def test_what_a_frame_shows_are_also_events_that_do_not_change() -> None:
    """By low scores and as another class too, and not in a frame that misses it."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings(min_hits=2), 0.25)
    shown = []
    for sequence, (score, class_id) in enumerate([(0.9, 0), (0.9, 0), (0.9, 0), (0.1, 1), (None, 0)]):
        seen = [] if score is None else [(100 + 20.0 * sequence, 100.0, score, class_id)]
        tracker.update(*_inspection(sequence, seen))
        shown.append([(event.class_name, round(event.last_seen_s, 3)) for event, _ in tracker.shown()])
    assert shown == [[], [("open", 100.2)], [("open", 100.4)], [("open", 100.6)], []]


def test_tracks_of_a_frame_come_also_before_they_are_events() -> None:
    """Each has its number as long as it is followed; numbers go on where frames get another size."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings(min_hits=2), 0.25)
    found = []
    for sequence in range(3):
        x = 100 + 20.0 * sequence
        tracker.update(*_inspection(sequence, [(x, 100.0, 0.9, 0), *([(300.0, 200.0, 0.2, 1)] if sequence else [])]))
        found.append([(one.number, one.class_name, one.hits, one.xyxy[0]) for one in tracker.tracks()])
    tracker.update(*_inspection(3, []))
    assert tracker.tracks() == []
    tracker.update(*_inspection(4, [(100.0, 100.0, 0.9, 0)], size_wh=(320, 180)))
    found.append([(one.number, one.class_name, one.hits, one.xyxy[0]) for one in tracker.tracks()])

    assert found == [[(1, "open", 1, 92.0)], [(1, "open", 2, 112.0)], [(1, "open", 3, 132.0)], [(2, "open", 1, 92.0)]]


def test_an_event_says_which_boxes_show_it() -> None:
    """A second one of another class on the same spot too, but none of another defect's."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings(min_hits=2), 0.25)
    seen: list[Seen] = [(100, 100, 0.9, 0), (101, 100, 0.3, 1), (300, 100, 0.9, 0)]
    for sequence in range(2):
        tracker.update(*_inspection(sequence, seen))
    shown = [boxes for _, boxes in tracker.shown()]
    assert shown == [((92, 92, 108, 108), (93, 92, 109, 108)), ((292, 92, 308, 108),)]


def test_a_track_has_all_classes_that_it_was_taken_for() -> None:
    """A defect that covers a part and outweighs it is one object with it; one box alone is a mistake."""
    tracker = EventTracker("cam01", CLASSES, StreamSettings(min_hits=2), 0.25)
    found = []
    for sequence in range(3):
        x = 100 + 20.0 * sequence
        tracker.update(*_inspection(sequence, [(x, 100.0, 0.9, 0), (x, 100.0, 0.5, 1)]))
        found += [(one.class_name, one.also) for one in tracker.tracks()]
    assert found == [(CLASSES[0], ()), (CLASSES[0], CLASSES[1:2]), (CLASSES[0], CLASSES[1:2])]
