# SPDX-License-Identifier: AGPL-3.0-or-later
"""Prune, distil, quantize and prove a detection model; the runtime `vision_line` never imports this package."""
