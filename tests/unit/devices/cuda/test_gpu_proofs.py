# SPDX-License-Identifier: AGPL-3.0-or-later
"""A GPU inspects with an engine that was proven: a wrong one on the disk is built again, a wrong build is an error."""

from __future__ import annotations

import hashlib
import logging
import sys
import threading
from contextlib import closing
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tests.fakes.cuda_line import OpenLine, Shown, shown_frames
from tests.fakes.fakecuda.driver import OUT_OF_MEMORY, Schedule
from tests.fakes.faketensorrt.context import RecordableContext
from tests.fakes.faketensorrt.latest import MAGIC
from tests.fakes.machine import CudaMachine
from tests.fakes.proven_bundle import write_proven_bundle
from tests.fakes.tiny_model import build_tiny_model
from tests.fakes.waiting import wait_for

from vision_line.devices.cuda import engine_cache
from vision_line.devices.cuda.backend import open_cuda
from vision_line.devices.cuda.engine_cache import ENGINES_FOLDER, as_written, find_engine, written_for
from vision_line.devices.model.bundle import WEIGHTS_ALONE
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.tensorrt.build import ensure_engine
from vision_line.devices.tensorrt.engine_manifest import Library, Target, engine_path, manifest_path, read_manifest
from vision_line.errors import DeviceError
from vision_line.ports import DeviceDescription

SHAPE = (64, 128)
TARGET = Target(Library.TENSORRT, 86, "Fake GPU")
SIGNED, FLOAT16 = "qdq-s8-symmetric", "qdq-s8-symmetric-fp16"


def opened(machine: CudaMachine, model: Model) -> DeviceDescription:
    """Open a device, close it, and return what it was."""
    with closing(open_cuda(model, [SHAPE], lambda: None, cache=machine.cache, slots=1)) as device:
        return device.description


def falsify(engine: Path) -> None:
    """Let `engine` compute smaller boxes, and its manifest say that this is how it was built."""
    facts, newline, content = engine.read_bytes().removeprefix(MAGIC).partition(b"\n")
    network = onnx.load_from_string(content)
    (side,) = [tensor for tensor in network.graph.initializer if tensor.name == "side"]
    side.float_data[0] = 24.0
    wrong = MAGIC + facts + newline + network.SerializeToString()
    engine.write_bytes(wrong)
    manifest = read_manifest(engine).model_copy(update={"engine_sha256": hashlib.sha256(wrong).hexdigest()})
    manifest_path(engine).write_text(manifest.model_dump_json())


def test_an_engine_says_what_proves_it(cuda_machine: CudaMachine, model: Model, tmp_path: Path) -> None:
    """The bundle's proof, or the float execution of the file."""
    variants = {SIGNED: build_tiny_model(quantized=True, batch="n")}
    bundle = open_model(write_proven_bundle(tmp_path / "bundle", variants, (SHAPE,)))

    assert opened(cuda_machine, model).variant_reason == "proven by its own float execution"
    description = opened(cuda_machine, bundle)
    assert (description.variant, description.variant_reason) == ("int8 engine", "proven by the bundle's proof")


def test_a_wrong_engine_in_the_cache_is_built_again(
    cuda_machine: CudaMachine, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with a warning that says what was expected and found."""
    falsify(find_engine(model, SHAPE, TARGET, cuda_machine.cache))

    with caplog.at_level(logging.WARNING):
        opened(cuda_machine, model)
    assert cuda_machine.tensorrt.builds == 2
    assert "the engine computes wrongly and is not used: fp32 at 128x64, against its own float execution" in caplog.text

    caplog.clear()
    opened(cuda_machine, model)
    assert cuda_machine.tensorrt.builds == 2
    assert not caplog.text


def test_an_engine_that_cannot_be_loaded_is_built_again(
    cuda_machine: CudaMachine, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    """Its manifest fits, but the library refuses it, as one that was tuned on another kind of GPU: once, and named."""
    engine = find_engine(model, SHAPE, TARGET, cuda_machine.cache)
    refused = engine.read_bytes().replace(b'"version": "10.', b'"version": "99.')
    engine.write_bytes(refused)
    manifest = read_manifest(engine).model_copy(update={"engine_sha256": hashlib.sha256(refused).hexdigest()})
    manifest_path(engine).write_text(manifest.model_dump_json())

    with caplog.at_level(logging.WARNING):
        assert opened(cuda_machine, model).variant_reason == "proven by its own float execution"

    assert cuda_machine.tensorrt.builds == 2
    assert "the engine is not used" in caplog.text
    assert "cannot be loaded" in caplog.text


def test_a_new_engine_that_cannot_be_loaded_is_an_error(cuda_machine: CudaMachine, model: Model) -> None:
    """It is not built again and again."""
    cuda_machine.tensorrt.refusals.add("deserialize_cuda_engine")

    with pytest.raises(DeviceError, match="cannot be loaded"):
        opened(cuda_machine, model)
    assert cuda_machine.tensorrt.builds == 1


def test_a_wrong_engine_of_the_bundle_is_passed_over(cuda_machine: CudaMachine, model: Model) -> None:
    """One is built into the cache instead; the bundle stays as it is."""
    built = find_engine(model, SHAPE, TARGET, cuda_machine.cache)
    shipped = engine_path(model.path.parent / ENGINES_FOLDER, model, SHAPE, TARGET)
    built.parent.rename(shipped.parent)
    falsify(shipped)
    before = shipped.read_bytes()

    opened(cuda_machine, model)
    assert built.exists()
    assert shipped.read_bytes() == before


def test_a_wrong_build_is_an_error(cuda_machine: CudaMachine, tmp_path: Path) -> None:
    """What was built just now is not built again; the error names the GPU, the precision, and what was found."""
    variants = {SIGNED: build_tiny_model(quantized=True, batch="n")}
    bundle = open_model(write_proven_bundle(tmp_path / "bundle", variants, (SHAPE,), false={(SIGNED, SHAPE)}))

    with pytest.raises(DeviceError, match=r"computes rightly on Fake GPU: int8 at 128x64, against the ") as caught:
        opened(cuda_machine, bundle)
    assert "of 24 places" in str(caught.value)
    assert cuda_machine.tensorrt.builds == 1


def bundle_for_gpus(folder: Path, *, is_false: bool = False) -> Model:
    """Return a bundle with two variants for GPUs, of which the reference of the first is perhaps of something else."""
    false = {(FLOAT16, SHAPE)} if is_false else set()
    quantized = build_tiny_model(quantized=True, batch="n")
    variants, gpu_variants = (
        {SIGNED: quantized},
        {
            FLOAT16: build_tiny_model(quantized=True, batch="n", quantization=FLOAT16),
            WEIGHTS_ALONE: build_tiny_model(batch="n", element=TensorProto.FLOAT16, quantization=WEIGHTS_ALONE),
        },
    )
    return open_model(write_proven_bundle(folder, variants, (SHAPE,), false=false, gpu_variants=gpu_variants))


def test_an_engine_is_made_of_the_variant_for_gpus(cuda_machine: CudaMachine, tmp_path: Path) -> None:
    """The model's own file has float32 between its pairs, which costs more than INT8 saves."""
    description = opened(cuda_machine, bundle_for_gpus(tmp_path / "bundle"))

    assert (description.precision, description.variant_reason) == ("int8", "proven by the bundle's proof")
    assert [path.name for path in cuda_machine.cache.rglob("*.engine")] == [f"{FLOAT16}-64x128-tensorrt-sm86.engine"]


def test_where_it_computes_wrongly_the_next_variant_runs(
    cuda_machine: CudaMachine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        description = opened(cuda_machine, bundle_for_gpus(tmp_path / "bundle", is_false=True))

    assert description.variant_reason == "proven by the bundle's proof"
    assert f"is not used: {FLOAT16} at 128x64, against the bundle's proof" in caplog.text
    assert cuda_machine.tensorrt.builds == 2


def test_where_it_cannot_be_built_the_next_variant_is(
    cuda_machine: CudaMachine, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def building(model: Model, *arguments: Any) -> Path:
        if model.path.stem == FLOAT16:
            raise DeviceError("no kernel")
        return ensure_engine(model, *arguments)

    monkeypatch.setattr(engine_cache, "ensure_engine", building)
    with caplog.at_level(logging.WARNING):
        opened(cuda_machine, bundle_for_gpus(tmp_path / "bundle"))

    assert f"the variant {FLOAT16} of the model is not used: no kernel" in caplog.text


def test_each_library_gets_the_variant_that_suits_it(tmp_path: Path) -> None:
    """TensorRT computes in INT8; TensorRT-RTX in float, so of its file the weights alone are INT8."""
    model = bundle_for_gpus(tmp_path / "bundle")
    assert [variant.name for variant in written_for(model, Library.TENSORRT)] == [FLOAT16, WEIGHTS_ALONE, SIGNED]
    assert [variant.name for variant in written_for(model, Library.RTX)] == [WEIGHTS_ALONE, SIGNED]
    written = [as_written(model, one) for one in written_for(model, Library.TENSORRT)]
    assert [one.precision for one in written] == ["int8", "fp32", "int8"]


def test_tensorrt_rtx_runs_int8_weights_alone(cuda_machine: CudaMachine, tmp_path: Path, caplog: Any) -> None:
    """The engine says what it computes in, and its own reference proves it."""
    library = cuda_machine.tensorrt
    library.module.__dict__["ComputeCapability"] = IntEnum("ComputeCapability", ["SM75", "SM86", "CURRENT"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorrt", None)
        patch.setitem(sys.modules, "tensorrt_rtx", library.module)
        description = opened(cuda_machine, bundle_for_gpus(tmp_path / "bundle"))

    assert (description.precision, description.variant_reason) == ("fp32", "proven by the bundle's proof")
    (engine,) = cuda_machine.cache.rglob("*.engine")
    assert engine.name == f"{WEIGHTS_ALONE}-64x128-tensorrt-rtx-sm86.engine"
    assert not caplog.records


def test_every_size_of_a_batch_is_proven(cuda_machine: CudaMachine, model: Model) -> None:
    """Large batches have kernels of their own, which may be wrong where those of small ones are right."""
    cuda_machine.tensorrt.wrong_from = 24

    with pytest.raises(DeviceError, match="no engine of the model computes rightly"):
        opened(cuda_machine, model)


def test_what_cannot_be_proven_runs_and_says_so(
    cuda_machine: CudaMachine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A GPU has no float execution to fall back to: a model that makes the same of every image may be right."""
    path = tmp_path / "same.onnx"
    coarse = build_tiny_model(quantized=True, batch="n").replace(
        np.float32(1 / 255).tobytes(), np.float32(100).tobytes()
    )
    path.write_bytes(coarse)

    description = opened(cuda_machine, open_model(path))
    assert description.variant_reason.startswith("it cannot be proven: only 0 places")
    assert "it cannot be proven" in caplog.text


def test_an_engine_that_turns_wrong_is_found(open_line: OpenLine) -> None:
    """Right as long as it is right; then the size of the batches is named that are wrong now, large ones alone."""
    line = open_line(slots=1)
    before = line.machine.driver.live()
    assert line.device.prove_again() == ""
    line.machine.driver.settle()
    assert line.machine.driver.live() == before

    line.machine.tensorrt.wrong_from = 24
    found = line.device.prove_again()
    assert found.startswith(
        "cuda:0: fp32 engine at 128x64, batches of 24, which was right before, computes wrongly now, "
        "against its own float execution: "
    )


def test_every_shape_and_every_added_size_is_proven_again(open_line: OpenLine) -> None:
    line = open_line(slots=1, max_batch=1)
    line.machine.tensorrt.wrong_from = 2
    assert line.device.prove_again() == ""
    line.machine.tensorrt.wrong_from = None
    line.device.ensure_shape((128, 64))
    line.device.ensure_batch(2)
    line.machine.tensorrt.wrong_from = 2
    assert "at 128x64, batches of 2, " in line.device.prove_again()


@pytest.mark.parametrize("recordable", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_proving_again_disturbs_nobody(
    open_line: OpenLine, cuda_machine: CudaMachine, seed: int, recordable: bool
) -> None:
    """Batches are under way all the time: each frame gets its own result, in order, and the engines are right."""
    cuda_machine.tensorrt.context_type = RecordableContext
    cuda_machine.tensorrt.recordable = recordable
    line = open_line(max_batch=4)
    cuda_machine.driver.schedule(Schedule.RANDOM, seed)
    said: list[str] = []

    def prove() -> None:
        said.extend(line.device.prove_again() for _ in range(2))

    proving = threading.Thread(target=prove)
    proving.start()
    number, wanted, found = 0, list[Shown](), list[Shown]()
    while proving.is_alive() or number < 8:
        count = 1 + number % 4
        if not line.device.free_slots():
            found += line.collect(1)
        line.submit(shown_frames(count, number))
        wanted += shown_frames(count, number)
        number += 1
    found += line.collect(len(wanted) - len(found))
    proving.join()
    assert said == ["", ""]
    assert found == wanted


def test_what_cannot_be_proven_for_want_of_memory_is_no_wrong_engine(open_line: OpenLine) -> None:
    """The run goes on, and the next proof may be made."""
    line = open_line(slots=1)
    line.machine.driver.inject("cuMemAlloc", OUT_OF_MEMORY, 2)
    with pytest.raises(DeviceError, match=r"^cuda: the engines cannot be proven now: CUDA_ERROR_OUT_OF_MEMORY"):
        line.device.prove_again()
    assert line.device.prove_again() == ""


def test_closing_waits_for_a_proof(open_line: OpenLine) -> None:
    """What it uses is not taken from under its feet, and it ends at the next size of a batch."""
    line = open_line(slots=1)
    answer = line.machine.tensorrt.hold()
    said: list[str] = []
    proving = threading.Thread(target=lambda: said.append(line.device.prove_again()))
    runs = line.machine.tensorrt.runs
    proving.start()
    wait_for(lambda: line.machine.tensorrt.runs > runs, "the proof has begun")
    closing_it = threading.Thread(target=line.device.close)
    closing_it.start()
    closing_it.join(0.05)
    assert closing_it.is_alive()
    answer.set()
    closing_it.join()
    proving.join()
    assert said == [""]
