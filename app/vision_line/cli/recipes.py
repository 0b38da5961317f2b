# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line recipes`: ask for a recipe, and see which is in force."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from vision_line.cli.command_user import command_user
from vision_line.cli.part_sender import part_sender
from vision_line.config.toml import TomlTable, read_toml
from vision_line.errors import ConfigError, RunError
from vision_line.feed.feed_client import FeedClient
from vision_line.parts.known_names import KnownNames
from vision_line.parts.line_commands import LineCommands, RecipeCommand, checked_command
from vision_line.parts.orders import EVERYWHERE, RECIPE, Asked, Order, order_in_force
from vision_line.records.directory import is_in_use
from vision_line.screens.lines import say
from vision_line.telemetry.snapshot import RecipeWish

DOOR = "command"
#: How long a run has to say what became of a wish.
ANSWER_S = 5.0
#: A file that was written just now is read within this time: what it refuses till then may still come.
_RELOADS_S = 2.5
#: How soon a run that did not say is asked again.
_AGAIN_S = 0.2


def use_recipe(streams: Path, record: Path | None, name: str | None, lane: str | None, *, none: bool) -> None:
    """Ask for a recipe, and wait until the run has it in force, if there is a run.

    Raises:
        ConfigError: it is not in the file, or both or neither of a name and `--none` are given.
        RunError: it cannot be written, the run refuses it, or does not say what became of it.
    """
    if (name is None) != none:
        raise ConfigError("expected the NAME of a recipe, or --none")
    data = read_toml(streams).data
    directory = _directory(data, record)
    if not directory.is_dir():
        raise ConfigError(
            f"there is no folder {directory}: a run makes it, so start the line once (vision-line --streams {streams}),"
            " or name the folder of its records with --record"
        )
    known = KnownNames(
        tuple(_lanes(data)), tuple(_recipes(data))
    )  # the file's: a run that is to begin has not said them
    commands = LineCommands(directory, part_sender(directory), known=lambda: known)
    wanted = checked_command(RecipeCommand, {"recipe": name or "", "lane": lane or EVERYWHERE})
    try:
        order = commands.order(wanted, Asked(command_user(), DOOR)).order
    except ConfigError as exc:
        raise ConfigError(*(f"{streams}: {problem}" for problem in exc.problems)) from None
    where = "" if lane is None else f" at lane {lane}"
    asked = f"recipe {name}{where}" if name else f"no recipe{where}"
    try:
        wish = _answer(directory, order)
    except RunError as exc:
        raise RunError(f"{asked}: asked for, and not known to be in force: {exc}") from exc
    if wish is None:
        _say(f"{asked}: asked for; no run inspects now, the next one begins with it")
    elif wish.refused:
        raise RunError(f"{asked}: {wish.refused}; what was in force before still is")
    else:
        _say(f"{asked}: in force at {', '.join(wish.cameras)}")


def list_recipes(streams: Path, record: Path | None, *, as_json: bool) -> None:
    """Print the recipes of the file, and what is in force.

    Raises:
        ConfigError: the file is not valid TOML.
        RunError: the wishes cannot be read, or the run does not say what it inspects by.
    """
    data = read_toml(streams).data
    directory = _directory(data, record)
    wishes = _wishes(directory)
    asked = order_in_force(directory, RECIPE) if wishes is None else None
    if as_json:
        _say(
            json.dumps(
                {
                    "recipes": list(_recipes(data)),
                    "runs": wishes is not None,
                    "wishes": list(map(asdict, wishes or [])),
                },
                indent=2,
            )
        )
        return
    for name, recipe in _recipes(data).items():
        cameras = recipe.get("cameras") if isinstance(recipe, dict) else None
        _say(f"{name}: {', '.join(map(str, cameras)) if isinstance(cameras, list) else 'all cameras'}")
    if not _recipes(data):
        _say(f"{streams} has no recipes")
    for wish in wishes or []:
        _say(_words(wish))
    if asked is not None:
        _say(f"no run inspects now; it begins with {_name(asked.value)}, {_who(asked.asked.by, asked.at_utc)}")
    elif not wishes:
        _say("nobody has asked for a recipe")


def _answer(directory: Path, order: Order) -> RecipeWish | None:
    """Return what the run says of a wish, None where no run is there.

    Raises:
        RunError: it says nothing in time.
    """
    begun_s = time.monotonic()
    silence: RunError | None = None
    while time.monotonic() < begun_s + ANSWER_S:
        try:
            wishes = _wishes(directory)
        except RunError as exc:  # it may be starting, or have too many clients for the moment
            silence = exc
            time.sleep(_AGAIN_S)
            continue
        if wishes is None:
            return None
        silence = None
        newer = [wish for wish in wishes if wish.number >= order.number]
        found = [wish for wish in newer if wish.number == order.number] or newer
        if found and (not found[-1].refused or time.monotonic() > begun_s + _RELOADS_S):
            return found[-1]
    raise silence or RunError(f"the run did not take up the recipe within {ANSWER_S:g} s")


def _wishes(directory: Path) -> list[RecipeWish] | None:
    """Return the wishes of the run's next snapshot; None: no run is there.

    Raises:
        RunError: one is, and does not say.
    """
    try:
        with FeedClient(directory) as feed:
            feed.want(snapshots=True)
            while (message := feed.receive(ANSWER_S)) is not None:
                if message.kind == "snapshot":
                    return [
                        RecipeWish(**{**wish, "cameras": tuple(wish["cameras"])}) for wish in message.header["recipes"]
                    ]
            why = feed.reason
    except TimeoutError:
        why = f"no snapshot came within {ANSWER_S:g} s"
    except RunError as exc:
        why = str(exc)
    if is_in_use(directory):
        raise RunError(f"{directory} is in use, and a run there does not say what it inspects by: {why}")
    return None


def _recipes(data: TomlTable) -> TomlTable:
    found = data.get("recipe")
    return found if isinstance(found, dict) else {}


def _lanes(data: TomlTable) -> list[str]:
    lanes = data.get("lane")
    tables = lanes if isinstance(lanes, list) else []
    return [str(lane.get("name")) for lane in tables if isinstance(lane, dict)]


def _directory(data: TomlTable, record: Path | None) -> Path:
    table = data.get("record")
    named = table.get("directory") if isinstance(table, dict) else None
    return record or Path(named if isinstance(named, str) else "records")


def _words(wish: RecipeWish) -> str:
    where = "" if wish.lane == EVERYWHERE else f" at lane {wish.lane}"
    who = _who(wish.by, wish.asked_utc)
    if wish.refused:
        return f"refused: {_name(wish.recipe)}{where}: {wish.refused}, {who}"
    return f"in force: {_name(wish.recipe)}{where} ({', '.join(wish.cameras)}), {who}"


def _name(recipe: str) -> str:
    return f"recipe {recipe}" if recipe else "no recipe"


def _who(by: str, at_utc: float) -> str:
    return f"asked for by {by} at {datetime.fromtimestamp(at_utc, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _say(line: str) -> None:
    say(line, sys.stdout)
