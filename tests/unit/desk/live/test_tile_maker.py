# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keyframes become small JPEGs, whatever the codec, and no faster than is worth seeing."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import cv2
import numpy as np
import pytest
from tests.fakes.live_video import encoded_shades, stream_header

from vision_line.desk.live.live_updates import FrameTimes, Tile
from vision_line.desk.live.tile_budget import TileBudget
from vision_line.desk.live.tile_maker import LEAST_APART_S, Keyframe, StreamHeader, TileMaker


class Tiles:
    """What a tile maker made; `wait` until there are so many."""

    def __init__(self) -> None:
        self.made: list[Tile] = []
        self._more = threading.Condition()

    def put(self, tile: Tile) -> None:
        with self._more:
            self.made.append(tile)
            self._more.notify()

    def wait(self, count: int) -> list[Tile]:
        with self._more:
            assert self._more.wait_for(lambda: len(self.made) >= count, 20)
        return self.made


def keyframe(header: StreamHeader, at_s: float, data: bytes) -> Keyframe:
    return Keyframe("cam01", header, FrameTimes(at_s, None), data)


@pytest.mark.parametrize("codec", ["h264", "hevc", "mjpeg"])
def test_a_tile_shows_the_keyframe(codec: str) -> None:
    """Of the third group its own shade, 200; a decoder serves all keyframes of a connection."""
    keys = [shade for shade in encoded_shades(codec) if shade.keyframe and shade.pts % 5 == 0]
    tiles, header = Tiles(), stream_header(codec)
    maker = TileMaker(tiles.put)
    for number, key in enumerate(keys):
        maker.offer(keyframe(header, float(number), key.data))
        tiles.wait(number + 1)
    maker.close()
    for tile, key in zip(tiles.made, keys, strict=True):
        image = cv2.imdecode(np.frombuffer(tile.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape == (180, 320, 3)
        assert tile.size_wh == (640, 360)
        assert abs(image.mean() - key.pts * 20) < 3


def test_a_damaged_keyframe_makes_no_tile_and_the_next_one_does() -> None:
    good, header, tiles = encoded_shades(count=1)[0].data, stream_header(), Tiles()
    maker = TileMaker(tiles.put)
    maker.offer(keyframe(header, 0.0, b"\0\0\0\1\x65nonsense"))
    maker.offer(Keyframe("cam02", header, FrameTimes(0.0, None), good))
    tiles.wait(1)
    maker.offer(keyframe(header, 1.0, good))
    assert [tile.camera for tile in tiles.wait(2)] == ["cam02", "cam01"]
    maker.close()


def test_an_unknown_codec_makes_no_tile() -> None:
    tiles = Tiles()
    maker = TileMaker(tiles.put)
    maker.offer(keyframe(stream_header("no-such-codec"), 0.0, b"data"))
    maker.offer(Keyframe("cam02", stream_header(), FrameTimes(0.0, None), encoded_shades(count=1)[0].data))
    assert [tile.camera for tile in tiles.wait(1)] == ["cam02"]
    maker.close()


def test_a_camera_of_keyframes_alone_is_not_decoded_whole() -> None:
    """MJPEG at 25 frames a second: two tiles a second."""
    tiles, header, data = Tiles(), stream_header("mjpeg"), encoded_shades("mjpeg", count=1)[0].data
    maker = TileMaker(tiles.put)
    for number in range(50):
        maker.offer(keyframe(header, number / 25, data))
    maker.offer(Keyframe("last", header, FrameTimes(0.0, None), data))
    ends = tiles.wait(2)
    while ends[-1].camera != "last":
        ends = tiles.wait(len(ends) + 1)
    maker.close()
    arrived = [tile.times.arrived_s for tile in ends[:-1]]
    assert 1 <= len(arrived) <= 5
    assert all(b - a >= LEAST_APART_S for a, b in pairwise(arrived))


def test_a_keyframe_after_the_end_is_let_go() -> None:
    """The thread that reads the feed may have one in its hands while the last browser goes."""
    tiles = Tiles()
    maker = TileMaker(tiles.put)
    maker.close()
    maker.offer(keyframe(stream_header(), 0.0, encoded_shades(count=1)[0].data))
    assert not tiles.made


def test_beside_a_busy_run_the_newest_keyframe_is_made_once_it_may() -> None:
    """Not the one that came first: it would be old."""
    tiles, budget, header, data = Tiles(), TileBudget(cores=1), stream_header(), encoded_shades(count=1)[0].data
    budget.note_run(100.0)
    budget.spend(1000.0, now_s=time.monotonic())
    maker = TileMaker(tiles.put, budget)
    for number in range(5):
        maker.offer(keyframe(header, float(number), data))
    assert not tiles.made
    budget.note_run(10.0)
    assert [tile.times.arrived_s for tile in tiles.wait(1)] == [4.0]
    maker.close()


def test_a_tile_that_waits_does_not_hold_up_the_end() -> None:
    tiles, budget = Tiles(), TileBudget(cores=1)
    budget.note_run(100.0)
    budget.spend(1000.0, now_s=time.monotonic())
    maker = TileMaker(tiles.put, budget)
    maker.offer(keyframe(stream_header(), 0.0, encoded_shades(count=1)[0].data))
    maker.close()
    wait_until_ended("desk-tiles")
    assert not tiles.made


def wait_until_ended(prefix: str) -> None:
    ends_s = time.monotonic() + 20
    while any(thread.name.startswith(prefix) for thread in threading.enumerate()):
        assert time.monotonic() < ends_s
        time.sleep(0.01)
