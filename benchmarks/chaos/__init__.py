# SPDX-License-Identifier: AGPL-3.0-or-later
"""A plant of several boxes in which things die: what moves, how long nobody inspects, and what is counted."""
