# SPDX-License-Identifier: AGPL-3.0-or-later
"""Control charts of what was found, the baselines that people approve, and cameras that find suspiciously little."""
