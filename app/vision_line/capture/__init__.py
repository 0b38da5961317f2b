# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures of live cameras collected for calibration: which ones, in what form, into which folder."""
