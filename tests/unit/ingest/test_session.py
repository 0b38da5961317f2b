# SPDX-License-Identifier: AGPL-3.0-or-later
"""A connection to a camera: what should never come from a source ends it loudly, with every frame counted."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Iterator
from itertools import count

import av
import pytest
from pydantic import SecretStr
from tests.fakes.waiting import wait_for
from tests.unit.ingest.session_runs import CLOSED, FRAMES, PERIOD, encoded, flush, run_session, sent, unopened

from vision_line.config.models import Stream
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.encoded import EncodedFrame, joined_taps
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.frames import DropCause
from vision_line.ingest import session as sessions
from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.fingerprint import fingerprint_frame
from vision_line.ingest.frame_sink import FrameSink
from vision_line.ingest.health import Health, HealthMonitor
from vision_line.ingest.mailbox import NewestFrame
from vision_line.ingest.session import Session, open_health
from vision_line.ingest.shedding import DecodeLoad


class OneFrame:
    """A source of one keyframe that belongs to no video."""

    def __iter__(self) -> Iterator[EncodedFrame]:
        """Yield it."""
        yield EncodedFrame(av.Packet(b"frame"), None, True, time.monotonic(), time.time())

    def close(self) -> None:
        """Do nothing."""


class WholeAndDamaged(OneFrame):
    """A source of a damaged frame and a whole one."""

    def __iter__(self) -> Iterator[EncodedFrame]:
        """Yield them."""
        yield EncodedFrame(av.Packet(b"torn"), None, True, time.monotonic(), time.time(), damaged=True)
        yield from super().__iter__()


class Tap:
    """Remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bool]] = []

    def saw(self, encoded: EncodedFrame) -> None:
        """Remember the frame's bytes, and whether it is damaged."""
        self.seen.append((bytes(encoded.packet or b""), encoded.damaged))


def run_to_end(source: OneFrame, mailbox: NewestFrame, tap: Tap | None, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Run a session on `source`."""
    monkeypatch.setattr(sessions, "open_source", lambda *_: source)
    stream = Stream(name="cam1", url=SecretStr("file:/boards.mp4"))
    session = Session(
        stream=stream,
        open_decoder=CpuDecoder,
        sink=FrameSink(mailbox, count()),
        changed=lambda: None,
        clocks=Clocks(),
        health=open_health(stream),
        take_fingerprint=fingerprint_frame,
        load=DecodeLoad(),
        tap=tap,
    )
    session.start()
    wait_for(lambda: not session.is_running, "it has ended")
    session.sink.detach(DropCause.SHUTDOWN)
    return session


def test_the_tap_sees_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what is damaged or cannot be decoded: it was sent all the same."""
    tap = Tap()
    run_to_end(WholeAndDamaged(), NewestFrame(lambda: None), tap, monkeypatch)
    assert tap.seen == [(b"torn", True), (b"frame", False)]


def test_a_frame_without_its_video_is_an_error_and_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding it as another video's would be wrong in silence."""
    mailbox = NewestFrame(lambda: None)
    session = run_to_end(OneFrame(), mailbox, None, monkeypatch)

    assert not session._intake._kept
    assert not session._intake._held
    assert session.end is not None
    assert session.end.error is not None
    assert session.end.error.code is SourceErrorCode.INTERNAL
    counts = mailbox.counts()
    assert (counts.arrived, sum(counts.dropped.values())) == (1, 1)


class Video:
    """A video of which one can see whether anybody holds it."""

    type = "video"

    def __init__(self, codec_context: av.VideoCodecContext) -> None:
        self.codec_context = codec_context


class Lost(OneFrame):
    """A source that is lost after some frames."""

    def __init__(self, frames: list[EncodedFrame]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[EncodedFrame]:
        """Yield them."""
        yield from self._frames
        try:
            raise ConnectionResetError
        except OSError as exc:
            raise SourceError("cam1", SourceErrorCode.ENDED, "it is gone") from exc


def test_a_lost_connection_holds_no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is remembered until the next one ends: a decoder of 640 x 360 beside each camera's own is 3 MB."""
    sent_video, packets = sent(CLOSED)
    video = Video(unopened(sent_video).codec_context)
    held, mailbox = weakref.ref(video), NewestFrame(lambda: None)
    source = Lost([encoded(packet, video) for packet in packets[:PERIOD]])
    del video
    gc.disable()  # nobody knows when it comes by: what was there at a run's start is never looked at again
    try:
        session = run_to_end(source, mailbox, None, monkeypatch)
        monkeypatch.undo()
        del source
        assert held() is None
    finally:
        gc.enable()
    assert session.end is not None
    assert session.end.error is not None
    assert (session.end.error.code, session.end.error.detail) == (SourceErrorCode.ENDED, "it is gone")
    assert mailbox.counts().decoded > 0


def test_who_is_called_for_the_first_frame_finds_it_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's start asks the first frames for their sizes: without them it opens the model at all usual shapes."""
    video, packets = sent(CLOSED)
    run = run_session([*(encoded(packet, video) for packet in packets), flush(video)], monkeypatch)

    assert run.shown_when_called == [0, 1, FRAMES]  # it is open; the first frame; the end


@pytest.mark.parametrize("is_frozen_still", [True, False])
def test_the_first_frame_after_a_connection_was_lost_is_checked(
    monkeypatch: pytest.MonkeyPatch, *, is_frozen_still: bool
) -> None:
    """However soon it comes: of a camera that is frozen still nothing is inspected, of another scene everything."""
    video, packets = sent(f"{CLOSED}:bframes=0")
    frames = [encoded(packet, video) for packet in packets]
    decoder = CpuDecoder("cam1", unopened(video))
    images = [decoded.data for packet in packets for decoded in decoder.decode(packet)]
    before = fingerprint_frame(images[0 if is_frozen_still else PERIOD])
    assert before is not None
    health, now_s = HealthMonitor(1.0, may_stand_still=False), time.monotonic()
    health.update(now_s - 2.0, before, keyframe=True)
    assert health.update(now_s, before, keyframe=True) is Health.FROZEN

    run = run_session(frames[:PERIOD], monkeypatch, health=health)

    assert (len(run.shown), run.dropped[DropCause.FROZEN]) == ((0, PERIOD) if is_frozen_still else (PERIOD, 0))


def test_several_taps_see_the_same() -> None:
    """One after the other; where there is none, nothing is called."""
    one, other = Tap(), Tap()
    joined = joined_taps(one, None, other)
    assert joined is not None
    joined.saw(EncodedFrame(av.Packet(b"frame"), None, True, 0.0, 0.0))
    assert one.seen == other.seen == [(b"frame", False)]
    assert joined_taps(None, one) is one
    assert joined_taps(None) is None
