# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clips: the footage of events as their camera sent it, from a ring of encoded frames."""
