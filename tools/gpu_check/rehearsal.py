# SPDX-License-Identifier: AGPL-3.0-or-later
"""The stages on a machine without a GPU: the tests' driver, decoder and TensorRT in place of the real ones."""

from __future__ import annotations

import sys


def load_fakes() -> None:
    """Put the fakes in place, for the life of this process."""
    from tests.fakes.fakecuda.driver import load_fake_driver
    from tests.fakes.faketensorrt.library import FakeTensorRT
    from tests.fakes.gpu_libraries.pynv import FakePyNvVideoCodec

    driver = load_fake_driver()
    driver.reset()
    sys.modules["PyNvVideoCodec"] = FakePyNvVideoCodec()  # type: ignore[assignment]  # it has the module's names
    sys.modules["tensorrt"] = FakeTensorRT(driver).module
