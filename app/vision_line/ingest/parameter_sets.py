# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a sequence's parameter set says of its frames, read before anything is decoded: above all their size.

Sources: ITU-T H.264 7.3.2.1.1 and ITU-T H.265 7.3.2.2.1, up to the size.
"""

from __future__ import annotations

from dataclasses import dataclass

from vision_line.ingest.nal import H264, START_CODE, NalCodec, nal_headers

_H264_SPS, _H265_SPS = 7, 33
_WITH_CHROMA_FORMAT = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})

_MOST_BYTES = 4096  # of a NAL unit that are looked at
_MOST_CODE_BITS = 32


class Bits:
    """Reads bits, most significant first, from a NAL unit without its emulation prevention.

    ITU-T H.264 7.2, 7.4.1 and 9.1, the same in H.265.

    Raises:
        ValueError: there are no more, or a code is longer than any valid one.
    """

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        raw = data[:_MOST_BYTES].replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(raw, "big")
        self._left = 8 * len(raw)

    def u(self, n: int) -> int:
        """Return the next `n` bits."""
        if n > self._left:
            raise ValueError("the parameter set ends too early")
        self._left -= n
        return self._value >> self._left & (1 << n) - 1

    def ue(self) -> int:
        """Return the next unsigned Exp-Golomb code."""
        rest = self._value & (1 << self._left) - 1
        zeros = self._left - rest.bit_length()
        if zeros > _MOST_CODE_BITS:
            raise ValueError("a code that is too long")
        return self.u(2 * zeros + 1) - 1

    def skip_codes(self, n: int) -> None:
        """Pass over `n` Exp-Golomb codes, in less time than reading them takes."""
        left = self._left
        for _ in range(n):
            zeros = left - (self._value & (1 << left) - 1).bit_length()
            left -= 2 * zeros + 1
            if left < 0 or zeros > _MOST_CODE_BITS:
                raise ValueError("a code that is too long")
        self._left = left

    def se(self) -> int:
        """Return the next signed Exp-Golomb code."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)


@dataclass(frozen=True, slots=True)
class H264Sequence:
    """What of an H.264 sequence parameter set is used here."""

    size_wh: tuple[int, int]  # coded: whole blocks
    frame_number_bits: int
    has_separate_planes: bool
    may_skip_numbers: bool
    has_only_frames: bool  # no frame is coded as two fields


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
        return read_h264_sequence(bits).size_wh if codec is H264 else _h265_size(bits)
    except ValueError:
        return None


def read_h264_sequence(bits: Bits) -> H264Sequence:
    """Read a sequence parameter set behind its NAL unit header.

    Raises:
        ValueError: it is cut short, or none.
    """
    profile = bits.u(8)
    bits.u(16)  # constraints, level
    bits.ue()  # its number
    separate = profile in _WITH_CHROMA_FORMAT and _skip_chroma_format(bits)
    number_bits = bits.ue() + 4
    if number_bits > 16:
        raise ValueError("frame numbers of more than 16 bits")
    _skip_order_count(bits)
    bits.ue()  # max_num_ref_frames
    skips = bool(bits.u(1))
    width, height_units = 16 * (bits.ue() + 1), 16 * (bits.ue() + 1)
    only_frames = bool(bits.u(1))
    size_wh = width, height_units * (1 if only_frames else 2)
    return H264Sequence(size_wh, number_bits, separate, skips, only_frames)


def _skip_chroma_format(bits: Bits) -> bool:
    """Return whether the colour planes are coded apart."""
    chroma = bits.ue()
    separate = chroma == 3 and bool(bits.u(1))
    bits.ue()  # bit depths
    bits.ue()
    bits.u(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.u(1):
        for index in range(12 if chroma == 3 else 8):
            if bits.u(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return separate


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _skip_order_count(bits: Bits) -> None:
    kind = bits.ue()
    if kind == 0:
        bits.ue()
    elif kind == 1:
        bits.u(1)
        bits.ue()
        bits.ue()
        for _ in range(min(bits.ue(), 255)):
            bits.ue()


def _h265_size(bits: Bits) -> tuple[int, int]:
    bits.u(4)
    sub_layers = bits.u(3)
    bits.u(1)
    bits.u(96)  # profile, tier and level of the whole
    present = [(bits.u(1), bits.u(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.u(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        bits.u(88 * has_profile + 8 * has_level)
    bits.ue()  # its number
    if bits.ue() == 3:
        bits.u(1)
    return bits.ue(), bits.ue()
