# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lanes: each part that passes is decided in time, or said to be not inspected."""
