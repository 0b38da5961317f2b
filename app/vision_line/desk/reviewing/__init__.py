# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reviewing: what the line said is shown to people, who say whether it is so."""
