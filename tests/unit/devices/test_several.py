# SPDX-License-Identifier: AGPL-3.0-or-later
"""Several devices as one: batches are split, each camera keeps its order, and nothing is lost or told twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from benchmarks.simulated_device import SimulatedDevice
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import make_frame

from vision_line.devices.multi_device import MultiDevice, joined_name
from vision_line.errors import DeviceError, RunError
from vision_line.frames import Frame, Inspection
from vision_line.ports import DeviceDescription, DeviceLoad, ShapeHW

WIDE, TALL = (64, 128), (128, 64)

#: What a frame is here: the number of the device that it lies on.
Place = int | None


class Stubborn(SimulatedDevice):
    """Finishes at once and shows it only while `ready`; can be told to refuse a camera, a shape, or to fail."""

    def __init__(self, number: int, detail: str = "a GPU") -> None:
        description = DeviceDescription(f"cuda:{number}", detail, "int8", (WIDE,), slots=3, max_batch=8)
        super().__init__(description, lambda: None, loads=(DeviceLoad(f"cuda:{number}", 1, 2),))
        self.ready = True
        self.refused: set[str] = set()
        self.fault = ""
        self.closed = False
        self.batches: list[list[str]] = []

    def ensure_shape(self, shape_hw: ShapeHW) -> None:
        if "shape" in self.refused:
            raise DeviceError("cuda: the engine cannot be built")
        super().ensure_shape(shape_hw)

    def submit(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            if frame.camera in self.refused:
                raise DeviceError(f"camera {frame.camera!r}: frame {frame.sequence} cannot be converted: why not")
        super().submit(frames)
        self.batches.append([frame.camera for frame in frames])

    def collect(self) -> list[Inspection]:
        if self.fault:
            raise RunError(self.fault)
        return super().collect() if self.ready else []

    def close(self) -> None:
        self.closed = True
        super().close()
        if self.fault:
            raise RunError(self.fault)


def frame(camera: str, sequence: int, where: Place, size_wh: tuple[int, int] = (128, 64)) -> Frame:
    return make_frame(camera, sequence, size_wh=size_wh, data=where)


class Pair:
    """Two devices as one."""

    def __init__(self) -> None:
        self.members = [Stubborn(0), Stubborn(1)]
        self.device = MultiDevice(self.members, lambda data: data)

    def collected(self) -> list[tuple[str, int]]:
        return [(found.frame.camera, found.frame.sequence) for found in self.device.collect()]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Open two devices as one, and close them after the test."""
    pair = Pair()
    yield pair
    for member in pair.members:
        member.fault = ""
    pair.device.close()


def test_a_batch_goes_where_its_frames_lie(pair: Pair) -> None:
    """In one part for each device, in the batch's order."""
    pair.device.submit([frame(camera, 0, where) for camera, where in (("a", 0), ("b", 1), ("c", 0), ("d", 1))])

    assert [member.batches for member in pair.members] == [[["a", "c"]], [["b", "d"]]]
    assert pair.device.in_flight() == 4
    assert sorted(pair.collected()) == [("a", 0), ("b", 0), ("c", 0), ("d", 0)]
    assert pair.device.in_flight() == 0


def test_slots_are_those_of_the_busiest(pair: Pair) -> None:
    """A batch of any mixture can be submitted as often as `free_slots` says."""
    pair.members[0].ready = False
    pair.device.submit([frame("a", 0, 0)])
    pair.device.submit([frame("b", 0, 1)])
    assert (pair.device.free_slots(), pair.device.description.slots) == (2, 3)

    assert pair.collected() == [("b", 0)]
    assert pair.device.free_slots() == 2
    pair.members[0].ready = True
    assert pair.collected() == [("a", 0)]
    assert pair.device.free_slots() == 3


step = st.one_of(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1)), min_size=1, max_size=8),  # a batch
    st.tuples(st.integers(0, 1), st.booleans()),  # a device that shows its results, or does not
)


@settings(max_examples=150)
@given(st.lists(step, max_size=40))
def test_each_camera_keeps_its_order_wherever_its_frames_lie(
    steps: list[list[tuple[str, int]] | tuple[int, bool]],
) -> None:
    """Also where every frame of a camera is on another device than the one before, and one device is slow."""
    pair = Pair()
    submitted: list[tuple[str, int]] = []
    received: list[tuple[str, int]] = []
    for step in steps:
        if isinstance(step, tuple):
            pair.members[step[0]].ready = step[1]
        elif pair.device.free_slots():
            batch = [frame(camera, len(submitted) + index, where) for index, (camera, where) in enumerate(step)]
            pair.device.submit(batch)
            submitted += [(one.camera, one.sequence) for one in batch]
        received += pair.collected()
        assert pair.device.in_flight() == len(submitted) - len(received)
    for member in pair.members:
        member.ready = True
    received += pair.collected()

    for camera in "abc":
        assert [one for one in received if one[0] == camera] == [one for one in submitted if one[0] == camera]
    assert pair.device.free_slots() == 3
    pair.device.close()


def test_a_refused_part_takes_the_whole_batch_back(pair: Pair) -> None:
    """What another device had taken already runs and is not told: the frames may be submitted again."""
    pair.members[1].refused.add("bad")
    batch = [frame("a", 0, 0), frame("bad", 0, 1), frame("c", 0, 0)]
    with pytest.raises(DeviceError, match=r"^camera 'bad': frame 0 cannot be converted: why not"):
        pair.device.submit(batch)
    assert pair.device.in_flight() == 0

    pair.device.submit([batch[0]])
    pair.device.submit([batch[2]])
    assert pair.collected() == [("a", 0), ("c", 0)]
    assert (pair.device.in_flight(), pair.device.free_slots()) == (0, 3)


def test_a_frame_that_lies_nowhere_is_refused(pair: Pair) -> None:
    """The camera is named, and nothing of the batch is started."""
    with pytest.raises(DeviceError, match=r"camera 'b': .*expected a frame on cuda:0\+1, found NoneType"):
        pair.device.submit([frame("a", 0, 0), frame("b", 0, None)])

    assert pair.members[0].batches == []


def test_errors_name_the_gpu(pair: Pair) -> None:
    """A fault of one is the run's, and says whose it is; both are closed all the same."""
    pair.members[1].fault = "cuda: the GPU failed: CUDA_ERROR_LAUNCH_FAILED"
    pair.device.submit([frame("a", 0, 0)])

    with pytest.raises(RunError, match=r"^cuda:1: the GPU failed: CUDA_ERROR_LAUNCH_FAILED"):
        pair.device.collect()
    with pytest.raises(RunError, match=r"^cuda:1: the GPU failed"):
        pair.device.close()
    assert all(member.closed for member in pair.members)
    pair.device.close()


def test_a_shape_is_offered_when_all_have_it(pair: Pair) -> None:
    """While only some have it they take their parts by what they have, and nobody else sees it."""
    pair.members[1].refused.add("shape")
    with pytest.raises(DeviceError, match=r"^cuda:1: the engine cannot be built"):
        pair.device.ensure_shape(TALL)
    assert list(pair.device.description.input_shapes_hw) == [WIDE]
    assert pair.device.free_slots() == 1  # the first may get two parts of one batch
    mixed = [frame("a", 0, 0), frame("b", 0, 0, (64, 128)), frame("c", 0, 1, (64, 128))]
    pair.device.submit(mixed)
    assert [member.batches for member in pair.members] == [[["a"], ["b"]], [["c"]]]
    assert sorted(pair.collected()) == [("a", 0), ("b", 0), ("c", 0)]

    pair.members[1].refused.clear()
    pair.device.ensure_shape(TALL)
    assert list(pair.device.description.input_shapes_hw) == [WIDE, TALL]
    assert pair.device.free_slots() == 3


def test_it_says_what_it_is(pair: Pair) -> None:
    """One name, both GPUs, and the load of each."""
    description = pair.device.description

    assert (description.name, description.detail, description.precision) == ("cuda:0+1", "2 x a GPU", "int8")
    assert (description.slots, description.max_batch) == (3, 8)
    assert [load.name for load in pair.device.sample()] == ["cuda:0", "cuda:1"]
    other = MultiDevice([Stubborn(0), Stubborn(2, "an older GPU")], lambda data: data)
    assert other.description.detail == "a GPU; an older GPU"
    other.close()


@pytest.mark.parametrize(
    ("names", "joined"),
    [(["cuda:0", "cuda:2"], "cuda:0+2"), (["cpu", "cuda:0"], "cpu+cuda:0"), (["simulated"] * 2, "simulated+simulated")],
)
def test_names_are_joined(names: list[str], joined: str) -> None:
    """Short where they are of one kind."""
    assert joined_name(names) == joined
