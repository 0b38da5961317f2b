# SPDX-License-Identifier: AGPL-3.0-or-later
"""Offline work on several machines by Ray: who is fit for it, who does what, and one retry where a worker dies."""
