# SPDX-License-Identifier: AGPL-3.0-or-later
"""The rules for GPUs, and which precision is kept."""

from __future__ import annotations

import pytest

from vision_line.devices.tensorrt.engine_manifest import Library, Target
from vision_line.devices.tensorrt.targets import EngineCandidate, check_target, choose_precision, target_rules
from vision_line.errors import DeviceError

INT8, HALF = EngineCandidate("int8", passed=True), EngineCandidate("fp16", passed=True)


@pytest.mark.parametrize(("sm", "sparse"), [(75, False), (80, True), (86, True), (87, True), (89, True), (120, True)])
def test_sparsity_is_where_the_hardware_has_it(sm: int, sparse: bool) -> None:
    """From Ampere on."""
    assert target_rules(sm).sparse_weights is sparse


@pytest.mark.parametrize("library", list(Library))
def test_xavier_is_refused(library: Library) -> None:
    """Its TensorRT is frozen; the published rule about float16 is kept all the same."""
    assert not target_rules(72).half
    with pytest.raises(DeviceError, match=r"SM 72: Jetson Xavier stays at TensorRT 8\.5"):
        check_target(Target(library, 72), "8.5.2")


def test_what_came_before_turing_is_refused() -> None:
    """Volta and older."""
    with pytest.raises(DeviceError, match="before Turing"):
        check_target(Target(Library.TENSORRT, 70), "10.13.0")


def test_orin_has_tensorrt_10() -> None:
    """And no other."""
    assert check_target(Target(Library.TENSORRT, 87, "Orin"), "10.3.0.30").half
    with pytest.raises(DeviceError, match=r"SM 87: expected version 10, found 11\.4\.0\.106"):
        check_target(Target(Library.TENSORRT, 87, "Orin"), "11.4.0.106")


@pytest.mark.parametrize("version", ["10.13.3.9", "11.4.0.106"])
def test_the_others_have_both(version: str) -> None:
    """TensorRT 9 was for servers alone; TensorRT-RTX has versions of its own."""
    assert check_target(Target(Library.TENSORRT, 86, "A10"), version).sparse_weights
    with pytest.raises(DeviceError, match="expected version 10 or 11, found 9"):
        check_target(Target(Library.TENSORRT, 86, "A10"), "9.3.0")
    check_target(Target(Library.RTX, 86), "1.7.1.116")


def with_time(candidate: EngineCandidate, latency_ms: float) -> EngineCandidate:
    """Return the candidate as a GPU measured it."""
    return EngineCandidate(candidate.precision, candidate.passed, latency_ms)


@pytest.mark.parametrize(
    ("int8_ms", "half_ms", "expected"),
    [(1.0, 2.0, "int8"), (2.0, 1.0, "fp16"), (1.0, 0.985, "int8"), (1.0, 1.0, "int8")],
)
def test_the_faster_is_kept(int8_ms: float, half_ms: float, expected: str) -> None:
    """Where they are alike, the one that takes less memory."""
    choice = choose_precision(with_time(INT8, int8_ms), with_time(HALF, half_ms))

    assert choice.candidate is not None
    assert choice.candidate.precision == expected
    assert f"int8 {int8_ms:.3f} ms" in choice.reason


def test_the_gate_comes_first() -> None:
    """A fast model that misses defects is no choice."""
    fast = EngineCandidate("int8", passed=False, latency_ms=0.1)

    assert choose_precision(fast, with_time(HALF, 9.0)).candidate == with_time(HALF, 9.0)
    assert choose_precision(fast, EngineCandidate("fp16", passed=False)).candidate is None


def test_times_are_not_guessed() -> None:
    """Without both of them, accuracy alone decides, and the reason says so."""
    choice = choose_precision(INT8, with_time(HALF, 0.1))

    assert choice.candidate is INT8
    assert "no GPU has timed them" in choice.reason
