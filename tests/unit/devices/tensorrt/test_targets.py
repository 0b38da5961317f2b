# SPDX-License-Identifier: AGPL-3.0-or-later
"""The rules for GPUs."""

from __future__ import annotations

import pytest

from vision_line.devices.tensorrt.engine_manifest import Library, Target
from vision_line.devices.tensorrt.targets import check_target, target_rules
from vision_line.errors import DeviceError


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
