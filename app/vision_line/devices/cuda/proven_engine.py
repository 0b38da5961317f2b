# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPU's engine for one input shape: loaded or built, and proven before anything else is done with it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from vision_line.devices.cpu.openvino_engine import float_outputs
from vision_line.devices.cuda.context import translated_errors
from vision_line.devices.cuda.engine_cache import EngineSource, cache_folder
from vision_line.devices.cuda.memory import Scratch, open_scratch, open_stream
from vision_line.devices.cuda.runtime_cache import runtime_cache_path
from vision_line.devices.cuda.tensorrt_engine import BUCKETS, Engine
from vision_line.devices.model.agreement import Tolerance
from vision_line.devices.model.heads import HeadOutput
from vision_line.devices.model.model import Model, ModelVariant
from vision_line.devices.model.proof import Images
from vision_line.devices.preprocessing.definition import SCALE
from vision_line.devices.proof.proving import ProofResult, Prover
from vision_line.devices.tensorrt.engine_manifest import read_manifest
from vision_line.errors import DeviceError
from vision_line.ports import ShapeHW

if TYPE_CHECKING:
    from cuda.core import Stream

    from vision_line.devices.cuda.context import GpuContext

logger = logging.getLogger(__name__)

#: Float layers in float16 or TF32 besides what integers do on a CPU.
TOLERANCE = Tolerance(score=0.15, logit=1.0, share=0.9)
#: The FP16 variant is of the float model that was quantized: away from the reference by the quantization as well.
FP16_TOLERANCE = Tolerance(overlap=0.6, score=0.25, logit=1.5, share=0.8)


@dataclass(frozen=True, slots=True)
class ProvenEngine:
    """A loaded engine, what of the model it is made of and computes in, and what proves it."""

    engine: Engine
    variant: ModelVariant
    precision: str
    proven_by: str


def open_prover(model: Model) -> Prover:
    """Return what proves the engines of `model`, where its bundle does not say by float executions on the CPU."""
    return Prover(model, lambda variant, frames: float_outputs(model, variant.path, frames))


def prove_engine(
    gpu: GpuContext, trt: ModuleType, plan: Path, model: Model, variant: ModelVariant, shape_hw: ShapeHW
) -> str:
    """Load `plan`, an engine of `variant` of `model`, by itself and return what proves it, in words.

    Raises:
        DeviceError: it cannot be loaded or run, or computes wrongly.
        ModelError, RunError: as the prover.
    """
    with translated_errors(DeviceError, f"{plan} cannot be proven"), ExitStack() as undo:
        stream = open_stream(gpu, undo)
        opener = EngineOpener(gpu, trt, model, open_prover(model), cache_folder())
        proven = opener.open([EngineSource(plan, was_there=True, variant=variant)], shape_hw, stream)
        proven.engine.close()
        return proven.proven_by


class EngineOpener:
    """Opens the engines of one model on one GPU."""

    def __init__(self, gpu: GpuContext, trt: ModuleType, model: Model, prover: Prover, cache: Path) -> None:
        """`trt` is the library's module; `cache` the folder for all engines."""
        self._gpu = gpu
        self._trt = trt
        self._model = model
        self._prover = prover
        self._cache = cache

    def open(
        self,
        sources: Iterable[EngineSource],
        shape_hw: ShapeHW,
        stream: Stream,
        buckets: Sequence[int] = BUCKETS,
    ) -> ProvenEngine:
        """Return the first of `sources` that can be loaded and whose proof holds in all `buckets`, smallest first.

        `stream` is what sets it up.

        Raises:
            DeviceError: none can be loaded and computes rightly, or one cannot be run.
            ModelError, RunError: as the prover.
        """
        faults = []
        for source in sources:
            precision = read_manifest(source.path).precision
            try:
                plan = source.path.read_bytes()
                kernels = runtime_cache_path(self._cache, plan, self._gpu.name)
                engine = Engine(self._trt, plan, shape_hw, str(source.path), stream, kernels, buckets=buckets)
            except DeviceError as exc:
                logger.warning("the engine is not used: %s", exc)
                faults.append(str(exc))
                continue
            with ExitStack() as undo:
                undo.callback(engine.close)
                result = self._prove(engine, precision, source.variant, shape_hw, buckets)
                if result.holds or result.is_open:
                    undo.pop_all()
                    return ProvenEngine(engine, source.variant, precision, _proven(result, source))
            made_of = precision if source.variant is self._model.variants[0] else source.variant.name
            fault = f"{made_of} at {shape_hw[1]}x{shape_hw[0]}, against {result.by}: {result.why}"
            logger.warning("%s: the engine computes wrongly and is not used: %s", source.path, fault)
            faults.append(fault)
        raise DeviceError(
            f"cuda: {self._model.path}: no engine of the model computes rightly on {self._gpu.name}: "
            f"{'; '.join(faults)}"
        )

    def prove(self, proven: ProvenEngine, shape_hw: ShapeHW, buckets: Sequence[int]) -> str:
        """Return what an engine that `open` returned computes wrongly in `buckets`, "" where nothing is.

        Batches may be inspected meanwhile. What cannot be proven at all was said when it was opened.

        Raises:
            DeviceError: it cannot be run, or there is too little memory.
            ModelError, RunError: as the prover.
        """
        result = self._prove(proven.engine, proven.precision, proven.variant, shape_hw, buckets)
        return "" if result.holds or result.is_open else f"against {result.by}: {result.why}"

    def _prove(
        self, engine: Engine, precision: str, variant: ModelVariant, shape_hw: ShapeHW, buckets: Sequence[int]
    ) -> ProofResult:
        """Prove `engine` at every size of a batch: each may be computed by kernels of its own."""
        of_its_own_file = precision == (variant.precision or self._model.precision)
        tolerance = TOLERANCE if of_its_own_file else FP16_TOLERANCE
        with ExitStack() as undo:
            scratch = open_scratch(self._gpu, engine, max(buckets), undo)
            for bucket in buckets:
                run = partial(_outputs, engine, bucket, scratch)
                result = self._prover.prove(variant, shape_hw, run, tolerance)
                if not result.holds:
                    break
        return result


def _outputs(engine: Engine, bucket: int, scratch: Scratch, images: Images) -> list[HeadOutput]:
    inputs = (images.transpose(0, 3, 1, 2) * SCALE).astype(engine.input.dtype)
    return list(engine.infer(inputs, bucket, scratch).astype(np.float32))


def _proven(result: ProofResult, source: EngineSource) -> str:
    if result.is_open:
        logger.warning("%s: %s", source.path, result.why)
        return result.why
    return f"proven by {result.by}"
