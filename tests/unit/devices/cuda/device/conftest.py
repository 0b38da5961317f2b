# SPDX-License-Identifier: AGPL-3.0-or-later
"""The machine of fakes that the device is opened on, and the model that it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.conftest import build_tiny_model
from tests.fakes.machine import cuda_machine, engine_folder, second_gpu

from vision_line.devices.model.model import Model, open_model

__all__ = ["cuda_machine", "engine_folder", "model", "second_gpu"]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Return the tiny model, whose classes are the colours, for batches of any size."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(build_tiny_model(batch="n"))
    return open_model(path)
