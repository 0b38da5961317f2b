# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reviewed images as a data set, for whoever trains a better model."""
