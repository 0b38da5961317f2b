# SPDX-License-Identifier: AGPL-3.0-or-later
"""Devices are chosen by name; what is not there is said in one sentence."""

from __future__ import annotations

import re

import pytest

from vision_line.devices.decoding import CpuDecoder
from vision_line.devices.selection import choose_device, decoder_opener
from vision_line.errors import DeviceError


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_without_a_gpu_the_cpu_inspects(name: str) -> None:
    """`auto` means the best that can be used here."""
    assert choose_device(name) == "cpu"
    assert decoder_opener(choose_device(name)) is CpuDecoder


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "cuda:0,1", "cuda:all"])
def test_a_gpu_that_is_not_there_is_said_in_one_sentence(name: str) -> None:
    """Asking for it is an error, with what is missing."""
    with pytest.raises(DeviceError, match=r"^cuda: .*(driver|cuda-core)"):
        choose_device(name)


@pytest.mark.parametrize("name", ["tpu", "cpu:1", "cuda:", "cuda:x", "cuda:0,", "cuda:0+1", "all"])
def test_unknown_devices_are_refused(name: str) -> None:
    """The error lists the names that exist."""
    with pytest.raises(DeviceError, match=re.escape(f"cuda:NUMBER,NUMBER, cuda:all, found {name!r}")):
        choose_device(name)
