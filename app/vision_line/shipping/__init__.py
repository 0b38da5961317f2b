# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ships what a box records to the database of many boxes, a process of its own."""
