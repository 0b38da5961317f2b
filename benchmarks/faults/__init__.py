# SPDX-License-Identifier: AGPL-3.0-or-later
"""The fault bench: real cameras, real faults, and what vision-line and its peers make of them."""
