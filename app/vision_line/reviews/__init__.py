# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people decide about the records: `reviews.sqlite` and its journal."""
