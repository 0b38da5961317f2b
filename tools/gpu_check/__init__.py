# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tries vision-line on a machine with an NVIDIA GPU, stage by stage: `python -m tools.gpu_check`; docs/gpu-check.md."""
