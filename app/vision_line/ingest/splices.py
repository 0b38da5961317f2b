# SPDX-License-Identifier: AGPL-3.0-or-later
"""Recordings in which one part was put behind another, as a recorder does when its camera was restarted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import av

from vision_line.ingest.file_timeline import FileTimeline

#: This many frames before the splice may bear the mark: FFmpeg's parser gives it to the one before the last.
MOST_MARKED = 3
#: Of these codecs FFmpeg itself notices a frame that was cut short.
CODECS = frozenset({"h264"})


def placed_packets(packets: Iterable[Any], timeline: FileTimeline, codec: str) -> Iterator[tuple[Any, float | None]]:
    """Yield each packet with its place on `timeline`; the empty one at the end has none.

    MPEG-TS counts its packets, so at a splice FFmpeg marks the last frames as damaged, whole or not. Where the clock
    jumps there and a keyframe follows, the mark is removed, and the decoder decides.
    """
    held: list[tuple[Any, float | None]] = []
    for packet in packets:
        placed = (packet, timeline.place(_decoding_s(packet)) if packet.size else None)
        if held and packet.is_keyframe and timeline.jumped:
            yield from ((_unmarked(marked), at_s) for marked, at_s in held)
            held.clear()
        if codec in CODECS and (held or packet.is_corrupt) and len(held) < MOST_MARKED:
            held.append(placed)
            continue
        yield from held
        held.clear()
        yield placed
    yield from held


def _decoding_s(packet: Any) -> float | None:
    return None if packet.dts is None else float(packet.dts * packet.time_base)


def _unmarked(packet: Any) -> Any:
    whole = av.Packet(bytes(packet))
    whole.pts, whole.dts, whole.time_base = packet.pts, packet.dts, packet.time_base
    whole.is_keyframe = packet.is_keyframe
    return whole
