# SPDX-License-Identifier: AGPL-3.0-or-later
"""One message of every kind that an output can be told, made by the program from records of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import get_args

from tests.fakes.challenge_plans import CRITERIA
from tests.fakes.desk_records import BEGAN_UTC
from tests.fakes.said_configuration import enter_configuration, named
from tests.fakes.shipping_box import ShippingBox

from vision_line.challenges.entry_bodies import ChallengeAct, ChallengeOutcome, PassOutcome, PassResult, ResultBody
from vision_line.config.output_settings import OutputKind, OutputSettings
from vision_line.outputs.cursor import JournalName, MemoryCursors
from vision_line.outputs.follower import Follower
from vision_line.outputs.journal_sources import JournalSources
from vision_line.outputs.line_alarms import AlarmNews, LineAlarms
from vision_line.outputs.notification import Notification, fork, lost
from vision_line.parts.orders import RECIPE, order_in_force
from vision_line.parts.parts_retention import prune_parts
from vision_line.parts.recorded_recipes import IN_FORCE, recorded_wish
from vision_line.records.journal import Kind
from vision_line.records.schema import transaction
from vision_line.records.seal import Sealer
from vision_line.records.side_journal import append
from vision_line.reviews.reviews_file import writing as writing_reviews

LATER_UTC = BEGAN_UTC + 30 * 86_400.0


def every_message(directory: Path) -> dict[str, list[Notification]]:
    """Return by kind what is told: of each at least one."""
    with ShippingBox.made(directory, "") as box:
        _record(box)
    _challenge(directory)
    found = [*_sent(directory)]
    prune_parts(directory, 1, LATER_UTC, dry_run=False)
    found += [said for said in _sent(directory) if said.lane is None and "lanes" in said.content]
    found += [
        lost(JournalName.RECORDS, 12, 40, "retention", BEGAN_UTC),
        fork(JournalName.RECORDS, 48210, 48000, BEGAN_UTC),
    ]
    news = AlarmNews(lambda: LineAlarms("20261128T200000Z-1f3a", ("camera cam1 is not inspected: camera:STALE",))).due()
    found += [] if news is None else [news]
    by_kind: dict[str, list[Notification]] = {}
    for said in found:
        by_kind.setdefault(said.kind, []).append(said)
    return by_kind


def _record(box: ShippingBox) -> None:
    run = box.record()
    box.pass_parts(run)
    rows = box.rows
    place = {"run": run, "camera": "cam1", "station": "line 1", "recipe": "", "sequence": 7}
    seen = {"arrived_utc": BEGAN_UTC, "arrived_s": 0.0, "class": "open", "score": 0.9, "width": 640, "height": 360}
    rows.insert("detections", **place, **seen, x1=1.0, y1=2.0, x2=30.0, y2=40.0, latency_ms=41.5)
    wish = order_in_force(box.directory, RECIPE, "lane1")
    assert wish is not None
    enter_configuration(rows.connection, named(["lane1"], ["big"]))
    enter_configuration(rows.connection, {f"{IN_FORCE}lane1": recorded_wish(wish)}, "recipe")
    rows.event(run, "cam1", 100.0)
    with transaction(rows.connection):
        doubted = {"since_utc": BEGAN_UTC, "until_utc": BEGAN_UTC + 600.0, "why": "cpu: it computes wrongly now"}
        rows.connection.journal.append(Kind.DOUBT, "engine", doubted, run)
    went = {"from_utc": BEGAN_UTC - 9e6, "to_utc": BEGAN_UTC - 8e6, "why": "keep_days"}
    rows.insert("removals", at_utc=BEGAN_UTC, removed_from="events", rows=912, **went)
    with transaction(rows.connection):
        Sealer().seal(rows.connection.journal, run)


def _challenge(directory: Path) -> None:
    passes = [
        PassResult(part="A17", expects=frozenset({"open"}), from_utc=1.0, to_utc=2.0, outcome=outcome)
        for outcome in (PassOutcome.FOUND, PassOutcome.MISSED)
    ]
    body = ResultBody(
        challenge=2,
        at_utc=BEGAN_UTC,
        outcome=ChallengeOutcome.FAILED,
        why=("1 of 2 missed",),
        passes=tuple(passes),
        strays=0,
        criteria=CRITERIA,
        record_number=9,
        record_head="",
    )
    with writing_reviews(directory) as connection:
        append(connection, ChallengeAct.RESULT, "cam1", body.model_dump(mode="json"))


def _sent(directory: Path) -> Iterator[Notification]:
    settings = OutputSettings(name="plant", since="all", kinds=[*get_args(OutputKind)])
    with closing(JournalSources(directory)) as sources:
        for source in sources.followed(settings):
            follower = Follower(settings, source, MemoryCursors())
            while (batch := follower.next(20)) is not None:
                yield from batch.messages
                follower.done(batch)
