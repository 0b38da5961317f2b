# SPDX-License-Identifier: AGPL-3.0-or-later
"""Parts that passed the lanes, and the lots that they belong to."""
