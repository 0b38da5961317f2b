# SPDX-License-Identifier: AGPL-3.0-or-later
"""One event for each physical defect: tracks on a moving belt. Pure."""
