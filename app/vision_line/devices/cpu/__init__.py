# SPDX-License-Identifier: AGPL-3.0-or-later
"""The CPU device: PyAV decodes, numpy and OpenCV convert, OpenVINO infers."""
