# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people review beside events: near misses, and inspected frames drawn at random; with their images."""
