# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line doctor`: what this machine offers, what that means for inspection, and what to install."""

from vision_line.doctor.diagnosis import diagnose
from vision_line.doctor.finding import Finding, Level, findings_json, findings_table

__all__ = ["Finding", "Level", "diagnose", "findings_json", "findings_table"]
