# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fixtures of the fake CUDA driver, for a conftest to import: `fake_cuda` for each test, `gpu` opened on it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from tests.fakes.fakecuda.driver import FakeDriver, load_fake_driver, missing

from vision_line.devices.cuda.context import GpuContext, open_gpu

__all__ = ["fake_cuda", "fake_cuda_process", "gpu"]


@pytest.fixture(scope="session")
def fake_cuda_process() -> Iterator[FakeDriver]:
    """Build and load the driver once; tests use `fake_cuda`."""
    if reason := missing():
        pytest.skip(reason)
    fake = load_fake_driver()
    yield fake
    fake.machine(plugged=False)
    gc.unfreeze()


@pytest.fixture
def fake_cuda(fake_cuda_process: FakeDriver) -> Iterator[FakeDriver]:
    """Give a driver that forgot the last test; between tests it shows no GPU."""
    gc.collect()
    gc.freeze()  # collections in a test then look at its own objects: among all of torch's each would take 0.2 s
    fake_cuda_process.reset()
    yield fake_cuda_process
    fake_cuda_process.reset()
    fake_cuda_process.machine(plugged=False)


@pytest.fixture
def gpu(fake_cuda: FakeDriver) -> GpuContext:
    """Give the fake driver's GPU, current in the test's thread."""
    return open_gpu(0)
