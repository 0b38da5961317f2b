# SPDX-License-Identifier: AGPL-3.0-or-later
"""A PLC that sorts the simulator's boards, whose truth is known, while the line, its files and its network break."""
