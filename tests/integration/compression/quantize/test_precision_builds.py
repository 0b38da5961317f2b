# SPDX-License-Identifier: AGPL-3.0-or-later
"""Both variants of a bundle are built and timed on the fakes of a GPU, and the runtime takes the one that is kept."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from onnx import TensorProto
from tests.fakes.faketensorrt.library import FakeTensorRT
from tests.fakes.proven_bundle import write_proven_bundle
from tests.fakes.tiny_model import build_tiny_model
from typer.testing import CliRunner

from vision_line.devices.cuda.backend import open_cuda
from vision_line.devices.cuda.context import GpuContext
from vision_line.devices.cuda.engine_cache import find_engine
from vision_line.devices.cuda.timing import time_engine
from vision_line.devices.model.bundle import WHOLLY_FLOAT16
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.tensorrt.build import ensure_engine
from vision_line.devices.tensorrt.engine_choice import EngineChoice, choice_path
from vision_line.devices.tensorrt.engine_layers import State
from vision_line.devices.tensorrt.engine_manifest import Library, Target, read_manifest
from vision_line.errors import ConfigError, DeviceError, ModelError
from vision_line.ports import ShapeHW
from vision_line_compression.bundle.bundle_writer import write_bundle
from vision_line_compression.cli import cli
from vision_line_compression.engines import engine_build
from vision_line_compression.engines.engine_build import build_tensorrt_engines
from vision_line_compression.engines.engine_lint import EngineLint, lint_path, quantized_convolutions
from vision_line_compression.engines.engine_race import DECISIVE_BATCH, ROUNDS
from vision_line_compression.quantize.encodings import SIGNED
from vision_line_compression.quantize.float16 import FLOAT16_ENCODING

if TYPE_CHECKING:
    from tests.fakes.machine import CudaMachine
    from tests.integration.compression.quantize.conftest import Quantized

SHAPE: ShapeHW = (64, 96)
TINY: ShapeHW = (64, 128)
MS = {"int8": 3.0, "fp16": 2.0}


class Stopwatch:
    """Times engines by their precision, each time a little faster, instead of running them."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, gpu: GpuContext, trt: Any, plan: Path, shape_hw: ShapeHW) -> Mapping[int, float]:
        """Return invented milliseconds."""
        precision = read_manifest(plan).precision
        self.asked.append(precision)
        return {1: 1.0, DECISIVE_BATCH: MS[precision] - 0.1 * len(self.asked)}


@pytest.fixture
def bundle(quantized: Quantized, tmp_path: Path) -> Path:
    """Return an INT8 bundle without engines."""
    return write_bundle(tmp_path / "bundle", quantized.int8_onnx, "boards", input_shapes_hw=[SHAPE])


def target(machine: CudaMachine) -> Target:
    """Return what engines are built for here."""
    return Target(Library.TENSORRT, machine.gpu.sm, machine.gpu.name)


def chosen(machine: CudaMachine, bundle: Path, shape: ShapeHW) -> EngineChoice:
    """Read the choice for a shape."""
    path = choice_path(bundle / "engines", open_model(bundle), shape, target(machine))
    return EngineChoice.model_validate_json(path.read_bytes())


def test_both_are_built_and_timed_in_turns(cuda_machine: CudaMachine, tmp_path: Path) -> None:
    """Each shape has both engines and a choice with the best times; unknown accuracy keeps INT8. Twice builds once."""
    bundle = proven(tmp_path / "bundle", (TINY, (96, 96)))
    titles: list[str] = []
    stopwatch = Stopwatch()

    def display(title: str) -> AbstractContextManager[None]:
        titles.append(title)
        return nullcontext()

    for _ in range(2):
        built = build_tensorrt_engines(bundle, display, measure=stopwatch)

    assert cuda_machine.tensorrt.builds == 4
    assert titles[:3] == ["engine 1 of 2: 64x128 int8", "engine 1 of 2: 64x128 fp16", "timing of 64x128"]
    assert stopwatch.asked[: 2 * ROUNDS] == ["int8", "fp16"] * ROUNDS
    names = [f"{FLOAT16_ENCODING}-{size}-tensorrt-sm86.engine" for size in ("64x128", "96x96")]
    assert [one.engine.name for one in built] == names
    assert "int8: whether all passed the accuracy gates is not known" in built[0].remark
    assert "fp16 does not run: whether it passed the accuracy gates is not known: no report.json" in built[0].remark
    choice = chosen(cuda_machine, bundle, TINY)
    assert [sorted(variant.latency_ms) for variant in choice.forms] == [[1, DECISIVE_BATCH]] * 2
    assert choice.forms[0].latency_ms[DECISIVE_BATCH] < MS["int8"]
    assert choice.bundle_sha256 == open_model(bundle).sha256


def test_the_runtime_takes_the_kept_variant(
    cuda_machine: CudaMachine, bundle: Path, quantized: Quantized, caplog: pytest.LogCaptureFixture
) -> None:
    """From the bundle, without its ONNX file; a choice that another version made is named and not followed."""
    built = build_tensorrt_engines(bundle, wanted="fp16", float_onnx=quantized.float_onnx)
    model = open_model(bundle)

    engine = find_engine(model, SHAPE, target(cuda_machine), cuda_machine.cache)

    assert engine == built[0].engine
    assert engine.name == "model-fp16-64x96-tensorrt-sm86.engine"
    assert read_manifest(engine).precision == "fp16"
    assert cuda_machine.tensorrt.builds == 1
    newer = FakeTensorRT(cuda_machine.driver, version="11.4.0.106")
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setitem(sys.modules, "tensorrt", newer.module)
        other = find_engine(model, SHAPE, target(cuda_machine), cuda_machine.cache)
    assert (read_manifest(other).precision, newer.builds) == ("int8", 1)
    assert "using int8" in caplog.text


def test_the_device_says_what_it_computes_in(cuda_machine: CudaMachine, bundle: Path, quantized: Quantized) -> None:
    """On the dashboard and in the summary: what runs, not what the bundle holds."""
    build_tensorrt_engines(bundle, wanted="fp16", float_onnx=quantized.float_onnx)

    device = open_cuda(open_model(bundle), [SHAPE], lambda: None, slots=1, cache=cuda_machine.cache)

    assert device.description.precision == "fp16"
    device.close()


def test_the_gpu_itself_is_asked(cuda_machine: CudaMachine, bundle: Path, quantized: Quantized) -> None:
    """The real timing runs both engines, on the fakes."""
    measure = partial(time_engine, buckets=(1,), repeats=1)

    build_tensorrt_engines(bundle, float_onnx=quantized.float_onnx, measure=measure)

    choice = chosen(cuda_machine, bundle, SHAPE)
    assert [variant.precision for variant in choice.forms] == ["int8", "fp16"]
    assert all(variant.latency_ms[1] > 0 for variant in choice.forms)


def proven(folder: Path, shapes: tuple[ShapeHW, ...] = (TINY,), *, false: frozenset[str] = frozenset()) -> Path:
    """Return a bundle with an FP16 variant; the references of those in `false` are of something else."""
    half = {
        FLOAT16_ENCODING: build_tiny_model(quantized=True, batch="n", quantization=FLOAT16_ENCODING),
        WHOLLY_FLOAT16: build_tiny_model(batch="n", element=TensorProto.FLOAT16),
    }
    own = {SIGNED.name: build_tiny_model(quantized=True, batch="n")}
    wrong = {(name, shape) for name in false for shape in shapes}
    return write_proven_bundle(folder, own, shapes, false=wrong, gpu_variants=half)


def test_the_bundles_own_fp16_variant_is_built_and_proven_by_its_own_reference(
    cuda_machine: CudaMachine, tmp_path: Path
) -> None:
    """No float model is looked for, and the runtime asks the same proof."""
    bundle = proven(tmp_path / "bundle")

    built = build_tensorrt_engines(bundle, wanted="fp16", measure=Stopwatch())

    assert built[0].engine.name == "fp16-64x128-tensorrt-sm86.engine"
    assert chosen(cuda_machine, bundle, TINY).forms[0].proven_by == "proven by the bundle's proof"
    device = open_cuda(open_model(bundle), [TINY], lambda: None, slots=1, cache=cuda_machine.cache)
    assert device.description.variant_reason == "proven by the bundle's proof"
    device.close()
    assert cuda_machine.tensorrt.builds == 1


def test_an_engine_whose_results_differ_loses(cuda_machine: CudaMachine, tmp_path: Path) -> None:
    """It is not even timed; the report says what was expected and found."""
    stopwatch = Stopwatch()

    built = build_tensorrt_engines(proven(tmp_path / "bundle", false=frozenset({WHOLLY_FLOAT16})), measure=stopwatch)

    assert (built[0].engine.name, stopwatch.asked) == (f"{FLOAT16_ENCODING}-64x128-tensorrt-sm86.engine", [])
    assert "int8: only int8 has an engine that is right" in built[0].remark
    assert "fp16 does not run: cuda: " in built[0].remark
    assert "against the bundle's proof: " in built[0].remark


def test_where_no_engine_is_right_nothing_is_chosen(cuda_machine: CudaMachine, tmp_path: Path) -> None:
    """Whether FP16 may inspect is not known either."""
    bundle = proven(tmp_path / "bundle", false=frozenset({FLOAT16_ENCODING}))

    with pytest.raises(DeviceError, match=r"int8: cuda: .* against the bundle's proof.*; fp16: no report\.json"):
        build_tensorrt_engines(bundle, measure=Stopwatch())
    assert not list(bundle.rglob("*.choice.json"))


def test_one_that_cannot_be_built_loses(
    cuda_machine: CudaMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's reason is in the report."""

    def building(model: Model, *arguments: Any) -> Path:
        if model.precision == "fp16":
            raise DeviceError("no kernel")
        return ensure_engine(model, *arguments)

    monkeypatch.setattr(engine_build, "ensure_engine", building)

    (built,) = build_tensorrt_engines(proven(tmp_path / "bundle"), measure=Stopwatch())

    assert "fp16 does not run: it cannot be built: no kernel" in built.remark


def test_what_there_is_not_is_refused(cuda_machine: CudaMachine, bundle: Path, quantized: Quantized) -> None:
    """No float model, one that does not belong, and a bundle without INT8."""
    with pytest.raises(ConfigError, match="--precision fp16: expected the float model beside the bundle"):
        build_tensorrt_engines(bundle, wanted="fp16")
    with pytest.raises(ModelError, match="expected precision fp32, found int8"):
        build_tensorrt_engines(bundle, float_onnx=quantized.int8_onnx)
    plain = write_bundle(bundle.parent / "plain", quantized.float_onnx, "boards", input_shapes_hw=[SHAPE])
    with pytest.raises(ConfigError, match="--precision int8: expected an INT8 bundle"):
        build_tensorrt_engines(plain, wanted="int8")
    assert [one.remark for one in build_tensorrt_engines(plain)] == [""]


def test_the_command_says_which_and_why(cuda_machine: CudaMachine, bundle: Path) -> None:
    """The engines on standard output, the reasons beside them on standard error."""
    done = CliRunner().invoke(cli, ["build", str(bundle), "--target", "tensorrt"])

    assert done.exit_code == 0, done.output
    assert [Path(line).exists() for line in done.stdout.splitlines()] == [True]
    assert "int8: the float model that was quantized was not found" in done.stderr
    refused = CliRunner().invoke(cli, ["build", str(bundle), "--target", "rtx", "--precision", "fp16"])
    assert (refused.exit_code, "expected with --target tensorrt only" in refused.stderr) == (2, True)


def test_what_an_int8_engine_computes_in_float_is_named(
    cuda_machine: CudaMachine, bundle: Path, quantized: Quantized
) -> None:
    """Q/DQ pairs are leave: each convolution that the file quantizes is in a file beside the engine."""
    (first, *_) = wanted = quantized_convolutions(quantized.int8_onnx)
    cuda_machine.tensorrt.unfused.add(first)

    built = build_tensorrt_engines(bundle, wanted="int8")

    lint = EngineLint.model_validate_json(lint_path(built[0].engine).read_bytes())
    assert [one.node for one in lint.convolutions] == list(wanted)
    assert [one.node for one in lint.convolutions if one.state is State.FLOAT] == [first]
    assert f"{len(wanted) - 1} of {len(wanted)} convolutions are computed in INT8" in built[0].remark
    assert f"in float: {first}" in built[0].remark
    assert f"unlike the file: {first} (it reads fp32, and no layer says what writes that)" in built[0].remark
    unfused = [one for one in lint.convolutions if one.state is State.INT8_READ]
    assert unfused
    assert all(one.why.startswith("the file has no pair for ") and not one.wanted for one in unfused)
    assert all(one.wanted and not one.why for one in lint.convolutions if one.state is State.INT8)
    assert lint_path(built[0].engine).name in built[0].remark


def test_a_library_that_does_not_say_stops_no_build(cuda_machine: CudaMachine, bundle: Path) -> None:
    """The engine is right all the same; that nothing is known is said."""
    cuda_machine.tensorrt.refusals.add("create_engine_inspector")

    built = build_tensorrt_engines(bundle, wanted="int8")

    assert "what it computes in is not known: tensorrt: it gives no inspector" in built[0].remark
    assert not lint_path(built[0].engine).exists()
