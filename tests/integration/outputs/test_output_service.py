# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the service of all outputs does when its file changes, and when one of them cannot begin."""

from __future__ import annotations

import asyncio

from tests.fakes.web_receiver import receiving
from tests.integration.outputs.conftest import Line

from vision_line.config.output_load import load_outputs
from vision_line.reviews.reviews_file import FILE_NAME as REVIEWS


def webhook(name: str, url: str, kinds: str = '"event"') -> str:
    return f'''[[output]]
type = "webhook"
name = "{name}"
url = "{url}"
source = "/vision-line/line-1"
since = "all"
kinds = [{kinds}]
'''


async def test_a_change_while_it_starts_is_noticed(line: Line) -> None:
    """Between the reading of the file and the first turn: secrets, locks and files of cursors take their time."""
    event = line.event()
    with receiving() as before, receiving() as now:
        line.configure(webhook("mes", before.url))
        loaded = load_outputs(line.streams)
        line.configure(webhook("scada", now.url))
        async with line.serving(loaded):
            (said,) = await asyncio.to_thread(now.wait_for, 1)

    assert isinstance(said["data"], dict)
    assert said["data"]["event_id"] == event


async def test_one_that_cannot_begin_ends_no_other_and_begins_later(line: Line) -> None:
    """It asks for challenges, whose file is none: the outputs that are there go on."""
    foreign = line.directory / REVIEWS
    foreign.write_bytes(b"no SQLite file at all, but long enough to be taken for one" * 20)
    with receiving() as old, receiving() as new:
        line.configure(webhook("mes", old.url))
        async with line.serving() as service:
            line.event()
            await asyncio.to_thread(old.wait_for, 1)
            line.configure(webhook("mes", old.url) + webhook("lab", new.url, '"event", "challenge"'))
            for _ in range(800):
                if "lab" in service._troubles:
                    break
                await asyncio.sleep(0.05)
            line.event()
            await asyncio.to_thread(old.wait_for, 2)
            assert (list(service._troubles), new.posted) == (["lab"], [])
            foreign.unlink()
            assert len(await asyncio.to_thread(new.wait_for, 2)) == 2
