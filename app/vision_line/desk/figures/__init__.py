# SPDX-License-Identifier: AGPL-3.0-or-later
"""What reviews show, as a page and as JSON."""
