# SPDX-License-Identifier: AGPL-3.0-or-later
"""When a running box is full: what lasts counts, and what does not does not."""

from __future__ import annotations

from vision_line.fleet.fullness import FULL_AFTER_S, ROOM_AFTER_S, Fullness


def after(fullness: Fullness, *, lacks: bool, since_s: float, seconds: float) -> float:
    """Note the same for so long, each second; return when that ends."""
    for second in range(int(seconds) + 1):
        fullness.note(lacks_capacity=lacks, now_s=since_s + second)
    return since_s + seconds + 1


def test_a_box_that_cannot_keep_up_is_full_until_it_can_for_long() -> None:
    """Neither a moment's lack nor a moment's rest is enough."""
    fullness = Fullness()
    now_s = after(fullness, lacks=True, since_s=50.0, seconds=FULL_AFTER_S - 1)
    assert not fullness.is_full
    now_s = after(fullness, lacks=False, since_s=now_s, seconds=0)
    now_s = after(fullness, lacks=True, since_s=now_s, seconds=FULL_AFTER_S - 1)
    assert not fullness.is_full
    now_s = after(fullness, lacks=True, since_s=now_s, seconds=2)
    assert fullness.is_full

    now_s = after(fullness, lacks=False, since_s=now_s, seconds=ROOM_AFTER_S - 1)
    now_s = after(fullness, lacks=True, since_s=now_s, seconds=0)
    assert fullness.is_full
    after(fullness, lacks=False, since_s=now_s, seconds=ROOM_AFTER_S)
    assert not fullness.is_full
