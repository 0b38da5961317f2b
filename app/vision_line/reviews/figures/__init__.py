# SPDX-License-Identifier: AGPL-3.0-or-later
"""What reviews show of the line: precision, recall, escapes, agreement, and what other thresholds would do."""
