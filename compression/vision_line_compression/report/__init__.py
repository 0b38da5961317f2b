# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report card of a compression: what became smaller and faster, what was lost, and what is only chance."""
