# SPDX-License-Identifier: AGPL-3.0-or-later
"""All shards, those that are done already left out: each result is kept under the hash of what it depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from vision_line.devices.model.model import Model
from vision_line.errors import RunError
from vision_line.output_files import write_output
from vision_line.ports import ProgressCallback
from vision_line.reinspection.footage import Recording, Reinspected
from vision_line.reinspection.shard import Shard, ShardResult
from vision_line.reinspection.shard_process import in_process

#: So much is inspected by one process: it opens the model once, and a result is not lost later than that.
SHARD_FOOTAGE = 24

#: Inspects shards, in any order, and yields each with its result, or with why there is none.
Workers = Callable[[Sequence[Shard]], Iterator[tuple[Shard, ShardResult | RunError]]]


@dataclass(frozen=True, slots=True)
class InspectingModel:
    """A model that inspects recordings; `path` None is the shipped one."""

    path: Path | None
    model: Model
    device: str
    allow_failed_gates: bool


def one_after_the_other(shards: Sequence[Shard]) -> Iterator[tuple[Shard, ShardResult | RunError]]:
    """Inspect on this machine: one process at a time uses all of it."""
    for shard in shards:
        try:
            yield shard, in_process(shard)
        except RunError as exc:
            yield shard, exc


def reinspect(
    directory: Path,
    footage: Sequence[Recording],
    by: InspectingModel,
    kept: Path,
    workers: Workers,
    progress: ProgressCallback,
) -> dict[str, Reinspected]:
    """Return what the model finds in each footage, by its id; results are kept in the folder `kept`.

    A shard whose process fails is said to be not inspected, and is tried again by the next call.

    Raises:
        RunError: a result cannot be kept.
    """
    shards = list(_shards(directory, footage, by))
    found: dict[str, Reinspected] = {}
    waiting = list[Shard]()
    for shard in shards:
        if (known := _kept_result(kept, shard)) is None:
            waiting.append(shard)
        else:
            found |= _by_id(known.found)
    progress(len(found), len(footage))
    for shard, result in workers(waiting):
        if isinstance(result, RunError):
            why = " ".join(str(result).splitlines())
            found |= {one.id: Reinspected(id=one.id, problem=why) for one in shard.footage}
        else:
            write_output(kept / f"{shard.key}.json", result.model_dump_json())
            found |= _by_id(result.found)
        progress(len(found), len(footage))
    return found


def _shards(directory: Path, footage: Sequence[Recording], by: InspectingModel) -> Iterator[Shard]:
    for begin in range(0, len(footage), SHARD_FOOTAGE):
        yield Shard(
            directory=directory.absolute(),
            model=None if by.path is None else by.path.absolute(),
            model_sha256=by.model.sha256,
            classes=by.model.classes,
            device=by.device,
            allow_failed_gates=by.allow_failed_gates,
            footage=tuple(footage[begin : begin + SHARD_FOOTAGE]),
        )


def _kept_result(kept: Path, shard: Shard) -> ShardResult | None:
    try:
        return ShardResult.model_validate_json((kept / f"{shard.key}.json").read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):  # of another version, or not whole: inspected again
        return None


def _by_id(found: Iterable[Reinspected]) -> dict[str, Reinspected]:
    return {one.id: one for one in found}
