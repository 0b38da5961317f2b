# SPDX-License-Identifier: AGPL-3.0-or-later
"""Data sets and images: read, checked, and brought into the form that networks and trainers take."""
