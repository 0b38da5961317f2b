# SPDX-License-Identifier: AGPL-3.0-or-later
"""What builders and runtimes share: which library they belong to, and what plans begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuda.bindings import driver

if TYPE_CHECKING:
    from tests.fakes.faketensorrt.library import FakeTensorRT

MAGIC = b"fake TensorRT plan\n"

#: The last is the one that new builders and runtimes belong to.
LIBRARIES: list[FakeTensorRT] = []


def current_gpu() -> int:
    """Return the GPU that is current in the calling thread; without one the library takes the first."""
    code, number = driver.cuCtxGetDevice()
    return int(number) if code == driver.CUresult.CUDA_SUCCESS else 0
