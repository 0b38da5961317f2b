# SPDX-License-Identifier: AGPL-3.0-or-later
"""The machine of fakes that a GPU's device is opened on, and the model that every device runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.fakecuda.fixtures import fake_cuda, fake_cuda_process
from tests.fakes.machine import cuda_machine, engine_folder, second_gpu
from tests.fakes.tiny_model import build_tiny_model

__all__ = ["cuda_machine", "engine_folder", "fake_cuda", "fake_cuda_process", "second_gpu"]

WriteModel = Callable[..., Path]


@pytest.fixture
def write_model(tmp_path: Path) -> WriteModel:
    """Write a tiny model into the test's folder; arguments as `build_tiny_model`."""

    def write(*args: Any, **kwargs: Any) -> Path:
        path = tmp_path / "tiny.onnx"
        path.write_bytes(build_tiny_model(*args, **kwargs))
        return path

    return write
