# SPDX-License-Identifier: AGPL-3.0-or-later
"""From cameras on the network to a `streams.toml`: found, examined, advised on, written down."""
