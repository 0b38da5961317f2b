# SPDX-License-Identifier: AGPL-3.0-or-later
"""What other systems are told of the records, at least once and in order: a follower over the journal, and sinks."""
