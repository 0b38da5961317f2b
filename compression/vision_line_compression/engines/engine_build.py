# SPDX-License-Identifier: AGPL-3.0-or-later
"""Builds a bundle's engines with the runtime's own builder: TensorRT-RTX's on any machine, TensorRT's on its GPU."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from vision_line.devices.cuda.context import GpuContext, open_gpu
from vision_line.devices.cuda.engine_cache import ENGINES_FOLDER, as_written, target_of, written_for
from vision_line.devices.cuda.timing import inspect_engine, time_engine
from vision_line.devices.model.bundle import BUNDLE_FILE
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.tensorrt.build import OnBuildProgress, ensure_engine, library_version, open_library
from vision_line.devices.tensorrt.engine_choice import (
    Precision,
    PrecisionVariant,
    choice_path,
    variant_of,
    write_choice,
)
from vision_line.devices.tensorrt.engine_layers import summary
from vision_line.devices.tensorrt.engine_manifest import Library, Target
from vision_line.devices.tensorrt.targets import check_target
from vision_line.errors import ConfigError, DeviceError, ModelError
from vision_line.ports import ShapeHW
from vision_line_compression.engines.engine_lint import lint_engine, lint_path
from vision_line_compression.engines.precision import Measure, Origin, choose, find_origin, time_in_turns
from vision_line_compression.quantize.float16 import write_float16

#: Compute capabilities without their dot: Turing, Ampere, Ada and Blackwell.
DEFAULT_SMS = (75, 86, 89, 120)

#: Opens the display of one engine's build, by its title; what it gives is called from the builder's threads.
Display = Callable[[str], AbstractContextManager[OnBuildProgress | None]]


@dataclass(frozen=True, slots=True)
class Built:
    """An engine that runs for an input shape.

    `remark` is why it is this variant of the model, and what an INT8 engine computes in; "" where there is no choice.
    """

    engine: Path
    remark: str = ""


def build_rtx_engines(bundle: Path, sms: Iterable[int] = DEFAULT_SMS, display: Display | None = None) -> list[Path]:
    """Build an engine for each evaluated input shape and each of `sms` into `bundle`/engines.

    Engines that fit already are kept; stale ones are replaced. There is nothing to choose: TensorRT-RTX runs INT8 as
    weights alone, gets the variant that says so, and is not timed here.

    Raises:
        ModelError: `bundle` is no bundle, or TensorRT-RTX cannot parse its model.
        DeviceError: TensorRT-RTX is not installed, or cannot build; or engines for one of `sms` are not supported.
    """
    _ensure_bundle(bundle)
    return _build(bundle, [Target(Library.RTX, sm) for sm in sms], display)


def build_tensorrt_engines(
    bundle: Path,
    display: Display | None = None,
    *,
    wanted: Precision | None = None,
    float_onnx: Path | None = None,
    report: Path | None = None,
    measure: Measure = time_engine,
) -> list[Built]:
    """Build an engine for each evaluated input shape and the first GPU that is visible into `bundle`/engines.

    TensorRT measures what is fastest on that very GPU, which takes minutes, and keeps what it measured in a timing
    cache beside the engines. Engines that fit already are kept; stale ones are replaced. Of an INT8 bundle the float16
    variant is built too where its float model is found, both are timed, and which one runs is decided and written down.

    Args:
        bundle: the folder.
        display: shows each build.
        wanted: the variant that is to run; None: the times and the report decide.
        float_onnx: the float model that was quantized; None: the one beside the bundle in its run's folder.
        report: what both variants are evaluated by; None: the one beside the bundle.
        measure: times an engine.

    Raises:
        ConfigError: `wanted` is a variant that the bundle has not, or a file cannot be read.
        ModelError: `bundle` is no bundle, or TensorRT cannot parse its model.
        DeviceError: there is no GPU, TensorRT is not installed or too old or too new for it, or it cannot build.
    """
    _ensure_bundle(bundle)
    gpu = open_gpu()
    target = target_of(gpu, Library.TENSORRT)
    model = open_model(bundle)
    if model.precision != "int8":
        if wanted not in (None, model.precision):
            raise ConfigError(f"--precision {wanted}: expected an INT8 bundle, found {bundle} in {model.precision}")
        return [Built(engine) for engine in _build(bundle, [target], display)]
    check_target(target, library_version(target.library))
    origin = find_origin(bundle, model, float_onnx, report)
    with tempfile.TemporaryDirectory(prefix="vision-line-variants-") as work:
        variants = _variants(model, wanted, origin.float_onnx, Path(work))
        contest = _Selection(
            gpu=gpu,
            target=target,
            folder=bundle / ENGINES_FOLDER,
            model=model,
            variants=variants,
            origin=origin,
            wanted=wanted,
            display=display,
            measure=measure,
        )
        return [contest.selected(shape) for shape in model.input_shapes_hw]


@dataclass(frozen=True, slots=True)
class _Selection:
    """The variants of an INT8 bundle on one GPU."""

    gpu: GpuContext
    target: Target
    folder: Path
    model: Model
    variants: Mapping[Precision, Model]
    origin: Origin
    wanted: Precision | None
    display: Display | None
    measure: Measure

    def selected(self, shape: ShapeHW) -> Built:
        """Build the engines for `shape`, time them where it is to be decided, and write down which one is kept."""
        engines = {precision: self._engine(variant, shape) for precision, variant in self.variants.items()}
        variants = tuple(self._timed(engines, shape))
        version = library_version(self.target.library)
        choice = choose(self.wanted, self.model, self.target, version, shape, variants)
        write_choice(choice_path(self.folder, self.model, shape, self.target), choice)
        remarks = [f"{choice.kept}: {choice.reason}"]
        if "int8" in engines:
            remarks.append(f"int8: {self._linted(engines['int8'], shape)}")
        return Built(engines[choice.kept], "\n".join(remarks))

    def _linted(self, engine: Path, shape: ShapeHW) -> str:
        """Return in a sentence what the INT8 engine computes in; the library may not say, which stops nothing."""
        try:
            layers = inspect_engine(self.gpu, open_library(self.target.library), engine, shape)
        except DeviceError as exc:
            return f"what it computes in is not known: {exc}"
        return f"{summary(lint_engine(engine, self.variants['int8'].path, layers))} ({lint_path(engine).name})"

    def _engine(self, variant: Model, shape: ShapeHW) -> Path:
        number = self.model.input_shapes_hw.index(shape) + 1
        title = f"engine {number} of {len(self.model.input_shapes_hw)}: {shape[0]}x{shape[1]} {variant.precision}"
        with _shown(self.display, title) as progress:
            return ensure_engine(variant, shape, self.target, self.folder, progress)

    def _timed(self, engines: Mapping[Precision, Path], shape: ShapeHW) -> Iterator[PrecisionVariant]:
        times: Mapping[Precision, dict[int, float]] = {}
        if len(engines) > 1:
            with _shown(self.display, f"timing of {shape[0]}x{shape[1]}"):
                times = time_in_turns(self.measure, self.gpu, open_library(self.target.library), engines, shape)
        for precision in engines:
            result = self.origin.gate_result(precision)
            yield PrecisionVariant(
                precision=precision,
                model_sha256=self.variants[precision].sha256,
                passed=result.passed,
                judged_by=result.by,
                latency_ms=times.get(precision, {}),
            )


def _variants(model: Model, wanted: Precision | None, float_onnx: Path | None, work: Path) -> dict[Precision, Model]:
    """Return the variants that are to be built, INT8 first, as it is written for TensorRT: with float16 between.

    The other one's file is written to `work`.
    """
    written = (as_written(model, variant) for variant in written_for(model, Library.TENSORRT))
    int8 = next(one for one in written if one.precision == model.precision)
    variants: dict[Precision, Model] = {} if wanted == "fp16" else {"int8": int8}
    if wanted == "int8":
        return variants
    if float_onnx is not None:
        variants["fp16"] = _float16_variant(model, float_onnx, work)
    elif wanted == "fp16":
        raise ConfigError("--precision fp16: expected the float model beside the bundle, or named with --float")
    return variants


def _float16_variant(model: Model, float_onnx: Path, work: Path) -> Model:
    found = open_model(float_onnx)
    for what in ("precision", "head", "stride", "input_name"):
        expected = "fp32" if what == "precision" else getattr(model, what)
        if getattr(found, what) != expected:
            raise ModelError(f"{float_onnx}: expected {what} {expected}, found {getattr(found, what)}")
    if len(found.classes) != len(model.classes):
        raise ModelError(f"{float_onnx}: expected {len(model.classes)} classes, found {len(found.classes)}")
    path = write_float16(float_onnx, work / "half.onnx")
    variant = variant_of(model, "fp16", open_model(path).sha256)
    return replace(variant, path=path.rename(work / variant.path.name))


def _ensure_bundle(bundle: Path) -> None:
    if not (bundle / BUNDLE_FILE).is_file():
        raise ModelError(f"{bundle}: expected a bundle folder with {BUNDLE_FILE}")


def _build(bundle: Path, targets: list[Target], display: Display | None) -> list[Path]:
    for target in targets:
        check_target(target, library_version(target.library))
    model = open_model(bundle)
    orders = [(shape, target) for shape in model.input_shapes_hw for target in targets]
    engines = []
    for number, (shape, target) in enumerate(orders, start=1):
        title = f"engine {number} of {len(orders)}: {shape[0]}x{shape[1]} SM {target.sm}"
        with _shown(display, title) as progress:
            suited = as_written(model, written_for(model, target.library)[0])
            engines.append(ensure_engine(suited, shape, target, bundle / ENGINES_FOLDER, progress))
    return engines


def _shown(display: Display | None, title: str) -> AbstractContextManager[OnBuildProgress | None]:
    return nullcontext(None) if display is None else display(title)
