# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a model finds and misses on a labelled data set, measured through the application's own engine."""
