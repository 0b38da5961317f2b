# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reads the bits of a NAL unit's header: ITU-T H.264 7.2, 7.4.1 and 9.1, the same in H.265."""

from __future__ import annotations

_MOST_BYTES = 4096  # of a NAL unit that are looked at
_MOST_CODE_BITS = 32


class Bits:
    """Reads bits, most significant first, from a NAL unit without its emulation prevention.

    Raises:
        ValueError: there are no more, or a code is longer than any valid one.
    """

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
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > _MOST_CODE_BITS:
                raise ValueError("a code that is too long")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """Return the next signed Exp-Golomb code."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)
