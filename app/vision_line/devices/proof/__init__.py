# SPDX-License-Identifier: AGPL-3.0-or-later
"""Proof that an engine finds what the model finds on this very processor, and the variants to choose from."""
