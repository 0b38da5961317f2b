# SPDX-License-Identifier: AGPL-3.0-or-later
"""Structured pruning: groups of channels, their importance, what they cost, and a plan within a budget."""
