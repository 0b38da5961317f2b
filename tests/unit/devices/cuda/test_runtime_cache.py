# SPDX-License-Identifier: AGPL-3.0-or-later
"""What TensorRT-RTX compiles at a start is there at the next one; what does not fit is compiled anew, never used."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.faketensorrt.context import RecordableContext
from tests.fakes.faketensorrt.runtime import CompilingConfig
from tests.fakes.machine import CudaMachine

from vision_line.devices.cuda.backend import open_cuda
from vision_line.devices.cuda.tensorrt_engine import BUCKETS
from vision_line.devices.model.model import Model

SHAPE = (64, 128)


@pytest.fixture
def machine(cuda_machine: CudaMachine) -> CudaMachine:
    """Return the machine with a library whose contexts compile."""
    cuda_machine.tensorrt.config_type = CompilingConfig
    cuda_machine.tensorrt.context_type = RecordableContext
    return cuda_machine


def compiled_at_start(machine: CudaMachine, model: Model) -> int:
    """Open a device, close it, and return how many kernels were compiled."""
    before = machine.tensorrt.compiled
    with closing(open_cuda(model, [SHAPE], lambda: None, cache=machine.cache, slots=1)):
        return machine.tensorrt.compiled - before


def stored(machine: CudaMachine) -> Path:
    (path,) = (machine.cache / "runtime").iterdir()
    return path


def test_the_second_start_compiles_nothing(machine: CudaMachine, model: Model) -> None:
    """The first one compiles what each size of a batch needs, once."""
    assert compiled_at_start(machine, model) == len(BUCKETS)
    assert compiled_at_start(machine, model) == 0
    assert stored(machine).name.endswith("-Fake-GPU.cache")


def test_a_damaged_file_is_compiled_anew_and_replaced(
    machine: CudaMachine, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    """The library says that it does not take it."""
    compiled_at_start(machine, model)
    stored(machine).write_bytes(b"half of a file")

    with caplog.at_level(logging.INFO):
        assert compiled_at_start(machine, model) == len(BUCKETS)
    assert "which are compiled anew" in caplog.text
    assert compiled_at_start(machine, model) == 0


def test_a_folder_that_cannot_be_written_costs_time_and_no_start(
    machine: CudaMachine, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and the device opens."""
    (machine.cache / "runtime").write_text("a file in the folder's place")

    assert compiled_at_start(machine, model) == compiled_at_start(machine, model) == len(BUCKETS)
    assert "are compiled at each start" in caplog.text


def test_tensorrt_has_none(cuda_machine: CudaMachine, model: Model) -> None:
    """Its plans hold machine code."""
    compiled_at_start(cuda_machine, model)

    assert not (cuda_machine.cache / "runtime").exists()
