# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who gets what: each item is made into bytes once, and put into the queues of those who want it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from vision_line.feed.feed_connection import FeedConnection
from vision_line.feed.headers import (
    InspectedResult,
    TappedFrame,
    VideoFacts,
    decision_header,
    frame_header,
    result_header,
    video_header,
)
from vision_line.feed.protocol import FROM_RUN, Header, packed, packed_header
from vision_line.feed.wants import FrameChoice
from vision_line.frames import DefectEvent


class Decision(NamedTuple):
    """A change of an event, as it was decided at `at_s`."""

    event: DefectEvent
    at_s: float


class JournalNumber(NamedTuple):
    """The number of the newest entry that is committed."""

    number: int


class SnapshotDocument(NamedTuple):
    """The run as it is now, in plain JSON."""

    header: Header


FeedItem: TypeAlias = TappedFrame | InspectedResult | Decision | JournalNumber | SnapshotDocument


@dataclass(slots=True)
class _CameraFrames:
    """What is known of a camera's frames so far."""

    lost: int = 0
    intact: bool = False  # whether all frames since a keyframe are here and undamaged
    video: VideoFacts | None = None  # of the newest connection
    video_message: bytes = b""  # what comes before its first frame


class Distribution:
    """Belongs to the feed's thread."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._cameras: dict[str, _CameraFrames] = {}

    def publish(self, item: FeedItem, clients: Sequence[FeedConnection], now_s: float) -> None:
        """Queue `item` for those of `clients` who want it."""
        match item:
            case TappedFrame():
                self._frame(item, clients)
            case InspectedResult():
                self._result(item, clients)
            case Decision():
                self._decision(item, clients, now_s)
            case JournalNumber():
                publish_journal(item.number, [client for client in clients if client.want.journal])
            case SnapshotDocument():
                self._snapshot(item, [client for client in clients if client.takes_snapshot(now_s)])

    def _frame(self, tapped: TappedFrame, clients: Sequence[FeedConnection]) -> None:
        camera, known = tapped.camera, self._cameras.setdefault(tapped.camera, _CameraFrames())
        if tapped.lost > known.lost:
            for client in clients:
                if client.want.frames_of(camera) is not FrameChoice.NOTHING:
                    client.queue.break_off(camera, tapped.lost - known.lost)
            known.lost = tapped.lost
        known.intact = (known.intact or tapped.keyframe) and not tapped.damaged
        takers = [client for client in clients if _takes(client, camera, keyframe=tapped.keyframe)]
        if tapped.packet is None or not takers:
            return
        payload = bytes(tapped.packet)
        if len(payload) > FROM_RUN.payload:  # an image file; no client would take it
            for client in takers:
                client.queue.break_off(camera, 1)
            return
        message = packed_header(frame_header(tapped, intact=known.intact), len(payload)), payload
        if tapped.video is not known.video:
            known.video = tapped.video
            known.video_message = packed(video_header(camera, tapped.video), tapped.video.extradata)
        for client in takers:
            client.queue.frame(camera, tapped.video.connection, known.video_message, message, keyframe=tapped.keyframe)

    def _result(self, result: InspectedResult, clients: Sequence[FeedConnection]) -> None:
        camera, keyframe = result.camera, result.of_keyframe
        takers = [client for client in clients if client.want.wants_result(camera, keyframe=keyframe)]
        for is_brief in {client.want.brief for client in takers}:
            message = packed(result_header(result, self._classes, is_brief=is_brief))
            for client in takers:
                if client.want.brief is is_brief:
                    client.queue.result(message)

    def _decision(self, decision: Decision, clients: Sequence[FeedConnection], now_s: float) -> None:
        message = packed(decision_header(decision.event, decision.at_s))
        for client in clients:
            if client.want.decisions:
                client.sure(message, now_s)

    def _snapshot(self, snapshot: SnapshotDocument, clients: Sequence[FeedConnection]) -> None:
        message = packed({"kind": "snapshot", **snapshot.header}) if clients else b""
        for client in clients:
            client.queue.newest("snapshot", message)


def publish_journal(number: int, clients: Sequence[FeedConnection]) -> None:
    """Queue the newest number of the journal; one that still waits is replaced, nothing is lost by that."""
    message = packed({"kind": "journal", "number": number})
    for client in clients:
        client.queue.newest("journal", message)


def publish_beat(clients: Sequence[FeedConnection], now_s: float) -> None:
    """Queue a sign of life; one that still waits is replaced."""
    message = packed({"kind": "beat", "at_s": now_s})
    for client in clients:
        client.queue.newest("beat", message)


def publish_dropped(client: FeedConnection) -> None:
    """Queue what this client did not get so far."""
    dropped = client.queue.dropped
    header = {
        "kind": "dropped",
        "frames": dict(dropped.frames),
        "results": dropped.results,
        "snapshots": dropped.snapshots,
    }
    client.queue.newest("dropped", packed(header))


def _takes(client: FeedConnection, camera: str, *, keyframe: bool) -> bool:
    choice = client.want.frames_of(camera)
    return choice is FrameChoice.ALL or (keyframe and choice is FrameChoice.KEYFRAMES)
