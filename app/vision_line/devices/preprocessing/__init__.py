# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a decoded frame to the network's input: one definition that every device follows to the bit."""
