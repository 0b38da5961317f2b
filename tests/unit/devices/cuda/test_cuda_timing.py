# SPDX-License-Identifier: AGPL-3.0-or-later
"""Times of engine and kernel on the fakes: each bucket's own work is between the events, and nothing is left behind."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.builders import FULL
from tests.fakes.fakecuda.driver import OUT_OF_MEMORY, Schedule
from tests.fakes.faketensorrt.context import Job
from tests.fakes.machine import CudaMachine

from vision_line.devices.cuda.engine_cache import find_engine
from vision_line.devices.cuda.kernel import LetterboxKernel
from vision_line.devices.cuda.tensorrt_engine import BUCKETS
from vision_line.devices.cuda.timing import time_engine, time_kernel
from vision_line.devices.model.model import Model
from vision_line.devices.tensorrt.engine_manifest import Library, Target
from vision_line.errors import DeviceError

SHAPE = (64, 128)
MS_EACH = 2.0  # how long the slowed engine takes for a frame
REPEATS = 3


@pytest.fixture
def plan(cuda_machine: CudaMachine, model: Model) -> Path:
    """Return a built engine of the tiny model."""
    return find_engine(model, SHAPE, Target(Library.TENSORRT, 86, "Fake GPU"), cuda_machine.cache)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Let the fake engine take its time instead of computing, and count its runs by batch."""
    counted: Counter[int] = Counter()

    def infer(job: Job) -> None:
        counted[job.shape[0]] += 1
        time.sleep(job.shape[0] * MS_EACH / 1000)

    monkeypatch.setattr(Job, "infer", infer)
    monkeypatch.setattr(Job, "finish", lambda job: None)
    return counted


def test_an_engines_time_is_that_of_one_replay(cuda_machine: CudaMachine, plan: Path, runs: Counter[int]) -> None:
    """Buckets are measured apart, each after runs that warm up."""
    found = time_engine(cuda_machine.gpu, sys.modules["tensorrt"], plan, SHAPE, buckets=(1, 4), repeats=REPEATS)

    assert list(found) == [1, 4]
    assert MS_EACH <= found[1] < 4 * MS_EACH <= found[4]
    assert runs[1] > REPEATS
    assert runs[8] == 1, "only prepared"


@pytest.mark.parametrize("schedule", Schedule)
def test_the_engine_reads_noise(cuda_machine: CudaMachine, plan: Path, schedule: Schedule) -> None:
    """All rows of the largest batch were written before the engine reads them."""
    cuda_machine.driver.schedule(schedule, 3)

    found = time_engine(cuda_machine.gpu, sys.modules["tensorrt"], plan, SHAPE, buckets=(32,), repeats=1)

    assert found[32] > 0


def test_an_engine_that_does_not_run_is_one_sentence(cuda_machine: CudaMachine, plan: Path) -> None:
    """Whatever was allocated by then is given back."""
    cuda_machine.tensorrt.refusals.add("execute_async_v3")

    with pytest.raises(DeviceError, match="the engine does not run"):
        time_engine(cuda_machine.gpu, sys.modules["tensorrt"], plan, SHAPE, repeats=REPEATS)


def test_too_little_memory_is_one_sentence(cuda_machine: CudaMachine, plan: Path) -> None:
    """The GPU may be in use by others."""
    cuda_machine.driver.inject("cuMemAlloc", OUT_OF_MEMORY, at=3)

    with pytest.raises(DeviceError, match="cannot be timed: CUDA_ERROR_OUT_OF_MEMORY"):
        time_engine(cuda_machine.gpu, sys.modules["tensorrt"], plan, SHAPE, repeats=REPEATS)


def test_the_kernel_is_timed_for_each_bucket(cuda_machine: CudaMachine) -> None:
    """One launch for a batch; frames are used in turn."""
    rgb = np.zeros((96, 160, 3), np.uint8)
    frames = [(cuda_machine.show(rgb), FULL) for _ in range(2)]
    kernel = LetterboxKernel(cuda_machine.gpu.device, cuda_machine.stream, half=False, cache_dir=None)
    launches = cuda_machine.driver.calls("cuLaunchKernel")

    found = time_kernel(cuda_machine.gpu, kernel, frames, SHAPE, repeats=REPEATS)

    assert list(found) == list(BUCKETS)
    assert found[32] > found[1] > 0
    assert (cuda_machine.driver.calls("cuLaunchKernel") - launches) % len(BUCKETS) == 0
    kernel.close()


def test_two_engines_can_be_compared(cuda_machine: CudaMachine, plan: Path, runs: Counter[int]) -> None:
    """Nothing of the first is in the way of the second."""
    for _ in range(2):
        assert time_engine(cuda_machine.gpu, sys.modules["tensorrt"], plan, SHAPE, buckets=(1,), repeats=1)[1] > 0
