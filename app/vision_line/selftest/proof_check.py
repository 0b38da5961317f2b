# SPDX-License-Identifier: AGPL-3.0-or-later
"""What proved the engine under test; a device without a correct engine does not open."""

from __future__ import annotations

from vision_line.devices.proof.proving import UNPROVEN
from vision_line.selftest.device_under_test import DeviceUnderTest
from vision_line.selftest.report import CheckOutcome, failed, passed


def check_proof(dut: DeviceUnderTest) -> CheckOutcome:
    """Report which form of the model runs and what proved it; fails for an engine that could not be proven."""
    used = dut.device.description
    if UNPROVEN in used.form_reason and used.precision == dut.model.precision:
        return failed(f"{used.form}: {used.form_reason}")
    return passed(f"{used.form}: {used.form_reason or 'executed in float, as its file is written'}")
