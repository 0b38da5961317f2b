# SPDX-License-Identifier: AGPL-3.0-or-later
"""The composition root: the only place that knows every part, and the life of a run."""
