# SPDX-License-Identifier: AGPL-3.0-or-later
"""The proof of inspection: what was inspected, partly, or not, and why."""
