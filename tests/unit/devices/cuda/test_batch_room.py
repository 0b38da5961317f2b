# SPDX-License-Identifier: AGPL-3.0-or-later
"""A GPU makes room for as many frames as there are cameras, and for more of them while it inspects."""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence
from contextlib import closing
from functools import partial

import pytest
from tests.fakes.cuda_line import SHAPE, Line, OpenLine, Shown, shown_frames
from tests.fakes.fakecuda.driver import OUT_OF_MEMORY, Schedule
from tests.fakes.faketensorrt.context import RecordableContext
from tests.fakes.machine import CudaMachine, GpuFrames

from vision_line.devices.cuda.backend import open_cuda
from vision_line.devices.cuda.multi_gpu import open_gpus
from vision_line.devices.cuda.slots import MAX_BATCH
from vision_line.devices.cuda.tensorrt_engine import BUCKETS, buckets_for
from vision_line.devices.model.model import Model
from vision_line.devices.several_models import OpenModel, SeveralModels
from vision_line.errors import DeviceError, VisionLineError
from vision_line.frames import OWN_MODEL

INPUT_BYTES = 3 * SHAPE[0] * SHAPE[1] * 4
SLOTS = 3


def allocated_for(machine: CudaMachine, model: Model, max_batch: int | None) -> int:
    """Return the bytes on the GPU of a device for batches of `max_batch`."""
    before = machine.driver.live().get("device bytes", 0)
    with closing(open_cuda(model, [SHAPE], lambda: None, cache=machine.cache, max_batch=max_batch)):
        machine.stream.sync()
        return machine.driver.live()["device bytes"] - before


def test_buckets_are_those_that_cameras_can_fill() -> None:
    assert {cameras: buckets_for(cameras)[-1] for cameras in (0, 1, 2, 3, 16, 17, 32, 1000)} == {
        0: 1,
        1: 1,
        2: 2,
        3: 4,
        16: 16,
        17: 24,
        32: 32,
        1000: 32,
    }
    assert buckets_for(5) == (1, 2, 4, 8)


def test_memory_follows_the_number_of_cameras(cuda_machine: CudaMachine, model: Model) -> None:
    """Inputs are what takes the memory: a slot has one for each camera, and at 32 there is an end."""
    allocated = {cameras: allocated_for(cuda_machine, model, cameras) for cameras in (1, 4, 16, None, 1000)}

    assert allocated[16] - allocated[4] >= SLOTS * 12 * INPUT_BYTES
    assert allocated[4] - allocated[1] >= SLOTS * 3 * INPUT_BYTES
    assert allocated[1] < allocated[1000] / 20
    assert allocated[1000] == allocated[None]


def test_one_camera_has_batches_of_one(open_line: OpenLine) -> None:
    """One graph a slot, and a larger batch is refused."""
    line = open_line(max_batch=1)
    assert line.device.description.max_batch == 1
    assert line.machine.driver.live()["executable graphs"] == SLOTS

    for first in range(5):
        line.submit(shown_frames(1, first))
        assert line.collect(1) == shown_frames(1, first)
    with pytest.raises(DeviceError, match=r"expected a batch of 1\.\.1 frames, got 2"):
        line.submit(shown_frames(2))


def _inspect(line: Line, counts: Sequence[int]) -> tuple[list[Shown], list[Shown]]:
    """Return what batches of these sizes show, and what is found in them, with all slots in use."""
    wanted: list[Shown] = []
    found: list[Shown] = []
    for number, count in enumerate(counts):
        if not line.device.free_slots():
            found += line.collect(1)
        line.submit(shown_frames(count, number))
        wanted += shown_frames(count, number)
    found += line.collect(len(wanted) - len(found))
    return wanted, found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("recordable", [True, False])
def test_batches_grow_while_others_are_under_way(
    open_line: OpenLine, cuda_machine: CudaMachine, recordable: bool, seed: int
) -> None:
    """Each frame gets its own result before, meanwhile and after, whatever the GPU does first."""
    cuda_machine.tensorrt.context_type = RecordableContext
    cuda_machine.tensorrt.recordable = recordable
    line = open_line(max_batch=2)
    cuda_machine.driver.schedule(Schedule.RANDOM, seed)
    largest = [line.device.description.max_batch]
    grown = threading.Event()

    def grow() -> None:
        cuda_machine.gpu.enter()
        line.device.ensure_batch(9)
        grown.set()

    growing = threading.Thread(target=grow)
    growing.start()
    while not grown.is_set():
        wanted, found = _inspect(line, (largest[-1], 1, largest[-1], 2))
        assert found == wanted
        largest.append(line.device.description.max_batch)
    growing.join()

    wanted, found = _inspect(line, (1, 9, 2, 16, 3, 13, 4, 16))
    assert found == wanted
    assert set(largest) <= {2, 16}
    assert line.device.description.max_batch == 16
    with pytest.raises(DeviceError, match=r"expected a batch of 1\.\.16 frames, got 17"):
        line.submit(shown_frames(17))


def test_all_shapes_grow_and_new_ones_have_the_room_too(open_line: OpenLine) -> None:
    """What was opened before, and what is opened later; to less than there is it does not shrink."""
    line = open_line(max_batch=1)
    line.device.ensure_shape((128, 64))
    line.device.ensure_batch(3)
    line.device.ensure_shape((96, 96))
    line.device.ensure_batch(2)

    assert line.device.description.max_batch == 4
    assert line.machine.driver.live()["executable graphs"] == SLOTS * 3 * 3
    wanted, found = _inspect(line, (1, 4, 3, 2))
    assert found == wanted


def test_it_ends_at_the_largest_batch(open_line: OpenLine) -> None:
    line = open_line(max_batch=24)
    line.device.ensure_batch(1000)
    assert line.device.description.max_batch == MAX_BATCH
    calls = line.machine.driver.calls("cuMemAlloc")
    line.device.ensure_batch(2000)
    assert line.machine.driver.calls("cuMemAlloc") == calls


@pytest.mark.parametrize("call", ["cuMemAlloc", "cuMemAllocHost", "cuStreamBeginCapture", "cuGraphInstantiate"])
def test_room_that_cannot_be_made_leaves_the_device_as_it_was(open_line: OpenLine, call: str) -> None:
    """Whichever call of the driver fails: what was made is given back, batches go on, and it can be tried again."""
    line = open_line(max_batch=1, slots=2)
    driver = line.machine.driver
    made = driver.calls(call)
    spare = open_line(max_batch=1, slots=2)
    opened, made = driver.calls(call), driver.calls(call) - made
    spare.device.ensure_batch(2)
    grown = driver.calls(call) - opened
    spare.device.close()
    assert grown

    for number in range(1, grown + 1):
        gc.collect()
        driver.settle()
        before = driver.live()
        driver.inject(call, OUT_OF_MEMORY, number)
        with pytest.raises(VisionLineError, match=r"^cuda"):
            line.device.ensure_batch(2)
        gc.collect()
        driver.settle()
        assert line.device.description.max_batch == 1, f"{call} number {number}"
        assert driver.live() == before, f"{call} number {number}"
        line.submit(shown_frames(1, number))
        assert line.collect(1) == shown_frames(1, number)
    line.device.ensure_batch(2)
    wanted, found = _inspect(line, (2, 1, 2))
    assert found == wanted


def test_larger_batches_that_are_computed_wrongly_are_not_used(open_line: OpenLine) -> None:
    """They may have kernels of their own."""
    line = open_line(max_batch=2)
    line.machine.tensorrt.wrong_from = 4
    with pytest.raises(DeviceError, match=r"batches of 4 to 8 are computed wrongly, against its own float execution"):
        line.device.ensure_batch(8)
    wanted, found = _inspect(line, (2, 1, 2))
    assert (found, line.device.description.max_batch) == (wanted, 2)


def test_each_gpu_has_room_for_all_cameras(cuda_machine: CudaMachine, second_gpu: GpuFrames, model: Model) -> None:
    """All may come to lie on one; together they take what the smaller one does."""
    machine = cuda_machine
    woken = threading.Event()
    device = open_gpus(model, [SHAPE], woken.set, indices=(0, 1), cache=machine.cache, max_batch=2)
    with closing(device):
        assert device.description.max_batch == 2
        device.ensure_batch(5)
        assert device.description.max_batch == 8
        assert machine.driver.live()["executable graphs"] == 2 * SLOTS * len(buckets_for(8))


def test_a_batch_is_no_larger_than_any_model_takes(cuda_machine: CudaMachine, model: Model) -> None:
    """A model that a recipe adds was opened for fewer cameras; then all are made alike."""
    opened = partial(open_cuda, model, [SHAPE], lambda: None, cache=cuda_machine.cache, slots=1)
    device = SeveralModels({OWN_MODEL: OpenModel(opened(max_batch=4))})
    with closing(device):
        assert device.description.max_batch == 4
        device.add("other", OpenModel(opened(max_batch=2), "other"))
        assert device.description.max_batch == 2
        cuda_machine.tensorrt.refusals.add("create_execution_context")
        with pytest.raises(DeviceError, match=r"^model other: "):
            device.ensure_batch(4)
        cuda_machine.tensorrt.refusals.clear()
        device.ensure_batch(4)
        assert device.description.max_batch == 4
    assert BUCKETS[0] == 1, "the smallest is always open"
