# SPDX-License-Identifier: AGPL-3.0-or-later
"""Packets for decoders that see nothing of a stream but its packets."""

from __future__ import annotations

from typing import Any

import av

from vision_line.devices.cuda.decoders.sequence import codec_of, sequence_headers
from vision_line.errors import SourceError, SourceErrorCode

_TO_ANNEX_B = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}


class SelfContained:
    """Puts start codes before NAL units, and parameter sets before key pictures, where they are missing.

    Files need the one, cameras that send parameter sets only in the SDP the other; what is complete passes as it is.
    """

    def __init__(self, camera: str, stream: Any) -> None:
        """Prepare for the packets of `stream` (`av.VideoStream`, or a camera's), which is open now."""
        extradata = bytes(stream.codec_context.extradata or b"")
        self._camera = camera
        self._codec = codec_of(stream)
        self._always = self._codec in _TO_ANNEX_B and extradata[:1] == b"\x01"  # avcC, hvcC: length prefixes
        self._filter = av.BitStreamFilterContext(_TO_ANNEX_B[self._codec], stream) if self._always else None
        repeats = self._codec == "av1" and extradata[:1] >= b"\x80"  # av1C repeats what key pictures hold
        self._headers = b"" if self._always or repeats else extradata

    def complete(self, packet: Any) -> Any:
        """Return `packet`, or a completed copy of it; the packet itself is only read.

        Raises:
            SourceError: it is damaged (CORRUPT).
        """
        if self._filter is None:
            lacks = self._headers and packet.is_keyframe and not sequence_headers(bytes(packet), self._codec)
            return _copied(packet, self._headers) if lacks else packet
        try:
            (whole,) = self._filter.filter(_copied(packet))  # it empties what it is given
        except av.FFmpegError as exc:
            detail = f"{self._codec}: {exc.strerror}"
            raise SourceError(self._camera, SourceErrorCode.CORRUPT, detail) from exc
        return whole


def _copied(packet: Any, before: bytes = b"") -> Any:
    copy: Any = av.Packet(before + bytes(packet))
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.is_keyframe, copy.is_corrupt = packet.is_keyframe, packet.is_corrupt
    return copy
