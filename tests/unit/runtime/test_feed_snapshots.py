# SPDX-License-Identifier: AGPL-3.0-or-later
"""The run's state for the feed: plain, documented, and without a password."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from vision_line.config.models import Stream
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.feed.protocol import FROM_RUN, Unpacker, packed
from vision_line.frames import CameraState, StateChange
from vision_line.ingest.mailbox import MailboxCounts
from vision_line.ports import DeviceDescription, FeedStatus, LogStatus
from vision_line.runtime.feed_snapshots import snapshot_document
from vision_line.telemetry.camera_metrics import CameraCounters
from vision_line.telemetry.metrics import ModelFacts, RunFacts, RunMetrics

PAGE = (Path(__file__).parents[3] / "docs" / "feed.md").read_text(encoding="utf-8")
#: No part of anything else in a message.
PASSWORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=6, max_size=20).filter(
    lambda text: text.strip() == text and len(set(text)) > 3
)


def make_metrics() -> RunMetrics:
    device = DeviceDescription("cpu", "", "int8", (), 1, 1)
    return RunMetrics(RunFacts("0.1", device, ModelFacts("pcb", "ab", "int8", ()), 0.0, 5e8))


def troubled_run(stream: Stream) -> RunMetrics:
    """Return a run whose camera cannot be opened, as its threads report it: with the URL that they were given."""
    run = make_metrics()
    run.add_camera(stream.name, CameraCounters(MailboxCounts))
    said = f"opening {stream.url.get_secret_value()}: refused"
    error = SourceError(stream.name, SourceErrorCode.REFUSED, said)
    run.state(StateChange(stream.name, CameraState.RECONNECTING, 1.0, 5e8, error.code, error.detail))
    return run


@given(PASSWORDS)
def test_no_password_is_in_a_snapshot(password: str) -> None:
    """Whatever it is made of, as it is typed and as it stands in a URL."""
    stream = Stream(name="cam01", url=SecretStr(f"rtsp://user:{quote(password, safe='')}@127.0.0.1/x"))
    document = snapshot_document(troubled_run(stream).snapshot(2.0, 5e8 + 2, LogStatus()))
    (message,) = Unpacker(FROM_RUN).push(packed({"kind": "snapshot", **document}))
    (camera,) = message.header["cameras"]
    texts = [camera["detail"], *message.header["alarms"], message.header["headline"]]

    assert camera["code"] == "REFUSED"
    assert not [text for text in texts if password in text or quote(password, safe="") in text]


def test_every_key_is_documented() -> None:
    """A dashboard is written by the page alone."""
    run = make_metrics()
    run.add_camera("a", CameraCounters(MailboxCounts))
    document = snapshot_document(run.snapshot(2.0, 5e8 + 2, LogStatus()))
    section = PAGE[PAGE.index("### `snapshot`") :]
    documented = set(re.findall(r"`(\w+)`", section))

    assert not {*document, *document["cameras"][0]} - documented


def test_a_feed_that_does_not_serve_is_a_notice() -> None:
    """On the dashboard and in the summary's place for it."""
    run = make_metrics()
    assert not run.snapshot(2.0, 5e8 + 2, LogStatus()).notices

    run.watch_feed(lambda: FeedStatus(problem="the live feed failed: TypeError: x"))

    assert run.snapshot(3.0, 5e8 + 3, LogStatus()).notices == ("the live feed failed: TypeError: x",)
