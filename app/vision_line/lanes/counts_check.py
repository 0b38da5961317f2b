# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a PLC counted what was counted here: a part that one of them missed shows as a difference. Pure."""

from __future__ import annotations

#: So long is a difference watched: parts on their way are counted here later than there.
MINUTE_S = 60.0
_WIDTH = 1 << 16
#: A larger step is a counter that began anew.
_MOST_STEP = 1000


class CountsCheck:
    """Compares one count, of 16 bits on the PLC's side, whose beginning nobody knows."""

    def __init__(self, what: str) -> None:
        """`what` is counted, for the words."""
        self._what = what
        self._usual: int | None = None
        self._least: int | None = None
        self._since_s = 0.0

    def compare(self, theirs: int, ours: int, now_s: float) -> str:
        """Return what is wrong, in words, once; "" where nothing is, or is not known yet."""
        ahead = (theirs - ours) % _WIDTH
        if self._least is None:
            self._least, self._since_s = ahead, now_s
            return ""
        self._least = min(self._least, ahead, key=lambda each: _signed(each - ahead))
        if now_s - self._since_s < MINUTE_S:
            return ""
        least, usual = self._least, self._usual
        self._usual, self._least = least, None
        more = 0 if usual is None else _signed(least - usual)
        if not more or abs(more) > _MOST_STEP:
            return ""
        return f"the PLC counted {abs(more)} {'more' if more > 0 else 'fewer'} {self._what} than were decided"


def _signed(difference: int) -> int:
    inside = difference % _WIDTH
    return inside - _WIDTH if inside >= _WIDTH // 2 else inside
