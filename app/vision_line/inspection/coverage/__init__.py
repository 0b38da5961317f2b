# SPDX-License-Identifier: AGPL-3.0-or-later
"""The coverage ledger: what was inspected, what was not, and why. Pure."""
