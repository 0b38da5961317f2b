# SPDX-License-Identifier: AGPL-3.0-or-later
"""INT8 or float16 on one GPU: the engines are timed, the faster one that is right runs, and the other says why not.

INT8 has half the traffic and twice the arithmetic, and is still slower for some networks, batches and GPUs. What is
right is known first: an engine must be there, pass its proof on this GPU, and its file the recipe's accuracy gates.
What is faster is measured, never guessed; and where it is not known whether a file passed, the bundle stays INT8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from vision_line.devices.cuda.context import GpuContext
from vision_line.devices.model.model import Model
from vision_line.devices.tensorrt.engine_choice import CHOICE_VERSION, EngineChoice, Precision, PrecisionVariant
from vision_line.devices.tensorrt.engine_manifest import BATCH_RANGES, Target
from vision_line.errors import DeviceError
from vision_line.ports import ShapeHW

#: The batch whose time decides: many cameras at once, when time is short. With few the GPU waits for images.
DECISIVE_BATCH = BATCH_RANGES[-1][1]

#: All are timed so often, in turns, and the shorter times count: a GPU that warms up or is used is only slower.
ROUNDS = 2

#: INT8 takes half the memory: float16 has to be faster by more than this share, which is also above the noise of times.
WORTH_IT = 0.02

#: What times an engine for an input shape, by batch, with the library's module: `time_engine`.
Measure = Callable[[GpuContext, ModuleType, Path, ShapeHW], Mapping[int, float]]


def time_in_turns(
    measure: Measure, gpu: GpuContext, trt: ModuleType, engines: Mapping[Precision, Path], shape_hw: ShapeHW
) -> dict[Precision, dict[int, float]]:
    """Return the milliseconds of each engine by batch, the least of the rounds.

    Raises:
        DeviceError: an engine cannot be run.
    """
    times: dict[Precision, dict[int, float]] = {precision: {} for precision in engines}
    for _ in range(ROUNDS):
        for precision, engine in engines.items():
            best = times[precision]
            for batch, milliseconds in measure(gpu, trt, engine, shape_hw).items():
                best[batch] = min(round(milliseconds, 4), best.get(batch, milliseconds))
    return times


def choose(
    wanted: Precision | None,
    model: Model,
    target: Target,
    version: str,
    shape_hw: ShapeHW,
    variants: Sequence[PrecisionVariant],
) -> EngineChoice:
    """Return the choice among `variants`, the bundle's own first; `wanted` is kept where its engine is right. Pure.

    Raises:
        DeviceError: no engine is right; each says why.
    """
    kept, reason = _kept(wanted, variants)
    return EngineChoice(
        choice_version=CHOICE_VERSION,
        library=target.library,
        library_version=version,
        sm=target.sm,
        gpu=target.gpu,
        shape_hw=shape_hw,
        bundle_sha256=model.sha256,
        batch=DECISIVE_BATCH,
        forms=tuple(one.model_copy(update={"lost": _lost(one, kept)}) for one in variants),
        kept=kept.precision,
        reason=reason,
    )


def _kept(wanted: Precision | None, variants: Sequence[PrecisionVariant]) -> tuple[PrecisionVariant, str]:
    """Return the variant that runs, and why."""
    own, *others = variants
    right = [one for one in variants if not one.fault]
    if own.fault:
        # of another one nobody knows whether it may inspect, unless it passed the gates or was asked for
        right = [one for one in right if one.passed or wanted is not None]
    if not right:
        raise DeviceError("; ".join(f"{one.precision}: {one.fault or one.judged_by}" for one in variants))
    if wanted is not None:
        return right[0], "asked for"
    if not others:
        return own, "the float model that was quantized was not found, so there is no float16 variant"
    if len(right) == 1:
        return right[0], f"only {right[0].precision} has an engine that is right"
    return _better(own, right)


def _better(own: PrecisionVariant, right: Sequence[PrecisionVariant]) -> tuple[PrecisionVariant, str]:
    """Return which of several with an engine that is right runs, and why."""
    if unknown := [one for one in right if one.passed is None]:
        reasons = "; ".join(f"{one.precision}: {one.judged_by}" for one in unknown)
        return own, f"whether all passed the accuracy gates is not known ({reasons})"
    passed = [one for one in right if one.passed]
    if not passed:
        return own, "none passed the accuracy gates, so it is the bundle's own"
    if len(passed) == 1:
        return passed[0], f"only {passed[0].precision} passed the accuracy gates"
    if any(_decisive_ms(one) is None for one in passed):
        return own, "all passed the accuracy gates; no GPU has timed them, so the smaller"
    times = ", ".join(f"{one.precision} {_decisive_ms(one):.3f} ms" for one in passed)
    return min(passed, key=lambda one: _handicapped_ms(one, own)), f"all passed the accuracy gates; {times}"


def _lost(variant: PrecisionVariant, kept: PrecisionVariant) -> str:
    """Return why `variant` is not the one that is kept."""
    if variant is kept:
        return ""
    if variant.fault:
        return variant.fault
    if variant.passed is None:
        return f"whether it passed the accuracy gates is not known: {variant.judged_by}"
    if not variant.passed:
        return f"it did not pass the accuracy gates: {variant.judged_by}"
    own_ms, kept_ms = _decisive_ms(variant), _decisive_ms(kept)
    if kept.passed is None or own_ms is None or kept_ms is None:
        return f"what is known does not say that it is better than {kept.precision}"
    slower = "slower" if own_ms > kept_ms else f"not faster by more than {WORTH_IT:.0%}"
    return f"{slower}: {own_ms:.3f} ms for a batch of {DECISIVE_BATCH}, {kept.precision} {kept_ms:.3f} ms"


def _decisive_ms(variant: PrecisionVariant) -> float | None:
    return variant.latency_ms.get(DECISIVE_BATCH)


def _handicapped_ms(variant: PrecisionVariant, own: PrecisionVariant) -> float:
    """Return a time that counts: that of the bundle's own file is taken as a little less."""
    return (_decisive_ms(variant) or 0.0) * (1 - WORTH_IT if variant is own else 1.0)
