# SPDX-License-Identifier: AGPL-3.0-or-later
"""Telemetry: counters and measurements of a run, and the immutable snapshots that screens and files read."""
