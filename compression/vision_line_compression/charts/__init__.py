# SPDX-License-Identifier: AGPL-3.0-or-later
"""Charts as SVG text: scales and shapes, for any page; what is drawn is the caller's."""
