# SPDX-License-Identifier: AGPL-3.0-or-later
"""Parts, lots and recipes: what passed a lane, what was decided of it, and which order it belonged to."""
