# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an operator does and sees, on a real server, where boxes are only signs of life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.fakes.nats_servers import NatsServers, running_nats
from tests.fakes.operator_files import written_key, written_plant
from tests.fakes.ports import free_port

from vision_line.cli import fleet as fleet_commands
from vision_line.cli.fleet import _drained, apply, drain, show_status, show_why
from vision_line.cli.node import first_plant
from vision_line.errors import ConfigError, ExitCode, RunError
from vision_line.fleet.coordination import CONFIG, NODE_PREFIX, PLAN, Coordination
from vision_line.fleet.fleet_plan import Assignment, FleetPlan
from vision_line.fleet.fleet_view import WATCHED_S, FleetView, watched_fleet
from vision_line.fleet.nats_coordination import NatsCoordination
from vision_line.fleet.node_report import CameraReport, NodeReport
from vision_line.fleet.signed_plant import SignedPlant, checked_signature
from vision_line.records.seal import load_public_key


class Operator:
    """The commands in a folder with a key and a plant."""

    def __init__(self, folder: Path, servers: NatsServers) -> None:
        self.folder = folder
        self.servers = tuple(servers.urls)
        self.key = written_key(folder)

    async def apply(self, key: Path | None = None, *, dry_run: bool = False, new_key: bool = False) -> None:
        """Bring `plant.toml` in force."""
        plant = self.folder / "plant.toml"
        await asyncio.to_thread(apply, plant, self.servers, key or self.key, None, dry_run=dry_run, new_key=new_key)

    async def status(self) -> ExitCode:
        """Show the fleet."""
        return await asyncio.to_thread(show_status, self.servers, None, as_json=False)

    async def drain(self, name: str) -> None:
        """Have a box give its cameras away."""
        await asyncio.to_thread(drain, name, self.servers, None, undo=False)

    async def in_store(self) -> SignedPlant:
        """Return the plant that the store has."""
        store = NatsCoordination(self.servers, "test")
        try:
            entry = await store.get(CONFIG)
        finally:
            await store.close()
        assert entry is not None
        return SignedPlant.model_validate_json(entry.value)

    async def put(self, key: str, value: bytes) -> None:
        """Write into the store."""
        store = NatsCoordination(self.servers, "test")
        try:
            await store.put(key, value)
        finally:
            await store.close()

    @asynccontextmanager
    async def boxes(self, **reports: NodeReport) -> AsyncIterator[None]:
        """Have boxes of these names give signs of life."""
        store, stopping = NatsCoordination(self.servers, "boxes"), asyncio.Event()

        async def beat() -> None:
            while not stopping.is_set():  # not cancelled: a request that is answered just then would not notice
                for name, report in reports.items():
                    await store.put(NODE_PREFIX + name, report.to_bytes())
                await asyncio.sleep(0.3)

        beating = asyncio.create_task(beat())
        try:
            yield
        finally:
            stopping.set()
            await beating
            await store.close()


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operator]:
    """Yield the operator of a store that has nothing."""
    with running_nats(tmp_path, 1) as servers:
        yield Operator(tmp_path, servers)


def box_with(*inspected: str, **more: object) -> NodeReport:
    """Return what a box says that inspects these cameras and has room for a hundred."""
    cameras = {name: CameraReport(epoch=1, inspected=True) for name in inspected}
    report = NodeReport(life="1", inspections_mhz=10**6, pixels_s=10**10, cameras=cameras)
    return report.model_copy(update=more)


async def test_another_key_is_refused_before_boxes_refuse_its_plant(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless it is to be another one; and what boxes have is not compared with a plant that they refuse."""
    written_plant(operator.folder, "cam1")
    other = written_key(operator.folder, "other")
    async with operator.boxes(box1=box_with("cam1")):
        await operator.apply()
        with pytest.raises(ConfigError, match=r"--key .*other\.pem: the plant in the store is not signed .* --new-key"):
            await operator.apply(other, dry_run=True)
        with pytest.raises(ConfigError, match="the plant in the store is not signed"):
            await operator.apply(other)
        assert (await operator.in_store()).serial == 1
        await operator.apply(other, new_key=True)
        assert (await operator.in_store()).serial == 2
    capsys.readouterr()
    async with operator.boxes(box1=box_with("cam1", config_serial=1, plant_refused="plant 2 is not signed")):
        await operator.status()
        await operator.apply(new_key=True)
    said = capsys.readouterr().out

    assert "box1: 1 of 0 cameras inspected, REFUSES THE PLANT IN THE STORE, goes on with plant 1: plant 2" in said
    assert "+ cam1\n" in said
    assert checked_signature((await operator.in_store()).to_bytes(), load_public_key(operator.key.with_suffix(".pub")))


async def test_what_was_shown_is_signed_though_the_file_changes_meanwhile(
    operator: Operator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fleet is watched for seconds before, in which an editor may write half a file."""
    written_plant(operator.folder, "cam1")
    shown = (operator.folder / "plant.toml").read_text()

    async def watched(store: Coordination) -> FleetView:
        (operator.folder / "plant.toml").write_text("neither checked nor shown")
        return await watched_fleet(store)

    monkeypatch.setattr(fleet_commands, "watched_fleet", watched)
    await operator.apply()
    assert (await operator.in_store()).text == shown
    assert "+ cam1\n" in capsys.readouterr().out


async def test_a_box_starts_with_the_good_plant_that_it_kept(operator: Operator) -> None:
    """One that was powered off must not stay so because somebody applied a plant that no box takes."""
    written_plant(operator.folder, "cam1")
    async with operator.boxes(box2=box_with()):
        await operator.apply()
        kept = (await operator.in_store()).to_bytes()
        await operator.apply(written_key(operator.folder, "other"), new_key=True)
    public_key = load_public_key(operator.key.with_suffix(".pub"))

    assert await first_plant(operator.servers, None, "box1", public_key, kept) == (kept, False)
    with pytest.raises(ConfigError, match=r"plant 2, .* is not signed by the operator's key, of which --key"):
        await first_plant(operator.servers, None, "box1", public_key, None)


async def test_a_plant_that_nobody_inspects_survives_nothing(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without boxes there is none whose loss could change anything; the line that counts says no all the same."""
    written_plant(operator.folder, "cam1", "cam2")
    await operator.apply()
    assert await operator.status() == ExitCode.FAILED
    assert capsys.readouterr().out.endswith(
        "survives the loss of any one box: no: nobody inspects 2 of 2 cameras now\n"
    )
    async with operator.boxes(box1=box_with("cam1"), box2=box_with()):
        assert await operator.status() == ExitCode.FAILED
    assert capsys.readouterr().out.endswith(
        "nobody inspects now: cam2\nsurvives the loss of any one box: no: nobody inspects 1 of 2 cameras now\n"
    )
    async with operator.boxes(box1=box_with("cam1"), box2=box_with("cam2")):
        assert await operator.status() == ExitCode.DONE
    assert capsys.readouterr().out.endswith("survives the loss of any one box: yes\n")


async def test_a_name_that_somebody_has_is_refused_at_the_start(operator: Operator) -> None:
    """The newcomer would take the cameras of a box that is well; who said good-bye, or is silent, has no name."""
    written_plant(operator.folder, "cam1")
    public_key = load_public_key(operator.key.with_suffix(".pub"))
    async with operator.boxes(box1=box_with("cam1"), gone=NodeReport(leaving=True)):
        await operator.apply()
        plant = (await operator.in_store()).to_bytes()
        with pytest.raises(ConfigError, match="--node box1: another process of this name gave a sign of life"):
            await first_plant(operator.servers, None, "box1", public_key, None)
        assert await first_plant(operator.servers, None, "gone", public_key, None) == (plant, False)
    assert await first_plant(operator.servers, None, "box1", public_key, None) == (plant, False)


async def test_a_box_that_is_emptied_says_what_stays_with_it(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pinned cameras at once; others when nothing has moved for a while."""
    written_plant(operator.folder, "cam1", "cam2", more='pin = "box2"\n')
    box1, box2 = box_with(labels=frozenset({"dock"})), box_with("cam1", "cam2", draining=True)
    async with operator.boxes(box1=box1, box2=box2):
        await operator.apply()
        with pytest.raises(RunError, match=r"box2 keeps cameras .* --undo`:\n  cam1, cam2: pinned to box2$"):
            await operator.drain("box2")
        written_plant(operator.folder, "cam1", "cam2", more='reachable_from = ["hall"]\n')
        await operator.apply()
        monkeypatch.setattr(fleet_commands, "SETTLED_S", 0.1)
        with pytest.raises(RunError, match="cam1, cam2: box1: not reachable"):
            await operator.drain("box2")


async def test_a_secret_that_boxes_lack_is_named(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the plant is applied, as far as anybody can know, and where somebody looks why."""
    plant = written_plant(operator.folder, "cam1", "cam2")
    lacking = box_with("cam1", refuses=frozenset({"cam2"}), lacks={"cam2": "{HALL}"})
    async with operator.boxes(box1=lacking):
        await operator.apply()
        plant.write_text(plant.read_text(encoding="utf-8").replace("//", "//u:{HALL}@").replace("{HALL}@", "{NEW}@", 1))
        capsys.readouterr()
        await operator.apply(dry_run=True)
        said = capsys.readouterr().out
        assert "{NEW} is needed for cam1, and was not before: a box without it cannot inspect them\n" in said
        assert "nobody can inspect cam2: box1: has no secret {HALL} for it\n" in said
        await operator.status()
        assert "box1: 1 of 0 cameras inspected, has no secret for cam2 ({HALL})\n" in capsys.readouterr().out


async def test_the_first_plant_is_applied_before_boxes_are_seen(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    """They wait for it, silently: that is no camera that nobody can inspect."""
    written_plant(operator.folder, "cam1", more='pin = "bxo1"\n')
    await operator.apply(dry_run=True)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "no box is seen: boxes that wait for their first plant are not, and begin once it is in the store"
    ]
    async with operator.boxes(box1=box_with()):
        await operator.apply()
        with pytest.raises(ConfigError, match="no camera 'cam' that is enabled, did you mean cam1"):
            await asyncio.to_thread(show_why, "cam", operator.servers, None)
    said = capsys.readouterr().out
    assert "cam1 is pinned to bxo1, and no box of that name was ever seen, only box1\n" in said


async def test_a_box_that_waits_says_for_what(operator: Operator, capfd: pytest.CaptureFixture[str]) -> None:
    """A server that is away, or is called otherwise, is no plant that somebody forgot to apply."""
    public_key = load_public_key(operator.key.with_suffix(".pub"))
    for servers, words in (
        ((f"nats://127.0.0.1:{free_port()}",), "waiting: the store did not answer: "),
        (operator.servers, "waiting: there is no plant yet: vision-line fleet apply plant.toml"),
    ):
        waiting = asyncio.create_task(first_plant(servers, None, "box1", public_key, None))
        said = ""
        for _ in range(400):
            said += capfd.readouterr().err
            if words in said:
                break
            await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert words in said
        assert said.count("waiting") == 1


async def test_a_box_that_is_not_heard_for_a_moment_is_not_empty(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on with its cameras; one that said good-bye has none, and one that is gone only what waits for it."""
    written_plant(operator.folder, "cam1", more='pin = "box1"\n')
    monkeypatch.setattr(fleet_commands, "GONE_AFTER", 2)
    waiting = FleetPlan(epoch=1, cameras={"cam1": Assignment(node="box1")}, left_out={"cam1": "pinned to box1"})
    await operator.put(PLAN, waiting.to_bytes())
    async with operator.boxes(box1=box_with("cam1"), box2=box_with()):
        await operator.apply()
    store = NatsCoordination(operator.servers, "boxes")
    try:
        silent = asyncio.create_task(_drained(store, "box1"))
        await asyncio.sleep(1.4 * WATCHED_S)
        assert not silent.done()
        assert await silent == ["cam1: pinned to box1"]
        await store.put(NODE_PREFIX + "box1", NodeReport(leaving=True).to_bytes())
        monkeypatch.setattr(fleet_commands, "GONE_AFTER", 1000)
        async with asyncio.timeout(60):  # a box that says nothing would be waited for much longer
            assert await _drained(store, "box1") == []
    finally:
        await store.close()


async def test_a_plant_gets_a_number_that_boxes_take(operator: Operator) -> None:
    """In a store that was restored an older one may stand than boxes have."""
    written_plant(operator.folder, "cam1")
    async with operator.boxes(box1=box_with("cam1", config_serial=7)):
        with pytest.raises(RunError, match="the store has lost plant 7"):
            await operator.apply()
    await operator.apply()
    async with operator.boxes(box1=box_with("cam1", config_serial=7)):
        await operator.apply()

    assert (await operator.in_store()).serial == 8


async def test_a_camera_of_a_box_that_is_away_is_not_inspected(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    """It waits for its box, as the plan has it: nobody may take that for somebody who inspects it."""
    written_plant(operator.folder, "cam1", "cam2")
    waiting = FleetPlan(
        epoch=3,
        config_serial=2,
        cameras={"cam1": Assignment(node="gone", epoch=1, cause="node:lost"), "cam2": Assignment(node="box1", epoch=1)},
        left_out={"cam1": "capacity"},
    )
    await operator.put(PLAN, waiting.to_bytes())
    await operator.apply()
    async with operator.boxes(box1=box_with("cam2", config_serial=1)):
        capsys.readouterr()
        await asyncio.to_thread(show_why, "cam1", operator.servers, None)
        assert capsys.readouterr().out == (
            "cam1: nobody inspects it: gone, which had it, is away; capacity\n  box1: goes on with plant 1\n"
        )
        assert await operator.status() == ExitCode.FAILED
    said = capsys.readouterr().out
    assert "goes on with plant 1 of 2, is given no camera that it has not\n" in said
    assert "not inspected: cam1: capacity\n" in said
    assert "nobody inspects now: cam1\n" in said
