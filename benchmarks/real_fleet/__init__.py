# SPDX-License-Identifier: AGPL-3.0-or-later
"""A thousand cameras on ten boxes in real time: protocol, store, shippers and database are real, cameras not."""
