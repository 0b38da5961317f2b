# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever happens to a follower, a receiver has every event, in each camera's order, twice only within a window."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.desk_records import writing

from vision_line.config.output_settings import OutputSettings
from vision_line.outputs.cursor_file import CursorFile
from vision_line.outputs.follower import Follower
from vision_line.outputs.journal_source import JournalSource
from vision_line.outputs.notification import Notification

WINDOW = 4
STEP = st.sampled_from(["event", "event", "event", "send", "send", "cut", "kill", "kill after"])


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=40))
def test_nothing_is_lost_and_little_comes_twice(steps: list[str]) -> None:
    """`cut`: a part of the window arrived and nobody said so. `kill`: the process dies before or after it."""
    with tempfile.TemporaryDirectory() as folder, writing(Path(folder)) as rows:
        rows.connection.execute("PRAGMA synchronous=OFF")
        run = rows.run(0, None, "a", "b")
        source, cursors = JournalSource(Path(folder)), CursorFile(Path(folder))
        asked = OutputSettings(name="plant", kinds=["event"], since="all")
        follower = Follower(asked, source, cursors)
        arrived: list[Notification] = []
        troubles = 0
        for number, step in enumerate([*steps, *["send"] * 40]):
            if step == "event":
                rows.event(run, "ab"[number % 2], 1.0 * number)
                continue
            batch = follower.next(WINDOW)
            if batch is not None:
                follower.tried(batch)
                arrived += batch.messages[: 2 if step == "cut" else WINDOW] if step != "kill" else ()
                if step == "send":
                    follower.done(batch)
                troubles += step in {"cut", "kill after"}
            if step.startswith("kill"):
                follower = Follower(asked, source, cursors)
        source.close()
        cursors.close()
        seen = list(dict.fromkeys(said.id for said in arrived))
        wanted = [
            row[0] for row in rows.connection.execute("SELECT number FROM journal WHERE kind = 'event' ORDER BY number")
        ]

        assert seen == [f"run at 0:{number}" for number in wanted]
        assert len(arrived) - len(seen) <= WINDOW * troubles
