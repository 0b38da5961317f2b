# SPDX-License-Identifier: AGPL-3.0-or-later
"""What proved the engine that is tested; a device that has a wrong one alone is not opened at all."""

from __future__ import annotations

from vision_line.devices.proof.proving import UNPROVEN
from vision_line.selftest.device_under_test import DeviceUnderTest
from vision_line.selftest.report import CheckOutcome, failed, passed


def check_proof(subject: DeviceUnderTest) -> CheckOutcome:
    """Say which form of the model runs and what proved it; an engine that could not be proven fails."""
    used = subject.device.description
    if UNPROVEN in used.form_reason and used.precision == subject.model.precision:
        return failed(f"{used.form}: {used.form_reason}")
    return passed(f"{used.form}: {used.form_reason or 'executed in float, as its file is written'}")
