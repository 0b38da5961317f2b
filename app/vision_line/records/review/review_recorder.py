# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keeps what people review: called for every inspected frame, in the scheduler's thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from vision_line.config.models import ReviewSettings
from vision_line.frames import Frame, Inspection
from vision_line.inspection.tracking.candidates import Candidate, CandidatePhase
from vision_line.records.entries import (
    AuditEntry,
    CameraLabels,
    ConfigurationEntry,
    Entry,
    NearMissEntry,
    without_frame_data,
)
from vision_line.records.file_tables import AUDITS, NEAR_MISSES
from vision_line.records.journal import OF_ITS_RUN
from vision_line.records.review.candidate_frames import TOO_MANY, CandidateFrames
from vision_line.records.review.draw import AuditDraw, AuditRate
from vision_line.records.review.held_frames import HeldFrame, HeldFrames
from vision_line.records.review.images import ReviewImage, ReviewImages

#: The journal's keys of cameras' probabilities begin so.
AUDIT_KEY = OF_ITS_RUN

_OFF = ReviewSettings(audit_per_hour=0, near_misses=False)


class ReviewRecorder:
    """Draws audits and keeps near misses; off until `apply` says otherwise.

    `inspected` and `ended` are called by the scheduler's thread, the others by the run's owner.
    """

    def __init__(
        self,
        run_id: str,
        images: ReviewImages,
        record: Callable[[Entry], None],
        labels: Callable[[str], CameraLabels],
    ) -> None:
        """`record` takes rows, and what the journal gets of probabilities; `labels` are a camera's now."""
        self._run_id = run_id
        self._images = images
        self._record = record
        self._labels = labels
        self._settings = _OFF
        self._draws: dict[str, AuditDraw] = {}
        self._frames = HeldFrames()
        self._candidates = CandidateFrames(run_id)

    def apply(self, settings: ReviewSettings | None) -> None:
        """Review by these settings from the next frame on; None: not at all."""
        if settings is not None:
            self._images.apply(settings)
        self._settings = settings or _OFF

    def close(self, timeout_s: float) -> None:
        """Write the images that wait, for at most `timeout_s`."""
        self._images.close(timeout_s)

    @property
    def held_bytes(self) -> int:
        """Memory of the frames that are held for it now."""
        return self._frames.held_bytes

    def inspected(self, inspection: Inspection, candidates: Sequence[Candidate]) -> None:
        """Draw an inspected frame, and follow the candidates that it changed. Never waits.

        Raises:
            RunError: the log takes no rows.
        """
        settings, frame = self._settings, inspection.frame
        if settings.audit_per_hour or self._draws:
            self._draw(inspection, settings.audit_per_hour)
        if candidates:
            self._follow(candidates, settings, _Once(lambda: self._hold(frame)))

    def ended(self, candidates: Sequence[Candidate]) -> None:
        """Take candidates that ended without a frame: at the end of a camera or of the run, or by time.

        Raises:
            RunError: the log takes no rows.
        """
        self._follow(candidates, self._settings, lambda: None)

    def _draw(self, inspection: Inspection, per_hour: float) -> None:
        frame = inspection.frame
        draw = self._draws.get(frame.camera)
        if draw is None:
            draw = self._draws[frame.camera] = AuditDraw(self._run_id, frame.camera)
        if frame.arrived_s >= draw.due_s or draw.rate.per_hour != per_hour:
            rate = draw.fix(per_hour, frame.sequence, frame.arrived_s)
            if rate is not None:
                self._record(_said(frame.camera, rate))
        if draw.takes(frame.sequence, frame.arrived_s):
            self._audit(inspection, draw.rate.probability)

    def _audit(self, inspection: Inspection, probability: float) -> None:
        frame = inspection.frame
        image = ReviewImage(
            table=AUDITS,
            key=(frame.camera, frame.sequence),
            stem=f"audit-{frame.sequence}",
            camera=frame.camera,
            seen_utc=frame.arrived_utc,
            offset_s=frame.arrived_utc - frame.arrived_s,
            entry=partial(AuditEntry, without_frame_data(inspection), self._labels(frame.camera), probability),
        )
        self._hand_over(image, self._hold(frame), TOO_MANY)

    def _follow(
        self, candidates: Sequence[Candidate], settings: ReviewSettings, hold: Callable[[], HeldFrame | None]
    ) -> None:
        for candidate in candidates:
            if candidate.phase is not CandidatePhase.SEEN:
                kept = self._candidates.take(candidate)
                if candidate.phase is CandidatePhase.MISSED and settings.near_misses:
                    image = _near_miss_image(candidate, self._labels(candidate.camera), kept.probability)
                    self._hand_over(image, kept.held, kept.missing)
            elif settings.near_misses:
                self._candidates.seen(candidate, settings.near_miss_share, hold)

    def _hand_over(self, image: ReviewImage, held: HeldFrame | None, missing: str) -> None:
        if held is None:
            self._images.miss(image, missing)
        else:
            self._images.offer(image, held)

    def _hold(self, frame: Frame) -> HeldFrame | None:
        """Return `frame` to be kept, None where too many are."""
        held = self._frames.hold(frame)
        if held is not None and held.is_on_device and not self._images.bring_in(held):
            return None
        return held


class _Once:
    """A frame that several candidates share: made when the first one wants it."""

    def __init__(self, hold: Callable[[], HeldFrame | None]) -> None:
        self._hold = hold
        self._held: HeldFrame | None = None
        self._asked = False

    def __call__(self) -> HeldFrame | None:
        if not self._asked:
            self._held, self._asked = self._hold(), True
        return self._held


def _near_miss_image(candidate: Candidate, labels: CameraLabels, probability: float) -> ReviewImage:
    return ReviewImage(
        table=NEAR_MISSES,
        key=(candidate.near_miss_id,),
        stem=candidate.near_miss_id,
        camera=candidate.camera,
        seen_utc=candidate.first_seen_utc,
        offset_s=candidate.first_seen_utc - candidate.first_seen_s,
        entry=partial(NearMissEntry, candidate, labels, probability),
    )


def _said(camera: str, rate: AuditRate) -> ConfigurationEntry:
    """Return what the journal gets: the probability is there before any frame that was drawn with it."""
    key = f"{AUDIT_KEY}{camera}"
    said = {
        "probability": rate.probability,
        "per_hour": rate.per_hour,
        "inspected_per_s": rate.inspected_per_s,
        "since_sequence": rate.since_sequence,
    }
    return ConfigurationEntry("review", {key: said}, None, {})
