# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where engines come from: the bundle, the cache, a build that can be stopped; stale ones are never used."""

from __future__ import annotations

import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from tests.fakes.fakecuda.driver import OUT_OF_MEMORY, FakeDriver
from tests.fakes.faketensorrt.latest import MAGIC
from tests.fakes.faketensorrt.library import FakeTensorRT
from tests.fakes.faketensorrt.words import BuilderFlag
from tests.fakes.machine import CudaMachine
from tests.fakes.tiny_model import build_tiny_model

from vision_line.devices.cuda.build_room import MOST_WORKSPACE_BYTES
from vision_line.devices.cuda.context import GpuContext, open_gpu
from vision_line.devices.cuda.engine_cache import ENGINES_FOLDER, choose_library, find_engine, target_of
from vision_line.devices.cuda.multi_gpu import usable_gpus
from vision_line.devices.model.heads import HeadDecoder, HeadKind, class_floors
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.tensorrt import engine_manifest
from vision_line.devices.tensorrt.build import build_engine
from vision_line.devices.tensorrt.engine_manifest import Library, Target, engine_path
from vision_line.errors import DeviceError, ModelError
from vision_line.frames import Detections

SHAPE = (64, 128)
TARGET = Target(Library.TENSORRT, 86, "Fake GPU")


def test_an_engine_is_built_once(cuda_machine: CudaMachine, model: Model) -> None:
    """The second time it is taken from the cache, where model, library version and GPU have a folder of their own."""
    engine = find_engine(model, SHAPE, TARGET, cuda_machine.cache)

    assert engine == find_engine(model, SHAPE, TARGET, cuda_machine.cache)
    assert cuda_machine.tensorrt.builds == 1
    assert engine.parent.name == f"{model.sha256[:16]}-tensorrt-10.16.1.11-Fake-GPU"
    assert engine.name == "tiny-64x128-tensorrt-sm86.engine"


def test_an_engine_is_tuned_on_its_own_gpu(cuda_machine: CudaMachine, model: Model) -> None:
    """The thread that builds starts without a GPU, and the library would take the first."""
    cuda_machine.driver.show(2)

    find_engine(model, SHAPE, target_of(open_gpu(1), Library.TENSORRT), cuda_machine.cache)

    assert cuda_machine.tensorrt.built_on == [1]


def test_a_build_leaves_room_for_the_cameras(
    cuda_machine: CudaMachine, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels are tried with little memory, and timed on a stream behind all that inspects: the default is FFmpeg's."""
    gpu, library = cuda_machine.gpu, cuda_machine.tensorrt
    find_engine(model, SHAPE, target_of(gpu, Library.TENSORRT), cuda_machine.cache)

    taken = library.taken
    assert taken is not None
    assert taken.workspace_bytes == MOST_WORKSPACE_BYTES
    assert taken.priority is not None
    with closing(gpu.open_stream()) as inspecting:
        assert taken.priority > inspecting.priority  # the lower number goes first

    monkeypatch.setattr(GpuContext, "free_bytes", lambda _gpu: MOST_WORKSPACE_BYTES)
    build_engine(model, SHAPE, target_of(gpu, Library.TENSORRT), cuda_machine.cache)
    assert library.taken is not None
    assert library.taken.workspace_bytes == MOST_WORKSPACE_BYTES // 2


def test_a_gpu_without_room_for_a_build_is_an_error(cuda_machine: CudaMachine, model: Model) -> None:
    """In one sentence, and nothing is left behind."""
    before = cuda_machine.driver.live()
    cuda_machine.driver.inject("cuStreamCreate", OUT_OF_MEMORY)

    with pytest.raises(DeviceError, match=r"^cuda: an engine cannot be built: "):
        build_engine(model, SHAPE, target_of(cuda_machine.gpu, Library.TENSORRT), cuda_machine.cache)
    assert cuda_machine.driver.live() == before


def test_a_gpu_that_the_library_does_not_know_is_not_usable(
    fake_cuda: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT-RTX makes no engines for servers' GPUs: that is found when a device is chosen, not in the run."""
    library = FakeTensorRT(fake_cuda, version="1.7.1", name="tensorrt_rtx")
    library.module.__dict__["ComputeCapability"] = IntEnum("ComputeCapability", ["SM75", "SM86", "CURRENT"])
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", library.module)

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(usable_gpus).result() == (0,)
    fake_cuda.machine(capability=90)
    with (  # in a new thread, because cuda.core asks each GPU once for each thread
        ThreadPoolExecutor(1) as threads,
        pytest.raises(DeviceError, match=r"tensorrt-rtx 1\.7\.1: expected one of SM75, SM86, found SM90"),
    ):
        threads.submit(usable_gpus).result()


@pytest.mark.parametrize("version", ["10.16.1.11", "11.4.0.106"])
def test_tensorrt_10_and_11_build_by_one_path(
    cuda_machine: CudaMachine, model: Model, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each version has engines of its own."""
    first = find_engine(model, SHAPE, TARGET, cuda_machine.cache)
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRT(cuda_machine.driver, version=version).module)

    engine = find_engine(model, SHAPE, TARGET, cuda_machine.cache)

    assert (engine == first) is (version == "10.16.1.11")


def test_other_inputs_have_other_engines(cuda_machine: CudaMachine, model: Model) -> None:
    """Another shape, GPU or model shares nothing."""
    engines = {
        find_engine(model, SHAPE, TARGET, cuda_machine.cache),
        find_engine(model, (96, 96), TARGET, cuda_machine.cache),
        find_engine(model, SHAPE, replace(TARGET, gpu="Other GPU"), cuda_machine.cache),
        find_engine(replace(model, sha256="0" * 64), SHAPE, TARGET, cuda_machine.cache),
    }

    assert len(engines) == cuda_machine.tensorrt.builds == 4


def test_a_bundles_engine_is_preferred_and_a_stale_one_is_named(
    cuda_machine: CudaMachine, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    """What was built ahead is used as it is; one that does not fit costs a build, and a line in the log."""
    built = find_engine(model, SHAPE, TARGET, cuda_machine.cache)
    shipped = engine_path(model.path.parent / ENGINES_FOLDER, model, SHAPE, TARGET)
    built.parent.rename(shipped.parent)

    assert find_engine(model, SHAPE, TARGET, cuda_machine.cache) == shipped
    with shipped.open("ab") as file:
        file.write(b"\0")
    with caplog.at_level(logging.WARNING):
        assert find_engine(model, SHAPE, TARGET, cuda_machine.cache) == built
    assert "the bundle's engine is not used" in caplog.text
    assert "engine sha256" in caplog.text


def test_engines_of_another_top_k_are_stale(
    cuda_machine: CudaMachine, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest says how many anchors an engine hands back."""
    engine = find_engine(model, SHAPE, TARGET, cuda_machine.cache)
    monkeypatch.setattr(engine_manifest, "TOP_K", 5)

    with pytest.raises(DeviceError, match="stale engine: top-k: expected 5, found 1024"):
        engine_manifest.check_engine(engine, model, SHAPE, TARGET, "10.16.1.11")
    assert find_engine(model, SHAPE, TARGET, cuda_machine.cache) == engine
    assert cuda_machine.tensorrt.builds == 2


def test_times_of_another_gpu_are_measured_again(
    cuda_machine: CudaMachine, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that was copied from another machine: its timing cache is replaced, with a line in the log."""
    built = find_engine(model, SHAPE, TARGET, cuda_machine.cache)
    cache = built.with_name("timing.cache")
    assert cache.read_bytes() == b"+"
    cache.write_bytes(b"of another GPU")
    built.unlink()

    with caplog.at_level(logging.INFO):
        find_engine(model, SHAPE, TARGET, cuda_machine.cache)

    assert "measured on another GPU or by another version" in caplog.text
    assert cache.read_bytes() == b"+"


def test_a_build_can_be_stopped(cuda_machine: CudaMachine, model: Model) -> None:
    """Another thread sets the event; nothing is left but the folder."""
    stop = threading.Event()
    stop.set()

    with pytest.raises(DeviceError, match="was stopped"):
        find_engine(model, SHAPE, TARGET, cuda_machine.cache, stop)

    assert [path for path in cuda_machine.cache.rglob("*") if path.suffix == ".engine"] == []


@pytest.mark.parametrize(("sm", "flags"), [(75, set()), (80, {BuilderFlag.SPARSE_WEIGHTS})])
def test_sparse_weights_are_looked_for_where_the_hardware_skips_zeros(
    cuda_machine: CudaMachine, model: Model, sm: int, flags: set[BuilderFlag]
) -> None:
    """From Ampere on."""
    find_engine(model, SHAPE, replace(TARGET, sm=sm), cuda_machine.cache)

    assert cuda_machine.tensorrt.flags == flags


def test_each_step_of_a_build_is_reported(cuda_machine: CudaMachine, model: Model) -> None:
    """Width comes first, as people say it; the last word is that nothing is built any more."""
    reported: list[str] = []

    for _ in range(2):
        find_engine(model, SHAPE, TARGET, cuda_machine.cache, on_status=reported.append)

    steps = [f"building the engine for 128x64: building, step {step} of 2" for step in (1, 2)]
    assert reported == [*steps, "", ""]


def test_tensorrt_is_preferred_and_its_absence_is_one_sentence(
    cuda_machine: CudaMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT, else TensorRT-RTX, else an error that names both."""
    assert choose_library() is Library.TENSORRT
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", cuda_machine.tensorrt.module)
    assert choose_library() is Library.RTX
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(DeviceError, match="neither TensorRT nor TensorRT-RTX can be used"):
        choose_library()


def test_a_head_of_another_size_is_refused(cuda_machine: CudaMachine, model: Model) -> None:
    """The output's rows have to be those of the model's classes."""
    more = replace(model, classes=("a", "b", "c", "d"))

    with pytest.raises(ModelError, match=r"expected one output \(batch, 8, anchors\) at \(64, 128\), found"):
        find_engine(more, SHAPE, TARGET, cuda_machine.cache)


@pytest.mark.parametrize("limit", [3, 8, 1024])
def test_the_best_anchors_are_kept(
    cuda_machine: CudaMachine, model: Model, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reduced output has whole columns of the full one: those of the highest scores, each image its own."""
    monkeypatch.setattr(engine_manifest, "TOP_K", limit)
    plan = find_engine(model, SHAPE, TARGET, cuda_machine.cache).read_bytes()
    content = plan.removeprefix(MAGIC).partition(b"\n")[2]
    core = ov.Core()
    images = np.random.default_rng(3).random((2, 3, *SHAPE), np.float32)
    full = core.compile_model(core.read_model(model.path), "CPU")(images)[0]

    reduced = core.compile_model(core.read_model(content, b""), "CPU")(images)[0]

    assert reduced.shape == (2, 7, min(limit, 8))
    for kept, everything in zip(reduced, full, strict=True):
        best = np.argsort(-everything[4:].max(axis=0), kind="stable")[:limit]
        np.testing.assert_array_equal(kept, everything[:, best])


def test_of_many_classes_the_best_of_each_box_comes_back(cuda_machine: CudaMachine, tmp_path: Path) -> None:
    """Six rows in place of 24: the detections are the same, also with a floor for each class."""
    path = tmp_path / "many.onnx"
    path.write_bytes(build_tiny_model(batch="n", classes=20))
    model = open_model(path)
    engine = find_engine(model, SHAPE, TARGET, cuda_machine.cache)
    content = engine.read_bytes().removeprefix(MAGIC).partition(b"\n")[2]
    core = ov.Core()
    images = np.random.default_rng(3).random((4, 3, *SHAPE), np.float32)
    full = core.compile_model(core.read_model(model.path), "CPU")(images)[0]

    reduced = core.compile_model(core.read_model(content, b""), "CPU")(images)[0]

    assert (full.shape[1], reduced.shape[1]) == (24, 6)
    found = 0
    for floors in (class_floors(20, 0.1), np.linspace(0.3, 0.7, 20, dtype=np.float32)):
        decoder = HeadDecoder(HeadKind.YOLOV8, floors, 0.7)
        for whole, best in zip(full, reduced, strict=True):
            expected, detections = decoder.decode(whole), decoder.decode(best)
            found += len(detections)
            assert sorted(zip(*_columns(expected), strict=True)) == sorted(zip(*_columns(detections), strict=True))
    assert found
    manifest = engine_manifest.check_engine(engine, model, SHAPE, TARGET, "10.16.1.11")
    assert manifest.outputs[0].shape[1] == 6


def _columns(found: Detections) -> tuple[list[Any], ...]:
    return [tuple(box) for box in found.xyxy.tolist()], found.score.tolist(), found.class_id.tolist()


def test_detections_are_the_same_with_the_best_anchors_alone(cuda_machine: CudaMachine, tmp_path: Path) -> None:
    """On the shipped model: boxes, scores and classes of noise, at the model's threshold and far below it."""
    model = open_model(None)
    plan = find_engine(model, (192, 320), TARGET, cuda_machine.cache).read_bytes()
    core = ov.Core()
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    full = core.compile_model(core.read_model(model.gpu_variants[0].path), "CPU", config)
    reduced = core.compile_model(core.read_model(plan.removeprefix(MAGIC).partition(b"\n")[2], b""), "CPU", config)
    rng = np.random.default_rng(5)
    found = 0
    for number in range(3):
        coarse = rng.random((1, 3, 12 << number, 20 << number), np.float32)
        image = np.kron(coarse, np.ones((1, 1, 16 >> number, 16 >> number), np.float32)).astype(np.float16)
        for floor in (model.score_threshold, 0.01):
            decoder = HeadDecoder(HeadKind.YOLOV8, class_floors(len(model.classes), floor), model.nms_iou)
            everything, best = decoder.decode(full(image)[0][0]), decoder.decode(reduced(image)[0][0])
            found += len(best)
            assert sorted(map(tuple, best.xyxy.tolist())) == sorted(map(tuple, everything.xyxy.tolist()))
            np.testing.assert_array_equal(best.score, everything.score)
    assert found


def test_end2end_outputs_stay_as_they_are(cuda_machine: CudaMachine, tmp_path: Path) -> None:
    """A network that suppresses by itself hands back few boxes already."""
    path = tmp_path / "end2end.onnx"
    path.write_bytes(build_tiny_model(batch="n", end2end=True))
    model = open_model(path)

    engine = find_engine(model, SHAPE, TARGET, cuda_machine.cache)

    manifest = engine_manifest.check_engine(engine, model, SHAPE, TARGET, "10.16.1.11")
    assert manifest.top_k is None
    assert manifest.outputs[0].shape == (-1, -1, 6)
