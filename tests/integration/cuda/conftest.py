# SPDX-License-Identifier: AGPL-3.0-or-later
"""The machine of fakes that the program runs on."""

from __future__ import annotations

from tests.unit.devices.cuda.fakecuda.fixtures import fake_cuda, fake_cuda_process
from tests.unit.devices.cuda.machine import cuda_machine, engine_folder

__all__ = ["cuda_machine", "engine_folder", "fake_cuda", "fake_cuda_process"]
