# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images that wait have pixels of their own: a decoder's frames go back to it."""

from __future__ import annotations

import av
import numpy as np
import pytest
from tests.builders import make_detections, make_frame

from vision_line.frames import DefectEvent, EventPhase, Frame, Verdict
from vision_line.records.annotate import bgr_of
from vision_line.records.frame_copy import own_copy
from vision_line.records.pending_evidence import PendingEvidenceQueue

WIDTH, HEIGHT = 62, 34  # of no size that memory is aligned to


def decoded(pixels: str, seed: int = 0, sequence: int = 0) -> Frame:
    """Return a frame of noise in a format that decoders give."""
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    data = av.VideoFrame.from_ndarray(noise, "rgb24").reformat(format=pixels)
    return make_frame(sequence=sequence, size_wh=(WIDTH, HEIGHT), data=data)


def event(phase: EventPhase, sequence: int, event_id: str = "a") -> DefectEvent:
    return DefectEvent(
        *(event_id, phase, "cam01", 0, "open", Verdict.REJECT, 0.9, 0.95, (1.0, 1.0, 9.0, 9.0), sequence, 3),
        *(1.0, 100.0, 2.0, 101.0),
    )


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj422p", "yuv444p", "nv12", "gray", "rgb24", "yuv420p10le", "rgba"])
def test_a_copy_shows_the_same_and_is_its_own(pixels: str) -> None:
    """Whatever happens to the decoder's memory afterwards."""
    frame = decoded(pixels)
    expected = bgr_of(frame)

    copy = own_copy(frame)
    for plane in frame.data.planes:
        plane.update(bytes(plane.buffer_size))

    assert copy.data.format.name == pixels
    assert (copy.sequence, copy.size_wh, copy.colour) == (frame.sequence, frame.size_wh, frame.colour)
    assert np.array_equal(bgr_of(copy), expected)
    assert not np.array_equal(bgr_of(frame), expected)


@pytest.mark.parametrize("data", [np.zeros((HEIGHT, WIDTH, 3), np.uint8), av.VideoFrame(WIDTH, HEIGHT, "pal8")])
def test_what_is_no_decoders_stays_as_it_is(data: object) -> None:
    """Arrays belong to nobody else, and palettes are those of still images."""
    frame = make_frame(data=data)

    assert own_copy(frame) is frame


def test_nothing_of_a_decoder_waits() -> None:
    """Neither a new event's frame nor a better one; events of one frame share the copy."""
    queue = PendingEvidenceQueue()
    first, better = decoded("yuv420p", 1, sequence=5), decoded("yuv420p", 2, sequence=6)
    found = make_detections((1.0, 1.0, 9.0, 9.0))

    queue.offer(first, found, [event(EventPhase.NEW, 5), event(EventPhase.NEW, 5, "b")])
    one, other = queue.left()
    assert one.frame.data is other.frame.data is not first.data

    queue.offer(better, found, [event(EventPhase.UPDATE, 6)])
    assert one.frame.data is not better.data
    assert np.array_equal(bgr_of(one.frame), bgr_of(better))
    assert np.array_equal(bgr_of(other.frame), bgr_of(first))


def test_a_frame_that_nothing_waits_for_is_not_copied() -> None:
    """Most changes of events bring no better observation."""
    queue = PendingEvidenceQueue()
    first, later = decoded("yuv420p", 1, sequence=5), decoded("yuv420p", 2, sequence=6)
    queue.offer(first, make_detections((1.0, 1.0, 9.0, 9.0)), [event(EventPhase.NEW, 5)])
    (waiting,) = queue.left()
    kept = waiting.frame

    queue.offer(later, make_detections((1.0, 1.0, 9.0, 9.0)), [event(EventPhase.UPDATE, 5)])

    assert waiting.frame is kept
