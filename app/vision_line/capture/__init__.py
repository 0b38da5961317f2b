# SPDX-License-Identifier: AGPL-3.0-or-later
"""Collects images from live cameras for calibration: sampling, encoding, and the output folder."""
