# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `make chaos` reads of the boxes' records: who opened what, what nobody inspected, what two did."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from benchmarks.chaos.ledgers import Ledgers, Opened
from benchmarks.chaos.saturation import declared_dead
from tests.fakes.desk_records import BEGAN_UTC, writing

from vision_line.fleet.coordination import Coordination
from vision_line.fleet.fleet_link import NO_SIGN, FleetLink
from vision_line.fleet.fleet_member import FleetMember
from vision_line.fleet.node_report import NodeReport
from vision_line.frames import CameraState


@pytest.fixture
def ledgers(tmp_path: Path) -> Ledgers:
    """`a` has a camera until 20 s, with a gap and a slow second; `b` inspects it from 16 s on."""
    for name in ("a", "b"):
        (tmp_path / name / "records").mkdir(parents=True)
        with writing(tmp_path / name / "records") as rows:
            run = rows.run(0, 60, of_fleet=(name, "f"))
            if name == "a":
                rows.camera(run, "cam1", 0, epoch=3, inspected_s=0)
                rows.gap(run, "cam1", "camera:STALE", 10, 13)
                rows.gap(run, "cam1", "capacity", 14, 15)
                rows.state(run, "cam1", CameraState.REMOVED, 20)
            else:
                rows.camera(run, "cam1", 15, epoch=7, inspected_s=16)
    return Ledgers(tmp_path, ["a", "b"])


def test_what_nobody_inspected(ledgers: Ledgers) -> None:
    """Not what another box did, nor what the machine was too slow for."""
    assert ledgers.unlit_s("cam1", BEGAN_UTC, BEGAN_UTC + 30) == pytest.approx(3.0)
    assert ledgers.unlit_s("cam1", BEGAN_UTC + 16, BEGAN_UTC + 30) == pytest.approx(0.0)
    assert [gap.cause for gap in ledgers.missing(BEGAN_UTC, BEGAN_UTC + 13.5)] == ["camera:STALE"]


def test_what_two_inspected_counts_once(ledgers: Ledgers) -> None:
    """From the first inspection of the one until the other one lets it go."""
    assert ledgers.doubled_s("cam1", BEGAN_UTC, BEGAN_UTC + 30) == pytest.approx((4.0, 0.0))


def test_who_opened_it(ledgers: Ledgers) -> None:
    """After a moment."""
    assert ledgers.opened_since(BEGAN_UTC + 1) == [Opened("b", "cam1", 7, BEGAN_UTC + 15, BEGAN_UTC + 16)]


def test_who_was_taken_for_dead(caplog: pytest.LogCaptureFixture) -> None:
    """As boxes log it, each time."""
    member = FleetMember("a", "life")
    link = FleetLink(member, cast(Coordination, None), NodeReport, lambda _: None, lambda _: None)
    member.membership.heard("a", 1, 0.0)
    member.membership.heard("b", 2, 0.0)
    for number in range(1, 6):
        member.membership.heard("a", 10 + number, float(number))
    member.membership.confirm("b", 2, 5.0)
    link._say_who_is_lost()
    link._say_who_is_lost()
    plant = SimpleNamespace(nodes=["a"], said=lambda _: f"{caplog.text}\n12:00:01 warning  node c {NO_SIGN}\n")

    assert declared_dead(plant) == {"b": 1, "c": 1}
