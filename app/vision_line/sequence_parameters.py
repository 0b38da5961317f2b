# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a sequence's parameter set says of its frames, for who reads packets and who decodes them.

Sources: ITU-T H.264 7.3.2.1.1 and ITU-T H.265 7.3.2.2.1, up to the cropping.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    crops_before: bool  # what is shown begins to the right of what is coded, or below


@dataclass(frozen=True, slots=True)
class H265Sequence:
    """What of an H.265 sequence parameter set is used here."""

    size_wh: tuple[int, int]  # coded
    crops_before: bool  # as in H.264


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
    # before the cropping: mb_adaptive_frame_field_flag where there are fields, direct_8x8_inference_flag
    crops = _crops_before(bits, 1 if only_frames else 2)
    return H264Sequence(size_wh, number_bits, separate, skips, only_frames, crops)


def read_h265_sequence(bits: Bits) -> H265Sequence:
    """Read a sequence parameter set behind its NAL unit header.

    Raises:
        ValueError: it is cut short, or none.
    """
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
    size_wh = bits.ue(), bits.ue()
    return H265Sequence(size_wh, _crops_before(bits, 0))


def _crops_before(bits: Bits, flags: int) -> bool:
    """Return whether the window that is shown, behind `flags` bits, leaves out something on the left or above.

    A set that is cut short there still has a size, which must not be lost: it does not crop.
    """
    try:
        bits.u(flags)
        left, _, above, _ = (bits.ue() for _ in range(4)) if bits.u(1) else (0, 0, 0, 0)
    except ValueError:
        return False
    return bool(left or above)


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
