# SPDX-License-Identifier: AGPL-3.0-or-later
"""Control charts of rejected parts, yield over time, approved baselines, and lanes that reject suspiciously little."""
