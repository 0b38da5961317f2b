# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether this machine has an NVIDIA GPU, by what the kernel shows: no library and no driver is needed to look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_NVIDIA_VENDOR = "0x10de"
_DISPLAY_CLASS = "0x03"  # VGA and 3D controllers; the cards' sound and USB parts have other classes


def nvidia_gpus(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the driver's device files, else the PCI addresses of GPUs without a driver here; () on other machines.

    `root` is the root of the file system.
    """
    nodes = tuple(str(Path("/dev") / path.name) for path in sorted((root / "dev").glob("nvidia[0-9]*")))
    return nodes or tuple(f"PCI {address}" for address in sorted(_on_pci_bus(root / "sys/bus/pci/devices")))


def _on_pci_bus(devices: Path) -> Iterator[str]:
    for device in devices.glob("*"):
        with suppress(OSError):  # a device that is taken out while it is looked at is not there
            vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text()
            if vendor == _NVIDIA_VENDOR and kind.startswith(_DISPLAY_CLASS):
                yield device.name
