# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTSP and RTP as cameras speak them, written for peers that are not trusted: everything that is read has a bound."""
