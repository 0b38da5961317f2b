# SPDX-License-Identifier: AGPL-3.0-or-later
"""Benchmarks: one command each, interleaved rounds, results as JSON and as a table. Run them on an idle machine."""
