# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the tests of the NVIDIA device share: fakes of NVIDIA's libraries, and small videos."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from tests.fakes.fakecuda.fixtures import fake_cuda, fake_cuda_process, gpu
from tests.fakes.gpu_libraries.pynv import FakePyNvVideoCodec
from tests.fakes.gpu_libraries.videos import encoded

__all__ = ["fake_cuda", "fake_cuda_process", "gpu"]


@pytest.fixture
def pynv() -> FakePyNvVideoCodec:
    """Return a fake PyNvVideoCodec of the test's own."""
    return FakePyNvVideoCodec()


@pytest.fixture
def encode() -> Callable[..., io.BytesIO]:
    """Return a function that makes a small video; see `encoded`."""
    return encoded
