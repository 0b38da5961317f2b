# SPDX-License-Identifier: AGPL-3.0-or-later
"""Devices: decoders, preprocessing and engines, behind one Protocol (`vision_line.ports.Device`)."""
