# SPDX-License-Identifier: AGPL-3.0-or-later
"""The NVIDIA device on fakes: every order of the GPU's work, every failure, and nothing left behind.

Frames show one tile in the colour of a class; so each result says which frame it came from.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto
from tests.fakes.cuda_line import SHAPE, TILES, Line, OpenLine, Shown, shown_frames
from tests.fakes.fakecuda.driver import LAUNCH_FAILED, OUT_OF_MEMORY, SKIP, Schedule
from tests.fakes.faketensorrt.context import RecordableContext
from tests.fakes.gpu_libraries.nvml import FakeNvml
from tests.fakes.machine import CudaMachine
from tests.fakes.tiny_model import build_tiny_model

from vision_line.devices import stall
from vision_line.devices.cuda.backend import open_cuda
from vision_line.devices.cuda.engine_cache import find_engine, target_of
from vision_line.devices.cuda.slots import MAX_BATCH, Slot
from vision_line.devices.cuda.tensorrt_engine import BUCKETS
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.tensorrt.engine_manifest import Library
from vision_line.errors import DeviceError, RunError, VisionLineError

SEEDS = range(24)


@pytest.mark.parametrize(
    ("schedule", "seed"), [(Schedule.LAZY, 0), (Schedule.EAGER, 0), *((Schedule.RANDOM, seed) for seed in range(6))]
)
def test_results_are_right_in_every_order(open_line: OpenLine, schedule: Schedule, seed: int) -> None:
    """Whatever the GPU does first, each frame gets its own results; batches of all sizes are in flight together."""
    line = open_line()
    line.machine.driver.schedule(schedule, seed)
    wanted: list[Shown] = []
    found: list[Shown] = []

    for batch, count in enumerate((1, 3, 5, 2, 9, 4, 32, 17)):
        if not line.device.free_slots():
            found += line.collect(1)
        line.submit(shown_frames(count, batch))
        wanted += shown_frames(count, batch)
    found += line.collect(len(wanted) - len(found))

    assert found == wanted


def test_an_input_of_half_precision_is_written_by_its_own_kernel(
    cuda_machine: CudaMachine, model: Model, tmp_path: Path
) -> None:
    """Of half the size, and as from float32, the same frames give the same results."""
    path = tmp_path / "half.onnx"
    path.write_bytes(build_tiny_model(batch="n", element=TensorProto.FLOAT16))
    half = open_model(path)
    allocated: dict[str, int] = {}

    for name, one in (("float", model), ("half", half)):
        before = cuda_machine.driver.live().get("device bytes", 0)
        line = Line(cuda_machine, one, slots=1)
        allocated[name] = cuda_machine.driver.live()["device bytes"] - before
        for first in range(3):
            line.submit(shown_frames(9, first))
            assert line.collect(9) == shown_frames(9, first)
        line.device.close()

    assert half.input_dtype == "float16"
    assert allocated["float"] - allocated["half"] >= MAX_BATCH * 3 * SHAPE[0] * SHAPE[1] * 2


def _run_once(line: Line, first: Shown, streams: Sequence[Any]) -> list[Shown]:
    """Inspect two frames that come from two decoders, each with a stream of its own."""
    other = (first[0], (first[1] + 3) % TILES)
    line.device.submit([line.frame(first, streams[0]), line.frame(other, streams[1])])
    return line.collect(2)


def _is_noticed(line: Line, call: str, number: int, streams: Sequence[Any]) -> bool:
    """Return whether leaving out the call number `number` of a batch gives a wrong result in some order."""
    driver = line.machine.driver
    line.machine.may_fail = True
    for seed in SEEDS:
        driver.schedule(Schedule.RANDOM if seed else Schedule.LAZY, seed)
        first = shown_frames(1, seed)[0]
        driver.inject(call, SKIP, number)
        try:
            found = _run_once(line, first, streams)
        except RunError:
            return True
        if found != [first, (first[0], (first[1] + 3) % TILES)]:
            return True
        driver.schedule(Schedule.LAZY)
    return False


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_no_wait_can_be_left_out(open_line: OpenLine, number: int) -> None:
    """Two frames, the slot's and the engines' stream wait for each other four times in a batch; each is needed."""
    line = open_line(slots=1)
    driver = line.machine.driver
    streams = [line.machine.gpu.device.create_stream() for _ in range(2)]
    before = driver.calls("cuStreamWaitEvent")
    assert _run_once(line, (1, 1), streams) == [(1, 1), (1, 4)]
    assert driver.calls("cuStreamWaitEvent") - before == 4

    assert _is_noticed(line, "cuStreamWaitEvent", number, streams)
    line.device.close()
    for stream in streams:
        stream.close()


def test_results_are_waited_for(open_line: OpenLine) -> None:
    """Without the wait of the completion thread, results are read before they are there."""
    line = open_line(slots=1)
    streams = [line.machine.stream] * 2
    assert _run_once(line, (1, 1), streams) == [(1, 1), (1, 4)]

    assert _is_noticed(line, "cuEventSynchronize", 1, streams)


def test_engines_share_a_workspace_because_they_share_a_stream(
    open_line: OpenLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engines that ran on their slots' own streams would spoil each other's workspace, and that would be seen."""
    start = Slot.start
    monkeypatch.setattr(Slot, "start", lambda slot, kernel, engine, stream: start(slot, kernel, engine, slot.stream))
    line = open_line()

    # Two runs meet in the workspace in about one of twenty orders; the first that is seen is enough.
    assert any(_is_spoilt(line, seed) for seed in range(1000))


def _is_spoilt(line: Line, seed: int) -> bool:
    """Whether three batches that are queued together and run in a random order give wrong results."""
    driver = line.machine.driver
    wanted = [shown for slot in range(3) for shown in shown_frames(2, seed + slot)]
    with driver.paused():
        driver.schedule(Schedule.LAZY)
        for slot in range(3):
            line.submit(wanted[2 * slot : 2 * slot + 2])
        driver.schedule(Schedule.RANDOM, seed)
    return line.collect(6) != wanted


def test_steady_state_allocates_nothing(open_line: OpenLine) -> None:
    """After the first batch of a size nothing is allocated, captured or created; every batch is one graph launch."""
    line = open_line()
    driver = line.machine.driver
    frames = [line.frame(shown) for shown in shown_frames(8)]
    line.device.submit(frames)
    line.collect(8)
    made = ("cuMemAlloc", "cuMemAllocHost", "cuStreamCreate", "cuEventCreate", "cuStreamBeginCapture")
    before = {name: driver.calls(name) for name in made}
    launches = driver.calls("cuGraphLaunch")

    for count in range(1, 9):
        line.device.submit(frames[:count])
        line.collect(count)

    assert {name: driver.calls(name) for name in made} == before
    assert driver.calls("cuGraphLaunch") - launches == 8
    assert driver.live()["executable graphs"] == 3 * len(BUCKETS)


def test_rows_beyond_the_batch_are_not_looked_at(open_line: OpenLine) -> None:
    """A batch of three runs as one of four, whose last row holds what is no number."""
    line = open_line()

    line.submit(shown_frames(3))

    assert line.collect(3) == shown_frames(3)


@pytest.mark.parametrize("recordable", [True, False])
def test_engines_that_cannot_be_recorded_run_all_the_same(
    open_line: OpenLine, cuda_machine: CudaMachine, recordable: bool
) -> None:
    """TensorRT-RTX says whether its work can be recorded; without graphs the results are the same."""
    cuda_machine.tensorrt.context_type = RecordableContext
    cuda_machine.tensorrt.recordable = recordable
    line = open_line(slots=2)
    launches = line.machine.driver.calls("cuGraphLaunch")

    for first in range(3):
        line.submit(shown_frames(3, first))
        assert line.collect(3) == shown_frames(3, first)

    assert (line.machine.driver.calls("cuGraphLaunch") > launches) is recordable


def test_a_failing_gpu_ends_the_run_loudly(open_line: OpenLine) -> None:
    """Work that fails on the GPU comes back as an error of the run, from `collect` and from `close`."""
    line = open_line()
    line.machine.may_fail = True
    line.machine.tensorrt.refusals.add("the GPU")
    line.submit(shown_frames(2))

    with pytest.raises(RunError, match=r"^cuda: the GPU failed: CUDA_ERROR_LAUNCH_FAILED"):
        line.collect(2)
    with pytest.raises(RunError, match="the GPU failed"):
        line.device.close()
    line.device.close()


def test_a_batch_that_cannot_be_started_ends_the_run(open_line: OpenLine) -> None:
    """The driver refuses the graph."""
    line = open_line()
    line.machine.driver.inject("cuGraphLaunch", LAUNCH_FAILED)

    with pytest.raises(RunError, match=r"^cuda: a batch cannot be started: CUDA_ERROR_LAUNCH_FAILED"):
        line.submit(shown_frames(1))


def test_a_gpu_that_does_not_answer_is_noticed(open_line: OpenLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that takes too long is an error of the run, although nothing has failed."""
    monkeypatch.setattr(stall, "STALL_S", 0.05)
    line = open_line()
    answer = line.machine.tensorrt.hold()
    line.submit(shown_frames(1))
    line.woken.wait(0.1)

    with pytest.raises(RunError, match="has not answered"):
        line.device.collect()
    answer.set()
    monkeypatch.undo()


def test_a_gpu_that_was_stopped_with_the_program_is_not_blamed(
    open_line: OpenLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results were not asked for meanwhile, and come as ever."""
    monkeypatch.setattr(stall, "STALL_S", 2.0)
    monkeypatch.setattr(stall, "ASKED_EVERY_S", 0.5)
    line = open_line()
    answer = line.machine.tensorrt.hold()
    line.submit(shown_frames(1))
    assert line.device.collect() == []
    time.sleep(2.2)

    assert line.device.collect() == []
    answer.set()
    assert len(line.collect(1)) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("Builder", "cannot build here"),
        ("add_constant", "refuses a constant layer"),
        ("add_gather", "refuses a gather layer"),
        ("add_reduce", "refuses a reduce layer"),
        ("add_topk", "refuses a top-k layer"),
        ("build_serialized_network", "cannot build it for SM 86: the build is refused"),
        ("Runtime", "does not start"),
        ("deserialize_cuda_engine", "cannot be loaded: not a plan"),
        ("create_runtime_config", "gives no configuration"),
        ("create_execution_context", "gives no context"),
        ("set_optimization_profile_async", "has no profile 0"),
        ("set_input_shape", "refuses the input shape"),
        ("set_tensor_address", "the address of images is refused"),
        ("execute_async_v3", "does not run: the run is refused"),
    ],
)
def test_every_refusal_is_an_error(cuda_machine: CudaMachine, model: Model, call: str, message: str) -> None:
    """TensorRT says None or False; the device is not opened, and says why."""
    cuda_machine.tensorrt.refusals.add(call)

    with pytest.raises(DeviceError, match=message):
        open_cuda(model, [SHAPE], lambda: None, cache=cuda_machine.cache)


@pytest.mark.parametrize(
    "call",
    ["cuMemAlloc", "cuMemAllocHost", "cuStreamCreate", "cuEventCreate", "cuStreamBeginCapture", "cuGraphInstantiate"],
)
def test_a_device_that_cannot_be_opened_leaves_nothing(cuda_machine: CudaMachine, model: Model, call: str) -> None:
    """Whichever call of the driver fails while it opens, everything before it is given back."""
    driver, before = cuda_machine.driver, cuda_machine.driver.live()
    find_engine(model, SHAPE, target_of(cuda_machine.gpu, Library.TENSORRT), cuda_machine.cache)  # built once for all
    made = driver.calls(call)
    open_cuda(model, [SHAPE], lambda: None, cache=cuda_machine.cache, slots=1).close()
    made = driver.calls(call) - made
    assert made

    for number in range(1, made + 1):
        driver.inject(call, OUT_OF_MEMORY, number)
        with pytest.raises(VisionLineError, match=r"^cuda: "):
            open_cuda(model, [SHAPE], lambda: None, cache=cuda_machine.cache, slots=1)
        gc.collect()
        cuda_machine.stream.sync()
        driver.settle()
        assert driver.live() == before, f"{call} number {number}"


def test_a_shape_that_cannot_be_opened_leaves_the_device_as_it_was(open_line: OpenLine) -> None:
    """Other shapes go on, and the shape can be tried again."""
    line = open_line()
    line.machine.tensorrt.refusals.add("create_execution_context")

    with pytest.raises(DeviceError, match="gives no context"):
        line.device.ensure_shape((96, 96))

    line.machine.tensorrt.refusals.clear()
    assert list(line.device.description.input_shapes_hw) == [SHAPE]
    line.submit(shown_frames(2))
    assert line.collect(2) == shown_frames(2)
    line.device.ensure_shape((96, 96))
    assert list(line.device.description.input_shapes_hw) == [SHAPE, (96, 96)]
    line.submit(shown_frames(2))
    assert line.collect(2) == shown_frames(2)


def test_shapes_share_memory(cuda_machine: CudaMachine, model: Model) -> None:
    """A smaller shape takes no memory of its own but for its graphs."""
    opened = {}
    for shapes in ([(128, 128)], [(64, 128), (128, 128), (96, 96)]):
        device = open_cuda(model, shapes, lambda: None, cache=cuda_machine.cache)
        opened[len(shapes)] = cuda_machine.driver.live()["device bytes"]
        device.close()

    assert opened[1] == opened[3]


def test_a_frame_that_is_not_on_the_gpu_is_refused(open_line: OpenLine) -> None:
    """The camera is named, the slot stays free, and nothing of the batch is in flight."""
    line = open_line()
    good, bad, wrong = (line.frame((0, 0)) for _ in range(3))
    bad.camera, bad.data = "dock-3", object()
    wrong.size_wh = (126, 64)

    with pytest.raises(DeviceError, match=r"camera 'dock-3': frame 2 cannot be converted: .*GPU 0, found object"):
        line.device.submit([good, bad])
    with pytest.raises(DeviceError, match=r"expected a frame of \(126, 64\), found \(128, 64\)"):
        line.device.submit([wrong])

    assert (line.device.free_slots(), line.device.in_flight()) == (3, 0)


def test_the_description_says_what_runs(open_line: OpenLine) -> None:
    """GPU, versions, precision, shapes, slots and batch."""
    description = open_line().device.description

    assert (description.name, description.precision, description.input_shapes_hw) == ("cuda:0", "fp32", (SHAPE,))
    assert (description.slots, description.max_batch) == (3, 32)
    assert description.detail == "Fake GPU, CUDA 13.0, tensorrt 10.16.1.11"


def test_loads_are_those_of_the_device(open_line: OpenLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML is asked about the GPU that the device is on, for as long as it is open."""
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    line = open_line()

    (load,) = line.device.sample()
    line.device.close()

    assert (load.name, load.memory_used_mb, load.sm_percent) == ("cuda:0", 1100, 32)
    assert line.device.sample() == ()
    assert nvml.opened == 0


def test_a_device_without_nvml_reports_nothing(open_line: OpenLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It inspects all the same."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    line = open_line()
    line.submit(shown_frames(2))

    assert line.device.sample() == ()
    assert line.collect(2) == shown_frames(2)
