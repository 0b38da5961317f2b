# SPDX-License-Identifier: AGPL-3.0-or-later
"""Telemetry: what the running line counts and measures, and the immutable snapshots that screens and files read."""
