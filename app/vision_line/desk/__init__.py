# SPDX-License-Identifier: AGPL-3.0-or-later
"""The quality desk: what the line saw and what it did not see, in a browser. Reads records, changes none."""
