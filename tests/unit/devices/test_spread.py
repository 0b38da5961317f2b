# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras are spread over GPUs by load and number, and stay where they are."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vision_line.devices.cuda.multi_gpu import ALIKE_PERCENT, HOLD_S, MOVE_PERCENT, SETTLE_S, CameraPlacement
from vision_line.ports import DeviceLoad

GPUS = (0, 1, 3)


def loads(percents: Mapping[int, int | None]) -> dict[int, DeviceLoad]:
    return {gpu: DeviceLoad(f"cuda:{gpu}", 1000, 12_288, percent, 0) for gpu, percent in percents.items()}


def full(gpu: int) -> dict[int, DeviceLoad]:
    return {gpu: DeviceLoad(f"cuda:{gpu}", 12_000, 12_288, 0, 0)}


percents = st.integers(0, 100) | st.none()


@given(st.integers(0, 100) | st.none(), st.lists(st.floats(0.0, 60.0), min_size=1, max_size=60))
def test_alike_gpus_differ_by_one_camera_at_most(percent: int | None, waits_s: list[float]) -> None:
    """Whatever the load is, and whenever the cameras come."""
    spread, now_s = CameraPlacement(GPUS), 0.0
    for number, wait_s in enumerate(waits_s):
        now_s += wait_s
        spread.place(f"cam{number}", loads(dict.fromkeys(GPUS, percent)), now_s)
        counts = spread.cameras().values()

        assert max(counts) - min(counts) <= 1
    assert sum(spread.cameras().values()) == len(waits_s)


@given(st.integers(int(ALIKE_PERCENT) + 1, 100), st.permutations(GPUS))
def test_a_loaded_gpu_gets_none_while_another_is_idle(percent: int, order: list[int]) -> None:
    """Not the first camera, nor any other while the idle one stays clearly less busy, the cameras on it counted."""
    loaded, *idle = order
    spread = CameraPlacement(GPUS)
    now = loads({loaded: percent, **dict.fromkeys(idle, 0)})

    placed = [spread.place(f"cam{number}", now, 0.0) for number in range(2 * ((percent - int(ALIKE_PERCENT)) // 4))]

    assert loaded not in placed
    counts = spread.cameras()
    assert abs(counts[idle[0]] - counts[idle[1]]) <= 1


@given(
    st.lists(st.tuples(st.integers(0, 11), st.dictionaries(st.sampled_from(GPUS), percents), st.floats(0, 30))),
)
def test_cameras_stay_where_they_are(events: list[tuple[int, dict[int, int | None], float]]) -> None:
    """A camera that comes back gets its GPU, but where that is much busier than another, and then one at a time."""
    spread, now_s = CameraPlacement(GPUS), 0.0
    places: dict[str, int] = {}
    moved_s: list[float] = []
    for number, reported, wait_s in events:
        now_s += wait_s
        camera = f"cam{number}"
        if camera in places:
            spread.left(camera, places[camera], now_s)
        gpu = spread.place(camera, loads(reported), now_s)
        if camera in places and gpu != places[camera]:
            assert (reported.get(places[camera]) or 4 * len(places)) > MOVE_PERCENT
            moved_s.append(now_s)
        places[camera] = gpu

    assert all(later - earlier >= SETTLE_S for earlier, later in pairwise(moved_s))
    assert spread.cameras() == {gpu: sum(place == gpu for place in places.values()) for gpu in GPUS}


def test_all_come_back_after_the_network_failed() -> None:
    """A load that is 0 everywhere says nothing: each camera gets its GPU again, in whatever order they come."""
    spread = CameraPlacement((0, 1))
    before = {f"cam{number}": spread.place(f"cam{number}", {}, 0.0) for number in range(16)}
    for camera, gpu in before.items():
        spread.left(camera, gpu, 100.0)

    idle = loads({0: 0, 1: 0})
    assert {camera: spread.place(camera, idle, 130.0) for camera in reversed(before)} == before


def test_a_busy_gpu_loses_one_camera_at_a_time() -> None:
    """The load follows the first one before another is moved; while nobody reconnects nobody moves."""
    spread = CameraPlacement((0, 1))
    for number in range(8):
        spread.place(f"cam{number}", loads({0: 0, 1: 60}), 0.0)
    assert spread.cameras() == {0: 8, 1: 0}
    uneven = loads({0: 90, 1: 20})

    placed = []
    for number, now_s in ((0, 100.0), (1, 101.0), (2, 100.0 + SETTLE_S)):
        spread.left(f"cam{number}", 0, now_s)
        placed.append(spread.place(f"cam{number}", uneven, now_s))

    assert placed == [1, 0, 1]


def test_a_gpu_without_memory_gets_none() -> None:
    """However idle it is; where all are full, the cameras are spread all the same."""
    spread = CameraPlacement((0, 1))
    assert {spread.place(f"cam{number}", loads({1: 90}) | full(0), 0.0) for number in range(6)} == {1}

    spread = CameraPlacement((0, 1))
    placed = [spread.place(f"cam{number}", full(0) | full(1), 0.0) for number in range(6)]
    assert sorted(placed) == [0, 0, 0, 1, 1, 1]


def test_places_of_cameras_that_are_gone_are_given_up() -> None:
    """A camera that was taken out of the file does not count for ever; one whose decoder is open does."""
    spread = CameraPlacement((0, 1))
    spread.place("stays", {}, 0.0)
    gone = spread.place("goes", {}, 0.0)
    spread.left("goes", gone, 10.0)
    assert sum(spread.cameras().values()) == 2

    spread.place("new", {}, 10.0 + HOLD_S + 1)
    assert sorted(spread.cameras().values()) == [1, 1]


def test_a_decoder_that_ends_late_frees_only_its_own_place() -> None:
    """A connection that hung is closed after its successor was opened elsewhere: the new place stays."""
    spread = CameraPlacement((0, 1))
    assert spread.place("cam", loads({0: 0, 1: 80}), 0.0) == 0
    spread.left("cam", 0, 1.0)
    assert spread.place("cam", loads({0: 90, 1: 0}), 2.0) == 1
    spread.left("cam", 0, 3.0)

    spread.place("other", loads({0: 0, 1: 0}), 3.0 + 2 * HOLD_S)
    assert spread.cameras() == {0: 1, 1: 1}
