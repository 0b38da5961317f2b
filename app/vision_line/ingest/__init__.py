# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras: opening, reading, timing and supervising them; each ends in a mailbox."""
