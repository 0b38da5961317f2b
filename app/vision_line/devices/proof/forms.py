# SPDX-License-Identifier: AGPL-3.0-or-later
"""In which form, and how, a processor is to compute a model: what is tried, and in which order. Pure.

The canonical INT8 form has signed activations. Without dot product instructions OpenVINO computes it wrongly, so there
the unsigned one with 7-bit weights comes first, if the bundle has it. The order is only a guess that saves time: what
runs is what its proof holds for. docs/decisions/0009-proof-and-forms.md
"""

from __future__ import annotations

from dataclasses import dataclass

from vision_line.devices.model.model import Model, ModelForm

#: Unsigned activations with zero point 128, weights within -64..63: no sum of two products leaves 16 bits.
UNSIGNED_7BIT = "qdq-u8-7bit"

_WORDS = {"qdq-s8-symmetric": "signed INT8", UNSIGNED_7BIT: "unsigned INT8, 7-bit weights"}


@dataclass(frozen=True, slots=True)
class Execution:
    """A file of the model and a way to execute it; `precision` is OpenVINO's hint for float layers, "f32" or "bf16"."""

    form: ModelForm
    low_precision: bool  # Q/DQ pairs are executed on integers; else in float, as they are written
    precision: str = "f32"

    @property
    def is_exact(self) -> bool:
        """Whether this is the reference itself: float execution of what the file says."""
        return not self.low_precision and self.precision == "f32"

    @property
    def label(self) -> str:
        """Return it in words: "unsigned INT8, 7-bit weights"."""
        words = _WORDS.get(self.form.name, self.form.name)
        how = "" if self.low_precision or not self.form.name.startswith(("qdq", "int8")) else " executed in float"
        return f"{words}{how}{'' if self.precision == 'f32' else f' in {self.precision}'}"


def candidates(model: Model, *, dot_products: bool, precision: str = "f32") -> tuple[Execution, ...]:
    """Return what can be tried with `model`, the best first and the safest last."""
    canonical = model.forms[0]
    exact = Execution(canonical, low_precision=False)
    if model.precision != "int8":
        return (
            (exact,) if precision == "f32" else (Execution(canonical, low_precision=False, precision=precision), exact)
        )
    others = sorted(model.forms[1:], key=lambda form: form.name != UNSIGNED_7BIT)
    forms = (canonical, *others) if dot_products else (*others, canonical)
    return (*(Execution(form, low_precision=True, precision=precision) for form in forms), exact)
