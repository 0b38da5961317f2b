# SPDX-License-Identifier: AGPL-3.0-or-later
"""A connection to a camera: what should never come from a source ends it loudly, with every frame counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count

import av
import pytest
from pydantic import SecretStr

from vision_line.config.models import Stream
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.errors import SourceErrorCode
from vision_line.frames import DropCause
from vision_line.ingest import session as sessions
from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.fingerprint import fingerprint_frame
from vision_line.ingest.frame_sink import FrameSink
from vision_line.ingest.mailbox import NewestFrame
from vision_line.ingest.session import Session, open_health
from vision_line.ingest.shedding import DecodeLoad
from vision_line.ingest.source import EncodedFrame


class OneFrame:
    """A source of one keyframe that belongs to no video."""

    def __iter__(self) -> Iterator[EncodedFrame]:
        """Yield it."""
        yield EncodedFrame(av.Packet(b"frame"), None, True, time.monotonic(), time.time())

    def close(self) -> None:
        """Do nothing."""


def test_a_frame_without_its_video_is_an_error_and_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding it as another video's would be wrong in silence."""
    monkeypatch.setattr(sessions, "open_source", lambda *_: OneFrame())
    stream, mailbox = Stream(name="cam1", url=SecretStr("file:/boards.mp4")), NewestFrame(lambda: None)
    session = Session(
        stream=stream,
        open_decoder=CpuDecoder,
        sink=FrameSink(mailbox, count()),
        changed=lambda: None,
        clocks=Clocks(),
        health=open_health(stream),
        take_fingerprint=fingerprint_frame,
        load=DecodeLoad(),
    )
    session.start()
    deadline = time.monotonic() + 10
    while session.is_running and time.monotonic() < deadline:
        time.sleep(0.005)
    session.sink.detach(DropCause.SHUTDOWN)

    assert not session._intake._kept
    assert not session._intake._held
    assert session.end is not None
    assert session.end.error is not None
    assert session.end.error.code is SourceErrorCode.INTERNAL
    counts = mailbox.counts()
    assert (counts.arrived, sum(counts.dropped.values())) == (1, 1)
