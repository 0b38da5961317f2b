# SPDX-License-Identifier: AGPL-3.0-or-later
"""Decoders whose frames stay on the GPU, and which of them a stream gets."""
