# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which variants of a model are tried on which processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.devices.cpu.proven_engines import candidates
from vision_line.devices.model.heads import HeadKind
from vision_line.devices.model.model import Model, ModelVariant
from vision_line.devices.proof.processor import Processor, this_processor

SIGNED, UNSIGNED = "qdq-s8-symmetric", "qdq-u8-7bit"


def model(precision: str, *variants: str) -> Model:
    """Return a model of these variants."""
    return Model(
        name="m", path=Path("m.onnx"), sha256="0" * 64, precision=precision, classes=("open",), stride=32,
        head=HeadKind.YOLOV8, input_name="images", input_shapes_hw=((64, 64),), dynamic=True, score_threshold=0.25,
        nms_iou=0.7, bundle=None, variants=tuple(ModelVariant(name, Path(f"{name}.onnx")) for name in variants),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("dot_products", "order"),
    [
        (True, ["signed INT8", "unsigned INT8, 7-bit weights", "signed INT8 executed in float"]),
        (False, ["unsigned INT8, 7-bit weights", "signed INT8", "signed INT8 executed in float"]),
    ],
)
def test_the_order_follows_the_processor(dot_products: bool, order: list[str]) -> None:
    """The variant that is fast and likely right comes first, float execution last."""
    tried = candidates(model("int8", SIGNED, UNSIGNED), dot_products=dot_products)

    assert [candidate.label for candidate in tried] == order
    assert [candidate.is_exact for candidate in tried] == [False, False, True]


def test_a_float_model_has_nothing_else_to_try() -> None:
    """But where bfloat16 is asked for, float32 is what it falls back to."""
    (only,) = candidates(model("fp32", "fp32"), dot_products=True)
    first, last = candidates(model("fp32", "fp32"), dot_products=True, precision="bf16")

    assert only.is_exact
    assert (first.label, last.label) == ("fp32 in bf16", "fp32")


@pytest.mark.parametrize(
    ("machine", "flags", "instruction_set", "dot_products"),
    [
        ("x86_64", "sse4_2 avx2 fma", "AVX2", False),
        ("x86_64", "avx2 avx512f", "AVX-512", False),
        ("x86_64", "avx2 avx_vnni", "AVX-VNNI", True),
        ("x86_64", "avx2 avx512f avx512_vnni", "AVX-512 VNNI", True),
        ("x86_64", "avx2 avx512f avx512_vnni avx_vnni amx_int8", "AMX INT8", True),
        ("x86_64", "", "x86_64", False),
        ("aarch64", "asimd", "aarch64", True),
        ("aarch64", "asimd asimddp", "NEON dot product", True),
    ],
)
def test_an_instruction_set_is_named(machine: str, flags: str, instruction_set: str, dot_products: bool) -> None:
    """The strongest one counts."""
    found = Processor("name", machine, frozenset(flags.split()))

    assert (found.instruction_set, found.has_dot_products) == (instruction_set, dot_products)


def test_an_emulated_processor_has_none_of_the_kernels_flags() -> None:
    """What the kernel lists is the machine's underneath."""
    assert this_processor("QEMU TCG CPU version 2.5+").flags == frozenset()
    assert this_processor().flags == this_processor(this_processor().name).flags
