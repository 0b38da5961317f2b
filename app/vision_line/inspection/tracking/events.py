# SPDX-License-Identifier: AGPL-3.0-or-later
"""Defect events: each physical defect that crosses the view starts one event, which may change, and ends once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from math import inf

import numpy as np

from vision_line.config.models import StreamSettings
from vision_line.frames import (
    Corners,
    DefectEvent,
    Detections,
    EventPhase,
    Frame,
    Observation,
    ShownEvent,
    TrackedObject,
    Verdict,
)
from vision_line.inspection.detection_filter import class_thresholds
from vision_line.inspection.tracking.association import Track
from vision_line.inspection.tracking.candidates import Candidate, CandidatePhase
from vision_line.inspection.tracking.registration import Rect
from vision_line.inspection.tracking.tracker import LOST_AFTER_FRAMES, LOST_AFTER_S, BeltTracker

#: An observation is markedly better than the best one so far when its score is higher by this much. The step bounds
#: the number of updates of an event.
MARKED_RISE = 0.05
#: A larger difference between an interval by the stream's clock and by ours means that the stream's clock jumped.
CLOCK_JUMP_S = 0.5


@dataclass(slots=True)
class _Defect:
    """A track's observations; `scores` are the two best of each class, best first.

    `best` is the best observation since confirmation, and the best of the candidate before that.
    """

    first: Observation
    first_s: float
    first_utc: float
    best: Observation
    last: Observation
    last_s: float
    last_class_id: int
    best_class_id: int = -1
    scores: dict[int, list[float]] = field(default_factory=dict)
    candidate_id: str = ""  # empty where the first frame confirmed it
    event_id: str = ""  # empty until confirmed
    class_id: int = -1  # fixed when confirmed
    verdict: Verdict = Verdict.ACCEPT

    def classes(self, min_hits: int) -> set[int]:
        """Return the classes that it was observed as, more than once where one hit does not confirm it."""
        return {number for number, scores in self.scores.items() if len(scores) >= min(2, min_hits)}


class EventTracker:
    """Turns one camera's inspections into defect events. Pure: time comes with the frames. Used by one thread.

    Hysteresis: a hit is a detection that reaches its class's threshold. Only a hit starts a defect, and `min_hits` hits
    confirm it (phase NEW). After that every detection that passes the filter extends the event, also one below the
    threshold. Missed observations do not end it: it ends (END, once) when the belt must have carried it out of view,
    or when it was not observed for a while. An unconfirmed defect gives no event.

    Verdict: reject when two observations (one, with `min_hits` 1) reach their class's `reject_threshold`, so that a
    single high score rejects nothing. Accept while all scores stay below the class's `warn_threshold`, where there is
    one; otherwise warn. It never falls. A class of `accept_classes` is accepted whatever its scores. The event's own
    class counts, and each other that was observed twice on its spot: a milder class hides no severer one. UPDATE
    reports a higher verdict or a markedly better observation, with its frame. The class is fixed at NEW: the one with
    the highest sum of scores by then.
    """

    def __init__(
        self,
        camera: str,
        classes: Sequence[str],
        settings: StreamSettings,
        default_threshold: float = 0.0,
    ) -> None:
        """Take the thresholds, `min_hits` and regions of `settings`.

        `default_threshold` is the model's own. It matters only where the filter passes lower scores
        (`continue_ratio`); otherwise every detection that passed is a hit.
        """
        self._camera = camera
        self._classes = tuple(classes)
        self._thresholds: list[float] = class_thresholds(classes, settings, default_threshold).tolist()
        self._reject = [_reject_threshold(settings, name) for name in classes]
        self._warn = [_warn_threshold(settings, name) for name in classes]
        self._harmless = {number for number, name in enumerate(classes) if name in settings.accept_classes}
        self._min_hits = settings.min_hits
        self._roi = settings.roi
        self._size_wh = (0, 0)
        self._tracker: BeltTracker | None = None
        self._numbers = count(1)  # of tracks; they go on when frames get another size
        self._defects: dict[int, _Defect] = {}
        self._counter = self._candidates = 0
        #: What became of candidates since somebody last took this list; mostly empty.
        self.candidates: list[Candidate] = []
        self._clock_s = 0.0  # the belt's clock: the stream's own intervals where they can be trusted
        self._captured_s: float | None = None
        self._pts_s: float | None = None
        self._dwell_s = settings.dwell_s
        self._interval_s = 0.0  # between the last two inspected frames
        self._period_s: float | None = None  # how far apart they are, None: not known yet
        self._observed: list[tuple[Track, int]] = []  # rows of the last update's detections
        self._detections = Detections.empty()

    def update(self, frame: Frame, detections: Detections) -> list[DefectEvent]:
        """Return the events that one inspected frame starts, changes or ends.

        `detections` have passed the camera's `DetectionFilter`. Frames come in the order of their arrival.
        """
        self._advance(frame)
        self._observed, self._detections = [], detections
        if not self._defects and not detections.score.size:
            return []
        tracker, events = self._tracker_for(frame.size_wh)
        tracker.lost_after_s = self._lost_after_s
        boxes, scores, numbers = detections.xyxy.tolist(), detections.score.tolist(), detections.class_id.tolist()
        is_hit = [score >= self._thresholds[number] for score, number in zip(scores, numbers, strict=True)]
        step = tracker.update(detections, is_hit, self._clock_s)
        self._observed = step.observed + step.duplicate_hits
        for track, row in self._observed:
            box = tuple(boxes[row])
            seen = Observation(frame.sequence, scores[row], box, detections.outline(row), detections.mask(row))
            self._observe(track, seen, numbers[row], frame)
        events += self._changes(step.observed)
        return events + self._end(step.ended)

    def shown(self) -> list[ShownEvent]:
        """Return the events that the frame of the last update shows, each as it is now, changed or not."""
        boxes: dict[int, list[Corners]] = {}
        for track, row in self._observed:
            x1, y1, x2, y2 = self._detections.xyxy[row].tolist()
            boxes.setdefault(track.number, []).append((x1, y1, x2, y2))
        tracks = self._seen()
        return [
            ShownEvent(self._event(EventPhase.UPDATE, tracks[number], defect), tuple(own))
            for number, own in boxes.items()
            if (defect := self._defects.get(number)) is not None and defect.event_id
        ]

    def tracks(self) -> list[TrackedObject]:
        """Return the objects that the frame of the last update shows, also those that are no event, or none yet."""
        return [
            TrackedObject(
                number=track.number,
                class_name=self._classes[track.class_id],
                hits=track.hits,
                score=defect.last.score,
                xyxy=defect.last.xyxy,
                outline=defect.last.outline,
                mask=defect.last.mask,
                also=tuple(self._classes[number] for number in defect.classes(self._min_hits) - {track.class_id}),
            )
            for track in self._seen().values()
            if (defect := self._defects.get(track.number)) is not None
        ]

    def _seen(self) -> dict[int, Track]:
        return {track.number: track for track, _ in self._observed}

    def expire(self, now_s: float) -> list[DefectEvent]:
        """Return the END of each event whose defect was not observed for too long; works without new frames.

        `now_s` is monotonic, as `Frame.captured_s`.
        """
        if not self._defects or self._tracker is None or self._captured_s is None:
            return []
        return self._end(self._tracker.expire(self._clock_s + max(0.0, now_s - self._captured_s)))

    def close(self) -> list[DefectEvent]:
        """Return the END of every open event; the camera is no longer inspected."""
        return [] if self._tracker is None else self._end(self._tracker.close())

    def _advance(self, frame: Frame) -> None:
        captured_s = frame.captured_s
        captured_dt_s = 0.0 if self._captured_s is None else max(0.0, captured_s - self._captured_s)
        dt_s = captured_dt_s
        if frame.pts_s is not None and self._pts_s is not None:
            # The network delays packets unevenly; the stream's own clock says when the frames were taken.
            pts_dt_s = frame.pts_s - self._pts_s
            if pts_dt_s > 0 and abs(pts_dt_s - captured_dt_s) <= CLOCK_JUMP_S:
                dt_s = pts_dt_s
        self._clock_s += dt_s
        if self._captured_s is not None:
            self._learn_period(dt_s)
        self._captured_s = captured_s
        self._pts_s = frame.pts_s

    def _learn_period(self, interval_s: float) -> None:
        """Learn how far apart inspected frames are, also while nothing is seen in them; one gap is none of it."""
        usual_s = min(interval_s, self._interval_s) if self._interval_s else interval_s
        self._interval_s = interval_s
        self._period_s = usual_s if self._period_s is None else self._period_s + 0.2 * (usual_s - self._period_s)

    @property
    def _lost_after_s(self) -> float:
        """How long a defect may be unseen between two frames: as long as a part stays, where nobody knows better."""
        return max(LOST_AFTER_S, self._dwell_s if self._period_s is None else LOST_AFTER_FRAMES * self._period_s)

    def _tracker_for(self, size_wh: tuple[int, int]) -> tuple[BeltTracker, list[DefectEvent]]:
        """Return the tracker for frames of this size; a new size ends all open events and starts a new tracker."""
        if self._tracker is not None and size_wh == self._size_wh:
            return self._tracker, []
        ended = [] if self._tracker is None else self._end(self._tracker.close())
        self._size_wh = size_wh
        self._tracker = BeltTracker(_visible(self._roi, size_wh), size_wh, self._min_hits, self._numbers)
        return self._tracker, ended

    def _observe(self, track: Track, observation: Observation, class_id: int, frame: Frame) -> None:
        defect, at_s = self._defects.get(track.number), frame.captured_s
        if defect is None:
            defect = _Defect(
                first=observation,
                first_s=at_s,
                first_utc=frame.captured_utc,
                best=observation,
                last=observation,
                last_s=at_s,
                last_class_id=class_id,
            )
            self._defects[track.number] = defect
        best = defect.scores.setdefault(class_id, [])
        best.append(observation.score)
        best.sort(reverse=True)
        del best[2:]
        own = defect.class_id if defect.event_id else track.class_id
        if class_id == own or defect.last.sequence != frame.sequence:
            defect.last, defect.last_class_id = observation, class_id
        defect.last_s = max(defect.last_s, at_s)

    def _changes(self, observed: Iterable[tuple[Track, int]]) -> list[DefectEvent]:
        events = []
        for track, _ in observed:
            defect = self._defects[track.number]
            if not defect.event_id:
                if track.hits < self._min_hits:
                    self._follow(track, defect)
                    continue
                if defect.candidate_id:
                    self._report(CandidatePhase.CONFIRMED, track, defect)
                self._confirm(track, defect)
                events.append(self._event(EventPhase.NEW, track, defect))
            elif self._refresh(defect):
                events.append(self._event(EventPhase.UPDATE, track, defect))
        return events

    def _follow(self, track: Track, defect: _Defect) -> None:
        """Report a candidate that is new, or was observed markedly better."""
        if not defect.candidate_id:
            self._candidates += 1
            defect.candidate_id = f"{_stamp(defect.first_utc)}-{self._camera}-n{self._candidates:06d}"
        elif defect.last.score < defect.best.score + MARKED_RISE:
            return
        defect.best, defect.best_class_id = defect.last, defect.last_class_id
        self._report(CandidatePhase.SEEN, track, defect)

    def _report(self, phase: CandidatePhase, track: Track, defect: _Defect) -> None:
        self.candidates.append(
            Candidate(
                near_miss_id=defect.candidate_id,
                phase=phase,
                camera=self._camera,
                class_name=self._classes[defect.best_class_id],
                best=defect.best,
                hits=track.hits,
                size_wh=self._size_wh,
                first_seen_s=defect.first_s,
                first_seen_utc=defect.first_utc,
                last_seen_s=defect.last_s,
                last_seen_utc=defect.first_utc + (defect.last_s - defect.first_s),
            )
        )

    def _confirm(self, track: Track, defect: _Defect) -> None:
        self._counter += 1
        defect.event_id = f"{_stamp(defect.first_utc)}-{self._camera}-{self._counter:06d}"
        defect.class_id = self._class_of(track, defect)
        defect.verdict = self._verdict_of(defect)
        defect.best, defect.best_class_id = defect.last, defect.last_class_id

    def _class_of(self, track: Track, defect: _Defect) -> int:
        """Return the class by votes; what is no defect does not hide one that was observed twice on its spot."""
        if track.class_id not in self._harmless:
            return track.class_id
        others = [each for each, scores in defect.scores.items() if each not in self._harmless and len(scores) > 1]
        return max(others, key=lambda each: track.class_votes.get(each, 0.0), default=track.class_id)

    def _refresh(self, defect: _Defect) -> bool:
        verdict = self._verdict_of(defect)
        risen = verdict is not defect.verdict
        defect.verdict = verdict
        if better := _is_better(defect):
            defect.best, defect.best_class_id = defect.last, defect.last_class_id
        return risen or better

    def _verdict_of(self, defect: _Defect) -> Verdict:
        if defect.verdict is Verdict.REJECT:
            return Verdict.REJECT
        needed = min(2, self._min_hits)
        counted = {
            each: scores
            for each, scores in defect.scores.items()
            if each == defect.class_id or (len(scores) >= needed and each not in self._harmless)
        }
        if any(len(scores) >= needed and scores[needed - 1] >= self._reject[each] for each, scores in counted.items()):
            return Verdict.REJECT
        return (
            Verdict.WARN if any(scores[0] >= self._warn[each] for each, scores in counted.items()) else defect.verdict
        )

    def _end(self, tracks: Iterable[Track]) -> list[DefectEvent]:
        events = []
        for track in tracks:
            defect = self._defects.pop(track.number)
            if defect.event_id:
                events.append(self._event(EventPhase.END, track, defect))
            else:
                self._report(CandidatePhase.MISSED, track, defect)
        return events

    def _event(self, phase: EventPhase, track: Track, defect: _Defect) -> DefectEvent:
        return DefectEvent(
            event_id=defect.event_id,
            phase=phase,
            camera=self._camera,
            class_id=defect.class_id,
            class_name=self._classes[defect.class_id],
            verdict=defect.verdict,
            score=defect.best.score,
            top_score=defect.scores[defect.class_id][0],
            xyxy=defect.best.xyxy,
            outline=defect.best.outline,
            mask=defect.best.mask,
            sequence=defect.best.sequence,
            hits=track.hits,
            first_seen_s=defect.first_s,
            first_seen_utc=defect.first_utc,
            last_seen_s=defect.last_s,
            # By the clock of the first observation: setting it back must not put the end before the start.
            last_seen_utc=defect.first_utc + (defect.last_s - defect.first_s),
            first=defect.first,
            last=defect.last,
        )


def _stamp(utc: float) -> str:
    moment = datetime.fromtimestamp(utc, UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z"


def _is_better(defect: _Defect) -> bool:
    """Whether the latest observation is markedly better than the best one, or the first of the confirmed class."""
    if defect.last_class_id != defect.class_id:
        return False
    return defect.best_class_id != defect.class_id or defect.last.score >= defect.best.score + MARKED_RISE


def _reject_threshold(settings: StreamSettings, name: str) -> float:
    """Return the score from which an event of the class is a reject, infinite for what is no defect."""
    if name in settings.accept_classes:
        return inf
    return settings.reject_thresholds.get(name, settings.reject_threshold)


def _warn_threshold(settings: StreamSettings, name: str) -> float:
    """Return the score from which an event of the class warns: 0 for always, at most its reject threshold."""
    if name in settings.accept_classes:
        return inf
    warn = settings.warn_thresholds.get(name, settings.warn_threshold)
    return 0.0 if warn is None else min(warn, _reject_threshold(settings, name))


def _visible(roi: Sequence[Sequence[Sequence[float]]], size_wh: tuple[int, int]) -> Rect:
    """Return the part of the frame, in pixels, in which detections can be: defects enter and leave at its edges."""
    if not roi:
        return 0.0, 0.0, float(size_wh[0]), float(size_wh[1])
    corners = np.array([corner for polygon in roi for corner in polygon], np.float64) * np.asarray(size_wh)
    left, top = corners.min(axis=0).tolist()
    right, bottom = corners.max(axis=0).tolist()
    return left, top, right, bottom
