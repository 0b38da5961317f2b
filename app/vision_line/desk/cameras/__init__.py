# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cameras: their states, gaps and frames."""
