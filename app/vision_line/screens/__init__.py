# SPDX-License-Identifier: AGPL-3.0-or-later
"""Screens: the terminal dashboard, the status line, the program's own log, and pictures drawn on frames."""
