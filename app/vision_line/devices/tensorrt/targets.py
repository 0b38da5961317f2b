# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is built for which GPU: rules by compute capability and library version. Pure.

Sparsity. Matrix units that skip two zeros of four (2:4) came with Ampere; the published rule names A100 and A10 alone,
which is narrower than the hardware. TensorRT may look for the pattern there, layer by layer, and times what uses it
beside what does not; weights that lack it are not changed, and channels that are pruned away make none. TensorRT-RTX is
not asked to: its documentation does not say what comes of it.

Xavier. The published rule turns float16 off on it. It is kept as a rule, but never comes into play: Xavier stays at
TensorRT 8.5, which knows no strongly typed networks, so nothing is built for it.

Orin. TensorRT 11 supports no JetPack up to 11.4.0, and what later ones support was not tried: TensorRT 10 it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from vision_line.devices.tensorrt.engine_manifest import Library, Target
from vision_line.errors import DeviceError

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
