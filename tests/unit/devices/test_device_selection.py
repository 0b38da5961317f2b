# SPDX-License-Identifier: AGPL-3.0-or-later
"""Devices are chosen by name; what is not there is said in one sentence."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from vision_line.devices import selection
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.devices.selection import choose_device, decoder_opener, nvidia_gpus
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


def test_a_machine_without_a_gpu_needs_no_word_about_it(caplog: pytest.LogCaptureFixture) -> None:
    """`auto` on a plain CPU install logs nothing that an operator sees."""
    with caplog.at_level(logging.INFO):
        choose_device("auto")
    assert nvidia_gpus() == ()
    assert not caplog.messages


def test_an_idle_gpu_is_said_loudly(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where, why and what to do."""
    monkeypatch.setattr(selection, "nvidia_gpus", lambda: ("/dev/nvidia0",))
    assert choose_device("auto") == "cpu"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert said.startswith("the CPU inspects, though there is an NVIDIA GPU (/dev/nvidia0): cuda: ")
    assert said.endswith("see vision-line doctor, or choose cpu")


def put_on_bus(root: Path, address: str, vendor: str, kind: str) -> None:
    """Make a PCI device as the kernel shows it."""
    device = root / "sys/bus/pci/devices" / address
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")


def test_a_gpu_is_found_with_and_without_a_driver(tmp_path: Path) -> None:
    """By the driver's device files, else on the bus; a card's sound part and other vendors' cards are none."""
    put_on_bus(tmp_path, "0000:00:02.0", "0x8086", "0x030000")
    put_on_bus(tmp_path, "0000:01:00.1", "0x10de", "0x040300")
    assert nvidia_gpus(tmp_path) == ()
    put_on_bus(tmp_path, "0000:01:00.0", "0x10de", "0x030200")
    (tmp_path / "sys/bus/pci/devices/0000:02:00.0").mkdir()  # it was just taken out
    assert nvidia_gpus(tmp_path) == ("PCI 0000:01:00.0",)
    (tmp_path / "dev").mkdir()
    for name in ("nvidia1", "nvidia0", "nvidiactl"):
        (tmp_path / "dev" / name).touch()
    assert nvidia_gpus(tmp_path) == ("/dev/nvidia0", "/dev/nvidia1")
