# SPDX-License-Identifier: AGPL-3.0-or-later
"""Challenge parts: what is due, a challenge as people do it, and what it showed."""
