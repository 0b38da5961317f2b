# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the network's output to the detections that count. Pure."""
