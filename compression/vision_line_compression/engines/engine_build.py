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
from vision_line.devices.cuda.proven_engine import prove_engine
from vision_line.devices.cuda.timing import inspect_engine, time_engine
from vision_line.devices.model.bundle import BUNDLE_FILE, WHOLLY_FLOAT16
from vision_line.devices.model.model import Model, ModelVariant, open_model
from vision_line.devices.tensorrt.build import OnBuildProgress, ensure_engine, library_version, open_library
from vision_line.devices.tensorrt.engine_choice import (
    Precision,
    PrecisionVariant,
    choice_path,
    variant_of,
    write_choice,
)
from vision_line.devices.tensorrt.engine_manifest import Library, Target
from vision_line.devices.tensorrt.targets import check_target
from vision_line.errors import ConfigError, DeviceError, ModelError, RunError
from vision_line.ports import ShapeHW
from vision_line_compression.bundle.float_file import write_wholly_float16
from vision_line_compression.engines.engine_lint import lint_engine, lint_path
from vision_line_compression.engines.engine_race import Measure, choose, time_in_turns
from vision_line_compression.engines.precision import Origin, find_origin

#: Compute capabilities without their dot: Turing, Ampere, Ada and Blackwell.
DEFAULT_SMS = (75, 86, 89, 120)

#: Opens the display of one engine's build, by its title; what it gives is called from the builder's threads.
Display = Callable[[str], AbstractContextManager[OnBuildProgress | None]]


@dataclass(frozen=True, slots=True)
class Built:
    """An engine that runs for an input shape.

    `remark` is why it is this variant of the model and none of the others, and what an INT8 engine computes in; ""
    where there is no choice.
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
    cache beside the engines. Engines that fit already are kept; stale ones are replaced. Of an INT8 bundle the FP16
    variant is built too, where the bundle has it or its float model is found; both are proven and timed, and which one
    runs is decided and written down. One that cannot be built or computes wrongly is passed over.

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
        DeviceError: there is no GPU, TensorRT is not installed or too old or too new for it, or no variant has an
            engine that is right.
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
class _Contender:
    """One variant of the bundle's model: the file that is built, and what of the bundle its engine is proven by."""

    model: Model
    proven_as: ModelVariant


@dataclass(frozen=True, slots=True)
class _Tried:
    """What became of a contender at one input shape; `fault` is why there is no engine of it that is right."""

    engine: Path | None
    proven_by: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _Selection:
    """The variants of an INT8 bundle on one GPU."""

    gpu: GpuContext
    target: Target
    folder: Path
    model: Model
    variants: Mapping[Precision, _Contender]
    origin: Origin
    wanted: Precision | None
    display: Display | None
    measure: Measure

    def selected(self, shape: ShapeHW) -> Built:
        """Build, prove and time the engines for `shape`, and write down which one is kept and why the others are not.

        Raises:
            DeviceError: none is right.
        """
        tried = {precision: self._tried(one, shape) for precision, one in self.variants.items()}
        engines = {precision: one.engine for precision, one in tried.items() if one.engine and not one.fault}
        variants = tuple(self._timed(tried, engines, shape))
        version = library_version(self.target.library)
        choice = choose(self.wanted, self.model, self.target, version, shape, variants)
        write_choice(choice_path(self.folder, self.model, shape, self.target), choice)
        remarks = [f"{choice.kept}: {choice.reason}"]
        remarks += [f"{one.precision} does not run: {one.lost}" for one in choice.forms if one.lost]
        if (built := tried["int8"].engine if "int8" in tried else None) is not None:
            remarks.append(f"int8: {self._linted(built, shape)}")
        return Built(engines[choice.kept], "\n".join(remarks))

    def _tried(self, contender: _Contender, shape: ShapeHW) -> _Tried:
        """Build and prove one engine; what is wrong with it is its own fault, and stops no other."""
        try:
            engine = self._engine(contender.model, shape)
        except (DeviceError, ModelError) as exc:
            return _Tried(None, fault=f"it cannot be built: {exc}")
        trt = open_library(self.target.library)
        try:
            return _Tried(engine, prove_engine(self.gpu, trt, engine, self.model, contender.proven_as, shape))
        except (DeviceError, RunError) as exc:
            return _Tried(engine, fault=str(exc))

    def _linted(self, engine: Path, shape: ShapeHW) -> str:
        """Return in a sentence what the INT8 engine computes in; the library may not say, which stops nothing."""
        try:
            layers = inspect_engine(self.gpu, open_library(self.target.library), engine, shape)
        except DeviceError as exc:
            return f"what it computes in is not known: {exc}"
        return f"{lint_engine(engine, self.variants['int8'].model.path, layers)} ({lint_path(engine).name})"

    def _engine(self, variant: Model, shape: ShapeHW) -> Path:
        number = self.model.input_shapes_hw.index(shape) + 1
        title = f"engine {number} of {len(self.model.input_shapes_hw)}: {shape[0]}x{shape[1]} {variant.precision}"
        with _shown(self.display, title) as progress:
            return ensure_engine(variant, shape, self.target, self.folder, progress)

    def _timed(
        self, tried: Mapping[Precision, _Tried], engines: Mapping[Precision, Path], shape: ShapeHW
    ) -> Iterator[PrecisionVariant]:
        times: Mapping[Precision, dict[int, float]] = {}
        if len(engines) > 1:
            with _shown(self.display, f"timing of {shape[0]}x{shape[1]}"):
                times = time_in_turns(self.measure, self.gpu, open_library(self.target.library), engines, shape)
        for precision, one in tried.items():
            result = self.origin.gate_result(precision)
            yield PrecisionVariant(
                precision=precision,
                model_sha256=self.variants[precision].model.sha256,
                passed=result.passed,
                judged_by=result.by,
                latency_ms=times.get(precision, {}),
                fault=one.fault,
                proven_by=one.proven_by,
            )


def _variants(
    model: Model, wanted: Precision | None, float_onnx: Path | None, work: Path
) -> dict[Precision, _Contender]:
    """Return the variants that are to be built, INT8 first, as it is written for TensorRT: with float16 between.

    The other one is the bundle's own; where it has none, its file is written to `work`.
    """
    variants: dict[Precision, _Contender] = {}
    if wanted != "fp16":
        suited = next(one for one in written_for(model, Library.TENSORRT) if one.precision in ("", model.precision))
        variants["int8"] = _Contender(as_written(model, suited), suited)
    if wanted == "int8":
        return variants
    own = next((one for one in model.gpu_variants if one.name == WHOLLY_FLOAT16), None)
    if own is not None:
        variants["fp16"] = _Contender(variant_of(model, "fp16", own.sha256), own)
    elif float_onnx is not None:
        # proven by what the bundle says of its own file, from which it is away by the quantization
        variants["fp16"] = _Contender(_float16_variant(model, float_onnx, work), model.variants[0])
    elif wanted == "fp16":
        raise ConfigError("--precision fp16: expected the float model beside the bundle, or named with --float")
    return variants


def _float16_variant(model: Model, float_onnx: Path, work: Path) -> Model:
    path = write_wholly_float16(model, float_onnx, work / "half.onnx")
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
