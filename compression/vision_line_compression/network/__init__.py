# SPDX-License-Identifier: AGPL-3.0-or-later
"""Checkpoints and networks: loaded, adapted for pruning, exported."""
