# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tracks that are no event yet: told once each when they are seen better, and what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import make_frame, scored_detections

from vision_line.config.models import StreamSettings
from vision_line.frames import EventPhase
from vision_line.inspection.tracking.candidates import Candidate, CandidatePhase
from vision_line.inspection.tracking.events import EventTracker

CLASSES = ("open", "short")
UTC = 1_767_225_600.0

Score = float | None


def _tracker(**settings: object) -> EventTracker:
    return EventTracker("cam01", CLASSES, StreamSettings.model_validate(settings), 0.25)


def _show(tracker: EventTracker, scores: Sequence[Score], first: int = 0, class_id: int = 0) -> list[Candidate]:
    """Show a defect on a belt of 100 px/s with these scores, None where it is not found; return what is reported."""
    reported: list[Candidate] = []
    for sequence, score in enumerate(scores, first):
        at_s = 100 + sequence * 0.2
        x = 100 + 20.0 * sequence
        rows = [] if score is None else [(x - 8, 92, x + 8, 108, score, class_id)]
        tracker.update(make_frame(sequence=sequence, at_s=at_s, at_utc=UTC + at_s), scored_detections(*rows))
        reported += tracker.candidates
        tracker.candidates = []
    return reported


def _phases(reported: Sequence[Candidate]) -> list[str]:
    return [str(candidate.phase) for candidate in reported]


def test_a_track_that_never_becomes_an_event_is_a_near_miss() -> None:
    """Seen twice, then no more: its best observation, with its frame's number, box and times."""
    reported = _show(_tracker(), [0.3, 0.6, *[None] * 4])

    assert _phases(reported) == ["seen", "seen", "missed"]
    missed = reported[-1]
    assert (missed.class_name, missed.hits, missed.best.sequence, missed.size_wh) == ("open", 2, 1, (640, 360))
    assert missed.best.score == pytest.approx(0.6)
    assert missed.best.xyxy == (112, 92, 128, 108)
    assert (missed.first_seen_s, missed.last_seen_s) == pytest.approx((100.0, 100.2))
    assert missed.near_miss_id == "20260101T000140.000Z-cam01-n000001"
    assert {candidate.near_miss_id for candidate in reported} == {missed.near_miss_id}


def test_only_a_markedly_better_observation_is_reported_again() -> None:
    """Each report means a copy of a frame."""
    reported = _show(_tracker(min_hits=9), [0.3, 0.34, 0.36, 0.38, 0.2])

    assert [(candidate.best.sequence, str(candidate.phase)) for candidate in reported] == [(0, "seen"), (2, "seen")]


def test_an_event_lets_its_candidate_go() -> None:
    """Confirmed with the frame that makes it an event; its end is no near miss."""
    tracker = _tracker()
    reported = _show(tracker, [0.3, 0.3, 0.5, *[None] * 20, *[None] * 20])

    assert _phases(reported) == ["seen", "confirmed"]
    assert [event.phase for event in tracker.close()] == []
    assert not tracker.candidates


def test_one_hit_suffices_so_nothing_is_ever_a_candidate() -> None:
    """With `min_hits` 1 the first observation is an event."""
    tracker = _tracker(min_hits=1)

    assert not _show(tracker, [0.3, 0.4, None, None, None, None, 0.9])
    assert [event.phase for event in tracker.close()] != []
    assert not tracker.candidates


def test_what_the_end_of_inspection_cuts_off_is_a_near_miss() -> None:
    """Of a camera that is removed, of a run, and of frames of another size: it never became an event."""
    tracker = _tracker()
    _show(tracker, [0.3, 0.4])
    tracker.close()
    assert _phases(tracker.candidates) == ["missed"]

    tracker = _tracker()
    _show(tracker, [0.3])
    tracker.update(make_frame(sequence=9, size_wh=(320, 180), at_s=101.8), scored_detections((1, 1, 9, 9, 0.9, 0)))
    assert [(str(one.phase), one.size_wh) for one in tracker.candidates] == [
        ("missed", (640, 360)),
        ("seen", (320, 180)),
    ]


def test_a_candidate_ends_without_frames_too() -> None:
    """By time."""
    tracker = _tracker()
    _show(tracker, [0.3])
    tracker.expire(104.0)
    assert not tracker.candidates
    tracker.expire(109.0)
    assert _phases(tracker.candidates) == ["missed"]


def test_frames_without_a_track_report_nothing() -> None:
    """The same empty list all the time: whoever asks pays a test of it."""
    tracker = _tracker()
    before = tracker.candidates

    assert not _show(tracker, [None] * 50)
    assert tracker.candidates == before == []


@settings(deadline=None, max_examples=150)
@given(
    scores=st.lists(st.one_of(st.none(), st.floats(0.16, 0.99)), min_size=1, max_size=60),
    min_hits=st.integers(1, 4),
)
def test_each_candidate_has_one_end(scores: list[Score], min_hits: int) -> None:
    """SEEN first, then CONFIRMED or MISSED once; as many are confirmed as events begin that were candidates."""
    tracker = _tracker(min_hits=min_hits)
    reported, begun = [], 0
    for sequence, score in enumerate(scores):
        at_s, x = 100 + sequence * 0.2, 100 + (20.0 * sequence) % 500
        rows = [] if score is None else [(x - 8, 92, x + 8, 108, score, 0)]
        events = tracker.update(make_frame(sequence=sequence, at_s=at_s), scored_detections(*rows))
        begun += sum(event.phase is EventPhase.NEW for event in events)
        reported += tracker.candidates
        tracker.candidates = []
    tracker.close()
    reported += tracker.candidates

    last: dict[str, CandidatePhase] = {}
    for candidate in reported:
        assert last.get(candidate.near_miss_id) in {None, CandidatePhase.SEEN}
        assert (candidate.near_miss_id in last) or candidate.phase is CandidatePhase.SEEN
        assert candidate.hits < min_hits or candidate.phase is CandidatePhase.CONFIRMED
        last[candidate.near_miss_id] = candidate.phase
    ends = Counter(last.values())
    assert ends[CandidatePhase.SEEN] == 0
    assert ends[CandidatePhase.CONFIRMED] == (begun if min_hits > 1 else 0)
