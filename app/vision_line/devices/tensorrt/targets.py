# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is built for which GPU: rules by compute capability and library version, and the choice of precision. Pure.

Sparsity. Matrix units that skip two zeros of four (2:4) came with Ampere; the published rule names A100 and A10 alone,
which is narrower than the hardware. TensorRT may look for the pattern there, layer by layer, and times what uses it
beside what does not; weights that lack it are not changed, and channels that are pruned away make none. TensorRT-RTX is
not asked to: its documentation does not say what comes of it.

Xavier. The published rule turns float16 off on it. It is kept as a rule, but never comes into play: Xavier stays at
TensorRT 8.5, which knows no strongly typed networks, so nothing is built for it.

Orin. TensorRT 11 supports no JetPack up to 11.4.0, and what later ones support was not tried: TensorRT 10 it is.

INT8 or float16. INT8 has half the traffic and twice the arithmetic, and is still slower for some networks, batches and
GPUs. Whether a file passes the accuracy gate, whether a library parses it and builds it, is known without a GPU. Which
engine is faster is not, and is never guessed: without times the more accurate question decides alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vision_line.devices.tensorrt.engine_manifest import Library, Target
from vision_line.errors import DeviceError

#: INT8 takes half the memory: float16 has to be faster by more than this share, which is also above the noise of times.
WORTH_IT = 0.02

_XAVIER, _TURING, _AMPERE, _ORIN = 72, 75, 80, 87


@dataclass(frozen=True, slots=True)
class TargetRules:
    """The rules for one compute capability; `tensorrt_majors` are the major versions that may build for it."""

    sparse_weights: bool
    half: bool
    tensorrt_majors: tuple[int, ...]
    reason: str


def target_rules(sm: int) -> TargetRules:
    """Return the rules for a compute capability without its dot, 86 for 8.6."""
    if sm == _XAVIER:
        return TargetRules(
            False, False, (), "Jetson Xavier stays at TensorRT 8.5, which knows no strongly typed networks"
        )
    if sm < _TURING:
        return TargetRules(False, True, (), "GPUs before Turing are not supported")
    if sm == _ORIN:
        return TargetRules(True, True, (10,), "Jetson Orin is served by TensorRT 10")
    return TargetRules(sm >= _AMPERE, True, (10, 11), "TensorRT 10 and 11 are supported")


def check_target(target: Target, version: str) -> TargetRules:
    """Return the rules for `target` where `version` of its library may build for it.

    Raises:
        DeviceError: it may not, and why.
    """
    rules = target_rules(target.sm)
    if not rules.tensorrt_majors:
        raise DeviceError(f"{target.library}: SM {target.sm}: {rules.reason}")
    if target.library is Library.TENSORRT and int(version.partition(".")[0]) not in rules.tensorrt_majors:
        expected = " or ".join(map(str, rules.tensorrt_majors))
        raise DeviceError(
            f"{target.library}: SM {target.sm}: expected version {expected}, found {version}: {rules.reason}"
        )
    return rules


@dataclass(frozen=True, slots=True)
class EngineCandidate:
    """One variant of a model: whether it passed the accuracy gate, and its engine's time where a GPU measured it."""

    precision: str
    passed: bool
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The variant to use, None if none passed; `reason` is a sentence for people."""

    candidate: EngineCandidate | None
    reason: str


def choose_precision(int8: EngineCandidate, half: EngineCandidate) -> Choice:
    """Return the faster of the two that passed the accuracy gate; INT8 where times are unknown or alike."""
    passed = [candidate for candidate in (int8, half) if candidate.passed]
    if not passed:
        return Choice(None, "neither passed the accuracy gate")
    if len(passed) == 1:
        return Choice(passed[0], f"only {passed[0].precision} passed the accuracy gate")
    times = _both_times(passed)
    if times is None:
        return Choice(int8, f"both passed the accuracy gate; no GPU has timed them, so the smaller: {int8.precision}")
    int8_ms, half_ms = times
    chosen = half if half_ms < int8_ms * (1 - WORTH_IT) else int8
    measured = f"{int8.precision} {int8_ms:.3f} ms, {half.precision} {half_ms:.3f} ms"
    return Choice(chosen, f"both passed the accuracy gate; {measured}")


def _both_times(candidates: Sequence[EngineCandidate]) -> tuple[float, float] | None:
    first, second = (candidate.latency_ms for candidate in candidates)
    return None if first is None or second is None else (first, second)
