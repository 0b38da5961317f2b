# SPDX-License-Identifier: AGPL-3.0-or-later
"""The manifest beside an engine, and the builder where its library is missing; no GPU and no TensorRT needed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from vision_line.devices.model.model import open_model
from vision_line.devices.tensorrt.build import library_version
from vision_line.devices.tensorrt.engine_manifest import (
    BATCH_RANGES,
    Library,
    Target,
    check_engine,
    engine_path,
    manifest_path,
)
from vision_line.errors import DeviceError

SHAPE_HW = (192, 320)
TARGET = Target(Library.TENSORRT, 87, "Orin")


def test_batches_1_to_32_are_covered_once() -> None:
    """The profiles' ranges follow each other without a gap or an overlap."""
    sizes = [size for low, _, high in BATCH_RANGES for size in range(low, high + 1)]

    assert sizes == list(range(1, 33))
    assert all(low <= best <= high for low, best, high in BATCH_RANGES)


def test_names_distinguish_engines(tmp_path: Path) -> None:
    """Shape, library and compute capability are in the file's name; the manifest lies beside it."""
    engine = engine_path(tmp_path, open_model(None), SHAPE_HW, TARGET)

    assert engine.name == "model-192x320-tensorrt-sm87.engine"
    assert manifest_path(engine).name == "model-192x320-tensorrt-sm87.engine.json"


@pytest.mark.parametrize("manifest", [None, "", "{}", '{"manifest_version": 1}'])
def test_an_engine_without_a_manifest_is_refused(tmp_path: Path, manifest: str | None) -> None:
    """Missing, empty, incomplete or of another version: never used."""
    engine = tmp_path / "some.engine"
    engine.write_bytes(b"engine")
    if manifest is not None:
        manifest_path(engine).write_text(manifest, encoding="utf-8")

    with pytest.raises(DeviceError, match=r"some\.engine\.json: (cannot be read|not the manifest of an engine)"):
        check_engine(engine, open_model(None), SHAPE_HW, TARGET, "11.4.0")


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_a_missing_library_is_named() -> None:
    """The message says which package is wanted."""
    with pytest.raises(DeviceError, match=r"tensorrt: cannot be loaded.*provides 'tensorrt'"):
        library_version(Library.TENSORRT)
