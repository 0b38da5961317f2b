# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases: collected, looked at, and handed over as one archive."""
