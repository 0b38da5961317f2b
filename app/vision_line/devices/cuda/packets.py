# SPDX-License-Identifier: AGPL-3.0-or-later
"""Packets for decoders that see nothing of a stream but its packets."""

from __future__ import annotations

from typing import Any

import av

from vision_line.devices.cuda.sequence import codec_of, sequence_headers
from vision_line.errors import SourceError, SourceErrorCode

_TO_ANNEX_B = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}


class SelfContained:
    """Puts start codes before NAL units, and parameter sets before key pictures, where they are missing.

    Files need the one, cameras that send parameter sets only in the SDP the other; what is complete passes as it is.
    """

    def __init__(self, camera: str, stream: Any) -> None:
        """Prepare for the packets of `stream` (`av.VideoStream`), which is open now."""
        extradata = bytes(stream.codec_context.extradata or b"")
        self._camera = camera
        self._codec = codec_of(stream)
        self._always = self._codec in _TO_ANNEX_B and extradata[:1] == b"\x01"  # avcC, hvcC: length prefixes
        self._filter: av.BitStreamFilterContext | None = None
        if self._always:
            self._filter = av.BitStreamFilterContext(_TO_ANNEX_B[self._codec], stream)
        elif extradata and not (self._codec == "av1" and extradata[0] & 0x80):  # av1C repeats what key pictures hold
            self._filter = av.BitStreamFilterContext("dump_extra=freq=keyframe", stream)

    def complete(self, packet: Any) -> Any:
        """Return `packet`, or a completed copy of it; the packet itself is only read.

        Raises:
            SourceError: it is damaged (CORRUPT).
        """
        if self._filter is None or not (self._always or self._lacks_headers(packet)):
            return packet
        copy: Any = av.Packet(bytes(packet))  # the filter empties what it is given
        copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
        copy.is_keyframe, copy.is_corrupt = packet.is_keyframe, packet.is_corrupt
        try:
            (whole,) = self._filter.filter(copy)
        except av.FFmpegError as exc:
            detail = f"{self._codec}: {exc.strerror}"
            raise SourceError(self._camera, SourceErrorCode.CORRUPT, detail) from exc
        return whole

    def _lacks_headers(self, packet: Any) -> bool:
        return packet.is_keyframe and not sequence_headers(bytes(packet), self._codec)
