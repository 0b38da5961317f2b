# SPDX-License-Identifier: AGPL-3.0-or-later
"""Screens: the terminal dashboard, the status line, and the program's own log."""
