# SPDX-License-Identifier: AGPL-3.0-or-later
"""INT8 by our own Q/DQ writer: calibrate once, place pairs by rules, write one portable file, refuse illegal ones."""
