# SPDX-License-Identifier: AGPL-3.0-or-later
"""From an engine's raw output to what is said about the line: detections, defect events, verdicts, coverage."""
