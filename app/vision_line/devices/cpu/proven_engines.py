# SPDX-License-Identifier: AGPL-3.0-or-later
"""Engines of the CPU device: for each input shape the first variant of the model whose proof holds here."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import openvino as ov

from vision_line.devices.cpu.openvino_engine import OpenVino, float_outputs, run_images
from vision_line.devices.model.agreement import Tolerance
from vision_line.devices.model.heads import HeadOutput
from vision_line.devices.model.model import Model, ModelVariant
from vision_line.devices.model.proof import Images
from vision_line.devices.proof.processor import this_processor
from vision_line.devices.proof.proving import ProofResult, Prover
from vision_line.errors import DeviceError, RunError
from vision_line.ports import ShapeHW

logger = logging.getLogger(__name__)

#: Another order of sums, and ties rounded the other way.
TOLERANCE = Tolerance()

#: Unsigned activations with zero point 128, weights within -64..63: no sum of two products leaves 16 bits.
UNSIGNED_7BIT = "qdq-u8-7bit"

_WORDS = {"qdq-s8-symmetric": "signed INT8", UNSIGNED_7BIT: "unsigned INT8, 7-bit weights"}


@dataclass(frozen=True, slots=True)
class Execution:
    """A file of the model and a way to execute it; `precision` is OpenVINO's hint for float layers, "f32" or "bf16"."""

    variant: ModelVariant
    low_precision: bool  # Q/DQ pairs are executed on integers; else in float, as they are written
    precision: str = "f32"

    @property
    def is_exact(self) -> bool:
        """Whether this is the reference itself: float execution of what the file says."""
        return not self.low_precision and self.precision == "f32"

    @property
    def label(self) -> str:
        """Return it in words: "unsigned INT8, 7-bit weights"."""
        words = _WORDS.get(self.variant.name, self.variant.name)
        how = "" if self.low_precision or not self.variant.name.startswith(("qdq", "int8")) else " executed in float"
        return f"{words}{how}{'' if self.precision == 'f32' else f' in {self.precision}'}"


def candidates(model: Model, *, dot_products: bool, precision: str = "f32") -> tuple[Execution, ...]:
    """Return what can be tried with `model`, the best first and the safest last. Pure.

    The canonical INT8 variant has signed activations. Without dot product instructions OpenVINO computes it wrongly, so
    there the unsigned one with 7-bit weights comes first, if the bundle has it. The order is only a guess that saves
    time: what runs is what its proof holds for. docs/decisions/0009-proof-and-variants.md
    """
    canonical = model.variants[0]
    exact = Execution(canonical, low_precision=False)
    if model.precision != "int8":
        return (
            (exact,) if precision == "f32" else (Execution(canonical, low_precision=False, precision=precision), exact)
        )
    others = sorted(model.variants[1:], key=lambda variant: variant.name != UNSIGNED_7BIT)
    variants = (canonical, *others) if dot_products else (*others, canonical)
    return (*(Execution(variant, low_precision=True, precision=precision) for variant in variants), exact)


class ProvenEngines:
    """Opens engines of one model; what failed at one input shape is not tried again at another.

    Shapes opened before keep their variant: its proof held for them.
    """

    def __init__(self, model: Model, cores: int, precision: str = "f32", *, exact: bool = False) -> None:
        """Use `cores` cores; `precision` is that of float layers, "f32" or "bf16".

        `exact`: nothing but float execution of the canonical variant, what other engines are compared with.
        """
        self._model = model
        self._openvino = OpenVino(cores)
        self.processor = this_processor(self._openvino.processor)
        found = candidates(model, dot_products=self.processor.has_dot_products, precision=precision)
        self._left = found[-1:] if exact else found
        self._faults: list[str] = []
        self._used: dict[Execution, str] = {}  # what proved it
        self._opened: dict[ShapeHW, Execution] = {}
        self._prover = Prover(model, lambda variant, images: float_outputs(model, variant.path, images))

    @property
    def variant(self) -> str:
        """Return the variant that runs, in words; all of them where shapes differ."""
        return " and ".join(candidate.label for candidate in self._used)

    @property
    def candidates(self) -> tuple[Execution, ...]:
        """Return what runs: one, or several where shapes differ."""
        return tuple(self._used)

    @property
    def reason(self) -> str:
        """Say why this variant runs here, and what proves it."""
        why = [*self._faults] or [self._guess()]
        proven = dict.fromkeys(f"proven by {by}" for by in self._used.values() if by)
        return "; ".join([*filter(None, why), *proven])

    @property
    def precision(self) -> str:
        """Return what most of the network is computed in: the model's precision, or "fp32" where float runs instead."""
        exact = {candidate.is_exact for candidate in self._used}
        return "fp32" if exact == {True} else self._model.precision

    def open(self, shape_hw: ShapeHW) -> ov.CompiledModel:
        """Return an engine for `shape_hw` that computes rightly.

        Raises:
            ModelError: OpenVINO cannot read the model or reshape it.
            DeviceError: OpenVINO cannot compile it, or no variant computes rightly on this processor.
        """
        for candidate in self._left:
            network, result = self._tried(candidate, shape_hw)
            if network is not None:
                self._used.setdefault(candidate, result.by)
                self._opened[shape_hw] = candidate
                return network
            self._reject(candidate, shape_hw, result)
        raise DeviceError(
            f"cpu: {self._model.path}: no variant of the model computes rightly on {self._where()}: "
            f"{'; '.join(self._faults)}"
        )

    def prove_again(self, shape_hw: ShapeHW, network: ov.CompiledModel) -> str:
        """Return what `network`, which `open` returned, computes wrongly now, "" where it is right still.

        Raises:
            RunError: the engine failed.
        """
        candidate = self._opened[shape_hw]
        result = self._prove(candidate, shape_hw, network)
        if result.holds:
            return ""
        width, height = shape_hw[1], shape_hw[0]
        return f"cpu: {candidate.label} at {width}x{height}, which was right before, computes wrongly now: {result.why}"

    def _tried(self, candidate: Execution, shape_hw: ShapeHW) -> tuple[ov.CompiledModel | None, ProofResult]:
        """Return the engine if its proof holds; one that fails is gone before the next is compiled."""
        try:
            network = self._compiled(candidate, shape_hw)
            result = self._prove(candidate, shape_hw, network)
        except (DeviceError, RunError) as exc:
            return None, ProofResult(holds=False, by="", why=str(exc))
        return (network if result.holds else None), result

    def _compiled(self, candidate: Execution, shape_hw: ShapeHW) -> ov.CompiledModel:
        path, low_precision = candidate.variant.path, candidate.low_precision
        return self._openvino.compiled(
            self._model, path, shape_hw, low_precision=low_precision, precision=candidate.precision
        )

    def _prove(self, candidate: Execution, shape_hw: ShapeHW, network: ov.CompiledModel) -> ProofResult:
        def run(images: Images) -> list[HeadOutput]:
            return run_images(network, images)

        if candidate.is_exact and not self._prover.has_reference(candidate.variant, shape_hw):
            return self._prover.check_itself(shape_hw, run)  # it is the reference itself
        return self._prover.prove(candidate.variant, shape_hw, run, TOLERANCE)

    def _reject(self, candidate: Execution, shape_hw: ShapeHW, result: ProofResult) -> None:
        against = f", against {result.by}" if result.by else ""
        fault = f"{candidate.label} at {shape_hw[1]}x{shape_hw[0]}{against}: {result.why}"
        logger.warning("the model is not run as %s on %s", fault, self._where())
        self._faults.append(fault)
        self._left = tuple(other for other in self._left if other is not candidate)

    def _guess(self) -> str:
        if len(self._model.variants) < 2:
            return ""
        dots = "has dot products" if self.processor.has_dot_products else "has no dot products"
        return f"{self.processor.instruction_set} {dots} of INT8"

    def _where(self) -> str:
        return f"{self.processor.name or 'this processor'} ({self.processor.instruction_set})"
