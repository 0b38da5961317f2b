# SPDX-License-Identifier: AGPL-3.0-or-later
"""One desk for all boxes: the same pages over a central database, and what is the boxes' own business left to them."""
