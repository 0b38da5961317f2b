# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a file lost to damage is told with its number and place; what stands before its first keyframe is no damage."""

from __future__ import annotations

import av
from hypothesis import given
from hypothesis import strategies as st

from vision_line.encoded import EncodedFrame
from vision_line.ingest.damage import Damage


def played(keys: list[bool], lost: set[int]) -> Damage:
    """Return what is known of a file after its last frame."""
    damage = Damage()
    for number, is_key in enumerate(keys):
        damage.saw(EncodedFrame(av.Packet(b"frame"), None, is_key, 0.0, 0.0, media_s=number / 10))
        if number in lost:
            damage.lost()
    return damage


@given(st.lists(st.booleans(), max_size=12), st.sets(st.integers(0, 11)))
def test_every_loss_is_reported_once_decoding_could_begin(keys: list[bool], lost: set[int]) -> None:
    """Also where nothing could be decoded at all; a whole file is whole."""
    first = keys.index(True) if True in keys else len(keys)
    lost = {number for number in range(len(keys)) if number in lost or number < first}
    damage = played(keys, lost)
    assert damage.unfounded == first
    assert bool(damage.describe()) == (bool(lost - set(range(first))) or (True not in keys and bool(keys)))


def test_the_sentence_says_how_many_and_where() -> None:
    """A loss up to the end may be a cut."""
    keys = [True, False, False, True, False]
    assert played(keys, {1, 2}).describe() == "2 of 5 frames are damaged or refer to damaged ones, the first at 0.10 s"
    assert played(keys, {4}).describe().endswith("its last frame is, so it may have been cut off")
