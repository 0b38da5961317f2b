# SPDX-License-Identifier: AGPL-3.0-or-later
"""TensorRT-RTX parses the canonical file and builds its engines on a machine without a GPU; stale ones are refused."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest

from vision_line.devices.model.model import Model, open_model
from vision_line.devices.tensorrt.build import build_engine, ensure_engine, library_version
from vision_line.devices.tensorrt.engine_manifest import Library, Target, check_engine, engine_path, manifest_path
from vision_line.errors import DeviceError, ModelError
from vision_line_compression.bundle.bundle_writer import write_bundle
from vision_line_compression.engines.engine_build import build_rtx_engines
from vision_line_compression.network.onnx_file import load_model
from vision_line_compression.quantize.unsigned import write_unsigned

if TYPE_CHECKING:
    from tests.integration.compression.quantize.conftest import Quantized

pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra")

SHAPE_HW = (64, 96)
TURING = Target(Library.RTX, 75)
AMPERE = Target(Library.RTX, 86)


@pytest.fixture(scope="module")
def built(quantized: Quantized, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle with an engine for each GPU generation; nobody changes it."""
    folder = tmp_path_factory.mktemp("built") / "bundle"
    write_bundle(folder, quantized.int8_onnx, "boards", input_shapes_hw=[SHAPE_HW])
    build_rtx_engines(folder)
    return folder


@pytest.fixture
def bundle(built: Path, tmp_path: Path) -> Path:
    """Return a bundle with one engine, for SM 86, to be changed."""
    model = open_model(built)
    folder = write_bundle(tmp_path / "bundle", model.path, "boards", input_shapes_hw=[SHAPE_HW])
    (folder / "engines").mkdir()
    engine = engine_path(built / "engines", model, SHAPE_HW, AMPERE)
    for path in (engine, manifest_path(engine)):
        shutil.copy(path, folder / "engines")
    return folder


def test_engines_are_built_for_every_generation_and_kept(built: Path) -> None:
    """One for each compute capability, with a manifest that fits; the second call builds nothing."""
    started: list[str] = []
    written = [path.stat().st_mtime_ns for path in sorted((built / "engines").glob("*.engine"))]

    def display(title: str) -> AbstractContextManager[None]:
        started.append(title)
        return nullcontext()

    engines = build_rtx_engines(built, (75, 86, 89, 120), display)

    assert started == [f"engine {n} of 4: 64x96 SM {sm}" for n, sm in enumerate((75, 86, 89, 120), start=1)]
    assert [engine.stat().st_mtime_ns for engine in sorted(engines)] == written
    manifest = check_engine(engines[1], open_model(built), SHAPE_HW, AMPERE, library_version(Library.RTX))
    assert (manifest.sm, manifest.gpu, manifest.batch_ranges) == (86, None, ((1, 1, 4), (5, 16, 32)))
    assert manifest.inputs[0].name == "images"
    assert manifest.inputs[0].shape == (-1, 3, -1, -1)
    assert sorted(path.suffix for path in engines[0].parent.iterdir()) == [".engine"] * 4 + [".json"] * 4


def test_a_stale_engine_is_refused_with_every_reason_and_rebuilt_on_demand(bundle: Path) -> None:
    """Another model, another version, another GPU generation, other bytes."""
    model, version = open_model(bundle), library_version(Library.RTX)
    engine = engine_path(bundle / "engines", model, SHAPE_HW, AMPERE)
    changed = replace(model, sha256="0" * 64)

    with pytest.raises(DeviceError, match=r"stale.*model sha256.*library version: expected 9\.9.*compute capability"):
        check_engine(engine, changed, SHAPE_HW, TURING, "9.9")
    with engine.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DeviceError, match="stale engine: engine sha256"):
        check_engine(engine, model, SHAPE_HW, AMPERE, version)
    assert ensure_engine(model, SHAPE_HW, AMPERE, bundle / "engines") == engine
    check_engine(engine, model, SHAPE_HW, AMPERE, version)
    manifest_path(engine).unlink()
    with pytest.raises(DeviceError, match="cannot be read"):
        check_engine(engine, model, SHAPE_HW, AMPERE, version)


def opened(model: Model, path: Path) -> Model:
    return replace(model, path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_what_cannot_be_built_is_refused_with_the_reason(built: Path, quantized: Quantized, tmp_path: Path) -> None:
    """The unsigned variant, a fixed input, and a GPU generation that the library does not know."""
    model = open_model(built)
    unsigned = write_unsigned(quantized.int8_onnx, tmp_path / "u8.onnx")
    fixed = load_model(quantized.int8_onnx)
    for axis, size in ((0, 1), (2, 64), (3, 96)):
        fixed.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
    onnx.save(fixed, str(tmp_path / "fixed.onnx"))

    with pytest.raises(ModelError, match="cannot be parsed"):
        build_engine(opened(model, unsigned), SHAPE_HW, AMPERE, tmp_path)
    with pytest.raises(ModelError, match=r"of free sizes, found \(1, 3, 64, 96\)"):
        build_engine(opened(model, tmp_path / "fixed.onnx"), SHAPE_HW, AMPERE, tmp_path)
    with pytest.raises(DeviceError, match=r"expected one of SM75, .*found SM70"):
        build_engine(model, SHAPE_HW, Target(Library.RTX, 70), tmp_path)
    with pytest.raises(ModelError, match="expected a bundle folder"):
        build_rtx_engines(tmp_path)
    assert not engine_path(tmp_path, model, SHAPE_HW, AMPERE).exists()
