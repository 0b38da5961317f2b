# SPDX-License-Identifier: AGPL-3.0-or-later
"""Devices are chosen by name; what is not there is said in one sentence."""

from __future__ import annotations

import pytest

from vision_line.devices.decoding import CpuDecoder
from vision_line.devices.selection import choose_device, decoder_opener
from vision_line.errors import DeviceError


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_the_cpu_is_what_there_is(name: str) -> None:
    """`auto` means the CPU in this version."""
    assert choose_device(name) == "cpu"
    assert decoder_opener(name) is CpuDecoder


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_the_nvidia_device_is_not_there_yet(name: str) -> None:
    """Asking for it names what to use instead."""
    with pytest.raises(DeviceError, match="not part of this version of vision-line; use --device cpu"):
        choose_device(name)


def test_unknown_devices_are_refused() -> None:
    """The error lists the names that exist."""
    with pytest.raises(DeviceError, match="expected one of auto, cpu, found 'tpu'"):
        choose_device("tpu")
