# SPDX-License-Identifier: AGPL-3.0-or-later
"""The machine and the library versions that a stage is done with: what a result depends on and no key names."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from vision_line.cores import usable_cores
from vision_line.devices.proof.processor import this_processor

#: Whose versions are named, where they are installed.
LIBRARIES = (
    "torch",
    "torch-pruning",
    "ultralytics",
    "ultralytics-opencv-headless",
    "onnx",
    "onnxruntime",
    "openvino",
    "numpy",
)


def this_machine() -> str:
    """Return the processor, its instruction set for INT8, and the cores that this process may use, in words."""
    processor = this_processor()
    return f"{processor.name or processor.machine} ({processor.instruction_set}), {usable_cores()} cores"


def library_versions() -> dict[str, str]:
    """Return the versions of `LIBRARIES`."""
    found: dict[str, str] = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
