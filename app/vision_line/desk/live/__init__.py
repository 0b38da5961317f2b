# SPDX-License-Identifier: AGPL-3.0-or-later
"""Live video: tiles of all cameras, and one camera as it sends it, from the feed of the run that goes on."""
