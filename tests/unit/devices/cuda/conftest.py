# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the tests of the NVIDIA device share: fakes of NVIDIA's libraries, small videos, and the model that runs."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.cuda_line import Line, OpenLine
from tests.fakes.fakecuda.fixtures import fake_cuda, fake_cuda_process, gpu
from tests.fakes.gpu_libraries.pynv import FakePyNvVideoCodec
from tests.fakes.gpu_libraries.videos import encoded
from tests.fakes.machine import CudaMachine, cuda_machine, engine_folder, second_gpu
from tests.fakes.tiny_model import build_tiny_model

from vision_line.devices.model.model import Model, open_model
from vision_line.errors import RunError

__all__ = ["cuda_machine", "engine_folder", "fake_cuda", "fake_cuda_process", "gpu", "second_gpu"]


@pytest.fixture
def pynv() -> FakePyNvVideoCodec:
    """Return a fake PyNvVideoCodec of the test's own."""
    return FakePyNvVideoCodec()


@pytest.fixture
def encode() -> Callable[..., io.BytesIO]:
    """Return a function that makes a small video; see `encoded`."""
    return encoded


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Return the tiny model, whose classes are the colours, for batches of any size."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(build_tiny_model(batch="n"))
    return open_model(path)


@pytest.fixture
def open_line(cuda_machine: CudaMachine, model: Model) -> Iterator[OpenLine]:
    """Return what opens a line; its device is closed after the test."""
    lines: list[Line] = []

    def open_one(**options: Any) -> Line:
        lines.append(Line(cuda_machine, model, **options))
        return lines[-1]

    yield open_one
    while lines:
        try:
            lines.pop().device.close()
        except RunError:
            assert cuda_machine.may_fail
