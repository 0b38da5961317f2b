# SPDX-License-Identifier: AGPL-3.0-or-later
"""The NVIDIA device: frames stay in the memory of the GPU from the decoder to the detections."""
