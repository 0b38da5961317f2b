# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ctrl-C while TensorRT-RTX builds an engine in this process."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import onnx
import pytest
from tests.fakes.miniature_yolo import draw_images, draw_yolo
from tests.fakes.quantizing import quantize_onnx

from vision_line.devices.model.model import Model, open_model
from vision_line.devices.tensorrt.build import build_engine
from vision_line.devices.tensorrt.engine_manifest import Library, Target
from vision_line_compression.bundle.bundle_writer import write_bundle
from vision_line_compression.quantize.settings import QuantizeSettings

pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra")

pytestmark = pytest.mark.alone

SHAPE_HW = (64, 96)
AMPERE = Target(Library.RTX, 86)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Return a small INT8 network without engines; nobody changes it."""
    folder = tmp_path_factory.mktemp("interrupted")
    onnx.save(draw_yolo(), str(folder / "float.onnx"))
    quantize_onnx(folder / "float.onnx", folder / "int8.onnx", QuantizeSettings(), draw_images(4))
    return open_model(write_bundle(folder / "bundle", folder / "int8.onnx", "tiny", input_shapes_hw=[SHAPE_HW]))


def test_ctrl_c_stops_a_build_and_leaves_nothing(model: Model, tmp_path: Path) -> None:
    """The signal arrives in the middle of a build."""
    steps: list[str] = []

    def interrupt(phase: str, done: int, total: int) -> None:
        if not steps:
            signal.raise_signal(signal.SIGINT)
        steps.append(phase)

    with pytest.raises(KeyboardInterrupt):
        build_engine(model, SHAPE_HW, AMPERE, tmp_path / "engines", interrupt)

    assert steps
    assert not list((tmp_path / "engines").iterdir())


@pytest.mark.parametrize("position", [1, 4, 16, 64])
def test_ctrl_c_while_the_library_logs_is_not_lost(
    position: int, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The library swallows what its log raises: the signal arrives during a message, and still ends the build."""
    messages: list[str] = []

    class Interrupting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())
            if len(messages) == position:
                signal.raise_signal(signal.SIGINT)

    library_log = logging.getLogger("vision_line.devices.tensorrt.build")
    caplog.set_level(logging.DEBUG, library_log.name)
    handler = Interrupting()
    library_log.addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            build_engine(model, SHAPE_HW, AMPERE, tmp_path / "engines")
    finally:
        library_log.removeHandler(handler)

    assert len(messages) >= position
    assert not list((tmp_path / "engines").iterdir())
