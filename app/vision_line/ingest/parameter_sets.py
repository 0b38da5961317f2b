# SPDX-License-Identifier: AGPL-3.0-or-later
"""How large the frames are that parameter sets announce, read before anything is decoded."""

from __future__ import annotations

from vision_line.ingest.nal import H264, START_CODE, NalCodec, nal_headers
from vision_line.sequence_parameters import Bits, read_h264_sequence, read_h265_sequence

_H264_SPS, _H265_SPS = 7, 33


def frame_size(codec: NalCodec, data: bytes) -> tuple[int, int] | None:
    """Return the largest coded width and height that the sequence parameter sets in `data` (Annex B) declare.

    None where there is none, or none that can be read.
    """
    sizes = [size for at in nal_headers(data) if (size := _size_at(codec, data, at)) is not None]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _size_at(codec: NalCodec, data: bytes, at: int) -> tuple[int, int] | None:
    if at >= len(data):
        return None
    kind = data[at] & 0x1F if codec is H264 else data[at] >> 1 & 0x3F
    if kind != (_H264_SPS if codec is H264 else _H265_SPS):
        return None
    end = data.find(START_CODE, at)
    bits = Bits(data[at + codec.header_bytes : end if end >= 0 else len(data)])
    try:
        return (read_h264_sequence(bits) if codec is H264 else read_h265_sequence(bits)).size_wh
    except ValueError:
        return None
