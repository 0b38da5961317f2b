# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clients that ask something of the line by methods: who may, what is refused by which code, and what comes of it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua
from tests.fakes.bench_line import running_lanes, running_line
from tests.fakes.challenge_plans import target
from tests.fakes.desk import CHEAP
from tests.fakes.opcua_client import secure_client, trust
from tests.fakes.ports import free_port
from tests.fakes.said_configuration import enter_configuration, named

from vision_line.challenges.asked_challenges import AskedChallenges
from vision_line.challenges.challenge_targets import PLAN_KEY
from vision_line.challenges.doing import recent
from vision_line.cli.part_sender import part_sender
from vision_line.config.output_settings import OpcUaOutput
from vision_line.desk.users.accounts import Accounts
from vision_line.desk.users.sessions import Role
from vision_line.outputs.journal_sources import JournalSources
from vision_line.outputs.message_sink import ShownState
from vision_line.outputs.opcua.opcua_sink import OpcUaSink
from vision_line.outputs.opcua.published_nodes import URI
from vision_line.parts.line_commands import LineCommands
from vision_line.parts.orders import LOT, RECIPE, Asked, order_in_force
from vision_line.parts.parts_file import FILE_NAME
from vision_line.records.schema import FILE_NAME as RECORDS
from vision_line.records.schema import open_writer
from vision_line.reviews.passwords import PasswordHasher

pytestmark = pytest.mark.asyncio(loop_scope="module")
PASSWORD = "a long password"  # noqa: S105
NO_NUMBER = ua.Variant(-1, ua.VariantType.Int64)


class Commanded:
    """A server that takes commands, and its users."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.accounts = Accounts(directory, PasswordHasher(CHEAP))
        for name, role in (("anna", Role.QUALITY), ("vera", Role.REVIEWER), ("otto", Role.QUALITY)):
            self.accounts.add(name, role, PASSWORD, by="test")
        listen = f"127.0.0.1:{free_port()}"
        self.url = f"opc.tcp://{listen}/vision-line"
        settings = OpcUaOutput(
            type="opcua",
            name="scada",
            listen=listen,
            encrypted=False,
            anonymous=True,
            accept_commands=True,
            kinds=["part", "lot", "recipe"],
        )
        self.sink = OpcUaSink(
            settings, directory, LineCommands(directory, part_sender(directory), AskedChallenges(directory).do)
        )

    @asynccontextmanager
    async def caller(self, user: str) -> AsyncIterator[Caller]:
        """Connect as a user, "" as nobody."""
        client = Client(self.url, timeout=60, watchdog_intervall=60)  # a busy machine is not away
        if user:
            client = await secure_client(self.url, self.directory, user, user, PASSWORD)
            trust(self.directory, user)
        async with client:
            yield Caller(client, await client.get_namespace_index(URI))


class Caller:
    """Calls the methods of one server."""

    def __init__(self, client: Client, index: int) -> None:
        self._client = client
        self._line = client.get_node(ua.NodeId("VisionLine", index))
        self._index = index

    async def call(self, method: str, *arguments: object) -> Any:
        return await self._line.call_method(f"{self._index}:{method}", *arguments)

    async def read(self, path: str) -> Any:
        return await self._client.get_node(ua.NodeId(f"VisionLine/{path}", self._index)).read_value()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def commanded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Commanded]:
    """A server costs a second: all tests of it share one, and its one thread."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    made = Commanded(tmp_path_factory.mktemp("records"))
    await made.sink.connect()
    yield made
    await made.sink.close()


async def test_quality_begins_lots_and_asks_for_recipes(commanded: Commanded) -> None:
    """Everywhere and at a lane; the journal says who asked, and by which door."""
    async with commanded.caller("anna") as anna:
        said = [await anna.call("SetLot", "*", "L-7"), await anna.call("SetRecipe", "lane1", "fine")]
        lot, recipe = order_in_force(commanded.directory, LOT), order_in_force(commanded.directory, RECIPE, "lane1")
        await anna.call("SetLot", "*", "")
        ended = order_in_force(commanded.directory, LOT)

    assert lot is not None
    assert recipe is not None
    assert ended is not None
    assert (lot.lane, lot.value, lot.asked) == ("*", "L-7", Asked("anna", "opcua"))
    assert (recipe.lane, recipe.value, recipe.asked) == ("lane1", "fine", Asked("anna", "opcua"))
    assert ended.value == ""
    assert said == ["recorded", "recorded; not checked: the records do not say which lanes and recipes there are"]


async def test_what_was_asked_for_last_is_shown(commanded: Commanded) -> None:
    """A lane's own, until one for everywhere is newer; as the state is shown, and as a message comes."""
    sources, sink = JournalSources(commanded.directory), commanded.sink
    async with commanded.caller("anna") as anna:

        async def shown() -> list[str]:
            assert sink._nodes is not None
            await sink._nodes.flush()
            return [await anna.read(path) for path in ("CurrentLot", "Lanes/lane1/CurrentLot")]

        for lane, lot in (("lane1", "L-1"), ("*", "L-2")):
            await anna.call("SetLot", lane, lot)
            await sink.show(ShownState(orders=tuple(sources.parts.orders())))
        first = await shown()
        await anna.call("SetLot", "lane1", "L-3")
        await sink.send([sources.parts.orders()[-1]])
        second = await shown()
    sources.close()

    assert (first, second) == (["L-2", "L-2"], ["L-2", "L-3"])


@pytest.mark.parametrize(
    ("method", "arguments", "code"),
    [
        ("SetLot", ("*", "x" * 65), ua.uaerrors.BadInvalidArgument),
        ("SetLot", ("*", "L\n7"), ua.uaerrors.BadInvalidArgument),
        ("SetLot", ("*", 7), ua.uaerrors.BadInvalidArgument),
        ("SetLot", ("*", ua.Variant(None, ua.VariantType.String)), ua.uaerrors.BadInvalidArgument),
        ("SetLot", ("", "L-8"), ua.uaerrors.BadInvalidArgument),
        ("SetLot", ("../lane", "L-8"), ua.uaerrors.BadInvalidArgument),
        ("SetLot", ("*",), ua.uaerrors.BadArgumentsMissing),
        ("SetLot", ("*", "L-8", "more"), ua.uaerrors.BadTooManyArguments),
        ("TriggerPart", ("*", "B-1", NO_NUMBER), ua.uaerrors.BadInvalidArgument),
        ("TriggerPart", ("l1", "B-1", 2**32), ua.uaerrors.BadInvalidArgument),
        ("TriggerPart", ("l1", "B-1", "17"), ua.uaerrors.BadInvalidArgument),
        ("TriggerPart", ("l1", "B-1", NO_NUMBER), ua.uaerrors.BadResourceUnavailable),
    ],
)
async def test_what_cannot_be_carried_out_is_refused_by_its_code(
    commanded: Commanded, method: str, arguments: tuple[object, ...], code: type[Exception]
) -> None:
    """The last one because no lanes run; nothing is entered."""
    before = order_in_force(commanded.directory, LOT)
    async with commanded.caller("anna") as anna:
        with pytest.raises(code):
            await anna.call(method, *arguments)

    assert order_in_force(commanded.directory, LOT) == before


async def test_nobody_else_may(commanded: Commanded, caplog: pytest.LogCaptureFixture) -> None:
    """Neither without a user, nor with another role, nor whose role is taken while they are connected."""
    before = order_in_force(commanded.directory, LOT)
    for user in ("", "vera"):
        async with commanded.caller(user) as other:
            for _ in range(3):
                with pytest.raises(ua.uaerrors.BadUserAccessDenied):
                    await other.call("SetLot", "*", "L-9")
            with pytest.raises(ua.uaerrors.BadUserAccessDenied):
                await other.call("TriggerPart", "l1", "B-9", NO_NUMBER)
    async with commanded.caller("otto") as otto, commanded.caller("anna") as anna, commanded.caller("") as nobody:
        commanded.accounts.set_role("otto", Role.REVIEWER, by="test")
        with pytest.raises(ua.uaerrors.BadUserAccessDenied):
            await otto.call("SetLot", "*", "L-9")
        calls = (one.call("SetLot", "lane9", "L-9") for one in (nobody, anna, otto))
        refused = await asyncio.gather(*calls, return_exceptions=True)

    denied = ua.uaerrors.BadUserAccessDenied
    assert [type(one) for one in refused] == [denied, str, denied]
    assert order_in_force(commanded.directory, LOT) == before
    said = [record.getMessage() for record in caplog.records if "needs the role quality" in record.getMessage()]
    assert [line.split(" was ")[0] for line in said] == [
        "output 'scada': SetLot by a client without a user",
        "output 'scada': SetLot by 'vera'",
        "output 'scada': SetLot by 'otto'",
    ]


async def test_a_part_goes_to_the_lanes(commanded: Commanded, caplog: pytest.LogCaptureFixture) -> None:
    """With an id and a number, or without both; a lane that is not there is said."""
    with running_line(commanded.directory), running_lanes(commanded.directory):
        async with commanded.caller("anna") as anna:
            first = await anna.call("TriggerPart", "l1", "B-1", 17)
            with pytest.raises(ua.uaerrors.BadInvalidArgument):
                await anna.call("TriggerPart", "no-lane", "B-2", 18)
            nothing = ua.Variant(None, ua.VariantType.String)
            second = await anna.call("TriggerPart", "l1", nothing, NO_NUMBER)
    with closing(sqlite3.connect(commanded.directory / FILE_NAME)) as connection:
        rows = connection.execute("SELECT sequence, part_id FROM parts ORDER BY sequence").fetchall()

    assert (first, second) == (1, 2)
    assert rows == [(1, "B-1"), (2, "")]
    assert "TriggerPart by 'anna' was not carried out" in caplog.text


async def test_challenges_and_what_the_line_does_not_have(commanded: Commanded) -> None:
    """By the configuration in the records; a variable says why a call was refused, as no status code can."""
    plan = {"sha256": "ab" * 32, "targets": [json.loads(target("cam01").model_dump_json())]}
    with closing(open_writer(commanded.directory / RECORDS)) as connection:
        enter_configuration(connection, {**named(["l1", "lane1"], ["fine"]), PLAN_KEY: plan})
    async with commanded.caller("anna") as anna, commanded.caller("vera") as vera:

        async def refusal(method: str, *arguments: object) -> str:
            with pytest.raises(ua.uaerrors.BadInvalidArgument):
                await anna.call(method, *arguments)
            assert commanded.sink._nodes is not None
            await commanded.sink._nodes.flush()
            return str(await anna.read("LastRefusal"))

        refused = [
            await refusal("SetLot", "lnae1", "L-1"),
            await refusal("SetRecipe", "*", "fien"),
            await refusal("StartChallenge", "cam9"),
            await refusal("NextChallengePart", "cam01"),
        ]
        known = await anna.call("SetRecipe", "lane1", "fine")
        passes = await anna.call("StartChallenge", "cam01")
        with pytest.raises(ua.uaerrors.BadUserAccessDenied):
            await vera.call("StartChallenge", "cam01")
        part, position, left = await anna.call("NextChallengePart", "cam01")
        broken = await anna.call("AbortChallenge", "cam01", "the belt stopped")
    (begun,) = recent(commanded.directory, 1.0)

    assert refused[:3] == [
        "SetLot: lane: found 'lnae1', expected one of l1, lane1, or * for all",
        "SetRecipe: recipe: found 'fien', expected one of fine, or \"\" for none",
        "StartChallenge: target: found 'cam9', expected one of cam01",
    ]
    assert "no challenge of cam01 goes on" in refused[3]
    assert (known, passes, left, broken) == ("asked", 3, 2, "broken off")
    assert (part, position) == (begun.begun.passes[0].part, begun.begun.passes[0].position)
    assert (begun.begun.by, begun.why_aborted) == ("anna (opcua)", "the belt stopped")
