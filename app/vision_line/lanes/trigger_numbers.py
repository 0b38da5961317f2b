# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the number of a trigger says: the next part, parts that were not told, a PLC that counts anew. Pure.

A PLC counts the parts of a lane one by one, in 16 or 32 bits. 0 or 1 after 65535 goes on, for many keep 0 for
"none"; any other step back begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass

_WIDTHS = (1 << 16, 1 << 32)
#: So near to its largest number a counter that begins at 0 again has wrapped around.
_NEAR = 64
#: More parts than this are not missed one by one: the counter jumped.
MOST_MISSED = 1000


@dataclass(frozen=True, slots=True)
class NumberStep:
    """From one trigger to the next. `missed` are the numbers between, oldest first."""

    begins_anew: bool = False
    missed: tuple[int, ...] = ()


def number_step(last: int | None, number: int) -> NumberStep:
    """Return what lies between the numbers of two triggers, of which the second is not the first one repeated."""
    if last is None:
        return NumberStep()
    width = _WIDTHS[0] if max(last, number) < _WIDTHS[0] else _WIDTHS[1]
    step = number - last
    if step <= 0 and last >= width - _NEAR and number < _NEAR:
        step += width
    if step <= 0:
        return NumberStep(begins_anew=True)
    if step - 1 > MOST_MISSED:
        return NumberStep()
    numbers = ((last + each) % width for each in range(1, step))
    return NumberStep(missed=tuple(number for number in numbers if number))
