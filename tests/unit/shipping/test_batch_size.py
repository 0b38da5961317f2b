# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many entries are shipped at once."""

from __future__ import annotations

from vision_line.shipping.batch_size import BatchSize


def test_it_halves_until_it_fits() -> None:
    """Down to one, and not to none."""
    size = BatchSize(5)
    found = []
    for _ in range(4):
        size.took_too_long()
        found.append(size.most)

    assert found == [2, 1, 1, 1]


def test_it_grows_again_as_far_as_it_was() -> None:
    """Once so many went quickly: what there was little of, or went just so, says nothing of twice as many."""
    size = BatchSize(8)
    for _ in range(3):
        size.took_too_long()

    found = []
    for entries, of_limit in ((0, 0.0), (1, 0.9), (1, 0.1), (1, 0.1), (2, 0.1), (4, 0.1), (8, 0.1)):
        size.went_well(entries, of_limit)
        found.append(size.most)

    assert found == [1, 1, 2, 2, 4, 8, 8]
